/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/check-uri.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "util/macro.h"

#define NAME_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."

#define NAME_MAX_DNS	253
#define LABEL_MAX	63

static const struct {
	const char *prefix, *port;
	uint16_t number;
} schemes[] = {{"http://", "80", 80}, {"https://", "443", 443}};

static int refuse(const char **ret_reason, const char *reason)
{
	*ret_reason = reason;
	return -EINVAL;
}

/* Whether it can stand in a question (RFC 1035, 2.3.4): the gate takes no other. */
static bool is_name(const char *name)
{
	if (strlen(name) > NAME_MAX_DNS || strspn(name, NAME_CHARACTERS) < strlen(name))
		return false;
	for (size_t length;; name += length + 1) {
		length = strcspn(name, ".");
		if (length == 0 || length > LABEL_MAX)
			return false;
		if (!name[length])
			return true;
	}
}

/* "example.org", "192.0.2.1" or "[2001:db8::1]". */
static int read_host(const char *host, size_t length, struct check_target *ret)
{
	bool bracketed = length > 2 && host[0] == '[' && host[length - 1] == ']';
	host += bracketed;
	length -= bracketed ? 2 : 0;
	length -= !bracketed && length > 1 && host[length - 1] == '.';
	if (length == 0 || length >= sizeof ret->name)
		return -EINVAL;
	memcpy(ret->name, host, length);
	ret->name[length] = 0;
	bool literal = ip_address_parse(ret->name, &ret->host) == 0;
	if (literal && (ret->host.family == AF_INET6) == bracketed) {
		ret->name[0] = 0;
		return 0;
	}
	return literal || bracketed || !is_name(ret->name) ? -EINVAL : 0;
}

int check_uri_parse(const char *uri, struct check_target *ret, const char **ret_reason)
{
	*ret = (struct check_target){};
	for (size_t i = 0; i < ELEMENTSOF(schemes); i++) {
		size_t prefix = strlen(schemes[i].prefix);
		if (strncasecmp(uri, schemes[i].prefix, prefix) != 0)
			continue;
		const char *host = uri + prefix, *end = host + strcspn(host, "/?#");
		const char *port = host[0] == '[' ? memchr(host, ']', (size_t)(end - host)) : host;
		port = port ? memchr(port, ':', (size_t)(end - port)) : NULL;
		if (port && ((size_t)(end - port) != 1 + strlen(schemes[i].port) || strncmp(port + 1, schemes[i].port, strlen(schemes[i].port)) != 0))
			return refuse(ret_reason, "its uri names another port than 80 (http) or 443 (https)");
		if (read_host(host, (size_t)((port ? port : end) - host), ret) < 0)
			return refuse(ret_reason, "its uri has no host that can be let by");
		ret->port = schemes[i].number;
		return 0;
	}
	return refuse(ret_reason, uri[0] ? "its uri is neither http nor https" : "its check has no uri");
}
