# SPDX-License-Identifier: LGPL-2.1-or-later
"""Foreign hands: the firewall flushed, routes pushed, links deleted, the uplink gone and back."""

import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from lab import process, topology
from lab.leaks import SERVER, is_allowed, of_the_kernel
from lab.traffic import KINDS, recognise

KERNEL = [kind for kind in KINDS if kind.route == "kernel"]
UPLINK = [kind for kind in KINDS if kind.route == "uplink"]


def wait_table(daemon, timeout=process.PATIENCE):
    """Waits until the gate's table is back; there is nothing but the kernel to ask."""
    deadline = time.monotonic() + timeout
    while daemon.table() is None:
        assert time.monotonic() < deadline, "the table was not healed"


def test_flush_kernel_chooses(lab):
    """`nft flush ruleset`: nothing leaves that lets the kernel choose the route"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    lab.leaks.begin()
    generator = lab.generator(KERNEL)
    for _ in range(10):
        lab.nft("flush", "ruleset")
        watch.wait(kind="gateTampered")
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER], of_the_kernel)
    assert daemon.table() is not None and daemon.api.status()["gate"]["healed"] >= 10, daemon.api.status()["gate"]


def test_flush_bound_to_uplink(lab):
    """`nft flush ruleset`: for sockets bound to the uplink the gate is healed, and once that is told nothing leaves"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    spans, told = [], []  # how soon is measured, and judged nowhere: that is the machine's, too
    for _ in range(20):
        lab.leaks.begin()
        generator = lab.generator(UPLINK)
        lab.capture.barrier()
        lab.nft("flush", "ruleset")
        event = watch.wait(kind="gateTampered")
        healed = lab.capture.mark()
        lab.leaks.offered(generator.stop())
        leaked = lab.leaks.leaked([SERVER])
        late = lab.leaks.leaked([SERVER], healed)
        assert event["healed"] and not late, (event, late[:1])
        spans.append((leaked[-1].time - leaked[0].time) * 1000 if leaked else 0.0)
        told.append(event)
        lab.leaks.closed([SERVER])
    spans.sort()
    lab.note(f"time until healed, seen on the far side: median {spans[10]:.2f} ms, worst {spans[-1]:.2f} ms (20 flushes)")
    lab.note(f"as the daemon tells it: {told[-1]}")


def test_constant_flush(lab):
    """flushed again and again for two seconds: nothing leaves that lets the kernel choose, and the gate stands afterwards"""
    daemon, _ = lab.guarded()
    lab.leaks.begin()
    generator = lab.generator(KERNEL)
    loop = subprocess.run(
        ["timeout", "2", "sh", "-c", "n=0; while nft flush ruleset; do n=$((n+1)); echo $n; done"],
        capture_output=True,
        text=True,
        preexec_fn=lab.net.client.join,
    )
    wait_table(daemon)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER], of_the_kernel)
    lab.note(f"{loop.stdout.split()[-1]} flushes in 2 s, {daemon.api.status()['gate']['healed']} heals")
    lab.leaks.closed([SERVER])
    assert daemon.api.status()["protection"] == "protected"


def test_constant_rule_changes(lab):
    """rules of the second layer deleted again and again: nothing leaves, healing keeps to its rate, and they stand afterwards"""
    daemon, _ = lab.guarded()
    begun = time.monotonic()
    lab.leaks.begin()
    generator = lab.generator()
    loop = "for n in $(seq 300); do ip rule del pref 5118; ip -6 rule del pref 5118; done"
    lab.run(["sh", "-c", loop], check=False)
    process.until(lambda: lab.ip("rule", "show", "pref", "5118").stdout and lab.ip("-6", "rule", "show", "pref", "5118").stdout, "the rules are not back")
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    process.until(lambda: daemon.api.status()["protection"] == "protected", lambda: daemon.api.status())
    told = [event for event in daemon.api.all_events() if event["kind"] == "gateTampered"]
    assert 0 < len(told) <= 8 + (time.monotonic() - begun) / 0.02, len(told)
    assert sum(event["healed"] for event in told) == daemon.api.status()["gate"]["healed"]  # one in which they had a hand again is none
    assert all(event["layer"] == "routing" for event in told), told[-1]
    lab.note(f"{len(told)} heals, {sum(event['suppressed'] for event in told)} more changes undone with them")
    lab.ping(topology.INTERNET4)
    lab.ping(topology.INTERNET6)


