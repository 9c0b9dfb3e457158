/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Shapes of rules. The conditions of rule I differ in what the shape is named after. */

#include "policy-shapes.h"

#include "util/fields.h"
#include "util/text.h"

static const char *const errors[] = {
	"connectionTimeout", "tlsFailure", "captivePortal", "workerCrashed", "authenticationFailed"};

static void by_error(struct text *text, unsigned i)
{
	text_append(text, "{\"error\":\"%s\",\"attempt\":{\"min\":%u}}", errors[i % ELEMENTSOF(errors)], 2 + i / 5);
}

static void by_tunnel(struct text *text, unsigned i)
{
	text_append(text, "{\"error\":\"serverBusy\",\"tunnel\":\"t%u\"}", i);
}

static void by_profile(struct text *text, unsigned i)
{
	text_append(text, "{\"class\":\"transient\",\"network\":{\"profile\":[\"p%u\",\"q%u\"]}}", i, i);
}

static void by_attempt(struct text *text, unsigned i)
{
	text_append(text, "{\"error\":\"serverBusy\",\"attempt\":{\"min\":%u,\"max\":%u}}", 2 + i, 2 + i);
}

static void by_event(struct text *text, unsigned i)
{
	text_append(text, "{\"event\":\"%s\",\"network\":{\"ssid\":\"s%u\"}}", i % 2 ? "networkChanged" : "resumed", i);
}

static void mixed(struct text *text, unsigned i)
{
	static void (*const shapes[])(struct text * text, unsigned i) = {by_error, by_tunnel, by_profile, by_attempt};
	shapes[i % ELEMENTSOF(shapes)](text, i);
}

const struct policy_shape *policy_shapes(size_t *ret_count)
{
	static const struct policy_shape all[] = {
		{"other errors", by_error},
		{"a tunnel each", by_tunnel},
		{"two profiles each", by_profile},
		{"a ladder of attempts", by_attempt},
		{"other events", by_event},
		{"all of these mixed", mixed},
	};
	*ret_count = ELEMENTSOF(all);
	return all;
}

static _Noreturn void end_with(const struct problems *problems)
{
	_cleanup_free_ char *all = problems_to_text(problems);
	fprintf(stderr, "%s", all);
	exit(EXIT_FAILURE);
}

json_object *policy_shape_document(const struct policy_shape *shape, unsigned count)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	json_object *document = NULL;
	text_append(&text, "{\"version\":1,\"rules\":[");
	for (unsigned i = 0; i < count; i++) {
		text_append(&text, "%s{\"when\":", i ? "," : "");
		shape->when(&text, i);
		text_append(&text, ",\"then\":{\"action\":\"failover\",\"to\":[\"spare\"]}}");
	}
	text_append(&text, "]}");
	if (json_parse_strict(text.bytes, text.length, &document, &problems) < 0)
		end_with(&problems);
	return document;
}

struct policy *policy_shape_make(const struct policy_shape *shape, unsigned count)
{
	_cleanup_json_ json_object *document = policy_shape_document(shape, count);
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	struct policy *policy = NULL;
	if (policy_new(document, &policy, &problems) < 0)
		end_with(&problems);
	return policy;
}
