/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Enumerations that have names. STRING_TABLE declares two functions, DEFINE_STRING_TABLE makes them from an array indexed by the
 * enumeration: NAME_to_string() never returns NULL ("?" for a value that has no name), NAME_from_string() returns 0 and sets
 * *ret, or -EINVAL for a string that is no name (NULL included).
 */

#include <errno.h>
#include <string.h>

#include "util/macro.h"

#define STRING_TABLE(name, type)                                                                                           \
	const char *name##_to_string(type value);                                                                          \
	int name##_from_string(const char *string, type *ret)

#define DEFINE_STRING_TABLE(name, type, names)                                                                             \
	const char *name##_to_string(type value)                                                                           \
	{                                                                                                                  \
		size_t index = (size_t)value;                                                                              \
		return index < ELEMENTSOF(names) && names[index] ? names[index] : "?";                                     \
	}                                                                                                                  \
	int name##_from_string(const char *string, type *ret)                                                              \
	{                                                                                                                  \
		for (size_t i = 0; string && i < ELEMENTSOF(names); i++)                                                   \
			if (names[i] && strcmp(names[i], string) == 0) {                                                   \
				*ret = (type)i;                                                                            \
				return 0;                                                                                  \
			}                                                                                                  \
		return -EINVAL;                                                                                            \
	}                                                                                                                  \
	_Static_assert(ELEMENTSOF(names) > 0, "a string table is never empty")
