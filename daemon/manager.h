/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The daemon's whole state, and the functions its parts offer each other. Only files of daemon/ include this; the fronts have
 * daemon/operations.h.
 *
 * Who does what: lifecycle.c decides, effects.c carries out, events.c tells, surroundings.c
 * tells policies of the network and of sleep, host-resolver.c sets the host's resolver, store.c keeps, documents.c reads and writes what an
 * administrator can read, status.c shows, operations*.c take requests, manager.c holds them together.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "daemon/check.h"
#include "daemon/configuration.h"
#include "daemon/confirm.h"
#include "daemon/demand.h"
#include "daemon/grants-private.h"
#include "daemon/health.h"
#include "daemon/host-resolver.h"
#include "daemon/journal.h"
#include "daemon/lifecycle.h"
#include "daemon/names.h"
#include "daemon/operations.h"
#include "daemon/surroundings.h"
#include "daemon/turn.h"
#include "firewall/gate.h"
#include "network/monitor.h"
#include "network/probe.h"
#include "network/routing.h"
#include "policy/policy.h"
#include "tunnel/config.h"
#include "tunnel/wireguard-go.h"
#include "tunnel/worker.h"
#include "util/rate.h"

#define SUBSCRIBERS_MAX 64
#define RETIRED_MAX (LIFECYCLE_TUNNELS_MAX + 8) /* what is left of one for each tunnel at the start, and those replaced since */
#define BOOT_ID_MAX 40
#define RELEASE_DEFAULT_USEC (300 * USEC_PER_SEC)
#define RELEASE_MAX_USEC (3600 * USEC_PER_SEC)
#define WAIT_MAX_USEC (300 * USEC_PER_SEC) /* longest ?wait= */
#define GATE_RETRY_USEC (1 * USEC_PER_SEC)
#define SAVE_DELAY_USEC (USEC_PER_SEC / 2) /* what is not safety-relevant reaches the state file this much later */

struct tokens;

struct options {
	char *config_dir, *state_dir, *runtime_dir;
	char *worker_program;
};

/* One document of the administrator's: in /etc (it rules) or in the state directory. */
struct document {
	bool managed; /* stands in the configuration directory: the API may not change it */
	char *etag;   /* of its canonical JSON, hex; owned */
};

/* Of a tunnel that is up; all zero while it is not. */
struct tunnel_health {
	struct health signs;
	struct probe *probe;
	bool no_target; /* nobody to ask: the passive sign alone */
	uint64_t next_usec;
};

/* What the core does not know of a tunnel; the place is the same as in lifecycle.tunnels. */
struct tunnel_runtime {
	struct tunnel_config *config; /* NULL: the place is free */
	struct document document;
	const char **endpoint_texts;  /* for the lifecycle; borrowed strings */
	struct worker *worker;
	const struct driver_device *device; /* the kernel carries it; NULL: a client of its worker's */
	bool device_speaks;		    /* the device may have peers and keys */
	bool equipped;		      /* the worker has descriptors of the link as it is now */
	bool link_ready;	      /* configured: routes may point into it */
	bool network_known;
	struct tunnel_network network;
	struct tunnel_traffic traffic;
	struct tunnel_health health;
	char asks[WORKER_DETAIL_MAX];   /* names of the credentials that are wanting, while the lifecycle says `asking` */
	struct worker_challenge challenge; /* the question that goes with them */
	char detail[WORKER_DETAIL_MAX]; /* the client's words at the last unexpected stop */
	uint64_t since_realtime;	/* of the state */
};

struct gate_report {
	enum gate_state desired; /* as the core asks */
	enum gate_state kernel;	 /* as last verified */
	bool verified;		 /* false: unknown, which counts as "not held" */
	uint64_t verified_realtime;
	unsigned healed;
	char *failure; /* why the kernel is not as desired; NULL: it is */
	uint64_t released_until_usec; /* CLOCK_BOOTTIME; 0: no release */
};

struct subscription {
	struct manager *manager;
	event_listener listener; /* NULL: the place is free */
	void *userdata;
};

struct manager {
	struct options options;
	sd_event *event;
	char boot_id[BOOT_ID_MAX];
	uint64_t since_realtime;
	bool ready, exiting;

	struct lifecycle core;
	struct tunnel_runtime tunnels[LIFECYCLE_TUNNELS_MAX];
	struct turn turn;
	struct demand demand;
	struct worker_resolvers bootstrap; /* of the last plan: what the gate lets by is what a worker is told to ask */

