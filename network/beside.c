/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/beside.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <string.h>

#include "network/fib.h"
#include "network/netlink.h"
#include "network/routing.h"
#include "util/text.h"

#define PROCESSES_MAX	4096  /* that are looked through for the holders of packet sockets … */
#define DESCRIPTORS_MAX 16384 /* … and their descriptors, all together */

/* ---- links ---- */

struct present_link {
	struct link_facts facts;
	int lower, master;
	bool elsewhere; /* `lower` is an index in another namespace */
};

struct links {
	struct present_link *items;
	size_t count;
};

static void reset_links(void *userdata)
{
	((struct links *)userdata)->count = 0;
}

static int read_link(const struct nlmsghdr *message, void *userdata)
{
	struct links *links = userdata;
	const struct ifinfomsg *header = NLMSG_DATA(message);
	struct nlattr *table[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	if (nlmsg_parse((struct nlmsghdr *)message, sizeof *header, table, IFLA_MAX, NULL) < 0 || !table[IFLA_IFNAME])
		return -EBADMSG;
	struct present_link link = {
		.facts = {.index = header->ifi_index, .flags = header->ifi_flags, .hardware = header->ifi_type, .has_parent = table[IFLA_PARENT_DEV_NAME]},
		.lower = table[IFLA_LINK] ? (int)nla_get_u32(table[IFLA_LINK]) : 0,
		.master = table[IFLA_MASTER] ? (int)nla_get_u32(table[IFLA_MASTER]) : 0,
		.elsewhere = table[IFLA_LINK_NETNSID],
	};
	nla_strlcpy(link.facts.name, table[IFLA_IFNAME], sizeof link.facts.name);
	if (table[IFLA_LINKINFO] && nla_parse_nested(info, IFLA_INFO_MAX, table[IFLA_LINKINFO], NULL) >= 0 && info[IFLA_INFO_KIND])
		nla_strlcpy(link.facts.kind, info[IFLA_INFO_KIND], sizeof link.facts.kind);
	links->items = xrealloc(links->items, (links->count + 1) * sizeof link);
	links->items[links->count++] = link;
	return 0;
}

static struct nl_msg *ask_links(const void *argument)
{
	struct ifinfomsg header = {};
	return netlink_message(RTM_GETLINK, NLM_F_DUMP, &header, sizeof header);
}

static bool is_uplink(const struct network_state *state, const char *name)
{
	for (size_t i = 0; i < state->uplink_count; i++)
		if (strcmp(state->uplinks[i], name) == 0)
			return true;
	return false;
}

static const char *name_of(const struct links *links, int index)
{
	for (size_t i = 0; index && i < links->count; i++)
		if (links->items[i].facts.index == index)
			return links->items[i].facts.name;
	return "";
}

static bool is_bridge(const struct links *links, int index)
{
	for (size_t i = 0; index && i < links->count; i++)
		if (links->items[i].facts.index == index)
			return strcmp(links->items[i].facts.kind, "bridge") == 0;
	return false;
}

/* A port that is an uplink by its own nature, of that bridge; "" where it has none. */
static const char *uplink_of_bridge(const struct links *links, const struct network_state *state, int bridge)
{
	for (size_t i = 0; i < links->count; i++)
		if (links->items[i].master == bridge && is_uplink(state, links->items[i].facts.name))
			return links->items[i].facts.name;
	return "";
}

static unsigned count_functions(const char *name)
{
	_cleanup_free_ char *path = text_format("/sys/class/net/%s/device/sriov_numvfs", name);
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	unsigned count = 0;
	return file && fscanf(file, "%u", &count) == 1 ? count : 0;
}

static bool shares_its_lower(const char *kind)
{
	static const char *const kinds[] = {"macvlan", "macvtap", "ipvlan", "ipvtap"};
	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		if (strcmp(kinds[i], kind) == 0)
			return true;
	return false;
}

/* False: it is nothing to tell of. */
static bool describe(const struct links *links, const struct network_state *state, const struct present_link *link, struct beside_link *ret)
{
	bool uplink = is_uplink(state, link->facts.name);
	const char *lower = link->elsewhere ? "" : name_of(links, link->lower);
	*ret = (struct beside_link){.functions = uplink ? count_functions(link->facts.name) : 0};
	memcpy(ret->link, link->facts.name, sizeof ret->link);
	memcpy(ret->type, link->facts.kind, sizeof ret->type);
	if (shares_its_lower(link->facts.kind) && is_uplink(state, lower)) {
		ret->kind = BESIDE_LOWER;
		snprintf(ret->uplink, sizeof ret->uplink, "%s", lower);
	} else if (!uplink && is_bridge(links, link->master) && uplink_of_bridge(links, state, link->master)[0]) {
		ret->kind = BESIDE_PORT;
		snprintf(ret->uplink, sizeof ret->uplink, "%s", uplink_of_bridge(links, state, link->master));
		snprintf(ret->bridge, sizeof ret->bridge, "%s", name_of(links, link->master));
	} else if (link_classify(&link->facts) == LINK_CLASS_TUNNEL && link->facts.flags & IFF_UP && !uplink) {
		ret->kind = BESIDE_TUNNEL;
	} else if (ret->functions > 0) {
		ret->kind = BESIDE_FUNCTIONS;
	} else {
		return false;
	}
	return true;
}

int beside_links(const struct network_state *state, struct beside_link *ret, size_t max, size_t *ret_count)
{
	static const struct netlink_dump dump = {ask_links, reset_links, read_link};
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	struct links links = {};
	size_t count = 0;
	int r = netlink_new(&netlink, NETLINK_ROUTE);
	if (r == 0)
		r = netlink_dump(netlink, &dump, NULL, &links);
	for (size_t i = 0; r == 0 && i < links.count; i++) {
		struct beside_link found;
		if (!describe(&links, state, &links.items[i], &found))
			continue;
		if (count < max)
			ret[count] = found;
		count++;
	}
	free(links.items);
	if (r == 0)
		*ret_count = count;
	return r;
}

/* ---- rules ---- */

/* The kernel's own are those of its tables `local` and, behind ours, `main` and `default`. */
static bool stands_before(const struct fib_rule *rule)
{
	bool local = rule->priority == 0 && rule->table == RT_TABLE_LOCAL && !rule->odd;
	return rule->priority < ROUTING_PRIORITY && rule->protocol != FIB_PROTOCOL && !local;
}

int beside_rules(struct beside_rule *ret, size_t max, size_t *ret_count)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	_cleanup_fib_ struct fib fib = {};
	size_t count = 0;
	int r = netlink_new(&netlink, NETLINK_ROUTE);
	if (r == 0)
		r = fib_read_rules(netlink, AF_INET, &fib);
	if (r == 0)
		r = fib_read_rules(netlink, AF_INET6, &fib);
	for (size_t i = 0; r == 0 && i < fib.rule_count; i++) {
		const struct fib_rule *rule = &fib.rules[i];
		if (!stands_before(rule))
			continue;
		if (count < max)
			ret[count] = (struct beside_rule){rule->family, rule->priority, rule->table};
		count++;
	}
	if (r == 0)
		*ret_count = count;
	return r;
}

