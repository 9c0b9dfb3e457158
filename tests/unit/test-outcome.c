/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The tables of outcomes and scopes. */

#include "daemon/operations.h"

#include "tests/unit/suite.h"

static void outcomes_round_trip(void)
{
	for (enum outcome outcome = OUTCOME_OK; outcome < OUTCOME_COUNT; outcome++) {
		enum outcome parsed = OUTCOME_COUNT;
		CU_ASSERT_EQUAL(outcome_from_string(outcome_to_string(outcome), &parsed), 0);
		CU_ASSERT_EQUAL(parsed, outcome);
	}
	enum outcome unchanged = OUTCOME_OK;
	CU_ASSERT_EQUAL(outcome_from_string("noSuchOutcome", &unchanged), -EINVAL);
	CU_ASSERT_EQUAL(unchanged, OUTCOME_OK);
}

static void outcomes_have_status_and_title(void)
{
	for (enum outcome outcome = OUTCOME_OK; outcome < OUTCOME_COUNT; outcome++) {
		CU_ASSERT_TRUE(outcome_status(outcome) >= 200 && outcome_status(outcome) <= 599);
		CU_ASSERT_TRUE(outcome_title(outcome)[0] != 0);
	}
	CU_ASSERT_EQUAL(outcome_status(OUTCOME_PRECONDITION_REQUIRED), 428);
	CU_ASSERT_EQUAL(outcome_status(OUTCOME_COUNT), 500);
	CU_ASSERT_STRING_EQUAL(outcome_title(OUTCOME_COUNT), outcome_title(OUTCOME_INTERNAL_ERROR));
}

static void scopes_round_trip(void)
{
	for (enum scope scope = SCOPE_NONE; scope <= SCOPE_ADMIN; scope++) {
		enum scope parsed;
		CU_ASSERT_EQUAL(scope_from_string(scope_to_string(scope), &parsed), 0);
		CU_ASSERT_EQUAL(parsed, scope);
	}
	CU_ASSERT_TRUE(SCOPE_READ < SCOPE_CONTROL && SCOPE_CONTROL < SCOPE_ADMIN);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"every outcome has a code that leads back to it", outcomes_round_trip},
		{"every outcome has an HTTP status and a title, an impossible one those of an internal error",
			outcomes_have_status_and_title},
		{"scopes are ordered and have names that lead back to them", scopes_round_trip},
	};
	return suite_run("outcome", tests, sizeof tests / sizeof tests[0], argc, argv);
}
