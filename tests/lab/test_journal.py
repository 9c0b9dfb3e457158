# SPDX-License-Identifier: LGPL-2.1-or-later
"""The journal: the same pages through every front, and disks that are full, read-only or torn, which stop recording and never deciding."""

import json
import os
import signal
import urllib.parse

from lab import topology
from lab.daemon import RESTART_AT_ONCE, Daemon
from lab.leaks import SERVER
from lab.on_bus import NAME, ROOT, OnBus

SMALL = "/run/lab/small"


def lose_client(daemon, watch):
    """Kills the client; returns when the tunnel is up again, by decision of the policy."""
    os.kill(daemon.client_pid(), signal.SIGKILL)
    decision = watch.wait(kind="decision")
    watch.wait_state("connected")
    return decision["id"]


def pages(daemon, path, **filters):
    """Every row of PATH's pages of two."""
    found, after = [], 0
    while True:
        page = daemon.api.get(path + "?" + urllib.parse.urlencode(filters | {"limit": 2, "after": after}))
        found += page["events"]
        if len(page["events"]) < 2:
            return found
        assert page["cursor"] == page["events"][-1]["id"], page
        after = page["cursor"]


def test_filtered_the_same_everywhere(lab):
    """events and decisions are narrowed by tunnel, kind and time, page by page, and are the same through REST, D-Bus and the command line"""
    on_bus = OnBus(lab)
    daemon = on_bus.daemon
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(lab.server().document())
    daemon.api.start()
    watch = daemon.api.watch()
    decisions = [lose_client(daemon, watch) for _ in range(5)]
    everything = daemon.api.get("/events?limit=1000")["events"]
    times = {event["id"]: event["time"] for event in everything}
    since, until = times[decisions[1]], times[decisions[3]]
    wanted = [event for event in everything if event["kind"] == "decision" and since <= event["time"] <= until]
    assert {event["id"] for event in wanted} >= set(decisions[1:4]) and decisions[4] not in [event["id"] for event in wanted]
    assert pages(daemon, "/decisions", tunnel="home", since=since, until=until) == wanted
    assert pages(daemon, "/events", tunnel="home", kind="decision", since=since, until=until) == wanted
    assert pages(daemon, "/events")[: len(everything)] == everything  # others may have come meanwhile
    assert pages(daemon, "/decisions", tunnel="other") == []

    ids = [event["id"] for event in wanted]
    filters = ["--tunnel", "home", "--since", since, "--until", until]
    for command in (["decisions"], ["events", "--kind", "decision"]):
        done = daemon.ctl("--json", *command, *filters)
        assert done.returncode == 0 and json.loads(done.stdout)["events"] == wanted, done
    done = daemon.ctl("decisions", *filters)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == len(wanted), done
    answer = on_bus.call(ROOT, f"{NAME}.Policy", "ListDecisions", "tssst", "0", "home", since, until, "1000")
    assert [row["id"]["data"] for row in answer[0]] == ids, answer
    answer = on_bus.call(ROOT, f"{NAME}.Manager", "ListEvents", "tssss" + "t", "0", "home", "decision", since, until, "1000")
    assert [row["id"]["data"] for row in answer[0]] == ids, answer


def test_bad_filters(lab):
    """a time that cannot be read, a span that holds none and a limit out of range are refused with their place"""
    daemon = lab.daemon()
    for query, pointer in (("since=yesterday", "/since"), ("until=2026-11-22T15:20:00", "/until"), ("limit=0", "/limit"), ("limit=1001", "/limit"),
                           ("since=2026-11-22T15:20:00Z&until=2026-11-22T15:19:59Z", "/until"), ("sience=2026-11-22T15:20:00Z", "/sience")):
        for path in ("/events", "/decisions"):
            answer = daemon.api.call("GET", f"{path}?{query}")
            assert answer.status == 400 and [error["pointer"] for error in answer.body["errors"]] == [pointer], (query, answer)
    answer = daemon.api.call("GET", "/events?since=2026-11-22T15:20:00Z", headers={"Accept": "text/event-stream"})
    assert answer.status == 400, answer


def on_a_small_disk(lab):
    """A daemon whose state lies on a tmpfs of 1 MiB, with the tunnel `home`, connected."""
    os.makedirs(SMALL)
    lab.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", SMALL])
    daemon = Daemon(lab, state_dir=SMALL)
    lab.daemons.append(daemon)
    daemon.start()
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(lab.server().document())
    daemon.api.start()
    return daemon


def test_full_disk(lab):
    """on a full disk decisions go on and the status says what is not recorded; with room again recording goes on by itself, nothing lost"""
    lab.leaks.prove()
    daemon = on_a_small_disk(lab)
    watch = daemon.api.watch()
    lab.run(["dd", "if=/dev/zero", f"of={SMALL}/fill", "bs=1k"], check=False)
    decisions = []
    while not daemon.api.status()["journal"]:
        decisions.append(lose_client(daemon, watch))
    decisions.append(lose_client(daemon, watch))
    lab.ping(topology.INTERNET4)
    status = daemon.api.status()
    assert "full" in status["journal"] and "journal.db" in status["journal"], status
    assert "not recorded on disk" in daemon.ctl("status").stdout
    lab.run(["rm", f"{SMALL}/fill"])
    daemon.process.wait_log("recording again")  # it is asked nothing meanwhile, which would wake it
    assert daemon.api.status()["journal"] is None
    daemon.kill()
    daemon.start()
    kept = [row["id"] for row in daemon.api.get("/decisions")["events"]]
    assert kept[: len(decisions)] == decisions, (kept, decisions)


def test_read_only_disk(lab):
    """a daemon that starts on a read-only disk takes its tunnel back, decides, and says what is not recorded; ids do not begin anew"""
    lab.leaks.prove()
    daemon = on_a_small_disk(lab)
    last = daemon.api.last_event()
    daemon.kill()
    lab.run(["mount", "-o", "remount,ro", SMALL])
    daemon.start()
    daemon.wait_connected()
    status = daemon.api.status()
    assert "Read-only" in status["journal"] or "journal.db" in status["journal"], status
    first = lose_client(daemon, daemon.api.watch())
    lab.leaks.closed([SERVER])
    assert first > last, (first, last)
    lab.run(["mount", "-o", "remount,rw", SMALL])
    daemon.process.wait_log("recording again")
    kept = [row["id"] for row in daemon.api.get("/events?limit=1000")["events"]]
    assert first in kept and kept == sorted(set(kept)), kept


def test_torn_journal(lab):
    """a journal that is no database is put aside and never in the way: the tunnel stays, a new one is written, ids go on"""
    daemon, _ = lab.guarded()
    last = daemon.api.last_event()
    daemon.kill()
    os.unlink(f"{daemon.state_dir}/journal.db-wal")  # in which the file's beginning stands once more
    with open(f"{daemon.state_dir}/journal.db", "r+b") as file:
        file.write(b"no database at all" * 100)
    daemon.start()
    daemon.wait_connected()
    assert os.path.exists(f"{daemon.state_dir}/journal.db.broken") and daemon.api.status()["journal"] is None
    page = daemon.api.get("/events")
    assert page["gap"] and page["events"][0]["id"] > last, page
    decision = lose_client(daemon, daemon.api.watch())
    assert decision in [row["id"] for row in daemon.api.get("/decisions")["events"]]
