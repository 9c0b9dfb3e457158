/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * captivePortalCheck: NetworkManager's own connectivity check leaves by the uplink although the gate is closed, so that a sign-in page is
 * found. Sockets born in NetworkManager's cgroup have a mark, and the gate lets by what of them is the check, see firewall/check.c. There
 * is nothing to be opened while NetworkManager is not there or does not say where its check goes.
 *
 * The gate is first when it opens and first when it closes; the cgroup is marked after it. With the daemon killed both stay; the next one
 * takes the mark off as it does with all that it has no record of, and puts it back when NetworkManager has told it where the check goes.
 */

#include <json-c/json.h>
#include <stdbool.h>

#include "daemon/grants-private.h"
#include "firewall/gate.h"
#include "network/check-uri.h"
#include "tunnel/protocol.h"

struct check {
	struct check_target target;	   /* of the last plan; port 0: none */
	struct worker_resolvers resolvers; /* of the last plan: the uplink's, where the target has a name */
	struct grant grant;		   /* NetworkManager's cgroup, and what is shown of it; no member of the list of grants */
};

void check_init(struct manager *manager);
void check_free(struct manager *manager);
/* What the next plan lets by. It borrows from MANAGER until the one after it. */
struct gate_check check_plan(struct manager *manager);
/* The settings were replaced, the gate was applied, cgroups or grants came or went: the cgroup is marked, or not any more. */
void check_attach(struct manager *manager);
/* NetworkManager says something new. */
void check_surroundings(struct manager *manager);
/* A new connection of the check would be let by. */
bool check_in_effect(const struct manager *manager);
/* Adds a problem where SETTINGS turn it on and this kernel cannot tell the check from other traffic. */
void check_settings(const struct manager *manager, const struct kill_switch *settings, struct problems *problems);
/* For the status and ListBypass; NULL: the settings do not ask for it. The caller owns it. */
json_object *check_to_json(const struct manager *manager);
