/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What stops and events come to: what the policy decides, waits, questions, limits, and what of it outlives the daemon. */

#include <string.h>

#include "daemon/saved.h"
#include "lifecycle-rig.h"
#include "suite.h"
#include "util/fields.h"
#include "util/text.h"

static void attempts_count_and_delays_hold(void)
{
	set_up();
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	now += 10 * SECOND;
	stop_with(TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTING); /* it never was connected */
	now += 10 * SECOND;
	stop_with(TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, 2);
	now += 10 * SECOND;
	CU_ASSERT_STRING_EQUAL(stop_with(TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED),
		"gate announceStop announceState(deciding) announceDecision(restart) announceState(waiting)");
	CU_ASSERT_EQUAL(lifecycle_deadline(&life), now + 5 * SECOND);
	CU_ASSERT_EQUAL(life.tunnels[0].endpoint, 0);
	CU_ASSERT_STRING_EQUAL(after(5 * SECOND), "gate announceState(connecting) workerRestart");
	CU_ASSERT_EQUAL(life.tunnels[0].endpoint, 1);
}

static void restarts_at_once_do_not_spin(void)
{
	connect_home();
	stop_with(TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_REASSERTING); /* at once: it had carried */
	now += 1000;
	stop_with(TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	CU_ASSERT_EQUAL(lifecycle_deadline(&life), now - 1000 + 250000);
	CU_ASSERT_STRING_EQUAL(after(249000), "gate announceState(reasserting) workerRestart");
}

static void a_stable_connection_forgets_attempts(void)
{
	connect_home();
	stop_with(TUNNEL_ERROR_WORKER_CRASHED);
	contacting();
	play(LIFECYCLE_WORKER_UP, 0);
	after(30 * SECOND - 1);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, 1);
	after(1);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, 0);
}

/* Fails as soon as it runs, fifty times; at no time have more than two restarts been made in the last ten minutes. */
static void limits_hold_for_restarts_that_waited(void)
{
	uint64_t made[50];
	set_up();
	use_policy("{\"version\": 1, \"rules\": [{\"then\": {\"action\": \"restart\", \"delay\": \"1s\"}}],"
		    "\"limits\": {\"restarts\": 2, \"per\": \"10m\"}}");
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	for (size_t i = 0; i < ELEMENTSOF(made); i++) {
		stop_with(TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED);
		CU_ASSERT_EQUAL_FATAL(life.tunnels[0].state, TUNNEL_WAITING);
		now = lifecycle_deadline(&life);
		play(LIFECYCLE_TIME, LIFECYCLE_NONE);
		made[i] = now;
		CU_ASSERT_TRUE(i < 2 || made[i] - made[i - 2] >= 600 * SECOND);
	}
}

/* The worker's word may come in the same wake-up as the clock's: what has been up long enough is stable all the same. */
static void what_was_up_long_enough_is_stable_when_it_stops(void)
{
	connect_home();
	stop_with(TUNNEL_ERROR_WORKER_CRASHED);
	contacting();
	play(LIFECYCLE_WORKER_UP, 0);
	now += 30 * SECOND;
	stop_with(TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, 1);
}

static void a_system_that_stops_decides_nothing(void)
{
	static const char *const decided[] = {"{\"action\": \"restart\"}", "{\"action\": \"disconnect\"}", "{\"action\": \"connect\", \"tunnel\": \"home\"}"};
	struct lifecycle_event changed = {.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_NETWORK_CHANGED};
	for (size_t i = 0; i < ELEMENTSOF(decided); i++) {
		_cleanup_free_ char *text = text_format("{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"networkChanged\"}, \"then\": %s}]}", decided[i]);
		set_up();
		use_policy(text);
		start_and_go_on(0);
		play(LIFECYCLE_WORKER_HELLO, 0);
		play(LIFECYCLE_SYSTEM_STOP, LIFECYCLE_NONE);
		play(LIFECYCLE_WORKER_GONE, 0);
		CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_DISCONNECTED);
		CU_ASSERT_STRING_EQUAL(play_event(changed), "exit");
		changed.tunnel = 0;
		CU_ASSERT_STRING_EQUAL(play_event(changed), "exit");
		changed.tunnel = LIFECYCLE_NONE;
		CU_ASSERT_TRUE(life.tunnels[0].wanted);
	}
}

