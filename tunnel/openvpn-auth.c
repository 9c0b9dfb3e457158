/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Names and values come from the server and from people: none of them can end its command, because whatever holds a
 * control character is refused, and quotes are escaped.
 */

#include "tunnel/openvpn-auth.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "tunnel/config.h"
#include "tunnel/openvpn-management.h"
#include "tunnel/openvpn-settings.h"
#include "util/fields.h"

#define USER    "Auth"
#define KEY     "Private Key"
#define DYNAMIC "CRV1:"

/* ---- challenges ---- */

bool openvpn_is_challenge(const char *reason)
{
	return strncmp(reason, DYNAMIC, strlen(DYNAMIC)) == 0;
}

/* The part of *AT before the next colon, which is left behind, into PART. False: there is none, or it is too long. */
static bool take_part(const char **at, char part[OPENVPN_ID_MAX])
{
	size_t length = strcspn(*at, ":");
	if ((*at)[length] != ':' || length >= OPENVPN_ID_MAX)
		return false;
	memcpy(part, *at, length);
	part[length] = 0;
	*at += length + 1;
	return true;
}

static bool decode_name(const char *base64, char ret[OPENVPN_ID_MAX])
{
	unsigned char bytes[OPENVPN_ID_MAX] = {};
	size_t length = strlen(base64);
	int count = EVP_DecodeBlock(bytes, (const unsigned char *)base64, (int)length);
	if (count < 0 || length % 4)
		return false;
	for (; length && base64[length - 1] == '='; length--)
		count--; /* a padding's bytes are counted, too */
	bytes[count > 0 ? count : 0] = 0;
	memcpy(ret, bytes, sizeof bytes);
	return count > 0 && strlen(ret) == (size_t)count && !text_has_control(ret, (size_t)count);
}

/* "CRV1:R,E:ID:dXNlcg==:the question, which may hold colons" */
bool openvpn_challenge_read(struct openvpn_challenge *ret, const char *reason)
{
	struct openvpn_challenge challenge = {.kind = OPENVPN_CHALLENGE_DYNAMIC};
	char flags[OPENVPN_ID_MAX], user[OPENVPN_ID_MAX];
	if (!openvpn_is_challenge(reason))
		return false;
	const char *at = reason + strlen(DYNAMIC);
	if (!take_part(&at, flags) || !take_part(&at, challenge.id) || !take_part(&at, user))
		return false;
	if (!challenge.id[0] || text_has_control(challenge.id, strlen(challenge.id)) || !decode_name(user, challenge.username))
		return false;
	challenge.unanswered = !strchr(flags, 'R');
	challenge.question.echo = strchr(flags, 'E');
	worker_detail_set(challenge.question.text, *at ? at : "a response");
	*ret = challenge;
	return true;
}

/* "username/password SC:1,the question": the first bit of the number says whether the answer may be seen. */
static void read_static(struct openvpn_auth *auth, const char *form)
{
	const char *begin = strstr(form, " SC:"), *comma = begin ? strchr(begin, ',') : NULL;
	if (!comma)
		return;
	auth->challenge = (struct openvpn_challenge){.kind = OPENVPN_CHALLENGE_STATIC};
	auth->challenge.question.echo = strtoul(begin + strlen(" SC:"), NULL, 10) & 1;
	worker_detail_set(auth->challenge.question.text, comma[1] ? comma + 1 : "a response");
}

/* ---- what is known ---- */

static const char *known(const struct openvpn_auth *auth, const char *key)
{
	const char *given = auth->given ? openvpn_settings_text(auth->given, key) : NULL;
	return given ? given : openvpn_settings_text(auth->settings, key);
}

bool openvpn_auth_need(struct openvpn_auth *auth, const char *name, const char *form)
{
	if (strcmp(name, USER) != 0 && strcmp(name, KEY) != 0)
		return false;
	snprintf(auth->needed, sizeof auth->needed, "%s", name);
	if (strcmp(name, USER) == 0 && auth->challenge.kind != OPENVPN_CHALLENGE_DYNAMIC)
		read_static(auth, form);
	return true;
}

void openvpn_auth_give(struct openvpn_auth *auth, json_object *answer)
{
	if (!auth->given)
		auth->given = json_object_new_object();
	json_object_object_foreach(answer, name, value)
		json_object_object_add(auth->given, name, json_object_new_string(json_object_get_string(value)));
}

