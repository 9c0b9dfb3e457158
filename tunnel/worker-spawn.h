/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The start of a worker's process: what it is born with, and what it is not. */

#include "tunnel/worker.h"

#define WORKER_NONCE_FD 3 /* where the worker finds its nonce, in hexadecimal, up to the end */

/* Starts SPEC's program as `holdfast-worker TUNNEL SOCKET_PATH`. Negative errno: nothing was started. */
int worker_process_start(const struct worker_spec *spec, const char *nonce, pid_t *ret_pid, int *ret_pidfd);
