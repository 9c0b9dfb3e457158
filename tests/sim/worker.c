/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Workers, and what the daemon makes of their messages before the lifecycle hears of them (daemon/effects.c: on_message, hello, on_gone). */

#include "tests/sim/sim.h"

static void tell(struct world *world, size_t index, struct lifecycle_event event)
{
	event.tunnel = index;
	event.now_usec = world->now;
	world_run(world, &event);
}

static bool can_talk(const struct world *world, size_t index)
{
	const struct process *process = &world->processes[index];
	return world->alive && process->phase != PROCESS_NONE && process->known && !process->killed;
}

void process_end(struct world *world, size_t index)
{
	world->processes[index].phase = PROCESS_NONE;
	world->processes[index].killed = world->processes[index].known = false;
}

/* It named somebody who is not its server, or came up with somebody it had not named. */
static void end_stranger(struct world *world, size_t index)
{
	world->processes[index].killed = true;
	world->equipped[index] = false;
	world->core.tunnels[index].worker = WORKER_STATE_ENDING;
	tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_WILL_STOP, .error = TUNNEL_ERROR_WORKER_CRASHED});
}

static bool names_its_server(const struct world *world, size_t index, const struct endpoint *endpoint)
{
	return endpoint_equal(endpoint, &sim_endpoints[index][world->core.tunnels[index].endpoint % 2]);
}

static void say_contacting(struct world *world, size_t index, const struct endpoint *endpoint)
{
	if (!names_its_server(world, index, endpoint))
		end_stranger(world, index);
	else
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_CONTACTING, .endpoint = *endpoint});
}

static void say_up(struct world *world, size_t index, const struct endpoint *endpoint)
{
	const struct lifecycle_tunnel *tunnel = &world->core.tunnels[index];
	if (!tunnel->contacted || !endpoint_equal(&tunnel->contact, endpoint))
		end_stranger(world, index);
	else
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_UP});
}

static const struct endpoint *its_endpoint(const struct world *world, size_t index)
{
	return &sim_endpoints[index][world->processes[index].endpoint % 2];
}

/* A worker that was found alive says hello to its new daemon. */
static void say_hello_again(struct world *world, size_t index)
{
	struct process *process = &world->processes[index];
	struct lifecycle_tunnel *tunnel = &world->core.tunnels[index];
	const struct endpoint *endpoint = its_endpoint(world, index);
	world->equipped[index] = true;
	tunnel->worker = WORKER_STATE_RUNNING;
	process->said = true;
	if (process->phase != PROCESS_ENDED && !names_its_server(world, index, endpoint)) {
		end_stranger(world, index);
		return;
	}
	if (process->phase == PROCESS_ENDED) {
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_WILL_STOP, .error = process->error});
	} else if (process->phase != PROCESS_UP) {
		process->phase = MAX_OF(process->phase, PROCESS_NAMED);
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_CONTACTING, .endpoint = *endpoint});
	} else if (tunnel->state == TUNNEL_CONNECTED && tunnel->contacted && endpoint_equal(&tunnel->contact, endpoint)) {
		tunnel->deadline_usec = USEC_INFINITY;
		(void)world_apply_gate(world);
	} else {
		tunnel->contacted = true;
		tunnel->contact = *endpoint;
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_UP});
	}
}

static void say_hello(struct world *world, size_t index)
{
	struct process *process = &world->processes[index];
	if (process->phase == PROCESS_NEW)
		process->phase = PROCESS_IDLE;
	if (process->phase == PROCESS_IDLE || world->core.tunnels[index].worker != WORKER_STATE_SPAWNED)
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_HELLO});
	else
		say_hello_again(world, index);
}

void worker_dies(struct world *world, size_t index)
{
	struct process *process = &world->processes[index];
	bool known = process->known && world->alive;
	if (process->phase == PROCESS_NONE)
		return;
	process->phase = PROCESS_NONE; /* whether it was killed is looked at by the model */
	world->equipped[index] = false;
	if (known)
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_GONE, .error = TUNNEL_ERROR_WORKER_CRASHED});
	if (process->phase == PROCESS_NONE)
		process_end(world, index);
}

void worker_goes_on(struct world *world, size_t index)
{
	struct process *process = &world->processes[index];
	if (process->killed)
		worker_dies(world, index);
	if (!can_talk(world, index))
		return;
	if (process->phase == PROCESS_NEW || world->core.tunnels[index].worker == WORKER_STATE_SPAWNED) {
		say_hello(world, index);
	} else if (process->goodbye) {
		process->goodbye = false;
		process->phase = PROCESS_IDLE;
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_STOPPED});
	} else if (process->phase == PROCESS_STARTED) {
		process->phase = PROCESS_NAMED;
		say_contacting(world, index, its_endpoint(world, index));
	} else if (process->phase == PROCESS_ALLOWED) {
		process->phase = PROCESS_UP;
		say_up(world, index, its_endpoint(world, index));
	}
}

void worker_stops(struct world *world, size_t index, enum tunnel_error error)
{
	struct process *process = &world->processes[index];
	if (process->phase < PROCESS_STARTED || process->phase == PROCESS_ENDED)
		return;
	process->phase = PROCESS_ENDED;
	process->error = error;
	if (!can_talk(world, index) || world->core.tunnels[index].worker == WORKER_STATE_SPAWNED)
		return; /* its hello will say so */
	process->said = true;
	tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_WILL_STOP, .error = error});
}

/* Messages that no good worker would send now. */
void worker_misbehaves(struct world *world, size_t index, unsigned how)
{
	static const struct endpoint stranger = {{AF_INET, {198, 51, 100, 1}}, 53, IPPROTO_UDP};
	if (!can_talk(world, index))
		return;
	bool greeted = world->core.tunnels[index].worker != WORKER_STATE_SPAWNED;
	switch (how % 9) {
	case 0:
		say_contacting(world, index, its_endpoint(world, index));
		break;
	case 1:
		say_contacting(world, index, &stranger);
		break;
	case 2:
		say_up(world, index, its_endpoint(world, index));
		break;
	case 3:
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_STOPPED});
		break;
	case 4:
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_WILL_STOP, .error = TUNNEL_ERROR_UNKNOWN});
		break;
	case 6: /* no misbehaviour: somebody is asked for what it needs, or has answered, or the far end is silent */
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_ASKING});
		break;
	case 7:
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_ANSWERED});
		break;
	case 8:
		tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_PEER_SILENT});
		break;
	case 5:
		if (greeted)
			tell(world, index, (struct lifecycle_event){.type = LIFECYCLE_WORKER_HELLO});
		break;
	}
}
