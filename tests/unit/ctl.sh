#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# holdfastctl against a small server: what it prints is compared whole with golden/ctl/NAME (both streams and the exit code), what it
# sends with what the server saw. HOLDFAST_REFRESH=1 rewrites the golden files.

golden="${srcdir:-.}/tests/unit/golden/ctl"
ctl="$(pwd)/holdfastctl"
server="${srcdir:-.}/tests/unit/fake-api.py"
folder=$(mktemp -d /tmp/holdfast-test-ctl-XXXXXX) || exit 1
socket="$folder/api.sock"
number=0
pid=""
export TZ=UTC LC_ALL=C.UTF-8
unset HOLDFAST_SOCKET NO_COLOR

stop() {
	[ -n "$pid" ] && kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	pid=""
}
trap 'stop; rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM PIPE

# Starts the server with the options given and returns once it listens.
serve() {
	stop
	rm -f "$folder/ready" "$socket.log"
	mkfifo "$folder/ready"
	/usr/bin/python3 "$server" "$socket" "$@" >"$folder/ready" &
	pid=$!
	read -r _ <"$folder/ready"
}

result() { # GOOD PROPERTY
	number=$((number + 1))
	if [ "$1" = yes ]; then echo "ok $number - ctl: $2"; else echo "not ok $number - ctl: $2"; fi
}

# Runs holdfastctl with the arguments, and compares everything it says with golden/ctl/NAME.
check() { # NAME PROPERTY ARGUMENT...
	name=$1 property=$2
	shift 2
	"$ctl" --socket "$socket" "$@" >"$folder/out" 2>"$folder/err" <"${input:-/dev/null}"
	{
		echo "exit $?"
		cat "$folder/out"
		[ -s "$folder/err" ] && echo "--- errors ---" && cat "$folder/err"
	} | sed "s|$folder|FOLDER|g" >"$folder/is"
	if [ -n "$HOLDFAST_REFRESH" ]; then cp "$folder/is" "$golden/$name"; fi
	if cmp -s "$golden/$name" "$folder/is"; then
		result yes "$property"
	else
		result no "$property"
		diff -u "$golden/$name" "$folder/is" | sed 's/^/# /'
	fi
}

equal() { # PROPERTY IS SHOULD
	if [ "$2" = "$3" ]; then result yes "$1"; else
		result no "$1"
		printf '%s\n' "is: $2" "should: $3" | sed 's/^/# /'
	fi
}

sent() { tail -n 1 "$socket.log"; }

# --- status ---
serve
check status-protected "a protected machine is told so in one sentence" status
check status-protected "status is what is meant where nothing is said"
serve status=asking
check status-asking "a pending decision says how to answer it, and a server's escape sequences do not reach the terminal" status
serve status=waiting
check status-waiting "a wait says for what" status
serve status=failing
check status-failing "a gate that fails is never silent, and exits 3" status
serve status=faults
check status-faults "documents that cannot be used and a journal that is not written are shown" status
serve status=off
check status-off "nothing held exits 3" status

serve status=failed
check status-failed "a tunnel that failed says the way on" status
check up-failed "up of a tunnel that fails says why, and how to go on" up broken
check restart-failed "restart of a tunnel that fails says why" restart home --wait 1s
serve status=wayout
check status-wayout "that the way out was taken is said on standard error, and exits 3" status
check up-wayout "up while the way out is taken says that the gate is open, and exits 3" up home

# --- the doctor ---
serve
check doctor-nothing "a doctor who finds nothing says so" doctor
serve status=waiting
check doctor-notices "notices alone are no alarm" doctor
serve status=asking
check doctor-warnings "a warning exits 8; what to do stands below each finding" doctor
serve status=failing
check doctor-errors "an error exits 9" doctor
check doctor-json "findings come as the daemon told them with --json, and the exit code stays" --json doctor
serve status=off
check doctor-unknown "a severity that is not known yet counts as the worst" doctor

