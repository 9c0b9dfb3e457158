/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* From the lifecycle's state to the plans: the table of what a wanted tunnel asks of the gate, and the second layer's routes. */

#include <string.h>

#include "daemon/demand.h"
#include "suite.h"
#include "util/text.h"

static struct lifecycle life;
static struct demand_facts facts[LIFECYCLE_TUNNELS_MAX];
static struct tunnel_config home, lab;
static struct tunnel_network home_network;
static struct tunnel_endpoint home_endpoint = {.is_literal = true};
static struct network_state network;
static struct kill_switch settings;
static unsigned granted;
static struct demand demand;
static struct ip_prefix lab_route;

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix parsed = {};
	CU_ASSERT_EQUAL_FATAL(ip_prefix_parse(text, &parsed), 0);
	return parsed;
}

static void set_up(void)
{
	life = (struct lifecycle){.mode = GATE_MODE_AUTO};
	settings = (struct kill_switch){.mark = MARK_DEFAULT_VALUE, .mark_mask = MARK_DEFAULT_MASK};
	network = (struct network_state){.uplinks = {"eth0"}, .uplink_count = 1, .local_links = {"docker0"}, .local_link_count = 1};
	network.attached[0] = (struct attached_network){prefix("10.1.0.7/24"), "eth0"};
	network.attached[1] = (struct attached_network){prefix("203.0.113.7/24"), "eth0"};
	network.attached[2] = (struct attached_network){prefix("172.17.0.1/16"), "docker0"};
	network.attached_count = 3;
	home = (struct tunnel_config){.id = "home", .interface = "hf-home", .all = true, .endpoints = &home_endpoint, .endpoint_count = 1};
	lab_route = prefix("10.9.0.0/16");
	lab = (struct tunnel_config){.id = "lab", .interface = "hf-lab", .routes = &lab_route, .route_count = 1};
	home_network = (struct tunnel_network){.addresses = {prefix("10.8.0.2/32")}, .address_count = 1};
	memset(facts, 0, sizeof facts);
	facts[0] = (struct demand_facts){.config = &home, .network = &home_network, .link = true};
	facts[1] = (struct demand_facts){.config = &lab};
	struct lifecycle_tunnel *first = lifecycle_add(&life, 0, 0), *second = lifecycle_add(&life, 1, 0);
	first->id = home.id;
	first->all = true;
	second->id = lab.id;
}

static void build(void)
{
	struct demand_input input = {.lifecycle = &life, .facts = facts, .settings = &settings, .network = &network, .granted = granted};
	demand_build(&input, &demand);
}

static void want_home(enum tunnel_state state)
{
	life.tunnels[0].wanted = true;
	life.tunnels[0].state = state;
}

/* The routes as lines "tunnel 0.0.0.0/0 hf-home". The caller frees them. */
static char *routes(void)
{
	static const char *const kinds[] = {[ROUTE_TUNNEL] = "tunnel", [ROUTE_SINK] = "sink", [ROUTE_THROW] = "throw"};
	_cleanup_text_ struct text text = TEXT_NULL;
	char network_text[IP_TEXT_MAX];
	for (size_t i = 0; i < demand.routing.route_count; i++)
		text_append(&text, "%s %s %s\n", kinds[demand.routes[i].kind], ip_prefix_format(network_text, &demand.routes[i].network),
			demand.routes[i].interface);
	return text_steal(&text);
}

static void the_state_decides(void)
{
	static const struct {
		enum tunnel_state state;
		bool wanted;
		enum gate_state gate;
	} table[] = {
		{TUNNEL_CONNECTING, true, GATE_CONNECTING},   {TUNNEL_REASSERTING, true, GATE_CONNECTING}, {TUNNEL_CONNECTED, true, GATE_TUNNEL},
		{TUNNEL_DISCONNECTING, true, GATE_CONNECTING}, {TUNNEL_DISCONNECTING, false, GATE_CONNECTING}, {TUNNEL_DECIDING, true, GATE_CLOSED},
		{TUNNEL_WAITING, true, GATE_CLOSED},	      {TUNNEL_FAILED, true, GATE_CLOSED},	  {TUNNEL_DISCONNECTED, true, GATE_CLOSED},
		{TUNNEL_DISCONNECTED, false, GATE_OPEN},
	};
	for (size_t i = 0; i < ELEMENTSOF(table); i++) {
		set_up();
		life.tunnels[0].state = table[i].state;
		life.tunnels[0].wanted = table[i].wanted;
		build();
		CU_ASSERT_EQUAL(demand.state, table[i].gate);
		CU_ASSERT_EQUAL(demand.gate.exists, table[i].gate != GATE_OPEN);
		CU_ASSERT_EQUAL(demand.gate.drop_default, table[i].gate != GATE_OPEN);
		CU_ASSERT_EQUAL(demand.routing.exists, table[i].gate != GATE_OPEN);
	}
}

