/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What policies decide: the order of rules, every condition at its bounds, every meaning of the language. */

#include <stdlib.h>
#include <string.h>

#include "policy-support.h"
#include "util/timestamp.h"

#define DECIDES(policy, context, expected) CU_ASSERT_STRING_EQUAL(decide(policy, context), expected)

/* Whether a rule with the conditions WHEN (of a stop, unless it names events) takes CONTEXT. */
static bool holds(const char *when, const char *context)
{
	_cleanup_free_ char *text =
		text_format("{'version':1,'rules':[{'when':%s,'then':{'action':'failover','to':['spare']}}]}", when);
	_cleanup_policy_ struct policy *policy = policy_of(text);
	const char *line = decide(policy, context);
	return strcmp(line, "0 failover") == 0;
}
#define HOLDS(when, context) CU_ASSERT_TRUE(holds(when, context))
#define FAILS(when, context) CU_ASSERT_FALSE(holds(when, context))

static void the_first_rule_that_holds_decides(void)
{
	_cleanup_policy_ struct policy *policy = policy_of(
		"{'version':1,'rules':["
		"{'when':{'error':'serverBusy','attempt':{'max':1}},'then':{'action':'restart','delay':'1s'}},"
		"{'when':{'error':'serverBusy'},'then':{'action':'restart','delay':'2s'}},"
		"{'when':{'class':'transient'},'then':{'action':'restart','delay':'3s'}}]}");
	DECIDES(policy, "{'error':'serverBusy','attempt':1}", "0 restart 1s");
	DECIDES(policy, "{'error':'serverBusy','attempt':2}", "1 restart 2s");
	DECIDES(policy, "{'error':'tlsFailure'}", "2 restart 3s");
	DECIDES(policy, "{'error':'authenticationFailed'}", "otherwise terminate");
}

static void no_rule_means_otherwise_for_a_stop_and_nothing_elsewhere(void)
{
	_cleanup_policy_ struct policy *policy = policy_of("{'version':1,'otherwise':{'action':'ask'}}");
	DECIDES(policy, "{'error':'serverBusy'}", "otherwise ask");
	DECIDES(policy, "{}", "otherwise ask");
	for (enum policy_event event = POLICY_EVENT_WILL_STOP + 1; event < POLICY_EVENT_COUNT; event++) {
		_cleanup_free_ char *context = text_format("{'event':'%s'}", policy_event_to_string(event));
		DECIDES(policy, context, "none");
	}
}

static void a_rule_without_conditions_takes_every_stop_and_nothing_else(void)
{
	HOLDS("{}", "{'error':'unknown'}");
	HOLDS("{}", "{}");
	FAILS("{}", "{'event':'networkChanged'}");
	FAILS("{}", "{'event':'boot'}");
}

static void error_and_class_are_any_of(void)
{
	HOLDS("{'error':['serverBusy','tlsFailure']}", "{'error':'tlsFailure'}");
	FAILS("{'error':['serverBusy','tlsFailure']}", "{'error':'captivePortal'}");
	HOLDS("{'class':['permanent','local']}", "{'error':'workerCrashed'}");
	FAILS("{'class':['permanent','local']}", "{'error':'unknown'}");
	FAILS("{'class':['transient','permanent','local']}", "{}");
	HOLDS("{'class':'transient','error':['serverBusy','badConfiguration']}", "{'error':'serverBusy'}");
	FAILS("{'class':'transient','error':['serverBusy','badConfiguration']}", "{'error':'badConfiguration'}");
}

static void attempt_holds_from_min_to_max(void)
{
	FAILS("{'attempt':{'min':2,'max':3}}", "{'attempt':1}");
	HOLDS("{'attempt':{'min':2,'max':3}}", "{'attempt':2}");
	HOLDS("{'attempt':{'min':2,'max':3}}", "{'attempt':3}");
	FAILS("{'attempt':{'min':2,'max':3}}", "{'attempt':4}");
	HOLDS("{'attempt':{'max':0}}", "{'attempt':0}");
	FAILS("{'attempt':{'max':0}}", "{'attempt':1}");
	FAILS("{'attempt':{'min':1000000}}", "{'attempt':999999}");
	HOLDS("{'attempt':{'min':1000000}}", "{'attempt':1000000}");
	FAILS("{'not':{'attempt':{'min':2,'max':3}}}", "{'attempt':2}");
	HOLDS("{'not':{'attempt':{'min':2,'max':3}}}", "{'attempt':4}");
}

static void the_network_is_available_or_not_or_unknown(void)
{
	HOLDS("{'network':{'available':true}}", "{'network':{'available':true}}");
	FAILS("{'network':{'available':true}}", "{'network':{'available':false}}");
	HOLDS("{'network':{'available':false}}", "{'network':{'available':false}}");
	FAILS("{'network':{'available':true}}", "{'network':{'available':null}}");
	FAILS("{'network':{'available':false}}", "{'network':{'available':null}}");
	HOLDS("{'network':{'available':true}}", "{}");
}

static void events_are_any_of(void)
{
	HOLDS("{'event':['willStop','networkChanged']}", "{}");
	HOLDS("{'event':['willStop','networkChanged']}", "{'event':'networkChanged'}");
	FAILS("{'event':['willStop','networkChanged']}", "{'event':'networkLost'}");
	HOLDS("{'event':['willStop','networkChanged'],'error':'serverBusy'}", "{'error':'serverBusy'}");
	FAILS("{'event':['willStop','networkChanged'],'error':'serverBusy'}",
		"{'event':'networkChanged','error':'serverBusy'}");
}

