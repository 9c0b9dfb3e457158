/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One run of wireguard-go: the process, what it prints, and the conversation on its control socket. It works on a tun
 * that others made and keep. Requests are answered in order; a client that leaves one unanswered for five seconds is
 * killed.
 */

#include <systemd/sd-event.h>

#include "tunnel/wireguard-uapi.h"

struct wireguard_client;

enum wireguard_client_end {
	WIREGUARD_CLIENT_KILLED, /* by a signal */
	WIREGUARD_CLIENT_EXITED, /* by itself */
	WIREGUARD_CLIENT_SILENT, /* it did not answer, or not in the protocol's words, and was killed for it */
};

struct wireguard_client_events {
	void (*answered)(void *userdata, const struct wireguard_answer *answer);
	/* Called once, last; the client is dead and waits to be freed, which the callback may do. DETAIL is a sentence.
	 */
	void (*ended)(void *userdata, enum wireguard_client_end end, const char *detail);
};

/* Starts it on TUN_FD and CONTROL_FD, which stay the caller's. -ENOENT: it is not installed. */
int wireguard_client_new(struct wireguard_client **ret, sd_event *event, const char *interface, int tun_fd,
        int control_fd, const struct wireguard_client_events *events, void *userdata);
/* Kills it, if it lives, and waits until it is gone. Accepts NULL, returns NULL. */
struct wireguard_client *wireguard_client_free(struct wireguard_client *client);

/* Sends TEXT, of which a copy is taken and wiped. */
void wireguard_client_request(struct wireguard_client *client, const char *text);
/* Whether an answer is still to come. */
bool wireguard_client_is_busy(const struct wireguard_client *client);
