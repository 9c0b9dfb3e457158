/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What only a whole rule, or rules beside each other, show: what relaxes on a network that anyone can fake is an error;
 * a rule that can never be reached, or that may restart without end, is a warning.
 */

#include <string.h>

#include "policy/rule.h"

/* Pairs of rules compared at most: a warning that only a document of thousands of rules can miss must not cost seconds.
 */
#define PAIRS_MAX 4000000

#define EVENTS_OF_NETWORK                                                                                              \
	(1u << POLICY_EVENT_NETWORK_CHANGED | 1u << POLICY_EVENT_NETWORK_LOST | 1u << POLICY_EVENT_NETWORK_AVAILABLE)

static bool relaxes(const struct policy_action *action)
{
	return action &&
	       (action->type == POLICY_ACTION_DISCONNECT || action->traffic == POLICY_TRAFFIC_RELEASE ||
		       relaxes(action->then) || (action->timeout_usec != USEC_INFINITY && relaxes(action->on_timeout)));
}

static bool speaks_of_network(const struct conditions *conditions)
{
	return conditions && (conditions->present & CONDITIONS_OF_NETWORK || speaks_of_network(conditions->negated));
}

/* A profile's credentials were accepted by the network; all else that is known of one, anyone in reach can fake. */
static void check_relaxing(const struct rule *rule, const char *pointer, struct problems *problems)
{
	char at[POINTER_MAX];
	if (!relaxes(rule->then) || rule->when.present & CONDITION_BIT(CONDITION_PROFILE))
		return;
	pointer_member(at, pointer, "then");
	if (speaks_of_network(&rule->when))
		problems_error(problems, at, NULL,
			"relaxes on a network that anyone can fake; `when` must name network.profile, whose "
			"credentials were accepted");
	else if (rule->when.events & EVENTS_OF_NETWORK)
		problems_warning(
			problems, at, NULL, "relaxes on whatever network comes; name network.profile in `when`");
}

/* PACED: something else already keeps this action from being done over and over at once. */
static void check_restarts(
	const struct policy_action *action, bool paced, const char *pointer, struct problems *problems)
{
	if (!action)
		return;
	switch (action->type) {
	case POLICY_ACTION_RESTART:
		if (!paced && action->delay.initial_usec == 0)
			problems_warning(problems, pointer, NULL,
				"restarts at once and without end where the cause stays; add a delay, or limits to the "
				"policy");
		break;
	case POLICY_ACTION_WAIT:
		check_restarts(action->then, paced || !action->until_event, pointer, problems);
		break;
	case POLICY_ACTION_NONE:
	case POLICY_ACTION_FAILOVER:
	case POLICY_ACTION_ASK:
	case POLICY_ACTION_TERMINATE:
	case POLICY_ACTION_CONNECT:
	case POLICY_ACTION_DISCONNECT:
	case POLICY_ACTION_IGNORE:
		break; /* a person, or a timeout, stands before what follows */
	}
}

static bool is_bounded(const struct conditions *when)
{
	return when->attempt.max != UINT64_MAX || when->restarts.max < POLICY_HISTORY_RESTARTS ||
	       !(when->events & 1u << POLICY_EVENT_WILL_STOP);
}

static bool contains(const struct range *outer, const struct range *inner)
{
	return outer->min <= inner->min && outer->max >= inner->max;
}

static bool covers_string(const struct strings *patterns, const char *string, bool glob)
{
	for (size_t i = 0; i < patterns->count; i++)
		if (strcmp(patterns->values[i], string) == 0 ||
			(glob && !strpbrk(string, "*?") && glob_match(patterns->values[i], string)))
			return true;
	return false;
}

static bool covers_strings(const struct strings *outer, const struct strings *inner, bool glob)
{
	for (size_t i = 0; i < inner->count; i++)
		if (!covers_string(outer, inner->values[i], glob))
			return false;
	return true;
}

static bool covers(const struct conditions *outer, const struct conditions *inner);

