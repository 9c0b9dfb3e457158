/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the gate costs the traffic that it lets by: TCP over a tunnel's link (a veth pair, so that no cipher hides it) to another network
 * namespace. Eight kinds of it, each between two namespaces of its own:
 *
 *   bare    without a table
 *   floor   with the gate's base chains and conntrack, without a rule on the way: what any nftables firewall that knows connections has to pay
 *   gate    through the gate as it is by default, on a host without bridges
 *   listed  through the gate of a host with bridges and 100,000 networks listed: it translates addresses, and has the sets and every chain
 *   host    through the least firewall that hosts have: a chain of input that accepts what is established
 *   beside  through both, as on a host that has one
 *   link    without a table, over a link of 1 Gbit/s
 *   gated   through the gate as it is by default, over such a link
 *
 * They take turns, and in going first, and both ends on one processor: what is compared is work. With two the figures tell how often the one
 * falls asleep before the other has something for it, which is decided by less than a gate costs. What else the machine does only ever slows: the
 * quicker quarters are compared.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firewall/gate.h"
#include "firewall/ruleset.h"
#include "tests/bench/measure.h"
#include "tests/unit/gate-plans.h"
#include "util/text.h"

#define MANY	 100000
#define ROUNDS	 200
#define ON_LINKS 8 /* rounds of those that a link holds back */
#define TRANSFER (32u << 20)
#define BLOCK	 (256u << 10)
#define PORT	 5201
#define DEVICE	 "hf-home"
#define HERE	 "10.9.0.2" /* the tunnel's own, as its plan says: what comes in to another address takes longer */
#define THERE	 "10.9.0.1"

#define OF_BARE_MIN    0.98 /* the goal, which empty chains alone miss on veth, where there is nothing else to do */
#define GUARD_OF_FLOOR 0.85 /* below it something broke, not the machine was busy */

enum kind { BARE, FLOOR, GATE, LISTED, HOST, BESIDE, LINK, GATED, KINDS };
static const char *const names[KINDS] = {"bare", "floor", "gate", "listed", "host", "beside", "link", "gated"};

static void run(const char *command)
{
	if (system(command) != 0)
		die(command);
}

/* This process and its children keep to the processor that it runs on. */
static void stay_here(void)
{
	cpu_set_t here;
	CPU_ZERO(&here);
	CPU_SET((size_t)sched_getcpu(), &here);
	if (sched_setaffinity(0, sizeof here, &here) < 0)
		die("cannot stay on one processor");
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

/* Microseconds for TRANSFER bytes, until the other side has read and closed. */
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
	return usec_since(start);
}

static void make_link(pid_t peer)
{
	_cleanup_free_ char *make = text_format("ip link add " DEVICE " type veth peer name peer netns %d && ip addr add " HERE "/24 dev " DEVICE " && ip link set " DEVICE " up", peer);
	_cleanup_free_ char *other = text_format("nsenter -t %d -n sh -c 'ip addr add " THERE "/24 dev peer && ip link set peer up && ip link set lo up'", peer);
	run(make);
	run(other);
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

static void commit(const char *text)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (nft_run_cmd_from_buffer(nft, text) != 0)
		die("the chains to compare with cannot be made");
	nft_ctx_free(nft);
}

/*
 * The gate's own chains, and nothing that looks at a packet of the transfers. A rule must ask for conntrack, or the kernel leaves it out: it
 * stands where nothing comes by.
 */
static void make_floor(void)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	text_append(&text, "add table inet floor\n");
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++) {
		const struct chain_definition *definition = &chain_definitions[chain];
		if (!definition->guards && chain != CHAIN_REROUTE)
			continue;
		text_append(&text, "add chain inet floor %s { type %s hook %s priority %d; policy accept; }\n", definition->name,
			definition->type, definition->hook, definition->priority);
	}
	text_append(&text, "add rule inet floor forward ct state invalid drop\n");
	commit(text.bytes);
}

static void make_host(void)
{
	commit("add table inet host\n"
	       "add chain inet host input { type filter hook input priority 0; policy drop; }\n"
	       "add rule inet host input ct state established,related accept\n");
}

/* As a card of 1 Gbit/s: what waits for it waits in its queue. */
static void slow_link(void)
{
	run("tc qdisc add dev " DEVICE " root tbf rate 1gbit burst 256k latency 20ms");
}

