/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a WireGuard tunnel's document says, as a device: used by the daemon's check, by the daemon where the kernel's
 * WireGuard does the work, and by the worker for wireguard-go.
 *
 *   settings:    privateKey, addresses, mtu, peers, implementation
 *   endpoints[]: address, publicKey, presharedKey, persistentKeepalive       alternatives; the one in use carries
 * `routes` peers[]:     the same, address optional, and allowedIPs                  beside the one that carries the
 * routes
 */

#include <json-c/json.h>

#include "network/wireguard.h"
#include "tunnel/config.h"
#include "tunnel/protocol.h"

#define WIREGUARD_MTU_DEFAULT 1420 /* what wireguard-go and wg-quick take: 1500 - 80 */
#define WIREGUARD_PEERS_MAX   64

struct wireguard_settings {
	uint8_t private_key[WIREGUARD_KEY_SIZE];
	struct ip_prefix *addresses;
	size_t address_count;
	uint32_t mtu;                   /* 0: the default */
	enum tunnel_carrier carrier;
	struct wireguard_peer *servers; /* one for each of `endpoints`, without address and allowed networks */
	size_t server_count;
	struct wireguard_peer *peers;
	size_t peer_count;
	struct wireguard_device device; /* the last one made */
};

/* Reads and checks; every error becomes a problem. What was read must be released in any case. Returns true if no error
 * was added. */
bool wireguard_settings_read(
        json_object *settings, json_object *endpoints, struct wireguard_settings *ret, struct problems *problems);
void wireguard_settings_done(struct wireguard_settings *settings); /* wipes */
#define _cleanup_wireguard_settings_ _cleanup_(wireguard_settings_done)

/* All that went through PEERS, as an implementation tells it, and the last handshake of the endpoint of that INDEX. */
struct tunnel_traffic wireguard_settings_traffic(const struct wireguard_settings *settings, size_t index,
        const struct wireguard_peer_status *peers, size_t count);

/*
 * The device for CONFIG's endpoint INDEX, which is at ADDRESS. A keepalive of one second is set while CONNECTING, so
 * that a handshake starts although nothing may enter the link yet; else the document's own. Belongs to SETTINGS, until
 * the next call.
 */
const struct wireguard_device *wireguard_settings_device(struct wireguard_settings *settings,
        const struct tunnel_config *config, size_t index, const struct endpoint *address, uint32_t mark,
        bool connecting);
