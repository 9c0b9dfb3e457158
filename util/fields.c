/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading JSON through tables. */

#include "util/fields.h"

#include <errno.h>
#include <json-c/printbuf.h>
#include <string.h>

#include "util/duration.h"
#include "util/json-text.h"
#include "util/text.h"

void json_wipe(json_object *object)
{
	if (json_object_is_type(object, json_type_string)) {
		/* json-c offers no way to overwrite in place; for a string this is the object's own storage. */
		wipe((char *)json_object_get_string(object), (size_t)json_object_get_string_len(object));
	} else if (json_object_is_type(object, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(object); i++)
			json_wipe(json_object_array_get_idx(object, i));
	} else if (json_object_is_type(object, json_type_object)) {
		json_object_object_foreach(object, key, value)
		{
			(void)key;
			json_wipe(value);
		}
	}
}

json_object *json_prefix(const struct ip_prefix *prefix)
{
	char text[IP_TEXT_MAX];
	return json_object_new_string(ip_prefix_format(text, prefix));
}

json_object *json_prefixes(const struct ip_prefix *prefixes, size_t count)
{
	json_object *array = json_object_new_array();
	for (size_t i = 0; i < count; i++)
		json_object_array_add(array, json_prefix(&prefixes[i]));
	return array;
}

json_object *json_addresses(const struct ip_address *addresses, size_t count)
{
	char text[IP_TEXT_MAX];
	json_object *array = json_object_new_array();
	for (size_t i = 0; i < count; i++)
		json_object_array_add(array, json_object_new_string(ip_address_format(text, &addresses[i])));
	return array;
}

const char *json_type_article(json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_null:
		return "null";
	case json_type_boolean:
		return "a boolean";
	case json_type_double:
		return "a fraction";
	case json_type_int:
		return "an integer";
	case json_type_object:
		return "an object";
	case json_type_array:
		return "an array";
	case json_type_string:
		return "a string";
	}
	return "?";
}

static void describe_types(unsigned types, struct text *text)
{
	static const struct {
		unsigned type;
		const char *name;
	} names[] = {
		{FIELD_STRING, "a string"},
		{FIELD_BOOLEAN, "true or false"},
		{FIELD_NUMBER, "a number"},
		{FIELD_INTEGER, "an integer"},
		{FIELD_ARRAY, "an array"},
		{FIELD_OBJECT, "an object"},
		{FIELD_NULL, "null"},
	};
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if ((types & names[i].type) == names[i].type) {
			text_append(text, "%s%s", text->length ? " or " : "", names[i].name);
			types &= ~names[i].type;
		}
}

static const struct field *find(const struct field *fields, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(fields[i].key, key) == 0)
			return &fields[i];
	return NULL;
}

static void unknown(const struct field *fields, size_t count, const char *pointer, struct problems *problems)
{
	_cleanup_text_ struct text known = TEXT_NULL;
	for (size_t i = 0; i < count; i++)
		text_append(&known, "%s%s", i ? ", " : "", fields[i].key);
	problems_error(problems, pointer, NULL, "unknown member; known here: %s", known.bytes ? known.bytes : "none");
}

bool fields_read(json_object *object, const struct field *fields, size_t count, const char *pointer, void *target,
	struct problems *problems, void *context)
{
	size_t errors = problems->errors;
	char at[POINTER_MAX];
	if (!json_object_is_type(object, json_type_object)) {
		problems_error(problems, pointer, object, "must be an object, is %s", json_type_article(object));
		return false;
	}
	json_object_object_foreach (object, key, value) {
		const struct field *field = find(fields, count, key);
		pointer_member(at, pointer, key);
		if (!field) {
			unknown(fields, count, at, problems);
		} else if (!(field->types & (1u << json_object_get_type(value)))) {
			_cleanup_text_ struct text types = TEXT_NULL;
			describe_types(field->types, &types);
			problems_error(problems, at, value, "must be %s, is %s", types.bytes, json_type_article(value));
		} else {
			field->read(value, at, (char *)target + field->offset, problems, context);
		}
	}
	for (size_t i = 0; i < count; i++)
		if (fields[i].required && !json_object_object_get_ex(object, fields[i].key, NULL))
			problems_error(problems, pointer_member(at, pointer, fields[i].key), NULL, "is missing");
	return problems->errors == errors;
}

void field_bool(json_object *value, const char *pointer, void *ret_bool, struct problems *problems, void *context)
{
	*(bool *)ret_bool = json_object_get_boolean(value);
}

void field_text(json_object *value, const char *pointer, void *ret_owned_char_pointer, struct problems *problems, void *context)
{
	char **string = ret_owned_char_pointer;
	if (strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value)) {
		problems_error(problems, pointer, value, "holds a NUL character");
		return;
	}
	free(*string);
	*string = text_dup(json_object_get_string(value));
}

void field_duration(json_object *value, const char *pointer, void *ret_uint64_usec, struct problems *problems, void *context)
{
	uint64_t usec;
	int r = duration_parse(json_object_get_string(value), &usec);
	if (r < 0)
		problems_error(problems, pointer, value, "%s", duration_fault(r));
	else
		*(uint64_t *)ret_uint64_usec = usec;
}

static void position(const char *text, size_t offset, unsigned *ret_line, unsigned *ret_column)
{
	*ret_line = *ret_column = 1;
	for (size_t i = 0; i < offset; i++)
		if (text[i] == '\n')
			*ret_line += 1, *ret_column = 1;
		else
			*ret_column += 1;
}

static bool only_space(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (!text[i] || !strchr(" \t\r\n", text[i]))
			return false;
	return true;
}

int json_parse_strict(const char *text, size_t length, json_object **ret, struct problems *problems)
{
	if (length == 0) {
		problems_error(problems, "", NULL, "is empty; a JSON document was expected");
		return -EINVAL;
	}
	if (length > INT32_MAX) {
		problems_error(problems, "", NULL, "is too large");
		return -EINVAL;
	}
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	_cleanup_json_ json_object *value = json_tokener_parse_ex(tokener, text, (int)length);
	enum json_tokener_error error = json_tokener_get_error(tokener);
	size_t end = json_tokener_get_parse_end(tokener);
	if (error == json_tokener_continue) {
		/* A number at the very end is complete only once something follows it. */
		value = json_tokener_parse_ex(tokener, " ", 1);
		error = json_tokener_get_error(tokener);
	}
	wipe(tokener->pb->buf, (size_t)tokener->pb->size); /* the last string it read may be a secret */
	json_tokener_free(tokener);
	unsigned line, column;
	const char *fault = NULL;
	if (error != json_tokener_success)
		fault = error == json_tokener_continue ? "unexpected end" : json_tokener_error_desc(error);
	else if (!only_space(text + end, length - end))
		fault = "more follows the document";
	else
		fault = json_text_fault(text, length, &end);
	if (fault) {
		position(text, MIN_OF(end, length), &line, &column);
		problems_error(problems, "", NULL, "is no JSON: %s at line %u, column %u", fault, line, column);
		return -EINVAL;
	}
	if (json_text_repeats(text, length, problems))
		return -EINVAL;
	*ret = STEAL(value);
	return 0;
}
