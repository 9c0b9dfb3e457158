/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the installed wireguard-go is like: the daemon asks before it makes the tun that is handed over. */

#include <stdbool.h>

#define WIREGUARD_GO "wireguard-go"

struct wireguard_go {
	unsigned version;  /* the date in its version, 20220316; 0: it has none that we know */
	bool wants_header; /* packets on the tun carry struct tun_pi (link_open_tun's with_header) */
};

/* Runs `wireguard-go --version`, for at most two seconds. -ENOENT: it is not installed; -ETIMEDOUT. */
int wireguard_go_probe(struct wireguard_go *ret);

/* The same from the text that it prints. */
struct wireguard_go wireguard_go_from_version(const char *text);
