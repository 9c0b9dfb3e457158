/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * kill-switch.json: read through tables of its members, printed back whole. Every array goes through read_list() with
 * the reader of its items; an item that is wrong becomes a problem with its own pointer and the others are still read.
 */

#include "firewall/settings.h"

#include <ctype.h>
#include <string.h>

#include "firewall/mark.h"
#include "firewall/name.h"
#include "util/fields.h"
#include "util/text.h"

/* Grants wider than these are typing errors: half the internet is no exception any more. */
#define WIDEST_V4 8
#define WIDEST_V6 16

static const char *const mode_names[] = {
        [GATE_MODE_OFF] = "off",
        [GATE_MODE_AUTO] = "auto",
        [GATE_MODE_ALWAYS] = "always",
};

static const char *const lan_names[] = {
        [LAN_BLOCK] = "block",
        [LAN_ALLOW] = "allow",
        [LAN_CUSTOM] = "custom",
};

DEFINE_STRING_TABLE(gate_mode, enum gate_mode, mode_names);
DEFINE_STRING_TABLE(lan_access, enum lan_access, lan_names);

struct kill_switch *kill_switch_default(void)
{
	struct kill_switch *settings = xcalloc(1, sizeof *settings);
	settings->mode = GATE_MODE_AUTO;
	settings->lan = LAN_BLOCK;
	settings->mark = MARK_DEFAULT_VALUE;
	settings->mark_mask = MARK_DEFAULT_MASK;
	return settings;
}

struct kill_switch *kill_switch_free(struct kill_switch *settings)
{
	if (!settings)
		return NULL;
	free(settings->lan_networks);
	for (size_t i = 0; i < settings->bypass.process_count; i++)
		free(settings->bypass.processes[i].name);
	free(settings->bypass.processes);
	for (size_t i = 0; i < settings->bypass.domain_count; i++)
		free(settings->bypass.domains[i]);
	free(settings->bypass.domains);
	free(settings->bypass.addresses);
	free(settings->dns.bootstrap);
	free(settings->dns.bypass);
	free(settings->dns.lan);
	for (size_t i = 0; i < settings->inbound_count; i++)
		free(settings->inbound[i].from);
	free(settings->inbound);
	free(settings->management);
	free(settings->uplinks);
	free(settings);
	return NULL;
}

/* ---- values ---- */

/* The string of VALUE, or "" (which no check takes) where it is none or holds a NUL. */
static const char *string_of(json_object *value)
{
	if (!json_object_is_type(value, json_type_string))
		return "";
	const char *string = json_object_get_string(value);
	return strlen(string) == (size_t)json_object_get_string_len(value) ? string : "";
}

/* Reads VALUE, found at POINTER, into ITEM. False, with a problem added and nothing to free, where it is not
 * acceptable. */
typedef bool (*item_reader)(json_object *value, const char *pointer, void *item, struct problems *problems);

/* Puts the good items of the array VALUE into *ITEMS, which has *COUNT of SIZE bytes each. */
static void read_long_list(json_object *value, const char *pointer, void *items, size_t *count, size_t size,
        size_t max, item_reader read, struct problems *problems)
{
	size_t length = json_object_array_length(value);
	if (length > max) {
		problems_error(problems, pointer, NULL, "has %zu members; at most %zu are taken", length, max);
		return;
	}
	char *array = xcalloc(length, size);
	for (size_t i = 0; i < length; i++) {
		char at[POINTER_MAX];
		if (read(json_object_array_get_idx(value, i), pointer_index(at, pointer, i), array + *count * size,
		            problems))
			*count += 1;
	}
	*(void **)items = array;
}

static void read_list(json_object *value, const char *pointer, void *items, size_t *count, size_t size,
        item_reader read, struct problems *problems)
{
	read_long_list(value, pointer, items, count, size, KILL_SWITCH_LIST_MAX, read, problems);
}

static bool read_network(json_object *value, const char *pointer, void *item, struct problems *problems)
{
	struct ip_prefix prefix;
	if (ip_prefix_parse(string_of(value), &prefix) < 0) {
		problems_error(problems, pointer, value,
		        "is no network; write 192.0.2.0/24, 2001:db8::/32 or a single address");
		return false;
	}
	*(struct ip_prefix *)item = ip_prefix_mask(prefix);
	return true;
}

