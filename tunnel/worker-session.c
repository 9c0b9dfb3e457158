/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * All that the worker has to tell is in `state`, a hello in the making: every callback of the driver goes into it first
 * and then out as a message of its own. So nothing is queued for a daemon that is not there, and nothing is lost with
 * it either.
 *
 * Signals: SIGTERM is for the daemon to answer, which ends workers in its own order; alone, without a daemon, the
 * worker obeys it and ends its session (the gate does not depend on it).
 */

#include "tunnel/worker-session.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "tunnel/config.h"
#include "tunnel/driver.h"
#include "tunnel/packet-queue.h"
#include "tunnel/worker.h"
#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"
#include "util/timestamp.h"

#define RETRY_FIRST_USEC (5 * USEC_PER_MSEC)
#define RETRY_LAST_USEC  USEC_PER_SEC
#define ORPHAN_USEC      (30 * USEC_PER_SEC) /* with nothing to hold and nobody to ask, a worker ends */

struct worker_session {
	sd_event *event;
	char *socket_path;
	char *folder; /* of the socket */
	struct worker_hello state;
	struct tunnel_traffic traffic;
	int fd; /* -1: no daemon */
	sd_event_source *io;
	struct packet_queue queue;
	uint64_t sent_usec; /* when the daemon last heard of us */
	sd_event_source *heartbeat;
	sd_event_source *retry;
	uint64_t retry_usec;
	uint64_t alone_usec; /* since when there is no daemon */
	int inotify_fd;
	sd_event_source *inotify;
	sd_event_source *terminate;
	struct driver_host host;
	const struct driver *driver;
	struct driver_session *driver_session;
	json_object *document;
	int tun_fd, control_fd;
	bool stopping; /* the end was asked for */
	bool finished; /* and is reached: nothing but `stopped` is left to tell */
};

/* Connection */

static void disconnect(struct worker_session *session)
{
	session->io = sd_event_source_disable_unref(session->io);
	closep(&session->fd);
	packet_queue_done(&session->queue); /* hello will say it all again */
	if (session->finished) {
		sd_event_exit(session->event, 0);
		return;
	}
	session->alone_usec = clock_usec(CLOCK_MONOTONIC);
	session->retry_usec = RETRY_FIRST_USEC;
	sd_event_source_set_time_relative(session->retry, RETRY_FIRST_USEC);
	sd_event_source_set_enabled(session->retry, SD_EVENT_ONESHOT);
}

static void flush(struct worker_session *session)
{
	if (packet_queue_flush(&session->queue, session->fd) < 0) {
		disconnect(session);
		return;
	}
	sd_event_source_set_io_events(session->io, EPOLLIN | (session->queue.count ? EPOLLOUT : 0));
	if (session->finished && !session->queue.count)
		sd_event_exit(session->event, 0);
}

static void tell(struct worker_session *session, const struct worker_message *message)
{
	if (session->fd < 0)
		return;
	session->sent_usec = clock_usec(CLOCK_MONOTONIC);
	if (packet_queue_push(&session->queue, worker_message_encode(message), NULL, 0) < 0)
		disconnect(session); /* the daemon does not read: the next one gets a hello */
	else
		flush(session);
}

static void tell_traffic(struct worker_session *session)
{
	/* The one message that is told again and again: it may be left out where others wait already. */
	if (session->queue.count == 0)
		tell(session, &(struct worker_message){.type = WORKER_MESSAGE_TRAFFIC, .traffic = session->traffic});
}

/* What the driver says */

static void set_phase(struct worker_session *session, enum worker_phase phase)
{
	log_debug("%s: %s -> %s", session->state.tunnel, worker_phase_to_string(session->state.phase),
	        worker_phase_to_string(phase));
	session->state.phase = phase;
	if (phase != WORKER_UP) {
		session->state.network = (struct tunnel_network){};
		session->state.up_since_usec = 0;
	}
}

