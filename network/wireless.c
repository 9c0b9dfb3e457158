/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The results of the last scan say which access point is in use, with its address and its information elements. The kernel answers
 * from what it remembers; nothing is scanned for it. The family's number is asked for each time: a module may be loaded late.
 */

#include "network/wireless.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/nl80211.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "network/netlink.h"
#include "util/log.h"
#include "util/text.h"

#define ELEMENT_SSID 0 /* IEEE 802.11, 9.4.2.1 */
#define RECEIVE_MAX  32768

struct wireless {
	struct netlink *query;
	sd_event *event;
	sd_event_source *heard;
	int fd; /* of announcements, -1: not heard yet */
	void (*roamed)(void *userdata);
	void *userdata;
};

struct family {
	uint16_t number;
	uint32_t group; /* of announcements about stations; 0: none */
};

static void read_groups(struct nlattr *groups, struct family *family)
{
	struct nlattr *group, *table[CTRL_ATTR_MCAST_GRP_MAX + 1];
	int left;
	nla_for_each_nested (group, groups, left)
		if (nla_parse_nested(table, CTRL_ATTR_MCAST_GRP_MAX, group, NULL) >= 0 && table[CTRL_ATTR_MCAST_GRP_NAME] &&
			table[CTRL_ATTR_MCAST_GRP_ID] &&
			nla_strcmp(table[CTRL_ATTR_MCAST_GRP_NAME], NL80211_MULTICAST_GROUP_MLME) == 0)
			family->group = nla_get_u32(table[CTRL_ATTR_MCAST_GRP_ID]);
}

static int read_family(const struct nlmsghdr *answer, void *userdata)
{
	struct family *family = userdata;
	struct nlattr *table[CTRL_ATTR_MAX + 1];
	if (nlmsg_parse((struct nlmsghdr *)answer, GENL_HDRLEN, table, CTRL_ATTR_MAX, NULL) < 0 || !table[CTRL_ATTR_FAMILY_ID])
		return -EBADMSG;
	family->number = nla_get_u16(table[CTRL_ATTR_FAMILY_ID]);
	if (table[CTRL_ATTR_MCAST_GROUPS])
		read_groups(table[CTRL_ATTR_MCAST_GROUPS], family);
	return 0;
}

static int find_family(struct wireless *wireless, struct family *ret)
{
	struct genlmsghdr header = {.cmd = CTRL_CMD_GETFAMILY, .version = 1};
	struct nl_msg *message = netlink_message(GENL_ID_CTRL, 0, &header, sizeof header);
	nla_put_string(message, CTRL_ATTR_FAMILY_NAME, NL80211_GENL_NAME);
	*ret = (struct family){};
	return netlink_call(wireless->query, message, read_family, ret);
}

/* ---- the access point in use ---- */

/* The SSID among information elements; each is its number, its length and so many bytes. */
static struct text_fact find_ssid(const uint8_t *bytes, size_t left)
{
	while (left >= 2 && bytes[1] + 2u <= left) {
		if (bytes[0] == ELEMENT_SSID)
			return ssid_fact(bytes + 2, bytes[1]);
		left -= bytes[1] + 2u;
		bytes += bytes[1] + 2u;
	}
	return text_fact_none();
}

static bool is_in_use(const struct nlattr *status)
{
	return status && (nla_get_u32(status) == NL80211_BSS_STATUS_ASSOCIATED || nla_get_u32(status) == NL80211_BSS_STATUS_IBSS_JOINED);
}

