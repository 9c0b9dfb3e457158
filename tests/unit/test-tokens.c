/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tokens: who has one comes in, nobody else does, and the file does not say what one is. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/tokens.h"
#include "suite.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

#define NOW (1000 * USEC_PER_SEC)

static char folder[32], path[64];
static struct tokens *tokens;

static void begin(void)
{
	strcpy(folder, "/tmp/holdfast-token-XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/tokens.json", folder);
	CU_ASSERT_EQUAL(tokens_open(&tokens, path), 0);
}

static void end(void)
{
	tokens = tokens_close(tokens);
	unlink(path);
	rmdir(folder);
}

static void reopen(void)
{
	tokens_close(tokens);
	CU_ASSERT_EQUAL(tokens_open(&tokens, path), 0);
}

static bool is_good(const char *text, uint64_t now, struct caller *ret)
{
	*ret = (struct caller){};
	return tokens_check(tokens, text, now, ret);
}

static void make(const char *name, enum scope scope, uint64_t expires, char id[TOKEN_ID_MAX], char text[TOKEN_TEXT_MAX])
{
	struct token_request request = {.name = name, .scope = scope, .expires_usec = expires};
	CU_ASSERT_EQUAL_FATAL(tokens_create(tokens, &request, NOW, id, text), 0);
}

static void a_token_is_good_over_a_restart(void)
{
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX];
	struct caller caller;
	begin();
	make("ci", SCOPE_CONTROL, 0, id, text);
	CU_ASSERT_EQUAL(strlen(text), strlen(TOKEN_PREFIX) + 64);
	for (int i = 0; i < 2; i++, reopen()) {
		CU_ASSERT_TRUE(is_good(text, NOW, &caller));
		CU_ASSERT_EQUAL(caller.scope, SCOPE_CONTROL);
		CU_ASSERT_EQUAL(caller.uid, (uid_t)-1);
		CU_ASSERT_STRING_EQUAL(caller.name, "token ci");
	}
	end();
}

static void what_is_no_token_is_nobody(void)
{
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX], other[TOKEN_TEXT_MAX];
	struct caller caller;
	begin();
	CU_ASSERT_FALSE(is_good("", NOW, &caller));
	make("ci", SCOPE_CONTROL, 0, id, text);
	make("ci", SCOPE_CONTROL, 0, id, other);
	CU_ASSERT_STRING_NOT_EQUAL(text, other);
	text[TOKEN_TEXT_MAX - 2] ^= 1;
	CU_ASSERT_FALSE(is_good(text, NOW, &caller));
	text[TOKEN_TEXT_MAX - 2] ^= 1;
	text[TOKEN_TEXT_MAX - 3] = 0;
	CU_ASSERT_FALSE(is_good(text, NOW, &caller));
	CU_ASSERT_FALSE(is_good(id, NOW, &caller));
	CU_ASSERT_EQUAL(caller.scope, SCOPE_NONE);
	end();
}

static void an_expired_token_is_nobody(void)
{
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX];
	struct caller caller;
	begin();
	make("guest", SCOPE_READ, NOW + 10, id, text);
	CU_ASSERT_TRUE(is_good(text, NOW + 9, &caller));
	CU_ASSERT_FALSE(is_good(text, NOW + 10, &caller));
	end();
}

static void a_revoked_token_is_nobody(void)
{
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX], kept_id[TOKEN_ID_MAX], kept[TOKEN_TEXT_MAX];
	_cleanup_free_ char *name = NULL;
	struct caller caller;
	begin();
	make("gone", SCOPE_ADMIN, 0, id, text);
	make("kept", SCOPE_READ, 0, kept_id, kept);
	CU_ASSERT_EQUAL(tokens_revoke(tokens, id, &name), 0);
	CU_ASSERT_STRING_EQUAL(name, "gone");
	CU_ASSERT_EQUAL(tokens_revoke(tokens, id, &name), -ENOENT);
	for (int i = 0; i < 2; i++, reopen()) {
		CU_ASSERT_FALSE(is_good(text, NOW, &caller));
		CU_ASSERT_TRUE(is_good(kept, NOW, &caller));
	}
	end();
}

