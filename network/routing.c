/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The second layer. For both families:
 *
 *   5100 + i  fwmark VALUE(i)/MASK                 goto 5119     one for each kind of marked traffic
 *   5114      fwmark GRANTS/MASK, to RESOLVER, DNS   lookup 26726   granted processes, to a tunnel's resolver
 *   5117      fwmark GRANTS/MASK                   goto 5119     granted processes
 *   5115      fwmark CHECK/MASK, tcp to its port     goto 5119     NetworkManager's connectivity check
 *   5116      udp from the DHCP client's port      goto 5119     renewals are routed, unlike the first request
 *   5118      lookup 26726
 *   5119      nop                                                from here on: the host's own rules
 *
 * and in table 26726 at equal networks, best first: the tunnel's route, the sink, the backstop, the throw. The backstop stands
 * behind each sink as an unreachable route, so that taking hf0 away does not open the way to table main. A sink's packets are taken
 * by the device and dropped there, with a source address of hf0's own: connections wait instead of failing.
 *
 * Invariant: from the moment the lookup rule stands, no step of an apply leaves the networks of the sinks without one of tunnel,
 * sink or backstop. Everything of ours carries FIB_PROTOCOL.
 */

#include "network/routing.h"

#include <dirent.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include "network/fib.h"
#include "network/link.h"
#include "network/sysctl.h"
#include "util/text.h"

#define PRIORITY_RESOLVERS (ROUTING_PRIORITY + ROUTING_KINDS_MAX)
#define PRIORITY_CHECK	(PRIORITY_RESOLVERS + 1)
#define PRIORITY_DHCP	(PRIORITY_CHECK + 1)
#define PRIORITY_GRANTS (PRIORITY_DHCP + 1)
#define PRIORITY_LOOKUP 5118

#define METRIC_TUNNEL	100
#define METRIC_BACKSTOP (ROUTING_SINK_METRIC + 1)
#define METRIC_THROW	(ROUTING_SINK_METRIC + 2)

/* hf0's addresses: link-local (RFC 3927, RFC 4291), so that no other link ever takes them for a source. 104.102 is "hf". */
static const struct ip_prefix sink_addresses[] = {
	{{AF_INET, {169, 254, 104, 102}}, 32},
	{{AF_INET6, {0xfe, 0x80, [14] = 0x68, [15] = 0x66}}, 128},
};

static const int families[] = {AF_INET, AF_INET6};

struct routing {
	struct netlink *netlink;
	size_t family_count; /* 1 where the kernel has no IPv6 */
	struct routing_plan plan;
	struct routing_route *routes; /* of the plan */
	char *store;
	char error[256];
};

static bool kernel_has_ipv6(void)
{
	_cleanup_close_ int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0;
}

int routing_new(struct routing **ret)
{
	_cleanup_(netlink_freep) struct netlink *netlink = NULL;
	int r = netlink_new(&netlink, NETLINK_ROUTE);
	if (r < 0)
		return r;
	struct routing *routing = xcalloc(1, sizeof *routing);
	routing->netlink = STEAL(netlink);
	routing->family_count = kernel_has_ipv6() ? 2 : 1;
	*ret = routing;
	return 0;
}

struct routing *routing_free(struct routing *routing)
{
	if (!routing)
		return NULL;
	netlink_free(routing->netlink);
	free(routing->routes);
	free(routing->store);
	free(routing);
	return NULL;
}

void routing_keep_settings(struct routing *routing, const char *path)
{
	free(routing->store);
	routing->store = text_dup(path);
}

const char *routing_error(const struct routing *routing)
{
	return routing->error;
}

/* Keeps the words of the first error of a call; returns R. */
static int _printf_(3, 4) fail(struct routing *routing, int r, const char *format, ...)
{
	char what[160];
	va_list arguments;
	if (routing->error[0])
		return r;
	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	const char *words = netlink_words(routing->netlink);
	snprintf(routing->error, sizeof routing->error, "%s: %s", what, words[0] ? words : strerror(-r));
	return r;
}

