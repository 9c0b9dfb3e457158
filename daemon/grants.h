/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What was granted: by the settings, which stay, and at run time, which lives until it is taken back, ends, or until boot. Kept in the
 * runtime directory (bypass.json) with the marks of processes, so that a daemon that comes back grants neither more nor less.
 *
 * The order is the same everywhere: what opens is recorded first, then in the gate's sets, then marked at birth; what closes leaves
 * the sets first, which cuts living sockets.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "firewall/settings.h"
#include "util/address.h"
#include "util/string-table.h"

struct manager;

enum bypass_type { BYPASS_UNIT, BYPASS_SLICE, BYPASS_USER, BYPASS_PROGRAM, BYPASS_ADDRESS, BYPASS_DOMAIN };
STRING_TABLE(bypass_type, enum bypass_type);

/* What is asked for at run time. NAME is borrowed. */
struct bypass_request {
	enum bypass_type type;
	const char *name;	  /* as in the settings; of a program: its label */
	struct ip_prefix network; /* BYPASS_ADDRESS */
	uint64_t duration_usec;	  /* USEC_INFINITY: until it is taken back */
	pid_t pid;		  /* BYPASS_PROGRAM: the process that is granted, … */
	int pidfd;		  /* … which must live throughout */
	const char *scope_id;	  /* BYPASS_PROGRAM: of grants_next_id(), in whose scope it is; NULL: it is to have a cgroup beneath the daemon's */
	const char *by;
};

/*
 * Takes up what an earlier daemon of this boot granted, and takes back whatever else is marked. Before the first gate_apply().
 * FIRST: no daemon ran in this boot before, so that a record that is not there is no loss.
 */
void grants_begin(struct manager *manager, bool first);
/* The settings were replaced: what they grant is in force with the next effects_apply_gate() ... */
void grants_sync(struct manager *manager);
/* ... and after it, here: marks the cgroups that there are. Also after cgroups came or went. */
void grants_attach(struct manager *manager);
void grants_free(struct manager *manager);

/* Adds a problem for each user that SETTINGS grant and that does not exist. Units may come later. */
void grants_check(const struct kill_switch *settings, struct problems *problems);

/* Kinds that have rules: 1u << enum grant_kind. */
unsigned grants_kinds(const struct manager *manager);

/*
 * Grants. 0 and *ret_id (borrowed), *ret_changed: whether that is new. Negative errno with *ret_words, which the caller frees, and
 * nothing changed: -ENOENT there is no such unit, slice or user; -EEXIST it overlaps another network; -EINVAL not this one; -EUSERS
 * too many; -EOPNOTSUPP not on this kernel; -ESRCH the program is gone; -EIO the gate did not take it; others: not recorded.
 */
int grants_add(struct manager *manager, const struct bypass_request *request, const char **ret_id, bool *ret_changed, char **ret_words);
/* What grants_add() would do, as far as can be told without doing it. *ret_id is NULL where there would be a new one. */
int grants_judge(struct manager *manager, const struct bypass_request *request, const char **ret_id, bool *ret_changed, char **ret_words);
/* -ENOENT: there is none of that id; -EPERM: the settings list it; -EIO: the gate refused. */
int grants_may_remove(struct manager *manager, const char *id, char **ret_words);
int grants_remove(struct manager *manager, const char *id, char **ret_words);

/* An id for a program that is to be granted; the caller frees it. What its scope is called: grant_scope_name(). */
char *grants_next_id(struct manager *manager);
char *grant_scope_name(const char *id); /* the caller frees it */

/* For the status and ListBypass. Of networks that the settings list, at most LISTED, then one entry for the rest. */
json_object *grants_to_json(struct manager *manager, size_t listed);
