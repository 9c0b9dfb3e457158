/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The gate's rules, as docs/security.md tells them: one function per numbered rule, called in that order (rule 1 says
 * of a tunnel's own traffic what rule 6 would); each appends to the chains it concerns. A rule's comment
 * begins with its number. Nothing accepts a packet for being "established" alone: each accept names its peer (but in the
 * chains that only mark, where to accept is to leave alone).
 *
 * With drop_default all rules apply. Without it (narrow tunnels alone in mode auto) the chains accept, and only rules
 * 1, 2, 4 and 6 are there: what belongs in a tunnel goes through it or nowhere, everything else is left alone.
 *
 * STALE LINK: what the reroute chain marks is routed anew, but later chains of the same hook still see the link of the
 * first lookup (the kernel keeps it for the whole traversal). So in the output chain, rules for traffic that Holdfast
 * marks there name no link, and with drop_default nothing before rule 8 refuses by link.
 *
 * Links are matched by name, because a tunnel's link may not exist yet. Text is built from checked values only:
 * plan_reason() looks at everything again, whoever called, and links with odd names, which others may make, are left
 * out, that is, closed.
 */

#include "firewall/render.h"

#include <string.h>

#include "firewall/check.h"
#include "firewall/grants.h"
#include "firewall/match.h"
#include "firewall/name.h"
#include "firewall/plan.h"

#define LOOPBACK        "1" /* LOOPBACK_IFINDEX: the kernel's own, in every namespace; a number is sooner compared than a name */
#define NO_DNS          TCP_OR_UDP " th dport != " DNS_PORTS
#define NOT_TO_PORTS    "th dport != 53 th dport != 853" /* sooner told than by sets; of protocols without ports it takes most, and rule 6 the rest */
#define TO_DNS          TCP_OR_UDP " th dport " DNS_PORTS
#define FROM_DNS        TCP_OR_UDP " th sport " DNS_PORTS
#define TO_DNS_BY_ANY   "meta l4proto { 6, 17, 33, 132, 136 } th dport " DNS_PORTS /* DCCP, SCTP and UDP-Lite have ports too */
#define ESTABLISHED     "ct state established,related"
#define RELEASED        "meta nfproto @" RELEASED_SET
#define REFUSE_OUT      "counter name \"blocked_out\" reject with icmpx admin-prohibited"
#define REFUSE_FORWARD  "counter name \"blocked_forward\" reject with icmpx admin-prohibited"
#define REFUSE_IN       "counter name \"blocked_in\" drop"
#define LOG             "limit rate 10/minute burst 5 packets log prefix \"holdfast: "

struct render {
	const struct gate_plan *plan;
	struct ruleset *set;
	bool drop;
	/* "oifname { … }" and "iifname { … }" of the links there are; NULL for none */
	char *to_local, *from_local, *to_attached, *from_attached; /* attached: uplinks and local links */
	char *to_uplink, *from_uplink;
	char *check_to[3], *check_from[3]; /* the check's resolvers, IPv4's and IPv6's, and its host */
	/* "meta mark and M == V", "ct mark and M == V", and what sets them */
	char is_mark[MARK_KIND_COUNT][48], is_flow[MARK_KIND_COUNT][48], set_mark[MARK_KIND_COUNT][64],
	        set_flow[MARK_KIND_COUNT][64];
	char plain_flow[48]; /* "ct mark and M == 0": of no kind */
};

static const int families[] = {AF_INET, AF_INET6};

#define add(r, chain, comment, ...) ruleset_add((r)->set, CHAIN_##chain, comment, __VA_ARGS__)

/* A rule for a tunnel: "6 out through home". */
#define COMMENT_FOR(buffer, what, tunnel)                                                                              \
	char buffer[COMMENT_MAX];                                                                                      \
	snprintf(buffer, sizeof buffer, "%s %s", what, (tunnel)->id)

/* ---- the rules ---- */

static char *match_own_addresses(int family, const struct gate_tunnel *tunnel)
{
	_cleanup_free_ struct ip_address *addresses = xcalloc(tunnel->address_count, sizeof *addresses);
	for (size_t i = 0; i < tunnel->address_count; i++)
		addresses[i] = tunnel->addresses[i].address;
	return match_addresses(family, "daddr", addresses, tunnel->address_count);
}

static void rule_1_loopback(struct render *r)
{
	add(r, INPUT, "1 loopback", "iif " LOOPBACK " accept");
	add(r, OUTPUT, "1 loopback", "oif " LOOPBACK " accept");
}

/*
 * What the chains that mark do is mark flows that are new, and what belongs to a flow that is marked (rule 8 marks those that it lets in). Only
 * questions for names are marked whatever their flow was (rule 5). Most packets are none of these, and pass all the rules at once; the worker's come first,
 * for they are the most where the tunnel's own are as large as its link takes, and the least to ask for.
 */
static void rule_1_flows(struct render *r)
{
	add(r, REROUTE, "1 worker", "%s accept", r->is_mark[MARK_WORKER]);
	add(r, REROUTE, "1 flows without a mark", "ct state established %s th dport != 53 accept", r->plain_flow);
	add(r, REROUTE, "1 loopback", "oif " LOOPBACK " accept");
	if (r->from_local)
		add(r, PREROUTING, "1 flows without a mark", "ct state established %s accept", r->plain_flow);
}

/* Whether it demands networks of its own, rather than everything. */
static bool is_narrow(const struct gate_tunnel *tunnel)
{
	return !tunnel->all && tunnel->state != GATE_OPEN;
}

/* No other tunnel has an address that rule 6 would guard against this one. */
static bool is_alone(const struct render *r, const struct gate_tunnel *tunnel)
{
	size_t addresses = 0;
	for (size_t i = 0; i < r->plan->tunnel_count; i++)
		addresses += &r->plan->tunnels[i] == tunnel ? 0 : r->plan->tunnels[i].address_count;
	return addresses == 0;
}

