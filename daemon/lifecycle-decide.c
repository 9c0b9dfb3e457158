/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What nobody asked for: the policy is asked, and what it decides is done, now or when its time has come. */

#include "daemon/lifecycle-step.h"

/* The restart that is meant where nothing more is said: at once, same endpoint, same worker. */
const struct policy_action lifecycle_plain_restart = {.type = POLICY_ACTION_RESTART};
const struct policy_action lifecycle_plain_terminate = {.type = POLICY_ACTION_TERMINATE, .traffic = POLICY_TRAFFIC_BLOCK};

static void act(struct step *step, size_t index, const struct policy_decision *decision);
static void carry_on(struct step *step, size_t index, const struct policy_action *action, enum decided_by by);

static void wait_delay(struct step *step, size_t index, const struct policy_action *action, uint64_t delay_usec, bool hastens)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	step_enter(step, index, TUNNEL_WAITING, tunnel->error);
	tunnel->pending.kind = PENDING_DELAY;
	tunnel->pending.then = NULL;
	tunnel->pending.decided = true;
	tunnel->pending.endpoint = action->endpoint;
	tunnel->pending.worker = action->worker;
	tunnel->pending.hastens = hastens;
	tunnel->deadline_usec = add_usec(step->now, delay_usec);
}

bool step_event_holds(const struct step *step, enum policy_event event)
{
	bool available = step->life->available;
	return (event == POLICY_EVENT_NETWORK_AVAILABLE && available) || (event == POLICY_EVENT_NETWORK_LOST && !available);
}

static void wait_for(struct step *step, size_t index, const struct policy_action *action)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	const struct policy_action *then = action->then ? action->then : &lifecycle_plain_restart;
	if (action->until_event && step_event_holds(step, action->wait_event)) {
		carry_on(step, index, then, DECIDED_BY_THEN);
		return;
	}
	step_enter(step, index, TUNNEL_WAITING, tunnel->error);
	tunnel->pending.kind = action->until_event ? PENDING_EVENT : PENDING_DELAY;
	tunnel->pending.event = action->wait_event;
	tunnel->pending.then = then;
	tunnel->pending.decided = false;
	tunnel->pending.on_timeout = action->on_timeout;
	tunnel->pending.hastens = false;
	tunnel->deadline_usec = add_usec(step->now, action->until_event ? action->timeout_usec : action->wait_usec);
}

static void ask(struct step *step, size_t index, const struct policy_action *action)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	step_enter(step, index, TUNNEL_DECIDING, tunnel->error);
	tunnel->pending.kind = PENDING_ASK;
	tunnel->pending.on_timeout = action->on_timeout;
	tunnel->deadline_usec = add_usec(step->now, action->timeout_usec);
	step_record(step); /* the question and its deadline outlive the daemon */
	struct effect *effect = step_emit(step, EFFECT_ANNOUNCE_PENDING, index);
	effect->decision_id = tunnel->pending.id;
	effect->deadline_usec = tunnel->deadline_usec;
	effect->error = tunnel->error;
}

/* Whether OTHER carries all that TUNNEL does. What takes the place of more than it carries would let the rest go. */
static bool carries_as_much(const struct lifecycle_tunnel *other, const struct lifecycle_tunnel *tunnel)
{
	if (other->all || tunnel->all)
		return other->all;
	for (size_t i = 0; i < tunnel->route_count; i++)
		if (!ip_prefix_inside_any(other->routes, other->route_count, &tunnel->routes[i]))
			return false;
	return true;
}

static size_t find_other(struct step *step, size_t index, const struct policy_action *action)
{
	for (size_t i = 0; i < action->tunnel_count; i++) {
		size_t other = lifecycle_find(step->life, action->tunnels[i]);
		if (other != LIFECYCLE_NONE && other != index && carries_as_much(step_tunnel(step, other), step_tunnel(step, index)))
			return other;
	}
	return LIFECYCLE_NONE;
}

/* This tunnel rests, another takes over; with none that can, it ends closed. */
static void fail_over(struct step *step, size_t index, const struct policy_action *action)
{
	size_t other = find_other(step, index, action);
	if (other == LIFECYCLE_NONE) {
		step_terminate(step, index, POLICY_TRAFFIC_BLOCK);
		return;
	}
	step_start(step, other, false); /* its demand stands from here on ... */
	step_tunnel(step, other)->fresh_start = false; /* ... whatever becomes of its start: nobody else holds any more */
	step_tunnel(step, index)->wanted = false;
	step_orderly_stop(step, index, TUNNEL_ERROR_SUPERSEDED);
}

