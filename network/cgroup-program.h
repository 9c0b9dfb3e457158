/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * BPF programs of ours on cgroups, by the plain bpf(2) call. They are pinned, so that a later daemon can take them off: to find one by
 * its number takes CAP_SYS_ADMIN, which the unit does not leave. Where there is no bpffs, that is tried all the same. Others' programs
 * on the same cgroup are left alone. Calls return 0 or a negative errno.
 */

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cgroup_program_kind {
	uint32_t type, attach_type; /* BPF_PROG_TYPE_*, BPF_CGROUP_* */
	const char *name;	    /* by which ours are known, shorter than BPF_OBJ_NAME_LEN */
	const char *pin;	    /* what its file in the bpffs begins with; NULL: it is never taken off again */
};

/* What bpf(2) says where it is refused, or on a kernel without CONFIG_BPF_SYSCALL or CONFIG_CGROUP_BPF, as -EOPNOTSUPP. */
int cgroup_program_support(int error);
/* A program; the caller closes it. */
int cgroup_program_load(const struct cgroup_program_kind *kind, const struct bpf_insn *code, size_t count);
int cgroup_program_attach(const struct cgroup_program_kind *kind, int cgroup, int program);
/*
 * Makes PROGRAM the only one of KIND. It is pinned before it is attached, and attached before an earlier one is taken off: whenever the
 * daemon dies, whatever is attached can be found, and there is no moment without one.
 */
int cgroup_program_replace(const struct cgroup_program_kind *kind, int cgroup, int program);
/* Takes off every one of KIND that can be found by its number. *ret_unknown: how many could not be looked at. */
int cgroup_program_take_off(const struct cgroup_program_kind *kind, int cgroup, unsigned *ret_unknown);
/* Takes off what is pinned for CGROUP. False: nothing is. */
bool cgroup_program_take_off_pinned(const struct cgroup_program_kind *kind, int cgroup);

/*
 * A number that programs read (BPF_PSEUDO_MAP_VALUE): 0 until it is set to 1, for good. It reaches a program on a cgroup that was removed.
 * Pinned as NAME, so that a later daemon finds it. _new() and _open() return a descriptor that the caller closes.
 */
int cgroup_program_switch_new(const char *name);
int cgroup_program_switch_open(const char *name);
int cgroup_program_switch_set(int fd);
void cgroup_program_switch_forget(const char *name); /* programs keep it as it is */
