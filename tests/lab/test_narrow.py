# SPDX-License-Identifier: LGPL-2.1-or-later
"""How narrow the rules are that let by what a link and a worker need: each packet that they mean, beside those that merely look like it."""

import contextlib
import os
import pwd
import select
import socket
import struct
from typing import Callable, NamedTuple

from lab import frames, process, topology
from lab.leaks import is_wireguard
from lab.traffic import echo_packet

ALL_DHCP_AGENTS, ALL_DHCP_SERVERS = "ff02::1:2", "ff05::1:3"  # RFC 8415
ALL_NODES, ALL_ROUTERS, SOLICITED = "ff02::1", "ff02::2", "ff02::1:ff00:9"  # RFC 4291
CLIENT_LINK_LOCAL = "fe80::2"
RS, RA, NS, NA, REDIRECT = 133, 134, 135, 136, 137  # RFC 4861
UDPLITE = 136
PORT = 51820
WORKER, OTHER_KINDS = 0x68660000, (0x68670000, 0x68680000, 0x68690000, 0x686A0000, 0x686B0000, 0x69000000)  # firewall/mark.h


class Row(NamedTuple):
    """A packet, and whether it must get through; `send` sends it with a tag in it."""

    what: str
    passes: bool
    send: Callable


def tag(index):
    return b"narrow/%04d/" % index


def is_v6(address):
    return ":" in address


def opened(address, style, protocol=0, who=0, source="", source_port=0, mark=0, link=b"eth0"):
    """A socket of the user WHO for packets to ADDRESS by LINK, from SOURCE and SOURCE_PORT, with MARK."""
    six = is_v6(address)
    os.seteuid(who)
    try:
        sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, style | socket.SOCK_NONBLOCK, protocol)
    finally:
        os.seteuid(0)
    index = socket.if_nametoindex("eth0")
    if mark:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    elif link:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if source or source_port:
        sock.bind((source, source_port, 0, index if source.startswith("fe80:") else 0) if six else (source, source_port))
    return sock


def target(address, port):
    scoped = address.startswith(("fe80:", "ff0"))
    return (address, port, 0, socket.if_nametoindex("eth0") if scoped else 0) if is_v6(address) else (address, port)


def udp(address, port, protocol=0, **options):
    def send(data):
        with opened(address, socket.SOCK_DGRAM, protocol, **options) as sock:
            sock.sendto(data, target(address, port))

    return send


def raw(address, protocol, head=b"", **options):
    def send(data):
        with opened(address, socket.SOCK_RAW, protocol, **options) as sock:
            sock.sendto(head + data, target(address, 0))

    return send


def tcp(address, port, **options):
    """A connection's first packet, with data in it (RFC 7413)."""

    def send(data):
        with opened(address, socket.SOCK_STREAM, **options) as sock, contextlib.suppress(BlockingIOError):
            sock.setsockopt(socket.IPPROTO_TCP, 34, 1)  # TCP_FASTOPEN_NO_COOKIE
            sock.sendto(data, socket.MSG_FASTOPEN, target(address, port))

    return send


def icmp6(kind, address, code=0, **options):
    """A message of neighbour discovery, about somebody's address."""
    body = struct.pack("!BBHI", kind, code, 0, 0) + socket.inet_pton(socket.AF_INET6, topology.LAN6)
    return raw(address, socket.IPPROTO_ICMPV6, body, **options)


def udp_from(source, port, address, to_port, **options):
    """The same as `udp`, from a port that somebody else may have."""
    head = struct.pack("!HHHH", port, to_port, 8 + len(tag(0)), 0)

    def send(data):
        with opened(address, socket.SOCK_RAW, socket.IPPROTO_UDP, source=source, **options) as sock:
            if is_v6(address):
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 6)
            sock.sendto(head + data, target(address, 0))

    return send


# ---- out ----


def left(lab, rows):
    """Which ROWS, sent by the client now, left by its uplink."""
    place = lab.capture.mark()
    with lab.net.client.entered():
        for index, row in enumerate(rows):
            with contextlib.suppress(OSError):
                row.send(tag(index))
    sent = [frame.bytes for frame in lab.capture.since(place) if not frame.outgoing]
    return {row.what for index, row in enumerate(rows) if any(tag(index) in data for data in sent)}


