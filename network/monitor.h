/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the kernel says of links, addresses and routes, kept up to date by rtnetlink. Uplinks are what traffic leaves the machine by;
 * the rest is loopback, Holdfast's own links, or local links (bridges of containers and VMs).
 */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "network/link-class.h"
#include "network/link.h"
#include "util/address.h"

#define NETWORK_LINKS_MAX 64 /* uplinks, and local links, that are told apart by name */

struct attached_network {
	struct ip_prefix network;
	char interface[IFNAMSIZ];
};

/* Arrays are sorted by name (networks: by interface, then bytes), so that equal states compare equal. */
struct network_state {
	bool available; /* an uplink is up with a default route */
	char uplinks[NETWORK_LINKS_MAX][IFNAMSIZ];
	size_t uplink_count;
	char local_links[NETWORK_LINKS_MAX][IFNAMSIZ];
	size_t local_link_count;
	struct attached_network attached[NETWORK_LINKS_MAX]; /* on-link networks of uplinks and local links, from the kernel's addresses */
	size_t attached_count;
	/*
	 * Of the uplinks that run, their addresses and default routes: another value means that the uplink changed. IPv6 privacy
	 * addresses and route metrics are left out: those rotate by themselves, and these NetworkManager changes when its
	 * connectivity check fails, as it must behind a closed gate.
	 */
	uint64_t fingerprint;
	/*
	 * The uplink that the host's traffic takes: of those that run, the one with the best default route, IPv4's before IPv6's. What
	 * NetworkManager adds to a metric while its connectivity check fails does not count. "": there is none, and no index or type.
	 */
	char primary[IFNAMSIZ];
	int primary_index;
	enum link_type primary_type;
};

/* Up is what was asked for (IFF_UP): a TUN device whose client is being restarted has no carrier, and is up. */
enum link_presence { LINK_ABSENT, LINK_DOWN, LINK_UP };

struct network_monitor;

struct network_callbacks {
	/* The state differs from the last one told. Called at most once per turn of the loop. */
	void (*changed)(const struct network_state *state, void *userdata);
	/* One of Holdfast's own links (hf-<id>) appeared, went down, or vanished. Called at once, in order. */
	void (*link)(const char *interface, enum link_presence presence, void *userdata);
	/* Rules, routes or links of the second layer may have been touched by somebody else. At once; may be called too often. */
	void (*routing_touched)(void *userdata);
};

/* Reads the present state, without a callback, and watches from then on. CALLBACKS are copied; each may be NULL. Negative errno. */
int network_monitor_new(struct network_monitor **ret, sd_event *event, const struct network_callbacks *callbacks, void *userdata);
struct network_monitor *network_monitor_free(struct network_monitor *monitor); /* accepts NULL, returns NULL */
/* Links that the settings call uplinks. The state is right on return; `changed` comes in the next turn. */
void network_monitor_set_named_uplinks(struct network_monitor *monitor, const char (*names)[IFNAMSIZ], size_t count);
const struct network_state *network_monitor_state(const struct network_monitor *monitor);
enum link_presence network_monitor_link(const struct network_monitor *monitor, const char *interface);

/* Whose ADDRESS is, so that no tunnel can have it: a few words if it is the host's own on another link than Holdfast's, or a
 * default route's next hop, for which the host would then answer on the LAN; else NULL. */
const char *network_monitor_whose(const struct network_monitor *monitor, const struct ip_address *address);
/* Whether packets with MARK have a route to ADDRESS that leaves by an uplink which runs (asks the kernel). */
bool network_has_route(struct network_monitor *monitor, const struct ip_address *address, uint32_t mark);
