# SPDX-License-Identifier: LGPL-2.1-or-later
"""The host's clock set forwards and back: nothing that ends the gate's openings goes by it. These need a clock of their own to set."""

import time

from lab.leaks import SERVER

YEAR = 365 * 86400


def set_clock(seconds):
    """Turns the host's clock by so many."""
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + seconds)


def test_clock_set(lab):
    """a release, a lifetime and a trial neither end sooner nor later when the host's clock is set a year forwards and back"""
    daemon, _ = lab.guarded()
    daemon.api.patch("/kill-switch?confirmWithin=10m", {"forwarding": {"masquerade": True}})
    daemon.api.post("/bypass", {"address": "192.0.2.1", "for": "1h"})
    daemon.api.post("/kill-switch/release", {"reason": "test", "for": "1h"})
    for turn in (YEAR, -YEAR, -YEAR, YEAR):
        set_clock(turn)
        status = daemon.api.status()
        assert status["protection"] == "released" and status["bypass"], status
        assert daemon.api.get("/kill-switch")["forwarding"]["masquerade"] is True
    watch = daemon.api.watch()
    daemon.api.post("/kill-switch/release", {"reason": "test", "for": "1s"})
    set_clock(-YEAR)
    watch.wait(kind="releaseEnded")
    lab.leaks.closed([SERVER])
    set_clock(YEAR)
    identifiers = [event["id"] for event in daemon.api.all_events()]
    assert identifiers == list(range(identifiers[0], identifiers[0] + len(identifiers))), identifiers


test_clock_set.alone = True  # whoever runs beside it would see the clock jump
