/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The commands: one table, from which parsing, help, the completions and the man page's list grow. A command's operands are written
 * as a person reads them ("ID", "FILE", "off|auto|always", "[ID]"), and that text also says what a shell may complete there.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "ctl/client.h"

/* Exit codes; holdfastctl(1) lists them. */
enum exit_code {
	EXIT_DRY_RUN = -1, /* never seen outside: a dry run went well and was told, and the command has no more to do or to say */
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_UNPROTECTED = 3, /* `status`, `up`, `restart`: nothing holds the traffic, or what should does not */
	EXIT_NO_DAEMON = 4,
	EXIT_NOT_ALLOWED = 5,
	EXIT_NOT_FOUND = 6,
	EXIT_CONFLICT = 7,
	EXIT_WARNINGS = 8, /* `doctor`: the worst that was found … */
	EXIT_ERRORS = 9,
};

/* OPTION(constant, name, short name or 0, value's name or NULL, summary). Where a command takes an option, its row says so. */
#define OPTIONS(OPTION)                                                                                                    \
	OPTION(SOCKET, "--socket", 0, "PATH", "the daemon's socket (default: $HOLDFAST_SOCKET, else " RUNSTATEDIR "/holdfast/api.sock)") \
	OPTION(JSON, "--json", 0, NULL, "print the daemon's answer as it came")                                            \
	OPTION(HELP, "--help", 'h', NULL, "this text")                                                                     \
	OPTION(VERSION, "--version", 0, NULL, "the version")                                                               \
	OPTION(COMPLETION, "--completion", 0, "SHELL", "a completion script for bash, zsh or fish")                        \
	OPTION(WAIT, "--wait", 0, "DURATION", "wait so long for it (default: 30s)")                            \
	OPTION(NO_WAIT, "--no-wait", 0, NULL, "return once it has begun")                                            \
	OPTION(DRY_RUN, "--dry-run", 0, NULL, "check everything, tell what would be, and change nothing")                  \
	OPTION(FOR, "--for", 0, "DURATION", "for so long (release: default 5m, at most 1h; bypass: default for good)")                                  \
	OPTION(CONFIRM_WITHIN, "--confirm-within", 0, "DURATION", "go back unless confirmed in this time (1s to 1h)")             \
	OPTION(STATE_DIR, "--state-dir", 0, "DIR", "where the state is, if no daemon answers (default: " LOCALSTATEDIR "/lib/holdfast)") \
	OPTION(FOLLOW, "--follow", 'f', NULL, "go on as events happen")                                                    \
	OPTION(AFTER, "--after", 0, "ID", "only events after this one")                                                    \
	OPTION(TUNNEL, "--tunnel", 0, "TUNNEL", "only events of this tunnel")                                              \
	OPTION(KIND, "--kind", 0, "KIND", "only events of this kind")                                                      \
	OPTION(SINCE, "--since", 0, "TIME", "not before this time (2026-11-22T15:20:00Z)")                                 \
	OPTION(UNTIL, "--until", 0, "TIME", "not after this time")                                                         \
	OPTION(LIMIT, "--limit", 0, "COUNT", "at most this many, the oldest first (default: all; with --json: 1000)")      \
	OPTION(WATCH, "--watch", 'w', NULL, "show it again whenever something happens")                                \
	OPTION(LIFETIME, "--lifetime", 0, "DURATION", "how long it is good (default: until it is revoked)")              \
	OPTION(HOST, "--host", 0, "NAME,...", "names and addresses of this machine (default: its host name)")             \
	OPTION(POLICY, "--policy", 0, "FILE", "evaluate under this policy (default: the running one)")

enum option {
#define OPTION(constant, name, letter, value, summary) OPTION_##constant,
	OPTIONS(OPTION)
#undef OPTION
	OPTION_COUNT,
};

struct option_row {
	const char *name;
	char letter;
	const char *value;
	const char *summary;
};
extern const struct option_row option_rows[OPTION_COUNT];

#define TAKES(option)  (1u << OPTION_##option)
#define GLOBAL_OPTIONS (TAKES(SOCKET) | TAKES(JSON) | TAKES(HELP) | TAKES(VERSION) | TAKES(COMPLETION))

#define OPERANDS_MAX 4

struct invocation {
	const struct command *command;
	const char *options[OPTION_COUNT]; /* NULL: not given; flags: "" */
	char *operands[OPERANDS_MAX];	   /* borrowed from main()'s */
	size_t operand_count;
	char **rest; /* what follows "--", up to a NULL; borrowed. NULL: there was none */
	struct client *client;
	const char *input;  /* what is sent, for complaints about it: a file's name; NULL: nothing that a person wrote */
	const char *exists; /* what to do where a tunnel's id is taken; NULL: as the daemon says */
};

