# SPDX-License-Identifier: LGPL-2.1-or-later
"""What containers and VMs behind bridges send: through the tunnel or nowhere, and among themselves as ever."""

import contextlib
import errno
import os
import signal
import socket

from lab import topology
from lab.bridge import Bridge
from lab.daemon import TERMINATE, WAIT_LONG
from lab.leaks import SERVER
from lab.process import PATIENCE

INTERNET = (topology.INTERNET4, topology.INTERNET6)
INNER = (topology.INNER_CLIENT4, topology.INNER_CLIENT6)


def seen_from(lab, box, address, listener=None, port=80, timeout=PATIENCE):
    """Whom a host sees connect from BOX."""
    near, far = lab.connect(address, port, namespace=box, listener=listener, timeout=timeout)
    with near, far:
        return far.getpeername()[0]


def is_held(lab, box, address, listener=None, port=80):
    """Whether a host sees nobody connect from BOX, which may have to wait for its answer in vain."""
    with contextlib.suppress(OSError):
        seen_from(lab, box, address, listener, port, timeout=1)
        return False
    return True


def from_bridge(lab, place, bridge):
    """Frames that left the uplink from the bridge's networks, or as if the host had sent them to the internet."""
    networks = (f"172.{bridge.number}.", f"fd{bridge.number}:")
    sent = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.source]
    return [frame for frame in sent if frame.source.startswith(networks) or frame.destination in INTERNET]


def engine_masquerades(lab, bridge):
    """What a container engine adds for its bridge."""
    for family, network in (("ip", f"172.{bridge.number}.0.0/16"), ("ip6", f"fd{bridge.number}::/64")):
        lab.nft("add", "table", family, "engine")
        lab.nft("add", "chain", family, "engine", "post", "{ type nat hook postrouting priority 100; }")
        lab.nft("add", "rule", family, "engine", "post", family, "saddr", network, "oifname", "!=", bridge.name, "masquerade")


@contextlib.contextmanager
def routed_by_main(lab, bridge):
    """An administrator's rule in front of the second layer: what comes from BRIDGE is held by the first alone."""
    rule = ("pref", "1", "iif", bridge.name, "lookup", "main")
    lab.ip("rule", "add", *rule)
    yield
    lab.ip("rule", "del", *rule)


def test_engine(lab):
    """containers whose engine masquerades them: outside as the host before, through the tunnel while it is up, nowhere while it is not"""
    bridge = Bridge(lab)
    engine_masquerades(lab, bridge)
    box = bridge.boxes[0]
    assert [seen_from(lab, box, address) for address in INTERNET] == [topology.CLIENT4, topology.CLIENT6]  # the control
    daemon, _ = lab.guarded(WAIT_LONG)
    place = lab.capture.mark()
    assert [seen_from(lab, box, address) for address in INTERNET] == list(INNER)
    assert not from_bridge(lab, place, bridge)
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    assert all(is_held(lab, box, address) for address in INTERNET)
    assert not from_bridge(lab, place, bridge)
    lab.leaks.closed([SERVER])


def test_masquerade(lab):
    """forwarding.masquerade: a gateway's clients take the tunnel's address; without it the server sees their own and refuses them"""
    bridge = Bridge(lab, "lan1", 30)
    box = bridge.boxes[0]
    daemon, _ = lab.guarded()
    place = lab.capture.mark()
    assert all(is_held(lab, box, address) for address in INTERNET)
    answer = daemon.api.patch("/kill-switch", {"forwarding": {"masquerade": True}})
    assert not answer["warnings"], answer
    assert [seen_from(lab, box, address) for address in INTERNET] == list(INNER)
    near, far = lab.connect(topology.INTERNET4, 81)
    assert far.getpeername()[0] == topology.INNER_CLIENT4  # the host's own are as they were
    near.close()
    daemon.api.patch("/kill-switch", {"forwarding": {"masquerade": False}})
    assert is_held(lab, box, topology.INTERNET4, port=82)
    assert not from_bridge(lab, place, bridge)


def test_members(lab):
    """members of bridges reach each other and the host's DNS in every state of the gate, and the uplink's side does not reach them"""
    docker, virtual = Bridge(lab, boxes=2), Bridge(lab, "virbr0", 18)
    first, second, other = docker.boxes[0], docker.boxes[1], virtual.boxes[0]
    topology.batch(lab.net.lan, [f"route add 172.17.0.0/16 via {topology.CLIENT4}"])
    assert seen_from(lab, lab.net.lan, docker.addresses()[0], first) == topology.LAN4  # the control

    def reach(what):
        for near, far, index in ((first, second, 1), (second, first, 0), (other, first, 0)):
            for address, mine in zip(docker.addresses(index), (0, 1)):
                source = (virtual.addresses() if near is other else docker.addresses(1 - index))[mine]
                assert seen_from(lab, near, address, far) == source, (what, near.name, far.name, address)
        for box, address in ((first, docker.address4), (other, virtual.address6)):
            assert asks_dns(lab, box, address), (what, box.name)
        if what != "open":
            assert is_held(lab, lab.net.lan, docker.addresses()[0], first), what

    reach("open")
    daemon, _ = lab.guarded(WAIT_LONG)
    reach("tunnel")
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    reach("closed")
    daemon.api.mode("always")
    daemon.api.stop()
    reach("always")


