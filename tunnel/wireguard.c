/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The `wireguard` driver. With the kernel's WireGuard the daemon has the link (wireguard-kernel.c), and this session
 * asks it for what is to be done and watches for the handshake; else it runs wireguard-go on the tun and the control
 * socket that it was handed.
 *
 * A session goes through its phases in one direction, and halt() leads back to IDLE from each: RESOLVING (where the
 * endpoint is a name), PREPARING (the client starts, and at the same time the daemon opens the gate), CONFIGURING,
 * HANDSHAKING, UP. WireGuard tells no event: what is known is asked for, often at first and then once a second. Any
 * handshake there is is newer than this start: wireguard-go is always a new process, and the kernel's peers are always
 * new ones.
 */

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "tunnel/contact.h"
#include "tunnel/driver.h"
#include "tunnel/kernel-notices.h"
#include "tunnel/wireguard-client.h"
#include "tunnel/wireguard-go.h"
#include "tunnel/wireguard-kernel.h"
#include "tunnel/wireguard-settings.h"
#include "util/log.h"
#include "util/text.h"

#define HANDSHAKE_USEC                                                                                                 \
	(10 * USEC_PER_SEC) /* two tries: WireGuard repeats an unanswered one after 5 s (REKEY_TIMEOUT) */
#define POLL_FIRST_USEC  (2 * USEC_PER_MSEC)
#define POLL_SLOWER_USEC (100 * USEC_PER_MSEC)
#define POLL_UP_USEC     USEC_PER_SEC
#define MOVE_TOLD        5 /* times, a poll apart */

/*
 * When an unanswered handshake is begun anew, counted from the first: replacing the peer is the way to send at once.
 * WireGuard itself would wait 5 s. The gaps grow, so that a path of any delay that a tunnel could use has one that is
 * long enough.
 */
static const uint64_t again_usec[] = {300 * USEC_PER_MSEC, 1200 * USEC_PER_MSEC, 4000 * USEC_PER_MSEC};

/*
 * A server takes no second initiation within 20 ms of one (HandshakeInitationRate), nor with a timestamp that is not
 * newer, and timestamps are whitened to 16.8 ms. A client that died as soon as it was up is followed no sooner than
 * this.
 */
#define HANDSHAKE_SPACING_USEC (40 * USEC_PER_MSEC)

enum phase { IDLE, RESOLVING, PREPARING, CONFIGURING, HANDSHAKING, UP };
enum request { ASK_READY, ASK_CONFIGURE, ASK_STATUS, ASK_CHANGE };

struct driver_session {
	struct driver_host host;
	struct tunnel_config *config;
	struct wireguard_settings settings;
	uint32_t mark;
	int tun_fd, control_fd; /* the worker's */
	bool kernel;            /* no client: the kernel's own */
	enum phase phase;
	size_t index; /* of the endpoint */
	struct endpoint endpoint;
	struct contact *contact;
	bool ready, proceed;
	unsigned moved; /* the host's addresses changed: how often wireguard-go is to be told still */
	struct kernel_notices *addresses; /* the host's: a client that sends from one that is gone is to be told */
	struct wireguard_client *client;
	enum request request; /* that the client answers next */
	uint64_t poll_usec;
	uint64_t up_usec;    /* when a session last came up; 0: never */
	uint64_t begun_usec; /* when the first handshake was begun */
	size_t begun_again;
	sd_event_source *poll, *deadline;
};

/* Back to IDLE: no client, no timer. */
static void halt(struct driver_session *session)
{
	session->phase = IDLE;
	session->ready = session->proceed = false;
	session->moved = 0;
	contact_cancel(session->contact);
	session->client = wireguard_client_free(session->client);
	sd_event_source_set_enabled(session->poll, SD_EVENT_OFF);
	sd_event_source_set_enabled(session->deadline, SD_EVENT_OFF);
}

static void fail(struct driver_session *session, enum tunnel_error error, const char *detail)
{
	halt(session);
	session->host.will_stop(session->host.worker, error, detail);
}

