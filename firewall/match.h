/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Addresses, networks and links as the words of a rule, and the words that several rules have. Pure. */

#include <net/if.h>

#include "firewall/gate.h"
#include "util/address.h"

#define LINKS_MAX 256 /* uplinks, and local links, that are told apart; more are left out, that is, closed */

#define NOT_INTO_TUNNEL "oifname != \"" GATE_LINK_PREFIX "*\""
#define NOT_FROM_TUNNEL "iifname != \"" GATE_LINK_PREFIX "*\""
#define TCP_OR_UDP      "meta l4proto { 6, 17 }"
#define DNS_PORTS       "{ 53, 853 }"
#define REPLY           "ct state established ct direction reply"
#define FIRST_OF_FLOW   "ct state new ct status and 0x8 == 0" /* IPS_CONFIRMED: nothing of the flow has left yet */

struct names {
	const char *names[2 * LINKS_MAX];
	size_t count;
};

/* "ip" or "ip6". */
const char *family_word(int family);
/* inet_ntop(3) writes some IPv6 addresses with a dotted tail, which not every nft reads; those go in as plain groups. Returns BUFFER. */
const char *address_text(char buffer[IP_TEXT_MAX], const struct ip_address *address);
/* For qsort(3): by address, the wider network first. */
int compare_networks(const void *left, const void *right);
/*
 * "ip daddr 192.0.2.0/24" or "ip daddr { …, … }" of the networks of FAMILY; NULL for none. Sorted, and without those
 * that lie within another: an interval set takes no overlaps. "Everything" is said by the family alone. The caller
 * frees it.
 */
char *match_networks(int family, const char *side, const struct ip_prefix *networks, size_t count);
char *match_addresses(int family, const char *side, const struct ip_address *addresses, size_t count);

/* Adds NAMES that are not there yet; those that may not stand in a rule's text are left out. They stay the caller's. */
void collect_names(struct names *into, const char (*names)[IFNAMSIZ], size_t count);
/* `oifname "eth0"` or `oifname { "eth0", "eth1" }`; NULL for none. The caller frees it. */
char *match_links(const char *side, const struct names *links);
