/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One method call, from its message to its reply, for every operation alike: read the arguments as the operation's row
 * says, ask who is calling and what he may, start the operation, and turn what comes back into a reply or an error.
 *
 * Invariants: a call is in service->calls from the moment its message was accepted until it was answered or dropped;
 * every message gets at most one answer; a client that leaves takes its calls with it. An operation that allows the
 * caller less than it would an administrator (relaxing the mode, granting another's program) says `forbidden` before it
 * did anything: then polkit is asked once more, for the greater scope, and the operation begun anew.
 */

#include <errno.h>
#include <string.h>

#include "dbus/front.h"
#include "dbus/value.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define CALLS_MAX        256 /* at a time, over all clients */
#define CALLS_PER_CLIENT 32

struct bus_call {
	struct dbus_service *service;
	struct bus_call *previous, *next;
	sd_bus_message *message;
	const struct operation *operation;
	struct operation_call *call;
	struct authorization authorization;
	bool tried;   /* begun once already */
	bool started; /* `done` is still to come */
};

/* --- the register of calls --- */

static struct bus_call *bus_call_free(struct bus_call *bus_call)
{
	struct dbus_service *service = bus_call->service;
	if (bus_call->previous)
		bus_call->previous->next = bus_call->next;
	else
		service->calls = bus_call->next;
	if (bus_call->next)
		bus_call->next->previous = bus_call->previous;
	if (--service->call_count == 0)
		service->departures = sd_bus_slot_unref(service->departures);
	authorization_cancel(&bus_call->authorization);
	if (bus_call->started)
		operation_cancel(service->manager, bus_call->call);
	operation_call_free(bus_call->call);
	sd_bus_message_unref(bus_call->message);
	free(bus_call);
	return NULL;
}

void calls_cancel(struct dbus_service *service)
{
	while (service->calls)
		bus_call_free(service->calls);
}

static int client_left(sd_bus_message *message, void *userdata, sd_bus_error *ret_error)
{
	struct dbus_service *service = userdata;
	const char *name;
	if (sd_bus_message_read(message, "s", &name) < 0)
		return 0;
	for (struct bus_call *call = service->calls, *next; call; call = next) {
		next = call->next;
		if (strcmp(sd_bus_message_get_sender(call->message), name) == 0)
			bus_call_free(call);
	}
	return 0;
}

static struct bus_call *bus_call_new(struct member *member, sd_bus_message *message)
{
	struct dbus_service *service = member->service;
	struct bus_call *call = xcalloc(1, sizeof *call);
	*call = (struct bus_call){
		.service = service,
		.next = service->calls,
		.message = sd_bus_message_ref(message),
		.operation = member->operation,
		.call = operation_call_new(member->operation),
	};
	if (service->calls)
		service->calls->previous = call;
	service->calls = call;
	if (service->call_count++ == 0)
		(void)sd_bus_add_match_async(service->bus, &service->departures,
			"type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
			"member='NameOwnerChanged',arg2=''",
			client_left, NULL, service);
	return call;
}

static size_t calls_of(const struct dbus_service *service, const char *sender)
{
	size_t count = 0;
	for (const struct bus_call *call = service->calls; call; call = call->next)
		count += strcmp(sd_bus_message_get_sender(call->message), sender) == 0;
	return count;
}

/* --- answers --- */

/* Error names are the outcome's code with its first letter raised. */
static int reply_error(
	sd_bus_message *message, enum outcome outcome, const char *detail, const struct problems *problems)
{
	const char *code = outcome_to_string(outcome);
	_cleanup_free_ char *name = text_format(BUS_ERROR "%c%s", code[0] - 'a' + 'A', code + 1);
	_cleanup_free_ char *list = problems && problems->count ? problems_to_text(problems) : NULL;
	if (list)
		list[strlen(list) - 1] = 0; /* the last line's end */
	return sd_bus_reply_method_errorf(
		message, name, "%s%s%s", detail ? detail : outcome_title(outcome), list ? "\n" : "", list ? list : "");
}

static int reply_result(const struct bus_call *bus_call)
{
	const struct operation *operation = bus_call->operation;
	json_object *result = bus_call->call->result;
	_cleanup_message_ sd_bus_message *reply = NULL;
	int r = sd_bus_message_new_method_return(bus_call->message, &reply);
	for (size_t i = 0; r >= 0 && i < operation->result_count; i++) {
		const struct parameter *item = &operation->results[i];
		json_object *value = result;
		if (item->place != PLACE_DOCUMENT)
			value = json_object_object_get(result, item->name);
		r = value_append(reply, item->signature, value);
	}
	return r < 0 ? r : sd_bus_message_send(reply);
}

static void answer(struct bus_call *bus_call)
{
	const struct operation_call *call = bus_call->call;
	int r = outcome_status(call->outcome) < 300
			? reply_result(bus_call)
			: reply_error(bus_call->message, call->outcome, call->detail, &call->problems);
	if (r < 0 && r != -ENOTCONN) {
		log_warning("D-Bus: %s could not be answered: %s", bus_call->operation->name, strerror(-r));
		(void)reply_error(bus_call->message, OUTCOME_INTERNAL_ERROR, "the answer cannot be sent over D-Bus", NULL);
	}
	bus_call_free(bus_call);
}

static void answer_interaction_needed(struct bus_call *bus_call)
{
	bool allowed = sd_bus_message_get_allow_interactive_authorization(bus_call->message) > 0;
	(void)sd_bus_reply_method_errorf(bus_call->message,
		"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired",
		"%s needs an authorization that a person has to confirm, and %s.", bus_call->operation->name,
		allowed ? "no authentication agent runs for the caller that could ask" : "the call did not allow to ask for it");
	bus_call_free(bus_call);
}

/* --- the way of a call --- */

static void finished(struct operation_call *call, void *userdata);

static void start(struct bus_call *bus_call, const struct caller *caller)
{
	struct operation_call *call = bus_call->call;
	call->caller = *caller;
	call->if_match = text_dup("*");
	call->done = finished;
	call->userdata = bus_call;
	bus_call->tried = bus_call->started = true;
	operation_start(bus_call->service->manager, call);
}

static bool escalate(struct bus_call *bus_call)
{
	return authorization_escalate(&bus_call->authorization, SCOPE_ADMIN) >= 0;
}

static bool more_could_help(const struct bus_call *bus_call)
{
	return bus_call->call->outcome == OUTCOME_FORBIDDEN && bus_call->authorization.scope == SCOPE_CONTROL &&
	       bus_call->call->caller.scope == SCOPE_CONTROL;
}

static void finished(struct operation_call *call, void *userdata)
{
	struct bus_call *bus_call = userdata;
	bus_call->started = false;
	if (!more_could_help(bus_call) || !escalate(bus_call))
		answer(bus_call);
}

/* The same call once more: what the first one was given moves over. */
static void start_anew(struct bus_call *bus_call, const struct caller *caller)
{
	struct operation_call *first = bus_call->call, *second = operation_call_new(bus_call->operation);
	json_object_put(second->arguments);
	second->arguments = STEAL(first->arguments);
	second->document = STEAL(first->document);
	second->text = STEAL(first->text);
	second->text_length = first->text_length;
	operation_call_free(first);
	bus_call->call = second;
	start(bus_call, caller);
}

static void authorized(struct authorization *authorization, struct caller *caller, bool challenge, void *userdata)
{
	struct bus_call *bus_call = userdata;
	bool enough = caller->scope >= authorization->scope;
	if (!enough && authorization->scope < bus_call->operation->scope && escalate(bus_call))
		return; /* no self-service for him: he may still be an administrator */
	if (!enough && challenge)
		answer_interaction_needed(bus_call);
	else if (!bus_call->tried)
		start(bus_call, caller); /* where it is not enough the operation itself says so */
	else if (enough)
		start_anew(bus_call, caller);
	else
		answer(bus_call);
}

bool parameter_is_argument(const struct operation *operation, const struct parameter *parameter)
{
	return !(operation->interface == DBUS_TUNNEL && parameter->place == PLACE_PATH);
}

static enum outcome take_document(struct operation_call *call, const char *text)
{
	return json_parse_strict(text, strlen(text), &call->document, &call->problems) < 0 ? OUTCOME_BAD_REQUEST : OUTCOME_OK;
}

static enum outcome take_argument(struct operation_call *call, const struct parameter *parameter, json_object *value)
{
	if (!parameter->required && value_is_empty(value))
		return OUTCOME_OK;
	switch (parameter->place) {
	case PLACE_PATH:
	case PLACE_QUERY:
	case PLACE_BODY:
		json_object_object_add(call->arguments, parameter->name, json_object_get(value));
		return OUTCOME_OK;
	case PLACE_DOCUMENT:
		if (json_object_is_type(value, json_type_string))
			return take_document(call, json_object_get_string(value));
		call->document = json_object_get(value);
		return OUTCOME_OK;
	case PLACE_RAW:
		call->text_length = (size_t)json_object_get_string_len(value);
		call->text = text_ndup(json_object_get_string(value), call->text_length);
		return OUTCOME_OK;
	}
	return OUTCOME_INTERNAL_ERROR;
}

static enum outcome read_arguments(struct bus_call *bus_call)
{
	const struct operation *operation = bus_call->operation;
	struct operation_call *call = bus_call->call;
	if (!call->arguments)
		call->arguments = json_object_new_object();
	if (operation->interface == DBUS_TUNNEL)
		json_object_object_add(call->arguments, "id",
			json_object_new_string(path_tunnel(sd_bus_message_get_path(bus_call->message))));
	enum outcome outcome = OUTCOME_OK;
	for (size_t i = 0; i < operation->parameter_count && outcome == OUTCOME_OK; i++) {
		const struct parameter *parameter = &operation->parameters[i];
		_cleanup_json_ json_object *value = NULL;
		size_t room = operation_text_max(operation);
		if (!parameter_is_argument(operation, parameter))
			continue;
		int r = value_read(bus_call->message, parameter->signature, &room, &value);
		if (r == -EMSGSIZE) {
			problems_error(&call->problems, parameter->name, NULL, "must have at most %zu bytes", operation_text_max(operation));
			return OUTCOME_PAYLOAD_TOO_LARGE;
		}
		if (r < 0) {
			problems_error(&call->problems, parameter->name, NULL, "%s",
				r == -EEXIST ? "names a member twice in one dictionary" : "has a value of a type that is not taken here");
			return OUTCOME_BAD_REQUEST;
		}
		outcome = take_argument(call, parameter, value);
	}
	return outcome;
}

int call_handle(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct member *member = userdata;
	struct dbus_service *service = member->service;
	if (service->call_count >= CALLS_MAX ||
		calls_of(service, sd_bus_message_get_sender(message)) >= CALLS_PER_CLIENT)
		return reply_error(message, OUTCOME_TOO_MANY_REQUESTS, NULL, NULL);

	struct bus_call *bus_call = bus_call_new(member, message);
	enum outcome outcome = read_arguments(bus_call);
	if (outcome != OUTCOME_OK) {
		int r = reply_error(message, outcome, NULL, &bus_call->call->problems);
		bus_call_free(bus_call);
		return r;
	}
	bool self_service = member->operation->flags & OPERATION_SELF_SERVICE;
	bus_call->authorization = (struct authorization){
		.message = message,
		.operation = member->operation->name,
		.scope = self_service ? SCOPE_CONTROL : member->operation->scope,
		.self_service = self_service,
		.done = authorized,
		.userdata = bus_call,
	};
	int r = authorization_begin(&bus_call->authorization);
	if (r < 0) {
		bus_call_free(bus_call);
		return r;
	}
	return 1;
}
