/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From the lifecycle's state to the plans of both layers. */

#include "daemon/demand.h"

#include <string.h>

/* What lan: "allow" means, and nothing that DHCP or the routing table calls local (TunnelCrack): RFC 1918, 3927, 4193, 4291. */
static const struct ip_prefix lan_ranges[] = {
	{{AF_INET, {10}}, 8},
	{{AF_INET, {172, 16}}, 12},
	{{AF_INET, {192, 168}}, 16},
	{{AF_INET, {169, 254}}, 16},
	{{AF_INET6, {0xfe, 0x80}}, 10},
	{{AF_INET6, {0xfc}}, 7},
};

static bool inside_any(const struct ip_prefix *ranges, size_t count, const struct ip_prefix *network)
{
	for (size_t i = 0; i < count; i++)
		if (network->length >= ranges[i].length && ip_prefix_contains(&ranges[i], &network->address))
			return true;
	return false;
}

enum gate_state demand_of_tunnel(const struct lifecycle_tunnel *tunnel)
{
	if (tunnel->released)
		return GATE_OPEN;
	switch (tunnel->state) {
	case TUNNEL_CONNECTING:
	case TUNNEL_REASSERTING:
	case TUNNEL_DISCONNECTING:
		return GATE_CONNECTING;
	case TUNNEL_CONNECTED:
		return GATE_TUNNEL;
	case TUNNEL_DECIDING:
	case TUNNEL_WAITING:
		return GATE_CLOSED;
	case TUNNEL_DISCONNECTED:
	case TUNNEL_FAILED:
	case TUNNEL_STATE_COUNT:
		break;
	}
	return tunnel->wanted ? GATE_CLOSED : GATE_OPEN;
}

static const struct ip_prefix *addresses_of(const struct demand_facts *facts, size_t *ret_count)
{
	if (facts->network && facts->network->address_count) {
		*ret_count = facts->network->address_count;
		return facts->network->addresses;
	}
	*ret_count = facts->config->address_count;
	return facts->config->addresses;
}

static const struct ip_address *resolvers_of(const struct demand_facts *facts, size_t *ret_count)
{
	if (facts->config->dns_count == 0 && facts->network) {
		*ret_count = facts->network->dns_count;
		return facts->network->dns;
	}
	*ret_count = facts->config->dns_count;
	return facts->config->dns;
}

/* Whom the client may talk to: the server it named, and those it talks to whichever that is. */
static size_t list_endpoints(const struct lifecycle_tunnel *tunnel, const struct tunnel_config *config, struct endpoint *ret)
{
	size_t count = 0;
	if (!tunnel->contacted)
		return 0;
	ret[count++] = tunnel->contact;
	for (size_t i = 0; i < config->companion_count && count < GATE_ENDPOINTS_MAX; i++)
		ret[count++] = config->companions[i];
	return count;
}

static void gate_tunnel(const struct lifecycle_tunnel *tunnel, const struct demand_facts *facts, enum gate_state state,
	struct endpoint *endpoints, struct gate_tunnel *ret)
{
	const struct tunnel_config *config = facts->config;
	*ret = (struct gate_tunnel){
		.id = tunnel->id,
		.interface = config->interface,
		.all = config->all,
		.routes = config->routes,
		.route_count = config->route_count,
		.state = state,
		.endpoints = endpoints,
		.endpoint_count = list_endpoints(tunnel, config, endpoints),
	};
	ret->addresses = addresses_of(facts, &ret->address_count);
	ret->dns = resolvers_of(facts, &ret->dns_count);
	if (state == GATE_CONNECTING && !tunnel->contacted && tunnel->state != TUNNEL_DISCONNECTING)
		ret->resolving = tunnel->endpoint < config->endpoint_count && !config->endpoints[tunnel->endpoint].is_literal;
}

static void add_route(struct demand *demand, enum route_kind kind, struct ip_prefix network, const char *interface)
{
	network = ip_prefix_mask(network);
	for (size_t i = 0; i < demand->routing.route_count; i++) {
		const struct routing_route *other = &demand->routes[i];
		bool sinks_differ = (kind == ROUTE_SINK) != (other->kind == ROUTE_SINK); /* another metric */
		if (!sinks_differ && ip_prefix_equal(&other->network, &network))
			return; /* at equal prefix what came first wins: tunnels are added before throws */
	}
	if (demand->routing.route_count == DEMAND_ROUTES_MAX)
		return; /* what has no route of its own falls into the catch-all: closed */
	struct routing_route *route = &demand->routes[demand->routing.route_count++];
	*route = (struct routing_route){.kind = kind, .network = network};
	strncpy(route->interface, interface, sizeof route->interface - 1);
}

