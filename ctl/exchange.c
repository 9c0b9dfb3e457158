/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What commands have in common: one exchange with the daemon, and what to say and to return when it does not go well.
 */

#include <errno.h>
#include <fcntl.h>
#include <json-c/json_pointer.h>
#include <stdarg.h>
#include <string.h>

#include "ctl/command.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

#define GET_USEC (10 * USEC_PER_SEC) /* what only reads is answered at once, or the daemon hangs */

/* HTTP's status to ours, and whether it is about what was sent; what is not listed failed. */
static const struct verdict {
	long status;
	enum exit_code code;
	bool about_input;
} verdicts[] = {
	{400, EXIT_FAILED, true},
	{401, EXIT_NOT_ALLOWED, false},
	{403, EXIT_NOT_ALLOWED, false},
	{404, EXIT_NOT_FOUND, false},
	{409, EXIT_CONFLICT, true},
	{412, EXIT_CONFLICT, false},
	{413, EXIT_FAILED, true},
	{415, EXIT_FAILED, true},
	{428, EXIT_CONFLICT, false},
};

int complain(enum exit_code code, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	_cleanup_free_ char *text = text_vformat(format, arguments);
	va_end(arguments);
	fflush(stdout);
	fprintf(stderr, "holdfastctl: %s\n", text);
	return (int)code;
}

bool wants_json(const struct invocation *invocation)
{
	return invocation->options[OPTION_JSON];
}

json_object *member(json_object *object, const char *pointer)
{
	json_object *found = NULL;
	if (!object || json_pointer_get(object, pointer, &found) < 0)
		return NULL;
	return found;
}

const char *member_text(json_object *object, const char *pointer)
{
	json_object *found = member(object, pointer);
	return found ? json_object_get_string(found) : "";
}

json_object *member_list(json_object *object, const char *name)
{
	if (json_object_is_type(object, json_type_array))
		return object;
	json_object *list = json_object_is_type(object, json_type_object) ? json_object_object_get(object, name) : NULL;
	return json_object_is_type(list, json_type_array) ? list : NULL;
}

json_object *find_tunnel(json_object *status, const char *id)
{
	json_object *tunnels = member_list(member(status, "/tunnels"), "tunnels");
	for (size_t i = 0; tunnels && i < json_object_array_length(tunnels); i++) {
		json_object *tunnel = json_object_array_get_idx(tunnels, i);
		if (strcmp(member_text(tunnel, "/id"), id) == 0)
			return tunnel;
	}
	return NULL;
}

char *tunnel_url(const char *id, const char *rest)
{
	_cleanup_free_ char *escaped = client_escape(id);
	return text_format("/tunnels/%s%s", escaped, rest);
}

void print_finding(FILE *file, const char *label, json_object *finding)
{
	const char *pointer = member_text(finding, "/pointer"), *value = member_text(finding, "/value");
	bool line = strncmp(pointer, "/line/", 6) == 0; /* of a file that is no JSON */
	fprintf(file, "  %s%s%s: %s%s%s%s\n", label, line ? "line " : "",
		line         ? pointer + 6
		: pointer[0] ? pointer
			     : "(document)",
		member_text(finding, "/detail"), value[0] ? " (found " : "", value, value[0] ? ")" : "");
}

static struct verdict find_verdict(long status)
{
	for (size_t i = 0; i < ELEMENTSOF(verdicts); i++)
		if (verdicts[i].status == status)
			return verdicts[i];
	return (struct verdict){status, EXIT_FAILED, false};
}

/* RFC 9457: the detail, which says more than the title, then a line for each of `errors`. */
static int complain_of_problem(const struct invocation *invocation, const struct response *response)
{
	const char *title = member_text(response->json, "/title"), *detail = member_text(response->json, "/detail");
	struct verdict verdict = find_verdict(response->status);
	const char *problem = member_text(response->json, "/code");
	bool about_input = verdict.about_input && invocation->input && strcmp(problem, "invalidTunnelId") != 0;
	_cleanup_free_ char *otherwise = text_format("the daemon answered with status %ld", response->status);
	const char *sentence = detail[0] ? detail : title[0] ? title : otherwise;
	if (invocation->exists && strcmp(problem, "tunnelExists") == 0)
		sentence = invocation->exists;
	bool goes_on = strncmp(sentence, "is ", 3) == 0 || strncmp(sentence, "has ", 4) == 0; /* "FILE is no JSON" */
	complain(verdict.code, "%s%s%s", about_input ? invocation->input : "",
		!about_input ? ""
		: goes_on    ? " "
			     : ": ",
		sentence);
	json_object *errors = member_list(member(response->json, "/errors"), "errors");
	for (size_t i = 0; errors && i < json_object_array_length(errors); i++) {
		json_object *error = json_object_array_get_idx(errors, i);
		if (member_text(error, "/pointer")[0] || strcmp(member_text(error, "/detail"), detail) != 0)
			print_finding(stderr, "", error);
	}
	return (int)verdict.code;
}

