/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The wireguard driver with a real wireguard-go on both sides. The program leaves the host's network and mount
 * namespaces before anything else and does nothing if it could not: client and server live in namespaces that end with
 * it.
 */

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "suite.h"
#include "tunnel/control-socket.h"
#include "tunnel/driver.h"
#include "tunnel/process.h"
#include "tunnel/wireguard-go.h"
#include "tunnel/worker.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

#define LINK    "hf-t"
#define CONTROL RUNSTATEDIR "/wireguard/" LINK ".sock"
#define MARK    0x68660000u
#define NOBODY  65534
#define SOCKET  "/run/worker.sock"
#define FOREVER (60 * USEC_PER_SEC) /* longer than whatever is awaited may take */
#define INITIATION_BYTES 148 /* of a handshake (the whitepaper, 5.4.2) */

static const struct worker_resolvers no_resolvers;
static char server_key[64], server_public[64], client_key[64], client_public[64], stranger_public[64];
static pid_t server_namespace, server_process;

/* What the driver said. */
static struct {
	bool proceed; /* as soon as it is contacting */
	unsigned contacting, up, traffic, will_stop, stopped;
	struct endpoint endpoint;
	struct tunnel_network network;
	struct tunnel_traffic counters;
	enum tunnel_error error;
	char detail[WORKER_DETAIL_MAX];
} heard;

static struct driver_session *session;
static sd_event *event;
static int tun_fd = -1, control_fd = -1;

static uint64_t now_usec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

static _printf_(1, 2) int run(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	_cleanup_free_ char *command = text_vformat(format, arguments);
	va_end(arguments);
	int status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Things that the rest is built on: without them no test says anything. */
static void need(bool good, const char *what)
{
	if (good)
		return;
	printf("Bail out! %s\n", what);
	exit(EXIT_FAILURE);
}

static void first_line(char buffer[64], const char *command)
{
	FILE *pipe = popen(command, "r");
	need(pipe && fgets(buffer, 64, pipe), command);
	buffer[strcspn(buffer, "\n")] = 0;
	pclose(pipe);
}

static void make_keys(char private_key[64], char public_key[64])
{
	first_line(private_key, "wg genkey");
	_cleanup_free_ char *command = text_format("echo '%s' | wg pubkey", private_key);
	first_line(public_key, command);
}

static void leave_the_host(void)
{
	struct stat before, after;
	need(stat("/proc/self/ns/net", &before) == 0, "/proc is not there");
	need(unshare(CLONE_NEWNET | CLONE_NEWNS) == 0, "this test needs root, for namespaces of its own");
	need(stat("/proc/self/ns/net", &after) == 0 && before.st_ino != after.st_ino,
	        "still in the host's network namespace");
	need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount("tmpfs", "/run", "tmpfs", 0, NULL) == 0,
	        "/run could not be made private");
}

