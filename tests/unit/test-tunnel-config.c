/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Tunnel documents: what is taken, what is refused and where, and what becomes of secrets. */

#include <string.h>

#include "suite.h"
#include "tunnel/config.h"
#include "tunnel/driver.h"
#include "util/fields.h"
#include "util/text.h"

#define KEY_A  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_B  "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="
#define KEY_C  "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="
#define SECRET "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U="

static struct tunnel_config *parse(const char *text, const struct tunnel_config *previous, struct problems *problems)
{
	_cleanup_json_ json_object *document = NULL;
	struct tunnel_config *config = NULL;
	if (json_parse_strict(text, strlen(text), &document, problems) == 0)
		(void)tunnel_config_parse(document, previous, &config, problems);
	return config;
}

static const char home[] =
        "{\"id\": \"home\", \"driver\": \"wireguard\", \"settings\": {\"privateKey\": \"" SECRET
        "\", \"addresses\": [\"10.9.0.2/32\"],"
        "\"mtu\": 1400, \"peers\": [{\"publicKey\": \"" KEY_C "\", \"presharedKey\": \"" SECRET
        "\", \"address\": \"192.0.2.9:1/udp\","
        "\"allowedIPs\": [\"10.8.0.0/24\"]}]}, \"endpoints\": ["
        "{\"address\": \"vpn.example:51820/udp\", \"publicKey\": \"" KEY_A "\", \"presharedKey\": \"" SECRET "\"},"
        "{\"address\": \"[2001:db8::1]:51820/udp\", \"publicKey\": \"" KEY_B "\", \"persistentKeepalive\": \"25s\"}],"
        "\"dns\": [\"10.9.0.1\"]}";

