/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Holdfast's own links: made, configured and removed by the daemon. Every function returns 0 or a negative errno; those that change
 * anything refuse a name that is not Holdfast's (-EPERM): NETWORK_SINK, or NETWORK_PREFIX with something after it.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/address.h"

#define NETWORK_SINK   "hf0" /* the device that leads nowhere */
#define NETWORK_PREFIX "hf-" /* every tunnel's link is named hf-<id> */

/* Whether NAME is one that Holdfast gives to its links. */
bool link_is_own(const char *name);

/*
 * Makes the persistent TUN device NAME, or opens the one that stands, for OWNER; *ret_fd is attached to it (the caller closes it:
 * the device stays). WITH_HEADER: packets carry the struct tun_pi that older wireguard-go expects. -EBUSY: somebody else is
 * attached. -EEXIST: a link of that name is no TUN device.
 */
int link_open_tun(const char *name, uid_t owner, bool with_header, int *ret_fd);

/*
 * What NAME should have. Only what differs is changed: addresses that are not listed go, listed ones come, MTU 0 is left alone.
 * Addresses bring no route with them (IFA_F_NOPREFIXROUTE): what a tunnel carries is the plan's to say, see routing.h.
 */
struct link_settings {
	const struct ip_prefix *addresses;
	size_t address_count;
	uint32_t mtu;
	bool up;
};
int link_configure(const char *name, const struct link_settings *settings);

/* What is not there is removed: 0. */
int link_remove(const char *name);
int link_counters(const char *name, uint64_t *ret_rx_bytes, uint64_t *ret_tx_bytes);

/* What the kernel says of a link. -ENODEV: there is none. */
struct link_status {
	int index;
	uint32_t mtu;
	bool up;       /* administratively */
	bool carrier;  /* of a TUN device: somebody is attached */
	bool is_tun;   /* a TUN device (no TAP) */
	bool is_wireguard; /* the kernel's own */
};
int link_query(const char *name, struct link_status *ret);
