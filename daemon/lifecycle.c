/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The life of every tunnel.
 *
 * One door into a state: step_enter(). One door for everything that stops a tunnel without being asked: step_unexpected_stop(), which closes,
 * asks the policy and carries its decision out. One door into an attempt: step_begin_attempt(), which is never passed without a closing
 * EFFECT_GATE earlier in the same list.
 *
 * Invariants, after every step:
 * - a tunnel that is wanted and not released has a demand on the gate (demand.c), whatever its state;
 * - EFFECT_WORKER_START, _RESTART and _PROCEED stand behind an EFFECT_GATE of their list;
 * - `wanted` goes down only by a user's stop, a rule's disconnect or failover, superseding, or a start that never happened;
 * - an unexpected stop gives exactly one EFFECT_ANNOUNCE_DECISION or one pending question.
 */

#include "daemon/demand.h"
#include "daemon/lifecycle-step.h"

#include <assert.h>

static bool runs(const struct lifecycle_tunnel *tunnel)
{
	return tunnel->state == TUNNEL_CONNECTING || tunnel->state == TUNNEL_REASSERTING || tunnel->state == TUNNEL_CONNECTED;
}

/* Its question waits for the next daemon: what follows it would be a start, or an opening, by a system that stops. */
static bool rests_over_stop(const struct lifecycle *lifecycle, const struct lifecycle_tunnel *tunnel)
{
	return lifecycle->stopping && tunnel->state == TUNNEL_DECIDING;
}

static void worker_hello(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (tunnel->worker != WORKER_STATE_SPAWNED)
		return;
	if (tunnel->state != TUNNEL_CONNECTING && tunnel->state != TUNNEL_REASSERTING) {
		tunnel->worker = WORKER_STATE_IDLE;
		if (tunnel->state == TUNNEL_CONNECTED) /* an earlier daemon's, and its session ended while none was there */
			step_unexpected_stop(step, index, TUNNEL_ERROR_WORKER_CRASHED, true);
		return;
	}
	tunnel->worker = WORKER_STATE_RUNNING;
	tunnel->deadline_usec = add_usec(step->now, tunnel->connect_timeout_usec);
	step_gate(step);
	step_emit(step, EFFECT_WORKER_START, index);
}

/* People are slower than servers: the attempt's time begins again once they have answered. */
static void worker_asking(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if ((tunnel->state != TUNNEL_CONNECTING && tunnel->state != TUNNEL_REASSERTING) || tunnel->worker != WORKER_STATE_RUNNING)
		return;
	tunnel->asking = true;
	tunnel->contacted = false;
	tunnel->deadline_usec = add_usec(step->now, LIFECYCLE_ASK_USEC);
	step_gate(step);
}

static void answered(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (!tunnel->asking)
		return;
	tunnel->asking = false;
	tunnel->deadline_usec = add_usec(step->now, tunnel->connect_timeout_usec);
	step->effects->changed = true;
}

static void peer_silent(struct step *step, size_t index)
{
	if (step_tunnel(step, index)->state == TUNNEL_CONNECTED)
		step_unexpected_stop(step, index, TUNNEL_ERROR_PEER_UNRESPONSIVE, true);
}

static void worker_contacting(struct step *step, size_t index, const struct endpoint *endpoint)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (!runs(tunnel) || tunnel->worker != WORKER_STATE_RUNNING)
		return;
	tunnel->contacted = true;
	tunnel->contact = *endpoint;
	step_gate(step);
	step_emit(step, EFFECT_WORKER_PROCEED, index);
}

static void worker_up(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	bool connects = tunnel->state == TUNNEL_CONNECTING || tunnel->state == TUNNEL_REASSERTING;
	if (!connects || tunnel->worker != WORKER_STATE_RUNNING)
		return;
	tunnel->proving = tunnel->state;
	step_emit(step, EFFECT_LINK_CONFIGURE, index);
	step_gate(step);
	step_enter(step, index, TUNNEL_CONNECTED, TUNNEL_ERROR_NONE); /* announced once the gate lets it carry */
	tunnel->established = true;
	tunnel->connected_usec = step->now;
	tunnel->stable_usec = add_usec(step->now, policy_stable_after_usec(step->life->policy));
	step_record(step); /* last: nothing waits for the disk any more */
}

