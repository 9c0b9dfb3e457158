# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel's WireGuard: the daemon has the device, the worker only watches. These need a kernel that has it: tests/vm/run --vm.

The rows of test_failures.py that are WireGuard's and not its client's, on the kernel's device, and what holds for it alone.
"""

import os
import signal
from dataclasses import replace

from lab import process, topology
from lab.daemon import TERMINATE, WAIT_LONG
from lab.leaks import SERVER
from test_failures import LINK, RETURNS, ROAMING, ROWS, add_tests, change_uplink, judge, judge_return, judge_roaming


def wg(lab, what, check=True):
    """What the kernel says of the device, as wg(8) prints it."""
    return lab.run(["wg", "show", LINK, what], check=check).stdout.split()


def kind(lab):
    return lab.ip("-d", "link", "show", LINK, check=False).stdout


def silent(lab):
    """No peer and no key: there is nothing that the kernel could send, and nothing to read out of it."""
    return wg(lab, "peers") == [] and wg(lab, "private-key") == ["(none)"]


def on_kernel(judged):
    def run(lab, row):
        judged(lab, row)
        assert not process.running("wireguard-go") or lab.daemons[0].api.tunnel()["implementation"] != "wireguard-go"
        assert row.failure == "link deleted" or "wireguard" in kind(lab), kind(lab)
        # Behind a gate that cannot be moved nothing is begun and nothing ended: its session stands as it did.
        if judged is judge and row.failure != "link deleted" and row.error != "firewallFailure":
            assert silent(lab)

    return run


def of_kernel(rows):
    """Those of WireGuard; a client that is killed or stopped there is none of."""
    return [replace(row, driver="kernel wg") for row in rows if row.driver == "wireguard" and not row.failure.startswith("client")]


add_tests(
    globals(),
    (
        (of_kernel(ROWS), on_kernel(judge)),
        (of_kernel(RETURNS), on_kernel(judge_return)),
        (of_kernel(ROAMING), on_kernel(judge_roaming)),
    ),
)


def test_carried(lab):
    """the kernel carries the tunnel with the worker's mark and the document's keepalive; the worker has no capability"""
    daemon, server = lab.guarded()
    tunnel = daemon.api.tunnel()
    assert tunnel["implementation"] == "kernel", tunnel
    with open(f"/proc/{tunnel['workerPid']}/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")} == {0}, status
    assert wg(lab, "fwmark")[0] in daemon.table(), wg(lab, "fwmark")  # the mark by which rule 2 knows the worker
    assert wg(lab, "endpoints") == [server.key.public, f"{topology.SERVER4}:{server.port}"]
    lab.leaks.begin()
    generator = lab.generator()
    lab.ping(topology.INTERNET4)
    lab.ping(topology.INTERNET6)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    while wg(lab, "persistent-keepalive") != [server.key.public, "off"]:
        pass  # the worker's request is on its way; the test's own timeout ends this


def test_restarted(lab):
    """a restart keeps the worker and the link, begins a new session at once, and nothing leaves"""
    daemon, server = lab.guarded()
    worker, index, first = daemon.worker_pid(), kind(lab).split(":")[0], server.handshakes()
    lab.leaks.begin()
    generator = lab.generator()
    watch = daemon.api.watch()
    daemon.api.post("/tunnels/home/restart", {})
    watch.wait_state("reasserting")
    watch.wait_state("connected")
    lab.ping(topology.INTERNET4)
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    assert daemon.worker_pid() == worker and kind(lab).split(":")[0] == index
    assert server.handshakes() > first


def test_stopped(lab):
    """a user's stop takes the link away, and the keys with it"""
    daemon, _ = lab.guarded()
    daemon.api.stop()
    assert kind(lab) == "" and daemon.api.tunnel()["implementation"] is None
    assert daemon.table() is None


def test_ended(lab):
    """a tunnel that failed keeps nothing in the kernel that could send"""
    daemon, _ = lab.guarded(TERMINATE)
    watch = daemon.api.watch()
    os.kill(daemon.worker_pid(), signal.SIGKILL)
    watch.wait_state("failed")
    assert kind(lab) == "" or silent(lab)
    lab.leaks.closed()


def test_daemon_killed(lab):
    """a killed daemon's tunnel goes on in the kernel, without a packet lost inside it, and is taken back by the next"""
    daemon, server = lab.guarded()
    worker, handshake = daemon.worker_pid(), server.handshakes()
    lab.leaks.begin()
    generator = lab.generator()
    flood = lab.flood()
    lab.ping(topology.INTERNET4)
    daemon.kill()
    lab.ping(topology.INTERNET4)
    daemon.start()
    daemon.wait_connected()
    lab.ping(topology.INTERNET4)
    sent, answered, gap = flood.stop()
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])
    lab.note(f"{sent} pings, {sent - answered} lost, longest gap {gap * 1000:.0f} ms")
    tunnel = daemon.api.tunnel()
    assert sent == answered and (tunnel["workerPid"], tunnel["implementation"]) == (worker, "kernel"), tunnel
    assert server.handshakes() == handshake
    change_uplink(type("Run", (), {"lab": lab}))  # it is watched again, and bears what it bore before
    lab.ping(topology.INTERNET4)


def test_daemon_and_worker_killed(lab):
    """with both gone the kernel goes on by itself; the next daemon ends that, and begins anew under the policy"""
    daemon, _ = lab.guarded(WAIT_LONG)
    worker = daemon.worker_pid()
    daemon.kill()
    os.kill(worker, signal.SIGKILL)
    lab.ping(topology.INTERNET4)
    daemon.start()
    watch = daemon.api.watch()
    if daemon.api.tunnel()["state"] != "waiting":
        watch.wait_state("waiting")
    assert silent(lab) and daemon.gate() == "closed"
    lab.leaks.closed()


def test_program_asked_for(lab):
    """`implementation` says which: wireguard-go where it is asked for, and a link of the kernel's makes way for its tun"""
    lab.leaks.prove()
    server, daemon = lab.server(), lab.daemon()
    document = server.document()
    document["settings"]["implementation"] = "wireguard-go"
    daemon.add_tunnel(document)
    lab.ip("link", "add", LINK, "type", "wireguard")  # as a daemon that was killed leaves it
    daemon.api.start()
    assert daemon.api.tunnel()["implementation"] == "wireguard-go" and "tun" in kind(lab), daemon.api.tunnel()
    lab.ping(topology.INTERNET4)
