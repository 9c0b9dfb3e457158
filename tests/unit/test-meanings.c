/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the language's words mean to the lifecycle, a sentence each: attempts, delays, waits, and what takes their place. */

#include <string.h>

#include "lifecycle-rig.h"
#include "suite.h"
#include "util/text.h"

#define OTHERWISE(action) "{\"version\": 1, \"stableAfter\": \"30s\", \"otherwise\": {" action "}}"
#define ON_RESUMED(action, otherwise) \
	"{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"resumed\"}, \"then\": {" action "}}], \"otherwise\": {" otherwise "}}"
#define GROWING "\"action\": \"restart\", \"delay\": {\"initial\": \"1s\", \"factor\": 2, \"max\": \"1h\"}"

static const char *resumed(void)
{
	return play_event((struct lifecycle_event){.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_RESUMED});
}

static void answer(bool restart)
{
	play_event((struct lifecycle_event){.type = LIFECYCLE_ANSWER, .tunnel = LIFECYCLE_NONE, .decision = life.tunnels[0].pending.id, .restart = restart});
}

/* Stops it once more, and lets what was decided come due. */
static void fail(unsigned attempt)
{
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, attempt);
	if (life.tunnels[0].state == TUNNEL_DECIDING)
		answer(true);
	if (life.tunnels[0].state == TUNNEL_WAITING)
		after(life.tunnels[0].deadline_usec - now);
	CU_ASSERT_TRUE(life.tunnels[0].state == TUNNEL_CONNECTING || life.tunnels[0].state == TUNNEL_REASSERTING);
}

static void attempts_go_on_over_endpoints_waits_and_questions(void)
{
	static const char *const policies[] = {
		OTHERWISE("\"action\": \"restart\", \"endpoint\": \"next\""),
		OTHERWISE("\"action\": \"restart\", \"worker\": \"fresh\", \"delay\": \"2s\""),
		OTHERWISE("\"action\": \"wait\", \"until\": \"5s\""),
		OTHERWISE("\"action\": \"ask\""),
	};
	for (size_t i = 0; i < ELEMENTSOF(policies); i++) {
		connect_home();
		use_policy(policies[i]);
		for (unsigned attempt = 1; attempt <= 4; attempt++) {
			fail(attempt);
			if (life.tunnels[0].worker == WORKER_STATE_ENDING)
				play(LIFECYCLE_WORKER_GONE, 0);
			play(LIFECYCLE_WORKER_HELLO, 0);
		}
	}
}

static void a_users_start_begins_anew_and_a_rules_connect_does_not(void)
{
	connect_home();
	use_policy(ON_RESUMED("\"action\": \"connect\", \"tunnel\": \"home\"", GROWING));
	fail(1);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(decision_told()->decision.delay_usec, 2 * SECOND);
	resumed();
	play(LIFECYCLE_STARTED, 0);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, 3);
	CU_ASSERT_EQUAL(decision_told()->decision.delay_usec, 4 * SECOND);
	start_and_go_on(0);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, 1);
	CU_ASSERT_EQUAL(decision_told()->decision.delay_usec, 1 * SECOND);
}

static void a_wait_for_what_is_so_is_over_at_once(void)
{
	connect_home();
	use_policy(OTHERWISE("\"action\": \"wait\", \"until\": \"networkAvailable\", \"then\": {\"action\": \"terminate\"}"));
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
	connect_home();
	use_policy(OTHERWISE("\"action\": \"wait\", \"until\": \"networkLost\", \"then\": {\"action\": \"terminate\"}"));
	network_is(false);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
}

static void what_a_wait_leads_to_is_done_without_the_rules(void)
{
	connect_home();
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"attempt\": {\"max\": 1}}, \"then\": {\"action\": \"wait\", \"until\": \"resumed\","
		   "\"then\": {\"action\": \"terminate\"}}}], \"otherwise\": {\"action\": \"restart\"}}");
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	resumed();
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
	CU_ASSERT_EQUAL(decision_told()->decision.rule, 0);
}

static void what_waits_for_an_event_is_not_woken_where_a_rule_starts_it(void)
{
	connect_home();
	use_policy(ON_RESUMED("\"action\": \"connect\", \"tunnel\": \"home\"", "\"action\": \"wait\", \"until\": \"resumed\", \"then\": {\"action\": \"terminate\"}"));
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	CU_ASSERT_STRING_EQUAL(resumed(), "announceDecision(connect) gate gate started");
	play(LIFECYCLE_STARTED, 0);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_REASSERTING);
}

