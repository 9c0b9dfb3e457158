/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Clients that are slow, silent, greedy or malformed cost their own connection and nothing else. */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/api-rig.h"
#include "tests/unit/suite.h"

#define JSON "Content-Type: application/json\r\nIf-Match: *\r\n"

static struct rig *rig;

static void begin(const struct api_options *options)
{
	rig = rig_new(options);
}

static void end(void)
{
	rig = rig_free(rig);
}

static void check_served(void)
{
	_cleanup_response_ struct response response = rig_ask(rig, "GET", "/v1/status", "", NULL);
	CU_ASSERT_EQUAL(response.status, 200);
}

static char *document_of(size_t length)
{
	char *text = xcalloc(1, length + 1);
	memset(text, ' ', length);
	memcpy(text, "{\"a\":1}", 7);
	return text;
}

/* --- size --- */

static void the_largest_body_is_taken(void)
{
	begin(NULL);
	_cleanup_free_ char *body = document_of(OPERATION_DOCUMENT_MAX);
	_cleanup_response_ struct response response = rig_ask(rig, "PUT", "/v1/policy", JSON, body);
	CU_ASSERT_EQUAL(response.status, 200);
	CU_ASSERT_STRING_EQUAL(response_member(&response, "document"), "{\"a\":1}");
	end();
}

static void a_larger_body_is_refused_unread(void)
{
	begin(NULL);
	struct client *client = rig_client(rig);
	client_send(client, "PUT /v1/policy HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 1048577\r\n\r\n");
	_cleanup_response_ struct response response = client_receive(client, false);
	CU_ASSERT_EQUAL(response.status, 413);
	CU_ASSERT_STRING_EQUAL(response_member(&response, "code"), "payloadTooLarge");
	CU_ASSERT_TRUE(client_wait_closed(client));
	client_free(client);
	client = rig_client(rig);
	client_send(client, "POST /v1/tunnels/import?id=home HTTP/1.1\r\nHost: x\r\nContent-Type: "
			    "text/plain\r\nContent-Length: 262145\r\n\r\n");
	_cleanup_response_ struct response import = client_receive(client, false);
	CU_ASSERT_EQUAL(import.status, 413);
	client_free(client);
	CU_ASSERT_EQUAL(fake_calls(rig->manager), 0);
	check_served();
	end();
}

static void a_larger_body_in_chunks_is_refused(void)
{
	begin(NULL);
	struct client *client = rig_client(rig);
	_cleanup_free_ char *block = document_of(65536);
	client_send(client, "PUT /v1/policy HTTP/1.1\r\nHost: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 17; i++) {
		client_send(client, "10000\r\n");
		client_send_bytes(client, block, 65536);
		client_send(client, "\r\n");
	}
	client_send(client, "0\r\n\r\n");
	_cleanup_response_ struct response response = client_receive(client, false);
	CU_ASSERT_EQUAL(response.status, 413);
	CU_ASSERT_EQUAL(fake_calls(rig->manager), 0);
	client_free(client);
	end();
}

static void an_endless_body_ends_the_connection(void)
{
	begin(&(struct api_options){.request_usec = 3600 * USEC_PER_SEC}); /* not by its deadline */
	struct client *client = rig_client(rig);
	_cleanup_free_ char *block = document_of(65536);
	client_send(client, "PUT /v1/policy HTTP/1.1\r\nHost: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 200 && !client->closed; i++) {
		client_send(client, "10000\r\n");
		client_send_bytes(client, block, 65536);
		client_send(client, "\r\n");
	}
	CU_ASSERT_TRUE(client_wait_closed(client));
	CU_ASSERT_EQUAL(client->in.length, 0);
	client_free(client);
	check_served();
	end();
}

static void bodies_of_all_share_a_limit(void)
{
	begin(&(struct api_options){.bodies = 100000});
	struct client *first = rig_client(rig);
	_cleanup_free_ char *body = document_of(60000);
	client_send(first, "PUT /v1/policy HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 60000\r\n\r\n");
	client_send_bytes(first, body, 59999);
	loop_settle(rig->event);
	_cleanup_response_ struct response refused = rig_ask(rig, "PUT", "/v1/policy", JSON, body);
	CU_ASSERT_EQUAL(refused.status, 429);
	client_send(first, " ");
	_cleanup_response_ struct response response = client_receive(first, false);
	CU_ASSERT_EQUAL(response.status, 200);
	client_free(first);
	_cleanup_response_ struct response now = rig_ask(rig, "PUT", "/v1/policy", JSON, body);
	CU_ASSERT_EQUAL(now.status, 200);
	end();
}

