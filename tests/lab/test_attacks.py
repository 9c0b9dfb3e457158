# SPDX-License-Identifier: LGPL-2.1-or-later
"""The known attacks on VPN clients, each with its positive control. (CVE-2019-14899 and sockets bound to the uplink: test_cells.py, too.)"""

import contextlib
import json
import os
import pwd
import signal
import socket
import struct

from lab import frames, process, topology
from lab.daemon import ASK
from lab.leaks import SERVER, is_wireguard
from lab.traffic import echo_packet

WORLD = ["0.0.0.0/1", "128.0.0.0/1", f"{topology.INTERNET4}/32", f"{topology.SERVER4}/32", "203.0.113.0/24"]


class RogueDhcp(process.Process):
    """A DHCP server on the LAN that pushes routes (option 121), for two minutes: the least that dnsmasq gives."""

    def __init__(self, lab, routes=()):
        self._write(routes)
        command = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface=br0", "--bind-interfaces",
                   "--dhcp-range=10.1.0.50,10.1.0.60,255.255.255.0,2m", "--dhcp-authoritative", "--no-ping", "--dhcp-optsfile=/run/lab/pushed",
                   "--dhcp-leasefile=/run/lab/leases", "--log-facility=-", "--log-dhcp"]  # fmt: skip
        super().__init__(lab, "dnsmasq", command, lab.net.router)

    @staticmethod
    def _write(routes):
        with open("/run/lab/pushed", "w") as file:
            if routes:
                file.write("121," + ",".join(f"{network},{topology.GATEWAY4}" for network in routes) + "\n")

    def push(self, routes):
        """From the next renewal on."""
        self._write(routes)
        read = self.log().count("/run/lab/pushed")
        self.send(signal.SIGHUP)
        self.wait_log("/run/lab/pushed", read + 1)


def dhclient(lab):
    """The distribution's client with its own script and hooks, on the client's uplink; it renews after two seconds."""
    with open("/etc/dhcp/dhclient.conf") as usual, open("/run/lab/dhclient.conf", "w") as file:
        file.write(usual.read() + "supersede dhcp-renewal-time 2;\nsupersede dhcp-rebinding-time 60;\n")
    command = ["dhclient", "-d", "-cf", "/run/lab/dhclient.conf", "-lf", "/run/lab/dhclient.leases", "-pf", "/run/lab/dhclient.pid", "eth0"]
    return process.Process(lab, "dhclient", command, lab.net.client)


def pushed(lab, network):
    network = network.removesuffix("/32")
    return lambda: any(line.startswith(network + " ") for line in lab.ip("route", "show", "table", "main").stdout.splitlines())


def renewed(lab, place):
    """A renewal: a request that goes to the server itself, and its answer."""
    request = lab.capture.wait(lambda frame: frame.destination == topology.GATEWAY4 and frame.destination_port == 67, place)
    lab.capture.wait(lambda frame: frame.outgoing and frame.destination_port == 68 and frame.time > request.time, place)


def test_tunnelvision(lab):
    """TunnelVision: a DHCP server that pushes routes for everything, hosts' own and short leases draws nothing out of the tunnel"""
    daemon, _ = lab.guarded()
    RogueDhcp(lab, WORLD)
    lab.leaks.begin()
    generator = lab.generator()
    dhclient(lab)
    for network in WORLD:
        process.until(pushed(lab, network), f"{network} was not pushed")
    renewed(lab, lab.capture.mark())
    near, far = lab.connect(topology.INTERNET4, 80)
    assert far.getpeername()[0] == topology.INNER_CLIENT4, far.getpeername()
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    near.close()
    daemon.api.stop()
    assert all(pushed(lab, network)() for network in WORLD), "the routes were not there to the end"
    lab.leaks.control.clear()
    lab.leaks.prove()  # what was pushed carries traffic where nothing is held


