/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Durations as documents write them. */

#include "util/duration.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/macro.h"

static const struct {
	const char *suffix;
	uint64_t usec;
} units[] = {
	{"d", 24 * 3600 * USEC_PER_SEC},
	{"h", 3600 * USEC_PER_SEC},
	{"m", 60 * USEC_PER_SEC},
	{"s", USEC_PER_SEC},
	{"ms", USEC_PER_MSEC},
};

int duration_parse(const char *text, uint64_t *ret_usec)
{
	uint64_t number = 0;
	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	for (; isdigit((unsigned char)*text); text++) {
		number = number * 10 + (uint64_t)(*text - '0');
		number = MIN_OF(number, DURATION_MAX_USEC + 1); /* too long in whatever unit, and no overflow */
	}
	for (size_t i = 0; i < ELEMENTSOF(units); i++)
		if (strcmp(text, units[i].suffix) == 0) {
			if (number > DURATION_MAX_USEC / units[i].usec)
				return -ERANGE;
			*ret_usec = number * units[i].usec;
			return 0;
		}
	return -EINVAL;
}

const char *duration_fault(int error)
{
	return error == -ERANGE ? "is too long; durations are at most 3650d" : "is no duration; write 250ms, 1s, 5m, 2h or 1d";
}

const char *duration_format(char buffer[DURATION_TEXT_MAX], uint64_t usec)
{
	for (size_t i = 0; i < ELEMENTSOF(units); i++)
		if (usec >= units[i].usec && usec % units[i].usec == 0) {
			snprintf(buffer, DURATION_TEXT_MAX, "%" PRIu64 "%s", usec / units[i].usec, units[i].suffix);
			return buffer;
		}
	snprintf(buffer, DURATION_TEXT_MAX, "%" PRIu64 "ms", usec / USEC_PER_MSEC);
	return buffer;
}
