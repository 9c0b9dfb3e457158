/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Workers as the daemon sees them. A worker has a process (a pidfd tells when it ends), at most one connection (made by
 * it, proved by pid and nonce), packets that wait for it, and one deadline that means what its state says. It ends in
 * exactly one way: the pidfd becomes readable, `gone` is called, the object is freed. All that is done to a worker that
 * misbehaves is to note why and kill it.
 *
 * Priorities keep the order of things: packets first, then the end of the process, then deadlines; so the last words of
 * a worker are heard before its death, and a daemon that slept does not take what waits in the socket for silence.
 */

#include "tunnel/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tunnel/config.h"
#include "tunnel/packet-queue.h"
#include "tunnel/process.h"
#include "tunnel/worker-spawn.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define PRIORITY_PACKETS  SD_EVENT_PRIORITY_NORMAL
#define PRIORITY_EXIT     (SD_EVENT_PRIORITY_NORMAL + 1)
#define PRIORITY_DEADLINE (SD_EVENT_PRIORITY_NORMAL + 2)
#define PEERS_MAX         16 /* connections that have not said hello */
#define BACKLOG           32
#define BURST             (2 * WORKER_PACKETS_PER_SEC)
#define LOST_USEC         (2 * USEC_PER_SEC) /* a dying process closes its socket before it can be waited for: on a busy machine, long before */

/* A connection that has not said yet whose it is. */
struct peer {
	struct worker_server *server;
	struct peer *next;
	pid_t pid;
	int fd;
	sd_event_source *io, *deadline;
};

struct worker_server {
	sd_event *event;
	int fd;
	sd_event_source *io;
	struct worker_callbacks callbacks;
	void *userdata;
	char *path;
	struct worker *workers;
	struct peer *peers;
	size_t peer_count;
	uint64_t complained_usec; /* when a stranger was last logged */
	char *buffer;             /* WORKER_MESSAGE_MAX + 1 */
};

struct worker {
	struct worker_server *server;
	struct worker *next;
	char tunnel[TUNNEL_ID_MAX + 1];
	char nonce[WORKER_NONCE_SIZE * 2 + 1];
	pid_t pid;
	bool is_child;
	int pidfd;
	int cgroup_fd; /* -1: none */
	sd_event_source *exit;
	int fd; /* -1: not connected */
	sd_event_source *io, *deadline;
	uint64_t begun_usec; /* when it was started or adopted */
	bool said_hello;
	struct packet_queue queue;
	uint32_t attempt;   /* of the last order; 0: none */
	bool proceeded;     /* the last attempt was told to */
	bool asked_to_stop; /* its end is no error */
	double tokens;      /* packets it may still send, refilled with time */
	uint64_t tokens_usec;
	bool killed; /* by us, for `error` and `detail` */
	enum tunnel_error error;
	char detail[WORKER_DETAIL_MAX];
};

static uint64_t now_usec(struct worker_server *server)
{
	uint64_t now = 0;
	sd_event_now(server->event, CLOCK_MONOTONIC, &now);
	return now;
}

/* The connection alone: the process is another matter. */
static void disconnect(struct worker *worker)
{
	worker->io = sd_event_source_disable_unref(worker->io);
	closep(&worker->fd);
}

static void worker_free(struct worker *worker)
{
	for (struct worker **link = &worker->server->workers; *link; link = &(*link)->next)
		if (*link == worker) {
			*link = worker->next;
			break;
		}
	disconnect(worker);
	packet_queue_done(&worker->queue);
	sd_event_source_disable_unref(worker->deadline);
	sd_event_source_disable_unref(worker->exit);
	closep(&worker->pidfd);
	closep(&worker->cgroup_fd);
	wipe(worker->nonce, sizeof worker->nonce);
	free(worker);
}

/*
 * SIGKILL to all that belongs to the worker: its cgroup where it has one, else its session's process group; its client
 * asks the kernel to die with it in any case. The pid of a child that was not waited for cannot mean somebody else.
 */
