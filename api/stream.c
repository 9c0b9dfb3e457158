/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Events as a stream (text/event-stream; HTML Living Standard, 9.2). A stream has a place, the id of the last event it
 * dealt with:
 *
 *  - replaying: older events are fetched a page at a time, whenever the client has read what was queued;
 *  - live: each event is queued as it happens;
 *  - lagging: the client left more than the queue's limit unread. Events are dropped until it has read the queue, then
 * it gets `resync`, which says that what it knows may be out of date, and is live again.
 *
 * Whatever is queued is whole events, so dropping never cuts one in two. An empty queue means a suspended connection.
 */

#include <inttypes.h>
#include <string.h>

#include "api/internal.h"
#include "util/fields.h"

#define REPLAY_PAGE   100
#define REPLAY_PAGES  4    /* looked through in one go for events that are wanted */
#define RETRY_MSEC    1000 /* how long a client is told to wait before it connects again */
#define BLOCK         4096
#define STREAM_TYPE   "text/event-stream"
#define LAST_EVENT_ID "Last-Event-ID"

struct stream {
	struct connection *connection;
	struct subscription *subscription;
	char *tunnel, *kind; /* only these; NULL: all */
	struct text queue;
	size_t sent; /* of the queue */
	uint64_t place;
	bool live, lagging;
	sd_event_source *heartbeat;
};

static const char *member(json_object *object, const char *name)
{
	json_object *value;
	return json_object_object_get_ex(object, name, &value) ? json_object_get_string(value) : NULL;
}

static bool is_wanted(const struct stream *stream, json_object *event)
{
	const char *tunnel = member(event, "tunnel"), *kind = member(event, "kind");
	return (!stream->tunnel || (tunnel && strcmp(stream->tunnel, tunnel) == 0)) &&
	       (!stream->kind || (kind && strcmp(stream->kind, kind) == 0));
}

/* --- the queue --- */

