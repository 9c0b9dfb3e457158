/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A double of the operations. StartTunnel with `wait` stays open; SetMode "off" is for administrators only. */

#include "fake-operations.h"

#include <json-c/json_pointer.h>
#include <string.h>

#include "util/fields.h"
#include "util/text.h"

static const char state_text[] =
	"{ 'version': '1.0.0', 'bootId': 'b1', 'since': '2026-11-22T15:20:00Z', 'protection': 'protected',"
	"  'gate': { 'mode': 'auto', 'desired': 'tunnel', 'kernel': 'tunnel', 'verifiedAt': 'now', 'healed': 0,"
	"            'blockFailure': null, 'blocked': { 'out': 12, 'in': 3, 'forward': 0 } },"
	"  'tunnels': [ { 'id': 'home', 'driver': 'wireguard', 'state': 'connected', 'since': 'then', 'interface': 'hf-home',"
	"                 'endpoint': '203.0.113.7:51820/udp', 'attempt': 0, 'lastError': null, 'pendingDecision': null,"
	"                 'rxBytes': 1, 'txBytes': 18446744073709551615, 'lastHandshake': 'just now' } ],"
	"  'network': { 'available': true, 'uplinks': ['eth0', 'wlan0'], 'interface': 'wlan0', 'type': 'wifi', 'ssid': null },"
	"  'policy': { 'name': 'laptop', 'etag': 'e1', 'source': 'api' } }";

struct subscription {
	struct manager *manager;
	event_listener listener;
	void *userdata;
};

struct manager {
	json_object *state, *shown;
	void (*changed)(void *userdata);
	void *changed_userdata;
	struct subscription *subscription; /* a front has one */
	uint64_t last_event;
	struct operation_call *waiting;
	char *last_call;
	unsigned calls, cancelled;
};

