/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The kernel's WireGuard as the `wireguard` driver's client: the daemon's half, see struct driver_device. */

#include "tunnel/driver.h"

extern const struct driver_device wireguard_kernel;
