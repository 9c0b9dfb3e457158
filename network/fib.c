/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Comparing is exact: a rule or route that carries an attribute unknown to these structures is "odd" and equals nothing, so that a
 * selector which narrows a rule of ours can never pass for it.
 */

#include "network/fib.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "util/text.h"

/* linux/fib_rules.h since 6.15; the kernel reports them for every rule with a port, as all ones where it is no range. */
#define RULE_SPORT_MASK 28
#define RULE_DPORT_MASK 29
#define RULE_ATTR_MAX	31

void fib_done(struct fib *fib)
{
	for (size_t i = 0; i < fib->rule_count; i++)
		free(fib->rules[i].origin);
	for (size_t i = 0; i < fib->route_count; i++)
		free(fib->routes[i].origin);
	free(fib->rules);
	free(fib->routes);
	*fib = (struct fib){};
}

static void append_rule(struct fib *fib, const struct fib_rule *rule)
{
	fib->rules = xrealloc(fib->rules, (fib->rule_count + 1) * sizeof *rule);
	fib->rules[fib->rule_count++] = *rule;
}

static void append_route(struct fib *fib, const struct fib_route *route)
{
	fib->routes = xrealloc(fib->routes, (fib->route_count + 1) * sizeof *route);
	fib->routes[fib->route_count++] = *route;
}

void fib_add_rule(struct fib *fib, const struct fib_rule *rule)
{
	append_rule(fib, rule);
	fib->rules[fib->rule_count - 1].origin = NULL;
}

void fib_add_route(struct fib *fib, const struct fib_route *route)
{
	append_route(fib, route);
	fib->routes[fib->route_count - 1].origin = NULL;
}

bool fib_rule_equal(const struct fib_rule *a, const struct fib_rule *b)
{
	return !a->odd && !b->odd && a->family == b->family && a->priority == b->priority && a->action == b->action &&
	       a->table == b->table && a->target == b->target && a->mark == b->mark && a->mask == b->mask &&
	       a->destination.length == b->destination.length &&
	       (a->destination.length == 0 || ip_prefix_equal(&a->destination, &b->destination)) && a->ip_protocol == b->ip_protocol && a->source_port == b->source_port &&
	       a->destination_port == b->destination_port && a->protocol == b->protocol;
}

bool fib_route_equal(const struct fib_route *a, const struct fib_route *b)
{
	return !a->odd && !b->odd && ip_prefix_equal(&a->network, &b->network) && a->type == b->type && a->metric == b->metric &&
	       a->index == b->index && a->protocol == b->protocol;
}

static struct nlmsghdr *keep(const struct nlmsghdr *message)
{
	struct nlmsghdr *copy = xcalloc(1, message->nlmsg_len);
	memcpy(copy, message, message->nlmsg_len);
	return copy;
}

/* A port range of exactly one port; anything else makes the rule odd. */
static uint16_t read_port(const struct nlattr *attribute, bool *odd)
{
	struct fib_rule_port_range range = {};
	nla_memcpy(&range, attribute, sizeof range);
	*odd |= range.start != range.end;
	return range.start;
}

static void read_rule_attribute(const struct nlattr *attribute, struct fib_rule *rule)
{
	switch (nla_type(attribute)) {
	case FRA_PRIORITY:
		rule->priority = nla_get_u32(attribute);
		break;
	case FRA_TABLE:
		rule->table = nla_get_u32(attribute);
		break;
	case FRA_GOTO:
		rule->target = nla_get_u32(attribute);
		break;
	case FRA_FWMARK:
		rule->mark = nla_get_u32(attribute);
		break;
	case FRA_FWMASK:
		rule->mask = nla_get_u32(attribute);
		break;
	case FRA_DST:
		rule->destination.address.family = rule->family;
		nla_memcpy(rule->destination.address.bytes, attribute, sizeof rule->destination.address.bytes);
		break;
	case FRA_IP_PROTO:
		rule->ip_protocol = nla_get_u8(attribute);
		break;
	case FRA_SPORT_RANGE:
		rule->source_port = read_port(attribute, &rule->odd);
		break;
	case FRA_DPORT_RANGE:
		rule->destination_port = read_port(attribute, &rule->odd);
		break;
	case FRA_PROTOCOL:
		rule->protocol = nla_get_u8(attribute);
		break;
	case FRA_SUPPRESS_PREFIXLEN:
		rule->odd |= nla_get_u32(attribute) != UINT32_MAX;
		break;
	case RULE_SPORT_MASK:
	case RULE_DPORT_MASK:
		rule->odd |= nla_get_u16(attribute) != UINT16_MAX;
		break;
	case FRA_PAD:
		break;
	default:
		rule->odd = true;
	}
}