/* A network that gets out past the tunnel, and so may not be most of the world. */
static bool read_narrow_network(json_object *value, const char *pointer, void *item, struct problems *problems)
{
	struct ip_prefix prefix;
	if (!read_network(value, pointer, &prefix, problems))
		return false;
	if (prefix.length < (prefix.address.family == AF_INET ? WIDEST_V4 : WIDEST_V6)) {
		problems_error(problems, pointer, value, "is too wide; at least /%d for IPv4 and /%d for IPv6",
		        WIDEST_V4, WIDEST_V6);
		return false;
	}
	*(struct ip_prefix *)item = prefix;
	return true;
}

static bool read_resolver(json_object *value, const char *pointer, void *item, struct problems *problems)
{
	struct ip_address address;
	if (ip_address_parse(string_of(value), &address) < 0 || !ip_address_is_remote(&address)) {
		problems_error(problems, pointer, value,
		        "is no resolver's address; write 192.0.2.53 or 2001:db8::53, not a name and not loopback");
		return false;
	}
	*(struct ip_address *)item = address;
	return true;
}

static bool read_interface(json_object *value, const char *pointer, void *item, struct problems *problems)
{
	const char *name = string_of(value);
	if (!interface_name_foreign(name)) {
		problems_error(problems, pointer, value,
		        "is no link's name: 1 to 15 of A-Z, a-z, 0-9, \"_\", \".\" and \"-\", not lo and none of "
		        "Holdfast's own");
		return false;
	}
	strcpy(item, name);
	return true;
}

static bool read_domain(json_object *value, const char *pointer, void *item, struct problems *problems)
{
	const char *name = string_of(value);
	if (!domain_name_valid(name)) {
		problems_error(problems, pointer, value,
		        "is no domain; write example.com, which stands for itself and all names under it");
		return false;
	}
	char *domain = text_dup(name);
	for (char *byte = domain; *byte; byte++)
		*byte = (char)tolower(*byte);
	*(char **)item = domain;
	return true;
}

/* ---- grants to processes ---- */

static const struct {
	const char *key;
	bool (*valid)(const char *name);
	const char *example;
} process_kinds[] = {
        [PROCESS_UNIT] = {"unit", unit_name_valid, "is no unit; write backup.service or some.scope"},
        [PROCESS_SLICE] = {"slice", slice_name_valid, "is no slice below the root; write torrent.slice"},
        [PROCESS_USER] = {"user", user_name_valid, "is no user; write a login name or a numeric id"},
};

static bool read_process(json_object *value, const char *pointer, void *item, struct problems *problems)
{
	struct process_grant *grant = item;
	if (!json_object_is_type(value, json_type_object) || json_object_object_length(value) != 1) {
		problems_error(problems, pointer, value, "must be an object with one member: unit, slice or user");
		return false;
	}
	for (size_t kind = 0; kind < ELEMENTSOF(process_kinds); kind++) {
		json_object *name;
		char at[POINTER_MAX];
		if (!json_object_object_get_ex(value, process_kinds[kind].key, &name))
			continue;
		if (!process_kinds[kind].valid(string_of(name))) {
			problems_error(problems, pointer_member(at, pointer, process_kinds[kind].key), name, "%s",
			        process_kinds[kind].example);
			return false;
		}
		*grant = (struct process_grant){.kind = (enum process_kind)kind, .name = text_dup(string_of(name))};
		return true;
	}
	problems_error(problems, pointer, value, "must be an object with one member: unit, slice or user");
	return false;
}

bool kill_switch_read_process(json_object *value, const char *pointer, struct process_grant *ret, struct problems *problems)
{
	return read_process(value, pointer, ret, problems);
}

bool kill_switch_read_address(json_object *value, const char *pointer, struct ip_prefix *ret, struct problems *problems)
{
	return read_narrow_network(value, pointer, ret, problems);
}

bool kill_switch_read_domain(json_object *value, const char *pointer, char **ret, struct problems *problems)
{
	return read_domain(value, pointer, ret, problems);
}

/* ---- members: `ret` is the whole kill_switch (offset 0), or what the table says ---- */

static void read_mode(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	if (gate_mode_from_string(string_of(value), ret) < 0)
		problems_error(problems, pointer, value, "is no mode; off, auto or always");
}

static void lan_network_address(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_narrow_network(value, pointer, ret, problems);
}

static void lan_network_interface(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	read_interface(value, pointer, ret, problems);
}