static void a_tunnel_is_named_or_matched(void)
{
	HOLDS("{'tunnel':['home','work_*']}", "{'tunnel':'home'}");
	HOLDS("{'tunnel':['home','work_*']}", "{'tunnel':'work_'}");
	HOLDS("{'tunnel':['home','work_*']}", "{'tunnel':'work_2'}");
	FAILS("{'tunnel':['home','work_*']}", "{'tunnel':'work'}");
	FAILS("{'tunnel':['home','work_*']}", "{'tunnel':'home2'}");
	FAILS("{'tunnel':'*'}", "{}");
	HOLDS("{'tunnel':'*'}", "{'tunnel':'a'}");
	HOLDS("{'tunnel':'?'}", "{'tunnel':'a'}");
	FAILS("{'tunnel':'?'}", "{'tunnel':'ab'}");
	HOLDS("{'tunnel':'a*b*c'}", "{'tunnel':'a_b_bc'}");
	FAILS("{'tunnel':'a*b*c'}", "{'tunnel':'a_b_bcd'}");
	HOLDS("{'tunnel':'*_?'}", "{'tunnel':'a_b_c'}");
}

static void names_are_compared_whole(void)
{
	static const char *const keys[] = {"driver", "endpoint"};
	for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
		_cleanup_free_ char *when = text_format("{'%s':['one','two']}", keys[i]);
		_cleanup_free_ char *is = text_format("{'%s':'two'}", keys[i]),
				    *longer = text_format("{'%s':'twos'}", keys[i]);
		_cleanup_free_ char *shorter = text_format("{'%s':'tw'}", keys[i]),
				    *negated = text_format("{'not':%s}", when);
		HOLDS(when, is);
		FAILS(when, longer);
		FAILS(when, shorter);
		FAILS(when, "{}");
		HOLDS(negated, "{}");
		FAILS(negated, is);
	}
}

static void phase_is_what_the_tunnel_was_doing(void)
{
	HOLDS("{'phase':'connecting'}", "{'phase':'connecting'}");
	FAILS("{'phase':'connecting'}", "{'phase':'connected'}");
	HOLDS("{'phase':['connecting','connected']}", "{'phase':'connected'}");
	HOLDS("{'phase':'connecting'}", "{}");
	HOLDS("{'phase':'connected'}", "{'connectedFor':'1s'}");
	FAILS("{'event':'boot','phase':['connecting','connected']}", "{'event':'boot'}");
	HOLDS("{'event':'boot','not':{'phase':'connected'}}", "{'event':'boot'}");
}

static void connected_for_holds_from_min_to_max(void)
{
	FAILS("{'connectedFor':{'min':'10s','max':'1m'}}", "{'connectedFor':'9999ms'}");
	HOLDS("{'connectedFor':{'min':'10s','max':'1m'}}", "{'connectedFor':'10s'}");
	HOLDS("{'connectedFor':{'min':'10s','max':'1m'}}", "{'connectedFor':'60s'}");
	FAILS("{'connectedFor':{'min':'10s','max':'1m'}}", "{'connectedFor':'60001ms'}");
	HOLDS("{'connectedFor':{'max':'1m'}}", "{}");
	FAILS("{'connectedFor':{'min':'1ms'}}", "{}");
	HOLDS("{'connectedFor':{'min':'1ms'}}", "{'connectedFor':'1ms'}");
	HOLDS("{'connectedFor':{'min':'3650d'}}", "{'connectedFor':'3650d'}");
	FAILS("{'connectedFor':{'max':'0s'}}", "{'connectedFor':'1ms'}");
}

static bool restarted(const char *when, unsigned count, uint64_t age_usec)
{
	_cleanup_free_ char *text = text_format("{'version':1,'rules':[{'when':%s,'then':{'action':'ask'}}]}", when);
	_cleanup_policy_ struct policy *policy = policy_of(text);
	_cleanup_scene_ struct scene scene = scene_of("{}");
	struct policy_history history = {};
	struct policy_decision decision;
	scene.context.now_usec = 1000 * USEC_PER_SEC;
	scene.context.history = &history;
	for (unsigned i = 0; i < count; i++)
		policy_history_decided(&history, 0, true, scene.context.now_usec - age_usec);
	policy_evaluate(policy, &scene.context, &decision);
	return decision.rule == 0;
}

static void restarts_are_counted_in_their_window(void)
{
	const char *when = "{'restarts':{'per':'1m','min':2,'max':3}}";
	CU_ASSERT_FALSE(restarted(when, 1, 0));
	CU_ASSERT_TRUE(restarted(when, 2, 0));
	CU_ASSERT_TRUE(restarted(when, 3, 0));
	CU_ASSERT_FALSE(restarted(when, 4, 0));
	CU_ASSERT_TRUE(restarted(when, 2, 60 * USEC_PER_SEC - 1));
	CU_ASSERT_FALSE(restarted(when, 2, 60 * USEC_PER_SEC));
	CU_ASSERT_TRUE(restarted("{'restarts':{'per':'1m','min':128}}", 1000, 0));
	CU_ASSERT_FALSE(restarted("{'restarts':{'per':'1m','min':128}}", 127, 0));
	CU_ASSERT_TRUE(restarted("{'restarts':{'per':'1m','max':1}}", 1, 0));
	CU_ASSERT_FALSE(restarted("{'restarts':{'per':'1m','max':1}}", 2, 0));
	CU_ASSERT_FALSE(restarted("{'not':{'restarts':{'per':'1m','min':2,'max':3}}}", 2, 0));
	CU_ASSERT_TRUE(restarted("{'not':{'restarts':{'per':'1m','min':2,'max':3}}}", 1, 0));
	FAILS(when, "{'restarts':1}");
	HOLDS(when, "{'restarts':2}");
	HOLDS("{'restarts':{'per':'1m','max':0}}", "{}"); /* no past at all */
}