# --- tunnels ---
serve
check up "up waits and says connected" up home
check up-timeout "up that does not get there exits 1" up home --wait 2s
check up-no-wait "up need not wait" up home --no-wait
check up-json "the daemon's answer comes as it is with --json" --json up home
check up-unknown "an unknown tunnel exits 6" up nowhere
check up-bad-wait "a wait that is no duration exits 2" up home --wait=soon
check down "down says that it was so already" down home
check restart "restart says connected" restart home
check tunnel-list "tunnels are listed in a table" tunnel list
check tunnel-list-json "a list comes as it is with --json" tunnel list --json
check tunnel-show "a tunnel's document is indented" tunnel show home
check tunnel-show-unknown "a tunnel that is not there exits 6" tunnel show nowhere
echo '{"id":"home"}' >"$folder/home.json"
check tunnel-add-exists "a tunnel that exists exits 7" tunnel add "$folder/home.json"
check tunnel-set "a document that stands already changes nothing" tunnel set home "$folder/home.json"
equal "what is replaced is replaced whatever stands there" "$(sent)" 'PUT /v1/tunnels/home * application/json {"id":"home"}'
check tunnel-delete "a tunnel is deleted" tunnel delete home
printf '[Interface]\n' >"$folder/My-Office vpn 2.conf"
check import "the id is made of the file's name, and what is not done is said" import "$folder/My-Office vpn 2.conf"
equal "an imported file is sent as it is" "$(sent)" "POST /v1/tunnels/import?id=my_office_vp - application/octet-stream [Interface]"
input="$folder/home.json" check import-stdin "a file may come from standard input" import - x9
check import-bad "what is wrong with a file is told with its name and lines" import "$folder/My-Office vpn 2.conf" bad
input="$folder/home.json" check import-alone "one sentence is not told twice, and standard input has a name" import - alone
check dry-run "a dry run says what would be, and nothing else" up home --dry-run
check dry-run-same "a dry run of what is so already says that" mode always --dry-run
input="$folder/home.json" check dry-run-warnings "a dry run tells the warnings, and adds to what the request asks for anyway" import - x9 --dry-run
check dry-run-exec "a dry run starts no program" exec --dry-run -- /bin/echo started
check import-missing "a file that is not there is named" import "$folder/missing.conf"

# --- kill switch ---
check mode-show "mode alone shows it" mode
check mode-set "mode sets it" mode always
check mode-forbidden "what is not allowed exits 5" mode off
check release "release says until when" release "captive portal" --for 2m
equal "release sends reason and time" "$(sent)" 'POST /v1/kill-switch/release - application/json {"reason":"captive portal","for":"2m"}'

# --- policy ---
check policy-show "the policy is shown as it is" policy show
check policy-set-invalid "every error of a document is told, with its place" policy set "$folder/home.json"
echo good >"$folder/good.json"
check policy-check-good "a good policy has no errors, and its warnings are told" policy check "$folder/good.json"
check policy-check-bad "a bad policy exits 1" policy check "$folder/home.json"
check policy-evaluate "an evaluation tells which rule decides, and why the others not" policy evaluate "$folder/home.json"
echo '{"event":"boot"}' >"$folder/boot.json"
check policy-evaluate-nothing "what is not known does not read as what does not hold, nor nothing as a decision" policy evaluate "$folder/boot.json"
cat >"$folder/cases.json" <<'END'
[
  {"name": "restarts", "event": "willStop", "context": {"tunnel": "home"},
   "expect": {"decision": {"action": "restart"}, "rule": {"index": 1}, "delay": "1s", "limited": false}},
  {"name": "blocks", "event": "willStop", "context": {"tunnel": "home"}, "expect": {"decision": {"action": "terminate"}}},
  {"name": "by another rule", "event": "willStop", "context": {"tunnel": "home"}, "expect": {"rule": {"index": 0}}},
  {"name": "its own policy", "event": "willStop", "context": {"tunnel": "home"}, "policy": {"version": 1}, "expect": {"limited": true}}
]
END
echo '[{"name": "asks", "event": "willStop", "context": {}, "expect": {"delay": "1s"}}]' >"$folder/one.json"
echo '[{"name": "asks", "event": "willStop", "context": {}, "expect": {"delay": {}}}, {"name": "none"}]' >"$folder/none.json"
echo '[{"name": "asks", "event": "willStop", "context": {}, "expect": {"decison": null}}]' >"$folder/misspelt.json"
cat >"$folder/odd.json" <<'END'
[
  {"name": "in other units", "event": "willStop", "context": {}, "expect": {"delay": "1000ms", "decision": {"delay": "1000ms"}}},
  {"name": "an action", "event": "boot", "expect": {"decision": {}}},
  {"name": "nothing", "event": "boot", "expect": {"decision": null}}
]
END
check policy-test "cases that decide otherwise exit 1" policy test "$folder/cases.json"
equal "a case asks without its name and expectation" "$(sent)" \
	'POST /v1/policy/evaluate - application/json {"event":"willStop","context":{"tunnel":"home"},"policy":{"version":1}}'
