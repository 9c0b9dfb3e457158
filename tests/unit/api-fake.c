/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The table with handlers that pretend. The rows are those of the daemon; what they do is the least that shows a front
 * at work. */

#include "tests/unit/api-fake.h"

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

#include "util/fields.h"
#include "util/text.h"

struct pending {
	TAILQ_ENTRY(pending) entry;
	struct operation_call *call;
};

struct subscription {
	LIST_ENTRY(subscription) entry;
	event_listener listener;
	void *userdata;
};

struct manager {
	bool ready;
	json_object *events; /* ids forgotten + 1 … last */
	uint64_t forgotten, last;
	TAILQ_HEAD(, pending) pending;
	unsigned pending_count, cancelled, calls, subscription_count;
	LIST_HEAD(, subscription) subscriptions;
};

/* --- handlers --- */

static void answer(struct operation_call *call, enum outcome outcome, json_object *result)
{
	call->outcome = outcome;
	call->result = result;
	call->done(call, call->userdata);
}

static void refuse(struct operation_call *call, enum outcome outcome, const char *detail)
{
	call->detail = text_dup(detail);
	answer(call, outcome, NULL);
}

static void echo(struct manager *manager, struct operation_call *call)
{
	json_object *result = json_object_new_object();
	json_object_object_add(result, "operation", json_object_new_string(call->operation->name));
	json_object_object_add(result, "caller", json_object_new_string(call->caller.name));
	json_object_object_add(result, "scope", json_object_new_string(scope_to_string(call->caller.scope)));
	json_object_object_add(result, "arguments", json_object_get(call->arguments));
	json_object_object_add(result, "document", json_object_get(call->document));
	json_object_object_add(
		result, "text", call->text ? json_object_new_string_len(call->text, (int)call->text_length) : NULL);
	json_object_object_add(result, "dryRun", json_object_new_boolean(call->dry_run));
	if (call->operation->flags & OPERATION_ETAG)
		call->etag = text_dup("v1");
	answer(call, OUTCOME_OK, result);
}

static void status(struct manager *manager, struct operation_call *call)
{
	answer(call, OUTCOME_OK, manager_status(manager));
}

static void create(struct manager *manager, struct operation_call *call)
{
	call->location = text_dup("/tunnels/home");
	call->etag = text_dup("v1");
	problems_warning(&call->problems, "/settings/mtu", NULL, "is unusual");
	answer(call, OUTCOME_CREATED, json_object_new_object());
}

static void remove_it(struct manager *manager, struct operation_call *call)
{
	answer(call, OUTCOME_OK, NULL);
}

static void start(struct manager *manager, struct operation_call *call)
{
	json_object *id = json_object_object_get(call->arguments, "id");
	if (strcmp(json_object_get_string(id), "home") != 0) {
		refuse(call, OUTCOME_TUNNEL_NOT_FOUND, "there is no tunnel of this id; GET /v1/tunnels lists them");
		return;
	}
	if (json_object_object_get_ex(call->arguments, "wait", NULL)) {
		struct pending *pending = xcalloc(1, sizeof *pending);
		pending->call = call;
		call->pending = pending;
		TAILQ_INSERT_TAIL(&manager->pending, pending, entry);
		manager->pending_count++;
		return;
	}
	json_object *result = json_object_new_object();
	json_object_object_add(result, "changed", json_object_new_boolean(true));
	json_object_object_add(result, "state", json_object_new_string("connecting"));
	answer(call, OUTCOME_ACCEPTED, result);
}

static void replace_policy(struct manager *manager, struct operation_call *call)
{
	if (json_object_object_get_ex(call->document, "bad", NULL)) {
		problems_error(&call->problems, "/bad", NULL, "unknown member");
		problems_error(&call->problems, "/rules/0/then", NULL, "is missing");
		answer(call, OUTCOME_INVALID_DOCUMENT, NULL);
		return;
	}
	echo(manager, call);
}

static void list_events(struct manager *manager, struct operation_call *call)
{
	json_object *events, *after, *result = json_object_new_object();
	bool gap;
	json_object_object_get_ex(call->arguments, "after", &after);
	manager_events_after(manager, (uint64_t)json_object_get_int64(after), 100, &events, &gap);
	json_object_object_add(result, "events", events);
	answer(call, OUTCOME_OK, result);
}

