/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The text that wireguard-go speaks on its control socket (www.wireguard.com/xplatform, "Configuration Protocol"):
 * lines of key=value, an empty line at the end; keys in hexadecimal. Pure: no descriptor is touched here.
 */

#include <stddef.h>

#include "network/wireguard.h"

#define WIREGUARD_ANSWER_MAX   (256u << 10) /* 64 peers of some hundred networks each; more is no answer of ours */
#define WIREGUARD_ANSWER_PEERS 128

extern const char WIREGUARD_GET[];

/* The request that replaces the whole configuration by DEVICE. The caller wipes and frees it. */
char *wireguard_uapi_set(const struct wireguard_device *device);
/* The request that changes one peer's keepalive and nothing else. The caller frees it. */
char *wireguard_uapi_set_keepalive(const uint8_t public_key[WIREGUARD_KEY_SIZE], uint16_t seconds);
/* The request that gives every peer of DEVICE its endpoint anew: from where it was sent is forgotten with it. The caller frees it. */
char *wireguard_uapi_set_endpoints(const struct wireguard_device *device);

struct wireguard_answer {
	int error; /* the errno that wireguard-go gave, negative; 0: done */
	struct wireguard_peer_status peers[WIREGUARD_ANSWER_PEERS];
	size_t peer_count;
};

/*
 * Parses one answer. Returns the number of bytes that it took, 0 if it is not complete yet, -EBADMSG for what is none.
 * Keys that are not known are read over: later versions have more.
 */
ptrdiff_t wireguard_uapi_parse(const char *bytes, size_t length, struct wireguard_answer *ret);
