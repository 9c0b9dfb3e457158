/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Two sockets: one hears what happens, the other asks what is. A message about an own link is told as it is read; every other one
 * only says that what is known may be stale, and once per turn of the loop all of it is read anew. That is cheap, and right where
 * events alone are not: the kernel announces no removal of IPv4 routes that go with an address or a link.
 *
 * What is remembered beyond the last reading: which links have carried a default route, for as long as they exist.
 */

#include "network/monitor.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/fib_rules.h>
#include <linux/netconf.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>

#include "network/link-class.h"
#include "network/link.h"
#include "network/netlink.h"
#include "network/routing.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

#define RECEIVE_BUFFER	 (1 << 20)
#define MESSAGE_MAX	 32768
#define MESSAGES_PER_TURN 256
#define RESYNC_TRIES	 10
/* NetworkManager.conf(5), "connectivity": added to the metric of a device's default route while its check fails. */
#define NETWORKMANAGER_PENALTY 20000

struct known_address {
	int index;
	struct ip_prefix prefix;  /* the address itself */
	struct ip_prefix network; /* what is on link by it */
	bool lasting;		  /* neither temporary nor unfinished */
};

struct known_default {
	int index;
	int family;
	uint32_t metric;
	struct ip_address gateway; /* AF_UNSPEC: on link */
};

/* One reading of the kernel. */
struct reading {
	struct link_facts *links;
	size_t link_count;
	struct known_address *addresses;
	size_t address_count;
	struct known_default *defaults;
	size_t default_count;
	size_t default_base; /* how many there were before the dump that is being read */
};

struct own_link {
	int index;
	char name[IFNAMSIZ];
	enum link_presence presence;
};

struct network_monitor {
	struct netlink *query;
	int fd;
	sd_event_source *heard, *setting, *flush;
	struct network_callbacks callbacks;
	void *userdata;
	struct reading reading;
	struct own_link *own;
	size_t own_count;
	char (*named)[IFNAMSIZ];
	size_t named_count;
	bool stale;   /* the reading is older than the last message */
	bool touched; /* routing_touched() is due */
	struct network_state state, told;
};

/* ---- asking ---- */

static void reading_done(struct reading *reading)
{
	free(reading->links);
	free(reading->addresses);
	free(reading->defaults);
	*reading = (struct reading){};
}

/* Appends a zeroed item to an array of COUNT items of SIZE bytes, and returns it. */
static void *append(void *array, size_t *count, size_t size)
{
	char **items = array;
	*items = xrealloc(*items, (*count + 1) * size);
	return memset(*items + (*count)++ * size, 0, size);
}

static void read_kind(struct nlattr *info, struct link_facts *facts)
{
	struct nlattr *table[IFLA_INFO_MAX + 1];
	if (info && nla_parse_nested(table, IFLA_INFO_MAX, info, NULL) >= 0 && table[IFLA_INFO_KIND])
		nla_strlcpy(facts->kind, table[IFLA_INFO_KIND], sizeof facts->kind);
}

static int parse_link(const struct nlmsghdr *message, struct link_facts *ret)
{
	const struct ifinfomsg *header = NLMSG_DATA(message);
	struct nlattr *table[IFLA_MAX + 1];
	if (nlmsg_parse((struct nlmsghdr *)message, sizeof *header, table, IFLA_MAX, NULL) < 0 || !table[IFLA_IFNAME])
		return -EBADMSG;
	*ret = (struct link_facts){
		.index = header->ifi_index,
		.flags = header->ifi_flags,
		.hardware = header->ifi_type,
		.has_parent = table[IFLA_PARENT_DEV_NAME],
	};
	nla_strlcpy(ret->name, table[IFLA_IFNAME], sizeof ret->name);
	read_kind(table[IFLA_LINKINFO], ret);
	ret->master = table[IFLA_MASTER] ? (int)nla_get_u32(table[IFLA_MASTER]) : 0;
	/* A veth's is its other end; with a namespace beside it, the index is that one's. */
	if (table[IFLA_LINK] && !table[IFLA_LINK_NETNSID] && strcmp(ret->kind, "veth") != 0)
		ret->lower = (int)nla_get_u32(table[IFLA_LINK]);
	return 0;
}

