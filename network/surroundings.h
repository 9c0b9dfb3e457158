/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is known of the primary uplink, from whom it is best known: the link and what carries it from the kernel, its profile and what
 * follows from that from NetworkManager, its Wi-Fi network from NetworkManager where that has it, else from nl80211.
 */

#include <net/if.h>
#include <systemd/sd-event.h>

#include "network/monitor.h"
#include "network/networkmanager.h"
#include "network/system-bus.h"

#define SURROUNDINGS_GRACE_USEC (30 * USEC_PER_SEC) /* a NetworkManager that is being restarted is back by then */

struct surroundings {
	char interface[IFNAMSIZ]; /* "": there is no primary uplink; then only `connectivity` may be said */
	enum link_type type;
	struct text_fact ssid, bssid, profile;
	struct truth_fact metered;
	enum fact networkmanager;	/* whether there is one; UNKNOWN: not known, or it does not answer */
	bool asking;			/* it is asked whether the above still holds */
	enum connectivity connectivity; /* while `networkmanager` is KNOWN */
	char check_uri[CHECK_URI_MAX];	/* where NetworkManager's own check goes; "": it makes none, or did not say */
};

struct surroundings_watch;

/* CHANGED is told when something differs, at once. BUS is started by the caller afterwards and must outlive it. Negative errno. */
int surroundings_watch_new(struct surroundings_watch **ret, sd_event *event, struct system_bus *bus,
	void (*changed)(const struct surroundings *surroundings, void *userdata), void *userdata);
struct surroundings_watch *surroundings_watch_free(struct surroundings_watch *watch); /* accepts NULL, returns NULL */
/* What the kernel says now: the primary uplink is taken from it. */
void surroundings_watch_set_state(struct surroundings_watch *watch, const struct network_state *state);
const struct surroundings *surroundings_now(const struct surroundings_watch *watch);

/* Whether everything that can be known is known: no source is about to say more. */
bool surroundings_settled(const struct surroundings *surroundings);