static void kill_all(struct worker *worker)
{
	if (worker->cgroup_fd >= 0) {
		_cleanup_close_ int fd = openat(worker->cgroup_fd, "cgroup.kill", O_WRONLY | O_CLOEXEC);
		if (fd >= 0 && write(fd, "1", 1) == 1)
			return;
	}
	if (worker->is_child)
		kill(-worker->pid, SIGKILL);
	pidfd_send_signal(worker->pidfd, SIGKILL, NULL, 0);
}

static void condemn(struct worker *worker, enum tunnel_error error, const char *detail)
{
	if (!worker->killed) {
		worker->killed = true;
		worker->error = error;
		worker_detail_set(worker->detail, detail);
	}
	disconnect(worker);
	sd_event_source_set_enabled(worker->deadline, SD_EVENT_OFF);
	kill_all(worker);
}

/* Says in ERROR and DETAIL why the process ended, by what it left behind. */
static enum tunnel_error explain_exit(
        const struct worker *worker, const siginfo_t *info, char detail[WORKER_DETAIL_MAX])
{
	bool signalled = info->si_code == CLD_KILLED || info->si_code == CLD_DUMPED;
	if (worker->killed && (!worker->is_child || (signalled && info->si_status == SIGKILL))) {
		strcpy(detail, worker->detail);
		return worker->error;
	}
	if (!worker->is_child)
		strcpy(detail, "the worker ended"); /* its status went to whoever was its parent */
	else if (signalled)
		snprintf(detail, WORKER_DETAIL_MAX, "the worker was killed by signal %d (SIG%s)", info->si_status,
		        sigabbrev_np(info->si_status) ? sigabbrev_np(info->si_status) : "?");
	else
		snprintf(detail, WORKER_DETAIL_MAX, "the worker exited with status %d", info->si_status);
	if (worker->asked_to_stop && (!worker->is_child || (!signalled && info->si_status == 0)))
		return TUNNEL_ERROR_NONE;
	return worker->said_hello ? TUNNEL_ERROR_WORKER_CRASHED : TUNNEL_ERROR_WORKER_START_FAILED;
}

static int on_process_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct worker *worker = userdata;
	struct worker_server *server = worker->server;
	char detail[WORKER_DETAIL_MAX] = "";
	siginfo_t info = {};
	if (worker->is_child && waitid(P_PIDFD, (id_t)worker->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	        info.si_pid == 0)
		return 0;
	enum tunnel_error error = explain_exit(worker, &info, detail);
	kill_all(worker); /* while the pid is still held */
	if (worker->is_child)
		waitid(P_PIDFD, (id_t)worker->pidfd, &info, WEXITED | WNOHANG);
	sd_event_source_set_enabled(worker->exit, SD_EVENT_OFF);
	sd_event_source_set_enabled(worker->deadline, SD_EVENT_OFF);
	disconnect(worker);
	server->callbacks.gone(worker, error, detail, server->userdata);
	/* The callback may have forgotten it already. */
	for (struct worker *other = server->workers; other; other = other->next)
		if (other == worker) {
			worker_free(worker);
			break;
		}
	return 0;
}

static void set_deadline(struct worker *worker, uint64_t usec)
{
	sd_event_source_set_time(worker->deadline, now_usec(worker->server) + usec);
	sd_event_source_set_enabled(worker->deadline, SD_EVENT_ONESHOT);
}

static void judge_late(struct worker *worker)
{
	char detail[WORKER_DETAIL_MAX];
	uint64_t waited = now_usec(worker->server) - worker->begun_usec;
	if (waited < WORKER_HELLO_MAX_USEC && process_is_busy(worker->pid)) {
		set_deadline(worker, WORKER_HELLO_USEC);
		return;
	}
	snprintf(detail, sizeof detail, "the worker did not say hello within %" PRIu64 " s", waited / USEC_PER_SEC);
	condemn(worker, worker->is_child ? TUNNEL_ERROR_WORKER_START_FAILED : TUNNEL_ERROR_WORKER_UNRESPONSIVE, detail);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct worker *worker = userdata;
	if (!worker->said_hello)
		judge_late(worker);
	else if (worker->fd < 0)
		condemn(worker, TUNNEL_ERROR_WORKER_CRASHED, "the worker closed its connection");
	else
		condemn(worker, TUNNEL_ERROR_WORKER_UNRESPONSIVE, "the worker said nothing for 10 s");
	return 0;
}

