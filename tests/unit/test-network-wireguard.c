/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* WireGuard's keys and netlink messages. The messages are compared with what linux/wireguard.h describes, byte by byte. */

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <string.h>

#include "network/wireguard-message.h"
#include "network/wireguard.h"
#include "suite.h"
#include "util/text.h"

static void keys_round_trip(void)
{
	static const char *const good[] = {
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"//////////////////////////////////////////8=",
		"+/+/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkl0=",
		"mnopqrstuvwxyz0123456789+/mnopqrstuvwxyz010=",
		"AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=",
	};
	uint8_t key[WIREGUARD_KEY_SIZE];
	char text[WIREGUARD_KEY_TEXT_MAX];
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		CU_ASSERT_EQUAL(wireguard_key_parse(good[i], key), 0);
		CU_ASSERT_STRING_EQUAL(wireguard_key_format(text, key), good[i]);
	}
	for (size_t i = 0; i < sizeof key; i++)
		CU_ASSERT_EQUAL(key[i], i + 1);
}

static void what_is_no_key_is_refused(void)
{
	static const char *const bad[] = {
		"",
		"AAAA",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",	/* no padding */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",	/* 33 bytes */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",	/* 31 bytes */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=",	/* bits beyond 32 bytes */
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= ", /* white space */
		" AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
		"AAAAAAAAAAAAAAAAAAAA-AAAAAAAAAAAAAAAAAAAAAA=", /* the alphabet of URLs */
		"AAAAAAAAAAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAA=",
		"AAAAAAAAAAAAAAAAAAAA=AAAAAAAAAAAAAAAAAAAAAA=",
		"AAAAAAAAAAAAAAAAAAAA\303\204AAAAAAAAAAAAAAAAAAAAA=",
	};
	uint8_t key[WIREGUARD_KEY_SIZE], before[WIREGUARD_KEY_SIZE];
	memset(key, 0x55, sizeof key);
	memcpy(before, key, sizeof key);
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		CU_ASSERT_EQUAL(wireguard_key_parse(bad[i], key), -EINVAL);
	CU_ASSERT_EQUAL(memcmp(key, before, sizeof key), 0);
}

static void every_byte_that_is_no_digit_is_refused(void)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char text[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	uint8_t key[WIREGUARD_KEY_SIZE];
	for (int c = 1; c < 256; c++) {
		text[7] = (char)c;
		CU_ASSERT_EQUAL(wireguard_key_parse(text, key), strchr(digits, c) ? 0 : -EINVAL);
	}
}

/* The attributes of each message, in the order in which they come, one a line. */
static void describe(struct text *text, const struct nlattr *attribute, unsigned depth)
{
	text_append(text, "%*s%u:", (int)depth * 2, "", (unsigned)nla_type(attribute));
	if (attribute->nla_type & NLA_F_NESTED) {
		struct nlattr *inner;
		int left;
		text_append(text, "\n");
		nla_for_each_nested(inner, (struct nlattr *)attribute, left)
			describe(text, inner, depth + 1);
		return;
	}
	for (int i = 0; i < nla_len(attribute); i++)
		text_append(text, "%02x", ((const uint8_t *)nla_data(attribute))[i]);
	text_append(text, "\n");
}

static int describe_message(struct nl_msg *message, void *userdata)
{
	const struct nlmsghdr *header = nlmsg_hdr(message);
	const struct genlmsghdr *command = nlmsg_data(header);
	struct nlattr *attribute;
	int left;
	text_append(userdata, "type %u command %u version %u\n", header->nlmsg_type, command->cmd, command->version);
	nlmsg_for_each_attr(attribute, (struct nlmsghdr *)header, GENL_HDRLEN, left)
		describe(userdata, attribute, 0);
	nlmsg_free(message);
	return 0;
}

