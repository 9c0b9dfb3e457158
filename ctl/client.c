/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The daemon's API over its Unix socket, by libcurl. A request and the stream of events are two transfers of one multi
 * handle, so that progress can be shown while an answer is awaited. The stream is server-sent events (HTML Living
 * Standard 9.2): lines, of which `data:` ones are gathered until an empty line; ids, names and comments (heartbeats)
 * carry nothing that the data does not.
 */

#include "ctl/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>

#include "util/fields.h"
#include "util/problem.h"
#include "util/text.h"

#define BASE_URL             "http://localhost/v1"
#define DEFAULT_TIMEOUT_USEC (30 * USEC_PER_SEC)
#define BODY_MAX             (64u << 20) /* of an answer: no honest one is larger */
#define POLL_MSEC            1000

struct client {
	char *socket_path;
	bool dry_run;
	char error[CURL_ERROR_SIZE];
};

struct stream {
	struct text line, data;
	client_event on_event;
	void *userdata;
	bool ended;               /* by on_event */
	struct response *refusal; /* gathers what is no stream */
	CURL *easy;
};

/* One transfer of the multi handle. */
struct transfer {
	CURL *easy;
	struct curl_slist *headers;
	bool finished;
	CURLcode result;
};

struct client *client_new(const char *socket_path)
{
	struct client *client = xcalloc(1, sizeof *client);
	client->socket_path = text_dup(socket_path);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	return client;
}

void client_set_dry_run(struct client *client, bool dry_run)
{
	client->dry_run = dry_run;
}

struct client *client_free(struct client *client)
{
	if (!client)
		return NULL;
	curl_global_cleanup();
	free(client->socket_path);
	free(client);
	return NULL;
}

const char *client_error(const struct client *client)
{
	return client->error;
}

char *client_escape(const char *text)
{
	struct text escaped = TEXT_NULL;
	for (const unsigned char *c = (const unsigned char *)text; *c; c++)
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
			strchr("-._~", *c))
			text_append_bytes(&escaped, (const char *)c, 1);
		else
			text_append(&escaped, "%%%02X", *c);
	return text_steal(&escaped);
}

void response_done(struct response *response)
{
	free(response->body);
	json_object_put(response->json);
	*response = (struct response){};
}

static size_t gather(char *bytes, size_t size, size_t count, void *userdata)
{
	struct response *response = userdata;
	size_t length = size * count;
	if (response->length + length > BODY_MAX)
		return 0;
	response->body = xrealloc(response->body, response->length + length + 1);
	memcpy(response->body + response->length, bytes, length);
	response->length += length;
	response->body[response->length] = 0;
	return length;
}

/*
 * What a server or a file said may stand in the daemon's answers, and ends on a terminal: control characters go. The
 * body itself stays as it came; there JSON has them escaped.
 */
static void tame(json_object *value)
{
	if (json_object_is_type(value, json_type_string)) {
		_cleanup_free_ char *text =
			text_ndup(json_object_get_string(value), (size_t)json_object_get_string_len(value));
		for (unsigned char *c = (unsigned char *)text; *c; c++)
			if (*c < 0x20 || *c == 0x7f)
				c[0] = ' ';
			else if (c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* U+0080 to U+009F */
				c[0] = c[1] = ' ';
		json_object_set_string(value, text);
	} else if (json_object_is_type(value, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(value); i++)
			tame(json_object_array_get_idx(value, i));
	} else if (json_object_is_type(value, json_type_object)) {
		json_object_object_foreach (value, key, member) {
			(void)key;
			tame(member);
		}
	}
}

static void finish_response(CURL *easy, struct response *response)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	(void)curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &response->status);
	if (!response->body)
		response->body = text_dup("");
	if (json_parse_strict(response->body, response->length, &response->json, &problems) == 0)
		tame(response->json);
}

/* --- events --- */

static void end_event(struct stream *stream)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *event = NULL;
	if (stream->data.length > 0 &&
		json_parse_strict(stream->data.bytes, stream->data.length, &event, &problems) == 0) {
		tame(event);
		stream->ended = !stream->on_event(event, stream->userdata);
	}
	stream->data.length = 0;
}

static void end_line(struct stream *stream)
{
	const char *line = stream->line.bytes ? stream->line.bytes : "";
	if (stream->line.length == 0)
		end_event(stream);
	else if (strncmp(line, "data:", 5) == 0)
		text_append(&stream->data, "%s%s", stream->data.length ? "\n" : "", line + 5 + (line[5] == ' '));
	stream->line.length = 0;
	if (stream->line.bytes)
		stream->line.bytes[0] = 0;
}

static size_t take_stream(char *bytes, size_t size, size_t count, void *userdata)
{
	struct stream *stream = userdata;
	size_t length = size * count;
	long status = 0;
	(void)curl_easy_getinfo(stream->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return stream->refusal ? gather(bytes, size, count, stream->refusal) : length;
	for (size_t i = 0; i < length && !stream->ended; i++)
		if (bytes[i] == '\n')
			end_line(stream);
		else if (bytes[i] != '\r' && stream->line.length < BODY_MAX)
			text_append_bytes(&stream->line, &bytes[i], 1);
	return stream->ended ? 0 : length;
}

/* --- transfers --- */

static CURL *easy_new(struct client *client, const char *path)
{
	CURL *easy = curl_easy_init();
	_cleanup_free_ char *url = text_format(BASE_URL "%s", path);
	if (!easy)
		abort(); /* out of memory, as util/text.h has it */
	curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "holdfastctl/" PACKAGE_VERSION);
	return easy;
}