static void rule_1_in_from_tunnel(struct render *r, const struct gate_tunnel *tunnel)
{
	COMMENT_FOR(in, "1 in from", tunnel);
	if (is_alone(r, tunnel)) {
		add(r, INPUT, in, "iifname \"%s\" accept", tunnel->interface);
		return;
	}
	for (size_t i = 0; i < ELEMENTSOF(families); i++) {
		_cleanup_free_ char *to = match_own_addresses(families[i], tunnel);
		if (to)
			add(r, INPUT, in, "iifname \"%s\" %s accept", tunnel->interface, to);
	}
}

/*
 * Most packets are a tunnel's own, and no rule before 6 is about them: without these they would be held against all of those first, each
 * time. Nothing is accepted here that rule 6 would not accept: in from the tunnel, where there are other tunnels to the addresses that are its own, which
 * rule 6 guards against all other links; out into it what rule 5 does not refuse, and that alone where no narrow tunnel's networks are held before.
 */
static void rule_1_tunnels(struct render *r)
{
	bool narrow = false;
	for (size_t i = 0; i < r->plan->tunnel_count; i++)
		narrow |= is_narrow(&r->plan->tunnels[i]);
	for (size_t i = 0; i < r->plan->tunnel_count; i++) {
		const struct gate_tunnel *tunnel = &r->plan->tunnels[i];
		COMMENT_FOR(out, "1 out through", tunnel);
		if (tunnel->state != GATE_TUNNEL)
			continue;
		rule_1_in_from_tunnel(r, tunnel);
		if (tunnel->all && !narrow)
			add(r, OUTPUT, out, "oifname \"%s\" " NOT_TO_PORTS " accept", tunnel->interface);
	}
}

static bool tunnel_contacts(const struct gate_tunnel *tunnel)
{
	return tunnel->state == GATE_CONNECTING || tunnel->state == GATE_TUNNEL;
}

/*
 * The endpoint's answers are known by their tuple, without state: conntrack may have forgotten a session that was quiet
 * for long. ICMP errors carry the conntrack entry of the packet that they are about.
 */
static void worker_to_endpoint(struct render *r, const struct gate_tunnel *tunnel, const struct endpoint *endpoint)
{
	char address[IP_TEXT_MAX];
	const char *family = family_word(endpoint->address.family),
	           *protocol = endpoint->protocol == IPPROTO_TCP ? "tcp" : "udp";
	int icmp = endpoint->address.family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	address_text(address, &endpoint->address);
	COMMENT_FOR(out, "2 worker to endpoint,", tunnel);
	COMMENT_FOR(in, "2 endpoint to worker,", tunnel);
	COMMENT_FOR(error, "2 errors about the endpoint,", tunnel);
	add(r, OUTPUT, out, "%s %s %s daddr %s %s dport %u accept", r->is_mark[MARK_WORKER], NOT_INTO_TUNNEL, family,
	        address, protocol, endpoint->port);
	add(r, INPUT, in, "%s %s saddr %s %s sport %u accept", NOT_FROM_TUNNEL, family, address, protocol,
	        endpoint->port);
	add(r, INPUT, error,
	        "%s meta l4proto %d ct state related ct original %s daddr %s ct original proto-dst %u accept",
	        NOT_FROM_TUNNEL, icmp, family, address, endpoint->port);
}

static void worker_resolves(struct render *r, const struct gate_tunnel *tunnel)
{
	COMMENT_FOR(out, "2 worker to bootstrap resolvers,", tunnel);
	COMMENT_FOR(in, "2 bootstrap resolvers to worker,", tunnel);
	for (size_t i = 0; i < ELEMENTSOF(families); i++) {
		_cleanup_free_ char *to =
		        match_addresses(families[i], "daddr", r->plan->bootstrap, r->plan->bootstrap_count);
		_cleanup_free_ char *from =
		        match_addresses(families[i], "saddr", r->plan->bootstrap, r->plan->bootstrap_count);
		if (!to || !from)
			continue;
		add(r, OUTPUT, out, "%s %s %s udp dport 53 accept", r->is_mark[MARK_WORKER], NOT_INTO_TUNNEL, to);
		add(r, INPUT, in, "%s %s udp sport 53 %s accept", NOT_FROM_TUNNEL, from, REPLY);
	}
}

static void rule_2_worker(struct render *r)
{
	for (size_t i = 0; i < r->plan->tunnel_count; i++) {
		const struct gate_tunnel *tunnel = &r->plan->tunnels[i];
		if (!tunnel_contacts(tunnel))
			continue;
		for (size_t j = 0; j < tunnel->endpoint_count; j++)
			worker_to_endpoint(r, tunnel, &tunnel->endpoints[j]);
		if (tunnel->resolving)
			worker_resolves(r, tunnel);
	}
}

/*
 * The release comes before everything that refuses, beside granted processes. It counts only while the kernel keeps the set's elements; a mark without them opens
 * nothing. Inbound stays closed: only replies to flows that the release itself let out come in.
 */
static void released_traffic(struct render *r)
{
	const char *marked = r->is_mark[MARK_RELEASED], *flow = r->is_flow[MARK_RELEASED];
	add(r, OUTPUT, "3 released", "%s %s accept", marked, RELEASED); /* see STALE LINK above */
	add(r, INPUT, "3 replies to what is released", "%s %s ct direction reply %s accept", NOT_FROM_TUNNEL, flow,
	        RELEASED);
	add(r, FORWARD, "3 released", "%s %s %s accept", marked, NOT_INTO_TUNNEL, RELEASED);
	add(r, FORWARD, "3 replies to what is released", "%s %s ct direction reply %s accept", NOT_FROM_TUNNEL, flow,
	        RELEASED);
}

