/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the openvpn driver reads and writes, without a client: lines of the management interface, reasons, what a server
 * pushes, settings. The driver itself, with real clients and servers, is the lab's: tests/lab/test_openvpn.py.
 */

#include <string.h>
#include <sys/mman.h>

#include "suite.h"
#include "tunnel/config.h"
#include "tunnel/driver.h"
#include "tunnel/network-check.h"
#include "tunnel/openvpn-auth.h"
#include "tunnel/openvpn-management.h"
#include "tunnel/openvpn-network.h"
#include "tunnel/openvpn-reason.h"
#include "tunnel/openvpn-settings.h"
#include "util/fields.h"

static struct openvpn_line parse(const char *text, char copy[OPENVPN_LINE_MAX])
{
	snprintf(copy, OPENVPN_LINE_MAX, "%s", text);
	return openvpn_line_parse(copy);
}

static void lines_are_taken_apart(void)
{
	static const struct {
		const char *line;
		enum openvpn_line_kind kind;
		const char *name, *text;
	} cases[] = {
	        {">STATE:1795379251,CONNECTED,SUCCESS,10.9.0.2,192.0.2.1,1194,,,fd09::2", OPENVPN_LINE_STATE, "CONNECTED", "SUCCESS"},
	        {">STATE:1795379251,WAIT,,,,,,", OPENVPN_LINE_STATE, "WAIT", ""},
	        {">STATE:", OPENVPN_LINE_STATE, "", ""},
	        {">STATE:1,RECONNECTING,auth-failure (auth-token)", OPENVPN_LINE_STATE, "RECONNECTING", "auth-failure (auth-token)"},
	        {">HOLD:Waiting for hold release:0", OPENVPN_LINE_HOLD, "", "Waiting for hold release:0"},
	        {">PASSWORD:Need 'Auth' username/password", OPENVPN_LINE_PASSWORD_NEEDED, "Auth", "username/password"},
	        {">PASSWORD:Need 'Private Key' password", OPENVPN_LINE_PASSWORD_NEEDED, "Private Key", "password"},
	        {">PASSWORD:Verification Failed: 'Auth' ['SESSION:it's over']", OPENVPN_LINE_PASSWORD_FAILED, "Auth", "SESSION:it's over"},
	        {">PASSWORD:Verification Failed: 'Auth'", OPENVPN_LINE_PASSWORD_FAILED, "Auth", ""},
	        {">PASSWORD:Verification Failed: 'Auth' ['", OPENVPN_LINE_PASSWORD_FAILED, "Auth", ""},
	        {">PASSWORD:Auth-Token:SESS_ID", OPENVPN_LINE_OTHER, "", ""},
	        {">LOG:1795379251,W,VERIFY ERROR: depth=0, error=x, y", OPENVPN_LINE_LOG, "", "VERIFY ERROR: depth=0, error=x, y"},
	        {">LOG:", OPENVPN_LINE_LOG, "", ""},
	        {">FATAL:no", OPENVPN_LINE_FATAL, "", "no"},
	        {">UPDOWN:ENV,ifconfig_local=10.9.0.2", OPENVPN_LINE_VARIABLE, "ifconfig_local", "10.9.0.2"},
	        {">UPDOWN:ENV,END", OPENVPN_LINE_VARIABLE, "END", ""},
	        {"SUCCESS: hold release succeeded", OPENVPN_LINE_OTHER, "", ""},
	        {"", OPENVPN_LINE_OTHER, "", ""},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		char copy[OPENVPN_LINE_MAX];
		struct openvpn_line line = parse(cases[i].line, copy);
		CU_ASSERT_EQUAL(line.kind, cases[i].kind);
		CU_ASSERT_STRING_EQUAL(line.name, cases[i].name);
		CU_ASSERT_STRING_EQUAL(line.text, cases[i].text);
	}
	char copy[OPENVPN_LINE_MAX];
	struct openvpn_line line = parse("SUCCESS: nclients=0,bytesin=2062,bytesout=1990", copy);
	CU_ASSERT_EQUAL(line.kind, OPENVPN_LINE_STATISTICS);
	CU_ASSERT_EQUAL(line.rx_bytes, 2062);
	CU_ASSERT_EQUAL(line.tx_bytes, 1990);
}

