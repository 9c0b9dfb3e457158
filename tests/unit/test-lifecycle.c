/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Starts, stops, workers, the gate and effects that fail. What policies decide is in test-decisions.c. */

#include <string.h>

#include "daemon/saved.h"
#include "lifecycle-rig.h"
#include "suite.h"
#include "util/fields.h"
#include "util/text.h"

static void the_gate_closes_before_anything_starts(void)
{
	set_up();
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_USER_START, 0), "gate started");
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_DISCONNECTED);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_STARTED, 0), "gate record announceState(connecting) workerSpawn");
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_HELLO, 0), "gate workerStart");
	CU_ASSERT_FALSE(life.tunnels[0].contacted);
	CU_ASSERT_STRING_EQUAL(contacting(), "gate workerProceed");
	CU_ASSERT_TRUE(life.tunnels[0].contacted);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_UP, 0), "linkConfigure gate announceState(connected) record");
}

static void asking_for_what_is_changes_nothing(void)
{
	connect_home();
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_USER_START, 0), "");
	CU_ASSERT_FALSE(effects.changed);
	play(LIFECYCLE_USER_STOP, 0);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_USER_STOP, 0), "");
	play(LIFECYCLE_WORKER_GONE, 0);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_USER_STOP, 0), "");
}

static void the_users_stop_opens_once_the_worker_is_gone(void)
{
	connect_home();
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_USER_STOP, 0), "announceState(disconnecting) gate record workerStop");
	CU_ASSERT_FALSE(life.tunnels[0].wanted);
	CU_ASSERT_TRUE(life.tunnels[0].contacted); /* so that the client can say goodbye */
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_STOPPED, 0), "workerKill");
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_GONE, 0), "linkRemove record gate announceState(disconnected)");
	CU_ASSERT_EQUAL(life.tunnels[0].reason, TUNNEL_ERROR_CONNECTION_CANCELED);
}

static void a_goodbye_takes_five_seconds_at_most(void)
{
	connect_home();
	play(LIFECYCLE_USER_STOP, 0);
	CU_ASSERT_EQUAL(lifecycle_deadline(&life), now + 5 * SECOND);
	CU_ASSERT_STRING_EQUAL(after(5 * SECOND - 1), "");
	CU_ASSERT_STRING_EQUAL(after(1), "workerKill");
}

static void the_systems_stop_leaves_it_wanted(void)
{
	connect_home();
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_SYSTEM_STOP, LIFECYCLE_NONE), "announceState(disconnecting) gate record workerStop");
	play(LIFECYCLE_WORKER_STOPPED, 0);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_GONE, 0), "linkRemove record gate announceState(disconnected) exit");
	CU_ASSERT_TRUE(life.tunnels[0].wanted);
	CU_ASSERT_EQUAL(life.tunnels[0].reason, TUNNEL_ERROR_SYSTEM_CALLED_STOP);
}

static void a_restart_in_place_keeps_the_worker(void)
{
	connect_home();
	CU_ASSERT_STRING_EQUAL(stop_with(TUNNEL_ERROR_WORKER_CRASHED),
		"gate announceStop announceState(deciding) announceDecision(restart) announceState(reasserting) workerRestart");
	CU_ASSERT_FALSE(life.tunnels[0].contacted);
	CU_ASSERT_EQUAL(life.tunnels[0].attempt, 1);
	contacting();
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_UP, 0), "linkConfigure gate announceState(connected) record");
}

static void a_worker_that_died_is_replaced(void)
{
	connect_home();
	CU_ASSERT_STRING_EQUAL(play_event((struct lifecycle_event){.type = LIFECYCLE_WORKER_GONE, .error = TUNNEL_ERROR_WORKER_CRASHED}),
		"gate announceStop announceState(deciding) announceDecision(restart) announceState(reasserting) workerSpawn");
}

static void a_fresh_worker_comes_after_the_old_one_is_gone(void)
{
	connect_home();
	CU_ASSERT_STRING_EQUAL(stop_with(TUNNEL_ERROR_WORKER_UNRESPONSIVE),
		"gate announceStop announceState(deciding) announceDecision(restart) workerKill announceState(reasserting)");
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_GONE, 0), "gate workerSpawn");
}

