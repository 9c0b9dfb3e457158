/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Any bytes as a policy, and behind a NUL any bytes as a context. Whatever they are: no crash, errors if and only if
 * refused, a decision for every stop, the same from evaluation and explanation, and a document that comes back is taken
 * again. Seeds: the documents of examples/policies and tests/unit/policies.
 */

#include <stdint.h>
#include <string.h>

#include "policy/policy.h"
#include "util/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insist(bool good)
{
	if (!good)
		abort();
}

static void decide(const struct policy *policy, const struct policy_context *context)
{
	struct policy_decision decision;
	policy_evaluate(policy, context, &decision);
	insist(context->event != POLICY_EVENT_WILL_STOP || decision.action);
	insist(decision.rule < (int)policy_rule_count(policy));
	_cleanup_json_ json_object *answer = policy_explain(policy, context);
	json_object *rule = json_object_object_get(answer, "rule");
	insist((decision.rule >= 0) == (rule != NULL));
	insist(!rule || json_object_get_int(json_object_object_get(rule, "index")) == decision.rule);
}

static void check_again(const struct policy *policy)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = policy_to_json(policy);
	_cleanup_policy_ struct policy *again = NULL;
	insist(policy_new(document, &again, &problems) == 0);
	insist(strcmp(policy_hash(policy), policy_hash(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL, *context_document = NULL;
	_cleanup_policy_ struct policy *policy = NULL;
	struct policy_context context = {.attempt = 1, .error = TUNNEL_ERROR_SERVER_BUSY};
	size_t length = strnlen((const char *)data, size);
	if (length == 0 || json_parse_strict((const char *)data, length, &document, &problems) < 0)
		return 0;
	int r = policy_new(document, &policy, &problems);
	insist((r < 0) == (problems.errors > 0));
	if (r < 0)
		return 0;
	check_again(policy);
	decide(policy, &context);
	if (length + 1 < size &&
		json_parse_strict((const char *)data + length + 1, size - length - 1, &context_document, &problems) ==
			0 &&
		policy_context_parse(context_document, &context, &problems) == 0)
		decide(policy, &context);
	return 0;
}