static void a_question_outlives_the_systems_stop(void)
{
	struct lifecycle_event answer = {.type = LIFECYCLE_ANSWER, .tunnel = LIFECYCLE_NONE, .restart = true};
	connect_home();
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	answer.decision = life.tunnels[0].pending.id;
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_SYSTEM_STOP, LIFECYCLE_NONE), "workerKill linkRemove record");
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_DECIDING);
	CU_ASSERT_EQUAL(life.tunnels[0].pending.id, answer.decision);
	CU_ASSERT_STRING_EQUAL(play_event(answer), "");
	CU_ASSERT_EQUAL(lifecycle_deadline(&life), USEC_INFINITY);
	CU_ASSERT_STRING_EQUAL(after(120 * SECOND), "");
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_GONE, 0), "exit");
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_DECIDING);
}

static void a_question_that_was_replaced_is_not_asked_again(void)
{
	set_up();
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"networkChanged\"}, \"then\": {\"action\": \"restart\"}}],"
		    "\"otherwise\": {\"action\": \"ask\"}}");
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	now += SECOND;
	CU_ASSERT_STRING_EQUAL(play_event((struct lifecycle_event){.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_NETWORK_CHANGED}),
		"announceDecision(restart) gate record announceState(connecting) workerRestart");
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_USER_RESTART, 0), "gate record announceState(connecting) workerRestart");
}

/* As saved: the tunnel waits for the network, which came while no daemon was there. */
static void what_came_while_nobody_was_there_is_not_waited_for(void)
{
	set_up();
	life.tunnels[0].wanted = true;
	life.tunnels[0].state = TUNNEL_WAITING;
	life.tunnels[0].pending = (struct lifecycle_pending){.kind = PENDING_EVENT, .event = POLICY_EVENT_NETWORK_AVAILABLE, .id = 1};
	life.available = false;
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_BEGIN, LIFECYCLE_NONE), "gate record");
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	life.available = true;
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_BEGIN, LIFECYCLE_NONE), "gate record gate announceDecision(restart) announceState(connecting) workerSpawn");
}

static void termination_blocks(void)
{
	connect_home();
	CU_ASSERT_STRING_EQUAL(stop_with(TUNNEL_ERROR_TLS_FAILURE),
		"gate announceStop announceState(deciding) announceDecision(terminate) workerKill linkRemove record gate announceState(failed)");
	CU_ASSERT_TRUE(life.tunnels[0].wanted);
	CU_ASSERT_FALSE(life.tunnels[0].released);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_GONE, 0), "");
	CU_ASSERT_STRING_EQUAL(start_and_go_on(0), "gate record announceState(connecting) workerSpawn");
}

static void termination_that_releases_opens_last(void)
{
	connect_home();
	CU_ASSERT_STRING_EQUAL(stop_with(TUNNEL_ERROR_SESSION_REFUSED),
		"announceStop announceState(deciding) announceDecision(terminate) workerKill linkRemove record gate announceState(failed)");
	CU_ASSERT_TRUE(life.tunnels[0].released);
}

static void waiting_ends_by_time_or_event(void)
{
	connect_home();
	CU_ASSERT_STRING_EQUAL(stop_with(TUNNEL_ERROR_SERVER_BUSY),
		"gate announceStop announceState(deciding) announceDecision(wait) announceState(waiting)");
	CU_ASSERT_STRING_EQUAL(after(10 * SECOND), "gate announceDecision(restart) announceState(reasserting) workerRestart");
	now += SECOND;
	stop_with(TUNNEL_ERROR_CAPTIVE_PORTAL);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	CU_ASSERT_STRING_EQUAL(play_event((struct lifecycle_event){.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_NETWORK_CHANGED}),
		"gate announceDecision(restart) announceState(reasserting) workerRestart");
	stop_with(TUNNEL_ERROR_CAPTIVE_PORTAL);
	after(60 * SECOND);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
}

static void a_session_ends_with_its_uplink(void)
{
	static const struct {
		enum tunnel_error error, expected;
		uint64_t later_usec;
		bool offline, connected_since;
	} cases[] = {
		{TUNNEL_ERROR_PEER_UNRESPONSIVE, TUNNEL_ERROR_UPLINK_CHANGED, SECOND, false, false},
		{TUNNEL_ERROR_SERVER_DISCONNECTED, TUNNEL_ERROR_UPLINK_CHANGED, 0, false, false},
		{TUNNEL_ERROR_SERVER_DISCONNECTED, TUNNEL_ERROR_UPLINK_CHANGED, LIFECYCLE_UPLINK_USEC, false, false},
		{TUNNEL_ERROR_SERVER_DISCONNECTED, TUNNEL_ERROR_SERVER_DISCONNECTED, LIFECYCLE_UPLINK_USEC + 1, false, false},
		{TUNNEL_ERROR_SERVER_DISCONNECTED, TUNNEL_ERROR_SERVER_DISCONNECTED, SECOND, true, false},
		{TUNNEL_ERROR_SERVER_DISCONNECTED, TUNNEL_ERROR_SERVER_DISCONNECTED, SECOND, false, true},
		{TUNNEL_ERROR_SERVER_BUSY, TUNNEL_ERROR_SERVER_BUSY, SECOND, false, false},
		{TUNNEL_ERROR_AUTHENTICATION_FAILED, TUNNEL_ERROR_AUTHENTICATION_FAILED, SECOND, false, false},
		{TUNNEL_ERROR_WORKER_CRASHED, TUNNEL_ERROR_WORKER_CRASHED, SECOND, false, false},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		set_up();
		connect_home();
		now += SECOND;
		life.uplink_changed_usec = cases[i].connected_since ? life.tunnels[0].connected_usec - 1 : now;
		life.available = !cases[i].offline;
		now += cases[i].later_usec;
		stop_with(cases[i].error);
		CU_ASSERT_EQUAL(life.tunnels[0].error, cases[i].expected);
	}
}

