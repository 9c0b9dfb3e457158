/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading the `command` driver's settings. Everything is checked here, so that nothing of it can fail once traffic is held. */

#include "tunnel/command-settings.h"

#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <string.h>

#include "util/duration.h"
#include "util/fields.h"
#include "util/text.h"

#define MTU_MIN           576
#define MTU_MAX           65535
#define ADDRESSES_MAX     16
#define WATCHDOG_MAX_USEC (3600 * USEC_PER_SEC)

static const char *text_of(json_object *value)
{
	const char *text = json_object_get_string(value);
	return json_object_is_type(value, json_type_string) && strlen(text) == (size_t)json_object_get_string_len(value)
	               ? text
	               : NULL;
}

static void done_pattern(struct command_pattern *pattern)
{
	free(pattern->glob);
	if (pattern->regex)
		regfree(pattern->regex);
	free(pattern->regex);
	*pattern = (struct command_pattern){};
}

static void free_texts(char **texts)
{
	for (char **text = texts; text && *text; text++)
		free(*text);
	free(texts);
}

void command_settings_done(struct command_settings *settings)
{
	free_texts(settings->arguments);
	free_texts(settings->environment);
	free_texts(settings->asks);
	free(settings->user);
	done_pattern(&settings->up_line);
	for (size_t i = 0; i < settings->error_count; i++)
		done_pattern(&settings->errors[i].line);
	free(settings->errors);
	free(settings->addresses);
	free(settings->servers);
	*settings = (struct command_settings){};
}

/* The strings of VALUE, at most MAX, each of which FITS. */
static char **read_texts(json_object *value, const char *pointer, size_t max, bool (*fits)(const char *),
        const char *rule, struct problems *problems)
{
	char at[POINTER_MAX];
	size_t count = json_object_array_length(value);
	if (count > max) {
		problems_error(problems, pointer, NULL, "has %zu entries; at most %zu are taken", count, max);
		return NULL;
	}
	char **texts = xcalloc(count + 1, sizeof *texts);
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		json_object *item = json_object_array_get_idx(value, i);
		if (text_of(item) && fits(text_of(item)))
			texts[kept++] = text_dup(text_of(item));
		else
			problems_error(problems, pointer_index(at, pointer, i), item, "%s", rule);
	}
	return texts;
}

static bool any_text(const char *text)
{
	return true;
}

static void read_command(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	char at[POINTER_MAX];
	settings->arguments =
	        read_texts(value, pointer, COMMAND_ARGUMENTS_MAX, any_text, "must be a string", problems);
	if (settings->arguments && (!settings->arguments[0] || settings->arguments[0][0] != '/'))
		problems_error(problems, pointer_index(at, pointer, 0), NULL,
		        "must be the program's path, from / on; no shell reads it");
}

/* What the program is told by Holdfast, and what would change how the loader or a shell treats it. */
static bool variable_allowed(const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
	return *name && strspn(name, letters) == strlen(name) && !(name[0] >= '0' && name[0] <= '9') &&
	       strncmp(name, "HOLDFAST_", 9) != 0 && strncmp(name, "LD_", 3) != 0 && strcmp(name, "NOTIFY_SOCKET") != 0 &&
	       strcmp(name, "WATCHDOG_USEC") != 0;
}

static void read_environment(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	char at[POINTER_MAX];
	size_t count = 0;
	if (json_object_object_length(value) > COMMAND_ARGUMENTS_MAX) {
		problems_error(problems, pointer, NULL, "has too many members");
		return;
	}
	settings->environment = xcalloc((size_t)json_object_object_length(value) + 1, sizeof *settings->environment);
	json_object_object_foreach(value, name, text)
	{
		pointer_member(at, pointer, name);
		if (!variable_allowed(name))
			problems_error(problems, at, NULL,
			        "is no variable that may be set: HOLDFAST_*, LD_*, NOTIFY_SOCKET and WATCHDOG_USEC are not");
		else if (!text_of(text))
			problems_error(problems, at, NULL, "must be a string");
		else
			settings->environment[count++] = text_format("%s=%s", name, text_of(text));
	}
}

static void read_user(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	const char *user = text_of(value);
	if (!user || !*user || strlen(user) > 32)
		problems_error(problems, pointer, value, "is no user's name");
	else if (strcmp(user, "root") == 0)
		problems_error(problems, pointer, value,
		        "must not be root, whom Holdfast's own socket obeys; give the capability that is needed instead");
	else
		settings->user = text_dup(user);
}

