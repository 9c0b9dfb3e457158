/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where NetworkManager's connectivity check goes: its `uri` (NetworkManager.conf(5), section connectivity), taken apart. */

#include "util/address.h"

#define CHECK_URI_MAX  512
#define CHECK_NAME_MAX 256

struct check_target {
	uint16_t port;             /* 80: http, 443: https */
	struct ip_address host;    /* family 0: it has a name */
	char name[CHECK_NAME_MAX]; /* as it is written, without a dot at its end */
};

/* 0; or -EINVAL, with *ret_reason (static) saying what about it cannot be let by: "its uri …". */
int check_uri_parse(const char *uri, struct check_target *ret, const char **ret_reason);
