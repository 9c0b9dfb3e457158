/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Carrying out what the lifecycle decided: the gate's two layers, the workers, the links, the announcements.
 *
 * The first layer (nftables) is always brought to its place before the second when that closes, and the second is taken away only after
 * the first allowed it: see effects_apply_gate(). Nothing here decides; a failure goes back to the lifecycle as an event.
 */

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <string.h>

#include "daemon/device.h"
#include "daemon/dhcp-users.h"
#include "daemon/manager.h"
#include "network/link.h"
#include "network/resolver.h"
#include "network/socket-mark.h"
#include "tunnel/control-socket.h"
#include "tunnel/driver.h"
#include "tunnel/network-check.h"
#include "tunnel/wireguard-go.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

/* ---- the gate ---- */

static void set_failure(struct manager *manager, const char *layer, const char *words, int error)
{
	free(manager->report.failure);
	manager->report.failure = text_format("%s: %s", layer, words && words[0] ? words : strerror(-error));
	manager->report.verified = false;
}

static void note_gate(struct manager *manager)
{
	enum gate_state old = manager->report.kernel;
	bool failed = manager->report.failure != NULL;
	manager->report.kernel = manager->demand.state;
	manager->report.verified = true;
	manager->report.verified_realtime = manager_realtime();
	free(manager->report.failure);
	manager->report.failure = NULL;
	bool found = !manager->gate_seen && manager->gate_stood && !failed; /* an earlier daemon's: which of the two it was is not known, but it held */
	manager->gate_seen = true;
	if ((old == manager->report.kernel && !failed) || found)
		return;
	json_object *event = events_new(manager, "gateChanged", LIFECYCLE_NONE);
	json_object_object_add(event, "old", json_object_new_string(gate_state_to_string(old)));
	json_object_object_add(event, "new", json_object_new_string(gate_state_to_string(manager->report.kernel)));
	events_emit(manager, event);
}

static int on_gate_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	if (!manager->report.verified)
		(void)effects_apply_gate(manager);
	return 0;
}

static void gate_failed(struct manager *manager, const char *layer, const char *words, int error)
{
	bool before = manager->report.failure != NULL;
	set_failure(manager, layer, words, error);
	manager_arm_timer(manager, &manager->gate_timer, manager_now() + GATE_RETRY_USEC, on_gate_retry);
	if (before)
		return; /* said once; the status goes on saying it */
	json_object *event = events_new(manager, "gateFailed", LIFECYCLE_NONE);
	json_object_object_add(event, "desired", json_object_new_string(gate_state_to_string(manager->report.desired)));
	json_object_object_add(event, "detail", json_object_new_string(manager->report.failure));
	events_emit(manager, event);
}

/* The settings' own, else the uplink's. A copy: the plan outlives settings that are replaced. */
static void find_bootstrap(struct manager *manager)
{
	struct worker_resolvers *found = &manager->bootstrap;
	const struct kill_switch *settings = manager->settings;
	found->count = MIN_OF(settings->dns.bootstrap_count, (size_t)WORKER_RESOLVERS_MAX);
	if (found->count)
		memcpy(found->servers, settings->dns.bootstrap, found->count * sizeof *found->servers);
	else
		found->count = resolver_uplink_servers(manager->options.state_dir, found->servers, WORKER_RESOLVERS_MAX);
}

static void build_demand(struct manager *manager)
{
	struct demand_facts facts[LIFECYCLE_TUNNELS_MAX] = {};
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		facts[i] = (struct demand_facts){
			.config = manager->tunnels[i].config,
			.network = manager->tunnels[i].network_known ? &manager->tunnels[i].network : NULL,
			.link = manager->tunnels[i].link_ready,
		};
	find_bootstrap(manager);
	unsigned granted = grants_kinds(manager);
	bool names = granted & 1u << GRANT_NAMES;
	if (names)
		names_find_resolvers(manager);
	struct demand_input input = {
		.lifecycle = &manager->core,
		.facts = facts,
		.settings = manager->settings,
		.network = network_monitor_state(manager->monitor),
		.bootstrap = manager->bootstrap.servers,
		.bootstrap_count = manager->bootstrap.count,
		.names_resolvers = manager->names.resolvers.servers,
		.names_resolver_count = names ? manager->names.resolvers.count : 0,
		.names_uid = names ? names_uid() : 0,
		.dhcp_users = dhcp_users_find(),
		.granted = granted,
		.check = check_plan(manager),
	};
	demand_build(&input, &manager->demand);
}

static bool same_routing(const struct manager *manager, const struct routing_plan *plan)
{
	const struct routing_plan *last = &manager->routed;
	return manager->routing_known && last->exists == plan->exists && last->mark == plan->mark && last->mask == plan->mask &&
	       last->grants == plan->grants && last->grants_mask == plan->grants_mask &&
	       last->check == plan->check && last->check_port == plan->check_port && last->resolver_count == plan->resolver_count &&
	       memcmp(last->resolvers, plan->resolvers, plan->resolver_count * sizeof *plan->resolvers) == 0 &&
	       last->route_count == plan->route_count &&
	       (plan->route_count == 0 || memcmp(manager->routed_routes, plan->routes, plan->route_count * sizeof *plan->routes) == 0);
}