static void a_sign_in_page_veils_the_server(void)
{
	static const enum tunnel_error veiled[] = {TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_CONNECTION_TIMEOUT,
		TUNNEL_ERROR_NETWORK_UNREACHABLE, TUNNEL_ERROR_NAME_RESOLUTION_FAILED, TUNNEL_ERROR_TLS_FAILURE};
	for (size_t i = 0; i < ELEMENTSOF(veiled); i++) {
		set_up();
		start_and_go_on(0);
		play(LIFECYCLE_WORKER_HELLO, 0);
		life.portal = true;
		stop_with(veiled[i]);
		CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_CAPTIVE_PORTAL);
	}
	set_up();
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	life.portal = true;
	stop_with(TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_WORKER_CRASHED);
	set_up();
	connect_home();
	life.portal = true; /* what was up got through */
	stop_with(TUNNEL_ERROR_CONNECTION_TIMEOUT);
	CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_CONNECTION_TIMEOUT);
}

static void a_rule_connects_what_nobody_wants(void)
{
	static const char on_demand[] = "{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"networkChanged\", \"network\": {\"profile\": \"office\"}},"
					"\"then\": {\"action\": \"disconnect\"}}, {\"when\": {\"event\": [\"networkChanged\", \"resumed\"],"
					"\"not\": {\"network\": {\"profile\": \"office\"}}}, \"then\": {\"action\": \"connect\", \"tunnel\": \"home\"}}]}";
	struct lifecycle_event changed = {.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_NETWORK_CHANGED};
	set_up();
	use_policy(on_demand);
	life.network.profile = POLICY_UNKNOWN;
	CU_ASSERT_STRING_EQUAL(play_event(changed), "");
	life.network.profile = "office";
	CU_ASSERT_STRING_EQUAL(play_event(changed), "");
	life.network.profile = NULL;
	CU_ASSERT_STRING_EQUAL(play_event(changed), "announceDecision(connect) gate started");
	CU_ASSERT_TRUE(life.tunnels[0].wanted);
	CU_ASSERT_EQUAL(decision_told()->decision_id, 1);
	CU_ASSERT_EQUAL(decision_told()->tunnel, 0);
	play(LIFECYCLE_STARTED, 0);
	life.network.profile = POLICY_UNKNOWN;
	CU_ASSERT_STRING_EQUAL(play_event(changed), "");
	life.network.profile = "office";
	play_event(changed);
	CU_ASSERT_FALSE(life.tunnels[0].wanted);
}

static void connecting_nobody_is_told(void)
{
	struct lifecycle_event resumed = {.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_RESUMED};
	set_up();
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"resumed\"}, \"then\": {\"action\": \"connect\", \"tunnel\": \"nobody\"}}]}");
	CU_ASSERT_STRING_EQUAL(play_event(resumed), "announceDecision(connect)"); /* the host's: there is no tunnel that it is about */
	CU_ASSERT_EQUAL(decision_told()->tunnel, LIFECYCLE_NONE);
	CU_ASSERT_TRUE(decision_told()->missing);
	CU_ASSERT_EQUAL(decision_told()->decision_id, 1);
	start_and_go_on(0);
	CU_ASSERT_STRING_EQUAL(play_event(resumed), "announceDecision(connect) gate");
	CU_ASSERT_EQUAL(decision_told()->tunnel, 0);
	CU_ASSERT_TRUE(decision_told()->missing);
	CU_ASSERT_EQUAL(decision_told()->decision_id, 2);
}

