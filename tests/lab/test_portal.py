# SPDX-License-Identifier: LGPL-2.1-or-later
"""captivePortalCheck with the real NetworkManager: its own check leaves although the gate is closed, and nothing else does."""

import contextlib
import os
import re
import socket
import struct

from lab import isolation, process, topology
from lab.daemon import policy
from lab.granted import Maker
from lab.names import NameServer
from lab.networkmanager import OFFICE, NetworkManager, sign_in_page
from lab.traffic import recognise
from test_network import begin, wait_network

NAME = "network-test.example.org"
PLAIN, SECURE = 80, 443
RESOLVED = 64993  # the user that systemd-resolved runs as
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


def turn(daemon, on):
    return daemon.api.patch("/kill-switch", {"captivePortalCheck": on})


def shown(daemon):
    """The check as the status has it; None: it has none."""
    return next((grant for grant in daemon.api.status()["bypass"] if grant["type"] == "connectivityCheck"), None)


def wait_effect(daemon, wanted=True):
    """Returns what is shown of the check once it is in effect (or not any more); there is no event for it, so the status is asked."""
    deadline = process.deadline_in()
    while (shown(daemon) or {}).get("inEffect") is not wanted:
        process.remaining(deadline, f"{shown(daemon)}")
    return shown(daemon)


def closed(lab, **options):
    """The usual beginning: the gate closed for good, nothing wanted, NetworkManager there, and the control that leaks would be seen."""
    lab.leaks.prove()
    daemon, manager = begin(lab, policy(), **options)
    daemon.api.patch("/kill-switch", {"mode": "always"})
    assert daemon.gate() == "closed"
    return daemon, manager


def ask(name, extra=b"", questions=1):
    """A question for NAME as a resolver's client asks it."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 0x1234, 0x0100, questions, 0, 0, 0) + (labels + b"\0\0\1\0\1") * questions + extra


def leaves(lab, make, host, port, style=TCP, bound=True, payload=b"probe", patience=0):
    """Whether what a socket of MAKE's sends to HOST leaves by the uplink, now or within PATIENCE. NetworkManager may be checking meanwhile: it
    is known by its port."""
    place = lab.capture.mark()
    with make(socket.AF_INET6 if ":" in host else socket.AF_INET, style) as sock:
        if bound:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.setblocking(False)
        sock.bind(("", 0))
        own = sock.getsockname()[1]
        with contextlib.suppress(OSError):
            sock.connect((host, port))
            if style == UDP:
                sock.send(payload)
        lab.capture.barrier()
        with contextlib.suppress(TimeoutError):
            lab.capture.wait(
                lambda frame: not frame.outgoing and (frame.destination, frame.destination_port, frame.source_port) == (host, port, own), place, patience
            )
            return True
    return False


def passes(lab, *what):
    """Whether it leaves: what must, may have to ask for its neighbour first."""
    return leaves(lab, *what, patience=process.PATIENCE)


def nothing_leaves(lab):
    """One round of everything: nothing of it leaves. NetworkManager's check, which may come at any time, is none of it."""

    def is_check(frame):
        there = (frame.destination, frame.destination_port)
        return recognise(frame) is None and there in ((topology.INTERNET4, PLAIN), (topology.INTERNET6, PLAIN), (topology.LAN4, 53))

    lab.leaks.begin()
    lab.leaks.offer()
    lab.leaks.verdict(tolerate=is_check)


class Checker(Maker):
    """Sockets as NetworkManager makes them: in its cgroup; or in another, or of another user's there."""

    def __init__(self, lab, name, cgroup=NetworkManager.cgroup, user=0):
        def start(command):
            return process.Process(lab, name, command, lab.net.client, cgroup=cgroup, limit=lambda: os.setuid(user))

        super().__init__(lab, name, start=start)


def hosts():
    return (topology.INTERNET4, topology.INTERNET6)


def test_found_behind_a_closed_gate(lab):
    """a sign-in page is found although the gate is closed; the tunnel stops with captivePortal, waits, and connects once it is passed"""
    passed = []
    rules = policy(({"error": "captivePortal"}, {"action": "wait", "until": "networkChanged", "then": {"action": "restart"}}))
    with sign_in_page(lab, lambda: passed):
        lab.leaks.prove()
        daemon, manager = begin(lab, rules)
        daemon.api.patch("/kill-switch", {"mode": "always"})
        lab.ip("route", "add", "blackhole", f"{topology.SERVER4}/32", namespace=lab.net.router)  # until one has signed in
        watch = daemon.api.watch()
        assert manager.check() != "portal", "held back, it cannot have been found"
        turn(daemon, True)
        assert wait_effect(daemon)["source"] == "settings"
        assert manager.check() == "portal"
        wait_network(daemon, watch, connectivity="portal")
        assert daemon.gate() == "closed"
        daemon.api.post("/tunnels/home/start")
        stop = watch.wait(kind="willStop")
        assert stop["error"] == "captivePortal", stop
        watch.wait_state("waiting")
        nothing_leaves(lab)
        passed.append(True)
        lab.ip("route", "del", "blackhole", f"{topology.SERVER4}/32", namespace=lab.net.router)
        assert manager.check() == "full"
        watch.wait_state("connected")
        decisions = [event["action"]["action"] for event in watch.seen if event["kind"] == "decision"]
        assert decisions == ["wait", "restart"], decisions


