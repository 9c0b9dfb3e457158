/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What must hold, from what was asked, announced and decided: never from how the lifecycle does it. Per tunnel it follows two things. Who
 * wants it, and who gave that up: each change needs somebody who may (a licence of the step). And what the last decision leaves to
 * happen, a node: a start that is due, a wait, a question. It walks the document's actions by itself, with its own clock.
 */

#include "tests/sim/sim.h"

#include <string.h>

#define SLACK (1 * USEC_PER_SEC) /* what the spacing of attempts and a gate that failed may add to a delay */

static bool at_rest(enum tunnel_state state)
{
	return state == TUNNEL_DISCONNECTED || state == TUNNEL_FAILED;
}

static bool runs(enum tunnel_state state)
{
	return state == TUNNEL_CONNECTING || state == TUNNEL_REASSERTING || state == TUNNEL_CONNECTED;
}

void model_init(struct world *world)
{
	memset(&world->model, 0, sizeof world->model);
	for ALL_TUNNELS (i)
		of(world, i)->stable_usec = USEC_INFINITY;
	model_policy_replaced(world);
}

static void time_passed(struct world *world, size_t index)
{
	struct model_tunnel *tunnel = of(world, index);
	static const struct policy_action terminate = {.type = POLICY_ACTION_TERMINATE};
	if (tunnel->stable_usec <= world->now) {
		tunnel->stable_usec = USEC_INFINITY;
		model_forget(tunnel);
	}
	if (tunnel->due_usec > world->now || (world->core.stopping && tunnel->kind == NODE_ASK))
		return;
	if (tunnel->kind == NODE_DELAY)
		model_expect(tunnel, DECIDED_BY_THEN, tunnel->then);
	else if (tunnel->kind == NODE_EVENT || tunnel->kind == NODE_ASK)
		model_expect(tunnel, DECIDED_BY_TIMEOUT, tunnel->on_timeout ? tunnel->on_timeout : &terminate);
}

static void event_came(struct world *world, enum policy_event event)
{
	for ALL_TUNNELS (i) {
		if (of(world, i)->kind == NODE_EVENT && of(world, i)->event == event && !world->core.stopping)
			model_expect(of(world, i), DECIDED_BY_THEN, of(world, i)->then);
		else if (of(world, i)->kind == NODE_START && of(world, i)->hastens && event == POLICY_EVENT_NETWORK_AVAILABLE)
			of(world, i)->due_usec = MIN_OF(of(world, i)->due_usec, world->now);
		if (!(world->policies[world->policy].connects & 1u << i))
			continue;
		model_allow_start(world, i); /* it may; whether it must, the engine's own tests say */
		of(world, i)->exact &= of(world, i)->kind != NODE_START;
	}
}

static void answered(struct world *world, uint64_t id, bool restart)
{
	static const struct policy_action again = {.type = POLICY_ACTION_RESTART}, end = {.type = POLICY_ACTION_TERMINATE};
	for ALL_TUNNELS (i)
		if (of(world, i)->kind == NODE_ASK && of(world, i)->past.decision == id && of(world, i)->due_usec > world->now && !world->core.stopping)
			model_expect(of(world, i), DECIDED_BY_ANSWER, restart ? &again : &end);
}

/* ---- a step ---- */

static void user_starts(struct world *world, size_t index)
{
	struct model_tunnel *tunnel = of(world, index);
	bool pending = tunnel->state == TUNNEL_WAITING || tunnel->state == TUNNEL_DECIDING;
	if (world->core.stopping || (tunnel->wanted && !at_rest(tunnel->state) && !pending))
		return;
	tunnel->fresh = !tunnel->wanted && at_rest(tunnel->state);
	tunnel->may_want = tunnel->may_unrelease = true;
	tunnel->wanted = true;
	model_forget(tunnel);
	model_leave(tunnel, NODE_START, world->now);
}

static void user_restarts(struct world *world, size_t index)
{
	struct model_tunnel *tunnel = of(world, index);
	if (!tunnel->wanted || at_rest(tunnel->state) || tunnel->state == TUNNEL_DISCONNECTING) {
		user_starts(world, index);
	} else if (!world->core.stopping) {
		model_forget(tunnel);
		model_leave(tunnel, NODE_START, world->now);
	}
}

