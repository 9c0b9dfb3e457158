/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the model makes of decisions: each is held against the policy that it is of, and leaves something to happen. The document's
 * actions are walked here anew, with delays, limits and counts kept by what was announced.
 */

#include "tests/sim/sim.h"

#include <string.h>

/* ---- what a decision leaves ---- */

void model_leave(struct model_tunnel *tunnel, enum node_kind kind, uint64_t due)
{
	tunnel->kind = kind;
	tunnel->due_usec = due;
	tunnel->exact = true;
	tunnel->failover = NULL;
	tunnel->hastens = false;
}

bool model_has_happened(const struct world *world, enum policy_event event)
{
	return (event == POLICY_EVENT_NETWORK_AVAILABLE && world->network) || (event == POLICY_EVENT_NETWORK_LOST && !world->network);
}

/* ACTION is what the decision that waits comes to in this step, for the reason BY. */
void model_expect(struct model_tunnel *tunnel, enum decided_by by, const struct policy_action *action)
{
	tunnel->expected = action;
	tunnel->expected_by = by;
}

static void wait_begins(struct world *world, struct model_tunnel *tunnel, const struct policy_action *action)
{
	model_leave(tunnel, action->until_event ? NODE_EVENT : NODE_DELAY, later(world->now, action->until_event ? action->timeout_usec : action->wait_usec));
	tunnel->event = action->wait_event;
	tunnel->then = action->then;
	tunnel->on_timeout = action->on_timeout;
	if (action->until_event && model_has_happened(world, action->wait_event))
		model_expect(tunnel, DECIDED_BY_THEN, action->then);
}

static void take_action(struct world *world, struct model_tunnel *tunnel, const struct policy_decision *decision)
{
	const struct policy_action *action = decision->action;
	tunnel->may_unrelease |= action->type != POLICY_ACTION_CONNECT;
	switch (action->type) {
	case POLICY_ACTION_RESTART:
	case POLICY_ACTION_FAILOVER:
		model_leave(tunnel, NODE_START, later(world->now, decision->delay_usec));
		tunnel->hastens = action->type == POLICY_ACTION_RESTART && !decision->limited;
		tunnel->failover = action->type == POLICY_ACTION_FAILOVER ? action : NULL;
		break;
	case POLICY_ACTION_WAIT:
		wait_begins(world, tunnel, action);
		break;
	case POLICY_ACTION_ASK:
		model_leave(tunnel, NODE_ASK, later(world->now, action->timeout_usec));
		tunnel->on_timeout = action->on_timeout;
		break;
	case POLICY_ACTION_TERMINATE:
		model_leave(tunnel, NODE_END, USEC_INFINITY);
		tunnel->must_release = action->traffic == POLICY_TRAFFIC_RELEASE;
		tunnel->may_release |= tunnel->must_release;
		tunnel->may_unrelease = !tunnel->must_release;
		break;
	case POLICY_ACTION_DISCONNECT:
		tunnel->must_release = false;
		model_leave(tunnel, NODE_END, USEC_INFINITY);
		if (action->traffic == POLICY_TRAFFIC_RELEASE) {
			tunnel->wanted = false;
			tunnel->may_unwant = true;
		}
		break;
	case POLICY_ACTION_CONNECT:
	case POLICY_ACTION_IGNORE:
	case POLICY_ACTION_NONE:
		break;
	}
}

void model_allow_start(struct world *world, size_t index)
{
	struct model_tunnel *tunnel = of(world, index);
	bool rests = tunnel->state == TUNNEL_DISCONNECTED || tunnel->state == TUNNEL_FAILED;
	tunnel->may_want = tunnel->may_unrelease = true;
	tunnel->fresh |= !tunnel->wanted && rests;
	if (!tunnel->wanted || rests)
		model_leave(tunnel, NODE_START, world->now);
}

/* It starts, whatever it waited for. */
static void starts(struct world *world, size_t index)
{
	struct model_tunnel *tunnel = of(world, index);
	bool pending = tunnel->state == TUNNEL_WAITING || tunnel->state == TUNNEL_DECIDING;
	model_allow_start(world, index);
	if (!tunnel->wanted || !pending || world->core.stopping)
		return;
	model_leave(tunnel, NODE_START, world->now);
	tunnel->replaced = true;
}

/* The first of the action's tunnels that there is, is another, and carries as much. */
static size_t find_target(size_t index, const struct policy_action *action)
{
	for (size_t i = 0; i < action->tunnel_count; i++)
		for ALL_TUNNELS (j)
			if (j != index && strcmp(action->tunnels[i], sim_ids[j]) == 0 && (sim_configs[j].all || !sim_configs[index].all))
				return j;
	return LIFECYCLE_NONE;
}

