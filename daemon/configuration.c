/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * holdfast.json, read through tables of its members. What one member alone cannot say (TLS without a certificate, an address that the
 * network reaches without TLS) is checked once all are read.
 */

#include "daemon/configuration.h"

#include <errno.h>
#include <string.h>

#include "util/fields.h"
#include "util/text.h"

#define LIMIT_MAX 4096
#define TIMEOUT_MIN_USEC USEC_PER_SEC
#define TIMEOUT_MAX_USEC (3600 * USEC_PER_SEC)

struct configuration *configuration_default(void)
{
	struct configuration *configuration = xcalloc(1, sizeof *configuration);
	configuration->references = 1;
	return configuration;
}

struct configuration *configuration_ref(struct configuration *configuration)
{
	configuration->references++;
	return configuration;
}

struct configuration *configuration_unref(struct configuration *configuration)
{
	if (!configuration || --configuration->references > 0)
		return NULL;
	free(configuration->tls.certificate);
	free(configuration->tls.key);
	free(configuration->tls.client_ca);
	for (size_t i = 0; i < configuration->client_count; i++) {
		free(configuration->clients[i].subject);
		free(configuration->clients[i].san);
	}
	for (size_t i = 0; i < configuration->host_count; i++)
		free(configuration->hosts[i]);
	json_object_put(configuration->document);
	free(configuration);
	return NULL;
}

/* The elements that may be read: too many are an error, and then none. */
static size_t bounded(json_object *array, const char *pointer, size_t most, struct problems *problems)
{
	size_t count = json_object_array_length(array);
	if (count <= most)
		return count;
	problems_error(problems, pointer, NULL, "has %zu members; at most %zu are taken", count, most);
	return 0;
}

/* ---- listen ---- */

static void read_address(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct listener_settings *listener = ret;
	const char *text = json_object_get_string(value);
	_cleanup_free_ char *endpoint = text_format("%s/tcp", text);
	if (strlen(text) >= sizeof listener->text || endpoint_parse(endpoint, &listener->address) < 0)
		problems_error(problems, pointer, value, "is no address with a port; write 127.0.0.1:9480 or [::1]:9480");
	else
		strcpy(listener->text, text);
}

static void read_listener(json_object *value, const char *pointer, struct configuration *configuration, struct problems *problems)
{
	struct item {
		struct listener_settings listener;
		bool tls, tls_given;
	} item = {};
	static const struct field fields[] = {
		{"address", FIELD_STRING, read_address, offsetof(struct item, listener), true},
		{"tls", FIELD_BOOLEAN, field_bool, offsetof(struct item, tls), false},
	};
	char at[POINTER_MAX];
	if (!fields_read(value, fields, ELEMENTSOF(fields), pointer, &item, problems, NULL))
		return;
	bool loopback = ip_address_is_loopback(&item.listener.address.address);
	item.tls_given = json_object_object_get_ex(value, "tls", NULL);
	item.listener.tls = item.tls_given ? item.tls : !loopback;
	if (!item.listener.tls && !loopback)
		problems_error(problems, pointer_member(at, pointer, "tls"), json_object_object_get(value, "tls"),
			"must be true: without TLS only addresses of loopback are listened on");
	else
		configuration->listeners[configuration->listener_count++] = item.listener;
}

static void read_listen(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	size_t count = bounded(value, pointer, CONFIGURATION_LISTENERS_MAX, problems);
	char at[POINTER_MAX];
	for (size_t i = 0; i < count; i++)
		read_listener(json_object_array_get_idx(value, i), pointer_index(at, pointer, i), ret, problems);
}

/* ---- tls ---- */

static void read_path(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (json_object_get_string(value)[0] != '/')
		problems_error(problems, pointer, value, "must be an absolute path");
	else
		field_text(value, pointer, ret, problems, context);
}

static void read_tls(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"certificate", FIELD_STRING, read_path, offsetof(struct tls_files, certificate), true},
		{"key", FIELD_STRING, read_path, offsetof(struct tls_files, key), true},
		{"clientCa", FIELD_STRING, read_path, offsetof(struct tls_files, client_ca), false},
	};
	struct configuration *configuration = ret;
	configuration->has_tls = fields_read(value, fields, ELEMENTSOF(fields), pointer, &configuration->tls, problems, NULL);
}

/* ---- clients ---- */

static void read_scope(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	enum scope scope;
	if (scope_from_string(json_object_get_string(value), &scope) < 0 || scope == SCOPE_NONE)
		problems_error(problems, pointer, value, "is no scope; there are read, control and admin");
	else
		*(enum scope *)ret = scope;
}

static void read_san(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const char *const kinds[] = {"DNS:", "email:", "URI:"};
	const char *text = json_object_get_string(value);
	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		if (strncmp(text, kinds[i], strlen(kinds[i])) == 0 && text[strlen(kinds[i])]) {
			field_text(value, pointer, ret, problems, context);
			return;
		}
	problems_error(problems, pointer, value, "must begin with DNS:, email: or URI:");
}

