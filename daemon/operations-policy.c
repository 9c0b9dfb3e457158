/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Operations on the policy and its decisions. */

#include <errno.h>
#include <string.h>

#include "daemon/operations-internal.h"
#include "util/fields.h"
#include "util/text.h"

#define POLICY_FILE "policy.json"

void handle_get_policy(struct manager *manager, struct operation_call *call)
{
	store_trim_later(manager);
	call->result = policy_to_json(manager->policy);
	call->etag = text_dup(manager->policy_document.etag);
	call_finish(call, OUTCOME_OK);
}

void handle_replace_policy(struct manager *manager, struct operation_call *call)
{
	_cleanup_policy_ struct policy *policy = NULL;
	store_trim_later(manager);
	if (!call_unmanaged(call, &manager->policy_document, manager->options.config_dir, POLICY_FILE) ||
		!call_matches(call, manager->policy_document.etag))
		return;
	if (policy_new(call->document, &policy, &call->problems) < 0) {
		call_fail_document(call, "the policy");
		return;
	}
	documents_check_tunnels(manager, call->document, &call->problems);
	_cleanup_free_ char *etag = document_etag_of_text(policy_document_text(policy));
	bool changed = strcmp(etag, manager->policy_document.etag) != 0;
	if (!call->dry_run && changed) {
		int r = documents_store(manager, POLICY_FILE, call->document);
		if (r < 0) {
			call_fail(call, OUTCOME_INTERNAL_ERROR, "%s/%s cannot be written: %s; the running policy stays", manager->options.state_dir, POLICY_FILE,
				strerror(-r));
			return;
		}
		manager_set_policy(manager, STEAL(policy), false);
		manager->policy_builtin = false;
		json_object *event = events_new(manager, "documentChanged", LIFECYCLE_NONE);
		json_object_object_add(event, "document", json_object_new_string("policy"));
		json_object_object_add(event, "by", json_text_or_null(call->caller.name));
		events_emit(manager, event);
	}
	call->etag = STEAL(etag);
	call_result(call, "warnings", problems_to_json(&call->problems, true));
	call_answer_changed(call, changed);
}

void handle_validate_policy(struct manager *manager, struct operation_call *call)
{
	_cleanup_policy_ struct policy *policy = NULL;
	store_trim_later(manager);
	bool valid = policy_new(call->document, &policy, &call->problems) == 0;
	if (valid)
		documents_check_tunnels(manager, call->document, &call->problems);
	call_result(call, "valid", json_object_new_boolean(valid));
	call_result(call, "errors", problems_to_json(&call->problems, false));
	call_result(call, "warnings", problems_to_json(&call->problems, true));
	call_finish(call, OUTCOME_OK);
}

/* {"event", "context", "policy"}: what EvaluatePolicy is asked. */
struct question {
	enum policy_event event;
	json_object *context, *policy; /* borrowed */
};

static void read_event(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (policy_event_from_string(json_object_get_string(value), ret) < 0)
		problems_error(problems, pointer, value, "is no event that policies have rules for");
}

static void read_object(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	*(json_object **)ret = value;
}

static const struct field question_fields[] = {
	{"event", FIELD_STRING, read_event, offsetof(struct question, event), false},
	{"context", FIELD_OBJECT, read_object, offsetof(struct question, context), false},
	{"policy", FIELD_OBJECT, read_object, offsetof(struct question, policy), false},
};

/* What is wrong with the context, told from the whole question's root. */
static void add_context_problems(struct problems *to, const struct problems *from)
{
	for (size_t i = 0; i < from->count; i++) {
		_cleanup_free_ char *pointer = text_format("/context%s", from->items[i].pointer);
		problems_error(to, pointer, NULL, "%s", from->items[i].detail);
	}
}

void handle_evaluate_policy(struct manager *manager, struct operation_call *call)
{
	_cleanup_policy_ struct policy *given = NULL;
	_cleanup_json_ json_object *nothing = json_object_new_object();
	struct question question = {.event = POLICY_EVENT_WILL_STOP, .context = nothing};
	_cleanup_problems_ struct problems found = PROBLEMS_NULL;
	struct policy_context context;
	store_trim_later(manager);
	(void)fields_read(call->document, question_fields, ELEMENTSOF(question_fields), "", &question, &call->problems, NULL);
	if (policy_context_parse(question.context, &context, &found) < 0)
		add_context_problems(&call->problems, &found);
	if (call->problems.errors > 0) {
		call_fail_document(call, "the question");
		return;
	}
	if (question.policy && policy_new(question.policy, &given, &call->problems) < 0) {
		call_fail_document(call, "the policy");
		return;
	}
	if (json_object_object_get(call->document, "event"))
		context.event = question.event;
	call->result = policy_explain(given ? given : manager->policy, &context);
	call_finish(call, OUTCOME_OK);
}

static bool is_pending(const struct manager *manager, uint64_t decision, uint64_t now_usec)
{
	for LIFECYCLE_TUNNELS (i, &manager->core) {
		const struct lifecycle_tunnel *tunnel = &manager->core.tunnels[i];
		if (tunnel->pending.kind == PENDING_ASK && tunnel->pending.id == decision)
			return tunnel->deadline_usec > now_usec && !manager->core.stopping;
	}
	return false;
}

void handle_answer_decision(struct manager *manager, struct operation_call *call)
{
	uint64_t decision = call_number(call, "id", 0);
	struct lifecycle_event event = {
		.type = LIFECYCLE_ANSWER,
		.tunnel = LIFECYCLE_NONE,
		.now_usec = manager_now(),
		.decision = decision,
		.restart = json_object_get_boolean(json_object_object_get(call->arguments, "restart")),
	};
	if (decision == 0 || decision > manager->core.next_decision) {
		call_fail(call, OUTCOME_DECISION_NOT_FOUND, "there was never a decision %llu", (unsigned long long)decision);
		return;
	}
	if (!is_pending(manager, decision, event.now_usec)) {
		call_fail(call, OUTCOME_DECISION_ANSWERED, "decision %llu is not pending any more, or never asked anybody", (unsigned long long)decision);
		return;
	}
	if (!call->dry_run) {
		manager_run(manager, &event);
		journal_flush(manager->journal); /* who is told that it is answered finds the answer recorded, whatever happens to the daemon */
	}
	call_answer_changed(call, true);
}
