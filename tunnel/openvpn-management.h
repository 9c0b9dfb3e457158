/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What OpenVPN says on its management interface (doc/management-notes.txt of its source), line by line, and how a value
 * is written in a command. Pure: no descriptor is touched here.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/text.h"

#define OPENVPN_LINE_MAX (16u << 10) /* its own messages are shorter (ERR_BUF_SIZE); more of one is left out */

enum openvpn_line_kind {
	OPENVPN_LINE_OTHER,
	OPENVPN_LINE_HOLD,            /* it waits to be released */
	OPENVPN_LINE_STATE,           /* NAME: the state; TEXT: why */
	OPENVPN_LINE_PASSWORD_NEEDED, /* NAME: which ("Auth", "Private Key"); TEXT: in what form */
	OPENVPN_LINE_PASSWORD_FAILED, /* NAME: which; TEXT: the server's reason, "" where it gave none */
	OPENVPN_LINE_LOG,             /* TEXT */
	OPENVPN_LINE_PENDING,         /* TEXT: what the server wants to be done before it goes on */
	OPENVPN_LINE_FATAL,           /* TEXT: its last words */
	OPENVPN_LINE_VARIABLE,        /* NAME and TEXT: of what the server pushed */
	OPENVPN_LINE_STATISTICS,      /* rx_bytes, tx_bytes */
};

struct openvpn_line {
	enum openvpn_line_kind kind;
	const char *name, *text; /* never NULL; into the line that was parsed */
	uint64_t rx_bytes, tx_bytes;
};

/* Takes LINE, without its end, apart, and cuts it up for it. */
struct openvpn_line openvpn_line_parse(char *line);

/* What came of a stream, and the lines in it. */
struct openvpn_reader {
	char bytes[OPENVPN_LINE_MAX];
	size_t length;
	size_t line; /* length of the line that was given last, its end included */
	bool overflow;
};

/* Where, and at most how much, more may be put; then openvpn_reader_add() the number of bytes. Lines are taken first. */
char *openvpn_reader_room(struct openvpn_reader *reader, size_t *ret_size);
void openvpn_reader_add(struct openvpn_reader *reader, size_t count);
/* The next complete line, without its end, until the next call; NULL: there is none. Of one that is too long the
 * beginning is given. What was read is wiped when it is left behind. */
char *openvpn_reader_next(struct openvpn_reader *reader);

/* Appends VALUE in double quotes, as a command takes it. VALUE has no line end. */
void openvpn_quote(struct text *text, const char *value);
