/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One turn: an event is fed to the lifecycle, its effects are carried out in their order, and what comes up meanwhile follows, a failure
 * before anything else. Pure but for the hooks, so that the simulation (tests/sim) runs what ships.
 */

#include "daemon/lifecycle.h"

#define TURN_QUEUE_MAX 64 /* events that wait for the one being carried out */

struct turn_hooks {
	/* Before each step: EVENT is about to be fed. */
	void (*before)(const struct lifecycle_event *event, void *userdata);
	/* Carries EFFECT out. Anything but TUNNEL_ERROR_NONE: it failed. May call turn_post(). */
	enum tunnel_error (*carry_out)(const struct effect *effect, void *userdata);
	uint64_t (*now)(void *userdata); /* CLOCK_BOOTTIME */
};

struct turn {
	bool running; /* an event is being carried out */
	struct lifecycle_event queue[TURN_QUEUE_MAX];
	size_t queue_length;
	struct effects effects;
};

/* Queues EVENT behind what waits already. False: there is no place; it is lost. */
bool turn_post(struct turn *turn, const struct lifecycle_event *event);

/* Feeds EVENT and all that follows. Not to be called while TURN runs. True if something changed. */
bool turn_run(struct turn *turn, struct lifecycle *lifecycle, const struct lifecycle_event *event, const struct turn_hooks *hooks, void *userdata);
