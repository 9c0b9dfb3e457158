# SPDX-License-Identifier: LGPL-2.1-or-later
"""The `command` driver: programs of every sort, what they say and how they end, and that nothing leaves meanwhile."""

import json
import os
import pwd
import signal
import subprocess
import time

from lab import process, topology
from lab.daemon import ASK, RESTART_AT_ONCE, TERMINATE
from lab.leaks import SERVER
from lab.names import NameServer
from test_restart import nothing_leaves

# Attaches to the tun by its name and answers every ping to 10.9.0.1 itself: a tunnel without a server. It is run by a
# worker without any capability; what else it does is told by its arguments.
PROGRAM = r'''#!/usr/bin/python3
import fcntl, os, select, signal, socket, struct, subprocess, sys, time

def say(text):
    print(text, flush=True)

def notify(text):
    name = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + name[1:] if name[0] == "@" else name)
        sock.send(text.encode())

def attach():
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", os.environ["HOLDFAST_INTERFACE"].encode(), 0x1001))
    return fd

def carry(fd):
    while True:
        packet = bytearray(os.read(fd, 65536))
        if packet[0] >> 4 == 4 and packet[9] == 1 and packet[20] == 8:
            packet[12:16], packet[16:20] = packet[16:20], packet[12:16]
            packet[20] = 0
            packet[22:24] = b"\0\0"
            total = sum(struct.unpack(f"!{len(packet[20:]) // 2}H", packet[20 : 20 + len(packet[20:]) // 2 * 2]))
            if len(packet) % 2:
                total += packet[-1] << 8
            while total >> 16:
                total = (total & 0xFFFF) + (total >> 16)
            packet[22:24] = struct.pack("!H", ~total & 0xFFFF)
            os.write(fd, packet)

mode = sys.argv[1]
if mode in ("credentials", "credentials3"):
    lines = os.fdopen(3 if mode[-1] == "3" else 0).read().split("\n")
    say("got " + " ".join(lines))  # a program that prints what it was given
    if lines[:2] != ["joe", "s3cret"]:
        say("AUTH_FAILED")
        time.sleep(60)
    mode = "line"
if mode == "exit":
    sys.exit(int(sys.argv[2]))
if mode == "only":  # this port takes us, no other does
    if sys.argv[2] != sys.argv[3]:
        sys.exit(3)
    mode = "line"
if mode == "say":
    say(" ".join(sys.argv[2:]))
    time.sleep(60)
if mode == "errno":
    notify("STATUS=the server hung up\nERRNO=104")
    sys.exit(1)
if mode == "hang":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)
if mode == "whoami":
    say(open("/proc/self/status").read().replace("\n", "\t")[:900])
    for line in open("/proc/self/status"):
        if line.split(":")[0] in ("Uid", "Groups", "CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs"):
            say("whoami " + " ".join(line.split()))
    time.sleep(60)
if mode == "talk":  # to its endpoint, its other servers, and whom it has no business with
    say("user " + str(os.getuid()) + " " + os.environ["HOLDFAST_ADDRESS"])
    for address, port in ((os.environ["HOLDFAST_ADDRESS"], int(os.environ["HOLDFAST_PORT"])), *((word.split(":")[0], int(word.split(":")[1])) for word in sys.argv[2:])):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto(b"command talks", (address, port))
            except OSError as error:
                say(f"refused {address}:{port} {error}")
    mode = "line"
if mode == "leaves":  # a daemon that outlives it, and would have itself found by nobody
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            os.closerange(0, 100)
            while True:
                time.sleep(60)
        os._exit(0)
    time.sleep(0.2)
    sys.exit(3)
if mode == "othername":
    os.environ["HOLDFAST_INTERFACE"] = "hf-other"
    mode = "own"
tun = attach()
if mode == "own":
    name = os.environ["HOLDFAST_INTERFACE"]
    for words in (["address", "add", "10.9.0.2/32", "dev", name], ["link", "set", name, "up"]):
        subprocess.run(["ip", *words], check=True)
if mode == "forks":
    gone, held = os.pipe()
    if os.fork():
        sys.exit(0)
    os.close(held)
    os.read(gone, 1)  # the parent's end is closed: it is gone
    os.setsid()
    if os.fork():
        time.sleep(1000)
    mode = "line"
if mode == "chatty":
    subprocess.Popen(["yes", "nonsense"])
    mode = "line"
if mode == "binary":
    os.write(1, b"\xff\xfe\0\x1b[2J\xc3( is up now \x9b31m\n")
if mode == "torrent":
    subprocess.Popen(["cat", "/dev/zero"])
    mode = "notify"
if mode == "twice":
    say("tunnel is up now")
    mode = "line"
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mode = "line"
if mode == "notify":
    notify("READY=1\nSTATUS=carrying")
if mode == "early":  # fed once, and then it takes longer than its watchdog waits
    notify("WATCHDOG=1")
    time.sleep(1)
    notify("READY=1")
    time.sleep(1000)
if mode == "trigger":
    notify("READY=1")
    notify("WATCHDOG=trigger")
    time.sleep(1000)
if mode == "watchdog":
    notify("READY=1")
if mode == "stopping":
    notify("READY=1")
    signal.signal(signal.SIGUSR1, lambda *_: (notify("STOPPING=1\nERRNO=16"), sys.exit(0)))
if mode == "line":
    say("tunnel is up now")
carry(tun)
'''

