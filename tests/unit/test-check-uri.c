/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* NetworkManager's `uri`, taken apart. */

#include <errno.h>
#include <string.h>

#include "network/check-uri.h"
#include "suite.h"
#include "util/text.h"

static void what_can_be_let_by_is_taken_apart(void)
{
	static const struct {
		const char *uri;
		uint16_t port;
		const char *name, *host;
	} cases[] = {
		{"http://network-test.debian.org/nm", 80, "network-test.debian.org", ""},
		{"http://example.org", 80, "example.org", ""},
		{"HTTP://Example.org./?x=1", 80, "Example.org", ""},
		{"http://example.org:80/check.txt", 80, "example.org", ""},
		{"https://example.org:443#x", 443, "example.org", ""},
		{"https://example.org/a:b", 443, "example.org", ""},
		{"http://192.0.2.1/check", 80, "", "192.0.2.1"},
		{"http://[2001:db8::1]/check", 80, "", "2001:db8::1"},
		{"https://[2001:db8::1]:443", 443, "", "2001:db8::1"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		char text[IP_TEXT_MAX] = "";
		const char *reason = NULL;
		struct check_target target;
		CU_ASSERT_EQUAL_FATAL(check_uri_parse(cases[i].uri, &target, &reason), 0);
		CU_ASSERT_EQUAL(target.port, cases[i].port);
		CU_ASSERT_STRING_EQUAL(target.name, cases[i].name);
		if (target.host.family != AF_UNSPEC)
			ip_address_format(text, &target.host);
		CU_ASSERT_STRING_EQUAL(text, cases[i].host);
	}
}

static void what_cannot_is_refused_with_a_reason(void)
{
	static const struct {
		const char *uri, *reason;
	} cases[] = {
		{"", "no uri"},
		{"ftp://example.org/", "neither http"},
		{"example.org", "neither http"},
		{"http://example.org:8080/", "another port"},
		{"http://example.org:/", "another port"},
		{"http://example.org:800/", "another port"},
		{"http://example.org:443/", "another port"},
		{"https://example.org:80/", "another port"},
		{"http://[2001:db8::1]:8080/", "another port"},
		{"http:///check", "no host"},
		{"http://./", "no host"},
		{"http://example..org/", "no host"},
		{"http://.example.org/", "no host"},
		{"http://example.org../", "no host"},
		{"http://user@example.org/", "no host"},
		{"http://ex ample.org/", "no host"},
		{"http://ex\"ample.org/", "no host"},
		{"http://b\xc3\xbc" "cher.example/", "no host"},
		{"http://[192.0.2.1]/", "no host"},
		{"http://[2001:db8::1/", "no host"},
		{"http://[example.org]/", "no host"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		const char *reason = "";
		struct check_target target;
		int r = check_uri_parse(cases[i].uri, &target, &reason);
		CU_ASSERT_EQUAL(r, -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(reason, cases[i].reason));
		if (r == 0 || !strstr(reason, cases[i].reason))
			printf("# %s: %s\n", cases[i].uri, reason);
	}
}

/* URI is completed with LENGTH characters, a dot after every LABEL. */
static int parse_long(size_t length, size_t label)
{
	char uri[400] = "http://";
	const char *reason;
	struct check_target target;
	for (size_t i = 0; i < length; i++)
		uri[7 + i] = i % (label + 1) == label ? '.' : 'a';
	return check_uri_parse(uri, &target, &reason);
}

static void what_cannot_stand_in_a_question_is_refused(void)
{
	CU_ASSERT_EQUAL(parse_long(63, 63), 0);
	CU_ASSERT_EQUAL(parse_long(64, 64), -EINVAL);
	CU_ASSERT_EQUAL(parse_long(253, 63), 0);
	CU_ASSERT_EQUAL(parse_long(254, 60), -EINVAL);
	CU_ASSERT_EQUAL(parse_long(300, 60), -EINVAL);
}

static const struct test tests[] = {
	{"what can be let by is taken apart", what_can_be_let_by_is_taken_apart},
	{"what cannot is refused with a reason", what_cannot_is_refused_with_a_reason},
	{"what cannot stand in a question is refused", what_cannot_stand_in_a_question_is_refused},
};

int main(int argc, char **argv)
{
	return suite_run("check-uri", tests, ELEMENTSOF(tests), argc, argv);
}