/* The first error of several steps that are all tried. */
static void note(int *result, int r)
{
	if (*result == 0)
		*result = r;
}

/* ---- what is wanted ---- */

/* The uplink's networks know nothing of the tunnel's resolvers, and need not learn what is asked of them. */
static void want_resolver_rules(const struct routing_plan *plan, int family, struct fib *want)
{
	static const uint16_t ports[] = {53, 853};
	struct fib_rule rule = {.family = family, .protocol = FIB_PROTOCOL, .action = FR_ACT_TO_TBL, .table = ROUTING_TABLE};
	rule.priority = PRIORITY_RESOLVERS;
	rule.mark = plan->grants;
	rule.mask = plan->grants_mask;
	for (size_t i = 0; plan->grants_mask && i < plan->resolver_count; i++)
		for (size_t j = 0; plan->resolvers[i].family == family && j < ELEMENTSOF(ports); j++) {
			rule.destination = (struct ip_prefix){plan->resolvers[i], ip_address_bits(&plan->resolvers[i])};
			rule.destination_port = ports[j];
			fib_add_rule(want, &rule);
		}
}

static void want_rules(const struct routing_plan *plan, int family, struct fib *want)
{
	struct fib_rule rule = {.family = family, .protocol = FIB_PROTOCOL, .action = FR_ACT_NOP, .priority = ROUTING_PRIORITY_LAST};
	bool v4 = family == AF_INET;
	fib_add_rule(want, &rule);
	rule.action = FR_ACT_GOTO;
	rule.target = ROUTING_PRIORITY_LAST;
	for (unsigned i = 0; i < plan->kinds; i++) {
		rule.priority = ROUTING_PRIORITY + i;
		rule.mark = plan->mark + i * (plan->mask & -plan->mask);
		rule.mask = plan->mask;
		fib_add_rule(want, &rule);
	}
	want_resolver_rules(plan, family, want);
	if (plan->grants_mask) {
		rule.priority = PRIORITY_GRANTS;
		rule.mark = plan->grants;
		rule.mask = plan->grants_mask;
		fib_add_rule(want, &rule);
	}
	if (plan->check_port) {
		rule.priority = PRIORITY_CHECK;
		rule.mark = plan->check;
		rule.mask = plan->mask;
		rule.ip_protocol = IPPROTO_TCP;
		rule.destination_port = plan->check_port;
		fib_add_rule(want, &rule);
	}
	rule.mark = rule.mask = 0;
	rule.priority = PRIORITY_DHCP;
	rule.ip_protocol = IPPROTO_UDP;
	rule.source_port = v4 ? 68 : 546; /* RFC 2131 4.1, RFC 8415 7.2 */
	rule.destination_port = v4 ? 67 : 547;
	fib_add_rule(want, &rule);
	/* Last: a goto without its target is passed over, and what is marked must not fall into the table for an instant. */
	rule = (struct fib_rule){.family = family,
		.protocol = FIB_PROTOCOL,
		.action = FR_ACT_TO_TBL,
		.priority = PRIORITY_LOOKUP,
		.table = ROUTING_TABLE};
	fib_add_rule(want, &rule);
}

/* In the order of routing.h's kinds; the backstop is a sink's second half. */
static const struct {
	uint8_t type;
	uint32_t metric;
} route_shapes[] = {
	[ROUTE_TUNNEL] = {RTN_UNICAST, METRIC_TUNNEL},
	[ROUTE_SINK] = {RTN_UNICAST, ROUTING_SINK_METRIC},
	[ROUTE_THROW] = {RTN_THROW, METRIC_THROW},
};

static void add_once(struct fib *fib, const struct fib_route *route)
{
	for (size_t i = 0; i < fib->route_count; i++)
		if (fib_route_equal(&fib->routes[i], route))
			return;
	fib_add_route(fib, route);
}

static struct fib_route make_route(const struct routing_route *from)
{
	return (struct fib_route){
		.network = ip_prefix_mask(from->network),
		.type = route_shapes[from->kind].type,
		.metric = route_shapes[from->kind].metric,
		.protocol = FIB_PROTOCOL,
	};
}

