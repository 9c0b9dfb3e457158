/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Tables of others in nftables, iptables-nft's included, as far as they stand in the way of packets: what hangs on a hook, and flowtables.
 * Chains are asked for, never rules: there may be a hundred thousand of those.
 */

#include <stdbool.h>
#include <stddef.h>

#define FOREIGN_TABLES_MAX 64
#define FOREIGN_NAME_MAX   64

struct foreign_table {
	int family;		     /* NFPROTO_… */
	char name[FOREIGN_NAME_MAX]; /* cut where it is longer */
	const char *owner;	     /* whose it looks like, by its name and its chains'; NULL: unknown */
	unsigned hooks;		     /* chains that packets come to */
	bool drops_output;	     /* what leaves is dropped unless a rule of it says otherwise */
	bool reroutes_later;	     /* it may give what leaves another route after the gate has judged it */
	bool flowtable;
};

/* "inet", "ip" … */
const char *foreign_family(int family);

/* Whether the kernel has tables of iptables-legacy, of AF_INET or AF_INET6, which no dump of nftables shows. */
bool foreign_legacy(int family);

/* At most FOREIGN_TABLES_MAX, in the kernel's order; *ret_count may be more than that. Negative errno. */
int foreign_tables_read(struct foreign_table ret[FOREIGN_TABLES_MAX], size_t *ret_count);
