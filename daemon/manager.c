/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Holds the parts together: construction (no I/O), start (open, load, take back, begin), the queue of lifecycle events, and the timers.
 *
 * manager_run() is the only place where the core is stepped, by daemon/turn.h. Events that come up while effects are being carried out
 * wait in its queue, so that a step's effects are never interleaved with another's.
 */

#include "daemon/manager.h"
#include "daemon/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <time.h>

#include "network/socket-mark.h"
#include "tunnel/driver.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"
#include "util/timestamp.h"

#define WORKER_USER "holdfast-worker"

uint64_t manager_now(void)
{
	return clock_usec(CLOCK_BOOTTIME);
}

uint64_t manager_realtime(void)
{
	return clock_usec(CLOCK_REALTIME);
}

int manager_arm_timer(struct manager *manager, sd_event_source **source, uint64_t at, sd_event_time_handler_t handler)
{
	if (!*source) {
		if (at == USEC_INFINITY)
			return 0;
		return sd_event_add_time(manager->event, source, CLOCK_BOOTTIME, at, 1, handler, manager);
	}
	int r = sd_event_source_set_time(*source, at);
	return r < 0 ? r : sd_event_source_set_enabled(*source, at == USEC_INFINITY ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

/* ---- the core ---- */

static int on_lifecycle_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	manager_run(userdata, &(struct lifecycle_event){.type = LIFECYCLE_TIME, .tunnel = LIFECYCLE_NONE, .now_usec = manager_now()});
	return 0;
}

static void note_wall_clock(const struct lifecycle_event *event, void *userdata)
{
	struct lifecycle *core = &((struct manager *)userdata)->core;
	timestamp_local(manager_realtime(), &core->wall_minute, &core->wall_day);
}

static uint64_t turn_now(void *userdata)
{
	return manager_now();
}

static void release_retired(struct manager *manager)
{
	for LIFECYCLE_TUNNELS (i, &manager->core)
		if (manager->core.tunnels[i].pending.kind != PENDING_NONE)
			return;
	for (size_t i = 0; i < RETIRED_MAX; i++)
		manager->retired[i] = policy_unref(manager->retired[i]);
}

bool manager_run(struct manager *manager, const struct lifecycle_event *event)
{
	static const struct turn_hooks hooks = {.before = note_wall_clock, .carry_out = effects_carry_out, .now = turn_now};
	if (manager->turn.running) {
		bool posted = turn_post(&manager->turn, event);
		if (!posted)
			log_error("too many events at once; %s is lost", lifecycle_event_to_string(event->type));
		return posted;
	}
	bool changed = turn_run(&manager->turn, &manager->core, event, &hooks, manager);
	status_forget(manager);
	release_retired(manager);
	manager_arm_timer(manager, &manager->lifecycle_timer, lifecycle_deadline(&manager->core), on_lifecycle_time);
	health_arm(manager);
	if (changed) {
		store_save_later(manager);
		manager_complete_waiting(manager);
	}
	return changed;
}

bool manager_run_tunnel(struct manager *manager, enum lifecycle_event_type type, size_t tunnel)
{
	return manager_run(manager, &(struct lifecycle_event){.type = type, .tunnel = tunnel, .now_usec = manager_now()});
}

/* ---- documents in force ---- */

static void set_document(struct document *document, bool managed, json_object *json)
{
	free(document->etag);
	document->etag = document_etag(json);
	document->managed = managed;
	json_object_put(json);
}

static void note_policy(struct manager *manager, bool managed)
{
	free(manager->policy_document.etag);
	manager->policy_document.etag = document_etag_of_text(policy_document_text(manager->policy));
	manager->policy_document.managed = managed;
}

static const char **endpoint_texts(const struct tunnel_config *config)
{
	const char **texts = xcalloc(config->endpoint_count, sizeof *texts);
	for (size_t i = 0; i < config->endpoint_count; i++)
		texts[i] = config->endpoints[i].text;
	return texts;
}

static size_t free_place(struct manager *manager)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (!manager->tunnels[i].config)
			return i;
	return LIFECYCLE_NONE;
}

bool manager_full(struct manager *manager)
{
	return free_place(manager) == LIFECYCLE_NONE;
}

