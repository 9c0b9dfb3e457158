/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The table of operations, and what every call has in common: scope, parameters, If-Match, waiting. The handlers stand in
 * operations-gate.c, operations-bypass.c, operations-tunnels.c and operations-policy.c.
 */

#include <errno.h>
#include <string.h>

#include "daemon/operations-internal.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/text.h"

#define PARAMETERS(...) (const struct parameter[]){__VA_ARGS__}, ELEMENTSOF(((const struct parameter[]){__VA_ARGS__}))
#define NO_PARAMETERS NULL, 0
#define TUNNEL_ID {"id", PLACE_PATH, "s", true, "the tunnel's id"}
#define DOCUMENT(summary) {"document", PLACE_DOCUMENT, "s", true, summary}
#define CONFIRM(place) {"confirmWithin", place, "s", false, "go back to the former settings unless confirmed within this time (1s to 1h)"}
#define CHANGED {"changed", PLACE_BODY, "b", true, "whether anything was changed"}
#define CREATED {"id", PLACE_BODY, "s", true, "the tunnel's id"}
#define WARNINGS {"warnings", PLACE_BODY, "aa{sv}", true, "what is taken and will surprise"}
#define STATE {"state", PLACE_BODY, "s", true, "the tunnel's state"}
#define WAIT {"wait", PLACE_QUERY, "s", false, "answer at connected or failed, at most this long (30s)"}
#define EVENTS                                                                                                              \
	{"events", PLACE_BODY, "aa{sv}", true, "the events"}, {"cursor", PLACE_BODY, "t", true, "the id to go on after"},       \
		{"gap", PLACE_BODY, "b", true, "whether events after the cursor given are not kept any more"}
#define AFTER {"after", PLACE_QUERY, "t", false, "cursor: events after this id"}
#define OF_TUNNEL {"tunnel", PLACE_QUERY, "s", false, "of this tunnel only"}
#define OF_KIND {"kind", PLACE_QUERY, "s", false, "of this kind only"}
#define SINCE {"since", PLACE_QUERY, "s", false, "not before this time (RFC 3339)"}
#define UNTIL {"until", PLACE_QUERY, "s", false, "not after this time (RFC 3339)"}
#define LIMIT {"limit", PLACE_QUERY, "t", false, "at most this many (default 100, at most 1000)"}
#define DOCUMENT_RESULT {"document", PLACE_DOCUMENT, "s", true, "the document"}

