/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* wireguard-go's versions, and how they differ where it matters here. */

#include "tunnel/wireguard-go.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "tunnel/process.h"
#include "util/macro.h"
#include "util/timestamp.h"

#define PROBE_MSEC 2000

/* A row holds from its version on, until the next row's. A program of no known version is taken for a new one. */
static const struct {
	unsigned since;
	bool wants_header;
} quirks[] = {
        {0, true}, /* tun/tun_linux.go opened tuns with the header, for the sake of its way to see whether a link is up
                    */
        {20230223, false}, /* offloads came in, and with them IFF_NO_PI */
};

struct wireguard_go wireguard_go_from_version(const char *text)
{
	struct wireguard_go program = {};
	const char *at = strstr(text, "v0.0.");
	if (at && strspn(at + 5, "0123456789") == 8)
		program.version = (unsigned)strtoul(at + 5, NULL, 10);
	for (size_t i = 0; i < ELEMENTSOF(quirks); i++)
		if (!program.version || program.version >= quirks[i].since)
			program.wants_header = quirks[i].wants_header;
	return program;
}

/* Reads FD to its end into BUFFER. */
static int read_output(int fd, char *buffer, size_t size)
{
	uint64_t end = clock_usec(CLOCK_MONOTONIC) / USEC_PER_MSEC + PROBE_MSEC;
	size_t length = 0;
	for (;;) {
		struct pollfd poller = {.fd = fd, .events = POLLIN};
		uint64_t now = clock_usec(CLOCK_MONOTONIC) / USEC_PER_MSEC;
		if (now >= end || poll(&poller, 1, (int)(end - now)) <= 0)
			return -ETIMEDOUT;
		ssize_t count = read(fd, buffer + length, size - 1 - length);
		if (count < 0)
			return -errno;
		length += (size_t)count;
		buffer[length] = 0;
		if (count == 0 || length == size - 1)
			return 0;
	}
}

int wireguard_go_probe(struct wireguard_go *ret)
{
	_cleanup_free_ char *program = NULL;
	_cleanup_close_ int pidfd = -1, output = -1, input = -1;
	char text[512] = "";
	int ends[2];
	pid_t pid;
	int r = process_find(WIREGUARD_GO, &program);
	if (r < 0)
		return r;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	output = ends[0];
	input = ends[1];
	r = process_start(
	        &(struct process_spec){
	                .program = program,
	                .argv = (const char *const[]){WIREGUARD_GO, "--version", NULL},
	                .envp = (const char *const[]){NULL},
	                .fds = (const int[]){-1, input, -1},
	                .fd_count = 3,
	                .cgroup_fd = -1,
	        },
	        &pid, &pidfd);
	if (r < 0)
		return r;
	closep(&input);
	r = read_output(output, text, sizeof text);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (r < 0)
		return r;
	*ret = wireguard_go_from_version(text);
	return 0;
}
