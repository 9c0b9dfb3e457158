/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The daemon's side of workers: the listening socket, the processes, and the messages. A worker is known by its peer
 * pid, its cgroup and the nonce it was given at start. Whatever a worker does wrong becomes `gone` with an error,
 * nothing more.
 *
 * What a worker said of an order that a newer one has overtaken (start, restart, stop) is dropped here: after
 * worker_send_restart() no `up` of the session before it is delivered. A worker exits by itself once it has said
 * `stopped`; `gone` follows.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "tunnel/protocol.h"

struct worker_server;
struct worker;

struct worker_callbacks {
	/* A valid message. MESSAGE is the callback's until it returns; steal `tunnel` if it is needed longer. */
	void (*message)(struct worker *worker, const struct worker_message *message, void *userdata);
	/*
	 * The process ended, or lost its connection and was killed for it, or broke the protocol and was killed.
	 * TUNNEL_ERROR_NONE: as the daemon asked, by stop or worker_kill(). The worker's client ends with it. After
	 * this no more calls; WORKER is freed.
	 */
	void (*gone)(struct worker *worker, enum tunnel_error error, const char *detail, void *userdata);
};

struct worker_spec {
	const char *tunnel;      /* id */
	const char *program;     /* path of holdfast-worker */
	const char *socket_path; /* of worker.sock */
	uid_t uid;               /* user holdfast-worker, in no other group */
	gid_t gid;
	bool net_admin; /* keeps CAP_NET_ADMIN as an ambient capability */
	int cgroup_fd;  /* -1: none */
};

/*
 * From its start, or its adoption, to hello. One that sleeps by then waits for nothing that will come: it hangs. One that still runs, or waits for
 * the disk, is on a slow machine, and has as long as systemd gives a service to start (DefaultTimeoutStartSec=).
 */
#define WORKER_HELLO_USEC      (5 * USEC_PER_SEC)
#define WORKER_HELLO_MAX_USEC  (90 * USEC_PER_SEC)
#define WORKER_SILENCE_USEC    (10 * USEC_PER_SEC) /* without any packet: it hangs */
#define WORKER_HEARTBEAT_USEC  (2 * USEC_PER_SEC)  /* a worker sends something at least so often */
#define WORKER_PACKETS_PER_SEC 200                 /* sustained; more is a flood */

/* Listens on PATH (0666 in a folder that only workers may search is the caller's business; peers are checked one by
 * one). */
int worker_server_new(struct worker_server **ret, sd_event *event, const char *path,
        const struct worker_callbacks *callbacks, void *userdata);
/* Leaves the workers running. Accepts NULL, returns NULL. */
struct worker_server *worker_server_free(struct worker_server *server);

/* Starts a process. It says hello when it is ready; until then messages to it are kept. Negative errno: nothing was
 * started. */
int worker_spawn(struct worker_server *server, const struct worker_spec *spec, struct worker **ret);
/*
 * Expects the worker PID, started by an earlier daemon with NONCE, to say hello again. -ESRCH: there is no such
 * process, or its command line is not that of TUNNEL's worker.
 */
int worker_adopt(struct worker_server *server, const char *tunnel, pid_t pid, const char *nonce, struct worker **ret);

pid_t worker_pid(const struct worker *worker);
const char *worker_nonce(const struct worker *worker); /* hex; to be kept in the state */
const char *worker_tunnel(const struct worker *worker);

/*
 * Each returns 0 or a negative errno; -EMSGSIZE: the document is too large for a packet; else a worker that cannot be
 * told is killed and `gone` follows. START's descriptors are sent along and stay the caller's. A worker that runs a
 * session may be started anew, with a new document or new descriptors (a tun whose link was deleted is of no use any
 * more): the former session is closed first.
 */
int worker_send_start(struct worker *worker, const struct worker_start *start);
int worker_send_restart(struct worker *worker, size_t endpoint, const struct worker_resolvers *resolvers);
int worker_send_proceed(struct worker *worker);
/* CREDENTIALS: an object of strings; borrowed. */
int worker_send_credentials(struct worker *worker, json_object *credentials);
/* The answer to the `askDevice` of the order that is being carried out. */
int worker_send_device(struct worker *worker, const struct device_answer *answer);
int worker_send_stop(struct worker *worker);
/* SIGKILL to the worker and all in its cgroup; `gone` follows from the loop. */
void worker_kill(struct worker *worker);
/* Forgets the worker without ending it: no more callbacks. */
void worker_forget(struct worker *worker);