int manager_add_tunnel(struct manager *manager, struct tunnel_config *config, bool managed, size_t *ret_index)
{
	size_t index = lifecycle_find(&manager->core, config->id); /* replaced where it stands, at rest */
	if (index == LIFECYCLE_NONE)
		index = free_place(manager);
	else
		manager_remove_tunnel(manager, index);
	if (index == LIFECYCLE_NONE)
		return -ENOSPC;
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	*runtime = (struct tunnel_runtime){.config = config, .endpoint_texts = endpoint_texts(config), .since_realtime = manager_realtime()};
	set_document(&runtime->document, managed, tunnel_config_to_json(config));
	struct lifecycle_tunnel *tunnel = lifecycle_add(&manager->core, index, manager_now());
	tunnel->id = config->id;
	tunnel->driver = config->driver->name;
	tunnel->endpoints = runtime->endpoint_texts;
	tunnel->endpoint_count = config->endpoint_count;
	tunnel->all = config->all;
	tunnel->routes = config->routes;
	tunnel->route_count = config->route_count;
	tunnel->connect_timeout_usec = config->connect_timeout_usec;
	if (ret_index)
		*ret_index = index;
	return 0;
}

bool manager_any_active(const struct manager *manager)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config && lifecycle_tunnel_active(&manager->core.tunnels[i]))
			return true;
	return false;
}

void manager_remove_tunnel(struct manager *manager, size_t index)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	if (runtime->worker)
		worker_forget(runtime->worker);
	free(runtime->document.etag);
	free(runtime->endpoint_texts);
	probe_free(runtime->health.probe);
	tunnel_config_free(runtime->config);
	*runtime = (struct tunnel_runtime){};
	lifecycle_remove(&manager->core, index);
}

/*
 * A pending decision may point into the policy it came from, so that is kept until none is pending. With no place left for it, what is
 * pending goes on by the plain meanings.
 */
void manager_retire_policy(struct manager *manager, struct policy *old)
{
	for (size_t i = 0; i < RETIRED_MAX; i++)
		if (!manager->retired[i]) {
			manager->retired[i] = old;
			return;
		}
	for LIFECYCLE_TUNNELS (i, &manager->core) {
		manager->core.tunnels[i].pending.policy = NULL;
		manager->core.tunnels[i].pending.then = NULL;
		manager->core.tunnels[i].pending.on_timeout = NULL;
	}
	policy_unref(old);
}

void manager_set_policy(struct manager *manager, struct policy *policy, bool managed)
{
	struct policy *old = manager->policy;
	manager->policy = policy;
	manager->core.policy = policy;
	note_policy(manager, managed);
	for LIFECYCLE_TUNNELS (i, &manager->core)
		policy_history_stable(&manager->core.tunnels[i].history); /* its counts are of the old one's rules */
	manager_retire_policy(manager, old);
	release_retired(manager);
}

void manager_set_kill_switch(struct manager *manager, struct kill_switch *settings, bool managed, const char *by)
{
	enum gate_mode old = manager->core.mode;
	kill_switch_free(manager->settings);
	manager->settings = settings;
	set_document(&manager->settings_document, managed, kill_switch_to_json(settings));
	manager->core.mode = settings->mode;
	if (!manager->ready)
		return;
	network_monitor_set_named_uplinks(manager->monitor, (const char(*)[IFNAMSIZ])settings->uplinks, settings->uplink_count);
	grants_sync(manager);
	manager_run(manager, &(struct lifecycle_event){.type = LIFECYCLE_MODE, .tunnel = LIFECYCLE_NONE, .mode = settings->mode, .now_usec = manager_now()});
	grants_attach(manager);
	host_resolver_update(manager);
	(void)store_save(manager);
	if (old == settings->mode)
		return;
	json_object *event = events_new(manager, "modeChanged", LIFECYCLE_NONE);
	json_object_object_add(event, "old", json_object_new_string(gate_mode_to_string(old)));
	json_object_object_add(event, "new", json_object_new_string(gate_mode_to_string(settings->mode)));
	json_object_object_add(event, "by", json_text_or_null(by));
	events_emit(manager, event);
}

/* ---- sources ---- */

static void on_tampering(const struct gate_tampering *tampering, void *userdata)
{
	struct manager *manager = userdata;
	if (tampering->error == -ECANCELED)
		return; /* the way out was taken */
	manager->report.healed += tampering->healed;
	bool as_asked = tampering->healed && !manager->report.failure; /* healed to the last plan that went in, which may not be the one asked for */
	manager->report.verified = as_asked;
	json_object *event = events_new(manager, "gateTampered", LIFECYCLE_NONE);
	json_object_object_add(event, "layer", json_object_new_string("nftables"));
	json_object_object_add(event, "process", json_text_or_null(tampering->process));
	json_object_object_add(event, "pid", tampering->pid ? json_object_new_int64(tampering->pid) : NULL);
	json_object_object_add(event, "healed", json_object_new_boolean(tampering->healed));
	json_object_object_add(event, "healedMs", json_object_new_double((double)tampering->healed_usec / (double)USEC_PER_MSEC));
	json_object_object_add(event, "suppressed", json_object_new_int((int)tampering->suppressed));
	events_emit(manager, event);
	if (as_asked)
		manager->report.verified_realtime = manager_realtime();
	else
		(void)effects_apply_gate(manager);
}

