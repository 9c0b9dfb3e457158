/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a request says, as the arguments of a call: path, query and body read by the parameters of the operation's row.
 * Strict: an unknown parameter or member, a wrong type and a missing one are named, all at once. Pure.
 */

#include <stdbool.h>
#include <stddef.h>

#include "api/uri.h"
#include "daemon/operations.h"

/* Whether every parameter of OPERATION has a type that requests can say. */
bool arguments_readable(const struct operation *operation);

/* Whether a body of the media type TYPE (as sent, or NULL) may go to OPERATION. If not, *ret_detail says what would do;
 * to be freed. */
bool arguments_media_type(const struct operation *operation, const char *type, char **ret_detail);

/*
 * Fills CALL's arguments, document, text and dry_run. OUTCOME_OK, or the outcome that refuses the request, with CALL's
 * problems and detail set. BODY may be NULL if LENGTH is 0.
 */
enum outcome arguments_read(struct operation_call *call, const struct uri *uri, const char *body, size_t length);

/*
 * If-Match as the operations want it: *ret is the entity tag without quotes, "*", or NULL where HEADER is NULL. A weak
 * tag is kept with its W/, which equals no ETag of ours: If-Match compares strongly (RFC 9110, 13.1.1). False for a
 * list.
 */
bool arguments_if_match(const char *header, char **ret);

/* Whether the If-None-Match HEADER names ETAG (weak comparison, RFC 9110, 13.1.2), "*" included. */
bool arguments_none_match(const char *header, const char *etag);
