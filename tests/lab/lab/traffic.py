# SPDX-License-Identifier: LGPL-2.1-or-later
"""Traffic of many kinds that a machine may send, each recognisable on the far side of the uplink.

KINDS is the one table: a row is one thing a program can do. Every packet with room for it carries the tag of its kind; a TCP SYN, which
has none, is known by a port of its own. `route` says who chose the way out: "kernel" (the routing table did, which the second layer
covers) or "uplink" (the socket insists on the device, and the gate alone stands before it).
"""

import contextlib
import ctypes
import errno
import mmap
import os
import re
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass

from . import frames, isolation, kernel, topology
from .process import PATIENCE

isolation.require()

_SOL_RAW, _ICMP_FILTER, _ECHO_REPLY = 255, 1, 0  # linux/icmp.h
_SO_RCVBUFFORCE = 33
_IPPROTO_UDPLITE, _EXPERIMENT = 136, 253  # RFC 3692: 253 is for experiments
_TUNNELLED = {"gre": 47, "esp": 50, "dccp": 33, "sctp": 132}
_TCP_FASTOPEN_NO_COOKIE = 34  # linux/tcp.h
_LOOSE_SOURCE_ROUTE = b"\x83\x07\x04" + socket.inet_aton(topology.GATEWAY4) + b"\0"  # RFC 791, and the end of the options
_EMPTY_OPTIONS = b"\0\0\1\4\0\0\0\0"  # RFC 8200: a header with nothing but padding
_WORKER_MARK = 0x68660000  # firewall/mark.h: what only a worker may carry, and then to its endpoint alone
_TAG = re.compile(rb"holdfast-lab/(\d{3})/")
# Below those that the kernel gives to whoever asks for none (ip_local_port_range).
_CONNECTION_PORT, _LISTEN_PORT, _CLOSED_PORT = 22000, 23000, 23001


@dataclass(frozen=True)
class Kind:
    """One row: `send(offering, kind)` offers one packet."""

    name: str
    send: object
    destination: str
    port: int = 0
    bind: str = ""  # "": nothing, "device": SO_BINDTODEVICE, "source": the uplink's address
    route: str = "kernel"
    protocol: int = 0
    size: int = 0
    mark: int = 0

    @property
    def family(self):
        return socket.AF_INET6 if ":" in self.destination else socket.AF_INET


def _payload(kind):
    tag = b"holdfast-lab/%03d/" % KIND_INDEX[kind.name]
    return tag * (kind.size // len(tag)) if kind.size else tag


def _socket(kind, style, protocol=0):
    sock = socket.socket(kind.family, style | socket.SOCK_NONBLOCK, protocol)
    six = kind.family == socket.AF_INET6
    if kind.mark:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, kind.mark)
    if kind.bind == "device":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    elif kind.bind == "source":
        sock.bind((topology.CLIENT6 if six else topology.CLIENT4, 0))
    return sock


def _address(kind):
    if kind.destination.startswith(("fe80:", "ff02:")):
        return (kind.destination, kind.port, 0, socket.if_nametoindex("eth0"))
    return (kind.destination, kind.port)


def _udp(_, kind):
    with _socket(kind, socket.SOCK_DGRAM, kind.protocol) as sock:
        if kind.destination.endswith("255"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if kind.destination.startswith(("224.", "239.")):
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(topology.CLIENT4))
        sock.sendto(_payload(kind), _address(kind))


def _tcp(_, kind):
    with _socket(kind, socket.SOCK_STREAM) as sock, contextlib.suppress(BlockingIOError):
        sock.connect(_address(kind))


def _tcp_fast_open(_, kind):
    with _socket(kind, socket.SOCK_STREAM) as sock, contextlib.suppress(BlockingIOError):
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_FASTOPEN_NO_COOKIE, 1)
        sock.sendto(_payload(kind), socket.MSG_FASTOPEN, _address(kind))


