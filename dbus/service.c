/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The connection to the bus, and the picture of the daemon's state that the bus was told.
 *
 * The bus comes late at boot, goes when it is restarted, and comes back. Nothing here waits for it: connecting, the
 * name and every question are asynchronous, and what goes wrong ends in another attempt after a pause that doubles from
 * one second to thirty. A socket that does not exist yet is watched (inotify, by sd-bus), so that a bus that comes late
 * is met at once.
 *
 * Events go out as they come. Properties are announced once per turn of the loop in which something may have changed, or
 * somebody was shown another state than was announced: the state then is compared with the state last announced, and the
 * difference, whatever caused it, becomes PropertiesChanged, InterfacesAdded and InterfacesRemoved. What was missed while there was no bus is not made up for: a client that finds the name again
 * reads the state anew.
 */

#include "dbus/service.h"

#include <errno.h>
#include <string.h>

#include "dbus/front.h"
#include "dbus/value.h"
#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"

#define BUS_ADDRESS         "unix:path=/run/dbus/system_bus_socket" /* $DBUS_SYSTEM_BUS_ADDRESS overrides it */
#define RETRY_MAX_SEC       30
#define RETRY_ACCURACY_USEC (100 * USEC_PER_MSEC)

/* Replies of RequestName, D-Bus Specification, "org.freedesktop.DBus.RequestName". */
enum { NAME_OWNER = 1, NAME_IN_QUEUE = 2 };

/* --- the state --- */

static void announce_later(struct dbus_service *service)
{
	(void)sd_event_source_set_enabled(service->flush, SD_EVENT_ONESHOT);
}

json_object *service_status(struct dbus_service *service)
{
	uint64_t turn = 0;
	(void)sd_event_get_iteration(service->event, &turn);
	if (!service->current || service->current_turn != turn) {
		json_object_put(service->current);
		service->current = json_object_get(manager_status_kept(service->manager));
		service->current_turn = turn;
		if (service->announced && service->current != service->announced)
			announce_later(service);
	}
	return service->current;
}

json_object *find_tunnel(json_object *status, const char *id)
{
	json_object *tunnels = value_at(status, "/tunnels");
	for (size_t i = 0; tunnels && i < json_object_array_length(tunnels); i++) {
		json_object *tunnel = json_object_array_get_idx(tunnels, i);
		if (strcmp(json_object_get_string(json_object_object_get(tunnel, "id")), id) == 0)
			return tunnel;
	}
	return NULL;
}

static void announce_changes(struct dbus_service *service, enum dbus_interface interface, const char *path,
	json_object *old, json_object *new)
{
	size_t count, changed = 0;
	const struct property *properties = properties_all(&count);
	_cleanup_free_ char **names = xcalloc(count + 1, sizeof *names);
	for (size_t i = 0; i < count; i++)
		if (properties[i].interface == interface &&
			(properties[i].flags & SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE) &&
			!json_object_equal(value_at(old, properties[i].pointer), value_at(new, properties[i].pointer)))
			names[changed++] = (char *)properties[i].name;
	if (changed > 0)
		(void)sd_bus_emit_properties_changed_strv(service->bus, path, interface_name(interface), names);
}

/*
 * Tunnels of A that are not in B. sd-bus looks an object up when it is told that the object goes, so those that go must
 * be announced while `current` still shows them.
 */
static void announce_objects(
	struct dbus_service *service, json_object *a, json_object *b, int (*emit)(sd_bus *, const char *))
{
	json_object *tunnels = value_at(a, "/tunnels");
	for (size_t i = 0; tunnels && i < json_object_array_length(tunnels); i++) {
		const char *id =
			json_object_get_string(json_object_object_get(json_object_array_get_idx(tunnels, i), "id"));
		char path[BUS_PATH_MAX];
		if (!find_tunnel(b, id))
			(void)emit(service->bus, tunnel_path(path, id));
	}
}

static void announce(struct dbus_service *service)
{
	_cleanup_json_ json_object *old = STEAL(service->announced);
	json_object *new = json_object_get(service_status(service));
	service->announced = new;
	if (old == new)
		return;

	service->current = old; /* for a moment; see announce_objects() */
	announce_objects(service, old, new, sd_bus_emit_object_removed);
	service->current = new;
	announce_objects(service, new, old, sd_bus_emit_object_added);

	announce_changes(service, DBUS_MANAGER, BUS_ROOT, old, new);
	announce_changes(service, DBUS_KILL_SWITCH, BUS_ROOT, old, new);
	announce_changes(service, DBUS_POLICY, BUS_ROOT, old, new);
	json_object *tunnels = value_at(new, "/tunnels");
	for (size_t i = 0; tunnels && i < json_object_array_length(tunnels); i++) {
		json_object *tunnel = json_object_array_get_idx(tunnels, i);
		const char *id = json_object_get_string(json_object_object_get(tunnel, "id"));
		json_object *before = find_tunnel(old, id);
		char path[BUS_PATH_MAX];
		if (before)
			announce_changes(service, DBUS_TUNNEL, tunnel_path(path, id), before, tunnel);
	}
}

static int flush(sd_event_source *source, void *userdata)
{
	struct dbus_service *service = userdata;
	if (service->named)
		announce(service);
	return 0;
}

static void event_happened(json_object *event, uint64_t id, void *userdata)
{
	struct dbus_service *service = userdata;
	if (!service->named)
		return;
	interfaces_emit(service, event);
	announce_later(service);
}

static void status_changed(void *userdata)
{
	announce_later(userdata);
}

