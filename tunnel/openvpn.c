/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The `openvpn` driver. One process for each attempt, with one server by its literal address; it starts while the daemon
 * opens the gate, and waits in its hold until both are so. It is released once: where OpenVPN would try again by itself,
 * it comes back into its hold, and is ended there, because trying again is the policy's.
 *
 * A session goes through its phases in one direction, and halt() leads back to IDLE from each: FINDING (the server's
 * address), PREPARING, CONNECTING, UP; LEAVING is the goodbye that stop() asked for. What the server pushes comes as
 * variables before the session stands; it is checked here, and again by the daemon, which applies it.
 *
 * OpenVPN does not see its link deleted (it spins) or down: the kernel is asked. A link that is gone is the better reason
 * for whatever else ended.
 */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tunnel/contact.h"
#include "tunnel/driver.h"
#include "tunnel/link-watch.h"
#include "tunnel/marked-socket.h"
#include "tunnel/network-check.h"
#include "tunnel/openvpn-auth.h"
#include "tunnel/openvpn-client.h"
#include "tunnel/openvpn-network.h"
#include "tunnel/openvpn-reason.h"
#include "tunnel/openvpn-settings.h"
#include "util/log.h"
#include "util/text.h"

#define GOODBYE_USEC (3 * USEC_PER_SEC) /* the daemon waits for 5 s */
#define MTU_DEFAULT  1500
#define CHALLENGES_MAX 5 /* of one attempt: a server that goes on asking is none */

/* ASKING: the server answered with a question, and no client runs until that has its response. */
enum phase { IDLE, FINDING, ASKING, PREPARING, CONNECTING, UP, LEAVING };

struct driver_session {
	struct driver_host host;
	struct tunnel_config *config;
	int control_fd;        /* the worker's */
	char control[sizeof(((struct sockaddr_un *)NULL)->sun_path) + 1];
	enum phase phase;
	struct endpoint endpoint;
	uint32_t mark;
	struct contact *contact;
	struct openvpn_client *client;
	struct link_watch *link;
	bool holding, proceed;
	struct openvpn_reason reason;
	struct tunnel_network network; /* pushed so far */
	bool pushed_nonsense;
	char nonsense[WORKER_DETAIL_MAX];
	struct openvpn_auth auth;
	unsigned challenges; /* since the attempt began */
	sd_event_source *goodbye;
};

/* Back to IDLE: no client, no timer. */
static void halt(struct driver_session *session)
{
	session->phase = IDLE;
	session->holding = session->proceed = false;
	session->reason = (struct openvpn_reason){};
	session->network = (struct tunnel_network){};
	session->pushed_nonsense = false;
	openvpn_auth_settle(&session->auth);
	contact_cancel(session->contact);
	session->link = link_watch_free(session->link);
	session->client = openvpn_client_free(session->client);
	sd_event_source_set_enabled(session->goodbye, SD_EVENT_OFF);
}

static void finish(struct driver_session *session)
{
	halt(session);
	session->host.stopped(session->host.worker);
}

static void fail(struct driver_session *session, enum tunnel_error error, const char *detail)
{
	char copy[WORKER_DETAIL_MAX]; /* DETAIL may be the session's own, which ends here */
	worker_detail_set(copy, detail);
	bool leaving = session->phase == LEAVING;
	if (leaving) {
		finish(session);
		return;
	}
	halt(session);
	if (error == TUNNEL_ERROR_AUTHENTICATION_FAILED)
		openvpn_auth_forget(&session->auth); /* what was refused is not tried again */
	session->host.will_stop(session->host.worker, error, copy);
}

/* The same, unless the link is gone: that is the better reason. */
static void fail_unless_link(struct driver_session *session, enum tunnel_error error, const char *detail)
{
	char sentence[WORKER_DETAIL_MAX];
	if (session->link && !link_watch_stands(session->link, sentence))
		fail(session, TUNNEL_ERROR_TUN_INTERFACE_FAILURE, sentence);
	else
		fail(session, error, detail);
}

static void link_is_lost(void *userdata, const char *sentence)
{
	fail(userdata, TUNNEL_ERROR_TUN_INTERFACE_FAILURE, sentence);
}

/* The client waits and the gate is open. */
static void release(struct driver_session *session)
{
	if (session->phase != PREPARING || !session->holding || !session->proceed)
		return;
	session->phase = CONNECTING;
	openvpn_client_command(session->client, "hold release\n");
}

