/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A batch is one datagram: a beginning, which names the generation that it builds on, messages, and an end. A message holds as many
 * elements as an attribute's 16 bit length can say. The kernel has worked it off when send() returns; the last message asks for an
 * acknowledgement, and before that one come the errors of any other.
 */

#include "firewall/elements.h"

#include <netinet/in.h> /* before the kernel's headers, which then leave its types alone */

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "firewall/gate.h"
#include "util/macro.h"

#define ANSWER_SEC    2     /* the answer is there when send() returns */
#define LIST_MAX      60000 /* of one message; an attribute has at most 65535 bytes */
#define ELEMENT_MAX   128   /* the largest element's attributes */
#define MESSAGE_MAX   512   /* a message's headers and names */
#define RECEIVE_SIZE  8192
#define BEGIN_LENGTH  (MNL_NLMSG_HDRLEN + sizeof(struct nfgenmsg) + MNL_ATTR_HDRLEN + sizeof(uint32_t))

void elements_done(struct elements *elements)
{
	free(elements->bytes);
	*elements = (struct elements){};
}

static void *reserve(struct elements *elements, size_t length)
{
	if (elements->length + length > elements->allocated) {
		elements->allocated = MAX_OF(elements->length + length, 2 * elements->allocated);
		elements->bytes = xrealloc(elements->bytes, elements->allocated);
	}
	return elements->bytes + elements->length;
}

static struct nlmsghdr *put_message(struct elements *elements, unsigned type, unsigned flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(reserve(elements, MESSAGE_MAX));
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof *header);
	message->nlmsg_type = (uint16_t)type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	message->nlmsg_seq = ++elements->messages;
	header->nfgen_family = family;
	header->version = NFNETLINK_V0;
	header->res_id = htons(resource);
	return message;
}

/*
 * A batch that changes nothing (it empties an empty set) is no commit, and the generation stays: then the next one, somebody else's, would
 * be taken for it. An element that comes and goes is always a change. No packet is of that protocol.
 */
static void raise_generation(struct elements *elements)
{
	static const uint8_t nobody = 0xff;
	const struct set_element element = {.key = &nobody};
	elements_add(elements, SET_RELEASED, &element);
	elements_remove(elements, SET_RELEASED, &element);
}

/* The generation is put in when it is known. */
static void begin_batch(struct elements *elements)
{
	struct nlmsghdr *message = put_message(elements, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	mnl_attr_put_u32(message, NFNL_BATCH_GENID, 0);
	elements->length = message->nlmsg_len;
	raise_generation(elements);
}

static struct nlmsghdr *open_message(const struct elements *elements)
{
	return (struct nlmsghdr *)(elements->bytes + elements->message);
}

static void close_message(struct elements *elements)
{
	if (!elements->message)
		return;
	if (elements->nest)
		mnl_attr_nest_end(open_message(elements), (struct nlattr *)(elements->bytes + elements->nest));
	elements->length = elements->message + open_message(elements)->nlmsg_len;
	elements->message = elements->nest = 0;
}

static void begin_message(struct elements *elements, unsigned type, enum gate_set set)
{
	if (elements->length == 0)
		begin_batch(elements);
	close_message(elements);
	struct nlmsghdr *message = put_message(elements, NFNL_SUBSYS_NFTABLES << 8 | type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0, NFPROTO_INET, 0);
	elements->message = elements->length;
	elements->type = type;
	elements->set = set;
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, GATE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set_definitions[set].name);
}

/* Without a list of elements the kernel takes all of them out. */
void elements_flush(struct elements *elements, enum gate_set set)
{
	begin_message(elements, NFT_MSG_DELSETELEM, set);
	close_message(elements);
}

