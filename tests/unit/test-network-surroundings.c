/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is known of the primary uplink. NetworkManager is a mock here (python3-dbusmock's template) on a real, private dbus-daemon; the
 * lab has the real one. Wi-Fi is shown on messages put together here: it takes a kernel with nl80211 and a radio to have real ones.
 */

#include <linux/genetlink.h>
#include <linux/nl80211.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "network/netlink.h"
#include "network/surroundings.h"
#include "network/wireless.h"
#include "sandbox.h"
#include "suite.h"
#include "util/text.h"

#define ADDRESS "unix:path=/tmp/bus"
#define MANAGER "/org/freedesktop/NetworkManager"
#define MOCK	"org.freedesktop.DBus.Mock"
#define DEVICE	MANAGER "/Devices/radio"
#define POINT	MANAGER "/AccessPoint/"

static const char configuration[] =
	"<busconfig><type>system</type><listen>" ADDRESS "</listen><auth>EXTERNAL</auth><policy context='default'><allow user='*'/><allow own='*'/>"
	"<allow send_destination='*' eavesdrop='true'/><allow receive_sender='*'/></policy></busconfig>";

struct world {
	sd_event *event;
	struct system_bus *bus;
	struct networkmanager *manager;
	unsigned told;
};

static pid_t bus_pid, mock_pid;

static pid_t start(char *const command[])
{
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execvp(command[0], command);
		_exit(127);
	}
	return pid;
}

static void end(pid_t *pid)
{
	if (*pid <= 0)
		return;
	kill(*pid, SIGKILL);
	(void)waitpid(*pid, NULL, 0);
	*pid = 0;
}

static void start_bus(void)
{
	int ready[2];
	char byte, number[24];
	CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
	FILE *file = fopen("/tmp/bus.conf", "w");
	fputs(configuration, file);
	fclose(file);
	snprintf(number, sizeof number, "--print-address=%d", ready[1]);
	bus_pid = start((char *[]){"dbus-daemon", "--config-file=/tmp/bus.conf", "--nofork", "--nopidfile", number, NULL});
	close(ready[1]);
	CU_ASSERT_EQUAL_FATAL(read(ready[0], &byte, 1), 1);
	close(ready[0]);
}

static void start_mock(void)
{
	mock_pid = start((char *[]){"/usr/bin/python3", "-m", "dbusmock", "--template", "networkmanager", "--logfile", "/tmp/mock.log", NULL});
	sandbox_run("gdbus wait --system --timeout 60 org.freedesktop.NetworkManager");
}

#define MOCK_CALL(object, method) "gdbus call --system -d org.freedesktop.NetworkManager -o " object " -m " method " "

/* A Wi-Fi device wlan0 with two access points of one network and a profile for it, which is not active yet. */
static void add_radio(void)
{
	sandbox_run(MOCK_CALL("/org/freedesktop", MOCK ".AddWiFiDevice") "radio wlan0 30 >/tmp/out");
	sandbox_run(MOCK_CALL("/org/freedesktop", MOCK ".AddAccessPoint") DEVICE " one office 0A:1B:2C:3D:4E:5F 2 2412 54 80 256 >/tmp/out");
	sandbox_run(MOCK_CALL("/org/freedesktop", MOCK ".AddWiFiConnection") DEVICE " office office wpa-psk >/tmp/out");
	sandbox_run(MOCK_CALL("/org/freedesktop", MOCK ".AddAccessPoint") DEVICE " two office 0A:1B:2C:3D:4E:60 2 2412 54 80 256 >/tmp/out");
	sandbox_run(MOCK_CALL(DEVICE, MOCK ".AddProperty") "org.freedesktop.NetworkManager.Device.Wireless ActiveAccessPoint \"<objectpath '" POINT
							   "one'>\" >/tmp/out");
	sandbox_run(MOCK_CALL(DEVICE, MOCK ".AddProperty") "org.freedesktop.NetworkManager.Device Metered '<uint32 3>' >/tmp/out");
}

