/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is: the answer of GetStatus. Desired, seen in the kernel, and recorded are told apart. */

#include <string.h>

#include "daemon/device.h"
#include "daemon/manager.h"
#include "network/link.h"
#include "tunnel/driver.h"
#include "util/fields.h"
#include "util/text.h"

#define LISTED_SHOWN 32 /* networks of the settings; ListBypass has them all */

static json_object *pending(const struct lifecycle_tunnel *tunnel)
{
	if (tunnel->pending.kind == PENDING_NONE)
		return NULL;
	json_object *object = json_object_new_object();
	json_object_object_add(object, "id", json_object_new_uint64(tunnel->pending.id));
	json_object_object_add(object, "waitsFor", json_object_new_string(pending_kind_to_string(tunnel->pending.kind)));
	json_object_object_add(object, "error", json_object_new_string(tunnel_error_to_string(tunnel->error)));
	json_object_object_add(object, "deadline", json_boottime(tunnel->deadline_usec));
	return object;
}

static json_object *endpoint_now(const struct lifecycle_tunnel *tunnel)
{
	char text[ENDPOINT_TEXT_MAX];
	if (tunnel->contacted)
		return json_object_new_string(endpoint_format(text, &tunnel->contact));
	return tunnel->endpoint < tunnel->endpoint_count ? json_object_new_string(tunnel->endpoints[tunnel->endpoint]) : NULL;
}

static json_object *error_or_null(enum tunnel_error error)
{
	return error == TUNNEL_ERROR_NONE ? NULL : json_object_new_string(tunnel_error_to_string(error));
}

json_object *status_tunnel(struct manager *manager, size_t index)
{
	const struct lifecycle_tunnel *tunnel = &manager->core.tunnels[index];
	const struct tunnel_runtime *runtime = &manager->tunnels[index];
	json_object *object = json_object_new_object();
	json_object_object_add(object, "id", json_object_new_string(tunnel->id));
	json_object_object_add(object, "driver", json_object_new_string(tunnel->driver));
	json_object_object_add(object, "wanted", json_object_new_boolean(tunnel->wanted));
	json_object_object_add(object, "state", json_object_new_string(tunnel_state_to_string(tunnel->state)));
	json_object_object_add(object, "reason", error_or_null(tunnel->reason));
	json_object_object_add(object, "since", json_time(runtime->since_realtime));
	json_object_object_add(object, "interface", json_object_new_string(runtime->config->interface));
	json_object_object_add(object, "endpoint", endpoint_now(tunnel));
	json_object_object_add(object, "attempt", json_object_new_int((int)tunnel->attempt));
	json_object_object_add(object, "lastError", error_or_null(tunnel->error));
	json_object_object_add(object, "lastDetail", tunnel->error ? json_text_or_null(runtime->detail) : NULL);
	json_object_object_add(object, "pendingDecision", pending(tunnel));
	json_object_object_add(object, "health", json_text_or_null(health_word(manager, index)));
	json_object_object_add(object, "needCredentials", credentials_wanting(manager, index));
	json_object_object_add(object, "challenge", credentials_challenge(manager, index));
	json_object_object_add(object, "released", json_object_new_boolean(tunnel->released));
	json_object_object_add(object, "workerPid", runtime->worker && tunnel->worker != WORKER_STATE_ENDING ? json_object_new_int(worker_pid(runtime->worker)) : NULL);
	json_object_object_add(object, "implementation", json_text_or_null(device_implementation(runtime)));
	json_object_object_add(object, "rxBytes", json_object_new_uint64(runtime->traffic.rx_bytes));
	json_object_object_add(object, "txBytes", json_object_new_uint64(runtime->traffic.tx_bytes));
	json_object_object_add(object, "lastHandshake", json_time(runtime->traffic.last_handshake_usec));
	return object;
}

static bool released_now(const struct manager *manager)
{
	return manager->released_marker || manager->report.released_until_usec > manager_now();
}

/* Whether anything asks that traffic be held. */
static bool held_by_demand(const struct manager *manager)
{
	return manager->report.desired != GATE_OPEN;
}

const char *status_protection(struct manager *manager)
{
	if (held_by_demand(manager) && released_now(manager))
		return "released";
	if (!held_by_demand(manager))
		return "off";
	if (!manager->report.verified || manager->report.kernel != manager->report.desired)
		return "failing";
	return manager->report.kernel == GATE_TUNNEL ? "protected" : "blocking";
}

