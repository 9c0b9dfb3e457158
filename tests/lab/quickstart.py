# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job, shown on real traffic: run by ./quickstart inside the lab.

A WireGuard server, the daemon with a policy that restarts at once, a tunnel; the client is killed, and the timeline shows what follows
as it happens. All the while traffic of every kind is offered, and what leaves is captured on the far side of the uplink.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time

from lab import topology
from lab.lab import Lab
from lab.leaks import SERVER, Leak, Unproven
from lab.traffic import KINDS

POLICY = {
    "version": 1,
    "name": "quickstart",
    "rules": [
        {
            "name": "lost or broken: again, at once",
            "when": {"error": ["connectionCouldNotBeEstablished", "serverDisconnected", "workerCrashed"]},
            "then": {"action": "restart"},
        }
    ],
    "otherwise": {"action": "terminate", "traffic": "block"},
}


# What the gate says of itself when it changes: a word, and what it lets by.
GATE = {
    "open": ("gate open", "everything leaves as if Holdfast were not there"),
    "closed": ("gate closed", "nothing leaves"),
    "connecting": ("gate closed", "nothing leaves but the worker's messages to the server"),
    "tunnel": ("gate: tunnel", "what goes through the tunnel leaves, nothing else"),
}


class Timeline:
    """Lines with the time since the beginning, as things happen."""

    def __init__(self):
        self.begun = time.monotonic()
        self.told = []

    def tell(self, what, detail=""):
        self.told.append(what)
        print(f"  {time.monotonic() - self.begun:7.3f} s  {what:16}{detail}", flush=True)

    def event(self, event):
        """Tells EVENT if it is one of those that make the story."""
        kind = event["kind"]
        if kind == "gateChanged":
            self.tell(*GATE[event["new"]])
        elif kind == "willStop":
            self.tell("error", f"{event['error']}: {event.get('detail') or 'the client is gone'}")
        elif kind == "decision":
            self.tell("rule", f"“{event['rule']}” decides: {event['action']['action']}")
        elif kind == "stateChanged" and event["new"] == "reasserting":
            self.tell("restart", "by the same worker")
        elif kind == "stateChanged" and event["new"] == "connected":
            self.tell("connected", "the server answered: the tunnel is up")

    def follow(self, watch, predicate):
        """Tells what comes until PREDICATE holds."""

        def told(event):
            self.event(event)
            return predicate(event)

        return watch.wait(told)


def state(name):
    return lambda event: event["kind"] == "stateChanged" and event["new"] == name


def show(lab):
    """The whole story; returns the number of packets offered, of the control's, and what left."""
    print(f"\nThe lab: client, router, VPN server, internet and a LAN host in namespaces, built in {lab.net.build_seconds * 1000:.0f} ms.")
    control = lab.leaks.prove()
    print(f"Positive control: with the gate open the capture on the far side of the uplink saw all {len(KINDS)} kinds of traffic.\n")

    server = lab.server()
    line = Timeline()
    daemon = lab.daemon()
    line.tell("started", "holdfastd; nothing is held yet")
    daemon.policy(POLICY)
    daemon.add_tunnel(server.document())
    watch = daemon.api.watch()
    daemon.api.start(wait=None)
    line.follow(watch, lambda event: event["kind"] == "gateChanged")
    lab.leaks.begin()
    generator = lab.generator()
    line.follow(watch, state("connected"))
    lab.ping(topology.INTERNET4)
    lab.ping(topology.INTERNET6)
    line.tell("", "the internet answers through the tunnel, IPv4 and IPv6")
    worker = daemon.worker_pid()

    client = daemon.client_pid()
    os.kill(client, signal.SIGKILL)
    line.tell("client killed", f"SIGKILL to wireguard-go ({client})")
    line.follow(watch, state("connected"))
    lab.ping(topology.INTERNET4)
    line.tell("", "the internet answers again")
    if daemon.worker_pid() != worker:
        raise AssertionError("the restart was not done by the same worker")
    lab.leaks.offered(generator.stop())
    try:
        offered, leaked = lab.leaks.verdict([SERVER]), []
    except Leak as leak:
        offered, leaked = sum(generator.count().values()), leak.frames
    blocked = daemon.api.status()["gate"]["blocked"]
    daemon.api.stop()
    line.tell("stopped", "by the user: the gate opens, nothing of Holdfast's is left")
    daemon.stop()
    wanted = ["started", "gate closed", "gate: tunnel", "connected", "client killed", "gate closed", "error", "rule", "restart", "gate: tunnel", "connected"]
    told = [what for what in line.told if what in wanted]
    if [what for what, before in zip(told, [None, *told]) if what != before] != wanted:  # a gate may close in two steps
        raise AssertionError(f"the timeline is not complete: {line.told}")
    print(f"\n  packets offered while the gate was closed:       {offered}")
    print(f"  refused by the gate's last rule:                 {blocked['out']}")
    print(f"  positive control, seen with the gate open:       {control}")
    print(f"  packets seen on the uplink outside the tunnel:   {len(leaked)}")
    for frame in leaked[:10]:
        print(f"    {frame}")
    return offered > 0 and control > 0 and not leaked


def main():
    parser = argparse.ArgumentParser(prog="quickstart")
    parser.add_argument("--build", required=True)
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="holdfast-quickstart-")
    lab = Lab(folder, os.path.abspath(options.build))
    try:
        if show(lab):
            shutil.rmtree(folder)
            print("\nDone. `./quickstart FILE.conf` guards this machine with a WireGuard file of yours; `./check` runs the tests.")
            return 0
        print("\nFAILED: something left outside the tunnel.")
    except (AssertionError, Unproven, TimeoutError, RuntimeError, OSError) as error:
        print(f"\nFAILED: {type(error).__name__}: {error}")
    lab.keep()
    print(f"Logs and the capture: {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
