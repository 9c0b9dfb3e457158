# SPDX-License-Identifier: LGPL-2.1-or-later
"""Offers every cell of a state of the gate as a real packet, and says what became of each.

What is seen: frames on the far side of the uplink, packets that come out of the tunnel at the server, packets that reach the host's
sockets, and what senders are told. A packet is known by its tag; a TCP SYN, which has none, by the port of its client. Everything of
a block is sent first and judged afterwards; nothing waits but for what must come, and for markers that are sent last.
"""

import contextlib
import errno
import json
import re
import select
import socket
import struct
import time

from . import cells, frames, isolation, topology
from .bridge import Bridge
from .granted import Maker
from .leaks import Unproven
from .process import PATIENCE
from .traffic import echo_packet

isolation.require()

_RAW, _IPPROTO_UDPLITE = 253, 136  # RFC 3692: 253 is for experiments
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_FIRST_PORT, _MARKER_PORT = 12000, 11999
_PLAIN_PORT = 4444
_TAG = re.compile(rb"holdfast-cell/(\d{6})/")
_MARKER = b"holdfast-marker/%06d/"
_DEADLINE_FAILED = 0.3  # once something did not: the rest is told for the report
_CHUNK = 40  # packets between two markers: fewer than any queue on the way holds

_TARGETS = {
    "public": {4: topology.INTERNET4, 6: topology.INTERNET6},
    "lan": {4: topology.LAN4, 6: topology.LAN6},
    "tunnel": {4: topology.INNER_SERVER4, 6: topology.INNER_SERVER6},
    "multicast": {4: "224.0.0.251", 6: "ff02::fb"},
    "endpoint": {4: topology.SERVER4, 6: topology.SERVER6},
}
_HOST = {4: topology.CLIENT4, 6: topology.CLIENT6}
_HOST_IN_TUNNEL = {4: topology.INNER_CLIENT4, 6: topology.INNER_CLIENT6}
_ALL_HOSTS = {4: "224.0.0.1", 6: "ff02::1"}
_NUMBERS = {"tcp": 6, "udp": 17, "udplite": _IPPROTO_UDPLITE, "icmp": 1, "icmpv6": 58, "raw": _RAW}
_QUOTES = {(frames.ICMP, 3), (frames.ICMP, 11), (frames.ICMPV6, 1), (frames.ICMPV6, 2), (frames.ICMPV6, 3)}

ENDPOINT_PORT = 51820
CUSTOM = {"custom": [{"network": "10.1.0.0/24", "interface": "eth0"}, {"network": "fd01::/64"}]}


class _Tunnel:
    """What comes out of the tunnel at the server."""

    def __init__(self, lab, link):
        with lab.net.server.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
            self.socket.bind((link, 3))

    def drain(self):
        while True:
            try:
                data, address = self.socket.recvfrom(65536)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENETDOWN):  # nothing more, or the server is gone
                    return
                raise
            yield frames.parse(0, address[2] == 4, b"\0" * 12 + struct.pack("!H", address[1]) + data)


