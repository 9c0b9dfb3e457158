# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bridges of the client's with containers behind them, as engines make them: docker0, virbr0."""

from . import isolation, process, topology
from .namespace import Namespace

isolation.require()


class Bridge:
    """NAME in the client's namespace, 172.NUMBER.0.1/16 and fdNUMBER::1/64; the client forwards for it. `boxes`: its containers."""

    def __init__(self, lab, name="docker0", number=17, boxes=1):
        self.lab, self.name, self.number = lab, name, number
        self.address4, self.address6 = f"172.{number}.0.1", f"fd{number}::1"
        lab.net.client.sysctl(**{"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1})
        topology.batch(
            lab.net.client,
            [
                f"link add {name} type bridge",
                f"link set {name} up",
                f"address add {self.address4}/16 dev {name}",
                f"address add {self.address6}/64 dev {name} nodad",
            ],
        )
        self.boxes = [self._box(index) for index in range(boxes)]
        process.until(lambda: topology.forwards(lab.net.client, name), f"{name} does not forward")

    def addresses(self, index=0):
        """(IPv4, IPv6) of the container INDEX."""
        return f"172.{self.number}.0.{index + 2}", f"fd{self.number}::{index + 2}"

    def _box(self, index):
        box = Namespace(f"{self.name}-{index}")
        four, six = self.addresses(index)
        topology.batch(
            self.lab.net.client,
            [f"link add {self.name}p{index} type veth peer name eth0 netns {box.name}", f"link set {self.name}p{index} master {self.name} up"],
        )
        topology.batch(
            box,
            [
                "link set lo up",
                "link set eth0 up",
                f"address add {four}/16 dev eth0",
                f"address add {six}/64 dev eth0 nodad",
                f"route add default via {self.address4}",
                f"route add default via {self.address6}",
            ],
        )
        return box
