/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The gate on the real kernel, in a network namespace of this program's own: it is made before anything else, and
 * without one nothing runs. Foreign hands are played by nft(8), as on any host.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "firewall/gate-private.h"
#include "gate-plans.h"
#include "suite.h"
#include "util/text.h"

/* A foreign hand: a context of libnftables that the gate knows nothing of. Returns 0 or -1. */
static int nft(const char *command)
{
	static struct nft_ctx *hand;
	if (!hand) {
		hand = nft_ctx_new(NFT_CTX_DEFAULT);
		nft_ctx_buffer_error(hand);
		nft_ctx_buffer_output(hand);
	}
	return nft_run_cmd_from_buffer(hand, command);
}

/* The same by a process of its own, nft(8). Returns its exit status. */
static int nft_program(const char *command)
{
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execl("/usr/sbin/nft", "nft", command, NULL);
		_exit(127);
	}
	int status = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What nft(8) would list of the table, without its counters' values. The caller frees it. */
static char *list_table(void)
{
	struct nft_ctx *nft_ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	nft_ctx_buffer_output(nft_ctx);
	nft_ctx_buffer_error(nft_ctx);
	nft_ctx_output_set_flags(nft_ctx, NFT_CTX_OUTPUT_STATELESS);
	nft_run_cmd_from_buffer(nft_ctx, "list table inet " GATE_TABLE);
	char *text = text_dup(nft_ctx_get_output_buffer(nft_ctx));
	nft_ctx_free(nft_ctx);
	return text;
}

/* A gate with the plan NAME applied to an empty kernel. */
static struct gate *gate_with(const char *name)
{
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate *gate = NULL;
	CU_ASSERT_EQUAL_FATAL(nft("flush ruleset"), 0);
	CU_ASSERT_EQUAL_FATAL(gate_new(&gate), 0);
	struct gate_plan plan = gate_plan_named(name, &settings);
	CU_ASSERT_EQUAL_FATAL(gate_apply(gate, &plan), 0);
	return gate;
}

static int apply(struct gate *gate, const char *name)
{
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate_plan plan = gate_plan_named(name, &settings);
	return gate_apply(gate, &plan);
}

static void the_kernel_takes_every_plan_after_every_other(void)
{
	struct gate *gate = gate_with("open");
	for (size_t i = 0; i < gate_plan_count; i++)
		for (size_t j = 0; j < gate_plan_count; j++) {
			int r = apply(gate, gate_plans[j].name);
			CU_ASSERT_EQUAL(r, 0);
			if (r < 0)
				printf("# %s: %s\n", gate_plans[j].name, gate_error(gate));
			CU_ASSERT_EQUAL(apply(gate, gate_plans[i].name), 0);
			CU_ASSERT_EQUAL(gate_verify(gate), 0);
		}
	gate_free(gate);
}

static void a_change_gives_the_same_table_as_a_fresh_start(void)
{
	for (size_t i = 0; i < gate_plan_count; i++) {
		struct gate *gate = gate_with(gate_plans[i].name);
		_cleanup_free_ char *fresh = list_table();
		CU_ASSERT_EQUAL(apply(gate, "several"), 0);
		CU_ASSERT_EQUAL(apply(gate, gate_plans[i].name), 0);
		_cleanup_free_ char *changed = list_table();
		CU_ASSERT_STRING_EQUAL(fresh, changed);
		gate_free(gate);
	}
}

/* ---- tampering ---- */

static const struct {
	const char *what, *command;
} tamperings[] = {
        {"a deleted table", "delete table inet holdfast"},
        {"a flushed ruleset", "flush ruleset"},
        {"a flushed chain", "flush chain inet holdfast output"},
        {"a flushed table", "flush table inet holdfast"},
        {"a rule in front", "insert rule inet holdfast output accept"},
        {"a rule in front that bears a familiar comment",
                "insert rule inet holdfast output accept comment \"1 loopback\""},
        {"a rule behind", "add rule inet holdfast prerouting accept"},
        {"a rule that was replaced by one with the same comment",
                "flush chain inet holdfast postrouting; add rule inet holdfast postrouting oifname { \"docker0\", "
                "\"virbr0\" } accept comment "
                "\"release, not among local links\"; add rule inet holdfast postrouting masquerade comment "
                "\"release\""},
        {"another policy", "add chain inet holdfast output { policy accept; }"},
        {"a dormant table", "add table inet holdfast { flags dormant; }"},
        {"a chain of somebody's", "add chain inet holdfast theirs"},
        {"a chain of somebody's that is hooked",
                "add chain inet holdfast theirs { type filter hook output priority -300; policy accept; }"},
        {"a set of somebody's", "add set inet holdfast theirs { type ipv4_addr; }"},
        {"a counter of somebody's", "add counter inet holdfast theirs"},
        {"a release that nobody granted", "add element inet holdfast released { ipv4 }"},
        {"a release that nobody granted, with an end", "add element inet holdfast released { ipv4 timeout 60s }"},
};