static void queue_event(struct stream *stream, json_object *event, uint64_t id)
{
	stream->place = id;
	if (is_wanted(stream, event))
		text_append(&stream->queue, "id: %" PRIu64 "\nevent: %s\ndata: %s\n\n", id, member(event, "kind"),
			json_object_to_json_string_ext(event, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* Older events are given up: the stream goes on with what happens from now on. */
static void queue_resync(struct stream *stream)
{
	stream->place = manager_last_event(stream->connection->server->manager);
	stream->live = true;
	stream->lagging = false;
	text_append(&stream->queue,
		"id: %" PRIu64 "\nevent: resync\ndata: {\"id\":%" PRIu64 ",\"kind\":\"resync\"}\n\n", stream->place,
		stream->place);
}

static void queue_page(struct stream *stream)
{
	_cleanup_json_ json_object *events = NULL;
	bool gap = false;
	if (manager_events_after(stream->connection->server->manager, stream->place, REPLAY_PAGE, &events, &gap) < 0 ||
		gap) {
		queue_resync(stream);
		return;
	}
	for (size_t i = 0; i < json_object_array_length(events); i++) {
		json_object *event = json_object_array_get_idx(events, i), *id;
		if (json_object_object_get_ex(event, "id", &id))
			queue_event(stream, event, (uint64_t)json_object_get_int64(id));
	}
	stream->live = json_object_array_length(events) < REPLAY_PAGE;
}

/* The queue was read to its end: what is next. */
static void refill(struct stream *stream)
{
	text_done(&stream->queue);
	stream->sent = 0;
	if (stream->lagging)
		queue_resync(stream);
	for (int i = 0; i < REPLAY_PAGES && !stream->live && stream->queue.length == 0; i++)
		queue_page(stream);
	if (!stream->live && stream->queue.length == 0)
		text_append(&stream->queue,
			":\n\n"); /* nothing that is wanted yet; others have their turn before the next pages */
}

static void on_event(json_object *event, uint64_t id, void *userdata)
{
	struct stream *stream = userdata;
	if (!stream->live || stream->lagging)
		return;
	size_t unread = stream->queue.length - stream->sent, before = stream->queue.length;
	queue_event(stream, event, id);
	if (stream->queue.length == before)
		return;
	if (unread > 0 && stream->queue.length - stream->sent > stream->connection->server->options.stream_queue) {
		stream->queue.length = before; /* the event that was one too many */
		stream->lagging = true;
	}
	connection_resume(stream->connection);
}

/* --- heartbeat --- */

static void heartbeat_arm(struct stream *stream)
{
	uint64_t interval = stream->connection->server->options.heartbeat_usec;
	sd_event_source_set_time(stream->heartbeat, clock_usec(CLOCK_MONOTONIC) + interval);
	sd_event_source_set_enabled(stream->heartbeat, SD_EVENT_ONESHOT);
}

/* A comment: keeps proxies and clients from giving up, and finds out whether the client is still there. */
static int on_heartbeat(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct stream *stream = userdata;
	if (stream->queue.length == stream->sent)
		text_append(&stream->queue, ":\n\n");
	connection_resume(stream->connection);
	heartbeat_arm(stream);
	return 0;
}

/* --- the answer --- */

/* What MHD_create_response_from_callback() asks for more: without anything to send it must suspend, or it would be
 * asked at once again. */
static ssize_t read_stream(void *userdata, uint64_t position, char *buffer, size_t size)
{
	struct request *request = userdata;
	struct stream *stream = request->stream;
	if (!stream || request->connection->gone || request->connection->server->stopping)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (stream->sent == stream->queue.length)
		refill(stream);
	if (stream->queue.length == 0) {
		connection_suspend(request->connection);
		return 0;
	}
	size_t length = MIN_OF(size, stream->queue.length - stream->sent);
	memcpy(buffer, stream->queue.bytes + stream->sent, length);
	stream->sent += length;
	heartbeat_arm(stream);
	return (ssize_t)length;
}

static bool id_parse(const char *text, uint64_t *ret)
{
	if (!*text || strlen(text) > 19 || text[strspn(text, "0123456789")])
		return false;
	*ret = strtoull(text, NULL, 10);
	return true;
}

/*
 * Where to begin. The header goes before ?after=, since a browser that connects again repeats its first address. An id
 * that we never wrote that way is one we cannot resume from.
 */
static void find_place(struct stream *stream, json_object *arguments)
{
	const char *header = connection_header(stream->connection, LAST_EVENT_ID);
	json_object *after;
	text_append(&stream->queue, "retry: %d\n", RETRY_MSEC);
	stream->place = manager_last_event(stream->connection->server->manager);
	stream->live = true;
	if (header) {
		stream->live = false;
		if (!id_parse(header, &stream->place))
			queue_resync(stream);
	} else if (json_object_object_get_ex(arguments, "after", &after)) {
		stream->live = false;
		stream->place = (uint64_t)json_object_get_int64(after);
	} else {
		text_append(&stream->queue, "id: %" PRIu64 "\n",
			stream->place); /* to resume from, before the first event */
	}
	text_append(&stream->queue, "\n");
}

static struct stream *stream_new(struct request *request, json_object *arguments)
{
	struct stream *stream = xcalloc(1, sizeof *stream);
	struct api_server *server = request->connection->server;
	stream->connection = request->connection;
	stream->tunnel = text_dup(member(arguments, "tunnel"));
	stream->kind = text_dup(member(arguments, "kind"));
	server->stream_count++;
	if (sd_event_add_time(
		    server->event, &stream->heartbeat, CLOCK_MONOTONIC, 0, USEC_PER_SEC / 10, on_heartbeat, stream) < 0)
		return stream_free(stream);
	heartbeat_arm(stream);
	find_place(stream, arguments);
	stream->subscription = manager_subscribe(server->manager, on_event, stream);
	return stream->subscription ? stream : stream_free(stream);
}

struct stream *stream_free(struct stream *stream)
{
	if (!stream)
		return NULL;
	stream->connection->server->stream_count--;
	manager_unsubscribe(stream->subscription);
	sd_event_source_disable_unref(stream->heartbeat);
	text_done(&stream->queue);
	free(stream->tunnel);
	free(stream->kind);
	free(stream);
	return NULL;
}

enum MHD_Result stream_start(struct request *request, const struct operation_call *call)
{
	if (request->caller.scope < request->operation->scope) {
		reply_problem(&request->reply, OUTCOME_FORBIDDEN, "%s needs the scope %s", request->operation->name,
			scope_to_string(request->operation->scope));
		return MHD_YES;
	}
	request->stream = stream_new(request, call->arguments);
	if (!request->stream) {
		reply_problem(&request->reply, OUTCOME_TOO_MANY_REQUESTS, "too many are told of events already; end one of the streams");
		return MHD_YES;
	}
	struct MHD_Response *response =
		MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream, request, NULL);
	if (!response)
		return MHD_NO;
	reply_common_headers(response);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, STREAM_TYPE);
	enum MHD_Result result = MHD_queue_response(request->connection->mhd, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return result;
}
