/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the gate's text says, without a kernel. HOLDFAST_REFRESH=1 rewrites the golden files. */

#include <string.h>

#include "firewall/render.h"
#include "gate-plans.h"
#include "suite.h"

static void every_plan_renders_its_golden_text(void)
{
	for (size_t i = 0; i < gate_plan_count; i++) {
		_cleanup_kill_switch_ struct kill_switch *settings = NULL;
		struct gate_plan plan = gate_plan_make(&gate_plans[i], &settings);
		_cleanup_free_ char *text = gate_render(&plan);
		_cleanup_free_ char *name = text_format("gate-%s.nft", gate_plans[i].name);
		suite_golden(name, text);
	}
}

static void equal_plans_give_equal_text(void)
{
	for (size_t i = 0; i < gate_plan_count; i++) {
		_cleanup_kill_switch_ struct kill_switch *settings = NULL, *again = NULL;
		struct gate_plan plan = gate_plan_make(&gate_plans[i], &settings),
		                 twin = gate_plan_make(&gate_plans[i], &again);
		_cleanup_free_ char *text = gate_render(&plan), *other = gate_render(&twin);
		CU_ASSERT_STRING_EQUAL(text, other);
	}
}

/* The chain NAME of TEXT: its rules alone. The caller frees it. */
static char *chain_of(const char *text, const char *name)
{
	_cleanup_free_ char *head = text_format("\tchain %s {\n", name);
	const char *start = strstr(text, head);
	const char *end = start ? strstr(start, "\n\t}") : NULL;
	return end ? text_ndup(start, (size_t)(end - start)) : text_dup("");
}

static size_t position(const char *text, const char *part)
{
	const char *at = strstr(text, part);
	return at ? (size_t)(at - text) : SIZE_MAX;
}

/* The order of the rules by their numbers, read off the comments of each filter chain. */
static void rules_stand_in_the_order_of_their_numbers(void)
{
	static const char *const chains[] = {"input", "output", "forward"};
	for (size_t i = 0; i < gate_plan_count; i++) {
		_cleanup_kill_switch_ struct kill_switch *settings = NULL;
		struct gate_plan plan = gate_plan_make(&gate_plans[i], &settings);
		_cleanup_free_ char *text = gate_render(&plan);
		for (size_t j = 0; j < ELEMENTSOF(chains); j++) {
			_cleanup_free_ char *chain = chain_of(text, chains[j]);
			int last = 0;
			for (const char *at = chain; (at = strstr(at, " comment \"")); at++) {
				int number = atoi(at + strlen(" comment \""));
				CU_ASSERT_TRUE(number >= last && number <= 11);
				last = number;
			}
			CU_ASSERT_TRUE(!plan.exists || last > 0);
		}
	}
}

static void a_chain_that_guards_ends_in_a_refusal(void)
{
	static const struct {
		const char *chain, *end;
	} cases[] = {
	        {"input", "counter name \"blocked_in\" drop comment \"11 the rest\""},
	        {"output", "counter name \"blocked_out\" reject with icmpx admin-prohibited comment \"11 the rest\""},
	        {"forward",
	                "counter name \"blocked_forward\" reject with icmpx admin-prohibited comment \"11 the rest\""},
	};
	for (size_t i = 0; i < gate_plan_count; i++) {
		_cleanup_kill_switch_ struct kill_switch *settings = NULL;
		struct gate_plan plan = gate_plan_make(&gate_plans[i], &settings);
		_cleanup_free_ char *text = gate_render(&plan);
		for (size_t j = 0; j < ELEMENTSOF(cases) && plan.drop_default; j++) {
			_cleanup_free_ char *chain = chain_of(text, cases[j].chain);
			size_t length = strlen(chain), tail = strlen(cases[j].end);
			CU_ASSERT_TRUE(length > tail && strcmp(chain + length - tail, cases[j].end) == 0);
		}
		CU_ASSERT_PTR_NULL(strstr(text, "tcp reset"));
	}
}

