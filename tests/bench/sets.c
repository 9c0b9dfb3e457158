/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a long list costs, in a network namespace of its own: 100,000 networks that the settings list.
 *
 *   loading      gate_set_listed() and gate_apply() over `nft -f` of the same networks as text, into the same table
 *   adding one   gate_add_grant() beside 100,000 networks over the same beside 10; and the same with a bare netlink message
 *   transition   gate_apply() beside 100,000 networks over the same beside 10, and over the bare libnftables commit of the same text
 *
 * Rounds of both sides are interleaved, so that what else the machine does meets both alike; medians.
 */

#include <netinet/in.h> /* before the kernel's headers, which then leave its types alone */

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firewall/gate.h"
#include "firewall/ruleset.h"
#include "tests/bench/measure.h"
#include "tests/unit/gate-plans.h"
#include "util/text.h"

/* What fails is clear of the goals: reading all elements each time, which these are to catch, cost a thousand times as much. */
#define GUARD_LOAD   1.5
#define GUARD_ADD    3.0
#define GUARD_CHANGE 1.5
#define MANY        100000
#define FEW         10
#define LOAD_ROUNDS 5
#define ROUNDS      200
#define WARM_UP     12
#define KINDS       (1u << GRANT_LISTED | 1u << GRANT_NETWORK | 1u << GRANT_HOST)

struct bench {
	struct kill_switch *settings[2];
	struct gate_plan plans[2];
	struct ip_prefix *many;
	struct gate *gate;
};

/* Every other /24 from 20.0.0.0 on: none can be merged with the next. */
static struct ip_prefix network_of(size_t i)
{
	uint32_t address = 0x14000000u + ((uint32_t)i << 9);
	return (struct ip_prefix){.address = {.family = AF_INET, .bytes = {(uint8_t)(address >> 24), (uint8_t)(address >> 16), (uint8_t)(address >> 8)}},
		.length = 24};
}

static char *text_of(const struct ip_prefix *networks, size_t count)
{
	struct text text = TEXT_NULL;
	char buffer[IP_TEXT_MAX];
	text_append(&text, "flush set inet " GATE_TABLE " listed4\nadd element inet " GATE_TABLE " listed4 {\n");
	for (size_t i = 0; i < count; i++)
		text_append(&text, "%s,\n", ip_prefix_format(buffer, &networks[i]));
	text_append(&text, "}\n");
	return text_steal(&text);
}

static void apply(struct bench *bench, unsigned plan)
{
	if (gate_apply(bench->gate, &bench->plans[plan]) < 0)
		die(gate_error(bench->gate));
}

static void list(struct bench *bench, size_t count)
{
	gate_set_listed(bench->gate, bench->many, count);
	apply(bench, 0);
}

