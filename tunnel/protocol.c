/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The packets between daemon and worker. Two tables: the members there are, each with its reader and writer, and for
 * each type of message the members it consists of. A packet must have exactly those; both directions grow from the same
 * rows, so that what one side writes is what the other side reads.
 *
 * Workers outlive their daemon, its upgrade included: what the worker's messages gain is LATER, so that the workers of the
 * build before are taken over. What they do not understand must not be added to those of the daemon.
 */

#include "tunnel/protocol.h"

#include <errno.h>
#include <string.h>

#include "tunnel/config.h"
#include "util/fields.h"
#include "util/text.h"

static const char *const type_names[] = {
        [WORKER_MESSAGE_START] = "start",
        [WORKER_MESSAGE_STOP] = "stop",
        [WORKER_MESSAGE_RESTART] = "restart",
        [WORKER_MESSAGE_PROCEED] = "proceed",
        [WORKER_MESSAGE_CREDENTIALS] = "credentials",
        [WORKER_MESSAGE_DEVICE] = "device",
        [WORKER_MESSAGE_HELLO] = "hello",
        [WORKER_MESSAGE_CONTACTING] = "contacting",
        [WORKER_MESSAGE_NEED_CREDENTIALS] = "needCredentials",
        [WORKER_MESSAGE_UP] = "up",
        [WORKER_MESSAGE_TRAFFIC] = "traffic",
        [WORKER_MESSAGE_ASK_DEVICE] = "askDevice",
        [WORKER_MESSAGE_WILL_STOP] = "willStop",
        [WORKER_MESSAGE_STOPPED] = "stopped",
};
static const char *const phase_names[] = {
        [WORKER_IDLE] = "idle",
        [WORKER_ASKING] = "asking",
        [WORKER_CONTACTING] = "contacting",
        [WORKER_CONNECTING] = "connecting",
        [WORKER_UP] = "up",
        [WORKER_STOPPED] = "stopped",
};
static const char *const request_names[] = {
        [DEVICE_CONFIGURE] = "configure",
        [DEVICE_SETTLE] = "settle",
        [DEVICE_INSPECT] = "inspect",
};
DEFINE_STRING_TABLE(worker_message_type, enum worker_message_type, type_names);
DEFINE_STRING_TABLE(worker_phase, enum worker_phase, phase_names);
DEFINE_STRING_TABLE(device_request, enum device_request, request_names);

void worker_detail_set(char detail[WORKER_DETAIL_MAX], const char *text)
{
	size_t length = text ? strnlen(text, WORKER_DETAIL_MAX - 1) : 0;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)text[i];
		detail[i] = c == '\n' || c == '\r' || c == '\t' ? ' ' : c < 0x20 || c > 0x7e ? '?' : (char)c;
	}
	detail[length] = 0;
}

/* Readers return whether VALUE is acceptable; PLACE is zeroed before. */

static const char *string_of(json_object *value)
{
	if (!json_object_is_type(value, json_type_string))
		return NULL;
	const char *string = json_object_get_string(value);
	return strlen(string) == (size_t)json_object_get_string_len(value) ? string : NULL;
}

static bool read_number(json_object *value, uint64_t max, uint64_t *ret)
{
	if (!json_object_is_type(value, json_type_int) || json_object_get_int64(value) < 0)
		return false;
	*ret = json_object_get_uint64(value);
	return *ret <= max;
}

static bool read_u64(json_object *value, void *place)
{
	return read_number(value, UINT64_MAX, place);
}

static json_object *write_u64(const void *place)
{
	return json_object_new_uint64(*(const uint64_t *)place);
}

static bool read_u32(json_object *value, void *place)
{
	uint64_t number;
	if (!read_number(value, UINT32_MAX, &number))
		return false;
	*(uint32_t *)place = (uint32_t)number;
	return true;
}

static json_object *write_u32(const void *place)
{
	return json_object_new_uint64(*(const uint32_t *)place);
}

static bool read_index(json_object *value, void *place)
{
	uint64_t number;
	if (!read_number(value, TUNNEL_ENDPOINTS_MAX - 1, &number))
		return false;
	*(size_t *)place = (size_t)number;
	return true;
}

static json_object *write_index(const void *place)
{
	return json_object_new_uint64(*(const size_t *)place);
}

static bool read_bool(json_object *value, void *place)
{
	*(bool *)place = json_object_get_boolean(value);
	return json_object_is_type(value, json_type_boolean);
}

