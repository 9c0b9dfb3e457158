/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Operations on tunnels: their documents, and up, down, restart. */

#include <errno.h>
#include <string.h>

#include "daemon/operations-internal.h"
#include "tunnel/driver.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/text.h"

size_t call_find_tunnel(struct manager *manager, struct operation_call *call)
{
	const char *id = call_text(call, "id");
	if (!tunnel_id_valid(id)) {
		call_fail(call, OUTCOME_INVALID_TUNNEL_ID, "\"%.40s\" is no tunnel id: %s", id, TUNNEL_ID_RULE);
		return LIFECYCLE_NONE;
	}
	size_t index = lifecycle_find(&manager->core, id);
	if (index == LIFECYCLE_NONE)
		call_fail(call, OUTCOME_TUNNEL_NOT_FOUND, "there is no tunnel \"%s\"; GET /v1/tunnels (holdfastctl tunnel list) shows those there are", id);
	return index;
}

void handle_list_tunnels(struct manager *manager, struct operation_call *call)
{
	json_object *tunnels = json_object_new_array();
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config)
			json_object_array_add(tunnels, tunnel_config_to_json(manager->tunnels[i].config));
	call_result(call, "tunnels", tunnels);
	call_finish(call, OUTCOME_OK);
}

void handle_get_tunnel(struct manager *manager, struct operation_call *call)
{
	size_t index = call_find_tunnel(manager, call);
	if (index == LIFECYCLE_NONE)
		return;
	call->result = tunnel_config_to_json(manager->tunnels[index].config);
	call->etag = text_dup(manager->tunnels[index].document.etag);
	call_finish(call, OUTCOME_OK);
}

static char *file_name(const char *id)
{
	return text_format("tunnels/%s.json", id);
}

static bool at_rest(struct manager *manager, struct operation_call *call, size_t index)
{
	if (!lifecycle_tunnel_active(&manager->core.tunnels[index]))
		return true;
	call_fail(call, OUTCOME_TUNNEL_ACTIVE, "%s is %s; stop it first (holdfastctl down %s)", manager->core.tunnels[index].id,
		tunnel_state_to_string(manager->core.tunnels[index].state), manager->core.tunnels[index].id);
	return false;
}

/* An administrator over the network is not root: what runs a program of its own is written by root, in a file. */
static bool may_come_by_call(struct manager *manager, struct operation_call *call, const struct tunnel_config *config)
{
	if (!config->driver->runs_anything)
		return true;
	call_fail(call, OUTCOME_FORBIDDEN, "a tunnel of the driver %s runs a program and is taken from root's own files alone: write %s/tunnels/%s.json and send SIGHUP (systemctl reload holdfast)",
		config->driver->name, manager->options.config_dir, config->id);
	return false;
}

/* Stores CONFIG and puts it in its place. Takes CONFIG. */
static bool keep(struct manager *manager, struct operation_call *call, struct tunnel_config *config, size_t *ret_index)
{
	_cleanup_free_ char *name = file_name(config->id);
	int r = documents_store(manager, name, config->document);
	if (r < 0) {
		tunnel_config_free(config);
		call_fail(call, OUTCOME_INTERNAL_ERROR, "%s/%s cannot be written: %s; nothing was changed", manager->options.state_dir, name, strerror(-r));
		return false;
	}
	(void)manager_add_tunnel(manager, config, false, ret_index); /* there is room, or it has its place */
	store_save_later(manager);
	return true;
}

static void announce(struct manager *manager, const char *kind, size_t index, const char *by)
{
	json_object *event = events_new(manager, kind, index);
	json_object_object_add(event, "by", json_text_or_null(by));
	events_emit(manager, event);
}

static char *etag_of(const struct tunnel_config *config)
{
	_cleanup_json_ json_object *shown = tunnel_config_to_json(config);
	return document_etag(shown);
}

