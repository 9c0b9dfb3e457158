/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Links by rtnetlink, TUN devices by /dev/net/tun. A link of ours says nothing by itself: the kernel makes no link-local address on
 * it (IFLA_INET6_ADDR_GEN_MODE none), so no router solicitation leaves before somebody decided that something may. Each function
 * opens its own socket: they are called at starts and stops, and hold no state between.
 */

#include "network/link.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/ioctl.h>

#include "network/netlink.h"
#include "network/sysctl.h"
#include "util/text.h"

bool link_is_own(const char *name)
{
	size_t length = strlen(name);
	if (length >= IFNAMSIZ || strchr(name, '/'))
		return false;
	return strcmp(name, NETWORK_SINK) == 0 || (strncmp(name, NETWORK_PREFIX, strlen(NETWORK_PREFIX)) == 0 &&
						    length > strlen(NETWORK_PREFIX));
}

static struct nl_msg *link_message(int type, const char *name, unsigned flags, unsigned change)
{
	struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_flags = flags, .ifi_change = change};
	struct nl_msg *message = netlink_message(type, 0, &header, sizeof header);
	nla_put_string(message, IFLA_IFNAME, name);
	return message;
}

/* One link's answer, taken apart: its status and counters. */
struct link_answer {
	struct link_status status;
	struct rtnl_link_stats64 statistics;
};

static bool is_kind(const struct ifinfomsg *header, struct nlattr *info, const char *kind)
{
	struct nlattr *table[IFLA_INFO_MAX + 1];
	if (header->ifi_type != ARPHRD_NONE || !info || nla_parse_nested(table, IFLA_INFO_MAX, info, NULL) < 0)
		return false;
	return table[IFLA_INFO_KIND] && nla_strcmp(table[IFLA_INFO_KIND], kind) == 0;
}

static int read_link(const struct nlmsghdr *message, void *userdata)
{
	struct link_answer *answer = userdata;
	const struct ifinfomsg *header = NLMSG_DATA(message);
	struct nlattr *table[IFLA_MAX + 1];
	if (message->nlmsg_type != RTM_NEWLINK || nlmsg_parse((struct nlmsghdr *)message, sizeof *header, table, IFLA_MAX, NULL) < 0)
		return -EBADMSG;
	answer->status = (struct link_status){
		.index = header->ifi_index,
		.mtu = table[IFLA_MTU] ? nla_get_u32(table[IFLA_MTU]) : 0,
		.up = header->ifi_flags & IFF_UP,
		.carrier = table[IFLA_CARRIER] && nla_get_u8(table[IFLA_CARRIER]),
		.is_tun = is_kind(header, table[IFLA_LINKINFO], "tun"),
		.is_wireguard = is_kind(header, table[IFLA_LINKINFO], "wireguard"),
	};
	if (table[IFLA_STATS64])
		nla_memcpy(&answer->statistics, table[IFLA_STATS64], sizeof answer->statistics);
	return 0;
}

static int get_link(struct netlink *netlink, const char *name, struct link_answer *ret)
{
	*ret = (struct link_answer){};
	if (strlen(name) >= IFNAMSIZ)
		return -ENODEV;
	return netlink_call(netlink, link_message(RTM_GETLINK, name, 0, 0), read_link, ret);
}

int link_query(const char *name, struct link_status *ret)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	struct link_answer answer;
	int r = netlink_new(&netlink, NETLINK_ROUTE);
	if (r == 0)
		r = get_link(netlink, name, &answer);
	if (r == 0)
		*ret = answer.status;
	return r;
}

int link_counters(const char *name, uint64_t *ret_rx_bytes, uint64_t *ret_tx_bytes)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	struct link_answer answer;
	int r = netlink_new(&netlink, NETLINK_ROUTE);
	if (r == 0)
		r = get_link(netlink, name, &answer);
	if (r < 0)
		return r;
	*ret_rx_bytes = answer.statistics.rx_bytes;
	*ret_tx_bytes = answer.statistics.tx_bytes;
	return 0;
}

