/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kill switch: the settings of the gate, one document (kill-switch.json). Parsed and validated here, stored
 * elsewhere. What a parsed object holds is canonical (host bits cleared, domains in lower case) and may enter rule text
 * as it is.
 */

#include <json-c/json.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/address.h"
#include "util/problem.h"
#include "util/string-table.h"

#define KILL_SWITCH_LIST_MAX     4096   /* members of any one array, … */
#define KILL_SWITCH_NETWORKS_MAX 100000 /* … but of bypass.addresses, which is a set of the kernel's */

enum gate_mode { GATE_MODE_OFF, GATE_MODE_AUTO, GATE_MODE_ALWAYS }; /* ordered: a greater mode is tighter */
STRING_TABLE(gate_mode, enum gate_mode);

enum lan_access { LAN_BLOCK, LAN_ALLOW, LAN_CUSTOM };
STRING_TABLE(lan_access, enum lan_access);

struct lan_network {
	struct ip_prefix network;
	char interface[IFNAMSIZ]; /* "" : any link that is no tunnel */
};

struct inbound_service {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t port;
	struct ip_prefix *from; /* none: from anywhere */
	size_t from_count;
};

enum process_kind { PROCESS_UNIT, PROCESS_SLICE, PROCESS_USER };
struct process_grant {
	enum process_kind kind;
	char *name;
};

struct kill_switch {
	enum gate_mode mode;
	enum lan_access lan;
	struct lan_network *lan_networks; /* LAN_CUSTOM */
	size_t lan_network_count;
	struct {
		struct process_grant *processes;
		size_t process_count;
		char **domains;
		size_t domain_count;
		struct ip_prefix *addresses;
		size_t address_count;
		bool self_service;
	} bypass;
	struct {
		struct ip_address *bootstrap, *bypass, *lan;
		size_t bootstrap_count, bypass_count, lan_count;
	} dns;
	struct inbound_service *inbound;
	size_t inbound_count;
	struct ip_prefix *management;
	size_t management_count;
	bool masquerade; /* forwarding.masquerade */
	char (*uplinks)[IFNAMSIZ];
	size_t uplink_count;
	bool captive_portal_check;
	uint32_t mark, mark_mask; /* fwmark; see firewall/mark.h */
};

/* Mode auto, LAN blocked, nothing granted. The caller frees it. */
struct kill_switch *kill_switch_default(void);

/*
 * Readers of single grants, for those that are given at run time: {"unit": …}, {"slice": …} or {"user": …}; a network or an address; a
 * domain. Each returns false, with a problem added, where VALUE (found at POINTER) is not acceptable; the caller frees names.
 */
bool kill_switch_read_process(json_object *value, const char *pointer, struct process_grant *ret, struct problems *problems);
bool kill_switch_read_address(json_object *value, const char *pointer, struct ip_prefix *ret, struct problems *problems);
bool kill_switch_read_domain(json_object *value, const char *pointer, char **ret, struct problems *problems);

/* Returns 0 and a new object, or -EINVAL with every error in PROBLEMS. Members left out have their defaults. */
int kill_switch_parse(json_object *document, struct kill_switch **ret, struct problems *problems);
struct kill_switch *kill_switch_free(struct kill_switch *settings); /* accepts NULL, returns NULL */
DEFINE_CLEANUP(struct kill_switch *, kill_switch_free)
#define _cleanup_kill_switch_ _cleanup_(kill_switch_freep)

/* The whole document, defaults included, so that parse(to_json(x)) equals x. The caller owns it. */
json_object *kill_switch_to_json(const struct kill_switch *settings);
