/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "lifecycle-rig.h"

#include <string.h>

#include "suite.h"
#include "util/fields.h"
#include "util/text.h"

struct lifecycle life;
struct effects effects;
struct policy *policy;
uint64_t now;
static char line[2048];

static const char *const endpoints[] = {"192.0.2.1:51820/udp", "192.0.2.2:51820/udp"};

static const char rules[] =
	"{\"version\": 1, \"stableAfter\": \"30s\", \"rules\": ["
	"{\"when\": {\"error\": \"connectionCouldNotBeEstablished\", \"attempt\": {\"max\": 2}}, \"then\": {\"action\": \"restart\"}},"
	"{\"when\": {\"error\": \"connectionCouldNotBeEstablished\"}, \"then\": {\"action\": \"restart\", \"delay\": \"5s\", \"endpoint\": \"next\"}},"
	"{\"when\": {\"error\": \"workerCrashed\"}, \"then\": {\"action\": \"restart\"}},"
	"{\"when\": {\"error\": \"workerUnresponsive\"}, \"then\": {\"action\": \"restart\", \"worker\": \"fresh\"}},"
	"{\"when\": {\"error\": \"serverBusy\"}, \"then\": {\"action\": \"wait\", \"until\": \"10s\", \"then\": {\"action\": \"restart\"}}},"
	"{\"when\": {\"error\": \"captivePortal\"}, \"then\": {\"action\": \"wait\", \"until\": \"networkChanged\", \"timeout\": \"60s\"}},"
	"{\"when\": {\"error\": \"authenticationFailed\"}, \"then\": {\"action\": \"ask\", \"timeout\": \"2m\"}},"
	"{\"when\": {\"error\": \"sessionExpired\"}, \"then\": {\"action\": \"wait\", \"until\": \"networkChanged\", \"timeout\": \"10s\","
	" \"onTimeout\": {\"action\": \"ask\", \"timeout\": \"2m\", \"onTimeout\": {\"action\": \"wait\", \"until\": \"20s\","
	" \"then\": {\"action\": \"terminate\", \"traffic\": \"release\"}}}}},"
	"{\"when\": {\"error\": \"sessionRefused\"}, \"then\": {\"action\": \"terminate\", \"traffic\": \"release\"}},"
	"{\"when\": {\"error\": \"firewallFailure\"}, \"then\": {\"action\": \"restart\"}}],"
	"\"otherwise\": {\"action\": \"terminate\"}}";

void add_tunnel(size_t index, const char *id, bool all)
{
	struct lifecycle_tunnel *tunnel = lifecycle_add(&life, index, now);
	tunnel->id = id;
	tunnel->driver = "wireguard";
	tunnel->endpoints = endpoints;
	tunnel->endpoint_count = ELEMENTSOF(endpoints);
	tunnel->all = all;
	tunnel->connect_timeout_usec = 30 * SECOND;
}

void use_policy(const char *text)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = json_tokener_parse(text);
	policy = policy_unref(policy);
	CU_ASSERT_EQUAL_FATAL(policy_new(document, &policy, &problems), 0);
	life.policy = policy;
}

void set_up(void)
{
	use_policy(rules);
	lifecycle_init(&life, policy, 1);
	life.available = true;
	now = 1000 * SECOND;
	add_tunnel(0, "home", true);
}

static void describe_effect(struct text *text, const struct effect *effect)
{
	text_append(text, "%s%s", text->length ? " " : "", effect_to_string(effect->type));
	if (effect->type == EFFECT_ANNOUNCE_STATE)
		text_append(text, "(%s)", tunnel_state_to_string(effect->new));
	else if (effect->type == EFFECT_ANNOUNCE_DECISION)
		text_append(text, "(%s)", policy_action_to_string(effect->decision.action->type));
	if (lifecycle_has(&life, 1) && effect->tunnel != LIFECYCLE_NONE)
		text_append(text, "@%s", life.tunnels[effect->tunnel].id);
}

const char *play_event(struct lifecycle_event event)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	event.now_usec = now;
	lifecycle_step(&life, &event, &effects);
	for (size_t i = 0; i < effects.count; i++)
		describe_effect(&text, &effects.items[i]);
	snprintf(line, sizeof line, "%s", text.bytes ? text.bytes : "");
	return line;
}

const char *play(enum lifecycle_event_type type, size_t tunnel)
{
	return play_event((struct lifecycle_event){.type = type, .tunnel = tunnel});
}

/* A user's start whose gate closes; what follows it. */
const char *start_and_go_on(size_t tunnel)
{
	const char *first = play(LIFECYCLE_USER_START, tunnel);
	CU_ASSERT_TRUE(strncmp(first, "gate started", strlen("gate started")) == 0);
	return play(LIFECYCLE_STARTED, tunnel);
}

const char *stop_with(enum tunnel_error error)
{
	return play_event((struct lifecycle_event){.type = LIFECYCLE_WORKER_WILL_STOP, .tunnel = 0, .error = error});
}

const char *contacting(void)
{
	struct lifecycle_event event = {.type = LIFECYCLE_WORKER_CONTACTING};
	endpoint_parse(endpoints[0], &event.endpoint);
	return play_event(event);
}

const char *after(uint64_t usec)
{
	now += usec;
	return play(LIFECYCLE_TIME, LIFECYCLE_NONE);
}

void connect_home(void)
{
	set_up();
	start_and_go_on(0);
	play(LIFECYCLE_WORKER_HELLO, 0);
	contacting();
	play(LIFECYCLE_WORKER_UP, 0);
	CU_ASSERT_EQUAL(life.tunnels[0].state, TUNNEL_CONNECTED);
}

const char *network_is(bool available)
{
	return play_event((struct lifecycle_event){.type = LIFECYCLE_NETWORK, .tunnel = LIFECYCLE_NONE, .available = available});
}

const struct effect *decision_told(void)
{
	const struct effect *told = NULL;
	for (size_t i = 0; i < effects.count; i++)
		if (effects.items[i].type == EFFECT_ANNOUNCE_DECISION)
			told = &effects.items[i];
	CU_ASSERT_PTR_NOT_NULL_FATAL(told);
	return told;
}