/* No addresses but ours. A kernel without IPv6 has none to give. */
static int silence(struct netlink *netlink, const char *name)
{
	struct nl_msg *message = link_message(RTM_NEWLINK, name, 0, 0);
	struct nlattr *families = nla_nest_start(message, IFLA_AF_SPEC), *v6 = nla_nest_start(message, AF_INET6);
	nla_put_u8(message, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	nla_nest_end(message, v6);
	nla_nest_end(message, families);
	int r = netlink_call(netlink, message, NULL, NULL);
	return r == -EAFNOSUPPORT || r == -EOPNOTSUPP ? 0 : r;
}

int link_open_tun(const char *name, uid_t owner, bool with_header, int *ret_fd)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	struct link_answer answer;
	struct ifreq request = {.ifr_flags = (short)(IFF_TUN | (with_header ? 0 : IFF_NO_PI))};
	if (!link_is_own(name))
		return -EPERM;
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = netlink_new(&netlink, NETLINK_ROUTE);
	if (r < 0)
		return r;
	r = get_link(netlink, name, &answer);
	if (r < 0 && r != -ENODEV)
		return r;
	if (r == 0 && !answer.status.is_tun)
		return -EEXIST;
	memcpy(request.ifr_name, name, strlen(name));
	if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETPERSIST, 1UL) < 0 || ioctl(fd, TUNSETOWNER, (unsigned long)owner) < 0)
		return -errno;
	r = silence(netlink, name);
	if (r < 0)
		return r;
	*ret_fd = STEAL_FD(fd);
	return 0;
}

/* The addresses of one link, as the kernel has them. */
struct address_list {
	int index;
	struct ip_prefix *items;
	size_t count;
};

static void address_list_done(struct address_list *list)
{
	free(list->items);
}

static void reset_addresses(void *userdata)
{
	((struct address_list *)userdata)->count = 0;
}

static struct nl_msg *address_message(int type, int flags, int index, const struct ip_prefix *prefix)
{
	struct ifaddrmsg header = {.ifa_index = (unsigned)index};
	if (prefix) {
		header.ifa_family = (uint8_t)prefix->address.family;
		header.ifa_prefixlen = prefix->length;
	}
	return netlink_message(type, flags, &header, sizeof header);
}

static struct nl_msg *ask_addresses(const void *argument)
{
	return address_message(RTM_GETADDR, NLM_F_DUMP, *(const int *)argument, NULL);
}

static int read_address(const struct nlmsghdr *message, void *userdata)
{
	struct address_list *list = userdata;
	const struct ifaddrmsg *header = NLMSG_DATA(message);
	struct nlattr *table[IFA_MAX + 1];
	if (message->nlmsg_type != RTM_NEWADDR || nlmsg_parse((struct nlmsghdr *)message, sizeof *header, table, IFA_MAX, NULL) < 0)
		return -EBADMSG;
	struct nlattr *local = table[IFA_LOCAL] ? table[IFA_LOCAL] : table[IFA_ADDRESS];
	if ((int)header->ifa_index != list->index || !local || (header->ifa_family != AF_INET && header->ifa_family != AF_INET6))
		return 0;
	struct ip_prefix prefix = {.address.family = header->ifa_family, .length = header->ifa_prefixlen};
	nla_memcpy(prefix.address.bytes, local, ip_address_bits(&prefix.address) / 8);
	list->items = xrealloc(list->items, (list->count + 1) * sizeof prefix);
	list->items[list->count++] = prefix;
	return 0;
}

static int get_addresses(struct netlink *netlink, struct address_list *list)
{
	static const struct netlink_dump dump = {ask_addresses, reset_addresses, read_address};
	return netlink_dump(netlink, &dump, &list->index, list);
}

static bool contains(const struct ip_prefix *items, size_t count, const struct ip_prefix *prefix)
{
	for (size_t i = 0; i < count; i++)
		if (ip_prefix_equal(&items[i], prefix))
			return true;
	return false;
}

