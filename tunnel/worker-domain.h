/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/*
 * Workers of several tunnels are processes of the same user, which the kernel lets look into each other (ptrace(2),
 * /proc/PID/mem) and end each other. A domain of Landlock's of its own keeps a worker, and what it starts, from that.
 */

/*
 * Enters a domain of its own, for good and for all descendants. Nothing else is restricted. From Linux 5.19 on nobody
 * outside can be looked into, from 6.12 on nobody outside can be sent a signal. No new privileges must be set.
 * -EOPNOTSUPP: this kernel has no Landlock, or too old a one. Negative errno.
 */
int worker_domain_enter(void);
/* Whether this kernel has what that takes. */
bool worker_domain_possible(void);
