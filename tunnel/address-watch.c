/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tunnel/address-watch.h"

#include <linux/rtnetlink.h>
#include <sys/epoll.h>

#include "tunnel/kernel-notices.h"
#include "util/text.h"

struct address_watch {
	int fd;
	sd_event_source *io;
	addresses_changed changed;
	void *userdata;
};

static int on_notice(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct address_watch *watch = userdata;
	kernel_notices_drain(fd);
	watch->changed(watch->userdata);
	return 0;
}

int address_watch_new(struct address_watch **ret, sd_event *event, addresses_changed changed, void *userdata)
{
	int fd;
	int r = kernel_notices_open(RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR, &fd);
	if (r < 0)
		return r;
	struct address_watch *watch = xcalloc(1, sizeof *watch);
	*watch = (struct address_watch){.fd = fd, .changed = changed, .userdata = userdata};
	r = sd_event_add_io(event, &watch->io, watch->fd, EPOLLIN, on_notice, watch);
	if (r < 0) {
		address_watch_free(watch);
		return r;
	}
	*ret = watch;
	return 0;
}

struct address_watch *address_watch_free(struct address_watch *watch)
{
	if (!watch)
		return NULL;
	sd_event_source_disable_unref(watch->io);
	closep(&watch->fd);
	free(watch);
	return NULL;
}
