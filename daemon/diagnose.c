/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/diagnose.h"

#include "daemon/operations-internal.h"

void handle_diagnose(struct manager *manager, struct operation_call *call)
{
	static void (*const checks[])(struct manager *manager, struct findings *findings) = {diagnose_own, diagnose_host, diagnose_beside};
	_cleanup_findings_ struct findings findings = {};
	for (size_t i = 0; i < ELEMENTSOF(checks); i++)
		checks[i](manager, &findings);
	call_result(call, "findings", findings_to_json(&findings));
	call_finish(call, OUTCOME_OK);
}
