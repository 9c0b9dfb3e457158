/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Requests and answers over a real Unix socket, with pretended operations behind. */

#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/api-rig.h"
#include "tests/unit/suite.h"

#define JSON  "Content-Type: application/json\r\n"
#define MATCH "If-Match: \"v1\"\r\n"

static struct rig *rig;

static struct response ask(const char *method, const char *target, const char *headers, const char *body)
{
	return rig_ask(rig, method, target, headers, body);
}

#define CHECK_MEMBER(response, path, expected) CU_ASSERT_STRING_EQUAL(response_member(&(response), path), expected)
#define CHECK_HEADER(response, name, expected)                                                                         \
	do {                                                                                                           \
		const char *value_ = response_header(&(response), name);                                               \
		CU_ASSERT_STRING_EQUAL(value_ ? value_ : "(none)", expected);                                          \
	} while (0)

/* A problem document in every part that all have. */
static void check_problem(const struct response *response, int status, const char *code)
{
	_cleanup_free_ char *type = text_format("urn:holdfast:error:%s", code);
	_cleanup_free_ char *number = text_format("%d", status);
	enum outcome outcome = OUTCOME_COUNT;
	CU_ASSERT_EQUAL(response->status, status);
	CHECK_HEADER(*response, "Content-Type", "application/problem+json");
	CHECK_MEMBER(*response, "code", code);
	CHECK_MEMBER(*response, "type", type);
	CHECK_MEMBER(*response, "status", number);
	CU_ASSERT_EQUAL(outcome_from_string(code, &outcome), 0);
	CHECK_MEMBER(*response, "title", outcome_title(outcome));
	CU_ASSERT_TRUE(response_member(response, "detail")[0] != 0);
}

static void check_refused(
	const char *method, const char *target, const char *headers, const char *body, int status, const char *code)
{
	unsigned calls = fake_calls(rig->manager);
	_cleanup_response_ struct response response = ask(method, target, headers, body);
	check_problem(&response, status, code);
	CU_ASSERT_EQUAL(fake_calls(rig->manager), calls);
}

/* --- answers --- */

static void success_is_one_line_of_json(void)
{
	_cleanup_response_ struct response response = ask("GET", "/v1/status", "", NULL);
	CU_ASSERT_EQUAL(response.status, 200);
	CU_ASSERT_STRING_EQUAL(response.body, "{\"version\":\"test\"}\n");
	CHECK_HEADER(response, "Content-Type", "application/json");
	CHECK_HEADER(response, "X-Content-Type-Options", "nosniff");
	CHECK_HEADER(response, "Cache-Control", "no-store");
	_cleanup_response_ struct response absolute = ask("GET", "http://localhost/v1/status", "", NULL);
	CU_ASSERT_EQUAL(absolute.status, 200);
}

static void head_is_get_without_a_body(void)
{
	_cleanup_response_ struct response get = ask("GET", "/v1/status", "", NULL);
	_cleanup_response_ struct response response = ask("HEAD", "/v1/status", "", NULL);
	_cleanup_response_ struct response events = ask("HEAD", "/v1/events", "Accept: text/event-stream\r\n", NULL);
	CU_ASSERT_EQUAL(response.status, 200);
	char length[16];
	snprintf(length, sizeof length, "%zu", get.length);
	CHECK_HEADER(response, "Content-Length", length);
	CU_ASSERT_EQUAL(response.length, 0);
	CU_ASSERT_EQUAL(events.status, 200);
	CU_ASSERT_EQUAL(fake_subscriptions(rig->manager), 0);
}

