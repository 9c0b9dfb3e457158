/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The store is an object: path → {"former": n, "held": n}. It is written before the value changes, so that a crash in between leaves
 * a store that says more than was done, which restoring undoes harmlessly: a value is only put back where it still is the held one.
 */

#include "network/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

static int open_setting(const char *path, int flags)
{
	_cleanup_free_ char *full = text_format("/proc/sys/%s", path);
	int fd = open(full, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int sysctl_read(const char *path)
{
	char text[16] = "";
	int value;
	_cleanup_close_ int fd = open_setting(path, O_RDONLY);
	if (fd < 0)
		return fd;
	if (read(fd, text, sizeof text - 1) < 0)
		return -errno;
	if (sscanf(text, "%d", &value) != 1 || value < 0)
		return -EBADMSG;
	return value;
}

int sysctl_write(const char *path, int value)
{
	char text[16];
	int present = sysctl_read(path);
	if (present < 0 || present == value)
		return present < 0 ? present : 0;
	_cleanup_close_ int fd = open_setting(path, O_WRONLY);
	if (fd < 0)
		return fd;
	int length = snprintf(text, sizeof text, "%d\n", value);
	return write(fd, text, (size_t)length) == length ? 0 : -errno;
}

/* An unreadable store counts as empty: its values are lost, and new ones must be kept all the same. */
static json_object *load(const char *store)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	json_object *object = NULL;
	size_t length;
	if (file_read(store, &text, &length) == 0 && json_parse_strict(text, length, &object, &problems) == 0 &&
		json_object_is_type(object, json_type_object))
		return object;
	json_putp(&object);
	return json_object_new_object();
}

static int save(const char *store, json_object *object)
{
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	return file_write_atomic(store, text, strlen(text), 0600);
}

int sysctl_hold(const char *store, const char *path, int value)
{
	json_object *known;
	int present = sysctl_read(path);
	if (present < 0 || present == value)
		return present < 0 ? present : 0;
	_cleanup_json_ json_object *object = load(store);
	if (!json_object_object_get_ex(object, path, &known)) {
		json_object *entry = json_object_new_object();
		json_object_object_add(entry, "former", json_object_new_int(present));
		json_object_object_add(entry, "held", json_object_new_int(value));
		json_object_object_add(object, path, entry);
		int r = save(store, object);
		if (r < 0)
			return r;
	}
	return sysctl_write(path, value);
}

/* Whether ENTRY is one, and of a setting that Holdfast holds. */
static bool read_entry(const char *path, json_object *entry, int *ret_former, int *ret_held)
{
	json_object *former, *held;
	if (!json_object_object_get_ex(entry, "former", &former) || !json_object_object_get_ex(entry, "held", &held) ||
		strncmp(path, "net/", 4) != 0 || strstr(path, ".."))
		return false;
	*ret_former = json_object_get_int(former);
	*ret_held = json_object_get_int(held);
	return true;
}

static int restore_one(const char *path, json_object *entry)
{
	int former, held;
	if (!read_entry(path, entry, &former, &held))
		return 0;
	int present = sysctl_read(path);
	if (present != held)
		return 0;
	return sysctl_write(path, former);
}

void sysctl_each_held(const char *store, void (*told)(const char *path, int former, int held, int present, void *userdata), void *userdata)
{
	_cleanup_json_ json_object *object = load(store);
	json_object_object_foreach(object, path, entry)
	{
		int former, held;
		if (read_entry(path, entry, &former, &held))
			told(path, former, held, sysctl_read(path), userdata);
	}
}

int sysctl_restore(const char *store)
{
	int result = 0;
	_cleanup_json_ json_object *object = load(store);
	json_object_object_foreach(object, path, entry)
	{
		int r = restore_one(path, entry);
		if (r < 0 && result == 0)
			result = r;
	}
	return result < 0 ? result : file_remove(store);
}
