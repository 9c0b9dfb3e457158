/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What of a tunnel's life outlives the daemon, as JSON and back. No file and no clock: store.c has those. What is not of the lifecycle
 * (the worker, the network it reported) store.c adds.
 */

#include <json-c/json.h>

#include "daemon/lifecycle.h"

/* POLICY is the running one, of whose rules the history has counts. The caller owns the object. NOW: CLOCK_BOOTTIME. */
json_object *saved_from_tunnel(const struct lifecycle_tunnel *tunnel, const struct policy *policy, uint64_t now_usec);

/*
 * Takes OBJECT over into TUNNEL, which is at rest; its `id` and documents' members stay. In another boot than the saved one only what
 * was asked for, what has ended and what is being asked is left. POLICY is the running one: counts of another one's rules are left out.
 * *ret_policy: a new reference to what is left of the policy that the pending decision is of, to be kept as long as that is pending, or NULL.
 */
void saved_to_tunnel(json_object *object, bool same_boot, uint64_t now_usec, const struct policy *policy, struct lifecycle_tunnel *tunnel,
	struct policy **ret_policy);

/* Members of a saved object: "" for what is no string; 0 for what is no positive number. */
const char *saved_text(json_object *object, const char *key);
bool saved_flag(json_object *object, const char *key);
uint64_t saved_number(json_object *object, const char *key);
