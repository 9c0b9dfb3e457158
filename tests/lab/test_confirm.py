# SPDX-License-Identifier: LGPL-2.1-or-later
"""Settings on trial: confirmWithin, over every front, and over the death of the daemon."""

import json
import os

from lab.api import seconds_of

NAME, ROOT = "org.holdfast.Holdfast1", "/org/holdfast/Holdfast1"


def file_of(daemon):
    return f"{daemon.state_dir}/unconfirmed.json"


def on_trial(daemon):
    """Until when; None: nothing is. The file says the same."""
    by = daemon.api.status()["gate"]["confirmBy"]
    assert (by is not None) == os.path.exists(file_of(daemon))
    return by


def wait_mode(watch, mode):
    return watch.wait(kind="modeChanged", new=mode)


def overdue(daemon):
    """Brings the deadline forward in the file of a daemon that does not run: nothing need be waited for."""
    with open(file_of(daemon)) as file:
        document = json.load(file)
    document["deadline"] = 1
    with open(file_of(daemon), "w") as file:
        json.dump(document, file)


def test_rolled_back(lab):
    """a mode that nobody confirms is taken back, and everything leaves again; a late confirmation is refused"""
    lab.leaks.prove()
    daemon = lab.daemon()
    watch = daemon.api.watch()
    daemon.api.put("/kill-switch/mode", {"mode": "always", "confirmWithin": "1h"})
    lab.leaks.closed()
    assert on_trial(daemon)
    daemon.api.patch("/kill-switch?confirmWithin=1s", {"lan": "allow"})  # whatever was to be seen before its end was
    assert "confirmWithin" in wait_mode(watch, "auto")["by"]
    assert daemon.api.get("/kill-switch")["mode"] == "auto" and on_trial(daemon) is None
    lab.leaks.control.clear()
    lab.leaks.prove()
    answer = daemon.api.call("POST", "/kill-switch/confirm", {})
    assert answer.status == 409 and answer.body["code"] == "wrongState", answer


def test_confirmed(lab):
    """what is confirmed stands, over a restart too; to confirm again changes nothing"""
    daemon = lab.daemon()
    daemon.api.put("/kill-switch/mode", {"mode": "always", "confirmWithin": "1h"})
    assert daemon.api.post("/kill-switch/confirm")["changed"] is True
    assert daemon.api.post("/kill-switch/confirm")["changed"] is False
    assert on_trial(daemon) is None
    daemon.kill()
    daemon.start()
    assert daemon.api.status()["gate"]["mode"] == "always" and on_trial(daemon) is None


def test_documents(lab):
    """ReplaceKillSwitch and UpdateKillSwitch take it as well; the first settings before the trials are what comes back"""
    daemon = lab.daemon()
    daemon.api.patch("/kill-switch", {"lan": "allow"})
    before = daemon.api.get("/kill-switch")
    watch = daemon.api.watch()
    daemon.api.put("/kill-switch?confirmWithin=1h", before | {"mode": "always"})
    daemon.api.patch("/kill-switch?confirmWithin=1s", {"lan": "block"})
    wait_mode(watch, "auto")
    assert daemon.api.get("/kill-switch") == before
    # A change without it ends a trial: whoever makes it has not been cut off.
    daemon.api.patch("/kill-switch?confirmWithin=1h", {"lan": "block"})
    daemon.api.mode("always")
    assert on_trial(daemon) is None


