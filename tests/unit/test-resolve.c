/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The resolver against name servers that each play one part, on loopback addresses of their own and in the same event
 * loop. They count what they are asked.
 */

#include <arpa/nameser.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "suite.h"
#include "tunnel/resolve.h"
#include "util/text.h"

#define NAME    "vpn.example"
#define FOREVER (60 * USEC_PER_SEC)
#define SERVERS 4

enum part {
	GOOD,         /* A 192.0.2.1, A 192.0.2.2; AAAA 2001:db8::1 */
	SILENT,       /* nothing */
	SLOW_TO_WAKE, /* nothing to the first two packets, then as GOOD */
	FOUR_ALONE,   /* no answer to AAAA */
	NO_SIX,       /* AAAA: NOERROR without an answer */
	UNKNOWN,      /* NXDOMAIN */
	BROKEN,       /* SERVFAIL */
	BLOCKER,      /* A 0.0.0.0, A 127.0.0.1; AAAA :: */
	ALIAS,        /* CNAME, then A */
	TRUNCATED,    /* A 192.0.2.1 alone and TC; AAAA: TC and nothing */
	TOO_LONG,     /* TC and nothing */
	FORGER, /* first an answer with a wrong id and one to another name, both with 198.51.100.66; then as GOOD */
	CROWD,  /* A of 20 addresses */
};

static struct {
	int fd;
	enum part part;
	unsigned asked;
	bool ids_differ;
	uint16_t last_id;
	sd_event_source *source;
} servers[SERVERS];
static size_t server_count;
static uint16_t port;
static sd_event *event;
static struct resolve *resolve;

static struct {
	unsigned done;
	struct ip_address addresses[RESOLVE_ADDRESSES_MAX];
	size_t count;
	char *detail;
} heard;

struct answer {
	uint8_t bytes[1024];
	size_t length;
};

static void put(struct answer *answer, const void *bytes, size_t length)
{
	memcpy(answer->bytes + answer->length, bytes, length);
	answer->length += length;
}

/* A record of the question's own name (a pointer to it). */
static void put_record(struct answer *answer, ns_type type, const void *data, uint16_t length)
{
	const uint8_t head[] = {0xc0, 12, 0, (uint8_t)type, 0, 1, 0, 0, 0, 60, (uint8_t)(length >> 8), (uint8_t)length};
	put(answer, head, sizeof head);
	put(answer, data, length);
	answer->bytes[7]++; /* ANCOUNT */
}

static void put_address(struct answer *answer, const char *text)
{
	struct ip_address address;
	CU_ASSERT_EQUAL(ip_address_parse(text, &address), 0);
	bool four = address.family == AF_INET;
	put_record(answer, four ? ns_t_a : ns_t_aaaa, address.bytes, four ? 4 : 16);
}

static struct answer begin_answer(const uint8_t *query, size_t length, ns_rcode code)
{
	struct answer answer = {};
	put(&answer, query, length);
	answer.bytes[2] |= 0x80; /* QR */
	answer.bytes[3] = 0x80 | (uint8_t)code;
	return answer;
}

static struct answer good_answer(const uint8_t *query, size_t length, bool four)
{
	struct answer answer = begin_answer(query, length, ns_r_noerror);
	put_address(&answer, four ? "192.0.2.1" : "2001:db8::1");
	if (four)
		put_address(&answer, "192.0.2.2");
	return answer;
}

/* The answer to a question, of which the forger's come before; length 0: none. */
static struct answer answer_of(enum part part, unsigned asked, const uint8_t *query, size_t length, bool four)
{
	static const uint8_t alias[] = {5, 'o', 't', 'h', 'e', 'r', 0xc0, 16};
	struct answer answer = begin_answer(query, length, ns_r_noerror);
	switch (part) {
	case SILENT:
		return (struct answer){};
	case SLOW_TO_WAKE:
		return asked <= 2 ? (struct answer){} : good_answer(query, length, four);
	case FOUR_ALONE:
		return four ? good_answer(query, length, four) : (struct answer){};
	case NO_SIX:
		return four ? good_answer(query, length, four) : answer;
	case UNKNOWN:
		return begin_answer(query, length, ns_r_nxdomain);
	case BROKEN:
		return begin_answer(query, length, ns_r_servfail);
	case BLOCKER:
		put_address(&answer, four ? "0.0.0.0" : "::");
		if (four)
			put_address(&answer, "127.0.0.1");
		return answer;
	case ALIAS:
		put_record(&answer, ns_t_cname, alias, sizeof alias);
		if (four)
			put_address(&answer, "192.0.2.7");
		return answer;
	case TRUNCATED:
		if (four)
			put_address(&answer, "192.0.2.1");
		answer.bytes[2] |= 0x02; /* TC */
		return answer;
	case TOO_LONG:
		answer.bytes[2] |= 0x02;
		return answer;
	case CROWD:
		for (unsigned i = 1; four && i <= 20; i++) {
			_cleanup_free_ char *text = text_format("192.0.2.%u", i);
			put_address(&answer, text);
		}
		return answer;
	case GOOD:
	case FORGER:
		break;
	}
	return good_answer(query, length, four);
}

