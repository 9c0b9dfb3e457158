/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel's WireGuard, over generic netlink (family "wireguard", version 1; linux/wireguard.h). The same structures describe a
 * device for wireguard-go's control socket.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/address.h"

#define WIREGUARD_KEY_SIZE 32
#define WIREGUARD_KEY_TEXT_MAX 45 /* base64 with its padding and NUL */

struct wireguard_peer {
	uint8_t public_key[WIREGUARD_KEY_SIZE];
	uint8_t preshared_key[WIREGUARD_KEY_SIZE]; /* all zero: none */
	struct endpoint endpoint;		   /* family AF_UNSPEC: none yet */
	uint16_t keepalive_sec;			   /* 0: off */
	struct ip_prefix *allowed;
	size_t allowed_count;
};

struct wireguard_device {
	uint8_t private_key[WIREGUARD_KEY_SIZE];
	uint16_t listen_port; /* 0: any */
	uint32_t mark;
	struct wireguard_peer *peers;
	size_t peer_count;
};

struct wireguard_peer_status {
	uint8_t public_key[WIREGUARD_KEY_SIZE];
	uint64_t last_handshake_usec; /* CLOCK_REALTIME; 0: never */
	uint64_t rx_bytes, tx_bytes;
};

/* Strict base64 of exactly 32 bytes. -EINVAL. */
int wireguard_key_parse(const char *text, uint8_t ret[WIREGUARD_KEY_SIZE]);
const char *wireguard_key_format(char buffer[WIREGUARD_KEY_TEXT_MAX], const uint8_t key[WIREGUARD_KEY_SIZE]);

/* Whether this kernel has the family. */
bool wireguard_kernel_available(void);
int wireguard_kernel_make(const char *name);
/* Replaces the device's whole configuration. */
int wireguard_kernel_set(const char *name, const struct wireguard_device *device);
/* Changes one peer's keepalive and nothing else; its session goes on. */
int wireguard_kernel_set_keepalive(const char *name, const uint8_t public_key[WIREGUARD_KEY_SIZE], uint16_t keepalive_sec);
/* Removes every peer and the private key: the link stays, carries nothing, and keeps no secret. */
int wireguard_kernel_silence(const char *name);
/* The peers, at most MAX; RET has no secret. -ENODEV: there is no such link. -EOPNOTSUPP: it is no WireGuard's. */
int wireguard_kernel_get(const char *name, struct wireguard_peer_status *ret, size_t max, size_t *ret_count);
