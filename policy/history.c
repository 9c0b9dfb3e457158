/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The past of one tunnel. Two independent memories: how often each rule decided since the tunnel was last stable (at
 * most POLICY_HISTORY_RULES rules; the least used makes room), and the times of the last POLICY_HISTORY_RESTARTS
 * restarts, a ring. It may have been read from a file, so that no member is trusted to be in range.
 */

#include "policy/policy.h"

#define SLOT_OF(rule) ((rule) + 2)

static bool is_counted(int rule)
{
	return rule >= POLICY_RULE_OTHERWISE && SLOT_OF(rule) <= INT16_MAX;
}

/* The rule's own place, or the least used, which it takes. */
static size_t place_of(struct policy_history *history, int rule)
{
	size_t least = 0;
	for (size_t i = 0; i < POLICY_HISTORY_RULES; i++) {
		if (history->rules[i].rule == SLOT_OF(rule))
			return i;
		if (history->rules[i].rule == 0)
			history->rules[i].count = 0;
		if (history->rules[i].count < history->rules[least].count)
			least = i;
	}
	history->rules[least].rule = (int16_t)SLOT_OF(rule);
	history->rules[least].count = 0;
	return least;
}

static void count_rule(struct policy_history *history, int rule)
{
	size_t place = place_of(history, rule);
	history->rules[place].count += history->rules[place].count < UINT16_MAX;
}

void policy_history_set_rule_count(struct policy_history *history, int rule, unsigned count)
{
	if (is_counted(rule) && count > 0)
		history->rules[place_of(history, rule)].count = (uint16_t)MIN_OF(count, (unsigned)UINT16_MAX);
}

int policy_history_rule_at(const struct policy_history *history, size_t place)
{
	return history->rules[place].rule - SLOT_OF(0);
}

void policy_history_decided(struct policy_history *history, int rule, bool restart, uint64_t now_usec)
{
	if (is_counted(rule))
		count_rule(history, rule);
	if (!restart)
		return;
	history->restart_next %= POLICY_HISTORY_RESTARTS;
	history->restarts[history->restart_next] = now_usec;
	history->restart_next = (uint16_t)((history->restart_next + 1) % POLICY_HISTORY_RESTARTS);
	history->restart_count += history->restart_count < POLICY_HISTORY_RESTARTS;
}

void policy_history_stable(struct policy_history *history)
{
	for (size_t i = 0; i < POLICY_HISTORY_RULES; i++)
		history->rules[i].rule = 0, history->rules[i].count = 0;
}

unsigned policy_history_rule_count(const struct policy_history *history, int rule)
{
	for (size_t i = 0; is_counted(rule) && i < POLICY_HISTORY_RULES; i++)
		if (history->rules[i].rule == SLOT_OF(rule))
			return history->rules[i].count;
	return 0;
}

/* A restart counts for exactly PER: no more when it is PER old. One with a time to come (it was given its delay) counts
 * already. */
unsigned policy_history_restarts(const struct policy_history *history, uint64_t per_usec, uint64_t now_usec)
{
	unsigned count = 0;
	for (size_t i = 0; i < MIN_OF(history->restart_count, (uint16_t)POLICY_HISTORY_RESTARTS); i++)
		count += history->restarts[i] > now_usec || now_usec - history->restarts[i] < per_usec;
	return count;
}
