# SPDX-License-Identifier: LGPL-2.1-or-later
"""The three fronts as their users have them, each asked the same: curl, gdbus and holdfastctl. What one answers is a Told."""

import json
import re
from dataclasses import dataclass, field

from . import isolation
from .api import Answer
from .on_bus import NAME, ROOT
from .process import PATIENCE

isolation.require()

NOBODY = ["setpriv", f"--reuid={isolation.NOBODY}", f"--regid={isolation.CONTROL_GROUP}", "--clear-groups", "--"]
# gdbus takes no argument of more than the kernel's 128 KiB, so what is larger goes by python3-dbus: ADDRESS PATH MEMBER FILE.
_CALL_WITH_FILE = f"""
import dbus, sys
address, path, member, file = sys.argv[1:]
interface, _, name = member.rpartition(".")
try:
    dbus.Interface(dbus.bus.BusConnection(address).get_object("{NAME}", path), interface).get_dbus_method(name)(open(file).read())
except dbus.DBusException as error:
    sys.exit(f"Error: GDBus.Error:{{error.get_dbus_name()}}: {{error.get_dbus_message()}}")
"""


@dataclass
class Told:
    """How a front ended a call. ENDED: HTTP's status, the D-Bus error's name (None: no error), or holdfastctl's exit status."""

    ended: object
    text: str  # for a person: a problem's detail, the error's message, what stands in standard error
    answer: Answer = field(default=None, repr=False)  # REST's alone


class Curl:
    """REST on the Unix socket; with `address` over TCP. ask(METHOD, PATH, BODY): BODY is a document, or the name of a file in FILE=."""

    def __init__(self, lab, daemon):
        self.lab, self.daemon = lab, daemon

    def ask(self, method, path, body=None, file=None, kind="application/json", headers=("If-Match: *",), address=None, member=False):
        command = ["curl", "-sS", "--max-time", str(2 * PATIENCE), "-X", method, "-w", "\n%{http_code} %{content_type}"]
        command += [word for header in headers for word in ("-H", header)]
        if body is not None or file:
            command += ["-H", f"Content-Type: {kind}", "--data-binary", f"@{file or '-'}"]
        command += [f"http://{address}{path}"] if address else ["--unix-socket", self.daemon.api.path, f"http://localhost{path}"]
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        done = self.lab.run([*(NOBODY if member else []), *command], check=False, input=text, timeout=3 * PATIENCE)
        body, _, ended = done.stdout.rpartition("\n")
        status, _, kind = ended.partition(" ")
        answer = Answer(int(status), {"Content-Type": kind}, json.loads(body) if "json" in kind else body)
        return Told(answer.status, answer.body.get("detail", "") if "json" in kind else body, answer)


class Gdbus:
    """ask(INTERFACE.MEMBER, ARGUMENT…): of a tunnel's interface with TUNNEL=, all else of the root object's."""

    def __init__(self, lab, on_bus):
        self.lab, self.on_bus = lab, on_bus

    def ask(self, member, *arguments, tunnel=None, file=None, member_of_group=False):
        path = f"{ROOT}/tunnel/{tunnel}" if tunnel else ROOT
        address, called = self.on_bus.bus.address, f"{NAME}.{member}"
        command = ["gdbus", "call", "--address", address, "--timeout", str(2 * PATIENCE), "--dest", NAME, "--object-path", path,
                   "--method", called, *arguments]
        if file:
            command = ["/usr/bin/python3", "-c", _CALL_WITH_FILE, address, path, called, file]
        done = self.on_bus.run([*(NOBODY if member_of_group else []), *command], timeout=3 * PATIENCE)
        found = re.search(r"GDBus\.Error:([\w.]+): (.*)", done.stderr, re.DOTALL)
        assert found or done.returncode == 0, done
        return Told(found[1] if found else None, found[2] if found else done.stdout)


class Holdfastctl:
    """ask(ARGUMENT…): INPUT is what `-` reads."""

    def __init__(self, daemon):
        self.daemon = daemon

    def ask(self, *arguments, input=None, member=False):
        text = input if isinstance(input, str) or input is None else json.dumps(input)
        done = self.daemon.ctl_as_member(*arguments) if member else self.daemon.ctl(*arguments, input=text, timeout=3 * PATIENCE)
        return Told(done.returncode, done.stderr or done.stdout)
