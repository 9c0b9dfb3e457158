/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Random policies in random contexts: the engine decides what a plain reading of the document decides (policy-naive.c).
 * Values come from small pools, so that conditions hold often enough; every condition, unknown and none are among them,
 * and some policies are long enough for the index's lists to have many blocks. The seed is printed; given as the
 * argument, it replays the run.
 */

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/random.h>

#include "policy-naive.h"
#include "suite.h"
#include "util/fields.h"
#include "util/text.h"

#define POLICIES            12000
#define CONTEXTS_PER_POLICY 10

static uint64_t seed, state;

/* SplitMix64, https://prng.di.unimi.it/splitmix64.c */
static uint64_t draw(void)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static unsigned below(unsigned limit)
{
	return (unsigned)(draw() % limit);
}

static bool chance(unsigned of_a_hundred)
{
	return below(100) < of_a_hundred;
}

#define PICK(pool) ((pool)[below(ELEMENTSOF(pool))])

static const char *const tunnels[] = {"home", "work", "work_2", "a", "b"};
static const char *const tunnel_patterns[] = {"home", "work", "work_2", "work*", "?", "*", "*o*", "a"};
static const char *const drivers[] = {"wireguard", "openvpn", "command"};
static const char *const endpoints[] = {"192.0.2.1:51820/udp", "192.0.2.2:443/tcp", "vpn.example:1194/udp"};
static const char *const phases[] = {"connecting", "connected"};
static const char *const classes[] = {"transient", "permanent", "local"};
static const char *const types[] = {"ethernet", "wifi", "wwan", "bluetooth", "other"};
static const char *const interfaces[] = {"eth0", "wlan0", "wwan0"};
static const char *const ssids[] = {"home", "office", "café"};
static const char *const bssids[] = {"0a:1b:2c:3d:4e:5f", "0A:1B:2C:3D:4E:5F", "00:00:00:00:00:01"};
static const char *const profiles[] = {"p1", "p2", "p3", "p4"};
static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
static const char *const times[] = {"00:00", "00:01", "06:00", "12:00", "12:30", "22:00", "23:59"};
static const char *const durations[] = {"1ms", "1s", "10s", "1m", "1h", "1d"};
static const uint64_t duration_values[] = {0, 1000, 999999, 1000000, 10000000, 59999999, 60000000, 3600000000};

static const char *error_name(void)
{
	return tunnel_error_to_string((enum tunnel_error)(1 + below(TUNNEL_ERROR_CONNECTION_CANCELED - 1)));
}

static json_object *of(const char *string)
{
	return json_object_new_string(string);
}

/* One of POOL, or an array of some. */
static json_object *some_of(const char *const *pool, size_t count)
{
	if (chance(60))
		return of(pool[below((unsigned)count)]);
	json_object *array = json_object_new_array();
	for (unsigned i = 0; i <= below(3); i++)
		json_object_array_add(array, of(pool[below((unsigned)count)]));
	return array;
}
#define SOME_OF(pool) some_of(pool, ELEMENTSOF(pool))

static json_object *some_errors(void)
{
	json_object *array = json_object_new_array();
	for (unsigned i = 0; i <= below(4); i++)
		json_object_array_add(array, of(error_name()));
	return array;
}

static void put_number(json_object *object, const char *key, unsigned number)
{
	json_object_object_add(object, key, json_object_new_int64(number));
}

static json_object *number_range(unsigned limit)
{
	json_object *range = json_object_new_object();
	unsigned min = below(limit), max = min + below(limit - min);
	if (chance(60))
		put_number(range, "min", min);
	if (chance(60) || json_object_object_length(range) == 0)
		put_number(range, "max", max);
	return range;
}

static json_object *duration_range(void)
{
	json_object *range = json_object_new_object();
	unsigned min = below(ELEMENTSOF(durations)), max = min + below((unsigned)ELEMENTSOF(durations) - min);
	if (chance(60))
		json_object_object_add(range, "min", of(durations[min]));
	if (chance(60) || json_object_object_length(range) == 0)
		json_object_object_add(range, "max", of(durations[max]));
	return range;
}

static json_object *time_span(void)
{
	json_object *span = json_object_new_object();
	if (chance(60))
		json_object_object_add(span, "days", SOME_OF(days));
	if (chance(60) || json_object_object_length(span) == 0) {
		unsigned from = below(ELEMENTSOF(times)),
			 to = (from + 1 + below(ELEMENTSOF(times) - 1)) % ELEMENTSOF(times);
		json_object_object_add(span, "from", of(times[from]));
		json_object_object_add(span, "to", of(to == 0 && chance(50) ? "24:00" : times[to]));
	}
	return span;
}