UP = {"line": "*is up*"}
LOGGED_PER_SECOND = 20  # lines of a program's (LINES_PER_SEC of tunnel/command.c)


def install(daemon, arguments, tunnel="office", up=UP, endpoint=f"{topology.SERVER4}:51820/udp", settings=None, **members):
    """Writes the program and the tunnel's file, both root's, and has the daemon read it."""
    program = f"{daemon.config_dir}/program"
    with open(program, "w") as file:
        file.write(PROGRAM)
    os.chmod(program, 0o755)
    document = {
        "id": tunnel,
        "driver": "command",
        "settings": {
            "command": [program, *arguments],
            "addresses": ["10.9.0.2/32"],
            "up": up,
            "errors": [
                {"line": "*AUTH_FAILED*", "error": "authenticationFailed"},
                {"regex": "^server (full|busy)$", "error": "serverBusy"},
                {"exit": 3, "error": "sessionRefused"},
            ],
        }
        | (settings or {}),
        "endpoints": [{"address": endpoint}],
        "connectTimeout": "20s",
    } | members
    write(daemon, tunnel, document)
    return document


def write(daemon, tunnel, document, mode=0o600):
    folder = f"{daemon.config_dir}/tunnels"
    os.makedirs(folder, mode=0o755, exist_ok=True)
    with open(f"{folder}/{tunnel}.json", "w") as file:
        json.dump(document, file)
    os.chmod(f"{folder}/{tunnel}.json", mode)


def commanded(lab, arguments, policy=TERMINATE, connect=True, **options):
    """A proven capture, a daemon, and the tunnel `office`, connected."""
    lab.leaks.prove()
    daemon = lab.daemon(start=False)
    install(daemon, arguments, **options)
    daemon.start()
    daemon.policy(policy)
    if not connect:
        daemon.api.mode("always")  # what is offered before it is told to start must not leave either
    else:
        daemon.api.start("office")
        assert daemon.api.tunnel("office")["state"] == "connected", (daemon.api.tunnel("office"), daemon.process.log()[-3000:])
    return daemon