static void a_failover_passes_over_itself_and_who_is_not_there(void)
{
	set_up();
	add_tunnel(1, "work", true);
	use_policy(OTHERWISE("\"action\": \"failover\", \"to\": [\"nobody\", \"home\", \"work\"]"));
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	after(SECOND);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_FALSE(life.tunnels[0].wanted);
	CU_ASSERT_TRUE(life.tunnels[1].starting);
}

static void what_is_taken_over_does_not_also_come_due(void)
{
	set_up();
	life.tunnels[0].all = false; /* two of everything would not be up at once */
	add_tunnel(1, "office", false);
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"tunnel\": \"home\"}, \"then\": {\"action\": \"failover\", \"to\": [\"office\"]}}],"
		   "\"otherwise\": {\"action\": \"wait\", \"until\": \"250ms\", \"then\": {\"action\": \"terminate\"}}}");
	for (size_t i = 0; i < 2; i++) {
		start_and_go_on(i);
		play(LIFECYCLE_WORKER_HELLO, i);
		play_event((struct lifecycle_event){.type = LIFECYCLE_WORKER_WILL_STOP, .tunnel = i, .error = TUNNEL_ERROR_SERVER_BUSY});
		CU_ASSERT_EQUAL(life.tunnels[i].deadline_usec, now + 250 * USEC_PER_MSEC); /* home's: attempts are spaced */
	}
	after(250 * USEC_PER_MSEC);
	CU_ASSERT_TRUE(life.tunnels[1].starting);
	CU_ASSERT_EQUAL(life.tunnels[1].state, TUNNEL_WAITING);
	play(LIFECYCLE_STARTED, 1);
	CU_ASSERT_EQUAL(life.tunnels[1].state, TUNNEL_CONNECTING);
}

static void a_start_after_an_end_is_with_the_first_endpoint(void)
{
	connect_home();
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"attempt\": {\"max\": 1}}, \"then\": {\"action\": \"restart\", \"endpoint\": \"next\"}}]}");
	fail(1);
	CU_ASSERT_EQUAL(life.tunnels[0].endpoint, 1);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
	start_and_go_on(0);
	CU_ASSERT_EQUAL(life.tunnels[0].endpoint, 0);
}

static void connecting_what_is_up_or_on_its_way_changes_nothing(void)
{
	static const char connects[] = ON_RESUMED("\"action\": \"connect\", \"tunnel\": \"home\"", "\"action\": \"terminate\"");
	connect_home();
	use_policy(connects);
	CU_ASSERT_STRING_EQUAL(resumed(), "announceDecision(connect) gate");
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTED);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
	CU_ASSERT_STRING_EQUAL(resumed(), "announceDecision(connect) gate gate started"); /* what has failed starts */
	play(LIFECYCLE_STARTED, 0);
	CU_ASSERT_STRING_EQUAL(resumed(), "announceDecision(connect) gate");
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTING);
}

static const struct test tests[] = {
	{"attempts go on over endpoints, workers, waits and questions", attempts_go_on_over_endpoints_waits_and_questions},
	{"a user's start begins attempts and delays anew, a rule's connect does not", a_users_start_begins_anew_and_a_rules_connect_does_not},
	{"a wait for what is so already is over at once", a_wait_for_what_is_so_is_over_at_once},
	{"what a wait leads to is done without the rules", what_a_wait_leads_to_is_done_without_the_rules},
	{"what waits for an event is not woken by it where a rule starts it", what_waits_for_an_event_is_not_woken_where_a_rule_starts_it},
	{"a failover passes over itself and who is not there", a_failover_passes_over_itself_and_who_is_not_there},
	{"what another fails over to does not also come to what it waited for", what_is_taken_over_does_not_also_come_due},
	{"a start after an end is with the first endpoint", a_start_after_an_end_is_with_the_first_endpoint},
	{"to connect what is up or on its way changes nothing, and starts what has failed", connecting_what_is_up_or_on_its_way_changes_nothing},
};

int main(int argc, char **argv)
{
	return suite_run("meanings", tests, ELEMENTSOF(tests), argc, argv);
}