/* ---- IPsec ---- */

static int read_policies(const struct nlmsghdr *message, void *userdata)
{
	struct nlattr *table[XFRMA_SPD_MAX + 1];
	struct xfrmu_spdinfo info = {};
	if (message->nlmsg_type != XFRM_MSG_NEWSPDINFO || nlmsg_parse((struct nlmsghdr *)message, sizeof(uint32_t), table, XFRMA_SPD_MAX, NULL) < 0)
		return -EBADMSG;
	if (table[XFRMA_SPD_INFO])
		nla_memcpy(&info, table[XFRMA_SPD_INFO], sizeof info);
	*(unsigned *)userdata = info.incnt + info.outcnt + info.fwdcnt;
	return 0;
}

int beside_ipsec_policies(unsigned *ret)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	uint32_t flags = UINT32_MAX; /* as ip(8) asks */
	int r = netlink_new(&netlink, NETLINK_XFRM);
	if (r == -EPROTONOSUPPORT) { /* a kernel without IPsec has no policies */
		*ret = 0;
		return 0;
	}
	return r < 0 ? r : netlink_call(netlink, netlink_message(XFRM_MSG_GETSPDINFO, 0, &flags, sizeof flags), read_policies, ret);
}

/* ---- packet sockets ---- */

static bool same_holder(const struct beside_packet_socket *a, const struct beside_packet_socket *b)
{
	return a->pid && a->pid == b->pid && strcmp(a->link, b->link) == 0;
}

