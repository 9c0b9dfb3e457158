/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Commits text through libnftables: one buffer is one transaction, all or nothing. */

#include <nftables/libnftables.h>

/*
 * A context that buffers its output. libnftables ends the process where it cannot open its netlink socket, so the want
 * of a descriptor is looked for first: -EMFILE, -ENFILE.
 */
int transaction_open(struct nft_ctx **ret);

/*
 * Runs TEXT. 0, or the kernel's errno as far as libnftables' words tell it (-EINVAL: they do not), with the first line
 * of the words in *ret_words (the caller frees it). The kernel is then as it was.
 */
int transaction_run(struct nft_ctx *nft, const char *text, char **ret_words);
