/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The second layer, and the links it stands on, in the real kernel. The gate's table is absent throughout. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "network/link.h"
#include "network/routing.h"
#include "network/sysctl.h"
#include "sandbox.h"
#include "suite.h"
#include "util/file.h"
#include "util/text.h"

#define MARK  0x68660000u
#define MASK  0xffff0000u
#define KINDS 4

DEFINE_CLEANUP(struct routing *, routing_free)
#define _cleanup_routing_ _cleanup_(routing_freep)

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix network;
	CU_ASSERT_EQUAL_FATAL(ip_prefix_parse(text, &network), 0);
	return network;
}

static struct routing_route route(enum route_kind kind, const char *network, const char *interface)
{
	struct routing_route made = {.kind = kind, .network = prefix(network)};
	strcpy(made.interface, interface);
	return made;
}

/* Catch-alls, and what else is given. */
#define PLAN_MAX 8
struct plan {
	struct routing_plan plan;
	struct routing_route routes[PLAN_MAX];
};

static void plan_closed(struct plan *plan)
{
	plan->routes[0] = route(ROUTE_SINK, "0.0.0.0/0", "");
	plan->routes[1] = route(ROUTE_SINK, "::/0", "");
	plan->plan = (struct routing_plan){true, MARK, MASK, KINDS, plan->routes, 2};
}

static void plan_add(struct plan *plan, enum route_kind kind, const char *network, const char *interface)
{
	plan->routes[plan->plan.route_count++] = route(kind, network, interface);
}

static void begin(void)
{
	sandbox_renew();
	CU_ASSERT_EQUAL(file_remove("/run/settings.json"), 0);
}

static struct routing *routing_make(void)
{
	struct routing *routing = NULL;
	CU_ASSERT_EQUAL_FATAL(routing_new(&routing), 0);
	routing_keep_settings(routing, "/run/settings.json");
	return routing;
}

static void apply(struct routing *routing, const struct plan *plan)
{
	int r = routing_apply(routing, &plan->plan);
	CU_ASSERT_EQUAL(r, 0);
	if (r < 0)
		printf("# %s\n", routing_error(routing));
}

/* ---- traffic ---- */

static struct sockaddr_storage address(const char *text, uint16_t port, socklen_t *ret_size)
{
	struct sockaddr_storage storage = {};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
	bool is_v6 = strchr(text, ':');
	storage.ss_family = is_v6 ? AF_INET6 : AF_INET;
	*(is_v6 ? &v6->sin6_port : &v4->sin_port) = htons(port);
	CU_ASSERT_EQUAL_FATAL(inet_pton(storage.ss_family, text, is_v6 ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr), 1);
	*ret_size = is_v6 ? sizeof *v6 : sizeof *v4;
	return storage;
}

/* What a program gets that sends PAYLOAD to TO without caring for routes: 0 or a negative errno. */
static int send_from(const char *to, uint16_t port, uint16_t from_port, uint32_t mark, const char *payload)
{
	socklen_t size;
	struct sockaddr_storage target = address(to, port, &size);
	_cleanup_close_ int fd = socket(target.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0)
		return -errno;
	if (from_port) {
		struct sockaddr_storage own = address(target.ss_family == AF_INET6 ? "::" : "0.0.0.0", from_port, &size);
		if (bind(fd, (struct sockaddr *)&own, size) < 0)
			return -errno;
	}
	return sendto(fd, payload, strlen(payload), 0, (struct sockaddr *)&target, size) < 0 ? -errno : 0;
}

static int send_to(const char *to, uint32_t mark, const char *payload)
{
	return send_from(to, 9, 0, mark, payload);
}

/* A TCP connection's first packet; the source address that it got goes into SOURCE. */
static int start_connection(const char *to, uint32_t mark, char source[IP_TEXT_MAX])
{
	socklen_t size;
	struct sockaddr_storage target = address(to, 7777, &size), own;
	_cleanup_close_ int fd = socket(target.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0)
		return -errno;
	int r = connect(fd, (struct sockaddr *)&target, size) < 0 ? -errno : 0;
	CU_ASSERT_EQUAL(getsockname(fd, (struct sockaddr *)&own, &size), 0);
	const void *bytes = own.ss_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)&own)->sin6_addr
						      : (void *)&((struct sockaddr_in *)&own)->sin_addr;
	inet_ntop(own.ss_family, bytes, source, IP_TEXT_MAX);
	return r;
}

static const char *const far_away[] = {"203.0.113.9", "2001:db8::9"};

/* Sends what a careless host sends; all of it must be taken by the device that leads nowhere. */
static void offer_unmarked(void)
{
	char source[IP_TEXT_MAX];
	for (size_t i = 0; i < ELEMENTSOF(far_away); i++) {
		CU_ASSERT_EQUAL(send_to(far_away[i], 0, "secret"), 0);
		CU_ASSERT_EQUAL(start_connection(far_away[i], 0, source), -EINPROGRESS);
	}
}

