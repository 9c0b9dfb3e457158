/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A worker is born into its cgroup, leads a session of its own, belongs to no group but its own, can gain no
 * privileges, and keeps of the capabilities CAP_NET_ADMIN alone, or none. It is not bound to the daemon's life. The
 * nonce comes by a pipe: an argument list or an environment could be read by others.
 */

#include "tunnel/worker-spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tunnel/process.h"
#include "util/macro.h"
#include "util/text.h"

#define WORKER_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/*
 * Everything but CAP_NET_ADMIN, where that is kept, leaves the bounding set. A daemon without CAP_SETPCAP cannot do
 * that; with no new privileges set, exec adds nothing to what capset() left anyway.
 */
static int cut_bounding_set(bool net_admin)
{
	for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
		bool keep = net_admin && capability == CAP_NET_ADMIN;
		if (!keep && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0 && errno != EPERM)
			return -errno;
	}
	return 0;
}

static int set_capabilities(bool net_admin)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
	uint32_t bit = net_admin ? CAP_TO_MASK(CAP_NET_ADMIN) : 0;
	sets[CAP_TO_INDEX(CAP_NET_ADMIN)] =
	        (struct __user_cap_data_struct){.effective = bit, .permitted = bit, .inheritable = bit};
	if (syscall(SYS_capset, &header, sets) < 0)
		return -errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	if (net_admin && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN, 0, 0) < 0)
		return -errno;
	return 0;
}

static int prepare(const void *userdata)
{
	const struct worker_spec *spec = userdata;
	const struct rlimit no_core = {}; /* a core would hold keys */
	umask(0077);
	if (setsid() < 0 || chdir("/") < 0 || setrlimit(RLIMIT_CORE, &no_core) < 0 ||
	        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	int r = cut_bounding_set(spec->net_admin);
	if (r < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, spec->net_admin, 0, 0, 0) < 0 || setgroups(0, NULL) < 0 ||
	        setresgid(spec->gid, spec->gid, spec->gid) < 0 || setresuid(spec->uid, spec->uid, spec->uid) < 0)
		return -errno;
	return set_capabilities(spec->net_admin);
}

/* What of the daemon's environment a worker has: how to log. */
static void make_environment(char *ret[4])
{
	static const char *const kept[] = {"HOLDFAST_DEBUG", "JOURNAL_STREAM"};
	size_t count = 0;
	ret[count++] = text_dup(WORKER_PATH);
	for (size_t i = 0; i < ELEMENTSOF(kept); i++)
		if (getenv(kept[i]))
			ret[count++] = text_format("%s=%s", kept[i], getenv(kept[i]));
	ret[count] = NULL;
}

int worker_process_start(const struct worker_spec *spec, const char *nonce, pid_t *ret_pid, int *ret_pidfd)
{
	_cleanup_close_ int read_fd = -1, write_fd = -1;
	char *environment[4];
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	read_fd = ends[0];
	write_fd = ends[1];
	if (write(write_fd, nonce, strlen(nonce)) != (ssize_t)strlen(nonce))
		return -EIO;
	closep(&write_fd);
	make_environment(environment);
	int r = process_start(
	        &(struct process_spec){
	                .program = spec->program,
	                .argv = (const char *const[]){"holdfast-worker", spec->tunnel, spec->socket_path, NULL},
	                .envp = (const char *const *)environment,
	                .fds = (const int[]){-1, STDOUT_FILENO, STDERR_FILENO, [WORKER_NONCE_FD] = read_fd},
	                .fd_count = 4,
	                .cgroup_fd = spec->cgroup_fd,
	                .prepare = prepare,
	                .userdata = spec,
	        },
	        ret_pid, ret_pidfd);
	for (char **variable = environment; *variable; variable++)
		free(*variable);
	return r;
}
