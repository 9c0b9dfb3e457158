/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The control socket is one that listens before wireguard-go runs: connecting succeeds at once, and the first answer
 * says that the client is ready. For the same reason requests of a client that died could be read by the next one; what
 * waits in the socket is therefore thrown away before each start.
 */

#include "tunnel/wireguard-client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tunnel/control-socket.h"
#include "tunnel/process.h"
#include "tunnel/protocol.h"
#include "tunnel/wireguard-go.h"
#include "util/log.h"
#include "util/text.h"

#define ANSWER_USEC       (5 * USEC_PER_SEC)
#define REAP_MSEC         4000 /* a busy machine takes its time with the link; the daemon waits 5 s for a goodbye */
#define LINE_LENGTH       256
#define CLIENT_TUN_FD     3
#define CLIENT_CONTROL_FD 4

struct wireguard_client {
	sd_event *event;
	struct wireguard_client_events events;
	void *userdata;
	char interface[16];
	pid_t pid; /* 0: reaped */
	int pidfd;
	sd_event_source *exit;
	int output_fd;
	sd_event_source *output;
	char line[LINE_LENGTH];
	size_t line_length;
	char last_line[LINE_LENGTH];
	int fd;
	sd_event_source *io, *deadline;
	char *request; /* what is still to be sent */
	char *answer;  /* what came of the answer so far; WIREGUARD_ANSWER_MAX bytes */
	size_t answer_length;
	unsigned outstanding;
	bool spoke; /* it answered once */
};

static void keep_line(struct wireguard_client *client)
{
	client->line[client->line_length] = 0;
	client->line_length = 0;
	if (!client->line[0])
		return;
	strcpy(client->last_line, client->line);
	log_debug("%s: %s", client->interface, client->line);
}

