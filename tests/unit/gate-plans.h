/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Plans of every kind, by name: what the golden files, the kernel tests and the benchmark render. */

#include "firewall/gate.h"

struct named_plan {
	const char *name;      /* of its golden file, less ".nft" */
	const char *settings;  /* kill-switch.json */
	struct gate_plan plan; /* less the settings */
};

extern const struct named_plan gate_plans[];
extern const size_t gate_plan_count;

/* The plan of that name, with its settings parsed into *RET_SETTINGS (the caller frees them). Aborts where there is
 * none. */
struct gate_plan gate_plan_named(const char *name, struct kill_switch **ret_settings);
/* The same for one of the table. */
struct gate_plan gate_plan_make(const struct named_plan *named, struct kill_switch **ret_settings);