/* Nothing unmarked has come out, while each kind of marked traffic has: the control without which the first means nothing. */
static void expect_held(struct sandbox_uplink *uplink)
{
	char source[IP_TEXT_MAX];
	offer_unmarked();
	CU_ASSERT_EQUAL(send_to(far_away[0], MARK, "control-1"), 0);
	CU_ASSERT_EQUAL(sandbox_uplink_count(uplink, "secret", "control-1"), 0);
	offer_unmarked();
	CU_ASSERT_EQUAL(send_to(far_away[1], MARK, "control-2"), 0);
	CU_ASSERT_EQUAL(sandbox_uplink_count(uplink, NULL, "control-2"), 0);
	for (size_t i = 0; i < ELEMENTSOF(far_away); i++)
		CU_ASSERT_EQUAL(start_connection(far_away[i], MARK, source), -EINPROGRESS);
	CU_ASSERT_EQUAL(send_to(far_away[1], MARK, "control-3"), 0);
	CU_ASSERT_EQUAL(sandbox_uplink_count(uplink, NULL, "control-3"), 2);
}

/* ---- tests ---- */

static void removing_leaves_no_residue(void)
{
	struct sandbox_uplink uplink;
	struct plan plan;
	begin();
	sandbox_uplink_make(&uplink);
	sandbox_run("sysctl -qw net.ipv4.conf.all.ignore_routes_with_linkdown=1 net.ipv4.conf.eth0.rp_filter=1");
	_cleanup_free_ char *before = sandbox_dump();
	_cleanup_routing_ struct routing *routing = routing_make();
	CU_ASSERT_EQUAL(routing_verify(routing), 0);
	plan_closed(&plan);
	plan_add(&plan, ROUTE_THROW, "10.1.0.0/24", "");
	plan_add(&plan, ROUTE_THROW, "fd01::/64", "");
	apply(routing, &plan);
	CU_ASSERT_EQUAL(routing_verify(routing), 0);
	_cleanup_free_ char *during = sandbox_dump();
	CU_ASSERT_STRING_NOT_EQUAL(before, during);
	_cleanup_routing_ struct routing *other = routing_make(); /* as after a crash: whoever made it */
	CU_ASSERT_EQUAL(routing_verify(other), -ESTALE);
	CU_ASSERT_EQUAL(routing_remove(other), 0);
	_cleanup_free_ char *after = sandbox_dump();
	CU_ASSERT_STRING_EQUAL(before, after);
	CU_ASSERT_EQUAL(routing_remove(other), 0);
	CU_ASSERT_EQUAL(routing_verify(routing), -ESTALE);
	sandbox_uplink_done(&uplink);
}

static void rules_read_back_as_the_design_says(void)
{
	struct plan plan;
	begin();
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	plan.plan.grants = 0x69000000;
	plan.plan.grants_mask = 0xff000000;
	CU_ASSERT_EQUAL(ip_address_parse("10.8.0.1", &plan.plan.resolvers[plan.plan.resolver_count++]), 0);
	CU_ASSERT_EQUAL(ip_address_parse("2001:db8:8::1", &plan.plan.resolvers[plan.plan.resolver_count++]), 0);
	apply(routing, &plan);
	_cleanup_free_ char *rules = sandbox_read("ip -4 rule; ip -6 rule");
	CU_ASSERT_STRING_EQUAL(rules, "0:\tfrom all lookup local\n"
				      "5100:\tfrom all fwmark 0x68660000/0xffff0000 goto 5119 proto 104\n"
				      "5101:\tfrom all fwmark 0x68670000/0xffff0000 goto 5119 proto 104\n"
				      "5102:\tfrom all fwmark 0x68680000/0xffff0000 goto 5119 proto 104\n"
				      "5103:\tfrom all fwmark 0x68690000/0xffff0000 goto 5119 proto 104\n"
				      "5114:\tfrom all to 10.8.0.1 fwmark 0x69000000/0xff000000 dport 53 lookup 26726 proto 104\n"
				      "5114:\tfrom all to 10.8.0.1 fwmark 0x69000000/0xff000000 dport 853 lookup 26726 proto 104\n"
				      "5116:\tfrom all ipproto udp sport 68 dport 67 goto 5119 proto 104\n"
				      "5117:\tfrom all fwmark 0x69000000/0xff000000 goto 5119 proto 104\n"
				      "5118:\tfrom all lookup 26726 proto 104\n"
				      "5119:\tfrom all nop proto 104\n"
				      "32766:\tfrom all lookup main\n"
				      "32767:\tfrom all lookup default\n"
				      "0:\tfrom all lookup local\n"
				      "5100:\tfrom all fwmark 0x68660000/0xffff0000 goto 5119 proto 104\n"
				      "5101:\tfrom all fwmark 0x68670000/0xffff0000 goto 5119 proto 104\n"
				      "5102:\tfrom all fwmark 0x68680000/0xffff0000 goto 5119 proto 104\n"
				      "5103:\tfrom all fwmark 0x68690000/0xffff0000 goto 5119 proto 104\n"
				      "5114:\tfrom all to 2001:db8:8::1 fwmark 0x69000000/0xff000000 dport 53 lookup 26726 proto 104\n"
				      "5114:\tfrom all to 2001:db8:8::1 fwmark 0x69000000/0xff000000 dport 853 lookup 26726 proto 104\n"
				      "5116:\tfrom all ipproto udp sport 546 dport 547 goto 5119 proto 104\n"
				      "5117:\tfrom all fwmark 0x69000000/0xff000000 goto 5119 proto 104\n"
				      "5118:\tfrom all lookup 26726 proto 104\n"
				      "5119:\tfrom all nop proto 104\n"
				      "32766:\tfrom all lookup main\n");
	_cleanup_free_ char *before = sandbox_dump();
	apply(routing, &plan); /* what stands is left alone */
	_cleanup_free_ char *after = sandbox_dump();
	CU_ASSERT_STRING_EQUAL(before, after);
}