static void go_up(struct driver_session *session)
{
	struct tunnel_network *network = &session->network;
	char sentence[WORKER_DETAIL_MAX];
	network->endpoint = session->endpoint;
	if (network->mtu == 0)
		network->mtu = session->config->mtu ? session->config->mtu : MTU_DEFAULT;
	if (session->pushed_nonsense || !tunnel_network_valid(network, sentence)) {
		fail(session, TUNNEL_ERROR_IP_CONFIGURATION_INVALID, session->pushed_nonsense ? session->nonsense : sentence);
		return;
	}
	session->phase = UP;
	session->reason = (struct openvpn_reason){};
	contact_stood(session->contact);
	session->host.up(session->host.worker, network);
}

static void end_by_state(struct driver_session *session, const struct openvpn_line *line)
{
	char detail[WORKER_DETAIL_MAX];
	enum tunnel_error error =
	        openvpn_reason_of_state(&session->reason, line->name, line->text, session->phase == UP, detail);
	fail_unless_link(session, error, detail);
}

static void take_state(struct driver_session *session, const struct openvpn_line *line)
{
	if (strcmp(line->name, "CONNECTED") == 0 && session->phase == CONNECTING) {
		if (strcmp(line->text, "SUCCESS") == 0)
			go_up(session);
		else
			fail(session, TUNNEL_ERROR_FAILED_TO_SET_NETWORK_SETTINGS, line->text);
	} else if (strcmp(line->name, "RECONNECTING") == 0 || strcmp(line->name, "EXITING") == 0) {
		end_by_state(session, line);
	}
}

static void begin_client(struct driver_session *session);

/* False: nothing is wanting. */
static bool ask_for_missing(struct driver_session *session)
{
	char names[WORKER_DETAIL_MAX];
	openvpn_auth_missing(&session->auth, names);
	if (!names[0])
		return false;
	session->proceed = false; /* the server is named anew, once they are there */
	session->host.need_credentials(session->host.worker, names,
	        strstr(names, WORKER_CHALLENGE_NAME) ? &session->auth.challenge.question : NULL);
	return true;
}

static void answer_need(struct driver_session *session)
{
	struct text commands = TEXT_NULL;
	if (ask_for_missing(session))
		return;
	int r = openvpn_auth_answer(&session->auth, &commands);
	if (r == 0)
		openvpn_client_command(session->client, commands.bytes);
	wipe(commands.bytes, commands.allocated);
	text_done(&commands);
	if (r < 0)
		fail(session, TUNNEL_ERROR_AUTHENTICATION_FAILED, "the user name, the password or the response is longer than openvpn takes");
}

static void need_password(struct driver_session *session, const struct openvpn_line *line)
{
	char detail[WORKER_DETAIL_MAX];
	if (openvpn_auth_need(&session->auth, line->name, line->text)) {
		answer_need(session);
		return;
	}
	snprintf(detail, sizeof detail, "openvpn asks for %.100s, which is not known here", line->name);
	fail(session, TUNNEL_ERROR_CREDENTIALS_REQUIRED, detail);
}

static void tell_traffic(struct driver_session *session, const struct openvpn_line *line)
{
	if (session->phase == UP)
		session->host.traffic(session->host.worker,
		        &(struct tunnel_traffic){.rx_bytes = line->rx_bytes, .tx_bytes = line->tx_bytes});
}

/* In its hold for the first time it is ready; for the second, it would try again. */
static void take_hold(struct driver_session *session)
{
	if (session->phase == PREPARING) {
		session->holding = true;
		release(session);
	} else {
		end_by_state(session, &(struct openvpn_line){.name = "RECONNECTING", .text = ""});
	}
}

static void take_variable(struct driver_session *session, const struct openvpn_line *line)
{
	if (session->phase == CONNECTING && !session->pushed_nonsense &&
	        !openvpn_network_read(&session->network, line->name, line->text, session->nonsense))
		session->pushed_nonsense = true; /* told once it would be up: OpenVPN's own word may come before */
}

static void note_reason(struct driver_session *session, const struct openvpn_line *line)
{
	if (openvpn_reason_note(&session->reason, line, session->phase != CONNECTING))
		fail(session, session->reason.hint, session->reason.words);
}