static int read_link(const struct nlmsghdr *message, void *userdata)
{
	struct reading *reading = userdata;
	struct link_facts facts;
	int r = parse_link(message, &facts);
	if (r == 0)
		*(struct link_facts *)append(&reading->links, &reading->link_count, sizeof facts) = facts;
	return r;
}

static int read_address(const struct nlmsghdr *message, void *userdata)
{
	struct reading *reading = userdata;
	const struct ifaddrmsg *header = NLMSG_DATA(message);
	struct nlattr *table[IFA_MAX + 1];
	if (nlmsg_parse((struct nlmsghdr *)message, sizeof *header, table, IFA_MAX, NULL) < 0)
		return -EBADMSG;
	struct nlattr *on_link = table[IFA_ADDRESS], *local = table[IFA_LOCAL] ? table[IFA_LOCAL] : on_link;
	if (!local || (header->ifa_family != AF_INET && header->ifa_family != AF_INET6))
		return 0;
	uint32_t flags = table[IFA_FLAGS] ? nla_get_u32(table[IFA_FLAGS]) : header->ifa_flags;
	struct known_address *known = append(&reading->addresses, &reading->address_count, sizeof *known);
	known->index = (int)header->ifa_index;
	known->prefix = (struct ip_prefix){{.family = header->ifa_family}, header->ifa_prefixlen};
	known->network = known->prefix;
	/* In IPv4 the bit of IFA_F_TEMPORARY means "secondary". */
	known->lasting = header->ifa_family == AF_INET || !(flags & (IFA_F_TEMPORARY | IFA_F_TENTATIVE | IFA_F_DADFAILED));
	nla_memcpy(known->prefix.address.bytes, local, sizeof known->prefix.address.bytes);
	nla_memcpy(known->network.address.bytes, on_link ? on_link : local, sizeof known->network.address.bytes);
	known->network = ip_prefix_mask(known->network);
	return 0;
}

static void add_default(struct reading *reading, int index, int family, uint32_t metric, const struct nlattr *gateway)
{
	struct known_default *known = append(&reading->defaults, &reading->default_count, sizeof *known);
	known->index = index;
	known->family = family;
	known->metric = metric >= NETWORKMANAGER_PENALTY ? metric - NETWORKMANAGER_PENALTY : metric;
	if (!gateway)
		return;
	known->gateway.family = family;
	nla_memcpy(known->gateway.bytes, gateway, sizeof known->gateway.bytes);
}

static void add_next_hops(struct reading *reading, int family, uint32_t metric, struct nlattr *paths)
{
	struct rtnexthop *hop = nla_data(paths);
	int left = nla_len(paths);
	for (; RTNH_OK(hop, left); left -= RTNH_ALIGN(hop->rtnh_len), hop = RTNH_NEXT(hop)) {
		struct nlattr *table[RTA_MAX + 1];
		int length = hop->rtnh_len - (int)sizeof *hop;
		if (nla_parse(table, RTA_MAX, (struct nlattr *)RTNH_DATA(hop), length, NULL) >= 0)
			add_default(reading, hop->rtnh_ifindex, family, metric, table[RTA_GATEWAY]);
	}
}

/* Whether it is a default route of the host's own table; RET_TABLE is for attributes. */
static bool parse_default(const struct nlmsghdr *message, struct nlattr *ret_table[RTA_MAX + 1])
{
	const struct rtmsg *header = NLMSG_DATA(message);
	return nlmsg_parse((struct nlmsghdr *)message, sizeof *header, ret_table, RTA_MAX, NULL) >= 0 && header->rtm_dst_len == 0 &&
	       header->rtm_type == RTN_UNICAST && header->rtm_table == RT_TABLE_MAIN;
}

