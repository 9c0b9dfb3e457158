# SPDX-License-Identifier: LGPL-2.1-or-later
"""The lab's network:

    client ─eth0─┐                    ┌─ server    203.0.113.2, .9   (VPN servers; .9 is a second address)
                 ├─ br0  router ──────┤
    lan ────eth0─┘  10.1.0.1          └─ internet  198.51.100.2

all of it with IPv4 and IPv6. The far side of the client's uplink is the router's bridge port `client0`: captures are taken there.
What is behind a tunnel (10.9.0.0/24, fd09::/64; a second one's: 10.8.0.0/24, fd08::/64) is routed back to the server, so that clients of the tunnel reach the internet.
"""

import itertools
import json
import os
import socket
import subprocess
import time

from . import isolation, kernel, process
from .namespace import Namespace

isolation.require()

CLIENT4, CLIENT6 = "10.1.0.2", "fd01::2"
LAN4, LAN6 = "10.1.0.9", "fd01::9"
LAN_BROADCAST = "10.1.0.255"
LAN_LINK_LOCAL = "fe80::9"
GATEWAY4, GATEWAY6 = "10.1.0.1", "fd01::1"
SERVER4, SERVER6 = "203.0.113.2", "2001:db8:2::2"
SERVER4_SECOND = "203.0.113.9"
INTERNET4, INTERNET6 = "198.51.100.2", "2001:db8:3::2"
INNER_SERVER4, INNER_SERVER6 = "10.9.0.1", "fd09::1"
INNER_CLIENT4, INNER_CLIENT6 = "10.9.0.2", "fd09::2"

_SCOPE_LINK, _TENTATIVE = "20", 0x40  # if_inet6: IPV6_ADDR_LINKLOCAL, IFA_F_TENTATIVE

FAR_SIDE = "client0"  # the router's end of the client's uplink

_HOSTS = {
    "client": [(f"{CLIENT4}/24", GATEWAY4), (f"{CLIENT6}/64", GATEWAY6), ("fe80::2/64", None)],
    "lan": [(f"{LAN4}/24", GATEWAY4), (f"{LAN6}/64", GATEWAY6), (f"{LAN_LINK_LOCAL}/64", None)],
    "server": [(f"{SERVER4}/24", "203.0.113.1"), (f"{SERVER4_SECOND}/24", None), (f"{SERVER6}/64", "2001:db8:2::1")],
    "internet": [(f"{INTERNET4}/24", "198.51.100.1"), (f"{INTERNET6}/64", "2001:db8:3::1")],
}

_ROUTER = [
    "link add br0 type bridge",
    # Not at random: of four bytes that can all be printed dhclient's lease file makes a text, and stumbles over a quotation mark in it.
    *(f"link add {name}0 type veth peer name eth0 address 02:00:5e:00:01:{number:02x} netns {name}" for number, name in enumerate(_HOSTS, 1)),
    "link set client0 master br0 up",
    "link set lan0 master br0 up",
    "link set server0 up",
    "link set internet0 up",
    "link set br0 up",
    "link set lo up",
    f"address add {GATEWAY4}/24 dev br0",
    f"address add {GATEWAY6}/64 dev br0",
    "address add fe80::1/64 dev br0",
    "address add 203.0.113.1/24 dev server0",
    "address add 2001:db8:2::1/64 dev server0",
    "address add 198.51.100.1/24 dev internet0",
    "address add 2001:db8:3::1/64 dev internet0",
    f"route add 10.9.0.0/24 via {SERVER4}",
    f"route add fd09::/64 via {SERVER6}",
    f"route add 10.8.0.0/24 via {SERVER4}",
    f"route add fd08::/64 via {SERVER6}",
]


def batch(namespace, lines, family=None):
    """Runs ip(8) commands in NAMESPACE, all in one process; FAMILY 6 is for those whose words do not tell it."""
    command = ["ip", *(["-6"] if family == 6 else []), "-n", namespace.name, "-batch", "-"]
    done = subprocess.run(command, input="\n".join(lines) + "\n", text=True, capture_output=True)
    if done.returncode != 0:
        raise RuntimeError(f"ip in {namespace.name}: {done.stderr.strip()}")