def test_settings_changed(lab):
    """settings that the second layer holds, changed by somebody, are held again at once"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    for name, wrong, held in (("arp_ignore", 0, "1"), ("ignore_routes_with_linkdown", 1, "0"), ("rp_filter", 1, "2")):
        path = f"net/ipv4/conf/all/{name}"
        lab.net.client.sysctl(**{path: wrong})
        assert watch.wait(kind="gateTampered")["healed"], name
        assert lab.run(["cat", f"/proc/sys/{path}"]).stdout.strip() == held, name
    lab.leaks.closed([SERVER])


def test_table_deleted_without_daemon(lab):
    """a table that is deleted while no daemon is there is back with the next, and nothing left that lets the kernel choose"""
    daemon, _ = lab.guarded()
    lab.leaks.begin()
    generator = lab.generator(KERNEL)
    daemon.kill()
    lab.nft("delete", "table", "inet", "holdfast")
    daemon.start()
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER], of_the_kernel)
    lab.leaks.closed([SERVER])


def test_rule_added(lab):
    """an accept that somebody adds to Holdfast's own chain is taken out again"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    before = daemon.table()
    lab.nft("insert", "rule", "inet", "holdfast", "output", "accept")
    event = watch.wait(kind="gateTampered")
    assert (event["layer"], event["process"], event["healed"]) == ("nftables", "nft", True) and event["pid"] and event["healedMs"] > 0, event
    lab.leaks.closed([SERVER])
    assert "accept\n\t\taccept" not in before and daemon.gate() == "tunnel"


def test_others_left_alone(lab):
    """tables of others stay as they are, and cannot open the gate"""
    lab.nft("add", "table", "inet", "theirs")
    lab.nft("add", "chain", "inet", "theirs", "out", "{ type filter hook output priority -400; policy accept; }")
    lab.nft("add", "rule", "inet", "theirs", "out", "accept")
    theirs = lab.nft("list", "table", "inet", "theirs").stdout
    daemon, _ = lab.guarded()
    lab.leaks.closed([SERVER])
    assert lab.nft("list", "table", "inet", "theirs").stdout == theirs
    daemon.api.stop()
    assert lab.nft("list", "table", "inet", "theirs").stdout == theirs


def test_others_in_front(lab):
    """somebody else's rules in front, routing rules for the uplink and a firewall that tracks nothing, take nothing past the tunnel"""
    for family in ("-4", "-6"):
        lab.ip(family, "rule", "add", "pref", "100", "lookup", "main")
    lab.nft("add", "table", "inet", "theirs")
    for hook in ("prerouting", "output"):
        lab.nft("add", "chain", "inet", "theirs", hook, f"{{ type filter hook {hook} priority -300; }}")
        lab.nft("add", "rule", "inet", "theirs", hook, "notrack")
    daemon, _ = lab.guarded()
    lab.leaks.closed([SERVER])
    daemon.api.mode("always")
    daemon.api.stop()
    lab.leaks.closed()


def test_copies(lab):
    """copies of packets that somebody's rules send by the uplink (dup, TEE) are held like any other packet"""
    for family, gateway in (("ip", topology.GATEWAY4), ("ip6", topology.GATEWAY6)):
        lab.nft("add", "table", family, "theirs")
        lab.nft("add", "chain", family, "theirs", "out", "{ type filter hook output priority -300; }")
        lab.nft("add", "rule", family, "theirs", "out", "udp", "dport", "4999", "dup", "to", gateway, "device", '"eth0"')
    lab.run("iptables-nft -t mangle -A OUTPUT -p udp --dport 4999 -j TEE --gateway".split() + [topology.GATEWAY4, "--oif", "eth0"])

    def sent():
        place = lab.capture.mark()
        for address in (topology.INTERNET4, topology.INTERNET6):
            with lab.net.client.entered():
                sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            with sock:
                sock.sendto(b"copied", (address, 4999))
        return [frame.destination for frame in lab.capture.since(place) if frame.payload == b"copied"]

    assert sorted(sent()) == sorted([topology.INTERNET4] * 3 + [topology.INTERNET6] * 2)  # the control: each, and its copies
    lab.guarded()
    assert sent() == []


def test_pushed_routes(lab):
    """routes as TunnelVision pushes them (0.0.0.0/1, 128.0.0.0/1, a host's own) carry nothing"""
    daemon, _ = lab.guarded()
    lab.leaks.begin()
    generator = lab.generator()
    for network in ("0.0.0.0/1", "128.0.0.0/1", f"{topology.INTERNET4}/32"):
        lab.ip("route", "add", network, "via", topology.GATEWAY4, "dev", "eth0")
    for network in ("::/1", "8000::/1", f"{topology.INTERNET6}/128"):
        lab.ip("-6", "route", "add", network, "via", topology.GATEWAY6, "dev", "eth0")
    near, far = lab.connect(topology.INTERNET4, 80)
    assert far.getpeername()[0] == topology.INNER_CLIENT4, far.getpeername()
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    assert daemon.api.tunnel()["state"] == "connected"
    near.close()