static void remember_routing(struct manager *manager, const struct routing_plan *plan)
{
	size_t size = plan->route_count * sizeof *plan->routes;
	manager->routed_routes = xrealloc(manager->routed_routes, size);
	if (size)
		memcpy(manager->routed_routes, plan->routes, size);
	manager->routed = *plan;
	manager->routed.routes = manager->routed_routes;
	manager->routing_known = true;
}

int effects_apply_routing(struct manager *manager)
{
	const struct routing_plan *plan = &manager->demand.routing;
	if (same_routing(manager, plan))
		return 0;
	int r = plan->exists ? routing_apply(manager->routing, plan) : routing_remove(manager->routing);
	if (r == 0)
		remember_routing(manager, plan);
	else
		manager->routing_known = false;
	return r;
}

static int on_routing_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	effects_routing_touched(userdata);
	return 0;
}

static void tell_routing_healed(struct manager *manager, bool healed, uint64_t noticed)
{
	json_object *event = events_new(manager, "gateTampered", LIFECYCLE_NONE);
	json_object_object_add(event, "layer", json_object_new_string("routing"));
	json_object_object_add(event, "process", NULL);
	json_object_object_add(event, "pid", NULL);
	json_object_object_add(event, "healed", json_object_new_boolean(healed));
	json_object_object_add(event, "healedMs", json_object_new_double((double)(manager_now() - noticed) / (double)USEC_PER_MSEC));
	json_object_object_add(event, "suppressed", json_object_new_int((int)manager->routing_suppressed));
	events_emit(manager, event);
}

/* Rules or routes of the second layer may not be what they were: looked at, and mended where they are not; at a bounded rate. */
void effects_routing_touched(void *userdata)
{
	struct manager *manager = userdata;
	if (!manager->ready || manager->released_marker || !manager->routed.exists || routing_verify(manager->routing) == 0) {
		manager->routing_noticed = manager->routing_suppressed = 0;
		return;
	}
	if (effects_way_out_taken(manager))
		return;
	uint64_t now = manager_now();
	if (!manager->routing_noticed)
		manager->routing_noticed = now;
	if (!rate_allows(&manager->routing_heals, now)) {
		manager->routing_suppressed++;
		manager_arm_timer(manager, &manager->routing_timer, now + RATE_USEC, on_routing_due);
		return;
	}
	rate_spend(&manager->routing_heals);
	manager->routing_known = false;
	int r = effects_apply_gate(manager);
	manager->report.healed += r == 0;
	tell_routing_healed(manager, r == 0, manager->routing_noticed);
	manager->routing_noticed = manager->routing_suppressed = 0;
}

/* The way out was taken: obeyed until SetMode. What was asked for is still shown beside what is. */
static void stand_open(struct manager *manager)
{
	if (manager->report.kernel == GATE_OPEN && manager->report.verified)
		return;
	enum gate_state old = manager->report.kernel;
	bool stands = true;
	manager->report.verified = gate_exists(manager->gate, &stands) == 0 && !stands;
	manager->report.kernel = GATE_OPEN;
	if (manager->report.verified)
		manager->report.verified_realtime = manager_realtime();
	manager->gate_seen = true;
	json_object *event = events_new(manager, "gateChanged", LIFECYCLE_NONE);
	json_object_object_add(event, "old", json_object_new_string(gate_state_to_string(old)));
	json_object_object_add(event, "new", json_object_new_string(gate_state_to_string(GATE_OPEN)));
	events_emit(manager, event);
}

static void obey_marker(struct manager *manager)
{
	manager->released_marker = true;
	manager->core.available = false; /* no attempt is begun before surroundings_on_network() says otherwise */
	manager->routing_known = false;
	log_warning("%s/released stands: the way out was taken; nothing is held until a mode is set", manager->options.state_dir);
	json_object *event = events_new(manager, "released", LIFECYCLE_NONE);
	json_object_object_add(event, "wayOut", json_object_new_boolean(true));
	json_object_object_add(event, "until", NULL);
	json_object_object_add(event, "reason", json_object_new_string("holdfastctl release by hand"));
	json_object_object_add(event, "by", json_object_new_string("root"));
	events_emit(manager, event);
	(void)effects_apply_gate(manager);
}

bool effects_way_out_taken(struct manager *manager)
{
	bool released = false;
	if (!manager->released_marker && store_marker_read(manager->options.state_dir, &released) == 0 && released)
		obey_marker(manager);
	return manager->released_marker;
}

static void release_over(struct manager *manager)
{
	if (manager->report.released_until_usec == 0)
		return;
	manager->report.released_until_usec = 0;
	(void)sd_event_source_set_enabled(manager->release_timer, SD_EVENT_OFF);
	events_emit(manager, events_new(manager, "releaseEnded", LIFECYCLE_NONE));
	host_resolver_follow(manager);
}

