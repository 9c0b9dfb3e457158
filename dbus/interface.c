/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What stands on the bus. Methods grow from the table of operations, properties and signals from the two tables below; vtables are
 * built from them once, at start, with the names of all arguments for introspection.
 *
 *   /org/holdfast/Holdfast1                Manager, KillSwitch, Policy; ObjectManager
 *   /org/holdfast/Holdfast1/tunnel/ID      Tunnel
 */

#include <errno.h>
#include <string.h>

#include "dbus/front.h"
#include "dbus/value.h"
#include "util/fields.h"
#include "util/text.h"

#define CONST	SD_BUS_VTABLE_PROPERTY_CONST
#define EMITS	SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
#define COUNTER 0 /* changes with every packet or look: read it when you want to know */

static const struct property properties[] = {
	{DBUS_MANAGER, "Version", "s", "/version", CONST},
	{DBUS_MANAGER, "BootId", "s", "/bootId", CONST},
	{DBUS_MANAGER, "Since", "s", "/since", CONST},
	{DBUS_MANAGER, "Protection", "s", "/protection", EMITS},
	{DBUS_MANAGER, "NetworkAvailable", "b", "/network/available", EMITS},
	{DBUS_MANAGER, "Uplinks", "as", "/network/uplinks", EMITS},
	{DBUS_MANAGER, "Network", "a{sv}", "/network", EMITS},
	{DBUS_MANAGER, "DocumentErrors", "s", "/documentErrors", EMITS},
	{DBUS_MANAGER, "JournalFailure", "s", "/journal", EMITS},

	{DBUS_KILL_SWITCH, "Mode", "s", "/gate/mode", EMITS},
	{DBUS_KILL_SWITCH, "Desired", "s", "/gate/desired", EMITS},
	{DBUS_KILL_SWITCH, "Kernel", "s", "/gate/kernel", EMITS},
	{DBUS_KILL_SWITCH, "Persisted", "b", "/gate/persisted", EMITS},
	{DBUS_KILL_SWITCH, "ReleasedUntil", "s", "/gate/releasedUntil", EMITS},
	{DBUS_KILL_SWITCH, "ConfirmBy", "s", "/gate/confirmBy", EMITS},
	{DBUS_KILL_SWITCH, "WayOutTaken", "b", "/gate/wayOutTaken", EMITS},
	{DBUS_KILL_SWITCH, "BlockFailure", "s", "/gate/blockFailure", EMITS},
	{DBUS_KILL_SWITCH, "HeldFor", "s", "/gate/heldFor", EMITS},
	{DBUS_KILL_SWITCH, "Healed", "t", "/gate/healed", EMITS},
	{DBUS_KILL_SWITCH, "Bypass", "aa{sv}", "/bypass", EMITS},
	{DBUS_KILL_SWITCH, "VerifiedAt", "s", "/gate/verifiedAt", COUNTER},
	{DBUS_KILL_SWITCH, "BlockedOut", "t", "/gate/blocked/out", COUNTER},
	{DBUS_KILL_SWITCH, "BlockedIn", "t", "/gate/blocked/in", COUNTER},
	{DBUS_KILL_SWITCH, "BlockedForward", "t", "/gate/blocked/forward", COUNTER},

	{DBUS_POLICY, "Name", "s", "/policy/name", EMITS},
	{DBUS_POLICY, "Etag", "s", "/policy/etag", EMITS},
	{DBUS_POLICY, "Source", "s", "/policy/source", EMITS},

	{DBUS_TUNNEL, "Id", "s", "/id", CONST},
	{DBUS_TUNNEL, "Driver", "s", "/driver", EMITS},
	{DBUS_TUNNEL, "Wanted", "b", "/wanted", EMITS},
	{DBUS_TUNNEL, "State", "s", "/state", EMITS},
	{DBUS_TUNNEL, "Reason", "s", "/reason", EMITS},
	{DBUS_TUNNEL, "Since", "s", "/since", EMITS},
	{DBUS_TUNNEL, "Interface", "s", "/interface", EMITS},
	{DBUS_TUNNEL, "Implementation", "s", "/implementation", EMITS},
	{DBUS_TUNNEL, "Endpoint", "s", "/endpoint", EMITS},
	{DBUS_TUNNEL, "Attempt", "t", "/attempt", EMITS},
	{DBUS_TUNNEL, "LastError", "s", "/lastError", EMITS},
	{DBUS_TUNNEL, "LastDetail", "s", "/lastDetail", EMITS},
	{DBUS_TUNNEL, "Health", "s", "/health", EMITS},
	{DBUS_TUNNEL, "Released", "b", "/released", EMITS},
	{DBUS_TUNNEL, "WorkerPid", "t", "/workerPid", EMITS},
	{DBUS_TUNNEL, "NeedCredentials", "as", "/needCredentials", EMITS},
	{DBUS_TUNNEL, "Challenge", "a{sv}", "/challenge", EMITS},
	{DBUS_TUNNEL, "PendingDecision", "a{sv}", "/pendingDecision", EMITS},
	{DBUS_TUNNEL, "RxBytes", "t", "/rxBytes", COUNTER},
	{DBUS_TUNNEL, "TxBytes", "t", "/txBytes", COUNTER},
	{DBUS_TUNNEL, "LastHandshake", "s", "/lastHandshake", COUNTER},
};

