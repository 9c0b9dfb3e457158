/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The policy language, read from the document each time. Values of conditions are compared as their names. */

#include "policy-naive.h"

#include <string.h>
#include <strings.h>

#include "util/duration.h"

enum answer { NO, YES, PERHAPS };

static json_object *member(json_object *object, const char *key)
{
	return json_object_object_get(object, key);
}

static bool has(json_object *object, const char *key)
{
	return json_object_object_get_ex(object, key, NULL);
}

static const char *string(json_object *object, const char *key)
{
	return json_object_get_string(member(object, key));
}

static uint64_t duration(json_object *object, const char *key, uint64_t otherwise)
{
	uint64_t usec = otherwise;
	if (has(object, key))
		duration_parse(string(object, key), &usec);
	return usec;
}

static bool glob(const char *pattern, const char *text)
{
	if (*pattern == '*')
		return glob(pattern + 1, text) || (*text && glob(pattern, text + 1));
	if (!*pattern || !*text)
		return *pattern == *text;
	return (*pattern == '?' || *pattern == *text) && glob(pattern + 1, text + 1);
}

static bool same(const char *pattern, const char *text)
{
	return strcmp(pattern, text) == 0;
}

static bool same_bssid(const char *pattern, const char *text)
{
	return strcasecmp(pattern, text) == 0;
}

static enum answer any_of(json_object *condition, const char *value, bool (*matches)(const char *, const char *))
{
	if (value == POLICY_UNKNOWN)
		return PERHAPS;
	if (!value)
		return NO;
	if (json_object_is_type(condition, json_type_string))
		return matches(json_object_get_string(condition), value) ? YES : NO;
	for (size_t i = 0; i < json_object_array_length(condition); i++)
		if (matches(json_object_get_string(json_object_array_get_idx(condition, i)), value))
			return YES;
	return NO;
}

static enum answer within(double min, double value, double max)
{
	return value >= min && value <= max ? YES : NO;
}

static double bound(json_object *range, const char *key, double otherwise)
{
	return has(range, key) ? json_object_get_double(member(range, key)) : otherwise;
}

static double restarts_in(const struct policy_context *context, uint64_t per)
{
	double count = 0;
	for (unsigned i = 0; context->history && i < context->history->restart_count; i++)
		count += (double)context->now_usec - (double)context->history->restarts[i] < (double)per;
	return count;
}

static int minute_of(json_object *time, const char *key, int otherwise)
{
	int hours, minutes;
	return has(time, key) && sscanf(string(time, key), "%d:%d", &hours, &minutes) == 2 ? hours * 60 + minutes
											   : otherwise;
}

/* Whether MINUTE of the week lies in a span that begins on one of the days. */
static bool lies_in(json_object *time, int from, int to, int minute)
{
	static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
	int length = to > from ? to - from : to + 1440 - from, week = 7 * 1440;
	for (int day = 0; day < 7; day++)
		if ((minute - day * 1440 - from + 2 * week) % week < length &&
			(!has(time, "days") || any_of(member(time, "days"), days[day], same) == YES))
			return true;
	return false;
}

/* Asks for every minute that it may be. */
static enum answer time_holds(json_object *time, const struct policy_context *context)
{
	int from = minute_of(time, "from", 0), to = minute_of(time, "to", 1440);
	bool some = false, all = true;
	int first_day = context->wall_day >= 0 ? context->wall_day : 0,
	    last_day = context->wall_day >= 0 ? first_day : 6;
	int first = context->wall_minute >= 0 ? context->wall_minute : 0,
	    last = context->wall_minute >= 0 ? first : 1439;
	for (int day = first_day; day <= last_day; day++)
		for (int minute = first; minute <= last; minute++) {
			bool inside = lies_in(time, from, to, day * 1440 + minute);
			some |= inside;
			all &= inside;
		}
	return some == all ? all ? YES : NO : PERHAPS;
}

static enum answer truth_holds(bool wanted, enum policy_truth is)
{
	if (is == POLICY_TRUTH_UNKNOWN)
		return PERHAPS;
	if (is == POLICY_TRUTH_NONE)
		return NO;
	return wanted == (is == POLICY_TRUE) ? YES : NO;
}

static enum answer holds(json_object *when, const struct policy_context *context);

static enum answer network_holds(const char *key, json_object *condition, const struct policy_network *network)
{
	if (same(key, "available"))
		return truth_holds(json_object_get_boolean(condition), network->available);
	if (same(key, "metered"))
		return truth_holds(json_object_get_boolean(condition), network->metered);
	if (same(key, "type"))
		return any_of(condition, network->type, same);
	if (same(key, "interface"))
		return any_of(condition, network->interface, same);
	if (same(key, "ssid"))
		return any_of(condition, network->ssid, same);
	if (same(key, "bssid"))
		return any_of(condition, network->bssid, same_bssid);
	return any_of(condition, network->profile, same);
}