int effects_apply_gate(struct manager *manager)
{
	build_demand(manager);
	manager->report.desired = manager->demand.state;
	if (effects_way_out_taken(manager)) {
		stand_open(manager);
		host_resolver_follow(manager);
		return 0;
	}
	/* Closing: packets first, then routes. Opening: routes last too, so that no packet is let by that routing would still misplace. */
	int r = gate_apply(manager->gate, &manager->demand.gate);
	if (r < 0) {
		gate_failed(manager, "nftables", gate_error(manager->gate), r);
		if (manager->demand.routing.exists) /* the next best: what lets the kernel choose its route is held all the same */
			(void)effects_apply_routing(manager);
		return r;
	}
	if (!manager->demand.gate.exists)
		release_over(manager); /* with the table that it opened */
	r = effects_apply_routing(manager);
	if (r < 0) {
		gate_failed(manager, "routing", routing_error(manager->routing), r);
		return r;
	}
	note_gate(manager);
	host_resolver_follow(manager); /* last: packets do not wait for a service */
	return 0;
}

/* ---- announcements ---- */

static void announce_state(struct manager *manager, const struct effect *effect)
{
	manager->tunnels[effect->tunnel].since_realtime = manager_realtime();
	json_object *event = events_new(manager, "stateChanged", effect->tunnel);
	json_object_object_add(event, "new", json_object_new_string(tunnel_state_to_string(effect->new)));
	json_object_object_add(event, "old", json_object_new_string(tunnel_state_to_string(effect->old)));
	json_object_object_add(event, "reason", json_object_new_string(tunnel_error_to_string(effect->error)));
	events_emit(manager, event);
}

static void announce_stop(struct manager *manager, const struct effect *effect)
{
	json_object *event = events_new(manager, "willStop", effect->tunnel);
	json_object_object_add(event, "error", json_object_new_string(tunnel_error_to_string(effect->error)));
	json_object_object_add(event, "class", json_object_new_string(error_class_to_string(tunnel_error_class(effect->error))));
	json_object_object_add(event, "detail", json_text_or_null(manager->tunnels[effect->tunnel].detail));
	json_object_object_add(event, "phase", json_object_new_string(policy_phase_to_string(effect->phase)));
	json_object_object_add(event, "attempt", json_object_new_int((int)effect->attempt));
	events_emit(manager, event);
}

static void announce_decision(struct manager *manager, const struct effect *effect)
{
	const struct policy_decision *decision = &effect->decision;
	const char *hash = effect->policy ? policy_hash(effect->policy) : "";
	json_object *event = events_new(manager, "decision", effect->tunnel);
	json_object_object_add(event, "decision", json_object_new_uint64(effect->decision_id));
	json_object_object_add(event, "event", json_object_new_string(policy_event_to_string(effect->event)));
	json_object_object_add(event, "error", json_object_new_string(tunnel_error_to_string(effect->error)));
	json_object_object_add(event, "attempt", json_object_new_int((int)effect->attempt));
	json_object_object_add(event, "rule", json_text_or_null(decision->rule_name));
	json_object_object_add(event, "ruleIndex", decision->rule >= 0 ? json_object_new_int(decision->rule) : NULL);
	json_object_object_add(event, "action", policy_action_to_json(decision->action));
	json_object_object_add(event, "missing", effect->missing ? json_object_new_string(decision->action->tunnels[0]) : NULL);
	json_object_object_add(event, "delayMs", json_object_new_uint64(decision->delay_usec / USEC_PER_MSEC));
	json_object_object_add(event, "limited", json_object_new_boolean(decision->limited));
	json_object_object_add(event, "by", json_object_new_string(decided_by_to_string(effect->by)));
	json_object_object_add(event, "policy", hash[0] ? json_object_new_string(hash) : NULL);
	events_emit(manager, event);
}

static void announce_pending(struct manager *manager, const struct effect *effect)
{
	json_object *event = events_new(manager, "decisionPending", effect->tunnel);
	json_object_object_add(event, "decision", json_object_new_uint64(effect->decision_id));
	json_object_object_add(event, "error", json_object_new_string(tunnel_error_to_string(effect->error)));
	json_object_object_add(event, "deadline", json_boottime(effect->deadline_usec));
	events_emit(manager, event);
}

/* ---- links ---- */

/* Notices come late: what counts is how the link is now, not how it was on the way there. */
static bool link_is_up(const char *interface)
{
	struct link_status status;
	return link_query(interface, &status) == 0 && status.up;
}

static bool link_exists(const char *interface)
{
	struct link_status status;
	return link_query(interface, &status) != -ENODEV;
}

static enum tunnel_error set_link(struct tunnel_runtime *runtime, const struct link_settings *settings)
{
	int r = link_configure(runtime->config->interface, settings);
	if (r == 0)
		return TUNNEL_ERROR_NONE;
	snprintf(runtime->detail, sizeof runtime->detail, "%s could not be configured: %s", runtime->config->interface, strerror(-r));
	return r == -ENODEV ? TUNNEL_ERROR_TUN_INTERFACE_FAILURE : TUNNEL_ERROR_FAILED_TO_SET_NETWORK_SETTINGS;
}

