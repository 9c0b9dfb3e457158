/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Losing the network and having it back is told at once. `networkChanged` waits until changes have come to rest, and until every source
 * has said what it knows: a rule on a profile is to see the profile, once. Both waits are bounded. A source that does not answer delays
 * the event, and then its values are unknown in it; once it answers, the event comes again.
 *
 * A network is told from another by two strings: `link`, what the kernel says (the uplink and its addresses), and `place`, what that
 * uplink leads to (type, SSID, BSSID, profile). Being offline is no other network: coming back to the one before is no change.
 */

#include "daemon/surroundings.h"

#include <inttypes.h>
#include <string.h>

#include "daemon/manager.h"
#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"

#define REST_USEC   (200 * USEC_PER_MSEC) /* after the last change ... */
#define BUSY_USEC   (2 * USEC_PER_SEC)	  /* ... but no longer than this after the first */
#define ANSWER_USEC (7 * USEC_PER_SEC)	  /* for sources to answer, or to be given up: more than one question may take */

/* ---- for policies ---- */

static const char *policy_text(const struct text_fact *fact)
{
	return fact->fact == FACT_KNOWN ? fact->value : fact->fact == FACT_UNKNOWN ? POLICY_UNKNOWN : NULL;
}

static enum policy_truth policy_truth(const struct truth_fact *fact)
{
	if (fact->fact != FACT_KNOWN)
		return fact->fact == FACT_UNKNOWN ? POLICY_TRUTH_UNKNOWN : POLICY_TRUTH_NONE;
	return fact->value ? POLICY_TRUE : POLICY_FALSE;
}

static char *identify_link(struct manager *manager)
{
	const struct network_state *state = network_monitor_state(manager->monitor);
	return text_format("%s %d %016" PRIx64, state->primary, state->primary_index, state->fingerprint);
}

/*
 * A sign-in page was found, and nothing has said since that it is gone. A check that the closed gate holds back does not say so: it
 * finds "limited" whatever there is; one that captivePortalCheck lets out does.
 */
static bool behind_portal(struct manager *manager, const struct surroundings *now)
{
	struct surroundings_state *state = &manager->surroundings;
	_cleanup_free_ char *link = identify_link(manager);
	bool found = now->networkmanager == FACT_KNOWN && now->connectivity == CONNECTIVITY_PORTAL;
	bool blind = now->connectivity == CONNECTIVITY_UNKNOWN || (now->connectivity == CONNECTIVITY_LIMITED && !check_in_effect(manager));
	bool silent = now->networkmanager == FACT_UNKNOWN || blind;
	bool held = manager->report.desired != GATE_OPEN && now->networkmanager != FACT_NONE;
	bool same = state->portal_link && strcmp(state->portal_link, link) == 0;
	if (!found && same && silent && held)
		return true;
	free(state->portal_link);
	state->portal_link = found ? STEAL(link) : NULL;
	return found;
}

/* The strings stay where they are: in the watch. */
static void hand_to_policy(struct manager *manager)
{
	const struct surroundings *now = surroundings_now(manager->surroundings.watch);
	bool linked = now->interface[0], behind = manager->core.portal;
	manager->core.network = (struct policy_network){
		.metered = policy_truth(&now->metered),
		.type = linked ? link_type_to_string(now->type) : NULL,
		.interface = linked ? now->interface : NULL,
		.ssid = policy_text(&now->ssid),
		.bssid = policy_text(&now->bssid),
		.profile = policy_text(&now->profile),
	};
	manager->core.portal = behind_portal(manager, now);
	manager->surroundings.signed_in |= behind && !manager->core.portal && now->connectivity == CONNECTIVITY_FULL;
}

/* ---- for people ---- */

static void add_text(json_object *object, const char *key, const struct text_fact *fact)
{
	if (fact->fact != FACT_NONE)
		json_object_object_add(object, key, fact->fact == FACT_KNOWN ? json_object_new_string(fact->value) : NULL);
}

