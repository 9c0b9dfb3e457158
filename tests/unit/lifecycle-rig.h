/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The lifecycle, told as conversations: an event goes in, the effects that come out are compared as a whole. `play` prints them as one
 * line, "gate record announceState(connecting) workerSpawn", tunnel names left out where there is one tunnel.
 */

#include "daemon/lifecycle.h"

#define SECOND USEC_PER_SEC

extern struct lifecycle life;
extern struct effects effects; /* of the last event */
extern struct policy *policy;  /* the running one; let go of by whoever ends */
extern uint64_t now;

void set_up(void); /* tunnel 0, "home", at rest under the rig's own policy */
void use_policy(const char *text);
void add_tunnel(size_t index, const char *id, bool all);
void connect_home(void); /* set_up(), and it is up */

/* Each feeds an event at `now` and returns the effects' line, good until the next. */
const char *play_event(struct lifecycle_event event);
const char *play(enum lifecycle_event_type type, size_t tunnel);
const char *start_and_go_on(size_t tunnel); /* a user's start whose gate closes; what follows it */
const char *stop_with(enum tunnel_error error);
const char *contacting(void);
const char *after(uint64_t usec); /* so much later the clock tells */
const char *network_is(bool available);

/* The last decision that the last event's effects tell. */
const struct effect *decision_told(void);