/* Where the kernel does not answer, what it said last stands; that it is out of order is told by who verifies the gate. */
static json_object *blocked(struct manager *manager)
{
	if (manager->report.kernel != GATE_OPEN)
		(void)gate_read_counters(manager->gate);
	const struct gate_counters counters = gate_counters(manager->gate);
	json_object *object = json_object_new_object();
	json_object_object_add(object, "out", json_object_new_uint64(counters.out));
	json_object_object_add(object, "in", json_object_new_uint64(counters.in));
	json_object_object_add(object, "forward", json_object_new_uint64(counters.forward));
	return object;
}

static json_object *gate(struct manager *manager)
{
	const struct gate_report *report = &manager->report;
	json_object *object = json_object_new_object();
	json_object_object_add(object, "mode", json_object_new_string(gate_mode_to_string(manager->core.mode)));
	json_object_object_add(object, "desired", json_object_new_string(gate_state_to_string(report->desired)));
	json_object_object_add(object, "kernel", report->verified ? json_object_new_string(gate_state_to_string(report->kernel)) : NULL);
	json_object_object_add(object, "persisted", json_object_new_boolean(!manager->save_failed));
	json_object_object_add(object, "verifiedAt", json_time(report->verified_realtime));
	json_object_object_add(object, "heldFor", json_text_or_null(manager->held_for));
	json_object_object_add(object, "healed", json_object_new_int((int)report->healed));
	json_object_object_add(object, "blockFailure", json_text_or_null(report->failure));
	json_object_object_add(object, "releasedUntil",
		report->released_until_usec > manager_now() ? json_boottime(report->released_until_usec) : NULL);
	json_object_object_add(object, "confirmBy", json_boottime(confirm_deadline(manager)));
	json_object_object_add(object, "wayOutTaken", json_object_new_boolean(manager->released_marker));
	json_object_object_add(object, "blocked", blocked(manager));
	return object;
}

static json_object *policy(struct manager *manager)
{
	json_object *object = json_object_new_object();
	json_object_object_add(object, "name", json_text_or_null(policy_name(manager->policy)));
	json_object_object_add(object, "etag", json_object_new_string(manager->policy_document.etag));
	json_object_object_add(object, "source", json_object_new_string(manager->policy_document.managed ? "file" : manager->policy_builtin ? "builtin" : "api"));
	return object;
}

static json_object *network(struct manager *manager)
{
	json_object *object = surroundings_to_json(manager);
	json_object_object_add(object, "resolver", host_resolver_to_json(manager));
	return object;
}

json_object *manager_status(struct manager *manager)
{
	json_object *object = json_object_new_object(), *tunnels = json_object_new_array();
	for LIFECYCLE_TUNNELS (i, &manager->core)
		json_object_array_add(tunnels, status_tunnel(manager, i));
	json_object_object_add(object, "version", json_object_new_string(PACKAGE_VERSION));
	json_object_object_add(object, "bootId", json_object_new_string(manager->boot_id));
	json_object_object_add(object, "since", json_time(manager->since_realtime));
	json_object_object_add(object, "protection", json_object_new_string(status_protection(manager)));
	json_object_object_add(object, "gate", gate(manager));
	json_object_object_add(object, "bypass", grants_to_json(manager, LISTED_SHOWN));
	json_object_object_add(object, "tunnels", tunnels);
	json_object_object_add(object, "network", network(manager));
	json_object_object_add(object, "policy", policy(manager));
	json_object_object_add(object, "documentErrors", json_text_or_null(manager->document_errors));
	json_object_object_add(object, "journal", json_text_or_null(journal_failure(manager->journal)));
	return object;
}

static void drop_kept(struct manager *manager)
{
	json_object_put(manager->kept_status);
	free(manager->kept_status_text);
	manager->kept_status = NULL;
	manager->kept_status_text = NULL;
}

void status_forget(struct manager *manager)
{
	drop_kept(manager);
	if (manager->status_watch.changed)
		manager->status_watch.changed(manager->status_watch.userdata);
}

void manager_watch_status(struct manager *manager, void (*changed)(void *userdata), void *userdata)
{
	manager->status_watch.changed = changed;
	manager->status_watch.userdata = userdata;
}

json_object *status_kept(struct manager *manager, const char **ret_text)
{
	uint64_t now = manager_now();
	if (!manager->kept_status || now >= manager->kept_until_usec) {
		drop_kept(manager);
		manager->kept_status = manager_status(manager);
		manager->kept_status_text = text_format(
			"%s\n", json_object_to_json_string_ext(manager->kept_status, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
		manager->kept_until_usec = now + STATUS_KEPT_USEC;
	}
	*ret_text = manager->kept_status_text;
	return manager->kept_status;
}

json_object *manager_status_kept(struct manager *manager)
{
	const char *text;
	return status_kept(manager, &text);
}
