/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A domain must restrict something. Where signals can be, that is all; else the one right over files that every domain
 * loses (to move files from folder to folder) is taken in hand and given back beneath "/".
 */

#include "tunnel/worker-domain.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "util/macro.h"

#define ABI_REFER  2
#define ABI_SIGNAL 6

#define ACCESS_REFER (1u << 13) /* LANDLOCK_ACCESS_FS_REFER */
#define SCOPE_SIGNAL (1u << 1)  /* LANDLOCK_SCOPE_SIGNAL: later than the headers may be */

/* struct landlock_ruleset_attr as of ABI_SIGNAL. */
struct ruleset {
	__u64 files, network, scopes;
};

static int make_ruleset(const struct ruleset *ruleset, size_t size)
{
	int fd = (int)syscall(SYS_landlock_create_ruleset, ruleset, size, 0);
	return fd < 0 ? -errno : fd;
}

static int make_ruleset_of_signals(void)
{
	return make_ruleset(&(struct ruleset){.scopes = SCOPE_SIGNAL}, sizeof(struct ruleset));
}

static int make_ruleset_of_files(void)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = make_ruleset(&(struct ruleset){.files = ACCESS_REFER}, sizeof(__u64));
	const struct landlock_path_beneath_attr everywhere = {.allowed_access = ACCESS_REFER, .parent_fd = root};
	if (root < 0 || fd < 0)
		return fd < 0 ? fd : -EIO;
	if (syscall(SYS_landlock_add_rule, fd, LANDLOCK_RULE_PATH_BENEATH, &everywhere, 0) < 0)
		return -errno;
	return STEAL_FD(fd);
}

static long find_abi(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool worker_domain_possible(void)
{
	return find_abi() >= ABI_REFER;
}

int worker_domain_enter(void)
{
	long abi = find_abi();
	if (abi < ABI_REFER)
		return -EOPNOTSUPP;
	_cleanup_close_ int fd = abi >= ABI_SIGNAL ? make_ruleset_of_signals() : make_ruleset_of_files();
	if (fd < 0)
		return fd;
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
}