static void the_next_start_waits_for_the_old_worker(void)
{
	connect_home();
	stop_with(TUNNEL_ERROR_TLS_FAILURE);
	CU_ASSERT_STRING_EQUAL(start_and_go_on(0), "gate record announceState(connecting)");
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_GONE, 0), "gate workerSpawn");
}

static void a_start_whose_gate_failed_never_happened(void)
{
	set_up();
	play(LIFECYCLE_USER_START, 0);
	CU_ASSERT_STRING_EQUAL(play_event((struct lifecycle_event){.type = LIFECYCLE_EFFECT_FAILED, .tunnel = LIFECYCLE_NONE,
				       .error = TUNNEL_ERROR_FIREWALL_FAILURE, .unspawned = 1}),
		"record");
	CU_ASSERT_FALSE(life.tunnels[0].wanted);
	CU_ASSERT_EQUAL(life.tunnels[0].worker, WORKER_STATE_NONE);
}

static void nobody_gives_way_to_a_start_whose_gate_failed(void)
{
	connect_home();
	add_tunnel(1, "work", true);
	play(LIFECYCLE_USER_START, 1);
	play_event((struct lifecycle_event){.type = LIFECYCLE_EFFECT_FAILED, .tunnel = LIFECYCLE_NONE, .error = TUNNEL_ERROR_FIREWALL_FAILURE});
	CU_ASSERT_TRUE(life.tunnels[0].wanted);
	CU_ASSERT_FALSE(life.tunnels[1].wanted);
	CU_ASSERT_EQUAL(life.tunnels[1].state, TUNNEL_DISCONNECTED);
}

static void a_connection_that_cannot_be_configured_does_not_spin(void)
{
	set_up();
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	contacting();
	play(LIFECYCLE_WORKER_UP, 0);
	play_event((struct lifecycle_event){.type = LIFECYCLE_EFFECT_FAILED, .tunnel = 0, .error = TUNNEL_ERROR_WORKER_CRASHED});
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_WAITING);
	CU_ASSERT_TRUE(lifecycle_deadline(&life) > now);
}

static void what_is_not_known_is_held(void)
{
	set_up();
	life.hold = true;
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_BEGIN, LIFECYCLE_NONE), "gate record");
}

static void a_gate_that_fails_later_is_tried_again_slowly(void)
{
	struct lifecycle_event failure = {.type = LIFECYCLE_EFFECT_FAILED, .tunnel = LIFECYCLE_NONE, .error = TUNNEL_ERROR_FIREWALL_FAILURE};
	connect_home();
	stop_with(TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_STRING_EQUAL(play_event(failure), "announceStop announceState(deciding) announceDecision(restart) announceState(waiting)");
	CU_ASSERT_EQUAL(lifecycle_deadline(&life), now + SECOND);
	CU_ASSERT_TRUE(life.tunnels[0].wanted);
	CU_ASSERT_STRING_EQUAL(after(SECOND), "gate announceState(reasserting) workerRestart");
}

static void a_connection_that_takes_too_long_is_a_stop(void)
{
	set_up();
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	after(30 * SECOND);
	CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_CONNECTION_TIMEOUT);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
}

static void a_worker_that_never_says_hello_is_killed(void)
{
	set_up();
	start_and_go_on(0);
	after(LIFECYCLE_HELLO_USEC);
	CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_WORKER_START_FAILED);
	CU_ASSERT_EQUAL(life.tunnels[0].worker, WORKER_STATE_ENDING);
}

static void a_lost_link_is_a_stop(void)
{
	connect_home();
	play(LIFECYCLE_LINK_LOST, 0);
	CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_TUN_INTERFACE_FAILURE);
}

static void another_tunnel_that_routes_all_supersedes(void)
{
	connect_home();
	add_tunnel(1, "work", true);
	CU_ASSERT_STRING_EQUAL(start_and_go_on(1),
		"gate announceState(disconnecting)@home gate record workerStop@home record announceState(connecting)@work workerSpawn@work");
	CU_ASSERT_EQUAL(life.tunnels[0].reason, TUNNEL_ERROR_SUPERSEDED);
	CU_ASSERT_FALSE(life.tunnels[0].wanted);
	CU_ASSERT_TRUE(life.tunnels[1].wanted);
}

