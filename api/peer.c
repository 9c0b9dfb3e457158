/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who is at the other end of a Unix socket, as the kernel knows it (unix(7)): root is admin, the group's members
 * control, others read. */

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "api/internal.h"

/* SO_PEERGROUPS has the supplementary groups as they were when the client connected; it says by ERANGE how much room
 * they need. */
static bool in_supplementary_groups(int fd, gid_t gid)
{
	gid_t none;
	socklen_t size = 0;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &none, &size) == 0 || errno != ERANGE)
		return false;
	_cleanup_free_ gid_t *groups = xcalloc(1, size);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0)
		return false;
	for (size_t i = 0; i < size / sizeof *groups; i++)
		if (groups[i] == gid)
			return true;
	return false;
}

static enum scope scope_of(int fd, const struct ucred *peer, gid_t gid)
{
	if (peer->uid == 0)
		return SCOPE_ADMIN;
	if (gid != (gid_t)-1 && (peer->gid == gid || in_supplementary_groups(fd, gid)))
		return SCOPE_CONTROL;
	return SCOPE_READ;
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* since Linux 6.5 */
#endif

/* The process that connected, whatever becomes of its number; on older kernels whoever has that number now. 0: unknown. */
static int open_peer(int fd, pid_t pid)
{
	int pidfd = -1;
	socklen_t size = sizeof pidfd;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return pidfd > 0 ? pidfd : 0;
}

static enum outcome identify_unix(struct connection *connection, struct caller *ret)
{
	struct caller *caller = &connection->peer;
	if (caller->scope == SCOPE_NONE) {
		struct ucred peer;
		socklen_t size = sizeof peer;
		if (getsockopt(connection->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
			return OUTCOME_UNAUTHORIZED;
		caller->uid = peer.uid;
		caller->pid = peer.pid;
		caller->pidfd = open_peer(connection->fd, peer.pid);
		snprintf(caller->name, sizeof caller->name, "uid %u (pid %d)", peer.uid, (int)peer.pid);
		caller->scope = scope_of(connection->fd, &peer, connection->server->gid);
	}
	*ret = *caller;
	return OUTCOME_OK;
}

const struct transport transport_unix = {"unix", identify_unix, 0, NULL};
