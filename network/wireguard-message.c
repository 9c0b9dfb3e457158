/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * linux/wireguard.h describes the attributes. A nest's length has 16 bits, so a configuration is cut into messages of at most
 * MESSAGE_SIZE: first between peers, and within a peer's allowed IPs where even one is too long (its key is then repeated, and only
 * its first part replaces what the kernel had).
 */

#include "network/wireguard-message.h"

#include <errno.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <netlink/genl/genl.h>
#include <string.h>

#include "util/text.h"

#define MESSAGE_SIZE 8192
#define PEER_SIZE    256 /* more than a peer without allowed IPs takes */
#define NETWORK_SIZE 64	 /* more than one allowed IP takes */

/* The message that is being filled. */
struct encoder {
	uint16_t family;
	const char *name;
	wireguard_emit emit;
	void *userdata;
	struct nl_msg *message;
	struct nlattr *peers;
};

static struct nl_msg *begin_message(uint16_t family, uint8_t command, uint16_t flags, const char *name)
{
	struct nl_msg *message = nlmsg_alloc_size(MESSAGE_SIZE);
	if (!message || !genlmsg_put(message, 0, 0, family, 0, flags, command, WG_GENL_VERSION))
		abort(); /* out of memory, as in util/text.c */
	nla_put_string(message, WGDEVICE_A_IFNAME, name);
	return message;
}

struct nl_msg *wireguard_encode_get(uint16_t family, const char *name)
{
	return begin_message(family, WG_CMD_GET_DEVICE, NLM_F_DUMP, name);
}

struct nl_msg *wireguard_encode_keepalive(uint16_t family, const char *name, const uint8_t public_key[WIREGUARD_KEY_SIZE], uint16_t keepalive_sec)
{
	struct nl_msg *message = begin_message(family, WG_CMD_SET_DEVICE, 0, name);
	struct nlattr *peers = nla_nest_start(message, WGDEVICE_A_PEERS), *peer = nla_nest_start(message, 0);
	nla_put(message, WGPEER_A_PUBLIC_KEY, WIREGUARD_KEY_SIZE, public_key);
	nla_put_u32(message, WGPEER_A_FLAGS, WGPEER_F_UPDATE_ONLY);
	nla_put_u16(message, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, keepalive_sec);
	nla_nest_end(message, peer);
	nla_nest_end(message, peers);
	return message;
}

struct nl_msg *wireguard_encode_silence(uint16_t family, const char *name)
{
	static const uint8_t none[WIREGUARD_KEY_SIZE];
	struct nl_msg *message = begin_message(family, WG_CMD_SET_DEVICE, 0, name);
	nla_put_u32(message, WGDEVICE_A_FLAGS, WGDEVICE_F_REPLACE_PEERS);
	nla_put(message, WGDEVICE_A_PRIVATE_KEY, sizeof none, none);
	return message;
}

static size_t room(const struct encoder *encoder)
{
	return MESSAGE_SIZE - nlmsg_hdr(encoder->message)->nlmsg_len;
}

static int end_message(struct encoder *encoder)
{
	if (encoder->peers)
		nla_nest_end(encoder->message, encoder->peers);
	encoder->peers = NULL;
	return encoder->emit(STEAL(encoder->message), encoder->userdata);
}

static int next_message(struct encoder *encoder)
{
	int r = encoder->message ? end_message(encoder) : 0;
	if (r < 0)
		return r;
	encoder->message = begin_message(encoder->family, WG_CMD_SET_DEVICE, 0, encoder->name);
	return 0;
}

static void put_endpoint(struct nl_msg *message, const struct endpoint *endpoint)
{
	if (endpoint->address.family == AF_INET) {
		struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(endpoint->port)};
		memcpy(&address.sin_addr, endpoint->address.bytes, sizeof address.sin_addr);
		nla_put(message, WGPEER_A_ENDPOINT, sizeof address, &address);
	} else if (endpoint->address.family == AF_INET6) {
		struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(endpoint->port)};
		memcpy(&address.sin6_addr, endpoint->address.bytes, sizeof address.sin6_addr);
		nla_put(message, WGPEER_A_ENDPOINT, sizeof address, &address);
	}
}

static void put_network(struct nl_msg *message, const struct ip_prefix *network)
{
	struct nlattr *nest = nla_nest_start(message, 0);
	nla_put_u16(message, WGALLOWEDIP_A_FAMILY, (uint16_t)network->address.family);
	nla_put(message, WGALLOWEDIP_A_IPADDR, ip_address_bits(&network->address) / 8, network->address.bytes);
	nla_put_u8(message, WGALLOWEDIP_A_CIDR_MASK, network->length);
	nla_nest_end(message, nest);
}

/* The key, and in a peer's first part everything but its networks. */
static void put_peer_head(struct nl_msg *message, const struct wireguard_peer *peer, bool first)
{
	nla_put(message, WGPEER_A_PUBLIC_KEY, sizeof peer->public_key, peer->public_key);
	if (!first)
		return;
	nla_put_u32(message, WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS);
	nla_put(message, WGPEER_A_PRESHARED_KEY, sizeof peer->preshared_key, peer->preshared_key);
	put_endpoint(message, &peer->endpoint);
	nla_put_u16(message, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, peer->keepalive_sec);
}