def _source_routed(_, kind):
    """What is on the wire goes to the router; for whom it is stands in its options."""
    with _socket(kind, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, _LOOSE_SOURCE_ROUTE)
        sock.sendto(_payload(kind), (topology.INTERNET4, kind.port))


def _behind_options(_, kind):
    with _socket(kind, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, _EMPTY_OPTIONS)
        sock.sendto(_payload(kind), _address(kind))


def _icmp(_, kind):
    six = kind.family == socket.AF_INET6
    with _socket(kind, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP) as sock:
        sock.sendto(echo_packet(_payload(kind), six), _address(kind))


def _raw(_, kind):
    with _socket(kind, socket.SOCK_RAW, kind.protocol or _EXPERIMENT) as sock:
        sock.sendto(_payload(kind), _address(kind))


def _connection(offering, kind):
    offering.connection.send(_payload(kind))


def _answer_tcp(offering, kind):
    with offering.lan.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    with sock, contextlib.suppress(BlockingIOError):
        sock.connect((topology.CLIENT4, _LISTEN_PORT))


def _answer_echo(offering, kind):
    with offering.lan.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with sock:
        sock.sendto(echo_packet(_payload(kind), False), (topology.CLIENT4, 0))


def _answer_unreachable(offering, kind):
    with offering.lan.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock:
        sock.sendto(_payload(kind), (topology.CLIENT4, _CLOSED_PORT))


