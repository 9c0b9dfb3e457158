/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Whether the tunnel's link still is the one that a session was begun with: some clients do not notice, or spin, when it
 * is deleted, and none notices when it goes down. The kernel tells, without a privilege.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "tunnel/protocol.h"

struct link_watch;

/* SENTENCE says what became of the link. Called once, from the loop, before anything else that waits there. */
typedef void (*link_lost)(void *userdata, const char *sentence);

/* INTERFACE must stand and be up: else -ENODEV or -ENETDOWN. Negative errno. */
int link_watch_new(struct link_watch **ret, sd_event *event, const char *interface, link_lost lost, void *userdata);
/* Asks now. If it is lost, SENTENCE says how. */
bool link_watch_stands(const struct link_watch *watch, char sentence[WORKER_DETAIL_MAX]);
struct link_watch *link_watch_free(struct link_watch *watch); /* accepts NULL, returns NULL */
