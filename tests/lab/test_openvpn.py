# SPDX-License-Identifier: LGPL-2.1-or-later
"""The openvpn driver: up, restarted in place, taken back, imported, and with no more rights than it needs."""

import contextlib
import os
import signal

from lab import process, topology
from lab.daemon import RESTART_AT_ONCE
from lab.leaks import OPENVPN
from lab.openvpn import PASSWORD, USER

LINK = "hf-home"


@contextlib.contextmanager
def nothing_leaves(lab):
    """Offers every kind of traffic all the time inside the block; nothing but the client's messages may leave."""
    lab.leaks.begin()
    generator = lab.generator()
    try:
        yield
    finally:
        lab.leaks.offered(generator.stop())
    offered = lab.leaks.verdict([OPENVPN])
    lab.note(f"{offered} packets offered, none left outside the tunnel")


def guarded(lab, policy=RESTART_AT_ONCE, members=None, **options):
    """A proven capture, a server, a daemon, the tunnel `home`, connected."""
    lab.leaks.prove()
    server = lab.openvpn_server(**options)
    daemon = lab.daemon()
    daemon.policy(policy)
    daemon.add_tunnel(server.document(**(members or {})))
    daemon.api.start()
    assert daemon.api.tunnel()["state"] == "connected", daemon.api.tunnel()
    return daemon, server


def pids(daemon):
    return daemon.worker_pid(), daemon.client_pid("openvpn")


def test_up_and_down(lab):
    """up, with both IP versions and nothing beside it; down, and nothing is left of it"""
    daemon, _ = guarded(lab)
    lab.ping(topology.INTERNET4)
    lab.ping(topology.INTERNET6)
    lab.leaks.closed([OPENVPN])
    daemon.api.stop()
    assert daemon.table() is None and not process.running("holdfast-worker")
    assert lab.ip("link", "show", LINK, check=False).returncode != 0
    assert os.listdir(f"{daemon.runtime_dir}/clients") == []


def test_tcp(lab):
    """over TCP, too"""
    daemon, _ = guarded(lab, protocol="tcp-server")
    lab.ping(topology.INTERNET4)
    lab.leaks.closed([OPENVPN])
    assert daemon.api.tunnel()["endpoint"] == f"{topology.SERVER4}:1194/tcp"


