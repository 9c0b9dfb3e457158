/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/surroundings.h"

#include <string.h>

#include "network/wireless.h"
#include "util/text.h"

struct surroundings_watch {
	struct networkmanager *networkmanager;
	struct wireless *wireless;
	char interface[IFNAMSIZ];
	int index;
	uint64_t fingerprint;
	enum link_type type; /* as the kernel has it */
	struct surroundings now;
	void (*changed)(const struct surroundings *surroundings, void *userdata);
	void *userdata;
};

static bool surroundings_equal(const struct surroundings *a, const struct surroundings *b)
{
	return strcmp(a->interface, b->interface) == 0 && a->type == b->type && text_fact_equal(&a->ssid, &b->ssid) &&
	       text_fact_equal(&a->bssid, &b->bssid) && text_fact_equal(&a->profile, &b->profile) && a->metered.fact == b->metered.fact &&
	       a->metered.value == b->metered.value && a->networkmanager == b->networkmanager &&
	       a->asking == b->asking && a->connectivity == b->connectivity && strcmp(a->check_uri, b->check_uri) == 0;
}

/* What nl80211 does not have, a NetworkManager that does not answer may have. */
static struct text_fact or_unknown(struct text_fact fact, enum fact source)
{
	return fact.fact == FACT_NONE && source == FACT_UNKNOWN ? text_fact_unknown() : fact;
}

static void describe_managed(const struct networkmanager_facts *facts, struct surroundings *ret)
{
	if (facts->type != LINK_TYPE_OTHER)
		ret->type = facts->type;
	ret->ssid = facts->ssid;
	ret->bssid = facts->bssid;
	ret->profile = facts->profile;
	ret->metered = facts->metered;
}

static void describe_unmanaged(struct surroundings_watch *watch, enum fact source, struct surroundings *ret)
{
	struct wireless_facts wireless = wireless_read(watch->wireless, watch->index);
	ret->ssid = or_unknown(wireless.ssid, source);
	ret->bssid = or_unknown(wireless.bssid, source);
	ret->profile = or_unknown(text_fact_none(), source);
	ret->metered.fact = source == FACT_UNKNOWN ? FACT_UNKNOWN : FACT_NONE;
}

static void update(struct surroundings_watch *watch)
{
	const struct networkmanager_facts *facts = networkmanager_facts(watch->networkmanager);
	struct surroundings now = {.networkmanager = facts->source, .asking = facts->asking, .connectivity = facts->connectivity};
	memcpy(now.check_uri, facts->check_uri, sizeof now.check_uri);
	if (watch->interface[0]) {
		memcpy(now.interface, watch->interface, sizeof now.interface);
		now.type = watch->type;
		if (facts->managed)
			describe_managed(facts, &now);
		else
			describe_unmanaged(watch, facts->source, &now);
	}
	if (surroundings_equal(&watch->now, &now))
		return;
	watch->now = now;
	watch->changed(&watch->now, watch->userdata);
}

static void on_source(void *userdata)
{
	update(userdata);
}

void surroundings_watch_set_state(struct surroundings_watch *watch, const struct network_state *state)
{
	bool moved = watch->fingerprint != state->fingerprint;
	memcpy(watch->interface, state->primary, sizeof watch->interface);
	watch->fingerprint = state->fingerprint;
	watch->index = state->primary_index;
	watch->type = state->primary_type;
	networkmanager_set_interface(watch->networkmanager, watch->interface);
	if (moved)
		networkmanager_refresh(watch->networkmanager);
	update(watch);
}

const struct surroundings *surroundings_now(const struct surroundings_watch *watch)
{
	return &watch->now;
}

bool surroundings_settled(const struct surroundings *surroundings)
{
	return surroundings->networkmanager != FACT_UNKNOWN && !surroundings->asking && surroundings->profile.fact != FACT_UNKNOWN;
}

struct surroundings_watch *surroundings_watch_free(struct surroundings_watch *watch)
{
	if (!watch)
		return NULL;
	networkmanager_free(watch->networkmanager);
	wireless_free(watch->wireless);
	free(watch);
	return NULL;
}

int surroundings_watch_new(struct surroundings_watch **ret, sd_event *event, struct system_bus *bus,
	void (*changed)(const struct surroundings *surroundings, void *userdata), void *userdata)
{
	struct surroundings_watch *watch = xcalloc(1, sizeof *watch);
	*watch = (struct surroundings_watch){.changed = changed, .userdata = userdata, .now.networkmanager = FACT_UNKNOWN};
	int r = wireless_new(&watch->wireless, event, on_source, watch);
	if (r >= 0)
		r = networkmanager_new(&watch->networkmanager, event, bus, SURROUNDINGS_GRACE_USEC, on_source, watch);
	if (r < 0) {
		surroundings_watch_free(watch);
		return r;
	}
	*ret = watch;
	return 0;
}
