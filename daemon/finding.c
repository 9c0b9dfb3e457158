/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/finding.h"

#include <string.h>

#include "util/text.h"

static const char *const severities[] = {
	[SEVERITY_NOTICE] = "notice",
	[SEVERITY_WARNING] = "warning",
	[SEVERITY_ERROR] = "error",
};
DEFINE_STRING_TABLE(severity, enum severity, severities);

static const char *const codes[] = {
#define FINDING(constant, severity, code, remedy, meaning) [FINDING_##constant] = code,
#include "daemon/finding.def"
#undef FINDING
};
DEFINE_STRING_TABLE(finding_code, enum finding_code, codes);

static const struct {
	enum severity severity;
	const char *remedy, *meaning;
} rows[] = {
#define FINDING(constant, severity, code, remedy, meaning) [FINDING_##constant] = {SEVERITY_##severity, remedy, meaning},
#include "daemon/finding.def"
#undef FINDING
};

enum severity finding_severity(enum finding_code code)
{
	return rows[code].severity;
}

const char *finding_meaning(enum finding_code code)
{
	return rows[code].meaning;
}

void findings_done(struct findings *findings)
{
	for (size_t i = 0; i < findings->count; i++) {
		free(findings->items[i].subject);
		free(findings->items[i].summary);
		free(findings->items[i].remedy);
	}
	free(findings->items);
	*findings = (struct findings){};
}

/* What is neither printable nor UTF-8 becomes a question mark: a process may call itself anything. Takes TEXT. */
static char *clean(char *text)
{
	for (char *c = text; *c;) {
		size_t length = utf8_sequence((const uint8_t *)c, strlen(c));
		bool good = length > 1 || (length == 1 && *c >= 0x20 && *c != 0x7f);
		if (!good)
			*c = '?';
		c += good ? length : 1;
	}
	return text;
}

void findings_add(struct findings *findings, enum finding_code code, const char *subject, const char *format, ...)
{
	va_list arguments;
	findings->kept = findings->of_code[code]++ < FINDINGS_OF_A_CODE_MAX;
	if (!findings->kept)
		return;
	va_start(arguments, format);
	_cleanup_free_ char *predicate = text_vformat(format, arguments);
	va_end(arguments);
	findings->items = xrealloc(findings->items, (findings->count + 1) * sizeof *findings->items);
	findings->items[findings->count++] = (struct finding){
		.code = code,
		.subject = clean(text_dup(subject)),
		.summary = clean(text_format("%s %s", subject, predicate)),
		.remedy = text_dup(rows[code].remedy),
	};
}

void findings_remedy(struct findings *findings, const char *format, ...)
{
	va_list arguments;
	if (!findings->kept)
		return;
	struct finding *last = &findings->items[findings->count - 1];
	va_start(arguments, format);
	free(last->remedy);
	last->remedy = clean(text_vformat(format, arguments));
	va_end(arguments);
}

void findings_unknown(struct findings *findings, const char *subject, int error, const char *what)
{
	findings_add(findings, FINDING_NOT_CHECKED, subject, "could not be looked at (%s): whether there is %s is not known", strerror(-error), what);
}

static int compare(const void *a, const void *b)
{
	const struct finding *first = a, *second = b;
	int worse = (int)finding_severity(second->code) - (int)finding_severity(first->code);
	int later = (int)first->code - (int)second->code;
	int order = worse ? worse : later ? later : strcmp(first->subject, second->subject);
	return order ? order : strcmp(first->summary, second->summary);
}

static json_object *to_json(enum finding_code code, const char *subject, const char *summary, const char *remedy)
{
	json_object *object = json_object_new_object();
	json_object_object_add(object, "code", json_object_new_string(finding_code_to_string(code)));
	json_object_object_add(object, "severity", json_object_new_string(severity_to_string(finding_severity(code))));
	json_object_object_add(object, "subject", json_object_new_string(subject));
	json_object_object_add(object, "summary", json_object_new_string(summary));
	json_object_object_add(object, "remedy", remedy ? json_object_new_string(remedy) : NULL);
	return object;
}

json_object *findings_to_json(struct findings *findings)
{
	json_object *array = json_object_new_array();
	if (findings->count > 1)
		qsort(findings->items, findings->count, sizeof *findings->items, compare);
	for (size_t i = 0; i < findings->count; i++) {
		const struct finding *finding = &findings->items[i];
		json_object_array_add(array, to_json(finding->code, finding->subject, finding->summary, finding->remedy));
		bool last = i + 1 == findings->count || findings->items[i + 1].code != finding->code;
		if (!last || findings->of_code[finding->code] <= FINDINGS_OF_A_CODE_MAX)
			continue;
		_cleanup_free_ char *more = text_format("%zu more", findings->of_code[finding->code] - FINDINGS_OF_A_CODE_MAX);
		json_object_array_add(array, to_json(finding->code, more, "more of these were found than are told", rows[finding->code].remedy));
	}
	return array;
}
