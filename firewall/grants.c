/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Rules 3 and 7. Processes are known by the mark that their sockets were born with. Addresses are marked on the way: a flow that
 * begins while its destination is granted gets the connection's mark, and its packets the packet's mark, which routes them by the
 * host's own routes; the link's address is put in by masquerading. A flow that began inside the tunnel stays there: it has the
 * tunnel's source address. What is taken back, or ends, leaves the set, and with it go the flow's packets in both directions.
 *
 * DNS is rule 5's, and is not granted by an address.
 */

#include "firewall/grants.h"

#include <string.h>

#include "firewall/match.h"

#define IN_REPLY        "ct direction reply"
#define ADDRESSES       (1u << GRANT_LISTED | 1u << GRANT_NETWORK | 1u << GRANT_HOST | 1u << GRANT_NAMES)

/* The IPv4 set of each kind; the IPv6 one is the next. */
static const enum gate_set sets[GRANT_KIND_COUNT] = {
        [GRANT_PROCESS] = SET_PROCESSES,
        [GRANT_LISTED] = SET_LISTED4,
        [GRANT_NETWORK] = SET_NETWORKS4,
        [GRANT_HOST] = SET_HOSTS4,
        [GRANT_NAMES] = SET_NAMES4,
};

/* ---- rules ---- */

void grants_rule_3(struct ruleset *set, unsigned granted)
{
	if (!(granted & 1u << GRANT_PROCESS))
		return;
	ruleset_add(set, CHAIN_OUTPUT, "3 granted processes",
	        "meta mark @processes " NOT_INTO_TUNNEL " ct mark set meta mark accept");
	ruleset_add(set, CHAIN_INPUT, "3 replies to granted processes",
	        "ct mark @processes " IN_REPLY " " NOT_FROM_TUNNEL " accept");
	ruleset_add(set, CHAIN_REROUTE, "3 granted processes", "meta mark @processes accept");
}

/* What follows is said of one set of one family. */
struct granted_set {
	struct ruleset *rules;
	const struct grant_words *words;
	const char *family, *name;
	char beginning[192]; /* what the destination of a new flow must be besides */
	char renewal[64];    /* a resolved address lives on while packets use it */
};

static void mark_in(const struct granted_set *granted, enum gate_chain chain, const char *from)
{
	const struct grant_words *words = granted->words;
	const char *family = granted->family, *name = granted->name;
	ruleset_add(granted->rules, chain, "7 granted, new flow",
	        "%s" FIRST_OF_FLOW " %s daddr @%s%s " TCP_OR_UDP " th dport != " DNS_PORTS " %s", from, family, name,
	        granted->beginning, words->set_flow);
	ruleset_add(granted->rules, chain, "7 granted, new flow", "%s" FIRST_OF_FLOW " %s daddr @%s%s meta l4proto != { 6, 17 } %s",
	        from, family, name, granted->beginning, words->set_flow);
	ruleset_add(granted->rules, chain, "7 granted", "%s%s ct direction original %s daddr @%s %s%s accept", from,
	        words->is_flow, family, name, words->set_mark, granted->renewal);
}

static void replies_in(const struct granted_set *granted, enum gate_chain chain, const char *comment)
{
	ruleset_add(granted->rules, chain, comment, "%s " IN_REPLY " " NOT_FROM_TUNNEL " %s saddr @%s accept",
	        granted->words->is_flow, granted->family, granted->name);
}

static void way_in(const struct granted_set *granted)
{
	replies_in(granted, CHAIN_INPUT, "6 replies to what is granted");
}

static void way_out(const struct granted_set *granted)
{
	mark_in(granted, CHAIN_REROUTE, "");
	if (!granted->words->from_local)
		return;
	_cleanup_free_ char *from = text_format("%s ", granted->words->from_local);
	mark_in(granted, CHAIN_PREROUTING, from);
	replies_in(granted, CHAIN_FORWARD, "7 replies");
}

/*
 * Whoever answers for a name, or forges the answer, says which address opens. What is not public (RFC 6890, RFC 5771, RFC 4291) is the
 * LAN's rule's or the tunnel's, whatever he says. IPv6: global unicast, and what NAT64 (RFC 6052) makes of public IPv4 addresses.
 */
static const char *const public_only[] = {
        " ip daddr != { 0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16, 224.0.0.0/3 }",
        " ip6 daddr { 64:ff9b::/96, 2000::/3 }",
};

static void each_set(struct ruleset *set, unsigned granted_kinds, const struct grant_words *words,
        void (*add_rules)(const struct granted_set *granted))
{
	static const char *const families[] = {"ip", "ip6"};
	for (enum grant_kind kind = GRANT_LISTED; kind < GRANT_KIND_COUNT; kind++)
		for (unsigned i = 0; granted_kinds & 1u << kind && i < ELEMENTSOF(families); i++) {
			struct granted_set granted = {.rules = set, .words = words, .family = families[i]};
			granted.name = set_definitions[sets[kind] + i].name;
			if (kind == GRANT_NAMES) {
				snprintf(granted.beginning, sizeof granted.beginning, "%s", public_only[i]);
				snprintf(granted.renewal, sizeof granted.renewal, " update @%s { %s daddr timeout 1h }",
				        granted.name, families[i]);
			}
			add_rules(&granted);
		}
}

