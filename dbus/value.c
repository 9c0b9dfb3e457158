/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Values between JSON and D-Bus. */

#include "dbus/value.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "util/fields.h"
#include "util/text.h"

#define MEMBER_MAX 32 /* of the pointers in our own tables */
#define ITEM_ROOM  2  /* of an array or an object in JSON: one character, and what parts it from the next */

#define TRY(call)                                                                                                          \
	do {                                                                                                               \
		int try_ = (call);                                                                                         \
		if (try_ < 0)                                                                                              \
			return try_;                                                                                       \
	} while (0)

static const char *as_text(json_object *value)
{
	if (!value)
		return "";
	if (json_object_is_type(value, json_type_string))
		return json_object_get_string(value);
	return json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* U+FDD0 to U+FDEF, and the last two of each plane. */
static bool is_noncharacter(const uint8_t *bytes, size_t length)
{
	bool last_two = length >= 3 && bytes[length - 2] == 0xbf && bytes[length - 1] >= 0xbe &&
			(length == 3 ? bytes[0] == 0xef : (bytes[1] & 0x0f) == 0x0f);
	return last_two || (length == 3 && bytes[0] == 0xef && bytes[1] == 0xb7 && bytes[2] >= 0x90 && bytes[2] <= 0xaf);
}

/*
 * sd-bus refuses strings with Unicode's noncharacters, which JSON may hold, and a name that others chose (of a Wi-Fi, say) too: they
 * become U+FFFD, so that nobody can keep the status from being told.
 */
static int append_text(sd_bus_message *message, const char *text)
{
	int r = sd_bus_message_append_basic(message, 's', text);
	if (r != -EINVAL)
		return r;
	_cleanup_text_ struct text clean = TEXT_NULL;
	for (size_t left = strlen(text), length; left > 0; text += length, left -= length) {
		length = utf8_sequence((const uint8_t *)text, left);
		bool good = length > 0 && !is_noncharacter((const uint8_t *)text, length);
		length = MAX_OF(length, (size_t)1);
		text_append_bytes(&clean, good ? text : "\xef\xbf\xbd", good ? length : 3);
	}
	return sd_bus_message_append_basic(message, 's', clean.bytes);
}

static int append_basic(sd_bus_message *message, char type, json_object *value)
{
	union {
		int boolean;
		uint64_t unsigned_wide;
		int64_t wide;
		uint32_t narrow;
		double fraction;
	} basic;

	switch (type) {
	case 's':
		return append_text(message, as_text(value));
	case 'b':
		basic.boolean = json_object_get_boolean(value);
		break;
	case 't':
		basic.unsigned_wide = json_object_get_uint64(value);
		break;
	case 'x':
		basic.wide = json_object_get_int64(value);
		break;
	case 'u':
		basic.narrow = (uint32_t)MIN_OF(json_object_get_uint64(value), (uint64_t)UINT32_MAX);
		break;
	case 'd':
		basic.fraction = json_object_get_double(value);
		break;
	default:
		return -EINVAL;
	}
	return sd_bus_message_append_basic(message, type, &basic);
}

#define NOTHING "av" /* an empty one stands for null; an empty JSON array is an "as" */

static bool all_strings(json_object *array)
{
	for (size_t i = 0; i < json_object_array_length(array); i++)
		if (!json_object_is_type(json_object_array_get_idx(array, i), json_type_string))
			return false;
	return true;
}

/* The type in which VALUE travels inside a variant. Integers are always x, so that a counter does not change its type with its sign. */
static const char *variant_signature(json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_boolean:
		return "b";
	case json_type_int:
		return "x";
	case json_type_double:
		return "d";
	case json_type_array:
		return all_strings(value) ? "as" : "av";
	case json_type_object:
		return "a{sv}";
	case json_type_string:
		return "s";
	case json_type_null:
		break;
	}
	return NOTHING;
}

static int append_variant(sd_bus_message *message, json_object *value)
{
	const char *signature = variant_signature(value);
	TRY(sd_bus_message_open_container(message, 'v', signature));
	TRY(value_append(message, signature, value));
	return sd_bus_message_close_container(message);
}

static int append_dictionary(sd_bus_message *message, json_object *object)
{
	TRY(sd_bus_message_open_container(message, 'a', "{sv}"));
	if (json_object_is_type(object, json_type_object)) {
		json_object_object_foreach (object, key, member) {
			TRY(sd_bus_message_open_container(message, 'e', "sv"));
			TRY(append_text(message, key));
			TRY(append_variant(message, member));
			TRY(sd_bus_message_close_container(message));
		}
	}
	return sd_bus_message_close_container(message);
}

static int append_array(sd_bus_message *message, const char *contents, json_object *array)
{
	TRY(sd_bus_message_open_container(message, 'a', contents));
	for (size_t i = 0; json_object_is_type(array, json_type_array) && i < json_object_array_length(array); i++)
		TRY(value_append(message, contents, json_object_array_get_idx(array, i)));
	return sd_bus_message_close_container(message);
}

int value_append(sd_bus_message *message, const char *signature, json_object *value)
{
	if (strcmp(signature, "a{sv}") == 0)
		return append_dictionary(message, value);
	if (signature[0] == 'a')
		return append_array(message, signature + 1, value);
	if (signature[0] == 'v')
		return append_variant(message, value);
	return append_basic(message, signature[0], value);
}

