/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One run of openvpn: the process, its configuration handed over as a descriptor, and the conversation on its
 * management interface, to which it connects. It is asked every two seconds how many bytes there were; one that does not
 * answer for eight is killed.
 */

#include <systemd/sd-event.h>

#include "tunnel/openvpn-management.h"

#define OPENVPN "openvpn"

struct openvpn_client;

enum openvpn_client_end {
	OPENVPN_CLIENT_KILLED, /* by a signal that was not ours */
	OPENVPN_CLIENT_EXITED, /* by itself, whatever the status */
	OPENVPN_CLIENT_SILENT, /* it did not connect, or did not answer, and was killed for it */
};

struct openvpn_client_events {
	/* The callback may free the client. */
	void (*line)(void *userdata, const struct openvpn_line *line);
	/* Called once, last; the client is dead and waits to be freed, which the callback may do. DETAIL is a sentence. */
	void (*ended)(void *userdata, enum openvpn_client_end end, const char *detail);
};

/*
 * Starts it with the configuration CONFIG_FD (from its beginning; taken over, and emptied once it was read). It connects
 * to CONTROL_FD, a listening socket, which stays the caller's. -ENOENT: it is not installed.
 */
int openvpn_client_new(struct openvpn_client **ret, sd_event *event, int config_fd, int control_fd,
        const struct openvpn_client_events *events, void *userdata);
/* Kills it, if it lives, and waits until it is gone. Accepts NULL, returns NULL. */
struct openvpn_client *openvpn_client_free(struct openvpn_client *client);

/* Sends the command TEXT (with its line end), which is wiped from the client's own memory once it is sent. */
void openvpn_client_command(struct openvpn_client *client, const char *text);
