/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Plans of every kind. Addresses are of the documentation ranges. */

#include "gate-plans.h"

#include <string.h>

#include "util/fields.h"

#define V4(a, b, c, d)                                                                                                 \
	{                                                                                                              \
		.family = AF_INET, .bytes = { a, b, c, d }                                                             \
	}
#define NET4(a, b, c, d, len)                                                                                          \
	{                                                                                                              \
		.address = V4(a, b, c, d), .length = len                                                               \
	}
#define DOC6(last)                                                                                                     \
	{                                                                                                              \
		.family = AF_INET6, .bytes = { 0x20, 0x01, 0x0d, 0xb8, [15] = last }                                   \
	}

static const struct endpoint endpoints[] = {
        {.address = V4(203, 0, 113, 7), .port = 51820, .protocol = IPPROTO_UDP},
        {.address = DOC6(7), .port = 443, .protocol = IPPROTO_TCP},
};
static const struct ip_prefix addresses[] = {NET4(10, 9, 0, 2, 32), {.address = DOC6(0x92), .length = 128}};
static const struct ip_address resolvers[] = {V4(10, 9, 0, 1), DOC6(0x91)};
static const struct ip_address bootstrap[] = {V4(192, 0, 2, 53), DOC6(0x53)};
static const struct ip_prefix office[] = {NET4(10, 20, 0, 0, 16), NET4(172, 20, 0, 0, 16)};
static const struct ip_prefix office_lab[] = {NET4(10, 20, 30, 0, 24), NET4(172, 20, 0, 0, 16)};
static const char uplinks[][IFNAMSIZ] = {"eth0", "wlan0"};
static const struct lan_network attached[] = {
        {{{AF_INET, {10, 1}}, 24}, "wlan0"},
        {{{AF_INET6, {0xfd, 0x01}}, 64}, "eth0"},
        {{{AF_INET, {192, 168, 7}}, 24}, "eth0"},
};
static const char local_links[][IFNAMSIZ] = {"docker0", "virbr0"};

#define TUNNEL(name, gate_state)                                                                                       \
	.id = name, .interface = "hf-" name, .state = gate_state, .endpoints = endpoints, .endpoint_count = 2,         \
	.addresses = addresses, .address_count = 2, .dns = resolvers, .dns_count = 2
#define HOME(gate_state)                                                                                               \
	{                                                                                                              \
		TUNNEL("home", gate_state), .all = true                                                                \
	}

static const struct gate_tunnel home_closed[] = {HOME(GATE_CLOSED)};
static const struct gate_tunnel home_connecting[] = {HOME(GATE_CONNECTING)};
static const struct gate_tunnel home_resolving[] = {{TUNNEL("home", GATE_CONNECTING), .all = true, .resolving = true}};
static const struct gate_tunnel home_tunnel[] = {HOME(GATE_TUNNEL)};
static const struct gate_tunnel office_connecting[] = {
        {TUNNEL("office", GATE_CONNECTING), .routes = office, .route_count = 2},
};
static const struct gate_tunnel office_tunnel[] = {
        {TUNNEL("office", GATE_TUNNEL), .routes = office, .route_count = 2},
};
static const struct gate_tunnel several[] = {
        HOME(GATE_TUNNEL),
        {TUNNEL("office", GATE_TUNNEL), .routes = office, .route_count = 2},
        {TUNNEL("lab", GATE_CLOSED), .routes = office_lab, .route_count = 2},
};

#define LINKS                                                                                                          \
	.uplinks = uplinks, .uplink_count = 2, .attached = attached, .attached_count = 3, .local_links = local_links, .local_link_count = 2,                      \
	.bootstrap = bootstrap, .bootstrap_count = 2, .dhcp_users = {.uids = {101, 998}, .count = 2}
#define GUARDED .exists = true, .drop_default = true

