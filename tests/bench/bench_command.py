# SPDX-License-Identifier: LGPL-2.1-or-later
"""The `command` driver's restart over the same start done by hand, and how soon a daemon that was killed is back."""

import os
import select
import signal
import subprocess
import time

from lab import ratio, topology
from lab.daemon import RESTART_AT_ONCE
from test_command import install, program_pids

LIMIT = 1.15
READY_LIMIT = 0.050  # seconds from the daemon's start to ready, with its tunnel taken back
SETTLED = 0.3        # longer than the pause between attempts, which "at once" has where the last one came to nothing


class ByHand:
    """The least that runs the same program on a tun: make it, configure it, start it. Every step as soon as it can be."""

    def __init__(self, lab, daemon):
        self.lab, self.process = lab, None
        self.program = f"{daemon.config_dir}/program"

    def start(self):
        """Returns the seconds from exec() to the first answer through the tunnel."""
        begun = time.monotonic()
        script = f"""
            ip tuntap add dev tun9 mode tun &&
            ip address add 10.9.0.2/32 dev tun9 &&
            ip link set tun9 up &&
            ip route add {topology.INNER_SERVER4}/32 dev tun9 &&
            HOLDFAST_INTERFACE=tun9 exec {self.program} line
        """
        self.process = subprocess.Popen(["sh", "-c", script], preexec_fn=self.lab.net.client.join, stdout=subprocess.DEVNULL)
        self.lab.ping(topology.INNER_SERVER4, every=0.002)
        return time.monotonic() - begun

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.lab.run(["ip", "link", "delete", "tun9"])


def restart(lab, daemon):
    """Returns the seconds from the death of the program to the first answer through the tunnel."""
    watch = daemon.api.watch()
    time.sleep(SETTLED)
    [program] = program_pids()
    pidfd = os.pidfd_open(program)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    select.select([pidfd], [], [])
    begun = time.monotonic()
    watch.wait_state("connected", "office")
    lab.ping(topology.INNER_SERVER4, every=0.002)
    seconds = time.monotonic() - begun
    os.close(pidfd)
    watch.close()
    return seconds


def bench_command_restart_over_start_by_hand(lab):
    """from the death of a command to traffic through its tunnel, over the same start done by hand: at most 1.15"""
    daemon = lab.daemon(start=False)
    install(daemon, ["line"])
    daemon.start()
    daemon.policy(RESTART_AT_ONCE)
    daemon.api.start("office")
    hand = ByHand(lab, daemon)

    def ours():
        daemon.api.start("office")
        seconds = restart(lab, daemon)
        daemon.api.stop("office")
        return seconds

    def theirs():
        seconds = hand.start()
        hand.stop()
        return seconds

    ratio.at_most(lab, LIMIT, ours, theirs, ("restart", "by hand"))


def bench_daemon_killed(lab):
    """a daemon that was killed is ready again within 50 ms of its start at best, its tunnel taken back, and nothing inside is lost"""
    daemon, _ = lab.guarded(RESTART_AT_ONCE)
    worker = daemon.worker_pid()
    flood = lab.flood()
    took = []
    while len(took) < ratio.ROUNDS or (min(took) > READY_LIMIT and len(took) < ratio.ROUNDS_MAX):
        daemon.kill()
        begun = time.monotonic()
        daemon.start()
        took.append(time.monotonic() - begun)
        assert daemon.api.tunnel()["state"] == "connected" and daemon.worker_pid() == worker
    sent, answered, gap = flood.stop()
    lab.note(
        f"ready after {min(took) * 1000:.1f} to {max(took) * 1000:.1f} ms in {len(took)} rounds; "
        f"{sent} pings through the tunnel, {sent - answered} lost, longest gap {gap * 1000:.0f} ms"
    )
    assert sent == answered, (sent, answered)
    assert min(took) <= READY_LIMIT, f"{min(took) * 1000:.1f} ms"
