/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Tokens in a small array and its file. A write changes a copy of the array, and that takes the array's place once the disk has it, so
 * that what is said to be made or revoked is so after a crash, too. Only the time of the last use may be lost: it is written once in
 * USE_WRITE_USEC.
 */

#include "daemon/tokens.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/manager.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define TOKEN_BYTES 32
#define HASH_BYTES 32 /* SHA-256 */
#define FORMAT 1
#define USE_WRITE_USEC (60 * USEC_PER_SEC)

struct token {
	char id[TOKEN_ID_MAX];
	char name[TOKEN_NAME_MAX + 1];
	enum scope scope;
	unsigned char hash[HASH_BYTES];
	uint64_t created_usec, expires_usec, used_usec;
};

struct token_set {
	struct token items[TOKENS_MAX];
	size_t count;
};

struct tokens {
	char *path;
	struct token_set set;
	uint64_t written_usec; /* when the last uses were written */
	bool dirty;
};

static void to_hex(char *ret, const unsigned char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sprintf(ret + 2 * i, "%02x", bytes[i]);
}

static bool from_hex(const char *text, unsigned char *ret, size_t count)
{
	if (strlen(text) != 2 * count || strspn(text, "0123456789abcdef") != 2 * count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (sscanf(text + 2 * i, "%2hhx", &ret[i]) != 1)
			return false;
	return true;
}

static bool hash_of(const char *text, unsigned char ret[HASH_BYTES])
{
	unsigned length = 0;
	return EVP_Digest(text, strlen(text), ret, &length, EVP_sha256(), NULL) == 1 && length == HASH_BYTES;
}

/* ---- the file ---- */

static json_object *to_json(const struct token *token)
{
	char hash[2 * HASH_BYTES + 1];
	json_object *object = json_object_new_object();
	to_hex(hash, token->hash, HASH_BYTES);
	json_object_object_add(object, "id", json_object_new_string(token->id));
	json_object_object_add(object, "name", json_object_new_string(token->name));
	json_object_object_add(object, "scope", json_object_new_string(scope_to_string(token->scope)));
	json_object_object_add(object, "sha256", json_object_new_string(hash));
	json_object_object_add(object, "createdUsec", json_object_new_uint64(token->created_usec));
	json_object_object_add(object, "expiresUsec", json_object_new_uint64(token->expires_usec));
	json_object_object_add(object, "usedUsec", json_object_new_uint64(token->used_usec));
	return object;
}

static int write_set(const char *path, const struct token_set *set)
{
	_cleanup_json_ json_object *document = json_object_new_object();
	json_object *array = json_object_new_array();
	for (size_t i = 0; i < set->count; i++)
		json_object_array_add(array, to_json(&set->items[i]));
	json_object_object_add(document, "format", json_object_new_int(FORMAT));
	json_object_object_add(document, "tokens", array);
	const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	return file_write_atomic(path, text, strlen(text), 0600);
}

static const char *text_of(json_object *object, const char *key)
{
	json_object *value = json_object_object_get(object, key);
	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

static bool read_token(json_object *object, struct token *token)
{
	const char *id = text_of(object, "id"), *name = text_of(object, "name");
	if (!json_object_is_type(object, json_type_object) || strlen(id) >= sizeof token->id || strlen(name) >= sizeof token->name)
		return false;
	strcpy(token->id, id);
	strcpy(token->name, name);
	token->created_usec = json_object_get_uint64(json_object_object_get(object, "createdUsec"));
	token->expires_usec = json_object_get_uint64(json_object_object_get(object, "expiresUsec"));
	token->used_usec = json_object_get_uint64(json_object_object_get(object, "usedUsec"));
	return id[0] && scope_from_string(text_of(object, "scope"), &token->scope) == 0 && token->scope != SCOPE_NONE &&
	       from_hex(text_of(object, "sha256"), token->hash, HASH_BYTES);
}

/* All of the file or nothing of it: half a list of who may come in is none. */
static int read_set(const char *path, struct token_set *set)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL;
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	int r = file_read(path, &text, &length);
	if (r < 0)
		return r;
	if (json_parse_strict(text, length, &document, &problems) < 0 || json_object_get_int(json_object_object_get(document, "format")) != FORMAT)
		return -EBADMSG;
	json_object *array = json_object_object_get(document, "tokens");
	if (!json_object_is_type(array, json_type_array) || json_object_array_length(array) > TOKENS_MAX)
		return -EBADMSG;
	for (size_t i = 0; i < json_object_array_length(array); i++)
		if (!read_token(json_object_array_get_idx(array, i), &set->items[set->count++]))
			return -EBADMSG;
	return 0;
}

int tokens_open(struct tokens **ret, const char *path)
{
	struct tokens *tokens = xcalloc(1, sizeof *tokens);
	tokens->path = text_dup(path);
	int r = read_set(path, &tokens->set);
	if (r < 0)
		tokens->set = (struct token_set){};
	*ret = tokens;
	return r == -ENOENT ? 0 : r;
}

static void write_uses(struct tokens *tokens, uint64_t now_usec)
{
	int r = write_set(tokens->path, &tokens->set);
	if (r < 0)
		log_warning("%s: when tokens were last used cannot be written: %s", tokens->path, strerror(-r));
	tokens->dirty = false;
	tokens->written_usec = now_usec;
}

struct tokens *tokens_close(struct tokens *tokens)
{
	if (!tokens)
		return NULL;
	if (tokens->dirty)
		write_uses(tokens, 0);
	free(tokens->path);
	free(tokens);
	return NULL;
}

/* Takes SET's place in memory once the disk has it. */
static int replace_set(struct tokens *tokens, const struct token_set *set)
{
	int r = write_set(tokens->path, set);
	if (r == 0) {
		tokens->set = *set;
		tokens->dirty = false;
	}
	return r;
}

/* ---- what is asked for ---- */

static bool random_hex(char *ret, size_t count)
{
	unsigned char bytes[TOKEN_BYTES];
	bool good = getrandom(bytes, count, 0) == (ssize_t)count;
	if (good)
		to_hex(ret, bytes, count);
	wipe(bytes, sizeof bytes);
	return good;
}

bool tokens_full(const struct tokens *tokens)
{
	return tokens->set.count == TOKENS_MAX;
}

static size_t find(const struct token_set *set, const char *id)
{
	size_t i = 0;
	while (i < set->count && strcmp(set->items[i].id, id) != 0)
		i++;
	return i;
}

bool tokens_has(const struct tokens *tokens, const char *id)
{
	return find(&tokens->set, id) < tokens->set.count;
}

int tokens_create(struct tokens *tokens, const struct token_request *request, uint64_t now_usec, char id[static TOKEN_ID_MAX],
	char text[static TOKEN_TEXT_MAX])
{
	if (tokens_full(tokens))
		return -EUSERS;
	struct token_set set = tokens->set;
	struct token *token = &set.items[set.count++];
	*token = (struct token){.scope = request->scope, .created_usec = now_usec, .expires_usec = request->expires_usec};
	snprintf(token->name, sizeof token->name, "%s", request->name);
	strcpy(text, TOKEN_PREFIX);
	if (!random_hex(token->id, (TOKEN_ID_MAX - 1) / 2) || !random_hex(text + strlen(TOKEN_PREFIX), TOKEN_BYTES) || !hash_of(text, token->hash))
		return -EIO;
	strcpy(id, token->id);
	return replace_set(tokens, &set);
}

int tokens_revoke(struct tokens *tokens, const char *id, char **ret_name)
{
	struct token_set set = tokens->set;
	size_t i = find(&set, id);
	if (i == set.count)
		return -ENOENT;
	_cleanup_free_ char *name = text_dup(set.items[i].name);
	memmove(&set.items[i], &set.items[i + 1], (set.count - i - 1) * sizeof set.items[0]);
	set.items[--set.count] = (struct token){};
	int r = replace_set(tokens, &set);
	if (r == 0)
		*ret_name = STEAL(name);
	return r;
}

json_object *tokens_list(const struct tokens *tokens)
{
	json_object *array = json_object_new_array();
	for (size_t i = 0; i < tokens->set.count; i++) {
		const struct token *token = &tokens->set.items[i];
		json_object *object = json_object_new_object();
		json_object_object_add(object, "id", json_object_new_string(token->id));
		json_object_object_add(object, "name", json_object_new_string(token->name));
		json_object_object_add(object, "scope", json_object_new_string(scope_to_string(token->scope)));
		json_object_object_add(object, "created", json_time(token->created_usec));
		json_object_object_add(object, "expires", json_time(token->expires_usec));
		json_object_object_add(object, "lastUsed", json_time(token->used_usec));
		json_object_array_add(array, object);
	}
	return array;
}

bool tokens_check(struct tokens *tokens, const char *text, uint64_t now_usec, struct caller *caller)
{
	unsigned char hash[HASH_BYTES];
	struct token *found = NULL;
	if (!hash_of(text, hash))
		return false;
	/* To the end, whichever fits, and each in constant time: neither the place nor the beginning of a match shows. */
	for (size_t i = 0; i < tokens->set.count; i++)
		if (CRYPTO_memcmp(tokens->set.items[i].hash, hash, HASH_BYTES) == 0)
			found = &tokens->set.items[i];
	if (!found || (found->expires_usec && found->expires_usec <= now_usec))
		return false;
	found->used_usec = now_usec;
	tokens->dirty = true;
	if (now_usec - tokens->written_usec >= USE_WRITE_USEC)
		write_uses(tokens, now_usec);
	caller->scope = found->scope;
	caller->uid = (uid_t)-1;
	caller->pid = 0;
	snprintf(caller->name, sizeof caller->name, "token %s", found->name);
	return true;
}
