/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What RFC 8259 forbids and json-c reads all the same, also when it is strict. */

#include <stddef.h>

/*
 * TEXT is what json-c has read without an error. NULL; or what about it is no JSON (static), *ret_offset: where. Other readers would
 * refuse it, or read something else.
 */
const char *json_text_fault(const char *text, size_t length, size_t *ret_offset);

/* The JSON Pointer of the first member of TEXT, in which there is no fault, that its object has already. BUFFER has POINTER_MAX bytes. */
const char *json_text_duplicate(const char *text, size_t length, char *buffer);
