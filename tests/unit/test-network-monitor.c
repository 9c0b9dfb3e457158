/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the kernel says of links, addresses and routes, as the monitor tells it. */

#include <errno.h>
#include <fcntl.h>
#include <net/if_arp.h>
#include <string.h>

#include "network/link-class.h"
#include "network/link.h"
#include "network/monitor.h"
#include "network/routing.h"
#include "sandbox.h"
#include "suite.h"
#include "util/text.h"

DEFINE_CLEANUP(struct routing *, routing_free)

/* A loop, a monitor, and what it has told: links as a transcript, the rest as counts. */
struct watch {
	sd_event *event;
	struct network_monitor *monitor;
	struct text links;
	unsigned changed, touched;
	struct network_state last;
};

static void on_changed(const struct network_state *state, void *userdata)
{
	struct watch *watch = userdata;
	watch->changed++;
	watch->last = *state;
}

static void on_link(const char *interface, enum link_presence presence, void *userdata)
{
	static const char *const names[] = {[LINK_ABSENT] = "absent", [LINK_DOWN] = "down", [LINK_UP] = "up"};
	struct watch *watch = userdata;
	text_append(&watch->links, "%s %s\n", interface, names[presence]);
	CU_ASSERT_EQUAL(network_monitor_link(watch->monitor, interface), presence);
}

static void on_touched(void *userdata)
{
	((struct watch *)userdata)->touched++;
}

static void watch_begin(struct watch *watch)
{
	static const struct network_callbacks callbacks = {on_changed, on_link, on_touched};
	*watch = (struct watch){};
	CU_ASSERT_TRUE_FATAL(sd_event_new(&watch->event) >= 0);
	CU_ASSERT_EQUAL_FATAL(network_monitor_new(&watch->monitor, watch->event, &callbacks, watch), 0);
}

/* Turns the loop until nothing is waiting: all that the kernel has announced by now has been told. */
static void settle(struct watch *watch)
{
	while (sd_event_run(watch->event, 0) > 0)
		;
}

/* Turns the loop until the state says so, for what the kernel does a moment later. */
static bool wait_for(struct watch *watch, bool (*good)(const struct network_state *state))
{
	for (;;) {
		if (good(network_monitor_state(watch->monitor)))
			return true;
		if (sd_event_run(watch->event, 60 * USEC_PER_SEC) <= 0)
			return false;
	}
}

static void watch_end(struct watch *watch)
{
	network_monitor_free(watch->monitor);
	sd_event_unref(watch->event);
	text_done(&watch->links);
}

static bool is_available(const struct network_state *state)
{
	return state->available;
}

static bool is_unavailable(const struct network_state *state)
{
	return !state->available;
}

/* The names, with a blank after each. */
static const char *list(char (*names)[IFNAMSIZ], size_t count)
{
	static char text[NETWORK_LINKS_MAX * IFNAMSIZ];
	text[0] = 0;
	for (size_t i = 0; i < count; i++)
		strcat(strcat(text, names[i]), " ");
	return text;
}

#define UPLINKS(watch) list((watch)->last.uplinks, (watch)->last.uplink_count)
#define LOCAL_LINKS(watch) list((watch)->last.local_links, (watch)->last.local_link_count)

/* ---- tests ---- */

