/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a plan to rules: pure. */

#include "firewall/gate.h"
#include "firewall/ruleset.h"

/*
 * Renders PLAN into *RET, which is empty before (and stays so on error). -EINVAL: the plan holds what may not enter
 * rule text, or more than fits; *ret_reason (static) then says what.
 */
int render_plan(const struct gate_plan *plan, struct ruleset *ret, const char **ret_reason);
