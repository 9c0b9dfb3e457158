/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Durations as documents write them: a whole number and one unit, 250ms, 1s, 5m, 2h, 1d. */

#include <stdint.h>

#define DURATION_MAX_USEC (3650ULL * 24 * 3600 * 1000000) /* ten years; longer ones are typing errors */
#define DURATION_TEXT_MAX 32

/* Returns 0 and *ret_usec, -EINVAL (no duration) or -ERANGE (over DURATION_MAX_USEC). */
int duration_parse(const char *text, uint64_t *ret_usec);
/* What is wrong with a text of which duration_parse() returned ERROR. */
const char *duration_fault(int error);

/* The shortest exact form in the largest unit that divides it; microseconds are cut to milliseconds. Returns BUFFER. */
const char *duration_format(char buffer[DURATION_TEXT_MAX], uint64_t usec);
