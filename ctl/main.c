/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* holdfastctl: parses the command line through the table of commands, and runs one. */

#include <stdlib.h>
#include <string.h>

#include "ctl/command.h"
#include "util/text.h"

/* The words and operands of the command line, options taken out. */
struct words {
	char *items[16];
	size_t count;
};

static int find_option(const char *argument, size_t length)
{
	for (int i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &option_rows[i];
		if ((strncmp(row->name, argument, length) == 0 && row->name[length] == 0) ||
			(row->letter && length == 2 && argument[0] == '-' && argument[1] == row->letter))
			return i;
	}
	return -1;
}

/* Takes the option at ARGUMENTS[0], and its value. Returns how many arguments it was, or -1 after having complained. */
static int take_option(struct invocation *invocation, char **arguments)
{
	size_t length = strcspn(arguments[0], "=");
	const char *value = arguments[0][length] == '=' ? arguments[0] + length + 1 : NULL;
	int option = find_option(arguments[0], length);
	if (option < 0) {
		complain(EXIT_USAGE, "unknown option %s; see holdfastctl --help", arguments[0]);
		return -1;
	}
	const struct option_row *row = &option_rows[option];
	if (!row->value && value) {
		complain(EXIT_USAGE, "%s takes no value", row->name);
		return -1;
	}
	int taken = 1;
	if (row->value && !value) {
		value = arguments[1];
		taken = 2;
	}
	if (row->value && (!value || !value[0])) {
		complain(EXIT_USAGE, "%s needs a value: %s", row->name, row->value);
		return -1;
	}
	invocation->options[option] = row->value ? value : "";
	return taken;
}

static int split(struct invocation *invocation, struct words *words, char **arguments)
{
	bool options = true;
	while (*arguments) {
		int taken = 1;
		if (options && strcmp(*arguments, "--") == 0) {
			options = false;
			invocation->rest = arguments + 1;
			if (words->count == 1 && strcmp(words->items[0], "exec") == 0)
				return EXIT_OK; /* the rest is another program's */
		} else if (options && (*arguments)[0] == '-' && (*arguments)[1]) {
			taken = take_option(invocation, arguments);
		} else if (words->count == ELEMENTSOF(words->items)) {
			return complain(EXIT_USAGE, "too many arguments");
		} else {
			words->items[words->count++] = *arguments;
		}
		if (taken < 0)
			return EXIT_USAGE;
		arguments += taken;
	}
	return EXIT_OK;
}

/* How many of WORDS are COMMAND's own; 0: it is another. */
static size_t match(const struct command *command, const struct words *words)
{
	size_t count = 0;
	for (const char *word = command->words; *word; word += strspn(word, " ")) {
		size_t length = strcspn(word, " ");
		if (count == words->count || strlen(words->items[count]) != length ||
			strncmp(words->items[count], word, length) != 0)
			return 0;
		count++;
		word += length;
	}
	return count;
}

static const struct command *find_command(const struct words *words, size_t *ret_own)
{
	size_t count;
	const struct command *commands = commands_all(&count);
	for (size_t i = 0; i < count; i++)
		if ((*ret_own = match(&commands[i], words)) > 0)
			return &commands[i];
	return NULL;
}

static int unknown_command(const struct words *words)
{
	size_t count;
	const struct command *commands = commands_all(&count);
	_cleanup_text_ struct text known = TEXT_NULL;
	size_t length = strlen(words->items[0]);
	for (size_t i = 0; i < count; i++)
		if (strncmp(commands[i].words, words->items[0], length) == 0 && commands[i].words[length] == ' ')
			text_append(&known, "%s%s", known.length ? ", " : "", commands[i].words + length + 1);
	if (known.length)
		return complain(EXIT_USAGE, "%s: one of these is meant: %s", words->items[0], known.bytes);
	return complain(EXIT_USAGE, "there is no command '%s'; see holdfastctl --help", words->items[0]);
}

static int check_options(const struct invocation *invocation)
{
	for (unsigned i = 0; i < OPTION_COUNT; i++)
		if (invocation->options[i] && !((invocation->command->options | GLOBAL_OPTIONS) & (1u << i)))
			return complain(EXIT_USAGE, "%s does not go with '%s'", option_rows[i].name,
				invocation->command->words);
	return EXIT_OK;
}

static int take_operands(struct invocation *invocation, const struct words *words, size_t own)
{
	const struct command *command = invocation->command;
	size_t given = words->count - own;
	if (given < command_operands(command, true) || given > command_operands(command, false))
		return complain(EXIT_USAGE, "usage: holdfastctl %s%s%s", command->words, command->operands[0] ? " " : "",
			command->operands);
	for (size_t i = 0; i < given; i++) {
		if (!words->items[own + i][0])
			return complain(EXIT_USAGE, "usage: holdfastctl %s %s (none of them empty)", command->words,
				command->operands);
		invocation->operands[invocation->operand_count++] = words->items[own + i];
	}
	return EXIT_OK;
}

static const char *default_socket(void)
{
	const char *socket = getenv("HOLDFAST_SOCKET");
	return socket && socket[0] ? socket : RUNSTATEDIR "/holdfast/api.sock";
}

static const struct command *choose(struct invocation *invocation, struct words *words, size_t *ret_own)
{
	static char status[] = "status"; /* what is meant where nothing is said */
	if (words->count > 0 && strcmp(words->items[0], "help") == 0) {
		invocation->options[OPTION_HELP] = "";
		memmove(words->items, words->items + 1, --words->count * sizeof words->items[0]);
	}
	if (words->count == 0 && !invocation->options[OPTION_HELP])
		words->items[words->count++] = status;
	return words->count > 0 ? find_command(words, ret_own) : NULL;
}

static int run(struct invocation *invocation, struct words *words)
{
	size_t own = 0;
	invocation->command = choose(invocation, words, &own);
	if (!invocation->command && words->count > 0) {
		if (invocation->options[OPTION_HELP] && help_print_group(stdout, words->items[0]))
			return EXIT_OK;
		return unknown_command(words);
	}
	if (invocation->options[OPTION_HELP]) {
		if (invocation->command)
			help_print_command(stdout, invocation->command);
		else
			help_print(stdout);
		return EXIT_OK;
	}
	int code = check_options(invocation);
	if (code == EXIT_OK)
		code = take_operands(invocation, words, own);
	return code == EXIT_OK ? invocation->command->run(invocation) : code;
}

int main(int argc, char **argv)
{
	struct invocation invocation = {};
	struct words words = {};
	int code = split(&invocation, &words, argv + 1);
	if (code != EXIT_OK)
		return code;
	if (invocation.options[OPTION_VERSION]) {
		printf("holdfastctl %s\n", PACKAGE_VERSION);
		return EXIT_OK;
	}
	if (!invocation.options[OPTION_SOCKET])
		invocation.options[OPTION_SOCKET] = default_socket();
	_cleanup_client_ struct client *client = client_new(invocation.options[OPTION_SOCKET]);
	client_set_dry_run(client, invocation.options[OPTION_DRY_RUN] != NULL);
	invocation.client = client;
	if (invocation.options[OPTION_COMPLETION])
		code = completion_print(&invocation, invocation.options[OPTION_COMPLETION], words.items, words.count);
	else
		code = run(&invocation, &words);
	if (fflush(stdout) != 0)
		return complain(EXIT_FAILED, "standard output cannot be written to");
	return code == EXIT_DRY_RUN ? EXIT_OK : code;
}
