/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * libnftables tells success or failure and, in words, why; the errno has to be read back out of the words.
 *
 * One context lives as long as the gate. A fresh one for each transaction would cost a tenth of a transaction more and
 * need a new descriptor every time, and libnftables answers the want of one by ending the process. Its cache is
 * refetched whenever the kernel's generation is another than the one it was filled in, so a table that others changed
 * or deleted in between is seen as it is.
 */

#include "firewall/transaction.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "util/macro.h"
#include "util/text.h"

int transaction_open(struct nft_ctx **ret)
{
	int spare = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (spare < 0)
		return -errno;
	close(spare);
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (!nft)
		return -ENOMEM;
	if (nft_ctx_buffer_error(nft) || nft_ctx_buffer_output(nft)) {
		nft_ctx_free(nft);
		return -ENOMEM;
	}
	*ret = nft;
	return 0;
}

/* What the kernel answers to a transaction, in the order in which it is looked for. */
static int errno_of(const char *words)
{
	static const int known[] = {EPERM, EACCES, EEXIST, EOPNOTSUPP, EBUSY, ENOENT, ENOBUFS, ENOMEM, EMSGSIZE, EMFILE,
	        ENFILE, ENOSPC, EINTR, EAGAIN, ERANGE, E2BIG, EINVAL};
	for (size_t i = 0; i < ELEMENTSOF(known); i++)
		if (strstr(words, strerror(known[i])))
			return known[i];
	return EINVAL;
}

int transaction_run(struct nft_ctx *nft, const char *text, char **ret_words)
{
	if (nft_run_cmd_from_buffer(nft, text) == 0)
		return 0;
	const char *words = nft_ctx_get_error_buffer(nft);
	if (!words || !*words)
		words = "nftables refused without a word";
	*ret_words = text_ndup(words, strcspn(words, "\n"));
	return -errno_of(words);
}
