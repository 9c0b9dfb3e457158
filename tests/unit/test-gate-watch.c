/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Foreign changes of the table: noticed, mended by the next change, and healed by the watch. */

#include <errno.h>
#include <string.h>

#include "gate-rig.h"
#include "util/text.h"

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
                "flush chain inet holdfast prerouting; add rule inet holdfast prerouting accept comment "
                "\"release, new flow\"; add rule inet holdfast prerouting accept comment \"release\""},
        {"a chain that the gate leaves out", "add chain inet holdfast postrouting { type nat hook postrouting priority 100; }"},
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
		CU_ASSERT_NOT_EQUAL(watched.heard.usec, 0);
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

static const struct test tests[] = {
        {"a reading notices every foreign change", a_reading_notices_every_foreign_change},
        {"the next change mends every foreign change", the_next_change_mends_every_foreign_change},
        {"the watch heals every foreign change and names the culprit",
                the_watch_heals_every_foreign_change_and_names_the_culprit},
        {"own changes and those of other tables are no tampering",
                own_changes_and_those_of_other_tables_are_no_tampering},
        {"a change before the watch is found", a_change_before_the_watch_is_found},
        {"constant change is healed at a bounded rate", constant_change_is_healed_at_a_bounded_rate},
        {"a guard that says no leaves the table to the way out", a_guard_that_says_no_leaves_the_table_to_the_way_out},
        {"an open gate has no table and none is let in its place",
                an_open_gate_has_no_table_and_none_is_let_in_its_place},
};

int main(int argc, char **argv)
{
	return gate_suite_run("gate-watch", tests, ELEMENTSOF(tests), argc, argv);
}
