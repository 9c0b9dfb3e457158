/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * STATE_DIR/resolver.json says what was done, and is written before it is done:
 *
 *   { "version": 1, "method": "file", "interface": "hf-home", "written": ["…", "…"],
 *     "former": { "kind": "file", "text": "…", "mode": 420, "uid": 0, "gid": 0 } }
 *
 * `written` has every text that may be ours on the disk: while one of ours is replaced by another, both. A file that has any other
 * text is somebody else's, and stays. A kept file that cannot be read says nothing, and is overwritten by the next set.
 */

#include "network/resolver.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>

#include "network/link.h"
#include "network/resolver-backend.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/string-table.h"
#include "util/text.h"

#define HOST_FILE   "/etc/resolv.conf"
#define SERVERS_MAX 3 /* MAXNS, resolv.conf(5) */

enum method { METHOD_NONE, METHOD_RESOLVED, METHOD_RESOLVCONF, METHOD_FILE };
static const char *const method_names[] = {
	[METHOD_RESOLVED] = "resolved",
	[METHOD_RESOLVCONF] = "resolvconf",
	[METHOD_FILE] = "file",
};
static const char *const kind_names[] = {
	[RESOLVER_FILE_ABSENT] = "absent",
	[RESOLVER_FILE_REGULAR] = "file",
	[RESOLVER_FILE_LINK] = "link",
};

/* What resolver.json says. */
struct kept {
	enum method method;
	char *interface;
	struct resolver_file former;
	char *written[2];
};

static void kept_done(struct kept *kept)
{
	free(kept->interface);
	resolver_file_done(&kept->former);
	free(kept->written[0]);
	free(kept->written[1]);
	*kept = (struct kept){};
}
#define _cleanup_kept_ _cleanup_(kept_done)

static const char *host_file(void)
{
	const char *other = getenv("HOLDFAST_RESOLV_CONF");
	return other ? other : HOST_FILE;
}

static size_t find_name(const char *const *names, size_t count, const char *name, size_t otherwise)
{
	for (size_t i = 0; name && i < count; i++)
		if (names[i] && strcmp(names[i], name) == 0)
			return i;
	return otherwise;
}

/* ---- resolver.json ---- */

static const char *get_text(json_object *object, const char *key)
{
	json_object *value;
	return json_object_object_get_ex(object, key, &value) && json_object_is_type(value, json_type_string)
		       ? json_object_get_string(value)
		       : NULL;
}

static unsigned get_number(json_object *object, const char *key, unsigned otherwise)
{
	json_object *value;
	return json_object_object_get_ex(object, key, &value) ? (unsigned)json_object_get_int64(value) : otherwise;
}

static void load_former(json_object *object, struct resolver_file *former)
{
	json_object *value;
	if (!json_object_object_get_ex(object, "former", &value))
		return;
	former->kind = (enum resolver_file_kind)find_name(kind_names, ELEMENTSOF(kind_names), get_text(value, "kind"), 0);
	former->text = text_dup(get_text(value, "text"));
	former->target = text_dup(get_text(value, "target"));
	former->mode = get_number(value, "mode", 0644) & 0777;
	former->uid = get_number(value, "uid", 0);
	former->gid = get_number(value, "gid", 0);
}

static bool former_is_good(const struct resolver_file *former)
{
	return former->kind == RESOLVER_FILE_ABSENT || (former->kind == RESOLVER_FILE_REGULAR && former->text) ||
	       (former->kind == RESOLVER_FILE_LINK && former->target);
}

/* METHOD_NONE where nothing is kept, or nothing that can be understood. */
static void load(const char *state_dir, struct kept *ret)
{
	_cleanup_free_ char *path = text_format("%s/resolver.json", state_dir), *text = NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *object = NULL;
	json_object *written;
	size_t length;
	*ret = (struct kept){};
	if (file_read(path, &text, &length) < 0 || json_parse_strict(text, length, &object, &problems) < 0)
		return;
	ret->method = (enum method)find_name(method_names, ELEMENTSOF(method_names), get_text(object, "method"), METHOD_NONE);
	ret->interface = text_dup(get_text(object, "interface"));
	load_former(object, &ret->former);
	if (json_object_object_get_ex(object, "written", &written) && json_object_is_type(written, json_type_array))
		for (size_t i = 0; i < MIN_OF(json_object_array_length(written), ELEMENTSOF(ret->written)); i++)
			ret->written[i] = text_dup(json_object_get_string(json_object_array_get_idx(written, i)));
	if (!ret->interface || !link_is_own(ret->interface) || !former_is_good(&ret->former))
		kept_done(ret);
}

