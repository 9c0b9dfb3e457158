# SPDX-License-Identifier: LGPL-2.1-or-later
"""Granted domains: resolved outside the tunnel, and only what they were resolved to is open."""

import contextlib
import os
import re
import signal
import socket
import sys

from lab import process, topology
from lab.granted import Flow, is_cut
from lab.leaks import SERVER
from lab.names import NameServer
from test_grants import grants, ordinary, settings, stays_inside

OUTSIDE = "198.51.100.77"  # a second address of the internet's host: granted through its name
NAMES_OUTSIDE = {"example.com": [OUTSIDE], "www.example.com": [OUTSIDE, topology.INTERNET6], "other.org": ["198.51.100.66"]}
RESOLVER = f"{int.from_bytes(socket.inet_aton('127.104.102.53'), sys.byteorder):08X}:0035"  # as proc(5) writes address and port
LISTENS = "0A"
A = 1  # of a question: RFC 1035, 3.2.2
NAMES_INSIDE = {"example.com": ["198.51.100.55"], "other.org": [topology.INTERNET4]}


def begin(lab, **members):
    """A tunnel with a resolver of its own behind it, another on the LAN, and the domain example.com granted."""
    lab.ip("address", "add", f"{OUTSIDE}/24", "dev", "eth0", namespace=lab.net.internet)
    daemon, _ = lab.guarded(connect=False, dns=[topology.INNER_SERVER4], **members)
    outside = NameServer(lab, NAMES_OUTSIDE)
    daemon.api.patch("/kill-switch", {"bypass": {"domains": ["example.com"]}, "dns": {"bypass": [topology.LAN4]}})
    daemon.api.start()
    inside = NameServer(lab, NAMES_INSIDE, topology.INNER_SERVER4, lab.net.server)
    wait_resolver(lab, daemon)
    return daemon, outside, inside


def wait_resolver(lab, daemon):
    """Returns once dnsmasq listens. Nobody connects: it makes a process for each connection, which a test would take for another one."""
    deadline = process.deadline_in()
    while True:
        with lab.net.client.entered(), open("/proc/thread-self/net/tcp", encoding="ascii") as table:
            if any(line.split()[1:4:2] == [RESOLVER, LISTENS] for line in table):
                return
        process.remaining(deadline, f"no resolver: {grants(daemon)}\n{daemon.process.log()[-2000:]}")


def resolve(lab, name):
    """What the host's own resolver finds for NAME."""
    done = lab.run(["getent", "-s", "dns", "ahosts", name], check=False)
    return sorted({line.split()[0] for line in done.stdout.splitlines()})


def asked(server):
    """Names alone: the health probe asks for the root."""
    return {name for name, _ in server.asked} - {""}


def test_domain(lab):
    """a granted name and those under it are resolved outside, only their addresses are open, and all else goes inside"""
    daemon, outside, inside = begin(lab)
    assert grants(daemon, type="domain", name="example.com", inEffect=True), grants(daemon)
    assert is_inside(lab), "it was open before it was resolved"
    assert resolve(lab, "www.example.com") == sorted([OUTSIDE, topology.INTERNET6])
    assert resolve(lab, "example.com") == [OUTSIDE]
    assert resolve(lab, "other.org") == [topology.INTERNET4]
    assert asked(outside) >= {"www.example.com", "example.com"} and "other.org" not in asked(outside), outside.asked
    assert asked(inside) == {"other.org"}, inside.asked
    flows = [Flow(lab, ordinary(lab), OUTSIDE), Flow(lab, ordinary(lab), topology.INTERNET6)]
    assert [flow.carries()[0] for flow in flows] == [topology.CLIENT4, topology.CLIENT6]
    stays_inside(lab)
    settings(daemon, domains=[])
    assert all(is_cut(lab, flow) for flow in flows), "what was resolved is still open"
    assert resolve(lab, "other.org") == [topology.INTERNET4]
    assert not process.running("dnsmasq")
    lab.leaks.closed([SERVER])
    outside.close()
    inside.close()


def test_domain_lives_while_it_is_used(lab):
    """nothing is kept: a name is asked for each time, and an address that is used stays open, for an hour from then on"""
    daemon, outside, inside = begin(lab)
    outside.lasts = 3600  # as long as a cache might keep it
    for _ in range(2):
        outside.asked.clear()
        assert resolve(lab, "example.com") == [OUTSIDE]
        assert ("example.com", A) in outside.asked, "it was answered from a cache"
    flow = Flow(lab, ordinary(lab), OUTSIDE)
    lab.nft(f"delete element inet holdfast names4 {{ {OUTSIDE} }}; add element inet holdfast names4 {{ {OUTSIDE} timeout 1h expires 10m }}")
    assert expires(lab) <= 10 * 60
    assert flow.carries()[0] == topology.CLIENT4
    assert expires(lab) > 10 * 60, "what is used ends all the same"
    outside.close()
    inside.close()


def test_domain_is_asked_of(lab):
    """granted names are asked of `dns.bypass`, and where it is empty of the uplink's resolvers"""
    daemon, outside, inside = begin(lab)
    farther = NameServer(lab, {"example.com": ["198.51.100.88"]}, topology.INTERNET4, lab.net.internet)
    for servers, found in (([topology.INTERNET4], "198.51.100.88"), ([], OUTSIDE)):
        daemon.api.patch("/kill-switch", {"dns": {"bypass": servers}})
        wait_resolver(lab, daemon)
        assert resolve(lab, "example.com") == [found], servers
    assert "example.com" not in asked(inside)
    for server in (farther, outside, inside):
        server.close()


