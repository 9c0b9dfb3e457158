/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a client needs to know and the tunnel's document does not say: taken from the service manager's credentials where
 * the document names them, else asked for (an event, a member of the status) and answered by ProvideCredentials. They go
 * to the worker and nowhere else; what passed through here is wiped.
 */

#include <errno.h>
#include <string.h>

#include "daemon/operations-internal.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

/* For each name in NAMES, which are separated by commas: calls VISIT. */
static void each_name(const char *names, void (*visit)(const char *name, void *userdata), void *userdata)
{
	while (*names) {
		size_t length = strcspn(names, ",");
		_cleanup_free_ char *name = text_ndup(names, length);
		if (credential_name_valid(name))
			visit(name, userdata);
		names += length + (names[length] == ',');
	}
}

static void add_name(const char *name, void *array)
{
	json_object_array_add(array, json_object_new_string(name));
}

static json_object *list_names(const char *names)
{
	json_object *array = json_object_new_array();
	each_name(names, add_name, array);
	return array;
}

json_object *credentials_wanting(const struct manager *manager, size_t index)
{
	return manager->core.tunnels[index].asking ? list_names(manager->tunnels[index].asks) : NULL;
}

json_object *credentials_challenge(const struct manager *manager, size_t index)
{
	const struct worker_challenge *challenge = &manager->tunnels[index].challenge;
	if (!manager->core.tunnels[index].asking || !challenge->text[0])
		return NULL;
	json_object *object = json_object_new_object();
	json_object_object_add(object, "name", json_object_new_string(WORKER_CHALLENGE_NAME));
	json_object_object_add(object, "text", json_object_new_string(challenge->text));
	json_object_object_add(object, "echo", json_object_new_boolean(challenge->echo));
	return object;
}

/* ---- systemd's ---- */

struct lookup {
	const struct tunnel_config *config;
	json_object *found;
};

/* systemd.exec(5), LoadCredential=: one file each, readable by the service alone. A line end at its end is not part of it. */
static bool read_file_of(const char *name, const char *file, json_object *ret)
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	_cleanup_free_ char *path = folder ? text_format("%s/%s", folder, file) : NULL;
	char *text = NULL;
	size_t length = 0;
	int r = path ? file_read(path, &text, &length) : -ENOENT;
	if (r < 0) {
		log_warning("the credential %s cannot be read: %s; give holdfast.service LoadCredential=%s:PATH", file, strerror(-r), file);
		return false;
	}
	size_t end = length;
	while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == '\r'))
		end--;
	bool good = end > 0 && end <= CREDENTIAL_SIZE_MAX && strcspn(text, "\n") >= end && strlen(text) >= end;
	if (good)
		json_object_object_add(ret, name, json_object_new_string_len(text, (int)end));
	else
		log_warning("the credential %s is not one line of text", file);
	wipe(text, length);
	free(text);
	return good;
}

static void look_up(const char *name, void *userdata)
{
	struct lookup *lookup = userdata;
	for (size_t i = 0; i < lookup->config->credential_count; i++)
		if (strcmp(lookup->config->credentials[i].name, name) == 0 &&
			read_file_of(name, lookup->config->credentials[i].file, lookup->found))
			return;
}

/* What is there is given; for the rest the worker asks again. False: nothing is. */
static bool answer_from_system(struct manager *manager, size_t index, const char *names)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	struct lookup lookup = {.config = runtime->config, .found = json_object_new_object()};
	each_name(names, look_up, &lookup);
	bool given = json_object_object_length(lookup.found) > 0 && worker_send_credentials(runtime->worker, lookup.found) == 0;
	json_wipe(lookup.found);
	json_object_put(lookup.found);
	return given;
}

void credentials_asked(struct manager *manager, size_t index, const char *names, const struct worker_challenge *challenge)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	if (runtime->config->credential_count && answer_from_system(manager, index, names))
		return;
	snprintf(runtime->asks, sizeof runtime->asks, "%s", names);
	runtime->challenge = *challenge;
	manager_run_tunnel(manager, LIFECYCLE_WORKER_ASKING, index);
	if (!manager->core.tunnels[index].asking)
		return;
	json_object *event = events_new(manager, "needCredentials", index);
	json_object_object_add(event, "names", list_names(names));
	json_object_object_add(event, "challenge", credentials_challenge(manager, index));
	json_object_object_add(event, "deadline", json_boottime(manager->core.tunnels[index].deadline_usec));
	events_emit(manager, event);
}

/* ---- the operation ---- */

static bool is_wanting(json_object *wanting, const char *name)
{
	for (size_t i = 0; i < json_object_array_length(wanting); i++)
		if (strcmp(json_object_get_string(json_object_array_get_idx(wanting, i)), name) == 0)
			return true;
	return false;
}

static bool holds_nul(json_object *value)
{
	return strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value);
}

static bool is_one_line(json_object *value)
{
	const char *text = json_object_get_string(value);
	size_t length = strlen(text);
	return length > 0 && length <= CREDENTIAL_SIZE_MAX && !text[strcspn(text, "\r\n")];
}

/* Values are never quoted. */
static void check_answer(struct operation_call *call, json_object *wanting, json_object *given)
{
	char pointer[POINTER_MAX];
	json_object_object_foreach (given, name, value) {
		pointer_member(pointer, "/credentials", name);
		if (!is_wanting(wanting, name))
			problems_error(&call->problems, pointer, NULL, "was not asked for");
		else if (holds_nul(value))
			problems_error(&call->problems, pointer, NULL, "holds a NUL character");
		else if (!is_one_line(value))
			problems_error(&call->problems, pointer, NULL, "must be one line of text, of at most %d bytes", CREDENTIAL_SIZE_MAX);
	}
	for (size_t i = 0; i < json_object_array_length(wanting); i++) {
		const char *wanted = json_object_get_string(json_object_array_get_idx(wanting, i));
		if (!json_object_object_get_ex(given, wanted, NULL))
			problems_error(&call->problems, pointer_member(pointer, "/credentials", wanted), NULL, "is missing");
	}
}

void handle_provide_credentials(struct manager *manager, struct operation_call *call)
{
	size_t index = call_find_tunnel(manager, call);
	if (index == LIFECYCLE_NONE)
		return;
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	json_object *given = json_object_object_get(call->arguments, "credentials");
	_cleanup_json_ json_object *wanting = credentials_wanting(manager, index);
	if (!wanting || !runtime->worker) {
		call_fail(call, OUTCOME_WRONG_STATE, "%s is %s and asks for nothing; its status has needCredentials while it does",
			runtime->config->id, tunnel_state_to_string(manager->core.tunnels[index].state));
		return;
	}
	check_answer(call, wanting, given);
	if (call->problems.errors) {
		call_fail(call, OUTCOME_BAD_REQUEST, "these are not the credentials that %s asks for", runtime->config->id);
		return;
	}
	if (call->dry_run) {
		call_answer_changed(call, true);
		return;
	}
	if (worker_send_credentials(runtime->worker, given) < 0) {
		call_fail(call, OUTCOME_UNAVAILABLE, "the worker of %s could not be told", runtime->config->id);
		return;
	}
	manager_run_tunnel(manager, LIFECYCLE_ANSWERED, index);
	wipe(runtime->asks, sizeof runtime->asks);
	call_answer_changed(call, true);
}
