/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `holdfastctl events` and `decisions`: what happened, a line each, page by page from the oldest on; with -f what happens.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/command.h"
#include "ctl/print.h"
#include "util/fields.h"

#define PAGE 1000 /* the most that the daemon gives at once */

static enum colour kind_colour(const char *kind)
{
	static const struct {
		const char *kind;
		enum colour colour;
	} colours[] = {
		{"gateFailed", COLOUR_BAD},
		{"gateTampered", COLOUR_BAD},
		{"willStop", COLOUR_CAREFUL},
		{"decisionPending", COLOUR_CAREFUL},
		{"released", COLOUR_CAREFUL},
	};
	for (size_t i = 0; i < ELEMENTSOF(colours); i++)
		if (strcmp(colours[i].kind, kind) == 0)
			return colours[i].colour;
	return COLOUR_STRONG;
}

static void print_event(json_object *event)
{
	static const char *const shown[] = {"id", "time", "kind", "tunnel"};
	char time[AMOUNT_MAX];
	const char *kind = member_text(event, "/kind"), *tunnel = member_text(event, "/tunnel");
	printf("%s%s%s  %-12s %s%s%s", colour_on(COLOUR_FAINT), format_time(time, member_text(event, "/time")),
		colour_off(), tunnel[0] ? tunnel : "-", colour_on(kind_colour(kind)), kind, colour_off());
	json_object_object_foreach (event, key, value) {
		bool known = false;
		for (size_t i = 0; i < ELEMENTSOF(shown); i++)
			known = known || strcmp(shown[i], key) == 0;
		if (!known && value)
			printf(" %s=%s", key,
				json_object_is_type(value, json_type_string)
					? json_object_get_string(value)
					: json_object_to_json_string_ext(
						  value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	}
	printf("\n");
}

/* Events after the one of --after are missing; or, if BEYOND, that one never was. Returns an exit code. */
static int complain_of_gap(const struct invocation *invocation, bool beyond)
{
	if (beyond)
		return complain(EXIT_NOT_FOUND, "there is no event %s yet", invocation->options[OPTION_AFTER]);
	return complain(EXIT_OK, "there is a gap: events were lost or are no longer kept");
}

/* Whether nothing at all is known after the event of --after, whose page has a gap: then it has not happened yet. */
static bool is_beyond(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_free_ char *path = text_format("/events?limit=1&after=%s", invocation->options[OPTION_AFTER]);
	struct request request = {.method = "GET", .path = path};
	json_object *events = NULL;
	if (client_send(invocation->client, &request, &response, NULL, NULL) == 0 && response.status == 200)
		events = member_list(response.json, "events");
	return events && json_object_array_length(events) == 0;
}

struct watch {
	const struct invocation *invocation;
};

static bool print_watched(json_object *event, void *userdata)
{
	const struct watch *watch = userdata;
	const char *tunnel = watch->invocation->options[OPTION_TUNNEL], *kind = watch->invocation->options[OPTION_KIND];
	const char *after = watch->invocation->options[OPTION_AFTER];
	uint64_t id = json_object_get_uint64(member(event, "/id"));
	bool resync = strcmp(member_text(event, "/kind"), "resync") == 0;
	if (tunnel && strcmp(member_text(event, "/tunnel"), tunnel) != 0 && !resync)
		return true;
	if (kind && strcmp(member_text(event, "/kind"), kind) != 0 && !resync)
		return true;
	if (resync && !wants_json(watch->invocation))
		complain_of_gap(watch->invocation, after && strtoull(after, NULL, 10) > id);
	else if (wants_json(watch->invocation))
		printf("%s\n",
			json_object_to_json_string_ext(event, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	else
		print_event(event);
	return fflush(stdout) == 0;
}

static int follow(struct invocation *invocation, const char *after)
{
	_cleanup_response_ struct response response = {};
	struct watch watch = {invocation};
	_cleanup_free_ char *escaped = client_escape(after);
	_cleanup_free_ char *query = text_format("%s%s", after[0] ? "?after=" : "", escaped);
	int r = client_watch(invocation->client, query, print_watched, &watch, &response);
	if (r == 0 && response.status == 200)
		return complain(EXIT_NO_DAEMON, "the daemon ended the stream");
	return exchange_verdict(invocation, r, &response);
}

/* The query that the options ask for, but for its place: "&tunnel=home&since=…". The caller frees it. */
static char *filter_query(const struct invocation *invocation)
{
	static const struct {
		enum option option;
		const char *name;
	} filters[] = {{OPTION_TUNNEL, "tunnel"}, {OPTION_KIND, "kind"}, {OPTION_SINCE, "since"}, {OPTION_UNTIL, "until"}};
	struct text query = TEXT_NULL;
	text_append(&query, "%s", "");
	for (size_t i = 0; i < ELEMENTSOF(filters); i++) {
		const char *value = invocation->options[filters[i].option];
		_cleanup_free_ char *escaped = value ? client_escape(value) : NULL;
		if (escaped)
			text_append(&query, "&%s=%s", filters[i].name, escaped);
	}
	return text_steal(&query);
}

/* One page of at most LIMIT behind AFTER ("": from the beginning). EXIT_OK and RESPONSE, or an exit code. */
static int read_page(struct invocation *invocation, const char *what, uint64_t limit, const char *after, struct response *response)
{
	_cleanup_free_ char *filter = filter_query(invocation);
	_cleanup_free_ char *path =
		text_format("/%s?limit=%" PRIu64 "%s%s%s", what, limit, after[0] ? "&after=" : "", after, filter);
	return exchange_get(invocation, path, response);
}

static size_t print_page(struct response *response)
{
	json_object *events = member_list(response->json, "events");
	size_t count = events ? json_object_array_length(events) : 0;
	for (size_t i = 0; i < count; i++)
		print_event(json_object_array_get_idx(events, i));
	return count;
}

/* Page after page, until there is no more or LIMIT were printed. *ret_gap: the first page has one. */
static int print_pages(struct invocation *invocation, const char *what, uint64_t limit, bool *ret_gap)
{
	const char *after = invocation->options[OPTION_AFTER];
	char cursor[32];
	snprintf(cursor, sizeof cursor, "%s", after ? after : "");
	for (bool first = true; limit > 0; first = false) {
		_cleanup_response_ struct response response = {};
		uint64_t wanted = MIN_OF(limit, (uint64_t)PAGE);
		int code = read_page(invocation, what, wanted, cursor, &response);
		if (code != EXIT_OK)
			return code;
		if (first)
			*ret_gap = json_object_get_boolean(member(response.json, "/gap"));
		size_t count = print_page(&response);
		if (count < wanted)
			break;
		limit -= wanted;
		snprintf(cursor, sizeof cursor, "%" PRIu64, json_object_get_uint64(member(response.json, "/cursor")));
	}
	return EXIT_OK;
}

static bool is_number(const char *text)
{
	return text[0] && strlen(text) < 20 && !text[strspn(text, "0123456789")];
}

static int list(struct invocation *invocation, const char *what)
{
	_cleanup_response_ struct response response = {};
	const char *after = invocation->options[OPTION_AFTER], *limit = invocation->options[OPTION_LIMIT];
	bool gap = false;
	if (after && !is_number(after))
		return complain(EXIT_USAGE, "--after %s is no event's id; it is a number", after);
	if (limit && (!is_number(limit) || strtoull(limit, NULL, 10) == 0))
		return complain(EXIT_USAGE, "--limit %s is no count; it is a number from 1 on", limit);
	if (invocation->options[OPTION_FOLLOW])
		return follow(invocation, after ? after : "");
	if (wants_json(invocation))
		return read_page(invocation, what, limit ? strtoull(limit, NULL, 10) : PAGE, after ? after : "", &response);
	int code = print_pages(invocation, what, limit ? strtoull(limit, NULL, 10) : UINT64_MAX, &gap);
	/* Without --after what is no longer kept is not missing between anything. */
	if (code == EXIT_OK && after && gap)
		return complain_of_gap(invocation, is_beyond(invocation));
	return code;
}

int run_events(struct invocation *invocation)
{
	if (invocation->options[OPTION_FOLLOW] &&
		(invocation->options[OPTION_SINCE] || invocation->options[OPTION_UNTIL] || invocation->options[OPTION_LIMIT]))
		return complain(EXIT_USAGE, "--follow goes on for ever: it takes no --since, --until or --limit");
	return list(invocation, "events");
}

int run_decisions(struct invocation *invocation)
{
	return list(invocation, "decisions");
}