	struct policy *policy;
	struct policy *retired[RETIRED_MAX]; /* replaced, but a pending decision still points into them */
	struct routing_plan routed;	      /* as last applied and seen in the kernel ... */
	struct routing_route *routed_routes;
	bool routing_known;		      /* ... and not touched since */
	struct rate routing_heals;
	uint64_t routing_noticed; /* since when others' changes to it wait for their heal; 0: there are none */
	unsigned routing_suppressed;
	struct document policy_document;
	struct kill_switch *settings;
	struct document settings_document;
	struct configuration *configuration; /* holdfast.json as last read without an error */
	struct tokens *tokens;
	json_object *kept_status; /* see status_kept(); NULL: something changed */
	char *kept_status_text;
	uint64_t kept_until_usec; /* CLOCK_BOOTTIME */
	struct {
		void (*changed)(void *userdata); /* NULL: nobody watches */
		void *userdata;
	} status_watch;
	struct {
		json_object *former; /* what comes back unless the settings are confirmed; NULL: nothing is on trial */
		uint64_t deadline_usec;
		bool rolled_back; /* the last trial ended so */
		sd_event_source *timer;
	} trial; /* confirm.c */
	char *held_for;	       /* why the gate is held although nothing readable asks for it; NULL: it is not */
	json_object *orphans;  /* entries of the state file whose tunnels have no usable document; NULL: none */
	char *document_errors; /* what was wrong with the documents when they were last read; NULL: nothing */
	bool policy_builtin;   /* nobody gave one */
	bool released_marker; /* the way out was taken: nothing is healed until SetMode */

	struct grants grants;
	struct names names;
	struct check check;
	struct gate *gate;
	struct gate_report report;
	bool gate_stood; /* when this daemon started, by an earlier one */
	bool gate_seen;	 /* this daemon has verified it once */
	struct routing *routing;
	struct network_monitor *monitor;
	struct surroundings_state surroundings;
	struct host_resolver resolver;
	struct worker_server *workers;
	uid_t worker_uid;
	gid_t worker_gid;
	bool worker_user_known;
	struct wireguard_go wireguard_go; /* once known */
	bool wireguard_go_known;

	int lock_fd, runtime_lock_fd; /* of the state and of the runtime directory */
	struct journal *journal;
	struct subscription subscribers[SUBSCRIBERS_MAX];

	struct operation_call *waiting[SUBSCRIBERS_MAX]; /* calls that wait for a state; pending is their deadline */

	sd_event_source *health_timer;
	sd_event_source *lifecycle_timer, *gate_timer, *save_timer, *wait_timer, *journal_timer, *release_timer, *routing_timer, *flush;
	bool save_pending, save_failed;
	bool state_lost;    /* there was a state file, and it is gone */
	bool first_of_boot; /* no daemon ran in this boot before */
};

#define JOURNAL_FILE "journal.db"

/* ---- manager.c ---- */
struct manager *manager_new(const struct options *options); /* construct: no I/O */
int manager_start(struct manager *manager, sd_event *event); /* open, load, take back, begin */
struct manager *manager_free(struct manager *manager);
uint64_t manager_now(void);	     /* CLOCK_BOOTTIME */
uint64_t manager_realtime(void);     /* CLOCK_REALTIME */
/* Feeds the core and carries out what follows, events that come up meanwhile included. True if something changed. */
bool manager_run(struct manager *manager, const struct lifecycle_event *event);
bool manager_run_tunnel(struct manager *manager, enum lifecycle_event_type type, size_t tunnel);
void manager_reload(struct manager *manager); /* SIGHUP */
/* What is wanted is not known: closed until a mode is set, over restarts too. REASON is a sentence. */
void manager_hold(struct manager *manager, const char *reason);
void manager_let_go(struct manager *manager); /* a mode was set: the hold, and what it was for, is over */
bool manager_full(struct manager *manager); /* no place is left for another tunnel */
int manager_add_tunnel(struct manager *manager, struct tunnel_config *config, bool managed, size_t *ret_index); /* takes CONFIG; -ENOSPC */
void manager_remove_tunnel(struct manager *manager, size_t index);
bool manager_any_active(const struct manager *manager);
void manager_retire_policy(struct manager *manager, struct policy *policy); /* takes POLICY; kept while a decision is pending */
void manager_set_policy(struct manager *manager, struct policy *policy, bool managed);	    /* takes POLICY */
/* Takes SETTINGS and applies them. BY: who asked, NULL for the daemon itself. */
void manager_set_kill_switch(struct manager *manager, struct kill_switch *settings, bool managed, const char *by);
void manager_complete_waiting(struct manager *manager); /* answers calls whose state has come */
int manager_arm_timer(struct manager *manager, sd_event_source **source, uint64_t at_boottime_usec, sd_event_time_handler_t handler);

