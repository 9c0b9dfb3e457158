# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other managers of the firewall, started, reloaded and stopped before, after and during: nothing leaves, and what is theirs stays.

There is no container engine here: `docker` stands for the rules that Docker 24 writes with iptables-nft (its chains, its masquerade, its
`FORWARD` policy), by a script of ours.
"""

import os
import signal
import time

from lab import process, topology
from lab.bridge import Bridge
from lab.bus import Bus
from lab.granted import Flow, Maker
from lab.leaks import SERVER, of_the_kernel
from lab.traffic import KINDS

KERNEL = [kind for kind in KINDS if kind.route == "kernel"]


class Nftables:
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


class Ufw:
    """Uncomplicated Firewall, as its package brings it: deny what comes in, allow what goes out."""

    kinds = KINDS
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


class Docker:
    """What Docker writes for docker0, and writes anew when it is restarted."""

    kinds = KINDS
    theirs = "ip nat"
    rules = (
        "-t filter -P FORWARD DROP",
        "-t filter -N DOCKER",
        "-t filter -N DOCKER-ISOLATION-STAGE-1",
        "-t filter -N DOCKER-ISOLATION-STAGE-2",
        "-t filter -N DOCKER-USER",
        "-t filter -A FORWARD -j DOCKER-USER",
        "-t filter -A FORWARD -j DOCKER-ISOLATION-STAGE-1",
        "-t filter -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-t filter -A FORWARD -o docker0 -j DOCKER",
        "-t filter -A FORWARD -i docker0 ! -o docker0 -j ACCEPT",
        "-t filter -A FORWARD -i docker0 -o docker0 -j ACCEPT",
        "-t filter -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2",
        "-t filter -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP",
        "-t nat -N DOCKER",
        "-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        "-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
        "-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
    )

    def __init__(self, lab):
        self.lab = lab

    def _run(self, words):
        self.lab.run(["iptables-nft", "-w", *words.split()])

    def start(self):
        for words in self.rules:
            self._run(words)

    def reload(self):
        self.stop()
        self.start()

    def stop(self):
        for table in ("filter", "nat"):
            self._run(f"-t {table} -F")
            self._run(f"-t {table} -X")
        self._run("-t filter -P FORWARD ACCEPT")


class Firewalld:
    """The real firewalld with its nftables backend, on a bus of its own."""

    kinds = KINDS
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


def whole(lab, daemon):
    """The gate stands again, whole; then one round of everything."""
    deadline = process.deadline_in()
    while daemon.table() is None or daemon.api.status()["protection"] != "protected":
        assert time.monotonic() < deadline, daemon.api.status()
    lab.leaks.closed([SERVER])
    lab.ping(topology.INTERNET4)
    lab.ping(topology.INTERNET6)


def theirs(lab, manager):
    return lab.nft("-s", "list", "table", *manager.theirs.split()).stdout


def steps(lab, daemon, manager, *names):
    """Does them while traffic is offered all the time, then looks."""
    for name in names:
        lab.leaks.begin()
        generator = lab.generator(manager.kinds)
        getattr(manager, name)()
        lab.leaks.offered(generator.stop())
        lab.leaks.verdict([SERVER], of_the_kernel)
        whole(lab, daemon)


def before(lab, kind):
    manager = kind(lab)
    Bridge(lab)
    lab.leaks.prove()
    manager.start()
    mine = theirs(lab, manager)
    daemon, _ = lab.guarded_unproven()
    whole(lab, daemon)
    assert theirs(lab, manager) == mine, "what is theirs was changed"
    steps(lab, daemon, manager, "reload", "stop")


def after(lab, kind):
    manager = kind(lab)
    Bridge(lab)
    daemon, _ = lab.guarded()
    steps(lab, daemon, manager, "start", "reload")
    mine = theirs(lab, manager)
    daemon.api.stop()
    assert daemon.table() is None and theirs(lab, manager) == mine, "what is theirs was changed"
    daemon.api.start()
    steps(lab, daemon, manager, "stop")


def during(lab, kind):
    """The manager comes, reloads and goes while the tunnel is being started and restarted in place."""
    manager = kind(lab)
    Bridge(lab)
    lab.leaks.prove()
    daemon, _ = lab.guarded_unproven(connect=False)
    daemon.api.mode("always")
    lab.leaks.begin()
    generator = lab.generator(manager.kinds)
    for name in ("start", "reload", "stop"):
        daemon.api.start(wait=None)
        getattr(manager, name)()
        daemon.wait_connected()
        daemon.api.post("/tunnels/home/restart")
        if name != "stop":
            manager.reload()
        daemon.wait_connected()
        daemon.api.stop()
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER], of_the_kernel)
    daemon.api.start()
    whole(lab, daemon)


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
    """Docker's rules written before Holdfast, and anew after"""
    before(lab, Docker)


def test_docker_after(lab):
    """Docker's rules written, anew and taken away while a tunnel is up: nothing leaves at any time"""
    after(lab, Docker)


def test_docker_during(lab):
    """Docker's rules written, anew and taken away while tunnels start and restart: nothing leaves at any time"""
    during(lab, Docker)


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
