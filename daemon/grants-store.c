/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Grants as JSON: the record in the runtime directory, and what is shown. */

#include <errno.h>
#include <string.h>

#include "daemon/manager.h"
#include "network/socket-mark.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

/* ---- the file ---- */

static json_object *to_stored(const struct grant *grant)
{
	json_object *object = json_object_new_object();
	json_object_object_add(object, "id", json_object_new_string(grant->id));
	json_object_object_add(object, "type", json_object_new_string(bypass_type_to_string(grant->type)));
	json_object_object_add(object, "name", json_object_new_string(grant->name));
	json_object_object_add(object, "listed", json_object_new_boolean(grant->listed));
	json_object_object_add(object, "mark", json_object_new_int64(grant->mark));
	json_object_object_add(object, "since", json_object_new_uint64(grant->since_realtime));
	json_object_object_add(object, "until", grant->until_usec == USEC_INFINITY ? NULL : json_object_new_uint64(grant->until_usec));
	json_object_object_add(object, "by", json_text_or_null(grant->by));
	return object;
}

static json_object *spent_to_stored(const struct grants *grants)
{
	json_object *array = json_object_new_array();
	for (size_t i = 0; i < grants->spent_count; i++) {
		json_object *object = json_object_new_object();
		json_object_object_add(object, "mark", json_object_new_int64(grants->spent[i].mark));
		json_object_object_add(object, "type", json_object_new_string(bypass_type_to_string(grants->spent[i].type)));
		json_object_object_add(object, "name", json_object_new_string(grants->spent[i].name));
		json_object_array_add(array, object);
	}
	return array;
}

int grants_save(struct manager *manager)
{
	_cleanup_free_ char *path = document_path(manager->options.runtime_dir, "bypass.json");
	_cleanup_json_ json_object *object = json_object_new_object();
	json_object *items = json_object_new_array();
	json_object_object_add(object, "bootId", json_object_new_string(manager->boot_id));
	json_object_object_add(object, "nextMark", json_object_new_uint64(manager->grants.next_mark));
	json_object_object_add(object, "nextId", json_object_new_uint64(manager->grants.next_id));
	for (size_t i = 0; i < manager->grants.count; i++)
		json_object_array_add(items, to_stored(&manager->grants.items[i]));
	json_object_object_add(object, "grants", items);
	json_object_object_add(object, "spentMarks", spent_to_stored(&manager->grants));
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	return file_write_atomic(path, text, strlen(text), 0600);
}

/* Without a record the next daemon takes back everything, and gives no mark; with one from before it would grant what has been taken back. */
void grants_save_or_forget(struct manager *manager)
{
	int r = grants_save(manager);
	if (r == 0)
		return;
	_cleanup_free_ char *path = document_path(manager->options.runtime_dir, "bypass.json");
	bool gone = unlink(path) == 0 || errno == ENOENT;
	log_error("%s: cannot be written: %s; a restart of the daemon %s", path, strerror(-r),
		gone ? "takes back everything that is granted at run time, and grants no process before the next boot" : "grants again what was taken back now");
}

