/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* openapi.yaml against the table of operations: neither has what the other lacks. */

#include <string.h>
#include <strings.h>

#include "daemon/operations.h"
#include "tests/unit/suite.h"
#include "util/file.h"
#include "util/text.h"

#define PREFIX "/v1"

/* One operation of the document, as its indentation says it. */
struct described {
	char path[128], method[8], name[64], stream[64];
	bool dry_run;
};

static struct described described[128];
static size_t described_count;

static void read_line(const char *line, struct described *now)
{
	char name[64];
	if (strncmp(line, "  /", 3) == 0) {
		*now = (struct described){};
		sscanf(line, "  %127[^ :]", now->path);
	} else if (strncmp(line, "    ", 4) == 0 && line[4] != ' ') {
		sscanf(line, "    %7[a-z]", now->method);
	} else if (sscanf(line, "      operationId: %63s", name) == 1) {
		struct described *entry = &described[described_count++];
		*entry = *now;
		memcpy(entry->name, name, sizeof name);
	} else if (sscanf(line, "      x-holdfast-stream: %63s", name) == 1) {
		memcpy(described[described_count - 1].stream, name, sizeof name);
	} else if (strcmp(line, "        - $ref: '#/components/parameters/DryRun'") == 0) {
		described[described_count - 1].dry_run = true;
	}
}

static void read_description(void)
{
	_cleanup_free_ char *path = text_format("%s/openapi.yaml", suite_source()), *text = NULL;
	struct described now = {};
	size_t length;
	described_count = 0;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &text, &length), 0);
	char *rest = text;
	for (char *line; (line = strsep(&rest, "\n")) && strcmp(line, "components:") != 0;) {
		CU_ASSERT_TRUE_FATAL(described_count < ELEMENTSOF(described));
		read_line(line, &now);
	}
	CU_ASSERT_TRUE(described_count > 20);
}

static bool is_described(const struct operation *operation)
{
	for (size_t i = 0; i < described_count; i++) {
		const char *name = operation->flags & OPERATION_STREAM ? described[i].stream : described[i].name;
		if (strcmp(name, operation->name) == 0)
			return strncmp(described[i].path, PREFIX, strlen(PREFIX)) == 0 &&
			       strcmp(described[i].path + strlen(PREFIX), operation->path) == 0 &&
			       strcasecmp(described[i].method, operation->method) == 0;
	}
	return false;
}

static void every_operation_is_described(void)
{
	size_t count;
	const struct operation *operations = operations_all(&count);
	read_description();
	for (size_t i = 0; i < count; i++) {
		bool found = is_described(&operations[i]);
		CU_ASSERT_TRUE(found);
		if (!found)
			printf("# %s %s%s (%s) is not in openapi.yaml\n", operations[i].method, PREFIX,
				operations[i].path, operations[i].name);
	}
}

static void every_description_has_its_operation(void)
{
	read_description();
	for (size_t i = 0; i < described_count; i++) {
		bool page = strncmp(described[i].path, PREFIX "/", strlen(PREFIX) + 1) != 0;
		bool found = page || operation_find(described[i].name);
		CU_ASSERT_TRUE(found);
		CU_ASSERT_TRUE(!described[i].stream[0] || operation_find(described[i].stream));
		if (!found)
			printf("# openapi.yaml describes %s, which is no operation\n", described[i].name);
	}
}

static void every_write_has_a_dry_run(void)
{
	read_description();
	for (size_t i = 0; i < described_count; i++) {
		const struct operation *operation = operation_find(described[i].name);
		bool fits = described[i].dry_run == (operation && operation->flags & OPERATION_WRITE);
		CU_ASSERT_TRUE(fits);
		if (!fits)
			printf("# dryRun of %s\n", described[i].name);
	}
}

static void every_write_tells_whether_it_changed(void)
{
	size_t count;
	const struct operation *operations = operations_all(&count);
	for (size_t i = 0; i < count; i++) {
		const struct operation *operation = &operations[i];
		bool told = operation->result_count > 0 && strcmp(operation->results[0].name, "changed") == 0;
		CU_ASSERT_EQUAL(told, (operation->flags & OPERATION_WRITE) != 0);
		CU_ASSERT_EQUAL(strcmp(operation->method, "GET") != 0 && operation->scope > SCOPE_READ, (operation->flags & OPERATION_WRITE) != 0);
		if (told != ((operation->flags & OPERATION_WRITE) != 0))
			printf("# the results of %s\n", operation->name);
	}
}

static void every_code_is_described(void)
{
	_cleanup_free_ char *path = text_format("%s/openapi.yaml", suite_source()), *text = NULL;
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &text, &length), 0);
	for (enum outcome outcome = OUTCOME_OK; outcome < OUTCOME_COUNT; outcome++) {
		_cleanup_free_ char *line = text_format("\n            - %s\n", outcome_to_string(outcome));
		bool found = outcome_status(outcome) < 300 || strstr(text, line);
		CU_ASSERT_TRUE(found);
		if (!found)
			printf("# the code %s is not in openapi.yaml\n", outcome_to_string(outcome));
	}
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"every operation is described, at its path and method", every_operation_is_described},
		{"every description has its operation", every_description_has_its_operation},
		{"every write has a dry run, and nothing else", every_write_has_a_dry_run},
		{"every write tells whether it changed anything, over D-Bus first of all", every_write_tells_whether_it_changed},
		{"every code of a problem is described", every_code_is_described},
	};
	return suite_run("openapi", tests, ELEMENTSOF(tests), argc, argv);
}
