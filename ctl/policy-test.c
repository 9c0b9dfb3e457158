/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `policy test`: asks what each case of a file asks, compares the answer with what the case expects, and prints a table of that. */

#include <string.h>

#include "ctl/command.h"
#include "ctl/print.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/problem.h"

/* What fits 100 columns, with two between each two. A cell that needs more goes on in the row below. */
enum column { COLUMN_VERDICT, COLUMN_CASE, COLUMN_EXPECTED, COLUMN_GOT, COLUMN_COUNT };
static const size_t widths[COLUMN_COUNT] = {7, 33, 27, 27};

static const char *compact(json_object *value)
{
	return json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* --- the table --- */

static void add_row(struct table *table, const char *const cells[COLUMN_COUNT])
{
	const char *rest[COLUMN_COUNT];
	memcpy(rest, cells, sizeof rest);
	do {
		for (size_t i = 0; i < COLUMN_COUNT; i++) {
			_cleanup_free_ char *line = text_take_line(&rest[i], widths[i]);
			table_add(table, "%s", line);
		}
	} while (rest[COLUMN_VERDICT][0] || rest[COLUMN_CASE][0] || rest[COLUMN_EXPECTED][0] || rest[COLUMN_GOT][0]);
}

/* One case's rows: its verdict and name stand in the first. */
struct rows {
	struct table *table;
	const char *verdict, *name;
};

static void add_judged(struct rows *rows, const char *expected, const char *got)
{
	add_row(rows->table, (const char *const[]){rows->verdict, rows->name, expected, got});
	rows->verdict = rows->name = "";
}

/* --- comparing --- */

static json_object *part(json_object *object, const char *key)
{
	return json_object_is_type(object, json_type_object) ? json_object_object_get(object, key) : NULL;
}

static bool has_members(json_object *value)
{
	return json_object_is_type(value, json_type_object) && json_object_object_length(value) > 0;
}

/* A duration may be written in any of its units. */
static bool same_duration(json_object *is, json_object *should)
{
	uint64_t a, b;
	return json_object_is_type(is, json_type_string) && json_object_is_type(should, json_type_string) &&
	       duration_parse(json_object_get_string(is), &a) == 0 && duration_parse(json_object_get_string(should), &b) == 0 && a == b;
}

/* Whether IS has everything that SHOULD has: members that a case does not name are not judged. */
static bool agrees(json_object *is, json_object *should)
{
	if (!json_object_is_type(should, json_type_object))
		return json_object_equal(is, should) || same_duration(is, should);
	if (!json_object_is_type(is, json_type_object))
		return false;
	json_object_object_foreach (should, key, value)
		if (!agrees(part(is, key), value))
			return false;
	return true;
}

/* A string as it is; everything else as JSON. */
static const char *plain(json_object *value)
{
	return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : compact(value);
}

/* "decision.action: restart, limited: false" */
static void list_members(json_object *should, const char *path, struct text *text)
{
	json_object_object_foreach (should, key, value) {
		_cleanup_free_ char *at = text_format("%s%s%s", path, path[0] ? "." : "", key);
		if (has_members(value))
			list_members(value, at, text);
		else
			text_append(text, "%s%s: %s", text->length ? ", " : "", at, plain(value));
	}
}

/* A row for each member of SHOULD, at PATH, that is another in IS. */
static void add_differences(struct rows *rows, json_object *is, json_object *should, const char *path)
{
	json_object_object_foreach (should, key, value) {
		_cleanup_free_ char *at = text_format("%s%s%s", path, path[0] ? "." : "", key);
		json_object *got = part(is, key);
		if (agrees(got, value))
			continue;
		if (has_members(value) && has_members(got)) {
			add_differences(rows, got, value, at);
			continue;
		}
		_cleanup_free_ char *expected = text_format("%s: %s", at, plain(value));
		add_judged(rows, expected, plain(got));
	}
}

/* Where another rule was to decide, what it failed for; which did is told anyway. */
static void add_reason(struct rows *rows, json_object *answer, json_object *expected)
{
	json_object *rule = part(answer, "rule"), *should = part(expected, "rule"), *tried = part(answer, "tried");
	for (size_t i = 0; has_members(should) && json_object_is_type(tried, json_type_array) && i < json_object_array_length(tried); i++) {
		json_object *other = json_object_array_get_idx(tried, i);
		if (!agrees(other, should))
			continue;
		_cleanup_free_ char *failed = text_format("rule %s: %s does not hold", member_text(other, "/index"), member_text(other, "/failed"));
		add_judged(rows, "", failed);
	}
	const char *name = member_text(rule, "/name");
	_cleanup_free_ char *by = has_members(rule) ? text_format("by rule %s%s%s", member_text(rule, "/index"), name[0] ? ", " : "", name) : NULL;
	add_judged(rows, "", by ? by : json_object_is_type(part(answer, "decision"), json_type_object) ? "by `otherwise`" : "nothing happens");
}

static void add_verdict(struct table *table, json_object *item, size_t number, json_object *answer, bool good)
{
	json_object *expected = json_object_object_get(item, "expect"), *action = part(part(answer, "decision"), "action");
	_cleanup_free_ char *name = text_format("%zu. %s", number, member_text(item, "/name"));
	struct rows rows = {.table = table, .verdict = good ? "ok" : "FAILED", .name = name};
	if (!good) {
		add_differences(&rows, answer, expected, "");
		add_reason(&rows, answer, expected);
		return;
	}
	_cleanup_text_ struct text all = TEXT_NULL;
	list_members(expected, "", &all);
	add_judged(&rows, all.bytes ? all.bytes : "", action ? plain(action) : "nothing happens");
}

/* --- asking --- */

/* What a case asks: all but its name and what it expects, under POLICY unless it brings its own. The caller owns it. */
static json_object *question_of(json_object *item, json_object *policy)
{
	json_object *question = json_object_new_object();
	json_object_object_foreach (item, key, value)
		if (strcmp(key, "name") != 0 && strcmp(key, "expect") != 0)
			json_object_object_add(question, key, json_object_get(value));
	if (policy && !json_object_object_get(question, "policy"))
		json_object_object_add(question, "policy", json_object_get(policy));
	return question;
}

/* A member that no answer has would be judged by nothing: NULL where there is none of EXPECTED. */
static const char *unknown_member(json_object *answer, json_object *expected)
{
	json_object_object_foreach (expected, key, value) {
		(void)value;
		if (!json_object_object_get_ex(answer, key, NULL))
			return key;
	}
	return NULL;
}

/* Runs one case; EXIT_OK and *RET_GOOD, or an exit code. */
static int run_case(struct invocation *invocation, json_object *item, json_object *policy, size_t number, struct table *table, bool *ret_good)
{
	_cleanup_response_ struct response response = {};
	_cleanup_json_ json_object *question = question_of(item, policy);
	json_object *expected = json_object_object_get(item, "expect");
	const char *body = compact(question), *name = member_text(item, "/name");
	struct request request = {.method = "POST", .path = "/policy/evaluate", .body = body, .body_length = strlen(body)};
	_cleanup_free_ char *label = text_format("%s, case %zu%s%s%s", input_name(invocation->operands[0]), number,
		name[0] ? " (" : "", name, name[0] ? ")" : "");
	if (!has_members(expected))
		return complain(EXIT_FAILED, "%s: `expect` must be an object that names what is judged", label);
	invocation->input = label;
	int code = exchange(invocation, &request, &response);
	invocation->input = NULL;
	if (code != EXIT_OK)
		return code;
	const char *unknown = unknown_member(response.json, expected);
	if (unknown)
		return complain(EXIT_FAILED, "%s: `expect` has \"%s\", which no answer has; they have decision, rule, tried, delay, limited", label, unknown);
	*ret_good = agrees(response.json, expected);
	if (!wants_json(invocation))
		add_verdict(table, item, number, response.json, *ret_good);
	return EXIT_OK;
}

/* Up to the first that cannot be judged; *RET_FAILED of those that could. */
static int run_all(struct invocation *invocation, json_object *cases, json_object *policy, struct table *table, size_t *ret_failed)
{
	for (size_t i = 0; i < json_object_array_length(cases); i++) {
		json_object *item = json_object_array_get_idx(cases, i);
		bool good = false;
		if (!json_object_is_type(item, json_type_object))
			return complain(EXIT_FAILED, "%s, case %zu: must be an object", input_name(invocation->operands[0]), i + 1);
		int code = run_case(invocation, item, policy, i + 1, table, &good);
		if (code != EXIT_OK)
			return code;
		*ret_failed += !good;
	}
	return EXIT_OK;
}

static int run_cases(struct invocation *invocation, json_object *cases, json_object *policy)
{
	struct table table = {.columns = COLUMN_COUNT};
	size_t count = json_object_is_type(cases, json_type_array) ? json_object_array_length(cases) : 0, failed = 0;
	if (count == 0)
		return complain(EXIT_FAILED, "%s is no array of cases; see holdfastctl(1), POLICY TESTS", input_name(invocation->operands[0]));
	add_row(&table, (const char *const[]){"VERDICT", "CASE", "EXPECTED", "GOT"});
	int code = run_all(invocation, cases, policy, &table, &failed);
	if (!wants_json(invocation) && (code == EXIT_OK || table.count > COLUMN_COUNT))
		table_print(&table);
	else
		table_empty(&table);
	if (code != EXIT_OK)
		return code;
	if (!wants_json(invocation))
		printf("%zu of %zu cases as expected\n", count - failed, count);
	return failed ? EXIT_FAILED : EXIT_OK;
}

/* The JSON document in FILE; EXIT_OK, or complains. The caller owns *RET. */
static int read_document(const char *file, json_object **ret)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_free_ char *text = NULL;
	size_t length;
	int code = read_input(file, &text, &length);
	if (code == EXIT_OK && json_parse_strict(text, length, ret, &problems) < 0)
		return complain(EXIT_FAILED, "%s %s", input_name(file), problems.items[0].detail);
	return code;
}

int run_policy_test(struct invocation *invocation)
{
	_cleanup_json_ json_object *cases = NULL, *policy = NULL;
	const char *policy_file = invocation->options[OPTION_POLICY];
	int code = read_document(invocation->operands[0], &cases);
	if (code == EXIT_OK && policy_file)
		code = read_document(policy_file, &policy);
	return code == EXIT_OK ? run_cases(invocation, cases, policy) : code;
}
