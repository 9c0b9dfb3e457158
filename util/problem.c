/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The list of findings about a document. */

#include "util/problem.h"

#include <stdarg.h>
#include <string.h>

#include "util/text.h"

#define VALUE_MAX 80

void problems_done(struct problems *problems)
{
	for (size_t i = 0; i < problems->count; i++) {
		free(problems->items[i].pointer);
		free(problems->items[i].value);
		free(problems->items[i].detail);
	}
	free(problems->items);
	*problems = PROBLEMS_NULL;
}

static char *shorten(json_object *value)
{
	const char *text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	if (strlen(text) <= VALUE_MAX)
		return text_dup(text);
	return text_format("%.*s…", (int)utf8_prefix(text, VALUE_MAX), text);
}

static _printf_(5, 0) void add(struct problems *problems, bool warning, const char *pointer, json_object *value,
	const char *format, va_list arguments)
{
	if (++*(warning ? &problems->warnings : &problems->errors) > PROBLEMS_MAX)
		return;
	problems->items = xrealloc(problems->items, (problems->count + 1) * sizeof *problems->items);
	problems->items[problems->count++] = (struct problem){
		.warning = warning,
		.pointer = text_dup(pointer),
		.value = value ? shorten(value) : NULL,
		.detail = text_vformat(format, arguments),
	};
}

void problems_error(struct problems *problems, const char *pointer, json_object *value, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	add(problems, false, pointer, value, format, arguments);
	va_end(arguments);
}

void problems_warning(struct problems *problems, const char *pointer, json_object *value, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	add(problems, true, pointer, value, format, arguments);
	va_end(arguments);
}

static json_object *finding_new(const char *pointer, const char *value, const char *detail)
{
	json_object *item = json_object_new_object();
	json_object_object_add(item, "pointer", json_object_new_string(pointer));
	if (value)
		json_object_object_add(item, "value", json_object_new_string(value));
	json_object_object_add(item, "detail", json_object_new_string(detail));
	return item;
}

json_object *problems_to_json(const struct problems *problems, bool warnings)
{
	json_object *array = json_object_new_array();
	size_t all = warnings ? problems->warnings : problems->errors;
	for (size_t i = 0; i < problems->count; i++) {
		const struct problem *problem = &problems->items[i];
		if (problem->warning == warnings)
			json_object_array_add(array, finding_new(problem->pointer, problem->value, problem->detail));
	}
	if (all > json_object_array_length(array)) {
		_cleanup_free_ char *more = text_format("%zu more are not listed", all - json_object_array_length(array));
		json_object_array_add(array, finding_new("", NULL, more));
	}
	return array;
}

char *problems_to_text(const struct problems *problems)
{
	struct text text = TEXT_NULL;
	for (size_t i = 0; i < problems->count; i++) {
		const struct problem *problem = &problems->items[i];
		text_append(&text, "%s%s: %s", problem->warning ? "warning: " : "",
			problem->pointer[0] ? problem->pointer : "(document)", problem->detail);
		if (problem->value)
			text_append(&text, " (found %s)", problem->value);
		text_append(&text, "\n");
	}
	size_t all = problems->errors + problems->warnings;
	if (all > problems->count)
		text_append(&text, "… and %zu more\n", all - problems->count);
	return text_steal(&text);
}

const char *pointer_member(char *buffer, const char *pointer, const char *key)
{
	size_t length = (size_t)snprintf(buffer, POINTER_MAX, "%s/", pointer);
	for (; *key && length < POINTER_MAX - 3; key++)
		if (*key == '~' || *key == '/') {
			buffer[length++] = '~';
			buffer[length++] = *key == '~' ? '0' : '1';
		} else {
			buffer[length++] = *key;
		}
	buffer[MIN_OF(length, (size_t)POINTER_MAX - 1)] = 0;
	return buffer;
}

const char *pointer_index(char *buffer, const char *pointer, size_t index)
{
	snprintf(buffer, POINTER_MAX, "%s/%zu", pointer, index);
	return buffer;
}
