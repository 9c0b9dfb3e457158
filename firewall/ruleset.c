/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The table's fixed shape, and the transactions around a set of rules. */

#include "firewall/ruleset.h"

#include <netinet/in.h> /* before the kernel's headers, which then leave its types alone */

#include <assert.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "firewall/gate.h"

/*
 * Priorities are nft(8)'s filter, mangle and srcnat, as numbers because that is what the kernel tells back. What is forwarded is judged in
 * front of filter: a chain there may put connections into a flowtable, by which they would pass us.
 */
const struct chain_definition chain_definitions[CHAIN_COUNT] = {
        [CHAIN_INPUT] = {"input", "filter", "input", NF_INET_LOCAL_IN, 0, true},
        [CHAIN_OUTPUT] = {"output", "filter", "output", NF_INET_LOCAL_OUT, 0, true},
        [CHAIN_FORWARD] = {"forward", "filter", "forward", NF_INET_FORWARD, -10, true},
        [CHAIN_PREROUTING] = {"prerouting", "filter", "prerouting", NF_INET_PRE_ROUTING, -150, false},
        [CHAIN_REROUTE] = {"reroute", "route", "output", NF_INET_LOCAL_OUT, -150, false},
        [CHAIN_POSTROUTING] = {"postrouting", "nat", "postrouting", NF_INET_POST_ROUTING, 100, false},
};

const char *const counter_names[COUNTER_COUNT] = {
        [COUNTER_OUT] = "blocked_out",
        [COUNTER_IN] = "blocked_in",
        [COUNTER_FORWARD] = "blocked_forward",
};

/* Hash sets take an element in about 0.1 ms whatever their size; interval sets are slower the larger they are. */
#define HASHED    NFT_SET_TIMEOUT
#define INTERVALS (NFT_SET_INTERVAL | NFT_SET_TIMEOUT)
#define RENEWED   (NFT_SET_TIMEOUT | NFT_SET_EVAL)
#define NAMES     "flags dynamic,timeout; timeout 1h; size 65536;"
const struct set_definition set_definitions[SET_COUNT] = {
        [SET_RELEASED] = {RELEASED_SET, "type nf_proto; flags timeout;", HASHED, 1},
        [SET_PROCESSES] = {"processes", "type mark; flags timeout;", HASHED, 4},
        [SET_LISTED4] = {"listed4", "type ipv4_addr; flags interval;", NFT_SET_INTERVAL, 4},
        [SET_LISTED6] = {"listed6", "type ipv6_addr; flags interval;", NFT_SET_INTERVAL, 16},
        [SET_NETWORKS4] = {"networks4", "type ipv4_addr; flags interval,timeout;", INTERVALS, 4},
        [SET_NETWORKS6] = {"networks6", "type ipv6_addr; flags interval,timeout;", INTERVALS, 16},
        [SET_HOSTS4] = {"hosts4", "type ipv4_addr; flags timeout;", HASHED, 4},
        [SET_HOSTS6] = {"hosts6", "type ipv6_addr; flags timeout;", HASHED, 16},
        [SET_NAMES4] = {"names4", "type ipv4_addr; " NAMES, RENEWED, 4},
        [SET_NAMES6] = {"names6", "type ipv6_addr; " NAMES, RENEWED, 16},
};

void ruleset_done(struct ruleset *set)
{
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++) {
		text_done(&set->chains[chain].rules);
		text_done(&set->chains[chain].comments);
	}
	*set = (struct ruleset){};
}

void ruleset_add(struct ruleset *set, enum gate_chain chain, const char *comment, const char *format, ...)
{
	struct text *rules = &set->chains[chain].rules;
	va_list arguments;
	va_start(arguments, format);
	_cleanup_free_ char *rule = text_vformat(format, arguments);
	va_end(arguments);
	assert(strlen(comment) < COMMENT_MAX && !strpbrk(comment, "\"\\\n"));
	text_append(rules, "\t\t%s comment \"%s\"\n", rule, comment);
	text_append(&set->chains[chain].comments, "%s\n", comment);
}

bool ruleset_has_chain(const struct ruleset *set, enum gate_chain chain)
{
	if (chain == CHAIN_POSTROUTING)
		return set->translates;
	return chain_definitions[chain].guards || set->chains[chain].rules.length > 0;
}

static const char *policy(const struct ruleset *set, enum gate_chain chain)
{
	return chain_definitions[chain].guards && set->drop ? "drop" : "accept";
}

/* Everything but the rules. All of it is idempotent where the table stands in this shape. */
static void append_frame(struct text *text, const struct ruleset *set)
{
	text_append(text, "add table inet %s\n", GATE_TABLE);
	for (enum gate_counter counter = 0; counter < COUNTER_COUNT; counter++)
		text_append(text, "add counter inet %s %s\n", GATE_TABLE, counter_names[counter]);
	for (enum gate_set name = 0; name < SET_COUNT; name++)
		text_append(text, "add set inet %s %s { %s }\n", GATE_TABLE, set_definitions[name].name,
		        set_definitions[name].declaration);
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++) {
		const struct chain_definition *definition = &chain_definitions[chain];
		if (!ruleset_has_chain(set, chain))
			continue;
		text_append(text, "add chain inet %s %s { type %s hook %s priority %d; policy %s; }\n", GATE_TABLE,
		        definition->name, definition->type, definition->hook, definition->priority, policy(set, chain));
	}
}

static void append_rules(struct text *text, const struct ruleset *set)
{
	text_append(text, "table inet %s {\n", GATE_TABLE);
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++)
		if (set->chains[chain].rules.length && ruleset_has_chain(set, chain)) {
			text_append(text, "\tchain %s {\n", chain_definitions[chain].name);
			text_append_bytes(text, set->chains[chain].rules.bytes, set->chains[chain].rules.length);
			text_append(text, "\t}\n");
		}
	text_append(text, "}\n");
}

/* `add` before `delete`, so that a table that is not there is no error; nft 1.0.6 knows no `destroy`. */
static void append_removal(struct text *text)
{
	text_append(text, "add table inet %s\ndelete table inet %s\n", GATE_TABLE, GATE_TABLE);
}

void ruleset_append(struct text *text, const struct ruleset *set, unsigned chains)
{
	if (!set->exists) {
		append_removal(text);
		return;
	}
	append_frame(text, set);
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++) {
		const char *name = chain_definitions[chain].name;
		if (ruleset_has_chain(set, chain))
			text_append(text, "flush chain inet %s %s\n", GATE_TABLE, name);
		else if (chains & 1u << chain)
			text_append(text, "flush chain inet %s %s\ndelete chain inet %s %s\n", GATE_TABLE, name, GATE_TABLE, name);
	}
	append_rules(text, set);
}

void ruleset_append_replacing(struct text *text, const struct ruleset *set)
{
	append_removal(text);
	if (set->exists) {
		append_frame(text, set);
		append_rules(text, set);
	}
}
