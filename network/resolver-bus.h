/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The system bus for who asks one question and goes; for the files of this folder only. Neither opening it nor a call takes long. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "util/macro.h"
#include "util/timestamp.h"

#define RESOLVER_BUS_USEC (USEC_PER_SEC / 2)

static inline void resolver_bus_closep(sd_bus **bus)
{
	sd_bus_close_unref(*bus);
}
#define _cleanup_bus_ _cleanup_(resolver_bus_closep)

static inline void resolver_reply_unrefp(sd_bus_message **message)
{
	sd_bus_message_unref(*message);
}
#define _cleanup_reply_ _cleanup_(resolver_reply_unrefp)

/* A connection that has said hello. Negative errno. */
int resolver_bus_open(sd_bus **ret);
/* Whether SERVICE is there; it is not started for the question. */
bool resolver_bus_has_owner(sd_bus *bus, const char *service);
