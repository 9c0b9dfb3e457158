/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The D-Bus front on a private bus: a real dbus-daemon with a socket of its own, a double of the operations behind the front, a double
 * of polkit beside it, and clients in the same event loop. Must run as root, since callers of another user are part of what is shown.
 */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <time.h>

#include "dbus/service.h"
#include "fake-operations.h"
#include "suite.h"
#include "util/file.h"
#include "util/macro.h"
#include "util/text.h"

#define NAME	"org.holdfast.Holdfast1"
#define ROOT	"/org/holdfast/Holdfast1"
#define HOME	ROOT "/tunnel/home"
#define NOBODY	65534
#define PATIENCE_USEC (60 * USEC_PER_SEC) /* a bound for broken code, not a measure of working code */

/* --- the bus --- */

static char folder[] = "/tmp/holdfast-test-dbus-XXXXXX";
static char *configuration, *address;
static pid_t bus_pid;

static void prepare(void)
{
	static const char text[] = "<busconfig><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>"
				   "<policy context='default'><allow user='*'/><allow send_destination='*' eavesdrop='true'/><allow eavesdrop='true'/>"
				   "<allow own='*'/></policy></busconfig>";
	if (!mkdtemp(folder) || chmod(folder, 0755) < 0)
		abort();
	configuration = text_format("%s/bus.conf", folder);
	address = text_format("unix:path=%s/bus", folder);
	_cleanup_free_ char *document = text_format(text, folder);
	if (file_write_atomic(configuration, document, strlen(document), 0644) < 0)
		abort();
	setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
}

static void bus_stop(int number)
{
	kill(bus_pid, number);
	(void)waitpid(bus_pid, NULL, 0);
	bus_pid = 0;
}

/* Returns once the bus listens: it has printed its address then. */
static void bus_start(void)
{
	int fds[2];
	char byte;
	if (bus_pid > 0)
		bus_stop(SIGKILL); /* a test before ended halfway */
	if (pipe(fds) < 0)
		abort();
	bus_pid = fork();
	if (bus_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_cleanup_free_ char *config = text_format("--config-file=%s", configuration);
		_cleanup_free_ char *print = text_format("--print-address=%d", fds[1]);
		close(fds[0]);
		execlp("dbus-daemon", "dbus-daemon", config, "--nofork", "--nopidfile", print, NULL);
		_exit(127);
	}
	close(fds[1]);
	CU_ASSERT_EQUAL_FATAL(read(fds[0], &byte, 1), 1);
	close(fds[0]);
}

static void cleanup(void)
{
	_cleanup_free_ char *socket = text_format("%s/bus", folder);
	if (bus_pid > 0)
		bus_stop(SIGKILL);
	(void)unlink(socket);
	(void)unlink(configuration);
	(void)rmdir(folder);
	free(configuration);
	free(address);
}

/* --- the world of one test --- */

struct polkit {
	sd_bus *bus;
	char action[64]; /* last asked about */
	char granted[64]; /* the one action that is granted; "" for none */
	int challenge;
	unsigned flags, asked;
};

static struct world {
	sd_event *event;
	struct manager *manager;
	struct dbus_service *service;
	sd_bus *root, *nobody;
	struct polkit polkit;
	char signals[4096]; /* what was heard, in order */
} world;

static uint64_t now_usec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

/* Turns the loop until CONDITION holds. False if it never does. */
#define until(condition)                                                                                                   \
	({                                                                                                                 \
		uint64_t deadline_ = now_usec() + PATIENCE_USEC;                                                           \
		while (!(condition) && now_usec() < deadline_)                                                             \
			sd_event_run(world.event, 100 * USEC_PER_MSEC);                                                    \
		!!(condition);                                                                                             \
	})

/* A bus connection whose socket was made by user UID: the bus keeps who connected. */
static sd_bus *client_new(uid_t uid)
{
	sd_bus *bus = NULL;
	CU_ASSERT_EQUAL_FATAL(sd_bus_new(&bus), 0);
	sd_bus_set_address(bus, address);
	sd_bus_set_bus_client(bus, true);
	CU_ASSERT_EQUAL_FATAL(seteuid(uid), 0);
	CU_ASSERT_FATAL(sd_bus_start(bus) >= 0);
	CU_ASSERT_EQUAL_FATAL(seteuid(0), 0);
	CU_ASSERT_FATAL(sd_bus_attach_event(bus, world.event, 0) >= 0);
	return bus;
}

static int keep_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	*(sd_bus_message **)userdata = sd_bus_message_ref(reply);
	return 0;
}

static bool name_is_there(void)
{
	sd_bus_message *reply = NULL;
	int there = false;
	sd_bus_call_method_async(world.root, NULL, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
		"NameHasOwner", keep_reply, &reply, "s", NAME);
	CU_ASSERT_TRUE_FATAL(until(reply));
	sd_bus_message_read(reply, "b", &there);
	sd_bus_message_unref(reply);
	return there;
}

static void world_begin_without_bus(void)
{
	world = (struct world){};
	CU_ASSERT_FATAL(sd_event_new(&world.event) >= 0);
	world.manager = fake_manager_new();
	CU_ASSERT_EQUAL_FATAL(dbus_service_new(&world.service, world.event, world.manager), 0);
}