static void no_state_of_a_wanted_tunnel_is_open(void)
{
	for (enum tunnel_state state = 0; state < TUNNEL_STATE_COUNT; state++) {
		set_up();
		want_home(state);
		build();
		CU_ASSERT_NOT_EQUAL(demand.state, GATE_OPEN);
	}
}

static void resolvers_are_the_tunnels_while_its_link_stands(void)
{
	struct ip_address own = {};
	set_up();
	want_home(TUNNEL_WAITING);
	home_network.dns_count = 1;
	CU_ASSERT_EQUAL(ip_address_parse("10.8.0.1", &home_network.dns[0]), 0);
	build();
	CU_ASSERT_EQUAL_FATAL(demand.routing.resolver_count, 1);
	CU_ASSERT(ip_address_equal(&demand.routing.resolvers[0], &home_network.dns[0]));
	CU_ASSERT_EQUAL(ip_address_parse("100.64.0.7", &own), 0);
	home.dns = &own;
	home.dns_count = 1;
	build();
	CU_ASSERT_EQUAL_FATAL(demand.routing.resolver_count, 1);
	CU_ASSERT(ip_address_equal(&demand.routing.resolvers[0], &own));
	CU_ASSERT_EQUAL(ip_address_parse("192.0.2.53", &own), 0); /* the same from everywhere */
	build();
	CU_ASSERT_EQUAL(demand.routing.resolver_count, 0);
	CU_ASSERT_EQUAL(ip_address_parse("10.8.0.1", &own), 0);
	facts[0].link = false;
	build();
	CU_ASSERT_EQUAL(demand.routing.resolver_count, 0);
}

static void mode_always_is_closed_without_a_tunnel(void)
{
	set_up();
	life.mode = GATE_MODE_ALWAYS;
	build();
	CU_ASSERT_EQUAL(demand.state, GATE_CLOSED);
	CU_ASSERT_TRUE(demand.gate.drop_default);
	_cleanup_free_ char *text = routes();
	CU_ASSERT_STRING_EQUAL(text, "throw 172.17.0.0/16 \nsink 0.0.0.0/0 hf0\nsink ::/0 hf0\n");
}

static void a_hold_is_closed(void)
{
	set_up();
	life.hold = true;
	build();
	CU_ASSERT_EQUAL(demand.state, GATE_CLOSED);
	CU_ASSERT_TRUE(demand.gate.drop_default);
	CU_ASSERT_TRUE(demand.routing.exists);
}

static void mode_off_routes_and_does_not_catch(void)
{
	set_up();
	life.mode = GATE_MODE_OFF;
	want_home(TUNNEL_CONNECTED);
	build();
	CU_ASSERT_EQUAL(demand.state, GATE_OPEN);
	CU_ASSERT_FALSE(demand.gate.exists);
	CU_ASSERT_TRUE(demand.routing.exists);
	_cleanup_free_ char *text = routes();
	CU_ASSERT_STRING_EQUAL(text, "tunnel 0.0.0.0/0 hf-home\nthrow 10.1.0.0/24 \nthrow 203.0.113.0/24 \nthrow 172.17.0.0/16 \n");
}

static void only_families_that_the_tunnel_has_go_into_it(void)
{
	set_up();
	want_home(TUNNEL_CONNECTED);
	build();
	_cleanup_free_ char *four = routes();
	CU_ASSERT_STRING_EQUAL(four, "tunnel 0.0.0.0/0 hf-home\nthrow 172.17.0.0/16 \nsink 0.0.0.0/0 hf0\nsink ::/0 hf0\n");
	home_network.addresses[home_network.address_count++] = prefix("fd00::2/128");
	build();
	_cleanup_free_ char *both = routes();
	CU_ASSERT_STRING_EQUAL(both,
		"tunnel 0.0.0.0/0 hf-home\ntunnel ::/0 hf-home\nthrow 172.17.0.0/16 \nsink 0.0.0.0/0 hf0\nsink ::/0 hf0\n");
}

static void a_link_that_is_not_there_gets_no_route(void)
{
	set_up();
	want_home(TUNNEL_CONNECTING);
	facts[0].link = false;
	build();
	_cleanup_free_ char *text = routes();
	CU_ASSERT_STRING_EQUAL(text, "throw 172.17.0.0/16 \nsink 0.0.0.0/0 hf0\nsink ::/0 hf0\n");
}