def test_nothing_else(lab):
    """what is let by is TCP to port 80 of the check's host, from a socket of root's in NetworkManager's cgroup, and nothing else"""
    daemon, _ = closed(lab)
    turn(daemon, True)
    opens = wait_effect(daemon)["opens"]
    assert opens == f"TCP port 80 by the uplink to {topology.INTERNET4}", opens
    own, other = Checker(lab, "own"), Checker(lab, "other", "system.slice/other.service")
    nobody = Checker(lab, "nobody", user=isolation.NOBODY)
    fake = Checker(lab, "fake", "user.slice/user-1000.slice/user@1000.service/app.slice/NetworkManager.service")
    below = Checker(lab, "below", "system.slice/other.service/NetworkManager.service")
    refused = [
        *((maker.socket, host, PLAIN, TCP, bound) for maker in (other, nobody, fake, below) for host in hosts() for bound in (True, False)),
        *((own.socket, host, port, style, True) for host in hosts() for port in (53, 81, SECURE, 853, 4400) for style in (TCP, UDP)),
        (own.socket, topology.INTERNET4, PLAIN, UDP, True),
        (own.socket, topology.INTERNET6, PLAIN, TCP, True),  # another host than the check's
        (own.socket, topology.LAN4, PLAIN, TCP, True),
        (own.socket, topology.LAN4, 53, UDP, True),
        (other.socket, topology.LAN4, 53, UDP, True),
    ]
    daemon.api.patch("/kill-switch", {"mode": "off"})
    for what in refused:
        assert passes(lab, *what), f"no positive control: {what[1:]}"
    daemon.api.patch("/kill-switch", {"mode": "always"})
    for what in refused:
        assert not leaves(lab, *what), f"{what[1:]} left"
    assert passes(lab, own.socket, topology.INTERNET4, PLAIN), "the check itself is held back"
    nothing_leaves(lab)
    for maker in (own, other, nobody, fake, below):
        maker.close()


def test_name(lab):
    """a check by name: that name alone is asked for, of the uplink's resolver, by NetworkManager or systemd-resolved; found, too, while closed"""
    lab.run(["sh", "-c", f"echo systemd-resolve:x:{RESOLVED}:65534::/:/usr/sbin/nologin >>/etc/passwd"])
    names = NameServer(lab, {NAME: [topology.INTERNET4], "other.example.org": [topology.INTERNET4]})
    with sign_in_page(lab):
        daemon, manager = closed(lab, uri=f"http://{NAME}/check")
        assert manager.check() != "portal"
        turn(daemon, True)
        opens = wait_effect(daemon)["opens"]
        assert opens == f"TCP port 80 by the uplink, and questions for {NAME} to {topology.LAN4}", opens
        names.asked.clear()
        assert manager.check() == "portal"
        assert {name for name, _ in names.asked} == {NAME}, names.asked
    own, resolved = Checker(lab, "own"), Checker(lab, "resolved", "system.slice/systemd-resolved.service", RESOLVED)
    other = Checker(lab, "other", "system.slice/other.service")
    question = ask(NAME)
    refused = [
        (other.socket, topology.LAN4, 53, UDP, False, question),
        (other.socket, topology.LAN4, 53, UDP, True, question),
        *((maker.socket, topology.LAN4, 53, UDP, bound, payload) for maker in (own, resolved) for bound in (True, False) for payload in (
            ask("other.example.org"), ask(f"x.{NAME}"), ask(NAME.removesuffix(".org")), ask(f"{NAME}.net"), ask(NAME, b"secret" * 20),
            ask(NAME, questions=2), question[:20], b"")),
        *((maker.socket, host, 53, UDP, bound, question) for maker in (own, resolved) for bound in (True, False)
            for host in (topology.INTERNET4, topology.INTERNET6)),
        *((maker.socket, topology.LAN4, port, TCP, bound) for maker in (own, resolved) for bound in (True, False) for port in (53, 853)),
        *((resolved.socket, host, PLAIN, TCP, bound) for bound in (True, False) for host in hosts()),
    ]  # fmt: skip
    daemon.api.patch("/kill-switch", {"mode": "off"})
    for what in refused:
        assert passes(lab, *what), f"no positive control: {what[1:]}"
    daemon.api.patch("/kill-switch", {"mode": "always"})
    for what in refused:
        assert not leaves(lab, *what), f"{what[1:]} left"
    for maker in (own, resolved):
        for bound in (True, False):
            assert passes(lab, maker.socket, topology.LAN4, 53, UDP, bound, question), "the check's own question is held back"
            assert passes(lab, maker.socket, topology.LAN4, 53, UDP, bound, ask(NAME, b"\0\0\x29\x04\xd0\0\0\0\0\0\0")), "EDNS0 is"
    for host in hosts():
        assert passes(lab, own.socket, host, PLAIN), f"the check to {host} is held back"
    nothing_leaves(lab)
    for maker in (own, resolved, other):
        maker.close()


