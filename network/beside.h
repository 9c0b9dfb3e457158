/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What stands beside Holdfast on this machine's network, as far as the kernel tells it: ways out that neither layer of the gate sees. Each
 * is one bounded question; nothing is kept. Negative errno: it could not be asked, so nothing is known.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "network/monitor.h"

enum beside_kind {
	BESIDE_LOWER,	  /* macvlan, ipvlan or the like on an uplink */
	BESIDE_PORT,	  /* a port of a bridge of which an uplink is a port, too */
	BESIDE_TUNNEL,	  /* a VPN's link that is not Holdfast's */
	BESIDE_FUNCTIONS, /* an uplink with SR-IOV functions; `link` is it */
};

struct beside_link {
	enum beside_kind kind;
	char link[IFNAMSIZ], uplink[IFNAMSIZ], bridge[IFNAMSIZ]; /* the latter of BESIDE_PORT */
	char type[32];						  /* the kernel's word for the link: "macvlan" */
	unsigned functions;
};

/* At most MAX; *ret_count may be more. */
int beside_links(const struct network_state *state, struct beside_link *ret, size_t max, size_t *ret_count);

/* A rule of routing policy in front of Holdfast's. */
struct beside_rule {
	int family;
	uint32_t priority, table;
};
int beside_rules(struct beside_rule *ret, size_t max, size_t *ret_count);

/* How many IPsec policies there are; those of sockets are not told. */
int beside_ipsec_policies(unsigned *ret);

/* A packet socket; those of one process on one link count once. */
struct beside_packet_socket {
	uint64_t inode;
	uid_t uid;
	char link[IFNAMSIZ]; /* "": all of them */
	pid_t pid;	     /* 0: it was not found: it is another namespace's, or may not be looked at */
	char process[32];
};
/* At most MAX; *ret_more: how many were not looked at. */
int beside_packet_sockets(struct beside_packet_socket *ret, size_t max, size_t *ret_count, size_t *ret_more);