static void add_default(struct demand *demand, enum route_kind kind, int family, const char *interface)
{
	add_route(demand, kind, (struct ip_prefix){.address.family = family}, interface);
}

static bool carries(const struct demand_facts *facts, int family)
{
	size_t count;
	const struct ip_prefix *addresses = addresses_of(facts, &count);
	for (size_t i = 0; i < count; i++)
		if (addresses[i].address.family == family)
			return true;
	return false;
}

/* An address that means another host in each network: what a LAN has, and RFC 6598, of carriers and of some tunnels. */
static bool is_private(const struct ip_address *address)
{
	static const struct ip_prefix carriers = {{AF_INET, {100, 64}}, 10};
	const struct ip_prefix host = {*address, address->family == AF_INET ? 32 : 128};
	return inside_any(lan_ranges, ELEMENTSOF(lan_ranges), &host) || ip_prefix_contains(&carriers, address);
}

/*
 * As long as the link stands the host asks these; before and behind, the same address may be an uplink's resolver. A public one is the same
 * from everywhere, and a granted process asks it by the uplink, as it does where there are more than are told apart.
 */
static void route_resolvers(struct demand *demand, const struct demand_facts *facts)
{
	size_t count;
	const struct ip_address *dns = resolvers_of(facts, &count);
	struct routing_plan *plan = &demand->routing;
	for (size_t i = 0; facts->link && i < count; i++) {
		bool skip = plan->resolver_count == ROUTING_RESOLVERS_MAX || !is_private(&dns[i]);
		for (size_t j = 0; j < plan->resolver_count && !skip; j++)
			skip = ip_address_equal(&plan->resolvers[j], &dns[i]);
		if (!skip)
			plan->resolvers[plan->resolver_count++] = dns[i];
	}
}

/*
 * Its own networks and its resolvers, beside the default routes: a LAN that is let by may have the same network, by chance or to be taken for
 * the tunnel's (TunnelCrack), and at equal networks the tunnel's route wins.
 */
static void route_own(struct demand *demand, const struct demand_facts *facts)
{
	size_t count, dns_count;
	const struct ip_prefix *addresses = addresses_of(facts, &count);
	const struct ip_address *dns = resolvers_of(facts, &dns_count);
	for (size_t i = 0; i < count; i++)
		if (addresses[i].length < ip_address_bits(&addresses[i].address))
			add_route(demand, ROUTE_TUNNEL, addresses[i], facts->config->interface);
	for (size_t i = 0; i < dns_count; i++)
		if (carries(facts, dns[i].family))
			add_route(demand, ROUTE_TUNNEL, (struct ip_prefix){dns[i], ip_address_bits(&dns[i])}, facts->config->interface);
}

static void route_tunnel(struct demand *demand, const struct demand_facts *facts, bool sink)
{
	const struct tunnel_config *config = facts->config;
	static const int families[] = {AF_INET, AF_INET6};
	for (size_t i = 0; config->all && facts->link && i < ELEMENTSOF(families); i++)
		if (carries(facts, families[i]))
			add_default(demand, ROUTE_TUNNEL, families[i], config->interface);
	if (config->all && facts->link)
		route_own(demand, facts);
	for (size_t i = 0; !config->all && i < config->route_count; i++) {
		if (facts->link)
			add_route(demand, ROUTE_TUNNEL, config->routes[i], config->interface);
		if (sink)
			add_route(demand, ROUTE_SINK, config->routes[i], NETWORK_SINK);
	}
}

static bool is_local_link(const struct network_state *network, const char *interface)
{
	for (size_t i = 0; i < network->local_link_count; i++)
		if (strcmp(network->local_links[i], interface) == 0)
			return true;
	return false;
}

/* Networks that the gate lets by outside the tunnel must be found by the host's own routes; in mode off it lets all by. */
static void route_throws(struct demand *demand, const struct demand_input *input)
{
	const struct kill_switch *settings = input->settings;
	const struct network_state *network = input->network;
	bool off = input->lifecycle->mode == GATE_MODE_OFF;
	for (size_t i = 0; i < network->attached_count; i++) {
		const struct attached_network *attached = &network->attached[i];
		bool lan = settings->lan == LAN_ALLOW && ip_prefix_inside_any(lan_ranges, ELEMENTSOF(lan_ranges), &attached->network);
		if (lan || off || is_local_link(network, attached->interface))
			add_route(demand, ROUTE_THROW, attached->network, "");
	}
	for (size_t i = 0; settings->lan == LAN_CUSTOM && i < settings->lan_network_count; i++)
		add_route(demand, ROUTE_THROW, settings->lan_networks[i].network, "");
	for (size_t i = 0; i < settings->management_count; i++)
		add_route(demand, ROUTE_THROW, settings->management[i], "");
	for (size_t i = 0; i < settings->dns.lan_count; i++)
		add_route(demand, ROUTE_THROW, (struct ip_prefix){settings->dns.lan[i], ip_address_bits(&settings->dns.lan[i])}, "");
}

