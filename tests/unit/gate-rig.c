/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "gate-rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "gate-plans.h"
#include "util/text.h"

int nft(const char *command)
{
	static struct nft_ctx *hand;
	if (!hand) {
		hand = nft_ctx_new(NFT_CTX_DEFAULT);
		nft_ctx_buffer_error(hand);
		nft_ctx_buffer_output(hand);
	}
	return nft_run_cmd_from_buffer(hand, command);
}

int nft_program(const char *command)
{
	pid_t pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execl("/usr/sbin/nft", "nft", command, NULL);
		_exit(127);
	}
	int status = -1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

char *list_table(void)
{
	struct nft_ctx *nft_ctx = nft_ctx_new(NFT_CTX_DEFAULT);
	nft_ctx_buffer_output(nft_ctx);
	nft_ctx_buffer_error(nft_ctx);
	nft_ctx_output_set_flags(nft_ctx, NFT_CTX_OUTPUT_STATELESS);
	nft_run_cmd_from_buffer(nft_ctx, "list table inet " GATE_TABLE);
	char *text = text_dup(nft_ctx_get_output_buffer(nft_ctx));
	nft_ctx_free(nft_ctx);
	return text;
}

bool table_has(const char *text)
{
	_cleanup_free_ char *table = list_table();
	return strstr(table, text) != NULL;
}

struct gate *gate_with(const char *name)
{
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate *gate = NULL;
	CU_ASSERT_EQUAL_FATAL(nft("flush ruleset"), 0);
	CU_ASSERT_EQUAL_FATAL(gate_new(&gate), 0);
	struct gate_plan plan = gate_plan_named(name, &settings);
	CU_ASSERT_EQUAL_FATAL(gate_apply(gate, &plan), 0);
	return gate;
}

int apply(struct gate *gate, const char *name)
{
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	struct gate_plan plan = gate_plan_named(name, &settings);
	return gate_apply(gate, &plan);
}

void on_tampering(const struct gate_tampering *tampering, void *userdata)
{
	struct heard *heard = userdata;
	heard->count++;
	heard->healed += tampering->healed;
	heard->suppressed += tampering->suppressed;
	heard->pid = tampering->pid;
	heard->usec = tampering->healed_usec;
	heard->error = tampering->error;
	snprintf(heard->process, sizeof heard->process, "%s", tampering->process);
}

void turn(sd_event *event, uint64_t quiet_msec)
{
	for (unsigned i = 0; i < 1000 && sd_event_run(event, quiet_msec * USEC_PER_MSEC) > 0; i++)
		;
}

void watch(struct watched *watched, const char *plan)
{
	*watched = (struct watched){.gate = gate_with(plan)};
	CU_ASSERT_TRUE_FATAL(sd_event_new(&watched->event) >= 0);
	CU_ASSERT_EQUAL_FATAL(gate_watch(watched->gate, watched->event, on_tampering, &watched->heard), 0);
	turn(watched->event, 20);
	CU_ASSERT_EQUAL(watched->heard.count, 0);
}

void watched_done(struct watched *watched)
{
	gate_free(watched->gate);
	sd_event_unref(watched->event);
}

uint32_t generation_of(struct gate *gate)
{
	uint32_t generation = 0;
	CU_ASSERT_EQUAL(readback_generation(gate->socket, &generation), 0);
	return generation;
}

int send_by(int style, const char *address, uint16_t port, uint32_t mark)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
	_cleanup_close_ int fd = socket(AF_INET, style | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error = 0;
	socklen_t size = sizeof error;
	inet_pton(AF_INET, address, &to.sin_addr);
	if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) < 0)
		return errno;
	if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)
		return errno;
	if (style == SOCK_DGRAM && send(fd, "x", 1, 0) < 0)
		return errno;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error;
}

int send_to(const char *address, uint16_t port, uint32_t mark)
{
	return send_by(SOCK_DGRAM, address, port, mark);
}

uint64_t refused_out(struct gate *gate)
{
	CU_ASSERT_EQUAL(gate_read_counters(gate), 0);
	return gate_counters(gate).out;
}

void make_links(void)
{
	static bool made;
	/* No IPv6: what the kernel sends by itself (MLD, DAD) would be counted among the packets of the tests. */
	if (!made && system("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1 && ip link set lo up && ip link add "
	                    "eth0 type veth peer name far0 && ip link set far0 up && ip addr add 192.168.7.2/24 dev "
	                    "eth0 && ip link set eth0 up && "
	                    "ip route add default via 192.168.7.1 && ip neigh add 192.168.7.1 lladdr 02:00:00:00:00:01 "
	                    "dev eth0 && "
	                    "ip link add hf-home type veth peer name far1 && ip link set far1 up && ip addr add "
	                    "10.9.0.2/32 dev hf-home && ip link set hf-home up && "
	                    "ip route add 10.9.0.0/24 dev hf-home && ip route add 198.51.100.0/24 via 10.9.0.1 dev "
	                    "hf-home && "
	                    "ip neigh add 10.9.0.1 lladdr 02:00:00:00:00:02 dev hf-home && "
	                    "ip rule add fwmark 0x68690000/0xffff0000 lookup 100 && ip route add default via "
	                    "192.168.7.1 dev eth0 table 100") != 0)
		abort();
	made = true;
}

int gate_suite_run(const char *name, const struct test *tests, size_t count, int argc, char **argv)
{
	struct stat before, after;
	if (stat("/proc/self/ns/net", &before) < 0 || unshare(CLONE_NEWNET) < 0 ||
	        stat("/proc/self/ns/net", &after) < 0 || before.st_ino == after.st_ino) {
		printf("Bail out! no network namespace of its own: %s\n", strerror(errno));
		return EXIT_FAILURE;
	}
	return suite_run(name, tests, count, argc, argv);
}