class Matrix:
    """The cells of one lab. Needs its network as built: nothing may stand in the way yet."""

    def __init__(self, lab):
        self.lab = lab
        self.bridge = Bridge(lab)
        self.box = self.bridge.boxes[0]
        self._failed = []
        self.proven = set()  # packets that were seen to leave, or to come in
        self._maker = Maker(lab, "granted", "granted.slice/granted.service")
        self._daemon = None
        self._tunnel = None
        self._count = self._markers = 0
        self._inside = self._listen()
        self._settle_neighbours()
        for net in (lab.net.client, self.box):
            # Who is refused must hear it each time: not thinned out, by host or all in all.
            net.sysctl(**{"net/ipv4/icmp_ratelimit": 0, "net/ipv4/icmp_ratemask": 0})
            net.sysctl(**{"net/ipv6/icmp/ratelimit": 0, "net/ipv6/icmp/ratemask": "200"})
        # The kernel sums UDP-Lite up with UDP's number in the pseudo header (udplite_error() of nf_conntrack_proto_udp.c): it would all be invalid.
        lab.net.client.sysctl(**{"net/netfilter/nf_conntrack_checksum": 0})

    def _listen(self):
        """Raw sockets see what the host is given, whoever it is for."""
        with self.lab.net.client.entered():
            found = [socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NUMBERS[name]) for name in cells.PROTOCOLS[4]]
            found += [socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NUMBERS[name]) for name in cells.PROTOCOLS[6]]
        for sock in found:
            sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)
        return found

    def _settle_neighbours(self):
        """A packet that waits for its neighbour's address is neither seen nor refused: everyone knows everyone."""

        def mac(namespace, link):
            return json.loads(self.lab.run(["ip", "-n", namespace.name, "-j", "link", "show", "dev", link], self.lab.net.lan).stdout)[0]["address"]

        def settle(namespace, link, neighbours):
            lines = [f"neighbour replace {address} lladdr {there} nud permanent dev {link}" for address, there in neighbours]
            topology.batch(namespace, lines)

        net = self.lab.net
        client, lan, router, box, bridge = (mac(*at) for at in ((net.client, "eth0"), (net.lan, "eth0"), (net.router, "br0"), (self.box, "eth0"), (net.client, "docker0")))
        gateway = [(topology.GATEWAY4, router), (topology.GATEWAY6, router)]
        settle(net.client, "eth0", [(topology.LAN4, lan), (topology.LAN6, lan), *gateway])
        settle(net.client, "docker0", [(address, box) for address in self.bridge.addresses()])
        settle(self.box, "eth0", [(self.bridge.address4, bridge), (self.bridge.address6, bridge)])
        settle(net.lan, "eth0", [(topology.CLIENT4, client), (topology.CLIENT6, client), *gateway])
        settle(net.router, "br0", [(topology.CLIENT4, client), (topology.CLIENT6, client)])
        topology.batch(net.lan, [f"route add {_HOST_IN_TUNNEL[4]}/32 via {topology.CLIENT4}", f"route add {_HOST_IN_TUNNEL[6]}/128 via {topology.CLIENT6}"])

    def watch_tunnel(self, link="wgs"):
        """From here on what comes out of the tunnel is seen."""
        self._tunnel = _Tunnel(self.lab, link)

    def grant(self, daemon):
        """From here on DAEMON grants what each way needs."""
        daemon.api.post("/bypass", {"slice": "granted.slice"})
        self._daemon = daemon

    @contextlib.contextmanager
    def _granted(self, way):
        """What this way needs, for as long as its packets are offered: ordinary sockets send the same."""
        if not self._daemon or way not in ("address", "service", "management"):
            yield
            return
        addresses = [address for place in ("public", "lan", "tunnel", "endpoint") for address in _TARGETS[place].values()]
        before = self._daemon.api.get("/kill-switch")
        if way == "address":
            granted = [self._daemon.api.post("/bypass", {"address": address})["id"] for address in addresses]
        else:
            services = [{"protocol": protocol, "port": _PLAIN_PORT} for protocol in ("tcp", "udp")]
            self._daemon.api.patch("/kill-switch", {"inbound": services} if way == "service" else {"management": addresses})
            granted = []
        yield
        for identifier in granted:
            self._daemon.api.delete(f"/bypass/{identifier}")
        self._daemon.api.patch("/kill-switch", {name: before[name] for name in ("inbound", "management")})

    def _forget_flows(self):
        """A raw protocol has no ports: what comes from where a granted process sent to would be its answer."""
        delete = struct.pack("=IHHII", 20, 1 << 8 | 2, 0x5, 1, 0) + bytes(4)  # IPCTNL_MSG_CT_DELETE, all of them, with an acknowledgement
        with self.lab.net.client.entered(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:
            netlink.send(delete)
            assert struct.unpack_from("=i", netlink.recv(4096), 16)[0] == 0

    # ---- sending ----

    def _open(self, cell):
        six = cell.family == 6
        style, number = {
            "tcp": (socket.SOCK_STREAM, 0),
            "udp": (socket.SOCK_DGRAM, 0),
            "udplite": (socket.SOCK_DGRAM, _IPPROTO_UDPLITE),
        }.get(cell.protocol, (socket.SOCK_RAW, _NUMBERS[cell.protocol]))
        if cell.way in cells.INWARDS and cell.to == "endpoint" and cell.protocol == "udp":
            style, number = socket.SOCK_RAW, socket.IPPROTO_UDP  # its port belongs to the server itself
        make = self._maker.socket if cell.way == "process" else socket.socket
        sock = make(socket.AF_INET6 if six else socket.AF_INET, style | socket.SOCK_NONBLOCK, number)
        sock.setsockopt(socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, _IPV6_RECVERR if six else _IP_RECVERR, 1)
        return sock

    def _aim(self, cell):
        """Where the packet goes, and from which address and port; None: the kernel's choice."""
        place = cell.to.split(":")[0]
        port = cells.PLACES[cell.to][1] or (ENDPOINT_PORT if place == "endpoint" else _PLAIN_PORT)
        if cell.way not in cells.INWARDS:
            return _TARGETS[place][cell.family], port, _HOST[cell.family] if cell.way == "source" else None
        target = {"tunnel": _HOST_IN_TUNNEL, "multicast": _ALL_HOSTS}.get(place, _HOST)[cell.family]
        source = _TARGETS["lan" if place in ("tunnel", "multicast") else place][cell.family]
        return target, port, source

    def _send(self, cell, index, sock):
        target, port, source = self._aim(cell)
        six = cell.family == 6
        multicast = cell.to == "multicast"
        payload = b"holdfast-cell/%06d/" % index
        if cell.way == "bound" or (multicast and cell.way in cells.INWARDS):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        if sock.type == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((source or ("::" if six else "0.0.0.0"), _FIRST_PORT + index))
        elif source:
            sock.bind((source, 0))
        if multicast and six:
            address = (target, port, 0, socket.if_nametoindex("eth0"))
        else:
            address = (target, port if sock.type != socket.SOCK_RAW else 0)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
        if sock.type == socket.SOCK_STREAM:
            return
        if cell.protocol in ("icmp", "icmpv6"):
            payload = echo_packet(payload, six)
        elif sock.type == socket.SOCK_RAW and cell.protocol == "udp":
            payload = struct.pack("!HHHH", ENDPOINT_PORT, _PLAIN_PORT, 8 + len(payload), 0) + payload
            if six:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 6)
        sock.send(payload)

    def _sender(self, cell):
        net = self.lab.net
        if cell.way == "forwarded":
            return self.box
        if cell.way in cells.INWARDS:
            return {"public": net.internet, "endpoint": net.server}.get(cell.to.split(":")[0], net.lan)
        return net.client

    def _offer(self, found):
        for cell in found:
            index, self._count = self._count, self._count + 1
            packet = _Packet(cell)
            self._packets[index] = packet
            with self._sender(cell).entered():
                packet.socket = self._open(cell)
                try:
                    self._send(cell, index, packet.socket)
                except OSError as error:
                    if error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EMFILE, errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                        raise
                    packet.told = error.strerror

    # ---- seeing ----

    def _name(self, frame):
        """The packet that FRAME is, or is about."""
        tag = _TAG.search(frame.payload)
        if tag:
            return self._packets.get(int(tag[1]))
        if frame.protocol == frames.TCP:
            for port in (frame.source_port, frame.destination_port):
                packet = self._packets.get(port - _FIRST_PORT)
                if packet and packet.cell.protocol == "tcp":
                    return packet
        return None

    def _look(self):
        capture = self.lab.capture
        for frame in capture.since(self._place):
            packet = None if frame.outgoing else self._name(frame)
            if packet:
                packet.seen.add("answer" if packet.cell.way in cells.INWARDS else "uplink")
        self._place = len(capture.frames)
        for frame in self._tunnel.drain() if self._tunnel else ():
            packet = None if frame.outgoing or (frame.protocol, frame.icmp_type) in _QUOTES else self._name(frame)
            if packet:
                packet.seen.add("answer" if packet.cell.way in cells.INWARDS else "tunnel")
            elif not frame.outgoing and frame.payload.startswith(b"holdfast-marker/"):
                self._arrived = int(frame.payload[16:22])
        for sock in self._inside:
            self._look_inside(sock)

    def _look_inside(self, sock):
        six = sock.family == socket.AF_INET6
        while True:
            try:
                data = sock.recv(65536)
            except BlockingIOError:
                return
            payload = data if six else data[(data[0] & 15) * 4 :]
            quote = sock.proto in (1, 58) and (sock.proto, payload[0]) in _QUOTES
            tag = _TAG.search(payload)
            packet = self._packets.get(int(tag[1])) if tag else None
            if sock.proto == 6:
                packet = self._packets.get(struct.unpack_from("!H", payload)[0] - _FIRST_PORT)
            if packet and packet.cell.way in cells.INWARDS and not quote:
                packet.seen.add("in")

    def _through_tunnel(self):
        """Everything that entered the tunnel before this call has come out of it afterwards."""
        self._markers += 1
        deadline = time.monotonic() + PATIENCE
        with self.lab.net.client.entered():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"hf-home")  # also where its address is granted
            sock.sendto(_MARKER % self._markers, (topology.INNER_SERVER4, _MARKER_PORT))
        while self._arrived != self._markers:
            if time.monotonic() > deadline:
                raise Unproven("a marker did not come out of the tunnel")
            select.select([self._tunnel.socket], [], [], 0.1)
            self._look()

    def _listen_to_refusals(self, packets):
        for packet in packets:
            if packet.told is None and select.select([], [], [packet.socket], 0)[2]:
                packet.told = "an ICMP error"
            if packet.told is None:
                packet.told = _pending(packet.socket)

    def _wait(self, packets):
        """Until each packet is where it must be, or its time is up."""
        deadline = time.monotonic() + (_DEADLINE_FAILED if self._failed else PATIENCE)
        while True:
            self._look()
            self._listen_to_refusals(packets)
            if all(packet.settled() for packet in packets) or time.monotonic() > deadline:
                return
            select.select([self.lab.capture.socket, *self._inside], [], [], 0.01)

    def block(self, gate, lan="block", mode="auto", ways=tuple(cells.WAYS)):
        """Offers the cells of this state of the gate and judges them; raises AssertionError with each that is not as it must be."""
        found = [cell for cell in cells.block(gate, lan) if cell.way in ways]
        self._failed = []
        self._arrived = 0
        for way in ways:
            self._forget_flows()
            with self._granted(way):
                self._offer_all([cell for cell in found if cell.way == way], gate)
        self._judge(gate, lan, mode, found, self._failed)

    def _offer_all(self, found, gate):
        for begin in range(0, len(found), _CHUNK):
            self._packets = {}
            self._place = self.lab.capture.mark()
            self._offer(found[begin : begin + _CHUNK])
            packets = list(self._packets.values())
            self._wait(packets)
            if gate in ("routed", "tunnel"):
                self._through_tunnel()
            self._look()
            self._failed += [str(packet) for packet in packets if packet.wrong()]
            self.proven |= {packet.cell.packet for packet in packets if not packet.wrong() and packet.cell.outcome in cells.LEAVES}
            for packet in packets:
                packet.socket.close()

    def _judge(self, gate, lan, mode, found, failed):
        held = [cell for cell in found if cell.outcome not in cells.LEAVES and (cell.way, cell.to) != ("forwarded", "multicast")]
        unproven = [cell for cell in held if cell.packet not in self.proven]
        self.lab.note(f"{gate}, mode {mode}, lan {lan}: {len(found)} cells, {len(held)} of them must not leave, {len(failed)} failed")
        for line in failed:
            self.lab.note(f"  {line}")
        if unproven:
            raise Unproven("no positive control in this run for: " + "; ".join(str(cell) for cell in unproven[:20]))
        if failed:
            raise AssertionError(f"{gate}, mode {mode}, lan {lan}: {len(failed)} of {len(found)} cells:\n" + "\n".join(failed))


class _Packet:
    """One offered cell. `told`: what its sender heard; `seen`: where it turned up."""

    def __init__(self, cell):
        self.cell, self.told, self.seen, self.socket = cell, None, set(), None

    def _astray(self):
        """Where it turned up and must not have; what comes in may be answered."""
        return self.seen - ({"in", "answer"} if self.cell.outcome == "in" else {self.cell.outcome})

    def settled(self):
        """Nothing more need be waited for. Who is told by the far side is told after the packet was there, and `_look()` finds it."""
        return bool(self._astray()) or self.told is not None or self.cell.outcome in self.seen or self.cell.outcome == "dropped"

    def wrong(self):
        outcome = self.cell.outcome
        if self._astray():
            return True
        return outcome not in self.seen if outcome in cells.LEAVES else (outcome == "rejected") != (self.told is not None)

    def __str__(self):
        what = ", ".join(sorted(self.seen)) or (f"rejected ({self.told})" if self.told else "dropped")
        return f"{self.cell}: {self.cell.outcome} was expected, not {what}"


def _pending(sock):
    """What the kernel has to tell about SOCK; None: nothing."""
    poll = select.poll()
    poll.register(sock, 0)
    return "an error" if any(event & select.POLLERR for _, event in poll.poll(0)) else None
