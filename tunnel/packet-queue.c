/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A ring of packets that wait for their connection. */

#include "tunnel/packet-queue.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "util/macro.h"
#include "util/text.h"

static void packet_done(struct packet *packet)
{
	wipe_freep(&packet->text);
	for (size_t i = 0; i < packet->fd_count; i++)
		closep(&packet->fds[i]);
	packet->fd_count = 0;
}

int packet_queue_push(struct packet_queue *queue, char *text, const int *fds, size_t fd_count)
{
	struct packet packet = {.text = text};
	if (queue->count == PACKET_QUEUE_MAX) {
		packet_done(&packet);
		return -ENOBUFS;
	}
	for (; packet.fd_count < fd_count; packet.fd_count++) {
		int copy = fcntl(fds[packet.fd_count], F_DUPFD_CLOEXEC, 3);
		if (copy < 0) {
			int error = errno;
			packet_done(&packet);
			return -error;
		}
		packet.fds[packet.fd_count] = copy;
	}
	queue->packets[(queue->first + queue->count++) % PACKET_QUEUE_MAX] = packet;
	return 0;
}

static int send_packet(int fd, struct packet *packet)
{
	struct iovec part = {.iov_base = packet->text, .iov_len = strlen(packet->text)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int) * PACKET_FDS_MAX)];
	} control = {};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (packet->fd_count) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * packet->fd_count);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int) * packet->fd_count);
		memcpy(CMSG_DATA(&control.header), packet->fds, sizeof(int) * packet->fd_count);
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int packet_queue_flush(struct packet_queue *queue, int fd)
{
	while (queue->count) {
		struct packet *packet = &queue->packets[queue->first];
		int r = send_packet(fd, packet);
		if (r == -EAGAIN)
			return 0;
		if (r < 0 && r != -EINTR)
			return r;
		if (r == 0) {
			packet_done(packet);
			queue->first = (queue->first + 1) % PACKET_QUEUE_MAX;
			queue->count--;
		}
	}
	return 0;
}

void packet_queue_done(struct packet_queue *queue)
{
	for (; queue->count; queue->count--, queue->first = (queue->first + 1) % PACKET_QUEUE_MAX)
		packet_done(&queue->packets[queue->first]);
}
