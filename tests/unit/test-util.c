/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What every folder uses: durations, addresses, strict JSON, field tables, atomic files. */

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "suite.h"
#include "util/address.h"
#include "util/duration.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"
#include "util/timestamp.h"

static void durations_parse_and_print(void)
{
	static const struct {
		const char *text;
		uint64_t usec;
	} cases[] = {{"250ms", 250000}, {"1s", 1000000}, {"5m", 300000000}, {"2h", 7200000000}, {"1d", 86400000000}, {"0ms", 0}};
	char buffer[DURATION_TEXT_MAX];
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		uint64_t usec = 1;
		CU_ASSERT_EQUAL(duration_parse(cases[i].text, &usec), 0);
		CU_ASSERT_EQUAL(usec, cases[i].usec);
		CU_ASSERT_STRING_EQUAL(duration_format(buffer, usec), cases[i].text);
	}
}

static void points_in_time_parse_and_print(void)
{
	static const struct {
		const char *text, *utc;
	} cases[] = {
		{"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"},
		{"2026-11-22T15:20:00Z", "2026-11-22T15:20:00.000Z"},
		{"2026-11-22t15:20:00.250z", "2026-11-22T15:20:00.250Z"},
		{"2026-11-22 15:20:00.2509999999Z", "2026-11-22T15:20:00.250Z"},
		{"2026-11-22T16:20:00+01:00", "2026-11-22T15:20:00.000Z"},
		{"2026-11-22T10:50:00.5-04:30", "2026-11-22T15:20:00.500Z"},
		{"2024-02-29T23:59:60Z", "2024-03-01T00:00:00.000Z"},
		{"1970-01-01T01:00:00+01:00", "1970-01-01T00:00:00.000Z"},
		{"9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"},
	};
	char buffer[TIMESTAMP_TEXT_MAX];
	uint64_t usec;
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		CU_ASSERT_EQUAL_FATAL(timestamp_parse(cases[i].text, &usec), 0);
		CU_ASSERT_STRING_EQUAL(timestamp_format(buffer, usec), cases[i].utc);
	}
	CU_ASSERT_STRING_EQUAL(timestamp_format(buffer, UINT64_MAX), "");
}

/* "sun 01:59" */
static const char *on_the_wall(const char *zone, const char *utc)
{
	static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
	static char text[16];
	uint64_t usec;
	int minute, day;
	setenv("TZ", zone, 1);
	CU_ASSERT_EQUAL_FATAL(timestamp_parse(utc, &usec), 0);
	timestamp_local(usec, &minute, &day);
	snprintf(text, sizeof text, "%s %02d:%02d", days[day], minute / 60, minute % 60);
	return text;
}

static void the_wall_clock_follows_zone_and_summer_time(void)
{
	static const char berlin[] = "CET-1CEST,M3.5.0,M10.5.0/3", auckland[] = "NZST-12NZDT,M9.5.0,M4.1.0/3";
	static const struct {
		const char *zone, *utc, *wall;
	} cases[] = {
		{berlin, "2026-03-29T00:59:59Z", "sun 01:59"}, /* an hour is left out … */
		{berlin, "2026-03-29T01:00:00Z", "sun 03:00"},
		{berlin, "2026-10-25T00:00:00Z", "sun 02:00"}, /* … and one comes twice */
		{berlin, "2026-10-25T00:59:59Z", "sun 02:59"},
		{berlin, "2026-10-25T01:00:00Z", "sun 02:00"},
		{berlin, "2026-10-25T02:00:00Z", "sun 03:00"},
		{berlin, "2026-11-22T22:59:59Z", "sun 23:59"},
		{berlin, "2026-11-22T23:00:00Z", "mon 00:00"},
		{auckland, "2026-11-22T23:00:00Z", "mon 12:00"}, /* the zone is read anew */
		{"UTC0", "2026-11-22T23:00:00Z", "sun 23:00"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++)
		CU_ASSERT_STRING_EQUAL(on_the_wall(cases[i].zone, cases[i].utc), cases[i].wall);
	unsetenv("TZ");
}

static void what_is_no_point_in_time_is_refused(void)
{
	static const char *const bad[] = {"", "yesterday", "2026-11-22", "2026-11-22T15:20:00", "2026-11-22T15:20Z", "2026-11-22T15:20:00.Z",
		"2026-11-22T15:20:00Z ", "2026-11-22T15:20:00 01:00", "2026-11-22T15:20:00+0100", "2026-11-22T15:20:00+24:00",
		"2026-02-29T00:00:00Z", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z",
		"2026-01-32T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "1969-12-31T23:59:59Z",
		"1970-01-01T00:00:00+01:00", "+2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+1:00"};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		uint64_t usec = 77;
		CU_ASSERT_EQUAL(timestamp_parse(bad[i], &usec), -EINVAL);
		CU_ASSERT_EQUAL(usec, 77);
	}
}