static void worker_ended(struct step *step, size_t index, enum tunnel_error error)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	bool expected = tunnel->worker == WORKER_STATE_ENDING;
	tunnel->worker = WORKER_STATE_NONE;
	if (tunnel->state == TUNNEL_DISCONNECTING) {
		if (tunnel->again) {
			step_gate(step);
			step_begin_attempt(step, index);
		} else {
			step_finish_stop(step, index);
		}
	} else if (tunnel->again) {
		step_gate(step);
		step_begin_attempt(step, index);
	} else if (runs(tunnel) && !expected) {
		step_unexpected_stop(step, index, error, true);
	}
}

static void worker_stopped(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (tunnel->worker != WORKER_STATE_RUNNING || runs(tunnel))
		return;
	tunnel->worker = WORKER_STATE_IDLE;
	if (tunnel->state == TUNNEL_DISCONNECTING)
		step_kill_worker(step, index);
}

static void link_lost(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (runs(tunnel) && tunnel->worker == WORKER_STATE_RUNNING)
		step_unexpected_stop(step, index, TUNNEL_ERROR_TUN_INTERFACE_FAILURE, true);
}

/* What would have made it connected failed: it never was. */
static void take_back_up(struct lifecycle_tunnel *tunnel)
{
	if (tunnel->proving == TUNNEL_DISCONNECTED)
		return;
	tunnel->state = tunnel->proving;
	tunnel->established = tunnel->state == TUNNEL_REASSERTING;
	tunnel->connected_usec = 0;
	tunnel->stable_usec = USEC_INFINITY;
	tunnel->proving = TUNNEL_DISCONNECTED;
}

/* The effects of a step could not be carried out: for the tunnel INDEX, or, where it is the gate, for every one that moves. */
static void effect_failed(struct step *step, size_t index, enum tunnel_error error, bool unspawned)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (unspawned)
		tunnel->worker = WORKER_STATE_NONE;
	bool was_starting = tunnel->starting;
	tunnel->starting = false;
	take_back_up(tunnel);
	if (tunnel->fresh_start && error == TUNNEL_ERROR_FIREWALL_FAILURE) {
		/* The start never happened: nothing was started, nobody gave way, nothing is wanted. */
		tunnel->fresh_start = false;
		tunnel->wanted = false;
		tunnel->error = error;
		clear_pending(tunnel);
		step_enter(step, index, TUNNEL_DISCONNECTED, error);
		step_record(step);
		return;
	}
	if (was_starting)
		step_record(step);
	if (was_starting && tunnel->wanted && tunnel->all)
		step_supersede_others(step, index); /* it stays wanted, and was the last to be */
	if (runs(tunnel) || was_starting)
		step_unexpected_stop(step, index, error, error != TUNNEL_ERROR_FIREWALL_FAILURE);
}

/* Another tunnel's effect failed, and this one's behind it were left out: they are asked for again. */
static void do_again(struct step *step, size_t index, bool unspawned)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (unspawned)
		tunnel->worker = WORKER_STATE_NONE;
	if (tunnel->starting) {
		step_gate(step);
		step_emit(step, EFFECT_STARTED, index);
	} else if (runs(tunnel)) {
		step_gate(step);
		step_begin_attempt(step, index);
	}
}

static void each_effect_failed(struct step *step, const struct lifecycle_event *event)
{
	for LIFECYCLE_TUNNELS (i, step->life) {
		if (event->tunnel == i || event->tunnel == LIFECYCLE_NONE)
			effect_failed(step, i, event->error, event->unspawned & 1u << i);
		else if (event->undone & 1u << i)
			do_again(step, i, event->unspawned & 1u << i);
	}
}

/* Of a restart or a failover that was decided for later, or of a `wait`. */
static void delay_passed(struct step *step, size_t index)
{
	const struct lifecycle_pending *pending = &step_tunnel(step, index)->pending;
	if (!pending->then) {
		step_gate(step);
		step_restart_now(step, index, pending->endpoint, pending->worker);
	} else if (pending->decided) {
		step_do_decided(step, index, pending->then);
	} else {
		step_resolve_pending(step, index, pending->then, DECIDED_BY_THEN);
	}
}

static void timed_out(struct step *step, size_t index)
{
	const struct policy_action *action = step_tunnel(step, index)->pending.on_timeout;
	step_resolve_pending(step, index, action ? action : &lifecycle_plain_terminate, DECIDED_BY_TIMEOUT);
}

/* What a `wait` was for has come. */
static void event_came(struct step *step, size_t index)
{
	const struct policy_action *then = step_tunnel(step, index)->pending.then;
	step_resolve_pending(step, index, then ? then : &lifecycle_plain_restart, DECIDED_BY_THEN);
}

