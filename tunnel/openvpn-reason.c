/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two tables: words that are logged before the end, and the reasons given with RECONNECTING and EXITING. */

#include "tunnel/openvpn-reason.h"

#include <string.h>

/* Where several fit, the first row wins; a later hint replaces an earlier one only if its row stands above. */
static const struct hint {
	const char *words;
	enum tunnel_error error;
	bool ends; /* the attempt, as long as no session stands */
} hints[] = {
        {"VERIFY ERROR", TUNNEL_ERROR_SERVER_CERTIFICATE_REJECTED},
        {"VERIFY KU ERROR", TUNNEL_ERROR_SERVER_CERTIFICATE_REJECTED},
        {"VERIFY EKU ERROR", TUNNEL_ERROR_SERVER_CERTIFICATE_REJECTED},
        {"VERIFY X509NAME ERROR", TUNNEL_ERROR_SERVER_CERTIFICATE_REJECTED},
        {"certificate verify failed", TUNNEL_ERROR_SERVER_CERTIFICATE_REJECTED},
        {"Cannot ioctl TUNSETIFF", TUNNEL_ERROR_TUN_INTERFACE_FAILURE},
        {"Cannot open TUN/TAP", TUNNEL_ERROR_TUN_INTERFACE_FAILURE},
        {"Cannot allocate TUN/TAP", TUNNEL_ERROR_TUN_INTERFACE_FAILURE},
        {"Options error", TUNNEL_ERROR_BAD_CONFIGURATION},
        {"Cannot load", TUNNEL_ERROR_BAD_CONFIGURATION}, /* a certificate, a key */
        {"Cannot pre-load", TUNNEL_ERROR_BAD_CONFIGURATION},
        {"TLS key negotiation failed to occur", TUNNEL_ERROR_TLS_FAILURE},
        {"TLS handshake failed", TUNNEL_ERROR_TLS_FAILURE},
        {"[ECONNREFUSED]", TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, .ends = true},
        {"[ENETUNREACH]", TUNNEL_ERROR_NETWORK_UNREACHABLE, .ends = true},
        {"[EHOSTUNREACH]", TUNNEL_ERROR_NETWORK_UNREACHABLE, .ends = true},
};

/* By the text that comes with the state; before a session stood, and after. A hint in HINTED is the better reason. */
static const struct ending {
	const char *text;
	enum tunnel_error before, after;
	bool hinted;
} endings[] = {
        {"tls-error", TUNNEL_ERROR_TLS_FAILURE, TUNNEL_ERROR_SERVER_DISCONNECTED, true},
        {"server_poll", TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_SERVER_DISCONNECTED, true},
        {"connection-failed", TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_SERVER_DISCONNECTED, true},
        {"init_instance", TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_SERVER_DISCONNECTED, true},
        {"network-unreachable", TUNNEL_ERROR_NETWORK_UNREACHABLE, TUNNEL_ERROR_NETWORK_UNREACHABLE},
        {"auth-failure (auth-token)", TUNNEL_ERROR_SESSION_EXPIRED, TUNNEL_ERROR_SESSION_EXPIRED},
        {"auth-temp-failure", TUNNEL_ERROR_SERVER_BUSY, TUNNEL_ERROR_SERVER_BUSY},
        {"auth-failure", TUNNEL_ERROR_AUTHENTICATION_FAILED, TUNNEL_ERROR_AUTHENTICATION_FAILED, true},
        {"private-key-password-failure", TUNNEL_ERROR_AUTHENTICATION_FAILED, TUNNEL_ERROR_AUTHENTICATION_FAILED},
        {"ping-restart", TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_PEER_UNRESPONSIVE},
        {"ping-exit", TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_PEER_UNRESPONSIVE},
        {"server-pushed-", TUNNEL_ERROR_SERVER_DISCONNECTED, TUNNEL_ERROR_SERVER_DISCONNECTED},
        {"remote-exit", TUNNEL_ERROR_SERVER_DISCONNECTED, TUNNEL_ERROR_SERVER_DISCONNECTED},
        {"connection-reset", TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_SERVER_DISCONNECTED},
        {"decryption-error", TUNNEL_ERROR_TLS_FAILURE, TUNNEL_ERROR_SERVER_DISCONNECTED},
        {"no-push-reply", TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, TUNNEL_ERROR_SERVER_DISCONNECTED},
        {"process-push-msg-failed", TUNNEL_ERROR_IP_CONFIGURATION_INVALID, TUNNEL_ERROR_IP_CONFIGURATION_INVALID},
        {"inactive", TUNNEL_ERROR_SESSION_EXPIRED, TUNNEL_ERROR_SESSION_EXPIRED},
        {"session-timeout", TUNNEL_ERROR_SESSION_EXPIRED, TUNNEL_ERROR_SESSION_EXPIRED},
        {"tun-stop", TUNNEL_ERROR_TUN_INTERFACE_FAILURE, TUNNEL_ERROR_TUN_INTERFACE_FAILURE},
        {"SIG", TUNNEL_ERROR_WORKER_CRASHED, TUNNEL_ERROR_WORKER_CRASHED}, /* somebody else's */
};