/* A process that holds the server's namespace. */
static pid_t make_namespace(void)
{
	int ends[2];
	char byte;
	need(pipe2(ends, O_CLOEXEC) == 0, "no pipe");
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) == 0 && write(ends[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	need(read(ends[0], &byte, 1) == 1, "no namespace for the server");
	close(ends[0]);
	close(ends[1]);
	return pid;
}

static int die_with_test(const void *userdata)
{
	return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

static void start_server(void)
{
	_cleanup_free_ char *nsenter = NULL, *target = text_format("%d", (int)server_namespace);
	int pidfd;
	need(process_find("nsenter", &nsenter) == 0, "nsenter is missing");
	const struct process_spec spec = {
	        .program = nsenter,
	        .argv = (const char *const[]){"nsenter", "-t", target, "-n", WIREGUARD_GO, "-f", "wgs", NULL},
	        .envp = (const char *const[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "WG_PROCESS_FOREGROUND=1",
	                "LOG_LEVEL=error", NULL},
	        .fds = (const int[]){-1, STDERR_FILENO, STDERR_FILENO},
	        .fd_count = 3,
	        .cgroup_fd = -1,
	        .prepare = die_with_test,
	};
	need(process_start(&spec, &server_process, &pidfd) == 0, "the server's wireguard-go does not start");
	close(pidfd);
	/* Asked now and then, so that the asking does not take the processor from what is waited for. */
	need(run("timeout 30 sh -c 'until wg show wgs >/dev/null 2>&1; do sleep 0.02; done'") == 0,
	        "the server's wireguard-go is not ready");
	need(run("echo '%s' > /run/server.key; wg set wgs private-key /run/server.key listen-port 51820 peer '%s' "
	         "allowed-ips 10.9.0.2/32",
	             server_key, client_public) == 0,
	        "the server could not be configured");
	need(run("nsenter -t %d -n sh -c 'ip address add 10.9.0.1/24 dev wgs && ip link set wgs up'",
	             (int)server_namespace) == 0,
	        "the server has no address");
}

static void build_lab(void)
{
	leave_the_host();
	make_keys(server_key, server_public);
	make_keys(client_key, client_public);
	make_keys(stranger_public, stranger_public);
	server_namespace = make_namespace();
	need(run("ip link set lo up && ip link add eth0 type veth peer name eth0 netns %d && "
	         "echo 1 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6 && ip address add 10.2.0.1/24 dev eth0 && ip link "
	         "set eth0 up",
	             (int)server_namespace) == 0,
	        "the client has no link");
	need(run("nsenter -t %d -n sh -c 'ip link set lo up && ip address add 10.2.0.2/24 dev eth0 && ip link set eth0 "
	         "up'",
	             (int)server_namespace) == 0,
	        "the server has no link");
	start_server();
}

/* The daemon's part: a persistent tun that is up, and the control socket, which belongs to UID. */
static void make_link(uid_t uid)
{
	struct ifreq request = {.ifr_flags = IFF_TUN};
	struct wireguard_go program;
	need(wireguard_go_probe(&program) == 0, "wireguard-go is missing");
	if (!program.wants_header)
		request.ifr_flags |= IFF_NO_PI;
	strcpy(request.ifr_name, LINK);
	tun_fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	need(tun_fd >= 0 && ioctl(tun_fd, TUNSETIFF, &request) == 0 && ioctl(tun_fd, TUNSETPERSIST, 1) == 0, "no tun");
	need(run("ip address add 10.9.0.2/32 dev " LINK " && ip link set " LINK
	         " up && ip route add 10.9.0.0/24 dev " LINK) == 0,
	        "the tun could not be configured");
	need(control_socket_make(CONTROL, uid, &control_fd) == 0, "no control socket");
}

static int proceed_later(sd_event_source *source, void *userdata)
{
	return driver_wireguard.proceed(session);
}

static void on_contacting(void *worker, const struct endpoint *endpoint)
{
	heard.contacting++;
	heard.endpoint = *endpoint;
	sd_event_source *source = NULL;
	if (heard.proceed && sd_event_add_defer(event, &source, proceed_later, NULL) >= 0)
		sd_event_source_set_floating(source, true);
	sd_event_source_unref(source);
}

static void on_up(void *worker, const struct tunnel_network *network)
{
	heard.up++;
	heard.network = *network;
}

static void on_traffic(void *worker, const struct tunnel_traffic *traffic)
{
	heard.traffic++;
	heard.counters = *traffic;
}

static void on_will_stop(void *worker, enum tunnel_error error, const char *detail)
{
	heard.will_stop++;
	heard.error = error;
	worker_detail_set(heard.detail, detail);
}

static void on_stopped(void *worker)
{
	heard.stopped++;
}

/* Runs the loop until *COUNT is not 0, or USEC are over; returns how long that took. */
static uint64_t await(const unsigned *count, uint64_t usec)
{
	uint64_t begin = now_usec(), took = 0;
	for (; *count == 0 && took < usec; took = now_usec() - begin)
		sd_event_run(event, usec - took);
	return took;
}

static void forget(void)
{
	bool proceed = heard.proceed;
	memset(&heard, 0, sizeof heard);
	heard.proceed = proceed;
}

/* The tunnel's document; the caller owns it. */
static json_object *make_document(const char *endpoint, const char *public_key)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	json_object *document = NULL;
	_cleanup_free_ char *text =
	        text_format("{\"id\": \"t\", \"driver\": \"wireguard\", \"settings\": {\"privateKey\": \"%s\", "
	                    "\"addresses\": [\"10.9.0.2/32\"]}, \"endpoints\": [{\"address\": \"%s\", \"publicKey\": "
	                    "\"%s\"}], \"dns\": [\"10.9.0.1\"]}",
	                client_key, endpoint, public_key);
	need(json_parse_strict(text, strlen(text), &document, &problems) == 0, "the test's own document is no JSON");
	return document;
}

static void on_ask_device(void *worker, enum device_request request);

static void open_session(const char *endpoint, const char *public_key)
{
	_cleanup_json_ json_object *document = make_document(endpoint, public_key);
	const struct driver_host host = {
		.event = event,
		.contacting = on_contacting,
		.up = on_up,
		.traffic = on_traffic,
		.will_stop = on_will_stop,
		.stopped = on_stopped,
		.ask_device = on_ask_device,
	};
	memset(&heard, 0, sizeof heard);
	heard.proceed = true;
	const struct worker_start start = {
	        .tunnel = document, .mark = MARK, .tun_fd = tun_fd, .control_fd = control_fd};
	need(driver_wireguard.open(&host, &start, &session) == 0, "no session");
}

static void set_up(void)
{
	need(sd_event_new(&event) >= 0, "no event loop");
	make_link(0);
}

static void tear_down(void)
{
	if (session)
		driver_wireguard.close(session);
	session = NULL;
	event = sd_event_unref(event);
	closep(&tun_fd);
	closep(&control_fd);
	control_socket_remove(CONTROL);
	run("ip link delete " LINK " 2>/dev/null");
}

/* The client's pid, by its command line among the children of PARENT; 0: there is none. */
static pid_t client_of(pid_t wanted)
{
	static const char line[] = WIREGUARD_GO "\0-f\0" LINK;
	pid_t found = 0;
	glob_t paths = {};
	glob("/proc/[0-9]*/cmdline", 0, NULL, &paths);
	for (size_t i = 0; i < paths.gl_pathc; i++) {
		_cleanup_free_ char *text = NULL, *stat_path = NULL, *stat_text = NULL;
		size_t length;
		int parent = 0, pid = atoi(paths.gl_pathv[i] + strlen("/proc/"));
		stat_path = text_format("/proc/%d/stat", pid);
		if (file_read(paths.gl_pathv[i], &text, &length) < 0 || length != sizeof line ||
		        memcmp(text, line, length) != 0)
			continue;
		if (file_read(stat_path, &stat_text, &length) == 0 &&
		        sscanf(strrchr(stat_text, ')'), ") %*c %d", &parent) == 1 && parent == wanted)
			found = pid;
	}
	globfree(&paths);
	return found;
}

static pid_t client_pid(void)
{
	return client_of(getpid());
}

static void bring_up(void)
{
	open_session("10.2.0.2:51820/udp", server_public);
	CU_ASSERT_EQUAL(driver_wireguard.start(session, 0, &no_resolvers), 0);
	uint64_t took = await(&heard.up, FOREVER);
	CU_ASSERT_EQUAL(heard.contacting, 1);
	CU_ASSERT_EQUAL(heard.up, 1);
	CU_ASSERT_EQUAL(heard.will_stop, 0);
	printf("# up after %.1f ms%s%s\n", (double)took / 1000, heard.detail[0] ? ": " : "", heard.detail);
}

/* A TCP connection to a port of the server where nobody listens: the refusal came through the tunnel, both ways. */
static bool carries(void)
{
	const struct sockaddr_in address = {
	        .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x0a090001) /* 10.9.0.1 */};
	const struct timeval limit = {.tv_sec = 2};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0, "no socket");
	return connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 && errno == ECONNREFUSED;
}

