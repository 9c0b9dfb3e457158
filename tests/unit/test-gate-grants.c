/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is granted: at run time, by a document's list, by a resolver. */

#include <errno.h>
#include <string.h>
#include <time.h>

#include "gate-plans.h"
#include "gate-rig.h"
#include "util/text.h"

static const struct gate_grant host = {.kind = GRANT_HOST,
        .network = {.address = {.family = AF_INET, .bytes = {192, 0, 2, 1}}, .length = 32},
        .until_usec = USEC_INFINITY};
static const struct gate_grant process = {.kind = GRANT_PROCESS, .mark = 0x69000000, .until_usec = USEC_INFINITY};

static uint64_t now_usec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

static void grants_stand_until_they_are_taken_back(void)
{
	static const struct ip_prefix listed[] = {
	        {.address = {AF_INET, {198, 51, 100, 7}}, .length = 32},
	        {.address = {AF_INET, {198, 51, 100}}, .length = 24},
	};
	struct gate *gate = gate_with("tunnel-granted");
	gate_set_listed(gate, listed, ELEMENTSOF(listed));
	CU_ASSERT_EQUAL(apply(gate, "tunnel-granted"), 0);
	CU_ASSERT_TRUE(table_has("elements = { 198.51.100.0/24 }"));
	CU_ASSERT_EQUAL(gate_add_grant(gate, &host), 0);
	CU_ASSERT_EQUAL(gate_add_grant(gate, &process), 0);
	CU_ASSERT_TRUE(table_has("elements = { 192.0.2.1 }"));
	CU_ASSERT_TRUE(table_has("elements = { 0x69000000 }"));
	CU_ASSERT_EQUAL(apply(gate, "tunnel-granted"), 0);
	CU_ASSERT_TRUE(table_has("elements = { 192.0.2.1 }"));
	CU_ASSERT_EQUAL(gate_remove_grant(gate, &host), 0);
	CU_ASSERT_EQUAL(gate_remove_grant(gate, &host), 0);
	CU_ASSERT_EQUAL(gate_remove_grant(gate, &process), 0);
	CU_ASSERT_FALSE(table_has("192.0.2.1") || table_has("elements = { 0x69000000 }"));
	gate_free(gate);
}

static void a_grant_with_an_end_is_ended_by_the_kernel(void)
{
	struct gate_grant ending = host;
	struct gate *gate = gate_with("tunnel-granted");
	CU_ASSERT_EQUAL(apply(gate, "tunnel-granted"), 0);
	ending.until_usec = now_usec() + 3590 * USEC_PER_SEC; /* the kernel rounds up to its ticks */
	CU_ASSERT_EQUAL(gate_add_grant(gate, &ending), 0);
	CU_ASSERT_TRUE(table_has("192.0.2.1 timeout 59m"));
	ending.until_usec = now_usec() + 1790 * USEC_PER_SEC; /* again: another end */
	CU_ASSERT_EQUAL(gate_add_grant(gate, &ending), 0);
	CU_ASSERT_TRUE(table_has("192.0.2.1 timeout 29m"));
	ending.until_usec = now_usec();
	CU_ASSERT_EQUAL(gate_add_grant(gate, &ending), -EINVAL);
	gate_free(gate);
}

static void foreign_elements_are_taken_out_and_own_ones_put_back(void)
{
	static const char *const commands[] = {
	        "add element inet holdfast processes { 0x69000005 }",
	        "add element inet holdfast networks4 { 128.0.0.0/1 }",
	        "delete element inet holdfast hosts4 { 192.0.2.1 }",
	        "flush set inet holdfast hosts4",
	};
	for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
		struct watched watched;
		watch(&watched, "tunnel-granted");
		CU_ASSERT_EQUAL(apply(watched.gate, "tunnel-granted"), 0);
		CU_ASSERT_EQUAL(gate_add_grant(watched.gate, &host), 0);
		turn(watched.event, 50);
		CU_ASSERT_EQUAL(watched.heard.count, 0);
		_cleanup_free_ char *before = list_table();
		CU_ASSERT_EQUAL(nft_program(commands[i]), 0);
		turn(watched.event, 50);
		_cleanup_free_ char *after = list_table();
		CU_ASSERT_EQUAL(watched.heard.healed, 1);
		CU_ASSERT_STRING_EQUAL(before, after);
		watched_done(&watched);
	}
}

