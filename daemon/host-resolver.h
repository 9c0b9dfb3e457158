/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The host's resolver, as the tunnels that are up want it: set, kept so where somebody else changes it, tried again where it could not
 * be set, and put back with the last of them. Only files of daemon/ include this.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

struct manager;
struct tunnel_runtime;

/* Part of the manager. */
struct host_resolver {
	const char *by;	 /* resolver_method() */
	char *failure;	 /* why it is not as wanted, a sentence; NULL: it is */
	unsigned healed; /* changes of somebody else's that were undone */
	bool let_go;	 /* put back for a release */
	uint64_t next_usec; /* CLOCK_BOOTTIME: not healed again before */
	sd_event_source *watch, *due;
};

int host_resolver_open(struct manager *manager); /* negative errno */
void host_resolver_close(struct manager *manager);
/* Points the host at the tunnel's resolvers, where it has some for everything. Negative errno. */
int host_resolver_set(struct manager *manager, const struct tunnel_runtime *runtime);
/* The same for all that are up; dnsmasq, where domains are granted. */
void host_resolver_update(struct manager *manager);
/* As it was before, unless a tunnel is up that wants it. */
void host_resolver_restore(struct manager *manager);
/* A release may have begun or ended, a tunnel carry or not: names open and close with the rest. */
void host_resolver_follow(struct manager *manager);
/* systemd-resolved that comes late or anew knows nothing of a tunnel: it is told. NULL: the bus is gone. */
void host_resolver_on_bus(sd_bus *bus, struct manager *manager);
json_object *host_resolver_to_json(const struct manager *manager); /* for the status; the caller owns it */
