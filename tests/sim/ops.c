/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What can happen: one row each. An operation stands by itself, so that any can be left out of a sequence when it is made shorter. */

#include "tests/sim/sim.h"

#define ERRORS(X) X(CONNECTION_COULD_NOT_BE_ESTABLISHED) X(CONNECTION_TIMEOUT) X(SERVER_DISCONNECTED) X(AUTHENTICATION_FAILED) X(SESSION_REFUSED) X(TUN_INTERFACE_FAILURE) X(UNKNOWN)
#define ROW(error) TUNNEL_ERROR_##error,
static const enum tunnel_error errors[] = {ERRORS(ROW)};

static void start(struct world *world, struct op op)
{
	if (!world->marker && !world->core.stopping)
		world_run_tunnel(world, LIFECYCLE_USER_START, op.tunnel);
}

static void restart(struct world *world, struct op op)
{
	if (!world->marker && !world->core.stopping)
		world_run_tunnel(world, LIFECYCLE_USER_RESTART, op.tunnel);
}

static void stop(struct world *world, struct op op)
{
	if (!world->core.stopping)
		world_run_tunnel(world, LIFECYCLE_USER_STOP, op.tunnel);
}

static void mode(struct world *world, struct op op)
{
	world_set_mode(world, (enum gate_mode)(op.arg % 3));
}

static void answer(struct world *world, struct op op)
{
	const struct lifecycle_pending *pending = &world->core.tunnels[op.tunnel].pending;
	/* Now and then a late one, which the daemon passes on only if it is pending; the lifecycle must not mind either. */
	uint64_t id = op.arg & 2 ? world->model.tunnels[op.tunnel].answered : pending->id;
	if (world->alive && (op.arg & 2 || pending->kind == PENDING_ASK))
		world_run(world, &(struct lifecycle_event){.type = LIFECYCLE_ANSWER, .tunnel = LIFECYCLE_NONE, .decision = id, .restart = op.arg & 1, .now_usec = world->now});
}

static void goes_on(struct world *world, struct op op)
{
	worker_goes_on(world, op.tunnel);
}

static void will_stop(struct world *world, struct op op)
{
	worker_stops(world, op.tunnel, errors[op.arg % ELEMENTSOF(errors)]);
}

static void dies(struct world *world, struct op op)
{
	worker_dies(world, op.tunnel);
}

static void misbehaves(struct world *world, struct op op)
{
	worker_misbehaves(world, op.tunnel, op.arg);
}

static void link_lost(struct world *world, struct op op)
{
	if (!world->alive || !world->equipped[op.tunnel])
		return;
	world->link_ready[op.tunnel] = false;
	world->equipped[op.tunnel] = op.arg & 1;
	world_run_tunnel(world, LIFECYCLE_LINK_LOST, op.tunnel);
}

static void network(struct world *world, struct op op)
{
	world_network(world, !world->network);
}

static void event(struct world *world, struct op op)
{
	static const enum policy_event events[] = {POLICY_EVENT_NETWORK_CHANGED, POLICY_EVENT_RESUMED, POLICY_EVENT_UNRESPONSIVE};
	world_run(world, &(struct lifecycle_event){.type = LIFECYCLE_POLICY_EVENT, .tunnel = LIFECYCLE_NONE, .policy_event = events[op.arg % 3], .now_usec = world->now});
}

static void next_deadline(struct world *world, struct op op)
{
	uint64_t deadline = world->alive ? lifecycle_deadline(&world->core) : USEC_INFINITY;
	if (deadline != USEC_INFINITY && deadline > world->now)
		world_advance(world, deadline - world->now);
}

static void pass_time(struct world *world, struct op op)
{
	world_advance(world, op.arg % 3000 * USEC_PER_MSEC + 1);
}

static void gate_fails(struct world *world, struct op op)
{
	world->fail_gate = op.arg & 4 ? 0 : 1 + op.arg % 3;
	world->fail_routing = op.arg & 4 ? 1 + op.arg % 3 : 0;
}

static void spawn_fails(struct world *world, struct op op)
{
	world->fail_spawn = 1;
}

static void link_fails(struct world *world, struct op op)
{
	world->fail_link = 1;
}

static void policy(struct world *world, struct op op)
{
	world_set_policy(world, op.arg % SIM_POLICIES);
}

