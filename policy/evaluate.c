/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A decision, in three steps: the first rule whose conditions all hold; the delay of its action; the limits. Allocates
 * nothing and reads nothing but its arguments.
 */

#include <math.h>
#include <string.h>

#include "policy/rule.h"

/* (0 … 1) × 2^64 */
#define RANDOM_SPAN 18446744073709551616.0

/*
 * initial × factor^(decision−1), capped at max, then drawn from d × (1 ± jitter). In doubles, which hold every allowed
 * duration exactly (ten years are under 2^53 µs) and go to infinity where an integer would wrap.
 */
static uint64_t backoff(const struct policy_delay *delay, unsigned decision, uint64_t random)
{
	if (delay->initial_usec == 0)
		return 0; /* 0 × infinity is no number */
	double usec = (double)delay->initial_usec * pow(delay->factor, decision - 1);
	usec = fmin(usec, (double)delay->max_usec);
	double sway = 2 * ((double)random / RANDOM_SPAN) - 1;
	return (uint64_t)(usec * (1 + delay->jitter * sway));
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/*
 * When the window has room: it is full until the restart that is the RESTARTS-th latest has left it. Found by counting,
 * since times may stand in any order; only a decision that is held back pays for it.
 */
static uint64_t window_opens(const struct limits *limits, const struct policy_history *history)
{
	size_t count = MIN_OF(history->restart_count, (uint16_t)POLICY_HISTORY_RESTARTS);
	for (size_t i = 0; i < count; i++) {
		size_t later = 0, same = 0;
		for (size_t j = 0; j < count; j++) {
			later += history->restarts[j] > history->restarts[i];
			same += history->restarts[j] == history->restarts[i];
		}
		if (later < limits->restarts && later + same >= limits->restarts)
			return add_saturated(history->restarts[i], limits->per_usec);
	}
	return 0;
}

/* How long until one more restart is within the limits; 0: now. */
static uint64_t held_back_for(const struct limits *limits, const struct policy_context *context)
{
	if (limits->restarts == 0)
		return 0;
	if (context->restarts_given)
		return context->restarts >= limits->restarts ? limits->per_usec : 0;
	if (!context->history ||
		policy_history_restarts(context->history, limits->per_usec, context->now_usec) < limits->restarts)
		return 0;
	return window_opens(limits, context->history) - context->now_usec;
}

void policy_carry_on(const struct policy *policy, const struct policy_context *context, int rule,
	const struct policy_action *action, struct policy_decision *ret)
{
	*ret = (struct policy_decision){.rule = rule, .rule_name = policy_rule_name(policy, rule), .action = action};
	if (!action || (action->type != POLICY_ACTION_RESTART && action->type != POLICY_ACTION_FAILOVER))
		return;
	unsigned before = context->history ? policy_history_rule_count(context->history, rule) : 0;
	if (action->type == POLICY_ACTION_RESTART)
		ret->delay_usec = backoff(&action->delay, before + 1, context->random);
	uint64_t held_back = held_back_for(&policy->limits, context);
	if (held_back == 0)
		return;
	ret->limited = true;
	ret->delay_usec = MAX_OF(ret->delay_usec, held_back);
	if (policy->limits.then) {
		ret->action = policy->limits.then;
		ret->delay_usec = 0;
	}
}

void policy_evaluate(const struct policy *policy, const struct policy_context *context, struct policy_decision *ret)
{
	int rule = index_first_match(policy->index, policy->rules, context);
	if (rule >= 0)
		policy_carry_on(policy, context, rule, policy->rules[rule].then, ret);
	else if (context->event == POLICY_EVENT_WILL_STOP)
		policy_carry_on(policy, context, POLICY_RULE_OTHERWISE, policy->otherwise, ret);
	else
		*ret = (struct policy_decision){.rule = POLICY_RULE_NONE};
}
