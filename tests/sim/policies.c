/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Small policies, each about one idea, and random ones put together from pieces. */

#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "util/fields.h"
#include "util/text.h"

static const char *const small[] = {
	"{'version': 1, 'stableAfter': '2s', 'rules': [{'when': {'error': 'connectionCouldNotBeEstablished'}, 'then': {'action': 'restart'}},"
	"{'when': {'class': 'local'}, 'then': {'action': 'restart', 'delay': '2s'}}]}",
	"{'version': 1, 'stableAfter': '2s', 'rules': [{'when': {'class': 'permanent'}, 'then': {'action': 'ask', 'timeout': '10s', 'onTimeout': {'action': 'terminate', 'traffic': 'release'}}}],"
	"'otherwise': {'action': 'restart', 'worker': 'fresh', 'endpoint': 'next'}}",
	"{'version': 1, 'stableAfter': '2s', 'rules': [{'when': {'class': 'permanent'}, 'then': {'action': 'terminate', 'traffic': 'release'}},"
	"{'when': {'class': 'local'}, 'then': {'action': 'wait', 'until': 'networkChanged', 'timeout': '5s'}}], 'otherwise': {'action': 'failover', 'to': ['work', 'home']}}",
	"{'version': 1, 'stableAfter': '2s', 'rules': [{'when': {'event': 'networkChanged'}, 'then': {'action': 'connect', 'tunnel': 'home'}},"
	"{'when': {'event': 'resumed'}, 'then': {'action': 'restart'}}], 'otherwise': {'action': 'wait', 'until': '3s', 'then': {'action': 'terminate', 'traffic': 'release'}}}",
	"{'version': 1, 'stableAfter': '5s', 'otherwise': {'action': 'restart', 'delay': '1s'}, 'limits': {'restarts': 3, 'per': '10s'}}",
	"{'version': 1, 'stableAfter': '5s', 'otherwise': {'action': 'wait', 'until': '10s'}, 'limits': {'restarts': 1, 'per': '30s'}}",
	"{'version': 1, 'stableAfter': '5s', 'rules': [{'when': {'event': ['networkChanged', 'resumed']}, 'then': {'action': 'restart'}},"
	"{'when': {'class': 'local'}, 'then': {'action': 'restart'}}], 'otherwise': {'action': 'ask'}, 'limits': {'restarts': 1, 'per': '30s', 'then': {'action': 'wait', 'until': '7s'}}}",
};
const size_t sim_small_policies = ELEMENTSOF(small);

static const char *const stop_conditions[] = {
	"", "'error': 'connectionCouldNotBeEstablished'", "'error': 'workerCrashed'", "'error': 'connectionTimeout'", "'error': 'firewallFailure'",
	"'class': 'permanent'", "'class': ['transient', 'local']", "'attempt': {'max': 2}", "'attempt': {'min': 4}", "'phase': 'connected'",
	"'restarts': {'per': '20s', 'min': 3}", "'connectedFor': {'min': '3s'}", "'tunnel': 'home'", "'tunnel': ['w*', 'office']", "'network': {'available': false}",
	"'not': {'tunnel': 'home'}",
};
static const char *const stop_actions[] = {
	"'action': 'restart'", "'action': 'restart', 'delay': '1s'", "'action': 'restart', 'endpoint': 'next', 'worker': 'fresh'",
	"'action': 'restart', 'delay': {'initial': '500ms', 'factor': 2, 'max': '8s', 'jitter': 0.2}, 'endpoint': 'random'", "'action': 'failover', 'to': ['work', 'home']",
	"'action': 'failover', 'to': ['nobody', 'office', 'home']", "'action': 'wait', 'until': 'networkAvailable', 'then': {'action': 'restart'}",
	"'action': 'wait', 'until': '2s', 'then': {'action': 'restart', 'delay': {'initial': '500ms', 'factor': 2, 'max': '8s'}}",
	"'action': 'wait', 'until': '3s'", "'action': 'wait', 'until': 'networkChanged', 'timeout': '20s', 'onTimeout': {'action': 'terminate', 'traffic': 'release'}",
	"'action': 'wait', 'until': 'resumed', 'timeout': '4s', 'onTimeout': {'action': 'ask', 'timeout': '6s'}", "'action': 'ask', 'timeout': '15s'", "'action': 'ask'",
	"'action': 'ask', 'timeout': '10s', 'onTimeout': {'action': 'restart', 'delay': '2s'}", "'action': 'terminate'", "'action': 'terminate', 'traffic': 'release'",
};
static const char *const event_conditions[] = {"'event': 'networkChanged'", "'event': 'networkLost'", "'event': 'networkAvailable'", "'event': 'resumed'",
	"'event': 'unresponsive'", "'event': ['boot', 'networkChanged']"};