static void a_reading_notices_every_foreign_change(void)
{
	for (size_t i = 0; i < ELEMENTSOF(tamperings); i++) {
		struct gate *gate = gate_with("tunnel");
		CU_ASSERT_EQUAL(gate_verify(gate), 0);
		CU_ASSERT_EQUAL(nft(tamperings[i].command), 0);
		int r = gate_verify(gate);
		CU_ASSERT_EQUAL(r, -ESTALE);
		CU_ASSERT_NOT_EQUAL(strlen(gate_error(gate)), 0);
		if (r != -ESTALE)
			printf("# not noticed: %s\n", tamperings[i].what);
		gate_free(gate);
	}
}

static void the_next_change_mends_every_foreign_change(void)
{
	struct gate *gate = gate_with("connecting");
	_cleanup_free_ char *expected = list_table();
	gate_free(gate);
	for (size_t i = 0; i < ELEMENTSOF(tamperings); i++) {
		gate = gate_with("tunnel");
		nft(tamperings[i].command);
		CU_ASSERT_EQUAL(apply(gate, "connecting"), 0);
		_cleanup_free_ char *text = list_table();
		CU_ASSERT_STRING_EQUAL(text, expected);
		if (strcmp(text, expected) != 0)
			printf("# not mended: %s: %s\n", tamperings[i].what, gate_error(gate));
		gate_free(gate);
	}
}

struct heard {
	unsigned count, healed, suppressed;
	uint32_t pid;
	uint64_t usec;
	int error;
	char process[64];
};

static void on_tampering(const struct gate_tampering *tampering, void *userdata)
{
	struct heard *heard = userdata;
	heard->count++;
	heard->healed += tampering->healed;
	heard->suppressed += tampering->suppressed;
	heard->pid = tampering->pid;
	heard->usec = tampering->healed_usec;
	heard->error = tampering->error;
	snprintf(heard->process, sizeof heard->process, "%s", tampering->process);
}

/* Turns the loop until nothing happens for QUIET_MSEC, at most LIMIT turns. */
static void turn(sd_event *event, uint64_t quiet_msec)
{
	for (unsigned i = 0; i < 1000 && sd_event_run(event, quiet_msec * USEC_PER_MSEC) > 0; i++)
		;
}

struct watched {
	struct gate *gate;
	sd_event *event;
	struct heard heard;
};

static void watch(struct watched *watched, const char *plan)
{
	*watched = (struct watched){.gate = gate_with(plan)};
	CU_ASSERT_TRUE_FATAL(sd_event_new(&watched->event) >= 0);
	CU_ASSERT_EQUAL_FATAL(gate_watch(watched->gate, watched->event, on_tampering, &watched->heard), 0);
	turn(watched->event, 20);
	CU_ASSERT_EQUAL(watched->heard.count, 0);
}

static void watched_done(struct watched *watched)
{
	gate_free(watched->gate);
	sd_event_unref(watched->event);
}

static void the_watch_heals_every_foreign_change_and_names_the_culprit(void)
{
	for (size_t i = 0; i < ELEMENTSOF(tamperings); i++) {
		struct watched watched;
		watch(&watched, "tunnel");
		_cleanup_free_ char *before = list_table();
		CU_ASSERT_EQUAL(nft_program(tamperings[i].command), 0);
		turn(watched.event, 50);
		CU_ASSERT_EQUAL(watched.heard.count, 1);
		CU_ASSERT_EQUAL(watched.heard.healed, 1);
		CU_ASSERT_EQUAL(watched.heard.error, 0);
		CU_ASSERT_STRING_EQUAL(watched.heard.process, "nft");
		CU_ASSERT_NOT_EQUAL(watched.heard.pid, 0);
		CU_ASSERT_EQUAL(gate_verify(watched.gate), 0);
		_cleanup_free_ char *after = list_table();
		CU_ASSERT_STRING_EQUAL(before, after);
		if (watched.heard.healed != 1)
			printf("# not healed: %s (%u reports)\n", tamperings[i].what, watched.heard.count);
		watched_done(&watched);
	}
}

