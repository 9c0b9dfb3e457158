/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The interface of drivers, by the smallest there is, and by the table of those that ship: what CONTRIBUTING.md says of them is
 * held against both. And the `command` driver's settings.
 */

#include <string.h>

#include "example-driver.h"
#include "suite.h"
#include "tunnel/command-settings.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

/* What the driver said, in its order. */
static struct text said;

static void heard(const char *what, const char *more)
{
	text_append(&said, "%s%s%s%s", said.length ? " " : "", what, *more ? "=" : "", more);
}

static void host_contacting(void *worker, const struct endpoint *endpoint)
{
	char text[ENDPOINT_TEXT_MAX];
	heard("contacting", endpoint_format(text, endpoint));
}

static void host_up(void *worker, const struct tunnel_network *network)
{
	heard("up", "");
}

static void host_traffic(void *worker, const struct tunnel_traffic *traffic)
{
	heard("traffic", "");
}

static void host_will_stop(void *worker, enum tunnel_error error, const char *detail)
{
	heard("willStop", tunnel_error_to_string(error));
}

static void host_stopped(void *worker)
{
	heard("stopped", "");
}

static void host_need_credentials(void *worker, const char *names, const struct worker_challenge *challenge)
{
	heard("needCredentials", names);
}

static const struct driver_host host = {NULL, NULL, host_contacting, host_up, host_traffic, host_will_stop, host_stopped,
        host_need_credentials};

static void the_example_does_what_a_driver_does(void)
{
	const struct driver *driver = &driver_example;
	const struct worker_start start = {.tun_fd = -1, .control_fd = -1};
	const struct worker_resolvers resolvers = {};
	_cleanup_json_ json_object *answer = json_tokener_parse("{\"password\": \"x\"}");
	struct driver_session *session = NULL;
	CU_ASSERT_EQUAL_FATAL(driver->open(&host, &start, &session), 0);
	CU_ASSERT_EQUAL(driver->start(session, 0, &resolvers), 0);
	CU_ASSERT_EQUAL(driver->credentials(session, answer), 0);
	CU_ASSERT_EQUAL(driver->proceed(session), 0);
	driver->stop(session);
	driver->close(session);
	_cleanup_free_ char *all = text_steal(&said);
	CU_ASSERT_STRING_EQUAL(all, "needCredentials=password contacting=192.0.2.1:443/tcp up stopped");
}

static char *read_source(const char *name)
{
	_cleanup_free_ char *path = text_format("%s/%s", suite_source(), name);
	char *text = NULL;
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &text, &length), 0);
	return text;
}

/* Every line of the C that CONTRIBUTING.md shows stands in the example, which is built and run. */
static void contributing_shows_the_example(void)
{
	_cleanup_free_ char *page = read_source("CONTRIBUTING.md"), *example = read_source("tests/unit/example-driver.c");
	char *block = strstr(page, "```c\n");
	CU_ASSERT_PTR_NOT_NULL_FATAL(block);
	char *end = strstr(block + 5, "```");
	CU_ASSERT_PTR_NOT_NULL_FATAL(end);
	*end = 0;
	char *rest = NULL;
	unsigned lines = 0;
	for (char *line = strtok_r(block + 5, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), lines++)
		if (!strstr(example, line)) {
			printf("# not in tests/unit/example-driver.c: %s\n", line);
			CU_FAIL("CONTRIBUTING.md shows what is not so");
		}
	CU_ASSERT_TRUE(lines > 15);
}

static void every_file_that_contributing_names_is_there(void)
{
	static const char *const named[] = {"tunnel/driver.h", "tunnel/drivers.c", "tunnel/Makefile.inc", "tests/unit/example-driver.c",
	        "openapi.yaml", "tests/lab/test_command.py"};
	_cleanup_free_ char *page = read_source("CONTRIBUTING.md");
	for (size_t i = 0; i < ELEMENTSOF(named); i++) {
		_cleanup_free_ char *path = text_format("%s/%s", suite_source(), named[i]);
		CU_ASSERT_PTR_NOT_NULL(strstr(page, named[i]));
		CU_ASSERT_EQUAL(access(path, R_OK), 0);
	}
}

static void every_driver_is_whole(void)
{
	size_t count;
	const struct driver *const *drivers = driver_all(&count);
	for (size_t i = 0; i < count; i++) {
		const struct driver *driver = drivers[i];
		CU_ASSERT_PTR_EQUAL(driver_find(driver->name), driver);
		CU_ASSERT_TRUE(driver->programs && driver->check && driver->secrets && driver->open && driver->start &&
		               driver->proceed && driver->stop && driver->close);
	}
	CU_ASSERT_PTR_NULL(driver_find("example"));
}

/* ---- command ---- */

