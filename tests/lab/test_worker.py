# SPDX-License-Identifier: LGPL-2.1-or-later
"""A worker that somebody else controls: what the kernel and the daemon let it do, which is next to nothing.

A tunnel of the driver `command` runs a hostile program: in the worker's cgroup, as its user, with its mark on every socket."""

import os
import shutil
import signal

from lab import process, topology
from lab.daemon import RESTART_AT_ONCE, TERMINATE, Daemon
from lab.leaks import OPENVPN
from test_command import commanded, program_pids, write
from test_restart import nothing_leaves

HOSTILE = r'''#!/usr/bin/python3
import ctypes, fcntl, json, os, socket, struct, subprocess, sys, time

def say(text):
    print(text, flush=True)

def attempt(name, function):
    try:
        result = function()
    except Exception as error:
        result = f"refused {type(error).__name__} {error}"
    say(f"tried {name}: {result}"[:900])

def call(method, path, body=None):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(60)
    sock.connect(os.environ["API"])
    body = json.dumps(body or {}).encode()
    sock.sendall(f"{method} /v1{path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nIf-Match: *\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return "status " + sock.recv(4096).split()[1].decode()

def send(address, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(b"leak", (address, port))
    return "sent"

def bound(address, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
    sock.sendto(b"leak", (address, port))
    return "sent"

def remark():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x68670000)
    return "set"

def raw():
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)
    return "opened"

def nft():
    done = subprocess.run(["nft", "delete", "table", "inet", "holdfast"], capture_output=True, text=True)
    return f"exit {done.returncode}"

def route():
    done = subprocess.run(["ip", "route", "add", "192.0.2.0/24", "via", "10.1.0.1"], capture_output=True, text=True)
    return f"exit {done.returncode}"

def move():
    with open("/sys/fs/cgroup/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
    return "moved"

def steal():
    return os.listdir(os.environ["STATE"])

def impersonate():
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sock.connect(os.environ["WORKERS"])
    sock.send(b'{"type":"up"}')
    sock.settimeout(60)
    return "answered" if sock.recv(100) else "hung up"

def pretend():
    os.setuid(0)
    return "root"

attempt("api-release", lambda: call("POST", "/kill-switch/release", {"reason": "x"}))
attempt("api-mode", lambda: call("PUT", "/kill-switch/mode", {"mode": "off"}))
attempt("api-stop", lambda: call("POST", "/tunnels/office/stop"))
attempt("api-policy", lambda: call("PUT", "/policy", {"version": 1, "rules": []}))
attempt("stranger", lambda: send("198.51.100.2", 40001))
attempt("other-port", lambda: send("203.0.113.2", 51821))
attempt("resolver", lambda: send("10.1.0.9", 53))
attempt("bound", lambda: bound("198.51.100.2", 40002))
attempt("mark", remark)
attempt("raw", raw)
attempt("nft", nft)
attempt("route", route)
attempt("cgroup", move)
attempt("state", steal)
attempt("worker-socket", impersonate)
attempt("root", pretend)
say("tried everything")
time.sleep(60)
'''


def attempts(daemon):
    """{what the program tried: how that went}, from the daemon's log."""
    found = {}
    for line in daemon.process.log().splitlines():
        if "says: tried " in line and ": " in line.split("says: tried ", 1)[1]:
            name, result = line.split("says: tried ", 1)[1].split(": ", 1)
            found[name] = result
    return found


