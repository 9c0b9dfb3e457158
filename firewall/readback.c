/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * All questions go out in one packet: the generation, the table, each chain, counter and the release's set by name, its
 * elements, and last the rules, a dump that the kernel filters by table. What is in the table beside those is found by
 * arithmetic: the kernel counts the table's chains, named sets and objects (anonymous sets are counted out again once a
 * rule holds them), and a count that is too high is somebody's.
 *
 * Every answer carries the low half of the generation that it was made in. All of them must be that of the generation
 * asked for first; so what was read was true at one moment, although it took several packets.
 */

#include "firewall/readback.h"

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

#define ANSWER_SEC   2 /* the kernel answers at once; a socket that does not is not waited for forever */
#define RECEIVE_SIZE 65536
#define NAME_MAX_NFT 256 /* NFT_NAME_MAXLEN */

struct readback_socket {
	struct mnl_socket *socket;
	uint32_t sequence;
	char buffer[RECEIVE_SIZE];
};

/* Requests put into one packet, and what their answers go to. */
struct exchange {
	struct readback_socket *socket;
	char packet[4096];
	size_t length;
	uint32_t first; /* sequence number of the first request */
	unsigned count;
	struct readback *result;
};

void readback_done(struct readback *readback)
{
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++)
		text_done(&readback->chains[chain].comments);
	*readback = (struct readback){};
}

int readback_open(struct readback_socket **ret)
{
	struct readback_socket *socket = xcalloc(1, sizeof *socket);
	struct timeval timeout = {.tv_sec = ANSWER_SEC};
	socket->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	if (!socket->socket || mnl_socket_bind(socket->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	        setsockopt(mnl_socket_get_fd(socket->socket), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0) {
		int error = errno;
		readback_close(socket);
		return -error;
	}
	*ret = socket;
	return 0;
}

struct readback_socket *readback_close(struct readback_socket *socket)
{
	if (socket && socket->socket)
		mnl_socket_close(socket->socket);
	free(socket);
	return NULL;
}

/* ---- questions ---- */

static struct nlmsghdr *ask(struct exchange *exchange, unsigned type, unsigned flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(exchange->packet + exchange->length);
	message->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type);
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	message->nlmsg_seq = exchange->first + exchange->count++;
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof *header);
	header->nfgen_family = NFPROTO_INET;
	header->version = NFNETLINK_V0;
	return message;
}

static void asked(struct exchange *exchange, struct nlmsghdr *message)
{
	exchange->length += MNL_ALIGN(message->nlmsg_len);
}

static void begin(struct exchange *exchange, struct readback_socket *socket, struct readback *result)
{
	exchange->socket = socket;
	exchange->length = 0;
	exchange->first = socket->sequence + 1;
	exchange->count = 0;
	exchange->result = result;
}

/* Something by its name; the name's attribute is NFTA_CHAIN_NAME for chains, and 2 for sets and objects. */
static void ask_by_name(
        struct exchange *exchange, unsigned type, uint16_t attribute, const char *name, uint32_t object_type)
{
	struct nlmsghdr *message = ask(exchange, type, 0);
	mnl_attr_put_strz(
	        message, NFTA_TABLE_NAME, GATE_TABLE); /* attribute 1 is the table's name in every kind of message */
	mnl_attr_put_strz(message, attribute, name);
	if (object_type)
		mnl_attr_put_u32(message, NFTA_OBJ_TYPE, htonl(object_type));
	asked(exchange, message);
}

/* The element of the release for FAMILY, NFPROTO_IPV4 or NFPROTO_IPV6; the set's keys are one byte. */
static void ask_for_element(struct exchange *exchange, uint8_t family)
{
	struct nlmsghdr *message = ask(exchange, NFT_MSG_GETSETELEM, 0);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, GATE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, RELEASED_SET);
	struct nlattr *elements = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
	struct nlattr *key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
	mnl_attr_put(message, NFTA_DATA_VALUE, sizeof family, &family);
	mnl_attr_nest_end(message, key);
	mnl_attr_nest_end(message, element);
	mnl_attr_nest_end(message, elements);
	asked(exchange, message);
}

static void ask_for_generation(struct exchange *exchange)
{
	asked(exchange, ask(exchange, NFT_MSG_GETGEN, 0));
}