def echo_packet(payload, six):
    """An ICMP (ICMPv6) echo request with PAYLOAD."""
    header = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 0x6866, 1)
    if six:
        return header + payload  # the kernel fills the checksum in
    data = header + payload + b"\0" * (len(payload) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return header[:2] + struct.pack("!H", checksum) + header[4:] + payload


def _kinds():
    for version, public, lan in ((4, topology.INTERNET4, topology.LAN4), (6, topology.INTERNET6, topology.LAN6)):
        for index, bind in enumerate(("", "device", "source")):
            how = {"": "", "device": ", bound to the uplink", "source": ", bound to the uplink's address"}[bind]
            route = "uplink" if bind == "device" else "kernel"
            yield Kind(f"udp{version} to a public host{how}", _udp, public, 40001 + index, bind, route)
            yield Kind(f"tcp{version} to a public host{how}", _tcp, public, 41001 + index, bind, route)
            if bind != "source":
                yield Kind(f"ping{version} to a public host{how}", _icmp, public, 0, bind, route)
                yield Kind(f"udp{version} to a LAN host{how}", _udp, lan, 40011 + index, bind, route)
                yield Kind(f"tcp{version} to a LAN host{how}", _tcp, lan, 41011 + index, bind, route)
                yield Kind(f"dns{version} over udp to a public resolver{how}", _udp, public, 53, bind, route)
                yield Kind(f"dns{version} over udp to a LAN resolver{how}", _udp, lan, 53, bind, route)
        yield Kind(f"ping{version} to a LAN host", _icmp, lan)
        yield Kind(f"dns{version} over tcp to a public resolver", _tcp, public, 53)
        yield Kind(f"dns{version} over tcp to a LAN resolver", _tcp, lan, 53)
        yield Kind(f"dns{version} over tls to a public resolver", _tcp, public, 853)
        yield Kind(f"dns{version} over tls to a LAN resolver", _tcp, lan, 853)
        yield Kind(f"dns{version} over quic to a public resolver", _udp, public, 853)
        yield Kind(f"udp-lite{version} to a public host", _udp, public, 40021, protocol=_IPPROTO_UDPLITE)
        yield Kind(f"protocol {_EXPERIMENT} over IPv{version} to a public host", _raw, public)
        for name, protocol in _TUNNELLED.items():
            yield Kind(f"{name} over IPv{version} to a public host", _raw, public, protocol=protocol)
        yield Kind(f"tcp{version} with data in its first packet to a public host", _tcp_fast_open, public, 40024)
        yield Kind(f"fragments of udp{version} to a public host", _udp, public, 40022, size=4000)
        yield Kind(f"udp{version} with the worker's mark to a public host", _udp, public, 40023, route="uplink", mark=_WORKER_MARK)
    for name, port in (("udp", 40025), ("dns", 53)):
        yield Kind(f"{name}4 by a source route over the router", _source_routed, topology.GATEWAY4, port)
        yield Kind(f"{name}6 behind an options header to a public host", _behind_options, topology.INTERNET6, port)
    yield Kind("udp4 to the VPN server's endpoint, not the worker's", _udp, topology.SERVER4, 51820)
    yield Kind("tcp4 to the VPN server's address", _tcp, topology.SERVER4, 443)
    yield Kind("udp4 to the router", _udp, topology.GATEWAY4, 40031)
    yield Kind("udp6 to a link-local address", _udp, topology.LAN_LINK_LOCAL, 40032, route="uplink")
    yield Kind("mdns4", _udp, "224.0.0.251", 5353, route="uplink")
    yield Kind("mdns6", _udp, "ff02::fb", 5353, route="uplink")
    yield Kind("llmnr4", _udp, "224.0.0.252", 5355, route="uplink")
    yield Kind("llmnr6", _udp, "ff02::1:3", 5355, route="uplink")
    yield Kind("netbios", _udp, topology.LAN_BROADCAST, 137, route="uplink")
    yield Kind("ssdp", _udp, "239.255.255.250", 1900, route="uplink")
    yield Kind("broadcast", _udp, "255.255.255.255", 40033, "device", "uplink")
    # The kernel's own table `local`, ahead of every rule, has the network's broadcast address: no second layer covers it.
    yield Kind("broadcast of the LAN", _udp, topology.LAN_BROADCAST, 40034, route="uplink")
    yield Kind("data on a connection made before", _connection, topology.INTERNET4, _CONNECTION_PORT)
    yield Kind("answer to a connection from the LAN", _answer_tcp, topology.LAN4, _LISTEN_PORT)
    yield Kind("answer to a ping from the LAN", _answer_echo, topology.LAN4)
    yield Kind("port unreachable to the LAN", _answer_unreachable, topology.LAN4)


KINDS = tuple(_kinds())
KIND_INDEX = {kind.name: index for index, kind in enumerate(KINDS)}
assert len(KIND_INDEX) == len(KINDS)

# TCP packets without payload, by where they go; the answer from the LAN's listening port, by where it comes from.
_BY_PORT = {(kind.destination, kind.port): kind for kind in KINDS if kind.send in (_tcp, _connection)}
_ANSWER = KINDS[KIND_INDEX["answer to a connection from the LAN"]]


def recognise(frame):
    """The kind that FRAME belongs to, or None where it was not offered here."""
    tag = _TAG.search(frame.payload)
    if tag is not None and int(tag[1]) < len(KINDS):
        return KINDS[int(tag[1])]
    if frame.protocol == frames.TCP:
        if frame.source_port == _LISTEN_PORT:
            return _ANSWER
        return _BY_PORT.get((frame.destination, frame.destination_port))
    return None


class Offering:
    """Offers traffic from the client. `count` says how often each kind was, `refused` how often the kernel said no at once."""

    def __init__(self, net):
        self.client, self.lan = net.client, net.lan
        self.count, self.refused = Counter(), Counter()
        with net.internet.entered():
            listener = socket.create_server((topology.INTERNET4, _CONNECTION_PORT))
        with self.client.entered():
            self.connection = socket.create_connection((topology.INTERNET4, _CONNECTION_PORT), timeout=PATIENCE)
            self.listener = socket.create_server(("0.0.0.0", _LISTEN_PORT), backlog=128)
        self.peer, _ = listener.accept()
        listener.close()
        self.connection.setblocking(False)

    def one(self, kind):
        """Offers one packet of KIND. The caller has entered the client's namespace."""
        self.count[kind.name] += 1
        try:
            kind.send(self, kind)
        except OSError as error:
            # That the kernel refuses is what is hoped for. A mistake of the lab's own is not.
            if error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EMFILE, errno.EPROTONOSUPPORT):
                raise
            self.refused[kind.name] += 1

    def offer(self, kinds=KINDS):
        """Offers one packet of each kind; returns how many that was."""
        with self.client.entered():
            for kind in kinds:
                self.one(kind)
        return len(kinds)

    def close(self):
        for sock in (self.connection, self.listener, self.peer):
            sock.close()


