/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One request, from its first line to its answer. libmicrohttpd calls request_handle() several times: with the headers,
 * with each piece of the body, with nothing once the body is whole, and with nothing again after each resuming. What
 * can be refused is refused with the headers, before any of the body is read.
 */

#include <string.h>
#include <strings.h>

#include "api/arguments.h"
#include "api/internal.h"
#include "api/route.h"

#define DISCARD_MAX (4u << 20) /* of a body that is too large anyway, before the connection is simply ended */

struct request *request_new(struct connection *connection, const char *target)
{
	struct request *request = xcalloc(1, sizeof *request);
	request->connection = connection;
	request->uri_error = uri_parse(target, &request->uri);
	return request;
}

/* --- the body --- */

static void body_release(struct request *request)
{
	request->connection->server->body_bytes -= request->allocated;
	if (request->body)
		wipe(request->body, request->allocated); /* it may hold keys */
	free(request->body);
	request->body = NULL;
	request->length = request->allocated = 0;
}

/* Grows by copying, so that what is left behind can be wiped. False where all connections together hold too much. */
static bool body_reserve(struct request *request, size_t needed)
{
	struct api_server *server = request->connection->server;
	if (needed <= request->allocated)
		return true;
	size_t allocated = MIN_OF(MAX_OF(needed, MAX_OF(2 * request->allocated, (size_t)1024)), request->limit);
	if (server->body_bytes - request->allocated + allocated > server->options.bodies)
		return false;
	char *body = xcalloc(1, allocated);
	size_t length = request->length;
	if (length)
		memcpy(body, request->body, length);
	body_release(request);
	request->body = body;
	request->length = length;
	request->allocated = allocated;
	server->body_bytes += allocated;
	return true;
}

static void refuse_size(struct request *request)
{
	reply_problem(&request->reply, OUTCOME_PAYLOAD_TOO_LARGE, "the body is larger than the %zu bytes that %s takes",
		request->limit, request->operation->name);
}

/* libmicrohttpd takes no answer in the middle of a body, so the rest of a refused one is read and dropped. */
static enum MHD_Result body_append(struct request *request, const char *upload, size_t *upload_size)
{
	size_t size = *upload_size;
	*upload_size = 0;
	if (request->reply.status) {
		request->discarded += size;
		return request->discarded > DISCARD_MAX ? MHD_NO : MHD_YES;
	}
	if (size > request->limit - request->length) {
		refuse_size(request);
		body_release(request);
	} else if (!body_reserve(request, request->length + size)) {
		reply_problem(
			&request->reply, OUTCOME_TOO_MANY_REQUESTS, "too many large requests are under way; try again");
		body_release(request);
	} else {
		memcpy(request->body + request->length, upload, size);
		request->length += size;
	}
	return MHD_YES;
}

/* --- what the headers say --- */

struct framing {
	const char *length, *encoding; /* NULL: there is none */
	unsigned count, hosts;
	bool rubbish; /* a value holds what ends a line, or a text, for other readers */
};

static bool is_clean(const char *value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
			return false;
	return true;
}

static enum MHD_Result see_header(
	void *userdata, enum MHD_ValueKind kind, const char *key, size_t key_size, const char *value, size_t value_size)
{
	struct framing *framing = userdata;
	const char **found = strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0      ? &framing->length
			     : strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0 ? &framing->encoding
										       : NULL;
	if (found) {
		*found = value;
		framing->count++;
	}
	framing->hosts += strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0;
	framing->rubbish |= !is_clean(key, key_size) || (value && !is_clean(value, value_size));
	return MHD_YES;
}

/*
 * Where two readers could disagree on where the request ends or whom it is for, it is refused (RFC 9112, 2.2, 3.2 and 6.1; request
 * smuggling). NULL: they agree.
 */
