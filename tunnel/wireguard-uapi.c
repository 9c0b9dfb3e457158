/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration protocol of userspace WireGuard, both ways. */

#include "tunnel/wireguard-uapi.h"

#include <errno.h>
#include <string.h>

#include "util/macro.h"
#include "util/text.h"

#define LINE_MAX_LENGTH 256

const char WIREGUARD_GET[] = "get=1\n\n";

static void append_key(struct text *text, const char *name, const uint8_t key[WIREGUARD_KEY_SIZE])
{
	text_append(text, "%s=", name);
	for (size_t i = 0; i < WIREGUARD_KEY_SIZE; i++)
		text_append(text, "%02x", key[i]);
	text_append(text, "\n");
}

static void append_endpoint(struct text *text, const struct endpoint *endpoint)
{
	char address[IP_TEXT_MAX];
	bool v6 = endpoint->address.family == AF_INET6;
	text_append(text, "endpoint=%s%s%s:%u\n", v6 ? "[" : "", ip_address_format(address, &endpoint->address), v6 ? "]" : "",
	        endpoint->port);
}

static void append_peer(struct text *text, const struct wireguard_peer *peer)
{
	char address[IP_TEXT_MAX];
	append_key(text, "public_key", peer->public_key);
	append_key(text, "preshared_key", peer->preshared_key);
	if (peer->endpoint.address.family != AF_UNSPEC)
		append_endpoint(text, &peer->endpoint);
	text_append(text, "persistent_keepalive_interval=%u\nreplace_allowed_ips=true\n", peer->keepalive_sec);
	for (size_t i = 0; i < peer->allowed_count; i++)
		text_append(text, "allowed_ip=%s\n", ip_prefix_format(address, &peer->allowed[i]));
}

char *wireguard_uapi_set(const struct wireguard_device *device)
{
	struct text text = TEXT_NULL;
	/* Room for all of it at once: text that grows leaves copies of the keys behind. */
	size_t size = 1024;
	for (size_t i = 0; i < device->peer_count; i++)
		size += 512 + device->peers[i].allowed_count * (IP_TEXT_MAX + sizeof "allowed_ip=\n");
	text.bytes = xcalloc(1, size);
	text.allocated = size;
	text_append(&text, "set=1\n");
	append_key(&text, "private_key", device->private_key);
	text_append(&text, "fwmark=%u\n", device->mark);
	if (device->listen_port)
		text_append(&text, "listen_port=%u\n", device->listen_port);
	text_append(&text, "replace_peers=true\n");
	for (size_t i = 0; i < device->peer_count; i++)
		append_peer(&text, &device->peers[i]);
	text_append(&text, "\n");
	return text_steal(&text);
}

char *wireguard_uapi_set_keepalive(const uint8_t public_key[WIREGUARD_KEY_SIZE], uint16_t seconds)
{
	struct text text = TEXT_NULL;
	text_append(&text, "set=1\n");
	append_key(&text, "public_key", public_key);
	text_append(&text, "update_only=true\npersistent_keepalive_interval=%u\n\n", seconds);
	return text_steal(&text);
}

char *wireguard_uapi_set_endpoints(const struct wireguard_device *device)
{
	struct text text = TEXT_NULL;
	text_append(&text, "set=1\n");
	for (size_t i = 0; i < device->peer_count; i++) {
		if (device->peers[i].endpoint.address.family == AF_UNSPEC)
			continue;
		append_key(&text, "public_key", device->peers[i].public_key);
		text_append(&text, "update_only=true\n");
		append_endpoint(&text, &device->peers[i].endpoint);
	}
	text_append(&text, "\n");
	return text_steal(&text);
}

static bool parse_hex_key(const char *text, uint8_t key[WIREGUARD_KEY_SIZE])
{
	static const char digits[] = "0123456789abcdef";
	if (strlen(text) != WIREGUARD_KEY_SIZE * 2 || strspn(text, digits) != WIREGUARD_KEY_SIZE * 2)
		return false;
	for (size_t i = 0; i < WIREGUARD_KEY_SIZE; i++)
		key[i] = (uint8_t)((strchr(digits, text[2 * i]) - digits) << 4 |
		                   (strchr(digits, text[2 * i + 1]) - digits));
	return true;
}

static bool parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t number = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		unsigned digit = (unsigned)(*text - '0');
		if (*text < '0' || *text > '9' || number > (max - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*ret = number;
	return true;
}

#define SECONDS_MAX ((uint64_t)1 << 40)

static bool parse_peer_line(const char *key, const char *value, struct wireguard_peer_status *peer)
{
	uint64_t number;
	if (strcmp(key, "rx_bytes") == 0)
		return parse_number(value, UINT64_MAX, &peer->rx_bytes);
	if (strcmp(key, "tx_bytes") == 0)
		return parse_number(value, UINT64_MAX, &peer->tx_bytes);
	if (strcmp(key, "last_handshake_time_sec") == 0) {
		if (!parse_number(value, SECONDS_MAX, &number))
			return false;
		peer->last_handshake_usec += number * USEC_PER_SEC;
	} else if (strcmp(key, "last_handshake_time_nsec") == 0) {
		if (!parse_number(value, 999999999, &number))
			return false;
		peer->last_handshake_usec += number / 1000;
	}
	return true;
}

static bool parse_line(const char *key, const char *value, struct wireguard_answer *answer, bool *ended)
{
	uint64_t number;
	if (strcmp(key, "errno") == 0) {
		bool negative = value[0] == '-';
		if (!parse_number(value + negative, 4096, &number))
			return false;
		answer->error = -(int)number;
		*ended = true;
		return true;
	}
	if (strcmp(key, "public_key") == 0)
		return answer->peer_count < WIREGUARD_ANSWER_PEERS &&
		       parse_hex_key(value, answer->peers[answer->peer_count++].public_key);
	return answer->peer_count == 0 || parse_peer_line(key, value, &answer->peers[answer->peer_count - 1]);
}

ptrdiff_t wireguard_uapi_parse(const char *bytes, size_t length, struct wireguard_answer *ret)
{
	const char *end = memmem(bytes, length, "\n\n", 2);
	char line[LINE_MAX_LENGTH + 1];
	bool ended = false, good = true;
	*ret = (struct wireguard_answer){};
	if (!end)
		return length > WIREGUARD_ANSWER_MAX ? -EBADMSG : 0;
	for (const char *at = bytes; good && at <= end;) {
		const char *stop = memchr(at, '\n', (size_t)(end + 1 - at));
		size_t size = (size_t)(stop - at);
		good = !ended && size <= LINE_MAX_LENGTH && !memchr(at, 0, size);
		if (!good)
			break;
		memcpy(line, at, size);
		line[size] = 0;
		char *equals = strchr(line, '=');
		good = equals && equals != line;
		if (good) {
			*equals = 0;
			good = parse_line(line, equals + 1, ret, &ended);
		}
		at = stop + 1;
	}
	wipe(line, sizeof line);
	return good && ended ? end + 2 - bytes : -EBADMSG;
}