static const struct operation operations[] = {
	{"GetStatus", "GET", "/status", DBUS_MANAGER, "GetStatus", SCOPE_READ, 0, NO_PARAMETERS,
		PARAMETERS({"status", PLACE_DOCUMENT, "a{sv}", true, "all of it"}), "status",
		"What is: protection, gate, tunnels, network, policy.", handle_get_status},
	{"GetKillSwitch", "GET", "/kill-switch", DBUS_KILL_SWITCH, "Get", SCOPE_READ, OPERATION_ETAG, NO_PARAMETERS,
		PARAMETERS(DOCUMENT_RESULT), "kill-switch show", "The settings of the gate.", handle_get_kill_switch},
	{"ReplaceKillSwitch", "PUT", "/kill-switch", DBUS_KILL_SWITCH, "Replace", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_IF_MATCH | OPERATION_ETAG | OPERATION_LARGE, PARAMETERS(DOCUMENT("the new settings, whole"), CONFIRM(PLACE_QUERY)),
		PARAMETERS(CHANGED, WARNINGS), "kill-switch set", "Replaces the settings of the gate.", handle_replace_kill_switch},
	{"UpdateKillSwitch", "PATCH", "/kill-switch", DBUS_KILL_SWITCH, "Update", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_IF_MATCH | OPERATION_ETAG | OPERATION_MERGE | OPERATION_LARGE,
		PARAMETERS(DOCUMENT("a JSON Merge Patch"), CONFIRM(PLACE_QUERY)), PARAMETERS(CHANGED, WARNINGS), NULL, "Changes members of the settings of the gate.",
		handle_update_kill_switch},
	{"SetMode", "PUT", "/kill-switch/mode", DBUS_KILL_SWITCH, "SetMode", SCOPE_CONTROL, OPERATION_WRITE,
		PARAMETERS({"mode", PLACE_BODY, "s", true, "off, auto or always"}, CONFIRM(PLACE_BODY)), PARAMETERS(CHANGED), "mode",
		"Sets the mode; to relax it takes the scope admin. Ends a release.", handle_set_mode},
	{"ConfirmKillSwitch", "POST", "/kill-switch/confirm", DBUS_KILL_SWITCH, "Confirm", SCOPE_ADMIN, OPERATION_WRITE, NO_PARAMETERS,
		PARAMETERS(CHANGED), "confirm", "Lets settings on trial (confirmWithin) stand.", handle_confirm_kill_switch},
	{"Release", "POST", "/kill-switch/release", DBUS_KILL_SWITCH, "Release", SCOPE_ADMIN, OPERATION_WRITE,
		PARAMETERS({"reason", PLACE_BODY, "s", true, "why, for the record"},
			{"for", PLACE_BODY, "s", false, "how long (default 5m, at most 1h)"}),
		PARAMETERS(CHANGED, {"until", PLACE_BODY, "s", true, "when the kernel closes it again"}), "release",
		"Opens the gate for a limited time that the kernel itself ends.", handle_release},
	{"ListBypass", "GET", "/bypass", DBUS_KILL_SWITCH, "ListBypass", SCOPE_READ, 0, NO_PARAMETERS,
		PARAMETERS({"bypass", PLACE_BODY, "aa{sv}", true, "what is granted"}), "bypass list",
		"What is granted: by the settings, and at run time.", handle_list_bypass},
	{"AddBypass", "POST", "/bypass", DBUS_KILL_SWITCH, "AddBypass", SCOPE_ADMIN, OPERATION_WRITE | OPERATION_SELF_SERVICE,
		PARAMETERS({"grant", PLACE_DOCUMENT, "a{sv}", true, "{unit, slice, user, program, address or domain; for}"}),
		PARAMETERS(CHANGED, {"id", PLACE_BODY, "s", true, "the grant's id"}), "bypass add",
		"Grants until it is taken back, ends, or until boot.", handle_add_bypass},
	{"RemoveBypass", "DELETE", "/bypass/{id}", DBUS_KILL_SWITCH, "RemoveBypass", SCOPE_ADMIN, OPERATION_WRITE,
		PARAMETERS({"id", PLACE_PATH, "s", true, "the grant's id"}), PARAMETERS(CHANGED), "bypass remove",
		"Takes a grant back; its living connections are cut.", handle_remove_bypass},
	{"ListTunnels", "GET", "/tunnels", DBUS_MANAGER, "ListTunnels", SCOPE_READ, 0, NO_PARAMETERS,
		PARAMETERS({"tunnels", PLACE_BODY, "aa{sv}", true, "the documents"}), "tunnel list", "All tunnels' documents, without secrets.",
		handle_list_tunnels},
	{"GetTunnel", "GET", "/tunnels/{id}", DBUS_TUNNEL, "Get", SCOPE_READ, OPERATION_ETAG, PARAMETERS(TUNNEL_ID),
		PARAMETERS(DOCUMENT_RESULT), "tunnel show", "A tunnel's document, without secrets.", handle_get_tunnel},
	{"CreateTunnel", "POST", "/tunnels", DBUS_MANAGER, "CreateTunnel", SCOPE_ADMIN, OPERATION_WRITE | OPERATION_ETAG,
		PARAMETERS(DOCUMENT("the tunnel")), PARAMETERS(CHANGED, CREATED, WARNINGS), "tunnel add",
		"Makes a tunnel.", handle_create_tunnel},
	{"ReplaceTunnel", "PUT", "/tunnels/{id}", DBUS_TUNNEL, "Replace", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_IF_MATCH | OPERATION_ETAG, PARAMETERS(TUNNEL_ID, DOCUMENT("the tunnel, whole")),
		PARAMETERS(CHANGED, WARNINGS), "tunnel set", "Replaces a tunnel that is at rest; secrets left out are kept.", handle_replace_tunnel},
	{"DeleteTunnel", "DELETE", "/tunnels/{id}", DBUS_TUNNEL, "Delete", SCOPE_ADMIN, OPERATION_WRITE | OPERATION_IF_MATCH,
		PARAMETERS(TUNNEL_ID), PARAMETERS(CHANGED), "tunnel delete", "Deletes a tunnel that is at rest.", handle_delete_tunnel},
	{"ImportTunnel", "POST", "/tunnels/import", DBUS_MANAGER, "ImportTunnel", SCOPE_ADMIN, OPERATION_WRITE | OPERATION_ETAG,
		PARAMETERS({"id", PLACE_QUERY, "s", true, "the new tunnel's id"}, {"file", PLACE_RAW, "s", true, "the file's content"}),
		PARAMETERS(CHANGED, CREATED, {"warnings", PLACE_BODY, "aa{sv}", true, "what the file asks for and is not done"}),
		"import", "Makes a tunnel from a VPN client's own file.", handle_import_tunnel},
	{"StartTunnel", "POST", "/tunnels/{id}/start", DBUS_TUNNEL, "Start", SCOPE_CONTROL, OPERATION_WRITE, PARAMETERS(TUNNEL_ID, WAIT),
		PARAMETERS(CHANGED, STATE), "up", "Wants the tunnel; answers once the gate is verified and the worker told.", handle_start_tunnel},
	{"StopTunnel", "POST", "/tunnels/{id}/stop", DBUS_TUNNEL, "Stop", SCOPE_CONTROL, OPERATION_WRITE, PARAMETERS(TUNNEL_ID, WAIT),
		PARAMETERS(CHANGED, STATE), "down", "Stops the tunnel; in mode auto the gate opens once its worker is gone.", handle_stop_tunnel},
	{"RestartTunnel", "POST", "/tunnels/{id}/restart", DBUS_TUNNEL, "Restart", SCOPE_CONTROL, OPERATION_WRITE, PARAMETERS(TUNNEL_ID, WAIT),
		PARAMETERS(CHANGED, STATE), "restart", "Starts the tunnel again in place, the gate closed throughout.", handle_restart_tunnel},
	{"ProvideCredentials", "POST", "/tunnels/{id}/credentials", DBUS_TUNNEL, "ProvideCredentials", SCOPE_CONTROL,
		OPERATION_WRITE | OPERATION_SECRET, PARAMETERS(TUNNEL_ID, {"credentials", PLACE_BODY, "a{ss}", true, "a text for each name that needCredentials lists"}),
		PARAMETERS(CHANGED), "credentials", "Gives the tunnel's client what it asks for.", handle_provide_credentials},
	{"AnswerDecision", "POST", "/decisions/{id}/answer", DBUS_POLICY, "AnswerDecision", SCOPE_CONTROL, OPERATION_WRITE,
		PARAMETERS({"id", PLACE_PATH, "t", true, "the decision's id"}, {"restart", PLACE_BODY, "b", true, "restart, or else terminate"}),
		PARAMETERS(CHANGED), "decide", "Answers a pending decision, once.", handle_answer_decision},
	{"GetPolicy", "GET", "/policy", DBUS_POLICY, "Get", SCOPE_READ, OPERATION_ETAG, NO_PARAMETERS, PARAMETERS(DOCUMENT_RESULT), "policy show",
		"The policy in force.", handle_get_policy},
	{"ReplacePolicy", "PUT", "/policy", DBUS_POLICY, "Replace", SCOPE_ADMIN,
		OPERATION_WRITE | OPERATION_IF_MATCH | OPERATION_ETAG, PARAMETERS(DOCUMENT("the new policy")),
		PARAMETERS(CHANGED, WARNINGS), "policy set", "Replaces the policy, atomically; on an error the running one stays.", handle_replace_policy},
	{"ValidatePolicy", "POST", "/policy/validate", DBUS_POLICY, "Validate", SCOPE_READ, 0, PARAMETERS(DOCUMENT("a policy")),
		PARAMETERS({"valid", PLACE_BODY, "b", true, "whether it would be taken"}, {"errors", PLACE_BODY, "aa{sv}", true, "every error"}, WARNINGS),
		"policy check", "Checks a policy and changes nothing.",
		handle_validate_policy},
	{"EvaluatePolicy", "POST", "/policy/evaluate", DBUS_POLICY, "Evaluate", SCOPE_READ, 0,
		PARAMETERS({"question", PLACE_DOCUMENT, "a{sv}", true, "{event, context, policy}"}),
		PARAMETERS({"answer", PLACE_DOCUMENT, "a{sv}", true, "{decision, rule, tried, delay, limited}"}), "policy evaluate",
		"Which rule would decide, and why those before it do not; does nothing.", handle_evaluate_policy},
	{"ListDecisions", "GET", "/decisions", DBUS_POLICY, "ListDecisions", SCOPE_READ, 0, PARAMETERS(AFTER, OF_TUNNEL, SINCE, UNTIL, LIMIT),
		PARAMETERS(EVENTS), "decisions", "Decisions that were made, oldest first.", handle_list_decisions},
	{"Diagnose", "GET", "/diagnostics", DBUS_MANAGER, "Diagnose", SCOPE_READ, 0, NO_PARAMETERS,
		PARAMETERS({"findings", PLACE_BODY, "aa{sv}", true, "what was found, the worst first"}), "doctor",
		"What stands against the promises on this machine, and what to do about it.", handle_diagnose},
	{"ListTokens", "GET", "/tokens", DBUS_MANAGER, "ListTokens", SCOPE_ADMIN, 0, NO_PARAMETERS,
		PARAMETERS({"tokens", PLACE_BODY, "aa{sv}", true, "the tokens, without what they are made of"}), "token list",
		"Who may come in over TCP by a token.", handle_list_tokens},
	{"CreateToken", "POST", "/tokens", DBUS_MANAGER, "CreateToken", SCOPE_ADMIN, OPERATION_WRITE,
		PARAMETERS({"name", PLACE_BODY, "s", true, "whom it is for"}, {"scope", PLACE_BODY, "s", true, "read, control or admin"},
			{"lifetime", PLACE_BODY, "s", false, "how long it is good (default: until it is revoked)"}),
		PARAMETERS(CHANGED, {"id", PLACE_BODY, "s", true, "to revoke it by"}, {"token", PLACE_BODY, "s", true, "the token, shown this once"},
			{"expires", PLACE_BODY, "s", true, "when it ends"}),
		"token create", "Makes a token; it is shown in this answer and never again.", handle_create_token},
	{"RevokeToken", "DELETE", "/tokens/{id}", DBUS_MANAGER, "RevokeToken", SCOPE_ADMIN, OPERATION_WRITE,
		PARAMETERS({"id", PLACE_PATH, "s", true, "the token's id"}), PARAMETERS(CHANGED), "token revoke", "Makes a token worthless at once.",
		handle_revoke_token},
	{"ListEvents", "GET", "/events", DBUS_MANAGER, "ListEvents", SCOPE_READ, 0,
		PARAMETERS(AFTER, OF_TUNNEL, OF_KIND, SINCE, UNTIL, LIMIT), PARAMETERS(EVENTS), "events",
		"Events that happened, oldest first.", handle_list_events},
	{"WatchEvents", "GET", "/events", DBUS_MANAGER, NULL, SCOPE_READ, OPERATION_STREAM, PARAMETERS(AFTER, OF_TUNNEL, OF_KIND),
		NO_PARAMETERS, "events -f",
		"Events as they happen, as text/event-stream; over D-Bus the signal Event.", NULL},
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

/* ---- answers ---- */

void call_finish(struct operation_call *call, enum outcome outcome)
{
	call->outcome = outcome;
	call->done(call, call->userdata);
}

void call_fail(struct operation_call *call, enum outcome outcome, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	free(call->detail);
	call->detail = text_vformat(format, arguments);
	va_end(arguments);
	json_object_put(call->result);
	call->result = NULL;
	call_finish(call, outcome);
}

void call_fail_document(struct operation_call *call, const char *what)
{
	call_fail(call, OUTCOME_INVALID_DOCUMENT, "%s has %zu error%s; nothing was changed", what, call->problems.errors,
		call->problems.errors == 1 ? "" : "s");
}

void call_result(struct operation_call *call, const char *key, json_object *value)
{
	if (!call->result)
		call->result = json_object_new_object();
	json_object_object_add(call->result, key, value);
}

void call_answer_changed(struct operation_call *call, bool changed)
{
	call_result(call, "changed", json_object_new_boolean(changed));
	call_finish(call, OUTCOME_OK);
}

const char *call_text(const struct operation_call *call, const char *name)
{
	json_object *value = json_object_object_get(call->arguments, name);
	return value ? json_object_get_string(value) : NULL;
}

uint64_t call_number(const struct operation_call *call, const char *name, uint64_t otherwise)
{
	json_object *value = json_object_object_get(call->arguments, name);
	return value ? json_object_get_uint64(value) : otherwise;
}

bool call_matches(struct operation_call *call, const char *etag)
{
	if (!call->if_match) {
		call_fail(call, OUTCOME_PRECONDITION_REQUIRED,
			"send If-Match with the ETag of the version that you mean to change, or If-Match: * for whatever stands there");
		return false;
	}
	if (strcmp(call->if_match, "*") != 0 && strcmp(call->if_match, etag) != 0) {
		call_fail(call, OUTCOME_PRECONDITION_FAILED, "the present version is \"%s\"; read it again", etag);
		return false;
	}
	return true;
}

bool call_unmanaged(struct operation_call *call, const struct document *document, const char *folder, const char *name)
{
	if (!document->managed)
		return true;
	call_fail(call, OUTCOME_MANAGED_BY_FILE, "%s/%s rules here; change that file and send SIGHUP (systemctl reload holdfast)", folder, name);
	return false;
}

/* ---- parameters ---- */

static bool right_type(json_object *value, const char *signature)
{
	switch (signature[0]) {
	case 's':
		return json_object_is_type(value, json_type_string);
	case 'b':
		return json_object_is_type(value, json_type_boolean);
	case 't':
		return json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0;
	case 'a': /* a{ss}, the one map that there is */
		return json_object_is_type(value, json_type_object);
	default:
		return false;
	}
}

static const char *type_name(const char *signature)
{
	return signature[0] == 'a' ? "an object of strings" : signature[0] == 's' ? "a string" : signature[0] == 'b' ? "true or false" : "a whole number, not negative";
}

/* Texts are shown to people, and written to logs: one line each. NULL: nothing is wrong with it. */
static const char *text_fault(json_object *value)
{
	if (!json_object_is_type(value, json_type_string))
		return NULL;
	const char *text = json_object_get_string(value);
	size_t length = (size_t)json_object_get_string_len(value);
	if (memchr(text, '\0', length))
		return "holds a NUL character";
	return text_has_control(text, length) ? "holds a control character" : NULL;
}

static const struct parameter *find_parameter(const struct operation *operation, const char *name)
{
	for (size_t i = 0; i < operation->parameter_count; i++)
		if (strcmp(operation->parameters[i].name, name) == 0)
			return &operation->parameters[i];
	return NULL;
}

static bool is_argument(const struct parameter *parameter)
{
	return parameter->place == PLACE_PATH || parameter->place == PLACE_QUERY || parameter->place == PLACE_BODY;
}

static void check_parameters(struct operation_call *call)
{
	const struct operation *operation = call->operation;
	char pointer[POINTER_MAX];
	for (size_t i = 0; i < operation->parameter_count; i++) {
		const struct parameter *parameter = &operation->parameters[i];
		json_object *value = json_object_object_get(call->arguments, parameter->name);
		pointer_member(pointer, "", parameter->name);
		bool given = is_argument(parameter) ? value != NULL : parameter->place == PLACE_RAW ? call->text != NULL : call->document != NULL;
		if (!given && parameter->required)
			problems_error(&call->problems, is_argument(parameter) ? pointer : "", NULL, "is missing: %s", parameter->summary);
		else if (is_argument(parameter) && value && !right_type(value, parameter->signature))
			problems_error(&call->problems, pointer, value, "must be %s", type_name(parameter->signature));
		else if (is_argument(parameter) && text_fault(value))
			problems_error(&call->problems, pointer, value, "%s", text_fault(value));
	}
	json_object_object_foreach (call->arguments, name, given) {
		if (!find_parameter(operation, name))
			problems_error(&call->problems, pointer_member(pointer, "", name), given, "is not known to %s", operation->name);
	}
}

void operation_start(struct manager *manager, struct operation_call *call)
{
	const struct operation *operation = call->operation;
	bool own = operation->flags & OPERATION_SELF_SERVICE && call->caller.scope == SCOPE_CONTROL;
	if (call->caller.scope < operation->scope && !own) {
		call_fail(call, OUTCOME_FORBIDDEN, "%s takes the scope %s; %s has %s", operation->name, scope_to_string(operation->scope),
			call->caller.name[0] ? call->caller.name : "the caller", scope_to_string(call->caller.scope));
		return;
	}
	check_parameters(call);
	if (call->problems.errors > 0) {
		call_fail(call, OUTCOME_BAD_REQUEST, "the parameters of %s have errors", operation->name);
		return;
	}
	if (!operation->handle) {
		call_fail(call, OUTCOME_BAD_REQUEST, "%s is a stream; ask for text/event-stream", operation->name);
		return;
	}
	if (operation->flags & OPERATION_WRITE && !call->dry_run)
		status_forget(manager);
	operation->handle(manager, call);
}

/* ---- waiting ---- */

static bool wait_is_over(const struct manager *manager, const struct operation_call *call, size_t index)
{
	const struct lifecycle_tunnel *tunnel = &manager->core.tunnels[index];
	bool stopping = call->operation->handle == handle_stop_tunnel;
	if (stopping)
		return tunnel->state == TUNNEL_DISCONNECTED;
	return tunnel->state == TUNNEL_CONNECTED || tunnel->state == TUNNEL_FAILED || tunnel->state == TUNNEL_DISCONNECTED;
}

static void answer_state(struct manager *manager, struct operation_call *call, size_t index)
{
	call_result(call, "state", json_object_new_string(tunnel_state_to_string(manager->core.tunnels[index].state)));
	call_finish(call, wait_is_over(manager, call, index) ? OUTCOME_OK : OUTCOME_ACCEPTED);
}

struct waiting {
	uint64_t deadline_usec;
};

static void remove_waiting(struct manager *manager, struct operation_call *call)
{
	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
		if (manager->waiting[i] == call)
			manager->waiting[i] = NULL;
	free(call->pending);
	call->pending = NULL;
}

static int on_wait_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	manager_complete_waiting(userdata);
	return 0;
}