/* --- the connection --- */

static int connect_bus(struct dbus_service *service);

static void retry_later(struct dbus_service *service)
{
	uint64_t seconds = service->failures < 5 ? UINT64_C(1) << service->failures : RETRY_MAX_SEC;
	service->failures++;
	(void)sd_event_source_set_time_relative(service->retry, seconds * USEC_PER_SEC);
	(void)sd_event_source_set_enabled(service->retry, SD_EVENT_ONESHOT);
}

static void disconnect(struct dbus_service *service)
{
	calls_cancel(service);
	service->named = false;
	if (service->bus)
		sd_bus_close(service->bus);
	service->bus = sd_bus_unref(service->bus);
}

/* Called out of the bus's own dispatch: the connection is taken down by the timer, not under sd-bus's feet. */
static void lose(struct dbus_service *service, const char *why)
{
	if (!service->waiting_logged)
		log_notice("D-Bus: %s; trying again from time to time, nothing else depends on it", why);
	service->waiting_logged = true;
	service->named = false;
	retry_later(service);
}

static int retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct dbus_service *service = userdata;
	disconnect(service);
	int r = connect_bus(service);
	if (r < 0) {
		disconnect(service);
		lose(service, strerror(-r));
	}
	return 0;
}

static int disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	lose(userdata, "the connection is gone");
	return 0;
}

static void settled(struct dbus_service *service)
{
	service->failures = 0;
	service->waiting_logged = false;
}

static int name_answered(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct dbus_service *service = userdata;
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	uint32_t answer = 0;
	if (error) {
		_cleanup_free_ char *why = text_format("the name " BUS_NAME " was refused: %s", error->message);
		lose(service, why);
		return 0;
	}
	(void)sd_bus_message_read(reply, "u", &answer);
	if (answer == NAME_IN_QUEUE)
		log_warning("D-Bus: another process has the name " BUS_NAME "; this one is next, end that one");
	settled(service);
	return 0;
}

/* At once, or once whoever had the name let it go. */
static int name_acquired(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	const char *name;
	if (sd_bus_message_read(message, "s", &name) >= 0 && strcmp(name, BUS_NAME) == 0)
		log_info("D-Bus: answering as " BUS_NAME);
	return 0;
}

/* The bus has said hello: from now on what is sent arrives somewhere. */
static int connected(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct dbus_service *service = userdata;
	service->named = true;
	json_object_put(service->announced);
	service->announced = json_object_get(service_status(service));
	return 0;
}

/* Both signals are sd-bus's own, made on this side: the bus is not asked for them. */
static int watch_connection(struct dbus_service *service)
{
	static const char path[] = "/org/freedesktop/DBus/Local", local[] = "org.freedesktop.DBus.Local";
	int r = sd_bus_match_signal_async(
		service->bus, NULL, local, path, local, "Connected", connected, NULL, service);
	if (r < 0)
		return r;
	return sd_bus_match_signal_async(
		service->bus, NULL, local, path, local, "Disconnected", disconnected, NULL, service);
}

static int connect_bus(struct dbus_service *service)
{
	const char *address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
	int r = sd_bus_new(&service->bus);
	if (r < 0)
		return r;
	sd_bus *bus = service->bus;
	if ((r = sd_bus_set_address(bus, address ? address : BUS_ADDRESS)) < 0 ||
		(r = sd_bus_set_bus_client(bus, true)) < 0 || (r = sd_bus_set_watch_bind(bus, true)) < 0 ||
		(r = sd_bus_set_connected_signal(bus, true)) < 0 || (r = sd_bus_set_description(bus, "holdfast")) < 0 ||
		(r = sd_bus_set_exit_on_disconnect(bus, false)) < 0 || (r = watch_connection(service)) < 0 ||
		(r = interfaces_add(service)) < 0 || (r = sd_bus_start(bus)) < 0 ||
		(r = sd_bus_attach_event(bus, service->event, FRONTS_PRIORITY)) < 0 ||
		(r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus", NULL, "org.freedesktop.DBus",
			 "NameAcquired", name_acquired, NULL, service)) < 0)
		return r;
	return sd_bus_request_name_async(bus, NULL, BUS_NAME, SD_BUS_NAME_QUEUE, name_answered, service);
}

int dbus_service_new(struct dbus_service **ret, sd_event *event, struct manager *manager)
{
	struct dbus_service *service = xcalloc(1, sizeof *service);
	*service = (struct dbus_service){.event = sd_event_ref(event), .manager = manager};
	interfaces_build(service);
	int r = sd_event_add_defer(event, &service->flush, flush, service);
	if (r >= 0)
		r = sd_event_source_set_enabled(service->flush, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time_relative(
			event, &service->retry, CLOCK_MONOTONIC, 0, RETRY_ACCURACY_USEC, retry, service);
	if (r < 0) {
		dbus_service_free(service);
		return r;
	}
	service->subscription = manager_subscribe(manager, event_happened, service);
	manager_watch_status(manager, status_changed, service);
	*ret = service;
	return 0;
}

struct dbus_service *dbus_service_free(struct dbus_service *service)
{
	if (!service)
		return NULL;
	manager_unsubscribe(service->subscription);
	manager_watch_status(service->manager, NULL, NULL);
	disconnect(service);
	sd_event_source_disable_unref(service->retry);
	sd_event_source_disable_unref(service->flush);
	interfaces_done(service);
	json_object_put(service->announced);
	json_object_put(service->current);
	sd_event_unref(service->event);
	free(service);
	return NULL;
}