static int complain_of_transfer(struct invocation *invocation, int r)
{
	const char *socket = invocation->options[OPTION_SOCKET];
	switch (r) {
	case -ECONNREFUSED:
		return complain(EXIT_NO_DAEMON, "no daemon answers at %s; is holdfast.service running?", socket);
	case -EACCES:
		return complain(
			EXIT_NOT_ALLOWED, "%s may not be opened; be root, or a member of group holdfast", socket);
	case -ETIMEDOUT:
		return complain(EXIT_NO_DAEMON,
			"the daemon at %s does not answer; the gate stays as it is. Root opens it without the daemon: "
			"holdfastctl release",
			socket);
	default:
		return complain(
			EXIT_NO_DAEMON, "the daemon at %s broke off: %s", socket, client_error(invocation->client));
	}
}

static int tell_dry_run(struct invocation *invocation, json_object *answer)
{
	const char *state = member_text(answer, "/state");
	if (wants_json(invocation))
		return EXIT_DRY_RUN;
	printf("dry run: %s%s%s\n", json_object_get_boolean(member(answer, "/changed")) ? "this would be done" : "it is so already",
		state[0] ? "; the state: " : "", state);
	json_object *warnings = member_list(member(answer, "/warnings"), "warnings");
	for (size_t i = 0; warnings && i < json_object_array_length(warnings); i++)
		print_finding(stdout, "warning: ", json_object_array_get_idx(warnings, i));
	return EXIT_DRY_RUN;
}

int exchange_verdict(struct invocation *invocation, int r, const struct response *response)
{
	if (r < 0)
		return complain_of_transfer(invocation, r);
	if (wants_json(invocation) && response->length > 0)
		printf("%s%s", response->body, response->body[response->length - 1] == '\n' ? "" : "\n");
	if (response->status >= 300 || response->status < 200)
		return complain_of_problem(invocation, response);
	return invocation->options[OPTION_DRY_RUN] && member(response->json, "/changed") ? tell_dry_run(invocation, response->json) : EXIT_OK;
}

int exchange_watching(struct invocation *invocation, const struct request *request, struct response *response,
	client_event on_event, void *userdata)
{
	int r = client_send(invocation->client, request, response, on_event, userdata);
	return exchange_verdict(invocation, r, response);
}

int exchange(struct invocation *invocation, const struct request *request, struct response *response)
{
	return exchange_watching(invocation, request, response, NULL, NULL);
}

int exchange_get(struct invocation *invocation, const char *path, struct response *response)
{
	return exchange(
		invocation, &(struct request){.method = "GET", .path = path, .timeout_usec = GET_USEC}, response);
}

bool peek_status(struct invocation *invocation, struct response *response)
{
	struct request request = {.method = "GET", .path = "/status", .timeout_usec = GET_USEC};
	return client_send(invocation->client, &request, response, NULL, NULL) == 0 && response->status == 200;
}

bool warn_of_way_out(json_object *status)
{
	bool taken = json_object_get_boolean(member(status, "/gate/wayOutTaken"));
	if (taken)
		complain(EXIT_UNPROTECTED,
			"the gate is OPEN, whatever the tunnels do: the way out was taken. To end that: "
			"holdfastctl mode %s",
			member_text(status, "/gate/mode"));
	return taken;
}

int print_document(const struct invocation *invocation, const struct response *response)
{
	/* From the body, not from response->json: there control characters were taken out, and a document is shown as
	 * it is. */
	_cleanup_json_ json_object *document = json_tokener_parse(response->body);
	if (!wants_json(invocation))
		printf("%s\n",
			json_object_to_json_string_ext(document,
				JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE));
	return EXIT_OK;
}

static int read_descriptor(int fd, char **ret, size_t *ret_length)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	char block[16384];
	ssize_t count;
	while ((count = read(fd, block, sizeof block)) > 0 || (count < 0 && errno == EINTR)) {
		text_append_bytes(&text, block, count > 0 ? (size_t)count : 0);
		if (text.length > FILE_READ_MAX)
			return -EFBIG;
	}
	if (count < 0)
		return -errno;
	*ret_length = text.length;
	*ret = text_steal(&text);
	return 0;
}

static bool is_standard_input(const char *file)
{
	return strcmp(file, "-") == 0;
}

const char *input_name(const char *file)
{
	return is_standard_input(file) ? "standard input" : file;
}

int read_input(const char *file, char **ret, size_t *ret_length)
{
	bool standard = is_standard_input(file);
	_cleanup_close_ int fd = -1;
	int r = 0;
	if (!standard && (fd = open(file, O_RDONLY | O_CLOEXEC)) < 0)
		r = -errno;
	if (r == 0)
		r = read_descriptor(standard ? STDIN_FILENO : fd, ret, ret_length);
	if (r == -EFBIG)
		return complain(EXIT_FAILED, "%s: must have at most %u bytes", input_name(file), FILE_READ_MAX);
	return r < 0 ? complain(EXIT_FAILED, "%s: %s", input_name(file), strerror(-r)) : EXIT_OK;
}

int exchange_file(struct invocation *invocation, const char *method, const char *path, const char *file,
	const char *content_type, struct response *response)
{
	_cleanup_wipe_ char *text = NULL; /* keys may stand in it */
	size_t length;
	int code = read_input(file, &text, &length);
	if (code != EXIT_OK)
		return code;
	struct request request = {
		.method = method,
		.path = path,
		.body = text,
		.body_length = length,
		.content_type = content_type,
		.if_match_any = strcmp(method, "PUT") == 0,
	};
	invocation->input = input_name(file);
	return exchange(invocation, &request, response);
}