static void run_nft(const char *path)
{
	int status = 0;
	pid_t pid = fork();
	if (pid == 0) {
		execlp("nft", "nft", "-f", path, (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("nft was lost");
	if (status != 0)
		die("nft -f failed");
}

static void write_file(char *path, const char *text)
{
	int fd = mkstemp(path);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0)
		die("the text cannot be written");
}

/* Before each the set is emptied, outside the time that is taken. */
static bool loading(struct bench *bench)
{
	static double ours[LOAD_ROUNDS], theirs[LOAD_ROUNDS];
	char path[] = "/tmp/holdfast-bench-XXXXXX";
	_cleanup_free_ char *text = text_of(bench->many, MANY);
	write_file(path, text);
	for (unsigned round = 0; round < LOAD_ROUNDS; round++)
		for (unsigned half = 0; half < 2; half++) {
			list(bench, 0);
			uint64_t start = now_nsec();
			if ((round & 1) == half) {
				list(bench, MANY);
				ours[round] = usec_since(start);
			} else {
				run_nft(path);
				theirs[round] = usec_since(start);
				list(bench, 1); /* or the next list() would find that nothing is listed, as it should be */
			}
		}
	unlink(path);
	double gate = median(ours, LOAD_ROUNDS), nft = median(theirs, LOAD_ROUNDS);
	printf("loading %d networks / nft -f of the same: %.2f (goal: at most 1.2)\n", MANY, gate / nft);
	printf("  by the gate, verified      %9.0f us\n  nft -f                     %9.0f us\n", gate, nft);
	return gate / nft <= GUARD_LOAD;
}

/* Every other one a single address: those are in a set of their own. WHERE: the first octet. */
static struct gate_grant grant_of(uint8_t where, unsigned i)
{
	return (struct gate_grant){
		.kind = i & 1 ? GRANT_HOST : GRANT_NETWORK,
		.network = {.address = {.family = AF_INET, .bytes = {where, (uint8_t)(i >> 8), (uint8_t)i}}, .length = i & 1 ? 32 : 24},
		.until_usec = USEC_INFINITY,
	};
}

/* One side of the comparison: sockets stay in the namespace that they were opened in. */
struct side {
	struct gate *gate;
	struct mnl_socket *bare;
};

static struct side side_of(struct gate *gate)
{
	struct side side = {.gate = gate, .bare = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC)};
	if (!side.bare || mnl_socket_bind(side.bare, 0, MNL_SOCKET_AUTOPID) < 0)
		die("no netlink socket");
	return side;
}

static double add_by_gate(const struct side *side, unsigned i)
{
	const struct gate_grant grant = grant_of(10, i);
	uint64_t start = now_nsec();
	if (gate_add_grant(side->gate, &grant) < 0)
		die(gate_error(side->gate));
	return usec_since(start);
}

static struct nlmsghdr *message_at(uint8_t *at, unsigned type, unsigned flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(at);
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof *header);
	message->nlmsg_type = (uint16_t)type;
	message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	*header = (struct nfgenmsg){.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)};
	return message;
}

static void put_key(struct nlmsghdr *message, const struct ip_address *address, bool is_end)
{
	struct nlattr *element = mnl_attr_nest_start(message, NFTA_LIST_ELEM), *key = mnl_attr_nest_start(message, NFTA_SET_ELEM_KEY);
	mnl_attr_put(message, NFTA_DATA_VALUE, 4, address->bytes);
	mnl_attr_nest_end(message, key);
	if (is_end)
		mnl_attr_put_u32(message, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
	mnl_attr_nest_end(message, element);
}

/* The least that adds an element and knows it: a batch of one message, sent, and its acknowledgement. */
static double add_bare(const struct side *side, unsigned i)
{
	static uint8_t bytes[8192];
	const struct gate_grant grant = grant_of(11, i);
	struct ip_address end;
	uint64_t start = now_nsec();
	size_t length = message_at(bytes, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)->nlmsg_len;
	struct nlmsghdr *message = message_at(bytes + length, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_ACK, NFPROTO_INET, 0);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, GATE_TABLE);
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set_definitions[grant.kind == GRANT_HOST ? SET_HOSTS4 : SET_NETWORKS4].name);
	struct nlattr *list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS);
	put_key(message, &grant.network.address, false);
	if (grant.kind == GRANT_NETWORK && ip_prefix_end(&grant.network, &end))
		put_key(message, &end, true);
	mnl_attr_nest_end(message, list);
	length += message->nlmsg_len;
	length += message_at(bytes + length, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES)->nlmsg_len;
	if (mnl_socket_sendto(side->bare, bytes, length) < 0 || mnl_socket_recvfrom(side->bare, bytes, sizeof bytes) < 0 ||
		((const struct nlmsgerr *)mnl_nlmsg_get_payload((const struct nlmsghdr *)bytes))->error != 0)
		die("the bare element was refused");
	return usec_since(start);
}

enum { BESIDE_MANY, BESIDE_FEW, SIDES };
enum { BY_GATE, BY_BARE, WAYS };
static double adding[WAYS][SIDES][ROUNDS], transition[SIDES][2 * ROUNDS], bare_commit[SIDES * 2 * ROUNDS];

/*
 * Something is added right behind a commit, as it is in life, and always behind the same one: what the kernel still has to do for a commit, and
 * what it threw out of the caches, costs whoever comes next several times what an element does. Which side is first says nothing then, nor
 * which kind of grant it is, of which both sides and both ways have as many.
 */
