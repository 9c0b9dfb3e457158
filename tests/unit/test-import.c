/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Imports: each file of tests/unit/imports/ against what it gave, document and problems, as a whole
 * (golden/import-*.txt). Files hold a private key of this sentence, which no problem may repeat: see SECRETS.
 */

#include <errno.h>
#include <glob.h>
#include <string.h>

#include "suite.h"
#include "tunnel/config.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

/* Keys in the files; problems must not quote them, whole or in part. */
static const char *const secrets[] = {"c2VjcmV0", "wrongkey", "hunter2"};

static void import_file(const char *path)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL;
	_cleanup_free_ char *text = NULL, *found = NULL, *golden = NULL;
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &text, &length), 0);
	int r = tunnel_import(text, length, "home", &document, &problems);
	CU_ASSERT_EQUAL(r, problems.errors ? -EINVAL : 0);
	CU_ASSERT_EQUAL(document == NULL, problems.errors > 0);
	found = problems_to_text(&problems);
	for (size_t i = 0; i < ELEMENTSOF(secrets); i++)
		CU_ASSERT_PTR_NULL(strstr(found, secrets[i]));
	golden = text_format("%s%s%s\n", found, found[0] && document ? "\n" : "",
	        document ? json_object_to_json_string_ext(
	                           document, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE)
	                 : "refused");
	const char *name = strrchr(path, '/') + 1;
	_cleanup_free_ char *golden_name = text_format("import-%.*s.txt", (int)strcspn(name, "."), name);
	suite_golden(golden_name, golden);
}

static void every_file_gives_what_is_written_down(void)
{
	static const char *const endings[] = {"conf", "ovpn"};
	for (size_t i = 0; i < ELEMENTSOF(endings); i++) {
		_cleanup_free_ char *pattern = text_format("%s/tests/unit/imports/*.%s", suite_source(), endings[i]);
		glob_t paths = {};
		CU_ASSERT_EQUAL(glob(pattern, 0, NULL, &paths), 0);
		for (size_t j = 0; j < paths.gl_pathc; j++)
			import_file(paths.gl_pathv[j]);
		globfree(&paths);
	}
}

/* What ends the list of endpoints, or a line of it, in other parsers. */
static void openvpn_files_at_their_limits_are_refused(void)
{
	_cleanup_text_ struct text remotes = TEXT_NULL, block = TEXT_NULL;
	text_append(&remotes, "client\n");
	for (unsigned i = 0; i < 70; i++)
		text_append(&remotes, "remote 192.0.2.%u\n", i);
	text_append(&block, "client\nremote 192.0.2.1\n<ca>\n");
	for (unsigned i = 0; i < 1000; i++)
		text_append(&block, "-----BEGIN CERTIFICATE----------------------------------------\n");
	const char *const bad[] = {remotes.bytes, block.bytes, "client\n<ca>\n", "client\nremote \"192.0.2.1\n",
		"client\nremote a b c d e f g h i j k l m n o p q r s\n", "client\n<connection>\nremote 192.0.2.1\n",
		"client\n<ca>\n</ca>\nremote 192.0.2.1\n", "client\nremote 192.0.2.1 99999\n", "client\nremote\n"};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		json_object *document = NULL;
		CU_ASSERT_EQUAL(tunnel_import(bad[i], strlen(bad[i]), "home", &document, &problems), -EINVAL);
		CU_ASSERT_TRUE(problems.errors > 0);
	}
}

/* Names go to a resolver and addresses to the gate: what is neither is told by its line. */
static void an_openvpn_server_is_a_name_or_an_address(void)
{
	static const char *const bad[] = {"\"vpn example\"", "'a;b'", "\"$(id)\"", "../../etc/passwd", "fe80::1%eth0", "-1", "[::1", "a..b", "'a\"b'",
		"0.0.0.0", "224.0.0.1", "ff02::1", "a\\ b", "\\\\x"};
	static const char *const good[] = {"192.0.2.1", "2001:db8::1", "vpn.example", "\"vpn.example\"", "a-b.example 443 tcp"};
	static const char rest[] = "auth-user-pass\n<ca>\n-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n</ca>\n";
	for (size_t i = 0; i < ELEMENTSOF(bad) + ELEMENTSOF(good); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_json_ json_object *document = NULL;
		const char *remote = i < ELEMENTSOF(bad) ? bad[i] : good[i - ELEMENTSOF(bad)];
		_cleanup_free_ char *text = text_format("client\nremote %s\n%s", remote, rest);
		int r = tunnel_import(text, strlen(text), "home", &document, &problems);
		CU_ASSERT_EQUAL(r, i < ELEMENTSOF(bad) ? -EINVAL : 0);
		if ((r == 0) == (i < ELEMENTSOF(bad)))
			printf("# %s\n", remote);
	}
}

