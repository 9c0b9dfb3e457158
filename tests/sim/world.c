/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The host: what daemon/manager.c and daemon/effects.c do with the kernel, the disk and the clock, done with a struct. The order of
 * effects is the shipped daemon/turn.c's, the gate's plan is daemon/demand.c's, what the disk gives back went through daemon/saved.c.
 */

#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/saved.h"
#include "tunnel/driver.h"
#include "util/fields.h"

#define BOOT_TIME (1000 * USEC_PER_SEC)
#define SAVE_DELAY (USEC_PER_SEC / 2)
#define GATE_RETRY USEC_PER_SEC

#define V4(a, b, c, d, bits) {{AF_INET, {a, b, c, d}}, bits}
#define SERVER_AT(n) {{AF_INET, {192, 0, 2, n}}, 51820, IPPROTO_UDP}
#define SERVER(n) {.text = (char *)"192.0.2." #n ":51820/udp", .is_literal = true, .endpoint = SERVER_AT(n)}
static struct tunnel_endpoint servers[SIM_TUNNELS][2] = {{SERVER(1), SERVER(2)}, {SERVER(3), SERVER(4)}, {SERVER(5), SERVER(6)}};
static struct ip_prefix addresses[SIM_TUNNELS] = {V4(10, 9, 0, 2, 32), V4(10, 9, 1, 2, 32), V4(10, 9, 2, 2, 32)};
static struct ip_prefix office_routes[] = {V4(203, 0, 113, 0, 24)};
static const char *texts[SIM_TUNNELS][2] = {{"192.0.2.1:51820/udp", "192.0.2.2:51820/udp"}, {"192.0.2.3:51820/udp", "192.0.2.4:51820/udp"},
	{"192.0.2.5:51820/udp", "192.0.2.6:51820/udp"}};
const char *const sim_ids[SIM_TUNNELS] = {"home", "work", "office"};

#define CONFIG(n, name) .id = name, .interface = "hf-" name, .endpoints = servers[n], .endpoint_count = 2, .addresses = &addresses[n], .address_count = 1
const struct tunnel_config sim_configs[SIM_TUNNELS] = {
	{CONFIG(0, "home"), .all = true, .autostart = true},
	{CONFIG(1, "work"), .all = true},
	{CONFIG(2, "office"), .routes = office_routes, .route_count = 1},
};
const struct endpoint sim_endpoints[SIM_TUNNELS][2] = {{SERVER_AT(1), SERVER_AT(2)}, {SERVER_AT(3), SERVER_AT(4)}, {SERVER_AT(5), SERVER_AT(6)}};
static struct kill_switch *settings;
static struct network_state network_state = {.uplinks = {"eth0"}, .uplink_count = 1};

static bool is_known(const struct world *world, size_t index)
{
	return world->processes[index].phase != PROCESS_NONE && world->processes[index].known;
}

/* ---- the disk ---- */

/* Its restarts' times are many, and are seldom others than those saved before. */
static void save_tunnel(struct lifecycle_tunnel *saved, const struct lifecycle_tunnel *tunnel)
{
	bool same = saved->history.restart_next == tunnel->history.restart_next && saved->history.restart_count == tunnel->history.restart_count;
	memcpy(saved, tunnel, same ? offsetof(struct lifecycle_tunnel, history.restarts) : sizeof *saved);
}

static void save_past(struct past *saved, const struct past *past)
{
	bool same = saved->restart_count == past->restart_count && past->restart_count > 0; /* none: they may be of a boot that is over */
	memcpy(&saved->counts, &past->counts, sizeof *saved - offsetof(struct past, counts));
	if (!same)
		memcpy(saved, past, offsetof(struct past, counts));
}

void world_save(struct world *world)
{
	struct disk *disk = &world->disk;
	disk->exists = true;
	disk->boot = world->boot;
	disk->saved_usec = world->now;
	disk->next_decision = world->core.next_decision;
	disk->hold = world->core.hold;
	disk->mode = world->core.mode;
	disk->policy = world->policy;
	for ALL_TUNNELS (i) {
		save_tunnel(&disk->tunnels[i], &world->core.tunnels[i]);
		save_past(&disk->past[i], &world->model.tunnels[i].past);
		disk->past[i].counted &= !world->turn.running; /* what is behind it in the list is not told yet */
		disk->serials[i] = is_known(world, i) && !world->processes[i].killed ? world->processes[i].serial : 0;
	}
	world->save_usec = USEC_INFINITY;
}

