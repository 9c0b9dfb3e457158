/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delta debugging (Zeller and Hildebrandt 2002): ever smaller pieces are left out as long as the same invariant is still violated. */

#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

static bool still_fails(uint64_t seed, const struct op *ops, size_t count, enum invariant invariant, struct world *world)
{
	return !episode_replay(seed, ops, count, world, NULL) && world->violation.invariant == invariant;
}

static size_t without(const struct op *ops, size_t count, size_t from, size_t length, struct op *ret)
{
	memcpy(ret, ops, from * sizeof *ops);
	memcpy(ret + from, ops + from + length, (count - from - length) * sizeof *ops);
	return count - length;
}

size_t shrink(uint64_t seed, struct op *ops, size_t count, enum invariant invariant, struct world *world)
{
	struct op *less = calloc(count ? count : 1, sizeof *less);
	for (size_t length = count / 2; less && length > 0;) {
		bool shorter = false;
		for (size_t from = 0; from + length <= count;) {
			size_t left = without(ops, count, from, length, less);
			if (!still_fails(seed, less, left, invariant, world)) {
				from += length;
				continue;
			}
			memcpy(ops, less, left * sizeof *ops);
			count = left;
			shorter = true;
		}
		if (!shorter || length > 1)
			length /= 2;
	}
	free(less);
	return count;
}
