/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The child is a copy of a process of one thread and calls nothing but system calls until it executes the program. What
 * fails there comes back as an errno through a pipe that exec closes, so that "started" means executed.
 */

#include "tunnel/process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "util/file.h"
#include "util/macro.h"
#include "util/text.h"

#define CHILD_FDS_FROM 64 /* where the child keeps descriptors while it puts them into their places */

/* clone3(2) where it can place the child in its cgroup at birth; else fork and the child moves itself. */
static pid_t copy_process(int cgroup_fd, int *ret_pidfd, bool *ret_in_cgroup)
{
	struct clone_args arguments = {
	        .flags = CLONE_PIDFD | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
	        .pidfd = (uintptr_t)ret_pidfd,
	        .exit_signal = SIGCHLD,
	        .cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
	};
	*ret_in_cgroup = true;
	pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
	if (pid >= 0)
		return pid;
	*ret_in_cgroup = cgroup_fd < 0;
	pid = fork();
	if (pid <= 0)
		return pid < 0 ? -errno : 0;
	*ret_pidfd = pidfd_open(pid, 0);
	if (*ret_pidfd >= 0)
		return pid;
	int error = errno;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return -error;
}

static int enter_cgroup(int cgroup_fd)
{
	int fd = openat(cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		return -errno;
	close(fd);
	return 0;
}

/* By the system call itself: the library does not touch the two signals that it keeps for threads, and they are
 * inherited too. */
static void reset_signals(void)
{
	static const unsigned long all_zero[8]; /* SIG_DFL, no flags, an empty mask, in every architecture's layout */
	sigset_t none;
	for (int number = 1; number < NSIG; number++)
		syscall(SYS_rt_sigaction, number, all_zero, NULL,
		        (NSIG - 1) / 8); /* those that cannot be changed say so, and need not */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* *fd becomes one that is out of the way of the child's own. */
static int move_away(int *fd)
{
	int moved = fcntl(*fd, F_DUPFD_CLOEXEC, CHILD_FDS_FROM);
	if (moved < 0)
		return -errno;
	*fd = moved;
	return 0;
}

/* Closes FROM to TO, both included; an empty range is no error. */
static int close_between(int from, unsigned to)
{
	return (unsigned)from > to || close_range((unsigned)from, to, 0) == 0 ? 0 : -errno;
}

/* Puts the descriptors into their places and closes all others; *error_fd and *program_fd move out of the way. */
static int place_descriptors(const struct process_spec *spec, int *error_fd, int *program_fd)
{
	int kept[PROCESS_FDS_MAX];
	for (size_t i = 0; i < spec->fd_count; i++) {
		int fd = spec->fds[i] >= 0 ? spec->fds[i] : open("/dev/null", O_RDWR | O_CLOEXEC);
		kept[i] = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_FDS_FROM);
		if (kept[i] < 0)
			return -errno;
	}
	int r = move_away(error_fd);
	if (r == 0)
		r = move_away(program_fd);
	if (r < 0)
		return r;
	for (size_t i = 0; i < spec->fd_count; i++)
		if (dup2(kept[i], (int)i) < 0)
			return -errno;
	int low = MIN_OF(*error_fd, *program_fd), high = MAX_OF(*error_fd, *program_fd);
	r = close_between((int)spec->fd_count, (unsigned)low - 1);
	if (r == 0)
		r = close_between(low + 1, (unsigned)high - 1);
	if (r == 0)
		r = close_between(high + 1, ~0u);
	return r;
}

/* The program is opened while the daemon's own rights last: the worker's user need not be able to walk to it (a build in /root). */
static _Noreturn void child(const struct process_spec *spec, bool in_cgroup, int error_fd)
{
	int program_fd = open(spec->program, O_PATH | O_CLOEXEC);
	int r = program_fd < 0 ? -errno : in_cgroup ? 0 : enter_cgroup(spec->cgroup_fd);
	if (r == 0)
		r = place_descriptors(spec, &error_fd, &program_fd);
	if (r == 0) {
		reset_signals();
		r = spec->prepare ? spec->prepare(spec->userdata) : 0;
	}
	if (r == 0) {
		execve(spec->program, (char *const *)spec->argv, (char *const *)spec->envp);
		if (errno == EACCES) /* a folder on the way is not for this user */
			syscall(SYS_execveat, program_fd, "", spec->argv, spec->envp, AT_EMPTY_PATH);
		r = -errno;
	}
	if (write(error_fd, &r, sizeof r) < 0)
		_exit(126);
	_exit(127);
}

/* What the child wrote, 0 if exec closed the pipe. */
static int await_exec(int fd)
{
	int r = 0;
	ssize_t count;
	do
		count = read(fd, &r, sizeof r);
	while (count < 0 && errno == EINTR);
	return count == 0 ? 0 : count == sizeof r && r < 0 ? r : -EIO;
}

int process_start(const struct process_spec *spec, pid_t *ret_pid, int *ret_pidfd)
{
	_cleanup_close_ int pidfd = -1, read_fd = -1, write_fd = -1;
	int ends[2];
	bool in_cgroup;
	sigset_t all, before;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	read_fd = ends[0];
	write_fd = ends[1];
	sigfillset(&all); /* no handler of ours may run in the child */
	sigprocmask(SIG_SETMASK, &all, &before);
	pid_t pid = copy_process(spec->cgroup_fd, &pidfd, &in_cgroup);
	if (pid == 0)
		child(spec, in_cgroup, write_fd);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return pid;
	closep(&write_fd);
	int r = await_exec(read_fd);
	if (r < 0) {
		waitpid(pid, NULL, 0);
		return r;
	}
	*ret_pid = pid;
	*ret_pidfd = STEAL_FD(pidfd);
	return 0;
}

int process_die_with_parent(const void *userdata)
{
	const pid_t *parent = userdata;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	return getppid() == *parent ? 0 : -ESRCH; /* it ended before the request was made */
}

bool process_is_busy(pid_t pid)
{
	_cleanup_free_ char *path = text_format("/proc/%d/stat", (int)pid), *text = NULL;
	size_t length;
	if (file_read(path, &text, &length) < 0)
		return false;
	const char *after = strrchr(text, ')'); /* the name before it may hold anything */
	return after && (strncmp(after, ") R", 3) == 0 || strncmp(after, ") D", 3) == 0);
}

int process_find(const char *name, char **ret)
{
	const char *path = getenv("PATH");
	while (path && *path) {
		size_t length = strcspn(path, ":");
		_cleanup_free_ char *candidate = text_format("%.*s/%s", (int)length, path, name);
		struct stat status;
		if (length && stat(candidate, &status) == 0 && S_ISREG(status.st_mode) &&
		        access(candidate, X_OK) == 0) {
			*ret = STEAL(candidate);
			return 0;
		}
		path += length + (path[length] == ':');
	}
	return -ENOENT;
}
