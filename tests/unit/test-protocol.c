/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The packets between daemon and worker: each type round-trips, and nothing else is taken. Beside them, wireguard-go's
 * own protocol. */

#include <errno.h>
#include <string.h>

#include "suite.h"
#include "tunnel/protocol.h"
#include "tunnel/wireguard-uapi.h"
#include "util/fields.h"
#include "util/text.h"

#define NONCE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char *const packets[] = {
        "{\"type\":\"start\",\"attempt\":1,\"endpointIndex\":0,\"resolvers\":[\"10.1.0.9\",\"fd01::9\"],"
        "\"mark\":1751515136,\"tun\":true,\"control\":false,"
        "\"tunnel\":{\"id\":\"home\"}}",
        "{\"type\":\"stop\",\"attempt\":3}",
        "{\"type\":\"restart\",\"attempt\":2,\"endpointIndex\":63,\"resolvers\":[]}",
        "{\"type\":\"proceed\",\"attempt\":2}",
        "{\"type\":\"credentials\",\"credentials\":{\"user\":\"x\"}}",
        "{\"type\":\"device\",\"attempt\":2,\"request\":\"inspect\",\"error\":\"none\",\"detail\":\"\",\"rxBytes\":1,"
        "\"txBytes\":2,\"lastHandshake\":3}",
        "{\"type\":\"askDevice\",\"attempt\":2,\"request\":\"configure\"}",
        "{\"type\":\"hello\",\"tunnel\":\"home\",\"nonce\":\"" NONCE
        "\",\"attempt\":0,\"phase\":\"idle\",\"endpointIndex\":0,\"endpoint\":null,"
        "\"network\":null,\"upSince\":0,\"error\":\"none\",\"detail\":\"\",\"challenge\":null}",
        "{\"type\":\"hello\",\"tunnel\":\"home\",\"nonce\":\"" NONCE
        "\",\"attempt\":4294967295,\"phase\":\"up\",\"endpointIndex\":1,"
        "\"endpoint\":\"[2001:db8::1]:51820/udp\",\"network\":{\"addresses\":[\"10.9.0.2/32\",\"fd00::2/"
        "128\"],\"dns\":[\"10.9.0.1\"],"
        "\"mtu\":1420,\"endpoint\":\"[2001:db8::1]:51820/"
        "udp\"},\"upSince\":18446744073709551615,\"error\":\"none\",\"detail\":\"\",\"challenge\":null}",
        "{\"type\":\"contacting\",\"attempt\":1,\"endpointIndex\":0,\"endpoint\":\"192.0.2.1:51820/udp\"}",
        "{\"type\":\"needCredentials\",\"attempt\":1,\"detail\":\"a password\",\"challenge\":null}",
        "{\"type\":\"needCredentials\",\"attempt\":1,\"detail\":\"response\",\"challenge\":{\"text\":\"PIN?\",\"echo\":true}}",
        "{\"type\":\"up\",\"attempt\":1,\"network\":{\"addresses\":[],\"dns\":[],\"mtu\":0,\"endpoint\":\"192.0.2.1:"
        "51820/udp\"}}",
        "{\"type\":\"traffic\",\"rxBytes\":1,\"txBytes\":18446744073709551615,\"lastHandshake\":0}",
        "{\"type\":\"willStop\",\"attempt\":1,\"error\":\"workerCrashed\",\"detail\":\"wireguard-go was killed by "
        "signal 9\"}",
        "{\"type\":\"stopped\",\"attempt\":3}",
};

static void every_type_round_trips(void)
{
	unsigned seen = 0;
	for (size_t i = 0; i < ELEMENTSOF(packets); i++) {
		struct worker_message message;
		int r = worker_message_decode(packets[i], strlen(packets[i]), &message);
		CU_ASSERT_EQUAL(r, 0);
		if (r < 0) {
			printf("# %s\n", packets[i]);
			continue;
		}
		_cleanup_free_ char *text = worker_message_encode(&message);
		CU_ASSERT_STRING_EQUAL(text, packets[i]);
		seen |= 1u << message.type;
		worker_message_done(&message);
	}
	CU_ASSERT_EQUAL(seen, (1u << (WORKER_MESSAGE_STOPPED + 1)) - 1);
}

