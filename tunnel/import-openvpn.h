/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whether TEXT is an OpenVPN client's file: its first line is one of OpenVPN's options, or opens a block. */
bool import_is_openvpn(const char *text, size_t length);
