/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The watch. The kernel announces every commit of anyone: a message for each object it touched, then one with the new
 * generation and the process that made it. The commits of others that touched the gate's table, and anything that went
 * unheard (a gap in the generations, an overflowing socket), lead to a verification, and a difference to a heal.
 *
 * A single change is undone at once, constant change at a bounded rate, so that two daemons that disagree cannot eat the
 * machine. A heal that fails is tried again, ever slower up to RETRY_MAX.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "firewall/gate-private.h"
#include "util/rate.h"
#include "util/text.h"

#define RETRY_MAX_USEC   USEC_PER_SEC
#define RECEIVE_BUFFER   (4 << 20) /* of the socket: others may load large sets in one commit */
#define RECEIVES_AT_ONCE 256       /* per turn of the loop, which has other things to do as well */
#define TIMER_SLACK_USEC USEC_PER_MSEC

struct gate_watch {
	struct gate *gate;
	struct mnl_socket *socket;
	sd_event_source *io, *timer;
	gate_tampered callback;
	void *userdata;

	uint32_t generation; /* the last one heard of */
	bool touched;        /* messages since then were about our table */
	bool granted;        /* … and changed what is granted, which no reading shows */

	bool suspicious; /* the table must be verified */
	uint64_t noticed_usec;
	bool elements;    /* … or others changed what is granted: replaced without looking */
	bool lost;        /* the socket overflowed, which a large list of one's own does, too */
	bool unsure;      /* what others did to what is granted may have gone unheard */
	unsigned changes; /* foreign changes since the last report */
	uint32_t pid;     /* the last culprit */
	char process[32];

	struct rate heals;
	unsigned failures;   /* heals that failed one after the other */
	char buffer[65536];
};

struct gate_watch *gate_watch_free(struct gate_watch *watch)
{
	if (!watch)
		return NULL;
	sd_event_source_disable_unref(watch->io);
	sd_event_source_disable_unref(watch->timer);
	if (watch->socket)
		mnl_socket_close(watch->socket);
	free(watch);
	return NULL;
}

static void suspect(struct gate_watch *watch)
{
	if (!watch->suspicious)
		watch->noticed_usec = monotonic_usec();
	watch->suspicious = true;
	watch->changes++;
}

/* ---- hearing ---- */

struct generation {
	uint32_t id, pid;
	char process[32];
};

static int collect_generation(const struct nlattr *attribute, void *data)
{
	struct generation *generation = data;
	size_t length = mnl_attr_get_payload_len(attribute);
	switch (mnl_attr_get_type(attribute)) {
	case NFTA_GEN_ID:
		generation->id = length >= 4 ? ntohl(mnl_attr_get_u32(attribute)) : 0;
		break;
	case NFTA_GEN_PROC_PID:
		generation->pid = length >= 4 ? ntohl(mnl_attr_get_u32(attribute)) : 0;
		break;
	case NFTA_GEN_PROC_NAME:
		snprintf(generation->process, sizeof generation->process, "%.*s", (int)length,
		        (const char *)mnl_attr_get_payload(attribute));
		break;
	}
	return MNL_CB_OK;
}

static void heard_generation(struct gate_watch *watch, const struct nlmsghdr *message)
{
	struct generation generation = {};
	mnl_attr_parse(message, sizeof(struct nfgenmsg), collect_generation, &generation);
	bool gap = generation.id != watch->generation + 1;
	watch->unsure |= gap && !gate_made_all(watch->gate, watch->generation, generation.id);
	if (!gate_made_generation(watch->gate, generation.id) && (watch->touched || gap)) {
		suspect(watch);
		watch->elements |= watch->granted;
		watch->pid = generation.pid;
		memcpy(watch->process, generation.process, sizeof watch->process);
	}
	watch->generation = generation.id;
	watch->touched = watch->granted = false;
}

static void heard(struct gate_watch *watch, const struct nlmsghdr *message)
{
	if (message->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN))
		heard_generation(watch, message);
	else if (message->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES && readback_is_ours(message)) {
		watch->touched = true;
		watch->granted |= readback_is_grant(message);
	}
}

/* Reads what has come. -EAGAIN: all of it. */
static int receive(struct gate_watch *watch)
{
	ssize_t length = recv(mnl_socket_get_fd(watch->socket), watch->buffer, sizeof watch->buffer, MSG_DONTWAIT);
	if (length < 0 && errno == EINTR)
		return 0;
	if (length < 0 && errno == ENOBUFS) {
		watch->lost = true;
		return 0;
	}
	if (length < 0)
		return -errno;
	int remaining = (int)length;
	for (const struct nlmsghdr *message = (const struct nlmsghdr *)watch->buffer; mnl_nlmsg_ok(message, remaining);
	        message = mnl_nlmsg_next(message, &remaining))
		heard(watch, message);
	return 0;
}

/* What did not fit into the socket is unheard for good: only the generations tell whose commits those were. */
static void make_up_for_losses(struct gate_watch *watch)
{
	uint32_t generation;
	if (!watch->lost || readback_generation(watch->gate->socket, &generation) < 0)
		return;
	watch->lost = watch->touched = watch->granted = false;
	if (gate_made_all(watch->gate, watch->generation, generation))
		return;
	suspect(watch);
	watch->unsure = true;
}

