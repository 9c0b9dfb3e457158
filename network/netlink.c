/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One request at a time. Answers are told apart by their sequence number, so that what an abandoned dump left in the socket is
 * passed over. NETLINK_GET_STRICT_CHK makes the kernel filter dumps by what their header says; NETLINK_EXT_ACK gives its reasons in
 * words.
 */

#include "network/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "util/text.h"

#define ANSWER_MAX	 65536 /* the kernel fills at most 32 KiB at a time (netlink_dump() in af_netlink.c) */
#define ANSWER_TIMEOUT_S 2     /* it answers within sendmsg(); this only bounds what cannot happen */
#define DUMP_TRIES	 10

struct netlink {
	int fd;
	uint32_t sequence;
	char words[200];
	char *answers;
};

int netlink_new(struct netlink **ret, int protocol)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
	int on = 1;
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	if (setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on) < 0 ||
		setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on) < 0 ||
		setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0)
		return -errno;
	struct netlink *netlink = xcalloc(1, sizeof *netlink);
	netlink->answers = xcalloc(1, ANSWER_MAX);
	netlink->fd = STEAL_FD(fd);
	*ret = netlink;
	return 0;
}

struct netlink *netlink_free(struct netlink *netlink)
{
	if (!netlink)
		return NULL;
	closep(&netlink->fd);
	wipe(netlink->answers, ANSWER_MAX);
	free(netlink->answers);
	free(netlink);
	return NULL;
}

const char *netlink_words(const struct netlink *netlink)
{
	return netlink->words;
}

struct nl_msg *netlink_message(int type, int flags, const void *header, size_t length)
{
	struct nl_msg *message = nlmsg_alloc_simple(type, flags);
	if (!message || nlmsg_append(message, (void *)header, length, NLMSG_ALIGNTO) < 0)
		abort(); /* out of memory, as in util/text.c */
	return message;
}

static int send_request(struct netlink *netlink, struct nl_msg *request)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct nlmsghdr *header = nlmsg_hdr(request);
	bool dump = (header->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	header->nlmsg_flags |= NLM_F_REQUEST | (dump ? 0 : NLM_F_ACK);
	header->nlmsg_seq = ++netlink->sequence;
	header->nlmsg_pid = 0;
	for (;;) {
		ssize_t sent = sendto(netlink->fd, header, header->nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel);
		if (sent >= 0)
			return 0;
		if (errno != EINTR)
			return -errno;
	}
}

/* The verdict in NLMSG_ERROR, with the kernel's words kept. */
static int read_verdict(struct netlink *netlink, const struct nlmsghdr *header)
{
	const struct nlmsgerr *error = NLMSG_DATA(header);
	struct nlattr *table[NLMSGERR_ATTR_MAX + 1];
	if (header->nlmsg_len < NLMSG_LENGTH(sizeof *error))
		return -EBADMSG;
	int length = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof *error));
	if (header->nlmsg_flags & NLM_F_ACK_TLVS && length > 0 &&
		nla_parse(table, NLMSGERR_ATTR_MAX, (struct nlattr *)(error + 1), length, NULL) >= 0 && table[NLMSGERR_ATTR_MSG])
		snprintf(netlink->words, sizeof netlink->words, "%.*s", nla_len(table[NLMSGERR_ATTR_MSG]),
			(const char *)nla_data(table[NLMSGERR_ATTR_MSG]));
	return error->error;
}

static int read_done(const struct nlmsghdr *header)
{
	int verdict = 0;
	if (header->nlmsg_len >= NLMSG_LENGTH(sizeof verdict))
		memcpy(&verdict, NLMSG_DATA(header), sizeof verdict);
	return verdict;
}

static ssize_t receive(struct netlink *netlink)
{
	for (;;) {
		struct sockaddr_nl from;
		socklen_t size = sizeof from;
		ssize_t got = recvfrom(netlink->fd, netlink->answers, ANSWER_MAX, MSG_TRUNC, (struct sockaddr *)&from, &size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (got > ANSWER_MAX)
			return -EMSGSIZE;
		if (from.nl_pid == 0) /* else another process, which has no say */
			return got;
	}
}

int netlink_call(struct netlink *netlink, struct nl_msg *request, netlink_handler handler, void *userdata)
{
	int result = 0, r = send_request(netlink, request);
	bool interrupted = false;
	netlink->words[0] = 0;
	wipe(nlmsg_hdr(request), nlmsg_hdr(request)->nlmsg_len);
	nlmsg_free(request);
	while (r == 0) {
		ssize_t got = receive(netlink);
		if (got < 0)
			return (int)got;
		int left = (int)got;
		for (struct nlmsghdr *header = (struct nlmsghdr *)netlink->answers; nlmsg_ok(header, left);
			header = nlmsg_next(header, &left)) {
			if (header->nlmsg_seq != netlink->sequence)
				continue;
			interrupted |= header->nlmsg_flags & NLM_F_DUMP_INTR;
			if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) {
				r = header->nlmsg_type == NLMSG_DONE ? read_done(header) : read_verdict(netlink, header);
				return r < 0 ? r : interrupted ? -EAGAIN : result;
			}
			int told = handler ? handler(header, userdata) : 0;
			if (told < 0 && result == 0)
				result = told;
		}
	}
	return r;
}

int netlink_dump(struct netlink *netlink, const struct netlink_dump *dump, const void *argument, void *userdata)
{
	int r = -EAGAIN;
	for (unsigned i = 0; i < DUMP_TRIES && r == -EAGAIN; i++) {
		dump->reset(userdata);
		r = netlink_call(netlink, dump->request(argument), dump->handler, userdata);
	}
	return r;
}