static void time_is_a_span_of_the_day(void)
{
	const char *when = "{'time':{'from':'08:00','to':'17:30'}}";
	FAILS(when, "{'time':{'at':'07:59'}}");
	HOLDS(when, "{'time':{'at':'08:00'}}");
	HOLDS(when, "{'time':{'at':'17:29'}}");
	FAILS(when, "{'time':{'at':'17:30'}}");
	FAILS(when, "{}");
	HOLDS("{'time':{'from':'00:00','to':'24:00'}}", "{}");
	HOLDS("{'time':{'days':['sat','sun']}}", "{'time':{'day':'sun'}}");
	FAILS("{'time':{'days':['sat','sun']}}", "{'time':{'day':'mon','at':'00:00'}}");
	FAILS("{'time':{'days':['sat','sun']}}", "{'time':{'at':'12:00'}}");
	FAILS("{'not':{'time':{'days':['sat','sun']}}}", "{'time':{'at':'12:00'}}");
	HOLDS("{'not':{'time':{'days':'sat','from':'01:00','to':'02:00'}}}", "{'time':{'at':'12:00'}}");
}

static void a_span_over_midnight_belongs_to_the_day_it_began_on(void)
{
	const char *when = "{'time':{'days':'sun','from':'22:00','to':'06:00'}}";
	FAILS(when, "{'time':{'day':'sun','at':'21:59'}}");
	HOLDS(when, "{'time':{'day':'sun','at':'22:00'}}");
	HOLDS(when, "{'time':{'day':'mon','at':'00:00'}}");
	HOLDS(when, "{'time':{'day':'mon','at':'05:59'}}");
	FAILS(when, "{'time':{'day':'mon','at':'06:00'}}");
	FAILS(when, "{'time':{'day':'sun','at':'05:59'}}");
	FAILS(when, "{'time':{'day':'mon','at':'22:00'}}");
	FAILS("{'time':{'from':'22:00','to':'06:00'}}", "{'time':{'at':'21:59'}}");
	HOLDS("{'time':{'from':'22:00','to':'06:00'}}", "{'time':{'at':'23:59'}}");
	HOLDS("{'time':{'from':'22:00','to':'06:00'}}", "{'time':{'at':'05:59'}}");
	FAILS("{'time':{'from':'22:00','to':'06:00'}}", "{'time':{'at':'06:00'}}");
	HOLDS("{'time':{'from':'23:59','to':'24:00'}}", "{'time':{'at':'23:59'}}");
	FAILS("{'time':{'from':'23:59','to':'24:00'}}", "{'time':{'at':'00:00'}}");
	HOLDS("{'time':{'from':'23:59','to':'00:00'}}", "{'time':{'at':'23:59'}}");
	FAILS("{'time':{'from':'23:59','to':'00:00'}}", "{'time':{'at':'00:00'}}");
	FAILS("{'time':{'from':'00:00','to':'00:01'}}", "{'time':{'at':'23:59'}}");
	HOLDS("{'time':{'from':'00:00','to':'00:01'}}", "{'time':{'at':'00:00'}}");
}

/* Whether a rule for the span WHEN takes a stop at the time UTC, in a zone whose summer time begins and ends at 1:00 UTC. */
static bool holds_at(const char *when, const char *utc)
{
	_cleanup_free_ char *text = text_format("{'version':1,'rules':[{'when':{'time':%s},'then':{'action':'ask'}}]}", when);
	_cleanup_policy_ struct policy *policy = policy_of(text);
	struct policy_context context = {.event = POLICY_EVENT_WILL_STOP};
	struct policy_decision decision;
	uint64_t usec;
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	CU_ASSERT_EQUAL_FATAL(timestamp_parse(utc, &usec), 0);
	timestamp_local(usec, &context.wall_minute, &context.wall_day);
	unsetenv("TZ");
	policy_evaluate(policy, &context, &decision);
	return decision.rule == 0;
}

