# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table of docs/security.md, cell by cell: what the gate does with each kind of packet in each of its states."""

import os
import signal

from lab import cells, topology
from lab.daemon import RESTART_AT_ONCE, WAIT_LONG
from lab.matrix import CUSTOM, Matrix

DOCUMENT = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../docs/security.md")
BEGIN, END = "<!-- cells: from tests/lab/lab/cells.py -->\n", "<!-- end of cells -->\n"


def controlled(lab):
    """A matrix, and the positive control: with nothing held each packet leaves by the uplink or comes in."""
    matrix = Matrix(lab)
    topology.batch(lab.net.client, [f"address add {topology.INNER_CLIENT4}/32 dev lo", f"address add {topology.INNER_CLIENT6}/128 dev lo"])
    matrix.block("open")
    topology.batch(lab.net.client, [f"address del {topology.INNER_CLIENT4}/32 dev lo", f"address del {topology.INNER_CLIENT6}/128 dev lo"])
    return matrix


def connected(lab, mode, policy=WAIT_LONG):
    """A proven matrix, a daemon in MODE, a server that takes what is forwarded, and the tunnel `home`, connected."""
    matrix = controlled(lab)
    server = lab.server()
    server.allow(*matrix.bridge.addresses(), topology.CLIENT4, topology.CLIENT6)
    daemon = lab.daemon()
    daemon.policy(policy)
    daemon.api.mode(mode)
    daemon.add_tunnel(server.document(dns=[topology.INNER_SERVER4, topology.INNER_SERVER6]))
    daemon.api.start()
    matrix.watch_tunnel()
    matrix.grant(daemon)
    return matrix, daemon, server


def blocks(matrix, daemon, gate, mode):
    for lan in cells.LANS:
        daemon.api.patch("/kill-switch", {"lan": CUSTOM if lan == "custom" else lan})
        assert daemon.gate() == gate, daemon.api.status()
        matrix.block(gate, lan, mode)
        assert daemon.gate() == gate, daemon.api.status()


def test_document(lab):
    """the table of docs/security.md is the one that is tested"""
    with open(DOCUMENT) as file:
        text = file.read()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    if os.environ.get("HOLDFAST_REFRESH"):
        with open(DOCUMENT, "w") as file:
            file.write(text[:begin] + cells.document() + text[end:])
        return
    assert text[begin:end] == cells.document(), "docs/security.md is out of date; refresh it with HOLDFAST_REFRESH=1"
    lab.note(f"{len(cells.everything())} cells")


def test_holes_are_told(lab):
    """a rule that lets one kind by is caught by that cell, with its name"""
    matrix, daemon, _ = connected(lab, "always")
    daemon.kill()  # nobody heals
    past_tunnel = (f"{topology.INTERNET4}/32", "via", topology.GATEWAY4, "dev", "eth0", "table", "26726")
    for chain, match, name in (
        ("output", "meta nfproto ipv6 udp dport 53 accept", "udp to public:53, IPv6, bound"),
        ("forward", "ip protocol 253 accept", "raw to public, IPv4, forwarded"),
        ("input", f"ip daddr {topology.INNER_CLIENT4} accept", "icmp from tunnel to the host, IPv4, inbound"),
    ):
        lab.nft("insert", "rule", "inet", "holdfast", chain, *match.split(), "comment", '"hole"')
        if chain == "forward":  # the second layer would have it
            lab.ip("route", "add", *past_tunnel)
        try:
            matrix.block("tunnel", mode="always", ways=("plain", "bound", "source", "forwarded", "inbound"))  # nobody grants
        except AssertionError as error:
            assert name in str(error), (name, str(error))
        else:
            raise AssertionError(f"the hole in {chain} was not noticed")
        lab.notes.clear()
        handle = lab.nft("-a", "list", "chain", "inet", "holdfast", chain).stdout.split('"hole" # handle ')[1].split()[0]
        lab.nft("delete", "rule", "inet", "holdfast", chain, "handle", handle)
        if chain == "forward":
            lab.ip("route", "delete", *past_tunnel)


def test_mode_off(lab):
    """mode off holds nothing, and the tunnel's routes stand"""
    matrix, daemon, _ = connected(lab, "off")
    matrix.block("routed", mode="off")


def tunnel(lab, mode):
    matrix, daemon, _ = connected(lab, mode)
    blocks(matrix, daemon, "tunnel", mode)


def closed(lab, mode):
    matrix, daemon, _ = connected(lab, mode)
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    blocks(matrix, daemon, "closed", mode)


def connecting(lab, mode):
    matrix, daemon, server = connected(lab, mode, RESTART_AT_ONCE)
    server.kill()
    silent = lab.silent_server()
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("reasserting")
    blocks(matrix, daemon, "connecting", mode)
    silent.close()


def test_auto_tunnel(lab):
    """mode auto, connected: each kind of packet goes through the tunnel or nowhere, but what the settings let by"""
    tunnel(lab, "auto")


def test_always_tunnel(lab):
    """mode always, connected: the same"""
    tunnel(lab, "always")


def test_auto_closed(lab):
    """mode auto, closed: nothing leaves but what the settings let by"""
    closed(lab, "auto")


def test_always_closed(lab):
    """mode always, closed: the same"""
    closed(lab, "always")


def test_auto_connecting(lab):
    """mode auto, connecting: nothing leaves but what the settings let by, and only the endpoint comes in"""
    connecting(lab, "auto")


def test_always_connecting(lab):
    """mode always, connecting: the same"""
    connecting(lab, "always")