static void user_stops(struct world *world, size_t index)
{
	struct model_tunnel *tunnel = of(world, index);
	tunnel->wanted = tunnel->fresh = false;
	tunnel->may_unwant = tunnel->may_unrelease = true;
	model_leave(tunnel, NODE_END, USEC_INFINITY);
}

static void gives_way(struct world *world, size_t to)
{
	for ALL_TUNNELS (i)
		if (i != to && sim_configs[i].all && (to == LIFECYCLE_NONE || sim_configs[to].all))
			of(world, i)->may_unwant = of(world, i)->may_unrelease = of(world, i)->hands_over = true;
}

static void worker_is_gone(struct world *world, size_t index)
{
	struct model_tunnel *tunnel = of(world, index);
	bool unexpected = runs(tunnel->state) && !world->processes[index].killed;
	bool again = world->core.tunnels[index].again;
	tunnel->stops_min = unexpected && !again;
	tunnel->stops_max = unexpected;
}

static void licence(struct world *world, const struct lifecycle_event *event)
{
	struct model_tunnel *tunnel = event->tunnel < SIM_TUNNELS ? of(world, event->tunnel) : NULL;
	switch (event->type) {
	case LIFECYCLE_USER_START:
		user_starts(world, event->tunnel);
		break;
	case LIFECYCLE_USER_RESTART:
		user_restarts(world, event->tunnel);
		break;
	case LIFECYCLE_USER_STOP:
		user_stops(world, event->tunnel);
		break;
	case LIFECYCLE_STARTED:
		gives_way(world, event->tunnel);
		break;
	case LIFECYCLE_BEGIN:
		gives_way(world, LIFECYCLE_NONE);
		for ALL_TUNNELS (i) {
			of(world, i)->stops_max = 1;
			if (of(world, i)->kind == NODE_EVENT && model_has_happened(world, of(world, i)->event))
				model_expect(of(world, i), DECIDED_BY_THEN, of(world, i)->then);
		}
		break;
	case LIFECYCLE_SYSTEM_STOP:
		for ALL_TUNNELS (i)
			if (!at_rest(of(world, i)->state) && of(world, i)->kind != NODE_ASK) { /* a question waits for the next daemon */
				of(world, i)->may_unrelease = true;
				model_leave(of(world, i), NODE_NONE, USEC_INFINITY);
			}
		break;
	case LIFECYCLE_WORKER_WILL_STOP:
		tunnel->stops_min = tunnel->stops_max = runs(tunnel->state);
		break;
	case LIFECYCLE_WORKER_GONE:
		worker_is_gone(world, event->tunnel);
		break;
	case LIFECYCLE_PEER_SILENT:
	case LIFECYCLE_LINK_LOST:
		tunnel->stops_max = runs(tunnel->state);
		break;
	case LIFECYCLE_EFFECT_FAILED:
		for ALL_TUNNELS (i) {
			of(world, i)->stops_max = 1;
			of(world, i)->may_unwant |= of(world, i)->fresh && event->error == TUNNEL_ERROR_FIREWALL_FAILURE;
			if (world->core.tunnels[i].starting)
				gives_way(world, i);
		}
		break;
	case LIFECYCLE_TIME:
		for ALL_TUNNELS (i) {
			of(world, i)->stops_max = of(world, i)->state == TUNNEL_CONNECTING || of(world, i)->state == TUNNEL_REASSERTING || of(world, i)->state == TUNNEL_CONNECTED;
			time_passed(world, i);
		}
		break;
	case LIFECYCLE_NETWORK:
		event_came(world, event->available ? POLICY_EVENT_NETWORK_AVAILABLE : POLICY_EVENT_NETWORK_LOST);
		break;
	case LIFECYCLE_POLICY_EVENT:
		event_came(world, event->policy_event);
		break;
	case LIFECYCLE_ANSWER:
		answered(world, event->decision, event->restart);
		break;
	case LIFECYCLE_WORKER_HELLO:
		tunnel->stops_max = tunnel->state == TUNNEL_CONNECTED;
		break;
	case LIFECYCLE_WORKER_ASKING:
	case LIFECYCLE_ANSWERED:
	case LIFECYCLE_WORKER_CONTACTING:
	case LIFECYCLE_WORKER_UP:
	case LIFECYCLE_WORKER_STOPPED:
	case LIFECYCLE_MODE:
	case LIFECYCLE_EVENT_COUNT:
		break;
	}
}