static void own_changes_and_those_of_other_tables_are_no_tampering(void)
{
	struct watched watched;
	watch(&watched, "closed");
	CU_ASSERT_EQUAL(apply(watched.gate, "connecting"), 0);
	CU_ASSERT_EQUAL(apply(watched.gate, "tunnel"), 0);
	CU_ASSERT_EQUAL(gate_release(watched.gate, 60 * USEC_PER_SEC), 0);
	CU_ASSERT_EQUAL(gate_release(watched.gate, 0), 0);
	CU_ASSERT_EQUAL(
	        nft("add table inet theirs; add chain inet theirs output { type filter hook output priority 0; }"), 0);
	CU_ASSERT_EQUAL(nft("delete table inet theirs"), 0);
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(watched.heard.count, 0);
	CU_ASSERT_EQUAL(gate_verify(watched.gate), 0);
	watched_done(&watched);
}

/* ---- grants ---- */

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

static bool table_has(const char *text)
{
	_cleanup_free_ char *table = list_table();
	return strstr(table, text) != NULL;
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

static uint32_t generation_of(struct gate *gate)
{
	uint32_t generation = 0;
	CU_ASSERT_EQUAL(readback_generation(gate->socket, &generation), 0);
	return generation;
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

static void a_change_before_the_watch_is_found(void)
{
	struct watched watched = {.gate = gate_with("tunnel")};
	nft("flush ruleset");
	CU_ASSERT_TRUE_FATAL(sd_event_new(&watched.event) >= 0);
	CU_ASSERT_EQUAL_FATAL(gate_watch(watched.gate, watched.event, on_tampering, &watched.heard), 0);
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(watched.heard.healed, 1);
	CU_ASSERT_EQUAL(gate_verify(watched.gate), 0);
	watched_done(&watched);
}

static uint64_t heal_usec; /* what the rate of heals goes by in the next test: it passes when the test says so */

static uint64_t heal_clock(void)
{
	return heal_usec;
}

/* A foreign change and all that the watch does about it as long as its clock stands. */
static void insert_rule(struct watched *watched)
{
	CU_ASSERT_EQUAL(nft("insert rule inet holdfast output accept"), 0);
	while (sd_event_run(watched->event, 0) > 0)
		;
}

static void constant_change_is_healed_at_a_bounded_rate(void)
{
	enum { AT_ONCE = 8, ROUNDS = 50 };
	const uint64_t interval = 20 * USEC_PER_MSEC;
	struct watched watched;
	watch(&watched, "tunnel");
	watched.gate->heal_clock = heal_clock;
	heal_usec = monotonic_usec() + USEC_PER_SEC;

	for (unsigned i = 0; i < ROUNDS; i++)
		insert_rule(&watched);
	CU_ASSERT_EQUAL(watched.heard.count, AT_ONCE);
	CU_ASSERT_EQUAL(watched.heard.suppressed, 0);
	CU_ASSERT_EQUAL(gate_verify(watched.gate), -ESTALE);

	/* An interval gives one more heal, which undoes and reports all that waited for it. */
	heal_usec += interval - 1;
	insert_rule(&watched);
	CU_ASSERT_EQUAL(watched.heard.count, AT_ONCE);
	heal_usec += 1;
	for (unsigned i = 0; i < ROUNDS; i++)
		insert_rule(&watched);
	CU_ASSERT_EQUAL(watched.heard.count, AT_ONCE + 1);
	CU_ASSERT_EQUAL(watched.heard.suppressed, ROUNDS - AT_ONCE + 1);

	/* The last changes need no further one to be undone: the watch comes back by itself. */
	heal_usec += interval;
	turn(watched.event, 100);
	CU_ASSERT_EQUAL(watched.heard.count, AT_ONCE + 2);
	CU_ASSERT_EQUAL(watched.heard.count, watched.heard.healed);
	CU_ASSERT_EQUAL(watched.heard.count + watched.heard.suppressed, ROUNDS + 1 + ROUNDS);
	CU_ASSERT_EQUAL(gate_verify(watched.gate), 0);
	watched_done(&watched);
}

static bool never(void *userdata)
{
	return false;
}

static void a_guard_that_says_no_leaves_the_table_to_the_way_out(void)
{
	struct watched watched;
	bool exists = true;
	watch(&watched, "tunnel");
	gate_set_guard(watched.gate, never, NULL);
	nft("delete table inet holdfast");
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(watched.heard.count, 1);
	CU_ASSERT_EQUAL(watched.heard.error, -ECANCELED);
	CU_ASSERT_EQUAL(gate_exists(watched.gate, &exists), 0);
	CU_ASSERT_FALSE(exists);
	watched_done(&watched);
}

static void an_open_gate_has_no_table_and_none_is_let_in_its_place(void)
{
	struct watched watched;
	bool exists = true;
	watch(&watched, "open");
	CU_ASSERT_EQUAL(gate_exists(watched.gate, &exists), 0);
	CU_ASSERT_FALSE(exists);
	CU_ASSERT_EQUAL(nft("add table inet holdfast"), 0);
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(watched.heard.healed, 1);
	CU_ASSERT_EQUAL(gate_exists(watched.gate, &exists), 0);
	CU_ASSERT_FALSE(exists);
	watched_done(&watched);
}

/* ---- refusals ---- */

static void a_table_of_another_shape_is_replaced(void)
{
	static const char *const shapes[] = {
	        "add table inet holdfast; add chain inet holdfast output { type route hook output priority 0; }",
	        "add table inet holdfast; add chain inet holdfast output { type filter hook output priority 10; }",
	        "add table inet holdfast; add chain inet holdfast output",
	        "add table inet holdfast; add set inet holdfast released { type ipv4_addr; }",
	        "add table inet holdfast; add quota inet holdfast blocked_out { over 1 mbytes }",
	        "add table inet holdfast { flags dormant; }; add chain inet holdfast old",
	};
	struct gate *fresh = gate_with("connecting");
	_cleanup_free_ char *expected = list_table();
	gate_free(fresh);
	for (size_t i = 0; i < ELEMENTSOF(shapes); i++) {
		struct gate *gate = NULL;
		nft("flush ruleset");
		CU_ASSERT_EQUAL(nft(shapes[i]), 0);
		CU_ASSERT_EQUAL_FATAL(gate_new(&gate), 0);
		int r = apply(gate, "connecting");
		CU_ASSERT_EQUAL(r, 0);
		if (r < 0)
			printf("# %s: %s\n", shapes[i], gate_error(gate));
		_cleanup_free_ char *text = list_table();
		CU_ASSERT_STRING_EQUAL(text, expected);
		gate_free(gate);
	}
}

static void a_bad_plan_leaves_the_kernel_as_it_was_and_says_why(void)
{
	struct gate *gate = gate_with("tunnel");
	_cleanup_free_ char *before = list_table();
	_cleanup_kill_switch_ struct kill_switch *settings = kill_switch_default();
	struct gate_tunnel bad = {.id = "home", .interface = "eth0"};
	struct gate_plan plan = {.exists = true, .settings = settings, .tunnels = &bad, .tunnel_count = 1};
	CU_ASSERT_EQUAL(gate_apply(gate, &plan), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(gate_error(gate), "hf-"));
	_cleanup_free_ char *after = list_table();
	CU_ASSERT_STRING_EQUAL(before, after);
	CU_ASSERT_EQUAL(gate_verify(gate), 0);
	gate_free(gate);
}

/* A table that another process owns (nft -i keeps it) may not be touched by anyone else. */
static void a_refusal_of_the_kernel_leaves_it_as_it_was_and_says_why(void)
{
	struct gate *gate = NULL;
	int in[2], out[2];
	char answer[4096];
	nft("flush ruleset");
	CU_ASSERT_EQUAL_FATAL(pipe2(in, O_CLOEXEC), 0);
	CU_ASSERT_EQUAL_FATAL(pipe2(out, O_CLOEXEC), 0);
	pid_t owner = fork();
	if (owner == 0) {
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl("/usr/sbin/nft", "nft", "-i", NULL);
		_exit(127);
	}
	static const char command[] = "add table inet holdfast { flags owner; }\nlist tables\n";
	CU_ASSERT_EQUAL(write(in[1], command, sizeof command - 1), (ssize_t)sizeof command - 1);
	struct pollfd readable = {.fd = out[0], .events = POLLIN};
	size_t length = 0;
	do {
		CU_ASSERT_TRUE_FATAL(poll(&readable, 1, 60000) > 0);
		ssize_t got = read(out[0], answer + length, sizeof answer - 1 - length);
		CU_ASSERT_TRUE_FATAL(got > 0);
		length += (size_t)got;
		answer[length] = 0;
	} while (!strstr(answer, "table inet holdfast\n"));

	_cleanup_free_ char *before = list_table();
	CU_ASSERT_EQUAL_FATAL(gate_new(&gate), 0);
	CU_ASSERT_EQUAL(apply(gate, "connecting"), -EPERM);
	CU_ASSERT_PTR_NOT_NULL(strstr(gate_error(gate), strerror(EPERM)));
	_cleanup_free_ char *after = list_table();
	CU_ASSERT_STRING_EQUAL(before, after);
	CU_ASSERT_EQUAL(gate_verify(gate), -ESTALE); /* nothing was applied: not verified */

	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	CU_ASSERT_EQUAL(apply(gate, "connecting"), 0);
	gate_free(gate);
	for (size_t i = 0; i < 2; i++) {
		close(in[i]);
		close(out[i]);
	}
}

/* In a child, since capabilities do not come back. */
static void without_the_capability_there_is_no_gate(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct none[2] = {};
		struct gate *gate = NULL;
		if (syscall(SYS_capset, &header, none) < 0)
			_exit(2);
		_exit(gate_new(&gate) == -EPERM && !gate ? 0 : 1);
	}
	int status = -1;
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void without_a_descriptor_there_is_an_error_and_no_exit(void)
{
	int held[64], count = 0;
	struct rlimit former, few = {.rlim_cur = ELEMENTSOF(held), .rlim_max = ELEMENTSOF(held)};
	CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_NOFILE, &former), 0);
	few.rlim_max = former.rlim_max;
	CU_ASSERT_EQUAL_FATAL(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (int fd = 0; count < (int)ELEMENTSOF(held) && (fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0; count++)
		held[count] = fd;
	struct gate *gate = NULL;
	CU_ASSERT_EQUAL(gate_new(&gate), -EMFILE);
	if (count > 0)
		close(held[--count]);
	CU_ASSERT_EQUAL(gate_new(&gate), -EMFILE); /* enough for one socket, not for two */
	CU_ASSERT_PTR_NULL(gate);
	while (count > 0)
		close(held[--count]);
	CU_ASSERT_EQUAL(setrlimit(RLIMIT_NOFILE, &former), 0);
}

/* ---- packets ---- */

/* Sends a datagram to ADDRESS:PORT with MARK. 0, or the errno that told of the refusal. */
static int send_by(int style, const char *address, uint16_t port, uint32_t mark)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	_cleanup_close_ int fd = socket(AF_INET, style | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = 0;
	socklen_t size = sizeof error;
	inet_pton(AF_INET, address, &to.sin_addr);
	if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0)
		return errno;
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
		return errno;
	if (style == SOCK_DGRAM && send(fd, "x", 1, 0) < 0)
		return errno;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error;
}

static int send_to(const char *address, uint16_t port, uint32_t mark)
{
	return send_by(SOCK_DGRAM, address, port, mark);
}

static uint64_t refused_out(struct gate *gate)
{
	CU_ASSERT_EQUAL(gate_read_counters(gate), 0);
	return gate_counters(gate).out;
}

/* Links whose far ends nobody reads: eth0 is the uplink, hf-home the tunnel's; table 100 is what released traffic may
 * use. By ip(8). */
static void make_links(void)
{
	static bool made;
	/* No IPv6: what the kernel sends by itself (MLD, DAD) would be counted among the packets of the tests. */
	if (!made && system("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1 && ip link set lo up && ip link add "
	                    "eth0 type veth peer name far0 && ip link set far0 up && ip addr add 192.168.7.2/24 dev "
	                    "eth0 && ip link set eth0 up && "
	                    "ip route add default via 192.168.7.1 && ip neigh add 192.168.7.1 lladdr 02:00:00:00:00:01 "
	                    "dev eth0 && "
	                    "ip link add hf-home type veth peer name far1 && ip link set far1 up && ip addr add "
	                    "10.9.0.2/32 dev hf-home && ip link set hf-home up && "
	                    "ip route add 10.9.0.0/24 dev hf-home && ip route add 198.51.100.0/24 via 10.9.0.1 dev "
	                    "hf-home && "
	                    "ip neigh add 10.9.0.1 lladdr 02:00:00:00:00:02 dev hf-home && "
	                    "ip rule add fwmark 0x68690000/0xffff0000 lookup 100 && ip route add default via "
	                    "192.168.7.1 dev eth0 table 100") != 0)
		abort();
	made = true;
}

#define WORKER 0x68660000

static void packets_meet_the_rules(void)
{
	static const struct {
		const char *plan, *address;
		uint16_t port;
		uint32_t mark;
		bool passes, tcp;
	} cases[] = {
	        {"open", "203.0.113.9", 80, 0, true}, /* the positive control */
	        {"closed", "203.0.113.9", 80, 0, false},
	        {"closed", "127.0.0.1", 80, 0, true},
	        {"closed", "203.0.113.7", 51820, WORKER, false},
	        {"closed", "192.168.7.9", 80, 0, false},
	        {"closed-wanted", "203.0.113.7", 51820, WORKER, false},
	        {"closed-wanted", "192.0.2.53", 53, WORKER, false},
	        {"closed-wanted", "10.9.0.1", 53, 0, false},
	        {"closed-wanted", "198.51.100.1", 80, 0, false}, /* through the tunnel's link */
	        {"connecting", "203.0.113.7", 51820, WORKER, true},
	        {"connecting", "203.0.113.7", 51820, 0, false},
	        {"connecting", "203.0.113.7", 51821, WORKER, false},
	        {"connecting", "203.0.113.8", 51820, WORKER, false},
	        {"connecting", "203.0.113.7", 51820, WORKER, false, .tcp = true},
	        {"connecting", "198.51.100.1", 80, 0, false}, /* through the tunnel's link */
	        {"connecting", "192.0.2.53", 53, WORKER, false},
	        {"connecting", "10.9.0.1", 53, 0, false},
	        {"resolving", "192.0.2.53", 53, WORKER, true},
	        {"resolving", "192.0.2.53", 53, WORKER, false, .tcp = true}, /* it asks by UDP alone */
	        {"resolving", "192.0.2.53", 853, WORKER, false},
	        {"resolving", "192.0.2.54", 53, WORKER, false},
	        {"resolving", "203.0.113.7", 53, WORKER, false},
	        {"resolving", "192.0.2.53", 53, 0, false},
	        {"tunnel", "203.0.113.7", 51820, WORKER, true},
	        {"tunnel", "203.0.113.7", 51820, 0, false},
	        {"tunnel", "192.0.2.53", 53, WORKER, false},
	        {"tunnel", "198.51.100.1", 80, 0, true},
	        {"tunnel", "198.51.100.1", 53, 0, false},
	        {"tunnel", "198.51.100.1", 853, 0, false},
	        {"tunnel", "10.9.0.1", 53, 0, true},
	        {"tunnel", "203.0.113.9", 80, 0, false},
	        {"tunnel", "192.168.7.9", 80, 0, false},
	        {"tunnel-lan-allow", "192.168.7.9", 80, 0, true},
	        {"tunnel-lan-allow", "192.168.7.9", 53, 0, false},
	        {"tunnel-lan-allow", "192.168.7.9", 853, 0, false},
	        {"tunnel-lan-allow", "203.0.113.9", 80, 0, false},
	        {"tunnel-lan-custom", "192.0.2.77", 80, 0, true},
	        {"tunnel-lan-custom", "192.0.2.77", 53, 0, false},
	        {"tunnel-lan-custom", "192.0.2.53", 53, 0, true},
	        {"tunnel-lan-custom", "192.168.7.9", 80, 0, false},
	        {"narrow-connecting", "203.0.113.9", 80, 0, true},
	        {"narrow-connecting", "203.0.113.9", 53, 0, true},
	        {"narrow-connecting", "10.20.0.1", 80, 0, false},
	        {"narrow-tunnel", "10.20.0.1", 80, 0, false}, /* routed to the uplink, so refused */
	        {"several", "10.20.30.1", 80, 0, false},
	};
	make_links();
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct gate *gate = gate_with(cases[i].plan);
		uint64_t before = refused_out(gate);
		int error = send_by(cases[i].tcp ? SOCK_STREAM : SOCK_DGRAM, cases[i].address, cases[i].port, cases[i].mark);
		bool passed = refused_out(gate) == before;
		CU_ASSERT_EQUAL(passed, cases[i].passes);
		if (passed != cases[i].passes)
			printf("# %s: %s:%u mark %x: %s\n", cases[i].plan, cases[i].address, cases[i].port,
			        cases[i].mark, strerror(error));
		/* Loopback refuses port 80 by itself; else a refusal is told at once, and not as a reset. */
		CU_ASSERT_TRUE(passed || error == EHOSTUNREACH || error == EACCES || error == EPERM);
		gate_free(gate);
	}
}

