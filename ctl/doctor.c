/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `holdfastctl doctor`: what the daemon found, the worst first; below each what to do about it. The exit code is that of the worst, so
 * that a script need not read it.
 */

#include <string.h>

#include "ctl/command.h"
#include "ctl/print.h"

#define WIDTH  96
#define INDENT "    "

struct look {
	const char *severity;
	enum colour colour;
	const char *one, *many;
	enum exit_code code;
};

static const struct look looks[] = {
	{"error", COLOUR_BAD, "error", "errors", EXIT_ERRORS},
	{"warning", COLOUR_CAREFUL, "warning", "warnings", EXIT_WARNINGS},
	{"notice", COLOUR_STRONG, "notice", "notices", EXIT_OK},
};

/* A severity that this program does not know yet is taken for the worst. */
static const struct look *find_look(const char *severity)
{
	for (size_t i = 0; i < ELEMENTSOF(looks); i++)
		if (strcmp(looks[i].severity, severity) == 0)
			return &looks[i];
	return &looks[0];
}

static void print_wrapped(const char *prefix, const char *text)
{
	while (*text) {
		char *line = text_take_line(&text, WIDTH - strlen(INDENT));
		printf("%s%s\n", prefix, line);
		free(line);
		prefix = INDENT;
	}
}

static void print_found(json_object *finding, const struct look *look)
{
	const char *remedy = member_text(finding, "/remedy");
	printf("%s%s%s %s%s%s\n", colour_on(look->colour), look->one, colour_off(), colour_on(COLOUR_FAINT), member_text(finding, "/code"), colour_off());
	print_wrapped(INDENT, member_text(finding, "/summary"));
	if (remedy[0])
		print_wrapped(INDENT "→ ", remedy);
	printf("\n");
}

static void print_sum(const size_t counts[static ELEMENTSOF(looks)])
{
	const char *separator = "";
	for (size_t i = 0; i < ELEMENTSOF(looks); i++) {
		if (counts[i] == 0)
			continue;
		printf("%s%zu %s", separator, counts[i], counts[i] == 1 ? looks[i].one : looks[i].many);
		separator = ", ";
	}
	printf("%s\n", separator[0] ? "" : "Nothing was found.");
}

int run_doctor(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	size_t counts[ELEMENTSOF(looks)] = {};
	int code = exchange_get(invocation, "/diagnostics", &response), worst = EXIT_OK;
	if (code != EXIT_OK)
		return code;
	json_object *findings = member_list(response.json, "findings");
	for (size_t i = 0; findings && i < json_object_array_length(findings); i++) {
		json_object *finding = json_object_array_get_idx(findings, i);
		const struct look *look = find_look(member_text(finding, "/severity"));
		counts[look - looks]++;
		worst = MAX_OF(worst, (int)look->code);
		if (!wants_json(invocation))
			print_found(finding, look);
	}
	if (!wants_json(invocation))
		print_sum(counts);
	return worst;
}
