/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Who sent a message, and may he? The bus says which user a sender is; root may everything. Anybody else is polkit's to
 * judge, by the sender's unique name, which no other process can take over. Both questions are asynchronous: a bus, a
 * polkit or a person that takes its time never holds up the loop. Where there is no polkit, others than root may read
 * and nothing more.
 */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dbus/front.h"
#include "util/text.h"

#define QUESTION_USEC          (25 * USEC_PER_SEC)  /* libdbus's own default */
#define INTERACTIVE_USEC       (300 * USEC_PER_SEC) /* a person is typing a password */
#define ALLOW_USER_INTERACTION 1u /* CheckAuthorizationFlags of org.freedesktop.PolicyKit1.Authority */

/* What takes the scope admin and has an action of its own. data/org.holdfast.Holdfast1.policy describes the actions. */
static const struct {
	const char *operation;
	const char *action;
} special_actions[] = {
	{"Release", BUS_NAME ".release"},
	{"AddBypass", BUS_NAME ".bypass"},
	{"RemoveBypass", BUS_NAME ".bypass"},
};

static const char *action_for(const char *operation, enum scope scope)
{
	for (size_t i = 0; i < ELEMENTSOF(special_actions); i++)
		if (scope == SCOPE_ADMIN && strcmp(special_actions[i].operation, operation) == 0)
			return special_actions[i].action;
	switch (scope) {
	case SCOPE_NONE:
	case SCOPE_READ:
		return BUS_NAME ".status";
	case SCOPE_CONTROL:
		return BUS_NAME ".control";
	case SCOPE_ADMIN:
		return BUS_NAME ".edit";
	}
	return BUS_NAME ".edit";
}

static void conclude(struct authorization *authorization, enum scope granted, bool challenge)
{
	authorization->caller.scope = granted;
	authorization->slot = sd_bus_slot_unref(authorization->slot);
	authorization->done(authorization, &authorization->caller, challenge, authorization->userdata);
}

static int polkit_answered(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct authorization *authorization = userdata;
	int authorized = false, challenge = false;
	if (sd_bus_message_is_method_error(reply, NULL)) {
		/* No polkit: what everybody may is left. */
		conclude(authorization, SCOPE_READ, false);
		return 0;
	}
	if (sd_bus_message_enter_container(reply, 'r', "bba{ss}") < 0 ||
		sd_bus_message_read(reply, "bb", &authorized, &challenge) < 0)
		authorized = challenge = false;
	if (authorized)
		conclude(authorization, authorization->scope, false);
	else
		conclude(authorization, authorization->scope > SCOPE_READ ? SCOPE_READ : SCOPE_NONE, challenge);
	return 0;
}

static int ask_polkit(struct authorization *authorization)
{
	_cleanup_message_ sd_bus_message *question = NULL;
	sd_bus_message *message = authorization->message;
	sd_bus *bus = sd_bus_message_get_bus(message);
	bool quiet = authorization->self_service && authorization->scope < SCOPE_ADMIN;
	bool interactive = !quiet && sd_bus_message_get_allow_interactive_authorization(message) > 0;
	int r = sd_bus_message_new_method_call(bus, &question, "org.freedesktop.PolicyKit1",
		"/org/freedesktop/PolicyKit1/Authority", "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
	if (r >= 0)
		r = sd_bus_message_append(question, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s",
			sd_bus_message_get_sender(message), action_for(authorization->operation, authorization->scope),
			1, "operation", authorization->operation, interactive ? ALLOW_USER_INTERACTION : 0u, "");
	if (r < 0)
		return r;
	return sd_bus_call_async(bus, &authorization->slot, question, polkit_answered, authorization,
		interactive ? INTERACTIVE_USEC : QUESTION_USEC);
}

static int read_credentials(sd_bus_message *reply, struct caller *caller)
{
	int r = sd_bus_message_enter_container(reply, 'a', "{sv}");
	while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
		const char *key;
		uint32_t number = 0;
		r = sd_bus_message_read(reply, "s", &key);
		if (r >= 0 && strcmp(key, "UnixUserID") == 0) {
			r = sd_bus_message_read(reply, "v", "u", &number);
			caller->uid = number;
		} else if (r >= 0 && strcmp(key, "ProcessID") == 0) {
			r = sd_bus_message_read(reply, "v", "u", &number);
			caller->pid = (pid_t)number;
		} else if (r >= 0) {
			r = sd_bus_message_skip(reply, "v");
		}
		if (r >= 0)
			r = sd_bus_message_exit_container(reply);
	}
	return r;
}

/*
 * The sender's process, to be held. The bus knows it by its number, which may be another's by now: one of another user's is not taken for
 * it, and one that ends from here on is known by the descriptor. 0: unknown.
 */
static int open_sender(const struct caller *caller)
{
	char path[32];
	struct stat process;
	int pidfd = caller->pid > 0 ? (int)syscall(SYS_pidfd_open, caller->pid, 0) : -1;
	snprintf(path, sizeof path, "/proc/%d", (int)caller->pid);
	if (pidfd > 0 && stat(path, &process) == 0 && process.st_uid == caller->uid)
		return pidfd;
	if (pidfd >= 0)
		close(pidfd);
	return 0;
}

static int sender_known(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error)
{
	struct authorization *authorization = userdata;
	struct caller *caller = &authorization->caller;
	authorization->slot = sd_bus_slot_unref(authorization->slot);
	/* A sender who has left already gives an error: nobody to answer, and nobody to grant anything. */
	if (sd_bus_message_is_method_error(reply, NULL) || read_credentials(reply, caller) < 0 ||
		caller->uid == (uid_t)-1) {
		conclude(authorization, SCOPE_NONE, false);
		return 0;
	}
	snprintf(caller->name, sizeof caller->name, "uid %u (pid %d)", (unsigned)caller->uid, (int)caller->pid);
	if (authorization->self_service)
		caller->pidfd = open_sender(caller);
	if (caller->uid == 0)
		conclude(authorization, SCOPE_ADMIN, false);
	else if (ask_polkit(authorization) < 0)
		conclude(authorization, SCOPE_NONE, false);
	return 0;
}

int authorization_begin(struct authorization *authorization)
{
	const char *sender = sd_bus_message_get_sender(authorization->message);
	authorization->caller = (struct caller){.scope = SCOPE_NONE, .uid = (uid_t)-1};
	if (!sender)
		return -ENOTUNIQ; /* no bus stands between us and the sender: nobody vouches for him */
	snprintf(authorization->caller.name, sizeof authorization->caller.name, "%s", sender);
	return sd_bus_call_method_async(sd_bus_message_get_bus(authorization->message), &authorization->slot,
		"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetConnectionCredentials",
		sender_known, authorization, "s", sender);
}

int authorization_escalate(struct authorization *authorization, enum scope scope)
{
	authorization->scope = scope;
	return ask_polkit(authorization);
}

void authorization_cancel(struct authorization *authorization)
{
	authorization->slot = sd_bus_slot_unref(authorization->slot);
	if (authorization->caller.pidfd > 0)
		close(authorization->caller.pidfd);
	authorization->caller.pidfd = 0;
}
