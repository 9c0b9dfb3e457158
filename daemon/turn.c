/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Once an effect has failed, those behind it that start or open something are left out; those that end or tell something are not. The
 * lifecycle hears of the failure before it hears of anything else.
 */

#include "daemon/turn.h"

#include <assert.h>
#include <string.h>

bool turn_post(struct turn *turn, const struct lifecycle_event *event)
{
	if (turn->queue_length == TURN_QUEUE_MAX)
		return false;
	turn->queue[turn->queue_length++] = *event;
	return true;
}

/* Before what waits; if there is no place, the last that waits is lost for it. */
static void post_first(struct turn *turn, const struct lifecycle_event *event)
{
	memmove(turn->queue + 1, turn->queue, MIN_OF(turn->queue_length, (size_t)TURN_QUEUE_MAX - 1) * sizeof *turn->queue);
	turn->queue[0] = *event;
	turn->queue_length = MIN_OF(turn->queue_length + 1, (size_t)TURN_QUEUE_MAX);
}

/* True if an effect failed: *ret_failure is then the event for the lifecycle. */
static bool carry_out_all(const struct effects *effects, const struct turn_hooks *hooks, void *userdata, struct lifecycle_event *ret_failure)
{
	bool failed = false;
	for (size_t i = 0; i < effects->count; i++) {
		const struct effect *effect = &effects->items[i];
		if (failed && effect_is_void_after_failure(effect)) {
			if (effect->type == EFFECT_WORKER_SPAWN)
				ret_failure->unspawned |= 1u << effect->tunnel;
			if (effect->tunnel != LIFECYCLE_NONE)
				ret_failure->undone |= 1u << effect->tunnel;
			continue;
		}
		enum tunnel_error error = hooks->carry_out(effect, userdata);
		if (error == TUNNEL_ERROR_NONE || failed)
			continue;
		failed = true;
		*ret_failure = (struct lifecycle_event){
			.type = LIFECYCLE_EFFECT_FAILED,
			.tunnel = effect->tunnel,
			.error = error,
			.unspawned = effect->type == EFFECT_WORKER_SPAWN ? 1u << effect->tunnel : 0,
		};
	}
	return failed;
}

static bool step_once(struct turn *turn, struct lifecycle *lifecycle, const struct lifecycle_event *event, const struct turn_hooks *hooks, void *userdata)
{
	struct lifecycle_event failure = {};
	hooks->before(event, userdata);
	lifecycle_step(lifecycle, event, &turn->effects);
	if (carry_out_all(&turn->effects, hooks, userdata, &failure)) {
		failure.now_usec = hooks->now(userdata);
		post_first(turn, &failure);
	}
	return turn->effects.changed;
}

bool turn_run(struct turn *turn, struct lifecycle *lifecycle, const struct lifecycle_event *event, const struct turn_hooks *hooks, void *userdata)
{
	assert(!turn->running);
	turn->running = true;
	bool changed = step_once(turn, lifecycle, event, hooks, userdata);
	while (turn->queue_length > 0) {
		struct lifecycle_event next = turn->queue[0];
		memmove(turn->queue, turn->queue + 1, --turn->queue_length * sizeof *turn->queue);
		changed |= step_once(turn, lifecycle, &next, hooks, userdata);
	}
	turn->running = false;
	return changed;
}
