/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Request targets, taken apart in place in one copy: decoding never makes text longer. */

#include "api/uri.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "util/text.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes TEXT in place. In a query "+" is a space, as forms write it. */
static int decode(char *text, bool plus)
{
	char *to = text;
	for (const char *from = text; *from; from++) {
		if (*from != '%') {
			*to++ = plus && *from == '+' ? ' ' : *from;
			continue;
		}
		int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
		if (low < 0 || (high == 0 && low == 0))
			return -EINVAL;
		*to++ = (char)(high << 4 | low);
		from += 2;
	}
	*to = 0;
	return text_is_utf8(text, strlen(text)) ? 0 : -EINVAL;
}

static int split_path(char *path, struct uri *uri)
{
	if (path[0] == 0)
		return 0; /* "/" alone */
	for (char *segment; (segment = strsep(&path, "/"));) {
		if (uri->segment_count == URI_SEGMENTS_MAX)
			return -E2BIG;
		if (decode(segment, false) < 0)
			return -EINVAL;
		uri->segments[uri->segment_count++] = segment;
	}
	return 0;
}

static int split_query(char *query, struct uri *uri)
{
	for (char *value; (value = strsep(&query, "&"));) {
		char *name = strsep(&value, "=");
		if (name[0] == 0 && !value)
			continue; /* "a=1&&b=2" */
		if (uri->query_count == URI_PARAMETERS_MAX)
			return -E2BIG;
		if (decode(name, true) < 0 || (value && decode(value, true) < 0))
			return -EINVAL;
		uri->query[uri->query_count++] = (struct uri_parameter){name, value ? value : ""};
	}
	return 0;
}

/* The authority of "http://host/path" (RFC 9112, 3.2.2), which a server must take; NULL where TARGET is no such form. */
static const char *find_authority(const char *target)
{
	if (strncmp(target, "http://", 7) != 0 && strncmp(target, "https://", 8) != 0)
		return NULL;
	return strstr(target, "//") + 2;
}

int uri_parse(const char *target, struct uri *ret)
{
	const char *authority = find_authority(target), *rest = authority ? strchrnul(authority, '/') : target;
	struct uri uri = {.bytes = text_dup(rest), .authority = authority ? text_ndup(authority, (size_t)(rest - authority)) : NULL};
	char *query = uri.bytes;
	char *path = strsep(&query, "?");
	int r = path[0] == '/' ? split_path(path + 1, &uri) : -EINVAL;
	if (r == 0 && query)
		r = split_query(query, &uri);
	if (r < 0)
		uri_done(&uri);
	*ret = uri;
	return r;
}

void uri_done(struct uri *uri)
{
	free(uri->bytes);
	free(uri->authority);
	*uri = (struct uri){};
}
