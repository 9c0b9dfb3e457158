/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The list of what is granted, its marks and its elements in the gate, and every change at run time. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "daemon/manager.h"
#include "network/cgroup.h"
#include "network/socket-mark.h"
#include "util/text.h"
#include "util/timestamp.h"

#define RUN_TIME_MAX 1024 /* grants made at run time */

static const char *const type_names[] = {
	[BYPASS_UNIT] = "unit",
	[BYPASS_SLICE] = "slice",
	[BYPASS_USER] = "user",
	[BYPASS_PROGRAM] = "program",
	[BYPASS_ADDRESS] = "address",
	[BYPASS_DOMAIN] = "domain",
};
DEFINE_STRING_TABLE(bypass_type, enum bypass_type, type_names);

bool grant_is_process(const struct grant *grant)
{
	return grant->type <= BYPASS_PROGRAM;
}

/* ---- the list ---- */

struct grant *grants_find(struct grants *grants, enum bypass_type type, const char *name, bool listed)
{
	for (size_t i = 0; i < grants->count; i++)
		if (grants->items[i].type == type && grants->items[i].listed == listed && strcmp(grants->items[i].name, name) == 0)
			return &grants->items[i];
	return NULL;
}

struct grant *grants_find_id(struct grants *grants, const char *id)
{
	for (size_t i = 0; i < grants->count; i++)
		if (strcmp(grants->items[i].id, id) == 0)
			return &grants->items[i];
	return NULL;
}

/* Takes over what GRANT owns. */
struct grant *grants_append(struct grants *grants, struct grant grant)
{
	if (grants->count == grants->allocated) {
		grants->allocated = MAX_OF((size_t)16, grants->allocated * 2);
		grants->items = xrealloc(grants->items, grants->allocated * sizeof *grants->items);
	}
	grants->items[grants->count] = grant;
	return &grants->items[grants->count++];
}

void grants_drop(struct grants *grants, struct grant *grant)
{
	free(grant->id);
	free(grant->name);
	free(grant->by);
	free(grant->detail);
	closep(&grant->cgroup_fd);
	closep(&grant->guard_fd);
	size_t index = (size_t)(grant - grants->items);
	memmove(grant, grant + 1, (grants->count - index - 1) * sizeof *grant);
	grants->count--;
}

void grant_set_detail(struct grant *grant, char *words)
{
	free(grant->detail);
	grant->detail = words;
}

/* ---- the gate's share ---- */

static uint64_t monotonic(uint64_t boottime_usec)
{
	uint64_t boottime = manager_now();
	if (boottime_usec == USEC_INFINITY)
		return USEC_INFINITY;
	uint64_t at = clock_usec(CLOCK_MONOTONIC);
	return boottime_usec > boottime ? at + boottime_usec - boottime : at;
}

/* False: it has no element (a domain's come from the resolver; a process without a mark). */
static bool element_of(const struct grant *grant, struct gate_grant *ret)
{
	*ret = (struct gate_grant){.mark = grant->mark, .network = grant->network, .until_usec = monotonic(grant->until_usec)};
	if (grant->type == BYPASS_DOMAIN || (grant_is_process(grant) && !grant->mark))
		return false;
	bool host = grant->type == BYPASS_ADDRESS && grant->network.length == ip_address_bits(&grant->network.address);
	ret->kind = grant_is_process(grant) ? GRANT_PROCESS : host ? GRANT_HOST : GRANT_NETWORK;
	return true;
}

unsigned grants_kinds(const struct manager *manager)
{
	struct gate_grant element;
	unsigned kinds = manager->settings->bypass.domain_count ? 1u << GRANT_NAMES : 0;
	kinds |= manager->settings->bypass.address_count ? 1u << GRANT_LISTED : 0;
	for (size_t i = 0; i < manager->grants.count; i++)
		if (element_of(&manager->grants.items[i], &element))
			kinds |= 1u << element.kind;
		else if (manager->grants.items[i].type == BYPASS_DOMAIN)
			kinds |= 1u << GRANT_NAMES;
	return kinds;
}

