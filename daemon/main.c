/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* holdfastd: options, signals, the loop. */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "daemon/fronts.h"
#include "daemon/manager.h"
#include "daemon/memory.h"
#include "daemon/offline.h"
#include "util/log.h"
#include "util/text.h"

#define EXIT_USAGE 2

enum what { RUN, BOOT, CHECK, RELEASE };

static const char usage[] =
	"Usage: holdfastd [OPTION]...\n"
	"Holds this machine's traffic to its VPN tunnel and restarts the tunnel as its policy says.\n"
	"\n"
	"  --config-dir DIR    the administrator's documents (default " SYSCONFDIR "/holdfast)\n"
	"  --state-dir DIR     state and the API's documents (default " LOCALSTATEDIR "/lib/holdfast)\n"
	"  --runtime-dir DIR   sockets (default " RUNSTATEDIR "/holdfast)\n"
	"  --worker PROGRAM    the worker's program (default " LIBEXECDIR "/holdfast-worker)\n"
	"  --boot              close the gate from the saved state, and exit\n"
	"  --check             validate every document, and exit\n"
	"  --release           remove Holdfast's kernel objects, and exit (see holdfastctl release)\n"
	"  --version, --help\n"
	"\n"
	"Signals: SIGHUP reloads; SIGTERM ends the tunnels and leaves the gate closed while one is wanted;\n"
	"SIGUSR1 exits and leaves the tunnels running.\n";

static int parse_options(int argc, char **argv, struct options *options, enum what *ret_what)
{
	enum { CONFIG = 256, STATE, RUNTIME, WORKER, DO_BOOT, DO_CHECK, DO_RELEASE, DO_VERSION, DO_HELP };
	static const struct option table[] = {
		{"config-dir", required_argument, NULL, CONFIG},
		{"state-dir", required_argument, NULL, STATE},
		{"runtime-dir", required_argument, NULL, RUNTIME},
		{"worker", required_argument, NULL, WORKER},
		{"boot", no_argument, NULL, DO_BOOT},
		{"check", no_argument, NULL, DO_CHECK},
		{"release", no_argument, NULL, DO_RELEASE},
		{"version", no_argument, NULL, DO_VERSION},
		{"help", no_argument, NULL, DO_HELP},
		{},
	};
	*ret_what = RUN;
	for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;)
		switch (c) {
		case CONFIG:
			options->config_dir = optarg;
			break;
		case STATE:
			options->state_dir = optarg;
			break;
		case RUNTIME:
			options->runtime_dir = optarg;
			break;
		case WORKER:
			options->worker_program = optarg;
			break;
		case DO_BOOT:
			*ret_what = BOOT;
			break;
		case DO_CHECK:
			*ret_what = CHECK;
			break;
		case DO_RELEASE:
			*ret_what = RELEASE;
			break;
		case DO_VERSION:
			puts("holdfastd " PACKAGE_VERSION);
			exit(EXIT_SUCCESS);
		case DO_HELP:
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		default:
			return -EINVAL;
		}
	if (optind == argc)
		return 0;
	fprintf(stderr, "holdfastd: \"%s\" is no option\n", argv[optind]);
	return -EINVAL;
}

/* ---- the service manager ---- */

/*
 * Tells it STATE (sd_notify(3)), but never waits for it: sd_notify() blocks while nobody reads the socket, and a daemon that waits there heals
 * nothing. What it does not take is lost.
 */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = path ? strlen(path) : 0;
	if (length < 2 || length >= sizeof address.sun_path || !strchr("/@", path[0]))
		return;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = 0; /* the abstract namespace */
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		log_debug("the service manager was not told %s: %s", state, strerror(errno));
}

/* ---- signals ---- */

struct process {
	struct manager *manager;
	struct fronts *fronts;
	sd_event_source *signals[4];
};

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct process *process = userdata;
	switch (info->ssi_signo) {
	case SIGHUP:
		notify("RELOADING=1");
		manager_reload(process->manager);
		fronts_reload(process->fronts);
		notify("READY=1");
		break;
	case SIGUSR1:
		log_notice("leaving; the tunnels go on and the gate stays as it is");
		sd_event_exit(sd_event_source_get_event(source), 0);
		break;
	default:
		log_notice("stopping; the gate stays closed where a tunnel is wanted or the mode is always");
		notify("STOPPING=1");
		manager_run(process->manager,
			&(struct lifecycle_event){.type = LIFECYCLE_SYSTEM_STOP, .tunnel = LIFECYCLE_NONE, .now_usec = manager_now()});
		break;
	}
	return 0;
}

static int watch_signals(sd_event *event, struct process *process)
{
	static const int numbers[] = {SIGHUP, SIGUSR1, SIGTERM, SIGINT};
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
		sigaddset(&set, numbers[i]);
	sigaddset(&set, SIGCHLD); /* children are watched by the loop */
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ELEMENTSOF(numbers); i++) {
		int r = sd_event_add_signal(event, &process->signals[i], numbers[i], on_signal, process);
		if (r < 0)
			return r;
	}
	return 0;
}

static int run(const struct options *options)
{
	struct process process = {};
	sd_event *event = NULL;
	int r = sd_event_default(&event);
	if (r < 0 || (r = watch_signals(event, &process)) < 0) {
		log_error("the event loop: %s", strerror(-r));
		return r;
	}
	process.manager = manager_new(options);
	r = manager_start(process.manager, event);
	if (r >= 0)
		r = fronts_open(&process.fronts, event, process.manager);
	if (r >= 0) {
		(void)sd_event_set_watchdog(event, true);
		notify("READY=1");
		memory_trim();
		memory_forget_start();
		r = sd_event_loop(event);
	}
	process.fronts = fronts_close(process.fronts);
	process.manager = manager_free(process.manager);
	for (size_t i = 0; i < ELEMENTSOF(process.signals); i++)
		sd_event_source_disable_unref(process.signals[i]);
	sd_event_unref(event);
	return r;
}

int main(int argc, char **argv)
{
	struct options options = {
		.config_dir = SYSCONFDIR "/holdfast",
		.state_dir = LOCALSTATEDIR "/lib/holdfast",
		.runtime_dir = RUNSTATEDIR "/holdfast",
		.worker_program = LIBEXECDIR "/holdfast-worker",
	};
	enum what what;
	int r = -EINVAL;
	json_c_set_serialization_double_format("%.15g", JSON_C_OPTION_GLOBAL); /* 0.2, not 0.20000000000000001 */
	if (parse_options(argc, argv, &options, &what) < 0) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	switch (what) {
	case RUN:
		r = run(&options);
		break;
	case BOOT:
		r = offline_boot(&options);
		break;
	case CHECK:
		r = offline_check(&options, fronts_check);
		break;
	case RELEASE:
		r = offline_release(&options);
		break;
	}
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
