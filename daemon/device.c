/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "daemon/device.h"

#include <errno.h>
#include <string.h>

#include "tunnel/driver.h"
#include "util/log.h"

int device_choose(struct tunnel_runtime *runtime)
{
	const struct driver_device *device = runtime->config->driver->device;
	int r = device ? device->choose(runtime->config, runtime->detail) : 0;
	runtime->device = r > 0 ? device : NULL;
	return r < 0 ? r : 0;
}

const char *device_implementation(const struct tunnel_runtime *runtime)
{
	const struct driver *driver = runtime->config->driver;
	if (!driver->device || !runtime->worker)
		return NULL;
	return runtime->device ? runtime->device->name : driver->programs[0];
}

static bool is_running(const struct lifecycle_tunnel *tunnel)
{
	return tunnel->state == TUNNEL_CONNECTING || tunnel->state == TUNNEL_REASSERTING || tunnel->state == TUNNEL_CONNECTED;
}

void device_follow(struct manager *manager)
{
	for (size_t i = 0; i < LIFECYCLE_TUNNELS_MAX; i++)
		if (manager->tunnels[i].device_speaks && !is_running(&manager->core.tunnels[i]))
			device_silence(&manager->tunnels[i]);
}

void device_silence(struct tunnel_runtime *runtime)
{
	if (!runtime->device || !runtime->device_speaks)
		return;
	int r = runtime->device->silence(runtime->config->interface);
	runtime->device_speaks = r < 0 && r != -ENODEV;
	if (runtime->device_speaks)
		log_warning("%s: its peers could not be removed from the kernel: %s", runtime->config->id, strerror(-r));
}

/* Whether there is an attempt for which the gate was opened, or the session that it led to. */
static bool is_in_turn(const struct tunnel_runtime *runtime, const struct lifecycle_tunnel *tunnel)
{
	return runtime->device && runtime->equipped && tunnel->contacted && is_running(tunnel);
}

static int carry_out(struct manager *manager, size_t index, struct device_answer *answer)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	const struct lifecycle_tunnel *tunnel = &manager->core.tunnels[index];
	switch (answer->request) {
	case DEVICE_CONFIGURE:
		runtime->device_speaks = true;
		return runtime->device->configure(runtime->config, tunnel->endpoint, &tunnel->contact,
			mark_value(manager->settings->mark, manager->settings->mark_mask, MARK_WORKER));
	case DEVICE_SETTLE:
		return runtime->device->settle(runtime->config, tunnel->endpoint);
	case DEVICE_INSPECT:
		return runtime->device->inspect(runtime->config, tunnel->endpoint, &answer->traffic);
	}
	return -EINVAL;
}

void device_ask(struct manager *manager, size_t index, enum device_request request)
{
	struct tunnel_runtime *runtime = &manager->tunnels[index];
	struct device_answer answer = {.request = request};
	if (!is_in_turn(runtime, &manager->core.tunnels[index]))
		return; /* a stop that the worker has not heard of yet */
	int r = carry_out(manager, index, &answer);
	if (r == -ENODEV)
		return; /* the link is gone, which is told by itself */
	if (r < 0) {
		answer.error = r == -EINVAL ? TUNNEL_ERROR_BAD_CONFIGURATION : TUNNEL_ERROR_TUN_INTERFACE_FAILURE;
		snprintf(answer.detail, sizeof answer.detail, "the kernel would not %s %s: %s", device_request_to_string(request),
			runtime->config->interface, strerror(-r));
	}
	(void)worker_send_device(runtime->worker, &answer);
}
