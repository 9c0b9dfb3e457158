/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Which rules can match a context at all, so that the others cost nothing. Every rule stands in one or more ascending
 * lists:
 *
 *  - by key (a stop with an error, or another event), or under KEY_ANY_STOP where it takes every stop;
 *  - and, where one of its conditions names strings (an endpoint, a network's profile …), by key and one of those
 * strings, found by hash. The string must be the context's for the rule to hold, so all other such lists are never
 * looked at.
 *
 * A context belongs to a few lists; their heads are merged in the order of the rules until one matches. Long lists have
 * summaries per block and per stride of entries (bounds of attempt and connectedFor), so that ladders of many steps are
 * climbed quickly. A list may hold more than can match, never less: conditions_judge() has the last word on each.
 */

#include <string.h>
#include <strings.h>

#include "policy/rule.h"
#include "util/text.h"

#define KEY_ANY_STOP       KEY_COUNT       /* rules that take every stop */
#define KEY_ANY            (KEY_COUNT + 1) /* strings of rules of too many keys to have a list for each */
#define KEYS_ALL_COUNT     (KEY_COUNT + 2)
#define LISTS_PER_RULE_MAX 16
#define BLOCK              32
#define STRIDE             (BLOCK * BLOCK)

struct summary {
	struct range attempt, connected_for;
};

struct list {
	uint16_t *rules;
	uint32_t count, allocated;
	struct summary *blocks, *strides; /* one per BLOCK, per STRIDE rules; NULL where one BLOCK is all */
};
_Static_assert(POLICY_RULES_MAX <= UINT16_MAX, "a rule's index fits 16 bits");

struct slot {
	const char *value; /* NULL: free */
	uint8_t key, field;
	struct list list;
};

struct index {
	struct list by_key[KEYS_ALL_COUNT];
	unsigned fields; /* bits: those by which any rule is found */
	struct slot *slots;
	size_t slot_count, slots_used; /* slot_count: a power of two */
};

/* The strings by which rules are found, the most telling first. The tunnel is one only where it is no pattern. */
static const struct {
	enum condition condition;
	size_t strings;
	size_t value; /* in struct policy_context */
} fields[] = {
#define FIELD(condition, member, context_member)                                                                       \
	{                                                                                                              \
		CONDITION_##condition, offsetof(struct conditions, member),                                            \
			offsetof(struct policy_context, context_member)                                                \
	}
	FIELD(PROFILE, profile, network.profile),
	FIELD(ENDPOINT, endpoint, endpoint),
	FIELD(BSSID, bssid, network.bssid),
	FIELD(SSID, ssid, network.ssid),
	FIELD(TUNNEL, tunnel, tunnel),
	FIELD(INTERFACE, interface, network.interface),
	FIELD(DRIVER, driver, driver),
	FIELD(TYPE, type, network.type),
#undef FIELD
};

/* Case does not count, since it does not in a BSSID. */
static uint64_t hash(const char *value, unsigned key, unsigned field)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (key << 8 | field);
	for (; *value; value++)
		hash = (hash ^ (unsigned char)(*value | 0x20)) * UINT64_C(0x100000001b3);
	return hash ^ hash >> 32;
}

/* The slot of these, or the free one where they belong; NULL without any slots. */
static struct slot *find(const struct index *index, const char *value, unsigned key, unsigned field)
{
	if (index->slot_count == 0)
		return NULL;
	size_t at = hash(value, key, field) & (index->slot_count - 1);
	while (index->slots[at].value && (index->slots[at].key != key || index->slots[at].field != field ||
						 strcasecmp(index->slots[at].value, value) != 0))
		at = (at + 1) & (index->slot_count - 1);
	return &index->slots[at];
}

static void grow(struct index *index)
{
	struct index larger = *index;
	larger.slot_count = index->slot_count ? index->slot_count * 2 : 16;
	larger.slots = xcalloc(larger.slot_count, sizeof *larger.slots);
	for (size_t i = 0; i < index->slot_count; i++)
		if (index->slots[i].value)
			*find(&larger, index->slots[i].value, index->slots[i].key, index->slots[i].field) =
				index->slots[i];
	free(index->slots);
	*index = larger;
}

