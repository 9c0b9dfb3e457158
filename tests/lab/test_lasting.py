# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is granted, while the gate moves: it goes on where it went, nobody else's traffic leaves, and what was taken back does not come again."""

import contextlib
import os
import signal

from lab import topology
from lab.granted import Flow, Maker, is_cut
from lab.leaks import SERVER, of_the_kernel
from lab.traffic import KINDS
from test_grants import HOSTS, grants, ordinary, stays_inside
from test_several import OTHER, two

KERNEL = [kind for kind in KINDS if kind.route == "kernel"]
# Hosts of the internet that no kind of traffic goes to: they are granted as addresses.
GRANTED = (("198.51.100.77", topology.CLIENT4), ("2001:db8:3::77", topology.CLIENT6))


class Granted:
    """A slice and two addresses, granted, each with flows that live; and a slice that is granted no more, with flows that are cut."""

    def __init__(self, lab, daemon):
        self.lab = lab
        topology.batch(lab.net.internet, ["address add 198.51.100.77/32 dev lo", "address add 2001:db8:3::77/128 dev lo"])
        topology.batch(lab.net.router, [f"route add 198.51.100.77/32 via {topology.INTERNET4}", f"route add 2001:db8:3::77/128 via {topology.INTERNET6}"])
        self.maker, self.former = Maker(lab, "torrent", "torrent.slice/client.service"), Maker(lab, "former", "former.slice/client.service")
        daemon.api.post("/bypass", {"slice": "torrent.slice"})
        for host, _ in GRANTED:
            daemon.api.post("/bypass", {"address": host})
        former = daemon.api.post("/bypass", {"slice": "former.slice"})["id"]
        self.living = [(Flow(lab, self.maker.socket, host), source) for host, source in HOSTS]
        self.by_address = []
        self._begin_by_address(4400)
        self.cut = [Flow(lab, self.former.socket, host, 4409) for host, _ in HOSTS]
        self.fresh, self.port = [], 4500
        self.go_on()
        daemon.api.delete(f"/bypass/{former}")

    def _begin_by_address(self, port):
        self.by_address = [(Flow(self.lab, ordinary(self.lab), host, port), source) for host, source in GRANTED]

    def _end_by_address(self):
        for flow, _ in self.by_address:
            flow.close()
            self.fresh.append(flow)
        self.by_address = []

    def flows(self):
        return [flow for flow, _ in self.living + self.by_address] + self.cut + self.fresh

    def go_on(self):
        for flow, source in self.living + self.by_address:
            assert flow.carries() == (source, source), (flow.host, flow.seen)

    def judge(self):
        """Those that live go on from where they were, new ones go there too, and those that were cut stay so."""
        self.go_on()
        self.port += 1
        for make, hosts in ((self.maker.socket, HOSTS), (ordinary(self.lab), GRANTED)):
            for host, source in hosts:
                flow = Flow(self.lab, make, host, self.port)
                self.fresh.append(flow)
                assert flow.carries() == (source, source), (host, flow.seen)
                flow.close()
        assert all(is_cut(self.lab, flow) for flow in self.cut), "a socket of a grant taken back leaves again"

    @contextlib.contextmanager
    def through(self, endpoints=(SERVER,), kinds=KINDS, tolerate=lambda frame: False, tunnel_ends=False):
        """Offers KINDS all the time inside the block; what is granted apart nothing of it may leave. Then judges. TUNNEL_ENDS: its address
        goes, which connections to granted addresses have as their own: those begin anew."""
        if tunnel_ends:
            self._end_by_address()
        self.lab.leaks.begin()
        generator = self.lab.generator(kinds)
        try:
            yield
            self.go_on()
        finally:
            self.lab.leaks.offered(generator.stop())
        self.lab.leaks.verdict(endpoints, tolerate, self.flows())
        self.judge()
        if tunnel_ends:
            self.port += 1
            self._begin_by_address(self.port)
        self.lab.leaks.closed(endpoints, self.flows())

    def close(self):
        self.maker.close()
        self.former.close()


def test_lasting_switch_over(lab):
    """what is granted goes on while one tunnel takes another's place, there and back"""
    daemon = two(lab)
    daemon.api.start("home")
    granted = Granted(lab, daemon)
    for old, new in (("home", "office"), ("office", "home")):
        watch = daemon.api.watch()
        with granted.through([SERVER, OTHER], tunnel_ends=True):
            daemon.api.start(new)
            watch.wait(kind="stateChanged", tunnel=old, new="disconnected")
    granted.close()


def test_lasting_restart_in_place(lab):
    """what is granted goes on while the tunnel is restarted in place, asked for or because its client was killed"""
    daemon, _ = lab.guarded()
    granted = Granted(lab, daemon)
    watch = daemon.api.watch()
    with granted.through():
        daemon.api.post("/tunnels/home/restart")
        daemon.wait_connected()
    with granted.through():
        os.kill(daemon.client_pid(), signal.SIGKILL)
        watch.wait_state("connected")
    granted.close()


def test_lasting_modes(lab):
    """what is granted goes on while the mode changes and tunnels stop and start; after `off` it is what it was before"""
    daemon, _ = lab.guarded()
    granted = Granted(lab, daemon)
    for mode in ("always", "auto", "always"):
        with granted.through():
            daemon.api.mode(mode)
    with granted.through(tunnel_ends=True):
        daemon.api.stop()
        assert daemon.gate() == "closed"
        granted.go_on()
        daemon.api.start()
    for back in ("auto", "always"):
        daemon.api.mode("off")
        assert daemon.table() is None
        daemon.api.mode(back)
        granted.judge()
        lab.leaks.closed([SERVER], granted.flows())
        stays_inside(lab, granted.former.socket)
    granted.close()


def test_lasting_flush(lab):
    """after somebody's `flush ruleset` what is granted goes on and what was taken back stays cut; what the kernel chooses leaves at no time"""
    daemon, _ = lab.guarded()
    granted = Granted(lab, daemon)
    for _ in range(3):
        watch = daemon.api.watch()
        with granted.through(kinds=KERNEL, tolerate=of_the_kernel):
            lab.nft("flush", "ruleset")
            assert watch.wait(kind="gateTampered")["healed"]
    granted.close()


def test_lasting_daemon_killed(lab):
    """what is granted goes on with the daemon killed and with the next one, the table flushed in between included"""
    daemon, _ = lab.guarded()
    granted = Granted(lab, daemon)
    before = grants(daemon)
    for flush in (False, True):
        with granted.through(kinds=KERNEL if flush else KINDS, tolerate=of_the_kernel if flush else lambda frame: False):
            daemon.kill()
            if flush:
                lab.nft("flush", "ruleset")
            else:
                granted.go_on()
            daemon.start()
            daemon.wait_connected()
        assert [grant["id"] for grant in grants(daemon)] == [grant["id"] for grant in before]
    granted.close()