/* A question, a delay, and an uplink that is waited for: an event that comes meanwhile is judged, and these replace what is pending. */
static void play_resumed_while_pending(const char *action, const char *expected)
{
	_cleanup_free_ char *text = text_format("{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"resumed\"}, \"then\": {%s}},"
						"{\"when\": {\"error\": \"serverBusy\"}, \"then\": {\"action\": \"restart\", \"delay\": \"1h\"}}],"
						"\"otherwise\": {\"action\": \"ask\"}}", action);
	static const enum tunnel_error errors[] = {TUNNEL_ERROR_SERVER_BUSY, TUNNEL_ERROR_AUTHENTICATION_FAILED};
	for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
		connect_home();
		use_policy(text);
		stop_with(errors[i]);
		uint64_t pending = decision_told()->decision_id;
		const char *played = play_event((struct lifecycle_event){.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_RESUMED});
		if (!expected[0]) {
			CU_ASSERT_STRING_EQUAL(played, "");
			CU_ASSERT_EQUAL(life.tunnels[0].pending.id, pending);
			continue;
		}
		CU_ASSERT_TRUE(strncmp(played, expected, strlen(expected)) == 0);
		CU_ASSERT_EQUAL(decision_told()->decision_id, pending + 1);
		if (life.tunnels[0].starting)
			play(LIFECYCLE_STARTED, 0);
		CU_ASSERT_NOT_EQUAL(life.tunnels[0].pending.id, pending);
		CU_ASSERT_NOT_EQUAL(life.tunnels[0].state, i ? TUNNEL_DECIDING : TUNNEL_WAITING);
	}
}

static void what_replaces_a_pending_decision(void)
{
	play_resumed_while_pending("\"action\": \"connect\", \"tunnel\": \"home\"", "announceDecision(connect) gate gate started");
	play_resumed_while_pending("\"action\": \"disconnect\"", "announceDecision(disconnect)");
	play_resumed_while_pending("\"action\": \"restart\"", "announceDecision(restart) gate");
	play_resumed_while_pending("\"action\": \"failover\", \"to\": [\"nobody\"]", "announceDecision(failover) gate");
	play_resumed_while_pending("\"action\": \"ignore\"", "");
}

static void a_wait_that_replaces_a_question_is_recorded(void)
{
	connect_home();
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"resumed\"}, \"then\": {\"action\": \"restart\"}},"
		   "{\"when\": {\"error\": \"serverBusy\"}, \"then\": {\"action\": \"restart\"}}], \"otherwise\": {\"action\": \"ask\"},"
		   "\"limits\": {\"restarts\": 1, \"per\": \"1h\", \"then\": {\"action\": \"wait\", \"until\": \"1m\"}}}");
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_DECIDING);
	CU_ASSERT_STRING_EQUAL(play_event((struct lifecycle_event){.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_RESUMED}),
		"announceDecision(wait) gate record announceState(waiting)");
}

static void offline_is_no_failure(void)
{
	struct lifecycle_event network = {.type = LIFECYCLE_NETWORK, .tunnel = LIFECYCLE_NONE, .available = false};
	connect_home();
	play_event(network);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTED);
	stop_with(TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, 0);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	network.available = true;
	CU_ASSERT_STRING_EQUAL(play_event(network), "gate announceState(reasserting) workerRestart");
	set_up();
	life.available = false;
	CU_ASSERT_STRING_EQUAL(start_and_go_on(0), "gate record announceState(waiting)");
}

static void a_question_is_answered_once(void)
{
	struct lifecycle_event answer = {.type = LIFECYCLE_ANSWER, .tunnel = LIFECYCLE_NONE, .restart = true};
	connect_home();
	CU_ASSERT_STRING_EQUAL(stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED),
		"gate announceStop announceState(deciding) announceDecision(ask) record announcePending");
	answer.decision = life.tunnels[0].pending.id;
	CU_ASSERT_STRING_EQUAL(play_event(answer), "gate record announceDecision(restart) announceState(reasserting) workerRestart");
	CU_ASSERT_STRING_EQUAL(play_event(answer), "");
	now += SECOND;
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	after(120 * SECOND);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
	CU_ASSERT_FALSE(life.tunnels[0].released);
}

static void an_answer_is_late_once_the_deadline_is_over(void)
{
	struct lifecycle_event answer = {.type = LIFECYCLE_ANSWER, .tunnel = LIFECYCLE_NONE, .restart = true};
	connect_home();
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	answer.decision = life.tunnels[0].pending.id;
	now += 120 * SECOND - 1;
	CU_ASSERT_STRING_EQUAL(play_event(answer), "gate record announceDecision(restart) announceState(reasserting) workerRestart");
	connect_home();
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	answer.decision = life.tunnels[0].pending.id;
	now += 120 * SECOND;
	CU_ASSERT_STRING_EQUAL(play_event(answer), ""); /* before the clock's own event was seen */
	after(0);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
	CU_ASSERT_STRING_EQUAL(play_event(answer), "");
}

