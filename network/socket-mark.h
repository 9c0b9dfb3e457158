/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Marks sockets at birth: a cgroup v2 with a BPF program (sock_create) gives every IPv4 and IPv6 socket made inside it a mark, so
 * that route, source address and the gate's rule agree from connect() on. Sockets made before a process came in are not marked.
 *
 * NAME is a cgroup beneath the daemon's own: letters, digits, '-', '_' and '.', not first a dot; -EINVAL otherwise.
 */

#include <stdint.h>
#include <sys/types.h>

/*
 * Makes (or finds) the cgroup NAME and makes MARK its only mark. *ret_fd is the directory (for CLONE_INTO_CGROUP and cgroup.procs;
 * the caller closes it). The mark lives as long as the cgroup, also after the daemon. -EOPNOTSUPP: no cgroup v2 or no BPF here.
 */
int socket_mark_cgroup(const char *name, uint32_t mark, int *ret_fd);
/* -EOPNOTSUPP: sockets cannot be marked here at all, as above; else 0, or another error that says nothing about that. */
int socket_mark_supported(void);
/* What that takes, each by itself: a cgroup v2 of our own to make others in (-EOPNOTSUPP: none is mounted), and what bpf(2) says. */
int socket_mark_cgroups(void);
int socket_mark_programs(void);
/* Makes MARK the only mark of the cgroup at that directory, and takes it off. Others' programs there are left alone. */
int socket_mark_attach(int cgroup_fd, uint32_t mark);
int socket_mark_detach(int cgroup_fd);
/*
 * Takes a mark off a cgroup that is known to carry one: new sockets are ordinary even where its program can neither be found in a bpffs
 * nor be looked for (that takes CAP_SYS_ADMIN).
 */
int socket_mark_take_back(int cgroup_fd);
/*
 * A guard: once it is shut it drops, for good, what sockets born in that cgroup or beneath it send with a mark of the block (MARK & MASK ==
 * FIRST), as long as any of them lives, also after the cgroup was removed. ID is what a later daemon finds it by: letters, digits, '-'.
 * *ret_guard is to be shut or closed. -EOPNOTSUPP: not on this kernel; others: the cgroup is gone.
 */
int socket_mark_guard(int cgroup_fd, uint32_t first, uint32_t mask, const char *id, int *ret_guard);
int socket_mark_guard_open(const char *id, int *ret_guard);
int socket_mark_guard_shut(const char *id, int guard); /* it cannot be found again */
/* Opens the cgroup NAME as it is; the caller closes *ret_fd. */
int socket_mark_cgroup_open(const char *name, int *ret_fd);
/* Removes a cgroup NAME that is empty; -EBUSY: it is not. 0 also where there was none. */
int socket_mark_cgroup_forget(const char *name);
/* Calls FOUND for each cgroup beneath the daemon's own whose name begins with PREFIX. */
int socket_mark_cgroup_list(const char *prefix, void (*found)(const char *name, void *userdata), void *userdata);
/* Kills every process inside and removes it; 0 also where there was none. -EBUSY: they have not died within a second. */
int socket_mark_cgroup_remove(const char *name);
/* 1: PID is in the cgroup NAME or beneath it; 0: it is not; -ESRCH: there is no such process. */
int socket_mark_cgroup_contains(const char *name, pid_t pid);