static void what_is_no_duration_is_refused(void)
{
	static const char *const bad[] = {"", "5", "s", "-1s", "1.5s", " 1s", "1s ", "1S", "1w"};
	static const char *const too_long[] = {"99999999999999999999s", "4000d", "3651d", "18446744073709551617ms"};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		uint64_t usec;
		CU_ASSERT_EQUAL(duration_parse(bad[i], &usec), -EINVAL);
	}
	for (size_t i = 0; i < ELEMENTSOF(too_long); i++) {
		uint64_t usec;
		CU_ASSERT_EQUAL(duration_parse(too_long[i], &usec), -ERANGE);
	}
}

static void addresses_round_trip(void)
{
	static const char *const good[] = {"192.0.2.1:51820/udp", "[2001:db8::1]:443/tcp"};
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		struct endpoint endpoint;
		char buffer[ENDPOINT_TEXT_MAX];
		CU_ASSERT_EQUAL(endpoint_parse(good[i], &endpoint), 0);
		CU_ASSERT_STRING_EQUAL(endpoint_format(buffer, &endpoint), good[i]);
	}
	static const char *const bad[] = {"", "192.0.2.1", "192.0.2.1:0/udp", "192.0.2.1:65536/udp", "2001:db8::1:443/tcp", "[192.0.2.1]:1/udp",
		"192.0.2.1:51820/sctp", "192.0.2.1:051/udp", "vpn.example:1/udp", "192.0.2.1:1/udp "};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		struct endpoint endpoint;
		CU_ASSERT_EQUAL(endpoint_parse(bad[i], &endpoint), -EINVAL);
	}
}

static void networks_know_what_is_inside(void)
{
	struct ip_prefix network, edge;
	struct ip_address inside, outside;
	CU_ASSERT_EQUAL(ip_prefix_parse("10.1.2.3/23", &network), 0);
	CU_ASSERT_EQUAL(ip_address_parse("10.1.3.255", &inside), 0);
	CU_ASSERT_EQUAL(ip_address_parse("10.1.4.0", &outside), 0);
	CU_ASSERT_TRUE(ip_prefix_contains(&network, &inside));
	CU_ASSERT_FALSE(ip_prefix_contains(&network, &outside));
	char buffer[IP_TEXT_MAX];
	network = ip_prefix_mask(network);
	CU_ASSERT_STRING_EQUAL(ip_prefix_format(buffer, &network), "10.1.2.0/23");
	CU_ASSERT_EQUAL(ip_prefix_parse("10.0.0.0/33", &edge), -EINVAL);
	CU_ASSERT_EQUAL(ip_prefix_parse("::/129", &edge), -EINVAL);
	CU_ASSERT_EQUAL(ip_prefix_parse("10.0.0.0/", &edge), -EINVAL);
}

