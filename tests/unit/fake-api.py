#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small double of the daemon's API on a Unix socket, for tests of holdfastctl.

fake-api.py SOCKET [status=NAME] [hang]: serves until it is killed. Prints "ready" once it listens. Every request is written to
SOCKET.log, a line each: method, path, If-Match, content type, body. With `hang` connections are taken and never answered.
"""

import http.server
import json
import os
import socketserver
import sys
import time


def ago(seconds):
    """The time SECONDS ago and a half, as the daemon writes times. Half a second keeps spans away from their edges."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - seconds - 0.5))


def tunnel(**members):
    return {"id": "home", "driver": "wireguard", "wanted": True, "state": "connected", "reason": None, "since": ago(11100), "interface": "hf-home",
            "endpoint": "203.0.113.7:51820/udp", "attempt": 0, "lastError": None, "lastDetail": None, "pendingDecision": None,
            "rxBytes": 1289748, "txBytes": 348, "lastHandshake": ago(90)} | members


def status(protection="protected", gate=None, tunnels=(), available=True):
    return {"version": "0.1.0", "bootId": "b", "since": ago(100000), "protection": protection,
            "gate": {"mode": "auto", "desired": "tunnel", "kernel": "tunnel", "verifiedAt": ago(120), "healed": 0, "blockFailure": None,
                     "releasedUntil": None, "wayOutTaken": False, "blocked": {"out": 12, "in": 3, "forward": 0}} | (gate or {}),
            "tunnels": list(tunnels), "network": {"available": available, "uplinks": ["eth0", "wlan0"] if available else [],
                        **({"interface": "wlan0", "type": "wifi", "ssid": "caf\u00e9", "bssid": "0a:1b:2c:3d:4e:5f", "profile": None,
                            "metered": True, "connectivity": "portal"} if available else {})},
            "policy": {"name": "laptop", "etag": "e", "source": "api"}}


STATUSES = {
    "protected": lambda: status(tunnels=[tunnel(), tunnel(id="office", driver="openvpn", state="disconnected", interface=None, endpoint=None, rxBytes=0, txBytes=0)]),
    "asking": lambda: status("blocking", {"desired": "closed", "kernel": "closed", "healed": 2}, [tunnel(
        state="deciding", attempt=2, lastError="authenticationFailed", lastDetail="the server said\u001b[2J no",
        pendingDecision={"id": 7, "waitsFor": "ask", "error": "authenticationFailed", "deadline": ago(-150)})]),
    "waiting": lambda: status("blocking", {"desired": "closed", "kernel": "closed"}, [tunnel(
        state="waiting", attempt=1, lastError="workerCrashed", rxBytes=0, txBytes=0,
        pendingDecision={"id": 8, "waitsFor": "network", "error": "workerCrashed", "deadline": None})], available=False),
    "failing": lambda: status("failing", {"kernel": None, "blockFailure": "nft: Operation not permitted", "verifiedAt": None}, [tunnel(state="connecting")]),
    "failed": lambda: status("blocking", {"desired": "closed", "kernel": "closed", "healed": 1}, [
        tunnel(id="broken", state="failed", lastError="workerStartFailed", lastDetail="wireguard-go is not installed: apt install wireguard-go", rxBytes=0, txBytes=0),
        tunnel(state="failed", lastError="authenticationFailed", rxBytes=0, txBytes=0)]),
    "wayout": lambda: status("released", {"desired": "tunnel", "kernel": "open", "wayOutTaken": True}, [tunnel()]) | {"policy": {"name": None, "etag": "e", "source": "api"}},
    "faults": lambda: status() | {"journal": "/var/lib/holdfast/journal.db: writing to it: database or disk is full",
                                  "documentErrors": "/etc/holdfast/policy.json#/version: is missing\n/etc/holdfast/kill-switch.json: is empty\n"},
    "off": lambda: status("off", {"desired": "open", "kernel": "open"}),
}

