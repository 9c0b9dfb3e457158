/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* HTTP over TCP on loopback: nobody is anybody without a token, and no browser is made a deputy. */

#include <string.h>

#include "tests/unit/api-rig.h"
#include "tests/unit/suite.h"

#define API    "{\"api\": {\"listen\": [{\"address\": \"127.0.0.1:9480\"}], \"hosts\": [\"gw.example\"]}}"
#define GOOD   "Authorization: Bearer " FAKE_TOKEN "\r\n"
#define READER "Authorization: Bearer " FAKE_READER "\r\n"
#define WRONG  "Authorization: Bearer wrong\r\n"

static struct rig *rig;

static void begin(void)
{
	rig = rig_new_tcp(API, NULL);
}

static void end(void)
{
	rig = rig_free(rig);
}

static int status_of(const char *method, const char *target, const char *headers, const char *body)
{
	_cleanup_response_ struct response response = rig_ask(rig, method, target, headers, body);
	return response.status;
}

/* Sends REQUEST as it is. */
static struct response send_raw(const char *request)
{
	struct client *client = rig_client(rig);
	client_send(client, request);
	struct response response = client_receive(client, false);
	client_free(client);
	loop_settle(rig->event);
	return response;
}

static void without_a_token_nothing_is_told(void)
{
	begin();
	static const char *const targets[] = {
		"/v1/status", "/v1/nothing", "/v2", "/", "/metrics", "/readyz", "/openapi.yaml", "/v1/%zz", "/v1/tunnels/home"};
	for (size_t i = 0; i < ELEMENTSOF(targets); i++) {
		_cleanup_response_ struct response response = rig_ask(rig, "GET", targets[i], "", NULL);
		CU_ASSERT_EQUAL(response.status, 401);
		CU_ASSERT_STRING_EQUAL(response_member(&response, "code"), "unauthorized");
		CU_ASSERT_PTR_NOT_NULL(strstr(response.head, "WWW-Authenticate: Bearer"));
	}
	CU_ASSERT_EQUAL(status_of("BREW", "/v1/status", "", NULL), 401);
	CU_ASSERT_EQUAL(status_of("PUT", "/v1/policy", "Content-Type: text/html\r\n", "{"), 401);
	CU_ASSERT_EQUAL(status_of("GET", "/v1/events", "Accept: text/event-stream\r\n", NULL), 401);
	CU_ASSERT_EQUAL(status_of("POST", "/v1/status", "Transfer-Encoding: chunked\r\n", "0"), 401);
	CU_ASSERT_EQUAL(status_of("GET", "/v1/status", "Authorization: Basic Z29vZDpnb29k\r\n", NULL), 401);
	CU_ASSERT_EQUAL(status_of("GET", "/v1/status", "Authorization: good\r\n", NULL), 401);
	CU_ASSERT_EQUAL(fake_calls(rig->manager), 0);
	end();
}

static void health_is_public(void)
{
	begin();
	CU_ASSERT_EQUAL(status_of("GET", "/healthz", "", NULL), 200);
	end();
}

static void a_token_is_its_scope(void)
{
	begin();
	_cleanup_response_ struct response response = rig_ask(rig, "GET", "/v1/policy", GOOD, NULL);
	CU_ASSERT_EQUAL(response.status, 200);
	CU_ASSERT_STRING_EQUAL(response_member(&response, "caller"), "token good");
	CU_ASSERT_STRING_EQUAL(response_member(&response, "scope"), "control");
	CU_ASSERT_EQUAL(status_of("POST", "/v1/tunnels/home/start", GOOD, NULL), 202);
	CU_ASSERT_EQUAL(status_of("POST", "/v1/tunnels/home/start", READER, NULL), 403);
	CU_ASSERT_EQUAL(status_of("GET", "/readyz", READER, NULL), 200);
	CU_ASSERT_EQUAL(status_of("GET", "/v1/nothing", READER, NULL), 404);
	end();
}

static void each_request_shows_its_own_token(void)
{
	begin();
	struct client *client = rig_client(rig);
	_cleanup_response_ struct response first = client_ask(client, "GET", "/v1/status", GOOD, NULL);
	_cleanup_response_ struct response second = client_ask(client, "GET", "/v1/status", "", NULL);
	CU_ASSERT_EQUAL(first.status, 200);
	CU_ASSERT_EQUAL(second.status, 401);
	client_free(client);
	end();
}

