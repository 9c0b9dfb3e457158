/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A double of the operations for tests of a front: a handful of rows of every shape, a state that is whatever the test says, and
 * calls that stay open until the test lets them go.
 */

#include "daemon/operations.h"

/* Begins with the state that fake-operations.c describes. */
struct manager *fake_manager_new(void);
struct manager *fake_manager_free(struct manager *manager);

/* Sets what stands at the JSON Pointer of the state to the JSON in TEXT; NULL removes it. */
void fake_set(struct manager *manager, const char *pointer, const char *text);
/* Tells whoever watches the status that it may have changed. */
void fake_changed(struct manager *manager);
/* Tells the listeners of an event; gives it the next id. */
void fake_event(struct manager *manager, const char *text);

/* The last call: "NAME by SCOPE: ARGUMENTS | DOCUMENT | TEXT | If-Match". Borrowed. */
const char *fake_last_call(const struct manager *manager);
unsigned fake_calls(const struct manager *manager);
/* Ends the call that waits, with success. False if none waits. */
bool fake_release(struct manager *manager);
unsigned fake_cancelled(const struct manager *manager);