static void round_of(struct bench *bench, const struct side sides[SIDES], struct nft_ctx *nft, char *const texts[2], unsigned i)
{
	unsigned way = i >> 1 & 1, plan = !(i & 1), counted = i - WARM_UP;
	for (unsigned turn = 0; turn < SIDES; turn++) {
		unsigned side = (turn + (i >> 2)) % SIDES;
		uint64_t start = now_nsec();
		if (nft_run_cmd_from_buffer(nft, texts[!plan]) != 0)
			die(nft_ctx_get_error_buffer(nft));
		double committed = usec_since(start), added = way == BY_GATE ? add_by_gate(&sides[side], i) : add_bare(&sides[side], i);
		start = now_nsec();
		if (gate_apply(sides[side].gate, &bench->plans[plan]) < 0)
			die(gate_error(sides[side].gate));
		if (i < WARM_UP)
			continue;
		transition[side][counted] = usec_since(start);
		bare_commit[2 * counted + turn] = committed;
		adding[way][side][(counted >> 2 << 1) + (counted & 1)] = added;
	}
}

static bool report(void)
{
	double add[WAYS][SIDES], change[SIDES], commit = median(bare_commit, SIDES * 2 * ROUNDS);
	for (unsigned side = 0; side < SIDES; side++) {
		change[side] = median(transition[side], 2 * ROUNDS);
		for (unsigned way = 0; way < WAYS; way++)
			add[way][side] = median(adding[way][side], ROUNDS);
	}
	double ratio = add[BY_GATE][BESIDE_MANY] / add[BY_GATE][BESIDE_FEW];
	printf("adding one beside %d / beside %d: %.2f (goal: at most 1.2)\n", MANY, FEW, ratio);
	printf("  by the gate                %9.1f us, %.1f us\n", add[BY_GATE][BESIDE_MANY], add[BY_GATE][BESIDE_FEW]);
	printf("  by a bare netlink message  %9.1f us, %.1f us: %.2f, the kernel's own\n", add[BY_BARE][BESIDE_MANY], add[BY_BARE][BESIDE_FEW],
		add[BY_BARE][BESIDE_MANY] / add[BY_BARE][BESIDE_FEW]);
	printf("transition beside %d / bare commit of the same text: %.2f (goal: at most 1.2)\n", MANY, change[BESIDE_MANY] / commit);
	printf("  %.0f us, %.0f us; beside %d %.0f us\n", change[BESIDE_MANY], commit, FEW, change[BESIDE_FEW]);
	return ratio <= GUARD_ADD && change[BESIDE_MANY] / commit <= GUARD_CHANGE;
}

/* The few get a namespace of their own: both sides live at the same time. */
static bool beside(struct bench *bench)
{
	_cleanup_free_ char *first = gate_render(&bench->plans[0]), *second = gate_render(&bench->plans[1]);
	char *const texts[] = {first, second};
	struct side sides[SIDES];
	struct gate *few;
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	nft_ctx_buffer_error(nft);
	list(bench, MANY);
	sides[BESIDE_MANY] = side_of(bench->gate);
	own_namespace();
	if (gate_new(&few) < 0)
		die("cannot open the gate's sockets");
	gate_set_listed(few, bench->many, FEW);
	if (gate_apply(few, &bench->plans[0]) < 0)
		die(gate_error(few));
	sides[BESIDE_FEW] = side_of(few);
	for (unsigned i = 0; i < WARM_UP + 2 * ROUNDS; i++)
		round_of(bench, sides, nft, texts, i);
	nft_ctx_free(nft);
	for (unsigned side = 0; side < SIDES; side++)
		mnl_socket_close(sides[side].bare);
	gate_free(few);
	return report();
}

int main(void)
{
	struct bench bench = {.many = xcalloc(MANY, sizeof *bench.many)};
	own_namespace();
	bench.plans[0] = gate_plan_named("connecting", &bench.settings[0]);
	bench.plans[1] = gate_plan_named("tunnel", &bench.settings[1]);
	bench.plans[0].granted = bench.plans[1].granted = KINDS;
	for (size_t i = 0; i < MANY; i++)
		bench.many[i] = network_of(i);
	if (gate_new(&bench.gate) < 0)
		die("cannot open the gate's sockets");
	bool good = loading(&bench);
	good = beside(&bench) && good;
	gate_free(bench.gate);
	free(bench.many);
	for (size_t i = 0; i < 2; i++)
		kill_switch_free(bench.settings[i]);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
