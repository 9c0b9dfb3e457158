/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Grants that the settings list, and what is found at the start of a daemon. */

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/manager.h"
#include "network/cgroup.h"
#include "network/socket-mark.h"
#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"

/* ---- what the settings list ---- */

void grants_check(const struct kill_switch *settings, struct problems *problems)
{
	for (size_t i = 0; i < settings->bypass.process_count; i++) {
		const struct process_grant *process = &settings->bypass.processes[i];
		_cleanup_free_ char *path = NULL, *pointer = text_format("/bypass/processes/%zu/user", i);
		_cleanup_json_ json_object *name = json_object_new_string(process->name);
		if (process->kind == PROCESS_USER && grant_find_cgroup(BYPASS_USER, process->name, &path) == -ESRCH)
			problems_error(problems, pointer, name, "is no user of this machine");
	}
}

/* Granted at run time before: it stays what it is, its living sockets too. */
static void adopt(struct grant *grant)
{
	free(grant->id);
	grant->id = text_format("%s:%s", bypass_type_to_string(grant->type), grant->name);
	grant->listed = true;
	grant->until_usec = USEC_INFINITY;
}

static void list_one(struct manager *manager, enum bypass_type type, const char *name)
{
	struct grants *grants = &manager->grants;
	struct grant *known = grants_find(grants, type, name, true);
	struct grant *granted = grants_find(grants, type, name, false);
	if (!known && granted)
		adopt(granted);
	if (known || granted) {
		(known ? known : granted)->kept = true;
		return;
	}
	struct grant grant = {
		.type = type,
		.listed = true,
		.kept = true,
		.id = text_format("%s:%s", bypass_type_to_string(type), name),
		.name = text_dup(name),
		.since_realtime = manager_realtime(),
		.until_usec = USEC_INFINITY,
		.cgroup_fd = -1,
		.guard_fd = -1,
	};
	if (grant_is_process(&grant))
		grant.mark = grants_take_mark(manager, type, name);
	if (grant_is_process(&grant) && !grant.mark)
		grant.detail = text_dup("no mark is left for it: change or widen fwmark, list fewer, or reboot, which frees those of grants taken back");
	grants_append(grants, grant);
}

/* Marks of another fwmark are no marks any more: those grants are made anew. */
static bool survives(const struct manager *manager, const struct grant *grant)
{
	if (grant_is_process(grant) && !grants_mark_good(manager, grant->mark))
		return false;
	return !grant->listed || grant->kept;
}

static void drop_unlisted(struct manager *manager)
{
	struct grants *grants = &manager->grants;
	for (size_t i = grants->count; i-- > 0;)
		if (!survives(manager, &grants->items[i])) {
			manager->names.flush |= grants->items[i].type == BYPASS_DOMAIN;
			grants_give_back_mark(manager, &grants->items[i]);
			grant_unmark(&grants->items[i]);
			grants_drop(grants, &grants->items[i]);
		}
}

static void note_kept(struct manager *manager)
{
	static const enum bypass_type types[] = {[PROCESS_UNIT] = BYPASS_UNIT, [PROCESS_SLICE] = BYPASS_SLICE, [PROCESS_USER] = BYPASS_USER};
	const struct kill_switch *settings = manager->settings;
	for (size_t i = 0; i < manager->grants.count; i++)
		manager->grants.items[i].kept = false;
	for (size_t i = 0; i < settings->bypass.process_count; i++) {
		struct grant *known = grants_find(&manager->grants, types[settings->bypass.processes[i].kind], settings->bypass.processes[i].name, true);
		if (known)
			known->kept = true;
	}
	for (size_t i = 0; i < settings->bypass.domain_count; i++) {
		struct grant *known = grants_find(&manager->grants, BYPASS_DOMAIN, settings->bypass.domains[i], true);
		if (known)
			known->kept = true;
	}
	drop_unlisted(manager);
	for (size_t i = 0; i < settings->bypass.process_count; i++)
		list_one(manager, types[settings->bypass.processes[i].kind], settings->bypass.processes[i].name);
}