static enum tunnel_error configure_link(struct manager *manager, size_t index)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	struct link_settings settings = {
		.addresses = runtime->network.addresses,
		.address_count = runtime->network.address_count,
		.mtu = runtime->network.mtu,
		.up = true,
	};
	enum tunnel_error error = set_link(runtime, &settings);
	if (error != TUNNEL_ERROR_NONE)
		return error;
	runtime->link_ready = true;
	int r = host_resolver_set(manager, runtime);
	if (r < 0) {
		snprintf(runtime->detail, sizeof runtime->detail, "the host's resolver could not be set: %s", strerror(-r));
		return TUNNEL_ERROR_FAILED_TO_SET_NETWORK_SETTINGS;
	}
	return TUNNEL_ERROR_NONE;
}

/* Where the tunnel's client is spoken to. The caller frees it. */
static char *control_path(const struct manager *manager, const struct tunnel_config *config)
{
	const char *folder = config->driver->control_folder;
	return folder ? text_format("%s/%s.sock", folder, config->interface)
		      : text_format("%s/clients/%s.sock", manager->options.runtime_dir, config->interface);
}

void effects_remove_link(struct manager *manager, size_t index)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	runtime->link_ready = false;
	runtime->equipped = false;
	runtime->network_known = false;
	_cleanup_free_ char *control = control_path(manager, runtime->config);
	control_socket_remove(control);
	device_silence(runtime);
	int r = link_remove(runtime->config->interface);
	if (r < 0)
		log_warning("%s: could not be removed: %s", runtime->config->interface, strerror(-r));
	names_update(manager);
	host_resolver_restore(manager);
}

/* ---- workers ---- */

static const char *cgroup_name(const struct tunnel_runtime *runtime)
{
	return runtime->config->interface;
}

/* A worker has no group beside its first; but what else its user runs may have this one, and be its to trace. */
static bool is_member(const struct group *group, const struct passwd *user)
{
	for (char **name = group->gr_mem; *name; name++)
		if (strcmp(*name, user->pw_name) == 0)
			return true;
	return user->pw_gid == group->gr_gid;
}

/* Whose the tunnel's worker is. False: `detail` says why nobody can be it. */
static bool find_worker_user(struct manager *manager, struct tunnel_runtime *runtime, uid_t *ret_uid, gid_t *ret_gid)
{
	const char *name = runtime->config->user;
	const struct group *control = getgrnam("holdfast");
	if (!name && !manager->worker_user_known) {
		snprintf(runtime->detail, sizeof runtime->detail,
			"the user holdfast-worker does not exist; make it with: systemd-sysusers, or useradd --system holdfast-worker");
		return false;
	}
	*ret_uid = manager->worker_uid;
	*ret_gid = manager->worker_gid;
	if (!name)
		return true;
	const struct passwd *user = getpwnam(name);
	if (!user || user->pw_uid == 0 || (control && is_member(control, user))) {
		snprintf(runtime->detail, sizeof runtime->detail, "the tunnel's user %s %s", name,
			!user ? "does not exist" : "may command holdfastd itself; choose one that may not");
		return false;
	}
	*ret_uid = user->pw_uid;
	*ret_gid = user->pw_gid;
	return true;
}

static enum tunnel_error spawn_worker(struct manager *manager, size_t index)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	_cleanup_free_ char *socket = document_path(manager->options.runtime_dir, "worker.sock");
	_cleanup_close_ int cgroup = -1;
	uid_t uid;
	gid_t gid;
	if (!find_worker_user(manager, runtime, &uid, &gid))
		return TUNNEL_ERROR_WORKER_START_FAILED;
	int r = device_choose(runtime);
	if (r < 0)
		return TUNNEL_ERROR_WORKER_START_FAILED;
	r = socket_mark_cgroup(cgroup_name(runtime), mark_value(manager->settings->mark, manager->settings->mark_mask, MARK_WORKER), &cgroup);
	bool marks_its_own = runtime->config->net_admin || !runtime->config->driver->runs_anything;
	if (r < 0 && !marks_its_own) {
		snprintf(runtime->detail, sizeof runtime->detail,
			"its program's sockets cannot be marked at birth here (%s), and without CAP_NET_ADMIN it cannot mark them itself; "
			"see: holdfastctl doctor", strerror(-r));
		return TUNNEL_ERROR_WORKER_START_FAILED;
	}
	if (r < 0)
		log_warning("%s: its sockets cannot be marked at birth (%s); its client marks its own, and keeps CAP_NET_ADMIN for it", runtime->config->id, strerror(-r));
	struct worker_spec spec = {
		.tunnel = runtime->config->id,
		.program = manager->options.worker_program,
		.socket_path = socket,
		.uid = uid,
		.gid = gid,
		.net_admin = (runtime->config->driver->needs_net_admin && !runtime->device) || runtime->config->net_admin || cgroup < 0,
		.cgroup_fd = cgroup,
	};
	runtime->equipped = false;
	r = worker_spawn(manager->workers, &spec, &runtime->worker);
	if (r < 0) {
		snprintf(runtime->detail, sizeof runtime->detail, "%s could not be started: %s", manager->options.worker_program, strerror(-r));
		return TUNNEL_ERROR_WORKER_START_FAILED;
	}
	(void)store_save(manager); /* a daemon that comes after this one must find it */
	return TUNNEL_ERROR_NONE;
}

