/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "firewall/plan.h"

#include <netinet/in.h>
#include <string.h>

#include "firewall/check.h"
#include "firewall/name.h"

static bool address_good(const struct ip_address *address)
{
	return address->family == AF_INET || address->family == AF_INET6;
}

static bool networks_good(const struct ip_prefix *networks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!address_good(&networks[i].address) || networks[i].length > ip_address_bits(&networks[i].address))
			return false;
	return true;
}

static bool addresses_good(const struct ip_address *addresses, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!address_good(&addresses[i]))
			return false;
	return true;
}

static const char *tunnel_reason(const struct gate_tunnel *tunnel)
{
	if (!tunnel->id || !tunnel_name_valid(tunnel->id))
		return "a tunnel's id is not valid";
	if (!tunnel->interface || !interface_name_valid(tunnel->interface) ||
	        strncmp(tunnel->interface, GATE_LINK_PREFIX, strlen(GATE_LINK_PREFIX)) != 0)
		return "a tunnel's link is not named hf-…";
	if (tunnel->endpoint_count > GATE_ENDPOINTS_MAX)
		return "a tunnel has too many endpoints at a time";
	for (size_t i = 0; i < tunnel->endpoint_count; i++) {
		const struct endpoint *endpoint = &tunnel->endpoints[i];
		if (!address_good(&endpoint->address) || endpoint->port == 0 ||
		        (endpoint->protocol != IPPROTO_TCP && endpoint->protocol != IPPROTO_UDP))
			return "an endpoint is not valid";
	}
	if ((unsigned)tunnel->state > GATE_TUNNEL)
		return "a tunnel's state is not valid";
	if (!networks_good(tunnel->routes, tunnel->route_count) ||
	        !networks_good(tunnel->addresses, tunnel->address_count) ||
	        !addresses_good(tunnel->dns, tunnel->dns_count))
		return "a tunnel's networks, addresses or resolvers are not valid";
	return NULL;
}

const char *plan_reason(const struct gate_plan *plan)
{
	if (!plan->settings)
		return "the plan has no settings";
	if (!plan->settings->mark_mask || (plan->settings->mark & ~plan->settings->mark_mask))
		return "the mark does not lie under its mask";
	for (size_t i = 0; i < plan->attached_count; i++)
		if (!networks_good(&plan->attached[i].network, 1))
			return "an attached network is not valid";
	if (!addresses_good(plan->bootstrap, plan->bootstrap_count))
		return "a bootstrap resolver is not valid";
	if (!addresses_good(plan->names_resolvers, plan->names_resolver_count))
		return "a resolver of granted domains is not valid";
	if (plan->dhcp_users.count > GATE_DHCP_USERS_MAX)
		return "there are too many users that DHCP clients run as";
	if (check_reason(&plan->check))
		return check_reason(&plan->check);
	for (size_t i = 0; i < plan->tunnel_count; i++) {
		const char *reason = tunnel_reason(&plan->tunnels[i]);
		if (reason)
			return reason;
	}
	return NULL;
}