/* "meta skuid { 0, … }". The caller frees it. */
static char *match_dhcp_users(const struct gate_dhcp_users *users)
{
	struct text text = TEXT_NULL;
	text_append(&text, "meta skuid { 0");
	for (size_t i = 0; i < users->count; i++)
		text_append(&text, ", %u", users->uids[i]);
	text_append(&text, " }");
	return text_steal(&text);
}

/*
 * A lease is renewed with the server itself, be it behind a relay, anywhere: by whom DHCP clients run as, and by nobody else, for a host may let
 * everybody have the client's port (ip_unprivileged_port_start). What is asked of all that hear it stays on the link.
 */
static void dhcp_out(struct render *r)
{
	_cleanup_free_ char *users = match_dhcp_users(&r->plan->dhcp_users);
	add(r, OUTPUT, "4 DHCPv4", NOT_INTO_TUNNEL " ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept");
	add(r, OUTPUT, "4 DHCPv4 renewals", NOT_INTO_TUNNEL " meta nfproto ipv4 udp sport 68 udp dport 67 %s accept", users);
	add(r, OUTPUT, "4 DHCPv6",
	        NOT_INTO_TUNNEL
	        " ip6 saddr fe80::/10 udp sport 546 ip6 daddr { ff02::1:2, ff05::1:3 } udp dport 547 accept");
	add(r, OUTPUT, "4 DHCPv6 renewals",
	        NOT_INTO_TUNNEL " ip6 daddr != ff00::/8 udp sport 546 udp dport 547 %s accept", users);
}

/* On every link but a tunnel's: rules this narrow need not wait until a new link is known. */
static void rule_4_dhcp_and_neighbours(struct render *r)
{
	dhcp_out(r);
	add(r, INPUT, "4 DHCPv4", NOT_FROM_TUNNEL " meta nfproto ipv4 udp sport 67 udp dport 68 accept");
	add(r, INPUT, "4 DHCPv6",
	        NOT_FROM_TUNNEL " ip6 saddr fe80::/10 udp sport 547 ip6 daddr fe80::/10 udp dport 546 accept");
	add(r, INPUT, "4 DHCPv6 renewals",
	        NOT_FROM_TUNNEL " meta nfproto ipv6 udp sport 547 udp dport 546 " REPLY " accept");
	add(r, OUTPUT, "4 router solicitation",
	        NOT_INTO_TUNNEL " ip6 daddr ff02::2 icmpv6 type nd-router-solicit icmpv6 code 0 accept");
	add(r, OUTPUT, "4 neighbour solicitation",
	        NOT_INTO_TUNNEL
	        " ip6 daddr { ff02::1:ff00:0/104, fe80::/10 } icmpv6 type nd-neighbor-solicit icmpv6 code 0 accept");
	add(r, OUTPUT, "4 neighbour advertisement",
	        NOT_INTO_TUNNEL " ip6 daddr fe80::/10 icmpv6 type nd-neighbor-advert icmpv6 code 0 accept");
	add(r, INPUT, "4 router advertisement, redirect",
	        NOT_FROM_TUNNEL
	        " ip6 saddr fe80::/10 icmpv6 type { nd-router-advert, nd-redirect } icmpv6 code 0 accept");
	add(r, INPUT, "4 neighbour solicitation",
	        NOT_FROM_TUNNEL " ip6 saddr fe80::/10 icmpv6 type nd-neighbor-solicit icmpv6 code 0 accept");
	add(r, INPUT, "4 neighbour advertisement",
	        NOT_FROM_TUNNEL " icmpv6 type nd-neighbor-advert icmpv6 code 0 accept");
}

static void dns_through_tunnel(struct render *r, const struct gate_tunnel *tunnel)
{
	COMMENT_FOR(comment, "5 resolvers of", tunnel);
	for (size_t i = 0; i < ELEMENTSOF(families); i++) {
		_cleanup_free_ char *to = match_addresses(families[i], "daddr", tunnel->dns, tunnel->dns_count);
		if (!to)
			continue;
		add(r, OUTPUT, comment, "oifname \"%s\" %s " TO_DNS " accept", tunnel->interface, to);
		add(r, REROUTE, comment, "oifname \"%s\" %s " TO_DNS " accept", tunnel->interface, to);
		add(r, FORWARD, comment, "oifname \"%s\" %s " TO_DNS " accept", tunnel->interface, to);
	}
}

static void dns_of_lan(struct render *r)
{
	const struct kill_switch *settings = r->plan->settings;
	for (size_t i = 0; i < ELEMENTSOF(families); i++) {
		_cleanup_free_ char *to =
		        match_addresses(families[i], "daddr", settings->dns.lan, settings->dns.lan_count);
		_cleanup_free_ char *from =
		        match_addresses(families[i], "saddr", settings->dns.lan, settings->dns.lan_count);
		if (!to || !from)
			continue;
		add(r, OUTPUT, "5 resolver on the LAN", NOT_INTO_TUNNEL " %s " TO_DNS " accept", to);
		add(r, REROUTE, "5 resolver on the LAN", NOT_INTO_TUNNEL " %s " TO_DNS " accept", to);
		add(r, FORWARD, "5 resolver on the LAN", NOT_INTO_TUNNEL " %s " TO_DNS " accept", to);
		add(r, INPUT, "5 resolver on the LAN", NOT_FROM_TUNNEL " %s " FROM_DNS " " REPLY " accept", from);
		add(r, FORWARD, "5 resolver on the LAN", NOT_FROM_TUNNEL " %s " FROM_DNS " " REPLY " accept", from);
	}
}

