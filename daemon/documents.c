/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The documents: kill-switch.json, policy.json and tunnels/ID.json, and holdfast.json, which stands in the configuration directory
 * alone. One of the others that stands there rules and is read-only to the daemon; else the one in the state directory counts. What
 * cannot be read never opens anything: an unreadable kill switch counts as mode `always` with the LAN blocked, an unreadable policy as
 * the built-in one, an unreadable holdfast.json as no port at all.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/manager.h"
#include "tunnel/driver.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define ETAG_BYTES 16

char *document_path(const char *folder, const char *name)
{
	return text_format("%s/%s", folder, name);
}

char *document_etag(json_object *document)
{
	return document_etag_of_text(json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN));
}

char *document_etag_of_text(const char *text)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned length = 0;
	_cleanup_text_ struct text etag = TEXT_NULL;
	if (EVP_Digest(text, strlen(text), digest, &length, EVP_sha256(), NULL) != 1)
		return text_dup("unknown"); /* no digest, no match: writes then need "*" */
	for (unsigned i = 0; i < ETAG_BYTES && i < length; i++)
		text_append(&etag, "%02x", digest[i]);
	return text_steal(&etag);
}

int documents_store(struct manager *manager, const char *name, json_object *document)
{
	_cleanup_free_ char *path = document_path(manager->options.state_dir, name);
	const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	return file_write_atomic(path, text, strlen(text), 0600);
}

int documents_remove(struct manager *manager, const char *name)
{
	_cleanup_free_ char *path = document_path(manager->options.state_dir, name);
	return file_remove(path);
}

static void prefix_problems(struct problems *to, const struct problems *from, const char *path)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct problem *problem = &from->items[i];
		_cleanup_free_ char *pointer = text_format("%s%s%s", path, problem->pointer[0] ? "#" : "", problem->pointer);
		if (problem->warning)
			problems_warning(to, pointer, NULL, "%s", problem->detail);
		else
			problems_error(to, pointer, NULL, "%s", problem->detail);
	}
}

/* Reads one JSON file. 0 and the object, -ENOENT, or -EINVAL with a problem. */
static int read_document(const char *path, json_object **ret, struct problems *problems)
{
	_cleanup_problems_ struct problems found = PROBLEMS_NULL;
	char *text = NULL;
	size_t length = 0;
	int r = file_read(path, &text, &length);
	if (r == -ENOENT)
		return r;
	if (r < 0) {
		problems_error(problems, path, NULL, "cannot be read: %s", strerror(-r));
		return -EINVAL;
	}
	r = json_parse_strict(text, length, ret, &found);
	wipe(text, length);
	free(text);
	prefix_problems(problems, &found, path);
	return r;
}

/* The administrator's document, else the stored one. *ret_path is where it stood, or where it would. */
static int read_ruling(struct manager *manager, const char *name, json_object **ret, bool *ret_managed, char **ret_path, struct problems *problems)
{
	*ret_path = document_path(manager->options.config_dir, name);
	*ret_managed = true;
	int r = read_document(*ret_path, ret, problems);
	if (r != -ENOENT)
		return r;
	free(*ret_path);
	*ret_path = document_path(manager->options.state_dir, name);
	*ret_managed = false;
	return read_document(*ret_path, ret, problems);
}

/* ---- kill switch ---- */

static struct kill_switch *closed_settings(void)
{
	struct kill_switch *settings = kill_switch_default();
	settings->mode = GATE_MODE_ALWAYS;
	settings->lan = LAN_BLOCK;
	return settings;
}

static struct kill_switch *load_kill_switch(struct manager *manager, bool *ret_managed, struct problems *problems)
{
	_cleanup_problems_ struct problems found = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL;
	_cleanup_free_ char *path = NULL;
	struct kill_switch *settings = NULL;
	int r = read_ruling(manager, "kill-switch.json", &document, ret_managed, &path, problems);
	if (r == -ENOENT)
		return kill_switch_default();
	if (r < 0)
		return closed_settings();
	r = kill_switch_parse(document, &settings, &found);
	prefix_problems(problems, &found, path);
	return r < 0 ? closed_settings() : settings;
}

/* ---- policy ---- */

/* *ret_builtin: there is none, or none that can be used, so that it is the built-in one. */
static struct policy *load_policy(struct manager *manager, bool *ret_managed, bool *ret_builtin, struct problems *problems)
{
	_cleanup_problems_ struct problems found = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL;
	_cleanup_free_ char *path = NULL;
	struct policy *policy = NULL;
	int r = read_ruling(manager, "policy.json", &document, ret_managed, &path, problems);
	if (r == 0) {
		r = policy_new(document, &policy, &found);
		prefix_problems(problems, &found, path);
	}
	*ret_builtin = r < 0;
	return r < 0 ? policy_default() : policy;
}