static void networks_are_merged(void)
{
	static const char *const given[] = {"2001:db8::/32", "10.1.0.0/16", "10.0.0.0/8", "9.255.255.255", "10.1.0.0/16", "2001:db8:1::/48"},
				 *const left[] = {"9.255.255.255/32", "10.0.0.0/8", "2001:db8::/32"};
	static const struct {
		const char *network, *end;
	} ends[] = {{"9.255.255.255", "10.0.0.0"}, {"10.0.0.0/8", "11.0.0.0"}, {"192.0.2.128/25", "192.0.3.0"}, {"2001:db8:ffff::/48", "2001:db9::"},
		{"255.0.0.0/8", NULL}, {"255.255.255.255", NULL}, {"ffff::/16", NULL}, {"::/0", NULL}, {"128.0.0.0/1", NULL}, {"0.0.0.0/1", "128.0.0.0"}};
	struct ip_prefix networks[ELEMENTSOF(given)];
	char buffer[IP_TEXT_MAX];
	for (size_t i = 0; i < ELEMENTSOF(given); i++)
		CU_ASSERT_EQUAL(ip_prefix_parse(given[i], &networks[i]), 0);
	CU_ASSERT_EQUAL(ip_prefixes_merge(networks, ELEMENTSOF(given)), ELEMENTSOF(left));
	CU_ASSERT_EQUAL(ip_prefixes_merge(networks, 0), 0);
	for (size_t i = 0; i < ELEMENTSOF(left); i++)
		CU_ASSERT_STRING_EQUAL(ip_prefix_format(buffer, &networks[i]), left[i]);
	for (size_t i = 0; i < ELEMENTSOF(ends); i++) {
		struct ip_address end;
		CU_ASSERT_EQUAL(ip_prefix_parse(ends[i].network, &networks[0]), 0);
		CU_ASSERT_EQUAL(ip_prefix_end(&networks[0], &end), ends[i].end != NULL);
		if (ends[i].end)
			CU_ASSERT_STRING_EQUAL(ip_address_format(buffer, &end), ends[i].end);
	}
}

static void json_is_strict(void)
{
	static const char *const bad[] = {"", " ", "{", "{}x", "{\"a\":1,\"a\":2}", "{'a':1}", "[1,]", "\"\xff\"", "nul", "{\"a\":{\"b\":1,\"b\":1}}"};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		json_object *value = NULL;
		CU_ASSERT_EQUAL(json_parse_strict(bad[i], strlen(bad[i]), &value, &problems), -EINVAL);
		CU_ASSERT_EQUAL(problems.errors, 1);
	}
	static const char *const good[] = {"{}", "[]", "1", " {\"a\":\"b:c\\\":\",\"d\":[{\"a\":1}]} \n", "\"x\"", "null", "-1.5"};
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_json_ json_object *value = NULL;
		CU_ASSERT_EQUAL(json_parse_strict(good[i], strlen(good[i]), &value, &problems), 0);
	}
}

