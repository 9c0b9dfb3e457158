# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients that know nothing of Holdfast, against its port on loopback. Those of npm stand where ./check puts them."""

import http.client
import json
import os
import subprocess

from lab.api import Api
from lab.on_bus import NAME, ROOT, OnBus
from test_surfaces import a_day

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NPM = os.path.abspath(os.environ.get("HOLDFAST_NPM", f"{TOP}/build/npm"))
PORT, PROXY_PORT = 9480, 9481


def with_port(daemon):
    """Has the running DAEMON listen on loopback; a token of scope admin."""
    with open(f"{daemon.config_dir}/holdfast.json", "w", encoding="utf-8") as file:
        json.dump({"api": {"listen": [{"address": f"127.0.0.1:{PORT}"}]}}, file)
    return daemon.api.post("/tokens", {"name": "test", "scope": "admin"})["token"]


def npm(name):
    path = f"{NPM}/node_modules/.bin/{name}"
    assert os.path.exists(path), f"{path} is missing: ./check installs it (install_npm_packages in tests/setup.sh)"
    return path


class ProxyApi(Api):
    """The same calls through the proxy, which says of each answer where it is not as the document has it."""

    def __init__(self, lab, token):
        super().__init__(None)
        self.lab, self.token = lab, token
        self.bad_requests = 0  # that the proxy found: it does judge

    def _connect(self, timeout):
        connection = http.client.HTTPConnection("127.0.0.1", PROXY_PORT, timeout=timeout)
        with self.lab.net.client.entered():
            connection.connect()
        return connection

    def call(self, method, path, body=None, headers=None, **options):
        answer = super().call(method, path, body, {"Authorization": f"Bearer {self.token}"} | (headers or {}), **options)
        violations = json.loads(next((value for key, value in answer.headers.items() if key.lower() == "sl-violations"), "[]"))
        self.bad_requests += any(violation["location"][0] == "request" for violation in violations)
        wrong = [violation for violation in violations if violation["location"][0] == "response"]
        assert not wrong, f"{method} {path}: {answer.status}: {wrong}"
        return answer


