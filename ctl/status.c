/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `holdfastctl status`: the first thing a person sees. One sentence on top says whether the traffic is held; below it stands what that
 * rests on, and then each tunnel.
 */

#include <string.h>

#include "ctl/command.h"
#include "ctl/print.h"

#define LABEL  "  %-11s "
#define DETAIL "      %-11s "

struct look {
	const char *name;
	enum colour colour;
	const char *sentence;
	enum exit_code code;
};

/* GetStatus's `protection`. */
static const struct look protections[] = {
	{"protected", COLOUR_GOOD, "a tunnel carries the traffic, and the gate holds", EXIT_OK},
	{"blocking", COLOUR_CAREFUL, "the gate holds, and no tunnel carries: nothing leaves but what was granted", EXIT_OK},
	{"released", COLOUR_CAREFUL, "the gate was opened; nothing is held meanwhile", EXIT_UNPROTECTED},
	{"off", COLOUR_NONE, "nothing is held; traffic goes as if Holdfast were not there", EXIT_UNPROTECTED},
	{"failing", COLOUR_BAD, "traffic should be held and is NOT", EXIT_UNPROTECTED},
};

static const struct look states[] = {
	{"connected", COLOUR_GOOD, "●"},
	{"connecting", COLOUR_CAREFUL, "◐"},
	{"reasserting", COLOUR_CAREFUL, "◐"},
	{"deciding", COLOUR_CAREFUL, "?"},
	{"waiting", COLOUR_CAREFUL, "◌"},
	{"disconnecting", COLOUR_CAREFUL, "◐"},
	{"failed", COLOUR_BAD, "✕"},
	{"disconnected", COLOUR_FAINT, "○"},
};

static const struct look *find_look(const struct look *looks, size_t count, const char *name)
{
	static const struct look unknown = {"?", COLOUR_BAD, "?", EXIT_UNPROTECTED};
	for (size_t i = 0; i < count; i++)
		if (strcmp(looks[i].name, name) == 0)
			return &looks[i];
	return &unknown;
}

/* " for 5 min", " 2 s ago", or nothing where the time is none. */
static void print_since(const char *before, const char *rfc3339, const char *after)
{
	char span[AMOUNT_MAX];
	int64_t seconds;
	if (time_ago(rfc3339, &seconds))
		printf("%s%s%s", before, format_span(span, (uint64_t)MAX_OF(seconds, (int64_t)0)), after);
}

static void print_protection(json_object *status, const struct look *look)
{
	const char *word = member_text(status, "/protection");
	printf("%s%c%s%s: %s\n\n", colour_on(look->colour), word[0] >= 'a' && word[0] <= 'z' ? word[0] - 'a' + 'A' : '?',
		word[0] ? word + 1 : "", colour_off(), look->sentence);
}

static void print_gate(json_object *status)
{
	const char *desired = member_text(status, "/gate/desired"), *kernel = member_text(status, "/gate/kernel");
	const char *failure = member_text(status, "/gate/blockFailure"), *until = member_text(status, "/gate/releasedUntil");
	uint64_t healed = json_object_get_uint64(member(status, "/gate/healed"));
	char text[AMOUNT_MAX];
	printf(LABEL "%s, mode %s", "Gate", kernel[0] ? kernel : "unknown", member_text(status, "/gate/mode"));
	if (strcmp(desired, kernel) != 0)
		printf(" %s(should be %s)%s", colour_on(COLOUR_BAD), desired, colour_off());
	print_since(", verified ", member_text(status, "/gate/verifiedAt"), " ago");
	if (healed > 0)
		printf(", healed %llu time%s", (unsigned long long)healed, healed == 1 ? "" : "s");
	printf("\n");
	if (json_object_get_boolean(member(status, "/gate/wayOutTaken")))
		printf(LABEL "%sthe way out was taken; until: holdfastctl mode %s%s\n", "Released",
			colour_on(COLOUR_CAREFUL), member_text(status, "/gate/mode"), colour_off());
	if (until[0])
		printf(LABEL "%suntil %s%s\n", "Released", colour_on(COLOUR_CAREFUL), format_time(text, until), colour_off());
	if (member_text(status, "/gate/heldFor")[0])
		printf(LABEL "%s%s%s\n", "Held", colour_on(COLOUR_BAD), member_text(status, "/gate/heldFor"), colour_off());
	if (failure[0])
		printf(LABEL "%s%s%s\n", "Failure", colour_on(COLOUR_BAD), failure, colour_off());
	printf(LABEL "%llu out, %llu in, %llu forwarded\n", "Blocked",
		(unsigned long long)json_object_get_uint64(member(status, "/gate/blocked/out")),
		(unsigned long long)json_object_get_uint64(member(status, "/gate/blocked/in")),
		(unsigned long long)json_object_get_uint64(member(status, "/gate/blocked/forward")));
}