static void feed(struct openvpn_reader *reader, const char *bytes, size_t length)
{
	size_t size;
	char *room = openvpn_reader_room(reader, &size);
	CU_ASSERT_FATAL(length <= size);
	memcpy(room, bytes, length);
	openvpn_reader_add(reader, length);
}

static void a_stream_is_cut_into_lines_wherever_it_was_cut_before(void)
{
	static const char stream[] = "one\r\n\ntwo\nthree\r\n";
	static const char *const lines[] = {"one", "", "two", "three"};
	for (size_t step = 1; step < sizeof stream; step++) {
		struct openvpn_reader *reader = xcalloc(1, sizeof *reader);
		size_t count = 0;
		for (size_t at = 0; at < sizeof stream - 1; at += step) {
			feed(reader, stream + at, MIN_OF(step, sizeof stream - 1 - at));
			for (char *line; (line = openvpn_reader_next(reader)); count++)
				if (count < ELEMENTSOF(lines))
					CU_ASSERT_STRING_EQUAL(line, lines[count]);
		}
		CU_ASSERT_EQUAL(count, ELEMENTSOF(lines));
		free(reader);
	}
}

static void a_line_without_end_is_cut_and_the_next_is_whole(void)
{
	struct openvpn_reader *reader = xcalloc(1, sizeof *reader);
	char block[1000];
	memset(block, 'x', sizeof block);
	for (unsigned i = 0; i < 100; i++) {
		size_t size;
		(void)openvpn_reader_room(reader, &size);
		feed(reader, block, MIN_OF(size, sizeof block));
		CU_ASSERT_PTR_NULL(openvpn_reader_next(reader));
	}
	feed(reader, "x\nnext\n", 7);
	char *line = openvpn_reader_next(reader);
	CU_ASSERT_TRUE(line && strspn(line, "x") == strlen(line));
	line = openvpn_reader_next(reader);
	CU_ASSERT_TRUE(line && strcmp(line, "next") == 0);
	free(reader);
}

static void values_are_quoted_as_a_command_takes_them(void)
{
	_cleanup_text_ struct text text = TEXT_NULL;
	openvpn_quote(&text, "a \"b\" \\c é");
	CU_ASSERT_STRING_EQUAL(text.bytes, "\"a \\\"b\\\" \\\\c é\"");
}

/* The error of a session that said LOG (or NULL) and then ended with the state's TEXT. */
static enum tunnel_error reason(const char *log, const char *text, bool up)
{
	struct openvpn_reason reason = {};
	char copy[OPENVPN_LINE_MAX], detail[WORKER_DETAIL_MAX];
	if (log) {
		struct openvpn_line line = parse(log, copy);
		(void)openvpn_reason_note(&reason, &line, up);
	}
	return openvpn_reason_of_state(&reason, "RECONNECTING", text, up, detail);
}