static json_object *write_bool(const void *place)
{
	return json_object_new_boolean(*(const bool *)place);
}

static bool read_detail(json_object *value, void *place)
{
	const char *string = string_of(value);
	char clean[WORKER_DETAIL_MAX];
	if (!string || strlen(string) >= WORKER_DETAIL_MAX)
		return false;
	worker_detail_set(clean, string);
	strcpy(place, clean);
	return strcmp(clean, string) == 0;
}

static json_object *write_detail(const void *place)
{
	char clean[WORKER_DETAIL_MAX];
	worker_detail_set(clean, place);
	return json_object_new_string(clean);
}

static bool read_id(json_object *value, void *place)
{
	const char *string = string_of(value);
	if (!string || !tunnel_id_valid(string))
		return false;
	strcpy(place, string);
	return true;
}

static json_object *write_text(const void *place)
{
	return json_object_new_string(place);
}

static bool read_nonce(json_object *value, void *place)
{
	const char *string = string_of(value);
	size_t length = WORKER_NONCE_SIZE * 2;
	if (!string || strlen(string) != length || strspn(string, "0123456789abcdef") != length)
		return false;
	strcpy(place, string);
	return true;
}

static bool read_phase(json_object *value, void *place)
{
	return worker_phase_from_string(string_of(value), place) == 0;
}

static json_object *write_phase(const void *place)
{
	return json_object_new_string(worker_phase_to_string(*(const enum worker_phase *)place));
}

static bool read_request(json_object *value, void *place)
{
	return device_request_from_string(string_of(value), place) == 0;
}

static json_object *write_request(const void *place)
{
	return json_object_new_string(device_request_to_string(*(const enum device_request *)place));
}

static bool read_error(json_object *value, void *place)
{
	return tunnel_error_from_string(string_of(value), place) == 0;
}

static json_object *write_error(const void *place)
{
	return json_object_new_string(tunnel_error_to_string(*(const enum tunnel_error *)place));
}

static bool read_endpoint(json_object *value, void *place)
{
	const char *string = string_of(value);
	return string && endpoint_parse(string, place) == 0;
}

static json_object *write_endpoint(const void *place)
{
	char text[ENDPOINT_TEXT_MAX];
	return json_object_new_string(endpoint_format(text, place));
}

/* null: none */
static bool read_endpoint_or_none(json_object *value, void *place)
{
	return !value || read_endpoint(value, place);
}

static json_object *write_endpoint_or_none(const void *place)
{
	const struct endpoint *endpoint = place;
	return endpoint->address.family == AF_UNSPEC ? NULL : write_endpoint(place);
}

static bool read_addresses(json_object *value, struct tunnel_network *network)
{
	if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) > TUNNEL_PREFIXES_MAX)
		return false;
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		const char *string = string_of(json_object_array_get_idx(value, i));
		if (!string || ip_prefix_parse(string, &network->addresses[network->address_count++]) < 0)
			return false;
	}
	return true;
}

static bool read_literals(json_object *value, size_t max, struct ip_address *addresses, size_t *count)
{
	if (!json_object_is_type(value, json_type_array) || json_object_array_length(value) > max)
		return false;
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		const char *string = string_of(json_object_array_get_idx(value, i));
		if (!string || ip_address_parse(string, &addresses[(*count)++]) < 0)
			return false;
	}
	return true;
}

static bool read_resolvers(json_object *value, void *place)
{
	struct worker_resolvers *resolvers = place;
	return read_literals(value, WORKER_RESOLVERS_MAX, resolvers->servers, &resolvers->count);
}

static json_object *write_resolvers(const void *place)
{
	const struct worker_resolvers *resolvers = place;
	return json_addresses(resolvers->servers, resolvers->count);
}

#define NETWORK_MEMBERS 4
#define MTU_MAX         65535

static bool read_network(json_object *value, void *place)
{
	struct tunnel_network *network = place;
	json_object *addresses, *dns, *mtu, *endpoint;
	uint64_t number;
	if (!json_object_is_type(value, json_type_object) || json_object_object_length(value) != NETWORK_MEMBERS ||
	        !json_object_object_get_ex(value, "addresses", &addresses) ||
	        !json_object_object_get_ex(value, "dns", &dns) || !json_object_object_get_ex(value, "mtu", &mtu) ||
	        !json_object_object_get_ex(value, "endpoint", &endpoint))
		return false;
	if (!read_number(mtu, MTU_MAX, &number))
		return false;
	network->mtu = (uint32_t)number;
	return read_addresses(addresses, network) &&
	       read_literals(dns, TUNNEL_PREFIXES_MAX, network->dns, &network->dns_count) &&
	       read_endpoint(endpoint, &network->endpoint);
}

