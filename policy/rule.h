/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The compiled form of a policy; nothing outside policy/ includes this.
 *
 * A document is parsed (parse.c, condition.c, action.c) into rules whose conditions stand in plain structures, checked
 * as a whole (check.c) and indexed (index.c). After policy_new() nothing of it changes. Everything is in the policy's
 * arena, strings too, and lives exactly as long as the policy. Of the document it keeps the text: as a tree it takes
 * twenty-five times as much.
 *
 * What a rule can be about is a set of keys: a stop with an error each (bit = the error), and each other event (bit 32
 * + event). The conditions event, error and class of a rule come to such a set, by which rules are indexed and
 * compared.
 */

#include "policy/policy.h"

/* In the order of the reference, in which they are judged and explained. A new one: here, rows[] in match.c, the tables
 * in condition.c. */
enum condition {
	CONDITION_EVENT,
	CONDITION_ERROR,
	CONDITION_CLASS,
	CONDITION_TUNNEL,
	CONDITION_DRIVER,
	CONDITION_PHASE,
	CONDITION_ATTEMPT,
	CONDITION_RESTARTS,
	CONDITION_CONNECTED_FOR,
	CONDITION_ENDPOINT,
	CONDITION_TIME,
	CONDITION_AVAILABLE,
	CONDITION_TYPE,
	CONDITION_INTERFACE,
	CONDITION_SSID,
	CONDITION_BSSID,
	CONDITION_PROFILE,
	CONDITION_METERED,
	CONDITION_NOT,
	CONDITION_COUNT,
};
#define CONDITION_BIT(condition) (1u << (condition))
#define CONDITIONS_OF_KEYS                                                                                             \
	(CONDITION_BIT(CONDITION_EVENT) | CONDITION_BIT(CONDITION_ERROR) | CONDITION_BIT(CONDITION_CLASS))
#define CONDITIONS_OF_NETWORK                                                                                          \
	(CONDITION_BIT(CONDITION_AVAILABLE) | CONDITION_BIT(CONDITION_TYPE) | CONDITION_BIT(CONDITION_INTERFACE) |     \
		CONDITION_BIT(CONDITION_SSID) | CONDITION_BIT(CONDITION_BSSID) | CONDITION_BIT(CONDITION_PROFILE) |    \
		CONDITION_BIT(CONDITION_METERED))

struct strings {
	const char *const *values;
	size_t count;
};

struct range {
	uint64_t min, max; /* both included */
};

struct conditions {
	unsigned present; /* CONDITION_BIT()s; what is not present holds */
	uint64_t keys;    /* what event, error and class leave; KEYS_ALL where none is present */
	uint8_t events;   /* bits by enum policy_event */
	uint32_t errors;  /* bits by enum tunnel_error */
	uint32_t classes; /* bits by enum error_class */
	uint8_t phases;   /* bits by enum policy_phase */
	struct strings tunnel, driver, endpoint, type, interface, ssid, bssid, profile;
	struct range attempt, restarts, connected_for;
	uint64_t restarts_per_usec;
	struct {
		uint8_t days;      /* bits by day, 0 Monday; those on which the span begins */
		uint16_t from, to; /* minutes; from > to: over midnight; `to` is not included */
	} time;
	bool available, metered;
	const struct conditions *negated; /* NOT */
};

/* No condition: the ranges of what is not present are whole, for the index and for comparing rules. */
#define RANGE_ANY                                                                                                      \
	(struct range)                                                                                                 \
	{                                                                                                              \
		0, UINT64_MAX                                                                                          \
	}
#define CONDITIONS_NULL                                                                                                \
	(struct conditions)                                                                                            \
	{                                                                                                              \
		.attempt = RANGE_ANY, .restarts = RANGE_ANY, .connected_for = RANGE_ANY                                \
	}

#define KEY_OF_EVENT(event) (32u + (unsigned)(event))
#define KEY_COUNT           KEY_OF_EVENT(POLICY_EVENT_COUNT)
#define KEY_BIT(key)        (UINT64_C(1) << (key))
#define KEYS_OF_ERRORS      (KEY_BIT(TUNNEL_ERROR_COUNT) - 1) /* every stop, that without an error too */
#define KEYS_OF_EVENTS      (KEY_BIT(KEY_COUNT) - KEY_BIT(KEY_OF_EVENT(POLICY_EVENT_WILL_STOP + 1)))
#define KEYS_ALL            (KEYS_OF_ERRORS | KEYS_OF_EVENTS)
_Static_assert(TUNNEL_ERROR_COUNT <= 32, "errors fit a mask of 32 bits");

struct rule {
	const char *name; /* NULL: none */
	struct conditions when;
	const struct policy_action *then;
};

struct limits {
	unsigned restarts; /* 0: no limit */
	uint64_t per_usec;
	const struct policy_action *then; /* NULL: wait until the window allows it */
};

/* index.c: per key the rules that can match it, ascending. */
struct index;
struct index *index_new(const struct rule *rules, size_t count);
struct index *index_free(struct index *index);
/* The first rule whose conditions all hold, or -1. */
int index_first_match(const struct index *index, const struct rule *rules, const struct policy_context *context);

