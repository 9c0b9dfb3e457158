# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the gate does with each kind of packet, written once: the table of docs/security.md and the lab's matrix both grow from RULES.

A cell is one packet: a state of the gate, what `lan` says, the way the packet goes, its protocol, its destination (for `inbound`: its
source) and its family. RULES are tried in order; the first that matches says what must happen:

    uplink     leaves by the uplink          in         reaches the host
    tunnel     leaves by the tunnel alone    dropped    leaves nowhere, and its sender is not told
    rejected   leaves nowhere, and its sender is told at once

Pure: no I/O. A means of a grant becomes a way of its own: a row in WAYS, its rules, and how its sockets are made in matrix.py.
"""

from dataclasses import dataclass
from itertools import combinations, product

from . import isolation

isolation.require()

GATES = {
    "open": "no tunnel is wanted, mode `auto`",
    "routed": "a tunnel is connected, mode `off`: routes alone",
    "closed": "a wanted tunnel waits or failed; none, mode `always`",
    "connecting": "a tunnel connects or restarts",
    "tunnel": "a tunnel is connected",
}
HELD = ("closed", "connecting", "tunnel")
LANS = ("block", "allow", "custom")
WAYS = {
    "plain": "an ordinary socket",
    "bound": "a socket bound to the uplink",
    "source": "a socket with the uplink's address",
    "forwarded": "from a container's or VM's bridge",
    "process": "granted: a process",
    "address": "granted: an address, by an ordinary socket",
    "inbound": "from outside",
    "service": "from outside, to a service that the user named",
    "management": "from outside, from a management network",
}
PLACES = {
    "public": ("a public host", None),
    "public:53": ("a public host, port 53", 53),
    "public:853": ("a public host, port 853", 853),
    "lan": ("a LAN host", None),
    "lan:53": ("a LAN host, port 53", 53),
    "lan:853": ("a LAN host, port 853", 853),
    "tunnel": ("an address inside the tunnel", None),
    "tunnel:53": ("the tunnel's resolver, port 53", 53),
    "tunnel:853": ("the tunnel's resolver, port 853", 853),
    "multicast": ("multicast (mDNS)", None),
    "endpoint": ("the VPN server's endpoint, not the worker's", None),
}
PLACES_INBOUND = {
    "public": "a public host",
    "lan": "a LAN host",
    "tunnel": "a LAN host, to the tunnel's address (CVE-2019-14899)",
    "multicast": "a LAN host, to a multicast group",
    "endpoint": "the VPN server's endpoint in use (here IPv4)",
}
WITH_PORTS = ("tcp", "udp", "udplite")
PROTOCOLS = {4: (*WITH_PORTS, "icmp", "raw"), 6: (*WITH_PORTS, "icmpv6", "raw")}
OUTCOMES = ("uplink", "tunnel", "in", "rejected", "dropped")
LEAVES = ("uplink", "tunnel", "in")

OUT = ("plain", "bound", "source", "forwarded", "address")
INWARDS = ("inbound", "service", "management")
DNS = tuple(place for place, (_, port) in PLACES.items() if port)
LAN = ("lan", "lan:53", "lan:853")
RESOLVER = ("tunnel:53", "tunnel:853")
TUNNEL = ("tunnel", "tunnel:53", "tunnel:853")


def _rule(outcome, **conditions):
    return {name: values if isinstance(values, tuple) else (values,) for name, values in conditions.items()}, outcome


def _refused(**conditions):
    """Rejected: told with ICMP, but where the kernel does not manage that."""
    return (
        # Linux gives ICMPv6 errors about the host's own packets to sockets as if they came in by lo.
        _rule("dropped", way="bound", protocol="tcp", family=6, **conditions),
        # Linux answers nothing that has not the internet's checksum where it would be.
        _rule("dropped", way="forwarded", protocol="raw", **conditions),
        _rule("rejected", way=OUT, **conditions),
    )


RULES = (
    # Nothing routes multicast of a bridge onwards, whatever the gate says.
    _rule("dropped", way="forwarded", to="multicast"),
    # Nothing is held.
    _rule("in", gate=("open", "routed"), way=INWARDS),
    _rule("uplink", gate="open"),
    _rule("tunnel", gate="routed", way="process", to=RESOLVER),
    _rule("uplink", gate="routed", way=("bound", "process")),
    _rule("uplink", gate="routed", to=LAN),
    _rule("uplink", gate="routed", to="multicast", family=6),
    _rule("uplink", gate="routed", to="multicast", way="source"),
    _rule("tunnel", gate="routed"),
    # Rule 2, inwards; outwards it is the worker's alone, which no cell is.
    _rule("in", way=INWARDS, to="endpoint", protocol="udp", gate=("connecting", "tunnel"), family=4),
    # Rule 3; a tunnel's resolver is asked inside it or not at all, as long as its link stands.
    _rule("tunnel", way="process", to=RESOLVER, protocol=("tcp", "udp"), gate="tunnel"),
    _rule("rejected", way="process", to=RESOLVER),
    _rule("uplink", way="process"),
    # Rule 5: a resolver inside the tunnel, and no other.
    _rule("tunnel", to=RESOLVER, protocol=("tcp", "udp"), gate="tunnel", way=("plain", "source", "forwarded", "address")),
    *_refused(to=DNS),
    # Rule 7: before rule 6, and before what `lan` says; rule 5 stands.
    _rule("uplink", way="address"),
    # Rule 6.
    _rule("tunnel", to=("public", "tunnel", "endpoint"), gate="tunnel", way=("plain", "source", "forwarded")),
    _rule("tunnel", to="lan", gate="tunnel", lan="block", way=("plain", "source", "forwarded")),
    _rule("tunnel", to="multicast", gate="tunnel", way="plain", family=4),
    # Rule 8, in its own order behind rule 6: the tunnel's addresses are nobody's from elsewhere.
    _rule("in", way="service", to=("public", "lan", "multicast"), protocol=("tcp", "udp")),
    _rule("in", way="service", to="endpoint", protocol="udp"),
    _rule("in", way="management", to=("public", "public:53", "public:853", *LAN, "multicast", "endpoint")),
    # Rule 10.
    _rule("uplink", to="lan", lan=("allow", "custom"), way=OUT),
    _rule("uplink", to="multicast", lan="allow", way=("bound", "source")),
    _rule("uplink", to="multicast", lan="allow", way="plain", family=6),
    _rule("in", way=INWARDS, to=(*LAN, "multicast"), lan=("allow", "custom")),
    # Rule 11.
    *_refused(),
    _rule("dropped", way=INWARDS),
)


@dataclass(frozen=True)
class Cell:
    """One packet and what must happen to it; `to` is where it comes from where it is inbound."""

    gate: str
    lan: str
    way: str
    protocol: str
    to: str
    family: int

    @property
    def outcome(self):
        for conditions, outcome in RULES:
            if all(getattr(self, name) in values for name, values in conditions.items()):
                return outcome
        raise LookupError(f"no rule for {self}")

    @property
    def packet(self):
        """What it is, whatever the gate says: two cells of one packet are each other's control."""
        return self.way, self.protocol, self.to, self.family

    def __str__(self):
        where = f"from {self.to} to the host" if self.way in INWARDS else f"to {self.to}"
        return f"{self.protocol} {where}, IPv{self.family}, {self.way}"