static const struct signal signals[] = {
	{DBUS_MANAGER, "Event", NULL, {{"id", "t", "/id"}, {"kind", "s", "/kind"}, {"tunnel", "s", "/tunnel"}, {"details", "a{sv}", NULL}}},
	{DBUS_POLICY, "DecisionPending", "decisionPending",
		{{"decision", "t", "/decision"}, {"tunnel", "s", "/tunnel"}, {"error", "s", "/error"}, {"deadline", "s", "/deadline"}}},
	{DBUS_TUNNEL, "StateChanged", "stateChanged", {{"new", "s", "/new"}, {"old", "s", "/old"}, {"reason", "s", "/reason"}}},
};

static const char *const interface_names[] = {
	[DBUS_MANAGER] = BUS_NAME ".Manager",
	[DBUS_KILL_SWITCH] = BUS_NAME ".KillSwitch",
	[DBUS_POLICY] = BUS_NAME ".Policy",
	[DBUS_TUNNEL] = BUS_NAME ".Tunnel",
};

const char *interface_name(enum dbus_interface interface)
{
	return interface_names[interface];
}

const struct property *properties_all(size_t *ret_count)
{
	*ret_count = ELEMENTSOF(properties);
	return properties;
}

const char *tunnel_path(char buffer[static BUS_PATH_MAX], const char *id)
{
	snprintf(buffer, BUS_PATH_MAX, BUS_TUNNELS "/%s", id);
	return buffer;
}

const char *path_tunnel(const char *path)
{
	size_t prefix = strlen(BUS_TUNNELS);
	if (strncmp(path, BUS_TUNNELS, prefix) != 0 || path[prefix] != '/' || strchr(path + prefix + 1, '/'))
		return NULL;
	return path + prefix + 1;
}

/* --- vtables --- */

/* sd-bus wants the names of a member's arguments one after the other, each with its NUL, and a NUL after the last. */
static void add_argument(struct text *names, struct text *signature, const char *name, const char *type)
{
	text_append_bytes(names, name, strlen(name) + 1);
	text_append(signature, "%s", type);
}

static void fill_member(struct member *member, const struct operation *operation)
{
	struct text names = TEXT_NULL, in = TEXT_NULL, out = TEXT_NULL;
	for (size_t i = 0; i < operation->parameter_count; i++)
		if (parameter_is_argument(operation, &operation->parameters[i]))
			add_argument(&names, &in, operation->parameters[i].name, operation->parameters[i].signature);
	for (size_t i = 0; i < operation->result_count; i++)
		add_argument(&names, &out, operation->results[i].name, operation->results[i].signature);
	text_append_bytes(&names, "", 1);
	member->operation = operation;
	member->names = text_steal(&names);
	member->in = text_steal(&in);
	member->out = text_steal(&out);
}

/* Documents and imported files hold keys: the memory of such messages is wiped. */
static uint64_t method_flags(const struct operation *operation)
{
	uint64_t flags = SD_BUS_VTABLE_UNPRIVILEGED | SD_BUS_VTABLE_ABSOLUTE_OFFSET;
	if (operation->flags & OPERATION_SECRET)
		flags |= SD_BUS_VTABLE_SENSITIVE;
	for (size_t i = 0; i < operation->parameter_count; i++)
		if (operation->parameters[i].place == PLACE_DOCUMENT || operation->parameters[i].place == PLACE_RAW)
			flags |= SD_BUS_VTABLE_SENSITIVE;
	return flags;
}

/* Where the values of INTERFACE's properties stand for the object at PATH; NULL: there is no such object, or it has no such interface. */
static json_object *object_at(struct dbus_service *service, enum dbus_interface interface, const char *path)
{
	json_object *status = service_status(service);
	const char *id = path_tunnel(path);
	if (interface == DBUS_TUNNEL)
		return id ? find_tunnel(status, id) : NULL;
	return strcmp(path, BUS_ROOT) == 0 ? status : NULL;
}

static int property_get(sd_bus *bus, const char *path, const char *interface, const char *name, sd_bus_message *reply,
	void *userdata, sd_bus_error *error)
{
	const struct member *member = userdata;
	const struct property *property = member->property;
	json_object *object = object_at(member->service, property->interface, path);
	return value_append(reply, property->signature, value_at(object, property->pointer));
}

