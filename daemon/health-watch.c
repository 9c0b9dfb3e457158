/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Samples the links of tunnels that are up, sends the probes that health.c asks for, and tells of the signs: `unresponsive`
 * for the passive one, which policies may have rules for; a stop with peerUnresponsive once there are both.
 */

#include <string.h>

#include "daemon/manager.h"
#include "network/link.h"
#include "util/log.h"

static bool is_watched(const struct manager *manager, size_t index)
{
	const struct tunnel_runtime *runtime = &manager->tunnels[index];
	return runtime->config && runtime->config->health.enabled && manager->core.available &&
	       manager->core.tunnels[index].state == TUNNEL_CONNECTED;
}

/* Whom to ask: the document's target, else the tunnel's resolver, else its first other host, by custom the gateway. */
static bool find_target(const struct tunnel_runtime *runtime, struct ip_address *ret, bool *ret_resolver)
{
	const struct tunnel_config *config = runtime->config;
	const struct ip_address *dns = config->dns_count ? config->dns : runtime->network.dns;
	size_t count = config->dns_count ? config->dns_count : runtime->network.dns_count;
	*ret_resolver = false;
	*ret = config->health.target;
	if (ret->family == AF_UNSPEC && count > 0)
		*ret = dns[0];
	for (size_t i = 0; i < count; i++)
		*ret_resolver |= ip_address_equal(ret, &dns[i]);
	if (ret->family != AF_UNSPEC)
		return true;
	for (size_t i = 0; i < runtime->network.address_count; i++) {
		struct ip_prefix address = runtime->network.addresses[i];
		if (address.address.family != AF_INET)
			continue;
		if (address.length > 30)
			address.length = 24; /* a host's own address says nothing of the network: a guess, which must prove itself */
		struct ip_prefix network = ip_prefix_mask(address);
		network.address.bytes[3] |= 1;
		*ret = network.address;
		return !ip_address_equal(&network.address, &address.address);
	}
	return false;
}

static void on_answer(void *userdata)
{
	struct tunnel_health *health = userdata;
	health_answered(&health->signs);
}

static void open_probe(struct manager *manager, struct tunnel_runtime *runtime)
{
	struct ip_address target;
	bool resolver;
	if (runtime->health.probe || runtime->health.no_target)
		return;
	runtime->health.no_target = !find_target(runtime, &target, &resolver) ||
	                            probe_new(&runtime->health.probe, manager->event, runtime->config->interface, &target,
	                                    resolver, on_answer, &runtime->health) < 0;
}

static void rest(struct tunnel_runtime *runtime)
{
	runtime->health.probe = probe_free(runtime->health.probe);
	runtime->health = (struct tunnel_health){};
}

static void tell_suspicion(struct manager *manager, size_t index)
{
	struct lifecycle_event event = {.type = LIFECYCLE_POLICY_EVENT, .tunnel = index, .now_usec = manager_now(),
	        .policy_event = POLICY_EVENT_UNRESPONSIVE};
	events_emit(manager, events_new(manager, "unresponsive", index));
	manager_run(manager, &event);
}

static void tell_death(struct manager *manager, size_t index)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	snprintf(runtime->detail, sizeof runtime->detail,
	        "nothing came back of what was sent, and the target of the health probe does not answer any more");
	rest(runtime);
	manager_run_tunnel(manager, LIFECYCLE_PEER_SILENT, index);
}

static void sample(struct manager *manager, size_t index)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	uint64_t rx, tx;
	if (link_counters(runtime->config->interface, &rx, &tx) < 0)
		return;
	open_probe(manager, runtime);
	enum health_action action =
	        health_sample(&runtime->health.signs, manager_now(), rx, tx, runtime->config->health.interval_usec);
	if (action == HEALTH_NOTHING)
		return;
	if (action == HEALTH_DEAD) {
		tell_death(manager, index);
		return;
	}
	if (runtime->health.probe)
		probe_send(runtime->health.probe);
	if (action == HEALTH_SUSPECT)
		tell_suspicion(manager, index);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	uint64_t now = manager_now();
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (is_watched(manager, i) && manager->tunnels[i].health.next_usec <= now) {
			manager->tunnels[i].health.next_usec = now + manager->tunnels[i].config->health.interval_usec / HEALTH_SAMPLES;
			sample(manager, i);
		}
	health_arm(manager);
	return 0;
}

void health_arm(struct manager *manager)
{
	uint64_t soonest = USEC_INFINITY, now = manager_now();
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++) {
		struct tunnel_runtime *runtime = &manager->tunnels[i];
		if (!is_watched(manager, i)) {
			rest(runtime);
			continue;
		}
		if (runtime->health.next_usec == 0)
			runtime->health.next_usec = now;
		soonest = MIN_OF(soonest, runtime->health.next_usec);
	}
	manager_arm_timer(manager, &manager->health_timer, soonest, on_time);
}

const char *health_word(const struct manager *manager, size_t index)
{
	const struct health *signs = &manager->tunnels[index].health.signs;
	if (!is_watched(manager, index))
		return NULL;
	return signs->suspected ? "suspicious" : signs->proven ? "watching" : "learning";
}