static bool disk_wants_closed(const struct disk *disk)
{
	for ALL_TUNNELS (i)
		if (disk->exists && disk->tunnels[i].wanted && !disk->tunnels[i].released)
			return true;
	return disk->exists && disk->hold;
}

static bool is_same(const struct lifecycle_pending *a, const struct lifecycle_pending *b)
{
	return a->rule == b->rule && policy_same(a->policy, b->policy) && sim_action_key(a->then) == sim_action_key(b->then) &&
	       sim_action_key(a->on_timeout) == sim_action_key(b->on_timeout);
}

/* One of a kind is enough: PENDING is made to point into that. */
static void keep_loaded(struct world *world, struct policy *policy, struct lifecycle_pending *pending)
{
	for (size_t i = 0; i < world->loaded_count; i++)
		if (is_same(&world->loaded[i].pending, pending)) {
			pending->policy = world->loaded[i].pending.policy;
			pending->then = world->loaded[i].pending.then;
			pending->on_timeout = world->loaded[i].pending.on_timeout;
			policy_unref(policy);
			return;
		}
	if (world->loaded_count < ELEMENTSOF(world->loaded))
		world->loaded[world->loaded_count++] = (struct loaded){policy, *pending};
}

static void load(struct world *world)
{
	const struct disk *disk = &world->disk;
	if (world->stood && !(disk->exists && (disk_wants_closed(disk) || disk->mode == GATE_MODE_ALWAYS)))
		world->core.hold = true; /* it stands, and no state says why */
	world->first_of_boot = !disk->exists || disk->boot != world->boot;
	if (!disk->exists)
		return;
	world->core.next_decision = disk->next_decision;
	world->core.hold |= disk->hold;
	for ALL_TUNNELS (i) {
		struct lifecycle_tunnel *tunnel = &world->core.tunnels[i];
		struct policy *policy = NULL;
		_cleanup_json_ json_object *object = saved_from_tunnel(&disk->tunnels[i], world->policies[disk->policy].policy, disk->saved_usec);
		saved_to_tunnel(object, !world->first_of_boot, world->now, world->policies[world->policy].policy, tunnel, &policy);
		world->core.wanted_order = MAX_OF(world->core.wanted_order, tunnel->wanted_order);
		if (policy)
			keep_loaded(world, policy, &tunnel->pending);
		struct process *process = &world->processes[i];
		if (world->first_of_boot || process->phase == PROCESS_NONE || process->killed || process->serial != disk->serials[i])
			continue;
		process->known = true;
		process->said = false;
		tunnel->worker = WORKER_STATE_SPAWNED;
		world->equipped[i] = world->link_ready[i] = true;
	}
}

/* ---- the kernel ---- */

static void put_into_kernel(struct world *world)
{
	const struct gate_plan *plan = &world->demand.gate;
	struct kernel *kernel = &world->kernel, old = *kernel;
	*kernel = (struct kernel){.exists = plan->exists, .drop_default = plan->exists && plan->drop_default};
	for (size_t i = 0; plan->exists && i < plan->tunnel_count; i++)
		for ALL_TUNNELS (j)
			if (plan->tunnels[i].id == sim_ids[j]) {
				kernel->tunnels[j].state = plan->tunnels[i].state;
				kernel->tunnels[j].reachable = plan->tunnels[i].endpoint_count > 0;
				if (kernel->tunnels[j].reachable)
					kernel->tunnels[j].endpoint = plan->tunnels[i].endpoints[0];
			}
	model_kernel_changed(world, &old);
}

