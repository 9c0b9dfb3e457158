/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * /metrics: the status as numbers, in Prometheus' text format 0.0.4. Names and units as prometheus.io/docs/practices/naming says; a state
 * is one series for each of its values, the present one 1. Every family is there from the start.
 */

#include <string.h>
#include <time.h>

#include "api/internal.h"
#include "util/fields.h"

static const char *const protections[] = {"protected", "blocking", "off", "released", "failing", NULL};
static const char *const gates[] = {"open", "closed", "connecting", "tunnel", NULL};
static const char *const states[] = {
	"disconnected", "connecting", "connected", "reasserting", "deciding", "waiting", "disconnecting", "failed", NULL};

static const char *member_text(json_object *object, const char *key)
{
	json_object *value = json_object_object_get(object, key);
	return value ? json_object_get_string(value) : "";
}

static void family(struct text *text, const char *name, const char *type, const char *help)
{
	text_append(text, "# HELP holdfast_%s %s\n# TYPE holdfast_%s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line feed are escaped. */
static void label_value(struct text *text, const char *value)
{
	for (; *value; value++)
		if (*value == '\n')
			text_append(text, "\\n");
		else
			text_append(text, "%s%c", *value == '\\' || *value == '"' ? "\\" : "", *value);
}

static void label(struct text *text, const char *before, const char *name, const char *value)
{
	text_append(text, "%s%s=\"", before, name);
	label_value(text, value);
	text_append(text, "\"");
}

static void number(struct text *text, const char *name, uint64_t value)
{
	text_append(text, "holdfast_%s %llu\n", name, (unsigned long long)value);
}

static void enumeration(struct text *text, const char *name, const char *tunnel, const char *const *values, const char *now)
{
	for (; *values; values++) {
		text_append(text, "holdfast_%s", name);
		if (tunnel)
			label(text, "{", "tunnel", tunnel);
		label(text, tunnel ? "," : "{", "state", *values);
		text_append(text, "} %d\n", strcmp(*values, now) == 0);
	}
}

/* Seconds since the epoch of a time as the status writes it (RFC 3339, UTC); 0 for none. */
static uint64_t timestamp(const char *rfc3339)
{
	struct tm tm = {};
	return *rfc3339 && strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm) ? (uint64_t)timegm(&tm) : 0;
}

static void append_gate(struct text *text, json_object *status)
{
	json_object *gate = json_object_object_get(status, "gate"), *blocked = json_object_object_get(gate, "blocked");
	family(text, "protection_state", "gauge", "What is held, one series for each state, the present one 1.");
	enumeration(text, "protection_state", NULL, protections, member_text(status, "protection"));
	family(text, "gate_desired_state", "gauge", "What the kernel is to hold.");
	enumeration(text, "gate_desired_state", NULL, gates, member_text(gate, "desired"));
	family(text, "gate_kernel_state", "gauge", "What the kernel holds as last verified; all 0 if that is unknown.");
	enumeration(text, "gate_kernel_state", NULL, gates, member_text(gate, "kernel"));
	family(text, "gate_verified_timestamp_seconds", "gauge", "When the gate was last verified.");
	number(text, "gate_verified_timestamp_seconds", timestamp(member_text(gate, "verifiedAt")));
	family(text, "gate_failing", "gauge", "Whether the gate could not be brought to what it should be.");
	number(text, "gate_failing", json_object_object_get(gate, "blockFailure") != NULL);
	family(text, "gate_healed_total", "counter", "How often the gate was touched by others and put back.");
	number(text, "gate_healed_total", json_object_get_uint64(json_object_object_get(gate, "healed")));
	family(text, "gate_blocked_packets", "gauge", "Packets that the gate has refused, former gates of this daemon included.");
	static const char *const directions[] = {"out", "in", "forward"};
	for (size_t i = 0; i < ELEMENTSOF(directions); i++)
		text_append(text, "holdfast_gate_blocked_packets{direction=\"%s\"} %llu\n", directions[i],
			(unsigned long long)json_object_get_uint64(json_object_object_get(blocked, directions[i])));
}

static const struct counter {
	const char *name, *type, *help, *key;
	bool time;
} of_tunnels[] = {
	{"tunnel_since_timestamp_seconds", "gauge", "When the tunnel's state began.", "since", true},
	{"tunnel_attempt", "gauge", "Unexpected stops since the last stable connection.", "attempt", false},
	{"tunnel_receive_bytes_total", "counter", "Bytes that came through the tunnel.", "rxBytes", false},
	{"tunnel_transmit_bytes_total", "counter", "Bytes that went through the tunnel.", "txBytes", false},
	{"tunnel_latest_handshake_timestamp_seconds", "gauge", "When the tunnel's last handshake was; 0: never.", "lastHandshake", true},
};

static void append_tunnels(struct text *text, json_object *tunnels)
{
	size_t count = json_object_is_type(tunnels, json_type_array) ? json_object_array_length(tunnels) : 0;
	family(text, "tunnels", "gauge", "How many tunnels there are.");
	number(text, "tunnels", count);
	family(text, "tunnel_state", "gauge", "The state of each tunnel.");
	for (size_t i = 0; i < count; i++) {
		json_object *tunnel = json_object_array_get_idx(tunnels, i);
		enumeration(text, "tunnel_state", member_text(tunnel, "id"), states, member_text(tunnel, "state"));
	}
	for (size_t row = 0; row < ELEMENTSOF(of_tunnels); row++) {
		const struct counter *counter = &of_tunnels[row];
		family(text, counter->name, counter->type, counter->help);
		for (size_t i = 0; i < count; i++) {
			json_object *tunnel = json_object_array_get_idx(tunnels, i);
			uint64_t value = counter->time ? timestamp(member_text(tunnel, counter->key))
						       : json_object_get_uint64(json_object_object_get(tunnel, counter->key));
			text_append(text, "holdfast_%s", counter->name);
			label(text, "{", "tunnel", member_text(tunnel, "id"));
			text_append(text, "} %llu\n", (unsigned long long)value);
		}
	}
}

static void append_build(struct text *text, json_object *status)
{
	family(text, "build_info", "gauge", "The version.");
	text_append(text, "holdfast_build_info");
	label(text, "{", "version", member_text(status, "version"));
	text_append(text, "} 1\n");
	family(text, "start_timestamp_seconds", "gauge", "When the daemon was started.");
	number(text, "start_timestamp_seconds", timestamp(member_text(status, "since")));
	family(text, "network_available", "gauge", "Whether an uplink is up with a route.");
	number(text, "network_available", (uint64_t)json_object_get_boolean(json_object_object_get(json_object_object_get(status, "network"), "available")));
}

static void append_server(struct text *text, const struct api_server *server)
{
	family(text, "http_connections", "gauge", "Connections to the listener that this is read from.");
	number(text, "http_connections", server->connection_count);
	family(text, "http_streams", "gauge", "Streams of events of the same.");
	number(text, "http_streams", server->stream_count);
}

char *metrics_render(struct api_server *server, size_t *ret_length)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	_cleanup_json_ json_object *status = manager_status(server->manager);
	append_build(&text, status);
	append_gate(&text, status);
	append_tunnels(&text, json_object_object_get(status, "tunnels"));
	append_server(&text, server);
	*ret_length = text.length;
	return text_steal(&text);
}
