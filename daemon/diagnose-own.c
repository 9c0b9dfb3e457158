/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Diagnose: how Holdfast itself does. Most of it the status says, too; here it has a remedy. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "daemon/diagnose.h"
#include "daemon/manager.h"
#include "network/resolver.h"
#include "network/system-bus.h"
#include "util/text.h"

#define SPACE_MIN (4u << 20) /* the journal alone may have 32 MiB; a state file has some kB */

static bool any_wanted(const struct manager *manager)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config && manager->core.tunnels[i].wanted)
			return true;
	return false;
}

static bool any_autostart(const struct manager *manager)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].config && manager->tunnels[i].config->autostart)
			return true;
	return false;
}

/* ---- the gate ---- */

static void look_at_gate(struct manager *manager, struct findings *findings)
{
	const struct gate_report *report = &manager->report;
	if (report->failure && !manager->released_marker)
		findings_add(findings, FINDING_BLOCK_FAILURE, "gate", "is not %s as it should be, so that traffic may leave: %s", gate_state_to_string(report->desired),
			report->failure);
	if (manager->released_marker)
		findings_add(findings, FINDING_WAY_OUT_TAKEN, "gate", "is open since the way out was taken (%s/released): nothing is held", manager->options.state_dir);
	if (report->released_until_usec > manager_now())
		findings_add(findings, FINDING_RELEASED, "gate", "is open for %llu s more: what leaves meanwhile is not held",
			(unsigned long long)((report->released_until_usec - manager_now()) / USEC_PER_SEC));
	if (manager->held_for)
		findings_add(findings, FINDING_GATE_HELD, "gate", "is held closed: %s", manager->held_for);
	if (manager->core.mode == GATE_MODE_OFF && any_wanted(manager))
		findings_add(findings, FINDING_MODE_OFF, "mode", "is off while a tunnel is wanted: what leaves when the tunnel stops is not held");
	if (report->healed > 0)
		findings_add(findings, FINDING_GATE_HEALED, "gate", "was changed by others %u time%s since the daemon started, and healed", report->healed,
			report->healed == 1 ? "" : "s");
	if (confirm_deadline(manager) > 0)
		findings_add(findings, FINDING_ON_TRIAL, "kill-switch", "is on trial: the settings go back in %llu s unless they are confirmed",
			(unsigned long long)((MAX_OF(confirm_deadline(manager), manager_now()) - manager_now()) / USEC_PER_SEC));
}

/* ---- what it keeps ---- */

/* The first of the errors, a line of "pointer: sentence"; how many more there are. */
static void look_at_documents(struct manager *manager, struct findings *findings)
{
	const char *errors = manager->document_errors;
	size_t more = 0;
	if (!errors)
		return;
	size_t length = strcspn(errors, "\n");
	for (const char *line = errors + length; *line; line++)
		more += line[0] == '\n' && line[1];
	_cleanup_free_ char *first = text_ndup(errors, length), *path = text_ndup(errors, MIN_OF(strcspn(errors, "#:"), length));
	if (more > 0)
		findings_add(findings, FINDING_DOCUMENT_REFUSED, path, "is not in force as it stands: %s; and %zu more", first, more);
	else
		findings_add(findings, FINDING_DOCUMENT_REFUSED, path, "is not in force as it stands: %s", first);
}

static void look_at_state(struct manager *manager, struct findings *findings)
{
	const char *folder = manager->options.state_dir, *failure = journal_failure(manager->journal);
	struct statvfs status;
	bool writable = faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) == 0;
	if (manager->save_failed || !writable)
		findings_add(findings, FINDING_STATE_NOT_SAVED, folder, "cannot be written: after a reboot what is wanted now may not be known, and everything is held then");
	if (failure)
		findings_add(findings, FINDING_JOURNAL_BROKEN, "journal", "is kept in memory alone, and lost with the daemon: %s", failure);
	if (statvfs(folder, &status) < 0)
		findings_unknown(findings, folder, -errno, "room for the state");
	else if ((uint64_t)status.f_bavail * status.f_frsize < SPACE_MIN)
		findings_add(findings, FINDING_SPACE_LOW, folder, "has %llu KiB left: soon neither state nor events can be recorded",
			(unsigned long long)((uint64_t)status.f_bavail * status.f_frsize / 1024));
}

/* ---- what it runs with ---- */

static bool is_enabled(void)
{
	static const char *const places[] = {"/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"};
	for (size_t i = 0; i < ELEMENTSOF(places); i++) {
		_cleanup_free_ char *path = text_format("%s/sysinit.target.wants/holdfast.service", places[i]);
		if (faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	}
	return false;
}

/* Where nothing is to be held at boot, nothing is missed. */
static void look_at_boot(struct manager *manager, struct findings *findings)
{
	if (manager->core.mode != GATE_MODE_ALWAYS && !any_wanted(manager) && !any_autostart(manager))
		return;
	if (access("/run/systemd/system", F_OK) < 0) /* sd_booted(3) */
		findings_add(findings, FINDING_BOOT_STEP_UNKNOWN, "holdfast.service",
			"is not started by systemd, which does not run here: whether the gate closes before the network is up is not known");
	else if (!is_enabled())
		findings_add(findings, FINDING_BOOT_STEP_MISSING, "holdfast.service",
			"is not started at boot, before the network: until somebody starts it nothing is held");
}

static void look_at_surroundings(struct manager *manager, struct findings *findings)
{
	if (!manager->worker_user_known)
		findings_add(findings, FINDING_WORKER_USER_MISSING, "holdfast-worker", "is no user of this host: no tunnel can start, but a command with a user of its own");
	if (system_bus_state(manager->surroundings.bus) == SYSTEM_BUS_ABSENT)
		findings_add(findings, FINDING_BUS_ABSENT, "system bus", "does not answer: no D-Bus clients, no facts of NetworkManager, no notice of sleep");
	if (manager->resolver.failure)
		findings_add(findings, FINDING_RESOLVER_FAILING, resolver_path(), "does not lead where it should: %s", manager->resolver.failure);
	if (manager->names.detail)
		findings_add(findings, FINDING_NAMES_FAILING, "dnsmasq", "does not run as it should, so that granted domains stay closed: %s", manager->names.detail);
}

void diagnose_own(struct manager *manager, struct findings *findings)
{
	look_at_gate(manager, findings);
	look_at_documents(manager, findings);
	look_at_state(manager, findings);
	look_at_boot(manager, findings);
	look_at_surroundings(manager, findings);
}