static void only_names_of_ours_are_served(void)
{
	static const struct {
		const char *host;
		int status;
	} cases[] = {
		{"localhost", 200}, {"localhost:9480", 200}, {"LOCALHOST", 200}, {"127.0.0.1:9480", 200}, {"[::1]:9480", 200}, {"[::1]", 200},
		{"192.0.2.7", 200}, {"gw.example:9480", 200}, {"GW.example", 200}, {"evil.example", 403}, {"localhost.evil.example", 403},
		{"gw.example.evil", 403}, {"127.0.0.1.evil.example", 403}, {"[::1", 403}, {"[::1]x", 403}, {"", 403}, {":80", 403},
	};
	begin();
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_free_ char *request = text_format("GET /v1/status HTTP/1.1\r\nHost: %s\r\n" GOOD "\r\n", cases[i].host);
		_cleanup_response_ struct response response = send_raw(request);
		CU_ASSERT_EQUAL(response.status, cases[i].status);
		if (response.status != cases[i].status)
			printf("# Host %s: %d\n", cases[i].host, response.status);
	}
	_cleanup_response_ struct response page = send_raw("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n");
	CU_ASSERT_EQUAL(page.status, 403);
	_cleanup_response_ struct response absolute = send_raw("GET http://evil.example/v1/status HTTP/1.1\r\nHost: localhost\r\n" GOOD "\r\n");
	CU_ASSERT_EQUAL(absolute.status, 403); /* an absolute form counts instead of Host */
	_cleanup_response_ struct response ours = send_raw("GET http://localhost/v1/status HTTP/1.1\r\nHost: localhost\r\n" GOOD "\r\n");
	CU_ASSERT_EQUAL(ours.status, 200);
	_cleanup_response_ struct response none = send_raw("GET /v1/status HTTP/1.0\r\n" GOOD "\r\n");
	CU_ASSERT_EQUAL(none.status, 403);
	end();
}

static void only_our_own_pages_may_ask(void)
{
	static const struct {
		const char *origin;
		int status;
	} cases[] = {
		{"http://localhost", 200}, {"http://LOCALHOST", 200}, {"https://localhost", 403}, {"http://localhost:81", 403},
		{"http://evil.example", 403}, {"null", 403}, {"", 403}, {"http://localhost.evil", 403},
	};
	begin();
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_free_ char *headers = text_format(GOOD "Origin: %s\r\n", cases[i].origin);
		int status = status_of("GET", "/v1/status", headers, NULL);
		CU_ASSERT_EQUAL(status, cases[i].status);
		if (status != cases[i].status)
			printf("# Origin %s: %d\n", cases[i].origin, status);
	}
	end();
}

static void two_ends_of_a_request_are_refused(void)
{
	begin();
	_cleanup_response_ struct response response = send_raw(
		"POST /v1/tunnels/home/start HTTP/1.1\r\nHost: localhost\r\n" GOOD
		"Content-Type: application/json\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
	CU_ASSERT_EQUAL(response.status, 400);
	CU_ASSERT_EQUAL(fake_calls(rig->manager), 0);
	end();
}

/* As many as are answered; those after them are not, until a second has passed. A good token is served all the time. */
static void a_stream_of_wrong_tokens_is_not_answered(void)
{
	int answered = 0, silent = 0;
	begin();
	for (int i = 0; i < 40; i++) {
		int status = status_of("GET", "/v1/status", WRONG, NULL);
		CU_ASSERT_TRUE(status == 401 || status == 0);
		answered += status == 401;
		silent += status == 0;
	}
	CU_ASSERT_TRUE(answered >= 10);
	CU_ASSERT_TRUE(silent > 0);
	CU_ASSERT_EQUAL(status_of("GET", "/v1/status", GOOD, NULL), 200);
	CU_ASSERT_EQUAL(status_of("GET", "/v1/status", "", NULL), 401);
	end();
}

static void a_client_that_leaves_ends_its_stream(void)
{
	begin();
	struct client *client = rig_client(rig);
	client_send(client, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n" READER "\r\n");
	CU_ASSERT_TRUE(client_wait_for(client, "retry:"));
	CU_ASSERT_EQUAL(fake_subscriptions(rig->manager), 1);
	client_free(client);
	loop_settle(rig->event);
	CU_ASSERT_EQUAL(fake_subscriptions(rig->manager), 0);
	end();
}

static void a_server_that_drains_ends_with_its_connections(void)
{
	begin();
	struct client *client = rig_client(rig);
	_cleanup_response_ struct response before = client_ask(client, "GET", "/v1/status", GOOD, NULL);
	CU_ASSERT_FALSE(api_server_drain(rig->server));
	_cleanup_response_ struct response after = client_ask(client, "GET", "/v1/status", GOOD, NULL);
	CU_ASSERT_EQUAL(before.status, 200);
	CU_ASSERT_EQUAL(after.status, 200);
	client_free(client);
	loop_settle(rig->event);
	CU_ASSERT_TRUE(api_server_drain(rig->server));
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"without a token nothing is told but 401", without_a_token_nothing_is_told},
		{"health is public", health_is_public},
		{"a token is its scope", a_token_is_its_scope},
		{"each request shows its own token", each_request_shows_its_own_token},
		{"only names of ours are served", only_names_of_ours_are_served},
		{"only our own pages may ask", only_our_own_pages_may_ask},
		{"two ends of a request are refused", two_ends_of_a_request_are_refused},
		{"a stream of wrong tokens is not answered", a_stream_of_wrong_tokens_is_not_answered},
		{"a client that leaves ends its stream", a_client_that_leaves_ends_its_stream},
		{"a server that drains ends with its connections", a_server_that_drains_ends_with_its_connections},
	};
	return suite_run("api-tcp", tests, ELEMENTSOF(tests), argc, argv);
}
