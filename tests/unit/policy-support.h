/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the tests of policies share. JSON is written with ' for ", so that it reads in C. Everything that must parse
 * ends the test with its problems if it does not.
 */

#include "policy/policy.h"
#include "suite.h"
#include "util/fields.h"
#include "util/text.h"

/* Each is the caller's. */
json_object *json_of(const char *text);
json_object *json_of_file(const char *path); /* beneath the source folder */
struct policy *policy_of(const char *text);

/* Owns the document that its strings point into. */
struct scene {
	json_object *document;
	struct policy_context context;
};
struct scene scene_of(const char *context_text);
void scene_done(struct scene *scene);
#define _cleanup_scene_ _cleanup_(scene_done)

/*
 * The decision of POLICY in the context CONTEXT_TEXT as one line: "0 restart 1s", "otherwise terminate", "none". The
 * delay is there where it is not zero, "limited" where it is. Returns a static buffer.
 */
const char *decide(const struct policy *policy, const char *context_text);
/* The same for a policy of the rules in RULES_TEXT, an array. */
const char *decide_by(const char *rules_text, const char *context_text);
const char *describe(const struct policy_decision *decision);
/* All problems of a document, one line each ("" for none). The caller frees it. */
char *problems_of(const char *text);