static void read_capabilities(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	char at[POINTER_MAX];
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		json_object *item = json_object_array_get_idx(value, i);
		if (text_of(item) && strcmp(text_of(item), "CAP_NET_ADMIN") == 0)
			settings->net_admin = true;
		else
			problems_error(problems, pointer_index(at, pointer, i), item,
			        "is no capability that a command may have; there is: CAP_NET_ADMIN");
	}
}

static void read_interface(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	settings->own_link = text_of(value) && strcmp(text_of(value), "own") == 0;
	if (!settings->own_link && !(text_of(value) && strcmp(text_of(value), "tun") == 0))
		problems_error(problems, pointer, value,
		        "must be \"tun\" (Holdfast makes it, the program attaches to it by name) or \"own\"");
}

static void read_addresses(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	char at[POINTER_MAX];
	size_t count = json_object_array_length(value);
	if (count > ADDRESSES_MAX) {
		problems_error(problems, pointer, NULL, "has %zu addresses; at most %d are taken", count, ADDRESSES_MAX);
		return;
	}
	settings->addresses = xcalloc(count, sizeof *settings->addresses);
	for (size_t i = 0; i < count; i++) {
		json_object *item = json_object_array_get_idx(value, i);
		if (text_of(item) && ip_prefix_parse(text_of(item), &settings->addresses[settings->address_count]) == 0)
			settings->address_count++;
		else
			problems_error(problems, pointer_index(at, pointer, i), item, "is no address; write ADDRESS/LENGTH");
	}
}

static bool is_named(json_object *item)
{
	struct tunnel_endpoint endpoint;
	if (!text_of(item) || tunnel_endpoint_parse(text_of(item), &endpoint) < 0)
		return false;
	bool named = !endpoint.is_literal;
	tunnel_endpoint_done(&endpoint);
	return named;
}

static void read_servers(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	char at[POINTER_MAX];
	size_t count = json_object_array_length(value);
	if (count > TUNNEL_COMPANIONS_MAX) {
		problems_error(problems, pointer, NULL, "has %zu servers; at most %d are taken beside the endpoint", count,
		        TUNNEL_COMPANIONS_MAX);
		return;
	}
	settings->servers = xcalloc(count, sizeof *settings->servers);
	for (size_t i = 0; i < count; i++) {
		json_object *item = json_object_array_get_idx(value, i);
		if (text_of(item) && endpoint_parse(text_of(item), &settings->servers[settings->server_count]) == 0)
			settings->server_count++;
		else
			problems_error(problems, pointer_index(at, pointer, i), item, "%s; write ADDRESS:PORT/udp or /tcp with a literal address",
			        is_named(item) ? "is a name, and only the endpoint's is resolved" : "is no server");
	}
}

static void read_mtu(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	int64_t mtu = json_object_get_int64(value);
	if (mtu < MTU_MIN || mtu > MTU_MAX)
		problems_error(problems, pointer, value, "must be between %d and %d", MTU_MIN, MTU_MAX);
	else
		((struct command_settings *)context)->mtu = (uint32_t)mtu;
}

static void read_glob(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_pattern *pattern = ret;
	if (!text_of(value) || !*text_of(value))
		problems_error(problems, pointer, value, "must be a pattern such as \"*connected*\"");
	else
		pattern->glob = text_dup(text_of(value));
}

static void read_regex(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_pattern *pattern = ret;
	regex_t *regex = xcalloc(1, sizeof *regex);
	int r = text_of(value) ? regcomp(regex, text_of(value), REG_EXTENDED | REG_NOSUB) : REG_BADPAT;
	if (r == 0) {
		pattern->regex = regex;
		return;
	}
	char reason[128];
	regerror(r, regex, reason, sizeof reason);
	problems_error(problems, pointer, value, "is no extended regular expression: %s", reason);
	free(regex);
}

struct up_members {
	struct command_pattern line;
	bool interface, notify;
};

static void read_up(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
	        {"line", FIELD_STRING, read_glob, offsetof(struct up_members, line)},
	        {"regex", FIELD_STRING, read_regex, offsetof(struct up_members, line)},
	        {"interface", FIELD_BOOLEAN, field_bool, offsetof(struct up_members, interface)},
	        {"notify", FIELD_BOOLEAN, field_bool, offsetof(struct up_members, notify)},
	};
	struct command_settings *settings = context;
	struct up_members read = {};
	size_t errors = problems->errors;
	fields_read(value, fields, ELEMENTSOF(fields), pointer, &read, problems, &read);
	int ways = !!read.line.glob + !!read.line.regex + read.interface + read.notify;
	settings->up = read.notify ? COMMAND_UP_NOTIFY : read.interface ? COMMAND_UP_INTERFACE : COMMAND_UP_LINE;
	settings->up_line = read.line;
	if (ways != 1 && problems->errors == errors)
		problems_error(problems, pointer, NULL,
		        "must have exactly one of \"line\", \"regex\", \"interface\": true and \"notify\": true");
}

