/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Diagnose: who else is on this machine's network, and what goes past the gate for it (docs/security.md, "Out of reach"). */

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "daemon/diagnose.h"
#include "daemon/manager.h"
#include "firewall/foreign.h"
#include "network/beside.h"
#include "util/text.h"

#define TOLD_MAX 64 /* of each kind; more are counted */

/* ---- firewalls ---- */

static void tell_table(const struct foreign_table *table, struct findings *findings)
{
	_cleanup_free_ char *name = text_format("%s %s", foreign_family(table->family), table->name);
	const char *owner = table->owner ? table->owner : "another firewall";
	if (table->drops_output)
		findings_add(findings, FINDING_FOREIGN_KILL_SWITCH, name, "of %s drops what leaves unless it says otherwise: tunnels may not come up behind it", owner);
	if (table->reroutes_later)
		findings_add(findings, FINDING_LATER_ROUTE_CHAIN, name, "of %s has a route chain behind the gate's: it can send a packet by an uplink that was judged for the tunnel", owner);
	if (table->flowtable)
		findings_add(findings, FINDING_FLOWTABLE, name, "of %s has a flowtable: forwarded connections in it go past the gate's rules; the daemon ends them when those change, and while it is away nobody does", owner);
	if (table->hooks > 0)
		findings_add(findings, FINDING_FOREIGN_FIREWALL, name, "of %s stands beside the gate (%u chain%s on hooks): what it refuses the gate cannot let by", owner,
			table->hooks, table->hooks == 1 ? "" : "s");
}

static void look_at_tables(struct findings *findings)
{
	static const int legacy[] = {AF_INET, AF_INET6};
	struct foreign_table tables[FOREIGN_TABLES_MAX];
	size_t count = 0;
	int r = foreign_tables_read(tables, &count);
	if (r < 0)
		findings_unknown(findings, "nftables", r, "another firewall");
	for (size_t i = 0; i < MIN_OF(count, (size_t)FOREIGN_TABLES_MAX); i++)
		tell_table(&tables[i], findings);
	for (size_t i = 0; i < ELEMENTSOF(legacy); i++)
		if (foreign_legacy(legacy[i]))
			findings_add(findings, FINDING_NOT_CHECKED, legacy[i] == AF_INET6 ? "ip6tables-legacy" : "iptables-legacy",
				"has tables in the kernel beside nftables: whether they drop what leaves is not known");
	if (count > FOREIGN_TABLES_MAX)
		findings_add(findings, FINDING_NOT_CHECKED, "nftables", "has %zu more tables of others: what they do is not known", count - FOREIGN_TABLES_MAX);
}

/* ---- links and routes ---- */

static void tell_link(const struct beside_link *link, struct findings *findings)
{
	switch (link->kind) {
	case BESIDE_LOWER:
		findings_add(findings, FINDING_LINK_BESIDE_HOST, link->link, "is a %s on the uplink %s: who has it leaves beside the host's stack, unseen by the gate", link->type,
			link->uplink);
		break;
	case BESIDE_PORT:
		findings_add(findings, FINDING_BRIDGED_UPLINK, link->link, "is on the bridge %s together with the uplink %s: what is behind it leaves past the gate", link->bridge,
			link->uplink);
		break;
	case BESIDE_TUNNEL:
		findings_add(findings, FINDING_OTHER_TUNNEL, link->link, "is a link of another VPN (%s): nothing leaves by it while the gate is closed", link->type);
		break;
	case BESIDE_FUNCTIONS:
		findings_add(findings, FINDING_VIRTUAL_FUNCTIONS, link->link, "has %u SR-IOV functions: who has one leaves beside the host's stack, unseen by the gate",
			link->functions);
		break;
	}
}