static void world_meet(void)
{
	world.root = client_new(0);
	world.nobody = client_new(NOBODY);
	CU_ASSERT_TRUE_FATAL(until(name_is_there()));
}

static void world_begin(void)
{
	bus_start();
	world_begin_without_bus();
	world_meet();
}

static void clients_end(void)
{
	world.root = sd_bus_close_unref(world.root);
	world.nobody = sd_bus_close_unref(world.nobody);
	world.polkit.bus = sd_bus_close_unref(world.polkit.bus);
}

static void world_end(void)
{
	clients_end();
	dbus_service_free(world.service);
	fake_manager_free(world.manager);
	sd_event_unref(world.event);
	if (bus_pid > 0)
		bus_stop(SIGTERM);
}

/* --- polkit's double --- */

static int check_authorization(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct polkit *polkit = userdata;
	const char *kind, *action;
	if (sd_bus_message_enter_container(message, 'r', "sa{sv}") < 0 || sd_bus_message_read(message, "s", &kind) < 0 ||
		strcmp(kind, "system-bus-name") != 0 || sd_bus_message_skip(message, "a{sv}") < 0 ||
		sd_bus_message_exit_container(message) < 0 || sd_bus_message_read(message, "s", &action) < 0 ||
		sd_bus_message_skip(message, "a{ss}") < 0 || sd_bus_message_read(message, "u", &polkit->flags) < 0)
		return sd_bus_reply_method_errnof(message, EINVAL, "not as polkit wants it");
	polkit->asked++;
	snprintf(polkit->action, sizeof polkit->action, "%s", action);
	int granted = strcmp(action, polkit->granted) == 0;
	return sd_bus_reply_method_return(message, "(bba{ss})", granted, granted ? 0 : polkit->challenge, 0);
}

static const sd_bus_vtable polkit_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", check_authorization, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};

static void polkit_begin(const char *granted, bool challenge)
{
	sd_bus_message *reply = NULL;
	snprintf(world.polkit.granted, sizeof world.polkit.granted, "%s", granted);
	world.polkit.challenge = challenge;
	world.polkit.bus = client_new(0);
	sd_bus_add_object_vtable(world.polkit.bus, NULL, "/org/freedesktop/PolicyKit1/Authority",
		"org.freedesktop.PolicyKit1.Authority", polkit_vtable, &world.polkit);
	sd_bus_request_name_async(world.polkit.bus, NULL, "org.freedesktop.PolicyKit1", 0, keep_reply, &reply);
	CU_ASSERT_TRUE_FATAL(until(reply));
	sd_bus_message_unref(reply);
}

/* --- talking --- */

static sd_bus_message *last_reply; /* of call() */

/* Calls, turns the loop until the reply is there, and says "ok" or "ERROR: message". Arguments as for sd_bus_message_append(). */
#define call(bus, path, interface, member, ...)                                                                            \
	({                                                                                                                 \
		begin(bus, path, interface, member, __VA_ARGS__);                                                          \
		CU_ASSERT_TRUE_FATAL(until(last_reply));                                                                   \
		verdict();                                                                                                 \
	})
#define begin(bus, path, interface, member, ...)                                                                           \
	({                                                                                                                 \
		last_reply = sd_bus_message_unref(last_reply);                                                             \
		CU_ASSERT_FATAL(sd_bus_call_method_async(bus, NULL, NAME, path, interface, member, keep_reply, &last_reply, \
					__VA_ARGS__) >= 0);                                                        \
	})

static const char *verdict(void)
{
	static char text[1024];
	const sd_bus_error *error = sd_bus_message_get_error(last_reply);
	if (!error)
		return "ok";
	snprintf(text, sizeof text, "%s: %s", error->name, error->message);
	return text;
}

/* The whole of MESSAGE as one line, typed: s"text" t12 … */
static void describe(sd_bus_message *message, struct text *text)
{
	char type;
	const char *contents;
	while (sd_bus_message_peek_type(message, &type, &contents) > 0) {
		if (strchr("arve", type)) {
			text_append(text, "%c(", type == 'r' ? 'r' : type);
			sd_bus_message_enter_container(message, type, contents);
			describe(message, text);
			sd_bus_message_exit_container(message);
			text_append(text, ")");
			continue;
		}
		union {
			const char *string;
			uint64_t wide;
			int64_t integer;
			uint32_t narrow;
			int boolean;
			double fraction;
		} value = {};
		sd_bus_message_read_basic(message, type, &value);
		if (strchr("sog", type))
			text_append(text, "'%s'", value.string);
		else if (type == 'b')
			text_append(text, "%s", value.boolean ? "true" : "false");
		else if (type == 't')
			text_append(text, "%llu", (unsigned long long)value.wide);
		else
			text_append(text, "%lld", (long long)value.integer);
		text_append(text, " ");
	}
}

static const char *reply_text(void)
{
	static char text[8192];
	_cleanup_text_ struct text description = TEXT_NULL;
	describe(last_reply, &description);
	snprintf(text, sizeof text, "%s", description.bytes ? description.bytes : "");
	return text;
}

static const char *get(const char *path, const char *interface, const char *property)
{
	const char *result = call(world.root, path, "org.freedesktop.DBus.Properties", "Get", "ss", interface, property);
	return strcmp(result, "ok") == 0 ? reply_text() : result;
}

