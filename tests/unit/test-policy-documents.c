/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Documents, good and bad: tests/unit/policies holds arrays of {"case", "document", "pointers" or "warnings"}, which
 * the engine must take or refuse with exactly these findings. policy-schema.py runs the same through the JSON Schema.
 * The shipped examples decide what their cases say.
 */

#include <string.h>

#include "policy-support.h"
#include "util/file.h"

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* COUNT strings in order, one a line. The caller frees it. */
static char *sorted(const char **strings, size_t count)
{
	struct text text = TEXT_NULL;
	qsort(strings, count, sizeof *strings, compare);
	for (size_t i = 0; i < count; i++)
		text_append(&text, "%s\n", strings[i]);
	return text_steal(&text);
}

static char *sorted_json(json_object *array)
{
	size_t count = array ? json_object_array_length(array) : 0;
	_cleanup_free_ const char **strings = xcalloc(count, sizeof *strings);
	for (size_t i = 0; i < count; i++)
		strings[i] = json_object_get_string(json_object_array_get_idx(array, i));
	return sorted(strings, count);
}

static char *sorted_findings(const struct problems *problems, bool warnings)
{
	size_t count = 0;
	_cleanup_free_ const char **strings = xcalloc(problems->count, sizeof *strings);
	for (size_t i = 0; i < problems->count; i++)
		if (problems->items[i].warning == warnings)
			strings[count++] = problems->items[i].pointer;
	return sorted(strings, count);
}

static const char *string_member(json_object *object, const char *key)
{
	return json_object_get_string(json_object_object_get(object, key));
}

static void run_case(json_object *one, bool good, const char *group)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_policy_ struct policy *policy = NULL;
	int r = policy_new(json_object_object_get(one, "document"), &policy, &problems);
	_cleanup_free_ char *expected = sorted_json(json_object_object_get(one, good ? "warnings" : "pointers"));
	_cleanup_free_ char *found = sorted_findings(&problems, good);
	bool right = (r == 0) == good && (problems.errors == 0) == good && strcmp(expected, found) == 0;
	CU_ASSERT_TRUE(right);
	if (!right) {
		_cleanup_free_ char *all = problems_to_text(&problems);
		printf("# %s: %s: expected\n%s# found\n%s", group, string_member(one, "case"), expected, all);
	}
}

static void run_corpus(const char *verdict, const char *const *groups, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *path = text_format("tests/unit/policies/%s/%s.json", verdict, groups[i]);
		_cleanup_json_ json_object *cases = json_of_file(path);
		CU_ASSERT_TRUE(json_object_array_length(cases) > 0);
		for (size_t j = 0; j < json_object_array_length(cases); j++)
			run_case(json_object_array_get_idx(cases, j), strcmp(verdict, "good") == 0, groups[i]);
	}
}

static void good_documents_are_taken_with_these_warnings(void)
{
	static const char *const groups[] = {"documents", "conditions", "actions", "networks", "reach", "odd"};
	run_corpus("good", groups, ELEMENTSOF(groups));
}

static void bad_documents_are_refused_at_these_places(void)
{
	static const char *const groups[] = {"document", "conditions", "actions", "meanings", "odd"};
	run_corpus("bad", groups, ELEMENTSOF(groups));
}

static void every_finding_is_a_sentence(void)
{
	_cleanup_free_ char *all =
		problems_of("{'version':1,'rules':[{'when':{'error':'timeout','attempt':{'min':4,'max':3}},'then':{'"
			    "action':'connect'}},"
			    "{'then':{'action':'restart','dealy':'1s'}},{'when':{'network':{'ssid':'x'}},"
			    "'then':{'action':'terminate','traffic':'release'}}],'limits':{'restarts':500}}");
	CU_ASSERT_STRING_EQUAL(all, "/rules/0/when/error: is no error of a tunnel; names are spelled as "
				    "connectionTimeout is (found \"timeout\")\n"
				    "/rules/0/when/attempt/min: is over max: no value lies between them (found 4)\n"
				    "/rules/0/then/tunnel: is missing\n"
				    "/rules/1/then/dealy: unknown member; known here: action, delay, endpoint, worker\n"
				    "/limits/restarts: must be a whole number from 1 to 128 (found 500)\n"
				    "/limits/per: is missing\n");
	_cleanup_free_ char *relaxing =
		problems_of("{'version':1,'rules':[{'when':{'network':{'ssid':'x'}},"
			    "'then':{'action':'terminate','traffic':'release'}},{'then':{'action':'ask'}},"
			    "{'then':{'action':'ask'}}]}");
	CU_ASSERT_STRING_EQUAL(relaxing,
		"/rules/0/then: relaxes on a network that anyone can fake; `when` must name network.profile, whose "
		"credentials were accepted\n"
		"warning: /rules/2: is never reached: rule 1 decides wherever this one could\n");
}

