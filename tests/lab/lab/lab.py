# SPDX-License-Identifier: LGPL-2.1-or-later
"""One lab: the network, a capture on the far side of the uplink, traffic to offer, and what a test wants to run in it."""

import os
import shutil
import socket
import struct
import subprocess
import time

from . import isolation, topology
from .bus import Bus
from .capture import Capture
from .daemon import RESTART_AT_ONCE, Daemon
from .leaks import LeakCheck
from .openvpn import OpenVpnServer
from .process import PATIENCE
from .topology import Topology
from .traffic import KINDS, Flood, Generator, Offering
from .wireguard import Server, SilentServer

isolation.require()


_TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
_TOOLS = os.path.abspath(os.environ.get("HOLDFAST_TOOLS", f"{_TOP}/build/tools"))


class Lab:
    """Built anew for every test, in namespaces that end with it. FOLDER keeps logs and captures, BUILD has the programs."""

    def __init__(self, folder, build):
        self.folder, self.build = folder, build
        self.net = Topology()
        self.capture = Capture(self.net.router, topology.FAR_SIDE, self.net.client)
        self.offering = Offering(self.net)
        self.leaks = LeakCheck(self.capture, self.offering)
        self.notes = []  # what a test measured: printed beneath its line
        self.daemons = []
        self.silent = []

    # Programs

    def program(self, name):
        """The path of one of Holdfast's programs."""
        return os.path.join(self.build, name)

    def tool(self, path):
        """The path of what ./check unpacked for tests to use."""
        return os.path.join(_TOOLS, path)

    def nft(self, *arguments, check=True, namespace=None):
        """nft(8) in the client's namespace."""
        return self.run(["nft", *arguments], namespace, check)

    def ip(self, *arguments, check=True, namespace=None):
        """ip(8) in the client's namespace."""
        return self.run(["ip", *arguments], namespace, check)

    def run(self, command, namespace=None, check=True, timeout=PATIENCE, **options):
        """Runs COMMAND to its end in NAMESPACE (the client's)."""
        done = subprocess.run(
            command, text=True, capture_output=True, timeout=timeout, preexec_fn=(namespace or self.net.client).join, **options
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip() or done.returncode}")
        return done

    # What runs in a lab

    def server(self, **options):
        """A WireGuard server that answers."""
        return Server(self, **options)

    def openvpn_server(self, **options):
        """An OpenVPN server that answers."""
        return OpenVpnServer(self, **options)

    def silent_server(self, **options):
        """A server that takes everything and answers nothing."""
        self.silent.append(SilentServer(self, **options))
        return self.silent[-1]

    def bus(self, **options):
        """A private system bus."""
        return Bus(self, **options)

    def daemon(self, start=True, **options):
        """The daemon, ready."""
        daemon = Daemon(self, **options)
        self.daemons.append(daemon)
        return daemon.start() if start else daemon

    def guarded(self, policy=RESTART_AT_ONCE, **options):
        """The usual beginning: a proven capture, a server, a daemon, the tunnel `home`, connected."""
        self.leaks.prove()
        return self.guarded_unproven(policy, **options)

    def guarded_unproven(self, policy=RESTART_AT_ONCE, mode="auto", connect=True, endpoints=None, as_unit=False, **members):
        """The same where something stands in the way of a control already: that is the test's own, then. AS_UNIT: the daemon has what
        the unit leaves it."""
        server = self.server()
        daemon = self.daemon(start=False)
        if as_unit:
            daemon.take_the_units_capabilities()
        daemon.start()
        daemon.policy(policy)
        daemon.add_tunnel(server.document(endpoints=endpoints, **members))
        if mode != "auto":
            daemon.api.mode(mode)
        if connect:
            daemon.api.start()
            assert daemon.api.tunnel()["state"] == "connected", daemon.api.status()
        return daemon, server

    def generator(self, kinds=KINDS):
        """A process that offers traffic all the time."""
        return Generator(self.offering, kinds, [silent.socket for silent in self.silent])

    def flood(self, address=topology.INNER_SERVER4, namespace=None):
        """A process that pings ADDRESS all the time and counts what is lost."""
        return Flood(namespace or self.net.client, address)

    def note(self, text):
        self.notes.append(text)

    # Asking the network

    def ping(self, address, namespace=None, timeout=PATIENCE, every=0.005):
        """Pings ADDRESS every EVERY seconds until the first answer; returns the seconds until then, raises TimeoutError."""
        six = ":" in address
        with (namespace or self.net.client).entered():
            protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
            sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, protocol)
        begun = time.monotonic()
        identifier = os.getpid() & 0xFFFF
        with sock:
            sock.settimeout(every)
            sequence = 0
            while time.monotonic() - begun < timeout:
                sequence += 1
                try:
                    sock.sendto(echo_request(identifier, sequence, six), (address, 0))
                except OSError:
                    pass  # no route, no link, a closed gate: not yet
                next_one = time.monotonic() + every  # counted from here: where sending is slow, answers are still looked for
                while (left := next_one - time.monotonic()) > 0:
                    sock.settimeout(left)
                    try:
                        data = sock.recv(2048)
                    except OSError:
                        break
                    header = 0 if six else (data[0] & 15) * 4
                    kind, _, _, answered, _ = struct.unpack_from("!BBHHH", data, header)
                    if kind == (129 if six else 0) and answered == identifier:
                        return time.monotonic() - begun
        raise TimeoutError(f"{address} did not answer in {timeout} s")

    def connect(self, address, port, namespace=None, listener=None, timeout=PATIENCE):
        """A TCP connection from the client to a listener made on the spot in LISTENER (the internet); both of its ends."""
        with (listener or self.net.internet).entered():
            server = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        with server:
            with (namespace or self.net.client).entered():
                near = socket.create_connection((address, port), timeout=timeout)
            far, _ = server.accept()
        far.settimeout(timeout)
        return near, far

    def close(self):
        """Says what went wrong unnoticed: a daemon that crashed fails the test that thought it passed."""
        for daemon in self.daemons:
            crash = daemon.crashed()
            if crash:
                raise AssertionError(f"{daemon.name} crashed: {crash}")

    def keep(self):
        """Saves what helps to understand a failure."""
        self.capture.save(f"{self.folder}/uplink.pcap")
        for name, command in (
            ("nft", ["nft", "list", "ruleset"]),
            ("rules", ["ip", "rule"]),
            ("rules6", ["ip", "-6", "rule"]),
            ("routes", ["ip", "route", "show", "table", "all"]),
            ("routes6", ["ip", "-6", "route", "show", "table", "all"]),
            ("links", ["ip", "-d", "address"]),
        ):
            with open(f"{self.folder}/client-{name}.txt", "w") as file:
                file.write(self.run(command, check=False).stdout)
        for daemon in self.daemons:
            if os.path.isdir(daemon.state_dir):
                shutil.copytree(daemon.state_dir, f"{self.folder}/{daemon.name}-state", dirs_exist_ok=True)


def echo_request(identifier, sequence, six=False):
    """An ICMP (ICMPv6) echo request; the kernel completes the checksum of the latter."""
    if six:
        return struct.pack("!BBHHH", 128, 0, 0, identifier, sequence)
    total = 0x0800 + identifier + sequence
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!BBHHH", 8, 0, ~(total + (total >> 16)) & 0xFFFF, identifier, sequence)
