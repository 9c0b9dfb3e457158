/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who has no flowtable pays for one question. Who has one: the kernel is asked for the connections in it, and each is deleted by its tuple
 * and number. A kernel that knows no filter by status (before 5.19) tells all; the status is looked at here. Deleting by a filter would
 * be shorter, and empties the whole of conntrack on such a kernel.
 */

#include "firewall/flows.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "util/text.h"

#define MESSAGE_MAX 1024 /* a tuple, a zone and a number are some hundred bytes */
#define ATTEMPTS    64   /* as for a reading of the table */
#define DUMP_SIZE   32768 /* what the kernel fills at most */

struct found {
	uint8_t *bytes; /* messages that delete them, one behind the other: there may be hundreds of thousands */
	size_t length, allocated;
};

static struct nlmsghdr *put_question(uint8_t *bytes, unsigned subsystem, unsigned type, unsigned flags, uint8_t family)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof *header);
	message->nlmsg_type = (uint16_t)(subsystem << 8 | type);
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	header->nfgen_family = family;
	header->version = NFNETLINK_V0;
	return message;
}

/* Sends MESSAGE and hands the answers to EACH, to the last. -EINTR: what was asked for changed meanwhile. */
static int ask(struct mnl_socket *socket, struct nlmsghdr *message, mnl_cb_t each, void *userdata)
{
	uint8_t buffer[DUMP_SIZE] __attribute__((aligned(__alignof__(struct nlmsghdr))));
	static uint32_t sequence;
	message->nlmsg_seq = ++sequence;
	int r = mnl_socket_sendto(socket, message, message->nlmsg_len) < 0 ? -1 : MNL_CB_OK;
	while (r == MNL_CB_OK) {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof buffer);
		r = length < 0 ? -1 : mnl_cb_run(buffer, (size_t)length, sequence, mnl_socket_get_portid(socket), each, userdata);
		if (r < 0 && errno == EPROTO)
			r = MNL_CB_OK; /* the rest of an answer that was given up */
	}
	return r < 0 ? -errno : 0;
}

static int note_table(const struct nlmsghdr *message, void *userdata)
{
	*(bool *)userdata = true;
	return MNL_CB_OK;
}

static int any_flowtable(struct mnl_socket *socket, bool *ret)
{
	uint8_t bytes[MESSAGE_MAX] __attribute__((aligned(__alignof__(struct nlmsghdr))));
	*ret = false;
	return ask(socket, put_question(bytes, NFNL_SUBSYS_NFTABLES, NFT_MSG_GETFLOWTABLE, NLM_F_DUMP, AF_UNSPEC), note_table, ret);
}

/* What names the connection of MESSAGE. */
static bool names_it(const struct nlattr *attribute)
{
	unsigned type = mnl_attr_get_type(attribute);
	return type == CTA_TUPLE_ORIG || type == CTA_ZONE || type == CTA_ID;
}

static int note_flow(const struct nlmsghdr *message, void *userdata)
{
	struct found *found = userdata;
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	uint32_t status = 0;
	size_t length = 0;
	mnl_attr_for_each (attribute, message, sizeof *header) {
		if (mnl_attr_get_type(attribute) == CTA_STATUS)
			status = ntohl(mnl_attr_get_u32(attribute));
		length += names_it(attribute) ? MNL_ALIGN(attribute->nla_len) : 0;
	}
	if (!(status & IPS_OFFLOAD) || length > MESSAGE_MAX / 2)
		return MNL_CB_OK;
	if (found->allocated - found->length < MESSAGE_MAX) {
		found->allocated = MAX_OF((size_t)16 * MESSAGE_MAX, 2 * found->allocated);
		found->bytes = xrealloc(found->bytes, found->allocated);
	}
	struct nlmsghdr *deletion = put_question(found->bytes + found->length, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
		header->nfgen_family);
	mnl_attr_for_each (attribute, message, sizeof *header)
		if (names_it(attribute)) {
			memcpy(mnl_nlmsg_get_payload_tail(deletion), attribute, attribute->nla_len);
			deletion->nlmsg_len += MNL_ALIGN(attribute->nla_len);
		}
	found->length += deletion->nlmsg_len;
	return MNL_CB_OK;
}

static int find_flows(struct mnl_socket *socket, struct found *ret)
{
	uint8_t bytes[MESSAGE_MAX] __attribute__((aligned(__alignof__(struct nlmsghdr))));
	struct nlmsghdr *message = put_question(bytes, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
	mnl_attr_put_u32(message, CTA_STATUS, htonl(IPS_OFFLOAD));
	mnl_attr_put_u32(message, CTA_STATUS_MASK, htonl(IPS_OFFLOAD));
	return ask(socket, message, note_flow, ret);
}

int flows_end(struct mnl_socket *socket)
{
	struct found found = {};
	bool any = false;
	int r = -EINTR;
	for (unsigned attempt = 0; r == -EINTR && attempt < ATTEMPTS; attempt++) {
		r = any_flowtable(socket, &any);
		found.length = 0;
		if (r == 0 && any)
			r = find_flows(socket, &found);
	}
	for (size_t at = 0; r == 0 && at < found.length;) {
		struct nlmsghdr *deletion = (struct nlmsghdr *)(found.bytes + at);
		at += deletion->nlmsg_len;
		r = ask(socket, deletion, NULL, NULL);
		if (r == -ENOENT)
			r = 0; /* it has ended by itself */
	}
	free(found.bytes);
	return r;
}