static void a_rule_that_excludes_itself_is_told(void)
{
	_cleanup_free_ char *never = problems_of("{'version':1,'rules':[{'when':{'error':'unknown','attempt':{'max':3},'not':{'attempt':{'max':5}}},"
						 "'then':{'action':'ask'}},"
						 "{'when':{'error':'unknown','not':{'error':'unknown'}},'then':{'action':'ask'}},"
						 "{'when':{'error':['unknown','tlsFailure'],'not':{'error':'unknown'}},'then':{'action':'ask'}},"
						 "{'when':{'attempt':{'max':3},'not':{'attempt':{'max':2}}},'then':{'action':'ask'}}]}");
	CU_ASSERT_STRING_EQUAL(never, "warning: /rules/0: is never reached: its `not` leaves out all that it asks for\n"
				      "warning: /rules/1: is never reached: its `not` leaves out all that it asks for\n");
}

static void too_many_rules_are_refused(void)
{
	struct text text = TEXT_NULL;
	text_append(&text, "{'version':1,'rules':[");
	for (unsigned i = 0; i <= POLICY_RULES_MAX; i++)
		text_append(&text, "%s{'then':{'action':'ask'}}", i ? "," : "");
	text_append(&text, "]}");
	_cleanup_free_ char *bytes = text_steal(&text), *all = problems_of(bytes);
	CU_ASSERT_STRING_EQUAL(all, "/rules: has 10001 rules; at most 10000 are possible\n");
}

static void no_string_may_hide_something_behind_a_nul(void)
{
	_cleanup_free_ char *all =
		problems_of("{'version':1,'stableAfter':'1s\\u00002s','rules':[{'then':{'action':'ask\\u0000'}}]}");
	CU_ASSERT_STRING_EQUAL(
		all, "/stableAfter: holds a NUL character\n/rules/0/then/action: holds a NUL character\n");
}

static void the_document_comes_back_as_it_was_given(void)
{
	_cleanup_json_ json_object *document = json_of_file("examples/policies/laptop.json");
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_policy_ struct policy *policy = NULL;
	CU_ASSERT_EQUAL_FATAL(policy_new(document, &policy, &problems), 0);
	_cleanup_json_ json_object *back = policy_to_json(policy);
	CU_ASSERT_TRUE(json_object_equal(document, back));
	json_object_object_del(document, "name");
	json_object_object_del(back, "rules");
	_cleanup_json_ json_object *again = policy_to_json(policy);
	CU_ASSERT_STRING_EQUAL(string_member(again, "name"), "laptop");
	CU_ASSERT_EQUAL(json_object_array_length(json_object_object_get(again, "rules")), 7);
	CU_ASSERT_STRING_EQUAL(policy_name(policy), "laptop");
	CU_ASSERT_EQUAL(policy_rule_count(policy), 7);
	CU_ASSERT_STRING_EQUAL(policy_rule_name(policy, 2), "then the next endpoint");
	CU_ASSERT_PTR_NULL(policy_rule_name(policy, POLICY_RULE_OTHERWISE));
	CU_ASSERT_PTR_NULL(policy_rule_name(policy, 7));
	CU_ASSERT_EQUAL(policy_stable_after_usec(policy), 30 * USEC_PER_SEC);
}

static void references_keep_a_policy(void)
{
	struct policy *policy = policy_of("{'version':1,'name':'kept'}");
	struct policy *second = policy_ref(policy);
	CU_ASSERT_PTR_NULL(policy_unref(policy));
	CU_ASSERT_STRING_EQUAL(policy_name(second), "kept");
	CU_ASSERT_PTR_NULL(policy_unref(second));
	CU_ASSERT_PTR_NULL(policy_unref(NULL));
}

static const char *hash_of(const char *text)
{
	static char hashes[2][POLICY_HASH_MAX];
	static unsigned turn;
	_cleanup_policy_ struct policy *policy = policy_of(text);
	char *hash = hashes[turn++ % 2];
	strcpy(hash, policy_hash(policy));
	return hash;
}

static void the_hash_names_what_a_document_says(void)
{
	const char *plain = "{'version':1,'name':'a','limits':{'restarts':3,'per':'1m'}}";
	CU_ASSERT_STRING_EQUAL(
		hash_of(plain), hash_of(" {'limits': {'per':'1m', 'restarts':3.0},'name':'\\u0061','version':1e0}\n"));
	CU_ASSERT_STRING_NOT_EQUAL(
		hash_of(plain), hash_of("{'version':1,'name':'a','limits':{'restarts':4,'per':'1m'}}"));
	CU_ASSERT_STRING_NOT_EQUAL(
		hash_of(plain), hash_of("{'version':1,'name':'a','limits':{'restarts':3,'per':'2m'}}"));
	CU_ASSERT_STRING_NOT_EQUAL(hash_of("{'version':1,'rules':[]}"), hash_of("{'version':1}"));
	CU_ASSERT_EQUAL(strlen(hash_of(plain)), POLICY_HASH_MAX - 1);
}

/* {"name", "event", "context", "expect"}: every member of `expect` stands in the answer of Evaluate, nested members
 * too. */
