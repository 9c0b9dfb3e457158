/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Text for people: colours, amounts, times, tables. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/text.h"

enum colour { COLOUR_NONE, COLOUR_GOOD, COLOUR_CAREFUL, COLOUR_BAD, COLOUR_FAINT, COLOUR_STRONG };

/* The sequence that begins COLOUR on standard output, or that ends it; "" unless that is a terminal and $NO_COLOR is empty (no-color.org). */
const char *colour_on(enum colour colour);
const char *colour_off(void);

#define AMOUNT_MAX 32
/* "1.2 MiB". Returns BUFFER. */
const char *format_bytes(char buffer[static AMOUNT_MAX], uint64_t bytes);
/* "5 min", "3 h 5 min", "2 d 4 h": two units at most, seconds only below a minute. Returns BUFFER. */
const char *format_span(char buffer[static AMOUNT_MAX], uint64_t seconds);
/* Seconds since the time that RFC3339 names (UTC, as the daemon writes it); negative in the future. False if it names none. */
bool time_ago(const char *rfc3339, int64_t *ret_seconds);
/* "2026-11-22 16:20:03", in the local zone; the text itself if it is no time. Returns BUFFER. */
const char *format_time(char buffer[static AMOUNT_MAX], const char *rfc3339);

#define COLUMNS_MAX 6
/* Rows of text in columns as wide as they need be. Cells are owned by the table; the first row is the heading. */
struct table {
	size_t columns;
	char **cells;
	size_t count;
};
void table_add(struct table *table, const char *format, ...) _printf_(2, 3);
void table_print(struct table *table); /* and empties it */
void table_empty(struct table *table);
/* The part of *TEXT that fits WIDTH characters, cut between words where one can; *TEXT is left at what follows. The caller frees it. */
char *text_take_line(const char **text, size_t width);
