/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The table of commands and of options. */

#include <string.h>

#include "ctl/command.h"

const struct option_row option_rows[OPTION_COUNT] = {
#define OPTION(constant, name, letter, value, summary) [OPTION_##constant] = {name, letter, value, summary},
	OPTIONS(OPTION)
#undef OPTION
};

static const struct command commands[] = {
	{"status", "", "GetStatus", TAKES(WATCH), run_status, "what is protected, and what the tunnels do"},
	{"doctor", "", "Diagnose", 0, run_doctor, "what is wrong or out of reach on this machine, and what to do"},
	{"up", "ID", "StartTunnel", TAKES(WAIT) | TAKES(NO_WAIT) | TAKES(DRY_RUN), run_up, "start a tunnel"},
	{"down", "ID", "StopTunnel", TAKES(WAIT) | TAKES(NO_WAIT) | TAKES(DRY_RUN), run_down, "stop a tunnel"},
	{"restart", "ID", "RestartTunnel", TAKES(WAIT) | TAKES(NO_WAIT) | TAKES(DRY_RUN), run_restart, "restart a tunnel in place; the gate stays closed"},
	{"credentials", "ID", "ProvideCredentials", TAKES(DRY_RUN), run_credentials, "give a tunnel's client what it asks for; nothing is echoed"},
	{"mode", "[off|auto|always]", "SetMode", TAKES(CONFIRM_WITHIN) | TAKES(DRY_RUN), run_mode, "show or set when the gate is closed"},
	{"kill-switch show", "", "GetKillSwitch", 0, run_kill_switch_show, "the settings of the gate"},
	{"kill-switch set", "FILE", "ReplaceKillSwitch", TAKES(DRY_RUN), run_kill_switch_set, "replace the settings of the gate"},
	{"confirm", "", "ConfirmKillSwitch", TAKES(DRY_RUN), run_confirm, "let settings on trial stand (--confirm-within)"},
	{"release", "[REASON]", "Release", TAKES(FOR) | TAKES(STATE_DIR) | TAKES(DRY_RUN), run_release, "open the gate for a while; the way out"},
	{"bypass list", "", "ListBypass", 0, run_bypass_list, "what is granted past the tunnel"},
	{"bypass add", "unit|slice|user|address|domain NAME", "AddBypass", TAKES(FOR) | TAKES(DRY_RUN), run_bypass_add, "grant until it is taken back or until boot"},
	{"bypass remove", "GRANT", "RemoveBypass", TAKES(DRY_RUN), run_bypass_remove, "take a grant back, and cut its connections"},
	{"exec", "-- PROGRAM...", "AddBypass", TAKES(FOR) | TAKES(DRY_RUN), run_exec, "run a program past the tunnel"},
	{"import", "FILE [ID]", "ImportTunnel", TAKES(DRY_RUN), run_import, "make a tunnel of a wg-quick or .ovpn file"},
	{"tunnel list", "", "ListTunnels", 0, run_tunnel_list, "all tunnels"},
	{"tunnel show", "ID", "GetTunnel", 0, run_tunnel_show, "a tunnel's document, without its secrets"},
	{"tunnel add", "FILE", "CreateTunnel", TAKES(DRY_RUN), run_tunnel_add, "make a tunnel of a document"},
	{"tunnel set", "ID FILE", "ReplaceTunnel", TAKES(DRY_RUN), run_tunnel_set, "replace a tunnel's document"},
	{"tunnel delete", "ID", "DeleteTunnel", TAKES(DRY_RUN), run_tunnel_delete, "delete a tunnel"},
	{"policy show", "", "GetPolicy", 0, run_policy_show, "the policy"},
	{"policy set", "FILE", "ReplacePolicy", TAKES(DRY_RUN), run_policy_set, "replace the policy"},
	{"policy check", "FILE", "ValidatePolicy", 0, run_policy_check, "check a policy without using it"},
	{"policy evaluate", "FILE", "EvaluatePolicy", 0, run_policy_evaluate, "which rule would decide, and why the others not"},
	{"policy test", "CASES", "EvaluatePolicy", TAKES(POLICY), run_policy_test, "evaluate cases and compare with what they expect"},
	{"decide", "DECISION restart|terminate", "AnswerDecision", TAKES(DRY_RUN), run_decide, "answer a pending decision"},
	{"decisions", "", "ListDecisions", TAKES(AFTER) | TAKES(TUNNEL) | TAKES(SINCE) | TAKES(UNTIL) | TAKES(LIMIT), run_decisions,
		"what was decided, by which rule"},
	{"token list", "", "ListTokens", 0, run_token_list, "who may come in over TCP"},
	{"token create", "NAME read|control|admin", "CreateToken", TAKES(LIFETIME) | TAKES(DRY_RUN), run_token_create, "make a token; it is shown once"},
	{"token revoke", "TOKEN", "RevokeToken", TAKES(DRY_RUN), run_token_revoke, "make a token worthless, by its id"},
	{"tls init", "DIR", NULL, TAKES(HOST), run_tls_init, "make a CA, and certificates of the daemon and of a client"},
	{"events", "", "ListEvents",
		TAKES(FOLLOW) | TAKES(AFTER) | TAKES(TUNNEL) | TAKES(KIND) | TAKES(SINCE) | TAKES(UNTIL) | TAKES(LIMIT), run_events, "what happened"},
};

const struct command *commands_all(size_t *ret_count)
{
	*ret_count = ELEMENTSOF(commands);
	return commands;
}

size_t command_operands(const struct command *command, bool required_only)
{
	size_t count = 0;
	for (const char *word = command->operands; *word && *word != '-'; word += strspn(word, " ")) {
		count += !(required_only && *word == '[');
		word += strcspn(word, " ");
	}
	return count;
}