static int read_route(const struct nlmsghdr *message, void *userdata)
{
	struct reading *reading = userdata;
	const struct rtmsg *header = NLMSG_DATA(message);
	struct nlattr *table[RTA_MAX + 1];
	if (!parse_default(message, table))
		return 0;
	uint32_t metric = table[RTA_PRIORITY] ? nla_get_u32(table[RTA_PRIORITY]) : 0;
	if (table[RTA_MULTIPATH])
		add_next_hops(reading, header->rtm_family, metric, table[RTA_MULTIPATH]);
	else if (table[RTA_OIF])
		add_default(reading, (int)nla_get_u32(table[RTA_OIF]), header->rtm_family, metric, table[RTA_GATEWAY]);
	return 0;
}

static struct nl_msg *ask_links(const void *argument)
{
	struct ifinfomsg header = {};
	return netlink_message(RTM_GETLINK, NLM_F_DUMP, &header, sizeof header);
}

static struct nl_msg *ask_addresses(const void *argument)
{
	struct ifaddrmsg header = {};
	return netlink_message(RTM_GETADDR, NLM_F_DUMP, &header, sizeof header);
}

static struct nl_msg *ask_routes(const void *argument)
{
	struct rtmsg header = {.rtm_family = *(const unsigned char *)argument, .rtm_table = RT_TABLE_MAIN};
	return netlink_message(RTM_GETROUTE, NLM_F_DUMP, &header, sizeof header);
}

static void reset_links(void *userdata)
{
	((struct reading *)userdata)->link_count = 0;
}

static void reset_addresses(void *userdata)
{
	((struct reading *)userdata)->address_count = 0;
}

static void reset_routes(void *userdata)
{
	struct reading *reading = userdata;
	reading->default_count = reading->default_base;
}

static int take_reading(struct netlink *query, struct reading *ret)
{
	static const struct netlink_dump links = {ask_links, reset_links, read_link},
					 addresses = {ask_addresses, reset_addresses, read_address},
					 routes = {ask_routes, reset_routes, read_route};
	static const unsigned char v4 = AF_INET, v6 = AF_INET6;
	int r = netlink_dump(query, &links, NULL, ret);
	if (r == 0)
		r = netlink_dump(query, &addresses, NULL, ret);
	if (r == 0)
		r = netlink_dump(query, &routes, &v4, ret);
	ret->default_base = ret->default_count;
	if (r == 0)
		r = netlink_dump(query, &routes, &v6, ret);
	return r;
}

/* ---- the state, from a reading ---- */

static struct link_facts *find_link(const struct reading *reading, int index)
{
	for (size_t i = 0; i < reading->link_count; i++)
		if (reading->links[i].index == index)
			return &reading->links[i];
	return NULL;
}

static bool is_named(const struct network_monitor *monitor, const char *name)
{
	for (size_t i = 0; i < monitor->named_count; i++)
		if (strcmp(monitor->named[i], name) == 0)
			return true;
	return false;
}

