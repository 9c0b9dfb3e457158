/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The list that Diagnose answers with, and the table of docs/diagnostics.md. HOLDFAST_REFRESH=1 rewrites that. */

#include "daemon/finding.h"

#include <string.h>

#include "suite.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

#define BEGIN "writes it -->\n"
#define END   "<!-- end -->"

static const char *at(json_object *array, size_t index, const char *key)
{
	return json_object_get_string(json_object_object_get(json_object_array_get_idx(array, index), key));
}

static void worst_first(void)
{
	_cleanup_findings_ struct findings findings = {};
	findings_add(&findings, FINDING_PACKET_SOCKET, "dhclient (pid 7)", "has one");
	findings_add(&findings, FINDING_BRIDGED_UPLINK, "vnet1", "is on br0");
	findings_add(&findings, FINDING_BRIDGED_UPLINK, "vnet0", "is on br%d", 0);
	findings_add(&findings, FINDING_BLOCK_FAILURE, "gate", "is open");
	_cleanup_json_ json_object *told = findings_to_json(&findings);
	CU_ASSERT_EQUAL_FATAL(json_object_array_length(told), 4);
	CU_ASSERT_STRING_EQUAL(at(told, 0, "code"), "blockFailure");
	CU_ASSERT_STRING_EQUAL(at(told, 0, "severity"), "error");
	CU_ASSERT_STRING_EQUAL(at(told, 1, "subject"), "vnet0");
	CU_ASSERT_STRING_EQUAL(at(told, 1, "summary"), "vnet0 is on br0");
	CU_ASSERT_STRING_EQUAL(at(told, 2, "subject"), "vnet1");
	CU_ASSERT_STRING_EQUAL(at(told, 3, "severity"), "notice");
}

static void own_remedy(void)
{
	_cleanup_findings_ struct findings findings = {};
	findings_add(&findings, FINDING_PROGRAM_MISSING, "openvpn", "is not installed");
	CU_ASSERT_PTR_NULL(findings.items[0].remedy);
	findings_remedy(&findings, "apt install %s", "openvpn");
	_cleanup_json_ json_object *told = findings_to_json(&findings);
	CU_ASSERT_STRING_EQUAL(at(told, 0, "remedy"), "apt install openvpn");
}

static void many_are_counted(void)
{
	_cleanup_findings_ struct findings findings = {};
	for (unsigned i = 0; i < 100; i++) {
		_cleanup_free_ char *name = text_format("vnet%02u", i);
		findings_add(&findings, FINDING_BRIDGED_UPLINK, name, "is on br0");
		findings_remedy(&findings, "remedy of %s", name);
	}
	findings_add(&findings, FINDING_NOT_CHECKED, "links", "could not be looked at");
	_cleanup_json_ json_object *told = findings_to_json(&findings);
	CU_ASSERT_EQUAL_FATAL(json_object_array_length(told), FINDINGS_OF_A_CODE_MAX + 2);
	CU_ASSERT_STRING_EQUAL(at(told, FINDINGS_OF_A_CODE_MAX - 1, "remedy"), "remedy of vnet15");
	CU_ASSERT_STRING_EQUAL(at(told, FINDINGS_OF_A_CODE_MAX, "subject"), "84 more");
	CU_ASSERT_STRING_EQUAL(at(told, FINDINGS_OF_A_CODE_MAX + 1, "code"), "notChecked");
}

static void names_of_others_are_text(void)
{
	_cleanup_findings_ struct findings findings = {};
	findings_add(&findings, FINDING_PACKET_SOCKET, "a\033[2J\xff\xc3\xa9\xed\xa0\x80", "has one");
	_cleanup_json_ json_object *told = findings_to_json(&findings);
	const char *subject = at(told, 0, "subject");
	CU_ASSERT_STRING_EQUAL(subject, "a?[2J?\xc3\xa9???");
	CU_ASSERT_TRUE(text_is_utf8(subject, strlen(subject)));
}

static void unknown_is_said(void)
{
	_cleanup_findings_ struct findings findings = {};
	findings_unknown(&findings, "nftables", -ETIMEDOUT, "another firewall");
	_cleanup_json_ json_object *told = findings_to_json(&findings);
	CU_ASSERT_STRING_EQUAL(at(told, 0, "code"), "notChecked");
	CU_ASSERT_STRING_EQUAL(at(told, 0, "summary"), "nftables could not be looked at (Connection timed out): whether there is another firewall is not known");
	CU_ASSERT_PTR_NULL(at(told, 0, "remedy"));
}

static void codes_are_names(void)
{
	for (enum finding_code code = 0; code < FINDING_CODE_COUNT; code++) {
		enum finding_code back = FINDING_CODE_COUNT;
		CU_ASSERT_EQUAL(finding_code_from_string(finding_code_to_string(code), &back), 0);
		CU_ASSERT_EQUAL(back, code);
	}
	for (enum severity severity = SEVERITY_NOTICE; severity <= SEVERITY_ERROR; severity++) {
		enum severity back = SEVERITY_NOTICE;
		CU_ASSERT_EQUAL(severity_from_string(severity_to_string(severity), &back), 0);
		CU_ASSERT_EQUAL(back, severity);
	}
}

static char *make_table(void)
{
	struct text table = TEXT_NULL;
	text_append(&table, "| code | severity | meaning |\n|---|---|---|\n");
	for (int severity = SEVERITY_ERROR; severity >= SEVERITY_NOTICE; severity--)
		for (enum finding_code code = 0; code < FINDING_CODE_COUNT; code++)
			if (finding_severity(code) == (enum severity)severity)
				text_append(&table, "| `%s` | %s | %s |\n", finding_code_to_string(code), severity_to_string(finding_severity(code)), finding_meaning(code));
	return text_steal(&table);
}

static void document_has_them_all(void)
{
	_cleanup_free_ char *path = text_format("%s/docs/diagnostics.md", suite_source()), *text = NULL, *table = make_table();
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &text, &length), 0);
	const char *begin = strstr(text, BEGIN), *end = strstr(text, END);
	CU_ASSERT_TRUE_FATAL(begin && end);
	begin += strlen(BEGIN);
	if (getenv("HOLDFAST_REFRESH")) {
		_cleanup_free_ char *fresh = text_format("%.*s%s%s", (int)(begin - text), text, table, end);
		CU_ASSERT_EQUAL(file_write_atomic(path, fresh, strlen(fresh), 0644), 0);
		return;
	}
	CU_ASSERT_EQUAL((size_t)(end - begin), strlen(table));
	CU_ASSERT_EQUAL(strncmp(begin, table, strlen(table)), 0);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"errors come first, then warnings; those of one code by subject", worst_first},
		{"a finding may have a remedy of its own", own_remedy},
		{"of a code sixteen are told, and how many more there are", many_are_counted},
		{"what others call themselves is printable UTF-8 when it is told", names_of_others_are_text},
		{"what could not be looked at is a finding", unknown_is_said},
		{"codes and severities are names, there and back", codes_are_names},
		{"docs/diagnostics.md has every finding; HOLDFAST_REFRESH=1 writes it", document_has_them_all},
	};
	return suite_run("findings", tests, sizeof tests / sizeof *tests, argc, argv);
}
