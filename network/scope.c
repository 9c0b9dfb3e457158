/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * org.freedesktop.systemd1(5). Who asks for a unit hears JobRemoved of its job without Subscribe(), and after the answer. What was asked
 * for cannot be called off: a systemd that hangs may move the process much later.
 */

#include "network/scope.h"

#include <stdint.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "util/macro.h"
#include "util/text.h"

#define SERVICE	    "org.freedesktop.systemd1"
#define OBJECT	    "/org/freedesktop/systemd1"
#define MANAGER	    "org.freedesktop.systemd1.Manager"
#define ANSWER_USEC (20 * USEC_PER_SEC)
#define ACCURACY    (100 * USEC_PER_MSEC)

struct scope_request {
	sd_bus_slot *removed, *reply;
	sd_event_source *deadline;
	char *name;
	scope_listener told;
	void *userdata;
};

static void message_unrefp(sd_bus_message **message)
{
	sd_bus_message_unref(*message);
}
#define _cleanup_message_ _cleanup_(message_unrefp)

bool scope_possible(void)
{
	return sd_booted() > 0;
}

static int on_removed(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct scope_request *request = userdata;
	const char *unit, *result;
	int r = sd_bus_message_read(message, "uoss", NULL, NULL, &unit, &result);
	if (r < 0 || strcmp(unit, request->name) != 0) /* a match for it sd-bus would not find: it looks at no argument behind a number */
		return 0;
	bool done = strcmp(result, "done") == 0;
	_cleanup_free_ char *words = text_format("systemd did not make the scope: its job ended as \"%s\"", result);
	request->told(done ? SCOPE_MADE : SCOPE_FAILED, words, request->userdata);
	return 0;
}

/* Of use is an error alone: systemd's or the bus's, or sd-bus's own where that broke off, after which systemd may go on. */
static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct scope_request *request = userdata;
	const sd_bus_error *refusal = sd_bus_message_get_error(reply);
	bool lost = refusal && (sd_bus_error_has_name(refusal, SD_BUS_ERROR_NO_REPLY) || sd_bus_error_has_name(refusal, SD_BUS_ERROR_DISCONNECTED));
	if (refusal)
		request->told(lost ? SCOPE_FAILED : SCOPE_REFUSED, refusal->message ? refusal->message : refusal->name, request->userdata);
	return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct scope_request *request = userdata;
	request->told(SCOPE_FAILED, "systemd does not answer", request->userdata);
	return 0;
}

static int ask(struct scope_request *request, sd_bus *bus, const char *description, pid_t pid)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r = sd_bus_message_new_method_call(bus, &message, SERVICE, OBJECT, MANAGER, "StartTransientUnit");
	if (r >= 0)
		r = sd_bus_message_append(message, "ssa(sv)a(sa(sv))", request->name, "fail", 4, "Description", "s", description, "Slice", "s", SCOPE_SLICE,
			"CollectMode", "s", "inactive-or-failed", "PIDs", "au", 1, (uint32_t)pid, 0);
	return r < 0 ? r : sd_bus_call_async(bus, &request->reply, message, on_reply, request, 2 * ANSWER_USEC);
}

int scope_request_new(struct scope_request **ret, sd_bus *bus, const char *name, const char *description, pid_t pid, scope_listener told, void *userdata)
{
	struct scope_request *request = xcalloc(1, sizeof *request);
	*request = (struct scope_request){.name = text_dup(name), .told = told, .userdata = userdata};
	int r = sd_bus_match_signal_async(bus, &request->removed, SERVICE, OBJECT, MANAGER, "JobRemoved", on_removed, NULL, request);
	if (r >= 0)
		r = sd_event_add_time_relative(sd_bus_get_event(bus), &request->deadline, CLOCK_MONOTONIC, ANSWER_USEC, ACCURACY, on_deadline, request);
	if (r >= 0)
		r = ask(request, bus, description, pid);
	if (r < 0) {
		scope_request_free(request);
		return r;
	}
	*ret = request;
	return 0;
}

struct scope_request *scope_request_free(struct scope_request *request)
{
	if (!request)
		return NULL;
	sd_event_source_disable_unref(request->deadline);
	sd_bus_slot_unref(request->reply);
	sd_bus_slot_unref(request->removed);
	free(request->name);
	free(request);
	return NULL;
}
