/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The first that fits: loopback, ours, named in the settings, physical, a tunnel, one that has carried a default route or leads into an
 * uplink (VLANs, bonds, bridges with a card among their ports), and the rest are local. Physical comes before tunnel, because a modem's raw-IP link looks like a tunnel but for the bus it hangs on. What the
 * settings name comes before both: ppp0 may be a DSL line or a VPN, and only its owner knows.
 */

#include "network/link-class.h"

#include <linux/if_arp.h>
#include <string.h>

#include "network/link.h"

static const char *const class_names[] = {
	[LINK_CLASS_LOOPBACK] = "loopback",
	[LINK_CLASS_OWN] = "own",
	[LINK_CLASS_TUNNEL] = "tunnel",
	[LINK_CLASS_LOCAL] = "local",
	[LINK_CLASS_UPLINK] = "uplink",
};
DEFINE_STRING_TABLE(link_class, enum link_class, class_names);

/* Kinds of links (rtnl_link_ops.kind) that carry packets inside other packets, or hand them to a program. */
static const char *const tunnel_kinds[] = {
	"wireguard", "amneziawg", "ovpn", "ovpn-dco", "ppp", "ipip", "sit", "gre", "gretap", "erspan", "ip6tnl", "ip6gre", "ip6gretap",
	"ip6erspan", "vti", "vti6", "xfrm", "vxlan", "geneve", "bareudp", "gtp", "l2tpeth", "l2tp", "nlmon", "ifb",
};

static bool is_tunnel(const struct link_facts *facts)
{
	if (strcmp(facts->kind, "tun") == 0)
		return facts->hardware != ARPHRD_ETHER; /* else a TAP, as VMs have it */
	for (size_t i = 0; i < ELEMENTSOF(tunnel_kinds); i++)
		if (strcmp(facts->kind, tunnel_kinds[i]) == 0)
			return true;
	return false;
}

enum link_class link_classify(const struct link_facts *facts)
{
	if (facts->flags & IFF_LOOPBACK)
		return LINK_CLASS_LOOPBACK;
	if (link_is_own(facts->name))
		return LINK_CLASS_OWN;
	if (facts->named || facts->has_parent || !facts->kind[0])
		return LINK_CLASS_UPLINK;
	if (is_tunnel(facts))
		return LINK_CLASS_TUNNEL;
	return facts->carried || facts->stacked ? LINK_CLASS_UPLINK : LINK_CLASS_LOCAL;
}

static const char *const type_names[] = {
	[LINK_TYPE_ETHERNET] = "ethernet",
	[LINK_TYPE_WIFI] = "wifi",
	[LINK_TYPE_WWAN] = "wwan",
	[LINK_TYPE_BLUETOOTH] = "bluetooth",
	[LINK_TYPE_OTHER] = "other",
};
DEFINE_STRING_TABLE(link_type, enum link_type, type_names);

/* A plain card has neither kind nor device type; a container's end of a veth is its Ethernet card. */
enum link_type link_type_of(const struct link_facts *facts, const char *devtype)
{
	static const struct {
		const char *devtype;
		enum link_type type;
	} types[] = {{"wlan", LINK_TYPE_WIFI}, {"wwan", LINK_TYPE_WWAN}, {"bluetooth", LINK_TYPE_BLUETOOTH}};
	for (size_t i = 0; i < ELEMENTSOF(types); i++)
		if (strcmp(devtype, types[i].devtype) == 0)
			return types[i].type;
	if (strcmp(facts->kind, "wwan") == 0)
		return LINK_TYPE_WWAN;
	bool plain = !devtype[0] && (!facts->kind[0] || strcmp(facts->kind, "veth") == 0);
	return plain && facts->hardware == ARPHRD_ETHER ? LINK_TYPE_ETHERNET : LINK_TYPE_OTHER;
}

bool link_is_running(const struct link_facts *facts)
{
	return facts->flags & IFF_UP && facts->flags & IFF_RUNNING;
}
