# SPDX-License-Identifier: LGPL-2.1-or-later
"""One operation, one meaning: over REST, D-Bus and the command line, on a real tunnel."""

import glob
import json
import os
import re
import signal
import subprocess

from lab import isolation, topology
from lab.api import Api
from lab.daemon import ASK, RESTART_AT_ONCE
from lab.leaks import SERVER
from lab.on_bus import NAME, ROOT, OnBus

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def test_same_state_everywhere(lab):
    """REST, D-Bus and holdfastctl tell the same of the same tunnel"""
    on_bus = OnBus(lab)
    daemon = on_bus.daemon
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(lab.server().document())
    daemon.api.start()
    rest = daemon.api.status()
    done = daemon.ctl("status", "--json")
    assert done.returncode == 0, done
    ctl = json.loads(done.stdout)
    path = f"{ROOT}/tunnel/home"
    states = [rest["tunnels"][0]["state"], ctl["tunnels"][0]["state"], on_bus.property(path, "Tunnel", "State")]
    assert states == ["connected"] * 3, states
    protection = [rest["protection"], ctl["protection"], on_bus.property(ROOT, "Manager", "Protection")]
    assert protection == ["protected"] * 3, protection
    objects = json.dumps(on_bus.call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"))
    assert path in objects, objects
    assert "home" in daemon.ctl("status").stdout and "connected" in daemon.ctl("status").stdout


# Makes a listening socket at a path, and starts a daemon with it as systemd does (sd_listen_fds(3)): SOCKET COMMAND…
HAND_OVER = """
import os, socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_socket(lab):
    """the socket is root's and the group's alone; one that systemd hands over is served instead"""
    daemon = lab.daemon()
    made = os.stat(daemon.api.path)
    assert (made.st_mode & 0o777, made.st_uid, made.st_gid) == (0o660, 0, isolation.CONTROL_GROUP), made
    daemon.stop()
    handed, command = "/run/lab/handed.sock", daemon.command
    daemon.command = lambda *arguments: ["/usr/bin/python3", "-c", HAND_OVER, handed, *command(*arguments)]
    os.unlink(daemon.api.path)
    daemon.start()
    assert Api(handed).status()["gate"]["mode"] == "auto"
    assert not os.path.exists(daemon.api.path)


class DryRuns:
    """Each write first as a dry run, which judges as the write then does, and changes nothing."""

    def __init__(self, lab, daemon):
        self.lab, self.daemon, self.contract, self.done = lab, daemon, Contract(), set()

    def _beneath(self):
        """The kernel and the files. With a tunnel up both go on changing by themselves; state.json and the journal follow a moment later."""
        kernel = [self.lab.nft("-s", "list", "ruleset").stdout, *(self.lab.ip(*words).stdout for words in (
            ["-4", "rule"], ["-6", "rule"], ["-4", "route", "show", "table", "all"], ["-brief", "link"]))]
        files = {}
        for folder in (self.daemon.state_dir, self.daemon.runtime_dir, self.daemon.config_dir):
            for place, _, names in os.walk(folder):
                for path in (os.path.join(place, name) for name in names if not name.startswith(("journal.db", "state.json"))):
                    if os.path.isfile(path):
                        with open(path, "rb") as file:
                            files[path] = file.read()
        return kernel, files

    def _everything(self):
        api = self.daemon.api
        gate = {name: value for name, value in api.status()["gate"].items() if name not in ("verifiedAt", "blocked", "confirmBy", "releasedUntil")}
        documents = [api.get(path) for path in ("/kill-switch", "/policy", "/tunnels", "/bypass", "/tokens")]
        states = [(tunnel["id"], tunnel["state"], tunnel["needCredentials"]) for tunnel in api.status()["tunnels"]]
        at_rest = all(state == "disconnected" for _, state, _ in states)
        return gate, documents, states, [event for event in api.all_events() if event["kind"] != "networkChanged"], at_rest and self._beneath()

    def __call__(self, method, template, body=None, id="home", query="", expected=None, **options):
        """The real answer's body. EXPECTED: the code of the error that it is to be."""
        path, before = template.replace("{id}", id), self._everything()
        ask = lambda query: self.daemon.api.call(method, path + query, body, {"If-Match": "*"}, **options)
        dry = ask(f"{query}&dryRun=true" if query else "?dryRun=true")
        self.contract.judge(method, template, dry)
        assert self._everything() == before, (method, path)
        real = ask(query)
        if expected:
            assert (dry.status, dry.body) == (real.status, real.body) and real.body["code"] == expected, (dry, real)
            return None
        self.done.add(self.contract.document["paths"][f"/v1{template}"][method.lower()]["operationId"])
        assert dry.status == 200 and real.status in (200, 201, 202), (method, path, dry, real)
        for name in ("changed", "state"):
            assert dry.body.get(name) == real.body.get(name), (method, path, dry.body, real.body)
        assert dry.headers.get("ETag") == real.headers.get("ETag"), (method, path)
        return real.body

    def all_of_the_document(self):
        operations = [operation for path in self.contract.document["paths"].values() for operation in path.values() if isinstance(operation, dict)]
        return {operation["operationId"] for operation in operations if {"$ref": "#/components/parameters/DryRun"} in operation.get("parameters", ())}


def test_dry_run(lab):
    """a dry run of every write judges as the write then does, refusals too, and changes nothing"""
    daemon, server = lab.daemon(), lab.server()
    document, other = server.document(), server.document(tunnel="other")
    dry = DryRuns(lab, daemon)
    dry("POST", "/tunnels", document)
    dry("POST", "/tunnels", document, expected="tunnelExists")
    dry("POST", "/tunnels/import", server.wg_quick().encode(), query="?id=third", content_type="application/octet-stream")
    dry("POST", "/tunnels", other)
    dry("PUT", "/tunnels/{id}", other | {"autostart": True}, id="other")
    dry("PUT", "/tunnels/{id}", other | {"autostart": "much"}, id="other", expected="invalidDocument")
    dry("DELETE", "/tunnels/{id}", id="other")
    dry("PUT", "/policy", ASK)
    dry("PUT", "/policy", {"version": 7}, expected="invalidDocument")
    dry("POST", "/kill-switch/release", {"reason": "nothing is held"}, expected="wrongState")
    assert dry("PUT", "/kill-switch/mode", {"mode": "always", "confirmWithin": "1h"})["changed"]
    assert dry("POST", "/kill-switch/confirm", {})["changed"] and not dry("POST", "/kill-switch/confirm", {})["changed"]
    dry("POST", "/kill-switch/release", {"reason": "a sign-in"})
    assert dry("PUT", "/kill-switch/mode", {"mode": "always"})["changed"] and not dry("PUT", "/kill-switch/mode", {"mode": "always"})["changed"]
    dry("PATCH", "/kill-switch", {"lan": "allow"})
    dry("PUT", "/kill-switch", {"mode": "auto"})
    granted = dry("POST", "/bypass", {"address": "198.51.100.0/24"})["id"]
    assert not dry("POST", "/bypass", {"address": "198.51.100.0/24"})["changed"]
    dry("POST", "/bypass", {"address": "198.51.100.0/25"}, expected="wrongState")
    dry("POST", "/bypass", {"unit": "nowhere.service"}, expected="notFound")
    dry("DELETE", "/bypass/{id}", id=granted)
    dry("DELETE", "/bypass/{id}", id=granted, expected="notFound")
    made = dry("POST", "/tokens", {"name": "ci", "scope": "read"})["id"]
    dry("DELETE", "/tokens/{id}", id=made)
    dry("DELETE", "/tokens/{id}", id=made, expected="tokenNotFound")
    watch = daemon.api.watch()
    dry("POST", "/tunnels/{id}/start")
    watch.wait_state("connected")
    assert not dry("POST", "/tunnels/{id}/start", query="?wait=10s")["changed"]
    dry("PUT", "/tunnels/{id}", document | {"autostart": True}, expected="tunnelActive")
    dry("DELETE", "/tunnels/{id}", expected="tunnelActive")
    dry("POST", "/tunnels/{id}/credentials", {"credentials": {"password": "x"}}, expected="wrongState")
    dry("POST", "/tunnels/{id}/restart")
    watch.wait_state("connected")
    os.kill(daemon.client_pid(), signal.SIGKILL)
    decision = str(watch.wait(kind="decisionPending")["decision"])
    dry("POST", "/decisions/{id}/answer", {"restart": False}, id=decision)
    dry("POST", "/decisions/{id}/answer", {"restart": False}, id=decision, expected="decisionAnswered")
    dry("POST", "/tunnels/{id}/stop")
    missing = dry.all_of_the_document() - dry.done - {"ProvideCredentials"}  # which test_challenge.py has
    assert not missing, missing


def test_dry_run_by_command_line(lab):
    """holdfastctl --dry-run says what would be and changes nothing, with the daemon dead too"""
    daemon, _ = lab.guarded(mode="always")
    done = daemon.ctl("mode", "off", "--dry-run")
    assert done.returncode == 0 and done.stdout == "dry run: this would be done\n", done
    done = daemon.ctl("down", "home", "--dry-run")
    assert done.returncode == 0 and done.stdout == "dry run: this would be done; the state: disconnecting\n", done
    assert daemon.api.status()["gate"]["mode"] == "always" and daemon.api.tunnel()["state"] == "connected"
    daemon.kill()
    done = daemon.ctl("--state-dir", daemon.state_dir, "release", "--dry-run")
    assert done.returncode == 4 and daemon.table() is not None, done


def test_up_and_down_by_command_line(lab):
    """holdfastctl up and down start and stop the tunnel, and say by their status whether it worked"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.add_tunnel(lab.server().document())
    done = daemon.ctl("up", "home")
    assert done.returncode == 0, done
    assert daemon.api.tunnel()["state"] == "connected"
    lab.ping(topology.INTERNET4)
    done = daemon.ctl("mode", "always")
    assert done.returncode == 0 and daemon.api.status()["gate"]["mode"] == "always", done
    done = daemon.ctl("down", "home")
    assert done.returncode == 0 and daemon.api.tunnel()["state"] == "disconnected", done
    lab.leaks.closed()


def test_status_is_watched(lab):
    """holdfastctl status --watch shows what is, and again what has become of it"""
    daemon = lab.daemon()
    watch = subprocess.Popen([lab.program("holdfastctl"), "--socket", daemon.api.path, "status", "--watch"], stdout=subprocess.PIPE,
                             text=True, preexec_fn=lab.net.client.join)
    assert "mode auto" in next(line for line in watch.stdout if "Gate" in line)
    daemon.api.mode("always")
    assert any("mode always" in line for line in watch.stdout)
    watch.kill()
    watch.wait()


def test_tokens_on_the_bus(lab):
    """a token made over D-Bus is listed there, and an unknown one has the error that REST has"""
    on_bus = OnBus(lab)
    changed, made, token, expires = on_bus.call(ROOT, f"{NAME}.Manager", "CreateToken", "sss", "ci", "read", "1h")
    assert changed and expires and token.startswith("hft_") and made in json.dumps(on_bus.call(ROOT, f"{NAME}.Manager", "ListTokens"))
    assert on_bus.call(ROOT, f"{NAME}.Manager", "RevokeToken", "s", made) == [True]
    done = on_bus.run(["busctl", "call", NAME, ROOT, f"{NAME}.Manager", "RevokeToken", "s", made])
    assert done.returncode != 0 and "there is no token" in done.stderr, done


def test_start_and_signals_on_the_bus(lab):
    """a tunnel started over D-Bus announces its states there, each once and in order"""
    on_bus = OnBus(lab)
    on_bus.daemon.add_tunnel(lab.server().document())
    path = f"{ROOT}/tunnel/home"
    monitor = on_bus.monitor("--object-path", path)
    on_bus.call(path, f"{NAME}.Tunnel", "Start", "s", "60s")
    states = []
    while "connected" not in states:
        line = monitor.stdout.readline()
        found = re.search(r"StateChanged \('(\w+)', '(\w+)', '(\w+)'\)", line)
        if found:
            states.append(found[1])
    monitor.kill()
    monitor.wait()
    assert states == ["connecting", "connected"], states
    lab.ping(topology.INTERNET4)


def test_errors_on_the_bus(lab):
    """an error over D-Bus has the same code as over REST"""
    on_bus = OnBus(lab)
    done = on_bus.run(["gdbus", "call", "--address", on_bus.bus.address, "--dest", NAME, "--object-path", ROOT,
                        "--method", f"{NAME}.Policy.Replace", "{not json"])
    assert done.returncode != 0 and f"{NAME}.Error." in done.stderr, done


def test_interfaces_as_installed(lab):
    """the interface files that are installed are what the daemon says of itself on the bus"""
    on_bus = OnBus(lab)
    on_bus.daemon.add_tunnel(lab.server().document())
    check = [] if os.environ.get("HOLDFAST_REFRESH") else ["--check"]  # as the unit tests' golden files are refreshed
    done = on_bus.run([os.path.join(TOP, "data/refresh-interfaces"), *check])
    assert done.returncode == 0, done


def test_stock_bus(lab):
    """on a bus configured as Debian's is, the policy file that is installed gives the daemon its name and lets root start a tunnel"""
    on_bus = OnBus(lab, stock=True)
    on_bus.daemon.policy(RESTART_AT_ONCE)
    on_bus.daemon.add_tunnel(lab.server().document())
    assert on_bus.call(f"{ROOT}/tunnel/home", f"{NAME}.Tunnel", "Start", "s", "60s") == [True, "connected"]


def test_gate_without_bus(lab):
    """a bus that dies and never comes back changes nothing of the gate"""
    lab.leaks.prove()
    on_bus = OnBus(lab)
    on_bus.daemon.api.mode("always")
    on_bus.bus.process.kill()
    lab.leaks.closed()
    assert on_bus.daemon.api.status()["gate"]["kernel"] == "closed"


def test_events_resume(lab):
    """events carry ids that only rise; a stream resumes after any of them; they live on over a restart of the daemon"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("connected")
    page = daemon.api.events(0)
    ids = [event["id"] for event in page]
    assert ids == sorted(set(ids)) and ids, ids
    middle = len(page) // 2
    resumed = daemon.api.watch(ids[middle])
    assert [resumed.next()["id"] for _ in ids[middle + 1 :]] == ids[middle + 1 :]
    daemon.kill()
    daemon.start()
    again = daemon.api.events(0)
    assert [event["id"] for event in again][: len(ids)] == ids
    assert again[len(ids)]["id"] > ids[-1]


def test_decision_is_told(lab):
    """a decision tells its event, its error, the rule that decided and what was done"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    decision = watch.wait(kind="decision")
    watch.wait_state("connected")
    assert decision["rule"] == "rule 1" and decision["error"] == "workerCrashed", decision
    assert decision["action"]["action"] == "restart" and decision["attempt"] == 1, decision
    kinds = [event["kind"] for event in watch.seen]
    assert kinds.index("willStop") < kinds.index("decision") < len(kinds) - 1, kinds


def test_already_so(lab):
    """asking for what already is succeeds with `changed: false`"""
    daemon, _ = lab.guarded()
    assert daemon.api.start()["changed"] is False
    assert daemon.api.mode("auto")["changed"] is False
    daemon.api.stop()
    assert daemon.api.stop()["changed"] is False


def test_release(lab):
    """a release opens the gate for its time and is taken back by SetMode"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    lab.leaks.closed()
    daemon.api.post("/kill-switch/release", {"reason": "a captive portal", "for": "1m"})
    assert daemon.api.status()["protection"] == "released"
    near, far = lab.connect(topology.INTERNET4, 80)
    near.close()
    far.close()
    daemon.api.mode("always")
    assert daemon.api.status()["protection"] == "blocking"
    lab.leaks.closed()


def test_release_ends_with_the_gate(lab):
    """a release is over once the gate it opened is gone: the next gate is closed, and the status says so"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    daemon.api.post("/kill-switch/release", {"reason": "a captive portal", "for": "1h"})
    watch = daemon.api.watch()
    daemon.api.patch("/kill-switch", {"mode": "auto"})
    watch.wait(kind="releaseEnded")
    assert daemon.api.status()["gate"]["releasedUntil"] is None
    daemon.api.patch("/kill-switch", {"mode": "always"})
    assert daemon.api.status()["protection"] == "blocking"
    lab.leaks.closed()


def test_release_before_the_way_out(lab):
    """a release that the way out overtook is ended by SetMode as well: it does not come back with the table"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    daemon.api.post("/kill-switch/release", {"reason": "a captive portal", "for": "1h"})
    daemon.process.send(signal.SIGSTOP)
    assert daemon.ctl("--state-dir", daemon.state_dir, "release").returncode == 0
    daemon.process.send(signal.SIGCONT)
    assert daemon.table() is None
    answer = daemon.api.call("POST", "/kill-switch/release", {"reason": "nothing is held"})
    assert answer.status == 409 and answer.body["code"] == "wrongState", answer
    daemon.api.mode("always")
    status = daemon.api.status()
    assert status["protection"] == "blocking" and status["gate"]["releasedUntil"] is None, status
    lab.leaks.closed()


def test_way_out(lab):
    """`holdfastctl release` works with the daemon dead, leaves no residue, and a daemon that comes back obeys it"""
    daemon, _ = lab.guarded(mode="always")
    daemon.kill()
    done = daemon.ctl("--state-dir", daemon.state_dir, "release")
    assert done.returncode == 0, done
    assert daemon.table() is None
    daemon.start()
    assert daemon.table() is None and daemon.api.status()["protection"] != "protected"
    daemon.api.mode("always")
    assert daemon.table() is not None
    lab.leaks.closed([SERVER])


def test_cases_of_the_examples(lab):
    """`holdfastctl policy test` finds every shipped example deciding as its cases say, and a changed one not"""
    daemon = lab.daemon()
    examples = [path for path in sorted(glob.glob(f"{TOP}/examples/policies/*.json")) if not path.endswith(".cases.json")]
    assert len(examples) >= 3, examples
    for path in examples:
        done = daemon.ctl("policy", "test", path.replace(".json", ".cases.json"), "--policy", path)
        assert done.returncode == 0 and "FAILED" not in done.stdout and "cases as expected" in done.stdout, done
        assert max(len(line) for line in done.stdout.splitlines()) <= 100, done
    cases = f"{TOP}/examples/policies/laptop.cases.json"
    done = daemon.ctl("policy", "test", cases)  # under the running policy, which is another
    assert done.returncode == 1 and "FAILED" in done.stdout, done


def examples_in(path, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", open(f"{TOP}/{path}", encoding="utf-8").read(), re.DOTALL | re.MULTILINE)


def test_policies_in_the_documents(lab):
    """every policy in README.md and docs/policy.md is taken without a warning but that its tunnels are not there, the parts of one too"""
    daemon = lab.daemon()
    policies = [text for path in ("README.md", "docs/policy.md") for text in examples_in(path, "json") if "rules" in json.loads(text)]
    for part in examples_in("docs/policy.md", "jsonc"):
        rules = part if part.startswith('"rules"') else f'"rules": [{part}]' if '"when"' in part else f'"rules": [], {part}'
        policies.append(f'{{"version": 1, {rules}}}')
    assert len(policies) >= 9, policies
    for text in policies:
        done = daemon.ctl("policy", "check", "-", input=text)
        warnings = [line for line in done.stdout.splitlines() if "warning" in line and "there is no such tunnel at present" not in line]
        assert done.returncode == 0 and not warnings, (text, done)
    question, answer = [json.loads(text) for text in examples_in("docs/policy.md", "json")][1:3]
    policy = json.load(open(f"{TOP}/examples/policies/laptop.json", encoding="utf-8"))
    done = daemon.ctl("--json", "policy", "evaluate", "-", input=json.dumps(question | {"policy": policy}))
    assert done.returncode == 0 and json.loads(done.stdout) == answer, done


def test_way_out_is_said(lab):
    """whoever starts a tunnel while the way out is taken is told that the gate is open, and what ends that"""
    daemon = lab.daemon()
    daemon.add_tunnel(lab.server().document())
    daemon.kill()
    assert daemon.ctl("--state-dir", daemon.state_dir, "release").returncode == 0
    daemon.start()
    for command in (["up", "home"], ["restart", "home"]):
        done = daemon.ctl(*command)
        assert done.returncode == 7 and "nothing is held" in done.stderr and "holdfastctl mode auto" in done.stderr, done
    done = daemon.ctl("status")
    assert done.returncode == 3 and "OPEN" in done.stderr and "holdfastctl mode auto" in done.stderr, done
    assert daemon.ctl("mode", "auto").returncode == 0
    done = daemon.ctl("up", "home")
    assert done.returncode == 0 and not done.stderr, done


class Contract:
    """openapi.yaml as the judge of answers."""

    def __init__(self):
        import jsonschema
        import yaml

        with open(f"{TOP}/openapi.yaml", encoding="utf-8") as file:
            self.document = yaml.safe_load(file)
        self._validator = lambda schema: jsonschema.Draft202012Validator(
            schema, resolver=jsonschema.RefResolver("", self.document)
        )

    def _resolve(self, node):
        while "$ref" in node:
            place = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                place = place[part]
            node = place
        return node

    def judge(self, method, template, answer):
        """Fails unless ANSWER's status is documented for the operation and its body fits the schema that stands there."""
        responses = self.document["paths"][f"/v1{template}"][method.lower()]["responses"]
        named = next((key for key in (str(answer.status), f"{answer.status // 100}XX") if key in responses), None)
        assert named, (method, template, answer)
        content = self._resolve(responses[named]).get("content", {})
        kind = answer.headers.get("Content-Type", "").split(";")[0]
        assert not content or kind in content, (method, template, kind, list(content))
        for error in self._validator(content.get(kind, {}).get("schema", {})).iter_errors(json.loads(json.dumps(answer.body))):
            raise AssertionError(f"{method} {template} {answer.status}: {list(error.absolute_path)}: {error.message}")


def a_day(lab, daemon, server, call):
    """A day's work, good requests and bad ones, each by CALL(method, template, body…); in the template the tunnel is {id}."""
    any_version = {"If-Match": "*"}
    call("GET", "/status")
    for template in ("/kill-switch", "/tunnels", "/tunnels/{id}", "/policy", "/decisions", "/events"):
        call("GET", template)
    call("GET", "/tunnels/{id}", id="nowhere")
    call("GET", "/tunnels/{id}", id="No-Id")
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("connected")
    call("POST", "/tunnels/{id}/restart", {}, query="?wait=10s")
    lab.nft("flush", "ruleset")
    watch.wait(kind="gateTampered")
    call("POST", "/kill-switch/release", {"reason": "test", "for": "2s"})
    call("POST", "/kill-switch/release", {"reason": ""})
    call("PUT", "/kill-switch/mode", {"mode": "always"})
    call("PUT", "/kill-switch/mode", {"mode": "auto", "confirmWithin": "1m"})
    call("POST", "/kill-switch/confirm", {})
    call("PUT", "/kill-switch/mode", {"mode": "sideways"})
    call("PUT", "/kill-switch", {"mode": "auto"})
    call("PUT", "/kill-switch", {"mode": "auto", "bypass": {"addresses": ["192.0.2.0/24"]}}, headers=any_version)
    call("PATCH", "/kill-switch", {"lan": "allow"}, headers=any_version, content_type="application/merge-patch+json")
    call("POST", "/bypass", {"address": "198.51.100.7", "for": "1h"})
    call("POST", "/bypass", {"address": "198.51.100.7"})
    call("POST", "/bypass", {"address": "0.0.0.0/0"})
    call("POST", "/bypass", {"unit": "nowhere.service"})
    call("GET", "/bypass")
    call("GET", "/status")
    call("DELETE", "/bypass/{id}", id="b1")
    call("DELETE", "/bypass/{id}", id="b1")
    call("POST", "/policy/validate", {"version": 2})
    call("POST", "/policy/evaluate", {"event": "willStop", "context": {"error": "tlsFailure"}})
    call("POST", "/policy/evaluate", {"context": {"error": "superseded"}})
    call("PUT", "/policy", {"version": 2}, headers=any_version)
    call("PUT", "/policy", RESTART_AT_ONCE, headers=any_version)
    call("POST", "/tunnels", server.document(tunnel="other"))
    call("POST", "/tunnels", server.document(tunnel="other"))
    call("POST", "/tunnels/import", server.wg_quick().encode(), query="?id=third", content_type="application/octet-stream")
    call("DELETE", "/tunnels/{id}", headers=any_version)
    call("DELETE", "/tunnels/{id}", id="other", headers=any_version)
    call("POST", "/tunnels/{id}/credentials", {"credentials": {"password": "x"}})
    call("POST", "/decisions/{id}/answer", {"restart": True}, id="4711")
    call("POST", "/tunnels/{id}/stop", {}, query="?wait=10s")
    call("POST", "/tokens", {"name": "ci", "scope": "read", "lifetime": "1d"})
    call("POST", "/tokens", {"name": "", "scope": "root"})
    call("GET", "/tokens")
    call("DELETE", "/tokens/{id}", id=daemon.api.get("/tokens")["tokens"][0]["id"])
    call("DELETE", "/tokens/{id}", id="none")
    call("GET", "/events", query="?limit=1000")
    call("GET", "/status")


def test_answers_are_as_documented(lab):
    """what a day's work is answered with fits openapi.yaml: status, media type and every member"""
    contract = Contract()
    daemon, server = lab.guarded()

    def call(method, template, body=None, query="", **options):
        path = template.replace("{id}", options.pop("id", "home")) + query
        contract.judge(method, template, daemon.api.call(method, path, body, **options))

    a_day(lab, daemon, server, call)
