/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Cgroups are found through /proc: where cgroup v2 is mounted says mountinfo, where we are in it says the line "0::" of our cgroup
 * file, so hybrid hosts and cgroup namespaces work alike. No controller is ever enabled, so a cgroup may stand beside processes.
 *
 * A socket stays with the cgroup that it was born in, also when that is removed, and so do the programs that were attached: the guard
 * holds for every socket of the cgroup, whoever has it now, be it connected or not. To a cgroup that was removed none can be attached any
 * more, and not every cgroup is ours to remove: so the guard is there from the start, and is shut at the end.
 */

#include "network/socket-mark.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "network/cgroup-program.h"
#include "util/macro.h"
#include "util/text.h"
#include "util/timestamp.h"

#define KILL_WAIT_MS 1000

static bool name_is_good(const char *name)
{
	size_t length = strlen(name);
	return length > 0 && length <= 64 && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == length;
}

/* ---- where ---- */

static unsigned octal(char digit)
{
	return (unsigned)digit & 7;
}

/* Octal escapes of mountinfo (proc(5)), in place. */
static void unescape(char *text)
{
	char *to = text;
	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] && from[2] && from[3]) {
			*to = (char)(octal(from[1]) << 6 | octal(from[2]) << 3 | octal(from[3]));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

/* The cgroup v2 path of process WHO ("self", or a number), as a file of /proc says it. The caller frees it. */
static int read_own_path(const char *who, char **ret)
{
	_cleanup_free_ char *path = text_format("/proc/%s/cgroup", who);
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	while (getline(&line, &size, file) > 0) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		line[strcspn(line, "\n")] = 0;
		*ret = text_dup(line + 3);
		return 0;
	}
	return ferror(file) ? -ESRCH : -EOPNOTSUPP;
}

/* Where OWN is in a mount of which ROOT is the top: the part below, or NULL. */
static const char *below(const char *own, const char *root)
{
	size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(own, root, length) != 0 || (own[length] != '/' && own[length] != 0))
		return NULL;
	return own + length;
}

/* mountinfo: id, parent, device, root, mount point, options, optional fields, "-", type … */
static char *find_in_mount(char *line, const char *own)
{
	char *separator = strstr(line, " - "), *save = NULL, *fields[5] = {};
	if (!separator || strncmp(separator + 3, "cgroup2 ", 8) != 0)
		return NULL;
	for (unsigned i = 0; i < ELEMENTSOF(fields); i++) {
		fields[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
		if (!fields[i])
			return NULL;
	}
	unescape(fields[3]);
	unescape(fields[4]);
	const char *rest = below(own, fields[3]);
	return rest ? text_format("%s%s", fields[4], rest) : NULL;
}

/* Opens our own cgroup's directory. */
static int open_own(void)
{
	_cleanup_free_ char *own = NULL, *line = NULL;
	_cleanup_fclose_ FILE *file = fopen("/proc/self/mountinfo", "re");
	size_t size = 0;
	int r = file ? read_own_path("self", &own) : -errno;
	if (r < 0)
		return r;
	while (getline(&line, &size, file) > 0) {
		_cleanup_free_ char *path = find_in_mount(line, own);
		int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
		if (fd >= 0)
			return fd;
	}
	return -EOPNOTSUPP;
}

/* ---- the programs ---- */

static const struct cgroup_program_kind mark_kind = {
	.type = BPF_PROG_TYPE_CGROUP_SOCK,
	.attach_type = BPF_CGROUP_INET_SOCK_CREATE,
	.name = "holdfast_mark",
	.pin = "holdfast",
};

static const struct cgroup_program_kind guard_kind = {
	.type = BPF_PROG_TYPE_CGROUP_SKB,
	.attach_type = BPF_CGROUP_INET_EGRESS,
	.name = "holdfast_guard",
};

/* sock->mark = MARK; return 1. */
static int load_mark(uint32_t mark)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = (int32_t)mark},
		{.code = BPF_STX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_2, .off = offsetof(struct bpf_sock, mark)},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	return cgroup_program_load(&mark_kind, code, ELEMENTSOF(code));
}