static void a_span_follows_the_clock_on_the_wall_over_summer_time(void)
{
	static const char night[] = "{'from':'02:00','to':'03:00'}", over_midnight[] = "{'days':'sat','from':'23:00','to':'03:00'}";
	static const char sunday[] = "{'days':'sun','from':'00:00','to':'24:00'}";
	static const struct {
		const char *utc;
		bool night, over_midnight, sunday;
	} cases[] = {
		{"2026-03-28T21:59:59Z", false, false, false},
		{"2026-03-28T22:00:00Z", false, true, false},
		{"2026-03-28T23:00:00Z", false, true, true},
		{"2026-03-29T00:59:59Z", false, true, true}, /* 1:59, and then it is 3:00: two to three never comes */
		{"2026-03-29T01:00:00Z", false, false, true},
		{"2026-03-29T21:59:59Z", false, false, true}, /* that Sunday has 23 hours */
		{"2026-03-29T22:00:00Z", false, false, false},
		{"2026-10-24T23:59:59Z", false, true, true},
		{"2026-10-25T00:00:00Z", true, true, true}, /* two o'clock */
		{"2026-10-25T00:59:59Z", true, true, true},
		{"2026-10-25T01:00:00Z", true, true, true}, /* two o'clock again */
		{"2026-10-25T01:59:59Z", true, true, true},
		{"2026-10-25T02:00:00Z", false, false, true},
		{"2026-10-25T22:59:59Z", false, false, true}, /* and that one 25 */
		{"2026-10-25T23:00:00Z", false, false, false},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		CU_ASSERT_EQUAL(holds_at(night, cases[i].utc), cases[i].night);
		CU_ASSERT_EQUAL(holds_at(over_midnight, cases[i].utc), cases[i].over_midnight);
		CU_ASSERT_EQUAL(holds_at(sunday, cases[i].utc), cases[i].sunday);
	}
}

static bool is_home(const char *id, void *userdata)
{
	return strcmp(id, "home") == 0;
}

static void tunnels_that_are_not_there_are_warned_of(void)
{
	_cleanup_json_ json_object *document = json_of(
		"{'version':1,'rules':[{'when':{'tunnel':'home'},'then':{'action':'failover','to':['home','spare']}},"
		"{'when':{'tunnel':['h*','work'],'not':{'tunnel':'lost'},'time':{'from':'08:00','to':'09:00'}},'then':{'action':'restart','delay':'1s'}},"
		"{'when':{'event':'boot'},'then':{'action':'connect','tunnel':'nobody'}}],"
		"'otherwise':{'action':'wait','until':'1m','then':{'action':'failover','to':['other']}}}");
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	policy_check_tunnels(document, is_home, NULL, &problems);
	_cleanup_free_ char *all = problems_to_text(&problems);
	CU_ASSERT_STRING_EQUAL(all, "warning: /rules/0/then/to/1: there is no such tunnel at present (found \"spare\")\n"
				    "warning: /rules/1/when/tunnel/1: there is no such tunnel at present (found \"work\")\n"
				    "warning: /rules/1/when/not/tunnel: there is no such tunnel at present (found \"lost\")\n"
				    "warning: /rules/2/then/tunnel: there is no such tunnel at present (found \"nobody\")\n"
				    "warning: /otherwise/then/to/0: there is no such tunnel at present (found \"other\")\n");
}

static void what_is_known_of_the_network_is_compared(void)
{
	static const char *const keys[] = {"type", "interface", "ssid", "profile"};
	for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
		_cleanup_free_ char *when = text_format("{'network':{'%s':['wwan','wifi']}}", keys[i]);
		_cleanup_free_ char *is = text_format("{'network':{'%s':'wifi'}}", keys[i]);
		_cleanup_free_ char *other = text_format("{'network':{'%s':'other'}}", keys[i]);
		_cleanup_free_ char *unknown = text_format("{'network':{'%s':null}}", keys[i]);
		_cleanup_free_ char *negated = text_format("{'not':%s}", when);
		HOLDS(when, is);
		FAILS(when, other);
		FAILS(when, unknown);
		FAILS(when, "{}");
		FAILS(negated, is);
		HOLDS(negated, other);
		FAILS(negated, unknown);
		HOLDS(negated, "{}");
	}
	HOLDS("{'network':{'bssid':'0A:1b:2c:3d:4e:5F'}}", "{'network':{'bssid':'0a:1B:2c:3d:4e:5f'}}");
	FAILS("{'network':{'bssid':'0a:1b:2c:3d:4e:5f'}}", "{'network':{'bssid':'0a:1b:2c:3d:4e:50'}}");
}

static void metered_that_is_none_is_neither_true_nor_false(void)
{
	HOLDS("{'network':{'metered':true}}", "{'network':{'metered':true}}");
	FAILS("{'network':{'metered':true}}", "{'network':{'metered':false}}");
	HOLDS("{'network':{'metered':false}}", "{'network':{'metered':false}}");
	FAILS("{'network':{'metered':true}}", "{}");
	FAILS("{'network':{'metered':false}}", "{}");
	HOLDS("{'not':{'network':{'metered':true}}}", "{}");
	HOLDS("{'not':{'network':{'metered':false}}}", "{}");
	FAILS("{'not':{'network':{'metered':true}}}", "{'network':{'metered':null}}");
	FAILS("{'not':{'network':{'metered':false}}}", "{'network':{'metered':null}}");
}

static void not_turns_all_of_its_conditions_around_together(void)
{
	const char *when = "{'not':{'error':'serverBusy','attempt':{'max':2}}}";
	FAILS(when, "{'error':'serverBusy','attempt':2}");
	HOLDS(when, "{'error':'serverBusy','attempt':3}");
	HOLDS(when, "{'error':'tlsFailure','attempt':2}");
	HOLDS("{'not':{'not':{'attempt':{'max':2}}}}", "{'attempt':2}");
	FAILS("{'not':{'not':{'attempt':{'max':2}}}}", "{'attempt':3}");
	FAILS("{'not':{'not':{'network':{'ssid':'x'}}}}", "{'network':{'ssid':null}}");
	HOLDS("{'event':['boot','resumed'],'not':{'event':'boot'}}", "{'event':'resumed'}");
	FAILS("{'event':['boot','resumed'],'not':{'event':'boot'}}", "{'event':'boot'}");
}