def test_over_death(lab):
    """the trial goes on when the daemon is killed: the next one waits for the rest of it, or goes back at once"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.put("/kill-switch/mode", {"mode": "always", "confirmWithin": "1h"})
    by = on_trial(daemon)
    daemon.kill()
    daemon.start()
    assert abs(seconds_of(on_trial(daemon)) - seconds_of(by)) < 60 and daemon.gate() == "closed", (on_trial(daemon), by)
    lab.leaks.closed()
    daemon.kill()
    overdue(daemon)
    daemon.start()
    assert daemon.api.status()["gate"]["mode"] == "auto" and on_trial(daemon) is None
    assert daemon.table() is None
    lab.leaks.control.clear()
    lab.leaks.prove()


def test_relaxed(lab):
    """a relaxation that nobody confirms is taken back: the gate is closed again, by the boot step too"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    daemon.api.put("/kill-switch/mode", {"mode": "off", "confirmWithin": "1h"})
    assert daemon.table() is None
    daemon.kill()
    with open(file_of(daemon)) as file:
        document = json.load(file)
    document["bootId"] = "another"
    with open(file_of(daemon), "w") as file:
        json.dump(document, file)
    assert daemon.run("--boot").returncode == 0
    lab.leaks.closed()
    daemon.start()
    assert daemon.api.status()["gate"]["mode"] == "always" and on_trial(daemon) is None
    lab.leaks.closed()


def test_unreadable(lab):
    """a trial whose file cannot be read holds the gate: unknown means closed"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.patch("/kill-switch?confirmWithin=1h", {"management": ["192.0.2.0/24"]})
    daemon.kill()
    with open(file_of(daemon), "w") as file:
        file.write('{"version": 1, "boot')
    daemon.start()
    assert "unconfirmed.json" in daemon.api.status()["gate"]["heldFor"]
    daemon.kill()
    daemon.start()
    lab.leaks.closed()


def test_fronts(lab):
    """holdfastctl and D-Bus say the same as REST"""
    environment = {"DBUS_SYSTEM_BUS_ADDRESS": lab.bus().address}
    daemon = lab.daemon(environment=environment)
    done = daemon.ctl("mode", "always", "--confirm-within", "1h")
    assert done.returncode == 0 and "holdfastctl confirm" in done.stdout, done
    assert on_trial(daemon)
    done = daemon.ctl("confirm")
    assert done.returncode == 0 and "confirmed" in done.stdout, done

    def call(method, signature, *arguments):
        words = ["busctl", "--system", "call", NAME, ROOT, f"{NAME}.KillSwitch", method, *([signature] if signature else []), *arguments]
        return lab.run(words, env=os.environ | environment).stdout.strip()

    assert call("SetMode", "ss", "auto", "1h") == "b true"
    assert on_trial(daemon)
    assert call("Confirm", "") == "b true"
    assert call("Update", "ss", '{"lan": "allow"}', "1h").split()[1] == "true"
    assert on_trial(daemon)
    assert call("SetMode", "ss", "always", "") == "b true"
    assert on_trial(daemon) is None


def test_bad_input(lab):
    """durations that are none are refused by name, and nothing is changed"""
    daemon = lab.daemon()
    for text in ("", "soon", "999ms", "61m", "-1s"):
        answer = daemon.api.call("PUT", "/kill-switch/mode", {"mode": "always", "confirmWithin": text})
        if text:  # an empty text is none
            assert answer.status == 400 and "confirmWithin" in json.dumps(answer.body), (text, answer)
            assert daemon.api.status()["gate"]["mode"] == "auto" and on_trial(daemon) is None


def test_control_confirms_nothing(lab):
    """who may tighten and not confirm ends no trial by it: the former settings come back, with the stricter of both modes"""
    lab.leaks.prove()
    daemon = lab.daemon()
    for former, trial, wanted, after in (("always", "off", "auto", "always"), ("off", "auto", "always", "always")):
        daemon.api.mode(former)
        daemon.api.put("/kill-switch?confirmWithin=1h", {"mode": trial, "lan": "allow"})
        done = daemon.ctl_as_member("mode", wanted)
        assert done.returncode == 0, done
        assert daemon.api.status()["gate"]["mode"] == wanted
        assert on_trial(daemon), "the trial was ended by somebody who may not confirm"
        daemon.kill()
        overdue(daemon)
        daemon.start()
        settings = daemon.api.get("/kill-switch")
        assert (settings["mode"], settings["lan"]) == (after, "block") and on_trial(daemon) is None, settings
        lab.leaks.closed()