static bool may_heal(void *userdata)
{
	return !effects_way_out_taken(userdata);
}

/* The turn of the loop flushes, as every turn does. */
static int on_journal_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	return 0;
}

/* Before the loop sleeps: a source of its own that runs after each event would cost each event a turn of the loop more. */
static int on_flush(sd_event_source *source, void *userdata)
{
	struct manager *manager = userdata;
	journal_flush(manager->journal);
	uint64_t retry_in = journal_retry_in(manager->journal);
	if (retry_in != UINT64_MAX || manager->journal_timer)
		manager_arm_timer(manager, &manager->journal_timer, retry_in == UINT64_MAX ? USEC_INFINITY : manager_now() + retry_in,
			on_journal_retry);
	return 0;
}

/* What on_flush() hangs on: a time that never comes. */
static int on_never(sd_event_source *source, uint64_t usec, void *userdata)
{
	return 0;
}

/* ---- start ---- */

static int take_lock(const char *folder, const char *option, int *ret_fd)
{
	_cleanup_free_ char *path = document_path(folder, "lock");
	*ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*ret_fd < 0 && errno == EROFS) /* one that an earlier daemon made will do: a disk that failed must not keep this one away */
		*ret_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (*ret_fd < 0) {
		log_error("%s: cannot be opened: %s", path, strerror(errno));
		return -errno;
	}
	if (flock(*ret_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	log_error("%s: another holdfastd runs with this directory; end it first, or give this one another %s", path, option);
	return -EBUSY;
}

static int make_folders(struct manager *manager)
{
	static const char *const subfolders[] = {"", "/tunnels"};
	for (size_t i = 0; i < ELEMENTSOF(subfolders); i++) {
		_cleanup_free_ char *path = text_format("%s%s", manager->options.state_dir, subfolders[i]);
		int r = directory_make(path, 0700);
		if (r < 0) {
			log_error("%s: cannot be made: %s", path, strerror(-r));
			return r;
		}
	}
	int r = directory_make(manager->options.runtime_dir, 0755);
	if (r < 0)
		log_error("%s: cannot be made: %s", manager->options.runtime_dir, strerror(-r));
	return r;
}

static void read_boot_id(struct manager *manager)
{
	_cleanup_free_ char *text = NULL;
	size_t length;
	if (file_read("/proc/sys/kernel/random/boot_id", &text, &length) < 0)
		return;
	text[strcspn(text, "\n")] = 0;
	snprintf(manager->boot_id, sizeof manager->boot_id, "%s", text);
}

static void find_worker_user(struct manager *manager)
{
	const struct passwd *user = getpwnam(WORKER_USER);
	manager->worker_user_known = user != NULL;
	manager->worker_uid = user ? user->pw_uid : (uid_t)-1;
	manager->worker_gid = user ? user->pw_gid : (gid_t)-1;
}

static int open_kernel(struct manager *manager)
{
	int r = gate_new(&manager->gate);
	if (r < 0) {
		log_error("nftables cannot be reached: %s%s", strerror(-r), r == -EPERM ? "; holdfastd needs CAP_NET_ADMIN" : "");
		return r;
	}
	r = routing_new(&manager->routing);
	if (r < 0) {
		log_error("rtnetlink cannot be reached: %s", strerror(-r));
		return r;
	}
	_cleanup_free_ char *former = document_path(manager->options.runtime_dir, "host-settings.json");
	routing_keep_settings(manager->routing, former);
	return 0;
}

static int open_sources(struct manager *manager)
{
	static const struct network_callbacks network = {
		.changed = surroundings_on_network,
		.link = effects_link_changed,
		.routing_touched = effects_routing_touched,
	};
	_cleanup_free_ char *socket = document_path(manager->options.runtime_dir, "worker.sock");
	struct worker_callbacks workers;
	int r = network_monitor_new(&manager->monitor, manager->event, &network, manager);
	if (r < 0) {
		log_error("the network cannot be watched: %s", strerror(-r));
		return r;
	}
	r = surroundings_open(manager);
	if (r < 0) {
		log_error("the surroundings cannot be watched: %s", strerror(-r));
		return r;
	}
	r = host_resolver_open(manager);
	if (r < 0)
		return r;
	effects_observe_workers(&workers);
	r = worker_server_new(&manager->workers, manager->event, socket, &workers, manager);
	if (r < 0) {
		log_error("%s: cannot listen there: %s", socket, strerror(-r));
		return r;
	}
	r = sd_event_add_time(manager->event, &manager->flush, CLOCK_MONOTONIC, USEC_INFINITY, 0, on_never, manager);
	if (r >= 0)
		r = sd_event_source_set_prepare(manager->flush, on_flush);
	if (r < 0)
		log_error("the event loop: %s", strerror(-r));
	return r;
}

static void open_journal(struct manager *manager)
{
	static const struct journal_limits limits = {.age_usec = 30ull * 86400 * 1000000, .bytes = 32u << 20};
	_cleanup_free_ char *path = document_path(manager->options.state_dir, JOURNAL_FILE);
	(void)journal_open(&manager->journal, path, &limits);
}

/* A file that cannot be read lets nobody in; it is left for a person to look at until the next token is made. */
static void open_tokens(struct manager *manager)
{
	_cleanup_free_ char *path = document_path(manager->options.state_dir, "tokens.json");
	int r = tokens_open(&manager->tokens, path);
	if (r < 0)
		log_error("%s: cannot be used: %s; no token is good until new ones are made", path, strerror(-r));
}

/* What a daemon left that died in between: workers that it had not recorded yet, links and workers of tunnels that nobody wants. */
static void clear_leftovers(struct manager *manager)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++) {
		struct tunnel_runtime *runtime = &manager->tunnels[i];
		struct lifecycle_tunnel *tunnel = &manager->core.tunnels[i];
		if (runtime->config && !runtime->worker)
			(void)socket_mark_cgroup_remove(runtime->config->interface);
		if (!runtime->config || (tunnel->wanted && tunnel->state != TUNNEL_FAILED))
			continue;
		if (runtime->worker) {
			tunnel->worker = WORKER_STATE_ENDING;
			worker_kill(runtime->worker);
		}
		effects_remove_link(manager, i);
	}
}