static void a_tunnel_that_is_not_up_lets_nothing_through_its_link(void)
{
	static const char *const names[] = {"closed-wanted", "connecting", "resolving"};
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		_cleanup_kill_switch_ struct kill_switch *settings = NULL;
		struct gate_plan plan = gate_plan_named(names[i], &settings);
		_cleanup_free_ char *text = gate_render(&plan);
		for (const char *at = text; (at = strstr(at, "ifname \"hf-home\"")); at++)
			CU_ASSERT_PTR_NULL(memmem(at, strcspn(at, "\n"), " accept", strlen(" accept")));
		CU_ASSERT_PTR_NOT_NULL(strstr(text, "iifname \"hf-home\" counter name \"blocked_in\" drop"));
	}
}

static void a_closed_tunnel_may_not_talk_to_its_endpoint(void)
{
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate_plan plan = gate_plan_named("closed-wanted", &settings);
	_cleanup_free_ char *text = gate_render(&plan);
	CU_ASSERT_PTR_NULL(strstr(text, "203.0.113.7"));
	CU_ASSERT_PTR_NULL(strstr(text, "192.0.2.53"));
}

static void dns_is_refused_before_the_tunnel_and_the_lan(void)
{
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate_plan plan = gate_plan_named("tunnel-lan-allow", &settings);
	_cleanup_free_ char *text = gate_render(&plan), *output = chain_of(text, "output");
	size_t refused = position(output, "\"5 no other DNS\"");
	CU_ASSERT_TRUE(position(output, "\"2 worker to endpoint, home\"") < refused);
	CU_ASSERT_TRUE(position(output, "\"5 resolvers of home\"") < refused);
	CU_ASSERT_TRUE(refused < position(output, "\"6 out through home\""));
	CU_ASSERT_PTR_NOT_NULL(strstr(output, "th dport != 53 th dport != 853 accept comment \"1 out through home\"")); /* sooner, but for DNS */
	CU_ASSERT_TRUE(refused < position(output, "\"10 LAN\""));
}

static void the_most_specific_network_decides(void)
{
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate_plan plan = gate_plan_named("several", &settings);
	_cleanup_free_ char *text = gate_render(&plan), *output = chain_of(text, "output");
	size_t lab = position(output, "ip daddr 10.20.30.0/24 counter name \"blocked_out\" reject");
	size_t office = position(output, "oifname \"hf-office\" ip daddr 10.20.0.0/16 accept");
	size_t all = position(output, "oifname \"hf-home\" accept");
	CU_ASSERT_TRUE(lab < office && office < all && all != SIZE_MAX);
	/* Wanted by two, carried by one: through that one, and nowhere else. */
	CU_ASSERT_TRUE(position(output, "oifname \"hf-office\" ip daddr 172.20.0.0/16 accept") <
	               position(output, "ip daddr 172.20.0.0/16 counter"));
}

static void a_tunnel_that_wants_everything_is_never_guarded_by_chains_that_accept(void)
{
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate_plan plan = gate_plan_named("tunnel", &settings);
	plan.drop_default = false;
	_cleanup_free_ char *text = gate_render(&plan);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "hook output priority 0; policy drop;"));
}

static void links_with_odd_names_are_left_out(void)
{
	static const char odd[][IFNAMSIZ] = {"a\"; accept", "", "..", "eth0", "eth0", "hf-evil", "lo"};
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate_plan plan = gate_plan_named("tunnel-lan-allow", &settings);
	plan.uplinks = odd;
	plan.uplink_count = ELEMENTSOF(odd);
	plan.local_link_count = 0;
	_cleanup_free_ char *text = gate_render(&plan);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "oifname \"eth0\" ip daddr"));
	CU_ASSERT_PTR_NULL(strstr(text, "evil"));
	CU_ASSERT_PTR_NULL(strstr(text, "\"; accept"));
}

