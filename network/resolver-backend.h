/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The three ways to the host's resolver, and who else knows the uplink's; for the files of this folder only. Each is bounded in time. */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "util/address.h"

/* ---- systemd-resolved, over the system bus ---- */

/* Whether the service is on the bus. */
bool resolved_is_running(void);
/* Sends every name to SERVERS by the link. On an error nothing is left of it. Negative errno. */
int resolved_set(const char *interface, const struct ip_address *servers, size_t count);
/* 0 also where the link, or the service, is gone: its settings went with it. */
int resolved_revert(const char *interface);
/* The servers of all links but ours, at most MAX; how many. */
size_t resolved_uplink_servers(struct ip_address *ret, size_t max);

/* ---- NetworkManager, over the system bus ---- */

#define RESOLVER_ENTRY_MAX 8 /* servers of a link */

/* The servers of all links but VPNs' and ours, at most MAX; how many. */
size_t networkmanager_uplink_servers(struct ip_address *ret, size_t max);

/* ---- resolvconf ---- */

/* Whether the program is there. */
bool resolvconf_exists(void);
/* Negative errno; -EIO: the program ended with an error; -ETIMEDOUT. */
int resolvconf_add(const char *interface, const char *text);
int resolvconf_delete(const char *interface);

/* ---- the file ---- */

enum resolver_file_kind { RESOLVER_FILE_ABSENT, RESOLVER_FILE_REGULAR, RESOLVER_FILE_LINK };

/* What stands at a path: a file's text, mode and owner, or a symbolic link's target (and the text that it leads to, "" where nowhere). */
struct resolver_file {
	enum resolver_file_kind kind;
	char *text;
	char *target;
	unsigned mode;
	uid_t uid;
	gid_t gid;
};

void resolver_file_done(struct resolver_file *file);
/* Negative errno; a path that is absent is no error. */
int resolver_file_read(const char *path, struct resolver_file *ret);
/* Puts FILE there, whole; over a mount point, in place. Negative errno. */
int resolver_file_write(const char *path, const struct resolver_file *file);
/* The `nameserver` lines of TEXT (resolv.conf(5)) that are no loopback addresses, at most MAX; how many. */
size_t resolver_file_servers(const char *text, struct ip_address *ret, size_t max);
/* The text that points at SERVERS. The caller frees it. */
char *resolver_file_text(const char *interface, const struct ip_address *servers, size_t count);
