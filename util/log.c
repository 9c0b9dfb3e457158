/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Lines for people, and for the journal. Its protocol is a datagram of NAME=VALUE lines (systemd.io/JOURNAL_NATIVE_PROTOCOL); values here
 * have no line feeds. libsystemd's own sd_journal_sendv() waits while nobody reads that socket, and a daemon that waits heals nothing.
 */

#include "util/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "util/text.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"

static int maximum = -1;

void log_set_level(enum log_level level)
{
	maximum = (int)level;
}

static bool is_wanted(enum log_level level)
{
	if (maximum < 0)
		maximum = getenv("HOLDFAST_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
	return (int)level <= maximum;
}

/* One event, one line, whatever a peer put into it. */
static void flatten(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = ' ';
}

/* The variable names the journal's end of a pipe; where standard error was sent elsewhere since, it does not fit. */
static bool stderr_is_journal(void)
{
	unsigned long long device, inode;
	struct stat status;
	const char *stream = getenv("JOURNAL_STREAM");
	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &status) == 0 &&
	       status.st_dev == device && status.st_ino == inode;
}

static bool send_to_journal(const struct text *entry)
{
	const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && sendto(fd, entry->bytes, entry->length, MSG_NOSIGNAL, (const struct sockaddr *)&address, sizeof address) ==
				  (ssize_t)entry->length;
}

static bool to_journal(enum log_level level, const char *message, const struct log_field *fields, size_t count)
{
	_cleanup_text_ struct text entry = TEXT_NULL;
	text_append(&entry, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nMESSAGE=%s\n", (int)level, program_invocation_short_name, message);
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *value = text_dup(fields[i].value);
		if (!value)
			continue;
		flatten(value);
		text_append(&entry, "%s=%s\n", fields[i].name, value);
	}
	return send_to_journal(&entry);
}

static _printf_(4, 0) void log_list(
	enum log_level level, const struct log_field *fields, size_t count, const char *format, va_list arguments)
{
	_cleanup_free_ char *message = text_vformat(format, arguments);
	bool journal = stderr_is_journal();
	flatten(message);
	if (journal && to_journal(level, message, fields, count))
		return;
	_cleanup_free_ char *line = journal ? text_format("<%d>%s\n", (int)level, message) : text_format("%s\n", message);
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return; /* nowhere left to say it */
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list arguments;
	if (!is_wanted(level))
		return;
	va_start(arguments, format);
	log_list(level, NULL, 0, format, arguments);
	va_end(arguments);
}

void log_fields(enum log_level level, const struct log_field *fields, size_t count, const char *format, ...)
{
	va_list arguments;
	if (!is_wanted(level))
		return;
	va_start(arguments, format);
	log_list(level, fields, count, format, arguments);
	va_end(arguments);
}