static json_object *to_json(const struct kept *kept)
{
	json_object *object = json_object_new_object(), *former = json_object_new_object(), *written = json_object_new_array();
	json_object_object_add(former, "kind", json_object_new_string(kind_names[kept->former.kind]));
	if (kept->former.kind == RESOLVER_FILE_LINK)
		json_object_object_add(former, "target", json_object_new_string(kept->former.target));
	if (kept->former.text) /* of a link: what it led to, for its servers */
		json_object_object_add(former, "text", json_object_new_string(kept->former.text));
	json_object_object_add(former, "mode", json_object_new_int((int)kept->former.mode));
	json_object_object_add(former, "uid", json_object_new_int64(kept->former.uid));
	json_object_object_add(former, "gid", json_object_new_int64(kept->former.gid));
	for (size_t i = 0; i < ELEMENTSOF(kept->written); i++)
		if (kept->written[i])
			json_object_array_add(written, json_object_new_string(kept->written[i]));
	json_object_object_add(object, "version", json_object_new_int(1));
	json_object_object_add(object, "method", json_object_new_string(method_names[kept->method]));
	json_object_object_add(object, "interface", json_object_new_string(kept->interface));
	json_object_object_add(object, "former", former);
	json_object_object_add(object, "written", written);
	return object;
}

/* What is saved must be readable again: -EILSEQ where the host's file has bytes that JSON cannot hold. */
static int try_save(const char *state_dir, const struct kept *kept)
{
	_cleanup_free_ char *path = text_format("%s/resolver.json", state_dir);
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *object = to_json(kept), *again = NULL;
	const char *text = json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN);
	if (json_parse_strict(text, strlen(text), &again, &problems) < 0)
		return -EILSEQ;
	return file_write_atomic(path, text, strlen(text), 0600);
}

/* Such bytes stand in comments alone, and are kept as question marks. */
static int save(const char *state_dir, struct kept *kept)
{
	int r = try_save(state_dir, kept);
	if (r != -EILSEQ || !kept->former.text)
		return r;
	for (char *byte = kept->former.text; *byte; byte++)
		if ((unsigned char)*byte >= 0x80)
			*byte = '?';
	return try_save(state_dir, kept);
}

static int forget(const char *state_dir)
{
	_cleanup_free_ char *path = text_format("%s/resolver.json", state_dir);
	return file_remove(path);
}

/* ---- which way ---- */

/* Whose the host's file is: the services leave their names in it, or in the link that it is, also while that leads nowhere. */
static enum method made_by(const struct resolver_file *file)
{
	const char *target = file->target ? file->target : "", *text = file->text ? file->text : "";
	if (getenv("HOLDFAST_RESOLV_CONF"))
		return METHOD_FILE;
	if (strstr(target, "systemd/resolve") || strstr(text, "nameserver 127.0.0.53") || strstr(text, "nameserver 127.0.0.54"))
		return METHOD_RESOLVED;
	return strstr(target, "resolvconf") || strstr(text, "resolvconf") ? METHOD_RESOLVCONF : METHOD_FILE;
}

static enum method choose(const struct resolver_file *present)
{
	enum method method = made_by(present);
	bool there = method == METHOD_RESOLVED ? resolved_is_running() : method == METHOD_RESOLVCONF && resolvconf_exists();
	return there ? method : METHOD_FILE;
}

static bool is_ours(const struct kept *kept, const struct resolver_file *present)
{
	if (kept->method != METHOD_FILE || present->kind != RESOLVER_FILE_REGULAR)
		return false;
	for (size_t i = 0; i < ELEMENTSOF(kept->written); i++)
		if (kept->written[i] && strcmp(kept->written[i], present->text) == 0)
			return true;
	return false;
}

/* ---- setting ---- */

static int set_file(const char *state_dir, struct kept *next, char *text)
{
	struct resolver_file file = {.kind = RESOLVER_FILE_REGULAR, .text = text, .mode = 0644};
	int r = save(state_dir, next);
	if (r < 0)
		return r;
	r = resolver_file_write(host_file(), &file);
	if (r == 0 || next->written[1])
		return r; /* what stood there was ours already, and both are known */
	(void)resolver_file_write(host_file(), &next->former); /* written in place, it may be half a file */
	(void)forget(state_dir);
	return r;
}

static int set_by_service(const char *state_dir, struct kept *next, const struct ip_address *servers, size_t count,
	const char *text)
{
	int r = save(state_dir, next);
	if (r < 0)
		return r;
	r = next->method == METHOD_RESOLVED ? resolved_set(next->interface, servers, count) : resolvconf_add(next->interface, text);
	if (r < 0) {
		if (next->method == METHOD_RESOLVCONF)
			(void)resolvconf_delete(next->interface);
		(void)forget(state_dir);
	}
	return r;
}

/*
 * From the file to systemd-resolved, which came late. It has read ours as it reads anybody's, and forgets that only when it reads another:
 * so a blank one stands there while it is told. Its own, which comes back then, it does not read.
 */
static int hand_over(const char *state_dir, const struct kept *kept, const struct resolver_file *present, const struct ip_address *servers,
	size_t count)
{
	_cleanup_free_ char *blank = resolver_file_text(kept->interface, NULL, 0);
	struct kept next = *kept;
	next.written[0] = blank;
	next.written[1] = present->text;
	int r = set_file(state_dir, &next, blank);
	return r < 0 ? r : resolved_set(kept->interface, servers, count);
}

