# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server that is gone without a word: two signs, and nothing before there are both."""

import time

from lab import process, topology
from lab.daemon import TERMINATE
from test_restart import nothing_leaves


def test_health_server_gone(lab):
    """a WireGuard server that dies is peerUnresponsive after `unresponsive`, and nothing leaves"""
    daemon, server = lab.guarded(TERMINATE)
    wait_for_health(lab, daemon, "watching")
    flood = lab.flood()
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        begun = time.monotonic()
        server.kill()
        watch.wait(kind="unresponsive")
        stop = watch.wait(kind="willStop")
        took = time.monotonic() - begun
    flood.stop(0)
    lab.note(f"seen after {took:.1f} s")
    assert stop["error"] == "peerUnresponsive" and stop["phase"] == "connected", stop
    assert daemon.api.tunnel()["state"] == "failed"


def test_health_off(lab):
    """with health off nobody looks"""
    daemon, server = lab.guarded(TERMINATE, health={"enabled": False, "interval": "1s"})
    flood = lab.flood()
    server.kill()
    watch = daemon.api.watch()
    try:
        event = watch.wait(lambda event: event["kind"] in ("unresponsive", "willStop"), timeout=6)
    except TimeoutError:
        event = None
    flood.stop(0)
    assert event is None and daemon.api.tunnel()["health"] is None, event


def test_health_idle(lab):
    """an idle tunnel is left alone, however short the interval"""
    daemon, _ = lab.guarded(TERMINATE, health={"interval": "1s"})
    wait_for_health(lab, daemon, "watching")
    watch = daemon.api.watch()
    try:
        event = watch.wait(lambda event: event["kind"] in ("unresponsive", "willStop"), timeout=12)
    except TimeoutError:
        event = None
    assert event is None, event
    lab.ping(topology.INNER_SERVER4)


def test_health_target_stays_silent(lab):
    """a target that never answers is no proof: the passive sign is told, and the tunnel stays"""
    daemon, _ = lab.guarded(TERMINATE, health={"interval": "1s", "target": "10.9.0.77"})
    watch = daemon.api.watch()
    flood = lab.flood("10.9.0.78")
    watch.wait(kind="unresponsive")
    flood.stop(0)
    lab.ping(topology.INNER_SERVER4)
    assert daemon.api.tunnel()["state"] == "connected"


def wait_for_health(lab, daemon, word):
    """Returns once the status says WORD of the tunnel: there is no event for it."""
    process.until(lambda: daemon.api.tunnel()["health"] == word, lambda: daemon.api.tunnel())
