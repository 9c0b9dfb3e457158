/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A simulated host around the shipped lifecycle, policy engine, plan and turn. world.c is the daemon's shell, the kernel, the disk and
 * the clock; worker.c the workers; model.c and decided.c say, from what was asked and announced alone, what must hold; invariants.c names it; ops.c
 * is what can happen; policies.c what decides. exhaustive.c and random.c drive it, shrink.c makes a failure short.
 */

#include <stdio.h>

#include "daemon/demand.h"
#include "daemon/lifecycle.h"
#include "daemon/turn.h"

#define SIM_TUNNELS 3 /* home and work route everything, office its own networks */
#define SIM_POLICIES 3
#define SIM_RESTARTS 16
#define SIM_RULES 8 /* of a policy, with `otherwise` */
#define ALL_TUNNELS(i) (size_t i = 0; i < SIM_TUNNELS; i++)

/* ---- policies.c ---- */
struct sim_policy {
	struct policy *policy;
	unsigned limit; /* 0: none */
	uint64_t per_usec, stable_usec;
	unsigned connects;	/* bit i: some rule connects tunnel i */
};
/* The small ones of policies.c by number; beyond them, random ones, of which NUMBER is the seed. The caller unrefs .policy. */
void sim_policy_make(uint64_t number, struct sim_policy *ret, char **ret_text);
extern const size_t sim_small_policies;
extern const char *const sim_ids[SIM_TUNNELS];

/* ---- invariants.c ---- */
enum invariant {
#define INVARIANT(constant, name, sentence) INVARIANT_##constant,
#include "tests/sim/invariants.def"
#undef INVARIANT
	INVARIANT_COUNT,
};
const char *invariant_name(enum invariant invariant);
const char *invariant_sentence(enum invariant invariant);

/* ---- workers ---- */
enum process_phase { PROCESS_NONE, PROCESS_NEW, PROCESS_IDLE, PROCESS_STARTED, PROCESS_NAMED, PROCESS_ALLOWED, PROCESS_UP, PROCESS_ENDED };
struct process {
	enum process_phase phase; /* ENDED: its client is gone, and it has said so or will in its hello */
	bool killed;		  /* its end has not been seen yet */
	bool goodbye;		  /* was told to stop */
	bool known;		  /* to this daemon */
	bool said;		  /* ENDED: has told this daemon */
	unsigned serial;
	size_t endpoint;
	enum tunnel_error error;
};

/* What decisions were told, as far as later ones depend on it. */
struct past {
	uint64_t restarts[SIM_RESTARTS]; /* the last ones' times, a ring */
	unsigned restart_count;
	uint8_t counts[SIM_RULES]; /* of each rule's decisions since stable; `otherwise` first */
	bool counted;		   /* they are known: no daemon died in the midst of telling */
	size_t policy;		   /* of the last decision */
	uint64_t decision;	   /* its number */
};

/* ---- the kernel and the disk ---- */
struct kernel {
	bool exists, drop_default;
	struct {
		enum gate_state state; /* GATE_OPEN: nothing is held for it */
		bool reachable;	       /* the worker may talk to an endpoint ... */
		struct endpoint endpoint;
	} tunnels[SIM_TUNNELS];
};

struct disk {
	bool exists;
	unsigned boot;
	uint64_t saved_usec, next_decision;
	bool hold;
	enum gate_mode mode;
	struct lifecycle_tunnel tunnels[SIM_TUNNELS];
	unsigned serials[SIM_TUNNELS];
	size_t policy;
	struct past past[SIM_TUNNELS]; /* what the model knew of by then */
};

/* ---- model.c ---- */
enum node_kind { NODE_NONE, NODE_RUN, NODE_START, NODE_DELAY, NODE_EVENT, NODE_ASK, NODE_END };
struct model_tunnel {
	bool wanted, released;
	bool confirmed; /* the gate has been seen closed for it since it is wanted */
	enum tunnel_state state;
	unsigned attempt;
	uint64_t stable_usec, connected_usec;
	/* What the last decision leaves to happen. */
	enum node_kind kind;
	const struct policy_action *then, *on_timeout, *failover;
	enum policy_event event;
	uint64_t due_usec;
	bool exact; /* due_usec is known and not only a lower bound */
	bool hastens; /* an uplink that comes back makes it due */
	bool takes_over; /* another one failed over to it */
	bool asking;
	uint64_t question, answered;
	struct past past;
	/* Of the step under way. */
	bool may_want, may_unwant, may_release, must_release, may_unrelease, replaced, hands_over, opened_early;
	unsigned stops, decisions, stops_min, stops_max;
	const struct policy_action *expected; /* is to be told as decided ... */
	enum decided_by expected_by;
	bool fresh, wanted_before, wanted_at_death;
};
struct model {
	struct model_tunnel tunnels[SIM_TUNNELS];
	bool uncertain; /* the daemon died in the midst of a turn */
	bool step_open;	 /* a step's end has not been judged yet */
	bool gate_in_list;
	uint64_t last_decision; /* that was told by this daemon, or saved by the one before */
	enum lifecycle_event_type event;
};

struct violation {
	bool happened;
	enum invariant invariant;
	char text[240];
};

struct world {
	/* Up to `core` is copied whole by exhaustive.c. */
	uint64_t now, save_usec, gate_retry_usec;
	unsigned boot, serial;
	bool alive, dead, network, marker, stood, first_of_boot, exited;
	unsigned fail_gate, fail_routing, fail_spawn, fail_link, crash_in;
	bool list_failed; /* an effect of the list under way failed */
	bool gate_failed; /* the last application did */
	bool turn_failed;
	enum gate_mode mode; /* of the document */
	size_t policy;
	struct process processes[SIM_TUNNELS];
	bool equipped[SIM_TUNNELS], link_ready[SIM_TUNNELS];
	struct kernel kernel;
	struct disk disk;
	struct model model;
	uint64_t random; /* seed of the core's */