static void reasons_become_errors(void)
{
	static const struct {
		const char *log, *text;
		bool up;
		enum tunnel_error error;
	} cases[] = {
	        {NULL, "server_poll", false, TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED},
	        {NULL, "connection-failed", false, TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED},
	        {NULL, "network-unreachable", false, TUNNEL_ERROR_NETWORK_UNREACHABLE},
	        {NULL, "tls-error", false, TUNNEL_ERROR_TLS_FAILURE},
	        {">LOG:1,,VERIFY ERROR: depth=0, error=expired", "tls-error", false, TUNNEL_ERROR_SERVER_CERTIFICATE_REJECTED},
	        {">LOG:1,,VERIFY EKU ERROR", "tls-error", false, TUNNEL_ERROR_SERVER_CERTIFICATE_REJECTED},
	        {">LOG:1,,VERIFY X509NAME ERROR: CN=a, must be b", "tls-error", false, TUNNEL_ERROR_SERVER_CERTIFICATE_REJECTED},
	        {">LOG:1,,VERIFY OK: depth=0", "tls-error", false, TUNNEL_ERROR_TLS_FAILURE},
	        {NULL, "tls-error", true, TUNNEL_ERROR_SERVER_DISCONNECTED},
	        {NULL, "auth-failure", false, TUNNEL_ERROR_AUTHENTICATION_FAILED},
	        {">PASSWORD:Verification Failed: 'Auth'", "auth-failure", false, TUNNEL_ERROR_AUTHENTICATION_FAILED},
	        {">PASSWORD:Verification Failed: 'Auth' ['SESSION:over']", "auth-failure", false, TUNNEL_ERROR_SESSION_EXPIRED},
	        {">PASSWORD:Verification Failed: 'Auth' ['SESSION:over']", "auth-failure", true, TUNNEL_ERROR_SESSION_EXPIRED},
	        {">PASSWORD:Verification Failed: 'Auth' ['CRV1:R,E:x:y:PIN']", "auth-failure", false, TUNNEL_ERROR_CREDENTIALS_REQUIRED},
	        {NULL, "auth-failure (auth-token)", true, TUNNEL_ERROR_SESSION_EXPIRED},
	        {NULL, "auth-temp-failure (server temporary reject)", false, TUNNEL_ERROR_SERVER_BUSY},
	        {NULL, "ping-restart", true, TUNNEL_ERROR_PEER_UNRESPONSIVE},
	        {NULL, "ping-restart", false, TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED},
	        {NULL, "server-pushed-connection-reset", true, TUNNEL_ERROR_SERVER_DISCONNECTED},
	        {NULL, "server-pushed-halt", true, TUNNEL_ERROR_SERVER_DISCONNECTED},
	        {NULL, "remote-exit", true, TUNNEL_ERROR_SERVER_DISCONNECTED},
	        {NULL, "connection-reset", true, TUNNEL_ERROR_SERVER_DISCONNECTED},
	        {NULL, "process-push-msg-failed", false, TUNNEL_ERROR_IP_CONFIGURATION_INVALID},
	        {NULL, "SIGTERM", true, TUNNEL_ERROR_WORKER_CRASHED},
	        {NULL, "whatever comes later", true, TUNNEL_ERROR_SERVER_DISCONNECTED},
	        {NULL, "whatever comes later", false, TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED},
	        {">FATAL:Cannot ioctl TUNSETIFF hf-home: Operation not permitted (errno=1)", "init_instance", false, TUNNEL_ERROR_TUN_INTERFACE_FAILURE},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++)
		CU_ASSERT_EQUAL(reason(cases[i].log, cases[i].text, cases[i].up), cases[i].error);
}

static void challenges_are_read(void)
{
	static const struct {
		const char *reason, *id, *username, *text;
		bool echo, unanswered;
	} good[] = {
	        {"CRV1:R,E:Om01u7:Y3Ix:Please enter token PIN", "Om01u7", "cr1", "Please enter token PIN", true, false},
	        {"CRV1:R:x:Y3Ix:a: b", "x", "cr1", "a: b", false, false},
	        {"CRV1:E:x:YQ==:\033[2J", "x", "a", "?[2J", true, true},
	        {"CRV1:R:\"x\\:YQ==:", "\"x\\", "a", "a response", false, false},
	};
	static const char *const bad[] = {"", "CRV1:", "CRV1:R:x", "CRV1:R:x:Y3Ix", "CRV1:R::Y3Ix:t", "CRV1:R:x::t", "CRV1:R:x:!:t",
	        "CRV1:R:x:Y3I:t", "CRV1:R:x:====:t", "CRV1:R:x:YQo=:t" /* a line end */, "CRV1:R:x:YQBi:t" /* NUL */, "CRV1:R:x\ny:Y3Ix:t", "SC:1,t"};
	struct openvpn_challenge challenge;
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		CU_ASSERT_TRUE_FATAL(openvpn_challenge_read(&challenge, good[i].reason));
		CU_ASSERT_STRING_EQUAL(challenge.id, good[i].id);
		CU_ASSERT_STRING_EQUAL(challenge.username, good[i].username);
		CU_ASSERT_STRING_EQUAL(challenge.question.text, good[i].text);
		CU_ASSERT_EQUAL(challenge.question.echo, good[i].echo);
		CU_ASSERT_EQUAL(challenge.unanswered, good[i].unanswered);
	}
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		CU_ASSERT_FALSE(openvpn_challenge_read(&challenge, bad[i]));
	_cleanup_text_ struct text long_id = TEXT_NULL;
	text_append(&long_id, "CRV1:R:%0600d:Y3Ix:t", 1);
	CU_ASSERT_FALSE(openvpn_challenge_read(&challenge, long_id.bytes));
}

