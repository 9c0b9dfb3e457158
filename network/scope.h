/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A scope of systemd's (systemd.scope(5)) in Holdfast's slice, for a process that runs already: PID 1 makes it and moves the process there.
 * It is asked over the system bus and never waited for.
 */

#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define SCOPE_SLICE "holdfast.slice"

enum scope_outcome {
	SCOPE_MADE,
	SCOPE_REFUSED, /* nothing was moved: systemd is not on the bus, or said no */
	SCOPE_FAILED,  /* it was asked, and where the process is now is not known */
};

struct scope_request;

/* Told once; WORDS, borrowed, say what went wrong. The request may be freed from here. */
typedef void (*scope_listener)(enum scope_outcome outcome, const char *words, void *userdata);

/* Whether there is somebody to ask: systemd is the host's, which its runtime directory says (sd_booted(3)). */
bool scope_possible(void);
/*
 * Asks for the scope NAME ("holdfast-exec-b1.scope") with the process PID. DESCRIPTION stands in the unit's file: never text of anybody
 * else's, a line of which would be a setting. Negative errno: nothing was asked, and nobody is told.
 */
int scope_request_new(struct scope_request **ret, sd_bus *bus, const char *name, const char *description, pid_t pid, scope_listener told, void *userdata);
struct scope_request *scope_request_free(struct scope_request *request); /* accepts NULL, returns NULL; then nobody is told */