def test_secure(lab):
    """a check whose uri is https has port 443, and not 80"""
    daemon, _ = closed(lab, uri=f"https://{topology.INTERNET4}/check")
    turn(daemon, True)
    wait_effect(daemon)
    own = Checker(lab, "own")
    assert passes(lab, own.socket, topology.INTERNET4, SECURE)
    assert not leaves(lab, own.socket, topology.INTERNET4, PLAIN)
    own.close()


def test_while_it_lasts(lab):
    """it holds with the daemon killed and comes back with it; it ends with the setting, and with NetworkManager, for sockets that live, too"""
    with sign_in_page(lab):
        daemon, manager = closed(lab)
        turn(daemon, True)
        wait_effect(daemon)
        daemon.kill()
        assert manager.check() == "portal"
        nothing_leaves(lab)
        daemon.start()
        wait_effect(daemon)
        assert manager.check() == "portal"
        own = Checker(lab, "own")
        with own.socket(socket.AF_INET, TCP) as living:
            living.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            living.settimeout(process.PATIENCE)
            living.connect((topology.INTERNET4, PLAIN))
            turn(daemon, False)
            assert shown(daemon) is None
            own_port = living.getsockname()[1]
            place = lab.capture.mark()
            living.setblocking(False)
            with contextlib.suppress(OSError):
                living.send(b"GET /check HTTP/1.0\r\n\r\n")
            assert not [frame for frame in lab.capture.since(place) if frame.source_port == own_port], "a socket that lives was not cut"
        assert not leaves(lab, own.socket, topology.INTERNET4, PLAIN)
        assert manager.check() != "portal"
        turn(daemon, True)
        wait_effect(daemon)
        assert passes(lab, own.socket, topology.INTERNET4, PLAIN)
        manager.kill()
        assert "NetworkManager" in wait_effect(daemon, False)["detail"], shown(daemon)
        assert not leaves(lab, own.socket, topology.INTERNET4, PLAIN)
        assert "connectivity check" not in daemon.table()
        manager.start()
        manager.up(OFFICE)
        wait_effect(daemon)
        assert manager.check() == "portal"
        nothing_leaves(lab)
        own.close()


def test_granted_as_a_whole(lab):
    """NetworkManager.service granted as a whole has the wider mark, and the check's is back when that is taken back"""
    daemon, _ = closed(lab)
    turn(daemon, True)
    wait_effect(daemon)
    own = Checker(lab, "own")
    grant = daemon.api.post("/bypass", {"unit": "NetworkManager.service"})["id"]
    assert "as a whole" in wait_effect(daemon, False)["detail"], shown(daemon)
    assert passes(lab, own.socket, topology.INTERNET4, SECURE)
    daemon.api.delete(f"/bypass/{grant}")
    wait_effect(daemon)
    assert not leaves(lab, own.socket, topology.INTERNET4, SECURE)
    assert passes(lab, own.socket, topology.INTERNET4, PLAIN)
    own.close()


def test_nobody_joins(lab):
    """who is not root cannot move into NetworkManager's cgroup"""
    daemon, _ = closed(lab)
    turn(daemon, True)
    wait_effect(daemon)
    done = lab.run(
        ["setpriv", "--reuid", str(isolation.NOBODY), "--regid", "65534", "--clear-groups", "sh", "-c",
         f"echo $$ >{process.CGROUPS}/{NetworkManager.cgroup}/cgroup.procs"], check=False,
    )  # fmt: skip
    assert done.returncode != 0 and re.search("Permission denied|cannot create", done.stderr), done


def test_refused_without_bpf(lab):
    """without cgroup v2 it is refused by name, and the settings stay as they were"""
    daemon = lab.daemon(start=False)
    command = daemon.command
    daemon.command = lambda *arguments: ["unshare", "--mount", "sh", "-c", 'umount -l /sys/fs/cgroup && exec "$@"', "sh", *command(*arguments)]
    daemon.start()
    before = daemon.api.get("/kill-switch")
    answer = daemon.api.call(
        "PATCH", "/kill-switch", {"captivePortalCheck": True}, {"If-Match": "*"}, content_type="application/merge-patch+json"
    )
    assert answer.status >= 400 and "/captivePortalCheck" in str(answer.body) and "cgroup v2 with BPF" in str(answer.body), answer
    assert daemon.api.get("/kill-switch") == before
