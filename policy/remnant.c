/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What is left of a policy when the daemon ends while a decision of one of its rules is pending. It is read back as a small policy of
 * its own, {"rules": [{"name": NAME, "then": wait}]} (or "otherwise": wait) and the `limits`, where the wait leads to what the decision
 * leads to: so the same code checks it that checks every document. The rule keeps its index, and the policy its hash.
 */

#include "policy/policy.h"

#include <errno.h>
#include <string.h>

#include "policy/rule.h"
#include "util/fields.h"
#include "util/text.h"

json_object *policy_remnant_to_json(const struct policy *policy, int rule)
{
	json_object *object = json_object_new_object(), *limits = policy->limits_document;
	const char *name = policy_rule_name(policy, rule);
	json_object_object_add(object, "hash", json_object_new_string(policy->hash));
	json_object_object_add(object, "rule", json_object_new_int(rule));
	if (name)
		json_object_object_add(object, "name", json_object_new_string(name));
	if (limits)
		json_object_object_add(object, "limits", json_object_get(limits));
	return object;
}

static json_object *wait_for_both(json_object *then, json_object *on_timeout)
{
	json_object *wait = json_object_new_object();
	json_object_object_add(wait, "action", json_object_new_string("wait"));
	json_object_object_add(wait, "until", json_object_new_string("networkChanged"));
	json_object_object_add(wait, "timeout", json_object_new_string("1s"));
	if (then)
		json_object_object_add(wait, "then", json_object_get(then));
	if (on_timeout)
		json_object_object_add(wait, "onTimeout", json_object_get(on_timeout));
	return wait;
}

static json_object *document_of(json_object *remnant, int rule, json_object *wait)
{
	json_object *document = json_object_new_object(), *rules = json_object_new_array();
	json_object *name = json_object_object_get(remnant, "name"), *limits = json_object_object_get(remnant, "limits");
	json_object_object_add(document, "version", json_object_new_int(POLICY_VERSION));
	json_object_object_add(document, "rules", rules);
	if (limits)
		json_object_object_add(document, "limits", json_object_get(limits));
	if (rule == POLICY_RULE_OTHERWISE) {
		json_object_object_add(document, "otherwise", wait);
		return document;
	}
	json_object *only = json_object_new_object();
	if (name)
		json_object_object_add(only, "name", json_object_get(name));
	json_object_object_add(only, "then", wait);
	json_object_array_add(rules, only);
	return document;
}

/* POLICY_RULE_OTHERWISE where nothing is said. */
static int rule_of(json_object *remnant)
{
	json_object *rule = json_object_object_get(remnant, "rule");
	return rule ? json_object_get_int(rule) : POLICY_RULE_OTHERWISE;
}

int policy_remnant_from_json(json_object *remnant, json_object *then, json_object *on_timeout, struct policy_remnant *ret)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_policy_ struct policy *policy = xcalloc(1, sizeof *policy);
	json_object *hash = json_object_object_get(remnant, "hash");
	int rule = rule_of(remnant);
	if (rule < POLICY_RULE_OTHERWISE || rule >= POLICY_RULES_MAX)
		return -EINVAL;
	policy->references = 1;
	_cleanup_json_ json_object *document = document_of(remnant, rule, wait_for_both(then, on_timeout));
	if (!strings_are_whole(document, &problems) || !policy_parse(policy, document, &problems))
		return -EINVAL;
	policy->index = index_new(policy->rules, policy->rule_count);
	policy->first_rule = MAX_OF(rule, 0);
	if (json_object_is_type(hash, json_type_string) && json_object_get_string_len(hash) == POLICY_HASH_MAX - 1)
		memcpy(policy->hash, json_object_get_string(hash), POLICY_HASH_MAX);
	const struct policy_action *wait = policy->rule_count ? policy->rules[0].then : policy->otherwise;
	ret->then = then ? wait->then : NULL;
	ret->on_timeout = on_timeout ? wait->on_timeout : NULL;
	ret->rule = rule;
	ret->policy = STEAL(policy);
	return 0;
}