static void a_narrow_tunnel_stands_beside(void)
{
	connect_home();
	add_tunnel(1, "lab", false);
	start_and_go_on(1);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTED);
	CU_ASSERT_EQUAL(life.tunnels[1].state, TUNNEL_CONNECTING);
}

static void a_new_daemon_takes_up_what_was_wanted(void)
{
	set_up();
	life.tunnels[0].wanted = true;
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_BEGIN, LIFECYCLE_NONE), "gate record announceState(connecting) workerSpawn");
	connect_home();
	life.tunnels[0].worker = WORKER_STATE_SPAWNED; /* found alive */
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_BEGIN, LIFECYCLE_NONE), "gate record");
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTED);
	set_up();
	life.tunnels[0].wanted = true;
	life.tunnels[0].state = TUNNEL_FAILED;
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_BEGIN, LIFECYCLE_NONE), "gate record");
}

static void the_last_wanted_wins_at_begin(void)
{
	set_up();
	add_tunnel(1, "work", true);
	life.tunnels[0].wanted = life.tunnels[1].wanted = true;
	life.tunnels[0].wanted_order = 2;
	life.tunnels[1].wanted_order = 1;
	play(LIFECYCLE_BEGIN, LIFECYCLE_NONE);
	CU_ASSERT_TRUE(life.tunnels[0].wanted);
	CU_ASSERT_FALSE(life.tunnels[1].wanted);
}

static void a_failed_gate_starts_nothing_by_any_way(void)
{
	set_up();
	use_policy("{\"version\": 1, \"rules\": [], \"otherwise\": {\"action\": \"wait\", \"until\": \"networkAvailable\"}}");
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	CU_ASSERT_STRING_EQUAL(
		play_event((struct lifecycle_event){.type = LIFECYCLE_EFFECT_FAILED, .tunnel = LIFECYCLE_NONE, .error = TUNNEL_ERROR_FIREWALL_FAILURE}),
		"announceStop announceState(deciding) announceDecision(wait) announceDecision(restart) announceState(waiting)");
	CU_ASSERT_EQUAL(life.tunnels[0].deadline_usec, now + LIFECYCLE_GATE_RETRY_USEC);
}

static void a_worker_that_never_says_hello_again_is_lost(void)
{
	connect_home();
	life.tunnels[0].worker = WORKER_STATE_SPAWNED;
	play(LIFECYCLE_BEGIN, LIFECYCLE_NONE);
	after(LIFECYCLE_HELLO_USEC);
	CU_ASSERT_NOT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTED);
	CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_WORKER_UNRESPONSIVE);
}

static void what_was_released_is_closed_before_it_begins_anew(void)
{
	connect_home();
	stop_with(TUNNEL_ERROR_SESSION_REFUSED);
	CU_ASSERT_TRUE(life.tunnels[0].released);
	play(LIFECYCLE_WORKER_GONE, 0);
	play(LIFECYCLE_USER_START, 0);
	play(LIFECYCLE_STARTED, 0);
	CU_ASSERT_FALSE(life.tunnels[0].released);
}

static void whoever_is_asked_has_time(void)
{
	set_up();
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_ASKING, 0), "gate");
	CU_ASSERT_TRUE(life.tunnels[0].asking);
	CU_ASSERT_STRING_EQUAL(after(60 * SECOND), ""); /* longer than connectTimeout */
	play(LIFECYCLE_ANSWERED, 0);
	CU_ASSERT_FALSE(life.tunnels[0].asking);
	CU_ASSERT_STRING_EQUAL(after(29 * SECOND), "");
	CU_ASSERT_STRING_EQUAL(contacting(), "gate workerProceed");
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_UP, 0), "linkConfigure gate announceState(connected) record");
}

static void a_question_without_an_answer_is_a_stop(void)
{
	set_up();
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	play(LIFECYCLE_WORKER_ASKING, 0);
	after(119 * SECOND);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTING);
	after(SECOND);
	CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_CREDENTIALS_REQUIRED);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_ANSWERED, 0), "");
}

