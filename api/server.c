/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * libmicrohttpd inside an sd-event loop, without threads of its own. Its epoll descriptor is a source of the loop.
 * Before the loop sleeps, libmicrohttpd is asked how long it may: its sockets are edge-triggered inside its own epoll
 * set, so data that it has read but not yet dealt with shows as a timeout of 0, never as a readable descriptor.
 * Connections that it suspended and that we resume show as neither; for those `wake` runs it.
 *
 * Its own timeouts measure inactivity, which a client that sends a byte a second evades. So each connection has a
 * deadline of ours. libmicrohttpd has no call that ends a connection; shutting its socket down makes it notice.
 */

#include "api/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "api/arguments.h"
#include "api/internal.h"
#include "api/tls.h"
#include "util/log.h"

#define HEADERS_MAX         (8u << 10)  /* bytes of memory per connection; its request's headers must fit in */
#define EVICTION_MARGIN     8           /* so many below the limit, silent connections begin to make room */
#define STALLED_SECONDS     60u         /* libmicrohttpd's own timeout: a stream whose client does not read */
#define SERVED_AT_ONCE      32u         /* requests, before whatever else the loop has gets its turn */
#define LISTEN_BACKLOG      128u
#define TLS_OPTIONS         5
#define TLS_PRIORITIES      "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"
#define DEFAULT_OPENAPI     DATADIR "/holdfast/openapi.yaml"
#define TIMER_ACCURACY_USEC USEC_PER_MSEC

/* --- connections --- */

const char *connection_header(struct connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection->mhd, MHD_HEADER_KIND, name);
}

void connection_deadline(struct connection *connection, uint64_t in_usec)
{
	connection->deadline_usec = in_usec == USEC_INFINITY ? USEC_INFINITY : woken_usec(connection->server) + in_usec;
}

static int on_hangup(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct connection *connection = userdata;
	connection->gone = true;
	if (connection->request)
		request_abandon(connection->request);
	connection_resume(connection);
	return 0;
}

void connection_suspend(struct connection *connection)
{
	struct api_server *server = connection->server;
	connection->suspended = true;
	MHD_suspend_connection(connection->mhd);
	int r = sd_event_add_io(server->event, &connection->hangup, connection->fd, server->transport->hangup_events,
		on_hangup, connection);
	if (r >= 0)
		r = sd_event_source_set_priority(connection->hangup, FRONTS_PRIORITY);
	if (r < 0)
		log_warning("api: a connection cannot be watched for its end: %s", strerror(-r));
}

void connection_resume(struct connection *connection)
{
	if (!connection->suspended)
		return;
	connection->suspended = false;
	connection->hangup = sd_event_source_disable_unref(connection->hangup);
	MHD_resume_connection(connection->mhd);
	sd_event_source_set_enabled(connection->server->wake, SD_EVENT_ONESHOT);
}

/* Ends a connection that libmicrohttpd reads from or writes to; it notices on its next run. */
static void connection_end(struct connection *connection, const char *why)
{
	log_debug("api: ending a connection: %s", why);
	connection->gone = true;
	connection->deadline_usec = USEC_INFINITY;
	shutdown(connection->fd, SHUT_RDWR);
}

static bool is_silent(const struct connection *connection)
{
	return !connection->gone && (!connection->request || !connection->request->complete);
}

/* The connection that has waited longest for its client to say something makes room: whoever speaks at once is served.
 */
static void make_room(struct api_server *server)
{
	struct connection *connection, *longest = NULL;
	TAILQ_FOREACH(connection, &server->connections, entry)
	if (is_silent(connection) && (!longest || connection->since_usec < longest->since_usec))
		longest = connection;
	if (longest)
		connection_end(longest, "it was silent, and others want in");
}

static struct connection *connection_new(struct api_server *server, struct MHD_Connection *mhd)
{
	struct connection *connection = xcalloc(1, sizeof *connection);
	connection->server = server;
	connection->mhd = mhd;
	connection->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	connection->since_usec = woken_usec(connection->server);
	connection_deadline(connection, server->options.request_usec);
	if (server->connection_count + EVICTION_MARGIN >= server->options.connections)
		make_room(server);
	TAILQ_INSERT_TAIL(&server->connections, connection, entry);
	server->connection_count++;
	server->full = server->full || server->connection_count >= server->options.connections;
	return connection;
}

static struct connection *connection_free(struct connection *connection)
{
	TAILQ_REMOVE(&connection->server->connections, connection, entry);
	connection->server->connection_count--;
	sd_event_source_disable_unref(connection->hangup);
	if (connection->peer.pidfd > 0)
		close(connection->peer.pidfd);
	free(connection);
	return NULL;
}

/* --- what libmicrohttpd calls --- */

static void on_connection(
	void *userdata, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED)
		*context = connection_new(userdata, mhd);
	else if (*context)
		*context = connection_free(*context);
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* The first line was read. What is returned here is the request's context from now on. */
static void *on_target(void *userdata, const char *target, struct MHD_Connection *mhd)
{
	struct connection *connection = connection_of(mhd);
	connection->request = request_new(connection, target);
	connection_deadline(connection, connection->server->options.request_usec);
	return connection->request;
}