def program_pids():
    """Everything that runs our program, forks of it included."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and b"/etc/program" in open(f"/proc/{entry}/cmdline", "rb").read():
                found.append(int(entry))
        except OSError:
            pass
    return found


def all_gone():
    """Returns once none runs any more: those that were killed take their time to end."""
    for pid in program_pids():
        process.wait_gone(pid)


def expect(lab, daemon, error, detail="", begin=None):
    """The next unexpected stop of `office` is ERROR, and nothing leaves meanwhile."""
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        (begin or (lambda: daemon.api.start("office", wait=None)))()
        stop = watch.wait(kind="willStop")
    assert stop["error"] == error and detail in (stop["detail"] or ""), stop
    return stop


def test_command_line(lab):
    """a line says that it is up; it carries, as nobody's user, and its death is a restart behind a closed gate"""
    daemon = commanded(lab, ["line"], RESTART_AT_ONCE)
    lab.ping(topology.INNER_SERVER4)
    worker, [program] = daemon.worker_pid("office"), program_pids()
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(program, signal.SIGKILL)
        watch.wait_state("connected", "office")
        lab.ping(topology.INNER_SERVER4)
    stop = next(event for event in watch.seen if event["kind"] == "willStop")
    assert stop["error"] == "workerCrashed" and "SIGKILL" in stop["detail"], stop
    assert daemon.worker_pid("office") == worker and program_pids() != [program]


def test_command_notify(lab):
    """READY=1 says that it is up"""
    commanded(lab, ["notify"], up={"notify": True})
    lab.ping(topology.INNER_SERVER4)


def test_command_interface(lab):
    """whoever attaches to its interface is up"""
    commanded(lab, ["attach"], up={"interface": True})
    lab.ping(topology.INNER_SERVER4)


def test_command_exit_code(lab):
    """an exit code means what the tunnel's file says"""
    daemon = commanded(lab, ["exit", "3"], connect=False)
    expect(lab, daemon, "sessionRefused", "status 3")


def test_command_exit_unmapped(lab):
    """an exit that the file does not speak of is an unexpected stop, 0 included"""
    daemon = commanded(lab, ["exit", "0"], connect=False)
    expect(lab, daemon, "unknown", "status 0")


def test_command_error_line(lab):
    """a line that is an error ends the program at once"""
    daemon = commanded(lab, ["say", "server", "full"], connect=False)
    expect(lab, daemon, "serverBusy", "server full")
    all_gone()


def test_command_errno(lab):
    """ERRNO= and STATUS= of the notify protocol say why it ended"""
    daemon = commanded(lab, ["errno"], connect=False)
    expect(lab, daemon, "serverDisconnected", "the server hung up")


def test_command_stopping(lab):
    """a program that says STOPPING=1 by itself gives its reason and goes"""
    daemon = commanded(lab, ["stopping"], up={"notify": True})
    [program] = program_pids()
    expect(lab, daemon, "serverBusy", begin=lambda: os.kill(program, signal.SIGUSR1))


def test_command_hung(lab):
    """one that never comes up is connectionTimeout, and is gone afterwards although it ignores SIGTERM"""
    daemon = commanded(lab, ["hang"], connect=False, connectTimeout="1s")
    watch = daemon.api.watch()
    expect(lab, daemon, "connectionTimeout")
    watch.wait_state("failed", "office")
    all_gone()


def test_command_watchdog(lab):
    """a watchdog that is not fed is workerUnresponsive"""
    daemon = commanded(lab, ["watchdog"], up={"notify": True}, settings={"watchdog": "1s"})
    expect(lab, daemon, "workerUnresponsive", "watchdog", begin=lambda: None)


def test_command_watchdog_while_starting(lab):
    """a watchdog that is fed before READY=1 counts from READY=1"""
    daemon = commanded(lab, ["early"], connect=False, up={"notify": True}, settings={"watchdog": "250ms"})
    watch = daemon.api.watch()
    daemon.api.start("office", wait=None)
    stop = watch.wait(kind="willStop")
    assert (stop["error"], stop["phase"]) == ("workerUnresponsive", "connected"), stop


def test_command_watchdog_triggered(lab):
    """WATCHDOG=trigger is workerUnresponsive at once, without a watchdog, too"""
    daemon = commanded(lab, ["trigger"], connect=False, up={"notify": True})
    watch = daemon.api.watch()
    daemon.api.start("office", wait=None)
    stop = watch.wait(kind="willStop")
    assert stop["error"] == "workerUnresponsive" and "triggered" in stop["detail"], stop


