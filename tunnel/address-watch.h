/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whether the host's addresses changed: a client that goes on sending from one that is gone is to be told. The kernel tells, without a privilege. */

#include <systemd/sd-event.h>

struct address_watch;

/* Called from the loop, once for any number of changes that came together. */
typedef void (*addresses_changed)(void *userdata);

/* Negative errno. */
int address_watch_new(struct address_watch **ret, sd_event *event, addresses_changed changed, void *userdata);
struct address_watch *address_watch_free(struct address_watch *watch); /* accepts NULL, returns NULL */
