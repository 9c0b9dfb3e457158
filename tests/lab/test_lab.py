# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab itself: what the other tests rest on. None of these needs the daemon."""

import os
import socket
import subprocess
import sys

from lab import isolation, process, topology
from lab.capture import Invalid
from lab.granted import Flow
from lab.leaks import SERVER, Leak, Unproven, of_the_kernel
from lab.traffic import KINDS, recognise
from test_grants import ordinary

LIBRARY = os.path.dirname(os.path.dirname(isolation.__file__))

# A gate as a user might write one: everything out is refused but what every closed gate lets by. It is not Holdfast's.
CLOSED = """
table inet hand {{
	chain output {{
		type filter hook output priority 0; policy drop;
		oifname "lo" accept
		icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} accept
		{extra}
		reject with icmpx port-unreachable
	}}
}}
"""


def close_by_hand(lab, extra=""):
    lab.run(["nft", "-f", "-"], input=CLOSED.format(extra=extra))


def must_raise(kind, function, *arguments, **options):
    """Calls FUNCTION, which must raise KIND; returns what it raised."""
    try:
        function(*arguments, **options)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def test_everybody_reaches_everybody(lab):
    """the client reaches LAN, server and internet over IPv4 and IPv6 from the first packet on"""
    for address in (
        topology.LAN4,
        topology.LAN6,
        topology.SERVER4,
        topology.SERVER6,
        topology.INTERNET4,
        topology.INTERNET6,
    ):
        lab.ping(address)
    near, far = lab.connect(topology.INTERNET6, 9)
    near.sendall(b"hello")
    assert far.recv(5) == b"hello"
    lab.note(f"five namespaces, linked and addressed, in {lab.net.build_seconds * 1000:.0f} ms")


def test_host_refused(lab):
    """the library cannot be imported in the namespaces it records as the host's, nor without a record"""
    modules = [name[:-3] for name in os.listdir(f"{LIBRARY}/lab") if name.endswith(".py")]
    modules = sorted(set(modules) - {"__init__", "kernel", "isolation"}) + ["isolation"]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        module = importlib.import_module('lab.' + name)\n"
        "        module.require()\n"
        "    except Exception as error:\n"
        "        print(name, type(error).__name__)\n"
    )
    here = f"{os.readlink('/proc/self/ns/net')} {os.readlink('/proc/self/ns/mnt')}"
    for record in (None, "", "nonsense", here):
        environment = {"PYTHONPATH": LIBRARY, "PYTHONDONTWRITEBYTECODE": "1"} | ({} if record is None else {isolation.RECORD: record})
        done = subprocess.run([sys.executable, "-c", code, *modules], env=environment, capture_output=True, text=True)
        assert done.stdout.splitlines() == [f"{name} NotIsolated" for name in modules], (record, done.stdout, done.stderr)


def test_host_untouched(lab):
    """what is written to /etc and /run reaches neither the host nor another test"""
    before = os.stat(f"{isolation.LOWER_ETC}/passwd")
    with open("/etc/holdfast-lab-was-here", "w") as file:
        file.write("only in here")
    os.rename("/etc/holdfast-lab-was-here", "/etc/hosts")
    assert not os.path.exists(f"{isolation.LOWER_ETC}/holdfast-lab-was-here")
    with open(f"{isolation.LOWER_ETC}/hosts") as file:
        assert "only in here" not in file.read()
    after = os.stat(f"{isolation.LOWER_ETC}/passwd")
    assert (before.st_ino, before.st_mtime_ns, before.st_size) == (after.st_ino, after.st_mtime_ns, after.st_size)
    must_raise(OSError, open, f"{isolation.LOWER_ETC}/holdfast-lab-was-here", "w")
    users = lab.run(["getent", "passwd", "holdfast-worker"]).stdout
    assert users.startswith("holdfast-worker:"), users
    assert lab.run(["cat", "/etc/resolv.conf"]).stdout == f"nameserver {topology.LAN4}\n"