/* Up, with what is known of the tunnel beforehand, or of its last session: what lives inside it keeps its address. */
static enum tunnel_error raise_link(struct tunnel_runtime *runtime)
{
	const struct tunnel_config *config = runtime->config;
	struct link_settings settings = {
		.addresses = runtime->network_known ? runtime->network.addresses : config->addresses,
		.address_count = runtime->network_known ? runtime->network.address_count : config->address_count,
		.mtu = config->mtu,
		.up = true,
	};
	return set_link(runtime, &settings);
}

/* Whether the tunnel's link is the daemon's to make. */
static bool makes_link(const struct tunnel_config *config)
{
	return config->driver->needs_tun && !config->own_link;
}

/* What the kernel carried before is no tun. */
static int drop_other_kind(const char *interface)
{
	struct link_status status;
	return link_query(interface, &status) == 0 && status.is_wireguard ? link_remove(interface) : 0;
}

static int make_device(struct tunnel_runtime *runtime)
{
	runtime->device_speaks = true; /* until make() silences what stands */
	int r = runtime->device->make(runtime->config->interface);
	if (r == 0)
		runtime->device_speaks = false;
	return r;
}

/*
 * The tun, and where the driver wants one the client's control socket. *RET_TUN stays -1 where the client opens it by its name: one alone
 * can be attached.
 */
static int make_tun(struct manager *manager, struct tunnel_runtime *runtime, uid_t uid, int *ret_tun, int *ret_control)
{
	const struct tunnel_config *config = runtime->config;
	const struct driver *driver = config->driver;
	_cleanup_free_ char *control = control_path(manager, config);
	_cleanup_close_ int tun = -1;
	bool with_header = false;
	if (!driver->opens_tun) {
		if (!manager->wireguard_go_known && wireguard_go_probe(&manager->wireguard_go) == 0)
			manager->wireguard_go_known = true; /* where it is missing, the driver says so */
		with_header = manager->wireguard_go.wants_header;
	}
	int r = drop_other_kind(config->interface);
	if (r == 0)
		r = link_open_tun(config->interface, uid, with_header, &tun);
	if (r == 0 && driver->has_control)
		r = control_socket_make(control, uid, ret_control);
	if (r == 0 && !driver->opens_tun)
		*ret_tun = STEAL_FD(tun);
	return r;
}

/* The link and the client's control socket, made anew or found, handed over. */
static enum tunnel_error equip_worker(struct manager *manager, size_t index)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	const struct tunnel_config *config = runtime->config;
	_cleanup_close_ int tun = -1, control = -1;
	int r = 0;
	uid_t uid;
	gid_t gid;
	if (!find_worker_user(manager, runtime, &uid, &gid))
		return TUNNEL_ERROR_WORKER_START_FAILED;
	if (makes_link(config))
		r = runtime->device ? make_device(runtime) : make_tun(manager, runtime, uid, &tun, &control);
	if (r < 0) {
		snprintf(runtime->detail, sizeof runtime->detail, "%s could not be made: %s", config->interface, strerror(-r));
		return TUNNEL_ERROR_TUN_INTERFACE_FAILURE;
	}
	enum tunnel_error error = makes_link(config) ? raise_link(runtime) : TUNNEL_ERROR_NONE;
	if (error != TUNNEL_ERROR_NONE)
		return error;
	struct worker_start start = {
		.tunnel = config->document,
		.endpoint = manager->core.tunnels[index].endpoint,
		.resolvers = manager->bootstrap,
		.mark = mark_value(manager->settings->mark, manager->settings->mark_mask, MARK_WORKER),
		.tun_fd = tun,
		.control_fd = control,
	};
	r = worker_send_start(runtime->worker, &start);
	if (r < 0)
		return TUNNEL_ERROR_WORKER_CRASHED;
	runtime->equipped = true;
	return TUNNEL_ERROR_NONE;
}

/* What was root's alone when the document was read may have been given away since. */
static bool may_still_run(struct tunnel_runtime *runtime)
{
	_cleanup_free_ char *why = NULL;
	if (!runtime->config->driver->runs_anything || file_is_roots(runtime->config->program, &why))
		return true;
	snprintf(runtime->detail, sizeof runtime->detail, "it runs a program that must be root's alone to change: %s", why);
	return false;
}

static enum tunnel_error run_worker(struct manager *manager, size_t index)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	if (!runtime->worker)
		return TUNNEL_ERROR_WORKER_CRASHED;
	if (!may_still_run(runtime))
		return TUNNEL_ERROR_BAD_CONFIGURATION;
	/* Descriptors of a link that was deleted while no daemon watched are of no use. */
	if (!runtime->equipped || (makes_link(runtime->config) && !link_exists(runtime->config->interface)))
		return equip_worker(manager, index);
	enum tunnel_error error = makes_link(runtime->config) && !link_is_up(runtime->config->interface) ? raise_link(runtime) : TUNNEL_ERROR_NONE;
	if (error != TUNNEL_ERROR_NONE)
		return error;
	device_silence(runtime);
	return worker_send_restart(runtime->worker, manager->core.tunnels[index].endpoint, &manager->bootstrap) < 0 ? TUNNEL_ERROR_WORKER_CRASHED : TUNNEL_ERROR_NONE;
}

