/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A tunnel's document. It is copied, completed by the secrets of the one it replaces, read through a table of its
 * members, given to its driver's check, and written anew in one order with every default filled in, so that what is
 * stored says all that holds. Members that may hold secrets are never quoted in a problem.
 */

#include "tunnel/config.h"

#include <errno.h>
#include <string.h>

#include "tunnel/config-secrets.h"
#include "tunnel/driver.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"

#define NETWORKS_MAX  1024 /* routes of one tunnel: the kernel takes more, nobody writes more by hand */
#define RESOLVERS_MAX 16
#define FIELD_ANY     (FIELD_STRING | FIELD_BOOLEAN | FIELD_NUMBER | FIELD_ARRAY | FIELD_OBJECT | FIELD_NULL)

const char TUNNEL_ID_RULE[] = "one to twelve of a-z, 0-9 and _, beginning with a letter";

bool tunnel_id_valid(const char *id)
{
	size_t length = strlen(id);
	return length >= 1 && length <= TUNNEL_ID_MAX && id[0] >= 'a' && id[0] <= 'z' &&
	       strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

/* A host name by RFC 1123: labels of letters, digits and hyphens; a last label of digits alone would be an address gone
 * wrong. */
static bool host_name_valid(const char *host)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
	size_t length = strlen(host);
	if (length == 0 || length > 253)
		return false;
	for (;;) {
		size_t label = strspn(host, allowed);
		if (label == 0 || label > 63 || host[0] == '-' || host[label - 1] == '-')
			return false;
		if (!host[label])
			return strspn(host, "0123456789") != label;
		if (host[label] != '.')
			return false;
		host += label + 1;
	}
}

int tunnel_endpoint_parse(const char *text, struct tunnel_endpoint *ret)
{
	/* A name is judged by what an address in its place would say of port and protocol. */
	struct tunnel_endpoint endpoint = {};
	const char *colon = strrchr(text, ':');
	if (!colon)
		return -EINVAL;
	endpoint.is_literal = endpoint_parse(text, &endpoint.endpoint) == 0;
	if (endpoint.is_literal && !ip_address_is_unicast(&endpoint.endpoint.address))
		return -EINVAL;
	_cleanup_free_ char *host = text_ndup(text, (size_t)(colon - text));
	if (!endpoint.is_literal) {
		_cleanup_free_ char *stand_in = text_format("192.0.2.1%s", colon);
		if (!host_name_valid(host) || endpoint_parse(stand_in, &endpoint.endpoint) < 0)
			return -EINVAL;
		endpoint.endpoint.address = (struct ip_address){.family = AF_UNSPEC};
	} else if (host[0] == '[') {
		memmove(host, host + 1, strlen(host));
		host[strlen(host) - 1] = 0;
	}
	endpoint.text = text_dup(text);
	endpoint.host = STEAL(host);
	*ret = endpoint;
	return 0;
}

void tunnel_endpoint_done(struct tunnel_endpoint *endpoint)
{
	free(endpoint->text);
	free(endpoint->host);
	*endpoint = (struct tunnel_endpoint){};
}

static const char *text_of(json_object *value)
{
	const char *text = json_object_get_string(value);
	return json_object_is_type(value, json_type_string) && strlen(text) == (size_t)json_object_get_string_len(value)
	               ? text
	               : NULL;
}

static void read_id(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct tunnel_config *config = context;
	const char *id = text_of(value);
	if (!id || !tunnel_id_valid(id)) {
		problems_error(problems, pointer, value, "is no tunnel's id: %s", TUNNEL_ID_RULE);
		return;
	}
	snprintf(config->id, sizeof config->id, "%s", id);
	snprintf(config->interface, sizeof config->interface, "hf-%s", id);
}

static void read_driver(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	_cleanup_text_ struct text known = TEXT_NULL;
	struct tunnel_config *config = context;
	const char *name = text_of(value);
	size_t count;
	config->driver = name ? driver_find(name) : NULL;
	if (config->driver)
		return;
	const struct driver *const *drivers = driver_all(&count);
	for (size_t i = 0; i < count; i++)
		text_append(&known, "%s%s", i ? ", " : "", drivers[i]->name);
	problems_error(problems, pointer, value, "is no driver; there are: %s", known.bytes);
}