static void create(struct manager *manager, struct operation_call *call, json_object *document)
{
	struct tunnel_config *config = NULL;
	size_t index;
	if (tunnel_config_parse(document, NULL, &config, &call->problems) < 0) {
		call_fail_document(call, "the tunnel");
		return;
	}
	if (!may_come_by_call(manager, call, config)) {
		tunnel_config_free(config);
		return;
	}
	if (lifecycle_find(&manager->core, config->id) != LIFECYCLE_NONE) {
		call_fail(call, OUTCOME_TUNNEL_EXISTS, "a tunnel \"%s\" exists; replace it with PUT /v1/tunnels/%s, or choose another id", config->id, config->id);
		tunnel_config_free(config);
		return;
	}
	if (manager_full(manager)) {
		call_fail(call, OUTCOME_TOO_MANY_REQUESTS, "%d tunnels are kept already; delete one first", LIFECYCLE_TUNNELS_MAX);
		tunnel_config_free(config);
		return;
	}
	call->etag = etag_of(config);
	call->location = text_format("/tunnels/%s", config->id);
	call_result(call, "id", json_object_new_string(config->id));
	call_result(call, "changed", json_object_new_boolean(true));
	call_result(call, "warnings", problems_to_json(&call->problems, true));
	if (call->dry_run) {
		tunnel_config_free(config);
	} else {
		if (!keep(manager, call, config, &index))
			return;
		announce(manager, "tunnelCreated", index, call->caller.name);
	}
	call_finish(call, call->dry_run ? OUTCOME_OK : OUTCOME_CREATED);
}

void handle_create_tunnel(struct manager *manager, struct operation_call *call)
{
	create(manager, call, call->document);
}

void handle_import_tunnel(struct manager *manager, struct operation_call *call)
{
	_cleanup_json_ json_object *document = NULL;
	const char *id = call_text(call, "id");
	if (!tunnel_id_valid(id)) {
		call_fail(call, OUTCOME_INVALID_TUNNEL_ID, "\"%.40s\" is no tunnel id: %s", id, TUNNEL_ID_RULE);
		return;
	}
	if (tunnel_import(call->text, call->text_length, id, &document, &call->problems) < 0) {
		call_fail_document(call, "the file");
		return;
	}
	create(manager, call, document);
}

void handle_replace_tunnel(struct manager *manager, struct operation_call *call)
{
	struct tunnel_config *config = NULL;
	size_t index = call_find_tunnel(manager, call);
	if (index == LIFECYCLE_NONE)
		return;
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	_cleanup_free_ char *name = file_name(runtime->config->id);
	if (!call_unmanaged(call, &runtime->document, manager->options.config_dir, name) || !call_matches(call, runtime->document.etag))
		return;
	if (tunnel_config_parse(call->document, runtime->config, &config, &call->problems) < 0) {
		call_fail_document(call, "the tunnel");
		return;
	}
	if (strcmp(config->id, runtime->config->id) != 0) {
		problems_error(&call->problems, "/id", json_object_object_get(call->document, "id"), "must be \"%s\" as in the path", runtime->config->id);
		tunnel_config_free(config);
		call_fail_document(call, "the tunnel");
		return;
	}
	if (!may_come_by_call(manager, call, config)) {
		tunnel_config_free(config);
		return;
	}
	bool changed = !json_object_equal(config->document, runtime->config->document);
	if (changed && !at_rest(manager, call, index)) {
		tunnel_config_free(config);
		return;
	}
	call->etag = etag_of(config);
	if (call->dry_run || !changed)
		tunnel_config_free(config);
	else if (!keep(manager, call, config, &index))
		return;
	call_result(call, "warnings", problems_to_json(&call->problems, true));
	call_answer_changed(call, changed);
}

void handle_delete_tunnel(struct manager *manager, struct operation_call *call)
{
	size_t index = call_find_tunnel(manager, call);
	if (index == LIFECYCLE_NONE)
		return;
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	_cleanup_free_ char *name = file_name(runtime->config->id);
	if (!call_unmanaged(call, &runtime->document, manager->options.config_dir, name) || !call_matches(call, runtime->document.etag) ||
		!at_rest(manager, call, index))
		return;
	if (!call->dry_run) {
		int r = documents_remove(manager, name);
		if (r < 0) {
			call_fail(call, OUTCOME_INTERNAL_ERROR, "%s/%s cannot be removed: %s", manager->options.state_dir, name, strerror(-r));
			return;
		}
		announce(manager, "tunnelDeleted", index, call->caller.name);
		manager_remove_tunnel(manager, index);
		(void)store_save(manager);
	}
	call_answer_changed(call, true);
}