static int hear(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	_cleanup_text_ struct text line = TEXT_NULL;
	describe(message, &line);
	size_t length = strlen(world.signals);
	const char *path = sd_bus_message_get_path(message);
	snprintf(world.signals + length, sizeof world.signals - length, "%s %s %s\n", strrchr(path, '/') + 1,
		sd_bus_message_get_member(message), line.bytes ? line.bytes : "");
	return 0;
}

#define ASSERT_TEXT(is, should)                                                                                            \
	do {                                                                                                               \
		const char *is_ = (is), *should_ = (should);                                                               \
		CU_ASSERT_STRING_EQUAL(is_, should_);                                                                      \
		if (strcmp(is_, should_) != 0)                                                                             \
			printf("# is:     %s\n# should: %s\n", is_, should_);                                              \
	} while (0)
#define ASSERT_HOLDS(text, part)                                                                                           \
	do {                                                                                                               \
		const char *text_ = (text), *part_ = (part);                                                               \
		CU_ASSERT_PTR_NOT_NULL(strstr(text_, part_));                                                              \
		if (!strstr(text_, part_))                                                                                 \
			printf("# %s\n# is not in: %s\n", part_, text_);                                                   \
	} while (0)

static void listen(void)
{
	sd_bus_message *reply = NULL;
	_cleanup_free_ char *match = text_format("type='signal',sender='%s'", NAME);
	sd_bus_add_match_async(world.root, NULL, match, hear, keep_reply, &reply);
	CU_ASSERT_TRUE_FATAL(until(reply));
	sd_bus_message_unref(reply);
	/* The bus knew the name before the service heard of it, which tells nothing until then: an answer comes behind that. */
	ASSERT_TEXT(call(world.root, ROOT, "org.freedesktop.DBus.Peer", "Ping", ""), "ok");
}

/* --- the tests --- */

static void methods_carry_their_arguments_and_results(void)
{
	world_begin();
	ASSERT_TEXT(call(world.root, ROOT, NAME ".KillSwitch", "SetMode", "s", "always"), "ok");
	ASSERT_TEXT(reply_text(), "true ");
	ASSERT_TEXT(fake_last_call(world.manager), "SetMode by admin: {\"mode\":\"always\"} | null | - | *");

	ASSERT_TEXT(call(world.root, HOME, NAME ".Tunnel", "Start", "s", ""), "ok");
	ASSERT_TEXT(reply_text(), "true 'connecting' ");
	ASSERT_TEXT(fake_last_call(world.manager), "StartTunnel by admin: {\"id\":\"home\"} | null | - | *");

	ASSERT_TEXT(call(world.root, ROOT, NAME ".Manager", "ImportTunnel", "ss", "", "[Interface]\n"), "ok");
	ASSERT_TEXT(reply_text(), "'office' a('PostUp is not run' 'nor is PostDown' )");
	ASSERT_TEXT(fake_last_call(world.manager), "ImportTunnel by admin: {} | null | [Interface]\n | *");

	ASSERT_TEXT(call(world.root, ROOT, NAME ".KillSwitch", "Replace", "s", "{\"mode\": \"auto\"}"), "ok");
	ASSERT_TEXT(fake_last_call(world.manager), "ReplaceKillSwitch by admin: {} | {\"mode\":\"auto\"} | - | *");

	ASSERT_TEXT(call(world.root, ROOT, NAME ".Policy", "Get", ""), "ok");
	ASSERT_TEXT(reply_text(), "'{\"version\":1,\"rules\":[]}' ");

	ASSERT_TEXT(call(world.root, ROOT, NAME ".Manager", "ListEvents", "tasb", UINT64_C(6), 2, "boot", "state", 1), "ok");
	ASSERT_TEXT(reply_text(), "a(a(e('id' v(7 ))e('kind' v('boot' ))e('on' v(true ))e('tunnel' v(a()))))8 ");
	ASSERT_TEXT(fake_last_call(world.manager),
		"ListEvents by admin: {\"after\":6,\"kinds\":[\"boot\",\"state\"],\"all\":true} | null | - | *");
	world_end();
}