def test_command_stopped(lab):
    """a program that is stopped (SIGSTOP) is workerUnresponsive"""
    daemon = commanded(lab, ["line"])
    [program] = program_pids()
    expect(lab, daemon, "workerUnresponsive", "SIGSTOP", begin=lambda: os.kill(program, signal.SIGSTOP))


def test_command_forks(lab):
    """a program that goes into the background carries on, and every process of it ends with the tunnel"""
    daemon = commanded(lab, ["forks"], settings={"forks": True})
    lab.ping(topology.INNER_SERVER4)
    pids = program_pids()
    assert len(pids) == 2, pids
    daemon.api.stop("office")
    assert daemon.api.tunnel("office")["state"] == "disconnected"
    all_gone()


def test_command_stubborn(lab):
    """a program that ignores its stop signal is killed once its time is over"""
    daemon = commanded(lab, ["stubborn"], settings={"stop": {"signal": "SIGTERM", "timeout": "200ms"}})
    daemon.api.stop("office")
    assert daemon.api.tunnel("office")["state"] == "disconnected"
    all_gone()


def test_command_chatty(lab):
    """output without end costs neither the tunnel nor the log"""
    begun = time.monotonic()
    daemon = commanded(lab, ["chatty"], RESTART_AT_ONCE)
    for _ in range(20):
        lab.ping(topology.INNER_SERVER4)
    lines, took = daemon.process.log().count("nonsense"), time.monotonic() - begun
    assert lines <= LOGGED_PER_SECOND * (took + 2), (lines, took)
    daemon.api.stop("office")


def test_command_link_deleted(lab):
    """its link deleted is tunInterfaceFailure"""
    daemon = commanded(lab, ["line"])
    expect(lab, daemon, "tunInterfaceFailure", begin=lambda: lab.ip("link", "delete", "hf-office"))


def test_command_own_link(lab):
    """a program that root's file gives the capability makes its link itself; it is found, configured, and lost with its reason"""
    own = {"interface": "own", "capabilities": ["CAP_NET_ADMIN"], "addresses": []}
    daemon = commanded(lab, ["own"], RESTART_AT_ONCE, up={"interface": True}, settings=own)
    lab.ping(topology.INNER_SERVER4)
    [program] = program_pids()
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(program, signal.SIGKILL)
        stop = watch.wait(kind="willStop")
        watch.wait_state("connected", "office")
        lab.ping(topology.INNER_SERVER4)
    assert stop["error"] == "workerCrashed", stop  # its link went with it, which is no reason of its own
    with nothing_leaves(lab):
        lab.ip("link", "delete", "hf-office")
        stop = watch.wait(kind="willStop")
        watch.wait_state("connected", "office")
        lab.ping(topology.INNER_SERVER4)
    assert stop["error"] == "tunInterfaceFailure", stop


def test_command_daemon_killed(lab):
    """SIGKILL of the daemon: the program carries on, and the next daemon takes it back"""
    daemon = commanded(lab, ["line"], RESTART_AT_ONCE)
    worker, [program] = daemon.worker_pid("office"), program_pids()
    flood = lab.flood()
    with nothing_leaves(lab):
        daemon.kill()
        lab.ping(topology.INNER_SERVER4)
        daemon.start()
    sent, answered, _ = flood.stop()
    assert sent == answered, (sent, answered)
    assert (daemon.worker_pid("office"), program_pids()) == (worker, [program])
    assert daemon.api.tunnel("office")["state"] == "connected" and daemon.gate() == "tunnel"


def test_command_daemon_killed_while_asking(lab):
    """a question for credentials outlives the daemon that passed it on"""
    daemon = commanded(lab, ["credentials3"], connect=False, settings={"credentials": {"names": ["username", "password"], "to": "fd3"}})
    watch = daemon.api.watch()
    daemon.api.start("office", wait=None)
    watch.wait(kind="needCredentials")
    daemon.kill()
    daemon.start()
    watch = daemon.api.watch(0)
    while daemon.api.tunnel("office")["needCredentials"] is None:
        watch.next()
    daemon.api.post("/tunnels/office/credentials", {"credentials": {"username": "joe", "password": "s3cret"}})
    daemon.wait_connected("office")
    lab.ping(topology.INNER_SERVER4)


