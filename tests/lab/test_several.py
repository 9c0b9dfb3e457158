# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several tunnels: the strictest of their demands, narrow ones, and one that takes another's place."""

import errno
import ipaddress
import os
import signal
import socket

from lab import process, topology
from lab.daemon import TERMINATE, WAIT_LONG
from lab.leaks import SERVER, Endpoint
from lab.traffic import KINDS, recognise
from lab.wireguard import SECOND

OFFICE = ["198.51.100.0/24", "2001:db8:3::/64"]  # where the internet's host is
OTHER = Endpoint(port=51821)


def two(lab, **members):
    """A proven capture, two servers, a daemon with the tunnels `home` and `office`, neither started."""
    lab.leaks.prove()
    home, office = lab.server(), lab.server(port=OTHER.port, name="wgs2", inside=SECOND)
    daemon = lab.daemon()
    daemon.policy(WAIT_LONG)
    daemon.add_tunnel(home.document())
    daemon.add_tunnel(office.document("office", **members))
    return daemon


def through(lab, address=topology.INTERNET4):
    """The address that a host sees of a connection of the client's."""
    near, far = lab.connect(address, 80, listener=lab.net.server if address == topology.SERVER4 else None)
    with near, far:
        return far.getpeername()[0]


def refused_by(lab, link):
    """Whether the gate refuses at once what a program sends into LINK to the office's network."""
    with lab.net.client.entered(), socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link)
        sock.settimeout(process.PATIENCE)
        return sock.connect_ex((topology.INTERNET4, 80)) == errno.EHOSTUNREACH


def of_office(destination):
    return destination is not None and any(ipaddress.ip_address(destination) in ipaddress.ip_network(network) for network in OFFICE)


INSIDE = [kind for kind in KINDS if of_office(kind.destination)]
ELSEWHERE = [kind for kind in KINDS if kind not in INSIDE]


def held(lab):
    """Offers what is for the office's networks, once; which of it left by the uplink, and where to."""
    place = lab.capture.mark()
    lab.leaks.offer(INSIDE)
    return {recognise(frame).name for frame in lab.capture.since(place) if not frame.outgoing and recognise(frame) in INSIDE}


def leaves(lab, kinds=KINDS):
    """KINDS leave by the uplink, each: offered until it was seen."""
    lab.leaks.control.clear()
    lab.leaks.prove(kinds)


def lose(lab, daemon, tunnel):
    """Kills the client of TUNNEL, which then waits."""
    watch = daemon.api.watch()
    os.kill(client_of(lab, daemon, tunnel), signal.SIGKILL)
    watch.wait_state("waiting", tunnel)


def nowhere(lab):
    """Nothing reaches the office's host, by a tunnel or by the uplink."""
    try:
        raise AssertionError(f"the office's networks were reached by {through(lab)}")
    except OSError:
        pass
    assert not (inside := held(lab)), inside


def client_of(lab, daemon, tunnel):
    """The pid of the tunnel's wireguard-go."""
    for pid in process.running("wireguard-go"):
        with open(f"/proc/{pid}/cmdline") as file:
            if f"hf-{tunnel}" in file.read():
                return pid
    raise AssertionError(f"no client of {tunnel}")


def test_switch_over(lab):
    """a second tunnel that wants everything takes the first one's place, and nothing leaves meanwhile"""
    daemon = two(lab)
    daemon.api.start("home")
    assert through(lab) == topology.INNER_CLIENT4
    for old, new, address in (("home", "office", SECOND.client4), ("office", "home", topology.INNER_CLIENT4)):
        watch = daemon.api.watch()
        lab.leaks.begin()
        generator = lab.generator()
        daemon.api.start(new)
        stopped = watch.wait(kind="stateChanged", tunnel=old, new="disconnected")
        lab.leaks.offered(generator.stop())
        lab.leaks.verdict([SERVER, OTHER])
        assert stopped["reason"] == "superseded", stopped
        assert daemon.api.tunnel(new)["state"] == "connected" and through(lab) == address
        assert not [event for event in watch.seen if event["kind"] == "gateChanged" and event["new"] == "open"], watch.seen
    lab.leaks.closed([SERVER, OTHER])


def test_switch_over_to_nobody(lab):
    """a second tunnel whose server does not answer keeps the gate closed: the first is not taken back, and nothing leaves"""
    daemon = two(lab)
    daemon.api.start("home")
    lab.silent_server(port=51999)
    document = lab.server(port=52000, name="wgs3").document("nobody", endpoints=[f"{topology.SERVER4}:51999/udp"])
    daemon.add_tunnel(document)
    watch = daemon.api.watch()
    lab.leaks.begin()
    generator = lab.generator()
    daemon.api.start("nobody", wait=None)
    watch.wait(kind="connecting", tunnel="nobody")
    if daemon.api.tunnel("home")["state"] != "disconnected":
        watch.wait_state("disconnected", "home")
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER, Endpoint(port=51999)])
    assert daemon.gate() == "connecting"
    lab.leaks.closed([Endpoint(port=51999)])


def test_narrow(lab):
    """a narrow tunnel's networks go through it or nowhere; the rest, port 53 too, is left alone"""
    daemon = two(lab, routes=OFFICE)
    daemon.api.start("office")
    assert through(lab) == SECOND.client4 and through(lab, topology.SERVER4) == topology.CLIENT4
    for step in ("connected", "waiting"):
        assert not (inside := held(lab)), (step, inside)
        leaves(lab, ELSEWHERE)
        if step == "connected":
            watch = daemon.api.watch()
            os.kill(client_of(lab, daemon, "office"), signal.SIGKILL)
            watch.wait_state("waiting", "office")
            assert daemon.gate() == "closed"
    lab.nft("flush", "ruleset")  # the second layer holds them, too: what the kernel chooses does not leave
    inside = held(lab)
    assert not {name for name in inside if "bound to the uplink" not in name and "mark" not in name and "made before" not in name}, inside
    daemon.api.stop("office")
    leaves(lab)