static void what_is_no_document_is_typed(void)
{
	world_begin();
	ASSERT_TEXT(call(world.root, ROOT, NAME ".Manager", "GetStatus", ""), "ok");
	ASSERT_TEXT(reply_text(), "a(e('protection' v('protected' ))e('healed' v(2 ))e('network' v(a(e('ssid' v(a()))e('uplinks' v(a()))e('metered' v(true ))))"
				  ")e('tunnels' v(a(v(a(e('id' v('home' ))))))))");
	sd_bus_message_rewind(last_reply, true);
	CU_ASSERT_EQUAL(sd_bus_message_has_signature(last_reply, "a{sv}"), 1);
	ASSERT_TEXT(call(world.root, ROOT, NAME ".KillSwitch", "AddBypass", "a{sv}", 2, "address", "s", "192.0.2.7", "for", "s", "1h"), "ok");
	ASSERT_TEXT(fake_last_call(world.manager), "AddBypass by admin: {} | {\"address\":\"192.0.2.7\",\"for\":\"1h\"} | - | *");
	ASSERT_TEXT(call(world.root, ROOT, NAME ".KillSwitch", "AddBypass", "a{sv}", 6, "wide", "x", INT64_MIN, "narrow", "y", 7, "list", "as", 2, "a", "b", "inner",
			    "a{sv}", 1, "yes", "b", true, "fraction", "d", 0.5, "half", "n", -3), "ok");
	ASSERT_TEXT(fake_last_call(world.manager), "AddBypass by admin: {} | {\"wide\":-9223372036854775808,\"narrow\":7,\"list\":[\"a\",\"b\"],"
		"\"inner\":{\"yes\":true},\"fraction\":0.5,\"half\":-3} | - | *");
	ASSERT_HOLDS(call(world.root, ROOT, NAME ".KillSwitch", "AddBypass", "a{sv}", 2, "for", "s", "1h", "for", "s", "2h"),
		NAME ".Error.BadRequest: The request cannot be understood\ngrant: names a member twice in one dictionary");
	ASSERT_HOLDS(call(world.root, ROOT, NAME ".KillSwitch", "AddBypass", "a{sv}", 1, "inner", "a{sv}", 2, "a", "b", true, "a", "b", true),
		"grant: names a member twice");
	ASSERT_HOLDS(call(world.root, ROOT, NAME ".KillSwitch", "AddBypass", "a{sv}", 1, "handle", "h", 0), NAME ".Error.BadRequest: The request cannot be understood\ngrant: has a value");
	ASSERT_HOLDS(call(world.root, ROOT, NAME ".KillSwitch", "AddBypass", "s", "{}"), "org.freedesktop.DBus.Error.InvalidArgs");
	world_end();
}

static void outcomes_become_errors_with_every_problem_listed(void)
{
	world_begin();
	ASSERT_TEXT(call(world.root, ROOT, NAME ".KillSwitch", "Replace", "s", "{\"lan\": \"maybe\"}"),
		NAME ".Error.InvalidDocument: The settings have errors.\n/mode: is missing\n/lan: must be block or allow (found \"maybe\")");
	ASSERT_TEXT(call(world.root, ROOT, NAME ".KillSwitch", "Replace", "s", "{\"lan\": "),
		NAME ".Error.BadRequest: The request cannot be understood\n(document): is no JSON: unexpected end at line 1, column 9");
	ASSERT_HOLDS(call(world.root, ROOT, NAME ".KillSwitch", "SetMode", "t", UINT64_C(1)), "org.freedesktop.DBus.Error.InvalidArgs");
	ASSERT_HOLDS(call(world.root, ROOT, NAME ".KillSwitch", "Explode", ""), "org.freedesktop.DBus.Error.UnknownMethod");
	CU_ASSERT_EQUAL(fake_calls(world.manager), 1);
	world_end();
}

static void an_unknown_tunnel_is_named(void)
{
	world_begin();
	ASSERT_TEXT(call(world.root, ROOT "/tunnel/nope", NAME ".Tunnel", "Start", "s", ""),
		NAME ".Error.TunnelNotFound: There is no tunnel 'nope'.");
	ASSERT_TEXT(get(ROOT "/tunnel/nope", NAME ".Tunnel", "State"), NAME ".Error.TunnelNotFound: There is no tunnel 'nope'.");
	ASSERT_HOLDS(call(world.root, HOME "/deeper", NAME ".Tunnel", "Start", "s", ""), "org.freedesktop.DBus.Error.UnknownObject");
	CU_ASSERT_EQUAL(fake_calls(world.manager), 0);
	world_end();
}

static void properties_show_the_state_as_it_is(void)
{
	world_begin();
	ASSERT_TEXT(get(ROOT, NAME ".Manager", "Protection"), "v('protected' )");
	ASSERT_TEXT(get(ROOT, NAME ".Manager", "Uplinks"), "v(a('eth0' 'wlan0' ))");
	ASSERT_TEXT(get(ROOT, NAME ".Manager", "Network"),
		"v(a(e('available' v(true ))e('uplinks' v(a('eth0' 'wlan0' )))e('interface' v('wlan0' ))e('type' v('wifi' ))e('ssid' v(a()))))");
	ASSERT_TEXT(get(ROOT, NAME ".KillSwitch", "BlockedOut"), "v(12 )");
	ASSERT_TEXT(get(ROOT, NAME ".KillSwitch", "BlockFailure"), "v('' )");
	ASSERT_TEXT(get(ROOT, NAME ".Policy", "Name"), "v('laptop' )");
	ASSERT_TEXT(get(HOME, NAME ".Tunnel", "TxBytes"), "v(18446744073709551615 )");
	ASSERT_TEXT(get(HOME, NAME ".Tunnel", "LastError"), "v('' )");
	ASSERT_TEXT(get(HOME, NAME ".Tunnel", "PendingDecision"), "v(a())");

	/* A counter is read afresh, though nobody announced it. */
	fake_set(world.manager, "/gate/blocked/out", "13");
	fake_set(world.manager, "/tunnels/0/pendingDecision", "{'id': 5, 'error': 'connectionTimeout'}");
	ASSERT_TEXT(get(ROOT, NAME ".KillSwitch", "BlockedOut"), "v(13 )");
	ASSERT_TEXT(get(HOME, NAME ".Tunnel", "PendingDecision"), "v(a(e('id' v(5 ))e('error' v('connectionTimeout' ))))");
	world_end();
}

