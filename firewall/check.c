/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The check's socket was born in NetworkManager's cgroup and belongs to root; others live in that cgroup, too (dnsmasq, clients of VPNs),
 * as users of their own. A routing rule on mark and port has given the connection the uplink's route and address (network/routing.c).
 *
 * Its name is asked for by glibc from NetworkManager, or by systemd-resolved for it. Either may do that for all programs (NetworkManager's
 * dnsmasq, too), so a question is let by for what it asks: one question, for this name, and little beside it. By UDP alone: a TCP
 * connection does not tell at its beginning what will be asked. The socket knows no uplink, so its packets are marked on the way and
 * take the uplink's address, as those of granted addresses do.
 */

#include "firewall/check.h"

#include <string.h>

#include "firewall/match.h"
#include "util/text.h"

#define ROOT_UID     0u
#define NAME_MAX_DNS 253
#define LABEL_MAX    63
#define CHUNK        16  /* bytes: NFT_REG_SIZE, what one comparison holds */
#define HEADERS      20  /* UDP's 8 and DNS' 12 bytes */
#define BESIDE       48  /* type and class, and an EDNS0 record with a cookie (RFC 6891, RFC 7873) */
#define COUNTS       "@th,96,48 0x000100000000" /* one question, no answer, no authority */

/* ---- the name ---- */

static bool is_name_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* As it stands in a message (RFC 1035, 3.1), into BYTES. 0: it cannot stand in one. */
static size_t encode_name(const char *name, uint8_t bytes[NAME_MAX_DNS + 2])
{
	size_t length = strlen(name), used = 0, label = 0;
	if (length == 0 || length > NAME_MAX_DNS)
		return 0;
	for (size_t i = 0; i <= length; i++) {
		if (i < length && is_name_character(name[i])) {
			bytes[used + 1 + label++] = (uint8_t)name[i];
		} else if ((i < length && name[i] != '.') || label == 0 || label > LABEL_MAX) {
			return 0;
		} else {
			bytes[used] = (uint8_t)label;
			used += label + 1;
			label = 0;
		}
	}
	bytes[used] = 0;
	return used + 1;
}

/* "udp dport 53 …": a question for NAME. The caller frees it. */
static char *match_question(const char *name)
{
	uint8_t bytes[NAME_MAX_DNS + 2];
	size_t length = encode_name(name, bytes);
	struct text text = TEXT_NULL;
	text_append(&text, "udp dport 53 udp length <= %zu " COUNTS, HEADERS + length + BESIDE);
	for (size_t at = 0; at < length; at += CHUNK) {
		size_t count = MIN_OF(length - at, (size_t)CHUNK);
		text_append(&text, " @th,%zu,%zu 0x", (HEADERS + at) * 8, count * 8);
		for (size_t i = 0; i < count; i++)
			text_append(&text, "%02x", bytes[at + i]);
	}
	return text_steal(&text);
}

const char *check_reason(const struct gate_check *check)
{
	uint8_t bytes[NAME_MAX_DNS + 2];
	if (check->port == 0)
		return NULL;
	if (check->port != GATE_CHECK_HTTP && check->port != GATE_CHECK_HTTPS)
		return "the connectivity check's port is neither 80 nor 443";
	if (check->name ? check->host.family != AF_UNSPEC || !encode_name(check->name, bytes)
	                : check->host.family != AF_INET && check->host.family != AF_INET6)
		return "the connectivity check's host is not valid";
	for (size_t i = 0; i < check->resolver_count; i++)
		if (check->resolvers[i].family != AF_INET && check->resolvers[i].family != AF_INET6)
			return "a resolver of the connectivity check is not valid";
	return NULL;
}

/* ---- the rules ---- */

static void question_by(struct ruleset *set, const struct check_words *words, const char *who, const char *to, const char *question)
{
	ruleset_add(set, CHAIN_REROUTE, "5 connectivity check's name", "%s %s %s %s %s accept", who, to, question, words->set_flow,
	        words->set_mark);
}

void check_rule_5(struct ruleset *set, const struct gate_check *check, const struct check_words *words)
{
	if (check->port == 0 || !check->name)
		return;
	_cleanup_free_ char *question = match_question(check->name);
	_cleanup_free_ char *own = text_format("%s meta skuid %u", words->is_checker, ROOT_UID);
	_cleanup_free_ char *resolved = check->resolved_uid ? text_format("meta skuid %u", check->resolved_uid) : NULL;
	for (size_t i = 0; i < ELEMENTSOF(words->to_resolver); i++) {
		const char *to = words->to_resolver[i];
		if (!to)
			continue;
		question_by(set, words, own, to, question);
		if (resolved)
			question_by(set, words, resolved, to, question);
		/* No link: it still shows that of the first lookup, see render.c. */
		ruleset_add(set, CHAIN_OUTPUT, "5 connectivity check's name", "%s %s %s %s accept", words->is_mark, words->is_flow, to,
		        question);
		ruleset_add(set, CHAIN_INPUT, "5 connectivity check's name", NOT_FROM_TUNNEL " %s %s udp sport 53 " REPLY " accept",
		        words->from_resolver[i], words->is_flow);
	}
}

void check_rule_7(struct ruleset *set, const struct gate_check *check, const struct check_words *words)
{
	if (check->port == 0 || !words->to_uplink)
		return;
	ruleset_add(set, CHAIN_OUTPUT, "7 connectivity check", "%s meta skuid %u %s %s tcp dport %u %s accept", words->is_checker, ROOT_UID,
	        words->to_uplink, words->to_host, check->port, words->set_flow);
	ruleset_add(set, CHAIN_INPUT, "7 replies to the connectivity check", "%s %s %s tcp sport %u " REPLY " accept", words->from_uplink,
	        words->is_flow, words->from_host, check->port);
	ruleset_add(set, CHAIN_INPUT, "7 errors about the connectivity check", "%s %s ct direction reply ct state related meta l4proto { 1, 58 } accept",
	        words->from_uplink, words->is_flow);
}

void check_masquerade(struct ruleset *set, const struct gate_check *check, const struct check_words *words)
{
	if (check->port == 0 || !check->name)
		return;
	set->translates = true;
	ruleset_add(set, CHAIN_POSTROUTING, "5 connectivity check's name", "%s " NOT_INTO_TUNNEL " masquerade", words->is_mark);
}
