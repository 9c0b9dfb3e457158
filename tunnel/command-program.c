/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Output is read at a bounded rate: beyond it nothing is read until the second is over, and the pipe holds the program
 * back. An end is told in this order: what it notified, the last lines, then the end, after everything that was left behind was killed.
 *
 * Anybody can write to the socket for notices. Those of strangers are dropped one at a time, after everything else that there is to do, so that
 * a flood of them costs what is left of the time, and none of what the program may send.
 */

#include "tunnel/command-program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tunnel/process.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define LINE_LENGTH      1024
#define READ_SIZE        4096
#define BYTES_PER_SEC    (256u << 10)
#define LAST_WORDS       (64u << 10) /* read at the end whatever the rate */
#define PRIORITY_END     (SD_EVENT_PRIORITY_NORMAL + 5) /* after what it wrote */
#define PRIORITY_NOTICES (SD_EVENT_PRIORITY_NORMAL + 6) /* a flood of strangers' hides nothing */
#define STOPPED_USEC     (5 * USEC_PER_SEC)
#define NOTICE_SIZE      4096
#define NOTICES_PER_SEC  200 /* of the program's own */
#define NOTICES_MAX      1024 /* read at an end: more than wait in any socket (net.unix.max_dgram_qlen) */
#define KILL_ROUNDS      1000 /* of looking for children: one that forks faster than this is left to the daemon */
#define INPUT_MAX        4096 /* PIPE_BUF: written at once, before the program runs */

struct command_program {
	sd_event *event;
	struct command_program_events events;
	void *userdata;
	bool forks;
	pid_t pid;
	int pidfd, output_fd, notify_fd;
	bool main_gone, finished;
	int asked; /* the signal that it was asked to stop with; 0: it was not */
	int status;
	char line[LINE_LENGTH];
	size_t line_length;
	size_t budget, notices;
	sd_event_source *output, *notify, *child, *second, *stopped, *kill;
};

static void tell_line(struct command_program *program)
{
	program->line[program->line_length] = 0;
	program->line_length = 0;
	if (program->line[0])
		program->events.line(program->userdata, program->line);
}

/* Returns whether there may be more. */
static bool read_some(struct command_program *program, size_t limit)
{
	char bytes[READ_SIZE];
	ssize_t count = read(program->output_fd, bytes, MIN_OF(sizeof bytes, limit));
	if (count <= 0)
		return count < 0 && errno == EINTR;
	for (ssize_t i = 0; i < count && !program->finished; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c == '\n' || c == '\r')
			tell_line(program);
		else if (program->line_length < LINE_LENGTH - 1) /* what is longer is cut */
			program->line[program->line_length++] = c < 0x20 || c > 0x7e ? '?' : (char)c;
	}
	program->budget -= MIN_OF(program->budget, (size_t)count);
	return true;
}

