/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Conditions: from a document. One table of members per object; what a member may be stands in its reader. Reading goes
 * on after an error, so that all of them are found; what could not be read keeps its default and is never used, since a
 * document with an error makes no policy.
 */

#include <string.h>

#include "policy/rule.h"
#include "util/fields.h"

#define VALUE_MAX_CHARACTERS 256
#define NEGATIONS_MAX        4
#define ATTEMPT_MAX          1000000

static const char *const network_types[] = {"ethernet", "wifi", "wwan", "bluetooth", "other"};

static void read_event(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	enum policy_event event;
	if (policy_event_from_string(json_object_get_string(value), &event) < 0)
		problems_error(problems, pointer, value,
			"is no event; known are willStop, networkChanged, networkLost, networkAvailable, resumed, "
			"unresponsive, boot");
	else
		*(uint8_t *)ret |= (uint8_t)(1u << event);
}

static void read_error(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	enum tunnel_error error;
	if (tunnel_error_from_string(json_object_get_string(value), &error) < 0 || error == TUNNEL_ERROR_NONE)
		problems_error(
			problems, pointer, value, "is no error of a tunnel; names are spelled as connectionTimeout is");
	else if (!tunnel_error_is_decidable(error))
		problems_error(
			problems, pointer, value, "is a stop that nobody decides on: %s", tunnel_error_meaning(error));
	else
		*(uint32_t *)ret |= 1u << error;
}

static void read_class(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	enum error_class class;
	if (error_class_from_string(json_object_get_string(value), &class) < 0 || class == ERROR_CLASS_NONE)
		problems_error(problems, pointer, value, "must be transient, permanent or local");
	else
		*(uint32_t *)ret |= 1u << class;
}

static void read_phase(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	enum policy_phase phase;
	if (policy_phase_from_string(json_object_get_string(value), &phase) < 0)
		problems_error(problems, pointer, value, "must be connecting or connected");
	else
		*(uint8_t *)ret |= (uint8_t)(1u << phase);
}

static void read_day(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	int day = policy_day_from_string(json_object_get_string(value));
	if (day < 0)
		problems_error(problems, pointer, value, "is no day; they are mon, tue, wed, thu, fri, sat, sun");
	else
		*(uint8_t *)ret |= (uint8_t)(1u << day);
}

static void read_value(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	const char *string;
	if (read_string(value, pointer, VALUE_MAX_CHARACTERS, &string, problems))
		strings_add(ret, string, ((struct reading *)context)->arena);
}

static void read_tunnel(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (tunnel_id_plausible(json_object_get_string(value), true))
		strings_add(ret, json_object_get_string(value), ((struct reading *)context)->arena);
	else
		problems_error(problems, pointer, value,
			"can be no tunnel's id: at most 12 of small letters, digits and _, in a pattern also * and ?");
}

static void read_type(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	for (size_t i = 0; i < ELEMENTSOF(network_types); i++)
		if (strcmp(network_types[i], json_object_get_string(value)) == 0) {
			strings_add(ret, network_types[i], ((struct reading *)context)->arena);
			return;
		}
	problems_error(
		problems, pointer, value, "is no type of network; they are ethernet, wifi, wwan, bluetooth, other");
}

static void read_bssid(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	const char *bssid = json_object_get_string(value);
	bool good = strlen(bssid) == strlen("00:00:00:00:00:00");
	for (size_t i = 0; good && bssid[i]; i++)
		good = i % 3 == 2 ? bssid[i] == ':' : strchr(digits, bssid[i]) != NULL;
	if (good)
		strings_add(ret, bssid, ((struct reading *)context)->arena);
	else
		problems_error(problems, pointer, value, "is no BSSID; one looks like 0a:1b:2c:3d:4e:5f");
}

/*
 * A condition that is one string or an array of them: NAME reads it, ONE reads a string, which is known to be one. A
 * list of strings, other than a set of bits, needs room first.
 */
static bool is_text(json_object *value, const char *pointer, struct problems *problems)
{
	const char *string;
	return read_string(value, pointer, VALUE_MAX_CHARACTERS, &string, problems);
}

static void reserve(void *ret, json_object *value, void *context)
{
	strings_reserve(ret, value, ((struct reading *)context)->arena);
}

static void reserve_nothing(void *ret, json_object *value, void *context)
{
	/* A set of bits is there already. */
}