static void read_client(json_object *value, const char *pointer, struct configuration *configuration, struct problems *problems)
{
	static const struct field fields[] = {
		{"subject", FIELD_STRING, field_text, offsetof(struct client_settings, subject), false},
		{"san", FIELD_STRING, read_san, offsetof(struct client_settings, san), false},
		{"scope", FIELD_STRING, read_scope, offsetof(struct client_settings, scope), true},
	};
	struct client_settings *client = &configuration->clients[configuration->client_count++];
	if (fields_read(value, fields, ELEMENTSOF(fields), pointer, client, problems, NULL) && !client->subject == !client->san)
		problems_error(problems, pointer, value, "must name its client by one of subject and san");
}

static void read_clients(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	size_t count = bounded(value, pointer, CONFIGURATION_CLIENTS_MAX, problems);
	char at[POINTER_MAX];
	for (size_t i = 0; i < count; i++)
		read_client(json_object_array_get_idx(value, i), pointer_index(at, pointer, i), ret, problems);
}

/* ---- hosts ---- */

static bool is_host_name(const char *text)
{
	size_t length = strlen(text);
	return length > 0 && length < 254 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-") == length && text[0] != '.' && text[0] != '-';
}

static void read_hosts(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct configuration *configuration = ret;
	size_t count = bounded(value, pointer, CONFIGURATION_HOSTS_MAX, problems);
	char at[POINTER_MAX];
	for (size_t i = 0; i < count; i++) {
		json_object *host = json_object_array_get_idx(value, i);
		pointer_index(at, pointer, i);
		if (!json_object_is_type(host, json_type_string) || !is_host_name(json_object_get_string(host)))
			problems_error(problems, at, host, "is no host's name in lower case");
		else
			configuration->hosts[configuration->host_count++] = text_dup(json_object_get_string(host));
	}
}

/* ---- limits ---- */

static void read_count(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	int64_t count = json_object_get_int64(value);
	if (count < 1 || count > LIMIT_MAX)
		problems_error(problems, pointer, value, "must be from 1 to %d", LIMIT_MAX);
	else
		*(uint64_t *)ret = (uint64_t)count;
}

static void read_timeout(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	size_t errors = problems->errors;
	uint64_t usec = 0;
	field_duration(value, pointer, &usec, problems, context);
	if (problems->errors > errors)
		return;
	if (usec < TIMEOUT_MIN_USEC || usec > TIMEOUT_MAX_USEC)
		problems_error(problems, pointer, value, "must be from 1s to 1h");
	else
		*(uint64_t *)ret = usec;
}

static void read_limits(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"connections", FIELD_INTEGER, read_count, offsetof(struct limit_settings, connections), false},
		{"streams", FIELD_INTEGER, read_count, offsetof(struct limit_settings, streams), false},
		{"calls", FIELD_INTEGER, read_count, offsetof(struct limit_settings, calls), false},
		{"requestTimeout", FIELD_STRING, read_timeout, offsetof(struct limit_settings, request_usec), false},
		{"idleTimeout", FIELD_STRING, read_timeout, offsetof(struct limit_settings, idle_usec), false},
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, NULL);
}

/* ---- the whole ---- */

static void check_whole(const struct configuration *configuration, struct problems *problems)
{
	for (size_t i = 0; i < configuration->listener_count; i++)
		if (configuration->listeners[i].tls && !configuration->has_tls) {
			problems_error(problems, "/api/tls", NULL, "is missing: %s is to be listened on with TLS, which takes a certificate and a key",
				configuration->listeners[i].text);
			break;
		}
	if (configuration->client_count > 0 && !configuration->tls.client_ca)
		problems_error(problems, "/api/clients", NULL, "needs the certificate of the CA that verifies them, /api/tls/clientCa");
}

static void read_api(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
		{"listen", FIELD_ARRAY, read_listen, 0, false},
		{"tls", FIELD_OBJECT, read_tls, 0, false},
		{"clients", FIELD_ARRAY, read_clients, 0, false},
		{"hosts", FIELD_ARRAY, read_hosts, 0, false},
		{"limits", FIELD_OBJECT, read_limits, offsetof(struct configuration, limits), false},
	};
	if (fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, NULL))
		check_whole(ret, problems);
}

int configuration_parse(json_object *document, struct configuration **ret, struct problems *problems)
{
	static const struct field fields[] = {{"api", FIELD_OBJECT, read_api, 0, false}};
	_cleanup_(configuration_unrefp) struct configuration *configuration = configuration_default();
	if (!fields_read(document, fields, ELEMENTSOF(fields), "", configuration, problems, NULL))
		return -EINVAL;
	configuration->document = json_object_get(document);
	*ret = STEAL(configuration);
	return 0;
}

bool configuration_equal(const struct configuration *a, const struct configuration *b)
{
	return json_object_equal(a->document, b->document);
}
