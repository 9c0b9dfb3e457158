/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Signs of a peer that is gone, on a clock of the test's own. */

#include "daemon/health.h"
#include "suite.h"
#include "util/macro.h"

#define INTERVAL (5 * USEC_PER_SEC)
#define TICK     (INTERVAL / HEALTH_SAMPLES)

static struct health health;
static uint64_t now, rx, tx;
static unsigned suspected, probes;
static bool target_answers;

static void begin(bool answers)
{
	health = (struct health){};
	now = 1000 * USEC_PER_SEC;
	rx = tx = 5000;
	suspected = probes = 0;
	target_answers = answers;
}

/* One sample; what a probe brings with it comes before the next. True: the peer is given up. */
static bool tick(bool server_answers)
{
	now += TICK;
	enum health_action action = health_sample(&health, now, rx, tx, INTERVAL);
	suspected += action == HEALTH_SUSPECT;
	if (action == HEALTH_DEAD)
		return true;
	if (action == HEALTH_PROBE || action == HEALTH_SUSPECT) {
		probes++;
		tx += 45;
		if (server_answers && target_answers) {
			rx += 73;
			health_answered(&health);
		}
	}
	return false;
}

/* SECONDS of one packet out in each second, answered or not. Returns when it was given up; 0: it was not. */
static uint64_t traffic(unsigned seconds, bool answered)
{
	uint64_t begun = now;
	for (unsigned i = 0; i < seconds * USEC_PER_SEC / TICK; i++) {
		tx += 100;
		rx += answered ? 100 : 0;
		if (tick(answered))
			return now - begun;
	}
	return 0;
}

static void idle_is_no_sign(void)
{
	for (int answers = 0; answers < 2; answers++) {
		begin(answers);
		for (unsigned i = 0; i < 600 * USEC_PER_SEC / TICK; i++)
			CU_ASSERT_FALSE_FATAL(tick(true));
		CU_ASSERT_EQUAL(suspected, 0);
		CU_ASSERT_TRUE(probes > 0);
	}
}

static void traffic_that_is_answered_is_no_sign(void)
{
	begin(true);
	CU_ASSERT_EQUAL(traffic(600, true), 0);
	CU_ASSERT_EQUAL(suspected, 0);
	CU_ASSERT_EQUAL(probes, 1); /* to learn */
}

static void gone_is_seen_with_both_signs(void)
{
	begin(true);
	CU_ASSERT_EQUAL(traffic(60, true), 0);
	uint64_t took = traffic(60, false);
	CU_ASSERT_EQUAL(suspected, 1);
	CU_ASSERT_TRUE(took >= INTERVAL);
	CU_ASSERT_TRUE(took <= 10 * USEC_PER_SEC);
}

static void one_way_traffic_is_not_gone(void)
{
	begin(true);
	CU_ASSERT_EQUAL(traffic(60, true), 0);
	for (unsigned i = 0; i < 600 * USEC_PER_SEC / TICK; i++) {
		tx += 100; /* nothing answers but the target */
		CU_ASSERT_FALSE_FATAL(tick(true));
	}
	CU_ASSERT_TRUE(suspected > 0);
}

static void a_target_that_never_answered_proves_nothing(void)
{
	begin(false);
	CU_ASSERT_EQUAL(traffic(60, true), 0);
	CU_ASSERT_EQUAL(traffic(600, false), 0);
	CU_ASSERT_EQUAL(suspected, 1);
}

static void gone_while_idle_is_seen_once_something_is_sent(void)
{
	begin(true);
	for (unsigned i = 0; i < 60; i++)
		CU_ASSERT_FALSE(tick(true));
	for (unsigned i = 0; i < 600; i++)
		CU_ASSERT_FALSE(tick(false));
	CU_ASSERT_EQUAL(suspected, 0);
	CU_ASSERT_NOT_EQUAL(traffic(20, false), 0);
}

static void sleep_is_no_sign(void)
{
	for (unsigned before = 1; before <= 8; before++) { /* samples without an answer: unanswered, suspected, each probe sent */
		begin(true);
		CU_ASSERT_EQUAL(traffic(20, true), 0);
		for (unsigned i = 0; i < before; i++) {
			tx += 100;
			CU_ASSERT_FALSE(tick(false));
		}
		suspected = 0;
		now += 3600 * USEC_PER_SEC;
		tx += 100; /* the first goes into a network that is not there yet */
		CU_ASSERT_FALSE(tick(false));
		CU_ASSERT_EQUAL(traffic(20, true), 0);
		CU_ASSERT_EQUAL(suspected, 0);
		CU_ASSERT_NOT_EQUAL(traffic(20, false), 0);
	}
}

static const struct test tests[] = {
        {"ten minutes of an idle tunnel raise no alarm, whether the target answers or not", idle_is_no_sign},
        {"traffic that is answered is no sign, and is not probed", traffic_that_is_answered_is_no_sign},
        {"a server that is gone is seen by both signs, soon", gone_is_seen_with_both_signs},
        {"traffic that nobody answers is no death while the target answers", one_way_traffic_is_not_gone},
        {"the silence of a target that never answered proves nothing", a_target_that_never_answered_proves_nothing},
        {"a server that goes while nothing is sent is seen once something is", gone_while_idle_is_seen_once_something_is_sent},
        {"a host that slept wakes without a sign, whatever was missing before", sleep_is_no_sign},
};

int main(int argc, char **argv)
{
	return suite_run("health", tests, ELEMENTSOF(tests), argc, argv);
}