/* GetAll goes through sd-bus's tree of objects, Get does not. */
static void expect_same_alone(const char *path, const char *interface)
{
	size_t count = 0;
	ASSERT_TEXT(call(world.root, path, "org.freedesktop.DBus.Properties", "GetAll", "s", interface), "ok");
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *all = sd_bus_message_ref(last_reply);
	CU_ASSERT_FATAL(sd_bus_message_enter_container(all, 'a', "{sv}") > 0);
	for (; sd_bus_message_enter_container(all, 'e', "sv") > 0; count++) {
		_cleanup_text_ struct text value = TEXT_NULL;
		const char *name;
		CU_ASSERT_FATAL(sd_bus_message_read(all, "s", &name) > 0);
		describe(all, &value);
		ASSERT_TEXT(get(path, interface, name), value.bytes);
		sd_bus_message_exit_container(all);
	}
	CU_ASSERT_TRUE(count > 0);
}

static void a_property_is_the_same_alone(void)
{
	world_begin();
	expect_same_alone(ROOT, NAME ".Manager");
	expect_same_alone(ROOT, NAME ".KillSwitch");
	expect_same_alone(ROOT, NAME ".Policy");
	expect_same_alone(HOME, NAME ".Tunnel");
	world_end();
}

static void what_is_no_property_is_told(void)
{
	static const char unknown[] = "org.freedesktop.DBus.Error.UnknownProperty: Unknown interface";
	world_begin();
	ASSERT_HOLDS(get(ROOT, NAME ".Manager", "Nope"), unknown);
	ASSERT_HOLDS(get(ROOT, NAME ".KillSwitch", "Protection"), unknown);
	ASSERT_HOLDS(get(ROOT, NAME ".Tunnel", "State"), unknown);
	ASSERT_HOLDS(get(HOME, NAME ".Manager", "Protection"), unknown);
	ASSERT_HOLDS(get(ROOT "/nowhere", NAME ".Manager", "Protection"), "org.freedesktop.DBus.Error.UnknownObject");
	ASSERT_HOLDS(call(world.root, ROOT, "org.freedesktop.DBus.Properties", "Get", "st", NAME ".Manager", UINT64_C(1)), "org.freedesktop.DBus.Error.InvalidArgs");
	world_end();
}

static void introspection_names_every_argument(void)
{
	world_begin();
	ASSERT_TEXT(call(world.root, HOME, "org.freedesktop.DBus.Introspectable", "Introspect", ""), "ok");
	const char *xml = reply_text();
	ASSERT_HOLDS(xml, "<method name=\"Start\">\n"
			  "   <arg type=\"s\" name=\"wait\" direction=\"in\"/>\n"
			  "   <arg type=\"b\" name=\"changed\" direction=\"out\"/>\n"
			  "   <arg type=\"s\" name=\"state\" direction=\"out\"/>\n");
	ASSERT_HOLDS(xml, "<signal name=\"StateChanged\">\n"
			  "   <arg type=\"s\" name=\"new\"/>\n   <arg type=\"s\" name=\"old\"/>\n   <arg type=\"s\" name=\"reason\"/>\n");
	CU_ASSERT_PTR_NULL(strstr(xml, "name=\"id\""));
	ASSERT_TEXT(call(world.root, ROOT "/tunnel", "org.freedesktop.DBus.Introspectable", "Introspect", ""), "ok");
	ASSERT_HOLDS(reply_text(), "<node name=\"home\"/>");
	ASSERT_TEXT(call(world.root, ROOT, "org.freedesktop.DBus.Introspectable", "Introspect", ""), "ok");
	ASSERT_HOLDS(reply_text(), "<arg type=\"a{sv}\" name=\"details\"/>");
	world_end();
}

static void the_object_manager_lists_tunnels(void)
{
	world_begin();
	ASSERT_TEXT(call(world.root, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ""), "ok");
	const char *text = reply_text();
	ASSERT_HOLDS(text, "'" HOME "'");
	ASSERT_HOLDS(text, "'" NAME ".Tunnel' a(e('Id' v('home' ))e('Driver' v('wireguard' ))");
	world_end();
}

static void changes_are_announced_once_and_whole(void)
{
	world_begin();
	listen();
	fake_set(world.manager, "/protection", "'blocking'");
	fake_set(world.manager, "/gate/desired", "'closed'");
	fake_set(world.manager, "/gate/kernel", "'closed'");
	fake_set(world.manager, "/gate/blocked/out", "99");
	fake_set(world.manager, "/tunnels/0/state", "'deciding'");
	fake_event(world.manager, "{'kind': 'stateChanged', 'tunnel': 'home', 'new': 'deciding', 'old': 'connected', 'reason': 'workerCrashed'}");
	fake_event(world.manager, "{'kind': 'decisionPending', 'tunnel': 'home', 'decision': 3, 'error': 'workerCrashed', 'deadline': 'soon'}");
	CU_ASSERT_TRUE(until(strstr(world.signals, "home PropertiesChanged")));
	ASSERT_TEXT(world.signals,
		"Holdfast1 Event 1 'stateChanged' 'home' a(e('new' v('deciding' ))e('old' v('connected' ))e('reason' v('workerCrashed' )))\n"
		"home StateChanged 'deciding' 'connected' 'workerCrashed' \n"
		"Holdfast1 Event 2 'decisionPending' 'home' a(e('decision' v(3 ))e('error' v('workerCrashed' ))e('deadline' v('soon' )))\n"
		"Holdfast1 DecisionPending 3 'home' 'workerCrashed' 'soon' \n"
		"Holdfast1 PropertiesChanged '" NAME ".Manager' a(e('Protection' v('blocking' )))a()\n"
		"Holdfast1 PropertiesChanged '" NAME ".KillSwitch' a(e('Desired' v('closed' ))e('Kernel' v('closed' )))a()\n"
		"home PropertiesChanged '" NAME ".Tunnel' a(e('State' v('deciding' )))a()\n");
	world_end();
}