static void deadline_passed(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	bool pending = tunnel->state == TUNNEL_WAITING || tunnel->state == TUNNEL_DECIDING;
	if (pending && tunnel->starting)
		return; /* by another's failover, in this step: what was pending is replaced, and stays on the disk until it is */
	tunnel->deadline_usec = USEC_INFINITY;
	switch (tunnel->state) {
	case TUNNEL_CONNECTING:
	case TUNNEL_REASSERTING:
		if (tunnel->worker == WORKER_STATE_SPAWNED) {
			step_kill_worker(step, index);
			step_unexpected_stop(step, index, TUNNEL_ERROR_WORKER_START_FAILED, true);
		} else {
			step_unexpected_stop(step, index, tunnel->asking ? TUNNEL_ERROR_CREDENTIALS_REQUIRED : TUNNEL_ERROR_CONNECTION_TIMEOUT, true);
		}
		break;
	case TUNNEL_WAITING:
		if (tunnel->pending.kind == PENDING_DELAY)
			delay_passed(step, index);
		else
			timed_out(step, index);
		break;
	case TUNNEL_DECIDING:
		timed_out(step, index);
		break;
	case TUNNEL_DISCONNECTING:
		step_kill_worker(step, index);
		break;
	case TUNNEL_CONNECTED:
		if (tunnel->worker != WORKER_STATE_SPAWNED)
			break;
		step_kill_worker(step, index); /* an earlier daemon's, that never said hello to this one */
		step_unexpected_stop(step, index, TUNNEL_ERROR_WORKER_UNRESPONSIVE, true);
		break;
	case TUNNEL_DISCONNECTED:
	case TUNNEL_FAILED:
	case TUNNEL_STATE_COUNT:
		break;
	}
}

static void time_passed(struct step *step)
{
	for LIFECYCLE_TUNNELS (i, step->life) {
		struct lifecycle_tunnel *tunnel = step_tunnel(step, i);
		if (rests_over_stop(step->life, tunnel))
			continue;
		step_note_stable(step, tunnel);
		if (tunnel->deadline_usec <= step->now)
			deadline_passed(step, i);
	}
}

/* What waits for EVENT goes on. */
static void wake(struct step *step, size_t index, enum policy_event event)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	bool back = event == POLICY_EVENT_NETWORK_AVAILABLE;
	if (tunnel->state != TUNNEL_WAITING || tunnel->starting)
		return;
	if (tunnel->pending.kind == PENDING_NETWORK && back)
		step_do_decided(step, index, &lifecycle_plain_restart);
	else if (tunnel->pending.kind == PENDING_EVENT && tunnel->pending.event == event)
		event_came(step, index);
	else if (tunnel->pending.kind == PENDING_DELAY && tunnel->pending.hastens && back)
		step_hasten(step, index);
}

/*
 * Judged first, woken then: what a rule decides replaces what was pending, so that no attempt is begun and taken back in one step, whose
 * effects all speak of the state at its end.
 */
static void policy_event(struct step *step, enum policy_event event)
{
	uint32_t judged = 0, replaced = 0; /* one that another's rule takes up is not judged for the same event */
	if (step->life->stopping)
		return; /* nobody decides any more: nothing is started, nothing opened */
	for LIFECYCLE_TUNNELS (i, step->life) {
		struct lifecycle_tunnel *tunnel = step_tunnel(step, i);
		if (tunnel->wanted && tunnel->state != TUNNEL_DISCONNECTING)
			judged |= 1u << i;
	}
	for LIFECYCLE_TUNNELS (i, step->life)
		if (judged & 1u << i && !step_tunnel(step, i)->starting && step_judge(step, i, event))
			replaced |= 1u << i;
	for LIFECYCLE_TUNNELS (i, step->life)
		if (!(replaced & 1u << i))
			wake(step, i, event);
	if (!judged)
		step_judge(step, LIFECYCLE_NONE, event);
}

static void network(struct step *step, bool available)
{
	if (step->life->available == available)
		return;
	step->life->available = available;
	step->effects->changed = true;
	policy_event(step, available ? POLICY_EVENT_NETWORK_AVAILABLE : POLICY_EVENT_NETWORK_LOST);
}

