# SPDX-License-Identifier: LGPL-2.1-or-later
"""A scripted day once through each front, and what it left; and each error that there is, on each front that can have it."""

import contextlib
import json
import os
import re
import signal
import subprocess

from lab import process
from lab.daemon import ASK
from lab.fronts import Curl, Gdbus, Holdfastctl
from lab.on_bus import NAME, OnBus
from test_surfaces import TOP, Contract

PORT = 9480
ANOTHER = {"version": 1, "name": "another", "rules": []}


# The day


class DayByRest:
    """Each step as an operator does it with curl."""

    def __init__(self, front):
        self.front = front

    def _ask(self, *arguments, **options):
        told = self.front.ask(*arguments, **options)
        assert told.ended in (200, 201, 202), told

    def create(self, document):
        self._ask("POST", "/v1/tunnels", document)

    def policy(self, document):
        self._ask("PUT", "/v1/policy", document)

    def mode(self, mode):
        self._ask("PUT", "/v1/kill-switch/mode", {"mode": mode})

    def start(self):
        self._ask("POST", "/v1/tunnels/home/start?wait=60s", {})

    def decide(self, decision):
        self._ask("POST", f"/v1/decisions/{decision}/answer", {"restart": True})

    def stop(self):
        self._ask("POST", "/v1/tunnels/home/stop?wait=60s", {})

    def delete(self):
        self._ask("DELETE", "/v1/tunnels/home")


class DayByBus:
    """Each step as a desktop does it over D-Bus."""

    def __init__(self, front):
        self.front = front

    def _ask(self, *arguments, **options):
        told = self.front.ask(*arguments, **options)
        assert told.ended is None, told

    def create(self, document):
        self._ask("Manager.CreateTunnel", json.dumps(document))

    def policy(self, document):
        self._ask("Policy.Replace", json.dumps(document))

    def mode(self, mode):
        self._ask("KillSwitch.SetMode", mode, "")

    def start(self):
        self._ask("Tunnel.Start", "60s", tunnel="home")

    def decide(self, decision):
        self._ask("Policy.AnswerDecision", str(decision), "true")

    def stop(self):
        self._ask("Tunnel.Stop", "60s", tunnel="home")

    def delete(self):
        self._ask("Tunnel.Delete", tunnel="home")


class DayByCommand:
    """Each step as a person does it with holdfastctl."""

    def __init__(self, front):
        self.front = front

    def _ask(self, *arguments, **options):
        told = self.front.ask(*arguments, **options)
        assert told.ended == 0, told

    def create(self, document):
        self._ask("tunnel", "add", "-", input=document)

    def policy(self, document):
        self._ask("policy", "set", "-", input=document)

    def mode(self, mode):
        self._ask("mode", mode)

    def start(self):
        self._ask("up", "home", "--wait", "60s")

    def decide(self, decision):
        self._ask("decide", str(decision), "restart")

    def stop(self):
        self._ask("down", "home", "--wait", "60s")

    def delete(self):
        self._ask("tunnel", "delete", "home")


def spend(day, daemon, document):
    """The day's work by DAY; the events it left."""
    watch = daemon.api.watch()
    last = daemon.api.last_event()
    day.create(document)
    day.policy(ASK)
    day.mode("always")
    day.start()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    day.decide(watch.wait(kind="decisionPending")["decision"])
    watch.wait_state("connected")
    day.stop()
    day.mode("auto")
    day.delete()
    day.policy(ANOTHER)
    watch.close()
    return [event for event in daemon.api.all_events() if event["id"] > last]


VARIES = {"id", "time", "decision", "deadline", "pid"}
CALLER = r"uid 0 \(pid \d+\)"  # who asked, over whichever front


def normalised(events):
    """EVENTS without what differs from one day to the next. Links and routes that come and go are told when the kernel tells of them, which
    is no front's doing."""
    found = []
    for event in events:
        kept = {name: value for name, value in event.items() if name not in VARIES}
        if re.fullmatch(CALLER, kept.get("by") or ""):
            kept["by"] = "the caller"
        if event["kind"] != "networkChanged":
            found.append(kept)
    return found