static void judge_wanted(struct world *world, size_t i)
{
	struct model_tunnel *tunnel = of(world, i);
	const struct lifecycle_tunnel *core = &world->core.tunnels[i];
	if (core->wanted && !tunnel->wanted && !tunnel->may_want)
		violate(world, INVARIANT_WANTED_BY_WHOM, "%s became wanted on %s", sim_ids[i], lifecycle_event_to_string(world->model.event));
	if (!core->wanted && tunnel->wanted && !tunnel->may_unwant)
		violate(world, INVARIANT_OPENED_BY_WHOM, "%s is no longer wanted, on %s", sim_ids[i], lifecycle_event_to_string(world->model.event));
	if (core->released && !tunnel->released && !tunnel->may_release)
		violate(world, INVARIANT_OPENED_BY_WHOM, "%s was released on %s", sim_ids[i], lifecycle_event_to_string(world->model.event));
	if (!core->released && tunnel->released && !tunnel->may_unrelease)
		violate(world, INVARIANT_STATUS, "%s was released and is not any more, on %s", sim_ids[i], lifecycle_event_to_string(world->model.event));
	if (!core->released && tunnel->must_release && tunnel->kind == NODE_END && core->wanted && !tunnel->takes_over)
		violate(world, INVARIANT_STATUS, "%s is to be released, and is not", sim_ids[i]);
	tunnel->wanted = core->wanted;
	tunnel->released = core->released;
	if (!tunnel->wanted || tunnel->released)
		tunnel->confirmed = false;
	if (!tunnel->wanted)
		tunnel->takes_over = false;
	if (!tunnel->wanted)
		model_leave(tunnel, NODE_END, USEC_INFINITY);
}

static void forget_step(struct model_tunnel *tunnel)
{
	tunnel->may_want = tunnel->may_unwant = tunnel->may_release = tunnel->must_release = tunnel->may_unrelease = tunnel->hands_over = tunnel->opened_early = tunnel->replaced = false;
	tunnel->stops = tunnel->decisions = tunnel->stops_min = tunnel->stops_max = 0;
	tunnel->expected = NULL;
}

static void step_ends(struct world *world)
{
	if (!world->model.step_open)
		return;
	world->model.step_open = false;
	for ALL_TUNNELS (i) {
		struct model_tunnel *tunnel = of(world, i);
		if (tunnel->opened_early && !tunnel->hands_over && !tunnel->may_release && !tunnel->may_unwant)
			violate(world, INVARIANT_GATE_HELD, "%s gave way, and nothing took over", sim_ids[i]);
		judge_wanted(world, i);
		if (tunnel->stops != tunnel->decisions)
			violate(world, INVARIANT_ONE_DECISION, "%s: %u stops and %u decisions on %s", sim_ids[i], tunnel->stops, tunnel->decisions,
				lifecycle_event_to_string(world->model.event));
		if (tunnel->stops < tunnel->stops_min || tunnel->stops > tunnel->stops_max)
			violate(world, INVARIANT_ONE_DECISION, "%s: %u stops told on %s, at least %u and at most %u were to be", sim_ids[i], tunnel->stops,
				lifecycle_event_to_string(world->model.event), tunnel->stops_min, tunnel->stops_max);
		if (tunnel->expected && tunnel->wanted && !tunnel->replaced)
			violate(world, INVARIANT_CARRIED_ON, "%s: on %s what follows a decision was to be told, and was not", sim_ids[i],
				lifecycle_event_to_string(world->model.event));
		forget_step(tunnel);
	}
}

void model_before(struct world *world, const struct lifecycle_event *event)
{
	step_ends(world);
	world->model.step_open = true;
	world->model.gate_in_list = false;
	world->model.event = event->type;
	licence(world, event);
	for ALL_TUNNELS (i)
		model_fail_over_when_due(world, i);
}

void model_turn_begins(struct world *world)
{
	for ALL_TUNNELS (i) {
		of(world, i)->wanted_before = of(world, i)->wanted;
		of(world, i)->fresh = false;
	}
}

