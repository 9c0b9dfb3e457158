# SPDX-License-Identifier: LGPL-2.1-or-later
"""polkit on a bus of the lab's: the real one with the actions that are installed, and a double that hangs and dies when told to."""

import json
import os
import signal

from . import isolation, process

isolation.require()

NAME = "org.freedesktop.PolicyKit1"
_TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))))
_LAB = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# Its actions are Holdfast's alone, and no rule of the host's is asked.
_START = f"""set -e
for folder in /usr/share/polkit-1/actions /usr/share/polkit-1/rules.d /etc/polkit-1; do
	mount -t tmpfs -o mode=755 tmpfs $folder
done
mkdir -p /etc/polkit-1/rules.d
install -m 644 {_TOP}/data/org.holdfast.Holdfast1.policy /usr/share/polkit-1/actions/
exec /usr/lib/polkit-1/polkitd --no-debug
"""


class _OnBus:
    def __init__(self, lab, on_bus, name, command):
        self.lab, self.on_bus = lab, on_bus
        self.process = process.Process(lab, name, command, lab.net.client, environment=on_bus.environment)
        done = on_bus.run(["gdbus", "wait", "--address", on_bus.bus.address, "--timeout", "60", NAME])
        assert done.returncode == 0, f"{name} has no name on the bus:\n{self.process.log()}"


class Polkit(_OnBus):
    """The real polkitd."""

    def __init__(self, lab, on_bus):
        super().__init__(lab, on_bus, "polkitd", ["unshare", "--mount", "sh", "-c", _START])

    def user_calls(self, answer, interactive, path, interface, member, *arguments):
        """`nobody` calls, and answers as desktop_user.py says. What came of it."""
        command = ["/usr/bin/python3", f"{_LAB}/desktop_user.py", answer, "yes" if interactive else "no", path, interface, member, *arguments]
        done = self.lab.run(command, check=False, env=self.on_bus.environment, timeout=2 * process.PATIENCE)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


class Double(_OnBus):
    """python3-dbusmock's. ALLOWED: the actions that it grants; the others it denies."""

    def __init__(self, lab, on_bus, allowed=()):
        super().__init__(lab, on_bus, "polkit-double", ["/usr/bin/python3", "-m", "dbusmock", "--system", "--template", "polkitd"])
        self._tell("SetAllowed", "as", str(len(allowed)), *allowed)

    def _tell(self, member, *arguments):
        done = self.on_bus.run(["busctl", "--json=short", "call", NAME, "/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.DBus.Mock",
                                member, *arguments])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["data"] if done.stdout.strip() else None

    def hang(self):
        """From now on it takes questions and does not answer."""
        self._tell("SimulateHang", "b", "true")

    def holds_a_question(self):
        return self._tell("HaveHangingCalls") == [True]

    def go_on(self):
        self._tell("ReleaseHangingCalls")

    def stop(self):
        self.process.send(signal.SIGSTOP)
