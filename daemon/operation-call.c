/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One call from its front to its operation, made and wiped. Apart from the table, for tests that pretend the operations. */

#include <stdlib.h>

#include "daemon/operations.h"
#include "util/fields.h"
#include "util/text.h"

struct operation_call *operation_call_new(const struct operation *operation)
{
	struct operation_call *call = xcalloc(1, sizeof *call);
	call->operation = operation;
	call->arguments = json_object_new_object();
	call->outcome = OUTCOME_INTERNAL_ERROR;
	return call;
}

struct operation_call *operation_call_free(struct operation_call *call)
{
	if (!call)
		return NULL;
	if (call->operation->flags & OPERATION_SECRET)
		json_wipe(call->arguments);
	json_object_put(call->arguments);
	json_object_put(call->document);
	json_object_put(call->result);
	if (call->text)
		wipe(call->text, call->text_length);
	free(call->text);
	free(call->if_match);
	free(call->detail);
	free(call->etag);
	free(call->location);
	problems_done(&call->problems);
	free(call);
	return NULL;
}
