# SPDX-License-Identifier: LGPL-2.1-or-later
"""Network namespaces as objects.

A socket belongs for ever to the network namespace it was made in, whichever namespace its process moves to afterwards. So the lab is
one process that steps into a namespace, makes a socket there and steps back: what it offers, captures and asks is then synchronous.
"""

import contextlib
import os

from . import isolation, kernel

isolation.require()


class Namespace:
    """A network namespace, with a mount namespace of its own where `isolate_mounts` was called; both held open by descriptors."""

    def __init__(self, name):
        self.name = name
        self.mounts = None
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.unshare(kernel.CLONE_NEWNET)
            self.net = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            # Bound where ip(8) looks for names, so that `ip -n NAME` and `ip netns exec NAME` work in a lab, too.
            path = f"/run/netns/{name}"
            with open(path, "w"):
                pass
            kernel.mount("/proc/self/ns/net", path, "", kernel.MS_BIND)
        finally:
            kernel.setns(home, kernel.CLONE_NEWNET)
            os.close(home)

    @classmethod
    def of(cls, pid, name):
        """That of the process PID, which somebody else made."""
        found = cls.__new__(cls)
        found.name, found.mounts = name, None
        found.net = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        return found

    def isolate_mounts(self, prepare):
        """Gives the namespace a mount namespace of its own; `prepare()` runs inside it and mounts what is to differ."""
        home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernel.unshare(kernel.CLONE_NEWNS)
            kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
            self.mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            with self.entered():
                # /sys shows the links of the namespace it was mounted in.
                kernel.mount("sysfs", "/sys", "sysfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
                kernel.mount("bpf", "/sys/fs/bpf", "bpf", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
                kernel.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
                prepare()
        finally:
            directory = os.getcwd()
            kernel.setns(home, kernel.CLONE_NEWNS)
            os.chdir(directory)
            os.close(home)

    @contextlib.contextmanager
    def entered(self):
        """Sockets made inside the block belong to this network namespace."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        kernel.setns(self.net, kernel.CLONE_NEWNET)
        try:
            yield self
        finally:
            kernel.setns(home, kernel.CLONE_NEWNET)
            os.close(home)

    def join(self):
        """Moves a child for good into the namespaces: for `preexec_fn`, which then executes a program."""
        kernel.setns(self.net, kernel.CLONE_NEWNET)
        if self.mounts is not None:
            kernel.setns(self.mounts, kernel.CLONE_NEWNS)
            os.chdir("/")

    def sysctl(self, **values):
        """Sets sysctls of the namespace: `sysctl(**{"net/ipv4/ip_forward": 1})`."""
        with self.entered():
            for name, value in values.items():
                with open(f"/proc/sys/{name}", "w") as file:
                    file.write(str(value))