/* Each is done to a plan that stands; {} in it is nothing special to the shell. */
static const char *const foreign_hands[] = {
	"ip rule del pref 5118",
	"ip -6 rule del pref 5119",
	"ip rule del pref 5102",
	"ip rule flush",
	"ip -6 rule add pref 5117 lookup 26726",
	"ip rule add pref 5110 goto 5119",
	"ip rule add pref 5118 from 10.0.0.0/8 lookup 26726 proto 104",
	"ip rule del pref 5118 && ip rule add pref 5118 iif eth0 lookup 26726 proto 104",
	"ip route del default dev hf0 table 26726 && ip route add default dev hf0 table 26726 metric 4278198272 proto 104 src 10.1.0.2",
	"ip route add 198.51.100.0/24 dev eth0 table 26726",
	"ip route add default via 10.1.0.1 dev eth0 onlink table 26726",
	"ip -6 route add 2001:db8::/32 dev eth0 table 26726",
	"ip route replace default via 10.1.0.1 dev eth0 onlink table 26726 metric 4278198272",
	"ip -6 route del default dev hf0 table 26726",
	"ip route del unreachable default table 26726",
	"ip route add throw 198.51.100.0/24 table 26726",
	"ip route flush table 26726",
	"ip link set hf0 down",
	"ip link del hf0",
	"ip address flush dev hf0 && ip -6 route flush table 26726",
	"sysctl -qw net.ipv4.conf.all.ignore_routes_with_linkdown=1",
	"sysctl -qw net.ipv6.conf.hf0.ignore_routes_with_linkdown=1",
	"sysctl -qw net.ipv4.conf.eth0.rp_filter=1",
	"sysctl -qw net.ipv4.conf.all.arp_ignore=0",
	"ip link set hf0 down && ip link set hf0 name theirs",
	"sysctl -qw net.ipv6.conf.all.disable_ipv6=1",
};

static void foreign_changes_are_seen_and_undone(void)
{
	struct sandbox_uplink uplink;
	struct plan plan;
	begin();
	sandbox_uplink_make(&uplink);
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	apply(routing, &plan);
	for (size_t i = 0; i < ELEMENTSOF(foreign_hands); i++) {
		sandbox_run("%s", foreign_hands[i]);
		int seen = routing_verify(routing);
		int healed = routing_apply(routing, &plan.plan);
		CU_ASSERT_EQUAL(seen, -ESTALE);
		CU_ASSERT_EQUAL(healed, 0);
		CU_ASSERT_EQUAL(routing_verify(routing), 0);
		if (seen != -ESTALE || healed != 0)
			printf("# %s: seen %d, healed %d (%s)\n", foreign_hands[i], seen, healed, routing_error(routing));
		sandbox_run("ip rule | grep -q 'lookup main' || ip rule add pref 32766 lookup main");
		sandbox_run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0");
	}
	sandbox_uplink_done(&uplink);
}

static void others_objects_stay(void)
{
	struct plan plan;
	begin();
	sandbox_run("ip rule add pref 5090 from 192.0.2.1 lookup 77 && ip rule add pref 5107 from 192.0.2.2 lookup 78");
	sandbox_run("ip link add hf-other type veth peer name veth0 && ip route add unreachable 192.0.2.0/24 table 77");
	_cleanup_free_ char *before = sandbox_dump();
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	apply(routing, &plan);
	CU_ASSERT_EQUAL(routing_remove(routing), 0);
	_cleanup_free_ char *after = sandbox_dump();
	CU_ASSERT_STRING_EQUAL(before, after);
	int fd;
	CU_ASSERT_EQUAL(link_open_tun("hf-other", 0, false, &fd), -EEXIST);
	CU_ASSERT_EQUAL(link_open_tun("eth0", 0, false, &fd), -EPERM);
	CU_ASSERT_EQUAL(link_remove("veth0"), -EPERM);
	CU_ASSERT_EQUAL(link_remove("hf-"), -EPERM);
	CU_ASSERT_EQUAL(link_configure("lo", &(struct link_settings){}), -EPERM);
}

