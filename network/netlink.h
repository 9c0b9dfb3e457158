/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Asking the kernel over netlink, for the files of this folder only: one request, its answers, its verdict. The kernel answers
 * within the call, so nothing here waits for anybody but the kernel itself. libnl makes the messages and takes them apart.
 */

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/macro.h"

struct netlink;

/* Opens a socket for PROTOCOL (NETLINK_ROUTE, NETLINK_GENERIC). Negative errno. */
int netlink_new(struct netlink **ret, int protocol);
struct netlink *netlink_free(struct netlink *netlink); /* accepts NULL, returns NULL; wipes what was received */
DEFINE_CLEANUP(struct netlink *, netlink_free)

/* Told each answer. A negative return is kept and becomes the call's; the answers are read to their end all the same. */
typedef int (*netlink_handler)(const struct nlmsghdr *answer, void *userdata);

/*
 * Sends REQUEST, which it consumes (and wipes: it may hold a key), and reads until the kernel's verdict. A request with NLM_F_DUMP is a dump, every other one is
 * acknowledged. Returns 0 or the kernel's negative errno; -EAGAIN: a dump was interrupted by a change, so ask again from the start.
 */
int netlink_call(struct netlink *netlink, struct nl_msg *request, netlink_handler handler, void *userdata);

/* What the kernel said beside the errno of the last call ("" where it said nothing). */
const char *netlink_words(const struct netlink *netlink);

/* A dump that goes on asking while it is interrupted; RESET empties what the handler gathered before each try. */
struct netlink_dump {
	struct nl_msg *(*request)(const void *argument);
	void (*reset)(void *userdata);
	netlink_handler handler;
};
int netlink_dump(struct netlink *netlink, const struct netlink_dump *dump, const void *argument, void *userdata);

/* A new message with its fixed header in it. Never NULL. */
struct nl_msg *netlink_message(int type, int flags, const void *header, size_t length);

static inline void nlmsg_freep(struct nl_msg **message)
{
	if (*message)
		nlmsg_free(*message);
}
#define _cleanup_message_ _cleanup_(nlmsg_freep)
