/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Both ends of a comparison over a Unix socket:
 *
 *   http-load serve PATH SIZE TYPE              the least that libmicrohttpd can answer: SIZE bytes, always the same
 *   http-load ask PATH TARGET CONNECTIONS COUNT asks COUNT times, each connection again as soon as it has its answer
 *
 * What `ask` prints is one line of JSON: answers a second, and of the time that one took the median and the 99th percentile, in µs.
 */

#include <fcntl.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/bench/measure.h"
#include "util/text.h"

#define CONNECTIONS_MAX 64
#define ANSWER_MAX (64u << 10)

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strncpy(address.sun_path, path, sizeof address.sun_path - 1);
	return address;
}

/* ---- serve ---- */

struct body {
	char *bytes;
	size_t length;
	const char *type;
};

static enum MHD_Result answer(void *userdata, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
	const char *upload, size_t *upload_size, void **context)
{
	const struct body *body = userdata;
	static int begun;
	if (!*context) {
		*context = &begun;
		return MHD_YES;
	}
	struct MHD_Response *response = MHD_create_response_from_buffer(body->length, body->bytes, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, body->type);
	enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return result;
}

/* One thread, as the daemon has one. */
static int serve(const char *path, const char *size, const char *type)
{
	struct body body = {.length = strtoul(size, NULL, 10), .type = type};
	struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	body.bytes = xcalloc(1, body.length + 1);
	memset(body.bytes, 'x', body.length);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, SOMAXCONN) < 0)
		die(path);
	struct MHD_Daemon *daemon = MHD_start_daemon(
		MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, answer, &body, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_END);
	if (!daemon)
		die("libmicrohttpd");
	puts("ready");
	fflush(stdout);
	(void)getchar(); /* until whoever began this goes */
	MHD_stop_daemon(daemon);
	free(body.bytes);
	return EXIT_SUCCESS;
}

/* ---- ask ---- */

struct asker {
	int fd;
	uint64_t begun_nsec;
	size_t length, expected; /* of the answer; expected 0: its head is not whole */
	char bytes[ANSWER_MAX];
};

static void ask(struct asker *asker, const char *request, size_t length)
{
	asker->length = asker->expected = 0;
	asker->begun_nsec = now_nsec();
	if (write(asker->fd, request, length) != (ssize_t)length)
		die("asking");
}

/* Whether the answer is whole. */
static bool take(struct asker *asker)
{
	ssize_t taken = read(asker->fd, asker->bytes + asker->length, ANSWER_MAX - 1 - asker->length);
	if (taken <= 0)
		die("answer");
	asker->length += (size_t)taken;
	asker->bytes[asker->length] = 0;
	char *end = strstr(asker->bytes, "\r\n\r\n"), *length = strcasestr(asker->bytes, "\r\nContent-Length:");
	if (!asker->expected && end && length) {
		if (strncmp(asker->bytes, "HTTP/1.1 200", 12) != 0)
			die(asker->bytes);
		asker->expected = (size_t)(end + 4 - asker->bytes) + strtoul(length + 17, NULL, 10);
	}
	return asker->expected && asker->length >= asker->expected;
}

static void report(double *times, size_t count, double took_usec)
{
	printf("{\"perSecond\": %.0f, \"p50\": %.1f, \"p99\": %.1f}\n", (double)count * 1e6 / took_usec, median(times, count),
		quantile(times, count, 99));
}

static int ask_all(const char *path, const char *target, size_t connections, size_t count)
{
	struct asker *askers = xcalloc(connections, sizeof *askers);
	double *times = xcalloc(count, sizeof *times);
	_cleanup_free_ char *request = text_format("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target);
	struct sockaddr_un address = address_of(path);
	size_t asked = 0, answered = 0, length = strlen(request);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t begun = now_nsec();
	for (size_t i = 0; i < connections; i++, asked++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &askers[i]};
		askers[i].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (askers[i].fd < 0 || connect(askers[i].fd, (struct sockaddr *)&address, sizeof address) < 0 ||
			epoll_ctl(epoll, EPOLL_CTL_ADD, askers[i].fd, &event) < 0)
			die(path);
		ask(&askers[i], request, length);
	}
	while (answered < count) {
		struct epoll_event events[CONNECTIONS_MAX];
		int ready = epoll_wait(epoll, events, CONNECTIONS_MAX, 10000);
		if (ready <= 0)
			die("waiting");
		for (int i = 0; i < ready && answered < count; i++) {
			struct asker *asker = events[i].data.ptr;
			if (!take(asker))
				continue;
			times[answered++] = usec_since(asker->begun_nsec);
			if (asked < count) {
				ask(asker, request, length);
				asked++;
			}
		}
	}
	report(times, count, usec_since(begun));
	for (size_t i = 0; i < connections; i++)
		close(askers[i].fd);
	close(epoll);
	free(times);
	free(askers);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2], argv[3], argv[4]);
	size_t connections = argc == 6 ? strtoul(argv[4], NULL, 10) : 0, count = argc == 6 ? strtoul(argv[5], NULL, 10) : 0;
	if (connections > 0 && connections <= CONNECTIONS_MAX && count >= connections && strcmp(argv[1], "ask") == 0)
		return ask_all(argv[2], argv[3], connections, count);
	fputs("usage: http-load serve PATH SIZE TYPE | http-load ask PATH TARGET CONNECTIONS COUNT\n", stderr);
	return 2;
}