def all_leave(lab, rows):
    """The positive control, with the gate open. A first packet may have to wait for its neighbour's address."""
    missing = {row.what for row in rows}
    deadline = process.deadline_in()
    while missing:
        missing -= left(lab, rows)
        process.remaining(deadline, f"not seen with the gate open: {missing}")


def judge(rows, seen):
    expected = {row.what for row in rows if row.passes}
    assert len({row.what for row in rows}) == len(rows)
    assert seen == expected, f"too much: {sorted(seen - expected)}; too little: {sorted(expected - seen)}"


def unprivileged_ports(lab):
    """As on hosts whose users run servers of their own: every port is anybody's."""
    lab.net.client.sysctl(**{"net/ipv4/ip_unprivileged_port_start": 0})
    lab.run(["sed", "-i", "1i dhcpcd:x:64995:65534::/nonexistent:/usr/sbin/nologin", "/etc/passwd"])  # before the machine's own
    return pwd.getpwnam("nobody").pw_uid, 64995


def test_dhcp(lab):
    """only DHCP clients renew a lease with the server itself; what others send from their ports leaves the link nowhere"""
    nobody, dhcpcd = unprivileged_ports(lab)

    def four(what, passes, address, who, ports=(68, 67), **options):
        return Row(f"{what}, IPv4", passes, udp(address, ports[1], who=who, source_port=ports[0], **options))

    def six(what, passes, address, who, ports=(546, 547), source="", **options):
        return Row(f"{what}, IPv6", passes, udp(address, ports[1], who=who, source_port=ports[0], source=source, **options))

    rows = [
        four("anybody to all", True, "255.255.255.255", nobody),
        four("anybody to a public host", False, topology.INTERNET4, nobody),
        four("anybody to a LAN host", False, topology.LAN4, nobody),
        four("anybody to the router", False, topology.GATEWAY4, nobody),
        four("anybody to the LAN's broadcast address", False, topology.LAN_BROADCAST, nobody),
        four("root to the router", True, topology.GATEWAY4, 0),
        four("root to a server behind a relay", True, topology.INTERNET4, 0),
        four("dhcpcd to a server behind a relay", True, topology.INTERNET4, dhcpcd),
        four("root from another port", False, topology.GATEWAY4, 0, (69, 67)),
        four("root to another port", False, topology.GATEWAY4, 0, (68, 69)),
        four("root as a server", False, "255.255.255.255", 0, (67, 68)),
        four("root by UDP-Lite", False, topology.GATEWAY4, 0, protocol=UDPLITE),
        six("anybody to all agents", True, ALL_DHCP_AGENTS, nobody, source=CLIENT_LINK_LOCAL),
        six("anybody to all servers", True, ALL_DHCP_SERVERS, nobody, source=CLIENT_LINK_LOCAL),
        six("anybody to all agents, from a global address", False, ALL_DHCP_AGENTS, nobody, source=topology.CLIENT6),
        six("anybody to a public host", False, topology.INTERNET6, nobody),
        six("anybody to a LAN host", False, topology.LAN6, nobody),
        six("anybody to a link-local address", False, topology.LAN_LINK_LOCAL, nobody, source=CLIENT_LINK_LOCAL),
        six("root to a server", True, topology.INTERNET6, 0),
        six("dhcpcd to a server", True, topology.LAN6, dhcpcd),
        six("root to another group", False, "ff02::fb", 0, source=CLIENT_LINK_LOCAL),
        six("root from another port", False, topology.LAN6, 0, (545, 547)),
        six("root to another port", False, topology.LAN6, 0, (546, 548)),
    ]
    all_leave(lab, rows)
    lab.daemon().api.mode("always")
    judge(rows, left(lab, rows))


