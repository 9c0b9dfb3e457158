# SPDX-License-Identifier: LGPL-2.1-or-later
"""Decisions on a real tunnel: asked of somebody, explained, and by which policy."""

import json
import os
import re
import signal
import time

from lab.api import seconds_of
from lab.daemon import ASK, RESTART_AT_ONCE, TERMINATE, WAIT_LONG, policy
from lab.leaks import SERVER
from lab.on_bus import NAME, ROOT, OnBus, plain, typed

POLICY = f"{NAME}.Policy"


def by_rest(on_bus, decision, restart):
    answer = on_bus.daemon.api.call("POST", f"/decisions/{decision}/answer", {"restart": restart})
    return answer.body.get("code", "done")


def by_bus(on_bus, decision, restart):
    done = on_bus.run(["gdbus", "call", "--address", on_bus.bus.address, "--dest", NAME, "--object-path", ROOT, "--method",
                       f"{POLICY}.AnswerDecision", str(decision), str(restart).lower()])
    found = re.search(rf"{NAME}\.Error\.(\w)(\w*)", done.stderr)
    assert found or done.returncode == 0, done
    return found[1].lower() + found[2] if found else "done"


def by_command(on_bus, decision, restart):
    done = on_bus.daemon.ctl("--json", "decide", str(decision), "restart" if restart else "terminate")
    return json.loads(done.stdout).get("code", "done") if done.returncode else "done"


def ask(on_bus, watch):
    """Has a rule ask; the decision's id, as the event tells it."""
    os.kill(on_bus.daemon.client_pid(), signal.SIGKILL)
    return watch.wait(kind="decisionPending")["decision"]


def guarded_on_bus(lab, policy):
    """A daemon on the bus with the tunnel `home`, connected, and its events from then on."""
    on_bus = OnBus(lab)
    on_bus.daemon.policy(policy)
    on_bus.daemon.add_tunnel(lab.server().document())
    on_bus.daemon.api.start()
    return on_bus, on_bus.daemon.api.watch()


def test_answered_through_each_front(lab):
    """a question is answered once, through REST, D-Bus or the command line; nothing leaves before; a late or second answer is refused by name"""
    lab.leaks.prove()
    on_bus, watch = guarded_on_bus(lab, ASK)
    for answer in (by_rest, by_bus, by_command):
        decision = ask(on_bus, watch)
        pending = on_bus.daemon.api.tunnel()["pendingDecision"]
        assert (pending["id"], pending["waitsFor"], pending["error"]) == (decision, "ask", "workerCrashed") and pending["deadline"], pending
        assert answer(on_bus, 4711, True) == "decisionNotFound"
        assert on_bus.daemon.api.tunnel()["state"] == "deciding"
        assert answer(on_bus, decision, True) == "done"
        watch.wait_state("connected")
        for late in (by_rest, by_bus, by_command):
            assert late(on_bus, decision, False) == "decisionAnswered", late
        assert on_bus.daemon.api.tunnel()["state"] == "connected"
    ask(on_bus, watch)
    lab.leaks.closed()
    assert by_command(on_bus, on_bus.daemon.api.tunnel()["pendingDecision"]["id"], False) == "done"
    watch.wait_state("failed")
    lab.leaks.closed([SERVER])


def test_question_is_signalled(lab):
    """a question is a signal on the bus, with the decision's id, the tunnel, the error and the deadline"""
    on_bus, watch = guarded_on_bus(lab, ASK)
    monitor = on_bus.monitor("--object-path", ROOT)
    decision = ask(on_bus, watch)
    deadline = on_bus.daemon.api.tunnel()["pendingDecision"]["deadline"]
    found = None
    while not found:
        line = monitor.stdout.readline()
        assert line, "gdbus ended"
        found = re.search(r"DecisionPending \(uint64 (\d+), '(\w+)', '(\w+)', '([^']+)'\)", line)
    monitor.kill()
    monitor.wait()
    assert found.groups()[:3] == (str(decision), "home", "workerCrashed"), found.groups()
    assert abs(seconds_of(found[4]) - seconds_of(deadline)) < 60, (found.groups(), deadline)


def test_deadline_stays(lab):
    """a question's deadline does not move while the daemon is dead, however long that takes"""
    daemon, _ = lab.guarded(policy=ASK)
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait(kind="decisionPending")
    before = daemon.api.tunnel()["pendingDecision"]
    daemon.kill()
    begun = time.monotonic()
    while time.monotonic() - begun < 2:
        lab.leaks.closed()
    dead = time.monotonic() - begun
    daemon.start()
    after = daemon.api.tunnel()["pendingDecision"]
    moved = seconds_of(after["deadline"]) - seconds_of(before["deadline"])
    assert after["id"] == before["id"] and abs(moved) < dead / 2, (before, after, dead)


