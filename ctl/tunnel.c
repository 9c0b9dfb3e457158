/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Commands on tunnels: up, down, restart, import, and their documents. */

#include <ctype.h>
#include <string.h>

#include "ctl/command.h"
#include "ctl/print.h"
#include "util/duration.h"
#include "util/fields.h"

#define WAIT_DEFAULT      "30s"
#define ANSWER_USEC       (10 * USEC_PER_SEC) /* for the daemon to say so once the wait is over */
#define TUNNEL_ID_MAX     12
#define DEFAULT_TUNNEL_ID "vpn" /* where the file's name gives none */

/* --- up, down, restart --- */

struct progress {
	const char *tunnel;
};

static void print_decision(json_object *event)
{
	static const char *const led_to_it[][2] = {
		{"then", "what it waited for is there"}, {"onTimeout", "the time is over"}, {"answer", "somebody answered"}};
	const char *by = member_text(event, "/by"), *rule = member_text(event, "/rule"), *why = "the policy decides";
	for (size_t i = 0; i < ELEMENTSOF(led_to_it); i++)
		if (strcmp(by, led_to_it[i][0]) == 0)
			why = led_to_it[i][1];
	printf(": %s: %s, by %s\n", why, member_text(event, "/action/action"), rule[0] ? rule : "`otherwise`");
}

static bool show_progress(json_object *event, void *userdata)
{
	const struct progress *progress = userdata;
	const char *kind = member_text(event, "/kind"), *reason = member_text(event, "/reason");
	char time[AMOUNT_MAX];
	if (strcmp(member_text(event, "/tunnel"), progress->tunnel) != 0)
		return true;
	if (strcmp(kind, "stateChanged") != 0 && strcmp(kind, "willStop") != 0 && strcmp(kind, "decision") != 0)
		return true;
	printf("%s%s%s  %s", colour_on(COLOUR_FAINT), format_time(time, member_text(event, "/time")), colour_off(),
		progress->tunnel);
	if (strcmp(kind, "stateChanged") == 0)
		printf(": %s%s%s%s\n", member_text(event, "/new"), reason[0] && strcmp(reason, "none") != 0 ? " (" : "",
			strcmp(reason, "none") != 0 ? reason : "", reason[0] && strcmp(reason, "none") != 0 ? ")" : "");
	else if (strcmp(kind, "willStop") == 0)
		printf(" stopped: %s %s\n", member_text(event, "/error"), member_text(event, "/detail"));
	else
		print_decision(event);
	fflush(stdout);
	return true;
}

/* Says why the tunnel ID is STATE and not WANTED, and how to go on. */
static int complain_of_state(json_object *status, const char *id, const char *state, const char *wanted)
{
	json_object *tunnel = find_tunnel(status, id);
	const char *error = member_text(tunnel, "/lastError"), *detail = member_text(tunnel, "/lastDetail");
	const char *why = detail[0] ? detail : error;
	bool failed = strcmp(state, "failed") == 0, held = strcmp(member_text(status, "/gate/desired"), "open") != 0;
	complain(EXIT_FAILED, "%s is %s%s%s%s%s", id, state, failed ? "" : ", not ", failed ? "" : wanted,
		why[0] ? ": " : "", why);
	if (failed)
		fprintf(stderr, "  try again: holdfastctl up %s\n  give up:   holdfastctl down %s%s\n", id, id,
			held ? "; until then the gate stays closed" : "");
	else
		fprintf(stderr, "  what it does: holdfastctl status, or holdfastctl events -f --tunnel %s\n", id);
	return EXIT_FAILED;
}

