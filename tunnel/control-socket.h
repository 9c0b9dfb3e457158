/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The socket by which a client is spoken to, made by the daemon and handed to the worker as a descriptor. A userspace
 * WireGuard is asked on it, where wg(8) looks for it, and a request waits in it while the client is still starting;
 * OpenVPN connects to it. In both cases nobody but root and the workers' user can.
 */

#include <sys/types.h>

/* Listens at PATH, 0600, owned by UID, in a folder that is made if it is not there; what stood there is replaced. The
 * caller closes *ret_fd. Negative errno. */
int control_socket_make(const char *path, uid_t uid, int *ret_fd);
/* Removes it; 0 also where there was none. */
int control_socket_remove(const char *path);
/* Closes what waits in the socket FD: connections of a client that died. */
void control_socket_drain(int fd);
