/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A client of an HTTP server that runs in the same loop, byte by byte: what is sent is exactly what the test says. The
 * functions turn the loop while they wait, for at most 10 s, which is a failure and not a measure of time.
 */

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "util/text.h"

struct client {
	sd_event *event;
	sd_event_source *source;
	int fd;
	struct text in; /* what came and was not taken yet */
	bool closed;    /* the server ended the connection */
};

struct response {
	int status; /* 0: the connection ended without one */
	char *head; /* status line and headers */
	char *body;
	size_t length;
};

struct client *client_new(sd_event *event, const char *path);
/* Takes over a socket that is connected already. */
struct client *client_new_fd(sd_event *event, int fd);
struct client *client_free(struct client *client); /* accepts NULL, returns NULL */

void client_send(struct client *client, const char *bytes);
void client_send_bytes(struct client *client, const char *bytes, size_t length);

/* Reads one response; with HEAD one without its body. Where the server says no length, until the connection ends. */
struct response client_receive(struct client *client, bool head);
void response_done(struct response *response);
#define _cleanup_response_ _cleanup_(response_done)

/* A header's value, which the next call overwrites, or NULL. */
const char *response_header(const struct response *response, const char *name);

/* What came, the chunks of a body that has some put together. The caller frees it. */
char *client_joined(const struct client *client);

/* Turns the loop until that contains TEXT; false after 10 s or when the connection ended without it. */
bool client_wait_for(struct client *client, const char *text);
bool client_wait_closed(struct client *client);

/* Turns the loop until CONDITION(USERDATA) holds; false after 10 s. */
bool loop_until(sd_event *event, bool (*condition)(void *userdata), void *userdata);
/* Turns the loop as long as it has something to do at once. */
void loop_settle(sd_event *event);