static void fail_over_later(struct step *step, size_t index, const struct policy_action *action, uint64_t delay_usec)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	wait_delay(step, index, action, delay_usec, false);
	tunnel->pending.then = action;
}

/* An attempt that fails as soon as it is made must not be made again and again without a pause; nor one whose gate failed. */
static uint64_t spaced(const struct step *step, const struct lifecycle_tunnel *tunnel, uint64_t delay_usec)
{
	if (step->gate_failed)
		delay_usec = MAX_OF(delay_usec, LIFECYCLE_GATE_RETRY_USEC);
	uint64_t soonest = tunnel->attempt_usec ? add_usec(tunnel->attempt_usec, LIFECYCLE_SPACING_USEC) : 0;
	return soonest > step->now ? MAX_OF(delay_usec, soonest - step->now) : delay_usec;
}

static void act(struct step *step, size_t index, const struct policy_decision *decision)
{
	const struct policy_action *action = decision->action;
	uint64_t delay_usec = decision->delay_usec;
	switch (action->type) {
	case POLICY_ACTION_RESTART:
		delay_usec = spaced(step, step_tunnel(step, index), delay_usec);
		if (delay_usec > 0)
			wait_delay(step, index, action, delay_usec, !decision->limited);
		else
			step_restart_now(step, index, action->endpoint, action->worker);
		break;
	case POLICY_ACTION_FAILOVER:
		delay_usec = spaced(step, step_tunnel(step, index), delay_usec);
		if (delay_usec > 0)
			fail_over_later(step, index, action, delay_usec);
		else
			fail_over(step, index, action);
		break;
	case POLICY_ACTION_WAIT:
		wait_for(step, index, action);
		break;
	case POLICY_ACTION_ASK:
		ask(step, index, action);
		break;
	case POLICY_ACTION_TERMINATE:
		step_terminate(step, index, action->traffic);
		break;
	case POLICY_ACTION_CONNECT: {
		size_t other = action->tunnel_count ? lifecycle_find(step->life, action->tunnels[0]) : LIFECYCLE_NONE;
		if (other != LIFECYCLE_NONE)
			step_start(step, other, false);
		break;
	}
	case POLICY_ACTION_DISCONNECT:
		if (action->traffic == POLICY_TRAFFIC_RELEASE)
			step_stop(step, index);
		else
			step_terminate(step, index, POLICY_TRAFFIC_BLOCK);
		break;
	case POLICY_ACTION_NONE:
	case POLICY_ACTION_IGNORE:
		break;
	}
}

static void describe(struct step *step, const struct lifecycle_tunnel *tunnel, enum policy_event event, struct policy_context *ret)
{
	const struct lifecycle *life = step->life;
	*ret = (struct policy_context){
		.event = event,
		.now_usec = step->now,
		.wall_minute = life->wall_minute,
		.wall_day = life->wall_day,
		.random = step_draw(step->life),
		.network = life->network,
	};
	ret->network.available = life->available ? POLICY_TRUE : POLICY_FALSE;
	if (!tunnel)
		return;
	ret->error = event == POLICY_EVENT_WILL_STOP ? tunnel->error : TUNNEL_ERROR_NONE;
	ret->tunnel = tunnel->id;
	ret->driver = tunnel->driver;
	ret->endpoint = tunnel->endpoint < tunnel->endpoint_count ? tunnel->endpoints[tunnel->endpoint] : NULL;
	ret->phase = tunnel->connected_usec ? POLICY_PHASE_CONNECTED : POLICY_PHASE_CONNECTING;
	ret->attempt = tunnel->attempt;
	ret->connected_for_usec = tunnel->connected_usec ? step->now - tunnel->connected_usec : 0;
	ret->history = &tunnel->history;
}

/* INDEX is LIFECYCLE_NONE where the host's event came to a `connect` of nobody. What a tunnel waits for need not be what its `connect` is about: that has a number of its own. */
static struct effect *announce_decision(struct step *step, size_t index, enum policy_event event, const struct policy_decision *decision)
{
	struct effect *effect = step_emit(step, EFFECT_ANNOUNCE_DECISION, index);
	bool connects = decision->action->type == POLICY_ACTION_CONNECT;
	effect->event = event;
	effect->decision = *decision;
	effect->missing = connects && lifecycle_find(step->life, decision->action->tunnels[0]) == LIFECYCLE_NONE;
	effect->by = DECIDED_BY_POLICY;
	effect->policy = step->life->policy;
	if (index != LIFECYCLE_NONE) {
		effect->decision_id = step_tunnel(step, index)->pending.id;
		effect->error = step_tunnel(step, index)->error;
		effect->attempt = step_tunnel(step, index)->attempt;
	}
	if (connects)
		effect->decision_id = ++step->life->next_decision;
	return effect;
}

