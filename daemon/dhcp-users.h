/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "firewall/gate.h"

/* The users of this machine that DHCP clients run as, beside root. */
struct gate_dhcp_users dhcp_users_find(void);
