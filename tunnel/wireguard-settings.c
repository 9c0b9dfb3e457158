/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A WireGuard tunnel's settings: tables of members for settings, endpoints and peers. Keys are never quoted in a
 * problem. */

#include "tunnel/wireguard-settings.h"

#include <string.h>

#include "util/duration.h"
#include "util/fields.h"
#include "util/text.h"

#define FIELD_ANY                (FIELD_STRING | FIELD_BOOLEAN | FIELD_NUMBER | FIELD_ARRAY | FIELD_OBJECT | FIELD_NULL)
#define ADDRESSES_MAX            16
#define ALLOWED_MAX              1024
#define MTU_MIN                  576  /* what every IPv4 host takes (RFC 791) */
#define MTU_MIN_IPV6             1280 /* RFC 8200 */
#define MTU_MAX                  65535
#define CONNECTING_KEEPALIVE_SEC 1

/* The whole network, for `routes: "all"`. */
static struct ip_prefix everything[] = {{.address = {.family = AF_INET}}, {.address = {.family = AF_INET6}}};

static const char *text_of(json_object *value)
{
	const char *text = json_object_get_string(value);
	return json_object_is_type(value, json_type_string) && strlen(text) == (size_t)json_object_get_string_len(value)
	               ? text
	               : NULL;
}

static void read_key(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (!text_of(value) || wireguard_key_parse(text_of(value), ret) < 0)
		problems_error(problems, pointer, NULL, "is no WireGuard key: 44 characters of base64");
}

/* null: none, which is a key of zeroes. */
static void read_optional_key(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (value)
		read_key(value, pointer, ret, problems, context);
}

static void read_keepalive(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	uint64_t usec = 0;
	if (!value)
		return;
	if (duration_parse(json_object_get_string(value), &usec) < 0 || usec % USEC_PER_SEC ||
	        usec / USEC_PER_SEC > UINT16_MAX)
		problems_error(problems, pointer, value, "must be whole seconds, 0s to 65535s");
	else
		*(uint16_t *)ret = (uint16_t)(usec / USEC_PER_SEC);
}

static void read_mtu(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	int64_t mtu = json_object_get_int64(value);
	if (mtu < MTU_MIN || mtu > MTU_MAX)
		problems_error(problems, pointer, value, "must be between %d and %d", MTU_MIN, MTU_MAX);
	else
		*(uint32_t *)ret = (uint32_t)mtu;
}

/* Reads VALUE as an array of at most MAX prefixes, which the caller frees. */
static size_t read_prefixes(json_object *value, const char *pointer, size_t max, bool networks, struct ip_prefix **ret,
        struct problems *problems)
{
	char at[POINTER_MAX];
	size_t length = json_object_array_length(value), count = 0;
	if (length == 0 || length > max) {
		problems_error(problems, pointer, NULL, "has %zu members; one to %zu are taken", length, max);
		return 0;
	}
	free(*ret);
	*ret = xcalloc(length, sizeof **ret);
	for (size_t i = 0; i < length; i++) {
		json_object *item = json_object_array_get_idx(value, i);
		if (!text_of(item) || ip_prefix_parse(text_of(item), &(*ret)[count]) < 0)
			problems_error(problems, pointer_index(at, pointer, i), item, "is no %s",
			        networks ? "network" : "address");
		else if (networks)
			(*ret)[count] = ip_prefix_mask((*ret)[count]), count++;
		else
			count++;
	}
	return count;
}

static void read_addresses(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct wireguard_settings *settings = context;
	settings->address_count = read_prefixes(value, pointer, ADDRESSES_MAX, false, &settings->addresses, problems);
}

static void read_allowed(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct wireguard_peer *peer = context;
	peer->allowed_count = read_prefixes(value, pointer, ALLOWED_MAX, true, &peer->allowed, problems);
}

/* An endpoint's address was read with the document; only its protocol is WireGuard's business. */
static void read_server_address(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct tunnel_endpoint endpoint;
	if (!text_of(value) || tunnel_endpoint_parse(text_of(value), &endpoint) < 0)
		return; /* it was named already */
	if (endpoint.endpoint.protocol != IPPROTO_UDP)
		problems_error(problems, pointer, value, "WireGuard speaks udp only");
	tunnel_endpoint_done(&endpoint);
}