def _possible(way, protocol, to):
    if (way, to) == ("address", "multicast"):  # what is granted is a host's or a network's address
        return False
    if PLACES[to][1]:
        return protocol in WITH_PORTS
    return not (protocol == "tcp" and to == "multicast")


def block(gate, lan):
    """The cells of one state of the gate."""
    return [
        Cell(gate, lan, way, protocol, to, family)
        for way, family, to in product(WAYS, (4, 6), PLACES)
        for protocol in PROTOCOLS[family]
        if _possible(way, protocol, to)
    ]


def everything():
    """All cells: `lan` makes a difference where something is held."""
    return [cell for gate in GATES for lan in (LANS if gate in HELD else LANS[:1]) for cell in block(gate, lan)]


# ---- as a document ----

_LABELS = {"lan": lambda cell: f"`{cell.lan}`", "protocol": lambda cell: cell.protocol, "family": lambda cell: f"IPv{cell.family}"}


def _depends_on(cells):
    """The fewest of _LABELS that decide about the outcome of CELLS."""
    for size in range(len(_LABELS) + 1):
        for names in combinations(_LABELS, size):
            outcomes = {}
            for cell in cells:
                outcomes.setdefault(tuple(getattr(cell, name) for name in names), set()).add(cell.outcome)
            if all(len(found) == 1 for found in outcomes.values()):
                return names
    raise AssertionError("two cells alike differ")


def _said(cells):
    """CELLS in a few words: one outcome, or the exceptions by what they depend on and then the most frequent one."""
    names = _depends_on(cells)
    by_outcome = {}
    for cell in cells:
        labels = by_outcome.setdefault(cell.outcome, [])
        label = " ".join(_LABELS[name](cell) for name in names)
        if label not in labels:
            labels.append(label)
    said = {outcome: f"**{outcome}**" if outcome in LEAVES else outcome for outcome in by_outcome}
    *exceptions, usual = sorted(by_outcome, key=lambda outcome: len(by_outcome[outcome]))
    if not exceptions:
        return said[usual]
    return "; ".join([f"{', '.join(by_outcome[outcome])}: {said[outcome]}" for outcome in exceptions] + [f"else {said[usual]}"])


def _rows(way):
    places = PLACES_INBOUND if way in INWARDS else {place: words for place, (words, _) in PLACES.items()}
    rows = {}
    for place, words in places.items():
        found = [cell for cell in everything() if cell.way == way and cell.to == place]
        if not found:
            continue
        columns = tuple(_said([cell for cell in found if cell.gate == gate]) for gate in HELD)
        rows.setdefault(columns, []).append(words)
    return rows


def document():
    """The tables of docs/security.md, one for each way."""
    lines = [
        "Words in a cell: **uplink**, **tunnel**: it leaves by that; **in**: it reaches the host; rejected: it leaves nowhere and its sender is told",
        "at once (ICMP, never a TCP reset); dropped: it leaves nowhere. Each line holds for TCP, UDP, UDP-Lite, ICMP, ICMPv6 and raw protocols (where there",
        "are ports: the first three), IPv4 and IPv6, the modes `auto` and `always`, and `lan` as `block`, `allow` or `custom` (the LAN's own networks), unless it says otherwise.",
        "Linux' connection tracking checks UDP-Lite as if it were UDP, and takes all of it that comes by a wire for invalid: from management networks, or as an answer to what is",
        "granted, it is dropped unless `net.netfilter.nf_conntrack_checksum` is 0, as it is here. A process is granted as a unit, a slice, a",
        "user or by `holdfastctl exec`; an address by the settings or at run time, or as what a granted domain was resolved to (then public ones alone).",
        "",
    ]
    lines += [f"- *{gate}*: {GATES[gate]}" for gate in HELD]
    for way, words in WAYS.items():
        lines += ["", f"**{words[0].upper()}{words[1:]}**", ""]
        lines += [f"| {'from' if way in INWARDS else 'to'} | {' | '.join(HELD)} |", "|---" * (len(HELD) + 1) + "|"]
        lines += [f"| {'; '.join(places)} | {' | '.join(columns)} |" for columns, places in _rows(way).items()]
    return "\n".join(lines) + "\n"