/* Whether the tunnel's link is there and up; if not, SENTENCE says so. */
static bool link_stands(const struct driver_session *session, char sentence[WORKER_DETAIL_MAX])
{
	struct ifreq request = {};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", session->config->interface);
	if (fd < 0)
		return true; /* not known to be otherwise */
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
		snprintf(sentence, WORKER_DETAIL_MAX, "the link %s was deleted", session->config->interface);
		return errno != ENODEV;
	}
	snprintf(sentence, WORKER_DETAIL_MAX, "the link %s is down", session->config->interface);
	return request.ifr_flags & IFF_UP;
}

static void set_timer(sd_event_source *source, uint64_t usec)
{
	sd_event_source_set_time_relative(source, usec);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

static void ask(struct driver_session *session, enum request request, const char *text)
{
	session->request = request;
	wireguard_client_request(session->client, text);
}

static const struct wireguard_device *make_device(struct driver_session *session, bool connecting)
{
	return wireguard_settings_device(
	        &session->settings, session->config, session->index, &session->endpoint, session->mark, connecting);
}

static uint64_t now_usec(const struct driver_session *session)
{
	uint64_t now = 0;
	sd_event_now(session->host.event, CLOCK_MONOTONIC, &now);
	return now;
}

/* An answer leads on; a daemon that is not there gives none, and the next one is asked again. */
static void ask_device(struct driver_session *session, enum device_request request)
{
	set_timer(session->poll, POLL_UP_USEC);
	session->host.ask_device(session->host.worker, request);
}

static void ask_to_configure(struct driver_session *session)
{
	if (session->kernel) {
		ask_device(session, DEVICE_CONFIGURE);
		return;
	}
	_cleanup_wipe_ char *text = wireguard_uapi_set(make_device(session, true));
	ask(session, ASK_CONFIGURE, text);
}

static void watch_for_handshake(struct driver_session *session)
{
	session->phase = HANDSHAKING;
	session->poll_usec = POLL_FIRST_USEC;
	set_timer(session->poll, session->poll_usec);
}

/* Begins to talk to the server once both are so: the client is ready and the gate is open for it. */
static void configure(struct driver_session *session)
{
	if (session->phase != PREPARING || !session->ready || !session->proceed)
		return;
	uint64_t now = now_usec(session), soonest = session->up_usec ? session->up_usec + HANDSHAKE_SPACING_USEC : 0;
	if (now < soonest) {
		set_timer(session->poll, soonest - now);
		return;
	}
	set_timer(session->deadline, HANDSHAKE_USEC);
	session->phase = CONFIGURING;
	session->begun_usec = now;
	session->begun_again = 0;
	ask_to_configure(session);
}

static bool is_time_to_begin_again(const struct driver_session *session)
{
	return session->phase == HANDSHAKING && session->begun_again < ELEMENTSOF(again_usec) &&
	       now_usec(session) - session->begun_usec >= again_usec[session->begun_again];
}

static void go_up(struct driver_session *session)
{
	const struct tunnel_config *config = session->config;
	struct tunnel_network network = {
	        .mtu = config->mtu ? config->mtu : WIREGUARD_MTU_DEFAULT,
	        .endpoint = session->endpoint,
	};
	network.address_count = MIN_OF(config->address_count, (size_t)TUNNEL_PREFIXES_MAX);
	memcpy(network.addresses, config->addresses, network.address_count * sizeof *network.addresses);
	network.dns_count = MIN_OF(config->dns_count, (size_t)TUNNEL_PREFIXES_MAX);
	if (network.dns_count)
		memcpy(network.dns, config->dns, network.dns_count * sizeof *network.dns);
	session->phase = UP;
	session->up_usec = now_usec(session);
	contact_stood(session->contact);
	session->poll_usec = POLL_UP_USEC;
	sd_event_source_set_enabled(session->deadline, SD_EVENT_OFF);
	set_timer(session->poll, session->poll_usec);
	session->host.up(session->host.worker, &network);
	if (session->kernel) {
		ask_device(session, DEVICE_SETTLE);
		return;
	}
	const struct wireguard_peer *peer = &make_device(session, false)->peers[0];
	_cleanup_free_ char *text = wireguard_uapi_set_keepalive(peer->public_key, peer->keepalive_sec);
	ask(session, ASK_CHANGE, text);
}

/* The counters are known, and when the peer that carries the tunnel was last heard of. */
static void consider(struct driver_session *session, const struct tunnel_traffic *traffic)
{
	if (session->phase == HANDSHAKING && traffic->last_handshake_usec) {
		go_up(session);
		return;
	}
	if (session->phase == HANDSHAKING)
		session->poll_usec = MIN_OF(session->poll_usec * 3 / 2, POLL_SLOWER_USEC);
	else
		session->host.traffic(session->host.worker, traffic);
	set_timer(session->poll, session->moved == MOVE_TOLD ? 0 : session->poll_usec); /* it was asked when that was noticed */
}

/*
 * wireguard-go goes on sending from the address that its last answer came to, and what it takes for the sign that this one is gone (EINVAL)
 * is not what kernels say since 5.5 (ENETUNREACH): it would be silent until a handshake times out, 15 s. It is told more than once: an answer
 * that came to the former address and was read after the word takes it back there.
 */
static void tell_of_move(struct driver_session *session)
{
	_cleanup_free_ char *text = wireguard_uapi_set_endpoints(make_device(session, false));
	session->moved--;
	ask(session, ASK_CHANGE, text);
}

static void on_addresses(void *userdata)
{
	struct driver_session *session = userdata;
	session->moved = session->phase == UP && !session->kernel ? MOVE_TOLD : 0;
	if (session->moved && !wireguard_client_is_busy(session->client))
		set_timer(session->poll, 0);
}

static void poll_kernel(struct driver_session *session)
{
	if (is_time_to_begin_again(session))
		session->begun_again++, ask_to_configure(session);
	else
		ask_device(session, session->phase == CONFIGURING ? DEVICE_CONFIGURE : DEVICE_INSPECT);
}

static int on_poll(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct driver_session *session = userdata;
	char detail[WORKER_DETAIL_MAX];
	if (session->phase == PREPARING)
		configure(session);
	else if (session->poll_usec >= POLL_SLOWER_USEC && !link_stands(session, detail))
		fail(session, TUNNEL_ERROR_TUN_INTERFACE_FAILURE, detail);
	else if (session->kernel)
		poll_kernel(session);
	else if (wireguard_client_is_busy(session->client))
		return 0; /* its answer, or its end, leads on */
	else if (session->moved)
		tell_of_move(session);
	else if (is_time_to_begin_again(session))
		session->begun_again++, ask_to_configure(session);
	else
		ask(session, ASK_STATUS, WIREGUARD_GET);
	return 0;
}

/* The daemon's answer. What was asked for before a new start is not delivered. */
static void wireguard_device_answered(struct driver_session *session, const struct device_answer *answer)
{
	if (!session->kernel || session->phase < CONFIGURING)
		return;
	if (answer->error) {
		fail(session, answer->error, answer->detail);
		return;
	}
	switch (answer->request) {
	case DEVICE_CONFIGURE:
		if (session->phase != UP)
			watch_for_handshake(session);
		break;
	case DEVICE_SETTLE:
		set_timer(session->poll, session->poll_usec);
		break;
	case DEVICE_INSPECT:
		if (session->phase != CONFIGURING)
			consider(session, &answer->traffic);
		break;
	}
}

static void client_answered(void *userdata, const struct wireguard_answer *answer)
{
	struct driver_session *session = userdata;
	struct tunnel_traffic traffic;
	char detail[WORKER_DETAIL_MAX];
	if (answer->error) {
		snprintf(detail, sizeof detail, WIREGUARD_GO " refused: %s", strerror(-answer->error));
		fail(session,
		        session->request == ASK_CONFIGURE ? TUNNEL_ERROR_BAD_CONFIGURATION
		                                          : TUNNEL_ERROR_INTERNAL_ERROR,
		        detail);
		return;
	}
	switch (session->request) {
	case ASK_READY:
		session->ready = true;
		configure(session);
		break;
	case ASK_CONFIGURE:
		watch_for_handshake(session);
		break;
	case ASK_STATUS:
		traffic = wireguard_settings_traffic(
		        &session->settings, session->index, answer->peers, answer->peer_count);
		consider(session, &traffic);
		break;
	case ASK_CHANGE:
		if (session->moved > 0)
			ask(session, ASK_STATUS, WIREGUARD_GET); /* its traffic is told as often as ever */
		else
			set_timer(session->poll, session->poll_usec);
		break;
	}
}

/* Where several reasons fit, the link's comes first: wireguard-go exits with status 0 when its link is deleted. */
static void client_ended(void *userdata, enum wireguard_client_end end, const char *detail)
{
	static const enum tunnel_error errors[][2] = {
	        /* before it was ready, afterwards */
	        [WIREGUARD_CLIENT_KILLED] = {TUNNEL_ERROR_WORKER_CRASHED, TUNNEL_ERROR_WORKER_CRASHED},
	        [WIREGUARD_CLIENT_EXITED] = {TUNNEL_ERROR_WORKER_START_FAILED, TUNNEL_ERROR_WORKER_CRASHED},
	        [WIREGUARD_CLIENT_SILENT] = {TUNNEL_ERROR_WORKER_START_FAILED, TUNNEL_ERROR_WORKER_UNRESPONSIVE},
	};
	struct driver_session *session = userdata;
	char sentence[WORKER_DETAIL_MAX], copy[WORKER_DETAIL_MAX];
	snprintf(copy, sizeof copy, "%s", detail);
	if (link_stands(session, sentence))
		fail(session, errors[end][session->ready], copy);
	else
		fail(session, TUNNEL_ERROR_TUN_INTERFACE_FAILURE, sentence);
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct driver_session *session = userdata;
	char text[ENDPOINT_TEXT_MAX], detail[WORKER_DETAIL_MAX];
	if (!link_stands(session, detail)) {
		fail(session, TUNNEL_ERROR_TUN_INTERFACE_FAILURE, detail);
		return 0;
	}
	snprintf(detail, sizeof detail,
	        "no handshake with %s within 10 s: a wrong key, a blocked path and a dead server look alike",
	        endpoint_format(text, &session->endpoint));
	fail(session, TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED, detail);
	return 0;
}

static const struct wireguard_client_events client_events = {client_answered, client_ended};

static void start_client(struct driver_session *session)
{
	char detail[WORKER_DETAIL_MAX];
	session->request = ASK_READY;
	int r = wireguard_client_new(&session->client, session->host.event, session->config->interface, session->tun_fd,
	        session->control_fd, &client_events, session);
	if (r == -ENOENT)
		snprintf(detail, sizeof detail, WIREGUARD_GO " is not installed: apt install wireguard-go");
	else if (r < 0)
		snprintf(detail, sizeof detail, WIREGUARD_GO " could not be started: %s", strerror(-r));
	if (r < 0)
		fail(session, TUNNEL_ERROR_WORKER_START_FAILED, detail);
}

/* The endpoint's address is known and has a route. The client starts while the daemon opens the gate. */
static void found(void *userdata, const struct endpoint *endpoint, enum tunnel_error error, const char *detail)
{
	struct driver_session *session = userdata;
	if (!endpoint) {
		fail(session, error, detail);
		return;
	}
	session->endpoint = *endpoint;
	session->phase = PREPARING;
	session->host.contacting(session->host.worker, &session->endpoint);
	if (session->kernel) {
		session->ready = true;
	} else {
		start_client(session);
	}
}

static int wireguard_start(struct driver_session *session, size_t index, const struct worker_resolvers *resolvers)
{
	halt(session);
	session->index = index;
	session->phase = RESOLVING;
	return contact_begin(session->contact, index, resolvers);
}

static int wireguard_proceed(struct driver_session *session)
{
	session->proceed = true;
	configure(session);
	return 0;
}

/* WireGuard has no goodbye: what is not answered is gone. */
static void wireguard_stop(struct driver_session *session)
{
	halt(session);
	session->host.stopped(session->host.worker);
}

static void wireguard_close(struct driver_session *session)
{
	contact_free(session->contact);
	kernel_notices_free(session->addresses);
	wireguard_client_free(session->client);
	sd_event_source_disable_unref(session->poll);
	sd_event_source_disable_unref(session->deadline);
	wireguard_settings_done(&session->settings);
	tunnel_config_free(session->config);
	free(session);
}

static int read_document(struct driver_session *session, json_object *document)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	int r = tunnel_config_read(document, &session->config);
	if (r < 0)
		return r;
	json_object *complete = session->config->document;
	return wireguard_settings_read(
	               json_object_object_get(complete, "settings"), json_object_object_get(complete, "endpoints"), &session->settings, &problems)
	               ? 0
	               : -EINVAL;
}