static void activate(unsigned state)
{
	sandbox_run(MOCK_CALL("/org/freedesktop", MOCK ".AddActiveConnection") "\"['" DEVICE "']\" " MANAGER "/Settings/office " POINT
									       "one now %u >/tmp/out",
		state);
}

#define SET(object, interface, name, value) \
	sandbox_run(MOCK_CALL(object, "org.freedesktop.DBus.Properties.Set") "org.freedesktop.NetworkManager" interface " " name " \"<" value ">\" >/tmp/out")

/* ---- the world ---- */

static void on_changed(void *userdata)
{
	((struct world *)userdata)->told++;
}

static void world_begin(struct world *world, uint64_t grace_usec)
{
	*world = (struct world){};
	CU_ASSERT_TRUE_FATAL(sd_event_new(&world->event) >= 0);
	CU_ASSERT_TRUE_FATAL(system_bus_new(&world->bus, world->event) >= 0);
	CU_ASSERT_TRUE_FATAL(networkmanager_new(&world->manager, world->event, world->bus, grace_usec, on_changed, world) >= 0);
	networkmanager_set_interface(world->manager, "wlan0");
	system_bus_start(world->bus);
}

static void world_end(struct world *world)
{
	system_bus_free(world->bus);
	networkmanager_free(world->manager);
	sd_event_unref(world->event);
	end(&mock_pid);
	end(&bus_pid);
	(void)unlink("/tmp/bus");
}

static const struct networkmanager_facts *facts(struct world *world)
{
	return networkmanager_facts(world->manager);
}

typedef bool (*condition)(const struct networkmanager_facts *facts);

/* Turns the loop until the facts say so; false: nothing has happened for a minute. */
static bool until(struct world *world, condition good)
{
	while (!good(facts(world)))
		if (sd_event_run(world->event, 60 * USEC_PER_SEC) <= 0)
			return false;
	return true;
}

static bool is_answered(const struct networkmanager_facts *facts)
{
	return facts->source == FACT_KNOWN;
}

static bool is_unknown(const struct networkmanager_facts *facts)
{
	return facts->source == FACT_UNKNOWN;
}

static bool is_none(const struct networkmanager_facts *facts)
{
	return facts->source == FACT_NONE;
}

static bool is_activated(const struct networkmanager_facts *facts)
{
	return facts->profile.fact == FACT_KNOWN;
}

static bool is_activating(const struct networkmanager_facts *facts)
{
	return facts->managed && facts->profile.fact == FACT_UNKNOWN;
}

static bool is_at_portal(const struct networkmanager_facts *facts)
{
	return facts->connectivity == CONNECTIVITY_PORTAL;
}

static bool is_at_second_point(const struct networkmanager_facts *facts)
{
	return strcmp(facts->bssid.value, "0a:1b:2c:3d:4e:60") == 0;
}

static bool is_at_first_point(const struct networkmanager_facts *facts)
{
	return strcmp(facts->bssid.value, "0a:1b:2c:3d:4e:5f") == 0;
}

static bool is_left(const struct networkmanager_facts *facts)
{
	return facts->source == FACT_KNOWN && !facts->managed;
}

/* ---- tests ---- */

static void without_a_bus_there_is_none(void)
{
	struct world world;
	world_begin(&world, USEC_PER_SEC);
	CU_ASSERT_EQUAL(facts(&world)->source, FACT_NONE);
	CU_ASSERT_EQUAL(facts(&world)->profile.fact, FACT_NONE);
	world_end(&world);
}

static void a_bus_that_does_not_answer_is_unknown(void)
{
	struct world world;
	start_bus();
	kill(bus_pid, SIGSTOP);
	world_begin(&world, USEC_PER_SEC);
	while (sd_event_run(world.event, 0) > 0)
		;
	CU_ASSERT_EQUAL(facts(&world)->source, FACT_UNKNOWN);
	CU_ASSERT_EQUAL(facts(&world)->profile.fact, FACT_UNKNOWN);
	kill(bus_pid, SIGCONT);
	CU_ASSERT_TRUE(until(&world, is_none));
	world_end(&world);
}