def test_neighbour_discovery(lab):
    """neighbour discovery goes to whom it is for on the link, with code 0, and to nobody else"""
    rows = [
        Row("router solicitation", True, icmp6(RS, ALL_ROUTERS)),
        Row("router solicitation of a public host", False, icmp6(RS, topology.INTERNET6)),
        Row("router solicitation of a neighbour", False, icmp6(RS, topology.LAN_LINK_LOCAL)),
        Row("router solicitation of another code", False, icmp6(RS, ALL_ROUTERS, 1)),
        Row("neighbour solicitation", True, icmp6(NS, SOLICITED)),
        Row("neighbour solicitation of a neighbour", True, icmp6(NS, topology.LAN_LINK_LOCAL)),
        Row("neighbour solicitation of a public host", False, icmp6(NS, topology.INTERNET6)),
        Row("neighbour solicitation of a LAN host's global address", False, icmp6(NS, topology.LAN6)),
        Row("neighbour solicitation of all", False, icmp6(NS, ALL_NODES)),
        Row("neighbour solicitation of another code", False, icmp6(NS, topology.LAN_LINK_LOCAL, 1)),
        Row("neighbour advertisement", True, icmp6(NA, topology.LAN_LINK_LOCAL)),
        Row("neighbour advertisement to a public host", False, icmp6(NA, topology.INTERNET6)),
        Row("neighbour advertisement to all", False, icmp6(NA, ALL_NODES)),
        Row("neighbour advertisement of another code", False, icmp6(NA, topology.LAN_LINK_LOCAL, 1)),
        Row("router advertisement", False, icmp6(RA, ALL_NODES)),
        Row("redirect", False, icmp6(REDIRECT, topology.LAN_LINK_LOCAL)),
        Row("ping of a neighbour", False, raw(topology.LAN_LINK_LOCAL, socket.IPPROTO_ICMPV6, struct.pack("!BBHI", 128, 0, 0, 0))),
    ]
    all_leave(lab, rows)
    lab.daemon().api.mode("always")
    judge(rows, left(lab, rows))


def connecting(lab):
    """A tunnel that nobody answers, from here on; the first message of its worker."""
    silent = lab.silent_server()
    daemon = lab.daemon()
    daemon.add_tunnel(lab.server(port=51999).document(endpoints=[f"{topology.SERVER4}:{PORT}/udp"]))
    watch = daemon.api.watch()
    place = lab.capture.mark()
    daemon.api.start(wait=None)
    watch.wait(kind="connecting")
    first = lab.capture.wait(lambda frame: not frame.outgoing and is_wireguard(frame), place)
    return daemon, silent, first


def test_worker(lab):
    """the worker's mark opens its endpoint's address, protocol and port, and nothing else; no other mark opens that"""
    rows = [
        Row("to the endpoint", True, udp(topology.SERVER4, PORT, mark=WORKER)),
        Row("to the endpoint, without the mark", False, udp(topology.SERVER4, PORT)),
        *(Row(f"to the endpoint, mark {mark:#x}", False, udp(topology.SERVER4, PORT, mark=mark)) for mark in OTHER_KINDS),
        Row("to another port", False, udp(topology.SERVER4, PORT + 1, mark=WORKER)),
        Row("to another address of the server", False, udp(topology.SERVER4_SECOND, PORT, mark=WORKER)),
        Row("to its IPv6 address", False, udp(topology.SERVER6, PORT, mark=WORKER)),
        Row("by TCP", False, tcp(topology.SERVER4, PORT, mark=WORKER)),
        Row("by UDP-Lite", False, udp(topology.SERVER4, PORT, UDPLITE, mark=WORKER)),
        Row("by ICMP", False, lambda data: raw(topology.SERVER4, socket.IPPROTO_ICMP, mark=WORKER)(echo_packet(data, False))),
        Row("to a resolver", False, udp(topology.LAN4, 53, mark=WORKER)),
        Row("to a public host", False, udp(topology.INTERNET4, PORT, mark=WORKER)),
    ]
    all_leave(lab, rows)
    connecting(lab)
    judge(rows, left(lab, rows))


def test_dns_by_other_protocols(lab):
    """the ports of DNS are refused inside the tunnel by whatever protocol has ports; the ports beside them are not"""
    lab.guarded()
    for protocol in (33, 132, UDPLITE):  # DCCP, SCTP
        for port in (53, 853, 54):
            with lab.net.client.entered():
                sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
            refused = False
            with sock:
                try:
                    sock.sendto(struct.pack("!HH28x", 40000, port), (topology.INTERNET4, 0))
                except PermissionError:
                    refused = True
            assert refused == (port != 54), f"protocol {protocol}, port {port}: {'refused' if refused else 'let by'}"