/* By what is asked for: which names its answer is made of. */
static void list_names(const struct openvpn_auth *auth, const char *names[4])
{
	size_t count = 0;
	bool key = strcmp(auth->needed, KEY) == 0, dynamic = auth->challenge.kind == OPENVPN_CHALLENGE_DYNAMIC;
	if (key)
		names[count++] = "keyPassword";
	if (!key && !dynamic && auth->needed[0]) {
		names[count++] = "username";
		names[count++] = "password";
	}
	if (!key && auth->challenge.kind != OPENVPN_CHALLENGE_NONE && !auth->challenge.unanswered)
		names[count++] = WORKER_CHALLENGE_NAME;
	names[count] = NULL;
}

void openvpn_auth_missing(const struct openvpn_auth *auth, char names[WORKER_DETAIL_MAX])
{
	const char *all[4];
	size_t length = 0;
	list_names(auth, all);
	names[0] = 0;
	for (const char *const *name = all; *name; name++)
		if (!known(auth, *name))
			length += (size_t)snprintf(names + length, WORKER_DETAIL_MAX - length, "%s%s", length ? "," : "", *name);
}

/* ---- the answer ---- */

static void append_base64(struct text *text, const char *value)
{
	size_t length = strlen(value), size = (length + 2) / 3 * 4 + 1;
	unsigned char *digits = xcalloc(1, size);
	int count = EVP_EncodeBlock(digits, (const unsigned char *)value, (int)length);
	text_append_bytes(text, (const char *)digits, (size_t)count);
	wipe(digits, size);
	free(digits);
}

/* Room beforehand, so that growing leaves no copies behind. */
static struct text make_room(size_t size)
{
	return (struct text){.bytes = xcalloc(1, size), .allocated = size};
}

/* What goes as the password of a user. */
static void make_password(const struct openvpn_auth *auth, struct text *text)
{
	const struct openvpn_challenge *challenge = &auth->challenge;
	const char *response = known(auth, WORKER_CHALLENGE_NAME);
	switch (challenge->kind) {
	case OPENVPN_CHALLENGE_NONE:
		text_append(text, "%s", known(auth, "password"));
		break;
	case OPENVPN_CHALLENGE_STATIC:
		if (openvpn_settings_flag(auth->settings, "staticChallengeConcat")) {
			text_append(text, "%s%s", known(auth, "password"), response);
			break;
		}
		text_append(text, "SCRV1:");
		append_base64(text, known(auth, "password"));
		text_append(text, ":");
		append_base64(text, response);
		break;
	case OPENVPN_CHALLENGE_DYNAMIC:
		text_append(text, DYNAMIC ":%s::%s", challenge->id, challenge->unanswered ? "" : response);
		break;
	}
}

/* One command; -E2BIG. */
static int append_command(struct text *commands, const char *verb, const char *needed, const char *value)
{
	text_append(commands, "%s \"%s\" ", verb, needed);
	openvpn_quote(commands, value);
	text_append(commands, "\n");
	return strlen(value) > OPENVPN_VALUE_MAX ? -E2BIG : 0;
}

static void wipe_text(struct text *text)
{
	wipe(text->bytes, text->allocated);
	text_done(text);
}

int openvpn_auth_answer(struct openvpn_auth *auth, struct text *commands)
{
	bool user = strcmp(auth->needed, USER) == 0, dynamic = auth->challenge.kind == OPENVPN_CHALLENGE_DYNAMIC;
	size_t room = 4 * WORKER_MESSAGE_MAX; /* all values come in one message; base64 and quotes make them twice as long at most */
	struct text password = make_room(room);
	int r = 0;
	*commands = make_room(room);
	if (user) {
		make_password(auth, &password);
		r = append_command(commands, "username", USER, dynamic ? auth->challenge.username : known(auth, "username"));
	} else {
		text_append(&password, "%s", known(auth, "keyPassword"));
	}
	if (r == 0)
		r = append_command(commands, "password", auth->needed, password.bytes);
	wipe_text(&password);
	auth->needed[0] = 0;
	if (user)
		openvpn_auth_settle(auth);
	return r;
}

static void forget_response(struct openvpn_auth *auth)
{
	json_object *response = NULL;
	if (!auth->given || !json_object_object_get_ex(auth->given, WORKER_CHALLENGE_NAME, &response))
		return;
	json_wipe(response);
	json_object_object_del(auth->given, WORKER_CHALLENGE_NAME);
}

void openvpn_auth_settle(struct openvpn_auth *auth)
{
	auth->needed[0] = 0;
	auth->challenge = (struct openvpn_challenge){};
	forget_response(auth);
}

void openvpn_auth_forget(struct openvpn_auth *auth)
{
	json_wipe(auth->given);
	json_object_put(auth->given);
	auth->given = NULL;
}
