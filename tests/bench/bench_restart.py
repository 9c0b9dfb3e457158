# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a restart takes, over the same start done by hand: a ratio within one run, never a time by itself."""

import os
import select
import signal
import subprocess
import time

from lab import process, ratio, topology
from lab.daemon import RESTART_AT_ONCE

LIMIT = 1.15
# A tunnel has been up this long when its client dies, and the last session is this old when one is begun by hand: WireGuard takes no
# handshake that comes some ms after the last one.
SETTLED = 0.2
INNER = "10.9.0.0/24"  # what is behind the tunnel: without it, the lab's router would carry it past


class ByHand:
    """The least that brings the same tunnel up: the client, its configuration, address, link, route. Every step as soon as it can be."""

    def __init__(self, lab):
        self.lab = lab

    def script(self):
        """One shell, as an administrator's script would be."""
        raise NotImplementedError

    def start(self):
        """Returns the seconds from exec() to the first answer through the tunnel."""
        time.sleep(SETTLED)
        begun = time.monotonic()
        done = subprocess.run(["sh", "-c", self.script()], preexec_fn=self.lab.net.client.join, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr or done.stdout)
        self.lab.ping(topology.INNER_SERVER4, every=0.002)
        return time.monotonic() - begun

    def stop(self):
        raise NotImplementedError


class WireguardByHand(ByHand):
    """wireguard-go goes into the background once its link and socket are there."""

    program = "wireguard-go"

    def __init__(self, lab, server):
        super().__init__(lab)
        self.settings = "/run/lab/by-hand.conf"
        with open(self.settings, "w") as file:
            file.write(
                f"[Interface]\nPrivateKey = {server.client.private}\nFwMark = 0x51\n[Peer]\nPublicKey = {server.key.public}\n"
                f"AllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = {topology.SERVER4}:{server.port}\nPersistentKeepalive = 25\n"
            )

    def script(self):
        return f"""
            wireguard-go wg0 &&
            wg setconf wg0 {self.settings} &&
            ip address add {topology.INNER_CLIENT4}/32 dev wg0 &&
            ip link set wg0 up &&
            ip route add {topology.INNER_SERVER4}/32 dev wg0
        """

    def stop(self):
        self.lab.run(["ip", "link", "delete", "wg0"])


class OpenvpnByHand(ByHand):
    """openvpn makes its link, sets its address and route, as it does by itself, and goes into the background before it connects."""

    program = "openvpn"

    def __init__(self, lab, server):
        super().__init__(lab)
        self.settings, self.pid = "/run/lab/by-hand.ovpn", "/run/lab/by-hand.pid"
        with open(self.settings, "w") as file:
            file.write(server.ovpn("nobind\ndev-type tun\ndisable-dco\nverb 3\n"))

    def script(self):
        return f"""
            ip route add blackhole {INNER} metric 4096 &&
            openvpn --config {self.settings} --dev tun0 --daemon --writepid {self.pid} --log /run/lab/by-hand.log
        """

    def stop(self):
        with open(self.pid) as file:
            pid = int(file.read())
        os.kill(pid, signal.SIGKILL)
        process.wait_gone(pid)
        self.lab.ip("route", "delete", "blackhole", INNER)


def restart(lab, daemon, program):
    """Returns the seconds from the death of the client to the first answer through the tunnel."""
    watch = daemon.api.watch()
    time.sleep(SETTLED)
    client = daemon.client_pid(program)
    pidfd = os.pidfd_open(client)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [])  # dead: the kernel has taken its descriptors back, which takes some 10 ms
    begun = time.monotonic()
    # An answer that was on its way when the client died would count as one: the new client's session is waited for first.
    watch.wait_state("connected")
    lab.ping(topology.INNER_SERVER4, every=0.002)
    seconds = time.monotonic() - begun
    os.close(pidfd)
    watch.close()
    return seconds


def compare(lab, daemon, hand):
    """Restarts and starts by hand in turn; their ratio is judged."""

    def ours():
        daemon.api.start()
        seconds = restart(lab, daemon, hand.program)
        daemon.api.stop()
        return seconds

    def theirs():
        seconds = hand.start()
        hand.stop()
        return seconds

    ratio.at_most(lab, LIMIT, ours, theirs, (f"{hand.program}: restart", "by hand"))


def bench_restart_wireguard(lab):
    """from the death of wireguard-go to traffic through the tunnel, over the same start done by hand: at most 1.15"""
    daemon, server = lab.guarded()
    compare(lab, daemon, WireguardByHand(lab, server))


def bench_restart_openvpn(lab):
    """from the death of openvpn to traffic through the tunnel, over the same start done by hand: at most 1.15"""
    server = lab.openvpn_server()
    daemon = lab.daemon()
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(server.document())
    daemon.api.start()
    compare(lab, daemon, OpenvpnByHand(lab, server))