static void a_session_comes_up_and_carries(void)
{
	struct endpoint expected;
	set_up();
	bring_up();
	CU_ASSERT_EQUAL(endpoint_parse("10.2.0.2:51820/udp", &expected), 0);
	CU_ASSERT_TRUE(endpoint_equal(&heard.endpoint, &expected));
	CU_ASSERT_TRUE(endpoint_equal(&heard.network.endpoint, &expected));
	CU_ASSERT_EQUAL(heard.network.mtu, 1420);
	CU_ASSERT_EQUAL(heard.network.address_count, 1);
	CU_ASSERT_EQUAL(heard.network.dns_count, 1);
	CU_ASSERT_TRUE(carries());
	await(&heard.traffic, FOREVER);
	CU_ASSERT_TRUE(
	        heard.counters.rx_bytes > 0 && heard.counters.tx_bytes > 0 && heard.counters.last_handshake_usec > 0);
	/* The administrator's own tool sees it; the keepalive of connecting is gone, the mark is set. */
	CU_ASSERT_EQUAL(run("test \"$(wg show " LINK " persistent-keepalive | cut -f2)\" = off"), 0);
	CU_ASSERT_EQUAL(run("test \"$(wg show " LINK " fwmark)\" = 0x68660000"), 0);
	tear_down();
}