static enum MHD_Result on_access(void *userdata, struct MHD_Connection *mhd, const char *url, const char *method,
	const char *version, const char *upload, size_t *upload_size, void **context)
{
	struct request *request = *context;
	if (!request || request->connection->gone || request->connection->server->stopping)
		return MHD_NO;
	return request_handle(request, method, upload, upload_size);
}

static void on_completed(
	void *userdata, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
	struct connection *connection = connection_of(mhd);
	*context = request_free(*context);
	connection->request = NULL;
	connection->server->served++;
	connection->since_usec = woken_usec(connection->server);
	if (!connection->gone)
		connection_deadline(connection, connection->server->options.idle_usec);
}

static _printf_(2, 0) void on_log(void *userdata, const char *format, va_list arguments)
{
	_cleanup_free_ char *line = text_vformat(format, arguments);
	log_debug("api: libmicrohttpd: %.*s", (int)strcspn(line, "\n"), line);
}

/* --- the loop --- */

static void end_late(struct api_server *server)
{
	struct connection *connection;
	uint64_t now = clock_usec(CLOCK_MONOTONIC);
	TAILQ_FOREACH(connection, &server->connections, entry)
	if (connection->deadline_usec <= now && !connection->suspended)
		connection_end(connection, "it took too long");
}

/*
 * At its limit of connections libmicrohttpd takes its listening socket out of its epoll set, and puts it back only at the beginning of
 * the run after the one that let go of a connection. Nothing begins that one where all who are left are silent: so we do.
 */
static void run(struct api_server *server)
{
	MHD_run(server->daemon);
	if (!server->full || server->connection_count >= server->options.connections)
		return;
	server->full = false;
	MHD_run(server->daemon);
}

/*
 * What came while the last round was served is served at once: a turn of the loop costs several system calls, which clients that ask
 * again and again then share. Bounded, so that the rest of the daemon has its turn.
 */
static void serve(struct api_server *server)
{
	unsigned until = server->served + SERVED_AT_ONCE, before;
	do {
		before = server->served;
		run(server);
	} while (server->served != before && (int)(until - server->served) > 0);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	serve(userdata);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct api_server *server = userdata;
	end_late(server);
	run(server);
	return 0;
}

static int on_wake(sd_event_source *source, void *userdata)
{
	run(userdata);
	return 0;
}

static uint64_t next_time(struct api_server *server)
{
	struct connection *connection;
	MHD_UNSIGNED_LONG_LONG msec;
	uint64_t next = USEC_INFINITY;
	if (MHD_get_timeout(server->daemon, &msec) == MHD_YES)
		next = clock_usec(CLOCK_MONOTONIC) + msec * USEC_PER_MSEC;
	TAILQ_FOREACH(connection, &server->connections, entry)
	next = MIN_OF(next, connection->deadline_usec);
	return next;
}

static int on_prepare(sd_event_source *source, void *userdata)
{
	struct api_server *server = userdata;
	uint64_t next = next_time(server);
	if (next == USEC_INFINITY)
		return sd_event_source_set_enabled(server->timer, SD_EVENT_OFF);
	int r = sd_event_source_set_time(server->timer, next);
	return r < 0 ? r : sd_event_source_set_enabled(server->timer, SD_EVENT_ONESHOT);
}

/* --- starting and ending --- */

static int add_sources(struct api_server *server)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	int r;
	if (!info)
		return -EOPNOTSUPP;
	if ((r = sd_event_add_defer(server->event, &server->wake, on_wake, server)) < 0 ||
		(r = sd_event_source_set_enabled(server->wake, SD_EVENT_OFF)) < 0 ||
		(r = sd_event_add_time(server->event, &server->timer, CLOCK_MONOTONIC, 0, TIMER_ACCURACY_USEC, on_timer,
			 server)) < 0 ||
		(r = sd_event_source_set_enabled(server->timer, SD_EVENT_OFF)) < 0 ||
		(r = sd_event_add_io(server->event, &server->io, info->epoll_fd, EPOLLIN, on_io, server)) < 0 ||
		(r = sd_event_source_set_priority(server->wake, FRONTS_PRIORITY)) < 0 ||
		(r = sd_event_source_set_priority(server->timer, FRONTS_PRIORITY)) < 0 ||
		(r = sd_event_source_set_priority(server->io, FRONTS_PRIORITY)) < 0)
		return r;
	return sd_event_source_set_prepare(server->io, on_prepare);
}