static void counters_outlive_changes_heals_and_replacements(void)
{
	struct watched watched;
	make_links();
	watch(&watched, "closed");
	send_to("203.0.113.9", 80, 0);
	uint64_t count = refused_out(watched.gate);
	CU_ASSERT_TRUE(count > 0);
	CU_ASSERT_EQUAL(apply(watched.gate, "connecting"), 0);
	CU_ASSERT_EQUAL(refused_out(watched.gate), count);
	CU_ASSERT_EQUAL(nft("flush ruleset"), 0);
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(refused_out(watched.gate), count);
	send_to("203.0.113.9", 80, 0);
	CU_ASSERT_EQUAL(refused_out(watched.gate), count + 1);
	CU_ASSERT_EQUAL(nft("add chain inet holdfast theirs"), 0);
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(refused_out(watched.gate), count + 1);
	CU_ASSERT_EQUAL(watched.heard.healed, 2);
	watched_done(&watched);
}

static void counters_outlive_the_gate(void)
{
	make_links();
	struct gate *gate = gate_with("closed");
	for (uint64_t times = 1; times <= 3; times++) {
		send_to("203.0.113.9", 80, 0);
		CU_ASSERT_EQUAL(gate_remove(gate), 0); /* without a look at them first */
		CU_ASSERT_EQUAL(refused_out(gate), times);
		CU_ASSERT_EQUAL(apply(gate, "closed"), 0);
	}
	gate_free(gate);
}

