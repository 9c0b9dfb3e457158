/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The words of policies. */

#include "policy/policy.h"

#include "policy/rule.h"

static const char *const event_names[] = {
	[POLICY_EVENT_WILL_STOP] = "willStop",
	[POLICY_EVENT_NETWORK_CHANGED] = "networkChanged",
	[POLICY_EVENT_NETWORK_LOST] = "networkLost",
	[POLICY_EVENT_NETWORK_AVAILABLE] = "networkAvailable",
	[POLICY_EVENT_RESUMED] = "resumed",
	[POLICY_EVENT_UNRESPONSIVE] = "unresponsive",
	[POLICY_EVENT_BOOT] = "boot",
};

static const char *const phase_names[] = {
	[POLICY_PHASE_CONNECTING] = "connecting",
	[POLICY_PHASE_CONNECTED] = "connected",
};

static const char *const action_names[] = {
	[POLICY_ACTION_RESTART] = "restart",
	[POLICY_ACTION_FAILOVER] = "failover",
	[POLICY_ACTION_WAIT] = "wait",
	[POLICY_ACTION_ASK] = "ask",
	[POLICY_ACTION_TERMINATE] = "terminate",
	[POLICY_ACTION_CONNECT] = "connect",
	[POLICY_ACTION_DISCONNECT] = "disconnect",
	[POLICY_ACTION_IGNORE] = "ignore",
};

static const char *const endpoint_names[] = {
	[POLICY_ENDPOINT_SAME] = "same",
	[POLICY_ENDPOINT_NEXT] = "next",
	[POLICY_ENDPOINT_RANDOM] = "random",
};

static const char *const worker_names[] = {
	[POLICY_WORKER_KEEP] = "keep",
	[POLICY_WORKER_FRESH] = "fresh",
};

static const char *const traffic_names[] = {
	[POLICY_TRAFFIC_BLOCK] = "block",
	[POLICY_TRAFFIC_RELEASE] = "release",
};

DEFINE_STRING_TABLE(policy_event, enum policy_event, event_names);
DEFINE_STRING_TABLE(policy_phase, enum policy_phase, phase_names);
DEFINE_STRING_TABLE(policy_action, enum policy_action_type, action_names);
DEFINE_STRING_TABLE(policy_endpoint, enum policy_endpoint, endpoint_names);
DEFINE_STRING_TABLE(policy_worker, enum policy_worker, worker_names);
DEFINE_STRING_TABLE(policy_traffic, enum policy_traffic, traffic_names);

int policy_day_from_string(const char *string)
{
	static const char *const names[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
	for (size_t i = 0; i < ELEMENTSOF(names); i++)
		if (strcmp(names[i], string) == 0)
			return (int)i;
	return -EINVAL;
}

/* sscanf() would take signs and white space. */
int policy_minute_from_string(const char *string)
{
	if (strlen(string) != strlen("00:00"))
		return -EINVAL;
	for (size_t i = 0; string[i]; i++)
		if (i == 2 ? string[i] != ':' : string[i] < '0' || string[i] > '9')
			return -EINVAL;
	int hour = (string[0] - '0') * 10 + string[1] - '0', minute = (string[3] - '0') * 10 + string[4] - '0';
	return minute < 60 && hour * 60 + minute <= 24 * 60 ? hour * 60 + minute : -EINVAL;
}

const char POLICY_UNKNOWN[] = "unknown";
