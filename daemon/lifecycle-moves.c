/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a tunnel can be made to do: enter a state, begin an attempt, stop, end, start. Nothing here decides. */

#include "daemon/lifecycle-step.h"

#include <assert.h>

struct effect *step_emit(struct step *step, enum effect_type type, size_t tunnel)
{
	assert(step->effects->count < LIFECYCLE_EFFECTS_MAX);
	struct effect *effect = &step->effects->items[step->effects->count++];
	*effect = (struct effect){.type = type, .tunnel = tunnel};
	step->effects->changed = true;
	return effect;
}

void step_gate(struct step *step)
{
	step_emit(step, EFFECT_GATE, LIFECYCLE_NONE);
}

void step_record(struct step *step)
{
	step_emit(step, EFFECT_RECORD, LIFECYCLE_NONE);
}

void step_record_if_asked(struct step *step, size_t index)
{
	if (step_tunnel(step, index)->pending.kind == PENDING_ASK)
		step_record(step);
}

struct lifecycle_tunnel *step_tunnel(struct step *step, size_t index)
{
	return &step->life->tunnels[index];
}

/* xorshift64*, Vigna 2016: small, and good enough to spread retries. */
uint64_t step_draw(struct lifecycle *life)
{
	life->random ^= life->random >> 12;
	life->random ^= life->random << 25;
	life->random ^= life->random >> 27;
	return life->random * 0x2545f4914f6cdd1dULL;
}

/* Whoever takes a released tunnel up again asks for the gate again, and a daemon that comes after this one knows it. */
static void take_up(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (!tunnel->released)
		return;
	tunnel->released = false;
	step_record(step);
}

/* The one door into a state. */
void step_enter(struct step *step, size_t index, enum tunnel_state state, enum tunnel_error reason)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	enum tunnel_state old = tunnel->state;
	tunnel->reason = reason;
	tunnel->asking = false;
	if (old == state)
		return;
	tunnel->state = state;
	tunnel->since_usec = step->now;
	tunnel->again = false; /* was of the old state */
	tunnel->deadline_usec = USEC_INFINITY;
	if (state != TUNNEL_CONNECTED) {
		tunnel->connected_usec = 0;
		tunnel->stable_usec = USEC_INFINITY;
	}
	if (state != TUNNEL_DISCONNECTING && state != TUNNEL_CONNECTED)
		tunnel->contacted = false;
	if (state == TUNNEL_WAITING || state == TUNNEL_DECIDING)
		take_up(step, index);
	struct effect *effect = step_emit(step, EFFECT_ANNOUNCE_STATE, index);
	effect->old = old;
	effect->new = state;
	effect->error = reason;
}

void step_kill_worker(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (tunnel->worker == WORKER_STATE_NONE || tunnel->worker == WORKER_STATE_ENDING)
		return;
	tunnel->worker = WORKER_STATE_ENDING;
	step_emit(step, EFFECT_WORKER_KILL, index);
}

/* ---- attempts ---- */

static void wait_for_network(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	step_enter(step, index, TUNNEL_WAITING, tunnel->reason);
	tunnel->pending = (struct lifecycle_pending){.kind = PENDING_NETWORK, .id = tunnel->pending.id};
	tunnel->deadline_usec = USEC_INFINITY;
}

/* Tells the worker to run, or gets one first. The gate is closed by an effect that stands before. */
void step_begin_attempt(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	take_up(step, index);
	if (!step->life->available) {
		wait_for_network(step, index);
		return;
	}
	clear_pending(tunnel);
	step_enter(step, index, tunnel->established ? TUNNEL_REASSERTING : TUNNEL_CONNECTING, tunnel->reason);
	tunnel->contacted = false;
	tunnel->asking = false;
	tunnel->again = false;
	tunnel->deadline_usec = add_usec(step->now, tunnel->connect_timeout_usec);
	tunnel->attempt_usec = step->now;
	switch (tunnel->worker) {
	case WORKER_STATE_NONE:
		tunnel->worker = WORKER_STATE_SPAWNED;
		tunnel->deadline_usec = add_usec(step->now, LIFECYCLE_HELLO_USEC);
		step_emit(step, EFFECT_WORKER_SPAWN, index);
		break;
	case WORKER_STATE_SPAWNED:
		break; /* its hello goes on from here */
	case WORKER_STATE_IDLE:
	case WORKER_STATE_RUNNING:
		tunnel->worker = WORKER_STATE_RUNNING;
		step_emit(step, EFFECT_WORKER_RESTART, index);
		break;
	case WORKER_STATE_ENDING:
		tunnel->again = true; /* its end goes on from here */
		break;
	}
}

static void choose_endpoint(struct step *step, struct lifecycle_tunnel *tunnel, enum policy_endpoint choice)
{
	if (tunnel->endpoint_count == 0)
		return;
	switch (choice) {
	case POLICY_ENDPOINT_SAME:
		break;
	case POLICY_ENDPOINT_NEXT:
		tunnel->endpoint = (tunnel->endpoint + 1) % tunnel->endpoint_count;
		break;
	case POLICY_ENDPOINT_RANDOM:
		tunnel->endpoint = (size_t)(step_draw(step->life) % tunnel->endpoint_count);
		break;
	}
}

void step_restart_now(struct step *step, size_t index, enum policy_endpoint endpoint, enum policy_worker worker)
{
	choose_endpoint(step, step_tunnel(step, index), endpoint);
	if (worker == POLICY_WORKER_FRESH)
		step_kill_worker(step, index);
	step_begin_attempt(step, index);
}

/* ---- ends ---- */