static void what_a_resolver_adds_is_left_alone(void)
{
	struct watched watched;
	watch(&watched, "tunnel-granted");
	CU_ASSERT_EQUAL(nft_program("add element inet holdfast names4 { 192.0.2.9 }"), 0);
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(watched.heard.count, 0);
	CU_ASSERT_TRUE(table_has("192.0.2.9"));
	watched_done(&watched);
}

static void a_new_gate_takes_out_what_it_does_not_know(void)
{
	struct gate *gate = gate_with("tunnel-granted");
	CU_ASSERT_EQUAL(nft("add element inet holdfast hosts4 { 192.0.2.66 }"), 0);
	gate_free(gate);
	gate = NULL;
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate_plan plan = gate_plan_named("tunnel-granted", &settings);
	CU_ASSERT_EQUAL_FATAL(gate_new(&gate), 0);
	gate_set_grants(gate, &host, 1);
	CU_ASSERT_EQUAL(gate_apply(gate, &plan), 0);
	CU_ASSERT_TRUE(table_has("elements = { 192.0.2.1 }"));
	CU_ASSERT_FALSE(table_has("192.0.2.66"));
	gate_free(gate);
}

/* ---- what a document lists ---- */

#define LONG_LIST 20000 /* its notices are more than the watch's socket takes in */

static struct ip_prefix listed_network(size_t i)
{
	uint32_t address = 0x14000000u + ((uint32_t)i << 9);
	return (struct ip_prefix){
	        .address = {AF_INET, {(uint8_t)(address >> 24), (uint8_t)(address >> 16), (uint8_t)(address >> 8)}}, .length = 24};
}

static void set_long_list(struct gate *gate, size_t count)
{
	_cleanup_free_ struct ip_prefix *networks = xcalloc(count, sizeof *networks);
	for (size_t i = 0; i < count; i++)
		networks[i] = listed_network(count - 1 - i);
	gate_set_listed(gate, networks, count);
}

static void listed_networks_are_merged(void)
{
	static const char *const networks[] = {"198.51.100.128/25", "198.51.100.0/25", "198.51.100.7", "198.51.100.7", "255.0.0.0/8", "203.0.113.9",
	        "2001:db8:1::/48", "2001:db8::/32", "ffff::/16", "2001:db9::/32"};
	struct ip_prefix parsed[ELEMENTSOF(networks)];
	struct gate *gate = gate_with("tunnel-granted");
	for (size_t i = 0; i < ELEMENTSOF(networks); i++)
		CU_ASSERT_EQUAL(ip_prefix_parse(networks[i], &parsed[i]), 0);
	gate_set_listed(gate, parsed, ELEMENTSOF(parsed));
	CU_ASSERT_EQUAL(apply(gate, "tunnel-granted"), 0);
	CU_ASSERT_TRUE(table_has("elements = { 198.51.100.0/24, 203.0.113.9,"));
	CU_ASSERT_TRUE(table_has("255.0.0.0/8 }"));
	CU_ASSERT_TRUE(table_has("elements = { 2001:db8::/31,"));
	CU_ASSERT_TRUE(table_has("ffff::/16 }"));
	gate_set_listed(gate, parsed + 5, 1);
	CU_ASSERT_EQUAL(apply(gate, "tunnel-granted"), 0);
	CU_ASSERT_TRUE(table_has("elements = { 203.0.113.9 }"));
	CU_ASSERT_FALSE(table_has("198.51.100.0"));
	gate_free(gate);
}