/* Whether the worker may send one more packet now. */
static bool take_token(struct worker *worker)
{
	uint64_t now = now_usec(worker->server);
	worker->tokens += (double)(now - worker->tokens_usec) / USEC_PER_SEC * WORKER_PACKETS_PER_SEC;
	worker->tokens = MIN_OF(worker->tokens, (double)BURST);
	worker->tokens_usec = now;
	worker->tokens -= 1;
	return worker->tokens >= 0;
}

static int flush(struct worker *worker)
{
	if (worker->fd < 0)
		return 0;
	int r = packet_queue_flush(&worker->queue, worker->fd);
	if (r == 0)
		r = sd_event_source_set_io_events(worker->io, EPOLLIN | (worker->queue.count ? EPOLLOUT : 0));
	/* EPIPE is the other side's end, which is heard when its last packets are read. */
	return r == -EPIPE || r == -ECONNRESET ? 0 : r;
}

enum verdict { DELIVER, DROP, REFUSE };

/* What becomes of MESSAGE, by what this worker was told. */
static enum verdict judge(struct worker *worker, const struct worker_message *message)
{
	switch (message->type) {
	case WORKER_MESSAGE_TRAFFIC:
		return worker->attempt ? DELIVER : DROP;
	case WORKER_MESSAGE_CONTACTING:
	case WORKER_MESSAGE_NEED_CREDENTIALS:
	case WORKER_MESSAGE_UP:
	case WORKER_MESSAGE_ASK_DEVICE:
	case WORKER_MESSAGE_WILL_STOP:
	case WORKER_MESSAGE_STOPPED:
		break;
	case WORKER_MESSAGE_START:
	case WORKER_MESSAGE_STOP:
	case WORKER_MESSAGE_RESTART:
	case WORKER_MESSAGE_PROCEED:
	case WORKER_MESSAGE_CREDENTIALS:
	case WORKER_MESSAGE_DEVICE:
	case WORKER_MESSAGE_HELLO:
		return REFUSE;
	}
	if (message->attempt == 0 || message->attempt > worker->attempt)
		return REFUSE;
	if (message->attempt < worker->attempt)
		return DROP;
	if (message->type == WORKER_MESSAGE_UP || message->type == WORKER_MESSAGE_ASK_DEVICE)
		return worker->proceeded ? DELIVER : REFUSE;
	if (message->type == WORKER_MESSAGE_STOPPED)
		return worker->asked_to_stop ? DELIVER : REFUSE;
	if (message->type == WORKER_MESSAGE_CONTACTING)
		worker->proceeded = false;
	return DELIVER;
}

/* Reads one packet into the server's buffer. Returns its length, 0 at the end, or a negative errno; -EMSGSIZE: it was
 * too long. */
static ssize_t read_packet(struct worker_server *server, int fd)
{
	struct iovec part = {.iov_base = server->buffer, .iov_len = WORKER_MESSAGE_MAX};
	struct msghdr message = {
	        .msg_iov = &part, .msg_iovlen = 1}; /* no room for descriptors: the kernel closes them */
	ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0)
		return -errno;
	return message.msg_flags & MSG_TRUNC ? -EMSGSIZE : length;
}