static void list_networks(struct gate *gate)
{
	struct ip_prefix *many = xcalloc(MANY, sizeof *many);
	for (uint32_t i = 0; i < MANY; i++)
		many[i] = (struct ip_prefix){
			.address = {.family = AF_INET, .bytes = {(uint8_t)(20 + (i >> 15)), (uint8_t)(i >> 7), (uint8_t)(i << 1)}}, .length = 24};
	gate_set_listed(gate, many, MANY);
	free(many);
}

static struct gate *make_gate(enum kind kind)
{
	struct kill_switch *settings;
	struct gate_plan plan = gate_plan_named("tunnel", &settings);
	struct gate *gate;
	if (gate_new(&gate) < 0)
		die("cannot open the gate's sockets");
	if (kind == LISTED) {
		plan.granted = 1u << GRANT_LISTED | 1u << GRANT_NETWORK | 1u << GRANT_HOST;
		list_networks(gate);
	} else {
		plan.local_link_count = 0;
	}
	if (gate_apply(gate, &plan) < 0)
		die(gate_error(gate));
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

static void print(const double quick[KINDS])
{
	printf("throughput through the gate / without: %.3f (goal: at least %.2f)\n", quick[BARE] / quick[GATE], OF_BARE_MIN);
	printf("throughput through the gate with 100,000 networks listed / without: %.3f (goal: at least %.2f)\n", quick[BARE] / quick[LISTED], OF_BARE_MIN);
	printf("throughput beside a host's firewall, gate / none: %.3f (goal: at least %.2f)\n", quick[HOST] / quick[BESIDE], OF_BARE_MIN);
	printf("throughput over a link of 1 Gbit/s, gate / none: %.3f (goal: at least %.2f)\n", quick[LINK] / quick[GATED], OF_BARE_MIN);
	printf("  through empty chains / without           %.3f: what any nftables firewall with conntrack costs here\n", quick[BARE] / quick[FLOOR]);
	printf("  through the gate / through empty chains  %.3f\n", quick[FLOOR] / quick[GATE]);
	for (enum kind kind = 0; kind < KINDS; kind++)
		printf("  %-6s %8.0f MB/s\n", names[kind], TRANSFER / quick[kind]);
}

static void make_kind(enum kind kind, struct side *side, struct gate **gate)
{
	*side = make_side();
	if (kind == FLOOR)
		make_floor();
	if (kind == HOST || kind == BESIDE)
		make_host();
	if (kind == LINK || kind == GATED)
		slow_link();
	if (kind == GATE || kind == LISTED || kind == BESIDE || kind == GATED)
		*gate = make_gate(kind);
}

/* The lower quarters of the kinds from FIRST to before END, which take turns. */
static void measure(const struct side sides[KINDS], enum kind first, enum kind end, unsigned rounds, double quick[KINDS])
{
	static double took[KINDS][ROUNDS];
	unsigned count = end - first, warm_up = rounds / 30 + 1;
	for (unsigned round = 0; round < warm_up + rounds; round++)
		for (unsigned turn = 0; turn < count; turn++) {
			enum kind kind = first + (round + turn) % count;
			double usec = transfer(&sides[kind]);
			if (round >= warm_up)
				took[kind][round - warm_up] = usec;
		}
	for (enum kind kind = first; kind < end; kind++)
		quick[kind] = quantile(took[kind], rounds, 25);
}

int main(void)
{
	struct side sides[KINDS];
	struct gate *gates[KINDS] = {};
	double quick[KINDS];
	stay_here();
	for (enum kind kind = 0; kind < KINDS; kind++)
		make_kind(kind, &sides[kind], &gates[kind]);
	measure(sides, 0, LINK, ROUNDS, quick);
	measure(sides, LINK, KINDS, ON_LINKS, quick);
	for (enum kind kind = 0; kind < KINDS; kind++)
		if (gates[kind] && gate_verify(gates[kind]) < 0)
			die("the gate did not stand all the while");
	print(quick);
	for (enum kind kind = 0; kind < KINDS; kind++) {
		gate_free(gates[kind]);
		end_side(&sides[kind]);
	}
	return quick[FLOOR] / quick[GATE] >= GUARD_OF_FLOOR ? EXIT_SUCCESS : EXIT_FAILURE;
}
