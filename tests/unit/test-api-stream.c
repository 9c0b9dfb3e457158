/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Events as a stream: resuming, gaps, slow readers, heartbeats, and what is left when the client goes. */

#include <inttypes.h>
#include <string.h>

#include "tests/unit/api-rig.h"
#include "tests/unit/suite.h"

static struct rig *rig;

static void begin(const struct api_options *options)
{
	rig = rig_new(options);
}

static void end(void)
{
	rig = rig_free(rig);
}

static struct client *watch(const char *query, const char *headers)
{
	struct client *client = rig_client(rig);
	_cleanup_free_ char *request = text_format(
		"GET /v1/events%s HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n%s\r\n", query, headers);
	client_send(client, request);
	CU_ASSERT_TRUE(client_wait_for(client, "retry: 1000\n"));
	loop_settle(rig->event);
	return client;
}

static void discard(struct client *client)
{
	text_done(&client->in);
}

static bool has(const struct client *client, const char *text)
{
	_cleanup_free_ char *joined = client_joined(client);
	return strstr(joined, text);
}

static bool streams_are(void *userdata)
{
	return fake_subscriptions(rig->manager) == *(unsigned *)userdata;
}

static bool wait_streams(unsigned count)
{
	return loop_until(rig->event, streams_are, &count);
}

/* --- tests --- */

static void events_arrive_as_they_happen(void)
{
	begin(NULL);
	fake_event(rig->manager, "daemonStarted", NULL, 0);
	struct client *client = watch("", "");
	CU_ASSERT_TRUE(has(client, "HTTP/1.1 200"));
	CU_ASSERT_TRUE(has(client, "Content-Type: text/event-stream\r\n"));
	CU_ASSERT_TRUE(has(client, "Cache-Control: no-store\r\n"));
	CU_ASSERT_TRUE(has(
		client, "retry: 1000\nid: 1\n\n")); /* where to resume, should the connection break before an event */
	CU_ASSERT_FALSE(has(client, "daemonStarted"));
	discard(client);
	fake_event(rig->manager, "stateChanged", "home", 0);
	CU_ASSERT_TRUE(client_wait_for(client,
		"id: 2\nevent: stateChanged\ndata: {\"id\":2,\"kind\":\"stateChanged\",\"tunnel\":\"home\"}\n\n"));
	client_free(client);
	end();
}

static void without_accept_events_are_a_list(void)
{
	begin(NULL);
	fake_event(rig->manager, "daemonStarted", NULL, 0);
	_cleanup_response_ struct response response =
		rig_ask(rig, "GET", "/v1/events?after=0", "Accept: application/json\r\n", NULL);
	CU_ASSERT_EQUAL(response.status, 200);
	CU_ASSERT_STRING_EQUAL(response_member(&response, "events.0.kind"), "daemonStarted");
	CU_ASSERT_EQUAL(fake_subscriptions(rig->manager), 0);
	end();
}

/* Ids of the events in TEXT, each once and in order from FIRST to LAST. */
static void check_ids(const struct client *client, uint64_t first, uint64_t last)
{
	_cleanup_free_ char *joined = client_joined(client);
	const char *at = joined;
	for (uint64_t id = first; id <= last; id++) {
		char line[64];
		snprintf(line, sizeof line, "id: %" PRIu64 "\nevent: ", id);
		const char *found = strstr(at, line);
		CU_ASSERT_PTR_NOT_NULL_FATAL(found);
		CU_ASSERT_PTR_NULL(strstr(found + 1, line));
		at = found;
	}
}

static void streams_resume_without_loss(void)
{
	static const char *const places[][2] = {
		{"?after=3", ""}, {"", "Last-Event-ID: 3\r\n"}, {"?after=1", "Last-Event-ID: 3\r\n"}};
	for (size_t i = 0; i < ELEMENTSOF(places); i++) {
		begin(NULL);
		for (int n = 0; n < 450; n++) /* several pages of the past */
			fake_event(rig->manager, "stateChanged", "home", 0);
		struct client *client = watch(places[i][0], places[i][1]);
		fake_event(rig->manager, "stateChanged", "home", 0);
		CU_ASSERT_TRUE(client_wait_for(client, "id: 451\n"));
		check_ids(client, 4, 451);
		CU_ASSERT_FALSE(has(client, "id: 3\n"));
		CU_ASSERT_FALSE(has(client, "resync"));
		client_free(client);
		end();
	}
}

