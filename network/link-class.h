/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a link is to Holdfast, from what the kernel says of it. Pure. */

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/string-table.h"

enum link_class {
	LINK_CLASS_LOOPBACK,
	LINK_CLASS_OWN,	   /* hf0 and hf-<id> */
	LINK_CLASS_TUNNEL, /* another VPN's: neither uplink nor local */
	LINK_CLASS_LOCAL,  /* bridges, veths and taps of containers and VMs */
	LINK_CLASS_UPLINK, /* traffic leaves the machine by it */
};
STRING_TABLE(link_class, enum link_class);

/* What carries an uplink, as policies name it. */
enum link_type { LINK_TYPE_ETHERNET, LINK_TYPE_WIFI, LINK_TYPE_WWAN, LINK_TYPE_BLUETOOTH, LINK_TYPE_OTHER };
STRING_TABLE(link_type, enum link_type);

struct link_facts {
	int index;
	char name[IFNAMSIZ];
	unsigned flags;	    /* IFF_… */
	uint16_t hardware;  /* ARPHRD_… */
	char kind[32];	    /* IFLA_INFO_KIND, "" where the kernel tells none */
	bool has_parent;    /* it hangs on a bus (IFLA_PARENT_DEV_NAME) */
	bool carried;	    /* it carries a default route, or has carried one */
	bool named;	    /* the settings call it an uplink */
	int master;	    /* the bridge, bond or VRF that it is a port of; 0: none */
	int lower;	    /* the link here that it stands on, as a VLAN does; 0: none */
	bool stacked;	    /* it stands on an uplink, or has one among its ports */
};

enum link_class link_classify(const struct link_facts *facts);
/* DEVTYPE: what the driver calls the link (linux/device.h, `struct device_type`), "" where it calls it nothing. */
enum link_type link_type_of(const struct link_facts *facts, const char *devtype);
/* Up, and with a carrier as far as the kernel knows. */
bool link_is_running(const struct link_facts *facts);