/* One that comes when the deadline is over is late, though the clock's own event has not come yet: that follows. */
static void answer(struct step *step, const struct lifecycle_event *event)
{
	for LIFECYCLE_TUNNELS (i, step->life) {
		struct lifecycle_tunnel *tunnel = step_tunnel(step, i);
		if (tunnel->pending.kind != PENDING_ASK || tunnel->pending.id != event->decision || tunnel->deadline_usec <= step->now || step->life->stopping)
			continue;
		step_resolve_pending(step, i, event->restart ? &lifecycle_plain_restart : &lifecycle_plain_terminate, DECIDED_BY_ANSWER);
		return;
	}
}

static void exit_when_done(struct step *step)
{
	if (!step->life->stopping)
		return;
	for LIFECYCLE_TUNNELS (i, step->life)
		if (step_tunnel(step, i)->worker != WORKER_STATE_NONE || step_tunnel(step, i)->state == TUNNEL_DISCONNECTING)
			return;
	step_emit(step, EFFECT_EXIT, LIFECYCLE_NONE);
}

/* A question outlives the system's stop: whoever starts next asks it still. */
static void keep_asking(struct step *step, size_t index)
{
	step_kill_worker(step, index);
	step_emit(step, EFFECT_LINK_REMOVE, index);
	step_record(step);
}

/* The gate stays closed, to the end and across the reboot: whatever is wanted stays wanted. */
static void system_stop(struct step *step)
{
	step->life->stopping = true;
	for LIFECYCLE_TUNNELS (i, step->life) {
		struct lifecycle_tunnel *tunnel = step_tunnel(step, i);
		if (tunnel_at_rest(tunnel))
			continue;
		tunnel->system_stop = true;
		if (tunnel->pending.kind == PENDING_ASK)
			keep_asking(step, i);
		else if (tunnel->state == TUNNEL_DISCONNECTING)
			tunnel->again = false;
		else
			step_orderly_stop(step, i, TUNNEL_ERROR_SYSTEM_CALLED_STOP);
	}
}

/* A worker that was found alive, of a tunnel that will give way to LAST before it could begin: gone before the gate is open for it. */
static void end_workers_of_losers(struct step *step, size_t last)
{
	for LIFECYCLE_TUNNELS (i, step->life) {
		struct lifecycle_tunnel *tunnel = step_tunnel(step, i);
		if (i != last && tunnel->all && tunnel->wanted && tunnel_at_rest(tunnel))
			step_kill_worker(step, i);
	}
}

/*
 * The daemon has started. The state file gave each tunnel its `wanted`, `state` and the rest; a worker that was found alive is
 * SPAWNED until it says hello, and its tunnel keeps the state it had.
 */
static void begin(struct step *step)
{
	size_t last = LIFECYCLE_NONE;
	for LIFECYCLE_TUNNELS (i, step->life) {
		struct lifecycle_tunnel *tunnel = step_tunnel(step, i);
		if (tunnel->wanted && tunnel->all &&
			(last == LIFECYCLE_NONE || tunnel->wanted_order > step_tunnel(step, last)->wanted_order))
			last = i;
	}
	end_workers_of_losers(step, last);
	step_gate(step);
	step_record(step); /* autostart is on the disk before anything acts on it */
	if (last != LIFECYCLE_NONE)
		step_supersede_others(step, last);
	for LIFECYCLE_TUNNELS (i, step->life) {
		struct lifecycle_tunnel *tunnel = step_tunnel(step, i);
		if (!tunnel->wanted || tunnel->state == TUNNEL_FAILED)
			continue;
		if (runs(tunnel) && tunnel->worker == WORKER_STATE_SPAWNED)
			tunnel->deadline_usec = add_usec(step->now, LIFECYCLE_HELLO_USEC); /* taken back, or lost by then */
		else if (runs(tunnel) && tunnel->worker == WORKER_STATE_NONE && tunnel->established)
			step_unexpected_stop(step, i, TUNNEL_ERROR_WORKER_CRASHED, true);
		else if (tunnel->state != TUNNEL_WAITING && tunnel->state != TUNNEL_DECIDING)
			step_begin_attempt(step, i);
		else if (tunnel->pending.kind == PENDING_NETWORK && step->life->available)
			step_begin_attempt(step, i);
		else if (tunnel->pending.kind == PENDING_EVENT && step_event_holds(step, tunnel->pending.event))
			event_came(step, i); /* while nobody was there */
	}
}

