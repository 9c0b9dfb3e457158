/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* holdfast-worker TUNNEL SOCKET: runs one tunnel's client for holdfastd, which starts it and hands it a nonce as a
 * descriptor. */

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "tunnel/worker-domain.h"
#include "tunnel/worker-session.h"
#include "tunnel/worker-spawn.h"
#include "util/log.h"
#include "util/text.h"

static int read_nonce(char nonce[WORKER_NONCE_SIZE * 2 + 1])
{
	ssize_t length = read(WORKER_NONCE_FD, nonce, WORKER_NONCE_SIZE * 2);
	if (length != WORKER_NONCE_SIZE * 2)
		return -EINVAL;
	nonce[length] = 0;
	close(WORKER_NONCE_FD);
	return 0;
}

static int run(const char *tunnel, const char *socket_path)
{
	char nonce[WORKER_NONCE_SIZE * 2 + 1];
	struct worker_session *session = NULL;
	sd_event *event = NULL;
	int r = read_nonce(nonce);
	if (r >= 0)
		r = sd_event_default(&event);
	if (r >= 0)
		r = worker_session_new(&session, event, tunnel, socket_path, nonce);
	wipe(nonce, sizeof nonce);
	if (r >= 0)
		r = sd_event_loop(event);
	worker_session_free(session);
	sd_event_unref(event);
	return r;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		log_error("holdfast-worker is started by holdfastd: holdfast-worker TUNNEL SOCKET");
		return EXIT_FAILURE;
	}
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "holdfast-worker"); /* it may have been executed from a descriptor, which has no name */
	int r = worker_domain_enter();
	if (r == -EOPNOTSUPP)
		log_debug("%s: this kernel keeps the workers of one user from each other by nothing but their rights", argv[1]);
	else if (r < 0)
		log_warning("%s: the worker could not be kept from others of its user: %s", argv[1], strerror(-r));
	r = run(argv[1], argv[2]);
	if (r < 0)
		log_error("%s: the worker ended: %s", argv[1], strerror(-r));
	return r < 0 ? EXIT_FAILURE : r;
}