static void what_may_not_enter_rule_text_is_refused(void)
{
	struct ip_prefix no_family[] = {{.address.family = AF_UNSPEC}},
	                 too_long[] = {{.address.family = AF_INET, .length = 33}};
	struct ip_address no_address[] = {{.family = 99}};
	struct endpoint no_port[] = {{.address.family = AF_INET, .protocol = IPPROTO_UDP}}, too_many[GATE_ENDPOINTS_MAX + 1];
	for (size_t i = 0; i < ELEMENTSOF(too_many); i++)
		too_many[i] = (struct endpoint){.address.family = AF_INET, .port = 1, .protocol = IPPROTO_UDP};
	const struct gate_tunnel bad[] = {
	        {.id = "home\" accept", .interface = "hf-home"},
	        {.id = NULL, .interface = "hf-home"},
	        {.id = "home", .interface = "eth0"},
	        {.id = "home", .interface = "hf-\"x"},
	        {.id = "home", .interface = "hf-0123456789012"},
	        {.id = "home", .interface = "hf-home", .routes = no_family, .route_count = 1},
	        {.id = "home", .interface = "hf-home", .routes = too_long, .route_count = 1},
	        {.id = "home", .interface = "hf-home", .dns = no_address, .dns_count = 1},
	        {.id = "home", .interface = "hf-home", .endpoints = no_port, .endpoint_count = 1},
	        {.id = "home", .interface = "hf-home", .endpoints = too_many, .endpoint_count = ELEMENTSOF(too_many)},
	        {.id = "home", .interface = "hf-home", .state = (enum gate_state)9},
	};
	_cleanup_kill_switch_ struct kill_switch *settings = kill_switch_default();
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		struct gate_plan plan = {.exists = true, .settings = settings, .tunnels = &bad[i], .tunnel_count = 1};
		_cleanup_ruleset_ struct ruleset set = {};
		const char *reason = NULL;
		CU_ASSERT_EQUAL(render_plan(&plan, &set, &reason), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(reason);
		CU_ASSERT_PTR_NULL(gate_render(&plan));
	}
	CU_ASSERT_PTR_NULL(gate_render(&(struct gate_plan){.exists = true}));
	const struct gate_plan crowded = {.exists = true, .settings = settings, .dhcp_users = {.count = GATE_DHCP_USERS_MAX + 1}};
	CU_ASSERT_PTR_NULL(gate_render(&crowded));
	const struct gate_plan stray = {.exists = true, .settings = &(struct kill_switch){.mark = 0x1, .mark_mask = 0xff00}};
	CU_ASSERT_PTR_NULL(gate_render(&stray));
}

static void states_have_names(void)
{
	for (enum gate_state state = GATE_OPEN; state <= GATE_TUNNEL; state++) {
		enum gate_state back;
		CU_ASSERT_EQUAL(gate_state_from_string(gate_state_to_string(state), &back), 0);
		CU_ASSERT_EQUAL(back, state);
	}
}

static const struct test tests[] = {
        {"every plan renders its golden text", every_plan_renders_its_golden_text},
        {"equal plans give equal text", equal_plans_give_equal_text},
        {"rules stand in the order of their numbers", rules_stand_in_the_order_of_their_numbers},
        {"a chain that guards ends in a refusal, never a reset", a_chain_that_guards_ends_in_a_refusal},
        {"a tunnel that is not up lets nothing through its link",
                a_tunnel_that_is_not_up_lets_nothing_through_its_link},
        {"a closed tunnel may not talk to its endpoint", a_closed_tunnel_may_not_talk_to_its_endpoint},
        {"DNS is refused before the tunnel and the LAN", dns_is_refused_before_the_tunnel_and_the_lan},
        {"the most specific network decides", the_most_specific_network_decides},
        {"a tunnel that wants everything is never guarded by chains that accept",
                a_tunnel_that_wants_everything_is_never_guarded_by_chains_that_accept},
        {"links with odd names are left out", links_with_odd_names_are_left_out},
        {"what may not enter rule text is refused", what_may_not_enter_rule_text_is_refused},
        {"states have names", states_have_names},
};

int main(int argc, char **argv)
{
	return suite_run("render", tests, ELEMENTSOF(tests), argc, argv);
}
