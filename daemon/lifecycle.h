/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The life of every tunnel, as a pure function: a state, an event and the time go in; the state is changed, and an ordered list of
 * effects comes out. It does no I/O, reads no clock, allocates nothing and logs nothing.
 *
 * The daemon carries the effects out in their order. Once one has failed, those after it that start or open something
 * (effect_is_void_after_failure()) are not done, those that end or tell something are, and the failure comes back as an event.
 * EFFECT_GATE means: bring the kernel to what daemon/demand.h makes of the state as it is after the step, and see it verified. It
 * comes first where the step closes, and last, behind EFFECT_RECORD, where it opens.
 */

#include <stdbool.h>
#include <stdint.h>

#include "firewall/settings.h"
#include "policy/policy.h"
#include "tunnel/config.h"
#include "util/address.h"
#include "util/string-table.h"

#define LIFECYCLE_TUNNELS_MAX 32
#define LIFECYCLE_EFFECTS_MAX 512
#define LIFECYCLE_GOODBYE_USEC (5 * USEC_PER_SEC)	/* a client may say goodbye this long */
#define LIFECYCLE_HELLO_USEC (100 * USEC_PER_SEC)	/* a worker must be there by then: later than WORKER_HELLO_MAX_USEC, whose end says more */
#define LIFECYCLE_ASK_USEC (120 * USEC_PER_SEC)	/* somebody has so long to give credentials */
#define LIFECYCLE_GATE_RETRY_USEC USEC_PER_SEC		/* soonest restart after the gate failed */
#define LIFECYCLE_SPACING_USEC (250 * USEC_PER_MSEC)	/* between attempts of which the first came to nothing: "at once" is no spinning */
#define LIFECYCLE_UPLINK_USEC (20 * USEC_PER_SEC)	/* a session that ends so soon after the uplink changed did not survive that: a silent peer is noticed by then */
#define LIFECYCLE_NONE SIZE_MAX				/* no such tunnel */

enum tunnel_state {
	TUNNEL_DISCONNECTED,
	TUNNEL_CONNECTING,
	TUNNEL_CONNECTED,
	TUNNEL_REASSERTING,   /* restarting in place */
	TUNNEL_DECIDING,      /* stopped unexpectedly, a decision is pending */
	TUNNEL_WAITING,	      /* a decided restart waits for its delay or for the network */
	TUNNEL_DISCONNECTING,
	TUNNEL_FAILED,	      /* ended by decision */
	TUNNEL_STATE_COUNT,
};
STRING_TABLE(tunnel_state, enum tunnel_state);

enum worker_state {
	WORKER_STATE_NONE,
	WORKER_STATE_SPAWNED, /* has not said hello yet */
	WORKER_STATE_IDLE,    /* there, without a session */
	WORKER_STATE_RUNNING, /* was told to start */
	WORKER_STATE_ENDING,  /* was killed; the end has not been seen yet */
};

/* What a pending decision waits for. */
enum pending_kind { PENDING_NONE, PENDING_DELAY, PENDING_NETWORK, PENDING_EVENT, PENDING_ASK };
STRING_TABLE(pending_kind, enum pending_kind);

struct lifecycle_pending {
	enum pending_kind kind;
	uint64_t id;			   /* of the decision */
	const struct policy *policy;	   /* that asked: `then` and `on_timeout` have its delays and limits; NULL: nobody's any more */
	int rule;			   /* of that policy */
	enum policy_event event;	   /* PENDING_EVENT */
	const struct policy_action *then;  /* what follows; NULL: restart */
	bool decided;			   /* PENDING_DELAY: `then` is what was decided, for this time: nobody decides on it again */
	const struct policy_action *on_timeout; /* NULL: terminate, block */
	enum policy_endpoint endpoint;	   /* of the restart that waits */
	enum policy_worker worker;
	bool hastens;			   /* PENDING_DELAY: an uplink that comes back ends it; not where `limits` asked for the delay */
};

struct lifecycle_tunnel {
	/* What it is. Borrowed; it lives as long as the tunnel. */
	const char *id, *driver;
	const char *const *endpoints; /* as the document writes them */
	size_t endpoint_count;
	bool all;
	const struct ip_prefix *routes; /* where it is not */
	size_t route_count;
	uint64_t connect_timeout_usec;

	/* What was asked for. */
	bool wanted;
	bool released;	       /* its demand was given up by a rule (`traffic: release`) */
	bool system_stop;      /* the stop under way is the system's, not the user's */
	uint64_t wanted_order; /* the greatest was wanted last */