static bool has_default(const struct reading *reading, int index)
{
	for (size_t i = 0; i < reading->default_count; i++)
		if (reading->defaults[i].index == index)
			return true;
	return false;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int compare_attached(const void *a, const void *b)
{
	const struct attached_network *left = a, *right = b;
	int order = strcmp(left->interface, right->interface);
	if (order == 0)
		order = left->network.address.family - right->network.address.family;
	if (order == 0)
		order = memcmp(left->network.address.bytes, right->network.address.bytes, sizeof left->network.address.bytes);
	return order ? order : left->network.length - right->network.length;
}

static void add_name(char (*names)[IFNAMSIZ], size_t *count, const char *name)
{
	if (*count < NETWORK_LINKS_MAX)
		memcpy(names[(*count)++], name, IFNAMSIZ);
}

static void gather_links(const struct reading *reading, struct network_state *state)
{
	for (size_t i = 0; i < reading->link_count; i++) {
		const struct link_facts *link = &reading->links[i];
		enum link_class class = link_classify(link);
		if (class == LINK_CLASS_UPLINK) {
			add_name(state->uplinks, &state->uplink_count, link->name);
			state->available |= link_is_running(link) && has_default(reading, link->index);
		} else if (class == LINK_CLASS_LOCAL) {
			add_name(state->local_links, &state->local_link_count, link->name);
		}
	}
	qsort(state->uplinks, state->uplink_count, IFNAMSIZ, compare_names);
	qsort(state->local_links, state->local_link_count, IFNAMSIZ, compare_names);
}

static bool is_attached(const struct network_state *state, const struct attached_network *network)
{
	for (size_t i = 0; i < state->attached_count; i++)
		if (compare_attached(&state->attached[i], network) == 0)
			return true;
	return false;
}

static void gather_attached(const struct reading *reading, struct network_state *state)
{
	for (size_t i = 0; i < reading->address_count && state->attached_count < NETWORK_LINKS_MAX; i++) {
		const struct known_address *known = &reading->addresses[i];
		const struct link_facts *link = find_link(reading, known->index);
		enum link_class class = link ? link_classify(link) : LINK_CLASS_LOOPBACK;
		if ((class != LINK_CLASS_UPLINK && class != LINK_CLASS_LOCAL) ||
			known->network.length == ip_address_bits(&known->network.address))
			continue;
		struct attached_network attached = {.network = known->network};
		memcpy(attached.interface, link->name, IFNAMSIZ);
		if (!is_attached(state, &attached))
			state->attached[state->attached_count++] = attached;
	}
	qsort(state->attached, state->attached_count, sizeof state->attached[0], compare_attached);
}

/* FNV-1a, 64 bits (draft-eastlake-fnv). */
static uint64_t hash(uint64_t value, const char *text)
{
	for (; *text; text++)
		value = (value ^ (uint8_t)*text) * 0x100000001b3ULL;
	return value;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool counts(const struct reading *reading, int index, const char **ret_name)
{
	const struct link_facts *link = find_link(reading, index);
	if (!link || link_classify(link) != LINK_CLASS_UPLINK || !link_is_running(link))
		return false;
	*ret_name = link->name;
	return true;
}

/* A line for each fact, sorted, so that the order in which the kernel lists them does not matter. */
static uint64_t fingerprint(const struct reading *reading)
{
	size_t count = 0;
	char **lines = xcalloc(reading->address_count + reading->default_count, sizeof *lines), buffer[IP_TEXT_MAX];
	const char *name;
	uint64_t value = 0xcbf29ce484222325ULL;
	for (size_t i = 0; i < reading->address_count; i++) {
		const struct known_address *known = &reading->addresses[i];
		if (known->lasting && counts(reading, known->index, &name))
			lines[count++] = text_format("%s %d has %s\n", name, known->index,
				ip_prefix_format(buffer, &known->prefix));
	}
	for (size_t i = 0; i < reading->default_count; i++) {
		const struct known_default *known = &reading->defaults[i];
		if (counts(reading, known->index, &name))
			lines[count++] = text_format("%s %d leads to %s\n", name, known->index,
				ip_address_format(buffer, &known->gateway));
	}
	qsort(lines, count, sizeof *lines, compare_lines);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || strcmp(lines[i], lines[i - 1]) != 0)
			value = hash(value, lines[i]);
	}
	while (count > 0)
		free(lines[--count]);
	free(lines);
	return value;
}

static bool is_better(const struct known_default *a, const struct known_default *b)
{
	if (a->family != b->family)
		return a->family == AF_INET;
	return a->metric != b->metric ? a->metric < b->metric : a->index < b->index;
}

/* What its driver calls the link INDEX. sysfs may be another namespace's: then what stands there is not taken for ours. */
static void read_devtype(const char *name, int index, char *ret, size_t size)
{
	_cleanup_free_ char *path = text_format("/sys/class/net/%s/uevent", name);
	_cleanup_free_ char *text = NULL;
	_cleanup_free_ char *same = text_format("IFINDEX=%d\n", index);
	size_t length;
	ret[0] = 0;
	if (file_read(path, &text, &length) < 0 || !strstr(text, same))
		return;
	const char *devtype = strstr(text, "DEVTYPE=");
	if (devtype)
		snprintf(ret, size, "%.*s", (int)strcspn(devtype + 8, "\n"), devtype + 8);
}

