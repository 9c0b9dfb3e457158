/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tunnel/link-watch.h"

#include <errno.h>
#include <linux/rtnetlink.h>

#include "network/link.h"
#include "tunnel/kernel-notices.h"
#include "util/text.h"

struct link_watch {
	char interface[IFNAMSIZ];
	int index;
	struct kernel_notices *notices;
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

static void on_notice(void *userdata)
{
	struct link_watch *watch = userdata;
	char sentence[WORKER_DETAIL_MAX];
	if (link_watch_stands(watch, sentence))
		return;
	watch->notices = kernel_notices_free(watch->notices);
	watch->lost(watch->userdata, sentence);
}

int link_watch_new(struct link_watch **ret, sd_event *event, const char *interface, link_lost lost, void *userdata)
{
	struct link_status status;
	struct link_watch *watch = xcalloc(1, sizeof *watch);
	*watch = (struct link_watch){.lost = lost, .userdata = userdata};
	snprintf(watch->interface, sizeof watch->interface, "%s", interface);
	int r = kernel_notices_new(&watch->notices, event, RTMGRP_LINK, on_notice, watch);
	if (r >= 0)
		r = link_query(interface, &status); /* after the notices: nothing falls in between */
	if (r >= 0 && !status.up)
		r = -ENETDOWN;
	if (r < 0) {
		link_watch_free(watch);
		return r;
	}
	watch->index = status.index;
	*ret = watch;
	return 0;
}

struct link_watch *link_watch_free(struct link_watch *watch)
{
	if (!watch)
		return NULL;
	kernel_notices_free(watch->notices);
	free(watch);
	return NULL;
}