	enum tunnel_state state;
	uint64_t since_usec;
	enum worker_state worker;
	bool starting;	    /* wanted, and the gate is being closed for it: what follows comes with LIFECYCLE_STARTED */
	bool fresh_start;   /* the same, and nobody wanted it before: if the gate fails, it never happened */
	enum tunnel_state proving; /* up, but what the last step asked for has not been carried out yet: the state that it came from; DISCONNECTED: none is */
	bool again;	    /* start (again) once the worker that is ending is gone */
	bool established;   /* was connected since the user's start */
	bool asking;	    /* its client waits for credentials: until they are there, nobody is contacted */
	bool contacted;	    /* the gate is open for `contact` */
	struct endpoint contact;
	size_t endpoint;    /* index */
	uint64_t connected_usec; /* 0: is not */
	uint64_t attempt_usec;	 /* when the last attempt began that has not connected; 0: it has, or there was none */
	uint64_t deadline_usec;	 /* of the state; USEC_INFINITY: none */
	uint64_t stable_usec;	 /* when the connection will count as stable; USEC_INFINITY: it does, or there is none */
	unsigned attempt;
	enum tunnel_error error; /* of the last unexpected stop since the user's start */
	enum tunnel_error reason; /* why it is not up: the error, or who stopped it */
	struct lifecycle_pending pending;
	struct policy_history history;
};

struct lifecycle {
	enum gate_mode mode;
	bool available;	/* the network */
	bool stopping;	/* the system stops the daemon */
	bool hold;	/* what is wanted is not known: closed, as in mode always, until somebody says otherwise */
	bool portal;	/* the network wants a sign-in before it lets anything through */
	uint64_t uplink_changed_usec; /* CLOCK_BOOTTIME: when the uplink last became another (link, address, gateway); 0: it has not */
	struct policy_network network; /* for conditions; borrowed strings */
	int wall_minute, wall_day;     /* likewise; kept current by the daemon */
	const struct policy *policy;   /* borrowed */
	uint64_t random;	       /* xorshift64*; never 0 */
	uint64_t wanted_order;
	uint64_t next_decision;
	uint32_t used;		       /* bit i: place i has a tunnel */
	struct lifecycle_tunnel tunnels[LIFECYCLE_TUNNELS_MAX]; /* those in use; the others say nothing */
};

enum lifecycle_event_type {
	LIFECYCLE_USER_START,
	LIFECYCLE_USER_STOP,
	LIFECYCLE_USER_RESTART,
	LIFECYCLE_STARTED,	  /* EFFECT_STARTED: the gate is closed for the tunnel, which may begin now */
	LIFECYCLE_SYSTEM_STOP,
	LIFECYCLE_BEGIN,	  /* the daemon has started: take up what the state file said */
	LIFECYCLE_WORKER_HELLO,	  /* a new worker is ready */
	LIFECYCLE_WORKER_ASKING,  /* for credentials */
	LIFECYCLE_ANSWERED,	  /* they were given to it */
	LIFECYCLE_WORKER_CONTACTING,
	LIFECYCLE_WORKER_UP,
	LIFECYCLE_WORKER_WILL_STOP,
	LIFECYCLE_WORKER_STOPPED, /* as it was told to */
	LIFECYCLE_WORKER_GONE,
	LIFECYCLE_PEER_SILENT,	  /* two independent signs say that nothing comes back */
	LIFECYCLE_LINK_LOST,	  /* the tunnel's link went down or vanished */
	LIFECYCLE_EFFECT_FAILED,  /* carrying out the last step's effects failed with `error` */
	LIFECYCLE_TIME,		  /* a deadline may have passed */
	LIFECYCLE_NETWORK,	  /* `available` */
	LIFECYCLE_POLICY_EVENT,	  /* something policies may have rules for; of one tunnel, or of all */
	LIFECYCLE_ANSWER,	  /* to the decision `decision` */
	LIFECYCLE_MODE,
	LIFECYCLE_EVENT_COUNT,
};
STRING_TABLE(lifecycle_event, enum lifecycle_event_type);

struct lifecycle_event {
	enum lifecycle_event_type type;
	size_t tunnel;		  /* LIFECYCLE_NONE where the event is the host's */
	uint64_t now_usec;	  /* CLOCK_BOOTTIME */
	enum tunnel_error error;
	struct endpoint endpoint; /* contacting */
	enum policy_event policy_event;
	bool available;
	enum gate_mode mode;
	uint64_t decision;
	bool restart;		  /* the answer */
	uint32_t unspawned;	  /* effect failed: bit i: tunnel i's EFFECT_WORKER_SPAWN was not done */
	uint32_t undone;	  /* effect failed: bit i: some effect of tunnel i, behind the one that failed, was left out */
};
_Static_assert(LIFECYCLE_TUNNELS_MAX <= 32, "used, unspawned and undone have a bit for each tunnel");