static void headers_are_bounded(void)
{
	begin(NULL);
	struct client *client = rig_client(rig);
	_cleanup_free_ char *block = xcalloc(1, 65537);
	memset(block, 'a', 65536);
	client_send(client, "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Long: ");
	client_send(client, block);
	client_send(client, "\r\n\r\n");
	_cleanup_response_ struct response response = client_receive(client, false);
	CU_ASSERT_TRUE(response.status == 431 || response.status == 413 || response.status == 0);
	CU_ASSERT_TRUE(client_wait_closed(client));
	client_free(client);
	check_served();
	end();
}

/* --- framing --- */

static void ambiguous_lengths_are_refused(void)
{
	static const char *const headers[] = {"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
		"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "Content-Length: 2\r\nContent-Length: 2\r\n",
		"Transfer-Encoding: gzip\r\n"};
	for (size_t i = 0; i < ELEMENTSOF(headers); i++) {
		begin(NULL);
		struct client *client = rig_client(rig);
		_cleanup_free_ char *request =
			text_format("PUT /v1/policy HTTP/1.1\r\nHost: x\r\n" JSON "%s\r\n{}", headers[i]);
		client_send(client, request);
		_cleanup_response_ struct response response = client_receive(client, false);
		CU_ASSERT_EQUAL(response.status, 400);
		CU_ASSERT_TRUE(client_wait_closed(client));
		CU_ASSERT_EQUAL(fake_calls(rig->manager), 0);
		client_free(client);
		end();
	}
}

static void rubbish_ends_the_connection(void)
{
	static const char *const rubbish[] = {"\x16\x03\x01\x02\x00\x01\x00\x01", "GET\r\n\r\n", "\r\n\r\n\r\n\r\n",
		"GET /v1/status HTTP/1.1\r\n\r\n", "PUT /v1/policy HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
		"PUT /v1/policy HTTP/1.1\r\nHost: x\r\nContent-Length: 2x\r\n\r\n"};
	begin(&(struct api_options){.request_usec = 50 * USEC_PER_MSEC});
	for (size_t i = 0; i < ELEMENTSOF(rubbish); i++) {
		struct client *client = rig_client(rig);
		client_send(client, rubbish[i]);
		CU_ASSERT_TRUE(client_wait_closed(client));
		client_free(client);
	}
	CU_ASSERT_EQUAL(fake_calls(rig->manager), 0);
	check_served();
	end();
}

/* --- time --- */

/* Short, so that the tests are; and long for a request that is whole, on a machine where others run meanwhile. */
#define BRIEF_USEC (500 * USEC_PER_MSEC)

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * USEC_PER_SEC + (uint64_t)time.tv_nsec / 1000;
}

static struct client *trickler;
static const char *trickle_bytes;

