/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which names may enter rule text, cgroup paths and resolver settings. Each check is by allow-list: what it lets by
 * needs no quoting anywhere.
 */

#include <stdbool.h>

/* [A-Za-z0-9_.-]{1,15}, neither "." nor "..": what dev_valid_name() of the kernel takes, less what would need quoting.
 */
bool interface_name_valid(const char *name);
/* An interface that may be named as an uplink or a LAN's: valid, and neither loopback nor one of Holdfast's own (hf0,
 * hf-…). */
bool interface_name_foreign(const char *name);
/* A tunnel's id: [a-z][a-z0-9_]{0,11}. */
bool tunnel_name_valid(const char *name);
/* RFC 1123 host names with "_" allowed, at most 253 bytes, no trailing dot, no wildcard, the last label not all digits.
 */
bool domain_name_valid(const char *name);
/* systemd.unit(5): a service or a scope; a slice that is not the root slice. */
bool unit_name_valid(const char *name);
bool slice_name_valid(const char *name);
/* A login name as useradd(8) makes them, or a numeric user id. */
bool user_name_valid(const char *name);