static void find_primary(const struct reading *reading, struct network_state *state)
{
	const struct known_default *best = NULL;
	const char *name;
	char devtype[32];
	for (size_t i = 0; i < reading->default_count; i++)
		if (counts(reading, reading->defaults[i].index, &name) && (!best || is_better(&reading->defaults[i], best)))
			best = &reading->defaults[i];
	if (!best)
		return;
	const struct link_facts *link = find_link(reading, best->index);
	memcpy(state->primary, link->name, IFNAMSIZ);
	state->primary_index = link->index;
	read_devtype(link->name, link->index, devtype, sizeof devtype);
	state->primary_type = link_type_of(link, devtype);
}

/* Whether UPPER is found only now to lead where UNDER leads: out. */
static bool leads_out(struct link_facts *upper, const struct link_facts *under)
{
	if (!upper || !under || upper->stacked || link_classify(under) != LINK_CLASS_UPLINK)
		return false;
	upper->stacked = true;
	return true;
}

static void find_stacked(struct reading *reading)
{
	for (bool more = true; more;) {
		more = false;
		for (size_t i = 0; i < reading->link_count; i++) {
			struct link_facts *link = &reading->links[i];
			if (link->lower)
				more |= leads_out(link, find_link(reading, link->lower));
			if (link->master)
				more |= leads_out(find_link(reading, link->master), link);
		}
	}
}

static void derive(struct network_monitor *monitor)
{
	struct reading *reading = &monitor->reading;
	memset(&monitor->state, 0, sizeof monitor->state);
	for (size_t i = 0; i < reading->link_count; i++) {
		reading->links[i].named = is_named(monitor, reading->links[i].name);
		reading->links[i].carried |= has_default(reading, reading->links[i].index);
		reading->links[i].stacked = false;
	}
	find_stacked(reading);
	gather_links(reading, &monitor->state);
	gather_attached(reading, &monitor->state);
	monitor->state.fingerprint = fingerprint(reading);
	find_primary(reading, &monitor->state);
}

/* An error leaves the old reading, and says so: what is not known is not invented. */
static int refresh(struct network_monitor *monitor)
{
	struct reading reading = {};
	int r = take_reading(monitor->query, &reading);
	if (r < 0) {
		reading_done(&reading);
		return r;
	}
	for (size_t i = 0; i < reading.link_count; i++) {
		const struct link_facts *before = find_link(&monitor->reading, reading.links[i].index);
		reading.links[i].carried = before && before->carried;
	}
	reading_done(&monitor->reading);
	monitor->reading = reading;
	monitor->stale = false;
	derive(monitor);
	return 0;
}

static bool state_equal(const struct network_state *a, const struct network_state *b)
{
	if (a->available != b->available || a->fingerprint != b->fingerprint || a->primary_index != b->primary_index ||
		a->primary_type != b->primary_type || strcmp(a->primary, b->primary) != 0 || a->uplink_count != b->uplink_count ||
		a->local_link_count != b->local_link_count || a->attached_count != b->attached_count)
		return false;
	for (size_t i = 0; i < a->attached_count; i++)
		if (compare_attached(&a->attached[i], &b->attached[i]) != 0)
			return false;
	return memcmp(a->uplinks, b->uplinks, a->uplink_count * IFNAMSIZ) == 0 &&
	       memcmp(a->local_links, b->local_links, a->local_link_count * IFNAMSIZ) == 0;
}

/* ---- own links ---- */

static void set_presence(struct network_monitor *monitor, size_t i, enum link_presence presence)
{
	struct own_link own = monitor->own[i];
	if (own.presence == presence)
		return;
	monitor->own[i].presence = presence;
	monitor->touched = true; /* IPv4 routes go with the link, unannounced */
	if (presence == LINK_ABSENT)
		monitor->own[i] = monitor->own[--monitor->own_count];
	if (monitor->callbacks.link && strcmp(own.name, NETWORK_SINK) != 0)
		monitor->callbacks.link(own.name, presence, monitor->userdata);
}