/* One byte every 5 ms: never silent for long. */
static int on_trickle(sd_event_source *source, uint64_t usec, void *userdata)
{
	ssize_t ignored = send(trickler->fd, trickle_bytes, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)ignored;
	if (trickle_bytes[1])
		trickle_bytes++;
	sd_event_source_set_time(source, usec + 5 * USEC_PER_MSEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void check_trickle(const char *bytes)
{
	sd_event_source *source = NULL;
	begin(&(struct api_options){.request_usec = BRIEF_USEC});
	uint64_t start = now();
	trickler = rig_client(rig);
	trickle_bytes = bytes;
	CU_ASSERT_EQUAL_FATAL(sd_event_add_time(rig->event, &source, CLOCK_MONOTONIC, start, 1, on_trickle, NULL), 0);
	CU_ASSERT_TRUE(client_wait_closed(trickler));
	CU_ASSERT_TRUE(now() - start >= BRIEF_USEC);
	CU_ASSERT_EQUAL(trickler->in.length, 0);
	sd_event_source_disable_unref(source);
	client_free(trickler);
	check_served();
	end();
}

static void trickled_headers_meet_a_deadline(void)
{
	check_trickle("GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow: "
		      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
	check_trickle("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

static void check_half(const char *bytes)
{
	begin(&(struct api_options){.request_usec = BRIEF_USEC, .idle_usec = BRIEF_USEC});
	struct client *client = rig_client(rig);
	client_send(client, bytes);
	CU_ASSERT_TRUE(client_wait_closed(client));
	CU_ASSERT_EQUAL(fake_calls(rig->manager), 0);
	client_free(client);
	check_served();
	end();
}

static void half_a_request_meets_a_deadline(void)
{
	check_half("");
	check_half("GET /v1/sta");
	check_half("GET /v1/status HTTP/1.1\r\nHost: x\r\n");
	check_half("PUT /v1/policy HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: 100\r\n\r\n{");
	check_half("PUT /v1/policy HTTP/1.1\r\nHost: x\r\n" JSON "Transfer-Encoding: chunked\r\n\r\n1\r\n{");
}

static void a_second_request_has_a_deadline_of_its_own(void)
{
	begin(&(struct api_options){.request_usec = BRIEF_USEC, .idle_usec = 3600 * USEC_PER_SEC});
	struct client *client = rig_client(rig);
	_cleanup_response_ struct response response = client_ask(client, "GET", "/v1/status", "", NULL);
	CU_ASSERT_EQUAL(response.status, 200);
	client_send(client, "GET /v1/status HTTP/1.1\r\nHost: x\r\n");
	CU_ASSERT_TRUE(client_wait_closed(client));
	CU_ASSERT_EQUAL(client->in.length, 0);
	client_free(client);
	end();
}

static void idle_connections_end(void)
{
	begin(&(struct api_options){.idle_usec = BRIEF_USEC});
	struct client *client = rig_client(rig);
	_cleanup_response_ struct response response = client_ask(client, "GET", "/v1/status", "", NULL);
	CU_ASSERT_EQUAL(response.status, 200);
	CU_ASSERT_FALSE(client->closed);
	CU_ASSERT_TRUE(client_wait_closed(client));
	client_free(client);
	end();
}

static void answers_that_nobody_reads_end(void)
{
	begin(&(struct api_options){.idle_usec = BRIEF_USEC});
	struct client *client = rig_client(rig);
	_cleanup_free_ char *body = document_of(OPERATION_DOCUMENT_MAX);
	memset(body + 4, '1', OPERATION_DOCUMENT_MAX - 4);
	memcpy(body, "{\"a\":\"", 6);
	memcpy(body + OPERATION_DOCUMENT_MAX - 2, "\"}", 2);
	sd_event_source_set_enabled(client->source, SD_EVENT_OFF);
	_cleanup_free_ char *request = text_format(
		"PUT /v1/policy HTTP/1.1\r\nHost: x\r\n" JSON "Content-Length: %u\r\n\r\n%s", OPERATION_DOCUMENT_MAX, body);
	client_send(client, request);
	uint64_t until = now() + 60 * USEC_PER_SEC;
	struct epoll_event hangup = {.events = 0};
	_cleanup_close_ int epoll =
		epoll_create1(EPOLL_CLOEXEC); /* EPOLLHUP alone: the server's end, without reading */
	CU_ASSERT_EQUAL_FATAL(epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &hangup), 0);
	int r = 0;
	while (r == 0 && now() < until) {
		sd_event_run(rig->event, 10 * USEC_PER_MSEC);
		r = epoll_wait(epoll, &hangup, 1, 0);
	}
	CU_ASSERT_EQUAL(r, 1);
	CU_ASSERT_EQUAL(fake_calls(rig->manager), 1);
	client_free(client);
	end();
}

static void calls_under_way_are_capped(void)
{
	begin(&(struct api_options){.calls = 2});
	struct client *clients[2];
	for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
		clients[i] = rig_client(rig);
		client_send(clients[i], "POST /v1/tunnels/home/start?wait=1m HTTP/1.1\r\nHost: x\r\n\r\n");
		loop_settle(rig->event);
	}
	CU_ASSERT_EQUAL(fake_pending(rig->manager), 2);
	_cleanup_response_ struct response refused = rig_ask(rig, "POST", "/v1/tunnels/home/start", "", NULL);
	CU_ASSERT_EQUAL(refused.status, 429);
	fake_finish(rig->manager);
	loop_settle(rig->event);
	_cleanup_response_ struct response taken = rig_ask(rig, "POST", "/v1/tunnels/home/start", "", NULL);
	CU_ASSERT_EQUAL(taken.status, 202);
	for (size_t i = 0; i < ELEMENTSOF(clients); i++)
		client_free(clients[i]);
	loop_settle(rig->event);
	end();
}

/* --- many --- */

static int connect_nonblocking(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strncpy(address.sun_path, rig->path, sizeof address.sun_path - 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	while (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		if (errno != EAGAIN) {
			close(fd);
			return -1;
		}
		sd_event_run(rig->event, 0); /* the backlog is full */
	}
	return fd;
}

static void silent_crowds_make_room_for_whoever_speaks(void)
{
	enum { CROWD = 1000 };
	static int crowd[CROWD];
	struct rlimit limit = {4096, 4096};
	setrlimit(RLIMIT_NOFILE, &limit);
	begin(&(struct api_options){.request_usec = 3600 * USEC_PER_SEC, .idle_usec = 3600 * USEC_PER_SEC}); /* not by its deadlines */
	struct client *working = rig_client(rig), *stream = rig_client(rig);
	client_send(working, "POST /v1/tunnels/home/start?wait=1m HTTP/1.1\r\nHost: x\r\n\r\n");
	client_send(stream, "GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
	CU_ASSERT_TRUE(client_wait_for(stream, "retry"));
	for (int i = 0; i < CROWD; i++) {
		crowd[i] = connect_nonblocking();
		CU_ASSERT_TRUE_FATAL(crowd[i] >= 0);
	}
	check_served();
	fake_event(rig->manager, "stateChanged", "home", 0);
	CU_ASSERT_TRUE(client_wait_for(stream, "event: stateChanged\n"));
	fake_finish(rig->manager);
	_cleanup_response_ struct response response = client_receive(working, false);
	CU_ASSERT_EQUAL(response.status, 200);
	for (int i = 0; i < CROWD; i++)
		close(crowd[i]);
	check_served();
	client_free(working);
	client_free(stream);
	end();
}

/* CROWD silent connections; whichever is ended is begun again. */
static _Noreturn void come_back_for_ever(const char *path)
{
	enum { CROWD = 500 };
	static struct pollfd crowd[CROWD];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < CROWD; i++)
		crowd[i].fd = -1;
	for (;;) {
		for (int i = 0; i < CROWD; i++) {
			if (crowd[i].fd >= 0 && !crowd[i].revents)
				continue;
			if (crowd[i].fd >= 0)
				close(crowd[i].fd);
			crowd[i] = (struct pollfd){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), .events = POLLIN};
			if (connect(crowd[i].fd, (struct sockaddr *)&address, sizeof address) < 0) {
				close(crowd[i].fd);
				crowd[i] = (struct pollfd){.fd = -1};
			}
		}
		poll(crowd, CROWD, 1);
	}
}

static void silent_crowds_that_come_back_do_not_shut_it(void)
{
	begin(&(struct api_options){.request_usec = 3600 * USEC_PER_SEC, .idle_usec = 3600 * USEC_PER_SEC}); /* not by its deadlines */
	pid_t pid = fork();
	if (pid == 0)
		come_back_for_ever(rig->path);
	CU_ASSERT_TRUE_FATAL(pid > 0);
	for (int i = 0; i < 200; i++)
		check_served();
	kill(pid, SIGKILL);
	CU_ASSERT_EQUAL(waitpid(pid, NULL, 0), pid);
	end();
}

static void clients_come_and_go_without_a_trace(void)
{
	begin(NULL);
	for (int i = 0; i < 2000; i++) {
		struct client *client = rig_client(rig);
		if (i % 3)
			client_send(client,
				"GET /v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\nGET /v1/st");
		if (i % 2)
			loop_settle(rig->event);
		client_free(client);
	}
	loop_settle(rig->event);
	check_served();
	CU_ASSERT_EQUAL(fake_subscriptions(rig->manager), 0);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"a body of the largest size is taken", the_largest_body_is_taken},
		{"a larger one is refused by its length, unread", a_larger_body_is_refused_unread},
		{"a larger one in chunks is refused", a_larger_body_in_chunks_is_refused},
		{"an endless body ends its connection", an_endless_body_ends_the_connection},
		{"the bodies of all connections share a limit", bodies_of_all_share_a_limit},
		{"headers are bounded", headers_are_bounded},
		{"two lengths in one request are refused", ambiguous_lengths_are_refused},
		{"rubbish ends its connection", rubbish_ends_the_connection},
		{"a request that trickles in meets a deadline", trickled_headers_meet_a_deadline},
		{"silence and half a request meet a deadline", half_a_request_meets_a_deadline},
		{"a second request has a deadline of its own", a_second_request_has_a_deadline_of_its_own},
		{"a connection without a further request ends", idle_connections_end},
		{"an answer that nobody reads ends its connection", answers_that_nobody_reads_end},
		{"calls that are under way are capped", calls_under_way_are_capped},
		{"a thousand silent connections make room for whoever speaks",
			silent_crowds_make_room_for_whoever_speaks},
		{"a silent crowd that comes back for ever does not shut it", silent_crowds_that_come_back_do_not_shut_it},
		{"clients come and go without a trace", clients_come_and_go_without_a_trace},
	};
	return suite_run("api limits", tests, ELEMENTSOF(tests), argc, argv);
}
