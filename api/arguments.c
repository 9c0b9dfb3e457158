/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests read by the rows of the table. */

#include "api/arguments.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "api/route.h"
#include "api/server.h"
#include "util/fields.h"
#include "util/text.h"

#define DRY_RUN "dryRun"

/* --- media types --- */

static bool is_type(const char *type, const char *wanted)
{
	size_t length = strcspn(type, "; \t");
	return strlen(wanted) == length && strncasecmp(type, wanted, length) == 0;
}

bool arguments_media_type(const struct operation *operation, const char *type, char **ret_detail)
{
	static const char *const raw[] = {"application/octet-stream", "text/plain", NULL};
	static const char *const merge[] = {"application/json", "application/merge-patch+json", NULL};
	static const char *const json[] = {"application/json", NULL};
	const char *const *types = operation_has(operation, PLACE_RAW)  ? raw
				   : operation->flags & OPERATION_MERGE ? merge
									: json;
	for (const char *const *wanted = types; type && *wanted; wanted++)
		if (is_type(type, *wanted))
			return true;
	const char *hint = type && is_type(type, "application/x-www-form-urlencoded")
				   ? ", which is curl's default for -d and --data-binary"
				   : "";
	*ret_detail =
		text_format("the body came %s%s%s; send the header Content-Type: %s%s%s (curl: -H 'Content-Type: %s')",
			type ? "as " : "without a Content-Type", type ? type : "", hint, types[0],
			types[1] ? " or " : "", types[1] ? types[1] : "", types[0]);
	return false;
}

/* --- values --- */

static json_object *integer_from_text(const char *text)
{
	uint64_t value = 0;
	if (!*text || strlen(text) > 19 || text[strspn(text, "0123456789")])
		return NULL;
	for (; *text; text++)
		value = value * 10 + (uint64_t)(*text - '0');
	return value <= INT64_MAX ? json_object_new_int64((int64_t)value) : NULL;
}

static json_object *boolean_from_text(const char *text)
{
	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		return json_object_new_boolean(text[0] == 't');
	return NULL;
}

static json_object *array_from_text(const char *text)
{
	json_object *array = json_object_new_array();
	while (*text) {
		size_t length = strcspn(text, ",");
		json_object_array_add(array, json_object_new_string_len(text, (int)length));
		text += length + (text[length] == ',');
	}
	return array;
}

static bool is_string(json_object *value)
{
	return json_object_is_type(value, json_type_string);
}

static bool is_boolean(json_object *value)
{
	return json_object_is_type(value, json_type_boolean);
}

static bool is_natural(json_object *value)
{
	return json_object_is_type(value, json_type_int) && json_object_get_int64(value) >= 0;
}

static bool is_strings(json_object *value)
{
	if (!json_object_is_type(value, json_type_array))
		return false;
	for (size_t i = 0; i < json_object_array_length(value); i++)
		if (!is_string(json_object_array_get_idx(value, i)))
			return false;
	return true;
}

static bool is_string_map(json_object *value)
{
	if (!json_object_is_type(value, json_type_object))
		return false;
	struct json_object_iterator end = json_object_iter_end(value);
	for (struct json_object_iterator i = json_object_iter_begin(value); !json_object_iter_equal(&i, &end); json_object_iter_next(&i))
		if (!is_string(json_object_iter_peek_value(&i)))
			return false;
	return true;
}

/* A path or a query cannot say it. */
static json_object *never_from_text(const char *text)
{
	return NULL;
}

/* The types that parameters have: how each is read from a query, checked in a body, and named. */
static const struct kind {
	const char *signature;
	json_object *(*from_text)(const char *text); /* NULL where TEXT is none */
	bool (*holds)(json_object *value);
	const char *words;
} kinds[] = {
	{"s", json_object_new_string, is_string, "a string"},
	{"b", boolean_from_text, is_boolean, "true or false"},
	{"t", integer_from_text, is_natural, "a whole number, not negative"},
	{"as", array_from_text, is_strings, "a list of strings"},
	{"a{ss}", never_from_text, is_string_map, "an object of strings"},
};