static void it_comes_late_and_is_heard(void)
{
	struct world world;
	world_begin(&world, USEC_PER_SEC);
	start_bus();
	start_mock();
	add_radio();
	CU_ASSERT_TRUE(until(&world, is_answered));
	CU_ASSERT_TRUE(until(&world, is_left));
	CU_ASSERT_EQUAL(facts(&world)->profile.fact, FACT_NONE);
	CU_ASSERT_EQUAL(facts(&world)->ssid.fact, FACT_NONE);
	activate(2);
	CU_ASSERT_TRUE(until(&world, is_activated));
	CU_ASSERT_EQUAL(strlen(facts(&world)->profile.value), 36);
	CU_ASSERT_EQUAL(facts(&world)->type, LINK_TYPE_WIFI);
	CU_ASSERT_STRING_EQUAL(facts(&world)->ssid.value, "office");
	CU_ASSERT_STRING_EQUAL(facts(&world)->bssid.value, "0a:1b:2c:3d:4e:5f");
	CU_ASSERT_TRUE(facts(&world)->metered.fact == FACT_KNOWN && facts(&world)->metered.value);
	CU_ASSERT_EQUAL(facts(&world)->connectivity, CONNECTIVITY_FULL);

	SET(DEVICE, ".Device.Wireless", "ActiveAccessPoint", "objectpath '" POINT "two'");
	CU_ASSERT_TRUE(until(&world, is_at_second_point));
	SET(DEVICE, ".Device.Wireless", "ActiveAccessPoint", "objectpath '" POINT "one'"); /* again: by now nothing else is on its way */
	CU_ASSERT_TRUE(until(&world, is_at_first_point));
	SET(MANAGER, "", "Connectivity", "uint32 2");
	CU_ASSERT_TRUE(until(&world, is_at_portal));
	networkmanager_set_interface(world.manager, "eth0"); /* a link that it does not know */
	CU_ASSERT_EQUAL(facts(&world)->profile.fact, FACT_UNKNOWN);
	world_end(&world);
}

static void a_profile_counts_once_it_is_activated(void)
{
	struct world world;
	start_bus();
	start_mock();
	add_radio();
	activate(1);
	world_begin(&world, USEC_PER_SEC);
	CU_ASSERT_TRUE(until(&world, is_activating));
	SET(MANAGER "/ActiveConnection/now", ".Connection.Active", "State", "uint32 2");
	CU_ASSERT_TRUE(until(&world, is_activated));
	SET(MANAGER "/ActiveConnection/now", ".Connection.Active", "State", "uint32 3");
	CU_ASSERT_TRUE(until(&world, is_activating));
	world_end(&world);
}

static void one_that_is_gone_is_unknown_and_then_none(void)
{
	struct world world;
	start_bus();
	start_mock();
	add_radio();
	activate(2);
	world_begin(&world, USEC_PER_SEC);
	CU_ASSERT_TRUE(until(&world, is_activated));
	end(&mock_pid);
	CU_ASSERT_TRUE(until(&world, is_unknown));
	CU_ASSERT_EQUAL(facts(&world)->profile.fact, FACT_UNKNOWN);
	CU_ASSERT_EQUAL(facts(&world)->metered.fact, FACT_UNKNOWN);
	CU_ASSERT_TRUE(until(&world, is_none));
	CU_ASSERT_EQUAL(facts(&world)->profile.fact, FACT_NONE);
	world_end(&world);
}

static void the_bus_dies_and_comes_back(void)
{
	struct world world;
	start_bus();
	start_mock();
	add_radio();
	activate(2);
	world_begin(&world, 3600 * USEC_PER_SEC);
	CU_ASSERT_TRUE(until(&world, is_activated));
	end(&bus_pid);
	CU_ASSERT_TRUE(until(&world, is_unknown));
	end(&mock_pid);
	(void)unlink("/tmp/bus");
	start_bus();
	start_mock();
	add_radio();
	activate(2);
	CU_ASSERT_TRUE(until(&world, is_activated));
	world_end(&world);
}

