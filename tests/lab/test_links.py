# SPDX-License-Identifier: LGPL-2.1-or-later
"""Links of every kind: what leads into an uplink is one, whatever it is called and whenever it came."""

import contextlib
import errno
import socket

from lab import process, topology
from lab.bridge import Bridge
from lab.leaks import SERVER

PORT = 4500
MAC = "02:00:00:00:00:77"  # nobody's: what is sent to it is seen, and goes no further

# Links over eth0, by name. (VLANs and bonds lead out by the same two members of what the kernel says of a link.)
STACKED = {
    "mac7": ["link add link eth0 name mac7 type macvlan mode bridge"],
    "br8": ["link add link eth0 name mac8 up type macvlan mode bridge", "link add br8 type bridge", "link set mac8 master br8"],
    "mac9": [
        "link add link eth0 name mac90 up type macvlan mode bridge",
        "link add br9 up type bridge",
        "link set mac90 master br9",
        "link add link br9 name mac9 type macvlan mode bridge",
    ],
}


def stack(lab, name, number):
    """Makes the link NAME, with a private network of its own and no default route; returns a host's address behind it."""
    address = f"10.{number}.0.9"
    topology.batch(
        lab.net.client,
        [
            *STACKED[name],
            f"address add 10.{number}.0.2/24 dev {name}",
            f"link set {name} up",
            f"neighbour add {address} lladdr {MAC} nud permanent dev {name}",
        ],
    )
    for bridge in ("br8", "br9"):
        if any(bridge in line for line in STACKED[name]):
            process.until(lambda: topology.forwards(lab.net.client, bridge), f"{bridge} does not forward")
    return address


def says(lab, namespace, address, text=b"out"):
    """Has NAMESPACE send one datagram to ADDRESS; how many such left by the uplink."""
    place = lab.capture.mark()
    with namespace.entered(), socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with contextlib.suppress(OSError):
            sock.sendto(text, (address, PORT))
    return len([frame for frame in lab.capture.since(place) if not frame.outgoing and frame.destination == address and frame.payload == text])


def test_stacked(lab):
    """what stands on an uplink, or has one among its ports, is one without a default route, too: neither containers nor the host send by it"""
    bridge = Bridge(lab)
    senders = (bridge.boxes[0], lab.net.client)
    hosts = {name: stack(lab, name, 40 + number) for number, name in enumerate(STACKED)}

    def held(what):
        for name, address in hosts.items():
            for sender in senders:
                assert not says(lab, sender, address), (what, name, sender.name)

    for name, address in hosts.items():
        for sender in senders:
            assert says(lab, sender, address), f"{name}: not seen with the gate open"
    daemon, _ = lab.guarded(mode="always")
    held("connected")
    lab.leaks.closed([SERVER])
    daemon.api.stop()
    held("stopped, mode always")
    assert set(daemon.api.status()["network"]["uplinks"]) >= set(STACKED), daemon.api.status()["network"]


def test_bridge_becomes_an_uplink(lab):
    """a bridge of containers that a card is put into is an uplink from then on: what other containers forward to it goes nowhere"""
    inside, outside = Bridge(lab), Bridge(lab, "virbr0", 18)
    box = inside.boxes[0]
    address = "172.18.0.99"
    topology.batch(
        lab.net.client,
        # With an address of its own the bridge takes none of its ports' and forgets no neighbour for it.
        [
            f"link set {outside.name} address 02:00:00:00:00:18",
            "link add link eth0 name mac8 up type macvlan mode bridge",
            f"neighbour add {address} lladdr {MAC} nud permanent dev {outside.name}",
        ],
    )

    def put_in():
        topology.batch(lab.net.client, ["link set mac8 master virbr0"])
        process.until(lambda: topology.forwards(lab.net.client, "virbr0"), "virbr0 does not forward")

    put_in()
    assert says(lab, box, address)  # the control
    topology.batch(lab.net.client, ["link set mac8 nomaster"])
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    assert "virbr0" not in daemon.api.status()["network"]["uplinks"]
    put_in()
    while "virbr0" not in daemon.api.status()["network"]["uplinks"]:
        watch.wait(kind="networkChanged")
    assert not says(lab, box, address)


def test_renamed(lab):
    """an uplink that is renamed while the tunnel is up, also to what no rule can name: the tunnel goes on, and the LAN alone is held where its link has no name"""
    daemon, _ = lab.guarded()
    daemon.api.patch("/kill-switch", {"lan": "allow"})
    watch = daemon.api.watch()

    def rename(old, new):
        lab.ip("link", "set", "dev", old, "name", new)
        while daemon.api.status()["network"]["uplinks"] != [new]:
            watch.wait(kind="networkChanged")

    def reached(address, listener):
        try:
            near, far = lab.connect(address, 4501, listener=listener, timeout=process.PATIENCE)
        except OSError:
            return None
        with near, far:
            return far.getpeername()[0]

    for old, new, lan in (("eth0", "wan0", topology.CLIENT4), ("wan0", 'a";accept#', None), ('a";accept#', "e*", None), ("e*", "eth0", topology.CLIENT4)):
        rename(old, new)
        place = lab.capture.mark()
        assert reached(topology.LAN4, lab.net.lan) == lan, new
        assert reached(topology.INTERNET4, lab.net.internet) == topology.INNER_CLIENT4, new
        with lab.net.client.entered(), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, new.encode())
            sock.settimeout(process.PATIENCE)
            assert sock.connect_ex((topology.INTERNET4, 80)) == errno.EHOSTUNREACH, new
    rename("eth0", "eth1")
    rename("eth1", "eth0")
    left = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.destination == topology.INTERNET4]
    assert not left, left[0]
    daemon.api.patch("/kill-switch", {"lan": "block"})
    lab.leaks.closed([SERVER])