static void events_during_a_replay_come_once(void)
{
	begin(NULL);
	for (int n = 0; n < 350; n++)
		fake_event(rig->manager, "stateChanged", "home", 0);
	struct client *client = rig_client(rig);
	client_send(client, "GET /v1/events?after=0 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n");
	for (int n = 0; n < 50; n++) {
		fake_event(rig->manager, "stateChanged", "home", 0);
		sd_event_run(rig->event, 0);
	}
	CU_ASSERT_TRUE(client_wait_for(client, "id: 400\n"));
	check_ids(client, 1, 400);
	client_free(client);
	end();
}

static void a_gap_is_a_resync(void)
{
	static const char *const places[] = {
		"Last-Event-ID: 3\r\n", "Last-Event-ID: 99\r\n", "Last-Event-ID: what\r\n", "Last-Event-ID: \r\n"};
	for (size_t i = 0; i < ELEMENTSOF(places); i++) {
		begin(NULL);
		for (int n = 0; n < 10; n++)
			fake_event(rig->manager, "stateChanged", "home", 0);
		fake_forget_events(rig->manager, 5);
		struct client *client = watch("", places[i]);
		CU_ASSERT_TRUE(
			client_wait_for(client, "id: 10\nevent: resync\ndata: {\"id\":10,\"kind\":\"resync\"}\n\n"));
		fake_event(rig->manager, "stateChanged", "home", 0);
		CU_ASSERT_TRUE(client_wait_for(client, "id: 11\nevent: stateChanged\n"));
		CU_ASSERT_FALSE(has(client, "id: 9\n"));
		client_free(client);
		end();
	}
}

static void a_client_that_falls_behind_gets_resync(void)
{
	begin(&(struct api_options){.stream_queue = 64 * 1024});
	struct client *client = watch("", "");
	discard(client);
	sd_event_source_set_enabled(client->source, SD_EVENT_OFF); /* it reads nothing */
	for (int n = 0; n < 1000; n++) {
		fake_event(rig->manager, "stateChanged", "home", 4000);
		loop_settle(rig->event);
	}
	sd_event_source_set_enabled(client->source, SD_EVENT_ON);
	CU_ASSERT_TRUE(client_wait_for(client, "id: 1000\nevent: resync\n"));
	CU_ASSERT_TRUE(has(client, "id: 1\nevent: stateChanged\n"));
	CU_ASSERT_FALSE(has(client, "id: 999\n"));
	fake_event(rig->manager, "stateChanged", "home", 0);
	CU_ASSERT_TRUE(client_wait_for(client, "id: 1001\nevent: stateChanged\ndata: "
					       "{\"id\":1001,\"kind\":\"stateChanged\",\"tunnel\":\"home\"}\n\n"));
	client_free(client);
	end();
}

static void slow_readers_hold_up_nobody(void)
{
	begin(&(struct api_options){.stream_queue = 64 * 1024});
	struct client *slow = watch("", ""), *quick = watch("", "");
	sd_event_source_set_enabled(slow->source, SD_EVENT_OFF);
	for (int n = 1; n <= 500; n++) {
		char line[32];
		fake_event(rig->manager, "stateChanged", "home", 2000);
		snprintf(line, sizeof line, "id: %d\n", n);
		CU_ASSERT_TRUE_FATAL(client_wait_for(quick, line));
		discard(quick);
	}
	client_free(slow);
	client_free(quick);
	end();
}

static void large_events_stay_whole(void)
{
	begin(NULL);
	struct client *client = watch("", "");
	discard(client);
	fake_event(rig->manager, "stateChanged", "home", 100000);
	fake_event(rig->manager, "stateChanged", "work", 0);
	CU_ASSERT_TRUE(client_wait_for(client, "\"tunnel\":\"work\"}\n\n"));
	size_t padding = 0;
	for (size_t i = 0; i < client->in.length; i++)
		padding += client->in.bytes[i] == 'x';
	CU_ASSERT_EQUAL(padding, 100000);
	client_free(client);
	end();
}

