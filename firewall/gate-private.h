/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What gate.c and watch.c share. */

#include "firewall/elements.h"
#include "firewall/flows.h"
#include "firewall/gate.h"
#include "firewall/readback.h"
#include "firewall/ruleset.h"
#include "firewall/transaction.h"

#define GENERATIONS_KEPT 4096 /* own commits whose notices may still be under way to the watch: a crowd's requests are many in one turn of the loop */

struct gate_watch;

struct grant_list {
	struct gate_grant *items;
	size_t count, allocated;
};

struct gate {
	struct nft_ctx *nft;
	struct readback_socket *socket;
	struct mnl_socket *elements, *flows;
	bool applied;           /* there is a plan to verify and heal */
	struct ruleset plan;    /* the last one applied */
	uint64_t fingerprint;   /* of the kernel's table when it was seen to hold the plan */
	uint64_t frame;         /* its objects then */
	unsigned chains;        /* 1 << each that it has, as last seen */
	uint64_t release_until; /* CLOCK_MONOTONIC usec, which stands still in sleep as the kernel's timeouts do; 0:
	                           none */
	uint64_t table;         /* the kernel's handle of the table last seen; 0: there was none */
	uint64_t counted[COUNTER_COUNT]; /* packets that it had counted then */
	uint64_t carried[COUNTER_COUNT]; /* packets counted by tables that are gone */
	uint32_t generations[GENERATIONS_KEPT]; /* each at its number's remainder */
	size_t generation_count;                /* all that were ever kept */
	struct ip_prefix *listed; /* networks that a document lists: merged, 100,000 perhaps */
	size_t listed_count;
	struct grant_list granted; /* at run time */
	bool listed_known, granted_known; /* the sets in `frame` hold just these */
	struct gate_watch *watch;
	gate_may_heal may_heal;
	void *may_heal_userdata;
	uint64_t (*heal_clock)(void); /* what the rate of heals goes by: monotonic_usec(), in tests their own */
	char *error;
};

uint64_t monotonic_usec(void);
/* Keeps the words for gate_error(); returns ERROR. */
int gate_fail(struct gate *gate, int error, const char *format, ...) _printf_(3, 4);
/* Commits ELEMENTS. Negative errno: nothing was changed, gate_error() says why. */
int gate_commit_elements(struct gate *gate, struct elements *elements);
/* Once less is let by than before: connections that somebody's flowtable carries past the rules are judged by them again. */
int gate_end_flows(struct gate *gate);
/* gate-grants.c: what the sets do not hold as far as it is known. */
void gate_fill(const struct gate *gate, struct elements *elements);
void grant_list_done(struct grant_list *list);
/* Whether GENERATION was a commit of this gate's. */
bool gate_made_generation(const struct gate *gate, uint32_t generation);
/*
 * Makes the table hold the last plan applied, whatever stands there, and verifies; replaces it where it is another table than it was.
 * ELEMENTS: what is granted, too. Errors as gate_apply().
 */
int gate_heal(struct gate *gate, bool elements);
/* Whether all commits behind FORMER and up to GENERATION were this gate's. */
bool gate_made_all(const struct gate *gate, uint32_t former, uint32_t generation);
struct gate_watch *gate_watch_free(struct gate_watch *watch); /* accepts NULL, returns NULL */