static void header(struct transfer *transfer, const char *text)
{
	transfer->headers = curl_slist_append(transfer->headers, text);
}

static void prepare_request(
	struct client *client, struct transfer *transfer, const struct request *request, struct response *response)
{
	uint64_t timeout_usec = request->timeout_usec ? request->timeout_usec : DEFAULT_TIMEOUT_USEC;
	bool dry_run = client->dry_run && strcmp(request->method, "GET") != 0;
	_cleanup_free_ char *path = text_format("%s%s%s", request->path, !dry_run ? "" : strchr(request->path, '?') ? "&" : "?", dry_run ? "dryRun=true" : "");
	transfer->easy = easy_new(client, path);
	header(transfer, "Accept: application/json, application/problem+json");
	header(transfer, "Expect:"); /* no waiting for "100 Continue" */
	if (request->if_match_any)
		header(transfer, "If-Match: *");
	if (request->body || strcmp(request->method, "POST") == 0) {
		const char *type = request->content_type ? request->content_type : "application/json";
		_cleanup_free_ char *text = text_format("Content-Type: %s", type);
		header(transfer, text);
		curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
		curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE_LARGE,
			(curl_off_t)(request->body ? request->body_length : 0));
	}
	curl_easy_setopt(transfer->easy, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, (long)(timeout_usec / USEC_PER_MSEC));
	curl_easy_setopt(transfer->easy, CURLOPT_WRITEFUNCTION, gather);
	curl_easy_setopt(transfer->easy, CURLOPT_WRITEDATA, response);
	curl_easy_setopt(transfer->easy, CURLOPT_ERRORBUFFER, client->error);
}

static void prepare_stream(struct client *client, struct transfer *transfer, const char *path, struct stream *stream)
{
	transfer->easy = stream->easy = easy_new(client, path);
	header(transfer, "Accept: text/event-stream, application/problem+json");
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(transfer->easy, CURLOPT_WRITEFUNCTION, take_stream);
	curl_easy_setopt(transfer->easy, CURLOPT_WRITEDATA, stream);
}

static void note_finished(CURLM *multi, struct transfer *transfers, size_t count)
{
	int left;
	for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));)
		for (size_t i = 0; i < count; i++)
			if (message->msg == CURLMSG_DONE && transfers[i].easy == message->easy_handle) {
				transfers[i].finished = true;
				transfers[i].result = message->data.result;
			}
}

/* Runs all TRANSFERS until the first of them has finished. */
static void run(struct transfer *transfers, size_t count)
{
	CURLM *multi = curl_multi_init();
	int running;
	for (size_t i = 0; i < count; i++)
		curl_multi_add_handle(multi, transfers[i].easy);
	while (!transfers[0].finished && curl_multi_perform(multi, &running) == CURLM_OK) {
		note_finished(multi, transfers, count);
		if (!transfers[0].finished && curl_multi_poll(multi, NULL, 0, POLL_MSEC, NULL) != CURLM_OK)
			break;
	}
	for (size_t i = 0; i < count; i++)
		curl_multi_remove_handle(multi, transfers[i].easy);
	curl_multi_cleanup(multi);
}

static void transfer_done(struct transfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	curl_slist_free_all(transfer->headers);
}

/* What came of a transfer, as client_send() promises it. */
static int judge(struct client *client, const struct transfer *transfer)
{
	long system_error = 0;
	if (transfer->finished && transfer->result == CURLE_OK)
		return 0;
	(void)curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &system_error);
	if (client->error[0] == 0)
		snprintf(client->error, sizeof client->error, "%s", curl_easy_strerror(transfer->result));
	if (transfer->result == CURLE_OPERATION_TIMEDOUT)
		return -ETIMEDOUT;
	if (transfer->result == CURLE_COULDNT_CONNECT)
		return system_error == EACCES || system_error == EPERM ? -EACCES : -ECONNREFUSED;
	return -EIO;
}

int client_send(struct client *client, const struct request *request, struct response *response, client_event on_event,
	void *userdata)
{
	struct transfer transfers[2] = {};
	struct stream stream = {.on_event = on_event, .userdata = userdata};
	client->error[0] = 0;
	prepare_request(client, &transfers[0], request, response);
	if (on_event)
		prepare_stream(client, &transfers[1], "/events", &stream);
	run(transfers, on_event ? 2 : 1);
	finish_response(transfers[0].easy, response);
	int r = judge(client, &transfers[0]);
	for (size_t i = 0; i < ELEMENTSOF(transfers); i++)
		transfer_done(&transfers[i]);
	text_done(&stream.line);
	text_done(&stream.data);
	return r;
}

int client_watch(
	struct client *client, const char *query, client_event on_event, void *userdata, struct response *response)
{
	struct transfer transfer = {};
	struct stream stream = {.on_event = on_event, .userdata = userdata, .refusal = response};
	_cleanup_free_ char *path = text_format("/events%s", query);
	client->error[0] = 0;
	prepare_stream(client, &transfer, path, &stream);
	run(&transfer, 1);
	finish_response(transfer.easy, response);
	int r = stream.ended ? 0 : judge(client, &transfer);
	transfer_done(&transfer);
	text_done(&stream.line);
	text_done(&stream.data);
	return r;
}
