/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Rules for NetworkManager's connectivity check (captivePortalCheck). Pure. */

#include "firewall/gate.h"
#include "firewall/ruleset.h"

/* Matches and statements. */
struct check_words {
	const char *is_checker;                               /* MARK_CHECKER */
	const char *is_mark, *is_flow, *set_mark, *set_flow;  /* MARK_CHECK */
	const char *to_uplink, *from_uplink;                  /* NULL: there is none */
	const char *to_host, *from_host;                      /* of whatever host: "" */
	const char *to_resolver[2], *from_resolver[2];        /* IPv4's and IPv6's; NULL: there is none */
};

/* What is wrong with CHECK, or NULL. */
const char *check_reason(const struct gate_check *check);
/* Its name: before all other DNS is refused. Its connection: after a narrow tunnel's networks. */
void check_rule_5(struct ruleset *set, const struct gate_check *check, const struct check_words *words);
void check_rule_7(struct ruleset *set, const struct gate_check *check, const struct check_words *words);
void check_masquerade(struct ruleset *set, const struct gate_check *check, const struct check_words *words);