static int wireguard_open(const struct driver_host *host, const struct worker_start *start, struct driver_session **ret)
{
	struct driver_session *session = xcalloc(1, sizeof *session);
	*session = (struct driver_session){
	        .host = *host,
	        .mark = start->mark,
	        .tun_fd = start->tun_fd,
	        .control_fd = start->control_fd,
	        .kernel = start->tun_fd < 0,
	};
	int r = read_document(session, start->tunnel);
	if (r >= 0 && !session->kernel && start->control_fd < 0)
		r = -EINVAL;
	if (r >= 0)
		r = sd_event_add_time(host->event, &session->poll, CLOCK_MONOTONIC, 0, 1, on_poll, session);
	if (r >= 0)
		r = sd_event_add_time(host->event, &session->deadline, CLOCK_MONOTONIC, 0, 1000, on_deadline, session);
	if (r >= 0)
		r = kernel_notices_new(&session->addresses, host->event, RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
		        on_addresses, session);
	if (r < 0) {
		wireguard_close(session);
		return r;
	}
	session->contact = contact_new(host->event, session->config, session->mark, found, session);
	halt(session);
	*ret = session;
	return 0;
}

static void give_companions(const struct wireguard_settings *settings, struct tunnel_config *config)
{
	config->companions = xcalloc(settings->peer_count, sizeof *config->companions);
	for (size_t i = 0; i < settings->peer_count; i++)
		if (settings->peers[i].endpoint.address.family != AF_UNSPEC)
			config->companions[config->companion_count++] = settings->peers[i].endpoint;
}

static void wireguard_check(
        json_object *settings, json_object *endpoints, struct tunnel_config *config, struct problems *problems)
{
	_cleanup_wireguard_settings_ struct wireguard_settings read = {};
	if (!wireguard_settings_read(settings, endpoints, &read, problems))
		return;
	config->mtu = read.mtu;
	config->carrier = read.carrier;
	config->addresses = STEAL(read.addresses);
	config->address_count = read.address_count;
	give_companions(&read, config);
}

const struct driver driver_wireguard = {
        .name = "wireguard",
        .needs_net_admin = true,
        .needs_tun = true,
        .has_control = true,
        .control_folder = RUNSTATEDIR "/wireguard", /* where wg(8) looks */
        .device = &wireguard_kernel,
        .programs = (const char *const[]){WIREGUARD_GO, NULL},
        .check = wireguard_check,
        .secrets = (const char *const[]){"privateKey", "presharedKey", NULL},
        .open = wireguard_open,
        .start = wireguard_start,
        .proceed = wireguard_proceed,
        .device_answered = wireguard_device_answered,
        .stop = wireguard_stop,
        .close = wireguard_close,
};
