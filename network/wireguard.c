/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The kernel's WireGuard. The family's number differs from boot to boot and is asked for each time, which also tells whether there
 * is one; asking loads the module where it is not loaded yet. Every buffer that held a key is wiped
 * (see netlink.h).
 */

#include "network/wireguard.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/wireguard.h>
#include <string.h>

#include "network/link.h"
#include "network/wireguard-message.h"
#include "util/text.h"

static int read_family(const struct nlmsghdr *answer, void *userdata)
{
	const struct nlattr *number = nlmsg_find_attr((struct nlmsghdr *)answer, GENL_HDRLEN, CTRL_ATTR_FAMILY_ID);
	if (!number)
		return -EBADMSG;
	*(uint16_t *)userdata = nla_get_u16(number);
	return 0;
}

/* Opens a socket and finds the family; -ENOENT, or -EPROTONOSUPPORT, where the kernel has none. */
static int open_family(struct netlink **ret, uint16_t *ret_family)
{
	struct genlmsghdr header = {.cmd = CTRL_CMD_GETFAMILY, .version = 1};
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	int r = netlink_new(&netlink, NETLINK_GENERIC);
	if (r < 0)
		return r;
	struct nl_msg *message = netlink_message(GENL_ID_CTRL, 0, &header, sizeof header);
	nla_put_string(message, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
	r = netlink_call(netlink, message, read_family, ret_family);
	if (r == 0)
		*ret = STEAL(netlink);
	return r;
}

bool wireguard_kernel_available(void)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	uint16_t family = 0;
	return open_family(&netlink, &family) == 0;
}

int wireguard_kernel_make(const char *name)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	struct ifinfomsg header = {};
	if (!link_is_own(name))
		return -EPERM;
	int r = netlink_new(&netlink, NETLINK_ROUTE);
	if (r < 0)
		return r;
	struct nl_msg *message = netlink_message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof header);
	nla_put_string(message, IFLA_IFNAME, name);
	struct nlattr *info = nla_nest_start(message, IFLA_LINKINFO);
	nla_put_string(message, IFLA_INFO_KIND, WG_GENL_NAME);
	nla_nest_end(message, info);
	return netlink_call(netlink, message, NULL, NULL);
}

static int send_part(struct nl_msg *message, void *userdata)
{
	return netlink_call(userdata, message, NULL, NULL);
}

int wireguard_kernel_set(const char *name, const struct wireguard_device *device)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	uint16_t family = 0;
	if (!link_is_own(name))
		return -EPERM;
	int r = open_family(&netlink, &family);
	return r < 0 ? r : wireguard_encode(family, name, device, send_part, netlink);
}

int wireguard_kernel_set_keepalive(const char *name, const uint8_t public_key[WIREGUARD_KEY_SIZE], uint16_t keepalive_sec)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	uint16_t family = 0;
	if (!link_is_own(name))
		return -EPERM;
	int r = open_family(&netlink, &family);
	return r < 0 ? r : netlink_call(netlink, wireguard_encode_keepalive(family, name, public_key, keepalive_sec), NULL, NULL);
}

int wireguard_kernel_silence(const char *name)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	uint16_t family = 0;
	if (!link_is_own(name))
		return -EPERM;
	int r = open_family(&netlink, &family);
	return r < 0 ? r : netlink_call(netlink, wireguard_encode_silence(family, name), NULL, NULL);
}

static int read_statuses(const struct nlmsghdr *answer, void *userdata)
{
	return wireguard_decode(answer, userdata);
}

int wireguard_kernel_get(const char *name, struct wireguard_peer_status *ret, size_t max, size_t *ret_count)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL; /* wipes what it received: the answer has the private key in it */
	struct wireguard_statuses statuses = {.items = ret, .max = max};
	uint16_t family = 0;
	int r = open_family(&netlink, &family);
	if (r == 0)
		r = netlink_call(netlink, wireguard_encode_get(family, name), read_statuses, &statuses);
	if (r == 0)
		*ret_count = statuses.count;
	return r;
}