/* NULL for a type that requests cannot say; arguments_readable() has seen to it that the table has none. */
static const struct kind *kind_of(const struct parameter *parameter)
{
	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		if (strcmp(kinds[i].signature, parameter->signature) == 0)
			return &kinds[i];
	return NULL;
}

bool arguments_readable(const struct operation *operation)
{
	for (size_t i = 0; i < operation->parameter_count; i++)
		if (operation->parameters[i].place != PLACE_DOCUMENT && !kind_of(&operation->parameters[i]))
			return false; /* a document is whatever JSON it is, and the operation's to judge */
	return true;
}

static const struct parameter *find(const struct operation *operation, enum parameter_place place, const char *name)
{
	for (size_t i = 0; i < operation->parameter_count; i++)
		if (operation->parameters[i].place == place && strcmp(operation->parameters[i].name, name) == 0)
			return &operation->parameters[i];
	return NULL;
}

/* "after, limit", for a sentence. */
static char *known(const struct operation *operation, enum parameter_place place)
{
	struct text text = TEXT_NULL;
	for (size_t i = 0; i < operation->parameter_count; i++)
		if (operation->parameters[i].place == place)
			text_append(&text, "%s%s", text.length ? ", " : "", operation->parameters[i].name);
	if (place == PLACE_QUERY && operation->flags & OPERATION_WRITE)
		text_append(&text, "%s%s", text.length ? ", " : "", DRY_RUN);
	if (!text.length)
		text_append(&text, "none");
	return text_steal(&text);
}

/* --- path and query --- */

static void read_path(struct operation_call *call, const struct uri *uri)
{
	const struct operation *operation = call->operation;
	for (size_t i = 0; i < operation->parameter_count; i++) {
		const struct parameter *parameter = &operation->parameters[i];
		const char *value =
			parameter->place == PLACE_PATH ? route_parameter(operation, uri, parameter->name) : NULL;
		json_object *object = value ? kind_of(parameter)->from_text(value) : NULL;
		if (object)
			json_object_object_add(call->arguments, parameter->name, object);
		else if (value)
			problems_error(&call->problems, "", NULL, "the path's %s must be %s", parameter->name,
				kind_of(parameter)->words);
	}
}

static void read_dry_run(struct operation_call *call, const char *value, const char *pointer)
{
	_cleanup_json_ json_object *object = boolean_from_text(value);
	if (object)
		call->dry_run = json_object_get_boolean(object);
	else
		problems_error(&call->problems, pointer, NULL, "the query's " DRY_RUN " must be true or false");
}

static void read_query(struct operation_call *call, const struct uri *uri)
{
	char pointer[POINTER_MAX];
	bool dry_run_given = false;
	for (size_t i = 0; i < uri->query_count; i++) {
		const char *name = uri->query[i].name, *value = uri->query[i].value;
		const struct parameter *parameter = find(call->operation, PLACE_QUERY, name);
		pointer_member(pointer, "", name);
		if (!parameter && call->operation->flags & OPERATION_WRITE && strcmp(name, DRY_RUN) == 0) {
			if (dry_run_given)
				problems_error(&call->problems, pointer, NULL, "the query gives " DRY_RUN " twice");
			read_dry_run(call, value, pointer);
			dry_run_given = true;
			continue;
		}
		if (!parameter) {
			_cleanup_free_ char *names = known(call->operation, PLACE_QUERY);
			problems_error(&call->problems, pointer, NULL,
				"the query has no parameter of this name; known here: %s", names);
			continue;
		}
		json_object *object = kind_of(parameter)->from_text(value);
		if (!object)
			problems_error(&call->problems, pointer, NULL, "the query's %s must be %s", name,
				kind_of(parameter)->words);
		else if (json_object_object_get_ex(call->arguments, name, NULL)) {
			json_object_put(object);
			problems_error(&call->problems, pointer, NULL, "the query gives %s twice", name);
		} else
			json_object_object_add(call->arguments, name, object);
	}
}

/* --- the body --- */

