/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The least that a driver is, as CONTRIBUTING.md shows it: a client that is up at once and asks for a password. */

#include "example-driver.h"

#include <string.h>

#include "util/text.h"

struct driver_session {
	struct driver_host host;
	struct endpoint endpoint;
	bool knows;
};

static int example_open(const struct driver_host *host, const struct worker_start *start, struct driver_session **ret)
{
	struct driver_session *session = xcalloc(1, sizeof *session);
	session->host = *host;
	endpoint_parse("192.0.2.1:443/tcp", &session->endpoint); /* yours comes from start->tunnel */
	*ret = session;
	return 0;
}

static int example_start(struct driver_session *session, size_t endpoint, const struct worker_resolvers *resolvers)
{
	if (session->knows)
		session->host.contacting(session->host.worker, &session->endpoint);
	else
		session->host.need_credentials(session->host.worker, "password", NULL);
	return 0;
}

static int example_credentials(struct driver_session *session, json_object *answer)
{
	session->knows = json_object_object_get_ex(answer, "password", NULL);
	return example_start(session, 0, NULL);
}

static int example_proceed(struct driver_session *session)
{
	const struct tunnel_network network = {.endpoint = session->endpoint, .mtu = 1400};
	session->host.up(session->host.worker, &network);
	return 0;
}

static void example_stop(struct driver_session *session)
{
	session->host.stopped(session->host.worker);
}

static void example_close(struct driver_session *session)
{
	free(session);
}

static void example_check(
        json_object *settings, json_object *endpoints, struct tunnel_config *config, struct problems *problems)
{
	if (json_object_object_length(settings) > 0)
		problems_error(problems, "/settings", NULL, "has members that the driver example does not know");
}

const struct driver driver_example = {
        .name = "example",
        .needs_tun = true,
        .programs = (const char *const[]){NULL},
        .check = example_check,
        .secrets = (const char *const[]){"password", NULL},
        .open = example_open,
        .start = example_start,
        .credentials = example_credentials,
        .proceed = example_proceed,
        .stop = example_stop,
        .close = example_close,
};
