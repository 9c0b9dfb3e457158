/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "tunnel/protocol.h"

/*
 * Whether what a server gave can be a tunnel's: at least one address, addresses and resolvers that a host can have and
 * ask, none of them the server's own, an MTU that the IP versions in use allow. If not, SENTENCE says what is wrong.
 * The worker asks before it says that it is up; the daemon asks again, before it applies anything.
 */
bool tunnel_network_valid(const struct tunnel_network *network, char sentence[WORKER_DETAIL_MAX]);
