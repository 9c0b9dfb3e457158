/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Which grant has which mark. Sockets outlive the grant that they were made under, and whoever holds one need be neither bound nor
 * connected, so that no list of the kernel's has it: that a mark is free is never found out by looking for sockets. A program's cgroup is
 * its own and is never granted again, so what was born there is stopped by that cgroup itself from the end of the grant on. A unit, a slice
 * or a user may be granted again and may hold others that are: its mark stays its own. Where the record of a boot is lost any mark may be
 * carried by a socket, and none is given.
 */

#include <string.h>

#include "daemon/manager.h"
#include "network/socket-mark.h"
#include "util/log.h"
#include "util/text.h"

static bool mark_used(const struct grants *grants, uint32_t mark)
{
	for (size_t i = 0; i < grants->count; i++)
		if (grant_is_process(&grants->items[i]) && grants->items[i].mark == mark)
			return true;
	for (size_t i = 0; i < grants->spent_count; i++)
		if (grants->spent[i].mark == mark)
			return true;
	return false;
}

bool grants_mark_good(const struct manager *manager, uint32_t mark)
{
	struct mark_block block = mark_grants(manager->settings->mark, manager->settings->mark_mask);
	return mark_is_grant(&block, mark);
}

/* The one that it had before; 0: none. */
static uint32_t take_own(struct manager *manager, enum bypass_type type, const char *name)
{
	struct grants *grants = &manager->grants;
	for (size_t i = 0; type != BYPASS_PROGRAM && i < grants->spent_count; i++) {
		struct spent_mark *spent = &grants->spent[i];
		uint32_t mark = spent->mark;
		if (spent->type != type || strcmp(spent->name, name) != 0 || !grants_mark_good(manager, mark))
			continue;
		free(spent->name);
		*spent = grants->spent[--grants->spent_count];
		return mark;
	}
	return 0;
}

uint32_t grants_take_mark(struct manager *manager, enum bypass_type type, const char *name)
{
	struct grants *grants = &manager->grants;
	struct mark_block block = mark_grants(manager->settings->mark, manager->settings->mark_mask);
	uint32_t own = take_own(manager, type, name);
	for (unsigned i = 0; !own && i < block.count; i++) {
		uint32_t mark = block.first + (grants->next_mark++ % block.count) * block.step;
		if (!mark_used(grants, mark))
			return mark;
	}
	return own;
}

void grants_spend_mark(struct grants *grants, uint32_t mark, enum bypass_type type, const char *name)
{
	grants->spent = xrealloc(grants->spent, (grants->spent_count + 1) * sizeof *grants->spent);
	grants->spent[grants->spent_count++] = (struct spent_mark){mark, type, text_dup(name)};
}

void grants_spend_all_marks(struct manager *manager)
{
	struct mark_block block = mark_grants(manager->settings->mark, manager->settings->mark_mask);
	for (unsigned i = 0; i < block.count; i++)
		grants_spend_mark(&manager->grants, block.first + i * block.step, BYPASS_PROGRAM, "");
}

void grant_guard(const struct manager *manager, struct grant *grant)
{
	struct mark_block block = mark_grants(manager->settings->mark, manager->settings->mark_mask);
	int r = socket_mark_guard(grant->cgroup_fd, block.first, block.mask, grant->id, &grant->guard_fd);
	if (r < 0)
		log_debug("%s: its cgroup cannot stop what is born there: %s; its mark will not be given again", grant->id, strerror(-r));
}

void grants_give_back_mark(struct manager *manager, struct grant *grant)
{
	struct mark_block block = mark_grants(manager->settings->mark, manager->settings->mark_mask);
	if (!grant_is_process(grant) || !grant->mark)
		return;
	if (grant->type == BYPASS_PROGRAM && mark_is_grant(&block, grant->mark)) {
		if (grant->guard_fd < 0 && grant->cgroup_fd >= 0)
			grant_guard(manager, grant); /* it was not to be found again */
		if (grant->guard_fd >= 0 && socket_mark_guard_shut(grant->id, grant->guard_fd) == 0)
			return;
	}
	grants_spend_mark(&manager->grants, grant->mark, grant->type, grant->name);
}
