/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Two names in the bpffs for each kind and cgroup: the program in force, and the one that is to replace it, which is renamed once it has.
 * Cgroups are known there by their inode's number, which the kernel does not give again before the next boot.
 */

#include "network/cgroup-program.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/macro.h"
#include "util/text.h"

#define BPFFS	     "/sys/fs/bpf"
#define PROGRAMS_MAX 64		/* BPF_CGROUP_MAX_PROGS in the kernel */

static int bpf(int command, union bpf_attr *attributes)
{
	long r = syscall(SYS_bpf, command, attributes, sizeof *attributes);
	return r < 0 ? -errno : (int)r;
}

int cgroup_program_support(int error)
{
	bool missing = error == -ENOSYS || error == -EINVAL, refused = error == -EPERM || error == -EACCES;
	return missing || refused ? -EOPNOTSUPP : error;
}

int cgroup_program_load(const struct cgroup_program_kind *kind, const struct bpf_insn *code, size_t count)
{
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.prog_type = kind->type;
	attributes.expected_attach_type = kind->attach_type;
	attributes.insns = (uintptr_t)code;
	attributes.insn_cnt = (uint32_t)count;
	attributes.license = (uintptr_t) "LGPL";
	memcpy(attributes.prog_name, kind->name, strlen(kind->name));
	return bpf(BPF_PROG_LOAD, &attributes);
}

static int program_info(int program, struct bpf_prog_info *ret)
{
	union bpf_attr attributes;
	memset(ret, 0, sizeof *ret);
	memset(&attributes, 0, sizeof attributes);
	attributes.info.bpf_fd = (uint32_t)program;
	attributes.info.info_len = sizeof *ret;
	attributes.info.info = (uintptr_t)ret;
	return bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes);
}

static int attach_or_detach(int command, const struct cgroup_program_kind *kind, int cgroup, int program)
{
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.target_fd = (uint32_t)cgroup;
	attributes.attach_bpf_fd = (uint32_t)program;
	attributes.attach_type = kind->attach_type;
	if (command == BPF_PROG_ATTACH)
		attributes.attach_flags = BPF_F_ALLOW_MULTI;
	return bpf(command, &attributes);
}

int cgroup_program_attach(const struct cgroup_program_kind *kind, int cgroup, int program)
{
	return attach_or_detach(BPF_PROG_ATTACH, kind, cgroup, program);
}

/* ---- pins ---- */

/* The caller frees it; NULL: that is no cgroup. */
static char *pin_path(const struct cgroup_program_kind *kind, int cgroup, const char *ending)
{
	struct stat status;
	return fstat(cgroup, &status) == 0 ? text_format(BPFFS "/%s-%llu%s", kind->pin, (unsigned long long)status.st_ino, ending) : NULL;
}

static int pin_call(int command, const char *path, int program)
{
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.pathname = (uintptr_t)path;
	attributes.bpf_fd = (uint32_t)program;
	return bpf(command, &attributes);
}

static bool take_off_at(const struct cgroup_program_kind *kind, int cgroup, const char *path)
{
	_cleanup_close_ int program = path ? pin_call(BPF_OBJ_GET, path, 0) : -1;
	if (program < 0)
		return false;
	(void)attach_or_detach(BPF_PROG_DETACH, kind, cgroup, program);
	(void)unlink(path);
	return true;
}

bool cgroup_program_take_off_pinned(const struct cgroup_program_kind *kind, int cgroup)
{
	_cleanup_free_ char *path = pin_path(kind, cgroup, ""), *next = pin_path(kind, cgroup, "-next");
	bool found = take_off_at(kind, cgroup, path);
	return take_off_at(kind, cgroup, next) || found;
}

/* ---- by their numbers ---- */

/* Takes the program ID off, if it is of KIND. -EPERM: it cannot be looked at. */
static int detach_id(const struct cgroup_program_kind *kind, int cgroup, uint32_t id)
{
	union bpf_attr attributes;
	struct bpf_prog_info info;
	memset(&attributes, 0, sizeof attributes);
	attributes.prog_id = id;
	_cleanup_close_ int program = bpf(BPF_PROG_GET_FD_BY_ID, &attributes);
	if (program == -ENOENT)
		return 0;
	int r = program < 0 ? program : program_info(program, &info);
	if (r < 0 || strncmp(info.name, kind->name, sizeof info.name) != 0)
		return r;
	r = attach_or_detach(BPF_PROG_DETACH, kind, cgroup, program);
	return r == -ENOENT ? 0 : r;
}

