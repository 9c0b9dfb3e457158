/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Starting a program with nothing inherited that was not named: descriptors, signals, environment. The caller learns
 * whether the program was really executed, and holds it by a pidfd.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct process_spec {
	const char *program;     /* a path */
	const char *const *argv; /* NULL-terminated, as envp */
	const char *const *envp;
	const int *fds;  /* what the program has as 0, 1, 2, …; -1: /dev/null. Nothing else is open in it */
	size_t fd_count; /* at least 3, at most PROCESS_FDS_MAX */
	int cgroup_fd;   /* cgroup v2 folder that it is born in, or -1 */
	int (*prepare)(const void *userdata); /* in the child before exec: async-signal-safe calls only; negative errno.
	                                         May be NULL */
	const void *userdata;
};

#define PROCESS_FDS_MAX 8

/* Returns 0 once the program is executed, else a negative errno and nothing is left behind. The caller closes
 * *ret_pidfd and reaps. */
int process_start(const struct process_spec *spec, pid_t *ret_pid, int *ret_pidfd);

/* For `prepare`, with the caller's pid as its userdata: the program is killed when the caller ends, by whomever. */
int process_die_with_parent(const void *userdata);

/* Whether PID runs, waits to, or waits for the disk: false where it sleeps, was stopped, or is none. */
bool process_is_busy(pid_t pid);

/* The path of NAME in $PATH; the caller frees it. -ENOENT. */
int process_find(const char *name, char **ret);
