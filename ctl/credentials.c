/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Asking a person for what a tunnel's client asks for. On a terminal nothing is echoed, but the response to a challenge that
 * allows it; else one line for each name is read from standard input, in the order in which the status lists them. Nothing
 * is taken from the command line, where others could read it.
 */

#include <errno.h>
#include <string.h>
#include <termios.h>

#include "ctl/command.h"
#include "util/fields.h"
#include "util/text.h"

#define LINE_MAX_BYTES 4096

static bool set_echo(bool on)
{
	struct termios settings;
	if (tcgetattr(STDIN_FILENO, &settings) < 0)
		return false;
	if (on)
		settings.c_lflag |= ECHO;
	else
		settings.c_lflag &= ~(tcflag_t)ECHO;
	return tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings) == 0;
}

/* One line without its end into LINE, byte by byte: a buffered reader would keep copies. False: there was none. */
static bool read_line(char line[LINE_MAX_BYTES + 1])
{
	size_t length = 0;
	char c = 0;
	ssize_t count;
	while ((count = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n')
		if (length < LINE_MAX_BYTES)
			line[length++] = c;
	line[length] = 0;
	c = 0;
	return count == 1 || length > 0;
}

/* QUESTION: what is to be asked instead of NAME, or NULL. SHOWN: the answer may be seen. */
static bool ask(const char *tunnel, const char *name, const char *question, bool shown, char line[LINE_MAX_BYTES + 1])
{
	bool terminal = isatty(STDIN_FILENO), silent = terminal && !shown && set_echo(false);
	if (terminal && !shown && !silent)
		return false; /* better not to ask than to show it */
	if (terminal && question)
		fprintf(stderr, "%s asks: %s: ", tunnel, question);
	else if (terminal)
		fprintf(stderr, "%s: %s: ", tunnel, name);
	bool good = read_line(line);
	if (silent) {
		fputc('\n', stderr);
		set_echo(true);
	}
	return good;
}

/* In one piece and by hand: a JSON library would leave copies of it in memory. */
static void append_json_string(struct text *text, const char *string)
{
	text_append(text, "\"");
	for (; *string; string++)
		if (*string == '"' || *string == '\\')
			text_append(text, "\\%c", *string);
		else if ((unsigned char)*string < 0x20)
			text_append(text, "\\u%04x", *string);
		else
			text_append_bytes(text, string, 1);
	text_append(text, "\"");
}

/* Room for all of it beforehand, so that growing leaves nothing behind. */
static bool make_body(json_object *tunnel, struct text *body)
{
	json_object *names = member(tunnel, "/needCredentials"), *challenge = member(tunnel, "/challenge");
	const char *id = member_text(tunnel, "/id");
	char line[LINE_MAX_BYTES + 1];
	bool good = true;
	body->allocated = json_object_array_length(names) * (6 * LINE_MAX_BYTES + 64) + 64;
	body->bytes = xcalloc(1, body->allocated);
	text_append(body, "{\"credentials\":{");
	for (size_t i = 0; good && i < json_object_array_length(names); i++) {
		const char *name = json_object_get_string(json_object_array_get_idx(names, i));
		bool asked = challenge && strcmp(member_text(challenge, "/name"), name) == 0;
		good = ask(id, name, asked ? member_text(challenge, "/text") : NULL,
			asked && json_object_get_boolean(member(challenge, "/echo")), line);
		text_append(body, "%s", i ? "," : "");
		append_json_string(body, name);
		text_append(body, ":");
		append_json_string(body, good ? line : "");
	}
	wipe(line, sizeof line);
	text_append(body, "}}");
	return good;
}

int run_credentials(struct invocation *invocation)
{
	_cleanup_response_ struct response status = {}, response = {};
	const char *id = invocation->operands[0];
	struct text body = TEXT_NULL;
	int code = exchange_get(invocation, "/status", &status);
	if (code != EXIT_OK)
		return code;
	json_object *tunnel = find_tunnel(status.json, id);
	if (!tunnel || !json_object_is_type(member(tunnel, "/needCredentials"), json_type_array))
		return complain(EXIT_CONFLICT, "%s asks for nothing; see holdfastctl status", id);
	bool good = make_body(tunnel, &body);
	_cleanup_free_ char *path = tunnel_url(id, "/credentials");
	struct request request = {.method = "POST", .path = path, .body = body.bytes, .body_length = body.length};
	code = good ? exchange(invocation, &request, &response)
	            : complain(EXIT_FAILED, "nothing was sent: standard input ended, or its echo cannot be turned off");
	wipe(body.bytes, body.allocated);
	text_done(&body);
	if (code == EXIT_OK && !wants_json(invocation))
		printf("%s was told\n", id);
	return code;
}