/* What asks for granted domains is known by its user and its resolvers; it leaves as granted addresses do. */
static void dns_of_grants(struct render *r)
{
	const struct gate_plan *plan = r->plan;
	const char *marked = r->is_mark[MARK_ADDRESS], *flow = r->is_flow[MARK_ADDRESS];
	if (!(plan->granted & 1u << GRANT_NAMES) || plan->names_uid == 0)
		return;
	for (size_t i = 0; i < ELEMENTSOF(families); i++) {
		_cleanup_free_ char *to = match_addresses(families[i], "daddr", plan->names_resolvers, plan->names_resolver_count);
		_cleanup_free_ char *from = match_addresses(families[i], "saddr", plan->names_resolvers, plan->names_resolver_count);
		if (!to || !from)
			continue;
		add(r, REROUTE, "5 resolver of granted domains", "meta skuid %u %s " TCP_OR_UDP " th dport 53 %s %s accept", plan->names_uid,
		        to, r->set_flow[MARK_ADDRESS], r->set_mark[MARK_ADDRESS]);
		add(r, OUTPUT, "5 resolver of granted domains", "meta skuid %u %s " TCP_OR_UDP " th dport 53 %s %s accept",
		        plan->names_uid, to, marked, flow);
		add(r, INPUT, "5 resolver of granted domains", NOT_FROM_TUNNEL " %s " TCP_OR_UDP " th sport 53 %s " REPLY " accept",
		        from, flow);
	}
}

static struct check_words check_words(const struct render *r)
{
	return (struct check_words){
	        .is_checker = r->is_mark[MARK_CHECKER],
	        .is_mark = r->is_mark[MARK_CHECK],
	        .is_flow = r->is_flow[MARK_CHECK],
	        .set_mark = r->set_mark[MARK_CHECK],
	        .set_flow = r->set_flow[MARK_CHECK],
	        .to_uplink = r->to_uplink,
	        .from_uplink = r->from_uplink,
	        .to_resolver = {r->check_to[0], r->check_to[1]},
	        .from_resolver = {r->check_from[0], r->check_from[1]},
	        .to_host = r->check_to[2] ? r->check_to[2] : "",
	        .from_host = r->check_from[2] ? r->check_from[2] : "",
	};
}

static void rule_5_dns(struct render *r)
{
	struct check_words words = check_words(r);
	for (size_t i = 0; i < r->plan->tunnel_count; i++)
		if (r->plan->tunnels[i].state == GATE_TUNNEL)
			dns_through_tunnel(r, &r->plan->tunnels[i]);
	dns_of_lan(r);
	dns_of_grants(r);
	check_rule_5(r->set, &r->plan->check, &words);
	add(r, OUTPUT, "5 no other DNS", TO_DNS_BY_ANY " " REFUSE_OUT);
	if (r->to_local)
		add(r, FORWARD, "5 DNS among local links", "%s %s " TO_DNS " accept", r->from_local, r->to_local);
	add(r, FORWARD, "5 no other DNS", TO_DNS_BY_ANY " " REFUSE_FORWARD);
}

static bool tunnels_share_an_address(const struct gate_tunnel *a, const struct gate_tunnel *b)
{
	for (size_t i = 0; i < a->address_count; i++)
		for (size_t j = 0; j < b->address_count; j++)
			if (ip_address_equal(&a->addresses[i].address, &b->addresses[j].address))
				return true;
	return false;
}

/*
 * CVE-2019-14899: whoever shares a network with the host must not learn what its tunnel's addresses answer. Providers
 * may give two tunnels the same address; both links are then its own.
 */
static void guard_tunnel_addresses(struct render *r, const struct gate_tunnel *tunnel)
{
	COMMENT_FOR(comment, "6 addresses of", tunnel);
	struct names own = {.names = {tunnel->interface}, .count = 1};
	for (size_t i = 0; i < r->plan->tunnel_count && own.count < ELEMENTSOF(own.names); i++)
		if (&r->plan->tunnels[i] != tunnel && tunnels_share_an_address(tunnel, &r->plan->tunnels[i]))
			own.names[own.count++] = r->plan->tunnels[i].interface;
	_cleanup_free_ char *elsewhere = match_links("iifname !=", &own);
	for (size_t i = 0; i < ELEMENTSOF(families); i++) {
		_cleanup_free_ char *to = match_own_addresses(families[i], tunnel);
		if (to)
			add(r, INPUT, comment, "%s %s " REFUSE_IN, elsewhere, to);
	}
}

static void input_from_tunnel(struct render *r, const struct gate_tunnel *tunnel)
{
	COMMENT_FOR(in, "6 in from", tunnel);
	COMMENT_FOR(nothing, "6 nothing more from", tunnel);
	if (tunnel->state == GATE_TUNNEL) {
		add(r, INPUT, in, "iifname \"%s\" accept", tunnel->interface);
		add(r, FORWARD, in, "iifname \"%s\" " ESTABLISHED " accept", tunnel->interface);
	} else {
		add(r, INPUT, nothing, "iifname \"%s\" " REFUSE_IN, tunnel->interface);
	}
	add(r, FORWARD, nothing, "iifname \"%s\" " REFUSE_FORWARD, tunnel->interface);
}

/* A network that a narrow tunnel wants. */
struct demand {
	struct ip_prefix network;
	const struct gate_tunnel *tunnel;
	size_t index; /* of the tunnel: the order between equals */
};

/* The most specific first: it decides. */
static int compare_demands(const void *left, const void *right)
{
	const struct demand *a = left, *b = right;
	if (a->network.length != b->network.length)
		return (int)b->network.length - a->network.length;
	if (a->network.address.family != b->network.address.family)
		return a->network.address.family - b->network.address.family;
	int order = compare_networks(&a->network, &b->network);
	return order ? order : (a->index > b->index) - (a->index < b->index);
}

static struct demand *sorted_demands(const struct gate_plan *plan, size_t *ret_count)
{
	size_t count = 0;
	for (size_t i = 0; i < plan->tunnel_count; i++)
		count += is_narrow(&plan->tunnels[i]) ? plan->tunnels[i].route_count : 0;
	struct demand *demands = xcalloc(count, sizeof *demands);
	*ret_count = count;
	count = 0;
	for (size_t i = 0; i < plan->tunnel_count; i++)
		for (size_t j = 0; is_narrow(&plan->tunnels[i]) && j < plan->tunnels[i].route_count; j++)
			demands[count++] =
			        (struct demand){ip_prefix_mask(plan->tunnels[i].routes[j]), &plan->tunnels[i], i};
	qsort(demands, count, sizeof *demands, compare_demands);
	return demands;
}