/* The policy decided: what was pending is replaced by what this will come to. */
static void begin_decision(struct step *step, struct lifecycle_tunnel *tunnel, const struct policy_decision *decision)
{
	tunnel->pending = (struct lifecycle_pending){
		.id = ++step->life->next_decision,
		.policy = step->life->policy,
		.rule = decision->rule,
	};
}

/* EFFECT_GATE speaks of the state after the step; where that is open, it must not come first. */
static bool releases(const struct policy_action *action)
{
	return (action->type == POLICY_ACTION_TERMINATE || action->type == POLICY_ACTION_DISCONNECT) && action->traffic == POLICY_TRAFFIC_RELEASE;
}

static bool is_restart(const struct policy_action *action)
{
	return action->type == POLICY_ACTION_RESTART || action->type == POLICY_ACTION_FAILOVER;
}

/* A restart counts at the time it was decided for: that of its start, which a delay moves. */
static void remember(struct step *step, struct lifecycle_tunnel *tunnel, int rule, const struct policy_decision *decision)
{
	policy_history_decided(&tunnel->history, rule, is_restart(decision->action), add_usec(step->now, decision->delay_usec));
}

/* Behind a network's sign-in page nothing comes through, and what it looks like says nothing of the server. */
static enum tunnel_error seen_through_portal(const struct step *step, const struct lifecycle_tunnel *tunnel, enum tunnel_error error)
{
	static const enum tunnel_error veiled[] = {TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_CONNECTION_TIMEOUT,
		TUNNEL_ERROR_NETWORK_UNREACHABLE, TUNNEL_ERROR_NAME_RESOLUTION_FAILED, TUNNEL_ERROR_TLS_FAILURE};
	if (step->life->portal && !tunnel->connected_usec)
		for (size_t i = 0; i < ELEMENTSOF(veiled); i++)
			if (error == veiled[i])
				return TUNNEL_ERROR_CAPTIVE_PORTAL;
	return error;
}

/* What was up and fell silent, or broke, when the uplink became another: that is no fault of the server's. What the server says itself is. */
static enum tunnel_error lost_with_uplink(const struct step *step, const struct lifecycle_tunnel *tunnel, enum tunnel_error error)
{
	static const enum tunnel_error veiled[] = {TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_CONNECTION_TIMEOUT,
		TUNNEL_ERROR_SERVER_DISCONNECTED, TUNNEL_ERROR_PEER_UNRESPONSIVE, TUNNEL_ERROR_NETWORK_UNREACHABLE, TUNNEL_ERROR_TLS_FAILURE};
	uint64_t changed = step->life->uplink_changed_usec;
	bool through_it = changed && tunnel->connected_usec && tunnel->connected_usec <= changed;
	if (through_it && step->life->available && step->now <= add_usec(changed, LIFECYCLE_UPLINK_USEC))
		for (size_t i = 0; i < ELEMENTSOF(veiled); i++)
			if (error == veiled[i])
				return TUNNEL_ERROR_UPLINK_CHANGED;
	return error;
}

/*
 * The tunnel stopped and nobody asked for it. Closes, then decides. CAN_CLOSE is false only when it is the gate itself that failed: then
 * nothing is started at once, so that a gate that cannot be verified is tried again at a bounded rate.
 */
void step_unexpected_stop(struct step *step, size_t index, enum tunnel_error error, bool can_close)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	struct policy_context context;
	struct policy_decision decision;
	error = seen_through_portal(step, tunnel, error);
	error = lost_with_uplink(step, tunnel, error);
	tunnel->error = error;
	tunnel->fresh_start = false;
	step_note_stable(step, tunnel); /* the clock's own event may come after the stop's */
	if (step->life->available)
		tunnel->attempt++;
	describe(step, tunnel, POLICY_EVENT_WILL_STOP, &context);
	policy_evaluate(step->life->policy, &context, &decision);
	if (can_close && !releases(decision.action))
		step_gate(step);
	struct effect *effect = step_emit(step, EFFECT_ANNOUNCE_STOP, index);
	effect->error = error;
	effect->phase = context.phase;
	effect->attempt = tunnel->attempt;
	step_enter(step, index, TUNNEL_DECIDING, error);
	begin_decision(step, tunnel, &decision);
	remember(step, tunnel, decision.rule, &decision);
	announce_decision(step, index, POLICY_EVENT_WILL_STOP, &decision);
	step->gate_failed |= !can_close;
	act(step, index, &decision);
}