static void kill_worker(struct manager *manager, size_t index)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	runtime->equipped = false;
	device_silence(runtime);
	if (runtime->worker)
		worker_kill(runtime->worker);
	else /* there is none to end: its end is seen at once */
		manager_run(manager, &(struct lifecycle_event){.type = LIFECYCLE_WORKER_GONE, .tunnel = index, .now_usec = manager_now(), .error = TUNNEL_ERROR_WORKER_CRASHED});
}

/* ---- one effect ---- */

enum tunnel_error effects_carry_out(const struct effect *effect, void *userdata)
{
	struct manager *manager = userdata;
	struct tunnel_runtime *runtime = effect->tunnel == LIFECYCLE_NONE ? NULL : &manager->tunnels[effect->tunnel];
	int r;
	switch (effect->type) {
	case EFFECT_GATE:
		r = effects_apply_gate(manager);
		device_follow(manager);
		return r < 0 ? TUNNEL_ERROR_FIREWALL_FAILURE : TUNNEL_ERROR_NONE;
	case EFFECT_STARTED:
		manager_run(manager, &(struct lifecycle_event){.type = LIFECYCLE_STARTED, .tunnel = effect->tunnel, .now_usec = manager_now()});
		return TUNNEL_ERROR_NONE;
	case EFFECT_RECORD:
		(void)store_save(manager); /* a failure is told, and a later daemon finds the gate standing without a reason: it holds it */
		return TUNNEL_ERROR_NONE;
	case EFFECT_ANNOUNCE_STOP:
		announce_stop(manager, effect);
		return TUNNEL_ERROR_NONE;
	case EFFECT_ANNOUNCE_DECISION:
		announce_decision(manager, effect);
		return TUNNEL_ERROR_NONE;
	case EFFECT_ANNOUNCE_PENDING:
		announce_pending(manager, effect);
		return TUNNEL_ERROR_NONE;
	case EFFECT_ANNOUNCE_STATE:
		announce_state(manager, effect);
		return TUNNEL_ERROR_NONE;
	case EFFECT_WORKER_SPAWN:
		return spawn_worker(manager, effect->tunnel);
	case EFFECT_WORKER_START:
	case EFFECT_WORKER_RESTART:
		return run_worker(manager, effect->tunnel);
	case EFFECT_WORKER_PROCEED:
		return runtime->worker && worker_send_proceed(runtime->worker) == 0 ? TUNNEL_ERROR_NONE : TUNNEL_ERROR_WORKER_CRASHED;
	case EFFECT_WORKER_STOP:
		device_silence(runtime);
		if (runtime->worker)
			(void)worker_send_stop(runtime->worker);
		return TUNNEL_ERROR_NONE;
	case EFFECT_WORKER_KILL:
		kill_worker(manager, effect->tunnel);
		return TUNNEL_ERROR_NONE;
	case EFFECT_LINK_CONFIGURE:
		return configure_link(manager, effect->tunnel);
	case EFFECT_LINK_REMOVE:
		effects_remove_link(manager, effect->tunnel);
		return TUNNEL_ERROR_NONE;
	case EFFECT_EXIT:
		manager->exiting = true;
		sd_event_exit(manager->event, 0);
		return TUNNEL_ERROR_NONE;
	case EFFECT_COUNT:
		break;
	}
	return TUNNEL_ERROR_INTERNAL_ERROR;
}

/* ---- what comes back ---- */

static size_t index_of(struct manager *manager, const struct worker *worker)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].worker == worker)
			return i;
	return LIFECYCLE_NONE;
}

/* Whether the host can have what NETWORK says: it makes sense, and no address of it is in use already. */
static bool network_fits(const struct manager *manager, const struct tunnel_network *network, char sentence[WORKER_DETAIL_MAX])
{
	char text[IP_TEXT_MAX];
	if (!tunnel_network_valid(network, sentence))
		return false;
	for (size_t i = 0; i < network->address_count; i++) {
		const struct ip_address *address = &network->addresses[i].address;
		const char *whose = network_monitor_whose(manager->monitor, address);
		if (!whose)
			continue;
		snprintf(sentence, WORKER_DETAIL_MAX, "the tunnel's address %s is %s", ip_address_format(text, address), whose);
		return false;
	}
	return true;
}

static void take_network(struct tunnel_runtime *runtime, const struct tunnel_network *network)
{
	runtime->network = *network;
	runtime->network_known = true;
}

/* Whether ENDPOINT is the server that the tunnel's document names at the place in use: to the letter, or by port and protocol for a name. */
static bool names_its_server(struct manager *manager, size_t index, const struct endpoint *endpoint)
{
	const struct tunnel_config *config = manager->tunnels[index].config;
	size_t place = manager->core.tunnels[index].endpoint;
	if (place >= config->endpoint_count)
		return false;
	const struct tunnel_endpoint *known = &config->endpoints[place];
	if (known->is_literal)
		return endpoint_equal(&known->endpoint, endpoint);
	return endpoint->port == known->endpoint.port && endpoint->protocol == known->endpoint.protocol &&
	       ip_address_is_remote(&endpoint->address);
}