/* A link of another name with the same index was renamed: for us it is gone. */
static void forget_index(struct network_monitor *monitor, int index, const char *but)
{
	for (size_t i = 0; i < monitor->own_count; i++)
		if (monitor->own[i].index == index && (!but || strcmp(monitor->own[i].name, but) != 0)) {
			set_presence(monitor, i, LINK_ABSENT);
			return;
		}
}

static void note_own_link(struct network_monitor *monitor, const struct link_facts *link)
{
	enum link_presence presence = link->flags & IFF_UP ? LINK_UP : LINK_DOWN;
	forget_index(monitor, link->index, link->name);
	if (!link_is_own(link->name))
		return;
	size_t i = 0;
	while (i < monitor->own_count && monitor->own[i].index != link->index)
		i++;
	if (i == monitor->own_count) {
		struct own_link *own = append(&monitor->own, &monitor->own_count, sizeof *own);
		own->index = link->index;
		memcpy(own->name, link->name, IFNAMSIZ);
		own->presence = LINK_ABSENT;
	}
	set_presence(monitor, i, presence);
}

/* After messages were lost: what the reading has, and what it no longer has. */
static void compare_own_links(struct network_monitor *monitor)
{
	for (size_t i = monitor->own_count; i-- > 0;)
		if (i < monitor->own_count && !find_link(&monitor->reading, monitor->own[i].index))
			set_presence(monitor, i, LINK_ABSENT);
	for (size_t i = 0; i < monitor->reading.link_count; i++)
		note_own_link(monitor, &monitor->reading.links[i]);
}

/* ---- hearing ---- */

static void hear_link(struct network_monitor *monitor, const struct nlmsghdr *message)
{
	const struct ifinfomsg *header = NLMSG_DATA(message);
	struct link_facts facts;
	/* A bridge announces its ports with the same messages: those are not the links themselves. */
	if (header->ifi_family != AF_UNSPEC || parse_link(message, &facts) < 0)
		return;
	if (!link_is_own(facts.name))
		monitor->stale = true;
	if (strcmp(facts.name, NETWORK_SINK) == 0)
		monitor->touched = true; /* a reader changes its carrier only */
	if (message->nlmsg_type == RTM_DELLINK)
		forget_index(monitor, facts.index, NULL);
	else
		note_own_link(monitor, &facts);
}

static void hear_route(struct network_monitor *monitor, const struct nlmsghdr *message)
{
	const struct rtmsg *header = NLMSG_DATA(message);
	struct nlattr *table[RTA_MAX + 1];
	if (parse_default(message, table))
		monitor->stale = true;
	uint32_t number = table[RTA_TABLE] ? nla_get_u32(table[RTA_TABLE]) : header->rtm_table;
	if (number == ROUTING_TABLE)
		monitor->touched = true;
}

static void hear_rule(struct network_monitor *monitor, const struct nlmsghdr *message)
{
	const struct nlattr *attribute = nlmsg_find_attr((struct nlmsghdr *)message, sizeof(struct fib_rule_hdr), FRA_PRIORITY);
	uint32_t priority = attribute ? nla_get_u32(attribute) : 0;
	if (priority >= ROUTING_PRIORITY && priority <= ROUTING_PRIORITY_LAST)
		monitor->touched = true;
}

static void hear(struct network_monitor *monitor, const struct nlmsghdr *message)
{
	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		if (message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg)))
			hear_link(monitor, message);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		monitor->stale = true;
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg)))
			hear_route(monitor, message);
		break;
	case RTM_NEWRULE:
	case RTM_DELRULE:
		if (message->nlmsg_len >= NLMSG_LENGTH(sizeof(struct fib_rule_hdr)))
			hear_rule(monitor, message);
		break;
	case RTM_NEWNETCONF: /* a setting under net/ipv?/conf changed */
		monitor->touched = true;
		break;
	}
}

