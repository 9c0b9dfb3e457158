/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Files of other programs as tunnel documents: which importer takes a file is told by its content alone, never by its
 * name. */

#include <errno.h>

#include "tunnel/config.h"
#include "tunnel/import-openvpn.h"
#include "tunnel/import-wireguard.h"

static const struct {
	bool (*recognises)(const char *text, size_t length);
	int (*import)(const char *text, size_t length, const char *id, json_object **ret, struct problems *problems);
} importers[] = {
        {import_is_wireguard, tunnel_import_wireguard},
        {import_is_openvpn, tunnel_import_openvpn},
};

int tunnel_import(const char *text, size_t length, const char *id, json_object **ret, struct problems *problems)
{
	for (size_t i = 0; i < ELEMENTSOF(importers); i++)
		if (importers[i].recognises(text, length))
			return importers[i].import(text, length, id, ret, problems);
	problems_error(problems, "", NULL,
	        "is no file that can be imported: a wg-quick file begins with [Interface] or [Peer], an OpenVPN client's "
	        "with one of its options");
	return -EINVAL;
}