/* What a state means for the one who wanted another. */
static int judge_state(struct invocation *invocation, const char *wanted, json_object *answer)
{
	_cleanup_response_ struct response status = {};
	const char *id = invocation->operands[0], *state = member_text(answer, "/state");
	bool changed = json_object_get_boolean(member(answer, "/changed"));
	bool reached = strcmp(state, wanted) == 0;
	if (!wants_json(invocation) && (reached || invocation->options[OPTION_NO_WAIT]))
		printf("%s is %s%s\n", id, state, changed ? "" : " already");
	bool known = peek_status(invocation, &status);
	bool open = known && strcmp(wanted, "connected") == 0 && warn_of_way_out(status.json);
	if (!reached && !invocation->options[OPTION_NO_WAIT])
		return complain_of_state(known ? status.json : NULL, id, state, wanted);
	return open ? EXIT_UNPROTECTED : EXIT_OK;
}

static int act(struct invocation *invocation, const char *action, const char *wanted)
{
	_cleanup_response_ struct response response = {};
	struct progress progress = {invocation->operands[0]};
	const char *wait = invocation->options[OPTION_WAIT] ? invocation->options[OPTION_WAIT] : WAIT_DEFAULT;
	bool waits = !invocation->options[OPTION_NO_WAIT] && !invocation->options[OPTION_DRY_RUN],
	     watched = waits && isatty(STDOUT_FILENO) && !wants_json(invocation);
	uint64_t wait_usec = 0;
	if (waits && duration_parse(wait, &wait_usec) < 0)
		return complain(EXIT_USAGE, "--wait %s is no duration; write 30s or 2m", wait);
	_cleanup_free_ char *rest = text_format("/%s%s%s", action, waits ? "?wait=" : "", waits ? wait : "");
	_cleanup_free_ char *path = tunnel_url(invocation->operands[0], rest);
	struct request request = {.method = "POST",
		.path = path,
		.body = "{}",
		.body_length = 2,
		.timeout_usec = wait_usec + ANSWER_USEC};
	int code = exchange_watching(invocation, &request, &response, watched ? show_progress : NULL, &progress);
	return code == EXIT_OK ? judge_state(invocation, wanted, response.json) : code;
}

int run_up(struct invocation *invocation)
{
	return act(invocation, "start", "connected");
}

int run_down(struct invocation *invocation)
{
	return act(invocation, "stop", "disconnected");
}

int run_restart(struct invocation *invocation)
{
	return act(invocation, "restart", "connected");
}

/* --- documents --- */

static int say_changed(struct invocation *invocation, int code, const char *id, const char *what, json_object *answer)
{
	bool changed = json_object_get_boolean(member(answer, "/changed"));
	if (code == EXIT_OK && !wants_json(invocation))
		printf("%s %s\n", id, changed ? what : "was so already");
	return code;
}

/* What of a file was left out: it is never done, so somebody must be told. */
static void print_warnings(json_object *answer)
{
	json_object *warnings = member_list(member(answer, "/warnings"), "warnings");
	for (size_t i = 0; warnings && i < json_object_array_length(warnings); i++) {
		json_object *warning = json_object_array_get_idx(warnings, i);
		print_finding(stdout, "note: ", warning);
	}
}

/* "Office VPN.conf" to "office_vpn": what of a file's name may stand in an id. */
static char *id_of_file(const char *file)
{
	const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
	const char *dot = strrchr(name, '.');
	size_t length = dot && dot > name ? (size_t)(dot - name) : strlen(name);
	_cleanup_text_ struct text id = TEXT_NULL;
	for (size_t i = 0; i < length && id.length < TUNNEL_ID_MAX; i++) {
		char c = (char)tolower((unsigned char)name[i]);
		bool letter = c >= 'a' && c <= 'z', digit = c >= '0' && c <= '9';
		if (letter || (id.length > 0 && (digit || c == '_')))
			text_append_bytes(&id, &c, 1);
		else if (id.length > 0)
			text_append(&id, "_");
	}
	return id.length > 0 ? text_steal(&id) : text_dup(DEFAULT_TUNNEL_ID);
}

