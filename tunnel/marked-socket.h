/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

#include "util/address.h"

/*
 * A UDP socket that carries MARK and is connected to TO, which sends nothing: the kernel is asked for the route and the
 * source address, and takes packets from TO alone afterwards. Non-blocking. The caller's to close; negative errno,
 * -ENETUNREACH and -EHOSTUNREACH where there is no route.
 */
int marked_socket_connect(const struct endpoint *to, uint32_t mark);
/* Whether this process may give sockets MARK, so that what it starts may, too: only where none could be given at birth. */
bool marked_socket_allowed(uint32_t mark);
