/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Requests that no client of ours sends: framing that two readers could read differently, headers and targets out of shape, other
 * protocols, JSON that is meant to hurt. Each is answered as the table says, calls no operation that it may not, and harms nobody else.
 */

#include <string.h>

#include "tests/unit/api-rig.h"
#include "tests/unit/suite.h"

#define PUT      "PUT /v1/policy HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIf-Match: *\r\n"
#define GET      "GET /v1/status HTTP/1.1\r\nHost: x\r\n"
#define OLD      "GET /v1/status HTTP/1.0\r\n\r\n"
#define SMUGGLED "DELETE /v1/tunnels/home HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\n\r\n"

struct attack {
	const char *name, *bytes;
	size_t length;
	int status;  /* 0: the connection is ended without an answer */
	int calls;   /* of operations */
	bool serves; /* the connection goes on; else nothing that follows on it is read */
};

static struct rig *rig;

static void check_attack(const struct attack *attack)
{
	rig = rig_new(NULL);
	struct client *client = rig_client(rig);
	client_send_bytes(client, attack->bytes, attack->length);
	_cleanup_response_ struct response response = client_receive(client, false);
	loop_settle(rig->event);
	bool otherwise = attack->serves ? client->closed : !client_wait_closed(client);
	bool held = response.status == attack->status && (int)fake_calls(rig->manager) == attack->calls && !otherwise;
	CU_ASSERT_TRUE(held);
	if (!held)
		fprintf(stderr, "%s: %d instead of %d, %d calls instead of %d, %s\n", attack->name, response.status, attack->status,
			(int)fake_calls(rig->manager), attack->calls, client->closed ? "ended" : "goes on");
	client_free(client);
	_cleanup_response_ struct response after = rig_ask(rig, "GET", "/v1/status", "", NULL);
	CU_ASSERT_EQUAL(after.status, 200);
	rig = rig_free(rig);
}

static void check_all(const struct attack *attacks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		check_attack(&attacks[i]);
}

/* Refused, and the connection with it; or taken with so many calls, what follows included. */
#define WITH(name, headers, body, status) RAW(name, PUT headers "\r\n" body, status)
#define TAKEN(name, headers, body, status, calls) SERVED(name, PUT headers "\r\n" body, status, calls)
#define RAW(name, bytes, status) {name, bytes, sizeof(bytes) - 1, status, 0, false}
#define SERVED(name, bytes, status, calls) {name, bytes, sizeof(bytes) - 1, status, calls, true}

