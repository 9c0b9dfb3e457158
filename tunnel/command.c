/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The `command` driver: any program. Nothing is known of it but what the tunnel's file says: how it says that it is up,
 * and what its lines and exit codes mean. Every attempt is one run: a program that maps a line to an error is ended at
 * once, so that each retry is the policy's and not its own.
 *
 * A session goes ASKING (where credentials are wanting), FINDING (the server's address), CONTACTING, RUNNING,
 * UP; halt() leads back to IDLE from each.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "network/link.h"
#include "tunnel/command-program.h"
#include "tunnel/command-settings.h"
#include "tunnel/contact.h"
#include "tunnel/driver.h"
#include "util/fields.h"
#include "util/log.h"
#include "util/text.h"

#define POLL_FIRST_USEC  (2 * USEC_PER_MSEC)
#define POLL_SLOWER_USEC (100 * USEC_PER_MSEC)
#define POLL_UP_USEC     USEC_PER_SEC
#define LINES_PER_SEC    20 /* that are logged */

enum phase { IDLE, FINDING, ASKING, CONTACTING, RUNNING, UP, STOPPING };

struct driver_session {
	struct driver_host host;
	struct tunnel_config *config;
	struct command_settings settings;
	json_object *answers; /* credentials, wiped with the session */
	uint32_t mark;
	enum phase phase;
	size_t index;
	struct endpoint endpoint;
	struct worker_resolvers resolvers;
	struct contact *contact;
	struct command_program *program;
	char last_line[WORKER_DETAIL_MAX];
	enum tunnel_error reason; /* that the program gave by sd_notify's ERRNO= */
	bool ready;               /* READY=1: its watchdog counts from here on */
	bool says_goodbye;        /* STOPPING=1 */
	uint64_t poll_usec;
	uint64_t logged_usec; /* since when lines are counted */
	unsigned logged;
	sd_event_source *poll, *watchdog;
};

static void set_timer(sd_event_source *source, uint64_t usec)
{
	sd_event_source_set_time_relative(source, usec);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Back to IDLE: nothing runs. The program's object stays until the next start: this may be called from its callbacks. */
static void halt(struct driver_session *session)
{
	session->phase = IDLE;
	contact_cancel(session->contact);
	if (session->program)
		command_program_kill(session->program);
	sd_event_source_set_enabled(session->poll, SD_EVENT_OFF);
	sd_event_source_set_enabled(session->watchdog, SD_EVENT_OFF);
}

static void fail(struct driver_session *session, enum tunnel_error error, const char *detail)
{
	bool stopping = session->phase == STOPPING;
	halt(session);
	if (stopping)
		session->host.stopped(session->host.worker);
	else
		session->host.will_stop(session->host.worker, error, detail);
}

/* ---- secrets ---- */

static const char *answer_to(const struct driver_session *session, const char *name)
{
	json_object *value = NULL;
	if (!session->answers || !json_object_object_get_ex(session->answers, name, &value))
		return NULL;
	return json_object_get_string(value);
}

/* A program may print what it was given: such a line is not for a log. */
static bool tells_secret(const struct driver_session *session, const char *line)
{
	for (char **name = session->settings.asks; name && *name; name++) {
		const char *value = answer_to(session, *name);
		if (value && *value && strstr(line, value))
			return true;
	}
	return false;
}

static void forget_answers(struct driver_session *session)
{
	json_wipe(session->answers);
	json_object_put(session->answers);
	session->answers = NULL;
}

/* What still has to be asked for; empty: nothing. The caller frees it. */
static char *missing(const struct driver_session *session)
{
	struct text text = TEXT_NULL;
	for (char **name = session->settings.asks; name && *name; name++)
		if (!answer_to(session, *name))
			text_append(&text, "%s%s", text.length ? "," : "", *name);
	return text_steal(&text);
}

/* The answers as the program reads them: a line each, in the order of their names. Wiped and freed by the caller. */
static char *make_input(const struct driver_session *session, size_t *ret_length)
{
	size_t length = 0;
	for (char **name = session->settings.asks; *name; name++)
		length += strlen(answer_to(session, *name)) + 1;
	char *input = xcalloc(1, length + 1), *at = input; /* in one piece: growing would leave copies behind */
	for (char **name = session->settings.asks; *name; name++) {
		size_t size = strlen(answer_to(session, *name));
		memcpy(at, answer_to(session, *name), size);
		at += size;
		*at++ = '\n';
	}
	*ret_length = length;
	return input;
}

/* ---- up ---- */

static void take_address(struct tunnel_network *network, const struct ifaddrs *entry)
{
	struct ip_prefix *prefix = &network->addresses[network->address_count];
	const struct sockaddr *address = entry->ifa_addr;
	char text[INET6_ADDRSTRLEN];
	if (!address || !entry->ifa_netmask || (address->sa_family != AF_INET && address->sa_family != AF_INET6) ||
	        network->address_count == TUNNEL_PREFIXES_MAX)
		return;
	bool four = address->sa_family == AF_INET;
	const void *bytes = four ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
	                         : &((const struct sockaddr_in6 *)address)->sin6_addr;
	const uint8_t *mask = four ? (const void *)&((const struct sockaddr_in *)entry->ifa_netmask)->sin_addr
	                           : (const void *)&((const struct sockaddr_in6 *)entry->ifa_netmask)->sin6_addr;
	if (!inet_ntop(address->sa_family, bytes, text, sizeof text) || ip_address_parse(text, &prefix->address) < 0)
		return;
	prefix->length = 0;
	for (int i = 0; i < (four ? 4 : 16); i++)
		prefix->length += (uint8_t)__builtin_popcount(mask[i]);
	network->address_count++;
}

/* The addresses that the program gave to its own link. */
static void find_addresses(const struct driver_session *session, struct tunnel_network *network)
{
	struct ifaddrs *list = NULL;
	if (getifaddrs(&list) < 0)
		return;
	for (struct ifaddrs *entry = list; entry; entry = entry->ifa_next)
		if (strcmp(entry->ifa_name, session->config->interface) == 0)
			take_address(network, entry);
	freeifaddrs(list);
}

static bool describe(const struct driver_session *session, struct tunnel_network *ret)
{
	const struct command_settings *settings = &session->settings;
	struct link_status link;
	*ret = (struct tunnel_network){.endpoint = session->endpoint, .mtu = settings->mtu};
	if (link_query(session->config->interface, &link) < 0 || !link.up)
		return false;
	if (ret->mtu == 0)
		ret->mtu = link.mtu;
	ret->address_count = settings->address_count;
	if (settings->address_count)
		memcpy(ret->addresses, settings->addresses, settings->address_count * sizeof *ret->addresses);
	else
		find_addresses(session, ret);
	return ret->address_count > 0 && (settings->own_link || link.carrier || settings->up != COMMAND_UP_INTERFACE);
}

static void go_up(struct driver_session *session)
{
	struct tunnel_network network;
	if (session->phase != RUNNING)
		return;
	if (!describe(session, &network)) { /* it says so before its link is ready: looked at again */
		session->poll_usec = POLL_FIRST_USEC;
		set_timer(session->poll, session->poll_usec);
		return;
	}
	session->phase = UP;
	contact_stood(session->contact);
	session->host.up(session->host.worker, &network);
	set_timer(session->poll, POLL_UP_USEC);
}

static bool link_is_gone(const struct driver_session *session, char detail[WORKER_DETAIL_MAX])
{
	struct link_status link;
	int r = link_query(session->config->interface, &link);
	snprintf(detail, WORKER_DETAIL_MAX, "the link %s %s", session->config->interface,
	        r == -ENODEV ? "was deleted" : "is down");
	return r == -ENODEV || (r == 0 && !link.up);
}

static void tell_traffic(struct driver_session *session)
{
	struct tunnel_traffic traffic = {};
	if (link_counters(session->config->interface, &traffic.rx_bytes, &traffic.tx_bytes) == 0)
		session->host.traffic(session->host.worker, &traffic);
}

static int on_poll(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct driver_session *session = userdata;
	char detail[WORKER_DETAIL_MAX];
	if (session->phase == RUNNING) {
		go_up(session);
		session->poll_usec = MIN_OF(session->poll_usec * 3 / 2, POLL_SLOWER_USEC);
		if (session->phase == RUNNING)
			set_timer(session->poll, session->poll_usec);
	} else if (session->phase == UP && link_is_gone(session, detail)) {
		fail(session, TUNNEL_ERROR_TUN_INTERFACE_FAILURE, detail);
	} else if (session->phase == UP) {
		tell_traffic(session);
		set_timer(session->poll, POLL_UP_USEC);
	}
	return 0;
}

/* ---- what the program says ---- */

static void log_line_of(struct driver_session *session, const char *line)
{
	uint64_t now = 0;
	sd_event_now(session->host.event, CLOCK_MONOTONIC, &now);
	if (now - session->logged_usec >= USEC_PER_SEC) {
		session->logged_usec = now;
		session->logged = 0;
	}
	if (++session->logged <= LINES_PER_SEC)
		log_info("%s: says: %s", session->config->id, line);
	else if (session->logged == LINES_PER_SEC + 1)
		log_notice("%s: says more than %d lines a second; the rest of them is not logged", session->config->id,
		        LINES_PER_SEC);
}

static void program_line(void *userdata, const char *line)
{
	struct driver_session *session = userdata;
	const struct command_settings *settings = &session->settings;
	const char *shown = tells_secret(session, line) ? "(a line that holds a credential)" : line;
	log_line_of(session, shown);
	worker_detail_set(session->last_line, shown);
	for (size_t i = 0; i < settings->error_count; i++)
		if (command_pattern_matches(&settings->errors[i].line, line)) {
			char copy[WORKER_DETAIL_MAX];
			memcpy(copy, session->last_line, sizeof copy);
			if (settings->errors[i].error == TUNNEL_ERROR_AUTHENTICATION_FAILED)
				forget_answers(session); /* refused: the next attempt asks again */
			fail(session, settings->errors[i].error, copy);
			return;
		}
	if (session->phase == RUNNING && settings->up == COMMAND_UP_LINE &&
	        command_pattern_matches(&settings->up_line, line))
		go_up(session);
}

/* As systemd.service(5) has it: a watchdog is activated when the start-up is completed. What is fed before that is not armed. */
static void feed_watchdog(struct driver_session *session)
{
	if (session->ready && session->settings.watchdog_usec)
		set_timer(session->watchdog, session->settings.watchdog_usec);
}

static int on_watchdog(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct driver_session *session = userdata;
	fail(session, TUNNEL_ERROR_WORKER_UNRESPONSIVE, "the program left its watchdog unfed");
	return 0;
}

/* What an errno of sd_notify's ERRNO= means for a tunnel. */
static enum tunnel_error error_of_errno(int number)
{
	static const struct {
		int number;
		enum tunnel_error error;
	} rows[] = {
	        {ECONNREFUSED, TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED},
	        {ETIMEDOUT, TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED},
	        {ECONNRESET, TUNNEL_ERROR_SERVER_DISCONNECTED},
	        {EPIPE, TUNNEL_ERROR_SERVER_DISCONNECTED},
	        {ENETUNREACH, TUNNEL_ERROR_NETWORK_UNREACHABLE},
	        {EHOSTUNREACH, TUNNEL_ERROR_NETWORK_UNREACHABLE},
	        {EACCES, TUNNEL_ERROR_AUTHENTICATION_FAILED},
	        {EPERM, TUNNEL_ERROR_AUTHENTICATION_FAILED},
	        {EKEYREJECTED, TUNNEL_ERROR_AUTHENTICATION_FAILED},
	        {EKEYEXPIRED, TUNNEL_ERROR_SESSION_EXPIRED},
	        {EBUSY, TUNNEL_ERROR_SERVER_BUSY},
	        {EINVAL, TUNNEL_ERROR_BAD_CONFIGURATION},
	};
	for (size_t i = 0; i < ELEMENTSOF(rows); i++)
		if (rows[i].number == number)
			return rows[i].error;
	return TUNNEL_ERROR_UNKNOWN;
}

static void program_notified(void *userdata, const char *name, const char *value)
{
	struct driver_session *session = userdata;
	if (strcmp(name, "READY") == 0 && strcmp(value, "1") == 0 && session->settings.up == COMMAND_UP_NOTIFY) {
		session->ready = !session->says_goodbye;
		go_up(session);
		feed_watchdog(session);
	} else if (strcmp(name, "WATCHDOG") == 0 && strcmp(value, "1") == 0) {
		feed_watchdog(session);
	} else if (strcmp(name, "WATCHDOG") == 0 && strcmp(value, "trigger") == 0) {
		fail(session, TUNNEL_ERROR_WORKER_UNRESPONSIVE, "the program triggered its watchdog");
	} else if (strcmp(name, "STATUS") == 0) {
		worker_detail_set(
		        session->last_line, tells_secret(session, value) ? "(a status that holds a credential)" : value);
		log_debug("%s: status: %s", session->config->id, session->last_line);
	} else if (strcmp(name, "ERRNO") == 0) {
		session->reason = error_of_errno((int)strtol(value, NULL, 10));
	} else if (strcmp(name, "STOPPING") == 0 && strcmp(value, "1") == 0 && session->phase != STOPPING) {
		session->says_goodbye = true; /* it has so long to give a reason and to go */
		session->ready = false;
		sd_event_source_set_enabled(session->watchdog, SD_EVENT_OFF);
		command_program_stop(session->program, SIGCONT, session->settings.stop_usec);
	}
}

static void program_hangs(void *userdata)
{
	fail(userdata, TUNNEL_ERROR_WORKER_UNRESPONSIVE, "the program was stopped (SIGSTOP) and did not go on");
}

static enum tunnel_error error_of_exit(const struct driver_session *session, int status)
{
	const struct command_settings *settings = &session->settings;
	for (size_t i = 0; i < settings->error_count; i++)
		if (WIFEXITED(status) && settings->errors[i].exit_code == WEXITSTATUS(status))
			return settings->errors[i].error;
	if (session->reason != TUNNEL_ERROR_NONE)
		return session->reason;
	return session->says_goodbye && session->phase == UP ? TUNNEL_ERROR_SERVER_DISCONNECTED : TUNNEL_ERROR_UNKNOWN;
}

static void program_ended(void *userdata, int status)
{
	struct driver_session *session = userdata;
	char detail[WORKER_DETAIL_MAX], gone[WORKER_DETAIL_MAX];
	const char *path = session->settings.arguments[0];
	if (session->phase == STOPPING) {
		halt(session);
		session->host.stopped(session->host.worker);
		return;
	}
	bool own = session->settings.own_link;
	if (!own && link_is_gone(session, gone)) {
		fail(session, TUNNEL_ERROR_TUN_INTERFACE_FAILURE, gone);
		return;
	}
	if (WIFSIGNALED(status) && !session->says_goodbye) {
		snprintf(detail, sizeof detail, "%.200s was killed by signal %d (SIG%s)", path, WTERMSIG(status),
		        sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?");
		fail(session, TUNNEL_ERROR_WORKER_CRASHED, detail);
		return;
	}
	snprintf(detail, sizeof detail, "%.200s ended with status %d%s%.200s", path,
	        WIFEXITED(status) ? WEXITSTATUS(status) : 0, session->last_line[0] ? ": " : "", session->last_line);
	enum tunnel_error error = error_of_exit(session, status);
	/* Its own link goes with it, or it went with its link: without a word of its own nobody can tell. */
	if (own && error == TUNNEL_ERROR_UNKNOWN && session->phase == UP && link_is_gone(session, gone))
		error = TUNNEL_ERROR_TUN_INTERFACE_FAILURE;
	if (error == TUNNEL_ERROR_AUTHENTICATION_FAILED)
		forget_answers(session);
	fail(session, error, detail);
}

/* ---- start ---- */

static const struct command_program_events program_events = {
        program_line, program_notified, program_hangs, program_ended};

#define VARIABLES_MAX 9

/* What the program is told: nothing that is secret. */
static char **make_environment(const struct driver_session *session)
{
	const struct tunnel_config *config = session->config;
	char address[IP_TEXT_MAX];
	size_t count = 0, given = 0;
	while (session->settings.environment && session->settings.environment[given])
		given++;
	char **environment = xcalloc(VARIABLES_MAX + given + 1, sizeof *environment);
	environment[count++] = text_dup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	environment[count++] = text_format("HOLDFAST_TUNNEL=%s", config->id);
	environment[count++] = text_format("HOLDFAST_INTERFACE=%s", config->interface);
	environment[count++] =
	        text_format("HOLDFAST_ADDRESS=%s", ip_address_format(address, &session->endpoint.address));
	environment[count++] = text_format("HOLDFAST_PORT=%u", session->endpoint.port);
	environment[count++] =
	        text_format("HOLDFAST_PROTOCOL=%s", session->endpoint.protocol == IPPROTO_TCP ? "tcp" : "udp");
	environment[count++] = text_format("HOLDFAST_MARK=0x%08" PRIx32, session->mark);
	if (session->settings.watchdog_usec)
		environment[count++] = text_format("WATCHDOG_USEC=%" PRIu64, session->settings.watchdog_usec);
	for (size_t i = 0; i < given; i++) /* last: PATH may be among them, and the program takes the first it finds */
		if (strncmp(session->settings.environment[i], "PATH=", 5) == 0) {
			free(environment[0]);
			environment[0] = text_dup(session->settings.environment[i]);
		} else {
			environment[count++] = text_dup(session->settings.environment[i]);
		}
	return environment;
}

static char **make_arguments(const struct driver_session *session)
{
	size_t count = 0;
	while (session->settings.arguments[count])
		count++;
	char **arguments = xcalloc(count + 1, sizeof *arguments);
	for (size_t i = 0; i < count; i++)
		arguments[i] = command_fill_in(session->settings.arguments[i], session->config, &session->endpoint);
	return arguments;
}

static void free_texts(char **texts)
{
	for (char **text = texts; *text; text++)
		free(*text);
	free(texts);
}

static int launch(struct driver_session *session)
{
	const struct command_settings *settings = &session->settings;
	char **arguments = make_arguments(session), **environment = make_environment(session);
	size_t length = 0;
	_cleanup_wipe_ char *input = settings->asks ? make_input(session, &length) : NULL;
	const struct command_start start = {
	        .arguments = (const char *const *)arguments,
	        .environment = (const char *const *)environment,
	        .input = input,
	        .input_length = length,
	        .input_to = settings->input,
	        .notify = true, /* whatever says that it is up: STATUS= and ERRNO= are of use in any case */
	        .forks = settings->forks,
	};
	session->program = command_program_free(session->program);
	int r = command_program_new(&session->program, session->host.event, &start, &program_events, session);
	free_texts(arguments);
	free_texts(environment);
	return r;
}

static int command_proceed(struct driver_session *session)
{
	char detail[WORKER_DETAIL_MAX];
	if (session->phase != CONTACTING)
		return 0;
	session->phase = RUNNING;
	session->last_line[0] = 0;
	session->reason = TUNNEL_ERROR_NONE;
	session->ready = session->says_goodbye = false;
	int r = launch(session);
	if (r < 0) {
		snprintf(detail, sizeof detail, "%.300s could not be started: %s", session->settings.arguments[0], strerror(-r));
		fail(session, TUNNEL_ERROR_WORKER_START_FAILED, detail);
		return 0;
	}
	session->poll_usec = POLL_FIRST_USEC;
	if (session->settings.up == COMMAND_UP_INTERFACE)
		set_timer(session->poll, session->poll_usec);
	return 0;
}

/* The server's address is known and has a route. */
static void found(void *userdata, const struct endpoint *endpoint, enum tunnel_error error, const char *detail)
{
	struct driver_session *session = userdata;
	if (!endpoint) {
		fail(session, error, detail);
		return;
	}
	session->endpoint = *endpoint;
	session->phase = CONTACTING;
	session->host.contacting(session->host.worker, &session->endpoint);
}

static int find_server(struct driver_session *session)
{
	session->phase = FINDING;
	return contact_begin(session->contact, session->index, &session->resolvers);
}

static int command_start(struct driver_session *session, size_t index, const struct worker_resolvers *resolvers)
{
	halt(session);
	if (index >= session->config->endpoint_count)
		return -EINVAL;
	session->index = index;
	session->resolvers = *resolvers;
	_cleanup_free_ char *names = missing(session);
	if (!*names)
		return find_server(session);
	session->phase = ASKING;
	session->host.need_credentials(session->host.worker, names, NULL);
	return 0;
}

/* Keeps copies: ANSWER is wiped by whoever gave it. */
static int command_credentials(struct driver_session *session, json_object *answer)
{
	if (session->phase != ASKING)
		return 0;
	if (!session->answers)
		session->answers = json_object_new_object();
	json_object_object_foreach(answer, name, value)
	{
		const char *text = json_object_get_string(value);
		if (strchr(text, '\n'))
			return -EINVAL; /* they are handed over as lines */
		json_object_object_add(session->answers, name, json_object_new_string(text));
	}
	return command_start(session, session->index, &session->resolvers);
}

static void command_stop(struct driver_session *session)
{
	bool runs = session->phase == RUNNING || session->phase == UP;
	if (!runs) {
		halt(session);
		session->host.stopped(session->host.worker);
		return;
	}
	session->phase = STOPPING;
	sd_event_source_set_enabled(session->poll, SD_EVENT_OFF);
	sd_event_source_set_enabled(session->watchdog, SD_EVENT_OFF);
	command_program_stop(session->program, session->settings.stop_signal, session->settings.stop_usec);
}

static void command_close(struct driver_session *session)
{
	contact_free(session->contact);
	command_program_free(session->program);
	sd_event_source_disable_unref(session->poll);
	sd_event_source_disable_unref(session->watchdog);
	forget_answers(session);
	command_settings_done(&session->settings);
	tunnel_config_free(session->config);
	free(session);
}

/* ---- documents ---- */

/* Credentials that stand in the tunnel's file. */
static void take_given(struct driver_session *session, json_object *given)
{
	for (size_t i = 0; given && i < json_object_array_length(given); i++) {
		json_object *item = json_object_array_get_idx(given, i), *value = json_object_object_get(item, "value");
		if (!value)
			continue;
		if (!session->answers)
			session->answers = json_object_new_object();
		json_object_object_add(session->answers, json_object_get_string(json_object_object_get(item, "name")),
		        json_object_new_string(json_object_get_string(value)));
	}
}

static int read_document(struct driver_session *session, json_object *document)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	int r = tunnel_config_read(document, &session->config);
	if (r < 0)
		return r;
	json_object *settings = json_object_object_get(session->config->document, "settings");
	if (!command_settings_read(settings, &session->settings, &problems))
		return -EINVAL;
	take_given(session, json_object_object_get(settings, "given"));
	return 0;
}

static int command_open(const struct driver_host *host, const struct worker_start *start, struct driver_session **ret)
{
	struct driver_session *session = xcalloc(1, sizeof *session);
	session->host = *host;
	session->mark = start->mark;
	int r = read_document(session, start->tunnel);
	if (r >= 0)
		r = sd_event_add_time(host->event, &session->poll, CLOCK_MONOTONIC, 0, 1, on_poll, session);
	if (r >= 0)
		r = sd_event_add_time(host->event, &session->watchdog, CLOCK_MONOTONIC, 0, 1, on_watchdog, session);
	if (r < 0) {
		command_close(session);
		return r;
	}
	session->contact = contact_new(host->event, session->config, start->mark, found, session);
	halt(session);
	*ret = session;
	return 0;
}

static void command_check(
        json_object *settings, json_object *endpoints, struct tunnel_config *config, struct problems *problems)
{
	_cleanup_command_settings_ struct command_settings read = {};
	if (json_object_array_length(endpoints) == 0)
		problems_error(problems, "/endpoints", NULL, "is empty: say which server the program talks to");
	if (!command_settings_read(settings, &read, problems))
		return;
	config->mtu = read.mtu;
	config->addresses = STEAL(read.addresses);
	config->address_count = read.address_count;
	config->companions = STEAL(read.servers);
	config->companion_count = read.server_count;
	config->own_link = read.own_link;
	config->net_admin = read.net_admin;
	config->user = STEAL(read.user);
	config->program = text_dup(read.arguments[0]);
}

const struct driver driver_command = {
        .name = "command",
        .needs_tun = true,
        .opens_tun = true,
        .runs_anything = true,
        .programs = (const char *const[]){NULL},
        .check = command_check,
        .secrets = (const char *const[]){"value", NULL},
        .open = command_open,
        .start = command_start,
        .proceed = command_proceed,
        .credentials = command_credentials,
        .stop = command_stop,
        .close = command_close,
};