static void every_operation_is_reached(void)
{
	size_t count;
	const struct operation *operations = operations_all(&count);
	for (size_t i = 0; i < count; i++) {
		const struct operation *operation = &operations[i];
		if (operation->flags & OPERATION_STREAM)
			continue;
		_cleanup_free_ char *path = text_format("/v1%s", operation->path);
		char *id = strstr(path, "{id}");
		if (id) {
			const char *value = strstr(path, "/decisions/") ? "7" : "home";
			_cleanup_free_ char *before = text_ndup(path, (size_t)(id - path)), *after = text_dup(id + 4);
			free(path);
			path = text_format("%s%s%s", before, value, after);
		}
		unsigned calls = fake_calls(rig->manager);
		bool import = strcmp(operation->name, "ImportTunnel") == 0;
		const char *body = strcmp(operation->method, "GET") == 0 || strcmp(operation->method, "DELETE") == 0
					   ? NULL
				   : import                                         ? "[Interface]"
				   : strcmp(operation->name, "SetMode") == 0        ? "{\"mode\":\"auto\"}"
				   : strcmp(operation->name, "Release") == 0        ? "{\"reason\":\"x\"}"
				   : strcmp(operation->name, "AnswerDecision") == 0 ? "{\"restart\":true}"
										    : "{}";
		if (import) {
			free(path);
			path = text_dup("/v1/tunnels/import?id=home");
		}
		_cleanup_response_ struct response response = ask(operation->method, path,
			import ? MATCH "Content-Type: application/octet-stream\r\n" : MATCH JSON, body);
		CU_ASSERT_TRUE(response.status >= 200 && response.status < 300);
		CU_ASSERT_EQUAL(fake_calls(rig->manager), calls + 1);
		if (response.status == 200 && response.length && response_member(&response, "operation")[0])
			CHECK_MEMBER(response, "operation", operation->name);
	}
}

static void statuses_follow_the_outcome(void)
{
	_cleanup_response_ struct response created = ask("POST", "/v1/tunnels", JSON, "{\"id\":\"home\"}");
	CU_ASSERT_EQUAL(created.status, 201);
	CHECK_HEADER(created, "Location", "/v1/tunnels/home");
	CHECK_HEADER(created, "ETag", "\"v1\"");
	CHECK_MEMBER(created, "warnings.0.pointer", "/settings/mtu");
	_cleanup_response_ struct response accepted = ask("POST", "/v1/tunnels/home/start", "", NULL);
	CU_ASSERT_EQUAL(accepted.status, 202);
	CU_ASSERT_STRING_EQUAL(accepted.body, "{\"changed\":true,\"state\":\"connecting\"}\n");
	_cleanup_response_ struct response deleted = ask("DELETE", "/v1/tunnels/home", "If-Match: *\r\n", NULL);
	CU_ASSERT_EQUAL(deleted.status, 204);
	CU_ASSERT_EQUAL(deleted.length, 0);
}

static void an_error_is_a_problem_document(void)
{
	_cleanup_response_ struct response response = ask("POST", "/v1/tunnels/other/start", "", NULL);
	check_problem(&response, 404, "tunnelNotFound");
	CHECK_MEMBER(response, "detail", "there is no tunnel of this id; GET /v1/tunnels lists them");
	CHECK_HEADER(response, "Cache-Control", "no-store");
	CHECK_HEADER(response, "X-Content-Type-Options", "nosniff");
}

/* --- routes --- */

static void unknown_paths_are_404(void)
{
	static const char *const paths[] = {"/", "/v1", "/v1/", "/v2/status", "/status", "/v1/status/", "/v1//status",
		"/v1/Status", "/v1/tunnels/", "/v1/tunnels//start", "/v1/tunnels/home/jump", "/v1/tunnels/a%2Fstart/b",
		"/v1/1/2/3/4/5/6"};
	for (size_t i = 0; i < ELEMENTSOF(paths); i++)
		check_refused("GET", paths[i], "", NULL, 404, "notFound");
}

static void unreadable_paths_are_400(void)
{
	static const char *const paths[] = {"/v1/status%00", "/v1/tunnels/%zz", "/v1/tunnels/%c3", "/v1/tunnels/%",
		"/v1/status?a=%00", "/v1/1/2/3/4/5/6/7/8/9"};
	for (size_t i = 0; i < ELEMENTSOF(paths); i++)
		check_refused("GET", paths[i], "", NULL, 400, "badRequest");
}