static bool stands_in(json_object *expected, json_object *found)
{
	if (!json_object_is_type(expected, json_type_object))
		return json_object_equal(expected, found);
	if (!json_object_is_type(found, json_type_object))
		return false;
	json_object_object_foreach(
		expected, key, member) if (!stands_in(member, json_object_object_get(found, key))) return false;
	return true;
}

static void run_example_case(const struct policy *policy, json_object *one)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	struct policy_context context;
	CU_ASSERT_EQUAL_FATAL(policy_context_parse(json_object_object_get(one, "context"), &context, &problems), 0);
	CU_ASSERT_EQUAL_FATAL(policy_event_from_string(string_member(one, "event"), &context.event), 0);
	_cleanup_json_ json_object *answer = policy_explain(policy, &context);
	bool right = json_object_object_length(json_object_object_get(one, "expect")) > 0 &&
		     stands_in(json_object_object_get(one, "expect"), answer);
	CU_ASSERT_TRUE(right);
	if (!right)
		printf("# %s: %s\n", string_member(one, "name"), json_object_to_json_string(answer));
}

static void the_examples_decide_what_their_cases_say(void)
{
	static const char *const names[] = {"default", "laptop", "restart-on-connection-failure"};
	for (size_t i = 0; i < ELEMENTSOF(names); i++) {
		_cleanup_free_ char *path = text_format("examples/policies/%s.json", names[i]);
		_cleanup_free_ char *cases_path = text_format("examples/policies/%s.cases.json", names[i]);
		_cleanup_json_ json_object *document = json_of_file(path), *cases = json_of_file(cases_path);
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_policy_ struct policy *policy = NULL;
		CU_ASSERT_EQUAL_FATAL(policy_new(document, &policy, &problems), 0);
		CU_ASSERT_EQUAL(problems.warnings, 0);
		CU_ASSERT_TRUE(json_object_array_length(cases) >= 5);
		for (size_t j = 0; j < json_object_array_length(cases); j++)
			run_example_case(policy, json_object_array_get_idx(cases, j));
	}
}

static void the_default_is_the_one_that_is_shipped(void)
{
	_cleanup_free_ char *path = text_format("%s/examples/policies/default.json", suite_source()), *text = NULL;
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &text, &length), 0);
	CU_ASSERT_STRING_EQUAL(text, policy_default_text());
	_cleanup_policy_ struct policy *policy = policy_default();
	CU_ASSERT_STRING_EQUAL(policy_name(policy), "default");
}

/* Each member that the schema names, wherever it stands, is a heading or an entry of the reference: `member` in code
 * quotes. */
static void look_up_members(json_object *schema, const char *reference)
{
	if (json_object_is_type(schema, json_type_array))
		for (size_t i = 0; i < json_object_array_length(schema); i++)
			look_up_members(json_object_array_get_idx(schema, i), reference);
	if (!json_object_is_type(schema, json_type_object))
		return;
	json_object_object_foreach(schema, key, value)
	{
		if (strcmp(key, "properties") == 0) {
			json_object_object_foreach(value, member, unused)
			{
				(void)unused;
				_cleanup_free_ char *quoted = text_format("`%s`", member);
				CU_ASSERT_PTR_NOT_NULL(strstr(reference, quoted));
				if (!strstr(reference, quoted))
					printf("# docs/policy-reference.md does not name %s\n", quoted);
			}
		}
		look_up_members(value, reference);
	}
}

static void the_reference_names_every_member_and_error(void)
{
	_cleanup_free_ char *path = text_format("%s/docs/policy-reference.md", suite_source()), *reference = NULL;
	_cleanup_json_ json_object *schema = json_of_file("data/policy.schema.json");
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &reference, &length), 0);
	look_up_members(schema, reference);
	for (enum tunnel_error error = TUNNEL_ERROR_NONE + 1; error < TUNNEL_ERROR_COUNT; error++) {
		_cleanup_free_ char *quoted = text_format("`%s`", tunnel_error_to_string(error));
		CU_ASSERT_PTR_NOT_NULL(strstr(reference, quoted));
	}
}

static const struct test tests[] = {
	{"good documents are taken with these warnings", good_documents_are_taken_with_these_warnings},
	{"bad documents are refused at these places", bad_documents_are_refused_at_these_places},
	{"every finding is a sentence", every_finding_is_a_sentence},
	{"a rule whose `not` excludes it is told, and one that leaves some is not", a_rule_that_excludes_itself_is_told},
	{"too many rules are refused", too_many_rules_are_refused},
	{"no string may hide something behind a NUL", no_string_may_hide_something_behind_a_nul},
	{"the document comes back as it was given", the_document_comes_back_as_it_was_given},
	{"references keep a policy", references_keep_a_policy},
	{"the hash names what a document says", the_hash_names_what_a_document_says},
	{"the examples decide what their cases say", the_examples_decide_what_their_cases_say},
	{"the default is the one that is shipped", the_default_is_the_one_that_is_shipped},
	{"the reference names every member and error", the_reference_names_every_member_and_error},
};

int main(int argc, char **argv)
{
	return suite_run("policy-documents", tests, ELEMENTSOF(tests), argc, argv);
}
