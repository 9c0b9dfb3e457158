# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VPN server that means harm: what it pushes, says or does not say. Each row is judged alike: how the tunnel ends up, that the host is
as it was before, and that nothing left."""

import os
import select
import socket
import struct
import threading
from dataclasses import dataclass

from lab import topology
from lab.daemon import TERMINATE
from lab.leaks import OPENVPN
from lab.openvpn import PORT

LINK = "hf-home"


def host(lab):
    """The client's addresses and rules, and the routes of its own tables, without what is the tunnel's."""
    found = []
    for words in (["address", "show", "dev", "eth0"], ["-o", "link", "show"], ["route", "show", "table", "main"], ["route", "show", "table", "local"],
                  ["-6", "route", "show", "table", "main"], ["rule", "show"]):  # fmt: skip
        found += [line.strip() for line in lab.ip(*words).stdout.splitlines() if LINK not in line and "valid_lft" not in line]
    with open("/proc/sys/net/ipv4/ip_forward") as file:
        found.append(file.read())
    return found + [lab.run(["cat", "/etc/resolv.conf"]).stdout]


@dataclass(frozen=True)
class Pushed:
    what: str
    lines: tuple
    error: str = ""  # how the attempt ends; "": the tunnel is up all the same
    addresses: bool = True


SHELL = "$(touch${IFS}/run/lab/ran);`touch /run/lab/ran`|touch /run/lab/ran"
PUSHED = [
    Pushed("routes to the host itself, to the server, to the LAN, to everything", tuple(
        f"route {network}" for network in ("127.0.0.0 255.0.0.0", f"{topology.SERVER4} 255.255.255.255", "10.1.0.0 255.255.255.0",
                                           f"{topology.GATEWAY4} 255.255.255.255 {topology.INNER_SERVER4}", "0.0.0.0 0.0.0.0")
    ) + ("route-ipv6 ::/0", "route-ipv6 fd01::/64", "route-metric 0", "route-gateway 10.1.0.1")),
    Pushed("redirect-gateway in every flavour", tuple(f"redirect-gateway {flags}".strip() for flags in (
        "", "local", "autolocal", "def1", "bypass-dhcp", "bypass-dns", "block-local", "ipv6 !ipv4", "local def1 bypass-dhcp block-local")
    ) + ("redirect-private def1", "block-ipv6", "block-outside-dns")),
    Pushed("six hundred routes", tuple(f"route 172.{16 + index // 256}.{index % 256}.0 255.255.255.0" for index in range(600))),
    Pushed("words for a shell", (
        f'dhcp-option DOMAIN "{SHELL}"', f'dhcp-option ADAPTER_DOMAIN_SUFFIX "{SHELL}"', f'dhcp-option WINS "{SHELL}"',
        f'setenv-safe foreign_option_1 "{SHELL}"', f'setenv-safe ifconfig_local "{SHELL}"', f'echo "{SHELL}"', f'x-unknown "{SHELL}"')),
    Pushed("a resolver that is a shell's words", (f'dhcp-option DNS "{SHELL}"',), "ipConfigurationInvalid"),
    Pushed("options that are none of a server's", (
        "up /bin/sh", "plugin /run/lab/evil.so", "script-security 3", "management 127.0.0.1 7505", "dev eth0", "log /run/lab/ran",
        "writepid /run/lab/ran", "iproute /bin/sh", "cd /run/lab", "chroot /run/lab", "user root", "config /etc/passwd", "ca /etc/passwd",
        "remote 198.51.100.2 1194", "pull-filter accept route", "http-proxy 198.51.100.2 3128", "ifconfig-noexec", "verb 11")),
    Pushed("an MTU of 0", ("tun-mtu 0",)),
    Pushed("an MTU of 65536", ("tun-mtu 65536",)),
    Pushed("an MTU that is none", ("tun-mtu lots",)),
    Pushed("an address of the host's own", (f"ifconfig {topology.CLIENT4} 255.255.255.0",), "ipConfigurationInvalid", addresses=False),
    Pushed("the address of the host's router", (f"ifconfig {topology.GATEWAY4} 255.255.255.0",), "ipConfigurationInvalid", addresses=False),
    Pushed("an IPv6 address of the host's own", (
        f"ifconfig {topology.INNER_CLIENT4} 255.255.255.0", f"ifconfig-ipv6 {topology.CLIENT6}/64 {topology.CLIENT6}"),
        "ipConfigurationInvalid", addresses=False),
    Pushed("a loopback network", ("ifconfig 127.0.0.9 255.0.0.0",), "ipConfigurationInvalid", addresses=False),
    Pushed("a multicast address", ("ifconfig 224.0.0.9 240.0.0.0",), "ipConfigurationInvalid", addresses=False),
    Pushed("an address that is none", ('ifconfig "10.9.0.2/0" 0.0.0.0',), "ipConfigurationInvalid", addresses=False),
    Pushed("the LAN's resolver, and a hundred more", (
        f"dhcp-option DNS {topology.LAN4}", *(f"dhcp-option DNS 10.9.7.{index}" for index in range(1, 100)))),
    Pushed("the server as resolver", (f"dhcp-option DNS {topology.SERVER4}",), "ipConfigurationInvalid"),
    Pushed("no encryption", ("cipher none", "auth none")),
    Pushed("compression, by which others guess what is inside", ("compress lzo", "comp-lzo yes"), "ipConfigurationInvalid"),
    Pushed("long lines", tuple(f"echo {'x' * 230}" for _ in range(40))),
]  # fmt: skip


def judge_pushed(lab, row):
    lab.leaks.prove()
    server = lab.openvpn_server(addresses=row.addresses, extra=[f"push '{line}'" for line in row.lines])
    daemon = lab.daemon()
    daemon.policy(TERMINATE)
    daemon.add_tunnel(server.document())
    daemon.api.mode("always")
    before = host(lab)
    watch = daemon.api.watch()
    lab.leaks.begin()
    generator = lab.generator()
    daemon.api.start(wait=None)
    seen = watch.wait(lambda event: event["kind"] == "willStop" or event.get("new") == "connected")
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([OPENVPN])
    assert seen.get("error", "") == row.error, (seen, daemon.process.log()[-3000:])
    if not row.error:
        lab.ping(topology.INTERNET4)
        lab.leaks.closed([OPENVPN])
    assert not os.path.exists("/run/lab/ran")
    daemon.api.stop()
    assert lab.ip("link", "show", LINK, check=False).returncode != 0
    after = host(lab)
    assert after == before, [line for line in before + after if (line in before) != (line in after)]


def _make_test(row):
    def test(lab):
        judge_pushed(lab, row)

    test.__doc__ = f"a server pushes {row.what}: {row.error or 'none of it is taken'}"
    test.__name__ = "test_pushed_" + "_".join("".join(letter if letter.isalnum() else " " for letter in row.what).split()).lower()
    return test


for _row in PUSHED:
    _test = _make_test(_row)
    globals()[_test.__name__] = _test
del _test


class RudeServer:
    """At the server's address and port, and says what SAY does to whoever comes: over TCP once for each connection, over UDP for each packet."""

    def __init__(self, lab, say, tcp):
        self.say, self.tcp, self.seen = say, tcp, 0
        with lab.net.server.entered():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((topology.SERVER4, PORT))
        if tcp:
            self.socket.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                if self.tcp:
                    connection, _ = self.socket.accept()
                    self.seen += 1
                    self.say(connection)
                else:
                    data, client = self.socket.recvfrom(2048)
                    self.seen += 1
                    self.say(self.socket, data, client)
            except OSError:
                if self.socket.fileno() < 0:
                    return