static void one_false_condition_outweighs_an_unknown_one(void)
{
	const char *when = "{'not':{'network':{'ssid':'x','type':'wifi'}}}";
	HOLDS(when, "{'network':{'ssid':null,'type':'ethernet'}}");
	FAILS(when, "{'network':{'ssid':null,'type':'wifi'}}");
	HOLDS(when, "{'network':{'ssid':'y','type':null}}");
}

static uint64_t delay_after(const char *delay, unsigned decisions, uint64_t random)
{
	_cleanup_free_ char *text =
		text_format("{'version':1,'rules':[{'then':{'action':'restart','delay':%s}}]}", delay);
	_cleanup_policy_ struct policy *policy = policy_of(text);
	_cleanup_scene_ struct scene scene = scene_of("{}");
	struct policy_history history = {};
	struct policy_decision decision;
	for (unsigned i = 0; i < decisions; i++)
		policy_history_decided(&history, 0, false, 0);
	scene.context.history = &history;
	scene.context.random = random;
	policy_evaluate(policy, &scene.context, &decision);
	return decision.delay_usec;
}
#define MIDDLE (UINT64_C(1) << 63)

static void a_delay_grows_by_its_factor_up_to_its_cap(void)
{
	static const unsigned seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
	for (unsigned i = 0; i < ELEMENTSOF(seconds); i++)
		CU_ASSERT_EQUAL(
			delay_after("{'initial':'1s','factor':2,'max':'1m'}", i, MIDDLE), seconds[i] * USEC_PER_SEC);
	CU_ASSERT_EQUAL(delay_after("'5s'", 100, MIDDLE), 5 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(delay_after("{'initial':'5s'}", 100, MIDDLE), 5 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(delay_after("{'initial':'2s','factor':1.5,'max':'1h'}", 2, MIDDLE), 4500 * USEC_PER_MSEC);
}

static void a_delay_never_wraps_nor_shrinks(void)
{
	static const char *const delays[] = {"{'initial':'3650d','factor':100}", "{'initial':'1ms','factor':100}",
		"{'initial':'1ms','factor':1.01,'max':'3650d'}", "{'initial':'0s','factor':100,'max':'1m'}"};
	for (size_t i = 0; i < ELEMENTSOF(delays); i++) {
		uint64_t before = 0;
		for (unsigned k = 0; k < 70000; k += k < 100 ? 1 : 9973) {
			uint64_t delay = delay_after(delays[i], k, MIDDLE);
			CU_ASSERT_TRUE(delay >= before && delay <= UINT64_C(3650) * 24 * 3600 * USEC_PER_SEC);
			before = delay;
		}
	}
}

static void jitter_stays_within_its_part_of_the_capped_delay(void)
{
	const char *delay = "{'initial':'10s','factor':2,'max':'20s','jitter':0.2}";
	CU_ASSERT_EQUAL(delay_after(delay, 0, 0), 8 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(delay_after(delay, 0, MIDDLE), 10 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(delay_after(delay, 0, UINT64_MAX), 12 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(delay_after(delay, 9, 0), 16 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(delay_after(delay, 9, UINT64_MAX), 24 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(delay_after("{'initial':'1s','jitter':1}", 0, 0), 0);
}

static void each_rule_counts_its_own_decisions(void)
{
	_cleanup_policy_ struct policy *policy = policy_of(
		"{'version':1,'rules':[{'when':{'error':'serverBusy'},'then':{'action':'restart','delay':{'initial':'"
		"1s','factor':2}}},"
		"{'when':{'error':'tlsFailure'},'then':{'action':'restart','delay':{'initial':'1s','factor':2}}}],"
		"'otherwise':{'action':'restart','delay':{'initial':'1s','factor':2}}}");
	_cleanup_scene_ struct scene scene = scene_of("{}");
	struct policy_history history = {};
	struct policy_decision decision;
	scene.context.history = &history;
	static const struct {
		enum tunnel_error error;
		unsigned seconds;
	} stops[] = {{TUNNEL_ERROR_SERVER_BUSY, 1}, {TUNNEL_ERROR_SERVER_BUSY, 2}, {TUNNEL_ERROR_TLS_FAILURE, 1},
		{TUNNEL_ERROR_UNKNOWN, 1}, {TUNNEL_ERROR_SERVER_BUSY, 4}, {TUNNEL_ERROR_UNKNOWN, 2},
		{TUNNEL_ERROR_TLS_FAILURE, 2}};
	for (size_t i = 0; i < ELEMENTSOF(stops); i++) {
		scene.context.error = stops[i].error;
		policy_evaluate(policy, &scene.context, &decision);
		CU_ASSERT_EQUAL(decision.delay_usec, stops[i].seconds * USEC_PER_SEC);
		policy_history_decided(&history, decision.rule, true, 0);
	}
	policy_history_stable(&history);
	policy_evaluate(policy, &scene.context, &decision);
	CU_ASSERT_EQUAL(decision.delay_usec, USEC_PER_SEC);
	CU_ASSERT_EQUAL(policy_history_restarts(&history, 1, 0), 7);
}

static void the_least_used_rule_makes_room(void)
{
	struct policy_history history = {};
	for (int rule = 0; rule < POLICY_HISTORY_RULES; rule++)
		for (int i = 0; i < (rule == 5 ? 1 : 2); i++)
			policy_history_decided(&history, rule, false, 0);
	policy_history_decided(&history, 99, false, 0);
	CU_ASSERT_EQUAL(policy_history_rule_count(&history, 5), 0);
	CU_ASSERT_EQUAL(policy_history_rule_count(&history, 99), 1);
	CU_ASSERT_EQUAL(policy_history_rule_count(&history, 4), 2);
	policy_history_decided(&history, POLICY_RULE_NONE, false, 0);
	CU_ASSERT_EQUAL(policy_history_rule_count(&history, POLICY_RULE_NONE), 0);
	for (unsigned i = 0; i < UINT16_MAX + 10u; i++)
		policy_history_decided(&history, 4, false, 0);
	CU_ASSERT_EQUAL(policy_history_rule_count(&history, 4), UINT16_MAX);
}

/* A policy that restarts after a second, three times a minute, then does THEN (a member of limits, or nothing). */
static struct policy *limited_policy(const char *then)
{
	_cleanup_free_ char *text = text_format(
		"{'version':1,'rules':[{'when':{'error':'serverBusy'},'then':{'action':'restart','delay':'1s'}},"
		"{'when':{'error':'tlsFailure'},'then':{'action':'failover','to':['spare']}}],"
		"'limits':{'restarts':3,'per':'1m'%s}}",
		then);
	return policy_of(text);
}

static const char *decide_after(
	const struct policy *policy, enum tunnel_error error, const unsigned *restarts, size_t count, unsigned now)
{
	_cleanup_scene_ struct scene scene = scene_of("{}");
	struct policy_history history = {};
	struct policy_decision decision;
	for (size_t i = 0; i < count; i++)
		policy_history_decided(&history, 7, true, restarts[i] * USEC_PER_SEC);
	scene.context.history = &history;
	scene.context.now_usec = now * USEC_PER_SEC;
	scene.context.error = error;
	policy_evaluate(policy, &scene.context, &decision);
	return describe(&decision);
}

static void one_restart_too_many_waits_until_the_window_allows_it(void)
{
	_cleanup_policy_ struct policy *policy = limited_policy("");
	const unsigned times[] = {100, 110, 120, 130};
	const enum tunnel_error busy = TUNNEL_ERROR_SERVER_BUSY, tls = TUNNEL_ERROR_TLS_FAILURE;
	CU_ASSERT_STRING_EQUAL(decide_after(policy, busy, times, 2, 125), "0 restart 1s");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, busy, times, 3, 125), "0 restart 35s limited");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, busy, times, 3, 159), "0 restart 1s limited");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, busy, times, 3, 160), "0 restart 1s");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, busy, times, 4, 135), "0 restart 35s limited");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, tls, times, 3, 125), "1 failover 35s limited");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, tls, times, 2, 125), "1 failover");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, TUNNEL_ERROR_UNKNOWN, times, 4, 135), "otherwise terminate");
	const unsigned same[] = {100, 100, 100, 100};
	CU_ASSERT_STRING_EQUAL(decide_after(policy, busy, same, 4, 130), "0 restart 30s limited");
	const unsigned falling[] = {120, 110, 100};
	CU_ASSERT_STRING_EQUAL(decide_after(policy, busy, falling, 3, 125), "0 restart 35s limited");
	const unsigned to_come[] = {100, 110, 140};
	CU_ASSERT_STRING_EQUAL(decide_after(policy, busy, to_come, 3, 125), "0 restart 35s limited");
}