/*
 * What a decision leads to later: a wait's `then`, an `onTimeout`. Delay and limits are those of the policy it came from; the plain
 * actions of this file (an answer, or a decision that outlived its policy) have none.
 */
static void carry_on(struct step *step, size_t index, const struct policy_action *action, enum decided_by by)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	const struct policy *policy = tunnel->pending.policy;
	const int rule = policy ? tunnel->pending.rule : POLICY_RULE_NONE;
	struct policy_context context;
	struct policy_decision decision = {.action = action};
	if (policy && action != &lifecycle_plain_restart && action != &lifecycle_plain_terminate) {
		const int counted = policy_same(policy, step->life->policy) ? rule : POLICY_RULE_NONE; /* counts are of the running policy's rules */
		describe(step, tunnel, POLICY_EVENT_WILL_STOP, &context);
		policy_carry_on(policy, &context, counted, action, &decision);
		if (is_restart(decision.action))
			remember(step, tunnel, counted, &decision);
	}
	decision.rule = rule;
	decision.rule_name = policy ? policy_rule_name(policy, rule) : NULL;
	struct effect *effect = announce_decision(step, index, POLICY_EVENT_WILL_STOP, &decision);
	effect->by = by;
	effect->policy = policy;
	act(step, index, &decision);
}

void step_resolve_pending(struct step *step, size_t index, const struct policy_action *action, enum decided_by by)
{
	if (!releases(action))
		step_gate(step); /* stands closed; seen again before anything is started */
	step_record_if_asked(step, index);
	carry_on(step, index, action, by);
}

void step_do_decided(struct step *step, size_t index, const struct policy_action *action)
{
	step_gate(step);
	act(step, index, &(struct policy_decision){.action = action});
}

void step_hasten(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	uint64_t soonest = add_usec(step->now, spaced(step, tunnel, 0));
	step->effects->changed = true;
	if (soonest > step->now) {
		tunnel->deadline_usec = MIN_OF(tunnel->deadline_usec, soonest);
		return;
	}
	step_gate(step);
	step_restart_now(step, index, tunnel->pending.endpoint, tunnel->pending.worker);
}

/* No tunnel is wanted, so that only `connect` has somebody to speak of: the decision is about the tunnel that it names. */
static void connect_for_host(struct step *step, enum policy_event event, const struct policy_decision *decision)
{
	if (decision->action->type != POLICY_ACTION_CONNECT || decision->action->tunnel_count == 0)
		return;
	size_t index = lifecycle_find(step->life, decision->action->tunnels[0]);
	announce_decision(step, index, event, decision);
	if (index != LIFECYCLE_NONE)
		step_start(step, index, false);
}

/* One tunnel's (or, INDEX being LIFECYCLE_NONE, the host's) judgement of an event that is no stop. */
bool step_judge(struct step *step, size_t index, enum policy_event event)
{
	struct policy_context context;
	struct policy_decision decision;
	struct lifecycle_tunnel *tunnel = index == LIFECYCLE_NONE ? NULL : step_tunnel(step, index);
	describe(step, tunnel, event, &context);
	policy_evaluate(step->life->policy, &context, &decision);
	if (!decision.action || decision.action->type == POLICY_ACTION_IGNORE)
		return false;
	if (!tunnel) {
		connect_for_host(step, event, &decision);
		return false;
	}
	bool replaces = decision.action->type != POLICY_ACTION_CONNECT;
	bool asked = tunnel->pending.kind == PENDING_ASK;
	if (replaces)
		begin_decision(step, tunnel, &decision);
	remember(step, tunnel, decision.rule, &decision);
	announce_decision(step, index, event, &decision);
	if (!releases(decision.action))
		step_gate(step);
	if (asked && (is_restart(decision.action) || decision.action->type == POLICY_ACTION_WAIT)) /* a wait: what `limits` made of a restart */
		step_record(step); /* it never comes back */
	act(step, index, &decision);
	return replaces;
}