static unsigned long long packets_sent(void)
{
	char line[64];
	first_line(line, "cat /sys/class/net/eth0/statistics/tx_packets");
	return strtoull(line, NULL, 10);
}

static void nothing_is_sent_before_proceed(void)
{
	static const unsigned never;
	set_up();
	open_session("10.2.0.2:51820/udp", server_public);
	heard.proceed = false;
	need(run("mountpoint -q /sys/class || mount -t sysfs sysfs /sys") == 0, "no /sys of this namespace");
	unsigned long long before = packets_sent();
	CU_ASSERT_EQUAL(driver_wireguard.start(session, 0, &no_resolvers), 0);
	await(&never, 300 * USEC_PER_MSEC);
	CU_ASSERT_EQUAL(heard.contacting, 1);
	CU_ASSERT_EQUAL(heard.up, 0);
	CU_ASSERT_EQUAL(packets_sent(), before);
	CU_ASSERT_EQUAL(driver_wireguard.proceed(session), 0);
	await(&heard.up, FOREVER);
	CU_ASSERT_EQUAL(heard.up, 1);
	CU_ASSERT_TRUE(packets_sent() > before);
	tear_down();
}

static void a_killed_client_is_known_at_once_and_restarts_on_the_same_link(void)
{
	set_up();
	bring_up();
	pid_t first = client_pid();
	CU_ASSERT_TRUE(first > 0);
	forget();
	uint64_t begin = now_usec();
	kill(first, SIGKILL);
	await(&heard.will_stop, FOREVER);
	uint64_t known = now_usec() - begin;
	CU_ASSERT_EQUAL(heard.will_stop, 1);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_STRING_EQUAL(heard.detail, "wireguard-go was killed by signal 9");
	CU_ASSERT_EQUAL(driver_wireguard.start(session, 0, &no_resolvers), 0);
	await(&heard.up, FOREVER);
	CU_ASSERT_EQUAL(heard.up, 1);
	CU_ASSERT_TRUE(carries());
	printf("# known after %.1f ms, through the tunnel again after %.1f ms\n", (double)known / 1000,
	        (double)(now_usec() - begin) / 1000);
	tear_down();
}

static void a_restart_ends_the_client_that_runs(void)
{
	set_up();
	bring_up();
	pid_t first = client_pid();
	forget();
	CU_ASSERT_EQUAL(driver_wireguard.start(session, 0, &no_resolvers), 0);
	CU_ASSERT_TRUE(kill(first, 0) < 0 && errno == ESRCH);
	await(&heard.up, FOREVER);
	CU_ASSERT_EQUAL(heard.up, 1);
	/* The server takes no second handshake within 20 ms of the first; the client would begin another after 5 s: the driver knows. */
	await(&heard.traffic, FOREVER);
	CU_ASSERT_TRUE(heard.counters.tx_bytes >= INITIATION_BYTES && heard.counters.tx_bytes < 2 * INITIATION_BYTES);
	CU_ASSERT_EQUAL(heard.will_stop, 0);
	CU_ASSERT_NOT_EQUAL(client_pid(), first);
	tear_down();
}

static void a_stop_ends_the_client(void)
{
	set_up();
	bring_up();
	driver_wireguard.stop(session);
	await(&heard.stopped, FOREVER);
	CU_ASSERT_EQUAL(heard.stopped, 1);
	CU_ASSERT_EQUAL(heard.will_stop, 0);
	CU_ASSERT_EQUAL(client_pid(), 0);
	tear_down();
}

