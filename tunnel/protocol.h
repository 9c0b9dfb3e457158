/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the daemon and a worker say to each other over worker.sock (SOCK_SEQPACKET): one JSON object per packet, at most
 * WORKER_MESSAGE_MAX bytes, with a member `type`. Both sides check every packet; one that does not parse ends the
 * connection.
 *
 * Orders carry a number, `attempt`, and what a session tells carries that of the order it answers: what was on its way
 * when a new order was given is told from what follows it, and is dropped.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "policy/error.h"
#include "util/address.h"
#include "util/string-table.h"

#define WORKER_MESSAGE_MAX   (64u << 10)
#define WORKER_NONCE_SIZE    32
#define WORKER_DETAIL_MAX    512 /* bytes of a client's own words that are kept */
#define TUNNEL_PREFIXES_MAX  64
#define WORKER_RESOLVERS_MAX 8

enum worker_message_type {
	/* to the worker */
	WORKER_MESSAGE_START,
	WORKER_MESSAGE_STOP,
	WORKER_MESSAGE_RESTART,
	WORKER_MESSAGE_PROCEED,
	WORKER_MESSAGE_CREDENTIALS,
	WORKER_MESSAGE_DEVICE,
	/* from the worker */
	WORKER_MESSAGE_HELLO,
	WORKER_MESSAGE_CONTACTING,
	WORKER_MESSAGE_NEED_CREDENTIALS,
	WORKER_MESSAGE_UP,
	WORKER_MESSAGE_TRAFFIC,
	WORKER_MESSAGE_ASK_DEVICE,
	WORKER_MESSAGE_WILL_STOP,
	WORKER_MESSAGE_STOPPED,
};
STRING_TABLE(worker_message_type, enum worker_message_type);

/* What a worker's session is doing. */
enum worker_phase { WORKER_IDLE, WORKER_ASKING, WORKER_CONTACTING, WORKER_CONNECTING, WORKER_UP, WORKER_STOPPED };
STRING_TABLE(worker_phase, enum worker_phase);

/*
 * What a worker without a right to its tunnel's device asks the daemon to do with it, once it was told to proceed. It names no values: the
 * daemon takes them from the document, and the server from what it opened the gate for.
 */
enum device_request {
	DEVICE_CONFIGURE, /* keys, the mark, the server and all peers anew: a new session begins at once */
	DEVICE_SETTLE,    /* it stands: the document's own keepalive */
	DEVICE_INSPECT,   /* say how it is */
};
STRING_TABLE(device_request, enum device_request);

/* What the session needs of the host's network. */
struct tunnel_network {
	struct ip_prefix addresses[TUNNEL_PREFIXES_MAX];
	size_t address_count;
	struct ip_address
	        dns[TUNNEL_PREFIXES_MAX]; /* pushed by the server; the tunnel's own `dns` wins where it has one */
	size_t dns_count;
	uint32_t mtu;
	struct endpoint endpoint; /* that the session stands with */
};

struct tunnel_traffic {
	uint64_t rx_bytes, tx_bytes;
	uint64_t last_handshake_usec; /* CLOCK_REALTIME; 0: none or unknown */
};

struct device_answer {
	enum device_request request; /* that it answers */
	enum tunnel_error error;     /* TUNNEL_ERROR_NONE: done */
	char detail[WORKER_DETAIL_MAX];
	struct tunnel_traffic traffic; /* inspect */
};

/* Whom the worker may ask for the address of its server: the gate lets by queries to these, while it is connecting. */
struct worker_resolvers {
	struct ip_address servers[WORKER_RESOLVERS_MAX];
	size_t count;
};

/* What a worker is started with. */
struct worker_start {
	json_object *tunnel; /* the document, secrets included; borrowed */
	size_t endpoint;
	struct worker_resolvers resolvers;
	uint32_t mark;  /* for clients that mark their own sockets, beside the cgroup's */
	int tun_fd;     /* -1: the driver needs none */
	int control_fd; /* a listening socket for the client, or -1 */
};

/* A question that comes with names of credentials: its answer is the one named WORKER_CHALLENGE_NAME. */
struct worker_challenge {
	char text[WORKER_DETAIL_MAX]; /* as worker_detail_set() leaves it; "": there is none */
	bool echo;                    /* the answer may be seen while it is typed */
};
#define WORKER_CHALLENGE_NAME "response"

struct worker_hello {
	char tunnel[13];
	char nonce[WORKER_NONCE_SIZE * 2 + 1]; /* hex */
	uint32_t attempt;                      /* of the last order; 0: none yet */
	enum worker_phase phase;
	size_t endpoint_index;
	struct endpoint endpoint;      /* contacted or connected with; AF_UNSPEC: none */
	struct tunnel_network network; /* WORKER_UP */
	uint64_t up_since_usec;        /* CLOCK_BOOTTIME; 0 unless up */
	enum tunnel_error error;       /* WORKER_STOPPED: why, said again to a daemon that may not have heard it */
	char detail[WORKER_DETAIL_MAX]; /* WORKER_ASKING: for what */
	struct worker_challenge challenge; /* WORKER_ASKING */
};

struct worker_message {
	enum worker_message_type type;
	uint32_t attempt; /* all but hello, traffic and credentials */
	struct worker_hello hello;
	struct endpoint endpoint;          /* contacting */
	size_t endpoint_index;             /* start, restart, contacting */
	struct worker_resolvers resolvers; /* start, restart */
	struct tunnel_network network;     /* up */
	struct tunnel_traffic traffic;     /* traffic, device */
	enum tunnel_error error;           /* willStop, device */
	char detail[WORKER_DETAIL_MAX];    /* willStop: the client's own words; needCredentials: what is asked for */
	struct worker_challenge challenge; /* needCredentials */
	json_object *tunnel;               /* start; owned */
	uint32_t mark;                     /* start */
	bool has_tun, has_control;         /* start: which descriptors the packet carries, in this order */
	enum device_request request;       /* askDevice, device; what else a device answers is in error, detail, traffic */
	json_object *credentials;          /* credentials: an object of strings; owned */
};

/* DETAIL = what of TEXT (NULL: nothing) is printable ASCII, cut to size; all else becomes '?', line ends become spaces.
 */
void worker_detail_set(char detail[WORKER_DETAIL_MAX], const char *text);

/* JSON text of MESSAGE; the caller frees (and wipes) it. */
char *worker_message_encode(const struct worker_message *message);
/* Strict: -EBADMSG for anything that is not exactly one message of ours. Nothing is kept on error. */
int worker_message_decode(const char *bytes, size_t length, struct worker_message *ret);
/* Releases what MESSAGE owns, wiped. */
void worker_message_done(struct worker_message *message);
