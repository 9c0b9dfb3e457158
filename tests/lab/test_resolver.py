# SPDX-License-Identifier: LGPL-2.1-or-later
"""The host's names: by the real systemd-resolved, by the real resolvconf, Debian's and openresolv, and by the file."""

import os
import signal

from lab import frames, process, topology
from lab.daemon import RESTART_AT_ONCE, WAIT_LONG
from lab.leaks import SERVER, of_the_kernel
from lab.names import NameServer, SecureNameServer, question
from lab.networkmanager import OFFICE, NetworkManager
from lab.resolved import Resolved, Resolvconf, getent
from lab.traffic import recognise
from test_diagnose import none, one

NAME, INSIDE, OUTSIDE = "www.example.org", "192.0.2.80", "192.0.2.81"
ENDPOINT = "vpn.example"
INNER = topology.INNER_SERVER4
STUB_LINK = "../run/systemd/resolve/stub-resolv.conf"
MULTICAST = {"224.0.0.252": 5355, "ff02::1:3": 5355, "224.0.0.251": 5353, "ff02::fb": 5353}


def is_question(frame):
    """Whether FRAME is a question to port 53, and none of those that the lab itself offers."""
    return frame.protocol == frames.UDP and frame.destination_port == 53 and recognise(frame) is None


def is_over_tls(frame):
    """Whether FRAME is to port 853. Those that the lab itself offers look the same."""
    return frame.protocol == frames.TCP and frame.destination_port == 853


def is_for_the_endpoint(frame):
    """Whether FRAME is the worker's question for its server."""
    return is_question(frame) and frame.destination == topology.LAN4 and question(frame.payload)[0] == ENDPOINT


class Names:
    """NAME is INSIDE to whom asks the tunnel's resolver, OUTSIDE to whom asks the LAN's. SERVICE is what sets the host's resolver."""

    def __init__(self, lab, service=lambda lab, bus: None, endpoint=None, mode="auto", stock=True):
        self.lab = lab
        lab.leaks.prove()
        self.bus = lab.bus(stock=stock)
        self.service = service(lab, self.bus)
        self.outside = NameServer(lab, {NAME: [OUTSIDE], ENDPOINT: [topology.SERVER4]})
        self.daemon = lab.daemon(environment={"DBUS_SYSTEM_BUS_ADDRESS": self.bus.address})
        self.server = lab.server()
        self.inside = NameServer(lab, {NAME: [INSIDE]}, address=INNER, namespace=lab.net.server)
        self.daemon.policy(RESTART_AT_ONCE)
        self.daemon.api.mode(mode)
        self.daemon.add_tunnel(self.server.document(dns=[INNER], endpoints=[endpoint] if endpoint else None))

    def control(self):
        """The positive control, with the gate open: who asks for NAME asks outside, and that is seen."""
        place = self.lab.capture.mark()
        assert getent(self.lab, NAME) == [OUTSIDE]
        assert any(is_question(frame) for frame in self.lab.capture.since(place)), "a question that leaves is not seen"

    def up(self):
        self.daemon.api.start()
        assert self.daemon.api.tunnel()["state"] == "connected", self.daemon.api.status()

    def resolver(self):
        return self.daemon.api.status()["network"]["resolver"]

    def wait_resolver(self, **members):
        """Returns once the status says MEMBERS of the host's resolver."""
        process.until(lambda: members.items() <= self.resolver().items(), lambda: f"{self.resolver()}\n{self.daemon.process.log()[-2000:]}")

    def are_inside(self, tolerate=lambda frame: False):
        """NAME is found inside the tunnel, however a program asks, and nobody outside is asked for anything."""
        self.outside.asked.clear()
        self.inside.asked.clear()
        self.lab.leaks.begin()
        assert getent(self.lab, NAME) == [INSIDE], self.resolver()
        assert getent(self.lab, "unknown.example.org") == []
        if self.service:
            assert self.service.query(NAME) == [INSIDE], self.service.ctl("status")
        self.lab.leaks.offer()
        self.lab.leaks.verdict([SERVER], tolerate=lambda frame: of_the_kernel(frame) or tolerate(frame))
        assert (NAME, 1) in self.inside.asked, self.inside.asked
        assert not self.outside.asked, self.outside.asked

    def close(self):
        self.outside.close()
        self.inside.close()


def conf(lab):
    return lab.run(["cat", "/etc/resolv.conf"]).stdout


def write_conf(lab, text):
    """As dhclient and NetworkManager write it: another file in its place."""
    lab.run(["sh", "-c", "cat >/etc/resolv.conf.other && mv /etc/resolv.conf.other /etc/resolv.conf"], input=text)


def link(lab):
    return lab.run(["readlink", "/etc/resolv.conf"], check=False).stdout.strip()