static void append(struct list *list, size_t rule)
{
	if (list->count > 0 && list->rules[list->count - 1] == rule)
		return; /* a document may name a value twice */
	if (list->count == list->allocated) {
		list->allocated = list->allocated ? list->allocated * 2 : 4;
		list->rules = xrealloc(list->rules, list->allocated * sizeof *list->rules);
	}
	list->rules[list->count++] = (uint16_t)rule;
}

static void append_by_value(struct index *index, const char *value, unsigned key, unsigned field, size_t rule)
{
	if (index->slots_used * 2 >= index->slot_count)
		grow(index);
	struct slot *slot = find(index, value, key, field);
	if (!slot->value) {
		*slot = (struct slot){.value = value, .key = (uint8_t)key, .field = (uint8_t)field};
		index->slots_used++;
	}
	append(&slot->list, rule);
	index->fields |= 1u << field;
}

static const struct strings *strings_of(const struct conditions *conditions, unsigned field)
{
	return (const struct strings *)((const char *)conditions + fields[field].strings);
}

static const char *value_of(const struct policy_context *context, unsigned field)
{
	return *(const char *const *)((const char *)context + fields[field].value);
}

static bool can_be_found_by(const struct conditions *conditions, unsigned field)
{
	const struct strings *strings = strings_of(conditions, field);
	if (!(conditions->present & CONDITION_BIT(fields[field].condition)) || strings->count > LISTS_PER_RULE_MAX)
		return false;
	for (size_t i = 0; fields[field].condition == CONDITION_TUNNEL && i < strings->count; i++)
		if (strpbrk(strings->values[i], "*?"))
			return false;
	return true;
}

static void add_by_strings(struct index *index, size_t rule, const struct conditions *conditions, unsigned field)
{
	const struct strings *strings = strings_of(conditions, field);
	bool each_key = (size_t)__builtin_popcountll(conditions->keys) * strings->count <= LISTS_PER_RULE_MAX;
	for (size_t i = 0; i < strings->count; i++)
		if (each_key)
			for (uint64_t keys = conditions->keys; keys; keys &= keys - 1)
				append_by_value(
					index, strings->values[i], (unsigned)__builtin_ctzll(keys), field, rule);
		else
			append_by_value(index, strings->values[i], KEY_ANY, field, rule);
}

static void add(struct index *index, size_t rule, const struct conditions *conditions)
{
	for (unsigned field = 0; field < ELEMENTSOF(fields); field++)
		if (can_be_found_by(conditions, field)) {
			add_by_strings(index, rule, conditions, field);
			return;
		}
	uint64_t keys = conditions->keys;
	if ((keys & KEYS_OF_ERRORS) == KEYS_OF_ERRORS) {
		append(&index->by_key[KEY_ANY_STOP], rule);
		keys &= ~KEYS_OF_ERRORS;
	}
	for (; keys; keys &= keys - 1)
		append(&index->by_key[__builtin_ctzll(keys)], rule);
}

static void widen(struct range *hull, const struct range *range)
{
	hull->min = MIN_OF(hull->min, range->min);
	hull->max = MAX_OF(hull->max, range->max);
}

/* One summary per SIZE rules of LIST. */
static struct summary *summarise(const struct list *list, const struct rule *rules, size_t size)
{
	struct summary *summaries = xcalloc((list->count + size - 1) / size, sizeof *summaries);
	for (size_t i = 0; i < list->count; i++) {
		const struct conditions *when = &rules[list->rules[i]].when;
		struct summary *summary = &summaries[i / size];
		if (i % size == 0)
			*summary = (struct summary){.attempt = when->attempt, .connected_for = when->connected_for};
		widen(&summary->attempt, &when->attempt);
		widen(&summary->connected_for, &when->connected_for);
	}
	return summaries;
}