static void unknown_methods_are_405(void)
{
	static const struct {
		const char *method, *path, *allow;
	} cases[] = {
		{"POST", "/v1/status", "GET, HEAD"},
		{"DELETE", "/v1/kill-switch", "GET, HEAD, PUT, PATCH"},
		{"OPTIONS", "/v1/tunnels/home", "GET, HEAD, PUT, DELETE"},
		{"BREW", "/v1/tunnels", "GET, HEAD, POST"},
		{"GET", "/v1/tunnels/home/start", "POST"},
		{"POST", "/healthz", "GET, HEAD"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_response_ struct response response = ask(cases[i].method, cases[i].path, "", NULL);
		check_problem(&response, 405, "methodNotAllowed");
		CHECK_HEADER(response, "Allow", cases[i].allow);
	}
}

static void escaped_segments_stay_one_segment(void)
{
	_cleanup_response_ struct response response = ask("GET", "/v1/tunnels/a%2Fb%20c", "", NULL);
	CU_ASSERT_EQUAL(response.status, 200);
	CHECK_MEMBER(response, "operation", "GetTunnel");
	CHECK_MEMBER(response, "arguments.id", "a/b c");
}

static void an_import_is_no_tunnel(void)
{
	_cleanup_response_ struct response response = ask(
		"POST", "/v1/tunnels/import?id=home", "Content-Type: text/plain; charset=utf-8\r\n", "[Interface]\n");
	CHECK_MEMBER(response, "operation", "ImportTunnel");
	CHECK_MEMBER(response, "text", "[Interface]\n");
	CHECK_MEMBER(response, "arguments.id", "home");
}

/* --- pages --- */

static void pages_tell_life_and_readiness(void)
{
	_cleanup_response_ struct response alive = ask("GET", "/healthz", "", NULL);
	_cleanup_response_ struct response ready = ask("GET", "/readyz", "", NULL);
	CU_ASSERT_EQUAL(alive.status, 200);
	CU_ASSERT_EQUAL(ready.status, 200);
	fake_set_ready(rig->manager, false);
	_cleanup_response_ struct response still = ask("GET", "/healthz", "", NULL);
	_cleanup_response_ struct response unready = ask("GET", "/readyz", "", NULL);
	CU_ASSERT_EQUAL(still.status, 200);
	check_problem(&unready, 503, "unavailable");
}

static void the_description_is_served(void)
{
	_cleanup_free_ char *path = text_format("%s/openapi.yaml", suite_source());
	struct rig *other = rig_new(&(struct api_options){.openapi = path});
	_cleanup_response_ struct response response = rig_ask(other, "GET", "/openapi.yaml", "", NULL);
	CU_ASSERT_EQUAL(response.status, 200);
	CHECK_HEADER(response, "Content-Type", "application/yaml");
	CU_ASSERT_PTR_NOT_NULL(strstr(response.body, "openapi: 3.1"));
	rig_free(other);
	other = rig_new(&(struct api_options){.openapi = "/nonexistent/openapi.yaml"});
	_cleanup_response_ struct response missing = rig_ask(other, "GET", "/openapi.yaml", "", NULL);
	check_problem(&missing, 404, "notFound");
	rig_free(other);
}

/* --- callers --- */

static void check_caller(uid_t uid, gid_t gid, gid_t supplementary, const char *scope, int start_status)
{
	struct client *client = rig_client_as(rig, uid, gid, supplementary);
	_cleanup_response_ struct response response = client_ask(client, "GET", "/v1/kill-switch", "", NULL);
	CHECK_MEMBER(response, "scope", scope);
	_cleanup_free_ char *name = text_format("uid %u (pid ", uid);
	CU_ASSERT_EQUAL(strncmp(response_member(&response, "caller"), name, strlen(name)), 0);
	_cleanup_response_ struct response start = client_ask(client, "POST", "/v1/tunnels/home/start", "", NULL);
	CU_ASSERT_EQUAL(start.status, start_status);
	client_free(client);
}

static void callers_are_known_by_their_sockets(void)
{
	check_caller(0, 0, 0, "admin", 202);
	check_caller(1234, CONTROL_GID, 1234, "control", 202);
	check_caller(1234, 1234, CONTROL_GID, "control", 202);
	check_caller(1234, 1234, 1235, "read", 403);
	check_caller(1234, 0, 0, "read", 403); /* root's group is not root */
}

static void insufficient_scope_names_the_needed_one(void)
{
	struct client *client = rig_client_as(rig, 1234, 1234, CONTROL_GID);
	_cleanup_response_ struct response response = client_ask(client, "PUT", "/v1/policy", JSON MATCH, "{}");
	check_problem(&response, 403, "forbidden");
	CU_ASSERT_PTR_NOT_NULL(strstr(response_member(&response, "detail"), "needs the scope admin"));
	client_free(client);
}

/* --- bodies --- */

static void bodies_need_their_media_type(void)
{
	static const struct {
		const char *method, *path, *header;
		int status;
	} cases[] = {
		{"PUT", "/v1/policy", JSON, 200},
		{"PUT", "/v1/policy", "Content-Type: Application/JSON; charset=utf-8\r\n", 200},
		{"PUT", "/v1/policy", "", 415},
		{"PUT", "/v1/policy", "Content-Type: application/jsonp\r\n", 415},
		{"PUT", "/v1/policy", "Content-Type: application/merge-patch+json\r\n", 415},
		{"PATCH", "/v1/kill-switch", "Content-Type: application/merge-patch+json\r\n", 200},
		{"PATCH", "/v1/kill-switch", JSON, 200},
		{"POST", "/v1/tunnels/import?id=home", JSON, 415},
		{"POST", "/v1/tunnels/import?id=home", "Content-Type: application/octet-stream\r\n", 200},
		{"POST", "/v1/tunnels/home/start", "Content-Type: text/plain\r\n", 415},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_free_ char *headers = text_format("If-Match: *\r\n%s", cases[i].header);
		_cleanup_response_ struct response response = ask(cases[i].method, cases[i].path, headers, "{}");
		CU_ASSERT_EQUAL(response.status, cases[i].status);
		if (cases[i].status == 415)
			check_problem(&response, 415, "unsupportedMediaType");
	}
}

static void curls_default_type_is_explained(void)
{
	_cleanup_response_ struct response response = ask("PUT", "/v1/kill-switch/mode",
		"Content-Type: application/x-www-form-urlencoded\r\n", "{\"mode\":\"auto\"}");
	check_problem(&response, 415, "unsupportedMediaType");
	CU_ASSERT_PTR_NOT_NULL(strstr(response_member(&response, "detail"), "curl's default for -d"));
	CU_ASSERT_PTR_NOT_NULL(strstr(response_member(&response, "detail"), "-H 'Content-Type: application/json'"));
}

static void documents_arrive_whole(void)
{
	_cleanup_response_ struct response response =
		ask("PUT", "/v1/policy?dryRun=true", JSON MATCH, "{\"rules\":[{\"a\":[1,2.5,null]}]}");
	CU_ASSERT_EQUAL(response.status, 200);
	CHECK_MEMBER(response, "document", "{\"rules\":[{\"a\":[1,2.5,null]}]}");
	CHECK_MEMBER(response, "dryRun", "true");
	struct client *client = rig_client(rig);
	client_send(client, "PUT /v1/policy HTTP/1.1\r\nHost: x\r\n" JSON MATCH "Transfer-Encoding: chunked\r\n\r\n"
			    "5\r\n{\"a\":\r\n3\r\n 1}\r\n0\r\n\r\n");
	_cleanup_response_ struct response chunked = client_receive(client, false);
	CHECK_MEMBER(chunked, "document", "{\"a\":1}");
	client_free(client);
}

static void bad_json_is_located(void)
{
	_cleanup_response_ struct response response = ask("PUT", "/v1/policy", JSON MATCH, "{\"rules\": [\n  oops ]}");
	check_problem(&response, 400, "invalidDocument");
	CHECK_MEMBER(response, "errors.0.pointer", "");
	CU_ASSERT_PTR_NOT_NULL(strstr(response_member(&response, "errors.0.detail"), "line 2"));
	check_refused("PUT", "/v1/policy", JSON MATCH, "{\"a\":1,\"a\":2}", 400, "invalidDocument");
	check_refused("PUT", "/v1/policy", JSON MATCH, "{} {}", 400, "invalidDocument");
	check_refused("PUT", "/v1/policy", JSON MATCH, NULL, 400, "badRequest");
	check_refused("PUT", "/v1/kill-switch/mode", JSON, "[]", 400, "badRequest");
}

static void findings_keep_their_pointers(void)
{
	_cleanup_response_ struct response response = ask("PUT", "/v1/policy", JSON MATCH, "{\"bad\":1}");
	check_problem(&response, 400, "invalidDocument");
	CHECK_MEMBER(response, "errors.0.pointer", "/bad");
	CHECK_MEMBER(response, "errors.1.pointer", "/rules/0/then");
	CHECK_MEMBER(response, "errors.1.detail", "is missing");
	CHECK_MEMBER(response, "detail", "/bad: unknown member; and 1 more");
}

static void members_of_the_body_are_checked(void)
{
	static const struct {
		const char *path, *body, *pointer, *detail;
	} cases[] = {
		{"/v1/kill-switch/release", "{\"reason\":7}", "/reason", "must be a string, is an integer"},
		{"/v1/kill-switch/release", "{\"for\":\"5m\"}", "/reason", "reason is missing"},
		{"/v1/kill-switch/release", "{\"reason\":\"x\",\"until\":1}", "/until",
			"unknown member; known here: reason, for"},
		{"/v1/kill-switch/release", "{\"reason\":\"a\",\"reason\":\"b\"}", "/reason", "stands twice in one object"},
		{"/v1/decisions/7/answer", "{\"restart\":\"yes\"}", "/restart", "must be true or false, is a string"},
		{"/v1/decisions/seven/answer", "{\"restart\":true}", "",
			"the path's id must be a whole number, not negative"},
		{"/v1/tunnels/home/start", "{\"fast\":true}", "/fast", "unknown member; known here: none"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_response_ struct response response = ask("POST", cases[i].path, JSON, cases[i].body);
		check_problem(&response, 400, "badRequest");
		CHECK_MEMBER(response, "errors.0.pointer", cases[i].pointer);
		CHECK_MEMBER(response, "errors.0.detail", cases[i].detail);
	}
	_cleanup_response_ struct response good = ask("POST", "/v1/decisions/7/answer", JSON, "{\"restart\":false}");
	CHECK_MEMBER(good, "arguments", "{\"id\":7,\"restart\":false}");
}

static void queries_are_strict(void)
{
	static const struct {
		const char *query, *pointer, *detail;
	} cases[] = {
		{"?colour=red", "/colour",
			"the query has no parameter of this name; known here: after, limit, tunnel, kind"},
		{"?after=x", "/after", "the query's after must be a whole number, not negative"},
		{"?after=-1", "/after", "the query's after must be a whole number, not negative"},
		{"?after=", "/after", "the query's after must be a whole number, not negative"},
		{"?after=99999999999999999999", "/after", "the query's after must be a whole number, not negative"},
		{"?after=1&after=2", "/after", "the query gives after twice"},
		{"?dryRun=true", "/dryRun",
			"the query has no parameter of this name; known here: after, limit, tunnel, kind"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_free_ char *target = text_format("/v1/events%s", cases[i].query);
		_cleanup_response_ struct response response = ask("GET", target, "", NULL);
		check_problem(&response, 400, "badRequest");
		CHECK_MEMBER(response, "errors.0.pointer", cases[i].pointer);
		CHECK_MEMBER(response, "errors.0.detail", cases[i].detail);
	}
	_cleanup_response_ struct response dry =
		ask("PUT", "/v1/kill-switch/mode?dryRun=yes", JSON, "{\"mode\":\"auto\"}");
	CHECK_MEMBER(dry, "errors.0.detail", "the query's dryRun must be true or false");
	_cleanup_response_ struct response twice =
		ask("PUT", "/v1/kill-switch/mode?dryRun=true&dryRun=false", JSON, "{\"mode\":\"auto\"}");
	CHECK_MEMBER(twice, "errors.0.detail", "the query gives dryRun twice");
	_cleanup_response_ struct response good = ask("GET", "/v1/decisions?tunnel=a%26b+c&limit=5", "", NULL);
	CHECK_MEMBER(good, "arguments", "{\"tunnel\":\"a&b c\",\"limit\":5}");
}

/* --- entity tags --- */

static void writes_need_the_right_etag(void)
{
	check_refused("PUT", "/v1/policy", JSON, "{}", 428, "preconditionRequired");
	check_refused("PUT", "/v1/policy", JSON "If-Match: \"v0\"\r\n", "{}", 412, "preconditionFailed");
	check_refused("PUT", "/v1/policy", JSON "If-Match: W/\"v1\"\r\n", "{}", 412, "preconditionFailed");
	check_refused("PUT", "/v1/policy", JSON "If-Match: \"v1\", \"v2\"\r\n", "{}", 400, "badRequest");
	static const char *const good[] = {"\"v1\"", "*", "v1"};
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		_cleanup_free_ char *headers = text_format(JSON "If-Match: %s\r\n", good[i]);
		_cleanup_response_ struct response response = ask("PUT", "/v1/policy", headers, "{}");
		CU_ASSERT_EQUAL(response.status, 200);
		CHECK_HEADER(response, "ETag", "\"v1\"");
	}
}

static void known_documents_are_304(void)
{
	static const struct {
		const char *header;
		int status;
	} cases[] = {{"\"v1\"", 304}, {"W/\"v1\"", 304}, {"\"v0\", \"v1\"", 304}, {"*", 304}, {"\"v0\"", 200},
		{"v1", 200}, {"\"v1", 200}};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_free_ char *headers = text_format("If-None-Match: %s\r\n", cases[i].header);
		_cleanup_response_ struct response response = ask("GET", "/v1/policy", headers, NULL);
		CU_ASSERT_EQUAL(response.status, cases[i].status);
		CHECK_HEADER(response, "ETag", "\"v1\"");
		CU_ASSERT_EQUAL(response.length == 0, cases[i].status == 304);
	}
}

/* --- time --- */

static bool is_pending(void *userdata)
{
	return fake_pending(rig->manager) == *(unsigned *)userdata;
}

static bool wait_pending(unsigned count)
{
	return loop_until(rig->event, is_pending, &count);
}

static void answers_may_come_later(void)
{
	struct client *first = rig_client(rig), *second = rig_client(rig);
	client_send(first, "POST /v1/tunnels/home/start?wait=30s HTTP/1.1\r\nHost: x\r\n\r\n");
	CU_ASSERT_TRUE(wait_pending(1));
	client_send(second, "POST /v1/tunnels/home/start?wait=30s HTTP/1.1\r\nHost: x\r\n\r\n");
	CU_ASSERT_TRUE(wait_pending(2));
	_cleanup_response_ struct response between = ask("GET", "/v1/status", "", NULL);
	CU_ASSERT_EQUAL(between.status, 200);
	CU_ASSERT_EQUAL(first->in.length, 0);
	fake_finish(rig->manager);
	_cleanup_response_ struct response response = client_receive(first, false);
	CU_ASSERT_EQUAL(response.status, 200);
	CHECK_MEMBER(response, "state", "connected");
	CU_ASSERT_EQUAL(second->in.length, 0);
	fake_finish(rig->manager);
	_cleanup_response_ struct response other = client_receive(second, false);
	CU_ASSERT_EQUAL(other.status, 200);
	_cleanup_response_ struct response again = client_ask(first, "GET", "/v1/status", "", NULL);
	CU_ASSERT_EQUAL(again.status, 200);
	client_free(first);
	client_free(second);
}

static bool is_cancelled(void *userdata)
{
	return fake_cancelled(rig->manager) == 1;
}

static void a_client_that_leaves_cancels_its_call(void)
{
	struct client *client = rig_client(rig);
	client_send(client, "POST /v1/tunnels/home/start?wait=30s HTTP/1.1\r\nHost: x\r\n\r\n");
	CU_ASSERT_TRUE(wait_pending(1));
	client_free(client);
	CU_ASSERT_TRUE(loop_until(rig->event, is_cancelled, NULL));
	CU_ASSERT_EQUAL(fake_pending(rig->manager), 0);
	_cleanup_response_ struct response response = ask("GET", "/v1/status", "", NULL);
	CU_ASSERT_EQUAL(response.status, 200);
}

static void the_end_cancels_what_waits(void)
{
	struct rig *other = rig_new(NULL);
	struct rig *saved = rig;
	rig = other;
	struct client *client = rig_client(other);
	client_send(client, "POST /v1/tunnels/home/start?wait=30s HTTP/1.1\r\nHost: x\r\n\r\n");
	CU_ASSERT_TRUE(wait_pending(1));
	other->server = api_server_free(other->server);
	CU_ASSERT_EQUAL(fake_cancelled(other->manager), 1);
	CU_ASSERT_TRUE(client_wait_closed(client));
	CU_ASSERT_PTR_NULL(api_server_free(NULL));
	client_free(client);
	rig_free(other);
	rig = saved;
}

static void requests_of_one_connection_are_answered_in_order(void)
{
	struct client *client = rig_client(rig);
	client_send(client, "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
			    "POST /v1/tunnels/home/start?wait=1s HTTP/1.1\r\nHost: x\r\n\r\n"
			    "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
			    "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
	_cleanup_response_ struct response first = client_receive(client, false);
	CHECK_MEMBER(first, "version", "test");
	CU_ASSERT_TRUE(wait_pending(1));
	CU_ASSERT_EQUAL(client->in.length, 0);
	fake_finish(rig->manager);
	_cleanup_response_ struct response second = client_receive(client, false);
	CHECK_MEMBER(second, "state", "connected");
	_cleanup_response_ struct response third = client_receive(client, false);
	CHECK_MEMBER(third, "alive", "true");
	_cleanup_response_ struct response fourth = client_receive(client, false);
	CU_ASSERT_EQUAL(fourth.status, 404);
	client_free(client);
}

static void half_closed_clients_get_their_answer(void)
{
	struct client *client = rig_client(rig);
	client_send(client, "POST /v1/tunnels/home/start?wait=1s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	shutdown(client->fd, SHUT_WR);
	CU_ASSERT_TRUE(wait_pending(1));
	loop_settle(rig->event);
	CU_ASSERT_EQUAL(fake_cancelled(rig->manager), 0);
	fake_finish(rig->manager);
	_cleanup_response_ struct response response = client_receive(client, false);
	CHECK_MEMBER(response, "state", "connected");
	client_free(client);
}

/* --- */

static void with_rig(void (*test)(void))
{
	rig = rig_new(NULL);
	test();
	rig = rig_free(rig);
}

#define EACH(list)                                                                                                     \
	list(success_is_one_line_of_json, "a success is one line of JSON") list(head_is_get_without_a_body,            \
		"HEAD is GET without the body, and never a stream") list(every_operation_is_reached,                   \
		"every row of the table is reached by its method and path") list(statuses_follow_the_outcome,          \
		"created, accepted and deleted have their status, Location and ETag")                                  \
		list(an_error_is_a_problem_document, "an error is a problem document with code and detail") list(      \
			unknown_paths_are_404, "a path that nothing has is 404") list(unreadable_paths_are_400,        \
			"a path that cannot be decoded is 400") list(unknown_methods_are_405,                          \
			"a method that the path has not is 405 with Allow") list(escaped_segments_stay_one_segment,    \
			"an escaped slash separates nothing") list(an_import_is_no_tunnel,                          \
			"a path of its own is not taken for an id") list(pages_tell_life_and_readiness,               \
			"healthz tells life, readyz readiness") list(the_description_is_served,                        \
			"openapi.yaml is served, and missed clearly") list(callers_are_known_by_their_sockets,         \
			"root is admin, the group's members control, others read")                                     \
			list(insufficient_scope_names_the_needed_one,                                                  \
				"a refused caller learns the scope needed") list(bodies_need_their_media_type,         \
				"a body of another media type is 415") list(curls_default_type_is_explained,           \
				"curl's default type for -d is explained") list(documents_arrive_whole,                \
				"documents arrive as they were sent, in chunks too") list(bad_json_is_located,         \
				"bad JSON is refused with its place") list(findings_keep_their_pointers,               \
				"an operation's findings keep their pointers") list(members_of_the_body_are_checked,   \
				"unknown, missing and mistyped members are named") list(queries_are_strict,            \
				"unknown and mistyped query parameters are named") list(writes_need_the_right_etag,    \
				"writes need the ETag or *") list(known_documents_are_304,                             \
				"a document that the client has is 304") list(answers_may_come_later,                  \
				"an answer may come later, and holds up nobody")                                       \
				list(a_client_that_leaves_cancels_its_call, "a client that leaves cancels its call")   \
					list(the_end_cancels_what_waits, "the server's end cancels what waits") list(  \
						requests_of_one_connection_are_answered_in_order,                      \
						"pipelined requests are answered in order")                            \
						list(half_closed_clients_get_their_answer,                             \
							"a client that has said all and listens gets its answer")

#define DEFINE(name, property)                                                                                         \
	static void test_##name(void)                                                                                  \
	{                                                                                                              \
		with_rig(name);                                                                                        \
	}
EACH(DEFINE)

int main(int argc, char **argv)
{
#define ROW(name, property) {property, test_##name},
	static const struct test tests[] = {EACH(ROW)};
	return suite_run("api", tests, ELEMENTSOF(tests), argc, argv);
}
