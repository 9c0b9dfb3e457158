/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The generic netlink messages of the family "wireguard", made and read without a socket, for the files of this folder only. */

#include "network/netlink.h"
#include "network/wireguard.h"

/* Told each message of a configuration, in order; it takes ownership. A negative return ends the encoding and becomes its result. */
typedef int (*wireguard_emit)(struct nl_msg *message, void *userdata);

/*
 * WG_CMD_SET_DEVICE for DEVICE as the whole configuration of the link NAME. What does not fit into one message goes on in the next:
 * the first one replaces all peers, those after it add to them.
 */
int wireguard_encode(uint16_t family, const char *name, const struct wireguard_device *device, wireguard_emit emit, void *userdata);

/*
 * WG_CMD_SET_DEVICE that changes one peer's keepalive, WG_CMD_SET_DEVICE that removes every peer and the private key (all zero, says
 * linux/wireguard.h), and WG_CMD_GET_DEVICE. Never NULL.
 */
struct nl_msg *wireguard_encode_keepalive(uint16_t family, const char *name, const uint8_t public_key[WIREGUARD_KEY_SIZE], uint16_t keepalive_sec);
struct nl_msg *wireguard_encode_silence(uint16_t family, const char *name);
struct nl_msg *wireguard_encode_get(uint16_t family, const char *name);

struct wireguard_statuses {
	struct wireguard_peer_status *items;
	size_t count, max;
};
/* Adds the peers of one answer; a peer that goes on from the answer before is not added twice. -ENOSPC: more than max. */
int wireguard_decode(const struct nlmsghdr *answer, struct wireguard_statuses *statuses);
