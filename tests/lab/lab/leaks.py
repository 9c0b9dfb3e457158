# SPDX-License-Identifier: LGPL-2.1-or-later
"""Says whether anything left outside the tunnel, and refuses to say "nothing" unless it proved that it would have seen it.

The positive control: with the gate open every kind of traffic is offered and must be seen by the same capture. Without it, for each kind,
a verdict is an `Unproven` error; so is one for a time in which nothing was offered.
"""

import time
from collections import Counter
from dataclasses import dataclass

from . import frames, isolation, topology
from .process import PATIENCE
from .traffic import KINDS, recognise

isolation.require()


class Unproven(Exception):
    """There is no proof that a leak would have been seen."""


class Leak(AssertionError):
    """Something left outside the tunnel. `frames` are they."""

    def __init__(self, leaked):
        self.frames = leaked
        kinds = Counter((kind.name if (kind := recognise(frame)) else str(frame)) for frame in leaked)
        lines = [f"{count} x {name}" for name, count in kinds.most_common(40)]
        super().__init__(f"{len(leaked)} packets left outside the tunnel:\n  " + "\n  ".join(lines) + f"\n  first: {leaked[0]}")


def is_wireguard(frame):
    """Whether FRAME carries one of WireGuard's four messages (a type, three zero bytes)."""
    return frame.protocol == frames.UDP and frame.payload[:4] in (b"\1\0\0\0", b"\2\0\0\0", b"\3\0\0\0", b"\4\0\0\0")


def is_openvpn(frame):
    """Whether FRAME carries one of a client's messages over UDP (an opcode in the upper five bits), or is any of TCP's."""
    if frame.protocol == frames.TCP:
        return True
    return frame.protocol == frames.UDP and bool(frame.payload) and frame.payload[0] >> 3 in (4, 5, 6, 7, 9, 10, 11)


@dataclass(frozen=True)
class Endpoint:
    """A VPN server that the worker may talk to, in messages that SPEAKS says are its client's."""

    address: str = topology.SERVER4
    port: int = 51820
    speaks: object = is_wireguard


SERVER = Endpoint()
OPENVPN = Endpoint(port=1194, speaks=is_openvpn)


def is_allowed(frame, endpoints=()):
    """Whether FRAME may leave the client while the gate is closed: ARP, neighbour discovery, DHCP, and the worker to ENDPOINTS."""
    if frame.ethertype == frames.ETH_ARP:
        return True
    if frame.protocol == frames.ICMPV6:
        on_link = frame.bytes[14 + 7] == 255 and frame.destination.startswith(("fe80:", "ff02:"))  # RFC 4861: the hop limit of what stays there
        return on_link and frame.icmp_type in (133, 135, 136)
    if frame.protocol == frames.UDP:
        if (frame.source_port, frame.destination_port) == (68, 67):
            return frame.destination in ("255.255.255.255", topology.GATEWAY4)
        if (frame.source_port, frame.destination_port) == (546, 547):
            return frame.destination in ("ff02::1:2", "ff05::1:3")
    there = (frame.destination, frame.destination_port)
    return any(there == (at.address, at.port) and at.speaks(frame) for at in endpoints)


def of_the_kernel(frame):
    """Listener reports (MLD, IGMP): the kernel's own, sent by the link they are about, not by a route."""
    return frame.protocol == frames.IGMP or frame.protocol == frames.ICMPV6 and frame.icmp_type in (131, 132, 143)


class LeakCheck:
    """Verdicts over one capture of one run."""

    def __init__(self, capture, offering):
        self.capture, self.offering = capture, offering
        self.control = Counter()  # how many of each kind were seen with the gate open
        self._place = None
        self._offered = 0

    def prove(self, kinds=KINDS, timeout=PATIENCE):
        """The positive control, with the gate open: offers every kind until each was seen. Raises Unproven where one is not."""
        deadline = time.monotonic() + timeout
        place = self.capture.mark()
        missing = list(kinds)
        while missing:
            if time.monotonic() > deadline:
                raise Unproven("positive control: not seen with the gate open: " + ", ".join(kind.name for kind in missing))
            self.offering.offer(missing)
            seen = Counter(kind.name for frame in self.capture.since(place) if not frame.outgoing and (kind := recognise(frame)))
            place = len(self.capture.frames)
            self.control += seen
            missing = [kind for kind in missing if not self.control[kind.name]]
        return sum(self.control.values())

    def begin(self):
        """From here on nothing may leave."""
        self._place = self.capture.mark()
        self._offered = 0

    def offer(self, kinds=KINDS):
        """Offers one packet of each kind and counts them as offered in this time."""
        self._offered += self.offering.offer(kinds)

    def offered(self, count):
        """Counts what somebody else, a generator, offered in this time."""
        self._offered += sum(count.values())

    def leaked(self, endpoints=(), place=None):
        """The frames that left since `begin` (or PLACE) and may not have."""
        sent = (frame for frame in self.capture.since(self._place if place is None else place) if not frame.outgoing)
        return [frame for frame in sent if not is_allowed(frame, endpoints)]

    def verdict(self, endpoints=(), tolerate=lambda frame: False, flows=()):
        """Raises Leak if anything left since `begin`, Unproven if it could not tell; returns how many packets were offered.
        What TOLERATE says of is no leak here, nor is what belongs to FLOWS that are granted (lab/granted.py): an acknowledgement of an open
        connection is sent when the kernel likes, 40 ms after what it is for."""
        unproven = [kind.name for kind in KINDS if not self.control[kind.name]]
        if unproven:
            raise Unproven("no positive control in this run for: " + ", ".join(unproven))
        if self._place is None or not self._offered:
            raise Unproven("nothing was offered in the time that is judged")
        leaked = [frame for frame in self.leaked(endpoints) if not tolerate(frame) and not any(flow.owns(frame) for flow in flows)]
        if leaked:
            raise Leak(leaked)
        return self._offered

    def closed(self, endpoints=(), flows=()):
        """One round of everything, now: nothing of it may leave. FLOWS: those that are granted, open or not long closed."""
        self.begin()
        self.offer()
        return self.verdict(endpoints, flows=flows)
