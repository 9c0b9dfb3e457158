/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What verification costs: a gate transition (render, commit, read back, compare) over the bare libnftables commit of
 * the same texts, in a network namespace of its own. Rounds are interleaved, so that what else the machine does meets
 * both alike; it only ever slows, so the lower quartiles are compared. Where the first rounds do not show that the limit
 * is kept there are more: all count.
 */

#include <errno.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "firewall/gate.h"
#include "tests/unit/gate-plans.h"

#define ROUNDS       1000
#define ROUNDS_MAX   4000
#define RATIO_MAX    1.2 /* the goal, which more rounds are made for */
#define RATIO_GUARD  1.5 /* beyond it something broke, not the machine was busy */
#define FRESH_ROUNDS 50
#define WARM_UP      50

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

/* Of each HUNDREDTHS of them: 50 is the median. */
static double quantile_usec(uint64_t *samples, size_t count, size_t hundredths)
{
	qsort(samples, count, sizeof *samples, compare);
	return (double)samples[count * hundredths / 100] / 1000;
}

static double quick_usec(uint64_t *samples, size_t count)
{
	return quantile_usec(samples, count, 25);
}

static void die(const char *what)
{
	printf("gate: %s\n", what);
	exit(EXIT_FAILURE);
}

static uint64_t transition(struct gate *gate, const struct gate_plan *plan)
{
	uint64_t start = now_nsec();
	if (gate_apply(gate, plan) < 0)
		die(gate_error(gate));
	return now_nsec() - start;
}

static uint64_t bare(struct nft_ctx *nft, const char *text)
{
	uint64_t start = now_nsec();
	if (nft_run_cmd_from_buffer(nft, text) != 0)
		die(nft_ctx_get_error_buffer(nft));
	return now_nsec() - start;
}

static uint64_t verification(struct gate *gate)
{
	uint64_t start = now_nsec();
	if (gate_verify(gate) < 0)
		die(gate_error(gate));
	return now_nsec() - start;
}

static uint64_t fresh_context(const char *text)
{
	uint64_t start = now_nsec();
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (nft_run_cmd_from_buffer(nft, text) != 0)
		die("a fresh context failed");
	nft_ctx_free(nft);
	return now_nsec() - start;
}

static void own_namespace(void)
{
	struct stat before, after;
	if (stat("/proc/self/ns/net", &before) < 0 || unshare(CLONE_NEWNET) < 0 ||
	        stat("/proc/self/ns/net", &after) < 0 || before.st_ino == after.st_ino)
		die("no network namespace of its own");
}

int main(void)
{
	static uint64_t gate_samples[ROUNDS_MAX], bare_samples[ROUNDS_MAX], fresh_samples[FRESH_ROUNDS], verify_samples[ROUNDS];
	struct kill_switch *settings[2] = {};
	own_namespace();
	struct gate_plan plans[] = {
	        gate_plan_named("connecting", &settings[0]), gate_plan_named("tunnel", &settings[1])};
	char *texts[] = {gate_render(&plans[0]), gate_render(&plans[1])};
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	struct gate *gate;
	nft_ctx_buffer_error(nft);
	if (gate_new(&gate) < 0)
		die("cannot open the gate's sockets");
	/* Every commit changes the table: what one of the two makes, the other undoes. They take turns in going first.
	 */
	double ratio = RATIO_MAX;
	size_t rounds = 0;
	for (int round = -WARM_UP; round < ROUNDS_MAX; round++) {
		size_t mine = (size_t)(round >> 1 & 1);
		uint64_t taken[2] = {};
		for (int half = 0; half < 2; half++)
			if ((round & 1) == half)
				taken[0] = transition(gate, &plans[mine]);
			else
				taken[1] = bare(nft, texts[!mine]);
		if (round >= 0) {
			gate_samples[round] = taken[0];
			bare_samples[round] = taken[1];
			rounds = (size_t)round + 1;
		}
		if (round >= 0 && rounds % ROUNDS == 0) {
			ratio = quick_usec(gate_samples, rounds) / quick_usec(bare_samples, rounds);
			if (ratio <= RATIO_MAX)
				break;
		}
	}
	if (gate_apply(gate, &plans[0]) < 0)
		die(gate_error(gate));
	for (int round = 0; round < ROUNDS; round++)
		verify_samples[round] = verification(gate);
	for (int round = 0; round < FRESH_ROUNDS; round++)
		fresh_samples[round] = fresh_context(texts[round & 1]);
	printf("gate transition / bare commit: %.2f (goal: at most %.1f), lower quartiles of %zu rounds\n", ratio, RATIO_MAX, rounds);
	printf("  transition, verified       %7.0f us\n", quick_usec(gate_samples, rounds));
	printf("  bare commit, kept context  %7.0f us\n", quick_usec(bare_samples, rounds));
	printf("  medians of these two       %7.0f us, %.0f us\n", quantile_usec(gate_samples, rounds, 50), quantile_usec(bare_samples, rounds, 50));
	printf("  bare commit, fresh context %7.0f us\n", quick_usec(fresh_samples, FRESH_ROUNDS));
	printf("  verification alone         %7.0f us\n", quick_usec(verify_samples, ROUNDS));
	gate_free(gate);
	nft_ctx_free(nft);
	for (size_t i = 0; i < 2; i++) {
		free(texts[i]);
		kill_switch_free(settings[i]);
	}
	return ratio <= RATIO_GUARD ? EXIT_SUCCESS : EXIT_FAILURE;
}