static void put_element(struct nlmsghdr *message, const void *key, size_t key_length, bool is_end, uint64_t timeout_msec)
{
	struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
	struct nlattr *nested = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
	mnl_attr_put(message, NFTA_DATA_VALUE, key_length, key);
	mnl_attr_nest_end(message, nested);
	if (is_end)
		mnl_attr_put_u32(message, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	if (timeout_msec)
		mnl_attr_put_u64(message, NFTA_SET_ELEM_TIMEOUT, htobe64(timeout_msec));
	mnl_attr_nest_end(message, element);
}

static void put(struct elements *elements, unsigned type, enum gate_set set, const struct set_element *element)
{
	size_t key_length = set_definitions[set].key_length;
	bool goes_on = elements->message && elements->type == type && elements->set == set && open_message(elements)->nlmsg_len < LIST_MAX;
	if (!goes_on)
		begin_message(elements, type, set);
	elements->length = elements->message + open_message(elements)->nlmsg_len;
	(void)reserve(elements, ELEMENT_MAX);
	struct nlmsghdr *message = open_message(elements);
	if (!elements->nest)
		elements->nest = (size_t)((uint8_t *)mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS) - elements->bytes);
	put_element(message, element->key, key_length, false, element->timeout_msec);
	if (element->interval && element->end)
		put_element(message, element->end, key_length, true, 0);
}

void elements_add(struct elements *elements, enum gate_set set, const struct set_element *element)
{
	put(elements, NFT_MSG_NEWSETELEM, set, element);
}

void elements_remove(struct elements *elements, enum gate_set set, const struct set_element *element)
{
	const struct set_element key = {.key = element->key, .end = element->end, .interval = element->interval};
	put(elements, NFT_MSG_DELSETELEM, set, &key);
}

/* ---- committing ---- */

int elements_open(struct mnl_socket **ret)
{
	struct timeval timeout = {.tv_sec = ANSWER_SEC};
	int on = 1;
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (socket && mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
		setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0 &&
		mnl_socket_setsockopt(socket, NETLINK_CAP_ACK, &on, sizeof on) == 0) {
		*ret = socket;
		return 0;
	}
	int error = errno;
	if (socket)
		mnl_socket_close(socket);
	return -error;
}

/* Answers of an earlier commit that was given up must not be taken for this one's. */
static void drain(struct mnl_socket *socket)
{
	char buffer[RECEIVE_SIZE];
	while (recv(mnl_socket_get_fd(socket), buffer, sizeof buffer, MSG_DONTWAIT | MSG_TRUNC) > 0)
		;
}

static int receive(struct mnl_socket *socket, uint32_t last)
{
	char buffer[RECEIVE_SIZE] __attribute__((aligned(__alignof__(struct nlmsghdr))));
	for (;;) {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, sizeof buffer);
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		int remaining = (int)length;
		for (const struct nlmsghdr *message = (const struct nlmsghdr *)buffer; mnl_nlmsg_ok(message, remaining);
			message = mnl_nlmsg_next(message, &remaining)) {
			const struct nlmsgerr *answer = mnl_nlmsg_get_payload(message);
			if (message->nlmsg_type != NLMSG_ERROR || mnl_nlmsg_get_payload_len(message) < sizeof *answer)
				continue;
			if (answer->error < 0 || message->nlmsg_seq == last)
				return answer->error;
		}
	}
}

static int transmit(const struct elements *elements, struct mnl_socket *socket)
{
	int fd = mnl_socket_get_fd(socket), size = (int)MIN_OF(elements->length * 2, (size_t)INT32_MAX / 2);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size); /* send() says whether it was enough */
	return mnl_socket_sendto(socket, elements->bytes, elements->length) < 0 ? -errno : 0;
}

int elements_commit(struct elements *elements, struct mnl_socket *socket, uint32_t generation)
{
	uint32_t wanted = htonl(generation);
	close_message(elements);
	size_t length = elements->length, last = 0;
	unsigned messages = elements->messages;
	if (length == 0)
		return 0;
	memcpy(elements->bytes + BEGIN_LENGTH - sizeof wanted, &wanted, sizeof wanted);
	for (size_t at = 0; at < length; at += ((struct nlmsghdr *)(elements->bytes + at))->nlmsg_len)
		last = at;
	((struct nlmsghdr *)(elements->bytes + last))->nlmsg_flags |= NLM_F_ACK;
	uint32_t sequence = ((struct nlmsghdr *)(elements->bytes + last))->nlmsg_seq;
	elements->length += put_message(elements, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)->nlmsg_len;
	drain(socket);
	int r = transmit(elements, socket);
	if (r == 0)
		r = receive(socket, sequence);
	elements->length = length; /* without the end: it may be committed again */
	elements->messages = messages;
	return r;
}