static void ask_for_table(struct exchange *exchange, unsigned type, unsigned flags)
{
	struct nlmsghdr *message = ask(exchange, type, flags);
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, GATE_TABLE);
	asked(exchange, message);
}

/* ---- answers ---- */

struct attributes {
	const struct nlattr *at[32];
};

static int collect_attribute(const struct nlattr *attribute, void *data)
{
	struct attributes *attributes = data;
	if (mnl_attr_get_type(attribute) < ELEMENTSOF(attributes->at))
		attributes->at[mnl_attr_get_type(attribute)] = attribute;
	return MNL_CB_OK;
}

static struct attributes attributes_of(const struct nlmsghdr *message)
{
	struct attributes attributes = {};
	mnl_attr_parse(message, sizeof(struct nfgenmsg), collect_attribute, &attributes);
	return attributes;
}

static struct attributes attributes_in(const struct nlattr *nest)
{
	struct attributes attributes = {};
	if (nest)
		mnl_attr_parse_nested(nest, collect_attribute, &attributes);
	return attributes;
}

/* Attributes come from the kernel, whose lengths are still not taken on trust. */
static uint32_t number_of(const struct nlattr *attribute)
{
	return attribute && mnl_attr_get_payload_len(attribute) >= sizeof(uint32_t) ? ntohl(mnl_attr_get_u32(attribute))
	                                                                            : 0;
}

static uint64_t long_number_of(const struct nlattr *attribute)
{
	return attribute && mnl_attr_get_payload_len(attribute) >= sizeof(uint64_t)
	               ? be64toh(mnl_attr_get_u64(attribute))
	               : 0;
}

static bool is_name(const struct nlattr *attribute, const char *name)
{
	return attribute &&
	       strnlen(mnl_attr_get_payload(attribute), mnl_attr_get_payload_len(attribute)) == strlen(name) &&
	       memcmp(mnl_attr_get_payload(attribute), name, strlen(name)) == 0;
}

/* FNV-1a, 64 bits: tells an accident or a foreign edit; it need not withstand someone who may write the table anyway.
 */
#define FNV_BASIS 0xcbf29ce484222325u
static void mix(uint64_t *hash, const void *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		*hash = (*hash ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
}

static void mix_attribute(uint64_t *hash, const struct nlattr *attribute)
{
	if (attribute)
		mix(hash, attribute, attribute->nla_len);
}

/* The whole message behind its headers. Rules hold no state of their own: what counts are named counters, referred to
 * by name. */
static void mix_message(uint64_t *hash, const struct nlmsghdr *message)
{
	mix(hash, mnl_nlmsg_get_payload_offset(message, sizeof(struct nfgenmsg)),
	        mnl_nlmsg_get_payload_len(message) - sizeof(struct nfgenmsg));
}

static void saw_generation(struct readback *result, const struct nlmsghdr *message)
{
	result->generation = number_of(attributes_of(message).at[NFTA_GEN_ID]);
}

static void saw_table(struct readback *result, const struct nlmsghdr *message)
{
	struct attributes attributes = attributes_of(message);
	result->exists = true;
	result->plain = number_of(attributes.at[NFTA_TABLE_FLAGS]) == 0;
	result->handle = long_number_of(attributes.at[NFTA_TABLE_HANDLE]);
	result->uses = number_of(attributes.at[NFTA_TABLE_USE]);
	mix_attribute(&result->fingerprint, attributes.at[NFTA_TABLE_HANDLE]);
	mix_attribute(&result->fingerprint, attributes.at[NFTA_TABLE_FLAGS]);
	mix_attribute(&result->frame, attributes.at[NFTA_TABLE_HANDLE]);
	mix_attribute(&result->frame, attributes.at[NFTA_TABLE_FLAGS]);
}

static bool find_chain(const struct nlattr *name, enum gate_chain *ret)
{
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++)
		if (is_name(name, chain_definitions[chain].name)) {
			*ret = chain;
			return true;
		}
	return false;
}

