/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A rendered gate: the rules of each chain as nft(8) text, and beside them what a read-back must find again. The objects of the table and the
 * chains that guard are the same in every state; the others are there while they have something to do, for each costs every packet. So one
 * transaction needs no more than `add` (which is idempotent), `flush chain`, rules, and `delete chain` for those that are known to be there, and
 * what lives in the table (counters, the release) survives it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/text.h"

enum gate_chain {
	CHAIN_INPUT,
	CHAIN_OUTPUT,
	CHAIN_FORWARD,
	CHAIN_PREROUTING,
	CHAIN_REROUTE,
	CHAIN_POSTROUTING,
	CHAIN_COUNT
};

struct chain_definition {
	const char *name, *type, *hook;
	uint32_t hook_number; /* NF_INET_… */
	int32_t priority;
	bool guards; /* its policy is the plan's; the others accept */
};
extern const struct chain_definition chain_definitions[CHAIN_COUNT];

enum gate_counter { COUNTER_OUT, COUNTER_IN, COUNTER_FORWARD, COUNTER_COUNT };
extern const char *const counter_names[COUNTER_COUNT];

enum gate_set {
	SET_RELEASED, /* of nf_proto: the families that a release opens */
	SET_PROCESSES, /* marks of granted processes */
	SET_LISTED4,   /* granted networks: what a document lists, … */
	SET_LISTED6,
	SET_NETWORKS4, /* … what was granted at run time, … */
	SET_NETWORKS6,
	SET_HOSTS4, /* … single addresses, of which there may be many, … */
	SET_HOSTS6,
	SET_NAMES4, /* … and what granted domains were resolved to */
	SET_NAMES6,
	SET_COUNT
};

struct set_definition {
	const char *name, *declaration;
	uint32_t flags, key_length; /* NFT_SET_… */
};
extern const struct set_definition set_definitions[SET_COUNT];

#define RELEASED_SET "released"
#define COMMENT_MAX  128        /* NFTNL_UDATA_COMMENT_MAXLEN: longer ones are refused by nft */

struct ruleset {
	bool exists; /* false: no table, and all that follows is empty */
	bool drop;   /* policy of the chains that guard */
	bool translates; /* CHAIN_POSTROUTING exists: with it the kernel looks for translated addresses at every packet of every flow */
	struct {
		struct text rules;    /* a line each, indented */
		struct text comments; /* a line each, in the same order */
	} chains[CHAIN_COUNT];
};

void ruleset_done(struct ruleset *set);
#define _cleanup_ruleset_ _cleanup_(ruleset_done)

/* Appends a rule. COMMENT names the design rule it implements and is what a read-back recognises it by. */
void ruleset_add(struct ruleset *set, enum gate_chain chain, const char *comment, const char *format, ...)
        _printf_(4, 5);

/* Whether SET has the chain. */
bool ruleset_has_chain(const struct ruleset *set, enum gate_chain chain);

/*
 * Appends the transaction that makes the kernel hold SET, keeping what lives in a table of the same shape. CHAINS: 1 << each that the table there
 * has, which SET may lack; where it has one of those not, the transaction fails with ENOENT.
 */
void ruleset_append(struct text *text, const struct ruleset *set, unsigned chains);

/* Appends the transaction that replaces whatever table stands there, whole; its sets are empty then. */
void ruleset_append_replacing(struct text *text, const struct ruleset *set);
