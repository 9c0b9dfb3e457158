/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The second layer: policy routing that holds even with the nftables table flushed. Rules (IPv4 and IPv6 alike) send everything
 * that does not carry a mark of Holdfast's into a table of its own, in which the tunnels' routes stand above a catch-all into hf0, a
 * device that leads nowhere and outlives the daemon. A plan is applied by changing only what differs, and read back.
 *
 * The rules, from ROUTING_PRIORITY on: what granted processes ask a tunnel's resolver looks into table ROUTING_TABLE; marked traffic
 * (each kind, the block of grants to processes, the connectivity check) and DHCP clients' renewals go on to the host's own rules; all
 * else looks into that table. They stand in front of `main`.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/address.h"

#define ROUTING_TABLE	 26726 /* 0x6866, "hf" */
#define ROUTING_PRIORITY 5100 /* of the first rule; ROUTING_PRIORITY_LAST is where marked traffic goes on */
#define ROUTING_PRIORITY_LAST 5119
#define ROUTING_KINDS_MAX 14
#define ROUTING_RESOLVERS_MAX 32
#define ROUTING_SINK_METRIC 4278198272u /* of catch-all routes into hf0: below every other */

enum route_kind {
	ROUTE_TUNNEL, /* into `interface` */
	ROUTE_SINK,   /* into hf0, at ROUTING_SINK_METRIC; behind it the same network is unreachable, should hf0 be taken away */
	ROUTE_THROW,  /* back to the host's own routing: attached networks that the gate allows. At equal networks it comes last */
};

struct routing_route {
	enum route_kind kind;
	struct ip_prefix network; /* length 0: default */
	char interface[IFNAMSIZ]; /* ROUTE_TUNNEL */
};

struct routing_plan {
	bool exists; /* false: no rule, no table, no hf0 */
	uint32_t mark, mask; /* see firewall/mark.h; `kinds` consecutive values from mark on go by */
	unsigned kinds;
	const struct routing_route *routes;
	size_t route_count;
	uint32_t grants, grants_mask; /* what has one of these marks goes by, too; mask 0: none */
	struct ip_address resolvers[ROUTING_RESOLVERS_MAX]; /* of the tunnels: their ports 53 and 853 are no such traffic's way by */
	size_t resolver_count;
	uint32_t check;		      /* a mark under `mask`: TCP to check_port goes by with it */
	uint16_t check_port;	      /* 0: nothing does */
};

struct routing;

/* Opens a netlink socket. No effect on the kernel. */
int routing_new(struct routing **ret);
struct routing *routing_free(struct routing *routing); /* leaves the kernel alone; accepts NULL, returns NULL */

/*
 * Where the host's own settings are kept while they are changed (a file that a reboot removes; copied): an `all` of
 * ignore_routes_with_linkdown that is not 0, and a strict rp_filter, which would drop what comes in by the uplink. Without a path
 * they are left as they are, and routing_apply() fails where they stand against the plan (-EPERM).
 */
void routing_keep_settings(struct routing *routing, const char *path);

/*
 * Converges to PLAN, closing first: hf0 and catch-alls before rules, rules before anything is taken away. Reads back; 0 only if the
 * kernel holds exactly the plan. Negative errno else, with words in routing_error(); everything that can be applied is applied all
 * the same. -ENODEV, -ENETDOWN: a route's link is not there, or down. -ESTALE: others kept changing it.
 */
int routing_apply(struct routing *routing, const struct routing_plan *plan);
/* 0: the kernel holds the last plan applied (before the first: one that does not exist); -ESTALE: it does not. */
int routing_verify(struct routing *routing);
const char *routing_error(const struct routing *routing);
/* Removes every rule, route and link of Holdfast's second layer, whoever made it, and puts the host's settings back. */
int routing_remove(struct routing *routing);
