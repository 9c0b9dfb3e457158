/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The one place where the worker makes packets of its own. The gate knows them by the mark, which the worker's cgroup
 * gives to sockets at birth; it is set here beside that, since there are hosts without such cgroups.
 */

#include "tunnel/marked-socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "util/macro.h"

static socklen_t socket_address(const struct endpoint *endpoint, struct sockaddr_storage *ret)
{
	*ret = (struct sockaddr_storage){.ss_family = (sa_family_t)endpoint->address.family};
	if (endpoint->address.family == AF_INET) {
		struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
		v4->sin_port = htons(endpoint->port);
		memcpy(&v4->sin_addr, endpoint->address.bytes, sizeof v4->sin_addr);
		return sizeof *v4;
	}
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	v6->sin6_port = htons(endpoint->port);
	memcpy(&v6->sin6_addr, endpoint->address.bytes, sizeof v6->sin6_addr);
	return sizeof *v6;
}

bool marked_socket_allowed(uint32_t mark)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0;
}

int marked_socket_connect(const struct endpoint *to, uint32_t mark)
{
	struct sockaddr_storage address;
	socklen_t length = socket_address(to, &address);
	_cleanup_close_ int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* Without the capability the cgroup's mark stands, if any. */
	(void)setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark);
	if (connect(fd, (struct sockaddr *)&address, length) < 0)
		return -errno;
	return STEAL_FD(fd);
}
