# SPDX-License-Identifier: LGPL-2.1-or-later
"""The gate in every state of a tunnel's life (docs/security.md, "What may leave"), seen from the far side of the uplink."""

import errno
import os
import re
import signal
import socket
import time

from lab import process, topology
from lab.bridge import Bridge
from lab.daemon import ASK, RELEASE, RESTART_AT_ONCE, TERMINATE, WAIT_LONG
from lab.leaks import SERVER, is_wireguard
from lab.traffic import KINDS, recognise


def kill_client(daemon, state):
    """Ends wireguard-go with SIGKILL and waits until the tunnel is in STATE."""
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state(state)


def is_open(lab, daemon):
    """No table, no rules, no device, and every kind of traffic is seen again."""
    assert daemon.table() is None, daemon.table()
    for family in ("-4", "-6"):
        rules = lab.ip(family, "rule").stdout
        assert "26726" not in rules, rules
    assert "hf" not in lab.ip("-br", "link").stdout.replace("holdfast", ""), lab.ip("-br", "link").stdout
    lab.leaks.control.clear()
    lab.leaks.prove()


def test_open_at_first(lab):
    """a daemon without a wanted tunnel leaves the host as it is"""
    daemon = lab.daemon()
    assert daemon.api.status()["protection"] == "off"
    is_open(lab, daemon)


def test_closed_before_the_worker(lab):
    """the gate is closed before a worker starts: nothing follows the first message of the client"""
    silent = lab.silent_server()
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.add_tunnel(lab.server(port=51999).document(endpoints=[f"{topology.SERVER4}:51820/udp"]))
    watch = daemon.api.watch()
    place = lab.capture.mark()
    generator = lab.generator()
    daemon.api.start(wait=None)
    watch.wait(kind="connecting")
    first = lab.capture.wait(lambda frame: not frame.outgoing and is_wireguard(frame) and recognise(frame) is None, place)
    kinds = [event["kind"] for event in watch.seen]
    assert kinds.index("gateChanged") < kinds.index("connecting"), kinds
    lab.capture.wait(lambda frame: is_wireguard(frame) and frame.time > first.time, place)  # the client's second try
    generator.stop()
    frames = lab.capture.since(place)
    assert [frame for frame in frames if recognise(frame)], "the generator offered nothing while the gate was open"
    after = [frame for frame in frames if frame.time > first.time and not frame.outgoing and recognise(frame)]
    assert not after, f"{len(after)} packets followed the client's first, {after[0]}"
    silent.close()


def test_connecting(lab):
    """while connecting nothing leaves but the worker's own messages to its endpoint"""
    silent = lab.silent_server()
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.add_tunnel(lab.server(port=51999).document(endpoints=[f"{topology.SERVER4}:51820/udp"]))
    watch = daemon.api.watch()
    place = lab.capture.mark()
    daemon.api.start(wait=None)
    watch.wait(kind="connecting")
    lab.capture.wait(is_wireguard, place)
    assert daemon.gate() == "connecting" and daemon.api.status()["protection"] == "blocking"
    for _ in range(5):
        lab.leaks.closed([SERVER])
    silent.close()


def test_connected(lab):
    """while connected everything goes through the tunnel or nowhere"""
    daemon, _ = lab.guarded()
    status = daemon.api.status()
    assert status["protection"] == "protected" and status["gate"]["kernel"] == "tunnel", status
    for _ in range(5):
        lab.leaks.closed([SERVER])
    lab.ping(topology.INTERNET4)
    lab.ping(topology.INTERNET6)


def test_tunnel_carries(lab):
    """what the tunnel carries reaches the internet from the tunnel's address, IPv4 and IPv6"""
    lab.guarded()
    for address, inner in ((topology.INTERNET4, topology.INNER_CLIENT4), (topology.INTERNET6, topology.INNER_CLIENT6)):
        near, far = lab.connect(address, 80)
        near.sendall(b"request")
        assert far.recv(100) == b"request"
        far.sendall(b"answer")
        assert near.recv(100) == b"answer"
        assert far.getpeername()[0] == inner, far.getpeername()


def test_waiting(lab):
    """while a decided restart waits for its delay nothing leaves, the worker's messages included"""
    daemon, _ = lab.guarded(WAIT_LONG)
    kill_client(daemon, "waiting")
    assert daemon.gate() == "closed"
    lab.leaks.closed()


def test_deciding(lab):
    """while a decision is pending nothing leaves"""
    daemon, _ = lab.guarded(ASK)
    kill_client(daemon, "deciding")
    assert daemon.gate() == "closed"
    lab.leaks.closed()


def test_failed_block(lab):
    """a tunnel that failed with `block` keeps the gate closed, and has no worker"""
    daemon, _ = lab.guarded(TERMINATE)
    kill_client(daemon, "failed")
    assert daemon.gate() == "closed" and daemon.worker_pid() is None
    lab.leaks.closed()


def test_failed_release(lab):
    """a rule that says `release` opens the gate"""
    daemon, _ = lab.guarded(RELEASE)
    kill_client(daemon, "failed")
    is_open(lab, daemon)


def test_release_in_always(lab):
    """in mode always a rule that says `release` opens nothing"""
    daemon, _ = lab.guarded(RELEASE, mode="always")
    kill_client(daemon, "failed")
    assert daemon.gate() == "closed"
    lab.leaks.closed()


def test_reasserting(lab):
    """while it restarts in place and nobody answers, nothing leaves but the worker's messages"""
    daemon, server = lab.guarded(RESTART_AT_ONCE)
    server.kill()
    silent = lab.silent_server()
    kill_client(daemon, "reasserting")
    for _ in range(5):
        lab.leaks.closed([SERVER])
    silent.close()


