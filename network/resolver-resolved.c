/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * org.freedesktop.resolve1(5). The bus may be absent, and each call has a short limit. The route-only domain "." makes the link the
 * one for every name; what more specific domains of other links would send elsewhere, the gate stops.
 */

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

#include "network/link.h"
#include "network/resolver-backend.h"
#include "network/resolver-bus.h"

#define SERVICE "org.freedesktop.resolve1"
#define OBJECT  "/org/freedesktop/resolve1"
#define MANAGER "org.freedesktop.resolve1.Manager"

bool resolved_is_running(void)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	return resolver_bus_open(&bus) == 0 && resolver_bus_has_owner(bus, SERVICE);
}

static int set_servers(sd_bus *bus, int index, const struct ip_address *servers, size_t count)
{
	_cleanup_reply_ sd_bus_message *message = NULL;
	int r = sd_bus_message_new_method_call(bus, &message, SERVICE, OBJECT, MANAGER, "SetLinkDNS");
	if (r >= 0)
		r = sd_bus_message_append(message, "i", index);
	if (r >= 0)
		r = sd_bus_message_open_container(message, 'a', "(iay)");
	for (size_t i = 0; r >= 0 && i < count; i++) {
		r = sd_bus_message_open_container(message, 'r', "iay");
		if (r >= 0)
			r = sd_bus_message_append(message, "i", servers[i].family);
		if (r >= 0)
			r = sd_bus_message_append_array(message, 'y', servers[i].bytes, ip_address_bits(&servers[i]) / 8);
		if (r >= 0)
			r = sd_bus_message_close_container(message);
	}
	if (r >= 0)
		r = sd_bus_message_close_container(message);
	return r < 0 ? r : sd_bus_call(bus, message, RESOLVER_BUS_USEC, NULL, NULL);
}

static int revert(sd_bus *bus, int index)
{
	return sd_bus_call_method(bus, SERVICE, OBJECT, MANAGER, "RevertLink", NULL, NULL, "i", index);
}

int resolved_set(const char *interface, const struct ip_address *servers, size_t count)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	int index = (int)if_nametoindex(interface);
	if (index == 0)
		return -ENODEV;
	int r = resolver_bus_open(&bus);
	if (r < 0)
		return r;
	r = set_servers(bus, index, servers, count);
	if (r >= 0)
		r = sd_bus_call_method(bus, SERVICE, OBJECT, MANAGER, "SetLinkDomains", NULL, NULL, "ia(sb)", index, 1, ".", 1);
	if (r >= 0)
		r = sd_bus_call_method(bus, SERVICE, OBJECT, MANAGER, "SetLinkDefaultRoute", NULL, NULL, "ib", index, 1);
	if (r < 0) {
		(void)revert(bus, index);
		return r;
	}
	/* What was answered outside the tunnel is not to be answered again; without it the servers are right all the same. */
	(void)sd_bus_call_method(bus, SERVICE, OBJECT, MANAGER, "FlushCaches", NULL, NULL, NULL);
	return 0;
}

int resolved_revert(const char *interface)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	int index = (int)if_nametoindex(interface);
	if (index == 0 || resolver_bus_open(&bus) < 0 || !resolver_bus_has_owner(bus, SERVICE))
		return 0;
	int r = revert(bus, index);
	return r < 0 ? r : 0;
}

static bool is_uplinks(int index)
{
	char name[IFNAMSIZ];
	return index == 0 || (if_indextoname((unsigned)index, name) && !link_is_own(name)); /* 0: resolved.conf's own */
}

size_t resolved_uplink_servers(struct ip_address *ret, size_t max)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	_cleanup_reply_ sd_bus_message *reply = NULL;
	size_t count = 0;
	if (resolver_bus_open(&bus) < 0 || sd_bus_get_property(bus, SERVICE, OBJECT, MANAGER, "DNS", NULL, &reply, "a(iiay)") < 0 ||
		sd_bus_message_enter_container(reply, 'a', "(iiay)") < 0)
		return 0;
	while (count < max && sd_bus_message_enter_container(reply, 'r', "iiay") > 0) {
		struct ip_address address = {};
		const void *bytes;
		size_t length;
		int index;
		if (sd_bus_message_read(reply, "ii", &index, &address.family) < 0 ||
			sd_bus_message_read_array(reply, 'y', &bytes, &length) < 0 || sd_bus_message_exit_container(reply) < 0)
			break;
		if ((address.family != AF_INET && address.family != AF_INET6) || length != ip_address_bits(&address) / 8u)
			continue;
		memcpy(address.bytes, bytes, length);
		if (is_uplinks(index) && ip_address_is_remote(&address))
			ret[count++] = address;
	}
	return count;
}