def test_worker_compromised(lab):
    """a worker's program can open nothing, command nobody, and talks to its endpoint alone"""
    daemon = commanded(
        lab,
        ["unused"],
        connect=False,
        settings={
            "environment": {
                "API": "/run/lab/holdfastd/run/api.sock",
                "STATE": "/run/lab/holdfastd/state",
                "WORKERS": "/run/lab/holdfastd/run/worker.sock",
            },
            "errors": [{"line": "tried everything", "error": "serverBusy"}],
        },
    )
    with open(f"{daemon.config_dir}/program", "w") as file:
        file.write(HOSTILE)
    watch = daemon.api.watch()
    before = daemon.table()
    with nothing_leaves(lab):
        daemon.api.start("office", wait=None)
        stop = watch.wait(kind="willStop")
    assert stop["error"] == "serverBusy", (stop, daemon.process.log()[-3000:])
    went = attempts(daemon)
    for name in ("api-release", "api-mode", "api-stop", "api-policy"):
        assert went[name] in ("status 403",) or went[name].startswith("refused PermissionError"), (name, went[name])
    for name in ("mark", "raw", "cgroup", "state", "root"):
        assert went[name].startswith("refused PermissionError"), (name, went[name])
    for name in ("nft", "route"):
        assert went[name] not in ("exit 0",), (name, went[name])
    assert went["worker-socket"] == "hung up" or went["worker-socket"].startswith("refused"), went["worker-socket"]
    assert {"stranger", "other-port", "resolver", "bound"} <= set(went), went
    status = daemon.api.status()
    assert status["gate"]["mode"] == "always" and status["gate"]["kernel"] in ("closed", "connecting"), status["gate"]
    assert before is not None and daemon.table() is not None


# What a client says on its management interface before it does anything else, and how it tells what it tried.
LYING_CLIENT = r"""#!/usr/bin/python3
import os, re, socket, sys
config = sys.stdin.read()
os.environ.update(%r)
path = re.search(r"^management (\S+) unix$", config, re.M)[1]
management = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
management.connect(path)
management.sendall(b">HOLD:Waiting for hold release:0\n")
heard = b""
while b"hold release" not in heard:
    heard += management.recv(4096)
"""

LIES = r"""
for line in ("UPDOWN:ENV,ifconfig_local=10.9.0.66", "UPDOWN:ENV,foreign_option_1=dhcp-option DNS 198.51.100.2",
             "UPDOWN:ENV,route_network_1=0.0.0.0", "STATE:1,CONNECTED,SUCCESS,10.9.0.66,198.51.100.2,40001,,"):
    management.sendall(f">{line}\n".encode())
attempt("stranger-when-up", lambda: send("198.51.100.2", 40001))
attempt("bound-when-up", lambda: bound("198.51.100.2", 40002))
say("tried everything")
for _ in range(2000):
    management.sendall(b">LOG:1,I," + b"x" * 60000 + b"\n>UPDOWN:ENV," + os.urandom(500).replace(b"\n", b"?") + b"\n")
time.sleep(60)
"""


def lying_client(daemon):
    """A program that stands in for openvpn: tries what HOSTILE tries, then lies; the file that it tells of it in."""
    told = "/run/lab/told"
    with open(told, "w"):
        os.chmod(told, 0o666)
    places = {"API": daemon.api.path, "STATE": daemon.state_dir, "WORKERS": f"{daemon.runtime_dir}/worker.sock"}
    tries = HOSTILE.replace('print(text, flush=True)', f'open("{told}", "a").write(text + "\\n")')
    tries = tries.removeprefix("#!/usr/bin/python3\n").replace('say("tried everything")\ntime.sleep(60)\n', LIES)
    with open("/run/lab/lying-openvpn", "w") as file:
        file.write(LYING_CLIENT % places + tries)
    os.chmod("/run/lab/lying-openvpn", 0o755)
    daemon.lab.run(["mount", "--bind", "/run/lab/lying-openvpn", shutil.which("openvpn")])  # in the client's own mounts
    return told


