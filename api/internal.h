/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the files of api/ share. A server has connections, a connection at most one request at a time (pipelined ones
 * follow each other), a request at most one call or one stream.
 *
 * While a request waits for its operation, or a stream for its next event, libmicrohttpd's connection is suspended. A
 * suspended connection notices nothing, so its descriptor is watched for the client's leaving; libmicrohttpd does not
 * wake the loop when one is resumed either, so that goes through connection_resume() alone, which asks for another
 * MHD_run().
 */

#include <microhttpd.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <time.h>

#include "api/reply.h"
#include "api/server.h"
#include "api/uri.h"
#include "daemon/configuration.h"
#include "daemon/operations.h"
#include "util/macro.h"
#include "util/text.h"
#include "util/timestamp.h"

struct connection;
struct request;
struct stream;
struct tls;

/* What kind of socket a server listens on. */
struct transport {
	const char *name;
	/*
	 * Says who sends this request: OUTCOME_OK and *ret, or why it is not answered. Asked once per request, since a
	 * token comes with each; what belongs to the connection may be kept in it.
	 */
	enum outcome (*identify)(struct connection *connection, struct caller *ret);
	/* epoll events, beyond EPOLLHUP and EPOLLERR, that say that a client has left. A Unix socket's half-close is
	 * none of them. */
	uint32_t hangup_events;
	/* Whether a request may have come from where it says; else a sentence. NULL: no browser gets here. */
	bool (*check_browser)(struct connection *connection, char **ret_detail);
};

extern const struct transport transport_unix, transport_tcp;

struct api_server {
	sd_event *event;
	struct manager *manager;
	struct api_options options;
	const struct transport *transport;
	gid_t gid;                           /* of a Unix socket */
	struct configuration *configuration; /* of a TCP socket */
	struct tls *tls;                     /* NULL: without */
	uint64_t wrong_tokens_usec;          /* up to when what wrong tokens are answered is used up */
	struct kept_answer *kept; /* the last status */
	struct MHD_Daemon *daemon;
	sd_event_source *io, *timer, *wake;
	TAILQ_HEAD(, connection) connections; /* oldest first */
	unsigned served; /* requests; wraps */
	unsigned connection_count, stream_count, call_count;
	size_t body_bytes;
	bool full; /* since it last listened it had as many connections as it may */
	bool stopping, draining;
};

struct connection {
	TAILQ_ENTRY(connection) entry;
	struct api_server *server;
	struct MHD_Connection *mhd;
	int fd;
	struct caller peer; /* scope SCOPE_NONE: not asked for yet, or nobody */
	bool identified;    /* by its certificate, if it has one */
	struct request *request;
	uint64_t since_usec;     /* CLOCK_MONOTONIC: when it began to wait for a request */
	uint64_t deadline_usec;  /* when it is ended; USEC_INFINITY: not by time */
	sd_event_source *hangup; /* while suspended */
	bool suspended;
	bool gone; /* the client left, or must leave */
};

struct request {
	struct connection *connection;
	struct uri uri;
	int uri_error;
	const struct operation *operation;
	struct caller caller;
	bool begun;    /* the headers were looked at */
	bool has_body;
	bool complete; /* the body is whole */
	bool counted;  /* in call_count */
	char *body;
	size_t length, allocated, limit, discarded;
	struct operation_call *call;
	bool calling;  /* inside operation_start() */
	bool answered; /* `done` was called */
	struct reply reply;
	struct stream *stream;
};

/* When the loop last woke (CLOCK_MONOTONIC): for deadlines of seconds near enough, and without asking the clock for each. */
static inline uint64_t woken_usec(const struct api_server *server)
{
	uint64_t now;
	return sd_event_now(server->event, CLOCK_MONOTONIC, &now) < 0 ? clock_usec(CLOCK_MONOTONIC) : now;
}

/* server.c */
void connection_suspend(struct connection *connection);
void connection_resume(struct connection *connection); /* no effect unless suspended */
void connection_deadline(struct connection *connection, uint64_t in_usec);
const char *connection_header(struct connection *connection, const char *name);

/* request.c */
struct request *request_new(struct connection *connection, const char *target);
struct request *request_free(struct request *request); /* cancels what is under way; accepts NULL, returns NULL */
/* Nothing more will be answered: cancels the call, ends the stream. The request lives on until libmicrohttpd lets go of
 * it. */
void request_abandon(struct request *request);
/* libmicrohttpd's access handler, for a request whose connection is not gone. */
enum MHD_Result request_handle(struct request *request, const char *method, const char *upload, size_t *upload_size);

/* pages.c: what is not an operation. */
struct page;
const struct page *page_find(const struct uri *uri); /* NULL: URI is none of them */
bool page_is_public(const struct page *page);       /* holds no data: nobody is asked who he is */
void page_reply(const struct page *page, struct api_server *server, const char *method, struct reply *reply);

/* metrics.c. The caller frees it. */
char *metrics_render(struct api_server *server, size_t *ret_length);

/* stream.c: queues the answer of WatchEvents. CALL has its arguments. */
enum MHD_Result stream_start(struct request *request, const struct operation_call *call);
struct stream *stream_free(struct stream *stream); /* accepts NULL, returns NULL */