static void nothing_unmarked_leaves(void)
{
	struct sandbox_uplink uplink;
	struct plan plan;
	char source[IP_TEXT_MAX];
	begin();
	sandbox_uplink_make(&uplink);
	_cleanup_routing_ struct routing *routing = routing_make();
	/* Before: everything leaves, so the capture sees what it is to see. */
	for (size_t i = 0; i < ELEMENTSOF(far_away); i++)
		CU_ASSERT_EQUAL(send_to(far_away[i], 0, "secret"), 0);
	CU_ASSERT_EQUAL(send_to(far_away[0], 0, "control-0"), 0);
	CU_ASSERT_EQUAL(sandbox_uplink_count(&uplink, "secret", "control-0"), 2);
	plan_closed(&plan);
	apply(routing, &plan);
	expect_held(&uplink);
	CU_ASSERT_EQUAL(start_connection(far_away[0], 0, source), -EINPROGRESS);
	CU_ASSERT_STRING_EQUAL(source, "169.254.104.102");
	/* Routes that DHCP pushes (option 121) carry nothing. */
	sandbox_run("ip route add 203.0.113.0/24 via 10.1.0.1 dev eth0 && ip -6 route add 2001:db8::/64 via fd01::1 dev eth0");
	sandbox_run("ip route add 0.0.0.0/1 via 10.1.0.1 dev eth0");
	expect_held(&uplink);
	/* The host's own routes can come and go meanwhile. */
	sandbox_run("ip route del default && ip -6 route del default");
	sandbox_run("ip route add default via 10.1.0.1 dev eth0 && ip -6 route add default via fd01::1 dev eth0");
	expect_held(&uplink);
	sandbox_uplink_done(&uplink);
}

static void a_host_without_addresses_still_gets_a_source(void)
{
	struct plan plan;
	char source[IP_TEXT_MAX];
	begin();
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	apply(routing, &plan);
	CU_ASSERT_EQUAL(start_connection(far_away[0], 0, source), -EINPROGRESS);
	CU_ASSERT_STRING_EQUAL(source, "169.254.104.102");
	CU_ASSERT_EQUAL(start_connection(far_away[1], 0, source), -EINPROGRESS);
	CU_ASSERT_STRING_EQUAL(source, "fe80::6866");
	offer_unmarked();
	/* Which no other link takes for its own. */
	sandbox_run("ip link add eth0 type veth peer name eth1 && ip link set eth0 up && ip route add 198.51.100.0/24 dev eth0");
	(void)start_connection("198.51.100.1", MARK, source);
	CU_ASSERT_STRING_EQUAL(source, "0.0.0.0");
}

static void without_hf0_the_backstop_holds(void)
{
	struct sandbox_uplink uplink;
	struct plan plan;
	begin();
	sandbox_uplink_make(&uplink);
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	apply(routing, &plan);
	CU_ASSERT_EQUAL(link_remove(NETWORK_SINK), 0);
	for (size_t i = 0; i < ELEMENTSOF(far_away); i++)
		CU_ASSERT_EQUAL(send_to(far_away[i], 0, "secret"), -EHOSTUNREACH);
	CU_ASSERT_EQUAL(send_to(far_away[0], MARK, "control-1"), 0);
	CU_ASSERT_EQUAL(sandbox_uplink_count(&uplink, "secret", "control-1"), 0);
	CU_ASSERT_EQUAL(routing_verify(routing), -ESTALE);
	apply(routing, &plan);
	expect_held(&uplink);
	sandbox_uplink_done(&uplink);
}

/* The kernel starts a device's queue some time after its carrier came; what is sent before is dropped. */
static void wait_for_carrier(const char *name)
{
	sandbox_run("timeout 60 sh -c 'while ip link show %s | grep -q \"state DOWN\"; do :; done'", name);
}

static void expect_in_tunnel(int tunnel, const char *payload)
{
	char packet[2048];
	struct pollfd waiting = {.fd = tunnel, .events = POLLIN};
	bool seen = false;
	while (!seen && poll(&waiting, 1, 60000) == 1) {
		ssize_t length = read(tunnel, packet, sizeof packet);
		seen = length > 0 && memmem(packet, (size_t)length, payload, strlen(payload));
	}
	CU_ASSERT_TRUE(seen);
}