static void what_follows_a_timeout_may_have_a_timeout_itself(void)
{
	connect_home();
	stop_with(TUNNEL_ERROR_SESSION_EXPIRED);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	after(10 * SECOND);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_DECIDING);
	CU_ASSERT_EQUAL(life.tunnels[0].pending.kind, PENDING_ASK);
	CU_ASSERT_EQUAL(lifecycle_deadline(&life), now + 120 * SECOND);
	after(120 * SECOND);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	CU_ASSERT_FALSE(life.tunnels[0].released);
	after(20 * SECOND);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
	CU_ASSERT_TRUE(life.tunnels[0].released);
}

static void each_tunnel_is_judged_and_counted_by_itself(void)
{
	connect_home();
	add_tunnel(1, "lab", false);
	start_and_go_on(1);
	play(LIFECYCLE_WORKER_HELLO, 1);
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	uint64_t asked = life.tunnels[0].pending.id;
	now += SECOND;
	play_event((struct lifecycle_event){.type = LIFECYCLE_WORKER_WILL_STOP, .tunnel = 1, .error = TUNNEL_ERROR_AUTHENTICATION_FAILED});
	CU_ASSERT_EQUAL(life.tunnels[1].state, TUNNEL_DECIDING);
	CU_ASSERT_NOT_EQUAL(life.tunnels[1].pending.id, asked);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, 1);
	CU_ASSERT_EQUAL(life.tunnels[1].attempt, 1);
	play_event((struct lifecycle_event){.type = LIFECYCLE_ANSWER, .tunnel = LIFECYCLE_NONE, .decision = life.tunnels[1].pending.id, .restart = false});
	CU_ASSERT_EQUAL(life.tunnels[1].state, TUNNEL_FAILED);
	CU_ASSERT_EQUAL(life.tunnels[0].pending.id, asked);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_DECIDING);
}

static void a_rule_is_judged_before_what_waits_is_woken(void)
{
	set_up();
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"networkAvailable\"}, \"then\": {\"action\": \"restart\", \"delay\": \"2s\"}}],"
		   " \"otherwise\": {\"action\": \"terminate\"}}");
	life.available = false;
	start_and_go_on(0);
	CU_ASSERT_EQUAL(life.tunnels[0].pending.kind, PENDING_NETWORK);
	CU_ASSERT_STRING_EQUAL(network_is(true), "announceDecision(restart) gate");
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	CU_ASSERT_EQUAL(life.tunnels[0].deadline_usec, now + 2 * SECOND);
}

static void an_uplink_that_comes_back_ends_a_delay(void)
{
	set_up();
	use_policy("{\"version\": 1, \"rules\": [], \"otherwise\": {\"action\": \"restart\", \"delay\": \"1m\"}, \"limits\": {\"restarts\": 2, \"per\": \"1h\"}}");
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	network_is(false);
	stop_with(TUNNEL_ERROR_SERVER_DISCONNECTED);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	now += SECOND;
	CU_ASSERT_STRING_EQUAL(network_is(true), "gate announceState(connecting) workerRestart");
	stop_with(TUNNEL_ERROR_SERVER_DISCONNECTED);
	now += 61 * SECOND;
	play(LIFECYCLE_TIME, LIFECYCLE_NONE);
	stop_with(TUNNEL_ERROR_SERVER_DISCONNECTED); /* the third within the hour */
	network_is(false);
	now += SECOND;
	CU_ASSERT_STRING_EQUAL(network_is(true), ""); /* what `limits` asked for is kept */
}

static void limits_count_starts_not_decisions(void)
{
	set_up();
	use_policy("{\"version\": 1, \"rules\": [], \"otherwise\": {\"action\": \"restart\"}, \"limits\": {\"restarts\": 1, \"per\": \"10s\"}}");
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	now += SECOND;
	uint64_t first = now;
	stop_with(TUNNEL_ERROR_SERVER_DISCONNECTED);
	now += SECOND;
	stop_with(TUNNEL_ERROR_SERVER_DISCONNECTED);
	CU_ASSERT_EQUAL(life.tunnels[0].deadline_usec, first + 10 * SECOND);
	now = life.tunnels[0].deadline_usec;
	play(LIFECYCLE_TIME, LIFECYCLE_NONE);
	now += SECOND;
	stop_with(TUNNEL_ERROR_SERVER_DISCONNECTED);
	CU_ASSERT_EQUAL(life.tunnels[0].deadline_usec, first + 20 * SECOND);
}

