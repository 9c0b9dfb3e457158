/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which address an attempt talks to: that of a literal endpoint, or one of those that its name has, asked of the given
 * resolvers, remembered over attempts, and taken in turn. Only an address that has a route is given.
 */

#include <systemd/sd-event.h>

#include "tunnel/config.h"
#include "tunnel/protocol.h"

struct contact;

/*
 * Called once for each contact_begin(), from within it or from the loop. ENDPOINT is where to go; NULL: there is
 * nowhere, because of ERROR and DETAIL.
 */
typedef void (*contact_found)(
        void *userdata, const struct endpoint *endpoint, enum tunnel_error error, const char *detail);

/* CONFIG is borrowed. */
struct contact *contact_new(
        sd_event *event, const struct tunnel_config *config, uint32_t mark, contact_found found, void *userdata);
/* Looks for the address of the endpoint INDEX; what was looked for before is forgotten. Negative errno: nothing will be
 * told. */
int contact_begin(struct contact *contact, size_t index, const struct worker_resolvers *resolvers);
/* Nothing more is told. */
void contact_cancel(struct contact *contact);
/* A session came up with what was given last: the next attempt begins there. */
void contact_stood(struct contact *contact);
struct contact *contact_free(struct contact *contact); /* accepts NULL, returns NULL */