/* The server's REASON for refusing the password is a question. This client is at its end; the next one brings the response. */
static void take_challenge(struct driver_session *session, const char *reason)
{
	struct openvpn_challenge challenge;
	bool good = openvpn_challenge_read(&challenge, reason);
	if (!good || ++session->challenges > CHALLENGES_MAX) {
		fail(session, TUNNEL_ERROR_AUTHENTICATION_FAILED,
		        good ? "the server asks one question after another" : "the server's challenge makes no sense");
		return;
	}
	halt(session);
	session->phase = ASKING;
	session->auth.challenge = challenge;
	if (!ask_for_missing(session))
		begin_client(session);
}

static void client_line(void *userdata, const struct openvpn_line *line)
{
	struct driver_session *session = userdata;
	switch (line->kind) {
	case OPENVPN_LINE_HOLD:
		take_hold(session);
		break;
	case OPENVPN_LINE_STATE:
		take_state(session, line);
		break;
	case OPENVPN_LINE_PASSWORD_NEEDED:
		need_password(session, line);
		break;
	case OPENVPN_LINE_VARIABLE:
		take_variable(session, line);
		break;
	case OPENVPN_LINE_STATISTICS:
		tell_traffic(session, line);
		break;
	case OPENVPN_LINE_PASSWORD_FAILED:
		if (session->phase == CONNECTING && openvpn_is_challenge(line->text))
			take_challenge(session, line->text);
		else
			note_reason(session, line);
		break;
	case OPENVPN_LINE_LOG:
	case OPENVPN_LINE_FATAL:
	case OPENVPN_LINE_PENDING:
		note_reason(session, line);
		break;
	case OPENVPN_LINE_OTHER:
		break;
	}
}

static void client_ended(void *userdata, enum openvpn_client_end end, const char *detail)
{
	struct driver_session *session = userdata;
	bool ready = session->phase != PREPARING || session->holding;
	enum tunnel_error error = ready ? TUNNEL_ERROR_WORKER_CRASHED : TUNNEL_ERROR_WORKER_START_FAILED;
	char words[WORKER_DETAIL_MAX];
	snprintf(words, sizeof words, "%s", detail);
	if (end == OPENVPN_CLIENT_SILENT && ready)
		error = TUNNEL_ERROR_WORKER_UNRESPONSIVE;
	if (end == OPENVPN_CLIENT_KILLED)
		error = TUNNEL_ERROR_WORKER_CRASHED;
	if (end == OPENVPN_CLIENT_EXITED && strstr(detail, "Options error"))
		error = TUNNEL_ERROR_BAD_CONFIGURATION;
	if (end == OPENVPN_CLIENT_EXITED && session->reason.hint) {
		error = session->reason.hint;
		snprintf(words, sizeof words, "openvpn: %.500s", session->reason.words);
	}
	fail_unless_link(session, error, words);
}