static void restarts_are_remembered_over_a_daemon(void)
{
	struct lifecycle_tunnel next = {.id = "home", .endpoint_count = 2};
	struct policy *kept = NULL;
	set_up();
	policy_history_decided(&life.tunnels[0].history, POLICY_RULE_OTHERWISE, true, now);
	policy_history_decided(&life.tunnels[0].history, POLICY_RULE_OTHERWISE, true, now + SECOND);
	_cleanup_json_ json_object *saved = saved_from_tunnel(&life.tunnels[0], policy, now);
	saved_to_tunnel(saved, true, now + SECOND, policy, &next, &kept);
	CU_ASSERT_EQUAL(policy_history_restarts(&next.history, 10 * SECOND, now + 10 * SECOND), 1);
	CU_ASSERT_EQUAL(policy_history_restarts(&next.history, 11 * SECOND, now + 10 * SECOND), 2);
	next = (struct lifecycle_tunnel){.id = "home", .endpoint_count = 2};
	saved_to_tunnel(saved, false, SECOND, policy, &next, &kept); /* another boot, another clock */
	CU_ASSERT_EQUAL(next.history.restart_count, 0);
}

static void what_was_released_and_waits_again_is_closed_and_recorded(void)
{
	connect_home();
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"resumed\"}, \"then\": {\"action\": \"restart\", \"delay\": \"2s\"}}],"
		   " \"otherwise\": {\"action\": \"terminate\", \"traffic\": \"release\"}}");
	stop_with(TUNNEL_ERROR_SESSION_REFUSED);
	CU_ASSERT_TRUE(life.tunnels[0].released);
	CU_ASSERT_STRING_EQUAL(
		play_event((struct lifecycle_event){.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_RESUMED}),
		"announceDecision(restart) gate record announceState(waiting)");
	CU_ASSERT_FALSE(life.tunnels[0].released);
}

static void a_user_who_restarts_ends_a_question_for_good(void)
{
	connect_home();
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	CU_ASSERT_EQUAL(life.tunnels[0].pending.kind, PENDING_ASK);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_USER_RESTART, 0), "gate record announceState(reasserting) workerRestart");
}

static void who_is_taken_up_by_an_event_is_not_judged_for_it(void)
{
	set_up();
	add_tunnel(1, "work", true);
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"resumed\", \"tunnel\": \"home\"}, \"then\": {\"action\": \"failover\", \"to\": [\"work\"]}},"
		   "{\"when\": {\"event\": \"resumed\"}, \"then\": {\"action\": \"disconnect\"}}]}");
	start_and_go_on(0);
	now += SECOND;
	play_event((struct lifecycle_event){.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_RESUMED});
	CU_ASSERT_TRUE(life.tunnels[1].wanted);
	CU_ASSERT_TRUE(life.tunnels[1].starting);
}

static struct lifecycle_event answer_with(bool restart)
{
	return (struct lifecycle_event){.type = LIFECYCLE_ANSWER, .tunnel = LIFECYCLE_NONE, .decision = life.tunnels[0].pending.id, .restart = restart};
}

static void a_decision_says_what_led_to_it(void)
{
	connect_home();
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	CU_ASSERT_EQUAL(decision_told()->by, DECIDED_BY_POLICY);
	uint64_t asked = decision_told()->decision_id;
	after(120 * SECOND); /* nobody answered */
	CU_ASSERT_EQUAL(decision_told()->by, DECIDED_BY_TIMEOUT);
	CU_ASSERT_EQUAL(decision_told()->decision.action->type, POLICY_ACTION_TERMINATE);
	CU_ASSERT_EQUAL(decision_told()->decision.rule, 6); /* that asked */
	CU_ASSERT_EQUAL(decision_told()->decision_id, asked);
	connect_home();
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	play_event(answer_with(false));
	CU_ASSERT_EQUAL(decision_told()->by, DECIDED_BY_ANSWER);
	connect_home();
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	after(10 * SECOND); /* what it waited for */
	CU_ASSERT_EQUAL(decision_told()->by, DECIDED_BY_THEN);
	CU_ASSERT_EQUAL(decision_told()->decision.action->type, POLICY_ACTION_RESTART);
}

/* Waits a second, then restarts; the second restart within ten seconds is one too many. */
static const char waits_under_limits[] = "{\"version\": 1, \"rules\": [{\"name\": \"busy\", \"then\": {\"action\": \"wait\", \"until\": \"1s\"}}],"
					 " \"limits\": {\"restarts\": 1, \"per\": \"10s\", \"then\": {\"action\": \"terminate\"}}}";

