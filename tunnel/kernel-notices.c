/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tunnel/kernel-notices.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "util/macro.h"
#include "util/text.h"

struct kernel_notices {
	int fd;
	sd_event_source *io;
	kernel_noticed noticed;
	void *userdata;
};

static int on_notice(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct kernel_notices *notices = userdata;
	char buffer[8192];
	while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
		;
	notices->noticed(notices->userdata);
	return 0;
}

int kernel_notices_new(
        struct kernel_notices **ret, sd_event *event, uint32_t groups, kernel_noticed noticed, void *userdata)
{
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
	struct kernel_notices *notices = xcalloc(1, sizeof *notices);
	*notices = (struct kernel_notices){.noticed = noticed, .userdata = userdata};
	notices->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	int r = notices->fd < 0 || bind(notices->fd, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno
	                                                                                                    : 0;
	if (r >= 0)
		r = sd_event_add_io(event, &notices->io, notices->fd, EPOLLIN, on_notice, notices);
	if (r >= 0)
		r = sd_event_source_set_priority(notices->io, SD_EVENT_PRIORITY_IMPORTANT);
	if (r < 0) {
		kernel_notices_free(notices);
		return r;
	}
	*ret = notices;
	return 0;
}

struct kernel_notices *kernel_notices_free(struct kernel_notices *notices)
{
	if (!notices)
		return NULL;
	sd_event_source_disable_unref(notices->io);
	closep(&notices->fd);
	free(notices);
	return NULL;
}