static void what_is_no_message_is_refused(void)
{
	static const char *const bad[] = {
	        "",
	        "x",
	        "null",
	        "[]",
	        "{}",
	        "{\"type\":7}",
	        "{\"type\":\"hallo\"}",
	        "{\"type\":\"stop\"}",
	        "{\"type\":\"stop\",\"attempt\":-1}",
	        "{\"type\":\"stop\",\"attempt\":4294967296}",
	        "{\"type\":\"stop\",\"attempt\":1.0}",
	        "{\"type\":\"stop\",\"attempt\":1,\"more\":1}",
	        "{\"type\":\"stop\",\"attempt\":1}{}",
	        "{\"type\":\"stop\",\"type\":\"stop\",\"attempt\":1}",
	        "{\"type\":\"restart\",\"attempt\":1,\"endpointIndex\":64,\"resolvers\":[]}",
	        "{\"type\":\"restart\",\"attempt\":1,\"endpointIndex\":0,\"resolvers\":[\"dns.example\"]}",
	        "{\"type\":\"restart\",\"attempt\":1,\"endpointIndex\":0,\"resolvers\":[\"::1\",\"::1\",\"::1\",\"::"
	        "1\","
	        "\"::1\",\"::1\",\"::1\",\"::1\",\"::1\"]}",
	        "{\"type\":\"contacting\",\"attempt\":1,\"endpointIndex\":0,\"endpoint\":\"vpn.example:1/udp\"}",
	        "{\"type\":\"contacting\",\"attempt\":1,\"endpointIndex\":0,\"endpoint\":null}",
	        "{\"type\":\"willStop\",\"attempt\":1,\"error\":\"bored\",\"detail\":\"\"}",
	        "{\"type\":\"willStop\",\"attempt\":1,\"error\":\"unknown\",\"detail\":\"two\\nlines\"}",
	        "{\"type\":\"up\",\"attempt\":1,\"network\":{\"addresses\":[\"10.9.0.2/"
	        "33\"],\"dns\":[],\"mtu\":0,\"endpoint\":\"192.0.2.1:1/udp\"}}",
	        "{\"type\":\"up\",\"attempt\":1,\"network\":{\"addresses\":[],\"dns\":[],\"mtu\":65536,\"endpoint\":"
	        "\"192.0.2.1:1/udp\"}}",
	        "{\"type\":\"start\",\"attempt\":1,\"endpointIndex\":0,\"resolvers\":[],\"mark\":1,\"tun\":1,"
	        "\"control\":false,"
	        "\"tunnel\":{}}",
	        "{\"type\":\"start\",\"attempt\":1,\"endpointIndex\":0,\"resolvers\":[],\"mark\":1,\"tun\":true,"
	        "\"control\":false,"
	        "\"tunnel\":[]}",
	        "{\"type\":\"credentials\",\"credentials\":{\"user\":1}}",
	        "{\"type\":\"needCredentials\",\"attempt\":1,\"detail\":\"x\",\"challenge\":\"PIN?\"}",
	        "{\"type\":\"needCredentials\",\"attempt\":1,\"detail\":\"x\",\"challenge\":{\"text\":\"\",\"echo\":true}}",
	        "{\"type\":\"needCredentials\",\"attempt\":1,\"detail\":\"x\",\"challenge\":{\"text\":\"a\\u001b[2J\",\"echo\":true}}",
	        "{\"type\":\"needCredentials\",\"attempt\":1,\"detail\":\"x\",\"challenge\":{\"text\":\"PIN?\",\"echo\":1}}",
        "{\"type\":\"askDevice\",\"attempt\":2,\"request\":\"remove\"}",
        "{\"type\":\"askDevice\",\"attempt\":2,\"request\":\"configure\",\"endpoint\":\"192.0.2.1:1/udp\"}",
	};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		struct worker_message message;
		int r = worker_message_decode(bad[i], strlen(bad[i]), &message);
		CU_ASSERT_EQUAL(r, -EBADMSG);
		if (r == 0) {
			printf("# taken: %s\n", bad[i]);
			worker_message_done(&message);
		}
	}
}