static void limits_do_their_own_then(void)
{
	_cleanup_policy_ struct policy *policy = limited_policy(",'then':{'action':'ask','timeout':'1m'}");
	const unsigned times[] = {100, 110, 120};
	CU_ASSERT_STRING_EQUAL(decide_after(policy, TUNNEL_ERROR_SERVER_BUSY, times, 3, 125), "0 ask limited");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, TUNNEL_ERROR_TLS_FAILURE, times, 3, 125), "1 ask limited");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, TUNNEL_ERROR_SERVER_BUSY, times, 2, 125), "0 restart 1s");
}

static void the_largest_limit_is_remembered(void)
{
	_cleanup_policy_ struct policy *policy =
		policy_of("{'version':1,'otherwise':{'action':'restart'},'limits':{'restarts':128,'per':'1h'}}");
	unsigned times[POLICY_HISTORY_RESTARTS + 2];
	for (unsigned i = 0; i < ELEMENTSOF(times); i++)
		times[i] = 100 + i;
	CU_ASSERT_STRING_EQUAL(decide_after(policy, 0, times, 127, 300), "otherwise restart");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, 0, times, 128, 300), "otherwise restart 3400s limited");
	CU_ASSERT_STRING_EQUAL(decide_after(policy, 0, times, 130, 300), "otherwise restart 3402s limited");
}

