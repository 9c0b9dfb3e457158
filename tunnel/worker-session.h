/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The worker process's own half: its connection to the daemon and the one driver session that it holds. Without a
 * daemon it keeps the session and decides nothing; it says hello, with all of its state, to the daemon that comes.
 */

#include <systemd/sd-event.h>

#include "tunnel/protocol.h"

struct worker_session;

/*
 * Connects to SOCKET_PATH as TUNNEL's worker, and again whenever the daemon comes back. EVENT ends with 0 once the
 * session was stopped as the daemon asked, or when there is nothing to hold and no daemon. NONCE is hexadecimal.
 * Negative errno.
 */
int worker_session_new(
        struct worker_session **ret, sd_event *event, const char *tunnel, const char *socket_path, const char *nonce);
/* Ends the client. Accepts NULL, returns NULL. */
struct worker_session *worker_session_free(struct worker_session *session);