static void forge(int fd, const struct sockaddr_in *to, const uint8_t *query, size_t length)
{
	struct answer answer = begin_answer(query, length, ns_r_noerror);
	put_address(&answer, "198.51.100.66");
	answer.bytes[1] ^= 0xff;
	(void)sendto(fd, answer.bytes, answer.length, 0, (const struct sockaddr *)to, sizeof *to);
	answer.bytes[1] ^= 0xff;
	answer.bytes[14] ^= 1; /* a letter of the name */
	(void)sendto(fd, answer.bytes, answer.length, 0, (const struct sockaddr *)to, sizeof *to);
	(void)sendto(fd, "\0", 1, 0, (const struct sockaddr *)to, sizeof *to);
}

static int on_question(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	size_t index = (size_t)userdata;
	uint8_t query[512];
	struct sockaddr_in from;
	socklen_t from_length = sizeof from;
	ssize_t length = recvfrom(fd, query, sizeof query, 0, (struct sockaddr *)&from, &from_length);
	CU_ASSERT_EQUAL(length, 12 + 13 + 4);
	if (length < 29)
		return 0;
	uint16_t id = (uint16_t)(query[0] << 8 | query[1]);
	servers[index].asked++;
	servers[index].ids_differ |= servers[index].asked > 1 && id != servers[index].last_id;
	servers[index].last_id = id;
	CU_ASSERT_EQUAL(query[2], 1); /* a query that desires recursion, nothing else */
	bool four = query[26] == ns_t_a;
	if (servers[index].part == FORGER)
		forge(fd, &from, query, (size_t)length);
	struct answer answer = answer_of(servers[index].part, servers[index].asked, query, (size_t)length, four);
	if (answer.length)
		(void)sendto(fd, answer.bytes, answer.length, 0, (struct sockaddr *)&from, sizeof from);
	return 0;
}

/* Servers at 127.0.0.1, 127.0.0.2 and so on, all at one port that is free at all of them. */
static void serve(const enum part *parts, size_t count)
{
	CU_ASSERT_EQUAL_FATAL(sd_event_new(&event) >= 0, true);
	port = 0;
	for (server_count = 0; server_count < count; server_count++) {
		struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
		socklen_t length = sizeof address;
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)server_count);
		memset(&servers[server_count], 0, sizeof *servers);
		int fd = servers[server_count].fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
		CU_ASSERT_EQUAL_FATAL(getsockname(fd, (struct sockaddr *)&address, &length), 0);
		port = ntohs(address.sin_port);
		servers[server_count].part = parts[server_count];
		CU_ASSERT_FATAL(sd_event_add_io(event, &servers[server_count].source, fd, EPOLLIN, on_question,
		                        (void *)server_count) >= 0);
	}
}

static void on_done(void *userdata, const struct ip_address *addresses, size_t count, const char *detail)
{
	heard.done++;
	heard.count = count;
	memcpy(heard.addresses, addresses, count * sizeof *addresses);
	free(heard.detail);
	heard.detail = text_dup(detail);
	resolve = resolve_free(resolve);
}

