/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What verification costs: a gate transition (render, commit, read back, compare) over the bare libnftables commit of
 * the same texts, in a network namespace of its own. Rounds are interleaved, so that what else the machine does meets
 * both alike; it only ever slows, so the lower quartiles are compared. Where the first rounds do not show that the limit
 * is kept there are more: all count.
 */

#include <nftables/libnftables.h>

#include "firewall/gate.h"
#include "tests/bench/measure.h"
#include "tests/unit/gate-plans.h"

#define ROUNDS       1000
#define ROUNDS_MAX   4000
#define RATIO_MAX    1.2 /* the goal, which more rounds are made for */
#define RATIO_GUARD  1.5 /* beyond it something broke, not the machine was busy */
#define FRESH_ROUNDS 50
#define WARM_UP      50

static double quick(double *samples, size_t count)
{
	return quantile(samples, count, 25);
}

static double transition(struct gate *gate, const struct gate_plan *plan)
{
	uint64_t start = now_nsec();
	if (gate_apply(gate, plan) < 0)
		die(gate_error(gate));
	return usec_since(start);
}

static double bare(struct nft_ctx *nft, const char *text)
{
	uint64_t start = now_nsec();
	if (nft_run_cmd_from_buffer(nft, text) != 0)
		die(nft_ctx_get_error_buffer(nft));
	return usec_since(start);
}

static double verification(struct gate *gate)
{
	uint64_t start = now_nsec();
	if (gate_verify(gate) < 0)
		die(gate_error(gate));
	return usec_since(start);
}

static double fresh_context(const char *text)
{
	uint64_t start = now_nsec();
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (nft_run_cmd_from_buffer(nft, text) != 0)
		die("a fresh context failed");
	nft_ctx_free(nft);
	return usec_since(start);
}

int main(void)
{
	static double gate_samples[ROUNDS_MAX], bare_samples[ROUNDS_MAX], fresh_samples[FRESH_ROUNDS], verify_samples[ROUNDS];
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
		double taken[2] = {};
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
			ratio = quick(gate_samples, rounds) / quick(bare_samples, rounds);
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
	printf("  transition, verified       %7.0f us\n", quick(gate_samples, rounds));
	printf("  bare commit, kept context  %7.0f us\n", quick(bare_samples, rounds));
	printf("  medians of these two       %7.0f us, %.0f us\n", median(gate_samples, rounds), median(bare_samples, rounds));
	printf("  bare commit, fresh context %7.0f us\n", quick(fresh_samples, FRESH_ROUNDS));
	printf("  verification alone         %7.0f us\n", quick(verify_samples, ROUNDS));
	gate_free(gate);
	nft_ctx_free(nft);
	for (size_t i = 0; i < 2; i++) {
		free(texts[i]);
		kill_switch_free(settings[i]);
	}
	return ratio <= RATIO_GUARD ? EXIT_SUCCESS : EXIT_FAILURE;
}
