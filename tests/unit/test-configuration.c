/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* holdfast.json: what is taken, what is refused and where. */

#include <string.h>

#include "daemon/configuration.h"
#include "suite.h"
#include "util/fields.h"

#define _cleanup_configuration_ _cleanup_(configuration_unrefp)

#define TLS "\"tls\": {\"certificate\": \"/c.pem\", \"key\": \"/k.pem\"}"
#define TLS_CA "\"tls\": {\"certificate\": \"/c.pem\", \"key\": \"/k.pem\", \"clientCa\": \"/ca.pem\"}"

static int parse(const char *text, struct configuration **ret, struct problems *problems)
{
	_cleanup_json_ json_object *document = NULL;
	int r = json_parse_strict(text, strlen(text), &document, problems);
	return r < 0 ? r : configuration_parse(document, ret, problems);
}

static void nothing_said_is_no_port(void)
{
	static const char *const documents[] = {"{}", "{\"api\": {}}", "{\"api\": {\"listen\": []}}"};
	for (size_t i = 0; i < ELEMENTSOF(documents); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_configuration_ struct configuration *configuration = NULL;
		CU_ASSERT_EQUAL_FATAL(parse(documents[i], &configuration, &problems), 0);
		CU_ASSERT_EQUAL(configuration->listener_count, 0);
		CU_ASSERT_FALSE(configuration->has_tls);
	}
}

static void the_whole_document_is_read(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_configuration_ struct configuration *configuration = NULL;
	int r = parse("{\"api\": {\"listen\": [{\"address\": \"127.0.0.1:9480\"}, {\"address\": \"[::1]:9443\", \"tls\": true},"
		      " {\"address\": \"0.0.0.0:9443\"}], \"hosts\": [\"gw.example\"], " TLS_CA ","
		      " \"clients\": [{\"subject\": \"CN=fleet,O=Example\", \"scope\": \"control\"}, {\"san\": \"DNS:ops.example\", \"scope\": \"admin\"}],"
		      " \"limits\": {\"connections\": 10, \"streams\": 2, \"calls\": 3, \"requestTimeout\": \"5s\", \"idleTimeout\": \"1m\"}}}",
		&configuration, &problems);
	CU_ASSERT_EQUAL_FATAL(r, 0);
	CU_ASSERT_EQUAL_FATAL(configuration->listener_count, 3);
	CU_ASSERT_FALSE(configuration->listeners[0].tls);
	CU_ASSERT_TRUE(configuration->listeners[1].tls);
	CU_ASSERT_TRUE(configuration->listeners[2].tls);
	CU_ASSERT_EQUAL(configuration->listeners[1].address.port, 9443);
	CU_ASSERT_STRING_EQUAL(configuration->tls.client_ca, "/ca.pem");
	CU_ASSERT_STRING_EQUAL(configuration->clients[0].subject, "CN=fleet,O=Example");
	CU_ASSERT_EQUAL(configuration->clients[1].scope, SCOPE_ADMIN);
	CU_ASSERT_STRING_EQUAL(configuration->hosts[0], "gw.example");
	CU_ASSERT_EQUAL(configuration->limits.connections, 10);
	CU_ASSERT_EQUAL(configuration->limits.request_usec, 5 * USEC_PER_SEC);
}

