/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The packet marks. The settings' fwmark.value and fwmark.mask reserve the bits under the mask; the kinds of marked
 * traffic are consecutive values from `value` on, counted in the mask's lowest bit. With the default
 * 0x68660000/0xffff0000 ("hf"): worker 0x68660000, inbound services 0x68670000, granted addresses and domains
 * 0x68680000, released 0x68690000, the connectivity check 0x686a0000. What carries one of these takes the host's own
 * routes. The last kind, 0x686b0000, only says where a socket was born (NetworkManager's cgroup): with it the check's own
 * connections alone take the host's routes.
 *
 * Each grant to a process has a mark of its own, so that one can be taken back from sockets that live. They stand in a
 * block above the kinds, which one routing rule covers: 0x69000000/0xff000000. Who gets which, and when again: daemon/grants-marks.c.
 */

#include <stdbool.h>
#include <stdint.h>

enum mark_kind {
	MARK_WORKER,
	MARK_INBOUND,
	MARK_ADDRESS,
	MARK_RELEASED,
	MARK_CHECK,
	MARK_ROUTED_COUNT,
	MARK_CHECKER = MARK_ROUTED_COUNT,
	MARK_KIND_COUNT
};

static inline uint32_t mark_value(uint32_t value, uint32_t mask, enum mark_kind kind)
{
	return value + (uint32_t)kind * (mask & -mask);
}

#define MARK_GRANTS_MAX 256u

struct mark_block {
	uint32_t first, mask; /* MARK belongs to it: (MARK & mask) == first */
	uint32_t step;        /* between one grant's mark and the next's */
	unsigned count;       /* 0: no room under the mask */
};

/* The largest aligned block of at most MARK_GRANTS_MAX marks above the kinds, under the mask. */
static inline struct mark_block mark_grants(uint32_t value, uint32_t mask)
{
	uint32_t step = mask & -mask, last = step ? mask / step : 0;
	uint32_t above = step ? value / step + MARK_KIND_COUNT : 0;
	for (uint32_t count = MARK_GRANTS_MAX; step && count; count /= 2) {
		uint64_t first = ((uint64_t)above + count - 1) / count * count;
		if (first + count - 1 <= last)
			return (struct mark_block){(uint32_t)first * step, mask & ~((count - 1) * step), step, count};
	}
	return (struct mark_block){};
}

static inline bool mark_is_grant(const struct mark_block *block, uint32_t mark)
{
	return block->count && (mark & block->mask) == block->first && (mark & (block->step - 1)) == 0;
}

#define MARK_DEFAULT_VALUE 0x68660000u
#define MARK_DEFAULT_MASK  0xffff0000u