/* Reads one datagram. 0: there was none. -ENOBUFS: some were lost. */
static ssize_t receive(struct network_monitor *monitor, char *buffer)
{
	struct sockaddr_nl from;
	socklen_t size = sizeof from;
	for (;;) {
		ssize_t got = recvfrom(monitor->fd, buffer, MESSAGE_MAX, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
		if (got >= 0 && from.nl_pid != 0)
			continue; /* not the kernel */
		if (got >= 0)
			return got;
		if (errno != EINTR)
			return errno == EAGAIN ? 0 : -errno;
	}
}

/* Everything is read anew, until nothing was announced meanwhile: old news must not undo what is known. */
static int resync(struct network_monitor *monitor)
{
	_cleanup_free_ char *buffer = xcalloc(1, MESSAGE_MAX);
	bool quiet = false;
	int r = 0;
	for (unsigned i = 0; r == 0 && !quiet && i < RESYNC_TRIES; i++) {
		while (receive(monitor, buffer) != 0)
			;
		r = refresh(monitor);
		quiet = recv(monitor->fd, buffer, MESSAGE_MAX, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
	}
	return r;
}

static void schedule_flush(struct network_monitor *monitor)
{
	if (sd_event_source_set_enabled(monitor->flush, SD_EVENT_ONESHOT) < 0)
		log_error("The network's changes cannot be told.");
}

static int on_heard(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct network_monitor *monitor = userdata;
	_cleanup_free_ char *buffer = xcalloc(1, MESSAGE_MAX);
	for (unsigned i = 0; i < MESSAGES_PER_TURN; i++) {
		ssize_t got = receive(monitor, buffer);
		if (got == 0)
			break;
		if (got < 0) {
			monitor->touched = monitor->stale = true;
			if (resync(monitor) == 0)
				compare_own_links(monitor);
			break;
		}
		int left = (int)got;
		for (struct nlmsghdr *message = (struct nlmsghdr *)buffer; nlmsg_ok(message, left);
			message = nlmsg_next(message, &left))
			hear(monitor, message);
	}
	if (monitor->touched && monitor->callbacks.routing_touched)
		monitor->callbacks.routing_touched(monitor->userdata);
	monitor->touched = false;
	schedule_flush(monitor);
	return 0;
}

static int on_flush(sd_event_source *source, void *userdata)
{
	struct network_monitor *monitor = userdata;
	int r = monitor->stale ? refresh(monitor) : 0;
	if (r < 0)
		log_warning("The network's state cannot be read: %s", strerror(-r));
	if (state_equal(&monitor->state, &monitor->told))
		return 0;
	monitor->told = monitor->state;
	if (monitor->callbacks.changed)
		monitor->callbacks.changed(&monitor->told, monitor->userdata);
	return 0;
}

/* ---- the public calls ---- */

/* Of the settings that the second layer holds, the kernel announces all but this one. */
#define UNANNOUNCED "/proc/sys/net/ipv4/conf/all/arp_ignore"

static int on_setting(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
	struct network_monitor *monitor = userdata;
	if (monitor->callbacks.routing_touched)
		monitor->callbacks.routing_touched(monitor->userdata);
	return 0;
}

static int open_events(void)
{
	static const int groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
		RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF};
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	int size = RECEIVE_BUFFER;
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	for (size_t i = 0; i < ELEMENTSOF(groups); i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof groups[i]) < 0)
			return -errno;
	return STEAL_FD(fd);
}

struct network_monitor *network_monitor_free(struct network_monitor *monitor)
{
	if (!monitor)
		return NULL;
	sd_event_source_disable_unref(monitor->flush);
	sd_event_source_disable_unref(monitor->setting);
	sd_event_source_disable_unref(monitor->heard);
	closep(&monitor->fd);
	netlink_free(monitor->query);
	reading_done(&monitor->reading);
	free(monitor->own);
	free(monitor->named);
	free(monitor);
	return NULL;
}
DEFINE_CLEANUP(struct network_monitor *, network_monitor_free)

