/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The fronts, and what of them changes while the daemon runs. TCP listeners are made anew when holdfast.json asks for other ones. Where
 * only the files of a certificate changed, a new server takes over the listening socket and the old one serves the connections it has to
 * their end; where it is another CA, they are ended, since who may come in has changed.
 */

#include "daemon/fronts.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "api/server.h"
#include "api/tls.h"
#include "dbus/service.h"
#include "util/log.h"
#include "util/text.h"

#define CONTROL_GROUP "holdfast"
#define DRAINING_MAX 4
#define SETTLE_USEC (USEC_PER_SEC / 2) /* after a file changed: its fellow is usually written, too */

struct tcp_front {
	struct listener_settings settings;
	int fd; /* listening; kept beside the server's copy for the one that follows it */
	struct api_server *server;
};

struct fronts {
	sd_event *event;
	struct manager *manager;
	struct api_server *unix_server;
	struct dbus_service *dbus;
	struct configuration *configuration; /* that the TCP listeners were made by */
	struct tcp_front tcp[CONFIGURATION_LISTENERS_MAX];
	size_t tcp_count;
	struct api_server *draining[DRAINING_MAX];
	struct tls *tls; /* as last read */
	sd_event_source *watches[3], *settle;
};

/* ---- the Unix socket ---- */

/* Without the group nobody but root has control. */
static gid_t control_group(void)
{
	const struct group *group = getgrnam(CONTROL_GROUP);
	return group ? group->gr_gid : (gid_t)-1;
}

/* api.sock, 0660 root:holdfast; handed over by systemd where it is socket-activated. */
static int listen_unix(const char *runtime_dir)
{
	_cleanup_free_ char *path = document_path(runtime_dir, "api.sock");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (sd_listen_fds(0) >= 1)
		return SD_LISTEN_FDS_START;
	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(path); /* the state directory's lock says that nobody serves it */
	mode_t mask = umask(0777);
	int r = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
	umask(mask);
	if (r < 0)
		return r;
	if (chown(path, 0, control_group() == (gid_t)-1 ? 0 : control_group()) < 0 || chmod(path, 0660) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	return STEAL_FD(fd);
}

static struct api_options options_of(const struct configuration *configuration)
{
	const struct limit_settings *limits = &configuration->limits;
	return (struct api_options){
		.connections = (unsigned)limits->connections,
		.streams = (unsigned)limits->streams,
		.calls = (unsigned)limits->calls,
		.request_usec = limits->request_usec,
		.idle_usec = limits->idle_usec,
	};
}

static int open_unix(struct fronts *fronts)
{
	const char *runtime_dir = fronts->manager->options.runtime_dir;
	struct api_options options = options_of(fronts->manager->configuration);
	_cleanup_close_ int fd = listen_unix(runtime_dir);
	if (fd < 0) {
		int r = fd;
		log_error("%s/api.sock: cannot listen there: %s", runtime_dir, strerror(-r));
		return r;
	}
	int r = api_server_new_unix_full(&fronts->unix_server, fronts->event, fronts->manager, fd, control_group(), &options);
	if (r < 0)
		log_error("the HTTP server: %s", strerror(-r));
	else
		fd = -1;
	return r;
}

/* ---- TCP ---- */

/* The daemon starts before the network: an address that is not there yet is listened on all the same. */
static int listen_tcp(const struct endpoint *endpoint)
{
	bool v6 = endpoint->address.family == AF_INET6;
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(endpoint->port)};
	struct sockaddr_in6 address6 = {.sin6_family = AF_INET6, .sin6_port = htons(endpoint->port)};
	memcpy(&address.sin_addr, endpoint->address.bytes, sizeof address.sin_addr);
	memcpy(&address6.sin6_addr, endpoint->address.bytes, sizeof address6.sin6_addr);
	const struct sockaddr *at = v6 ? (struct sockaddr *)&address6 : (struct sockaddr *)&address;
	socklen_t size = v6 ? sizeof address6 : sizeof address;
	_cleanup_close_ int fd = socket(endpoint->address.family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || setsockopt(fd, SOL_IP, IP_FREEBIND, &on, sizeof on) < 0 ||
		(v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) < 0) || bind(fd, at, size) < 0 || listen(fd, SOMAXCONN) < 0)
		return -errno;
	return STEAL_FD(fd);
}

