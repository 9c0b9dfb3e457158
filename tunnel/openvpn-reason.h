/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * From OpenVPN's own words to an error. Its exit status says nothing (0 after refused credentials), and the reason it
 * gives with a state is often less than what it logged just before: hints are noted as they come, and the state that
 * ends the attempt is judged with them. Pure.
 */

#include <stdbool.h>

#include "policy/error.h"
#include "tunnel/openvpn-management.h"
#include "tunnel/protocol.h"

struct openvpn_reason {
	enum tunnel_error hint; /* TUNNEL_ERROR_NONE: none yet */
	char words[WORKER_DETAIL_MAX];
};

/*
 * Notes what LINE (a log line, a failed password, the last words) says of why the attempt will end. True where it is at
 * an end now, although OpenVPN would go on: as long as no session stands (UP is false), a refusal that the kernel
 * reports is one.
 */
bool openvpn_reason_note(struct openvpn_reason *reason, const struct openvpn_line *line, bool up);

/* The error of a session that ended with the state NAME because of TEXT; DETAIL says it in OpenVPN's words. */
enum tunnel_error openvpn_reason_of_state(const struct openvpn_reason *reason, const char *name, const char *text, bool up,
        char detail[WORKER_DETAIL_MAX]);
