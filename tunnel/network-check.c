/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a server may give to its client, and what it may not. */

#include "tunnel/network-check.h"

#include <string.h>

#define MTU_MIN      576  /* what every IPv4 host takes (RFC 791) */
#define MTU_MIN_IPV6 1280 /* RFC 8200 */
#define MTU_MAX      65535

/* Of these nobody's host has one: RFC 6890, RFC 5771, RFC 4291, with what a v4 address would be inside IPv6. */
static const struct {
	struct ip_prefix network;
	const char *what;
} unusable[] = {
        {{{AF_INET, {0}}, 8}, "of no host"},
        {{{AF_INET, {127}}, 8}, "a loopback address"},
        {{{AF_INET, {224}}, 3}, "a multicast or reserved address"},
        {{{AF_INET6, {0}}, 8}, "a reserved or loopback address"},
        {{{AF_INET6, {0xff}}, 8}, "a multicast address"},
};

static const char *what_is_wrong(const struct ip_address *address, const struct endpoint *server)
{
	for (size_t i = 0; i < ELEMENTSOF(unusable); i++)
		if (address->family == unusable[i].network.address.family &&
		        ip_prefix_contains(&unusable[i].network, address))
			return unusable[i].what;
	return ip_address_equal(address, &server->address) ? "the server's own, outside the tunnel" : NULL;
}

static bool valid(const struct ip_address *address, const struct endpoint *server, const char *kind,
        char sentence[WORKER_DETAIL_MAX])
{
	char text[IP_TEXT_MAX];
	const char *wrong = what_is_wrong(address, server);
	if (wrong)
		snprintf(sentence, WORKER_DETAIL_MAX, "the server gave %s as %s, which is %s",
		        ip_address_format(text, address), kind, wrong);
	return !wrong;
}

bool tunnel_network_valid(const struct tunnel_network *network, char sentence[WORKER_DETAIL_MAX])
{
	uint32_t min = MTU_MIN;
	if (network->address_count == 0) {
		snprintf(sentence, WORKER_DETAIL_MAX, "the server gave no address");
		return false;
	}
	for (size_t i = 0; i < network->address_count; i++) {
		if (!valid(&network->addresses[i].address, &network->endpoint, "address", sentence))
			return false;
		if (network->addresses[i].address.family == AF_INET6)
			min = MTU_MIN_IPV6;
	}
	for (size_t i = 0; i < network->dns_count; i++)
		if (!valid(&network->dns[i], &network->endpoint, "resolver", sentence))
			return false;
	if (network->mtu && (network->mtu < min || network->mtu > MTU_MAX)) {
		snprintf(sentence, WORKER_DETAIL_MAX, "the MTU %u is not between %u and %d", network->mtu, min,
		        MTU_MAX);
		return false;
	}
	return true;
}