static void what_limits_make_of_what_follows_is_told(void)
{
	set_up();
	use_policy(waits_under_limits);
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	after(SECOND);
	CU_ASSERT_FALSE(decision_told()->decision.limited);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_STRING_EQUAL(after(SECOND), "gate announceDecision(terminate) workerKill linkRemove record gate announceState(failed)");
	CU_ASSERT_TRUE(decision_told()->decision.limited);
	CU_ASSERT_EQUAL(decision_told()->by, DECIDED_BY_THEN);
	CU_ASSERT_STRING_EQUAL(decision_told()->decision.rule_name, "busy");
}

static void what_follows_is_of_the_policy_that_asked(void)
{
	connect_home();
	stop_with(TUNNEL_ERROR_AUTHENTICATION_FAILED);
	struct policy *asked = policy_ref(policy);
	use_policy(waits_under_limits);
	after(120 * SECOND);
	CU_ASSERT_PTR_EQUAL(decision_told()->policy, asked);
	policy_unref(asked);
}

/* The daemon dies and another one begins, which runs TEXT (NULL: the same policy). Returns what is to be let go of. */
static struct policy *next_daemon(const char *text)
{
	struct policy *kept = NULL;
	_cleanup_json_ json_object *saved = saved_from_tunnel(&life.tunnels[0], policy, now);
	struct lifecycle_tunnel *tunnel = &life.tunnels[0], next = {.id = "home", .endpoints = tunnel->endpoints, .endpoint_count = tunnel->endpoint_count,
		.stable_usec = USEC_INFINITY, .deadline_usec = USEC_INFINITY, .connect_timeout_usec = tunnel->connect_timeout_usec};
	if (text)
		use_policy(text);
	saved_to_tunnel(saved, true, now, policy, &next, &kept);
	*tunnel = next;
	play(LIFECYCLE_BEGIN, LIFECYCLE_NONE);
	return kept;
}

static void what_follows_keeps_its_policys_limits_over_a_daemon(void)
{
	char asked[POLICY_HASH_MAX];
	set_up();
	use_policy(waits_under_limits);
	memcpy(asked, policy_hash(policy), sizeof asked);
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	after(SECOND);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	struct policy *kept = next_daemon("{\"version\": 1}");
	after(SECOND);
	CU_ASSERT_TRUE(decision_told()->decision.limited);
	CU_ASSERT_EQUAL(decision_told()->decision.action->type, POLICY_ACTION_TERMINATE);
	CU_ASSERT_EQUAL(decision_told()->decision.rule, 0);
	CU_ASSERT_STRING_EQUAL(decision_told()->decision.rule_name, "busy");
	CU_ASSERT_STRING_EQUAL(policy_hash(decision_told()->policy), asked);
	policy_unref(kept);
}

static void a_delay_goes_on_growing_over_a_daemon(void)
{
	static const char grows[] = "{\"version\": 1, \"rules\": [{\"when\": {\"error\": \"tlsFailure\"}, \"then\": {\"action\": \"terminate\"}}],"
				    " \"otherwise\": {\"action\": \"restart\", \"delay\": {\"initial\": \"1s\", \"factor\": 2, \"max\": \"1h\"}}}";
	set_up();
	use_policy(grows);
	start_and_go_on(0);
	for (unsigned i = 0; i < 3; i++) {
		play(LIFECYCLE_WORKER_HELLO, 0);
		stop_with(TUNNEL_ERROR_SERVER_BUSY);
		CU_ASSERT_EQUAL(decision_told()->decision.delay_usec, SECOND << i);
		after(SECOND << i);
	}
	CU_ASSERT_PTR_NULL(next_daemon(NULL));
	play(LIFECYCLE_WORKER_HELLO, 0);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(decision_told()->decision.delay_usec, 8 * SECOND);
	after(8 * SECOND);
	CU_ASSERT_PTR_NULL(next_daemon("{\"version\": 1, \"otherwise\": {\"action\": \"restart\", \"delay\": {\"initial\": \"1s\", \"factor\": 2, \"max\": \"1h\"}}}"));
	play(LIFECYCLE_WORKER_HELLO, 0);
	stop_with(TUNNEL_ERROR_SERVER_BUSY);
	CU_ASSERT_EQUAL(decision_told()->decision.delay_usec, SECOND); /* another policy's rules are others */
}