/* ---- effects ---- */

static bool stands_open(const struct world *world)
{
	return world->core.mode == GATE_MODE_OFF || world->marker;
}

static void must_be_verified(struct world *world, const struct effect *effect)
{
	size_t i = effect->tunnel;
	bool held = stands_open(world) || world->kernel.tunnels[i].state == GATE_CONNECTING;
	if (!held || world->gate_failed || !world->model.gate_in_list)
		violate(world, INVARIANT_VERIFIED_BEFORE_START, "%s: %s with the kernel at %s%s%s", sim_ids[i], effect_to_string(effect->type),
			gate_state_to_string(world->kernel.tunnels[i].state), world->gate_failed ? ", unverified" : "",
			world->model.gate_in_list ? "" : ", not looked at before");
	if (!world->disk.exists || !world->disk.tunnels[i].wanted)
		violate(world, INVARIANT_RECORD_BEFORE_ACT, "%s: %s, and the disk does not say that it is wanted", sim_ids[i], effect_to_string(effect->type));
}

static void must_be_licensed(struct world *world, const struct effect *effect)
{
	struct model_tunnel *tunnel = of(world, effect->tunnel);
	bool first = effect->type != EFFECT_WORKER_START;
	bool due = tunnel->kind == NODE_START && tunnel->due_usec <= world->now && !tunnel->failover;
	if (!due && !tunnel->takes_over && (first || tunnel->kind != NODE_RUN))
		violate(world, INVARIANT_NO_RESTART_UNDECIDED, "%s: %s, and nothing asked for it%s", sim_ids[effect->tunnel], effect_to_string(effect->type),
			tunnel->kind == NODE_START ? " yet" : "");
	model_leave(tunnel, NODE_RUN, USEC_INFINITY);
	tunnel->takes_over = false;
}

/* A start that was due came upon a worker that an earlier daemon had left running: its session goes on as it is. */
static void is_taken_over(struct world *world, size_t i)
{
	struct model_tunnel *tunnel = of(world, i);
	if (tunnel->kind == NODE_START && tunnel->due_usec <= world->now && !tunnel->failover)
		model_leave(tunnel, NODE_RUN, USEC_INFINITY);
}

static void must_reach(struct world *world, size_t i)
{
	const struct endpoint *named = &sim_endpoints[i][world->processes[i].endpoint % 2];
	bool reaches = stands_open(world) || (world->kernel.tunnels[i].reachable && endpoint_equal(&world->kernel.tunnels[i].endpoint, named));
	if (world->processes[i].phase != PROCESS_NONE && (!reaches || !world->model.gate_in_list))
		violate(world, INVARIANT_ENDPOINT_FIRST, "%s: told to go on, and the gate does not let it", sim_ids[i]);
}

static void stop_announced(struct world *world, const struct effect *effect)
{
	struct model_tunnel *tunnel = of(world, effect->tunnel);
	tunnel->stops++;
	if (tunnel->stable_usec <= world->now) /* whether or not the clock has told so */
		model_forget(tunnel);
	tunnel->attempt += world->network;
	if (effect->attempt != tunnel->attempt)
		violate(world, INVARIANT_ATTEMPTS, "%s: stop announced as attempt %u, it is %u", sim_ids[effect->tunnel], effect->attempt, tunnel->attempt);
}

static void state_announced(struct world *world, const struct effect *effect)
{
	struct model_tunnel *tunnel = of(world, effect->tunnel);
	if (effect->old != tunnel->state)
		violate(world, INVARIANT_STATUS, "%s: told to leave %s, and was %s", sim_ids[effect->tunnel], tunnel_state_to_string(effect->old),
			tunnel_state_to_string(tunnel->state));
	tunnel->state = effect->new;
	if (effect->new == TUNNEL_CONNECTED)
		is_taken_over(world, effect->tunnel);
	tunnel->stable_usec = effect->new == TUNNEL_CONNECTED ? later(world->now, world->policies[world->policy].stable_usec) : USEC_INFINITY;
}