/* --- the table --- */

#define PARAMETERS(...)                                                                                                \
	.parameters = (const struct parameter[]){__VA_ARGS__},                                                         \
	.parameter_count = ELEMENTSOF(((const struct parameter[]){__VA_ARGS__}))
#define TUNNEL_ID                                                                                                      \
	{                                                                                                              \
		"id", PLACE_PATH, "s", true, "the tunnel"                                                              \
	}
#define DOCUMENT                                                                                                       \
	{                                                                                                              \
		"document", PLACE_DOCUMENT, "s", true, "the document"                                                  \
	}

static const struct operation operations[] = {
	{"GetStatus", "GET", "/status", DBUS_MANAGER, NULL, SCOPE_READ, .handle = status},
	{"GetKillSwitch", "GET", "/kill-switch", DBUS_KILL_SWITCH, NULL, SCOPE_READ, OPERATION_ETAG, .handle = echo},
	{"ReplaceKillSwitch", "PUT", "/kill-switch", DBUS_KILL_SWITCH, "Replace", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_IF_MATCH | OPERATION_ETAG, PARAMETERS(DOCUMENT),
		.handle = echo},
	{"UpdateKillSwitch", "PATCH", "/kill-switch", DBUS_KILL_SWITCH, "Update", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_IF_MATCH | OPERATION_ETAG | OPERATION_MERGE,
		PARAMETERS(DOCUMENT), .handle = echo},
	{"SetMode", "PUT", "/kill-switch/mode", DBUS_KILL_SWITCH, "SetMode", SCOPE_CONTROL,
		OPERATION_WRITE, PARAMETERS({"mode", PLACE_BODY, "s", true, "off, auto or always"}),
		.handle = echo},
	{"Release", "POST", "/kill-switch/release", DBUS_KILL_SWITCH, "Release", SCOPE_ADMIN,
		OPERATION_WRITE,
		PARAMETERS({"reason", PLACE_BODY, "s", true, "why"}, {"for", PLACE_BODY, "s", false, "how long"}),
		.handle = echo},
	{"ListTunnels", "GET", "/tunnels", DBUS_MANAGER, NULL, SCOPE_READ, .handle = echo},
	{"GetTunnel", "GET", "/tunnels/{id}", DBUS_TUNNEL, NULL, SCOPE_READ, OPERATION_ETAG, PARAMETERS(TUNNEL_ID),
		.handle = echo},
	{"CreateTunnel", "POST", "/tunnels", DBUS_MANAGER, "CreateTunnel", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_ETAG, PARAMETERS(DOCUMENT), .handle = create},
	{"ReplaceTunnel", "PUT", "/tunnels/{id}", DBUS_TUNNEL, "Replace", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_IF_MATCH | OPERATION_ETAG,
		PARAMETERS(TUNNEL_ID, DOCUMENT), .handle = echo},
	{"DeleteTunnel", "DELETE", "/tunnels/{id}", DBUS_TUNNEL, "Delete", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_IF_MATCH, PARAMETERS(TUNNEL_ID), .handle = remove_it},
	{"ImportTunnel", "POST", "/tunnels/import", DBUS_MANAGER, "ImportTunnel", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_ETAG,
		PARAMETERS({"id", PLACE_QUERY, "s", true, "the new tunnel's id"},
			{"text", PLACE_RAW, "s", true, "the file"}),
		.handle = echo},
	{"StartTunnel", "POST", "/tunnels/{id}/start", DBUS_TUNNEL, "Start", SCOPE_CONTROL, OPERATION_WRITE,
		PARAMETERS(TUNNEL_ID, {"wait", PLACE_QUERY, "s", false, "until connected or failed, at most so long"}),
		.handle = start},
	{"StopTunnel", "POST", "/tunnels/{id}/stop", DBUS_TUNNEL, "Stop", SCOPE_CONTROL, OPERATION_WRITE,
		PARAMETERS(TUNNEL_ID), .handle = echo},
	{"RestartTunnel", "POST", "/tunnels/{id}/restart", DBUS_TUNNEL, "Restart", SCOPE_CONTROL, OPERATION_WRITE,
		PARAMETERS(TUNNEL_ID), .handle = echo},
	{"AnswerDecision", "POST", "/decisions/{id}/answer", DBUS_POLICY, "AnswerDecision", SCOPE_CONTROL,
		OPERATION_WRITE,
		PARAMETERS({"id", PLACE_PATH, "t", true, "the decision"},
			{"restart", PLACE_BODY, "b", true, "whether to restart"}),
		.handle = echo},
	{"GetPolicy", "GET", "/policy", DBUS_POLICY, "Get", SCOPE_READ, OPERATION_ETAG, .handle = echo},
	{"ReplacePolicy", "PUT", "/policy", DBUS_POLICY, "Replace", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_IF_MATCH | OPERATION_ETAG, PARAMETERS(DOCUMENT),
		.handle = replace_policy},
	{"ValidatePolicy", "POST", "/policy/validate", DBUS_POLICY, "Validate", SCOPE_READ, 0, PARAMETERS(DOCUMENT),
		.handle = replace_policy},
	{"EvaluatePolicy", "POST", "/policy/evaluate", DBUS_POLICY, "Evaluate", SCOPE_READ, 0, PARAMETERS(DOCUMENT),
		.handle = echo},
	{"ListDecisions", "GET", "/decisions", DBUS_POLICY, "ListDecisions", SCOPE_READ, 0,
		PARAMETERS({"after", PLACE_QUERY, "t", false, "ids greater than this"},
			{"limit", PLACE_QUERY, "t", false, "at most so many"},
			{"tunnel", PLACE_QUERY, "s", false, "of this tunnel alone"}),
		.handle = echo},
	{"ListEvents", "GET", "/events", DBUS_MANAGER, "ListEvents", SCOPE_READ, 0,
		PARAMETERS({"after", PLACE_QUERY, "t", false, "ids greater than this"},
			{"limit", PLACE_QUERY, "t", false, "at most so many"},
			{"tunnel", PLACE_QUERY, "s", false, "of this tunnel alone"},
			{"kind", PLACE_QUERY, "s", false, "of this kind alone"}),
		.handle = list_events},
	{"WatchEvents", "GET", "/events", DBUS_MANAGER, NULL, SCOPE_READ, OPERATION_STREAM,
		PARAMETERS({"after", PLACE_QUERY, "t", false, "ids greater than this"},
			{"tunnel", PLACE_QUERY, "s", false, "of this tunnel alone"},
			{"kind", PLACE_QUERY, "s", false, "of this kind alone"})},
};