/* A line of rules that lets something through TUNNEL's link: one that names the link as its own and accepts. */
static bool lets_through(const char *rules, const char *direction, const char *id)
{
	char link[48];
	snprintf(link, sizeof link, "%s \"hf-%s\"", direction, id);
	for (const char *at = rules; (at = strstr(at, link)); at++) {
		const char *end = at + strcspn(at, "\n"), *accept = strstr(at, "accept");
		if (accept && accept < end)
			return true;
	}
	return false;
}

static void look_at_rules(struct world *world)
{
	_cleanup_free_ char *rules = gate_render(&world->demand.gate);
	world->renders++;
	if (!rules) {
		violate(world, INVARIANT_RENDER, "the plan could not be rendered");
		return;
	}
	for ALL_TUNNELS (i) {
		bool through = lets_through(rules, "oifname", sim_ids[i]), wanted = world->kernel.tunnels[i].state == GATE_TUNNEL;
		if (through != wanted)
			violate(world, INVARIANT_RENDER, "%s: its plan is %s and its rules let %s through its link", sim_ids[i],
				gate_state_to_string(world->kernel.tunnels[i].state), through ? "traffic" : "nothing");
	}
}

int world_apply_gate(struct world *world)
{
	struct demand_facts facts[LIFECYCLE_TUNNELS_MAX];
	struct demand_input input = {.lifecycle = &world->core, .facts = facts, .settings = settings, .network = &network_state};
	for ALL_TUNNELS (i)
		facts[i] = (struct demand_facts){.config = &sim_configs[i], .link = world->link_ready[i]};
	world->applied++;
	if (world->marker)
		return 0;
	demand_build_gate(&input, &world->demand);
	bool fails = world->fail_gate > 0, halfway = !fails && world->fail_routing > 0;
	world->fail_gate -= fails;
	world->fail_routing -= halfway;
	if (!fails)
		put_into_kernel(world);
	if (!fails && world->render_every && world->applied % world->render_every == 0)
		look_at_rules(world);
	world->gate_failed = fails || halfway;
	if (world->gate_failed) {
		world->gate_retry_usec = world->now + GATE_RETRY;
		return -1;
	}
	world->gate_retry_usec = USEC_INFINITY;
	model_gate_applied(world);
	return 0;
}

/* ---- effects ---- */

static enum tunnel_error spawn(struct world *world, size_t index)
{
	struct process *process = &world->processes[index];
	world->equipped[index] = false;
	if (world->fail_spawn > 0) {
		world->fail_spawn--;
		return TUNNEL_ERROR_WORKER_START_FAILED;
	}
	if (process->phase != PROCESS_NONE)
		violate(world, INVARIANT_ONE_WORKER, "%s: a second worker is spawned", sim_ids[index]);
	*process = (struct process){.phase = PROCESS_NEW, .known = true, .serial = ++world->serial};
	if (world->crash_in == 1) /* between the fork and the record of it */
		model_daemon_dies(world);
	else
		world_save(world);
	return TUNNEL_ERROR_NONE;
}

static enum tunnel_error run(struct world *world, size_t index)
{
	struct process *process = &world->processes[index];
	if (!is_known(world, index) || process->killed)
		return TUNNEL_ERROR_WORKER_CRASHED;
	if (process->phase == PROCESS_NEW)
		violate(world, INVARIANT_ONE_WORKER, "%s: told to start before its hello", sim_ids[index]);
	world->equipped[index] = true;
	process->phase = PROCESS_STARTED;
	process->goodbye = process->said = false;
	process->endpoint = world->core.tunnels[index].endpoint % 2;
	return TUNNEL_ERROR_NONE;
}

static enum tunnel_error proceed(struct world *world, size_t index)
{
	struct process *process = &world->processes[index];
	if (!is_known(world, index) || process->killed)
		return TUNNEL_ERROR_WORKER_CRASHED;
	if (process->phase == PROCESS_NAMED)
		process->phase = PROCESS_ALLOWED;
	return TUNNEL_ERROR_NONE;
}

static void kill_process(struct world *world, size_t index)
{
	bool there = is_known(world, index);
	world->equipped[index] = false;
	world->processes[index].killed = true;
	if (!there)
		turn_post(&world->turn, &(struct lifecycle_event){.type = LIFECYCLE_WORKER_GONE, .tunnel = index, .now_usec = world->now,
			.error = TUNNEL_ERROR_WORKER_CRASHED});
}