static void demand_carried(struct render *r, const struct demand *demand)
{
	const struct gate_tunnel *tunnel = demand->tunnel;
	int family = demand->network.address.family;
	_cleanup_free_ char *to = match_networks(family, "daddr", &demand->network, 1);
	COMMENT_FOR(out, "6 out through", tunnel);
	if (tunnel->state != GATE_TUNNEL)
		return;
	add(r, OUTPUT, out, "oifname \"%s\" %s accept", tunnel->interface, to);
	add(r, FORWARD, out, "oifname \"%s\" %s accept", tunnel->interface, to);
}

/* What belongs to the network and was not accepted just before goes nowhere, and answers from there are not believed.
 */
static void demand_refused(struct render *r, const struct demand *demand)
{
	int family = demand->network.address.family;
	_cleanup_free_ char *to = match_networks(family, "daddr", &demand->network, 1);
	_cleanup_free_ char *from = match_networks(family, "saddr", &demand->network, 1);
	COMMENT_FOR(nowhere, "6 nowhere else, networks of", demand->tunnel);
	COMMENT_FOR(elsewhere, "6 from elsewhere, networks of", demand->tunnel);
	add(r, OUTPUT, nowhere, "%s " REFUSE_OUT, to);
	add(r, FORWARD, nowhere, "%s " REFUSE_FORWARD, to);
	add(r, INPUT, elsewhere, "%s " REFUSE_IN, from);
}

static void narrow_tunnels(struct render *r)
{
	size_t count;
	_cleanup_free_ struct demand *demands = sorted_demands(r->plan, &count);
	for (size_t i = 0; i < count; i++) {
		demand_carried(r, &demands[i]);
		bool last = i + 1 == count || !ip_prefix_equal(&demands[i].network, &demands[i + 1].network);
		if (last)
			demand_refused(r, &demands[i]);
	}
}

/* Where the chains accept by default, a narrow tunnel that does not carry still takes nothing into its link; else rule
 * 11 sees to it. */
static void output_to_tunnel(struct render *r, const struct gate_tunnel *tunnel)
{
	COMMENT_FOR(out, "6 out through", tunnel);
	COMMENT_FOR(nothing, "6 nothing into", tunnel);
	if (tunnel->all && tunnel->state == GATE_TUNNEL) {
		add(r, OUTPUT, out, "oifname \"%s\" accept", tunnel->interface);
		add(r, FORWARD, out, "oifname \"%s\" accept", tunnel->interface);
	} else if (!r->drop && tunnel->state != GATE_TUNNEL) {
		add(r, OUTPUT, nothing, "oifname \"%s\" " REFUSE_OUT, tunnel->interface);
		add(r, FORWARD, nothing, "oifname \"%s\" " REFUSE_FORWARD, tunnel->interface);
	}
}

static struct grant_words granted_words(const struct render *r)
{
	return (struct grant_words){
	        .is_mark = r->is_mark[MARK_ADDRESS],
	        .is_flow = r->is_flow[MARK_ADDRESS],
	        .set_mark = r->set_mark[MARK_ADDRESS],
	        .set_flow = r->set_flow[MARK_ADDRESS],
	        .from_local = r->from_local,
	};
}

static void rule_6_tunnels(struct render *r)
{
	const struct gate_plan *plan = r->plan;
	struct grant_words words = granted_words(r);
	if (r->drop)
		grants_rule_6(r->set, plan->granted, &words);
	for (size_t i = 0; i < plan->tunnel_count; i++)
		guard_tunnel_addresses(r, &plan->tunnels[i]);
	for (size_t i = 0; i < plan->tunnel_count; i++)
		if (plan->tunnels[i].state != GATE_OPEN)
			input_from_tunnel(r, &plan->tunnels[i]);
	narrow_tunnels(r);
	for (size_t i = 0; i < plan->tunnel_count; i++)
		if (plan->tunnels[i].state != GATE_OPEN)
			output_to_tunnel(r, &plan->tunnels[i]);
}

/* A narrow tunnel's networks come before (rule 6): they are not granted away by an address. */
static void rule_7_granted(struct render *r)
{
	struct grant_words words = granted_words(r);
	struct check_words check = check_words(r);
	grants_rule_7(r->set, r->plan->granted, &words);
	check_rule_7(r->set, &r->plan->check, &check);
}

/* Those that are accepted, and no others, take the host's own routes: see STALE LINK above. */
static void inbound_replies(struct render *r, const char *comment, const char *to, const char *what)
{
	const char *ours = r->is_flow[MARK_INBOUND];
	add(r, OUTPUT, comment, "%s%s%s accept", ours, to, what);
	add(r, REROUTE, comment, "%s%s%s %s accept", ours, to, what, r->set_mark[MARK_INBOUND]);
}

/*
 * FROM and TO: the peers' addresses with a blank before them, "" for anybody's; SERVICE NULL: all protocols. The connection's mark is set by
 * whatever comes in, not only by its first packet: a session that stood before the gate closed goes on. What is no longer
 * named gets no replies, whatever mark its connections bear.
 */
static void inbound_from(struct render *r, const char *comment, const char *from, const char *to, const struct inbound_service *service)
{
	char in[32] = "", out[32] = "";
	if (service) {
		const char *protocol = service->protocol == IPPROTO_TCP ? "tcp" : "udp";
		snprintf(in, sizeof in, " %s dport %u", protocol, service->port);
		snprintf(out, sizeof out, " %s sport %u", protocol, service->port);
	}
	add(r, INPUT, comment, NOT_FROM_TUNNEL "%s%s %s accept", from, in, r->set_flow[MARK_INBOUND]);
	inbound_replies(r, "8 replies", to, out);
}