static json_object *restarts_range(void)
{
	json_object *range = number_range(8);
	json_object_object_add(range, "per", of(PICK(durations)));
	return range;
}

static json_object *network(void)
{
	json_object *object = json_object_new_object();
	const struct {
		const char *key;
		json_object *value;
	} members[] = {
		{"available", json_object_new_boolean(chance(50))},
		{"type", SOME_OF(types)},
		{"interface", SOME_OF(interfaces)},
		{"ssid", SOME_OF(ssids)},
		{"bssid", SOME_OF(bssids)},
		{"profile", SOME_OF(profiles)},
		{"metered", json_object_new_boolean(chance(50))},
	};
	size_t at_least = below(ELEMENTSOF(members));
	for (size_t i = 0; i < ELEMENTSOF(members); i++)
		if (i == at_least || chance(12))
			json_object_object_add(object, members[i].key, members[i].value);
		else
			json_object_put(members[i].value);
	return object;
}

static json_object *conditions(unsigned depth);

/* Adds KEY with one in TIMES' chance; the value is made only then. */
#define MAYBE(object, of_a_hundred, key, value)                                                                        \
	do {                                                                                                           \
		if (chance(of_a_hundred))                                                                              \
			json_object_object_add(object, key, value);                                                    \
	} while (0)

static void add_conditions(json_object *when, unsigned depth)
{
	MAYBE(when, 20, "tunnel", SOME_OF(tunnel_patterns));
	MAYBE(when, 10, "driver", SOME_OF(drivers));
	MAYBE(when, 10, "phase", SOME_OF(phases));
	MAYBE(when, 30, "attempt", number_range(6));
	MAYBE(when, 10, "restarts", restarts_range());
	MAYBE(when, 15, "connectedFor", duration_range());
	MAYBE(when, 10, "endpoint", SOME_OF(endpoints));
	MAYBE(when, 10, "time", time_span());
	MAYBE(when, 30, "network", network());
	if (depth < 3)
		MAYBE(when, 20, "not", conditions(depth + 1));
}

static json_object *conditions(unsigned depth)
{
	json_object *when = json_object_new_object();
	if (chance(20))
		json_object_object_add(when, "error", some_errors());
	else
		MAYBE(when, 15, "class", SOME_OF(classes));
	if (chance(10)) {
		json_object *events = json_object_new_array();
		for (unsigned i = 0; i <= below(3); i++)
			json_object_array_add(
				events, of(policy_event_to_string((enum policy_event)below(POLICY_EVENT_COUNT))));
		json_object_object_add(when, "event", events);
	}
	add_conditions(when, depth);
	if (json_object_object_length(when) == 0)
		json_object_object_add(when, "attempt", number_range(6));
	return when;
}

static json_object *action_of(const char *name)
{
	json_object *action = json_object_new_object();
	json_object_object_add(action, "action", of(name));
	return action;
}

static json_object *restart(void)
{
	json_object *action = action_of("restart");
	if (chance(30))
		json_object_object_add(action, "delay", of(PICK(durations)));
	else if (chance(70)) {
		json_object *delay = json_object_new_object();
		unsigned initial = below(ELEMENTSOF(durations));
		json_object_object_add(delay, "initial", of(durations[initial]));
		MAYBE(delay, 70, "factor", json_object_new_double(1 + below(40) / 10.0));
		MAYBE(delay, 70, "max", of(durations[initial + below((unsigned)ELEMENTSOF(durations) - initial)]));
		MAYBE(delay, 50, "jitter", json_object_new_double(below(11) / 10.0));
		json_object_object_add(action, "delay", delay);
	}
	return action;
}

static json_object *failover(void)
{
	json_object *action = action_of("failover"), *to = json_object_new_array();
	json_object_array_add(to, of("spare"));
	json_object_object_add(action, "to", to);
	return action;
}

static json_object *action_on_stop(void)
{
	json_object *action;
	switch (below(6)) {
	case 0:
		return failover();
	case 1:
		return action_of("ask");
	case 2:
		return action_of("terminate");
	case 3:
		action = action_of("wait");
		json_object_object_add(action, "until", of("networkAvailable"));
		return action;
	default:
		return restart();
	}
}