static void handle_packet(struct worker *worker, size_t length)
{
	struct worker_server *server = worker->server;
	struct worker_message message;
	char detail[WORKER_DETAIL_MAX];
	if (worker_message_decode(server->buffer, length, &message) < 0) {
		condemn(worker, TUNNEL_ERROR_WORKER_CRASHED, "the worker sent a packet that is no message");
		return;
	}
	switch (judge(worker, &message)) {
	case DELIVER:
		server->callbacks.message(worker, &message, server->userdata);
		break;
	case DROP:
		break;
	case REFUSE:
		snprintf(detail, sizeof detail, "the worker sent `%s` out of turn",
		        worker_message_type_to_string(message.type));
		condemn(worker, TUNNEL_ERROR_WORKER_CRASHED, detail);
		break;
	}
	worker_message_done(&message);
}

static int on_packet(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct worker *worker = userdata;
	if (events & EPOLLOUT && flush(worker) < 0) {
		condemn(worker, TUNNEL_ERROR_WORKER_CRASHED, "the worker's connection failed");
		return 0;
	}
	if (!(events & ~(uint32_t)EPOLLOUT))
		return 0;
	ssize_t length = read_packet(worker->server, fd);
	if (length == -EAGAIN || length == -EINTR)
		return 0;
	if (length == -EMSGSIZE) {
		condemn(worker, TUNNEL_ERROR_WORKER_CRASHED, "the worker sent a packet that is too long");
	} else if (length <= 0) {
		disconnect(worker);
		set_deadline(worker, LOST_USEC);
	} else if (!take_token(worker)) {
		condemn(worker, TUNNEL_ERROR_WORKER_CRASHED, "the worker flooded the daemon with packets");
	} else {
		set_deadline(worker, WORKER_SILENCE_USEC);
		handle_packet(worker, (size_t)length);
	}
	return 0;
}

static void peer_free(struct peer *peer)
{
	for (struct peer **link = &peer->server->peers; *link; link = &(*link)->next)
		if (*link == peer) {
			*link = peer->next;
			peer->server->peer_count--;
			break;
		}
	sd_event_source_disable_unref(peer->io);
	sd_event_source_disable_unref(peer->deadline);
	closep(&peer->fd);
	free(peer);
}

/* Whoever can reach the socket can make these lines: one a second is enough. */
static void complain(struct worker_server *server, pid_t pid, const char *why)
{
	uint64_t now = now_usec(server);
	if (server->complained_usec && now - server->complained_usec < USEC_PER_SEC)
		return;
	server->complained_usec = now;
	log_warning("process %d was turned away from %s: %s", (int)pid, server->path, why);
}

/* The worker that HELLO, sent by PID, proves to come from. All that could match are compared in constant time. */
static struct worker *find_proved(struct worker_server *server, pid_t pid, const struct worker_hello *hello)
{
	for (struct worker *worker = server->workers; worker; worker = worker->next)
		if (worker->pid == pid && strcmp(worker->tunnel, hello->tunnel) == 0 && !worker->killed &&
		        worker->fd < 0 && CRYPTO_memcmp(worker->nonce, hello->nonce, sizeof worker->nonce) == 0)
			return worker;
	return NULL;
}

static void welcome(struct worker *worker, int fd, const struct worker_message *message)
{
	struct worker_server *server = worker->server;
	worker->fd = fd;
	worker->said_hello = true;
	worker->attempt = MAX_OF(worker->attempt, message->hello.attempt);
	if (message->hello.phase == WORKER_CONNECTING || message->hello.phase == WORKER_UP)
		worker->proceeded = true;
	worker->tokens = BURST;
	worker->tokens_usec = now_usec(server);
	set_deadline(worker, WORKER_SILENCE_USEC);
	if (sd_event_add_io(server->event, &worker->io, fd, EPOLLIN, on_packet, worker) < 0 || flush(worker) < 0) {
		condemn(worker, TUNNEL_ERROR_INTERNAL_ERROR, "the worker's connection could not be watched");
		return;
	}
	sd_event_source_set_priority(worker->io, PRIORITY_PACKETS);
	server->callbacks.message(worker, message, server->userdata);
}