static bool names_tunnel(enum lifecycle_event_type type)
{
	switch (type) {
	case LIFECYCLE_USER_START:
	case LIFECYCLE_USER_STOP:
	case LIFECYCLE_USER_RESTART:
	case LIFECYCLE_STARTED:
	case LIFECYCLE_WORKER_HELLO:
	case LIFECYCLE_WORKER_ASKING:
	case LIFECYCLE_ANSWERED:
	case LIFECYCLE_WORKER_CONTACTING:
	case LIFECYCLE_WORKER_UP:
	case LIFECYCLE_WORKER_WILL_STOP:
	case LIFECYCLE_WORKER_STOPPED:
	case LIFECYCLE_WORKER_GONE:
	case LIFECYCLE_PEER_SILENT:
	case LIFECYCLE_LINK_LOST:
		return true;
	case LIFECYCLE_SYSTEM_STOP:
	case LIFECYCLE_BEGIN:
	case LIFECYCLE_EFFECT_FAILED:
	case LIFECYCLE_TIME:
	case LIFECYCLE_NETWORK:
	case LIFECYCLE_POLICY_EVENT:
	case LIFECYCLE_ANSWER:
	case LIFECYCLE_MODE:
	case LIFECYCLE_EVENT_COUNT:
		return false;
	}
	return false;
}

static void will_stop(struct step *step, size_t index, enum tunnel_error error)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (tunnel->worker == WORKER_STATE_RUNNING)
		tunnel->worker = WORKER_STATE_IDLE; /* its client is gone */
	if (runs(tunnel))
		step_unexpected_stop(step, index, error, true);
	else if (tunnel->state == TUNNEL_DISCONNECTING)
		step_kill_worker(step, index);
}

/* The last step's effects were carried out, or else this step would be about their failure. */
static void starts_have_happened(struct lifecycle *lifecycle)
{
	for LIFECYCLE_TUNNELS (i, lifecycle) {
		struct lifecycle_tunnel *tunnel = &lifecycle->tunnels[i];
		tunnel->fresh_start = false;
		if (tunnel->proving != TUNNEL_DISCONNECTED)
			tunnel->attempt_usec = 0;
		tunnel->proving = TUNNEL_DISCONNECTED;
	}
}

static uint32_t demands(const struct lifecycle *lifecycle)
{
	uint32_t mask = 0;
	for LIFECYCLE_TUNNELS (i, lifecycle)
		if (demand_of_tunnel(&lifecycle->tunnels[i]) != GATE_OPEN)
			mask |= 1u << i;
	return mask;
}

static size_t first_effect(const struct effects *effects, enum effect_type type)
{
	size_t i = 0;
	while (i < effects->count && effects->items[i].type != type)
		i++;
	return i;
}

/*
 * Each EFFECT_GATE speaks of the state after the step. Where that gives up a demand of BEFORE, and a gate stands before the state is
 * recorded (it closes for another tunnel, or what closed came to a release), a daemon that dies in between would leave open what the next
 * one finds wanted. Until it is recorded the gate stands as it is, which holds.
 */
static void record_before_opening(struct step *step, uint32_t before)
{
	struct effects *effects = step->effects;
	size_t gate = first_effect(effects, EFFECT_GATE);
	if (gate == effects->count || first_effect(effects, EFFECT_RECORD) < gate || !(before & ~demands(step->life)))
		return;
	step_record(step);
	struct effect record = effects->items[effects->count - 1];
	memmove(effects->items + gate + 1, effects->items + gate, (effects->count - 1 - gate) * sizeof record);
	effects->items[gate] = record;
}

