/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is wrong with a document: every finding has a JSON Pointer (RFC 6901), the offending value and a sentence. Checks add to
 * the list and go on, so that a person sees all errors at once. A warning does not make the document invalid.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/macro.h"

#define PROBLEMS_MAX 100 /* errors kept, and as many warnings; after that only the count grows: a hostile document must not cost memory */
#define POINTER_MAX 256	 /* longest JSON Pointer kept; longer ones are cut */

struct problem {
	bool warning;
	char *pointer;
	char *value; /* compact JSON of what stood there, cut at 80 bytes; NULL where there is none */
	char *detail;
};

struct problems {
	struct problem *items;
	size_t count;	    /* kept in items */
	size_t errors;	    /* all, those not kept included; no number of warnings keeps an error out */
	size_t warnings;
};

#define PROBLEMS_NULL                                                                                                      \
	(struct problems)                                                                                                  \
	{                                                                                                                  \
	}

void problems_done(struct problems *problems);
#define _cleanup_problems_ _cleanup_(problems_done)

/* Adds an error or a warning. VALUE may be NULL. Values of members that hold secrets must be passed as NULL. */
void problems_error(struct problems *problems, const char *pointer, json_object *value, const char *format, ...) _printf_(4, 5);
void problems_warning(struct problems *problems, const char *pointer, json_object *value, const char *format, ...) _printf_(4, 5);

/* [{"pointer": …, "value": …, "detail": …}] of the errors, or of the warnings; a last one, of the whole document, says how many were not
 * kept. The caller owns it. */
json_object *problems_to_json(const struct problems *problems, bool warnings);

/* One line per finding, for logs and terminals. The caller frees it. */
char *problems_to_text(const struct problems *problems);

/* BUFFER = POINTER "/" KEY with RFC 6901 escaping, or "/" INDEX. Returns BUFFER, which has POINTER_MAX bytes. */
const char *pointer_member(char *buffer, const char *pointer, const char *key);
const char *pointer_index(char *buffer, const char *pointer, size_t index);
