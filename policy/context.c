/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The context of EvaluatePolicy: one value where a condition has several or a range. null says that the source did not
 * answer (unknown); an absent member, that there is no such thing (none).
 */

#include <string.h>

#include "policy/rule.h"
#include "util/fields.h"

#define COUNT_MAX 1000000
#define OR_NULL   FIELD_NULL

static void read_text(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (!value)
		*(const char **)ret = POLICY_UNKNOWN;
	else
		read_string(value, pointer, SIZE_MAX, ret, problems);
}

static void read_plain_text(
	json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_string(value, pointer, SIZE_MAX, ret, problems);
}

static void read_truth(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	*(enum policy_truth *)ret = !value                           ? POLICY_TRUTH_UNKNOWN
				    : json_object_get_boolean(value) ? POLICY_TRUE
								     : POLICY_FALSE;
}

static void read_event(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (policy_event_from_string(json_object_get_string(value), ret) < 0)
		problems_error(problems, pointer, value, "is no event");
}

static void read_error(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	enum tunnel_error error;
	if (tunnel_error_from_string(json_object_get_string(value), &error) < 0 || error == TUNNEL_ERROR_NONE)
		problems_error(problems, pointer, value, "is no error of a tunnel");
	else if (!tunnel_error_is_decidable(error))
		problems_error(
			problems, pointer, value, "is a stop that nobody decides on: %s", tunnel_error_meaning(error));
	else
		*(enum tunnel_error *)ret = error;
}

static void read_phase(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (policy_phase_from_string(json_object_get_string(value), ret) < 0)
		problems_error(problems, pointer, value, "must be connecting or connected");
}

static void read_count(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	uint64_t count = 0;
	if (read_whole(value, pointer, 0, COUNT_MAX, &count, problems))
		*(unsigned *)ret = (unsigned)count;
}

static void read_day(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	int day = policy_day_from_string(json_object_get_string(value));
	if (day < 0)
		problems_error(problems, pointer, value, "is no day; they are mon, tue, wed, thu, fri, sat, sun");
	else
		*(int *)ret = day;
}

static void read_at(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	int minute = policy_minute_from_string(json_object_get_string(value));
	if (minute < 0 || minute == 24 * 60)
		problems_error(problems, pointer, value, "is no time of day; write 00:00 to 23:59");
	else
		*(int *)ret = minute;
}

static void read_time(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"day", FIELD_STRING, read_day, offsetof(struct policy_context, wall_day), false},
		{"at", FIELD_STRING, read_at, offsetof(struct policy_context, wall_minute), false},
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, context);
}

static void read_network(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
#define TEXT(key)                                                                                                      \
	{                                                                                                              \
#key, FIELD_STRING | OR_NULL, read_text, offsetof(struct policy_network, key), false                   \
	}
#define TRUTH(key)                                                                                                     \
	{                                                                                                              \
#key, FIELD_BOOLEAN | OR_NULL, read_truth, offsetof(struct policy_network, key), false                 \
	}
	static const struct field fields[] = {
		TRUTH(available),
		TEXT(type),
		TEXT(interface),
		TEXT(ssid),
		TEXT(bssid),
		TEXT(profile),
		TRUTH(metered),
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, context);
}

#define MEMBER(key, types, read, member)                                                                               \
	{                                                                                                              \
		key, types, read, offsetof(struct policy_context, member), false                                       \
	}
static const struct field members[] = {
	MEMBER("event", FIELD_STRING, read_event, event),
	MEMBER("error", FIELD_STRING, read_error, error),
	MEMBER("tunnel", FIELD_STRING, read_plain_text, tunnel),
	MEMBER("driver", FIELD_STRING, read_plain_text, driver),
	MEMBER("phase", FIELD_STRING, read_phase, phase),
	MEMBER("attempt", FIELD_NUMBER, read_count, attempt),
	MEMBER("restarts", FIELD_NUMBER, read_count, restarts),
	MEMBER("connectedFor", FIELD_STRING, field_duration, connected_for_usec),
	MEMBER("endpoint", FIELD_STRING, read_plain_text, endpoint),
	{"time", FIELD_OBJECT, read_time, 0, false},
	MEMBER("network", FIELD_OBJECT, read_network, network),
};

int policy_context_parse(json_object *document, struct policy_context *ret, struct problems *problems)
{
	struct policy_context context = {
		.wall_minute = -1,
		.wall_day = -1,
		.random = UINT64_C(1) << 63, /* the middle: no jitter */
		.attempt = 1,
		.phase = POLICY_PHASE_NONE,
		.network = {.available = POLICY_TRUE, .metered = POLICY_TRUTH_NONE},
	};
	if (!strings_are_whole(document, problems) ||
		!fields_read(document, members, ELEMENTSOF(members), "", &context, problems, NULL))
		return -EINVAL;
	context.restarts_given = json_object_object_get_ex(document, "restarts", NULL);
	if (context.phase == POLICY_PHASE_NONE && context.event == POLICY_EVENT_WILL_STOP)
		context.phase = context.connected_for_usec > 0 ? POLICY_PHASE_CONNECTED : POLICY_PHASE_CONNECTING;
	*ret = context;
	return 0;
}