static void host_contacting(void *worker, const struct endpoint *endpoint)
{
	struct worker_session *session = worker;
	set_phase(session, WORKER_CONTACTING);
	session->state.endpoint = *endpoint;
	tell(session, &(struct worker_message){
	                      .type = WORKER_MESSAGE_CONTACTING,
	                      .attempt = session->state.attempt,
	                      .endpoint_index = session->state.endpoint_index,
	                      .endpoint = *endpoint,
	              });
}

static void host_up(void *worker, const struct tunnel_network *network)
{
	struct worker_session *session = worker;
	set_phase(session, WORKER_UP);
	session->state.network = *network;
	session->state.endpoint = network->endpoint;
	session->state.up_since_usec = clock_usec(CLOCK_BOOTTIME);
	tell(session, &(struct worker_message){
	                      .type = WORKER_MESSAGE_UP, .attempt = session->state.attempt, .network = *network});
}

static void host_ask_device(void *worker, enum device_request request)
{
	struct worker_session *session = worker;
	tell(session, &(struct worker_message){
	                      .type = WORKER_MESSAGE_ASK_DEVICE, .attempt = session->state.attempt, .request = request});
}

static void host_traffic(void *worker, const struct tunnel_traffic *traffic)
{
	struct worker_session *session = worker;
	session->traffic = *traffic;
	tell_traffic(session);
}

static void host_will_stop(void *worker, enum tunnel_error error, const char *detail)
{
	struct worker_session *session = worker;
	if (session->stopping)
		return; /* `stopped` follows anyway */
	set_phase(session, WORKER_STOPPED);
	session->state.error = error;
	worker_detail_set(session->state.detail, detail);
	log_info("%s: stopped by itself: %s (%s)", session->state.tunnel, tunnel_error_to_string(error),
	        session->state.detail);
	struct worker_message message = {
	        .type = WORKER_MESSAGE_WILL_STOP, .attempt = session->state.attempt, .error = error};
	memcpy(message.detail, session->state.detail, sizeof message.detail);
	tell(session, &message);
}

static void host_need_credentials(void *worker, const char *names, const struct worker_challenge *challenge)
{
	struct worker_session *session = worker;
	set_phase(session, WORKER_ASKING);
	worker_detail_set(session->state.detail, names);
	session->state.challenge = challenge ? *challenge : (struct worker_challenge){};
	struct worker_message message = {.type = WORKER_MESSAGE_NEED_CREDENTIALS, .attempt = session->state.attempt};
	memcpy(message.detail, session->state.detail, sizeof message.detail);
	message.challenge = session->state.challenge;
	tell(session, &message);
}

static void close_driver(struct worker_session *session)
{
	if (session->driver_session)
		session->driver->close(session->driver_session);
	session->driver_session = NULL;
	session->driver = NULL;
	closep(&session->tun_fd);
	closep(&session->control_fd);
	json_wipe(session->document);
	json_object_put(session->document);
	session->document = NULL;
}

/* Said from the turn of the loop after, when the driver is not in the middle of something any more. */
static int finish(sd_event_source *source, void *userdata)
{
	struct worker_session *session = userdata;
	close_driver(session);
	set_phase(session, WORKER_STOPPED);
	session->finished = true;
	if (session->fd < 0)
		sd_event_exit(session->event, 0);
	else
		tell(session,
		        &(struct worker_message){.type = WORKER_MESSAGE_STOPPED, .attempt = session->state.attempt});
	return 0;
}

static void host_stopped(void *worker)
{
	struct worker_session *session = worker;
	sd_event_source *source = NULL;
	if (sd_event_add_defer(session->event, &source, finish, session) < 0)
		sd_event_exit(session->event, EXIT_FAILURE);
	else
		sd_event_source_set_floating(source, true);
	sd_event_source_unref(source);
}

/* What the daemon says */

static void start_failed(struct worker_session *session, int error)
{
	host_will_stop(session, error == -EINVAL ? TUNNEL_ERROR_BAD_CONFIGURATION : TUNNEL_ERROR_WORKER_START_FAILED,
	        strerror(-error));
}

