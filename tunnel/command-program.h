/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One run of a program that nothing is known of: its processes, its output in lines, what it tells by the protocol of
 * sd_notify(3). It may fork, print without end, or not end when it is asked to. All that descends from it counts as it:
 * the worker is their reaper (PR_SET_CHILD_SUBREAPER), whatever they detach from.
 */

#include <systemd/sd-event.h>

#include "tunnel/command-settings.h"

struct command_program;

struct command_program_events {
	/* One line of output, printable, cut where it is too long. The callback may kill the program, not free it. */
	void (*line)(void *userdata, const char *line);
	/* One assignment that it sent: "READY", "1". */
	void (*notified)(void *userdata, const char *name, const char *value);
	/* It was stopped (SIGSTOP) and has not gone on for some seconds. */
	void (*hangs)(void *userdata);
	/* Nothing of it runs any more, and all its lines were told. STATUS as waitpid(2) gives it. May free the program. */
	void (*ended)(void *userdata, int status);
};

struct command_start {
	const char *const *arguments, *const *environment; /* complete but for NOTIFY_SOCKET */
	const char *input;                                 /* credentials, or NULL */
	size_t input_length;
	enum command_input input_to;
	bool notify;
	bool forks;
};

/* Starts it. Negative errno: nothing runs. */
int command_program_new(struct command_program **ret, sd_event *event, const struct command_start *start,
        const struct command_program_events *events, void *userdata);
/* Asks by signal NUMBER; SIGKILL follows after USEC. `ended` tells when. */
void command_program_stop(struct command_program *program, int number, uint64_t usec);
/* SIGKILL to all of it, now, without another event. */
void command_program_kill(struct command_program *program);
/* The same, and frees it. Accepts NULL, returns NULL. */
struct command_program *command_program_free(struct command_program *program);
