/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether anything comes back through a tunnel that is up. Pure: counters, answers and the time go in, what to do comes
 * out. Two signs that do not depend on each other must both be there:
 *
 * - passive: packets went out for an interval and nothing came in. Where nothing is sent nothing can be missing: a tunnel
 *   that idles gives no sign, however long;
 * - active: a target that has answered before, through this very session, does not answer a series of probes any more. One
 *   that never answered proves nothing by its silence.
 *
 * Both speak of time in which somebody looked: a host that slept wakes without a sign.
 */

#include <stdbool.h>
#include <stdint.h>

#define HEALTH_PROBES 3 /* unanswered ones that are a sign */

enum health_action {
	HEALTH_NOTHING,
	HEALTH_PROBE,   /* send one */
	HEALTH_SUSPECT, /* the passive sign is there: tell of it, and send a probe */
	HEALTH_DEAD,    /* both are */
};

struct health {
	bool begun;
	uint64_t rx, tx;           /* as last sampled */
	uint64_t sampled_usec;     /* when that was; 0: never */
	uint64_t unanswered_usec;  /* since when packets went out and none came in; 0: nothing is missing */
	bool suspected;            /* told already */
	bool proven;               /* the target has answered in this session */
	bool asked;                /* what went out since may be the probe that learns: no sign */
	unsigned probes;           /* sent in this series */
	uint64_t probed_usec;      /* when the last one was */
	uint64_t learned_usec;     /* when the last attempt to prove the target began */
};

/* All zero is a session that has just come up. INTERVAL is the tunnel's; sample about HEALTH_SAMPLES times in it. */
#define HEALTH_SAMPLES 5
enum health_action health_sample(struct health *health, uint64_t now, uint64_t rx, uint64_t tx, uint64_t interval);
/* The target answered: whatever was missing has come. */
void health_answered(struct health *health);