static void read_peer_address(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct wireguard_peer *peer = context;
	if (value && (!text_of(value) || endpoint_parse(text_of(value), &peer->endpoint) < 0 ||
	                     peer->endpoint.protocol != IPPROTO_UDP))
		problems_error(problems, pointer, value, "must be ADDRESS:PORT/udp with a literal address, or null");
}

#define PEER_FIELDS                                                                                                    \
	{"publicKey", FIELD_STRING, read_key, offsetof(struct wireguard_peer, public_key), .required = true},          \
	        {"presharedKey", FIELD_ANY, read_optional_key, offsetof(struct wireguard_peer, preshared_key)},        \
	{                                                                                                              \
		"persistentKeepalive", FIELD_STRING | FIELD_NULL, read_keepalive,                                      \
		        offsetof(struct wireguard_peer, keepalive_sec)                                                 \
	}

static const struct field server_fields[] = {
        {"address", FIELD_ANY, read_server_address, 0},
        PEER_FIELDS,
};
static const struct field peer_fields[] = {
        {"address", FIELD_STRING | FIELD_NULL, read_peer_address, 0},
        {"allowedIPs", FIELD_ARRAY, read_allowed, 0, .required = true},
        PEER_FIELDS,
};

/* Reads the objects of ARRAY into *RET_PEERS; what is no object is named without quoting it, there may be keys inside.
 */
static size_t read_peers(json_object *array, const struct field *fields, size_t field_count, const char *pointer,
        struct wireguard_peer **ret_peers, struct problems *problems)
{
	char at[POINTER_MAX];
	size_t count = json_object_array_length(array);
	*ret_peers = xcalloc(count, sizeof **ret_peers);
	for (size_t i = 0; i < count; i++) {
		json_object *item = json_object_array_get_idx(array, i);
		struct wireguard_peer *peer = &(*ret_peers)[i];
		pointer_index(at, pointer, i);
		if (json_object_is_type(item, json_type_object))
			fields_read(item, fields, field_count, at, peer, problems, peer);
		else if (fields == peer_fields) /* endpoints were looked at with the document */
			problems_error(problems, at, NULL, "must be an object, is %s", json_type_article(item));
	}
	return count;
}

static void read_settings_peers(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct wireguard_settings *settings = context;
	if (!json_object_is_type(value, json_type_array))
		problems_error(problems, pointer, NULL, "must be an array, is %s", json_type_article(value));
	else if (json_object_array_length(value) > WIREGUARD_PEERS_MAX)
		problems_error(problems, pointer, NULL, "has more than %d peers", WIREGUARD_PEERS_MAX);
	else
		settings->peer_count =
		        read_peers(value, peer_fields, ELEMENTSOF(peer_fields), pointer, &settings->peers, problems);
}

static void read_implementation(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const char *const names[] = {
	        [CARRIER_ANY] = "auto", [CARRIER_KERNEL] = "kernel", [CARRIER_PROGRAM] = "wireguard-go"};
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (strcmp(json_object_get_string(value), names[i]) == 0) {
			*(enum tunnel_carrier *)ret = (enum tunnel_carrier)i;
			return;
		}
	problems_error(problems, pointer, value, "must be auto, kernel or wireguard-go");
}

static const struct field settings_fields[] = {
        {"privateKey", FIELD_ANY, read_key, offsetof(struct wireguard_settings, private_key), .required = true},
        {"addresses", FIELD_ARRAY, read_addresses, 0, .required = true},
        {"mtu", FIELD_INTEGER, read_mtu, offsetof(struct wireguard_settings, mtu)},
        {"peers", FIELD_ANY, read_settings_peers, 0},
        {"implementation", FIELD_STRING, read_implementation, offsetof(struct wireguard_settings, carrier)},
};

static void check_mtu(const struct wireguard_settings *settings, struct problems *problems)
{
	for (size_t i = 0; settings->mtu && i < settings->address_count; i++)
		if (settings->addresses[i].address.family == AF_INET6 && settings->mtu < MTU_MIN_IPV6) {
			problems_error(problems, "/settings/mtu", NULL, "must be at least %d with an IPv6 address",
			        MTU_MIN_IPV6);
			return;
		}
}