const struct operation *operations_all(size_t *ret_count)
{
	*ret_count = ELEMENTSOF(operations);
	return operations;
}

const struct operation *operation_find(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(operations); i++)
		if (strcmp(operations[i].name, name) == 0)
			return &operations[i];
	return NULL;
}

/* --- calls --- */

void operation_start(struct manager *manager, struct operation_call *call)
{
	bool conditional = call->operation->flags & OPERATION_IF_MATCH;
	if (call->caller.scope < call->operation->scope) {
		_cleanup_free_ char *detail = text_format("%s needs the scope %s; %s has %s", call->operation->name,
			scope_to_string(call->operation->scope), call->caller.name,
			scope_to_string(call->caller.scope));
		refuse(call, OUTCOME_FORBIDDEN, detail);
	} else if (conditional && !call->if_match) {
		refuse(call, OUTCOME_PRECONDITION_REQUIRED, "send If-Match with the document's ETag, or *");
	} else if (conditional && strcmp(call->if_match, "*") != 0 && strcmp(call->if_match, "v1") != 0) {
		refuse(call, OUTCOME_PRECONDITION_FAILED, "the document is now v1");
	} else {
		manager->calls++;
		call->operation->handle(manager, call);
	}
}

static struct operation_call *take(struct manager *manager, struct pending *pending)
{
	struct operation_call *call = pending->call;
	TAILQ_REMOVE(&manager->pending, pending, entry);
	manager->pending_count--;
	free(pending);
	call->pending = NULL;
	return call;
}

void operation_cancel(struct manager *manager, struct operation_call *call)
{
	take(manager, call->pending);
	manager->cancelled++;
}