void lifecycle_step(struct lifecycle *lifecycle, const struct lifecycle_event *event, struct effects *ret)
{
	struct step step = {.life = lifecycle, .effects = ret, .now = event->now_usec};
	ret->count = 0;
	ret->changed = false;
	if (event->type != LIFECYCLE_EFFECT_FAILED)
		starts_have_happened(lifecycle);
	uint32_t before = demands(lifecycle);
	if (names_tunnel(event->type) && !lifecycle_has(lifecycle, event->tunnel))
		return;
	switch (event->type) {
	case LIFECYCLE_USER_START:
		if (!lifecycle->stopping)
			step_start(&step, event->tunnel, true);
		break;
	case LIFECYCLE_USER_STOP:
		step_stop(&step, event->tunnel);
		break;
	case LIFECYCLE_USER_RESTART:
		if (!lifecycle->stopping)
			step_restart_by_user(&step, event->tunnel);
		break;
	case LIFECYCLE_STARTED:
		step_started(&step, event->tunnel);
		break;
	case LIFECYCLE_SYSTEM_STOP:
		system_stop(&step);
		break;
	case LIFECYCLE_BEGIN:
		begin(&step);
		break;
	case LIFECYCLE_WORKER_HELLO:
		worker_hello(&step, event->tunnel);
		break;
	case LIFECYCLE_WORKER_ASKING:
		worker_asking(&step, event->tunnel);
		break;
	case LIFECYCLE_ANSWERED:
		answered(&step, event->tunnel);
		break;
	case LIFECYCLE_PEER_SILENT:
		peer_silent(&step, event->tunnel);
		break;
	case LIFECYCLE_WORKER_CONTACTING:
		worker_contacting(&step, event->tunnel, &event->endpoint);
		break;
	case LIFECYCLE_WORKER_UP:
		worker_up(&step, event->tunnel);
		break;
	case LIFECYCLE_WORKER_WILL_STOP:
		will_stop(&step, event->tunnel, event->error);
		break;
	case LIFECYCLE_WORKER_STOPPED:
		worker_stopped(&step, event->tunnel);
		break;
	case LIFECYCLE_WORKER_GONE:
		worker_ended(&step, event->tunnel, event->error);
		break;
	case LIFECYCLE_LINK_LOST:
		link_lost(&step, event->tunnel);
		break;
	case LIFECYCLE_EFFECT_FAILED:
		each_effect_failed(&step, event);
		break;
	case LIFECYCLE_TIME:
		time_passed(&step);
		break;
	case LIFECYCLE_NETWORK:
		network(&step, event->available);
		break;
	case LIFECYCLE_POLICY_EVENT:
		if (event->tunnel == LIFECYCLE_NONE)
			policy_event(&step, event->policy_event);
		else if (!lifecycle->stopping && lifecycle_has(lifecycle, event->tunnel))
			step_judge(&step, event->tunnel, event->policy_event);
		break;
	case LIFECYCLE_ANSWER:
		answer(&step, event);
		break;
	case LIFECYCLE_MODE:
		ret->changed = lifecycle->mode != event->mode;
		lifecycle->mode = event->mode;
		step_gate(&step);
		break;
	case LIFECYCLE_EVENT_COUNT:
		break;
	}
	record_before_opening(&step, before);
	exit_when_done(&step);
}

uint64_t lifecycle_deadline(const struct lifecycle *lifecycle)
{
	uint64_t soonest = USEC_INFINITY;
	for LIFECYCLE_TUNNELS (i, lifecycle) {
		const struct lifecycle_tunnel *tunnel = &lifecycle->tunnels[i];
		if (!rests_over_stop(lifecycle, tunnel))
			soonest = MIN_OF(soonest, MIN_OF(tunnel->deadline_usec, tunnel->stable_usec));
	}
	return soonest;
}

size_t lifecycle_find(const struct lifecycle *lifecycle, const char *id)
{
	for LIFECYCLE_TUNNELS (i, lifecycle)
		if (strcmp(lifecycle->tunnels[i].id, id) == 0)
			return i;
	return LIFECYCLE_NONE;
}

bool lifecycle_tunnel_active(const struct lifecycle_tunnel *tunnel)
{
	return tunnel->wanted || tunnel->worker != WORKER_STATE_NONE || tunnel->state == TUNNEL_DISCONNECTING;
}

struct lifecycle_tunnel *lifecycle_add(struct lifecycle *lifecycle, size_t index, uint64_t now_usec)
{
	assert(index < LIFECYCLE_TUNNELS_MAX);
	lifecycle->used |= 1u << index;
	lifecycle->tunnels[index] = (struct lifecycle_tunnel){
		.since_usec = now_usec,
		.deadline_usec = USEC_INFINITY,
		.stable_usec = USEC_INFINITY,
	};
	return &lifecycle->tunnels[index];
}

void lifecycle_remove(struct lifecycle *lifecycle, size_t index)
{
	lifecycle->used &= ~(1u << index);
}

/* The places are not touched: what they say begins with lifecycle_add(). */
void lifecycle_init(struct lifecycle *lifecycle, const struct policy *policy, uint64_t seed)
{
	assert(seed != 0);
	memset(lifecycle, 0, offsetof(struct lifecycle, tunnels));
	lifecycle->mode = GATE_MODE_AUTO;
	lifecycle->wall_minute = lifecycle->wall_day = -1;
	lifecycle->policy = policy;
	lifecycle->random = seed;
}
