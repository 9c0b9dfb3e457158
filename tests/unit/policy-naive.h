/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The policy language a second time, straight from the JSON document and as plainly as it can be said: no compiled
 * form, no index, no tables. Slow, allocates, knows good documents only. What the engine decides is compared with it.
 */

#include "policy/policy.h"

struct naive_decision {
	int rule;
	const char *action; /* its name; NULL: nothing */
	double delay_usec;  /* before rounding */
	bool limited;
};

struct naive_decision naive_evaluate(json_object *document, const struct policy_context *context);
