/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A table of variables. Addresses become hosts': what is beyond them is the tunnel's routes' business. */

#include "tunnel/openvpn-network.h"

#include <string.h>

static bool add_address(struct tunnel_network *network, const char *value)
{
	struct ip_prefix *prefix = &network->addresses[network->address_count];
	if (network->address_count == TUNNEL_PREFIXES_MAX || ip_address_parse(value, &prefix->address) < 0)
		return false;
	prefix->length = ip_address_bits(&prefix->address);
	network->address_count++;
	return true;
}

static bool read_mtu(struct tunnel_network *network, const char *value)
{
	char *end;
	unsigned long mtu = strtoul(value, &end, 10);
	network->mtu = (uint32_t)MIN_OF(mtu, 1000000UL); /* what is too much is judged with the rest */
	return *value >= '0' && *value <= '9' && !*end;
}

/* "dhcp-option DNS 10.9.0.1"; of the other options none is done, and a resolver too many is left out. */
static bool read_option(struct tunnel_network *network, const char *value)
{
	static const char *const beginnings[] = {"dhcp-option DNS ", "dhcp-option DNS6 "};
	for (size_t i = 0; i < ELEMENTSOF(beginnings); i++) {
		size_t length = strlen(beginnings[i]);
		if (strncmp(value, beginnings[i], length) != 0)
			continue;
		if (network->dns_count == TUNNEL_PREFIXES_MAX)
			return true;
		return ip_address_parse(value + length, &network->dns[network->dns_count++]) == 0;
	}
	return true;
}

static const struct {
	const char *name; /* or its beginning */
	bool numbered;
	bool (*read)(struct tunnel_network *network, const char *value);
} variables[] = {
        {"ifconfig_local", false, add_address},
        {"ifconfig_ipv6_local", false, add_address},
        {"tun_mtu", false, read_mtu},
        {"foreign_option_", true, read_option},
};

bool openvpn_network_read(struct tunnel_network *network, const char *name, const char *value, char sentence[WORKER_DETAIL_MAX])
{
	for (size_t i = 0; i < ELEMENTSOF(variables); i++) {
		bool fits = variables[i].numbered ? strncmp(name, variables[i].name, strlen(variables[i].name)) == 0
		                                  : strcmp(name, variables[i].name) == 0;
		if (!fits || variables[i].read(network, value))
			continue;
		snprintf(sentence, WORKER_DETAIL_MAX, "the server gave %.40s as \"%.100s\", which makes no sense", name, value);
		return false;
	}
	return true;
}
