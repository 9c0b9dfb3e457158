/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One tunnel with every operation of the alphabet, and two with those that matter between them, under small policies, in every state that
 * can be reached, until no new state comes. States are told apart by all that decides what happens next: times by their order alone,
 * attempts up to two, histories and decision numbers not at all (the policies here have neither limits nor growing delays).
 */

#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_SIZE (1u << 23)
#define EFFECTS_MAX 32 /* of one operation */

struct snapshot {
	struct snapshot *next;
	struct lifecycle_tunnel tunnels[SIM_TUNNELS]; /* but their history */
	_Alignas(16) unsigned char rest[];
};

struct search {
	uint64_t *table;
	uint64_t states, transitions;
	struct snapshot *first, *last;
};

#define OUTSIDE offsetof(struct world, core)	     /* of the world */
#define HEADER offsetof(struct lifecycle, tunnels)    /* of the lifecycle */
#define LIFE offsetof(struct lifecycle_tunnel, history)

static struct snapshot *take(const struct world *world)
{
	struct snapshot *snapshot = malloc(sizeof *snapshot + OUTSIDE + HEADER);
	if (!snapshot)
		abort();
	snapshot->next = NULL;
	memcpy(snapshot->rest, world, OUTSIDE);
	memcpy(snapshot->rest + OUTSIDE, &world->core, HEADER);
	for ALL_TUNNELS (i)
		memcpy(&snapshot->tunnels[i], &world->core.tunnels[i], LIFE);
	return snapshot;
}

static void restore(const struct snapshot *snapshot, struct world *world)
{
	memcpy((void *)world, snapshot->rest, OUTSIDE);
	memcpy((void *)&world->core, snapshot->rest + OUTSIDE, HEADER);
	for ALL_TUNNELS (i) {
		memcpy(&world->core.tunnels[i], &snapshot->tunnels[i], LIFE);
		world->core.tunnels[i].history = (struct policy_history){};
		world->model.tunnels[i].past.restart_count = 0;
	}
}

static void mix(uint64_t *hash, uint64_t value)
{
	*hash = sim_mix(*hash, value);
}

static bool takes_part(const struct world *world, size_t index)
{
	return world->universe & 1u << index;
}

/* How many of the world's times are before TIME; what never comes, and what has passed, have places of their own. */
static unsigned rank(const struct world *world, uint64_t time)
{
	unsigned before = 2;
	if (time == USEC_INFINITY || time == 0)
		return 0;
	if (time <= world->now)
		return 1;
	for ALL_TUNNELS (i) {
		if (!takes_part(world, i))
			continue;
		before += world->core.tunnels[i].deadline_usec < time;
		before += world->core.tunnels[i].stable_usec < time;
	}
	return before;
}

static void mix_tunnel(const struct world *world, size_t i, uint64_t *hash)
{
	const struct lifecycle_tunnel *tunnel = &world->core.tunnels[i];
	const struct process *process = &world->processes[i];
	const struct model_tunnel *model = &world->model.tunnels[i];
	const bool flags[] = {tunnel->wanted, tunnel->released, tunnel->system_stop, tunnel->starting, tunnel->fresh_start, tunnel->proving, tunnel->again,
		tunnel->established, tunnel->contacted, process->killed, process->goodbye, process->known, world->equipped[i], world->link_ready[i],
		tunnel->attempt_usec && world->now - tunnel->attempt_usec < LIFECYCLE_SPACING_USEC, model->exact, model->takes_over, model->failover != NULL};
	for (size_t j = 0; j < ELEMENTSOF(flags); j++)
		mix(hash, flags[j]);
	mix(hash, (uint64_t)tunnel->state << 8 | (uint64_t)tunnel->worker);
	mix(hash, (uint64_t)tunnel->endpoint << 8 | MIN_OF(tunnel->attempt, 2u));
	mix(hash, (uint64_t)tunnel->pending.kind << 16 | (uint64_t)tunnel->pending.event << 8 | (uint64_t)tunnel->pending.endpoint << 4 | (uint64_t)tunnel->pending.worker);
	mix(hash, sim_action_key(tunnel->pending.then));
	mix(hash, sim_action_key(tunnel->pending.on_timeout));
	mix(hash, rank(world, tunnel->deadline_usec));
	mix(hash, rank(world, tunnel->stable_usec));
	mix(hash, (uint64_t)process->phase << 8 | process->endpoint);
	mix(hash, (uint64_t)world->kernel.tunnels[i].state << 8 | world->kernel.tunnels[i].reachable);
	mix(hash, (uint64_t)model->kind);
}