static void every_error_is_told_where_it_stands(void)
{
	static const struct {
		const char *document, *pointer;
	} cases[] = {
		{"[]", ""},
		{"{\"apis\": {}}", "/apis"},
		{"{\"api\": []}", "/api"},
		{"{\"api\": {\"listen\": [{}]}}", "/api/listen/0/address"},
		{"{\"api\": {\"listen\": [{\"address\": \"127.0.0.1\"}]}}", "/api/listen/0/address"},
		{"{\"api\": {\"listen\": [{\"address\": \"localhost:80\"}]}}", "/api/listen/0/address"},
		{"{\"api\": {\"listen\": [{\"address\": \"127.0.0.1:0\"}]}}", "/api/listen/0/address"},
		{"{\"api\": {\"listen\": [{\"address\": \"192.0.2.1:9480\", \"tls\": false}], " TLS "}}", "/api/listen/0/tls"},
		{"{\"api\": {\"listen\": [{\"address\": \"0.0.0.0:9480\", \"tls\": false}]}}", "/api/listen/0/tls"},
		{"{\"api\": {\"listen\": [{\"address\": \"[::]:9480\"}]}}", "/api/tls"},
		{"{\"api\": {\"listen\": [{\"address\": \"127.0.0.1:9480\", \"tls\": true}]}}", "/api/tls"},
		{"{\"api\": {\"tls\": {\"certificate\": \"/c\"}}}", "/api/tls/key"},
		{"{\"api\": {\"tls\": {\"certificate\": \"c.pem\", \"key\": \"/k\"}}}", "/api/tls/certificate"},
		{"{\"api\": {\"tls\": {\"certificate\": \"/c\", \"key\": \"/k\", \"ca\": \"/x\"}}}", "/api/tls/ca"},
		{"{\"api\": {" TLS ", \"clients\": [{\"subject\": \"CN=a\", \"scope\": \"read\"}]}}", "/api/clients"},
		{"{\"api\": {" TLS_CA ", \"clients\": [{\"scope\": \"read\"}]}}", "/api/clients/0"},
		{"{\"api\": {" TLS_CA ", \"clients\": [{\"subject\": \"CN=a\", \"san\": \"DNS:a\", \"scope\": \"read\"}]}}", "/api/clients/0"},
		{"{\"api\": {" TLS_CA ", \"clients\": [{\"subject\": \"CN=a\", \"scope\": \"none\"}]}}", "/api/clients/0/scope"},
		{"{\"api\": {" TLS_CA ", \"clients\": [{\"subject\": \"CN=a\", \"scope\": \"root\"}]}}", "/api/clients/0/scope"},
		{"{\"api\": {" TLS_CA ", \"clients\": [{\"san\": \"a.example\", \"scope\": \"read\"}]}}", "/api/clients/0/san"},
		{"{\"api\": {" TLS_CA ", \"clients\": [{\"san\": \"DNS:\", \"scope\": \"read\"}]}}", "/api/clients/0/san"},
		{"{\"api\": {\"hosts\": [\"gw.example\", \"GW\"]}}", "/api/hosts/1"},
		{"{\"api\": {\"hosts\": [\"a b\"]}}", "/api/hosts/0"},
		{"{\"api\": {\"limits\": {\"connections\": 0}}}", "/api/limits/connections"},
		{"{\"api\": {\"limits\": {\"streams\": 5000}}}", "/api/limits/streams"},
		{"{\"api\": {\"limits\": {\"requestTimeout\": \"10ms\"}}}", "/api/limits/requestTimeout"},
		{"{\"api\": {\"limits\": {\"idleTimeout\": \"soon\"}}}", "/api/limits/idleTimeout"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		struct configuration *configuration = NULL;
		int r = parse(cases[i].document, &configuration, &problems);
		bool good = r == -EINVAL && problems.errors == 1 && strcmp(problems.items[0].pointer, cases[i].pointer) == 0;
		CU_ASSERT_TRUE(good);
		if (!good)
			printf("# %s: %d, %zu errors, the first at %s\n", cases[i].document, r, problems.errors,
				problems.count ? problems.items[0].pointer : "-");
		configuration_unref(configuration);
	}
}

static void too_many_are_refused(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = json_object_new_object();
	json_object *api = json_object_new_object(), *hosts = json_object_new_array(), *clients = json_object_new_array(),
		    *listen = json_object_new_array();
	for (int i = 0; i < 100; i++) {
		json_object *client = json_object_new_object(), *listener = json_object_new_object();
		json_object_object_add(client, "subject", json_object_new_string("CN=a"));
		json_object_object_add(client, "scope", json_object_new_string("read"));
		json_object_array_add(clients, client);
		json_object_object_add(listener, "address", json_object_new_string("127.0.0.1:9480"));
		json_object_array_add(listen, listener);
		json_object_array_add(hosts, json_object_new_string("a.example"));
	}
	json_object_object_add(api, "listen", listen);
	json_object_object_add(api, "clients", clients);
	json_object_object_add(api, "hosts", hosts);
	json_object_object_add(document, "api", api);
	struct configuration *configuration = NULL;
	CU_ASSERT_EQUAL(configuration_parse(document, &configuration, &problems), -EINVAL);
	CU_ASSERT_EQUAL(problems.errors, 3);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		{"where nothing is said no port is listened on", nothing_said_is_no_port},
		{"the whole document is read", the_whole_document_is_read},
		{"every error is told where it stands", every_error_is_told_where_it_stands},
		{"too many members are refused", too_many_are_refused},
	};
	return suite_run("configuration", tests, ELEMENTSOF(tests), argc, argv);
}