static void a_device_is_encoded_as_the_kernel_reads_it(void)
{
	struct ip_prefix allowed[] = {{{AF_INET, {}}, 0}, {{AF_INET6, {0xfd, 0x09, [15] = 1}}, 64}};
	struct wireguard_peer peers[] = {
		{.public_key = {0xaa, [31] = 0xbb},
			.preshared_key = {0xcc},
			.endpoint = {{AF_INET, {203, 0, 113, 7}}, 51820, IPPROTO_UDP},
			.keepalive_sec = 25,
			.allowed = allowed,
			.allowed_count = 2},
		{.public_key = {0xdd}, .endpoint = {{AF_INET6, {0x20, 0x01, [15] = 9}}, 443, IPPROTO_UDP}},
	};
	struct wireguard_device device = {.private_key = {0x11, [31] = 0x22}, .listen_port = 51821, .mark = 0x68660000,
		.peers = peers, .peer_count = 2};
	_cleanup_text_ struct text text = TEXT_NULL;
	CU_ASSERT_EQUAL(wireguard_encode(0x1d, "hf-home", &device, describe_message, &text), 0);
#define ZEROS15 "000000000000000000000000000000"
	CU_ASSERT_STRING_EQUAL(text.bytes,
		"type 29 command 1 version 1\n"
		"2:68662d686f6d6500\n"				  /* IFNAME */
		"5:01000000\n"					  /* FLAGS: replace the peers */
		"3:11" ZEROS15 ZEROS15 "22\n"			  /* PRIVATE_KEY */
		"6:6dca\n"					  /* LISTEN_PORT, in the host's order */
		"7:00006668\n"					  /* FWMARK */
		"8:\n"						  /* PEERS */
		"  0:\n"
		"    1:aa" ZEROS15 ZEROS15 "bb\n"		  /* PUBLIC_KEY */
		"    3:02000000\n"				  /* FLAGS: replace the allowed IPs */
		"    2:cc" ZEROS15 ZEROS15 "00\n"		  /* PRESHARED_KEY */
		"    4:0200ca6ccb0071070000000000000000\n"	  /* ENDPOINT: a sockaddr_in */
		"    5:1900\n"					  /* PERSISTENT_KEEPALIVE_INTERVAL */
		"    9:\n"					  /* ALLOWEDIPS */
		"      0:\n"
		"        1:0200\n"
		"        2:00000000\n"
		"        3:00\n"
		"      0:\n"
		"        1:0a00\n"
		"        2:fd090000000000000000000000000001\n"
		"        3:40\n"
		"  0:\n"
		"    1:dd" ZEROS15 ZEROS15 "00\n"
		"    3:02000000\n"
		"    2:00" ZEROS15 ZEROS15 "00\n"
		"    4:0a0001bb000000002001000000000000000000000000000900000000\n" /* a sockaddr_in6 */
		"    5:0000\n");
}

static void a_silenced_link_has_no_peer_and_no_key(void)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	CU_ASSERT_EQUAL(describe_message(wireguard_encode_silence(0x1d, "hf-home"), &text), 0);
	CU_ASSERT_STRING_EQUAL(text.bytes, "type 29 command 1 version 1\n2:68662d686f6d6500\n5:01000000\n3:" ZEROS15 ZEROS15 "0000\n");
	text_done(&text);
	CU_ASSERT_EQUAL(describe_message(wireguard_encode_get(0x1d, "hf-home"), &text), 0);
	CU_ASSERT_STRING_EQUAL(text.bytes, "type 29 command 0 version 1\n2:68662d686f6d6500\n");
}

static void a_keepalive_changes_without_its_peer_being_made_anew(void)
{
	static const uint8_t key[WIREGUARD_KEY_SIZE] = {0xaa, [31] = 0xbb};
	_cleanup_text_ struct text text = TEXT_NULL;
	CU_ASSERT_EQUAL(describe_message(wireguard_encode_keepalive(0x1d, "hf-home", key, 25), &text), 0);
	CU_ASSERT_STRING_EQUAL(text.bytes, "type 29 command 1 version 1\n"
					   "2:68662d686f6d6500\n"
					   "8:\n"
					   "  0:\n"
					   "    1:aa" ZEROS15 ZEROS15 "bb\n"
					   "    3:04000000\n" /* FLAGS: update only */
					   "    5:1900\n");
}