static void a_deleted_link_is_an_interface_failure(void)
{
	set_up();
	bring_up();
	CU_ASSERT_EQUAL(run("ip link delete " LINK), 0);
	await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_TUN_INTERFACE_FAILURE);
	CU_ASSERT_STRING_EQUAL(heard.detail, "the link hf-t was deleted");
	tear_down();
}

static void a_link_that_goes_down_is_an_interface_failure(void)
{
	set_up();
	bring_up();
	CU_ASSERT_EQUAL(run("ip link set " LINK " down"), 0);
	await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_TUN_INTERFACE_FAILURE);
	CU_ASSERT_STRING_EQUAL(heard.detail, "the link hf-t is down");
	CU_ASSERT_EQUAL(client_pid(), 0);
	tear_down();
}

static void a_client_that_hangs_is_killed_as_unresponsive(void)
{
	set_up();
	bring_up();
	pid_t pid = client_pid();
	kill(pid, SIGSTOP);
	await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_WORKER_UNRESPONSIVE);
	CU_ASSERT_STRING_EQUAL(heard.detail, "wireguard-go did not answer for 5 s");
	CU_ASSERT_EQUAL(client_pid(), 0);
	tear_down();
}

static void a_wrong_key_is_no_session_after_ten_seconds(void)
{
	set_up();
	open_session("10.2.0.2:51820/udp", stranger_public);
	CU_ASSERT_EQUAL(driver_wireguard.start(session, 0, &no_resolvers), 0);
	uint64_t took = await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard.detail, "no handshake with 10.2.0.2:51820/udp within 10 s"));
	CU_ASSERT_TRUE(took >= 10 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(client_pid(), 0);
	CU_ASSERT_EQUAL(heard.up, 0);
	tear_down();
}

static void no_route_is_said_without_trying(void)
{
	set_up();
	open_session("198.51.100.1:51820/udp", server_public);
	CU_ASSERT_EQUAL(driver_wireguard.start(session, 0, &no_resolvers), 0);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_NETWORK_UNREACHABLE);
	CU_ASSERT_STRING_EQUAL(heard.detail, "there is no route to 198.51.100.1:51820/udp");
	CU_ASSERT_EQUAL(heard.contacting, 0);
	tear_down();
}

static void a_missing_program_is_named_with_its_remedy(void)
{
	_cleanup_free_ char *path = text_dup(getenv("PATH"));
	set_up();
	open_session("10.2.0.2:51820/udp", server_public);
	setenv("PATH", "/nowhere", 1);
	CU_ASSERT_EQUAL(driver_wireguard.start(session, 0, &no_resolvers), 0);
	setenv("PATH", path, 1);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_WORKER_START_FAILED);
	CU_ASSERT_STRING_EQUAL(heard.detail, "wireguard-go is not installed: apt install wireguard-go");
	tear_down();
}

/* The daemon's part where the kernel carries: what was asked for, in order, and what it answers. */
static struct {
	char asked[64]; /* a letter each */
	uint64_t handshake_usec;
	enum tunnel_error error;
} kernel;

static const char request_letters[] = "csi"; /* of enum device_request */

static int answer_later(sd_event_source *source, void *userdata)
{
	char last = kernel.asked[strlen(kernel.asked) - 1];
	struct device_answer answer = {.request = (enum device_request)(strchr(request_letters, last) - request_letters), .error = kernel.error};
	if (answer.request == DEVICE_INSPECT)
		answer.traffic = (struct tunnel_traffic){7, 9, kernel.handshake_usec};
	driver_wireguard.device_answered(session, &answer);
	return 0;
}

static void on_ask_device(void *worker, enum device_request request)
{
	size_t length = strlen(kernel.asked);
	sd_event_source *source = NULL;
	if (length + 1 < sizeof kernel.asked)
		kernel.asked[length] = request_letters[request];
	if (sd_event_add_defer(event, &source, answer_later, NULL) >= 0)
		sd_event_source_set_floating(source, true);
	sd_event_source_unref(source);
}