def test_answer_outlives_the_daemon(lab):
    """an answer that was confirmed is on record though the daemon is killed at once"""
    daemon, _ = lab.guarded(policy=ASK)
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    decision = watch.wait(kind="decisionPending")["decision"]
    assert daemon.api.call("POST", f"/decisions/{decision}/answer", {"restart": False}).status == 200
    daemon.kill()
    daemon.start()
    told = [(row["decision"], row["by"], row["action"]["action"]) for row in daemon.api.get("/decisions")["events"]]
    assert told == [(decision, "policy", "ask"), (decision, "answer", "terminate")], told


def test_connecting_nobody_is_told(lab):
    """a policy that names a tunnel which is not there is warned of; its connect is on record, with a number of its own, and as of nobody"""
    daemon = lab.daemon()
    watch = daemon.api.watch()
    document = policy(({"event": "networkLost"}, {"action": "connect", "tunnel": "nobody"}))
    for answer in (daemon.api.call("POST", "/policy/validate", document), daemon.api.call("PUT", "/policy", document, headers={"If-Match": "*"})):
        assert [warning["pointer"] for warning in answer.body["warnings"]] == ["/rules/0/then/tunnel"], answer
    lab.ip("link", "set", "eth0", "down")
    event = watch.wait(kind="decision")
    assert (event["decision"], event["tunnel"], event["missing"], event["by"]) == (1, None, "nobody", "policy"), event
    assert event == daemon.api.get("/decisions")["events"][-1]


def around(shift):
    """The time of day SHIFT minutes from now, a quarter of an hour before and after, in UTC."""
    return dict(zip(("from", "to"), (time.strftime("%H:%M", time.gmtime(time.time() + 60 * (shift + side))) for side in (-15, 15))))


def zone(begins=None, ends=None):
    """A zone at UTC, an hour ahead in summer, which BEGINS or ENDS so many minutes from now, by the clock that stands before it."""
    far = time.gmtime(time.time() + 182 * 86400)

    def rule(minutes):
        then = time.gmtime(time.time() + 60 * minutes)
        return f"{then.tm_yday - 1}/{then.tm_hour}:{then.tm_min}"

    return "STD0DST-1," + (f"{rule(begins)},{far.tm_yday - 1}/2" if begins is not None else f"{far.tm_yday - 1}/2,{rule(ends + 60)}")


def test_span_over_summer_time(lab):
    """rules with a span of the day go by the clock on the wall before and after summer time begins and ends"""
    rules = [({"time": around(shift)}, {"action": "restart"}) for shift in (0, 60)]
    daemon, _ = lab.guarded(policy=policy(*rules))
    for clock, rule in ((zone(begins=30), 0), (zone(begins=-30), 1), (zone(ends=30), 1), (zone(ends=-30), 0)):
        daemon.kill()
        daemon.start(TZ=clock)
        daemon.wait_connected()
        watch = daemon.api.watch()
        os.kill(daemon.client_pid(), signal.SIGKILL)
        assert watch.wait(kind="decision")["ruleIndex"] == rule, clock
        watch.wait_state("connected")


def test_evaluated_the_same_everywhere(lab):
    """EvaluatePolicy gives the same answer through REST, D-Bus and the command line, under the policy given and under the running one"""
    on_bus = OnBus(lab)
    daemon = on_bus.daemon
    daemon.policy(TERMINATE)
    question = {"event": "willStop", "context": {"tunnel": "home", "error": "workerCrashed", "attempt": 2}}
    answers = []
    for asked in (question | {"policy": WAIT_LONG}, question):
        rest = daemon.api.post("/policy/evaluate", asked)
        command = daemon.ctl("--json", "policy", "evaluate", "-", input=json.dumps(asked))
        assert command.returncode == 0, command
        bus = on_bus.call(ROOT, POLICY, "Evaluate", *typed(asked))
        assert rest == json.loads(command.stdout) == plain(bus[0]), (rest, command, bus)
        answers.append(rest["decision"]["action"])
    assert answers == ["restart", "terminate"], answers
    assert daemon.api.get("/policy") == TERMINATE


