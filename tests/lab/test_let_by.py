# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the settings let by beside the tunnel: inbound services, management networks, LAN networks of a link, resolvers on the LAN."""

import contextlib
import re
import socket

from lab import process, topology
from lab.granted import ends
from lab.leaks import SERVER
from lab.names import NameServer
from lab.traffic import KINDS

LAN_KINDS = tuple(kind for kind in KINDS if kind.destination in (topology.LAN4, topology.LAN6) and kind.port not in (53, 853))


def listen(lab, port, family=socket.AF_INET):
    with lab.net.client.entered():
        sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    sock.listen()
    sock.settimeout(process.PATIENCE)
    return sock


def knock(namespace, host, port, listener, timeout=process.PATIENCE):
    """A connection from NAMESPACE to the client, both ends; TimeoutError where nobody opens."""
    with namespace.entered():
        far = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    far.settimeout(timeout)
    try:
        far.connect((host, port))
    except BaseException:
        far.close()
        raise
    near, _ = listener.accept()
    for sock in (near, far):
        sock.settimeout(process.PATIENCE)
    return near, far


def refused(namespace, host, port, listener):
    with contextlib.suppress(OSError):
        for sock in knock(namespace, host, port, listener, timeout=1.5):
            sock.close()
        return False
    return True


def talks(near, far):
    far.sendall(b"hello")
    assert near.recv(64) == b"hello"
    near.sendall(b"welcome")
    assert far.recv(64) == b"welcome"


def test_inbound_service(lab):
    """an inbound service answers those it is for, by the uplink, tunnel or not; the port next to it and others get no answer"""
    daemon, _ = lab.guarded(mode="always")
    services = [{"protocol": "tcp", "port": 22, "from": ["198.51.100.0/24", "2001:db8:3::/64"]}, {"protocol": "tcp", "port": 80}]
    ssh, ssh6, web, other = listen(lab, 22), listen(lab, 22, socket.AF_INET6), listen(lab, 80), listen(lab, 81)
    assert refused(lab.net.internet, topology.CLIENT4, 22, ssh)
    daemon.api.patch("/kill-switch", {"inbound": services})
    living = [
        knock(lab.net.internet, topology.CLIENT4, 22, ssh),
        knock(lab.net.internet, topology.CLIENT6, 22, ssh6),
        knock(lab.net.lan, topology.CLIENT4, 80, web),
    ]
    for pair in living:
        talks(*pair)
    assert refused(lab.net.lan, topology.CLIENT4, 22, ssh), "open to others than those it is for"
    assert refused(lab.net.internet, topology.CLIENT4, 81, other)
    flows = [ends(near) for near, _ in living]
    lab.leaks.closed([SERVER], flows)
    daemon.api.stop()
    for pair in living:
        talks(*pair)
    lab.leaks.closed(flows=flows)
    daemon.api.patch("/kill-switch", {"inbound": None})
    assert refused(lab.net.internet, topology.CLIENT4, 22, ssh)
    place = lab.capture.mark()
    for near, _ in living:
        near.setblocking(False)
        with contextlib.suppress(OSError):
            near.send(b"after")
    left = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.source_port in (22, 80)]
    assert not left, f"a living connection was not cut: {left[0]}"


def test_inbound_services_apart(lab):
    """a service that is no longer named says nothing more over connections that live, while the one beside it goes on"""
    daemon, _ = lab.guarded()
    ssh, web = ({"protocol": "tcp", "port": port} for port in (22, 80))
    daemon.api.patch("/kill-switch", {"inbound": [ssh, web], "management": [f"{topology.LAN4}/32"]})
    peers = ((lab.net.internet, 22), (lab.net.internet, 80), (lab.net.lan, 2222))
    cut, kept, managed = (knock(namespace, topology.CLIENT4, port, listen(lab, port)) for namespace, port in peers)
    for change, (near, far) in (({"inbound": [web]}, cut), ({"management": []}, managed)):
        talks(near, far)
        daemon.api.patch("/kill-switch", change)
        port = near.getsockname()[1]
        place = lab.capture.mark()
        with contextlib.suppress(OSError):
            near.send(b"after")
        left = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.source_port == port]
        assert not left, left[0]
        talks(*kept)


def test_neighbours_of_a_service(lab):
    """a host on the LAN that has never heard of this one finds it by IPv6 to reach an inbound service, and not otherwise"""
    daemon, _ = lab.guarded()
    listener = listen(lab, 80, socket.AF_INET6)

    def strangers():
        for namespace in (lab.net.lan, lab.net.client):
            lab.ip("-6", "neighbour", "flush", "dev", "eth0", namespace=namespace)

    strangers()
    assert refused(lab.net.lan, topology.CLIENT6, 80, listener)
    for service in ({"protocol": "tcp", "port": 80, "from": ["fd01::/64"]}, {"protocol": "tcp", "port": 80}):
        daemon.api.patch("/kill-switch", {"inbound": [service]})
        strangers()
        talks(*knock(lab.net.lan, topology.CLIENT6, 80, listener))


def test_management_network(lab):
    """a management network reaches every port and is answered; nothing begins towards it, and others reach nothing"""
    daemon, _ = lab.guarded()
    daemon.api.patch("/kill-switch", {"management": ["198.51.100.0/24", "2001:db8:3::/64"]})
    pairs = []
    for family, host in ((socket.AF_INET, topology.CLIENT4), (socket.AF_INET6, topology.CLIENT6)):
        listener = listen(lab, 2222, family)
        pairs.append(knock(lab.net.internet, host, 2222, listener))
        talks(*pairs[-1])
        assert refused(lab.net.lan, host, 2222, listener)
    lab.leaks.closed([SERVER], [ends(near) for near, _ in pairs])


