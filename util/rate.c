/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "util/rate.h"

#define AT_ONCE 8

bool rate_allows(struct rate *rate, uint64_t now_usec)
{
	uint64_t back = (now_usec - rate->since_usec) / RATE_USEC;
	bool all = back >= rate->spent;
	rate->spent -= all ? rate->spent : (unsigned)back;
	rate->since_usec = all ? now_usec : rate->since_usec + back * RATE_USEC;
	return rate->spent < AT_ONCE;
}

void rate_spend(struct rate *rate)
{
	rate->spent++;
}
