/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A request target (RFC 9112, origin form or absolute form) taken apart: the segments of its path and the parameters of
 * its query, each decoded by itself, so that an escaped slash never becomes a separator.
 */

#include <stddef.h>

#define URI_SEGMENTS_MAX   8
#define URI_PARAMETERS_MAX 16

struct uri_parameter {
	const char *name;
	const char *value; /* "" where there was no "=" */
};

struct uri {
	char *bytes; /* what the others point into */
	char *authority; /* of an absolute form, which then counts instead of Host; NULL: it is none */
	const char *segments[URI_SEGMENTS_MAX];
	size_t segment_count;
	struct uri_parameter query[URI_PARAMETERS_MAX];
	size_t query_count;
};

/*
 * Returns 0; -EINVAL for a bad escape, an escaped NUL, text that is no UTF-8, or what is no path at all; -E2BIG for
 * more segments or parameters than any operation has. On errors *ret is empty.
 */
int uri_parse(const char *target, struct uri *ret);
void uri_done(struct uri *uri);