/* What is read takes no more of the room than its JSON would. Counted before it is made: a byte on the bus may be a hundred in memory. */
static int take_room(size_t *room, size_t size)
{
	if (size > *room)
		return -EMSGSIZE;
	*room -= size;
	return 0;
}

static int read_basic(sd_bus_message *message, char type, size_t *room, json_object **ret)
{
	union {
		const char *text;
		int boolean;
		int64_t wide;
		uint64_t unsigned_wide;
		int32_t integer;
		uint32_t natural;
		int16_t small;
		uint16_t small_natural;
		uint8_t byte;
		double fraction;
	} value;
	if (!strchr("sogbtxuinqyd", type))
		return -EINVAL;
	int r = sd_bus_message_read_basic(message, type, &value);
	if (r <= 0)
		return r < 0 ? r : -ENXIO;
	TRY(take_room(room, strchr("sog", type) ? strlen(value.text) : 0));
	switch (type) {
	case 's':
	case 'o':
	case 'g':
		*ret = json_object_new_string(value.text);
		break;
	case 'b':
		*ret = json_object_new_boolean(value.boolean);
		break;
	case 't':
		*ret = json_object_new_uint64(value.unsigned_wide);
		break;
	case 'd':
		*ret = json_object_new_double(value.fraction);
		break;
	case 'x':
		*ret = json_object_new_int64(value.wide);
		break;
	case 'i':
		*ret = json_object_new_int64(value.integer);
		break;
	case 'u':
		*ret = json_object_new_int64(value.natural);
		break;
	case 'n':
		*ret = json_object_new_int64(value.small);
		break;
	case 'q':
		*ret = json_object_new_int64(value.small_natural);
		break;
	default: /* y */
		*ret = json_object_new_int64(value.byte);
	}
	return 0;
}

static int read_variant(sd_bus_message *message, size_t *room, json_object **ret)
{
	_cleanup_json_ json_object *value = NULL;
	const char *contents;
	TRY(sd_bus_message_peek_type(message, NULL, &contents));
	TRY(sd_bus_message_enter_container(message, 'v', contents));
	TRY(value_read(message, contents, room, &value));
	TRY(sd_bus_message_exit_container(message));
	*ret = STEAL(value);
	return 0;
}

static int read_dictionary(sd_bus_message *message, size_t *room, json_object **ret)
{
	_cleanup_json_ json_object *object = json_object_new_object();
	int r;
	TRY(sd_bus_message_enter_container(message, 'a', "{sv}"));
	while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
		json_object *value;
		const char *key;
		TRY(sd_bus_message_read_basic(message, 's', &key));
		TRY(take_room(room, ITEM_ROOM + strlen(key)));
		if (json_object_object_get_ex(object, key, NULL))
			return -EEXIST;
		TRY(read_variant(message, room, &value));
		json_object_object_add(object, key, value);
		TRY(sd_bus_message_exit_container(message));
	}
	TRY(r);
	TRY(sd_bus_message_exit_container(message));
	*ret = STEAL(object);
	return 0;
}

static int read_array(sd_bus_message *message, const char *contents, size_t *room, json_object **ret)
{
	_cleanup_json_ json_object *array = json_object_new_array();
	TRY(sd_bus_message_enter_container(message, 'a', contents));
	while (sd_bus_message_at_end(message, 0) == 0) {
		json_object *item;
		TRY(take_room(room, ITEM_ROOM));
		TRY(value_read(message, contents, room, &item));
		json_object_array_add(array, item);
	}
	TRY(sd_bus_message_exit_container(message));
	*ret = STEAL(array);
	return 0;
}

static int read_string_map(sd_bus_message *message, size_t *room, json_object **ret)
{
	_cleanup_json_ json_object *object = json_object_new_object();
	TRY(sd_bus_message_enter_container(message, 'a', "{ss}"));
	while (sd_bus_message_at_end(message, 0) == 0) {
		const char *name, *value;
		TRY(sd_bus_message_read(message, "{ss}", &name, &value));
		TRY(take_room(room, ITEM_ROOM + strlen(name) + strlen(value)));
		if (json_object_object_get_ex(object, name, NULL))
			return -EEXIST;
		json_object_object_add(object, name, json_object_new_string(value));
	}
	TRY(sd_bus_message_exit_container(message));
	*ret = STEAL(object);
	return 0;
}

int value_read(sd_bus_message *message, const char *signature, size_t *room, json_object **ret)
{
	if (strcmp(signature, "a{ss}") == 0)
		return read_string_map(message, room, ret);
	if (strcmp(signature, "a{sv}") == 0)
		return read_dictionary(message, room, ret);
	if (signature[0] == 'v')
		return read_variant(message, room, ret);
	if (signature[0] == 'a')
		return read_array(message, signature + 1, room, ret);
	return read_basic(message, signature[0], room, ret);
}

bool value_is_empty(json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_string:
		return json_object_get_string_len(value) == 0;
	case json_type_int:
		return json_object_get_uint64(value) == 0;
	case json_type_array:
		return json_object_array_length(value) == 0;
	case json_type_null:
		return true;
	case json_type_boolean:
	case json_type_double:
	case json_type_object:
		return false;
	}
	return false;
}

json_object *value_at(json_object *root, const char *pointer)
{
	json_object *found = root;
	while (found && *pointer == '/') {
		char member[MEMBER_MAX] = "";
		size_t length = strcspn(++pointer, "/");
		assert(length < sizeof member);
		memcpy(member, pointer, length);
		found = json_object_object_get(found, member);
		pointer += length;
	}
	return found;
}