static void saw_chain(struct readback *result, const struct nlmsghdr *message)
{
	struct attributes attributes = attributes_of(message), hook = attributes_in(attributes.at[NFTA_CHAIN_HOOK]);
	enum gate_chain chain;
	if (!find_chain(attributes.at[NFTA_CHAIN_NAME], &chain))
		return;
	const struct chain_definition *definition = &chain_definitions[chain];
	result->chains[chain].exists = true;
	result->chains[chain].drops =
	        attributes.at[NFTA_CHAIN_POLICY] && number_of(attributes.at[NFTA_CHAIN_POLICY]) == NF_DROP;
	result->chains[chain].as_defined = is_name(attributes.at[NFTA_CHAIN_TYPE], definition->type) &&
	                                   hook.at[NFTA_HOOK_HOOKNUM] &&
	                                   number_of(hook.at[NFTA_HOOK_HOOKNUM]) == definition->hook_number &&
	                                   (int32_t)number_of(hook.at[NFTA_HOOK_PRIORITY]) == definition->priority;
	if (chain != CHAIN_POSTROUTING) /* which comes and goes */
		mix_attribute(&result->frame, attributes.at[NFTA_CHAIN_HANDLE]);
	mix_message(&result->fingerprint, message);
}

/* The comment is one of the type-length-value triples that nft keeps in a rule's user data; 0 is
 * NFTNL_UDATA_RULE_COMMENT. */
static void append_comment(struct text *comments, const struct nlattr *userdata)
{
	const uint8_t *bytes = userdata ? mnl_attr_get_payload(userdata) : NULL;
	size_t length = userdata ? mnl_attr_get_payload_len(userdata) : 0;
	for (size_t at = 0; at + 2 <= length && at + 2 + bytes[at + 1] <= length; at += 2u + bytes[at + 1])
		if (bytes[at] == 0)
			text_append(comments, "%.*s", bytes[at + 1], (const char *)bytes + at + 2);
	text_append(comments, "\n");
}

static void saw_rule(struct readback *result, const struct nlmsghdr *message)
{
	struct attributes attributes = attributes_of(message);
	enum gate_chain chain;
	if (find_chain(attributes.at[NFTA_RULE_CHAIN], &chain))
		append_comment(&result->chains[chain].comments, attributes.at[NFTA_RULE_USERDATA]);
	else
		result->foreign_chain = true;
	mix_message(&result->fingerprint, message);
}

/* Attributes are named one by one: newer kernels also tell how many elements there are. */
static void saw_set(struct readback *result, const struct nlmsghdr *message)
{
	static const unsigned lasting[] = {NFTA_SET_HANDLE, NFTA_SET_FLAGS, NFTA_SET_KEY_TYPE, NFTA_SET_KEY_LEN};
	struct attributes attributes = attributes_of(message);
	for (enum gate_set set = 0; set < SET_COUNT; set++)
		result->sets += is_name(attributes.at[NFTA_SET_NAME], set_definitions[set].name) &&
		                number_of(attributes.at[NFTA_SET_FLAGS]) == set_definitions[set].flags &&
		                number_of(attributes.at[NFTA_SET_KEY_LEN]) == set_definitions[set].key_length;
	for (size_t i = 0; i < ELEMENTSOF(lasting); i++) {
		mix_attribute(&result->fingerprint, attributes.at[lasting[i]]);
		mix_attribute(&result->frame, attributes.at[lasting[i]]);
	}
}

static void saw_counter(struct readback *result, const struct nlmsghdr *message)
{
	struct attributes attributes = attributes_of(message), data = attributes_in(attributes.at[NFTA_OBJ_DATA]);
	for (enum gate_counter counter = 0; counter < COUNTER_COUNT; counter++)
		if (is_name(attributes.at[NFTA_OBJ_NAME], counter_names[counter])) {
			result->counters++;
			result->packets[counter] = long_number_of(data.at[NFTA_COUNTER_PACKETS]);
		}
	mix_attribute(&result->fingerprint, attributes.at[NFTA_OBJ_HANDLE]);
	mix_attribute(&result->frame, attributes.at[NFTA_OBJ_HANDLE]);
}

