/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A server over the pretended operations on a Unix socket of its own, in the test's loop. */

#include "api/server.h"
#include "tests/unit/api-fake.h"
#include "tests/unit/http-client.h"

#define CONTROL_GID 4321

struct rig {
	sd_event *event;
	struct manager *manager;
	struct api_server *server;
	char folder[32], path[64];
	unsigned port; /* 0: a Unix socket */
};

struct rig *rig_new(const struct api_options *options); /* NULL: the defaults */
/* The same on a port of loopback, without TLS, as the document API (holdfast.json) says. */
struct rig *rig_new_tcp(const char *api, const struct api_options *options);
struct rig *rig_free(struct rig *rig);
struct client *rig_client(struct rig *rig);
/* One connected as UID and GID, with one supplementary group. */
struct client *rig_client_as(struct rig *rig, uid_t uid, gid_t gid, gid_t supplementary);

/* One request on a connection of its own: METHOD and TARGET, headers ("" or lines that end in \r\n), a body or NULL. */
struct response rig_ask(struct rig *rig, const char *method, const char *target, const char *headers, const char *body);
/* The same on a connection that stays. */
struct response client_ask(
	struct client *client, const char *method, const char *target, const char *headers, const char *body);

/* The text of a member of a JSON body, "" where there is none. A dotted path of members and indexes:
 * "errors.0.pointer". */
const char *response_member(const struct response *response, const char *path);