bool model_nobody_takes_over(const struct world *world, size_t index)
{
	const struct model_tunnel *tunnel = &world->model.tunnels[index];
	return tunnel->failover && find_target(index, tunnel->failover) == LIFECYCLE_NONE;
}

void model_fail_over_when_due(struct world *world, size_t index)
{
	struct model_tunnel *tunnel = of(world, index);
	if (tunnel->kind != NODE_START || !tunnel->failover || tunnel->due_usec > world->now)
		return;
	size_t target = find_target(index, tunnel->failover);
	if (target == LIFECYCLE_NONE)
		return;
	tunnel->may_unwant = tunnel->may_unrelease = tunnel->hands_over = true;
	model_allow_start(world, target);
	of(world, target)->takes_over = of(world, target)->replaced = true; /* it may: attempts are spaced */
}

/* ---- what it may be ---- */

static bool is_restart(const struct policy_action *action)
{
	return action->type == POLICY_ACTION_RESTART || action->type == POLICY_ACTION_FAILOVER;
}

static void count_restart(struct world *world, size_t index, const struct sim_policy *policy, uint64_t due)
{
	struct past *past = &of(world, index)->past;
	unsigned within = 0;
	for (unsigned i = 0; i < MIN_OF(past->restart_count, (unsigned)SIM_RESTARTS); i++)
		within += past->restarts[i] <= due && due - past->restarts[i] < policy->per_usec;
	if (policy->limit && within >= policy->limit)
		violate(world, INVARIANT_LIMITS, "%s: restart %u within %llu ms, %u are allowed", sim_ids[index], within + 1,
			(unsigned long long)(policy->per_usec / USEC_PER_MSEC), policy->limit);
	past->restarts[past->restart_count++ % SIM_RESTARTS] = due;
}

/* The DECISION is its rule's number COUNT since stable. */
static void judge_delay(struct world *world, size_t index, const struct policy_decision *decision, unsigned count)
{
	const struct policy_delay *delay = &decision->action->delay;
	double usec = (double)delay->initial_usec, is = (double)decision->delay_usec;
	if (decision->action->type != POLICY_ACTION_RESTART)
		return;
	while (count-- > 1 && usec < (double)delay->max_usec)
		usec *= delay->factor;
	usec = MIN_OF(usec, (double)delay->max_usec);
	if (is + 1 < usec * (1 - delay->jitter) || (!decision->limited && is - 1 > usec * (1 + delay->jitter)))
		violate(world, INVARIANT_BACKOFF, "%s: a delay of %llu ms where %.0f ms are due", sim_ids[index],
			(unsigned long long)(decision->delay_usec / USEC_PER_MSEC), usec / USEC_PER_MSEC);
}

/* Counts are of the running policy's rules: a decision that came of another's is its first. */
static void judge_counts(struct world *world, size_t index, const struct policy_decision *decision, bool running)
{
	struct past *past = &of(world, index)->past;
	uint8_t *count = &past->counts[(decision->rule + 1) % SIM_RULES];
	if (past->counted || !running)
		judge_delay(world, index, decision, running ? *count + 1u : 1);
	*count += running && *count < UINT8_MAX;
}

static const char *name_of(size_t tunnel)
{
	return tunnel == LIFECYCLE_NONE ? "the host" : sim_ids[tunnel];
}

static void judge_policy(struct world *world, const struct effect *effect, const struct sim_policy *policy)
{
	if (!effect->policy || strcmp(policy_hash(effect->policy), policy_hash(policy->policy)) != 0)
		violate(world, INVARIANT_WHOSE_POLICY, "%s: %s by %s is told as of another policy than it is of", name_of(effect->tunnel),
			policy_action_to_string(effect->decision.action->type), decided_by_to_string(effect->by));
}

/* The answers and the default that the model knows of are its own: the same in what they do. */
static bool is_action(const struct policy_action *is, const struct policy_action *should)
{
	return is == should || (is->type == should->type && is->traffic == should->traffic && !should->then && !should->on_timeout && !should->tunnel_count &&
				       should->delay.initial_usec == 0);
}

/* ---- a decision is told ---- */