def finding(code, severity, subject, summary, remedy=None):
    return {"code": code, "severity": severity, "subject": subject, "summary": f"{subject} {summary}", "remedy": remedy}


NOTICE = finding("notChecked", "notice", "nftables", "could not be looked at (Connection timed out): whether there is another firewall is not known")
WARNING = finding("bridgedUplink", "warning", "vnet0", "is on the bridge br0 together with the uplink enp1s0: what is behind it leaves past the gate",
                  "give the guest a network of its own (NAT), whose traffic the gate forwards or refuses")
ERROR = finding("programMissing", "error", "openvpn", "is not installed: the tunnel office cannot start", "apt install openvpn")
# What Diagnose answers beside each status.
FINDINGS = {"waiting": [NOTICE], "asking": [WARNING, WARNING | {"subject": "vnet1"}, NOTICE], "failing": [ERROR, WARNING, NOTICE],
            "off": [finding("fromTheFuture", "fatal", "gate", "is worse than anything")]}

EVENTS = [
    {"id": 41, "time": "2026-11-22T15:20:00.000Z", "kind": "stateChanged", "tunnel": "home", "new": "connecting", "old": "disconnected", "reason": "none"},
    {"id": 42, "time": "2026-11-22T15:20:01.250Z", "kind": "stateChanged", "tunnel": "home", "new": "connected", "old": "connecting", "reason": "none"},
    {"id": 43, "time": "2026-11-22T15:21:00.000Z", "kind": "modeChanged", "tunnel": None, "old": "auto", "new": "always"},
]

DECISIONS = [
    {"id": 51, "time": "2026-11-22T15:22:00.000Z", "kind": "decision", "tunnel": "home", "error": "workerCrashed", "attempt": 1,
     "rule": "three tries", "action": {"action": "restart", "delay": "1s"}, "policy": "laptop"},
]

MANY = [{"id": number, "time": "2026-11-22T15:23:00.000Z", "kind": "many", "tunnel": None} for number in range(1, 1008)]

EVALUATION = {"decision": {"action": "restart", "delay": "1s", "endpoint": "same"}, "rule": {"index": 1, "name": "three tries"},
              "tried": [{"index": 0, "name": "offline", "failed": "/when/network/available"}], "delay": "1s", "limited": False}

TUNNELS = [{"id": "home", "driver": "wireguard", "endpoints": [{"address": "vpn.example:51820/udp"}], "routes": "all", "autostart": True},
           {"id": "lab", "driver": "openvpn", "endpoints": [], "routes": ["10.0.0.0/8", "192.0.2.0/24"], "autostart": False}]

INVALID = (400, {"type": "about:blank", "title": "The document has errors", "status": 400, "code": "invalidDocument",
                 "detail": "the policy has 2 errors; nothing was changed",
                 "errors": [{"pointer": "/rules/0/when/error", "value": "\"nope\"", "detail": "is no error's name"},
                            {"pointer": "/version", "detail": "is missing"}]})


def problem(code, title, detail):
    return code, {"type": "about:blank", "title": title, "status": code, "detail": detail}


NOT_FOUND = problem(404, "There is no such tunnel", "there is no tunnel \"nowhere\"")
FORBIDDEN = problem(403, "Not allowed", "to relax the mode from always to off takes the scope admin")

