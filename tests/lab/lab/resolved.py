# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real systemd-resolved in the client's namespaces, out of its package: ./check puts it into build/tools and never installs it."""

import glob
import json
import os

from . import isolation, process, topology

isolation.require()

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
TOOLS = os.path.abspath(os.environ.get("HOLDFAST_TOOLS", f"{TOP}/build/tools"))
NAME = "org.freedesktop.resolve1"
FILES = "/run/systemd/resolve"
USER = 64993  # whom it becomes
_CONFIGURATION = "/etc/systemd/resolved.conf"


def tool(package, pattern):
    """The only file like PATTERN in what was unpacked of PACKAGE."""
    found = glob.glob(f"{TOOLS}/{package}/{pattern}")
    assert found, f"{TOOLS}/{package}/{pattern} is missing: ./check puts it there (install_tools in tests/setup.sh)"
    return found[0]


class Resolved:
    """Started when made, on BUS (with the system's own rules where that is `stock`); eth0's server is UPLINK, as a network manager says it.
    resolv.conf leads to its file MODE: `stub-resolv.conf`, or `resolv.conf`; None: it stays as it is. SETTINGS are of resolved.conf."""

    cgroup = "system.slice/systemd-resolved.service"

    def __init__(self, lab, bus, mode="stub-resolv.conf", uplink=topology.LAN4, start=True, **settings):
        self.lab, self.uplink = lab, uplink
        self.environment = os.environ | {
            "DBUS_SYSTEM_BUS_ADDRESS": bus.address,
            "LD_LIBRARY_PATH": os.path.dirname(tool("systemd-resolved", "usr/lib/*/systemd/libsystemd-shared-*.so")),
            "LC_ALL": "C",
        }
        self._notified = process.Notified("/run/lab/resolved.notify")
        os.chmod(self._notified.path, 0o666)  # it is no longer root when it is ready
        policy = tool("systemd-resolved", f"usr/share/dbus-1/system.d/{NAME}.conf")
        lab.run(["sh", "-c", f"echo systemd-resolve:x:{USER}:65534::/:/usr/sbin/nologin >>/etc/passwd"])
        lab.run(["install", "-D", "-m", "644", policy, f"/etc/dbus-1/system.d/{NAME}.conf"])
        bus.reload()
        self.configure(**settings)
        os.makedirs("/run/systemd", exist_ok=True)
        if mode:
            lab.run(["ln", "-sfn", f"..{FILES}/{mode}", "/etc/resolv.conf"])
        if start:
            self.start()

    def configure(self, **settings):
        """resolved.conf, from its next start on. Without servers to fall back to, or multicast, unless SETTINGS say so."""
        settings = {"FallbackDNS": "", "DNSSEC": "no", "LLMNR": "no", "MulticastDNS": "no", "Cache": "no"} | settings
        text = "[Resolve]\n" + "".join(f"{key}={value}\n" for key, value in settings.items())
        self.lab.run(["install", "-D", "-m", "644", "/dev/stdin", _CONFIGURATION], input=text)

    def start(self):
        """Starts it (again); it has its name on the bus when this returns, and knows the uplink's server."""
        self._notified.forget()
        self.process = process.Process(
            self.lab,
            "systemd-resolved",
            [tool("systemd-resolved", "*lib/systemd/systemd-resolved")],
            self.lab.net.client,
            environment=self.environment | {"NOTIFY_SOCKET": self._notified.path},
            cgroup=self.cgroup,
        )
        self._notified.wait_ready(self.process)  # it has only asked for its name by then
        process.until(self._has_name, self.process.log)
        if self.uplink:
            self.ctl("dns", "eth0", self.uplink)

    def _has_name(self):
        return self.lab.run(["busctl", "status", NAME], check=False, env=self.environment).returncode == 0

    def kill(self, forget=False):
        """SIGKILL. FORGET: what it keeps of links for its next start goes, too, as over a reboot."""
        self.process.kill()
        if forget:
            self.lab.run(["rm", "-rf", FILES])

    def ctl(self, *arguments, check=True):
        """resolvectl(1); its output."""
        done = self.lab.run([tool("systemd-resolved", "usr/bin/resolvectl"), *arguments], check=check, env=self.environment)
        return done.stdout.strip()

    def servers(self, link):
        """The servers of LINK."""
        return self.ctl("dns", link).split(":", 1)[1].split()

    def domains(self, link):
        return self.ctl("domain", link).split(":", 1)[1].split()

    def query(self, name):
        """The IPv4 addresses that it finds for NAME; empty: none."""
        done = self.lab.run(["busctl", "--json=short", "call", NAME, "/org/freedesktop/resolve1", f"{NAME}.Manager",
                             "ResolveHostname", "isit", "0", name, "2", "0"], check=False, env=self.environment)  # fmt: skip
        return [".".join(map(str, data)) for _, _, data in json.loads(done.stdout)["data"][0]] if done.returncode == 0 else []


def getent(lab, name):
    """The IPv4 addresses that programs of the host find for NAME, by nsswitch.conf; empty: none."""
    return sorted({line.split()[0] for line in lab.run(["getent", "ahostsv4", name], check=False).stdout.splitlines()})


class Resolvconf:
    """The real resolvconf(8) of PACKAGE, resolvconf or openresolv, where the client looks for it."""

    def __init__(self, lab, package):
        self.lab = lab
        tool(package, "sbin/resolvconf")
        for folder in ("sbin", "lib"):
            lab.run(["mount", "-t", "overlay", "-o", f"lowerdir={TOOLS}/{package}/{folder}:/usr/{folder}", package, f"/usr/{folder}"])
        lab.run(["cp", "-a", f"{TOOLS}/{package}/etc/.", "/etc"])
        if package == "resolvconf":
            os.makedirs("/run/resolvconf/interface")
            lab.run(["resolvconf", "--enable-updates"])
            lab.run(["ln", "-sfn", "/run/resolvconf/resolv.conf", "/etc/resolv.conf"])

    def add(self, record, *servers):
        """What a DHCP client says of a link."""
        self.lab.run(["resolvconf", "-a", record], input="".join(f"nameserver {server}\n" for server in servers))