static void nul_characters_and_endless_lines_are_named_by_their_line(void)
{
	static const char nul[] = "[Interface]\nPrivate\0Key = x\n";
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_text_ struct text text = TEXT_NULL;
	json_object *document = NULL;
	CU_ASSERT_EQUAL(tunnel_import(nul, sizeof nul - 1, "home", &document, &problems), -EINVAL);
	CU_ASSERT_STRING_EQUAL(problems.items[0].pointer, "/line/2");
	text_append(&text, "[Interface]\n\n");
	for (unsigned i = 0; i < 10000; i++)
		text_append(&text, "x");
	problems_done(&problems);
	CU_ASSERT_EQUAL(tunnel_import(text.bytes, text.length, "home", &document, &problems), -EINVAL);
	CU_ASSERT_STRING_EQUAL(problems.items[0].pointer, "/line/3");
	CU_ASSERT_STRING_EQUAL(problems.items[0].detail, "is too long");
}

static void what_is_no_file_of_either_kind_is_refused(void)
{
	static const char *const bad[] = {"", "\n\n", "{}", "clients\nremote vpn.example\n", "# [Interface]\n"};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		json_object *document = NULL;
		CU_ASSERT_EQUAL(tunnel_import(bad[i], strlen(bad[i]), "home", &document, &problems), -EINVAL);
		CU_ASSERT_EQUAL(problems.errors, 1);
	}
}

/* The routes of a file whose peer has ALLOWED: "all", or how many networks. */
static void expect_routes(const char *allowed, bool all)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL;
	_cleanup_free_ char *text = text_format("[Interface]\nPrivateKey = %s\nAddress = 10.9.0.2/32\n[Peer]\nPublicKey = %s\n"
						"Endpoint = 192.0.2.1:51820\nAllowedIPs = %s\n",
		"yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=", "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", allowed);
	CU_ASSERT_EQUAL_FATAL(tunnel_import(text, strlen(text), "home", &document, &problems), 0);
	json_object *routes = json_object_object_get(document, "routes");
	CU_ASSERT_EQUAL(json_object_is_type(routes, json_type_string), all);
}

static void a_default_route_in_pieces_is_everything(void)
{
	expect_routes("0.0.0.0/0", true);
	expect_routes("::/0", true);
	expect_routes("0.0.0.0/1, 128.0.0.0/1", true);
	expect_routes("::/1, 8000::/1", true);
	expect_routes("0.0.0.0/2, 64.0.0.0/2, 128.0.0.0/1", true);
	expect_routes("0.0.0.0/1", false);
	expect_routes("0.0.0.0/1, 128.0.0.0/2", false);
	expect_routes("10.0.0.0/8, 192.168.0.0/16", false);
}

static void a_bad_id_is_refused(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_free_ char *path = text_format("%s/tests/unit/imports/plain.conf", suite_source()), *text = NULL;
	json_object *document = NULL;
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &text, &length), 0);
	CU_ASSERT_EQUAL(tunnel_import(text, length, "../home", &document, &problems), -EINVAL);
	CU_ASSERT_STRING_EQUAL(problems.items[0].pointer, "/id");
}

static const struct test tests[] = {
        {"every file gives what is written down", every_file_gives_what_is_written_down},
        {"NUL characters and endless lines are named by their line",
                nul_characters_and_endless_lines_are_named_by_their_line},
        {"an OpenVPN server is a name or an address", an_openvpn_server_is_a_name_or_an_address},
        {"OpenVPN files at their limits are refused", openvpn_files_at_their_limits_are_refused},
        {"a default route in pieces is everything", a_default_route_in_pieces_is_everything},
        {"what is no file of either kind is refused", what_is_no_file_of_either_kind_is_refused},
        {"a bad id is refused", a_bad_id_is_refused},
};

int main(int argc, char **argv)
{
	return suite_run("import", tests, ELEMENTSOF(tests), argc, argv);
}