static enum tunnel_error act(struct world *world, const struct effect *effect)
{
	size_t index = effect->tunnel;
	switch (effect->type) {
	case EFFECT_GATE:
		return world_apply_gate(world) < 0 ? TUNNEL_ERROR_FIREWALL_FAILURE : TUNNEL_ERROR_NONE;
	case EFFECT_STARTED:
		turn_post(&world->turn, &(struct lifecycle_event){.type = LIFECYCLE_STARTED, .tunnel = index, .now_usec = world->now});
		break;
	case EFFECT_RECORD:
		world_save(world);
		break;
	case EFFECT_WORKER_SPAWN:
		return spawn(world, index);
	case EFFECT_WORKER_START:
	case EFFECT_WORKER_RESTART:
		return run(world, index);
	case EFFECT_WORKER_PROCEED:
		return proceed(world, index);
	case EFFECT_WORKER_STOP:
		world->processes[index].goodbye = is_known(world, index);
		break;
	case EFFECT_WORKER_KILL:
		kill_process(world, index);
		break;
	case EFFECT_LINK_CONFIGURE:
		if (world->fail_link > 0) {
			world->fail_link--;
			return TUNNEL_ERROR_FAILED_TO_SET_NETWORK_SETTINGS;
		}
		world->link_ready[index] = true;
		break;
	case EFFECT_LINK_REMOVE:
		world->link_ready[index] = world->equipped[index] = false;
		break;
	case EFFECT_EXIT:
		world->exited = true;
		break;
	case EFFECT_ANNOUNCE_STOP:
	case EFFECT_ANNOUNCE_DECISION:
	case EFFECT_ANNOUNCE_PENDING:
	case EFFECT_ANNOUNCE_STATE:
	case EFFECT_COUNT:
		break;
	}
	return TUNNEL_ERROR_NONE;
}

static void print_effect(struct world *world, const struct effect *effect, enum tunnel_error error)
{
	fprintf(world->trace, "        %s%s%s", effect_to_string(effect->type), effect->tunnel == LIFECYCLE_NONE ? "" : " ",
		effect->tunnel == LIFECYCLE_NONE ? "" : sim_ids[effect->tunnel]);
	if (effect->type == EFFECT_ANNOUNCE_STATE)
		fprintf(world->trace, " %s → %s", tunnel_state_to_string(effect->old), tunnel_state_to_string(effect->new));
	if (effect->type == EFFECT_ANNOUNCE_DECISION)
		fprintf(world->trace, " %llu %s after %llu ms", (unsigned long long)effect->decision_id,
			effect->decision.action ? policy_action_to_string(effect->decision.action->type) : "none",
			(unsigned long long)(effect->decision.delay_usec / USEC_PER_MSEC));
	fprintf(world->trace, "%s%s\n", error ? ": failed, " : "", error ? tunnel_error_to_string(error) : "");
}

static enum tunnel_error carry_out(const struct effect *effect, void *userdata)
{
	struct world *world = userdata;
	if (world->dead)
		return TUNNEL_ERROR_NONE; /* nobody is there to do it */
	if (world->crash_in > 1 && --world->crash_in == 1 && effect->type != EFFECT_WORKER_SPAWN) {
		model_daemon_dies(world);
		return TUNNEL_ERROR_NONE;
	}
	world->effects++;
	model_effect(world, effect);
	enum tunnel_error error = act(world, effect);
	world->list_failed |= error != TUNNEL_ERROR_NONE;
	world->turn_failed |= error != TUNNEL_ERROR_NONE;
	if (world->trace)
		print_effect(world, effect, error);
	return error;
}

static void before(const struct lifecycle_event *event, void *userdata)
{
	struct world *world = userdata;
	if (world->dead)
		return;
	world->steps++;
	world->list_failed = false;
	if (world->trace)
		fprintf(world->trace, "    %s%s%s\n", lifecycle_event_to_string(event->type), event->tunnel < SIM_TUNNELS ? " " : "",
			event->tunnel < SIM_TUNNELS ? sim_ids[event->tunnel] : "");
	model_before(world, event);
}

