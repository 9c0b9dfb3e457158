/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Points in time as RFC 3339 writes them. */

#include "util/timestamp.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "util/macro.h"

#define FRACTION_DIGITS 6

/* COUNT digits at *TEXT, which moves on; false where they are not there. */
static bool digits(const char **text, int count, int *ret)
{
	int number = 0;
	for (; count > 0; count--, (*text)++) {
		if (!isdigit((unsigned char)**text))
			return false;
		number = number * 10 + (**text - '0');
	}
	*ret = number;
	return true;
}

static bool one_of(const char **text, const char *letters)
{
	for (; *letters; letters++)
		if (**text == *letters) {
			(*text)++;
			return true;
		}
	return false;
}

static bool read_date_time(const char **text, struct tm *ret)
{
	struct tm tm = {};
	bool read = digits(text, 4, &tm.tm_year) && one_of(text, "-") && digits(text, 2, &tm.tm_mon) && one_of(text, "-") &&
		    digits(text, 2, &tm.tm_mday) && one_of(text, "Tt ") && digits(text, 2, &tm.tm_hour) && one_of(text, ":") &&
		    digits(text, 2, &tm.tm_min) && one_of(text, ":") && digits(text, 2, &tm.tm_sec);
	if (!read || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
		return false;
	tm.tm_year -= 1900;
	tm.tm_mon--;
	*ret = tm;
	return true;
}

static bool read_fraction(const char **text, uint64_t *ret_usec)
{
	uint64_t usec = 0;
	int count = 0;
	if (!one_of(text, "."))
		return true;
	for (; isdigit((unsigned char)**text); (*text)++, count++)
		if (count < FRACTION_DIGITS)
			usec = usec * 10 + (uint64_t)(**text - '0');
	for (int i = count; i < FRACTION_DIGITS; i++)
		usec *= 10;
	*ret_usec = usec;
	return count > 0;
}

static bool read_zone(const char **text, int *ret_seconds)
{
	int hours, minutes;
	bool west = **text == '-';
	if (one_of(text, "Zz"))
		return true;
	if (!one_of(text, "+-") || !digits(text, 2, &hours) || !one_of(text, ":") || !digits(text, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*ret_seconds = (hours * 60 + minutes) * 60 * (west ? -1 : 1);
	return true;
}

/* timegm() makes the 1st of March of the 30th of February: such a day comes back as another one. */
static bool to_seconds(const struct tm *tm, time_t *ret)
{
	struct tm again = *tm;
	if (tm->tm_mon < 0 || tm->tm_mon > 11 || tm->tm_mday < 1)
		return false;
	again.tm_sec = 0;
	*ret = timegm(&again) + tm->tm_sec;
	return again.tm_mday == tm->tm_mday && again.tm_mon == tm->tm_mon;
}

int timestamp_parse(const char *text, uint64_t *ret_usec)
{
	struct tm tm;
	uint64_t usec = 0;
	int zone = 0;
	time_t seconds;
	if (!read_date_time(&text, &tm) || !read_fraction(&text, &usec) || !read_zone(&text, &zone) || *text || !to_seconds(&tm, &seconds))
		return -EINVAL;
	seconds -= zone;
	if (seconds < 0)
		return -EINVAL;
	*ret_usec = (uint64_t)seconds * USEC_PER_SEC + usec;
	return 0;
}

void timestamp_local(uint64_t usec, int *ret_minute, int *ret_day)
{
	time_t seconds = (time_t)(usec / USEC_PER_SEC);
	struct tm tm;
	tzset(); /* localtime_r() alone reads the zone once in a process's life */
	bool known = localtime_r(&seconds, &tm) != NULL;
	*ret_minute = known ? tm.tm_hour * 60 + tm.tm_min : -1;
	*ret_day = known ? (tm.tm_wday + 6) % 7 : -1;
}

const char *timestamp_format(char buffer[TIMESTAMP_TEXT_MAX], uint64_t usec)
{
	time_t seconds = (time_t)(usec / USEC_PER_SEC);
	struct tm tm;
	buffer[0] = 0;
	if (!gmtime_r(&seconds, &tm) || tm.tm_year > 9999 - 1900)
		return buffer;
	size_t length = strftime(buffer, TIMESTAMP_TEXT_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buffer + length, TIMESTAMP_TEXT_MAX - length, ".%03uZ", (unsigned)(usec / USEC_PER_MSEC % 1000));
	return buffer;
}

uint64_t clock_usec(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}
