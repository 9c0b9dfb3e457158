/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which operation a method and a path mean, from the paths of the table. Pure. */

#include <stdbool.h>

#include "api/uri.h"
#include "daemon/operations.h"

#define ROUTE_VERSION   "v1"
#define ROUTE_ALLOW_MAX 64

enum route_result {
	ROUTE_FOUND,
	ROUTE_NO_PATH,   /* 404 */
	ROUTE_NO_METHOD, /* 405 */
};

/*
 * HEAD counts as GET. Where two rows have the same method and path, STREAM chooses between the one that is a stream and
 * the one that is not. With ROUTE_NO_METHOD, ALLOW has the methods of the path: "GET, HEAD, PUT".
 */
enum route_result route_find(const struct uri *uri, const char *method, bool stream, const struct operation **ret,
	char allow[ROUTE_ALLOW_MAX]);

/* The decoded text of {NAME} of OPERATION's path in URI, which must match it; NULL where the path has no such
 * parameter. */
const char *route_parameter(const struct operation *operation, const struct uri *uri, const char *name);
