/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A driver runs one kind of VPN client. One file and one row of the table in drivers.c each. The `check` half runs in
 * the daemon and knows documents; the `start` half runs in the worker process and knows the client. A driver holds no
 * policy: it says what happened.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "policy/error.h"
#include "tunnel/config.h"
#include "tunnel/protocol.h"
#include "util/problem.h"

/* What a driver tells its worker, from callbacks of the event loop or from within start(). */
struct driver_host {
	sd_event *event;
	void *worker;
	/* About to talk to ENDPOINT; the driver then waits for its proceed(). */
	void (*contacting)(void *worker, const struct endpoint *endpoint);
	/* The session stands. */
	void (*up)(void *worker, const struct tunnel_network *network);
	/* Counters, whenever the driver has new ones. */
	void (*traffic)(void *worker, const struct tunnel_traffic *traffic);
	/* It stopped and nobody asked for it: the client is gone, or is taken down by the driver before it says so. */
	void (*will_stop)(void *worker, enum tunnel_error error, const char *detail);
	/* What stop() asked for is done. */
	void (*stopped)(void *worker);
	/*
	 * Cannot go on without these: names, separated by commas. The driver then waits for its credentials(). Meanwhile the gate
	 * lets nobody by: a server that was named before is named again by contacting(). CHALLENGE, or NULL: what a person is
	 * asked for the one that is called WORKER_CHALLENGE_NAME. An answer may lack some of them; the rest is asked for again.
	 */
	void (*need_credentials)(void *worker, const char *names, const struct worker_challenge *challenge);
	/*
	 * Asks the daemon for what only it may do with the tunnel's device; the driver's device_answered() has the answer. Without a
	 * daemon there is none.
	 */
	void (*ask_device)(void *worker, enum device_request request);
};

/*
 * The daemon's half of a driver whose client can be the kernel: what it does with the link INTERFACE of CONFIG's own values, at a
 * worker's request. Each but `choose` returns 0 or a negative errno.
 */
struct driver_device {
	const char *name; /* as the status says it */
	/* 1: CONFIG's tunnel is the kernel's to carry; 0: a client's; negative: neither, and DETAIL says why. */
	int (*choose)(const struct tunnel_config *config, char detail[WORKER_DETAIL_MAX]);
	int (*make)(const char *interface); /* what stands and carries is silenced instead */
	/* All anew, to begin a session with ENDPOINT, the one of that INDEX. */
	int (*configure)(const struct tunnel_config *config, size_t index, const struct endpoint *endpoint, uint32_t mark);
	int (*settle)(const struct tunnel_config *config, size_t index);
	int (*inspect)(const struct tunnel_config *config, size_t index, struct tunnel_traffic *ret);
	int (*silence)(const char *interface); /* it says nothing any more, and keeps no secret */
};

struct driver_session; /* each driver's own */

struct driver {
	const char *name;
	bool needs_net_admin; /* the worker keeps CAP_NET_ADMIN */
	bool needs_tun;       /* the daemon makes a persistent tun and hands it over */
	bool opens_tun;       /* no: the client opens that tun by its name, so that no descriptor of it is handed over */
	bool has_control;     /* the daemon makes a socket by which the client is spoken to, and hands it over */
	bool runs_anything;   /* its document names a program: it is taken from root's own files only */
	const char *control_folder; /* where that socket is; NULL: in the daemon's runtime directory */
	const struct driver_device *device; /* where it chooses to, nothing of the above is needed: the daemon has the device */
	const char *const
	        *programs; /* what must be installed, NULL-terminated; alternatives are the driver's business */

	/* Daemon: checks `settings` and each endpoint's own members, fills what the daemon must know (addresses, mtu).
	 */
	void (*check)(
	        json_object *settings, json_object *endpoints, struct tunnel_config *config, struct problems *problems);
	/* Daemon: names of members that are secrets, in settings and in endpoints, NULL-terminated. */
	const char *const *secrets;

	/* Worker: a session for HOST. Descriptors stay the worker's. */
	int (*open)(const struct driver_host *host, const struct worker_start *start, struct driver_session **ret);
	/* Worker: begin with the endpoint of that index; a session that runs is ended first (restart in place).
	 * RESOLVERS are whom it may ask where the endpoint is a name. */
	int (*start)(struct driver_session *session, size_t endpoint, const struct worker_resolvers *resolvers);
	/* Worker: the gate is open for the endpoint that was named. */
	int (*proceed)(struct driver_session *session);
	/* Worker: what was asked for by need_credentials(): an object of strings, borrowed, wiped afterwards. NULL where the
	 * driver never asks. */
	int (*credentials)(struct driver_session *session, json_object *answer);
	/* Worker: what ask_device() was answered. NULL where the driver never asks. */
	void (*device_answered)(struct driver_session *session, const struct device_answer *answer);
	/* Worker: say goodbye and end; host->stopped() follows. */
	void (*stop)(struct driver_session *session);
	void (*close)(struct driver_session *session);
};

/* The drivers there are, by name; NULL for a name that is none. */
const struct driver *driver_find(const char *name);
const struct driver *const *driver_all(size_t *ret_count);
extern const struct driver driver_wireguard, driver_openvpn, driver_command;
