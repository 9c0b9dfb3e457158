/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The drivers there are. A new one is a file of its own and a line here. */

#include <string.h>

#include "tunnel/driver.h"

static const struct driver *const drivers[] = {
        &driver_wireguard,
        &driver_openvpn,
        &driver_command,
};

const struct driver *driver_find(const char *name)
{
	for (size_t i = 0; i < ELEMENTSOF(drivers); i++)
		if (strcmp(drivers[i]->name, name) == 0)
			return drivers[i];
	return NULL;
}

const struct driver *const *driver_all(size_t *ret_count)
{
	*ret_count = ELEMENTSOF(drivers);
	return drivers;
}