/* What a kernel would hold after the messages: per peer its networks, counted. */
struct tally {
	unsigned messages, replacing_peers, replacing_networks;
	size_t networks[3];
	uint32_t largest;
};

static int tally_message(struct nl_msg *message, void *userdata)
{
	struct tally *tally = userdata;
	struct nlattr *device[WGDEVICE_A_MAX + 1], *peer;
	int left;
	tally->messages++;
	tally->largest = MAX_OF(tally->largest, nlmsg_hdr(message)->nlmsg_len);
	CU_ASSERT_EQUAL(nlmsg_parse(nlmsg_hdr(message), GENL_HDRLEN, device, WGDEVICE_A_MAX, NULL), 0);
	tally->replacing_peers += device[WGDEVICE_A_FLAGS] != NULL;
	nla_for_each_nested(peer, device[WGDEVICE_A_PEERS], left)
	{
		struct nlattr *table[WGPEER_A_MAX + 1], *network;
		int inner;
		CU_ASSERT_EQUAL(nla_parse_nested(table, WGPEER_A_MAX, peer, NULL), 0);
		uint8_t number = *(uint8_t *)nla_data(table[WGPEER_A_PUBLIC_KEY]);
		tally->replacing_networks += table[WGPEER_A_FLAGS] != NULL;
		if (table[WGPEER_A_ALLOWEDIPS])
			nla_for_each_nested(network, table[WGPEER_A_ALLOWEDIPS], inner)
				tally->networks[number]++;
	}
	nlmsg_free(message);
	return 0;
}

static void what_is_too_long_goes_on_in_the_next_message(void)
{
	static struct ip_prefix many[3000];
	for (size_t i = 0; i < ELEMENTSOF(many); i++)
		many[i] = (struct ip_prefix){{AF_INET6, {0xfd, [2] = (uint8_t)(i >> 8), [3] = (uint8_t)i}}, 32};
	struct wireguard_peer peers[] = {
		{.public_key = {0}, .allowed = many, .allowed_count = 1},
		{.public_key = {1}, .allowed = many, .allowed_count = ELEMENTSOF(many)},
		{.public_key = {2}, .allowed = many, .allowed_count = 500},
	};
	struct wireguard_device device = {.peers = peers, .peer_count = 3};
	struct tally tally = {};
	CU_ASSERT_EQUAL(wireguard_encode(0x1d, "hf-home", &device, tally_message, &tally), 0);
	CU_ASSERT_TRUE(tally.messages > 10);
	CU_ASSERT_EQUAL(tally.replacing_peers, 1);
	CU_ASSERT_EQUAL(tally.replacing_networks, 3);
	CU_ASSERT_EQUAL(tally.networks[0], 1);
	CU_ASSERT_EQUAL(tally.networks[1], ELEMENTSOF(many));
	CU_ASSERT_EQUAL(tally.networks[2], 500);
	CU_ASSERT_TRUE(tally.largest <= 8192);
}

static int refuse_second(struct nl_msg *message, void *userdata)
{
	nlmsg_free(message);
	return ++*(int *)userdata == 2 ? -EPERM : 0;
}

static void a_refused_message_ends_the_configuration(void)
{
	static struct ip_prefix many[1000];
	for (size_t i = 0; i < ELEMENTSOF(many); i++)
		many[i] = (struct ip_prefix){{AF_INET, {10, (uint8_t)(i >> 8), (uint8_t)i}}, 24};
	struct wireguard_peer peer = {.allowed = many, .allowed_count = ELEMENTSOF(many)};
	struct wireguard_device device = {.peers = &peer, .peer_count = 1};
	int count = 0;
	CU_ASSERT_EQUAL(wireguard_encode(0x1d, "hf-home", &device, refuse_second, &count), -EPERM);
	CU_ASSERT_EQUAL(count, 2);
}

