/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A document's version. Two documents that differ only in white space, the order of members or the spelling of a number
 * (2, 2.0, 2e0) have the same hash. FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
 */

#include <inttypes.h>
#include <string.h>

#include "policy/rule.h"
#include "util/text.h"

static void mix(uint64_t *hash, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		*hash = (*hash ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
}

static void mix_string(uint64_t *hash, const char *string, size_t length)
{
	/* The length, in digits, before the bytes: no two sequences of strings run together to the same bytes. */
	char head[24], *at = head + sizeof head;
	*--at = ':';
	for (size_t left = length; left || *at == ':'; left /= 10)
		*--at = (char)('0' + left % 10);
	*--at = '"';
	mix(hash, at, (size_t)(head + sizeof head - at));
	mix(hash, string, length);
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void mix_value(uint64_t *hash, json_object *value);

static void mix_object(uint64_t *hash, json_object *object)
{
	size_t count = 0;
	_cleanup_free_ const char **keys = xcalloc((size_t)json_object_object_length(object), sizeof *keys);
	json_object_object_foreach(object, key, member)
	{
		(void)member;
		keys[count++] = key;
	}
	qsort(keys, count, sizeof *keys, compare_keys);
	mix(hash, "{", 1);
	for (size_t i = 0; i < count; i++) {
		mix_string(hash, keys[i], strlen(keys[i]));
		mix_value(hash, json_object_object_get(object, keys[i]));
	}
	mix(hash, "}", 1);
}

static void mix_value(uint64_t *hash, json_object *value)
{
	char number[40];
	switch (json_object_get_type(value)) {
	case json_type_null:
		mix(hash, "n", 1);
		return;
	case json_type_boolean:
		mix(hash, json_object_get_boolean(value) ? "t" : "f", 1);
		return;
	case json_type_int:
	case json_type_double:
		mix(hash, number, (size_t)snprintf(number, sizeof number, "#%.17g", json_object_get_double(value)));
		return;
	case json_type_string:
		mix_string(hash, json_object_get_string(value), (size_t)json_object_get_string_len(value));
		return;
	case json_type_object:
		mix_object(hash, value);
		return;
	case json_type_array:
		mix(hash, "[", 1);
		for (size_t i = 0; i < json_object_array_length(value); i++)
			mix_value(hash, json_object_array_get_idx(value, i));
		mix(hash, "]", 1);
		return;
	}
}

void policy_document_hash(json_object *document, char ret[POLICY_HASH_MAX])
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	mix_value(&hash, document);
	snprintf(ret, POLICY_HASH_MAX, "%016" PRIx64, hash);
}