class Generator:
    """A process that offers one kind after the other, all the time, every PAUSE seconds one: for what must hold in between."""

    PAUSE = 0.00015

    def __init__(self, offering, kinds=KINDS, foreign=()):
        """FOREIGN are sockets of the lab that the process must not hold open."""
        self.kinds = kinds
        self._counts = mmap.mmap(-1, 8 * len(kinds))
        self._totals = (ctypes.c_uint64 * len(kinds)).from_buffer(self._counts)
        stop, self._stop = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self._stop)
                kernel.die_with_parent(signal.SIGKILL)
                for sock in foreign:
                    sock.close()
                self._run(offering, stop)
                status = 0
            finally:
                os._exit(status)
        os.close(stop)

    def _run(self, offering, stop):
        with offering.client.entered():
            while True:
                for index, kind in enumerate(self.kinds):
                    offering.one(kind)
                    self._totals[index] += 1
                    if select.select([stop], [], [], self.PAUSE)[0]:
                        return

    def count(self):
        """How many packets of each kind were offered so far."""
        return Counter({kind.name: self._totals[index] for index, kind in enumerate(self.kinds)})

    def stop(self):
        """Ends it; returns how many packets of each kind it offered. A generator that failed on the way raises."""
        if self.pid:
            os.close(self._stop)
            _, status = os.waitpid(self.pid, 0)
            self.pid = 0
            if status != 0:
                raise RuntimeError("the traffic generator failed; the log says why")
        return self.count()


class Flood:
    """A process that pings ADDRESS from NAMESPACE every few milliseconds and keeps count, for what must not be interrupted."""

    PAUSE = 0.005

    def __init__(self, namespace, address):
        self._memory = mmap.mmap(-1, 32)
        self._values = (ctypes.c_uint64 * 4).from_buffer(self._memory)  # sent, answered, longest gap in ns
        with namespace.entered():
            sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        # Answers alone, and room for as many as may come while others run: one that the socket had to drop is none that the tunnel lost.
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF & ~(1 << _ECHO_REPLY)))
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        stop, self._stop = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._stop)
                kernel.die_with_parent(signal.SIGKILL)
                self._run(sock, address, stop)
            finally:
                os._exit(0)
        os.close(stop)
        sock.close()

    def _run(self, sock, address, stop):
        request = echo_packet(b"holdfast-flood", False)
        last = time.monotonic_ns()
        next_one, end = last, None
        while end is None or (time.monotonic_ns() < end and self._values[1] < self._values[0]):
            now = time.monotonic_ns()
            if end is None and now >= next_one:
                next_one = now + int(self.PAUSE * 1e9)
                self._values[0] += 1
                with contextlib.suppress(OSError):
                    sock.sendto(request, (address, 0))
            readable, _, _ = select.select([sock] + ([stop] if end is None else []), [], [], self.PAUSE)
            if sock in readable:
                data = sock.recv(2048)
                if data.endswith(b"holdfast-flood"):
                    now = time.monotonic_ns()
                    self._values[1] += 1
                    self._values[2] = max(self._values[2], now - last)
                    last = now
            if stop in readable:
                end = time.monotonic_ns() + int(struct.unpack("=d", os.read(stop, 8))[0] * 1e9)

    def stop(self, patience=PATIENCE):
        """Ends it once all were answered, or after PATIENCE seconds; returns how many were sent, how many answered, and the longest time
        without an answer in seconds."""
        os.write(self._stop, struct.pack("=d", patience))
        os.close(self._stop)
        os.waitpid(self.pid, 0)
        return self._values[0], self._values[1], self._values[2] / 1e9