static void names_of_networks_are_any_bytes(void)
{
	static const struct {
		const char *bytes;
		size_t length;
		const char *text; /* NULL: none */
	} cases[] = {
		{"office", 6, "office"},
		{"caf\xc3\xa9 \xf0\x9f\x8d\xb0", 10, "caf\xc3\xa9 \xf0\x9f\x8d\xb0"},
		{"caf\xe9", 4, "caf\\xe9"},
		{"a\0b\n\x7f", 5, "a\\x00b\\x0a\\x7f"},
		{"a\\x00", 5, "a\\x5cx00"},
		{"\xc2\x9b[2J", 5, "\\xc2\\x9b[2J"},
		{"\xed\xa0\x80", 3, "\\xed\\xa0\\x80"},
		{"\xc0\xaf", 2, "\\xc0\\xaf"},
		{"\xf0\x9f\x8d", 3, "\\xf0\\x9f\\x8d"},
		{"", 0, NULL},
		{"123456789012345678901234567890123", 33, NULL},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct text_fact fact = ssid_fact(cases[i].bytes, cases[i].length);
		CU_ASSERT_EQUAL(fact.fact, cases[i].text ? FACT_KNOWN : FACT_NONE);
		CU_ASSERT_STRING_EQUAL(fact.value, cases[i].text ? cases[i].text : "");
	}
	char worst[32];
	memset(worst, 0xff, sizeof worst);
	CU_ASSERT_EQUAL(strlen(ssid_fact(worst, sizeof worst).value), 128);
}

/* One answer to NL80211_CMD_GET_SCAN. STATUS below zero: not in use. */
static struct nl_msg *scan_result(int status, const void *elements, size_t length, size_t bssid_length)
{
	static const unsigned char bssid[] = {0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f};
	struct genlmsghdr header = {.cmd = NL80211_CMD_NEW_SCAN_RESULTS};
	struct nl_msg *message = netlink_message(28, 0, &header, sizeof header);
	struct nlattr *bss = nla_nest_start(message, NL80211_ATTR_BSS);
	nla_put(message, NL80211_BSS_BSSID, (int)bssid_length, bssid);
	nla_put(message, NL80211_BSS_INFORMATION_ELEMENTS, (int)length, elements);
	if (status >= 0)
		nla_put_u32(message, NL80211_BSS_STATUS, (uint32_t)status);
	nla_nest_end(message, bss);
	return message;
}

static void the_access_point_in_use_is_read(void)
{
	static const unsigned char elements[] = {1, 1, 0x82, 0, 6, 'o', 'f', 'f', 'i', 'c', 'e', 3, 1, 6};
	static const unsigned char cut[] = {1, 1, 0x82, 0, 6, 'o', 'f', 'f'}, odd[] = {0};
	static const struct {
		int status;
		const void *elements;
		size_t length, bssid_length;
		int result;
		const char *ssid, *bssid;
	} cases[] = {
		{NL80211_BSS_STATUS_ASSOCIATED, elements, sizeof elements, 6, 0, "office", "0a:1b:2c:3d:4e:5f"},
		{NL80211_BSS_STATUS_IBSS_JOINED, elements, sizeof elements, 6, 0, "office", "0a:1b:2c:3d:4e:5f"},
		{NL80211_BSS_STATUS_AUTHENTICATED, elements, sizeof elements, 6, 0, "", ""},
		{-1, elements, sizeof elements, 6, 0, "", ""},
		{NL80211_BSS_STATUS_ASSOCIATED, cut, sizeof cut, 6, 0, "", "0a:1b:2c:3d:4e:5f"},
		{NL80211_BSS_STATUS_ASSOCIATED, odd, sizeof odd, 6, 0, "", "0a:1b:2c:3d:4e:5f"},
		{NL80211_BSS_STATUS_ASSOCIATED, elements, sizeof elements, 5, -EBADMSG, "", ""},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct wireless_facts facts = {};
		_cleanup_message_ struct nl_msg *message =
			scan_result(cases[i].status, cases[i].elements, cases[i].length, cases[i].bssid_length);
		CU_ASSERT_EQUAL(wireless_read_bss(nlmsg_hdr(message), &facts), cases[i].result);
		CU_ASSERT_STRING_EQUAL(facts.ssid.value, cases[i].ssid);
		CU_ASSERT_STRING_EQUAL(facts.bssid.value, cases[i].bssid);
	}
	struct wireless_facts facts = {};
	struct genlmsghdr header = {.cmd = NL80211_CMD_NEW_SCAN_RESULTS};
	_cleanup_message_ struct nl_msg *empty = netlink_message(28, 0, &header, sizeof header);
	CU_ASSERT_EQUAL(wireless_read_bss(nlmsg_hdr(empty), &facts), -EBADMSG);
}