/* Of what the next daemon will find: what was saved, how old it is, and what the model made of the one that died. */
static void mix_saved(const struct world *world, size_t i, uint64_t *hash)
{
	const struct lifecycle_tunnel *saved = &world->disk.tunnels[i];
	const struct process *process = &world->processes[i];
	const struct model_tunnel *model = &world->model.tunnels[i];
	const bool flags[] = {world->alive, world->disk.exists, world->model.uncertain, world->save_usec != USEC_INFINITY, saved->wanted, saved->released,
		saved->established, saved->contacted, process->said, world->disk.serials[i] == process->serial, saved->deadline_usec <= world->now,
		saved->deadline_usec == world->core.tunnels[i].deadline_usec, saved->pending.id == world->core.tunnels[i].pending.id, saved->pending.decided,
		saved->pending.hastens, model->wanted, model->released, model->confirmed, model->wanted_before, model->wanted_at_death,
		model->past.decision <= model->answered};
	for (size_t j = 0; j < ELEMENTSOF(flags); j++)
		mix(hash, flags[j]);
	mix(hash, (uint64_t)saved->state << 32 | (uint64_t)saved->endpoint << 24 | MIN_OF(saved->attempt, 2u) << 16 | (uint64_t)saved->pending.kind << 8 |
		(uint64_t)saved->pending.event);
	mix(hash, sim_action_key(saved->pending.then));
	mix(hash, sim_action_key(saved->pending.on_timeout));
	mix(hash, (uint64_t)model->state << 8 | (uint64_t)model->kind);
}

static uint64_t key(const struct world *world)
{
	uint64_t hash = 1;
	mix(&hash, (uint64_t)world->core.mode << 8 | world->network);
	mix(&hash, (uint64_t)world->fail_gate << 8 | world->fail_spawn);
	mix(&hash, world->gate_failed);
	for ALL_TUNNELS (i)
		if (takes_part(world, i)) {
			if (world->alive)
				mix_tunnel(world, i, &hash);
			if (world->deaths)
				mix_saved(world, i, &hash);
		}
	return hash ? hash : 1;
}

/* True if KEY was not there. */
static bool add(struct search *search, uint64_t hash)
{
	for (size_t at = hash % TABLE_SIZE;; at = (at + 1) % TABLE_SIZE) {
		if (search->table[at] == hash)
			return false;
		if (search->table[at])
			continue;
		search->table[at] = hash;
		search->states++;
		return true;
	}
}

static void reach(struct search *search, const struct world *world)
{
	if (!add(search, key(world)))
		return;
	struct snapshot *snapshot = take(world);
	if (search->last)
		search->last->next = snapshot;
	else
		search->first = snapshot;
	search->last = snapshot;
}

static void say_where(const struct snapshot *from, struct op op, unsigned effect, struct world *world)
{
	printf("# violated: %s: %s\n# %s, on ", invariant_name(world->violation.invariant), invariant_sentence(world->violation.invariant), world->violation.text);
	op_print(stdout, op);
	printf(":\n");
	world->violation.happened = false;
	restore(from, world);
	world->trace = stdout;
	world->crash_in = effect ? effect + 1 : 0;
	op_apply(world, op);
	world->trace = NULL;
	printf("# caught by %s after", invariant_name(world->violation.invariant));
}