static void what_a_wait_does_then_is_paced_and_limited_too(void)
{
	_cleanup_policy_ struct policy *policy =
		policy_of("{'version':1,'rules':[{'then':{'action':'wait','until':'networkAvailable','timeout':'1m',"
			  "'then':{'action':'restart','delay':{'initial':'1s','factor':2}}}}],'limits':{'restarts':2,'"
			  "per':'1m'}}");
	_cleanup_scene_ struct scene scene = scene_of("{}");
	struct policy_history history = {};
	struct policy_decision decision, then;
	scene.context.history = &history;
	policy_history_decided(&history, 0, true, 0);
	policy_evaluate(policy, &scene.context, &decision);
	CU_ASSERT_STRING_EQUAL(describe(&decision), "0 wait");
	policy_carry_on(policy, &scene.context, decision.rule, decision.action->then, &then);
	CU_ASSERT_STRING_EQUAL(describe(&then), "0 restart 2s");
	policy_carry_on(policy, &scene.context, decision.rule, decision.action->on_timeout, &then);
	CU_ASSERT_STRING_EQUAL(describe(&then), "0 terminate");
	policy_history_decided(&history, 0, true, 0);
	policy_carry_on(policy, &scene.context, decision.rule, decision.action->then, &then);
	CU_ASSERT_STRING_EQUAL(describe(&then), "0 restart 1m limited");
}