# systemd-resolved


def test_resolved(lab):
    """names are asked inside the tunnel alone, by the stub and over D-Bus; the uplink's servers stay known and come back with the stop"""
    names = Names(lab, Resolved)
    names.control()
    names.up()
    assert names.resolver() == {"by": "resolved", "healed": 0, "failure": None}, names.resolver()
    assert names.service.servers("hf-home") == [INNER] and names.service.domains("hf-home") == ["~."]
    names.are_inside()
    names.daemon.api.stop()
    assert names.resolver()["by"] is None and link(lab) == STUB_LINK
    assert names.service.servers("eth0") == [topology.LAN4]
    names.control()
    names.close()


def test_uplinks_own_domain(lab):
    """what the uplink's own domain would send to the uplink's server is held back, and asked again after the stop"""
    local = "printer.lan.example"
    names = Names(lab, Resolved)
    names.service.ctl("domain", "eth0", "lan.example")
    names.outside.names[local] = ["10.1.0.50"]
    assert names.service.query(local) == ["10.1.0.50"]
    names.up()
    names.outside.asked.clear()
    lab.leaks.begin()
    assert names.service.query(local) == []
    lab.leaks.offer()
    lab.leaks.verdict([SERVER])
    assert not names.outside.asked, names.outside.asked
    names.daemon.api.stop()
    assert names.service.query(local) == ["10.1.0.50"]
    names.close()


def test_multicast_names(lab):
    """what resolved asks and tells on the uplink by itself, LLMNR and mDNS, leaves with the gate open and not with it closed"""
    names = Names(lab, lambda lab, bus: Resolved(lab, bus, LLMNR="yes", MulticastDNS="yes"))

    def seen(place):
        return {frame.destination for frame in lab.capture.since(place) if not frame.outgoing and frame.protocol == frames.UDP
                and recognise(frame) is None and MULTICAST.get(frame.destination) == frame.destination_port}  # fmt: skip

    def provoke():
        place = lab.capture.mark()
        names.service.kill()
        names.service.start()
        for protocol in ("llmnr", "mdns"):
            names.service.ctl(protocol, "eth0", "yes")
        for name in ("printer", "printer.local"):
            assert names.service.query(name) == []
        return seen(place)

    assert provoke() >= {"224.0.0.252", "224.0.0.251"}, "resolved sends nothing by multicast"
    names.up()
    lab.leaks.begin()
    assert not provoke()
    lab.leaks.offer()
    lab.leaks.verdict([SERVER], tolerate=of_the_kernel)
    names.are_inside()
    names.close()