static const char *text_of(json_object *object, const char *key)
{
	json_object *value = json_object_object_get(object, key);
	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

static uint64_t number_of(json_object *object, const char *key)
{
	json_object *value = json_object_object_get(object, key);
	return json_object_is_type(value, json_type_int) ? json_object_get_uint64(value) : 0;
}

static void load_one(struct manager *manager, json_object *object)
{
	struct grant grant = {.cgroup_fd = -1, .guard_fd = -1, .until_usec = USEC_INFINITY, .since_realtime = number_of(object, "since")};
	grant.listed = json_object_get_boolean(json_object_object_get(object, "listed"));
	grant.mark = (uint32_t)number_of(object, "mark");
	if (json_object_object_get(object, "until"))
		grant.until_usec = number_of(object, "until");
	if (bypass_type_from_string(text_of(object, "type"), &grant.type) < 0 || !text_of(object, "id")[0] || !text_of(object, "name")[0] ||
		grant.until_usec <= manager_now() || (grant_is_process(&grant) && !grants_mark_good(manager, grant.mark)) ||
		(grant.type == BYPASS_ADDRESS && ip_prefix_parse(text_of(object, "name"), &grant.network) < 0)) {
		if (grant.mark) /* it ended while no daemon ran; its sockets may live */
			grants_spend_mark(&manager->grants, grant.mark, grant.type, text_of(object, "name"));
		return;
	}
	grant.id = text_dup(text_of(object, "id"));
	grant.name = text_dup(text_of(object, "name"));
	grant.by = text_dup(json_object_get_string(json_object_object_get(object, "by")));
	if (grant.type == BYPASS_PROGRAM)
		(void)socket_mark_guard_open(grant.id, &grant.guard_fd);
	grants_append(&manager->grants, grant);
}

static void load_spent(struct grants *grants, json_object *array)
{
	for (size_t i = 0; json_object_is_type(array, json_type_array) && i < json_object_array_length(array); i++) {
		json_object *object = json_object_array_get_idx(array, i);
		enum bypass_type type = BYPASS_PROGRAM;
		(void)bypass_type_from_string(text_of(object, "type"), &type);
		grants_spend_mark(grants, (uint32_t)number_of(object, "mark"), type, text_of(object, "name"));
	}
}

/* False: there is nothing of this boot, or nothing that can be used. */
bool grants_load(struct manager *manager)
{
	_cleanup_free_ char *path = document_path(manager->options.runtime_dir, "bypass.json"), *text = NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *object = NULL;
	size_t length;
	int r = file_read(path, &text, &length);
	if (r == -ENOENT)
		return false;
	if (r < 0 || json_parse_strict(text, length, &object, &problems) < 0 || !json_object_is_type(object, json_type_object)) {
		log_error("%s: cannot be read; what was granted at run time is taken back", path);
		return false;
	}
	if (strcmp(text_of(object, "bootId"), manager->boot_id) != 0)
		return false;
	json_object *items = json_object_object_get(object, "grants");
	manager->grants.next_mark = (uint32_t)number_of(object, "nextMark");
	manager->grants.next_id = number_of(object, "nextId");
	load_spent(&manager->grants, json_object_object_get(object, "spentMarks"));
	for (size_t i = 0; json_object_is_type(items, json_type_array) && i < json_object_array_length(items); i++)
		load_one(manager, json_object_array_get_idx(items, i));
	return true;
}

/* ---- showing ---- */

static bool in_effect(const struct grant *grant)
{
	return grant->type == BYPASS_ADDRESS || grant->in_effect;
}

static json_object *to_json(const struct grant *grant)
{
	json_object *object = json_object_new_object();
	json_object_object_add(object, "id", json_object_new_string(grant->id));
	json_object_object_add(object, "type", json_object_new_string(bypass_type_to_string(grant->type)));
	json_object_object_add(object, "name", json_object_new_string(grant->name));
	json_object_object_add(object, "source", json_object_new_string(grant->listed ? "settings" : "runtime"));
	json_object_object_add(object, "since", json_time(grant->since_realtime));
	json_object_object_add(object, "until", json_boottime(grant->until_usec));
	json_object_object_add(object, "by", json_text_or_null(grant->by));
	json_object_object_add(object, "inEffect", json_object_new_boolean(in_effect(grant)));
	json_object_object_add(object, "detail", json_text_or_null(grant->detail));
	return object;
}

/* A network of the settings, or what stands for the rest of them. */
static json_object *listed_to_json(const struct manager *manager, const char *name, const char *id, const char *detail)
{
	struct grant grant = {.type = BYPASS_ADDRESS, .listed = true, .until_usec = USEC_INFINITY, .since_realtime = manager->grants.listed_since};
	grant.id = (char *)id;
	grant.name = (char *)name;
	grant.detail = (char *)detail;
	return to_json(&grant);
}

json_object *grants_to_json(struct manager *manager, size_t listed)
{
	json_object *array = json_object_new_array();
	size_t count = manager->settings->bypass.address_count;
	for (size_t i = 0; i < manager->grants.count; i++)
		json_object_array_add(array, to_json(&manager->grants.items[i]));
	for (size_t i = 0; i < MIN_OF(count, listed); i++) {
		char name[IP_TEXT_MAX];
		ip_prefix_format(name, &manager->settings->bypass.addresses[i]);
		_cleanup_free_ char *id = text_format("%s:%s", bypass_type_to_string(BYPASS_ADDRESS), name);
		json_object_array_add(array, listed_to_json(manager, name, id, NULL));
	}
	json_object *check = check_to_json(manager);
	if (check)
		json_object_array_add(array, check);
	if (count > listed) {
		_cleanup_free_ char *name = text_format("%zu more", count - listed);
		json_object_array_add(array, listed_to_json(manager, name, "addresses", "the settings have them all: bypass.addresses"));
	}
	return array;
}