def test_record_names_its_policy(lab):
    """a decision's record names the policy by its hash, the one that decided and not the one that came after"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()

    def decide():
        os.kill(daemon.client_pid(), signal.SIGKILL)
        decision = watch.wait(kind="decision")
        watch.wait_state("connected")
        return decision["policy"]

    first = decide()
    daemon.policy(RESTART_AT_ONCE | {"name": "another"})
    second = decide()
    assert first != second and len(first) == len(second) >= 16, (first, second)
    assert [row["policy"] for row in daemon.api.get("/decisions")["events"]][-2:] == [first, second]


def reload(daemon):
    """SIGHUP, and until it was done."""
    before = daemon.process.log().count("reloading")
    daemon.process.send(signal.SIGHUP)
    daemon.process.wait_log("reloading", before + 1)
    return daemon.api.status()


def write(daemon, name, content):
    with open(f"{daemon.config_dir}/{name}", "w") as file:
        file.write(content if isinstance(content, str) else json.dumps(content))


def test_reload_of_policy_and_kill_switch(lab):
    """SIGHUP takes over the administrator's policy and kill switch; an error is told in the log, the status and an event, and what runs stays"""
    daemon = lab.daemon()
    watch = daemon.api.watch()
    write(daemon, "policy.json", RESTART_AT_ONCE)
    write(daemon, "kill-switch.json", {"mode": "always"})
    status = reload(daemon)
    assert (status["policy"]["source"], status["gate"]["mode"], status["documentErrors"]) == ("file", "always", None), status
    assert watch.wait(kind="documentChanged", document="kill-switch")["by"] == "reload"
    assert watch.wait(kind="documentChanged", document="policy")["by"] == "reload"
    for path, body in (("/policy", TERMINATE), ("/kill-switch", {"mode": "auto"}), ("/kill-switch/mode", {"mode": "auto"})):
        answer = daemon.api.call("PUT", path, body, headers={"If-Match": "*"})
        assert (answer.status, answer.body.get("code")) == (409, "managedByFile"), (path, answer)

    bad = {"policy.json": {"version": 1, "rules": [{"when": {"error": "nope"}, "then": {"action": "restart"}}]}, "kill-switch.json": '{"mode": "au'}
    good = {"policy.json": RESTART_AT_ONCE, "kill-switch.json": {"mode": "always"}}
    for name, content in bad.items():
        write(daemon, name, content)
        broken = reload(daemon)
        assert f"{daemon.config_dir}/{name}" in broken["documentErrors"], broken
        assert broken["policy"] == status["policy"] and broken["gate"]["mode"] == "always" and broken["gate"]["kernel"] == "closed", broken
        assert f"{daemon.config_dir}/{name}" in watch.wait(kind="documentRefused")["errors"]
        assert f"{daemon.config_dir}/{name}" in daemon.process.log()
        assert name in daemon.ctl("status").stdout
        assert daemon.api.get("/policy") == RESTART_AT_ONCE
        write(daemon, name, good[name])
        assert reload(daemon)["documentErrors"] is None


def test_link_that_leads_nowhere(lab):
    """an administrator's file that is a link to nothing is one that cannot be read, and not one that is missing: it is told, and never opens anything"""
    daemon = lab.daemon()
    daemon.policy(TERMINATE)
    before = daemon.api.status()["policy"]
    for name in ("policy.json", "kill-switch.json"):
        os.symlink("/run/lab/nowhere", f"{daemon.config_dir}/{name}")
        status = reload(daemon)
        assert f"{daemon.config_dir}/{name}" in status["documentErrors"] and status["policy"] == before, status
    daemon.kill()
    daemon.start()
    status = daemon.api.status()
    assert "policy.json" in status["documentErrors"] and status["policy"]["name"] == "default", status
    assert (status["gate"]["mode"], status["gate"]["kernel"]) == ("always", "closed"), status


def test_reload_keeps_what_was_given(lab):
    """a file of the administrator's that cannot be used does not make the policy that was given over the API the built-in one"""
    daemon = lab.daemon()
    daemon.policy(TERMINATE)
    before = daemon.api.status()["policy"]
    write(daemon, "policy.json", "{")
    assert before["source"] == "api" and reload(daemon)["policy"] == before


def test_reload_changes_nothing(lab):
    """a reload of the same policy leaves its growing delays as they were"""
    delay = {"action": "restart", "delay": {"initial": "5ms", "factor": 100, "max": "1h"}}
    daemon, _ = lab.guarded(policy={"version": 1, "name": "slower", "stableAfter": "1h", "rules": [{"then": delay}]})
    write(daemon, "policy.json", daemon.api.get("/policy"))
    watch = daemon.api.watch()
    for _ in range(2):
        os.kill(daemon.client_pid(), signal.SIGKILL)
        watch.wait_state("connected")
        reload(daemon)
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    before = daemon.api.tunnel()["pendingDecision"]
    assert before["waitsFor"] == "delay" and before["deadline"], before
