/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What RFC 8259 forbids and json-c reads all the same, also when it is strict. */

#include <stdbool.h>
#include <stddef.h>

#include "util/problem.h"

/*
 * TEXT is what json-c has read without an error. NULL; or what about it is no JSON (static), *ret_offset: where. Other readers would
 * refuse it, or read something else.
 */
const char *json_text_fault(const char *text, size_t length, size_t *ret_offset);

/*
 * json-c keeps the last of two members of one name without a word. A document whose meaning depends on which of them a reader takes is
 * refused: an error is added for each member of TEXT, which is JSON, whose name its object has already. Whether there is one.
 */
bool json_text_repeats(const char *text, size_t length, struct problems *problems);
