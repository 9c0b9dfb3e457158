/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The errors of tunnels, from error.def. */

#include "policy/error.h"

static const char *const error_names[] = {
	[TUNNEL_ERROR_NONE] = "none",
#define ERROR(constant, name, class, meaning) [TUNNEL_ERROR_##constant] = name,
#include "policy/error.def"
#undef ERROR
};

static const char *const class_names[] = {
	[ERROR_CLASS_NONE] = "none",
	[ERROR_CLASS_TRANSIENT] = "transient",
	[ERROR_CLASS_PERMANENT] = "permanent",
	[ERROR_CLASS_LOCAL] = "local",
};

static const enum error_class classes[] = {
	[TUNNEL_ERROR_NONE] = ERROR_CLASS_NONE,
#define ERROR(constant, name, class, meaning) [TUNNEL_ERROR_##constant] = ERROR_CLASS_##class,
#include "policy/error.def"
#undef ERROR
};

static const char *const meanings[] = {
	[TUNNEL_ERROR_NONE] = "no error",
#define ERROR(constant, name, class, meaning) [TUNNEL_ERROR_##constant] = meaning,
#include "policy/error.def"
#undef ERROR
};

DEFINE_STRING_TABLE(tunnel_error, enum tunnel_error, error_names);
DEFINE_STRING_TABLE(error_class, enum error_class, class_names);

enum error_class tunnel_error_class(enum tunnel_error error)
{
	return (size_t)error < ELEMENTSOF(classes) ? classes[error] : ERROR_CLASS_NONE;
}

const char *tunnel_error_meaning(enum tunnel_error error)
{
	return (size_t)error < ELEMENTSOF(meanings) ? meanings[error] : "?";
}

bool tunnel_error_is_decidable(enum tunnel_error error)
{
	return tunnel_error_class(error) != ERROR_CLASS_NONE;
}
