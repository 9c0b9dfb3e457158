# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other managers of the firewall, started, reloaded and stopped before, after and during: nothing leaves, and what is theirs stays."""

import contextlib
import os
import signal
import time

from lab import process, topology
from lab.bridge import Bridge
from lab.bus import Bus
from lab.docker import Docker
from lab.granted import Flow, Maker
from lab.leaks import SERVER, of_the_kernel
from lab.traffic import KINDS
from test_forwarded import is_held, seen_from

KERNEL = [kind for kind in KINDS if kind.route == "kernel"]


class Manager:
    """`kinds`: what it is offered while it starts, reloads and stops. `theirs`: a table of its own. `boxes`: containers that it has."""

    kinds, boxes = KINDS, ()


class Nftables(Manager):
    """nftables.service: its ExecStart and ExecReload load a file that begins with a flush of everybody's rules; ExecStop flushes."""

    kinds = KERNEL  # while the table is away the second layer is all there is

    def __init__(self, lab):
        self.lab = lab
        with open("/run/lab/nftables.conf", "w") as file:
            file.write("flush ruleset\ntable inet site {\n\tchain input {\n\t\ttype filter hook input priority 0; policy accept;\n")
            file.write("\t\tct state established,related accept\n\t}\n\tchain output {\n\t\ttype filter hook output priority 0; policy accept;\n\t}\n}\n")

    def start(self):
        self.lab.nft("-f", "/run/lab/nftables.conf")

    reload = start

    def stop(self):
        self.lab.nft("flush", "ruleset")

    theirs = "inet site"


class Ufw(Manager):
    """Uncomplicated Firewall, as its package brings it: deny what comes in, allow what goes out."""

    theirs = "ip filter"

    def __init__(self, lab):
        self.lab = lab

    def _run(self, *arguments):
        self.lab.run(["ufw", "--force", *arguments])

    def start(self):
        self._run("enable")

    def reload(self):
        self._run("reload")

    def stop(self):
        self._run("disable")


class Firewalld(Manager):
    """The real firewalld with its nftables backend, on a bus of its own."""

    theirs = "inet firewalld"

    def __init__(self, lab, rpfilter="yes"):
        self.lab = lab
        lab.run(["cp", "-r", "/etc/firewalld", "/run/lab/firewalld"])
        lab.run(["sed", "-i", f"s/^IPv6_rpfilter=.*/IPv6_rpfilter={rpfilter}/", "/run/lab/firewalld/firewalld.conf"])
        self.environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": Bus(lab).address}
        self.process = None

    def _ask(self, *arguments):
        return self.lab.run(["env", f"DBUS_SYSTEM_BUS_ADDRESS={self.environment['DBUS_SYSTEM_BUS_ADDRESS']}", "firewall-cmd", *arguments], check=False)

    def start(self):
        command = ["firewalld", "--nofork", "--nopid", "--log-target=console", "--system-config=/run/lab/firewalld"]
        self.process = process.Process(self.lab, "firewalld", command, self.lab.net.client, environment=self.environment)
        deadline = process.deadline_in()
        while self._ask("--state").returncode != 0:
            process.remaining(deadline, self.process.log()[-2000:])
            assert self.process.alive(), self.process.log()[-2000:]

    def reload(self):
        done = self._ask("--reload")
        assert done.returncode == 0, done

    def stop(self):
        self.process.send(signal.SIGTERM)
        self.process.wait()


class DockerEngine(Docker, Manager):
    """The real dockerd, with a container behind docker0."""

    theirs = "ip nat"


def whole(lab, daemon, manager):
    """The gate stands again, whole; then one round of everything."""
    deadline = process.deadline_in()
    while daemon.table() is None or daemon.api.status()["protection"] != "protected":
        assert time.monotonic() < deadline, daemon.api.status()
    lab.leaks.closed([SERVER])
    lab.ping(topology.INTERNET4)
    lab.ping(topology.INTERNET6)
    seen_as(lab, manager, topology.INNER_CLIENT4)


def seen_as(lab, manager, address):
    """Whom the internet sees where a container connects."""
    for box in manager.boxes:
        assert (seen := seen_from(lab, box, topology.INTERNET4)) == address, seen


def theirs(lab, manager):
    return lab.nft("-s", "list", "table", *manager.theirs.split()).stdout


@contextlib.contextmanager
def busy(lab, manager):
    """Offers traffic all the time, of the host's and of its containers'; nothing of it may leave."""
    lab.leaks.begin()
    floods = [lab.flood(topology.INTERNET4, box) for box in manager.boxes]
    generator = lab.generator(manager.kinds)  # last: it goes on while another process holds what ends it
    yield
    lab.leaks.offered(generator.stop())
    assert all(flood.stop(0)[0] for flood in floods)
    lab.leaks.verdict([SERVER], of_the_kernel)


def steps(lab, daemon, manager, *names):
    """Does them while traffic is offered, then looks."""
    for name in names:
        with busy(lab, manager):
            getattr(manager, name)()
        whole(lab, daemon, manager)


