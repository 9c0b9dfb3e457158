/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What this host has and allows, asked when somebody wants to know. Negative errno: it could not be asked. */

#include <stdbool.h>

/* Ports below it are root's; 0: none is. */
int host_unprivileged_port_start(void);
bool host_has_ipv6(void); /* in the kernel, and not turned off for all links */
/* Whether a tun could be made: 0, or why not. */
int host_tun(void);
bool host_has_bpffs(void); /* at /sys/fs/bpf */
bool host_has_clock(void); /* one that goes on while the machine is off */

/* Tells each setting that is held at another value than the host's own, by the STORE of routing_keep_settings(). PRESENT may be an errno. */
typedef void (*host_setting_told)(const char *path, int former, int held, int present, void *userdata);
void host_settings_held(const char *store, host_setting_told told, void *userdata);