static json_object *rule(void)
{
	json_object *one = json_object_new_object(), *when = json_object_new_object(), *then;
	unsigned kind = below(10);
	if (kind < 6) { /* a stop */
		if (chance(30))
			json_object_object_add(when, "error", some_errors());
		else
			MAYBE(when, 30, "class", SOME_OF(classes));
		MAYBE(when, 10, "event", of("willStop"));
		then = action_on_stop();
	} else if (kind < 9) { /* one other event, or several */
		json_object *events = json_object_new_array();
		for (unsigned i = 0; i <= below(2); i++)
			json_object_array_add(events,
				of(policy_event_to_string((enum policy_event)(1 + below(POLICY_EVENT_COUNT - 1)))));
		json_object_object_add(when, "event", events);
		then = chance(40) ? action_of("ignore") : chance(50) ? failover() : restart();
	} else { /* both */
		json_object *events = json_object_new_array();
		json_object_array_add(events, of("willStop"));
		json_object_array_add(events, of("networkChanged"));
		json_object_object_add(when, "event", events);
		then = chance(50) ? failover() : restart();
	}
	add_conditions(when, 0);
	if (json_object_object_length(when) > 0 || chance(50))
		json_object_object_add(one, "when", when);
	else
		json_object_put(when);
	json_object_object_add(one, "then", then);
	return one;
}

static json_object *document(void)
{
	json_object *policy = json_object_new_object(), *rules = json_object_new_array();
	unsigned count = below(1000) == 0 ? 3000 : chance(1) ? 50 + below(500) : below(13);
	put_number(policy, "version", 1);
	for (unsigned i = 0; i < count; i++)
		json_object_array_add(rules, rule());
	json_object_object_add(policy, "rules", rules);
	MAYBE(policy, 50, "otherwise", action_on_stop());
	if (chance(50)) {
		json_object *limits = json_object_new_object();
		put_number(limits, "restarts", 1 + below(6));
		json_object_object_add(limits, "per", of(PICK(durations)));
		MAYBE(limits, 30, "then", action_of(chance(50) ? "ask" : "terminate"));
		json_object_object_add(policy, "limits", limits);
	}
	return policy;
}

/* One of POOL, or none, or unknown. */
static const char *known(const char *const *pool, size_t count)
{
	return chance(15) ? NULL : chance(15) ? POLICY_UNKNOWN : pool[below((unsigned)count)];
}
#define KNOWN(pool) known(pool, ELEMENTSOF(pool))

static void fill_history(struct policy_history *history, uint64_t now_usec, int rules)
{
	*history = (struct policy_history){};
	for (unsigned i = below(12); i > 0; i--)
		policy_history_decided(history, (int)below((unsigned)rules + 1) - 1, chance(60),
			now_usec - PICK(duration_values) + below(2));
}

static struct policy_context make_context(struct policy_history *history, int rules)
{
	struct policy_context context = {
		.event = chance(60) ? POLICY_EVENT_WILL_STOP : (enum policy_event)below(POLICY_EVENT_COUNT),
		.now_usec = UINT64_C(10000000000) + below(1000000),
		.wall_minute = chance(15) ? -1 : (int)below(144) * 10 + (chance(50) ? 0 : 9),
		.wall_day = chance(15) ? -1 : (int)below(7),
		.random = chance(20) ? UINT64_MAX : draw(),
		.error = chance(95) ? (enum tunnel_error)(1 + below(TUNNEL_ERROR_CONNECTION_CANCELED - 1))
				    : TUNNEL_ERROR_NONE,
		.tunnel = chance(10) ? NULL : PICK(tunnels),
		.driver = chance(10) ? NULL : PICK(drivers),
		.endpoint = chance(10) ? NULL : PICK(endpoints),
		.phase = (enum policy_phase)below(3),
		.attempt = below(7),
		.connected_for_usec = PICK(duration_values),
		.network =
			{
				.available = (enum policy_truth)below(3),
				.metered = (enum policy_truth)below(4),
				.type = KNOWN(types),
				.interface = KNOWN(interfaces),
				.ssid = KNOWN(ssids),
				.bssid = KNOWN(bssids),
				.profile = KNOWN(profiles),
			},
	};
	if (chance(90)) {
		fill_history(history, context.now_usec, rules);
		context.history = history;
	}
	return context;
}

