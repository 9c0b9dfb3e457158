/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* holdfastctl's table against that of the operations: neither names what the other lacks. */

#include <string.h>

#include "ctl/command.h"
#include "daemon/operations.h"
#include "suite.h"
#include "util/macro.h"
#include "util/text.h"

static const struct command *find_command(const char *words)
{
	size_t count;
	const struct command *commands = commands_all(&count);
	for (size_t i = 0; i < count; i++)
		if (strcmp(commands[i].words, words) == 0)
			return &commands[i];
	return NULL;
}

/* "events -f" is the command `events` with an option that it must take. */
static bool has_command(const struct operation *operation)
{
	_cleanup_free_ char *words = text_dup(operation->command);
	char *option = strstr(words, " -");
	unsigned needed = option ? TAKES(FOLLOW) : 0;
	if (option)
		*option = 0;
	const struct command *command = find_command(words);
	return command && (command->options & needed) == needed && (needed || strcmp(command->operation, operation->name) == 0);
}

static void every_operation_has_its_command(void)
{
	size_t count;
	const struct operation *operations = operations_all(&count);
	for (size_t i = 0; i < count; i++) {
		bool found = !operations[i].command || has_command(&operations[i]);
		CU_ASSERT_TRUE(found);
		if (!found)
			printf("# %s: there is no command `%s` that stands for it\n", operations[i].name, operations[i].command);
	}
}

static void every_command_stands_for_an_operation(void)
{
	size_t count;
	const struct command *commands = commands_all(&count);
	for (size_t i = 0; i < count; i++) {
		const struct operation *operation = commands[i].operation ? operation_find(commands[i].operation) : NULL;
		bool found = !commands[i].operation || (operation && operation->command);
		CU_ASSERT_TRUE(found);
		if (!found)
			printf("# %s: there is no operation %s, or it names no command\n", commands[i].words, commands[i].operation);
	}
}

static void every_command_that_writes_has_a_dry_run(void)
{
	size_t count;
	const struct command *commands = commands_all(&count);
	for (size_t i = 0; i < count; i++) {
		const struct operation *operation = commands[i].operation ? operation_find(commands[i].operation) : NULL;
		bool writes = operation && operation->flags & OPERATION_WRITE, takes = commands[i].options & TAKES(DRY_RUN);
		CU_ASSERT_EQUAL(takes, writes);
		if (takes != writes)
			printf("# --dry-run of %s\n", commands[i].words);
	}
}

/* What only one front can say is listed here, with the reason; anything else is a hole in a surface. */
static void every_operation_is_on_every_surface(void)
{
	static const struct {
		const char *operation, *lacks;
	} known[] = {
		{"WatchEvents", "member"}, /* the signal Event */
		{"UpdateKillSwitch", "command"}, /* a merge patch: `kill-switch set` takes the whole */
	};
	size_t count;
	const struct operation *operations = operations_all(&count);
	for (size_t i = 0; i < count; i++) {
		const struct operation *operation = &operations[i];
		const char *lacks = !operation->path ? "path" : !operation->member ? "member" : !operation->command ? "command" : NULL;
		bool expected = !lacks;
		for (size_t k = 0; k < ELEMENTSOF(known); k++)
			expected |= lacks && strcmp(known[k].operation, operation->name) == 0 && strcmp(known[k].lacks, lacks) == 0;
		CU_ASSERT_TRUE(expected);
		if (!expected)
			printf("# %s has no %s\n", operation->name, lacks);
	}
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"every operation has its command", every_operation_has_its_command},
		{"every command stands for an operation", every_command_stands_for_an_operation},
		{"every command that writes has a dry run, and no other", every_command_that_writes_has_a_dry_run},
		{"every operation is on every surface", every_operation_is_on_every_surface},
	};
	return suite_run("commands", tests, ELEMENTSOF(tests), argc, argv);
}
