/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Paths of the table against paths of requests, segment by segment. */

#include "api/route.h"

#include <string.h>

#include "util/macro.h"

/* The segment of TEMPLATE that *CURSOR stands at, without its slash; advances. Returns its length, or 0 at the end. */
static size_t next_segment(const char **cursor, const char **ret)
{
	if (**cursor != '/')
		return 0;
	*ret = *cursor + 1;
	*cursor = strchrnul(*ret, '/');
	return (size_t)(*cursor - *ret);
}

static bool is_parameter(const char *segment)
{
	return segment[0] == '{';
}

/* Whether TEMPLATE is the path of URI beneath /v1. */
static bool matches(const char *template, const struct uri *uri)
{
	size_t i = 1, length;
	for (const char *segment; (length = next_segment(&template, &segment)); i++) {
		if (i == uri->segment_count || uri->segments[i][0] == 0)
			return false;
		if (is_parameter(segment))
			continue;
		if (strlen(uri->segments[i]) != length || memcmp(uri->segments[i], segment, length) != 0)
			return false;
	}
	return i == uri->segment_count;
}

/* No template begins with a parameter: most rows are told apart by a letter. */
static bool may_match(const char *template, const struct uri *uri)
{
	return template && template[1] == uri->segments[1][0];
}

static void allow_add(char allow[ROUTE_ALLOW_MAX], const char *method)
{
	size_t length = strlen(allow);
	if (strstr(allow, method))
		return;
	snprintf(allow + length, ROUTE_ALLOW_MAX - length, "%s%s", length ? ", " : "", method);
	if (strcmp(method, "GET") == 0)
		allow_add(allow, "HEAD");
}

enum route_result route_find(const struct uri *uri, const char *method, bool stream, const struct operation **ret,
	char allow[ROUTE_ALLOW_MAX])
{
	size_t count;
	const struct operation *operations = operations_all(&count), *found = NULL;
	const char *effective = strcmp(method, "HEAD") == 0 ? "GET" : method;
	allow[0] = 0;
	*ret = NULL;
	if (uri->segment_count < 2 || strcmp(uri->segments[0], ROUTE_VERSION) != 0)
		return ROUTE_NO_PATH;
	for (size_t i = 0; i < count; i++) {
		const struct operation *operation = &operations[i];
		if (!may_match(operation->path, uri) || !matches(operation->path, uri))
			continue;
		allow_add(allow, operation->method);
		if (strcmp(operation->method, effective) == 0 &&
			(!found || stream == !!(operation->flags & OPERATION_STREAM)))
			found = operation;
	}
	*ret = found;
	return found ? ROUTE_FOUND : allow[0] ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}

const char *route_parameter(const struct operation *operation, const struct uri *uri, const char *name)
{
	const char *cursor = operation->path, *segment;
	size_t length, wanted = strlen(name);
	for (size_t i = 1; (length = next_segment(&cursor, &segment)) && i < uri->segment_count; i++)
		if (is_parameter(segment) && length == wanted + 2 && memcmp(segment + 1, name, wanted) == 0)
			return uri->segments[i];
	return NULL;
}
