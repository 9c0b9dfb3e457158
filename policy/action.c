/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Actions: from a document and back. One table of members per action; what a member may be stands in its reader.
 * Actions nest (a wait's `then`, `onTimeout`) up to POLICY_ACTION_DEPTH_MAX.
 */

#include <math.h>
#include <string.h>

#include "policy/rule.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/text.h"

#define FACTOR_MAX 100.0

#define ACTION_NULL .delay = {.factor = 1, .max_usec = DURATION_MAX_USEC}, .timeout_usec = USEC_INFINITY
const struct policy_action action_restart = {.type = POLICY_ACTION_RESTART, ACTION_NULL};
const struct policy_action action_terminate = {.type = POLICY_ACTION_TERMINATE, ACTION_NULL};

/* What may be waited for: a stopped tunnel can neither stop again nor become unresponsive. */
static bool may_be_awaited(enum policy_event event)
{
	return event != POLICY_EVENT_WILL_STOP && event != POLICY_EVENT_UNRESPONSIVE;
}

char *actions_describe(unsigned allowed)
{
	struct text text = TEXT_NULL;
	for (enum policy_action_type type = POLICY_ACTION_RESTART; type <= POLICY_ACTION_IGNORE; type++)
		if (allowed & ACTION_BIT(type)) {
			allowed &= ~ACTION_BIT(type);
			text_append(&text, "%s%s",
				text.length == 0 ? ""
				: allowed        ? ", "
						 : " or ",
				policy_action_to_string(type));
		}
	return text_steal(&text);
}

static void read_type(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	/* action_read() has read it: it chose the table of which this is a row. */
}

static void read_factor(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_fraction(value, pointer, 1, FACTOR_MAX, ret, problems);
}

static void read_jitter(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_fraction(value, pointer, 0, 1, ret, problems);
}

static void read_delay(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"initial", FIELD_STRING, field_duration, offsetof(struct policy_delay, initial_usec), true},
		{"factor", FIELD_NUMBER, read_factor, offsetof(struct policy_delay, factor), false},
		{"max", FIELD_STRING, field_duration, offsetof(struct policy_delay, max_usec), false},
		{"jitter", FIELD_NUMBER, read_jitter, offsetof(struct policy_delay, jitter), false},
	};
	struct policy_delay *delay = ret;
	char at[POINTER_MAX];
	if (json_object_is_type(value, json_type_string)) {
		field_duration(value, pointer, &delay->initial_usec, problems, context);
		return;
	}
	bool good = fields_read(value, fields, ELEMENTSOF(fields), pointer, delay, problems, context);
	bool capped = json_object_object_get_ex(value, "max", NULL);
	if (delay->initial_usec > delay->max_usec)
		problems_error(problems, pointer_member(at, pointer, "max"), json_object_object_get(value, "max"),
			"is less than initial");
	else if (!good)
		return; /* what was meant is not known */
	else if (delay->factor > 1 && !capped)
		problems_warning(problems, pointer, value, "grows without bound; add max");
	else if (delay->factor == 1 && capped)
		problems_warning(problems, pointer_member(at, pointer, "max"), NULL,
			"has no effect: without a factor over 1 the delay does not grow");
}

static void read_endpoint(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (policy_endpoint_from_string(json_object_get_string(value), ret) < 0)
		problems_error(problems, pointer, value, "must be same, next or random");
}

static void read_worker(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (policy_worker_from_string(json_object_get_string(value), ret) < 0)
		problems_error(problems, pointer, value, "must be keep or fresh");
}

static void read_traffic(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (policy_traffic_from_string(json_object_get_string(value), ret) < 0)
		problems_error(problems, pointer, value, "must be block or release");
}

static void read_tunnel(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct strings *tunnels = ret;
	const char *id;
	if (!read_string(value, pointer, SIZE_MAX, &id, problems))
		return;
	if (!tunnel_id_plausible(id, false))
		problems_error(problems, pointer, value,
			"is no tunnel's id: a small letter, then up to 11 of small letters, digits and _");
	else
		strings_add(tunnels, id, ((struct reading *)context)->arena);
}

static void read_tunnels(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct reading *reading = context;
	struct policy_action *action = ret;
	struct strings tunnels;
	strings_reserve(&tunnels, value, reading->arena);
	read_each(value, pointer, read_tunnel, &tunnels, problems, context);
	action->tunnels = tunnels.values;
	action->tunnel_count = tunnels.count;
}

static void read_until(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct policy_action *action = ret;
	const char *string = json_object_get_string(value);
	int r = duration_parse(string, &action->wait_usec);
	if (policy_event_from_string(string, &action->wait_event) == 0) {
		action->until_event = true;
		if (!may_be_awaited(action->wait_event))
			problems_error(problems, pointer, value, "cannot happen to a tunnel that has stopped");
	} else if (r == -ERANGE) {
		problems_error(problems, pointer, value, "%s", duration_fault(r));
	} else if (r < 0) {
		problems_error(problems, pointer, value,
			"is neither a duration nor one of networkChanged, networkLost, networkAvailable, resumed, "
			"boot");
	} else if (action->wait_usec == 0) {
		problems_error(problems, pointer, value, "must be longer than nothing");
	}
}