static bool read_lan_network(json_object *value, const char *pointer, void *item, struct problems *problems)
{
	static const struct field fields[] = {
	        {"network", FIELD_STRING, lan_network_address, offsetof(struct lan_network, network), true},
	        {"interface", FIELD_STRING, lan_network_interface, offsetof(struct lan_network, interface), false},
	};
	struct lan_network network = {};
	if (!fields_read(value, fields, ELEMENTSOF(fields), pointer, &network, problems, NULL))
		return false;
	*(struct lan_network *)item = network;
	return true;
}

static void read_lan_custom(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_list(value, pointer, &settings->lan_networks, &settings->lan_network_count, sizeof *settings->lan_networks,
	        read_lan_network, problems);
}

static void read_lan(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field custom[] = {{"custom", FIELD_ARRAY, read_lan_custom, 0, true}};
	struct kill_switch *settings = ret;
	if (json_object_is_type(value, json_type_object)) {
		if (fields_read(value, custom, ELEMENTSOF(custom), pointer, settings, problems, NULL))
			settings->lan = LAN_CUSTOM;
	} else if (lan_access_from_string(string_of(value), &settings->lan) < 0 || settings->lan == LAN_CUSTOM) {
		settings->lan = LAN_BLOCK;
		problems_error(problems, pointer, value,
		        "must be block, allow, or {\"custom\": [{\"network\": …, \"interface\": …}]}");
	}
}

static void read_processes(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_list(value, pointer, &settings->bypass.processes, &settings->bypass.process_count,
	        sizeof *settings->bypass.processes, read_process, problems);
}

static void read_domains(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_list(value, pointer, &settings->bypass.domains, &settings->bypass.domain_count,
	        sizeof *settings->bypass.domains, read_domain, problems);
}

static void read_addresses(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_long_list(value, pointer, &settings->bypass.addresses, &settings->bypass.address_count,
	        sizeof *settings->bypass.addresses, KILL_SWITCH_NETWORKS_MAX, read_narrow_network, problems);
}

static void read_bypass(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
	        {"processes", FIELD_ARRAY, read_processes, 0, false},
	        {"domains", FIELD_ARRAY, read_domains, 0, false},
	        {"addresses", FIELD_ARRAY, read_addresses, 0, false},
	        {"selfService", FIELD_BOOLEAN, field_bool, offsetof(struct kill_switch, bypass.self_service), false},
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, NULL);
}

static void read_dns_bootstrap(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_list(value, pointer, &settings->dns.bootstrap, &settings->dns.bootstrap_count, sizeof(struct ip_address),
	        read_resolver, problems);
}

static void read_dns_bypass(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_list(value, pointer, &settings->dns.bypass, &settings->dns.bypass_count, sizeof(struct ip_address),
	        read_resolver, problems);
}

static void read_dns_lan(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_list(value, pointer, &settings->dns.lan, &settings->dns.lan_count, sizeof(struct ip_address),
	        read_resolver, problems);
}

static void read_dns(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
	        {"bootstrap", FIELD_ARRAY, read_dns_bootstrap, 0, false},
	        {"bypass", FIELD_ARRAY, read_dns_bypass, 0, false},
	        {"lan", FIELD_ARRAY, read_dns_lan, 0, false},
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, NULL);
}

static void service_protocol(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	const char *name = string_of(value);
	if (strcmp(name, "tcp") == 0)
		*(uint8_t *)ret = IPPROTO_TCP;
	else if (strcmp(name, "udp") == 0)
		*(uint8_t *)ret = IPPROTO_UDP;
	else
		problems_error(problems, pointer, value, "is no protocol; tcp or udp");
}

static void service_port(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	int64_t port = json_object_get_int64(value);
	if (port < 1 || port > UINT16_MAX)
		problems_error(problems, pointer, value, "is no port; 1 to 65535");
	else
		*(uint16_t *)ret = (uint16_t)port;
}

static void service_from(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct inbound_service *service = ret;
	if (json_object_array_length(value) == 0)
		problems_error(problems, pointer, value,
		        "is empty; name networks, or leave it out for a service that is open to anyone");
	read_list(value, pointer, &service->from, &service->from_count, sizeof *service->from, read_network, problems);
}

static bool read_service(json_object *value, const char *pointer, void *item, struct problems *problems)
{
	static const struct field fields[] = {
	        {"protocol", FIELD_STRING, service_protocol, offsetof(struct inbound_service, protocol), true},
	        {"port", FIELD_INTEGER, service_port, offsetof(struct inbound_service, port), true},
	        {"from", FIELD_ARRAY, service_from, 0, false},
	};
	struct inbound_service service = {};
	if (!fields_read(value, fields, ELEMENTSOF(fields), pointer, &service, problems, NULL)) {
		free(service.from);
		return false;
	}
	*(struct inbound_service *)item = service;
	return true;
}

