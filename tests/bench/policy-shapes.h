/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Policies to measure: shapes of rules that people write, each repeated as often as wanted. */

#include "policy/policy.h"
#include "util/text.h"

struct policy_shape {
	const char *name; /* what tells its rules apart */
	void (*when)(struct text *text, unsigned i); /* the conditions of rule I */
};

const struct policy_shape *policy_shapes(size_t *ret_count);

/* A document of COUNT rules of SHAPE; the caller owns it. Ends the program where it does not parse. */
json_object *policy_shape_document(const struct policy_shape *shape, unsigned count);
struct policy *policy_shape_make(const struct policy_shape *shape, unsigned count);