def reset(connection):
    connection.recv(100)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def flood(connection):
    """A stream that is framed as OpenVPN's is, and rubbish inside, as long as anybody reads."""
    packet = struct.pack("!H", 1200) + b"\x40" + os.urandom(1199)
    while select.select([], [connection], [], 5)[1]:
        connection.sendall(packet * 50)


KEPT = []  # connections that are held open, and nothing is said


def answer_with_rubbish(sock, data, client):
    for _ in range(2000):
        sock.sendto(bytes([8 << 3]) + os.urandom(60), client)


RUDE = [
    ("resets in the middle of the handshake", reset, True, ("connectionCouldNotBeEstablished",)),
    ("says nothing on an open connection", KEPT.append, True, ("connectionCouldNotBeEstablished", "tlsFailure")),
    ("sends a frame that is too long", lambda connection: connection.sendall(b"\xff\xff" + b"x" * 70000), True, ("connectionCouldNotBeEstablished",)),
    ("speaks another protocol", lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), True, ("connectionCouldNotBeEstablished",)),
    ("floods its stream", flood, True, ("connectionCouldNotBeEstablished", "tlsFailure")),
    ("answers each packet with two thousand of rubbish", answer_with_rubbish, False, ("connectionCouldNotBeEstablished", "tlsFailure")),
]  # fmt: skip


def judge_rude(lab, say, tcp, errors):
    lab.leaks.prove()
    server = lab.openvpn_server(protocol="tcp-server" if tcp else "udp")
    server.kill()
    rude = RudeServer(lab, say, tcp)
    daemon = lab.daemon()
    daemon.policy(TERMINATE)
    daemon.add_tunnel(server.document())
    daemon.api.mode("always")
    watch = daemon.api.watch()
    lab.leaks.begin()
    generator = lab.generator()
    daemon.api.start(wait=None)
    stop = watch.wait(kind="willStop")
    watch.wait_state("failed")
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([OPENVPN])
    assert rude.seen and stop["error"] in errors, (rude.seen, stop)
    assert daemon.process.alive() and daemon.gate() == "closed"


def _make_rude_test(what, say, tcp, errors):
    def test(lab):
        judge_rude(lab, say, tcp, errors)

    test.__doc__ = f"a server that {what} is a stop with an error, and nothing leaves"
    test.__name__ = "test_rude_" + "_".join(what.split()).lower()
    return test


for _row in RUDE:
    _test = _make_rude_test(*_row)
    globals()[_test.__name__] = _test
del _test