static int read_rule(const struct nlmsghdr *message, void *userdata)
{
	const struct fib_rule_hdr *header = NLMSG_DATA(message);
	if (message->nlmsg_type != RTM_NEWRULE || message->nlmsg_len < NLMSG_LENGTH(sizeof *header))
		return -EBADMSG;
	/* FIB_RULE_UNRESOLVED: a goto whose target is missing. The rule itself is as it was made. */
	uint32_t flags = header->flags & ~(uint32_t)FIB_RULE_UNRESOLVED;
	struct fib_rule rule = {
		.family = header->family,
		.action = header->action,
		.destination.length = header->dst_len,
		.odd = header->src_len || header->tos || flags,
	};
	struct nlattr *attribute;
	int left;
	nlmsg_for_each_attr(attribute, (struct nlmsghdr *)message, sizeof *header, left)
		read_rule_attribute(attribute, &rule);
	rule.origin = keep(message);
	append_rule(userdata, &rule);
	return 0;
}

static void read_route_attribute(const struct nlattr *attribute, struct fib_route *route)
{
	switch (nla_type(attribute)) {
	case RTA_DST:
		nla_memcpy(route->network.address.bytes, attribute, sizeof route->network.address.bytes);
		break;
	case RTA_PRIORITY:
		route->metric = nla_get_u32(attribute);
		break;
	case RTA_OIF:
		route->index = (int)nla_get_u32(attribute);
		break;
	case RTA_PREF:
		route->odd |= nla_get_u8(attribute) != 0; /* ICMPV6_ROUTER_PREF_MEDIUM */
		break;
	case RTA_TABLE:
	case RTA_CACHEINFO:
	case RTA_PAD:
		break;
	default:
		route->odd = true;
	}
}

static int read_route(const struct nlmsghdr *message, void *userdata)
{
	const struct rtmsg *header = NLMSG_DATA(message);
	if (message->nlmsg_type != RTM_NEWROUTE || message->nlmsg_len < NLMSG_LENGTH(sizeof *header))
		return -EBADMSG;
	struct fib_route route = {
		.network = {.address.family = header->rtm_family, .length = header->rtm_dst_len},
		.type = header->rtm_type,
		.protocol = header->rtm_protocol,
		/* RTNH_F_LINKDOWN is what a TUN without reader looks like, and no difference. */
		.odd = header->rtm_src_len || header->rtm_tos || (header->rtm_flags & RTNH_F_DEAD),
	};
	struct nlattr *attribute;
	int left;
	nlmsg_for_each_attr(attribute, (struct nlmsghdr *)message, sizeof *header, left)
		read_route_attribute(attribute, &route);
	if (route.type != RTN_UNICAST)
		route.index = 0; /* IPv6 hangs them on lo */
	route.origin = keep(message);
	append_route(userdata, &route);
	return 0;
}

/* What a dump asks for, and how much there was before it. */
struct query {
	int family;
	uint32_t table;
	struct fib *fib;
	size_t rules, routes;
};

static void reset(void *userdata)
{
	struct query *query = userdata;
	struct fib *fib = query->fib;
	while (fib->rule_count > query->rules)
		free(fib->rules[--fib->rule_count].origin);
	while (fib->route_count > query->routes)
		free(fib->routes[--fib->route_count].origin);
}

static struct nl_msg *ask_rules(const void *argument)
{
	const struct query *query = argument;
	struct fib_rule_hdr header = {.family = (uint8_t)query->family};
	return netlink_message(RTM_GETRULE, NLM_F_DUMP, &header, sizeof header);
}

static struct nl_msg *ask_routes(const void *argument)
{
	const struct query *query = argument;
	struct rtmsg header = {.rtm_family = (uint8_t)query->family};
	struct nl_msg *message = netlink_message(RTM_GETROUTE, NLM_F_DUMP, &header, sizeof header);
	nla_put_u32(message, RTA_TABLE, query->table);
	return message;
}