json_object *surroundings_to_json(struct manager *manager)
{
	const struct network_state *state = network_monitor_state(manager->monitor);
	const struct surroundings *now = surroundings_now(manager->surroundings.watch);
	json_object *object = json_object_new_object(), *uplinks = json_object_new_array();
	for (size_t i = 0; i < state->uplink_count; i++)
		json_object_array_add(uplinks, json_object_new_string(state->uplinks[i]));
	json_object_object_add(object, "available", json_object_new_boolean(state->available));
	json_object_object_add(object, "uplinks", uplinks);
	if (now->interface[0]) {
		json_object_object_add(object, "interface", json_object_new_string(now->interface));
		json_object_object_add(object, "type", json_object_new_string(link_type_to_string(now->type)));
	}
	add_text(object, "ssid", &now->ssid);
	add_text(object, "bssid", &now->bssid);
	add_text(object, "profile", &now->profile);
	if (now->metered.fact != FACT_NONE)
		json_object_object_add(object, "metered", now->metered.fact == FACT_KNOWN ? json_object_new_boolean(now->metered.value) : NULL);
	if (now->networkmanager != FACT_NONE)
		json_object_object_add(object, "connectivity",
			now->networkmanager == FACT_KNOWN ? json_object_new_string(connectivity_to_string(now->connectivity)) : NULL);
	return object;
}

static void tell(struct manager *manager)
{
	json_object *event = events_new(manager, "networkChanged", LIFECYCLE_NONE);
	_cleanup_json_ json_object *network = surroundings_to_json(manager);
	const char *text = json_object_to_json_string_ext(network, JSON_C_TO_STRING_PLAIN);
	if (manager->surroundings.told && strcmp(manager->surroundings.told, text) == 0) {
		json_object_put(event);
		return;
	}
	free(manager->surroundings.told);
	manager->surroundings.told = text_dup(text);
	json_object_object_foreach (network, key, value)
		json_object_object_add(event, key, json_object_get(value));
	events_emit(manager, event);
}

/* ---- judging ---- */

static char *identify_place(const struct surroundings *now)
{
	return text_format("%s\n%s\n%s\n%s", link_type_to_string(now->type), now->ssid.value, now->bssid.value, now->profile.value);
}

static void run_policy_event(struct manager *manager, enum policy_event event)
{
	manager_run(manager, &(struct lifecycle_event){
				     .type = LIFECYCLE_POLICY_EVENT,
				     .tunnel = LIFECYCLE_NONE,
				     .now_usec = manager_now(),
				     .policy_event = event,
			     });
}

/* Whether the network is another one than that last judged, or the same one lets through what it held back. */
static bool differs(struct manager *manager, const char *link, const char *place)
{
	const struct surroundings_state *state = &manager->surroundings;
	const struct surroundings *now = surroundings_now(state->watch);
	if (!now->interface[0] || !state->link)
		return false;
	return state->signed_in || strcmp(state->link, link) != 0 || (surroundings_settled(now) && strcmp(state->place, place) != 0);
}

static void remember(struct manager *manager, char *link, char *place)
{
	struct surroundings_state *state = &manager->surroundings;
	free(state->link);
	free(state->place);
	state->link = link;
	state->place = surroundings_settled(surroundings_now(state->watch)) ? text_dup(place) : text_dup("");
}

static void judge(struct manager *manager)
{
	struct surroundings_state *state = &manager->surroundings;
	char *link = identify_link(manager);
	_cleanup_free_ char *place = identify_place(surroundings_now(state->watch));
	bool boot = state->boot, changed = differs(manager, link, place), linked = surroundings_now(state->watch)->interface[0];
	state->since_usec = 0;
	state->boot = state->signed_in = false;
	if (linked || boot)
		remember(manager, link, place);
	else
		free(link);
	if (boot)
		run_policy_event(manager, POLICY_EVENT_BOOT);
	else if (changed)
		run_policy_event(manager, POLICY_EVENT_NETWORK_CHANGED);
	store_save_later(manager);
}

static int on_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	judge(userdata);
	return 0;
}

/* Judges later what is to be judged, at the right time; not at all what has become as it was. */
static void consider(struct manager *manager)
{
	struct surroundings_state *state = &manager->surroundings;
	const struct surroundings *now = surroundings_now(state->watch);
	_cleanup_free_ char *link = identify_link(manager);
	_cleanup_free_ char *place = identify_place(now);
	uint64_t at = USEC_INFINITY;
	if (state->boot && surroundings_settled(now)) {
		judge(manager);
	} else if (state->boot || !state->link || differs(manager, link, place)) {
		if (state->since_usec == 0)
			state->since_usec = manager_now();
		at = surroundings_settled(now) ? MIN_OF(manager_now() + REST_USEC, state->since_usec + BUSY_USEC) : state->since_usec + ANSWER_USEC;
	} else {
		state->since_usec = 0;
	}
	int r = manager_arm_timer(manager, &state->due, at, on_due);
	if (r < 0)
		log_error("the event loop: %s", strerror(-r));
}

