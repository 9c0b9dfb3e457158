/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the tests of policies share. */

#include "policy-support.h"

#include <string.h>

#include "util/duration.h"
#include "util/file.h"

static void insist(bool good, const char *text, const struct problems *problems)
{
	if (good)
		return;
	_cleanup_free_ char *all = problems_to_text(problems);
	printf("# %s\n# %s", text, all);
	CU_FAIL_FATAL("the document should be a good one");
}

json_object *json_of(const char *text)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_free_ char *quoted = text_dup(text);
	json_object *document = NULL;
	for (char *at = quoted; *at; at++)
		if (*at == '\'')
			*at = '"';
	insist(json_parse_strict(quoted, strlen(quoted), &document, &problems) == 0, text, &problems);
	return document;
}

json_object *json_of_file(const char *path)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_free_ char *whole = text_format("%s/%s", suite_source(), path), *text = NULL;
	size_t length = 0;
	json_object *document = NULL;
	CU_ASSERT_EQUAL_FATAL(file_read(whole, &text, &length), 0);
	insist(json_parse_strict(text, length, &document, &problems) == 0, path, &problems);
	return document;
}

struct policy *policy_of(const char *text)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = json_of(text);
	struct policy *policy = NULL;
	insist(policy_new(document, &policy, &problems) == 0, text, &problems);
	return policy;
}

struct scene scene_of(const char *context_text)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	struct scene scene = {.document = json_of(context_text)};
	insist(policy_context_parse(scene.document, &scene.context, &problems) == 0, context_text, &problems);
	return scene;
}

void scene_done(struct scene *scene)
{
	json_object_put(scene->document);
}

const char *describe(const struct policy_decision *decision)
{
	static char line[256];
	char delay[DURATION_TEXT_MAX], rule[16];
	if (!decision->action)
		return decision->rule == POLICY_RULE_NONE ? "none" : "no action";
	snprintf(rule, sizeof rule, "%d", decision->rule);
	snprintf(line, sizeof line, "%s %s%s%s%s", decision->rule == POLICY_RULE_OTHERWISE ? "otherwise" : rule,
		policy_action_to_string(decision->action->type), decision->delay_usec ? " " : "",
		decision->delay_usec ? duration_format(delay, decision->delay_usec) : "",
		decision->limited ? " limited" : "");
	return line;
}

const char *decide(const struct policy *policy, const char *context_text)
{
	_cleanup_scene_ struct scene scene = scene_of(context_text);
	struct policy_decision decision;
	policy_evaluate(policy, &scene.context, &decision);
	return describe(&decision);
}

const char *decide_by(const char *rules_text, const char *context_text)
{
	_cleanup_free_ char *text = text_format("{'version':1,'rules':%s}", rules_text);
	_cleanup_policy_ struct policy *policy = policy_of(text);
	return decide(policy, context_text);
}

char *problems_of(const char *text)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = json_of(text);
	_cleanup_policy_ struct policy *policy = NULL;
	int r = policy_new(document, &policy, &problems);
	CU_ASSERT_EQUAL(r<0, problems.errors> 0);
	return problems_to_text(&problems);
}
