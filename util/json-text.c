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

/* ---- names that stand twice ---- */

struct scan {
	const char *at, *end;
	struct problems *problems;
};

static bool next_is(struct scan *scan, char wanted)
{
	while (scan->at < scan->end && strchr(" \t\r\n", *scan->at))
		scan->at++;
	return scan->at < scan->end && *scan->at == wanted;
}

/* Goes past WANTED where that comes next. */
static bool take(struct scan *scan, char wanted)
{
	bool found = next_is(scan, wanted);
	scan->at += found;
	return found;
}

static void skip_string(struct scan *scan)
{
	for (scan->at++; scan->at < scan->end && *scan->at != '"'; scan->at++)
		scan->at += *scan->at == '\\';
	scan->at++;
}

/* The name that comes next, its escapes read. The caller frees it. */
static char *take_name(struct scan *scan)
{
	const char *begin = scan->at;
	skip_string(scan);
	size_t length = (size_t)(scan->at - begin);
	if (!memchr(begin, '\\', length))
		return text_ndup(begin + 1, length - 2);
	_cleanup_free_ char *quoted = text_ndup(begin, length);
	json_object *name = json_tokener_parse(quoted);
	char *text = text_dup(json_object_get_string(name));
	json_object_put(name);
	return text;
}

static void scan_value(struct scan *scan, const char *pointer);

static void scan_members(struct scan *scan, const char *pointer)
{
	char at[POINTER_MAX];
	json_object *names = json_object_new_object();
	while (next_is(scan, '"')) {
		_cleanup_free_ char *name = take_name(scan);
		pointer_member(at, pointer, name);
		if (json_object_object_get_ex(names, name, NULL))
			problems_error(scan->problems, at, NULL, "stands twice in one object");
		json_object_object_add(names, name, NULL);
		take(scan, ':');
		scan_value(scan, at);
		take(scan, ',');
	}
	take(scan, '}');
	json_object_put(names);
}

static void scan_items(struct scan *scan, const char *pointer)
{
	char at[POINTER_MAX];
	for (size_t i = 0; scan->at < scan->end && !next_is(scan, ']'); i++) {
		scan_value(scan, pointer_index(at, pointer, i));
		take(scan, ',');
	}
	take(scan, ']');
}

/* As deep as json-c went. */
static void scan_value(struct scan *scan, const char *pointer)
{
	if (take(scan, '{'))
		scan_members(scan, pointer);
	else if (take(scan, '['))
		scan_items(scan, pointer);
	else if (next_is(scan, '"'))
		skip_string(scan);
	else
		while (scan->at < scan->end && !strchr(",]}", *scan->at))
			scan->at++;
}

bool json_text_repeats(const char *text, size_t length, struct problems *problems)
{
	struct scan scan = {.at = text, .end = text + length, .problems = problems};
	size_t errors = problems->errors;
	scan_value(&scan, "");
	return problems->errors > errors;
}