static void want_autostart(struct manager *manager)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config && manager->tunnels[i].config->autostart && !manager->core.tunnels[i].wanted) {
			manager->core.tunnels[i].wanted = true;
			manager->core.tunnels[i].wanted_order = ++manager->core.wanted_order;
		}
}

void manager_hold(struct manager *manager, const char *reason)
{
	char *text = text_dup(reason);
	free(manager->held_for);
	manager->held_for = text;
	manager->core.hold = true;
	log_error("the gate is held closed: %s", text);
	json_object *event = events_new(manager, "held", LIFECYCLE_NONE);
	json_object_object_add(event, "reason", json_object_new_string(text));
	events_emit(manager, event);
}

void manager_let_go(struct manager *manager)
{
	manager->core.hold = false;
	free(manager->held_for);
	manager->held_for = NULL;
	json_object_put(manager->orphans);
	manager->orphans = NULL;
}

static void begin(struct manager *manager)
{
	struct lifecycle_event event = {.type = LIFECYCLE_BEGIN, .tunnel = LIFECYCLE_NONE, .now_usec = manager_now()};
	manager->core.available = network_monitor_state(manager->monitor)->available;
	if (gate_exists(manager->gate, &manager->gate_stood) < 0)
		manager->gate_stood = false;
	int r = store_load(manager);
	bool ran_before = r == -ENOENT ? manager->gate_stood : !manager->first_of_boot;
	manager->first_of_boot |= r == -ENOENT;
	if (r < 0 && r != -ENOENT)
		manager_hold(manager, "state.json cannot be read, so what is wanted is not known; set a mode to say what holds");
	if (manager->state_lost)
		manager_hold(manager, "state.json is gone, so what is wanted is not known; set a mode to say what holds");
	(void)effects_way_out_taken(manager);
	confirm_load(manager);
	clear_leftovers(manager);
	names_begin(manager);
	grants_begin(manager, !ran_before);
	if (manager->first_of_boot)
		want_autostart(manager);
	manager_run(manager, &event);
	if (r == -ENOENT)
		(void)store_save(manager); /* from here on one that is missing is one that is lost */
	grants_attach(manager);
	effects_adopt_release(manager);
	host_resolver_update(manager);
	surroundings_begin(manager, manager->first_of_boot);
}