static int attach(const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	strcpy(request.ifr_name, name);
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	CU_ASSERT_EQUAL_FATAL(ioctl(fd, TUNSETIFF, &request), 0);
	return fd;
}

static void nobody_reads_what_falls_into_hf0(void)
{
	struct plan plan;
	char packet[2048];
	begin();
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	apply(routing, &plan);
	_cleanup_close_ int reader = attach(NETWORK_SINK);
	CU_ASSERT_EQUAL(routing_verify(routing), -ESTALE);
	wait_for_carrier(NETWORK_SINK);
	CU_ASSERT_EQUAL(send_to(far_away[0], 0, "secret"), 0);
	expect_in_tunnel(reader, "secret");
	apply(routing, &plan);
	CU_ASSERT_EQUAL(routing_verify(routing), 0);
	CU_ASSERT_EQUAL(send_to(far_away[0], 0, "secret"), 0);
	CU_ASSERT_EQUAL(read(reader, packet, sizeof packet), -1);
	CU_ASSERT_EQUAL(errno, EBADFD);
}

/* hf-home, up, with addresses; the descriptor is its client's end. */
static int make_tunnel(void)
{
	int fd = -1;
	const struct ip_prefix addresses[] = {prefix("10.9.0.2/32"), prefix("fd09::2/128")};
	CU_ASSERT_EQUAL_FATAL(link_open_tun("hf-home", 0, false, &fd), 0);
	CU_ASSERT_EQUAL(link_configure("hf-home", &(struct link_settings){addresses, 2, 1420, true}), 0);
	return fd;
}

static void the_tunnel_beats_the_catch_all(void)
{
	struct sandbox_uplink uplink;
	struct plan closed, open;
	char source[IP_TEXT_MAX];
	begin();
	sandbox_uplink_make(&uplink);
	_cleanup_routing_ struct routing *routing = routing_make();
	_cleanup_close_ int tunnel = make_tunnel();
	plan_closed(&closed);
	apply(routing, &closed);
	expect_held(&uplink);
	plan_closed(&open);
	plan_add(&open, ROUTE_TUNNEL, "0.0.0.0/0", "hf-home");
	plan_add(&open, ROUTE_TUNNEL, "::/0", "hf-home");
	apply(routing, &open);
	for (size_t i = 0; i < ELEMENTSOF(far_away); i++) {
		CU_ASSERT_EQUAL(send_to(far_away[i], 0, "through"), 0);
		expect_in_tunnel(tunnel, "through");
	}
	CU_ASSERT_EQUAL(start_connection(far_away[0], 0, source), -EINPROGRESS);
	CU_ASSERT_STRING_EQUAL(source, "10.9.0.2");
	CU_ASSERT_EQUAL(start_connection(far_away[1], 0, source), -EINPROGRESS);
	CU_ASSERT_STRING_EQUAL(source, "fd09::2");
	/* The client dies: the link has no carrier, is used all the same, and still nothing leaves. */
	closep(&tunnel);
	CU_ASSERT_EQUAL(routing_verify(routing), 0);
	expect_held(&uplink);
	CU_ASSERT_EQUAL(start_connection(far_away[1], 0, source), -EINPROGRESS);
	CU_ASSERT_STRING_EQUAL(source, "fd09::2");
	/* It comes back to the same link. */
	CU_ASSERT_EQUAL(link_open_tun("hf-home", 0, false, &tunnel), 0);
	wait_for_carrier("hf-home");
	CU_ASSERT_EQUAL(send_to(far_away[0], 0, "again"), 0);
	expect_in_tunnel(tunnel, "again");
	/* The link vanishes: the sink is there at once; a plan with the link in it says so. */
	CU_ASSERT_EQUAL(link_remove("hf-home"), 0);
	expect_held(&uplink);
	CU_ASSERT_EQUAL(routing_verify(routing), -ESTALE);
	CU_ASSERT_EQUAL(routing_apply(routing, &open.plan), -ENODEV);
	CU_ASSERT_PTR_NOT_NULL(strstr(routing_error(routing), "hf-home"));
	expect_held(&uplink);
	apply(routing, &closed);
	sandbox_uplink_done(&uplink);
}

static void a_switch_of_tunnels_replaces_the_route(void)
{
	struct plan plan;
	begin();
	_cleanup_routing_ struct routing *routing = routing_make();
	_cleanup_close_ int first = make_tunnel(), second = -1;
	CU_ASSERT_TRUE(first >= 0);
	CU_ASSERT_EQUAL(link_open_tun("hf-work", 0, false, &second), 0);
	CU_ASSERT_EQUAL(link_configure("hf-work", &(struct link_settings){.up = true}), 0);
	plan_closed(&plan);
	plan_add(&plan, ROUTE_TUNNEL, "0.0.0.0/0", "hf-home");
	plan_add(&plan, ROUTE_TUNNEL, "::/0", "hf-home");
	apply(routing, &plan);
	plan.plan.route_count = 2;
	plan_add(&plan, ROUTE_TUNNEL, "0.0.0.0/0", "hf-work");
	plan_add(&plan, ROUTE_TUNNEL, "::/0", "hf-work");
	apply(routing, &plan);
	for (size_t i = 0; i < ELEMENTSOF(far_away); i++) {
		CU_ASSERT_EQUAL(send_to(far_away[i], 0, "second"), 0);
		expect_in_tunnel(second, "second");
	}
}