struct error_members {
	struct command_pattern line;
	int exit_code;
	enum tunnel_error error;
};

static void read_exit(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	int64_t code = json_object_get_int64(value);
	if (code < 0 || code > 255)
		problems_error(problems, pointer, value, "is no exit code; they go from 0 to 255");
	else
		*(int *)ret = (int)code;
}

static void read_error_name(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	enum tunnel_error error = TUNNEL_ERROR_NONE;
	if (tunnel_error_from_string(text_of(value), &error) < 0 || !tunnel_error_is_decidable(error))
		problems_error(problems, pointer, value, "is no error that policies can decide on");
	else
		*(enum tunnel_error *)ret = error;
}

static void read_error(
        struct command_settings *settings, json_object *value, const char *pointer, struct problems *problems)
{
	static const struct field fields[] = {
	        {"line", FIELD_STRING, read_glob, offsetof(struct error_members, line)},
	        {"regex", FIELD_STRING, read_regex, offsetof(struct error_members, line)},
	        {"exit", FIELD_INTEGER, read_exit, offsetof(struct error_members, exit_code)},
	        {"error", FIELD_STRING, read_error_name, offsetof(struct error_members, error), .required = true},
	};
	struct error_members read = {.exit_code = -1};
	size_t errors = problems->errors;
	fields_read(value, fields, ELEMENTSOF(fields), pointer, &read, problems, &read);
	settings->errors[settings->error_count++] = (struct command_error){read.line, read.exit_code, read.error};
	if (!!read.line.glob + !!read.line.regex + (read.exit_code >= 0) != 1 && problems->errors == errors)
		problems_error(problems, pointer, NULL, "must have exactly one of \"line\", \"regex\" and \"exit\"");
}

static void read_errors(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	char at[POINTER_MAX];
	size_t count = json_object_array_length(value);
	if (count > COMMAND_ERRORS_MAX) {
		problems_error(problems, pointer, NULL, "has %zu entries; at most %d are taken", count, COMMAND_ERRORS_MAX);
		return;
	}
	settings->errors = xcalloc(count, sizeof *settings->errors);
	for (size_t i = 0; i < count; i++)
		read_error(settings, json_object_array_get_idx(value, i), pointer_index(at, pointer, i), problems);
}

static void read_signal(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct {
		const char *name;
		int number;
	} signals[] = {{"SIGTERM", SIGTERM}, {"SIGINT", SIGINT}, {"SIGHUP", SIGHUP}, {"SIGQUIT", SIGQUIT},
	        {"SIGUSR1", SIGUSR1}, {"SIGUSR2", SIGUSR2}};
	for (size_t i = 0; text_of(value) && i < ELEMENTSOF(signals); i++)
		if (strcmp(signals[i].name, text_of(value)) == 0) {
			*(int *)ret = signals[i].number;
			return;
		}
	problems_error(problems, pointer, value,
	        "is no signal to stop with; there are: SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2");
}

static void read_bounded(
        json_object *value, const char *pointer, uint64_t max, uint64_t *ret, struct problems *problems)
{
	char text[DURATION_TEXT_MAX];
	uint64_t usec = 0;
	field_duration(value, pointer, &usec, problems, NULL);
	if (usec > max)
		problems_error(problems, pointer, value, "must be at most %s", duration_format(text, max));
	else
		*ret = usec;
}

static void read_stop_time(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_bounded(value, pointer, COMMAND_STOP_MAX_USEC, ret, problems);
}

static void read_watchdog(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_bounded(value, pointer, WATCHDOG_MAX_USEC, ret, problems);
}

static void read_stop(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
	        {"signal", FIELD_STRING, read_signal, offsetof(struct command_settings, stop_signal)},
	        {"timeout", FIELD_STRING, read_stop_time, offsetof(struct command_settings, stop_usec)},
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, context, problems, context);
}

static void read_names(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	settings->asks = read_texts(
	        value, pointer, CREDENTIALS_MAX, credential_name_valid, "must be " CREDENTIAL_NAME_RULE, problems);
	if (settings->asks && !settings->asks[0])
		problems_error(problems, pointer, NULL, "is empty");
}

