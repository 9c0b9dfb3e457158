/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What NetworkManager was told of resolvers, link by link (org.freedesktop.NetworkManager.DnsManager): for hosts whose file names nobody
 * but a forwarder on loopback, as with dns=dnsmasq.
 */

#include <net/if.h>
#include <string.h>

#include "network/link.h"
#include "network/resolver-backend.h"
#include "network/resolver-bus.h"

#define SERVICE	  "org.freedesktop.NetworkManager"
#define OBJECT	  "/org/freedesktop/NetworkManager/DnsManager"
#define INTERFACE "org.freedesktop.NetworkManager.DnsManager"

struct entry {
	struct ip_address servers[RESOLVER_ENTRY_MAX];
	size_t count;
	bool foreign; /* a VPN's, or of a link of ours */
};

/* Those that are no plain address (dns+tls://...) are left out. */
static int read_servers(sd_bus_message *reply, struct entry *entry)
{
	const char *text;
	int r = sd_bus_message_enter_container(reply, 'v', "as");
	if (r >= 0)
		r = sd_bus_message_enter_container(reply, 'a', "s");
	while (r >= 0 && (r = sd_bus_message_read(reply, "s", &text)) > 0)
		if (entry->count < RESOLVER_ENTRY_MAX && ip_address_parse(text, &entry->servers[entry->count]) == 0 &&
			!ip_address_is_loopback(&entry->servers[entry->count]))
			entry->count++;
	if (r >= 0)
		r = sd_bus_message_exit_container(reply);
	return r < 0 ? r : sd_bus_message_exit_container(reply);
}

static int read_member(sd_bus_message *reply, struct entry *entry)
{
	const char *key, *interface;
	int vpn = false, r = sd_bus_message_read(reply, "s", &key);
	if (r < 0)
		return r;
	if (strcmp(key, "nameservers") == 0)
		return read_servers(reply, entry);
	if (strcmp(key, "interface") == 0 && (r = sd_bus_message_read(reply, "v", "s", &interface)) >= 0)
		entry->foreign |= link_is_own(interface);
	else if (strcmp(key, "vpn") == 0 && (r = sd_bus_message_read(reply, "v", "b", &vpn)) >= 0)
		entry->foreign |= vpn;
	else if (r >= 0)
		r = sd_bus_message_skip(reply, "v");
	return r;
}

static int read_entry(sd_bus_message *reply, struct entry *entry)
{
	int r;
	while ((r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0)
		if ((r = read_member(reply, entry)) < 0 || (r = sd_bus_message_exit_container(reply)) < 0)
			return r;
	return r;
}

size_t networkmanager_uplink_servers(struct ip_address *ret, size_t max)
{
	_cleanup_bus_ sd_bus *bus = NULL;
	_cleanup_reply_ sd_bus_message *reply = NULL;
	size_t count = 0;
	if (resolver_bus_open(&bus) < 0 || !resolver_bus_has_owner(bus, SERVICE) ||
		sd_bus_get_property(bus, SERVICE, OBJECT, INTERFACE, "Configuration", NULL, &reply, "aa{sv}") < 0 ||
		sd_bus_message_enter_container(reply, 'a', "a{sv}") < 0)
		return 0;
	while (sd_bus_message_enter_container(reply, 'a', "{sv}") > 0) {
		struct entry entry = {};
		if (read_entry(reply, &entry) < 0 || sd_bus_message_exit_container(reply) < 0)
			break;
		for (size_t i = 0; !entry.foreign && i < entry.count && count < max; i++)
			ret[count++] = entry.servers[i];
	}
	return count;
}
