/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Lines for people: plain on standard error, or with their fields to the journal where standard error is that (systemd.exec(5),
 * JOURNAL_STREAM). Nobody is waited for: what the journal does not take at once goes to standard error, with systemd's level prefix.
 * A function either logs or returns an error, never both. Secrets are never logged.
 */

#include <errno.h>

#include "util/macro.h"

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

void log_set_level(enum log_level level); /* default: info; HOLDFAST_DEBUG=1 in the environment: debug */
void log_line(enum log_level level, const char *format, ...) _printf_(2, 3);

/* What a program can look for: journalctl TUNNEL=home. NAME in capitals; a VALUE of NULL leaves the field out. */
struct log_field {
	const char *name, *value;
};
void log_fields(enum log_level level, const struct log_field *fields, size_t count, const char *format, ...) _printf_(4, 5);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