/* ---- effects.c ---- */
/* Carries one effect out, USERDATA being the manager. TUNNEL_ERROR_NONE, or what to tell the lifecycle. */
enum tunnel_error effects_carry_out(const struct effect *effect, void *userdata);
/* Brings the kernel to what the core asks now and verifies it; 0, or a negative errno with the words in report.failure. */
int effects_apply_gate(struct manager *manager);
/* The second layer, unless it is as asked already. 0, or a negative errno with routing_error(). */
int effects_apply_routing(struct manager *manager);
/* Looks for the marker before anything is closed or healed: it may be set while this daemon hangs or sleeps. What it says is obeyed. */
bool effects_way_out_taken(struct manager *manager);
void effects_routing_touched(void *userdata);
/* The tunnel's link, its control socket and, with the last of them, the host's resolver as it was. */
void effects_remove_link(struct manager *manager, size_t index);
void effects_observe_workers(struct worker_callbacks *ret);
void effects_link_changed(const char *interface, enum link_presence presence, void *userdata);
void effects_adopt_release(struct manager *manager);
int effects_release(struct manager *manager, uint64_t duration_usec, const char *reason, const char *by);

/* ---- health-watch.c ---- */
void health_arm(struct manager *manager); /* after every step: tunnels that are up are watched, others are not */
const char *health_word(const struct manager *manager, size_t index); /* for the status; NULL: not watched */

/* ---- credentials.c ---- */
/* The tunnel's worker cannot go on without NAMES (separated by commas): answered from systemd's, or asked for. */
void credentials_asked(struct manager *manager, size_t index, const char *names, const struct worker_challenge *challenge);
json_object *credentials_wanting(const struct manager *manager, size_t index); /* for the status; null: none */
json_object *credentials_challenge(const struct manager *manager, size_t index); /* what a person is asked for one of them */

/* ---- events.c ---- */
/* A new event object of KIND about tunnel INDEX (LIFECYCLE_NONE: the host); fill it and hand it to events_emit(). */
json_object *events_new(struct manager *manager, const char *kind, size_t index);
void events_emit(struct manager *manager, json_object *event); /* takes EVENT */
json_object *json_time(uint64_t realtime_usec);		       /* RFC 3339 UTC with milliseconds; null for 0 */
json_object *json_boottime(uint64_t boottime_usec);	       /* the same of a time of CLOCK_BOOTTIME; null for 0 and never */
json_object *json_text_or_null(const char *text);

/* ---- store.c: state.json and the marker ---- */
int store_save(struct manager *manager);
void store_save_later(struct manager *manager);
/* Once things have been quiet for a moment, what a large document needed on its way goes back to the kernel. */
void store_trim_later(struct manager *manager);
/* 0 with what stood there taken over; -ENOENT: there was none. Anything else: unreadable, which counts as "must be closed". */
int store_load(struct manager *manager);
/* Reads and checks DIR's state file without taking it over: 0 and the object, -ENOENT, or another error. */
int store_read(const char *state_dir, json_object **ret);
/* Before a first start makes anything else in DIR: what it leaves when it fails or is killed is then no state that was lost. */
int store_begin(const char *state_dir);
/* Whether DIR has no state file though a daemon has worked there: it has a journal. */
bool store_lost(const char *state_dir);
/* Whether a checked state wants the gate closed, tunnels without a document included. */
bool store_wants_closed(json_object *state);
int store_marker_read(const char *state_dir, bool *ret);
int store_marker_remove(const char *state_dir);

/* ---- documents.c ---- */
/*
 * Reads all documents. Errors are collected in PROBLEMS, each pointer preceded by the file's path; what is wrong is left out (kill switch:
 * LAN blocked, mode always; policy: the default) and the rest stands. Returns false if there was an error.
 */
bool documents_load(struct manager *manager, struct problems *problems);
void documents_check_tunnels(struct manager *manager, json_object *policy, struct problems *problems); /* warns of those that there are not */
int documents_store(struct manager *manager, const char *name, json_object *document); /* "policy.json", in the state directory */
int documents_remove(struct manager *manager, const char *name);
char *document_etag(json_object *document); /* hex, 16 bytes of SHA-256; the caller frees it */
char *document_etag_of_text(const char *text);
char *document_path(const char *folder, const char *name);
/* Re-reads one managed or stored document, for SIGHUP. */
void documents_reload(struct manager *manager);

/* ---- status.c ---- */
json_object *status_tunnel(struct manager *manager, size_t index);
const char *status_protection(struct manager *manager);
/*
 * The status as it was last rendered, kept until something changes; its counters may be STATUS_KEPT_USEC old. *ret_text is its JSON in one
 * line with a line feed. Both are borrowed until the loop turns, and not to be changed.
 */
#define STATUS_KEPT_USEC (20 * USEC_PER_MSEC)
json_object *status_kept(struct manager *manager, const char **ret_text);
void status_forget(struct manager *manager); /* something changed */
