/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * ListEvents and ListDecisions: pages of the journal. A page's `cursor` is the last id that was looked at, so that whoever goes on
 * after it sees each row once, whatever was added or pruned meanwhile.
 */

#include <errno.h>
#include <string.h>

#include "daemon/operations-internal.h"
#include "util/timestamp.h"

#define EVENTS_DEFAULT 100
#define EVENTS_MAX     1000
_Static_assert(EVENTS_MAX <= JOURNAL_QUERY_MAX, "the journal gives no more at once");

static bool read_time(struct operation_call *call, const char *name, uint64_t *ret_usec)
{
	char pointer[POINTER_MAX];
	const char *text = call_text(call, name);
	if (!text || timestamp_parse(text, ret_usec) == 0)
		return true;
	problems_error(&call->problems, pointer_member(pointer, "", name), json_object_object_get(call->arguments, name),
		"is no time; write it as RFC 3339 does, with a zone: 2026-11-22T15:20:00Z (in a URL a + is %%2B)");
	return false;
}

/* Events tell their time to the millisecond: one that says UNTIL itself is within. */
static uint64_t to_the_end_of_its_millisecond(uint64_t usec)
{
	return usec / USEC_PER_MSEC * USEC_PER_MSEC + USEC_PER_MSEC - 1;
}

static bool read_span(struct operation_call *call, struct journal_filter *filter)
{
	bool read = read_time(call, "since", &filter->since_usec);
	read = read_time(call, "until", &filter->until_usec) && read;
	if (!read) {
		call_fail(call, OUTCOME_BAD_REQUEST, "a time cannot be read");
		return false;
	}
	if (call_text(call, "until"))
		filter->until_usec = to_the_end_of_its_millisecond(filter->until_usec);
	if (filter->until_usec && filter->since_usec > filter->until_usec) {
		problems_error(&call->problems, "/until", json_object_object_get(call->arguments, "until"), "is before `since`");
		call_fail(call, OUTCOME_BAD_REQUEST, "no event can be in that span");
		return false;
	}
	return true;
}

static bool read_filter(struct operation_call *call, const char *kind, struct journal_filter *ret)
{
	*ret = (struct journal_filter){
		.after = call_number(call, "after", 0),
		.tunnel = call_text(call, "tunnel"),
		.kind = kind,
		.limit = (size_t)call_number(call, "limit", EVENTS_DEFAULT),
	};
	if (ret->limit == 0 || ret->limit > EVENTS_MAX) {
		problems_error(&call->problems, "/limit", json_object_object_get(call->arguments, "limit"), "must be from 1 to %d", EVENTS_MAX);
		call_fail(call, OUTCOME_BAD_REQUEST, "so many events are not given at once");
		return false;
	}
	return read_span(call, ret);
}

/* A page that is not full has looked at everything there is. */
static uint64_t cursor_of(const struct manager *manager, const struct journal_filter *filter, json_object *events)
{
	size_t count = json_object_array_length(events);
	if (count < filter->limit)
		return MAX_OF(filter->after, journal_last(manager->journal));
	return json_object_get_uint64(json_object_object_get(json_object_array_get_idx(events, count - 1), "id"));
}

static void list(struct manager *manager, struct operation_call *call, const char *kind)
{
	struct journal_filter filter;
	json_object *events = NULL;
	bool gap = false;
	if (!read_filter(call, kind, &filter))
		return;
	int r = journal_query(manager->journal, &filter, &events, &gap);
	if (r < 0) {
		call_fail(call, OUTCOME_INTERNAL_ERROR, "the journal cannot be read: %s", strerror(-r));
		return;
	}
	call_result(call, "cursor", json_object_new_uint64(cursor_of(manager, &filter, events)));
	call_result(call, "events", events);
	call_result(call, "gap", json_object_new_boolean(gap));
	call_finish(call, OUTCOME_OK);
}

void handle_list_events(struct manager *manager, struct operation_call *call)
{
	list(manager, call, call_text(call, "kind"));
}

void handle_list_decisions(struct manager *manager, struct operation_call *call)
{
	list(manager, call, "decision"); /* decisions are events of one kind */
}
