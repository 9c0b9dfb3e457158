/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What holdfastd does without a loop. No worker is started and nothing is written to the state directory, but for the folders. */

#include "daemon/offline.h"

#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <string.h>

#include "daemon/dhcp-users.h"
#include "daemon/manager.h"
#include "network/link.h"
#include "network/resolver.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/log.h"
#include "util/text.h"

int offline_check(const struct options *options, bool (*check_fronts)(const struct configuration *configuration))
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	struct manager *manager = manager_new(options);
	bool good = documents_load(manager, &problems);
	_cleanup_json_ json_object *state = NULL;
	int r = store_read(options->state_dir, &state);
	if (r < 0 && r != -ENOENT) {
		log_error("%s/state.json: cannot be used: %s; holdfastd would hold the gate closed", options->state_dir, strerror(-r));
		good = false;
	}
	good = check_fronts(manager->configuration) && good;
	size_t tunnels = 0;
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		tunnels += manager->tunnels[i].config != NULL;
	if (good)
		log_info("every document is good: mode %s, policy %s with %zu rules, %zu tunnel%s", gate_mode_to_string(manager->settings->mode),
			policy_name(manager->policy) ? policy_name(manager->policy) : "without a name", policy_rule_count(manager->policy), tunnels,
			tunnels == 1 ? "" : "s");
	manager_free(manager);
	return good ? 0 : -EINVAL;
}

/* Whether the saved state wants the gate closed; unknown counts as yes. */
static bool something_wanted(const struct options *options)
{
	_cleanup_json_ json_object *state = NULL;
	int r = store_read(options->state_dir, &state);
	return r == -ENOENT ? store_lost(options->state_dir) : r < 0 || store_wants_closed(state);
}

static void keep_host_settings(struct routing *routing, const struct options *options)
{
	_cleanup_free_ char *path = document_path(options->runtime_dir, "host-settings.json");
	(void)directory_make(options->runtime_dir, 0755);
	routing_keep_settings(routing, path);
}

/* Closed for everybody: no tunnel is up, and which links there will be is not known yet. */
static int close_gate(struct manager *manager)
{
	_cleanup_free_ struct network_state *network = xcalloc(1, sizeof *network);
	struct demand_facts facts[LIFECYCLE_TUNNELS_MAX] = {};
	struct demand_input input = {.lifecycle = &manager->core, .facts = facts, .settings = manager->settings, .network = network,
		.dhcp_users = dhcp_users_find()};
	manager->core.mode = GATE_MODE_ALWAYS;
	demand_build(&input, &manager->demand);
	bool stands = false;
	int r = gate_new(&manager->gate);
	if (r == 0 && gate_exists(manager->gate, &stands) == 0 && stands) {
		log_info("the gate stands already, an earlier daemon's: it is left as it is");
		return 0; /* no boot but a restart: a tunnel may run behind it */
	}
	if (r == 0)
		r = gate_apply(manager->gate, &manager->demand.gate);
	if (r < 0)
		log_error("the gate could not be closed: %s", manager->gate && gate_error(manager->gate)[0] ? gate_error(manager->gate) : strerror(-r));
	if (r == 0)
		r = routing_new(&manager->routing);
	if (r == 0)
		keep_host_settings(manager->routing, &manager->options);
	if (r == 0 && (r = routing_apply(manager->routing, &manager->demand.routing)) < 0)
		log_error("the second layer could not be set up: %s", routing_error(manager->routing));
	return r;
}

int offline_boot(const struct options *options)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	bool released = false;
	if (store_marker_read(options->state_dir, &released) == 0 && released) {
		log_notice("%s/released stands: the way out was taken, the gate is left open until a mode is set", options->state_dir);
		return 0;
	}
	struct manager *manager = manager_new(options);
	(void)documents_load(manager, &problems);
	enum gate_mode mode = confirm_strictest(options->state_dir, manager->settings->mode);
	int r = 0;
	if (mode == GATE_MODE_OFF || (mode == GATE_MODE_AUTO && !something_wanted(options)))
		log_info("nothing is to be held: mode %s", gate_mode_to_string(mode));
	else if ((r = close_gate(manager)) == 0)
		log_notice("the gate is held");
	manager_free(manager);
	return r;
}

static int remove_links(void)
{
	struct if_nameindex *links = if_nameindex();
	int r = 0;
	for (size_t i = 0; links && links[i].if_index; i++)
		if (strncmp(links[i].if_name, NETWORK_PREFIX, strlen(NETWORK_PREFIX)) == 0 && r == 0)
			r = link_remove(links[i].if_name);
	if_freenameindex(links);
	return r;
}

int offline_release(const struct options *options)
{
	struct gate *gate = NULL;
	struct routing *routing = NULL;
	int first = gate_new(&gate);
	if (first == 0)
		first = gate_remove(gate);
	if (first < 0)
		log_error("the nftables table could not be removed: %s", strerror(-first));
	int second = routing_new(&routing);
	if (second == 0) {
		keep_host_settings(routing, options);
		second = routing_remove(routing);
	}
	if (second < 0)
		log_error("the rules and routes could not be removed: %s", strerror(-second));
	int third = remove_links();
	if (third < 0)
		log_error("the links could not be removed: %s", strerror(-third));
	int fourth = resolver_restore(options->state_dir);
	if (fourth < 0)
		log_error("the resolver could not be put back: %s", strerror(-fourth));
	gate_free(gate);
	routing_free(routing);
	if (first < 0 || second < 0 || third < 0 || fourth < 0)
		return -EIO;
	log_notice("Holdfast's table, rules, routes and links are removed");
	return 0;
}