def udhcpc(lab):
    """busybox's client, which takes over at a renewal what is pushed then, as NetworkManager's does; SIGUSR1 has it renew."""
    with open("/run/lab/udhcpc.script", "w") as file:
        file.write(
            "#!/bin/sh\ncase $1 in bound | renew) ;; *) exit 0 ;; esac\nip address replace $ip/$mask dev $interface\nset -- $staticroutes\n"
            "while [ $# -ge 2 ]; do ip route replace $1 via $2 dev eth0; shift 2; done\n"
        )
    os.chmod("/run/lab/udhcpc.script", 0o755)
    command = ["busybox", "udhcpc", "--foreground", "--interface", "eth0", "-O", "staticroutes", "--script", "/run/lab/udhcpc.script"]
    client = process.Process(lab, "udhcpc", command, lab.net.client)
    client.wait_log("obtained")
    return client


def test_tunnelvision_at_a_renewal(lab):
    """TunnelVision: routes that are pushed at a renewal, while a tunnel is decided about and while it restarts, draw nothing out of it"""
    daemon, _ = lab.guarded(ASK)
    rogue = RogueDhcp(lab)
    client = udhcpc(lab)
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    asked = watch.wait(kind="decisionPending")
    lab.leaks.begin()
    generator = lab.generator()

    def renew(routes):
        place = lab.capture.mark()
        rogue.push(routes)
        client.send(signal.SIGUSR1)
        renewed(lab, place)
        for network in routes:
            process.until(pushed(lab, network), f"{network} was not pushed")

    renew(WORLD[:2])
    daemon.api.post(f"/decisions/{asked['decision']}/answer", {"restart": True})
    renew(WORLD)
    daemon.wait_connected()
    lab.ping(topology.INTERNET4)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    daemon.api.stop()
    assert all(pushed(lab, network)() for network in WORLD), "the routes were not there to the end"
    lab.leaks.control.clear()
    lab.leaks.prove()  # what was pushed carries traffic where nothing is held


def test_tunnelvision_before(lab):
    """TunnelVision: routes that were pushed before the tunnel started draw nothing out of it either"""
    RogueDhcp(lab, WORLD)
    dhclient(lab)
    for network in WORLD:
        process.until(pushed(lab, network), f"{network} was not pushed")
    daemon, _ = lab.guarded()
    lab.leaks.closed([SERVER])
    lab.ping(topology.INTERNET4)
    assert daemon.gate() == "tunnel"


def test_localnet(lab):
    """TunnelCrack LocalNet: a LAN with a public range, `lan` allowed: what looks attached goes through the tunnel"""
    network = topology.INTERNET4.rsplit(".", 1)[0]
    lab.leaks.prove()
    topology.batch(lab.net.lan, [f"address add {topology.INTERNET4}/24 dev eth0"])
    topology.batch(lab.net.client, [f"address add {network}.77/24 dev eth0"])
    near, far = lab.connect(topology.INTERNET4, 80, listener=lab.net.lan)
    assert far.getpeername()[0] == f"{network}.77"  # the control: without Holdfast the LAN host is who answers
    near.close()
    daemon, _ = _guard(lab)
    daemon.api.patch("/kill-switch", {"lan": "allow"})
    place = lab.capture.mark()
    near, far = lab.connect(topology.INTERNET4, 81)
    assert far.getpeername()[0] == topology.INNER_CLIENT4, far.getpeername()
    with lab.net.client.entered():
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    with contextlib.suppress(PermissionError):
        bound.sendto(b"must not leave", (topology.INTERNET4, 9))
        raise AssertionError("the gate took the public range for a LAN")
    out = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.destination == topology.INTERNET4]
    assert not out, out[0]


def _guard(lab, **members):
    """A daemon and the tunnel `home`, connected; the control is the caller's."""
    server = lab.server()
    daemon = lab.daemon()
    daemon.add_tunnel(server.document(**members))
    daemon.api.start()
    daemon.wait_connected()
    return daemon, server


