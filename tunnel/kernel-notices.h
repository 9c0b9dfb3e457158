/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * rtnetlink(7)'s notices as a reason to look again: they may come late, in numbers, or not at all when the socket overflows, so
 * what is in them does not matter. The kernel tells them without a privilege.
 */

#include <stdint.h>

/* A socket that is readable once there was one of GROUPS (RTMGRP_*). The caller closes it. Negative errno. */
int kernel_notices_open(uint32_t groups, int *ret_fd);
/* Throws away what has come. */
void kernel_notices_drain(int fd);