/* Takes what is there, line by line; the rest of a line that is too long becomes a line of its own. */
static bool read_output(struct wireguard_client *client)
{
	char block[1024];
	ssize_t count = read(client->output_fd, block, sizeof block);
	for (ssize_t i = 0; i < count; i++) {
		if (block[i] == '\n' || client->line_length == LINE_LENGTH - 1)
			keep_line(client);
		if (block[i] != '\n')
			client->line[client->line_length++] = block[i] ? block[i] : '?';
	}
	return count > 0;
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct wireguard_client *client = userdata;
	if (!read_output(client) && events & EPOLLHUP)
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static void close_conversation(struct wireguard_client *client)
{
	client->io = sd_event_source_disable_unref(client->io);
	client->deadline = sd_event_source_disable_unref(client->deadline);
	closep(&client->fd);
	wipe_freep(&client->request);
	wipe(client->answer, client->answer_length);
	client->answer_length = 0;
	free(client->answer);
	client->answer = NULL;
	client->outstanding = 0;
}

/* Kills the process and waits for it; *RET_INFO, or NULL, is how it ended. */
static void reap(struct wireguard_client *client, siginfo_t *ret_info)
{
	struct pollfd poller = {.fd = client->pidfd, .events = POLLIN};
	siginfo_t info = {};
	if (!client->pid)
		return;
	kill(client->pid, SIGKILL); /* nothing where it is dead already: it was not waited for yet */
	if (poll(&poller, 1, REAP_MSEC) > 0)
		waitid(P_PIDFD, (id_t)client->pidfd, &info, WEXITED | WNOHANG);
	else
		log_warning("%s: wireguard-go (pid %d) does not die", client->interface, (int)client->pid);
	client->pid = 0;
	if (ret_info)
		*ret_info = info;
}

static int on_process_end(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct wireguard_client *client = userdata;
	char detail[WORKER_DETAIL_MAX];
	siginfo_t info = {};
	while (read_output(client))
		;
	keep_line(client);
	reap(client, &info);
	sd_event_source_set_enabled(client->exit, SD_EVENT_OFF);
	close_conversation(client);
	bool killed = info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED;
	if (killed)
		snprintf(detail, sizeof detail, WIREGUARD_GO " was killed by signal %d", info.si_status);
	else
		snprintf(detail, sizeof detail, WIREGUARD_GO " exited with status %d%s%s", info.si_status,
		        client->last_line[0] ? ": " : "", client->last_line);
	client->events.ended(client->userdata, killed ? WIREGUARD_CLIENT_KILLED : WIREGUARD_CLIENT_EXITED, detail);
	return 0;
}

/* The process lives, but there is no talking to it. */
static void give_up(struct wireguard_client *client, const char *detail)
{
	sd_event_source_set_enabled(client->exit, SD_EVENT_OFF);
	reap(client, NULL);
	close_conversation(client);
	client->events.ended(client->userdata, WIREGUARD_CLIENT_SILENT, detail);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct wireguard_client *client = userdata;
	give_up(client, client->fd < 0  ? WIREGUARD_GO " closed its control connection"
	                : client->spoke ? WIREGUARD_GO " did not answer for 5 s"
	                                : WIREGUARD_GO " was not ready within 5 s");
	return 0;
}

static void set_deadline(struct wireguard_client *client, uint64_t usec)
{
	sd_event_source_set_time_relative(client->deadline, usec);
	sd_event_source_set_enabled(client->deadline, SD_EVENT_ONESHOT);
}

/* The connection is gone; the process should be too, as soon as the machine comes to that, and its end is the better reason. */
static void lose_connection(struct wireguard_client *client)
{
	client->io = sd_event_source_disable_unref(client->io);
	closep(&client->fd);
	set_deadline(client, ANSWER_USEC);
}

static void send_request(struct wireguard_client *client)
{
	size_t length = client->request ? strlen(client->request) : 0;
	if (length) {
		ssize_t sent = send(client->fd, client->request, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno != EAGAIN && errno != EINTR) {
			lose_connection(client);
			return;
		}
		sent = MAX_OF(sent, (ssize_t)0);
		memmove(client->request, client->request + sent, length - (size_t)sent + 1);
		/* What moved down left its former end behind. */
		wipe(client->request + length - (size_t)sent, (size_t)sent);
		length -= (size_t)sent;
	}
	if (!length)
		wipe_freep(&client->request);
	sd_event_source_set_io_events(client->io, EPOLLIN | (length ? EPOLLOUT : 0));
}

/* Handles complete answers. The callback may free the client: nothing of it is touched after the last one. */
static int handle_answers(struct wireguard_client *client)
{
	struct wireguard_answer answer;
	ptrdiff_t taken = wireguard_uapi_parse(client->answer, client->answer_length, &answer);
	if (taken < 0 || (taken > 0 && (!client->outstanding || (size_t)taken != client->answer_length))) {
		/* No more than one request is ever under way, so nothing may follow an answer. */
		give_up(client, WIREGUARD_GO " answered in words that are not the protocol's");
		return 0;
	}
	if (taken == 0)
		return 0;
	wipe(client->answer, client->answer_length); /* the private key is in it */
	client->answer_length = 0;
	client->outstanding--;
	client->spoke = true;
	sd_event_source_set_enabled(client->deadline, SD_EVENT_OFF);
	client->events.answered(client->userdata, &answer);
	return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct wireguard_client *client = userdata;
	if (events & EPOLLOUT)
		send_request(client);
	if (client->fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
		return 0;
	size_t room = WIREGUARD_ANSWER_MAX - client->answer_length;
	if (room == 0) {
		give_up(client, WIREGUARD_GO " answered at a length that no answer has");
		return 0;
	}
	ssize_t count = recv(fd, client->answer + client->answer_length, room, MSG_DONTWAIT);
	if (count < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (count <= 0) {
		lose_connection(client);
		return 0;
	}
	client->answer_length += (size_t)count;
	return handle_answers(client);
}

void wireguard_client_request(struct wireguard_client *client, const char *text)
{
	if (client->fd < 0)
		return; /* its end is being waited for */
	client->request = text_dup(text);
	client->outstanding++;
	set_deadline(client, ANSWER_USEC);
	send_request(client);
}

bool wireguard_client_is_busy(const struct wireguard_client *client)
{
	return client->outstanding > 0 || client->fd < 0;
}

/* Connects to the path that CONTROL_FD listens on. */
static int connect_to(int control_fd, int *ret_fd)
{
	struct sockaddr_un address = {};
	socklen_t length = sizeof address;
	if (getsockname(control_fd, (struct sockaddr *)&address, &length) < 0)
		return -errno;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, length) < 0)
		return -errno;
	*ret_fd = STEAL_FD(fd);
	return 0;
}

static int start_process(struct wireguard_client *client, const char *program, int tun_fd, int control_fd)
{
	_cleanup_close_ int input = -1;
	int ends[2];
	pid_t self = getpid();
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) /* at both ends: a client must never wait for its reader */
		return -errno;
	client->output_fd = ends[0];
	input = ends[1];
	return process_start(
	        &(struct process_spec){
	                .program = program,
	                .argv = (const char *const[]){WIREGUARD_GO, "-f", client->interface, NULL},
	                .envp = (const char *const[]){"WG_PROCESS_FOREGROUND=1", "WG_TUN_FD=3", "WG_UAPI_FD=4",
	                        getenv("HOLDFAST_DEBUG") ? "LOG_LEVEL=verbose" : "LOG_LEVEL=error", NULL},
	                .fds = (const int[]){-1, input,
	                        input, [CLIENT_TUN_FD] = tun_fd, [CLIENT_CONTROL_FD] = control_fd},
	                .fd_count = 5,
	                .cgroup_fd = -1,
	                .prepare = process_die_with_parent,
	                .userdata = &self,
	        },
	        &client->pid, &client->pidfd);
}

