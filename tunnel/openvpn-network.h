/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the server pushed, told by OpenVPN as the variables that it would give to an `up` script (openvpn(8),
 * "Environmental Variables"). Routes are not among what is read: what goes into a tunnel is its document's to say. Pure.
 */

#include <stdbool.h>

#include "tunnel/protocol.h"

/* Puts the variable NAME into NETWORK, if it is one that says something of it. False: its value makes no sense, and
 * SENTENCE says so. */
bool openvpn_network_read(struct tunnel_network *network, const char *name, const char *value, char sentence[WORKER_DETAIL_MAX]);
