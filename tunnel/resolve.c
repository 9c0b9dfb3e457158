/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * One name server after the other, each by a socket of its own, with two questions at once: A and AAAA. A server's time
 * is cut in halves, and what it left unanswered in the first is asked once more. Messages are made and read by
 * libresolv; what is sent, to whom and what counts as its answer is decided here.
 *
 * A server leads to one of three ends: addresses; the word that there are none (both questions answered, NOERROR or
 * NXDOMAIN), which ends the whole, since all servers see the same names; or nothing of use, and the next one is asked.
 * After the first address the other question has 50 ms left, as browsers do it (RFC 8305, section 3).
 *
 * An answer is one that comes from the server's address and port (the socket is connected), has the random id of a
 * question and repeats it (RFC 5452). Whoever owns the addresses in it is not checked: whoever could lie there could
 * lie in the address. A truncated answer is taken as it is, since one address is
 * enough; TCP is not spoken, and one without any address is of no use.
 */

#include "tunnel/resolve.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <resolv.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "tunnel/marked-socket.h"
#include "util/log.h"
#include "util/text.h"

#define GRACE_USEC   (50 * USEC_PER_MSEC)
#define MESSAGE_MAX  4096 /* bytes of an answer; without EDNS more than 512 are not expected (RFC 1035) */
#define REMEDY       "set dns.bootstrap to name servers that can be reached without the tunnel"
#define NO_ANSWER    "no answer"
#define NO_ADDRESSES "no addresses"

static const ns_type types[] = {ns_t_a, ns_t_aaaa};

/* What the timer is for. */
enum due { DUE_SERVER, DUE_REPEAT, DUE_END_OF_SERVER, DUE_END };

struct query {
	uint8_t bytes[NS_PACKETSZ];
	size_t length;
	bool answered;
};

struct resolve {
	char *name;
	struct resolve_question question;
	resolve_done done;
	void *userdata;
	sd_event *event;
	sd_event_source *timer, *io;
	enum due due;
	size_t server; /* the next one to ask */
	int fd;
	struct query queries[ELEMENTSOF(types)];
	const char *trouble;  /* what spoils the present server, or NULL */
	struct text verdicts; /* "192.0.2.1 (no answer), 192.0.2.2 (server failure)" */
	struct ip_address addresses[RESOLVE_ADDRESSES_MAX];
	size_t count;
};

static void arm(struct resolve *resolve, enum due due, uint64_t usec)
{
	resolve->due = due;
	sd_event_source_set_time_relative(resolve->timer, usec);
	sd_event_source_set_enabled(resolve->timer, SD_EVENT_ONESHOT);
}

/* Half the time of one server. */
static uint64_t half_usec(const struct resolve *resolve)
{
	return MIN_OF(RESOLVE_SERVER_USEC, RESOLVE_TOTAL_USEC / resolve->question.resolvers.count) / 2;
}

static void hang_up(struct resolve *resolve)
{
	resolve->io = sd_event_source_disable_unref(resolve->io);
	closep(&resolve->fd);
}

/* The present server has said all that it will, in short: VERDICT. */
static void judge(struct resolve *resolve, const char *verdict)
{
	char text[IP_TEXT_MAX];
	ip_address_format(text, &resolve->question.resolvers.servers[resolve->server - 1]);
	text_append(&resolve->verdicts, "%s%s (%s)", resolve->verdicts.length ? ", " : "", text, verdict);
	hang_up(resolve);
}

/* The last thing done: the callback may free RESOLVE. */
static void finish(struct resolve *resolve)
{
	_cleanup_text_ struct text detail = TEXT_NULL;
	hang_up(resolve);
	sd_event_source_set_enabled(resolve->timer, SD_EVENT_OFF);
	if (resolve->question.resolvers.count == 0)
		text_append(&detail, "%s cannot be resolved: there is no name server to ask; " REMEDY, resolve->name);
	else if (resolve->count == 0)
		text_append(&detail, "%s did not resolve; name servers asked: %s; " REMEDY, resolve->name,
		        resolve->verdicts.bytes);
	resolve->done(resolve->userdata, resolve->addresses, resolve->count, detail.bytes ? detail.bytes : "");
}

/* What is known of the present server's part is judged; the turn of the loop that follows goes on with the next. */
static void next_server(struct resolve *resolve, const char *verdict)
{
	judge(resolve, verdict);
	arm(resolve, DUE_SERVER, 0);
}

/* Answers */