#define DEFINE_READER(name, one, prepare)                                                                              \
	static void name##_element(                                                                                    \
		json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)          \
	{                                                                                                              \
		if (is_text(value, pointer, problems))                                                                 \
			one(value, pointer, ret, problems, context);                                                   \
	}                                                                                                              \
	static void name(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context) \
	{                                                                                                              \
		prepare(ret, value, context);                                                                          \
		read_each(value, pointer, name##_element, ret, problems, context);                                     \
	}                                                                                                              \
	_Static_assert(true, "a definition ends in a semicolon")

DEFINE_READER(read_events, read_event, reserve_nothing);
DEFINE_READER(read_errors, read_error, reserve_nothing);
DEFINE_READER(read_classes, read_class, reserve_nothing);
DEFINE_READER(read_phases, read_phase, reserve_nothing);
DEFINE_READER(read_days, read_day, reserve_nothing);
DEFINE_READER(read_values, read_value, reserve);
DEFINE_READER(read_tunnels, read_tunnel, reserve);
DEFINE_READER(read_types, read_type, reserve);
DEFINE_READER(read_bssids, read_bssid, reserve);

static void read_attempt_bound(
	json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_whole(value, pointer, 0, ATTEMPT_MAX, ret, problems);
}

static void read_restarts_bound(
	json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_whole(value, pointer, 0, POLICY_HISTORY_RESTARTS, ret, problems);
}

static void check_range(json_object *value, const char *pointer, const struct range *range, struct problems *problems)
{
	char at[POINTER_MAX];
	if (!json_object_object_get_ex(value, "min", NULL) && !json_object_object_get_ex(value, "max", NULL))
		problems_error(problems, pointer, value, "has neither min nor max");
	else if (range->min > range->max)
		problems_error(problems, pointer_member(at, pointer, "min"), json_object_object_get(value, "min"),
			"is over max: no value lies between them");
}

static void read_attempt(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"min", FIELD_NUMBER, read_attempt_bound, offsetof(struct range, min), false},
		{"max", FIELD_NUMBER, read_attempt_bound, offsetof(struct range, max), false},
	};
	if (fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, context))
		check_range(value, pointer, ret, problems);
}

static void read_connected_for(
	json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"min", FIELD_STRING, field_duration, offsetof(struct range, min), false},
		{"max", FIELD_STRING, field_duration, offsetof(struct range, max), false},
	};
	if (fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, context))
		check_range(value, pointer, ret, problems);
}

static void read_restarts(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"per", FIELD_STRING, field_duration_positive, offsetof(struct conditions, restarts_per_usec), true},
		{"min", FIELD_NUMBER, read_restarts_bound, offsetof(struct conditions, restarts.min), false},
		{"max", FIELD_NUMBER, read_restarts_bound, offsetof(struct conditions, restarts.max), false},
	};
	struct conditions *conditions = ret;
	if (fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, context))
		check_range(value, pointer, &conditions->restarts, problems);
}

static void read_minute(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	int minute = policy_minute_from_string(json_object_get_string(value));
	if (minute < 0)
		problems_error(problems, pointer, value, "is no time of day; write 00:00 to 23:59");
	else
		*(uint16_t *)ret = (uint16_t)minute;
}

static void read_from(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	uint16_t minute = 0;
	read_minute(value, pointer, &minute, problems, context);
	if (minute == 24 * 60)
		problems_error(problems, pointer, value, "is no time of day to begin at; write 00:00");
	*(uint16_t *)ret = minute;
}

static void read_time(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"days", FIELD_STRING | FIELD_ARRAY, read_days, offsetof(struct conditions, time.days), false},
		{"from", FIELD_STRING, read_from, offsetof(struct conditions, time.from), false},
		{"to", FIELD_STRING, read_minute, offsetof(struct conditions, time.to), false},
	};
	struct conditions *conditions = ret;
	char at[POINTER_MAX];
	bool has_from = json_object_object_get_ex(value, "from", NULL),
	     has_to = json_object_object_get_ex(value, "to", NULL);
	bool has_days = json_object_object_get_ex(value, "days", NULL);
	conditions->time.days = has_days ? 0 : 0x7f;
	conditions->time.to = 24 * 60;
	if (!fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, context))
		return;
	if (!has_days && !has_from && !has_to)
		problems_error(problems, pointer, value, "has neither days nor from and to");
	else if (has_from != has_to)
		problems_error(problems, pointer_member(at, pointer, has_from ? "to" : "from"), NULL,
			"is missing: from and to stand together");
	else if (conditions->time.from == conditions->time.to)
		problems_error(problems, pointer_member(at, pointer, "to"), json_object_object_get(value, "to"),
			"equals from: no time lies between them; a whole day is 00:00 to 24:00");
	else if (conditions->time.to == 0)
		conditions->time.to = 24 * 60; /* the same minute, but of the day on which the span began */
}

/* Which members of OBJECT are there, as CONDITION_BIT()s. */
struct condition_field {
	struct field field;
	enum condition condition;
};

#define CONDITION(key, types, read, member, condition)                                                                 \
	{                                                                                                              \
		{key, types, read, offsetof(struct conditions, member), false}, CONDITION_##condition                  \
	}