static void the_lan_is_private_ranges_only(void)
{
	set_up();
	settings.lan = LAN_ALLOW;
	want_home(TUNNEL_WAITING);
	facts[0].link = false;
	build();
	_cleanup_free_ char *text = routes(); /* 203.0.113.0/24 is attached too, and no LAN */
	CU_ASSERT_STRING_EQUAL(text, "throw 10.1.0.0/24 \nthrow 172.17.0.0/16 \nsink 0.0.0.0/0 hf0\nsink ::/0 hf0\n");
	CU_ASSERT_EQUAL(demand.gate.attached_count, 2); /* what the gate lets by is what has a route */
	CU_ASSERT_STRING_EQUAL(demand.gate.attached[0].interface, "eth0");
	CU_ASSERT_STRING_EQUAL(demand.gate.attached[1].interface, "docker0");
}

static void what_the_settings_let_by_takes_the_hosts_own_routes(void)
{
	struct ip_prefix management = {.address = {AF_INET, {198, 51, 100}}, .length = 24};
	struct ip_address resolver = {AF_INET, {10, 1, 0, 9}};
	set_up();
	settings.management = &management;
	settings.management_count = 1;
	settings.dns.lan = &resolver;
	settings.dns.lan_count = 1;
	want_home(TUNNEL_WAITING);
	facts[0].link = false;
	build();
	_cleanup_free_ char *text = routes();
	CU_ASSERT_STRING_EQUAL(text,
		"throw 172.17.0.0/16 \nthrow 198.51.100.0/24 \nthrow 10.1.0.9/32 \nsink 0.0.0.0/0 hf0\nsink ::/0 hf0\n");
	struct lan_network lan = {.network = {{AF_INET, {10, 2}}, 16}};
	settings.lan_networks = &lan;
	settings.lan_network_count = 1;
	build(); /* listed, and not in force */
	_cleanup_free_ char *blocked = routes();
	CU_ASSERT_STRING_EQUAL(blocked, text);
	settings.lan = LAN_CUSTOM;
	settings.management_count = settings.dns.lan_count = 0;
	build();
	_cleanup_free_ char *custom = routes();
	CU_ASSERT_STRING_EQUAL(custom, "throw 172.17.0.0/16 \nthrow 10.2.0.0/16 \nsink 0.0.0.0/0 hf0\nsink ::/0 hf0\n");
}

static void the_state_is_that_of_the_tunnel_that_is_furthest(void)
{
	set_up();
	want_home(TUNNEL_CONNECTED);
	life.tunnels[1].wanted = true;
	life.tunnels[1].state = TUNNEL_WAITING;
	build();
	CU_ASSERT_EQUAL(demand.state, GATE_TUNNEL);
	CU_ASSERT_EQUAL(demand.tunnels[1].state, GATE_CLOSED); /* each is held by its own */
}

static void granted_processes_take_the_hosts_own_routes(void)
{
	set_up();
	want_home(TUNNEL_CONNECTED);
	build();
	CU_ASSERT_EQUAL(demand.routing.grants_mask, 0);
	granted = 1u << GRANT_PROCESS;
	build();
	CU_ASSERT_EQUAL(demand.routing.grants, 0x69000000);
	CU_ASSERT_EQUAL(demand.routing.grants_mask, 0xff000000);
	CU_ASSERT_EQUAL(demand.gate.granted, granted);
	granted = 0;
}

static void a_narrow_tunnel_holds_its_networks_alone(void)
{
	set_up();
	life.tunnels[1].wanted = true;
	life.tunnels[1].state = TUNNEL_CONNECTED;
	facts[1].link = true;
	build();
	CU_ASSERT_EQUAL(demand.state, GATE_TUNNEL);
	CU_ASSERT_FALSE(demand.gate.drop_default);
	_cleanup_free_ char *text = routes();
	CU_ASSERT_STRING_EQUAL(text, "tunnel 10.9.0.0/16 hf-lab\nsink 10.9.0.0/16 hf0\n");
}