static void links_are_classified(void)
{
	static const struct {
		struct link_facts facts;
		enum link_class class;
	} cases[] = {
		{{.name = "lo", .flags = IFF_LOOPBACK, .hardware = ARPHRD_LOOPBACK}, LINK_CLASS_LOOPBACK},
		{{.name = "hf0", .kind = "tun", .hardware = ARPHRD_NONE, .carried = true}, LINK_CLASS_OWN},
		{{.name = "hf-home", .kind = "wireguard", .named = true}, LINK_CLASS_OWN},
		{{.name = "eth0", .hardware = ARPHRD_ETHER}, LINK_CLASS_UPLINK},
		{{.name = "eth0", .hardware = ARPHRD_ETHER, .has_parent = true}, LINK_CLASS_UPLINK},
		{{.name = "wwan0", .kind = "wwan", .hardware = ARPHRD_NONE, .has_parent = true}, LINK_CLASS_UPLINK},
		{{.name = "tun0", .kind = "tun", .hardware = ARPHRD_NONE, .carried = true}, LINK_CLASS_TUNNEL},
		{{.name = "wg0", .kind = "wireguard", .hardware = ARPHRD_NONE, .carried = true}, LINK_CLASS_TUNNEL},
		{{.name = "ppp0", .kind = "ppp", .hardware = ARPHRD_PPP, .carried = true}, LINK_CLASS_TUNNEL},
		{{.name = "ppp0", .kind = "ppp", .hardware = ARPHRD_PPP, .named = true}, LINK_CLASS_UPLINK},
		{{.name = "vnet0", .kind = "tun", .hardware = ARPHRD_ETHER}, LINK_CLASS_LOCAL},
		{{.name = "docker0", .kind = "bridge", .hardware = ARPHRD_ETHER}, LINK_CLASS_LOCAL},
		{{.name = "br0", .kind = "bridge", .hardware = ARPHRD_ETHER, .carried = true}, LINK_CLASS_UPLINK},
		{{.name = "veth12", .kind = "veth", .hardware = ARPHRD_ETHER}, LINK_CLASS_LOCAL},
		{{.name = "eth0", .kind = "veth", .hardware = ARPHRD_ETHER, .carried = true}, LINK_CLASS_UPLINK},
		{{.name = "bond0", .kind = "bond", .hardware = ARPHRD_ETHER, .carried = true}, LINK_CLASS_UPLINK},
		{{.name = "eth0.7", .kind = "vlan", .hardware = ARPHRD_ETHER, .stacked = true}, LINK_CLASS_UPLINK},
		{{.name = "gre1", .kind = "gretap", .hardware = ARPHRD_ETHER, .stacked = true}, LINK_CLASS_TUNNEL},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++)
		CU_ASSERT_STRING_EQUAL(link_class_to_string(link_classify(&cases[i].facts)), link_class_to_string(cases[i].class));
}

static void links_have_a_type(void)
{
	static const struct {
		struct link_facts facts;
		const char *devtype;
		enum link_type type;
	} cases[] = {
		{{.name = "eth0", .hardware = ARPHRD_ETHER}, "", LINK_TYPE_ETHERNET},
		{{.name = "eth0", .kind = "veth", .hardware = ARPHRD_ETHER}, "", LINK_TYPE_ETHERNET},
		{{.name = "wlan0", .hardware = ARPHRD_ETHER}, "wlan", LINK_TYPE_WIFI},
		{{.name = "usb0", .hardware = ARPHRD_ETHER}, "wwan", LINK_TYPE_WWAN},
		{{.name = "wwan0", .kind = "wwan", .hardware = ARPHRD_NONE}, "", LINK_TYPE_WWAN},
		{{.name = "bnep0", .hardware = ARPHRD_ETHER}, "bluetooth", LINK_TYPE_BLUETOOTH},
		{{.name = "br0", .kind = "bridge", .hardware = ARPHRD_ETHER}, "bridge", LINK_TYPE_OTHER},
		{{.name = "bond0", .kind = "bond", .hardware = ARPHRD_ETHER}, "", LINK_TYPE_OTHER},
		{{.name = "ppp0", .kind = "ppp", .hardware = ARPHRD_PPP}, "ppp", LINK_TYPE_OTHER},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++)
		CU_ASSERT_STRING_EQUAL(link_type_to_string(link_type_of(&cases[i].facts, cases[i].devtype)), link_type_to_string(cases[i].type));
}