struct arena {
	struct arena_block *blocks; /* the first is the one that has room left */
};
void *arena_alloc(struct arena *arena, size_t size); /* zeroed */
const char *arena_string(struct arena *arena, const char *string);
void arena_done(struct arena *arena);

struct policy {
	unsigned references;
	char *text;		     /* the document, compact; NULL in what is left of a policy */
	json_object *limits_document; /* a part of it; NULL: it has none */
	struct arena arena;
	char hash[POLICY_HASH_MAX];
	const char *name;
	uint64_t stable_after_usec;
	struct rule *rules;
	size_t rule_count;
	int first_rule; /* the index of rules[0]: 0, but in what is left of a policy (remnant.c) */
	const struct policy_action *otherwise;
	struct limits limits;
	struct index *index;
};

/* parse.c: fills POLICY from DOCUMENT, of which nothing is kept but its `limits`. Returns true if no error was added. */
bool policy_parse(struct policy *policy, json_object *document, struct problems *problems);

/* action.c: what field readers share while a document is read; the `context` of fields_read(). */
struct reading {
	struct arena *arena;
	unsigned depth;     /* of the action being read */
	unsigned negations; /* around the conditions being read */
};
/* ALLOWED: bits by enum policy_action_type. Returns the action, or NULL after adding problems. */
const struct policy_action *action_read(
	json_object *value, unsigned allowed, const char *pointer, struct reading *reading, struct problems *problems);
#define ACTION_BIT(type) (1u << (type))
#define ACTIONS_ON_STOP                                                                                                \
	(ACTION_BIT(POLICY_ACTION_RESTART) | ACTION_BIT(POLICY_ACTION_FAILOVER) | ACTION_BIT(POLICY_ACTION_WAIT) |     \
		ACTION_BIT(POLICY_ACTION_ASK) | ACTION_BIT(POLICY_ACTION_TERMINATE))
#define ACTIONS_ELSEWHERE                                                                                              \
	(ACTION_BIT(POLICY_ACTION_CONNECT) | ACTION_BIT(POLICY_ACTION_DISCONNECT) |                                    \
		ACTION_BIT(POLICY_ACTION_RESTART) | ACTION_BIT(POLICY_ACTION_FAILOVER) |                               \
		ACTION_BIT(POLICY_ACTION_IGNORE))
#define ACTIONS_AT_THE_LIMIT                                                                                           \
	(ACTION_BIT(POLICY_ACTION_WAIT) | ACTION_BIT(POLICY_ACTION_ASK) | ACTION_BIT(POLICY_ACTION_TERMINATE))
/* "restart, wait or terminate", for sentences. The caller frees it. */
char *actions_describe(unsigned allowed);
extern const struct policy_action action_restart, action_terminate; /* the defaults */

/* condition.c: a field reader; RET is a struct conditions, CONDITIONS_NULL. Does not settle events and keys, which
 * differ inside `not`. */
void conditions_read(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context);
/* What event, error and class leave of all keys. */
uint64_t conditions_keys(const struct conditions *conditions);

/* names.c */
int policy_day_from_string(const char *string);    /* "mon": 0 … "sun": 6, or -EINVAL */
int policy_minute_from_string(const char *string); /* "00:00" … "24:00": 0 … 1440, or -EINVAL */

/* reader.c: field readers beyond those of util/fields.h. */
bool strings_are_whole(json_object *document, struct problems *problems); /* no NUL in any: the others rely on it */
bool read_whole(
	json_object *value, const char *pointer, uint64_t min, uint64_t max, uint64_t *ret, struct problems *problems);
bool read_fraction(
	json_object *value, const char *pointer, double min, double max, double *ret, struct problems *problems);
bool read_string(json_object *value, const char *pointer, size_t max, const char **ret, struct problems *problems);
void field_duration_positive(
	json_object *value, const char *pointer, void *ret_uint64_usec, struct problems *problems, void *context);
/* Calls READ for VALUE, or for each of its elements where it is an array, which must not be empty. */
typedef void (*element_reader)(
	json_object *value, const char *pointer, void *ret, struct problems *problems, void *context);
void read_each(json_object *value, const char *pointer, element_reader read, void *ret, struct problems *problems,
	void *context);
/* ret is a struct strings with room for all elements; see strings_reserve(). */
void strings_reserve(struct strings *strings, json_object *value, struct arena *arena);
void strings_add(struct strings *strings, const char *string, struct arena *arena);
bool tunnel_id_plausible(const char *id, bool glob);

/* check.c: what only whole rules, and rules beside each other, show. Adds warnings too; true if no error was added. */
bool policy_check(const struct policy *policy, struct problems *problems);

/*
 * match.c: whether all conditions hold. RET_FAILED, where not NULL, gets the first that does not (untouched where all
 * do).
 */
enum policy_truth conditions_judge(
	const struct conditions *conditions, const struct policy_context *context, enum condition *ret_failed);
enum policy_truth condition_judge(
	enum condition condition, const struct conditions *conditions, const struct policy_context *context);
const char *condition_pointer(enum condition condition);  /* "/network/available" */
bool glob_match(const char *pattern, const char *string); /* * and ? */
unsigned context_key(const struct policy_context *context);

/* canonical.c: FNV-1a 64 over the document with members sorted and numbers in one form. */
void policy_document_hash(json_object *document, char ret[POLICY_HASH_MAX]);
