/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tokens for clients on TCP. */

#include <string.h>

#include "ctl/command.h"
#include "ctl/print.h"
#include "util/fields.h"

int run_token_list(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_get(invocation, "/tokens", &response);
	if (code != EXIT_OK || wants_json(invocation))
		return code;
	json_object *tokens = member_list(response.json, "tokens");
	struct table table = {.columns = 5};
	for (const char *const *heading = (const char *const[]){"ID", "NAME", "SCOPE", "EXPIRES", "LAST USED", NULL}; *heading; heading++)
		table_add(&table, "%s", *heading);
	for (size_t i = 0; tokens && i < json_object_array_length(tokens); i++) {
		char expires[AMOUNT_MAX], used[AMOUNT_MAX];
		json_object *token = json_object_array_get_idx(tokens, i);
		const char *expiry = member_text(token, "/expires"), *use = member_text(token, "/lastUsed");
		table_add(&table, "%s", member_text(token, "/id"));
		table_add(&table, "%s", member_text(token, "/name"));
		table_add(&table, "%s", member_text(token, "/scope"));
		table_add(&table, "%s", expiry[0] ? format_time(expires, expiry) : "never");
		table_add(&table, "%s", use[0] ? format_time(used, use) : "never");
	}
	table_print(&table);
	return EXIT_OK;
}

/* The token alone on standard output, so that a script can keep it; what a person should know on the other. */
int run_token_create(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_json_ json_object *body = json_object_new_object();
	json_object_object_add(body, "name", json_object_new_string(invocation->operands[0]));
	json_object_object_add(body, "scope", json_object_new_string(invocation->operands[1]));
	if (invocation->options[OPTION_LIFETIME])
		json_object_object_add(body, "lifetime", json_object_new_string(invocation->options[OPTION_LIFETIME]));
	const char *text = json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN);
	struct request request = {.method = "POST", .path = "/tokens", .body = text, .body_length = strlen(text)};
	int code = exchange(invocation, &request, &response);
	if (code != EXIT_OK || wants_json(invocation))
		return code;
	fprintf(stderr, "holdfastctl: this is shown once; to make it worthless: holdfastctl token revoke %s\n", member_text(response.json, "/id"));
	printf("%s\n", member_text(response.json, "/token"));
	return EXIT_OK;
}

int run_token_revoke(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_free_ char *id = client_escape(invocation->operands[0]), *path = text_format("/tokens/%s", id);
	struct request request = {.method = "DELETE", .path = path};
	int code = exchange(invocation, &request, &response);
	if (code == EXIT_OK && !wants_json(invocation))
		printf("%s is worthless now\n", invocation->operands[0]);
	return code;
}