def asks_dns(lab, box, address):
    """Whether a resolver of the host's on a bridge's address is reached from BOX and its answer comes back."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with lab.net.client.entered():
        resolver = socket.socket(family, socket.SOCK_DGRAM)
    with box.entered():
        asker = socket.socket(family, socket.SOCK_DGRAM)
    with resolver, asker:
        resolver.bind((address, 53))
        for sock in (resolver, asker):
            sock.settimeout(PATIENCE)
        asker.sendto(b"question", (address, 53))
        question, who = resolver.recvfrom(100)
        resolver.sendto(b"answer", who)
        return (question, asker.recv(100)) == (b"question", b"answer")


def test_connections_from_before(lab):
    """a container's connection from before the gate closed carries nothing outside any more"""
    bridge = Bridge(lab)
    engine_masquerades(lab, bridge)
    near, far = lab.connect(topology.INTERNET4, 83, namespace=bridge.boxes[0])
    near.sendall(b"before")
    assert far.recv(100) == b"before"
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    place = lab.capture.mark()
    with routed_by_main(lab, bridge):
        near.sendall(b"after")
        with contextlib.suppress(OSError):
            far.send(b"answer")
        assert not from_bridge(lab, place, bridge)


def test_lan(lab):
    """`lan` allowed: containers reach the LAN and are answered; the LAN does not reach them, nor does anybody else by the uplink"""
    bridge = Bridge(lab)
    engine_masquerades(lab, bridge)
    box = bridge.boxes[0]
    outside = (lab.net.lan, lab.net.internet)
    for namespace, way in zip(outside, (topology.CLIENT4, "198.51.100.1")):
        topology.batch(namespace, [f"route add 172.17.0.0/16 via {way}"])
    topology.batch(lab.net.router, [f"route add 172.17.0.0/16 via {topology.CLIENT4}"])
    for namespace in outside:
        assert seen_from(lab, namespace, bridge.addresses()[0], box)  # the control
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    for lan in ("allow", {"custom": [{"network": "10.1.0.0/24"}, {"network": "172.17.0.0/16", "interface": "docker0"}]}):
        daemon.api.patch("/kill-switch", {"lan": lan})
        assert seen_from(lab, box, topology.LAN4, lab.net.lan) == topology.CLIENT4
        for namespace in outside:
            assert is_held(lab, namespace, bridge.addresses()[0], box), (lan, namespace.name)
        assert is_held(lab, box, topology.INTERNET4)


def test_family_that_the_tunnel_lacks(lab):
    """through a tunnel without IPv6 neither a container's nor the host's leaves: it is rejected at once, and IPv4 goes on"""
    bridge = Bridge(lab)
    engine_masquerades(lab, bridge)
    box = bridge.boxes[0]
    lab.leaks.prove()
    daemon, server = lab.guarded(connect=False)
    document = server.document()
    document["settings"]["addresses"] = [f"{topology.INNER_CLIENT4}/32"]
    daemon.api.put("/tunnels/home", document)
    assert seen_from(lab, box, topology.INTERNET6) == topology.CLIENT6  # the control
    daemon.api.start()
    place = lab.capture.mark()
    for namespace in (box, lab.net.client):
        with namespace.entered():
            sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        with sock:
            sock.settimeout(PATIENCE)
            assert sock.connect_ex((topology.INTERNET6, 80)) in (errno.EACCES, errno.EHOSTUNREACH), namespace.name
        assert seen_from(lab, namespace, topology.INTERNET4) == topology.INNER_CLIENT4
    assert not from_bridge(lab, place, bridge)
    lab.leaks.closed([SERVER])


def test_tunnel_address_from_a_bridge(lab):
    """a container does not reach the host by the tunnel's address, nor learns that the host has it"""
    bridge = Bridge(lab)
    box = bridge.boxes[0]
    host = lab.net.client
    topology.batch(host, [f"address add {topology.INNER_CLIENT4}/32 dev lo", f"address add {topology.INNER_CLIENT6}/128 dev lo"])
    ports = (53, 80)  # the host's own addresses answer containers on the first
    assert [seen_from(lab, box, address, host, port) for port in ports for address in INNER] == 2 * list(bridge.addresses())  # the control
    topology.batch(host, [f"address del {topology.INNER_CLIENT4}/32 dev lo", f"address del {topology.INNER_CLIENT6}/128 dev lo"])
    lab.guarded(WAIT_LONG)
    for port in ports:
        for address in INNER:
            assert is_held(lab, box, address, host, port), (address, port)
    assert seen_from(lab, box, bridge.address4, host, 53) == bridge.addresses()[0]
    assert seen_from(lab, host, topology.INNER_CLIENT4, host) == topology.INNER_CLIENT4  # the host itself, by loopback


def test_flow_through_a_narrow_tunnel(lab):
    """a container's connection through a narrow tunnel lives over a restart in place, leaves nowhere meanwhile, nor once the tunnel failed"""
    bridge = Bridge(lab)
    engine_masquerades(lab, bridge)
    box = bridge.boxes[0]
    lab.leaks.prove()
    assert seen_from(lab, box, topology.INTERNET4) == topology.CLIENT4  # the control
    daemon, _ = lab.guarded_unproven(WAIT_LONG, routes=["198.51.100.0/24"])
    near, far = lab.connect(topology.INTERNET4, 84, namespace=box)
    assert far.getpeername()[0] == topology.INNER_CLIENT4
    assert seen_from(lab, box, topology.SERVER4, lab.net.server) == topology.CLIENT4  # the rest is left alone
    place = lab.capture.mark()
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    near.sendall(b"meanwhile")
    assert is_held(lab, box, topology.INTERNET4)
    with routed_by_main(lab, bridge):
        assert is_held(lab, box, topology.INTERNET4)
    daemon.api.start()
    assert far.recv(100) == b"meanwhile"
    daemon.policy(TERMINATE)
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("failed")
    near.sendall(b"afterwards")
    assert is_held(lab, box, topology.INTERNET4)
    assert not from_bridge(lab, place, bridge)
