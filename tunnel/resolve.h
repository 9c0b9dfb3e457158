/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The name of a server to its addresses, asked directly: of the name servers given and of nobody else, over sockets of
 * the worker's own that carry its mark. Neither NSS nor resolv.conf nor the host's stub has a part in it: the gate lets
 * nothing but these queries by, and what answers them may be the tunnel that is not there yet.
 *
 * What was answered is remembered beside: a later attempt takes the next address, and one for which nobody answers
 * falls back on what was known.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "tunnel/protocol.h"

#define RESOLVE_ADDRESSES_MAX 16 /* more of one answer are left out */
#define RESOLVE_PORT          53

#define RESOLVE_SERVER_USEC (2 * USEC_PER_SEC) /* for one name server */
#define RESOLVE_TOTAL_USEC  (5 * USEC_PER_SEC) /* for all: each has its share where that is less */

struct resolve_question {
	const char *name; /* a host name (RFC 1123) */
	struct worker_resolvers resolvers;
	uint16_t port; /* of the name servers; 0: RESOLVE_PORT */
	uint32_t mark;
};

struct resolve;

/*
 * Called once, last, from the event loop. COUNT addresses, IPv4 and IPv6, in the order received; or none, and DETAIL is
 * a sentence that names the name, the name servers asked and what each said, and the remedy. ADDRESSES end with the
 * resolve, which the callback may free; DETAIL lives until the callback returns.
 */
typedef void (*resolve_done)(void *userdata, const struct ip_address *addresses, size_t count, const char *detail);

/* Begins to ask. Nothing is called before the loop runs. Negative errno. */
int resolve_new(struct resolve **ret, sd_event *event, const struct resolve_question *question, resolve_done done,
        void *userdata);
/* Ends it without a word. Accepts NULL, returns NULL. */
struct resolve *resolve_free(struct resolve *resolve);

/* What is known of one name. All zero: nothing yet. */
struct resolve_memory {
	struct ip_address addresses[RESOLVE_ADDRESSES_MAX]; /* of the last answer that had any */
	size_t count;
	struct ip_address last; /* the one that was taken last */
	bool stood;             /* and a session came up with it */
};

/* Keeps an answer of COUNT addresses; one without any changes nothing. */
void resolve_memory_keep(struct resolve_memory *memory, const struct ip_address *addresses, size_t count);
/*
 * Where the next attempt begins in `addresses`, to go on from there round to the one before: at the address that a
 * session stood with, after one that was taken in vain, at the first where none was taken or it is gone.
 */
size_t resolve_memory_first(const struct resolve_memory *memory);
/* The address of index INDEX is taken for an attempt. */
void resolve_memory_take(struct resolve_memory *memory, size_t index);