static void a_document_is_read_with_its_defaults(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_tunnel_config_ struct tunnel_config *config = parse(home, NULL, &problems);
	CU_ASSERT_PTR_NOT_NULL_FATAL(config);
	CU_ASSERT_STRING_EQUAL(config->interface, "hf-home");
	CU_ASSERT_TRUE(config->all && config->health.enabled && !config->autostart);
	CU_ASSERT_EQUAL(config->connect_timeout_usec, 30 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(config->health.interval_usec, 5 * USEC_PER_SEC);
	CU_ASSERT_EQUAL(config->health.target.family, AF_UNSPEC);
	CU_ASSERT_EQUAL(config->mtu, 1400);
	CU_ASSERT_EQUAL(config->address_count, 1);
	CU_ASSERT_EQUAL(config->companion_count, 1);
	CU_ASSERT_EQUAL_FATAL(config->endpoint_count, 2);
	CU_ASSERT_FALSE(config->endpoints[0].is_literal);
	CU_ASSERT_STRING_EQUAL(config->endpoints[0].host, "vpn.example");
	CU_ASSERT_EQUAL(config->endpoints[0].endpoint.port, 51820);
	CU_ASSERT_TRUE(config->endpoints[1].is_literal);
	CU_ASSERT_STRING_EQUAL(config->endpoints[1].host, "2001:db8::1");
}

static void secrets_do_not_come_out(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_tunnel_config_ struct tunnel_config *config = parse(home, NULL, &problems);
	CU_ASSERT_PTR_NOT_NULL_FATAL(config);
	_cleanup_json_ json_object *shown = tunnel_config_to_json(config);
	const char *text =
	        json_object_to_json_string_ext(shown, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	CU_ASSERT_PTR_NULL(strstr(text, SECRET));
	_cleanup_free_ char *golden = text_format("%s\n", text);
	suite_golden("tunnel-home.json", golden);
	/* What is kept has them still. */
	CU_ASSERT_PTR_NOT_NULL(
	        strstr(json_object_to_json_string_ext(config->document, JSON_C_TO_STRING_NOSLASHESCAPE), SECRET));
}

static void what_came_out_may_come_back_and_keeps_its_secrets(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_tunnel_config_ struct tunnel_config *config = parse(home, NULL, &problems), *again = NULL;
	CU_ASSERT_PTR_NOT_NULL_FATAL(config);
	_cleanup_json_ json_object *shown = tunnel_config_to_json(config);
	CU_ASSERT_EQUAL(tunnel_config_parse(shown, config, &again, &problems), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(again);
	CU_ASSERT_TRUE(json_object_equal(again->document, config->document));
	/* Without the former one the private key is missing. */
	CU_ASSERT_EQUAL(tunnel_config_parse(shown, NULL, &again, &problems), -EINVAL);
}

static void secrets_follow_their_public_key_and_an_empty_one_is_taken_away(void)
{
	static const char replaced[] =
	        "{\"id\": \"home\", \"driver\": \"wireguard\", \"settings\": {\"addresses\": [\"10.9.0.2/32\"],"
	        "\"peers\": [{\"publicKey\": \"" KEY_C
	        "\", \"presharedKey\": \"\", \"allowedIPs\": [\"10.8.0.0/24\"]}]},"
	        "\"endpoints\": [{\"address\": \"192.0.2.1:1/udp\", \"publicKey\": \"" KEY_B "\"},"
	        "{\"address\": \"192.0.2.2:1/udp\", \"publicKey\": \"" KEY_A "\", \"presharedKey\": null}]}";
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_tunnel_config_ struct tunnel_config *former = parse(home, NULL, &problems);
	_cleanup_tunnel_config_ struct tunnel_config *config = parse(replaced, former, &problems);
	CU_ASSERT_PTR_NOT_NULL_FATAL(config);
	_cleanup_json_ json_object *shown = tunnel_config_to_json(config);
	json_object *set = NULL;
	json_object_object_get_ex(shown, "secretsSet", &set);
	CU_ASSERT_STRING_EQUAL(
	        json_object_to_json_string_ext(set, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
	        "[\"/settings/privateKey\",\"/endpoints/1/presharedKey\"]");
}

static void every_error_is_named_at_its_place(void)
{
	static const char bad[] =
	        "{\"id\": \"Home\", \"driver\": \"wireguard\", \"settings\": {\"privateKey\": [\"" SECRET
	        "\"], \"addresses\": [\"10.9.0.2/33\"],"
	        "\"mtu\": 1, \"surprise\": 1, \"peers\": {\"presharedKey\": \"" SECRET "\"}}, \"endpoints\": ["
	        "{\"address\": \"vpn..example:51820/udp\", \"publicKey\": \"x\"}, \"" SECRET "\","
	        "{\"address\": \"192.0.2.1:443/tcp\", \"publicKey\": \"" KEY_A
	        "\", \"persistentKeepalive\": \"250ms\"},"
	        "{\"address\": \"300.0.2.1:443/udp\"}],"
	        "\"routes\": [\"10.0.0.1/8\"], \"dns\": [\"127.0.0.53\", \"dns.example\"], \"connectTimeout\": \"1d\","
	        "\"health\": {\"interval\": 5}, \"autostart\": \"yes\"}";
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	struct tunnel_config *config = parse(bad, NULL, &problems);
	CU_ASSERT_PTR_NULL(config);
	_cleanup_free_ char *text = problems_to_text(&problems);
	CU_ASSERT_PTR_NULL(strstr(text, SECRET));
	suite_golden("tunnel-bad.txt", text);
}

static void ids_obey_their_rule(void)
{
	static const char *const good[] = {"a", "home", "a23456789012", "a_b"};
	static const char *const bad[] = {"", "1a", "_a", "Home", "a234567890123", "a-b", "a b", "h\xc3\xa9"};
	for (size_t i = 0; i < ELEMENTSOF(good); i++)
		CU_ASSERT_TRUE(tunnel_id_valid(good[i]));
	for (size_t i = 0; i < ELEMENTSOF(bad); i++)
		CU_ASSERT_FALSE(tunnel_id_valid(bad[i]));
}

static void endpoints_are_addresses_or_host_names(void)
{
	static const char *const good[] = {
	        "192.0.2.1:1/udp", "[2001:db8::1]:65535/tcp", "127.0.0.1:1/udp", "vpn.example:51820/udp", "a:1/udp", "x-1.y2:1/udp"};
	static const char *const bad[] = {"", ":1/udp", "vpn.example", "vpn.example:0/udp", "vpn.example:1",
	        "vpn_x.example:1/udp", "-a:1/udp", "a-:1/udp", "a..b:1/udp", "a.:1/udp", "1.2.3:1/udp",
	        "256.1.1.1:1/udp", "0.0.0.0:1/udp", "239.1.1.1:1/udp", "255.255.255.255:1/udp", "[::]:1/udp", "[ff02::1]:1/udp", "[::ffff:192.0.2.1]:1/udp", "2001:db8::1:1/udp", "[vpn]:1/udp", "a b:1/udp", "a:1/udp "};
	for (size_t i = 0; i < ELEMENTSOF(good); i++) {
		struct tunnel_endpoint endpoint;
		CU_ASSERT_EQUAL_FATAL(tunnel_endpoint_parse(good[i], &endpoint), 0);
		CU_ASSERT_STRING_EQUAL(endpoint.text, good[i]);
		tunnel_endpoint_done(&endpoint);
	}
	for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
		struct tunnel_endpoint endpoint;
		CU_ASSERT_EQUAL(tunnel_endpoint_parse(bad[i], &endpoint), -EINVAL);
	}
}

static void every_driver_is_found_by_its_name(void)
{
	size_t count;
	const struct driver *const *drivers = driver_all(&count);
	CU_ASSERT_TRUE(count > 0);
	for (size_t i = 0; i < count; i++)
		CU_ASSERT_PTR_EQUAL(driver_find(drivers[i]->name), drivers[i]);
	CU_ASSERT_PTR_NULL(driver_find("carrier-pigeon"));
}

static const struct test tests[] = {
        {"a document is read with its defaults", a_document_is_read_with_its_defaults},
        {"secrets do not come out", secrets_do_not_come_out},
        {"what came out may come back and keeps its secrets", what_came_out_may_come_back_and_keeps_its_secrets},
        {"secrets follow their public key and an empty one is taken away",
                secrets_follow_their_public_key_and_an_empty_one_is_taken_away},
        {"every error is named at its place", every_error_is_named_at_its_place},
        {"ids obey their rule", ids_obey_their_rule},
        {"endpoints are addresses or host names", endpoints_are_addresses_or_host_names},
        {"every driver is found by its name", every_driver_is_found_by_its_name},
};

int main(int argc, char **argv)
{
	return suite_run("tunnel-config", tests, ELEMENTSOF(tests), argc, argv);
}