def test_first_cgroup(lab):
    """the client sees a cgroup v2 tree of the lab's own, at the usual place"""
    tree = lab.run(["stat", "-f", "-c", "%T", "/sys/fs/cgroup"]).stdout.strip()
    assert tree == "cgroup2fs", tree
    names = lab.run(["ls", "/sys/fs/cgroup"]).stdout.split()
    assert not [name for name in names if name.endswith((".slice", ".scope")) and name != "system.slice"], names
    lab.run(["mkdir", "/sys/fs/cgroup/mine"])
    lab.run(["rmdir", "/sys/fs/cgroup/mine"])


def test_positive_control(lab):
    """with the gate open every kind of traffic is seen on the far side of the uplink"""
    seen = lab.leaks.prove()
    lab.note(f"{len(KINDS)} kinds of traffic, {seen} packets seen with the gate open")
    assert all(lab.leaks.control[kind.name] for kind in KINDS)


def test_no_verdict_without_control(lab):
    """without a positive control for every kind there is no verdict"""
    close_by_hand(lab)
    lab.leaks.begin()
    lab.leaks.offer()
    must_raise(Unproven, lab.leaks.verdict)
    must_raise(Unproven, lab.leaks.prove, timeout=0.2)
    lab.nft("delete", "table", "inet", "hand")
    lab.leaks.prove(KINDS[1:])
    error = must_raise(Unproven, lab.leaks.verdict)
    assert KINDS[0].name in str(error), error


def test_no_verdict_without_offer(lab):
    """a time in which nothing was offered gets no verdict"""
    lab.leaks.prove()
    close_by_hand(lab)
    lab.leaks.begin()
    must_raise(Unproven, lab.leaks.verdict)


def test_closed_gate_passes(lab):
    """a closed gate is told from an open one: nothing of any kind is seen"""
    lab.leaks.prove()
    close_by_hand(lab)
    offered = lab.leaks.closed()
    assert offered == len(KINDS), offered


def test_every_kind_is_told(lab):
    """a gate that forgets one kind of traffic is caught by that kind"""
    lab.leaks.prove()
    for extra, kind in (
        (f"ip daddr {topology.INTERNET4} tcp dport 22000 accept", "data on a connection made before"),
        ("meta l4proto icmp accept", "ping4 to a public host"),
        ("udp dport 53 accept", "dns4 over udp to a LAN resolver"),
        ("tcp dport 853 accept", "dns6 over tls to a public resolver"),
        ("meta mark 0x68660000 accept", "udp4 with the worker's mark to a public host"),
        (f"ip daddr {topology.SERVER4} udp dport 51820 accept", "udp4 to the VPN server's endpoint, not the worker's"),
        ("ip daddr 224.0.0.0/24 accept", "mdns4"),
        ("meta l4proto 253 accept", "protocol 253 over IPv6 to a public host"),
    ):
        close_by_hand(lab, extra)
        error = must_raise(Leak, lab.leaks.closed, endpoints=[SERVER])
        assert kind in str(error), (kind, str(error))
        lab.nft("delete", "table", "inet", "hand")


def test_short_gap_is_told(lab):
    """a gate that is open for a moment between two closed ones is caught by the generator"""
    lab.leaks.prove()
    close_by_hand(lab)
    lab.leaks.begin()
    generator = lab.generator()
    place = lab.capture.mark()
    # Two transactions where one was needed: the mistake that a kill switch must not make. The moment lasts until the generator had its turn.
    lab.run(["nft", "-f", "-"], input="delete table inet hand\n")
    lab.capture.wait(lambda frame: not frame.outgoing and recognise(frame), place)
    close_by_hand(lab)
    lab.leaks.offered(generator.stop())
    must_raise(Leak, lab.leaks.verdict)


def test_generator_counts(lab):
    """the generator offers every kind, and what it says is what was seen"""
    lab.leaks.prove()
    place = lab.capture.mark()
    kind = next(kind for kind in KINDS if kind.name == "udp4 to a public host")
    generator = lab.generator([kind])
    lab.capture.wait(lambda frame: frame.destination_port == kind.port, place)
    offered = generator.stop()[kind.name]
    seen = sum(frame.destination_port == kind.port for frame in lab.capture.since(place))
    assert seen == offered > 0, (seen, offered)


def test_lost_frames_are_told(lab):
    """a capture that lost frames is invalid, not clean"""
    lab.leaks.begin()
    lab.capture.socket.setsockopt(1, 33, 4096)  # SO_RCVBUFFORCE: room for almost nothing
    for _ in range(20):
        lab.leaks.offer()
    must_raise(Invalid, lab.capture.barrier)


