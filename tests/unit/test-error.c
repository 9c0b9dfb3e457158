/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The errors' table. */

#include "policy/error.h"
#include "suite.h"

static void names_round_trip(void)
{
	for (enum tunnel_error error = TUNNEL_ERROR_NONE; error < TUNNEL_ERROR_COUNT; error++) {
		enum tunnel_error back;
		CU_ASSERT_EQUAL(tunnel_error_from_string(tunnel_error_to_string(error), &back), 0);
		CU_ASSERT_EQUAL(back, error);
	}
}

static void every_error_has_a_class_and_a_meaning(void)
{
	for (enum tunnel_error error = TUNNEL_ERROR_NONE + 1; error < TUNNEL_ERROR_COUNT; error++) {
		CU_ASSERT_TRUE(tunnel_error_meaning(error)[0] != 0);
		CU_ASSERT_EQUAL(tunnel_error_is_decidable(error), error < TUNNEL_ERROR_CONNECTION_CANCELED);
	}
}

static void what_is_no_name_is_refused(void)
{
	enum tunnel_error error;
	CU_ASSERT_EQUAL(tunnel_error_from_string("connectioncouldnotbeestablished", &error), -EINVAL);
	CU_ASSERT_EQUAL(tunnel_error_from_string("", &error), -EINVAL);
	CU_ASSERT_EQUAL(tunnel_error_from_string(NULL, &error), -EINVAL);
}

static const struct test tests[] = {
	{"names round-trip", names_round_trip},
	{"every error has a class and a meaning", every_error_has_a_class_and_a_meaning},
	{"what is no name is refused", what_is_no_name_is_refused},
};

int main(int argc, char **argv)
{
	return suite_run("error", tests, ELEMENTSOF(tests), argc, argv);
}