static void filters_let_only_theirs_through(void)
{
	begin(NULL);
	for (int n = 0; n < 900; n++)
		fake_event(rig->manager, "stateChanged", "work", 0);
	fake_event(rig->manager, "decision", "home", 0);
	struct client *tunnel = watch("?after=0&tunnel=home", ""), *kind = watch("?kind=willStop", "");
	CU_ASSERT_TRUE(client_wait_for(tunnel, "id: 901\nevent: decision\n"));
	fake_event(rig->manager, "stateChanged", "work", 0);
	fake_event(rig->manager, "networkChanged", NULL, 0);
	fake_event(rig->manager, "willStop", "home", 0);
	CU_ASSERT_TRUE(client_wait_for(tunnel, "id: 904\nevent: willStop\n"));
	CU_ASSERT_TRUE(client_wait_for(kind, "id: 904\nevent: willStop\n"));
	CU_ASSERT_FALSE(has(tunnel, "\"work\"") || has(tunnel, "networkChanged"));
	CU_ASSERT_FALSE(has(kind, "\"work\"") || has(kind, "networkChanged"));
	client_free(tunnel);
	client_free(kind);
	end();
}

static void silence_is_filled_with_heartbeats(void)
{
	begin(&(struct api_options){.heartbeat_usec = 20 * USEC_PER_MSEC});
	struct client *client = watch("", "");
	discard(client);
	CU_ASSERT_TRUE(client_wait_for(client, ":\n\n"));
	discard(client);
	CU_ASSERT_TRUE(client_wait_for(client, ":\n\n"));
	client_free(client);
	end();
}

static void a_client_that_leaves_frees_its_subscription(void)
{
	begin(NULL); /* long before any heartbeat */
	struct client *clients[3];
	for (size_t i = 0; i < ELEMENTSOF(clients); i++)
		clients[i] = watch("", "");
	CU_ASSERT_EQUAL(fake_subscriptions(rig->manager), 3);
	for (size_t i = 0; i < ELEMENTSOF(clients); i++) {
		client_free(clients[i]);
		CU_ASSERT_TRUE(wait_streams(2 - (unsigned)i));
	}
	end();
}

static void streams_are_capped(void)
{
	begin(&(struct api_options){.streams = 2});
	struct client *first = watch("", ""), *second = watch("", "");
	_cleanup_response_ struct response refused =
		rig_ask(rig, "GET", "/v1/events", "Accept: text/event-stream\r\n", NULL);
	CU_ASSERT_EQUAL(refused.status, 429);
	CU_ASSERT_STRING_EQUAL(response_member(&refused, "code"), "tooManyRequests");
	client_free(first);
	CU_ASSERT_TRUE(wait_streams(1));
	first = watch("", "");
	CU_ASSERT_EQUAL(fake_subscriptions(rig->manager), 2);
	client_free(first);
	client_free(second);
	end();
}

static void the_end_closes_streams(void)
{
	begin(NULL);
	struct client *client = watch("", "");
	rig->server = api_server_free(rig->server);
	CU_ASSERT_EQUAL(fake_subscriptions(rig->manager), 0);
	CU_ASSERT_TRUE(client_wait_closed(client));
	client_free(client);
	end();
}

static void old_clients_get_an_unchunked_stream(void)
{
	begin(NULL);
	struct client *client = rig_client(rig);
	client_send(client, "GET /v1/events HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n");
	CU_ASSERT_TRUE(client_wait_for(client, "\r\n\r\nretry: 1000\n"));
	loop_settle(rig->event);
	fake_event(rig->manager, "stateChanged", "home", 0);
	CU_ASSERT_TRUE(client_wait_for(client, "\n\nid: 1\nevent: stateChanged\n"));
	client_free(client);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"events arrive as they happen, one line of JSON each", events_arrive_as_they_happen},
		{"without Accept: text/event-stream the same path is a list", without_accept_events_are_a_list},
		{"a stream resumes after Last-Event-ID or ?after= without loss, the header first",
			streams_resume_without_loss},
		{"events that happen during a replay come once", events_during_a_replay_come_once},
		{"events no longer kept, and ids never given out, are a resync", a_gap_is_a_resync},
		{"a client that falls behind its queue gets resync and goes on",
			a_client_that_falls_behind_gets_resync},
		{"a slow reader holds up nobody", slow_readers_hold_up_nobody},
		{"an event larger than a block stays whole", large_events_stay_whole},
		{"a stream of one tunnel or kind has no other", filters_let_only_theirs_through},
		{"silence is filled with heartbeats", silence_is_filled_with_heartbeats},
		{"a client that leaves frees its subscription at once", a_client_that_leaves_frees_its_subscription},
		{"streams are capped", streams_are_capped},
		{"the server's end closes streams", the_end_closes_streams},
		{"an HTTP/1.0 client gets the stream unchunked", old_clients_get_an_unchunked_stream},
	};
	return suite_run("api stream", tests, ELEMENTSOF(tests), argc, argv);
}
