/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon's API over its Unix socket: one request, or one request while the events are heard. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"

struct client;

struct client *client_new(const char *socket_path);
/* Whether what is sent, but to be read, is sent as ?dryRun=true. */
void client_set_dry_run(struct client *client, bool dry_run);
struct client *client_free(struct client *client); /* accepts NULL, returns NULL */
DEFINE_CLEANUP(struct client *, client_free)
#define _cleanup_client_ _cleanup_(client_freep)

struct request {
	const char *method; /* "GET" … */
	const char *path;   /* beneath /v1, its parts already escaped by client_escape() */
	const char *body;   /* NULL: none */
	size_t body_length;
	const char *content_type; /* of the body; NULL: application/json */
	bool if_match_any;        /* "If-Match: *": what the command line writes, it means to write */
	uint64_t timeout_usec;    /* for the whole of it; 0: 30 s */
};

struct response {
	long status; /* HTTP's; 0: there was none */
	char *body;  /* never NULL; ends in a NUL that is not counted */
	size_t length;
	json_object *json; /* the body, if it is JSON */
};

void response_done(struct response *response);
#define _cleanup_response_ _cleanup_(response_done)

/* One event of the stream. False ends the listening. */
typedef bool (*client_event)(json_object *event, void *userdata);

/*
 * Sends REQUEST and fills RESPONSE. With ON_EVENT, events that happen meanwhile are handed to it. 0; -ECONNREFUSED:
 * nobody listens there; -EACCES: the socket may not be opened; -ETIMEDOUT; -EIO: anything else, client_error() says
 * what.
 */
int client_send(struct client *client, const struct request *request, struct response *response, client_event on_event,
	void *userdata);

/* Hands events to ON_EVENT, from the one after id AFTER on (NULL: from now), until it says no or the daemon ends. As
 * client_send(). */
int client_watch(
	struct client *client, const char *query, client_event on_event, void *userdata, struct response *response);

/* What went wrong, for a person. */
const char *client_error(const struct client *client);

/* TEXT for a path or a query. The caller frees it. */
char *client_escape(const char *text);