/* Left to the driver, but for its type. */
static void read_settings(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (!json_object_is_type(value, json_type_object))
		problems_error(problems, pointer, NULL, "must be an object, is %s", json_type_article(value));
}

static void read_endpoint(
        struct tunnel_config *config, json_object *value, const char *pointer, struct problems *problems)
{
	char at[POINTER_MAX];
	json_object *address;
	if (!json_object_is_type(value, json_type_object)) {
		problems_error(problems, pointer, NULL, "must be an object, is %s", json_type_article(value));
		return;
	}
	pointer_member(at, pointer, "address");
	if (!json_object_object_get_ex(value, "address", &address))
		problems_error(problems, at, NULL, "is missing");
	else if (!text_of(address) ||
	         tunnel_endpoint_parse(text_of(address), &config->endpoints[config->endpoint_count]) < 0)
		problems_error(problems, at, address,
		        "is no endpoint; write ADDRESS:PORT/udp or /tcp, one host's address, IPv6 in brackets");
	else
		config->endpoint_count++;
}

static void read_endpoints(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct tunnel_config *config = context;
	char at[POINTER_MAX];
	if (!json_object_is_type(value, json_type_array)) {
		problems_error(problems, pointer, NULL, "must be an array, is %s", json_type_article(value));
		return;
	}
	size_t count = json_object_array_length(value);
	if (count > TUNNEL_ENDPOINTS_MAX) {
		problems_error(problems, pointer, NULL, "has %zu endpoints; at most %d are taken", count,
		        TUNNEL_ENDPOINTS_MAX);
		return;
	}
	config->endpoints = xcalloc(count, sizeof *config->endpoints);
	for (size_t i = 0; i < count; i++)
		read_endpoint(config, json_object_array_get_idx(value, i), pointer_index(at, pointer, i), problems);
}

static void read_routes(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct tunnel_config *config = context;
	char at[POINTER_MAX];
	if (json_object_is_type(value, json_type_string)) {
		if (strcmp(json_object_get_string(value), "all") != 0)
			problems_error(problems, pointer, value, "must be \"all\" or an array of networks");
		return;
	}
	size_t count = json_object_array_length(value);
	if (count == 0 || count > NETWORKS_MAX) {
		problems_error(problems, pointer, NULL, "has %zu networks; one to %d are taken", count, NETWORKS_MAX);
		return;
	}
	config->all = false;
	config->routes = xcalloc(count, sizeof *config->routes);
	for (size_t i = 0; i < count; i++) {
		json_object *item = json_object_array_get_idx(value, i);
		struct ip_prefix network;
		pointer_index(at, pointer, i);
		if (!text_of(item) || ip_prefix_parse(text_of(item), &network) < 0) {
			problems_error(problems, at, item, "is no network; write ADDRESS/LENGTH");
			continue;
		}
		config->routes[config->route_count] = ip_prefix_mask(network);
		if (!ip_prefix_equal(&network, &config->routes[config->route_count]))
			problems_error(problems, at, item, "has bits set beyond its length");
		config->route_count++;
	}
}

static void read_dns(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct tunnel_config *config = context;
	char at[POINTER_MAX];
	size_t count = json_object_array_length(value);
	if (count > RESOLVERS_MAX) {
		problems_error(
		        problems, pointer, NULL, "has %zu resolvers; at most %d are taken", count, RESOLVERS_MAX);
		return;
	}
	config->dns = xcalloc(count, sizeof *config->dns);
	for (size_t i = 0; i < count; i++) {
		json_object *item = json_object_array_get_idx(value, i);
		struct ip_address *address = &config->dns[config->dns_count];
		pointer_index(at, pointer, i);
		if (!text_of(item) || ip_address_parse(text_of(item), address) < 0)
			problems_error(problems, at, item, "is no address of a resolver");
		else if (ip_address_is_loopback(address))
			problems_error(
			        problems, at, item, "is a loopback address: it cannot be reached through the tunnel");
		else
			config->dns_count++;
	}
}

static void read_span(
        json_object *value, const char *pointer, uint64_t min, uint64_t max, uint64_t *ret, struct problems *problems)
{
	char low[DURATION_TEXT_MAX], high[DURATION_TEXT_MAX];
	uint64_t usec = min;
	field_duration(value, pointer, &usec, problems, NULL);
	if (usec < min || usec > max)
		problems_error(problems, pointer, value, "must be between %s and %s", duration_format(low, min),
		        duration_format(high, max));
	else
		*ret = usec;
}