def test_command_credentials_without_echo(lab):
    """holdfastctl asks a person on a terminal, and the terminal does not show the answer"""
    daemon = commanded(lab, ["credentials"], connect=False, settings={"credentials": {"names": ["username", "password"]}})
    watch = daemon.api.watch()
    daemon.api.start("office", wait=None)
    watch.wait(kind="needCredentials")
    near, far = os.openpty()
    command = [lab.program("holdfastctl"), "--socket", daemon.api.path, "credentials", "office"]
    ctl = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, preexec_fn=lab.net.client.join)
    os.close(far)
    shown = b""
    for question, answer in ((b"username: ", b"joe\n"), (b"password: ", b"s3cret\n")):
        while question not in shown:
            shown += os.read(near, 1000)
        os.write(near, answer)
    assert ctl.wait(process.PATIENCE) == 0
    while b"was told" not in shown:
        shown += os.read(near, 1000)
    os.close(near)
    assert b"s3cret" not in shown and b"joe" not in shown, shown
    watch.wait_state("connected", "office")


def test_command_confined(lab):
    """the program is nobody's: no capability, no group, no way to gain one"""
    daemon = commanded(lab, ["whoami"], connect=False)
    daemon.api.start("office", wait=None)
    watch = daemon.api.watch(0)
    watch.wait(kind="connecting")
    lines = wait_for_lines(daemon, "whoami", 7)
    assert "Groups:" in [line for line in lines if line.startswith("Groups")], lines
    assert "NoNewPrivs: 1" in lines, lines
    for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        assert f"{name}: 0000000000000000" in lines, lines
    assert not any(line.startswith("Uid: 0") for line in lines), lines


def wait_for_lines(daemon, word, count):
    """What the program said, from the daemon's log: there is no event for it."""
    daemon.process.wait_log(f"says: {word} ", count)
    return [line.split(f"{word} ", 1)[1] for line in daemon.process.log().splitlines() if f"says: {word} " in line]


def test_command_leaves_a_daemon(lab):
    """a program that leaves a daemon behind and goes has ended: what it left, which hears no signal, is ended with it"""
    daemon = commanded(lab, ["leaves"], connect=False)
    watch = daemon.api.watch()
    expect(lab, daemon, "sessionRefused", "status 3")
    watch.wait_state("failed", "office")
    all_gone()


def test_command_binary(lab):
    """output that is no text says what it says, and nothing of it reaches a terminal or a log as it is"""
    daemon = commanded(lab, ["binary"])
    lab.ping(topology.INNER_SERVER4)
    with open(daemon.process.log_path, "rb") as file:
        log = file.read()
    assert b"is up now" in log and not set(log) & {0, 0x1B, 0x9B, 0xFF, 0xFE}, log[-500:]


def test_command_torrent(lab):
    """gigabytes without a line end cost neither the tunnel nor the worker's memory"""
    daemon = commanded(lab, ["torrent"], up={"notify": True})
    for _ in range(20):
        lab.ping(topology.INNER_SERVER4)
    with open(f"/proc/{daemon.worker_pid('office')}/status") as file:
        [resident] = [int(line.split()[1]) for line in file if line.startswith("VmRSS")]
    assert resident < 64 * 1024, resident
    daemon.api.stop("office")
    all_gone()


def test_command_up_twice(lab):
    """a program that says twice that it is up is up once"""
    daemon = commanded(lab, ["twice"])
    lab.ping(topology.INNER_SERVER4)
    states = [event["new"] for event in daemon.api.all_events() if event["kind"] == "stateChanged"]
    assert states == ["connecting", "connected"], states


def test_command_other_name(lab):
    """a link of another name than the tunnel's is none: the program is not up, and takes its link with it"""
    own = {"interface": "own", "capabilities": ["CAP_NET_ADMIN"], "addresses": []}
    daemon = commanded(lab, ["othername"], connect=False, up={"interface": True}, settings=own, connectTimeout="2s")
    expect(lab, daemon, "connectionTimeout")
    assert lab.ip("link", "show", "hf-other", check=False).returncode != 0