/* return (skb->mark & MASK) != FIRST || !shut; 0 drops the packet. */
static int load_guard(uint32_t first, uint32_t mask, int guard)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_1, .off = offsetof(struct __sk_buff, mark)},
		{.code = BPF_ALU | BPF_AND | BPF_K, .dst_reg = BPF_REG_2, .imm = (int32_t)mask},
		{.code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = (int32_t)first},
		{.code = BPF_JMP | BPF_JNE | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_3, .off = 5},
		{.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = BPF_REG_4, .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = guard},
		{.code = 0}, /* of the same, which is two: at the value's first byte */
		{.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_4, .src_reg = BPF_REG_4},
		{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_4, .off = 1},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	return cgroup_program_load(&guard_kind, code, ELEMENTSOF(code));
}

int socket_mark_cgroups(void)
{
	_cleanup_close_ int own = open_own();
	return own < 0 ? own : faccessat(own, ".", W_OK, AT_EACCESS) < 0 ? -errno : 0;
}

int socket_mark_programs(void)
{
	_cleanup_close_ int program = load_mark(0);
	return program < 0 ? program : 0;
}

int socket_mark_attach(int cgroup, uint32_t mark)
{
	_cleanup_close_ int program = load_mark(mark);
	return program < 0 ? cgroup_program_support(program) : cgroup_program_replace(&mark_kind, cgroup, program);
}

int socket_mark_detach(int cgroup)
{
	unsigned unknown;
	(void)cgroup_program_take_off_pinned(&mark_kind, cgroup);
	int r = cgroup_program_take_off(&mark_kind, cgroup, &unknown);
	return r == -ENOSYS || r == -EINVAL ? 0 : r; /* where there is no BPF, nothing is attached */
}

/* Programs run in the order in which they were attached: where ours cannot be found any more, one behind it takes its mark away. */
int socket_mark_take_back(int cgroup)
{
	unsigned unknown;
	bool found = cgroup_program_take_off_pinned(&mark_kind, cgroup);
	int r = cgroup_program_take_off(&mark_kind, cgroup, &unknown);
	if (r < 0 || found || unknown == 0)
		return r == -ENOSYS || r == -EINVAL ? 0 : r;
	_cleanup_close_ int program = load_mark(0);
	return program < 0 ? program : cgroup_program_attach(&mark_kind, cgroup, program);
}

/* The caller frees it. */
static char *guard_name(const char *id)
{
	return text_format("holdfast-guard-%s", id);
}

int socket_mark_guard(int cgroup, uint32_t first, uint32_t mask, const char *id, int *ret_guard)
{
	_cleanup_free_ char *name = guard_name(id);
	_cleanup_close_ int guard = cgroup_program_switch_new(name);
	_cleanup_close_ int program = guard < 0 ? guard : load_guard(first, mask, guard);
	int r = program < 0 ? program : cgroup_program_attach(&guard_kind, cgroup, program);
	if (r < 0) {
		cgroup_program_switch_forget(name);
		return cgroup_program_support(r);
	}
	*ret_guard = STEAL_FD(guard);
	return 0;
}

int socket_mark_guard_open(const char *id, int *ret_guard)
{
	_cleanup_free_ char *name = guard_name(id);
	int guard = cgroup_program_switch_open(name);
	if (guard < 0)
		return guard;
	*ret_guard = guard;
	return 0;
}

int socket_mark_guard_shut(const char *id, int guard)
{
	_cleanup_free_ char *name = guard_name(id);
	int r = cgroup_program_switch_set(guard);
	cgroup_program_switch_forget(name);
	return r;
}

/* ---- the public calls ---- */

int socket_mark_supported(void)
{
	_cleanup_close_ int own = open_own();
	_cleanup_close_ int program = own < 0 ? own : load_mark(0);
	return program < 0 ? cgroup_program_support(program) : 0;
}