static const char *const event_actions[] = {"'action': 'connect', 'tunnel': 'home'", "'action': 'connect', 'tunnel': 'work'", "'action': 'connect', 'tunnel': 'office'",
	"'action': 'restart'", "'action': 'restart', 'delay': '2s'", "'action': 'disconnect', 'traffic': 'block'", "'action': 'disconnect'",
	"'action': 'failover', 'to': ['work', 'office']", "'action': 'ignore'", "'action': 'connect', 'tunnel': 'nobody'"};
static const char *const limits[] = {"{'restarts': 3, 'per': '10s'}", "{'restarts': 2, 'per': '5s', 'then': {'action': 'terminate'}}",
	"{'restarts': 4, 'per': '30s', 'then': {'action': 'terminate', 'traffic': 'release'}}", "{'restarts': 5, 'per': '1m', 'then': {'action': 'wait', 'until': '7s'}}",
	"{'restarts': 2, 'per': '8s', 'then': {'action': 'ask', 'timeout': '6s', 'onTimeout': {'action': 'restart'}}}"};

static const char *pick(const char *const *pieces, size_t count, uint64_t *random)
{
	return pieces[sim_draw(random) % count];
}
#define PICK(pieces) pick(pieces, ELEMENTSOF(pieces), &random)

static char *put_together(uint64_t random)
{
	struct text text = TEXT_NULL;
	size_t rules = sim_draw(&random) % 6;
	text_append(&text, "{'version': 1, 'stableAfter': '%us', 'rules': [", (unsigned)(1 + sim_draw(&random) % 10));
	for (size_t i = 0; i < rules; i++) {
		bool stop = sim_draw(&random) % 3 != 0;
		const char *when = stop ? PICK(stop_conditions) : PICK(event_conditions), *then = stop ? PICK(stop_actions) : PICK(event_actions);
		if (strstr(when, "'network'") && strstr(then, "release"))
			then = stop_actions[0]; /* to relax on a network needs its profile */
		text_append(&text, "%s{'when': {%s}, 'then': {%s}}", i ? ", " : "", when, then);
	}
	text_append(&text, "], 'otherwise': {%s}", PICK(stop_actions));
	if (sim_draw(&random) % 2)
		text_append(&text, ", 'limits': %s", PICK(limits));
	text_append(&text, "}");
	return text_steal(&text);
}

uint64_t sim_mix(uint64_t hash, uint64_t value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 29;
}

uint64_t sim_action_key(const struct policy_action *action)
{
	if (!action)
		return 0;
	uint64_t key = sim_mix(1, (uint64_t)action->type << 16 | (uint64_t)action->endpoint << 12 | (uint64_t)action->worker << 8 | (uint64_t)action->traffic);
	key = sim_mix(key, action->delay.initial_usec);
	key = sim_mix(key, (uint64_t)action->until_event << 8 | (uint64_t)action->wait_event);
	key = sim_mix(key, action->wait_usec ^ action->timeout_usec);
	for (size_t i = 0; i < action->tunnel_count; i++)
		for (const char *c = action->tunnels[i]; *c; c++)
			key = sim_mix(key, (uint64_t)*c);
	return sim_mix(sim_mix(key, sim_action_key(action->then)), sim_action_key(action->on_timeout));
}

static void note_limits(json_object *document, struct sim_policy *ret)
{
	json_object *found = json_object_object_get(document, "limits");
	static const struct {
		const char *text;
		unsigned seconds;
	} windows[] = {{"5s", 5}, {"10s", 10}, {"30s", 30}, {"1m", 60}};
	if (!found)
		return;
	ret->limit = (unsigned)json_object_get_int(json_object_object_get(found, "restarts"));
	for (size_t i = 0; i < ELEMENTSOF(windows); i++)
		if (strcmp(windows[i].text, json_object_get_string(json_object_object_get(found, "per"))) == 0)
			ret->per_usec = windows[i].seconds * USEC_PER_SEC;
}

void sim_policy_make(uint64_t number, struct sim_policy *ret, char **ret_text)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL;
	char *text = number < sim_small_policies ? text_dup(small[number]) : put_together(number);
	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	*ret = (struct sim_policy){};
	if (json_parse_strict(text, strlen(text), &document, &problems) < 0 || policy_new(document, &ret->policy, &problems) < 0) {
		fprintf(stderr, "a policy of the simulation's own is refused: %s\n", text);
		abort();
	}
	ret->stable_usec = policy_stable_after_usec(ret->policy);
	note_limits(document, ret);
	for ALL_TUNNELS (i) {
		char connect[80];
		snprintf(connect, sizeof connect, "\"connect\", \"tunnel\": \"%s\"", sim_ids[i]);
		ret->connects |= strstr(text, connect) ? 1u << i : 0;
	}
	if (ret_text)
		*ret_text = text;
	else
		free(text);
}