/* The configuration, in memory that only the worker and its client have. */
static int make_config(const struct driver_session *session, int *ret_fd)
{
	const struct openvpn_run run = {
	        .interface = session->config->interface,
	        .control = session->control,
	        .endpoint = session->endpoint,
	        .mark = marked_socket_allowed(session->mark) ? session->mark : 0,
	};
	_cleanup_close_ int fd = memfd_create("openvpn", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : openvpn_settings_write(session->auth.settings, &run, fd);
	if (r < 0)
		return r;
	*ret_fd = STEAL_FD(fd);
	return 0;
}

static const struct openvpn_client_events client_events = {client_line, client_ended};

static void start_client(struct driver_session *session)
{
	char detail[WORKER_DETAIL_MAX];
	int fd = -1;
	int r = link_watch_new(&session->link, session->host.event, session->config->interface, link_is_lost, session);
	if (r < 0) {
		snprintf(detail, sizeof detail, "the link %s does not stand: %s", session->config->interface, strerror(-r));
		fail(session, TUNNEL_ERROR_TUN_INTERFACE_FAILURE, detail);
		return;
	}
	r = make_config(session, &fd);
	if (r >= 0)
		r = openvpn_client_new(
		        &session->client, session->host.event, fd, session->control_fd, &client_events, session);
	if (r == -ENOENT)
		snprintf(detail, sizeof detail, OPENVPN " is not installed: apt install openvpn");
	else if (r < 0)
		snprintf(detail, sizeof detail, OPENVPN " could not be started: %s", strerror(-r));
	if (r < 0)
		fail(session, TUNNEL_ERROR_WORKER_START_FAILED, detail);
}

/* The client starts while the daemon opens the gate. */
static void begin_client(struct driver_session *session)
{
	session->phase = PREPARING;
	session->host.contacting(session->host.worker, &session->endpoint);
	start_client(session);
}

/* The endpoint's address is known and has a route. */
static void found(void *userdata, const struct endpoint *endpoint, enum tunnel_error error, const char *detail)
{
	struct driver_session *session = userdata;
	if (!endpoint) {
		fail(session, error, detail);
		return;
	}
	session->endpoint = *endpoint;
	begin_client(session);
}

static int openvpn_start(struct driver_session *session, size_t index, const struct worker_resolvers *resolvers)
{
	halt(session);
	session->phase = FINDING;
	session->challenges = 0;
	return contact_begin(session->contact, index, resolvers);
}

static int openvpn_proceed(struct driver_session *session)
{
	session->proceed = true;
	if (session->client && session->auth.needed[0])
		answer_need(session);
	release(session);
	return 0;
}

static int openvpn_credentials(struct driver_session *session, json_object *credentials)
{
	openvpn_auth_give(&session->auth, credentials);
	if (ask_for_missing(session))
		return 0;
	if (session->phase == ASKING)
		begin_client(session);
	else
		session->host.contacting(session->host.worker, &session->endpoint);
	return 0;
}

static int on_goodbye_end(sd_event_source *source, uint64_t usec, void *userdata)
{
	finish(userdata);
	return 0;
}

/* A session that stands is told to end, so that the server hears of it, if it is to; anything else is ended. */
static void openvpn_stop(struct driver_session *session)
{
	if (session->phase != UP) {
		finish(session);
		return;
	}
	session->phase = LEAVING;
	session->link = link_watch_free(session->link);
	openvpn_client_command(session->client, "signal SIGTERM\n");
	sd_event_source_set_time_relative(session->goodbye, GOODBYE_USEC);
	sd_event_source_set_enabled(session->goodbye, SD_EVENT_ONESHOT);
}

static void openvpn_close(struct driver_session *session)
{
	contact_free(session->contact);
	link_watch_free(session->link);
	openvpn_client_free(session->client);
	sd_event_source_disable_unref(session->goodbye);
	openvpn_auth_forget(&session->auth);
	tunnel_config_free(session->config);
	free(session);
}

static int read_document(struct driver_session *session, json_object *document)
{
	int r = tunnel_config_read(document, &session->config);
	if (r < 0)
		return r;
	json_object_object_get_ex(session->config->document, "settings", &session->auth.settings);
	return 0;
}

/* Where the client finds the worker: the path that the daemon's socket listens at. */
static int read_control_path(struct driver_session *session)
{
	struct sockaddr_un address = {};
	socklen_t length = sizeof address;
	if (session->control_fd < 0 || getsockname(session->control_fd, (struct sockaddr *)&address, &length) < 0)
		return -EINVAL;
	memcpy(session->control, address.sun_path, sizeof address.sun_path);
	return 0;
}

static int openvpn_open(const struct driver_host *host, const struct worker_start *start, struct driver_session **ret)
{
	struct driver_session *session = xcalloc(1, sizeof *session);
	*session = (struct driver_session){.host = *host, .control_fd = start->control_fd, .mark = start->mark};
	int r = read_document(session, start->tunnel);
	if (r >= 0)
		r = read_control_path(session);
	if (r >= 0)
		r = sd_event_add_time(host->event, &session->goodbye, CLOCK_MONOTONIC, 0, 1000, on_goodbye_end, session);
	if (r < 0) {
		openvpn_close(session);
		return r;
	}
	session->contact = contact_new(host->event, session->config, start->mark, found, session);
	halt(session);
	*ret = session;
	return 0;
}

static void openvpn_check(
        json_object *settings, json_object *endpoints, struct tunnel_config *config, struct problems *problems)
{
	openvpn_settings_check(settings, endpoints, &config->mtu, problems);
}

const struct driver driver_openvpn = {
        .name = "openvpn",
        .needs_tun = true,
        .opens_tun = true,
        .has_control = true,
        .programs = (const char *const[]){OPENVPN, NULL},
        .check = openvpn_check,
        .secrets = openvpn_secrets,
        .open = openvpn_open,
        .start = openvpn_start,
        .proceed = openvpn_proceed,
        .credentials = openvpn_credentials,
        .stop = openvpn_stop,
        .close = openvpn_close,
};
