/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Any bytes as kill-switch.json: what is taken prints and reads back the same, and renders text that holds nothing but
 * what rule text is made of.
 */

#include <stdint.h>
#include <string.h>

#include "firewall/gate.h"
#include "util/fields.h"
#include "util/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_text(const struct kill_switch *settings)
{
	static const char uplinks[][IFNAMSIZ] = {"eth0"};
	static const struct ip_prefix routes[] = {{.address = {.family = AF_INET, .bytes = {10}}, .length = 8}};
	const struct gate_tunnel tunnel = {
	        .id = "home",
	        .interface = "hf-home",
	        .routes = routes,
	        .route_count = 1,
	        .state = GATE_TUNNEL,
	        .dns = settings->dns.lan,
	        .dns_count = settings->dns.lan_count,
	};
	for (unsigned i = 0; i < 2; i++) {
		const struct gate_plan plan = {
		        .exists = true,
		        .drop_default = i,
		        .settings = settings,
		        .tunnels = &tunnel,
		        .tunnel_count = 1,
		        .uplinks = uplinks,
		        .uplink_count = 1,
		        .bootstrap = settings->dns.bootstrap,
		        .bootstrap_count = settings->dns.bootstrap_count,
		};
		_cleanup_free_ char *text = gate_render(&plan);
		if (!text || strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 "
		                          "_-.:,;/*=!@'\"{}\t\n") != strlen(text))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	_cleanup_json_ json_object *document = NULL, *printed = NULL;
	_cleanup_kill_switch_ struct kill_switch *settings = NULL, *again = NULL;
	if (json_parse_strict((const char *)bytes, length, &document, &problems) < 0)
		return 0;
	if (kill_switch_parse(document, &settings, &problems) < 0) {
		if (problems.errors == 0 || settings)
			abort();
		return 0;
	}
	printed = kill_switch_to_json(settings);
	if (kill_switch_parse(printed, &again, &problems) < 0)
		abort();
	_cleanup_json_ json_object *twice = kill_switch_to_json(again);
	if (!json_object_equal(printed, twice))
		abort();
	check_text(settings);
	return 0;
}