/* What is wanting, with GIVEN there, once OpenVPN asked for NAME in FORM, or a server asked REASON; and the commands of the answer. */
static void expect_answer(const char *given, const char *name, const char *form, const char *reason, const char *missing, const char *commands)
{
	_cleanup_json_ json_object *settings = json_tokener_parse("{\"username\": \"joe\"}"), *answer = json_tokener_parse(given);
	struct openvpn_auth auth = {.settings = settings};
	char names[WORKER_DETAIL_MAX];
	if (reason)
		CU_ASSERT_TRUE(openvpn_challenge_read(&auth.challenge, reason));
	CU_ASSERT_TRUE(openvpn_auth_need(&auth, name, form));
	openvpn_auth_missing(&auth, names);
	CU_ASSERT_STRING_EQUAL(names, missing);
	openvpn_auth_give(&auth, answer);
	openvpn_auth_missing(&auth, names);
	CU_ASSERT_STRING_EQUAL(names, "");
	struct text text = TEXT_NULL;
	int r = openvpn_auth_answer(&auth, &text);
	CU_ASSERT_EQUAL(r, commands ? 0 : -E2BIG);
	if (commands)
		CU_ASSERT_STRING_EQUAL(text.bytes, commands);
	text_done(&text);
	CU_ASSERT_STRING_EQUAL(auth.needed, "");
	CU_ASSERT_PTR_NULL(json_object_object_get(auth.given, "response")); /* good for one time */
	openvpn_auth_forget(&auth);
}

static void what_is_asked_for_is_answered(void)
{
	_cleanup_text_ struct text much = TEXT_NULL;
	text_append(&much, "{\"password\": \"%0257d\"}", 1);
	expect_answer("{\"password\": \"a\\\"b\"}", "Auth", "username/password", NULL, "password",
	        "username \"Auth\" \"joe\"\npassword \"Auth\" \"a\\\"b\"\n");
	expect_answer("{\"keyPassword\": \"k\"}", "Private Key", "password", NULL, "keyPassword", "password \"Private Key\" \"k\"\n");
	expect_answer("{\"password\": \"bar\", \"response\": \"8675309\"}", "Auth", "username/password SC:1,PIN?", NULL, "password,response",
	        "username \"Auth\" \"joe\"\npassword \"Auth\" \"SCRV1:YmFy:ODY3NTMwOQ==\"\n");
	expect_answer("{\"response\": \"86 75\"}", "Auth", "username/password", "CRV1:R,E:id:Y3Ix:PIN?", "response",
	        "username \"Auth\" \"cr1\"\npassword \"Auth\" \"CRV1::id::86 75\"\n");
	expect_answer("{}", "Auth", "username/password", "CRV1:E:id:Y3Ix:wait", "",
	        "username \"Auth\" \"cr1\"\npassword \"Auth\" \"CRV1::id::\"\n");
	expect_answer(much.bytes, "Auth", "username/password", NULL, "password", NULL);
}

static void a_response_may_go_right_behind_the_password(void)
{
	_cleanup_json_ json_object *answer = json_tokener_parse("{\"response\": \"4 2\"}"),
		*settings = json_tokener_parse("{\"username\": \"joe\", \"password\": \"b\\\"r\", \"staticChallengeConcat\": true}");
	struct openvpn_auth auth = {.settings = settings};
	struct text text = TEXT_NULL;
	CU_ASSERT_TRUE(openvpn_auth_need(&auth, "Auth", "username/password SC:0,PIN?"));
	openvpn_auth_give(&auth, answer);
	CU_ASSERT_EQUAL(openvpn_auth_answer(&auth, &text), 0);
	CU_ASSERT_STRING_EQUAL(text.bytes, "username \"Auth\" \"joe\"\npassword \"Auth\" \"b\\\"r4 2\"\n");
	text_done(&text);
	openvpn_auth_forget(&auth);
}