# ---- in ----


class Inside:
    """What the client's input lets by, seen by raw sockets."""

    PROTOCOLS = (
        (socket.AF_INET, socket.IPPROTO_UDP),
        (socket.AF_INET, socket.IPPROTO_TCP),
        (socket.AF_INET, socket.IPPROTO_ICMP),
        (socket.AF_INET6, socket.IPPROTO_UDP),
        (socket.AF_INET6, socket.IPPROTO_ICMPV6),
    )

    def __init__(self, lab):
        self.lab = lab
        with lab.net.client.entered():
            self.sockets = [socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol) for family, protocol in self.PROTOCOLS]

    def _read(self):
        for sock in self.sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    yield sock.recv(65536)

    def arrived(self, rows):
        """Which of ROWS, pairs of a namespace and a Row, came in. All are sent from one processor, and so is what always comes in, the last of
        them: links hand over in order what one processor sends."""
        everywhere = os.sched_getaffinity(0)
        data = list(self._read())
        os.sched_setaffinity(0, {min(everywhere)})
        try:
            for index, (namespace, row) in enumerate(rows):
                with namespace.entered():
                    row.send(tag(index))
            with self.lab.net.lan.entered():
                udp_from(topology.LAN4, 67, topology.CLIENT4, 68)(tag(9999))
        finally:
            os.sched_setaffinity(0, everywhere)
        data, deadline = [], process.deadline_in()
        while not any(tag(9999) in one for one in data):
            select.select(self.sockets, [], [], process.remaining(deadline, "what always comes in did not"))
            data += self._read()
        return {row.what for index, (_, row) in enumerate(rows) if any(tag(index) in one for one in data)}

    def all_arrive(self, rows):
        """The positive control, with the gate open."""
        missing = {row.what for _, row in rows}
        deadline = process.deadline_in()
        while missing:
            missing -= self.arrived(rows)
            process.remaining(deadline, f"did not come in with the gate open: {missing}")


def test_answers_of_the_link(lab):
    """of DHCP and neighbour discovery what servers, routers and neighbours say comes in, and nothing that looks like it"""
    lan, public = lab.net.lan, lab.net.internet
    here, there = CLIENT_LINK_LOCAL, topology.LAN_LINK_LOCAL
    rows = [
        (lan, Row("DHCPv4's answer", True, udp_from(topology.LAN4, 67, topology.CLIENT4, 68))),
        (lan, Row("a DHCPv4 client's question", False, udp_from(topology.LAN4, 68, topology.CLIENT4, 67))),
        (lan, Row("to DHCPv4's port from another", False, udp_from(topology.LAN4, 69, topology.CLIENT4, 68))),
        (lan, Row("to another port than DHCPv4's", False, udp_from(topology.LAN4, 67, topology.CLIENT4, 69))),
        (lan, Row("DHCPv6's answer", True, udp_from(there, 547, here, 546))),
        (lan, Row("DHCPv6's answer from a global address, unasked", False, udp_from(topology.LAN6, 547, topology.CLIENT6, 546))),
        (public, Row("DHCPv6's answer from a public host, unasked", False, udp_from(topology.INTERNET6, 547, topology.CLIENT6, 546, link=None))),
        (lan, Row("to DHCPv6's port from another", False, udp_from(there, 549, here, 546))),
        (lan, Row("to another port than DHCPv6's", False, udp_from(there, 547, here, 545))),
        (lan, Row("router advertisement", True, icmp6(RA, here, source=there))),
        (lan, Row("router advertisement from a global address", False, icmp6(RA, topology.CLIENT6, source=topology.LAN6))),
        (lan, Row("redirect", True, icmp6(REDIRECT, here, source=there))),
        (lan, Row("redirect from a global address", False, icmp6(REDIRECT, topology.CLIENT6, source=topology.LAN6))),
        (lan, Row("neighbour solicitation", True, icmp6(NS, here, source=there))),
        (public, Row("neighbour solicitation of a public host's", False, icmp6(NS, topology.CLIENT6, link=None))),
        (lan, Row("neighbour advertisement", True, icmp6(NA, topology.CLIENT6, source=topology.LAN6))),
        (lan, Row("neighbour advertisement of another code", False, icmp6(NA, here, 1, source=there))),
        (lan, Row("router solicitation", False, icmp6(RS, here, source=there))),
        (lan, Row("ping of a neighbour", False, raw(here, socket.IPPROTO_ICMPV6, struct.pack("!BBHI", 128, 0, 0, 0), source=there))),
    ]
    inside = Inside(lab)
    inside.all_arrive(rows)
    lab.daemon().api.mode("always")
    judge([row for _, row in rows], inside.arrived(rows))
    with lab.net.client.entered():  # a renewal, and its answer
        udp(topology.LAN6, 547, source_port=546)(b"renewal")
    renewal = [(lan, Row("the answer to a renewal", True, udp_from(topology.LAN6, 547, topology.CLIENT6, 546)))]
    assert inside.arrived(renewal), "the answer to a renewal did not come in"