static void plan_routing(const struct demand_input *input, struct demand *demand)
{
	bool catch_all = demand->gate.drop_default;
	const struct lifecycle *life = input->lifecycle;
	const struct kill_switch *settings = input->settings;
	bool any = false;
	struct mark_block grants = mark_grants(settings->mark, settings->mark_mask);
	demand->routing = (struct routing_plan){
		.mark = settings->mark,
		.mask = settings->mark_mask,
		.kinds = MARK_ROUTED_COUNT,
		.grants = grants.first,
		.grants_mask = input->granted & 1u << GRANT_PROCESS ? grants.mask : 0,
		.check = mark_value(settings->mark, settings->mark_mask, MARK_CHECKER),
		.check_port = catch_all ? input->check.port : 0,
		.routes = demand->routes,
	};
	/* Of two that want the same network, the one that carries it has it. */
	for (enum gate_state state = GATE_TUNNEL; state > GATE_OPEN; state--)
		for LIFECYCLE_TUNNELS (i, life)
			if (demand_of_tunnel(&life->tunnels[i]) == state) {
				any = true;
				route_tunnel(demand, &input->facts[i], life->mode != GATE_MODE_OFF);
				route_resolvers(demand, &input->facts[i]);
			}
	if (catch_all || (any && life->mode == GATE_MODE_OFF))
		route_throws(demand, input);
	if (catch_all) {
		add_default(demand, ROUTE_SINK, AF_INET, NETWORK_SINK);
		add_default(demand, ROUTE_SINK, AF_INET6, NETWORK_SINK);
	}
	demand->routing.exists = any || catch_all;
}

static size_t list_attached(const struct network_state *network, struct lan_network *ret)
{
	size_t count = 0;
	for (size_t i = 0; i < network->attached_count; i++) {
		const struct attached_network *attached = &network->attached[i];
		if (!ip_prefix_inside_any(lan_ranges, ELEMENTSOF(lan_ranges), &attached->network))
			continue;
		ret[count].network = ip_prefix_mask(attached->network);
		memcpy(ret[count++].interface, attached->interface, IFNAMSIZ);
	}
	return count;
}

void demand_build_gate(const struct demand_input *input, struct demand *ret)
{
	const struct lifecycle *life = input->lifecycle;
	bool all = life->mode == GATE_MODE_ALWAYS || life->hold;
	ret->state = all ? GATE_CLOSED : GATE_OPEN;
	ret->gate = (struct gate_plan){
		.settings = input->settings,
		.tunnels = ret->tunnels,
		.uplinks = input->network->uplinks,
		.uplink_count = input->network->uplink_count,
		.local_links = input->network->local_links,
		.local_link_count = input->network->local_link_count,
		.attached = ret->attached,
		.attached_count = list_attached(input->network, ret->attached),
		.bootstrap = input->bootstrap,
		.bootstrap_count = input->bootstrap_count,
		.names_resolvers = input->names_resolvers,
		.names_resolver_count = input->names_resolver_count,
		.names_uid = input->names_uid,
		.dhcp_users = input->dhcp_users,
		.granted = input->granted,
		.check = input->check,
	};
	for LIFECYCLE_TUNNELS (i, life) {
		const struct lifecycle_tunnel *tunnel = &life->tunnels[i];
		enum gate_state state = demand_of_tunnel(tunnel);
		if (state == GATE_OPEN)
			continue;
		all |= tunnel->all;
		ret->state = MAX_OF(ret->state, state);
		size_t place = ret->gate.tunnel_count++;
		gate_tunnel(tunnel, &input->facts[i], state, ret->endpoints[place], &ret->tunnels[place]);
	}
	if (life->mode == GATE_MODE_OFF) {
		ret->state = GATE_OPEN;
		all = false;
	}
	ret->gate.exists = ret->state != GATE_OPEN;
	ret->gate.drop_default = all;
}

void demand_build(const struct demand_input *input, struct demand *ret)
{
	demand_build_gate(input, ret);
	plan_routing(input, ret);
}