void fake_finish(struct manager *manager)
{
	struct operation_call *call = take(manager, TAILQ_FIRST(&manager->pending));
	json_object *result = json_object_new_object();
	json_object_object_add(result, "state", json_object_new_string("connected"));
	answer(call, OUTCOME_OK, result);
}

/* --- the manager --- */

json_object *manager_status(struct manager *manager)
{
	json_object *status = json_object_new_object();
	json_object_object_add(status, "version", json_object_new_string("test"));
	return status;
}

struct subscription *manager_subscribe(struct manager *manager, event_listener listener, void *userdata)
{
	struct subscription *subscription = xcalloc(1, sizeof *subscription);
	subscription->listener = listener;
	subscription->userdata = userdata;
	LIST_INSERT_HEAD(&manager->subscriptions, subscription, entry);
	manager->subscription_count++;
	return subscription;
}

static struct manager *only; /* manager_unsubscribe() is told of none */

struct subscription *manager_unsubscribe(struct subscription *subscription)
{
	if (subscription) {
		LIST_REMOVE(subscription, entry);
		only->subscription_count--;
		free(subscription);
	}
	return NULL;
}

bool manager_token(struct manager *manager, const char *text, struct caller *ret)
{
	ret->scope = strcmp(text, FAKE_TOKEN) == 0 ? SCOPE_CONTROL : strcmp(text, FAKE_READER) == 0 ? SCOPE_READ : SCOPE_NONE;
	snprintf(ret->name, sizeof ret->name, "token %s", text);
	return ret->scope != SCOPE_NONE;
}

int manager_events_after(struct manager *manager, uint64_t after, size_t limit, json_object **ret, bool *ret_gap)
{
	*ret = json_object_new_array();
	*ret_gap = after < manager->forgotten || after > manager->last;
	uint64_t first = MAX_OF(after, manager->forgotten) - manager->forgotten;
	for (uint64_t i = first; i < manager->last - manager->forgotten && json_object_array_length(*ret) < limit; i++)
		json_object_array_add(*ret, json_object_get(json_object_array_get_idx(manager->events, i)));
	return 0;
}

uint64_t manager_last_event(struct manager *manager)
{
	return manager->last;
}

bool manager_ready(struct manager *manager)
{
	return manager->ready;
}

uint64_t fake_event(struct manager *manager, const char *kind, const char *tunnel, size_t padding)
{
	_cleanup_free_ char *bytes = xcalloc(1, padding + 1);
	memset(bytes, 'x', padding);
	json_object *event = json_object_new_object();
	json_object_object_add(event, "id", json_object_new_int64((int64_t)++manager->last));
	json_object_object_add(event, "kind", json_object_new_string(kind));
	json_object_object_add(event, "tunnel", tunnel ? json_object_new_string(tunnel) : NULL);
	if (padding)
		json_object_object_add(event, "padding", json_object_new_string(bytes));
	json_object_array_add(manager->events, event);
	struct subscription *subscription, *next;
	for (subscription = LIST_FIRST(&manager->subscriptions); subscription; subscription = next) {
		next = LIST_NEXT(subscription, entry);
		subscription->listener(event, manager->last, subscription->userdata);
	}
	return manager->last;
}

void fake_forget_events(struct manager *manager, uint64_t id)
{
	json_object_array_del_idx(manager->events, 0, id - manager->forgotten);
	manager->forgotten = id;
}

void fake_set_ready(struct manager *manager, bool ready)
{
	manager->ready = ready;
}

unsigned fake_pending(const struct manager *manager)
{
	return manager->pending_count;
}

unsigned fake_cancelled(const struct manager *manager)
{
	return manager->cancelled;
}

unsigned fake_subscriptions(const struct manager *manager)
{
	return manager->subscription_count;
}

unsigned fake_calls(const struct manager *manager)
{
	return manager->calls;
}

struct manager *fake_manager_new(void)
{
	struct manager *manager = xcalloc(1, sizeof *manager);
	manager->ready = true;
	manager->events = json_object_new_array();
	TAILQ_INIT(&manager->pending);
	return only = manager;
}

struct manager *fake_manager_free(struct manager *manager)
{
	assert(LIST_EMPTY(&manager->subscriptions) && TAILQ_EMPTY(&manager->pending));
	json_object_put(manager->events);
	free(manager);
	return only = NULL;
}
