# SPDX-License-Identifier: LGPL-2.1-or-later
"""logind as python3-dbusmock plays it, on a bus of the lab's: it says that the host falls asleep, and that it wakes."""

import os

from . import isolation, process

isolation.require()


class Logind:
    """`environment` is for the daemon that is to hear it."""

    def __init__(self, lab):
        self.lab = lab
        self.environment = {"DBUS_SYSTEM_BUS_ADDRESS": lab.bus().address}

    def start(self):
        """Ready when it returns."""
        command = ["/usr/bin/python3", "-m", "dbusmock", "--template", "logind"]
        process.Process(self.lab, "logind", command, self.lab.net.client, environment=os.environ | self.environment)
        self._run(["gdbus", "wait", "--system", "--timeout", "60", "org.freedesktop.login1"])
        return self

    def _run(self, command):
        self.lab.run(command, env=os.environ | self.environment, timeout=2 * process.PATIENCE)

    def sleeps(self, begins):
        """PrepareForSleep: that the host falls asleep (BEGINS), or has woken up."""
        self._run(
            ["gdbus", "call", "--system", "-d", "org.freedesktop.login1", "-o", "/org/freedesktop/login1",
             "-m", "org.freedesktop.DBus.Mock.EmitSignal", "org.freedesktop.login1.Manager", "PrepareForSleep", "b",
             f"[<{str(begins).lower()}>]"],
        )  # fmt: skip