def test_command_notified_by_others(lab):
    """READY=1 of another user's process, who found the socket, counts for nothing"""
    daemon = commanded(lab, ["attach"], connect=False, up={"notify": True}, connectTimeout="5s")
    watch = daemon.api.watch()
    daemon.api.start("office", wait=None)
    watch.wait(kind="connecting")
    names = []
    while not names:
        lines = lab.run(["cat", "/proc/net/unix"]).stdout.splitlines()
        names = [line.split()[-1][1:] for line in lines if "@holdfast/" in line]
        assert daemon.api.tunnel("office")["state"] == "connecting"
    script = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "[sock.sendto(b'READY=1', chr(0) + name) for name in sys.argv[1:]]"
    )
    with nothing_leaves(lab):
        lab.run(["/usr/bin/python3", "-c", script, *names])
        stop = watch.wait(kind="willStop")
    assert stop["error"] == "connectionTimeout", stop


def test_command_of_another_user(lab):
    """a tunnel with a user of its own, an endpoint that is a name, and two more servers: those three are reached, by that user, and nobody else"""
    lab.names = NameServer(lab, {"vpn.example": [topology.SERVER4]})
    more, stranger = (f"{topology.SERVER4_SECOND}:4500", f"{topology.SERVER4}:4500"), f"{topology.INTERNET4}:4500"
    daemon = commanded(
        lab, ["talk", *more, stranger], connect=False, endpoint="vpn.example:51820/udp",
        settings={"user": "games", "servers": [f"{server}/udp" for server in more]},
    )  # fmt: skip
    place = lab.capture.mark()
    daemon.api.start("office")
    assert daemon.api.tunnel("office")["state"] == "connected", daemon.process.log()[-2000:]
    assert f"says: user {pwd.getpwnam('games').pw_uid} {topology.SERVER4}" in daemon.process.log()
    for server in (f"{topology.SERVER4}:51820", *more):
        lab.capture.wait(lambda frame, server=server: f"{frame.destination}:{frame.destination_port}" == server, place)
    to_strangers = [frame for frame in lab.capture.since(place) if frame.destination == topology.INTERNET4]
    assert not to_strangers, to_strangers
    lab.ping(topology.INNER_SERVER4)


def test_command_no_such_user(lab):
    """a user that does not exist is named, and nothing is run as anybody else"""
    daemon = commanded(lab, ["line"], connect=False, settings={"user": "nobody-of-that-name"})
    expect(lab, daemon, "workerStartFailed", "nobody-of-that-name does not exist")


def test_command_user_that_may_command(lab):
    """a member of the group that commands the daemon, by whatever line of /etc/group, is no user for a tunnel"""
    with open("/etc/group") as file:
        lines = [line for line in file.read().splitlines() if not line.startswith("holdfast:")]
    with open("/run/lab/group", "w") as file:
        file.write("\n".join([*lines, "holdfast:x:64999:news,games", ""]))
    lab.run(["mount", "--bind", "/run/lab/group", "/etc/group"])
    daemon = commanded(lab, ["line"], connect=False, settings={"user": "games"})
    expect(lab, daemon, "workerStartFailed", "games may command holdfastd itself")


def test_command_only_by_file(lab):
    """nobody makes one over the API: neither new, nor in the place of another tunnel"""
    daemon = lab.daemon()
    document = install(daemon, ["line"], tunnel="other")
    made = daemon.api.call("POST", "/tunnels", document | {"id": "mine"})
    assert made.status == 403 and "holdfastd/etc/tunnels/mine.json" in made.body["detail"], made
    server = lab.server()
    daemon.add_tunnel(server.document())
    replaced = daemon.api.call("PUT", "/tunnels/home", document | {"id": "home"}, headers={"If-Match": "*"})
    assert replaced.status == 403, replaced
    assert [tunnel["driver"] for tunnel in daemon.api.get("/tunnels")["tunnels"]] == ["wireguard"]