static void on_surroundings(const struct surroundings *now, void *userdata)
{
	struct manager *manager = userdata;
	hand_to_policy(manager);
	if (!manager->ready)
		return;
	check_surroundings(manager);
	tell(manager);
	consider(manager);
}

/* Being offline is no other uplink: the one that comes back may be the same. */
static void note_uplink(struct manager *manager, const struct network_state *state)
{
	uint64_t *last = &manager->surroundings.uplink;
	if (!state->available)
		return;
	if (*last && *last != state->fingerprint)
		manager->core.uplink_changed_usec = manager_now();
	*last = state->fingerprint;
}

void surroundings_on_network(const struct network_state *state, void *userdata)
{
	struct manager *manager = userdata;
	bool available = state->available && !manager->released_marker; /* behind the way out nothing is begun */
	surroundings_watch_set_state(manager->surroundings.watch, state);
	note_uplink(manager, state);
	if (!manager->ready)
		return;
	tell(manager);
	(void)effects_apply_gate(manager); /* the rules name links */
	if (manager->core.available != available)
		manager_run(manager, &(struct lifecycle_event){
					     .type = LIFECYCLE_NETWORK,
					     .tunnel = LIFECYCLE_NONE,
					     .now_usec = manager_now(),
					     .available = available,
				     });
	consider(manager);
}

/* ---- sleep ---- */

/* Without logind nobody says so, and a tunnel that did not survive is noticed like any other. */
static int on_sleep(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	int begins = true;
	if (sd_bus_message_read(message, "b", &begins) < 0 || begins)
		return 0;
	log_info("the host has woken up");
	run_policy_event(userdata, POLICY_EVENT_RESUMED);
	return 0;
}

static void on_bus(sd_bus *bus, void *userdata)
{
	int r = bus ? sd_bus_match_signal_async(bus, NULL, "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager",
			      "PrepareForSleep", on_sleep, NULL, userdata)
		    : 0;
	if (r < 0)
		log_warning("logind cannot be heard: %s", strerror(-r));
	host_resolver_on_bus(bus, userdata);
}

/* ---- the life of it ---- */

int surroundings_open(struct manager *manager)
{
	struct surroundings_state *state = &manager->surroundings;
	int r = system_bus_new(&state->bus, manager->event);
	if (r >= 0)
		r = surroundings_watch_new(&state->watch, manager->event, state->bus, on_surroundings, manager);
	if (r < 0)
		return r;
	system_bus_listen(state->bus, on_bus, manager);
	surroundings_watch_set_state(state->watch, network_monitor_state(manager->monitor));
	note_uplink(manager, network_monitor_state(manager->monitor));
	system_bus_start(state->bus);
	hand_to_policy(manager);
	return 0;
}

void surroundings_close(struct manager *manager)
{
	struct surroundings_state *state = &manager->surroundings;
	state->due = sd_event_source_disable_unref(state->due);
	state->bus = system_bus_free(state->bus); /* first: its slots speak to the watch */
	state->watch = surroundings_watch_free(state->watch);
	free(state->link);
	free(state->place);
	free(state->told);
	free(state->portal_link);
	*state = (struct surroundings_state){};
}

void surroundings_begin(struct manager *manager, bool boot)
{
	struct surroundings_state *state = &manager->surroundings;
	_cleanup_json_ json_object *network = surroundings_to_json(manager);
	state->told = text_dup(json_object_to_json_string_ext(network, JSON_C_TO_STRING_PLAIN));
	state->boot = boot;
	if (surroundings_settled(surroundings_now(state->watch)))
		judge(manager);
	else
		consider(manager);
}

json_object *surroundings_save(const struct manager *manager)
{
	const struct surroundings_state *state = &manager->surroundings;
	if (!state->link)
		return NULL;
	json_object *object = json_object_new_object();
	json_object_object_add(object, "link", json_object_new_string(state->link));
	json_object_object_add(object, "place", json_object_new_string(state->place));
	return object;
}

void surroundings_load(struct manager *manager, json_object *saved)
{
	json_object *link = json_object_object_get(saved, "link"), *place = json_object_object_get(saved, "place");
	if (!json_object_is_type(link, json_type_string) || !json_object_is_type(place, json_type_string))
		return;
	manager->surroundings.link = text_dup(json_object_get_string(link));
	manager->surroundings.place = text_dup(json_object_get_string(place));
}