static void read_nested(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	*(const struct policy_action **)ret = action_read(value, ACTIONS_ON_STOP, pointer, context, problems);
}

#define MEMBER(key, types, read, member, required)                                                                     \
	{                                                                                                              \
		key, types, read, offsetof(struct policy_action, member), required                                     \
	}
#define TYPE_MEMBER       MEMBER("action", FIELD_STRING, read_type, type, true)
#define TIMEOUT_MEMBER    MEMBER("timeout", FIELD_STRING, field_duration_positive, timeout_usec, false)
#define ON_TIMEOUT_MEMBER MEMBER("onTimeout", FIELD_OBJECT, read_nested, on_timeout, false)
#define TRAFFIC_MEMBER    MEMBER("traffic", FIELD_STRING, read_traffic, traffic, false)

static const struct field restart_members[] = {
	TYPE_MEMBER,
	MEMBER("delay", FIELD_STRING | FIELD_OBJECT, read_delay, delay, false),
	MEMBER("endpoint", FIELD_STRING, read_endpoint, endpoint, false),
	MEMBER("worker", FIELD_STRING, read_worker, worker, false),
};
static const struct field failover_members[] = {
	TYPE_MEMBER,
	{"to", FIELD_ARRAY, read_tunnels, 0, true},
};
static const struct field wait_members[] = {
	TYPE_MEMBER,
	{"until", FIELD_STRING, read_until, 0, true},
	MEMBER("then", FIELD_OBJECT, read_nested, then, false),
	TIMEOUT_MEMBER,
	ON_TIMEOUT_MEMBER,
};
static const struct field ask_members[] = {TYPE_MEMBER, TIMEOUT_MEMBER, ON_TIMEOUT_MEMBER};
static const struct field traffic_members[] = {TYPE_MEMBER, TRAFFIC_MEMBER};
static const struct field connect_members[] = {TYPE_MEMBER, {"tunnel", FIELD_STRING, read_tunnels, 0, true}};
static const struct field ignore_members[] = {TYPE_MEMBER};

static const struct {
	const struct field *members;
	size_t count;
} actions[] = {
	[POLICY_ACTION_RESTART] = {restart_members, ELEMENTSOF(restart_members)},
	[POLICY_ACTION_FAILOVER] = {failover_members, ELEMENTSOF(failover_members)},
	[POLICY_ACTION_WAIT] = {wait_members, ELEMENTSOF(wait_members)},
	[POLICY_ACTION_ASK] = {ask_members, ELEMENTSOF(ask_members)},
	[POLICY_ACTION_TERMINATE] = {traffic_members, ELEMENTSOF(traffic_members)},
	[POLICY_ACTION_CONNECT] = {connect_members, ELEMENTSOF(connect_members)},
	[POLICY_ACTION_DISCONNECT] = {traffic_members, ELEMENTSOF(traffic_members)},
	[POLICY_ACTION_IGNORE] = {ignore_members, ELEMENTSOF(ignore_members)},
};

static void set_defaults(struct policy_action *action, enum policy_action_type type)
{
	*action = (struct policy_action){.type = type, ACTION_NULL};
	if (type == POLICY_ACTION_DISCONNECT)
		action->traffic = POLICY_TRAFFIC_RELEASE; /* as a user's stop */
	if (type == POLICY_ACTION_WAIT)
		action->then = &action_restart;
	if (type == POLICY_ACTION_WAIT || type == POLICY_ACTION_ASK)
		action->on_timeout = &action_terminate;
}

static void warn_of_timeouts(
	const struct policy_action *action, json_object *value, const char *pointer, struct problems *problems)
{
	char at[POINTER_MAX];
	bool has_timeout = action->timeout_usec != USEC_INFINITY;
	if (!has_timeout && json_object_object_get_ex(value, "onTimeout", NULL))
		problems_warning(
			problems, pointer_member(at, pointer, "onTimeout"), NULL, "is never done: there is no timeout");
	if (action->type != POLICY_ACTION_WAIT || action->until_event || !has_timeout)
		return;
	if (action->timeout_usec > action->wait_usec)
		problems_warning(problems, pointer_member(at, pointer, "timeout"), NULL,
			"is never reached: the wait is over before");
	else
		problems_warning(problems, pointer_member(at, pointer, "until"), NULL,
			"is never reached: the timeout is over before");
}

