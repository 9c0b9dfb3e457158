/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Namespaces for tests that would otherwise change the host. */

#include "sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/text.h"

static ino_t host_namespace; /* 0: not in a sandbox yet */

static void require(bool good, const char *what)
{
	if (good)
		return;
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(EXIT_FAILURE);
}

static ino_t present_namespace(void)
{
	struct stat status;
	require(stat("/proc/self/ns/net", &status) == 0, "stat /proc/self/ns/net");
	return status.st_ino;
}

static void require_sandbox(void)
{
	errno = EPERM;
	require(host_namespace != 0 && present_namespace() != host_namespace, "this is not a sandbox");
}

static void prepare_network(void)
{
	require_sandbox();
	sandbox_run("ip link set lo up");
	sandbox_run("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
}

void sandbox_enter(void)
{
	ino_t host = present_namespace();
	require(unshare(CLONE_NEWNET | CLONE_NEWNS) == 0, "unshare (this test needs root)");
	require(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "making the mounts private");
	require(mount("none", "/run", "tmpfs", 0, NULL) == 0, "a tmpfs on /run");
	require(mount("none", "/tmp", "tmpfs", 0, "mode=1777") == 0, "a tmpfs on /tmp");
	/* Packets that are sent on different processors may overtake each other in a veth. */
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	require(sched_setaffinity(0, sizeof one, &one) == 0, "sched_setaffinity");
	host_namespace = host;
	prepare_network();
}

void sandbox_renew(void)
{
	require_sandbox();
	require(unshare(CLONE_NEWNET) == 0, "unshare");
	prepare_network();
}

void sandbox_run(const char *format, ...)
{
	va_list arguments;
	require_sandbox();
	va_start(arguments, format);
	_cleanup_free_ char *command = text_vformat(format, arguments);
	va_end(arguments);
	fflush(stdout);
	int status = system(command);
	errno = ECANCELED;
	require(status == 0, command);
}

static void append_output(struct text *text, const char *command)
{
	char line[1024];
	FILE *output = popen(command, "re");
	require(output != NULL, command);
	while (fgets(line, sizeof line, output))
		text_append(text, "%s", line);
	require(pclose(output) == 0, command);
}

char *sandbox_read(const char *format, ...)
{
	va_list arguments;
	_cleanup_text_ struct text text = TEXT_NULL;
	require_sandbox();
	va_start(arguments, format);
	_cleanup_free_ char *command = text_vformat(format, arguments);
	va_end(arguments);
	append_output(&text, command);
	return text_steal(&text);
}

/*
 * The kernel ends duplicate detection, and with it installs an address's local route, in a work item of its own some time
 * after the address was taken. Waits until all that are there have theirs.
 */
#define WAIT_FOR_LOCAL_ROUTES \
	"timeout 60 sh -c 'until [ $(ip -6 -o address show up | wc -l) -le " \
	"$(ip -6 route show table local type local | wc -l) ]; do sleep 0.01; done'"

char *sandbox_dump(void)
{
	sandbox_run("%s", WAIT_FOR_LOCAL_ROUTES);
	return sandbox_read("ip rule; ip -6 rule; ip -d route show table all; ip -6 -d route show table all; ip -d link; ip address; "
			    "sysctl -a 2>/dev/null | grep -E 'rp_filter|linkdown'");
}

static int open_namespace(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	require(fd >= 0, "open /proc/self/ns/net");
	return fd;
}

static int open_capture(const char *interface)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	address.sll_ifindex = (int)if_nametoindex(interface);
	require(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0, "the capture");
	return fd;
}

