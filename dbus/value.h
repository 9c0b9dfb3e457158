/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Values between JSON and D-Bus. The signature of a parameter, a result or a property says how; nothing else is known
 * here. What JSON has no value for ("null", absent) is the type's empty value over D-Bus, and the empty value of an
 * argument that may be left out is left out. Inside a{sv} what is absent is absent, and null, which has no type there,
 * is an `av` without elements, as "nothing" is written elsewhere on D-Bus, too.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <systemd/sd-bus.h>

/*
 * Appends VALUE (NULL: JSON's null) as SIGNATURE, which is one complete type: s b t x u d v, arrays of them, a{sv},
 * aa{sv}. As `s`, what is no string becomes JSON text: so documents go out. Negative errno.
 */
int value_append(sd_bus_message *message, const char *signature, json_object *value);

/*
 * Reads one value of SIGNATURE (basic types, v, arrays of them, a{ss}, a{sv}) and owns it to the caller. -EINVAL for
 * another signature (in a variant it is the sender who chose it), -ENXIO at the message's end, -EMSGSIZE where it has
 * no *room, which is in bytes of JSON and becomes less by what was read, -EEXIST where a dictionary has a key twice: which
 * of the two is meant nobody can say.
 */
int value_read(sd_bus_message *message, const char *signature, size_t *room, json_object **ret);

/* Whether VALUE, read as SIGNATURE, says "not given": "", 0 or []. A boolean always says something. */
bool value_is_empty(json_object *value);

/* What stands at POINTER in ROOT, "/gate/mode": member by member. NULL for null and where there is nothing. Borrowed. */
json_object *value_at(json_object *root, const char *pointer);
