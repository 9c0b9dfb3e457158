/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The mode, and the way out.
 *
 * `release` must work when nothing else does. It asks the daemon first, which opens the gate for a limited time. Where
 * no answer comes in three seconds, root writes a marker to the state directory, synced to the disk, and only then has
 * holdfastd remove Holdfast's kernel objects: so a daemon that comes back, or wakes up in between, finds the marker and
 * leaves the gate open.
 */

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "ctl/command.h"
#include "ctl/print.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

#define ANSWER_USEC    (3 * USEC_PER_SEC) /* for the daemon to answer; docs/security.md, "The way out" */
#define DEFAULT_REASON "holdfastctl release"
#define MARKER         "released"

int run_mode(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	if (invocation->operand_count == 0) {
		int code = exchange_get(invocation, "/status", &response);
		if (code == EXIT_OK && !wants_json(invocation))
			printf("%s\n", member_text(response.json, "/gate/mode"));
		return code;
	}
	_cleanup_json_ json_object *body = json_object_new_object();
	json_object_object_add(body, "mode", json_object_new_string(invocation->operands[0]));
	const char *within = invocation->options[OPTION_CONFIRM_WITHIN];
	if (within)
		json_object_object_add(body, "confirmWithin", json_object_new_string(within));
	const char *text = json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN);
	struct request request = {
		.method = "PUT", .path = "/kill-switch/mode", .body = text, .body_length = strlen(text)};
	int code = exchange(invocation, &request, &response);
	bool changed = code == EXIT_OK && json_object_get_boolean(member(response.json, "/changed"));
	if (code == EXIT_OK && !wants_json(invocation))
		printf("mode %s%s\n", invocation->operands[0], changed ? "" : ", as before");
	if (changed && within && !wants_json(invocation))
		printf("On trial for %s: the former mode comes back unless you say holdfastctl confirm\n", within);
	return code;
}

int run_confirm(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	struct request request = {.method = "POST", .path = "/kill-switch/confirm"};
	int code = exchange(invocation, &request, &response);
	if (code == EXIT_OK && !wants_json(invocation))
		printf("%s\n", json_object_get_boolean(member(response.json, "/changed")) ? "confirmed: the settings stand"
			: "nothing was on trial");
	return code;
}

int run_kill_switch_show(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_get(invocation, "/kill-switch", &response);
	return code == EXIT_OK ? print_document(invocation, &response) : code;
}

int run_kill_switch_set(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_file(invocation, "PUT", "/kill-switch", invocation->operands[0], NULL, &response);
	if (code != EXIT_OK || wants_json(invocation))
		return code;
	printf("the settings %s\n", json_object_get_boolean(member(response.json, "/changed")) ? "were replaced" : "were so already");
	json_object *warnings = member_list(member(response.json, "/warnings"), "warnings");
	for (size_t i = 0; warnings && i < json_object_array_length(warnings); i++)
		print_finding(stdout, "warning: ", json_object_array_get_idx(warnings, i));
	return EXIT_OK;
}

/* --- release --- */

static int write_marker(const char *state_dir, const char *reason)
{
	_cleanup_json_ json_object *marker = json_object_new_object();
	_cleanup_free_ char *path = text_format("%s/" MARKER, state_dir);
	json_object_object_add(marker, "reason", json_object_new_string(reason));
	const char *text = json_object_to_json_string_ext(marker, JSON_C_TO_STRING_PLAIN);
	int r = directory_make(state_dir, 0700);
	return r < 0 ? r : file_write_atomic(path, text, strlen(text), 0600);
}

/* Runs holdfastd --release and returns its exit status, or a negative errno. */
static int remove_objects(const char *state_dir, const char *runtime_dir)
{
	const char *daemon = getenv("HOLDFAST_DAEMON");
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		execl(daemon ? daemon : SBINDIR "/holdfastd", "holdfastd", "--release", "--state-dir", state_dir,
			"--runtime-dir", runtime_dir, (char *)NULL);
		fprintf(stderr, "holdfastctl: %s: %s\n", daemon ? daemon : SBINDIR "/holdfastd", strerror(errno));
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (pid < 0)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

/* The socket, where it is another instance's than the system's; else NULL. */
static const char *other_socket(const struct invocation *invocation)
{
	const char *socket = invocation->options[OPTION_SOCKET] ? invocation->options[OPTION_SOCKET] : getenv("HOLDFAST_SOCKET");
	return socket && strcmp(socket, RUNSTATEDIR "/holdfast/api.sock") != 0 ? socket : NULL;
}

static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash && slash != path ? text_ndup(path, (size_t)(slash - path)) : text_dup(slash ? "/" : ".");
}

static int release_by_hand(struct invocation *invocation, const char *why, const char *reason)
{
	const char *chosen = invocation->options[OPTION_STATE_DIR], *socket = other_socket(invocation);
	const char *state_dir = chosen ? chosen : LOCALSTATEDIR "/lib/holdfast";
	_cleanup_free_ char *runtime_dir = socket ? folder_of(socket) : text_dup(RUNSTATEDIR "/holdfast");
	if (socket && !chosen)
		return complain(EXIT_USAGE, "%s; to release by hand say whose state that is: --state-dir DIR belongs to %s", why, socket);
	if (geteuid() != 0)
		return complain(EXIT_NO_DAEMON, "%s; without it only root may release", why);
	fprintf(stderr, "holdfastctl: %s; releasing by hand\n", why);
	int r = write_marker(state_dir, reason);
	if (r < 0)
		return complain(EXIT_FAILED, "%s/" MARKER " cannot be written (%s); nothing was changed", state_dir,
			strerror(-r));
	fprintf(stderr, "holdfastctl: wrote %s/" MARKER ": the gate stays open until a mode is set\n", state_dir);
	r = remove_objects(state_dir, runtime_dir);
	if (r != 0)
		return complain(EXIT_FAILED,
			"holdfastd --release failed%s%s; what is left can be seen with: nft list table inet holdfast",
			r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
	if (wants_json(invocation))
		printf("{\"changed\":true,\"until\":null}\n");
	else
		printf("Released: nothing of Holdfast's is left in the kernel. Traffic goes unprotected until: "
		       "holdfastctl mode auto|always\n");
	return EXIT_OK;
}

int run_release(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_json_ json_object *body = json_object_new_object();
	const char *reason = invocation->operand_count > 0 ? invocation->operands[0] : DEFAULT_REASON;
	json_object_object_add(body, "reason", json_object_new_string(reason));
	if (invocation->options[OPTION_FOR])
		json_object_object_add(body, "for", json_object_new_string(invocation->options[OPTION_FOR]));
	const char *text = json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN);
	struct request request = {.method = "POST",
		.path = "/kill-switch/release",
		.body = text,
		.body_length = strlen(text),
		.timeout_usec = ANSWER_USEC};
	int r = client_send(invocation->client, &request, &response, NULL, NULL);
	bool by_hand = !invocation->options[OPTION_DRY_RUN];
	if (r == -ECONNREFUSED && by_hand)
		return release_by_hand(invocation, "no daemon runs", reason);
	if (r < 0 && r != -EACCES && by_hand)
		return release_by_hand(invocation, "the daemon does not answer", reason);
	int code = exchange_verdict(invocation, r, &response);
	char until[AMOUNT_MAX];
	if (code == EXIT_OK && !wants_json(invocation))
		printf("Released until %s; the kernel closes the gate again by itself. To close it now: holdfastctl "
		       "mode auto|always\n",
			format_time(until, member_text(response.json, "/until")));
	return code;
}
