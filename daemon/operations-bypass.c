/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Operations on what is granted at run time. They are no document: a file of the administrator's does not stand in their way. */

#include <errno.h>
#include <string.h>

#include "daemon/grants.h"
#include "daemon/operations-internal.h"
#include "firewall/settings.h"
#include "network/scope.h"
#include "network/system-bus.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"

#define LABEL_MAX 64
#define SHOWN_MAX 1000 /* networks of the settings, which GetKillSwitch has whole */

/* A request while it is read. */
struct reading {
	struct bypass_request request;
	char *name;
	unsigned given;
};

void handle_list_bypass(struct manager *manager, struct operation_call *call)
{
	call_result(call, "bypass", grants_to_json(manager, SHOWN_MAX));
	call_finish(call, OUTCOME_OK);
}

/* ---- reading ---- */

static void take(struct reading *reading, enum bypass_type type, char *name)
{
	free(reading->name);
	reading->name = name;
	reading->request.type = type;
	reading->given++;
}

static void read_process(const char *key, enum bypass_type type, json_object *value, void *ret, struct problems *problems)
{
	struct process_grant grant;
	_cleanup_json_ json_object *object = json_object_new_object();
	json_object_object_add(object, key, json_object_get(value));
	if (kill_switch_read_process(object, "", &grant, problems))
		take(ret, type, grant.name);
}

static void read_unit(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_process("unit", BYPASS_UNIT, value, ret, problems);
}

static void read_slice(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_process("slice", BYPASS_SLICE, value, ret, problems);
}

static void read_user(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_process("user", BYPASS_USER, value, ret, problems);
}

static void read_address(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct reading *reading = ret;
	char text[IP_TEXT_MAX];
	if (kill_switch_read_address(value, pointer, &reading->request.network, problems))
		take(reading, BYPASS_ADDRESS, text_dup(ip_prefix_format(text, &reading->request.network)));
}

static void read_domain(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	char *name;
	if (kill_switch_read_domain(value, pointer, &name, problems))
		take(ret, BYPASS_DOMAIN, name);
}

/* Only a label for people: what is granted is the caller itself. */
static void read_program(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	const char *label = json_object_get_string(value);
	size_t length = (size_t)json_object_get_string_len(value);
	if (length == 0 || length > LABEL_MAX || text_has_control(label, length))
		problems_error(problems, pointer, value, "must be the program's name, 1 to %d bytes, and no control characters", LABEL_MAX);
	else
		take(ret, BYPASS_PROGRAM, text_dup(label));
}

static void read_for(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct reading *reading = ret;
	field_duration(value, pointer, &reading->request.duration_usec, problems, NULL);
	if (reading->request.duration_usec < USEC_PER_SEC)
		problems_error(problems, pointer, value, "must be at least 1s; left out, it lasts until it is taken back");
}

static bool read_request(json_object *document, struct reading *reading, struct problems *problems)
{
	static const struct field fields[] = {
		{"unit", FIELD_STRING, read_unit, 0, false},
		{"slice", FIELD_STRING, read_slice, 0, false},
		{"user", FIELD_STRING, read_user, 0, false},
		{"program", FIELD_STRING, read_program, 0, false},
		{"address", FIELD_STRING, read_address, 0, false},
		{"domain", FIELD_STRING, read_domain, 0, false},
		{"for", FIELD_STRING, read_for, 0, false},
	};
	if (!fields_read(document, fields, ELEMENTSOF(fields), "", reading, problems, NULL))
		return false;
	if (reading->given == 1)
		return true;
	problems_error(problems, "", NULL, "must name one of: unit, slice, user, program, address, domain");
	return false;
}

/* ---- who may ---- */

static bool may_add(struct manager *manager, struct operation_call *call, enum bypass_type type)
{
	if (call->caller.scope >= SCOPE_ADMIN)
		return true;
	if (type == BYPASS_PROGRAM && manager->settings->bypass.self_service)
		return true;
	call_fail(call, OUTCOME_FORBIDDEN, "to grant takes the scope admin; %s has %s%s", call->caller.name, scope_to_string(call->caller.scope),
		type == BYPASS_PROGRAM ? ", which may grant its own programs where the settings say bypass.selfService" : "");
	return false;
}

static enum outcome outcome_of(int error)
{
	switch (error) {
	case -ENOENT:
		return OUTCOME_NOT_FOUND;
	case -EINVAL:
		return OUTCOME_INVALID_DOCUMENT;
	case -EEXIST:
	case -EPERM:
	case -ESRCH:
		return OUTCOME_WRONG_STATE;
	case -EUSERS:
		return OUTCOME_TOO_MANY_REQUESTS;
	case -EOPNOTSUPP:
		return OUTCOME_UNAVAILABLE;
	case -EIO:
		return OUTCOME_GATE_FAILURE;
	default:
		return OUTCOME_INTERNAL_ERROR;
	}
}

