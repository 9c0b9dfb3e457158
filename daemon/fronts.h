/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The fronts of a daemon: HTTP on its Unix socket and on what holdfast.json names, and D-Bus. */

#include <systemd/sd-event.h>

#include "daemon/manager.h"

struct fronts;

/* MANAGER has been started. A TCP address that cannot be served is logged and left out; the Unix socket must be there. Negative errno. */
int fronts_open(struct fronts **ret, sd_event *event, struct manager *manager);
/* After a reload of the documents: listeners as they are asked for now, certificates as they stand in their files now. */
void fronts_reload(struct fronts *fronts);
struct fronts *fronts_close(struct fronts *fronts); /* accepts NULL, returns NULL */

/* Whether the files that CONFIGURATION names can be used; logs what is wrong. */
bool fronts_check(const struct configuration *configuration);