/* Elements of the release: the longer one counts. */
static void saw_elements(struct readback *result, const struct nlmsghdr *message)
{
	struct attributes attributes = attributes_of(message);
	const struct nlattr *element;
	if (!attributes.at[NFTA_SET_ELEM_LIST_ELEMENTS])
		return;
	mnl_attr_for_each_nested(element, attributes.at[NFTA_SET_ELEM_LIST_ELEMENTS])
	{
		const struct nlattr *expiration = attributes_in(element).at[NFTA_SET_ELEM_EXPIRATION];
		uint64_t usec = expiration ? long_number_of(expiration) * USEC_PER_MSEC : USEC_INFINITY;
		result->released_usec = MAX_OF(result->released_usec, usec);
	}
}

bool readback_is_ours(const struct nlmsghdr *message)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	return mnl_nlmsg_get_payload_len(message) >= sizeof *header && header->nfgen_family == NFPROTO_INET &&
	       is_name(attributes_of(message).at[NFTA_TABLE_NAME], GATE_TABLE);
}

bool readback_is_grant(const struct nlmsghdr *message)
{
	unsigned type = message->nlmsg_type & 0xff;
	if (type != NFT_MSG_NEWSETELEM && type != NFT_MSG_DELSETELEM)
		return false;
	for (enum gate_set set = SET_PROCESSES; set < SET_NAMES4; set++)
		if (is_name(attributes_of(message).at[NFTA_SET_ELEM_LIST_SET], set_definitions[set].name))
			return true;
	return false;
}

static const struct {
	unsigned type;
	void (*saw)(struct readback *result, const struct nlmsghdr *message);
} answers[] = {
        {NFT_MSG_NEWGEN, saw_generation},
        {NFT_MSG_NEWTABLE, saw_table},
        {NFT_MSG_NEWCHAIN, saw_chain},
        {NFT_MSG_NEWRULE, saw_rule},
        {NFT_MSG_NEWSET, saw_set},
        {NFT_MSG_NEWOBJ, saw_counter},
        {NFT_MSG_NEWSETELEM, saw_elements},
};

static int answer(struct readback *result, const struct nlmsghdr *message)
{
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	if (mnl_nlmsg_get_payload_len(message) < sizeof *header)
		return -EBADMSG;
	for (size_t i = 0; i < ELEMENTSOF(answers); i++) {
		if (message->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | answers[i].type))
			continue;
		answers[i].saw(result, message);
		bool same = message->nlmsg_flags & NLM_F_DUMP_INTR
		                    ? false
		                    : ntohs(header->res_id) == (result->generation & 0xffff);
		return same ? 0 : -EINTR;
	}
	return -EBADMSG;
}

/*
 * An error answers a request. What is asked for by name and not there is no error: it was not seen. A set with keys of
 * another length refuses to be asked for ours.
 */
static int error_answer(const struct nlmsghdr *message)
{
	const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);
	if (mnl_nlmsg_get_payload_len(message) < sizeof *error)
		return -EBADMSG;
	bool element = error->msg.nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM);
	bool unseen = error->error == -ENOENT || (element && error->error == -EINVAL);
	return unseen ? 0 : error->error;
}

/* Handles what one receive brought; *left counts the requests still to be answered. */
static int take(struct exchange *exchange, size_t length, unsigned *left)
{
	int result = 0, remaining = (int)length;
	const struct nlmsghdr *message = (const struct nlmsghdr *)exchange->socket->buffer;
	for (; mnl_nlmsg_ok(message, remaining); message = mnl_nlmsg_next(message, &remaining)) {
		int r = 0;
		bool last = !(message->nlmsg_flags & NLM_F_MULTI);
		if (message->nlmsg_seq - exchange->first >= exchange->count)
			continue; /* the tail of an exchange that was given up */
		if (message->nlmsg_type == NLMSG_ERROR)
			r = error_answer(message);
		else if (message->nlmsg_type == NLMSG_DONE)
			last = true;
		else
			r = answer(exchange->result, message);
		if (last || message->nlmsg_type == NLMSG_ERROR)
			*left -= *left > 0;
		if (result == 0)
			result = r;
	}
	return result;
}

/*
 * Sends the packet and handles every answer. Goes on after an error, so that the socket is empty afterwards: a dump
 * that is left half read would make the next one fail with EBUSY.
 */