static int on_peer(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct peer *peer = userdata;
	struct worker_server *server = peer->server;
	struct worker_message message;
	ssize_t length = read_packet(server, fd);
	if (length == -EAGAIN || length == -EINTR)
		return 0;
	if (length <= 0 || worker_message_decode(server->buffer, (size_t)length, &message) < 0) {
		complain(server, peer->pid, length > 0 ? "it speaks another protocol than this daemon: it is of another build" : "it did not say hello");
		peer_free(peer);
		return 0;
	}
	struct worker *worker =
	        message.type == WORKER_MESSAGE_HELLO ? find_proved(server, peer->pid, &message.hello) : NULL;
	if (worker) {
		int connection = STEAL_FD(peer->fd);
		peer->io = sd_event_source_disable_unref(peer->io);
		peer_free(peer);
		welcome(worker, connection, &message);
	} else {
		complain(server, peer->pid, "it is not the worker that it says it is");
		peer_free(peer);
	}
	worker_message_done(&message);
	wipe(server->buffer, (size_t)length);
	return 0;
}

static int on_peer_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct peer *peer = userdata;
	complain(peer->server, peer->pid, "it did not say hello in time");
	peer_free(peer);
	return 0;
}

static bool is_a_worker(const struct worker_server *server, pid_t pid)
{
	for (const struct worker *worker = server->workers; worker; worker = worker->next)
		if (worker->pid == pid && !worker->killed)
			return true;
	return false;
}

static int on_connection(sd_event_source *source, int listener, uint32_t events, void *userdata)
{
	struct worker_server *server = userdata;
	struct ucred credentials;
	socklen_t size = sizeof credentials;
	_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return 0;
	if (!is_a_worker(server, credentials.pid)) {
		complain(server, credentials.pid, "it is no worker of ours");
		return 0;
	}
	if (server->peer_count == PEERS_MAX) {
		complain(server, credentials.pid, "too many have not said hello");
		return 0;
	}
	struct peer *peer = xcalloc(1, sizeof *peer);
	*peer = (struct peer){.server = server, .next = server->peers, .pid = credentials.pid, .fd = STEAL_FD(fd)};
	server->peers = peer;
	server->peer_count++;
	if (sd_event_add_io(server->event, &peer->io, peer->fd, EPOLLIN, on_peer, peer) < 0 ||
	        sd_event_add_time_relative(server->event, &peer->deadline, CLOCK_MONOTONIC, WORKER_HELLO_USEC, 0,
	                on_peer_deadline, peer) < 0)
		peer_free(peer);
	return 0;
}

/*
 * The socket takes its name only once it listens: a worker that waits for the name to appear can connect at once, and a
 * name that an earlier daemon left is replaced without a gap.
 */
