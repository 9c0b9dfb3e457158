/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "network/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "util/macro.h"
#include "util/text.h"

#define PORT_DNS    53
#define PORT_CLOSED 33434 /* traceroute(8)'s: nobody listens there */

struct probe {
	struct ip_address target;
	probe_answered answered;
	void *userdata;
	int echo_fd, datagram_fd; /* -1: not to be had */
	sd_event_source *echo, *datagram;
	uint16_t sequence;
};

static socklen_t make_address(const struct ip_address *address, uint16_t port, struct sockaddr_storage *ret)
{
	*ret = (struct sockaddr_storage){.ss_family = (sa_family_t)address->family};
	if (address->family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, address->bytes, 4);
		return sizeof *in;
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, address->bytes, 16);
	return sizeof *in6;
}

/* Whether ADDRESS is the target's: an error of this host's own making comes from another. */
static bool is_target(const struct probe *probe, const struct sockaddr *address)
{
	const void *bytes = address->sa_family == AF_INET
	                            ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
	                            : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;
	return address->sa_family == probe->target.family &&
	       memcmp(bytes, probe->target.bytes, address->sa_family == AF_INET ? 4 : 16) == 0;
}

/* Takes one error off FD's queue. 1: the target said that nobody listens; 0: something else; negative: there is none. */
static int read_error(struct probe *probe, int fd)
{
	char bytes[64];
	union {
		struct cmsghdr header;
		char bytes[512];
	} control = {};
	struct iovec part = {.iov_base = bytes, .iov_len = sizeof bytes};
	struct msghdr message = {
	        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return -errno;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
		bool four = header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_RECVERR;
		bool six = header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_RECVERR;
		if (!four && !six)
			continue;
		const struct sock_extended_err *error = (const void *)CMSG_DATA(header);
		return error->ee_errno == ECONNREFUSED && error->ee_origin != SO_EE_ORIGIN_LOCAL &&
		       is_target(probe, SO_EE_OFFENDER(error));
	}
	return 0;
}

static int on_input(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct probe *probe = userdata;
	char bytes[512];
	bool answer = false;
	int r;
	for (int i = 0; i < 16 && (r = read_error(probe, fd)) >= 0; i++)
		answer = answer || r > 0;
	for (int i = 0; i < 16; i++) {
		ssize_t length = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT); /* connected: from the target alone */
		if (length < 0)
			break;
		answer = true;
	}
	if (answer)
		probe->answered(probe->userdata);
	return 0;
}

static int open_socket(const char *interface, const struct ip_address *target, int protocol, uint16_t port, int *ret_fd)
{
	struct sockaddr_storage address;
	socklen_t size = make_address(target, port, &address);
	bool six = target->family == AF_INET6;
	int yes = 1;
	_cleanup_close_ int fd = socket(target->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, interface, (socklen_t)strlen(interface) + 1) < 0 ||
	        setsockopt(fd, six ? IPPROTO_IPV6 : IPPROTO_IP, six ? IPV6_RECVERR : IP_RECVERR, &yes, sizeof yes) < 0 ||
	        connect(fd, (struct sockaddr *)&address, size) < 0)
		return -errno;
	*ret_fd = STEAL_FD(fd);
	return 0;
}

int probe_new(struct probe **ret, sd_event *event, const char *interface, const struct ip_address *target, bool resolver,
        probe_answered answered, void *userdata)
{
	struct probe *probe = xcalloc(1, sizeof *probe);
	*probe = (struct probe){
	        .target = *target, .answered = answered, .userdata = userdata, .echo_fd = -1, .datagram_fd = -1};
	int echo = target->family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	(void)open_socket(interface, target, echo, 0, &probe->echo_fd);
	int r = open_socket(interface, target, IPPROTO_UDP, resolver ? PORT_DNS : PORT_CLOSED, &probe->datagram_fd);
	if (r == 0)
		r = sd_event_add_io(event, &probe->datagram, probe->datagram_fd, EPOLLIN, on_input, probe);
	if (r >= 0 && probe->echo_fd >= 0)
		r = sd_event_add_io(event, &probe->echo, probe->echo_fd, EPOLLIN, on_input, probe);
	if (r < 0) {
		probe_free(probe);
		return r;
	}
	*ret = probe;
	return 0;
}

void probe_send(struct probe *probe)
{
	/* DNS: who is a name server of the root? Recursion is not desired, so that it is cheap. RFC 1035, 4.1. */
	uint8_t query[] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1};
	uint8_t request[8] = {probe->target.family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST};
	uint16_t sequence = htons(++probe->sequence);
	memcpy(query, &sequence, sizeof sequence);
	memcpy(request + 6, &sequence, sizeof sequence); /* the kernel sets the identifier and the checksum */
	/* An error that waits from before is taken and dropped by the first call. */
	for (int i = 0; i < 2 && send(probe->datagram_fd, query, sizeof query, MSG_DONTWAIT | MSG_NOSIGNAL) < 0; i++)
		;
	for (int i = 0; probe->echo_fd >= 0 && i < 2 &&
	                send(probe->echo_fd, request, sizeof request, MSG_DONTWAIT | MSG_NOSIGNAL) < 0;
	        i++)
		;
}

struct probe *probe_free(struct probe *probe)
{
	if (!probe)
		return NULL;
	sd_event_source_disable_unref(probe->echo);
	sd_event_source_disable_unref(probe->datagram);
	closep(&probe->echo_fd);
	closep(&probe->datagram_fd);
	free(probe);
	return NULL;
}
