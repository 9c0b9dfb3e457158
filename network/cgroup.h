/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where the cgroups of units, slices and users are, and when they come and go. They are looked for beneath slices alone, which only
 * the service manager makes: what lies beneath a service or a user's session may be the work of whoever runs there, who could name a
 * cgroup as he likes.
 */

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

enum cgroup_kind { CGROUP_UNIT, CGROUP_SLICE, CGROUP_USER };

/*
 * The cgroup of the unit or slice NAME, or of the user NAME (a number): its path beneath the mount of cgroup v2, "/a.slice/b.service".
 * The caller frees it. -ENOENT: there is none now; -EOPNOTSUPP: no cgroup v2 here.
 */
int cgroup_find(enum cgroup_kind kind, const char *name, char **ret_path);
/* Opens the directory at PATH. The caller closes it. */
int cgroup_open(const char *path);
/* Whether this process itself runs in the cgroup at PATH, or beneath it. */
bool cgroup_is_ours(const char *path);
/* Whether the process PID runs in the cgroup at PATH itself. */
bool cgroup_has(const char *path, pid_t pid);
/* Moves PID into the cgroup at that directory. */
int cgroup_move(int cgroup_fd, pid_t pid);
/* 1: somebody lives in the cgroup at that directory or beneath it; 0: nobody. */
int cgroup_populated(int cgroup_fd);

/* Calls CHANGED after cgroups were made or removed among those that cgroup_find() looks at, or one that was added became empty. */
struct cgroup_watch;
int cgroup_watch_new(struct cgroup_watch **ret, sd_event *event, void (*changed)(void *userdata), void *userdata);
struct cgroup_watch *cgroup_watch_free(struct cgroup_watch *watch); /* accepts NULL, returns NULL */
/* Adds the cgroup at that directory: told when it becomes empty. */
int cgroup_watch_empty(struct cgroup_watch *watch, int cgroup_fd);
/* Calls FOUND for each cgroup that a unit or a slice may have, with its directory and path. */
int cgroup_each(void (*found)(int cgroup_fd, const char *path, void *userdata), void *userdata);