static void counters_that_cannot_be_read_stand(void)
{
	make_links();
	_cleanup_close_ int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
	int next = dup(nothing); /* what the gate opens first, and asks by, has this number */
	close(next);
	struct gate *gate = gate_with("closed");
	send_to("203.0.113.9", 80, 0);
	uint64_t count = refused_out(gate);
	CU_ASSERT_TRUE(count > 0);
	CU_ASSERT_EQUAL(dup2(nothing, next), next);
	CU_ASSERT_TRUE(gate_read_counters(gate) < 0);
	CU_ASSERT_EQUAL(gate_counters(gate).out, count);
	gate_free(gate);
}

/* ---- the release ---- */

static uint64_t remaining(struct gate *gate)
{
	uint64_t usec = 0;
	CU_ASSERT_EQUAL(gate_release_remaining(gate, &usec), 0);
	return usec;
}

static void a_release_opens_and_the_kernel_ends_it_by_itself(void)
{
	make_links();
	struct gate *gate = gate_with("connecting");
	CU_ASSERT_EQUAL(remaining(gate), 0);
	CU_ASSERT_NOT_EQUAL(send_to("203.0.113.9", 80, 0), 0);
	CU_ASSERT_EQUAL(gate_release(gate, 3600 * USEC_PER_SEC), 0);
	CU_ASSERT_TRUE(remaining(gate) > 3000 * USEC_PER_SEC && remaining(gate) <= 3600 * USEC_PER_SEC);
	uint64_t before = refused_out(gate);
	CU_ASSERT_EQUAL(send_to("203.0.113.9", 80, 0), 0);
	CU_ASSERT_EQUAL(send_to("203.0.113.9", 53, 0), 0);
	CU_ASSERT_EQUAL(send_to("198.51.100.1", 80, 0), 0);
	CU_ASSERT_EQUAL(refused_out(gate), before);
	CU_ASSERT_EQUAL(gate_verify(gate), 0);

	CU_ASSERT_EQUAL(gate_release(gate, USEC_PER_SEC), 0); /* another end: all that had to be seen before it was */
	struct timespec pause = {.tv_nsec = 5000000};
	unsigned polls = 0;
	while (remaining(gate) > 0 && polls++ < 10000)
		nanosleep(&pause, NULL);
	CU_ASSERT_EQUAL(remaining(gate), 0);
	CU_ASSERT_NOT_EQUAL(send_to("203.0.113.9", 80, 0), 0);
	CU_ASSERT_TRUE(refused_out(gate) > before);
	CU_ASSERT_EQUAL(gate_verify(gate), 0);
	gate_free(gate);
}

