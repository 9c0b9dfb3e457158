# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private system bus: dbus-daemon with a configuration that allows everything, or with the one that the system itself has."""

import os

from . import isolation, process

isolation.require()

_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""
# The system's own, with what Holdfast installs for it: the policy in the client's own /etc, the file for activation in a folder beside.
_STOCK = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <include>/usr/share/dbus-1/system.conf</include>
  <servicedir>{services}</servicedir>
</busconfig>
"""
_PATH, _SERVICES = "/run/lab/bus", "/run/lab/bus-services"
_DATA = os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../../data")


class Bus:
    """`address` is for DBUS_SYSTEM_BUS_ADDRESS. Ready when the constructor returns, unless START is false."""

    def __init__(self, lab, stock=False, start=True):
        self.lab, self.stock = lab, stock
        self.address = f"unix:path={_PATH}"
        with open("/run/lab/bus.conf", "w") as file:
            file.write((_STOCK if stock else _CONFIGURATION).format(path=_PATH, services=_SERVICES))
        if stock:
            name = "org.holdfast.Holdfast1"
            lab.run(["install", "-D", "-m", "644", f"{_DATA}/{name}.conf", f"/etc/dbus-1/system.d/{name}.conf"])
            lab.run(["install", "-D", "-m", "644", f"{_DATA}/{name}.service", f"{_SERVICES}/{name}.service"])
        if start:
            self.start()

    def start(self):
        """Starts it, again where it ended."""
        options = [f"--address={self.address}", "--systemd-activation"] if self.stock else []
        ready, told = os.pipe()
        self.process = process.Process(
            self.lab,
            "dbus-daemon",
            ["dbus-daemon", "--config-file=/run/lab/bus.conf", *options, "--nofork", "--nopidfile", f"--print-address={told}"],
            self.lab.net.client,
            pass_fds=[told],
        )
        os.close(told)
        with os.fdopen(ready) as answer:
            if not answer.readline().startswith("unix:"):  # printed once it listens; empty where it ended instead
                raise process.Died(f"dbus-daemon did not start:\n{self.process.log()}")

    def reload(self):
        """Has it read its rules again."""
        self.lab.run(["busctl", "call", "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig"],
                     env=os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": self.address})  # fmt: skip