static void silence_is_a_stop_of_what_is_up(void)
{
	connect_home();
	CU_ASSERT_PTR_NOT_NULL(strstr(play(LIFECYCLE_PEER_SILENT, 0), "gate announceStop announceState(deciding)"));
	CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_PEER_UNRESPONSIVE);
	set_up();
	start_and_go_on(0);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_PEER_SILENT, 0), "");
}

static void what_was_left_out_for_anothers_failure_is_done_again(void)
{
	set_up();
	add_tunnel(1, "office", false);
	life.available = false;
	start_and_go_on(0);
	start_and_go_on(1);
	CU_ASSERT_STRING_EQUAL(network_is(true), "gate announceState(connecting)@home workerSpawn@home gate announceState(connecting)@office workerSpawn@office");
	const char *line = play_event(
		(struct lifecycle_event){.type = LIFECYCLE_EFFECT_FAILED, .tunnel = 0, .error = TUNNEL_ERROR_WORKER_START_FAILED, .unspawned = 3, .undone = 2});
	CU_ASSERT_PTR_NOT_NULL(strstr(line, "gate workerSpawn@office"));
	CU_ASSERT_EQUAL(life.tunnels[1].worker, WORKER_STATE_SPAWNED);
}

static void a_stop_takes_back_the_start_that_waits_for_a_goodbye(void)
{
	connect_home();
	play(LIFECYCLE_USER_STOP, 0);
	start_and_go_on(0);
	CU_ASSERT_TRUE(life.tunnels[0].again);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_USER_STOP, 0), "record");
	CU_ASSERT_FALSE(life.tunnels[0].wanted);
}

static void what_gave_way_before_it_began_can_start_again(void)
{
	set_up();
	add_tunnel(1, "work", true);
	play(LIFECYCLE_USER_START, 1);
	play(LIFECYCLE_USER_START, 0); /* before the first one's LIFECYCLE_STARTED */
	play(LIFECYCLE_STARTED, 1);
	CU_ASSERT_TRUE(life.tunnels[0].wanted); /* it was wanted last */
	play(LIFECYCLE_STARTED, 0);
	CU_ASSERT_FALSE(life.tunnels[1].wanted);
	CU_ASSERT_FALSE(life.tunnels[1].starting);
}

static void a_worker_that_was_not_greeted_comes_up_in_vain(void)
{
	set_up();
	start_and_go_on(0);
	CU_ASSERT_EQUAL(life.tunnels[0].worker, WORKER_STATE_SPAWNED);
	CU_ASSERT_STRING_EQUAL(play(LIFECYCLE_WORKER_UP, 0), "");
}

static void a_session_that_ended_with_no_daemon_there_is_a_stop(void)
{
	connect_home();
	life.tunnels[0].worker = WORKER_STATE_SPAWNED;
	play(LIFECYCLE_BEGIN, LIFECYCLE_NONE);
	play(LIFECYCLE_WORKER_HELLO, 0); /* idle */
	CU_ASSERT_NOT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTED);
	CU_ASSERT_EQUAL(life.tunnels[0].error, TUNNEL_ERROR_WORKER_CRASHED);
}

static void the_loser_at_the_start_has_no_worker_left(void)
{
	set_up();
	add_tunnel(1, "work", true);
	for (size_t i = 0; i < 2; i++) {
		life.tunnels[i].wanted = true;
		life.tunnels[i].wanted_order = i + 1;
	}
	life.tunnels[0].worker = WORKER_STATE_SPAWNED;
	CU_ASSERT_TRUE(strncmp(play(LIFECYCLE_BEGIN, LIFECYCLE_NONE), "workerKill@home record gate", strlen("workerKill@home record gate")) == 0);
}

