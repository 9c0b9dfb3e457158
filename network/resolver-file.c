/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* resolv.conf as a file, whatever it is: a regular file, a symbolic link into /run, a mount point, or nothing. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "network/resolver-backend.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

void resolver_file_done(struct resolver_file *file)
{
	free(file->text);
	free(file->target);
	*file = (struct resolver_file){};
}

static int read_target(const char *path, char **ret)
{
	char target[4096];
	ssize_t length = readlink(path, target, sizeof target);
	if (length < 0)
		return -errno;
	if (length == sizeof target)
		return -ENAMETOOLONG;
	*ret = text_ndup(target, (size_t)length);
	return 0;
}

int resolver_file_read(const char *path, struct resolver_file *ret)
{
	_cleanup_(resolver_file_done) struct resolver_file file = {};
	struct stat status;
	size_t length;
	bool absent = lstat(path, &status) < 0;
	if (absent && errno != ENOENT)
		return -errno;
	if (!absent)
		file.kind = S_ISLNK(status.st_mode) ? RESOLVER_FILE_LINK : RESOLVER_FILE_REGULAR;
	int r = 0;
	file.mode = 0644;
	if (file.kind == RESOLVER_FILE_REGULAR) {
		file.mode = status.st_mode & 0777;
		file.uid = status.st_uid;
		file.gid = status.st_gid;
	}
	if (file.kind == RESOLVER_FILE_LINK)
		r = read_target(path, &file.target);
	if (r == 0 && file.kind != RESOLVER_FILE_ABSENT)
		r = file_read(path, &file.text, &length);
	if (r == -ENOLINK)
		r = 0;
	if (r < 0)
		return r;
	if (!file.text)
		file.text = text_dup("");
	*ret = file;
	file = (struct resolver_file){};
	return 0;
}

static int write_in_place(const char *path, const char *text)
{
	size_t length = strlen(text);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (length > 0) {
		ssize_t written = write(fd, text, length);
		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			text += written;
			length -= (size_t)written;
		}
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int write_link(const char *path, const char *target)
{
	_cleanup_free_ char *temporary = text_format("%s.holdfast", path);
	if (unlink(temporary) < 0 && errno != ENOENT)
		return -errno;
	if (symlink(target, temporary) < 0)
		return -errno;
	if (rename(temporary, path) == 0)
		return 0;
	int r = -errno;
	(void)unlink(temporary);
	return r;
}

int resolver_file_write(const char *path, const struct resolver_file *file)
{
	int r;
	switch (file->kind) {
	case RESOLVER_FILE_ABSENT:
		return file_remove(path);
	case RESOLVER_FILE_LINK:
		return write_link(path, file->target);
	case RESOLVER_FILE_REGULAR:
		r = file_write_atomic(path, file->text, strlen(file->text), file->mode);
		/* Containers mount it (EBUSY); a unit's ReadWritePaths= may name it alone (EROFS beside it). */
		if (r == -EBUSY || r == -EROFS || r == -EACCES)
			return write_in_place(path, file->text);
		/* A text that is right, of the wrong owner, is better than none. */
		if (r == 0 && (file->uid != 0 || file->gid != 0) && lchown(path, file->uid, file->gid) < 0)
			log_warning("%s: its owner could not be put back: %s", path, strerror(errno));
		return r;
	}
	return -EINVAL;
}

size_t resolver_file_servers(const char *text, struct ip_address *ret, size_t max)
{
	_cleanup_free_ char *copy = text_dup(text);
	char *lines = NULL;
	size_t count = 0;
	for (char *line = strtok_r(copy, "\n", &lines); line && count < max; line = strtok_r(NULL, "\n", &lines)) {
		char *words = NULL, *key = strtok_r(line, " \t\r", &words), *value = key ? strtok_r(NULL, " \t\r", &words) : NULL;
		struct ip_address address;
		if (!value || strcmp(key, "nameserver") != 0 || ip_address_parse(value, &address) < 0)
			continue;
		if (ip_address_is_remote(&address)) /* glibc takes 0.0.0.0 for this host, too */
			ret[count++] = address;
	}
	return count;
}

char *resolver_file_text(const char *interface, const struct ip_address *servers, size_t count)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	char buffer[IP_TEXT_MAX];
	text_append(&text, "# Written by holdfastd for %s while its tunnel carries; what stood here comes back.\n", interface);
	for (size_t i = 0; i < count; i++)
		text_append(&text, "nameserver %s\n", ip_address_format(buffer, &servers[i]));
	return text_steal(&text);
}
