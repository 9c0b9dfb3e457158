/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A reading is a chain of questions, one at a time: the manager, the device of the link, its active connection, and for Wi-Fi the
 * access point. Signals only say that the last reading may be stale; one that comes during a reading causes another one after it. What
 * a chain finds is taken over as a whole at its end.
 *
 * A question without an answer makes everything unknown and is asked again later; so does a NetworkManager that lost its name, until
 * it is back or its grace is over.
 */

#include "network/networkmanager.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/log.h"
#include "util/macro.h"
#include "util/text.h"

#define SERVICE	    "org.freedesktop.NetworkManager"
#define OBJECT	    "/org/freedesktop/NetworkManager"
#define PROPERTIES  "org.freedesktop.DBus.Properties"
#define CALL_USEC   (5 * USEC_PER_SEC)
#define RETRY_USEC  (30 * USEC_PER_SEC)
#define PATH_MAX_NM 128
#define UUID_MAX    64

/* NMDeviceType, NMActiveConnectionState, NMMetered */
enum { DEVICE_ETHERNET = 1, DEVICE_WIFI = 2, DEVICE_BLUETOOTH = 5, DEVICE_MODEM = 8, DEVICE_VETH = 20 };
enum { ACTIVE_ACTIVATED = 2 };
enum { METERED_YES = 1, METERED_NO = 2, METERED_GUESS_YES = 3, METERED_GUESS_NO = 4 };

static const char *const connectivity_names[] = {
	[CONNECTIVITY_UNKNOWN] = "unknown",
	[CONNECTIVITY_NONE] = "none",
	[CONNECTIVITY_PORTAL] = "portal",
	[CONNECTIVITY_LIMITED] = "limited",
	[CONNECTIVITY_FULL] = "full",
};
DEFINE_STRING_TABLE(connectivity, enum connectivity, connectivity_names);

/* What the answers of one chain said, as they said it. */
struct answers {
	uint32_t connectivity;
	char check_uri[CHECK_URI_MAX];
	int check_enabled; /* as sd-bus has booleans */
	char device[PATH_MAX_NM];
	uint32_t device_type, metered;
	char active[PATH_MAX_NM];
	char uuid[UUID_MAX];
	uint32_t active_state;
	char access_point[PATH_MAX_NM];
	struct text_fact ssid;
	char bssid[32];
};

struct networkmanager {
	sd_event *event;
	struct system_bus *system;
	sd_bus *bus; /* NULL: not up; borrowed */
	sd_bus_slot *question;
	sd_event_source *later; /* retry, or the end of the grace */
	uint64_t grace_usec;
	bool present;	 /* its name has an owner */
	bool was_there;	 /* it has had one, and its grace is not over */
	bool asked_name; /* whether it has one is known */
	bool stale;	 /* something changed during the reading */
	char interface[IFNAMSIZ];
	struct answers answers;
	struct networkmanager_facts facts;
	void (*changed)(void *userdata);
	void *userdata;
};

/* ---- telling ---- */

static struct networkmanager_facts facts_unknown(void)
{
	return (struct networkmanager_facts){
		.source = FACT_UNKNOWN,
		.profile = text_fact_unknown(),
		.ssid = text_fact_unknown(),
		.bssid = text_fact_unknown(),
		.metered = {.fact = FACT_UNKNOWN},
	};
}

static bool facts_equal(const struct networkmanager_facts *a, const struct networkmanager_facts *b)
{
	return a->source == b->source && a->asking == b->asking && a->managed == b->managed && a->type == b->type && text_fact_equal(&a->profile, &b->profile) &&
	       text_fact_equal(&a->ssid, &b->ssid) && text_fact_equal(&a->bssid, &b->bssid) && a->metered.fact == b->metered.fact &&
	       a->metered.value == b->metered.value && a->connectivity == b->connectivity && strcmp(a->check_uri, b->check_uri) == 0;
}

static void set_facts(struct networkmanager *self, const struct networkmanager_facts *facts)
{
	if (facts_equal(&self->facts, facts))
		return;
	self->facts = *facts;
	self->changed(self->userdata);
}

/* Without an answer: what there is said to be depends on whether there is anybody. */
static void set_unanswered(struct networkmanager *self)
{
	bool nobody = !self->was_there && (self->asked_name || system_bus_state(self->system) == SYSTEM_BUS_ABSENT);
	struct networkmanager_facts facts = {};
	if (!nobody || self->present)
		facts = facts_unknown();
	set_facts(self, &facts);
}

static void wake_after(struct networkmanager *self, uint64_t usec)
{
	(void)sd_event_source_set_time_relative(self->later, usec);
	(void)sd_event_source_set_enabled(self->later, SD_EVENT_ONESHOT);
}

/* ---- reading answers ---- */

struct member {
	const char *name, *type;
	size_t offset, size;
};