static const struct property *find_property(const char *interface, const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(properties); i++)
		if (strcmp(properties[i].name, name) == 0 && strcmp(interface_names[properties[i].interface], interface) == 0)
			return &properties[i];
	return NULL;
}

static int reply_property(sd_bus_message *message, const struct property *property, json_object *object)
{
	_cleanup_message_ sd_bus_message *reply = NULL;
	int r;
	if ((r = sd_bus_message_new_method_return(message, &reply)) < 0 ||
		(r = sd_bus_message_open_container(reply, 'v', property->signature)) < 0 ||
		(r = value_append(reply, property->signature, value_at(object, property->pointer))) < 0 ||
		(r = sd_bus_message_close_container(reply)) < 0 || (r = sd_bus_message_send(reply)) < 0)
		return r;
	return 1;
}

/*
 * Properties.Get, answered before sd-bus goes through its tree of objects: that way to the same value takes longer than the value does.
 * What is not found here is left to sd-bus, which knows how to say so.
 */
static int read_property(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	const char *interface, *name;
	if (!sd_bus_message_is_method_call(message, "org.freedesktop.DBus.Properties", "Get") || !sd_bus_message_has_signature(message, "ss") ||
		sd_bus_message_read(message, "ss", &interface, &name) < 0)
		return 0;
	const struct property *property = find_property(interface, name);
	json_object *object = property ? object_at(userdata, property->interface, sd_bus_message_get_path(message)) : NULL;
	if (object)
		return reply_property(message, property, object);
	(void)sd_bus_message_rewind(message, true);
	return 0;
}

static void add_row(struct interface *interface, sd_bus_vtable row)
{
	interface->vtable[1 + interface->count++] = row;
}

/* The macros of sd-bus-vtable.h want literals for the names of arguments, hence the plain structures here and in add_signal(). */
static void add_method(struct interface *interface, struct member *member, const struct operation *operation)
{
	fill_member(member, operation);
	add_row(interface, (sd_bus_vtable){
				   .type = _SD_BUS_VTABLE_METHOD,
				   .flags = method_flags(operation),
				   .x.method = {.member = operation->member, .signature = member->in, .result = member->out,
					   .handler = call_handle, .offset = (size_t)member, .names = member->names},
			   });
}

static void add_property(struct interface *interface, struct member *member, const struct property *property)
{
	member->property = property;
	add_row(interface, (sd_bus_vtable)SD_BUS_PROPERTY(property->name, property->signature, property_get, (size_t)member,
				   property->flags | SD_BUS_VTABLE_ABSOLUTE_OFFSET));
}

static void add_signal(struct interface *interface, struct member *member, const struct signal *signal)
{
	struct text names = TEXT_NULL, types = TEXT_NULL;
	for (size_t i = 0; i < SIGNAL_ARGUMENTS_MAX && signal->arguments[i].name; i++)
		add_argument(&names, &types, signal->arguments[i].name, signal->arguments[i].signature);
	text_append_bytes(&names, "", 1);
	member->names = text_steal(&names);
	member->out = text_steal(&types);
	add_row(interface, (sd_bus_vtable){
				   .type = _SD_BUS_VTABLE_SIGNAL,
				   .x.signal = {.member = signal->name, .signature = member->out, .names = member->names},
			   });
}

/* The next row's member; its address is what the row hands to its handler. */
static struct member *next_member(struct dbus_service *service, struct interface *interface)
{
	struct member *member = &interface->members[interface->count];
	member->service = service;
	return member;
}

static bool is_method(const struct operation *operation, enum dbus_interface interface)
{
	return operation->interface == interface && operation->member && !(operation->flags & OPERATION_STREAM);
}

static void build(struct dbus_service *service, struct interface *interface)
{
	size_t count;
	const struct operation *operations = operations_all(&count);
	size_t most = count + ELEMENTSOF(properties) + ELEMENTSOF(signals);
	interface->members = xcalloc(most, sizeof *interface->members);
	interface->vtable = xcalloc(most + 2, sizeof *interface->vtable);
	interface->vtable[0] = (sd_bus_vtable)SD_BUS_VTABLE_START(0);
	for (size_t i = 0; i < count; i++)
		if (is_method(&operations[i], interface->id))
			add_method(interface, next_member(service, interface), &operations[i]);
	for (size_t i = 0; i < ELEMENTSOF(properties); i++)
		if (properties[i].interface == interface->id)
			add_property(interface, next_member(service, interface), &properties[i]);
	for (size_t i = 0; i < ELEMENTSOF(signals); i++)
		if (signals[i].interface == interface->id)
			add_signal(interface, next_member(service, interface), &signals[i]);
	interface->vtable[1 + interface->count] = (sd_bus_vtable)SD_BUS_VTABLE_END;
}