int wireless_read_bss(const struct nlmsghdr *answer, void *ret)
{
	static struct nla_policy policy[NL80211_BSS_MAX + 1] = {
		[NL80211_BSS_BSSID] = {.minlen = 6, .maxlen = 6},
		[NL80211_BSS_STATUS] = {.type = NLA_U32},
	};
	struct wireless_facts *facts = ret;
	struct nlattr *message[NL80211_ATTR_MAX + 1], *bss[NL80211_BSS_MAX + 1];
	if (nlmsg_parse((struct nlmsghdr *)answer, GENL_HDRLEN, message, NL80211_ATTR_MAX, NULL) < 0 || !message[NL80211_ATTR_BSS] ||
		nla_parse_nested(bss, NL80211_BSS_MAX, message[NL80211_ATTR_BSS], policy) < 0)
		return -EBADMSG;
	if (!is_in_use(bss[NL80211_BSS_STATUS]))
		return 0;
	/* A hidden network's beacon has no name, its answer to a probe has. */
	static const int elements[] = {NL80211_BSS_INFORMATION_ELEMENTS, NL80211_BSS_BEACON_IES};
	for (size_t i = 0; i < ELEMENTSOF(elements) && facts->ssid.fact != FACT_KNOWN; i++)
		if (bss[elements[i]])
			facts->ssid = find_ssid(nla_data(bss[elements[i]]), (size_t)nla_len(bss[elements[i]]));
	if (bss[NL80211_BSS_BSSID])
		facts->bssid = bssid_fact(nla_data(bss[NL80211_BSS_BSSID]));
	return 0;
}

static void forget(void *userdata)
{
	*(struct wireless_facts *)userdata = (struct wireless_facts){};
}

struct scan_request {
	uint16_t family;
	int index;
};

static struct nl_msg *ask_scan(const void *argument)
{
	const struct scan_request *request = argument;
	struct genlmsghdr header = {.cmd = NL80211_CMD_GET_SCAN};
	struct nl_msg *message = netlink_message(request->family, NLM_F_DUMP, &header, sizeof header);
	nla_put_u32(message, NL80211_ATTR_IFINDEX, (uint32_t)request->index);
	return message;
}

/* ---- announcements ---- */

static int on_heard(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct wireless *wireless = userdata;
	char buffer[64]; /* what it says does not matter: what is, is asked for */
	while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT | MSG_TRUNC) >= 0 || errno == ENOBUFS)
		;
	wireless->roamed(wireless->userdata);
	return 0;
}

static int listen_to(struct wireless *wireless, uint32_t group)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_GENERIC);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
		setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
		return -errno;
	int r = sd_event_add_io(wireless->event, &wireless->heard, fd, EPOLLIN, on_heard, wireless);
	if (r >= 0)
		wireless->fd = STEAL_FD(fd);
	return r;
}

/* ---- the public calls ---- */

struct wireless_facts wireless_read(struct wireless *wireless, int index)
{
	static const struct netlink_dump scan = {ask_scan, forget, wireless_read_bss};
	static const struct wireless_facts unknown = {{.fact = FACT_UNKNOWN}, {.fact = FACT_UNKNOWN}};
	struct wireless_facts facts = {};
	struct family family;
	int r = find_family(wireless, &family);
	if (r < 0)
		return r == -ENOENT || r == -EPROTONOSUPPORT ? facts : unknown;
	if (wireless->fd < 0 && family.group && (r = listen_to(wireless, family.group)) < 0)
		log_warning("Wi-Fi: the kernel's announcements cannot be heard: %s", strerror(-r));
	r = netlink_dump(wireless->query, &scan, &(struct scan_request){family.number, index}, &facts);
	if (r == -ENODEV || r == -EOPNOTSUPP)
		return (struct wireless_facts){}; /* no Wi-Fi, or none that joins a network */
	return r < 0 ? unknown : facts;
}

struct wireless *wireless_free(struct wireless *wireless)
{
	if (!wireless)
		return NULL;
	sd_event_source_disable_unref(wireless->heard);
	closep(&wireless->fd);
	netlink_free(wireless->query);
	sd_event_unref(wireless->event);
	free(wireless);
	return NULL;
}

int wireless_new(struct wireless **ret, sd_event *event, void (*roamed)(void *userdata), void *userdata)
{
	struct wireless *wireless = xcalloc(1, sizeof *wireless);
	*wireless = (struct wireless){.event = sd_event_ref(event), .fd = -1, .roamed = roamed, .userdata = userdata};
	int r = netlink_new(&wireless->query, NETLINK_GENERIC);
	if (r < 0) {
		wireless_free(wireless);
		return r;
	}
	*ret = wireless;
	return 0;
}