static int read_member(sd_bus_message *reply, const struct member *member, struct answers *answers)
{
	void *place = (char *)answers + member->offset;
	const void *bytes;
	const char *string;
	size_t length;
	int r = sd_bus_message_enter_container(reply, 'v', member->type);
	if (r < 0)
		return r;
	if (strchr("ub", member->type[0])) {
		r = sd_bus_message_read_basic(reply, member->type[0], place);
	} else if (strcmp(member->type, "ay") == 0) {
		r = sd_bus_message_read_array(reply, 'y', &bytes, &length);
		if (r >= 0)
			*(struct text_fact *)place = ssid_fact(bytes, length);
	} else {
		r = sd_bus_message_read_basic(reply, member->type[0], &string);
		if (r >= 0)
			snprintf(place, member->size, "%s", string);
	}
	return r < 0 ? r : sd_bus_message_exit_container(reply);
}

static const struct member *find_member(const struct member *members, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	return NULL;
}

/* The a{sv} of GetAll: what MEMBERS names is taken, the rest skipped. */
static int read_members(sd_bus_message *reply, const struct member *members, size_t count, struct answers *answers)
{
	const char *name;
	int r = sd_bus_message_enter_container(reply, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
		r = sd_bus_message_read(reply, "s", &name);
		if (r < 0)
			break;
		const struct member *member = find_member(members, count, name);
		r = member ? read_member(reply, member, answers) : sd_bus_message_skip(reply, "v");
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	return r;
}

/* ---- the chain ---- */

#define TEXT(name, type, key) {name, type, offsetof(struct answers, key), sizeof(((struct answers *)0)->key)}
static const struct member manager_members[] = {TEXT("Connectivity", "u", connectivity), TEXT("ConnectivityCheckUri", "s", check_uri),
	TEXT("ConnectivityCheckEnabled", "b", check_enabled)};
static const struct member device_members[] = {
	TEXT("DeviceType", "u", device_type), TEXT("Metered", "u", metered), TEXT("ActiveConnection", "o", active)};
static const struct member active_members[] = {TEXT("Uuid", "s", uuid), TEXT("State", "u", active_state)};
static const struct member wireless_members[] = {TEXT("ActiveAccessPoint", "o", access_point)};
static const struct member point_members[] = {TEXT("Ssid", "ay", ssid), TEXT("HwAddress", "s", bssid)};

static void begin_reading(struct networkmanager *self);

static bool is_path(const char *path)
{
	return path[0] && strcmp(path, "/") != 0;
}

static enum link_type type_of(uint32_t device_type)
{
	static const struct {
		uint32_t device;
		enum link_type type;
	} rows[] = {{DEVICE_ETHERNET, LINK_TYPE_ETHERNET}, {DEVICE_VETH, LINK_TYPE_ETHERNET}, {DEVICE_WIFI, LINK_TYPE_WIFI},
		{DEVICE_BLUETOOTH, LINK_TYPE_BLUETOOTH}, {DEVICE_MODEM, LINK_TYPE_WWAN}};
	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		if (rows[i].device == device_type)
			return rows[i].type;
	return LINK_TYPE_OTHER;
}

static struct truth_fact metered_of(uint32_t metered)
{
	switch (metered) {
	case METERED_YES:
	case METERED_GUESS_YES:
		return (struct truth_fact){FACT_KNOWN, true};
	case METERED_NO:
	case METERED_GUESS_NO:
		return (struct truth_fact){FACT_KNOWN, false};
	}
	return (struct truth_fact){FACT_UNKNOWN, false};
}

static void lower_case(char *text)
{
	for (; *text; text++)
		if (*text >= 'A' && *text <= 'F')
			*text = (char)(*text - 'A' + 'a');
}

/* Everything was answered. */
static void end_reading(struct networkmanager *self)
{
	struct answers *answers = &self->answers;
	struct networkmanager_facts facts = {
		.source = FACT_KNOWN,
		.asking = self->stale,
		.connectivity = answers->connectivity <= CONNECTIVITY_FULL ? (enum connectivity)answers->connectivity : CONNECTIVITY_UNKNOWN,
	};
	if (answers->check_enabled)
		memcpy(facts.check_uri, answers->check_uri, sizeof facts.check_uri);
	if (is_path(answers->active)) {
		lower_case(answers->bssid);
		facts.managed = true;
		facts.type = type_of(answers->device_type);
		facts.metered = metered_of(answers->metered);
		facts.profile = answers->active_state == ACTIVE_ACTIVATED ? text_fact_of(answers->uuid) : text_fact_unknown();
		facts.ssid = answers->ssid;
		facts.bssid = text_fact_of(answers->bssid);
	}
	if (self->stale)
		begin_reading(self);
	set_facts(self, &facts);
}

/* A question failed: gone meanwhile, which a signal tells as well, or not answered. Asked again later either way. */
static void fail_reading(struct networkmanager *self, const sd_bus_error *error)
{
	log_debug("NetworkManager does not answer: %s", error ? error->message : "its answer makes no sense");
	if (self->stale)
		begin_reading(self);
	else
		wake_after(self, RETRY_USEC);
	set_unanswered(self);
}

static void ask(struct networkmanager *self, sd_bus_message_handler_t answered, const char *path, const char *interface, const char *member,
	const char *argument)
{
	sd_bus_message *message = NULL;
	self->question = sd_bus_slot_unref(self->question);
	int r = sd_bus_message_new_method_call(self->bus, &message, SERVICE, path, interface, member);
	if (r >= 0)
		r = sd_bus_message_set_auto_start(message, false);
	if (r >= 0 && argument)
		r = sd_bus_message_append(message, "s", argument);
	if (r >= 0)
		r = sd_bus_call_async(self->bus, &self->question, message, answered, self, CALL_USEC);
	sd_bus_message_unref(message);
	if (r < 0) {
		log_debug("NetworkManager cannot be asked: %s", strerror(-r));
		wake_after(self, RETRY_USEC);
		set_unanswered(self);
	}
}

/* Takes MEMBERS out of REPLY. False: there is none, and the reading has failed. */
static bool take(struct networkmanager *self, sd_bus_message *reply, const struct member *members, size_t count)
{
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	self->question = sd_bus_slot_unref(self->question);
	if (!error && read_members(reply, members, count, &self->answers) >= 0)
		return true;
	fail_reading(self, error);
	return false;
}
#define TAKE(members) take(self, reply, members, ELEMENTSOF(members))

static int on_access_point(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct networkmanager *self = userdata;
	if (TAKE(point_members))
		end_reading(self);
	return 0;
}

static int on_wireless(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct networkmanager *self = userdata;
	if (!TAKE(wireless_members))
		return 0;
	if (is_path(self->answers.access_point))
		ask(self, on_access_point, self->answers.access_point, PROPERTIES, "GetAll", SERVICE ".AccessPoint");
	else
		end_reading(self);
	return 0;
}

static int on_active(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct networkmanager *self = userdata;
	if (!TAKE(active_members))
		return 0;
	if (self->answers.device_type == DEVICE_WIFI)
		ask(self, on_wireless, self->answers.device, PROPERTIES, "GetAll", SERVICE ".Device.Wireless");
	else
		end_reading(self);
	return 0;
}

static int on_device(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct networkmanager *self = userdata;
	if (!TAKE(device_members))
		return 0;
	if (is_path(self->answers.active))
		ask(self, on_active, self->answers.active, PROPERTIES, "GetAll", SERVICE ".Connection.Active");
	else
		end_reading(self);
	return 0;
}

static int on_device_path(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct networkmanager *self = userdata;
	const sd_bus_error *error = sd_bus_message_get_error(reply);
	const char *path = NULL;
	self->question = sd_bus_slot_unref(self->question);
	if (error && sd_bus_error_has_name(error, SERVICE ".UnknownDevice")) {
		end_reading(self); /* a link that NetworkManager does not know */
		return 0;
	}
	if (error || sd_bus_message_read(reply, "o", &path) < 0) {
		fail_reading(self, error);
		return 0;
	}
	snprintf(self->answers.device, sizeof self->answers.device, "%s", path);
	ask(self, on_device, path, PROPERTIES, "GetAll", SERVICE ".Device");
	return 0;
}

static int on_manager(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct networkmanager *self = userdata;
	if (!TAKE(manager_members))
		return 0;
	if (self->interface[0])
		ask(self, on_device_path, OBJECT, SERVICE, "GetDeviceByIpIface", self->interface);
	else
		end_reading(self);
	return 0;
}

static void begin_reading(struct networkmanager *self)
{
	self->stale = false;
	self->answers = (struct answers){};
	(void)sd_event_source_set_enabled(self->later, SD_EVENT_OFF);
	ask(self, on_manager, OBJECT, PROPERTIES, "GetAll", SERVICE);
}

static void read_again(struct networkmanager *self)
{
	if (!self->present || !self->bus)
		return;
	if (self->question)
		self->stale = true;
	else
		begin_reading(self);
}

/* ---- its coming and going ---- */

static void appeared(struct networkmanager *self)
{
	self->present = self->was_there = self->asked_name = true;
	self->question = sd_bus_slot_unref(self->question);
	begin_reading(self);
	set_unanswered(self);
}

static void vanished(struct networkmanager *self)
{
	self->present = false;
	self->question = sd_bus_slot_unref(self->question);
	if (self->was_there)
		wake_after(self, self->grace_usec);
	set_unanswered(self);
}

static int on_later(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct networkmanager *self = userdata;
	if (self->present) {
		read_again(self);
		return 0;
	}
	self->was_there = false;
	set_unanswered(self);
	return 0;
}

static int on_owner(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct networkmanager *self = userdata;
	const char *name, *old, *new;
	if (sd_bus_message_read(message, "sss", &name, &old, &new) < 0 || strcmp(name, SERVICE) != 0)
		return 0;
	self->asked_name = true;
	if (new[0])
		appeared(self);
	else
		vanished(self);
	return 0;
}

static int on_first_owner(sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
	struct networkmanager *self = userdata;
	if (self->present)
		return 0; /* a signal was faster */
	self->asked_name = true;
	if (sd_bus_message_get_error(reply))
		set_unanswered(self);
	else
		appeared(self);
	return 0;
}

/* Strengths of access points, bit rates and byte counts change all the time: what is not asked for is no reason to ask again. */
static bool matters(const char *name)
{
	static const char *const names[] = {"ActiveAccessPoint", "ActiveConnection", "ActiveConnections", "Connectivity", "ConnectivityCheckEnabled", "ConnectivityCheckUri", "DeviceType", "Devices",
		"HwAddress", "Interface", "IpInterface", "Metered", "PrimaryConnection", "Ssid", "State", "Uuid"};
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static int on_properties(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct networkmanager *self = userdata;
	const char *name;
	bool any = false;
	if (sd_bus_message_skip(message, "s") < 0 || sd_bus_message_enter_container(message, 'a', "{sv}") < 0)
		return 0;
	while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
		if (sd_bus_message_read(message, "s", &name) < 0 || sd_bus_message_skip(message, "v") < 0 ||
			sd_bus_message_exit_container(message) < 0)
			break;
		any |= matters(name);
	}
	if (any)
		read_again(self);
	return 0;
}

static void on_bus(sd_bus *bus, void *userdata)
{
	static const char owner[] = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" SERVICE "'",
			  properties[] = "type='signal',sender='" SERVICE "',interface='" PROPERTIES "',member='PropertiesChanged',"
					 "path_namespace='" OBJECT "'";
	struct networkmanager *self = userdata;
	self->bus = bus;
	if (!bus) {
		self->asked_name = false;
		vanished(self);
		return;
	}
	int r = sd_bus_add_match_async(bus, NULL, owner, on_owner, NULL, self);
	if (r >= 0)
		r = sd_bus_add_match_async(bus, NULL, properties, on_properties, NULL, self);
	if (r >= 0)
		r = sd_bus_call_method_async(bus, NULL, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetNameOwner",
			on_first_owner, self, "s", SERVICE);
	if (r < 0)
		log_warning("NetworkManager cannot be watched: %s", strerror(-r));
	set_unanswered(self);
}

/* ---- the public calls ---- */

int networkmanager_new(struct networkmanager **ret, sd_event *event, struct system_bus *bus, uint64_t grace_usec, void (*changed)(void *userdata),
	void *userdata)
{
	struct networkmanager *self = xcalloc(1, sizeof *self);
	*self = (struct networkmanager){
		.event = sd_event_ref(event),
		.system = bus,
		.grace_usec = grace_usec,
		.facts = facts_unknown(),
		.changed = changed,
		.userdata = userdata,
	};
	int r = sd_event_add_time_relative(event, &self->later, CLOCK_MONOTONIC, 0, 0, on_later, self);
	if (r >= 0)
		r = sd_event_source_set_enabled(self->later, SD_EVENT_OFF);
	if (r < 0) {
		networkmanager_free(self);
		return r;
	}
	system_bus_listen(bus, on_bus, self);
	*ret = self;
	return 0;
}

struct networkmanager *networkmanager_free(struct networkmanager *self)
{
	if (!self)
		return NULL;
	sd_bus_slot_unref(self->question);
	sd_event_source_disable_unref(self->later);
	sd_event_unref(self->event);
	free(self);
	return NULL;
}

void networkmanager_set_interface(struct networkmanager *self, const char *interface)
{
	if (strcmp(self->interface, interface) == 0)
		return;
	snprintf(self->interface, sizeof self->interface, "%s", interface);
	if (!self->present)
		return;
	read_again(self);
	struct networkmanager_facts facts = facts_unknown();
	facts.connectivity = self->facts.connectivity;
	memcpy(facts.check_uri, self->facts.check_uri, sizeof facts.check_uri);
	set_facts(self, &facts);
}

void networkmanager_refresh(struct networkmanager *self)
{
	struct networkmanager_facts facts = self->facts;
	if (!self->present || !self->bus)
		return;
	read_again(self);
	facts.asking = facts.source == FACT_KNOWN;
	set_facts(self, &facts);
}

const struct networkmanager_facts *networkmanager_facts(const struct networkmanager *self)
{
	return &self->facts;
}
