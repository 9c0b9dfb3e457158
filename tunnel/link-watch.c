/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tunnel/link-watch.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <sys/epoll.h>

#include "network/link.h"
#include "tunnel/kernel-notices.h"
#include "util/text.h"

struct link_watch {
	char interface[IFNAMSIZ];
	int index;
	int fd;
	sd_event_source *io;
	link_lost lost;
	void *userdata;
};

bool link_watch_stands(const struct link_watch *watch, char sentence[WORKER_DETAIL_MAX])
{
	struct link_status status;
	int r = link_query(watch->interface, &status);
	if (r < 0 && r != -ENODEV)
		return true; /* not known to be otherwise */
	if (r == 0 && status.index == watch->index && status.up)
		return true;
	snprintf(sentence, WORKER_DETAIL_MAX, "the link %s %s", watch->interface,
	        r < 0 || status.index != watch->index ? "was deleted" : "is down");
	return false;
}

static int on_notice(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct link_watch *watch = userdata;
	char sentence[WORKER_DETAIL_MAX];
	kernel_notices_drain(fd);
	if (link_watch_stands(watch, sentence))
		return 0;
	sd_event_source_set_enabled(watch->io, SD_EVENT_OFF);
	watch->lost(watch->userdata, sentence);
	return 0;
}

int link_watch_new(struct link_watch **ret, sd_event *event, const char *interface, link_lost lost, void *userdata)
{
	struct link_status status;
	_cleanup_close_ int fd = -1;
	int r = kernel_notices_open(RTMGRP_LINK, &fd);
	if (r == 0)
		r = link_query(interface, &status); /* after the socket listens: nothing falls in between */
	if (r == 0 && !status.up)
		r = -ENETDOWN;
	if (r < 0)
		return r;
	struct link_watch *watch = xcalloc(1, sizeof *watch);
	*watch = (struct link_watch){.index = status.index, .fd = fd, .lost = lost, .userdata = userdata};
	snprintf(watch->interface, sizeof watch->interface, "%s", interface);
	r = sd_event_add_io(event, &watch->io, fd, EPOLLIN, on_notice, watch);
	if (r >= 0)
		r = sd_event_source_set_priority(watch->io, SD_EVENT_PRIORITY_IMPORTANT);
	fd = -1;
	if (r < 0) {
		link_watch_free(watch);
		return r;
	}
	*ret = watch;
	return 0;
}

struct link_watch *link_watch_free(struct link_watch *watch)
{
	if (!watch)
		return NULL;
	sd_event_source_disable_unref(watch->io);
	closep(&watch->fd);
	free(watch);
	return NULL;
}