/* OP in the state FROM, and where the daemon's deaths are looked at, again with one before each effect that comes of it. False after a violation. */
static bool apply(struct search *search, const struct snapshot *from, struct op op, struct world *world)
{
	for (unsigned effect = 0; effect <= (world->deaths ? EFFECTS_MAX : 0); effect++) {
		restore(from, world);
		world->crash_in = effect ? effect + 1 : 0;
		op_apply(world, op);
		search->transitions++;
		if (world->violation.happened) {
			say_where(from, op, effect, world);
			return false;
		}
		if (world->crash_in > 1)
			break; /* there are not so many */
		world->crash_in = 0;
		reach(search, world);
	}
	return true;
}

static bool is_looked_at(const struct world *world, struct op op)
{
	bool several = world->universe & (world->universe - 1);
	if (op_of_daemon(op))
		return world->deaths;
	return takes_part(world, op.tunnel) && (op_matters(op) || (!several && !world->deaths));
}

/* Every operation in the first state that waits. False after a violation. */
static bool expand(struct search *search, const struct op *ops, size_t count, struct world *world)
{
	struct snapshot *from = search->first;
	bool good = true;
	search->first = from->next;
	if (!search->first)
		search->last = NULL;
	for (size_t i = 0; i < count && good; i++) {
		if (is_looked_at(world, ops[i]))
			good = apply(search, from, ops[i], world);
	}
	free(from);
	return good;
}

static bool explore(uint64_t policy, unsigned universe, bool deaths, uint64_t max, uint64_t *states, uint64_t *transitions)
{
	static struct world world;
	struct op ops[128];
	size_t count = op_all(ops, ELEMENTSOF(ops));
	struct search search = {.table = calloc(TABLE_SIZE, sizeof *search.table)};
	bool good = search.table != NULL;
	for (size_t i = 0; i < SIM_POLICIES; i++)
		sim_policy_make(policy, &world.policies[i], NULL);
	world_init(&world, 1, 0);
	world.universe = universe;
	world.deaths = deaths;
	world_start_daemon(&world);
	reach(&search, &world);
	while (good && search.first && search.states < max)
		good = expand(&search, ops, count, &world);
	if (!good)
		printf(" %llu events\n", (unsigned long long)world.steps);
	bool closed = good && !search.first;
	printf("%sok - sim: policy %llu,%s%s%s%s: %llu states, %llu transitions%s\n", closed ? "" : "not ", (unsigned long long)policy, universe & 1 ? " home" : "",
		universe & 2 ? " work" : "", universe & 4 ? " office" : "", deaths ? ", daemons that die" : "", (unsigned long long)search.states,
		(unsigned long long)search.transitions, closed ? ", to closure" : good ? ", and there are more" : "");
	for (struct snapshot *next; search.first; search.first = next) {
		next = search.first->next;
		free(search.first);
	}
	*states += search.states;
	*transitions += search.transitions;
	free(search.table);
	world_done(&world);
	return closed;
}

/* One tunnel with every operation, two with those that matter between them, and one with these and a daemon that dies between any two effects. */
static const struct {
	uint64_t policy;
	unsigned tunnels; /* bit i: sim_ids[i] */
	bool deaths;
} universes[] = {{0, 1, false}, {1, 1, false}, {2, 1, false}, {3, 1, false}, {0, 3, false}, {2, 3, false}, {0, 5, false}, {2, 5, false},
	{0, 1, true}, {1, 1, true}, {2, 1, true}, {3, 1, true}};

int exhaustive_main(const struct sim_options *options)
{
	uint64_t states = 0, transitions = 0;
	bool good = true;
	for (size_t i = 0; i < ELEMENTSOF(universes); i++)
		good &= explore(universes[i].policy, universes[i].tunnels, universes[i].deaths, options->states, &states, &transitions);
	printf("# exhaustive: %llu states, %llu transitions\n", (unsigned long long)states, (unsigned long long)transitions);
	return !good;
}