def before(lab, kind):
    manager = kind(lab)
    Bridge(lab, "virbr0", 18)
    lab.leaks.prove()
    manager.start()
    seen_as(lab, manager, topology.CLIENT4)  # the control
    mine = theirs(lab, manager)
    daemon, _ = lab.guarded_unproven()
    whole(lab, daemon, manager)
    assert theirs(lab, manager) == mine, "what is theirs was changed"
    steps(lab, daemon, manager, "reload", "stop")


def after(lab, kind):
    manager = kind(lab)
    Bridge(lab, "virbr0", 18)
    daemon, _ = lab.guarded()
    steps(lab, daemon, manager, "start", "reload")
    mine = theirs(lab, manager)
    daemon.api.stop()
    assert daemon.table() is None and theirs(lab, manager) == mine, "what is theirs was changed"
    seen_as(lab, manager, topology.CLIENT4)  # the control
    daemon.api.start()
    steps(lab, daemon, manager, "stop")


def during(lab, kind):
    """The manager comes, reloads and goes while the tunnel is being started and restarted in place."""
    manager = kind(lab)
    Bridge(lab, "virbr0", 18)
    lab.leaks.prove()
    daemon, _ = lab.guarded_unproven(connect=False)
    daemon.api.mode("always")
    for name in ("start", "reload", "stop"):
        with busy(lab, manager):
            daemon.api.start(wait=None)
            getattr(manager, name)()
            daemon.wait_connected()
            daemon.api.post("/tunnels/home/restart")
            if name == "start":
                manager.reload()
            daemon.wait_connected()
            daemon.api.stop()
    assert all(is_held(lab, box, topology.INTERNET4) for box in manager.boxes)
    daemon.api.start()
    whole(lab, daemon, manager)


def test_nftables_before(lab):
    """nftables.service (`flush ruleset`) started before Holdfast"""
    before(lab, Nftables)


def test_nftables_after(lab):
    """nftables.service started, reloaded and stopped while a tunnel is up: what the kernel chooses never leaves, the rest not once it is healed"""
    after(lab, Nftables)


def test_nftables_during(lab):
    """nftables.service started, reloaded and stopped while tunnels start and restart"""
    during(lab, Nftables)


def test_ufw_before(lab):
    """ufw enabled before Holdfast, reloaded and disabled after"""
    before(lab, Ufw)


def test_ufw_after(lab):
    """ufw enabled, reloaded and disabled while a tunnel is up: nothing leaves at any time"""
    after(lab, Ufw)


def test_ufw_during(lab):
    """ufw enabled, reloaded and disabled while tunnels start and restart: nothing leaves at any time"""
    during(lab, Ufw)


def test_docker_before(lab):
    """Docker started before Holdfast, restarted and stopped after: its container reaches the outside only through the tunnel"""
    before(lab, DockerEngine)


def test_docker_after(lab):
    """Docker started, restarted and stopped while a tunnel is up: its container reaches the outside only through that"""
    after(lab, DockerEngine)


def test_docker_during(lab):
    """Docker started, restarted and stopped while tunnels start and restart: nothing leaves at any time, its container's neither"""
    during(lab, DockerEngine)


def test_firewalld_before(lab):
    """firewalld started before Holdfast, reloaded and stopped after"""
    before(lab, Firewalld)


def test_firewalld_after(lab):
    """firewalld started, reloaded and stopped while a tunnel is up: nothing leaves at any time"""
    after(lab, Firewalld)


def test_firewalld_during(lab):
    """firewalld started, reloaded and stopped while tunnels start and restart: nothing leaves at any time"""
    during(lab, Firewalld)


def test_firewalld_and_grants(lab):
    """what is granted goes on while firewalld comes, reloads and goes; over IPv6 where its IPv6_rpfilter is off, as docs/security.md says"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    daemon.api.post("/bypass", {"slice": "torrent.slice"})
    hosts = ((topology.INTERNET4, topology.CLIENT4), (topology.INTERNET6, topology.CLIENT6))
    manager, flows = Firewalld(lab, rpfilter="no"), [(Flow(lab, maker.socket, host), source) for host, source in hosts]
    for port, name in enumerate(("start", "reload", "stop"), 4401):
        getattr(manager, name)()
        for flow, source in flows:
            assert flow.carries() == (source, source), (name, flow.seen)
        for host, source in hosts:
            fresh = Flow(lab, maker.socket, host, port)
            assert fresh.carries() == (source, source), (name, fresh.seen)
            fresh.close()
    maker.close()


def test_firewalld_checks_ipv6_sources(lab):
    """with IPv6_rpfilter firewalld has the rule that docs/security.md warns of; IPv4 goes on, and so does IPv6 once it is gone"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    daemon.api.post("/bypass", {"slice": "torrent.slice"})
    manager = Firewalld(lab)
    flow = Flow(lab, maker.socket, topology.INTERNET4)
    manager.start()
    assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
    rule = next(line.strip() for line in theirs(lab, manager).splitlines() if "fib saddr . mark . iif oif missing" in line)
    assert rule.startswith("meta nfproto ipv6") and rule.endswith("drop"), rule
    lab.ping(topology.INTERNET6)
    manager.stop()
    flow.close()
    fresh = Flow(lab, maker.socket, topology.INTERNET6, 4401)
    assert fresh.carries() == (topology.CLIENT6, topology.CLIENT6)
    fresh.close()
    maker.close()
    lab.leaks.closed([SERVER])