def test_resolved_anew(lab):
    """names are found inside again after resolved's restart with and without what it kept, the daemon's, and a restart in place"""
    names = Names(lab, Resolved)
    names.up()
    names.service.kill()
    names.service.start()
    names.are_inside()
    names.service.kill(forget=True)
    names.service.start()
    process.until(lambda: names.service.domains("hf-home") == ["~."], "resolved was not told again")
    names.are_inside()
    names.daemon.kill()
    assert getent(lab, NAME) == [INSIDE]
    names.daemon.start()
    names.daemon.wait_connected()
    names.are_inside()
    watch = names.daemon.api.watch()
    os.kill(names.daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("connected")
    names.are_inside()
    names.daemon.kill()
    names.service.kill(forget=True)
    names.service.start()
    names.daemon.start()
    process.until(lambda: names.service.domains("hf-home") == ["~."], "resolved was not told by the next daemon")
    names.are_inside()
    names.daemon.api.stop()
    assert getent(lab, NAME) == [OUTSIDE] and link(lab) == STUB_LINK
    names.close()


def test_resolved_after_a_boot(lab):
    """after a reboot resolved knows nothing of a tunnel: what is kept does no harm, and names are found inside once it is up"""
    names = Names(lab, Resolved, mode="always", endpoint=f"{ENDPOINT}:51820/udp")
    names.up()
    names.daemon.kill()
    for program in ("wireguard-go", "holdfast-worker"):
        for pid in process.running(program):
            if names.daemon.in_client(pid):
                os.kill(pid, signal.SIGKILL)
                process.wait_gone(pid)
    lab.ip("link", "delete", "hf-home", check=False)
    lab.ip("link", "delete", "hf0", check=False)
    names.service.kill(forget=True)
    lab.nft("delete", "table", "inet", "holdfast")
    lab.run(["sh", "-c", "echo 00000000-1111-4222-8333-444444444444 >/run/lab/boot_id && "
             "mount --bind /run/lab/boot_id /proc/sys/kernel/random/boot_id"])  # fmt: skip
    assert names.daemon.run("--boot").returncode == 0
    lab.leaks.begin()  # before, nothing holds the reports that the kernel itself sends
    lab.leaks.offer()
    lab.leaks.verdict()
    names.daemon.start()  # before resolved, as at boot: it has nobody to ask for its server
    lab.leaks.begin()
    names.service.start()
    names.daemon.wait_connected()
    names.wait_resolver(by="resolved", failure=None)
    lab.leaks.offer()
    lab.leaks.verdict([SERVER], tolerate=is_for_the_endpoint)
    names.are_inside()
    names.daemon.api.stop()
    assert names.resolver()["by"] is None and link(lab) == STUB_LINK
    names.close()


def test_bootstrap_from_resolved(lab):
    """while everything is closed the server's name is asked of the uplink's resolver that resolved knows, and of nobody else"""
    names = Names(lab, Resolved, mode="always", endpoint=f"{ENDPOINT}:51820/udp")
    lab.leaks.begin()
    names.up()
    lab.leaks.offer()
    lab.leaks.verdict([SERVER], tolerate=is_for_the_endpoint)
    assert (ENDPOINT, 1) in names.outside.asked, names.outside.asked
    names.are_inside()
    names.close()


def test_bootstrap_from_networkmanager(lab):
    """where the file names a forwarder on loopback the uplink's resolver is NetworkManager's"""
    def manager(lab, bus):
        write_conf(lab, "nameserver 127.0.0.1\n")
        manager = NetworkManager(lab, bus)
        manager.nmcli("connection", "modify", "uuid", OFFICE, "ipv4.dns", topology.LAN4)
        manager.up(OFFICE)

    names = Names(lab, manager, mode="always", endpoint=f"{ENDPOINT}:51820/udp", stock=False)
    names.up()
    assert (ENDPOINT, 1) in names.outside.asked, names.outside.asked
    names.are_inside()
    names.daemon.api.stop()
    assert conf(lab) == "nameserver 127.0.0.1\n"
    names.close()


def test_resolved_beside(lab):
    """a file that does not lead to resolved is what is set, whoever runs, and resolved, which reads it, finds names inside as well"""
    names = Names(lab, lambda lab, bus: Resolved(lab, bus, mode=None))
    before = conf(lab)
    names.up()
    assert names.resolver()["by"] == "file" and INNER in conf(lab)
    names.are_inside()
    names.daemon.api.stop()
    assert conf(lab) == before
    assert names.service.query(NAME) == [OUTSIDE]
    names.close()


def test_resolveds_list(lab):
    """where programs read resolved's list of all links' servers, not its stub, it is told, and lists the tunnel's"""
    names = Names(lab, lambda lab, bus: Resolved(lab, bus, mode="resolv.conf"))
    names.control()
    names.up()
    assert names.resolver()["by"] == "resolved" and INNER in servers(lab), conf(lab)
    names.are_inside()
    names.daemon.api.stop()
    assert servers(lab) == [topology.LAN4], conf(lab)
    names.control()
    names.close()


def test_resolved_late(lab):
    """resolved that comes after the tunnel is told of it, and has its file back"""
    names = Names(lab, lambda lab, bus: Resolved(lab, bus, start=False))
    names.up()
    assert names.resolver()["by"] == "file" and getent(lab, NAME) == [INSIDE]
    names.service.start()
    names.wait_resolver(by="resolved")
    assert link(lab) == STUB_LINK
    names.are_inside()
    names.daemon.api.stop()
    names.control()
    names.close()


def test_resolved_over_tls(lab):
    """DNS over TLS and DNSSEC as resolved has them set: the tunnel's resolver is asked on port 853, inside, and nobody outside"""
    names = Names(lab, lambda lab, bus: Resolved(lab, bus, DNSOverTLS="opportunistic", DNSSEC="allow-downgrade"))
    secure = SecureNameServer(lab, {NAME: [INSIDE]}, address=INNER, namespace=lab.net.server)
    place = lab.capture.mark()
    assert getent(lab, NAME) == [OUTSIDE]
    assert any(is_over_tls(frame) for frame in lab.capture.since(place)), "TLS is not tried, or not seen"
    names.up()
    lab.leaks.begin()
    assert getent(lab, NAME) == [INSIDE]
    lab.leaks.offer()
    lab.leaks.verdict([SERVER])
    assert (NAME, 1) in secure.asked, (secure.asked, names.inside.asked)
    secure.close()
    names.close()


def released(lab, service):
    """Between a tunnel that stopped and its restart the gate is released, and then no more, until the tunnel is up again."""
    names = Names(lab, service)
    names.daemon.policy(WAIT_LONG)
    names.up()
    watch = names.daemon.api.watch()
    os.kill(names.daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    lab.leaks.closed([SERVER])
    names.daemon.api.post("/kill-switch/release", {"reason": "a sign-in page", "for": "1h"})
    names.control()
    assert names.resolver()["by"] is None
    names.daemon.api.mode("auto")
    watch.wait(kind="releaseEnded")
    assert names.resolver()["by"], names.resolver()
    lab.leaks.closed([SERVER])
    names.daemon.api.post("/kill-switch/release", {"reason": "a sign-in page", "for": "1h"})
    names.daemon.api.post("/tunnels/home/restart")
    watch.wait_state("connected")
    assert names.resolver()["by"], names.resolver()
    assert getent(lab, NAME) == [INSIDE]
    names.close()


def test_released_by_resolved(lab):
    """a release opens the uplink's names with the rest, and closes them with it, by resolved"""
    released(lab, Resolved)


def test_released_by_the_file(lab):
    """a release opens the uplink's names with the rest, and closes them with it, by the file"""
    released(lab, lambda lab, bus: None)


# resolvconf


def by_resolvconf(lab, package):
    program = []

    def begin(lab, bus):
        program.append(Resolvconf(lab, package))
        program[0].add("eth0.dhclient", topology.LAN4)

    names = Names(lab, begin)
    names.control()
    names.up()
    assert names.resolver()["by"] == "resolvconf", names.resolver()
    names.are_inside()
    return names, program[0]


def servers(lab):
    return [line.split()[1] for line in conf(lab).splitlines() if line.startswith("nameserver")]


def renewed_meanwhile(lab, package, others):
    """The uplink's servers change, more of them than glibc asks, of which OTHERS stay listed; the daemon dies, comes back and stops."""
    names, resolvconf = by_resolvconf(lab, package)
    resolvconf.add("eth0.dhclient", "10.1.0.77", "10.1.0.78", topology.LAN4)
    assert servers(lab) == [INNER, *others], conf(lab)
    names.are_inside()
    names.daemon.kill()
    names.daemon.start()
    names.daemon.wait_connected()
    names.are_inside()
    names.daemon.api.stop()
    assert servers(lab) == ["10.1.0.77", "10.1.0.78", topology.LAN4], conf(lab)
    names.close()


def test_debians_resolvconf(lab):
    """Debian's resolvconf puts the tunnel's server first, keeps it there through a renewal and a dead daemon, and takes it out again"""
    renewed_meanwhile(lab, "resolvconf", ["10.1.0.77", "10.1.0.78"])


def test_openresolv(lab):
    """openresolv has the tunnel's server alone, keeps it through a renewal and a dead daemon, and takes it out again"""
    renewed_meanwhile(lab, "openresolv", [])


# The file


def test_changed_by_somebody_else(lab):
    """a file that somebody else writes meanwhile is set again, counted, and theirs is what comes back"""
    theirs = f"# theirs\nnameserver {topology.LAN4}\n"
    names = Names(lab)
    names.up()
    for times in (1, 2):
        write_conf(lab, f"{theirs}# {times}\n")
        names.wait_resolver(by="file", healed=times, failure=None)
        names.are_inside()
    lab.run(["rm", "/etc/resolv.conf"])
    names.wait_resolver(healed=3)
    write_conf(lab, theirs)
    names.wait_resolver(by="file", healed=4, failure=None)
    names.are_inside()
    names.daemon.api.stop()
    assert conf(lab) == theirs
    names.close()


def test_unwritable_meanwhile(lab):
    """a daemon that comes back to a file that it cannot write keeps the tunnel, says so, and sets it once it can"""
    names = Names(lab)
    names.up()
    names.daemon.kill()
    write_conf(lab, f"nameserver {topology.LAN4}\n")
    lab.run(["mount", "--bind", "/etc/resolv.conf", "/etc/resolv.conf"])
    lab.run(["mount", "-o", "remount,bind,ro", "/etc/resolv.conf"])
    names.daemon.start()
    names.wait_resolver(by=None, failure="the host's resolver could not be set: Read-only file system")
    assert names.daemon.api.tunnel()["state"] == "connected"
    assert "could not be set" in names.daemon.ctl("status").stdout
    found = one(names.daemon, "resolverFailing", "warning", "/etc/resolv.conf", "Read-only file system")
    assert found["summary"].count("could not be set") == 1, found
    lab.leaks.begin()
    assert getent(lab, NAME) == []
    lab.leaks.offer()
    lab.leaks.verdict([SERVER])
    lab.run(["umount", "/etc/resolv.conf"])
    names.wait_resolver(by="file", failure=None)
    none(names.daemon, "resolverFailing")
    names.are_inside()
    names.daemon.api.stop()
    assert servers(lab) == [topology.LAN4]
    names.close()
