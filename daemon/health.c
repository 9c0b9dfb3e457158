/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/health.h"

#include "util/macro.h"

#define LEARN_INTERVALS 12 /* between attempts to have the target answer for the first time */

static void count(struct health *health, uint64_t now, uint64_t rx, uint64_t tx)
{
	bool came = rx != health->rx || !health->begun, went = tx != health->tx && health->begun;
	went = went && !health->asked;
	health->asked = false;
	health->begun = true;
	health->rx = rx;
	health->tx = tx;
	if (came) {
		health->unanswered_usec = 0;
		health->suspected = false;
	} else if (went && !health->unanswered_usec) {
		health->unanswered_usec = now;
	}
}

static enum health_action probe(struct health *health, uint64_t now, enum health_action action)
{
	health->probes++;
	health->probed_usec = now;
	return action;
}

/* The target is asked now and then, while all is well, until it has answered once. */
static enum health_action learn(struct health *health, uint64_t now, uint64_t interval)
{
	if (health->proven)
		return HEALTH_NOTHING;
	if (health->learned_usec && now - health->learned_usec >= LEARN_INTERVALS * interval) {
		health->learned_usec = 0;
		health->probes = 0;
	}
	if (!health->learned_usec)
		health->learned_usec = now;
	if (health->probes == HEALTH_PROBES || (health->probes && now - health->probed_usec < interval / HEALTH_SAMPLES))
		return HEALTH_NOTHING;
	health->asked = true;
	return probe(health, now, HEALTH_PROBE);
}

/* Nobody looked for an interval: the host slept, or is that slow. What was missing before has had no chance to come since. */
static void begin_anew_after_gap(struct health *health, uint64_t now, uint64_t interval)
{
	if (health->sampled_usec && now - health->sampled_usec >= interval) {
		health->unanswered_usec = 0;
		health->suspected = false;
		health->probes = 0;
	}
	health->sampled_usec = now;
}

enum health_action health_sample(struct health *health, uint64_t now, uint64_t rx, uint64_t tx, uint64_t interval)
{
	begin_anew_after_gap(health, now, interval);
	count(health, now, rx, tx);
	bool silent = health->unanswered_usec && now - health->unanswered_usec >= interval;
	if (!silent)
		return learn(health, now, interval);
	if (!health->suspected) {
		health->suspected = true;
		health->probes = 0;
		return probe(health, now, HEALTH_SUSPECT);
	}
	if (now - health->probed_usec < interval / HEALTH_SAMPLES)
		return HEALTH_NOTHING;
	if (health->probes < HEALTH_PROBES)
		return probe(health, now, HEALTH_PROBE);
	return health->proven ? HEALTH_DEAD : HEALTH_NOTHING;
}

void health_answered(struct health *health)
{
	health->proven = true;
	health->unanswered_usec = 0;
	health->suspected = false;
	health->probes = 0;
}