void grants_hand_over(struct manager *manager)
{
	_cleanup_free_ struct gate_grant *elements = xcalloc(manager->grants.count + 1, sizeof *elements);
	size_t count = 0;
	for (size_t i = 0; i < manager->grants.count; i++)
		count += element_of(&manager->grants.items[i], &elements[count]);
	gate_set_grants(manager->gate, elements, count);
	gate_set_listed(manager->gate, manager->settings->bypass.addresses, manager->settings->bypass.address_count);
}

/* Whether the rules in force look into the set of this kind: then its element alone is enough. */
static bool kind_in_force(const struct manager *manager, enum grant_kind kind)
{
	return manager->report.verified && manager->demand.gate.exists && manager->demand.gate.granted & 1u << kind;
}

static int apply_one(struct manager *manager, const struct grant *grant)
{
	struct gate_grant element;
	if (element_of(grant, &element) && kind_in_force(manager, element.kind))
		return gate_add_grant(manager->gate, &element);
	grants_hand_over(manager);
	return effects_apply_gate(manager);
}

/* ---- watching ---- */

static void on_cgroups(void *userdata)
{
	grants_attach(userdata);
}

static bool watch_cgroups(struct manager *manager)
{
	if (!manager->grants.watch)
		(void)cgroup_watch_new(&manager->grants.watch, manager->event, on_cgroups, manager);
	return manager->grants.watch != NULL;
}

/* ---- changes ---- */

static void announce(struct manager *manager, const char *kind, const struct grant *grant, const char *reason, const char *by)
{
	json_object *event = events_new(manager, kind, LIFECYCLE_NONE);
	json_object_object_add(event, "bypass", json_object_new_string(grant->id));
	json_object_object_add(event, "type", json_object_new_string(bypass_type_to_string(grant->type)));
	json_object_object_add(event, "name", json_object_new_string(grant->name));
	if (reason)
		json_object_object_add(event, "reason", json_object_new_string(reason));
	else
		json_object_object_add(event, "until", json_boottime(grant->until_usec));
	json_object_object_add(event, "by", json_text_or_null(by));
	events_emit(manager, event);
}

static void names_changed(struct manager *manager, bool taken_back)
{
	manager->names.flush |= taken_back;
	names_update(manager);
	host_resolver_update(manager);
}

static int on_end(sd_event_source *source, uint64_t usec, void *userdata);

static void arm(struct manager *manager)
{
	uint64_t soonest = USEC_INFINITY;
	for (size_t i = 0; i < manager->grants.count; i++)
		soonest = MIN_OF(soonest, manager->grants.items[i].until_usec);
	manager_arm_timer(manager, &manager->grants.timer, soonest, on_end);
}

/* Out of the gate's sets first: from here on nothing of it leaves, whatever else fails. */
static int end_grant(struct manager *manager, struct grant *grant, const char *reason, const char *by)
{
	struct gate_grant element;
	int r = element_of(grant, &element) ? gate_remove_grant(manager->gate, &element) : 0;
	if (r < 0)
		return r;
	grants_give_back_mark(manager, grant);
	grant_unmark(grant);
	announce(manager, "bypassRemoved", grant, reason, by);
	bool domain = grant->type == BYPASS_DOMAIN;
	grants_drop(&manager->grants, grant);
	if (domain)
		names_changed(manager, true);
	grants_save_or_forget(manager);
	arm(manager);
	check_attach(manager);
	return 0;
}

static int on_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	for (size_t i = manager->grants.count; i-- > 0;)
		if (manager->grants.items[i].until_usec <= manager_now())
			(void)end_grant(manager, &manager->grants.items[i], "its time is over", NULL);
	arm(manager);
	return 0;
}