/* ---- up, down, restart ---- */

static bool read_wait(struct operation_call *call, uint64_t *ret)
{
	const char *wait = call_text(call, "wait");
	*ret = 0;
	if (!wait || !wait[0])
		return true;
	if (duration_parse(wait, ret) == 0 && *ret <= WAIT_MAX_USEC)
		return true;
	problems_error(&call->problems, "/wait", json_object_object_get(call->arguments, "wait"), "must be a duration of at most 5m");
	call_fail(call, OUTCOME_BAD_REQUEST, "the parameter wait is no duration that can be waited for");
	return false;
}

/* A dry run: the lifecycle decides and does nothing, so a copy of it says what would be. */
struct supposed {
	struct lifecycle core;
	struct turn turn;
};

static void nothing_before(const struct lifecycle_event *event, void *userdata)
{
}

static enum tunnel_error carry_out_nothing(const struct effect *effect, void *userdata)
{
	struct supposed *supposed = userdata;
	if (effect->type == EFFECT_STARTED)
		(void)turn_post(&supposed->turn, &(struct lifecycle_event){.type = LIFECYCLE_STARTED, .tunnel = effect->tunnel, .now_usec = manager_now()});
	return TUNNEL_ERROR_NONE;
}

static uint64_t now(void *userdata)
{
	return manager_now();
}

static void answer_supposed(struct manager *manager, struct operation_call *call, enum lifecycle_event_type type, size_t index)
{
	static const struct turn_hooks hooks = {.before = nothing_before, .carry_out = carry_out_nothing, .now = now};
	_cleanup_free_ struct supposed *supposed = xcalloc(1, sizeof *supposed);
	struct lifecycle_event event = {.type = type, .tunnel = index, .now_usec = manager_now()};
	supposed->core = manager->core;
	bool changed = turn_run(&supposed->turn, &supposed->core, &event, &hooks, supposed);
	call_result(call, "state", json_object_new_string(tunnel_state_to_string(supposed->core.tunnels[index].state)));
	call_answer_changed(call, changed);
}

static void request(struct manager *manager, struct operation_call *call, enum lifecycle_event_type type)
{
	uint64_t wait;
	size_t index = call_find_tunnel(manager, call);
	if (index == LIFECYCLE_NONE || !read_wait(call, &wait))
		return;
	if (manager->exiting || manager->core.stopping) {
		call_fail(call, OUTCOME_UNAVAILABLE, "holdfastd is being stopped");
		return;
	}
	if (manager->released_marker && type != LIFECYCLE_USER_STOP) {
		call_fail(call, OUTCOME_WRONG_STATE, "the way out was taken and nothing is held; set a mode first (holdfastctl mode %s)",
			gate_mode_to_string(manager->settings->mode));
		return;
	}
	if (call->dry_run) {
		answer_supposed(manager, call, type, index);
		return;
	}
	bool changed = manager_run_tunnel(manager, type, index);
	const struct lifecycle_tunnel *tunnel = &manager->core.tunnels[index];
	if (type != LIFECYCLE_USER_STOP && tunnel->state == TUNNEL_DISCONNECTED && tunnel->reason == TUNNEL_ERROR_FIREWALL_FAILURE) {
		call_fail(call, OUTCOME_GATE_FAILURE, "%s was not started: the gate could not be verified closed: %s", tunnel->id,
			manager->report.failure ? manager->report.failure : "unknown");
		return;
	}
	call_result(call, "changed", json_object_new_boolean(changed));
	call_answer_when_settled(manager, call, index, wait);
}

void handle_start_tunnel(struct manager *manager, struct operation_call *call)
{
	request(manager, call, LIFECYCLE_USER_START);
}

void handle_stop_tunnel(struct manager *manager, struct operation_call *call)
{
	request(manager, call, LIFECYCLE_USER_STOP);
}

void handle_restart_tunnel(struct manager *manager, struct operation_call *call)
{
	request(manager, call, LIFECYCLE_USER_RESTART);
}
