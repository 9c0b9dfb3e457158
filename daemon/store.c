/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The state that outlives the daemon: state.json, format 1, 0600. What decides whether the gate must be closed (mode, wanted, released)
 * is written before the daemon acts on it; the rest (attempts, the contacted endpoint) a moment later.
 *
 * Times are CLOCK_BOOTTIME's together with the boot they belong to, or durations: a clock that is set changes nothing, a deadline does not
 * move while no daemon runs, and what happened in another boot is over. A question alone outlives its boot, for the time that it had left.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/device.h"
#include "daemon/manager.h"
#include "daemon/memory.h"
#include "daemon/saved.h"
#include "network/socket-mark.h"
#include "tunnel/driver.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define STATE_FORMAT 1
#define STATE_FILE "state.json"
#define MARKER_FILE "released"
#define BEGUN "begun" /* the one member of a state that a first start has not yet written */

static json_object *network_to_json(const struct tunnel_network *network)
{
	json_object *object = json_object_new_object();
	json_object_object_add(object, "addresses", json_prefixes(network->addresses, network->address_count));
	json_object_object_add(object, "dns", json_addresses(network->dns, network->dns_count));
	json_object_object_add(object, "mtu", json_object_new_int((int)network->mtu));
	return object;
}

static json_object *tunnel_to_json(struct manager *manager, size_t index)
{
	const struct tunnel_runtime *runtime = &manager->tunnels[index];
	json_object *object = saved_from_tunnel(&manager->core.tunnels[index], manager->policy, manager_now());
	if (runtime->network_known)
		json_object_object_add(object, "network", network_to_json(&runtime->network));
	if (runtime->worker) {
		json_object *worker = json_object_new_object();
		json_object_object_add(worker, "pid", json_object_new_int(worker_pid(runtime->worker)));
		json_object_object_add(worker, "nonce", json_object_new_string(worker_nonce(runtime->worker)));
		json_object_object_add(worker, "device", json_object_new_boolean(runtime->device != NULL));
		json_object_object_add(object, "worker", worker);
	}
	return object;
}

static json_object *state_to_json(struct manager *manager)
{
	json_object *object = json_object_new_object(), *tunnels = json_object_new_array();
	json_object_object_add(object, "format", json_object_new_int(STATE_FORMAT));
	json_object_object_add(object, "bootId", json_object_new_string(manager->boot_id));
	json_object_object_add(object, "mode", json_object_new_string(gate_mode_to_string(manager->core.mode)));
	json_object_object_add(object, "lastDecision", json_object_new_uint64(manager->core.next_decision));
	if (manager->held_for)
		json_object_object_add(object, "heldFor", json_object_new_string(manager->held_for));
	for LIFECYCLE_TUNNELS (i, &manager->core)
		json_object_array_add(tunnels, tunnel_to_json(manager, i));
	for (size_t i = 0; manager->orphans && i < json_object_array_length(manager->orphans); i++)
		json_object_array_add(tunnels, json_object_get(json_object_array_get_idx(manager->orphans, i)));
	json_object_object_add(object, "tunnels", tunnels);
	json_object *surroundings = surroundings_save(manager);
	if (surroundings)
		json_object_object_add(object, "surroundings", surroundings);
	return object;
}

int store_save(struct manager *manager)
{
	_cleanup_free_ char *path = document_path(manager->options.state_dir, STATE_FILE);
	_cleanup_json_ json_object *state = state_to_json(manager);
	const char *text = json_object_to_json_string_ext(state, JSON_C_TO_STRING_PLAIN);
	int r = file_write_atomic(path, text, strlen(text), 0600);
	manager->save_pending = r < 0;
	if (r < 0 && !manager->save_failed)
		log_error("%s: cannot be written: %s; free space there, else a restart of the daemon takes up an older state", path, strerror(-r));
	manager->save_failed = r < 0;
	return r;
}

static int on_save(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	if (manager->save_pending)
		(void)store_save(manager);
	memory_trim(); /* things have been quiet for a moment */
	return 0;
}

void store_save_later(struct manager *manager)
{
	if (manager->save_pending)
		return;
	manager->save_pending = true;
	manager_arm_timer(manager, &manager->save_timer, manager_now() + SAVE_DELAY_USEC, on_save);
}

void store_trim_later(struct manager *manager)
{
	if (!manager->save_pending)
		manager_arm_timer(manager, &manager->save_timer, manager_now() + SAVE_DELAY_USEC, on_save);
}