static void a_change_without_an_event_is_announced(void)
{
	world_begin();
	listen();
	fake_set(world.manager, "/tunnels/0/endpoint", "'203.0.113.8:51820/udp'");
	fake_changed(world.manager);
	CU_ASSERT_TRUE(until(strstr(world.signals, "PropertiesChanged")));
	fake_changed(world.manager); /* nothing changed: nothing is said */
	ASSERT_TEXT(get(ROOT, NAME ".Manager", "Protection"), "v('protected' )");
	ASSERT_TEXT(world.signals, "home PropertiesChanged '" NAME ".Tunnel' a(e('Endpoint' v('203.0.113.8:51820/udp' )))a()\n");
	world_end();
}

static void what_is_shown_is_announced(void)
{
	world_begin();
	listen();
	fake_set(world.manager, "/gate/persisted", "false");
	fake_set(world.manager, "/gate/mode", "'always'"); /* and nobody said a word */
	ASSERT_TEXT(get(ROOT, NAME ".KillSwitch", "Mode"), "v('always' )");
	CU_ASSERT_TRUE(until(strstr(world.signals, "'Mode' v('always' )")));
	world_end();
}

static void tunnels_come_and_go_as_objects(void)
{
	world_begin();
	listen();
	fake_set(world.manager, "/tunnels/-", "{'id': 'office', 'driver': 'openvpn', 'state': 'disconnected'}");
	fake_event(world.manager, "{'kind': 'tunnelCreated', 'tunnel': 'office'}");
	CU_ASSERT_TRUE(until(strstr(world.signals, "InterfacesAdded")));
	ASSERT_HOLDS(world.signals, "InterfacesAdded '" ROOT "/tunnel/office'");
	ASSERT_HOLDS(world.signals, "e('Driver' v('openvpn' ))");
	ASSERT_TEXT(get(ROOT "/tunnel/office", NAME ".Tunnel", "State"), "v('disconnected' )");

	world.signals[0] = 0;
	fake_set(world.manager, "/tunnels", "[{'id': 'office', 'driver': 'openvpn', 'state': 'disconnected'}]");
	fake_event(world.manager, "{'kind': 'tunnelDeleted', 'tunnel': 'home'}");
	CU_ASSERT_TRUE(until(strstr(world.signals, "InterfacesRemoved")));
	ASSERT_HOLDS(world.signals, "InterfacesRemoved '" HOME "'");
	ASSERT_HOLDS(world.signals, "'" NAME ".Tunnel'");
	CU_ASSERT_PTR_NULL(strstr(world.signals, "InterfacesAdded"));
	world_end();
}

static void a_reply_may_come_later(void)
{
	world_begin();
	begin(world.root, HOME, NAME ".Tunnel", "Start", "s", "30s");
	CU_ASSERT_TRUE(until(fake_calls(world.manager) == 1));
	ASSERT_TEXT(fake_last_call(world.manager), "StartTunnel by admin: {\"id\":\"home\",\"wait\":\"30s\"} | null | - | *");
	CU_ASSERT_TRUE(name_is_there()); /* a whole conversation with the bus later */
	CU_ASSERT_PTR_NULL(last_reply);
	CU_ASSERT_TRUE(fake_release(world.manager));
	CU_ASSERT_TRUE_FATAL(until(last_reply));
	ASSERT_TEXT(reply_text(), "true 'connected' ");
	world_end();
}

static void a_client_that_leaves_takes_its_call_along(void)
{
	world_begin();
	begin(world.nobody, ROOT, NAME ".Policy", "Get", "");
	CU_ASSERT_TRUE(until(last_reply));
	sd_bus *client = client_new(0);
	begin(client, HOME, NAME ".Tunnel", "Start", "s", "30s");
	CU_ASSERT_TRUE(until(fake_calls(world.manager) == 2));
	sd_bus_close_unref(client);
	CU_ASSERT_TRUE(until(fake_cancelled(world.manager) == 1));
	CU_ASSERT_FALSE(fake_release(world.manager));
	world_end();
}

static void without_polkit_others_than_root_only_read(void)
{
	world_begin();
	ASSERT_TEXT(call(world.nobody, ROOT, NAME ".Policy", "Get", ""), "ok");
	ASSERT_TEXT(fake_last_call(world.manager), "GetPolicy by read: {} | null | - | *");
	ASSERT_TEXT(call(world.nobody, ROOT, NAME ".KillSwitch", "SetMode", "s", "always"), NAME ".Error.Forbidden: That is for others.");
	ASSERT_TEXT(call(world.nobody, HOME, NAME ".Tunnel", "Start", "s", ""), NAME ".Error.Forbidden: That is for others.");
	ASSERT_TEXT(call(world.nobody, ROOT, NAME ".KillSwitch", "Replace", "s", "{}"), NAME ".Error.Forbidden: That is for others.");
	ASSERT_TEXT(get(ROOT, NAME ".KillSwitch", "Mode"), "v('auto' )");
	world_end();
}