static void read_inbound(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_list(value, pointer, &settings->inbound, &settings->inbound_count, sizeof *settings->inbound, read_service,
	        problems);
}

/* Management networks are also routed past the tunnel, so they are held to the width of a grant. */
static void read_management(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_list(value, pointer, &settings->management, &settings->management_count, sizeof *settings->management,
	        read_narrow_network, problems);
}

static void read_forwarding(
        json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
	        {"masquerade", FIELD_BOOLEAN, field_bool, offsetof(struct kill_switch, masquerade), false},
	};
	fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, NULL);
}

static void read_uplinks(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	struct kill_switch *settings = ret;
	read_list(value, pointer, &settings->uplinks, &settings->uplink_count, sizeof *settings->uplinks,
	        read_interface, problems);
}

/* "0x" and one to eight hexadecimal digits. */
static void read_hex(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	const char *text = string_of(value);
	size_t length = strlen(text);
	if (strncmp(text, "0x", 2) != 0 || length < 3 || length > 10 ||
	        strspn(text + 2, "0123456789abcdefABCDEF") != length - 2)
		problems_error(problems, pointer, value, "is no mark; write 0x and up to eight hexadecimal digits");
	else
		*(uint32_t *)ret = (uint32_t)strtoul(text, NULL, 16);
}

/* Kinds of marked traffic are consecutive values, counted in the mask's lowest bit: all of them must fit under the
 * mask. */
static void check_mark(uint32_t value, uint32_t mask, const char *pointer, struct problems *problems)
{
	char at[POINTER_MAX];
	uint32_t step = mask & -mask;
	uint64_t last = (uint64_t)value + (uint64_t)(MARK_KIND_COUNT - 1) * step;
	bool contiguous = mask && (((uint64_t)mask + step) & mask) == 0;
	if (!contiguous)
		problems_error(problems, pointer_member(at, pointer, "mask"), NULL, "must be one run of set bits");
	else if (mask / step < MARK_KIND_COUNT)
		problems_error(problems, pointer_member(at, pointer, "mask"), NULL,
		        "is too narrow: %d values must fit beside 0", MARK_KIND_COUNT);
	else if (value == 0 || (value & ~mask) || last > mask)
		problems_error(problems, pointer_member(at, pointer, "value"), NULL,
		        "must be more than 0 and lie under the mask, with room for %d consecutive values",
		        MARK_KIND_COUNT);
}

static void read_mark(json_object *value, const char *pointer, void *ret, struct problems *problems, void *context)
{
	static const struct field fields[] = {
	        {"value", FIELD_STRING, read_hex, offsetof(struct kill_switch, mark), false},
	        {"mask", FIELD_STRING, read_hex, offsetof(struct kill_switch, mark_mask), false},
	};
	struct kill_switch *settings = ret;
	if (fields_read(value, fields, ELEMENTSOF(fields), pointer, ret, problems, NULL))
		check_mark(settings->mark, settings->mark_mask, pointer, problems);
}

static const struct field document_fields[] = {
        {"mode", FIELD_STRING, read_mode, offsetof(struct kill_switch, mode), false},
        {"lan", FIELD_STRING | FIELD_OBJECT, read_lan, 0, false},
        {"bypass", FIELD_OBJECT, read_bypass, 0, false},
        {"dns", FIELD_OBJECT, read_dns, 0, false},
        {"inbound", FIELD_ARRAY, read_inbound, 0, false},
        {"management", FIELD_ARRAY, read_management, 0, false},
        {"forwarding", FIELD_OBJECT, read_forwarding, 0, false},
        {"uplinks", FIELD_ARRAY, read_uplinks, 0, false},
        {"captivePortalCheck", FIELD_BOOLEAN, field_bool, offsetof(struct kill_switch, captive_portal_check), false},
        {"fwmark", FIELD_OBJECT, read_mark, 0, false},
};

int kill_switch_parse(json_object *document, struct kill_switch **ret, struct problems *problems)
{
	_cleanup_kill_switch_ struct kill_switch *settings = kill_switch_default();
	if (!fields_read(document, document_fields, ELEMENTSOF(document_fields), "", settings, problems, NULL))
		return -EINVAL;
	*ret = STEAL(settings);
	return 0;
}

/* ---- printing ---- */