/* What an event's decision comes to under limits may be a question too: it has a number of its own, and can be answered. */
static void a_question_that_an_event_led_to_can_be_answered(void)
{
	struct lifecycle_event resumed = {.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = POLICY_EVENT_RESUMED};
	set_up();
	use_policy("{\"version\": 1, \"rules\": [{\"when\": {\"event\": \"resumed\"}, \"then\": {\"action\": \"restart\"}}],"
		   " \"limits\": {\"restarts\": 1, \"per\": \"1h\", \"then\": {\"action\": \"ask\"}}}");
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	now += SECOND;
	play_event(resumed);
	play_event(resumed);
	CU_ASSERT_EQUAL(life.tunnels[0].pending.kind, PENDING_ASK);
	CU_ASSERT_NOT_EQUAL(life.tunnels[0].pending.id, 0);
	CU_ASSERT_PTR_EQUAL(life.tunnels[0].pending.policy, policy);
	play_event(answer_with(true));
	CU_ASSERT_EQUAL(decision_told()->by, DECIDED_BY_ANSWER);
	CU_ASSERT_NOT_EQUAL(life.tunnels[0].pending.kind, PENDING_ASK);
}

static const struct test tests[] = {
	{"attempts count and delays hold", attempts_count_and_delays_hold},
	{"restarts at once do not spin", restarts_at_once_do_not_spin},
	{"a stable connection forgets attempts", a_stable_connection_forgets_attempts},
	{"limits hold for restarts that waited for them", limits_hold_for_restarts_that_waited},
	{"what was up for stableAfter is stable when it stops, whoever tells first", what_was_up_long_enough_is_stable_when_it_stops},
	{"a system that stops decides nothing any more", a_system_that_stops_decides_nothing},
	{"a question outlives the system's stop", a_question_outlives_the_systems_stop},
	{"a question that was replaced is recorded as gone", a_question_that_was_replaced_is_not_asked_again},
	{"what came while no daemon was there is not waited for", what_came_while_nobody_was_there_is_not_waited_for},
	{"termination blocks", termination_blocks},
	{"termination that releases opens last", termination_that_releases_opens_last},
	{"waiting ends by time or by event", waiting_ends_by_time_or_event},
	{"a session that ends soon after its uplink became another ends with uplinkChanged; what the server or the client says itself stays", a_session_ends_with_its_uplink},
	{"behind a sign-in page what looks like a dead server is captivePortal, unless the tunnel was up", a_sign_in_page_veils_the_server},
	{"a rule connects a tunnel that nobody wants, and says so; an unknown profile decides nothing", a_rule_connects_what_nobody_wants},
	{"to connect a tunnel that is not there starts nothing, and is told with a number of its own", connecting_nobody_is_told},
	{"a wait that replaces a question is recorded, so that the question never comes back", a_wait_that_replaces_a_question_is_recorded},
	{"connect, disconnect, restart and failover replace what is pending, anything else leaves it", what_replaces_a_pending_decision},
	{"offline is no failure", offline_is_no_failure},
	{"a question is answered once", a_question_is_answered_once},
	{"an answer is late once the deadline is over", an_answer_is_late_once_the_deadline_is_over},
	{"what follows a timeout may have a timeout itself", what_follows_a_timeout_may_have_a_timeout_itself},
	{"each tunnel is judged and counted by itself", each_tunnel_is_judged_and_counted_by_itself},
	{"an event is judged before it wakes what waits", a_rule_is_judged_before_what_waits_is_woken},
	{"an uplink that comes back ends a restart's delay, but not one that limits asked for", an_uplink_that_comes_back_ends_a_delay},
	{"limits count starts, which a delay moves", limits_count_starts_not_decisions},
	{"restarts are remembered over a daemon, not over a boot", restarts_are_remembered_over_a_daemon},
	{"what was released and waits again is closed, and recorded so", what_was_released_and_waits_again_is_closed_and_recorded},
	{"a user who restarts ends a question for good", a_user_who_restarts_ends_a_question_for_good},
	{"a decision says what led to it: the policy, what was waited for, the deadline, an answer", a_decision_says_what_led_to_it},
	{"what limits make of what follows a wait is told", what_limits_make_of_what_follows_is_told},
	{"what follows a question is of the policy that asked", what_follows_is_of_the_policy_that_asked},
	{"what follows a wait keeps its policy's limits, hash and rule over a daemon", what_follows_keeps_its_policys_limits_over_a_daemon},
	{"a delay goes on growing over a daemon, under the same policy", a_delay_goes_on_growing_over_a_daemon},
	{"a question that an event led to can be answered", a_question_that_an_event_led_to_can_be_answered},
	{"who is taken up by an event is not judged for it", who_is_taken_up_by_an_event_is_not_judged_for_it},
};

int main(int argc, char **argv)
{
	int status = suite_run("decisions", tests, ELEMENTSOF(tests), argc, argv);
	policy_unref(policy);
	return status;
}