int resolver_set(const char *state_dir, const char *interface, const struct ip_address *servers, size_t count)
{
	_cleanup_kept_ struct kept kept = {}, next = {};
	_cleanup_(resolver_file_done) struct resolver_file present = {};
	if (count == 0 || !link_is_own(interface))
		return -EINVAL;
	int r = resolver_file_read(host_file(), &present);
	if (r < 0)
		return r;
	load(state_dir, &kept);
	bool ours = is_ours(&kept, &present);
	enum method method = choose(ours ? &kept.former : &present); /* a service that was away may have come */
	/* Set before in another way, or by another link: that is undone first. */
	bool again = method == kept.method && (method == METHOD_FILE ? ours : strcmp(interface, kept.interface) == 0);
	if (ours && method == METHOD_RESOLVED)
		r = hand_over(state_dir, &kept, &present, servers, count);
	if (kept.method != METHOD_NONE && !again) {
		if (r == 0)
			r = resolver_restore(state_dir);
		resolver_file_done(&present);
		if (r < 0 || (r = resolver_file_read(host_file(), &present)) < 0)
			return r;
		ours = false;
	}
	_cleanup_free_ char *text = resolver_file_text(interface, servers, MIN_OF(count, SERVERS_MAX));
	next.method = method;
	next.interface = text_dup(interface);
	next.written[0] = text_dup(text);
	if (ours)
		next.written[1] = text_dup(present.text);
	next.former = again ? kept.former : present;
	*(again ? &kept.former : &present) = (struct resolver_file){};
	return method == METHOD_FILE ? set_file(state_dir, &next, text) : set_by_service(state_dir, &next, servers, count, text);
}

int resolver_restore(const char *state_dir)
{
	_cleanup_kept_ struct kept kept = {};
	_cleanup_(resolver_file_done) struct resolver_file present = {};
	int r = 0;
	load(state_dir, &kept);
	switch (kept.method) {
	case METHOD_NONE:
		break;
	case METHOD_RESOLVED:
		r = resolved_revert(kept.interface);
		break;
	case METHOD_RESOLVCONF:
		r = resolvconf_delete(kept.interface);
		if (r == -ENOENT)
			r = 0; /* uninstalled, and its files with it */
		break;
	case METHOD_FILE:
		r = resolver_file_read(host_file(), &present);
		if (r == 0 && is_ours(&kept, &present))
			r = resolver_file_write(host_file(), &kept.former);
		break;
	}
	return r < 0 ? r : forget(state_dir);
}

const char *resolver_method(const char *state_dir)
{
	_cleanup_kept_ struct kept kept = {};
	load(state_dir, &kept);
	return method_names[kept.method];
}

bool resolver_stands(const char *state_dir)
{
	_cleanup_kept_ struct kept kept = {};
	_cleanup_(resolver_file_done) struct resolver_file present = {};
	load(state_dir, &kept);
	if (kept.method == METHOD_NONE || resolver_file_read(host_file(), &present) < 0)
		return true;
	return kept.method == METHOD_FILE ? is_ours(&kept, &present) : made_by(&present) == kept.method;
}

const char *resolver_path(void)
{
	return host_file();
}

/* A mount that is read-only is what root meets; the file is replaced, or where it is a mount point written in place. */
int resolver_writable(const char **ret_path)
{
	_cleanup_(resolver_file_done) struct resolver_file present = {};
	const char *path = *ret_path = host_file();
	int r = resolver_file_read(path, &present);
	if (r < 0)
		return r;
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *folder = text_ndup(path, MAX_OF((size_t)(slash - path), (size_t)1));
	if (faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) == 0 || (present.kind == RESOLVER_FILE_REGULAR && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0))
		return 0;
	r = -errno;
	return choose(&present) == METHOD_FILE ? r : 0; /* last: it may wait for the bus */
}

size_t resolver_uplink_servers(const char *state_dir, struct ip_address *ret, size_t max)
{
	_cleanup_kept_ struct kept kept = {};
	_cleanup_(resolver_file_done) struct resolver_file present = {};
	load(state_dir, &kept);
	if (resolver_file_read(host_file(), &present) < 0)
		present.text = text_dup("");
	bool replaced = is_ours(&kept, &present) || kept.method == METHOD_RESOLVCONF;
	const struct resolver_file *theirs = replaced ? &kept.former : &present;
	size_t count = choose(theirs) == METHOD_RESOLVED ? resolved_uplink_servers(ret, max) : 0;
	if (count == 0)
		count = resolver_file_servers(theirs->text ? theirs->text : "", ret, max);
	return count > 0 || getenv("HOLDFAST_RESOLV_CONF") ? count : networkmanager_uplink_servers(ret, max);
}
