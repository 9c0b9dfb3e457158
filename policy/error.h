/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The errors of tunnels: one list (error.def), from which the enumeration, the names and the documents grow. */

#include <stdbool.h>

#include "util/string-table.h"

enum tunnel_error {
	TUNNEL_ERROR_NONE, /* no error; its name is "none" and it cannot be parsed */
#define ERROR(constant, name, class, meaning) TUNNEL_ERROR_##constant,
#include "policy/error.def"
#undef ERROR
	TUNNEL_ERROR_COUNT,
};

enum error_class {
	ERROR_CLASS_NONE, /* reasons of stops that nobody decides on */
	ERROR_CLASS_TRANSIENT,
	ERROR_CLASS_PERMANENT,
	ERROR_CLASS_LOCAL,
};

STRING_TABLE(tunnel_error, enum tunnel_error);
STRING_TABLE(error_class, enum error_class);

enum error_class tunnel_error_class(enum tunnel_error error);
const char *tunnel_error_meaning(enum tunnel_error error);

/* Whether somebody decides on a stop with this error, and so whether a rule may name it. */
bool tunnel_error_is_decidable(enum tunnel_error error);
