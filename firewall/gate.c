/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Commit, read back, compare.
 *
 * A commit counts only if the kernel was seen to hold it: the ruleset's generation was G before, and everything read
 * afterwards is of generation G + 1; so nobody else's change lies between, and what was read is what this transaction
 * made. Then the chains, their policies and the comments of their rules must be those that were rendered. A fingerprint
 * of what was read (expressions included) is kept; gate_verify() compares with it.
 *
 * The usual transaction adds, flushes and refills, so that counters and the release live on. Where the table has
 * another shape or holds what is not Holdfast's, it is replaced whole, still in one transaction; counters are then
 * carried over.
 *
 * Elements are no part of these texts: libnftables would read all that there are at every transaction. What the sets are
 * not known to hold goes in just behind the rules, in one transaction of its own: until then less is let by, not more,
 * and the gate is closed as soon with 100,000 networks listed as with none. The kernel's numbers of the table and its
 * sets tell whether they are still those that were filled.
 */

#include "firewall/gate.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <string.h>
#include <time.h>

#include "firewall/gate-private.h"
#include "firewall/render.h"
#include "util/text.h"
#include "util/timestamp.h"

#define COMMIT_ATTEMPTS    8                  /* others may commit between ours and its reading */
#define READ_ATTEMPTS      64                 /* a reading takes a fraction of a millisecond */
#define RELEASE_SLACK_USEC (5 * USEC_PER_SEC) /* how far the kernel's clock and ours may drift apart in an hour */

static const char *const state_names[] = {
        [GATE_OPEN] = "open",
        [GATE_CLOSED] = "closed",
        [GATE_CONNECTING] = "connecting",
        [GATE_TUNNEL] = "tunnel",
};
DEFINE_STRING_TABLE(gate_state, enum gate_state, state_names);

uint64_t monotonic_usec(void)
{
	return clock_usec(CLOCK_MONOTONIC);
}

static void forget_error(struct gate *gate)
{
	free(gate->error);
	gate->error = NULL;
}

int gate_fail(struct gate *gate, int error, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char *words = text_vformat(format, arguments);
	va_end(arguments);
	free(gate->error);
	gate->error = words;
	return error;
}

const char *gate_error(const struct gate *gate)
{
	return gate->error ? gate->error : "";
}

int gate_new(struct gate **ret)
{
	struct gate *gate = xcalloc(1, sizeof *gate);
	gate->heal_clock = monotonic_usec;
	uint32_t generation;
	int r = readback_open(&gate->socket);
	if (r == 0)
		r = readback_generation(gate->socket, &generation);
	if (r == 0)
		r = elements_open(&gate->elements);
	if (r == 0)
		r = elements_open(&gate->flows);
	if (r == 0)
		r = transaction_open(&gate->nft);
	if (r < 0) {
		gate_free(gate);
		return r;
	}
	*ret = gate;
	return 0;
}

struct gate *gate_free(struct gate *gate)
{
	if (!gate)
		return NULL;
	gate_watch_free(gate->watch);
	if (gate->nft)
		nft_ctx_free(gate->nft);
	readback_close(gate->socket);
	if (gate->elements)
		mnl_socket_close(gate->elements);
	if (gate->flows)
		mnl_socket_close(gate->flows);
	ruleset_done(&gate->plan);
	free(gate->listed);
	grant_list_done(&gate->granted);
	free(gate->error);
	free(gate);
	return NULL;
}

void gate_set_guard(struct gate *gate, gate_may_heal may_heal, void *userdata)
{
	gate->may_heal = may_heal;
	gate->may_heal_userdata = userdata;
}

static void keep_generation(struct gate *gate, uint32_t generation)
{
	gate->generations[generation % GENERATIONS_KEPT] = generation;
	gate->generation_count++;
}

bool gate_made_generation(const struct gate *gate, uint32_t generation)
{
	return generation > 0 && gate->generations[generation % GENERATIONS_KEPT] == generation;
}

bool gate_made_all(const struct gate *gate, uint32_t former, uint32_t generation)
{
	if (generation - former > GENERATIONS_KEPT)
		return false;
	while (former != generation)
		if (!gate_made_generation(gate, ++former))
			return false;
	return true;
}

/* ---- reading ---- */

/*
 * Where the table is another one than last time, or a counter was set back, what was seen before is added to what is
 * carried; the kernel tells nobody what a deleted counter had counted, so packets between the last reading and a
 * deletion are lost.
 */
