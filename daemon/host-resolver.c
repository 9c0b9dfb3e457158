/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A tunnel that starts and whose resolver cannot be set does not come up. One that carries already (the daemon comes back, or somebody
 * changes the host's file) goes on: what it carries is no less protected, and names are asked inside it or not at all. That is told in the
 * status and tried again.
 */

#include "daemon/host-resolver.h"

#include <errno.h>
#include <string.h>
#include <sys/inotify.h>

#include "daemon/manager.h"
#include "network/resolver.h"
#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"

#define RETRY_USEC (5 * USEC_PER_SEC)
#define HEAL_USEC  (1 * USEC_PER_SEC) /* between two healings: whoever changes it all the time is not raced */

static int on_due(sd_event_source *source, uint64_t usec, void *userdata);

static void arm(struct manager *manager, uint64_t at_usec)
{
	int r = manager_arm_timer(manager, &manager->resolver.due, at_usec, on_due);
	if (r < 0)
		log_error("the event loop: %s", strerror(-r));
}

/* What came of setting it or putting it back, as the status and the log tell it. */
static void note(struct manager *manager, const char *what, int r)
{
	struct host_resolver *self = &manager->resolver;
	char *failure = r < 0 ? text_format("the host's resolver could not be %s: %s", what, strerror(-r)) : NULL;
	if (failure && (!self->failure || strcmp(self->failure, failure) != 0))
		log_warning("%s", failure);
	free(self->failure);
	self->failure = failure;
	self->by = resolver_method(manager->options.state_dir);
	status_forget(manager);
	if (failure)
		arm(manager, manager_now() + RETRY_USEC);
}

int host_resolver_set(struct manager *manager, const struct tunnel_runtime *runtime)
{
	const struct tunnel_config *config = runtime->config;
	const struct ip_address *servers = config->dns_count ? config->dns : runtime->network.dns;
	size_t count = config->dns_count ? config->dns_count : runtime->network.dns_count;
	struct ip_address own;
	if (!config->all || count == 0 || manager->core.mode == GATE_MODE_OFF)
		return 0;
	names_update(manager);
	if (names_server(manager, &own)) {
		servers = &own;
		count = 1;
	}
	int r = resolver_set(manager->options.state_dir, config->interface, servers, count);
	note(manager, "set", r);
	return r;
}

/* What is released goes by the uplink, and so do its names; unless a tunnel carries. */
static bool is_let_go(const struct manager *manager)
{
	return manager->released_marker || (manager->report.released_until_usec > manager_now() && manager->report.desired != GATE_TUNNEL);
}

static bool is_wanted(const struct manager *manager)
{
	if (is_let_go(manager))
		return false;
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config && manager->tunnels[i].config->all && manager->tunnels[i].link_ready)
			return true;
	return false;
}

void host_resolver_update(struct manager *manager)
{
	names_update(manager); /* also where no tunnel is up: what was taken back is forgotten */
	if (is_let_go(manager))
		return;
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config && manager->tunnels[i].link_ready && manager->core.tunnels[i].wanted) /* not the one that makes way */
			(void)host_resolver_set(manager, &manager->tunnels[i]);
}

void host_resolver_restore(struct manager *manager)
{
	if (!is_wanted(manager))
		note(manager, "put back", resolver_restore(manager->options.state_dir));
}

void host_resolver_follow(struct manager *manager)
{
	bool let_go = is_let_go(manager);
	if (let_go == manager->resolver.let_go)
		return;
	manager->resolver.let_go = let_go;
	if (let_go)
		host_resolver_restore(manager);
	else
		host_resolver_update(manager);
}

/* ---- what others do to it ---- */

static void heal(struct manager *manager)
{
	struct host_resolver *self = &manager->resolver;
	self->next_usec = manager_now() + HEAL_USEC;
	host_resolver_update(manager);
	if (!resolver_stands(manager->options.state_dir))
		return; /* not set, for a reason that is told, or changed again */
	self->healed++;
	log_notice("%s was changed by somebody else; it is set again", resolver_path());
}

static int on_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *manager = userdata;
	if (!is_wanted(manager)) {
		host_resolver_restore(manager);
		return 0;
	}
	if (!resolver_stands(manager->options.state_dir))
		heal(manager);
	else if (manager->resolver.failure)
		host_resolver_update(manager);
	return 0;
}

static int on_file(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
	struct manager *manager = userdata;
	const char *name = strrchr(resolver_path(), '/');
	if (event->len == 0 || !name || strcmp(event->name, name + 1) != 0 || !is_wanted(manager) ||
		resolver_stands(manager->options.state_dir))
		return 0;
	arm(manager, MAX_OF(manager_now(), manager->resolver.next_usec));
	return 0;
}

static int on_owner(sd_bus_message *message, void *userdata, sd_bus_error *error)
{
	struct manager *manager = userdata;
	const char *name, *old, *new;
	if (sd_bus_message_read(message, "sss", &name, &old, &new) < 0 || !new[0] || !manager->ready)
		return 0;
	log_debug("systemd-resolved is on the bus");
	(void)effects_apply_gate(manager); /* it may know other servers of the uplink's */
	host_resolver_update(manager);
	return 0;
}

void host_resolver_on_bus(sd_bus *bus, struct manager *manager)
{
	static const char owner[] = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.freedesktop.resolve1'";
	int r = bus ? sd_bus_add_match_async(bus, NULL, owner, on_owner, NULL, manager) : 0;
	if (r < 0)
		log_warning("systemd-resolved cannot be watched: %s", strerror(-r));
	if (bus && manager->ready)
		host_resolver_update(manager);
}

/* ---- the life of it ---- */

int host_resolver_open(struct manager *manager)
{
	const char *path = resolver_path(), *name = strrchr(path, '/');
	_cleanup_free_ char *folder = text_format("%.*s", name ? (int)(name - path) : 1, name ? path : ".");
	int r = sd_event_add_inotify(manager->event, &manager->resolver.watch, folder,
		IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO, on_file, manager);
	if (r < 0)
		log_warning("%s cannot be watched: %s", path, strerror(-r));
	return r == -ENOENT ? 0 : r;
}

void host_resolver_close(struct manager *manager)
{
	struct host_resolver *self = &manager->resolver;
	self->watch = sd_event_source_disable_unref(self->watch);
	self->due = sd_event_source_disable_unref(self->due);
	free(self->failure);
	*self = (struct host_resolver){};
}

json_object *host_resolver_to_json(const struct manager *manager)
{
	const struct host_resolver *self = &manager->resolver;
	json_object *object = json_object_new_object();
	json_object_object_add(object, "by", json_text_or_null(self->by));
	json_object_object_add(object, "healed", json_object_new_int((int)self->healed));
	json_object_object_add(object, "failure", json_text_or_null(self->failure));
	return object;
}