/* JSON in tests is written with single quotes. */
static json_object *parse(const char *text)
{
	_cleanup_free_ char *copy = text_dup(text);
	for (char *c = copy; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	return json_tokener_parse(copy);
}

static void end(struct operation_call *call, enum outcome outcome, const char *result)
{
	call->outcome = outcome;
	if (outcome_status(outcome) < 300)
		call->result = parse(result);
	else
		call->detail = text_dup(result);
	call->done(call, call->userdata);
}

static const char *argument(const struct operation_call *call, const char *name)
{
	json_object *value = json_object_object_get(call->arguments, name);
	return value ? json_object_get_string(value) : NULL;
}

static void set_mode(struct manager *manager, struct operation_call *call)
{
	if (strcmp(argument(call, "mode"), "off") == 0 && call->caller.scope < SCOPE_ADMIN) {
		end(call, OUTCOME_FORBIDDEN, "Only an administrator may relax the mode.");
		return;
	}
	_cleanup_free_ char *mode = text_format("'%s'", argument(call, "mode"));
	fake_set(manager, "/gate/mode", mode);
	end(call, OUTCOME_OK, "{'changed': true}");
}

static void replace_kill_switch(struct manager *manager, struct operation_call *call)
{
	if (!json_object_object_get(call->document, "mode")) {
		problems_error(&call->problems, "/mode", NULL, "is missing");
		problems_error(&call->problems, "/lan", json_object_object_get(call->document, "lan"), "must be block or allow");
		end(call, OUTCOME_INVALID_DOCUMENT, "The settings have errors.");
		return;
	}
	end(call, OUTCOME_OK, "{'changed': false}");
}

static void start_tunnel(struct manager *manager, struct operation_call *call)
{
	if (argument(call, "wait"))
		manager->waiting = call;
	else
		end(call, OUTCOME_ACCEPTED, "{'changed': true, 'state': 'connecting', 'more': 'that D-Bus does not return'}");
}

static void import_tunnel(struct manager *manager, struct operation_call *call)
{
	end(call, OUTCOME_CREATED, "{'id': 'office', 'warnings': ['PostUp is not run', 'nor is PostDown']}");
}

static void release(struct manager *manager, struct operation_call *call)
{
	end(call, OUTCOME_OK, "{'changed': true}");
}

static void get_policy(struct manager *manager, struct operation_call *call)
{
	end(call, OUTCOME_OK, "{'version': 1, 'rules': []}");
}

static void get_status(struct manager *manager, struct operation_call *call)
{
	end(call, OUTCOME_OK, "{'protection': 'protected', 'healed': 2, 'network': {'ssid': null, 'uplinks': [], 'metered': true}, 'tunnels': [{'id': 'home'}]}");
}

/* The scope control may grant its own program, and no address. */
static void add_bypass(struct manager *manager, struct operation_call *call)
{
	if (call->caller.scope < SCOPE_ADMIN && !json_object_object_get(call->document, "program"))
		end(call, OUTCOME_FORBIDDEN, "To grant takes an administrator.");
	else
		end(call, OUTCOME_OK, "{'changed': true}");
}

static void list_events(struct manager *manager, struct operation_call *call)
{
	end(call, OUTCOME_OK, "{'events': [{'id': 7, 'kind': 'boot', 'on': true, 'tunnel': null}], 'next': 8}");
}

#define PATH_ID {"id", PLACE_PATH, "s", true, "the tunnel's id"}
#define CHANGED {"changed", PLACE_BODY, "b", true, "whether anything changed"}
static const struct parameter mode_in[] = {{"mode", PLACE_BODY, "s", true, "off, auto or always"}};
static const struct parameter document_in[] = {{"document", PLACE_DOCUMENT, "s", true, "the document"}};
static const struct parameter start_in[] = {PATH_ID, {"wait", PLACE_QUERY, "s", false, "how long to wait"}};
static const struct parameter import_in[] = {{"id", PLACE_QUERY, "s", false, "the id"}, {"file", PLACE_RAW, "s", true, "the file"}};
static const struct parameter events_in[] = {{"after", PLACE_QUERY, "t", false, "an id"}, {"kinds", PLACE_QUERY, "as", false, "kinds"},
	{"all", PLACE_QUERY, "b", false, "all of them"}};
static const struct parameter changed_out[] = {CHANGED};
static const struct parameter start_out[] = {CHANGED, {"state", PLACE_BODY, "s", true, "the state"}};
static const struct parameter import_out[] = {{"id", PLACE_BODY, "s", true, "the id"}, {"warnings", PLACE_BODY, "as", true, "what was left out"}};
static const struct parameter document_out[] = {{"document", PLACE_DOCUMENT, "s", true, "the document"}};
static const struct parameter status_out[] = {{"status", PLACE_DOCUMENT, "a{sv}", true, "all of it"}};
static const struct parameter grant_in[] = {{"grant", PLACE_DOCUMENT, "a{sv}", true, "what to grant"}};
static const struct parameter events_out[] = {{"events", PLACE_BODY, "aa{sv}", true, "the events"}, {"next", PLACE_BODY, "t", true, "the cursor"}};

#define IN(array) array, ELEMENTSOF(array)
#define OUT(array) array, ELEMENTSOF(array)
#define NOTHING NULL, 0
static const struct operation operations[] = {
	{"SetMode", "PUT", "/kill-switch/mode", DBUS_KILL_SWITCH, "SetMode", SCOPE_CONTROL, OPERATION_WRITE, IN(mode_in), OUT(changed_out), NULL, "", set_mode},
	{"ReplaceKillSwitch", "PUT", "/kill-switch", DBUS_KILL_SWITCH, "Replace", SCOPE_ADMIN, OPERATION_IF_MATCH, IN(document_in), OUT(changed_out), NULL, "", replace_kill_switch},
	{"Release", "POST", "/kill-switch/release", DBUS_KILL_SWITCH, "Release", SCOPE_ADMIN, 0, NOTHING, OUT(changed_out), NULL, "", release},
	{"StartTunnel", "POST", "/tunnels/{id}/start", DBUS_TUNNEL, "Start", SCOPE_CONTROL, 0, IN(start_in), OUT(start_out), NULL, "", start_tunnel},
	{"ImportTunnel", "POST", "/tunnels/import", DBUS_MANAGER, "ImportTunnel", SCOPE_ADMIN, 0, IN(import_in), OUT(import_out), NULL, "", import_tunnel},
	{"GetPolicy", "GET", "/policy", DBUS_POLICY, "Get", SCOPE_READ, 0, NOTHING, OUT(document_out), NULL, "", get_policy},
	{"GetStatus", "GET", "/status", DBUS_MANAGER, "GetStatus", SCOPE_READ, 0, NOTHING, OUT(status_out), NULL, "", get_status},
	{"AddBypass", "POST", "/bypass", DBUS_KILL_SWITCH, "AddBypass", SCOPE_ADMIN, OPERATION_SELF_SERVICE, IN(grant_in), OUT(changed_out), NULL, "", add_bypass},
	{"ListEvents", "GET", "/events", DBUS_MANAGER, "ListEvents", SCOPE_READ, 0, IN(events_in), OUT(events_out), NULL, "", list_events},
	{"WatchEvents", "GET", "/events", DBUS_MANAGER, "Event", SCOPE_READ, OPERATION_STREAM, NOTHING, NOTHING, NULL, "", NULL},
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

void operation_start(struct manager *manager, struct operation_call *call)
{
	static const char *const scopes[] = {"none", "read", "control", "admin"};
	free(manager->last_call);
	manager->last_call = text_format("%s by %s: %s | %s | %s | %s", call->operation->name, scopes[call->caller.scope],
		json_object_to_json_string_ext(call->arguments, JSON_C_TO_STRING_PLAIN),
		json_object_to_json_string_ext(call->document, JSON_C_TO_STRING_PLAIN), call->text ? call->text : "-", call->if_match);
	manager->calls++;
	bool own = call->operation->flags & OPERATION_SELF_SERVICE && call->caller.scope == SCOPE_CONTROL;
	if (call->caller.scope < call->operation->scope && !own)
		end(call, OUTCOME_FORBIDDEN, "That is for others.");
	else
		call->operation->handle(manager, call);
}

void operation_cancel(struct manager *manager, struct operation_call *call)
{
	manager->cancelled++;
	if (manager->waiting == call)
		manager->waiting = NULL;
}

bool fake_release(struct manager *manager)
{
	struct operation_call *call = STEAL(manager->waiting);
	if (call)
		end(call, OUTCOME_OK, "{'changed': true, 'state': 'connected'}");
	return call;
}

unsigned fake_cancelled(const struct manager *manager)
{
	return manager->cancelled;
}

const char *fake_last_call(const struct manager *manager)
{
	return manager->last_call ? manager->last_call : "";
}

unsigned fake_calls(const struct manager *manager)
{
	return manager->calls;
}

json_object *manager_status(struct manager *manager)
{
	json_object *copy = NULL;
	(void)json_object_deep_copy(manager->state, &copy, NULL);
	return copy;
}

json_object *manager_status_kept(struct manager *manager)
{
	json_object_put(manager->shown);
	return manager->shown = manager_status(manager);
}

void manager_watch_status(struct manager *manager, void (*changed)(void *userdata), void *userdata)
{
	manager->changed = changed;
	manager->changed_userdata = userdata;
}

void fake_changed(struct manager *manager)
{
	if (manager->changed)
		manager->changed(manager->changed_userdata);
}

void fake_set(struct manager *manager, const char *pointer, const char *text)
{
	(void)json_pointer_set(&manager->state, pointer, text ? parse(text) : NULL);
}

void fake_event(struct manager *manager, const char *text)
{
	_cleanup_json_ json_object *event = parse(text);
	json_object_object_add(event, "id", json_object_new_uint64(++manager->last_event));
	if (manager->subscription)
		manager->subscription->listener(event, manager->last_event, manager->subscription->userdata);
}

struct subscription *manager_subscribe(struct manager *manager, event_listener listener, void *userdata)
{
	struct subscription *subscription = xcalloc(1, sizeof *subscription);
	*subscription = (struct subscription){manager, listener, userdata};
	return manager->subscription = subscription;
}

struct subscription *manager_unsubscribe(struct subscription *subscription)
{
	if (subscription)
		subscription->manager->subscription = NULL;
	free(subscription);
	return NULL;
}

struct manager *fake_manager_new(void)
{
	struct manager *manager = xcalloc(1, sizeof *manager);
	manager->state = parse(state_text);
	return manager;
}

struct manager *fake_manager_free(struct manager *manager)
{
	json_object_put(manager->state);
	json_object_put(manager->shown);
	free(manager->last_call);
	free(manager);
	return NULL;
}
