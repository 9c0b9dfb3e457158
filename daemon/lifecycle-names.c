/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The names of the lifecycle's enumerations. */

#include "daemon/lifecycle.h"

static const char *const state_names[] = {
	[TUNNEL_DISCONNECTED] = "disconnected",
	[TUNNEL_CONNECTING] = "connecting",
	[TUNNEL_CONNECTED] = "connected",
	[TUNNEL_REASSERTING] = "reasserting",
	[TUNNEL_DECIDING] = "deciding",
	[TUNNEL_WAITING] = "waiting",
	[TUNNEL_DISCONNECTING] = "disconnecting",
	[TUNNEL_FAILED] = "failed",
};
DEFINE_STRING_TABLE(tunnel_state, enum tunnel_state, state_names);

static const char *const pending_names[] = {
	[PENDING_NONE] = "none",
	[PENDING_DELAY] = "delay",
	[PENDING_NETWORK] = "network",
	[PENDING_EVENT] = "event",
	[PENDING_ASK] = "ask",
};
DEFINE_STRING_TABLE(pending_kind, enum pending_kind, pending_names);

static const char *const event_names[] = {
	[LIFECYCLE_USER_START] = "userStart",
	[LIFECYCLE_USER_STOP] = "userStop",
	[LIFECYCLE_USER_RESTART] = "userRestart",
	[LIFECYCLE_STARTED] = "started",
	[LIFECYCLE_SYSTEM_STOP] = "systemStop",
	[LIFECYCLE_BEGIN] = "begin",
	[LIFECYCLE_WORKER_HELLO] = "workerHello",
	[LIFECYCLE_WORKER_ASKING] = "workerAsking",
	[LIFECYCLE_ANSWERED] = "answered",
	[LIFECYCLE_WORKER_CONTACTING] = "workerContacting",
	[LIFECYCLE_WORKER_UP] = "workerUp",
	[LIFECYCLE_WORKER_WILL_STOP] = "workerWillStop",
	[LIFECYCLE_WORKER_STOPPED] = "workerStopped",
	[LIFECYCLE_WORKER_GONE] = "workerGone",
	[LIFECYCLE_PEER_SILENT] = "peerSilent",
	[LIFECYCLE_LINK_LOST] = "linkLost",
	[LIFECYCLE_EFFECT_FAILED] = "effectFailed",
	[LIFECYCLE_TIME] = "time",
	[LIFECYCLE_NETWORK] = "network",
	[LIFECYCLE_POLICY_EVENT] = "policyEvent",
	[LIFECYCLE_ANSWER] = "answer",
	[LIFECYCLE_MODE] = "mode",
};
DEFINE_STRING_TABLE(lifecycle_event, enum lifecycle_event_type, event_names);

static const char *const effect_names[] = {
	[EFFECT_GATE] = "gate",
	[EFFECT_STARTED] = "started",
	[EFFECT_RECORD] = "record",
	[EFFECT_ANNOUNCE_STOP] = "announceStop",
	[EFFECT_ANNOUNCE_DECISION] = "announceDecision",
	[EFFECT_ANNOUNCE_PENDING] = "announcePending",
	[EFFECT_ANNOUNCE_STATE] = "announceState",
	[EFFECT_WORKER_SPAWN] = "workerSpawn",
	[EFFECT_WORKER_START] = "workerStart",
	[EFFECT_WORKER_RESTART] = "workerRestart",
	[EFFECT_WORKER_PROCEED] = "workerProceed",
	[EFFECT_WORKER_STOP] = "workerStop",
	[EFFECT_WORKER_KILL] = "workerKill",
	[EFFECT_LINK_CONFIGURE] = "linkConfigure",
	[EFFECT_LINK_REMOVE] = "linkRemove",
	[EFFECT_EXIT] = "exit",
};
DEFINE_STRING_TABLE(effect, enum effect_type, effect_names);

static const char *const by_names[] = {
	[DECIDED_BY_POLICY] = "policy",
	[DECIDED_BY_THEN] = "then",
	[DECIDED_BY_TIMEOUT] = "onTimeout",
	[DECIDED_BY_ANSWER] = "answer",
};
DEFINE_STRING_TABLE(decided_by, enum decided_by, by_names);

bool effect_is_void_after_failure(const struct effect *effect)
{
	switch (effect->type) {
	case EFFECT_GATE:
	case EFFECT_STARTED:
	case EFFECT_WORKER_SPAWN:
	case EFFECT_WORKER_START:
	case EFFECT_WORKER_RESTART:
	case EFFECT_WORKER_PROCEED:
	case EFFECT_LINK_CONFIGURE:
		return true;
	case EFFECT_ANNOUNCE_STATE:
		return effect->new == TUNNEL_CONNECTED; /* it is not: its link or its gate is what failed */
	case EFFECT_RECORD:
	case EFFECT_ANNOUNCE_STOP:
	case EFFECT_ANNOUNCE_DECISION:
	case EFFECT_ANNOUNCE_PENDING:
	case EFFECT_WORKER_STOP:
	case EFFECT_WORKER_KILL:
	case EFFECT_LINK_REMOVE:
	case EFFECT_EXIT:
	case EFFECT_COUNT:
		return false;
	}
	return true;
}