static void crash(struct world *world, struct op op)
{
	if (!world->alive)
		return;
	if (op.arg % 16 == 0) { /* between turns */
		model_daemon_dies(world);
		world_run(world, &(struct lifecycle_event){.type = LIFECYCLE_EVENT_COUNT, .tunnel = LIFECYCLE_NONE, .now_usec = world->now});
		world->model.uncertain = false;
	} else {
		world->crash_in = 1 + op.arg % 16;
	}
}

static void daemon_up(struct world *world, struct op op)
{
	world_start_daemon(world);
}

static void hand_over(struct world *world, struct op op)
{
	world_stop_daemon(world);
	world_start_daemon(world);
}

static void shut_down(struct world *world, struct op op)
{
	world_run(world, &(struct lifecycle_event){.type = LIFECYCLE_SYSTEM_STOP, .tunnel = LIFECYCLE_NONE, .now_usec = world->now});
}

static void reboot(struct world *world, struct op op)
{
	world_reboot(world);
}

static void way_out(struct world *world, struct op op)
{
	world_way_out(world);
}

static const struct {
	const char *name;
	void (*apply)(struct world *world, struct op op);
	unsigned weight;
	bool of_tunnel;
	uint8_t args; /* for the exhaustive alphabet: how many values of arg differ; 0: not in it */
} rows[] = {
	{"start", start, 90, true, 1},
	{"stop", stop, 45, true, 1},
	{"restart", restart, 22, true, 1},
	{"set mode", mode, 8, false, 3},
	{"answer", answer, 60, true, 2},
	{"worker goes on", goes_on, 700, true, 1},
	{"worker's client stops", will_stop, 90, true, 1},
	{"worker dies", dies, 25, true, 1},
	{"worker misbehaves", misbehaves, 20, true, 2},
	{"link is lost", link_lost, 12, true, 1},
	{"network comes or goes", network, 16, false, 1},
	{"event", event, 25, false, 2},
	{"next deadline", next_deadline, 220, false, 1},
	{"wait", pass_time, 160, false, 0},
	{"gate will fail", gate_fails, 14, false, 1},
	{"spawn will fail", spawn_fails, 5, false, 1},
	{"link will fail", link_fails, 4, false, 0},
	{"policy", policy, 4, false, 0},
	{"daemon dies", crash, 3, false, 1},
	{"daemon starts", daemon_up, 30, false, 1},
	{"daemon is replaced", hand_over, 1, false, 0},
	{"system stops", shut_down, 1, false, 0},
	{"reboot", reboot, 1, false, 0},
	{"way out", way_out, 1, false, 0},
};

struct op op_random(struct world *world, uint64_t *random)
{
	static uint8_t wheel[2048];
	static unsigned total;
	if (total == 0)
		for (size_t i = 0; i < ELEMENTSOF(rows); i++)
			for (unsigned j = 0; j < rows[i].weight; j++)
				wheel[total++] = (uint8_t)i;
	uint64_t draw = sim_draw(random);
	return (struct op){.type = wheel[(draw >> 40) * total >> 24], .tunnel = (uint8_t)((draw >> 20 & 0xff) % SIM_TUNNELS), .arg = (uint16_t)draw};
}

void op_apply(struct world *world, struct op op)
{
	rows[op.type].apply(world, op);
}

void op_print(FILE *file, struct op op)
{
	fprintf(file, "%s%s%s, %u", rows[op.type].name, rows[op.type].of_tunnel ? " " : "", rows[op.type].of_tunnel ? sim_ids[op.tunnel] : "", op.arg);
}

bool op_matters(struct op op)
{
	return rows[op.type].apply == start || rows[op.type].apply == stop || rows[op.type].apply == goes_on || rows[op.type].apply == will_stop ||
	       rows[op.type].apply == network || rows[op.type].apply == next_deadline;
}

bool op_of_daemon(struct op op)
{
	return rows[op.type].apply == crash || rows[op.type].apply == daemon_up;
}

size_t op_all(struct op *ret, size_t max)
{
	size_t count = 0;
	for (uint8_t i = 0; i < ELEMENTSOF(rows); i++)
		for (uint8_t tunnel = 0; tunnel < (rows[i].of_tunnel ? SIM_TUNNELS : 1); tunnel++)
			for (uint16_t arg = 0; arg < rows[i].args && count < max; arg++)
				ret[count++] = (struct op){.type = i, .tunnel = tunnel, .arg = arg};
	return count;
}
