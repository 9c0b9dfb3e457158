/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The gate on the real kernel, in a network namespace of the test program's own: it is made before anything else, and
 * without one nothing runs. Foreign hands are played by nft(8), as on any host.
 */

#include "firewall/gate-private.h"
#include "suite.h"

/* A foreign hand: a context of libnftables that the gate knows nothing of. Returns 0 or -1. */
int nft(const char *command);
/* The same by a process of its own, nft(8). Returns its exit status. */
int nft_program(const char *command);

/* What nft(8) would list of the table, without its counters' values. The caller frees it. */
char *list_table(void);
bool table_has(const char *text);

/* A gate with the plan NAME applied to an empty kernel. */
struct gate *gate_with(const char *name);
int apply(struct gate *gate, const char *name);
uint32_t generation_of(struct gate *gate);
uint64_t refused_out(struct gate *gate); /* packets */

/* What the watch told. */
struct heard {
	unsigned count, healed, suppressed;
	uint32_t pid;
	uint64_t usec;
	int error;
	char process[64];
};
void on_tampering(const struct gate_tampering *tampering, void *userdata);

struct watched {
	struct gate *gate;
	sd_event *event;
	struct heard heard;
};
void watch(struct watched *watched, const char *plan);
void watched_done(struct watched *watched);

/* Turns the loop until nothing happens for QUIET_MSEC. */
void turn(sd_event *event, uint64_t quiet_msec);

/* Links whose far ends nobody reads: eth0 is the uplink, hf-home the tunnel's; table 100 is what released traffic may
 * use. By ip(8). */
void make_links(void);
/* Sends a datagram to ADDRESS:PORT with MARK, or with SOCK_STREAM begins a connection. 0, or the errno that told of the refusal. */
int send_by(int style, const char *address, uint16_t port, uint32_t mark);
int send_to(const char *address, uint16_t port, uint32_t mark);

/* suite_run() in a network namespace that is made first. */
int gate_suite_run(const char *name, const struct test *tests, size_t count, int argc, char **argv);
