/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a long list costs, in a network namespace of its own: 100,000 networks that the settings list.
 *
 *   loading      gate_set_listed() and gate_apply() over `nft -f` of the same networks as text, into the same table
 *   adding one   gate_add_grant() beside 100,000 networks over the same beside 10
 *   transition   gate_apply() beside 100,000 networks over the same beside 10, and over the bare libnftables commit of the same text
 *
 * Rounds of both sides are interleaved, so that what else the machine does meets both alike; medians.
 */

#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "firewall/gate.h"
#include "tests/unit/gate-plans.h"
#include "util/text.h"

/* What fails is clear of the goals: reading all elements each time, which these are to catch, cost a thousand times as much. */
#define GUARD_LOAD   1.5
#define GUARD_ADD    3.0
#define GUARD_CHANGE 1.5
#define MANY        100000
#define FEW         10
#define LOAD_ROUNDS 5
#define ROUNDS      200
#define WARM_UP     10
#define KINDS       (1u << GRANT_LISTED | 1u << GRANT_NETWORK | 1u << GRANT_HOST)

struct bench {
	struct kill_switch *settings[2];
	struct gate_plan plans[2];
	struct ip_prefix *many;
	struct gate *gate;
};

static uint64_t now_nsec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
	return (a > b) - (a < b);
}

static double median_usec(uint64_t *samples, size_t count)
{
	qsort(samples, count, sizeof *samples, compare);
	return (double)samples[count / 2] / 1000;
}

static void die(const char *what)
{
	printf("sets: %s\n", what);
	exit(EXIT_FAILURE);
}

static void own_namespace(void)
{
	struct stat before, after;
	if (stat("/proc/self/ns/net", &before) < 0 || unshare(CLONE_NEWNET) < 0 || stat("/proc/self/ns/net", &after) < 0 ||
		before.st_ino == after.st_ino)
		die("no network namespace of its own");
}

/* Every other /24 from 20.0.0.0 on: none can be merged with the next. */
static struct ip_prefix network_of(size_t i)
{
	uint32_t address = 0x14000000u + ((uint32_t)i << 9);
	return (struct ip_prefix){.address = {.family = AF_INET, .bytes = {(uint8_t)(address >> 24), (uint8_t)(address >> 16), (uint8_t)(address >> 8)}},
		.length = 24};
}

static char *text_of(const struct ip_prefix *networks, size_t count)
{
	struct text text = TEXT_NULL;
	char buffer[IP_TEXT_MAX];
	text_append(&text, "flush set inet " GATE_TABLE " listed4\nadd element inet " GATE_TABLE " listed4 {\n");
	for (size_t i = 0; i < count; i++)
		text_append(&text, "%s,\n", ip_prefix_format(buffer, &networks[i]));
	text_append(&text, "}\n");
	return text_steal(&text);
}

static void apply(struct bench *bench, unsigned plan)
{
	if (gate_apply(bench->gate, &bench->plans[plan]) < 0)
		die(gate_error(bench->gate));
}

static void list(struct bench *bench, size_t count)
{
	gate_set_listed(bench->gate, bench->many, count);
	apply(bench, 0);
}

static void run_nft(const char *path)
{
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		execlp("nft", "nft", "-f", path, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("nft was lost");
	if (status != 0)
		die("nft -f failed");
}

static void write_file(char *path, const char *text)
{
	int fd = mkstemp(path);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0)
		die("the text cannot be written");
}

/* Before each the set is emptied, outside the time that is taken. */
static bool loading(struct bench *bench)
{
	static uint64_t ours[LOAD_ROUNDS], theirs[LOAD_ROUNDS];
	char path[] = "/tmp/holdfast-bench-XXXXXX";
	_cleanup_free_ char *text = text_of(bench->many, MANY);
	write_file(path, text);
	for (unsigned round = 0; round < LOAD_ROUNDS; round++)
		for (unsigned half = 0; half < 2; half++) {
			list(bench, 0);
			uint64_t start = now_nsec();
			if ((round & 1) == half) {
				list(bench, MANY);
				ours[round] = now_nsec() - start;
			} else {
				run_nft(path);
				theirs[round] = now_nsec() - start;
				list(bench, 1); /* or the next list() would find that nothing is listed, as it should be */
			}
		}
	unlink(path);
	double gate = median_usec(ours, LOAD_ROUNDS), nft = median_usec(theirs, LOAD_ROUNDS);
	printf("loading %d networks / nft -f of the same: %.2f (goal: at most 1.2)\n", MANY, gate / nft);
	printf("  by the gate, verified      %9.0f us\n  nft -f                     %9.0f us\n", gate, nft);
	return gate / nft <= GUARD_LOAD;
}