static json_object *write_network(const void *place)
{
	const struct tunnel_network *network = place;
	json_object *object = json_object_new_object();
	json_object_object_add(object, "addresses", json_prefixes(network->addresses, network->address_count));
	json_object_object_add(object, "dns", json_addresses(network->dns, network->dns_count));
	json_object_object_add(object, "mtu", json_object_new_uint64(network->mtu));
	json_object_object_add(object, "endpoint", write_endpoint(&network->endpoint));
	return object;
}

static bool read_network_or_none(json_object *value, void *place)
{
	return !value || read_network(value, place);
}

static json_object *write_network_or_none(const void *place)
{
	const struct tunnel_network *network = place;
	return network->endpoint.address.family == AF_UNSPEC ? NULL : write_network(place);
}

/* A tunnel's document: what is inside it is the driver's to check. */
static bool read_document(json_object *value, void *place)
{
	if (!json_object_is_type(value, json_type_object))
		return false;
	*(json_object **)place = json_object_get(value);
	return true;
}

static json_object *write_document(const void *place)
{
	return json_object_get(*(json_object *const *)place);
}

static bool read_challenge(json_object *value, void *place)
{
	struct worker_challenge *challenge = place;
	json_object *text = NULL, *echo = NULL;
	if (!value)
		return true;
	return json_object_is_type(value, json_type_object) && json_object_object_length(value) == 2 &&
	       json_object_object_get_ex(value, "text", &text) && read_detail(text, challenge->text) && challenge->text[0] &&
	       json_object_object_get_ex(value, "echo", &echo) && read_bool(echo, &challenge->echo);
}

static json_object *write_challenge(const void *place)
{
	const struct worker_challenge *challenge = place;
	if (!challenge->text[0])
		return NULL;
	json_object *object = json_object_new_object();
	json_object_object_add(object, "text", write_detail(challenge->text));
	json_object_object_add(object, "echo", json_object_new_boolean(challenge->echo));
	return object;
}

static bool read_credentials(json_object *value, void *place)
{
	if (!json_object_is_type(value, json_type_object))
		return false;
	json_object_object_foreach(value, key, member) if (!*key || !string_of(member)) return false;
	return read_document(value, place);
}

static const struct member {
	const char *key;
	size_t offset;
	bool (*read)(json_object *value, void *place);
	json_object *(*write)(const void *place);
	bool later; /* an older worker, which a new daemon takes over, does not say it: then it is what zeroes mean */
} members[] = {
#define MEMBER(key, place, kind)                                                                                       \
	{                                                                                                              \
		key, offsetof(struct worker_message, place), read_##kind, write_##kind                                 \
	}
#define LATER(key, place, kind)                                                                                        \
	{                                                                                                              \
		key, offsetof(struct worker_message, place), read_##kind, write_##kind, true                           \
	}
#define write_id          write_text
#define write_nonce       write_text
#define write_credentials write_document
        MEMBER("attempt", attempt, u32),
        MEMBER("endpointIndex", endpoint_index, index),
        MEMBER("endpoint", endpoint, endpoint),
        MEMBER("resolvers", resolvers, resolvers),
        MEMBER("network", network, network),
        MEMBER("rxBytes", traffic.rx_bytes, u64),
        MEMBER("txBytes", traffic.tx_bytes, u64),
        MEMBER("lastHandshake", traffic.last_handshake_usec, u64),
        MEMBER("error", error, error),
        MEMBER("detail", detail, detail),
        LATER("challenge", challenge, challenge),
        MEMBER("request", request, request),
        MEMBER("tunnel", tunnel, document),
        MEMBER("mark", mark, u32),
        MEMBER("tun", has_tun, bool),
        MEMBER("control", has_control, bool),
        MEMBER("credentials", credentials, credentials),
};

static const struct member hello_members[] = {
        MEMBER("tunnel", hello.tunnel, id),
        MEMBER("nonce", hello.nonce, nonce),
        MEMBER("attempt", hello.attempt, u32),
        MEMBER("phase", hello.phase, phase),
        MEMBER("endpointIndex", hello.endpoint_index, index),
        MEMBER("endpoint", hello.endpoint, endpoint_or_none),
        MEMBER("network", hello.network, network_or_none),
        MEMBER("upSince", hello.up_since_usec, u64),
        MEMBER("error", hello.error, error),
        MEMBER("detail", hello.detail, detail),
        LATER("challenge", hello.challenge, challenge),
};

