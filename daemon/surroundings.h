/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What goes on around the tunnels, made into events for policies: the network as network/ knows it, and sleep, from logind. Only files of
 * daemon/ include this.
 */

#include <json-c/json.h>
#include <stdbool.h>

#include "network/monitor.h"
#include "network/surroundings.h"

struct manager;

/* Where this daemon stands with its judgements; part of the manager. */
struct surroundings_state {
	struct system_bus *bus;
	struct surroundings_watch *watch;
	sd_event_source *due;
	uint64_t since_usec; /* CLOCK_BOOTTIME: the oldest change that is not judged yet; 0: there is none */
	bool boot;	     /* the event `boot` is not judged yet */
	char *link, *place;  /* the network as last judged: see identify(); NULL: never, place "": it was not known */
	char *portal_link;   /* the link behind which a sign-in page was found; NULL: there is none */
	bool signed_in;	     /* that page is passed, and it is not judged yet */
	uint64_t uplink;     /* the fingerprint of the last uplink there was; 0: none yet */
	char *told;	     /* the last networkChanged event, as text */
};

int surroundings_open(struct manager *manager); /* negative errno */
void surroundings_close(struct manager *manager);
/* The daemon takes up its work: BOOT: it is the first of this boot, so that `boot` is judged as soon as the network is known. */
void surroundings_begin(struct manager *manager, bool boot);
/* The monitor's `changed`. */
void surroundings_on_network(const struct network_state *state, void *userdata);
/* As the status shows it: an absent member has no value here, null is one that a source did not tell. The caller owns the object. */
json_object *surroundings_to_json(struct manager *manager);
/* For the state file: what was judged last, so that a new daemon judges only what is new. NULL: nothing. */
json_object *surroundings_save(const struct manager *manager);
void surroundings_load(struct manager *manager, json_object *saved); /* NULL: nothing */
