/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Rules and routes as values: made into netlink messages and read back from them, for the files of this folder only. What is read
 * keeps the kernel's own message, by which it can be deleted whatever else it has in it.
 */

#include <linux/fib_rules.h>
#include <stdbool.h>
#include <stdint.h>

#include "network/netlink.h"
#include "util/address.h"

/* Holdfast's mark in the protocol field of its rules and routes ('h'; /etc/iproute2/rt_protos has no other use for it). */
#define FIB_PROTOCOL 104

struct fib_rule {
	int family;
	uint32_t priority;
	uint8_t action; /* FR_ACT_TO_TBL, FR_ACT_GOTO, FR_ACT_NOP */
	uint32_t table; /* FR_ACT_TO_TBL */
	uint32_t target; /* FR_ACT_GOTO: a priority */
	uint32_t mark, mask;
	struct ip_prefix destination; /* length 0: any */
	uint8_t ip_protocol;
	uint16_t source_port, destination_port; /* 0: any */
	uint8_t protocol;
	bool odd;		 /* read: it has more in it than these members can say */
	struct nlmsghdr *origin; /* read: the kernel's message, owned */
};

struct fib_route {
	struct ip_prefix network;
	uint8_t type; /* RTN_UNICAST, RTN_THROW, RTN_UNREACHABLE */
	uint32_t metric;
	int index; /* of the link, for RTN_UNICAST */
	uint8_t protocol;
	bool odd;
	struct nlmsghdr *origin;
};

struct fib {
	struct fib_rule *rules;
	size_t rule_count;
	struct fib_route *routes;
	size_t route_count;
};

void fib_done(struct fib *fib);
#define _cleanup_fib_ _cleanup_(fib_done)

/* Appends a copy; ORIGIN is not copied. */
void fib_add_rule(struct fib *fib, const struct fib_rule *rule);
void fib_add_route(struct fib *fib, const struct fib_route *route);

bool fib_rule_equal(const struct fib_rule *a, const struct fib_rule *b);
bool fib_route_equal(const struct fib_route *a, const struct fib_route *b);

/* Reads all rules of FAMILY, and all its routes of TABLE, into FIB (appended). Negative errno. */
int fib_read_rules(struct netlink *netlink, int family, struct fib *fib);
int fib_read_routes(struct netlink *netlink, int family, uint32_t table, struct fib *fib);

/* A route takes the place of one with the same network and metric. An equal rule that stands is no error. */
int fib_install_rule(struct netlink *netlink, const struct fib_rule *rule);
int fib_install_route(struct netlink *netlink, const struct fib_route *route, uint32_t table);

/* Deletes what was read, by its origin. What is gone already is no error. */
int fib_delete(struct netlink *netlink, const struct nlmsghdr *origin);