static bool family_held(const struct routing *routing, int family)
{
	return family == AF_INET || routing->family_count > 1;
}

/* Sinks first, so that an apply closes before it opens. A link that is not there: its routes are left out, -ENODEV. */
static int want_routes(struct routing *routing, struct fib *want)
{
	static const enum route_kind order[] = {ROUTE_SINK, ROUTE_TUNNEL, ROUTE_THROW};
	int result = 0;
	for (size_t pass = 0; pass < ELEMENTSOF(order); pass++)
		for (size_t i = 0; i < routing->plan.route_count; i++) {
			const struct routing_route *from = &routing->routes[i];
			if (from->kind != order[pass] || !family_held(routing, from->network.address.family))
				continue;
			struct fib_route route = make_route(from);
			const char *interface = from->kind == ROUTE_SINK ? NETWORK_SINK : from->interface;
			if (from->kind != ROUTE_THROW)
				route.index = (int)if_nametoindex(interface);
			if (from->kind != ROUTE_THROW && route.index == 0)
				note(&result, fail(routing, -ENODEV, "route into %s", interface));
			else
				add_once(want, &route);
		}
	return result;
}

static void want_backstops(const struct routing *routing, struct fib *want)
{
	for (size_t i = 0; i < routing->plan.route_count; i++) {
		const struct routing_route *from = &routing->routes[i];
		if (from->kind != ROUTE_SINK || !family_held(routing, from->network.address.family))
			continue;
		struct fib_route route = make_route(from);
		route.type = RTN_UNREACHABLE;
		route.metric = METRIC_BACKSTOP;
		add_once(want, &route);
	}
}

/* ---- what there is ---- */

/* A rule in our range that looks like ours: marked as ours, or with our table or our target in it. */
static bool rule_is_ours(const struct fib_rule *rule)
{
	if (rule->priority < ROUTING_PRIORITY || rule->priority > ROUTING_PRIORITY_LAST)
		return false;
	return rule->protocol == FIB_PROTOCOL || rule->table == ROUTING_TABLE ||
	       (rule->action == FR_ACT_GOTO && rule->target >= ROUTING_PRIORITY && rule->target <= ROUTING_PRIORITY_LAST);
}

static int read_kernel(struct routing *routing, struct fib *have)
{
	for (size_t i = 0; i < routing->family_count; i++) {
		_cleanup_fib_ struct fib all = {};
		int r = fib_read_rules(routing->netlink, families[i], &all);
		if (r < 0)
			return fail(routing, r, "reading the rules");
		for (size_t k = 0; k < all.rule_count; k++) {
			if (!rule_is_ours(&all.rules[k]))
				continue;
			fib_add_rule(have, &all.rules[k]);
			have->rules[have->rule_count - 1].origin = STEAL(all.rules[k].origin);
		}
		r = fib_read_routes(routing->netlink, families[i], ROUTING_TABLE, have);
		if (r < 0)
			return fail(routing, r, "reading table %u", ROUTING_TABLE);
	}
	return 0;
}

/* How often RULE, or ROUTE, is in FIB. */
static size_t count_rule(const struct fib *fib, const struct fib_rule *rule)
{
	size_t count = 0;
	for (size_t i = 0; i < fib->rule_count; i++)
		count += fib_rule_equal(&fib->rules[i], rule);
	return count;
}

static size_t count_route(const struct fib *fib, const struct fib_route *route)
{
	size_t count = 0;
	for (size_t i = 0; i < fib->route_count; i++)
		count += fib_route_equal(&fib->routes[i], route);
	return count;
}

/* WANT has no doubles, so equal counts and each wanted one present mean equal sets. */
static bool fib_same(const struct fib *want, const struct fib *have)
{
	if (want->rule_count != have->rule_count || want->route_count != have->route_count)
		return false;
	for (size_t i = 0; i < want->rule_count; i++)
		if (count_rule(have, &want->rules[i]) != 1)
			return false;
	for (size_t i = 0; i < want->route_count; i++)
		if (count_route(have, &want->routes[i]) != 1)
			return false;
	return true;
}

