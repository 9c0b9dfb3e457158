/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Judging conditions, in three values (Kleene's): true, false, and unknown where a source that exists did not answer.
 * All present conditions are joined by "and": one false makes all false, else one unknown makes all unknown. `not`
 * turns true and false around and leaves unknown. A rule is taken only if its conditions are true; thus neither an
 * unknown condition nor its negation holds. What does not exist ("none") makes a condition false, and so its negation
 * true.
 */

#include <string.h>
#include <strings.h>

#include "policy/rule.h"

#define MINUTES_A_DAY 1440
#define ALL_DAYS      0x7f

static enum policy_truth truth(bool holds)
{
	return holds ? POLICY_TRUE : POLICY_FALSE;
}

bool glob_match(const char *pattern, const char *string)
{
	/* After a mismatch only the last star can take one character more: linear in memory, at worst quadratic in
	 * time. */
	const char *star = NULL, *resume = NULL;
	while (*string)
		if (*pattern == '*') {
			star = pattern++;
			resume = string;
		} else if (*pattern == '?' || *pattern == *string) {
			pattern++, string++;
		} else if (star) {
			pattern = star + 1;
			string = ++resume;
		} else {
			return false;
		}
	while (*pattern == '*')
		pattern++;
	return *pattern == 0;
}

static bool equal(const char *pattern, const char *string)
{
	return strcmp(pattern, string) == 0;
}

static bool equal_but_for_case(const char *pattern, const char *string)
{
	return strcasecmp(pattern, string) == 0;
}

static enum policy_truth judge_strings(
	const struct strings *strings, const char *value, bool (*matches)(const char *pattern, const char *string))
{
	if (value == POLICY_UNKNOWN)
		return POLICY_TRUTH_UNKNOWN;
	for (size_t i = 0; value && i < strings->count; i++)
		if (matches(strings->values[i], value))
			return POLICY_TRUE;
	return POLICY_FALSE;
}

static enum policy_truth judge_truth(bool wanted, enum policy_truth is)
{
	switch (is) {
	case POLICY_TRUE:
	case POLICY_FALSE:
		return truth(wanted == (is == POLICY_TRUE));
	case POLICY_TRUTH_UNKNOWN:
		return POLICY_TRUTH_UNKNOWN;
	case POLICY_TRUTH_NONE:
		break;
	}
	return POLICY_FALSE;
}

static enum policy_truth judge_range(const struct range *range, uint64_t value)
{
	return truth(value >= range->min && value <= range->max);
}

typedef enum policy_truth (*judge_function)(const struct conditions *conditions, const struct policy_context *context);

static enum policy_truth judge_event(const struct conditions *conditions, const struct policy_context *context)
{
	return truth(conditions->events & 1u << context->event);
}

static enum policy_truth judge_error(const struct conditions *conditions, const struct policy_context *context)
{
	return truth(context->event == POLICY_EVENT_WILL_STOP && conditions->errors & 1u << context_key(context));
}

static enum policy_truth judge_class(const struct conditions *conditions, const struct policy_context *context)
{
	return truth(context->event == POLICY_EVENT_WILL_STOP &&
		     conditions->classes & 1u << tunnel_error_class(context->error));
}

static enum policy_truth judge_tunnel(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_strings(&conditions->tunnel, context->tunnel, glob_match);
}

static enum policy_truth judge_driver(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_strings(&conditions->driver, context->driver, equal);
}

static enum policy_truth judge_phase(const struct conditions *conditions, const struct policy_context *context)
{
	return truth(conditions->phases & 1u << context->phase);
}

static enum policy_truth judge_attempt(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_range(&conditions->attempt, context->attempt);
}

static enum policy_truth judge_restarts(const struct conditions *conditions, const struct policy_context *context)
{
	unsigned restarts = 0;
	if (context->restarts_given)
		restarts = context->restarts;
	else if (context->history)
		restarts = policy_history_restarts(context->history, conditions->restarts_per_usec, context->now_usec);
	return judge_range(&conditions->restarts, restarts);
}

static enum policy_truth judge_connected_for(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_range(&conditions->connected_for, context->connected_for_usec);
}

static enum policy_truth judge_endpoint(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_strings(&conditions->endpoint, context->endpoint, equal);
}

/* Whether the span begins on DAY. */
static bool is_day(const struct conditions *conditions, int day)
{
	return conditions->time.days & 1u << (day % 7);
}

static enum policy_truth judge_time(const struct conditions *conditions, const struct policy_context *context)
{
	int from = conditions->time.from, to = conditions->time.to, minute = context->wall_minute,
	    day = context->wall_day;
	bool over_midnight = from > to, whole_day = from == 0 && to == MINUTES_A_DAY;
	bool any_day = conditions->time.days == ALL_DAYS;
	if (minute < 0 && !whole_day) {
		bool possible =
			any_day || day < 0 || is_day(conditions, day) || (over_midnight && is_day(conditions, day + 6));
		return possible ? POLICY_TRUTH_UNKNOWN : POLICY_FALSE;
	}
	if (!whole_day && (over_midnight ? minute < from && minute >= to : minute < from || minute >= to))
		return POLICY_FALSE;
	if (any_day)
		return POLICY_TRUE;
	if (day < 0)
		return POLICY_TRUTH_UNKNOWN;
	return truth(is_day(conditions, over_midnight && minute < to ? day + 6 : day));
}

static enum policy_truth judge_available(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_truth(conditions->available, context->network.available);
}

static enum policy_truth judge_type(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_strings(&conditions->type, context->network.type, equal);
}

static enum policy_truth judge_interface(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_strings(&conditions->interface, context->network.interface, equal);
}

static enum policy_truth judge_ssid(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_strings(&conditions->ssid, context->network.ssid, equal);
}

static enum policy_truth judge_bssid(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_strings(&conditions->bssid, context->network.bssid, equal_but_for_case);
}

static enum policy_truth judge_profile(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_strings(&conditions->profile, context->network.profile, equal);
}

static enum policy_truth judge_metered(const struct conditions *conditions, const struct policy_context *context)
{
	return judge_truth(conditions->metered, context->network.metered);
}

static enum policy_truth judge_not(const struct conditions *conditions, const struct policy_context *context)
{
	switch (conditions_judge(conditions->negated, context, NULL)) {
	case POLICY_TRUE:
		return POLICY_FALSE;
	case POLICY_FALSE:
		return POLICY_TRUE;
	case POLICY_TRUTH_UNKNOWN:
	case POLICY_TRUTH_NONE:
		break;
	}
	return POLICY_TRUTH_UNKNOWN;
}

static const struct {
	const char *pointer;
	judge_function judge;
} rows[CONDITION_COUNT] = {
	[CONDITION_EVENT] = {"/event", judge_event},
	[CONDITION_ERROR] = {"/error", judge_error},
	[CONDITION_CLASS] = {"/class", judge_class},
	[CONDITION_TUNNEL] = {"/tunnel", judge_tunnel},
	[CONDITION_DRIVER] = {"/driver", judge_driver},
	[CONDITION_PHASE] = {"/phase", judge_phase},
	[CONDITION_ATTEMPT] = {"/attempt", judge_attempt},
	[CONDITION_RESTARTS] = {"/restarts", judge_restarts},
	[CONDITION_CONNECTED_FOR] = {"/connectedFor", judge_connected_for},
	[CONDITION_ENDPOINT] = {"/endpoint", judge_endpoint},
	[CONDITION_TIME] = {"/time", judge_time},
	[CONDITION_AVAILABLE] = {"/network/available", judge_available},
	[CONDITION_TYPE] = {"/network/type", judge_type},
	[CONDITION_INTERFACE] = {"/network/interface", judge_interface},
	[CONDITION_SSID] = {"/network/ssid", judge_ssid},
	[CONDITION_BSSID] = {"/network/bssid", judge_bssid},
	[CONDITION_PROFILE] = {"/network/profile", judge_profile},
	[CONDITION_METERED] = {"/network/metered", judge_metered},
	[CONDITION_NOT] = {"/not", judge_not},
};

const char *condition_pointer(enum condition condition)
{
	return rows[condition].pointer;
}

enum policy_truth condition_judge(
	enum condition condition, const struct conditions *conditions, const struct policy_context *context)
{
	return rows[condition].judge(conditions, context);
}

unsigned context_key(const struct policy_context *context)
{
	if (context->event != POLICY_EVENT_WILL_STOP)
		return KEY_OF_EVENT(context->event);
	return (unsigned)context->error < TUNNEL_ERROR_COUNT ? (unsigned)context->error : TUNNEL_ERROR_NONE;
}

enum policy_truth conditions_judge(
	const struct conditions *conditions, const struct policy_context *context, enum condition *ret_failed)
{
	enum policy_truth all = POLICY_TRUE;
	unsigned left = conditions->present;
	if (!ret_failed) { /* nobody asks which: event, error and class at one stroke */
		if (!(conditions->keys & KEY_BIT(context_key(context))))
			return POLICY_FALSE;
		left &= ~CONDITIONS_OF_KEYS;
	}
	for (; left; left &= left - 1) {
		enum condition condition = (enum condition)__builtin_ctz(left);
		enum policy_truth one = rows[condition].judge(conditions, context);
		if (one == POLICY_TRUE)
			continue;
		if (ret_failed && all == POLICY_TRUE)
			*ret_failed = condition;
		if (one == POLICY_FALSE)
			return POLICY_FALSE;
		all = POLICY_TRUTH_UNKNOWN;
	}
	return all;
}