/* "wifi on wlan0, "office", profile 8d1b…, metered, captive portal": what is known of it. */
static void print_place(json_object *status)
{
	const char *interface = member_text(status, "/network/interface"), *ssid = member_text(status, "/network/ssid"),
		   *profile = member_text(status, "/network/profile"), *connectivity = member_text(status, "/network/connectivity");
	if (interface[0])
		printf("\n" LABEL "%s on %s", "Uplink", member_text(status, "/network/type"), interface);
	if (ssid[0])
		printf(", \"%s\"", ssid);
	if (profile[0])
		printf(", profile %s", profile);
	if (json_object_get_boolean(member(status, "/network/metered")))
		printf(", metered");
	if (strcmp(connectivity, "portal") == 0)
		printf(", %swants a sign-in%s", colour_on(COLOUR_CAREFUL), colour_off());
}

static void print_grants(json_object *status)
{
	json_object *grants = member(status, "/bypass");
	for (size_t i = 0; grants && i < json_object_array_length(grants); i++) {
		json_object *grant = json_object_array_get_idx(grants, i);
		const char *until = member_text(grant, "/until"), *detail = member_text(grant, "/detail");
		bool in_effect = json_object_get_boolean(member(grant, "/inEffect"));
		char text[AMOUNT_MAX];
		printf(LABEL "%s %s", i ? "" : "Granted", member_text(grant, "/type"), member_text(grant, "/name"));
		if (until[0])
			printf(", until %s", format_time(text, until));
		if (!in_effect)
			printf(" %s(not in effect%s%s)%s", colour_on(COLOUR_CAREFUL), detail[0] ? ": " : "", detail, colour_off());
		printf("\n");
	}
}

static void print_surroundings(json_object *status)
{
	json_object *uplinks = member(status, "/network/uplinks");
	bool available = json_object_get_boolean(member(status, "/network/available"));
	const char *policy = member_text(status, "/policy/name");
	printf(LABEL "%s", "Network", available ? "available" : "not available");
	for (size_t i = 0; uplinks && i < json_object_array_length(uplinks); i++)
		printf("%s%s", i ? ", " : " by ", json_object_get_string(json_object_array_get_idx(uplinks, i)));
	print_place(status);
	printf("\n" LABEL "%s (%s)\n", "Policy", policy[0] ? policy : "without a name",
		member_text(status, "/policy/source"));
}

/* What does not change what is held, and a person should see to: documents as they were last read, the journal, and the host's names. */
static void print_faults(json_object *status)
{
	const char *errors = member_text(status, "/documentErrors"), *journal = member_text(status, "/journal"),
		   *resolver = member_text(status, "/network/resolver/failure");
	if (resolver[0])
		printf(LABEL "%s%s%s\n", "Names", colour_on(COLOUR_BAD), resolver, colour_off());
	if (errors[0])
		printf(LABEL "%s%s%s\n", "Documents", colour_on(COLOUR_BAD), errors, colour_off());
	if (journal[0])
		printf(LABEL "%snot recorded on disk: %s%s\n", "Events", colour_on(COLOUR_BAD), journal, colour_off());
}

/* What stopped it last, and what was decided about it. */
static void print_error(json_object *tunnel)
{
	const char *error = member_text(tunnel, "/lastError"), *detail = member_text(tunnel, "/lastDetail");
	if (error[0])
		printf(DETAIL "%s%s%s%s%s\n", "last error", colour_on(COLOUR_CAREFUL), error, colour_off(), detail[0] ? ": " : "", detail);
}

/* What a tunnel that decides or waits is about to do, and when. */
static void print_pending(json_object *pending)
{
	static const struct {
		const char *kind, *sentence;
	} kinds[] = {
		{"delay", "restarts"},
		{"network", "restarts when there is a network"},
		{"event", "waits for what its rule names"},
		{"ask", "asks: restart or terminate?"},
	};
	const char *kind = member_text(pending, "/waitsFor"), *deadline = member_text(pending, "/deadline"), *sentence = kind;
	char text[AMOUNT_MAX];
	int64_t ago;
	if (!pending)
		return;
	for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
		if (strcmp(kinds[i].kind, kind) == 0)
			sentence = kinds[i].sentence;
	printf(DETAIL "%s", "decided", sentence);
	if (time_ago(deadline, &ago))
		printf(strcmp(kind, "delay") == 0 ? " in %s" : " (%s left)", format_span(text, ago < 0 ? (uint64_t)-ago : 0));
	printf("\n");
	if (strcmp(kind, "ask") == 0)
		printf(DETAIL "holdfastctl decide %s restart|terminate\n", "answer by", member_text(pending, "/id"));
}

/* What its client waits for somebody to say. */
static void print_wanting(json_object *tunnel)
{
	json_object *names = member(tunnel, "/needCredentials");
	if (!json_object_is_type(names, json_type_array))
		return;
	printf(DETAIL, "needs");
	for (size_t i = 0; i < json_object_array_length(names); i++)
		printf("%s%s", i ? ", " : "", json_object_get_string(json_object_array_get_idx(names, i)));
	printf(": holdfastctl credentials %s\n", member_text(tunnel, "/id"));
	if (member(tunnel, "/challenge"))
		printf(DETAIL "%s\n", "asks", member_text(tunnel, "/challenge/text"));
}