/* ---- changes ---- */

static int install_routes(struct routing *routing, const struct fib *want, const struct fib *have)
{
	char network[IP_TEXT_MAX];
	int result = 0;
	for (size_t i = 0; i < want->route_count; i++) {
		const struct fib_route *route = &want->routes[i];
		if (count_route(have, route) > 0)
			continue;
		int r = fib_install_route(routing->netlink, route, ROUTING_TABLE);
		if (r < 0)
			note(&result, fail(routing, r, "route to %s", ip_prefix_format(network, &route->network)));
	}
	return result;
}

static int install_rules(struct routing *routing, const struct fib *want, const struct fib *have)
{
	int result = 0;
	for (size_t i = 0; i < want->rule_count; i++) {
		if (count_rule(have, &want->rules[i]) > 0)
			continue;
		int r = fib_install_rule(routing->netlink, &want->rules[i]);
		if (r < 0)
			note(&result, fail(routing, r, "rule %u", want->rules[i].priority));
	}
	return result;
}

/* A goto goes before its target, and the lookup before both: what is marked never falls into the table for an instant. */
static unsigned deletion_stage(const struct fib_rule *rule)
{
	return rule->action == FR_ACT_TO_TBL ? 0 : rule->action == FR_ACT_GOTO ? 1 : 2;
}

/* What is not wanted, and what is there twice. WANT may be NULL: nothing is. */
static int delete_rules(struct routing *routing, const struct fib *want, const struct fib *have)
{
	int result = 0;
	for (unsigned stage = 0; stage <= 2; stage++)
		for (size_t i = 0; i < have->rule_count; i++) {
			const struct fib_rule *rule = &have->rules[i];
			struct fib before = {.rules = have->rules, .rule_count = i};
			if (deletion_stage(rule) != stage ||
				(want && count_rule(want, rule) > 0 && count_rule(&before, rule) == 0))
				continue;
			int r = fib_delete(routing->netlink, rule->origin);
			if (r < 0)
				note(&result, fail(routing, r, "deleting rule %u", rule->priority));
		}
	return result;
}

static int delete_routes(struct routing *routing, const struct fib *want, const struct fib *have)
{
	char network[IP_TEXT_MAX];
	int result = 0;
	for (size_t i = 0; i < have->route_count; i++) {
		const struct fib_route *route = &have->routes[i];
		if (want && count_route(want, route) > 0)
			continue;
		int r = fib_delete(routing->netlink, route->origin);
		if (r < 0)
			note(&result, fail(routing, r, "deleting the route to %s", ip_prefix_format(network, &route->network)));
	}
	return result;
}

/* ---- hf0 ---- */

/*
 * Nobody may read what falls into hf0: one that has a reader is thrown away and made anew, behind the backstops. That it then has
 * no carrier is no hindrance while ignore_routes_with_linkdown is 0.
 */
static int make_sink(struct routing *routing)
{
	struct link_settings settings = {.addresses = sink_addresses, .address_count = routing->family_count, .up = true};
	struct link_status status;
	int r = link_query(NETWORK_SINK, &status);
	if (r == 0 && status.is_tun && status.carrier) {
		r = link_remove(NETWORK_SINK);
		if (r == 0)
			r = -ENODEV;
	}
	if (r == -ENODEV) {
		_cleanup_close_ int fd = -1;
		r = link_open_tun(NETWORK_SINK, 0, false, &fd);
	} else if (r == 0 && !status.is_tun) {
		r = -EEXIST;
	}
	if (r == 0)
		r = link_configure(NETWORK_SINK, &settings);
	return r < 0 ? fail(routing, r, "making %s", NETWORK_SINK) : 0;
}

static bool sink_is_good(void)
{
	struct link_status status;
	return link_query(NETWORK_SINK, &status) == 0 && status.is_tun && status.up && !status.carrier;
}

/* ---- the host's settings ---- */