static void carry_counters(struct gate *gate, const struct readback *seen)
{
	for (enum gate_counter counter = 0; counter < COUNTER_COUNT; counter++) {
		if (seen->handle != gate->table || seen->packets[counter] < gate->counted[counter])
			gate->carried[counter] += gate->counted[counter];
		gate->counted[counter] = seen->packets[counter];
	}
	gate->table = seen->handle;
}

static int read_by(int (*readback)(struct readback_socket *, struct readback *), struct gate *gate, struct readback *ret)
{
	int r = -EINTR;
	for (unsigned attempt = 0; r == -EINTR && attempt < READ_ATTEMPTS; attempt++)
		r = readback(gate->socket, ret);
	if (r == -EINTR)
		return gate_fail(gate, -ESTALE, "the ruleset kept changing while it was read");
	if (r < 0)
		return gate_fail(gate, r, "cannot read the table back: %s", strerror(-r));
	carry_counters(gate, ret);
	return 0;
}

static int read_table(struct gate *gate, struct readback *ret)
{
	int r = read_by(readback_read, gate, ret);
	if (r < 0)
		return r;
	gate->chains = 0;
	for (enum gate_chain chain = 0; chain < CHAIN_COUNT; chain++)
		gate->chains |= (unsigned)ret->chains[chain].exists << chain;
	return 0;
}

static uint64_t release_left(const struct gate *gate)
{
	uint64_t now = monotonic_usec();
	return gate->release_until > now ? gate->release_until - now : 0;
}

/* A release that outlasts what was granted is somebody else's. */
static bool release_too_long(const struct gate *gate, const struct readback *seen)
{
	return seen->released_usec > 0 && seen->released_usec > release_left(gate) + RELEASE_SLACK_USEC;
}

static const char *difference(const struct gate *gate, const struct readback *seen, const struct ruleset *set)
{
	const char *words = readback_difference(seen, set);
	if (!words && release_too_long(gate, seen))
		words = "the release was prolonged by somebody";
	return words;
}

/* A gate that has applied nothing yet finds a release that its predecessor granted, and keeps it if it is within
 * bounds. */
static int adopt_release(struct gate *gate)
{
	_cleanup_readback_ struct readback seen = {};
	int r = read_table(gate, &seen);
	if (r < 0)
		return r;
	if (seen.exists && seen.released_usec <= GATE_RELEASE_MAX_USEC)
		gate->release_until = seen.released_usec ? monotonic_usec() + seen.released_usec : 0;
	return 0;
}

/* ---- committing ---- */

static int run(struct gate *gate, const char *text)
{
	_cleanup_free_ char *words = NULL;
	int r = transaction_run(gate->nft, text, &words);
	return r < 0 ? gate_fail(gate, r, "%s", words) : 0;
}

static int run_replacing(struct gate *gate, const struct ruleset *set)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	ruleset_append_replacing(&text, set);
	return run(gate, text.bytes);
}

static int run_changing(struct gate *gate, const struct ruleset *set)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	ruleset_append(&text, set, gate->chains);
	return run(gate, text.bytes);
}

/* The answers to a transaction that a table of another shape gives; a table that vanishes meanwhile gives ENOENT. */
static bool wants_replacing(int error)
{
	return error == -EEXIST || error == -EOPNOTSUPP || error == -EBUSY || error == -ENOENT || error == -EINVAL;
}

static bool wants_another_attempt(int error)
{
	return error == -EINTR || error == -EAGAIN;
}

static void append_release(struct elements *elements, uint64_t usec)
{
	static const uint8_t families[] = {NFPROTO_IPV4, NFPROTO_IPV6};
	for (size_t i = 0; i < ELEMENTSOF(families) && usec >= USEC_PER_MSEC; i++)
		elements_add(elements, SET_RELEASED, &(struct set_element){.key = &families[i], .timeout_msec = usec / USEC_PER_MSEC});
}

/* Less is let by than is granted, rather than more. */
static void empty_sets(struct gate *gate, uint32_t generation)
{
	_cleanup_elements_ struct elements elements = {};
	for (enum gate_set set = SET_PROCESSES; set < SET_NAMES4; set++)
		elements_flush(&elements, set);
	if (elements_commit(&elements, gate->elements, generation) == 0)
		keep_generation(gate, generation + 1);
}