/* The way on from a state that a tunnel does not leave by itself. */
static void print_way_on(json_object *status, json_object *tunnel)
{
	const char *id = member_text(tunnel, "/id"), *mode = member_text(status, "/gate/mode");
	bool holds = strcmp(mode, "auto") == 0 && !json_object_get_boolean(member(tunnel, "/released"));
	if (strcmp(member_text(tunnel, "/state"), "failed") != 0)
		return;
	printf(DETAIL "holdfastctl up %s\n", "try again", id);
	printf(DETAIL "holdfastctl down %s%s\n", "give up", id,
		holds                         ? " (opens the gate, unless another tunnel holds it)"
		: strcmp(mode, "always") == 0 ? " (mode always keeps the gate closed)"
					      : "");
}

static void print_traffic(json_object *tunnel)
{
	char rx[AMOUNT_MAX], tx[AMOUNT_MAX];
	uint64_t received = json_object_get_uint64(member(tunnel, "/rxBytes"));
	uint64_t sent = json_object_get_uint64(member(tunnel, "/txBytes"));
	if (received == 0 && sent == 0)
		return;
	printf(DETAIL "%s in, %s out", "traffic", format_bytes(rx, received), format_bytes(tx, sent));
	print_since(", last handshake ", member_text(tunnel, "/lastHandshake"), " ago");
	printf("\n");
}

static void print_tunnel(json_object *status, json_object *tunnel)
{
	const char *state = member_text(tunnel, "/state"), *endpoint = member_text(tunnel, "/endpoint");
	const char *interface = member_text(tunnel, "/interface"), *implementation = member_text(tunnel, "/implementation");
	uint64_t attempt = json_object_get_uint64(member(tunnel, "/attempt"));
	const struct look *look = find_look(states, ELEMENTSOF(states), state);
	printf("\n  %s%s %s%s: %s", colour_on(look->colour), look->sentence, member_text(tunnel, "/id"), colour_off(), state);
	print_since(" for ", member_text(tunnel, "/since"), "");
	if (attempt > 0)
		printf(", attempt %llu", (unsigned long long)attempt);
	printf("\n" DETAIL "%s", "by", member_text(tunnel, "/driver"));
	if (implementation[0])
		printf(" (%s)", implementation);
	if (interface[0])
		printf(" on %s", interface);
	if (endpoint[0])
		printf(" to %s", endpoint);
	printf("\n");
	print_traffic(tunnel);
	print_error(tunnel);
	print_wanting(tunnel);
	print_pending(member(tunnel, "/pendingDecision"));
	print_way_on(status, tunnel);
}

static int show_status(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_get(invocation, "/status", &response);
	if (code != EXIT_OK)
		return code;
	const struct look *look =
		find_look(protections, ELEMENTSOF(protections), member_text(response.json, "/protection"));
	bool way_out_taken = warn_of_way_out(response.json);
	enum exit_code verdict = way_out_taken ? EXIT_UNPROTECTED : look->code;
	if (wants_json(invocation))
		return (int)verdict;
	print_protection(response.json, look);
	print_gate(response.json);
	print_grants(response.json);
	print_surroundings(response.json);
	print_faults(response.json);
	json_object *tunnels = member(response.json, "/tunnels");
	size_t count = tunnels ? json_object_array_length(tunnels) : 0;
	for (size_t i = 0; i < count; i++)
		print_tunnel(response.json, json_object_array_get_idx(tunnels, i));
	if (count == 0)
		printf("\n  No tunnels yet: holdfastctl import FILE makes one of a wg-quick or .ovpn file.\n");
	return (int)verdict;
}

/* --- watching --- */

struct watch {
	struct invocation again; /* with a connection of its own: the stream has the other */
	int code;
};

/* On a terminal in place of the one before (ECMA-48: cursor home, erase below); else one after the other. */
static bool show_again(json_object *event, void *userdata)
{
	struct watch *watch = userdata;
	if (!wants_json(&watch->again))
		printf("%s", isatty(STDOUT_FILENO) ? "\033[H\033[J" : "\n");
	watch->code = show_status(&watch->again);
	return fflush(stdout) == 0 && watch->code != EXIT_NO_DAEMON;
}

/*
 * An id that was never given out: the stream begins with `resync`, which shows the status for the first time, and goes on with what happens
 * from then on. So nothing happens unseen in between.
 */
#define FROM_NOW_ON "?after=9223372036854775807"

static int watch_status(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	_cleanup_client_ struct client *client = client_new(invocation->options[OPTION_SOCKET]);
	struct watch watch = {.again = *invocation};
	watch.again.client = client;
	int r = client_watch(invocation->client, FROM_NOW_ON, show_again, &watch, &response);
	if (r == 0 && response.status == 200)
		return watch.code == EXIT_NO_DAEMON ? watch.code : complain(EXIT_NO_DAEMON, "the daemon ended the stream");
	return exchange_verdict(invocation, r, &response);
}

int run_status(struct invocation *invocation)
{
	return invocation->options[OPTION_WATCH] ? watch_status(invocation) : show_status(invocation);
}