/* A worker is no authority on whom it may talk to: one that names somebody else is ended. */
static void end_stranger(struct manager *manager, size_t index, const struct endpoint *endpoint)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	char text[ENDPOINT_TEXT_MAX];
	log_warning("%s: its worker named %s, which is not its server; it is ended", runtime->config->id, endpoint_format(text, endpoint));
	snprintf(runtime->detail, sizeof runtime->detail, "the worker named %s, which is not its server", text);
	device_silence(runtime);
	worker_kill(runtime->worker);
	runtime->equipped = false;
	manager->core.tunnels[index].worker = WORKER_STATE_ENDING;
	manager_run(manager, &(struct lifecycle_event){.type = LIFECYCLE_WORKER_WILL_STOP, .tunnel = index, .now_usec = manager_now(), .error = TUNNEL_ERROR_WORKER_CRASHED});
}

/* A worker that was found alive tells what it has been doing: taken over as if it happened now. */
static void hello(struct manager *manager, size_t index, const struct worker_hello *hello)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	struct lifecycle_tunnel *tunnel = &manager->core.tunnels[index];
	struct lifecycle_event event = {.tunnel = index, .now_usec = manager_now()};
	bool old_news = hello->phase == WORKER_STOPPED && tunnel->attempt_usec > 0; /* that was decided, and the next attempt waits for it */
	if (hello->phase == WORKER_IDLE || old_news || tunnel->worker != WORKER_STATE_SPAWNED) {
		event.type = LIFECYCLE_WORKER_HELLO;
		manager_run(manager, &event);
		return;
	}
	runtime->equipped = true;
	tunnel->worker = WORKER_STATE_RUNNING;
	if (hello->phase != WORKER_STOPPED && hello->endpoint.address.family != AF_UNSPEC && !names_its_server(manager, index, &hello->endpoint)) {
		end_stranger(manager, index, &hello->endpoint);
		return;
	}
	switch (hello->phase) {
	case WORKER_UP:
		if (!network_fits(manager, &hello->network, runtime->detail)) {
			event.type = LIFECYCLE_WORKER_WILL_STOP;
			event.error = TUNNEL_ERROR_IP_CONFIGURATION_INVALID;
			break;
		}
		take_network(runtime, &hello->network);
		if (tunnel->state == TUNNEL_CONNECTED && tunnel->contacted && endpoint_equal(&tunnel->contact, &hello->endpoint)) {
			tunnel->deadline_usec = USEC_INFINITY;
			(void)effects_apply_gate(manager); /* as it was; seen again */
			return;
		}
		tunnel->contacted = true;
		tunnel->contact = hello->endpoint;
		event.type = LIFECYCLE_WORKER_UP;
		break;
	case WORKER_CONTACTING:
	case WORKER_CONNECTING:
		event.type = LIFECYCLE_WORKER_CONTACTING;
		event.endpoint = hello->endpoint;
		break;
	case WORKER_STOPPED:
		memcpy(runtime->detail, hello->detail, sizeof runtime->detail);
		event.type = LIFECYCLE_WORKER_WILL_STOP;
		event.error = hello->error ? hello->error : TUNNEL_ERROR_UNKNOWN;
		break;
	case WORKER_ASKING:
		credentials_asked(manager, index, hello->detail, &hello->challenge);
		return;
	case WORKER_IDLE:
		return;
	}
	manager_run(manager, &event);
}

static void announce_contact(struct manager *manager, size_t index, const struct endpoint *endpoint)
{
	char text[ENDPOINT_TEXT_MAX];
	json_object *event = events_new(manager, "connecting", index);
	json_object_object_add(event, "endpoint", json_object_new_string(endpoint_format(text, endpoint)));
	events_emit(manager, event);
}