def test_rights(lab):
    """worker and client run as holdfast-worker, with no capability, no group and no way to more; no secret is in sight"""
    daemon, server = guarded(lab, users=True)
    for pid in pids(daemon):
        with open(f"/proc/{pid}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        assert set(status["Uid"].split()) != {"0"} and len(set(status["Uid"].split())) == 1, status["Uid"]
        assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")), status
        assert status["NoNewPrivs"] == "1" and status["Groups"].strip() == "", status
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                assert PASSWORD.encode() not in file.read(), name
    log = daemon.process.log()
    assert PASSWORD not in log and "PRIVATE KEY" not in log
    shown = daemon.api.get("/tunnels/home")
    assert shown["settings"]["password"] is None and shown["settings"]["key"] is None, shown
    assert {"/settings/key", "/settings/password"} <= set(shown["secretsSet"]), shown["secretsSet"]


def test_restart_in_place(lab):
    """the client killed: same worker, link, address; a connection inside lives on, and nothing leaves"""
    daemon, _ = guarded(lab)
    worker, client = pids(daemon)
    index = lab.ip("-o", "link", "show", LINK).stdout.split(":")[0]
    near, far = lab.connect(topology.INTERNET4, 80)
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(client, signal.SIGKILL)
        near.sendall(b"while it restarts")
        watch.wait_state("connected")
        assert far.recv(100) == b"while it restarts"
    assert daemon.worker_pid() == worker and daemon.client_pid("openvpn") != client
    assert lab.ip("-o", "link", "show", LINK).stdout.split(":")[0] == index
    far.sendall(b"after")
    assert near.recv(100) == b"after"


def test_daemon_killed(lab):
    """SIGKILL of the daemon: worker and client go on, nothing leaves, no packet inside is lost, the next daemon takes them back"""
    daemon, _ = guarded(lab)
    before = pids(daemon)
    flood = lab.flood()
    with nothing_leaves(lab):
        daemon.kill()
        lab.ping(topology.INTERNET4)
        daemon.start()
        lab.ping(topology.INTERNET4)
    sent, answered, _ = flood.stop()
    assert pids(daemon) == before and daemon.gate() == "tunnel"
    assert sent == answered, (sent, answered)


def test_worker_killed(lab):
    """SIGKILL of the worker ends openvpn with it; a new worker brings the tunnel up"""
    daemon, _ = guarded(lab)
    worker, client = pids(daemon)
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(worker, signal.SIGKILL)
        process.wait_gone(client)
        watch.wait_state("connected")
        lab.ping(topology.INTERNET4)
    assert worker not in pids(daemon)


def test_link_deleted_without_daemon(lab):
    """a deleted link, which openvpn does not see, ends it although no daemon is there to say so"""
    daemon, _ = guarded(lab)
    client = daemon.client_pid("openvpn")
    with nothing_leaves(lab):
        daemon.kill()
        lab.ip("link", "delete", LINK)
        process.wait_gone(client)
        daemon.start()
        daemon.wait_connected()
    errors = [event["error"] for event in daemon.api.all_events() if event["kind"] == "willStop"]
    assert errors == ["tunInterfaceFailure"], errors
    lab.ping(topology.INTERNET4)


def test_goodbye(lab):
    """a stop says goodbye to a server that is to hear of it"""
    lab.leaks.prove()
    server = lab.openvpn_server()
    daemon = lab.daemon()
    daemon.add_tunnel(server.document(settings=server.settings(explicitExitNotify=1)))
    daemon.api.start()
    daemon.api.stop()
    server.process.wait_log("exit message received by peer")


def test_pushed_resolver(lab):
    """a resolver that the server gives is the host's, and asked through the tunnel alone"""
    daemon, _ = guarded(lab, extra=[f'push "dhcp-option DNS {topology.INNER_SERVER4}"'])
    assert topology.INNER_SERVER4 in lab.run(["cat", "/etc/resolv.conf"]).stdout
    lab.leaks.closed([OPENVPN])
    assert daemon.api.tunnel()["state"] == "connected"


def test_pushed_routes(lab):
    """routes that the server gives are not taken: neither the host's network nor its server's address moves"""

    def routes():
        return sorted(line for line in lab.ip("route", "show", "table", "main").stdout.splitlines() if LINK not in line)

    before = routes()
    networks = ("route 10.1.0.0 255.255.255.0", f"route {topology.SERVER4} 255.255.255.255", "redirect-gateway def1", "route 0.0.0.0 128.0.0.0")
    daemon, _ = guarded(lab, extra=[f'push "{network}"' for network in networks])
    assert routes() == before
    lab.ping(topology.INTERNET4)
    lab.leaks.closed([OPENVPN])
    assert daemon.api.tunnel()["state"] == "connected"


ASK = {"version": 1, "rules": [], "otherwise": {"action": "ask", "timeout": "2m"}}


def test_credentials(lab):
    """a user name and a password that the document lacks are asked for, given, and asked for again once they were refused"""
    lab.leaks.prove()
    server = lab.openvpn_server(users=True)
    daemon = lab.daemon()
    daemon.policy(ASK)
    document = server.document()
    del document["settings"]["username"], document["settings"]["password"]
    document["settings"]["authUserPass"] = True
    daemon.add_tunnel(document)
    watch = daemon.api.watch()
    daemon.api.start(wait=None)
    with nothing_leaves(lab):
        asked = watch.wait(kind="needCredentials")
        assert asked["names"] == ["username", "password"], asked
        assert daemon.api.status()["gate"]["kernel"] == "connecting"
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"username": USER, "password": "wrong-word"}})
        stop = watch.wait(kind="willStop")
        assert stop["error"] == "authenticationFailed", stop
        daemon.api.post(f"/decisions/{watch.wait(kind='decisionPending')['decision']}/answer", {"restart": True})
        watch.wait(kind="needCredentials")
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"username": USER, "password": PASSWORD}})
        watch.wait_state("connected")
        lab.ping(topology.INTERNET4)
    assert "wrong-word" not in daemon.process.log() and PASSWORD not in daemon.process.log()


def test_narrow(lab):
    """a tunnel with narrow routes carries those, and leaves the rest alone"""
    daemon, _ = guarded(lab, members={"routes": ["198.51.100.0/24"]})
    near, far = lab.connect(topology.INTERNET4, 80)
    assert far.getpeername()[0] == topology.INNER_CLIENT4, far.getpeername()
    near.close()
    assert daemon.api.tunnel()["state"] == "connected"


def test_import(lab):
    """an .ovpn file is imported, what it may not do is named by its line, and the tunnel comes up"""
    server = lab.openvpn_server()
    daemon = lab.daemon()
    path = "/run/lab/home.ovpn"
    with open(path, "w") as file:
        file.write(server.ovpn("script-security 2\nup /bin/evil\n"))
    done = daemon.ctl("import", path, "home")
    assert done.returncode == 0, done.stderr
    assert "line 7" in done.stdout + done.stderr or "/line/7" in done.stdout + done.stderr, done.stdout + done.stderr
    daemon.api.start()
    lab.ping(topology.INTERNET4)
