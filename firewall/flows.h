/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Connections in flowtables of others. What the kernel forwards for them passes by every chain: once such a connection was let by, no rule
 * holds it. The kernel throws one out of its flowtable with the first packet that finds its connection deleted.
 */

#include <libmnl/libmnl.h>

/* SOCKET: as elements_open() makes it. Ends them all; the next packet of each is judged by the rules. 0 also where there are none. */
int flows_end(struct mnl_socket *socket);
