/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* IP addresses, networks and endpoints as values. */

#include "util/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

uint8_t ip_address_bits(const struct ip_address *address)
{
	return address->family == AF_INET ? 32 : 128;
}

/* ::ffff:192.0.2.1 is the socket API's way to say 192.0.2.1 (RFC 4291 2.5.5.2); what is sent to it is IPv4, and no rule for IPv6 sees it. */
static bool is_mapped(const struct ip_address *address)
{
	static const uint8_t prefix[] = {[10] = 0xff, 0xff};
	return memcmp(address->bytes, prefix, sizeof prefix) == 0;
}

int ip_address_parse(const char *text, struct ip_address *ret)
{
	struct ip_address address = {.family = AF_INET};
	if (inet_pton(AF_INET, text, address.bytes) != 1) {
		address.family = AF_INET6;
		if (inet_pton(AF_INET6, text, address.bytes) != 1 || is_mapped(&address))
			return -EINVAL;
	}
	*ret = address;
	return 0;
}

/* A decimal number without sign, space or leading zero, at most MAX. */
static int parse_number(const char *text, unsigned max, unsigned *ret)
{
	unsigned number = 0;
	if (!*text || (text[0] == '0' && text[1]))
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		number = number * 10 + (unsigned)(*text - '0');
		if (number > max)
			return -EINVAL;
	}
	*ret = number;
	return 0;
}

int ip_prefix_parse(const char *text, struct ip_prefix *ret)
{
	char copy[IP_TEXT_MAX];
	struct ip_prefix prefix;
	unsigned length;
	if (strlen(text) >= sizeof copy)
		return -EINVAL;
	strcpy(copy, text);
	char *slash = strchr(copy, '/');
	if (slash)
		*slash++ = 0;
	if (ip_address_parse(copy, &prefix.address) < 0)
		return -EINVAL;
	length = ip_address_bits(&prefix.address);
	if (slash && parse_number(slash, length, &length) < 0)
		return -EINVAL;
	prefix.length = (uint8_t)length;
	*ret = prefix;
	return 0;
}

int endpoint_parse(const char *text, struct endpoint *ret)
{
	char copy[ENDPOINT_TEXT_MAX];
	struct endpoint endpoint;
	unsigned port;
	if (strlen(text) >= sizeof copy)
		return -EINVAL;
	strcpy(copy, text);
	char *slash = strrchr(copy, '/'), *colon = strrchr(copy, ':'), *address = copy;
	if (!slash || !colon || slash < colon)
		return -EINVAL;
	*slash++ = 0;
	*colon++ = 0;
	if (strcmp(slash, "udp") == 0)
		endpoint.protocol = IPPROTO_UDP;
	else if (strcmp(slash, "tcp") == 0)
		endpoint.protocol = IPPROTO_TCP;
	else
		return -EINVAL;
	size_t length = strlen(copy);
	bool bracketed = length > 2 && copy[0] == '[' && copy[length - 1] == ']';
	if (bracketed) {
		copy[length - 1] = 0;
		address++;
	}
	if (ip_address_parse(address, &endpoint.address) < 0 || bracketed != (endpoint.address.family == AF_INET6))
		return -EINVAL;
	if (parse_number(colon, UINT16_MAX, &port) < 0 || port == 0)
		return -EINVAL;
	endpoint.port = (uint16_t)port;
	*ret = endpoint;
	return 0;
}

const char *ip_address_format(char buffer[IP_TEXT_MAX], const struct ip_address *address)
{
	if (address->family == AF_UNSPEC || !inet_ntop(address->family, address->bytes, buffer, IP_TEXT_MAX))
		strcpy(buffer, "none");
	return buffer;
}

const char *ip_prefix_format(char buffer[IP_TEXT_MAX], const struct ip_prefix *prefix)
{
	char address[IP_TEXT_MAX];
	snprintf(buffer, IP_TEXT_MAX, "%.45s/%u", ip_address_format(address, &prefix->address), prefix->length);
	return buffer;
}