def test_command_files_are_roots(lab):
    """a file, a folder or a program that others may write is not used, and the reason is said"""
    daemon = lab.daemon(start=False)
    document = install(daemon, ["line"])
    write(daemon, "loose", document | {"id": "loose"}, mode=0o666)
    foreign = json.loads(json.dumps(document)) | {"id": "foreign"}
    foreign["settings"]["command"][0] = f"{daemon.config_dir}/foreign"
    with open(f"{daemon.config_dir}/foreign", "w") as file:
        file.write("#!/bin/sh\n")
    os.chmod(f"{daemon.config_dir}/foreign", 0o755)
    os.chown(f"{daemon.config_dir}/foreign", 12345, 0)
    write(daemon, "foreign", foreign)
    os.makedirs(f"{daemon.state_dir}/tunnels", exist_ok=True)
    with open(f"{daemon.state_dir}/tunnels/stored.json", "w") as file:
        json.dump(document | {"id": "stored"}, file)
    daemon.start()
    status = daemon.api.status()
    assert [tunnel["id"] for tunnel in status["tunnels"]] == ["office"], status["tunnels"]
    for words in ("loose.json is writable", "foreign belongs to uid 12345", "stored.json: a tunnel of the driver command"):
        assert words in status["documentErrors"], status["documentErrors"]


def place_programs(folder):
    """Programs at PATHS that are not root's alone to change; {name: (path, what is said of it)}."""
    theirs = f"{folder}/theirs"
    os.mkdir(theirs)
    os.symlink("/usr/bin/true", f"{theirs}/step")
    os.symlink(f"{theirs}/step", f"{folder}/through")
    os.chown(theirs, 12345, 0)
    os.symlink(f"{folder}/round", f"{folder}/round")
    os.mkfifo(f"{folder}/pipe", 0o755)
    os.mkdir(f"{folder}/open")
    os.chmod(f"{folder}/open", 0o777)
    for name, mode in (("open/program", 0o755), ("group", 0o775), ("fine", 0o755)):
        with open(f"{folder}/{name}", "w") as file:
            file.write("#!/bin/sh\n")
        os.chmod(f"{folder}/{name}", mode)
    os.symlink("fine", f"{folder}/link")
    os.link(f"{folder}/fine", f"{folder}/hard")
    return {
        "passed": (f"{folder}/through", "theirs belongs to uid 12345"),  # it leads to root's, by a link that is not
        "round": (f"{folder}/round", "Too many levels of symbolic links"),
        "pipe": (f"{folder}/pipe", "pipe is no file"),
        "folder": ("/usr/bin", "/usr/bin is no file"),
        "open": (f"{folder}/open/program", "open is writable by others than root"),
        "group": (f"{folder}/group", "group is writable by others than root"),
        "proc": ("/proc/self/exe", "/proc is another file for each process that looks"),
        "gone": (f"{folder}/gone", "No such file"),
        "link": (f"{folder}/open/../link", "open is writable by others than root"),
        "fine": (f"{folder}/../programs/link", None),
        "hard": (f"{folder}/hard", None),
    }


def test_command_programs_are_roots(lab):
    """a program that somebody else could exchange, at any step of the way to it, is not run; one that is root's by links of root's is"""
    daemon = lab.daemon(start=False)
    folder = "/run/lab/programs"
    os.mkdir(folder)
    document = install(daemon, ["line"])
    programs = place_programs(folder)
    for name, (path, _) in programs.items():
        write(daemon, name, document | {"id": name, "settings": document["settings"] | {"command": [path]}})
    os.mkfifo(f"{daemon.config_dir}/tunnels/fifo.json")
    daemon.start()
    status = daemon.api.status()
    assert sorted(tunnel["id"] for tunnel in status["tunnels"]) == ["fine", "hard", "office"], status
    for name, (_, words) in programs.items():
        if words:
            said = [line for line in status["documentErrors"].split("\n") if f"/{name}.json" in line]
            assert len(said) == 1 and words in said[0], (name, said, status["documentErrors"])