static const char *framing_error(struct connection *connection, bool *ret_has_body)
{
	struct framing framing = {};
	MHD_get_connection_values_n(connection->mhd, MHD_HEADER_KIND, see_header, &framing);
	if (framing.rubbish)
		return "a header holds a control character";
	if (framing.hosts > 1)
		return "send one Host, not several";
	if (framing.count > 1)
		return "send one Content-Length or one Transfer-Encoding, not several";
	if (framing.encoding && strcasecmp(framing.encoding, "chunked") != 0)
		return "the only Transfer-Encoding taken here is chunked";
	*ret_has_body = framing.encoding || (framing.length && strtoull(framing.length, NULL, 10) > 0);
	return NULL;
}

static bool wants_stream(struct connection *connection, const char *method)
{
	const char *accept = connection_header(connection, MHD_HTTP_HEADER_ACCEPT);
	return strcmp(method, "GET") == 0 && accept && strcasestr(accept, "text/event-stream");
}

static bool find_operation(struct request *request, const char *method)
{
	char allow[ROUTE_ALLOW_MAX];
	struct reply *reply = &request->reply;
	switch (route_find(
		&request->uri, method, wants_stream(request->connection, method), &request->operation, allow)) {
	case ROUTE_FOUND:
		return true;
	case ROUTE_NO_PATH:
		reply_problem(reply, OUTCOME_NOT_FOUND,
			"nothing is at this path; what there is lies under /" ROUTE_VERSION
			" and is described by /openapi.yaml");
		return false;
	case ROUTE_NO_METHOD:
		reply_problem(reply, OUTCOME_METHOD_NOT_ALLOWED, "%s is not among the methods of this path: %s", method,
			allow);
		reply->allow = text_dup(allow);
		return false;
	}
	return false;
}

/* A stranger is told nothing else, not even whether the path is one. */
static bool check_caller(struct request *request, const struct page *page)
{
	struct connection *connection = request->connection;
	const struct transport *transport = connection->server->transport;
	_cleanup_free_ char *detail = NULL;
	if (!page || !page_is_public(page)) {
		enum outcome outcome = transport->identify(connection, &request->caller);
		if (outcome != OUTCOME_OK) {
			reply_problem(&request->reply, outcome, "the caller could not be identified; send Authorization: Bearer and a token");
			request->reply.challenge = true;
			return false;
		}
	}
	if (!transport->check_browser || transport->check_browser(connection, &detail))
		return true;
	reply_problem(&request->reply, OUTCOME_FORBIDDEN, "%s", detail);
	return false;
}

/* Finds the operation, or leaves a reply: an error, or a page. */
static bool check_target(struct request *request, const char *method)
{
	bool has_body = true;
	const struct page *page = request->uri_error ? NULL : page_find(&request->uri);
	const char *framing = framing_error(request->connection, &has_body);
	request->has_body = has_body;
	if (!check_caller(request, page))
		return false;
	if (framing) {
		reply_problem(&request->reply, OUTCOME_BAD_REQUEST, "%s", framing);
		return false;
	}
	if (request->uri_error) {
		reply_problem(&request->reply, OUTCOME_BAD_REQUEST,
			"the path or query cannot be read: a bad percent escape, no UTF-8, or too many parts");
		return false;
	}
	if (page) {
		page_reply(page, request->connection->server, method, &request->reply);
		return false;
	}
	return find_operation(request, method);
}

static void check_body_headers(struct request *request)
{
	struct connection *connection = request->connection;
	const char *length = connection_header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
	_cleanup_free_ char *detail = NULL;
	request->limit = operation_text_max(request->operation);
	if (!request->has_body)
		return;
	if (length && strtoull(length, NULL, 10) > request->limit) {
		refuse_size(request);
		return;
	}
	if (!arguments_media_type(
		    request->operation, connection_header(connection, MHD_HTTP_HEADER_CONTENT_TYPE), &detail))
		reply_problem(&request->reply, OUTCOME_UNSUPPORTED_MEDIA_TYPE, "%s", detail);
}

static enum MHD_Result send_reply(struct request *request)
{
	request->complete = true;
	connection_deadline(request->connection, request->connection->server->options.idle_usec);
	return reply_send(&request->reply, request->connection->mhd);
}

/*
 * Leaves a reply where the request is refused. An answer before the end of the request makes libmicrohttpd end the
 * connection, since it does not read the body: that is done only where there is one.
 */