static void read_last_words(struct command_program *program)
{
	for (size_t i = 0; i < LAST_WORDS / READ_SIZE && !program->finished; i++)
		if (!read_some(program, READ_SIZE))
			break;
	if (!program->finished)
		tell_line(program);
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct command_program *program = userdata;
	if (!read_some(program, program->budget) || (events & (EPOLLHUP | EPOLLERR) && !(events & EPOLLIN)))
		return sd_event_source_set_enabled(source, SD_EVENT_OFF); /* closed, or for the end to read */
	return program->budget ? 0 : sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static int on_second(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct command_program *program = userdata;
	if (program->budget == 0)
		sd_event_source_set_enabled(program->output, SD_EVENT_ON);
	if (program->notices == 0)
		sd_event_source_set_enabled(program->notify, SD_EVENT_ON);
	program->budget = BYTES_PER_SEC;
	program->notices = NOTICES_PER_SEC;
	sd_event_source_set_time_relative(source, USEC_PER_SEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* ---- sd_notify(3) ---- */

static void tell_notice(struct command_program *program, char *text)
{
	char *rest = NULL;
	for (char *line = strtok_r(text, "\n", &rest); line && !program->finished; line = strtok_r(NULL, "\n", &rest)) {
		char *equals = strchr(line, '=');
		if (!equals)
			continue;
		*equals = 0;
		program->events.notified(program->userdata, line, equals + 1);
	}
}

/* Whether PID runs in the worker's own cgroup, where its program and all that descends from it are. */
static bool is_of_ours(pid_t pid)
{
	_cleanup_free_ char *path = text_format("/proc/%d/cgroup", (int)pid), *theirs = NULL, *ours = NULL;
	size_t theirs_length, ours_length;
	return pid > 0 && file_read(path, &theirs, &theirs_length) == 0 && file_read("/proc/self/cgroup", &ours, &ours_length) == 0 &&
	       theirs_length == ours_length && memcmp(theirs, ours, ours_length) == 0;
}

enum notice { NOTICE_NONE, NOTICE_OWN, NOTICE_STRANGERS };

/*
 * The socket has a name that everybody can read, and other tunnels' programs may be of the same user: only what runs where
 * this worker does may speak for the program. Descriptors that come along are closed by the kernel.
 */
static enum notice read_notice(struct command_program *program)
{
	char text[NOTICE_SIZE + 1];
	struct iovec part = {.iov_base = text, .iov_len = NOTICE_SIZE};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control = {};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct ucred sender = {.uid = (uid_t)-1};
	ssize_t length = recvmsg(program->notify_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0)
		return NOTICE_NONE;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS)
		memcpy(&sender, CMSG_DATA(header), sizeof sender);
	if (sender.uid != geteuid() || !is_of_ours(sender.pid))
		return NOTICE_STRANGERS;
	text[length] = 0;
	if (!(message.msg_flags & MSG_TRUNC))
		tell_notice(program, text);
	return NOTICE_OWN;
}

static int on_notify(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct command_program *program = userdata;
	if (read_notice(program) != NOTICE_OWN || program->finished)
		return 0;
	if (program->notices == 0 || --program->notices == 0)
		sd_event_source_set_enabled(source, SD_EVENT_OFF); /* until the second is over */
	return 0;
}

/* ---- processes ---- */

static bool is_child_of_ours(pid_t pid)
{
	_cleanup_free_ char *path = text_format("/proc/%d/stat", (int)pid), *text = NULL;
	size_t length;
	int parent = 0;
	if (file_read(path, &text, &length) < 0)
		return false;
	const char *after = strrchr(text, ')'); /* the name before it may hold anything */
	return after && sscanf(after + 1, " %*c %d", &parent) == 1 && parent == getpid();
}

static void signal_children(int number)
{
	DIR *folder = opendir("/proc");
	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid > 1 && is_child_of_ours(pid))
			kill(pid, number);
	}
	if (folder)
		closedir(folder);
}

/* Kills everything that descends from the program: what loses its parent becomes our child, and is found in the next round. */
static void kill_all(struct command_program *program)
{
	if (!program->main_gone) {
		int status;
		(void)pidfd_send_signal(program->pidfd, SIGKILL, NULL, 0);
		if (waitpid(program->pid, &status, 0) == program->pid)
			program->status = status;
		program->main_gone = true;
	}
	for (int round = 0; round < KILL_ROUNDS; round++) {
		pid_t gone = waitpid(-1, NULL, WNOHANG);
		if (gone < 0 && errno == ECHILD)
			return;
		if (gone > 0)
			continue;
		signal_children(SIGKILL);
		if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
			return;
	}
	log_error("the program forks faster than it can be killed; the worker ends with it");
	_exit(EXIT_FAILURE); /* the daemon then kills the whole cgroup, atomically */
}

static void finish(struct command_program *program)
{
	if (program->finished)
		return;
	read_last_words(program);
	if (program->finished)
		return; /* a last word ended it */
	program->finished = true;
	kill_all(program);
	program->events.ended(program->userdata, program->status);
}

static int on_stopped(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct command_program *program = userdata;
	program->events.hangs(program->userdata);
	return 0;
}

