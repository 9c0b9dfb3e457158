/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Tunnels whose client is the kernel: the daemon has the device, and does what the tunnel's worker asks for, on values that it
 * has checked. See struct driver_device.
 */

#include "daemon/manager.h"

/* Before a worker is started: whether the kernel is to carry the tunnel. Negative: it must and cannot; `detail` says why. */
int device_choose(struct tunnel_runtime *runtime);
/* The name of what carries the tunnel, where its driver knows several; else NULL. */
const char *device_implementation(const struct tunnel_runtime *runtime);
/* Does what the tunnel's worker asks for and answers it. */
void device_ask(struct manager *manager, size_t index, enum device_request request);
/* Silences every device whose tunnel has no attempt and no session: after the gate, which closed for it. */
void device_follow(struct manager *manager);
/* Nothing of the device's own leaves any more, and the kernel has no key of it: before the worker's end is acted upon. Once is enough. */
void device_silence(struct tunnel_runtime *runtime);
