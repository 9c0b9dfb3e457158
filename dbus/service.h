/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* D-Bus in front of the operations: org.holdfast.Holdfast1 on the system bus. It comes late, goes and comes back; nothing waits for it. */

#include <systemd/sd-event.h>

struct manager;
struct dbus_service;

/* Connects when there is a bus to connect to, and again whenever it comes back. Negative errno only for what is wrong here. */
int dbus_service_new(struct dbus_service **ret, sd_event *event, struct manager *manager);
struct dbus_service *dbus_service_free(struct dbus_service *service); /* accepts NULL, returns NULL */
