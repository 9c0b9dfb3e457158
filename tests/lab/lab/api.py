# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon's HTTP interface on its Unix socket, and its events as something to wait for."""

import calendar
import contextlib
import http.client
import json
import socket
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from . import isolation
from .process import PATIENCE

isolation.require()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


@dataclass(frozen=True)
class Answer:
    """STATUS and HEADERS of an answer; BODY is what its JSON says, or the text where it is none."""

    status: int
    headers: dict = field(repr=False)
    body: Any


class Problem(AssertionError):
    """An answer of 400 or above to a call that should have succeeded."""

    def __init__(self, request, answer):
        self.answer = answer
        super().__init__(f"{request}: {answer.status} {json.dumps(answer.body)}")


class Api:
    """One daemon's interface. `call` returns any answer; `get`, `put`, `post`, `patch`, `delete` raise Problem on errors."""

    def __init__(self, path, prefix="/v1"):
        self.path, self.prefix = path, prefix

    def _connect(self, timeout):
        return _Connection(self.path, timeout)

    def call(self, method, path, body=None, headers=None, timeout=PATIENCE, content_type="application/json"):
        """BODY: a document, or bytes to be sent as they are."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = dict(headers or {})
        if body is not None:
            headers.setdefault("Content-Type", content_type)
        connection = self._connect(timeout)
        try:
            with contextlib.suppress(BrokenPipeError):  # a body that is too large is answered before it was read
                connection.request(method, self.prefix + path, body, headers)
            response = connection.getresponse()
            text = response.read()
            kind = response.headers.get_content_type()
            document = json.loads(text) if kind.endswith("json") and text else text.decode(errors="replace")
            return Answer(response.status, dict(response.headers), document)
        finally:
            connection.close()

    def _expect(self, method, path, body=None, **options):
        answer = self.call(method, path, body, **options)
        if answer.status >= 400:
            raise Problem(f"{method} {path}", answer)
        return answer.body

    def get(self, path, **options):
        return self._expect("GET", path, **options)

    def post(self, path, body=None, **options):
        return self._expect("POST", path, {} if body is None else body, **options)

    def put(self, path, body, **options):
        return self._expect("PUT", path, body, headers={"If-Match": "*"}, **options)

    def patch(self, path, body, **options):
        return self._expect("PATCH", path, body, headers={"If-Match": "*"}, content_type="application/merge-patch+json", **options)

    def delete(self, path, **options):
        return self._expect("DELETE", path, headers={"If-Match": "*"}, **options)

    # The calls that tests make all the time.

    def status(self):
        return self.get("/status")

    def tunnel(self, tunnel="home"):
        """The tunnel's part of the status."""
        return next(entry for entry in self.status()["tunnels"] if entry["id"] == tunnel)

    def mode(self, mode):
        return self.put("/kill-switch/mode", {"mode": mode})

    def start(self, tunnel="home", wait="60s"):
        return self.post(f"/tunnels/{tunnel}/start" + (f"?wait={wait}" if wait else ""), timeout=2 * PATIENCE)

    def stop(self, tunnel="home", wait="60s"):
        return self.post(f"/tunnels/{tunnel}/stop" + (f"?wait={wait}" if wait else ""), timeout=2 * PATIENCE)

    def last_event(self):
        """The id of the last event there was; 0: none yet."""
        events = self.all_events()
        return events[-1]["id"] if events else 0

    def all_events(self):
        """Every past event that is kept, oldest first."""
        found = []
        while page := self.events(found[-1]["id"] if found else 0):
            found += page
        return found

    def events(self, after=0):
        """Past events after id AFTER, oldest first; one page of them."""
        body = self.get("/events?" + urllib.parse.urlencode({"after": after}))
        return body["events"] if isinstance(body, dict) else body

    def watch(self, after=None):
        """The events from now on (or after id AFTER), as they happen."""
        return Watch(self.path, self.last_event() if after is None else after)


class Watch:
    """A stream of events (text/event-stream). `wait` returns the first that fits, within a deadline; `seen` are all that came.

    On `resync` (a daemon that died may have lost events) it does what a client is to do: it reads what there is, and goes on."""

    def __init__(self, path, after):
        self.seen = []
        self._path, self._after, self._read = path, after, []
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(path)
        request = f"GET /v1/events?after={after} HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
        self._socket.sendall(request.encode())
        head = self._until(b"\r\n\r\n", time.monotonic() + PATIENCE)
        if head.split(None, 2)[1] != b"200" or b"text/event-stream" not in head.lower():
            raise AssertionError(f"no stream of events: {head.decode(errors='replace')}")
        self._chunked = b"transfer-encoding: chunked" in head.lower()
        self._text = b""

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionResetError("the stream of events ended")
        self._buffer += data

    def _until(self, separator, deadline):
        while separator not in self._buffer:
            self._fill(deadline)
        head, self._buffer = self._buffer.split(separator, 1)
        return head

    def _more_text(self, deadline):
        if not self._chunked:
            if not self._buffer:
                self._fill(deadline)
            self._text, self._buffer = self._text + self._buffer, b""
            return
        size = int(self._until(b"\r\n", deadline).split(b";")[0], 16)
        while len(self._buffer) < size + 2:
            self._fill(deadline)
        self._text, self._buffer = self._text + self._buffer[:size], self._buffer[size + 2 :]

    def next(self, timeout=PATIENCE):
        """The next event; raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while True:
            if self._read:
                self.seen.append(self._read.pop(0))
                return self.seen[-1]
            self._text = self._text.replace(b"\r\n", b"\n")
            while b"\n\n" in self._text:
                block, self._text = self._text.split(b"\n\n", 1)
                lines = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
                if lines:
                    event = json.loads(b"\n".join(lines))
                    if event.get("kind") == "resync":
                        self._read = [past for past in Api(self._path).events(self._after) if past["id"] <= event["id"]]
                        break
                    self.seen.append(event)
                    return event
            if self._read:
                continue
            self._more_text(deadline)

    def wait(self, predicate=None, timeout=PATIENCE, **members):
        """The first event from here on that has MEMBERS (and for which PREDICATE holds); says what came instead if none does."""
        deadline = time.monotonic() + timeout
        begun = len(self.seen)
        while True:
            try:
                event = self.next(deadline - time.monotonic())
            except TimeoutError:
                came = "\n  ".join(json.dumps(event) for event in self.seen[begun:])
                raise TimeoutError(f"no event {members} within {timeout} s; there were:\n  {came or 'none'}") from None
            if all(event.get(name) == value for name, value in members.items()) and (predicate is None or predicate(event)):
                return event

    def wait_state(self, state, tunnel="home", timeout=PATIENCE):
        """The event that TUNNEL is in STATE."""
        return self.wait(lambda event: event.get("tunnel") == tunnel and state_of(event) == state, timeout)

    def close(self):
        self._socket.close()


def seconds_of(timestamp):
    """A TIMESTAMP of the interface ("2026-11-22T15:26:10.000Z") in seconds: to be subtracted from another. Those that are counted from
    another clock differ by a little each time they are told."""
    day, fraction = timestamp.rstrip("Z").split(".")
    return calendar.timegm(time.strptime(day, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction)


def state_of(event):
    """The state that a tunnel came to with EVENT; None where it tells of something else."""
    return event.get("new") if event.get("kind") == "stateChanged" else None