static void a_sign_in_that_cannot_be_done_ends_an_attempt_and_no_session(void)
{
	static const char *const asked[] = {">INFOMSG:CR_TEXT:R,E:PIN?", ">INFOMSG:WEB_AUTH::https://vpn.example/", ">INFOMSG:OPEN_URL:https://vpn.example/"};
	char copy[OPENVPN_LINE_MAX];
	for (size_t i = 0; i < ELEMENTSOF(asked); i++) {
		struct openvpn_reason reason = {};
		struct openvpn_line line = parse(asked[i], copy);
		CU_ASSERT_FALSE(openvpn_reason_note(&reason, &line, true));
		CU_ASSERT_TRUE(openvpn_reason_note(&reason, &line, false));
		CU_ASSERT_EQUAL(reason.hint, TUNNEL_ERROR_CREDENTIALS_REQUIRED);
	}
	struct openvpn_reason reason = {};
	struct openvpn_line line = parse(">INFOMSG:good morning", copy);
	CU_ASSERT_FALSE(openvpn_reason_note(&reason, &line, false));
	CU_ASSERT_EQUAL(reason.hint, TUNNEL_ERROR_NONE);
}

static void a_refusal_that_the_kernel_reports_ends_an_attempt_and_no_session(void)
{
	struct openvpn_reason reason = {};
	char copy[OPENVPN_LINE_MAX];
	struct openvpn_line line = parse(">LOG:1,W,read UDPv4 [ECONNREFUSED]: Connection refused (fd=3,code=111)", copy);
	CU_ASSERT_FALSE(openvpn_reason_note(&reason, &line, true));
	CU_ASSERT_TRUE(openvpn_reason_note(&reason, &line, false));
	CU_ASSERT_EQUAL(reason.hint, TUNNEL_ERROR_CONNECTION_COULD_NOT_BE_ESTABLISHED);
}

static struct tunnel_network pushed(const char *address, const char *option, const char *mtu, bool *ret_read)
{
	struct tunnel_network network = {.endpoint = {{AF_INET, {192, 0, 2, 1}}, 1194, IPPROTO_UDP}};
	char sentence[WORKER_DETAIL_MAX];
	*ret_read = (!address || openvpn_network_read(&network, strchr(address, ':') ? "ifconfig_ipv6_local" : "ifconfig_local", address, sentence)) &&
	            (!option || openvpn_network_read(&network, "foreign_option_1", option, sentence)) &&
	            (!mtu || openvpn_network_read(&network, "tun_mtu", mtu, sentence)) &&
	            openvpn_network_read(&network, "route_network_1", "0.0.0.0", sentence);
	return network;
}

static void what_a_server_gives_is_checked(void)
{
	static const struct {
		const char *address, *option, *mtu;
		bool good;
	} cases[] = {
	        {"10.9.0.2", "dhcp-option DNS 10.9.0.1", "1500", true},
	        {"fd09::2", "dhcp-option DNS6 fd09::1", "1280", true},
	        {"10.9.0.2", "dhcp-option DOMAIN example.com", NULL, true},
	        {NULL, NULL, "1500", false},
	        {"127.0.0.1", NULL, NULL, false},
	        {"0.0.0.0", NULL, NULL, false},
	        {"224.0.0.1", NULL, NULL, false},
	        {"255.255.255.255", NULL, NULL, false},
	        {"::1", NULL, NULL, false},
	        {"ff02::1", NULL, NULL, false},
	        {"192.0.2.1", NULL, NULL, false}, /* the server's own */
	        {"10.9.0.256", NULL, NULL, false},
	        {"10.9.0.2", "dhcp-option DNS 127.0.0.53", NULL, false},
	        {"10.9.0.2", "dhcp-option DNS evil; reboot", NULL, false},
	        {"10.9.0.2", NULL, "575", false},
	        {"fd09::2", NULL, "1279", false},
	        {"10.9.0.2", NULL, "99999999999999999999", false},
	        {"10.9.0.2", NULL, "-1", false},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		char sentence[WORKER_DETAIL_MAX];
		bool read;
		struct tunnel_network network = pushed(cases[i].address, cases[i].option, cases[i].mtu, &read);
		CU_ASSERT_EQUAL(read && tunnel_network_valid(&network, sentence), cases[i].good);
	}
}