void interfaces_build(struct dbus_service *service)
{
	for (size_t i = 0; i < INTERFACES; i++) {
		service->interfaces[i].id = (enum dbus_interface)(DBUS_MANAGER + i);
		build(service, &service->interfaces[i]);
	}
}

void interfaces_done(struct dbus_service *service)
{
	for (size_t i = 0; i < INTERFACES; i++) {
		struct interface *interface = &service->interfaces[i];
		for (size_t j = 0; interface->members && j < interface->count; j++) {
			free(interface->members[j].names);
			free(interface->members[j].in);
			free(interface->members[j].out);
		}
		free(interface->members);
		free(interface->vtable);
		*interface = (struct interface){};
	}
}

/* --- objects --- */

static int tunnel_find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found, sd_bus_error *error)
{
	struct dbus_service *service = userdata;
	const char *id = path_tunnel(path);
	if (!id)
		return 0;
	if (!find_tunnel(service_status(service), id))
		return sd_bus_error_setf(error, BUS_ERROR "TunnelNotFound", "There is no tunnel '%s'.", id);
	*ret_found = service;
	return 1;
}

static int tunnels_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_paths, sd_bus_error *error)
{
	json_object *tunnels = value_at(service_status(userdata), "/tunnels");
	size_t count = tunnels ? json_object_array_length(tunnels) : 0;
	char **paths = xcalloc(count + 1, sizeof *paths);
	for (size_t i = 0; i < count; i++) {
		json_object *id = json_object_object_get(json_object_array_get_idx(tunnels, i), "id");
		char path[BUS_PATH_MAX];
		paths[i] = text_dup(tunnel_path(path, json_object_get_string(id)));
	}
	*ret_paths = paths;
	return 0;
}

int interfaces_add(struct dbus_service *service)
{
	int r = sd_bus_add_filter(service->bus, NULL, read_property, service);
	if (r >= 0)
		r = sd_bus_add_object_manager(service->bus, NULL, BUS_ROOT);
	for (size_t i = 0; r >= 0 && i < INTERFACES; i++) {
		struct interface *interface = &service->interfaces[i];
		const char *name = interface_names[interface->id];
		if (interface->id == DBUS_TUNNEL)
			r = sd_bus_add_fallback_vtable(service->bus, NULL, BUS_TUNNELS, name, interface->vtable, tunnel_find, service);
		else
			r = sd_bus_add_object_vtable(service->bus, NULL, BUS_ROOT, name, interface->vtable, service);
	}
	return r < 0 ? r : sd_bus_add_node_enumerator(service->bus, NULL, BUS_TUNNELS, tunnels_enumerate, service);
}

/* --- signals --- */

/* EVENT without what SIGNAL has arguments for. */
static json_object *details_of(const struct signal *signal, json_object *event)
{
	json_object *details = json_object_new_object();
	json_object_object_foreach (event, key, value) {
		bool named = false;
		for (size_t i = 0; i < SIGNAL_ARGUMENTS_MAX && signal->arguments[i].name; i++)
			named = named || (signal->arguments[i].pointer && strcmp(signal->arguments[i].pointer + 1, key) == 0);
		if (!named)
			json_object_object_add(details, key, json_object_get(value));
	}
	return details;
}

static int emit(struct dbus_service *service, const struct signal *signal, const char *path, json_object *event)
{
	_cleanup_message_ sd_bus_message *message = NULL;
	int r = sd_bus_message_new_signal(service->bus, &message, path, interface_names[signal->interface], signal->name);
	for (size_t i = 0; r >= 0 && i < SIGNAL_ARGUMENTS_MAX && signal->arguments[i].name; i++) {
		const struct argument *argument = &signal->arguments[i];
		_cleanup_json_ json_object *value =
			argument->pointer ? json_object_get(value_at(event, argument->pointer)) : details_of(signal, event);
		r = value_append(message, argument->signature, value);
	}
	return r < 0 ? r : sd_bus_send(service->bus, message, NULL);
}

void interfaces_emit(struct dbus_service *service, json_object *event)
{
	const char *kind = json_object_get_string(value_at(event, "/kind"));
	json_object *id = value_at(event, "/tunnel");
	for (size_t i = 0; i < ELEMENTSOF(signals); i++) {
		const struct signal *signal = &signals[i];
		char path[BUS_PATH_MAX];
		if (signal->kind && (!kind || strcmp(signal->kind, kind) != 0))
			continue;
		if (signal->interface != DBUS_TUNNEL)
			(void)emit(service, signal, BUS_ROOT, event);
		else if (id)
			(void)emit(service, signal, tunnel_path(path, json_object_get_string(id)), event);
	}
}