static void the_primary_uplink_has_the_best_route(void)
{
	struct watch watch;
	sandbox_renew();
	/* Link-local addresses come some time after the links, and would be changes. */
	sandbox_run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
	sandbox_run("ip link add eth1 type veth peer name far1 && ip link add eth2 type veth peer name far2");
	sandbox_run("for l in eth1 far1 eth2 far2; do ip link set $l up; done; ip address add 10.1.1.2/24 dev eth1; ip address add 10.1.2.2/24 dev eth2");
	sandbox_run("timeout 60 sh -c 'until [ $(ip -br link | grep -c \" UP \") -eq 4 ]; do :; done'"); /* the kernel says so a moment later */
	watch_begin(&watch);
	const struct network_state *state = network_monitor_state(watch.monitor);
	CU_ASSERT_STRING_EQUAL(state->primary, "");
	sandbox_run("ip route add default via 10.1.1.1 metric 600");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(state->primary, "eth1");
	CU_ASSERT_EQUAL(state->primary_type, LINK_TYPE_ETHERNET);
	uint64_t before = state->fingerprint;
	sandbox_run("ip route add default via 10.1.2.1 metric 100");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(state->primary, "eth2");
	CU_ASSERT_NOT_EQUAL(state->fingerprint, before);
	unsigned changed = watch.changed;
	/* NetworkManager's check fails behind a closed gate: its penalty makes no other network. */
	sandbox_run("ip route add default via 10.1.2.1 metric 20100 && ip route del default via 10.1.2.1 metric 100");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(state->primary, "eth2");
	CU_ASSERT_EQUAL(watch.changed, changed);
	sandbox_run("ip link set eth2 down");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(state->primary, "eth1");
	sandbox_run("ip link set eth1 down");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(state->primary, "");
	CU_ASSERT_EQUAL(state->primary_index, 0);
	watch_end(&watch);
}

static void an_uplink_is_what_carries_a_default_route(void)
{
	struct sandbox_uplink uplink;
	struct watch watch;
	sandbox_renew();
	watch_begin(&watch);
	CU_ASSERT_FALSE(network_monitor_state(watch.monitor)->available);
	sandbox_uplink_make(&uplink);
	sandbox_run("ip link add docker0 type bridge && ip address add 172.17.0.1/16 dev docker0 && ip link set docker0 up");
	sandbox_run("ip link add veth1 type veth peer name veth2 && ip tuntap add dev vnet0 mode tap && ip tuntap add dev tun9 mode tun");
	CU_ASSERT_TRUE(wait_for(&watch, is_available));
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "eth0 ");
	CU_ASSERT_STRING_EQUAL(LOCAL_LINKS(&watch), "docker0 veth1 veth2 vnet0 ");
	/* A default route through somebody else's tunnel makes no uplink of it. */
	sandbox_run("ip link set tun9 up && ip route add 0.0.0.0/0 dev tun9 metric 5");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "eth0 ");
	/* The route goes: no longer available, still an uplink, as long as the link exists. */
	sandbox_run("ip route del default dev eth0 && ip -6 route del default dev eth0");
	settle(&watch);
	CU_ASSERT_FALSE(watch.last.available);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "eth0 ");
	sandbox_run("ip link set eth0 name eth1");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "eth1 ");
	sandbox_run("ip link del eth1 && ip link add eth1 type veth peer name veth3");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "");
	/* The settings name one. */
	static const char names[][IFNAMSIZ] = {"veth1", "tun9", "hf0"};
	network_monitor_set_named_uplinks(watch.monitor, names, 3);
	CU_ASSERT_EQUAL(network_monitor_state(watch.monitor)->uplink_count, 2);
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "tun9 veth1 ");
	watch_end(&watch);
	sandbox_uplink_done(&uplink);
}

static void what_leads_into_an_uplink_is_one(void)
{
	struct watch watch;
	sandbox_renew();
	watch_begin(&watch);
	sandbox_run("ip link add docker0 type bridge && ip link add veth1 type veth peer name veth2 && ip link set veth1 master docker0");
	sandbox_run("ip link add up0 type veth peer name up1 && ip link add link up0 name mac0 type macvlan && ip link add br0 type bridge");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(LOCAL_LINKS(&watch), "br0 docker0 mac0 up0 up1 veth1 veth2 ");
	static const char names[][IFNAMSIZ] = {"up0"};
	network_monitor_set_named_uplinks(watch.monitor, names, 1);
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "mac0 up0 "); /* not the veth's other end */
	sandbox_run("ip link set mac0 master br0");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "br0 mac0 up0 ");
	CU_ASSERT_STRING_EQUAL(LOCAL_LINKS(&watch), "docker0 up1 veth1 veth2 ");
	sandbox_run("ip link set mac0 nomaster");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "mac0 up0 ");
	network_monitor_set_named_uplinks(watch.monitor, NULL, 0);
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "");
	watch_end(&watch);
}

static uint64_t former_fingerprint;

static bool is_as_before(const struct network_state *state)
{
	return state->fingerprint == former_fingerprint;
}