static void throws_let_the_lan_by(void)
{
	struct sandbox_uplink uplink;
	struct plan plan;
	static const char *const lan[] = {"10.1.0.1", "fd01::1"};
	begin();
	sandbox_uplink_make(&uplink);
	_cleanup_routing_ struct routing *routing = routing_make();
	_cleanup_close_ int tunnel = make_tunnel();
	plan_closed(&plan);
	apply(routing, &plan);
	for (size_t i = 0; i < ELEMENTSOF(lan); i++)
		CU_ASSERT_EQUAL(send_to(lan[i], 0, "lan"), 0);
	CU_ASSERT_EQUAL(send_to(far_away[0], MARK, "control-1"), 0);
	CU_ASSERT_EQUAL(sandbox_uplink_count(&uplink, "lan", "control-1"), 0);
	plan_add(&plan, ROUTE_THROW, "10.1.0.0/24", "");
	plan_add(&plan, ROUTE_THROW, "fd01::/64", "");
	apply(routing, &plan);
	for (size_t i = 0; i < ELEMENTSOF(lan); i++)
		CU_ASSERT_EQUAL(send_to(lan[i], 0, "lan"), 0);
	CU_ASSERT_EQUAL(send_to(far_away[0], MARK, "control-2"), 0);
	CU_ASSERT_EQUAL(sandbox_uplink_count(&uplink, "lan", "control-2"), 2);
	expect_held(&uplink);
	/* At equal networks the tunnel's route wins, and its sink when the tunnel's link is gone. */
	plan_add(&plan, ROUTE_TUNNEL, "10.1.0.0/24", "hf-home");
	plan_add(&plan, ROUTE_SINK, "10.1.0.0/24", "");
	apply(routing, &plan);
	CU_ASSERT_EQUAL(send_to(lan[0], 0, "inside"), 0);
	expect_in_tunnel(tunnel, "inside");
	CU_ASSERT_EQUAL(link_remove("hf-home"), 0);
	CU_ASSERT_EQUAL(send_to(lan[0], 0, "inside"), 0);
	CU_ASSERT_EQUAL(link_remove(NETWORK_SINK), 0);
	CU_ASSERT_EQUAL(send_to(lan[0], 0, "inside"), -EHOSTUNREACH);
	CU_ASSERT_EQUAL(send_to(far_away[0], MARK, "control-4"), 0);
	CU_ASSERT_EQUAL(sandbox_uplink_count(&uplink, "inside", "control-4"), 0);
	sandbox_uplink_done(&uplink);
}

static void dhcp_renewals_go_by(void)
{
	struct sandbox_uplink uplink;
	struct plan plan;
	begin();
	sandbox_uplink_make(&uplink);
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	apply(routing, &plan);
	CU_ASSERT_EQUAL(send_from(far_away[0], 67, 68, 0, "renew"), 0);
	CU_ASSERT_EQUAL(send_from(far_away[1], 547, 546, 0, "renew"), 0);
	CU_ASSERT_EQUAL(send_from(far_away[0], 67, 1068, 0, "renew"), 0);
	CU_ASSERT_EQUAL(send_from(far_away[0], 69, 68, 0, "renew"), 0);
	CU_ASSERT_EQUAL(send_from(far_away[1], 67, 68, 0, "renew"), 0);
	CU_ASSERT_EQUAL(send_to(far_away[0], MARK, "control-1"), 0);
	CU_ASSERT_EQUAL(sandbox_uplink_count(&uplink, "renew", "control-1"), 2);
	sandbox_uplink_done(&uplink);
}

/* A request comes in by the uplink from an address that only hf0 leads to. */
static void a_strict_rp_filter_does_not_cut_the_uplink_off(void)
{
	struct sandbox_uplink uplink;
	struct plan plan;
	char packet[16];
	socklen_t size;
	begin();
	sandbox_uplink_make(&uplink);
	sandbox_run("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1");
	_cleanup_routing_ struct routing *routing = routing_make();
	struct sockaddr_storage own = address("0.0.0.0", 5000, &size);
	_cleanup_close_ int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL(bind(server, (struct sockaddr *)&own, size), 0);
	plan_closed(&plan);
	apply(routing, &plan);
	sandbox_run("nsenter --net=/proc/%d/fd/%d bash -c 'echo -n hello >/dev/udp/10.1.0.2/5000'", getpid(), uplink.namespace_fd);
	struct pollfd waiting = {.fd = server, .events = POLLIN};
	CU_ASSERT_EQUAL(poll(&waiting, 1, 60000), 1);
	CU_ASSERT_EQUAL(recv(server, packet, sizeof packet, MSG_DONTWAIT), 5);
	sandbox_uplink_done(&uplink);
}