/*
 * Who is on link asks for the host from the address that he will talk from, which rule 4 does not take, and conntrack leaves
 * neighbour discovery alone: no reply to it is known.
 */
static void inbound_neighbours(struct render *r, const char *from, const char *to)
{
	add(r, INPUT, "8 neighbours", NOT_FROM_TUNNEL "%s icmpv6 type nd-neighbor-solicit icmpv6 code 0 accept", from);
	add(r, OUTPUT, "8 neighbours",
	        NOT_INTO_TUNNEL "%s icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } icmpv6 code 0 accept", to);
}

/* SERVICE NULL: everything, from management networks. */
static void inbound_from_networks(struct render *r, const struct ip_prefix *networks, size_t count, const struct inbound_service *service)
{
	const char *comment = service ? "8 inbound service" : "8 management";
	for (size_t i = 0; i < ELEMENTSOF(families); i++) {
		_cleanup_free_ char *source = match_networks(families[i], "saddr", networks, count);
		_cleanup_free_ char *destination = match_networks(families[i], "daddr", networks, count);
		if (!source || !destination)
			continue;
		_cleanup_free_ char *from = text_format(" %s", source), *to = text_format(" %s", destination);
		inbound_from(r, comment, from, to, service);
		if (families[i] == AF_INET6)
			inbound_neighbours(r, from, to);
	}
}

static void rule_8_inbound(struct render *r)
{
	const struct kill_switch *settings = r->plan->settings;
	if (settings->management_count == 0 && settings->inbound_count == 0)
		return;
	inbound_from_networks(r, settings->management, settings->management_count, NULL);
	for (size_t i = 0; i < settings->inbound_count; i++) {
		const struct inbound_service *service = &settings->inbound[i];
		inbound_from_networks(r, service->from, service->from_count, service);
		if (service->from_count > 0)
			continue;
		inbound_from(r, "8 inbound service", "", "", service);
		inbound_neighbours(r, "", "");
	}
	inbound_replies(r, "8 errors about what came in", "", " ct state related meta l4proto { 1, 58 }");
}

/*
 * Containers and VMs: among themselves, the host's DHCP and DNS, neighbour discovery (Linux asks for a neighbour from the
 * address that it wants to talk from, which rule 4 does not take), and the ICMP errors that tell them at once what rule
 * 11 refused.
 */
static void rule_9_local_links(struct render *r)
{
	if (!r->to_local)
		return;
	add(r, FORWARD, "9 among local links", "%s %s accept", r->from_local, r->to_local);
	add(r, INPUT, "9 the host's DHCP and DNS", "%s udp dport { 53, 67, 547 } accept", r->from_local);
	add(r, INPUT, "9 the host's DNS", "%s tcp dport 53 accept", r->from_local);
	add(r, INPUT, "9 neighbours", "%s icmpv6 type { nd-router-solicit, nd-neighbor-solicit } icmpv6 code 0 accept",
	        r->from_local);
	add(r, OUTPUT, "9 neighbours",
	        "%s icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } icmpv6 code 0 accept",
	        r->to_local);
	add(r, OUTPUT, "9 the host's DHCP", "%s udp sport { 67, 547 } accept", r->to_local);
	add(r, OUTPUT, "9 the host's DNS", "%s " TCP_OR_UDP " th sport 53 " REPLY " accept", r->to_local);
	add(r, OUTPUT, "9 refusals",
	        "%s icmp type { destination-unreachable, time-exceeded, parameter-problem } accept", r->to_local);
	add(r, OUTPUT, "9 refusals",
	        "%s icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
	        r->to_local);
}

static void lan_of_host(
        struct render *r, const char *comment, const char *out_by, const char *in_by, const char *to, const char *from)
{
	add(r, OUTPUT, comment, "%s %s accept", out_by, to);
	add(r, INPUT, comment, "%s %s accept", in_by, from);
}

/* Forwarded traffic obeys the same rule outwards; what comes back from the LAN may only enter a local link, established. */
static void lan_forwarded(
        struct render *r, const char *comment, const char *out_by, const char *in_by, const char *to, const char *from)
{
	add(r, FORWARD, comment, "%s %s accept", out_by, to);
	if (r->to_local)
		add(r, FORWARD, comment, "%s %s %s " ESTABLISHED " accept", in_by, r->to_local, from);
}

static bool is_local_link(const struct render *r, const char *interface)
{
	for (size_t i = 0; i < r->plan->local_link_count; i++)
		if (strcmp(r->plan->local_links[i], interface) == 0)
			return true;
	return false;
}

/* NETWORKS are of one family; INTERFACE "": any link that is no tunnel. Into local links rule 9 alone forwards. */
static void lan_by_link(
        struct render *r, const char *comment, const char *interface, const struct ip_prefix *networks, size_t count)
{
	int family = networks[0].address.family;
	_cleanup_free_ char *to = match_networks(family, "daddr", networks, count);
	_cleanup_free_ char *from = match_networks(family, "saddr", networks, count);
	char out_by[32] = NOT_INTO_TUNNEL, in_by[32] = NOT_FROM_TUNNEL;
	if (interface[0]) {
		snprintf(out_by, sizeof out_by, "oifname \"%s\"", interface);
		snprintf(in_by, sizeof in_by, "iifname \"%s\"", interface);
	}
	lan_of_host(r, comment, out_by, in_by, to, from);
	if (!is_local_link(r, interface))
		lan_forwarded(r, comment, out_by, in_by, to, from);
}

/*
 * Of the private networks those that are attached, by their own link: a socket bound to the uplink must not send there what
 * belongs to a private network behind a tunnel. Link-local is on every link.
 */