def test_serverip(lab):
    """TunnelCrack ServerIP: to the VPN server's own address nothing goes in the clear, and only the worker goes outside the tunnel"""
    daemon, _ = lab.guarded()
    place = lab.capture.mark()
    for port in (80, 443, 51820):
        near, far = lab.connect(topology.SERVER4, port, listener=lab.net.server)
        assert far.getpeername()[0] == topology.INNER_CLIENT4, far.getpeername()
        near.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert far.recv(100)
        near.close()
    sent = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.destination == topology.SERVER4]
    assert sent and all(is_wireguard(frame) for frame in sent), sent
    assert daemon.gate() == "tunnel"


def test_unmarked_process(lab):
    """a process that is not the worker reaches the endpoint outside the tunnel by no socket option, and cannot take the mark"""
    lab.guarded()
    options = [
        lambda sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0"),
        lambda sock: sock.bind((topology.CLIENT4, 0)),
        lambda sock: sock.setsockopt(socket.IPPROTO_IP, _IP_UNICAST_IF, struct.pack("!I", _index(lab))),
        lambda sock: sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 6),
    ]
    place = lab.capture.mark()
    for option in options:
        with lab.net.client.entered():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        option(sock)
        with sock, contextlib.suppress(OSError):
            sock.sendto(b"\1\0\0\0 pretends to be a handshake", (topology.SERVER4, 51820))
    sent = [frame for frame in lab.capture.since(place) if not frame.outgoing and b"pretends" in frame.payload]
    assert not sent, sent[0]
    nobody = pwd.getpwnam("nobody").pw_uid
    script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x68660000)"
    done = lab.run(["setpriv", "--reuid", str(nobody), "--clear-groups", "--bounding-set", "-all", "python3", "-c", script], check=False)
    assert "PermissionError" in done.stderr, done


_IP_UNICAST_IF, _IPV6_UNICAST_IF = 50, 76  # linux/in.h, linux/in6.h


def _index(lab):
    with lab.net.client.entered():
        return socket.if_nametoindex("eth0")


def _on_uplink(lab, how, six):
    """A UDP packet of a socket that insists on the uplink without being bound to it."""
    address = topology.INTERNET6 if six else topology.INTERNET4
    index = _index(lab)
    with lab.net.client.entered():
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    with sock, contextlib.suppress(OSError):
        if how == "unicast":
            option = (socket.IPPROTO_IPV6, _IPV6_UNICAST_IF) if six else (socket.IPPROTO_IP, _IP_UNICAST_IF)
            sock.setsockopt(*option, struct.pack("!I", index))
            sock.sendto(b"insists", (address, 4040))
        elif how == "packet info":
            info = struct.pack("=16sI", b"", index) if six else struct.pack("=I4s4s", index, b"", b"")
            kind = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO) if six else (socket.IPPROTO_IP, 8)  # IP_PKTINFO
            sock.sendmsg([b"insists"], [(*kind, info)], 0, (address, 4040))
        else:
            sock.bind((topology.CLIENT6 if six else topology.CLIENT4, 0))
            sock.sendto(b"insists", (address, 4040))


def test_insisting_on_the_uplink(lab):
    """IP_UNICAST_IF, IP_PKTINFO and the uplink's own address take nothing past the tunnel"""
    ways = [(how, six) for how in ("unicast", "packet info", "source") for six in (False, True)]

    def sent(place):
        return [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.payload == b"insists"]

    for way in ways:
        place = lab.capture.mark()
        _on_uplink(lab, *way)
        lab.capture.wait(lambda frame: frame.payload == b"insists", place)
    lab.guarded()
    place = lab.capture.mark()
    for way in ways:
        _on_uplink(lab, *way)
    assert not sent(place), sent(place)[0]


def _arp(lab, address):
    """A request of the LAN host for ADDRESS; the answers that follow are on the far side."""
    with lab.net.lan.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        mac = bytes.fromhex(lab.ip("-br", "link", "show", "dev", "eth0", namespace=lab.net.lan).stdout.split()[2].replace(":", ""))
        with sock:
            request = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, socket.inet_aton(topology.LAN4), b"\0" * 6, socket.inet_aton(address))
            sock.sendto(b"\xff" * 6 + mac + b"\x08\x06" + request, ("eth0", frames.ETH_ARP))


