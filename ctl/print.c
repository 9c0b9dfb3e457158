/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Text for people: colours, amounts, times, tables. */

#include "ctl/print.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

static bool colourful(void)
{
	const char *no = getenv("NO_COLOR"), *terminal = getenv("TERM");
	return isatty(STDOUT_FILENO) && !(no && no[0]) && !(terminal && strcmp(terminal, "dumb") == 0);
}

const char *colour_on(enum colour colour)
{
	static const char *const sequences[] = {
		[COLOUR_NONE] = "",
		[COLOUR_GOOD] = "\033[32m",
		[COLOUR_CAREFUL] = "\033[33m",
		[COLOUR_BAD] = "\033[1;31m",
		[COLOUR_FAINT] = "\033[2m",
		[COLOUR_STRONG] = "\033[1m",
	};
	return colourful() ? sequences[colour] : "";
}

const char *colour_off(void)
{
	return colourful() ? "\033[0m" : "";
}

const char *format_bytes(char buffer[static AMOUNT_MAX], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t unit = 0;
	double amount = (double)bytes;
	while (amount >= 1024 && unit + 1 < ELEMENTSOF(units)) {
		amount /= 1024;
		unit++;
	}
	snprintf(buffer, AMOUNT_MAX, unit > 0 && amount < 100 ? "%.1f %s" : "%.0f %s", amount, units[unit]);
	return buffer;
}

const char *format_span(char buffer[static AMOUNT_MAX], uint64_t seconds)
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}};
	for (size_t i = 0; i < ELEMENTSOF(units); i++) {
		uint64_t rest = seconds % units[i].seconds;
		if (seconds < units[i].seconds)
			continue;
		if (i + 1 < ELEMENTSOF(units) && rest >= units[i + 1].seconds)
			snprintf(buffer, AMOUNT_MAX, "%llu %s %llu %s", (unsigned long long)(seconds / units[i].seconds),
				units[i].name, (unsigned long long)(rest / units[i + 1].seconds), units[i + 1].name);
		else
			snprintf(buffer, AMOUNT_MAX, "%llu %s", (unsigned long long)(seconds / units[i].seconds), units[i].name);
		return buffer;
	}
	snprintf(buffer, AMOUNT_MAX, "%llu s", (unsigned long long)seconds);
	return buffer;
}

static bool parse_time(const char *rfc3339, time_t *ret)
{
	struct tm parts = {};
	const char *rest = strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &parts);
	if (!rest)
		return false;
	*ret = timegm(&parts);
	return true;
}

bool time_ago(const char *rfc3339, int64_t *ret_seconds)
{
	time_t then;
	if (!parse_time(rfc3339, &then))
		return false;
	*ret_seconds = (int64_t)(time(NULL) - then);
	return true;
}

const char *format_time(char buffer[static AMOUNT_MAX], const char *rfc3339)
{
	time_t then;
	struct tm parts;
	if (!parse_time(rfc3339, &then) || !localtime_r(&then, &parts) ||
		strftime(buffer, AMOUNT_MAX, "%Y-%m-%d %H:%M:%S", &parts) == 0)
		snprintf(buffer, AMOUNT_MAX, "%s", rfc3339);
	return buffer;
}

void table_add(struct table *table, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	table->cells = xrealloc(table->cells, (table->count + 1) * sizeof *table->cells);
	table->cells[table->count++] = text_vformat(format, arguments);
	va_end(arguments);
}

static bool begins_character(char c)
{
	return (c & 0xc0) != 0x80;
}

/* Characters, not bytes: names may be in any script. Wide ones count as one, which misaligns and harms nothing. */
static size_t width(const char *text)
{
	size_t count = 0;
	for (; *text; text++)
		count += begins_character(*text);
	return count;
}

char *text_take_line(const char **text, size_t width)
{
	const char *end = *text, *space = NULL;
	for (size_t count = 0; *end; end++) {
		if (begins_character(*end) && count++ == width)
			break;
		if (*end == ' ')
			space = end;
	}
	if (*end && *end != ' ' && space)
		end = space;
	char *line = text_format("%.*s", (int)(end - *text), *text);
	*text = end + strspn(end, " ");
	return line;
}

void table_print(struct table *table)
{
	size_t widths[COLUMNS_MAX] = {};
	for (size_t i = 0; i < table->count; i++)
		widths[i % table->columns] = MAX_OF(widths[i % table->columns], width(table->cells[i]));
	for (size_t i = 0; i < table->count; i++) {
		bool last = i % table->columns == table->columns - 1, heading = i < table->columns;
		size_t padding = last ? 0 : widths[i % table->columns] - width(table->cells[i]) + 2;
		printf("%s%s%s%*s%s", heading ? colour_on(COLOUR_FAINT) : "", table->cells[i], heading ? colour_off() : "",
			(int)padding, "", last ? "\n" : "");
	}
	table_empty(table);
}

void table_empty(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct table){.columns = table->columns};
}
