/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A client in the server's own loop. */

#include "tests/unit/http-client.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define PATIENCE_SECONDS 60 /* a bound for broken code */

static time_t seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

bool loop_until(sd_event *event, bool (*condition)(void *userdata), void *userdata)
{
	time_t end = seconds() + PATIENCE_SECONDS;
	while (!condition(userdata)) {
		if (seconds() > end)
			return false;
		sd_event_run(event, USEC_PER_SEC);
	}
	return true;
}

void loop_settle(sd_event *event)
{
	while (sd_event_run(event, 0) > 0)
		;
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct client *client = userdata;
	char buffer[65536];
	ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
	if (n > 0) {
		text_append_bytes(&client->in, buffer, (size_t)n);
	} else if (n == 0 || errno != EAGAIN) {
		client->closed = true;
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	}
	return 0;
}

struct client *client_new_fd(sd_event *event, int fd)
{
	struct client *client = xcalloc(1, sizeof *client);
	client->event = event;
	client->fd = fd;
	if (sd_event_add_io(event, &client->source, fd, EPOLLIN, on_readable, client) < 0)
		abort();
	return client;
}

struct client *client_new(sd_event *event, const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		abort();
	return client_new_fd(event, fd);
}

struct client *client_free(struct client *client)
{
	if (!client)
		return NULL;
	sd_event_source_disable_unref(client->source);
	close(client->fd);
	text_done(&client->in);
	free(client);
	return NULL;
}

/* The loop is turned where the socket is full; what the server refuses to take is dropped, as a real client's would be.
 */
void client_send_bytes(struct client *client, const char *bytes, size_t length)
{
	time_t end = seconds() + PATIENCE_SECONDS;
	while (length && !client->closed && seconds() <= end) {
		ssize_t n = send(client->fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return;
		if (n > 0) {
			bytes += n;
			length -= (size_t)n;
		}
		sd_event_run(client->event, n > 0 ? 0 : USEC_PER_MSEC);
	}
}

void client_send(struct client *client, const char *bytes)
{
	client_send_bytes(client, bytes, strlen(bytes));
}

char *client_joined(const struct client *client)
{
	struct text joined = TEXT_NULL;
	const char *in = client->in.length ? client->in.bytes : "", *end = strstr(in, "\r\n\r\n");
	const char *encoding = strcasestr(in, "\r\nTransfer-Encoding: chunked");
	if (!end || !encoding || encoding > end)
		return text_dup(in);
	text_append_bytes(&joined, in, (size_t)(end + 4 - in));
	for (const char *at = end + 4, *all = in + client->in.length; at < all;) {
		char *bytes;
		size_t size = strtoul(at, &bytes, 16), left;
		if (size == 0 || strncmp(bytes, "\r\n", 2) != 0)
			break;
		left = (size_t)(all - bytes) - 2;
		text_append_bytes(&joined, bytes + 2, MIN_OF(size, left));
		at = left > size + 2 ? bytes + 2 + size + 2 : all;
	}
	return text_steal(&joined);
}

static bool contains(const struct client *client, const char *text)
{
	_cleanup_free_ char *joined = client_joined(client);
	return strstr(joined, text);
}

struct expectation {
	struct client *client;
	const char *text;
	size_t length; /* bytes in all */
};

static bool has_text(void *userdata)
{
	struct expectation *expectation = userdata;
	return expectation->client->closed || contains(expectation->client, expectation->text);
}

static bool has_length(void *userdata)
{
	struct expectation *expectation = userdata;
	return expectation->client->closed || expectation->client->in.length >= expectation->length;
}

static bool is_closed(void *userdata)
{
	return ((struct client *)userdata)->closed;
}

bool client_wait_for(struct client *client, const char *text)
{
	struct expectation expectation = {client, text, 0};
	loop_until(client->event, has_text, &expectation);
	return contains(client, text);
}

bool client_wait_closed(struct client *client)
{
	return loop_until(client->event, is_closed, client);
}

/* The first LENGTH bytes of what came; they are taken. */
static char *take(struct client *client, size_t length)
{
	char *bytes = xcalloc(1, length + 1);
	if (length == 0)
		return bytes;
	memcpy(bytes, client->in.bytes, length);
	memmove(client->in.bytes, client->in.bytes + length, client->in.length - length + 1);
	client->in.length -= length;
	return bytes;
}

const char *response_header(const struct response *response, const char *name)
{
	static char value[1024];
	size_t length = strlen(name);
	for (const char *line = response->head; line && (line = strstr(line, "\r\n"));) {
		line += 2;
		if (strncasecmp(line, name, length) != 0 || line[length] != ':')
			continue;
		line += length + 1;
		line += strspn(line, " ");
		snprintf(value, sizeof value, "%.*s", (int)strcspn(line, "\r"), line);
		return value;
	}
	return NULL;
}

struct response client_receive(struct client *client, bool head)
{
	struct response response = {};
	if (!client_wait_for(client, "\r\n\r\n"))
		return response;
	const char *end = strstr(client->in.bytes, "\r\n\r\n");
	response.head = take(client, (size_t)(end - client->in.bytes) + 4);
	sscanf(response.head, "HTTP/1.%*d %d", &response.status);
	const char *length = response_header(&response, "Content-Length");
	bool bodiless = head || response.status == 304 || response.status == 204 || response.status < 200;
	struct expectation expectation = {client, NULL, bodiless ? 0 : length ? strtoul(length, NULL, 10) : SIZE_MAX};
	loop_until(client->event, has_length, &expectation);
	response.length = MIN_OF(expectation.length, client->in.length);
	response.body = take(client, response.length);
	return response;
}

void response_done(struct response *response)
{
	free(response->head);
	free(response->body);
	*response = (struct response){};
}
