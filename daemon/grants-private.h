/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What grants keep in struct manager, and what their files share. */

#include "daemon/grants.h"

#include <systemd/sd-event.h>

#include "network/scope.h"

#define PROGRAM_PREFIX "exec-" /* of the cgroups of programs, beneath the daemon's own */
#define SCOPE_PREFIX   "holdfast-" PROGRAM_PREFIX /* of the scopes that systemd makes for them, … */
#define SCOPES_PREFIX  "/" SCOPE_SLICE "/" SCOPE_PREFIX /* … and of their cgroups */

struct cgroup_watch;
struct manager;

struct grant {
	char *id, *name, *by; /* owned, as is `detail` */
	enum bypass_type type;
	bool listed; /* by the settings */
	bool kept;   /* while the settings are compared: still listed */
	struct ip_prefix network;
	uint64_t since_realtime, until_usec; /* the latter CLOCK_BOOTTIME; USEC_INFINITY: no end */
	uint32_t mark;			     /* of a process; 0: none was left */
	int cgroup_fd;			     /* of the cgroup that is marked; -1: none */
	int guard_fd;			     /* of a program: see socket_mark_guard(); -1: none */
	bool in_effect;			     /* of a process: sockets made from now on are marked */
	char *detail;			     /* why it is not in effect; NULL: it is */
};

/* A mark that was taken back, and that sockets may still carry: only the same unit, slice or user gets it again before the next boot. */
struct spent_mark {
	uint32_t mark;
	enum bypass_type type;
	char *name; /* owned */
};

struct grants {
	struct grant *items;
	size_t count, allocated;
	uint64_t listed_since; /* CLOCK_REALTIME: networks of the settings, which are not in `items` */
	struct spent_mark *spent;
	size_t spent_count;
	uint32_t next_mark;
	uint64_t next_id;
	struct cgroup_watch *watch;
	sd_event_source *timer;
};

/* ---- grants.c ---- */
bool grant_is_process(const struct grant *grant);
struct grant *grants_find(struct grants *grants, enum bypass_type type, const char *name, bool listed);
struct grant *grants_find_id(struct grants *grants, const char *id);
struct grant *grants_append(struct grants *grants, struct grant grant); /* takes what GRANT owns; earlier pointers are void */
void grants_drop(struct grants *grants, struct grant *grant);
void grant_set_detail(struct grant *grant, char *words); /* takes WORDS */
void grants_hand_over(struct manager *manager); /* all of them to the gate, for its next apply */

/* ---- grants-marks.c ---- */
uint32_t grants_take_mark(struct manager *manager, enum bypass_type type, const char *name); /* 0: none is left */
/* From the start of a program's grant its cgroup can be shut; where it cannot, its mark is not given again. */
void grant_guard(const struct manager *manager, struct grant *grant);
/* GRANT ends. Before grant_unmark(), and before the record is written. */
void grants_give_back_mark(struct manager *manager, struct grant *grant);
bool grants_mark_good(const struct manager *manager, uint32_t mark);
void grants_spend_mark(struct grants *grants, uint32_t mark, enum bypass_type type, const char *name);
void grants_spend_all_marks(struct manager *manager); /* sockets may carry any of them */

/* ---- grants-cgroup.c ---- */
/* -ESRCH: no such user; else as cgroup_find(). */
int grant_find_cgroup(enum bypass_type type, const char *name, char **ret_path);
/* Marks the cgroup as it is now; -ENOENT: there is none, -EPERM: it is Holdfast's own. */
int grant_mark(struct grant *grant);
void grant_unmark(struct grant *grant);
char *grant_why_not(int error); /* a sentence; the caller frees it */
char *grant_program_cgroup(const struct grant *grant); /* its name; the caller frees it */
char *grant_scope_path(const char *id); /* of a program's scope, if it has one; the caller frees it */

/* ---- grants-store.c ---- */
int grants_save(struct manager *manager);
void grants_save_or_forget(struct manager *manager); /* where something was taken back: it must not come back with a restart */
/* False: there is nothing of this boot, or nothing that can be used. */
bool grants_load(struct manager *manager);