static void begin(struct worker_session *session, size_t endpoint, const struct worker_resolvers *resolvers)
{
	session->state.endpoint_index = endpoint;
	session->state.endpoint = (struct endpoint){};
	session->state.error = TUNNEL_ERROR_NONE;
	session->state.detail[0] = 0;
	set_phase(session, WORKER_IDLE);
	int r = session->driver->start(session->driver_session, endpoint, resolvers);
	if (r < 0)
		start_failed(session, r);
}

static void handle_start(struct worker_session *session, struct worker_message *message, const int *fds)
{
	size_t taken = 0;
	json_object *name = NULL;
	close_driver(session);
	session->traffic = (struct tunnel_traffic){};
	session->document = STEAL(message->tunnel);
	session->tun_fd = message->has_tun ? fds[taken++] : -1;
	session->control_fd = message->has_control ? fds[taken] : -1;
	json_object_object_get_ex(session->document, "driver", &name);
	const struct driver *driver =
	        json_object_is_type(name, json_type_string) ? driver_find(json_object_get_string(name)) : NULL;
	if (!driver) {
		host_will_stop(
		        session, TUNNEL_ERROR_BAD_CONFIGURATION, "the tunnel's driver is not known to this worker");
		return;
	}
	const struct worker_start start = {
	        .tunnel = session->document,
	        .endpoint = message->endpoint_index,
	        .resolvers = message->resolvers,
	        .mark = message->mark,
	        .tun_fd = session->tun_fd,
	        .control_fd = session->control_fd,
	};
	int r = driver->open(&session->host, &start, &session->driver_session);
	if (r < 0) {
		start_failed(session, r);
		return;
	}
	session->driver = driver;
	begin(session, message->endpoint_index, &message->resolvers);
}

static void proceed(struct worker_session *session)
{
	set_phase(session, WORKER_CONNECTING);
	int r = session->driver->proceed(session->driver_session);
	if (r < 0)
		start_failed(session, r);
}

static void take_credentials(struct worker_session *session, json_object *credentials)
{
	session->state.detail[0] = 0;
	set_phase(session, WORKER_IDLE);
	int r = session->driver->credentials ? session->driver->credentials(session->driver_session, credentials)
	                                     : -EOPNOTSUPP;
	if (r < 0)
		start_failed(session, r);
}

static void take_device_answer(struct worker_session *session, const struct worker_message *message)
{
	struct device_answer answer = {.request = message->request, .error = message->error, .traffic = message->traffic};
	memcpy(answer.detail, message->detail, sizeof answer.detail);
	if (message->attempt == session->state.attempt && session->driver_session && session->driver->device_answered)
		session->driver->device_answered(session->driver_session, &answer);
}

static void handle_stop(struct worker_session *session)
{
	session->stopping = true;
	if (session->driver_session)
		session->driver->stop(session->driver_session);
	else
		host_stopped(session);
}

static void handle(struct worker_session *session, struct worker_message *message, const int *fds)
{
	switch (message->type) {
	case WORKER_MESSAGE_START:
		session->state.attempt = message->attempt;
		handle_start(session, message, fds);
		break;
	case WORKER_MESSAGE_RESTART:
		session->state.attempt = message->attempt;
		if (session->driver_session)
			begin(session, message->endpoint_index, &message->resolvers);
		else
			host_will_stop(session, TUNNEL_ERROR_NOT_CONFIGURED, "there is no session to restart");
		break;
	case WORKER_MESSAGE_PROCEED:
		if (message->attempt == session->state.attempt && session->state.phase == WORKER_CONTACTING)
			proceed(session);
		break;
	case WORKER_MESSAGE_STOP:
		session->state.attempt = message->attempt;
		handle_stop(session);
		break;
	case WORKER_MESSAGE_CREDENTIALS:
		if (session->state.phase == WORKER_ASKING)
			take_credentials(session, message->credentials);
		break;
	case WORKER_MESSAGE_DEVICE:
		take_device_answer(session, message);
		break;
	case WORKER_MESSAGE_HELLO:
	case WORKER_MESSAGE_CONTACTING:
	case WORKER_MESSAGE_NEED_CREDENTIALS:
	case WORKER_MESSAGE_UP:
	case WORKER_MESSAGE_TRAFFIC:
	case WORKER_MESSAGE_ASK_DEVICE:
	case WORKER_MESSAGE_WILL_STOP:
	case WORKER_MESSAGE_STOPPED:
		disconnect(session); /* nothing that this worker, with this driver, could be told */
		break;
	}
}

