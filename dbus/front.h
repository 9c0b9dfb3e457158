/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the files of this folder share. service.c owns the connection and the picture of the daemon's state, interface.c
 * what stands on the bus, call.c one method call from its message to its reply, authorize.c who may do what.
 */

#include <json-c/json.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "daemon/operations.h"
#include "util/macro.h"

#define BUS_NAME      "org.holdfast.Holdfast1"
#define BUS_ERROR     BUS_NAME ".Error."
#define BUS_ROOT      "/org/holdfast/Holdfast1"
#define BUS_TUNNELS   BUS_ROOT "/tunnel"
#define TUNNEL_ID_MAX 12 /* ^[a-z][a-z0-9_]{0,11}$, which is also a valid element of an object path */
#define BUS_PATH_MAX  (sizeof BUS_TUNNELS + 1 + TUNNEL_ID_MAX)

#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp) /* which sd-bus defines */

/* A property: where its value stands in the answer of GetStatus (for tunnels: in its element of "tunnels"). */
struct property {
	enum dbus_interface interface;
	const char *name;
	const char *signature;
	const char *pointer;
	uint64_t flags; /* SD_BUS_VTABLE_PROPERTY_… */
};

struct argument {
	const char *name;
	const char *signature;
	const char *pointer; /* into the event; NULL: everything that has no argument of its own */
};

#define SIGNAL_ARGUMENTS_MAX 5
/* A signal: the event it stands for, and the event's members that are its arguments. */
struct signal {
	enum dbus_interface interface;
	const char *name;
	const char *kind; /* of the event; NULL: all events */
	struct argument arguments[SIGNAL_ARGUMENTS_MAX];
};

/* What a method or property of a vtable refers to. */
struct member {
	struct dbus_service *service;
	const struct operation *operation;
	const struct property *property;
	char *names, *in, *out; /* kept here because vtables borrow them */
};

struct interface {
	enum dbus_interface id;
	sd_bus_vtable *vtable;
	struct member *members; /* one for each row of the vtable between its start and its end */
	size_t count;
};

#define INTERFACES 4

struct bus_call;

struct dbus_service {
	sd_event *event;
	struct manager *manager;
	sd_bus *bus; /* NULL while there is none */
	bool named;  /* connected, and our name asked for: signals may go out */
	bool waiting_logged;
	unsigned failures;      /* in a row, for the pause before the next attempt */
	sd_event_source *retry; /* armed while there is no connection */
	sd_event_source *flush; /* armed while something may have changed that was not announced */
	struct subscription *subscription;
	struct interface interfaces[INTERFACES];
	json_object *announced; /* the state that the bus was told */
	json_object *current;   /* the state now, as of turn CURRENT_TURN of the loop */
	uint64_t current_turn;
	struct bus_call *calls; /* begun and not answered */
	size_t call_count;
	sd_bus_slot *departures; /* tells of clients that went away; held while there are calls */
};

/* interface.c */
const char *interface_name(enum dbus_interface interface);
const struct property *properties_all(size_t *ret_count);
void interfaces_build(struct dbus_service *service);
void interfaces_done(struct dbus_service *service);
/* Puts everything on the bus. Before sd_bus_start(), so that no early caller finds half of it. Negative errno. */
int interfaces_add(struct dbus_service *service);
/* Emits the signals that stand for EVENT. */
void interfaces_emit(struct dbus_service *service, json_object *event);
/* The id in a tunnel's object path; NULL for any other path. Borrowed. */
const char *path_tunnel(const char *path);
/* BUFFER = the object path of tunnel ID. Returns BUFFER. */
const char *tunnel_path(char buffer[static BUS_PATH_MAX], const char *id);

/* service.c */
/* The daemon's state in this turn of the loop. Borrowed, until the next turn. */
json_object *service_status(struct dbus_service *service);
/* The element of "tunnels" in STATUS with this id, or NULL. Borrowed. */
json_object *find_tunnel(json_object *status, const char *id);

/* call.c */
/* Whether PARAMETER is an argument of the method; a tunnel's id is not, it stands in the object path. */
bool parameter_is_argument(const struct operation *operation, const struct parameter *parameter);
int call_handle(sd_bus_message *message, void *userdata, sd_bus_error *error);
void calls_cancel(struct dbus_service *service);

/* authorize.c: who sent MESSAGE, and may he? */
struct authorization {
	sd_bus_message *message; /* borrowed */
	const char *operation;
	enum scope scope; /* wanted */
	bool self_service; /* nobody is asked for less than SCOPE_ADMIN; who sent it is held as CALLER.pidfd, until it is cancelled */
	void (*done)(struct authorization *authorization, struct caller *caller, bool challenge, void *userdata);
	void *userdata;

	struct caller caller;
	sd_bus_slot *slot; /* of the question now under way */
};

/*
 * Asks the bus for the sender and, unless he is root, polkit. DONE is called once, later: with what the caller may
 * (SCOPE_NONE: not even this), CHALLENGE if an interactive check that the caller did not allow could have led further.
 * Negative errno if it could not begin.
 */
int authorization_begin(struct authorization *authorization);
/* Asks polkit again, for a greater scope of the same caller. */
int authorization_escalate(struct authorization *authorization, enum scope scope);
/* Ends it without DONE. A person who is being asked is asked no longer once the sender has left the bus: polkit sees to that. */
void authorization_cancel(struct authorization *authorization);
