/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A manager without a daemon, for tests of the fronts: the table with all its rows, and handlers that answer at once,
 * later, or never. Programs link it instead of daemon/operations.c.
 */

#include "daemon/operations.h"

struct manager *fake_manager_new(void);
struct manager *fake_manager_free(struct manager *manager); /* asserts that no call and no subscription is left */

#define FAKE_TOKEN "good"     /* of scope control */
#define FAKE_READER "reading" /* of scope read */

void fake_set_ready(struct manager *manager, bool ready);

/* Adds an event of KIND, with a member `padding` of so many bytes, and tells the listeners. Returns its id. */
uint64_t fake_event(struct manager *manager, const char *kind, const char *tunnel, size_t padding);
/* Events up to ID are no longer kept. */
void fake_forget_events(struct manager *manager, uint64_t id);

/* Calls that wait: StartTunnel with `wait`. fake_finish() answers the oldest. */
unsigned fake_pending(const struct manager *manager);
void fake_finish(struct manager *manager);
unsigned fake_cancelled(const struct manager *manager);
unsigned fake_subscriptions(const struct manager *manager);
unsigned fake_calls(const struct manager *manager); /* that passed the checks */
