/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Cgroups of what is granted: found, marked, and unmarked. */

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/manager.h"
#include "network/cgroup.h"
#include "network/socket-mark.h"
#include "util/text.h"

static const enum cgroup_kind cgroup_kinds[] = {
	[BYPASS_UNIT] = CGROUP_UNIT,
	[BYPASS_SLICE] = CGROUP_SLICE,
	[BYPASS_USER] = CGROUP_USER,
};

/* The user's number as text; NULL: there is no such user. The caller frees it. */
static char *user_number(const char *name)
{
	const struct passwd *user = getpwnam(name);
	unsigned long number = name[0] && strspn(name, "0123456789") == strlen(name) ? strtoul(name, NULL, 10) : ULONG_MAX;
	if (!user && number < (uid_t)-1) /* a greater one would be another's when it is cut to a uid_t, 4294967296 root's */
		user = getpwuid((uid_t)number);
	return user ? text_format("%u", user->pw_uid) : NULL;
}

int grant_find_cgroup(enum bypass_type type, const char *name, char **ret_path)
{
	if (type != BYPASS_USER)
		return cgroup_find(cgroup_kinds[type], name, ret_path);
	_cleanup_free_ char *number = user_number(name);
	return number ? cgroup_find(CGROUP_USER, number, ret_path) : -ESRCH;
}

static bool same_folder(int a, int b)
{
	struct stat first, second;
	return a >= 0 && b >= 0 && fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_ino == second.st_ino &&
	       first.st_nlink > 0;
}

char *grant_why_not(int error)
{
	switch (error) {
	case -ENOENT:
		return text_dup("it does not run now; it is granted from its next start");
	case -ESRCH:
		return text_dup("there is no such user");
	case -EPERM:
		return text_dup("Holdfast itself runs there; name what runs beside it");
	case -EOPNOTSUPP:
		return text_dup("sockets cannot be marked at birth here (cgroup v2 with BPF is missing or refused; holdfastctl doctor says which): grant addresses or domains instead");
	default:
		return text_format("its sockets cannot be marked: %s", strerror(-error));
	}
}

int grant_mark(struct grant *grant)
{
	_cleanup_free_ char *path = NULL;
	int r = grant_find_cgroup(grant->type, grant->name, &path);
	if (r < 0)
		return r;
	if (cgroup_is_ours(path))
		return -EPERM;
	_cleanup_close_ int fd = cgroup_open(path);
	if (fd < 0)
		return fd;
	if (grant->in_effect && same_folder(fd, grant->cgroup_fd))
		return 0;
	r = socket_mark_attach(fd, grant->mark);
	if (r == 0) {
		if (grant->cgroup_fd >= 0 && !same_folder(fd, grant->cgroup_fd))
			(void)socket_mark_detach(grant->cgroup_fd); /* of a unit that ended */
		closep(&grant->cgroup_fd);
		grant->cgroup_fd = STEAL_FD(fd);
	}
	return r;
}

char *grant_program_cgroup(const struct grant *grant)
{
	return text_format(PROGRAM_PREFIX "%s", grant->id);
}

char *grant_scope_name(const char *id)
{
	return text_format(SCOPE_PREFIX "%s.scope", id);
}

char *grant_scope_path(const char *id)
{
	return text_format(SCOPES_PREFIX "%s.scope", id);
}

void grant_unmark(struct grant *grant)
{
	if (grant->cgroup_fd >= 0)
		(void)socket_mark_take_back(grant->cgroup_fd);
	closep(&grant->cgroup_fd);
	grant->in_effect = false;
	if (grant->type == BYPASS_PROGRAM) {
		_cleanup_free_ char *name = grant_program_cgroup(grant);
		(void)socket_mark_cgroup_forget(name); /* where somebody lives in it, it is an ordinary one from now on */
	}
}
