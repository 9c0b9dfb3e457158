/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A decision with its reasons. Judges every rule in order, without the index: what is explained is what the document
 * says. */

#include "policy/rule.h"
#include "util/duration.h"
#include "util/text.h"

static json_object *name_rule(const struct policy *policy, size_t rule)
{
	json_object *object = json_object_new_object();
	const char *name = policy->rules[rule].name;
	json_object_object_add(object, "index", json_object_new_int64((int64_t)rule));
	json_object_object_add(object, "name", name ? json_object_new_string(name) : NULL);
	return object;
}

static json_object *explain_failure(
	const struct policy *policy, size_t rule, enum condition failed, const struct policy_context *context)
{
	json_object *object = name_rule(policy, rule);
	_cleanup_free_ char *pointer = text_format("/when%s", condition_pointer(failed));
	json_object_object_add(object, "failed", json_object_new_string(pointer));
	if (condition_judge(failed, &policy->rules[rule].when, context) == POLICY_TRUTH_UNKNOWN)
		json_object_object_add(object, "unknown", json_object_new_boolean(true));
	return object;
}

static json_object *explain_delay(const struct policy_decision *decision)
{
	char buffer[DURATION_TEXT_MAX];
	if (!decision->action ||
		(decision->action->type != POLICY_ACTION_RESTART && decision->action->type != POLICY_ACTION_FAILOVER))
		return NULL;
	/* To the millisecond, upwards: what is said to be over then is over then. */
	uint64_t msec = (decision->delay_usec + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
	return json_object_new_string(duration_format(buffer, msec * USEC_PER_MSEC));
}

json_object *policy_explain(const struct policy *policy, const struct policy_context *context)
{
	struct policy_decision decision;
	enum condition failed = CONDITION_COUNT;
	json_object *answer = json_object_new_object(), *tried = json_object_new_array();
	policy_evaluate(policy, context, &decision);
	for (size_t i = 0; i < policy->rule_count && (int)i != decision.rule; i++)
		if (conditions_judge(&policy->rules[i].when, context, &failed) != POLICY_TRUE)
			json_object_array_add(tried, explain_failure(policy, i, failed, context));
	json_object_object_add(answer, "decision", policy_action_to_json(decision.action));
	json_object_object_add(answer, "rule", decision.rule >= 0 ? name_rule(policy, (size_t)decision.rule) : NULL);
	json_object_object_add(answer, "tried", tried);
	json_object_object_add(answer, "delay", explain_delay(&decision));
	json_object_object_add(answer, "limited", json_object_new_boolean(decision.limited));
	return answer;
}
