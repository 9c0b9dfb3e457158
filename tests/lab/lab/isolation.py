# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the lab lives: namespaces of its own, from which nothing it does reaches the host.

Two stages. `enter()`, on the host, records which namespaces those are, makes a cgroup for the lab and runs the same program again
inside new network, mount, pid, uts, ipc and cgroup namespaces. `settle()`, inside, is the first process there: it makes the mounts
private and covers /run, /etc and the cgroup tree, then hands over to the program and reaps whatever is orphaned.

Every other module calls `require()` when it is imported: without a record, or in a recorded namespace, it raises. No function of the
library can therefore touch the host's firewall, links, routes or resolver, whoever calls it and however.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time

from . import kernel

RECORD = "HOLDFAST_LAB_HOST"  # "net:[…] mnt:[…]" of the host
LOWER_ETC = "/run/lab/etc"  # the host's /etc, below every overlay
CONTROL_GROUP, NOBODY = 64990, 65534  # ids: the group `holdfast`, and whom nothing belongs to
_KINDS = ("net", "mnt")


class NotIsolated(RuntimeError):
    """The lab was used in the namespaces of the host."""


def require():
    """Raises NotIsolated unless the caller runs inside namespaces that `enter()` made."""
    record = os.environ.get(RECORD, "").split()
    if len(record) != len(_KINDS):
        raise NotIsolated("the lab runs in namespaces of its own: start it with tests/lab/run")
    for kind, host in zip(_KINDS, record):
        if not host.startswith(f"{kind}:[") or kernel.namespace_id(kind) == host:
            raise NotIsolated(f"the lab refuses to run in the host's {kind} namespace: start it with tests/lab/run")


def _unified_hierarchy():
    """Where the host has cgroup v2: /sys/fs/cgroup itself, or beside version 1 somewhere below it. None: nowhere."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[2] == "cgroup2" and "rw" in fields[3].split(","):
                return fields[1]
    return None


def _own_cgroup():
    """The caller's cgroup in the unified hierarchy: "/user.slice"."""
    with open("/proc/self/cgroup") as file:
        for line in file:
            if line.startswith("0::"):
                return line[3:].strip()
    return "/"


def _make_cgroup():
    hierarchy = _unified_hierarchy()
    if hierarchy is None:
        sys.exit("lab: no writable cgroup v2 is mounted here; the daemon and its workers need one of their own")
    parent = hierarchy + _own_cgroup().rstrip("/")
    for name in os.listdir(parent):  # what a run that was killed could not remove
        if name.startswith("holdfast-lab-") and not os.path.exists(f"/proc/{name[13:]}"):
            remove_cgroup(f"{parent}/{name}")
    path = f"{parent}/holdfast-lab-{os.getpid()}"
    os.mkdir(path)
    return path


def _end_cgroup(path):
    """Ends whatever is left in a cgroup, waits until it is gone, and removes it."""
    with open(f"{path}/cgroup.kill", "w") as file:
        file.write("1")
    with open(f"{path}/cgroup.events") as events:
        changed = select.poll()
        changed.register(events, select.POLLPRI)
        deadline = time.monotonic() + 30
        while "populated 1" in events.read() and time.monotonic() < deadline:
            changed.poll(1000)
            events.seek(0)
    remove_cgroup(path)


def remove_cgroup(path):
    """Removes a cgroup and those below it, as far as they are empty."""
    for directory, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def enter(arguments):
    """On the host: runs ARGUMENTS (a program that calls `settle()` first) in new namespaces and returns its exit status."""
    if os.geteuid() != 0:
        sys.exit("lab: it makes network namespaces and so runs as root only")
    cgroup = _make_cgroup()
    environment = dict(os.environ)
    environment[RECORD] = " ".join(kernel.namespace_id(kind) for kind in _KINDS)

    def move():
        kernel.die_with_parent(signal.SIGKILL)
        with open(f"{cgroup}/cgroup.procs", "w") as file:
            file.write("0")

    command = ["unshare", "--net", "--mount", "--propagation", "private", "--pid", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child",
               "--mount-proc", "--"]
    child = None
    try:
        # Interruptions reach the whole foreground group; the child tidies up and this process waits for it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: child and child.kill())
        child = subprocess.Popen(command + arguments, env=environment, preexec_fn=move)
        status = child.wait()
    finally:
        _end_cgroup(cgroup)
    return status if status >= 0 else 128 - status


def settle():
    """Inside, as the first process of the pid namespace: covers the mounts and returns in a child; this process reaps until it ends."""
    require()
    if os.getpid() != 1:
        raise NotIsolated("the lab's first process is not the first of a pid namespace")
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    cover()
    reap_for(os.fork())


def reap_for(child):
    """As the first process of a pid namespace: returns in the child; else reaps every orphan and exits as the child did."""
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def cover():
    """Covers /run, /etc, /sys and the cgroup tree of the caller's mount namespace, which must be private."""
    require()
    host_etc = LOWER_ETC if os.path.isdir(LOWER_ETC) else "/etc"
    descriptor = os.open(host_etc, os.O_PATH | os.O_DIRECTORY)  # reachable after /run is covered
    kernel.mount("tmpfs", "/run", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0755")
    for directory in ("/run/lab/etc", "/run/netns", "/run/wireguard", "/run/lock"):
        os.makedirs(directory)
    kernel.mount(f"/proc/self/fd/{descriptor}", LOWER_ETC, "", kernel.MS_BIND)
    os.close(descriptor)
    kernel.mount("none", LOWER_ETC, "", kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY)
    cover_etc("base")
    kernel.mount("sysfs", "/sys", "sysfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.mount("bpf", "/sys/fs/bpf", "bpf", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)


def overlay(target, name, lower=None):
    """Covers TARGET with an overlay whose upper half is on the lab's own /run: what is written there vanishes with the lab."""
    upper, work = f"/run/lab/overlay/{name}/upper", f"/run/lab/overlay/{name}/work"
    os.makedirs(upper)
    os.makedirs(work)
    kernel.mount("overlay", target, "overlay", 0, f"lowerdir={lower or target},upperdir={upper},workdir={work}")


def cover_etc(name):
    """Covers /etc with an overlay of the host's /etc, in which the users and groups that Holdfast runs as exist."""
    overlay("/etc", f"etc-{name}", LOWER_ETC)
    add_line("/etc/group", f"holdfast:x:{CONTROL_GROUP}:")
    add_line("/etc/group", "holdfast-worker:x:64991:")
    add_line("/etc/passwd", "holdfast-dns:x:64992:65534:Holdfast resolver:/nonexistent:/usr/sbin/nologin")
    add_line("/etc/passwd", "holdfast-worker:x:64991:64991:Holdfast worker:/nonexistent:/usr/sbin/nologin")


def add_line(path, line):
    """Adds LINE to a colon-separated database unless its name is in it. The file is replaced, so that an overlay's lower one stays."""
    with open(path) as file:
        text = file.read()
    if any(entry.split(":", 1)[0] == line.split(":", 1)[0] for entry in text.splitlines()):
        return
    with open(path + ".new", "w") as file:
        file.write(text.rstrip("\n") + "\n" + line + "\n")
    shutil.copymode(path, path + ".new")
    os.rename(path + ".new", path)
