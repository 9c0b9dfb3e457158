/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How often something may be done that others can cause: a few times at once, and then once every RATE_USEC, so that whoever causes it
 * without end cannot eat the machine.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/macro.h"

#define RATE_USEC (20 * USEC_PER_MSEC)

struct rate {
	unsigned spent;	     /* 0: all may be done */
	uint64_t since_usec; /* when one last came back */
};

/* Whether one is left at NOW, of any clock that does not go back. */
bool rate_allows(struct rate *rate, uint64_t now_usec);
/* Takes one of those that are left. */
void rate_spend(struct rate *rate);
