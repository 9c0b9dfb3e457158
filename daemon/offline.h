/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What holdfastd does without a loop: the boot step, the check of the documents, the way out. Each says on stderr what it found. */

#include <stdbool.h>

struct configuration;
struct options;

/* Closes the gate from the saved state if the mode is `always`, a tunnel is still wanted, or that cannot be read. Negative errno. */
int offline_boot(const struct options *options);
/* Validates every document; CHECK_FRONTS the files that holdfast.json names. -EINVAL: one has errors. */
int offline_check(const struct options *options, bool (*check_fronts)(const struct configuration *configuration));
/* Removes every kernel object of Holdfast's and puts the resolver back; writes no marker (holdfastctl does, first). */
int offline_release(const struct options *options);