/* The worker is gone and the tunnel is to rest. What was held for it alone is let go, and the gate follows last. */
void step_finish_stop(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	step_emit(step, EFFECT_LINK_REMOVE, index);
	clear_pending(tunnel);
	step_record(step);
	step_gate(step);
	step_enter(step, index, TUNNEL_DISCONNECTED, tunnel->reason); /* announced once the gate has followed */
	tunnel->established = false;
}

/* A stop that was asked for. Nobody decides on it. */
void step_orderly_stop(struct step *step, size_t index, enum tunnel_error reason)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	clear_pending(tunnel);
	tunnel->again = false;
	tunnel->starting = false; /* or else no later start would be one */
	tunnel->fresh_start = false;
	tunnel->released = false;
	if (tunnel->worker == WORKER_STATE_NONE) {
		tunnel->reason = reason;
		step_finish_stop(step, index);
		return;
	}
	bool running = tunnel->worker == WORKER_STATE_RUNNING;
	step_enter(step, index, TUNNEL_DISCONNECTING, reason);
	tunnel->deadline_usec = add_usec(step->now, LIFECYCLE_GOODBYE_USEC);
	step_gate(step);
	step_record(step);
	if (running)
		step_emit(step, EFFECT_WORKER_STOP, index);
	else
		step_kill_worker(step, index);
}

/* Ended by decision: the worker goes, the next start gets a new one. */
void step_terminate(struct step *step, size_t index, enum policy_traffic traffic)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	clear_pending(tunnel);
	tunnel->released = traffic == POLICY_TRAFFIC_RELEASE;
	step_kill_worker(step, index);
	step_emit(step, EFFECT_LINK_REMOVE, index);
	step_record(step);
	step_gate(step); /* last: a release opens only what is ended and recorded */
	step_enter(step, index, TUNNEL_FAILED, tunnel->error);
	tunnel->established = false;
}

/* ---- starts ---- */

/* Everything that routes all and is wanted gives way to INDEX, but what was wanted after it and is about to start. */
void step_supersede_others(struct step *step, size_t index)
{
	for LIFECYCLE_TUNNELS (i, step->life) {
		struct lifecycle_tunnel *other = step_tunnel(step, i);
		if (i == index || !other->all || !other->wanted)
			continue;
		if (other->starting && other->wanted_order > step_tunnel(step, index)->wanted_order)
			continue;
		other->wanted = other->starting = other->fresh_start = false;
		if (tunnel_at_rest(other))
			other->released = false;
		else
			step_orderly_stop(step, i, TUNNEL_ERROR_SUPERSEDED);
	}
}

/* What has been up for `stableAfter` is stable, whether or not the clock has told so yet. */
void step_note_stable(struct step *step, struct lifecycle_tunnel *tunnel)
{
	if (tunnel->stable_usec > step->now)
		return;
	tunnel->stable_usec = USEC_INFINITY;
	tunnel->attempt = 0;
	policy_history_stable(&tunnel->history);
	step->effects->changed = true;
}

static void forget_past(struct lifecycle_tunnel *tunnel)
{
	tunnel->attempt = 0;
	tunnel->error = TUNNEL_ERROR_NONE;
	tunnel->reason = TUNNEL_ERROR_NONE;
	tunnel->attempt_usec = 0;
	policy_history_stable(&tunnel->history);
}

/*
 * First the gate closes for it, and nothing else happens: nobody gives way to a tunnel whose gate could not be closed. What follows comes
 * with LIFECYCLE_STARTED.
 */
void step_start(struct step *step, size_t index, bool by_user)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	bool resting = tunnel_at_rest(tunnel);
	bool pending = tunnel->state == TUNNEL_WAITING || tunnel->state == TUNNEL_DECIDING;
	if (tunnel->wanted && !resting && !pending)
		return; /* it is what is asked for; a decision that is pending is replaced, by rules and by users alike */
	if (tunnel->starting)
		return;
	tunnel->starting = true;
	tunnel->fresh_start = !tunnel->wanted && resting;
	tunnel->wanted = true;
	tunnel->wanted_order = ++step->life->wanted_order;
	tunnel->released = false;
	tunnel->system_stop = false;
	if (by_user)
		forget_past(tunnel);
	step_gate(step);
	step_emit(step, EFFECT_STARTED, index);
}

void step_started(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (!tunnel->starting || !tunnel->wanted)
		return;
	tunnel->starting = false;
	if (tunnel_at_rest(tunnel)) {
		tunnel->endpoint = 0;
		tunnel->established = false;
	}
	step_gate(step); /* for the others too, that give way */
	if (tunnel->all)
		step_supersede_others(step, index);
	step_record(step);
	if (tunnel->state == TUNNEL_DISCONNECTING)
		tunnel->again = true; /* the goodbye that is under way is finished first */
	else
		step_begin_attempt(step, index);
}

void step_stop(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (!tunnel->wanted && (tunnel->state == TUNNEL_DISCONNECTED || tunnel->state == TUNNEL_DISCONNECTING) && !tunnel->again)
		return;
	tunnel->wanted = false;
	tunnel->starting = false;
	tunnel->system_stop = false;
	tunnel->again = false;
	if (tunnel->state != TUNNEL_DISCONNECTING) {
		step_orderly_stop(step, index, TUNNEL_ERROR_CONNECTION_CANCELED);
		return;
	}
	tunnel->reason = TUNNEL_ERROR_CONNECTION_CANCELED;
	step_record(step); /* that it was to start again is taken back */
}

void step_restart_by_user(struct step *step, size_t index)
{
	struct lifecycle_tunnel *tunnel = step_tunnel(step, index);
	if (!tunnel->wanted || tunnel_at_rest(tunnel) || tunnel->state == TUNNEL_DISCONNECTING) {
		step_start(step, index, true);
		return;
	}
	forget_past(tunnel);
	step_gate(step);
	step_record_if_asked(step, index);
	step_begin_attempt(step, index);
}
