/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The management socket belongs to the worker, which listens: OpenVPN connects to it as a client and ends itself when it
 * is closed. Any process of the workers' user could connect, so the peer's pid must be our child's.
 *
 * What it prints is read and dropped (with a full pipe it would stand still), but for the last line before it ends:
 * errors in its options come there alone. A spinning client can print without end: what is read in one turn of the loop
 * is bounded, and everything else comes first.
 */

#include "tunnel/openvpn-client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tunnel/control-socket.h"
#include "tunnel/process.h"
#include "tunnel/protocol.h"
#include "util/log.h"

#define ASK_USEC     (2 * USEC_PER_SEC)
#define SILENCE_USEC (8 * USEC_PER_SEC)
#define REAP_MSEC    4000 /* the daemon waits 5 s for a goodbye */
#define OUTPUT_MAX   512
#define COMMANDS_MAX 4096 /* that wait at a time: user name and password are the longest */
#define LAST_READS   64 /* of what is left when the client has died */

struct openvpn_client {
	sd_event *event;
	struct openvpn_client_events events;
	void *userdata;
	pid_t pid; /* 0: reaped */
	int pidfd;
	int config_fd;
	int output_fd;
	int fd; /* -1: it did not connect yet, or not any more */
	sd_event_source *exit, *listener, *output, *io, *ask;
	struct openvpn_reader *reader;
	char last[OUTPUT_MAX]; /* the end of what it printed */
	struct text pending;   /* commands that are still to be sent */
	uint64_t asked_usec;   /* of the question that is not answered yet; 0: none */
	unsigned depth;        /* of callbacks */
	bool freed;            /* by one of them */
};

static uint64_t now_usec(const struct openvpn_client *client)
{
	uint64_t now = 0;
	sd_event_now(client->event, CLOCK_MONOTONIC, &now);
	return now;
}

/* The memory of the configuration is given back as soon as it was read, and at the latest with the client. */
static void forget_config(struct openvpn_client *client)
{
	if (client->config_fd >= 0 && ftruncate(client->config_fd, 0) < 0)
		log_debug("openvpn's configuration could not be emptied: %s", strerror(errno));
	closep(&client->config_fd);
}

static void pending_done(struct openvpn_client *client)
{
	wipe(client->pending.bytes, client->pending.length);
	text_done(&client->pending);
}

/* Nothing more is read, asked or sent. */
static void close_conversation(struct openvpn_client *client)
{
	sd_event_source **sources[] = {&client->listener, &client->io, &client->output, &client->ask, &client->exit};
	for (size_t i = 0; i < ELEMENTSOF(sources); i++)
		*sources[i] = sd_event_source_disable_unref(*sources[i]);
	closep(&client->fd);
	closep(&client->output_fd);
	forget_config(client);
	pending_done(client);
}

static void reap(struct openvpn_client *client, siginfo_t *ret_info)
{
	struct pollfd poller = {.fd = client->pidfd, .events = POLLIN};
	siginfo_t info = {};
	if (!client->pid)
		return;
	kill(client->pid, SIGKILL); /* nothing where it is dead already: it was not waited for yet */
	if (poll(&poller, 1, REAP_MSEC) > 0)
		waitid(P_PIDFD, (id_t)client->pidfd, &info, WEXITED | WNOHANG);
	else
		log_warning(OPENVPN " (pid %d) does not die", (int)client->pid);
	client->pid = 0;
	if (ret_info)
		*ret_info = info;
}

static void release(struct openvpn_client *client)
{
	closep(&client->pidfd);
	sd_event_unref(client->event);
	wipe(client->reader, sizeof *client->reader);
	free(client->reader);
	free(client);
}

/* Around each callback: a client that is freed by one lives until the last of them has returned. */
static void enter(struct openvpn_client *client)
{
	client->depth++;
}

/* True: the client goes on. */
static bool leave(struct openvpn_client *client)
{
	bool freed = client->freed;
	client->depth--;
	if (freed && client->depth == 0)
		release(client);
	return !freed;
}

static void tell_end(struct openvpn_client *client, enum openvpn_client_end end, const char *detail)
{
	close_conversation(client);
	enter(client);
	client->events.ended(client->userdata, end, detail);
	(void)leave(client);
}

/* The process lives, but there is no talking to it. */
static void give_up(struct openvpn_client *client, const char *detail)
{
	reap(client, NULL);
	tell_end(client, OPENVPN_CLIENT_SILENT, detail);
}

