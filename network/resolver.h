/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The host's resolver: set to the tunnel's while one carries, put back afterwards, also after a crash (what was there before is kept
 * in the state directory). systemd-resolved where it runs and the host's file leads to it, else resolvconf where it made that file,
 * else the file. Nothing here ever blocks for long: 2 s where a service or a program hangs.
 *
 * HOLDFAST_RESOLV_CONF in the environment names another file than /etc/resolv.conf; then that file alone is read and written.
 */

#include <stdbool.h>

#include "util/address.h"

/*
 * Points the host at SERVERS (at least one) by INTERFACE. Keeps what was there in STATE_DIR first. May be called again with others.
 * Negative errno; the host's resolver is then as before.
 */
int resolver_set(const char *state_dir, const char *interface, const struct ip_address *servers, size_t count);
/*
 * Puts back what resolver_set() found; what somebody else wrote since is left alone. 0 also where nothing was kept. Negative errno:
 * it is still kept, so call again.
 */
int resolver_restore(const char *state_dir);
/* 0; or why the host's file cannot be written, where nothing but that file would do. *ret_path is that file; borrowed. */
int resolver_writable(const char **ret_path);
/*
 * The uplink's own resolvers, never a loopback address nor one of a tunnel's: what somebody wrote since resolver_set(), else what
 * that replaced, else the present ones; where systemd-resolved is in use, its links', and where none is found, NetworkManager's. At most
 * MAX; returns how many.
 */
size_t resolver_uplink_servers(const char *state_dir, struct ip_address *ret, size_t max);
/* By what it is set: "resolved", "resolvconf" or "file"; NULL: it is not. */
const char *resolver_method(const char *state_dir);
/* False where somebody else changed the host's file since resolver_set(), so that it is to be set again. */
bool resolver_stands(const char *state_dir);
/* The host's file. */
const char *resolver_path(void);
