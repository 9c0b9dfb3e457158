/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files that are either wholly the old ones or wholly the new ones. */

#include "util/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "util/macro.h"
#include "util/text.h"

#define LINKS_MAX 40 /* as the kernel has it (path_resolution(7)) */

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, bytes, length);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		bytes += written;
		length -= (size_t)written;
	}
	return 0;
}

static int sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder = slash ? text_ndup(path, slash == path ? 1 : (size_t)(slash - path)) : text_dup(".");
	_cleanup_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

int file_write_atomic(const char *path, const void *bytes, size_t length, mode_t mode)
{
	_cleanup_free_ char *temporary = text_format("%s.XXXXXX", path);
	_cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = write_all(fd, bytes, length);
	if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
		r = -errno;
	if (r < 0) {
		(void)unlink(temporary);
		return r;
	}
	return sync_parent(path);
}

int file_read(const char *path, char **ret, size_t *ret_length)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;
	if (fd < 0 && errno == ENOENT)
		return lstat(path, &status) == 0 && S_ISLNK(status.st_mode) ? -ENOLINK : -ENOENT;
	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
	_cleanup_text_ struct text text = TEXT_NULL;
	char block[16384];
	for (;;) {
		ssize_t count = read(fd, block, sizeof block);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -errno;
		if (count == 0)
			break;
		text_append_bytes(&text, block, (size_t)count);
		if (text.length > FILE_READ_MAX)
			return -EFBIG;
	}
	*ret_length = text.length;
	*ret = text_steal(&text);
	return 0;
}

int file_remove(const char *path)
{
	if (unlink(path) < 0)
		return errno == ENOENT ? 0 : -errno;
	return sync_parent(path);
}

int directory_make(const char *path, mode_t mode)
{
	_cleanup_free_ char *copy = text_dup(path);
	for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	if (mkdir(copy, mode) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

/* Whether root alone can change what stands at PATH, one step of a way whose LAST one is a file. */
static bool is_roots(const char *path, bool last, mode_t *ret_mode, char **ret_why)
{
	struct stat status;
	struct statfs system;
	if (lstat(path, &status) < 0 || (!S_ISLNK(status.st_mode) && statfs(path, &system) < 0)) {
		*ret_why = text_format("%s: %s", path, strerror(errno));
		return false;
	}
	bool link = S_ISLNK(status.st_mode), sticky = !last && S_ISDIR(status.st_mode) && status.st_mode & S_ISVTX;
	if (status.st_uid != 0)
		*ret_why = text_format("%s belongs to uid %u; chown root it", path, (unsigned)status.st_uid);
	else if (!link && status.st_mode & (S_IWGRP | S_IWOTH) && !sticky)
		*ret_why = text_format("%s is writable by others than root; chmod go-w it", path);
	else if (!link && system.f_type == PROC_SUPER_MAGIC)
		*ret_why = text_format("%s is another file for each process that looks; name the file itself", path);
	else if (!link && last && !S_ISREG(status.st_mode))
		*ret_why = text_format("%s is no file", path);
	else {
		*ret_mode = status.st_mode;
		return true;
	}
	return false;
}

/* The link at AT, and what was still to be walked behind it, become *REST. An absolute link begins at the root again. */
static bool follow(char *at, char **rest, char **ret_why)
{
	char target[PATH_MAX];
	ssize_t length = readlink(at, target, sizeof target - 1);
	if (length < 0) {
		*ret_why = text_format("%s: %s", at, strerror(errno));
		return false;
	}
	target[length] = 0;
	char *joined = text_format("%s/%s", target, *rest);
	free(*rest);
	*rest = joined;
	at[target[0] == '/' ? 0 : strrchr(at, '/') - at] = 0;
	return true;
}

/*
 * Walks as the kernel does, link by link: a link that lies in somebody's folder is theirs to turn, also where it is only
 * passed on the way. AT is "" at the root, and has room for PATH_MAX.
 */
static bool walk(char *at, char **rest, char **ret_why)
{
	for (unsigned links = 0;;) {
		size_t skip = strspn(*rest, "/"), length = strcspn(*rest + skip, "/"), before = strlen(at);
		_cleanup_free_ char *name = text_ndup(*rest + skip, length);
		memmove(*rest, *rest + skip + length, strlen(*rest + skip + length) + 1);
		bool last = strspn(*rest, "/") == strlen(*rest);
		mode_t mode = 0;
		if (strcmp(name, "..") == 0)
			at[before ? strrchr(at, '/') - at : 0] = 0;
		else if (length && strcmp(name, ".") != 0) {
			if (before + length + 2 > PATH_MAX) {
				*ret_why = text_format("%s: %s", at, strerror(ENAMETOOLONG));
				return false;
			}
			strcat(strcat(at, "/"), name);
			if (!is_roots(at, last, &mode, ret_why))
				return false;
		}
		if (S_ISLNK(mode) && (++links > LINKS_MAX || !follow(at, rest, ret_why))) {
			if (!*ret_why)
				*ret_why = text_format("%s: %s", at, strerror(ELOOP));
			return false;
		}
		if (!S_ISLNK(mode) && last)
			return true;
	}
}

bool file_is_roots(const char *path, char **ret_why)
{
	char at[PATH_MAX] = "";
	mode_t mode;
	char *rest = text_dup(path), *why = NULL;
	bool good = is_roots("/", false, &mode, &why) && walk(at, &rest, &why);
	if (good && !at[0]) {
		why = text_format("%s is no file", path);
		good = false;
	}
	free(rest);
	if (!good)
		*ret_why = why;
	return good;
}