/* Each server reads the files itself: it keeps what it serves with for as long as it lives. */
static int new_server(struct fronts *fronts, const struct tcp_front *front, struct api_server **ret)
{
	struct api_options options = options_of(fronts->configuration);
	struct tls *tls = NULL;
	_cleanup_free_ char *error = NULL;
	if (front->settings.tls && tls_load(&tls, &fronts->configuration->tls, &error) < 0) {
		log_error("%s is not served: %s", front->settings.text, error);
		return -EINVAL;
	}
	_cleanup_close_ int copy = fcntl(front->fd, F_DUPFD_CLOEXEC, 3);
	int r = copy < 0 ? -errno
			 : api_server_new_tcp(ret, fronts->event, fronts->manager, copy, fronts->configuration, tls, &options);
	if (copy < 0)
		tls_free(tls);
	if (r < 0)
		log_error("%s is not served: %s", front->settings.text, strerror(-r));
	else
		copy = -1;
	return r;
}

static void open_tcp(struct fronts *fronts, const struct listener_settings *settings)
{
	struct tcp_front *front = &fronts->tcp[fronts->tcp_count];
	*front = (struct tcp_front){.settings = *settings, .fd = listen_tcp(&settings->address)};
	if (front->fd < 0)
		log_error("%s: cannot listen there: %s", settings->text, strerror(-front->fd));
	else if (new_server(fronts, front, &front->server) < 0)
		closep(&front->fd);
	else
		log_info("listening on %s%s", settings->text, settings->tls ? " with TLS" : "");
	fronts->tcp_count += front->fd >= 0;
}

static void close_draining(struct fronts *fronts)
{
	for (size_t i = 0; i < DRAINING_MAX; i++)
		fronts->draining[i] = api_server_free(fronts->draining[i]);
}

static void close_tcp(struct fronts *fronts)
{
	close_draining(fronts);
	for (size_t i = 0; i < fronts->tcp_count; i++) {
		api_server_free(fronts->tcp[i].server);
		closep(&fronts->tcp[i].fd);
	}
	fronts->tcp_count = 0;
}

/* ---- certificates ---- */

static void load_tls(struct fronts *fronts)
{
	_cleanup_free_ char *error = NULL;
	fronts->tls = tls_free(fronts->tls);
	if (fronts->configuration->has_tls && tls_load(&fronts->tls, &fronts->configuration->tls, &error) < 0)
		log_error("%s", error);
}

/* SERVER goes on with the connections it has. The first of too many must end them. */
static void drain(struct fronts *fronts, struct api_server *server)
{
	(void)api_server_drain(server);
	for (size_t i = 0; i < DRAINING_MAX; i++)
		if (fronts->draining[i] && api_server_drain(fronts->draining[i]))
			fronts->draining[i] = api_server_free(fronts->draining[i]);
	api_server_free(fronts->draining[DRAINING_MAX - 1]);
	memmove(&fronts->draining[1], &fronts->draining[0], (DRAINING_MAX - 1) * sizeof fronts->draining[0]);
	fronts->draining[0] = server;
}

static void renew_server(struct fronts *fronts, struct tcp_front *front, bool same_clients)
{
	struct api_server *server = NULL;
	if (!front->settings.tls || new_server(fronts, front, &server) < 0)
		return;
	if (same_clients)
		drain(fronts, front->server);
	else
		api_server_free(front->server);
	front->server = server;
}

/* The files as they are now. What does not fit together is left alone: its other half is about to be written. */
static void renew_certificates(struct fronts *fronts)
{
	struct tls *tls = NULL;
	_cleanup_free_ char *error = NULL;
	if (!fronts->configuration->has_tls)
		return;
	if (tls_load(&tls, &fronts->configuration->tls, &error) < 0) {
		log_warning("%s; the former certificate is kept", error);
		return;
	}
	bool same_clients = fronts->tls && tls_same_clients(tls, fronts->tls);
	if (fronts->tls && same_clients && tls_same_identity(tls, fronts->tls)) {
		tls_free(tls);
		return;
	}
	if (!same_clients)
		close_draining(fronts);
	tls_free(fronts->tls);
	fronts->tls = tls;
	for (size_t i = 0; i < fronts->tcp_count; i++)
		renew_server(fronts, &fronts->tcp[i], same_clients);
	log_notice("the certificates were read again");
}