/* What the host's own hand sets meanwhile is neither what was there before, nor Holdfast's to take back. */
static void settings_are_put_back_to_what_they_were(void)
{
	static const char all[] = "net/ipv4/conf/all/rp_filter", linkdown[] = "net/ipv4/conf/all/ignore_routes_with_linkdown";
	struct plan plan;
	begin();
	sandbox_run("ip link add eth0 type veth peer name far0 && sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=1");
	sandbox_run("sysctl -qw net.ipv4.conf.all.ignore_routes_with_linkdown=1");
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	apply(routing, &plan);
	CU_ASSERT_EQUAL(sysctl_read(all), 2);
	sandbox_run("sysctl -qw net.ipv4.conf.all.rp_filter=1");
	apply(routing, &plan);
	CU_ASSERT_EQUAL(sysctl_read(all), 2);
	CU_ASSERT_EQUAL(routing_remove(routing), 0);
	CU_ASSERT_EQUAL(sysctl_read(all), 0);
	CU_ASSERT_EQUAL(sysctl_read(linkdown), 1);
	apply(routing, &plan);
	sandbox_run("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
	CU_ASSERT_EQUAL(routing_remove(routing), 0);
	CU_ASSERT_EQUAL(sysctl_read(all), 0);
	CU_ASSERT_EQUAL(sysctl_read(linkdown), 1);
}

/* A client that is being restarted leaves its link without a carrier: its routes go on all the same. */
static void a_tunnels_link_keeps_its_routes_without_a_carrier(void)
{
	static const char own[] = "net/ipv4/conf/hf-a/ignore_routes_with_linkdown";
	struct plan plan;
	begin();
	_cleanup_close_ int client = -1;
	CU_ASSERT_EQUAL(link_open_tun("hf-a", 0, false, &client), 0);
	CU_ASSERT_EQUAL(link_configure("hf-a", &(struct link_settings){.up = true}), 0);
	sandbox_run("sysctl -qw net.ipv4.conf.hf-a.ignore_routes_with_linkdown=1");
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	plan_add(&plan, ROUTE_TUNNEL, "0.0.0.0/0", "hf-a");
	apply(routing, &plan);
	CU_ASSERT_EQUAL(sysctl_read(own), 0);
	sandbox_run("sysctl -qw net.ipv4.conf.hf-a.ignore_routes_with_linkdown=1");
	CU_ASSERT_EQUAL(routing_verify(routing), -ESTALE);
	apply(routing, &plan);
	CU_ASSERT_EQUAL(sysctl_read(own), 0);
	CU_ASSERT_EQUAL(routing_remove(routing), 0);
	CU_ASSERT_EQUAL(link_remove("hf-a"), 0);
}

/* One of two tunnels' routes to one network takes the other's place, and no answer of the kernel's says so. */
static void what_was_done_is_read_back(void)
{
	struct plan plan;
	begin();
	sandbox_run("ip link add hf-a type veth peer name hf-b && ip link set hf-a up && ip link set hf-b up");
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	plan_add(&plan, ROUTE_TUNNEL, "192.0.2.0/24", "hf-a");
	plan_add(&plan, ROUTE_TUNNEL, "192.0.2.0/24", "hf-b");
	CU_ASSERT_EQUAL(routing_apply(routing, &plan.plan), -ESTALE);
	CU_ASSERT_PTR_NOT_NULL(strstr(routing_error(routing), "reading back"));
	CU_ASSERT_EQUAL(routing_verify(routing), -ESTALE);
	CU_ASSERT_EQUAL(routing_remove(routing), 0);
}

static void plans_that_make_no_sense_change_nothing(void)
{
	struct plan plan;
	begin();
	_cleanup_free_ char *before = sandbox_dump();
	_cleanup_routing_ struct routing *routing = routing_make();
	plan_closed(&plan);
	plan.plan.mark = 0x68660001;
	CU_ASSERT_EQUAL(routing_apply(routing, &plan.plan), -EINVAL);
	plan_closed(&plan);
	plan.plan.resolver_count = ROUTING_RESOLVERS_MAX + 1;
	CU_ASSERT_EQUAL(routing_apply(routing, &plan.plan), -EINVAL);
	plan.plan.resolver_count = 0;
	plan.plan.kinds = ROUTING_KINDS_MAX + 1;
	CU_ASSERT_EQUAL(routing_apply(routing, &plan.plan), -EINVAL);
	plan_closed(&plan);
	plan_add(&plan, ROUTE_TUNNEL, "0.0.0.0/0", "eth0");
	CU_ASSERT_EQUAL(routing_apply(routing, &plan.plan), -EINVAL);
	CU_ASSERT_STRING_NOT_EQUAL(routing_error(routing), "");
	_cleanup_free_ char *after = sandbox_dump();
	CU_ASSERT_STRING_EQUAL(before, after);
}

static void links_change_only_what_differs(void)
{
	struct ip_prefix addresses[] = {prefix("10.9.0.2/24"), prefix("10.9.0.3/24"), prefix("fd09::2/64")};
	struct link_settings settings = {addresses, 3, 1380, true};
	struct link_status status;
	uint64_t rx, tx;
	begin();
	_cleanup_close_ int fd = -1, second = -1;
	CU_ASSERT_EQUAL(link_open_tun("hf-home", 65534, false, &fd), 0);
	CU_ASSERT_EQUAL(link_open_tun("hf-home", 65534, false, &second), -EBUSY);
	CU_ASSERT_EQUAL(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	CU_ASSERT_EQUAL(link_configure("hf-home", &settings), 0);
	CU_ASSERT_EQUAL(link_query("hf-home", &status), 0);
	CU_ASSERT_TRUE(status.up && status.carrier && status.is_tun && status.mtu == 1380);
	_cleanup_free_ char *before = sandbox_dump();
	CU_ASSERT_EQUAL(link_configure("hf-home", &settings), 0);
	_cleanup_free_ char *after = sandbox_dump();
	CU_ASSERT_STRING_EQUAL(before, after);
	CU_ASSERT_PTR_NULL(strstr(after, "fe80"));   /* nothing of its own */
	CU_ASSERT_PTR_NULL(strstr(after, "10.9.0.0/24")); /* and no route in main */
	addresses[0] = prefix("10.8.0.2/32"); /* the primary goes, its secondary stays */
	settings.mtu = 0;
	CU_ASSERT_EQUAL(link_configure("hf-home", &settings), 0);
	_cleanup_free_ char *shown = sandbox_read("ip -o address show dev hf-home | awk '{print $4}' | sort");
	CU_ASSERT_STRING_EQUAL(shown, "10.8.0.2/32\n10.9.0.3/24\nfd09::2/64\n");
	CU_ASSERT_EQUAL(link_query("hf-home", &status), 0);
	CU_ASSERT_EQUAL(status.mtu, 1380);
	CU_ASSERT_EQUAL(link_counters("hf-home", &rx, &tx), 0);
	CU_ASSERT_EQUAL(rx, 0);
	CU_ASSERT_EQUAL(link_remove("hf-home"), 0);
	CU_ASSERT_EQUAL(link_remove("hf-home"), 0);
	CU_ASSERT_EQUAL(link_query("hf-home", &status), -ENODEV);
	CU_ASSERT_EQUAL(link_configure("hf-home", &settings), -ENODEV);
	CU_ASSERT_EQUAL(link_counters("hf-home", &rx, &tx), -ENODEV);
}

static const struct test tests[] = {
	{"links change only what differs", links_change_only_what_differs},
	{"rules read back as the design says", rules_read_back_as_the_design_says},
	{"removing leaves no residue, whoever made it", removing_leaves_no_residue},
	{"foreign changes are seen and undone", foreign_changes_are_seen_and_undone},
	{"what is not Holdfast's stays", others_objects_stay},
	{"nothing unmarked leaves, and what is marked does", nothing_unmarked_leaves},
	{"a host without addresses still gets a source into the void", a_host_without_addresses_still_gets_a_source},
	{"without hf0 the backstop holds", without_hf0_the_backstop_holds},
	{"nobody reads what falls into hf0", nobody_reads_what_falls_into_hf0},
	{"the tunnel's route beats the catch-all, and leaves it behind", the_tunnel_beats_the_catch_all},
	{"a switch of tunnels replaces the route", a_switch_of_tunnels_replaces_the_route},
	{"throws let the LAN by, but never what a tunnel claims", throws_let_the_lan_by},
	{"DHCP renewals go by, and nothing like them", dhcp_renewals_go_by},
	{"a strict rp_filter does not cut the uplink off", a_strict_rp_filter_does_not_cut_the_uplink_off},
	{"settings are put back to what they were", settings_are_put_back_to_what_they_were},
	{"a tunnel's link keeps its routes without a carrier", a_tunnels_link_keeps_its_routes_without_a_carrier},
	{"what was done is read back", what_was_done_is_read_back},
	{"plans that make no sense change nothing", plans_that_make_no_sense_change_nothing},
};

int main(int argc, char **argv)
{
	sandbox_enter();
	return suite_run("network-routing", tests, ELEMENTSOF(tests), argc, argv);
}