/* Reads one packet with its descriptors. Returns its length, 0 at the end, or a negative errno. */
static ssize_t receive(int fd, char *buffer, int fds[PACKET_FDS_MAX], size_t *ret_fd_count)
{
	struct iovec part = {.iov_base = buffer, .iov_len = WORKER_MESSAGE_MAX};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int) * PACKET_FDS_MAX)];
	} control = {};
	struct msghdr message = {
	        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	*ret_fd_count = 0;
	if (length < 0)
		return -errno;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
		*ret_fd_count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), *ret_fd_count * sizeof(int));
	}
	return message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EMSGSIZE : length;
}

static bool descriptors_fit(const struct worker_message *message, size_t fd_count)
{
	return fd_count == (size_t)message->has_tun + message->has_control; /* both false but in `start` */
}

static int on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct worker_session *session = userdata;
	int fds[PACKET_FDS_MAX];
	size_t fd_count;
	struct worker_message message = {};
	if (events & EPOLLOUT)
		flush(session);
	if (session->fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
		return 0;
	char *buffer = xcalloc(1, WORKER_MESSAGE_MAX);
	ssize_t length = receive(fd, buffer, fds, &fd_count);
	bool good = length > 0 && worker_message_decode(buffer, (size_t)length, &message) == 0;
	if (good && descriptors_fit(&message, fd_count)) {
		handle(session, &message, fds);
	} else {
		for (size_t i = 0; i < fd_count; i++)
			closep(&fds[i]);
		if (length != -EAGAIN && length != -EINTR)
			disconnect(session);
	}
	worker_message_done(&message);
	wipe(buffer, WORKER_MESSAGE_MAX);
	free(buffer);
	return 0;
}

static int try_connect(struct worker_session *session)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(session->socket_path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, session->socket_path);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	int r = sd_event_add_io(session->event, &session->io, fd, EPOLLIN, on_packet, session);
	if (r < 0)
		return r;
	session->fd = STEAL_FD(fd);
	return 0;
}

