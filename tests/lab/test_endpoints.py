# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers in odd places: on ports of DNS, on the LAN, at an address of the host's own, two tunnels' at once."""

from lab import topology
from lab.daemon import WAIT_LONG
from lab.leaks import SERVER, Endpoint
from lab.wireguard import SECOND, Key


def document(server, address, **members):
    return server.document(endpoints=[address], **members)


def up(lab, daemon, server, endpoint):
    """The tunnel `home` to SERVER at ENDPOINT comes up and carries, and nothing but its worker's messages leaves."""
    daemon.add_tunnel(document(server, f"{endpoint.address}:{endpoint.port}/udp"))
    daemon.api.start()
    lab.ping(server.inside.server4)
    lab.leaks.closed([endpoint])
    daemon.api.stop()
    daemon.api.delete("/tunnels/home")


def test_on_ports_of_dns(lab):
    """a server on port 53 or 853 is its worker's alone: nobody else asks anything there"""
    lab.leaks.prove()
    daemon = lab.daemon()
    for port, name, inside in ((53, "wgs", None), (853, "wgs2", SECOND)):
        server = lab.server(port=port, name=name, **({"inside": inside} if inside else {}))
        up(lab, daemon, server, Endpoint(port=port))


def test_on_the_lan(lab):
    """a server on the LAN is reached while `lan` is blocked, by its worker alone"""
    lab.leaks.prove()
    server = lab.server(namespace=lab.net.lan)
    daemon = lab.daemon()
    up(lab, daemon, server, Endpoint(topology.LAN4))


def test_of_the_host(lab):
    """a server at an address of the host's own, or on loopback, opens nothing"""
    lab.leaks.prove()
    server = lab.server(port=51999)
    daemon = lab.daemon()
    daemon.policy(WAIT_LONG)
    for address in (topology.CLIENT4, "127.0.0.1"):
        daemon.add_tunnel(document(server, f"{address}:51820/udp"))
        watch = daemon.api.watch()
        daemon.api.start(wait=None)
        watch.wait(kind="connecting")
        lab.leaks.closed()
        daemon.api.stop()
        daemon.api.delete("/tunnels/home")


def test_of_nobody(lab):
    """an endpoint that can be no host's is refused by name"""
    daemon = lab.daemon()
    server = lab.server()
    for address in ("224.0.0.1", "255.255.255.255", "0.0.0.0", "[::]", "[ff02::1]", "[fe80::1%eth0]", "[::ffff:203.0.113.2]"):
        answer = daemon.api.call("POST", "/tunnels", document(server, f"{address}:51820/udp"))
        assert answer.status == 400, (address, answer)
        assert [error["pointer"] for error in answer.body["errors"]] == ["/endpoints/0/address"], answer.body
        assert not daemon.api.status()["tunnels"]


def test_of_two_tunnels(lab):
    """two tunnels of one server: the end of either takes nothing from the other"""
    daemon, server = lab.guarded(WAIT_LONG)
    other = document(server, f"{topology.SERVER4}:51820/udp", tunnel="office", routes=["198.51.100.0/24"])
    other["settings"] |= {"privateKey": Key.new().private, "addresses": [f"{SECOND.client4}/32"]}
    daemon.add_tunnel(other)
    watch = daemon.api.watch()
    daemon.api.start("office", wait=None)
    watch.wait(kind="connecting", tunnel="office")
    lab.ping(topology.INNER_SERVER4)
    lab.leaks.closed([SERVER])
    daemon.api.stop("office")
    lab.ping(topology.INTERNET4)
    lab.leaks.closed([SERVER])
