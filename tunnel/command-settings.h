/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The `command` driver's settings: what is run, as whom, how it says that it is up, and what its words and codes mean. */

#include <json-c/json.h>
#include <regex.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/error.h"
#include "tunnel/config.h"
#include "util/problem.h"

#define COMMAND_ARGUMENTS_MAX 128
#define COMMAND_ERRORS_MAX    64
#define COMMAND_STOP_USEC     (3 * USEC_PER_SEC)        /* until SIGKILL, where the settings do not say */
#define COMMAND_STOP_MAX_USEC (4500 * USEC_PER_MSEC)    /* the daemon waits 5 s for a goodbye */

/* A line of output: a glob (fnmatch(3)) or an extended regular expression (regex(7)). */
struct command_pattern {
	char *glob;
	regex_t *regex;
};

enum command_up { COMMAND_UP_LINE, COMMAND_UP_INTERFACE, COMMAND_UP_NOTIFY };

struct command_error {
	struct command_pattern line; /* both NULL: an exit code */
	int exit_code;
	enum tunnel_error error;
};

enum command_input { COMMAND_INPUT_STDIN, COMMAND_INPUT_FD3 };

struct command_settings {
	char **arguments; /* NULL-terminated; the first is the program's path */
	char **environment; /* NAME=value, NULL-terminated */
	bool own_link;      /* the program makes hf-<id> itself */
	bool net_admin;
	char *user; /* NULL: the workers' */
	enum command_up up;
	struct command_pattern up_line;
	struct command_error *errors;
	size_t error_count;
	bool forks; /* the first process may end once others carry on */
	int stop_signal;
	uint64_t stop_usec;
	uint64_t watchdog_usec; /* 0: none */
	char **asks;            /* names of credentials, in the order in which they are handed over; NULL-terminated */
	enum command_input input;
	struct ip_prefix *addresses;
	size_t address_count;
	uint32_t mtu;
	struct endpoint *servers; /* beside the endpoint */
	size_t server_count;
};

/* False: PROBLEMS has why. What was read so far is SETTINGS' to be done with in any case. */
bool command_settings_read(json_object *object, struct command_settings *settings, struct problems *problems);
void command_settings_done(struct command_settings *settings);
#define _cleanup_command_settings_ _cleanup_(command_settings_done)

bool command_pattern_matches(const struct command_pattern *pattern, const char *line);
/* TEMPLATE with "{interface}", "{address}", "{port}", "{protocol}" and "{tunnel}" filled in; the caller frees it. */
char *command_fill_in(const char *template, const struct tunnel_config *config, const struct endpoint *endpoint);