static bool tunnel_exists(const char *id, void *userdata)
{
	return lifecycle_find(&((struct manager *)userdata)->core, id) != LIFECYCLE_NONE;
}

void documents_check_tunnels(struct manager *manager, json_object *policy, struct problems *problems)
{
	policy_check_tunnels(policy, tunnel_exists, manager, problems);
}

static void check_tunnels_of_policy(struct manager *manager, struct problems *problems)
{
	_cleanup_problems_ struct problems found = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = policy_to_json(manager->policy);
	documents_check_tunnels(manager, document, &found);
	prefix_problems(problems, &found, "policy.json");
}

/* ---- how the daemon is reached ---- */

/* What cannot be read opens no port: then there is the Unix socket alone. */
static struct configuration *load_configuration(struct manager *manager, struct problems *problems)
{
	_cleanup_problems_ struct problems found = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL;
	_cleanup_free_ char *path = document_path(manager->options.config_dir, "holdfast.json");
	struct configuration *configuration = NULL;
	int r = read_document(path, &document, problems);
	if (r == 0) {
		r = configuration_parse(document, &configuration, &found);
		prefix_problems(problems, &found, path);
	}
	return r < 0 ? configuration_default() : configuration;
}

static void set_configuration(struct manager *manager, struct configuration *configuration)
{
	configuration_unref(manager->configuration);
	manager->configuration = configuration;
}

/* ---- tunnels ---- */

/* On a reload: whether CONFIG is to replace what stands at INDEX, which only a tunnel at rest allows. */
static bool put_in_place(struct manager *manager, size_t index, const struct tunnel_config *config, struct problems *problems, const char *path)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	if (json_object_equal(runtime->config->document, config->document)) {
		runtime->document.managed = true;
		return false;
	}
	if (lifecycle_tunnel_active(&manager->core.tunnels[index])) {
		problems_error(problems, path, NULL, "is changed, and the tunnel is in use: stop it and reload again");
		runtime->document.managed = true;
		return false;
	}
	return true;
}

/* A document that names a program decides what runs beside the gate: only root may have written it, or the program. */
static bool may_run(const struct tunnel_config *config, const char *path, bool managed, struct problems *problems)
{
	_cleanup_free_ char *why = NULL;
	if (!config->driver->runs_anything)
		return true;
	if (!managed)
		problems_error(problems, path, NULL, "a tunnel of the driver %s runs a program: it counts only in the configuration directory",
			config->driver->name);
	else if (!file_is_roots(path, &why) || !file_is_roots(config->program, &why))
		problems_error(problems, path, NULL, "is not used: it runs a program, and that must be root's alone to say: %s", why);
	else
		return true;
	return false;
}

static void load_tunnel(struct manager *manager, const char *folder, const char *file, bool managed, struct problems *problems)
{
	_cleanup_problems_ struct problems found = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL;
	_cleanup_free_ char *path = text_format("%s/%s", folder, file);
	_cleanup_free_ char *id = text_ndup(file, strlen(file) - strlen(".json"));
	struct tunnel_config *config = NULL;
	size_t index = lifecycle_find(&manager->core, id);
	if (index != LIFECYCLE_NONE && !managed)
		return; /* the administrator's stands already */
	if (read_document(path, &document, problems) < 0)
		return;
	int r = tunnel_config_parse(document, NULL, &config, &found);
	prefix_problems(problems, &found, path);
	if (r < 0)
		return;
	if (strcmp(config->id, id) != 0) {
		problems_error(problems, path, NULL, "names its tunnel \"%s\"; the file must then be called %s.json", config->id, config->id);
		tunnel_config_free(config);
		return;
	}
	if (!may_run(config, path, managed, problems)) {
		tunnel_config_free(config);
		return;
	}
	if (index != LIFECYCLE_NONE && !put_in_place(manager, index, config, problems, path)) {
		tunnel_config_free(config);
		return;
	}
	if (manager_add_tunnel(manager, config, managed, NULL) < 0) {
		problems_error(problems, path, NULL, "is one tunnel too many; at most %d are kept", LIFECYCLE_TUNNELS_MAX);
		tunnel_config_free(config);
	}
}

static int is_document(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);
	return entry->d_name[0] != '.' && length > 5 && strcmp(entry->d_name + length - 5, ".json") == 0;
}

static void load_tunnels(struct manager *manager, const char *directory, bool managed, struct problems *problems)
{
	_cleanup_free_ char *folder = document_path(directory, "tunnels");
	struct dirent **entries = NULL;
	int count = scandir(folder, &entries, is_document, alphasort);
	if (count < 0 && errno != ENOENT)
		problems_error(problems, folder, NULL, "cannot be read: %s", strerror(errno));
	for (int i = 0; i < count; i++) {
		load_tunnel(manager, folder, entries[i]->d_name, managed, problems);
		free(entries[i]);
	}
	free(entries);
}