static void what_is_left_out_has_its_default(void)
{
	_cleanup_policy_ struct policy *policy =
		policy_of("{'version':1,'rules':[{'when':{'error':'serverBusy'},'then':{'action':'wait','until':'5m','"
			  "timeout':'6m'}},"
			  "{'when':{'error':'tlsFailure'},'then':{'action':'ask'}},"
			  "{'when':{'event':'boot'},'then':{'action':'disconnect'}}]}");
	static const struct {
		const char *context, *action;
	} cases[] = {
		{"{}", "{'action':'terminate','traffic':'block'}"},
		{"{'error':'serverBusy'}", "{'action':'wait','until':'5m','then':{'action':'restart','delay':'0ms',"
					   "'endpoint':'same','worker':'keep'},'timeout':'6m',"
					   "'onTimeout':{'action':'terminate','traffic':'block'}}"},
		{"{'error':'tlsFailure'}", "{'action':'ask'}"},
		{"{'event':'boot'}", "{'action':'disconnect','traffic':'release'}"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_scene_ struct scene scene = scene_of(cases[i].context);
		struct policy_decision decision;
		policy_evaluate(policy, &scene.context, &decision);
		_cleanup_json_ json_object *found = policy_action_to_json(decision.action),
					   *expected = json_of(cases[i].action);
		CU_ASSERT_TRUE(json_object_equal(found, expected));
	}
	CU_ASSERT_EQUAL(policy_stable_after_usec(policy), 30 * USEC_PER_SEC);
	CU_ASSERT_PTR_NULL(policy_action_to_json(NULL));
}

static void an_action_can_be_written_and_read_again(void)
{
	static const char *const actions[] = {
		"{'action':'restart','delay':{'initial':'1s','factor':2.5,'max':'1m','jitter':0.25},'endpoint':'random'"
		",'worker':'fresh'}",
		"{'action':'restart','delay':{'initial':'250ms','factor':2,'jitter':0},'endpoint':'next','worker':'"
		"keep'}",
		"{'action':'failover','to':['a','b']}",
		"{'action':'wait','until':'resumed','then':{'action':'ask','timeout':'1d','onTimeout':{'action':'"
		"terminate',"
		"'traffic':'release'}}}",
		"{'action':'ask'}",
	};
	for (size_t i = 0; i < ELEMENTSOF(actions); i++) {
		_cleanup_free_ char *text = text_format("{'version':1,'otherwise':%s}", actions[i]);
		_cleanup_policy_ struct policy *policy = policy_of(text);
		_cleanup_scene_ struct scene scene = scene_of("{}");
		struct policy_decision decision;
		policy_evaluate(policy, &scene.context, &decision);
		_cleanup_json_ json_object *found = policy_action_to_json(decision.action),
					   *expected = json_of(actions[i]);
		CU_ASSERT_STRING_EQUAL(json_object_to_json_string(found), json_object_to_json_string(expected));
	}
}

static void an_explanation_names_the_first_condition_that_failed(void)
{
	_cleanup_policy_ struct policy *policy =
		policy_of("{'version':1,'rules':["
			  "{'name':'a','when':{'network':{'ssid':'x','available':false},'attempt':{'max':3}},'then':{'"
			  "action':'ask'}},"
			  "{'when':{'network':{'ssid':'x'}},'then':{'action':'ask'}},"
			  "{'when':{'event':'boot'},'then':{'action':'ignore'}},"
			  "{'when':{'not':{'driver':'openvpn'}},'then':{'action':'ask'}},"
			  "{'name':'e','when':{'error':'serverBusy'},'then':{'action':'restart','delay':'1500ms'}}]}");
	_cleanup_scene_ struct scene scene =
		scene_of("{'error':'serverBusy','driver':'openvpn','network':{'ssid':null}}");
	_cleanup_json_ json_object *answer = policy_explain(policy, &scene.context);
	_cleanup_json_ json_object *expected =
		json_of("{'decision':{'action':'restart','delay':'1500ms','endpoint':'same','worker':'keep'},'rule':{'"
			"index':4,'name':'e'},"
			"'tried':[{'index':0,'name':'a','failed':'/when/network/available'},"
			"{'index':1,'name':null,'failed':'/when/network/ssid','unknown':true},"
			"{'index':2,'name':null,'failed':'/when/event'},{'index':3,'name':null,'failed':'/when/not'}],"
			"'delay':'1500ms','limited':false}");
	CU_ASSERT_STRING_EQUAL(json_object_to_json_string(answer), json_object_to_json_string(expected));
	_cleanup_scene_ struct scene resumed = scene_of("{'event':'resumed'}");
	_cleanup_json_ json_object *nothing = policy_explain(policy, &resumed.context);
	CU_ASSERT_PTR_NULL(json_object_object_get(nothing, "decision"));
	CU_ASSERT_PTR_NULL(json_object_object_get(nothing, "rule"));
	CU_ASSERT_EQUAL(json_object_array_length(json_object_object_get(nothing, "tried")), 5);
}

static void a_context_is_checked_as_a_document_is(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document =
		json_of("{'event':'stop','error':'superseded','attempt':-1,'time':{'day':'Monday','at':'24:00'},'"
			"network':{'up':true,"
			"'metered':'no'},'connectedFor':10,'phase':'none','restarts':1.5,'tunnel':null}");
	struct policy_context context = {.attempt = 77};
	CU_ASSERT_EQUAL(policy_context_parse(document, &context, &problems), -EINVAL);
	CU_ASSERT_EQUAL(context.attempt, 77);
	_cleanup_free_ char *all = problems_to_text(&problems);
	static const char *const pointers[] = {"/event: ", "/error: ", "/attempt: ", "/time/day: ", "/time/at: ",
		"/network/up: ", "/network/metered: ", "/connectedFor: ", "/phase: ", "/restarts: ", "/tunnel: "};
	for (size_t i = 0; i < ELEMENTSOF(pointers); i++)
		CU_ASSERT_PTR_NOT_NULL(strstr(all, pointers[i]));
	CU_ASSERT_EQUAL(problems.errors, ELEMENTSOF(pointers));
}

static void words_round_trip(void)
{
	for (enum policy_event event = 0, back; event < POLICY_EVENT_COUNT; event++) {
		CU_ASSERT_EQUAL(policy_event_from_string(policy_event_to_string(event), &back), 0);
		CU_ASSERT_EQUAL(event, back);
	}
	for (enum policy_action_type type = POLICY_ACTION_RESTART, back; type <= POLICY_ACTION_IGNORE; type++) {
		CU_ASSERT_EQUAL(policy_action_from_string(policy_action_to_string(type), &back), 0);
		CU_ASSERT_EQUAL(type, back);
	}
	enum policy_action_type type;
	enum policy_phase phase;
	CU_ASSERT_EQUAL(policy_action_from_string(policy_action_to_string(POLICY_ACTION_NONE), &type), -EINVAL);
	CU_ASSERT_EQUAL(policy_phase_from_string(policy_phase_to_string(POLICY_PHASE_NONE), &phase), -EINVAL);
}

static const struct test tests[] = {
	{"the first rule that holds decides", the_first_rule_that_holds_decides},
	{"no rule means otherwise for a stop, and nothing elsewhere",
		no_rule_means_otherwise_for_a_stop_and_nothing_elsewhere},
	{"a rule without conditions takes every stop and nothing else",
		a_rule_without_conditions_takes_every_stop_and_nothing_else},
	{"error and class are any of", error_and_class_are_any_of},
	{"attempt holds from min to max", attempt_holds_from_min_to_max},
	{"the network is available, or not, or unknown", the_network_is_available_or_not_or_unknown},
	{"events are any of", events_are_any_of},
	{"a tunnel is named or matched", a_tunnel_is_named_or_matched},
	{"names are compared whole", names_are_compared_whole},
	{"phase is what the tunnel was doing", phase_is_what_the_tunnel_was_doing},
	{"connectedFor holds from min to max", connected_for_holds_from_min_to_max},
	{"restarts are counted in their window", restarts_are_counted_in_their_window},
	{"time is a span of the day", time_is_a_span_of_the_day},
	{"a span over midnight belongs to the day it began on", a_span_over_midnight_belongs_to_the_day_it_began_on},
	{"a span follows the clock on the wall over summer time", a_span_follows_the_clock_on_the_wall_over_summer_time},
	{"tunnels that are not there are warned of", tunnels_that_are_not_there_are_warned_of},
	{"what is known of the network is compared", what_is_known_of_the_network_is_compared},
	{"metered that is none is neither true nor false", metered_that_is_none_is_neither_true_nor_false},
	{"not turns all of its conditions around together", not_turns_all_of_its_conditions_around_together},
	{"one false condition outweighs an unknown one", one_false_condition_outweighs_an_unknown_one},
	{"a delay grows by its factor up to its cap", a_delay_grows_by_its_factor_up_to_its_cap},
	{"a delay never wraps nor shrinks", a_delay_never_wraps_nor_shrinks},
	{"jitter stays within its part of the capped delay", jitter_stays_within_its_part_of_the_capped_delay},
	{"each rule counts its own decisions", each_rule_counts_its_own_decisions},
	{"the least used rule makes room", the_least_used_rule_makes_room},
	{"one restart too many waits until the window allows it",
		one_restart_too_many_waits_until_the_window_allows_it},
	{"limits do their own then", limits_do_their_own_then},
	{"the largest limit is remembered", the_largest_limit_is_remembered},
	{"what a wait does then is paced and limited too", what_a_wait_does_then_is_paced_and_limited_too},
	{"what is left out has its default", what_is_left_out_has_its_default},
	{"an action can be written and read again", an_action_can_be_written_and_read_again},
	{"an explanation names the first condition that failed", an_explanation_names_the_first_condition_that_failed},
	{"a context is checked as a document is", a_context_is_checked_as_a_document_is},
	{"words round trip", words_round_trip},
};

int main(int argc, char **argv)
{
	return suite_run("policy", tests, ELEMENTSOF(tests), argc, argv);
}