static void more_than_there_is_room_for_is_no_harm(void)
{
	struct tunnel_network network = {};
	char sentence[WORKER_DETAIL_MAX];
	for (unsigned i = 0; i < TUNNEL_PREFIXES_MAX; i++)
		CU_ASSERT_TRUE(openvpn_network_read(&network, "ifconfig_local", "10.9.0.2", sentence));
	CU_ASSERT_FALSE(openvpn_network_read(&network, "ifconfig_local", "10.9.0.2", sentence));
	for (unsigned i = 0; i < 2 * TUNNEL_PREFIXES_MAX; i++)
		CU_ASSERT_TRUE(openvpn_network_read(&network, "foreign_option_1", "dhcp-option DNS 10.9.0.1", sentence));
	CU_ASSERT_EQUAL(network.dns_count, TUNNEL_PREFIXES_MAX);
}

#define PEM "-----BEGIN THING-----\\nc2VjcmV0\\n-----END THING-----\\n"
#define CERTIFIED "\"ca\": \"" PEM "\", \"cert\": \"" PEM "\", \"key\": \"" PEM "\", \"remoteCertTls\": \"server\""

/* SETTINGS' members in a document. */
static struct tunnel_config *config(const char *settings, struct problems *problems)
{
	_cleanup_json_ json_object *document = NULL;
	_cleanup_free_ char *text = text_format("{\"id\": \"home\", \"driver\": \"openvpn\", \"settings\": {%s}, "
						"\"endpoints\": [{\"address\": \"192.0.2.1:1194/udp\"}]}", settings);
	struct tunnel_config *config = NULL;
	CU_ASSERT_EQUAL_FATAL(json_parse_strict(text, strlen(text), &document, problems), 0);
	(void)tunnel_config_parse(document, NULL, &config, problems);
	return config;
}

static void settings_that_cannot_work_or_could_say_more_are_refused(void)
{
	static const char *const bad[] = {
	        "",
	        "\"ca\": \"" PEM "\"",
	        "\"ca\": \"" PEM "\", \"cert\": \"" PEM "\"",
	        CERTIFIED ", \"up\": \"/bin/sh\"",
	        CERTIFIED ", \"cipher\": \"AES\\nup /bin/sh\"",
	        CERTIFIED ", \"cipher\": \"AES 256\"",
	        CERTIFIED ", \"cipher\": \"\"",
	        CERTIFIED ", \"cipher\": 1",
	        CERTIFIED ", \"cipher\": \"none\"",
	        CERTIFIED ", \"dataCiphers\": \"AES-256-GCM:None\"",
	        CERTIFIED ", \"dataCiphersFallback\": \"NONE\"",
	        CERTIFIED ", \"extraCerts\": \"" PEM "</extra-certs>\\nup /bin/sh\\n\"",
	        CERTIFIED ", \"extraCerts\": \"/etc/shadow\"",
	        CERTIFIED ", \"verifyX509Name\": \"a\\nup b\"",
	        CERTIFIED ", \"verifyX509Type\": \"fuzzy\"",
	        CERTIFIED ", \"tunMtu\": 100",
	        CERTIFIED ", \"ping\": \"1500ms\"",
	        CERTIFIED ", \"float\": \"yes\"",
	        CERTIFIED ", \"password\": \"x\"",
	        CERTIFIED ", \"staticChallenge\": \"PIN?\"",
	        CERTIFIED ", \"authUserPass\": true, \"staticChallenge\": \"PIN?\\nup /bin/sh\"",
	        CERTIFIED ", \"username\": \"a\\nb\", \"password\": \"x\"",
	        CERTIFIED ", \"tlsAuth\": \"" PEM "\", \"tlsCrypt\": \"" PEM "\"",
	};
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_tunnel_config_ struct tunnel_config *parsed = config(bad[i], &problems);
		_cleanup_free_ char *text = problems_to_text(&problems);
		CU_ASSERT_PTR_NULL(parsed);
		CU_ASSERT_TRUE(problems.errors > 0);
		CU_ASSERT_PTR_NULL(strstr(text, "c2VjcmV0"));
	}
}

