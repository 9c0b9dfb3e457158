# SPDX-License-Identifier: LGPL-2.1-or-later
"""A daemon on a bus of the lab's, and that bus as programs use it."""

import json
import os
import subprocess

from . import isolation

isolation.require()

NAME, ROOT = "org.holdfast.Holdfast1", "/org/holdfast/Holdfast1"


def plain(value):
    """VALUE of busctl's JSON without its types; an empty `av` is null."""
    if isinstance(value, dict) and set(value) == {"type", "data"}:
        return None if value == {"type": "av", "data": []} else plain(value["data"])
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def typed(value):
    """The opposite: VALUE as busctl(1) takes it, its signature and then what is of it."""
    if isinstance(value, dict):
        return ["a{sv}", str(len(value)), *(word for key, member in value.items() for word in (key, *typed(member)))]
    if isinstance(value, list):
        return ["av", str(len(value)), *(word for item in value for word in typed(item))]
    return ["b", str(value).lower()] if isinstance(value, bool) else ["x" if isinstance(value, int) else "s", str(value)]


class OnBus:
    """The daemon as programs on the bus see it. With START false it is not started yet; with LATE the bus is not."""

    def __init__(self, lab, start=True, late=False, **options):
        self.lab = lab
        self.bus = lab.bus(start=not late, **options)
        self.environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": self.bus.address}
        self.daemon = lab.daemon(start=start, environment={"DBUS_SYSTEM_BUS_ADDRESS": self.bus.address})
        if start and not late:
            self.wait()

    def wait(self):
        """Returns once the daemon has its name."""
        done = self.run(["gdbus", "wait", "--address", self.bus.address, "--timeout", "60", NAME])
        assert done.returncode == 0, "the daemon did not take its name on the bus"

    def run(self, command, user=0, **options):
        """Runs COMMAND on this bus, as USER."""
        become = [] if user == 0 else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
        return self.lab.run([*become, *command], check=False, env=self.environment, **options)

    def start(self, command, user=0):
        """The same, not waited for; standard error goes with the output."""
        become = [] if user == 0 else ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
        return subprocess.Popen([*become, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environment,
                                preexec_fn=self.lab.net.client.join)

    def call(self, path, interface, member, *arguments):
        done = self.run(["busctl", "--json=short", "call", NAME, path, interface, member, *arguments])
        assert done.returncode == 0, f"{member}: {done.stderr}"
        return json.loads(done.stdout)["data"] if done.stdout.strip() else None

    def property(self, path, interface, name):
        done = self.run(["busctl", "--json=short", "get-property", NAME, path, f"{NAME}.{interface}", name])
        assert done.returncode == 0, f"{name}: {done.stderr}"
        return json.loads(done.stdout)["data"]

    def monitor(self, *options):
        """Every message of the daemon's, a JSON object per line, from now on."""
        process = subprocess.Popen(
            ["stdbuf", "-oL", "gdbus", "monitor", "--address", self.bus.address, "--dest", NAME, *options],
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
            preexec_fn=self.lab.net.client.join,
        )
        while "owned by" not in (line := process.stdout.readline()):
            assert line, "gdbus ended"
        return process
