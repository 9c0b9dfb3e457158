/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Operations on the gate and on what it tells: status, kill switch, mode, release. */

#include <errno.h>
#include <string.h>

#include "daemon/operations-internal.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/text.h"

#define KILL_SWITCH_FILE "kill-switch.json"

void handle_get_status(struct manager *manager, struct operation_call *call)
{
	call->result = json_object_get(status_kept(manager, &call->rendered));
	call_finish(call, OUTCOME_OK);
}

void handle_get_kill_switch(struct manager *manager, struct operation_call *call)
{
	call->result = kill_switch_to_json(manager->settings);
	call->etag = text_dup(manager->settings_document.etag);
	call_finish(call, OUTCOME_OK);
}

static void announce_document(struct manager *manager, const char *document, const char *by)
{
	json_object *event = events_new(manager, "documentChanged", LIFECYCLE_NONE);
	json_object_object_add(event, "document", json_object_new_string(document));
	json_object_object_add(event, "by", json_text_or_null(by));
	events_emit(manager, event);
}

/* Leaving the way out, and any release, behind: whoever sets the mode wants it to hold. A hold goes on until the mode is in force. */
static int take_charge_again(struct manager *manager)
{
	if (manager->demand.gate.exists)
		(void)effects_release(manager, 0, NULL, NULL); /* an earlier daemon's too */
	if (!manager->released_marker)
		return 0;
	int r = store_marker_remove(manager->options.state_dir);
	if (r == 0)
		manager->released_marker = false;
	return r;
}

/* *ret_usec: 0 where the call says nothing. False: it has been answered. */
static bool read_confirm_within(struct manager *manager, struct operation_call *call, uint64_t *ret_usec)
{
	const char *wanted = call_text(call, "confirmWithin");
	*ret_usec = 0;
	if (!wanted)
		return true;
	if (duration_parse(wanted, ret_usec) < 0 || *ret_usec < CONFIRM_MIN_USEC || *ret_usec > CONFIRM_MAX_USEC) {
		problems_error(&call->problems, "/confirmWithin", json_object_object_get(call->arguments, "confirmWithin"),
			"must be a duration from 1s to 1h");
		call_fail(call, OUTCOME_BAD_REQUEST, "settings are on trial for at most an hour");
		return false;
	}
	if (call->caller.scope < SCOPE_ADMIN) {
		call_fail(call, OUTCOME_FORBIDDEN, "confirmWithin takes the scope admin, as confirming does");
		return false;
	}
	if (manager->core.hold) {
		call_fail(call, OUTCOME_WRONG_STATE, "the gate is held (%s), and there is nothing to go back to; leave confirmWithin out", manager->held_for);
		return false;
	}
	return true;
}

/*
 * Puts SETTINGS in force. They are stored first: what the kernel then holds is what a restart would make of the file. If the kernel
 * refuses, the former settings come back, in both places. Who may tighten and not confirm does not end a trial by that.
 */
static bool apply_settings(struct manager *manager, struct operation_call *call, struct kill_switch *settings, uint64_t confirm_within_usec)
{
	_cleanup_json_ json_object *before = kill_switch_to_json(manager->settings), *after = kill_switch_to_json(settings);
	bool on_trial = confirm_deadline(manager) > 0, settles = !confirm_within_usec && call->caller.scope >= SCOPE_ADMIN;
	int r = confirm_within_usec    ? confirm_begin(manager, before, confirm_within_usec)
		: on_trial && !settles ? confirm_tighten(manager, settings->mode)
				       : 0;
	if (r == 0)
		r = documents_store(manager, KILL_SWITCH_FILE, after);
	if (r < 0) {
		kill_switch_free(settings);
		if (!on_trial)
			confirm_settle(manager);
		call_fail(call, OUTCOME_INTERNAL_ERROR, "%s/%s cannot be written: %s; nothing was changed", manager->options.state_dir, KILL_SWITCH_FILE,
			strerror(-r));
		return false;
	}
	manager_set_kill_switch(manager, settings, false, call->caller.name);
	if (!manager->report.failure) {
		if (settles)
			confirm_settle(manager); /* an administrator who changes them again has not been cut off */
		return true;
	}
	_cleanup_free_ char *failure = text_dup(manager->report.failure);
	struct kill_switch *former = NULL;
	struct problems problems = PROBLEMS_NULL;
	if (kill_switch_parse(before, &former, &problems) == 0) {
		(void)documents_store(manager, KILL_SWITCH_FILE, before);
		manager_set_kill_switch(manager, former, false, call->caller.name);
	}
	problems_done(&problems);
	if (!on_trial)
		confirm_settle(manager);
	call_fail(call, OUTCOME_GATE_FAILURE, "%s; the former settings stand", failure);
	return false;
}

