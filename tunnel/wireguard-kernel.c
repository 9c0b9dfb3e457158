/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The kernel's WireGuard, in the daemon: the only code of this folder that needs CAP_NET_ADMIN. Keys and peers come from the
 * document, which is read anew each time and wiped afterwards; the server's address is what the gate was opened for.
 */

#include "tunnel/wireguard-kernel.h"

#include <errno.h>

#include "network/link.h"
#include "network/wireguard.h"
#include "tunnel/wireguard-go.h"
#include "tunnel/wireguard-settings.h"
#include "util/text.h"

/* The kernel answers for all peers: the endpoint in use, and those beside it. */
#define PEERS_MAX (WIREGUARD_PEERS_MAX + 1)

static int read_settings(const struct tunnel_config *config, size_t index, struct wireguard_settings *ret)
{
	_cleanup_problems_ struct problems problems = PROBLEMS_NULL;
	json_object *settings = NULL, *endpoints = NULL;
	json_object_object_get_ex(config->document, "settings", &settings);
	json_object_object_get_ex(config->document, "endpoints", &endpoints);
	bool good = wireguard_settings_read(settings, endpoints, ret, &problems) && index < ret->server_count;
	return good ? 0 : -EINVAL;
}

static int kernel_choose(const struct tunnel_config *config, char detail[WORKER_DETAIL_MAX])
{
	if (config->carrier == CARRIER_PROGRAM)
		return 0;
	if (wireguard_kernel_available())
		return 1;
	if (config->carrier == CARRIER_ANY)
		return 0;
	snprintf(detail, WORKER_DETAIL_MAX,
	        "this kernel has no WireGuard: load its module, or set `implementation` to auto");
	return -EOPNOTSUPP;
}

static int kernel_make(const char *interface)
{
	struct link_status status;
	int r = link_query(interface, &status);
	if (r == 0 && status.is_wireguard)
		return wireguard_kernel_silence(interface);
	if (r == 0)
		r = link_remove(interface);
	return r < 0 && r != -ENODEV ? r : wireguard_kernel_make(interface);
}

static int kernel_configure(
        const struct tunnel_config *config, size_t index, const struct endpoint *endpoint, uint32_t mark)
{
	_cleanup_wireguard_settings_ struct wireguard_settings settings = {};
	int r = read_settings(config, index, &settings);
	if (r < 0)
		return r;
	return wireguard_kernel_set(config->interface,
	        wireguard_settings_device(&settings, config, index, endpoint, mark, true));
}

static int kernel_settle(const struct tunnel_config *config, size_t index)
{
	_cleanup_wireguard_settings_ struct wireguard_settings settings = {};
	int r = read_settings(config, index, &settings);
	if (r < 0)
		return r;
	const struct wireguard_peer *server = &settings.servers[index];
	return wireguard_kernel_set_keepalive(config->interface, server->public_key, server->keepalive_sec);
}

static int kernel_inspect(const struct tunnel_config *config, size_t index, struct tunnel_traffic *ret)
{
	_cleanup_wireguard_settings_ struct wireguard_settings settings = {};
	struct wireguard_peer_status peers[PEERS_MAX];
	size_t count = 0;
	int r = read_settings(config, index, &settings);
	if (r == 0)
		r = wireguard_kernel_get(config->interface, peers, ELEMENTSOF(peers), &count);
	if (r == 0)
		*ret = wireguard_settings_traffic(&settings, index, peers, count);
	return r;
}

const struct driver_device wireguard_kernel = {
        .name = "kernel",
        .choose = kernel_choose,
        .make = kernel_make,
        .configure = kernel_configure,
        .settle = kernel_settle,
        .inspect = kernel_inspect,
        .silence = wireguard_kernel_silence,
};