/* Whatever it waited for, or asked, is over. */
static void is_started(struct world *world, size_t i)
{
	struct model_tunnel *tunnel = of(world, i);
	bool pending = tunnel->state == TUNNEL_WAITING || tunnel->state == TUNNEL_DECIDING;
	if (!pending || tunnel->kind == NODE_START)
		return;
	if (!tunnel->may_want && !tunnel->takes_over)
		violate(world, INVARIANT_NO_RESTART_UNDECIDED, "%s: started while a decision is pending, and nothing asked for it", sim_ids[i]);
	model_leave(tunnel, NODE_START, world->now);
}

void model_effect(struct world *world, const struct effect *effect)
{
	if (world->list_failed && effect_is_void_after_failure(effect))
		violate(world, INVARIANT_NO_START_AFTER_FAILURE, "%s after an effect that failed", effect_to_string(effect->type));
	switch (effect->type) {
	case EFFECT_GATE:
		world->model.gate_in_list = true;
		break;
	case EFFECT_STARTED:
		if (world->gate_failed || !world->model.gate_in_list)
			violate(world, INVARIANT_VERIFIED_BEFORE_START, "%s: goes on to start, and the gate was not verified", sim_ids[effect->tunnel]);
		is_started(world, effect->tunnel);
		break;
	case EFFECT_WORKER_SPAWN:
	case EFFECT_WORKER_START:
	case EFFECT_WORKER_RESTART:
		must_be_verified(world, effect);
		must_be_licensed(world, effect);
		break;
	case EFFECT_WORKER_PROCEED:
		must_reach(world, effect->tunnel);
		is_taken_over(world, effect->tunnel);
		break;
	case EFFECT_ANNOUNCE_STOP:
		stop_announced(world, effect);
		break;
	case EFFECT_ANNOUNCE_DECISION:
		model_decision(world, effect);
		break;
	case EFFECT_ANNOUNCE_STATE:
		state_announced(world, effect);
		break;
	case EFFECT_ANNOUNCE_PENDING:
		if (effect->deadline_usec != of(world, effect->tunnel)->due_usec)
			violate(world, INVARIANT_DEADLINE_KEPT, "%s: asked with another deadline than was decided", sim_ids[effect->tunnel]);
		break;
	case EFFECT_RECORD:
	case EFFECT_WORKER_STOP:
	case EFFECT_WORKER_KILL:
	case EFFECT_LINK_CONFIGURE:
	case EFFECT_LINK_REMOVE:
	case EFFECT_EXIT:
	case EFFECT_COUNT:
		break;
	}
}

/* ---- the kernel ---- */

static bool has_session(const struct process *process)
{
	return process->known && !process->killed && process->phase >= PROCESS_STARTED && process->phase <= PROCESS_UP;
}

/* One application speaks of the state after the step, all tunnels in one: what licensed an opening may be told behind it, and is looked at when the step ends. */
static bool gave_way(const struct world *world, size_t i)
{
	const struct lifecycle_tunnel *core = &world->core.tunnels[i];
	return core->released || !core->wanted;
}

static void judge_opening(struct world *world, size_t i)
{
	struct model_tunnel *tunnel = of(world, i);
	tunnel->opened_early = tunnel->wanted && !tunnel->released && gave_way(world, i);
	if (tunnel->opened_early)
		return;
	if (tunnel->wanted && !tunnel->released && tunnel->confirmed && !tunnel->may_unwant && !tunnel->may_release) {
		bool other = false;
		for ALL_TUNNELS (j)
			other |= j != i && (of(world, j)->may_release || of(world, j)->may_unwant);
		violate(world, other ? INVARIANT_OTHERS_DEMAND : INVARIANT_GATE_HELD, "%s is wanted, and the gate is open for it", sim_ids[i]);
	}
	if (has_session(&world->processes[i]))
		violate(world, INVARIANT_SESSION_IS_HELD, "%s has a session, and the gate is open for it", sim_ids[i]);
}

