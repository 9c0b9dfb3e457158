/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Read from the file, not through NSS: that would ask a directory service for those that are not here, over a network that may be
 * closed. systemd's sysusers and packages make them in the file.
 */

#include "daemon/dhcp-users.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>

#define PASSWD "/etc/passwd"

static const char *const names[] = {
	"systemd-network", /* systemd-networkd */
	"dhcpcd",
	"_dhcpcd", /* Debian 11, Void and others */
};
_Static_assert(ELEMENTSOF(names) <= GATE_DHCP_USERS_MAX, "the plan has no room for all of them");

static bool is_client(const struct passwd *user)
{
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (strcmp(names[i], user->pw_name) == 0)
			return user->pw_uid != 0;
	return false;
}

struct gate_dhcp_users dhcp_users_find(void)
{
	struct gate_dhcp_users found = {};
	FILE *file = fopen(PASSWD, "re");
	const struct passwd *user;
	while (file && found.count < GATE_DHCP_USERS_MAX && (user = fgetpwent(file)))
		if (is_client(user))
			found.uids[found.count++] = user->pw_uid;
	if (file)
		fclose(file);
	return found;
}
