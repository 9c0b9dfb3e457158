/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Reading a JSON object through a table of its members: key, type, whether it must be there, and where it goes. Unknown members,
 * wrong types and missing members become problems with a JSON Pointer; reading goes on, so that all of them are found.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/address.h"
#include "util/problem.h"

/*
 * Puts VALUE, found at POINTER, into *RET. Adds a problem where VALUE is not acceptable and then leaves *RET alone. CONTEXT is
 * what the caller of fields_read() passed.
 */
typedef void (*field_reader)(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context);

#define FIELD_STRING (1u << json_type_string)
#define FIELD_BOOLEAN (1u << json_type_boolean)
#define FIELD_INTEGER (1u << json_type_int)
#define FIELD_NUMBER (1u << json_type_int | 1u << json_type_double)
#define FIELD_ARRAY (1u << json_type_array)
#define FIELD_OBJECT (1u << json_type_object)
#define FIELD_NULL (1u << json_type_null)

struct field {
	const char *key;
	unsigned types; /* FIELD_…, or'ed */
	field_reader read;
	size_t offset; /* of the destination in the target structure */
	bool required;
};

/*
 * Reads OBJECT (which must be a JSON object, else that is the problem) into TARGET. Returns true if no error was added.
 * Members that are absent leave their place in TARGET as it was: set defaults first.
 */
bool fields_read(json_object *object, const struct field *fields, size_t count, const char *pointer, void *target,
	struct problems *problems, void *context);

/* Ready-made readers. */
void field_bool(json_object *value, const char *pointer, void *ret_bool, struct problems *problems, void *context);
void field_text(json_object *value, const char *pointer, void *ret_owned_char_pointer, struct problems *problems, void *context);
void field_duration(json_object *value, const char *pointer, void *ret_uint64_usec, struct problems *problems, void *context);

/* As documents write them: "192.0.2.0/24", and arrays of such. */
json_object *json_prefix(const struct ip_prefix *prefix);
json_object *json_prefixes(const struct ip_prefix *prefixes, size_t count);
json_object *json_addresses(const struct ip_address *addresses, size_t count);

/* "string", "an array" …: what VALUE is, for a sentence. */
const char *json_type_article(json_object *value);

#define JSON_DEPTH_MAX 32 /* levels of objects and arrays */

/*
 * Parses TEXT strictly as one JSON document (RFC 8259; nothing after it, no duplicate members, at most 32 levels, valid UTF-8). Returns 0,
 * or -EINVAL with a problem that names line and column. The caller puts *ret with json_object_put().
 */
int json_parse_strict(const char *text, size_t length, json_object **ret, struct problems *problems);

static inline void json_putp(json_object **object)
{
	if (*object)
		json_object_put(*object);
}
#define _cleanup_json_ _cleanup_(json_putp)

/* Overwrites every string of a JSON tree that held secrets. Whoever else refers to it sees the holes. Accepts NULL. */
void json_wipe(json_object *object);