static void list_finish(struct list *list, const struct rule *rules)
{
	if (list->count <= BLOCK)
		return;
	list->blocks = summarise(list, rules, BLOCK);
	list->strides = summarise(list, rules, STRIDE);
}

struct index *index_new(const struct rule *rules, size_t count)
{
	struct index *index = xcalloc(1, sizeof *index);
	for (size_t i = 0; i < count; i++)
		add(index, i, &rules[i].when);
	for (size_t i = 0; i < KEYS_ALL_COUNT; i++)
		list_finish(&index->by_key[i], rules);
	for (size_t i = 0; i < index->slot_count; i++)
		if (index->slots[i].value)
			list_finish(&index->slots[i].list, rules);
	return index;
}

static void list_done(struct list *list)
{
	free(list->rules);
	free(list->blocks);
	free(list->strides);
}

struct index *index_free(struct index *index)
{
	if (!index)
		return NULL;
	for (size_t i = 0; i < KEYS_ALL_COUNT; i++)
		list_done(&index->by_key[i]);
	for (size_t i = 0; i < index->slot_count; i++)
		list_done(&index->slots[i].list);
	free(index->slots);
	free(index);
	return NULL;
}

struct cursor {
	const struct list *list;
	uint32_t at;
};

static bool within(const struct range *range, uint64_t value)
{
	return value >= range->min && value <= range->max;
}

static bool admits(const struct summary *summary, const struct policy_context *context)
{
	return within(&summary->attempt, context->attempt) &&
	       within(&summary->connected_for, context->connected_for_usec);
}

/* Moves over strides and blocks of which no rule can match. Returns false at the end. */
static bool skip(struct cursor *cursor, const struct policy_context *context)
{
	const struct list *list = cursor->list;
	while (cursor->at < list->count)
		if (!list->blocks)
			return true;
		else if (cursor->at % STRIDE == 0 && !admits(&list->strides[cursor->at / STRIDE], context))
			cursor->at += STRIDE;
		else if (cursor->at % BLOCK == 0 && !admits(&list->blocks[cursor->at / BLOCK], context))
			cursor->at += BLOCK;
		else
			return true;
	return false;
}

#define CURSORS_MAX (2 + 2 * ELEMENTSOF(fields))

static size_t open_cursors(const struct index *index, const struct policy_context *context, struct cursor *cursors)
{
	unsigned key = context_key(context);
	const unsigned keys[] = {key, KEY_ANY};
	size_t count = 0;
	cursors[count++].list = &index->by_key[key];
	if (context->event == POLICY_EVENT_WILL_STOP)
		cursors[count++].list = &index->by_key[KEY_ANY_STOP];
	for (unsigned left = index->fields; left; left &= left - 1) {
		unsigned field = (unsigned)__builtin_ctz(left);
		const char *value = value_of(context, field);
		for (size_t i = 0; value && value != POLICY_UNKNOWN && i < ELEMENTSOF(keys); i++) {
			const struct slot *slot = find(index, value, keys[i], field);
			if (slot && slot->value)
				cursors[count++].list = &slot->list;
		}
	}
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		cursors[i].at = 0;
		if (skip(&cursors[i], context))
			cursors[kept++] = cursors[i];
	}
	return kept;
}

int index_first_match(const struct index *index, const struct rule *rules, const struct policy_context *context)
{
	struct cursor cursors[CURSORS_MAX];
	size_t count = open_cursors(index, context, cursors);
	while (count > 0) {
		size_t first = 0;
		for (size_t i = 1; i < count; i++)
			if (cursors[i].list->rules[cursors[i].at] < cursors[first].list->rules[cursors[first].at])
				first = i;
		uint16_t rule = cursors[first].list->rules[cursors[first].at++];
		if (conditions_judge(&rules[rule].when, context, NULL) == POLICY_TRUE)
			return rule;
		if (!skip(&cursors[first], context))
			cursors[first] = cursors[--count];
	}
	return -1;
}