int network_monitor_new(struct network_monitor **ret, sd_event *event, const struct network_callbacks *callbacks, void *userdata)
{
	_cleanup_(network_monitor_freep) struct network_monitor *monitor = xcalloc(1, sizeof *monitor);
	monitor->fd = open_events();
	if (monitor->fd < 0)
		return monitor->fd;
	int r = netlink_new(&monitor->query, NETLINK_ROUTE);
	if (r == 0)
		r = resync(monitor);
	if (r < 0)
		return r;
	compare_own_links(monitor); /* before there are callbacks */
	monitor->touched = false;
	monitor->told = monitor->state;
	monitor->callbacks = *callbacks;
	monitor->userdata = userdata;
	if (sd_event_add_inotify(event, &monitor->setting, UNANNOUNCED, IN_MODIFY, on_setting, monitor) < 0)
		log_debug("changes of %s are not heard", UNANNOUNCED);
	r = sd_event_add_io(event, &monitor->heard, monitor->fd, EPOLLIN, on_heard, monitor);
	if (r >= 0)
		r = sd_event_add_defer(event, &monitor->flush, on_flush, monitor);
	if (r >= 0)
		r = sd_event_source_set_enabled(monitor->flush, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = STEAL(monitor);
	return 0;
}

void network_monitor_set_named_uplinks(struct network_monitor *monitor, const char (*names)[IFNAMSIZ], size_t count)
{
	free(monitor->named);
	monitor->named = xcalloc(count, IFNAMSIZ);
	monitor->named_count = count;
	if (count > 0)
		memcpy(monitor->named, names, count * IFNAMSIZ);
	derive(monitor);
	schedule_flush(monitor);
}

const struct network_state *network_monitor_state(const struct network_monitor *monitor)
{
	return &monitor->state;
}

enum link_presence network_monitor_link(const struct network_monitor *monitor, const char *interface)
{
	for (size_t i = 0; i < monitor->own_count; i++)
		if (strcmp(monitor->own[i].name, interface) == 0)
			return monitor->own[i].presence;
	return LINK_ABSENT;
}

/* The link that a lookup's answer leads to; 0 where it leads nowhere, or stays here. */
static int read_lookup(const struct nlmsghdr *message, void *userdata)
{
	const struct rtmsg *header = NLMSG_DATA(message);
	const struct nlattr *index = nlmsg_find_attr((struct nlmsghdr *)message, sizeof *header, RTA_OIF);
	if (header->rtm_type == RTN_UNICAST && index)
		*(int *)userdata = (int)nla_get_u32(index);
	return 0;
}

const char *network_monitor_whose(const struct network_monitor *monitor, const struct ip_address *address)
{
	const struct reading *reading = &monitor->reading;
	for (size_t i = 0; i < reading->address_count; i++) {
		const struct link_facts *link = find_link(reading, reading->addresses[i].index);
		if (ip_address_equal(&reading->addresses[i].prefix.address, address) && !(link && link_is_own(link->name)))
			return "the host's own";
	}
	for (size_t i = 0; i < reading->default_count; i++)
		if (ip_address_equal(&reading->defaults[i].gateway, address))
			return "that of the host's router";
	return NULL;
}

bool network_has_route(struct network_monitor *monitor, const struct ip_address *address, uint32_t mark)
{
	uint8_t bits = ip_address_bits(address);
	struct rtmsg header = {.rtm_family = (uint8_t)address->family, .rtm_dst_len = bits};
	struct nl_msg *message = netlink_message(RTM_GETROUTE, 0, &header, sizeof header);
	int index = 0;
	const char *name;
	nla_put(message, RTA_DST, bits / 8, address->bytes);
	nla_put_u32(message, RTA_MARK, mark);
	return netlink_call(monitor->query, message, read_lookup, &index) == 0 && counts(&monitor->reading, index, &name);
}
