/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What Diagnose found: a list that checks add to, in any order, and that is told in one: errors first, then as finding.def has them,
 * then by subject. Names that others chose may stand in it; what is no text in them is replaced.
 */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/macro.h"
#include "util/string-table.h"

#define FINDINGS_OF_A_CODE_MAX 16 /* told one by one; how many more there are is told in one */

enum severity { SEVERITY_NOTICE, SEVERITY_WARNING, SEVERITY_ERROR }; /* ordered: a greater one is worse */
STRING_TABLE(severity, enum severity);

enum finding_code {
#define FINDING(constant, severity, code, remedy, meaning) FINDING_##constant,
#include "daemon/finding.def"
#undef FINDING
	FINDING_CODE_COUNT,
};
STRING_TABLE(finding_code, enum finding_code);
enum severity finding_severity(enum finding_code code);
const char *finding_meaning(enum finding_code code);

struct finding {
	enum finding_code code;
	char *subject, *summary, *remedy; /* owned */
};

struct findings {
	struct finding *items;
	size_t count;
	size_t of_code[FINDING_CODE_COUNT]; /* all, those not kept included */
	bool kept;			    /* the last one that was added */
};

void findings_done(struct findings *findings);
#define _cleanup_findings_ _cleanup_(findings_done)
/* SUBJECT: the thing that it is about. With what follows it makes the summary: what is, and what is lost by it. */
void findings_add(struct findings *findings, enum finding_code code, const char *subject, const char *format, ...) _printf_(4, 5);
/* What to do about the last one, where that is not what the table says. */
void findings_remedy(struct findings *findings, const char *format, ...) _printf_(2, 3);
/* SUBJECT could not be looked at for ERROR (a negative errno): whether there is WHAT is not known. */
void findings_unknown(struct findings *findings, const char *subject, int error, const char *what);
/* Sorted, an object each; the caller owns the array. */
json_object *findings_to_json(struct findings *findings);