static void every_member_that_stands_twice_is_told(void)
{
	static const struct {
		const char *text, *pointers;
	} cases[] = {
		{"{\"a\":1,\"a\":2}", "/a"},
		{"{\"a\":1,\"b\":{},\"\\u0061\":[]}", "/a"},
		{" { \"x\" : [ 1 , { \"b\" : \"}\" , \"c/d\" : -1.5e3 , \"c/d\" : \"\\\"{\" } ] , \"y\" : null , \"x\" : 2 } ", "/x/1/c~1d /x"},
		{"[[],{},{\"a\":1},{\"a\":{\"a\":1,\"a\":[],\"a\":{}}}]", "/3/a/a /3/a/a"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_text_ struct text pointers = TEXT_NULL;
		json_object *value = NULL;
		CU_ASSERT_EQUAL(json_parse_strict(cases[i].text, strlen(cases[i].text), &value, &problems), -EINVAL);
		for (size_t j = 0; j < problems.count; j++)
			text_append(&pointers, "%s%s", j ? " " : "", problems.items[j].pointer);
		CU_ASSERT_STRING_EQUAL(pointers.bytes, cases[i].pointers);
	}
}

/* json-c alone reads each of these. */
static void what_json_c_lets_by_is_no_json_all_the_same(void)
{
#define BYTES(text) text, sizeof text - 1
	static const struct {
		const char *text;
		size_t length;
		const char *detail;
	} bad[] = {
		{BYTES("{}\0"), "is no JSON: more follows the document at line 1, column 3"},
		{BYTES("{}\0\0{\"a\":1}"), "is no JSON: more follows the document at line 1, column 3"},
		{BYTES("NaN"), "is no JSON: NaN and Infinity are no numbers at line 1, column 1"},
		{BYTES("[1,\n-Infinity]"), "is no JSON: NaN and Infinity are no numbers at line 2, column 2"},
		{BYTES("[1.]"), "is no JSON: a number that ends in its point at line 1, column 3"},
		{BYTES("[-01]"), "is no JSON: a number that begins with 0 at line 1, column 2"},
		{BYTES("[00]"), "is no JSON: a number that begins with 0 at line 1, column 2"},
		{BYTES("{\"a\\u0000b\" :1}"), "is no JSON: a NUL in a member's name at line 1, column 11"},
		{BYTES("{'a':1}"), "is no JSON: strings stand in double quotes at line 1, column 2"},
		{BYTES("\"a\tb\""), "is no JSON: a control character in a string, where it stands as an escape at line 1, column 3"},
		{BYTES("\"\x1b[31m\""), "is no JSON: a control character in a string, where it stands as an escape at line 1, column 2"},
		{BYTES("{\"a\nb\":1}"), "is no JSON: a control character in a string, where it stands as an escape at line 1, column 4"},
		{BYTES("\"\xc0\xaf\""), "is no JSON: invalid UTF-8 at line 1, column 2"},
		{BYTES("\"\xe0\x80\xaf\""), "is no JSON: invalid UTF-8 at line 1, column 2"},
		{BYTES("\"\xed\xa0\x80\""), "is no JSON: invalid UTF-8 at line 1, column 2"},
		{BYTES("\"\xf4\x90\x80\x80\""), "is no JSON: invalid UTF-8 at line 1, column 2"},
		{BYTES("\"\\ud800\""), "is no JSON: half of a surrogate pair at line 1, column 2"},
		{BYTES("\"\\udc00\\ud800\""), "is no JSON: half of a surrogate pair at line 1, column 2"},
		{BYTES("\"\\ud800\\u0041\""), "is no JSON: half of a surrogate pair at line 1, column 2"},
	};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_json_ json_object *value = NULL;
		CU_ASSERT_EQUAL(json_parse_strict(bad[i].text, bad[i].length, &value, &problems), -EINVAL);
		CU_ASSERT_EQUAL_FATAL(problems.errors, 1);
		CU_ASSERT_STRING_EQUAL(problems.items[0].detail, bad[i].detail);
		if (strcmp(problems.items[0].detail, bad[i].detail) != 0)
			printf("# %s\n", problems.items[0].detail);
	}
	static const struct {
		const char *text;
		size_t length;
	} good[] = {
		{BYTES("[-0.5, 1e-01, 1E+05, 0, -0, 10.25e3, true, false, null]")},
		{BYTES("\"NaN, 'Infinity', 1. and -01\"")},
		{BYTES("[0.0, 1.00, 100, 1e00, 1e+00, -0.00, \"a\\u0000b\", 1]")},
		{BYTES("\"\\ud83d\\ude00 \\u001b \\u0000 \\uFFFF \x7f\"")},
		{BYTES("\"\xc2\x80 \xe0\xa0\x80 \xed\x9f\xbf \xee\x80\x80 \xf0\x90\x80\x80 \xf4\x8f\xbf\xbf\"\r\n\t ")},
		{BYTES("{\"a\\\"\":\"\\\\\",\"'\":{}}")},
	};
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_json_ json_object *value = NULL;
		CU_ASSERT_EQUAL(json_parse_strict(good[i].text, good[i].length, &value, &problems), 0);
		if (problems.errors)
			printf("# %s: %s\n", good[i].text, problems.items[0].detail);
	}
#undef BYTES
}

static void fields_find_all_errors_at_once(void)
{
	struct target {
		char *name;
		bool flag;
		uint64_t delay;
	} target = {.flag = true};
	static const struct field fields[] = {
		{"name", FIELD_STRING, field_text, offsetof(struct target, name), true},
		{"flag", FIELD_BOOLEAN, field_bool, offsetof(struct target, flag), false},
		{"delay", FIELD_STRING, field_duration, offsetof(struct target, delay), false},
	};
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *value = NULL;
	const char text[] = "{\"flag\":1,\"delay\":\"soon\",\"a/b~\":2}";
	CU_ASSERT_EQUAL(json_parse_strict(text, sizeof text - 1, &value, &problems), 0);
	CU_ASSERT_FALSE(fields_read(value, fields, ELEMENTSOF(fields), "", &target, &problems, NULL));
	_cleanup_free_ char *all = problems_to_text(&problems);
	CU_ASSERT_STRING_EQUAL(all, "/flag: must be true or false, is an integer (found 1)\n"
				    "/delay: is no duration; write 250ms, 1s, 5m, 2h or 1d (found \"soon\")\n"
				    "/a~1b~0: unknown member; known here: name, flag, delay\n"
				    "/name: is missing\n");
	CU_ASSERT_TRUE(target.flag);
}