#define ONE_OR_MORE (FIELD_STRING | FIELD_ARRAY)

static bool read_conditions(json_object *value, const char *pointer, struct conditions *conditions,
	const struct condition_field *members, size_t count, struct problems *problems, struct reading *reading)
{
	struct field fields[CONDITION_COUNT];
	for (size_t i = 0; i < count; i++) {
		fields[i] = members[i].field;
		if (members[i].condition != CONDITION_COUNT && json_object_object_get_ex(value, fields[i].key, NULL))
			conditions->present |= CONDITION_BIT(members[i].condition);
	}
	return fields_read(value, fields, count, pointer, conditions, problems, reading);
}

static void read_network(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct condition_field members[] = {
		CONDITION("available", FIELD_BOOLEAN, field_bool, available, AVAILABLE),
		CONDITION("type", ONE_OR_MORE, read_types, type, TYPE),
		CONDITION("interface", ONE_OR_MORE, read_values, interface, INTERFACE),
		CONDITION("ssid", ONE_OR_MORE, read_values, ssid, SSID),
		CONDITION("bssid", ONE_OR_MORE, read_bssids, bssid, BSSID),
		CONDITION("profile", ONE_OR_MORE, read_values, profile, PROFILE),
		CONDITION("metered", FIELD_BOOLEAN, field_bool, metered, METERED),
	};
	if (read_conditions(value, pointer, ret, members, ELEMENTSOF(members), problems, context) &&
		json_object_object_length(value) == 0)
		problems_error(problems, pointer, value, "has no condition in it");
}

static void read_not(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context);

void conditions_read(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct condition_field members[] = {
		CONDITION("event", ONE_OR_MORE, read_events, events, EVENT),
		CONDITION("error", ONE_OR_MORE, read_errors, errors, ERROR),
		CONDITION("class", ONE_OR_MORE, read_classes, classes, CLASS),
		CONDITION("tunnel", ONE_OR_MORE, read_tunnels, tunnel, TUNNEL),
		CONDITION("driver", ONE_OR_MORE, read_values, driver, DRIVER),
		CONDITION("phase", ONE_OR_MORE, read_phases, phases, PHASE),
		CONDITION("attempt", FIELD_OBJECT, read_attempt, attempt, ATTEMPT),
		{{"restarts", FIELD_OBJECT, read_restarts, 0, false}, CONDITION_RESTARTS},
		CONDITION("connectedFor", FIELD_OBJECT, read_connected_for, connected_for, CONNECTED_FOR),
		CONDITION("endpoint", ONE_OR_MORE, read_values, endpoint, ENDPOINT),
		{{"time", FIELD_OBJECT, read_time, 0, false}, CONDITION_TIME},
		{{"network", FIELD_OBJECT, read_network, 0, false}, CONDITION_COUNT},
		CONDITION("not", FIELD_OBJECT, read_not, negated, NOT),
	};
	read_conditions(value, pointer, ret, members, ELEMENTSOF(members), problems, context);
}

uint64_t conditions_keys(const struct conditions *conditions)
{
	bool has_error = conditions->present & CONDITION_BIT(CONDITION_ERROR);
	bool has_class = conditions->present & CONDITION_BIT(CONDITION_CLASS);
	uint64_t stops = 0, others = 0;
	for (enum tunnel_error error = TUNNEL_ERROR_NONE; error < TUNNEL_ERROR_COUNT; error++)
		if ((!has_error || conditions->errors & 1u << error) &&
			(!has_class || conditions->classes & 1u << tunnel_error_class(error)))
			stops |= KEY_BIT(error);
	for (enum policy_event event = POLICY_EVENT_WILL_STOP + 1; event < POLICY_EVENT_COUNT; event++)
		if (!has_error && !has_class && conditions->events & 1u << event)
			others |= KEY_BIT(KEY_OF_EVENT(event));
	return others | (conditions->events & 1u << POLICY_EVENT_WILL_STOP ? stops : 0);
}

static void read_not(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct reading *reading = context;
	if (reading->negations == NEGATIONS_MAX) {
		problems_error(problems, pointer, NULL, "lies too deep: at most %d negations inside each other",
			NEGATIONS_MAX);
		return;
	}
	struct conditions *conditions = arena_alloc(reading->arena, sizeof *conditions);
	*conditions = CONDITIONS_NULL;
	reading->negations++;
	conditions_read(value, pointer, conditions, problems, context);
	reading->negations--;
	if (json_object_object_length(value) == 0)
		problems_error(problems, pointer, value, "has no condition in it: it would never hold");
	if (!(conditions->present & CONDITION_BIT(CONDITION_EVENT)))
		conditions->events = (1u << POLICY_EVENT_COUNT) - 1;
	conditions->keys = conditions_keys(conditions);
	*(const struct conditions **)ret = conditions;
}