static void without_a_carrier_the_network_is_unavailable(void)
{
	struct sandbox_uplink uplink;
	struct watch watch;
	sandbox_renew();
	sandbox_uplink_make(&uplink);
	watch_begin(&watch);
	CU_ASSERT_TRUE(network_monitor_state(watch.monitor)->available);
	uint64_t before = network_monitor_state(watch.monitor)->fingerprint;
	_cleanup_free_ char *far_down = text_format("nsenter --net=/proc/%d/fd/%d ip link set far", getpid(), uplink.namespace_fd);
	sandbox_run("%s down", far_down);
	CU_ASSERT_TRUE(wait_for(&watch, is_unavailable));
	CU_ASSERT_NOT_EQUAL(network_monitor_state(watch.monitor)->fingerprint, before);
	CU_ASSERT_STRING_EQUAL(UPLINKS(&watch), "eth0 ");
	sandbox_run("%s up", far_down);
	CU_ASSERT_TRUE(wait_for(&watch, is_available));
	former_fingerprint = before;
	CU_ASSERT_TRUE(wait_for(&watch, is_as_before)); /* what IPv6 needs comes back later */
	watch_end(&watch);
	sandbox_uplink_done(&uplink);
}

static void the_fingerprint_knows_another_uplink(void)
{
	struct sandbox_uplink uplink;
	struct watch watch;
	static const struct {
		const char *command;
		bool same;
	} steps[] = {
		{"ip route add default via 10.1.0.1 dev eth0 metric 20000 && ip route del default metric 0", true},
		{"ip link add docker1 type bridge && ip address add 172.18.0.1/16 dev docker1", true},
		{"ip address add 10.1.0.77/24 dev eth0", false},
		{"ip address del 10.1.0.77/24 dev eth0", false},
		{"ip route replace default via 10.1.0.254 dev eth0 metric 20000", false},
		{"ip -6 route del default", false},
	};
	sandbox_renew();
	sandbox_uplink_make(&uplink);
	watch_begin(&watch);
	for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
		uint64_t before = network_monitor_state(watch.monitor)->fingerprint;
		sandbox_run("%s", steps[i].command);
		settle(&watch);
		bool same = network_monitor_state(watch.monitor)->fingerprint == before;
		CU_ASSERT_EQUAL(same, steps[i].same);
		if (same != steps[i].same)
			printf("# %s\n", steps[i].command);
	}
	watch_end(&watch);
	sandbox_uplink_done(&uplink);
}

static void attached_networks_come_from_addresses(void)
{
	struct sandbox_uplink uplink;
	struct watch watch;
	_cleanup_text_ struct text text = TEXT_NULL;
	char buffer[IP_TEXT_MAX];
	sandbox_renew();
	sandbox_uplink_make(&uplink);
	sandbox_run("ip link add docker0 type bridge && ip address add 172.17.0.1/16 dev docker0");
	sandbox_run("ip tuntap add dev tun9 mode tun && ip address add 10.50.0.1/24 dev tun9 && ip address add 10.60.0.1/32 dev docker0");
	watch_begin(&watch);
	const struct network_state *state = network_monitor_state(watch.monitor);
	for (size_t i = 0; i < state->attached_count; i++)
		text_append(&text, "%s %s\n", state->attached[i].interface, ip_prefix_format(buffer, &state->attached[i].network));
	CU_ASSERT_STRING_EQUAL(text.bytes, "docker0 172.17.0.0/16\neth0 10.1.0.0/24\neth0 fd01::/64\neth0 fe80::/64\n");
	watch_end(&watch);
	sandbox_uplink_done(&uplink);
}

