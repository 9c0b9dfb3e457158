/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The engine against json-rules-engine, a rule engine in JavaScript that many use: the same rules, the same contexts, in one run. First
 * both must decide alike in every context; then the time of a decision is compared. rules-engine.mjs is the other side: it gets one JSON
 * document with everything on standard input and answers a line per policy, "NANOSECONDS DECISION…". HOLDFAST_NPM names the folder with
 * node_modules (tests/npm says which; ./check installs them).
 */

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"
#include "policy-shapes.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

#define FEW       10
#define MANY      10000
#define DECISIONS 200000
#define ROUNDS    5
#define CONTEXTS  40
#define RATIO_MIN 100 /* the goal: so many times faster, at least */

struct contest {
	const struct policy_shape *shape;
	unsigned rules;
	struct policy *policy;
	json_object *contexts; /* an array of CONTEXTS */
	struct policy_context parsed[CONTEXTS];
};

/* Contexts that between them match early rules, late ones and none. */
static json_object *context_of(unsigned i, unsigned rules)
{
	static const char *const errors[] = {"serverBusy", "connectionTimeout", "tlsFailure", "captivePortal", "workerCrashed",
		"authenticationFailed", "sessionExpired"};
	static const char *const events[] = {"willStop", "willStop", "willStop", "networkChanged", "resumed"};
	unsigned rule = i * rules / CONTEXTS;
	const char *error = errors[i % ELEMENTSOF(errors)], *event = events[i % ELEMENTSOF(events)];
	enum tunnel_error number = TUNNEL_ERROR_NONE;
	(void)tunnel_error_from_string(error, &number);
	json_object *context = json_object_new_object(), *network = json_object_new_object();
	bool stop = strcmp(event, "willStop") == 0;
	json_object_object_add(context, "event", json_object_new_string(event));
	if (stop)
		json_object_object_add(context, "error", json_object_new_string(error));
	json_object_object_add(context, "attempt", json_object_new_int((int)(i % 3 ? 2 + rule : 1)));
	_cleanup_free_ char *tunnel = text_format("t%u", i % 2 ? rule : rules + i), *profile = text_format("q%u", i % 4 ? rule : rules + i),
			    *ssid = text_format("s%u", rule);
	json_object_object_add(context, "tunnel", json_object_new_string(tunnel));
	json_object_object_add(network, "profile", json_object_new_string(profile));
	json_object_object_add(network, "ssid", json_object_new_string(ssid));
	json_object_object_add(context, "network", network);
	return context;
}

static void begin(struct contest *contest, const struct policy_shape *shape, unsigned rules)
{
	*contest = (struct contest){.shape = shape, .rules = rules, .policy = policy_shape_make(shape, rules), .contexts = json_object_new_array()};
	for (unsigned i = 0; i < CONTEXTS; i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		json_object *context = context_of(i, rules);
		json_object_array_add(contest->contexts, context);
		if (policy_context_parse(context, &contest->parsed[i], &problems) < 0) {
			_cleanup_free_ char *all = problems_to_text(&problems);
			fprintf(stderr, "%s", all);
			exit(EXIT_FAILURE);
		}
	}
}

static void end(struct contest *contest)
{
	policy_unref(contest->policy);
	json_object_put(contest->contexts);
}

/* What the other side is to be asked: the documents, and the class of each error. */
static json_object *question(const struct contest *contests, size_t count)
{
	json_object *question = json_object_new_object(), *list = json_object_new_array(), *classes = json_object_new_object();
	for (enum tunnel_error error = TUNNEL_ERROR_NONE + 1; error < TUNNEL_ERROR_COUNT; error++)
		json_object_object_add(classes, tunnel_error_to_string(error),
			json_object_new_string(error_class_to_string(tunnel_error_class(error))));
	for (size_t i = 0; i < count; i++) {
		json_object *one = json_object_new_object();
		json_object_object_add(one, "policy", policy_shape_document(contests[i].shape, contests[i].rules));
		json_object_object_add(one, "contexts", json_object_get(contests[i].contexts));
		json_object_array_add(list, one);
	}
	json_object_object_add(question, "classes", classes);
	json_object_object_add(question, "contests", list);
	return question;
}

