/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Grants: the rules that look into their sets, and the sets' elements. Pure. */

#include <stdbool.h>

#include "firewall/elements.h"
#include "firewall/gate.h"
#include "firewall/ruleset.h"

/* Matches and statements about MARK_ADDRESS, what flows of no kind have, and "iifname …" of the local links, NULL for none. */
struct grant_words {
	const char *is_mark, *is_flow, *set_mark, *set_flow, *from_local;
};

/* GRANTED is the plan's: kinds that nobody was granted have no rules, and cost nothing. */
void grants_rule_3(struct ruleset *set, unsigned granted);
void grants_rule_6(struct ruleset *set, unsigned granted, const struct grant_words *words);
void grants_rule_7(struct ruleset *set, unsigned granted, const struct grant_words *words);
void grants_masquerade(struct ruleset *set, unsigned granted, const struct grant_words *words);

/* Whether GRANT can be an element: its kind, a network of its kind, a mark. */
bool grant_is_good(const struct gate_grant *grant);
bool grant_same(const struct gate_grant *a, const struct gate_grant *b); /* but for the end */

/* Empties the sets of what is granted at run time (not of names). */
void elements_flush_granted(struct elements *elements);
/* Adds GRANT as of NOW_USEC; nothing where it has ended. */
void elements_add_grant(struct elements *elements, const struct gate_grant *grant, uint64_t now_usec);
void elements_remove_grant(struct elements *elements, const struct gate_grant *grant); /* no error where it is not there */
/* Makes NETWORKS, sorted and none within another, all that is listed. */
void elements_list_networks(struct elements *elements, const struct ip_prefix *networks, size_t count);