static bool is_question(const struct resolve *resolve, ns_msg *message, size_t index)
{
	ns_rr record;
	uint16_t id;
	memcpy(&id, resolve->queries[index].bytes, sizeof id);
	return ns_msg_id(*message) == ntohs(id) && ns_msg_getflag(*message, ns_f_qr) &&
	       ns_msg_count(*message, ns_s_qd) == 1 && ns_parserr(message, ns_s_qd, 0, &record) == 0 &&
	       ns_rr_type(record) == types[index] && ns_rr_class(record) == ns_c_in &&
	       strcasecmp(ns_rr_name(record), resolve->name) == 0;
}

static void keep_address(struct resolve *resolve, const ns_rr *record)
{
	struct ip_address address = {.family = ns_rr_type(*record) == ns_t_a ? AF_INET : AF_INET6};
	size_t length = address.family == AF_INET ? NS_INADDRSZ : NS_IN6ADDRSZ;
	if (ns_rr_rdlen(*record) != length || resolve->count == RESOLVE_ADDRESSES_MAX)
		return;
	memcpy(address.bytes, ns_rr_rdata(*record), length);
	if (ip_address_is_remote(&address)) /* name servers that block names answer with addresses at which no server can be */
		resolve->addresses[resolve->count++] = address;
}

static const char *trouble_of(ns_rcode code)
{
	static const struct {
		ns_rcode code;
		const char *words;
	} troubles[] = {
	        {ns_r_formerr, "it does not understand the question"},
	        {ns_r_servfail, "server failure"},
	        {ns_r_notimpl, "not implemented"},
	        {ns_r_refused, "refused"},
	};
	for (size_t i = 0; i < ELEMENTSOF(troubles); i++)
		if (troubles[i].code == code)
			return troubles[i].words;
	return code == ns_r_noerror || code == ns_r_nxdomain ? NULL : "an error";
}

/* Takes an answer's content; which question it answers, or that it answers none, is known before. */
static void take(struct resolve *resolve, ns_msg *message, size_t index)
{
	const char *trouble = trouble_of((ns_rcode)ns_msg_getflag(*message, ns_f_rcode));
	size_t before = resolve->count;
	resolve->queries[index].answered = true;
	for (int i = 0; !trouble && i < ns_msg_count(*message, ns_s_an); i++) {
		ns_rr record;
		if (ns_parserr(message, ns_s_an, i, &record) < 0)
			break; /* what came before it counts */
		if (ns_rr_type(record) == types[index] && ns_rr_class(record) == ns_c_in)
			keep_address(resolve, &record);
	}
	if (!trouble && resolve->count == before && ns_msg_getflag(*message, ns_f_tc))
		trouble = "truncated";
	if (trouble)
		resolve->trouble = trouble;
}

static bool all_answered(const struct resolve *resolve)
{
	for (size_t i = 0; i < ELEMENTSOF(types); i++)
		if (!resolve->queries[i].answered)
			return false;
	return true;
}

/* Something new was taken. */
static void consider(struct resolve *resolve)
{
	bool all = all_answered(resolve);
	if (resolve->count && !all) {
		if (resolve->due != DUE_END)
			arm(resolve, DUE_END, GRACE_USEC);
	} else if (all && (resolve->count || !resolve->trouble)) {
		if (!resolve->count)
			judge(resolve, NO_ADDRESSES);
		finish(resolve);
	} else if (all) {
		next_server(resolve, resolve->trouble);
	}
}

static int on_answer(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct resolve *resolve = userdata;
	uint8_t bytes[MESSAGE_MAX];
	ns_msg message;
	ssize_t length = recv(fd, bytes, sizeof bytes, 0);
	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (length < 0 && resolve->count) {
		finish(resolve);
		return 0;
	}
	if (length < 0) {
		next_server(resolve, strerror(errno));
		return 0;
	}
	if (ns_initparse(bytes, (int)length, &message) < 0)
		return 0; /* nothing of ours */
	for (size_t i = 0; i < ELEMENTSOF(types); i++)
		if (!resolve->queries[i].answered && is_question(resolve, &message, i)) {
			take(resolve, &message, i);
			consider(resolve);
			break;
		}
	return 0;
}

/* Questions */