static void replace_with(struct manager *manager, struct operation_call *call, json_object *document)
{
	struct kill_switch *settings = NULL;
	uint64_t confirm_within;
	if (!read_confirm_within(manager, call, &confirm_within))
		return;
	if (kill_switch_parse(document, &settings, &call->problems) < 0) {
		call_fail_document(call, "the kill switch");
		return;
	}
	grants_check(settings, &call->problems);
	check_settings(manager, settings, &call->problems);
	if (call->problems.errors > 0) {
		kill_switch_free(settings);
		call_fail_document(call, "the kill switch");
		return;
	}
	_cleanup_json_ json_object *canonical = kill_switch_to_json(settings);
	_cleanup_free_ char *etag = document_etag(canonical);
	bool changed = strcmp(etag, manager->settings_document.etag) != 0;
	bool other_mark = settings->mark != manager->settings->mark || settings->mark_mask != manager->settings->mark_mask;
	if (other_mark && manager_any_active(manager)) {
		kill_switch_free(settings);
		call_fail(call, OUTCOME_TUNNEL_ACTIVE, "fwmark is in use by a tunnel's client; stop the tunnels before you change it");
		return;
	}
	if (call->dry_run || !changed)
		kill_switch_free(settings);
	else if (!apply_settings(manager, call, settings, confirm_within))
		return;
	else
		announce_document(manager, "kill-switch", call->caller.name);
	call->etag = text_dup(call->dry_run ? etag : manager->settings_document.etag);
	call_result(call, "warnings", problems_to_json(&call->problems, true));
	call_answer_changed(call, changed);
}

static bool may_write(struct manager *manager, struct operation_call *call)
{
	return call_unmanaged(call, &manager->settings_document, manager->options.config_dir, KILL_SWITCH_FILE) &&
	       call_matches(call, manager->settings_document.etag);
}

void handle_replace_kill_switch(struct manager *manager, struct operation_call *call)
{
	if (may_write(manager, call))
		replace_with(manager, call, call->document);
}

/* RFC 7396: null removes, objects merge, all else replaces. */
static json_object *merge(json_object *target, json_object *patch)
{
	if (!json_object_is_type(patch, json_type_object))
		return json_object_get(patch);
	json_object *merged = json_object_new_object();
	if (json_object_is_type(target, json_type_object)) {
		json_object_object_foreach (target, key, value)
			json_object_object_add(merged, key, json_object_get(value));
	}
	json_object_object_foreach (patch, name, change) {
		if (change)
			json_object_object_add(merged, name, merge(json_object_object_get(merged, name), change));
		else
			json_object_object_del(merged, name);
	}
	return merged;
}

void handle_update_kill_switch(struct manager *manager, struct operation_call *call)
{
	if (!may_write(manager, call))
		return;
	_cleanup_json_ json_object *now = kill_switch_to_json(manager->settings);
	_cleanup_json_ json_object *merged = merge(now, call->document);
	replace_with(manager, call, merged);
}

/* False: it has been answered. */
static bool may_set_mode(struct manager *manager, struct operation_call *call, enum gate_mode mode)
{
	enum gate_mode old = manager->settings->mode;
	if (manager->core.hold && mode != GATE_MODE_ALWAYS && call->caller.scope < SCOPE_ADMIN) {
		call_fail(call, OUTCOME_FORBIDDEN, "the gate is held (%s); to let go of it takes the scope admin", manager->held_for);
		return false;
	}
	if (mode < old && call->caller.scope < SCOPE_ADMIN) {
		call_fail(call, OUTCOME_FORBIDDEN, "to relax the mode from %s to %s takes the scope admin", gate_mode_to_string(old), gate_mode_to_string(mode));
		return false;
	}
	/* Naming the mode that stands is always allowed: it ends a release and leaves the way out behind. */
	return mode == old || call_unmanaged(call, &manager->settings_document, manager->options.config_dir, KILL_SWITCH_FILE);
}