static void begin_on_kernel(void)
{
	memset(&kernel, 0, sizeof kernel);
	set_up();
	closep(&tun_fd);
	open_session("10.2.0.2:51820/udp", server_public);
	CU_ASSERT_EQUAL(driver_wireguard.start(session, 0, &no_resolvers), 0);
}

static void the_kernels_device_is_the_daemons(void)
{
	begin_on_kernel();
	CU_ASSERT_EQUAL(client_pid(), 0);
	CU_ASSERT_STRING_EQUAL(kernel.asked, ""); /* nothing before proceed() */
	while (!strstr(kernel.asked, "ii"))
		sd_event_run(event, FOREVER);
	CU_ASSERT_EQUAL(strncmp(kernel.asked, "cii", 3), 0);
	CU_ASSERT_EQUAL(heard.up, 0); /* there was no handshake yet */
	kernel.handshake_usec = 1;
	await(&heard.up, FOREVER);
	await(&heard.traffic, FOREVER);
	CU_ASSERT_EQUAL(heard.up, 1);
	CU_ASSERT_PTR_NOT_NULL(strstr(kernel.asked, "isi")); /* the keepalive is set once it stands */
	CU_ASSERT_EQUAL(heard.counters.tx_bytes, 9);
	tear_down();
}

static void what_the_kernel_refuses_is_a_stop(void)
{
	begin_on_kernel();
	kernel.error = TUNNEL_ERROR_TUN_INTERFACE_FAILURE;
	await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_TUN_INTERFACE_FAILURE);
	CU_ASSERT_EQUAL(heard.up, 0);
	tear_down();
}

/* What the worker says, in the words of `heard`. */
static void on_message(struct worker *worker, const struct worker_message *message, void *userdata)
{
	if (message->type == WORKER_MESSAGE_CONTACTING) {
		heard.contacting++;
		CU_ASSERT_EQUAL(worker_send_proceed(worker), 0);
	} else if (message->type == WORKER_MESSAGE_UP ||
	           (message->type == WORKER_MESSAGE_HELLO && message->hello.phase == WORKER_UP)) {
		on_up(NULL, message->type == WORKER_MESSAGE_UP ? &message->network : &message->hello.network);
	} else if (message->type == WORKER_MESSAGE_WILL_STOP) {
		on_will_stop(NULL, message->error, message->detail);
	}
}

static void on_gone(struct worker *worker, enum tunnel_error error, const char *detail, void *userdata)
{
	on_stopped(NULL);
	heard.error = error;
}

static struct worker_server *serve(void)
{
	static const struct worker_callbacks callbacks = {on_message, on_gone};
	struct worker_server *server = NULL;
	need(worker_server_new(&server, event, SOCKET, &callbacks, NULL) == 0, "no socket for workers");
	return server;
}

static void await_end(pid_t pid)
{
	uint64_t begin = now_usec();
	while (kill(pid, 0) == 0 && now_usec() - begin < FOREVER)
		sched_yield();
	CU_ASSERT_TRUE(kill(pid, 0) < 0 && errno == ESRCH);
}

/*
 * The whole way, with the real worker as a user that may nothing but CAP_NET_ADMIN: up; the client killed, restarted in
 * place by the same process; the daemon gone and back while the tunnel goes on; the worker killed, and its client with
 * it.
 */
