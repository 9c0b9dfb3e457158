/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One CUnit program per module: a table of tests, each named after the property it shows. suite_run() prints TAP (a line per test),
 * so that the build's harness counts every test and a crash stays local to its module.
 */

#include <CUnit/CUnit.h>
#include <stddef.h>

struct test {
	const char *property; /* "a closed gate lets loopback by" */
	void (*run)(void);
};

/* Runs TESTS of the module NAME; returns the exit status for main(). With an argument, only tests whose property contains it. */
int suite_run(const char *name, const struct test *tests, size_t count, int argc, char **argv);

/* A golden file: compares TEXT with tests/unit/golden/NAME as a whole; HOLDFAST_REFRESH=1 in the environment rewrites it. */
void suite_golden(const char *name, const char *text);

/* Where the sources are ($srcdir of the build, else the working directory). */
const char *suite_source(void);