#define CUSTOM                                                                                                         \
	"{\"lan\": {\"custom\": [{\"network\": \"192.0.2.0/24\", \"interface\": \"eth0\"}, {\"network\": "             \
	"\"2001:db8:1::/48\"}]},"                                                                                      \
	" \"dns\": {\"lan\": [\"192.0.2.53\"]}, \"management\": [\"198.51.100.0/24\", \"2001:db8:2::/48\"],"           \
	" \"inbound\": [{\"protocol\": \"tcp\", \"port\": 22, \"from\": [\"10.0.0.0/8\", \"10.1.0.0/16\", "            \
	"\"2001:db8:3::/48\"]},"                                                                                       \
	"             {\"protocol\": \"udp\", \"port\": 60000}],"                                                      \
	" \"forwarding\": {\"masquerade\": true}, \"fwmark\": {\"value\": \"0x100\", \"mask\": \"0xf00\"}}"

const struct named_plan gate_plans[] = {
        {"open", "{}", {.exists = false}},
        {"closed-bare", "{\"mode\": \"always\"}", {GUARDED}},
        {"closed", "{\"mode\": \"always\"}", {GUARDED, LINKS}},
        {"closed-wanted", "{}", {GUARDED, LINKS, .tunnels = home_closed, .tunnel_count = 1}},
        {"connecting", "{}", {GUARDED, LINKS, .tunnels = home_connecting, .tunnel_count = 1}},
        {"resolving", "{}", {GUARDED, LINKS, .tunnels = home_resolving, .tunnel_count = 1}},
        {"tunnel", "{}", {GUARDED, LINKS, .tunnels = home_tunnel, .tunnel_count = 1}},
        {"tunnel-lan-allow", "{\"lan\": \"allow\"}", {GUARDED, LINKS, .tunnels = home_tunnel, .tunnel_count = 1}},
        {"tunnel-lan-custom", CUSTOM, {GUARDED, LINKS, .tunnels = home_tunnel, .tunnel_count = 1}},
        {"closed-lan-custom", CUSTOM, {GUARDED, LINKS}},
        {"narrow-connecting", "{}", {.exists = true, LINKS, .tunnels = office_connecting, .tunnel_count = 1}},
        {"narrow-tunnel", "{}", {.exists = true, LINKS, .tunnels = office_tunnel, .tunnel_count = 1}},
        {"narrow-always", "{\"mode\": \"always\"}", {GUARDED, LINKS, .tunnels = office_tunnel, .tunnel_count = 1}},
        {"tunnel-granted", "{}",
                {GUARDED, LINKS, .tunnels = home_tunnel, .tunnel_count = 1, .granted = (1u << GRANT_KIND_COUNT) - 1,
                        .names_resolvers = bootstrap, .names_resolver_count = 2, .names_uid = 64992}},
        {"closed-check", "{\"mode\": \"always\"}",
                {GUARDED, LINKS, .check = {.port = 80, .name = "network-test.example.org", .resolvers = bootstrap, .resolver_count = 2, .resolved_uid = 64993}}},
        {"tunnel-check-literal", "{}",
                {GUARDED, LINKS, .tunnels = home_tunnel, .tunnel_count = 1, .check = {.port = 443, .host = DOC6(0x80)}}},
        {"several", "{}", {GUARDED, LINKS, .tunnels = several, .tunnel_count = 3}},
};
const size_t gate_plan_count = ELEMENTSOF(gate_plans);

struct gate_plan gate_plan_make(const struct named_plan *named, struct kill_switch **ret_settings)
{
	_cleanup_json_ json_object *document = NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	struct gate_plan plan = named->plan;
	if (json_parse_strict(named->settings, strlen(named->settings), &document, &problems) < 0 ||
	        kill_switch_parse(document, ret_settings, &problems) < 0)
		abort();
	plan.settings = *ret_settings;
	return plan;
}

struct gate_plan gate_plan_named(const char *name, struct kill_switch **ret_settings)
{
	for (size_t i = 0; i < gate_plan_count; i++)
		if (strcmp(gate_plans[i].name, name) == 0)
			return gate_plan_make(&gate_plans[i], ret_settings);
	abort();
}