static int on_file(sd_event_source *source, const struct inotify_event *event, void *userdata)
{
	struct fronts *fronts = userdata;
	(void)sd_event_source_set_time_relative(fronts->settle, SETTLE_USEC);
	(void)sd_event_source_set_enabled(fronts->settle, SD_EVENT_ONESHOT);
	return 0;
}

/* The folders, not the files: a renewed certificate is usually renamed into its place. */
static void watch_files(struct fronts *fronts)
{
	const struct tls_files *files = &fronts->configuration->tls;
	const char *paths[] = {files->certificate, files->key, files->client_ca};
	for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
		fronts->watches[i] = sd_event_source_disable_unref(fronts->watches[i]);
		if (!fronts->configuration->has_tls || !paths[i])
			continue;
		_cleanup_free_ char *copy = text_dup(paths[i]);
		const char *folder = dirname(copy);
		int r = sd_event_add_inotify(fronts->event, &fronts->watches[i], folder, IN_CLOSE_WRITE | IN_MOVED_TO, on_file, fronts);
		if (r < 0)
			log_warning("%s cannot be watched: %s; send SIGHUP after a certificate was renewed", folder, strerror(-r));
	}
}

static void open_configured(struct fronts *fronts)
{
	configuration_unref(fronts->configuration);
	fronts->configuration = configuration_ref(fronts->manager->configuration);
	load_tls(fronts);
	for (size_t i = 0; i < fronts->configuration->listener_count; i++)
		open_tcp(fronts, &fronts->configuration->listeners[i]);
	watch_files(fronts);
}

/* Also where one could not be served before: what it lacked may be there now. */
static void open_again(struct fronts *fronts)
{
	close_tcp(fronts);
	open_configured(fronts);
}

static bool all_are_served(const struct fronts *fronts)
{
	return fronts->tcp_count == fronts->configuration->listener_count;
}

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct fronts *fronts = userdata;
	if (all_are_served(fronts))
		renew_certificates(fronts);
	else
		open_again(fronts);
	return 0;
}

bool fronts_check(const struct configuration *configuration)
{
	struct tls *tls = NULL;
	_cleanup_free_ char *error = NULL;
	if (!configuration->has_tls || tls_load(&tls, &configuration->tls, &error) == 0) {
		tls_free(tls);
		return true;
	}
	log_error("%s", error);
	return false;
}

/* ---- all of them ---- */

int fronts_open(struct fronts **ret, sd_event *event, struct manager *manager)
{
	struct fronts *fronts = xcalloc(1, sizeof *fronts);
	fronts->event = sd_event_ref(event);
	fronts->manager = manager;
	int r = sd_event_add_time(event, &fronts->settle, CLOCK_MONOTONIC, 0, 0, on_settled, fronts);
	if (r >= 0)
		r = sd_event_source_set_enabled(fronts->settle, SD_EVENT_OFF);
	if (r >= 0)
		r = open_unix(fronts);
	if (r >= 0 && (r = dbus_service_new(&fronts->dbus, event, manager)) < 0)
		log_error("D-Bus: %s", strerror(-r));
	if (r < 0) {
		fronts_close(fronts);
		return r;
	}
	open_configured(fronts);
	*ret = fronts;
	return 0;
}

void fronts_reload(struct fronts *fronts)
{
	if (configuration_equal(fronts->configuration, fronts->manager->configuration) && all_are_served(fronts))
		renew_certificates(fronts);
	else
		open_again(fronts);
}

struct fronts *fronts_close(struct fronts *fronts)
{
	if (!fronts)
		return NULL;
	close_tcp(fronts);
	for (size_t i = 0; i < ELEMENTSOF(fronts->watches); i++)
		sd_event_source_disable_unref(fronts->watches[i]);
	sd_event_source_disable_unref(fronts->settle);
	dbus_service_free(fronts->dbus);
	api_server_free(fronts->unix_server);
	tls_free(fronts->tls);
	configuration_unref(fronts->configuration);
	sd_event_unref(fronts->event);
	free(fronts);
	return NULL;
}
