# SPDX-License-Identifier: LGPL-2.1-or-later
"""Somebody else's flowtable: what the kernel forwards for connections in it passes by every chain. These need a kernel that has flowtables."""

import contextlib

from lab import process, topology
from lab.bridge import Bridge
from test_forwarded import INTERNET, engine_masquerades, from_bridge


def flowtable(lab, bridge):
    """What a gateway has that is to be fast."""
    with open("/run/lab/flowtable.nft", "w") as file:
        file.write(
            f"table inet fast {{\n\tflowtable f {{ hook ingress priority filter; devices = {{ eth0, {bridge.name} }}; }}\n"
            "\tchain forward { type filter hook forward priority filter; ct state established flow add @f; }\n}\n"
        )
    lab.nft("-f", "/run/lab/flowtable.nft")


def offloaded(lab):
    """How many connections are in it."""
    return int(lab.run(["grep", "-c", "OFFLOAD", "/proc/net/nf_conntrack"], check=False).stdout)


class Connections:
    """From a container to the internet, one of each family, in the flowtable."""

    port = 80

    def __init__(self, lab, bridge):
        self.lab, self.bridge, self.port = lab, bridge, Connections.port
        Connections.port += 1
        self.pairs = [lab.connect(address, self.port, namespace=bridge.boxes[0]) for address in INTERNET]
        for near, far in self.pairs * 3:
            for here, there in ((near, far), (far, near)):
                here.sendall(b"before")
                assert there.recv(100) == b"before"
        assert offloaded(lab) == len(self.pairs)

    def end(self):
        """Nothing is sent any more, whoever tries: the first packet, nor those that follow it."""
        place = self.lab.capture.mark()
        for near, far in self.pairs * 2:
            for end in (near, far):
                with contextlib.suppress(OSError):
                    end.send(b"after")
        sent = [frame for frame in from_bridge(self.lab, place, self.bridge) if self.port in (frame.destination_port, frame.source_port)]
        assert not sent, sent[0]
        for near, far in self.pairs:
            near.close()
            far.close()


def test_ended(lab):
    """connections in somebody else's flowtable end with the closing of the gate, and with the grant or the release that let them by"""
    bridge = Bridge(lab)
    engine_masquerades(lab, bridge)
    flowtable(lab, bridge)
    daemon = lab.daemon()
    connections = Connections(lab, bridge)
    daemon.api.mode("always")
    connections.end()
    lab.nft("delete", "table", "inet", "fast")
    flowtable(lab, bridge)  # its chain comes later than Holdfast's, and so in front of what has the same priority

    grants = [daemon.api.post("/bypass", {"address": address})["id"] for address in INTERNET]
    connections = Connections(lab, bridge)
    for grant in grants:
        daemon.api.delete(f"/bypass/{grant}")
    connections.end()

    daemon.api.patch("/kill-switch", {"bypass": {"addresses": list(INTERNET)}})
    connections = Connections(lab, bridge)
    daemon.api.patch("/kill-switch", {"bypass": {"addresses": []}})
    connections.end()

    watch = daemon.api.watch()
    daemon.api.post("/kill-switch/release", {"reason": "test", "for": "1h"})
    connections = Connections(lab, bridge)
    daemon.api.post("/kill-switch/release", {"reason": "test", "for": "1s"})
    watch.wait(kind="releaseEnded")
    connections.end()

    lab.net.client.sysctl(**{"net/netfilter/nf_flowtable_tcp_timeout": 1})
    daemon.api.post("/kill-switch/release", {"reason": "test", "for": "1h"})
    connections = Connections(lab, bridge)
    process.until(lambda: offloaded(lab) == 0, "they stay in the flowtable")
    daemon.api.mode("always")
    connections.end()
