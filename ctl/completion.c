/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Completion. The scripts for the shells are the same few lines in three spellings: they ask holdfastctl itself what may stand at the
 * cursor, and it reads that off the table of commands. What is asked with is `--completion candidates -- WORD… CURRENT`.
 */

#include <string.h>

#include "ctl/command.h"
#include "util/text.h"

#define FILES		":files" /* instead of candidates: the shell completes a file's name */
#define TUNNELS_USEC	(1 * USEC_PER_SEC) /* somebody waits at a prompt */

static const struct {
	const char *shell, *script;
} scripts[] = {
	{"bash", "_holdfastctl() {\n"
		 "\tlocal IFS=$'\\n' current=${COMP_WORDS[COMP_CWORD]} candidates\n"
		 "\tcandidates=$(holdfastctl --completion candidates -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
		 "\tif [[ $candidates == " FILES " ]]; then\n"
		 "\t\tcompopt -o filenames 2>/dev/null\n"
		 "\t\tCOMPREPLY=($(compgen -f -- \"$current\"))\n"
		 "\telse\n"
		 "\t\tCOMPREPLY=($(compgen -W \"$candidates\" -- \"$current\"))\n"
		 "\tfi\n"
		 "}\n"
		 "complete -F _holdfastctl holdfastctl\n"},
	{"zsh", "#compdef holdfastctl\n"
		"_holdfastctl() {\n"
		"\tlocal -a candidates\n"
		"\tcandidates=(\"${(@f)$(holdfastctl --completion candidates -- \"${(@)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
		"\tif [[ $candidates[1] == " FILES " ]]; then\n"
		"\t\t_files\n"
		"\telse\n"
		"\t\tcompadd -- $candidates\n"
		"\tfi\n"
		"}\n"
		"_holdfastctl \"$@\"\n"},
	{"fish", "function __holdfastctl_candidates\n"
		 "\tset -l before (commandline -opc)\n"
		 "\tset -l current (commandline -ct)\n"
		 "\tset -l candidates (holdfastctl --completion candidates -- $before[2..-1] \"$current\" 2>/dev/null)\n"
		 "\tif test \"$candidates\" = " FILES "\n"
		 "\t\t__fish_complete_path \"$current\"\n"
		 "\telse\n"
		 "\t\tprintf '%s\\n' $candidates\n"
		 "\tend\n"
		 "end\n"
		 "complete -c holdfastctl -f -a '(__holdfastctl_candidates)'\n"},
};

/* The tunnels' ids; nothing where no daemon answers. */
static void offer_tunnels(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	struct request request = {.method = "GET", .path = "/tunnels", .timeout_usec = TUNNELS_USEC};
	if (client_send(invocation->client, &request, &response, NULL, NULL) < 0 || response.status != 200)
		return;
	json_object *tunnels = member_list(response.json, "tunnels");
	for (size_t i = 0; tunnels && i < json_object_array_length(tunnels); i++)
		printf("%s\n", member_text(json_object_array_get_idx(tunnels, i), "/id"));
}

static void offer_options(unsigned options)
{
	for (unsigned i = 0; i < OPTION_COUNT; i++)
		if ((options & (1u << i)) && i != OPTION_COMPLETION)
			printf("%s\n", option_rows[i].name);
}

/* What may stand for PLACE: "ID", "FILE", "off|auto|always" … */
static void offer_operand(struct invocation *invocation, const char *place, size_t length)
{
	_cleanup_free_ char *bare = text_ndup(place, length);
	if (bare[0] == '[') {
		memmove(bare, bare + 1, length);
		bare[strcspn(bare, "]")] = 0;
	}
	if (strcmp(bare, "ID") == 0)
		offer_tunnels(invocation);
	else if (strcmp(bare, "FILE") == 0 || strcmp(bare, "CASES") == 0)
		printf(FILES "\n");
	else if (strchr(bare, '|'))
		for (char *rest = bare, *word; (word = strsep(&rest, "|"));)
			printf("%s\n", word);
}

/* The INDEXth of the words in TEXT, or NULL. */
static const char *nth_word(const char *text, size_t index, size_t *ret_length)
{
	for (const char *word = text; *word; word += strspn(word, " ")) {
		*ret_length = strcspn(word, " ");
		if (index-- == 0)
			return word;
		word += *ret_length;
	}
	return NULL;
}

/* How many words COMMAND and GIVEN begin with alike. */
static size_t common_words(const struct command *command, char **given, size_t count)
{
	size_t alike = 0, length;
	const char *word;
	while (alike < count && (word = nth_word(command->words, alike, &length)) && strlen(given[alike]) == length &&
		strncmp(given[alike], word, length) == 0)
		alike++;
	return alike;
}

/* After GIVEN: the next word of each command that begins so, or the operands of the one that is named whole. */
static void offer_words(struct invocation *invocation, char **given, size_t count)
{
	size_t command_count, length;
	const struct command *commands = commands_all(&command_count);
	const char *offered = "";
	for (size_t i = 0; i < command_count; i++) {
		size_t alike = common_words(&commands[i], given, count);
		const char *next = nth_word(commands[i].words, alike, &length);
		if (!next && (next = nth_word(commands[i].operands, count - alike, &length)))
			offer_operand(invocation, next, length);
		else if (next && alike == count && strncmp(offered, next, length + 1) != 0)
			printf("%.*s\n", (int)length, offered = next);
	}
}

/* Takes options and their values out of WORDS. Returns the option whose value is still to come, or OPTION_COUNT. */
static enum option drop_options(char **words, size_t *count)
{
	size_t kept = 0;
	enum option open = OPTION_COUNT;
	for (size_t i = 0; i < *count; i++) {
		if (open != OPTION_COUNT) {
			open = OPTION_COUNT;
			continue;
		}
		if (words[i][0] != '-')
			words[kept++] = words[i];
		for (enum option option = 0; option < OPTION_COUNT; option++)
			if (option_rows[option].value && strcmp(option_rows[option].name, words[i]) == 0)
				open = option;
	}
	*count = kept;
	return open;
}

static unsigned options_of(char **given, size_t count)
{
	size_t command_count, length;
	const struct command *commands = commands_all(&command_count);
	for (size_t i = 0; i < command_count; i++)
		if (!nth_word(commands[i].words, common_words(&commands[i], given, count), &length))
			return commands[i].options | GLOBAL_OPTIONS;
	return GLOBAL_OPTIONS;
}

static void offer(struct invocation *invocation, char **words, size_t count)
{
	const char *current = count > 0 ? words[--count] : "";
	enum option open = drop_options(words, &count);
	if (open == OPTION_TUNNEL)
		offer_tunnels(invocation);
	else if (open == OPTION_SOCKET || open == OPTION_STATE_DIR || open == OPTION_POLICY)
		printf(FILES "\n");
	else if (open == OPTION_COUNT && current[0] == '-')
		offer_options(options_of(words, count));
	else if (open == OPTION_COUNT)
		offer_words(invocation, words, count);
}

int completion_print(struct invocation *invocation, const char *shell, char **words, size_t count)
{
	if (strcmp(shell, "candidates") == 0) {
		offer(invocation, words, count);
		return EXIT_OK;
	}
	for (size_t i = 0; i < ELEMENTSOF(scripts); i++)
		if (strcmp(scripts[i].shell, shell) == 0) {
			fputs(scripts[i].script, stdout);
			return EXIT_OK;
		}
	return complain(EXIT_USAGE, "there is no completion for '%s'; there is for bash, zsh and fish", shell);
}