def test_command_program_given_away(lab):
    """a program that root gave away after its document was read is not run again"""
    daemon = commanded(lab, ["line"], RESTART_AT_ONCE)
    [program] = program_pids()
    watch = daemon.api.watch()
    os.chown(f"{daemon.config_dir}/program", 12345, 0)
    with nothing_leaves(lab):
        os.kill(program, signal.SIGKILL)
        assert watch.wait(kind="willStop")["error"] == "workerCrashed"
        stop = watch.wait(kind="willStop")
        watch.wait_state("failed", "office")
    assert stop["error"] == "badConfiguration" and "belongs to uid 12345" in stop["detail"], stop
    all_gone()


def test_command_credentials(lab):
    """what it asks for is shown and answered, handed over by its standard input, and stands nowhere else"""
    daemon = commanded(
        lab, ["credentials"], ASK, connect=False, settings={"credentials": {"names": ["username", "password"], "to": "stdin"}}
    )
    watch = daemon.api.watch()
    daemon.api.start("office", wait=None)
    lab.leaks.begin()
    generator = lab.generator()
    asked = watch.wait(kind="needCredentials")
    assert asked["names"] == ["username", "password"], asked
    assert daemon.api.tunnel("office")["needCredentials"] == ["username", "password"]
    for wrong in ({"username": "joe"}, {"username": "joe", "password": "s3cret", "more": "x"}, {"username": "j\ne", "password": "x"}):
        refused = daemon.api.call("POST", "/tunnels/office/credentials", {"credentials": wrong})
        assert refused.status == 400 and "s3cret" not in json.dumps(refused.body), refused
    given = daemon.ctl("credentials", "office", input="joe\nwrong-word\n")
    assert given.returncode == 0, given
    stop = watch.wait(kind="willStop")
    assert stop["error"] == "authenticationFailed", stop
    daemon.api.post(f"/decisions/{watch.wait(kind='decisionPending')['decision']}/answer", {"restart": True})
    watch.wait(kind="needCredentials")  # what was refused is not tried again
    daemon.api.post("/tunnels/office/credentials", {"credentials": {"username": "joe", "password": "s3cret"}})
    watch.wait_state("connected", "office")
    lab.ping(topology.INNER_SERVER4)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    [program] = program_pids()
    os.kill(program, signal.SIGKILL)
    daemon.api.post(f"/decisions/{watch.wait(kind='decisionPending')['decision']}/answer", {"restart": True})
    watch.wait_state("connected", "office")  # and what was taken is not asked for again
    [program] = program_pids()
    for secret in (b"s3cret", b"wrong-word"):
        assert secret not in open(f"/proc/{program}/environ", "rb").read() + open(f"/proc/{program}/cmdline", "rb").read()
        assert secret not in daemon.process.log().encode()
        assert secret not in json.dumps(daemon.api.all_events()).encode() + json.dumps(daemon.api.status()).encode()
        for folder, _, files in os.walk(daemon.state_dir):
            for name in files:
                assert secret not in open(os.path.join(folder, name), "rb").read(), name
    refused = daemon.api.call("POST", "/tunnels/office/credentials", {"credentials": {"username": "a", "password": "b"}})
    assert refused.status == 409, refused


def test_command_systemd_credentials(lab):
    """credentials of the service are used where the tunnel's file names them"""
    folder = "/run/lab/credentials"
    os.makedirs(folder, mode=0o700)
    for name, value in (("vpn-user", "joe\n"), ("vpn-password", "s3cret\n")):
        with open(f"{folder}/{name}", "w") as file:
            file.write(value)
    lab.leaks.prove()
    daemon = lab.daemon(start=False)
    install(
        daemon,
        ["credentials"],
        settings={"credentials": {"names": ["username", "password"]}},
        systemdCredentials={"username": "vpn-user", "password": "vpn-password"},
    )
    daemon.start(CREDENTIALS_DIRECTORY=folder)
    daemon.policy(TERMINATE)
    daemon.api.mode("always")
    with nothing_leaves(lab):
        daemon.api.start("office")
    assert daemon.api.tunnel("office")["state"] == "connected", daemon.process.log()[-2000:]
    assert "s3cret" not in daemon.process.log()