static void on_surroundings(const struct surroundings *now, void *userdata)
{
	++*(unsigned *)userdata;
}

static void an_ethernet_link_has_no_wireless_network(void)
{
	struct network_state state = {.primary = "lo", .primary_index = 1, .primary_type = LINK_TYPE_ETHERNET};
	struct surroundings_watch *watch;
	struct system_bus *bus;
	sd_event *event;
	unsigned told = 0;
	CU_ASSERT_TRUE_FATAL(sd_event_new(&event) >= 0);
	CU_ASSERT_TRUE_FATAL(system_bus_new(&bus, event) >= 0);
	CU_ASSERT_TRUE_FATAL(surroundings_watch_new(&watch, event, bus, on_surroundings, &told) >= 0);
	surroundings_watch_set_state(watch, &state);
	const struct surroundings *now = surroundings_now(watch);
	CU_ASSERT_FALSE(surroundings_settled(now)); /* the bus has not been looked for yet */
	CU_ASSERT_EQUAL(now->ssid.fact, FACT_UNKNOWN);
	system_bus_start(bus);
	CU_ASSERT_TRUE(surroundings_settled(now));
	CU_ASSERT_EQUAL(now->ssid.fact, FACT_NONE);
	CU_ASSERT_EQUAL(now->profile.fact, FACT_NONE);
	CU_ASSERT_EQUAL(now->metered.fact, FACT_NONE);
	CU_ASSERT_STRING_EQUAL(now->interface, "lo");
	CU_ASSERT_EQUAL(told, 2);
	surroundings_watch_set_state(watch, &(struct network_state){});
	CU_ASSERT_STRING_EQUAL(now->interface, "");
	CU_ASSERT_EQUAL(told, 3);
	system_bus_free(bus);
	surroundings_watch_free(watch);
	sd_event_unref(event);
}

static const struct test tests[] = {
	{"without a bus there is no NetworkManager", without_a_bus_there_is_none},
	{"a bus that does not answer leaves everything unknown, not absent", a_bus_that_does_not_answer_is_unknown},
	{"NetworkManager comes late; its profile, Wi-Fi, access point and connectivity are followed (mock)", it_comes_late_and_is_heard},
	{"a profile is unknown until it is activated, and while it is being taken down (mock)", a_profile_counts_once_it_is_activated},
	{"a NetworkManager that is gone is unknown for a while and then none (mock)", one_that_is_gone_is_unknown_and_then_none},
	{"the bus dies and comes back: unknown meanwhile, then the profile again (mock)", the_bus_dies_and_comes_back},
	{"an SSID's bytes become text that is safe to show and never ambiguous", names_of_networks_are_any_bytes},
	{"nl80211: the access point in use is read from the scan's results, torn ones too", the_access_point_in_use_is_read},
	{"without NetworkManager and Wi-Fi every such fact is none", an_ethernet_link_has_no_wireless_network},
};

int main(int argc, char **argv)
{
	sandbox_enter();
	setenv("DBUS_SYSTEM_BUS_ADDRESS", ADDRESS, 1);
	return suite_run("surroundings", tests, ELEMENTSOF(tests), argc, argv);
}
