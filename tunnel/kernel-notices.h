/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * rtnetlink(7)'s notices as a reason to look again: they may come late, in numbers, or not at all when the socket
 * overflows, so what is in them does not matter. The kernel tells them without a privilege.
 */

#include <stdint.h>
#include <systemd/sd-event.h>

struct kernel_notices;

/* Called from the loop, once for any number of notices that came together. It may free them. */
typedef void (*kernel_noticed)(void *userdata);

/* From here on NOTICED is told of GROUPS (RTMGRP_*), before anything else that waits in the loop. Negative errno. */
int kernel_notices_new(
        struct kernel_notices **ret, sd_event *event, uint32_t groups, kernel_noticed noticed, void *userdata);
struct kernel_notices *kernel_notices_free(struct kernel_notices *notices); /* accepts NULL, returns NULL */