static bool tell_line(struct openvpn_client *client, char *text)
{
	struct openvpn_line line = openvpn_line_parse(text);
	if (line.kind == OPENVPN_LINE_STATISTICS)
		client->asked_usec = 0;
	if (line.kind == OPENVPN_LINE_HOLD)
		forget_config(client);
	if (line.kind == OPENVPN_LINE_LOG)
		log_debug(OPENVPN ": %s", line.text);
	enter(client);
	client->events.line(client->userdata, &line);
	return leave(client);
}

enum reading { READ_SOME, READ_NOTHING, READ_END, READ_FREED };

/* One read, and the lines that came of it. */
static enum reading read_lines(struct openvpn_client *client)
{
	size_t size;
	char *room = openvpn_reader_room(client->reader, &size);
	ssize_t count = recv(client->fd, room, size, MSG_DONTWAIT);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return READ_NOTHING;
	if (count <= 0)
		return READ_END;
	openvpn_reader_add(client->reader, (size_t)count);
	for (char *line; (line = openvpn_reader_next(client->reader));)
		if (!tell_line(client, line))
			return READ_FREED;
	return READ_SOME;
}

/* Keeps the end of what is printed. True: there may be more. */
static bool read_output(struct openvpn_client *client)
{
	char block[OUTPUT_MAX - 1];
	ssize_t count = client->output_fd >= 0 ? read(client->output_fd, block, sizeof block) : -1;
	if (count <= 0)
		return false;
	size_t length = strlen(client->last), keep = MIN_OF(length, sizeof client->last - 1 - (size_t)count);
	memmove(client->last, client->last + length - keep, keep);
	for (ssize_t i = 0; i < count; i++)
		client->last[keep + (size_t)i] = block[i] ? block[i] : '?';
	client->last[keep + (size_t)count] = 0;
	return true;
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	if (!read_output(userdata) && events & EPOLLHUP)
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

/* The line that says most: an error in the options, or the last one. Cuts what was printed up. */
static const char *last_words(struct openvpn_client *client)
{
	char *error = strstr(client->last, "Options error");
	for (size_t length = strlen(client->last); length && client->last[length - 1] == '\n'; length--)
		client->last[length - 1] = 0;
	if (error) {
		error[strcspn(error, "\n")] = 0;
		return error;
	}
	const char *end = strrchr(client->last, '\n');
	return end ? end + 1 : client->last;
}

static int on_process_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct openvpn_client *client = userdata;
	char detail[WORKER_DETAIL_MAX];
	siginfo_t info = {};
	for (unsigned i = 0; client->fd >= 0 && i < LAST_READS; i++) {
		enum reading reading = read_lines(client);
		if (reading == READ_FREED)
			return 0;
		if (reading != READ_SOME)
			break;
	}
	for (unsigned i = 0; i < LAST_READS && read_output(client); i++)
		;
	reap(client, &info);
	bool killed = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
	const char *words = last_words(client);
	if (killed)
		snprintf(detail, sizeof detail, OPENVPN " was killed by signal %d", info.si_status);
	else
		snprintf(detail, sizeof detail, OPENVPN " exited with status %d%s%.400s", info.si_status, *words ? ": " : "", words);
	tell_end(client, killed ? OPENVPN_CLIENT_KILLED : OPENVPN_CLIENT_EXITED, detail);
	return 0;
}

