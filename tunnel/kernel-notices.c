/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tunnel/kernel-notices.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "util/macro.h"

int kernel_notices_open(uint32_t groups, int *ret_fd)
{
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	*ret_fd = STEAL_FD(fd);
	return 0;
}

void kernel_notices_drain(int fd)
{
	char buffer[8192];
	while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
		;
}