static void read_connect_timeout(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_span(value, pointer, USEC_PER_SEC, 600 * USEC_PER_SEC, ret, problems);
}

static void read_interval(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_span(value, pointer, USEC_PER_SEC, 3600 * USEC_PER_SEC, ret, problems);
}

static void read_target(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (value && (!text_of(value) || ip_address_parse(text_of(value), ret) < 0))
		problems_error(problems, pointer, value, "is no address to probe");
}

static void read_health(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
	        {"enabled", FIELD_BOOLEAN, field_bool, offsetof(struct tunnel_config, health.enabled)},
	        {"interval", FIELD_STRING, read_interval, offsetof(struct tunnel_config, health.interval_usec)},
	        {"target", FIELD_STRING | FIELD_NULL, read_target, offsetof(struct tunnel_config, health.target)},
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, context, problems, context);
}

bool credential_name_valid(const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t length = strlen(name);
	return length >= 1 && length <= 32 && strspn(name, letters) == length;
}

/* A file's name alone, as systemd.exec(5) has credentials' names: never a path. */
static bool credential_file_valid(const char *name)
{
	return *name && strlen(name) <= 255 && !strchr(name, '/') && name[0] != '.';
}

static void read_system_credentials(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct tunnel_config *config = context;
	char at[POINTER_MAX];
	if (json_object_object_length(value) > CREDENTIALS_MAX) {
		problems_error(problems, pointer, NULL, "has more than %d members", CREDENTIALS_MAX);
		return;
	}
	config->credentials = xcalloc((size_t)json_object_object_length(value), sizeof *config->credentials);
	json_object_object_foreach(value, name, file)
	{
		pointer_member(at, pointer, name);
		if (!credential_name_valid(name))
			problems_error(problems, at, NULL, "is no credential's name: %s", CREDENTIAL_NAME_RULE);
		else if (!text_of(file) || !credential_file_valid(text_of(file)))
			problems_error(problems, at, file, "must name a credential of holdfast.service, not a path");
		else
			config->credentials[config->credential_count++] =
			        (struct tunnel_credential){text_dup(name), text_dup(text_of(file))};
	}
}

/* What tunnel_config_to_json() adds: it says what is set and is no setting. */
static void read_over(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
}

static const struct field fields[] = {
        {"id", FIELD_STRING, read_id, 0, .required = true},
        {"driver", FIELD_STRING, read_driver, 0, .required = true},
        {"settings", FIELD_ANY, read_settings, 0},
        {"endpoints", FIELD_ANY, read_endpoints, 0},
        {"routes", FIELD_STRING | FIELD_ARRAY, read_routes, 0},
        {"dns", FIELD_ARRAY, read_dns, 0},
        {"autostart", FIELD_BOOLEAN, field_bool, offsetof(struct tunnel_config, autostart)},
        {"connectTimeout", FIELD_STRING, read_connect_timeout, offsetof(struct tunnel_config, connect_timeout_usec)},
        {"health", FIELD_OBJECT, read_health, 0},
        {"systemdCredentials", FIELD_OBJECT, read_system_credentials, 0},
        {"secretsSet", FIELD_ARRAY, read_over, 0},
};

static json_object *duration_json(uint64_t usec)
{
	char text[DURATION_TEXT_MAX];
	return json_object_new_string(duration_format(text, usec));
}

static json_object *health_json(const struct tunnel_config *config)
{
	char text[IP_TEXT_MAX];
	json_object *health = json_object_new_object();
	json_object_object_add(health, "enabled", json_object_new_boolean(config->health.enabled));
	json_object_object_add(health, "interval", duration_json(config->health.interval_usec));
	json_object_object_add(health, "target",
	        config->health.target.family == AF_UNSPEC
	                ? NULL
	                : json_object_new_string(ip_address_format(text, &config->health.target)));
	return health;
}

static json_object *member_or(json_object *object, const char *key, json_object *(*make)(void))
{
	json_object *value;
	return json_object_object_get_ex(object, key, &value) ? json_object_get(value) : make();
}