static void add(struct gate *gate, unsigned i)
{
	const struct gate_grant grant = {
		.kind = i & 1 ? GRANT_HOST : GRANT_NETWORK,
		.network = {.address = {.family = AF_INET, .bytes = {10, (uint8_t)(i >> 8), (uint8_t)i}}, .length = i & 1 ? 32 : 24},
		.until_usec = USEC_INFINITY,
	};
	if (gate_add_grant(gate, &grant) < 0)
		die(gate_error(gate));
}

enum { BESIDE_MANY, BESIDE_FEW, BARE, SAMPLES };
static uint64_t adding[2][ROUNDS], transition[SAMPLES][ROUNDS];

static void round_of(struct bench *bench, struct gate *gates[2], struct nft_ctx *nft, char *const texts[2], unsigned i)
{
	uint64_t added[2], taken[SAMPLES];
	for (unsigned turn = 0; turn < 2; turn++) {
		unsigned side = (turn + i) & 1;
		uint64_t start = now_nsec();
		add(gates[side], i);
		added[side] = now_nsec() - start;
		start = now_nsec();
		if (gate_apply(gates[side], &bench->plans[!(i & 1)]) < 0)
			die(gate_error(gates[side]));
		taken[side] = now_nsec() - start;
	}
	uint64_t start = now_nsec();
	if (nft_run_cmd_from_buffer(nft, texts[i & 1]) != 0)
		die(nft_ctx_get_error_buffer(nft));
	taken[BARE] = now_nsec() - start;
	for (unsigned side = 0; i >= WARM_UP && side < SAMPLES; side++) {
		transition[side][i - WARM_UP] = taken[side];
		if (side < BARE)
			adding[side][i - WARM_UP] = added[side];
	}
}

/* Sockets stay in the namespace that they were opened in: the few get one of their own, and both sides live at the same time. */
static bool beside(struct bench *bench)
{
	_cleanup_free_ char *first = gate_render(&bench->plans[0]), *second = gate_render(&bench->plans[1]);
	char *const texts[] = {first, second};
	struct gate *gates[] = {bench->gate, NULL};
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	nft_ctx_buffer_error(nft);
	list(bench, MANY);
	own_namespace();
	if (gate_new(&gates[BESIDE_FEW]) < 0)
		die("cannot open the gate's sockets");
	gate_set_listed(gates[BESIDE_FEW], bench->many, FEW);
	if (gate_apply(gates[BESIDE_FEW], &bench->plans[0]) < 0)
		die(gate_error(gates[BESIDE_FEW]));
	for (unsigned i = 0; i < WARM_UP + ROUNDS; i++)
		round_of(bench, gates, nft, texts, i);
	nft_ctx_free(nft);
	gate_free(gates[BESIDE_FEW]);
	double add[2], change[SAMPLES];
	for (unsigned side = 0; side < SAMPLES; side++)
		change[side] = median_usec(transition[side], ROUNDS);
	for (unsigned side = 0; side < 2; side++)
		add[side] = median_usec(adding[side], ROUNDS);
	printf("adding one beside %d / beside %d: %.2f (goal: at most 1.2)\n  %.1f us, %.1f us\n", MANY, FEW, add[0] / add[1], add[0], add[1]);
	printf("transition beside %d / bare commit of the same text: %.2f (goal: at most 1.2)\n  %.0f us, %.0f us; beside %d %.0f us\n", MANY,
		change[BESIDE_MANY] / change[BARE], change[BESIDE_MANY], change[BARE], FEW, change[BESIDE_FEW]);
	return add[BESIDE_MANY] / add[BESIDE_FEW] <= GUARD_ADD && change[BESIDE_MANY] / change[BARE] <= GUARD_CHANGE;
}

int main(void)
{
	struct bench bench = {.many = xcalloc(MANY, sizeof *bench.many)};
	own_namespace();
	bench.plans[0] = gate_plan_named("connecting", &bench.settings[0]);
	bench.plans[1] = gate_plan_named("tunnel", &bench.settings[1]);
	bench.plans[0].granted = bench.plans[1].granted = KINDS;
	for (size_t i = 0; i < MANY; i++)
		bench.many[i] = network_of(i);
	if (gate_new(&bench.gate) < 0)
		die("cannot open the gate's sockets");
	bool good = loading(&bench);
	good = beside(&bench) && good;
	gate_free(bench.gate);
	free(bench.many);
	for (size_t i = 0; i < 2; i++)
		kill_switch_free(bench.settings[i]);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
