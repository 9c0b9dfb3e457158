# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real systemd as PID 1 of a pid namespace of its own, in the client's network, with a system bus and no unit but those that a test makes.

/var/lib is empty: what units keep there is gone with it."""

import os
import signal

from . import isolation, process

isolation.require()

BUS = "/run/dbus/system_bus_socket"
_ROOT = "pid1"  # its cgroup, which is the root of the tree that it sees
_UNITS = "/etc/systemd/system"
# In place of what the host has installed. PID 1 is on the bus only where these two units say that there is one.
_FILES = {
    "dbus.socket": f"[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream={BUS}\n",
    "dbus.service": (
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\n"
        "ExecStart=/usr/bin/dbus-daemon --config-file=/run/lab/pid1-bus.conf --nofork --nopidfile --address=systemd: --systemd-activation\n"
    ),
    "default.target": "[Unit]\nDefaultDependencies=no\nWants=dbus.socket dbus.service\n",
}
_POLICY = f"""<busconfig><type>system</type><listen>unix:path={BUS}</listen><auth>EXTERNAL</auth><policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow receive_sender="*"/></policy></busconfig>
"""
# What the whole machine has in common (fs.file-max, which systemd raises) is read-only to it; it has no console but its log.
_START = f"""set -e
umount /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind /proc/sys/fs /proc/sys/fs
mount -o remount,bind,ro /proc/sys/fs
for folder in {_UNITS} /usr/lib/systemd/system /usr/lib/systemd/system-generators /var/lib; do
	mount -t tmpfs -o mode=755 tmpfs $folder
done
cp /run/lab/pid1-units/* {_UNITS}/
mkdir -p /run/dbus /run/systemd
mount --bind /run/lab/pid1.console /dev/console
exec env -i PATH="$PATH" container=lab /usr/lib/systemd/systemd --system --log-target=console --show-status=0
"""


class Systemd:
    """`environment` is for a daemon that is to use its bus; `inside` is what a command begins with that is to run beneath it."""

    def __init__(self, lab, units=()):
        """UNITS: what stands in files of their own; default.target wants them."""
        self.lab = lab
        self.environment = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={BUS}"}
        os.makedirs("/run/lab/pid1-units")
        files = _FILES | dict(units)
        files["default.target"] += "".join(f"Wants={name}\n" for name in dict(units))
        for name, text in (*files.items(), ("../pid1-bus.conf", _POLICY), ("../pid1.console", "")):
            with open(f"/run/lab/pid1-units/{name}", "w") as file:
                file.write(text)
        command = ["unshare", "--mount", "--propagation", "private", "--pid", "--cgroup", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc",
                   "sh", "-c", _START]  # fmt: skip
        self.process = process.Process(lab, "systemd", command, lab.net.client, cgroup=_ROOT)
        process.until(lambda: self._has_begun("systemd"), lambda: f"systemd did not start:\n{self.log()}")
        self.pid, *_ = process.running("systemd")  # and whom it has just forked
        self.inside = ["nsenter", "--target", str(self.pid), "--mount", "--pid", "--cgroup", "--"]
        process.until(self._on_bus, lambda: f"systemd is not on its bus:\n{self.log()}")

    def _has_begun(self, program):
        """Whether PROGRAM runs; raises where the first of its namespace has ended."""
        if not self.process.alive():
            raise process.Died(f"systemd ended:\n{self.log()}")
        return process.running(program)

    def _on_bus(self):
        return self._has_begun("dbus-daemon") and self.run("busctl", "status", "org.freedesktop.systemd1", check=False).returncode == 0

    def log(self):
        with open("/run/lab/pid1.console", errors="replace") as file:
            return self.process.log() + file.read()

    def run(self, *command, check=True):
        return self.lab.run([*self.inside, *command], check=check)

    def cgroup(self, path):
        """Where PATH of its tree is in the lab's."""
        return f"{_ROOT}/{path}"

    def adopt(self, daemon):
        """From its next start on DAEMON runs beneath it, in a cgroup as its unit has."""
        command = daemon.command
        daemon.cgroup = self.cgroup(f"system.slice/{daemon.name}.service")
        daemon.command = lambda *arguments: [*self.inside, *command(*arguments)]

    def kill(self, daemon):
        """SIGKILL to the daemon itself; nsenter(1) ends as it did."""
        os.kill(daemon.client_pid("holdfastd"), signal.SIGKILL)
        daemon.process.wait()
