/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Clocks, and points in time as RFC 3339 (section 5.6) writes them: 2026-11-22T15:20:00Z, 2026-11-22T16:20:00.250+01:00. */

#include <stdint.h>
#include <time.h>

#define TIMESTAMP_TEXT_MAX 32

/*
 * Returns 0 and *ret_usec (CLOCK_REALTIME, digits beyond microseconds cut off), or -EINVAL: not of this form, no such day, without
 * a zone, or before 1970. A leap second counts as the one that follows.
 */
int timestamp_parse(const char *text, uint64_t *ret_usec);

/*
 * What a clock on the wall shows in the host's zone, which may have been set anew since the last call: the minute of the day, and the day,
 * 0 Monday … 6 Sunday. -1 and -1 where that is not known.
 */
void timestamp_local(uint64_t usec, int *ret_minute, int *ret_day);

/* What CLOCK shows, in microseconds. */
uint64_t clock_usec(clockid_t clock);

/* In UTC, to the millisecond: "2026-11-22T15:20:00.250Z". Returns BUFFER, which is empty for a time beyond the year 9999. */
const char *timestamp_format(char buffer[TIMESTAMP_TEXT_MAX], uint64_t usec);