/* The folder may have been made anew with the daemon; watching it again costs nothing where it is watched already. */
static void watch_folder(struct worker_session *session)
{
	if (session->inotify_fd >= 0)
		(void)inotify_add_watch(session->inotify_fd, session->folder, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct worker_session *session = userdata;
	if (session->fd >= 0)
		return 0;
	watch_folder(session); /* before the attempt, so that a name that comes after it is seen */
	if (try_connect(session) == 0) {
		tell(session, &(struct worker_message){.type = WORKER_MESSAGE_HELLO, .hello = session->state});
		return 0;
	}
	if (!session->driver_session && clock_usec(CLOCK_MONOTONIC) - session->alone_usec > ORPHAN_USEC) {
		sd_event_exit(session->event, 0);
		return 0;
	}
	sd_event_source_set_time_relative(session->retry, session->retry_usec);
	sd_event_source_set_enabled(session->retry, SD_EVENT_ONESHOT);
	session->retry_usec = MIN_OF(session->retry_usec * 2, RETRY_LAST_USEC);
	return 0;
}

static int on_folder(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct worker_session *session = userdata;
	char buffer[4096];
	while (read(fd, buffer, sizeof buffer) > 0)
		; /* that something came is all that is asked */
	if (session->fd >= 0)
		return 0;
	session->retry_usec = RETRY_FIRST_USEC;
	sd_event_source_set_time_relative(session->retry, 0);
	return sd_event_source_set_enabled(session->retry, SD_EVENT_ONESHOT);
}

static int on_heartbeat(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct worker_session *session = userdata;
	if (session->fd >= 0 && clock_usec(CLOCK_MONOTONIC) - session->sent_usec >= WORKER_HEARTBEAT_USEC / 2)
		tell_traffic(session);
	sd_event_source_set_time_relative(source, WORKER_HEARTBEAT_USEC / 2);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct worker_session *session = userdata;
	if (session->fd < 0 && !session->stopping)
		handle_stop(session);
	return 0;
}

static int add_sources(struct worker_session *session)
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	int r = sd_event_add_signal(session->event, &session->terminate, SIGTERM, on_terminate, session);
	if (r >= 0)
		r = sd_event_add_time_relative(
		        session->event, &session->retry, CLOCK_MONOTONIC, 0, 1000, on_retry, session);
	if (r >= 0)
		r = sd_event_add_time_relative(session->event, &session->heartbeat, CLOCK_MONOTONIC,
		        WORKER_HEARTBEAT_USEC / 2, 100 * USEC_PER_MSEC, on_heartbeat, session);
	/* Without a watch (the folder may be one that a worker can search but not read) the timer alone finds the
	 * daemon. */
	session->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (r >= 0 && session->inotify_fd >= 0)
		r = sd_event_add_io(
		        session->event, &session->inotify, session->inotify_fd, EPOLLIN, on_folder, session);
	return r;
}

int worker_session_new(
        struct worker_session **ret, sd_event *event, const char *tunnel, const char *socket_path, const char *nonce)
{
	const char *slash = strrchr(socket_path, '/');
	size_t nonce_length = WORKER_NONCE_SIZE * 2;
	if (!tunnel_id_valid(tunnel) || !slash || strlen(nonce) != nonce_length ||
	        strspn(nonce, "0123456789abcdef") != nonce_length)
		return -EINVAL;
	struct worker_session *session = xcalloc(1, sizeof *session);
	*session = (struct worker_session){
	        .event = sd_event_ref(event),
	        .socket_path = text_dup(socket_path),
	        .folder = text_ndup(socket_path, (size_t)(slash - socket_path) + 1),
	        .fd = -1,
	        .inotify_fd = -1,
	        .tun_fd = -1,
	        .control_fd = -1,
	        .retry_usec = RETRY_FIRST_USEC,
	        .alone_usec = clock_usec(CLOCK_MONOTONIC),
	        .host =
	                {
	                        .event = event,
	                        .worker = session,
	                        .contacting = host_contacting,
	                        .up = host_up,
	                        .need_credentials = host_need_credentials,
	                        .traffic = host_traffic,
	                        .ask_device = host_ask_device,
	                        .will_stop = host_will_stop,
	                        .stopped = host_stopped,
	                },
	};
	snprintf(session->state.tunnel, sizeof session->state.tunnel, "%s", tunnel);
	snprintf(session->state.nonce, sizeof session->state.nonce, "%s", nonce);
	int r = add_sources(session);
	if (r < 0) {
		worker_session_free(session);
		return r;
	}
	*ret = session;
	return 0;
}

struct worker_session *worker_session_free(struct worker_session *session)
{
	if (!session)
		return NULL;
	close_driver(session);
	sd_event_source_disable_unref(session->io);
	closep(&session->fd);
	packet_queue_done(&session->queue);
	sd_event_source_disable_unref(session->heartbeat);
	sd_event_source_disable_unref(session->retry);
	sd_event_source_disable_unref(session->inotify);
	closep(&session->inotify_fd);
	sd_event_source_disable_unref(session->terminate);
	sd_event_unref(session->event);
	free(session->socket_path);
	free(session->folder);
	wipe(session->state.nonce, sizeof session->state.nonce);
	free(session);
	return NULL;
}