static void read_input(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct command_settings *settings = context;
	settings->input = text_of(value) && strcmp(text_of(value), "fd3") == 0 ? COMMAND_INPUT_FD3 : COMMAND_INPUT_STDIN;
	if (settings->input == COMMAND_INPUT_STDIN && !(text_of(value) && strcmp(text_of(value), "stdin") == 0))
		problems_error(problems, pointer, value, "must be \"stdin\" or \"fd3\"");
}

/* What `credentials` may also have: members that are secrets, one for each name, given with the tunnel. */
static void read_given(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	char at[POINTER_MAX];
	for (size_t i = 0; i < json_object_array_length(value); i++) {
		json_object *item = json_object_array_get_idx(value, i), *name = NULL, *text = NULL;
		pointer_index(at, pointer, i);
		if (!json_object_is_type(item, json_type_object) || !json_object_object_get_ex(item, "name", &name) ||
		        !text_of(name) || !json_object_object_get_ex(item, "value", &text) || (text && !text_of(text)) ||
		        json_object_object_length(item) != 2)
			problems_error(problems, at, NULL, "must be {\"name\": …, \"value\": …}, both strings");
	}
}

static void read_credentials(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
	        {"names", FIELD_ARRAY, read_names, 0, .required = true},
	        {"to", FIELD_STRING, read_input, 0},
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, context, problems, context);
}

static const struct field fields[] = {
        {"command", FIELD_ARRAY, read_command, 0, .required = true},
        {"environment", FIELD_OBJECT, read_environment, 0},
        {"user", FIELD_STRING, read_user, 0},
        {"capabilities", FIELD_ARRAY, read_capabilities, 0},
        {"interface", FIELD_STRING, read_interface, 0},
        {"addresses", FIELD_ARRAY, read_addresses, 0},
        {"mtu", FIELD_INTEGER, read_mtu, 0},
        {"servers", FIELD_ARRAY, read_servers, 0},
        {"up", FIELD_OBJECT, read_up, 0, .required = true},
        {"errors", FIELD_ARRAY, read_errors, 0},
        {"forks", FIELD_BOOLEAN, field_bool, offsetof(struct command_settings, forks)},
        {"stop", FIELD_OBJECT, read_stop, 0},
        {"watchdog", FIELD_STRING, read_watchdog, offsetof(struct command_settings, watchdog_usec)},
        {"credentials", FIELD_OBJECT, read_credentials, 0},
        {"given", FIELD_ARRAY, read_given, 0},
};

bool command_settings_read(json_object *object, struct command_settings *settings, struct problems *problems)
{
	size_t errors = problems->errors;
	*settings = (struct command_settings){.stop_signal = SIGTERM, .stop_usec = COMMAND_STOP_USEC};
	fields_read(object, fields, ELEMENTSOF(fields), "/settings", settings, problems, settings);
	if (problems->errors != errors)
		return false;
	if (settings->own_link && !settings->net_admin)
		problems_error(problems, "/settings/interface", NULL,
		        "\"own\" takes \"capabilities\": [\"CAP_NET_ADMIN\"]; else let Holdfast make a \"tun\"");
	if (!settings->own_link && settings->address_count == 0)
		problems_error(problems, "/settings/addresses", NULL, "is missing: the addresses of the tun");
	if (settings->watchdog_usec && settings->up != COMMAND_UP_NOTIFY)
		problems_error(problems, "/settings/watchdog", NULL, "takes \"up\": {\"notify\": true}, by which it is fed");
	return problems->errors == errors;
}

bool command_pattern_matches(const struct command_pattern *pattern, const char *line)
{
	if (pattern->glob)
		return fnmatch(pattern->glob, line, 0) == 0;
	return pattern->regex && regexec(pattern->regex, line, 0, NULL, 0) == 0;
}

char *command_fill_in(const char *template, const struct tunnel_config *config, const struct endpoint *endpoint)
{
	char address[IP_TEXT_MAX] = "", port[8];
	struct text text = TEXT_NULL;
	snprintf(port, sizeof port, "%u", endpoint->port);
	ip_address_format(address, &endpoint->address);
	const struct {
		const char *name, *value;
	} places[] = {
	        {"{interface}", config->interface},
	        {"{tunnel}", config->id},
	        {"{address}", address},
	        {"{port}", port},
	        {"{protocol}", endpoint->protocol == IPPROTO_TCP ? "tcp" : "udp"},
	};
	while (*template) {
		size_t found = 0;
		while (found < ELEMENTSOF(places) && strncmp(template, places[found].name, strlen(places[found].name)) != 0)
			found++;
		if (found < ELEMENTSOF(places)) {
			text_append(&text, "%s", places[found].value);
			template += strlen(places[found].name);
		} else {
			text_append_bytes(&text, template++, 1);
		}
	}
	return text_steal(&text);
}