static enum answer condition_holds(const char *key, json_object *condition, const struct policy_context *context)
{
	bool stops = context->event == POLICY_EVENT_WILL_STOP;
	if (same(key, "event"))
		return any_of(condition, policy_event_to_string(context->event), same);
	if (same(key, "error"))
		return any_of(condition, stops ? tunnel_error_to_string(context->error) : NULL, same);
	if (same(key, "class"))
		return any_of(
			condition, stops ? error_class_to_string(tunnel_error_class(context->error)) : NULL, same);
	if (same(key, "tunnel"))
		return any_of(condition, context->tunnel, glob);
	if (same(key, "driver"))
		return any_of(condition, context->driver, same);
	if (same(key, "endpoint"))
		return any_of(condition, context->endpoint, same);
	if (same(key, "phase"))
		return any_of(condition, policy_phase_to_string(context->phase), same);
	if (same(key, "attempt"))
		return within(bound(condition, "min", 0), context->attempt, bound(condition, "max", 1e18));
	if (same(key, "restarts"))
		return within(bound(condition, "min", 0), restarts_in(context, duration(condition, "per", 0)),
			bound(condition, "max", 1e18));
	if (same(key, "connectedFor"))
		return within((double)duration(condition, "min", 0), (double)context->connected_for_usec,
			(double)duration(condition, "max", UINT64_MAX));
	if (same(key, "time"))
		return time_holds(condition, context);
	enum answer negated = holds(condition, context);
	return negated == PERHAPS ? PERHAPS : negated == YES ? NO : YES;
}

static enum answer both(enum answer a, enum answer b)
{
	return a == NO || b == NO ? NO : a == YES && b == YES ? YES : PERHAPS;
}

static enum answer holds(json_object *when, const struct policy_context *context)
{
	enum answer all = YES;
	json_object_object_foreach(when, key, condition)
	{
		if (!same(key, "network")) {
			all = both(all, condition_holds(key, condition, context));
			continue;
		}
		json_object_object_foreach(condition, network_key, network_condition) all =
			both(all, network_holds(network_key, network_condition, &context->network));
	}
	return all;
}

static bool rule_holds(json_object *rule, const struct policy_context *context)
{
	json_object *when = member(rule, "when");
	bool has_event = when && has(when, "event");
	if (!has_event && context->event != POLICY_EVENT_WILL_STOP)
		return false;
	return !when || holds(when, context) == YES;
}

static double delay_of(json_object *action, const struct policy_context *context, int rule)
{
	json_object *delay = member(action, "delay");
	if (!json_object_is_type(delay, json_type_object))
		return (double)duration(action, "delay", 0);
	double usec = (double)duration(delay, "initial", 0), max = (double)duration(delay, "max", DURATION_MAX_USEC);
	double factor = bound(delay, "factor", 1), jitter = bound(delay, "jitter", 0);
	unsigned before = context->history ? policy_history_rule_count(context->history, rule) : 0;
	for (unsigned i = 0; i < before && usec < max; i++)
		usec *= factor;
	usec = usec > max ? max : usec;
	return usec - usec * jitter + 2 * usec * jitter * ((double)context->random / 18446744073709551615.0);
}

/* Steps through the times at which restarts leave the window, until it has room. */
static double window_wait(json_object *limits, const struct policy_context *context)
{
	uint64_t per = duration(limits, "per", 0);
	double allowed = bound(limits, "restarts", 0), wait = 1e300;
	if (restarts_in(context, per) < allowed)
		return 0;
	for (unsigned i = 0; i < context->history->restart_count; i++) {
		struct policy_context later = *context;
		later.now_usec = context->history->restarts[i] + per;
		double until = (double)later.now_usec - (double)context->now_usec;
		if (until > 0 && until < wait && restarts_in(&later, per) < allowed)
			wait = until;
	}
	return wait;
}

static struct naive_decision act(
	json_object *document, json_object *action, int rule, const struct policy_context *context)
{
	struct naive_decision decision = {.rule = rule, .action = action ? string(action, "action") : "terminate"};
	json_object *limits = member(document, "limits");
	bool restart = same(decision.action, "restart");
	if (!restart && !same(decision.action, "failover"))
		return decision;
	decision.delay_usec = restart ? delay_of(action, context, rule) : 0;
	double wait = limits ? window_wait(limits, context) : 0;
	if (wait == 0)
		return decision;
	decision.limited = true;
	decision.delay_usec = wait > decision.delay_usec ? wait : decision.delay_usec;
	if (has(limits, "then")) {
		decision.action = string(member(limits, "then"), "action");
		decision.delay_usec = 0;
	}
	return decision;
}

struct naive_decision naive_evaluate(json_object *document, const struct policy_context *context)
{
	json_object *rules = member(document, "rules");
	for (size_t i = 0; rules && i < json_object_array_length(rules); i++) {
		json_object *rule = json_object_array_get_idx(rules, i);
		if (rule_holds(rule, context))
			return act(document, member(rule, "then"), (int)i, context);
	}
	if (context->event == POLICY_EVENT_WILL_STOP)
		return act(document, member(document, "otherwise"), POLICY_RULE_OTHERWISE, context);
	return (struct naive_decision){.rule = POLICY_RULE_NONE};
}