/* What a server says beside AUTH_FAILED: the beginning of its reason. */
static const struct {
	const char *begin;
	enum tunnel_error error;
} refusals[] = {
        {"SESSION:", TUNNEL_ERROR_SESSION_EXPIRED},
        {"TEMP", TUNNEL_ERROR_SERVER_BUSY},
        {"CRV1:", TUNNEL_ERROR_CREDENTIALS_REQUIRED},
        {"", TUNNEL_ERROR_AUTHENTICATION_FAILED},
};

static size_t rank(enum tunnel_error error)
{
	for (size_t i = 0; i < ELEMENTSOF(hints); i++)
		if (hints[i].error == error)
			return i;
	return ELEMENTSOF(hints);
}

static void set(struct openvpn_reason *reason, enum tunnel_error error, const char *words)
{
	reason->hint = error;
	worker_detail_set(reason->words, words);
}

static bool note_words(struct openvpn_reason *reason, const char *text, bool up)
{
	for (size_t i = 0; i < ELEMENTSOF(hints); i++) {
		if (!strstr(text, hints[i].words))
			continue;
		if (!reason->hint || rank(hints[i].error) < rank(reason->hint))
			set(reason, hints[i].error, text);
		return hints[i].ends && !up;
	}
	return false;
}

static void note_refusal(struct openvpn_reason *reason, const char *name, const char *text)
{
	char words[WORKER_DETAIL_MAX];
	size_t i = 0;
	while (strncmp(text, refusals[i].begin, strlen(refusals[i].begin)) != 0)
		i++; /* the last row fits everything */
	snprintf(words, sizeof words, "the server refused %.40s%s%.400s", strcmp(name, "Auth") == 0 ? "the credentials" : name,
	        *text ? ": " : "", text);
	set(reason, refusals[i].error, words);
}

/* The ways to sign in that a server can ask for while a client waits (management-notes.txt, client-pending-auth). */
static bool note_pending(struct openvpn_reason *reason, const char *text, bool up)
{
	static const char *const ways[] = {"CR_TEXT:", "WEB_AUTH:", "OPEN_URL:"};
	for (size_t i = 0; i < ELEMENTSOF(ways); i++) {
		if (strncmp(text, ways[i], strlen(ways[i])) != 0)
			continue;
		char words[WORKER_DETAIL_MAX];
		snprintf(words, sizeof words, "the server wants a sign-in that cannot be done here: %.400s", text);
		set(reason, TUNNEL_ERROR_CREDENTIALS_REQUIRED, words);
		return !up;
	}
	return false;
}

bool openvpn_reason_note(struct openvpn_reason *reason, const struct openvpn_line *line, bool up)
{
	switch (line->kind) {
	case OPENVPN_LINE_LOG:
		return note_words(reason, line->text, up);
	case OPENVPN_LINE_FATAL:
		if (!note_words(reason, line->text, up) && !reason->hint)
			set(reason, TUNNEL_ERROR_WORKER_START_FAILED, line->text);
		return false;
	case OPENVPN_LINE_PENDING:
		return note_pending(reason, line->text, up);
	case OPENVPN_LINE_PASSWORD_FAILED:
		note_refusal(reason, line->name, line->text);
		return false;
	case OPENVPN_LINE_OTHER:
	case OPENVPN_LINE_HOLD:
	case OPENVPN_LINE_STATE:
	case OPENVPN_LINE_PASSWORD_NEEDED:
	case OPENVPN_LINE_VARIABLE:
	case OPENVPN_LINE_STATISTICS:
		break;
	}
	return false;
}

enum tunnel_error openvpn_reason_of_state(const struct openvpn_reason *reason, const char *name, const char *text, bool up,
        char detail[WORKER_DETAIL_MAX])
{
	char words[WORKER_DETAIL_MAX];
	enum tunnel_error error = up ? TUNNEL_ERROR_SERVER_DISCONNECTED : TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED;
	bool hinted = true;
	for (size_t i = 0; i < ELEMENTSOF(endings); i++)
		if (strncmp(text, endings[i].text, strlen(endings[i].text)) == 0) {
			error = up ? endings[i].after : endings[i].before;
			hinted = endings[i].hinted && !up;
			break;
		}
	if (strncmp(text, "auth-failure", strlen("auth-failure")) == 0 && reason->hint == TUNNEL_ERROR_SESSION_EXPIRED)
		hinted = true; /* of a session that stood: its token ran out */
	if (hinted && reason->hint)
		error = reason->hint;
	snprintf(words, sizeof words, "openvpn: %.20s %.100s%s%.350s", name, text, reason->words[0] ? ": " : "", reason->words);
	worker_detail_set(detail, words);
	return error;
}
