/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The clock, the quantiles and the network namespace of the benchmarks. */

#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"

uint64_t now_nsec(void); /* CLOCK_MONOTONIC */
double usec_since(uint64_t start_nsec);

/* The sample that HUNDREDTHS of them are at most as large as: 50 is the median. Sorts SAMPLES, of which there is at least one. */
double quantile(double *samples, size_t count, unsigned hundredths);
double median(double *samples, size_t count);

/* Ends the program, which says WHAT and the last errno, on standard error. */
_Noreturn void die(const char *what);

/* Enters a new network namespace: sockets that are open stay in theirs. Ends the program where there is none to be had. */
void own_namespace(void);