const char *endpoint_format(char buffer[ENDPOINT_TEXT_MAX], const struct endpoint *endpoint)
{
	char address[IP_TEXT_MAX];
	bool v6 = endpoint->address.family == AF_INET6;
	snprintf(buffer, ENDPOINT_TEXT_MAX, "%s%s%s:%u/%s", v6 ? "[" : "", ip_address_format(address, &endpoint->address),
		v6 ? "]" : "", endpoint->port, endpoint->protocol == IPPROTO_TCP ? "tcp" : "udp");
	return buffer;
}

bool ip_address_equal(const struct ip_address *a, const struct ip_address *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, ip_address_bits(a) / 8) == 0;
}

bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->length == b->length && ip_address_equal(&a->address, &b->address);
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && a->protocol == b->protocol && ip_address_equal(&a->address, &b->address);
}

struct ip_prefix ip_prefix_mask(struct ip_prefix prefix)
{
	unsigned end = ip_address_bits(&prefix.address) / 8, from = prefix.length / 8;
	if (from < end && prefix.length % 8)
		prefix.address.bytes[from++] &= (uint8_t)(0xff00u >> (prefix.length % 8));
	if (from < end)
		memset(prefix.address.bytes + from, 0, end - from);
	return prefix;
}

bool ip_prefix_contains(const struct ip_prefix *network, const struct ip_address *address)
{
	if (network->address.family != address->family)
		return false;
	struct ip_prefix host = {.address = *address, .length = network->length};
	struct ip_prefix left = ip_prefix_mask(host), right = ip_prefix_mask(*network);
	return ip_prefix_equal(&left, &right);
}

bool ip_prefix_inside_any(const struct ip_prefix *ranges, size_t count, const struct ip_prefix *network)
{
	for (size_t i = 0; i < count; i++)
		if (network->length >= ranges[i].length && ip_prefix_contains(&ranges[i], &network->address))
			return true;
	return false;
}

bool ip_prefix_end(const struct ip_prefix *prefix, struct ip_address *ret)
{
	*ret = prefix->address;
	if (prefix->length == 0)
		return false;
	unsigned at = (prefix->length - 1u) / 8, carry = 1u << (7 - (prefix->length - 1u) % 8);
	for (;; at--, carry = 1) {
		carry += ret->bytes[at];
		ret->bytes[at] = (uint8_t)carry;
		if (carry < 0x100 || at == 0)
			return carry < 0x100;
	}
}

/* A network stands behind those that it lies in. */
static int compare_prefixes(const void *left, const void *right)
{
	const struct ip_prefix *a = left, *b = right;
	if (a->address.family != b->address.family)
		return a->address.family == AF_INET ? -1 : 1;
	int order = memcmp(a->address.bytes, b->address.bytes, sizeof a->address.bytes);
	return order ? order : (int)a->length - (int)b->length;
}

size_t ip_prefixes_merge(struct ip_prefix *networks, size_t count)
{
	size_t kept = 0;
	if (count == 0)
		return 0;
	qsort(networks, count, sizeof *networks, compare_prefixes);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || !ip_prefix_contains(&networks[kept - 1], &networks[i].address))
			networks[kept++] = networks[i];
	return kept;
}

bool ip_address_is_loopback(const struct ip_address *address)
{
	static const uint8_t v6[16] = {[15] = 1};
	return address->family == AF_INET ? address->bytes[0] == 127 : memcmp(address->bytes, v6, sizeof v6) == 0;
}

bool ip_address_is_unicast(const struct ip_address *address)
{
	static const uint8_t unspecified[16];
	if (address->family == AF_INET)
		return address->bytes[0] != 0 && address->bytes[0] < 224;
	return address->family == AF_INET6 && address->bytes[0] != 0xff &&
	       memcmp(address->bytes, unspecified, sizeof unspecified) != 0;
}

bool ip_address_is_remote(const struct ip_address *address)
{
	return ip_address_is_unicast(address) && !ip_address_is_loopback(address);
}