static void of_two_that_want_the_same_the_one_that_carries_has_it(void)
{
	set_up();
	home.all = life.tunnels[0].all = false;
	home.routes = &lab_route;
	home.route_count = 1;
	want_home(TUNNEL_WAITING);
	life.tunnels[1].wanted = true;
	life.tunnels[1].state = TUNNEL_CONNECTED;
	facts[1].link = true;
	build();
	_cleanup_free_ char *second = routes();
	CU_ASSERT_STRING_EQUAL(second, "tunnel 10.9.0.0/16 hf-lab\nsink 10.9.0.0/16 hf0\n");
	want_home(TUNNEL_CONNECTED);
	build();
	_cleanup_free_ char *first = routes();
	CU_ASSERT_STRING_EQUAL(first, "tunnel 10.9.0.0/16 hf-home\nsink 10.9.0.0/16 hf0\n");
}

static void a_lan_does_not_take_the_tunnels_own_networks(void)
{
	set_up();
	settings.lan = LAN_ALLOW;
	home_network.addresses[0] = prefix("10.1.0.2/24"); /* as eth0's */
	home_network.dns_count = 1;
	CU_ASSERT_EQUAL(ip_address_parse("10.1.0.1", &home_network.dns[0]), 0);
	want_home(TUNNEL_CONNECTED);
	build();
	_cleanup_free_ char *text = routes();
	CU_ASSERT_STRING_EQUAL(text,
		"tunnel 0.0.0.0/0 hf-home\ntunnel 10.1.0.0/24 hf-home\ntunnel 10.1.0.1/32 hf-home\nthrow 172.17.0.0/16 \nsink 0.0.0.0/0 hf0\nsink ::/0 hf0\n");
}

static void a_release_gives_up_one_demand_only(void)
{
	set_up();
	want_home(TUNNEL_FAILED);
	life.tunnels[0].released = true;
	build();
	CU_ASSERT_EQUAL(demand.state, GATE_OPEN);
	life.mode = GATE_MODE_ALWAYS;
	build();
	CU_ASSERT_EQUAL(demand.state, GATE_CLOSED);
	set_up();
	want_home(TUNNEL_FAILED);
	life.tunnels[0].released = true;
	life.tunnels[1].wanted = true;
	life.tunnels[1].state = TUNNEL_WAITING;
	build();
	CU_ASSERT_EQUAL(demand.state, GATE_CLOSED);
	CU_ASSERT_FALSE(demand.gate.drop_default);
}

static void the_worker_may_talk_to_what_it_named(void)
{
	set_up();
	want_home(TUNNEL_CONNECTING);
	build();
	CU_ASSERT_EQUAL(demand.tunnels[0].endpoint_count, 0);
	CU_ASSERT_FALSE(demand.tunnels[0].resolving);
	life.tunnels[0].contacted = true;
	CU_ASSERT_EQUAL(endpoint_parse("192.0.2.1:51820/udp", &life.tunnels[0].contact), 0);
	build();
	CU_ASSERT_EQUAL_FATAL(demand.tunnels[0].endpoint_count, 1);
	CU_ASSERT_TRUE(endpoint_equal(&demand.tunnels[0].endpoints[0], &life.tunnels[0].contact));
}

static const struct test tests[] = {
	{"the state of a tunnel decides its demand", the_state_decides},
	{"no state of a wanted tunnel is open", no_state_of_a_wanted_tunnel_is_open},
	{"resolvers are the tunnel's while its link stands", resolvers_are_the_tunnels_while_its_link_stands},
	{"mode always is closed without a tunnel", mode_always_is_closed_without_a_tunnel},
	{"a hold is closed, as mode always is", a_hold_is_closed},
	{"mode off routes and does not catch", mode_off_routes_and_does_not_catch},
	{"only families that the tunnel has go into it", only_families_that_the_tunnel_has_go_into_it},
	{"a link that is not there gets no route", a_link_that_is_not_there_gets_no_route},
	{"the LAN is private ranges only", the_lan_is_private_ranges_only},
	{"what the settings let by takes the host's own routes", what_the_settings_let_by_takes_the_hosts_own_routes},
	{"the state is that of the tunnel that is furthest", the_state_is_that_of_the_tunnel_that_is_furthest},
	{"granted processes take the host's own routes", granted_processes_take_the_hosts_own_routes},
	{"a narrow tunnel holds its networks alone", a_narrow_tunnel_holds_its_networks_alone},
	{"of two that want the same, the one that carries has it", of_two_that_want_the_same_the_one_that_carries_has_it},
	{"a LAN does not take the tunnel's own networks", a_lan_does_not_take_the_tunnels_own_networks},
	{"a release gives up one demand only", a_release_gives_up_one_demand_only},
	{"the worker may talk to what it named, and nothing else", the_worker_may_talk_to_what_it_named},
};

int main(int argc, char **argv)
{
	return suite_run("demand", tests, ELEMENTSOF(tests), argc, argv);
}
