/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "util/json-text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "util/fields.h"
#include "util/problem.h"
#include "util/text.h"

/* The four digits behind "\u"; json-c has seen that they are there. */
static unsigned code_unit(const char *digits)
{
	unsigned value = 0;
	for (size_t i = 0; i < 4; i++)
		value = value << 4 | ((unsigned)(digits[i] & 0xf) + (digits[i] > '9' ? 9 : 0));
	return value;
}

/* The length of the escape at TEXT; 0: half of a pair. */
static size_t escape_length(const char *text, size_t left)
{
	if (text[1] != 'u')
		return 2;
	unsigned unit = left >= 6 ? code_unit(text + 2) : 0;
	if (unit < 0xd800 || unit > 0xdfff)
		return 6;
	bool followed = unit < 0xdc00 && left >= 12 && text[6] == '\\' && text[7] == 'u';
	unsigned second = followed ? code_unit(text + 8) : 0;
	return second >= 0xdc00 && second <= 0xdfff ? 12 : 0;
}

/* Whether the string that ends before AT is a member's name. */
static bool is_name(const char *text, size_t length, size_t at)
{
	while (at < length && text[at] && strchr(" \t\r\n", text[at]))
		at++;
	return at < length && text[at] == ':';
}

/* Of the string whose first character is at *at, up to its closing quote. */
static const char *string_fault(const char *text, size_t length, size_t *at)
{
	bool holds_nul = false;
	while (*at < length && text[*at] != '"') {
		bool escape = text[*at] == '\\';
		holds_nul |= escape && length - *at >= 6 && text[*at + 1] == 'u' && code_unit(text + *at + 2) == 0;
		size_t step = escape ? escape_length(text + *at, length - *at) : utf8_sequence((const uint8_t *)text + *at, length - *at);
		if (step == 0)
			return escape ? "half of a surrogate pair" : "invalid UTF-8";
		if ((uint8_t)text[*at] < 0x20)
			return "a control character in a string, where it stands as an escape";
		*at += step;
	}
	if (holds_nul && is_name(text, length, *at + 1))
		return "a NUL in a member's name"; /* json-c ends the name there */
	return NULL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Outside strings, BEFORE, HERE and what follows. The text does not end in a part of a number. */
static const char *token_fault(char before, const char *here, size_t left)
{
	char next = left > 1 ? here[1] : 0, second = left > 2 ? here[2] : 0;
	if (here[0] == '\0')
		return "a NUL character";
	if (here[0] == '\'')
		return "strings stand in double quotes"; /* json-c takes 'name' for "name" */
	if (here[0] == 'N' || here[0] == 'I')
		return "NaN and Infinity are no numbers";
	if (here[0] == '.' && !is_digit(next))
		return "a number that ends in its point";
	if (here[0] == '0' && is_digit(next) && !is_digit(before) && !(before && strchr(".eE+-", before)))
		return "a number that begins with 0";
	if (here[0] == '-' && before != 'e' && before != 'E' && next == '0' && is_digit(second))
		return "a number that begins with 0";
	return NULL;
}

const char *json_text_fault(const char *text, size_t length, size_t *ret_offset)
{
	for (size_t at = 0; at < length; at++) {
		const char *fault;
		if (text[at] == '"') {
			at++;
			fault = string_fault(text, length, &at);
		} else {
			fault = token_fault(at ? text[at - 1] : 0, text + at, length - at);
		}
		*ret_offset = at;
		if (fault)
			return fault;
	}
	return NULL;
}

/* ---- members that stand twice ---- */

/* An object or an array that is open at the place where the text is read. */
struct level {
	json_object *seen; /* an object's members so far, as keys; NULL: an array */
	size_t index;
	bool name_next;
	char at[POINTER_MAX]; /* of the member or item that is read */
};

/* The length of the string at TEXT with both its quotes. */
static size_t string_length(const char *text)
{
	size_t length = 1;
	while (text[length] != '"')
		length += text[length] == '\\' ? 2 : 1;
	return length + 1;
}

/* The name in quotes at TEXT, escapes and all, is LEVEL's next. False: it had it. */
static bool take_name(struct level *level, const char *text, size_t length, const char *pointer)
{
	_cleanup_free_ char *quoted = text_ndup(text, length);
	_cleanup_json_ json_object *name = json_tokener_parse(quoted);
	bool new = !json_object_object_get_ex(level->seen, json_object_get_string(name), NULL);
	json_object_object_add(level->seen, json_object_get_string(name), NULL);
	pointer_member(level->at, pointer, json_object_get_string(name));
	level->name_next = false;
	return new;
}

const char *json_text_duplicate(const char *text, size_t length, char *buffer)
{
	struct level levels[JSON_DEPTH_MAX + 1] = {}, *level = levels; /* the first holds the document */
	bool found = false;
	for (size_t i = 0, step; i < length && !found; i += step) {
		step = text[i] == '"' ? string_length(text + i) : 1;
		if (text[i] == '{' || text[i] == '[') {
			*++level = (struct level){.seen = text[i] == '{' ? json_object_new_object() : NULL, .name_next = text[i] == '{'};
			if (!level->seen)
				pointer_index(level->at, level[-1].at, 0);
		} else if (text[i] == '}' || text[i] == ']') {
			json_object_put((level--)->seen);
		} else if (text[i] == ',' && level->seen) {
			level->name_next = true;
		} else if (text[i] == ',') {
			pointer_index(level->at, level[-1].at, ++level->index);
		} else if (text[i] == '"' && level->name_next) {
			found = !take_name(level, text + i, step, level[-1].at);
		}
	}
	snprintf(buffer, POINTER_MAX, "%s", level->at);
	for (; level > levels; level--)
		json_object_put(level->seen);
	return buffer;
}
