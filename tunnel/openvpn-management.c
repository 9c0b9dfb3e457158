/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* OpenVPN's lines: a table of how they begin, and a reader for what follows each beginning. */

#include "tunnel/openvpn-management.h"

#include <string.h>

/* TEXT up to the first of STOP is ended; returns what follows it, or the end of TEXT. */
static char *cut(char *text, const char *stop)
{
	size_t length = strcspn(text, stop);
	char *rest = text[length] ? text + length + 1 : text + length;
	text[length] = 0;
	return rest;
}

/* "1795379251,CONNECTED,SUCCESS,10.9.0.2,…" */
static void read_state(char *rest, struct openvpn_line *line)
{
	char *name = cut(rest, ","), *text = cut(name, ",");
	cut(text, ",");
	line->name = name;
	line->text = text;
}

/* "'Auth' username/password", "'Auth' ['reason']", "'Auth'" */
static void read_password(char *rest, struct openvpn_line *line)
{
	char *name = cut(rest, "'"), *text = cut(name, "'");
	text += strspn(text, " ");
	if (text[0] == '[' && text[1] == '\'') {
		char *end = strrchr(text, '\'');
		text += 2;
		if (end >= text)
			*end = 0;
	}
	line->name = name;
	line->text = text;
}

/* "1795379251,I,the message" */
static void read_log(char *rest, struct openvpn_line *line)
{
	line->text = cut(cut(rest, ","), ",");
}

static void read_text(char *rest, struct openvpn_line *line)
{
	line->text = rest;
}

/* "ifconfig_local=10.9.0.2" */
static void read_variable(char *rest, struct openvpn_line *line)
{
	line->text = cut(rest, "=");
	line->name = rest;
}

/* "nclients=0,bytesin=2062,bytesout=1990" */
static void read_statistics(char *rest, struct openvpn_line *line)
{
	const char *in = strstr(rest, "bytesin="), *out = strstr(rest, "bytesout=");
	line->rx_bytes = in ? strtoull(in + strlen("bytesin="), NULL, 10) : 0;
	line->tx_bytes = out ? strtoull(out + strlen("bytesout="), NULL, 10) : 0;
}

static const struct {
	const char *begin;
	enum openvpn_line_kind kind;
	void (*read)(char *rest, struct openvpn_line *line);
} beginnings[] = {
        {">STATE:", OPENVPN_LINE_STATE, read_state},
        {">HOLD:", OPENVPN_LINE_HOLD, read_text},
        {">PASSWORD:Need ", OPENVPN_LINE_PASSWORD_NEEDED, read_password},
        {">PASSWORD:Verification Failed: ", OPENVPN_LINE_PASSWORD_FAILED, read_password},
        {">LOG:", OPENVPN_LINE_LOG, read_log},
        {">FATAL:", OPENVPN_LINE_FATAL, read_text},
        {">INFOMSG:", OPENVPN_LINE_PENDING, read_text},
        {">UPDOWN:ENV,", OPENVPN_LINE_VARIABLE, read_variable},
        {"SUCCESS: nclients=", OPENVPN_LINE_STATISTICS, read_statistics},
};

struct openvpn_line openvpn_line_parse(char *text)
{
	struct openvpn_line line = {.name = "", .text = ""};
	for (size_t i = 0; i < ELEMENTSOF(beginnings); i++) {
		size_t length = strlen(beginnings[i].begin);
		if (strncmp(text, beginnings[i].begin, length) != 0)
			continue;
		line.kind = beginnings[i].kind;
		beginnings[i].read(text + length, &line);
		break;
	}
	return line;
}

static void drop(struct openvpn_reader *reader, size_t count)
{
	memmove(reader->bytes, reader->bytes + count, reader->length - count);
	wipe(reader->bytes + reader->length - count, count);
	reader->length -= count;
}

char *openvpn_reader_room(struct openvpn_reader *reader, size_t *ret_size)
{
	drop(reader, reader->line);
	reader->line = 0;
	if (reader->length == sizeof reader->bytes) { /* a line that is longer: what is over is left out */
		reader->overflow = true;
		reader->length = sizeof reader->bytes / 2;
	}
	*ret_size = sizeof reader->bytes - reader->length;
	return reader->bytes + reader->length;
}

void openvpn_reader_add(struct openvpn_reader *reader, size_t count)
{
	char *added = reader->bytes + reader->length;
	char *end = reader->overflow ? memchr(added, '\n', count) : NULL;
	if (reader->overflow && !end)
		return;
	if (end) {
		size_t skipped = (size_t)(end - added);
		memmove(added, end, count - skipped);
		count -= skipped;
		reader->overflow = false;
	}
	reader->length += count;
}

char *openvpn_reader_next(struct openvpn_reader *reader)
{
	drop(reader, reader->line);
	reader->line = 0;
	char *end = memchr(reader->bytes, '\n', reader->length);
	if (!end)
		return NULL;
	reader->line = (size_t)(end - reader->bytes) + 1;
	*end = 0;
	if (end > reader->bytes && end[-1] == '\r')
		end[-1] = 0;
	return reader->bytes;
}

void openvpn_quote(struct text *text, const char *value)
{
	text_append_bytes(text, "\"", 1);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			text_append_bytes(text, "\\", 1);
		text_append_bytes(text, value, 1);
	}
	text_append_bytes(text, "\"", 1);
}