/* The document in its one form: the documented order, every default written out. */
static json_object *complete(const struct tunnel_config *config, json_object *read)
{
	json_object *document = json_object_new_object();
	json_object_object_add(document, "id", json_object_new_string(config->id));
	json_object_object_add(document, "driver", json_object_new_string(config->driver->name));
	json_object_object_add(document, "settings", member_or(read, "settings", json_object_new_object));
	json_object_object_add(document, "endpoints", member_or(read, "endpoints", json_object_new_array));
	json_object_object_add(document, "routes", config->all ? json_object_new_string("all") : json_prefixes(config->routes, config->route_count));
	json_object_object_add(document, "dns", json_addresses(config->dns, config->dns_count));
	json_object_object_add(document, "autostart", json_object_new_boolean(config->autostart));
	json_object_object_add(document, "connectTimeout", duration_json(config->connect_timeout_usec));
	json_object_object_add(document, "health", health_json(config));
	if (config->credential_count)
		json_object_object_add(document, "systemdCredentials", json_object_get(json_object_object_get(read, "systemdCredentials")));
	return document;
}

static void check_driver(struct tunnel_config *config, json_object *read, const struct tunnel_config *previous,
        struct problems *problems)
{
	_cleanup_json_ json_object *settings = NULL, *endpoints = NULL;
	bool replaces = previous && previous->driver == config->driver && strcmp(previous->id, config->id) == 0;
	secrets_keep(read, replaces ? previous->document : NULL, config->driver);
	settings = member_or(read, "settings", json_object_new_object);
	endpoints = member_or(read, "endpoints", json_object_new_array);
	if (json_object_is_type(settings, json_type_object) && json_object_is_type(endpoints, json_type_array))
		config->driver->check(settings, endpoints, config, problems);
}

int tunnel_config_parse(json_object *document, const struct tunnel_config *previous, struct tunnel_config **ret,
        struct problems *problems)
{
	_cleanup_tunnel_config_ struct tunnel_config *config = xcalloc(1, sizeof *config);
	size_t errors = problems->errors;
	config->all = true;
	config->connect_timeout_usec = TUNNEL_CONNECT_TIMEOUT_USEC;
	config->health.enabled = true;
	config->health.interval_usec = TUNNEL_HEALTH_INTERVAL_USEC;
	if (!json_object_is_type(document, json_type_object)) {
		problems_error(problems, "", NULL, "must be an object, is %s", json_type_article(document));
		return -EINVAL;
	}
	if (json_object_deep_copy(document, &config->document, NULL) < 0)
		return -ENOMEM;
	fields_read(config->document, fields, ELEMENTSOF(fields), "", config, problems, config);
	if (config->driver)
		check_driver(config, config->document, previous, problems);
	if (problems->errors != errors)
		return -EINVAL;
	json_object *completed = complete(config, config->document);
	json_object_put(config->document);
	config->document = completed;
	*ret = STEAL(config);
	return 0;
}

int tunnel_config_read(json_object *document, struct tunnel_config **ret)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	int r = tunnel_config_parse(document, NULL, ret, &problems);
	if (r < 0) {
		_cleanup_free_ char *text = problems_to_text(&problems);
		log_error("the tunnel's document is not valid: %s", text);
	}
	return r;
}

struct tunnel_config *tunnel_config_free(struct tunnel_config *config)
{
	if (!config)
		return NULL;
	for (size_t i = 0; i < config->endpoint_count; i++)
		tunnel_endpoint_done(&config->endpoints[i]);
	free(config->endpoints);
	free(config->routes);
	free(config->dns);
	free(config->addresses);
	free(config->companions);
	free(config->user);
	free(config->program);
	for (size_t i = 0; i < config->credential_count; i++) {
		free(config->credentials[i].name);
		free(config->credentials[i].file);
	}
	free(config->credentials);
	json_wipe(config->document);
	json_object_put(config->document);
	free(config);
	return NULL;
}

json_object *tunnel_config_to_json(const struct tunnel_config *config)
{
	json_object *copy = NULL;
	if (json_object_deep_copy(config->document, &copy, NULL) < 0)
		return NULL;
	json_object_object_add(copy, "secretsSet", secrets_hide(copy, config->driver));
	return copy;
}