struct command {
	const char *words;     /* "tunnel show" */
	const char *operands;  /* "ID [FILE]" */
	const char *operation; /* the row of the operations that it stands for; NULL: the daemon is not asked */
	unsigned options;      /* beside the global ones */
	int (*run)(struct invocation *invocation); /* returns an exit code */
	const char *summary;
};

const struct command *commands_all(size_t *ret_count);
size_t command_operands(const struct command *command, bool required_only);

/* What each file brings to the table. */
int run_status(struct invocation *invocation);
int run_doctor(struct invocation *invocation);
int run_up(struct invocation *invocation);
int run_down(struct invocation *invocation);
int run_restart(struct invocation *invocation);
int run_credentials(struct invocation *invocation);
int run_mode(struct invocation *invocation);
int run_kill_switch_show(struct invocation *invocation);
int run_kill_switch_set(struct invocation *invocation);
int run_confirm(struct invocation *invocation);
int run_release(struct invocation *invocation);
int run_import(struct invocation *invocation);
int run_tunnel_list(struct invocation *invocation);
int run_tunnel_show(struct invocation *invocation);
int run_tunnel_add(struct invocation *invocation);
int run_tunnel_set(struct invocation *invocation);
int run_tunnel_delete(struct invocation *invocation);
int run_policy_show(struct invocation *invocation);
int run_policy_set(struct invocation *invocation);
int run_policy_check(struct invocation *invocation);
int run_policy_test(struct invocation *invocation);
int run_policy_evaluate(struct invocation *invocation);
int run_token_list(struct invocation *invocation);
int run_token_create(struct invocation *invocation);
int run_token_revoke(struct invocation *invocation);
int run_tls_init(struct invocation *invocation);
int run_decide(struct invocation *invocation);
int run_events(struct invocation *invocation);
int run_decisions(struct invocation *invocation);
int run_bypass_list(struct invocation *invocation);
int run_bypass_add(struct invocation *invocation);
int run_bypass_remove(struct invocation *invocation);
int run_exec(struct invocation *invocation);

/* help.c, completion.c */
void help_print(FILE *file);
void help_print_command(FILE *file, const struct command *command);
/* The commands that begin with the word GROUP. False: there are none. */
bool help_print_group(FILE *file, const char *group);
/* The script for SHELL, or with "candidates" what may stand at the cursor: the last of WORDS, perhaps begun. */
int completion_print(struct invocation *invocation, const char *shell, char **words, size_t count);

/* --- exchange.c: what commands have in common --- */

/* "holdfastctl: …" on standard error. Returns CODE. */
int complain(enum exit_code code, const char *format, ...) _printf_(2, 3);

/*
 * Sends REQUEST; with --json prints the answer as it came. EXIT_OK, or the exit code after having said what is wrong. RESPONSE is the
 * caller's to release in any case.
 */
int exchange(struct invocation *invocation, const struct request *request, struct response *response);
int exchange_watching(struct invocation *invocation, const struct request *request, struct response *response,
	client_event on_event, void *userdata);
/* What to say and to return for a transfer that ended in R (as client_send()) and RESPONSE. */
int exchange_verdict(struct invocation *invocation, int r, const struct response *response);
/* GET of PATH, for which the daemon has ten seconds. */
int exchange_get(struct invocation *invocation, const char *path, struct response *response);
/* Sends FILE ("-": standard input) as the body. */
int exchange_file(struct invocation *invocation, const char *method, const char *path, const char *file, const char *content_type,
	struct response *response);
/* Reads FILE ("-": standard input). EXIT_OK, or complains. The caller frees *ret. */
int read_input(const char *file, char **ret, size_t *ret_length);

/* How a person knows FILE: "standard input" for "-". */
const char *input_name(const char *file);
/* Asks for the status and prints nothing. False: there was no answer. RESPONSE is the caller's to release in any case. */
bool peek_status(struct invocation *invocation, struct response *response);
/* Where the way out was taken says on standard error that the gate is open, and returns true. */
bool warn_of_way_out(json_object *status);
/* One of `errors` or `warnings`, indented: its place in words, a sentence, and what was found there. */
void print_finding(FILE *file, const char *label, json_object *finding);

bool wants_json(const struct invocation *invocation);
/* The answer's document, as it came with --json, else indented for a person. EXIT_OK. */
int print_document(const struct invocation *invocation, const struct response *response);
/* "/tunnels/home/start": the id escaped. The caller frees it. */
char *tunnel_url(const char *id, const char *rest);
/* A member's text, or "" where there is none. Borrowed. */
const char *member_text(json_object *object, const char *pointer);
json_object *member(json_object *object, const char *pointer);
/* Elements of the array NAME in OBJECT, or of OBJECT if it is the array. NULL: neither. Borrowed. */
json_object *member_list(json_object *object, const char *name);
/* The tunnel ID of a status. NULL: there is none. Borrowed. */
json_object *find_tunnel(json_object *status, const char *id);