	struct lifecycle core;
	struct sim_policy policies[SIM_POLICIES];
	struct loaded {
		struct policy *policy;
		struct lifecycle_pending pending;
	} loaded[64]; /* what is left of policies, of decisions that outlived a daemon */
	size_t loaded_count;
	struct turn turn;
	struct demand demand;
	struct violation violation;
	uint64_t steps, effects, renders, applied;
	unsigned universe; /* of exhaustive.c: bit i: tunnel i takes part */
	bool deaths;	   /* likewise: the daemon dies between any two effects */
	unsigned render_every; /* 0: never */
	FILE *trace;
};

/* ---- world.c ---- */
void world_init(struct world *world, uint64_t seed, size_t policy_pool); /* no daemon yet; policies are the caller's to fill in */
void world_done(struct world *world);
void world_start_daemon(struct world *world);
void world_stop_daemon(struct world *world); /* it saved what was not saved yet */
void world_reboot(struct world *world);
void world_run(struct world *world, const struct lifecycle_event *event);
void world_run_tunnel(struct world *world, enum lifecycle_event_type type, size_t tunnel);
void world_set_mode(struct world *world, enum gate_mode mode);
void world_set_policy(struct world *world, size_t index);
void world_network(struct world *world, bool available);
void world_advance(struct world *world, uint64_t usec); /* timers come due on the way */
int world_apply_gate(struct world *world);
void world_save(struct world *world);
void world_way_out(struct world *world);
extern const struct tunnel_config sim_configs[SIM_TUNNELS];
extern const struct endpoint sim_endpoints[SIM_TUNNELS][2];

/* ---- worker.c ---- */
void worker_goes_on(struct world *world, size_t index);	 /* what a good worker does next */
void worker_stops(struct world *world, size_t index, enum tunnel_error error); /* its client dies and it says so */
void worker_dies(struct world *world, size_t index);
void worker_misbehaves(struct world *world, size_t index, unsigned how);
void process_end(struct world *world, size_t index); /* gone, without a word */

/* ---- decided.c ---- */
void model_decision(struct world *world, const struct effect *effect); /* was announced */
void model_expect(struct model_tunnel *tunnel, enum decided_by by, const struct policy_action *action);
void model_leave(struct model_tunnel *tunnel, enum node_kind kind, uint64_t due);
bool model_has_happened(const struct world *world, enum policy_event event);
bool model_nobody_takes_over(const struct world *world, size_t index); /* a failover was decided, and no tunnel of its list can */
void model_allow_start(struct world *world, size_t index);
void model_fail_over_when_due(struct world *world, size_t index);
void model_forget(struct model_tunnel *tunnel);		/* stable, or begun anew by the user */
void model_policy_replaced(struct world *world);
void model_remember(struct world *world, size_t index); /* what the disk knows */

/* ---- model.c ---- */
void model_init(struct world *world);
void model_before(struct world *world, const struct lifecycle_event *event);
void model_effect(struct world *world, const struct effect *effect); /* about to be carried out */
void model_turn_begins(struct world *world);
void model_kernel_changed(struct world *world, const struct kernel *old);
void model_gate_applied(struct world *world);
void model_turn_done(struct world *world);
void model_daemon_dies(struct world *world); /* what its turn goes on to do, it does no more */
void model_daemon_died(struct world *world);
void model_daemon_back(struct world *world);
static inline struct model_tunnel *of(struct world *world, size_t index)
{
	return &world->model.tunnels[index];
}

static inline uint64_t later(uint64_t time, uint64_t usec)
{
	return usec > USEC_INFINITY - time ? USEC_INFINITY : time + usec;
}

__attribute__((format(printf, 3, 4))) void violate(struct world *world, enum invariant invariant, const char *format, ...);

/* ---- ops.c ---- */
struct op {
	uint8_t type, tunnel;
	uint16_t arg;
};
struct op op_random(struct world *world, uint64_t *random);
void op_apply(struct world *world, struct op op);
void op_print(FILE *file, struct op op);
bool op_matters(struct op op); /* between several tunnels */
bool op_of_daemon(struct op op); /* it ends or begins */
size_t op_all(struct op *ret, size_t max); /* the alphabet of exhaustive.c */

/* ---- drivers ---- */
struct sim_options {
	uint64_t seed, events, steps;
	unsigned jobs;
	bool verbose, brief;
	uint64_t states; /* the most that are looked at */
};
uint64_t sim_draw(uint64_t *random);
uint64_t sim_mix(uint64_t hash, uint64_t value);
/* A key of what ACTION, NULL included, does: the same for one that was saved and read back. */
uint64_t sim_action_key(const struct policy_action *action);
int exhaustive_main(const struct sim_options *options);
int random_main(const struct sim_options *options);
int replay_main(const struct sim_options *options);
/* One episode: the world of SEED, and STEPS operations from it, noted in OPS. True if nothing was violated. */
bool episode_run(uint64_t seed, size_t steps, struct op *ops, size_t *ret_done, struct world *world);
bool episode_replay(uint64_t seed, const struct op *ops, size_t count, struct world *world, FILE *trace);
/* Shortens OPS to a sequence of which no operation can be left out without losing INVARIANT. Returns the new count. */
size_t shrink(uint64_t seed, struct op *ops, size_t count, enum invariant invariant, struct world *world);
#define EPISODE_STEPS 10000
