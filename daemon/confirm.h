/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Settings on trial (confirmWithin): unless somebody confirms them in time, the settings from before come back, so that a remote
 * administrator cannot cut himself off. What to go back to, and when, stands in a file of its own (unconfirmed.json in the state
 * directory), written before the new settings are: a daemon that was killed at any moment goes back when the next one starts, or
 * at the deadline. After a reboot nobody can still confirm, so it goes back at once.
 */

#include <stdbool.h>
#include <stdint.h>

#include "firewall/settings.h"

#define CONFIRM_MIN_USEC (1 * USEC_PER_SEC)
#define CONFIRM_MAX_USEC (3600 * USEC_PER_SEC)

struct manager;

/*
 * Puts what is about to change on trial for WITHIN. FORMER: the settings that stand; where others are on trial already, what was
 * there before those is kept. Negative errno: nothing was changed.
 */
int confirm_begin(struct manager *manager, json_object *former, uint64_t within_usec);

/*
 * While settings are on trial: what comes back will have MODE, if that is stricter than the former one. Negative errno: nothing was
 * changed.
 */
int confirm_tighten(struct manager *manager, enum gate_mode mode);

/* The settings stand. False: none were on trial. */
bool confirm_settle(struct manager *manager);

/* When the trial ends, CLOCK_BOOTTIME; 0: nothing is on trial. */
uint64_t confirm_deadline(const struct manager *manager);

/* At start, before anything is held: goes back, or waits on, as the file says. An unreadable one holds the gate. */
void confirm_load(struct manager *manager);
void confirm_done(struct manager *manager); /* frees; the file stays */

/* For the boot step: the stricter of MODE and what may come back; unreadable counts as `always`. */
enum gate_mode confirm_strictest(const char *state_dir, enum gate_mode mode);