#define LINKDOWN_ALL "net/ipv4/conf/all/ignore_routes_with_linkdown"
#define RP_ALL	     "net/ipv4/conf/all/rp_filter"
#define ARP_ALL	     "net/ipv4/conf/all/arp_ignore"
/* ip-sysctl: of these two settings the greater of `all` and the link's own counts */
enum { RP_STRICT = 1, RP_LOOSE = 2 };
enum { ARP_ANY = 0, ARP_OWN_LINK = 1 }; /* answered: any address of the host's, or those of the link that asks (not the tunnel's) */

/* Whether a link but loopback and ours (or `default`: the next one) checks the reverse path strictly. */
static bool rp_filter_is_strict(void)
{
	int all = sysctl_read(RP_ALL);
	DIR *folder = all < RP_LOOSE ? opendir("/proc/sys/net/ipv4/conf") : NULL;
	bool strict = all == RP_STRICT;
	for (struct dirent *entry; folder && !strict && (entry = readdir(folder));) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lo") == 0 || link_is_own(entry->d_name))
			continue;
		_cleanup_free_ char *path = text_format("net/ipv4/conf/%s/rp_filter", entry->d_name);
		strict = sysctl_read(path) == RP_STRICT;
	}
	if (folder)
		closedir(folder);
	return strict;
}

static int hold(struct routing *routing, const char *path, int value)
{
	int r = routing->store ? sysctl_hold(routing->store, path, value) : -EPERM;
	return r < 0 ? fail(routing, r, "setting %s to %d", path, value) : 0;
}

/* Of a link of ours, by family. The caller frees it. */
static char *linkdown_path(int family, const char *interface)
{
	return text_format("net/ipv%c/conf/%s/ignore_routes_with_linkdown", family == AF_INET ? '4' : '6', interface);
}

/* A link that is not there, or a kernel without the setting, has nothing to hold. */
static int hold_own_link(struct routing *routing, const char *interface)
{
	int result = 0;
	for (size_t i = 0; i < routing->family_count; i++) {
		_cleanup_free_ char *path = linkdown_path(families[i], interface);
		int r = sysctl_write(path, 0);
		if (r < 0 && r != -ENOENT)
			note(&result, fail(routing, r, "setting %s to 0", path));
	}
	return result;
}

static bool own_link_is_held(const struct routing *routing, const char *interface)
{
	for (size_t i = 0; i < routing->family_count; i++) {
		_cleanup_free_ char *path = linkdown_path(families[i], interface);
		if (sysctl_read(path) > 0)
			return false;
	}
	return true;
}

static int hold_settings(struct routing *routing)
{
	int result = hold_own_link(routing, NETWORK_SINK);
	for (size_t i = 0; i < routing->plan.route_count; i++)
		if (routing->routes[i].kind == ROUTE_TUNNEL)
			note(&result, hold_own_link(routing, routing->routes[i].interface));
	if (sysctl_read(LINKDOWN_ALL) > 0)
		note(&result, hold(routing, LINKDOWN_ALL, 0));
	if (rp_filter_is_strict())
		note(&result, hold(routing, RP_ALL, RP_LOOSE));
	if (sysctl_read(ARP_ALL) == ARP_ANY)
		note(&result, hold(routing, ARP_ALL, ARP_OWN_LINK));
	return result;
}

static bool settings_are_held(const struct routing *routing)
{
	bool held = own_link_is_held(routing, NETWORK_SINK) && sysctl_read(LINKDOWN_ALL) <= 0 && !rp_filter_is_strict() &&
		    sysctl_read(ARP_ALL) != ARP_ANY;
	for (size_t i = 0; held && i < routing->plan.route_count; i++)
		held = routing->routes[i].kind != ROUTE_TUNNEL || own_link_is_held(routing, routing->routes[i].interface);
	return held;
}

/* ---- the public calls ---- */