static void add(struct manager *manager, struct operation_call *call, const struct bypass_request *request)
{
	if (!may_add(manager, call, request->type))
		return;
	_cleanup_free_ char *words = NULL;
	const char *id = NULL;
	bool changed = false;
	int r = (call->dry_run ? grants_judge : grants_add)(manager, request, &id, &changed, &words);
	if (r < 0) {
		call_fail(call, outcome_of(r), "%s; nothing was changed", words ? words : strerror(-r));
		return;
	}
	if (id)
		call->location = text_format("/bypass/%s", id);
	call_result(call, "changed", json_object_new_boolean(changed));
	call_result(call, "id", json_text_or_null(id));
	call_finish(call, changed && !call->dry_run ? OUTCOME_CREATED : OUTCOME_OK);
}

/* ---- a program's scope ---- */

/* A call while systemd moves who made it into a scope. */
struct entering {
	struct manager *manager;
	struct operation_call *call;
	struct bypass_request request;
	char *name, *scope_id; /* of the request; owned */
	struct scope_request *scope;
};

static struct entering *entering_free(struct entering *entering)
{
	scope_request_free(entering->scope);
	free(entering->name);
	free(entering->scope_id);
	free(entering);
	return NULL;
}
DEFINE_CLEANUP(struct entering *, entering_free)

static void on_scope(enum scope_outcome outcome, const char *words, void *userdata)
{
	_cleanup_(entering_freep) struct entering *entering = userdata;
	struct operation_call *call = entering->call;
	call->pending = NULL;
	if (outcome == SCOPE_FAILED) {
		call_fail(call, OUTCOME_UNAVAILABLE, "%s; nothing was granted", words);
		return;
	}
	if (outcome == SCOPE_REFUSED) {
		log_warning("no scope for %s: %s; it gets a cgroup beneath the daemon's", call->caller.name, words);
		entering->request.scope_id = NULL;
	}
	status_forget(entering->manager);
	add(entering->manager, call, &entering->request);
}

/* False: there is no systemd to ask. Takes NAME where there is. */
static bool enter_scope(struct manager *manager, struct operation_call *call, const struct bypass_request *request, char *name)
{
	sd_bus *bus = scope_possible() ? system_bus_get(manager->surroundings.bus) : NULL;
	if (!bus)
		return false;
	struct entering *entering = xcalloc(1, sizeof *entering);
	*entering = (struct entering){.manager = manager, .call = call, .request = *request, .scope_id = grants_next_id(manager)};
	entering->request.scope_id = entering->scope_id;
	_cleanup_free_ char *scope = grant_scope_name(entering->scope_id);
	int r = scope_request_new(&entering->scope, bus, scope, "A program that Holdfast lets past the tunnel", request->pid, on_scope, entering);
	if (r < 0) {
		log_warning("systemd cannot be asked for a scope: %s", strerror(-r));
		entering_free(entering);
		return false;
	}
	entering->name = name;
	call->pending = entering;
	return true;
}

void cancel_add_bypass(struct operation_call *call)
{
	if (call->pending)
		call->pending = entering_free(call->pending);
}

void handle_add_bypass(struct manager *manager, struct operation_call *call)
{
	struct reading reading = {.request = {.duration_usec = USEC_INFINITY}};
	if (!read_request(call->document, &reading, &call->problems)) {
		free(reading.name);
		call_fail_document(call, "the grant");
		return;
	}
	_cleanup_free_ char *name = reading.name;
	struct bypass_request *request = &reading.request;
	request->name = name;
	request->by = call->caller.name;
	request->pid = call->caller.pid;
	request->pidfd = call->caller.pidfd;
	if (!may_add(manager, call, request->type))
		return;
	if (request->type == BYPASS_PROGRAM && (request->pidfd <= 0 || request->pid <= 0)) { /* no number: it is of another PID namespace */
		call_fail(call, OUTCOME_BAD_REQUEST, "which program asks is known on the Unix socket and over D-Bus alone, and for as long as it runs; use holdfastctl exec");
		return;
	}
	if (request->type == BYPASS_PROGRAM && !call->dry_run && enter_scope(manager, call, request, name))
		name = NULL;
	else
		add(manager, call, request);
}

void handle_remove_bypass(struct manager *manager, struct operation_call *call)
{
	_cleanup_free_ char *words = NULL;
	int r = (call->dry_run ? grants_may_remove : grants_remove)(manager, call_text(call, "id"), &words);
	if (r < 0) {
		call_fail(call, outcome_of(r), "%s", words);
		return;
	}
	call_answer_changed(call, true);
}