def _tells(address):
    """Whether a frame is the client's word about ADDRESS: an ARP answer, or anything that comes from it."""
    inner = socket.inet_aton(address)

    def told(frame):
        if frame.outgoing:
            return False
        return frame.source == address or frame.ethertype == frames.ETH_ARP and frame.bytes[20:22] == b"\0\2" and frame.bytes[28:32] == inner

    return told


def _probe(lab):
    """What CVE-2019-14899 begins with: who on the LAN can ask whether the host has the tunnel's address?"""
    for _ in range(3):
        _arp(lab, topology.INNER_CLIENT4)
    with lab.net.lan.entered():
        ping = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        syn = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with ping, syn:
        ping.sendto(echo_packet(b"probe", False), (topology.INNER_CLIENT4, 0))
        with contextlib.suppress(BlockingIOError):
            syn.connect((topology.INNER_CLIENT4, 9))


def test_tunnel_address_on_the_lan(lab):
    """CVE-2019-14899 and its ARP: nobody on the LAN learns that the host has the tunnel's address"""
    topology.batch(lab.net.lan, [f"route add {topology.INNER_CLIENT4}/32 via {topology.CLIENT4}"])
    topology.batch(lab.net.client, [f"address add {topology.INNER_CLIENT4}/32 dev lo"])
    told = _tells(topology.INNER_CLIENT4)
    place = lab.capture.mark()
    _probe(lab)
    lab.capture.wait(lambda frame: told(frame) and frame.ethertype == frames.ETH_ARP, place)
    lab.capture.wait(lambda frame: told(frame) and frame.protocol == frames.ICMP, place)
    lab.capture.wait(lambda frame: told(frame) and frame.protocol == frames.TCP, place)
    topology.batch(lab.net.client, [f"address del {topology.INNER_CLIENT4}/32 dev lo"])
    daemon, _ = lab.guarded()
    place = lab.capture.mark()
    _probe(lab)
    _arp(lab, topology.CLIENT4)  # the last question is one that is answered: then those before were, too
    lab.capture.wait(_tells(topology.CLIENT4), place)
    found = [frame for frame in lab.capture.since(place) if told(frame)]
    assert not found, found[0]
    daemon.api.stop()
    with lab.net.client.entered(), open("/proc/sys/net/ipv4/conf/all/arp_ignore") as file:
        assert file.read().strip() == "0", "arp_ignore was not put back"


def _hears(sock):
    """What comes to SOCK, past the errors that it is told of; None: nothing."""
    sock.settimeout(0.3)
    for _ in range(10):
        try:
            return sock.recv(100)
        except TimeoutError:
            return None
        except OSError:
            continue
    return None


def test_connections_from_before(lab):
    """connections that were open before the gate closed, TCP and UDP, bound or not, carry nothing outside any more, and hear nothing"""
    # As on a host with any firewall: conntrack knows the connections, and calls them established.
    lab.nft("add", "table", "inet", "theirs")
    lab.nft("add", "chain", "inet", "theirs", "in", "{ type filter hook input priority 0; }")
    lab.nft("add", "rule", "inet", "theirs", "in", "ct", "state", "established", "counter")
    lab.leaks.prove()
    pairs = []
    for bound in (False, True):
        for style in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with lab.net.internet.entered():
                far = socket.socket(socket.AF_INET, style)
            far.bind((topology.INTERNET4, 0))
            with lab.net.client.entered():
                near = socket.socket(socket.AF_INET, style)
            if bound:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
            if style == socket.SOCK_STREAM:
                far.listen()
                near.connect(far.getsockname())
                far, _ = far.accept()
            else:
                near.connect(far.getsockname())
                near.send(b"first")
                far.connect(far.recvfrom(100)[1])
            far.send(b"answer")
            assert near.recv(100) == b"answer"  # a flow that conntrack calls established
            pairs.append((near, far))
    place = lab.capture.mark()
    for near, _ in pairs:
        near.send(b"the control")
    sent = [frame for frame in lab.capture.since(place) if frame.payload == b"the control" and not frame.outgoing]
    assert len({(frame.protocol, frame.source_port) for frame in sent}) == len(pairs), sent  # some perhaps twice
    # Beside the second layer's routes a bound socket takes its peer for a neighbour, and would wait for its address in vain.
    gateway = json.loads(lab.ip("-j", "neighbour", "show", topology.GATEWAY4).stdout)[0]["lladdr"]
    lab.ip("neighbour", "replace", topology.INTERNET4, "lladdr", gateway, "nud", "permanent", "dev", "eth0")
    _guard(lab)
    place = lab.capture.mark()
    for near, far in pairs:
        with contextlib.suppress(OSError):
            near.send(b"must not leave")
        with contextlib.suppress(OSError):
            far.send(b"must not be answered")
    sent = [frame for frame in lab.capture.since(place) if not frame.outgoing and topology.INTERNET4 in (frame.destination, frame.source)]
    assert not sent, sent[0]
    assert not any(_hears(near) for near, _ in pairs), "what came from outside was let in"