static void own_links_are_told_at_once_and_in_order(void)
{
	struct watch watch;
	sandbox_renew();
	watch_begin(&watch);
	int fd = -1;
	CU_ASSERT_EQUAL(link_open_tun("hf-home", 0, false, &fd), 0);
	CU_ASSERT_EQUAL(link_configure("hf-home", &(struct link_settings){.up = true}), 0);
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(watch.links.bytes, "hf-home down\nhf-home up\n");
	CU_ASSERT_EQUAL(network_monitor_link(watch.monitor, "hf-home"), LINK_UP);
	/* Its client dies: the link stays up. A bridge announces its ports in the same words as links. */
	close(fd);
	sandbox_run("ip link add br0 type bridge && ip link add hf-x type veth peer name veth0");
	sandbox_run("ip link set hf-x master br0 && ip link set hf-x nomaster");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(watch.links.bytes, "hf-home down\nhf-home up\nhf-x down\n");
	sandbox_run("ip link set hf-home down && ip link set hf-home up && ip link del hf-home && ip link set hf-x name veth1");
	settle(&watch);
	CU_ASSERT_STRING_EQUAL(watch.links.bytes, "hf-home down\nhf-home up\nhf-x down\n"
						 "hf-home down\nhf-home up\nhf-home down\nhf-home absent\nhf-x absent\n");
	CU_ASSERT_EQUAL(network_monitor_link(watch.monitor, "hf-home"), LINK_ABSENT);
	CU_ASSERT_EQUAL(watch.changed, 2); /* br0 and the veths came, and one was renamed: each settling tells once */
	watch_end(&watch);
}

static void lost_messages_are_made_up_for(void)
{
	struct watch watch;
	sandbox_renew();
	int first = -1, second = -1;
	CU_ASSERT_EQUAL(link_open_tun("hf-a", 0, false, &first), 0);
	watch_begin(&watch);
	CU_ASSERT_EQUAL(link_open_tun("hf-b", 0, false, &second), 0);
	/* More than the socket's buffer can take, while nobody reads. */
	sandbox_run("for i in $(seq 6000); do echo link set lo mtu $((65000 + i %% 2)); done | ip -batch -");
	CU_ASSERT_EQUAL(link_configure("hf-b", &(struct link_settings){.up = true}), 0);
	CU_ASSERT_EQUAL(link_remove("hf-a"), 0);
	settle(&watch);
	CU_ASSERT_EQUAL(network_monitor_link(watch.monitor, "hf-a"), LINK_ABSENT);
	CU_ASSERT_EQUAL(network_monitor_link(watch.monitor, "hf-b"), LINK_UP);
	CU_ASSERT_PTR_NOT_NULL(strstr(watch.links.bytes, "hf-a absent\n"));
	CU_ASSERT_TRUE(watch.touched > 0);
	close(first);
	close(second);
	watch_end(&watch);
}

static void foreign_hands_on_the_second_layer_are_told(void)
{
	static const char *const hands[] = {
		"ip rule del pref 5118",
		"ip -6 rule del pref 5102",
		"ip route del default dev hf0 table 26726",
		"ip -6 route add 2001:db8::/32 dev hf0 table 26726",
		"ip link set hf0 down",
		"ip link del hf0",
		"sysctl -qw net.ipv4.conf.all.ignore_routes_with_linkdown=1",
		"sysctl -qw net.ipv4.conf.all.rp_filter=1",
		"sysctl -qw net.ipv4.conf.all.arp_ignore=0",
	};
	struct routing_route sinks[] = {
		{ROUTE_SINK, {{AF_INET, {}}, 0}, ""},
		{ROUTE_SINK, {{AF_INET6, {}}, 0}, ""},
	};
	struct routing_plan plan = {true, 0x68660000, 0xffff0000, 4, sinks, 2};
	struct watch watch;
	sandbox_renew();
	_cleanup_(routing_freep) struct routing *routing = NULL;
	CU_ASSERT_EQUAL_FATAL(routing_new(&routing), 0);
	routing_keep_settings(routing, "/run/settings.json");
	watch_begin(&watch);
	for (size_t i = 0; i < ELEMENTSOF(hands); i++) {
		CU_ASSERT_EQUAL(routing_apply(routing, &plan), 0);
		settle(&watch);
		watch.touched = 0;
		sandbox_run("%s", hands[i]);
		settle(&watch);
		CU_ASSERT_TRUE(watch.touched > 0);
		CU_ASSERT_EQUAL(routing_verify(routing), -ESTALE);
		if (watch.touched == 0)
			printf("# %s\n", hands[i]);
	}
	/* A reader of hf0 is told by its carrier alone; a tunnel's IPv4 routes go with its link, unannounced. */
	_cleanup_close_ int reader = -1, other = -1;
	CU_ASSERT_EQUAL(routing_apply(routing, &plan), 0);
	CU_ASSERT_EQUAL(link_open_tun("hf-a", 0, false, &other), 0);
	settle(&watch);
	watch.touched = 0;
	CU_ASSERT_EQUAL(link_open_tun(NETWORK_SINK, 0, false, &reader), 0);
	settle(&watch);
	CU_ASSERT_TRUE(watch.touched > 0);
	CU_ASSERT_EQUAL(routing_verify(routing), -ESTALE);
	watch.touched = 0;
	CU_ASSERT_EQUAL(link_remove("hf-a"), 0);
	settle(&watch);
	CU_ASSERT_TRUE(watch.touched > 0);
	/* What does not concern it is not told. */
	CU_ASSERT_EQUAL(routing_apply(routing, &plan), 0);
	settle(&watch);
	watch.touched = 0;
	sandbox_run("ip rule add pref 77 lookup 78 && ip route add unreachable 192.0.2.0/24");
	settle(&watch);
	CU_ASSERT_EQUAL(watch.touched, 0);
	CU_ASSERT_EQUAL(routing_remove(routing), 0);
	watch_end(&watch);
}