static int change_address(struct netlink *netlink, int type, int index, const struct ip_prefix *prefix)
{
	static const uint8_t v6_link_local[] = {0xfe, 0x80};
	bool add = type == RTM_NEWADDR, v6 = prefix->address.family == AF_INET6;
	struct nl_msg *message = address_message(type, add ? NLM_F_CREATE | NLM_F_EXCL : 0, index, prefix);
	struct ifaddrmsg *header = nlmsg_data(nlmsg_hdr(message));
	/* A link-local address is no source for anything but its own link; for IPv6 the kernel sees that by itself. */
	if (!v6 && prefix->address.bytes[0] == 169 && prefix->address.bytes[1] == 254)
		header->ifa_scope = RT_SCOPE_LINK;
	if (v6 && memcmp(prefix->address.bytes, v6_link_local, sizeof v6_link_local) == 0)
		header->ifa_scope = RT_SCOPE_LINK;
	nla_put(message, IFA_LOCAL, ip_address_bits(&prefix->address) / 8, prefix->address.bytes);
	nla_put(message, IFA_ADDRESS, ip_address_bits(&prefix->address) / 8, prefix->address.bytes);
	if (add)
		nla_put_u32(message, IFA_FLAGS, IFA_F_NOPREFIXROUTE | (v6 ? IFA_F_NODAD : 0) | IFA_F_PERMANENT);
	int r = netlink_call(netlink, message, NULL, NULL);
	return (add && r == -EEXIST) || (!add && r == -EADDRNOTAVAIL) ? 0 : r;
}

static int add_missing(struct netlink *netlink, const struct address_list *present, const struct link_settings *settings)
{
	for (size_t i = 0; i < settings->address_count; i++) {
		if (contains(present->items, present->count, &settings->addresses[i]))
			continue;
		int r = change_address(netlink, RTM_NEWADDR, present->index, &settings->addresses[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* New addresses come before old ones go. Adding is done twice: IPv4 deletes secondary addresses together with their primary. */
static int set_addresses(struct netlink *netlink, int index, const struct link_settings *settings)
{
	_cleanup_(address_list_done) struct address_list present = {.index = index};
	int r = get_addresses(netlink, &present);
	if (r == 0)
		r = add_missing(netlink, &present, settings);
	bool removed = false;
	for (size_t i = 0; r == 0 && i < present.count; i++) {
		if (contains(settings->addresses, settings->address_count, &present.items[i]))
			continue;
		r = change_address(netlink, RTM_DELADDR, index, &present.items[i]);
		removed = true;
	}
	if (r < 0 || !removed)
		return r;
	r = get_addresses(netlink, &present);
	return r < 0 ? r : add_missing(netlink, &present, settings);
}

/* A host that disables IPv6 for its links would refuse our addresses and catch-alls: on our own links it is on. */
static int enable_ipv6(const char *name, const struct link_settings *settings)
{
	for (size_t i = 0; i < settings->address_count; i++) {
		if (settings->addresses[i].address.family != AF_INET6)
			continue;
		_cleanup_free_ char *path = text_format("net/ipv6/conf/%s/disable_ipv6", name);
		return sysctl_write(path, 0);
	}
	return 0;
}

int link_configure(const char *name, const struct link_settings *settings)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	struct link_answer answer;
	if (!link_is_own(name))
		return -EPERM;
	int r = netlink_new(&netlink, NETLINK_ROUTE);
	if (r == 0)
		r = get_link(netlink, name, &answer);
	if (r < 0)
		return r;
	if (settings->mtu != 0 && settings->mtu != answer.status.mtu) {
		struct nl_msg *message = link_message(RTM_NEWLINK, name, 0, 0);
		nla_put_u32(message, IFLA_MTU, settings->mtu);
		r = netlink_call(netlink, message, NULL, NULL);
		if (r < 0)
			return r;
	}
	r = enable_ipv6(name, settings);
	if (r == 0)
		r = set_addresses(netlink, answer.status.index, settings);
	if (r == 0 && settings->up != answer.status.up)
		r = netlink_call(netlink, link_message(RTM_NEWLINK, name, settings->up ? IFF_UP : 0, IFF_UP), NULL, NULL);
	return r;
}

int link_remove(const char *name)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	if (!link_is_own(name))
		return -EPERM;
	int r = netlink_new(&netlink, NETLINK_ROUTE);
	if (r == 0)
		r = netlink_call(netlink, link_message(RTM_DELLINK, name, 0, 0), NULL, NULL);
	return r == -ENODEV ? 0 : r;
}