void grants_attach(struct manager *manager)
{
	struct grants *grants = &manager->grants;
	for (size_t i = grants->count; i-- > 0;) {
		struct grant *grant = &grants->items[i];
		if (!grant_is_process(grant) || !grant->mark)
			continue;
		if (grant->type == BYPASS_PROGRAM) {
			if (watch_cgroups(manager) && grant->cgroup_fd >= 0)
				(void)cgroup_watch_empty(grants->watch, grant->cgroup_fd);
			if (cgroup_populated(grant->cgroup_fd) <= 0)
				(void)end_grant(manager, grant, "the program ended", NULL);
			continue;
		}
		(void)watch_cgroups(manager);
		int r = grant_mark(grant);
		grant->in_effect = r == 0;
		grant_set_detail(grant, r == 0 ? NULL : grant_why_not(r));
	}
	if (manager->settings->captive_portal_check)
		(void)watch_cgroups(manager);
	check_attach(manager);
	arm(manager);
}

static int check_exists(const struct bypass_request *request, char **ret_words)
{
	static const char *const folders[] = {"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
		"/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/transient", "/run/systemd/generator"};
	_cleanup_free_ char *path = NULL;
	if (request->type > BYPASS_USER)
		return 0;
	int r = socket_mark_supported();
	if (r != -EOPNOTSUPP)
		r = grant_find_cgroup(request->type, request->name, &path);
	if (r == 0 && cgroup_is_ours(path)) {
		*ret_words = text_format("Holdfast itself runs in %s; name what runs beside it", request->name);
		return -EINVAL;
	}
	if (r == -ENOENT && request->type == BYPASS_USER)
		return 0; /* not logged in */
	for (size_t i = 0; r == -ENOENT && i < ELEMENTSOF(folders); i++) {
		_cleanup_free_ char *file = text_format("%s/%s", folders[i], request->name);
		if (access(file, F_OK) == 0)
			return 0;
	}
	if (r == -EOPNOTSUPP)
		*ret_words = grant_why_not(r);
	else if (r < 0)
		*ret_words = text_format("there is no %s %s", bypass_type_to_string(request->type), request->name);
	return r == -ESRCH ? -ENOENT : r;
}

static int check_overlap(const struct grants *grants, const struct bypass_request *request, char **ret_words)
{
	uint8_t bits = ip_address_bits(&request->network.address);
	for (size_t i = 0; request->type == BYPASS_ADDRESS && request->network.length < bits && i < grants->count; i++) {
		const struct grant *other = &grants->items[i];
		if (other->type != BYPASS_ADDRESS || other->network.length == bits ||
			ip_prefix_equal(&other->network, &request->network))
			continue;
		if (ip_prefix_contains(&other->network, &request->network.address) || ip_prefix_contains(&request->network, &other->network.address)) {
			*ret_words = text_format("%s overlaps %s, which is granted already (%s); take that back first", request->name, other->name, other->id);
			return -EEXIST;
		}
	}
	return 0;
}

static bool lives(const struct bypass_request *request)
{
	struct pollfd pidfd = {.fd = request->pidfd, .events = POLLIN};
	return poll(&pidfd, 1, 0) == 0;
}

/* The scope that systemd has moved the program to is marked. */
static int enter_scope(const struct manager *manager, struct grant *grant, const struct bypass_request *request)
{
	_cleanup_free_ char *path = grant_scope_path(request->scope_id);
	int r = grant->cgroup_fd = cgroup_open(path);
	if (r >= 0 && (!cgroup_has(path, request->pid) || !lives(request)))
		r = -ESRCH;
	if (r >= 0) {
		grant_guard(manager, grant);
		r = socket_mark_attach(grant->cgroup_fd, grant->mark);
	}
	if (r < 0)
		closep(&grant->cgroup_fd); /* nothing was marked there */
	return r == -ENOENT ? -ESRCH : r;
}

/* Moves the program that asked into a cgroup of its own. It must live before and after: then it is the one that was moved. */
static int enter_own(const struct manager *manager, struct grant *grant, const struct bypass_request *request)
{
	_cleanup_free_ char *name = grant_program_cgroup(grant);
	int r = socket_mark_cgroup(name, grant->mark, &grant->cgroup_fd);
	if (r < 0)
		return r;
	grant_guard(manager, grant);
	r = lives(request) ? cgroup_move(grant->cgroup_fd, request->pid) : -ESRCH;
	return r == 0 && !lives(request) ? -ESRCH : r;
}