static int add_sources(struct wireguard_client *client)
{
	int r = sd_event_add_io(client->event, &client->exit, client->pidfd, EPOLLIN, on_process_end, client);
	if (r >= 0)
		r = sd_event_add_io(client->event, &client->output, client->output_fd, EPOLLIN, on_output, client);
	if (r >= 0)
		r = sd_event_add_io(client->event, &client->io, client->fd, EPOLLIN, on_io, client);
	if (r >= 0)
		r = sd_event_add_time_relative(
		        client->event, &client->deadline, CLOCK_MONOTONIC, ANSWER_USEC, 1000, on_deadline, client);
	/* A connection that breaks is explained by the exit that comes with it. */
	if (r >= 0)
		r = sd_event_source_set_priority(client->exit, SD_EVENT_PRIORITY_NORMAL - 1);
	return r;
}

int wireguard_client_new(struct wireguard_client **ret, sd_event *event, const char *interface, int tun_fd,
        int control_fd, const struct wireguard_client_events *events, void *userdata)
{
	_cleanup_free_ char *program = NULL;
	int r = process_find(WIREGUARD_GO, &program);
	if (r < 0)
		return r;
	struct wireguard_client *client = xcalloc(1, sizeof *client);
	*client = (struct wireguard_client){
	        .event = sd_event_ref(event),
	        .events = *events,
	        .userdata = userdata,
	        .pidfd = -1,
	        .output_fd = -1,
	        .fd = -1,
	        .answer = xcalloc(1, WIREGUARD_ANSWER_MAX),
	};
	snprintf(client->interface, sizeof client->interface, "%s", interface);
	control_socket_drain(control_fd);
	r = connect_to(control_fd, &client->fd);
	if (r >= 0)
		r = start_process(client, program, tun_fd, control_fd);
	if (r >= 0)
		r = add_sources(client);
	if (r < 0) {
		wireguard_client_free(client);
		return r;
	}
	wireguard_client_request(client, WIREGUARD_GET);
	*ret = client;
	return 0;
}

struct wireguard_client *wireguard_client_free(struct wireguard_client *client)
{
	if (!client)
		return NULL;
	sd_event_source_disable_unref(client->exit);
	sd_event_source_disable_unref(client->output);
	reap(client, NULL);
	close_conversation(client);
	closep(&client->pidfd);
	closep(&client->output_fd);
	sd_event_unref(client->event);
	free(client);
	return NULL;
}