static void every_option_reaches_the_configuration_and_no_password_does(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_tunnel_config_ struct tunnel_config *parsed = config(CERTIFIED
		", \"extraCerts\": \"" PEM "\", \"crl\": \"" PEM "\", \"peerFingerprint\": \"00:11\", \"tlsCrypt\": \"" PEM "\", \"keyDirection\": 1,"
		"\"verifyX509Name\": \"vpn \\\"x\\\" \\\\ y\", \"verifyX509Type\": \"name\", \"cipher\": \"AES-256-GCM\", \"dataCiphers\": \"A:B\","
		"\"dataCiphersFallback\": \"A\", \"auth\": \"SHA256\", \"tlsCipher\": \"X\", \"tlsCiphersuites\": \"Y\", \"tlsGroups\": \"Z\","
		"\"tlsVersionMin\": \"1.2\", \"tlsVersionMax\": \"1.3\", \"tlsCertProfile\": \"legacy\", \"compress\": \"stub\", \"compLzo\": \"no\","
		"\"tunMtu\": 1400, \"mssfix\": 1300, \"fragment\": 1300, \"sndbuf\": 0, \"rcvbuf\": 0, \"float\": true, \"ping\": \"5s\","
		"\"pingRestart\": \"20s\", \"renegotiate\": \"1h\", \"explicitExitNotify\": 1, \"pushPeerInfo\": true, \"authUserPass\": true,"
		"\"staticChallenge\": \"PIN \\\"x\\\"?\", \"staticChallengeEcho\": true, \"username\": \"holdfast\", \"password\": \"hunter2\", \"keyPassword\": \"hunter2\"", &problems);
	char text[8192] = "";
	CU_ASSERT_PTR_NOT_NULL_FATAL(parsed);
	json_object *settings = json_object_object_get(parsed->document, "settings");
	const struct openvpn_run run = {"hf-home", "/run/holdfast/clients/hf-home.sock", parsed->endpoints[0].endpoint};
	int fd = memfd_create("config", MFD_CLOEXEC);
	CU_ASSERT_EQUAL(openvpn_settings_write(settings, &run, fd), 0);
	CU_ASSERT_TRUE(pread(fd, text, sizeof text - 1, 0) > 0);
	close(fd);
	CU_ASSERT_PTR_NULL(strstr(text, "hunter2"));
	for (size_t i = 0; i < openvpn_option_count; i++)
		if (openvpn_options[i].directive && strcmp(openvpn_options[i].key, "tlsAuth") != 0 && strcmp(openvpn_options[i].key, "tlsCryptV2") != 0)
			CU_ASSERT_PTR_NOT_NULL(strstr(text, openvpn_options[i].directive));
	suite_golden("openvpn-config.txt", text);
	CU_ASSERT_PTR_NULL(strstr(text, "\nmark "));
	json_object *shown = tunnel_config_to_json(parsed);
	const char *all = json_object_to_json_string(shown);
	CU_ASSERT_PTR_NULL(strstr(all, "hunter2"));
	CU_ASSERT_EQUAL(json_object_array_length(json_object_object_get(shown, "secretsSet")), 4);
	json_object_put(shown);
}

static const struct test tests[] = {
        {"lines are taken apart", lines_are_taken_apart},
        {"a stream is cut into lines wherever it was cut before", a_stream_is_cut_into_lines_wherever_it_was_cut_before},
        {"a line without end is cut and the next is whole", a_line_without_end_is_cut_and_the_next_is_whole},
        {"values are quoted as a command takes them", values_are_quoted_as_a_command_takes_them},
        {"reasons become errors", reasons_become_errors},
        {"challenges are read", challenges_are_read},
        {"what is asked for is answered", what_is_asked_for_is_answered},
		{"a response may go right behind the password", a_response_may_go_right_behind_the_password},
        {"a sign-in that cannot be done ends an attempt and no session", a_sign_in_that_cannot_be_done_ends_an_attempt_and_no_session},
        {"a refusal that the kernel reports ends an attempt and no session", a_refusal_that_the_kernel_reports_ends_an_attempt_and_no_session},
        {"what a server gives is checked", what_a_server_gives_is_checked},
        {"more than there is room for is no harm", more_than_there_is_room_for_is_no_harm},
        {"settings that cannot work, or could say more, are refused", settings_that_cannot_work_or_could_say_more_are_refused},
        {"every option reaches the configuration and no password does", every_option_reaches_the_configuration_and_no_password_does},
};

int main(int argc, char **argv)
{
	return suite_run("openvpn", tests, ELEMENTSOF(tests), argc, argv);
}
