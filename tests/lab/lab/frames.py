# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ethernet frames, read as far as the lab needs to say whose they are, and written as pcap files. Pure: no I/O but the writing."""

import socket
import struct
from dataclasses import dataclass
from typing import Optional

from . import isolation

isolation.require()

ETH_IPV4, ETH_ARP, ETH_VLAN, ETH_IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
ETH_MARKER = 0x88B5  # IEEE 802 local experimental: the capture's own markers
ICMP, IGMP, TCP, UDP, ICMPV6, UDPLITE = 1, 2, 6, 17, 58, 136

_NAMES = {ICMP: "icmp", TCP: "tcp", UDP: "udp", ICMPV6: "icmp6", UDPLITE: "udplite", IGMP: "igmp"}
_EXTENSIONS = {0, 43, 60, 135}  # IPv6 headers that are followed by another: options, routing, destination, mobility
_FRAGMENT6 = 44


@dataclass(frozen=True)
class Frame:
    """One frame. `protocol`, addresses and ports are None where there is no such thing."""

    time: float
    outgoing: bool  # sent by the router to the client, not by the client
    ethertype: int
    bytes: bytes
    source_mac: bytes = b""
    protocol: Optional[int] = None
    source: Optional[str] = None
    destination: Optional[str] = None
    source_port: Optional[int] = None
    destination_port: Optional[int] = None
    icmp_type: Optional[int] = None
    icmp_id: Optional[int] = None
    fragment: bool = False  # a fragment that is not the first: no ports
    payload: bytes = b""

    def __str__(self):
        if self.protocol is None:
            name = {ETH_ARP: "arp"}.get(self.ethertype, f"ethertype {self.ethertype:#06x}")
            return f"{name} from {self.source_mac.hex(':')}"
        name = _NAMES.get(self.protocol, f"protocol {self.protocol}")
        if self.icmp_type is not None:
            name += f" type {self.icmp_type}"
        if self.fragment:
            name += " (fragment)"

        def end(address, port):
            return address if port is None else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

        return f"{name} {end(self.source, self.source_port)} > {end(self.destination, self.destination_port)}"


def parse(time, outgoing, data):
    """Reads DATA, which begins with the Ethernet header. Never fails: what cannot be read has no protocol."""
    if len(data) < 14:
        return Frame(time, outgoing, 0, data)
    (ethertype,) = struct.unpack_from("!H", data, 12)
    known = {"source_mac": data[6:12]}
    try:
        if ethertype == ETH_IPV4:
            known |= _ipv4(data, 14)
        elif ethertype == ETH_IPV6:
            known |= _ipv6(data, 14)
    except (struct.error, IndexError):
        pass  # truncated: counted, and reported by its ethertype
    return Frame(time, outgoing, ethertype, data, **known)


def _ipv4(data, at):
    header = (data[at] & 0x0F) * 4
    fragment = struct.unpack_from("!H", data, at + 6)[0] & 0x1FFF
    known = {
        "protocol": data[at + 9],
        "source": socket.inet_ntop(socket.AF_INET, data[at + 12 : at + 16]),
        "destination": socket.inet_ntop(socket.AF_INET, data[at + 16 : at + 20]),
        "fragment": fragment != 0,
    }
    return known if fragment else known | _transport(known["protocol"], data, at + header)


def _ipv6(data, at):
    protocol, offset, fragment = data[at + 6], at + 40, False
    while protocol in _EXTENSIONS or protocol == _FRAGMENT6:
        if protocol == _FRAGMENT6:
            fragment = struct.unpack_from("!H", data, offset + 2)[0] & 0xFFF8 != 0
            protocol, offset = data[offset], offset + 8
            if fragment:
                break
        else:
            protocol, offset = data[offset], offset + (data[offset + 1] + 1) * 8
    known = {
        "protocol": protocol,
        "source": socket.inet_ntop(socket.AF_INET6, data[at + 8 : at + 24]),
        "destination": socket.inet_ntop(socket.AF_INET6, data[at + 24 : at + 40]),
        "fragment": fragment,
    }
    return known if fragment else known | _transport(protocol, data, offset)


def _transport(protocol, data, at):
    if protocol in (TCP, UDP, UDPLITE):
        source, destination = struct.unpack_from("!HH", data, at)
        header = (data[at + 12] >> 4) * 4 if protocol == TCP else 8
        return {"source_port": source, "destination_port": destination, "payload": data[at + header :]}
    if protocol in (ICMP, ICMPV6):
        echo = {"icmp_id": struct.unpack_from("!H", data, at + 4)[0]} if data[at] in (0, 8, 128, 129) else {}
        return {"icmp_type": data[at], "payload": data[at + 8 :], **echo}
    return {"payload": data[at:]}


def write_pcap(path, frames):
    """Writes FRAMES as a pcap file (magic of microseconds, LINKTYPE_ETHERNET)."""
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for frame in frames:
            seconds = int(frame.time)
            size = len(frame.bytes)
            file.write(struct.pack("=IIII", seconds, int((frame.time - seconds) * 1e6), size, size) + frame.bytes)