static uint64_t now(void *userdata)
{
	return ((struct world *)userdata)->now;
}

/* ---- the daemon ---- */

static void die(struct world *world)
{
	world->alive = world->dead = world->exited = false;
	world->crash_in = 0;
	world->turn.queue_length = 0;
	world->save_usec = world->gate_retry_usec = USEC_INFINITY;
	for ALL_TUNNELS (i) {
		world->processes[i].known = false;
		if (world->processes[i].killed)
			process_end(world, i);
	}
	model_daemon_died(world);
}

void world_run(struct world *world, const struct lifecycle_event *event)
{
	static const struct turn_hooks hooks = {.before = before, .carry_out = carry_out, .now = now};
	if (!world->alive)
		return;
	world->turn_failed = false;
	model_turn_begins(world);
	bool changed = turn_run(&world->turn, &world->core, event, &hooks, world);
	if (world->dead) {
		world->model.uncertain = true;
		die(world);
		return;
	}
	if (changed && world->save_usec == USEC_INFINITY)
		world->save_usec = world->now + SAVE_DELAY;
	model_turn_done(world);
	if (world->exited)
		world_stop_daemon(world);
}

void world_run_tunnel(struct world *world, enum lifecycle_event_type type, size_t tunnel)
{
	world_run(world, &(struct lifecycle_event){.type = type, .tunnel = tunnel, .now_usec = world->now});
}

static void clear_leftovers(struct world *world)
{
	for ALL_TUNNELS (i) {
		struct lifecycle_tunnel *tunnel = &world->core.tunnels[i];
		if (!is_known(world, i))
			process_end(world, i); /* by its cgroup */
		if (tunnel->wanted && tunnel->state != TUNNEL_FAILED)
			continue;
		if (is_known(world, i)) {
			tunnel->worker = WORKER_STATE_ENDING;
			world->processes[i].killed = true;
		}
		world->link_ready[i] = world->equipped[i] = false;
	}
}

static void init_core(struct world *world)
{
	lifecycle_init(&world->core, world->policies[world->policy].policy, world->random);
	world->core.mode = world->mode;
	world->core.available = world->network;
	for ALL_TUNNELS (i) {
		struct lifecycle_tunnel *tunnel = lifecycle_add(&world->core, i, world->now);
		tunnel->id = sim_ids[i];
		tunnel->driver = "wireguard";
		tunnel->endpoints = texts[i];
		tunnel->endpoint_count = 2;
		tunnel->all = sim_configs[i].all;
		tunnel->routes = sim_configs[i].routes;
		tunnel->route_count = sim_configs[i].route_count;
		tunnel->connect_timeout_usec = 30 * USEC_PER_SEC;
	}
}

void world_start_daemon(struct world *world)
{
	struct lifecycle_event event = {.type = LIFECYCLE_BEGIN, .tunnel = LIFECYCLE_NONE, .now_usec = world->now};
	if (world->alive)
		return;
	world->alive = true;
	world->stood = world->kernel.exists;
	world->gate_failed = false;
	init_core(world);
	load(world);
	clear_leftovers(world);
	for ALL_TUNNELS (i)
		if (world->first_of_boot && sim_configs[i].autostart && !world->core.tunnels[i].wanted) {
			world->core.tunnels[i].wanted = true;
			world->core.tunnels[i].wanted_order = ++world->core.wanted_order;
		}
	bool first = world->first_of_boot;
	model_daemon_back(world);
	world_run(world, &event);
	if (!first || !world->alive)
		return;
	event.type = LIFECYCLE_POLICY_EVENT;
	event.policy_event = POLICY_EVENT_BOOT;
	world_run(world, &event);
}

void world_stop_daemon(struct world *world)
{
	if (!world->alive)
		return;
	if (world->save_usec != USEC_INFINITY)
		world_save(world);
	die(world);
}

