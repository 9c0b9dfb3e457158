/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The life of a policy, and what can be asked of one. */

#include "policy/policy.h"

#include <string.h>

#include "policy/rule.h"
#include "util/text.h"

struct arena_block {
	struct arena_block *next;
	max_align_t bytes[];
};

void *arena_alloc(struct arena *arena, size_t size)
{
	struct arena_block *block = xcalloc(1, sizeof *block + size);
	block->next = arena->blocks;
	arena->blocks = block;
	return block->bytes;
}

void arena_done(struct arena *arena)
{
	while (arena->blocks) {
		struct arena_block *block = arena->blocks;
		arena->blocks = block->next;
		free(block);
	}
}

static json_object *copy(json_object *document)
{
	json_object *duplicate = NULL;
	if (document && json_object_deep_copy(document, &duplicate, NULL) < 0)
		abort(); /* memory ran out; nothing else fails */
	return duplicate;
}

int policy_new(json_object *document, struct policy **ret, struct problems *problems)
{
	_cleanup_policy_ struct policy *policy = xcalloc(1, sizeof *policy);
	policy->references = 1;
	policy->document = copy(document);
	if (!strings_are_whole(policy->document, problems) || !policy_parse(policy, problems) ||
		!policy_check(policy, problems))
		return -EINVAL;
	policy->index = index_new(policy->rules, policy->rule_count);
	policy_document_hash(policy->document, policy->hash);
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
	json_object_put(policy->document);
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
	return copy(policy->document);
}
