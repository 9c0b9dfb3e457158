/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A document into a policy: its own members, rules, limits. Conditions and actions have files of their own. What could
 * not be read is never used, since a document with an error makes no policy.
 */

#include <string.h>

#include "policy/rule.h"
#include "util/fields.h"
#include "util/text.h"

#define NAME_MAX_CHARACTERS 128
#define STABLE_AFTER_USEC   (30 * USEC_PER_SEC)

/* A rule as it is read: `then` waits until `when` has said what is possible there. */
struct rule_reading {
	const char *name;
	struct conditions when;
	json_object *then;
};

static void read_name(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	const char *name;
	if (read_string(value, pointer, NAME_MAX_CHARACTERS, &name, problems))
		*(const char **)ret = arena_string(((struct reading *)context)->arena, name);
}

static void keep(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	*(json_object **)ret = value;
}

/* A rule without an event is judged when a tunnel stops. */
static void settle_events(struct conditions *when, json_object *value, const char *pointer, struct problems *problems)
{
	char at[POINTER_MAX], when_at[POINTER_MAX];
	bool has_event = when->present & CONDITION_BIT(CONDITION_EVENT);
	if (!has_event)
		when->events = 1u << POLICY_EVENT_WILL_STOP;
	when->present |= CONDITION_BIT(CONDITION_EVENT);
	when->keys = conditions_keys(when);
	if (when->keys != 0 || when->events == 0)
		return;
	bool on_stop = when->events & 1u << POLICY_EVENT_WILL_STOP;
	bool has_class = when->present & CONDITION_BIT(CONDITION_CLASS);
	const char *key =
		has_class && (on_stop || !(when->present & CONDITION_BIT(CONDITION_ERROR))) ? "class" : "error";
	pointer_member(at, pointer_member(when_at, pointer, "when"), key);
	problems_error(problems, at, json_object_object_get(value, key),
		on_stop ? "is the class of none of the errors beside it: the rule would never hold"
			: "can never hold: only willStop comes with an error");
}

static void read_rule(
	json_object *value, const char *pointer, struct rule *rule, struct problems *problems, struct reading *reading)
{
	static const struct field fields[] = {
		{"name", FIELD_STRING, read_name, offsetof(struct rule_reading, name), false},
		{"when", FIELD_OBJECT, conditions_read, offsetof(struct rule_reading, when), false},
		{"then", FIELD_OBJECT, keep, offsetof(struct rule_reading, then), true},
	};
	struct rule_reading read = {.when = CONDITIONS_NULL};
	char at[POINTER_MAX];
	size_t errors = problems->errors;
	fields_read(value, fields, ELEMENTSOF(fields), pointer, &read, problems, reading);
	bool readable = problems->errors == errors;
	if (readable)
		settle_events(&read.when, json_object_object_get(value, "when"), pointer, problems);
	unsigned allowed = ACTIONS_ON_STOP | ACTIONS_ELSEWHERE;
	if (readable && read.when.events & 1u << POLICY_EVENT_WILL_STOP)
		allowed &= ACTIONS_ON_STOP;
	if (readable && read.when.events & ~(1u << POLICY_EVENT_WILL_STOP))
		allowed &= ACTIONS_ELSEWHERE;
	if (read.then)
		rule->then = action_read(read.then, allowed, pointer_member(at, pointer, "then"), reading, problems);
	rule->name = read.name;
	rule->when = read.when;
}

static void read_rules(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct reading *reading = context;
	struct policy *policy = ret;
	char at[POINTER_MAX];
	size_t count = json_object_array_length(value);
	if (count > POLICY_RULES_MAX) {
		problems_error(
			problems, pointer, NULL, "has %zu rules; at most %d are possible", count, POLICY_RULES_MAX);
		return;
	}
	policy->rules = arena_alloc(reading->arena, count * sizeof *policy->rules);
	policy->rule_count = count;
	for (size_t i = 0; i < count; i++)
		read_rule(json_object_array_get_idx(value, i), pointer_index(at, pointer, i), &policy->rules[i],
			problems, reading);
}

static void read_restarts(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	uint64_t restarts = 0;
	if (read_whole(value, pointer, 1, POLICY_HISTORY_RESTARTS, &restarts, problems))
		*(unsigned *)ret = (unsigned)restarts;
}

static void read_limits_then(
	json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	*(const struct policy_action **)ret = action_read(value, ACTIONS_AT_THE_LIMIT, pointer, context, problems);
}

static void read_limits(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"restarts", FIELD_NUMBER, read_restarts, offsetof(struct limits, restarts), true},
		{"per", FIELD_STRING, field_duration_positive, offsetof(struct limits, per_usec), true},
		{"then", FIELD_OBJECT, read_limits_then, offsetof(struct limits, then), false},
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, context);
}

static void read_version(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (json_object_get_double(value) != POLICY_VERSION)
		problems_error(problems, pointer, value, "is a version that is not known here; this is version %d",
			POLICY_VERSION);
}

static void read_otherwise(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	*(const struct policy_action **)ret = action_read(value, ACTIONS_ON_STOP, pointer, context, problems);
}

bool policy_parse(struct policy *policy, json_object *document, struct problems *problems)
{
	static const struct field fields[] = {
		{"version", FIELD_NUMBER, read_version, 0, true},
		{"name", FIELD_STRING, read_name, offsetof(struct policy, name), false},
		{"stableAfter", FIELD_STRING, field_duration_positive, offsetof(struct policy, stable_after_usec),
			false},
		{"rules", FIELD_ARRAY, read_rules, 0, false},
		{"otherwise", FIELD_OBJECT, read_otherwise, offsetof(struct policy, otherwise), false},
		{"limits", FIELD_OBJECT, read_limits, offsetof(struct policy, limits), false},
	};
	struct reading reading = {.arena = &policy->arena};
	policy->stable_after_usec = STABLE_AFTER_USEC;
	policy->otherwise = &action_terminate;
	if (json_object_is_type(document, json_type_object))
		policy->limits_document = json_object_get(json_object_object_get(document, "limits"));
	return fields_read(document, fields, ELEMENTSOF(fields), "", policy, problems, &reading);
}
