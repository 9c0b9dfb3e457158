/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Where secrets stand in a document. One walk visits every object that may hold some, together with the object of the
 * former document that it corresponds to: `settings` with `settings`, members of arrays by their publicKey, else by
 * their address.
 */

#include "tunnel/config-secrets.h"

#include <string.h>

#include "util/fields.h"
#include "util/problem.h"
#include "util/text.h"

typedef void (*visitor)(
        json_object *object, json_object *former, const char *secret, const char *pointer, void *userdata);

struct walk {
	const struct driver *driver;
	visitor visit;
	void *userdata;
};

static bool same_text(json_object *a, json_object *b)
{
	return json_object_is_type(a, json_type_string) && json_object_is_type(b, json_type_string) &&
	       strcmp(json_object_get_string(a), json_object_get_string(b)) == 0;
}

static json_object *find_former(json_object *formers, json_object *object)
{
	const char *identity = json_object_object_get(object, "publicKey") ? "publicKey" : "address";
	if (!json_object_is_type(formers, json_type_array))
		return NULL;
	for (size_t i = 0; i < json_object_array_length(formers); i++) {
		json_object *former = json_object_array_get_idx(formers, i);
		if (same_text(json_object_object_get(former, identity), json_object_object_get(object, identity)))
			return former;
	}
	return NULL;
}

static void walk_object(const struct walk *walk, json_object *object, json_object *former, const char *pointer)
{
	for (const char *const *secret = walk->driver->secrets; *secret; secret++)
		if (json_object_is_type(object, json_type_object))
			walk->visit(object, former, *secret, pointer, walk->userdata);
}

static void walk_array(const struct walk *walk, json_object *array, json_object *formers, const char *pointer)
{
	char at[POINTER_MAX];
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		json_object *object = json_object_array_get_idx(array, i);
		walk_object(walk, object, find_former(formers, object), pointer_index(at, pointer, i));
	}
}

static void walk_document(const struct walk *walk, json_object *document, json_object *previous)
{
	json_object *settings = json_object_object_get(document, "settings"), *endpoints = json_object_object_get(document, "endpoints");
	json_object *former = json_object_object_get(previous, "settings");
	char at[POINTER_MAX];
	walk_object(walk, settings, former, "/settings");
	if (json_object_is_type(settings, json_type_object)) {
		json_object_object_foreach(settings, key, value) if (json_object_is_type(value, json_type_array))
		        walk_array(walk, value, json_object_object_get(former, key), pointer_member(at, "/settings", key));
	}
	if (json_object_is_type(endpoints, json_type_array))
		walk_array(walk, endpoints, json_object_object_get(previous, "endpoints"), "/endpoints");
}

static void keep(json_object *object, json_object *former, const char *secret, const char *pointer, void *userdata)
{
	json_object *value = json_object_object_get(object, secret), *old = json_object_object_get(former, secret);
	if (!value && json_object_is_type(old, json_type_string))
		json_object_object_add(object, secret, json_object_new_string(json_object_get_string(old)));
	else if (json_object_is_type(value, json_type_string) && json_object_get_string_len(value) == 0)
		json_object_object_add(object, secret, NULL);
}

void secrets_keep(json_object *document, json_object *previous, const struct driver *driver)
{
	walk_document(&(struct walk){.driver = driver, .visit = keep}, document, previous);
}

static void hide(json_object *object, json_object *former, const char *secret, const char *pointer, void *set)
{
	json_object *value = json_object_object_get(object, secret);
	char at[POINTER_MAX];
	if (!value)
		return;
	json_object_array_add(set, json_object_new_string(pointer_member(at, pointer, secret)));
	json_wipe(value);
	json_object_object_add(object, secret, NULL);
}

json_object *secrets_hide(json_object *document, const struct driver *driver)
{
	json_object *set = json_object_new_array();
	walk_document(&(struct walk){.driver = driver, .visit = hide, .userdata = set}, document, NULL);
	return set;
}
