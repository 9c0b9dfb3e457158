/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is to be sent on one SOCK_SEQPACKET connection, in order, with descriptors; bounded. Texts are wiped once they
 * are sent. */

#include <stddef.h>

#define PACKET_FDS_MAX   2
#define PACKET_QUEUE_MAX 64

struct packet {
	char *text;
	int fds[PACKET_FDS_MAX];
	size_t fd_count;
};

struct packet_queue {
	struct packet packets[PACKET_QUEUE_MAX];
	size_t first, count;
};

/* Takes TEXT over in any case; FDS are duplicated. -ENOBUFS: the queue is full. */
int packet_queue_push(struct packet_queue *queue, char *text, const int *fds, size_t fd_count);
/* Sends as much as FD takes. Returns 0 (see queue->count for what is left) or a negative errno of the connection. */
int packet_queue_flush(struct packet_queue *queue, int fd);
void packet_queue_done(struct packet_queue *queue);
