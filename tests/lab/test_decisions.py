# SPDX-License-Identifier: LGPL-2.1-or-later
"""Decisions on a real tunnel: asked of somebody, explained, and by which policy."""

import json
import os
import re
import signal
import time

from lab.api import seconds_of
from lab.daemon import ASK, RESTART_AT_ONCE, TERMINATE, WAIT_LONG
from lab.leaks import SERVER
from lab.on_bus import NAME, ROOT, OnBus, plain

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
        bus = on_bus.call(ROOT, POLICY, "Evaluate", "s", json.dumps(asked))
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
    log = len(daemon.process.log())
    daemon.process.send(signal.SIGHUP)
    while "reloading" not in daemon.process.log()[log:]:
        daemon.api.status()
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


def test_reload_keeps_what_was_given(lab):
    """a file of the administrator's that cannot be used does not make the policy that was given over the API the built-in one"""
    daemon = lab.daemon()
    daemon.policy(TERMINATE)
    before = daemon.api.status()["policy"]
    write(daemon, "policy.json", "{")
    assert before["source"] == "api" and reload(daemon)["policy"] == before


def test_reload_changes_nothing(lab):
    """a reload of the same policy leaves its growing delays as they were"""
    delay = {"action": "restart", "delay": {"initial": "1ms", "factor": 100, "max": "1h"}}
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
