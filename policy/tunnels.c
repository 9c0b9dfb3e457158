/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The tunnels that a policy names, against those that there are. Only a warning can come of it: a policy may be written before its
 * tunnels. A document's `tunnel` (a condition, a connect) and `to` (a failover) name them, and nothing else does.
 */

#include <string.h>

#include "policy/rule.h"
#include "util/fields.h"

struct search {
	policy_tunnel_exists exists;
	void *userdata;
	struct problems *problems;
};

static void check_name(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	const struct search *search = context;
	const char *id = json_object_get_string(value);
	if (!strpbrk(id, "*?") && !search->exists(id, search->userdata))
		problems_warning(problems, pointer, value, "there is no such tunnel at present");
}

static void check_names(json_object *value, const char *pointer, struct search *search)
{
	char at[POINTER_MAX];
	if (json_object_is_type(value, json_type_array)) {
		for (size_t i = 0; i < json_object_array_length(value); i++)
			check_names(json_object_array_get_idx(value, i), pointer_index(at, pointer, i), search);
	} else if (json_object_is_type(value, json_type_object)) {
		json_object_object_foreach(value, key, member)
		{
			pointer_member(at, pointer, key);
			bool of_failover = strcmp(key, "to") == 0 && json_object_is_type(member, json_type_array);
			if (of_failover || strcmp(key, "tunnel") == 0)
				read_each(member, at, check_name, NULL, search->problems, search);
			else
				check_names(member, at, search);
		}
	}
}

void policy_check_tunnels(json_object *document, policy_tunnel_exists exists, void *userdata, struct problems *problems)
{
	struct search search = {exists, userdata, problems};
	check_names(document, "", &search);
}
