# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real daemon in the client's namespaces: started, asked, killed and started again."""

import os
import shutil
import signal
import subprocess

from . import isolation, process
from .api import Api
from .process import PATIENCE

isolation.require()


def policy(*rules, otherwise="block"):
    """A policy of RULES, pairs of conditions and an action; what none decides is terminated with OTHERWISE."""
    return {
        "version": 1,
        "name": "lab",
        "rules": [{"name": f"rule {index}", "when": when, "then": then} for index, (when, then) in enumerate(rules, 1)],
        "otherwise": {"action": "terminate", "traffic": otherwise},
    }


def on_stop(action, **options):
    """The policy that answers every stop with ACTION."""
    return policy(({"class": ["transient", "local", "permanent"]}, {"action": action, **options}))


# What most tests and quickstart use: at once, again and again, for whatever a retry can help.
RESTART_AT_ONCE = policy(({"class": ["transient", "local"]}, {"action": "restart"}))
TERMINATE = policy()
RELEASE = policy(otherwise="release")
WAIT_LONG = on_stop("restart", delay="1h")
ASK = on_stop("ask", timeout="1h")


class Daemon:
    """holdfastd with folders of its own. `start` returns when it said that it is ready."""

    def __init__(self, lab, name="holdfastd", state_dir=None, environment=None, limit=None):
        self.lab, self.name, self.limit = lab, name, limit
        self.config_dir = f"/run/lab/{name}/etc"
        self.state_dir = state_dir or f"/run/lab/{name}/state"
        self.runtime_dir = f"/run/lab/{name}/run"
        for directory in (self.config_dir, self.state_dir, self.runtime_dir):
            os.makedirs(directory, exist_ok=True)
        os.chmod(self.state_dir, 0o700)
        self.environment = os.environ | {
            "HOLDFAST_DEBUG": "1",
            "HOLDFAST_DAEMON": lab.program("holdfastd"),
            "ASAN_OPTIONS": "detect_leaks=1:halt_on_error=1:abort_on_error=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
            # Without a bus of its own the daemon must not find the host's.
            "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/lab/no-bus",
        } | (environment or {})
        self.process = None
        self.cgroup = f"system.slice/{name}.service"
        self.api = Api(f"{self.runtime_dir}/api.sock")
        self._notified = process.Notified(f"/run/lab/{name}/notify")

    def command(self, *arguments):
        return [
            self.lab.program("holdfastd"),
            "--config-dir",
            self.config_dir,
            "--state-dir",
            self.state_dir,
            "--runtime-dir",
            self.runtime_dir,
            "--worker",
            self.lab.program("holdfast-worker"),
            *arguments,
        ]

    def start(self, **environment):
        """Starts it (again) and waits until it is ready; raises Died where it ends instead."""
        self._notified.forget()
        self.process = process.Process(
            self.lab,
            self.name,
            self.command(),
            self.lab.net.client,
            environment=self.environment | environment | {"NOTIFY_SOCKET": self._notified.path},
            cgroup=self.cgroup,
            limit=self.limit,
        )
        self._notified.wait_ready(self.process)
        return self

    def run(self, *arguments, timeout=PATIENCE):
        """Runs holdfastd with ARGUMENTS (`--boot`, `--release`, `--check`) to its end."""
        return self._run(self.command(*arguments), timeout)

    def ctl(self, *arguments, input=None, timeout=PATIENCE):
        """Runs holdfastctl against this daemon; its exit status, output and errors."""
        return self._run([self.lab.program("holdfastctl"), "--socket", self.api.path, *arguments], timeout, input)

    def take_the_units_capabilities(self):
        """From its next start on it has what the unit file leaves it, and no more."""
        unit = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../../data/holdfast.service.in")
        with open(unit) as file:
            names = next(line for line in file if line.startswith("CapabilityBoundingSet=")).split("=")[1].split()
        kept = ",".join("+" + name.removeprefix("CAP_").lower() for name in names)
        command = self.command
        self.command = lambda *arguments: ["setpriv", "--bounding-set", f"-all,{kept}", "--", *command(*arguments)]

    def ctl_as_member(self, *arguments, timeout=PATIENCE):
        """The same by somebody of the group `holdfast`, who is not root."""

        def become_member():
            self.lab.net.client.join()
            os.setgroups([])
            os.setgid(isolation.CONTROL_GROUP)
            os.setuid(isolation.NOBODY)

        # The folder of the build may be root's alone.
        program = shutil.copy(self.lab.program("holdfastctl"), "/run/lab/holdfastctl")
        return subprocess.run(
            [program, "--socket", self.api.path, *arguments],
            env=self.environment,
            preexec_fn=become_member,
            text=True,
            capture_output=True,
            timeout=timeout,
        )

    def _run(self, command, timeout, input=None):
        return subprocess.run(
            command,
            input=input,
            text=True,
            capture_output=True,
            timeout=timeout,
            env=self.environment,
            preexec_fn=self.lab.net.client.join,
        )

    def kill(self):
        """SIGKILL: its workers go on, and so does the gate."""
        self.process.kill()

    def stop(self, number=signal.SIGTERM, timeout=PATIENCE):
        """Asks it to end (SIGUSR1: and to leave its tunnels running). A status other than 0 is an error, a sanitizer's report, too."""
        self.process.send(number)
        status = self.process.wait(timeout)
        if status != 0:
            raise process.Died(f"{self.name} ended with {status}:\n{self.process.log()[-4000:]}")

    def crashed(self):
        """The sanitizers' or the kernel's word that it crashed, in its log; None: it did not."""
        for line in self.process.log().splitlines() if self.process else ():
            if "Sanitizer" in line or "runtime error:" in line or "Assertion" in line:
                return line
        return None

    # What tests ask for all the time.

    def wait_connected(self, tunnel="home", timeout=PATIENCE):
        """Returns once TUNNEL is connected, be it already."""
        watch = self.api.watch()
        if self.api.tunnel(tunnel)["state"] != "connected":
            watch.wait_state("connected", tunnel, timeout)
        watch.close()

    def policy(self, document):
        self.api.put("/policy", document)

    def gate(self):
        """What the kernel holds, as the daemon last verified it."""
        return self.api.status()["gate"]["kernel"]

    def add_tunnel(self, document):
        self.api.post("/tunnels", document)

    def client_pid(self, program="wireguard-go"):
        """The pid of the only PROGRAM in the client's namespace."""
        pids = [pid for pid in process.running(program) if self.in_client(pid)]
        if len(pids) != 1:
            raise AssertionError(f"one {program} was expected, there are {pids}")
        return pids[0]

    def in_client(self, pid):
        """Whether the process PID runs in the client's namespace."""
        return _in_namespace(pid, self.lab.net.client)

    def worker_pid(self, tunnel="home"):
        """The pid of the tunnel's worker, which is checked to be one; None: there is none."""
        pid = self.api.tunnel(tunnel)["workerPid"]
        if pid is not None and pid not in process.running("holdfast-worker"):
            raise AssertionError(f"the status names the worker {pid}; there are {process.running('holdfast-worker')}")
        return pid

    def table(self):
        """The gate's table as nft(8) lists it; None: there is none."""
        done = self.lab.nft("list", "table", "inet", "holdfast", check=False)
        return done.stdout if done.returncode == 0 else None


def _in_namespace(pid, namespace):
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == os.fstat(namespace.net).st_ino
    except OSError:
        return False
