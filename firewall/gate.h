/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The gate: one nftables table, `inet holdfast`. A plan says what it must let by; render makes the text of it (pure),
 * the gate commits that in one transaction, reads back what the kernel then holds, and watches that it stays so.
 *
 * An error of any function leaves the kernel as it was: one transaction is all or nothing. "Unknown" is never taken for
 * "verified".
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "firewall/mark.h"
#include "firewall/settings.h"
#include "util/address.h"
#include "util/string-table.h"

#define GATE_TABLE            "holdfast"
#define GATE_LINK_PREFIX      "hf-"                 /* tunnels' links are named so, and nothing else is */
#define GATE_ENDPOINTS_MAX    8                     /* endpoints one tunnel may talk to at a time */
#define GATE_RELEASE_MAX_USEC (3600 * USEC_PER_SEC) /* the longest release */

enum gate_state { GATE_OPEN, GATE_CLOSED, GATE_CONNECTING, GATE_TUNNEL };
STRING_TABLE(gate_state, enum gate_state);

/* One wanted tunnel, as far as the gate is concerned. Borrowed pointers: they must live until the call returns. */
struct gate_tunnel {
	const char *id;
	const char *interface; /* hf-<id> */
	bool all;              /* routes everything; else `routes` */
	const struct ip_prefix *routes;
	size_t route_count;
	enum gate_state state;            /* GATE_CLOSED, GATE_CONNECTING or GATE_TUNNEL */
	const struct endpoint *endpoints; /* rule 2; none: the worker may talk to nobody */
	size_t endpoint_count;
	bool resolving;                    /* rule 2: the worker may ask the bootstrap resolvers */
	const struct ip_prefix *addresses; /* of the link: input to them from elsewhere is dropped (CVE-2019-14899) */
	size_t address_count;
	const struct ip_address *dns; /* rule 5, GATE_TUNNEL only */
	size_t dns_count;
};

/*
 * NetworkManager's connectivity check: what sockets that carry MARK_CHECKER may do by an uplink. Borrowed pointers, as above.
 */
struct gate_check {
	uint16_t port;          /* GATE_CHECK_HTTP or GATE_CHECK_HTTPS; 0: nothing at all */
	struct ip_address host; /* the only one that may be asked; family 0: whatever `name` stands for */
	const char *name;       /* the only one that may be resolved; NULL with `host` */
	const struct ip_address *resolvers;
	size_t resolver_count;
	uint32_t resolved_uid; /* systemd-resolved, which may ask for `name`, too; 0: nobody */
};
#define GATE_CHECK_HTTP  80
#define GATE_CHECK_HTTPS 443

/* Whom DHCP clients run as, beside root: they alone may renew a lease with the server itself (rule 4). */
#define GATE_DHCP_USERS_MAX 4
struct gate_dhcp_users {
	uint32_t uids[GATE_DHCP_USERS_MAX];
	size_t count;
};

struct gate_plan {
	bool exists;       /* false: no table at all; everything else is then ignored */
	bool drop_default; /* the chains' policy is drop and everything else is rejected; false with narrow tunnels
	                      alone in mode auto */
	const struct kill_switch *settings;
	const struct gate_tunnel *tunnels;
	size_t tunnel_count;
	const char (*uplinks)[IFNAMSIZ]; /* where LAN, DHCP and neighbour discovery are; sorted */
	size_t uplink_count;
	const char (*local_links)[IFNAMSIZ]; /* bridges of containers and VMs (rule 9); sorted */
	size_t local_link_count;
	const struct lan_network *attached; /* private networks on those links: what `lan: allow` lets by */
	size_t attached_count;
	const struct ip_address *bootstrap; /* resolvers of rule 2 */
	size_t bootstrap_count;
	const struct ip_address *names_resolvers; /* asked for granted domains, by the user names_uid alone */
	size_t names_resolver_count;
	uint32_t names_uid; /* 0: nobody */
	struct gate_dhcp_users dhcp_users;
	unsigned granted; /* kinds of grants that have rules, 1u << enum grant_kind; see gate_set_grants() for the rest */
	struct gate_check check;
};

enum grant_kind {
	GRANT_PROCESS, /* rule 3: sockets that carry `mark` */
	GRANT_LISTED,  /* rule 7: networks that a document lists; see gate_set_listed() */
	GRANT_NETWORK, /* rule 7: a network granted at run time; may not overlap another of these */
	GRANT_HOST,    /* rule 7: an address granted at run time */
	GRANT_NAMES,   /* rule 7: what a resolver puts into the sets of names; no element of ours */
	GRANT_KIND_COUNT
};

