# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that run in a lab's namespaces. They end with the lab; their output is kept in its folder."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import time

from . import isolation, kernel

isolation.require()

CGROUPS = "/sys/fs/cgroup"
# Seconds that whatever must come may take. It ends a test that hangs, and asserts nothing: a loaded machine is slow, not wrong.
PATIENCE = 60


class Died(Exception):
    """A program ended that should have gone on."""


def deadline_in(seconds=PATIENCE):
    return time.monotonic() + seconds


def remaining(deadline, what):
    """Seconds left until DEADLINE; raises TimeoutError(WHAT) when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(what)
    return left


def until(predicate, what, timeout=PATIENCE):
    """Polls what nobody announces until PREDICATE holds. WHAT: what did not come, or a function that says it then."""
    deadline = deadline_in(timeout)
    while not predicate():
        remaining(deadline, what() if callable(what) else what)
        time.sleep(0.01)


class Process:
    """COMMAND in NAMESPACE (network and mounts), in the cgroup of that name below the lab's, its output in NAME.log."""

    def __init__(self, lab, name, command, namespace, environment=None, cgroup="system.slice/lab.service", pass_fds=(), limit=None):
        self.name = name
        self.log_path = f"{lab.folder}/{name}.log"
        directory = f"{CGROUPS}/{cgroup}"
        os.makedirs(directory, exist_ok=True)

        def prepare():
            kernel.die_with_parent(signal.SIGKILL)
            with open(f"{directory}/cgroup.procs", "w") as file:
                file.write("0")
            namespace.join()
            if limit:
                limit()

        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, preexec_fn=prepare, pass_fds=pass_fds
            )
        self.pid = self.popen.pid

    def log(self):
        """What it printed so far."""
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def wait_log(self, text, times=1):
        """Returns once it has printed TEXT so often."""
        until(lambda: self.log().count(text) >= times, lambda: f"{self.name} did not say: {text}\n{self.log()[-3000:]}")

    def alive(self):
        return self.popen.poll() is None

    def send(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout=PATIENCE):
        """Its exit status (negative: the signal that ended it); raises TimeoutError."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} did not end") from None

    def kill(self):
        """SIGKILL, and waits until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.popen.kill()
        return self.wait()


class Notified:
    """A socket for sd_notify(3): the program is ready when it says so, not when somebody guesses it."""

    def __init__(self, path):
        self.path = path
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)

    def wait_ready(self, process, timeout=PATIENCE):
        """Returns once PROCESS said READY=1; raises Died if it ended before, TimeoutError if neither happened."""
        deadline = deadline_in(timeout)
        pidfd = os.pidfd_open(process.pid)
        try:
            while True:
                left = remaining(deadline, f"{process.name} was not ready in {timeout} s")
                readable, _, _ = select.select([self.socket, pidfd], [], [], left)
                if self.socket in readable:
                    if b"READY=1" in self.socket.recv(4096).split(b"\n"):
                        return
                elif pidfd in readable:
                    raise Died(f"{process.name} ended with {process.wait()} before it was ready:\n{process.log()}")
        finally:
            os.close(pidfd)

    def forget(self):
        """What an earlier process said (it is READY=1 after each reload, too) is not the next one's word."""
        with contextlib.suppress(BlockingIOError):
            while self.socket.recv(4096, socket.MSG_DONTWAIT):
                pass

    def close(self):
        self.socket.close()


def wait_gone(pid, timeout=PATIENCE):
    """Returns once the process PID ended, whoever its parent is."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([pidfd], [], [], timeout)[0]:
            raise TimeoutError(f"process {pid} did not end")
    finally:
        os.close(pidfd)


def running(name):
    """The pids of the lab's processes whose program is NAME."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.path.basename(os.readlink(f"/proc/{entry}/exe")) == name:
                found.append(int(entry))
    return sorted(found)


# For benches: which processor a server has, and which its client; the same one where there is but one.
SERVER, *_, CLIENT = sorted(os.sched_getaffinity(0)) * 2


def first(pid, processor):
    """Process PID goes before what else the machine does, on PROCESSOR alone: a ratio is then of what it compares, not of its luck."""
    for thread in map(int, os.listdir(f"/proc/{pid}/task")):
        os.sched_setaffinity(thread, {processor})
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))
