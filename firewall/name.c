/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Checks of names, by allow-list. */

#include "firewall/name.h"

#include <net/if.h>
#include <string.h>

#include "firewall/gate.h"

#define LOWER    "abcdefghijklmnopqrstuvwxyz"
#define UPPER    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT    "0123456789"
#define ALPHANUM LOWER UPPER DIGIT

#define DOMAIN_MAX 253 /* RFC 1035 2.3.4, as text without the root's dot */
#define LABEL_MAX  63
#define UNIT_MAX   255 /* UNIT_NAME_MAX of systemd less its NUL */
#define USER_MAX   32  /* LOGIN_NAME_MAX of useradd(8) */

/* Whether NAME is 1 to MAX bytes, all of them in SET. */
static bool made_of(const char *name, const char *set, size_t max)
{
	size_t length = strlen(name);
	return length >= 1 && length <= max && strspn(name, set) == length;
}

bool interface_name_valid(const char *name)
{
	return made_of(name, ALPHANUM "_.-", IFNAMSIZ - 1) && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

bool interface_name_foreign(const char *name)
{
	return interface_name_valid(name) && strcmp(name, "lo") != 0 && strcmp(name, "hf0") != 0 &&
	       strncmp(name, GATE_LINK_PREFIX, strlen(GATE_LINK_PREFIX)) != 0;
}

bool tunnel_name_valid(const char *name)
{
	return made_of(name, LOWER DIGIT "_", IFNAMSIZ - 1 - strlen(GATE_LINK_PREFIX)) && strchr(LOWER, name[0]);
}

bool domain_name_valid(const char *name)
{
	if (!made_of(name, ALPHANUM "_.-", DOMAIN_MAX))
		return false;
	bool numeric = true;
	for (const char *label = name;; label++) {
		size_t length = strcspn(label, ".");
		if (length < 1 || length > LABEL_MAX || label[0] == '-' || label[length - 1] == '-')
			return false;
		numeric = strspn(label, DIGIT) == length;
		label += length;
		if (!*label)
			return !numeric;
	}
}

/* Whether NAME is a unit's name that ends in SUFFIX and has something in front of it. */
static bool unit_with_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name), tail = strlen(suffix);
	return made_of(name, ALPHANUM ":_.\\@-", UNIT_MAX) && length > tail &&
	       strcmp(name + length - tail, suffix) == 0;
}

bool unit_name_valid(const char *name)
{
	return unit_with_suffix(name, ".service") || unit_with_suffix(name, ".scope");
}

bool slice_name_valid(const char *name)
{
	return unit_with_suffix(name, ".slice") && name[0] != '-' && !strchr(name, '@');
}

bool user_name_valid(const char *name)
{
	return made_of(name, ALPHANUM "_.-", USER_MAX) && name[0] != '-' && name[0] != '.';
}