void manager_complete_waiting(struct manager *manager)
{
	uint64_t now = manager_now(), soonest = USEC_INFINITY;
	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++) {
		struct operation_call *call = manager->waiting[i];
		if (!call)
			continue;
		const struct waiting *waiting = call->pending;
		size_t index = lifecycle_find(&manager->core, call_text(call, "id"));
		if (index == LIFECYCLE_NONE) {
			remove_waiting(manager, call);
			call_fail(call, OUTCOME_TUNNEL_NOT_FOUND, "the tunnel was deleted meanwhile");
		} else if (wait_is_over(manager, call, index) || waiting->deadline_usec <= now) {
			remove_waiting(manager, call);
			answer_state(manager, call, index);
		} else {
			soonest = MIN_OF(soonest, waiting->deadline_usec);
		}
	}
	manager_arm_timer(manager, &manager->wait_timer, soonest, on_wait_time);
}

void call_answer_when_settled(struct manager *manager, struct operation_call *call, size_t index, uint64_t wait_usec)
{
	if (wait_usec == 0 || wait_is_over(manager, call, index)) {
		answer_state(manager, call, index);
		return;
	}
	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
		if (!manager->waiting[i]) {
			struct waiting *waiting = xcalloc(1, sizeof *waiting);
			waiting->deadline_usec = manager_now() + wait_usec;
			call->pending = waiting;
			manager->waiting[i] = call;
			manager_complete_waiting(manager);
			return;
		}
	call_fail(call, OUTCOME_TOO_MANY_REQUESTS, "%d calls wait already; ask without ?wait= and watch the events", SUBSCRIBERS_MAX);
}

void operation_cancel(struct manager *manager, struct operation_call *call)
{
	if (call->operation->handle == handle_add_bypass)
		cancel_add_bypass(call);
	else
		remove_waiting(manager, call);
}
