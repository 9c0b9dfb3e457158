/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * holdfast.json: how the daemon may be reached beside its Unix socket. Plain data, so that the fronts may read it, too. The document
 * stands in the configuration directory alone; holdfast.json(5) describes it.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/operations.h"
#include "util/address.h"
#include "util/problem.h"

#define CONFIGURATION_LISTENERS_MAX 8
#define CONFIGURATION_CLIENTS_MAX 64
#define CONFIGURATION_HOSTS_MAX 32

/* A TCP address that is listened on. */
struct listener_settings {
	struct endpoint address; /* tcp */
	char text[ENDPOINT_TEXT_MAX]; /* as written */
	bool tls;
};

struct tls_files {
	char *certificate, *key; /* PEM, absolute paths */
	char *client_ca;	 /* whoever has a certificate of it is a client; NULL: tokens alone */
};

/* Whom a verified client certificate is for: by its whole subject, or by one of its alternative names. */
struct client_settings {
	char *subject; /* RFC 4514, most specific part first: "CN=fleet,O=Example"; NULL: by name */
	char *san;     /* "DNS:fleet.example", "email:ops@example.org", "URI:spiffe://example.org/fleet" */
	enum scope scope;
};

/* A member that is 0 has the API's default. */
struct limit_settings {
	uint64_t connections, streams, calls;
	uint64_t request_usec, idle_usec;
};

struct configuration {
	struct listener_settings listeners[CONFIGURATION_LISTENERS_MAX];
	size_t listener_count;
	bool has_tls;
	struct tls_files tls;
	struct client_settings clients[CONFIGURATION_CLIENTS_MAX];
	size_t client_count;
	char *hosts[CONFIGURATION_HOSTS_MAX]; /* names that a request may be addressed to, beside addresses and localhost */
	size_t host_count;
	struct limit_settings limits;
	json_object *document; /* as read; NULL: there was none */
	unsigned references;
};

struct configuration *configuration_default(void); /* no TCP at all */
struct configuration *configuration_ref(struct configuration *configuration);
struct configuration *configuration_unref(struct configuration *configuration); /* accepts NULL, returns NULL */
DEFINE_CLEANUP(struct configuration *, configuration_unref)

/* 0 and *ret, or -EINVAL with PROBLEMS. Names of files are not followed here. DOCUMENT stays the caller's. */
int configuration_parse(json_object *document, struct configuration **ret, struct problems *problems);

/* Whether A and B ask for the same; where only the contents of the files differ they do. */
bool configuration_equal(const struct configuration *a, const struct configuration *b);
