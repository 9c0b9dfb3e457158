/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * An OpenVPN tunnel's settings: one table of the options that are taken, by which documents are checked, files are
 * imported and the client's configuration is written. What is not in it does not reach the client. Values are checked so
 * that none can end its line or its block.
 *
 * The configuration holds keys and goes to the client by a descriptor; user name, password and the key's password go
 * over the management interface, when they are asked for.
 */

#include <json-c/json.h>
#include <stdbool.h>

#include "util/address.h"
#include "util/problem.h"

enum openvpn_kind {
	OPENVPN_BLOCK,    /* several lines, inline: a certificate, a key */
	OPENVPN_WORD,     /* letters, digits and a few signs; lists with colons */
	OPENVPN_CIPHERS,  /* the same, and "none" is none of them */
	OPENVPN_NAME,     /* one line of text, quoted, and what `beside` says */
	OPENVPN_CHOICE,   /* one of `choices` */
	OPENVPN_NUMBER,   /* `min` to `max` */
	OPENVPN_DURATION, /* whole seconds, `min` to `max` */
	OPENVPN_FLAG,     /* true: the option stands there */
	OPENVPN_SECRET,   /* one line that is never part of the configuration */
};

struct openvpn_option {
	const char *key;       /* in `settings` */
	const char *directive; /* in the configuration; NULL: it is no part of it */
	enum openvpn_kind kind;
	bool udp_only;
	const char *const *choices; /* NULL-terminated */
	long min, max;
	const char *beside, *otherwise; /* NAME: the key of a second word, and what it is without that */
};

extern const struct openvpn_option openvpn_options[];
extern const size_t openvpn_option_count;
extern const char *const openvpn_secrets[]; /* keys of those that are never read back; NULL-terminated */

#define OPENVPN_BLOCK_MAX (32u << 10)

/* NULL if TEXT can be a value of OPTION, else what is wrong with it; the sentence never quotes it. */
const char *openvpn_option_wrong(const struct openvpn_option *option, const char *text);

/* Reads and checks; every error becomes a problem. *RET_MTU: of `tunMtu`, 0: none. */
void openvpn_settings_check(json_object *settings, json_object *endpoints, uint32_t *ret_mtu, struct problems *problems);

struct openvpn_run {
	const char *interface;
	const char *control; /* path of the socket that the client connects to */
	struct endpoint endpoint;
	uint32_t mark; /* that it gives its sockets itself; 0: they are born with it */
};

/* Writes the configuration for RUN by SETTINGS, which were checked, to FD. Negative errno. */
int openvpn_settings_write(json_object *settings, const struct openvpn_run *run, int fd);
/* The text of SETTINGS' member KEY; NULL: there is none. */
const char *openvpn_settings_text(json_object *settings, const char *key);
bool openvpn_settings_flag(json_object *settings, const char *key);