static void no_warnings_hide_an_error(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	for (size_t i = 0; i < 3 * PROBLEMS_MAX; i++)
		problems_warning(&problems, "/rules/0", NULL, "is odd");
	problems_error(&problems, "/rules/1", NULL, "is wrong");
	_cleanup_json_ json_object *errors = problems_to_json(&problems, false), *warnings = problems_to_json(&problems, true);
	CU_ASSERT_EQUAL_FATAL(json_object_array_length(errors), 1);
	CU_ASSERT_STRING_EQUAL(json_object_to_json_string_ext(json_object_array_get_idx(errors, 0), JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
		"{\"pointer\":\"/rules/1\",\"detail\":\"is wrong\"}");
	CU_ASSERT_EQUAL_FATAL(json_object_array_length(warnings), PROBLEMS_MAX + 1);
	CU_ASSERT_STRING_EQUAL(json_object_to_json_string_ext(json_object_array_get_idx(warnings, PROBLEMS_MAX), JSON_C_TO_STRING_PLAIN),
		"{\"pointer\":\"\",\"detail\":\"200 more are not listed\"}");
	CU_ASSERT_EQUAL(problems.count, PROBLEMS_MAX + 1);
}

static void files_are_replaced_whole(void)
{
	char folder[] = "/tmp/holdfast-test-XXXXXX";
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	_cleanup_free_ char *path = text_format("%s/state", folder);
	_cleanup_free_ char *bytes = NULL;
	size_t length;
	struct stat status;
	CU_ASSERT_EQUAL(file_write_atomic(path, "one", 3, 0600), 0);
	CU_ASSERT_EQUAL(file_write_atomic(path, "three", 5, 0600), 0);
	CU_ASSERT_EQUAL(file_read(path, &bytes, &length), 0);
	CU_ASSERT_STRING_EQUAL(bytes, "three");
	CU_ASSERT_EQUAL(stat(path, &status), 0);
	CU_ASSERT_EQUAL(status.st_mode & 07777, 0600);
	CU_ASSERT_EQUAL(file_remove(path), 0);
	CU_ASSERT_EQUAL(file_remove(path), 0);
	CU_ASSERT_EQUAL(rmdir(folder), 0); /* nothing else was left in it */
}

static void a_link_that_leads_nowhere_is_no_missing_file(void)
{
	char folder[] = "/tmp/holdfast-test-XXXXXX";
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(folder));
	_cleanup_free_ char *file = text_format("%s/file", folder), *path = text_format("%s/link", folder), *bytes = NULL;
	size_t length;
	CU_ASSERT_EQUAL(file_read(path, &bytes, &length), -ENOENT);
	CU_ASSERT_EQUAL_FATAL(symlink(file, path), 0);
	CU_ASSERT_EQUAL(file_read(path, &bytes, &length), -ENOLINK);
	CU_ASSERT_EQUAL(file_write_atomic(file, "one", 3, 0600), 0);
	CU_ASSERT_EQUAL(file_read(path, &bytes, &length), 0);
	CU_ASSERT_EQUAL(file_remove(path), 0);
	CU_ASSERT_EQUAL(file_remove(file), 0);
	CU_ASSERT_EQUAL(rmdir(folder), 0);
}

static const struct test tests[] = {
	{"durations parse and print", durations_parse_and_print},
	{"what is no duration is refused", what_is_no_duration_is_refused},
	{"points in time parse and print", points_in_time_parse_and_print},
	{"the clock on the wall follows zone and summer time", the_wall_clock_follows_zone_and_summer_time},
	{"what is no point in time is refused", what_is_no_point_in_time_is_refused},
	{"endpoints round-trip, and what is none is refused", addresses_round_trip},
	{"networks know what is inside", networks_know_what_is_inside},
	{"networks are merged, and end where they end", networks_are_merged},
	{"JSON is read strictly", json_is_strict},
	{"every member that stands twice is told", every_member_that_stands_twice_is_told},
	{"what json-c lets by is no JSON all the same", what_json_c_lets_by_is_no_json_all_the_same},
	{"a field table finds all errors at once", fields_find_all_errors_at_once},
	{"no number of warnings hides an error, and what is not listed is counted", no_warnings_hide_an_error},
	{"files are replaced whole", files_are_replaced_whole},
	{"a link that leads nowhere is no missing file", a_link_that_leads_nowhere_is_no_missing_file},
};

int main(int argc, char **argv)
{
	return suite_run("util", tests, ELEMENTSOF(tests), argc, argv);
}