/* Every truncation, and every member left out but the one that came later. */
static void no_part_of_a_message_is_a_message(void)
{
	for (size_t i = 0; i < ELEMENTSOF(packets); i++) {
		struct worker_message message;
		for (size_t length = 0; length < strlen(packets[i]); length++)
			CU_ASSERT_EQUAL(worker_message_decode(packets[i], length, &message), -EBADMSG);
		_cleanup_json_ json_object *whole = json_tokener_parse(packets[i]);
		json_object_object_foreach(whole, key, value)
		{
			(void)value;
			_cleanup_json_ json_object *part = NULL;
			json_object_deep_copy(whole, &part, NULL);
			json_object_object_del(part, key);
			const char *text = json_object_to_json_string(part);
			bool later = strcmp(key, "challenge") == 0;
			CU_ASSERT_EQUAL(worker_message_decode(text, strlen(text), &message), later ? 0 : -EBADMSG);
		}
	}
}

/* A daemon that was upgraded finds it. */
static void a_worker_that_knows_of_no_challenges_is_understood(void)
{
	static const char hello[] = "{\"type\":\"hello\",\"tunnel\":\"home\",\"nonce\":\"" NONCE
				    "\",\"attempt\":3,\"phase\":\"asking\",\"endpointIndex\":0,\"endpoint\":null,\"network\":null,"
				    "\"upSince\":0,\"error\":\"none\",\"detail\":\"password\"}";
	static const char question[] = "{\"type\":\"needCredentials\",\"attempt\":3,\"detail\":\"password\"}";
	struct worker_message message;
	CU_ASSERT_EQUAL_FATAL(worker_message_decode(hello, strlen(hello), &message), 0);
	CU_ASSERT_EQUAL(message.hello.attempt, 3);
	CU_ASSERT_STRING_EQUAL(message.hello.challenge.text, "");
	CU_ASSERT_EQUAL_FATAL(worker_message_decode(question, strlen(question), &message), 0);
	CU_ASSERT_STRING_EQUAL(message.challenge.text, "");
}

static void details_are_made_printable_and_short(void)
{
	char detail[WORKER_DETAIL_MAX], longer[2 * WORKER_DETAIL_MAX];
	worker_detail_set(detail, "two\nlines\t\x1b[31m \xff");
	CU_ASSERT_STRING_EQUAL(detail, "two lines ?[31m ?");
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = 0;
	worker_detail_set(detail, longer);
	CU_ASSERT_EQUAL(strlen(detail), WORKER_DETAIL_MAX - 1);
	worker_detail_set(detail, NULL);
	CU_ASSERT_STRING_EQUAL(detail, "");
}

static void names_round_trip(void)
{
	for (enum worker_message_type type = WORKER_MESSAGE_START; type <= WORKER_MESSAGE_STOPPED; type++) {
		enum worker_message_type back;
		CU_ASSERT_EQUAL(worker_message_type_from_string(worker_message_type_to_string(type), &back), 0);
		CU_ASSERT_EQUAL(back, type);
	}
	for (enum worker_phase phase = WORKER_IDLE; phase <= WORKER_STOPPED; phase++) {
		enum worker_phase back;
		CU_ASSERT_EQUAL(worker_phase_from_string(worker_phase_to_string(phase), &back), 0);
		CU_ASSERT_EQUAL(back, phase);
	}
}

