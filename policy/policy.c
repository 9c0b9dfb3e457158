/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The life of a policy, and what can be asked of one. */

#include "policy/policy.h"

#include <string.h>

#include "policy/rule.h"
#include "util/text.h"

/* Each is twice as large as the one before, so that a small policy is small and a large one has few. */
#define BLOCK_MIN 1024
#define BLOCK_MAX 65536

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(max_align_t) unsigned char bytes[];
};

static struct arena_block *arena_grow(struct arena *arena, size_t size)
{
	size_t usual = arena->blocks ? MIN_OF(arena->blocks->size * 2, (size_t)BLOCK_MAX) : BLOCK_MIN;
	size = MAX_OF(size, usual);
	struct arena_block *block = xcalloc(1, sizeof *block + size);
	block->size = size;
	block->next = arena->blocks;
	return arena->blocks = block;
}

static void *arena_take(struct arena *arena, size_t size, size_t alignment)
{
	struct arena_block *block = arena->blocks;
	size_t at = block ? (block->used + alignment - 1) / alignment * alignment : 0;
	if (!block || at > block->size || size > block->size - at) {
		block = arena_grow(arena, size);
		at = 0;
	}
	block->used = at + size;
	return block->bytes + at;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	return arena_take(arena, size, _Alignof(max_align_t));
}

const char *arena_string(struct arena *arena, const char *string)
{
	size_t size = strlen(string) + 1;
	return memcpy(arena_take(arena, size, 1), string, size);
}

void arena_done(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *block = arena->blocks;
		arena->blocks = block->next;
		free(block);
	}
}

int policy_new(json_object *document, struct policy **ret, struct problems *problems)
{
	_cleanup_policy_ struct policy *policy = xcalloc(1, sizeof *policy);
	policy->references = 1;
	if (!strings_are_whole(document, problems) || !policy_parse(policy, document, problems) || !policy_check(policy, problems))
		return -EINVAL;
	policy->text = text_dup(json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN));
	policy->index = index_new(policy->rules, policy->rule_count);
	policy_document_hash(document, policy->hash);
	*ret = STEAL(policy);
	return 0;
}

struct policy *policy_ref(struct policy *policy)
{
	policy->references++;
	return policy;
}

struct policy *policy_unref(struct policy *policy)
{
	if (!policy || --policy->references > 0)
		return NULL;
	index_free(policy->index);
	arena_done(&policy->arena);
	json_object_put(policy->limits_document);
	free(policy->text);
	free(policy);
	return NULL;
}

const char *policy_name(const struct policy *policy)
{
	return policy->name;
}

const char *policy_hash(const struct policy *policy)
{
	return policy->hash;
}

bool policy_same(const struct policy *a, const struct policy *b)
{
	return a == b || strcmp(a->hash, b->hash) == 0;
}

size_t policy_rule_count(const struct policy *policy)
{
	return policy->rule_count;
}

const char *policy_rule_name(const struct policy *policy, int rule)
{
	bool known = rule >= policy->first_rule && (size_t)(rule - policy->first_rule) < policy->rule_count;
	return known ? policy->rules[rule - policy->first_rule].name : NULL;
}

uint64_t policy_stable_after_usec(const struct policy *policy)
{
	return policy->stable_after_usec;
}

json_object *policy_to_json(const struct policy *policy)
{
	json_object *document = json_tokener_parse(policy->text);
	if (!document)
		abort(); /* memory ran out: the text is json-c's own */
	return document;
}

const char *policy_document_text(const struct policy *policy)
{
	return policy->text;
}
