/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is granted past the tunnel, and programs that are started so. */

#include <errno.h>
#include <string.h>

#include "ctl/command.h"
#include "ctl/print.h"
#include "util/fields.h"
#include "util/text.h"

#define EXIT_NO_PROGRAM 127 /* as env(1) and sudo(8) end where the program cannot be run */

static void print_grant(json_object *grant)
{
	const char *detail = member_text(grant, "/detail"), *until = member_text(grant, "/until");
	bool in_effect = json_object_get_boolean(member(grant, "/inEffect"));
	char text[AMOUNT_MAX];
	printf("%s%s%s: %s %s", colour_on(in_effect ? COLOUR_GOOD : COLOUR_CAREFUL), member_text(grant, "/id"), colour_off(),
		member_text(grant, "/type"), member_text(grant, "/name"));
	if (until[0])
		printf(", until %s", format_time(text, until));
	if (strcmp(member_text(grant, "/source"), "settings") == 0)
		printf(", by the settings");
	if (!in_effect)
		printf(" (not in effect%s%s)", detail[0] ? ": " : "", detail);
	printf("\n");
}

int run_bypass_list(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_get(invocation, "/bypass", &response);
	if (code != EXIT_OK || wants_json(invocation))
		return code;
	json_object *grants = member_list(response.json, "bypass");
	size_t count = grants ? json_object_array_length(grants) : 0;
	for (size_t i = 0; i < count; i++)
		print_grant(json_object_array_get_idx(grants, i));
	if (count == 0)
		printf("Nothing is granted.\n");
	return EXIT_OK;
}

/* Asks for KIND: NAME. */
static int ask(struct invocation *invocation, const char *kind, const char *name, struct response *response)
{
	_cleanup_json_ json_object *body = json_object_new_object();
	json_object_object_add(body, kind, json_object_new_string(name));
	if (invocation->options[OPTION_FOR])
		json_object_object_add(body, "for", json_object_new_string(invocation->options[OPTION_FOR]));
	const char *text = json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN);
	struct request request = {.method = "POST", .path = "/bypass", .body = text, .body_length = strlen(text)};
	return exchange(invocation, &request, response);
}

int run_bypass_add(struct invocation *invocation)
{
	static const char *const kinds[] = {"unit", "slice", "user", "address", "domain"};
	_cleanup_response_ struct response response = {};
	bool known = false;
	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		known |= strcmp(kinds[i], invocation->operands[0]) == 0;
	if (!known)
		return complain(EXIT_USAGE, "%s: one of these is meant: unit, slice, user, address, domain", invocation->operands[0]);
	int code = ask(invocation, invocation->operands[0], invocation->operands[1], &response);
	if (code == EXIT_OK && !wants_json(invocation))
		printf("%s%s; to take it back: holdfastctl bypass remove %s\n", member_text(response.json, "/id"),
			json_object_get_boolean(member(response.json, "/changed")) ? "" : ", as before", member_text(response.json, "/id"));
	return code;
}

int run_bypass_remove(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_free_ char *id = client_escape(invocation->operands[0]);
	_cleanup_free_ char *path = text_format("/bypass/%s", id);
	struct request request = {.method = "DELETE", .path = path};
	int code = exchange(invocation, &request, &response);
	if (code == EXIT_OK && !wants_json(invocation))
		printf("%s is taken back; its connections are cut\n", invocation->operands[0]);
	return code;
}

/* The daemon moves this very process into a cgroup of its own; what it then becomes makes its sockets there. */
int run_exec(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	char **program = invocation->rest;
	if (!program || !program[0])
		return complain(EXIT_USAGE, "usage: holdfastctl exec -- PROGRAM [ARGUMENT]...");
	const char *slash = strrchr(program[0], '/');
	_cleanup_free_ char *label = text_ndup(slash && slash[1] ? slash + 1 : program[0], utf8_prefix(slash && slash[1] ? slash + 1 : program[0], 64));
	int code = ask(invocation, "program", label, &response);
	if (code != EXIT_OK)
		return code;
	fflush(stdout);
	execvp(program[0], program);
	complain(EXIT_FAILED, "%s: %s", program[0], strerror(errno));
	return EXIT_NO_PROGRAM;
}
