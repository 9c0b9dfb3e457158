/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The folder belongs to root, so that a client that removes its socket when it ends (wireguard-go) cannot: the next one
 * needs it. wireguard-go watches the path meanwhile and ends itself when the socket is removed.
 */

#include "tunnel/control-socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/file.h"
#include "util/text.h"

#define CONTROL_BACKLOG 16

/* PATH as an address; its folder is made. */
static int prepare(const char *path, struct sockaddr_un *ret)
{
	const char *slash = strrchr(path, '/');
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!slash || strlen(path) >= sizeof ret->sun_path)
		return -ENAMETOOLONG;
	strcpy(ret->sun_path, path);
	_cleanup_free_ char *folder = text_ndup(path, (size_t)(slash - path));
	mode_t before = umask(0022); /* the workers' user must find its way to the socket */
	int r = directory_make(folder, 0755);
	umask(before);
	return r;
}

int control_socket_make(const char *path, uid_t uid, int *ret_fd)
{
	struct sockaddr_un address;
	int r = prepare(path, &address);
	if (r < 0)
		return r;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	mode_t before = umask(0177);
	r = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
	umask(before);
	if (r < 0)
		return r;
	if (chown(path, uid, (gid_t)-1) < 0 || listen(fd, CONTROL_BACKLOG) < 0) {
		r = -errno;
		(void)unlink(path);
		return r;
	}
	*ret_fd = STEAL_FD(fd);
	return 0;
}

int control_socket_remove(const char *path)
{
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

void control_socket_drain(int fd)
{
	struct pollfd poller = {.fd = fd, .events = POLLIN};
	while (poll(&poller, 1, 0) > 0) {
		_cleanup_close_ int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (connection < 0)
			return;
	}
}