static void told_later(struct world *world, const struct effect *effect)
{
	struct model_tunnel *tunnel = of(world, effect->tunnel);
	const struct policy_decision *decision = &effect->decision;
	const struct sim_policy *policy = &world->policies[tunnel->past.policy];
	bool running = strcmp(policy_hash(policy->policy), policy_hash(world->policies[world->policy].policy)) == 0;
	if (!tunnel->expected || tunnel->expected_by != effect->by)
		violate(world, INVARIANT_CARRIED_ON, "%s: told as decided by %s, and %s", sim_ids[effect->tunnel], decided_by_to_string(effect->by),
			tunnel->expected ? decided_by_to_string(tunnel->expected_by) : "nothing was to be");
	else if (!is_action(decision->action, tunnel->expected) && !(decision->limited && is_restart(tunnel->expected)))
		violate(world, INVARIANT_CARRIED_ON, "%s: %s is told, and %s was to follow", sim_ids[effect->tunnel],
			policy_action_to_string(decision->action->type), policy_action_to_string(tunnel->expected->type));
	judge_policy(world, effect, policy);
	if (effect->decision_id != tunnel->past.decision)
		violate(world, INVARIANT_NUMBERED, "%s: what comes of decision %llu is told as of %llu", sim_ids[effect->tunnel],
			(unsigned long long)tunnel->past.decision, (unsigned long long)effect->decision_id);
	tunnel->expected = NULL;
	if (effect->by == DECIDED_BY_ANSWER || !is_restart(decision->action))
		return; /* whoever answers is not bound */
	judge_counts(world, effect->tunnel, decision, running);
	count_restart(world, effect->tunnel, policy, later(world->now, decision->delay_usec));
}

static void judge_number(struct world *world, const struct effect *effect)
{
	if (effect->decision_id <= world->model.last_decision)
		violate(world, INVARIANT_NUMBERED, "%s: a decision is told as number %llu, and %llu was told before", name_of(effect->tunnel),
			(unsigned long long)effect->decision_id, (unsigned long long)world->model.last_decision);
	world->model.last_decision = effect->decision_id;
}

static void told_at_once(struct world *world, const struct effect *effect)
{
	struct model_tunnel *tunnel = of(world, effect->tunnel);
	const struct policy_decision *decision = &effect->decision;
	tunnel->decisions += effect->event == POLICY_EVENT_WILL_STOP;
	judge_counts(world, effect->tunnel, decision, true);
	if (is_restart(decision->action))
		count_restart(world, effect->tunnel, &world->policies[world->policy], later(world->now, decision->delay_usec));
	if (decision->action->type == POLICY_ACTION_CONNECT)
		return;
	tunnel->expected = NULL;
	tunnel->past.policy = world->policy;
	tunnel->past.decision = effect->decision_id;
}

/* True if some tunnel is the one that it names. */
static bool allow_connecting(struct world *world, const struct policy_action *action)
{
	for ALL_TUNNELS (i)
		if (strcmp(action->tunnels[0], sim_ids[i]) == 0) {
			starts(world, i);
			return true;
		}
	return false;
}

void model_decision(struct world *world, const struct effect *effect)
{
	bool connects = effect->decision.action->type == POLICY_ACTION_CONNECT;
	bool missing = connects && !allow_connecting(world, effect->decision.action);
	if (effect->missing != missing)
		violate(world, INVARIANT_STATUS, "%s: connect is told as of a tunnel that is %s", name_of(effect->tunnel), missing ? "there" : "not there");
	if (effect->by == DECIDED_BY_POLICY) {
		judge_number(world, effect);
		judge_policy(world, effect, &world->policies[world->policy]);
	}
	if (effect->tunnel == LIFECYCLE_NONE)
		return;
	if (effect->by == DECIDED_BY_POLICY)
		told_at_once(world, effect);
	else
		told_later(world, effect);
	take_action(world, of(world, effect->tunnel), &effect->decision);
	model_fail_over_when_due(world, effect->tunnel);
}

/* ---- what is remembered ---- */

void model_forget(struct model_tunnel *tunnel)
{
	tunnel->attempt = 0;
	memset(tunnel->past.counts, 0, sizeof tunnel->past.counts);
	tunnel->past.counted = true;
}

void model_policy_replaced(struct world *world)
{
	for ALL_TUNNELS (i) {
		memset(of(world, i)->past.counts, 0, sizeof of(world, i)->past.counts);
		of(world, i)->past.counted = true;
	}
}

/* A new daemon knows what the disk says: the restarts of its boot, and counts of the policy that still runs. */
void model_remember(struct world *world, size_t index)
{
	const struct disk *disk = &world->disk;
	struct past *past = &of(world, index)->past;
	uint64_t pending = world->core.tunnels[index].pending.id;
	bool same_policy = strcmp(policy_hash(world->policies[disk->policy].policy), policy_hash(world->policies[world->policy].policy)) == 0;
	*past = disk->exists ? disk->past[index] : (struct past){.counted = true};
	if (past->decision != pending)
		past->policy = disk->policy; /* decided, saved, and not told any more */
	past->decision = pending;
	if (world->first_of_boot)
		past->restart_count = 0;
	if (same_policy)
		return;
	memset(past->counts, 0, sizeof past->counts);
	past->counted = true;
}