check policy-test-policy "cases may be judged under a policy in a file" policy test "$folder/one.json" --policy "$folder/home.json"
equal "that policy is sent along" "$(sent)" \
	'POST /v1/policy/evaluate - application/json {"event":"willStop","context":{},"policy":{"id":"home"}}'
"$ctl" --socket "$socket" policy test "$folder/cases.json" --policy "$folder/home.json" >/dev/null
equal "a case's own policy wins" "$(sent)" \
	'POST /v1/policy/evaluate - application/json {"event":"willStop","context":{"tunnel":"home"},"policy":{"version":1}}'
check policy-test-none "a case must say what it expects, and of the whole answer" policy test "$folder/none.json"
check policy-test-misspelt "a member that no answer has is refused, and does not pass as null" policy test "$folder/misspelt.json"
check policy-test-odd "durations are equal in any unit, and nothing is no action" policy test "$folder/odd.json"
check policy-test-bad "what is no array of cases is refused" policy test "$folder/home.json"
input="$folder/good.json" check policy-test-broken "what is no JSON is named" policy test -
check decide "a decision is answered" decide 7 restart
check decide-late "a late answer exits 7" decide 7 terminate
check decide-wrong "what is no answer exits 2" decide 7 maybe
check decide-name "where nobody is asked, it is said where the number would stand" decide home restart
serve status=asking
check decide-tunnel "a tunnel's name in place of the number is answered with the command to use" decide home restart
serve

# --- events ---
check events "events are a line each" events
check events-after "events can be narrowed, and a gap is told" events --after 41 --tunnel home
check events-follow "events are followed until the daemon ends" events -f
check events-follow-json "followed events are a JSON object a line" events -f --after 42 --json
check events-beyond "an event that has not happened yet is no gap" events --after 99
check events-follow-beyond "nor is it while following" events -f --after 99
check events-bad-after "an id is a number" events --after 'x&y'
check events-filters "events are of a tunnel, a kind, a span of time, and at most so many" events --tunnel home --kind stateChanged \
	--since 2026-11-22T16:20:00+01:00 --until 2026-11-22T15:21:00Z --limit 2
check events-bad-since "a time that is none is told with its place" events --since yesterday
check events-bad-limit "a limit is a count" events --limit 0
check events-follow-kind "followed events are narrowed too" events -f --kind modeChanged
check events-follow-since "following knows no span of time" events -f --since 2026-11-22T15:21:00Z
equal "more than one page is printed to its end, each event once" "$("$ctl" --socket "$socket" events --kind many | awk '{print $4}' | uniq -c | tr -d ' \n')" 1007many
check decisions "decisions are a line each" decisions

# --- the command line itself ---
check help "help is made of the table" --help
check help-command "each command has its own help" help up
check help-group "a group of commands has help of its own" tunnel --help
check usage-no-operands "a usage line ends with its last word" status now
check usage-unknown "an unknown command exits 2" explode
check usage-half "half a command names its other halves" tunnel
check usage-operands "a missing operand exits 2" up
check usage-option "an option of another command exits 2" down home --for 5m
check usage-unknown-option "an unknown option exits 2" up home --fast
for shell in bash zsh fish; do
	check "completion-$shell" "the completion for $shell is the one that is installed" --completion "$shell"
