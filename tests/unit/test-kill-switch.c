/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* kill-switch.json: what is taken, what is refused and where. */

#include <string.h>

#include "firewall/mark.h"
#include "firewall/settings.h"
#include "suite.h"
#include "util/fields.h"
#include "util/file.h"
#include "util/text.h"

static int parse(const char *text, struct kill_switch **ret, struct problems *problems)
{
	_cleanup_json_ json_object *document = NULL;
	int r = json_parse_strict(text, strlen(text), &document, problems);
	return r < 0 ? r : kill_switch_parse(document, ret, problems);
}

/* SETTINGS as compact JSON. The caller frees it. */
static char *print(const struct kill_switch *settings)
{
	_cleanup_json_ json_object *document = kill_switch_to_json(settings);
	return strdup(
	        json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void the_empty_document_is_the_default(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_kill_switch_ struct kill_switch *settings = NULL, *standard = kill_switch_default();
	CU_ASSERT_EQUAL_FATAL(parse("{}", &settings, &problems), 0);
	_cleanup_free_ char *text = print(settings), *expected = print(standard);
	CU_ASSERT_STRING_EQUAL(text, expected);
	CU_ASSERT_EQUAL(settings->mode, GATE_MODE_AUTO);
	CU_ASSERT_EQUAL(settings->lan, LAN_BLOCK);
	CU_ASSERT_EQUAL(settings->mark, 0x68660000);
	CU_ASSERT_EQUAL(settings->mark_mask, 0xffff0000);
}

/* A document with every member. */
static const char whole[] =
        "{ \"mode\": \"auto\", \"lan\": \"block\","
        "  \"bypass\": { \"processes\": [ { \"unit\": \"backup.service\" }, { \"slice\": \"torrent.slice\" }, { "
        "\"user\": \"alice\" } ],"
        "    \"domains\": [\"Example.COM\"], \"addresses\": [\"192.0.2.0/24\"], \"selfService\": false },"
        "  \"dns\": { \"bootstrap\": [\"192.0.2.53\"], \"bypass\": [], \"lan\": [\"fd00::53\"] },"
        "  \"inbound\": [ { \"protocol\": \"tcp\", \"port\": 22, \"from\": [\"10.0.0.0/8\"] }, { \"protocol\": "
        "\"udp\", \"port\": 65535 } ],"
        "  \"management\": [\"10.1.2.3/16\"], \"forwarding\": { \"masquerade\": true },"
        "  \"uplinks\": [\"eth0\", \"wlp2s0.10\"], \"captivePortalCheck\": true, \"fwmark\": { \"value\": "
        "\"0x68660000\", \"mask\": \"0xffff0000\" } }";

static void the_whole_document_is_read(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_kill_switch_ struct kill_switch *settings = NULL;
	CU_ASSERT_EQUAL_FATAL(parse(whole, &settings, &problems), 0);
	CU_ASSERT_EQUAL(settings->bypass.process_count, 3);
	CU_ASSERT_EQUAL(settings->bypass.processes[1].kind, PROCESS_SLICE);
	CU_ASSERT_STRING_EQUAL(settings->bypass.domains[0], "example.com");
	CU_ASSERT_EQUAL(settings->inbound[0].protocol, IPPROTO_TCP);
	CU_ASSERT_EQUAL(settings->inbound[1].port, 65535);
	CU_ASSERT_EQUAL(settings->inbound[1].from_count, 0);
	CU_ASSERT_STRING_EQUAL(settings->uplinks[1], "wlp2s0.10");
	CU_ASSERT_TRUE(settings->masquerade && settings->captive_portal_check);
	char buffer[IP_TEXT_MAX];
	CU_ASSERT_STRING_EQUAL(
	        ip_prefix_format(buffer, &settings->management[0]), "10.1.0.0/16"); /* host bits cleared */
}

static void what_is_printed_reads_back_the_same(void)
{
	static const char *const documents[] = {
	        "{}",
	        whole,
	        "{\"mode\": \"off\", \"lan\": \"allow\"}",
	        "{\"lan\": {\"custom\": []}}",
	        "{\"lan\": {\"custom\": [{\"network\": \"10.1.0.0/24\", \"interface\": \"eth0\"}, {\"network\": "
	        "\"fd00::/16\"}]}}",
	        "{\"fwmark\": {\"value\": \"0x10\", \"mask\": \"0x70\"}}",
	};
	for (size_t i = 0; i < ELEMENTSOF(documents); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_kill_switch_ struct kill_switch *settings = NULL, *again = NULL;
		CU_ASSERT_EQUAL_FATAL(parse(documents[i], &settings, &problems), 0);
		_cleanup_free_ char *text = print(settings);
		CU_ASSERT_EQUAL_FATAL(parse(text, &again, &problems), 0);
		_cleanup_free_ char *twice = print(again);
		CU_ASSERT_STRING_EQUAL(text, twice);
	}
}

static void every_error_is_told_where_it_stands(void)
{
	static const struct {
		const char *document, *pointer;
	} cases[] = {
	        {"[]", ""},
	        {"{\"mode\": \"on\"}", "/mode"},
	        {"{\"mode\": true}", "/mode"},
	        {"{\"modes\": \"auto\"}", "/modes"},
	        {"{\"lan\": \"custom\"}", "/lan"},
	        {"{\"lan\": {}}", "/lan/custom"},
	        {"{\"lan\": {\"custom\": [{}]}}", "/lan/custom/0/network"},
	        {"{\"lan\": {\"custom\": [{\"network\": \"0.0.0.0/0\"}]}}", "/lan/custom/0/network"},
	        {"{\"lan\": {\"custom\": [{\"network\": \"10.0.0.0/8\", \"interface\": \"eth0\\\" accept\"}]}}",
	                "/lan/custom/0/interface"},
	        {"{\"lan\": {\"custom\": [{\"network\": \"10.0.0.0/8\", \"interface\": \"hf-home\"}]}}",
	                "/lan/custom/0/interface"},
	        {"{\"uplinks\": [\"eth0\", \".\"]}", "/uplinks/1"},
	        {"{\"uplinks\": [\"..\"]}", "/uplinks/0"},
	        {"{\"uplinks\": [\"\"]}", "/uplinks/0"},
	        {"{\"uplinks\": [\"abcdefghijklmnop\"]}", "/uplinks/0"},
	        {"{\"uplinks\": [\"a b\"]}", "/uplinks/0"},
	        {"{\"uplinks\": [\"eth0\\u0000x\"]}", "/uplinks/0"},
	        {"{\"uplinks\": [\"lo\"]}", "/uplinks/0"},
	        {"{\"uplinks\": [7]}", "/uplinks/0"},
	        {"{\"bypass\": {\"addresses\": [\"192.0.2.0/24\", \"0.0.0.0/7\"]}}", "/bypass/addresses/1"},
	        {"{\"bypass\": {\"addresses\": [\"2000::/3\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\"192.0.2.0/33\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\"example.com\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"domains\": [\"*.example.com\"]}}", "/bypass/domains/0"},
	        {"{\"bypass\": {\"domains\": [\"example.com.\"]}}", "/bypass/domains/0"},
	        {"{\"bypass\": {\"domains\": [\"192.0.2.1\"]}}", "/bypass/domains/0"},
	        {"{\"bypass\": {\"domains\": [\"a/4#inet#x\"]}}", "/bypass/domains/0"},
	        {"{\"bypass\": {\"processes\": [{\"unit\": \"backup\"}]}}", "/bypass/processes/0/unit"},
	        {"{\"bypass\": {\"processes\": [{\"unit\": \"../x.service\"}]}}", "/bypass/processes/0/unit"},
	        {"{\"bypass\": {\"processes\": [{\"slice\": \"-.slice\"}]}}", "/bypass/processes/0/slice"},
	        {"{\"bypass\": {\"processes\": [{\"user\": \"a:b\"}]}}", "/bypass/processes/0/user"},
	        {"{\"bypass\": {\"processes\": [{\"unit\": \"a.service\", \"user\": \"b\"}]}}", "/bypass/processes/0"},
	        {"{\"bypass\": {\"processes\": [{}]}}", "/bypass/processes/0"},
	        {"{\"bypass\": {\"processes\": [{\"group\": \"b\"}]}}", "/bypass/processes/0"},
	        {"{\"bypass\": {\"selfService\": 1}}", "/bypass/selfService"},
	        {"{\"dns\": {\"bootstrap\": [\"127.0.0.53\"]}}", "/dns/bootstrap/0"},
	        {"{\"dns\": {\"bypass\": [\"::\"]}}", "/dns/bypass/0"},
	        {"{\"dns\": {\"lan\": [\"dns.example\"]}}", "/dns/lan/0"},
	        {"{\"inbound\": [{\"protocol\": \"icmp\", \"port\": 1}]}", "/inbound/0/protocol"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": 0}]}", "/inbound/0/port"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": 65536}]}", "/inbound/0/port"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": \"22\"}]}", "/inbound/0/port"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\"}]}", "/inbound/0/port"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": 22, \"from\": []}]}", "/inbound/0/from"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": 22, \"from\": [\"10/8\"]}]}", "/inbound/0/from/0"},
	        {"{\"management\": [\"0.0.0.0/0\"]}", "/management/0"},
	        {"{\"forwarding\": {\"masquerade\": \"yes\"}}", "/forwarding/masquerade"},
	        {"{\"captivePortalCheck\": null}", "/captivePortalCheck"},
	        {"{\"fwmark\": {\"value\": \"68660000\"}}", "/fwmark/value"},
	        {"{\"fwmark\": {\"value\": \"0x168660000\"}}", "/fwmark/value"},
	        {"{\"fwmark\": {\"value\": \"0x0\"}}", "/fwmark/value"},
	        {"{\"fwmark\": {\"value\": \"0x1\", \"mask\": \"0xff00\"}}", "/fwmark/value"},
	        {"{\"fwmark\": {\"value\": \"0xfffd0000\"}}", "/fwmark/value"},
	        {"{\"fwmark\": {\"value\": \"0x1\", \"mask\": \"0x5\"}}", "/fwmark/mask"},
	        {"{\"fwmark\": {\"value\": \"0x1\", \"mask\": \"0x3\"}}", "/fwmark/mask"},
	        {"{\"fwmark\": {\"value\": \"0x1\", \"mask\": \"0x0\"}}", "/fwmark/mask"},
	        /* of the wrong type, … */
	        {"{\"lan\": 7}", "/lan"},
	        {"{\"lan\": {\"custom\": {}}}", "/lan/custom"},
	        {"{\"lan\": {\"custom\": [\"10.0.0.0/8\"]}}", "/lan/custom/0"},
	        {"{\"lan\": {\"custom\": [{\"network\": 7}]}}", "/lan/custom/0/network"},
	        {"{\"bypass\": []}", "/bypass"},
	        {"{\"bypass\": {\"processes\": {}}}", "/bypass/processes"},
	        {"{\"bypass\": {\"processes\": [\"a.service\"]}}", "/bypass/processes/0"},
	        {"{\"bypass\": {\"processes\": [{\"unit\": 7}]}}", "/bypass/processes/0/unit"},
	        {"{\"bypass\": {\"domains\": \"example.com\"}}", "/bypass/domains"},
	        {"{\"bypass\": {\"domains\": [null]}}", "/bypass/domains/0"},
	        {"{\"bypass\": {\"addresses\": \"192.0.2.1\"}}", "/bypass/addresses"},
	        {"{\"bypass\": {\"addresses\": [[]]}}", "/bypass/addresses/0"},
	        {"{\"dns\": \"192.0.2.53\"}", "/dns"},
	        {"{\"dns\": {\"bootstrap\": \"192.0.2.53\"}}", "/dns/bootstrap"},
	        {"{\"dns\": {\"bypass\": [7]}}", "/dns/bypass/0"},
	        {"{\"inbound\": {}}", "/inbound"},
	        {"{\"inbound\": [22]}", "/inbound/0"},
	        {"{\"inbound\": [{\"protocol\": 6, \"port\": 22}]}", "/inbound/0/protocol"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": 22.5}]}", "/inbound/0/port"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": 22, \"from\": \"10.0.0.0/8\"}]}", "/inbound/0/from"},
	        {"{\"management\": \"192.0.2.1\"}", "/management"},
	        {"{\"forwarding\": true}", "/forwarding"},
	        {"{\"uplinks\": \"eth0\"}", "/uplinks"},
	        {"{\"fwmark\": \"0x68660000\"}", "/fwmark"},
	        {"{\"fwmark\": {\"mask\": 65535}}", "/fwmark/mask"},
	        /* … unknown, or there twice, … */
	        {"{\"lan\": {\"custom\": [], \"x\": 1}}", "/lan/x"},
	        {"{\"lan\": {\"custom\": [{\"network\": \"10.0.0.0/8\", \"link\": \"eth0\"}]}}", "/lan/custom/0/link"},
	        {"{\"bypass\": {\"programs\": []}}", "/bypass/programs"},
	        {"{\"dns\": {\"servers\": []}}", "/dns/servers"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": 22, \"to\": []}]}", "/inbound/0/to"},
	        {"{\"forwarding\": {\"nat\": true}}", "/forwarding/nat"},
	        {"{\"fwmark\": {\"bits\": 1}}", "/fwmark/bits"},
	        {"{\"mode\": \"off\", \"lan\": \"block\", \"mode\": \"auto\"}", "/mode"},
	        {"{\"dns\": {\"lan\": [], \"lan\": []}}", "/dns/lan"},
	        /* … too wide by one bit, … */
	        {"{\"bypass\": {\"addresses\": [\"10.0.0.0/8\", \"2002::/15\", \"2001::/16\"]}}", "/bypass/addresses/1"},
	        {"{\"management\": [\"10.0.0.0/7\"]}", "/management/0"},
	        {"{\"lan\": {\"custom\": [{\"network\": \"fc00::/15\"}]}}", "/lan/custom/0/network"},
	        /* … no address, or none that packets have */
	        {"{\"bypass\": {\"addresses\": [\"192.0.2.1/\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\"192.0.2.1/08\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\"192.0.2.256\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\"192.0.2\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\" 192.0.2.1\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\"fe80::1%eth0\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\"2001:db8::/129\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\"::ffff:192.0.2.1\"]}}", "/bypass/addresses/0"},
	        {"{\"bypass\": {\"addresses\": [\"192.0.2.1\\u0000\"]}}", "/bypass/addresses/0"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": 22, \"from\": [\"::ffff:10.0.0.0/104\"]}]}", "/inbound/0/from/0"},
	        {"{\"dns\": {\"bootstrap\": [\"192.0.2.53\", \"::1\"]}}", "/dns/bootstrap/1"},
	        {"{\"dns\": {\"bootstrap\": [\"::ffff:127.0.0.1\"]}}", "/dns/bootstrap/0"},
	        {"{\"dns\": {\"bypass\": [\"0.0.0.0\"]}}", "/dns/bypass/0"},
	        {"{\"dns\": {\"bypass\": [\"255.255.255.255\"]}}", "/dns/bypass/0"},
	        {"{\"dns\": {\"lan\": [\"224.0.0.251\"]}}", "/dns/lan/0"},
	        {"{\"dns\": {\"lan\": [\"ff02::fb\"]}}", "/dns/lan/0"},
	        {"{\"dns\": {\"lan\": [\"10.0.0.53/32\"]}}", "/dns/lan/0"},
	        {"{\"bypass\": {\"domains\": [\"\"]}}", "/bypass/domains/0"},
	        {"{\"bypass\": {\"domains\": [\"a..b\"]}}", "/bypass/domains/0"},
	        {"{\"bypass\": {\"domains\": [\"-a.example\"]}}", "/bypass/domains/0"},
	        {"{\"bypass\": {\"domains\": [\"bücher.example\"]}}", "/bypass/domains/0"},
	        {"{\"bypass\": {\"processes\": [{\"unit\": \".service\"}]}}", "/bypass/processes/0/unit"},
	        {"{\"bypass\": {\"processes\": [{\"unit\": \"a b.service\"}]}}", "/bypass/processes/0/unit"},
	        {"{\"bypass\": {\"processes\": [{\"slice\": \"a/b.slice\"}]}}", "/bypass/processes/0/slice"},
	        {"{\"bypass\": {\"processes\": [{\"user\": \"\"}]}}", "/bypass/processes/0/user"},
	        {"{\"inbound\": [{\"protocol\": \"tcp\", \"port\": -1}]}", "/inbound/0/port"},
	        {"{\"inbound\": [{\"port\": 22}]}", "/inbound/0/protocol"},
	        {"{\"uplinks\": [\"eth0/../x\"]}", "/uplinks/0"},
	        {"{\"uplinks\": [\"eth*\"]}", "/uplinks/0"},
	        {"{\"uplinks\": [\"hf0\"]}", "/uplinks/0"},
	        {"{\"fwmark\": {\"value\": \"0x\"}}", "/fwmark/value"},
	        {"{\"fwmark\": {\"value\": \"0x6866000g\"}}", "/fwmark/value"},
	        {"{\"fwmark\": {\"value\": \"0x100\", \"mask\": \"0xff0fff00\"}}", "/fwmark/mask"},
	        {"{\"bypass\": {\"processes\": [{\"slice\": \"user@1000.slice\"}]}}", "/bypass/processes/0/slice"},
	        {"{\"bypass\": {\"processes\": [{\"user\": \"-R\"}]}}", "/bypass/processes/0/user"},
	        {"{\"bypass\": {\"processes\": [{\"user\": \".\"}]}}", "/bypass/processes/0/user"},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		struct kill_switch *settings = NULL;
		CU_ASSERT_EQUAL(parse(cases[i].document, &settings, &problems), -EINVAL);
		CU_ASSERT_PTR_NULL(settings);
		bool told = problems.errors == 1 && strcmp(problems.items[0].pointer, cases[i].pointer) == 0;
		CU_ASSERT_TRUE(told);
		if (!told)
			printf("# %s: %s instead of %s\n", cases[i].document,
			        problems.count ? problems.items[0].pointer : "nothing", cases[i].pointer);
	}
}

static char *repeated(const char *part, size_t length)
{
	struct text text = TEXT_NULL;
	for (size_t i = 0; i < length; i++)
		text_append(&text, "%c", part[i % strlen(part)]);
	return text_steal(&text);
}

static void names_have_their_greatest_length(void)
{
	static const struct {
		const char *format, *part;
		size_t max; /* of what is repeated */
	} cases[] = {
	        {"{\"uplinks\": [\"%s\"]}", "a", 15},
	        {"{\"bypass\": {\"domains\": [\"%s.example\"]}}", "a", 63},
	        {"{\"bypass\": {\"domains\": [\"%s\"]}}", "a.", 253},
	        {"{\"bypass\": {\"processes\": [{\"unit\": \"%s.service\"}]}}", "a", 255 - 8},
	        {"{\"bypass\": {\"processes\": [{\"slice\": \"%s.slice\"}]}}", "a", 255 - 6},
	        {"{\"bypass\": {\"processes\": [{\"user\": \"%s\"}]}}", "a", 32},
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++)
		for (size_t more = 0; more <= strlen(cases[i].part); more += strlen(cases[i].part)) {
			_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
			_cleanup_kill_switch_ struct kill_switch *settings = NULL;
			_cleanup_free_ char *name = repeated(cases[i].part, cases[i].max + more);
			struct text text = TEXT_NULL;
			const char *at = strstr(cases[i].format, "%s");
			text_append(&text, "%.*s%s%s", (int)(at - cases[i].format), cases[i].format, name, at + 2);
			_cleanup_free_ char *document = text_steal(&text);
			CU_ASSERT_EQUAL(parse(document, &settings, &problems), more ? -EINVAL : 0);
		}
}

static void all_errors_are_told_at_once(void)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	struct kill_switch *settings = NULL;
	CU_ASSERT_EQUAL(parse("{\"mode\": 1, \"lan\": 2, \"uplinks\": [\"\", \"eth0\", \"/\"], \"x\": 3}", &settings,
	                        &problems),
	        -EINVAL);
	CU_ASSERT_EQUAL(problems.errors, 5);
}

static void a_hostile_length_is_refused(void)
{
	struct text text = TEXT_NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	struct kill_switch *settings = NULL;
	text_append(&text, "{\"management\": [\"192.0.2.1\"");
	for (size_t i = 0; i < KILL_SWITCH_LIST_MAX; i++)
		text_append(&text, ", \"192.0.2.1\"");
	text_append(&text, "]}");
	_cleanup_free_ char *document = text_steal(&text);
	CU_ASSERT_EQUAL(parse(document, &settings, &problems), -EINVAL);
	CU_ASSERT_EQUAL(problems.errors, 1);
	CU_ASSERT_STRING_EQUAL(problems.items[0].pointer, "/management");
}

static void a_hundred_thousand_networks_are_taken_and_no_more(void)
{
	for (size_t more = 0; more < 2; more++) {
		struct text text = TEXT_NULL;
		_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
		_cleanup_kill_switch_ struct kill_switch *settings = NULL;
		text_append(&text, "{\"bypass\": {\"addresses\": [\"192.0.2.1\"");
		for (size_t i = 1; i < KILL_SWITCH_NETWORKS_MAX + more; i++)
			text_append(&text, ", \"20.%zu.%zu.%zu/32\"", i >> 16, i >> 8 & 255, i & 255);
		text_append(&text, "]}}");
		_cleanup_free_ char *document = text_steal(&text);
		CU_ASSERT_EQUAL(parse(document, &settings, &problems), more ? -EINVAL : 0);
		CU_ASSERT_EQUAL(problems.errors, more);
		CU_ASSERT_TRUE(more || settings->bypass.address_count == KILL_SWITCH_NETWORKS_MAX);
	}
}

/* Every member of OBJECT is among the properties of SCHEMA and the other way round, and so for the objects inside. */
static void same_members(json_object *object, json_object *schema)
{
	json_object *properties = NULL, *inner = NULL;
	CU_ASSERT_TRUE_FATAL(json_object_object_get_ex(schema, "properties", &properties));
	CU_ASSERT_EQUAL(json_object_object_length(object), json_object_object_length(properties));
	json_object_object_foreach(object, key, value)
	{
		CU_ASSERT_TRUE(json_object_object_get_ex(properties, key, &inner));
		if (json_object_is_type(value, json_type_object))
			same_members(value, inner);
	}
}

static void the_schema_names_the_same_members(void)
{
	_cleanup_free_ char *path = text_format("%s/data/kill-switch.schema.json", suite_source());
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_object *schema = NULL, *document = NULL;
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_kill_switch_ struct kill_switch *settings = kill_switch_default();
	size_t length;
	CU_ASSERT_EQUAL_FATAL(file_read(path, &text, &length), 0);
	CU_ASSERT_EQUAL_FATAL(json_parse_strict(text, length, &schema, &problems), 0);
	document = kill_switch_to_json(settings);
	same_members(document, schema);
}

static void names_round_trip(void)
{
	for (enum gate_mode mode = GATE_MODE_OFF; mode <= GATE_MODE_ALWAYS; mode++) {
		enum gate_mode back;
		CU_ASSERT_EQUAL(gate_mode_from_string(gate_mode_to_string(mode), &back), 0);
		CU_ASSERT_EQUAL(back, mode);
	}
	for (enum lan_access lan = LAN_BLOCK; lan <= LAN_CUSTOM; lan++) {
		enum lan_access back;
		CU_ASSERT_EQUAL(lan_access_from_string(lan_access_to_string(lan), &back), 0);
		CU_ASSERT_EQUAL(back, lan);
	}
}

static void marks_of_grants_lie_above_the_kinds_and_under_the_mask(void)
{
	static const struct {
		uint32_t value, mask;
		struct mark_block block;
	} cases[] = {
	        {0x68660000, 0xffff0000, {0x69000000, 0xff000000, 0x10000, 256}},
	        {0x100, 0xf00, {0x800, 0x800, 0x100, 8}},
	        {0x300, 0xf00, {0xc00, 0xc00, 0x100, 4}},
	        {0x10, 0x70, {0x70, 0x70, 0x10, 1}},
	        {0x20, 0x70, {}}, /* the last kind takes the last mark */
	};
	for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
		struct mark_block block = mark_grants(cases[i].value, cases[i].mask);
		CU_ASSERT_EQUAL(block.first, cases[i].block.first);
		CU_ASSERT_EQUAL(block.mask, cases[i].block.mask);
		CU_ASSERT_EQUAL(block.step, cases[i].block.step);
		CU_ASSERT_EQUAL(block.count, cases[i].block.count);
		for (enum mark_kind kind = 0; kind < MARK_KIND_COUNT; kind++)
			CU_ASSERT_FALSE(mark_is_grant(&block, mark_value(cases[i].value, cases[i].mask, kind)));
		for (unsigned j = 0; j < block.count; j++)
			CU_ASSERT_TRUE(mark_is_grant(&block, block.first + j * block.step));
	}
}

static const struct test tests[] = {
        {"marks of grants lie above the kinds and under the mask", marks_of_grants_lie_above_the_kinds_and_under_the_mask},
        {"the empty document is the default", the_empty_document_is_the_default},
        {"the whole document is read", the_whole_document_is_read},
        {"what is printed reads back the same", what_is_printed_reads_back_the_same},
        {"every error is told where it stands", every_error_is_told_where_it_stands},
        {"names have their greatest length", names_have_their_greatest_length},
        {"all errors are told at once", all_errors_are_told_at_once},
        {"a hostile length is refused", a_hostile_length_is_refused},
        {"a hundred thousand networks are taken and no more", a_hundred_thousand_networks_are_taken_and_no_more},
        {"the schema names the same members", the_schema_names_the_same_members},
        {"names round-trip", names_round_trip},
};

int main(int argc, char **argv)
{
	return suite_run("kill-switch", tests, ELEMENTSOF(tests), argc, argv);
}