static int run(struct exchange *exchange)
{
	int result = 0;
	unsigned left = exchange->count;
	exchange->socket->sequence += exchange->count;
	if (mnl_socket_sendto(exchange->socket->socket, exchange->packet, exchange->length) < 0)
		return -errno;
	while (left > 0) {
		ssize_t length = mnl_socket_recvfrom(exchange->socket->socket, exchange->socket->buffer, RECEIVE_SIZE);
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		int r = take(exchange, (size_t)length, &left);
		if (result == 0)
			result = r;
	}
	return result;
}

/* ---- the whole ---- */

int readback_generation(struct readback_socket *socket, uint32_t *ret)
{
	_cleanup_readback_ struct readback result = {};
	struct exchange exchange;
	begin(&exchange, socket, &result);
	ask_for_generation(&exchange);
	int r = run(&exchange);
	if (r == 0 || r == -EINTR)
		*ret = result.generation;
	return r == -EINTR ? 0 : r;
}

static void ask_for_counters(struct exchange *exchange)
{
	for (enum gate_counter counter = 0; counter < COUNTER_COUNT; counter++)
		ask_by_name(exchange, NFT_MSG_GETOBJ, NFTA_OBJ_NAME, counter_names[counter], NFT_OBJECT_COUNTER);
}

int readback_counters(struct readback_socket *socket, struct readback *ret)
{
	struct readback result = {};
	struct exchange exchange;
	begin(&exchange, socket, &result);
	ask_for_generation(&exchange);
	ask_for_table(&exchange, NFT_MSG_GETTABLE, 0);
	ask_for_counters(&exchange);
	int r = run(&exchange);
	if (r == 0)
		*ret = result;
	return r;
}

int readback_read(struct readback_socket *socket, struct readback *ret)
{
	struct readback result = {.fingerprint = FNV_BASIS, .frame = FNV_BASIS};
	struct exchange exchange;
	begin(&exchange, socket, &result);
	ask_for_generation(&exchange);
	ask_for_table(&exchange, NFT_MSG_GETTABLE, 0);
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++)
		ask_by_name(&exchange, NFT_MSG_GETCHAIN, NFTA_CHAIN_NAME, chain_definitions[chain].name, 0);
	ask_for_counters(&exchange);
	for (enum gate_set set = 0; set < SET_COUNT; set++)
		ask_by_name(&exchange, NFT_MSG_GETSET, NFTA_SET_NAME, set_definitions[set].name, 0);
	ask_for_element(&exchange, NFPROTO_IPV4);
	ask_for_element(&exchange, NFPROTO_IPV6);
	ask_for_table(&exchange, NFT_MSG_GETRULE, NLM_F_DUMP);
	int r = run(&exchange);
	if (r < 0) {
		readback_done(&result);
		return r;
	}
	*ret = result;
	return 0;
}

static const char *chain_difference(const struct readback *readback, const struct ruleset *set, enum gate_chain chain)
{
	const struct text *seen = &readback->chains[chain].comments, *wanted = &set->chains[chain].comments;
	if (readback->chains[chain].exists != ruleset_has_chain(set, chain))
		return readback->chains[chain].exists ? "there is a chain where none should be" : "a chain is missing";
	if (!readback->chains[chain].exists)
		return NULL;
	if (!readback->chains[chain].as_defined)
		return "a chain hooks elsewhere";
	if (readback->chains[chain].drops != (chain_definitions[chain].guards && set->drop))
		return "a chain has another policy";
	if (seen->length != wanted->length || (seen->length && memcmp(seen->bytes, wanted->bytes, seen->length) != 0))
		return "a chain's rules are others";
	return NULL;
}

const char *readback_difference(const struct readback *readback, const struct ruleset *set)
{
	if (readback->exists != set->exists)
		return set->exists ? "the table is missing" : "there is a table where none should be";
	if (!set->exists)
		return NULL;
	if (!readback->plain)
		return "the table is dormant or owned by somebody";
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++) {
		const char *difference = chain_difference(readback, set, chain);
		if (difference)
			return difference;
	}
	if (readback->sets != SET_COUNT)
		return "a set is missing or another";
	if (readback->counters != COUNTER_COUNT)
		return "a counter is missing";
	uint32_t uses = COUNTER_COUNT + SET_COUNT;
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++)
		uses += ruleset_has_chain(set, chain);
	if (readback->foreign_chain || readback->uses != uses)
		return "the table holds what is not Holdfast's";
	return NULL;
}