done
check candidates-commands "commands are completed" --completion candidates -- ""
check candidates-tunnels "tunnels are completed" --completion candidates -- tunnel show ""
check candidates-second "operands after options are completed" --completion candidates -- decide --socket x 7 ""
check candidates-files "files are left to the shell" --completion candidates -- import ""
check candidates-options "options of the command are completed" --completion candidates -- up --
completed=$(PATH="$(pwd):$PATH" HOLDFAST_SOCKET="$socket" bash -c '
	eval "$(holdfastctl --completion bash)"; COMP_WORDS=(holdfastctl mode a); COMP_CWORD=2; _holdfastctl; echo "${COMPREPLY[@]}"')
equal "bash completes through it" "$completed" "auto always"

# --- tokens and certificates ---
check token-list "tokens are listed with their ends" token list
check token-create "a token is printed alone, and how to revoke it beside it" token create ci control --lifetime 90d
check token-revoke "a token is revoked by its id" token revoke 9f86d081884c7d65
check token-unknown "an unknown token exits 6" token revoke none
"$ctl" tls init "$folder/tls" --host gw.example,192.0.2.7 >"$folder/out"
equal "tls init makes keys that only their owner reads" "$(cd "$folder/tls" && stat -c '%n %a' *.key *.pem | tr '\n' ' ')" \
	"ca.key 600 client.key 600 server.key 600 ca.pem 644 client.pem 644 server.pem 644 "
verified=$(cd "$folder/tls" && openssl verify -x509_strict -CAfile ca.pem -purpose sslserver -verify_hostname gw.example server.pem 2>&1 &&
	openssl verify -x509_strict -CAfile ca.pem -purpose sslserver -verify_ip 192.0.2.7 server.pem 2>&1 &&
	openssl verify -x509_strict -CAfile ca.pem -purpose sslclient client.pem 2>&1)
equal "its certificates verify for what they are" "$(echo "$verified" | tr '\n' ' ')" "server.pem: OK server.pem: OK client.pem: OK "
crossed=$(cd "$folder/tls" && openssl verify -CAfile ca.pem -purpose sslserver client.pem >/dev/null 2>&1 || echo refused)
equal "a client's certificate is no server's" "$crossed" refused
check tls-again "what stands is not overwritten" tls init "$folder/tls"
check tls-host "a host that is none is refused, and nothing made" tls init "$folder/other" --host "gw.example,no host"
[ -e "$folder/other" ] && result no "nothing was made" || result yes "nothing was made"

# --- watching ---
check status-watch "status --watch begins with the status as it is" status --watch

# --- a terminal, and none ---
colours=$(TERM=xterm script -qec "$ctl --socket $socket status" /dev/null | grep -c "$(printf '\033')\[32m")
plain=$(NO_COLOR=1 TERM=xterm script -qec "$ctl --socket $socket status" /dev/null | grep -c "$(printf '\033')")
equal "colours on a terminal, none with NO_COLOR" "$colours/$plain" "2/0"
progress=$(TERM=dumb script -qec "$ctl --socket $socket up home" /dev/null | tr -d '\r' | tail -n 1)
equal "up on a terminal ends with the result" "$progress" "home is connected"

# --- no daemon, or one that hangs ---
stop
check daemon-absent "without a daemon it says so and exits 4" status
cat >"$folder/holdfastd" <<'END'
#!/bin/sh
echo "holdfastd $* with $(cat "$3/released")"
exit "${FAKE_STATUS:-0}"
END
chmod +x "$folder/holdfastd"
export HOLDFAST_DAEMON="$folder/holdfastd"
check release-dead "release without a daemon writes the marker first, then has the kernel's objects removed" \
	release --state-dir "$folder/state" "cut off"
export FAKE_STATUS=1
check release-failed "a release that fails says what is left" release --state-dir "$folder/state"
unset FAKE_STATUS
: >"$folder/file"
check release-no-marker "without the marker nothing is removed" release --state-dir "$folder/file"
rm -rf "$folder/state"
serve hang
begun=$(date +%s)
check release-hung "release does not wait for a daemon that hangs" release --state-dir "$folder/state" "cut off"
took=$(($(date +%s) - begun))
check status-hung "status gives up on a daemon that hangs, and names the way out" status
if [ "$took" -ge 3 ] && [ "$took" -le 8 ]; then result yes "it waits three seconds"; else result no "it waits three seconds (took $took)"; fi

echo "1..$number"