/* WireGuard keeps one peer for each public key: a second of the same name would silently be the first. */
static void check_twins(const struct wireguard_settings *settings, struct problems *problems)
{
	char at[POINTER_MAX];
	for (size_t i = 0; i < settings->peer_count; i++) {
		const uint8_t *key = settings->peers[i].public_key;
		bool twin = false;
		for (size_t j = 0; j < settings->server_count; j++)
			twin |= memcmp(settings->servers[j].public_key, key, WIREGUARD_KEY_SIZE) == 0;
		for (size_t j = 0; j < i; j++)
			twin |= memcmp(settings->peers[j].public_key, key, WIREGUARD_KEY_SIZE) == 0;
		if (twin)
			problems_error(problems, pointer_index(at, "/settings/peers", i), NULL,
			        "has the public key of another peer or endpoint");
	}
}

static void check_companions(const struct wireguard_settings *settings, struct problems *problems)
{
	size_t count = 0;
	for (size_t i = 0; i < settings->peer_count; i++)
		count += settings->peers[i].endpoint.address.family != AF_UNSPEC;
	if (count > TUNNEL_COMPANIONS_MAX)
		problems_error(problems, "/settings/peers", NULL,
		        "has %zu peers with an address; at most %d pass the gate", count, TUNNEL_COMPANIONS_MAX);
}

bool wireguard_settings_read(
        json_object *settings, json_object *endpoints, struct wireguard_settings *ret, struct problems *problems)
{
	size_t errors = problems->errors;
	*ret = (struct wireguard_settings){};
	fields_read(settings, settings_fields, ELEMENTSOF(settings_fields), "/settings", ret, problems, ret);
	if (json_object_array_length(endpoints) == 0)
		problems_error(problems, "/endpoints", NULL, "is empty; WireGuard needs the address of a server");
	ret->server_count =
	        read_peers(endpoints, server_fields, ELEMENTSOF(server_fields), "/endpoints", &ret->servers, problems);
	if (problems->errors == errors) {
		check_mtu(ret, problems);
		check_twins(ret, problems);
		check_companions(ret, problems);
	}
	return problems->errors == errors;
}

static void peers_done(struct wireguard_peer *peers, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(peers[i].allowed);
	wipe(peers, count * sizeof *peers);
	free(peers);
}

static void device_done(struct wireguard_device *device)
{
	wipe(device->peers, device->peer_count * sizeof *device->peers);
	free(device->peers);
	wipe(device, sizeof *device);
}

void wireguard_settings_done(struct wireguard_settings *settings)
{
	device_done(&settings->device);
	peers_done(settings->servers, settings->server_count);
	peers_done(settings->peers, settings->peer_count);
	free(settings->addresses);
	wipe(settings, sizeof *settings);
}

const struct wireguard_device *wireguard_settings_device(struct wireguard_settings *settings,
        const struct tunnel_config *config, size_t index, const struct endpoint *address, uint32_t mark,
        bool connecting)
{
	struct wireguard_device *device = &settings->device;
	device_done(device);
	memcpy(device->private_key, settings->private_key, WIREGUARD_KEY_SIZE);
	device->mark = mark;
	device->peer_count = 1 + settings->peer_count;
	device->peers = xcalloc(device->peer_count, sizeof *device->peers);
	device->peers[0] = settings->servers[index];
	device->peers[0].endpoint = *address;
	device->peers[0].allowed = config->all ? everything : config->routes;
	device->peers[0].allowed_count = config->all ? ELEMENTSOF(everything) : config->route_count;
	if (connecting)
		device->peers[0].keepalive_sec = CONNECTING_KEEPALIVE_SEC;
	/* They come second: a network that both name belongs to the peer that was set last. */
	if (settings->peer_count)
		memcpy(device->peers + 1, settings->peers, settings->peer_count * sizeof *settings->peers);
	return device;
}

struct tunnel_traffic wireguard_settings_traffic(const struct wireguard_settings *settings, size_t index,
        const struct wireguard_peer_status *peers, size_t count)
{
	struct tunnel_traffic traffic = {};
	for (size_t i = 0; i < count; i++) {
		traffic.rx_bytes += peers[i].rx_bytes;
		traffic.tx_bytes += peers[i].tx_bytes;
		if (memcmp(peers[i].public_key, settings->servers[index].public_key, WIREGUARD_KEY_SIZE) == 0)
			traffic.last_handshake_usec = peers[i].last_handshake_usec;
	}
	return traffic;
}