static int plan_check(const struct routing_plan *plan)
{
	if (plan->kinds > ROUTING_KINDS_MAX || plan->resolver_count > ROUTING_RESOLVERS_MAX || (plan->kinds > 0 && (plan->mask == 0 || (plan->mark & ~plan->mask) != 0)))
		return -EINVAL;
	for (size_t i = 0; i < plan->route_count; i++) {
		const struct routing_route *route = &plan->routes[i];
		int family = route->network.address.family;
		if ((family != AF_INET && family != AF_INET6) || route->network.length > ip_address_bits(&route->network.address))
			return -EINVAL;
		if (route->kind == ROUTE_TUNNEL && !link_is_own(route->interface))
			return -EINVAL;
	}
	return 0;
}

static void remember(struct routing *routing, const struct routing_plan *plan)
{
	struct routing_route *routes = xcalloc(plan->route_count, sizeof *routes);
	if (plan->route_count > 0)
		memcpy(routes, plan->routes, plan->route_count * sizeof *routes);
	free(routing->routes);
	routing->routes = routes;
	routing->plan = *plan;
	routing->plan.routes = routes;
}

static int converge(struct routing *routing)
{
	_cleanup_fib_ struct fib want = {}, have = {}, after = {};
	int result = read_kernel(routing, &have);
	if (result < 0)
		return result;
	want_backstops(routing, &want);
	note(&result, install_routes(routing, &want, &have));
	note(&result, make_sink(routing));
	note(&result, hold_settings(routing));
	note(&result, want_routes(routing, &want));
	for (size_t i = 0; i < routing->family_count; i++)
		want_rules(&routing->plan, families[i], &want);
	/* Making hf0 anew took its routes away: what there is has to be read again. */
	fib_done(&have);
	note(&result, read_kernel(routing, &have));
	note(&result, install_routes(routing, &want, &have));
	note(&result, install_rules(routing, &want, &have));
	note(&result, delete_rules(routing, &want, &have));
	note(&result, delete_routes(routing, &want, &have));
	note(&result, read_kernel(routing, &after));
	if (result == 0 && !fib_same(&want, &after))
		result = fail(routing, -ESTALE, "reading back");
	return result;
}

int routing_apply(struct routing *routing, const struct routing_plan *plan)
{
	int r = plan_check(plan);
	routing->error[0] = 0;
	if (r < 0)
		return fail(routing, r, "the plan");
	remember(routing, plan);
	return plan->exists ? converge(routing) : routing_remove(routing);
}

int routing_verify(struct routing *routing)
{
	_cleanup_fib_ struct fib want = {}, have = {};
	struct link_status status;
	routing->error[0] = 0;
	int r = read_kernel(routing, &have);
	if (r < 0)
		return r;
	if (!routing->plan.exists) {
		bool clean = have.rule_count == 0 && have.route_count == 0 && link_query(NETWORK_SINK, &status) == -ENODEV;
		return clean ? 0 : fail(routing, -ESTALE, "something of the second layer is there");
	}
	want_backstops(routing, &want);
	if (want_routes(routing, &want) < 0)
		return -ESTALE;
	for (size_t i = 0; i < routing->family_count; i++)
		want_rules(&routing->plan, families[i], &want);
	if (!fib_same(&want, &have))
		return fail(routing, -ESTALE, "rules or routes differ");
	if (!sink_is_good())
		return fail(routing, -ESTALE, "%s differs", NETWORK_SINK);
	return settings_are_held(routing) ? 0 : fail(routing, -ESTALE, "settings under net/ differ");
}

/* Opening: the rules go first, then what they led to. */
int routing_remove(struct routing *routing)
{
	_cleanup_fib_ struct fib have = {};
	routing->error[0] = 0;
	routing->plan = (struct routing_plan){};
	int result = read_kernel(routing, &have);
	note(&result, delete_rules(routing, NULL, &have));
	note(&result, delete_routes(routing, NULL, &have));
	int r = link_remove(NETWORK_SINK);
	if (r < 0)
		note(&result, fail(routing, r, "removing %s", NETWORK_SINK));
	r = routing->store ? sysctl_restore(routing->store) : 0;
	if (r < 0)
		note(&result, fail(routing, r, "putting settings back from %s", routing->store));
	if (result == 0)
		result = routing_verify(routing);
	return result;
}