def test_a_day_by_each_front(lab):
    """a day of create, start, fail, decide, stop and delete leaves the same events by curl, over D-Bus and by holdfastctl"""
    on_bus = OnBus(lab)
    daemon, document = on_bus.daemon, lab.server().document()
    days = {"rest": DayByRest(Curl(lab, daemon)), "bus": DayByBus(Gdbus(lab, on_bus)), "command": DayByCommand(Holdfastctl(daemon))}
    left = {name: normalised(spend(day, daemon, document)) for name, day in days.items()}
    kinds = {event["kind"] for event in left["rest"]}
    assert kinds >= {"tunnelCreated", "documentChanged", "modeChanged", "stateChanged", "willStop", "decisionPending", "decision", "gateChanged",
                     "tunnelDeleted"}, kinds
    assert sum(event.get("by") == "the caller" for event in left["rest"]) >= 5, left["rest"]
    for name in ("bus", "command"):
        for number, (one, other) in enumerate(zip(left["rest"], left[name])):
            assert one == other, f"event {number} by curl: {one}\nby {name}: {other}"
        assert len(left[name]) == len(left["rest"]), (name, left)
    lab.note(f"{len(left['rest'])} events each")


# The errors

# What holdfastctl(1) says of its exit status, by HTTP's.
EXIT = {400: 1, 401: 5, 403: 5, 404: 6, 409: 7, 412: 7, 413: 1, 428: 7, 429: 1, 500: 1, 503: 1}
# Codes that a front cannot have, and why.
NOT_OVER_BUS = {
    "unauthorized": "the bus knows whom each message is from",
    "methodNotAllowed": "no methods of HTTP's: a member that is not there is UnknownMethod",
    "preconditionFailed": "no If-Match: what is written over the bus is meant to be written",
    "preconditionRequired": "the same",
    "unsupportedMediaType": "the signature is the type",
}
NOT_BY_COMMAND = {
    "unauthorized": "it talks to the Unix socket alone, where the kernel says who asks",
    "methodNotAllowed": "it asks by the right one",
    "preconditionFailed": "it sends If-Match: *",
    "preconditionRequired": "the same",
    "unsupportedMediaType": "it sends the right one",
}


def outcomes():
    """The errors of daemon/outcome.def: code, HTTP's status, title."""
    with open(f"{TOP}/daemon/outcome.def", encoding="utf-8") as file:
        rows = re.findall(r'^OUTCOME\(\w+, "(\w+)", (\d+), "(.*)"\)$', file.read(), re.MULTILINE)
    return {code: (int(status), title) for code, status, title in rows if int(status) >= 400}


def gathered(step):
    """STEP of a walk: what is wrong with it is kept in `wrong`, and the walk goes on."""

    def take(walk, code, *arguments, **options):
        try:
            step(walk, code, *arguments, **options)
        except AssertionError as error:
            walk.wrong.append(f"{step.__name__} {error}")

    return take


class Walk:
    """Provokes errors and holds each answer against the documents. `over` has the codes that each front had."""

    def __init__(self, lab, on_bus):
        self.rest, self.bus, self.command = Curl(lab, on_bus.daemon), Gdbus(lab, on_bus), Holdfastctl(on_bus.daemon)
        self.contract, self.outcomes = Contract(), outcomes()
        self.over = {"rest": set(), "bus": set(), "command": set()}
        self.details, self.wrong = {}, []

    @gathered
    def by_rest(self, code, method, path, *arguments, template=None, **options):
        """TEMPLATE: of the operation in openapi.yaml; None: what is asked for is none."""
        told = self.rest.ask(method, path, *arguments, **options)
        status, title = self.outcomes[code]
        body = told.answer.body
        assert told.answer.headers["Content-Type"] == "application/problem+json", (code, told)
        assert (told.ended, body["status"], body["code"], body["title"]) == (status, status, code, title), (code, told.answer)
        assert body["detail"], body
        if template:
            self.contract.judge(method, template, told.answer)
        self.over["rest"].add(code)
        self.details[code] = body["detail"]

    @gathered
    def by_bus(self, code, *arguments, **options):
        told = self.bus.ask(*arguments, **options)
        assert told.ended == f"{NAME}.Error.{code[0].upper()}{code[1:]}" and told.text.strip(), (code, told)
        self.over["bus"].add(code)

    @gathered
    def by_command(self, code, *arguments, says=None, **options):
        """SAYS: the words that it has instead of the answer's detail."""
        told = self.command.ask(*arguments, **options)
        status, _ = self.outcomes[code]
        assert told.ended == EXIT[status], (code, told)
        assert told.text.startswith("holdfastctl: ") and (says or self.details.get(code, "?")) in told.text, (code, told)
        self.over["command"].add(code)