def test_stop_in_auto(lab):
    """the user's stop opens the gate in mode auto, and takes everything of Holdfast's away"""
    daemon, _ = lab.guarded()
    daemon.api.stop()
    assert daemon.api.tunnel()["state"] == "disconnected"
    is_open(lab, daemon)


def test_stop_in_always(lab):
    """the user's stop opens nothing in mode always"""
    daemon, _ = lab.guarded(mode="always")
    lab.leaks.begin()
    generator = lab.generator()
    daemon.api.stop()
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    assert daemon.gate() == "closed"
    lab.leaks.closed()


def test_always_without_tunnel(lab):
    """mode always is closed without any tunnel, and SetMode auto opens it"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    assert daemon.gate() == "closed" and daemon.api.status()["protection"] == "blocking"
    lab.leaks.closed()
    assert daemon.api.mode("always")["changed"] is False
    daemon.api.mode("auto")
    is_open(lab, daemon)


def test_mode_off(lab):
    """mode off lets everything by and keeps the tunnel's routes"""
    daemon, _ = lab.guarded(mode="off")
    assert daemon.table() is None
    place = lab.capture.mark()
    lab.leaks.offer([kind for kind in KINDS if kind.route == "uplink"])
    assert [frame for frame in lab.capture.since(place) if recognise(frame)]
    near, far = lab.connect(topology.INTERNET4, 80)
    assert far.getpeername()[0] == topology.INNER_CLIENT4
    near.close()


def test_old_connections_are_cut(lab):
    """a connection made before the gate closed carries nothing any more, and a reset does not end it"""
    lab.leaks.prove()
    near, far = lab.connect(topology.INTERNET4, 81)
    daemon = lab.daemon()
    daemon.api.mode("always")
    lab.leaks.begin()
    near.sendall(b"must not arrive")
    lab.leaks.offer()
    lab.leaks.verdict()
    far.settimeout(0.3)
    try:
        raise AssertionError(f"arrived: {far.recv(100)}")
    except TimeoutError:
        pass


def test_loopback(lab):
    """behind a closed gate the host reaches itself, on loopback and by its own addresses"""
    daemon = lab.daemon()
    daemon.api.mode("always")
    for address in ("127.0.0.1", "127.8.9.10", "::1", topology.CLIENT4, topology.CLIENT6):
        near, far = lab.connect(address, 8080, listener=lab.net.client)
        with near, far:
            near.sendall(b"request")
            assert far.recv(100) == b"request"


def refuse(lab, count):
    """Has the gate refuse COUNT packets, each of which its sender is told of."""
    with lab.net.client.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")  # no other layer is before the gate
    with sock:
        for _ in range(count):
            try:
                sock.sendto(b"refused", (topology.INTERNET4, 9))
            except PermissionError:
                continue
            raise AssertionError("the gate is open")


def test_counted(lab):
    """what the gate refuses is counted in the status, each packet once, and goes on being counted when the gate was open in between"""
    daemon = lab.daemon()

    def told():
        return daemon.api.status()["gate"]["blocked"]["out"]

    def refused():
        return int(re.search(r"packets (\d+)", lab.nft("list", "counter", "inet", "holdfast", "blocked_out").stdout)[1])

    before = 0
    for _ in range(2):
        daemon.api.mode("always")
        refuse(lab, 100)
        least = refused()  # what the kernel says by itself is refused and counted, too, at any time
        assert least >= 100, least
        process.until(lambda: told() >= before + least, lambda: f"{told()}, not {before + least}")  # the status may be 20 ms old
        now = told()
        assert now <= before + refused(), (now, before, refused())
        daemon.api.mode("auto")
        before = told()
        assert before >= now, (before, now)


def test_counted_all_ways(lab):
    """what is dropped on its way in, and what containers send and is refused, is counted as well, each packet"""
    box = Bridge(lab).boxes[0]
    daemon = lab.daemon()
    daemon.api.mode("always")
    for way, sender, address in (("in", lab.net.internet, topology.CLIENT4), ("forward", box, topology.INTERNET4)):
        with sender.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(100):
                sock.sendto(b"counted", (address, 9))

        def told(way=way):
            return daemon.api.status()["gate"]["blocked"][way]

        process.until(lambda: told() >= 100, lambda: f"{way}: {told()}")


def test_refused_at_once(lab):
    """a program learns at once that the gate is closed, in a container, too: connect() fails by an ICMP error, no reset, it does not hang"""
    box = Bridge(lab).boxes[0]
    daemon = lab.daemon()
    daemon.api.mode("always")
    for where, namespace in (("", lab.net.client), (" on the uplink", lab.net.client), (" in a container", box)):
        with namespace.entered():
            sock = socket.socket()
        if where == " on the uplink":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.settimeout(5)
        begun = time.monotonic()
        try:
            sock.connect((topology.INTERNET4, 80))
        except TimeoutError:
            raise AssertionError("connect() hung") from None
        except OSError as error:
            assert error.errno == errno.EHOSTUNREACH, error
            lab.note(f"connect(){where}: {error.strerror} after {(time.monotonic() - begun) * 1000:.1f} ms")
        else:
            raise AssertionError("the gate is open")


def test_with_the_units_capabilities(lab):
    """with the capabilities that the unit leaves it, the daemon holds a tunnel, marks its sockets, restarts it and ends it"""
    daemon, _ = lab.guarded(as_unit=True)
    lab.leaks.closed([SERVER])
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("connected")
    os.kill(daemon.worker_pid(), signal.SIGKILL)
    watch.wait_state("connected")
    assert "cannot be marked" not in daemon.process.log(), daemon.process.log()
    daemon.api.stop()
    assert daemon.table() is None and not lab.ip("link", "show", "hf-home", check=False).stdout