static void polkit_grants_one_action_at_a_time(void)
{
	world_begin();
	polkit_begin(NAME ".control", false);
	ASSERT_TEXT(call(world.nobody, HOME, NAME ".Tunnel", "Start", "s", ""), "ok");
	ASSERT_TEXT(fake_last_call(world.manager), "StartTunnel by control: {\"id\":\"home\"} | null | - | *");
	CU_ASSERT_EQUAL(world.polkit.flags, 0);
	ASSERT_HOLDS(call(world.nobody, ROOT, NAME ".KillSwitch", "Replace", "s", "{}"), NAME ".Error.Forbidden");
	ASSERT_TEXT(world.polkit.action, NAME ".edit");
	ASSERT_HOLDS(call(world.nobody, ROOT, NAME ".KillSwitch", "Release", ""), NAME ".Error.Forbidden");
	ASSERT_TEXT(world.polkit.action, NAME ".release");
	unsigned asked = world.polkit.asked;
	ASSERT_TEXT(call(world.root, ROOT, NAME ".KillSwitch", "Release", ""), "ok");
	CU_ASSERT_EQUAL(world.polkit.asked, asked); /* root is not asked about */
	world_end();
}

static void relaxing_asks_for_the_greater_right(void)
{
	world_begin();
	polkit_begin(NAME ".control", false);
	ASSERT_TEXT(call(world.nobody, ROOT, NAME ".KillSwitch", "SetMode", "s", "always"), "ok");
	CU_ASSERT_EQUAL(world.polkit.asked, 1);
	ASSERT_TEXT(call(world.nobody, ROOT, NAME ".KillSwitch", "SetMode", "s", "off"),
		NAME ".Error.Forbidden: Only an administrator may relax the mode.");
	CU_ASSERT_EQUAL(world.polkit.asked, 3);
	ASSERT_TEXT(world.polkit.action, NAME ".edit");
	ASSERT_TEXT(get(ROOT, NAME ".KillSwitch", "Mode"), "v('always' )");
	world_end();
}

static void self_service_takes_the_lesser_right(void)
{
	world_begin();
	polkit_begin(NAME ".control", true);
	sd_bus_set_allow_interactive_authorization(world.nobody, true);
	ASSERT_TEXT(call(world.nobody, ROOT, NAME ".KillSwitch", "AddBypass", "a{sv}", 1, "program", "s", "me"), "ok");
	ASSERT_TEXT(fake_last_call(world.manager), "AddBypass by control: {} | {\"program\":\"me\"} | - | *");
	CU_ASSERT_EQUAL(world.polkit.asked, 1);
	CU_ASSERT_EQUAL(world.polkit.flags, 0); /* nobody is bothered for that */

	ASSERT_HOLDS(call(world.nobody, ROOT, NAME ".KillSwitch", "AddBypass", "a{sv}", 1, "address", "s", "192.0.2.7"), "InteractiveAuthorizationRequired");
	ASSERT_TEXT(world.polkit.action, NAME ".bypass");
	CU_ASSERT_EQUAL(world.polkit.flags, 1);
	CU_ASSERT_EQUAL(world.polkit.asked, 3);
	snprintf(world.polkit.granted, sizeof world.polkit.granted, "%s", NAME ".bypass");
	ASSERT_TEXT(call(world.nobody, ROOT, NAME ".KillSwitch", "AddBypass", "a{sv}", 1, "address", "s", "192.0.2.7"), "ok");
	ASSERT_TEXT(fake_last_call(world.manager), "AddBypass by admin: {} | {\"address\":\"192.0.2.7\"} | - | *");
	CU_ASSERT_EQUAL(world.polkit.asked, 5);
	world_end();
}

static void a_person_is_asked_only_where_the_call_allows_it(void)
{
	world_begin();
	polkit_begin("", true);
	ASSERT_HOLDS(call(world.nobody, HOME, NAME ".Tunnel", "Start", "s", ""),
		"org.freedesktop.DBus.Error.InteractiveAuthorizationRequired");
	CU_ASSERT_EQUAL(world.polkit.flags, 0);
	CU_ASSERT_EQUAL(fake_calls(world.manager), 0);
	sd_bus_set_allow_interactive_authorization(world.nobody, true);
	(void)call(world.nobody, HOME, NAME ".Tunnel", "Start", "s", "");
	CU_ASSERT_EQUAL(world.polkit.flags, 1);
	world_end();
}

static void a_bus_that_comes_late_is_met(void)
{
	world_begin_without_bus();
	uint64_t begun = now_usec();
	(void)until(now_usec() > begun + 50 * USEC_PER_MSEC);
	fake_event(world.manager, "{'kind': 'boot'}"); /* nobody to tell, and no harm */
	bus_start();
	world_meet();
	ASSERT_TEXT(get(ROOT, NAME ".Manager", "Protection"), "v('protected' )");
	world_end();
}