def test_openvpn_compromised(lab):
    """an openvpn that somebody else controls opens nothing, commands nobody, and reaches its server alone, also once it says that it is up"""
    lab.leaks.prove()
    server = lab.openvpn_server()
    daemon = lab.daemon()
    told = lying_client(daemon)
    daemon.policy(TERMINATE)
    daemon.api.mode("always")
    daemon.add_tunnel(server.document())
    pid = daemon.process.pid
    with nothing_leaves(lab, [OPENVPN]):
        daemon.api.start()
        assert daemon.api.tunnel()["state"] == "connected", (daemon.api.tunnel(), open(told).read())
        process.until(lambda: "tried everything" in open(told).read(), lambda: open(told).read())
    went = dict(line.removeprefix("tried ").split(": ", 1) for line in open(told).read().splitlines() if ": " in line)
    for name in ("api-release", "api-mode", "api-stop", "api-policy"):
        assert went[name] == "status 403" or went[name].startswith("refused PermissionError"), (name, went[name])
    for name in ("mark", "raw", "cgroup", "state", "root"):
        assert went[name].startswith("refused PermissionError"), (name, went[name])
    for name in ("nft", "route"):
        assert went[name] != "exit 0", (name, went[name])
    assert went["worker-socket"] == "hung up" or went["worker-socket"].startswith("refused"), went["worker-socket"]
    assert {"stranger", "other-port", "resolver", "bound", "stranger-when-up", "bound-when-up"} <= set(went), went
    lab.leaks.closed([OPENVPN])
    status = daemon.api.status()
    assert status["gate"]["mode"] == "always" and daemon.process.alive() and daemon.process.pid == pid, status["gate"]
    daemon.api.stop()
    assert daemon.gate() == "closed"


# Of the same user as the tunnel `office`: would say that that one is up, look into its processes, and end them.
NEIGHBOUR = r"""#!/usr/bin/python3
import os, signal, socket, sys
PLACES = [line.split()[-1] for line in open("/proc/net/unix") if "@holdfast/" in line]
OWN = os.environ["NOTIFY_SOCKET"]
OTHERS = [place for place in PLACES if place != OWN]

def attempt(name, function):
    try:
        result = function() or "done"
    except Exception as error:
        result = f"refused {type(error).__name__}"
    print(f"tried {name}: {result}", flush=True)

def notify():
    for place in OTHERS:
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", chr(0) + place[1:])
    return f"sent to {len(OTHERS)}"

def victims():
    return [int(word) for word in open(sys.argv[1]).read().split()]

attempt("notify", notify)
for pid in victims():
    attempt(f"memory-{pid}", lambda: open(f"/proc/{pid}/mem", "rb").close())
    if "kill" in sys.argv:
        attempt(f"kill-{pid}", lambda: os.kill(pid, signal.SIGKILL))
print("tried everything", flush=True)
signal.pause()
"""


def has_scopes(lab):
    """Whether the kernel can keep signals in a domain of Landlock's (ABI 6, Linux 6.12)."""
    asked = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))"
    return int(lab.run(["/usr/bin/python3", "-c", asked]).stdout) >= 6


def test_worker_neighbour(lab):
    """a program of another tunnel, of the same user, neither says that this one is up, nor looks into it, nor ends it where the kernel can keep it from that"""
    tries = ["kill"] if has_scopes(lab) else []  # before Linux 6.12 signals go through, and the daemon sees who was ended
    lab.note("signals are tried, too" if tries else "this kernel keeps no signals in: memory and notices alone are tried")
    daemon = commanded(lab, ["attach"], connect=False, up={"notify": True}, routes=["10.77.0.0/16"], connectTimeout="5m")
    with open(f"{daemon.config_dir}/neighbour", "w") as file:
        file.write(NEIGHBOUR)
    os.chmod(f"{daemon.config_dir}/neighbour", 0o755)
    pids = f"{daemon.config_dir}/pids"
    write(daemon, "beside", {
        "id": "beside",
        "driver": "command",
        "settings": {
            "command": [f"{daemon.config_dir}/neighbour", pids, *tries],
            "addresses": ["10.9.1.2/32"],
            "up": {"line": "tried everything"},
        },
        "endpoints": [{"address": f"{topology.SERVER4}:51821/udp"}],
        "routes": ["10.78.0.0/16"],
    })  # fmt: skip
    daemon.process.send(signal.SIGHUP)
    watch = daemon.api.watch()
    daemon.api.start("office", wait=None)
    watch.wait(kind="connecting", tunnel="office")
    deadline = process.deadline_in()
    while not program_pids():
        process.remaining(deadline, "the program does not run")
    victims = [daemon.worker_pid("office"), *program_pids()]
    with open(pids, "w") as file:
        file.write(" ".join(map(str, victims)))
    daemon.api.start("beside")
    went = attempts(daemon)
    assert went.pop("notify") == "sent to 1", went
    assert len(went) == (1 + len(tries)) * len(victims) and set(went.values()) == {"refused PermissionError"}, went
    assert all(os.path.exists(f"/proc/{pid}") for pid in victims)
    assert daemon.api.tunnel("office")["state"] == "connecting", daemon.api.tunnel("office")