static void what_one_gives_up_is_recorded_before_a_gate_that_closes_for_another(void)
{
	static const struct ip_prefix office[] = {{{AF_INET, {198, 51, 100}}, 24}}, wider[] = {{{AF_INET6, {0x20, 1}}, 16}, {{AF_INET, {198, 51}}, 16}};
	set_up();
	add_tunnel(1, "office", false);
	life.tunnels[0].all = false;
	life.tunnels[0].routes = office;
	life.tunnels[0].route_count = 1;
	life.tunnels[1].routes = wider;
	life.tunnels[1].route_count = 2;
	use_policy("{\"version\": 1, \"rules\": [], \"otherwise\": {\"action\": \"failover\", \"to\": [\"office\"]}}");
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	now += SECOND;
	const char *line = play(LIFECYCLE_WORKER_GONE, 0);
	CU_ASSERT_TRUE(life.tunnels[1].wanted);
	CU_ASSERT_TRUE(strncmp(line, "record gate announceStop@home", strlen("record gate announceStop@home")) == 0);
}

static void what_carries_less_takes_nobodys_place(void)
{
	static const struct ip_prefix networks[] = {{{AF_INET, {198, 51, 100}}, 24}, {{AF_INET, {192, 0, 2}}, 24}};
	for (unsigned narrow = 0; narrow < 2; narrow++) {
		set_up();
		add_tunnel(1, "office", false);
		life.tunnels[0].all = !narrow;
		life.tunnels[0].routes = life.tunnels[1].routes = networks;
		life.tunnels[0].route_count = narrow ? 2 : 0;
		life.tunnels[1].route_count = 1;
		use_policy("{\"version\": 1, \"rules\": [], \"otherwise\": {\"action\": \"failover\", \"to\": [\"office\"]}}");
		start_and_go_on(0);
		play(LIFECYCLE_WORKER_HELLO, 0);
		now += SECOND;
		play(LIFECYCLE_WORKER_GONE, 0);
		CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_FAILED);
		CU_ASSERT_TRUE(life.tunnels[0].wanted);
		CU_ASSERT_FALSE(life.tunnels[1].wanted);
	}
}

static const struct effect *first(enum effect_type type)
{
	for (size_t i = 0; i < effects.count; i++)
		if (effects.items[i].type == type)
			return &effects.items[i];
	return NULL;
}

static void what_could_not_be_set_up_never_was_up(void)
{
	set_up();
	use_policy("{\"version\": 1, \"rules\": [], \"otherwise\": {\"action\": \"restart\"}}");
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	contacting();
	play(LIFECYCLE_WORKER_UP, 0);
	const struct effect *connected = first(EFFECT_ANNOUNCE_STATE);
	CU_ASSERT_TRUE_FATAL(connected && connected->new == TUNNEL_CONNECTED);
	CU_ASSERT_TRUE(effect_is_void_after_failure(connected));
	now += SECOND;
	CU_ASSERT_STRING_EQUAL(
		play_event((struct lifecycle_event){.type = LIFECYCLE_EFFECT_FAILED, .tunnel = 0, .error = TUNNEL_ERROR_FAILED_TO_SET_NETWORK_SETTINGS}),
		"gate announceStop announceState(deciding) announceDecision(restart) announceState(connecting) workerRestart");
	CU_ASSERT_EQUAL(first(EFFECT_ANNOUNCE_STOP)->phase, POLICY_PHASE_CONNECTING);
	CU_ASSERT_EQUAL(first(EFFECT_ANNOUNCE_STATE)->old, TUNNEL_CONNECTING);
	CU_ASSERT_FALSE(effect_is_void_after_failure(first(EFFECT_ANNOUNCE_STATE)));
}

static void names_round_trip(void)
{
	for (enum tunnel_state state = 0; state < TUNNEL_STATE_COUNT; state++) {
		enum tunnel_state back;
		CU_ASSERT_EQUAL(tunnel_state_from_string(tunnel_state_to_string(state), &back), 0);
		CU_ASSERT_EQUAL(back, state);
	}
	for (enum effect_type type = 0; type < EFFECT_COUNT; type++) {
		enum effect_type back;
		CU_ASSERT_EQUAL(effect_from_string(effect_to_string(type), &back), 0);
		CU_ASSERT_EQUAL(back, type);
	}
	for (enum decided_by by = 0; by < DECIDED_BY_COUNT; by++) {
		enum decided_by back;
		CU_ASSERT_EQUAL(decided_by_from_string(decided_by_to_string(by), &back), 0);
		CU_ASSERT_EQUAL(back, by);
	}
	for (enum lifecycle_event_type type = 0; type < LIFECYCLE_EVENT_COUNT; type++) {
		enum lifecycle_event_type back;
		CU_ASSERT_EQUAL(lifecycle_event_from_string(lifecycle_event_to_string(type), &back), 0);
		CU_ASSERT_EQUAL(back, type);
	}
}