static void a_worker_without_root_holds_a_session_through_it_all(void)
{
	_cleanup_free_ char *program = realpath("./holdfast-worker", NULL);
	_cleanup_json_ json_object *document = make_document("10.2.0.2:51820/udp", server_public);
	char nonce[WORKER_NONCE_SIZE * 2 + 1];
	struct worker *worker = NULL;
	memset(&heard, 0, sizeof heard);
	need(program && sd_event_new(&event) >= 0, "no worker, or no event loop");
	make_link(NOBODY);
	struct worker_server *server = serve();
	const struct worker_spec spec = {.tunnel = "t",
	        .program = program,
	        .socket_path = SOCKET,
	        .uid = NOBODY,
	        .gid = NOBODY,
	        .net_admin = true,
	        .cgroup_fd = -1};
	CU_ASSERT_EQUAL_FATAL(worker_spawn(server, &spec, &worker), 0);
	const struct worker_start start = {
	        .tunnel = document, .mark = MARK, .tun_fd = tun_fd, .control_fd = control_fd};
	CU_ASSERT_EQUAL(worker_send_start(worker, &start), 0);
	await(&heard.up, FOREVER);
	CU_ASSERT_EQUAL(heard.up, 1);
	CU_ASSERT_TRUE(carries());
	pid_t pid = worker_pid(worker);

	forget();
	uint64_t begin = now_usec();
	kill(client_of(pid), SIGKILL);
	await(&heard.will_stop, FOREVER);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_WORKER_CRASHED);
	CU_ASSERT_EQUAL(worker_send_restart(worker, 0, &no_resolvers), 0);
	await(&heard.up, FOREVER);
	CU_ASSERT_TRUE(carries());
	printf("# from the client's death to traffic: %.1f ms\n", (double)(now_usec() - begin) / 1000);
	CU_ASSERT_EQUAL(worker_pid(worker), pid);

	forget();
	strcpy(nonce, worker_nonce(worker));
	worker_server_free(server);
	CU_ASSERT_TRUE(carries());
	server = serve();
	CU_ASSERT_EQUAL_FATAL(worker_adopt(server, "t", pid, nonce, &worker), 0);
	await(&heard.up, FOREVER);
	CU_ASSERT_EQUAL(heard.up, 1);
	CU_ASSERT_EQUAL(heard.contacting, 0);
	CU_ASSERT_EQUAL(heard.network.mtu, 1420);

	pid_t client = client_of(pid);
	CU_ASSERT_TRUE(client > 0);
	kill(pid, SIGKILL);
	await(&heard.stopped, FOREVER);
	CU_ASSERT_EQUAL(heard.error, TUNNEL_ERROR_WORKER_CRASHED);
	waitpid(pid, NULL, 0); /* adopted workers are init's to wait for, but this test is still their parent */
	await_end(client);
	worker_server_free(server);
	tear_down();
}

static void versions_say_whether_packets_have_a_header(void)
{
	CU_ASSERT_TRUE(wireguard_go_from_version("wireguard-go v0.0.20220316\n\nUserspace").wants_header);
	CU_ASSERT_EQUAL(wireguard_go_from_version("wireguard-go v0.0.20220316").version, 20220316);
	CU_ASSERT_FALSE(wireguard_go_from_version("wireguard-go v0.0.20230223").wants_header);
	CU_ASSERT_FALSE(wireguard_go_from_version("wireguard-go v0.0.20250522").wants_header);
	CU_ASSERT_FALSE(wireguard_go_from_version("wireguard-go devel").wants_header);
}

static const struct test tests[] = {
        {"versions say whether packets have a header", versions_say_whether_packets_have_a_header},
        {"a session comes up and carries", a_session_comes_up_and_carries},
        {"nothing is sent before proceed", nothing_is_sent_before_proceed},
        {"a killed client is known at once and restarts on the same link",
                a_killed_client_is_known_at_once_and_restarts_on_the_same_link},
        {"a restart ends the client that runs", a_restart_ends_the_client_that_runs},
        {"a stop ends the client", a_stop_ends_the_client},
        {"a deleted link is an interface failure", a_deleted_link_is_an_interface_failure},
        {"a link that goes down is an interface failure", a_link_that_goes_down_is_an_interface_failure},
        {"a client that hangs is killed as unresponsive", a_client_that_hangs_is_killed_as_unresponsive},
        {"no route is said without trying", no_route_is_said_without_trying},
        {"the kernel's device is the daemon's", the_kernels_device_is_the_daemons},
        {"what the kernel refuses is a stop", what_the_kernel_refuses_is_a_stop},
        {"a missing program is named with its remedy", a_missing_program_is_named_with_its_remedy},
        {"a worker without root holds a session through it all", a_worker_without_root_holds_a_session_through_it_all},
        {"a wrong key is no session after ten seconds", a_wrong_key_is_no_session_after_ten_seconds},
};

int main(int argc, char **argv)
{
	build_lab();
	int status = suite_run("wireguard", tests, ELEMENTSOF(tests), argc, argv);
	kill(server_process, SIGKILL);
	kill(server_namespace, SIGKILL);
	while (wait(NULL) > 0)
		;
	return status;
}