#define MESSAGE_KEYS_MAX 7

/* What each type consists of, beside `type`; NULL-terminated. hello has a table of its own. */
static const char *const message_keys[][MESSAGE_KEYS_MAX + 1] = {
        [WORKER_MESSAGE_START] = {"attempt", "endpointIndex", "resolvers", "mark", "tun", "control", "tunnel"},
        [WORKER_MESSAGE_STOP] = {"attempt"},
        [WORKER_MESSAGE_RESTART] = {"attempt", "endpointIndex", "resolvers"},
        [WORKER_MESSAGE_PROCEED] = {"attempt"},
        [WORKER_MESSAGE_CREDENTIALS] = {"credentials"},
        [WORKER_MESSAGE_DEVICE] = {"attempt", "request", "error", "detail", "rxBytes", "txBytes", "lastHandshake"},
        [WORKER_MESSAGE_HELLO] = {NULL},
        [WORKER_MESSAGE_CONTACTING] = {"attempt", "endpointIndex", "endpoint"},
        [WORKER_MESSAGE_NEED_CREDENTIALS] = {"attempt", "detail", "challenge"},
        [WORKER_MESSAGE_UP] = {"attempt", "network"},
        [WORKER_MESSAGE_TRAFFIC] = {"rxBytes", "txBytes", "lastHandshake"},
        [WORKER_MESSAGE_ASK_DEVICE] = {"attempt", "request"},
        [WORKER_MESSAGE_WILL_STOP] = {"attempt", "error", "detail"},
        [WORKER_MESSAGE_STOPPED] = {"attempt"},
};

/* The rows of TYPE into ROWS; returns how many. */
static size_t rows_of(enum worker_message_type type, const struct member *rows[ELEMENTSOF(members)])
{
	size_t count = 0;
	if (type == WORKER_MESSAGE_HELLO) {
		for (; count < ELEMENTSOF(hello_members); count++)
			rows[count] = &hello_members[count];
		return count;
	}
	for (const char *const *key = message_keys[type]; *key; key++)
		for (size_t i = 0; i < ELEMENTSOF(members); i++)
			if (strcmp(members[i].key, *key) == 0)
				rows[count++] = &members[i];
	return count;
}

char *worker_message_encode(const struct worker_message *message)
{
	const struct member *rows[ELEMENTSOF(members)];
	size_t count = rows_of(message->type, rows);
	_cleanup_json_ json_object *object = json_object_new_object();
	json_object_object_add(object, "type", json_object_new_string(worker_message_type_to_string(message->type)));
	for (size_t i = 0; i < count; i++)
		json_object_object_add(object, rows[i]->key, rows[i]->write((const char *)message + rows[i]->offset));
	size_t length;
	/* The text lives in the object's own buffer, which json-c frees as it is: a start message holds keys. */
	char *text = (char *)json_object_to_json_string_length(
	        object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
	char *copy = text_ndup(text, length);
	wipe(text, length);
	return copy;
}

static bool decode(json_object *object, struct worker_message *message)
{
	const struct member *rows[ELEMENTSOF(members)];
	json_object *value;
	if (!json_object_is_type(object, json_type_object) || !json_object_object_get_ex(object, "type", &value) ||
	        worker_message_type_from_string(string_of(value), &message->type) < 0)
		return false;
	size_t count = rows_of(message->type, rows), said = 1;
	for (size_t i = 0; i < count; i++) {
		bool there = json_object_object_get_ex(object, rows[i]->key, &value);
		if (there ? !rows[i]->read(value, (char *)message + rows[i]->offset) : !rows[i]->later)
			return false;
		said += there;
	}
	return (size_t)json_object_object_length(object) == said;
}

int worker_message_decode(const char *bytes, size_t length, struct worker_message *ret)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	struct worker_message message = {};
	json_object *object;
	if (length > WORKER_MESSAGE_MAX || json_parse_strict(bytes, length, &object, &problems) < 0)
		return -EBADMSG;
	bool good = decode(object, &message);
	if (good)
		*ret = message;
	else
		worker_message_done(&message);
	json_object_put(object);
	return good ? 0 : -EBADMSG;
}

void worker_message_done(struct worker_message *message)
{
	json_wipe(message->tunnel);
	json_object_put(message->tunnel);
	json_wipe(message->credentials);
	json_object_put(message->credentials);
	message->tunnel = message->credentials = NULL;
}
