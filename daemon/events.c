/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What happened: one object per event, kept in the journal and told to whoever listens (streams of events, signals on the bus).
 * Kinds: daemonStarted, stateChanged, gateChanged, gateFailed, gateTampered, willStop, decision, decisionPending, connecting,
 * needCredentials, unresponsive, networkChanged, released, releaseEnded, modeChanged, documentChanged, documentRefused, tunnelCreated,
 * tunnelDeleted, tokenCreated, tokenRevoked, bypassAdded, bypassRemoved.
 */

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "daemon/manager.h"
#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"
#include "util/timestamp.h"

#define CLOCK_SET_USEC (USEC_PER_SEC / 2) /* further apart, and somebody set the wall clock */

json_object *json_time(uint64_t realtime_usec)
{
	char text[TIMESTAMP_TEXT_MAX];
	if (realtime_usec == 0 || !timestamp_format(text, realtime_usec)[0])
		return NULL;
	return json_object_new_string(text);
}

/*
 * When this boot began, by the wall clock. The clocks are read one after the other, and the wall clock is slewed: a time that is told
 * again would differ by a millisecond without having changed. So it stands until the wall clock was really set.
 */
static uint64_t boot_realtime(void)
{
	static uint64_t known;
	uint64_t found = manager_realtime() - manager_now();
	uint64_t apart = found > known ? found - known : known - found;
	if (apart > CLOCK_SET_USEC)
		known = found;
	return known;
}

json_object *json_boottime(uint64_t boottime_usec)
{
	if (boottime_usec == 0 || boottime_usec == USEC_INFINITY)
		return NULL;
	return json_time(boot_realtime() + boottime_usec);
}

json_object *json_text_or_null(const char *text)
{
	return text && text[0] ? json_object_new_string(text) : NULL;
}

json_object *events_new(struct manager *manager, const char *kind, size_t index)
{
	json_object *event = json_object_new_object();
	json_object_object_add(event, "kind", json_object_new_string(kind));
	json_object_object_add(event, "tunnel", index == LIFECYCLE_NONE ? NULL : json_object_new_string(manager->core.tunnels[index].id));
	return event;
}

static const char *text_of(json_object *object, const char *key)
{
	json_object *value = json_object_is_type(object, json_type_object) ? json_object_object_get(object, key) : NULL;
	return value ? json_object_get_string(value) : NULL;
}

/* The event as one plain line: "home: stateChanged new=connected old=connecting", and what is looked for most as fields. */
static void log_event(json_object *event)
{
	_cleanup_text_ struct text line = TEXT_NULL;
	const char *tunnel = text_of(event, "tunnel"), *kind = text_of(event, "kind");
	const struct log_field fields[] = {
		{"EVENT", kind},
		{"TUNNEL", tunnel},
		{"ERROR", text_of(event, "error")},
		{"RULE", text_of(event, "rule")},
		{"DECISION", text_of(json_object_object_get(event, "action"), "action")},
	};
	text_append(&line, "%s%s%s", tunnel ? tunnel : "", tunnel ? ": " : "", kind);
	json_object_object_foreach (event, key, value)
		if (value && strcmp(key, "kind") != 0 && strcmp(key, "tunnel") != 0 && strcmp(key, "id") != 0 && strcmp(key, "time") != 0)
			text_append(&line, " %s=%s", key, json_object_get_string(value));
	log_fields(LOG_LEVEL_INFO, fields, ELEMENTSOF(fields), "%s", line.bytes);
}

void events_emit(struct manager *manager, json_object *event)
{
	status_forget(manager);
	uint64_t id = journal_append(manager->journal, event, manager_realtime());
	log_event(event);
	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
		if (manager->subscribers[i].listener)
			manager->subscribers[i].listener(event, id, manager->subscribers[i].userdata);
	json_object_put(event);
}

struct subscription *manager_subscribe(struct manager *manager, event_listener listener, void *userdata)
{
	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
		if (!manager->subscribers[i].listener) {
			manager->subscribers[i] = (struct subscription){manager, listener, userdata};
			return &manager->subscribers[i];
		}
	return NULL;
}

struct subscription *manager_unsubscribe(struct subscription *subscription)
{
	if (subscription)
		*subscription = (struct subscription){};
	return NULL;
}

int manager_events_after(struct manager *manager, uint64_t after, size_t limit, json_object **ret, bool *ret_gap)
{
	struct journal_filter filter = {.after = after, .limit = limit};
	return journal_query(manager->journal, &filter, ret, ret_gap);
}

uint64_t manager_last_event(struct manager *manager)
{
	return journal_last(manager->journal);
}

bool manager_ready(struct manager *manager)
{
	return manager->ready && manager->report.verified;
}
