/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the state file keeps of a tunnel, written and read back. */

#include "daemon/saved.h"

#include "tests/unit/suite.h"
#include "util/fields.h"

#define NOW (1000 * USEC_PER_SEC)
#define LATER (NOW + 5 * USEC_PER_SEC)
#define STABLE_AFTER (30 * USEC_PER_SEC)

static const char *const endpoints[] = {"192.0.2.1:51820/udp", "192.0.2.2:51820/udp"};
static struct lifecycle_tunnel before, after;

static void set_up(enum tunnel_state state)
{
	before = (struct lifecycle_tunnel){
		.id = "home",
		.endpoints = endpoints,
		.endpoint_count = ELEMENTSOF(endpoints),
		.endpoint = 1,
		.wanted = true,
		.state = state,
		.deadline_usec = USEC_INFINITY,
		.stable_usec = USEC_INFINITY,
	};
}

/* Another daemon reads what was written at NOW, at LATER. */
static void read_back(bool same_boot)
{
	struct policy *kept = NULL;
	_cleanup_policy_ struct policy *policy = policy_default();
	_cleanup_json_ json_object *object = saved_from_tunnel(&before, policy, NOW);
	after = (struct lifecycle_tunnel){.id = "home", .endpoints = endpoints, .endpoint_count = ELEMENTSOF(endpoints)};
	saved_to_tunnel(object, same_boot, LATER, policy, &after, &kept);
	policy_unref(kept);
}

static void a_connection_keeps_its_age(void)
{
	set_up(TUNNEL_CONNECTED);
	before.connected_usec = NOW - 20 * USEC_PER_SEC;
	read_back(true);
	CU_ASSERT_EQUAL(after.state, TUNNEL_CONNECTED);
	CU_ASSERT_EQUAL(after.connected_usec, before.connected_usec);
	CU_ASSERT_EQUAL(after.stable_usec, before.connected_usec + STABLE_AFTER);
	before.connected_usec = LATER + 1; /* no time that was */
	read_back(true);
	CU_ASSERT_EQUAL(after.connected_usec, LATER);
}

static void a_question_keeps_its_endpoint(void)
{
	set_up(TUNNEL_DECIDING);
	before.pending = (struct lifecycle_pending){.kind = PENDING_ASK, .id = 7};
	before.deadline_usec = NOW + 60 * USEC_PER_SEC;
	read_back(true);
	CU_ASSERT_EQUAL(after.state, TUNNEL_DECIDING);
	CU_ASSERT_EQUAL(after.pending.id, 7);
	CU_ASSERT_EQUAL(after.deadline_usec, before.deadline_usec);
	CU_ASSERT_EQUAL(after.endpoint, 1);
	read_back(false); /* the clock began anew: what was left of the time is left */
	CU_ASSERT_EQUAL(after.deadline_usec, LATER + 60 * USEC_PER_SEC);
}

static void restarts_are_counted_on(void)
{
	const size_t made = POLICY_HISTORY_RESTARTS + 3;
	set_up(TUNNEL_WAITING);
	for (size_t i = 0; i < made; i++)
		policy_history_decided(&before.history, 0, true, NOW - (made - i) * USEC_PER_SEC);
	read_back(true);
	CU_ASSERT_EQUAL(after.history.restart_count, POLICY_HISTORY_RESTARTS);
	for (unsigned seconds = 0; seconds <= made + 1; seconds++)
		CU_ASSERT_EQUAL(policy_history_restarts(&after.history, seconds * USEC_PER_SEC, NOW),
			policy_history_restarts(&before.history, seconds * USEC_PER_SEC, NOW));
	set_up(TUNNEL_DISCONNECTED);
	policy_history_decided(&before.history, 0, true, NOW);
	read_back(true);
	CU_ASSERT_EQUAL(after.history.restart_count, 1);
	read_back(false); /* of another boot's clock */
	CU_ASSERT_EQUAL(after.history.restart_count, 0);
}

static const struct test tests[] = {
	{"a connection keeps its age", a_connection_keeps_its_age},
	{"a question keeps its endpoint and its time", a_question_keeps_its_endpoint},
	{"restarts are counted on, within a boot", restarts_are_counted_on},
};

int main(int argc, char **argv)
{
	return suite_run("saved", tests, ELEMENTSOF(tests), argc, argv);
}
