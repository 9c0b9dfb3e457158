/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Secrets in a tunnel's document: members that the driver's row names, in `settings`, in the objects of its arrays, and
 * in each of `endpoints`. They are kept over a replacement, hidden in what goes out, and wiped.
 */

#include <json-c/json.h>

#include "tunnel/driver.h"

/* Fills what DOCUMENT leaves out from PREVIOUS (NULL: nothing to take from) and turns emptied secrets into null. */
void secrets_keep(json_object *document, json_object *previous, const struct driver *driver);

/* Makes every secret of DOCUMENT null and returns the JSON Pointers of those that were set. The caller owns the array.
 */
json_object *secrets_hide(json_object *document, const struct driver *driver);