/* What led to a decision. */
enum decided_by {
	DECIDED_BY_POLICY,  /* its rules, or `otherwise`, on an event */
	DECIDED_BY_THEN,    /* what a `wait` was for has come */
	DECIDED_BY_TIMEOUT, /* it, or an answer, has not come in time */
	DECIDED_BY_ANSWER,
	DECIDED_BY_COUNT,
};
STRING_TABLE(decided_by, enum decided_by);

enum effect_type {
	EFFECT_GATE,
	EFFECT_STARTED,		/* feed LIFECYCLE_STARTED: reached only with the gate verified */
	EFFECT_RECORD,		/* the state, durably */
	EFFECT_ANNOUNCE_STOP,	/* an unexpected stop: error, phase, attempt */
	EFFECT_ANNOUNCE_DECISION,
	EFFECT_ANNOUNCE_PENDING, /* somebody is asked */
	EFFECT_ANNOUNCE_STATE,
	EFFECT_WORKER_SPAWN,
	EFFECT_WORKER_START,	/* to a worker that is there and has none of the tunnel's descriptors */
	EFFECT_WORKER_RESTART,	/* in place */
	EFFECT_WORKER_PROCEED,
	EFFECT_WORKER_STOP,
	EFFECT_WORKER_KILL,
	EFFECT_LINK_CONFIGURE,	/* addresses, routes, resolver */
	EFFECT_LINK_REMOVE,
	EFFECT_EXIT,		/* everything that the system's stop asked for is done */
	EFFECT_COUNT,
};
STRING_TABLE(effect, enum effect_type);

struct effect {
	enum effect_type type;
	size_t tunnel;
	enum tunnel_state old, new;  /* state */
	enum tunnel_error error;     /* stop, state (the reason) */
	enum policy_phase phase;     /* stop */
	unsigned attempt;
	uint64_t decision_id;	     /* decision, pending */
	uint64_t deadline_usec;	     /* pending */
	enum policy_event event;     /* decision */
	struct policy_decision decision;
	bool missing;		     /* decision: it connects a tunnel that there is not; of the host's events it then has no tunnel */
	enum decided_by by;	     /* decision */
	const struct policy *policy; /* decision: the one that decided, or that asked what is decided now; NULL: it is gone. Borrowed, for this turn */
};

struct effects {
	struct effect items[LIFECYCLE_EFFECTS_MAX];
	size_t count;
	bool changed; /* false: what was asked for already is */
};

/* Whether EFFECT is left out once one before it in its list has failed. */
bool effect_is_void_after_failure(const struct effect *effect);

/* An empty house: no tunnels, mode auto, no network. SEED is not 0. */
void lifecycle_init(struct lifecycle *lifecycle, const struct policy *policy, uint64_t seed);

void lifecycle_step(struct lifecycle *lifecycle, const struct lifecycle_event *event, struct effects *ret);

/* The soonest time at which a LIFECYCLE_TIME event has something to do; USEC_INFINITY: none. */
uint64_t lifecycle_deadline(const struct lifecycle *lifecycle);

/*
 * `for LIFECYCLE_TUNNELS (i, lifecycle)`: each place that has a tunnel, in their order. Those that have when it begins: what is added or
 * removed meanwhile makes no difference to it.
 */
#define LIFECYCLE_TUNNELS(i, lifecycle) \
	(size_t i, left_of_##i = (lifecycle)->used; left_of_##i && (i = (size_t)__builtin_ctzl(left_of_##i), true); left_of_##i &= left_of_##i - 1)

static inline bool lifecycle_has(const struct lifecycle *lifecycle, size_t index)
{
	return index < LIFECYCLE_TUNNELS_MAX && lifecycle->used >> index & 1;
}

/* Takes the place INDEX for a tunnel that is at rest and was never wanted. The caller says what it is (the first members). */
struct lifecycle_tunnel *lifecycle_add(struct lifecycle *lifecycle, size_t index, uint64_t now_usec);
void lifecycle_remove(struct lifecycle *lifecycle, size_t index);

/* Index of the tunnel ID, or LIFECYCLE_NONE. */
size_t lifecycle_find(const struct lifecycle *lifecycle, const char *id);

/* Whether the tunnel is anything but at rest: it may not be deleted or replaced. */
bool lifecycle_tunnel_active(const struct lifecycle_tunnel *tunnel);
