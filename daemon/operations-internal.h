/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the handlers of operations share. */

#include "daemon/manager.h"
#include "daemon/operations.h"

/* The end of a call: exactly one of these, once. The call may be gone when they return. */
void call_finish(struct operation_call *call, enum outcome outcome);
void call_fail(struct operation_call *call, enum outcome outcome, const char *format, ...) _printf_(3, 4);
void call_fail_document(struct operation_call *call, const char *what); /* with call->problems */
/* Answers with the tunnel's state: now, or when it has settled, or after WAIT_USEC. */
void call_answer_when_settled(struct manager *manager, struct operation_call *call, size_t index, uint64_t wait_usec);

void call_result(struct operation_call *call, const char *key, json_object *value); /* takes VALUE */
void call_answer_changed(struct operation_call *call, bool changed); /* the end of a write that went well */
const char *call_text(const struct operation_call *call, const char *name); /* NULL: not given */
uint64_t call_number(const struct operation_call *call, const char *name, uint64_t otherwise);
/* False: the call has been answered with 428, 412 or 409. */
bool call_matches(struct operation_call *call, const char *etag);
bool call_unmanaged(struct operation_call *call, const struct document *document, const char *folder, const char *name);

/* The tunnel that the call names, or LIFECYCLE_NONE with the call answered. */
size_t call_find_tunnel(struct manager *manager, struct operation_call *call);

/* credentials.c */
void handle_provide_credentials(struct manager *manager, struct operation_call *call);
/* operations-gate.c */
void handle_get_status(struct manager *manager, struct operation_call *call);
void handle_get_kill_switch(struct manager *manager, struct operation_call *call);
void handle_replace_kill_switch(struct manager *manager, struct operation_call *call);
void handle_update_kill_switch(struct manager *manager, struct operation_call *call);
void handle_set_mode(struct manager *manager, struct operation_call *call);
void handle_confirm_kill_switch(struct manager *manager, struct operation_call *call);
void handle_release(struct manager *manager, struct operation_call *call);
void handle_list_events(struct manager *manager, struct operation_call *call);
/* diagnose.c */
void handle_diagnose(struct manager *manager, struct operation_call *call);
/* operations-tokens.c */
void handle_list_tokens(struct manager *manager, struct operation_call *call);
void handle_create_token(struct manager *manager, struct operation_call *call);
void handle_revoke_token(struct manager *manager, struct operation_call *call);
/* operations-bypass.c */
void handle_list_bypass(struct manager *manager, struct operation_call *call);
void handle_add_bypass(struct manager *manager, struct operation_call *call);
void cancel_add_bypass(struct operation_call *call); /* whoever asks is gone */
void handle_remove_bypass(struct manager *manager, struct operation_call *call);
/* operations-tunnels.c */
void handle_list_tunnels(struct manager *manager, struct operation_call *call);
void handle_get_tunnel(struct manager *manager, struct operation_call *call);
void handle_create_tunnel(struct manager *manager, struct operation_call *call);
void handle_replace_tunnel(struct manager *manager, struct operation_call *call);
void handle_delete_tunnel(struct manager *manager, struct operation_call *call);
void handle_import_tunnel(struct manager *manager, struct operation_call *call);
void handle_start_tunnel(struct manager *manager, struct operation_call *call);
void handle_stop_tunnel(struct manager *manager, struct operation_call *call);
void handle_restart_tunnel(struct manager *manager, struct operation_call *call);
/* operations-policy.c */
void handle_get_policy(struct manager *manager, struct operation_call *call);
void handle_replace_policy(struct manager *manager, struct operation_call *call);
void handle_validate_policy(struct manager *manager, struct operation_call *call);
void handle_evaluate_policy(struct manager *manager, struct operation_call *call);
void handle_answer_decision(struct manager *manager, struct operation_call *call);
void handle_list_decisions(struct manager *manager, struct operation_call *call);