def walk_what_is_asked(walk, large):
    """What is wrong with a request, whatever the state."""
    walk.by_rest("badRequest", "PUT", "/v1/kill-switch/mode", {"mode": "sideways"}, template="/kill-switch/mode")
    walk.by_bus("badRequest", "KillSwitch.SetMode", "sideways", "")
    walk.by_command("badRequest", "mode", "sideways")
    walk.by_rest("invalidDocument", "PUT", "/v1/kill-switch", {"mode": 7}, template="/kill-switch")
    walk.by_bus("invalidDocument", "KillSwitch.Replace", '{"mode":7}', "")
    walk.by_command("invalidDocument", "kill-switch", "set", "-", input={"mode": 7})
    config = "[Interface]\n"
    walk.by_rest("invalidTunnelId", "POST", "/v1/tunnels/import?id=No-Id", config, kind="application/octet-stream", template="/tunnels/import")
    walk.by_bus("invalidTunnelId", "Manager.ImportTunnel", "No-Id", config)
    walk.by_command("invalidTunnelId", "import", "-", "No-Id", input=config)
    walk.by_rest("unauthorized", "GET", "/v1/status", address=f"127.0.0.1:{PORT}", template="/status")
    walk.by_rest("forbidden", "GET", "/v1/tokens", member=True, template="/tokens")
    walk.by_bus("forbidden", "Manager.ListTokens", member_of_group=True)
    walk.by_command("forbidden", "token", "list", member=True, says="ListTokens takes the scope admin")
    walk.by_rest("methodNotAllowed", "DELETE", "/v1/status")
    walk.by_rest("preconditionRequired", "PUT", "/v1/kill-switch", {"mode": "auto"}, headers=(), template="/kill-switch")
    walk.by_rest("preconditionFailed", "PUT", "/v1/kill-switch", {"mode": "auto"}, headers=('If-Match: "another"',), template="/kill-switch")
    walk.by_rest("unsupportedMediaType", "POST", "/v1/policy/validate", ANOTHER, kind="text/plain", template="/policy/validate")
    walk.by_rest("payloadTooLarge", "POST", "/v1/policy/validate", file=large, template="/policy/validate")
    walk.by_bus("payloadTooLarge", "Policy.Validate", file=large)
    walk.by_command("payloadTooLarge", "import", "-", "other", input=" " * (300 << 10), says="larger than")
    for code, path, template, member, arguments, words in (
        ("notFound", "/bypass/b9", "/bypass/{id}", "KillSwitch.RemoveBypass", ["b9"], ["bypass", "remove", "b9"]),
        ("tokenNotFound", "/tokens/none", "/tokens/{id}", "Manager.RevokeToken", ["none"], ["token", "revoke", "none"]),
    ):
        walk.by_rest(code, "DELETE", f"/v1{path}", template=template)
        walk.by_bus(code, member, *arguments)
        walk.by_command(code, *words)
    walk.by_rest("tunnelNotFound", "GET", "/v1/tunnels/nowhere", template="/tunnels/{id}")
    walk.by_bus("tunnelNotFound", "Tunnel.Get", tunnel="nowhere")
    walk.by_command("tunnelNotFound", "tunnel", "show", "nowhere")
    walk.by_rest("decisionNotFound", "POST", "/v1/decisions/4711/answer", {"restart": True}, template="/decisions/{id}/answer")
    walk.by_bus("decisionNotFound", "Policy.AnswerDecision", "4711", "true")
    walk.by_command("decisionNotFound", "decide", "4711", "restart")


def walk_what_is(walk, daemon, document):
    """What does not fit the state there is: a policy of the administrator's, an open gate, a tunnel that connects and fails."""
    walk.by_rest("managedByFile", "PUT", "/v1/policy", ANOTHER, template="/policy")
    walk.by_bus("managedByFile", "Policy.Replace", json.dumps(ANOTHER))
    walk.by_command("managedByFile", "policy", "set", "-", input=ANOTHER)
    walk.by_rest("wrongState", "POST", "/v1/kill-switch/release", {"reason": "why not"}, template="/kill-switch/release")
    walk.by_bus("wrongState", "KillSwitch.Release", "why not", "")
    walk.by_command("wrongState", "release", "why not")
    daemon.add_tunnel(document)
    walk.by_rest("tunnelExists", "POST", "/v1/tunnels", document, template="/tunnels")
    walk.by_bus("tunnelExists", "Manager.CreateTunnel", json.dumps(document))
    walk.by_command("tunnelExists", "tunnel", "add", "-", input=document, says="a tunnel of that id exists already")
    watch = daemon.api.watch()
    daemon.api.start()
    walk.by_rest("tunnelActive", "DELETE", "/v1/tunnels/home", template="/tunnels/{id}")
    walk.by_bus("tunnelActive", "Tunnel.Delete", tunnel="home")
    walk.by_command("tunnelActive", "tunnel", "delete", "home")
    os.kill(daemon.client_pid(), signal.SIGKILL)
    decision = watch.wait(kind="decisionPending")["decision"]
    daemon.api.post(f"/decisions/{decision}/answer", {"restart": False})
    walk.by_rest("decisionAnswered", "POST", f"/v1/decisions/{decision}/answer", {"restart": True}, template="/decisions/{id}/answer")
    walk.by_bus("decisionAnswered", "Policy.AnswerDecision", str(decision), "true")
    walk.by_command("decisionAnswered", "decide", str(decision), "restart")