/* Puts into the sets that SEEN found what belongs there and is not known to be there. 0, 1: others changed something; again. */
static int fill_sets(struct gate *gate, const struct readback *seen)
{
	_cleanup_elements_ struct elements elements = {};
	bool others = seen->frame != gate->frame;
	gate->frame = seen->frame;
	gate->listed_known &= !others;
	gate->granted_known &= !others;
	if (!seen->exists)
		return 0;
	if (seen->released_usec == 0)
		append_release(&elements, release_left(gate));
	gate_fill(gate, &elements);
	if (elements.length == 0)
		return 0;
	int r = elements_commit(&elements, gate->elements, seen->generation);
	if (r == -ERESTART || wants_another_attempt(r))
		return 1;
	if (r < 0) {
		gate->listed_known = gate->granted_known = false;
		empty_sets(gate, seen->generation);
		return gate_fail(gate, r, "what is granted cannot be put into the table's sets: %s", strerror(-r));
	}
	keep_generation(gate, seen->generation + 1);
	gate->listed_known = gate->granted_known = true;
	return 0;
}

/*
 * One commit and its reading. 0: the kernel holds SET. 1: it was committed, but others had a hand in it; again.
 * *replacing is set where the table must be replaced.
 */
static int commit_once(struct gate *gate, const struct ruleset *set, bool *replacing)
{
	uint32_t before;
	int r = readback_generation(gate->socket, &before);
	if (r < 0)
		return gate_fail(gate, r, "cannot ask for the ruleset's generation: %s", strerror(-r));
	if (*replacing || !set->exists) { /* what the counters have counted until now goes with the table */
		r = gate_read_counters(gate);
		if (r < 0)
			return r;
	}
	r = *replacing ? run_replacing(gate, set) : run_changing(gate, set);
	if (r < 0 && !*replacing && wants_replacing(r)) {
		*replacing = true;
		return 1;
	}
	if (r < 0)
		return wants_another_attempt(r) ? 1 : r;

	_cleanup_readback_ struct readback seen = {};
	r = read_table(gate, &seen);
	if (r < 0)
		return r;
	if (seen.generation != before + 1) {
		gate_fail(gate, -ESTALE, "others changed the ruleset between commit and reading");
		return 1;
	}
	keep_generation(gate, seen.generation);
	const char *words = difference(gate, &seen, set);
	if (words) {
		gate_fail(gate, -ESTALE, "after the commit, %s", words);
		*replacing = true;
		return 1;
	}
	gate->fingerprint = seen.fingerprint;
	return fill_sets(gate, &seen);
}

/* *ret_committed: whether the kernel took SET at least once, also where it could not be verified. */
static int commit(struct gate *gate, const struct ruleset *set, bool replacing, bool *ret_committed)
{
	int r = 1;
	for (unsigned attempt = 0; r == 1 && attempt < COMMIT_ATTEMPTS; attempt++) {
		size_t kept = gate->generation_count;
		r = commit_once(gate, set, &replacing);
		*ret_committed |= r == 0 || gate->generation_count != kept;
	}
	if (r == 0)
		forget_error(gate);
	return r == 1 ? -ESTALE : r;
}

int gate_end_flows(struct gate *gate)
{
	int r = gate->plan.exists ? flows_end(gate->flows) : 0;
	return r < 0 ? gate_fail(gate, r, "connections in a flowtable cannot be ended: %s", strerror(-r)) : 0;
}

int gate_apply(struct gate *gate, const struct gate_plan *plan)
{
	_cleanup_ruleset_ struct ruleset set = {};
	const char *reason;
	bool committed = false;
	int r = render_plan(plan, &set, &reason);
	if (r < 0)
		return gate_fail(gate, r, "the plan was refused: %s", reason);
	if (!gate->applied) {
		r = adopt_release(gate);
		if (r < 0)
			return r;
	}
	set.translates |= set.exists && release_left(gate) > 0;
	r = commit(gate, &set, false, &committed);
	if (r == 0 || committed) {
		struct ruleset former = gate->plan;
		gate->plan = set;
		set = former;
		gate->applied = true;
		if (!gate->plan.exists)
			gate->release_until = 0;
	}
	return r < 0 ? r : gate_end_flows(gate);
}