static int make_query(struct resolve *resolve, size_t index)
{
	/* Of the state, which would be read from the host's files, only this much is looked at. */
	struct __res_state state = {.options = RES_RECURSE};
	struct query *query = &resolve->queries[index];
	uint16_t id;
	int length = res_nmkquery(&state, ns_o_query, resolve->name, ns_c_in, types[index], NULL, 0, NULL, query->bytes,
	        sizeof query->bytes);
	if (length < 0)
		return -EINVAL;
	if (getrandom(&id, sizeof id, 0) != sizeof id)
		return -EIO;
	memcpy(query->bytes, &id, sizeof id); /* the library's own is made from the clock */
	query->length = (size_t)length;
	query->answered = false;
	return 0;
}

/* Sends what is not answered yet. */
static int send_queries(struct resolve *resolve)
{
	for (size_t i = 0; i < ELEMENTSOF(types); i++) {
		const struct query *query = &resolve->queries[i];
		if (!query->answered && send(resolve->fd, query->bytes, query->length, MSG_NOSIGNAL) < 0)
			return -errno;
	}
	return 0;
}

static int ask(struct resolve *resolve, const struct ip_address *server)
{
	const struct endpoint to = {*server, resolve->question.port, IPPROTO_UDP};
	resolve->trouble = NULL;
	int r = 0;
	for (size_t i = 0; r == 0 && i < ELEMENTSOF(types); i++)
		r = make_query(resolve, i);
	if (r < 0)
		return r;
	r = resolve->fd = marked_socket_connect(&to, resolve->question.mark);
	if (r >= 0)
		r = sd_event_add_io(resolve->event, &resolve->io, resolve->fd, EPOLLIN, on_answer, resolve);
	return r < 0 ? r : send_queries(resolve);
}

static void ask_next(struct resolve *resolve)
{
	if (resolve->server == resolve->question.resolvers.count) {
		finish(resolve);
		return;
	}
	int r = ask(resolve, &resolve->question.resolvers.servers[resolve->server++]);
	if (r < 0)
		next_server(resolve, strerror(-r));
	else
		arm(resolve, DUE_REPEAT, half_usec(resolve));
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct resolve *resolve = userdata;
	int r;
	switch (resolve->due) {
	case DUE_SERVER:
		ask_next(resolve);
		break;
	case DUE_REPEAT:
		r = send_queries(resolve);
		if (r < 0)
			next_server(resolve, strerror(-r));
		else
			arm(resolve, DUE_END_OF_SERVER, half_usec(resolve));
		break;
	case DUE_END_OF_SERVER:
		next_server(resolve, resolve->trouble ? resolve->trouble : NO_ANSWER);
		break;
	case DUE_END:
		finish(resolve);
		break;
	}
	return 0;
}

int resolve_new(struct resolve **ret, sd_event *event, const struct resolve_question *question, resolve_done done,
        void *userdata)
{
	struct resolve *resolve = xcalloc(1, sizeof *resolve);
	*resolve = (struct resolve){
	        .name = text_dup(question->name),
	        .question = *question,
	        .done = done,
	        .userdata = userdata,
	        .event = sd_event_ref(event),
	        .fd = -1,
	};
	size_t length = strlen(resolve->name);
	if (length && resolve->name[length - 1] == '.')
		resolve->name[length - 1] = 0; /* as the answers have it */
	if (!question->port)
		resolve->question.port = RESOLVE_PORT;
	int r = sd_event_add_time(event, &resolve->timer, CLOCK_MONOTONIC, 0, 1, on_timer, resolve);
	if (r < 0) {
		resolve_free(resolve);
		return r;
	}
	arm(resolve, DUE_SERVER, 0);
	*ret = resolve;
	return 0;
}

struct resolve *resolve_free(struct resolve *resolve)
{
	if (!resolve)
		return NULL;
	hang_up(resolve);
	sd_event_source_disable_unref(resolve->timer);
	sd_event_unref(resolve->event);
	text_done(&resolve->verdicts);
	free(resolve->name);
	free(resolve);
	return NULL;
}

/* Memory */

void resolve_memory_keep(struct resolve_memory *memory, const struct ip_address *addresses, size_t count)
{
	if (count == 0)
		return;
	memory->count = MIN_OF(count, (size_t)RESOLVE_ADDRESSES_MAX);
	memcpy(memory->addresses, addresses, memory->count * sizeof *addresses);
}

size_t resolve_memory_first(const struct resolve_memory *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		if (ip_address_equal(&memory->addresses[i], &memory->last))
			return memory->stood ? i : (i + 1) % memory->count;
	return 0;
}

void resolve_memory_take(struct resolve_memory *memory, size_t index)
{
	memory->last = memory->addresses[index];
	memory->stood = false;
}