def test_worker_alone_may_pass(lab):
    """WireGuard's messages to the endpoint may leave while connecting, and are a leak while closed"""
    lab.leaks.prove()
    server = lab.server()
    close_by_hand(lab, f"ip daddr {topology.SERVER4} udp dport 51820 meta mark 0x51 accept\n oifname \"wg0\" accept")
    connect_by_hand(lab, server)
    lab.leaks.begin()
    lab.ping(topology.INNER_SERVER4)
    lab.leaks.offer([kind for kind in KINDS if "VPN server" not in kind.name])
    assert lab.leaks.verdict([SERVER]) > 0
    must_raise(Leak, lab.leaks.verdict)


def test_granted_flow_alone_may_pass(lab):
    """what belongs to a flow that is granted is no leak, and another one to the same host and port is"""
    lab.leaks.prove()
    close_by_hand(lab, f"ip daddr {topology.INTERNET4} meta l4proto {{ tcp, udp }} th dport 4400 accept")
    flow = Flow(lab, ordinary(lab))
    lab.leaks.begin()
    lab.leaks.offer()
    flow.carries()
    lab.leaks.verdict(flows=[flow])
    must_raise(Leak, lab.leaks.verdict)
    with ordinary(lab)(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.sendto(b"not granted", (topology.INTERNET4, 4400))
    error = must_raise(Leak, lab.leaks.verdict, flows=[flow])
    assert len(error.frames) == 1, error
    flow.close()


def test_tunnel_by_hand(lab):
    """a real client and a real server carry the client's traffic to the internet, IPv4 and IPv6"""
    server = lab.server()
    connect_by_hand(lab, server)
    place = lab.capture.mark()
    lab.ping(topology.INTERNET4)
    lab.ping(topology.INTERNET6)
    near, far = lab.connect(topology.INTERNET4, 7)
    near.sendall(b"through the tunnel")
    assert far.recv(100) == b"through the tunnel"
    assert far.getpeername()[0] == topology.INNER_CLIENT4, far.getpeername()
    assert server.handshakes() > 0
    outside = [frame for frame in lab.leaks.leaked([SERVER], place) if not of_the_kernel(frame)]
    assert not outside, outside[0]


def test_silent_server(lab):
    """a silent server takes handshakes and answers nothing"""
    silent = lab.silent_server()
    connect_by_hand(lab, lab.server(port=51999), port=51820)
    place = lab.capture.mark()
    must_raise(TimeoutError, lab.ping, topology.INNER_SERVER4, timeout=0.3)
    frames = lab.capture.since(place)
    assert not [frame for frame in frames if frame.outgoing and frame.source == topology.SERVER4]
    silent.socket.settimeout(process.PATIENCE)
    assert silent.socket.recv(2048)[:4] == b"\1\0\0\0"


def connect_by_hand(lab, server, port=None):
    """wireguard-go in the client as wg-quick would run it, without Holdfast."""
    path = "/run/lab/by-hand.conf"
    with open(path, "w") as file:
        file.write(
            f"[Interface]\nPrivateKey = {server.client.private}\nFwMark = 0x51\n"
            f"[Peer]\nPublicKey = {server.key.public}\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {topology.SERVER4}:{port or server.port}\n"
        )
    # Without -f it becomes a daemon, and its first process ends once the link and the control socket are there.
    client = process.Process(lab, "client-by-hand", ["wireguard-go", "wg0"], lab.net.client, os.environ | {"WG_SUDO": "1"})
    assert client.wait() == 0, client.log()
    lab.run(["wg", "setconf", "wg0", path])
    topology.batch(
        lab.net.client,
        [
            f"address add {topology.INNER_CLIENT4}/32 dev wg0",
            f"address add {topology.INNER_CLIENT6}/128 dev wg0",
            "link set wg0 up",
            "route add default dev wg0 table 51",
            "rule add not fwmark 0x51 table 51 pref 51",
        ],
    )
    topology.batch(lab.net.client, ["route add default dev wg0 table 51", "rule add not fwmark 0x51 table 51 pref 51"], family=6)