int manager_start(struct manager *manager, sd_event *event)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	manager->event = sd_event_ref(event);
	manager->since_realtime = manager_realtime();
	int r = make_folders(manager);
	if (r < 0 || (r = take_lock(manager->options.state_dir, "--state-dir", &manager->lock_fd)) < 0 ||
		(r = take_lock(manager->options.runtime_dir, "--runtime-dir", &manager->runtime_lock_fd)) < 0 || (r = open_kernel(manager)) < 0)
		return r;
	read_boot_id(manager);
	find_worker_user(manager);
	manager->state_lost = store_lost(manager->options.state_dir);
	if (!manager->state_lost && (r = store_begin(manager->options.state_dir)) < 0)
		log_warning("%s: no state can be written there: %s", manager->options.state_dir, strerror(-r));
	open_journal(manager);
	open_tokens(manager);
	documents_load(manager, &problems);
	r = open_sources(manager);
	if (r < 0)
		return r;
	network_monitor_set_named_uplinks(manager->monitor, (const char(*)[IFNAMSIZ])manager->settings->uplinks, manager->settings->uplink_count);
	events_emit(manager, events_new(manager, "daemonStarted", LIFECYCLE_NONE));
	begin(manager);
	gate_set_guard(manager->gate, may_heal, manager);
	r = gate_watch(manager->gate, event, on_tampering, manager);
	if (r < 0) {
		log_error("nftables cannot be watched: %s", strerror(-r));
		return r;
	}
	manager->ready = true;
	return 0;
}

void manager_reload(struct manager *manager)
{
	log_notice("reloading the documents");
	documents_reload(manager);
}

struct manager *manager_new(const struct options *options)
{
	struct manager *manager = xcalloc(1, sizeof *manager);
	uint64_t seed = 0;
	manager->options = *options;
	manager->lock_fd = manager->runtime_lock_fd = -1;
	manager->policy_builtin = true;
	manager->settings = kill_switch_default();
	set_document(&manager->settings_document, false, kill_switch_to_json(manager->settings));
	manager->configuration = configuration_default();
	manager->policy = policy_default();
	note_policy(manager, false);
	if (getrandom(&seed, sizeof seed, 0) != sizeof seed || seed == 0)
		seed = manager_realtime() | 1; /* it spreads retries, nothing more */
	lifecycle_init(&manager->core, manager->policy, seed);
	check_init(manager);
	return manager;
}

struct manager *manager_free(struct manager *manager)
{
	if (!manager)
		return NULL;
	if (manager->save_pending)
		(void)store_save(manager);
	names_free(manager);
	for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
		if (manager->waiting[i])
			operation_cancel(manager, manager->waiting[i]);
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config)
			manager_remove_tunnel(manager, i);
	sd_event_source **sources[] = {&manager->lifecycle_timer, &manager->gate_timer, &manager->save_timer, &manager->wait_timer, &manager->journal_timer,
		&manager->health_timer, &manager->release_timer, &manager->routing_timer, &manager->trial.timer, &manager->flush};
	for (size_t i = 0; i < ELEMENTSOF(sources); i++)
		*sources[i] = sd_event_source_disable_unref(*sources[i]);
	manager->workers = worker_server_free(manager->workers);
	surroundings_close(manager);
	host_resolver_close(manager);
	manager->monitor = network_monitor_free(manager->monitor);
	manager->routing = routing_free(manager->routing);
	check_free(manager);
	grants_free(manager);
	manager->gate = gate_free(manager->gate);
	if (manager->journal)
		journal_flush(manager->journal);
	manager->journal = journal_close(manager->journal);
	for (size_t i = 0; i < RETIRED_MAX; i++)
		policy_unref(manager->retired[i]);
	policy_unref(manager->policy);
	kill_switch_free(manager->settings);
	free(manager->policy_document.etag);
	free(manager->settings_document.etag);
	free(manager->report.failure);
	free(manager->routed_routes);
	free(manager->held_for);
	free(manager->document_errors);
	configuration_unref(manager->configuration);
	status_forget(manager);
	tokens_close(manager->tokens);
	json_object_put(manager->orphans);
	confirm_done(manager);
	closep(&manager->lock_fd);
	closep(&manager->runtime_lock_fd);
	sd_event_unref(manager->event);
	free(manager);
	return NULL;
}
