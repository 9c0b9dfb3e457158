/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The policy: ordered rules, of which the first whose every condition holds decides. A document is parsed into an
 * immutable, reference-counted `struct policy`, compiled so that evaluation allocates nothing and hardly depends on the
 * number of rules. Pure: no clock, no I/O, no log. Time, the network and the tunnel's past come in as a `struct
 * policy_context`.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/error.h"
#include "util/problem.h"

#define POLICY_VERSION          1
#define POLICY_HASH_MAX         17 /* FNV-1a 64 in hex and a NUL: it names a version, it does not authenticate one */
#define POLICY_RULES_MAX        10000
#define POLICY_ACTION_DEPTH_MAX 8  /* actions inside actions: then, onTimeout */
#define POLICY_RULE_OTHERWISE   -1 /* `otherwise` decided */
#define POLICY_RULE_NONE        -2 /* nothing decided (events other than willStop) */

enum policy_event {
	POLICY_EVENT_WILL_STOP, /* "willStop" */
	POLICY_EVENT_NETWORK_CHANGED,
	POLICY_EVENT_NETWORK_LOST,
	POLICY_EVENT_NETWORK_AVAILABLE,
	POLICY_EVENT_RESUMED,
	POLICY_EVENT_UNRESPONSIVE,
	POLICY_EVENT_BOOT,
	POLICY_EVENT_COUNT,
};

/* What the tunnel was doing when it stopped, or is doing now. NONE (neither) is in no document: it matches nothing. */
enum policy_phase { POLICY_PHASE_CONNECTING, POLICY_PHASE_CONNECTED, POLICY_PHASE_NONE };

enum policy_action_type {
	POLICY_ACTION_NONE, /* no rule matched an event that needs no decision; never in a document */
	POLICY_ACTION_RESTART,
	POLICY_ACTION_FAILOVER,
	POLICY_ACTION_WAIT,
	POLICY_ACTION_ASK,
	POLICY_ACTION_TERMINATE,
	POLICY_ACTION_CONNECT,
	POLICY_ACTION_DISCONNECT,
	POLICY_ACTION_IGNORE,
};

enum policy_endpoint { POLICY_ENDPOINT_SAME, POLICY_ENDPOINT_NEXT, POLICY_ENDPOINT_RANDOM };
enum policy_worker { POLICY_WORKER_KEEP, POLICY_WORKER_FRESH };
enum policy_traffic { POLICY_TRAFFIC_BLOCK, POLICY_TRAFFIC_RELEASE };

STRING_TABLE(policy_event, enum policy_event);
STRING_TABLE(policy_phase, enum policy_phase);
STRING_TABLE(policy_action, enum policy_action_type);
STRING_TABLE(policy_endpoint, enum policy_endpoint);
STRING_TABLE(policy_worker, enum policy_worker);
STRING_TABLE(policy_traffic, enum policy_traffic);

struct policy_delay {
	uint64_t initial_usec; /* 0: at once */
	double factor;         /* >= 1; 1 where the document gives a plain duration */
	uint64_t max_usec;
	double jitter; /* 0 … 1: the delay is drawn from d × (1 ± jitter) */
};

/* An action as the document states it, defaults filled in. Owned by its policy; lives as long as that. */
struct policy_action {
	enum policy_action_type type;
	struct policy_delay delay;     /* restart */
	enum policy_endpoint endpoint; /* restart */
	enum policy_worker worker;     /* restart */
	enum policy_traffic traffic;   /* terminate, disconnect */
	const char *const *tunnels;    /* failover: ids, tunnel_count of them; connect: one */
	size_t tunnel_count;
	bool until_event; /* wait: until an event … */
	enum policy_event wait_event;
	uint64_t wait_usec;               /* … or for a duration */
	uint64_t timeout_usec;            /* wait, ask; USEC_INFINITY: none */
	const struct policy_action *then; /* wait; limits */
	const struct policy_action *on_timeout;
};

/*
 * What is known of the network. Strings are NULL (truths: NONE) where there is no such thing: no NetworkManager, no
 * Wi-Fi. They are POLICY_UNKNOWN (compared by address) and UNKNOWN where a source that exists did not answer.
 */
extern const char POLICY_UNKNOWN[];
enum policy_truth { POLICY_FALSE, POLICY_TRUE, POLICY_TRUTH_UNKNOWN, POLICY_TRUTH_NONE };
struct policy_network {
	enum policy_truth available;
	enum policy_truth metered;
	const char *type; /* "ethernet", "wifi", "wwan", "bluetooth", "other" */
	const char *interface, *ssid, *bssid, *profile;
};

/*
 * The past of one tunnel as far as policies speak of it. The lifecycle owns one per tunnel, keeps it in its state and
 * calls the functions below; it is plain data, so that it can be copied and saved.
 */
#define POLICY_HISTORY_RULES    16  /* rules whose decisions are counted at a time; the least used makes room */
#define POLICY_HISTORY_RESTARTS 128 /* restarts remembered for `restarts` and `limits`; no limit may exceed it */
struct policy_history {
	struct {
		int16_t rule;   /* index + 2, so that `otherwise` has a place too; 0: free */
		uint16_t count; /* decisions since stable */
	} rules[POLICY_HISTORY_RULES];
	uint64_t restarts[POLICY_HISTORY_RESTARTS]; /* times, a ring */
	uint16_t restart_next, restart_count;
};

struct policy_context {
	enum policy_event event;
	uint64_t now_usec;       /* monotonic, also in sleep (CLOCK_BOOTTIME) */
	int wall_minute;         /* minute of the day in the host's zone, -1: unknown */
	int wall_day;            /* 0 Monday … 6 Sunday, -1: unknown */
	uint64_t random;         /* drawn by the caller; jitter is computed from it */
	enum tunnel_error error; /* willStop */
	const char *tunnel;      /* id */
	const char *driver;
	const char *endpoint; /* as the document writes it */
	enum policy_phase phase;
	unsigned attempt;
	uint64_t connected_for_usec; /* 0: was not connected */
	struct policy_network network;
	const struct policy_history *history; /* may be NULL: no past */
	bool restarts_given; /* EvaluatePolicy: take `restarts` as the count, whatever the window … */
	unsigned restarts;   /* … instead of asking the history */
};

struct policy_decision {
	int rule;                           /* index, POLICY_RULE_OTHERWISE or POLICY_RULE_NONE */
	const char *rule_name;              /* NULL where the rule has none */
	const struct policy_action *action; /* NULL: nothing to do (POLICY_RULE_NONE) */
	uint64_t delay_usec; /* restart, failover: after backoff, cap and jitter; at least until the window allows it if
				limited */
	bool limited; /* `limits` held it back: action is then limits' own `then`, or the rule's with delay_usec */
};

struct policy;

/*
 * Parses, validates and compiles DOCUMENT. Returns 0 and a new reference, or -EINVAL with every error in PROBLEMS;
 * warnings are added in both cases. The document is not kept.
 */
int policy_new(json_object *document, struct policy **ret, struct problems *problems);
/* Warns of each tunnel that DOCUMENT, a policy's, names and EXISTS denies; those that a pattern names may be any. */
typedef bool (*policy_tunnel_exists)(const char *id, void *userdata);
void policy_check_tunnels(json_object *document, policy_tunnel_exists exists, void *userdata, struct problems *problems);
struct policy *policy_ref(struct policy *policy);
struct policy *policy_unref(struct policy *policy); /* accepts NULL, returns NULL */
DEFINE_CLEANUP(struct policy *, policy_unref)
#define _cleanup_policy_ _cleanup_(policy_unrefp)

/* The built-in default: restart what a retry can help, wait while offline, end closed on the rest. A new reference. */
struct policy *policy_default(void);
const char *policy_default_text(void); /* its JSON */

const char *policy_name(const struct policy *policy); /* NULL where it has none */
const char *policy_hash(
	const struct policy *policy); /* of its canonical JSON, hex; names the version in decision records and ETags */
bool policy_same(const struct policy *a, const struct policy *b); /* whether both are the same document, by their hashes */
size_t policy_rule_count(const struct policy *policy);
const char *policy_rule_name(const struct policy *policy, int rule);
uint64_t policy_stable_after_usec(const struct policy *policy);
json_object *policy_to_json(const struct policy *policy); /* the document as given; the caller owns the reference */
const char *policy_document_text(const struct policy *policy); /* the same, as compact JSON */

/* Decides. Total: on willStop there is always an action. Allocates nothing. */
void policy_evaluate(const struct policy *policy, const struct policy_context *context, struct policy_decision *ret);

/*
 * The decision that RULE's nested ACTION (a wait's `then`, an `onTimeout`) comes to when its time has come: delay and
 * limits as policy_evaluate() would apply them, without judging the rules again. ACTION must belong to POLICY.
 */
void policy_carry_on(const struct policy *policy, const struct policy_context *context, int rule,
	const struct policy_action *action, struct policy_decision *ret);

/*
 * What is left of POLICY when the daemon ends while a decision of RULE is pending: `limits`, the rule's index and name,
 * and the policy's hash. The caller owns the object.
 */
json_object *policy_remnant_to_json(const struct policy *policy, int rule);

/*
 * Reads one back, with what the decision leads to, THEN and ON_TIMEOUT (actions as documents state them; NULL: none).
 * The new policy owns both actions, and is for policy_carry_on(), policy_hash() and policy_rule_name() alone: it decides
 * on nothing. REMNANT may be NULL, of nobody knows which policy: then its hash is empty. Returns 0, or -EINVAL.
 */
struct policy_remnant {
	struct policy *policy; /* a new reference */
	int rule;
	const struct policy_action *then, *on_timeout;
};
int policy_remnant_from_json(json_object *remnant, json_object *then, json_object *on_timeout, struct policy_remnant *ret);

/*
 * The same with reasons: the answer of EvaluatePolicy, {"decision", "rule", "tried": [{"index", "name", "failed"}],
 * "delay", "limited"}. `failed` is the JSON Pointer, inside the rule, of the first condition (in the order of the
 * reference) that did not hold, with "unknown": true beside it where a source did not answer. `decision` and `rule` are
 * null where nothing decided; `name` is null where the rule has none. `delay` is a duration for restart and failover,
 * else null. The caller owns the object.
 */
json_object *policy_explain(const struct policy *policy, const struct policy_context *context);

/*
 * Fills *ret from an EvaluatePolicy context document; strings point into DOCUMENT. Members are named as conditions are;
 * null says that the source did not answer, an absent member that there is no such thing (network.available: true,
 * attempt: 1; phase follows from connectedFor). jitter is left out of the delays that follow from it. -EINVAL with
 * every error in PROBLEMS.
 */
int policy_context_parse(json_object *document, struct policy_context *ret, struct problems *problems);

/* {"action": …} as a document would state it, defaults filled in; null for NULL. The caller owns the object. */
json_object *policy_action_to_json(const struct policy_action *action);

/*
 * The history. decided(): RULE (an index or POLICY_RULE_OTHERWISE) decided, RESTART: a restart or failover came of it.
 * stable(): the connection became stable, the user began anew, or the policy was replaced, so that indices mean other
 * rules. Times need not rise.
 */
void policy_history_decided(struct policy_history *history, int rule, bool restart, uint64_t now_usec);
void policy_history_stable(struct policy_history *history); /* forgets the rules' counts, keeps the restarts' times */
unsigned policy_history_rule_count(const struct policy_history *history, int rule);
void policy_history_set_rule_count(struct policy_history *history, int rule, unsigned count);
/* The rule that is counted in PLACE, below POLICY_HISTORY_RULES; POLICY_RULE_NONE: none is. */
int policy_history_rule_at(const struct policy_history *history, size_t place);
unsigned policy_history_restarts(const struct policy_history *history, uint64_t per_usec, uint64_t now_usec);
