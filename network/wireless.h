/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The Wi-Fi network that a link is on, asked of the kernel (nl80211, linux/nl80211.h). A kernel without nl80211 and a link that is no
 * Wi-Fi are normal: then there is no such thing.
 */

#include <linux/netlink.h>
#include <systemd/sd-event.h>

#include "network/fact.h"

struct wireless_facts {
	struct text_fact ssid, bssid;
};

struct wireless;

/* Calls ROAMED after the kernel announced that a station joined, left or changed its access point. Negative errno. */
int wireless_new(struct wireless **ret, sd_event *event, void (*roamed)(void *userdata), void *userdata);
struct wireless *wireless_free(struct wireless *wireless); /* accepts NULL, returns NULL */
/* Of the link INDEX. UNKNOWN where the kernel has nl80211 and did not answer. */
struct wireless_facts wireless_read(struct wireless *wireless, int index);

/* One answer of NL80211_CMD_GET_SCAN: fills RET (struct wireless_facts) if it is of the access point in use. For tests, pure. */
int wireless_read_bss(const struct nlmsghdr *answer, void *ret);