void model_kernel_changed(struct world *world, const struct kernel *old)
{
	const struct kernel *kernel = &world->kernel;
	bool all = world->core.mode == GATE_MODE_ALWAYS || (world->core.hold && world->core.mode != GATE_MODE_OFF);
	if (all && !(kernel->exists && kernel->drop_default))
		violate(world, INVARIANT_ALWAYS_CLOSED, "the gate is %s", kernel->exists ? "there, and drops nothing" : "open");
	if (world->core.mode == GATE_MODE_OFF) {
		for ALL_TUNNELS (i)
			of(world, i)->confirmed = false;
		return;
	}
	for ALL_TUNNELS (i) {
		const struct lifecycle_tunnel *disk = &world->disk.tunnels[i];
		if (kernel->tunnels[i].state != GATE_OPEN)
			continue;
		judge_opening(world, i);
		if (old->tunnels[i].state != GATE_OPEN && world->disk.exists && disk->wanted && !disk->released)
			violate(world, INVARIANT_RECORD_BEFORE_ACT, "%s: the gate opens, and the disk says that it is wanted", sim_ids[i]);
	}
}

void model_gate_applied(struct world *world)
{
	for ALL_TUNNELS (i)
		of(world, i)->confirmed = world->core.tunnels[i].wanted && !world->core.tunnels[i].released && world->kernel.tunnels[i].state != GATE_OPEN;
}

/* ---- after a turn ---- */

/* DESIGN's table of section 3. */
static enum gate_state gate_of(const struct model_tunnel *tunnel)
{
	static const enum gate_state table[TUNNEL_STATE_COUNT] = {
		[TUNNEL_CONNECTING] = GATE_CONNECTING,
		[TUNNEL_REASSERTING] = GATE_CONNECTING,
		[TUNNEL_DISCONNECTING] = GATE_CONNECTING,
		[TUNNEL_CONNECTED] = GATE_TUNNEL,
		[TUNNEL_DECIDING] = GATE_CLOSED,
		[TUNNEL_WAITING] = GATE_CLOSED,
	};
	if (tunnel->released)
		return GATE_OPEN;
	return at_rest(tunnel->state) ? (tunnel->wanted ? GATE_CLOSED : GATE_OPEN) : table[tunnel->state];
}

static void judge_gate(struct world *world, size_t i)
{
	bool held = world->core.mode != GATE_MODE_OFF;
	enum gate_state expected = held ? gate_of(of(world, i)) : GATE_OPEN;
	if (world->gate_failed || world->marker || world->kernel.tunnels[i].state == expected)
		return;
	violate(world, INVARIANT_GATE_AS_STATUS, "%s is %s, and the kernel is at %s", sim_ids[i], tunnel_state_to_string(of(world, i)->state),
		gate_state_to_string(world->kernel.tunnels[i].state));
}

/* What the status must say of what is pending, by KIND of node. */
static bool pending_is(const struct lifecycle_tunnel *core, enum tunnel_state state, enum pending_kind kind, uint64_t due)
{
	return core->state == state && core->pending.kind == kind && core->deadline_usec == due;
}

static bool start_is_as_decided(const struct world *world, const struct model_tunnel *tunnel, const struct lifecycle_tunnel *core)
{
	if (core->state == TUNNEL_DISCONNECTING || core->worker == WORKER_STATE_ENDING || core->worker == WORKER_STATE_SPAWNED)
		return true; /* what is under way is finished first */
	if (core->state != TUNNEL_WAITING)
		return false;
	if (core->pending.kind == PENDING_NETWORK)
		return !world->network && (!tunnel->exact || tunnel->due_usec <= world->now);
	if (core->pending.kind != PENDING_DELAY)
		return false;
	return !tunnel->exact || (core->deadline_usec >= tunnel->due_usec && core->deadline_usec <= later(MAX_OF(tunnel->due_usec, world->now), SLACK));
}

static void judge_pending(struct world *world, size_t i)
{
	const struct model_tunnel *tunnel = of(world, i);
	const struct lifecycle_tunnel *core = &world->core.tunnels[i];
	bool good = true;
	if (tunnel->takes_over)
		return;
	switch (tunnel->kind) {
	case NODE_NONE:
	case NODE_RUN:
	case NODE_END:
		good = core->pending.kind == PENDING_NONE || !tunnel->wanted;
		break;
	case NODE_START:
		if (core->state == TUNNEL_FAILED && tunnel->due_usec <= world->now && model_nobody_takes_over(world, i))
			break;
		good = !tunnel->wanted || world->core.stopping || start_is_as_decided(world, tunnel, core) || (!tunnel->exact && at_rest(core->state));
		break;
	case NODE_DELAY:
		good = pending_is(core, TUNNEL_WAITING, PENDING_DELAY, tunnel->due_usec);
		break;
	case NODE_EVENT:
		good = pending_is(core, TUNNEL_WAITING, PENDING_EVENT, tunnel->due_usec);
		break;
	case NODE_ASK:
		good = pending_is(core, TUNNEL_DECIDING, PENDING_ASK, tunnel->due_usec) && core->pending.id == tunnel->past.decision;
		break;
	}
	if (!good)
		violate(world, INVARIANT_DEADLINE_KEPT, "%s is %s, waits for %s until %lld ms from now; decided was kind %d, due %lld ms from now", sim_ids[i],
			tunnel_state_to_string(core->state), pending_kind_to_string(core->pending.kind),
			(long long)(core->deadline_usec - world->now) / 1000, tunnel->kind, (long long)(tunnel->due_usec - world->now) / 1000);
}

