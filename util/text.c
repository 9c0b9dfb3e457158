/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Growing text, and allocation that cannot fail quietly. */

#include "util/text.h"

#include <string.h>

static void *checked(void *pointer)
{
	static const char message[] = "holdfast: out of memory; the gate stays as it is\n";
	if (pointer)
		return pointer;
	if (write(STDERR_FILENO, message, sizeof message - 1) < 0)
		_exit(EXIT_FAILURE);
	abort();
}

void *xrealloc(void *pointer, size_t size)
{
	return checked(realloc(pointer, size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
	return checked(calloc(count ? count : 1, size ? size : 1));
}

char *text_dup(const char *string)
{
	return string ? checked(strdup(string)) : NULL;
}

char *text_ndup(const char *bytes, size_t length)
{
	return checked(strndup(bytes, length));
}

char *text_vformat(const char *format, va_list arguments)
{
	char *string = NULL;
	if (vasprintf(&string, format, arguments) < 0)
		string = NULL;
	return checked(string);
}

char *text_format(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *string = text_vformat(format, arguments);
	va_end(arguments);
	return string;
}

void text_done(struct text *text)
{
	free(text->bytes);
	*text = TEXT_NULL;
}

static void reserve(struct text *text, size_t more)
{
	size_t needed = text->length + more + 1;
	if (needed <= text->allocated)
		return;
	text->allocated = MAX_OF(needed, MAX_OF(text->allocated * 2, (size_t)256));
	text->bytes = xrealloc(text->bytes, text->allocated);
}

void text_append_bytes(struct text *text, const char *bytes, size_t length)
{
	reserve(text, length);
	if (length)
		memcpy(text->bytes + text->length, bytes, length);
	text->length += length;
	text->bytes[text->length] = 0;
}

void text_append(struct text *text, const char *format, ...)
{
	va_list arguments, again;
	va_start(arguments, format);
	va_copy(again, arguments);
	reserve(text, 128);
	size_t room = text->allocated - text->length;
	int length = vsnprintf(text->bytes + text->length, room, format, arguments);
	if (length < 0)
		abort();
	if ((size_t)length >= room) {
		reserve(text, (size_t)length);
		vsnprintf(text->bytes + text->length, (size_t)length + 1, format, again);
	}
	text->length += (size_t)length;
	va_end(again);
	va_end(arguments);
}

char *text_steal(struct text *text)
{
	char *bytes = text->bytes ? text->bytes : text_dup("");
	*text = TEXT_NULL;
	return bytes;
}

size_t utf8_sequence(const uint8_t *bytes, size_t left)
{
	static const struct {
		uint8_t first, last, second_first, second_last;
		size_t length;
	} rows[] = {
		{0x00, 0x7f, 0, 0, 1},
		{0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
		if (bytes[0] < rows[i].first || bytes[0] > rows[i].last || rows[i].length > left)
			continue;
		if (rows[i].length > 1 && (bytes[1] < rows[i].second_first || bytes[1] > rows[i].second_last))
			return 0;
		for (size_t k = 2; k < rows[i].length; k++)
			if ((bytes[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].length;
	}
	return 0;
}

size_t utf8_prefix(const char *string, size_t limit)
{
	size_t length = strnlen(string, limit + 1);
	if (length <= limit)
		return length;
	while (limit > 0 && ((unsigned char)string[limit] & 0xc0) == 0x80)
		limit--;
	return limit;
}

void wipe(void *memory, size_t length)
{
	if (memory)
		explicit_bzero(memory, length);
}

void wipe_freep(char **string)
{
	if (*string)
		wipe(*string, strlen(*string));
	free(*string);
	*string = NULL;
}

bool text_is_utf8(const char *bytes, size_t length)
{
	for (size_t step; length; bytes += step, length -= step)
		if ((step = utf8_sequence((const uint8_t *)bytes, length)) == 0)
			return false;
	return true;
}

bool text_has_control(const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f)
			return true;
	return false;
}