/* An answer as the kernel gives it, with peers NUMBER to LAST. */
static struct nl_msg *make_answer(uint8_t number, uint8_t last)
{
	struct genlmsghdr header = {.cmd = WG_CMD_GET_DEVICE, .version = 1};
	struct nl_msg *message = netlink_message(0x1d, 0, &header, sizeof header);
	struct nlattr *peers = nla_nest_start(message, WGDEVICE_A_PEERS);
	for (; number <= last; number++) {
		uint8_t key[WIREGUARD_KEY_SIZE] = {number};
		int64_t time[2] = {number == 1 ? 0 : 1700000000 + number, 5000};
		struct nlattr *peer = nla_nest_start(message, 0);
		nla_put(message, WGPEER_A_PUBLIC_KEY, sizeof key, key);
		nla_put(message, WGPEER_A_LAST_HANDSHAKE_TIME, sizeof time, time);
		nla_put_u64(message, WGPEER_A_RX_BYTES, 1000u + number);
		nla_put_u64(message, WGPEER_A_TX_BYTES, 2000u + number);
		nla_nest_end(message, peer);
	}
	nla_nest_end(message, peers);
	return message;
}

static void peers_are_read_once_though_answers_repeat_them(void)
{
	struct wireguard_peer_status items[3];
	struct wireguard_statuses statuses = {.items = items, .max = 3};
	_cleanup_message_ struct nl_msg *first = make_answer(2, 3), *second = make_answer(3, 4), *third = make_answer(5, 5);
	CU_ASSERT_EQUAL(wireguard_decode(nlmsg_hdr(first), &statuses), 0);
	CU_ASSERT_EQUAL(wireguard_decode(nlmsg_hdr(second), &statuses), 0);
	CU_ASSERT_EQUAL(statuses.count, 3);
	CU_ASSERT_EQUAL(items[2].public_key[0], 4);
	CU_ASSERT_EQUAL(items[2].last_handshake_usec, 1700000004000005);
	CU_ASSERT_EQUAL(items[2].rx_bytes, 1004);
	CU_ASSERT_EQUAL(items[2].tx_bytes, 2004);
	CU_ASSERT_EQUAL(wireguard_decode(nlmsg_hdr(third), &statuses), -ENOSPC);
}

static void a_kernel_without_wireguard_says_so(void)
{
	struct wireguard_peer_status status;
	size_t count;
	bool available = wireguard_kernel_available();
	int r = wireguard_kernel_get("hf-nobody", &status, 1, &count);
	CU_ASSERT_TRUE(available ? r == -ENODEV : r < 0 && r != -ENODEV);
	CU_ASSERT_EQUAL(wireguard_kernel_make("eth0"), -EPERM);
	CU_ASSERT_EQUAL(wireguard_kernel_set("wg0", &(struct wireguard_device){}), -EPERM);
	CU_ASSERT_EQUAL(wireguard_kernel_silence("wg0"), -EPERM);
}

static const struct test tests[] = {
	{"keys round-trip", keys_round_trip},
	{"what is no key is refused", what_is_no_key_is_refused},
	{"every byte that is no digit is refused", every_byte_that_is_no_digit_is_refused},
	{"a device is encoded as the kernel reads it", a_device_is_encoded_as_the_kernel_reads_it},
	{"a silenced link has no peer and no key", a_silenced_link_has_no_peer_and_no_key},
	{"a keepalive changes without its peer being made anew", a_keepalive_changes_without_its_peer_being_made_anew},
	{"what is too long goes on in the next message", what_is_too_long_goes_on_in_the_next_message},
	{"a refused message ends the configuration", a_refused_message_ends_the_configuration},
	{"peers are read once though answers repeat them", peers_are_read_once_though_answers_repeat_them},
	{"a kernel without WireGuard says so, and others' links are refused", a_kernel_without_wireguard_says_so},
};

int main(int argc, char **argv)
{
	return suite_run("network-wireguard", tests, ELEMENTSOF(tests), argc, argv);
}
