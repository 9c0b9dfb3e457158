# SPDX-License-Identifier: LGPL-2.1-or-later
"""Faults to plant into a copy of the core, one row each: what it does wrong, the file, the text as it is, the text as it is planted.

The old text must be there exactly once, so that a row that the core has outgrown fails loudly instead of planting nothing.
"""

CORE = "daemon/lifecycle.c"
DECIDE = "daemon/lifecycle-decide.c"
MOVES = "daemon/lifecycle-moves.c"
NAMES = "daemon/lifecycle-names.c"
DEMAND = "daemon/demand.c"
SAVED = "daemon/saved.c"
TURN = "daemon/turn.c"
EVALUATE = "policy/evaluate.c"
REMNANT = "policy/remnant.c"

FAULTS = [
    # ---- the gate ----
    ("skips the gate before a worker starts", CORE, "\tstep_gate(step);\n\tstep_emit(step, EFFECT_WORKER_START, index);", "\tstep_emit(step, EFFECT_WORKER_START, index);"),
    ("skips the gate before a worker goes on", CORE, "\tstep_gate(step);\n\tstep_emit(step, EFFECT_WORKER_PROCEED, index);", "\tstep_emit(step, EFFECT_WORKER_PROCEED, index);"),
    ("skips the gate when a tunnel stops", DECIDE, "\tif (can_close && !releases(decision.action))\n\t\tstep_gate(step);\n", ""),
    ("opens on an error", DEMAND, "\tcase TUNNEL_WAITING:\n\t\treturn GATE_CLOSED;", "\tcase TUNNEL_WAITING:\n\t\treturn GATE_OPEN;"),
    ("opens for what has failed", DEMAND, "return tunnel->wanted ? GATE_CLOSED : GATE_OPEN;", "return tunnel->wanted && tunnel->state != TUNNEL_FAILED ? GATE_CLOSED : GATE_OPEN;"),
    ("lets traffic through while it connects", DEMAND, "\tcase TUNNEL_DISCONNECTING:\n\t\treturn GATE_CONNECTING;", "\tcase TUNNEL_DISCONNECTING:\n\t\treturn GATE_TUNNEL;"),
    ("forgets the hold", DEMAND, "life->mode == GATE_MODE_ALWAYS || life->hold;", "life->mode == GATE_MODE_ALWAYS;"),
    ("forgets mode always", DEMAND, "life->mode == GATE_MODE_ALWAYS || life->hold;", "life->hold;"),
    ("lets a worker talk to another server than it named", DEMAND, "ret[count++] = tunnel->contact;", "ret[count++] = config->endpoints[0].endpoint;"),
    ("begins, and takes it back in the same step", CORE, "\t\tif (!(replaced & 1u << i))\n", ""),
    # ---- who opens ----
    ("terminate opens", MOVES, "tunnel->released = traffic == POLICY_TRAFFIC_RELEASE;", "tunnel->released = true;"),
    ("terminate never opens", MOVES, "tunnel->released = traffic == POLICY_TRAFFIC_RELEASE;", "tunnel->released = false;"),
    ("releases another's demand", MOVES, "tunnel->released = traffic == POLICY_TRAFFIC_RELEASE;",
     "for LIFECYCLE_TUNNELS (i, step->life)\n\t\tstep_tunnel(step, i)->released = traffic == POLICY_TRAFFIC_RELEASE;"),
    ("a user's stop leaves it wanted", MOVES, "\ttunnel->wanted = false;\n\ttunnel->starting = false;\n\ttunnel->system_stop = false;", "\ttunnel->starting = false;\n\ttunnel->system_stop = false;"),
    ("the system's stop gives it up", CORE, "\t\ttunnel->system_stop = true;\n", "\t\ttunnel->system_stop = true;\n\t\ttunnel->wanted = false;\n"),
    ("nobody gives way", MOVES, "\tif (tunnel->all)\n\t\tstep_supersede_others(step, index);\n\tstep_record(step);\n", "\tstep_record(step);\n"),
    # ---- decisions ----
    ("a stop without a decision", DECIDE, "\tannounce_decision(step, index, POLICY_EVENT_WILL_STOP, &decision);\n", ""),
    ("a worker that died is no stop", CORE, "} else if (runs(tunnel) && !expected) {", "} else if (runs(tunnel) && expected) {"),
    ("restarts twice", MOVES, "\t\tstep_kill_worker(step, index);\n\tstep_begin_attempt(step, index);\n", "\t\tstep_kill_worker(step, index);\n\tstep_begin_attempt(step, index);\n\tstep_begin_attempt(step, index);\n"),
    ("forgets a delay", DECIDE, "\t\tif (delay_usec > 0)\n\t\t\twait_delay(", "\t\tif (delay_usec == 1)\n\t\t\twait_delay("),
    ("forgets a question's deadline", DECIDE, "\ttunnel->deadline_usec = add_usec(step->now, action->timeout_usec);\n\tstep_record(", "\tstep_record("),
    ("waits longer than was decided", DECIDE, "action->until_event ? action->timeout_usec : action->wait_usec);", "USEC_PER_SEC + (action->until_event ? action->timeout_usec : action->wait_usec));"),
    ("counts attempts while offline", DECIDE, "\tif (step->life->available)\n\t\ttunnel->attempt++;", "\ttunnel->attempt++;"),
    ("never forgets attempts", MOVES, "\ttunnel->stable_usec = USEC_INFINITY;\n\ttunnel->attempt = 0;\n", "\ttunnel->stable_usec = USEC_INFINITY;\n"),
    ("limits: a window that is too short", EVALUATE, "add_saturated(history->restarts[i], limits->per_usec);", "add_saturated(history->restarts[i], limits->per_usec / 2);"),
    ("limits: one too many", EVALUATE, "limits->per_usec, context->now_usec) < limits->restarts)", "limits->per_usec, context->now_usec) <= limits->restarts)"),
    ("limits: counts decisions, not starts", DECIDE, "add_usec(step->now, decision->delay_usec));", "step->now);"),
    ("limits: forgets restarts", DECIDE, "\tremember(step, tunnel, decision.rule, &decision);\n\tannounce_decision(step, index, POLICY_EVENT_WILL_STOP,", "\tannounce_decision(step, index, POLICY_EVENT_WILL_STOP,"),
    ("takes a late answer", CORE, " || tunnel->deadline_usec <= step->now || step->life->stopping)\n\t\t\tcontinue;\n\t\tstep_resolve_pending(step, i, event->restart", ")\n\t\t\tcontinue;\n\t\tstep_resolve_pending(step, i, event->restart"),
    ("a connect has no number", DECIDE, "effect->decision_id = ++step->life->next_decision;", "effect->decision_id = 0;"),
    ("a connect of nobody is told as one of somebody", DECIDE, "effect->missing = connects &&", "effect->missing = connects && index == LIFECYCLE_NONE &&"),
    ("what follows a decision has another number", DECIDE, "\t\teffect->decision_id = step_tunnel(step, index)->pending.id;", "\t\teffect->decision_id = step->life->next_decision;"),
    ("a timeout is told as an answer", CORE, "&lifecycle_plain_terminate, DECIDED_BY_TIMEOUT);", "&lifecycle_plain_terminate, DECIDED_BY_ANSWER);"),
    ("what limits make of what follows is not told", DECIDE, "struct effect *effect = announce_decision(step, index, POLICY_EVENT_WILL_STOP, &decision);",
     "struct effect *effect = announce_decision(step, index, POLICY_EVENT_WILL_STOP, &(struct policy_decision){.rule = rule, .action = action});"),
    ("what follows is told as of the running policy", DECIDE, "\teffect->policy = policy;\n", ""),
    ("another policy's counts make a delay grow", DECIDE, "policy_same(policy, step->life->policy) ? rule : POLICY_RULE_NONE", "rule"),
    ("decides anew on what was decided", CORE, "} else if (pending->decided) {", "} else if (pending->decided && step->now == 0) {"),
    ("a connection without a time limit", CORE, "\ttunnel->deadline_usec = add_usec(step->now, tunnel->connect_timeout_usec);\n\tstep_gate(step);", "\ttunnel->deadline_usec = USEC_INFINITY;\n\tstep_gate(step);"),
    # ---- the disk, and daemons that die ----
    ("starts before it is recorded", MOVES, "\t\tstep_supersede_others(step, index);\n\tstep_record(step);\n", "\t\tstep_supersede_others(step, index);\n"),
    ("closes for one what opens for another, before it is recorded", CORE, "\trecord_before_opening(&step, before);\n", "\t(void)before;\n\t(void)record_before_opening;\n"),
    ("a question that was answered comes back", MOVES, "\tif (step_tunnel(step, index)->pending.kind == PENDING_ASK)\n\t\tstep_record(step);", "\t(void)step_record;"),
    ("a question that a wait replaced comes back", DECIDE, " || decision.action->type == POLICY_ACTION_WAIT)) /*", ")) /*"),
    ("loses what is pending over a crash", SAVED, "\ttunnel->pending = pending;\n", ""),
    ("a question's deadline begins anew with the daemon", SAVED, "\tif (same_boot && json_object_object_get(object, \"deadlineUsec\"))\n\t\treturn saved_number(object, \"deadlineUsec\");\n", "\t(void)same_boot;\n"),
    ("forgets over a crash that it is wanted", SAVED, "json_object_new_boolean(tunnel->wanted)", "json_object_new_boolean(false)"),
    ("forgets over a crash how often it restarted", SAVED, "\tif (same_boot)\n\t\tload_restarts(json_object_object_get(object, \"restarts\"), &tunnel->history);\n", "\t(void)load_restarts;\n"),
    ("forgets over a crash how often a rule decided", SAVED, "\tload_rule_counts(json_object_object_get(object, \"ruleCounts\"), policy, &tunnel->history);\n", "\t(void)load_rule_counts;\n"),
    ("keeps another policy's counts over a crash", SAVED, "strcmp(saved_text(object, \"policy\"), policy_hash(policy)) != 0 || ", ""),
    ("loses a policy's limits over a crash", REMNANT, "\tif (limits)\n\t\tjson_object_object_add(object, \"limits\", json_object_get(limits));\n", "\t(void)limits;\n"),
    ("loses over a crash which policy asked", REMNANT, "\t\tmemcpy(policy->hash, json_object_get_string(hash), POLICY_HASH_MAX);\n", "\t\t(void)hash;\n"),
    # ---- effects that fail ----
    ("goes on after an effect that failed", NAMES, "\tcase EFFECT_WORKER_PROCEED:\n\tcase EFFECT_LINK_CONFIGURE:\n\t\treturn true;", "\tcase EFFECT_WORKER_PROCEED:\n\tcase EFFECT_LINK_CONFIGURE:\n\t\treturn false;"),
    ("does not hear of an effect that failed", TURN, "\t\tpost_first(turn, &failure);\n", "\t\t(void)post_first;\n"),
    ("leaves another tunnel's start undone", CORE, "\t\telse if (event->undone & 1u << i)\n", "\t\telse if (event->undone & 1u << i && step->now == 0)\n"),
]