static void on_message(struct worker *worker, const struct worker_message *message, void *userdata)
{
	struct manager *manager = userdata;
	size_t index = index_of(manager, worker);
	if (index == LIFECYCLE_NONE)
		return;
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	struct lifecycle_event event = {.tunnel = index, .now_usec = manager_now(), .error = message->error, .endpoint = message->endpoint};
	switch (message->type) {
	case WORKER_MESSAGE_HELLO:
		hello(manager, index, &message->hello);
		return;
	case WORKER_MESSAGE_CONTACTING:
		if (!names_its_server(manager, index, &message->endpoint)) {
			end_stranger(manager, index, &message->endpoint);
			return;
		}
		event.type = LIFECYCLE_WORKER_CONTACTING;
		announce_contact(manager, index, &message->endpoint);
		break;
	case WORKER_MESSAGE_UP:
		if (!manager->core.tunnels[index].contacted || !endpoint_equal(&manager->core.tunnels[index].contact, &message->network.endpoint)) {
			end_stranger(manager, index, &message->network.endpoint);
			return;
		}
		if (!network_fits(manager, &message->network, runtime->detail)) {
			event.type = LIFECYCLE_WORKER_WILL_STOP;
			event.error = TUNNEL_ERROR_IP_CONFIGURATION_INVALID;
			break;
		}
		take_network(runtime, &message->network);
		event.type = LIFECYCLE_WORKER_UP;
		break;
	case WORKER_MESSAGE_TRAFFIC:
		runtime->traffic = message->traffic;
		return;
	case WORKER_MESSAGE_ASK_DEVICE:
		device_ask(manager, index, message->request);
		return;
	case WORKER_MESSAGE_WILL_STOP:
		device_silence(runtime);
		memcpy(runtime->detail, message->detail, sizeof runtime->detail);
		event.type = LIFECYCLE_WORKER_WILL_STOP;
		break;
	case WORKER_MESSAGE_STOPPED:
		event.type = LIFECYCLE_WORKER_STOPPED;
		break;
	case WORKER_MESSAGE_NEED_CREDENTIALS:
		credentials_asked(manager, index, message->detail, &message->challenge);
		return;
	case WORKER_MESSAGE_START:
	case WORKER_MESSAGE_STOP:
	case WORKER_MESSAGE_RESTART:
	case WORKER_MESSAGE_PROCEED:
	case WORKER_MESSAGE_CREDENTIALS:
	case WORKER_MESSAGE_DEVICE:
		return;
	}
	manager_run(manager, &event);
}

static void on_gone(struct worker *worker, enum tunnel_error error, const char *detail, void *userdata)
{
	struct manager *manager = userdata;
	size_t index = index_of(manager, worker);
	if (index == LIFECYCLE_NONE)
		return;
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	runtime->worker = NULL;
	runtime->equipped = false;
	device_silence(runtime);
	if (manager->core.tunnels[index].worker != WORKER_STATE_ENDING)
		snprintf(runtime->detail, sizeof runtime->detail, "%s", detail ? detail : "");
	int r = socket_mark_cgroup_remove(cgroup_name(runtime));
	if (r < 0)
		log_debug("%s: its cgroup could not be removed: %s", runtime->config->id, strerror(-r));
	manager_run(manager, &(struct lifecycle_event){.type = LIFECYCLE_WORKER_GONE, .tunnel = index, .now_usec = manager_now(), .error = error});
}

void effects_observe_workers(struct worker_callbacks *ret)
{
	*ret = (struct worker_callbacks){.message = on_message, .gone = on_gone};
}

void effects_link_changed(const char *interface, enum link_presence presence, void *userdata)
{
	struct manager *manager = userdata;
	if (presence == LINK_UP || link_is_up(interface))
		return;
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++) {
		struct tunnel_runtime *runtime = &manager->tunnels[i];
		if (!runtime->config || strcmp(runtime->config->interface, interface) != 0 || !runtime->equipped)
			continue;
		runtime->link_ready = false;
		if (runtime->config->own_link) { /* gone with its client, or before it: the worker knows which */
			(void)effects_apply_gate(manager);
			continue;
		}
		runtime->equipped = presence != LINK_ABSENT; /* descriptors of a link that is gone are of no use any more */
		snprintf(runtime->detail, sizeof runtime->detail, "%s %s", interface, presence == LINK_ABSENT ? "vanished" : "went down");
		device_silence(runtime);
		manager_run_tunnel(manager, LIFECYCLE_LINK_LOST, i);
	}
}

/* ---- the way out, and release ---- */

/*
 * The kernel has ended it, unless the machine slept: its clock for that stands still meanwhile. What a flowtable went on carrying ends with
 * this, too.
 */
static int on_release_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	if (effects_release(manager, 0, NULL, NULL) < 0)
		log_warning("the release's end: %s", gate_error(manager->gate));
	return 0;
}

/* A release that an earlier daemon granted goes on in the kernel: it is shown, and ended, like one of our own. */
void effects_adopt_release(struct manager *manager)
{
	uint64_t remaining = 0;
	if (gate_release_remaining(manager->gate, &remaining) < 0 || remaining == 0)
		return;
	manager->report.released_until_usec = manager_now() + remaining;
	manager_arm_timer(manager, &manager->release_timer, manager_now() + remaining, on_release_end);
	host_resolver_follow(manager);
}

int effects_release(struct manager *manager, uint64_t duration_usec, const char *reason, const char *by)
{
	int r = gate_release(manager->gate, duration_usec);
	if (duration_usec == 0)
		release_over(manager);
	if (r < 0 || duration_usec == 0)
		return r;
	manager->report.released_until_usec = manager_now() + duration_usec;
	manager_arm_timer(manager, &manager->release_timer, manager_now() + duration_usec, on_release_end);
	json_object *event = events_new(manager, "released", LIFECYCLE_NONE);
	json_object_object_add(event, "until", json_boottime(manager->report.released_until_usec));
	json_object_object_add(event, "reason", json_text_or_null(reason));
	json_object_object_add(event, "by", json_text_or_null(by));
	events_emit(manager, event);
	host_resolver_follow(manager);
	return 0;
}
