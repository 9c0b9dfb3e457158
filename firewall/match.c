/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "firewall/match.h"

#include <string.h>

#include "firewall/name.h"
#include "util/text.h"

const char *family_word(int family)
{
	return family == AF_INET ? "ip" : "ip6";
}

const char *address_text(char buffer[IP_TEXT_MAX], const struct ip_address *address)
{
	ip_address_format(buffer, address);
	if (address->family == AF_INET6 && strchr(buffer, '.')) {
		size_t length = 0;
		for (size_t i = 0; i < 16; i += 2)
			length += (size_t)snprintf(buffer + length, IP_TEXT_MAX - length, "%s%x", i ? ":" : "",
			        address->bytes[i] << 8 | address->bytes[i + 1]);
	}
	return buffer;
}

int compare_networks(const void *left, const void *right)
{
	const struct ip_prefix *a = left, *b = right;
	int order = memcmp(a->address.bytes, b->address.bytes, sizeof a->address.bytes);
	return order ? order : (int)a->length - b->length;
}

char *match_networks(int family, const char *side, const struct ip_prefix *networks, size_t count)
{
	_cleanup_free_ struct ip_prefix *sorted = xcalloc(count, sizeof *sorted);
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (networks[i].address.family == family)
			sorted[kept++] = ip_prefix_mask(networks[i]);
	kept = ip_prefixes_merge(sorted, kept);
	if (kept == 0)
		return NULL;
	if (sorted[0].length == 0)
		return text_format("meta nfproto %s", family == AF_INET ? "ipv4" : "ipv6");
	struct text text = TEXT_NULL;
	text_append(&text, "%s %s %s", family_word(family), side, kept > 1 ? "{ " : "");
	for (size_t i = 0; i < kept; i++) {
		char address[IP_TEXT_MAX];
		text_append(&text, "%s%s", i ? ", " : "", address_text(address, &sorted[i].address));
		if (sorted[i].length < ip_address_bits(&sorted[i].address))
			text_append(&text, "/%u", sorted[i].length);
	}
	text_append(&text, "%s", kept > 1 ? " }" : "");
	return text_steal(&text);
}

char *match_addresses(int family, const char *side, const struct ip_address *addresses, size_t count)
{
	_cleanup_free_ struct ip_prefix *hosts = xcalloc(count, sizeof *hosts);
	for (size_t i = 0; i < count; i++)
		hosts[i] = (struct ip_prefix){.address = addresses[i], .length = ip_address_bits(&addresses[i])};
	return match_networks(family, side, hosts, count);
}

void collect_names(struct names *into, const char (*names)[IFNAMSIZ], size_t count)
{
	for (size_t i = 0; i < count && into->count < ELEMENTSOF(into->names); i++) {
		bool known = !interface_name_foreign(names[i]);
		for (size_t j = 0; j < into->count && !known; j++)
			known = strcmp(into->names[j], names[i]) == 0;
		if (!known)
			into->names[into->count++] = names[i];
	}
}

char *match_links(const char *side, const struct names *links)
{
	struct text text = TEXT_NULL;
	if (links->count == 0)
		return NULL;
	text_append(&text, "%s %s", side, links->count > 1 ? "{ " : "");
	for (size_t i = 0; i < links->count; i++)
		text_append(&text, "%s\"%s\"", i ? ", " : "", links->names[i]);
	text_append(&text, "%s", links->count > 1 ? " }" : "");
	return text_steal(&text);
}