def _has_own_address(namespace, given):
    """Whether eth0 has the link-local address that the kernel makes, beside those that are GIVEN."""
    given = {socket.inet_pton(socket.AF_INET6, address.split("/")[0]).hex() for address, _ in given if ":" in address}
    with namespace.entered(), open("/proc/thread-self/net/if_inet6", encoding="ascii") as table:
        for address, _, _, scope, flags, link in map(str.split, table):
            if (link, scope) == ("eth0", _SCOPE_LINK) and address not in given and not int(flags, 16) & _TENTATIVE:
                return True
    return False


def forwards(namespace, bridge):
    """Whether every port of BRIDGE does."""
    links = json.loads(subprocess.run(["bridge", "-n", namespace.name, "-j", "link"], capture_output=True, check=True).stdout)
    ports = [link for link in links if link.get("master") == bridge]
    return len(ports) > 0 and all(port["state"] == "forwarding" for port in ports)


class Topology:
    """The five namespaces, linked and addressed. `build_seconds` says how long that took."""

    def __init__(self):
        begun = time.monotonic()
        self.router = Namespace("router")
        hosts = {name: Namespace(name) for name in _HOSTS}
        self.client, self.lan, self.server, self.internet = (hosts[name] for name in ("client", "lan", "server", "internet"))
        for namespace in (self.router, *hosts.values()):
            namespace.sysctl(
                **{
                    # Without these no IPv6 for the first second: duplicate address detection, then router solicitation.
                    "net/ipv6/conf/all/accept_dad": 0,
                    "net/ipv6/conf/default/accept_dad": 0,
                    "net/ipv6/conf/default/accept_ra": 0,
                    "net/ipv6/conf/default/router_solicitations": 0,
                    # Errors and their answers are what tests look at: not thinned out.
                    "net/ipv4/icmp_ratelimit": 0,
                    "net/ipv6/icmp/ratelimit": 0,
                }
            )
        for namespace in (self.router, self.server):
            namespace.sysctl(**{"net/ipv4/ip_forward": 1, "net/ipv6/conf/all/forwarding": 1})
        batch(self.router, _ROUTER)
        for name, namespace in hosts.items():
            batch(namespace, self._host(name))
            self._remember_neighbours(namespace, "eth0")
        self._remember_neighbours(self.router, "br0", "server0", "internet0")
        self._settle(hosts)
        self.client.isolate_mounts(self._client_mounts)
        self.build_seconds = time.monotonic() - begun

    @staticmethod
    def _host(name):
        addresses = _HOSTS[name]
        yield "link set lo up"
        yield "link set eth0 up"
        for address, _ in addresses:
            yield f"address add {address} dev eth0"
        for address, gateway in addresses:
            if gateway:
                yield f"route add default via {gateway}"

    @staticmethod
    def _remember_neighbours(namespace, *links):
        """Who answered once is asked no more: a packet that waits for that leaves some time later, whatever a gate lets by then."""
        for link, family in itertools.product(links, ("ipv4", "ipv6")):
            namespace.sysctl(**{f"net/{family}/neigh/{link}/base_reachable_time_ms": 3600000})

    def _settle(self, hosts):
        """Returns once all that follows from links that are up has followed. A worker of the kernel's sees to that some time later: the
        bridge's ports forward, and every link gets an address of its own. Packets, and tests, that come before would be at its mercy."""
        deadline = process.deadline_in()
        while not (all(_has_own_address(host, _HOSTS[name]) for name, host in hosts.items()) and forwards(self.router, "br0")):
            process.remaining(deadline, "the links of the lab are not ready")

    @staticmethod
    def _client_mounts():
        kernel.mount("tmpfs", "/run/wireguard", "tmpfs")  # the server's control sockets are not the client's
        isolation.cover_etc("client")
        with open("/etc/resolv.conf.new", "w") as file:
            file.write(f"nameserver {LAN4}\n")
        os.rename("/etc/resolv.conf.new", "/etc/resolv.conf")
