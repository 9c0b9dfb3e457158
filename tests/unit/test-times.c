/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Times as the status tells them. */

#include <json-c/json.h>
#include <string.h>

#include "daemon/manager.h"
#include "suite.h"
#include "util/macro.h"
#include "util/text.h"

/* Each deadline falls on another microsecond, so that some of them are where a millisecond ends. */
static void a_deadline_that_stands_is_told_alike_each_time(void)
{
	uint64_t begun = manager_now() + USEC_PER_SEC;
	for (uint64_t deadline = begun; deadline < begun + 3 * USEC_PER_MSEC; deadline++) {
		json_object *first = json_boottime(deadline), *second = json_boottime(deadline);
		bool alike = json_object_equal(first, second);
		json_object_put(first);
		json_object_put(second);
		CU_ASSERT_TRUE_FATAL(alike);
	}
}

static void no_deadline_is_null(void)
{
	CU_ASSERT_PTR_NULL(json_boottime(0));
	CU_ASSERT_PTR_NULL(json_boottime(USEC_INFINITY));
}

static void a_deadline_is_told_by_the_wall_clock(void)
{
	uint64_t now = manager_realtime();
	json_object *soonest = json_time(now + 59 * USEC_PER_SEC), *told = json_boottime(manager_now() + 60 * USEC_PER_SEC),
		    *latest = json_time(now + 120 * USEC_PER_SEC);
	CU_ASSERT_TRUE(strcmp(json_object_get_string(soonest), json_object_get_string(told)) < 0);
	CU_ASSERT_TRUE(strcmp(json_object_get_string(told), json_object_get_string(latest)) < 0);
	json_object_put(soonest);
	json_object_put(told);
	json_object_put(latest);
}

static const struct test tests[] = {
	{"a deadline that stands is told alike each time", a_deadline_that_stands_is_told_alike_each_time},
	{"no deadline is null", no_deadline_is_null},
	{"a deadline is told by the wall clock", a_deadline_is_told_by_the_wall_clock},
};

int main(int argc, char **argv)
{
	return suite_run("times", tests, ELEMENTSOF(tests), argc, argv);
}