static bool has_something_to_come(const struct world *world, size_t i)
{
	const struct lifecycle_tunnel *core = &world->core.tunnels[i];
	bool timed = core->deadline_usec != USEC_INFINITY;
	switch (core->state) {
	case TUNNEL_CONNECTING:
	case TUNNEL_REASSERTING:
		return timed;
	case TUNNEL_DISCONNECTING:
		return timed || world->processes[i].killed;
	case TUNNEL_CONNECTED:
		return timed || core->worker == WORKER_STATE_RUNNING;
	case TUNNEL_DECIDING:
		return core->pending.kind == PENDING_ASK;
	case TUNNEL_WAITING:
		return timed || core->pending.kind == PENDING_EVENT || (core->pending.kind == PENDING_NETWORK && !world->network);
	case TUNNEL_DISCONNECTED:
		return !core->wanted || world->core.stopping;
	case TUNNEL_FAILED:
	case TUNNEL_STATE_COUNT:
		break;
	}
	return true;
}

void model_turn_done(struct world *world)
{
	unsigned all = 0;
	step_ends(world);
	for ALL_TUNNELS (i) {
		struct model_tunnel *tunnel = of(world, i);
		const struct lifecycle_tunnel *core = &world->core.tunnels[i];
		if (tunnel->state != core->state || tunnel->attempt != core->attempt)
			violate(world, tunnel->state != core->state ? INVARIANT_STATUS : INVARIANT_ATTEMPTS, "%s: the status says %s, attempt %u; it is %s, attempt %u", sim_ids[i],
				tunnel_state_to_string(core->state), core->attempt, tunnel_state_to_string(tunnel->state), tunnel->attempt);
		judge_gate(world, i);
		judge_pending(world, i);
		if (!has_something_to_come(world, i))
			violate(world, INVARIANT_NOTHING_STUCK, "%s is %s, and nothing will ever move it", sim_ids[i], tunnel_state_to_string(core->state));
		if (tunnel->asking && tunnel->kind != NODE_ASK)
			tunnel->answered = tunnel->question;
		tunnel->question = tunnel->kind == NODE_ASK ? tunnel->past.decision : 0;
		tunnel->asking = tunnel->kind == NODE_ASK;
		if (tunnel->asking && tunnel->answered == tunnel->past.decision)
			tunnel->answered--; /* one question's timeout asks the next, under the same decision */
		all += sim_configs[i].all && core->wanted;
	}
	if (all > 1)
		violate(world, INVARIANT_ONE_ALL, "%u tunnels that route everything are wanted", all);
}

/* ---- a daemon that dies, and the next ---- */

void model_daemon_dies(struct world *world)
{
	world->dead = true;
	for ALL_TUNNELS (i)
		of(world, i)->wanted_at_death = world->core.tunnels[i].wanted;
}

void model_daemon_died(struct world *world)
{
	world->model.step_open = false;
	for ALL_TUNNELS (i) {
		struct model_tunnel *tunnel = of(world, i);
		if (tunnel->may_unwant || tunnel->may_release)
			tunnel->confirmed = false; /* it may have been given up already */
		forget_step(tunnel);
	}
}