_RA_LIFETIME = 1800


def _advertise(lab):
    """A router advertisement of the LAN host: a default route, a prefix and a route to the internet's own network."""
    source = lab.ip("-br", "link", "show", "dev", "eth0", namespace=lab.net.lan).stdout.split()[2]
    prefix = socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")
    internet = socket.inet_pton(socket.AF_INET6, topology.INTERNET6)
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0x08, _RA_LIFETIME, 0, 0)  # high preference
    body += struct.pack("!BB", 1, 1) + bytes.fromhex(source.replace(":", ""))
    body += struct.pack("!BBBBIII", 3, 4, 64, 0xC0, _RA_LIFETIME, _RA_LIFETIME, 0) + prefix
    body += struct.pack("!BBBBI", 24, 3, 128, 0x08, _RA_LIFETIME) + internet
    with lab.net.lan.entered():
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        index = socket.if_nametoindex("eth0")
    with sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.bind((topology.LAN_LINK_LOCAL, 0, 0, index))
        sock.sendto(body, ("ff02::1", 0, 0, index))


def test_late_router_advertisement(lab):
    """router advertisements that come later, with a prefix, a default route and a host's own route, change nothing"""
    accepts = {"net/ipv6/conf/eth0/accept_ra": 2, "net/ipv6/conf/eth0/accept_ra_rt_info_max_plen": 128}
    lab.net.client.sysctl(**accepts)

    def believed():
        return f"{topology.INTERNET6} via {topology.LAN_LINK_LOCAL}" in lab.ip("-6", "route", "show", "table", "main").stdout

    daemon, _ = lab.guarded()
    assert not believed()
    lab.leaks.begin()
    generator = lab.generator()
    _advertise(lab)
    process.until(believed, "the advertisement was not believed: there is no attack")
    assert "2001:db8:bad:" in lab.ip("-6", "address", "show", "dev", "eth0").stdout
    lab.ping(topology.INTERNET6)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    lab.leaks.closed([SERVER])
    daemon.api.stop()
    route = lab.ip("-6", "route", "get", topology.INTERNET6).stdout
    assert topology.LAN_LINK_LOCAL in route, route  # the control: where nothing is held, the rogue router is who gets it


def test_strict_rp_filter(lab):
    """on a host with a strict rp_filter the tunnel carries, nothing leaves, and the setting is put back"""
    lab.net.client.sysctl(**{"net/ipv4/conf/all/rp_filter": 1, "net/ipv4/conf/eth0/rp_filter": 1})
    daemon, _ = lab.guarded()
    lab.ping(topology.INTERNET4)
    lab.ping(topology.INTERNET6)
    lab.leaks.closed([SERVER])
    daemon.api.stop()
    with lab.net.client.entered(), open("/proc/sys/net/ipv4/conf/all/rp_filter") as file:
        assert file.read().strip() == "1"