static void a_list_that_stands_is_not_loaded_again(void)
{
	struct watched watched;
	watch(&watched, "tunnel-granted");
	set_long_list(watched.gate, 10);
	CU_ASSERT_EQUAL(apply(watched.gate, "tunnel-granted"), 0);
	turn(watched.event, 20);
	uint32_t before = generation_of(watched.gate);
	set_long_list(watched.gate, 10);
	CU_ASSERT_EQUAL(apply(watched.gate, "tunnel-granted"), 0);
	CU_ASSERT_EQUAL(generation_of(watched.gate), before + 1);
	CU_ASSERT_EQUAL(nft_program("flush chain inet holdfast output"), 0);
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(watched.heard.healed, 1);
	CU_ASSERT_EQUAL(generation_of(watched.gate), before + 3);
	CU_ASSERT_EQUAL(nft_program("delete table inet holdfast"), 0);
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(watched.heard.healed, 2);
	CU_ASSERT_TRUE(table_has("20.0.18.0/24"));
	watched_done(&watched);
}

static void foreign_elements_beside_a_long_list_are_taken_out(void)
{
	struct watched watched;
	watch(&watched, "tunnel-granted");
	set_long_list(watched.gate, LONG_LIST);
	CU_ASSERT_EQUAL(apply(watched.gate, "tunnel-granted"), 0);
	turn(watched.event, 20);
	CU_ASSERT_EQUAL(watched.heard.count, 0);
	_cleanup_free_ char *before = list_table();
	CU_ASSERT_PTR_NOT_NULL(strstr(before, "20.0.0.0/24"));
	CU_ASSERT_EQUAL(nft_program("add element inet holdfast listed4 { 128.0.0.0/1 }"), 0);
	turn(watched.event, 20);
	CU_ASSERT_EQUAL(watched.heard.healed, 1);
	_cleanup_free_ char *healed = list_table();
	CU_ASSERT_TRUE(strcmp(before, healed) == 0);
	/* Now the notice of it is lost among those of an own change. */
	set_long_list(watched.gate, LONG_LIST - 1);
	CU_ASSERT_EQUAL(apply(watched.gate, "tunnel-granted"), 0);
	CU_ASSERT_EQUAL(nft_program("add element inet holdfast listed4 { 128.0.0.0/1 }"), 0);
	turn(watched.event, 20);
	CU_ASSERT_FALSE(table_has("128.0.0.0"));
	CU_ASSERT_TRUE(table_has("20.0.0.0/24"));
	watched_done(&watched);
}

static void what_changes_nothing_is_a_commit_all_the_same(void)
{
	struct watched watched;
	watch(&watched, "tunnel-granted");
	uint32_t before = generation_of(watched.gate);
	CU_ASSERT_EQUAL(gate_flush_names(watched.gate), 0); /* there are none */
	CU_ASSERT_EQUAL(generation_of(watched.gate), before + 1);
	CU_ASSERT_EQUAL(nft_program("add element inet holdfast hosts4 { 192.0.2.66 }"), 0);
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(watched.heard.healed, 1);
	CU_ASSERT_FALSE(table_has("192.0.2.66"));
	watched_done(&watched);
}

static const struct test tests[] = {
        {"grants stand until they are taken back", grants_stand_until_they_are_taken_back},
        {"a grant with an end is ended by the kernel", a_grant_with_an_end_is_ended_by_the_kernel},
        {"foreign elements are taken out and own ones put back", foreign_elements_are_taken_out_and_own_ones_put_back},
        {"what a resolver adds is left alone", what_a_resolver_adds_is_left_alone},
        {"a new gate takes out what it does not know", a_new_gate_takes_out_what_it_does_not_know},
        {"listed networks are merged", listed_networks_are_merged},
        {"a list that stands is not loaded again", a_list_that_stands_is_not_loaded_again},
        {"foreign elements beside a long list are taken out", foreign_elements_beside_a_long_list_are_taken_out},
        {"what changes nothing is a commit all the same", what_changes_nothing_is_a_commit_all_the_same},
};

int main(int argc, char **argv)
{
	return gate_suite_run("gate-grants", tests, ELEMENTSOF(tests), argc, argv);
}