/* ---- loading ---- */

static size_t load_prefixes(json_object *array, struct ip_prefix *ret, size_t max)
{
	size_t count = 0;
	for (size_t i = 0; json_object_is_type(array, json_type_array) && i < json_object_array_length(array) && count < max; i++)
		if (ip_prefix_parse(json_object_get_string(json_object_array_get_idx(array, i)), &ret[count]) == 0)
			count++;
	return count;
}

static size_t load_addresses(json_object *array, struct ip_address *ret, size_t max)
{
	size_t count = 0;
	for (size_t i = 0; json_object_is_type(array, json_type_array) && i < json_object_array_length(array) && count < max; i++)
		if (ip_address_parse(json_object_get_string(json_object_array_get_idx(array, i)), &ret[count]) == 0)
			count++;
	return count;
}

static void load_network(json_object *object, struct tunnel_runtime *runtime)
{
	if (!json_object_is_type(object, json_type_object))
		return;
	runtime->network.address_count =
		load_prefixes(json_object_object_get(object, "addresses"), runtime->network.addresses, TUNNEL_PREFIXES_MAX);
	runtime->network.dns_count = load_addresses(json_object_object_get(object, "dns"), runtime->network.dns, TUNNEL_PREFIXES_MAX);
	runtime->network.mtu = (uint32_t)saved_number(object, "mtu");
	runtime->network_known = true;
}

static void take_back_worker(struct manager *manager, size_t index, json_object *object)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	struct lifecycle_tunnel *tunnel = &manager->core.tunnels[index];
	if (!json_object_is_type(object, json_type_object))
		return;
	pid_t pid = (pid_t)saved_number(object, "pid");
	runtime->device = saved_flag(object, "device") ? runtime->config->driver->device : NULL;
	runtime->device_speaks = runtime->device != NULL;
	if (worker_adopt(manager->workers, tunnel->id, pid, saved_text(object, "nonce"), &runtime->worker) < 0) {
		device_silence(runtime);
		return;
	}
	tunnel->worker = WORKER_STATE_SPAWNED;
	runtime->equipped = true;
	runtime->link_ready = runtime->network_known && network_monitor_link(manager->monitor, runtime->config->interface) != LINK_ABSENT;
}

/* A tunnel that is wanted and has no usable document: nobody knows what it covered, so everything is held, and its entry is kept. */
static void load_orphan(struct manager *manager, json_object *object)
{
	_cleanup_free_ char *reason = NULL;
	if (!saved_flag(object, "wanted") || saved_flag(object, "released"))
		return;
	if (!manager->orphans)
		manager->orphans = json_object_new_array();
	json_object_array_add(manager->orphans, json_object_get(object));
	_cleanup_free_ char *link = text_format(NETWORK_PREFIX "%s", saved_text(object, "id"));
	(void)socket_mark_cgroup_remove(link);
	reason = text_format("the tunnel %s is wanted and its document cannot be used; mend it and restart, or set a mode to let go of it", saved_text(object, "id"));
	manager_hold(manager, reason);
}

static void load_tunnel(struct manager *manager, json_object *object, bool same_boot)
{
	size_t index = lifecycle_find(&manager->core, saved_text(object, "id"));
	if (index == LIFECYCLE_NONE) {
		load_orphan(manager, object);
		return;
	}
	struct lifecycle_tunnel *tunnel = &manager->core.tunnels[index];
	struct policy *policy;
	saved_to_tunnel(object, same_boot, manager_now(), manager->policy, tunnel, &policy);
	manager->core.wanted_order = MAX_OF(manager->core.wanted_order, tunnel->wanted_order);
	if (policy)
		manager_retire_policy(manager, policy);
	if (!same_boot)
		return;
	load_network(json_object_object_get(object, "network"), &manager->tunnels[index]);
	take_back_worker(manager, index, json_object_object_get(object, "worker"));
}

/* ---- checking: what is not exactly a state of ours is no state ---- */

static bool is_flag(json_object *object, const char *key)
{
	return json_object_is_type(json_object_object_get(object, key), json_type_boolean);
}

static bool entry_is_sound(json_object *entry)
{
	enum tunnel_state state;
	return json_object_is_type(entry, json_type_object) && tunnel_id_valid(saved_text(entry, "id")) && is_flag(entry, "wanted") &&
	       is_flag(entry, "released") && tunnel_state_from_string(saved_text(entry, "state"), &state) == 0;
}