/* ---- healing ---- */

static void look_again_in(struct gate_watch *watch, uint64_t usec)
{
	sd_event_source_set_time(watch->timer, monotonic_usec() + usec);
	sd_event_source_set_enabled(watch->timer, SD_EVENT_ONESHOT);
}

static void report(struct gate_watch *watch, int error)
{
	struct gate_tampering tampering = {
	        .process = watch->process,
	        .pid = watch->pid,
	        .healed_usec = monotonic_usec() - watch->noticed_usec,
	        .healed = error == 0,
	        .error = error,
	        .suppressed = watch->changes > 1 ? watch->changes - 1 : 0,
	};
	watch->changes = 0;
	watch->callback(&tampering, watch->userdata);
}

static uint64_t retry_delay(unsigned failures)
{
	return MIN_OF(RETRY_MAX_USEC, RATE_USEC << MIN_OF(failures, 16u));
}

static void heal(struct gate_watch *watch)
{
	struct gate *gate = watch->gate;
	bool allowed = !gate->may_heal || gate->may_heal(gate->may_heal_userdata);
	int r = -ECANCELED;
	if (allowed) {
		rate_spend(&watch->heals);
		r = gate_heal(gate, watch->elements || watch->unsure);
	}
	watch->suspicious = allowed && r < 0;
	watch->elements &= watch->suspicious;
	watch->unsure &= watch->suspicious;
	watch->failures = watch->suspicious ? watch->failures + 1 : 0;
	if (watch->suspicious)
		look_again_in(watch, retry_delay(watch->failures));
	report(watch, r);
}

/*
 * The table was found whole. Whether the elements are is not known where commits of others went unheard: then they are put in again, which
 * is nobody's fault and no report.
 */
static bool all_is_well(struct gate_watch *watch)
{
	struct gate *gate = watch->gate;
	if (watch->elements || gate_verify(gate) < 0)
		return false;
	if (watch->unsure && gate->plan.exists && (!gate->may_heal || gate->may_heal(gate->may_heal_userdata))) {
		rate_spend(&watch->heals);
		if (gate_heal(gate, true) < 0)
			return false;
	}
	return true;
}

static void look(struct gate_watch *watch)
{
	if (!watch->suspicious || !watch->gate->applied)
		return;
	if (!rate_allows(&watch->heals, watch->gate->heal_clock())) {
		look_again_in(watch, RATE_USEC);
		return;
	}
	if (all_is_well(watch)) {
		watch->suspicious = watch->unsure = false;
		watch->changes = watch->failures = 0;
		return;
	}
	heal(watch);
}

/* What was announced is heard before the table is looked at: a heal undoes it, and must be able to name who made it. */
static int hear_and_look(struct gate_watch *watch)
{
	int r = 0;
	for (unsigned i = 0; r == 0 && i < RECEIVES_AT_ONCE; i++)
		r = receive(watch);
	if (r == -EAGAIN)
		make_up_for_losses(watch);
	look(watch);
	return r == -EAGAIN ? 0 : r;
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	return hear_and_look(userdata);
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata)
{
	return hear_and_look(userdata);
}

/* ---- starting ---- */

static int subscribe(struct gate_watch *watch)
{
	int size = RECEIVE_BUFFER;
	watch->socket = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!watch->socket)
		return -errno;
	/* Best effort: with a smaller buffer there are more verifications, not fewer. */
	(void)setsockopt(mnl_socket_get_fd(watch->socket), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
	if (mnl_socket_bind(watch->socket, 1u << (NFNLGRP_NFTABLES - 1), MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	return 0;
}

static int attach(struct gate_watch *watch, sd_event *event)
{
	int r = sd_event_add_io(event, &watch->io, mnl_socket_get_fd(watch->socket), EPOLLIN, on_readable, watch);
	if (r >= 0)
		r = sd_event_add_time(
		        event, &watch->timer, CLOCK_MONOTONIC, UINT64_MAX, TIMER_SLACK_USEC, on_time, watch);
	if (r >= 0)
		r = sd_event_source_set_enabled(watch->timer, SD_EVENT_OFF);
	/* Closing goes before anything else that is ready in the same turn. */
	if (r >= 0)
		r = sd_event_source_set_priority(watch->io, SD_EVENT_PRIORITY_IMPORTANT);
	if (r >= 0)
		r = sd_event_source_set_priority(watch->timer, SD_EVENT_PRIORITY_IMPORTANT);
	return r < 0 ? r : 0;
}

int gate_watch(struct gate *gate, sd_event *event, gate_tampered callback, void *userdata)
{
	struct gate_watch *watch = xcalloc(1, sizeof *watch);
	*watch = (struct gate_watch){.gate = gate, .callback = callback, .userdata = userdata};
	int r = subscribe(watch);
	if (r == 0)
		r = readback_generation(gate->socket, &watch->generation);
	if (r == 0)
		r = attach(watch, event);
	if (r < 0) {
		gate_watch_free(watch);
		return r;
	}
	gate_watch_free(gate->watch);
	gate->watch = watch;
	/* What happened between the last apply and now was not announced to this socket. */
	suspect(watch);
	watch->changes = 0;
	look_again_in(watch, 0);
	return 0;
}
