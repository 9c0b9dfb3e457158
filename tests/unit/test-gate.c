/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Commits and their refusals, what packets meet, counters, and the release. */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "gate-plans.h"
#include "gate-rig.h"
#include "util/text.h"

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

static void a_release_translates_addresses_while_it_lasts(void)
{
	struct gate *gate = gate_with("closed");
	CU_ASSERT_FALSE(table_has("chain postrouting"));
	CU_ASSERT_EQUAL(gate_release(gate, 3600 * USEC_PER_SEC), 0);
	CU_ASSERT_TRUE(table_has("masquerade comment \"release\""));
	CU_ASSERT_EQUAL(apply(gate, "connecting"), 0);
	CU_ASSERT_TRUE(table_has("masquerade comment \"release\""));
	CU_ASSERT_TRUE(remaining(gate) > 3000 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(gate_release(gate, 0), 0);
	CU_ASSERT_EQUAL(apply(gate, "closed"), 0);
	CU_ASSERT_FALSE(table_has("chain postrouting"));
	gate_free(gate);
}

static void a_bridge_has_a_chain_while_it_is_there(void)
{
	struct gate *gate = gate_with("closed-bare");
	CU_ASSERT_FALSE(table_has("chain prerouting"));
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT_EQUAL(apply(gate, "closed"), 0);
		CU_ASSERT_TRUE(table_has("chain prerouting"));
		CU_ASSERT_EQUAL(apply(gate, "closed-bare"), 0);
		CU_ASSERT_FALSE(table_has("chain prerouting"));
		CU_ASSERT_EQUAL(gate_verify(gate), 0);
	}
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
        {"a release translates addresses while it lasts", a_release_translates_addresses_while_it_lasts},
        {"a bridge has a chain while it is there", a_bridge_has_a_chain_while_it_is_there},
        {"a release outlives changes, heals and the daemon", a_release_outlives_changes_heals_and_the_daemon},
        {"a release without an end is not adopted", a_release_without_an_end_is_not_adopted},
        {"a release has its bounds", a_release_has_its_bounds},
        {"removing leaves nothing and others alone", removing_leaves_nothing_and_others_alone},
};

int main(int argc, char **argv)
{
	return gate_suite_run("gate", tests, ELEMENTSOF(tests), argc, argv);
}