ANSWERS = {
    "GET /v1/tunnels": (200, {"tunnels": TUNNELS}),
    "GET /v1/tunnels/home": (200, TUNNELS[0]),
    "GET /v1/tunnels/nowhere": NOT_FOUND,
    "POST /v1/tunnels/home/start?wait=30s": (200, {"changed": True, "state": "connected"}),
    "POST /v1/tunnels/home/start?wait=2s": (202, {"changed": True, "state": "connecting"}),
    "POST /v1/tunnels/home/start": (202, {"changed": True, "state": "connecting"}),
    "POST /v1/tunnels/broken/start?wait=30s": (200, {"changed": True, "state": "failed"}),
    "POST /v1/tunnels/home/restart?wait=1s": (200, {"changed": True, "state": "failed"}),
    "POST /v1/tunnels/nowhere/start?wait=30s": NOT_FOUND,
    "POST /v1/tunnels/home/stop?wait=30s": (200, {"changed": False, "state": "disconnected"}),
    "POST /v1/tunnels/home/restart?wait=30s": (200, {"changed": True, "state": "connected"}),
    "PUT /v1/kill-switch/mode {\"mode\":\"always\"}": (200, {"changed": True}),
    "PUT /v1/kill-switch/mode {\"mode\":\"off\"}": FORBIDDEN,
    "PUT /v1/kill-switch/mode?dryRun=true {\"mode\":\"always\"}": (200, {"changed": False}),
    "POST /v1/tunnels/home/start?dryRun=true": (200, {"changed": True, "state": "connecting"}),
    "POST /v1/tunnels/import?id=x9&dryRun=true": (200, {"id": "x9", "changed": True, "warnings": [{"pointer": "/interface/PostUp", "detail": "is not run"}]}),
    "POST /v1/bypass?dryRun=true": (200, {"id": None, "changed": True}),
    "POST /v1/kill-switch/release": (200, {"changed": True, "until": "2026-11-22T15:25:00.000Z"}),
    "POST /v1/tunnels/import?id=my_office_vp": (201, {"id": "my_office_vp", "changed": True, "warnings": [{"pointer": "/interface/PostUp", "detail": "is not run"}]}),
    "POST /v1/tunnels/import?id=bad": (400, problem(400, "The document has errors", "the file has 2 errors; nothing was changed")[1] | {
        "errors": [{"pointer": "/line/4", "detail": "\"10.0.0.300/8\" is no network; write ADDRESS/LENGTH"}, {"pointer": "", "detail": "has no [Peer] section"}]}),
    "POST /v1/tunnels/import?id=alone": (400, problem(400, "The document has errors", "is no wg-quick file")[1] | {
        "errors": [{"pointer": "", "detail": "is no wg-quick file"}]}),
    "POST /v1/tunnels/import?id=x9": (201, {"id": "x9", "changed": True, "warnings": []}),
    "POST /v1/tunnels": (409, problem(409, "A tunnel of that id exists", "a tunnel \"home\" exists; replace it with PUT")[1] | {"code": "tunnelExists"}),
    "PUT /v1/tunnels/home": (200, {"changed": False}),
    "DELETE /v1/tunnels/home": (200, {"changed": True}),
    "GET /v1/policy": (200, {"version": 1, "name": "tab\there", "rules": []}),
    "PUT /v1/policy": INVALID,
    "POST /v1/policy/validate good": (200, {"valid": True, "errors": [], "warnings": [{"pointer": "/rules/3", "detail": "can never be reached"}]}),
    "POST /v1/policy/validate": (200, {"valid": False, "errors": INVALID[1]["errors"], "warnings": []}),
    "POST /v1/policy/evaluate": (200, EVALUATION),
    "POST /v1/policy/evaluate {\"event\":\"boot\"}": (200, {"decision": None, "rule": None, "delay": None, "limited": False,
        "tried": [{"index": 0, "name": "offline", "failed": "/when/network/profile", "unknown": True}]}),
    "POST /v1/decisions/7/answer {\"restart\":true}": (200, {"changed": True}),
    "POST /v1/decisions/7/answer {\"restart\":false}": problem(409, "The decision was answered already", "decision 7 is not pending any more"),
    "GET /v1/tokens": (200, {"tokens": [
        {"id": "9f86d081884c7d65", "name": "ansible", "scope": "admin", "created": "2026-11-22T15:20:00.000Z", "expires": None, "lastUsed": "2026-11-22T15:21:00.000Z"},
        {"id": "60303ae22b998861", "name": "guest", "scope": "read", "created": "2026-11-22T15:20:00.000Z", "expires": "2026-11-23T15:20:00.000Z", "lastUsed": None}]}),
    "POST /v1/tokens {\"name\":\"ci\",\"scope\":\"control\",\"lifetime\":\"90d\"}": (201, {"id": "9f86d081884c7d65", "token": "hft_0123", "expires": None}),
    "DELETE /v1/tokens/9f86d081884c7d65": (200, {"changed": True}),
    "DELETE /v1/tokens/none": problem(404, "There is no such token", "there is no token \"none\""),
    "GET /v1/events?limit=1000": (200, {"events": EVENTS, "cursor": 43, "gap": False}),
    "GET /v1/events?limit=1000&after=41&tunnel=home": (200, {"events": EVENTS[1:2], "cursor": 42, "gap": True}),
    "GET /v1/events?limit=1&after=41": (200, {"events": EVENTS[1:2], "cursor": 42, "gap": True}),
    "GET /v1/events?limit=1000&after=99": (200, {"events": [], "cursor": 99, "gap": True}),
    "GET /v1/events?limit=1&after=99": (200, {"events": [], "cursor": 99, "gap": True}),
    "GET /v1/events?limit=1000&kind=many": (200, {"events": MANY[:1000], "cursor": 1000, "gap": False}),
    "GET /v1/events?limit=1000&after=1000&kind=many": (200, {"events": MANY[1000:], "cursor": 1007, "gap": False}),
    "GET /v1/events?limit=2&tunnel=home&kind=stateChanged&since=2026-11-22T16%3A20%3A00%2B01%3A00&until=2026-11-22T15%3A21%3A00Z":
        (200, {"events": EVENTS[:2], "cursor": 42, "gap": False}),
    "GET /v1/events?limit=1000&since=yesterday": (400, problem(400, "The request is not understood", "a time cannot be read")[1] | {
        "errors": [{"pointer": "/since", "value": "\"yesterday\"", "detail": "is no time; write it as RFC 3339 does"}]}),
    "GET /v1/decisions?limit=1000": (200, {"events": DECISIONS, "cursor": 51, "gap": False}),
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def address_string(self):
        return "unix"

    def answer(self, code, body):
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json" if code < 400 else "application/problem+json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        after = int(self.path.partition("after=")[2] or 0)
        if after > EVENTS[-1]["id"]:
            self.wfile.write(f"id: {EVENTS[-1]['id']}\nevent: resync\ndata: {json.dumps({'id': EVENTS[-1]['id'], 'kind': 'resync'})}\n\n".encode())
        for event in EVENTS:
            if event["id"] > after:
                self.wfile.write(f": a heartbeat\nid: {event['id']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n".encode())
        self.close_connection = True

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        key = f"{self.command} {self.path}"
        with open(f"{self.server.path}.log", "a", encoding="utf-8") as log:
            print(key, self.headers.get("If-Match", "-"), self.headers.get("Content-Type", "-"), body.strip(), file=log)
        if self.path.startswith("/v1/events") and "text/event-stream" in self.headers.get("Accept", ""):
            self.stream()
        elif key == "GET /v1/status":
            self.answer(200, STATUSES[self.server.status]())
        elif key == "GET /v1/diagnostics":
            self.answer(200, {"findings": FINDINGS.get(self.server.status, [])})
        else:
            self.answer(*ANSWERS.get(f"{key} {body.strip()}", ANSWERS.get(key, (500, "nobody expected " + key))))

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path, chosen):
        self.path, self.status = path, chosen
        super().__init__(path, Handler)

    def handle_error(self, request, client_address):
        """A client that leaves in the middle of an answer is no error here."""


def main():
    path, options = sys.argv[1], sys.argv[2:]
    chosen = next((option[7:] for option in options if option.startswith("status=")), "protected")
    if os.path.exists(path):
        os.unlink(path)
    server = Server(path, chosen)
    print("ready", flush=True)
    if "hang" in options:
        time.sleep(600)
    server.serve_forever()


main()