static bool read_action_type(json_object *value, unsigned allowed, const char *pointer, enum policy_action_type *ret,
	struct problems *problems)
{
	char at[POINTER_MAX];
	json_object *type = json_object_object_get(value, "action");
	if (json_object_is_type(type, json_type_string) && policy_action_from_string(json_object_get_string(type), ret) == 0 &&
		allowed & ACTION_BIT(*ret))
		return true;
	_cleanup_free_ char *known = actions_describe(allowed);
	pointer_member(at, pointer, "action");
	if (!json_object_is_type(value, json_type_object))
		problems_error(problems, pointer, value, "must be an object, is %s", json_type_article(value));
	else if (!json_object_object_get_ex(value, "action", NULL))
		problems_error(problems, at, NULL, "is missing; here it may be %s", known);
	else if (!json_object_is_type(type, json_type_string))
		problems_error(problems, at, type, "must be a string, is %s", json_type_article(type));
	else if (policy_action_from_string(json_object_get_string(type), ret) < 0)
		problems_error(problems, at, type, "is no action; here it may be %s", known);
	else
		problems_error(problems, at, type, "is not possible here; it may be %s", known);
	return false;
}

const struct policy_action *action_read(
	json_object *value, unsigned allowed, const char *pointer, struct reading *reading, struct problems *problems)
{
	enum policy_action_type type;
	size_t errors = problems->errors;
	if (reading->depth == POLICY_ACTION_DEPTH_MAX) {
		problems_error(problems, pointer, NULL, "lies too deep: at most %d actions inside each other",
			POLICY_ACTION_DEPTH_MAX);
		return NULL;
	}
	if (!read_action_type(value, allowed, pointer, &type, problems))
		return NULL;
	struct policy_action *action = arena_alloc(reading->arena, sizeof *action);
	set_defaults(action, type);
	reading->depth++;
	fields_read(value, actions[type].members, actions[type].count, pointer, action, problems, reading);
	reading->depth--;
	if (problems->errors == errors)
		warn_of_timeouts(action, value, pointer, problems);
	return problems->errors == errors ? action : NULL;
}

static json_object *duration_to_json(uint64_t usec)
{
	char buffer[DURATION_TEXT_MAX];
	return json_object_new_string(duration_format(buffer, usec));
}

/* 2, not 2.0, as a person writes it. */
static json_object *number_to_json(double number)
{
	return number == floor(number) ? json_object_new_int64((int64_t)number) : json_object_new_double(number);
}

static json_object *delay_to_json(const struct policy_delay *delay)
{
	if (delay->factor == 1 && delay->jitter == 0)
		return duration_to_json(delay->initial_usec);
	json_object *object = json_object_new_object();
	json_object_object_add(object, "initial", duration_to_json(delay->initial_usec));
	json_object_object_add(object, "factor", number_to_json(delay->factor));
	if (delay->max_usec != DURATION_MAX_USEC)
		json_object_object_add(object, "max", duration_to_json(delay->max_usec));
	json_object_object_add(object, "jitter", number_to_json(delay->jitter));
	return object;
}

static void add_string(json_object *object, const char *key, const char *string)
{
	json_object_object_add(object, key, json_object_new_string(string));
}

static void add_restart(json_object *object, const struct policy_action *action)
{
	json_object_object_add(object, "delay", delay_to_json(&action->delay));
	add_string(object, "endpoint", policy_endpoint_to_string(action->endpoint));
	add_string(object, "worker", policy_worker_to_string(action->worker));
}

static void add_tunnels(json_object *object, const struct policy_action *action)
{
	json_object *array = json_object_new_array();
	for (size_t i = 0; i < action->tunnel_count; i++)
		json_object_array_add(array, json_object_new_string(action->tunnels[i]));
	json_object_object_add(object, "to", array);
}

static void add_timeout(json_object *object, const struct policy_action *action)
{
	if (action->timeout_usec == USEC_INFINITY)
		return;
	json_object_object_add(object, "timeout", duration_to_json(action->timeout_usec));
	json_object_object_add(object, "onTimeout", policy_action_to_json(action->on_timeout));
}

static void add_wait(json_object *object, const struct policy_action *action)
{
	json_object_object_add(object, "until",
		action->until_event ? json_object_new_string(policy_event_to_string(action->wait_event))
				    : duration_to_json(action->wait_usec));
	json_object_object_add(object, "then", policy_action_to_json(action->then));
}

json_object *policy_action_to_json(const struct policy_action *action)
{
	if (!action)
		return NULL;
	json_object *object = json_object_new_object();
	add_string(object, "action", policy_action_to_string(action->type));
	switch (action->type) {
	case POLICY_ACTION_RESTART:
		add_restart(object, action);
		break;
	case POLICY_ACTION_FAILOVER:
		add_tunnels(object, action);
		break;
	case POLICY_ACTION_WAIT:
		add_wait(object, action);
		add_timeout(object, action);
		break;
	case POLICY_ACTION_ASK:
		add_timeout(object, action);
		break;
	case POLICY_ACTION_TERMINATE:
	case POLICY_ACTION_DISCONNECT:
		add_string(object, "traffic", policy_traffic_to_string(action->traffic));
		break;
	case POLICY_ACTION_CONNECT:
		add_string(object, "tunnel", action->tunnels[0]);
		break;
	case POLICY_ACTION_NONE:
	case POLICY_ACTION_IGNORE:
		break;
	}
	return object;
}