static void note_child(struct command_program *program, const siginfo_t *info)
{
	if (info->si_pid != program->pid)
		return;
	if (info->si_code == CLD_STOPPED)
		sd_event_source_set_time_relative(program->stopped, STOPPED_USEC);
	if (info->si_code == CLD_STOPPED || info->si_code == CLD_CONTINUED) {
		sd_event_source_set_enabled(
		        program->stopped, info->si_code == CLD_STOPPED ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
		return;
	}
	program->main_gone = true;
	program->status = info->si_code == CLD_EXITED ? W_EXITCODE(info->si_status, 0) : W_EXITCODE(0, info->si_status);
}

static int on_child(sd_event_source *source, const struct signalfd_siginfo *signal, void *userdata)
{
	struct command_program *program = userdata;
	bool none_left = false;
	for (unsigned i = 0; i < NOTICES_MAX && !program->finished && read_notice(program) != NOTICE_NONE; i++)
		; /* while whoever sent them can be looked up */
	if (program->finished)
		return 0;
	for (;;) {
		siginfo_t info = {};
		int r = waitid(P_ALL, 0, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG);
		none_left = r < 0 && errno == ECHILD;
		if (r < 0 || info.si_pid == 0)
			break;
		note_child(program, &info);
	}
	if (program->asked && program->main_gone)
		signal_children(program->asked); /* those that have just become ours */
	bool carried_on = program->forks && (program->status == 0 || program->asked);
	if (none_left || (program->main_gone && !carried_on))
		finish(program);
	return 0;
}

/* ---- start and end ---- */

/* In the abstract namespace: the worker's user need not be able to write to any folder. *RET is the variable. */
static int listen_for_notices(int *ret_fd, char **ret)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	uint64_t random[2];
	int yes = 1;
	if (getrandom(random, sizeof random, 0) != sizeof random)
		return -EIO;
	int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "holdfast/%016" PRIx64 "%016" PRIx64,
	        random[0], random[1]);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) < 0 ||
	        bind(fd, (struct sockaddr *)&address,
	                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) < 0)
		return -errno;
	*ret = text_format("NOTIFY_SOCKET=@%s", address.sun_path + 1);
	*ret_fd = STEAL_FD(fd);
	return 0;
}

static int prepare(const void *userdata)
{
	return setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ? -errno : 0;
}

/* A pipe that holds INPUT and then ends. */
static int make_input(const char *input, size_t length, int *ret_fd)
{
	int ends[2];
	if (length > INPUT_MAX)
		return -EMSGSIZE;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	ssize_t written = write(ends[1], input, length);
	close(ends[1]);
	if (written != (ssize_t)length) {
		close(ends[0]);
		return -EIO;
	}
	*ret_fd = ends[0];
	return 0;
}

