# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bad input: each mistake gets an error that names what is wrong and where, changes nothing and opens nothing."""

import json
import os
import re
import subprocess

from lab import process, topology
from lab.daemon import RESTART_AT_ONCE, TERMINATE
from lab.leaks import SERVER
from lab.on_bus import OnBus, plain

GOOD_KEY = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="


class Unchanged:
    """What must be the same before and after a refused request."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.before = self.now()

    def now(self):
        api = self.daemon.api
        status = api.status()
        return {
            "tunnels": [(entry["id"], entry["state"]) for entry in status["tunnels"]],
            "policy": status["policy"],
            "mode": status["gate"]["mode"],
            "kernel": status["gate"]["kernel"],
            "killSwitch": api.get("/kill-switch"),
            "files": {
                name: open(f"{self.daemon.state_dir}/{name}", "rb").read()
                for name in sorted(os.listdir(self.daemon.state_dir))
                if name in ("policy.json", "kill-switch.json")
            },
            "workers": process.running("holdfast-worker"),
            "table": self.daemon.table() is None,
        }

    def check(self):
        assert self.now() == self.before, f"{self.now()}\nwas\n{self.before}"


def refused(daemon, status, code, method, path, body=None, pointer=None, **options):
    """The request is answered with STATUS and CODE as a problem document, with an error at POINTER, and changed nothing."""
    unchanged = Unchanged(daemon)
    answer = daemon.api.call(method, path, body, **options)
    assert (answer.status, answer.body.get("code")) == (status, code), answer
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.headers
    assert len(answer.body.get("detail") or answer.body.get("title") or "") > 10, answer.body
    if pointer is not None:
        pointers = [error["pointer"] for error in answer.body["errors"]]
        assert pointer in pointers, (pointer, answer.body)
        assert all(error["detail"] for error in answer.body["errors"]), answer.body
    unchanged.check()
    return answer.body


def fails(done, *words):
    """A command line that failed and named every one of WORDS on stderr."""
    assert done.returncode != 0, done
    for word in words:
        assert word in done.stderr, (word, done)
    assert "holdfastctl" in done.stderr or ":" in done.stderr, done


def test_texts_of_one_line(lab):
    """a text with a NUL or another control character is refused by what it is, at its place, over REST and D-Bus; a time of ten years is too long"""
    on_bus = OnBus(lab)
    daemon = on_bus.daemon
    for method, path, body, pointer, words in (
        ("POST", "/kill-switch/release", {"reason": "a\0b"}, "/reason", "holds a NUL character"),
        ("POST", "/kill-switch/release", {"reason": "a\x1b[2Jb"}, "/reason", "holds a control character"),
        ("PUT", "/kill-switch/mode", {"mode": "auto\n"}, "/mode", "holds a control character"),
        ("POST", "/tokens", {"name": "a\nb", "scope": "read"}, "/name", "holds a control character"),
        ("POST", "/tokens", {"name": "ci", "scope": "read", "lifetime": "4000d"}, "/lifetime", "is too long; durations are at most 3650d"),
        ("POST", "/tokens", {"name": "ci", "scope": "read", "lifetime": "soon"}, "/lifetime", "is no duration; write 250ms, 1s, 5m, 2h or 1d"),
        ("GET", "/events?kind=a%0Ab", None, "/kind", "holds a control character"),
    ):
        problem = refused(daemon, 400, "badRequest", method, path, body, pointer)
        assert words in [error["detail"] for error in problem["errors"]], problem
    refused(daemon, 400, "invalidDocument", "POST", "/bypass", {"program": "a\x1bb"}, "/program")
    twice = b'{"address":"192.0.2.1","address":"192.0.2.2"}'
    refused(daemon, 400, "invalidDocument", "POST", "/bypass", twice, "/address")
    for member, signature, *arguments in (("Release", "ss", "a\x1b[2Jb", ""), ("AddBypass", "a{sv}", "1", "program", "s", "a\x1bb")):
        done = busctl(lab, on_bus.bus, "/org/holdfast/Holdfast1", "KillSwitch", member, signature, *arguments)
        assert done.returncode != 0 and "control character" in done.stderr, done
    done = busctl(lab, on_bus.bus, "/org/holdfast/Holdfast1", "KillSwitch", "AddBypass", "a{sv}", "2", "address", "s", "192.0.2.1", "address", "s", "192.0.2.2")
    assert done.returncode != 0 and "twice" in done.stderr and not daemon.api.get("/bypass")["bypass"], done


def test_unknown_tunnel(lab):
    """an unknown tunnel: 404 tunnelNotFound over REST, the name in holdfastctl's words, TunnelNotFound over D-Bus"""
    bus = lab.bus()
    daemon = lab.daemon(environment={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
    for method, path in (("GET", ""), ("POST", "/start"), ("POST", "/stop"), ("POST", "/restart")):
        refused(daemon, 404, "tunnelNotFound", method, f"/tunnels/nowhere{path}", {} if method == "POST" else None)
    refused(daemon, 404, "tunnelNotFound", "DELETE", "/tunnels/nowhere", headers={"If-Match": "*"})
    unchanged = Unchanged(daemon)
    fails(daemon.ctl("up", "nowhere"), "nowhere")
    done = busctl(lab, bus, "/org/holdfast/Holdfast1/tunnel/nowhere", "Tunnel", "Stop")
    assert done.returncode != 0 and done.stderr, done
    unchanged.check()


def test_bad_tunnel_id(lab):
    """a bad tunnel id: 400 with the rule for ids, wherever it stands"""
    daemon = lab.daemon()
    for bad in ("Home", "1home", "home-office", "averyverylongname", "h%20me", ".."):
        answer = daemon.api.call("POST", f"/tunnels/{bad}/start", {})
        assert answer.status in (400, 404), (bad, answer)
    refused(daemon, 400, "invalidTunnelId", "POST", "/tunnels/Home/start", {})
    server = lab.server()
    body = refused(daemon, 400, "invalidDocument", "POST", "/tunnels", server.document(tunnel="Home"), pointer="/id")
    assert "letter" in json.dumps(body) or "a-z" in json.dumps(body), body
    refused(daemon, 400, "invalidTunnelId", "POST", "/tunnels/import?id=Home", server.wg_quick().encode(), content_type="application/octet-stream")
    fails(daemon.ctl("up", "Home"), "Home")


def test_malformed_wg_quick(lab):
    """a malformed wg-quick file: 400 with the line, nothing imported"""
    daemon = lab.daemon()
    for text, line in (
        ("this is not a file of wg-quick's\n", None),
        (f"[Interface]\nPrivateKey = too short\nAddress = 10.9.0.2/32\n[Peer]\nPublicKey = {GOOD_KEY}\nEndpoint = 203.0.113.2:51820\n", 2),
        (f"[Interface]\nPrivateKey = {GOOD_KEY}\nAddress = 10.9.0.300/32\n[Peer]\nPublicKey = {GOOD_KEY}\nEndpoint = 203.0.113.2:51820\n", 3),
        (f"[Interface]\nPrivateKey = {GOOD_KEY}\nAddress = 10.9.0.2/32\n[Peer]\nPublicKey = {GOOD_KEY}\nEndpoint = 203.0.113.2:99999\n", 6),
    ):
        body = refused(
            daemon,
            400,
            "invalidDocument",
            "POST",
            "/tunnels/import?id=home",
            text.encode(),
            pointer=f"/line/{line}" if line else "",
            content_type="application/octet-stream",
        )
        assert GOOD_KEY not in json.dumps(body), "a key in an error"
    refused(daemon, 400, "badRequest", "POST", "/tunnels/import?id=home", b"", content_type="application/octet-stream")
    path = "/run/lab/bad.conf"
    with open(path, "w") as file:
        file.write("[Interface]\nPrivateKey = nonsense\n")
    fails(daemon.ctl("import", path), "2")
    assert daemon.api.status()["tunnels"] == []


def test_import(lab):
    """a good wg-quick file is imported, what would run a program is named and not done, and the tunnel carries"""
    daemon = lab.daemon()
    text = lab.server().wg_quick(extra="PostUp = touch /run/lab/pwned\n")
    answer = daemon.api.call("POST", "/tunnels/import?id=home", text.encode(), content_type="application/octet-stream")
    assert answer.status == 201, answer
    assert "PostUp" in json.dumps(answer.body), answer.body
    daemon.api.start()
    lab.ping(topology.INTERNET4)
    assert not os.path.exists("/run/lab/pwned")
    document = json.dumps(daemon.api.get("/tunnels/home"))
    assert "secretsSet" in document and "privateKey" in document
    assert text.split("PrivateKey = ")[1].split("\n")[0] not in document, "a secret was read back"


def test_malformed_policy(lab):
    """a malformed policy: 400 with a pointer to every mistake, all at once; the running policy stays"""
    daemon = lab.daemon()
    daemon.policy(RESTART_AT_ONCE)
    headers = {"If-Match": "*"}
    bad = {
        "version": 1,
        "rulez": [],
        "rules": [{"when": {"error": "noSuchError"}, "then": {"action": "restart", "delay": "soon"}}],
        "otherwise": {"action": "dance"},
    }
    body = refused(daemon, 400, "invalidDocument", "PUT", "/policy", bad, pointer="/rulez", headers=headers)
    pointers = {error["pointer"] for error in body["errors"]}
    assert {"/rules/0/when/error", "/rules/0/then/delay", "/otherwise/action"} <= pointers, pointers
    refused(daemon, 400, "invalidDocument", "PUT", "/policy", [], headers=headers)
    verdict = daemon.api.post("/policy/validate", bad)
    assert verdict["valid"] is False and {error["pointer"] for error in verdict["errors"]} >= {"/rulez"}, verdict
    path = "/run/lab/policy.json"
    with open(path, "w") as file:
        json.dump(bad, file)
    fails(daemon.ctl("policy", "set", path), "/rules/0/when/error")
    assert daemon.api.get("/policy")["name"] == RESTART_AT_ONCE["name"]


def test_malformed_kill_switch(lab):
    """malformed settings of the gate: 400 with a pointer to every mistake, all at once; nothing of them is taken, in no layer"""
    daemon, _ = lab.guarded()
    headers = {"If-Match": "*"}
    bad = {
        "lan": "allow",  # good, and not taken
        "bypass": {"processes": [{"user": "nobody-of-that-name"}], "domains": ["a..b"], "addresses": ["192.0.2.0/24", "64.0.0.0/7"]},
        "dns": {"bootstrap": ["127.0.0.53"]},
        "inbound": [{"protocol": "tcp", "port": 22}, {"protocol": "tcp", "port": 65536}],
        "uplinks": ['eth0" accept'],
        "fwmark": {"value": "0x1"},
        "firewall": {},
    }
    first = ["/bypass/domains/0", "/bypass/addresses/1", "/dns/bootstrap/0", "/inbound/1/port", "/uplinks/0", "/fwmark/value", "/firewall"]
    table, rules = daemon.table(), lab.ip("rule").stdout
    for method in ("PUT", "PATCH"):
        body = refused(daemon, 400, "invalidDocument", method, "/kill-switch", bad, headers=headers)
        pointers = [error["pointer"] for error in body["errors"]]
        assert sorted(pointers) == sorted(first), pointers
        ghost = {"lan": "allow", "bypass": {"processes": [{"user": "nobody-of-that-name"}]}}
        refused(daemon, 400, "invalidDocument", method, "/kill-switch", ghost, pointer="/bypass/processes/0/user", headers=headers)
        twice = b'{"lan": "allow", "mode": "off", "mode": "auto"}'
        refused(daemon, 400, "invalidDocument", method, "/kill-switch", twice, pointer="/mode", headers=headers)
    assert (without_counts(daemon.table()), lab.ip("rule").stdout) == (without_counts(table), rules)
    lab.leaks.closed([SERVER])


def without_counts(table):
    return re.sub(r"(packets|bytes) \d+", "", table)


def test_malformed_body(lab):
    """a body that is no JSON, of the wrong type, too large or of another media type: refused, each with its own code"""
    daemon = lab.daemon()
    headers = {"If-Match": "*"}
    refused(daemon, 400, "invalidDocument", "PUT", "/policy", b"{not json", headers=headers)
    refused(daemon, 400, "badRequest", "PUT", "/policy", b"", headers=headers)
    refused(daemon, 400, "invalidDocument", "PUT", "/policy", b'{"version": 1, "version": \xff}', headers=headers)
    answer = daemon.api.call("PUT", "/kill-switch/mode", {"mode": "sideways"}, headers=headers)
    assert answer.status == 400 and "mode" in json.dumps(answer.body), answer
    answer = daemon.api.call("PUT", "/kill-switch/mode", {"mood": "always"}, headers=headers)
    assert answer.status == 400, answer
    answer = daemon.api.call("PUT", "/policy", b"[" * 100000, headers=headers)
    assert answer.status in (400, 413), answer
    answer = daemon.api.call("PUT", "/policy", b" " * (8 << 20), headers=headers)
    assert answer.status == 413, answer
    assert daemon.api.status()["gate"]["mode"] == "auto"


def test_precondition(lab):
    """a write without If-Match is refused with 428, one of another version with 412"""
    daemon = lab.daemon()
    refused(daemon, 428, "preconditionRequired", "PUT", "/policy", RESTART_AT_ONCE)
    refused(daemon, 412, "preconditionFailed", "PUT", "/policy", RESTART_AT_ONCE, headers={"If-Match": '"no such version"'})


def test_no_such_route(lab):
    """an unknown path is 404, a wrong method 405"""
    daemon = lab.daemon()
    refused(daemon, 404, "notFound", "GET", "/nothing/here")
    refused(daemon, 405, "methodNotAllowed", "DELETE", "/status")


def test_second_daemon(lab):
    """a second daemon on the same state directory is refused and says why; the first goes on"""
    daemon, _ = lab.guarded()
    worker = daemon.worker_pid()
    unchanged = Unchanged(daemon)
    done = daemon.run()
    assert done.returncode != 0, done
    assert daemon.state_dir in done.stderr or "already" in done.stderr or "another" in done.stderr, done
    unchanged.check()
    assert daemon.worker_pid() == worker
    lab.ping(topology.INTERNET4)


def test_missing_client(lab):
    """a missing wireguard-go: the start fails with its name in the words, the gate stays closed, nothing is left running"""
    lab.leaks.prove()
    server = lab.server()
    hide = """
        mkdir -p /run/lab/bin/upper /run/lab/bin/work
        mount -t overlay overlay -o lowerdir=/usr/bin,upperdir=/run/lab/bin/upper,workdir=/run/lab/bin/work /usr/bin
        rm /usr/bin/wireguard-go
        ! command -v wireguard-go
    """
    lab.run(["sh", "-ec", hide])  # in the client's mount namespace alone
    daemon = lab.daemon()
    daemon.policy(TERMINATE)
    daemon.add_tunnel(server.document())
    watch = daemon.api.watch()
    answer = daemon.api.post("/tunnels/home/start?wait=60s", timeout=2 * process.PATIENCE)
    assert answer["state"] == "failed", answer
    stop = watch.wait(kind="willStop")
    assert stop["error"] == "workerStartFailed" and "wireguard-go" in stop["detail"], stop
    assert daemon.api.tunnel()["lastError"] == "workerStartFailed", daemon.api.tunnel()
    assert daemon.gate() == "closed", daemon.api.status()
    for pid in process.running("holdfast-worker"):
        process.wait_gone(pid)
    lab.leaks.closed()


def test_gate_refused(lab):
    """an nftables that refuses: the start fails with gateFailure, no worker starts, and the status says so"""
    lab.leaks.prove()
    # A table of that name that another process owns: the kernel refuses every change to it.
    owner = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=lab.net.client.join)
    owner.stdin.write("add table inet holdfast { flags owner; }\nlist tables\n")
    owner.stdin.flush()
    while "inet holdfast" not in (line := owner.stdout.readline()):
        assert line, "nft ended"
    daemon = lab.daemon()
    daemon.add_tunnel(lab.server().document())
    answer = daemon.api.call("POST", "/tunnels/home/start?wait=5s", {})
    assert (answer.status, answer.body.get("code")) == (503, "gateFailure"), answer
    assert len(answer.body["detail"]) > 10, answer
    assert not process.running("holdfast-worker")
    assert daemon.api.tunnel()["state"] in ("disconnected", "failed"), daemon.api.tunnel()
    status = daemon.api.status()
    assert status["protection"] != "protected", status
    owner.stdin.close()
    owner.wait(process.PATIENCE)
    daemon.api.start()
    assert daemon.api.tunnel()["state"] == "connected"
    lab.leaks.closed([SERVER])


def test_unprivileged_daemon(lab):
    """a daemon without CAP_NET_ADMIN does not pretend: it refuses to start, or its start of a tunnel fails with gateFailure"""
    lab.leaks.prove()
    daemon = lab.daemon(start=False)
    command = daemon.command
    daemon.command = lambda *arguments: ["setpriv", "--bounding-set", "-net_admin", "--", *command(*arguments)]
    try:
        daemon.start()
    except process.Died as death:
        assert "CAP_NET_ADMIN" in str(death) or "not permitted" in str(death) or "nftables" in str(death), death
        return
    daemon.add_tunnel(lab.server().document())
    answer = daemon.api.call("POST", "/tunnels/home/start?wait=5s", {})
    assert (answer.status, answer.body.get("code")) == (503, "gateFailure"), answer
    assert not process.running("holdfast-worker")


def busctl(lab, bus, path, interface, member, *arguments):
    """busctl(1) on the lab's bus."""
    return lab.run(
        ["busctl", "--json=short", "call", "org.holdfast.Holdfast1", path, f"org.holdfast.Holdfast1.{interface}", member, *arguments],
        check=False,
        env=os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": bus.address},
    )


def test_names_that_no_bus_carries(lab):
    """Unicode's noncharacters in a name, which D-Bus refuses, do not keep it from answering"""
    on_bus = OnBus(lab)
    name = "a\ufffe\uffff\ufdd0\U0001fffe\u20acz"
    on_bus.daemon.policy({"version": 1, "name": name, "rules": []})
    assert on_bus.daemon.api.status()["policy"]["name"] == name
    status = plain(on_bus.call("/org/holdfast/Holdfast1", "org.holdfast.Holdfast1.Manager", "GetStatus")[0])
    assert status["policy"]["name"] == "a\ufffd\ufffd\ufffd\ufffd\u20acz", status["policy"]
    document = json.loads(on_bus.call("/org/holdfast/Holdfast1", "org.holdfast.Holdfast1.Policy", "Get")[0])
    assert document["name"] == status["policy"]["name"], document