# What a worker plays (tests/unit/fake-worker.c, told by its tunnel's id), and what that is to the daemon.
PARTS = {
    "garbage": ("workerCrashed", "no message"),
    "windbag": ("workerCrashed", "too long"),
    "flood": ("workerCrashed", "flooded"),
    "twice": ("workerCrashed", "out of turn"),
    "quitter": ("workerCrashed", "status 7"),
    "deaf": ("workerCrashed", "closed its connection"),
    "liar": ("workerCrashed", "not its server"),
    "eager": ("workerCrashed", "out of turn"),
    "silent": ("workerStartFailed", "did not say hello"),
    "forger": ("workerStartFailed", "did not say hello"),
}


class Hostile(Daemon):
    """A daemon whose workers play parts."""

    def command(self, *arguments):
        command = super().command(*arguments)
        command[command.index("--worker") + 1] = self.lab.program("tests/unit/fake-worker")
        return command


def test_worker_hostile(lab):
    """whatever a worker says or does not say is a stop with an error: the gate stays closed and the daemon is unharmed"""
    lab.leaks.prove()
    daemon = Hostile(lab)
    lab.daemons.append(daemon)
    daemon.start()
    daemon.policy(TERMINATE)
    daemon.api.mode("always")
    server = lab.server()
    pid = daemon.process.pid
    for part, (error, detail) in PARTS.items():
        daemon.add_tunnel(server.document(tunnel=part))
        watch = daemon.api.watch()
        with nothing_leaves(lab):
            daemon.api.start(part, wait=None)
            stop = watch.wait(kind="willStop", tunnel=part)
            watch.wait_state("failed", part)
        assert stop["error"] == error and detail in stop["detail"], (part, stop)
        daemon.api.stop(part)
        watch.close()
    assert daemon.process.alive() and daemon.process.pid == pid and daemon.gate() == "closed"


def test_worker_stopped(lab):
    """a worker that hangs (SIGSTOP) is workerUnresponsive; a new one takes over, and nothing leaves"""
    daemon, _ = lab.guarded(RESTART_AT_ONCE)
    worker = daemon.worker_pid()
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(worker, signal.SIGSTOP)
        stop = watch.wait(kind="willStop")
        watch.wait_state("connected")
        lab.ping(topology.INNER_SERVER4)
    assert stop["error"] == "workerUnresponsive", stop
    assert daemon.worker_pid() != worker


def test_worker_privileges(lab):
    """wireguard-go's worker has CAP_NET_ADMIN and no other; it has no way to gain one"""
    daemon, _ = lab.guarded(TERMINATE)
    assert capabilities(daemon.worker_pid()) == {"CapEff": 1 << 12, "CapPrm": 1 << 12, "CapBnd": 1 << 12, "NoNewPrivs": 1, "Uid": True}


def capabilities(pid):
    found = {}
    for line in open(f"/proc/{pid}/status"):
        name, value = line.split(":", 1)
        if name in ("CapEff", "CapPrm", "CapBnd"):
            found[name] = int(value, 16)
        elif name == "NoNewPrivs":
            found[name] = int(value)
        elif name == "Uid":
            found[name] = "0" not in value.split()
    return found
