/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What NetworkManager says of one link, and of the way to the internet (D-Bus interface org.freedesktop.NetworkManager, see
 * nm-dbus-types). Asked asynchronously, kept up to date by its signals. It comes late, hangs, goes and comes back, or is not there at
 * all: `source` says which.
 */

#include "network/check-uri.h"
#include "network/fact.h"
#include "network/link-class.h"
#include "network/system-bus.h"
#include "util/string-table.h"

/* NMConnectivityState; NONE is NetworkManager's own word for "no way at all". */
enum connectivity { CONNECTIVITY_UNKNOWN, CONNECTIVITY_NONE, CONNECTIVITY_PORTAL, CONNECTIVITY_LIMITED, CONNECTIVITY_FULL };
STRING_TABLE(connectivity, enum connectivity);

/*
 * `source` NONE: there is no NetworkManager; UNKNOWN: whether, or what it says, is not known (yet, or for a moment); the members below
 * are then of the same kind. `profile` is UNKNOWN while a connection is being activated: its credentials are not accepted yet.
 */
struct networkmanager_facts {
	enum fact source;
	bool asking;  /* the kernel knows something new, and it has not been heard about that yet: what stands here may be of before */
	bool managed; /* it has an activated connection on the link; else type is not said, and the rest is NONE */
	enum link_type type;
	struct text_fact profile, ssid, bssid;
	struct truth_fact metered;
	enum connectivity connectivity; /* of the host; UNKNOWN too where the check is turned off */
	char check_uri[CHECK_URI_MAX]; /* where its check goes; "": it makes none, or is not there, or has not said so */
};

struct networkmanager;

/*
 * CHANGED is told when the facts differ, at most once per reading. GRACE_USEC: how long a NetworkManager that was there and is gone
 * counts as one that does not answer (it is being restarted) before it counts as none. BUS must outlive it. Negative errno.
 */
int networkmanager_new(struct networkmanager **ret, sd_event *event, struct system_bus *bus, uint64_t grace_usec,
	void (*changed)(void *userdata), void *userdata);
struct networkmanager *networkmanager_free(struct networkmanager *manager); /* accepts NULL, returns NULL */
/* The link to ask about; "" for none. Another one's facts are UNKNOWN until it is answered. */
void networkmanager_set_interface(struct networkmanager *manager, const char *interface);
/* Something else changed on the link: what was said of it is asked again. */
void networkmanager_refresh(struct networkmanager *manager);
const struct networkmanager_facts *networkmanager_facts(const struct networkmanager *manager);
