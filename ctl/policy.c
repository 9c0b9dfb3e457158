/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Commands on the policy and its decisions. */

#include <string.h>

#include "ctl/command.h"
#include "ctl/print.h"
#include "util/fields.h"
#include "util/problem.h"

int run_policy_show(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_get(invocation, "/policy", &response);
	return code == EXIT_OK ? print_document(invocation, &response) : code;
}

static void print_findings(FILE *file, const char *label, json_object *findings)
{
	size_t count = findings ? json_object_array_length(findings) : 0;
	for (size_t i = 0; i < count; i++)
		print_finding(file, label, json_object_array_get_idx(findings, i));
}

int run_policy_set(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_file(invocation, "PUT", "/policy", invocation->operands[0], NULL, &response);
	if (code != EXIT_OK || wants_json(invocation))
		return code;
	bool changed = json_object_get_boolean(member(response.json, "/changed"));
	printf("the policy %s\n", changed ? "was replaced" : "was so already");
	print_findings(stdout, "warning: ", member(response.json, "/warnings"));
	return EXIT_OK;
}

int run_policy_check(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_file(invocation, "POST", "/policy/validate", invocation->operands[0], NULL, &response);
	if (code != EXIT_OK)
		return code;
	bool valid = json_object_get_boolean(member(response.json, "/valid"));
	if (wants_json(invocation))
		return valid ? EXIT_OK : EXIT_FAILED;
	if (valid)
		printf("%s: no errors\n", invocation->input);
	else
		complain(EXIT_FAILED, "%s has errors", invocation->input);
	print_findings(stderr, "", member(response.json, "/errors"));
	print_findings(valid ? stdout : stderr, "warning: ", member(response.json, "/warnings"));
	return valid ? EXIT_OK : EXIT_FAILED;
}

/* --- evaluate --- */

static const char *compact(json_object *value)
{
	return json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
}

static void print_rule(const char *label, json_object *rule)
{
	const char *name = member_text(rule, "/name");
	printf("%s rule %s%s%s%s", label, member_text(rule, "/index"), name[0] ? " \"" : "", name, name[0] ? "\"" : "");
}

static void print_evaluation(json_object *answer)
{
	json_object *decision = member(answer, "/decision"), *rule = member(answer, "/rule"),
		    *tried = member(answer, "/tried");
	printf("decision: %s%s%s\n", colour_on(COLOUR_STRONG), decision ? compact(decision) : "nothing happens",
		colour_off());
	for (size_t i = 0; tried && i < json_object_array_length(tried); i++) {
		json_object *other = json_object_array_get_idx(tried, i);
		print_rule("  not", other);
		printf(": %s %s\n", member_text(other, "/failed"),
			json_object_get_boolean(member(other, "/unknown")) ? "is not known" : "does not hold");
	}
	if (rule) {
		print_rule("  by", rule);
		printf("\n");
	} else {
		printf(decision ? "  by `otherwise`: no rule holds\n" : "  no rule holds, and `otherwise` is for willStop alone\n");
	}
}

int run_policy_evaluate(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	int code = exchange_file(invocation, "POST", "/policy/evaluate", invocation->operands[0], NULL, &response);
	if (code == EXIT_OK && !wants_json(invocation))
		print_evaluation(response.json);
	return code;
}

/* --- decisions --- */

/* Longer ones fit no decision; of these the daemon says whether there is one. */
static bool is_number(const char *text)
{
	size_t length = strlen(text);
	return length > 0 && length < 20 && strspn(text, "0123456789") == length;
}

/* A tunnel asks by its decision's number: whoever wrote something else is told which. */
static int complain_of_number(struct invocation *invocation, const char *given, const char *answer)
{
	_cleanup_response_ struct response status = {};
	json_object *tunnels = peek_status(invocation, &status) ? member_list(member(status.json, "/tunnels"), "tunnels") : NULL;
	for (size_t i = 0; tunnels && i < json_object_array_length(tunnels); i++) {
		json_object *tunnel = json_object_array_get_idx(tunnels, i);
		const char *id = member_text(tunnel, "/id"), *number = member_text(tunnel, "/pendingDecision/id");
		if (strcmp(id, given) == 0 && strcmp(member_text(tunnel, "/pendingDecision/waitsFor"), "ask") == 0)
			return complain(EXIT_USAGE, "'%s' is no decision's number; what %s asks is decision %s: holdfastctl decide %s %s", given, id,
				number, number, answer);
	}
	return complain(EXIT_USAGE, "'%s' is no decision's number; where somebody is asked, holdfastctl status says which it is", given);
}

int run_decide(struct invocation *invocation)
{
	_cleanup_response_ struct response response = {};
	const char *answer = invocation->operands[1];
	bool restart = strcmp(answer, "restart") == 0;
	if (!restart && strcmp(answer, "terminate") != 0)
		return complain(EXIT_USAGE, "'%s' is no answer; it is restart or terminate", answer);
	if (!is_number(invocation->operands[0]))
		return complain_of_number(invocation, invocation->operands[0], answer);
	_cleanup_free_ char *id = client_escape(invocation->operands[0]);
	_cleanup_free_ char *path = text_format("/decisions/%s/answer", id);
	_cleanup_free_ char *body = text_format("{\"restart\":%s}", restart ? "true" : "false");
	struct request request = {.method = "POST", .path = path, .body = body, .body_length = strlen(body)};
	int code = exchange(invocation, &request, &response);
	if (code == EXIT_OK && !wants_json(invocation))
		printf("decision %s: %s\n", invocation->operands[0], answer);
	return code;
}
