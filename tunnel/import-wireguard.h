/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* wg-quick(8) files. The import itself stands in tunnel/config.h. */

#include <stdbool.h>
#include <stddef.h>

/* Whether TEXT looks like such a file: its first line that says something is a section of one. */
bool import_is_wireguard(const char *text, size_t length);