static void flush(struct openvpn_client *client)
{
	struct text *pending = &client->pending;
	if (client->fd < 0 || !client->io)
		return;
	ssize_t sent = pending->length ? send(client->fd, pending->bytes, pending->length, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
	if (sent > 0) {
		memmove(pending->bytes, pending->bytes + sent, pending->length - (size_t)sent);
		wipe(pending->bytes + pending->length - (size_t)sent, (size_t)sent);
		pending->length -= (size_t)sent;
	} /* a connection that broke is heard when it is read */
	sd_event_source_set_io_events(client->io, EPOLLIN | (pending->length ? EPOLLOUT : 0));
}

void openvpn_client_command(struct openvpn_client *client, const char *text)
{
	text_append_bytes(&client->pending, text, strlen(text));
	flush(client);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct openvpn_client *client = userdata;
	if (events & EPOLLOUT)
		flush(client);
	if (!(events & ~(uint32_t)EPOLLOUT))
		return 0;
	/* At its end the process should end, too; if it does not, nothing answers any more. */
	if (read_lines(client) == READ_END)
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static int on_ask(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct openvpn_client *client = userdata;
	if (client->asked_usec && now_usec(client) - client->asked_usec >= SILENCE_USEC) {
		give_up(client, client->io ? OPENVPN " did not answer for 8 s" : OPENVPN " was not ready within 10 s");
		return 0;
	}
	if (!client->asked_usec) {
		client->asked_usec = now_usec(client);
		openvpn_client_command(client, "load-stats\n");
	}
	sd_event_source_set_time_relative(source, ASK_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static bool is_ours(const struct openvpn_client *client, int fd)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid == client->pid;
}

/* Once it has connected, "load-stats" may be the first command that waits: it goes out after the others. */
static int on_connection(sd_event_source *source, int listener, uint32_t events, void *userdata)
{
	struct openvpn_client *client = userdata;
	_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0 || !is_ours(client, fd))
		return 0;
	int r = sd_event_add_io(client->event, &client->io, fd, EPOLLIN, on_io, client);
	if (r < 0)
		return r;
	client->fd = STEAL_FD(fd);
	client->listener = sd_event_source_disable_unref(client->listener);
	openvpn_client_command(client, "log on\nstate on\n");
	return 0;
}

static int start_process(struct openvpn_client *client, const char *program)
{
	_cleanup_close_ int input = -1;
	int ends[2];
	pid_t self = getpid();
	if (lseek(client->config_fd, 0, SEEK_SET) < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	client->output_fd = ends[0];
	input = ends[1];
	return process_start(
	        &(struct process_spec){
	                .program = program,
	                .argv = (const char *const[]){OPENVPN, "--config", "stdin", NULL},
	                .envp = (const char *const[]){NULL},
	                .fds = (const int[]){client->config_fd, input, input},
	                .fd_count = 3,
	                .cgroup_fd = -1,
	                .prepare = process_die_with_parent,
	                .userdata = &self,
	        },
	        &client->pid, &client->pidfd);
}

static int add_sources(struct openvpn_client *client, int control_fd)
{
	int r = sd_event_add_io(client->event, &client->exit, client->pidfd, EPOLLIN, on_process_end, client);
	if (r >= 0)
		r = sd_event_add_io(client->event, &client->output, client->output_fd, EPOLLIN, on_output, client);
	if (r >= 0)
		r = sd_event_add_io(client->event, &client->listener, control_fd, EPOLLIN, on_connection, client);
	if (r >= 0)
		r = sd_event_add_time_relative(client->event, &client->ask, CLOCK_MONOTONIC, ASK_USEC, 100 * USEC_PER_MSEC, on_ask, client);
	/* Whatever it prints, the rest of the worker comes first; its death comes before silence. */
	if (r >= 0)
		r = sd_event_source_set_priority(client->output, SD_EVENT_PRIORITY_IDLE);
	if (r >= 0)
		r = sd_event_source_set_priority(client->ask, SD_EVENT_PRIORITY_NORMAL + 1);
	return r;
}

int openvpn_client_new(struct openvpn_client **ret, sd_event *event, int config_fd, int control_fd,
        const struct openvpn_client_events *events, void *userdata)
{
	_cleanup_free_ char *program = NULL;
	struct openvpn_client *client = xcalloc(1, sizeof *client);
	*client = (struct openvpn_client){
	        .event = sd_event_ref(event),
	        .events = *events,
	        .userdata = userdata,
	        .pidfd = -1,
	        .config_fd = config_fd,
	        .output_fd = -1,
	        .fd = -1,
	        .reader = xcalloc(1, sizeof *client->reader),
	        .pending = {.bytes = xcalloc(1, COMMANDS_MAX), .allocated = COMMANDS_MAX}, /* grown, it would leave copies behind */
	};
	int r = process_find(OPENVPN, &program);
	if (r >= 0) {
		control_socket_drain(control_fd);
		r = start_process(client, program);
	}
	if (r >= 0)
		r = add_sources(client, control_fd);
	if (r < 0) {
		openvpn_client_free(client);
		return r;
	}
	*ret = client;
	return 0;
}

struct openvpn_client *openvpn_client_free(struct openvpn_client *client)
{
	if (!client)
		return NULL;
	reap(client, NULL);
	close_conversation(client);
	client->freed = true;
	if (client->depth == 0)
		release(client);
	return NULL;
}