def start_proxy(lab):
    proxy = subprocess.Popen(
        [npm("prism"), "proxy", f"{TOP}/openapi.yaml", f"http://127.0.0.1:{PORT}", "--host", "127.0.0.1", "--port", str(PROXY_PORT)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=lab.net.client.join, env=os.environ | {"CI": "1", "NO_COLOR": "1"})
    said = []
    for line in proxy.stdout:
        said.append(line)
        if "listening" in line:
            return proxy
    raise AssertionError("".join(said))


def test_validating_proxy(lab):
    """a day's work through prism, which holds every answer against openapi.yaml and finds nothing"""
    daemon, server = lab.guarded()
    token = with_port(daemon)
    daemon.kill()
    daemon.start()
    daemon.wait_connected()
    proxy = start_proxy(lab)
    api = ProxyApi(lab, token)
    requests = []

    def call(method, template, body=None, query="", **options):
        requests.append(api.call(method, template.replace("{id}", options.pop("id", "home")) + query, body, **options).status)

    try:
        a_day(lab, daemon, server, call)
    finally:
        proxy.kill()
        proxy.communicate()
    assert len(requests) > 30 and {200, 201, 400, 404} <= set(requests), requests
    assert api.bad_requests > 3, api.bad_requests


def test_metrics(lab):
    """/metrics is what promtool takes without a complaint, and tells the tunnel's state"""
    daemon, _ = lab.guarded()
    token = with_port(daemon)
    daemon.kill()
    daemon.start()
    daemon.wait_connected()
    command = ["curl", "-sS", "--max-time", "10", "-H", f"Authorization: Bearer {token}", f"http://127.0.0.1:{PORT}/metrics"]
    text = lab.run(command).stdout
    assert 'holdfast_tunnel_state{tunnel="home",state="connected"} 1\n' in text, text
    assert 'holdfast_protection_state{state="protected"} 1\n' in text, text
    done = lab.run([lab.tool("usr/bin/promtool"), "check", "metrics"], input=text, check=False)
    assert done.returncode == 0 and not done.stderr and not done.stdout, done
    done = lab.run([lab.tool("usr/bin/promtool"), "check", "metrics"], input=text.replace("_total", "_sum"), check=False)
    assert done.returncode != 0 or done.stderr, "promtool judges nothing"


def test_event_source(lab):
    """a browser's EventSource misses no event and gets none twice, across a daemon that ends and comes back"""
    daemon = lab.daemon()
    token = with_port(daemon)
    daemon.stop()
    daemon.start()
    npm("prism")  # says what to do where npm's packages are missing
    source = subprocess.Popen(
        ["node", f"{TOP}/tests/npm/event-source.mjs", NPM, f"http://127.0.0.1:{PORT}/v1/events", token],
        stdout=subprocess.PIPE, text=True, preexec_fn=lab.net.client.join)
    seen = []

    def until(kind):
        while not seen or seen[-1]["kind"] != kind:
            line = source.stdout.readline()
            assert line, "the client ended"
            seen.append(json.loads(line))

    until("open")
    for mode in ("always", "auto", "always"):
        daemon.api.mode(mode)
        until("modeChanged")
        seen.append({"kind": "waited"})
    daemon.stop()  # what it was told is on the disk, so nothing is a gap
    seen.append({"kind": "stopped"})
    daemon.start()
    daemon.api.mode("auto")
    until("modeChanged")
    source.kill()
    source.wait()
    ids = [int(event["id"]) for event in seen if "id" in event]
    kept = [event["id"] for event in daemon.api.all_events() if ids[0] <= event["id"] <= ids[-1]]
    assert ids == kept and "resync" not in [event["kind"] for event in seen], (seen, kept)
    assert [event["kind"] for event in seen].count("modeChanged") == 4, seen


PLAY = """
- hosts: localhost
  connection: local
  gather_facts: false
  module_defaults:
    ansible.builtin.uri:
      headers: {{ Authorization: "Bearer {token}", If-Match: "*" }}
      body_format: json
      status_code: [200, 201]
  tasks:
    - name: the gate is closed from boot on
      ansible.builtin.uri: {{ url: "{url}/kill-switch/mode", method: PUT, body: {{ mode: always }} }}
      register: answer
      changed_when: answer.json.changed
    - name: this policy is in force
      ansible.builtin.uri: {{ url: "{url}/policy", method: PUT, body: {policy} }}
      register: answer
      changed_when: answer.json.changed
    - name: the LAN is allowed
      ansible.builtin.uri:
        url: "{url}/kill-switch"
        method: PATCH
        headers: {{ Authorization: "Bearer {token}", If-Match: "*", Content-Type: application/merge-patch+json }}
        body: {{ lan: allow }}
      register: answer
      changed_when: answer.json.changed
"""


def test_ansible(lab):
    """a play with Ansible's uri module changes what it asks for the first time, and nothing the second"""
    daemon = lab.daemon()
    token = with_port(daemon)
    daemon.stop()
    daemon.start()
    policy = json.load(open(f"{TOP}/examples/policies/laptop.json", encoding="utf-8"))
    play = f"{daemon.state_dir}/play.yml"
    with open(play, "w", encoding="utf-8") as file:
        file.write(PLAY.format(token=token, url=f"http://127.0.0.1:{PORT}/v1", policy=json.dumps(policy)))
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "HOME": "/run/lab", "ANSIBLE_LOCAL_TEMP": "/run/lab/ansible", "LC_ALL": "C.UTF-8"}

    def run(*options):
        return lab.run(["ansible-playbook", "-i", "localhost,", *options, play], check=False, timeout=120, env=environment)

    first = run()
    assert first.returncode == 0 and "changed=3" in first.stdout, first
    second = run()
    assert second.returncode == 0 and "changed=0" in second.stdout, second
    assert daemon.api.status()["gate"]["mode"] == "always" and daemon.api.get("/kill-switch")["lan"] == "allow"


PYTHON_DBUS = f"""
import dbus, sys
bus = dbus.bus.BusConnection(sys.argv[1])
manager = bus.get_object("{NAME}", "{ROOT}")
print(manager.Get("{NAME}.Manager", "Protection", dbus_interface="org.freedesktop.DBus.Properties"))
objects = manager.GetManagedObjects(dbus_interface="org.freedesktop.DBus.ObjectManager")
print(sorted(path for path in objects if path.endswith("/home")))
tunnel = bus.get_object("{NAME}", "{ROOT}/tunnel/home")
print([str(part) for part in tunnel.Start("60s", dbus_interface="{NAME}.Tunnel")])
try:
    manager.SetMode("sideways", "", dbus_interface="{NAME}.KillSwitch")
except dbus.DBusException as error:
    print(error.get_dbus_name())
"""


def test_python_dbus(lab):
    """python3-dbus reads properties and objects, starts a tunnel, and gets errors by their names"""
    on_bus = OnBus(lab)
    on_bus.daemon.add_tunnel(lab.server().document())
    done = lab.run(["/usr/bin/python3", "-c", PYTHON_DBUS, on_bus.bus.address], check=False, env=on_bus.environment, timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0] == "off" and "tunnel/home" in lines[1], done
    assert lines[2] == "['1', 'connected']" and lines[3] == f"{NAME}.Error.BadRequest", done
