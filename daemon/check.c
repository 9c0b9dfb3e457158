/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/check.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>

#include "daemon/manager.h"
#include "network/resolver.h"
#include "network/socket-mark.h"
#include "util/text.h"

#define UNIT	      "NetworkManager.service"
#define KIND	      "connectivityCheck"
#define RESOLVED_USER "systemd-resolve"

/* ---- where it goes ---- */

/* NULL; or why there is nothing to be let by. */
static const char *find_target(const struct manager *manager, struct check_target *ret)
{
	const struct surroundings *now = surroundings_now(manager->surroundings.watch);
	const char *reason = NULL;
	*ret = (struct check_target){};
	if (now->networkmanager == FACT_NONE)
		return "there is no NetworkManager";
	if (!now->check_uri[0])
		return now->networkmanager == FACT_KNOWN ? "NetworkManager makes no connectivity check; its uri is not set, or it is turned off"
							 : "NetworkManager does not answer";
	if (check_uri_parse(now->check_uri, ret, &reason) < 0)
		*ret = (struct check_target){};
	return reason;
}

static void find_resolvers(const struct manager *manager, const struct check_target *target, struct worker_resolvers *ret)
{
	*ret = (struct worker_resolvers){};
	if (target->name[0])
		ret->count = resolver_uplink_servers(manager->options.state_dir, ret->servers, WORKER_RESOLVERS_MAX);
}

static bool same_target(const struct check_target *a, const struct check_target *b)
{
	return a->port == b->port && ip_address_equal(&a->host, &b->host) && strcmp(a->name, b->name) == 0;
}

static bool same_resolvers(const struct worker_resolvers *a, const struct worker_resolvers *b)
{
	bool same = a->count == b->count;
	for (size_t i = 0; same && i < a->count; i++)
		same = ip_address_equal(&a->servers[i], &b->servers[i]);
	return same;
}

static uint32_t resolved_uid(void)
{
	const struct passwd *user = getpwnam(RESOLVED_USER);
	return user ? user->pw_uid : 0;
}

struct gate_check check_plan(struct manager *manager)
{
	struct check *check = &manager->check;
	check->target = (struct check_target){};
	if (manager->settings->captive_portal_check)
		(void)find_target(manager, &check->target);
	find_resolvers(manager, &check->target, &check->resolvers);
	if (check->target.port == 0)
		return (struct gate_check){};
	return (struct gate_check){
		.port = check->target.port,
		.host = check->target.host,
		.name = check->target.name[0] ? check->target.name : NULL,
		.resolvers = check->resolvers.servers,
		.resolver_count = check->resolvers.count,
		.resolved_uid = resolved_uid(),
	};
}

/* ---- NetworkManager's cgroup ---- */

/* A grant of the whole unit has given its cgroup another mark, and opens more. */
static bool granted_whole(const struct manager *manager)
{
	for (size_t i = 0; i < manager->grants.count; i++)
		if (manager->grants.items[i].type == BYPASS_UNIT && manager->grants.items[i].mark && strcmp(manager->grants.items[i].name, UNIT) == 0)
			return true;
	return false;
}

static char *mark_cgroup(struct manager *manager)
{
	struct grant *grant = &manager->check.grant;
	uint32_t mark = mark_value(manager->settings->mark, manager->settings->mark_mask, MARK_CHECKER);
	if (granted_whole(manager)) {
		closep(&grant->cgroup_fd);
		grant->in_effect = false;
		return text_dup(UNIT " is granted as a whole");
	}
	grant->in_effect &= grant->mark == mark;
	grant->mark = mark;
	int r = grant_mark(grant);
	grant->in_effect = r == 0;
	return r == 0 ? NULL : grant_why_not(r);
}

static void unmark_cgroup(struct manager *manager)
{
	if (granted_whole(manager))
		closep(&manager->check.grant.cgroup_fd);
	grant_unmark(&manager->check.grant);
}

void check_attach(struct manager *manager)
{
	struct check *check = &manager->check;
	struct check_target target;
	const char *reason = find_target(manager, &target);
	if (!manager->settings->captive_portal_check) {
		unmark_cgroup(manager);
		check->grant.since_realtime = 0;
		return;
	}
	if (!check->grant.since_realtime)
		check->grant.since_realtime = manager_realtime();
	if (reason)
		unmark_cgroup(manager);
	grant_set_detail(&check->grant, reason ? text_dup(reason) : mark_cgroup(manager));
}

void check_surroundings(struct manager *manager)
{
	struct check_target target;
	struct worker_resolvers resolvers;
	if (!manager->settings->captive_portal_check)
		return;
	(void)find_target(manager, &target);
	find_resolvers(manager, &target, &resolvers);
	if (!same_target(&target, &manager->check.target) || !same_resolvers(&resolvers, &manager->check.resolvers))
		(void)effects_apply_gate(manager);
	check_attach(manager);
}

bool check_in_effect(const struct manager *manager)
{
	return manager->settings->captive_portal_check && manager->check.target.port && manager->check.grant.in_effect;
}

void check_settings(const struct manager *manager, const struct kill_switch *settings, struct problems *problems)
{
	if (settings->captive_portal_check && !manager->settings->captive_portal_check && socket_mark_supported() == -EOPNOTSUPP)
		problems_error(problems, "/captivePortalCheck", NULL,
			"needs cgroup v2 with BPF, which is missing or refused here: NetworkManager's check cannot be told from other programs' traffic");
}

/* ---- showing ---- */

/* "TCP port 80 by the uplink, and questions for example.org to 192.0.2.1". The caller frees it. */
static char *say_what_opens(const struct check *check)
{
	struct text text = TEXT_NULL;
	char address[IP_TEXT_MAX];
	text_append(&text, "TCP port %u by the uplink", check->target.port);
	if (!check->target.name[0])
		text_append(&text, " to %s", ip_address_format(address, &check->target.host));
	for (size_t i = 0; i < check->resolvers.count; i++) {
		if (i == 0)
			text_append(&text, ", and questions for %s to ", check->target.name);
		text_append(&text, "%s%s", i ? ", " : "", ip_address_format(address, &check->resolvers.servers[i]));
	}
	return text_steal(&text);
}

json_object *check_to_json(const struct manager *manager)
{
	const struct check *check = &manager->check;
	if (!manager->settings->captive_portal_check)
		return NULL;
	bool in_effect = check_in_effect(manager);
	_cleanup_free_ char *opens = in_effect ? say_what_opens(check) : NULL;
	json_object *object = json_object_new_object();
	json_object_object_add(object, "id", json_object_new_string(KIND));
	json_object_object_add(object, "type", json_object_new_string(KIND));
	json_object_object_add(object, "name", json_object_new_string(UNIT));
	json_object_object_add(object, "source", json_object_new_string("settings"));
	json_object_object_add(object, "since", json_time(check->grant.since_realtime));
	json_object_object_add(object, "until", NULL);
	json_object_object_add(object, "by", NULL);
	json_object_object_add(object, "inEffect", json_object_new_boolean(in_effect));
	json_object_object_add(object, "detail", json_text_or_null(check->grant.detail));
	json_object_object_add(object, "opens", json_text_or_null(opens));
	return object;
}

/* ---- the life of it ---- */

void check_init(struct manager *manager)
{
	manager->check.grant = (struct grant){.type = BYPASS_UNIT, .name = (char *)UNIT, .cgroup_fd = -1};
}

void check_free(struct manager *manager)
{
	closep(&manager->check.grant.cgroup_fd);
	grant_set_detail(&manager->check.grant, NULL);
}