def test_custom_lan(lab):
    """a custom network is reached on its link, in both families and without DNS, and not where it is bound to another link"""
    daemon, _ = lab.guarded()
    networks = ["10.1.0.0/24", "fd01::/64"]
    daemon.api.patch("/kill-switch", {"lan": {"custom": [{"network": network, "interface": "eth0"} for network in networks]}})
    place = lab.capture.mark()
    lab.offering.offer(LAN_KINDS)
    for address in (topology.LAN4, topology.LAN6):
        lab.capture.wait(lambda frame, address=address: not frame.outgoing and frame.destination == address, place)
    place = lab.capture.mark()
    lab.offering.offer([kind for kind in KINDS if kind not in LAN_KINDS])
    dns = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.destination_port in (53, 853)]
    assert not dns, f"DNS left with the LAN: {dns[0]}"
    daemon.api.patch("/kill-switch", {"lan": {"custom": [{"network": network, "interface": "eth9"} for network in networks]}})
    lab.leaks.closed([SERVER])


def test_lan_with_the_tunnels_network(lab):
    """a LAN that has the tunnel's own network, and the tunnel's address in it, gets nothing of what is for the tunnel's hosts, `lan` allowed or not"""
    inner = topology.INNER_SERVER4
    topology.batch(lab.net.lan, [f"address add {inner}/24 dev eth0"])
    daemon, server = lab.guarded(connect=False)
    document = server.document(dns=[inner])
    document["settings"]["addresses"][0] = f"{topology.INNER_CLIENT4}/24"
    daemon.api.put("/tunnels/home", document)
    topology.batch(lab.net.client, ["address add 10.9.0.77/24 dev eth0"])
    place = lab.capture.mark()
    near, _ = lab.connect(inner, 80, listener=lab.net.lan)
    near.close()
    assert [frame for frame in lab.capture.since(place) if frame.destination == inner]  # the control
    daemon.api.start()
    for lan in ("block", "allow"):
        daemon.api.patch("/kill-switch", {"lan": lan})
        place = lab.capture.mark()
        for port in (80, 53, 853):
            near, far = lab.connect(inner, port, listener=lab.net.server)
            talks(near, far)
            assert far.getpeername()[0] == topology.INNER_CLIENT4, (lan, port, far.getpeername())
        left = [frame for frame in lab.capture.since(place) if not frame.outgoing and inner in (frame.destination, frame.source)]
        assert not left, (lan, str(left[0]))


def test_resolver_on_the_lan(lab):
    """a resolver on the LAN that is named answers on port 53, and opens nothing else of its host"""
    daemon, _ = lab.guarded()
    names = NameServer(lab, {"printer.lan": ["10.1.0.99"]})
    with lab.net.client.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07printer\x03lan\x00\x00\x01\x00\x01"
    sock.settimeout(process.PATIENCE)

    def ask():
        sock.sendto(query, (topology.LAN4, 53))
        return sock.recv(512)

    try:
        ask()
        raise AssertionError("answered before it was named")
    except OSError:
        pass
    daemon.api.patch("/kill-switch", {"dns": {"lan": [topology.LAN4]}})
    assert socket.inet_aton("10.1.0.99") in ask()
    place = lab.capture.mark()
    lab.offering.offer()
    left = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.destination == topology.LAN4]
    assert left and all(frame.destination_port in (53, 853) for frame in left), [str(frame) for frame in left if frame.destination_port not in (53, 853)]
    daemon.api.patch("/kill-switch", {"dns": None})
    lab.leaks.closed([SERVER])
    names.close()


def dhclient6(lab):
    """The distribution's client for IPv6; it goes on from the lease that it has."""
    command = ["dhclient", "-6", "-d", "-lf", "/run/lab/dhclient6.leases", "-pf", "/run/lab/dhclient6.pid", "eth0"]
    return process.Process(lab, "dhclient6", command, lab.net.client)


def test_dhcpv6(lab):
    """DHCPv6, asked for, confirmed and renewed, goes past a closed gate and the tunnel's, and nothing beside it does"""
    daemon, _ = lab.guarded(mode="always")
    command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface=br0", "--bind-interfaces",
               "--dhcp-range=fd01::50,fd01::60,64,2m", "--dhcp-leasefile=/run/lab/leases6", "--log-facility=-", "--log-dhcp"]  # fmt: skip
    server = process.Process(lab, "dnsmasq", command, lab.net.router)
    lab.leaks.begin()
    generator = lab.generator()
    client = dhclient6(lab)
    server.wait_log("DHCPREPLY")
    process.until(lambda: "fd01::5" in lab.ip("-6", "address", "show", "dev", "eth0").stdout, client.log)
    client.kill()
    daemon.api.stop()
    with open("/run/lab/dhclient6.leases") as file:
        lease = file.read()
    with open("/run/lab/dhclient6.leases", "w") as file:
        file.write(re.sub(r"renew \d+", "renew 1", lease))  # brought forward: nothing need be waited for
    replies = server.log().count("DHCPREPLY")
    dhclient6(lab)
    server.wait_log("DHCPRENEW")
    server.wait_log("DHCPREPLY", replies + 2)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    assert daemon.gate() == "closed"