static void lan_allow(struct render *r)
{
	static const struct {
		const char *to, *from;
	} link_local[] = {
	        {"ip daddr 169.254.0.0/16", "ip saddr 169.254.0.0/16"},
	        {"ip6 daddr fe80::/10", "ip6 saddr fe80::/10"},
	};
	if (!r->to_attached)
		return;
	for (size_t i = 0; i < ELEMENTSOF(link_local); i++) {
		lan_of_host(r, "10 LAN", r->to_attached, r->from_attached, link_local[i].to, link_local[i].from);
		if (r->to_uplink)
			lan_forwarded(r, "10 LAN", r->to_uplink, r->from_uplink, link_local[i].to, link_local[i].from);
	}
	for (size_t i = 0; i < r->plan->attached_count; i++)
		if (interface_name_foreign(r->plan->attached[i].interface))
			lan_by_link(r, "10 LAN", r->plan->attached[i].interface, &r->plan->attached[i].network, 1);
	add(r, OUTPUT, "10 LAN multicast", "%s ip daddr { 224.0.0.0/24, 239.0.0.0/8, 255.255.255.255 } accept",
	        r->to_attached);
	add(r, OUTPUT, "10 LAN multicast",
	        "%s ip6 daddr { ff01::/16, ff02::/16, ff03::/16, ff04::/16, ff05::/16 } accept", r->to_attached);
}

/* One rule for all networks of a link and a family, however many they are. */
static void lan_custom(struct render *r)
{
	const struct kill_switch *settings = r->plan->settings;
	_cleanup_free_ struct ip_prefix *networks = xcalloc(settings->lan_network_count, sizeof *networks);
	_cleanup_free_ bool *done = xcalloc(settings->lan_network_count, sizeof *done);
	for (size_t i = 0; i < settings->lan_network_count; i++) {
		const struct lan_network *lan = &settings->lan_networks[i];
		size_t count = 0;
		for (size_t j = i; !done[i] && j < settings->lan_network_count; j++) {
			const struct lan_network *other = &settings->lan_networks[j];
			if (other->network.address.family != lan->network.address.family || strcmp(other->interface, lan->interface) != 0)
				continue;
			networks[count++] = other->network;
			done[j] = j > i;
		}
		if (count > 0)
			lan_by_link(r, "10 LAN, custom", lan->interface, networks, count);
	}
}

static void rule_10_lan(struct render *r)
{
	switch (r->plan->settings->lan) {
	case LAN_BLOCK:
		break;
	case LAN_ALLOW:
		lan_allow(r);
		break;
	case LAN_CUSTOM:
		lan_custom(r);
		break;
	}
}

/* ICMP, never a TCP reset: a reset would kill the connections that live inside a tunnel which is being restarted. */
static void rule_11_the_rest(struct render *r)
{
	add(r, INPUT, "11 log", LOG "in \" level info");
	add(r, INPUT, "11 the rest", REFUSE_IN);
	add(r, OUTPUT, "11 log", LOG "out \" level info");
	add(r, OUTPUT, "11 the rest", REFUSE_OUT);
	add(r, FORWARD, "11 log", LOG "forwarded \" level info");
	add(r, FORWARD, "11 the rest", REFUSE_FORWARD);
}

/* ---- the release: marks what no rule accepts, so that route, filter and masquerade open and close together ---- */

static void carried_networks(struct render *r, const char *comment, const char *what)
{
	if (r->drop) {
		add(r, REROUTE, comment, "%s " NO_DNS " accept", what);
		add(r, REROUTE, comment, "%s meta l4proto != { 6, 17 } accept", what);
	} else {
		add(r, REROUTE, comment, "%s accept", what);
	}
}

/* What a tunnel carries is not given to the release; with drop_default other DNS is not carried (rule 5). */
static void carried_is_not_released(struct render *r, const struct gate_tunnel *tunnel)
{
	COMMENT_FOR(comment, "6 carried by", tunnel);
	_cleanup_free_ char *link = text_format("oifname \"%s\"", tunnel->interface);
	if (tunnel->all)
		carried_networks(r, comment, link);
	for (size_t i = 0; i < ELEMENTSOF(families) && !tunnel->all; i++) {
		_cleanup_free_ char *to = match_networks(families[i], "daddr", tunnel->routes, tunnel->route_count);
		_cleanup_free_ char *what = to ? text_format("%s %s", link, to) : NULL;
		if (what)
			carried_networks(r, comment, what);
	}
}

/*
 * Only flows that begin while the release lives are marked: one that began inside the tunnel, answered or not, has the tunnel's source
 * address or a container's own, which nothing would masquerade any more.
 */
static void release_what(struct render *r, enum gate_chain chain, const char *match)
{
	const char *space = match[0] ? " " : "";
	ruleset_add(r->set, chain, "release, new flow", "%s%s" RELEASED " " FIRST_OF_FLOW " %s", match, space,
	        r->set_flow[MARK_RELEASED]);
	ruleset_add(r->set, chain, "release", "%s%s" RELEASED " ct direction original %s %s", match, space,
	        r->is_flow[MARK_RELEASED], r->set_mark[MARK_RELEASED]);
}

static void release_narrow(struct render *r, int family)
{
	size_t count;
	_cleanup_free_ struct demand *demands = sorted_demands(r->plan, &count);
	_cleanup_free_ struct ip_prefix *networks = xcalloc(count, sizeof *networks);
	for (size_t i = 0; i < count; i++)
		networks[i] = demands[i].network;
	_cleanup_free_ char *to = match_networks(family, "daddr", networks, count);
	if (to)
		release_what(r, CHAIN_REROUTE, to);
	if (to && r->from_local) {
		_cleanup_free_ char *forwarded = text_format("%s %s", r->from_local, to);
		release_what(r, CHAIN_PREROUTING, forwarded);
	}
}