void sandbox_uplink_make(struct sandbox_uplink *ret)
{
	_cleanup_close_ int client = open_namespace();
	sandbox_renew();
	ret->namespace_fd = open_namespace();
	sandbox_run("ip link add far type veth peer name eth0 netns /proc/%d/fd/%d", getpid(), client);
	sandbox_run("ip address add 10.1.0.1/24 dev far && ip address add fd01::1/64 dev far nodad && ip link set far up");
	ret->capture_fd = open_capture("far");
	_cleanup_free_ char *router = sandbox_read("ip -br link show far | awk '{print $3}'");
	router[strcspn(router, "\n")] = 0;
	require(setns(client, CLONE_NEWNET) == 0, "setns");
	require_sandbox();
	sandbox_run("ip address add 10.1.0.2/24 dev eth0 && ip address add fd01::2/64 dev eth0 nodad && ip link set eth0 up");
	/* IPv6 comes a moment after the carrier: first multicast, then, each in its own time, the link-local address and the other one. */
	sandbox_run("timeout 60 sh -c 'until [ $(ip -6 route show table local type local dev eth0 | wc -l) -eq 2 ]; do :; done'");
	sandbox_run("ip route add default via 10.1.0.1 && ip -6 route add default via fd01::1");
	/* A packet that waits for its neighbour would be overtaken. */
	sandbox_run("ip neigh add 10.1.0.1 lladdr %s dev eth0 && ip neigh add fd01::1 lladdr %s dev eth0", router, router);
}

void sandbox_uplink_done(struct sandbox_uplink *uplink)
{
	closep(&uplink->namespace_fd);
	closep(&uplink->capture_fd);
}

static bool goes_to_port_7777(const uint8_t *frame, size_t length)
{
	bool v6 = frame[12] == 0x86 && frame[13] == 0xdd;
	size_t protocol = v6 ? 14 + 6 : 14 + 9, ports = v6 ? 14 + 40 : 14 + 20;
	return length >= ports + 4 && frame[protocol] == IPPROTO_TCP && frame[ports + 2] == 7777 >> 8 &&
	       frame[ports + 3] == (7777 & 0xff);
}

int sandbox_uplink_count(struct sandbox_uplink *uplink, const char *payload, const char *until)
{
	struct pollfd waiting = {.fd = uplink->capture_fd, .events = POLLIN};
	uint8_t frame[2048];
	int count = 0;
	while (poll(&waiting, 1, 60000) == 1) {
		struct sockaddr_ll from;
		socklen_t size = sizeof from;
		ssize_t length = recvfrom(uplink->capture_fd, frame, sizeof frame, 0, (struct sockaddr *)&from, &size);
		if (length < 14 || from.sll_pkttype == PACKET_OUTGOING) /* ICMP errors of the router quote the payload */
			continue;
		if (memmem(frame, (size_t)length, until, strlen(until)))
			return count;
		count += payload ? memmem(frame, (size_t)length, payload, strlen(payload)) != NULL
				 : goes_to_port_7777(frame, (size_t)length);
	}
	return -1;
}

#define CGROUP_HOST "/run/cgroup-host"
#define CGROUP_OWN  "/run/cgroup"

static void enter_cgroup(const char *procs)
{
	_cleanup_fclose_ FILE *file = fopen(procs, "we");
	require(file && fprintf(file, "0\n") > 0 && fflush(file) == 0, procs);
	require(unshare(CLONE_NEWCGROUP | CLONE_NEWNS) == 0, "a cgroup namespace");
	require(umount2(CGROUP_HOST, MNT_DETACH) == 0, "umount " CGROUP_HOST);
	(void)umount2("/sys/fs/cgroup", MNT_DETACH); /* a container may have none */
	require(mkdir(CGROUP_OWN, 0755) == 0 && mount("none", CGROUP_OWN, "cgroup2", 0, NULL) == 0, "cgroup v2 at " CGROUP_OWN);
}

int sandbox_cgroup_run(int (*body)(void *userdata), void *userdata)
{
	int status = -1;
	require_sandbox();
	require(mkdir(CGROUP_HOST, 0755) == 0 && mount("none", CGROUP_HOST, "cgroup2", 0, NULL) == 0, "cgroup v2 at " CGROUP_HOST);
	_cleanup_free_ char *path = text_format(CGROUP_HOST "/holdfast-test-%d", getpid());
	_cleanup_free_ char *procs = text_format("%s/cgroup.procs", path);
	require(mkdir(path, 0755) == 0, path);
	fflush(stdout);
	pid_t child = fork();
	require(child >= 0, "fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is ended leaves nobody behind */
		enter_cgroup(procs);
		exit(body(userdata));
	}
	require(waitpid(child, &status, 0) == child && WIFEXITED(status), "the test in its cgroup");
	require(rmdir(path) == 0, path);
	return WEXITSTATUS(status);
}