static void framing(void)
{
	static const struct attack attacks[] = {
		WITH("length and encoding", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "{}" SMUGGLED, 400),
		WITH("encoding and length", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n" SMUGGLED, 400),
		WITH("two lengths", "Content-Length: 2\r\nContent-Length: 80\r\n", "{}" SMUGGLED, 400),
		WITH("a list of lengths", "Content-Length: 2, 2\r\n", "{}" SMUGGLED, 400),
		WITH("a signed length", "Content-Length: +2\r\n", "{}" SMUGGLED, 400),
		WITH("a negative length", "Content-Length: -2\r\n", "{}" SMUGGLED, 400),
		WITH("a length in hex", "Content-Length: 0x2\r\n", "{}" SMUGGLED, 400),
		WITH("a length beyond all numbers", "Content-Length: 99999999999999999999\r\n", "{}" SMUGGLED, 413),
		WITH("an empty length", "Content-Length:\r\n", SMUGGLED, 400),
		WITH("chunked twice", "Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n" SMUGGLED, 400),
		WITH("two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n" SMUGGLED, 400),
		WITH("identity", "Transfer-Encoding: identity\r\n", SMUGGLED, 400),
		WITH("nearly chunked", "Transfer-Encoding: xchunked\r\n", "0\r\n\r\n" SMUGGLED, 400),
		TAKEN("chunked after a tab", "Transfer-Encoding:\tchunked\r\n", "2\r\n{}\r\n0\r\n\r\n" SMUGGLED, 200, 2),
		WITH("chunked with a control", "Transfer-Encoding: \x0b" "chunked\r\n", "0\r\n\r\n" SMUGGLED, 400),
		WITH("a space before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n" SMUGGLED, 400),
		WITH("an empty encoding", "Transfer-Encoding:\r\n", "0\r\n\r\n" SMUGGLED, 400),
		WITH("a folded encoding", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n" SMUGGLED, 400),
		TAKEN("a folded header hides none", "X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "{}" SMUGGLED, 200, 2),
		WITH("a header after a bare CR", "X: a\rTransfer-Encoding: chunked\r\nContent-Length: 2\r\n", "{}", 400),
		WITH("a header after a bare LF", "X: a\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n", "{}", 400),
		WITH("a header without a name", ": a\r\nContent-Length: 2\r\n", "{}", 400),
		WITH("a header without a colon", "Rubbish\r\nContent-Length: 2\r\n", "{}", 400),
		TAKEN("chunk: an extension", "Transfer-Encoding: chunked\r\n", "2;a=b\r\n{}\r\n0\r\n\r\n", 200, 1),
		TAKEN("chunk: a trailer", "Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n", 200, 1),
		WITH("chunk: negative", "Transfer-Encoding: chunked\r\n", "-2\r\n{}\r\n0\r\n\r\n", 400),
		WITH("chunk: in hex with 0x", "Transfer-Encoding: chunked\r\n", "0x2\r\n{}\r\n0\r\n\r\n", 400),
		WITH("chunk: beyond all numbers", "Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n", 413),
		WITH("chunk: longer than it says", "Transfer-Encoding: chunked\r\n", "1\r\n{}\r\n0\r\n\r\n", 400),
	};
	check_all(attacks, ELEMENTSOF(attacks));
}

static void lines(void)
{
	static const struct attack attacks[] = {
		{"HTTP/1.0", OLD, sizeof(OLD) - 1, 200, 1, false},
		RAW("HTTP/0.9", "GET /v1/status\r\n\r\n", 400),
		SERVED("HTTP/1.2", "GET /v1/status HTTP/1.2\r\nHost: x\r\n\r\n", 200, 1),
		RAW("HTTP/2.0", "GET /v1/status HTTP/2.0\r\nHost: x\r\n\r\n", 505),
		RAW("HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
		RAW("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0),
		RAW("no host", "GET /v1/status HTTP/1.1\r\n\r\n", 400),
		RAW("two hosts", GET "Host: y\r\n\r\n", 400),
		SERVED("a method in small letters", "get /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 405, 0),
		SERVED("TRACE", "TRACE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 405, 0),
		SERVED("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0),
		SERVED("CONNECT", "CONNECT example:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0),
		RAW("a space in the target", "GET /v1/status x HTTP/1.1\r\nHost: x\r\n\r\n", 0),
		SERVED("two spaces", "GET  /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 200, 1),
		SERVED("a NUL in the target", "GET /v1/sta\0tus HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0),
		SERVED("dots", "GET /v1/tunnels/../status HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0),
		SERVED("escaped dots", "GET /v1/tunnels/%2e%2e/status HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0),
		SERVED("an escaped slash", "GET /v1%2fstatus HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0),
		SERVED("a double slash", "GET //v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0),
		SERVED("a fragment", "GET /v1/status#x HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0),
		SERVED("a backslash", "GET /v1\\status HTTP/1.1\r\nHost: x\r\n\r\n", 404, 0),
		SERVED("another host in the target", "GET http://evil.example/v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 200, 1),
		SERVED("another scheme in the target", "GET ftp://x/v1/status HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0),
		SERVED("a token in the query", "GET /v1/status?access_token=x HTTP/1.1\r\nHost: x\r\n\r\n", 400, 0),
		SERVED("100-continue", PUT "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", 100, 0),
		SERVED("another expectation", PUT "Expect: everything\r\nContent-Length: 2\r\n\r\n{}", 200, 1),
		SERVED("an upgrade", GET "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 200, 1),
	};
	check_all(attacks, ELEMENTSOF(attacks));
}

/* JSON that two readers could read differently, or that is meant to hurt: refused with what is wrong. */
static void json(void)
{
	static const char *const bodies[] = {"{\"mode\":\"auto\",\"mode\":\"off\"}", "{\"mode\":\"auto\",\"\\u006dode\":\"off\"}", "{\"mode\":\"\xff\"}",
		"{\"mode\":\"\xed\xa0\x80\"}", "\xef\xbb\xbf{\"mode\":\"auto\"}", "{'mode':'auto'}", "{\"mode\":\"auto\"}}",
		"{\"mode\":\"auto\"} {}", "{\"mode\":NaN}", "{\"mode\":1e999}", "{\"mode\":\"auto\",}", "/**/{\"mode\":\"auto\"}", "[\"mode\"]", "null", "7"};
	_cleanup_free_ char *deep = xcalloc(1, 200001);
	memset(deep, '[', 200000);
	rig = rig_new(NULL);
	for (size_t i = 0; i <= ELEMENTSOF(bodies); i++) {
		const char *body = i < ELEMENTSOF(bodies) ? bodies[i] : deep;
		_cleanup_response_ struct response response =
			rig_ask(rig, "PUT", "/v1/kill-switch/mode", "Content-Type: application/json\r\n", body);
		CU_ASSERT_EQUAL(response.status, 400);
		if (response.status != 400)
			fprintf(stderr, "%.60s: %d\n", body, response.status);
	}
	CU_ASSERT_EQUAL(fake_calls(rig->manager), 0);
	rig = rig_free(rig);
}

/* More parameters than any operation has, and a query as long as the headers may be. */
static void queries(void)
{
	struct text many = TEXT_NULL;
	rig = rig_new(NULL);
	text_append(&many, "/v1/status?a=1");
	for (int i = 0; i < 40; i++)
		text_append(&many, "&a%d=1", i);
	_cleanup_response_ struct response response = rig_ask(rig, "GET", many.bytes, "", NULL);
	CU_ASSERT_EQUAL(response.status, 400);
	for (int i = 0; i < 20000; i++)
		text_append(&many, "&a");
	_cleanup_response_ struct response long_one = rig_ask(rig, "GET", many.bytes, "", NULL);
	CU_ASSERT_EQUAL(long_one.status, 414);
	CU_ASSERT_EQUAL(fake_calls(rig->manager), 0);
	text_done(&many);
	rig = rig_free(rig);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"a request whose end two readers could see at two places is refused, and nothing after it is read", framing},
		{"first lines and headers out of shape mean nothing else than they say", lines},
		{"JSON that two readers could read differently is refused", json},
		{"a query of any length is answered", queries},
	};
	return suite_run("api attacks", tests, ELEMENTSOF(tests), argc, argv);
}
