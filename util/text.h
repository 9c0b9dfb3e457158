/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Growing text, and allocation that cannot fail quietly. Running out of memory ends the process with a message: the gate lives in
 * the kernel and stays as it is, and half a decision is worse than a restart.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"

void *xrealloc(void *pointer, size_t size);
void *xcalloc(size_t count, size_t size);

/* Whether LENGTH BYTES are UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool text_is_utf8(const char *bytes, size_t length);
/* Whether it is more than one line to whoever reads or logs it: a control character of ASCII (below 0x20, or 0x7f), NUL included, stands in it. */
bool text_has_control(const char *bytes, size_t length);

char *text_dup(const char *string); /* NULL gives NULL */
char *text_ndup(const char *bytes, size_t length);
char *text_format(const char *format, ...) _printf_(1, 2);
char *text_vformat(const char *format, va_list arguments) _printf_(1, 0);

struct text {
	char *bytes; /* always ends in NUL once anything was appended */
	size_t length;
	size_t allocated;
};

#define TEXT_NULL                                                                                                          \
	(struct text)                                                                                                      \
	{                                                                                                                  \
	}

void text_done(struct text *text);
#define _cleanup_text_ _cleanup_(text_done)
void text_append(struct text *text, const char *format, ...) _printf_(2, 3);
void text_append_bytes(struct text *text, const char *bytes, size_t length);
/* The bytes ("" where nothing was appended); TEXT is empty afterwards. The caller frees them. */
char *text_steal(struct text *text);

/* Bytes of the well-formed UTF-8 sequence at BYTES, of which LEFT (at least 1) are there (RFC 3629, section 4); 0: there is none. */
size_t utf8_sequence(const uint8_t *bytes, size_t left);

/* The longest prefix of at most LIMIT bytes that does not end inside a UTF-8 sequence. */
size_t utf8_prefix(const char *string, size_t limit);

/* Overwrites memory that held a secret; the compiler may not drop it. */
void wipe(void *memory, size_t length);

/* A destructor for text that holds a secret: wipes, then frees. */
void wipe_freep(char **string);
#define _cleanup_wipe_ _cleanup_(wipe_freep)
