/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What OpenVPN is answered when it asks for a password: from the tunnel's document, from what was given later, and from a
 * person's response to a challenge (doc/management-notes.txt of its source, "Challenge/Response Protocol"):
 *
 *  - static: the document has the question, OpenVPN asks it each time, and password and response go together (SCRV1);
 *  - dynamic: the server refuses the password with a question of its own (CRV1); the next client answers that instead.
 *
 * A response is good for one time: it is forgotten once it was handed over. Pure: no descriptor is touched here.
 */

#include <json-c/json.h>
#include <stdbool.h>

#include "tunnel/protocol.h"
#include "util/text.h"

#define OPENVPN_VALUE_MAX   256  /* bytes of a command's value; to a longer one OpenVPN answers an error that quotes it, and goes on waiting (OPTION_PARM_SIZE) */
#define OPENVPN_ID_MAX      512  /* of a challenge; a longer one leaves no room for its response */

enum openvpn_challenge_kind { OPENVPN_CHALLENGE_NONE, OPENVPN_CHALLENGE_STATIC, OPENVPN_CHALLENGE_DYNAMIC };

struct openvpn_challenge {
	enum openvpn_challenge_kind kind;
	struct worker_challenge question;
	bool unanswered;             /* it is a word to the user alone: the response is empty */
	char id[OPENVPN_ID_MAX];     /* dynamic: the server's name for it */
	char username[OPENVPN_ID_MAX]; /* dynamic: whom it asks */
};

struct openvpn_auth {
	json_object *settings; /* of the document; borrowed */
	json_object *given;    /* later; owned, wiped */
	char needed[64];       /* what OpenVPN waits for: "Auth", "Private Key"; "" for nothing */
	struct openvpn_challenge challenge;
};

/* Whether REASON, which a server gave for refusing a password, is a challenge. */
bool openvpn_is_challenge(const char *reason);
/* Reads it. False: it makes no sense, and nothing is kept. */
bool openvpn_challenge_read(struct openvpn_challenge *ret, const char *reason);

/* OpenVPN asks for NAME in the form FORM ("username/password SC:1,PIN?"). False: that is nothing that is known here. */
bool openvpn_auth_need(struct openvpn_auth *auth, const char *name, const char *form);
/* Takes copies of what is in ANSWER, an object of strings. */
void openvpn_auth_give(struct openvpn_auth *auth, json_object *answer);
/* Names, separated by commas, of what is still wanting for NEEDED, or for the challenge; "": nothing. */
void openvpn_auth_missing(const struct openvpn_auth *auth, char names[WORKER_DETAIL_MAX]);
/* The commands that answer NEEDED, which nothing is wanting for, into a buffer that the caller wipes; with it the response
 * is forgotten. -E2BIG: OpenVPN would cut one of them off. */
int openvpn_auth_answer(struct openvpn_auth *auth, struct text *commands);

/* Nothing is asked any more. */
void openvpn_auth_settle(struct openvpn_auth *auth);
/* Forgets what was given, wiped. */
void openvpn_auth_forget(struct openvpn_auth *auth);