static int query_rule(const struct nlmsghdr *message, void *userdata)
{
	return read_rule(message, ((struct query *)userdata)->fib);
}

static int query_route(const struct nlmsghdr *message, void *userdata)
{
	return read_route(message, ((struct query *)userdata)->fib);
}

int fib_read_rules(struct netlink *netlink, int family, struct fib *fib)
{
	static const struct netlink_dump dump = {ask_rules, reset, query_rule};
	struct query query = {family, 0, fib, fib->rule_count, fib->route_count};
	return netlink_dump(netlink, &dump, &query, &query);
}

int fib_read_routes(struct netlink *netlink, int family, uint32_t table, struct fib *fib)
{
	static const struct netlink_dump dump = {ask_routes, reset, query_route};
	struct query query = {family, table, fib, fib->rule_count, fib->route_count};
	int r = netlink_dump(netlink, &dump, &query, &query);
	return r == -ENOENT ? 0 : r; /* no such table yet */
}

static void put_port(struct nl_msg *message, int attribute, uint16_t port)
{
	struct fib_rule_port_range range = {port, port};
	if (port != 0)
		nla_put(message, attribute, sizeof range, &range);
}

int fib_install_rule(struct netlink *netlink, const struct fib_rule *rule)
{
	struct fib_rule_hdr header = {.family = (uint8_t)rule->family, .action = rule->action, .dst_len = rule->destination.length};
	struct nl_msg *message = netlink_message(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &header, sizeof header);
	nla_put_u32(message, FRA_PRIORITY, rule->priority);
	nla_put_u8(message, FRA_PROTOCOL, rule->protocol);
	if (rule->action == FR_ACT_TO_TBL)
		nla_put_u32(message, FRA_TABLE, rule->table);
	if (rule->action == FR_ACT_GOTO)
		nla_put_u32(message, FRA_GOTO, rule->target);
	if (rule->destination.length > 0)
		nla_put(message, FRA_DST, ip_address_bits(&rule->destination.address) / 8, rule->destination.address.bytes);
	if (rule->mask != 0) {
		nla_put_u32(message, FRA_FWMARK, rule->mark);
		nla_put_u32(message, FRA_FWMASK, rule->mask);
	}
	if (rule->ip_protocol != 0)
		nla_put_u8(message, FRA_IP_PROTO, rule->ip_protocol);
	put_port(message, FRA_SPORT_RANGE, rule->source_port);
	put_port(message, FRA_DPORT_RANGE, rule->destination_port);
	int r = netlink_call(netlink, message, NULL, NULL);
	return r == -EEXIST ? 0 : r;
}

int fib_install_route(struct netlink *netlink, const struct fib_route *route, uint32_t table)
{
	bool v4 = route->network.address.family == AF_INET, unicast = route->type == RTN_UNICAST;
	struct rtmsg header = {
		.rtm_family = (uint8_t)route->network.address.family,
		.rtm_dst_len = route->network.length,
		.rtm_protocol = route->protocol,
		.rtm_type = route->type,
		.rtm_scope = v4 && unicast ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE, /* IPv6 knows no scope here */
	};
	struct nl_msg *message = netlink_message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &header, sizeof header);
	nla_put_u32(message, RTA_TABLE, table);
	nla_put_u32(message, RTA_PRIORITY, route->metric);
	if (route->network.length > 0)
		nla_put(message, RTA_DST, ip_address_bits(&route->network.address) / 8, route->network.address.bytes);
	if (unicast)
		nla_put_u32(message, RTA_OIF, (uint32_t)route->index);
	return netlink_call(netlink, message, NULL, NULL);
}

int fib_delete(struct netlink *netlink, const struct nlmsghdr *origin)
{
	bool rule = origin->nlmsg_type == RTM_NEWRULE;
	size_t length = origin->nlmsg_len - NLMSG_HDRLEN;
	struct nl_msg *message = netlink_message(rule ? RTM_DELRULE : RTM_DELROUTE, 0, NLMSG_DATA(origin), length);
	int r = netlink_call(netlink, message, NULL, NULL);
	return r == -ESRCH || r == -ENOENT || r == -ENODEV ? 0 : r;
}