static void come_back_after(int number)
{
	world_begin();
	begin(world.root, HOME, NAME ".Tunnel", "Start", "s", "30s");
	CU_ASSERT_TRUE(until(fake_calls(world.manager) == 1));
	bus_stop(number);
	CU_ASSERT_TRUE(until(fake_cancelled(world.manager) == 1)); /* the call's client is gone with the bus */
	clients_end();
	bus_start();
	world_meet();
	listen();
	/* The bus may give the name before the service has read that it has it; whoever has read a property is told of its changes. */
	ASSERT_TEXT(get(ROOT, NAME ".Manager", "Protection"), "v('protected' )");
	fake_set(world.manager, "/protection", "'off'");
	fake_event(world.manager, "{'kind': 'modeChanged'}");
	CU_ASSERT_TRUE(until(strstr(world.signals, "'Protection' v('off' )")));
	world_end();
}

static void a_bus_that_was_killed_is_met_again(void)
{
	come_back_after(SIGKILL); /* which leaves a socket that refuses */
}

static void a_bus_that_was_restarted_is_met_again(void)
{
	come_back_after(SIGTERM);
}

static void a_taken_name_is_waited_for(void)
{
	bus_start();
	world = (struct world){};
	CU_ASSERT_FATAL(sd_event_new(&world.event) >= 0);
	sd_bus *other = client_new(0);
	sd_bus_message *reply = NULL;
	sd_bus_request_name_async(other, NULL, NAME, 0, keep_reply, &reply);
	CU_ASSERT_TRUE_FATAL(until(reply));
	sd_bus_message_unref(reply);
	world.manager = fake_manager_new();
	CU_ASSERT_EQUAL_FATAL(dbus_service_new(&world.service, world.event, world.manager), 0);
	world_meet(); /* the name is there, the other's */
	ASSERT_HOLDS(get(ROOT, NAME ".Manager", "Protection"), "org.freedesktop.DBus.Error.Unknown");
	sd_bus_close_unref(other);
	CU_ASSERT_TRUE(until(strcmp(get(ROOT, NAME ".Manager", "Protection"), "v('protected' )") == 0));
	world_end();
}

static int count_refusals(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	*(unsigned *)userdata += error && strcmp(error->name, NAME ".Error.TooManyRequests") == 0;
	return 0;
}

static void a_client_has_a_bounded_number_of_calls(void)
{
	world_begin();
	unsigned refused = 0;
	for (unsigned i = 0; i < 40; i++)
		sd_bus_call_method_async(world.root, NULL, NAME, HOME, NAME ".Tunnel", "Start", count_refusals, &refused, "s", "30s");
	CU_ASSERT_TRUE(until(fake_calls(world.manager) == 32 && refused == 8));
	ASSERT_TEXT(call(world.nobody, ROOT, NAME ".Policy", "Get", ""), "ok"); /* others are not shut out by it */
	world_end();
}

static const struct test tests[] = {
	{"methods carry their arguments and results", methods_carry_their_arguments_and_results},
	{"outcomes become errors with every problem listed", outcomes_become_errors_with_every_problem_listed},
	{"what is no document is typed", what_is_no_document_is_typed},
	{"an unknown tunnel is named", an_unknown_tunnel_is_named},
	{"properties show the state as it is", properties_show_the_state_as_it_is},
	{"a property is the same alone as with all others", a_property_is_the_same_alone},
	{"what is no property is told by its own error", what_is_no_property_is_told},
	{"introspection names every argument", introspection_names_every_argument},
	{"the object manager lists tunnels", the_object_manager_lists_tunnels},
	{"changes are announced once and whole", changes_are_announced_once_and_whole},
	{"a change without an event is announced", a_change_without_an_event_is_announced},
	{"what is shown is announced", what_is_shown_is_announced},
	{"tunnels come and go as objects", tunnels_come_and_go_as_objects},
	{"a reply may come later", a_reply_may_come_later},
	{"a client that leaves takes its call along", a_client_that_leaves_takes_its_call_along},
	{"without polkit others than root only read", without_polkit_others_than_root_only_read},
	{"polkit grants one action at a time", polkit_grants_one_action_at_a_time},
	{"relaxing asks for the greater right", relaxing_asks_for_the_greater_right},
	{"self-service takes the lesser right, and asks nobody for it", self_service_takes_the_lesser_right},
	{"a person is asked only where the call allows it", a_person_is_asked_only_where_the_call_allows_it},
	{"a bus that comes late is met", a_bus_that_comes_late_is_met},
	{"a bus that was killed is met again", a_bus_that_was_killed_is_met_again},
	{"a bus that was restarted is met again", a_bus_that_was_restarted_is_met_again},
	{"a taken name is waited for", a_taken_name_is_waited_for},
	{"a client has a bounded number of calls", a_client_has_a_bounded_number_of_calls},
};

int main(int argc, char **argv)
{
	if (geteuid() != 0) {
		printf("Bail out! must run as root: callers of other users are part of it\n");
		return EXIT_FAILURE;
	}
	prepare();
	int status = suite_run("dbus", tests, ELEMENTSOF(tests), argc, argv);
	last_reply = sd_bus_message_unref(last_reply);
	cleanup();
	return status;
}
