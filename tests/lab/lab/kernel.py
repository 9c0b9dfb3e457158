# SPDX-License-Identifier: LGPL-2.1-or-later
"""The few system calls that Python 3.11 does not offer."""

import ctypes
import os
import platform
import struct

_libc = ctypes.CDLL(None, use_errno=True)

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/mount.h
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000

# asm/unistd.h
SYSTEM_CALLS = {
    "x86_64": {"bpf": 321, "landlock_create_ruleset": 444},
    "aarch64": {"bpf": 280, "landlock_create_ruleset": 444},
}[platform.machine()]


def _check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags):
    """Moves the caller into new namespaces (unshare(2))."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor, flags):
    """Moves the caller into the namespace that DESCRIPTOR stands for (setns(2))."""
    _check(_libc.setns(descriptor, flags), "setns")


def mount(source, target, kind, flags=0, options=""):
    """mount(2)."""
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(result, f"mount {kind or source} on {target}")


def unmount(target, flags=0):
    """umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), f"unmount {target}")


def die_with_parent(signal):
    """SIGNAL is sent to the caller when the thread that forked it ends (prctl(2))."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0), "prctl")


def namespace_id(kind, pid="self"):
    """The inode that names a namespace: "net:[4026531840]"."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def refuse(name, error):
    """From now on system call NAME ends in ERROR for the caller and all that it starts, as on a kernel without it (seccomp(2))."""
    load, equal, answer = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in (
        (load, 0, 0, 0),  # seccomp_data.nr
        (equal, 0, 1, SYSTEM_CALLS[name]),
        (answer, 0, 0, SECCOMP_RET_ERRNO | error),
        (answer, 0, 0, SECCOMP_RET_ALLOW),
    ))
    instructions = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, ctypes.addressof(instructions)))
    _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0), "seccomp")