static void a_release_can_be_taken_back(void)
{
	make_links();
	struct gate *gate = gate_with("closed");
	CU_ASSERT_EQUAL(gate_release(gate, 3600 * USEC_PER_SEC), 0);
	CU_ASSERT_EQUAL(send_to("203.0.113.9", 80, 0), 0);
	CU_ASSERT_EQUAL(gate_release(gate, 0), 0);
	CU_ASSERT_EQUAL(remaining(gate), 0);
	CU_ASSERT_NOT_EQUAL(send_to("203.0.113.9", 80, 0), 0);
	gate_free(gate);
}

static void a_release_outlives_changes_heals_and_the_daemon(void)
{
	struct watched watched;
	watch(&watched, "closed");
	CU_ASSERT_EQUAL(gate_release(watched.gate, 3600 * USEC_PER_SEC), 0);
	CU_ASSERT_EQUAL(apply(watched.gate, "connecting"), 0);
	CU_ASSERT_TRUE(remaining(watched.gate) > 3000 * USEC_PER_SEC);
	nft("flush ruleset");
	turn(watched.event, 50);
	CU_ASSERT_EQUAL(watched.heard.healed, 1);
	CU_ASSERT_TRUE(remaining(watched.gate) > 3000 * USEC_PER_SEC && remaining(watched.gate) <= 3600 * USEC_PER_SEC);
	struct gate *successor = NULL;
	CU_ASSERT_EQUAL_FATAL(gate_new(&successor), 0);
	CU_ASSERT_EQUAL(apply(successor, "closed"), 0);
	CU_ASSERT_TRUE(remaining(successor) > 3000 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(gate_verify(successor), 0);
	gate_free(successor);
	watched_done(&watched);
}

static void a_release_without_an_end_is_not_adopted(void)
{
	struct gate *gate = gate_with("closed"), *successor = NULL;
	gate_free(gate);
	CU_ASSERT_EQUAL(nft("add element inet holdfast released { ipv4, ipv6 timeout 2h }"), 0);
	CU_ASSERT_EQUAL_FATAL(gate_new(&successor), 0);
	CU_ASSERT_EQUAL(apply(successor, "closed"), 0);
	CU_ASSERT_EQUAL(remaining(successor), 0);
	gate_free(successor);
}

static void a_release_has_its_bounds(void)
{
	struct gate *gate = gate_with("open");
	CU_ASSERT_EQUAL(gate_release(gate, USEC_PER_SEC), -ENOENT);
	CU_ASSERT_EQUAL(apply(gate, "closed"), 0);
	CU_ASSERT_EQUAL(gate_release(gate, 3601 * USEC_PER_SEC), -EINVAL);
	CU_ASSERT_EQUAL(remaining(gate), 0);
	gate_free(gate);
}

static void removing_leaves_nothing_and_others_alone(void)
{
	struct gate *gate = gate_with("tunnel");
	bool exists = true;
	CU_ASSERT_EQUAL(nft("add table inet theirs"), 0);
	CU_ASSERT_EQUAL(gate_remove(gate), 0);
	CU_ASSERT_EQUAL(gate_exists(gate, &exists), 0);
	CU_ASSERT_FALSE(exists);
	CU_ASSERT_EQUAL(gate_remove(gate), 0); /* also where there was none */
	CU_ASSERT_EQUAL(nft("list table inet theirs"), 0);
	gate_free(gate);
}

static const struct test tests[] = {
        {"the kernel takes every plan after every other", the_kernel_takes_every_plan_after_every_other},
        {"a change gives the same table as a fresh start", a_change_gives_the_same_table_as_a_fresh_start},
        {"a reading notices every foreign change", a_reading_notices_every_foreign_change},
        {"the next change mends every foreign change", the_next_change_mends_every_foreign_change},
        {"the watch heals every foreign change and names the culprit",
                the_watch_heals_every_foreign_change_and_names_the_culprit},
        {"own changes and those of other tables are no tampering",
                own_changes_and_those_of_other_tables_are_no_tampering},
        {"grants stand until they are taken back", grants_stand_until_they_are_taken_back},
        {"a grant with an end is ended by the kernel", a_grant_with_an_end_is_ended_by_the_kernel},
        {"foreign elements are taken out and own ones put back", foreign_elements_are_taken_out_and_own_ones_put_back},
        {"what a resolver adds is left alone", what_a_resolver_adds_is_left_alone},
        {"a new gate takes out what it does not know", a_new_gate_takes_out_what_it_does_not_know},
        {"listed networks are merged", listed_networks_are_merged},
        {"a list that stands is not loaded again", a_list_that_stands_is_not_loaded_again},
        {"foreign elements beside a long list are taken out", foreign_elements_beside_a_long_list_are_taken_out},
        {"what changes nothing is a commit all the same", what_changes_nothing_is_a_commit_all_the_same},
        {"a change before the watch is found", a_change_before_the_watch_is_found},
        {"constant change is healed at a bounded rate", constant_change_is_healed_at_a_bounded_rate},
        {"a guard that says no leaves the table to the way out", a_guard_that_says_no_leaves_the_table_to_the_way_out},
        {"an open gate has no table and none is let in its place",
                an_open_gate_has_no_table_and_none_is_let_in_its_place},
        {"a table of another shape is replaced", a_table_of_another_shape_is_replaced},
        {"a bad plan leaves the kernel as it was and says why", a_bad_plan_leaves_the_kernel_as_it_was_and_says_why},
        {"a refusal of the kernel leaves it as it was and says why",
                a_refusal_of_the_kernel_leaves_it_as_it_was_and_says_why},
        {"without the capability there is no gate", without_the_capability_there_is_no_gate},
        {"without a descriptor there is an error and no exit", without_a_descriptor_there_is_an_error_and_no_exit},
        {"packets meet the rules", packets_meet_the_rules},
        {"counters outlive changes, heals and replacements", counters_outlive_changes_heals_and_replacements},
        {"counters outlive the gate", counters_outlive_the_gate},
        {"counters that cannot be read stand", counters_that_cannot_be_read_stand},
        {"a release opens and the kernel ends it by itself", a_release_opens_and_the_kernel_ends_it_by_itself},
        {"a release can be taken back", a_release_can_be_taken_back},
        {"a release outlives changes, heals and the daemon", a_release_outlives_changes_heals_and_the_daemon},
        {"a release without an end is not adopted", a_release_without_an_end_is_not_adopted},
        {"a release has its bounds", a_release_has_its_bounds},
        {"removing leaves nothing and others alone", removing_leaves_nothing_and_others_alone},
};

int main(int argc, char **argv)
{
	struct stat before, after;
	if (stat("/proc/self/ns/net", &before) < 0 || unshare(CLONE_NEWNET) < 0 ||
	        stat("/proc/self/ns/net", &after) < 0 || before.st_ino == after.st_ino) {
		printf("Bail out! no network namespace of its own: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return suite_run("gate", tests, ELEMENTSOF(tests), argc, argv);
}