def walk_tokens(walk, lab, daemon):
    """A full disk, and as many tokens as are kept."""
    token = {"name": "ci", "scope": "read"}
    filler = f"{daemon.state_dir}/filler"
    done = lab.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], check=False)
    assert "No space left" in done.stderr, done
    walk.by_rest("internalError", "POST", "/v1/tokens", token, template="/tokens")
    walk.by_bus("internalError", "Manager.CreateToken", "ci", "read", "")
    walk.by_command("internalError", "token", "create", "ci", "read")
    lab.run(["rm", filler])
    while daemon.api.call("POST", "/tokens", token).status == 201:
        pass
    walk.by_rest("tooManyRequests", "POST", "/v1/tokens", token, template="/tokens")
    walk.by_bus("tooManyRequests", "Manager.CreateToken", "ci", "read", "")
    walk.by_command("tooManyRequests", "token", "create", "ci", "read")


@contextlib.contextmanager
def taken_table(lab):
    """A table of Holdfast's name that another process owns: the kernel refuses every change to it."""
    owner = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=lab.net.client.join)
    owner.stdin.write("add table inet holdfast { flags owner; }\nlist tables\n")
    owner.stdin.flush()
    while "inet holdfast" not in (line := owner.stdout.readline()):
        assert line, "nft ended"
    yield
    owner.stdin.close()
    owner.wait(process.PATIENCE)


def walk_a_refused_gate(walk, lab):
    """A kernel that refuses the gate."""
    with taken_table(lab):
        walk.by_rest("gateFailure", "PUT", "/v1/kill-switch/mode", {"mode": "always"}, template="/kill-switch/mode")
        walk.by_bus("gateFailure", "KillSwitch.SetMode", "always", "")
        walk.by_command("gateFailure", "mode", "always")


def walk_without_cgroups(walk, lab):
    """No cgroups to grant to."""
    lab.run(["umount", "--lazy", process.CGROUPS])
    walk.by_rest("unavailable", "POST", "/v1/bypass", {"program": "true"}, template="/bypass")
    walk.by_bus("unavailable", "KillSwitch.AddBypass", "{'program': <'true'>}")
    walk.by_command("unavailable", "exec", "--", "true")


def test_every_error_by_each_front(lab):
    """each error code is provoked on each front that can have it, and is what openapi.yaml, outcome.def and holdfastctl(1) say of it"""
    on_bus = OnBus(lab, start=False)
    daemon, document = on_bus.daemon, lab.server().document()
    lab.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", daemon.state_dir])
    for name, content in (("policy.json", ASK), ("holdfast.json", {"api": {"listen": [{"address": f"127.0.0.1:{PORT}"}]}})):
        with open(f"{daemon.config_dir}/{name}", "w", encoding="utf-8") as file:
            json.dump(content, file)
    large = "/run/lab/large"
    with open(large, "wb") as file:
        file.write(b" " * ((8 << 20) + 1))
    daemon.start()
    on_bus.wait()
    walk = Walk(lab, on_bus)
    walk_what_is_asked(walk, large)
    walk_a_refused_gate(walk, lab)
    walk_what_is(walk, daemon, document)
    walk_tokens(walk, lab, daemon)
    walk_without_cgroups(walk, lab)
    assert not walk.wrong, "\n".join(walk.wrong)
    codes = set(walk.outcomes)
    assert set(walk.contract.document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]) == codes
    for front, without in (("rest", {}), ("bus", NOT_OVER_BUS), ("command", NOT_BY_COMMAND)):
        assert not walk.over[front] & without.keys(), (front, walk.over[front] & without.keys())
        assert walk.over[front] | without.keys() == codes, (front, codes - walk.over[front] - without.keys())
    lab.note(", ".join(f"{front}: {len(had)}" for front, had in walk.over.items()) + f" of {len(codes)} codes")
