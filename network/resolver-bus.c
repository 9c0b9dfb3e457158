/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/resolver-bus.h"

#include <errno.h>
#include <time.h>

/* Until the bus has said hello. A call would wait for that as well, but for as long as the bus likes. */
static int wait_until_ready(sd_bus *bus)
{
	uint64_t end = clock_usec(CLOCK_MONOTONIC) + RESOLVER_BUS_USEC, now;
	int r = 0;
	while (r >= 0 && sd_bus_is_ready(bus) == 0) {
		r = sd_bus_process(bus, NULL);
		now = clock_usec(CLOCK_MONOTONIC);
		if (now >= end)
			return -ETIMEDOUT;
		if (r == 0)
			r = sd_bus_wait(bus, end - now);
	}
	return r < 0 ? r : 0;
}

int resolver_bus_open(sd_bus **ret)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	int r = sd_bus_open_system(&bus);
	if (r >= 0)
		r = wait_until_ready(bus);
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(bus, RESOLVER_BUS_USEC);
	if (r < 0)
		return r;
	*ret = STEAL(bus);
	return 0;
}

bool resolver_bus_has_owner(sd_bus *bus, const char *service)
{
	_cleanup_reply_ sd_bus_message *reply = NULL;
	int owned = 0;
	return sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner", NULL,
		       &reply, "s", service) >= 0 &&
	       sd_bus_message_read(reply, "b", &owned) >= 0 && owned;
}
