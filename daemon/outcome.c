/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How operations end, and who may start them: the tables that every front reads. The list itself is outcome.def. */

#include "daemon/operations.h"

static const char *const scope_names[] = {
	[SCOPE_NONE] = "none",
	[SCOPE_READ] = "read",
	[SCOPE_CONTROL] = "control",
	[SCOPE_ADMIN] = "admin",
};
DEFINE_STRING_TABLE(scope, enum scope, scope_names);

static const char *const outcome_names[] = {
#define OUTCOME(constant, code, status, title) [OUTCOME_##constant] = code,
#include "daemon/outcome.def"
#undef OUTCOME
};
DEFINE_STRING_TABLE(outcome, enum outcome, outcome_names);

static const struct {
	int status;
	const char *title;
} outcomes[] = {
#define OUTCOME(constant, code, http, words) [OUTCOME_##constant] = {http, words},
#include "daemon/outcome.def"
#undef OUTCOME
};

int outcome_status(enum outcome outcome)
{
	return (size_t)outcome < ELEMENTSOF(outcomes) ? outcomes[outcome].status
						      : outcomes[OUTCOME_INTERNAL_ERROR].status;
}

const char *outcome_title(enum outcome outcome)
{
	return (size_t)outcome < ELEMENTSOF(outcomes) ? outcomes[outcome].title
						      : outcomes[OUTCOME_INTERNAL_ERROR].title;
}