static void a_device_is_said_in_wireguards_words(void)
{
	struct ip_prefix allowed[2] = {};
	struct wireguard_peer peer = {
	        .public_key = {1}, .preshared_key = {2}, .keepalive_sec = 25, .allowed = allowed, .allowed_count = 2};
	struct wireguard_device device = {.private_key = {3}, .mark = 0x68660000, .peers = &peer, .peer_count = 1};
	CU_ASSERT_EQUAL(endpoint_parse("[2001:db8::1]:51820/udp", &peer.endpoint), 0);
	CU_ASSERT_EQUAL(ip_prefix_parse("0.0.0.0/0", &allowed[0]), 0);
	CU_ASSERT_EQUAL(ip_prefix_parse("::/0", &allowed[1]), 0);
	_cleanup_free_ char *text = wireguard_uapi_set(&device);
	suite_golden("wireguard-set.txt", text);
	_cleanup_free_ char *keepalive = wireguard_uapi_set_keepalive(peer.public_key, 0);
	suite_golden("wireguard-keepalive.txt", keepalive);
	_cleanup_free_ char *endpoints = wireguard_uapi_set_endpoints(&device);
	suite_golden("wireguard-endpoints.txt", endpoints);
}

#define HEX "0100000000000000000000000000000000000000000000000000000000000000"

static void answers_are_read(void)
{
	static const char answer[] =
	        "private_key=" HEX "\nlisten_port=1\npublic_key=" HEX "\nlast_handshake_time_sec=1700000000\n"
	        "last_handshake_time_nsec=999999999\ntx_bytes=5\nrx_bytes=18446744073709551615\nallowed_ip=0.0.0.0/0\n"
	        "some_later_key=x\nerrno=0\n\n";
	struct wireguard_answer parsed;
	CU_ASSERT_EQUAL(wireguard_uapi_parse(answer, strlen(answer), &parsed), (ptrdiff_t)strlen(answer));
	CU_ASSERT_EQUAL(parsed.peer_count, 1);
	CU_ASSERT_EQUAL(parsed.peers[0].last_handshake_usec, 1700000000999999);
	CU_ASSERT_EQUAL(parsed.peers[0].rx_bytes, UINT64_MAX);
	CU_ASSERT_EQUAL(parsed.peers[0].tx_bytes, 5);
	for (size_t length = 0; length < strlen(answer); length++)
		CU_ASSERT_EQUAL(wireguard_uapi_parse(answer, length, &parsed), 0);
	CU_ASSERT_EQUAL(wireguard_uapi_parse("errno=-22\n\n", 11, &parsed), 11);
	CU_ASSERT_EQUAL(parsed.error, -22);
}

static void what_is_no_answer_is_refused(void)
{
	static const char *const bad[] = {"\n\n", "errno\n\n", "=0\nerrno=0\n\n", "tx_bytes=1\n\n",
	        "errno=0\nerrno=0\n\n", "errno=x\n\n", "public_key=00\nerrno=0\n\n",
	        "public_key=" HEX "\nrx_bytes=18446744073709551616\nerrno=0\n\n",
	        "public_key=" HEX "\nrx_bytes=-1\nerrno=0\n\n"};
	struct wireguard_answer parsed;
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		CU_ASSERT_EQUAL(wireguard_uapi_parse(bad[i], strlen(bad[i]), &parsed), -EBADMSG);
}

static const struct test tests[] = {
        {"every type round-trips", every_type_round_trips},
        {"what is no message is refused", what_is_no_message_is_refused},
        {"no part of a message is a message", no_part_of_a_message_is_a_message},
        {"a worker that knows of no challenges is understood", a_worker_that_knows_of_no_challenges_is_understood},
        {"details are made printable and short", details_are_made_printable_and_short},
        {"names round-trip", names_round_trip},
        {"a device is said in WireGuard's words", a_device_is_said_in_wireguards_words},
        {"answers are read", answers_are_read},
        {"what is no answer is refused", what_is_no_answer_is_refused},
};

int main(int argc, char **argv)
{
	return suite_run("protocol", tests, ELEMENTSOF(tests), argc, argv);
}