int gate_heal(struct gate *gate, bool elements)
{
	_cleanup_readback_ struct readback seen = {};
	bool committed = false;
	int r = read_table(gate, &seen);
	if (r < 0)
		return r;
	if (elements)
		gate->listed_known = gate->granted_known = false;
	r = commit(gate, &gate->plan, !seen.exists || seen.frame != gate->frame, &committed);
	return r < 0 ? r : gate_end_flows(gate);
}

int gate_verify(struct gate *gate)
{
	_cleanup_readback_ struct readback seen = {};
	if (!gate->applied)
		return gate_fail(gate, -ESTALE, "no plan was applied yet");
	int r = read_table(gate, &seen);
	if (r < 0)
		return r;
	const char *words = difference(gate, &seen, &gate->plan);
	if (!words && seen.exists && seen.fingerprint != gate->fingerprint)
		words = "a rule or an object was replaced";
	if (words)
		return gate_fail(gate, -ESTALE, "%s", words);
	forget_error(gate);
	return 0;
}

/* ---- the rest of the door ---- */

int gate_read_counters(struct gate *gate)
{
	_cleanup_readback_ struct readback seen = {};
	return read_by(readback_counters, gate, &seen);
}

struct gate_counters gate_counters(const struct gate *gate)
{
	return (struct gate_counters){
	        .out = gate->carried[COUNTER_OUT] + gate->counted[COUNTER_OUT],
	        .in = gate->carried[COUNTER_IN] + gate->counted[COUNTER_IN],
	        .forward = gate->carried[COUNTER_FORWARD] + gate->counted[COUNTER_FORWARD],
	};
}

int gate_commit_elements(struct gate *gate, struct elements *elements)
{
	int r = -ERESTART;
	for (unsigned attempt = 0; r == -ERESTART && attempt < COMMIT_ATTEMPTS; attempt++) {
		uint32_t generation;
		r = readback_generation(gate->socket, &generation);
		if (r == 0)
			r = elements_commit(elements, gate->elements, generation);
		if (r == 0)
			keep_generation(gate, generation + 1);
	}
	return r < 0 ? gate_fail(gate, r == -ERESTART ? -ESTALE : r, "the sets' elements cannot be changed: %s", strerror(-r)) : 0;
}

/* What is released leaves with the uplink's address: the chain for that is made first. The first change after the release takes it away again. */
static int translate(struct gate *gate)
{
	bool committed = false;
	if (gate->plan.translates)
		return 0;
	gate->plan.translates = true;
	int r = commit(gate, &gate->plan, false, &committed);
	gate->plan.translates = r == 0 || committed;
	return r;
}

int gate_release(struct gate *gate, uint64_t duration_usec)
{
	uint64_t before = gate->release_until;
	if (duration_usec == 0)
		gate->release_until = 0; /* whatever the kernel says: a table that is made anew does not have it any more */
	if (!gate->applied || !gate->plan.exists)
		return gate_fail(gate, -ENOENT, "there is no closed gate to release");
	if (duration_usec > GATE_RELEASE_MAX_USEC)
		return gate_fail(gate, -EINVAL, "a release lasts at most one hour");
	if (duration_usec > 0 && duration_usec < USEC_PER_MSEC)
		duration_usec = USEC_PER_MSEC;
	_cleanup_elements_ struct elements elements = {};
	elements_flush(&elements, SET_RELEASED);
	append_release(&elements, duration_usec);
	int r = duration_usec ? translate(gate) : 0;
	if (r == 0)
		r = gate_commit_elements(gate, &elements);
	if (r < 0)
		return r;
	gate->release_until = duration_usec ? monotonic_usec() + duration_usec : 0;
	r = gate_verify(gate);
	if (r == 0 && duration_usec == 0)
		r = gate_end_flows(gate);
	if (r < 0)
		gate->release_until = MIN_OF(before, gate->release_until);
	return r;
}

int gate_release_remaining(struct gate *gate, uint64_t *ret_usec)
{
	_cleanup_readback_ struct readback seen = {};
	int r = read_table(gate, &seen);
	if (r < 0)
		return r;
	*ret_usec = seen.released_usec;
	return 0;
}

int gate_exists(struct gate *gate, bool *ret)
{
	_cleanup_readback_ struct readback seen = {};
	int r = read_table(gate, &seen);
	if (r < 0)
		return r;
	*ret = seen.exists;
	return 0;
}

int gate_remove(struct gate *gate)
{
	static const struct gate_plan none = {.exists = false};
	return gate_apply(gate, &none);
}