static uint64_t now_usec(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

/* Asks COUNT servers, of which there are perhaps fewer; returns how long it took. */
static uint64_t ask(size_t count)
{
	struct resolve_question question = {.name = NAME, .port = port, .resolvers.count = count};
	for (size_t i = 0; i < count; i++)
		question.resolvers.servers[i] = (struct ip_address){AF_INET, {127, 0, 0, (uint8_t)(i + 1)}};
	free(heard.detail);
	memset(&heard, 0, sizeof heard);
	uint64_t begin = now_usec();
	CU_ASSERT_EQUAL_FATAL(resolve_new(&resolve, event, &question, on_done, NULL), 0);
	CU_ASSERT_EQUAL(heard.done, 0);
	while (!heard.done && now_usec() - begin < FOREVER)
		sd_event_run(event, FOREVER);
	CU_ASSERT_EQUAL(heard.done, 1);
	return now_usec() - begin;
}

static void tear_down(void)
{
	resolve = resolve_free(resolve);
	for (size_t i = 0; i < server_count; i++) {
		sd_event_source_disable_unref(servers[i].source);
		closep(&servers[i].fd);
	}
	event = sd_event_unref(event);
	free(heard.detail);
	heard.detail = NULL;
}

static void expect(const char *const *addresses, size_t count)
{
	char text[IP_TEXT_MAX];
	CU_ASSERT_EQUAL(heard.count, count);
	for (size_t i = 0; i < MIN_OF(count, heard.count); i++)
		CU_ASSERT_STRING_EQUAL(ip_address_format(text, &heard.addresses[i]), addresses[i]);
}

#define EXPECT(...)                                                                                                    \
	expect((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))
#define SERVE(...) serve((const enum part[]){__VA_ARGS__}, sizeof((const enum part[]){__VA_ARGS__}) / sizeof(enum part))

static void both_kinds_of_addresses_come_in_the_order_received(void)
{
	SERVE(GOOD, GOOD);
	ask(2);
	EXPECT("192.0.2.1", "192.0.2.2", "2001:db8::1");
	CU_ASSERT_EQUAL(servers[0].asked, 2);
	ask(2); /* by chance two of four ids may be the same, not all */
	CU_ASSERT_TRUE(servers[0].ids_differ);
	CU_ASSERT_EQUAL(servers[1].asked, 0);
	CU_ASSERT_STRING_EQUAL(heard.detail, "");
	tear_down();
}

static void a_lost_question_is_asked_again(void)
{
	SERVE(SLOW_TO_WAKE);
	ask(1);
	EXPECT("192.0.2.1", "192.0.2.2", "2001:db8::1");
	CU_ASSERT_EQUAL(servers[0].asked, 4);
	tear_down();
}

static void what_does_not_serve_is_followed_by_the_next(void)
{
	SERVE(BROKEN, SILENT, GOOD);
	ask(3);
	EXPECT("192.0.2.1", "192.0.2.2", "2001:db8::1");
	CU_ASSERT_EQUAL(servers[0].asked, 2);
	CU_ASSERT_EQUAL(servers[1].asked, 4);
	tear_down();
}

static void a_server_that_is_not_there_costs_no_time(void)
{
	SERVE(GOOD, GOOD);
	sd_event_source_disable_unref(servers[0].source);
	servers[0].source = NULL;
	closep(&servers[0].fd);
	CU_ASSERT_TRUE(ask(2) < RESOLVE_SERVER_USEC); /* what it has, where it is waited for */
	EXPECT("192.0.2.1", "192.0.2.2", "2001:db8::1");
	tear_down();
}

static void one_kind_waits_for_the_other_but_a_moment(void)
{
	SERVE(FOUR_ALONE);
	uint64_t took = ask(1);
	EXPECT("192.0.2.1", "192.0.2.2");
	CU_ASSERT_TRUE(took < RESOLVE_SERVER_USEC);
	tear_down();
	SERVE(NO_SIX);
	ask(1);
	EXPECT("192.0.2.1", "192.0.2.2");
	tear_down();
}

static void the_word_that_there_is_no_such_name_is_final(void)
{
	SERVE(UNKNOWN, GOOD);
	ask(2);
	CU_ASSERT_EQUAL(heard.count, 0);
	CU_ASSERT_STRING_EQUAL(heard.detail,
	        NAME " did not resolve; name servers asked: 127.0.0.1 (no addresses); set dns.bootstrap to name "
	             "servers that can be reached without the tunnel");
	CU_ASSERT_EQUAL(servers[1].asked, 0);
	tear_down();
}

static void a_failure_names_every_server_and_what_it_said(void)
{
	SERVE(SILENT, BROKEN, SILENT, SILENT);
	uint64_t took = ask(4);
	CU_ASSERT_EQUAL(heard.count, 0);
	CU_ASSERT_STRING_EQUAL(heard.detail,
	        NAME " did not resolve; name servers asked: 127.0.0.1 (no answer), 127.0.0.2 (server failure), "
	             "127.0.0.3 (no answer), 127.0.0.4 (no answer); set dns.bootstrap to name servers that can be "
	             "reached without the tunnel");
	printf("# four servers without an answer: %.1f s\n", (double)took / USEC_PER_SEC);
	CU_ASSERT_TRUE(took < 3 * RESOLVE_SERVER_USEC); /* what the three silent ones would have, were there no bound for all */
	tear_down();
}

static void without_a_server_it_says_so(void)
{
	SERVE(GOOD);
	ask(0);
	CU_ASSERT_EQUAL(heard.count, 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(heard.detail, "there is no name server to ask; set dns.bootstrap"));
	CU_ASSERT_EQUAL(servers[0].asked, 0);
	tear_down();
}

static void a_blockers_answer_is_no_address(void)
{
	SERVE(BLOCKER);
	ask(1);
	CU_ASSERT_EQUAL(heard.count, 0);
	tear_down();
}

static void an_alias_is_followed(void)
{
	SERVE(ALIAS);
	ask(1);
	EXPECT("192.0.2.7");
	tear_down();
}

static void of_a_truncated_answer_what_is_there_is_taken(void)
{
	SERVE(TRUNCATED, GOOD);
	ask(2);
	EXPECT("192.0.2.1");
	CU_ASSERT_EQUAL(servers[1].asked, 0);
	tear_down();
	SERVE(TOO_LONG, GOOD);
	ask(2);
	EXPECT("192.0.2.1", "192.0.2.2", "2001:db8::1");
	tear_down();
}

static void answers_to_other_questions_are_not_taken(void)
{
	SERVE(FORGER);
	ask(1);
	EXPECT("192.0.2.1", "192.0.2.2", "2001:db8::1");
	tear_down();
}

static void more_addresses_than_there_is_room_for_are_left_out(void)
{
	SERVE(CROWD);
	ask(1);
	CU_ASSERT_EQUAL(heard.count, RESOLVE_ADDRESSES_MAX);
	tear_down();
}

static void it_ends_without_a_word_when_freed(void)
{
	SERVE(SILENT);
	const struct resolve_question question = {
	        .name = NAME, .port = port, .resolvers = {{{AF_INET, {127, 0, 0, 1}}}, 1}};
	memset(&heard, 0, sizeof heard);
	CU_ASSERT_EQUAL_FATAL(resolve_new(&resolve, event, &question, on_done, NULL), 0);
	while (servers[0].asked < 2)
		CU_ASSERT_FATAL(sd_event_run(event, FOREVER) > 0);
	resolve = resolve_free(resolve);
	CU_ASSERT_EQUAL(sd_event_run(event, 0), 0);
	CU_ASSERT_EQUAL(heard.done, 0);
	tear_down();
}

static void an_attempt_in_vain_is_followed_by_the_next_address(void)
{
	static const struct ip_address one = {AF_INET, {192, 0, 2, 1}}, two = {AF_INET, {192, 0, 2, 2}};
	const struct ip_address both[] = {one, two}, turned[] = {two, one};
	struct resolve_memory memory = {};
	resolve_memory_keep(&memory, NULL, 0);
	CU_ASSERT_EQUAL(memory.count, 0);
	resolve_memory_keep(&memory, both, 2);
	CU_ASSERT_EQUAL(resolve_memory_first(&memory), 0);
	resolve_memory_take(&memory, 0);
	CU_ASSERT_EQUAL(resolve_memory_first(&memory), 1);
	resolve_memory_keep(&memory, turned, 2); /* the answer's order changed: the one in vain is at 1 now */
	CU_ASSERT_EQUAL(resolve_memory_first(&memory), 0);
	resolve_memory_take(&memory, 0);
	memory.stood = true; /* a session came up */
	CU_ASSERT_EQUAL(resolve_memory_first(&memory), 0);
	resolve_memory_take(&memory, 0); /* and does no more */
	CU_ASSERT_EQUAL(resolve_memory_first(&memory), 1);
	resolve_memory_keep(&memory, NULL, 0); /* nobody answers: what was known stays */
	CU_ASSERT_EQUAL(memory.count, 2);
	resolve_memory_keep(&memory, &one, 1); /* the one taken is gone */
	CU_ASSERT_EQUAL(resolve_memory_first(&memory), 0);
}

static const struct test tests[] = {
        {"both kinds of addresses come in the order received", both_kinds_of_addresses_come_in_the_order_received},
        {"a lost question is asked again", a_lost_question_is_asked_again},
        {"what does not serve is followed by the next", what_does_not_serve_is_followed_by_the_next},
        {"a server that is not there costs no time", a_server_that_is_not_there_costs_no_time},
        {"one kind waits for the other but a moment", one_kind_waits_for_the_other_but_a_moment},
        {"the word that there is no such name is final", the_word_that_there_is_no_such_name_is_final},
        {"a failure names every server and what it said", a_failure_names_every_server_and_what_it_said},
        {"without a server it says so", without_a_server_it_says_so},
        {"a blocker's answer is no address", a_blockers_answer_is_no_address},
        {"an alias is followed", an_alias_is_followed},
        {"of a truncated answer what is there is taken", of_a_truncated_answer_what_is_there_is_taken},
        {"answers to other questions are not taken", answers_to_other_questions_are_not_taken},
        {"more addresses than there is room for are left out", more_addresses_than_there_is_room_for_are_left_out},
        {"it ends without a word when freed", it_ends_without_a_word_when_freed},
        {"an attempt in vain is followed by the next address", an_attempt_in_vain_is_followed_by_the_next_address},
};

int main(int argc, char **argv)
{
	return suite_run("resolve", tests, ELEMENTSOF(tests), argc, argv);
}