def test_strictest(lab):
    """a narrow tunnel beside one that wants everything: its networks are its own, also while it is down, and the rest is the other's"""
    daemon = two(lab, routes=OFFICE)
    daemon.api.start("home")
    daemon.api.start("office")
    lab.leaks.closed([SERVER, OTHER])
    assert through(lab) == SECOND.client4 and through(lab, topology.SERVER4) == topology.INNER_CLIENT4
    assert refused_by(lab, b"hf-home")
    watch = daemon.api.watch()
    os.kill(client_of(lab, daemon, "office"), signal.SIGKILL)
    watch.wait_state("waiting", "office")
    lab.leaks.closed([SERVER, OTHER])
    assert refused_by(lab, b"hf-home")
    nowhere(lab)  # not through the other tunnel either
    assert through(lab, topology.SERVER4) == topology.INNER_CLIENT4
    daemon.api.stop("home")
    assert not (inside := held(lab)), inside
    leaves(lab, ELSEWHERE)


def two_narrow(lab, home_routes):
    """Both tunnels narrow and connected: `office` with the office's networks, `home` with HOME_ROUTES."""
    lab.leaks.prove()
    home, office = lab.server(), lab.server(port=OTHER.port, name="wgs2", inside=SECOND)
    daemon = lab.daemon()
    daemon.policy(WAIT_LONG)
    daemon.add_tunnel(home.document(routes=home_routes))
    daemon.add_tunnel(office.document("office", routes=OFFICE))
    daemon.api.start("home")
    daemon.api.start("office")
    return daemon


def test_most_specific(lab):
    """of two narrow tunnels the more specific one has its networks, also while it waits or failed; stopped, they are the wider one's"""
    daemon = two_narrow(lab, ["198.51.0.0/16", "2001:db8::/45"])
    assert through(lab) == SECOND.client4 and not (inside := held(lab)), inside
    lose(lab, daemon, "home")
    assert through(lab) == SECOND.client4 and not (inside := held(lab)), inside
    daemon.api.start("home")
    lose(lab, daemon, "office")
    nowhere(lab)
    daemon.policy(TERMINATE)
    daemon.api.start("office")
    watch = daemon.api.watch()
    os.kill(client_of(lab, daemon, "office"), signal.SIGKILL)
    watch.wait_state("failed", "office")
    nowhere(lab)
    daemon.api.stop("office")
    assert through(lab) == topology.INNER_CLIENT4 and not (inside := held(lab)), inside
    lose_for_good = daemon.api.watch()
    os.kill(client_of(lab, daemon, "home"), signal.SIGKILL)
    lose_for_good.wait_state("failed")
    nowhere(lab)
    daemon.api.stop("home")
    leaves(lab)


def test_same_network(lab):
    """two narrow tunnels that want the same networks: the one that carries has them, whichever it is, and nothing goes elsewhere while neither does"""
    daemon = two_narrow(lab, OFFICE)
    assert through(lab) in (topology.INNER_CLIENT4, SECOND.client4)
    lose(lab, daemon, "home")
    assert through(lab) == SECOND.client4 and not (inside := held(lab)), inside
    daemon.api.start("home")
    lose(lab, daemon, "office")
    assert through(lab) == topology.INNER_CLIENT4 and not (inside := held(lab)), inside
    lose(lab, daemon, "home")
    nowhere(lab)
    daemon.api.stop("home")
    nowhere(lab)
    daemon.api.stop("office")
    leaves(lab)


def test_narrow_in_always(lab):
    """mode always covers what no wanted tunnel covers: a narrow tunnel carries its networks, all else goes nowhere, and a family that it lacks neither"""
    daemon = two(lab, routes=OFFICE[:1])
    daemon.api.mode("always")
    daemon.api.start("office")
    assert through(lab) == SECOND.client4
    lab.leaks.closed([OTHER])
    for address in (topology.SERVER4, topology.INTERNET6):
        try:
            raise AssertionError(f"{address} was reached by {through(lab, address)}")
        except OSError:
            pass
    lose(lab, daemon, "office")
    lab.leaks.closed([OTHER])


def test_families_apart(lab):
    """a narrow tunnel without IPv6 beside one that wants everything and has nothing else: each family by its own, and what neither carries nowhere"""
    lab.leaks.prove()
    home, office = lab.server(), lab.server(port=OTHER.port, name="wgs2", inside=SECOND)
    daemon = lab.daemon()
    daemon.policy(WAIT_LONG)
    six, four = home.document(), office.document("office", routes=OFFICE[:1])
    six["settings"]["addresses"] = [f"{home.inside.client6}/128"]
    four["settings"]["addresses"] = [f"{office.inside.client4}/32"]
    daemon.add_tunnel(six)
    daemon.add_tunnel(four)
    daemon.api.start("home")
    daemon.api.start("office")
    assert through(lab) == SECOND.client4 and through(lab, topology.INTERNET6) == topology.INNER_CLIENT6
    lab.leaks.closed([SERVER, OTHER])
    try:
        raise AssertionError(f"reached by {through(lab, topology.SERVER4)}")
    except OSError:
        pass  # IPv4 beside the office's networks: no tunnel has it
    lose(lab, daemon, "office")
    nowhere(lab)
    assert through(lab, topology.INTERNET6) == topology.INNER_CLIENT6
    lose(lab, daemon, "home")
    lab.leaks.closed([SERVER, OTHER])
