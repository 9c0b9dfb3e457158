/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Members are named in saved_from_tunnel() and pending_to_json(), and nowhere else but in their readers below. */

#include "daemon/saved.h"

#include <string.h>

#include "util/fields.h"
#include "util/text.h"

/* KEY is a literal, and new in OBJECT: neither copied nor looked for. */
static void add(json_object *object, const char *key, json_object *value)
{
	json_object_object_add_ex(object, key, value, JSON_C_OBJECT_ADD_KEY_IS_NEW | JSON_C_OBJECT_ADD_CONSTANT_KEY);
}

static json_object *pending_to_json(const struct lifecycle_pending *pending, uint64_t deadline_usec, uint64_t now)
{
	json_object *object = json_object_new_object();
	add(object, "kind", json_object_new_string(pending_kind_to_string(pending->kind)));
	add(object, "id", json_object_new_uint64(pending->id));
	add(object, "event", json_object_new_string(policy_event_to_string(pending->event)));
	add(object, "endpoint", json_object_new_string(policy_endpoint_to_string(pending->endpoint)));
	add(object, "worker", json_object_new_string(policy_worker_to_string(pending->worker)));
	add(object, "hastens", json_object_new_boolean(pending->hastens));
	add(object, "then", pending->then ? policy_action_to_json(pending->then) : NULL);
	add(object, "onTimeout", pending->on_timeout ? policy_action_to_json(pending->on_timeout) : NULL);
	if (pending->decided)
		add(object, "decided", json_object_new_boolean(true));
	else if (pending->policy)
		add(object, "policy", policy_remnant_to_json(pending->policy, pending->rule));
	add(object, "remainingUsec",
		deadline_usec == USEC_INFINITY ? NULL : json_object_new_uint64(deadline_usec > now ? deadline_usec - now : 0));
	if (deadline_usec != USEC_INFINITY)
		add(object, "deadlineUsec", json_object_new_uint64(deadline_usec));
	return object;
}

/* Oldest first; on the boot's clock. */
static json_object *restarts_to_json(const struct policy_history *history)
{
	json_object *array = json_object_new_array();
	size_t count = MIN_OF(history->restart_count, (uint16_t)POLICY_HISTORY_RESTARTS);
	for (size_t i = 0; i < count; i++) {
		size_t place = (history->restart_next + POLICY_HISTORY_RESTARTS - count + i) % POLICY_HISTORY_RESTARTS;
		json_object_array_add(array, json_object_new_uint64(history->restarts[place]));
	}
	return array;
}

/* How often each rule has decided since stable: rules are known by their place, and so those of another policy are others. */
static json_object *rule_counts_to_json(const struct policy_history *history, const struct policy *policy)
{
	json_object *object = NULL, *counts = NULL;
	for (size_t i = 0; i < POLICY_HISTORY_RULES; i++) {
		int rule = policy_history_rule_at(history, i);
		if (rule == POLICY_RULE_NONE)
			continue;
		if (!object) {
			object = json_object_new_object();
			counts = json_object_new_array();
			add(object, "policy", json_object_new_string(policy_hash(policy)));
			add(object, "counts", counts);
		}
		json_object *entry = json_object_new_object();
		add(entry, "rule", json_object_new_int(rule));
		add(entry, "count", json_object_new_uint64(policy_history_rule_count(history, rule)));
		json_object_array_add(counts, entry);
	}
	return object;
}

json_object *saved_from_tunnel(const struct lifecycle_tunnel *tunnel, const struct policy *policy, uint64_t now_usec)
{
	char text[ENDPOINT_TEXT_MAX];
	json_object *object = json_object_new_object();
	add(object, "id", json_object_new_string(tunnel->id));
	add(object, "wanted", json_object_new_boolean(tunnel->wanted));
	add(object, "wantedOrder", json_object_new_uint64(tunnel->wanted_order));
	add(object, "released", json_object_new_boolean(tunnel->released));
	add(object, "state", json_object_new_string(tunnel_state_to_string(tunnel->state)));
	add(object, "established", json_object_new_boolean(tunnel->established));
	add(object, "attempt", json_object_new_int((int)tunnel->attempt));
	add(object, "endpoint", json_object_new_uint64(tunnel->endpoint));
	add(object, "error", json_object_new_string(tunnel_error_to_string(tunnel->error)));
	if (tunnel->history.restart_count)
		add(object, "restarts", restarts_to_json(&tunnel->history));
	json_object *rule_counts = rule_counts_to_json(&tunnel->history, policy);
	if (rule_counts)
		add(object, "ruleCounts", rule_counts);
	if (tunnel->connected_usec)
		add(object, "connectedUsec", json_object_new_uint64(tunnel->connected_usec));
	if (tunnel->contacted)
		add(object, "contact", json_object_new_string(endpoint_format(text, &tunnel->contact)));
	if (tunnel->pending.kind != PENDING_NONE)
		add(object, "pending", pending_to_json(&tunnel->pending, tunnel->deadline_usec, now_usec));
	return object;
}