static int launch(struct command_program *program, const struct command_start *start)
{
	_cleanup_close_ int write_fd = -1, input_fd = -1;
	_cleanup_free_ char *notify = NULL;
	_cleanup_free_ const char **environment = NULL;
	size_t count = 0;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	program->output_fd = ends[0];
	write_fd = ends[1];
	if (fcntl(program->output_fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	int r = start->input ? make_input(start->input, start->input_length, &input_fd) : 0;
	if (r == 0 && start->notify)
		r = listen_for_notices(&program->notify_fd, &notify);
	if (r < 0)
		return r;
	while (start->environment[count])
		count++;
	environment = xcalloc(count + 2, sizeof *environment);
	memcpy(environment, start->environment, count * sizeof *environment);
	environment[count] = notify;
	bool third = start->input_to == COMMAND_INPUT_FD3 && input_fd >= 0;
	return process_start(
	        &(struct process_spec){
	                .program = start->arguments[0],
	                .argv = start->arguments,
	                .envp = environment,
	                .fds = (const int[]){third ? -1 : input_fd, write_fd, write_fd, input_fd},
	                .fd_count = third ? 4 : 3,
	                .cgroup_fd = -1, /* the worker's own */
	                .prepare = prepare,
	        },
	        &program->pid, &program->pidfd);
}

static int watch(struct command_program *program)
{
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return -errno;
	int r = sd_event_add_signal(program->event, &program->child, SIGCHLD, on_child, program);
	if (r >= 0)
		r = sd_event_source_set_priority(program->child, PRIORITY_END);
	if (r >= 0)
		r = sd_event_add_time_relative(
		        program->event, &program->second, CLOCK_MONOTONIC, USEC_PER_SEC, 0, on_second, program);
	if (r >= 0)
		r = sd_event_add_time_relative(
		        program->event, &program->stopped, CLOCK_MONOTONIC, STOPPED_USEC, 0, on_stopped, program);
	if (r >= 0)
		r = sd_event_source_set_enabled(program->stopped, SD_EVENT_OFF);
	return r;
}

static int watch_descriptors(struct command_program *program)
{
	int r = sd_event_add_io(program->event, &program->output, program->output_fd, EPOLLIN, on_output, program);
	if (r >= 0 && program->notify_fd >= 0)
		r = sd_event_add_io(program->event, &program->notify, program->notify_fd, EPOLLIN, on_notify, program);
	if (r >= 0 && program->notify)
		r = sd_event_source_set_priority(program->notify, PRIORITY_NOTICES);
	return r;
}

int command_program_new(struct command_program **ret, sd_event *event, const struct command_start *start,
        const struct command_program_events *events, void *userdata)
{
	struct command_program *program = xcalloc(1, sizeof *program);
	*program = (struct command_program){
	        .event = sd_event_ref(event),
	        .events = *events,
	        .userdata = userdata,
	        .forks = start->forks,
	        .main_gone = true,
	        .pidfd = -1,
	        .output_fd = -1,
	        .notify_fd = -1,
	        .budget = BYTES_PER_SEC,
	        .notices = NOTICES_PER_SEC,
	};
	int r = watch(program);
	if (r >= 0) {
		r = launch(program, start);
		program->main_gone = r < 0;
	}
	if (r >= 0)
		r = watch_descriptors(program);
	if (r < 0) {
		command_program_free(program);
		return r;
	}
	*ret = program;
	return 0;
}

static int on_kill(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct command_program *program = userdata;
	kill_all(program);
	finish(program);
	return 0;
}

void command_program_stop(struct command_program *program, int number, uint64_t usec)
{
	program->asked = number;
	if (!program->main_gone) {
		(void)pidfd_send_signal(program->pidfd, number, NULL, 0);
		(void)pidfd_send_signal(program->pidfd, SIGCONT, NULL, 0);
	} else {
		signal_children(number); /* it forked and went: what is left is ours */
	}
	if (!program->kill && sd_event_add_time_relative(
	                              program->event, &program->kill, CLOCK_MONOTONIC, usec, 1, on_kill, program) < 0)
		on_kill(NULL, 0, program);
}

void command_program_kill(struct command_program *program)
{
	program->finished = true;
	kill_all(program);
	sd_event_source_set_enabled(program->child, SD_EVENT_OFF);
	sd_event_source_set_enabled(program->stopped, SD_EVENT_OFF);
	sd_event_source_set_enabled(program->kill, SD_EVENT_OFF);
	sd_event_source_set_enabled(program->output, SD_EVENT_OFF);
	sd_event_source_set_enabled(program->notify, SD_EVENT_OFF);
	sd_event_source_set_enabled(program->second, SD_EVENT_OFF);
}

struct command_program *command_program_free(struct command_program *program)
{
	if (!program)
		return NULL;
	command_program_kill(program);
	sd_event_source **sources[] = {&program->output, &program->notify, &program->child, &program->second,
	        &program->stopped, &program->kill};
	for (size_t i = 0; i < ELEMENTSOF(sources); i++)
		*sources[i] = sd_event_source_disable_unref(*sources[i]);
	closep(&program->output_fd);
	closep(&program->notify_fd);
	closep(&program->pidfd);
	sd_event_unref(program->event);
	free(program);
	return NULL;
}
