/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Readers of JSON values that policies need beyond those of util/fields.h. Each adds a problem or sets its result,
 * never both. */

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "policy/rule.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/text.h"

/* A whole number may be spelled 3.0 or 3e0: to JSON Schema it is an integer. */
bool read_whole(
	json_object *value, const char *pointer, uint64_t min, uint64_t max, uint64_t *ret, struct problems *problems)
{
	double number = json_object_get_double(value);
	if (number != floor(number) || number < (double)min || number > (double)max) {
		problems_error(
			problems, pointer, value, "must be a whole number from %" PRIu64 " to %" PRIu64, min, max);
		return false;
	}
	*ret = (uint64_t)number;
	return true;
}

bool read_fraction(
	json_object *value, const char *pointer, double min, double max, double *ret, struct problems *problems)
{
	double number = json_object_get_double(value);
	if (!(number >= min && number <= max)) {
		problems_error(problems, pointer, value, "must be a number from %g to %g", min, max);
		return false;
	}
	*ret = number;
	return true;
}

static size_t count_characters(const char *string)
{
	size_t count = 0;
	for (; *string; string++)
		count += ((unsigned char)*string & 0xc0) != 0x80;
	return count;
}

bool read_string(json_object *value, const char *pointer, size_t max, const char **ret, struct problems *problems)
{
	const char *string = json_object_get_string(value);
	if (!json_object_is_type(value, json_type_string)) {
		problems_error(problems, pointer, value, "must be a string, is %s", json_type_article(value));
	} else if (!*string || count_characters(string) > max) {
		problems_error(problems, pointer, value, "must have 1 to %zu characters", max);
	} else {
		*ret = string;
		return true;
	}
	return false;
}

/* json-c's strings end at a NUL for most readers; none may mean less than it says. */
static void refuse_nul(json_object *value, const char *pointer, struct problems *problems)
{
	char at[POINTER_MAX];
	if (json_object_is_type(value, json_type_object)) {
		json_object_object_foreach(value, key, member)
			refuse_nul(member, pointer_member(at, pointer, key), problems);
	} else if (json_object_is_type(value, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(value); i++)
			refuse_nul(json_object_array_get_idx(value, i), pointer_index(at, pointer, i), problems);
	} else if (json_object_is_type(value, json_type_string) &&
		   strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value)) {
		problems_error(problems, pointer, NULL, "holds a NUL character");
	}
}

bool strings_are_whole(json_object *document, struct problems *problems)
{
	size_t errors = problems->errors;
	refuse_nul(document, "", problems);
	return problems->errors == errors;
}

void field_duration_positive(
	json_object *value, const char *pointer, void *ret_uint64_usec, struct problems *problems, void *context)
{
	uint64_t usec = USEC_INFINITY;
	field_duration(value, pointer, &usec, problems, context);
	if (usec == 0)
		problems_error(problems, pointer, value, "must be longer than nothing");
	else if (usec != USEC_INFINITY)
		*(uint64_t *)ret_uint64_usec = usec;
}

void read_each(json_object *value, const char *pointer, element_reader read, void *ret, struct problems *problems,
	void *context)
{
	char at[POINTER_MAX];
	if (!json_object_is_type(value, json_type_array)) {
		read(value, pointer, ret, problems, context);
		return;
	}
	if (json_object_array_length(value) == 0)
		problems_error(problems, pointer, value, "is empty: no value would ever match");
	for (size_t i = 0; i < json_object_array_length(value); i++)
		read(json_object_array_get_idx(value, i), pointer_index(at, pointer, i), ret, problems, context);
}

void strings_reserve(struct strings *strings, json_object *value, struct arena *arena)
{
	size_t count = json_object_is_type(value, json_type_array) ? json_object_array_length(value) : 1;
	*strings = (struct strings){.values = arena_alloc(arena, count * sizeof *strings->values)};
}

void strings_add(struct strings *strings, const char *string, struct arena *arena)
{
	((const char **)strings->values)[strings->count++] = arena_string(arena, string);
}

/* ^[a-z][a-z0-9_]{0,11}$, what a tunnel's id looks like; a glob has * and ? as well. Which tunnels there are is not
 * known here. */
bool tunnel_id_plausible(const char *id, bool glob)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz", more[] = "0123456789_", wild[] = "*?";
	size_t length = strlen(id);
	if (length == 0 || length > 12)
		return false;
	for (size_t i = 0; i < length; i++)
		if (!strchr(letters, id[i]) && !(i > 0 && strchr(more, id[i])) && !(glob && strchr(wild, id[i])))
			return false;
	return true;
}
