/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/bench/measure.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

uint64_t now_nsec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

double usec_since(uint64_t start_nsec)
{
	return (double)(now_nsec() - start_nsec) / 1000;
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

double quantile(double *samples, size_t count, unsigned hundredths)
{
	qsort(samples, count, sizeof *samples, compare);
	return samples[MIN_OF(count * hundredths / 100, count - 1)];
}

double median(double *samples, size_t count)
{
	return quantile(samples, count, 50);
}

void die(const char *what)
{
	fprintf(stderr, "%s: %s (%s)\n", program_invocation_short_name, what, strerror(errno));
	exit(EXIT_FAILURE);
}

void own_namespace(void)
{
	struct stat before, after;
	if (stat("/proc/self/ns/net", &before) < 0 || unshare(CLONE_NEWNET) < 0 || stat("/proc/self/ns/net", &after) < 0 ||
		before.st_ino == after.st_ino)
		die("no network namespace of its own");
}