static void look_at_links(const struct manager *manager, struct findings *findings)
{
	struct beside_link links[TOLD_MAX];
	size_t count = 0;
	int r = beside_links(network_monitor_state(manager->monitor), links, ELEMENTSOF(links), &count);
	if (r < 0)
		findings_unknown(findings, "links", r, "a way out beside the host's stack");
	for (size_t i = 0; i < MIN_OF(count, ELEMENTSOF(links)); i++)
		tell_link(&links[i], findings);
	if (count > ELEMENTSOF(links))
		findings_add(findings, FINDING_NOT_CHECKED, "links", "has %zu more that are not the host's alone: what they do is not known", count - ELEMENTSOF(links));
}

static void look_at_rules(struct findings *findings)
{
	struct beside_rule rules[TOLD_MAX];
	unsigned policies = 0;
	size_t count = 0;
	int r = beside_rules(rules, ELEMENTSOF(rules), &count);
	if (r < 0)
		findings_unknown(findings, "ip rule", r, "a rule in front of Holdfast's");
	for (size_t i = 0; i < MIN_OF(count, ELEMENTSOF(rules)); i++) {
		_cleanup_free_ char *name = text_format("%s rule %" PRIu32, rules[i].family == AF_INET6 ? "IPv6" : "IPv4", rules[i].priority);
		findings_add(findings, FINDING_EARLIER_RULE, name,
			"stands in front of Holdfast's and looks into table %" PRIu32 ": what it matches has the first layer alone, and leaves should that be flushed", rules[i].table);
	}
	if (count > ELEMENTSOF(rules))
		findings_add(findings, FINDING_NOT_CHECKED, "ip rule", "has %zu more in front of Holdfast's: what they do is not known", count - ELEMENTSOF(rules));
	r = beside_ipsec_policies(&policies);
	if (r < 0)
		findings_unknown(findings, "ip xfrm policy", r, "an IPsec policy");
	if (policies > 0)
		findings_add(findings, FINDING_IPSEC_POLICY, "ip xfrm policy", "has %u polic%s of another VPN: what they wrap the gate judges as packets to its peer, and refuses while it is closed",
			policies, policies == 1 ? "y" : "ies");
}

/* ---- programs ---- */

/* From the file, as dhcp_users_find() does and for its reason: whoever may read can ask this. */
static char *name_user(uid_t uid)
{
	_cleanup_fclose_ FILE *file = fopen("/etc/passwd", "re");
	const struct passwd *user = NULL;
	while (file && (user = fgetpwent(file)) && user->pw_uid != uid)
		;
	return user ? text_format("user %s", user->pw_name) : text_format("uid %u", uid);
}

static void tell_socket(const struct beside_packet_socket *socket, struct findings *findings)
{
	_cleanup_free_ char *who = socket->pid ? text_format("%s (pid %d)", socket->process, (int)socket->pid) : name_user(socket->uid);
	findings_add(findings, FINDING_PACKET_SOCKET, who, "has a packet socket on %s: frames that it sends pass below the gate's hooks%s",
		socket->link[0] ? socket->link : "every link", socket->pid ? "" : "; which program it is cannot be seen from here");
}

static void look_at_sockets(struct findings *findings)
{
	struct beside_packet_socket sockets[TOLD_MAX];
	size_t count = 0, more = 0;
	int r = beside_packet_sockets(sockets, ELEMENTSOF(sockets), &count, &more);
	if (r == -ENOENT)
		return; /* a kernel without packet sockets */
	if (r < 0)
		findings_unknown(findings, "/proc/net/packet", r, "a packet socket");
	for (size_t i = 0; i < count; i++)
		tell_socket(&sockets[i], findings);
	if (more > 0)
		findings_add(findings, FINDING_NOT_CHECKED, "/proc/net/packet", "has %zu more packet sockets: whose they are is not known", more);
}

void diagnose_beside(struct manager *manager, struct findings *findings)
{
	look_at_tables(findings);
	look_at_links(manager, findings);
	look_at_rules(findings);
	look_at_sockets(findings);
}
