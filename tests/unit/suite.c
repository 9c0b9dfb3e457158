/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs a table of CUnit tests and prints TAP. */

#include "suite.h"

#include <stdbool.h>
#include <string.h>

#include "util/file.h"
#include "util/macro.h"
#include "util/text.h"

static void print_failures(void)
{
	for (CU_pFailureRecord record = CU_get_failure_list(); record; record = record->pNext)
		printf("#   %s:%u: %s\n", record->strFileName, record->uiLineNumber, record->strCondition);
}

int suite_run(const char *name, const struct test *tests, size_t count, int argc, char **argv)
{
	unsigned number = 0, failed = 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS)
		return EXIT_FAILURE;
	CU_pSuite suite = CU_add_suite(name, NULL, NULL);
	for (size_t i = 0; i < count; i++) {
		if (argc > 1 && !strstr(tests[i].property, argv[1]))
			continue;
		CU_pTest test = CU_add_test(suite, tests[i].property, tests[i].run);
		CU_run_test(suite, test); /* counts from nought */
		bool good = CU_get_number_of_failures() == 0 && CU_get_number_of_asserts() > 0;
		printf("%sok %u - %s: %s\n", good ? "" : "not ", ++number, name, tests[i].property);
		if (CU_get_number_of_asserts() == 0)
			printf("#   it asserted nothing\n");
		print_failures();
		failed += !good;
	}
	printf("1..%u\n", number);
	CU_cleanup_registry();
	return failed || number == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

const char *suite_source(void)
{
	const char *source = getenv("srcdir");
	return source ? source : ".";
}

void suite_golden(const char *name, const char *text)
{
	_cleanup_free_ char *path = text_format("%s/tests/unit/golden/%s", suite_source(), name);
	_cleanup_free_ char *golden = NULL;
	size_t length;
	if (getenv("HOLDFAST_REFRESH")) {
		CU_ASSERT_EQUAL(file_write_atomic(path, text, strlen(text), 0644), 0);
		return;
	}
	int r = file_read(path, &golden, &length);
	CU_ASSERT_EQUAL(r, 0);
	if (r < 0) {
		printf("# %s is missing; HOLDFAST_REFRESH=1 writes it\n", path);
		return;
	}
	bool same = strcmp(golden, text) == 0;
	CU_ASSERT_TRUE(same);
	if (!same)
		printf("# %s differs from what was made:\n%s# (end)\n", path, text);
}