/* Puts as much of PEER as fits, from the network NEXT on; returns where the next part begins. */
static size_t put_peer_part(struct encoder *encoder, const struct wireguard_peer *peer, size_t next)
{
	struct nl_msg *message = encoder->message;
	if (!encoder->peers)
		encoder->peers = nla_nest_start(message, WGDEVICE_A_PEERS);
	struct nlattr *nest = nla_nest_start(message, 0);
	put_peer_head(message, peer, next == 0);
	if (next < peer->allowed_count) {
		struct nlattr *networks = nla_nest_start(message, WGPEER_A_ALLOWEDIPS);
		while (next < peer->allowed_count && room(encoder) >= NETWORK_SIZE)
			put_network(message, &peer->allowed[next++]);
		nla_nest_end(message, networks);
	}
	nla_nest_end(message, nest);
	return next;
}

static int put_peer(struct encoder *encoder, const struct wireguard_peer *peer)
{
	size_t next = 0;
	do {
		int r = room(encoder) < PEER_SIZE + NETWORK_SIZE ? next_message(encoder) : 0;
		if (r < 0)
			return r;
		next = put_peer_part(encoder, peer, next);
	} while (next < peer->allowed_count);
	return 0;
}

int wireguard_encode(uint16_t family, const char *name, const struct wireguard_device *device, wireguard_emit emit, void *userdata)
{
	struct encoder encoder = {.family = family, .name = name, .emit = emit, .userdata = userdata};
	int r = next_message(&encoder);
	if (r < 0)
		return r;
	nla_put_u32(encoder.message, WGDEVICE_A_FLAGS, WGDEVICE_F_REPLACE_PEERS);
	nla_put(encoder.message, WGDEVICE_A_PRIVATE_KEY, sizeof device->private_key, device->private_key);
	nla_put_u16(encoder.message, WGDEVICE_A_LISTEN_PORT, device->listen_port);
	nla_put_u32(encoder.message, WGDEVICE_A_FWMARK, device->mark);
	for (size_t i = 0; r == 0 && i < device->peer_count; i++)
		r = put_peer(&encoder, &device->peers[i]);
	if (r == 0)
		return end_message(&encoder);
	if (encoder.message) {
		wipe(nlmsg_hdr(encoder.message), nlmsg_hdr(encoder.message)->nlmsg_len);
		nlmsg_free(encoder.message);
	}
	return r;
}

/* The kernel's struct __kernel_timespec: two 64-bit numbers, whatever the machine. */
static uint64_t read_time(const struct nlattr *attribute)
{
	int64_t time[2] = {};
	nla_memcpy(time, attribute, sizeof time);
	return time[0] < 0 ? 0 : (uint64_t)time[0] * USEC_PER_SEC + (uint64_t)time[1] / 1000;
}

static int read_peer(struct nlattr *nest, struct wireguard_statuses *statuses)
{
	struct nlattr *table[WGPEER_A_MAX + 1];
	if (nla_parse_nested(table, WGPEER_A_MAX, nest, NULL) < 0 || !table[WGPEER_A_PUBLIC_KEY] ||
		nla_len(table[WGPEER_A_PUBLIC_KEY]) != WIREGUARD_KEY_SIZE)
		return -EBADMSG;
	const uint8_t *key = nla_data(table[WGPEER_A_PUBLIC_KEY]);
	if (statuses->count > 0 && memcmp(statuses->items[statuses->count - 1].public_key, key, WIREGUARD_KEY_SIZE) == 0)
		return 0;
	if (statuses->count == statuses->max)
		return -ENOSPC;
	struct wireguard_peer_status *status = &statuses->items[statuses->count++];
	*status = (struct wireguard_peer_status){
		.last_handshake_usec = table[WGPEER_A_LAST_HANDSHAKE_TIME] ? read_time(table[WGPEER_A_LAST_HANDSHAKE_TIME]) : 0,
		.rx_bytes = table[WGPEER_A_RX_BYTES] ? nla_get_u64(table[WGPEER_A_RX_BYTES]) : 0,
		.tx_bytes = table[WGPEER_A_TX_BYTES] ? nla_get_u64(table[WGPEER_A_TX_BYTES]) : 0,
	};
	memcpy(status->public_key, key, WIREGUARD_KEY_SIZE);
	return 0;
}

int wireguard_decode(const struct nlmsghdr *answer, struct wireguard_statuses *statuses)
{
	struct nlattr *table[WGDEVICE_A_MAX + 1], *peer;
	int left, r = 0;
	if (genlmsg_parse((struct nlmsghdr *)answer, 0, table, WGDEVICE_A_MAX, NULL) < 0)
		return -EBADMSG;
	if (!table[WGDEVICE_A_PEERS])
		return 0;
	nla_for_each_nested(peer, table[WGDEVICE_A_PEERS], left)
	{
		r = read_peer(peer, statuses);
		if (r < 0)
			break;
	}
	return r;
}
