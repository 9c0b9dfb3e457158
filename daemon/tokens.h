/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Tokens: what a client on TCP shows instead of a user's id. One is 256 random bits, shown when it is made and never again; what is kept
 * (tokens.json in the state directory, 0600) is its SHA-256 with name, scope, expiry and last use. A file that cannot be read means
 * that there are no tokens.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/operations.h"

#define TOKENS_MAX 64
#define TOKEN_NAME_MAX 64 /* bytes */
#define TOKEN_PREFIX "hft_" /* so that scanners for secrets know one: then 64 hexadecimal digits */
#define TOKEN_TEXT_MAX (sizeof TOKEN_PREFIX + 64)
#define TOKEN_ID_MAX 17 /* 16 hexadecimal digits */

struct tokens;

/* Reads PATH. Never fails: *ret has no tokens where the file cannot be read, and the result then is a negative errno. */
int tokens_open(struct tokens **ret, const char *path);
struct tokens *tokens_close(struct tokens *tokens); /* keeps the last uses; accepts NULL, returns NULL */

struct token_request {
	const char *name;
	enum scope scope;
	uint64_t expires_usec; /* CLOCK_REALTIME; 0: never */
};

bool tokens_full(const struct tokens *tokens); /* TOKENS_MAX are kept */
bool tokens_has(const struct tokens *tokens, const char *id);

/*
 * Makes a token. TEXT is the token itself and the caller's to wipe. 0, -EUSERS where TOKENS_MAX are kept, or the error of the disk;
 * then there is no token.
 */
int tokens_create(struct tokens *tokens, const struct token_request *request, uint64_t now_usec, char id[static TOKEN_ID_MAX],
	char text[static TOKEN_TEXT_MAX]);
/* 0 with *ret_name the caller's to free, -ENOENT, or the error of the disk; then the token is still good. */
int tokens_revoke(struct tokens *tokens, const char *id, char **ret_name);
/* [{"id", "name", "scope", "created", "expires" or null, "lastUsed" or null}]. The caller owns it. */
json_object *tokens_list(const struct tokens *tokens);

/*
 * Whether TEXT is a token that has not expired: then CALLER is whose it is. Takes the same time whatever TEXT is and however many fit its
 * beginning.
 */
bool tokens_check(struct tokens *tokens, const char *text, uint64_t now_usec, struct caller *caller);