/* Whether CONDITION of OUTER holds wherever that of INNER does. Both are present. */
static bool covers_condition(enum condition condition, const struct conditions *outer, const struct conditions *inner)
{
	switch (condition) {
	case CONDITION_EVENT:
	case CONDITION_ERROR:
	case CONDITION_CLASS:
		return true; /* compared as keys */
	case CONDITION_TUNNEL:
		return covers_strings(&outer->tunnel, &inner->tunnel, true);
	case CONDITION_DRIVER:
		return covers_strings(&outer->driver, &inner->driver, false);
	case CONDITION_PHASE:
		return (inner->phases & ~outer->phases) == 0;
	case CONDITION_ATTEMPT:
		return contains(&outer->attempt, &inner->attempt);
	case CONDITION_RESTARTS:
		return outer->restarts_per_usec == inner->restarts_per_usec &&
		       contains(&outer->restarts, &inner->restarts);
	case CONDITION_CONNECTED_FOR:
		return contains(&outer->connected_for, &inner->connected_for);
	case CONDITION_ENDPOINT:
		return covers_strings(&outer->endpoint, &inner->endpoint, false);
	case CONDITION_TIME:
		return outer->time.from == inner->time.from && outer->time.to == inner->time.to &&
		       (inner->time.days & ~outer->time.days) == 0;
	case CONDITION_AVAILABLE:
		return outer->available == inner->available;
	case CONDITION_TYPE:
		return covers_strings(&outer->type, &inner->type, false);
	case CONDITION_INTERFACE:
		return covers_strings(&outer->interface, &inner->interface, false);
	case CONDITION_SSID:
		return covers_strings(&outer->ssid, &inner->ssid, false);
	case CONDITION_BSSID:
		return covers_strings(&outer->bssid, &inner->bssid, false);
	case CONDITION_PROFILE:
		return covers_strings(&outer->profile, &inner->profile, false);
	case CONDITION_METERED:
		return outer->metered == inner->metered;
	case CONDITION_NOT:
		return covers(inner->negated, outer->negated); /* the wider the negated, the narrower the negation */
	case CONDITION_COUNT:
		break;
	}
	return false;
}

/* The keys of INNER on which OUTER holds wherever INNER does. May miss some, never claims one wrongly. */
static uint64_t covered_keys(const struct conditions *outer, const struct conditions *inner)
{
	unsigned judged = outer->present & ~CONDITIONS_OF_KEYS;
	uint64_t both = inner->keys & outer->keys;
	if (!both || judged & ~inner->present)
		return 0;
	for (; judged; judged &= judged - 1)
		if (!covers_condition((enum condition)__builtin_ctz(judged), outer, inner))
			return 0;
	return both;
}

/* Whether OUTER holds wherever INNER does; likewise. */
static bool covers(const struct conditions *outer, const struct conditions *inner)
{
	return covered_keys(outer, inner) == inner->keys;
}

static void check_reach(const struct policy *policy, size_t rule, const char *pointer, size_t *pairs, uint64_t *taken,
	struct problems *problems)
{
	const struct conditions *when = &policy->rules[rule].when;
	if (when->negated && covers(when->negated, when)) {
		problems_warning(problems, pointer, NULL, "is never reached: its `not` leaves out all that it asks for");
		return;
	}
	uint64_t left = when->keys;
	for (size_t i = 0; i < rule && *pairs < PAIRS_MAX; i++, *pairs += 1) {
		uint64_t covered = covered_keys(&policy->rules[i].when, when);
		left &= ~covered;
		if (covered == when->keys) {
			problems_warning(problems, pointer, NULL,
				"is never reached: rule %zu decides wherever this one could", i);
			return;
		}
	}
	if ((left & ~*taken) == 0)
		problems_warning(
			problems, pointer, NULL, "is never reached: the rules before it decide all that it could");
	if ((when->present & ~CONDITIONS_OF_KEYS) == 0)
		*taken |= when->keys;
}

bool policy_check(const struct policy *policy, struct problems *problems)
{
	size_t errors = problems->errors, pairs = 0;
	uint64_t taken = 0;
	char at[POINTER_MAX], then[POINTER_MAX];
	bool limited = policy->limits.restarts > 0;
	for (size_t i = 0; i < policy->rule_count; i++) {
		const struct rule *rule = &policy->rules[i];
		pointer_index(at, "/rules", i);
		check_relaxing(rule, at, problems);
		check_restarts(
			rule->then, limited || is_bounded(&rule->when), pointer_member(then, at, "then"), problems);
		check_reach(policy, i, at, &pairs, &taken, problems);
	}
	check_restarts(policy->otherwise, limited, "/otherwise", problems);
	return problems->errors == errors;
}