static bool reads(const char *json, struct command_settings *settings, struct problems *problems)
{
	_cleanup_json_ json_object *object = json_tokener_parse(json);
	CU_ASSERT_PTR_NOT_NULL_FATAL(object);
	return command_settings_read(object, settings, problems);
}

static void a_commands_settings_are_read(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_command_settings_ struct command_settings settings = {};
	CU_ASSERT_TRUE_FATAL(reads("{\"command\": [\"/usr/sbin/vpn\", \"--to\", \"{address}:{port}\"], \"addresses\": [\"10.0.0.2/24\"],"
	                           "\"up\": {\"regex\": \"^(up|connected)$\"}, \"errors\": [{\"line\": \"*denied*\", \"error\": \"authenticationFailed\"},"
	                           "{\"exit\": 4, \"error\": \"serverBusy\"}], \"stop\": {\"signal\": \"SIGINT\", \"timeout\": \"1s\"}}",
	        &settings, &problems));
	CU_ASSERT_TRUE(command_pattern_matches(&settings.up_line, "connected"));
	CU_ASSERT_FALSE(command_pattern_matches(&settings.up_line, "not connected"));
	CU_ASSERT_TRUE(command_pattern_matches(&settings.errors[0].line, "access denied, go away"));
	CU_ASSERT_EQUAL(settings.errors[1].exit_code, 4);
	CU_ASSERT_EQUAL(settings.stop_usec, USEC_PER_SEC);
}

static void arguments_are_filled_in(void)
{
	const struct tunnel_config config = {.id = "office", .interface = "hf-office"};
	struct endpoint endpoint;
	endpoint_parse("[2001:db8::1]:443/tcp", &endpoint);
	_cleanup_free_ char *text = command_fill_in("{interface}/{tunnel} {address} {port} {protocol} {other} {", &config, &endpoint);
	CU_ASSERT_STRING_EQUAL(text, "hf-office/office 2001:db8::1 443 tcp {other} {");
}

static void a_commands_errors_are_all_found(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_command_settings_ struct command_settings settings = {};
	CU_ASSERT_FALSE(reads("{\"command\": [\"vpn\"], \"environment\": {\"LD_PRELOAD\": \"x\", \"NOTIFY_SOCKET\": \"x\", \"LANG\": 1},"
	                      "\"user\": \"root\", \"capabilities\": [\"CAP_SYS_ADMIN\"], \"interface\": \"eth0\", \"addresses\": [\"x\"],"
	                      "\"mtu\": 1, \"servers\": [\"name:1/udp\"], \"up\": {\"line\": \"a\", \"notify\": true},"
	                      "\"errors\": [{\"regex\": \"(\", \"error\": \"serverBusy\"}, {\"exit\": 256, \"error\": \"superseded\"}, {\"error\": \"unknown\"}],"
	                      "\"stop\": {\"signal\": \"SIGKILL\", \"timeout\": \"1m\"}, \"credentials\": {\"names\": [\"a b\"], \"to\": \"argv\"},"
	                      "\"given\": [{\"name\": \"x\"}]}",
	        &settings, &problems));
	_cleanup_free_ char *text = problems_to_text(&problems);
	suite_golden("command-bad.txt", text);
}

static void what_does_not_go_together_is_said(void)
{
	static const char *const documents[] = {
	        "{\"command\": [\"/x\"], \"up\": {\"notify\": true}}",
	        "{\"command\": [\"/x\"], \"up\": {\"notify\": true}, \"interface\": \"own\"}",
	        "{\"command\": [\"/x\"], \"up\": {\"interface\": true}, \"addresses\": [\"10.0.0.2/32\"], \"watchdog\": \"1s\"}",
	};
	for (size_t i = 0; i < ELEMENTSOF(documents); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_command_settings_ struct command_settings settings = {};
		CU_ASSERT_FALSE(reads(documents[i], &settings, &problems));
		CU_ASSERT_EQUAL(problems.errors, 1);
	}
}

static const struct test tests[] = {
        {"the example asks, contacts, comes up and stops", the_example_does_what_a_driver_does},
        {"what CONTRIBUTING.md shows is the example", contributing_shows_the_example},
        {"every file that CONTRIBUTING.md sends to is there", every_file_that_contributing_names_is_there},
        {"every driver of the table is whole", every_driver_is_whole},
        {"a command's settings are read", a_commands_settings_are_read},
        {"arguments are filled in", arguments_are_filled_in},
        {"every error of a command's settings is found, with its place", a_commands_errors_are_all_found},
        {"what does not go together is said", what_does_not_go_together_is_said},
};

int main(int argc, char **argv)
{
	return suite_run("driver", tests, ELEMENTSOF(tests), argc, argv);
}
