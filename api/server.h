/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * HTTP in front of the operations: routes from the table, problem documents, ETags, events as a stream. One
 * libmicrohttpd daemon per listening socket, inside the loop.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct configuration;
struct manager;
struct tls;
struct api_server;

/* What one server may be made to spend. A member that is 0 has its default. */
struct api_options {
	const char *openapi;     /* served as /openapi.yaml; default: the installed one */
	unsigned connections;    /* 256; near the limit the longest silent connection makes room */
	unsigned streams;        /* 32 */
	unsigned calls;          /* 64 calls that are under way at a time */
	size_t bodies;           /* 16 MiB of request bodies at a time, all connections together */
	size_t stream_queue;     /* 256 KiB that a stream's client may leave unread before it gets `resync` */
	uint64_t request_usec;   /* 10 s to send a request, from connecting or from its first line on */
	uint64_t idle_usec;      /* 60 s between two requests of one connection, and to read an answer */
	uint64_t heartbeat_usec; /* 15 s */
};

/*
 * Serves on the listening Unix socket FD (taken over on success). Callers are known by peer credentials: root is admin,
 * members of group GID control, anybody else who may open the socket read. SIGPIPE is ignored from here on. Negative
 * errno.
 */
int api_server_new_unix(struct api_server **ret, sd_event *event, struct manager *manager, int fd, gid_t gid);
/* The same with other limits than the defaults. */
int api_server_new_unix_full(struct api_server **ret, sd_event *event, struct manager *manager, int fd, gid_t gid,
	const struct api_options *options);
/*
 * The same on the listening TCP socket FD, with TLS (taken over, in any case) or, on loopback alone, NULL: without. Callers are known by
 * the token of each request, or by their certificate as CONFIGURATION says. On errors FD stays the caller's.
 */
int api_server_new_tcp(struct api_server **ret, sd_event *event, struct manager *manager, int fd, struct configuration *configuration,
	struct tls *tls, const struct api_options *options);
/* Takes no more connections: those there are go on. Returns whether none is left. */
bool api_server_drain(struct api_server *server);
struct api_server *api_server_free(struct api_server *server); /* ends every connection; accepts NULL, returns NULL */