static const struct test tests[] = {
	{"the gate closes before anything starts", the_gate_closes_before_anything_starts},
	{"asking for what is already changes nothing", asking_for_what_is_changes_nothing},
	{"the user's stop opens once the worker is gone", the_users_stop_opens_once_the_worker_is_gone},
	{"a goodbye takes five seconds at most", a_goodbye_takes_five_seconds_at_most},
	{"the system's stop leaves the tunnel wanted", the_systems_stop_leaves_it_wanted},
	{"a restart in place keeps the worker", a_restart_in_place_keeps_the_worker},
	{"a worker that died is replaced", a_worker_that_died_is_replaced},
	{"a fresh worker comes after the old one is gone", a_fresh_worker_comes_after_the_old_one_is_gone},
	{"the next start waits for the old worker's end", the_next_start_waits_for_the_old_worker},
	{"a start whose gate failed never happened", a_start_whose_gate_failed_never_happened},
	{"nobody gives way to a start whose gate failed", nobody_gives_way_to_a_start_whose_gate_failed},
	{"a connection that cannot be configured does not spin", a_connection_that_cannot_be_configured_does_not_spin},
	{"a hold is applied at the daemon's start", what_is_not_known_is_held},
	{"a gate that fails later is tried again slowly", a_gate_that_fails_later_is_tried_again_slowly},
	{"a connection that takes too long is a stop", a_connection_that_takes_too_long_is_a_stop},
	{"a worker that never says hello is killed", a_worker_that_never_says_hello_is_killed},
	{"a lost link is a stop", a_lost_link_is_a_stop},
	{"another tunnel that routes all supersedes", another_tunnel_that_routes_all_supersedes},
	{"a narrow tunnel stands beside", a_narrow_tunnel_stands_beside},
	{"a new daemon takes up what was wanted", a_new_daemon_takes_up_what_was_wanted},
	{"the last wanted wins at the daemon's start", the_last_wanted_wins_at_begin},
	{"a failed gate starts nothing, by whichever way it was decided", a_failed_gate_starts_nothing_by_any_way},
	{"a worker that never says hello to a new daemon is lost", a_worker_that_never_says_hello_again_is_lost},
	{"what was released is closed before it begins anew", what_was_released_is_closed_before_it_begins_anew},
	{"whoever is asked for credentials has time", whoever_is_asked_has_time},
	{"a question for credentials that nobody answers is a stop", a_question_without_an_answer_is_a_stop},
	{"a silent peer is a stop of what is up, and of nothing else", silence_is_a_stop_of_what_is_up},
	{"what was left out for another's failure is done again", what_was_left_out_for_anothers_failure_is_done_again},
	{"a stop takes back the start that waits for a goodbye", a_stop_takes_back_the_start_that_waits_for_a_goodbye},
	{"what gave way before it began can start again", what_gave_way_before_it_began_can_start_again},
	{"a worker that was not greeted comes up in vain", a_worker_that_was_not_greeted_comes_up_in_vain},
	{"a session that ended with no daemon there is a stop", a_session_that_ended_with_no_daemon_there_is_a_stop},
	{"who gives way at the daemon's start has no worker left", the_loser_at_the_start_has_no_worker_left},
	{"what one tunnel gives up is recorded before a gate that closes for another", what_one_gives_up_is_recorded_before_a_gate_that_closes_for_another},
	{"what could not be set up never was up", what_could_not_be_set_up_never_was_up},
	{"what carries less takes nobody's place", what_carries_less_takes_nobodys_place},
	{"names round-trip", names_round_trip},
};

int main(int argc, char **argv)
{
	int status = suite_run("lifecycle", tests, ELEMENTSOF(tests), argc, argv);
	policy_unref(policy);
	return status;
}
