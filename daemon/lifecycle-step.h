/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One step of the lifecycle, shared by its three files: lifecycle.c takes events, lifecycle-decide.c asks the policy and does what it
 * decides, lifecycle-moves.c starts, stops and waits. Nobody else includes this.
 */

#include "daemon/lifecycle.h"

/* One step's working set. */
struct step {
	struct lifecycle *life;
	struct effects *effects;
	uint64_t now;
	bool gate_failed; /* nothing is started by this step: what restarts waits LIFECYCLE_GATE_RETRY_USEC, by whichever way it was decided */
};

static inline uint64_t add_usec(uint64_t a, uint64_t b)
{
	return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}

static inline void clear_pending(struct lifecycle_tunnel *tunnel)
{
	tunnel->pending = (struct lifecycle_pending){};
}

static inline bool tunnel_at_rest(const struct lifecycle_tunnel *tunnel)
{
	return tunnel->state == TUNNEL_DISCONNECTED || tunnel->state == TUNNEL_FAILED;
}

/* ---- lifecycle-moves.c ---- */
struct effect *step_emit(struct step *step, enum effect_type type, size_t tunnel);
void step_gate(struct step *step);
void step_record(struct step *step);
void step_record_if_asked(struct step *step, size_t index); /* a question that ends now never comes back, whenever the daemon dies */
struct lifecycle_tunnel *step_tunnel(struct step *step, size_t index);
uint64_t step_draw(struct lifecycle *life);
void step_enter(struct step *step, size_t index, enum tunnel_state state, enum tunnel_error reason);
void step_kill_worker(struct step *step, size_t index);
void step_begin_attempt(struct step *step, size_t index);
void step_restart_now(struct step *step, size_t index, enum policy_endpoint endpoint, enum policy_worker worker);
void step_finish_stop(struct step *step, size_t index);
void step_orderly_stop(struct step *step, size_t index, enum tunnel_error reason);
void step_terminate(struct step *step, size_t index, enum policy_traffic traffic);
void step_supersede_others(struct step *step, size_t index);
void step_start(struct step *step, size_t index, bool by_user);
void step_started(struct step *step, size_t index);
void step_stop(struct step *step, size_t index);
void step_restart_by_user(struct step *step, size_t index);
void step_note_stable(struct step *step, struct lifecycle_tunnel *tunnel);

/* ---- lifecycle-decide.c ---- */
/* The plain meanings of restart and terminate: at once in place; blocked. */
extern const struct policy_action lifecycle_plain_restart, lifecycle_plain_terminate;
/* Whether what a `wait` is for is so already. */
bool step_event_holds(const struct step *step, enum policy_event event);
void step_unexpected_stop(struct step *step, size_t index, enum tunnel_error error, bool can_close);
/* A pending decision comes to ACTION; BY says why. */
void step_resolve_pending(struct step *step, size_t index, const struct policy_action *action, enum decided_by by);
/* What was decided, and put off until now, is done. */
void step_do_decided(struct step *step, size_t index, const struct policy_action *action);
/* True if what was decided replaces a decision that was pending. */
bool step_judge(struct step *step, size_t index, enum policy_event event);
/* A restart that waits for its delay is made now, or as soon as attempts may follow each other. */
void step_hasten(struct step *step, size_t index);