static void release(struct render *r)
{
	const struct gate_plan *plan = r->plan;
	for (size_t i = 0; i < plan->tunnel_count; i++)
		if (plan->tunnels[i].state == GATE_TUNNEL)
			carried_is_not_released(r, &plan->tunnels[i]);
	if (r->drop) {
		release_what(r, CHAIN_REROUTE, "");
		if (r->from_local) {
			_cleanup_free_ char *forwarded = text_format("%s fib daddr type unicast", r->from_local);
			release_what(r, CHAIN_PREROUTING, forwarded);
		}
	} else {
		for (size_t j = 0; j < ELEMENTSOF(families); j++)
			release_narrow(r, families[j]);
	}
	if (r->to_local)
		add(r, POSTROUTING, "release, not among local links", "%s accept", r->to_local);
	add(r, POSTROUTING, "release", "%s masquerade", r->is_mark[MARK_RELEASED]);
}

/* forwarding.masquerade: what others send through the tunnel takes the tunnel's address. */
static void masquerade_forwarded(struct render *r)
{
	r->set->translates |= r->plan->settings->masquerade;
	for (size_t i = 0; i < r->plan->tunnel_count && r->plan->settings->masquerade; i++) {
		const struct gate_tunnel *tunnel = &r->plan->tunnels[i];
		COMMENT_FOR(comment, "6 masquerade through", tunnel);
		if (tunnel->state == GATE_TUNNEL)
			add(r, POSTROUTING, comment, "oifname \"%s\" fib saddr type != local masquerade",
			        tunnel->interface);
	}
}

/* ---- the whole ---- */

static void prepare(struct render *r)
{
	const struct gate_plan *plan = r->plan;
	const struct kill_switch *settings = plan->settings;
	const struct gate_check *check = &plan->check;
	struct names local = {}, attached = {}, uplinks = {};
	collect_names(&local, plan->local_links, plan->local_link_count);
	collect_names(&attached, plan->uplinks, plan->uplink_count);
	collect_names(&attached, plan->local_links, plan->local_link_count);
	collect_names(&uplinks, plan->uplinks, plan->uplink_count);
	r->to_uplink = match_links("oifname", &uplinks);
	r->from_uplink = match_links("iifname", &uplinks);
	for (size_t i = 0; i < ELEMENTSOF(families); i++) {
		r->check_to[i] = match_addresses(families[i], "daddr", check->resolvers, check->resolver_count);
		r->check_from[i] = match_addresses(families[i], "saddr", check->resolvers, check->resolver_count);
	}
	if (check->host.family != AF_UNSPEC) {
		r->check_to[2] = match_addresses(check->host.family, "daddr", &check->host, 1);
		r->check_from[2] = match_addresses(check->host.family, "saddr", &check->host, 1);
	}
	r->to_local = match_links("oifname", &local);
	r->from_local = match_links("iifname", &local);
	r->to_attached = match_links("oifname", &attached);
	r->from_attached = match_links("iifname", &attached);
	for (enum mark_kind kind = 0; kind < MARK_KIND_COUNT; kind++) {
		uint32_t mask = settings->mark_mask, value = mark_value(settings->mark, mask, kind);
		snprintf(r->is_mark[kind], sizeof r->is_mark[kind], "meta mark and 0x%08x == 0x%08x", mask, value);
		snprintf(r->is_flow[kind], sizeof r->is_flow[kind], "ct mark and 0x%08x == 0x%08x", mask, value);
		snprintf(r->set_mark[kind], sizeof r->set_mark[kind], "meta mark set meta mark and 0x%08x or 0x%08x",
		        ~mask, value);
		snprintf(r->set_flow[kind], sizeof r->set_flow[kind], "ct mark set ct mark and 0x%08x or 0x%08x", ~mask,
		        value);
	}
	snprintf(r->plain_flow, sizeof r->plain_flow, "ct mark and 0x%08x == 0", settings->mark_mask);
	/* A tunnel that wants everything is never guarded by chains that accept, whatever the caller thought. */
	r->drop = plan->drop_default;
	for (size_t i = 0; i < plan->tunnel_count; i++)
		r->drop |= plan->tunnels[i].all && plan->tunnels[i].state != GATE_OPEN;
}

static void finish(struct render *r)
{
	free(r->to_local);
	free(r->from_local);
	free(r->to_attached);
	free(r->from_attached);
	free(r->to_uplink);
	free(r->from_uplink);
	for (size_t i = 0; i < ELEMENTSOF(r->check_to); i++) {
		free(r->check_to[i]);
		free(r->check_from[i]);
	}
}

int render_plan(const struct gate_plan *plan, struct ruleset *ret, const char **ret_reason)
{
	struct render r = {.plan = plan, .set = ret};
	if (!plan->exists)
		return 0;
	*ret_reason = plan_reason(plan);
	if (*ret_reason)
		return -EINVAL;
	prepare(&r);
	ret->exists = true;
	ret->drop = r.drop;
	rule_1_loopback(&r);
	rule_1_flows(&r);
	rule_1_tunnels(&r);
	rule_2_worker(&r);
	grants_rule_3(ret, plan->granted);
	released_traffic(&r);
	rule_4_dhcp_and_neighbours(&r);
	if (r.drop)
		rule_5_dns(&r);
	rule_6_tunnels(&r);
	if (r.drop) {
		rule_7_granted(&r);
		rule_8_inbound(&r);
		rule_9_local_links(&r);
		rule_10_lan(&r);
		rule_11_the_rest(&r);
	}
	release(&r);
	if (r.drop) {
		struct grant_words words = granted_words(&r);
		struct check_words check = check_words(&r);
		grants_masquerade(ret, plan->granted, &words);
		check_masquerade(ret, &plan->check, &check);
	}
	masquerade_forwarded(&r);
	finish(&r);
	return 0;
}

char *gate_render(const struct gate_plan *plan)
{
	_cleanup_ruleset_ struct ruleset set = {};
	const char *reason;
	if (render_plan(plan, &set, &reason) < 0)
		return NULL;
	struct text text = TEXT_NULL;
	ruleset_append(&text, &set, 0);
	return text_steal(&text);
}
