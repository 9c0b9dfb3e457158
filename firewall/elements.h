/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Changes of sets' elements over raw netlink (libmnl), one transaction each. libnftables would first fetch every element of the table
 * and then hold them all: with 100,000 networks in one set, an address more in another took seconds and 150 MB.
 */

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firewall/ruleset.h"

/* KEY has the set's key_length. Of sets of intervals: all from KEY to before END. */
struct set_element {
	const void *key;
	const void *end;	    /* NULL: a set of single keys, or to the last address that there is, see `interval` */
	bool interval;		    /* of a set of intervals */
	uint64_t timeout_msec;	    /* 0: none */
};

struct elements {
	uint8_t *bytes;
	size_t length, allocated;
	size_t message;	 /* where the message that is being filled begins; 0: none is */
	size_t nest;	 /* … and its list of elements */
	unsigned type;	 /* … NFT_MSG_… */
	enum gate_set set;
	unsigned messages;
};

void elements_done(struct elements *elements);
#define _cleanup_elements_ _cleanup_(elements_done)

/* In the order in which they are called. */
void elements_flush(struct elements *elements, enum gate_set set);
void elements_add(struct elements *elements, enum gate_set set, const struct set_element *element);
void elements_remove(struct elements *elements, enum gate_set set, const struct set_element *element);

int elements_open(struct mnl_socket **ret);

/*
 * Commits ELEMENTS on SOCKET if the ruleset's generation is still GENERATION; it is the next one then. -ERESTART: it is another.
 * Other negative errno: what the kernel answered; nothing was changed. One ELEMENTS is committed until one commit succeeds.
 */
int elements_commit(struct elements *elements, struct mnl_socket *socket, uint32_t generation);
