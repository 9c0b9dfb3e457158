/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A network and a mount namespace of the test's own. Tests that change links, routes, cgroups or the resolver begin with
 * sandbox_enter(); without it every other function here ends the program. What cannot be had ends the program as well: such a test
 * never runs on the host.
 */

#include <stdbool.h>

#include "util/macro.h"

/* Leaves the host: new namespaces, nothing mounted propagates, /run and /tmp are empty, loopback is up. Once, first in main(). */
void sandbox_enter(void);
/* Another, empty network namespace, for one test; the former one goes with its last user. */
void sandbox_renew(void);

/* Runs a shell command, which must succeed. */
void sandbox_run(const char *format, ...) _printf_(1, 2);
/* What a shell command prints. The caller frees it. */
char *sandbox_read(const char *format, ...) _printf_(1, 2);
/* All rules, routes, links and addresses as text, to compare a before with an after. The caller frees it. */
char *sandbox_dump(void);

/*
 * An uplink eth0 (10.1.0.2/24, fd01::2/64) with default routes to a router in a namespace of its own (10.1.0.1, fd01::1), and a
 * capture of what arrives there.
 */
struct sandbox_uplink {
	int namespace_fd; /* the router's */
	int capture_fd;
};
void sandbox_uplink_make(struct sandbox_uplink *ret);
void sandbox_uplink_done(struct sandbox_uplink *uplink);

/*
 * Reads the capture until a packet with the UDP payload UNTIL has come, and returns how many came before it that had PAYLOAD in
 * them, or went to TCP port 7777 while PAYLOAD is NULL. Packets of one uplink keep their order, so nothing sent before UNTIL is
 * missed. -1: UNTIL has not come within 5 s.
 */
int sandbox_uplink_count(struct sandbox_uplink *uplink, const char *payload, const char *until);

/*
 * Runs BODY in a child, in a cgroup and a cgroup namespace of its own with cgroup v2 mounted at /run/cgroup and nowhere else, and
 * removes the cgroup afterwards. Returns what BODY returned.
 */
int sandbox_cgroup_run(int (*body)(void *userdata), void *userdata);