static void neither_the_file_nor_the_list_says_what_a_token_is(void)
{
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX];
	struct stat status;
	begin();
	make("ci", SCOPE_CONTROL, 0, id, text);
	_cleanup_free_ char *file = NULL;
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &file, &length), 0);
	_cleanup_json_ json_object *list = tokens_list(tokens);
	CU_ASSERT_PTR_NULL(strstr(file, text + strlen(TOKEN_PREFIX)));
	CU_ASSERT_PTR_NULL(strstr(json_object_to_json_string(list), text + strlen(TOKEN_PREFIX)));
	CU_ASSERT_PTR_NULL(strstr(json_object_to_json_string(list), "sha256"));
	CU_ASSERT_PTR_NOT_NULL(strstr(json_object_to_json_string(list), id));
	CU_ASSERT_EQUAL(stat(path, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 07777, 0600);
	end();
}

static void the_last_use_is_kept(void)
{
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX];
	struct caller caller;
	begin();
	make("ci", SCOPE_CONTROL, 0, id, text);
	_cleanup_json_ json_object *before = tokens_list(tokens);
	CU_ASSERT_PTR_NULL(json_object_object_get(json_object_array_get_idx(before, 0), "lastUsed"));
	CU_ASSERT_TRUE(is_good(text, NOW, &caller));
	CU_ASSERT_TRUE(is_good(text, NOW + USEC_PER_SEC, &caller)); /* not written at once */
	reopen();
	_cleanup_json_ json_object *after = tokens_list(tokens);
	CU_ASSERT_STRING_EQUAL(
		json_object_get_string(json_object_object_get(json_object_array_get_idx(after, 0), "lastUsed")), "1970-01-01T00:16:41.000Z");
	end();
}

static void a_broken_file_lets_nobody_in(void)
{
	static const char *const files[] = {"", "{", "[]", "{\"format\": 2, \"tokens\": []}", "{\"format\": 1, \"tokens\": [{}]}", "{\"format\": 1}"};
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX];
	struct caller caller;
	for (size_t i = 0; i < ELEMENTSOF(files); i++) {
		begin();
		make("ci", SCOPE_CONTROL, 0, id, text);
		tokens_close(tokens);
		CU_ASSERT_EQUAL(file_write_atomic(path, files[i], strlen(files[i]), 0600), 0);
		CU_ASSERT_TRUE(tokens_open(&tokens, path) < 0);
		CU_ASSERT_FALSE(is_good(text, NOW, &caller));
		end();
	}
}

static void so_many_and_no_more(void)
{
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX];
	struct token_request request = {.name = "one too many", .scope = SCOPE_READ};
	begin();
	for (int i = 0; i < TOKENS_MAX; i++)
		make("one of many", SCOPE_READ, 0, id, text);
	CU_ASSERT_EQUAL(tokens_create(tokens, &request, NOW, id, text), -EUSERS);
	end();
}

static void what_the_disk_does_not_take_is_not_made(void)
{
	char id[TOKEN_ID_MAX], text[TOKEN_TEXT_MAX];
	struct token_request request = {.name = "lost", .scope = SCOPE_READ};
	struct caller caller;
	struct tokens *lost;
	CU_ASSERT_EQUAL(tokens_open(&lost, "/nowhere/tokens.json"), 0);
	CU_ASSERT_TRUE(tokens_create(lost, &request, NOW, id, text) < 0);
	CU_ASSERT_FALSE(tokens_check(lost, text, NOW, &caller));
	tokens_close(lost);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"a token is good, over a restart too", a_token_is_good_over_a_restart},
		{"what is no token is nobody", what_is_no_token_is_nobody},
		{"an expired token is nobody", an_expired_token_is_nobody},
		{"a revoked token is nobody", a_revoked_token_is_nobody},
		{"neither the file nor the list says what a token is", neither_the_file_nor_the_list_says_what_a_token_is},
		{"the last use is kept", the_last_use_is_kept},
		{"a broken file lets nobody in", a_broken_file_lets_nobody_in},
		{"so many and no more", so_many_and_no_more},
		{"what the disk does not take is not made", what_the_disk_does_not_take_is_not_made},
	};
	return suite_run("tokens", tests, ELEMENTSOF(tests), argc, argv);
}