static void read_members(struct operation_call *call, json_object *body)
{
	char pointer[POINTER_MAX];
	json_object_object_foreach(body, name, value)
	{
		const struct parameter *parameter = find(call->operation, PLACE_BODY, name);
		pointer_member(pointer, "", name);
		if (!parameter) {
			_cleanup_free_ char *names = known(call->operation, PLACE_BODY);
			problems_error(&call->problems, pointer, NULL, "unknown member; known here: %s", names);
		} else if (!kind_of(parameter)->holds(value)) {
			problems_error(&call->problems, pointer, call->operation->flags & OPERATION_SECRET ? NULL : value,
				"must be %s, is %s", kind_of(parameter)->words,
				json_type_article(value));
		} else {
			json_object_object_add(call->arguments, name, json_object_get(value));
		}
	}
}

static void read_json(struct operation_call *call, const char *body, size_t length)
{
	_cleanup_json_ json_object *object = NULL;
	if (json_parse_strict(body, length, &object, &call->problems) < 0)
		return;
	if (operation_has(call->operation, PLACE_DOCUMENT))
		call->document = STEAL(object);
	else if (json_object_is_type(object, json_type_object))
		read_members(call, object);
	else
		problems_error(&call->problems, "", object, "must be an object, is %s", json_type_article(object));
}

static void read_body(struct operation_call *call, const char *body, size_t length)
{
	if (operation_has(call->operation, PLACE_RAW)) {
		call->text = xcalloc(1, length + 1);
		if (length)
			memcpy(call->text, body, length);
		call->text_length = length;
	} else if (length) {
		read_json(call, body, length);
	}
}

static void check_required(struct operation_call *call)
{
	static const char *const places[] = {[PLACE_QUERY] = "the query's ", [PLACE_BODY] = ""};
	char pointer[POINTER_MAX];
	for (size_t i = 0; i < call->operation->parameter_count; i++) {
		const struct parameter *parameter = &call->operation->parameters[i];
		if (!parameter->required || parameter->place == PLACE_PATH)
			continue;
		if (parameter->place == PLACE_DOCUMENT || parameter->place == PLACE_RAW) {
			if (!call->document && call->text_length == 0)
				problems_error(&call->problems, "", NULL, "the body is empty; %s was expected",
					parameter->place == PLACE_RAW ? "a file" : "a JSON document");
		} else if (!json_object_object_get_ex(call->arguments, parameter->name, NULL)) {
			problems_error(&call->problems, pointer_member(pointer, "", parameter->name), NULL,
				"%s%s is missing", places[parameter->place], parameter->name);
		}
	}
}

enum outcome arguments_read(struct operation_call *call, const struct uri *uri, const char *body, size_t length)
{
	if (!call->arguments)
		call->arguments = json_object_new_object();
	read_path(call, uri);
	read_query(call, uri);
	size_t errors = call->problems.errors;
	read_body(call, body, length);
	enum outcome outcome = call->problems.errors > errors && operation_has(call->operation, PLACE_DOCUMENT)
				       ? OUTCOME_INVALID_DOCUMENT
				       : OUTCOME_BAD_REQUEST;
	if (call->problems.errors == 0)
		check_required(call);
	return call->problems.errors ? outcome : OUTCOME_OK;
}

/* --- entity tags --- */

bool arguments_if_match(const char *header, char **ret)
{
	*ret = NULL;
	if (!header)
		return true;
	header += strspn(header, " \t");
	size_t length = strlen(header);
	while (length && strchr(" \t", header[length - 1]))
		length--;
	bool quoted = length >= 2 && header[0] == '"' && header[length - 1] == '"';
	const char *inner = quoted ? header + 1 : header;
	size_t inner_length = quoted ? length - 2 : length;
	if (length == 0 || memchr(inner, quoted ? '"' : ',', inner_length))
		return false;
	*ret = text_ndup(inner, inner_length);
	return true;
}

bool arguments_none_match(const char *header, const char *etag)
{
	size_t wanted = strlen(etag);
	while (header && *header) {
		header += strspn(header, " \t,");
		if (*header == '*')
			return true;
		if (strncmp(header, "W/", 2) == 0)
			header += 2;
		if (*header != '"')
			return false;
		const char *end = strchr(++header, '"');
		if (!end)
			return false;
		if ((size_t)(end - header) == wanted && memcmp(header, etag, wanted) == 0)
			return true;
		header = end + 1;
	}
	return false;
}