static json_object *lan_to_json(const struct kill_switch *settings)
{
	if (settings->lan != LAN_CUSTOM)
		return json_object_new_string(lan_access_to_string(settings->lan));
	json_object *networks = json_object_new_array();
	for (size_t i = 0; i < settings->lan_network_count; i++) {
		json_object *network = json_object_new_object();
		json_object_object_add(network, "network", json_prefix(&settings->lan_networks[i].network));
		if (settings->lan_networks[i].interface[0])
			json_object_object_add(
			        network, "interface", json_object_new_string(settings->lan_networks[i].interface));
		json_object_array_add(networks, network);
	}
	json_object *lan = json_object_new_object();
	json_object_object_add(lan, "custom", networks);
	return lan;
}

static json_object *bypass_to_json(const struct kill_switch *settings)
{
	json_object *processes = json_object_new_array(), *domains = json_object_new_array();
	for (size_t i = 0; i < settings->bypass.process_count; i++) {
		const struct process_grant *grant = &settings->bypass.processes[i];
		json_object *process = json_object_new_object();
		json_object_object_add(process, process_kinds[grant->kind].key, json_object_new_string(grant->name));
		json_object_array_add(processes, process);
	}
	for (size_t i = 0; i < settings->bypass.domain_count; i++)
		json_object_array_add(domains, json_object_new_string(settings->bypass.domains[i]));
	json_object *bypass = json_object_new_object();
	json_object_object_add(bypass, "processes", processes);
	json_object_object_add(bypass, "domains", domains);
	json_object_object_add(
	        bypass, "addresses", json_prefixes(settings->bypass.addresses, settings->bypass.address_count));
	json_object_object_add(bypass, "selfService", json_object_new_boolean(settings->bypass.self_service));
	return bypass;
}

static json_object *dns_to_json(const struct kill_switch *settings)
{
	json_object *dns = json_object_new_object();
	json_object_object_add(
	        dns, "bootstrap", json_addresses(settings->dns.bootstrap, settings->dns.bootstrap_count));
	json_object_object_add(dns, "bypass", json_addresses(settings->dns.bypass, settings->dns.bypass_count));
	json_object_object_add(dns, "lan", json_addresses(settings->dns.lan, settings->dns.lan_count));
	return dns;
}

static json_object *inbound_to_json(const struct kill_switch *settings)
{
	json_object *inbound = json_object_new_array();
	for (size_t i = 0; i < settings->inbound_count; i++) {
		const struct inbound_service *service = &settings->inbound[i];
		json_object *item = json_object_new_object();
		json_object_object_add(
		        item, "protocol", json_object_new_string(service->protocol == IPPROTO_TCP ? "tcp" : "udp"));
		json_object_object_add(item, "port", json_object_new_int(service->port));
		if (service->from_count)
			json_object_object_add(item, "from", json_prefixes(service->from, service->from_count));
		json_object_array_add(inbound, item);
	}
	return inbound;
}

static json_object *mark_to_json(const struct kill_switch *settings)
{
	char buffer[16];
	json_object *mark = json_object_new_object();
	snprintf(buffer, sizeof buffer, "0x%08x", settings->mark);
	json_object_object_add(mark, "value", json_object_new_string(buffer));
	snprintf(buffer, sizeof buffer, "0x%08x", settings->mark_mask);
	json_object_object_add(mark, "mask", json_object_new_string(buffer));
	return mark;
}

json_object *kill_switch_to_json(const struct kill_switch *settings)
{
	json_object *uplinks = json_object_new_array(), *forwarding = json_object_new_object(),
	            *document = json_object_new_object();
	for (size_t i = 0; i < settings->uplink_count; i++)
		json_object_array_add(uplinks, json_object_new_string(settings->uplinks[i]));
	json_object_object_add(forwarding, "masquerade", json_object_new_boolean(settings->masquerade));
	json_object_object_add(document, "mode", json_object_new_string(gate_mode_to_string(settings->mode)));
	json_object_object_add(document, "lan", lan_to_json(settings));
	json_object_object_add(document, "bypass", bypass_to_json(settings));
	json_object_object_add(document, "dns", dns_to_json(settings));
	json_object_object_add(document, "inbound", inbound_to_json(settings));
	json_object_object_add(
	        document, "management", json_prefixes(settings->management, settings->management_count));
	json_object_object_add(document, "forwarding", forwarding);
	json_object_object_add(document, "uplinks", uplinks);
	json_object_object_add(document, "captivePortalCheck", json_object_new_boolean(settings->captive_portal_check));
	json_object_object_add(document, "fwmark", mark_to_json(settings));
	return document;
}
