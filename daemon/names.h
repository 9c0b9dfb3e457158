/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Granted domains: dnsmasq(8), run without a cache while domains are granted and a tunnel that routes everything is up. The host asks
 * it; it asks the resolvers outside the tunnel for granted names and puts the answers into the gate's sets before it answers, and the
 * tunnel's resolvers for all else. It runs as a user of its own, which is how the gate knows its questions.
 *
 * It outlives a daemon that is killed, and is replaced by the next one's.
 */

#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "tunnel/protocol.h"
#include "util/address.h"

struct manager;

struct names {
	sd_event_source *child, *retry;
	pid_t pid;			   /* 0: does not run */
	char *config;			   /* what it runs with */
	char *detail;			   /* why it does not run although it should; NULL: as it should be */
	struct worker_resolvers resolvers; /* outside the tunnel, of the last plan */
	bool flush;			   /* a domain was taken back: what was resolved is forgotten */
};

/* Finds the resolvers that dns.bypass names, else the uplink's. */
void names_find_resolvers(struct manager *manager);
/* The number of the user that dnsmasq runs as; 0: there is none, so that nobody is let by. */
uid_t names_uid(void);
/*
 * Brings it to what is wanted: starts it, with other domains or resolvers anew, or ends it. *ret_servers is what the host shall ask
 * where the tunnel's own resolvers are SERVERS: those, or dnsmasq while it runs.
 */
void names_update(struct manager *manager);
/* The address that the host asks while it runs; false: it does not run. */
bool names_server(const struct manager *manager, struct ip_address *ret);
/* Ends what an earlier daemon left. */
void names_begin(struct manager *manager);
void names_free(struct manager *manager);
