/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Operations on tokens. */

#include <errno.h>
#include <string.h>

#include "daemon/operations-internal.h"
#include "daemon/tokens.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/text.h"

void handle_list_tokens(struct manager *manager, struct operation_call *call)
{
	call_result(call, "tokens", tokens_list(manager->tokens));
	call_finish(call, OUTCOME_OK);
}

/* False: the call has been answered. */
static bool read_request(struct operation_call *call, struct token_request *request)
{
	const char *lifetime = call_text(call, "lifetime"), *scope = call_text(call, "scope");
	uint64_t lifetime_usec = 1;
	request->name = call_text(call, "name");
	if (!request->name[0] || strlen(request->name) > TOKEN_NAME_MAX)
		problems_error(&call->problems, "/name", json_object_object_get(call->arguments, "name"), "must have 1 to %d bytes", TOKEN_NAME_MAX);
	if (scope_from_string(scope, &request->scope) < 0 || request->scope == SCOPE_NONE)
		problems_error(&call->problems, "/scope", json_object_object_get(call->arguments, "scope"), "is no scope; there are read, control and admin");
	bool ends = lifetime && lifetime[0];
	int r = ends ? duration_parse(lifetime, &lifetime_usec) : 0;
	if (r < 0 || lifetime_usec == 0)
		problems_error(&call->problems, "/lifetime", json_object_object_get(call->arguments, "lifetime"), "%s",
			r < 0 ? duration_fault(r) : "must be longer than nothing");
	if (call->problems.errors > 0) {
		call_fail(call, OUTCOME_BAD_REQUEST, "the parameters of %s have errors", call->operation->name);
		return false;
	}
	request->expires_usec = ends ? manager_realtime() + lifetime_usec : 0;
	return true;
}

static void announce(struct manager *manager, const char *kind, const char *name, const char *by)
{
	json_object *event = events_new(manager, kind, LIFECYCLE_NONE);
	json_object_object_add(event, "name", json_object_new_string(name));
	json_object_object_add(event, "by", json_text_or_null(by));
	events_emit(manager, event);
}

void handle_create_token(struct manager *manager, struct operation_call *call)
{
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX];
	struct token_request request = {};
	if (!read_request(call, &request))
		return;
	if (tokens_full(manager->tokens)) {
		call_fail(call, OUTCOME_TOO_MANY_REQUESTS, "%d tokens are kept already; revoke one first", TOKENS_MAX);
		return;
	}
	if (call->dry_run) {
		call_answer_changed(call, true);
		return;
	}
	int r = tokens_create(manager->tokens, &request, manager_realtime(), id, text);
	if (r < 0) {
		wipe(text, sizeof text);
		call_fail(call, OUTCOME_INTERNAL_ERROR, "the token cannot be kept: %s; nothing was changed", strerror(-r));
		return;
	}
	announce(manager, "tokenCreated", request.name, call->caller.name);
	call_result(call, "changed", json_object_new_boolean(true));
	call_result(call, "id", json_object_new_string(id));
	call_result(call, "token", json_object_new_string(text));
	call_result(call, "expires", json_time(request.expires_usec));
	call->location = text_format("/tokens/%s", id);
	wipe(text, sizeof text);
	call_finish(call, OUTCOME_CREATED);
}

void handle_revoke_token(struct manager *manager, struct operation_call *call)
{
	_cleanup_free_ char *name = NULL;
	const char *id = call_text(call, "id");
	if (!tokens_has(manager->tokens, id)) {
		call_fail(call, OUTCOME_TOKEN_NOT_FOUND, "there is no token \"%.40s\"; GET /v1/tokens (holdfastctl token list) shows those there are", id);
		return;
	}
	int r = call->dry_run ? 0 : tokens_revoke(manager->tokens, id, &name);
	if (r < 0) {
		call_fail(call, OUTCOME_INTERNAL_ERROR, "the tokens cannot be written: %s; the token is still good", strerror(-r));
		return;
	}
	if (!call->dry_run)
		announce(manager, "tokenRevoked", name, call->caller.name);
	call_answer_changed(call, true);
}

bool manager_token(struct manager *manager, const char *text, struct caller *ret)
{
	return tokens_check(manager->tokens, text, manager_realtime(), ret);
}