static bool is_sound(json_object *state)
{
	enum gate_mode mode;
	if (!json_object_is_type(state, json_type_object) || saved_number(state, "format") != STATE_FORMAT ||
		gate_mode_from_string(saved_text(state, "mode"), &mode) < 0)
		return false;
	json_object *tunnels = json_object_object_get(state, "tunnels");
	if (!json_object_is_type(tunnels, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(tunnels); i++)
		if (!entry_is_sound(json_object_array_get_idx(tunnels, i)))
			return false;
	return true;
}

int store_read(const char *state_dir, json_object **ret)
{
	_cleanup_free_ char *path = document_path(state_dir, STATE_FILE);
	_cleanup_free_ char *text = NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *state = NULL;
	size_t length;
	int r = file_read(path, &text, &length);
	if (r < 0)
		return r;
	if (json_parse_strict(text, length, &state, &problems) < 0)
		return -EBADMSG;
	if (json_object_is_type(state, json_type_object) && saved_flag(state, BEGUN))
		return -ENOENT;
	if (!is_sound(state))
		return -EBADMSG;
	*ret = STEAL(state);
	return 0;
}

int store_begin(const char *state_dir)
{
	static const char text[] = "{\"" BEGUN "\":true}";
	_cleanup_free_ char *path = document_path(state_dir, STATE_FILE);
	return access(path, F_OK) == 0 ? 0 : file_write_atomic(path, text, strlen(text), 0600);
}

bool store_lost(const char *state_dir)
{
	_cleanup_free_ char *state = document_path(state_dir, STATE_FILE), *journal = document_path(state_dir, JOURNAL_FILE);
	return access(state, F_OK) < 0 && errno == ENOENT && access(journal, F_OK) == 0;
}

bool store_wants_closed(json_object *state)
{
	json_object *tunnels = json_object_object_get(state, "tunnels");
	if (json_object_object_get(state, "heldFor"))
		return true;
	for (size_t i = 0; i < json_object_array_length(tunnels); i++) {
		json_object *entry = json_object_array_get_idx(tunnels, i);
		if (saved_flag(entry, "wanted") && !saved_flag(entry, "released"))
			return true;
	}
	return false;
}

/* Whether the settings, or STATE (NULL: there is none), say why a table of ours may stand in the kernel. */
static bool explains_a_closed_gate(const struct manager *manager, json_object *state)
{
	return manager->core.mode == GATE_MODE_ALWAYS ||
	       (state && (store_wants_closed(state) || strcmp(saved_text(state, "mode"), gate_mode_to_string(GATE_MODE_ALWAYS)) == 0));
}

int store_load(struct manager *manager)
{
	_cleanup_json_ json_object *state = NULL;
	int r = store_read(manager->options.state_dir, &state);
	if (manager->gate_stood && (r == 0 || r == -ENOENT) && !explains_a_closed_gate(manager, state))
		manager_hold(manager, "the gate stood closed and no state says why, as after a full disk; set a mode to say what holds");
	if (r < 0)
		return r;
	bool same_boot = strcmp(saved_text(state, "bootId"), manager->boot_id) == 0;
	manager->first_of_boot = !same_boot;
	manager->core.next_decision = saved_number(state, "lastDecision");
	json_object *tunnels = json_object_object_get(state, "tunnels");
	for (size_t i = 0; i < json_object_array_length(tunnels); i++)
		load_tunnel(manager, json_object_array_get_idx(tunnels, i), same_boot);
	if (same_boot)
		surroundings_load(manager, json_object_object_get(state, "surroundings"));
	if (json_object_object_get(state, "heldFor") && !manager->held_for)
		manager_hold(manager, saved_text(state, "heldFor"));
	return 0;
}

/* ---- the marker of the way out ---- */

int store_marker_read(const char *state_dir, bool *ret)
{
	_cleanup_free_ char *path = document_path(state_dir, MARKER_FILE);
	if (access(path, F_OK) < 0) {
		if (errno != ENOENT)
			return -errno;
		*ret = false;
		return 0;
	}
	*ret = true;
	return 0;
}

int store_marker_remove(const char *state_dir)
{
	_cleanup_free_ char *path = document_path(state_dir, MARKER_FILE);
	return file_remove(path);
}