/* What libmicrohttpd is told beyond what every server is: nothing, or what TLS takes. It keeps the strings. */
static void tls_options(const struct api_server *server, struct MHD_OptionItem items[static TLS_OPTIONS])
{
	size_t count = 0;
	if (server->tls) {
		items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)tls_certificate(server->tls)};
		items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)tls_key(server->tls)};
		items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES};
	}
	if (server->tls && tls_client_ca(server->tls))
		items[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, (void *)tls_client_ca(server->tls)};
	items[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

static int start_daemon(struct api_server *server, int fd)
{
	struct MHD_OptionItem tls[TLS_OPTIONS];
	tls_options(server, tls);
	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (server->tls ? MHD_USE_TLS : MHD_NO_FLAG), 0, NULL, NULL,
		on_access, server, MHD_OPTION_EXTERNAL_LOGGER, on_log, server, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd,
		MHD_OPTION_LISTEN_BACKLOG_SIZE, LISTEN_BACKLOG, MHD_OPTION_CONNECTION_LIMIT,
		server->options.connections, MHD_OPTION_CONNECTION_TIMEOUT, STALLED_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
		MHD_OPTION_URI_LOG_CALLBACK, on_target, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
		MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	return server->daemon ? 0 : -ENOTRECOVERABLE;
}

/* A row that requests cannot say is a mistake of ours; it shows at the start, never at a request. */
static int check_table(void)
{
	size_t count;
	const struct operation *operations = operations_all(&count);
	for (size_t i = 0; i < count; i++)
		if (!arguments_readable(&operations[i])) {
			log_error("api: %s has a parameter of a type that requests cannot say", operations[i].name);
			return -EINVAL;
		}
	return 0;
}

static struct api_options with_defaults(struct api_options options)
{
#define DEFAULT(member, value) options.member = options.member ? options.member : (value)
	DEFAULT(openapi, DEFAULT_OPENAPI);
	DEFAULT(connections, 256);
	DEFAULT(streams, 32);
	DEFAULT(calls, 64);
	DEFAULT(bodies, 16u << 20);
	DEFAULT(stream_queue, 256u << 10);
	DEFAULT(request_usec, 10 * USEC_PER_SEC);
	DEFAULT(idle_usec, 60 * USEC_PER_SEC);
	DEFAULT(heartbeat_usec, 15 * USEC_PER_SEC);
#undef DEFAULT
	return options;
}

/* libmicrohttpd may close the descriptor it was given even where it fails; a copy keeps the caller's until it has
 * started. */
static int start(struct api_server *server, int fd)
{
	_cleanup_close_ int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	int r = start_daemon(server, copy);
	if (r < 0)
		return r;
	copy = -1;
	return add_sources(server);
}

static struct api_server *server_new(
	sd_event *event, struct manager *manager, const struct transport *transport, const struct api_options *options)
{
	struct api_server *server = xcalloc(1, sizeof *server);
	server->event = sd_event_ref(event);
	server->manager = manager;
	server->options = with_defaults(*options);
	server->transport = transport;
	TAILQ_INIT(&server->connections);
	signal(SIGPIPE, SIG_IGN); /* sendfile() has no flag for it */
	return server;
}

/* Takes SERVER, and FD on success. */
static int server_begin(struct api_server **ret, struct api_server *server, int fd)
{
	int r = check_table();
	if (r == 0)
		r = start(server, fd);
	if (r < 0) {
		api_server_free(server);
		return r;
	}
	close(fd);
	*ret = server;
	return 0;
}

int api_server_new_unix_full(struct api_server **ret, sd_event *event, struct manager *manager, int fd, gid_t gid,
	const struct api_options *options)
{
	struct api_server *server = server_new(event, manager, &transport_unix, options);
	server->gid = gid;
	return server_begin(ret, server, fd);
}

int api_server_new_tcp(struct api_server **ret, sd_event *event, struct manager *manager, int fd, struct configuration *configuration,
	struct tls *tls, const struct api_options *options)
{
	struct api_server *server = server_new(event, manager, &transport_tcp, options);
	server->configuration = configuration_ref(configuration);
	server->tls = tls;
	return server_begin(ret, server, fd);
}

bool api_server_drain(struct api_server *server)
{
	if (!server->draining)
		(void)MHD_quiesce_daemon(server->daemon);
	server->draining = true;
	return server->connection_count == 0;
}

int api_server_new_unix(struct api_server **ret, sd_event *event, struct manager *manager, int fd, gid_t gid)
{
	return api_server_new_unix_full(ret, event, manager, fd, gid, &(struct api_options){});
}

struct api_server *api_server_free(struct api_server *server)
{
	struct connection *connection;
	if (!server)
		return NULL;
	server->stopping = true;
	TAILQ_FOREACH(connection, &server->connections, entry)
	{
		if (connection->request)
			request_abandon(connection->request);
		connection_resume(
			connection); /* stopping with suspended connections is a fatal error of libmicrohttpd's */
	}
	sd_event_source_disable_unref(server->io);
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	sd_event_source_disable_unref(server->timer);
	sd_event_source_disable_unref(server->wake);
	sd_event_unref(server->event);
	kept_answer_unref(server->kept);
	configuration_unref(server->configuration);
	tls_free(server->tls);
	free(server);
	return NULL;
}
