# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a property costs on the bus, over the least that can be asked of anybody there, and over NetworkManager's: ratios within one run."""

from lab.daemon import RESTART_AT_ONCE
from lab.networkmanager import NetworkManager
from lab.on_bus import NAME, ROOT, OnBus

ROUNDS = 5000  # of each kind, in turn
OVER_PING = 1.15
NM, NM_ROOT = "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"


def bench_property(lab):
    """a property read takes at most 1.15 of our own Peer.Ping, and less than the same read from NetworkManager"""
    on_bus = OnBus(lab)
    on_bus.daemon.policy(RESTART_AT_ONCE)
    on_bus.daemon.add_tunnel(lab.server().document())
    on_bus.daemon.api.start()
    NetworkManager(lab, on_bus.bus)
    subjects = {
        "ping": (NAME, ROOT, "-", "-"),
        "Protection": (NAME, ROOT, f"{NAME}.Manager", "Protection"),
        "State": (NAME, f"{ROOT}/tunnel/home", f"{NAME}.Tunnel", "State"),
        "RxBytes": (NAME, f"{ROOT}/tunnel/home", f"{NAME}.Tunnel", "RxBytes"),
        "NetworkManager's State": (NM, NM_ROOT, NM, "State"),
        "NetworkManager's ping": (NM, NM_ROOT, "-", "-"),
    }
    arguments = [word for subject in subjects.values() for word in subject]
    done = lab.run([lab.program("tests/bench/bus-load"), str(ROUNDS), *arguments], env=on_bus.environment, timeout=120)
    took = dict(zip(subjects, map(float, done.stdout.split()), strict=True))
    theirs = took["NetworkManager's State"]
    for name, median in took.items():
        lab.note(f"{name}: {median:.1f} µs, × {median / took['ping']:.2f} of our ping, × {median / theirs:.2f} of NetworkManager's State")
    for name in ("Protection", "State", "RxBytes"):
        assert took[name] <= OVER_PING * took["ping"], (name, took)
        assert took[name] < theirs, (name, took)
