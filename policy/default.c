/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The built-in default: examples/policies/default.json, byte for byte (a test compares them), so that no file can be
 * missing. */

#include <string.h>

#include "policy/policy.h"
#include "util/fields.h"

static const char text[] =
	"{\n"
	"  \"version\": 1,\n"
	"  \"name\": \"default\",\n"
	"  \"stableAfter\": \"30s\",\n"
	"  \"rules\": [\n"
	"    { \"name\": \"offline is no failure\",\n"
	"      \"when\": { \"network\": { \"available\": false } },\n"
	"      \"then\": { \"action\": \"wait\", \"until\": \"networkAvailable\", \"then\": { \"action\": \"restart\" "
	"} } },\n"
	"    { \"name\": \"what a retry can help: twice where it was\",\n"
	"      \"when\": { \"class\": [\"transient\", \"local\"], \"attempt\": { \"max\": 2 } },\n"
	"      \"then\": { \"action\": \"restart\", \"delay\": { \"initial\": \"1s\", \"factor\": 2, \"max\": \"1m\", "
	"\"jitter\": 0.2 } } },\n"
	"    { \"name\": \"then the next endpoint, ever slower\",\n"
	"      \"when\": { \"class\": [\"transient\", \"local\"] },\n"
	"      \"then\": { \"action\": \"restart\", \"endpoint\": \"next\",\n"
	"                \"delay\": { \"initial\": \"4s\", \"factor\": 2, \"max\": \"1m\", \"jitter\": 0.2 } } }\n"
	"  ],\n"
	"  \"otherwise\": { \"action\": \"terminate\", \"traffic\": \"block\" },\n"
	"  \"limits\": { \"restarts\": 30, \"per\": \"10m\" }\n"
	"}\n";

const char *policy_default_text(void)
{
	return text;
}

struct policy *policy_default(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL;
	struct policy *policy;
	if (json_parse_strict(text, strlen(text), &document, &problems) < 0 ||
		policy_new(document, &policy, &problems) < 0)
		abort(); /* our own text */
	return policy;
}
