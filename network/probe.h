/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Asking a host whether it is there, through one link: an ICMP echo request, where the kernel lets this group send one
 * (net.ipv4.ping_group_range), and a UDP datagram, a DNS query where the target is a resolver. An answer is an echo reply, a
 * datagram, or the target's own word that the port is closed; never an error that this host made itself.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "util/address.h"

struct probe;
typedef void (*probe_answered)(void *userdata);

/* Opens what can be opened for TARGET by INTERFACE. RESOLVER: ask port 53. Negative errno: there is no way to ask. */
int probe_new(struct probe **ret, sd_event *event, const char *interface, const struct ip_address *target, bool resolver,
        probe_answered answered, void *userdata);
/* Sends one of each. What cannot be sent is as good as unanswered. */
void probe_send(struct probe *probe);
/* Accepts NULL, returns NULL. */
struct probe *probe_free(struct probe *probe);
