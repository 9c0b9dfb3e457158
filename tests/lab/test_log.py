# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is logged, and what never is."""

import json
import os
import signal
import socket

from lab.daemon import RESTART_AT_ONCE, policy
from lab.process import PATIENCE

JOURNAL = "/run/systemd/journal/socket"


class Journal:
    """What the daemon sends to the journal."""

    def __init__(self, lab):
        os.makedirs(os.path.dirname(JOURNAL), exist_ok=True)
        lab.net.client.sysctl(**{"net/unix/max_dgram_qlen": 10000})  # as systemd has it: what is not read yet is not refused
        with lab.net.client.entered():
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(JOURNAL)
        self.socket.settimeout(PATIENCE)
        self.entries = []
        # The daemon's standard error is its log file: that is what the variable must name.
        path = f"{lab.folder}/holdfastd.log"
        status = os.stat(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
        self.stream = f"{status.st_dev}:{status.st_ino}"

    def wait(self, **fields):
        while True:
            lines = self.socket.recv(1 << 16).decode().splitlines()
            self.entries.append(dict(line.split("=", 1) for line in lines))
            if all(self.entries[-1].get(key) == value for key, value in fields.items()):
                return self.entries[-1]


def test_journal(lab):
    """in the journal an event has its tunnel, error, rule and decision as fields; elsewhere it is a plain line"""
    journal = Journal(lab)
    lab.leaks.prove()
    daemon = lab.daemon(environment={"JOURNAL_STREAM": journal.stream})
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(lab.server().document())
    daemon.api.start()
    connected = journal.wait(EVENT="stateChanged", TUNNEL="home")
    assert connected["PRIORITY"] == "6" and connected["SYSLOG_IDENTIFIER"] == "holdfastd" and "home" in connected["MESSAGE"], connected
    os.kill(daemon.client_pid(), signal.SIGKILL)
    decision = journal.wait(EVENT="decision")
    assert decision["TUNNEL"] == "home" and decision["ERROR"] == "workerCrashed" and decision["DECISION"] == "restart", decision
    assert decision["RULE"] == "rule 1", decision
    assert "stateChanged" not in process_log(lab)
    journal.socket.close()  # nobody reads it any more: nothing waits, and nothing is lost
    daemon.api.mode("always")
    assert "<6>modeChanged" in process_log(lab)
    daemon.stop()
    daemon.start(JOURNAL_STREAM="1:1")
    assert "\ndaemonStarted" in process_log(lab)


def process_log(lab):
    with open(f"{lab.folder}/holdfastd.log", encoding="utf-8", errors="replace") as file:
        return file.read()


def command_lines():
    """Arguments and environment of every process there is."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    found.append(file.read().decode(errors="replace"))
            except OSError:
                continue
    return "\n".join(found)


def test_no_secret_is_told(lab):
    """keys and tokens stand in no log, status, event, answer or process list, nor in what a refused document is answered with"""
    daemon, server = lab.guarded()
    document = server.document(tunnel="other")
    text = server.wg_quick()
    token = daemon.api.post("/tokens", {"name": "ci", "scope": "read"})["token"]
    keys = [line.split("=", 1)[1].strip() for line in text.splitlines() if line.startswith(("PrivateKey", "PresharedKey"))]
    assert keys and all(key in json.dumps(document) for key in keys), (keys, document)
    told = []
    told.append(json.dumps(daemon.api.post("/tunnels", document)))
    told.append(json.dumps(daemon.api.call("POST", "/tunnels", document | {"id": "fourth", "colour": keys[0]}).body))
    told.append(json.dumps(daemon.api.call("POST", "/tunnels", document | {"id": "fourth", "endpoints": "none"}).body))
    bad = text.replace("[Peer]", f"PrivateKey2 = x\n[Peer]\nEndpoint = {'x' * 300}")
    told.append(json.dumps(daemon.api.call("POST", "/tunnels/import?id=third", bad.encode(), content_type="application/octet-stream").body))
    os.kill(daemon.client_pid(), signal.SIGKILL)
    daemon.wait_connected()
    daemon.policy(policy())
    for path in ("/status", "/tunnels", "/tunnels/home", "/events?limit=1000", "/decisions", "/tokens", "/kill-switch"):
        told.append(json.dumps(daemon.api.get(path)))
    for command in (["status"], ["tunnel", "show", "home"], ["--json", "tunnel", "list"], ["events"], ["token", "list"]):
        done = daemon.ctl(*command)
        told.append(done.stdout + done.stderr)
    told += [process_log(lab), command_lines()]
    daemon.stop()
    told.append(process_log(lab))
    planted = keys + [token]
    state = "".join(open(os.path.join(folder, name), errors="replace").read() for folder, _, names in os.walk(daemon.state_dir) for name in names)
    assert keys[0] in state, "the search finds nothing where a key must be"
    assert token not in state, "a token is kept"
    for secret in planted:
        for text in told:
            assert secret not in text, f"{secret[:6]}… is told: {text[max(0, text.index(secret) - 200):][:300]}"