/* To the log, and kept for the status. */
static void report(struct manager *manager, const struct problems *problems)
{
	free(manager->document_errors);
	manager->document_errors = problems->errors ? problems_to_text(problems) : NULL;
	for (size_t i = 0; i < problems->count; i++)
		log_line(problems->items[i].warning ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR, "%s: %s", problems->items[i].pointer, problems->items[i].detail);
}

bool documents_load(struct manager *manager, struct problems *problems)
{
	bool managed, builtin;
	struct kill_switch *settings = load_kill_switch(manager, &managed, problems);
	manager_set_kill_switch(manager, settings, managed, NULL);
	struct policy *policy = load_policy(manager, &managed, &builtin, problems);
	manager_set_policy(manager, policy, managed);
	manager->policy_builtin = builtin;
	load_tunnels(manager, manager->options.config_dir, true, problems);
	load_tunnels(manager, manager->options.state_dir, false, problems);
	check_tunnels_of_policy(manager, problems);
	set_configuration(manager, load_configuration(manager, problems));
	report(manager, problems);
	return problems->errors == 0;
}

/* Tunnels whose file the administrator took away go with it, once they are at rest. */
static void drop_removed(struct manager *manager, struct problems *problems)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++) {
		struct tunnel_runtime *runtime = &manager->tunnels[i];
		if (!runtime->config || !runtime->document.managed)
			continue;
		_cleanup_free_ char *path = text_format("%s/tunnels/%s.json", manager->options.config_dir, runtime->config->id);
		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
			continue;
		if (lifecycle_tunnel_active(&manager->core.tunnels[i]))
			problems_error(problems, path, NULL, "is gone, and the tunnel is in use: stop it and reload again");
		else
			manager_remove_tunnel(manager, i);
	}
}

/* To whoever watches: DOCUMENT, whose version was FORMER, is another one now. */
static void announce_reloaded(struct manager *manager, const char *document, const char *former, const struct document *now)
{
	if (strcmp(former, now->etag) == 0)
		return;
	json_object *event = events_new(manager, "documentChanged", LIFECYCLE_NONE);
	json_object_object_add(event, "document", json_object_new_string(document));
	json_object_object_add(event, "by", json_object_new_string("reload"));
	events_emit(manager, event);
}

static void announce_refused(struct manager *manager)
{
	json_object *event = events_new(manager, "documentRefused", LIFECYCLE_NONE);
	json_object_object_add(event, "errors", json_object_new_string(manager->document_errors));
	events_emit(manager, event);
}

static void reload_kill_switch(struct manager *manager, struct problems *problems)
{
	_cleanup_free_ char *former = text_dup(manager->settings_document.etag);
	size_t errors = problems->errors;
	bool managed;
	struct kill_switch *settings = load_kill_switch(manager, &managed, problems);
	if (problems->errors > errors) {
		kill_switch_free(settings);
		return;
	}
	manager_set_kill_switch(manager, settings, managed, NULL);
	announce_reloaded(manager, "kill-switch", former, &manager->settings_document);
}

static void reload_policy(struct manager *manager, struct problems *problems)
{
	_cleanup_free_ char *former = text_dup(manager->policy_document.etag);
	size_t errors = problems->errors;
	bool managed, builtin;
	struct policy *policy = load_policy(manager, &managed, &builtin, problems);
	if (problems->errors > errors) {
		policy_unref(policy);
		return;
	}
	manager->policy_builtin = builtin;
	if (strcmp(policy_hash(policy), policy_hash(manager->policy)) == 0) { /* the same one goes on, delays and all */
		manager->policy_document.managed = managed;
		policy_unref(policy);
		return;
	}
	manager_set_policy(manager, policy, managed);
	announce_reloaded(manager, "policy", former, &manager->policy_document);
}

static void reload_configuration(struct manager *manager, struct problems *problems)
{
	size_t errors = problems->errors;
	struct configuration *configuration = load_configuration(manager, problems);
	if (problems->errors == errors)
		set_configuration(manager, configuration);
	else
		configuration_unref(configuration);
}

/* On SIGHUP: what cannot be read changes nothing. */
void documents_reload(struct manager *manager)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	reload_kill_switch(manager, &problems);
	reload_policy(manager, &problems);
	reload_configuration(manager, &problems);
	drop_removed(manager, &problems);
	load_tunnels(manager, manager->options.config_dir, true, &problems);
	load_tunnels(manager, manager->options.state_dir, false, &problems);
	report(manager, &problems);
	store_trim_later(manager);
	if (problems.errors > 0) {
		log_error("reload: what has errors was left as it was");
		announce_refused(manager);
	}
}