static int listen_at(const char *path, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int length = snprintf(address.sun_path, sizeof address.sun_path, "%s.new", path);
	if (length < 0 || (size_t)length >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(address.sun_path);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	if (chmod(address.sun_path, 0666) < 0 || listen(fd, BACKLOG) < 0 || rename(address.sun_path, path) < 0) {
		int error = errno;
		(void)unlink(address.sun_path);
		return -error;
	}
	*ret_fd = STEAL_FD(fd);
	return 0;
}

int worker_server_new(struct worker_server **ret, sd_event *event, const char *path,
        const struct worker_callbacks *callbacks, void *userdata)
{
	int fd = -1;
	int r = listen_at(path, &fd);
	if (r < 0)
		return r;
	struct worker_server *server = xcalloc(1, sizeof *server);
	*server = (struct worker_server){
	        .event = sd_event_ref(event),
	        .fd = fd,
	        .callbacks = *callbacks,
	        .userdata = userdata,
	        .path = text_dup(path),
	        .buffer = xcalloc(1, WORKER_MESSAGE_MAX + 1),
	};
	r = sd_event_add_io(event, &server->io, fd, EPOLLIN, on_connection, server);
	if (r < 0) {
		worker_server_free(server);
		return r;
	}
	*ret = server;
	return 0;
}

struct worker_server *worker_server_free(struct worker_server *server)
{
	if (!server)
		return NULL;
	while (server->workers)
		worker_free(server->workers);
	while (server->peers)
		peer_free(server->peers);
	sd_event_source_disable_unref(server->io);
	closep(&server->fd);
	sd_event_unref(server->event);
	free(server->path);
	free(server->buffer);
	free(server);
	return NULL;
}

/* Watches the process PID, of which PIDFD is taken over in any case. */
static int worker_new(
        struct worker_server *server, const char *tunnel, const char *nonce, pid_t pid, int pidfd, struct worker **ret)
{
	struct worker *worker = xcalloc(1, sizeof *worker);
	*worker = (struct worker){
	        .server = server,
	        .next = server->workers,
	        .pid = pid,
	        .pidfd = pidfd,
	        .cgroup_fd = -1,
	        .fd = -1,
	        .begun_usec = now_usec(server),
	};
	server->workers = worker;
	snprintf(worker->tunnel, sizeof worker->tunnel, "%s", tunnel);
	snprintf(worker->nonce, sizeof worker->nonce, "%s", nonce);
	int r = sd_event_add_io(server->event, &worker->exit, pidfd, EPOLLIN, on_process_end, worker);
	if (r >= 0)
		r = sd_event_source_set_priority(worker->exit, PRIORITY_EXIT);
	if (r >= 0)
		r = sd_event_add_time_relative(
		        server->event, &worker->deadline, CLOCK_MONOTONIC, WORKER_HELLO_USEC, 0, on_deadline, worker);
	if (r >= 0)
		r = sd_event_source_set_priority(worker->deadline, PRIORITY_DEADLINE);
	if (r < 0) {
		worker_free(worker);
		return r;
	}
	*ret = worker;
	return 0;
}

static int make_nonce(char nonce[WORKER_NONCE_SIZE * 2 + 1])
{
	uint8_t bytes[WORKER_NONCE_SIZE];
	if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
		return -EIO;
	for (size_t i = 0; i < sizeof bytes; i++)
		snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
	wipe(bytes, sizeof bytes);
	return 0;
}

int worker_spawn(struct worker_server *server, const struct worker_spec *spec, struct worker **ret)
{
	char nonce[WORKER_NONCE_SIZE * 2 + 1];
	struct worker *worker;
	pid_t pid;
	int pidfd;
	int r = tunnel_id_valid(spec->tunnel) ? make_nonce(nonce) : -EINVAL;
	if (r < 0)
		return r;
	r = worker_process_start(spec, nonce, &pid, &pidfd);
	if (r < 0)
		return r;
	r = worker_new(server, spec->tunnel, nonce, pid, pidfd, &worker);
	wipe(nonce, sizeof nonce);
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	worker->is_child = true;
	worker->cgroup_fd = spec->cgroup_fd >= 0 ? fcntl(spec->cgroup_fd, F_DUPFD_CLOEXEC, 3) : -1;
	*ret = worker;
	return 0;
}

/*
 * Whether the process behind PIDFD was started as TUNNEL's worker on our socket: pids are given again, and a stranger
 * must not be killed for not saying hello. The pidfd is asked last: if it still lives, what /proc said was said of it.
 */
static bool is_started_as(pid_t pid, int pidfd, const char *tunnel, const char *path)
{
	_cleanup_free_ char *file = text_format("/proc/%d/cmdline", (int)pid), *expected = NULL, *line = NULL;
	size_t length;
	struct text text = TEXT_NULL;
	text_append_bytes(&text, "holdfast-worker", sizeof "holdfast-worker");
	text_append_bytes(&text, tunnel, strlen(tunnel) + 1);
	text_append_bytes(&text, path, strlen(path) + 1);
	size_t expected_length = text.length;
	expected = text_steal(&text);
	return file_read(file, &line, &length) == 0 && length == expected_length &&
	       memcmp(line, expected, length) == 0 && pidfd_send_signal(pidfd, 0, NULL, 0) == 0;
}

int worker_adopt(struct worker_server *server, const char *tunnel, pid_t pid, const char *nonce, struct worker **ret)
{
	size_t length = WORKER_NONCE_SIZE * 2;
	if (!tunnel_id_valid(tunnel) || pid <= 1 || strlen(nonce) != length ||
	        strspn(nonce, "0123456789abcdef") != length)
		return -EINVAL;
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	if (pidfd < 0)
		return -errno;
	if (!is_started_as(pid, pidfd, tunnel, server->path))
		return -ESRCH;
	return worker_new(server, tunnel, nonce, pid, STEAL_FD(pidfd), ret);
}

pid_t worker_pid(const struct worker *worker)
{
	return worker->pid;
}

const char *worker_nonce(const struct worker *worker)
{
	return worker->nonce;
}

const char *worker_tunnel(const struct worker *worker)
{
	return worker->tunnel;
}

static int send_message(struct worker *worker, const struct worker_message *message, const int *fds, size_t fd_count)
{
	if (worker->killed)
		return -ECANCELED;
	_cleanup_wipe_ char *text = worker_message_encode(message);
	if (strlen(text) > WORKER_MESSAGE_MAX)
		return -EMSGSIZE;
	int r = packet_queue_push(&worker->queue, STEAL(text), fds, fd_count);
	if (r == 0)
		r = flush(worker);
	if (r < 0)
		condemn(worker, TUNNEL_ERROR_WORKER_UNRESPONSIVE, "the worker could not be told what to do");
	return r;
}

int worker_send_start(struct worker *worker, const struct worker_start *start)
{
	int fds[PACKET_FDS_MAX];
	size_t count = 0;
	if (start->tun_fd >= 0)
		fds[count++] = start->tun_fd;
	if (start->control_fd >= 0)
		fds[count++] = start->control_fd;
	worker->proceeded = false;
	return send_message(worker,
	        &(struct worker_message){
	                .type = WORKER_MESSAGE_START,
	                .attempt = ++worker->attempt,
	                .endpoint_index = start->endpoint,
	                .resolvers = start->resolvers,
	                .mark = start->mark,
	                .has_tun = start->tun_fd >= 0,
	                .has_control = start->control_fd >= 0,
	                .tunnel = start->tunnel,
	        },
	        fds, count);
}

int worker_send_restart(struct worker *worker, size_t endpoint, const struct worker_resolvers *resolvers)
{
	worker->proceeded = false;
	return send_message(worker,
	        &(struct worker_message){
	                .type = WORKER_MESSAGE_RESTART,
	                .attempt = ++worker->attempt,
	                .endpoint_index = endpoint,
	                .resolvers = *resolvers,
	        },
	        NULL, 0);
}

int worker_send_proceed(struct worker *worker)
{
	worker->proceeded = true;
	return send_message(
	        worker, &(struct worker_message){.type = WORKER_MESSAGE_PROCEED, .attempt = worker->attempt}, NULL, 0);
}

int worker_send_credentials(struct worker *worker, json_object *credentials)
{
	return send_message(
	        worker, &(struct worker_message){.type = WORKER_MESSAGE_CREDENTIALS, .credentials = credentials}, NULL, 0);
}

int worker_send_device(struct worker *worker, const struct device_answer *answer)
{
	struct worker_message message = {
	        .type = WORKER_MESSAGE_DEVICE,
	        .attempt = worker->attempt,
	        .request = answer->request,
	        .error = answer->error,
	        .traffic = answer->traffic,
	};
	memcpy(message.detail, answer->detail, sizeof message.detail);
	return send_message(worker, &message, NULL, 0);
}

int worker_send_stop(struct worker *worker)
{
	worker->asked_to_stop = true;
	return send_message(
	        worker, &(struct worker_message){.type = WORKER_MESSAGE_STOP, .attempt = ++worker->attempt}, NULL, 0);
}

void worker_kill(struct worker *worker)
{
	condemn(worker, TUNNEL_ERROR_NONE, "the worker was ended as asked");
}

void worker_forget(struct worker *worker)
{
	worker_free(worker);
}
