# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the gate costs a user: TCP through a real tunnel with the gate (mode auto) over the same with none (mode off): a ratio within one run.

Tunnel, server and both ends of the connection share one processor, so that what is compared is work: with two it would be hidden where the
other side is the slower one. They go before whatever else the machine does, which only ever slows: the quicker quarters are compared.
"""

import contextlib
import itertools
import os
import signal
import socket
import statistics
import time

from lab import process, topology
from lab.daemon import RESTART_AT_ONCE

GOAL = 0.98
GUARD = 0.75  # below it something broke, and not the machine was busy
PORT = 5201
BLOCK = 256 * 1024
SEND_BUFFER = 256 * 1024  # less than a tunnel's queue takes: what is lost and sent again is the connection's luck
TRANSFER = 2 << 20
TURNS = 3  # transfers behind each change of the mode
ROUNDS, SECONDS = 3, 12  # at least so many, then on for so long


def _pin(*pids):
    """Lets them run on one processor, before all others that want it."""
    for pid in pids:
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            os.sched_setaffinity(thread, {process.CLIENT})
            os.setpriority(os.PRIO_PROCESS, thread, -20)


def _receive(listener):
    block = bytearray(BLOCK)
    while True:
        connection, _ = listener.accept()
        with connection:
            while connection.recv_into(block):
                pass


@contextlib.contextmanager
def _receiver(lab):
    """A process behind the tunnel that takes what comes, connection by connection."""
    with lab.net.server.entered():
        listener = socket.create_server((topology.INNER_SERVER4, PORT))
    pid = os.fork()
    if pid == 0:
        _receive(listener)
    listener.close()
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _transfer(lab):
    """Seconds for TRANSFER bytes, until the other side has read them all."""
    block = bytes(BLOCK)
    with lab.net.client.entered():
        connection = socket.socket()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")  # the one that every kernel has, and no pacing
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection.connect((topology.INNER_SERVER4, PORT))
        begun = time.monotonic()
        for _ in range(TRANSFER // BLOCK):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        return time.monotonic() - begun


def _quick(samples):
    return statistics.quantiles(samples, n=4)[0]


def _compare(lab, daemon, program):
    """Transfers with the gate and without in turn, and in going first."""
    took = {"off": [], "auto": []}
    begun = time.monotonic()
    for number in itertools.count(1):
        for mode in ("off", "auto") if number % 2 else ("auto", "off"):
            daemon.api.mode(mode)
            assert (daemon.table() is None) == (mode == "off")
            _transfer(lab)  # for warm caches
            took[mode] += [_transfer(lab) for _ in range(TURNS)]
        if number >= ROUNDS and time.monotonic() - begun > SECONDS:
            break
    ratio = _quick(took["off"]) / _quick(took["auto"])
    speeds = ", ".join(f"{mode} {TRANSFER / _quick(samples) / 1e6:.0f} MB/s" for mode, samples in took.items())
    by_pairs = statistics.median(off / auto for off, auto in zip(took["off"], took["auto"]))
    lab.note(f"throughput through {program}, gate / none: {ratio:.3f} (goal: at least {GOAL}; median of {len(took['off'])} pairs {by_pairs:.3f}; {speeds})")
    assert ratio >= GUARD, f"{ratio:.3f} is less than {GUARD}"


def _measure(lab, daemon, server_pid, program):
    with _receiver(lab) as receiver:
        _pin(server_pid, daemon.client_pid(program), receiver, os.getpid())
        _compare(lab, daemon, program)


def bench_throughput_wireguard(lab):
    """TCP through WireGuard with the gate over without: at least 0.98"""
    daemon, server = lab.guarded()
    _measure(lab, daemon, server.process.pid, "wireguard-go")


def bench_throughput_openvpn(lab):
    """TCP through OpenVPN with the gate over without: at least 0.98"""
    server = lab.openvpn_server()
    daemon = lab.daemon()
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(server.document())
    daemon.api.start()
    _measure(lab, daemon, server.process.pid, "openvpn")
