/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the kernel holds of the gate's table, asked for over raw netlink (libmnl): by name or filtered by the table, so
 * that other tables, however large, cost nothing, and cheap enough to follow every commit.
 */

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "firewall/ruleset.h"

struct readback {
	uint32_t generation; /* of the ruleset, when all of this was so */
	bool exists;
	bool plain; /* the table has no flags (dormant, owner, persist) */
	struct {
		bool exists;
		bool as_defined; /* type, hook and priority */
		bool drops;
		struct text comments; /* as in struct ruleset */
	} chains[CHAIN_COUNT];
	uint64_t handle;      /* the kernel's number of the table; another one is another table */
	uint32_t uses;        /* chains, named sets and objects that the kernel counts in the table */
	uint32_t counters;    /* of those: Holdfast's counters */
	uint32_t sets;        /* and Holdfast's sets, of the right kind */
	bool foreign_chain;   /* a rule stands in a chain that Holdfast never makes */
	uint64_t packets[COUNTER_COUNT];
	uint64_t released_usec; /* what is left of a release; USEC_INFINITY: without an end */
	uint64_t frame;         /* over what holds rules and elements: the table, chains, sets and objects, as the kernel numbers them */
	uint64_t fingerprint;   /* over all that does not change by itself: handles, expressions, comments, flags */
};

void readback_done(struct readback *readback);
#define _cleanup_readback_ _cleanup_(readback_done)

struct readback_socket;

int readback_open(struct readback_socket **ret);
struct readback_socket *readback_close(struct readback_socket *socket); /* accepts NULL, returns NULL */

/* The ruleset's generation, which every commit of anyone raises by one. -EPERM without CAP_NET_ADMIN. */
int readback_generation(struct readback_socket *socket, uint32_t *ret);

/* Reads everything, all of one generation. -EINTR: it changed meanwhile, ask again. Other errors: of the query. */
int readback_read(struct readback_socket *socket, struct readback *ret);

/*
 * Reads the table's handle, whether it exists, and the counters: all that whoever asks for them often has to pay for, a tenth of the whole.
 * Errors as those of readback_read(). What it leaves in *ret owns nothing.
 */
int readback_counters(struct readback_socket *socket, struct readback *ret);

/* Whether the kernel's table is what SET says. NULL, or a (static) sentence of the first difference. */
const char *readback_difference(const struct readback *readback, const struct ruleset *set);

/* Whether MESSAGE is about the gate's table. */
bool readback_is_ours(const struct nlmsghdr *message);
/* Whether MESSAGE, which is about the gate's table, changes elements of what is granted (names apart, which a resolver adds). */
bool readback_is_grant(const struct nlmsghdr *message);
