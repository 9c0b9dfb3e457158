/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A connection to the system bus for those who ask other services, never waited for. The bus comes late at boot, goes when it is
 * restarted, and comes back; no bus at all is normal. A bus that was missed is met at once when its socket appears (inotify), else
 * tried again after a pause that doubles from one second to thirty.
 */

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

enum system_bus_state {
	SYSTEM_BUS_ABSENT,     /* nobody listens there */
	SYSTEM_BUS_CONNECTING, /* somebody does, and has not said hello yet */
	SYSTEM_BUS_UP,
};

struct system_bus;

/* Told when the bus comes up (BUS: add matches, ask) and when it is gone, or was found absent (NULL: slots are void). */
typedef void (*system_bus_listener)(sd_bus *bus, void *userdata);

/* Construct; add listeners; then start. Nothing here fails but for memory: what goes wrong is tried again. Negative errno. */
int system_bus_new(struct system_bus **ret, sd_event *event);
struct system_bus *system_bus_free(struct system_bus *bus); /* accepts NULL, returns NULL; listeners are not told */
void system_bus_listen(struct system_bus *bus, system_bus_listener listener, void *userdata);
void system_bus_start(struct system_bus *bus);
enum system_bus_state system_bus_state(const struct system_bus *bus);
/* NULL: it is absent. While it is connecting, what is asked waits until it is up. Borrowed until the loop turns. */
sd_bus *system_bus_get(const struct system_bus *bus);