static void judge_what_came_back(struct world *world, size_t i)
{
	const struct model_tunnel *tunnel = of(world, i);
	const struct lifecycle_tunnel *core = &world->core.tunnels[i];
	bool torn = world->model.uncertain && (core->wanted == tunnel->wanted_before || core->wanted == tunnel->wanted_at_death);
	bool autostart = world->first_of_boot && sim_configs[i].autostart && core->wanted;
	if (core->wanted != tunnel->wanted && !torn && !autostart)
		violate(world, INVARIANT_SURVIVES_CRASH, "%s was %swanted, and a new daemon thinks otherwise", sim_ids[i], tunnel->wanted ? "" : "not ");
	if (core->wanted && core->released && !tunnel->released && !world->model.uncertain)
		violate(world, INVARIANT_SURVIVES_CRASH, "%s is released by nobody", sim_ids[i]);
	bool asks = core->pending.kind == PENDING_ASK;
	if (asks && core->pending.id <= tunnel->answered)
		violate(world, INVARIANT_ANSWERED_ONCE, "%s: decision %llu was answered, and asks again", sim_ids[i], (unsigned long long)core->pending.id);
	if (tunnel->kind == NODE_ASK && tunnel->wanted && core->wanted && !world->model.uncertain && !asks)
		violate(world, INVARIANT_SURVIVES_CRASH, "%s: decision %llu was pending, and is forgotten", sim_ids[i], (unsigned long long)tunnel->past.decision);
	bool asks_anew = world->model.uncertain && tunnel->due_usec <= world->disk.saved_usec; /* its time was over, and what that came to was not told any more */
	if (tunnel->kind == NODE_ASK && asks && !asks_anew && !world->first_of_boot && core->pending.id == tunnel->past.decision &&
		core->deadline_usec != tunnel->due_usec)
		violate(world, INVARIANT_DEADLINE_KEPT, "%s: the question's deadline moved by %lld ms with the daemon's restart", sim_ids[i],
			(long long)(core->deadline_usec - tunnel->due_usec) / 1000);
	bool held = stands_open(world) || world->kernel.tunnels[i].state != GATE_OPEN || world->kernel.drop_default;
	const struct lifecycle_tunnel *saved = &world->disk.tunnels[i];
	bool unanswered = world->model.uncertain && !(world->disk.exists && saved->wanted && !saved->released); /* it died before it recorded, or told, what it did */
	if (tunnel->wanted && !tunnel->released && tunnel->confirmed && !held && !unanswered)
		violate(world, INVARIANT_GATE_HELD, "%s is wanted, and with no daemon the gate is open for it", sim_ids[i]);
}

/* What goes on is what came back. */
static void adopt(struct world *world, size_t i)
{
	struct model_tunnel *tunnel = of(world, i);
	const struct lifecycle_tunnel *core = &world->core.tunnels[i];
	uint64_t answered_last = tunnel->answered;
	*tunnel = (struct model_tunnel){.wanted = core->wanted, .released = core->released, .state = core->state, .attempt = core->attempt,
		.stable_usec = core->stable_usec, .answered = answered_last, .question = core->pending.id, .asking = core->pending.kind == PENDING_ASK};
	model_remember(world, i);
	tunnel->then = core->pending.then;
	tunnel->on_timeout = core->pending.on_timeout;
	tunnel->event = core->pending.event;
	model_leave(tunnel, core->wanted && core->state != TUNNEL_FAILED ? NODE_START : NODE_END, world->now);
	switch (core->pending.kind) {
	case PENDING_ASK:
		model_leave(tunnel, NODE_ASK, core->deadline_usec);
		break;
	case PENDING_EVENT:
		model_leave(tunnel, NODE_EVENT, core->deadline_usec);
		break;
	case PENDING_DELAY:
		model_leave(tunnel, tunnel->then && !core->pending.decided ? NODE_DELAY : NODE_START, core->deadline_usec);
		tunnel->failover = core->pending.decided ? core->pending.then : NULL;
		tunnel->hastens = core->pending.hastens;
		break;
	case PENDING_NETWORK:
	case PENDING_NONE:
		break;
	}
	if (runs(core->state) && core->worker == WORKER_STATE_SPAWNED)
		model_leave(tunnel, NODE_RUN, USEC_INFINITY);
}

void model_daemon_back(struct world *world)
{
	for ALL_TUNNELS (i) {
		judge_what_came_back(world, i);
		adopt(world, i);
	}
	world->model.uncertain = false;
	world->model.last_decision = world->core.next_decision;
}