static enum MHD_Result begin(struct request *request, const char *method)
{
	request->begun = true;
	if (check_target(request, method))
		check_body_headers(request);
	if (request->connection->gone)
		return MHD_NO;
	return request->reply.status && request->has_body ? send_reply(request) : MHD_YES;
}

/* --- the call --- */

static void call_finish(struct request *request)
{
	if (request->counted)
		request->connection->server->call_count--;
	request->counted = false;
	request->call = operation_call_free(request->call);
}

static void call_done(struct operation_call *call, void *userdata)
{
	struct request *request = userdata;
	const char *method = request->operation->method;
	const char *none_match = strcmp(method, "GET") == 0
					 ? connection_header(request->connection, MHD_HTTP_HEADER_IF_NONE_MATCH)
					 : NULL;
	request->answered = true;
	reply_call(&request->reply, call, none_match, &request->connection->server->kept);
	connection_resume(request->connection);
}

static struct operation_call *call_new(struct request *request)
{
	struct operation_call *call = operation_call_new(request->operation);
	call->caller = request->caller;
	call->done = call_done;
	call->userdata = request;
	if (!arguments_if_match(connection_header(request->connection, MHD_HTTP_HEADER_IF_MATCH), &call->if_match)) {
		call->outcome = OUTCOME_BAD_REQUEST;
		call->detail = text_dup("If-Match takes one entity tag in double quotes, or *");
	} else {
		call->outcome = arguments_read(call, &request->uri, request->body, request->length);
	}
	body_release(request);
	return call;
}

static bool check_load(struct request *request)
{
	struct api_server *server = request->connection->server;
	bool stream = request->operation->flags & OPERATION_STREAM;
	if (stream ? server->stream_count < server->options.streams : server->call_count < server->options.calls)
		return true;
	reply_problem(&request->reply, OUTCOME_TOO_MANY_REQUESTS,
		"%u %s are under way, which is the limit; end one of them",
		stream ? server->stream_count : server->call_count, stream ? "streams" : "calls");
	return false;
}

static void call_start(struct request *request)
{
	request->counted = true;
	request->connection->server->call_count++;
	request->calling = true;
	operation_start(request->connection->server->manager, request->call);
	request->calling = false;
	if (request->answered)
		call_finish(request);
	else
		connection_suspend(request->connection);
}

/* The request is whole: answers it, or suspends the connection until the operation does. */
static enum MHD_Result dispatch(struct request *request)
{
	request->complete = true;
	connection_deadline(request->connection, USEC_INFINITY);
	if (!check_load(request))
		return MHD_YES;
	request->call = call_new(request);
	if (request->call->outcome != OUTCOME_OK) {
		reply_call(&request->reply, request->call, NULL, &request->connection->server->kept);
		call_finish(request);
	} else if (request->operation->flags & OPERATION_STREAM) {
		enum MHD_Result result = stream_start(request, request->call);
		call_finish(request);
		return result;
	} else {
		call_start(request);
	}
	return MHD_YES;
}

enum MHD_Result request_handle(struct request *request, const char *method, const char *upload, size_t *upload_size)
{
	if (!request->begun)
		return begin(request, method);
	if (*upload_size)
		return body_append(request, upload, upload_size);
	if (!request->complete && !request->reply.status) {
		enum MHD_Result result = dispatch(request);
		if (result == MHD_NO || request->stream)
			return result;
	}
	if (request->call && request->answered)
		call_finish(request);
	return request->reply.status ? send_reply(request) : MHD_YES;
}

/* --- the end --- */

void request_abandon(struct request *request)
{
	request->stream = stream_free(request->stream);
	if (!request->call)
		return;
	if (!request->answered && !request->calling)
		operation_cancel(request->connection->server->manager, request->call);
	call_finish(request);
}

struct request *request_free(struct request *request)
{
	if (!request)
		return NULL;
	request_abandon(request);
	body_release(request);
	reply_done(&request->reply);
	uri_done(&request->uri);
	free(request);
	return NULL;
}