void grants_sync(struct manager *manager)
{
	const struct kill_switch *settings = manager->settings;
	note_kept(manager);
	for (size_t i = 0; i < settings->bypass.domain_count; i++)
		list_one(manager, BYPASS_DOMAIN, settings->bypass.domains[i]);
	manager->grants.listed_since = manager_realtime();
	int r = grants_save(manager);
	if (r < 0)
		log_error("%s/bypass.json: cannot be written: %s; a restart of the daemon takes back what is granted now",
			manager->options.runtime_dir, strerror(-r));
	grants_hand_over(manager);
}

/* ---- beginning ---- */

static void unmark_stranger(int cgroup_fd, const char *path, void *userdata)
{
	struct manager *manager = userdata;
	for (size_t i = 0; i < manager->grants.count; i++) {
		const struct grant *grant = &manager->grants.items[i];
		_cleanup_free_ char *own = NULL;
		if (grant->type == BYPASS_PROGRAM)
			own = grant_scope_path(grant->id);
		else if (grant->type < BYPASS_PROGRAM)
			(void)grant_find_cgroup(grant->type, grant->name, &own);
		if (own && strcmp(own, path) == 0)
			return;
	}
	(void)socket_mark_detach(cgroup_fd);
}

/* The cgroup at FD, a program's: with its grant from now on, or closed to it for good. Takes FD. */
static bool take_up_program(struct manager *manager, const char *id, int fd)
{
	struct grant *grant = grants_find_id(&manager->grants, id);
	if (grant && grant->type == BYPASS_PROGRAM && grant->cgroup_fd < 0 && socket_mark_attach(fd, grant->mark) == 0) {
		grant->cgroup_fd = fd;
		grant->in_effect = true;
		return true;
	}
	struct mark_block block = mark_grants(manager->settings->mark, manager->settings->mark_mask);
	_cleanup_close_ int cgroup = fd, guard = -1;
	if (socket_mark_guard(cgroup, block.first, block.mask, id, &guard) == 0)
		(void)socket_mark_guard_shut(id, guard);
	(void)socket_mark_take_back(cgroup);
	return false;
}

static void take_up_own(const char *name, void *userdata)
{
	int fd = -1;
	if (socket_mark_cgroup_open(name, &fd) == 0 && !take_up_program(userdata, name + strlen(PROGRAM_PREFIX), fd))
		(void)socket_mark_cgroup_forget(name);
}

static void take_up_scope(int cgroup_fd, const char *path, void *userdata)
{
	static const char ending[] = ".scope";
	size_t length = strlen(path), start = strlen(SCOPES_PREFIX);
	if (strncmp(path, SCOPES_PREFIX, start) != 0 || length < start + sizeof ending || strcmp(path + length - strlen(ending), ending) != 0)
		return;
	_cleanup_free_ char *id = text_ndup(path + start, length - start - strlen(ending));
	int fd = cgroup_open(path);
	if (fd >= 0)
		(void)take_up_program(userdata, id, fd);
}

void grants_begin(struct manager *manager, bool first)
{
	bool known = grants_load(manager);
	manager->names.flush = !known; /* what was resolved, for whom? */
	if (!known && !first) {
		log_error("%s/bypass.json is lost: which marks sockets carry is not known; no process is granted before the next boot, or with another fwmark",
			manager->options.runtime_dir);
		grants_spend_all_marks(manager);
	}
	if (!known && getrandom(&manager->grants.next_mark, sizeof manager->grants.next_mark, 0) < 0)
		manager->grants.next_mark = (uint32_t)manager_realtime();
	(void)socket_mark_cgroup_list(PROGRAM_PREFIX, take_up_own, manager);
	(void)cgroup_each(take_up_scope, manager);
	grants_sync(manager);
	(void)cgroup_each(unmark_stranger, manager);
}