int socket_mark_cgroup(const char *name, uint32_t mark, int *ret_fd)
{
	if (!name_is_good(name))
		return -EINVAL;
	_cleanup_close_ int own = open_own();
	if (own < 0)
		return own;
	if (mkdirat(own, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	_cleanup_close_ int fd = openat(own, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	int r = socket_mark_attach(fd, mark);
	if (r < 0)
		return r;
	*ret_fd = STEAL_FD(fd);
	return 0;
}

/* Waits until cgroup.events says that nobody lives here; the kernel announces a change of it by POLLPRI. */
static int wait_until_empty(int cgroup)
{
	_cleanup_close_ int events = openat(cgroup, "cgroup.events", O_RDONLY | O_CLOEXEC);
	uint64_t start = clock_usec(CLOCK_MONOTONIC) / USEC_PER_MSEC, spent = 0;
	if (events < 0)
		return -errno;
	for (; spent < KILL_WAIT_MS; spent = clock_usec(CLOCK_MONOTONIC) / USEC_PER_MSEC - start) {
		char text[128] = "";
		if (pread(events, text, sizeof text - 1, 0) < 0)
			return -errno;
		if (strstr(text, "populated 0"))
			return 0;
		struct pollfd waiting = {.fd = events, .events = POLLPRI};
		if (poll(&waiting, 1, (int)(KILL_WAIT_MS - spent)) < 0 && errno != EINTR)
			return -errno;
	}
	return -EBUSY;
}

int socket_mark_cgroup_remove(const char *name)
{
	if (!name_is_good(name))
		return -EINVAL;
	_cleanup_close_ int own = open_own();
	if (own < 0)
		return own == -EOPNOTSUPP ? 0 : own;
	_cleanup_close_ int cgroup = openat(own, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (cgroup < 0)
		return errno == ENOENT ? 0 : -errno;
	(void)cgroup_program_take_off_pinned(&mark_kind, cgroup);
	_cleanup_close_ int end = openat(cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC); /* since Linux 5.14 */
	if (end < 0 || write(end, "1", 1) < 0)
		return -errno;
	int r = wait_until_empty(cgroup);
	if (r < 0)
		return r;
	return unlinkat(own, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int socket_mark_cgroup_open(const char *name, int *ret_fd)
{
	_cleanup_close_ int own = name_is_good(name) ? open_own() : -EINVAL;
	if (own < 0)
		return own;
	int fd = openat(own, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int socket_mark_cgroup_forget(const char *name)
{
	_cleanup_close_ int own = name_is_good(name) ? open_own() : -EINVAL;
	if (own < 0)
		return own;
	return unlinkat(own, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int socket_mark_cgroup_list(const char *prefix, void (*found)(const char *name, void *userdata), void *userdata)
{
	int own = open_own();
	DIR *folder = own < 0 ? NULL : fdopendir(own);
	if (!folder) {
		closep(&own);
		return own < 0 ? -EOPNOTSUPP : -errno;
	}
	for (struct dirent *entry; (entry = readdir(folder));)
		if (entry->d_type == DT_DIR && strncmp(entry->d_name, prefix, strlen(prefix)) == 0 && name_is_good(entry->d_name))
			found(entry->d_name, userdata);
	closedir(folder);
	return 0;
}


int socket_mark_cgroup_contains(const char *name, pid_t pid)
{
	_cleanup_free_ char *own = NULL, *other = NULL;
	if (!name_is_good(name))
		return -EINVAL;
	_cleanup_free_ char *who = text_format("%d", (int)pid);
	int r = read_own_path("self", &own);
	if (r == 0)
		r = read_own_path(who, &other);
	if (r < 0)
		return r;
	_cleanup_free_ char *inside = text_format("%s/%s", strcmp(own, "/") == 0 ? "" : own, name);
	return below(other, inside) != NULL;
}