/* An element of one of the sets that the rules for grants look into. */
struct gate_grant {
	enum grant_kind kind;
	uint32_t mark;             /* GRANT_PROCESS; under the settings' mask, see mark_grants() */
	struct ip_prefix network;  /* the others */
	uint64_t until_usec;       /* CLOCK_MONOTONIC: the kernel ends it by itself; USEC_INFINITY: never */
};

/*
 * The transaction's text: it makes the table where it is missing, replaces the rules of every chain, and keeps named
 * counters and the elements of sets that live (grants, the release). Built from validated values only. Pure and
 * deterministic: equal plans give equal text. The caller frees it.
 */
char *gate_render(const struct gate_plan *plan);

struct gate;

struct gate_counters {
	uint64_t out, in, forward; /* packets rejected or dropped; those of former tables are carried over: it never falls */
};

/* What a foreign hand did to the table. */
struct gate_tampering {
	const char *process;  /* name of the culprit as the kernel tells it, "" where it does not */
	uint32_t pid;         /* 0: unknown */
	uint64_t healed_usec; /* from the notice to the verified table */
	bool healed;          /* false: the heal failed; the gate is as `error` says */
	int error;
	unsigned suppressed; /* further changes since the last report, when the rate is bounded */
};
typedef void (*gate_tampered)(const struct gate_tampering *tampering, void *userdata);

/* Opens the netlink sockets. No effect on the kernel. Negative errno; -EPERM without CAP_NET_ADMIN. */
int gate_new(struct gate **ret);
struct gate *gate_free(struct gate *gate); /* leaves the kernel's table alone; accepts NULL, returns NULL */

/*
 * Commits PLAN and reads it back: 0 only if the kernel was seen to hold exactly this plan's rules. Else the errno of
 * the commit, with libnftables' words in gate_error(); the kernel is then as before. -ESTALE: it was committed, but others
 * kept changing the ruleset between commit and reading; it is then what the watch heals towards.
 */
int gate_apply(struct gate *gate, const struct gate_plan *plan);

/*
 * Reads back and compares with the last plan applied. 0, -ESTALE (differs), or the error of the query, which counts as
 * "differs".
 */
int gate_verify(struct gate *gate);

/* What the last error was, in words ("" for none). Lives until the next call. */
const char *gate_error(const struct gate *gate);

/*
 * Watches for foreign changes on EVENT and undoes them with the last plan applied. CALLBACK tells after
 * each. The first turn of the loop verifies what happened since that plan was applied.
 */
int gate_watch(struct gate *gate, sd_event *event, gate_tampered callback, void *userdata);

/*
 * Asked before each heal: false leaves the table as it is (the way out's marker stands) and the callback is told with
 * -ECANCELED. NULL: always true.
 */
typedef bool (*gate_may_heal)(void *userdata);
void gate_set_guard(struct gate *gate, gate_may_heal may_heal, void *userdata);

/*
 * What is granted at run time from now on, whole; copied. It goes into the kernel with the next gate_apply(), in one transaction just
 * behind that of the rules. Those that are over by then are left out.
 */
void gate_set_grants(struct gate *gate, const struct gate_grant *grants, size_t count);
/*
 * The networks that a document lists, whole, in any order, copied and merged. They go into the kernel as grants do, and only where they
 * are others than before, or another table stands.
 */
void gate_set_listed(struct gate *gate, const struct ip_prefix *networks, size_t count);
/*
 * Adds, or with the same mark or network changes the end of, one grant, in the kernel at once where a table stands; its
 * kind must be among the `granted` of the plan in force. Costs the same however many there are. Negative errno: nothing
 * was changed, gate_error() says why.
 */
int gate_add_grant(struct gate *gate, const struct gate_grant *grant);
/* Takes one back: living connections end with it. 0 also where there was none. */
int gate_remove_grant(struct gate *gate, const struct gate_grant *grant);

/* Forgets what granted domains were resolved to. 0 also where no table stands. */
int gate_flush_names(struct gate *gate);

/* Asks the kernel what was counted. */
int gate_read_counters(struct gate *gate);
/* What was counted, as it was last read. */
struct gate_counters gate_counters(const struct gate *gate);

/*
 * Opens for DURATION (at most one hour) by set elements whose timeout the kernel itself keeps; 0 takes the release back
 * at once. Needs an applied plan with a table.
 */
int gate_release(struct gate *gate, uint64_t duration_usec);
/* How long the release still lasts; 0: none. */
int gate_release_remaining(struct gate *gate, uint64_t *ret_usec);

/* Removes the table, whoever made it. Used by the way out, without a plan. 0 also where there was none. */
int gate_remove(struct gate *gate);
/* Whether the table exists in the kernel now. */
int gate_exists(struct gate *gate, bool *ret);
