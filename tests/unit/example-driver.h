/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A driver of tests alone: it stands in no table. */

#include "tunnel/driver.h"

extern const struct driver driver_example;
