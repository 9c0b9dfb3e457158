/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the kernel must be like: from the lifecycle's state, the settings and the network as it is, the plans of both layers. Pure.
 * Demands are judged per tunnel; a tunnel that is wanted and was not released has one, and mode `always` covers what no tunnel does.
 */

#include "daemon/lifecycle.h"
#include "firewall/gate.h"
#include "network/monitor.h"
#include "network/routing.h"
#include "tunnel/config.h"
#include "tunnel/protocol.h"

#define DEMAND_ROUTES_MAX 1024

/* What the core does not know of a tunnel. Index as in the lifecycle. */
struct demand_facts {
	const struct tunnel_config *config;
	const struct tunnel_network *network; /* as last reported; NULL: never was up since its link was made */
	bool link; /* its link stands and routes may point into it */
};

struct demand_input {
	const struct lifecycle *lifecycle;
	const struct demand_facts *facts; /* LIFECYCLE_TUNNELS_MAX */
	const struct kill_switch *settings;
	const struct network_state *network;
	const struct ip_address *bootstrap;
	size_t bootstrap_count;
	const struct ip_address *names_resolvers;
	size_t names_resolver_count;
	uint32_t names_uid;
	struct gate_dhcp_users dhcp_users;
	unsigned granted; /* kinds of grants, as in struct gate_plan */
	struct gate_check check;
};

/* The plans, and the arrays that they borrow. Large: kept by its user, not on the stack. */
struct demand {
	enum gate_state state; /* for the status: the gate as a whole */
	struct gate_plan gate;
	struct routing_plan routing;
	struct gate_tunnel tunnels[LIFECYCLE_TUNNELS_MAX];
	struct endpoint endpoints[LIFECYCLE_TUNNELS_MAX][GATE_ENDPOINTS_MAX];
	struct routing_route routes[DEMAND_ROUTES_MAX];
	struct lan_network attached[NETWORK_LINKS_MAX];
};

/* Both plans. *ret borrows from INPUT. */
void demand_build(const struct demand_input *input, struct demand *ret);
/* The gate's alone: `state`, `gate` and what that borrows. */
void demand_build_gate(const struct demand_input *input, struct demand *ret);

/* What this tunnel asks of the gate; GATE_OPEN: nothing. */
enum gate_state demand_of_tunnel(const struct lifecycle_tunnel *tunnel);
