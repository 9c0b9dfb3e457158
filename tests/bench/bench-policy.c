/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What a decision costs with 10 rules and with 10,000, and how often it allocates (never). Each shape of rules is one
 * that people write, repeated: the context of most decisions matches none of the rules before the last, which is the
 * worst case. The baseline of each ratio is the same shape with 10 rules in the same run. Exits with failure if a
 * decision allocated, or a goal was missed.
 */

#include "measure.h"
#include "policy-shapes.h"
#include "util/fields.h"
#include "util/text.h"

#define FEW        10
#define MANY       10000
#define DECISIONS  50000
#define ROUNDS     40
#define ROUNDS_MAX 400

#define FEW_MAX_NS 1000
#define RATIO_MAX  2

static unsigned long allocations, decisions;
static bool counting;

/* Every allocation of the process passes here: glibc's own are called by their internal names. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *pointer, size_t size);

void *malloc(size_t size)
{
	allocations += counting;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	allocations += counting;
	return __libc_calloc(count, size);
}

void *realloc(void *pointer, size_t size)
{
	allocations += counting;
	return __libc_realloc(pointer, size);
}

/* Nanoseconds per decision, of one round. */
static double measure(const struct policy *policy)
{
	struct policy_context context = {
		.error = TUNNEL_ERROR_SERVER_BUSY,
		.tunnel = "home",
		.driver = "wireguard",
		.endpoint = "192.0.2.1:51820/udp",
		.phase = POLICY_PHASE_CONNECTED,
		.attempt = 1,
		.network = {.available = POLICY_TRUE,
			.type = "wifi",
			.interface = "wlan0",
			.ssid = "home",
			.profile = "home"},
	};
	uint64_t start = now_nsec();
	counting = true;
	for (unsigned i = 0; i < DECISIONS; i++) {
		struct policy_decision decision;
		context.random = i;
		policy_evaluate(policy, &context, &decision);
		__asm__ volatile("" : : "r"(&decision) : "memory"); /* the decision is used */
	}
	counting = false;
	return usec_since(start) * 1000 / DECISIONS;
}

/* Few and many rules in turn, so that what else the machine does hits both; the best round of each counts. More where that does not suffice. */
static bool compare(const struct policy_shape *shape)
{
	_cleanup_policy_ struct policy *few = policy_shape_make(shape, FEW), *many = policy_shape_make(shape, MANY);
	double ns_few = 1e9, ns_many = 1e9;
	bool good = false;
	for (unsigned round = 0; round < ROUNDS || (!good && round < ROUNDS_MAX); round++) {
		ns_few = MIN_OF(ns_few, measure(few));
		ns_many = MIN_OF(ns_many, measure(many));
		good = ns_few <= FEW_MAX_NS && ns_many <= RATIO_MAX * ns_few;
		decisions += 2 * DECISIONS;
	}
	printf("%-24s %10.1f %10.1f %8.2f%s\n", shape->name, ns_few, ns_many, ns_many / ns_few, good ? "" : "  MISSED");
	return good;
}

/* The count is worth nothing unless it sees an allocation that is there. */
static bool counter_works(void)
{
	unsigned long before = allocations;
	counting = true;
	struct policy *policy = policy_default();
	counting = false;
	policy_unref(policy);
	bool works = allocations > before;
	allocations = before;
	return works;
}

int main(void)
{
	if (!counter_works()) {
		fprintf(stderr, "the count of allocations does not count\n");
		return EXIT_FAILURE;
	}
	size_t count;
	const struct policy_shape *shapes = policy_shapes(&count);
	bool good = true;
	printf("policy: ns per decision (goals: at most %d, and with 10,000 rules at most %d times that)\n%-24s %10s %10s %8s\n", FEW_MAX_NS,
		RATIO_MAX, "rules tell apart by", "10 rules", "10,000", "ratio");
	for (size_t i = 0; i < count; i++)
		good = compare(&shapes[i]) && good;
	printf("allocations in %lu decisions: %lu\n", decisions, allocations);
	return good && allocations == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