static void lookups_know_uplinks(void)
{
	struct sandbox_uplink uplink;
	struct watch watch;
	struct ip_address address;
	struct routing_route sinks[] = {{ROUTE_SINK, {{AF_INET, {}}, 0}, ""}, {ROUTE_SINK, {{AF_INET6, {}}, 0}, ""}};
	struct routing_plan plan = {true, 0x68660000, 0xffff0000, 4, sinks, 2};
	sandbox_renew();
	sandbox_uplink_make(&uplink);
	_cleanup_(routing_freep) struct routing *routing = NULL;
	CU_ASSERT_EQUAL_FATAL(routing_new(&routing), 0);
	routing_keep_settings(routing, "/run/settings.json");
	CU_ASSERT_EQUAL(routing_apply(routing, &plan), 0);
	watch_begin(&watch);
	static const char *const far_away[] = {"203.0.113.9", "2001:db8::9"};
	for (size_t i = 0; i < ELEMENTSOF(far_away); i++) {
		CU_ASSERT_EQUAL(ip_address_parse(far_away[i], &address), 0);
		CU_ASSERT_TRUE(network_has_route(watch.monitor, &address, 0x68660000));
		CU_ASSERT_FALSE(network_has_route(watch.monitor, &address, 0));
	}
	CU_ASSERT_EQUAL(ip_address_parse("127.0.0.1", &address), 0);
	CU_ASSERT_FALSE(network_has_route(watch.monitor, &address, 0x68660000));
	sandbox_run("ip link set eth0 down");
	settle(&watch);
	CU_ASSERT_EQUAL(ip_address_parse("203.0.113.9", &address), 0);
	CU_ASSERT_FALSE(network_has_route(watch.monitor, &address, 0x68660000));
	watch_end(&watch);
	sandbox_uplink_done(&uplink);
}

static void classes_have_names(void)
{
	for (int class = LINK_CLASS_LOOPBACK; class <= LINK_CLASS_UPLINK; class++) {
		enum link_class parsed;
		CU_ASSERT_EQUAL(link_class_from_string(link_class_to_string((enum link_class)class), &parsed), 0);
		CU_ASSERT_EQUAL((int)parsed, class);
	}
}

static const struct test tests[] = {
	{"links are classified", links_are_classified},
	{"links have a type, as policies name it", links_have_a_type},
	{"the primary uplink is the running one with the best route; NetworkManager's penalty does not count", the_primary_uplink_has_the_best_route},
	{"classes have names", classes_have_names},
	{"an uplink is what carries a default route, or has, or is named", an_uplink_is_what_carries_a_default_route},
	{"what leads into an uplink is one", what_leads_into_an_uplink_is_one},
	{"without a carrier the network is unavailable", without_a_carrier_the_network_is_unavailable},
	{"the fingerprint knows another uplink from the same", the_fingerprint_knows_another_uplink},
	{"attached networks come from the addresses of uplinks and local links", attached_networks_come_from_addresses},
	{"own links are told at once and in order", own_links_are_told_at_once_and_in_order},
	{"lost messages are made up for", lost_messages_are_made_up_for},
	{"foreign hands on the second layer are told", foreign_hands_on_the_second_layer_are_told},
	{"lookups know uplinks", lookups_know_uplinks},
};

int main(int argc, char **argv)
{
	sandbox_enter();
	return suite_run("network-monitor", tests, ELEMENTSOF(tests), argc, argv);
}