const char *saved_text(json_object *object, const char *key)
{
	json_object *value = json_object_object_get(object, key);
	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

bool saved_flag(json_object *object, const char *key)
{
	return json_object_get_boolean(json_object_object_get(object, key));
}

uint64_t saved_number(json_object *object, const char *key)
{
	int64_t number = json_object_get_int64(json_object_object_get(object, key));
	return number > 0 ? (uint64_t)number : 0;
}

/* The clock goes on while no daemon is there; that of another boot tells nothing, and what remained begins anew. */
static uint64_t load_deadline(json_object *object, bool same_boot, uint64_t now)
{
	if (!json_object_object_get(object, "remainingUsec"))
		return USEC_INFINITY;
	if (same_boot && json_object_object_get(object, "deadlineUsec"))
		return saved_number(object, "deadlineUsec");
	return now + saved_number(object, "remainingUsec");
}

static void load_pending(json_object *object, bool same_boot, uint64_t now, struct lifecycle_tunnel *tunnel, struct policy **ret_policy)
{
	struct lifecycle_pending pending = {};
	if (!json_object_is_type(object, json_type_object) || pending_kind_from_string(saved_text(object, "kind"), &pending.kind) < 0)
		return;
	(void)policy_event_from_string(saved_text(object, "event"), &pending.event);
	(void)policy_endpoint_from_string(saved_text(object, "endpoint"), &pending.endpoint);
	(void)policy_worker_from_string(saved_text(object, "worker"), &pending.worker);
	pending.hastens = saved_flag(object, "hastens");
	pending.decided = saved_flag(object, "decided");
	pending.id = saved_number(object, "id");
	json_object *then = json_object_object_get(object, "then"), *on_timeout = json_object_object_get(object, "onTimeout");
	json_object *policy = json_object_object_get(object, "policy");
	struct policy_remnant remnant = {.rule = POLICY_RULE_OTHERWISE};
	if ((policy || then || on_timeout) && policy_remnant_from_json(policy, then, on_timeout, &remnant) == 0)
		*ret_policy = remnant.policy;
	pending.policy = remnant.policy;
	pending.rule = remnant.rule;
	pending.then = remnant.then;
	pending.on_timeout = remnant.on_timeout;
	tunnel->pending = pending;
	tunnel->deadline_usec = load_deadline(object, same_boot, now);
}

/* `limits` and `restarts` go on looking back over a daemon that died. Those of another boot are on another clock, and are forgotten. */
static void load_restarts(json_object *array, struct policy_history *history)
{
	size_t count = json_object_is_type(array, json_type_array) ? json_object_array_length(array) : 0;
	for (size_t i = 0; i < count; i++) {
		int64_t time = json_object_get_int64(json_object_array_get_idx(array, i));
		if (time > 0)
			policy_history_decided(history, POLICY_RULE_NONE, true, (uint64_t)time);
	}
}

static void load_rule_counts(json_object *object, const struct policy *policy, struct policy_history *history)
{
	json_object *counts = json_object_object_get(object, "counts");
	if (strcmp(saved_text(object, "policy"), policy_hash(policy)) != 0 || !json_object_is_type(counts, json_type_array))
		return;
	for (size_t i = 0; i < json_object_array_length(counts); i++) {
		json_object *entry = json_object_array_get_idx(counts, i), *rule = json_object_object_get(entry, "rule");
		if (rule)
			policy_history_set_rule_count(history, json_object_get_int(rule), (unsigned)saved_number(entry, "count"));
	}
}

/* A connection is as old as it was before the daemon came; one whose age nobody wrote down begins now. */
static uint64_t load_connected(json_object *object, uint64_t now)
{
	uint64_t connected = saved_number(object, "connectedUsec");
	return connected > 0 && connected <= now ? connected : now;
}

/* What holds within one boot alone: a session that runs or was to run, and the times of that boot's clock. */
static void load_session(json_object *object, enum tunnel_state state, uint64_t now, uint64_t stable_after, struct lifecycle_tunnel *tunnel,
	struct policy **ret_policy)
{
	if (!tunnel->wanted || state == TUNNEL_FAILED)
		return;
	tunnel->endpoint = saved_number(object, "endpoint") < tunnel->endpoint_count ? saved_number(object, "endpoint") : 0;
	if (state == TUNNEL_DECIDING)
		return;
	tunnel->established = saved_flag(object, "established");
	tunnel->contacted = endpoint_parse(saved_text(object, "contact"), &tunnel->contact) == 0;
	if (state == TUNNEL_WAITING) {
		tunnel->state = state;
		load_pending(json_object_object_get(object, "pending"), true, now, tunnel, ret_policy);
	} else if (state == TUNNEL_CONNECTED || state == TUNNEL_CONNECTING || state == TUNNEL_REASSERTING) {
		tunnel->state = state;
		if (state == TUNNEL_CONNECTED) {
			tunnel->connected_usec = load_connected(object, now);
			tunnel->stable_usec = tunnel->connected_usec + stable_after;
		}
	}
}

void saved_to_tunnel(json_object *object, bool same_boot, uint64_t now_usec, const struct policy *policy, struct lifecycle_tunnel *tunnel,
	struct policy **ret_policy)
{
	enum tunnel_state state = TUNNEL_DISCONNECTED;
	*ret_policy = NULL;
	tunnel->wanted = saved_flag(object, "wanted");
	tunnel->wanted_order = saved_number(object, "wantedOrder");
	tunnel->released = saved_flag(object, "released");
	tunnel->attempt = (unsigned)saved_number(object, "attempt");
	(void)tunnel_error_from_string(saved_text(object, "error"), &tunnel->error);
	(void)tunnel_state_from_string(saved_text(object, "state"), &state);
	tunnel->reason = tunnel->error;
	if (tunnel->wanted && state == TUNNEL_FAILED)
		tunnel->state = state;
	if (tunnel->wanted && state == TUNNEL_DECIDING) { /* a question stays a question, over a boot too */
		tunnel->state = state;
		load_pending(json_object_object_get(object, "pending"), same_boot, now_usec, tunnel, ret_policy);
	}
	load_rule_counts(json_object_object_get(object, "ruleCounts"), policy, &tunnel->history);
	if (same_boot)
		load_restarts(json_object_object_get(object, "restarts"), &tunnel->history);
	if (same_boot)
		load_session(object, state, now_usec, policy_stable_after_usec(policy), tunnel, ret_policy);
}