static int enclose(const struct manager *manager, struct grant *grant, const struct bypass_request *request, char **ret_words)
{
	int r = request->scope_id ? enter_scope(manager, grant, request) : enter_own(manager, grant, request);
	if (r == -ESRCH)
		*ret_words = text_dup("the program that asked is gone");
	else if (r == -EOPNOTSUPP)
		*ret_words = grant_why_not(r);
	else if (r < 0)
		*ret_words = text_format("the program cannot be given a cgroup of its own: %s", strerror(-r));
	return r == 0 || r == -ESRCH || r == -EOPNOTSUPP ? r : -EIO;
}

char *grants_next_id(struct manager *manager)
{
	return text_format("b%llu", (unsigned long long)++manager->grants.next_id);
}

static struct grant make(struct manager *manager, const struct bypass_request *request)
{
	struct grant grant = {
		.type = request->type,
		.name = text_dup(request->name),
		.network = request->network,
		.by = text_dup(request->by),
		.since_realtime = manager_realtime(),
		.until_usec = request->duration_usec == USEC_INFINITY ? USEC_INFINITY : manager_now() + request->duration_usec,
		.cgroup_fd = -1,
		.guard_fd = -1,
	};
	grant.id = request->scope_id ? text_dup(request->scope_id) : grants_next_id(manager);
	return grant;
}

/* Undoes what grants_add() began. */
static int give_up(struct manager *manager, struct grant *grant, int error)
{
	struct gate_grant element;
	if (element_of(grant, &element))
		(void)gate_remove_grant(manager->gate, &element);
	if (grant->type != BYPASS_PROGRAM || grant->cgroup_fd >= 0 || grant->guard_fd >= 0) /* else no socket ever had it */
		grants_give_back_mark(manager, grant);
	grant_unmark(grant);
	grants_drop(&manager->grants, grant);
	grants_save_or_forget(manager);
	return error;
}

/* Known already: it gets the end that is asked for now. */
static int renew(struct manager *manager, struct grant *grant, const struct bypass_request *request, bool *ret_changed, char **ret_words)
{
	uint64_t before = grant->until_usec;
	grant->until_usec = request->duration_usec == USEC_INFINITY ? USEC_INFINITY : manager_now() + request->duration_usec;
	*ret_changed = before != grant->until_usec;
	int r = *ret_changed ? grants_save(manager) : 0;
	if (r == 0 && *ret_changed && apply_one(manager, grant) < 0) {
		*ret_words = text_format("the gate did not take it: %s", gate_error(manager->gate));
		r = -EIO;
	}
	if (r < 0) {
		grant->until_usec = before;
		grants_save_or_forget(manager);
	}
	arm(manager);
	return r;
}

static size_t count_run_time(const struct grants *grants)
{
	size_t count = 0;
	for (size_t i = 0; i < grants->count; i++)
		count += !grants->items[i].listed;
	return count;
}

/* The grant that there is; NULL: none. Where the settings list it, it is for good, and its cgroup has one mark. */
static struct grant *find_known(struct grants *grants, const struct bypass_request *request)
{
	struct grant *listed = request->type >= BYPASS_PROGRAM ? NULL : grants_find(grants, request->type, request->name, true);
	return listed || request->type == BYPASS_PROGRAM ? listed : grants_find(grants, request->type, request->name, false);
}

static int check_new(const struct grants *grants, const struct bypass_request *request, char **ret_words)
{
	int r = check_exists(request, ret_words);
	if (r == 0)
		r = check_overlap(grants, request, ret_words);
	if (r == 0 && count_run_time(grants) >= RUN_TIME_MAX) {
		*ret_words = text_format("%d grants were made at run time already; take some back", RUN_TIME_MAX);
		r = -EUSERS;
	}
	return r;
}

int grants_judge(struct manager *manager, const struct bypass_request *request, const char **ret_id, bool *ret_changed, char **ret_words)
{
	const struct grant *known = find_known(&manager->grants, request);
	bool for_good = request->duration_usec == USEC_INFINITY;
	*ret_words = NULL;
	*ret_id = known ? known->id : NULL;
	*ret_changed = !known || (!known->listed && !(for_good && known->until_usec == USEC_INFINITY));
	return known ? 0 : check_new(&manager->grants, request, ret_words);
}