int run_import(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	const char *file = invocation->operands[0];
	_cleanup_free_ char *derived = id_of_file(file);
	const char *wanted = invocation->operands[1] ? invocation->operands[1] : derived;
	_cleanup_free_ char *id = client_escape(wanted);
	_cleanup_free_ char *path = text_format("/tunnels/import?id=%s", id);
	_cleanup_free_ char *exists = text_format("the tunnel %s exists already; choose another id: "
						  "holdfastctl import FILE ID, or first: holdfastctl tunnel delete %s",
		wanted, wanted);
	invocation->exists = exists;
	int code = exchange_file(invocation, "POST", path, file, "application/octet-stream", &response);
	if (code != EXIT_OK || wants_json(invocation))
		return code;
	const char *made = member_text(response.json, "/id");
	printf("%s was made of %s; start it with: holdfastctl up %s\n", made, input_name(file), made);
	print_warnings(response.json);
	return EXIT_OK;
}

static const char *first_endpoint(json_object *tunnel)
{
	return member_text(tunnel, "/endpoints/0/address");
}

static void routes_text(json_object *tunnel, struct text *text)
{
	json_object *routes = member(tunnel, "/routes");
	if (!json_object_is_type(routes, json_type_array)) {
		text_append(text, "%s", routes ? json_object_get_string(routes) : "");
		return;
	}
	for (size_t i = 0; i < json_object_array_length(routes); i++)
		text_append(text, "%s%s", i ? ", " : "", json_object_get_string(json_object_array_get_idx(routes, i)));
}

int run_tunnel_list(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_get(invocation, "/tunnels", &response);
	json_object *tunnels = member_list(response.json, "tunnels");
	if (code != EXIT_OK || wants_json(invocation))
		return code;
	struct table table = {.columns = 5};
	for (const char *const *heading =
			(const char *const[]){"ID", "DRIVER", "ENDPOINT", "AUTOSTART", "ROUTES", NULL};
		*heading; heading++)
		table_add(&table, "%s", *heading);
	for (size_t i = 0; tunnels && i < json_object_array_length(tunnels); i++) {
		json_object *tunnel = json_object_array_get_idx(tunnels, i);
		_cleanup_text_ struct text routes = TEXT_NULL;
		routes_text(tunnel, &routes);
		table_add(&table, "%s", member_text(tunnel, "/id"));
		table_add(&table, "%s", member_text(tunnel, "/driver"));
		table_add(&table, "%s", first_endpoint(tunnel));
		table_add(&table, "%s", json_object_get_boolean(member(tunnel, "/autostart")) ? "yes" : "no");
		table_add(&table, "%s", routes.bytes ? routes.bytes : "");
	}
	table_print(&table);
	return EXIT_OK;
}

int run_tunnel_show(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_free_ char *path = tunnel_url(invocation->operands[0], "");
	int code = exchange_get(invocation, path, &response);
	return code == EXIT_OK ? print_document(invocation, &response) : code;
}

int run_tunnel_add(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_free_ char *exists = text_format("a tunnel of that id exists already; to replace it: "
						  "holdfastctl tunnel set ID %s",
		invocation->operands[0]);
	invocation->exists = exists;
	int code = exchange_file(invocation, "POST", "/tunnels", invocation->operands[0], NULL, &response);
	if (code != EXIT_OK || wants_json(invocation))
		return code;
	printf("%s was made\n", member_text(response.json, "/id"));
	print_warnings(response.json);
	return EXIT_OK;
}

int run_tunnel_set(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_free_ char *path = tunnel_url(invocation->operands[0], "");
	int code = exchange_file(invocation, "PUT", path, invocation->operands[1], NULL, &response);
	return say_changed(invocation, code, invocation->operands[0], "was replaced", response.json);
}

int run_tunnel_delete(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_free_ char *path = tunnel_url(invocation->operands[0], "");
	struct request request = {.method = "DELETE", .path = path, .if_match_any = true};
	int code = exchange(invocation, &request, &response);
	return say_changed(invocation, code, invocation->operands[0], "was deleted", response.json);
}