def test_rules_deleted(lab):
    """the second layer's rules, deleted by somebody, are back and nothing left meanwhile"""
    daemon, _ = lab.guarded()

    def rules():
        lines = [line for family in ("-4", "-6") for line in lab.ip(family, "rule").stdout.splitlines()]
        return sorted(line for line in lines if line.startswith("51"))

    before = rules()
    lab.leaks.begin()
    generator = lab.generator()
    for family in ("-4", "-6"):
        lab.ip(family, "rule", "flush")
        lab.ip(family, "rule", "add", "pref", "32766", "table", "main")
    deadline = process.deadline_in()
    while rules() != before:
        assert time.monotonic() < deadline, (before, rules())
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    lab.ping(topology.INTERNET4)
    assert daemon.gate() == "tunnel"


def test_link_deleted(lab):
    """the tunnel's link is deleted: a stop with tunInterfaceFailure, nothing leaves, a restart brings it back"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    lab.leaks.begin()
    generator = lab.generator()
    lab.ip("link", "delete", "hf-home")
    stop = watch.wait(kind="willStop")
    watch.wait_state("connected")
    lab.ping(topology.INTERNET4)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    assert stop["error"] == "tunInterfaceFailure", stop


def test_link_down(lab):
    """the tunnel's link is taken down: nothing leaves, a restart brings it back"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    lab.leaks.begin()
    generator = lab.generator()
    lab.ip("link", "set", "hf-home", "down")
    watch.wait_state("connected")
    lab.ping(topology.INTERNET4)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])


def test_sink_deleted(lab):
    """hf0 is deleted: it is back, and nothing left meanwhile"""
    daemon, _ = lab.guarded()
    lab.leaks.begin()
    generator = lab.generator()
    lab.ip("link", "delete", "hf0")
    deadline = process.deadline_in()
    while lab.ip("link", "show", "hf0", check=False).returncode != 0:
        assert time.monotonic() < deadline, "hf0 did not come back"
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    assert daemon.gate() == "tunnel"


def test_uplink_gone_and_back(lab):
    """the uplink goes and comes back: nothing leaves, the tunnel carries again"""
    daemon, _ = lab.guarded()
    lab.leaks.begin()
    generator = lab.generator()
    lab.ip("link", "set", "eth0", "down")
    lab.ip("link", "set", "eth0", "up")
    lab.ip("-6", "address", "add", f"{topology.CLIENT6}/64", "dev", "eth0")
    lab.ip("-6", "address", "replace", "fe80::2/64", "dev", "eth0")
    lab.ip("route", "replace", "default", "via", topology.GATEWAY4, "dev", "eth0")
    lab.ip("-6", "route", "replace", "default", "via", topology.GATEWAY6, "dev", "eth0")
    lab.ping(topology.INTERNET4)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    assert daemon.api.tunnel()["state"] == "connected"


def test_classifier_agrees(lab):
    """what is allowed while connected is the worker's messages, ARP and neighbour discovery, and nothing of what was offered"""
    lab.guarded()
    place = lab.capture.mark()
    lab.leaks.begin()
    lab.leaks.offer()
    lab.leaks.verdict([SERVER])
    sent = [frame for frame in lab.capture.since(place) if not frame.outgoing]
    assert sent and all(is_allowed(frame, [SERVER]) and recognise(frame) is None for frame in sent)


def test_own_changes_in_a_crowd(lab):
    """however many changes are asked for at once, none of the daemon's own commits is taken for somebody else's"""
    daemon = lab.daemon()
    daemon.api.mode("always")
    daemon.add_tunnel(lab.server().document())

    def ask(kind):
        for turn in range(50):
            if kind == "lan":
                daemon.api.patch("/kill-switch", {"lan": ("allow", "block")[turn % 2]})
            elif kind == "mode":
                daemon.api.mode(("auto", "always", "off")[turn % 3])
            elif kind == "grant":
                daemon.api.post("/bypass", {"address": f"198.51.100.{turn}"})
            else:
                daemon.api.post(f"/tunnels/home/{('start', 'stop', 'restart')[turn % 3]}")

    with ThreadPoolExecutor() as pool:
        list(pool.map(ask, ("lan", "mode", "grant", "tunnel")))
    tampered = [event for event in daemon.api.all_events() if event["kind"] == "gateTampered"]
    assert not tampered and daemon.api.status()["gate"]["healed"] == 0, tampered