int grants_add(struct manager *manager, const struct bypass_request *request, const char **ret_id, bool *ret_changed, char **ret_words)
{
	struct grants *grants = &manager->grants;
	struct grant *grant = find_known(grants, request);
	*ret_words = NULL;
	if (grant) {
		*ret_id = grant->id;
		*ret_changed = false;
		return grant->listed ? 0 : renew(manager, grant, request, ret_changed, ret_words);
	}
	int r = check_new(grants, request, ret_words);
	if (r < 0)
		return r;
	grant = grants_append(grants, make(manager, request));
	if (grant_is_process(grant) && !(grant->mark = grants_take_mark(manager, grant->type, grant->name))) {
		*ret_words = text_format("no mark is left for another process: %zu that were given before may still be carried by sockets, and are given again to "
					 "the same unit, slice or user alone; reboot, or change or widen fwmark",
			grants->spent_count);
		return give_up(manager, grant, -EUSERS);
	}
	r = grants_save(manager);
	if (r < 0) {
		*ret_words = text_format("%s/bypass.json cannot be written: %s", manager->options.runtime_dir, strerror(-r));
		return give_up(manager, grant, r);
	}
	if (apply_one(manager, grant) < 0) {
		*ret_words = text_format("the gate did not take it: %s", gate_error(manager->gate));
		r = give_up(manager, grant, -EIO);
		grants_hand_over(manager);
		return r;
	}
	if (grant->type == BYPASS_PROGRAM) {
		r = enclose(manager, grant, request, ret_words);
		if (r < 0)
			return give_up(manager, grant, r);
		grant->in_effect = true;
	}
	if (grant->type == BYPASS_DOMAIN)
		names_changed(manager, false);
	announce(manager, "bypassAdded", grant, NULL, request->by);
	*ret_id = grant->id;
	*ret_changed = true;
	grants_attach(manager);
	return 0;
}

/* Networks of the settings are no grants of the list: there may be 100,000. */
static bool is_listed_network(const struct manager *manager, const char *id)
{
	static const char prefix[] = "address:";
	struct ip_prefix network;
	if (strncmp(id, prefix, strlen(prefix)) != 0 || ip_prefix_parse(id + strlen(prefix), &network) < 0)
		return false;
	for (size_t i = 0; i < manager->settings->bypass.address_count; i++)
		if (ip_prefix_equal(&manager->settings->bypass.addresses[i], &network))
			return true;
	return false;
}

int grants_may_remove(struct manager *manager, const char *id, char **ret_words)
{
	const struct grant *grant = grants_find_id(&manager->grants, id);
	*ret_words = NULL;
	if (grant ? grant->listed : is_listed_network(manager, id)) {
		*ret_words = text_format("%s is listed by the settings; change their member bypass", id);
		return -EPERM;
	}
	if (grant)
		return 0;
	*ret_words = text_format("there is no grant \"%s\"", id);
	return -ENOENT;
}

int grants_remove(struct manager *manager, const char *id, char **ret_words)
{
	int r = grants_may_remove(manager, id, ret_words);
	if (r < 0)
		return r;
	if (end_grant(manager, grants_find_id(&manager->grants, id), "taken back", NULL) < 0) {
		*ret_words = text_format("the gate did not let go of it: %s", gate_error(manager->gate));
		return -EIO;
	}
	return 0;
}

void grants_free(struct manager *manager)
{
	struct grants *grants = &manager->grants;
	while (grants->count > 0)
		grants_drop(grants, &grants->items[grants->count - 1]);
	free(grants->items);
	grants->items = NULL;
	while (grants->spent_count > 0)
		free(grants->spent[--grants->spent_count].name);
	free(grants->spent);
	grants->spent = NULL;
	grants->watch = cgroup_watch_free(grants->watch);
	grants->timer = sd_event_source_disable_unref(grants->timer);
}
