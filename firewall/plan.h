/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "firewall/gate.h"

/* What is wrong with PLAN (static), or NULL. Settings are checked where they are parsed; here only what would break the text. */
const char *plan_reason(const struct gate_plan *plan);
