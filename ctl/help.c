/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Help, from the tables of commands and options. */

#include <string.h>

#include "ctl/command.h"

static void print_option(FILE *file, enum option option)
{
	const struct option_row *row = &option_rows[option];
	char left[48], letter[8] = "";
	if (row->letter)
		snprintf(letter, sizeof letter, "-%c, ", row->letter);
	snprintf(left, sizeof left, "%s%s%s%s", letter, row->name, row->value ? " " : "", row->value ? row->value : "");
	fprintf(file, "  %-37s %s\n", left, row->summary);
}

static void print_options(FILE *file, unsigned options)
{
	for (enum option option = 0; option < OPTION_COUNT; option++)
		if (options & (1u << option))
			print_option(file, option);
}

static void print_command(FILE *file, const struct command *command)
{
	char left[64];
	snprintf(left, sizeof left, "%s %s", command->words, command->operands);
	fprintf(file, "  %-37s %s\n", left, command->summary);
}

void help_print(FILE *file)
{
	size_t count;
	const struct command *commands = commands_all(&count);
	fprintf(file, "holdfastctl: a kill switch and restart supervisor for VPN tunnels\n\nCommands:\n");
	for (size_t i = 0; i < count; i++)
		print_command(file, &commands[i]);
	fprintf(file, "\nOptions of all commands:\n");
	print_options(file, GLOBAL_OPTIONS);
	fprintf(file, "\nholdfastctl COMMAND --help tells the command's own options; holdfastctl(1) the rest.\n");
}

bool help_print_group(FILE *file, const char *group)
{
	size_t count, length = strlen(group);
	const struct command *commands = commands_all(&count);
	bool found = false;
	for (size_t i = 0; i < count; i++)
		if (strncmp(commands[i].words, group, length) == 0 && commands[i].words[length] == ' ') {
			if (!found)
				fprintf(file, "holdfastctl %s COMMAND, one of these:\n", group);
			print_command(file, &commands[i]);
			found = true;
		}
	return found;
}

void help_print_command(FILE *file, const struct command *command)
{
	fprintf(file, "holdfastctl %s%s%s: %s\n", command->words, command->operands[0] ? " " : "", command->operands, command->summary);
	if (command->options) {
		fprintf(file, "\nOptions:\n");
		print_options(file, command->options);
	}
}