def unreachable(port, own_port, protocol=socket.IPPROTO_UDP, address=topology.SERVER4):
    """An ICMP error about a packet of the client's."""
    quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, protocol, 0, socket.inet_aton(topology.CLIENT4), socket.inet_aton(address))
    quoted += struct.pack("!HHHH", own_port, port, 20, 0)

    def send(data):
        body = struct.pack("!BBHI", 3, 1, 0, 0) + quoted + data
        body += b"\0" * (len(body) % 2)
        total = sum(struct.unpack(f"!{len(body) // 2}H", body))
        total = (total >> 16) + (total & 0xFFFF)
        checked = body[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body[4:]
        with opened(topology.CLIENT4, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
            sock.sendto(checked, (topology.CLIENT4, 0))

    return send


def test_endpoint(lab):
    """the endpoint's address, protocol and port come in, and errors about what the worker sent there; nothing else does, and nothing is answered"""

    def answers(place):
        return [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.protocol in (frames.ICMP, frames.TCP)]

    server, lan = lab.net.server, lab.net.lan
    rows = [
        (server, Row("the endpoint", True, udp_from(topology.SERVER4, PORT, topology.CLIENT4, 40000))),
        (server, Row("another port", False, udp_from(topology.SERVER4, PORT + 1, topology.CLIENT4, 40000))),
        (server, Row("another address", False, udp_from(topology.SERVER4_SECOND, PORT, topology.CLIENT4, 40000))),
        (server, Row("TCP", False, tcp(topology.CLIENT4, 40000, source=topology.SERVER4, source_port=PORT))),
        (server, Row("ping", False, lambda data: raw(topology.CLIENT4, socket.IPPROTO_ICMP)(echo_packet(data, False)))),
        (lan, Row("the endpoint's port", False, udp_from(topology.LAN4, PORT, topology.CLIENT4, 40000))),
    ]
    inside = Inside(lab)
    place = lab.capture.mark()
    inside.all_arrive(rows)
    assert {frame.protocol for frame in answers(place)} == {frames.ICMP, frames.TCP}, "nobody listens, and nobody was told"
    errors = [(server, Row("an error about nothing that was sent", False, unreachable(PORT, 40001)))]
    inside.all_arrive(errors)
    daemon, _, first = connecting(lab)
    port = first.source_port
    with lab.net.client.entered():  # flows that are none of the worker's: renewals of leases
        for address in (topology.INTERNET4, topology.SERVER4):
            udp(address, 67, source_port=68)(b"renewal")
    errors += [
        (server, Row("an error about the worker's", True, unreachable(PORT, port))),
        (lan, Row("an error about the worker's, of a router", True, unreachable(PORT, port))),
        (lan, Row("an error about another port", False, unreachable(PORT + 1, port))),
        (lan, Row("an error about another protocol", False, unreachable(PORT, port, socket.IPPROTO_TCP))),
        (lan, Row("an error about what another program sent", False, unreachable(67, 68, address=topology.INTERNET4))),
        (lan, Row("an error about what another program sent to the server", False, unreachable(67, 68))),
        (lan, Row("an error about another host", False, unreachable(PORT, port, address=topology.INTERNET4))),
    ]
    place = lab.capture.mark()
    judge([row for _, row in rows + errors], inside.arrived(rows + errors))
    assert not answers(place), answers(place)[0]
    assert daemon.gate() == "connecting"
