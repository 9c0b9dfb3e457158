/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * sd-bus can wait for a socket that is not there yet, but does not tell that from one that does not answer. So each connection is tried
 * plainly first, which fails at once where nobody listens, and only then with the wait.
 */

#include "network/system-bus.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"
#include "util/macro.h"
#include "util/text.h"

#define ADDRESS         "unix:path=/run/dbus/system_bus_socket" /* $DBUS_SYSTEM_BUS_ADDRESS overrides it */
#define LISTENERS_MAX   4
#define RETRY_MAX_SEC   30
#define RETRY_ACCURACY  (100 * USEC_PER_MSEC)

struct system_bus {
	sd_event *event;
	sd_event_source *retry;
	sd_bus *bus;
	enum system_bus_state state;
	unsigned failures;
	struct {
		system_bus_listener told;
		void *userdata;
	} listeners[LISTENERS_MAX];
	size_t listener_count;
};

static void tell(struct system_bus *self, sd_bus *bus)
{
	for (size_t i = 0; i < self->listener_count; i++)
		self->listeners[i].told(bus, self->listeners[i].userdata);
}

static void retry_later(struct system_bus *self)
{
	uint64_t seconds = self->failures < 5 ? UINT64_C(1) << self->failures : RETRY_MAX_SEC;
	self->failures++;
	(void)sd_event_source_set_time_relative(self->retry, seconds * USEC_PER_SEC);
	(void)sd_event_source_set_enabled(self->retry, SD_EVENT_ONESHOT);
}

static void drop(struct system_bus *self)
{
	if (self->bus)
		sd_bus_close(self->bus);
	self->bus = sd_bus_unref(self->bus);
}

/* Out of the bus's own dispatch: it is taken down by the timer, not under sd-bus's feet. */
static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct system_bus *self = userdata;
	self->state = SYSTEM_BUS_ABSENT;
	tell(self, NULL);
	retry_later(self);
	return 0;
}

static int on_connected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct system_bus *self = userdata;
	self->failures = 0;
	self->state = SYSTEM_BUS_UP;
	tell(self, self->bus);
	return 0;
}

/* Both signals are sd-bus's own, made on this side. */
static int watch_connection(struct system_bus *self)
{
	static const char path[] = "/org/freedesktop/DBus/Local", local[] = "org.freedesktop.DBus.Local";
	int r = sd_bus_match_signal_async(self->bus, NULL, local, path, local, "Connected", on_connected, NULL, self);
	return r < 0 ? r : sd_bus_match_signal_async(self->bus, NULL, local, path, local, "Disconnected", on_disconnected, NULL, self);
}

static int connect_bus(struct system_bus *self, bool wait)
{
	const char *address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
	int r = sd_bus_new(&self->bus);
	if (r < 0)
		return r;
	sd_bus *bus = self->bus;
	if ((r = sd_bus_set_address(bus, address ? address : ADDRESS)) < 0 || (r = sd_bus_set_bus_client(bus, true)) < 0 ||
		(r = sd_bus_set_watch_bind(bus, wait)) < 0 || (r = sd_bus_set_connected_signal(bus, true)) < 0 ||
		(r = sd_bus_set_description(bus, "surroundings")) < 0 || (r = sd_bus_set_exit_on_disconnect(bus, false)) < 0 ||
		(r = watch_connection(self)) < 0 || (r = sd_bus_start(bus)) < 0 ||
		(r = sd_bus_attach_event(bus, self->event, SD_EVENT_PRIORITY_NORMAL)) < 0)
		drop(self);
	return r;
}

void system_bus_start(struct system_bus *self)
{
	drop(self);
	if (connect_bus(self, false) >= 0) {
		self->state = SYSTEM_BUS_CONNECTING;
		return;
	}
	self->state = SYSTEM_BUS_ABSENT;
	tell(self, NULL);
	int r = connect_bus(self, true);
	if (r >= 0)
		return;
	log_debug("the system bus: %s", strerror(-r));
	retry_later(self);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	system_bus_start(userdata);
	return 0;
}

int system_bus_new(struct system_bus **ret, sd_event *event)
{
	struct system_bus *self = xcalloc(1, sizeof *self);
	self->event = sd_event_ref(event);
	int r = sd_event_add_time_relative(event, &self->retry, CLOCK_MONOTONIC, 0, RETRY_ACCURACY, on_retry, self);
	if (r >= 0)
		r = sd_event_source_set_enabled(self->retry, SD_EVENT_OFF);
	if (r < 0) {
		system_bus_free(self);
		return r;
	}
	*ret = self;
	return 0;
}

struct system_bus *system_bus_free(struct system_bus *self)
{
	if (!self)
		return NULL;
	drop(self);
	sd_event_source_disable_unref(self->retry);
	sd_event_unref(self->event);
	free(self);
	return NULL;
}

void system_bus_listen(struct system_bus *self, system_bus_listener listener, void *userdata)
{
	if (self->listener_count == LISTENERS_MAX)
		abort(); /* our own mistake */
	self->listeners[self->listener_count].told = listener;
	self->listeners[self->listener_count++].userdata = userdata;
}

enum system_bus_state system_bus_state(const struct system_bus *self)
{
	return self->state;
}

sd_bus *system_bus_get(const struct system_bus *self)
{
	return self->state == SYSTEM_BUS_ABSENT ? NULL : self->bus;
}