static bool agrees(const struct policy_decision *decision, const struct naive_decision *naive)
{
	if (decision->rule != naive->rule || decision->limited != naive->limited || !decision->action != !naive->action)
		return false;
	if (!decision->action)
		return true;
	/* The engine cuts to whole microseconds, and a double has 53 bits. */
	return strcmp(policy_action_to_string(decision->action->type), naive->action) == 0 &&
	       fabs((double)decision->delay_usec - naive->delay_usec) <= 1 + naive->delay_usec * 1e-9;
}

static void print_disagreement(json_object *policy_document, const struct policy_context *context,
	const struct policy_decision *decision, const struct naive_decision *naive)
{
	printf("# seed %" PRIu64 ": %s\n", seed, json_object_to_json_string(policy_document));
	printf("# event %s error %s tunnel %s attempt %u: engine rule %d delay %" PRIu64
	       " limited %d, plain reading rule %d "
	       "delay %f limited %d\n",
		policy_event_to_string(context->event), tunnel_error_to_string(context->error), context->tunnel,
		context->attempt, decision->rule, decision->delay_usec, decision->limited, naive->rule,
		naive->delay_usec, naive->limited);
}

static bool by_rule, by_otherwise, by_nothing, by_limit;

static bool compare_once(const struct policy *policy, json_object *policy_document)
{
	struct policy_history history;
	struct policy_context context = make_context(&history, (int)policy_rule_count(policy));
	struct policy_decision decision;
	policy_evaluate(policy, &context, &decision);
	struct naive_decision naive = naive_evaluate(policy_document, &context);
	by_rule |= decision.rule > 0;
	by_otherwise |= decision.rule == POLICY_RULE_OTHERWISE;
	by_nothing |= decision.rule == POLICY_RULE_NONE;
	by_limit |= decision.limited;
	if (agrees(&decision, &naive))
		return true;
	print_disagreement(policy_document, &context, &decision, &naive);
	return false;
}

static void the_engine_decides_what_a_plain_reading_decides(void)
{
	unsigned compared = 0, refused = 0;
	for (unsigned i = 0; i < POLICIES; i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_json_ json_object *policy_document = document();
		_cleanup_policy_ struct policy *policy = NULL;
		if (policy_new(policy_document, &policy, &problems) < 0) {
			_cleanup_free_ char *all = problems_to_text(&problems);
			printf("# seed %" PRIu64 ": %s# %s\n", seed, all, json_object_to_json_string(policy_document));
			refused++;
			break;
		}
		for (unsigned j = 0; j < CONTEXTS_PER_POLICY; j++, compared++)
			if (!compare_once(policy, policy_document))
				CU_FAIL_FATAL("the engine and the plain reading differ");
	}
	CU_ASSERT_EQUAL(refused, 0);
	CU_ASSERT_EQUAL(compared, POLICIES * CONTEXTS_PER_POLICY);
	CU_ASSERT_TRUE(by_rule && by_otherwise && by_nothing && by_limit);
}

/* The warning is a promise: whatever comes, the rule before it was taken, so without it nothing changes. */
static void rules_called_unreachable_never_decide(void)
{
	unsigned called = 0;
	for (unsigned i = 0; i < POLICIES / 4; i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_json_ json_object *policy_document = document();
		_cleanup_policy_ struct policy *policy = NULL;
		CU_ASSERT_EQUAL_FATAL(policy_new(policy_document, &policy, &problems), 0);
		for (size_t j = 0; j < problems.count; j++) {
			int unreachable;
			if (!strstr(problems.items[j].detail, "never reached: ") ||
				sscanf(problems.items[j].pointer, "/rules/%d", &unreachable) != 1 ||
				strchr(problems.items[j].pointer + strlen("/rules/"), '/'))
				continue;
			called++;
			for (unsigned k = 0; k < 50; k++) {
				struct policy_history history;
				struct policy_context context = make_context(&history, (int)policy_rule_count(policy));
				struct policy_decision decision;
				policy_evaluate(policy, &context, &decision);
				CU_ASSERT_NOT_EQUAL_FATAL(decision.rule, unreachable);
			}
		}
	}
	CU_ASSERT_TRUE(called > 100);
}

static const struct test tests[] = {
	{"the engine decides what a plain reading decides", the_engine_decides_what_a_plain_reading_decides},
	{"rules called unreachable never decide", rules_called_unreachable_never_decide},
};

int main(int argc, char **argv)
{
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	else if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		return EXIT_FAILURE;
	state = seed;
	printf("# seed %" PRIu64 "\n", seed);
	return suite_run("policy-property", tests, ELEMENTSOF(tests), 1, argv);
}