/* False: it has been answered. */
static bool apply_mode(struct manager *manager, struct operation_call *call, enum gate_mode mode, uint64_t confirm_within_usec)
{
	struct kill_switch *settings = NULL;
	if (mode == manager->settings->mode) {
		if (effects_apply_gate(manager) == 0)
			return true;
		call_fail(call, OUTCOME_GATE_FAILURE, "%s", manager->report.failure);
		return false;
	}
	_cleanup_json_ json_object *document = kill_switch_to_json(manager->settings);
	json_object_object_add(document, "mode", json_object_new_string(gate_mode_to_string(mode)));
	if (kill_switch_parse(document, &settings, &call->problems) < 0) {
		call_fail_document(call, "the kill switch");
		return false;
	}
	return apply_settings(manager, call, settings, confirm_within_usec);
}

/* Holds again what the way out let go of: tunnels that waited behind it go on. */
static void resume(struct manager *manager)
{
	surroundings_on_network(network_monitor_state(manager->monitor), manager);
}

void handle_set_mode(struct manager *manager, struct operation_call *call)
{
	enum gate_mode mode;
	uint64_t confirm_within;
	if (gate_mode_from_string(call_text(call, "mode"), &mode) < 0) {
		problems_error(&call->problems, "/mode", json_object_object_get(call->arguments, "mode"), "must be off, auto or always");
		call_fail(call, OUTCOME_BAD_REQUEST, "there is no such mode");
		return;
	}
	if (!read_confirm_within(manager, call, &confirm_within) || !may_set_mode(manager, call, mode))
		return;
	if (!call->dry_run && !manager->released_marker && effects_way_out_taken(manager)) {
		call_fail(call, OUTCOME_WRONG_STATE, "the way out was taken meanwhile, and the gate is open; set the mode again to end that");
		return;
	}
	bool held_off = manager->released_marker || manager->report.released_until_usec > manager_now() || manager->core.hold;
	bool changed = mode != manager->settings->mode || held_off;
	if (call->dry_run) {
		call_answer_changed(call, changed);
		return;
	}
	int r = take_charge_again(manager);
	if (r < 0) {
		call_fail(call, OUTCOME_INTERNAL_ERROR, "%s/released cannot be removed: %s", manager->options.state_dir, strerror(-r));
		return;
	}
	bool applied = apply_mode(manager, call, mode, confirm_within);
	if (applied)
		manager_let_go(manager);
	if (held_off) /* a mode holds again, be it the former one */
		resume(manager);
	if (!applied)
		return;
	(void)store_save(manager);
	call_answer_changed(call, changed);
}

void handle_confirm_kill_switch(struct manager *manager, struct operation_call *call)
{
	if (!confirm_deadline(manager) && manager->trial.rolled_back) {
		call_fail(call, OUTCOME_WRONG_STATE, "it is too late: the former settings came back; change them again, with more time");
		return;
	}
	call_answer_changed(call, call->dry_run ? confirm_deadline(manager) > 0 : confirm_settle(manager));
}

void handle_release(struct manager *manager, struct operation_call *call)
{
	uint64_t duration = RELEASE_DEFAULT_USEC;
	const char *wanted = call_text(call, "for");
	if (wanted && (duration_parse(wanted, &duration) < 0 || duration < USEC_PER_SEC || duration > RELEASE_MAX_USEC)) {
		problems_error(&call->problems, "/for", json_object_object_get(call->arguments, "for"), "must be a duration from 1s to 1h");
		call_fail(call, OUTCOME_BAD_REQUEST, "the gate is released for at most an hour");
		return;
	}
	if (!call_text(call, "reason")[0]) {
		problems_error(&call->problems, "/reason", NULL, "must not be empty: it goes on record");
		call_fail(call, OUTCOME_BAD_REQUEST, "a release needs a reason");
		return;
	}
	if (!manager->demand.gate.exists || manager->released_marker) {
		call_fail(call, OUTCOME_WRONG_STATE, "the gate is open; there is nothing to release");
		return;
	}
	if (!call->dry_run && effects_release(manager, duration, call_text(call, "reason"), call->caller.name) < 0) {
		call_fail(call, OUTCOME_GATE_FAILURE, "the kernel refused the release: %s", gate_error(manager->gate));
		return;
	}
	call_result(call, "until", json_boottime(call->dry_run ? manager_now() + duration : manager->report.released_until_usec));
	call_answer_changed(call, true);
}
