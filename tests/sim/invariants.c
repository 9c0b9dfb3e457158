/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The names and sentences of what must hold. Where each is looked at, model.c and world.c say. */

#include <stdarg.h>

#include "tests/sim/sim.h"

static const struct {
	const char *name, *sentence;
} invariants[] = {
#define INVARIANT(constant, name, sentence) {name, sentence},
#include "tests/sim/invariants.def"
#undef INVARIANT
};

const char *invariant_name(enum invariant invariant)
{
	return invariants[invariant].name;
}

const char *invariant_sentence(enum invariant invariant)
{
	return invariants[invariant].sentence;
}

/* The first one counts: what comes after it may follow from it. */
void violate(struct world *world, enum invariant invariant, const char *format, ...)
{
	va_list arguments;
	if (world->violation.happened)
		return;
	world->violation.happened = true;
	world->violation.invariant = invariant;
	va_start(arguments, format);
	vsnprintf(world->violation.text, sizeof world->violation.text, format, arguments);
	va_end(arguments);
}