/* Runs the other side over QUESTION; its answers, to be closed with pclose(). */
static FILE *ask(json_object *question, const char *packages, char *path)
{
	const char *source = getenv("srcdir"), *text = json_object_to_json_string_ext(question, JSON_C_TO_STRING_PLAIN);
	int fd = mkstemp(path);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) < 0)
		return NULL;
	_cleanup_free_ char *command = text_format("node '%s/tests/bench/rules-engine.mjs' '%s' <'%s'", source ? source : ".", packages, path);
	return popen(command, "re");
}

static double measure(const struct contest *contest)
{
	double best = 1e9;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t start = now_nsec();
		for (unsigned i = 0; i < DECISIONS; i++) {
			struct policy_decision decision;
			policy_evaluate(contest->policy, &contest->parsed[i % CONTEXTS], &decision);
			__asm__ volatile("" : : "r"(&decision) : "memory"); /* the decision is used */
		}
		best = MIN_OF(best, usec_since(start) * 1000 / DECISIONS);
	}
	return best;
}

/* Reads the other side's decisions on CONTEST and compares; *ret_matched: how many a rule took. */
static bool decide_alike(const struct contest *contest, FILE *answers, unsigned *ret_matched)
{
	unsigned matched = 0;
	for (unsigned i = 0; i < CONTEXTS; i++) {
		struct policy_decision decision;
		int other;
		policy_evaluate(contest->policy, &contest->parsed[i], &decision);
		int rule = decision.rule >= 0 ? decision.rule : -1;
		if (fscanf(answers, "%d", &other) != 1)
			return false;
		if (other != rule) {
			fprintf(stderr, "%s, %u rules: %s: here rule %d decides, there %d\n", contest->shape->name, contest->rules,
				json_object_to_json_string(json_object_array_get_idx(contest->contexts, i)), rule, other);
			return false;
		}
		matched += rule >= 0;
	}
	*ret_matched = matched;
	return true;
}

static bool judge(const struct contest *contest, FILE *answers)
{
	double theirs;
	unsigned matched;
	if (fscanf(answers, "%lf", &theirs) != 1 || !decide_alike(contest, answers, &matched)) {
		fprintf(stderr, "%s: no comparison\n", contest->shape->name);
		return false;
	}
	double ours = measure(contest), ratio = theirs / ours;
	bool good = ratio >= RATIO_MIN && matched > 0 && matched < CONTEXTS;
	printf("%-24s %6u %5u/%u %12.1f %14.1f %9.0f%s\n", contest->shape->name, contest->rules, matched, CONTEXTS, ours, theirs, ratio,
		good ? "" : "  MISSED");
	return good;
}

int main(void)
{
	const char *packages = getenv("HOLDFAST_NPM");
	if (!packages) {
		fprintf(stderr, "HOLDFAST_NPM must name the folder in which `npm ci` put what tests/npm/package.json asks for\n");
		return EXIT_FAILURE;
	}
	size_t count;
	const struct policy_shape *shapes = policy_shapes(&count);
	struct contest contests[16];
	char path[] = "/tmp/holdfast-bench-XXXXXX";
	bool good = true;
	for (size_t i = 0; i < count; i++)
		begin(&contests[i], &shapes[i], FEW);
	begin(&contests[count], &shapes[count - 1], MANY);
	count++;
	_cleanup_json_ json_object *asked = question(contests, count);
	FILE *answers = ask(asked, packages, path);
	printf("policy against json-rules-engine: ns per decision (goal: at least %d times)\n%-24s %6s %8s %12s %14s %9s\n", RATIO_MIN,
		"rules tell apart by", "rules", "matched", "holdfast", "rules-engine", "ratio");
	for (size_t i = 0; i < count && answers; i++)
		good = judge(&contests[i], answers) && good;
	good = answers && pclose(answers) == 0 && good;
	unlink(path);
	for (size_t i = 0; i < count; i++)
		end(&contests[i]);
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