/* What the boot step (daemon/offline.c) leaves: everything held, if anything is to be. */
static void boot_step(struct world *world)
{
	bool closed = world->mode == GATE_MODE_ALWAYS || (world->mode == GATE_MODE_AUTO && disk_wants_closed(&world->disk));
	world->kernel = (struct kernel){};
	world->kernel.exists = world->kernel.drop_default = closed && !world->marker;
}

void world_reboot(struct world *world)
{
	if (world->alive)
		die(world);
	for ALL_TUNNELS (i) {
		process_end(world, i);
		world->link_ready[i] = world->equipped[i] = false;
	}
	world->boot++;
	world->now = BOOT_TIME;
	for ALL_TUNNELS (i)
		world->model.tunnels[i].past.restart_count = 0;
	boot_step(world);
}

/* ---- what the daemon hears of ---- */

void world_set_mode(struct world *world, enum gate_mode mode)
{
	if (!world->alive)
		return;
	world->core.hold = false;
	world->marker = false;
	world->mode = mode;
	world->core.mode = mode;
	world_run(world, &(struct lifecycle_event){.type = LIFECYCLE_MODE, .tunnel = LIFECYCLE_NONE, .mode = mode, .now_usec = world->now});
	if (world->alive)
		world_save(world);
}

void world_set_policy(struct world *world, size_t index)
{
	if (!world->alive)
		return;
	world->policy = index;
	world->core.policy = world->policies[index].policy;
	for ALL_TUNNELS (i)
		policy_history_stable(&world->core.tunnels[i].history);
	model_policy_replaced(world);
}

void world_network(struct world *world, bool available)
{
	world->network = available;
	if (!world->alive)
		return;
	(void)world_apply_gate(world);
	world_run(world, &(struct lifecycle_event){.type = LIFECYCLE_NETWORK, .tunnel = LIFECYCLE_NONE, .available = available, .now_usec = world->now});
}

void world_way_out(struct world *world)
{
	world->marker = true;
	for ALL_TUNNELS (i)
		world->model.tunnels[i].confirmed = false;
	world->gate_failed = false;
	world->kernel = (struct kernel){};
}

/* The next of the daemon's timers, no later than END. */
static void next_timer(struct world *world, uint64_t end)
{
	uint64_t deadline = world->alive ? lifecycle_deadline(&world->core) : USEC_INFINITY;
	uint64_t at = MIN_OF(MIN_OF(deadline, world->save_usec), MIN_OF(world->gate_retry_usec, end));
	world->now = MAX_OF(world->now, at);
	if (!world->alive)
		return;
	if (world->gate_retry_usec <= world->now && world_apply_gate(world) == 0)
		world->gate_retry_usec = USEC_INFINITY;
	if (world->save_usec <= world->now)
		world_save(world);
	if (deadline > world->now)
		return;
	world_run(world, &(struct lifecycle_event){.type = LIFECYCLE_TIME, .tunnel = LIFECYCLE_NONE, .now_usec = world->now});
	if (world->alive && lifecycle_deadline(&world->core) <= world->now)
		violate(world, INVARIANT_DEADLINE_KEPT, "a deadline that has passed stands for ever");
}

void world_advance(struct world *world, uint64_t usec)
{
	uint64_t end = world->now + usec;
	while (world->now < end && !world->violation.happened)
		next_timer(world, end);
}

void world_init(struct world *world, uint64_t seed, size_t policy)
{
	if (!settings)
		settings = kill_switch_default();
	memset(world, 0, offsetof(struct world, core));
	world->now = BOOT_TIME;
	world->save_usec = world->gate_retry_usec = USEC_INFINITY;
	world->boot = 1;
	world->network = true;
	world->mode = GATE_MODE_AUTO;
	world->random = seed | 1;
	world->policy = policy;
	world->loaded_count = 0;
	world->turn.running = false;
	world->turn.queue_length = 0;
	world->violation.happened = false;
	model_init(world);
}

void world_done(struct world *world)
{
	for (size_t i = 0; i < world->loaded_count; i++)
		policy_unref(world->loaded[i].policy);
	world->loaded_count = 0;
	for (size_t i = 0; i < SIM_POLICIES; i++)
		world->policies[i].policy = policy_unref(world->policies[i].policy);
}