/*
 * Replies come to the uplink's address, but are seen with the tunnel's once their masquerading is undone: they are let in before rule
 * 6 guards that. A packet that was sent to the tunnel's address is none of them.
 */
void grants_rule_6(struct ruleset *set, unsigned granted, const struct grant_words *words)
{
	if (!(granted & ADDRESSES))
		return;
	each_set(set, granted, words, way_in);
	ruleset_add(set, CHAIN_INPUT, "6 errors about what is granted",
	        "%s " IN_REPLY " " NOT_FROM_TUNNEL " ct state related meta l4proto { 1, 58 } accept", words->is_flow);
}

void grants_rule_7(struct ruleset *set, unsigned granted, const struct grant_words *words)
{
	if (!(granted & ADDRESSES))
		return;
	each_set(set, granted, words, way_out);
	/* No link: the reroute chain's packets still show that of their first lookup. */
	ruleset_add(set, CHAIN_OUTPUT, "7 granted", "%s %s accept", words->is_mark, words->is_flow);
	if (words->from_local)
		ruleset_add(set, CHAIN_FORWARD, "7 granted", "%s %s %s " NOT_INTO_TUNNEL " accept", words->is_mark,
		        words->is_flow, words->from_local);
}

void grants_masquerade(struct ruleset *set, unsigned granted, const struct grant_words *words)
{
	if (!(granted & ADDRESSES))
		return;
	set->translates = true;
	ruleset_add(set, CHAIN_POSTROUTING, "7 granted", "%s " NOT_INTO_TUNNEL " masquerade", words->is_mark);
}

/* ---- elements ---- */

bool grant_is_good(const struct gate_grant *grant)
{
	const struct ip_prefix *network = &grant->network;
	if (grant->kind == GRANT_PROCESS)
		return grant->mark != 0;
	if ((grant->kind != GRANT_NETWORK && grant->kind != GRANT_HOST) || (network->address.family != AF_INET && network->address.family != AF_INET6))
		return false;
	uint8_t bits = ip_address_bits(&network->address);
	return network->length > 0 && (grant->kind == GRANT_HOST ? network->length == bits : network->length <= bits);
}

bool grant_same(const struct gate_grant *a, const struct gate_grant *b)
{
	if (a->kind != b->kind)
		return false;
	return a->kind == GRANT_PROCESS ? a->mark == b->mark : ip_prefix_equal(&a->network, &b->network);
}

static enum gate_set set_of(const struct gate_grant *grant)
{
	return sets[grant->kind] + (grant->kind != GRANT_PROCESS && grant->network.address.family == AF_INET6);
}

static uint64_t left(const struct gate_grant *grant, uint64_t now_usec)
{
	return grant->until_usec > now_usec ? (grant->until_usec - now_usec) / USEC_PER_MSEC : 0;
}

typedef void (*put_element)(struct elements *elements, enum gate_set set, const struct set_element *element);

static void put(struct elements *elements, put_element change, const struct gate_grant *grant, uint64_t timeout_msec)
{
	struct ip_address end;
	struct set_element element = {.key = grant->network.address.bytes, .timeout_msec = timeout_msec};
	if (grant->kind == GRANT_PROCESS)
		element.key = &grant->mark;
	element.interval = grant->kind == GRANT_NETWORK;
	if (element.interval && ip_prefix_end(&grant->network, &end))
		element.end = end.bytes;
	change(elements, set_of(grant), &element);
}

void elements_flush_granted(struct elements *elements)
{
	for (enum gate_set set = SET_PROCESSES; set < SET_NAMES4; set++)
		if (set != SET_LISTED4 && set != SET_LISTED6)
			elements_flush(elements, set);
}

void elements_add_grant(struct elements *elements, const struct gate_grant *grant, uint64_t now_usec)
{
	if (grant->until_usec == USEC_INFINITY)
		put(elements, elements_add, grant, 0);
	else if (left(grant, now_usec) > 0)
		put(elements, elements_add, grant, left(grant, now_usec));
}

/* Added first: one that has just ended would be an error to delete. */
void elements_remove_grant(struct elements *elements, const struct gate_grant *grant)
{
	put(elements, elements_add, grant, 0);
	put(elements, elements_remove, grant, 0);
}

/* Neighbours become one interval: that is half the elements, and none that ends where another begins. */
void elements_list_networks(struct elements *elements, const struct ip_prefix *networks, size_t count)
{
	elements_flush(elements, SET_LISTED4);
	elements_flush(elements, SET_LISTED6);
	for (size_t i = 0; i < count;) {
		struct ip_address end;
		struct set_element element = {.key = networks[i].address.bytes, .interval = true};
		enum gate_set set = networks[i].address.family == AF_INET ? SET_LISTED4 : SET_LISTED6;
		bool ends = ip_prefix_end(&networks[i], &end);
		for (i++; ends && i < count && ip_address_equal(&networks[i].address, &end); i++)
			ends = ip_prefix_end(&networks[i], &end);
		element.end = ends ? end.bytes : NULL;
		elements_add(elements, set, &element);
	}
}