static struct beside_packet_socket *find_socket(struct beside_packet_socket *sockets, size_t count, const char *target)
{
	uint64_t inode;
	if (sscanf(target, "socket:[%" SCNu64 "]", &inode) != 1)
		return NULL;
	for (size_t i = 0; i < count; i++)
		if (sockets[i].inode == inode)
			return &sockets[i];
	return NULL;
}

static void note_holder(struct beside_packet_socket *socket, const char *pid)
{
	_cleanup_free_ char *path = text_format("/proc/%s/comm", pid);
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	if (socket->pid)
		return;
	socket->pid = (pid_t)strtol(pid, NULL, 10);
	if (file && fgets(socket->process, sizeof socket->process, file))
		socket->process[strcspn(socket->process, "\n")] = 0;
}

/* Looks through the descriptors of process PID, at most *LEFT of all. What may not be looked at holds nothing that is known. */
static void look_into(const char *pid, struct beside_packet_socket *sockets, size_t count, unsigned *left)
{
	_cleanup_free_ char *path = text_format("/proc/%s/fd", pid);
	DIR *folder = opendir(path);
	for (struct dirent *entry; folder && *left > 0 && (entry = readdir(folder)); --*left) {
		char target[64] = "";
		if (readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) <= 0)
			continue;
		struct beside_packet_socket *socket = find_socket(sockets, count, target);
		if (socket)
			note_holder(socket, pid);
	}
	if (folder)
		closedir(folder);
}

static void find_holders(struct beside_packet_socket *sockets, size_t count)
{
	unsigned processes = PROCESSES_MAX, descriptors = DESCRIPTORS_MAX;
	DIR *folder = opendir("/proc");
	for (struct dirent *entry; folder && processes > 0 && descriptors > 0 && (entry = readdir(folder));)
		if (isdigit((unsigned char)entry->d_name[0])) {
			look_into(entry->d_name, sockets, count, &descriptors);
			processes--;
		}
	if (folder)
		closedir(folder);
}

/* sk, references, type, protocol, index of the link, running, memory, user, inode. */
static bool read_socket(const char *line, struct beside_packet_socket *ret)
{
	int index;
	unsigned uid;
	*ret = (struct beside_packet_socket){};
	if (sscanf(line, "%*s %*s %*s %*s %d %*s %*s %u %" SCNu64, &index, &uid, &ret->inode) != 3)
		return false;
	ret->uid = uid;
	if (index && !if_indextoname((unsigned)index, ret->link))
		snprintf(ret->link, sizeof ret->link, "#%d", index);
	return true;
}

static size_t drop_repeated(struct beside_packet_socket *sockets, size_t count)
{
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		bool repeated = false;
		for (size_t k = 0; k < kept; k++)
			repeated |= same_holder(&sockets[k], &sockets[i]);
		if (!repeated)
			sockets[kept++] = sockets[i];
	}
	return kept;
}

int beside_packet_sockets(struct beside_packet_socket *ret, size_t max, size_t *ret_count, size_t *ret_more)
{
	_cleanup_fclose_ FILE *file = fopen("/proc/self/net/packet", "re");
	char line[256];
	size_t count = 0, beyond = 0;
	if (!file)
		return -errno;
	for (bool heading = true; fgets(line, sizeof line, file); heading = false) {
		if (heading)
			continue;
		if (count == max)
			beyond++;
		else
			count += read_socket(line, &ret[count]);
	}
	if (count > 0)
		find_holders(ret, count);
	*ret_count = drop_repeated(ret, count);
	*ret_more = beyond;
	return 0;
}