static int attached(const struct cgroup_program_kind *kind, int cgroup, uint32_t ids[static PROGRAMS_MAX], uint32_t *ret_count)
{
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.query.target_fd = (uint32_t)cgroup;
	attributes.query.attach_type = kind->attach_type;
	attributes.query.prog_ids = (uintptr_t)ids;
	attributes.query.prog_cnt = PROGRAMS_MAX;
	int r = bpf(BPF_PROG_QUERY, &attributes);
	*ret_count = r < 0 ? 0 : attributes.query.prog_cnt;
	return r;
}

/* Takes every program of KIND but KEPT off the cgroup; ids begin with 1. */
static int detach_others(const struct cgroup_program_kind *kind, int cgroup, uint32_t kept, unsigned *ret_unknown)
{
	uint32_t ids[PROGRAMS_MAX], count;
	int r = attached(kind, cgroup, ids, &count);
	*ret_unknown = 0;
	for (uint32_t i = 0; r == 0 && i < count; i++) {
		r = ids[i] == kept ? 0 : detach_id(kind, cgroup, ids[i]);
		if (r == -EPERM) {
			++*ret_unknown;
			r = 0;
		}
	}
	return r;
}

int cgroup_program_take_off(const struct cgroup_program_kind *kind, int cgroup, unsigned *ret_unknown)
{
	return detach_others(kind, cgroup, 0, ret_unknown);
}

/* ---- one for another ---- */

static bool is_attached(const struct cgroup_program_kind *kind, int cgroup, int program)
{
	struct bpf_prog_info info;
	uint32_t ids[PROGRAMS_MAX], count = 0;
	if (program_info(program, &info) < 0 || attached(kind, cgroup, ids, &count) < 0)
		return true; /* then it is taken off, which does no harm */
	for (uint32_t i = 0; i < count; i++)
		if (ids[i] == info.id)
			return true;
	return false;
}

/* What a daemon that died in cgroup_program_replace() left: the next one counts from the moment it was attached. */
static void settle(const struct cgroup_program_kind *kind, int cgroup, const char *path, const char *next)
{
	_cleanup_close_ int program = pin_call(BPF_OBJ_GET, next, 0);
	if (program < 0)
		return;
	if (!is_attached(kind, cgroup, program)) {
		(void)unlink(next);
		return;
	}
	(void)take_off_at(kind, cgroup, path);
	(void)rename(next, path);
}

int cgroup_program_replace(const struct cgroup_program_kind *kind, int cgroup, int program)
{
	struct bpf_prog_info info;
	unsigned unknown;
	_cleanup_free_ char *path = pin_path(kind, cgroup, ""), *next = pin_path(kind, cgroup, "-next");
	int r = path ? program_info(program, &info) : -ENODEV;
	if (r < 0)
		return cgroup_program_support(r);
	settle(kind, cgroup, path, next);
	bool pinned = pin_call(BPF_OBJ_PIN, next, program) == 0;
	r = cgroup_program_attach(kind, cgroup, program);
	if (r < 0) {
		(void)unlink(next);
		return cgroup_program_support(r);
	}
	(void)take_off_at(kind, cgroup, path);
	if (pinned)
		(void)rename(next, path);
	return detach_others(kind, cgroup, info.id, &unknown);
}

/* ---- switches ---- */

/* The caller frees it. */
static char *switch_path(const char *name)
{
	return text_format(BPFFS "/%s", name);
}

int cgroup_program_switch_new(const char *name)
{
	_cleanup_free_ char *path = switch_path(name);
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.map_type = BPF_MAP_TYPE_ARRAY;
	attributes.key_size = attributes.value_size = sizeof(uint32_t);
	attributes.max_entries = 1;
	int fd = bpf(BPF_MAP_CREATE, &attributes);
	if (fd < 0)
		return cgroup_program_support(fd);
	(void)unlink(path);
	(void)pin_call(BPF_OBJ_PIN, path, fd); /* where there is no bpffs, only this daemon has it */
	return fd;
}

int cgroup_program_switch_open(const char *name)
{
	_cleanup_free_ char *path = switch_path(name);
	return pin_call(BPF_OBJ_GET, path, 0);
}

int cgroup_program_switch_set(int fd)
{
	uint32_t place = 0, on = 1;
	union bpf_attr attributes;
	memset(&attributes, 0, sizeof attributes);
	attributes.map_fd = (uint32_t)fd;
	attributes.key = (uintptr_t)&place;
	attributes.value = (uintptr_t)&on;
	return bpf(BPF_MAP_UPDATE_ELEM, &attributes);
}

void cgroup_program_switch_forget(const char *name)
{
	_cleanup_free_ char *path = switch_path(name);
	(void)unlink(path);
}