def expires(lab):
    """The seconds that are left to the addresses of names."""
    found = re.search(r"expires (?:(\d+)h)?(?:(\d+)m)?(?!s)(?:(\d+)s)?", lab.nft("list", "set", "inet", "holdfast", "names4").stdout)
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def is_inside(lab):
    flow = Flow(lab, ordinary(lab), OUTSIDE, 4600)
    source = flow.carries()[0]
    flow.close()
    return source == topology.INNER_CLIENT4


def test_domain_at_run_time(lab):
    """a domain granted at run time is resolved outside, and taken back by hand"""
    daemon, outside, inside = begin(lab)
    identifier = daemon.api.post("/bypass", {"domain": "Other.org"})["id"]
    wait_resolver(lab, daemon)
    assert resolve(lab, "other.org") == ["198.51.100.66"]
    assert "198.51.100.66" in daemon.table()
    daemon.api.delete(f"/bypass/{identifier}")
    assert "198.51.100.66" not in daemon.table()
    wait_resolver(lab, daemon)
    assert resolve(lab, "other.org") == [topology.INTERNET4]
    outside.close()
    inside.close()


def capabilities(pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))


def test_domain_resolver_dies(lab):
    """dnsmasq that dies is started again, nothing opens meanwhile, and nobody else may ask its resolvers"""
    daemon, outside, inside = begin(lab)
    for pid in process.running("dnsmasq"):
        deadline = process.deadline_in()
        while capabilities(pid) & ~(1 << 13 | 1 << 10) != 1 << 12:  # once it has given up root: CAP_NET_ADMIN, for the sets
            process.remaining(deadline, f"dnsmasq has {capabilities(pid):x}")
    for pid in process.running("dnsmasq"):
        os.kill(pid, signal.SIGKILL)
        process.wait_gone(pid)
    lab.leaks.closed([SERVER])
    wait_resolver(lab, daemon)
    assert resolve(lab, "www.example.com") == sorted([OUTSIDE, topology.INTERNET6])
    outside.close()
    inside.close()


def test_domain_while_the_daemon_is_dead(lab):
    """with the daemon killed what is granted stays, and no more; the next daemon takes the resolver over"""
    daemon, outside, inside = begin(lab)
    assert resolve(lab, "example.com") == [OUTSIDE]
    flow = Flow(lab, ordinary(lab), OUTSIDE)
    before = process.running("dnsmasq")
    daemon.kill()
    assert flow.carries()[0] == topology.CLIENT4
    assert resolve(lab, "other.org") == [topology.INTERNET4]
    daemon.start()
    daemon.wait_connected()
    wait_resolver(lab, daemon)
    assert process.running("dnsmasq") and process.running("dnsmasq") != before
    assert flow.carries()[0] == topology.CLIENT4
    assert resolve(lab, "example.com") == [OUTSIDE]
    daemon.api.stop()
    assert not process.running("dnsmasq")
    assert re.search(rf"nameserver {re.escape(topology.LAN4)}", lab.run(["cat", "/etc/resolv.conf"]).stdout)
    outside.close()
    inside.close()


def test_domain_tunnel_gone(lab):
    """with the tunnel stopped in mode always nothing leaves, queries included"""
    daemon, outside, inside = begin(lab, mode="always")
    assert resolve(lab, "example.com") == [OUTSIDE]
    daemon.api.stop()
    settings(daemon, domains=[])
    lab.leaks.closed()
    outside.close()
    inside.close()


# What a hostile answer may name: the LAN, the tunnel's own network, what is on every link, many at once, nobody.
HOSTILE = [topology.LAN4, topology.LAN6, topology.INNER_SERVER4, topology.INNER_SERVER6, "169.254.1.1", "172.16.0.1", "192.168.0.1",
           "100.64.0.1", "127.0.0.2", "0.0.0.1", "224.0.0.251", "239.1.2.3", "255.255.255.255", "fe80::9", "ff02::fb", "::ffff:10.1.0.9"]


def offer(lab, addresses, port=4700):
    """Sends a datagram to each of ADDRESSES from an ordinary socket, and one bound to the uplink; which of them left."""
    place = lab.capture.mark()
    for address in addresses:
        for link in (None, b"eth0"):
            with ordinary(lab)(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
                if link:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                with contextlib.suppress(OSError):
                    sock.sendto(b"secret", (address, port))
    return {frame.destination for frame in lab.capture.since(place) if frame.destination_port == port}


def test_domain_hostile_answers(lab):
    """an answer that names what is not public opens nothing: neither the LAN nor the tunnel's network leave by it"""
    daemon, outside, inside = begin(lab)
    outside.names["evil.example.com"] = [*HOSTILE, topology.INTERNET4]
    resolve(lab, "evil.example.com")
    assert topology.INTERNET4 in daemon.table(), "the answer was not taken"
    assert offer(lab, [*HOSTILE, topology.INTERNET4]) == {topology.INTERNET4}
    outside.close()
    inside.close()
