/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/confirm.h"

#include <errno.h>
#include <string.h>

#include "daemon/manager.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define FILE_NAME "unconfirmed.json"
#define FORMAT_VERSION 1
#define ROLLED_BACK_BY "nobody: confirmWithin ran out"

/* What the file says. */
struct trial {
	int version;
	char *boot_id;
	uint64_t deadline_usec; /* CLOCK_BOOTTIME, of that boot */
	struct kill_switch *former;
};

static void trial_done(struct trial *trial)
{
	free(trial->boot_id);
	kill_switch_free(trial->former);
}
#define _cleanup_trial_ _cleanup_(trial_done)

/* ---- the file ---- */

static void read_version(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (json_object_get_int(value) != FORMAT_VERSION)
		problems_error(problems, pointer, value, "is a version that is not known");
}

static void read_deadline(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	*(uint64_t *)ret = json_object_get_uint64(value);
}

static void read_former(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (kill_switch_parse(value, ret, problems) < 0)
		*(struct kill_switch **)ret = NULL;
}

/* 0, -ENOENT, or another error: it cannot be used. */
static int trial_read(const char *state_dir, struct trial *ret)
{
	static const struct field fields[] = {
		{"version", FIELD_INTEGER, read_version, offsetof(struct trial, version), true},
		{"bootId", FIELD_STRING, field_text, offsetof(struct trial, boot_id), true},
		{"deadline", FIELD_INTEGER, read_deadline, offsetof(struct trial, deadline_usec), true},
		{"settings", FIELD_OBJECT, read_former, offsetof(struct trial, former), true},
	};
	_cleanup_free_ char *path = document_path(state_dir, FILE_NAME), *text = NULL;
	_cleanup_json_ json_object *document = NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	size_t length;
	int r = file_read(path, &text, &length);
	if (r == 0)
		r = json_parse_strict(text, length, &document, &problems);
	if (r == 0 && (!fields_read(document, fields, ELEMENTSOF(fields), "", ret, &problems, NULL) || !ret->former))
		r = -EINVAL;
	return r;
}

static int trial_write(struct manager *manager)
{
	_cleanup_json_ json_object *document = json_object_new_object();
	json_object_object_add(document, "version", json_object_new_int(FORMAT_VERSION));
	json_object_object_add(document, "bootId", json_object_new_string(manager->boot_id));
	json_object_object_add(document, "deadline", json_object_new_uint64(manager->trial.deadline_usec));
	json_object_object_add(document, "settings", json_object_get(manager->trial.former));
	return documents_store(manager, FILE_NAME, document);
}

/* ---- going back ---- */

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata);

static void arm(struct manager *manager, uint64_t at)
{
	manager_arm_timer(manager, &manager->trial.timer, at, on_deadline);
}

/* Takes FORMER. Settings that an administrator's file has taken over meanwhile are not on trial any more. */
static void go_back(struct manager *manager, struct kill_switch *former)
{
	if (manager->settings_document.managed) {
		kill_switch_free(former);
		confirm_settle(manager);
		return;
	}
	_cleanup_json_ json_object *document = kill_switch_to_json(former);
	int r = documents_store(manager, "kill-switch.json", document);
	log_warning("the settings of the gate were not confirmed in time: the former ones come back (mode %s)", gate_mode_to_string(former->mode));
	manager_set_kill_switch(manager, former, false, ROLLED_BACK_BY);
	if (r == 0) {
		confirm_settle(manager);
		manager->trial.rolled_back = true;
	} else {
		log_error("%s/kill-switch.json cannot be written: %s; it is tried again", manager->options.state_dir, strerror(-r));
		arm(manager, manager_now() + GATE_RETRY_USEC);
	}
	json_object *event = events_new(manager, "documentChanged", LIFECYCLE_NONE);
	json_object_object_add(event, "document", json_object_new_string("kill-switch"));
	json_object_object_add(event, "by", json_object_new_string(ROLLED_BACK_BY));
	events_emit(manager, event);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	struct kill_switch *former = NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	if (manager->trial.former && kill_switch_parse(manager->trial.former, &former, &problems) == 0)
		go_back(manager, former);
	return 0;
}

/* ---- the public calls ---- */

int confirm_begin(struct manager *manager, json_object *former, uint64_t within_usec)
{
	uint64_t before = manager->trial.deadline_usec;
	bool fresh = manager->trial.former == NULL;
	if (fresh)
		manager->trial.former = json_object_get(former);
	manager->trial.deadline_usec = manager_now() + within_usec;
	int r = trial_write(manager);
	if (r == 0) {
		manager->trial.rolled_back = false;
		arm(manager, manager->trial.deadline_usec);
		return 0;
	}
	manager->trial.deadline_usec = before;
	if (fresh)
		confirm_done(manager);
	return r;
}

int confirm_tighten(struct manager *manager, enum gate_mode mode)
{
	enum gate_mode before;
	if (gate_mode_from_string(json_object_get_string(json_object_object_get(manager->trial.former, "mode")), &before) < 0 || mode <= before)
		return 0;
	json_object_object_add(manager->trial.former, "mode", json_object_new_string(gate_mode_to_string(mode)));
	int r = trial_write(manager);
	if (r < 0)
		json_object_object_add(manager->trial.former, "mode", json_object_new_string(gate_mode_to_string(before)));
	return r;
}

bool confirm_settle(struct manager *manager)
{
	if (!manager->trial.former)
		return false;
	int r = documents_remove(manager, FILE_NAME);
	if (r < 0)
		log_error("%s/" FILE_NAME " cannot be removed: %s; the next start would go back to the former settings", manager->options.state_dir,
			strerror(-r));
	arm(manager, USEC_INFINITY);
	confirm_done(manager);
	return true;
}

uint64_t confirm_deadline(const struct manager *manager)
{
	return manager->trial.former ? manager->trial.deadline_usec : 0;
}

void confirm_load(struct manager *manager)
{
	_cleanup_trial_ struct trial trial = {};
	int r = trial_read(manager->options.state_dir, &trial);
	if (r == -ENOENT)
		return;
	if (r < 0) {
		manager_hold(manager, "unconfirmed.json cannot be read, so which settings hold is not known; set a mode to say what holds");
		if (store_save(manager) == 0) /* the hold is on record: the file has said what it can */
			(void)documents_remove(manager, FILE_NAME);
		return;
	}
	manager->trial.former = kill_switch_to_json(trial.former);
	manager->trial.deadline_usec = trial.deadline_usec;
	bool same_boot = manager->boot_id[0] && strcmp(trial.boot_id, manager->boot_id) == 0;
	if (same_boot && trial.deadline_usec > manager_now())
		arm(manager, trial.deadline_usec);
	else
		go_back(manager, STEAL(trial.former));
}

void confirm_done(struct manager *manager)
{
	json_object_put(manager->trial.former);
	manager->trial.former = NULL;
	manager->trial.deadline_usec = 0;
}

enum gate_mode confirm_strictest(const char *state_dir, enum gate_mode mode)
{
	_cleanup_trial_ struct trial trial = {};
	int r = trial_read(state_dir, &trial);
	if (r == -ENOENT)
		return mode;
	return r < 0 ? GATE_MODE_ALWAYS : MAX_OF(mode, trial.former->mode);
}
