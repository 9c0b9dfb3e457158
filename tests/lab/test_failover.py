# SPDX-License-Identifier: LGPL-2.1-or-later
"""From one server to another and from one tunnel to another, with the gate closed on the way."""

import os
import signal

from lab import topology
from lab.daemon import RESTART_AT_ONCE, policy
from lab.leaks import SERVER
from test_command import commanded, install, program_pids
from test_restart import nothing_leaves

ENDPOINTS = [f"{topology.SERVER4}:{port}/udp" for port in (51820, 51821, 51822)]


def contacted(watch, tunnel="office"):
    return [event["endpoint"] for event in watch.seen if event["kind"] == "connecting" and event["tunnel"] == tunnel]


def refusing(lab, choice):
    """A tunnel of three servers of which only the last takes anybody; what is refused is restarted with CHOICE."""
    rules = policy(({"error": "sessionRefused"}, {"action": "restart", "endpoint": choice}))
    endpoints = [{"address": endpoint} for endpoint in ENDPOINTS]
    return commanded(lab, ["only", "51822", "{port}"], rules, connect=False, endpoints=endpoints)


def test_failover_next_endpoint(lab):
    """endpoint `next` goes round in the document's order until one takes it"""
    daemon = refusing(lab, "next")
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        daemon.api.start("office", wait=None)
        watch.wait_state("connected", "office")
    assert contacted(watch) == ENDPOINTS, contacted(watch)
    lab.ping(topology.INNER_SERVER4)


def test_failover_random_endpoint(lab):
    """endpoint `random` takes any of the document's, and finds the one that is there"""
    daemon = refusing(lab, "random")
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        daemon.api.start("office", wait=None)
        watch.wait_state("connected", "office")
    tried = contacted(watch)
    assert set(tried) <= set(ENDPOINTS) and tried[-1] == ENDPOINTS[-1], tried
    lab.note(f"{len(tried)} attempts")


def test_failover_other_tunnel(lab):
    """a rule hands over to another tunnel: the first rests as superseded, the second carries, and nothing leaves between"""
    daemon, server = lab.guarded(policy(({"error": "workerCrashed"}, {"action": "failover", "to": ["away"]})))
    daemon.add_tunnel(server.document(tunnel="away"))
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(daemon.client_pid(), signal.SIGKILL)
        watch.wait_state("connected", "away")
        lab.ping(topology.INTERNET4)
    home, away = daemon.api.tunnel("home"), daemon.api.tunnel("away")
    assert (home["state"], home["reason"], home["wanted"]) == ("disconnected", "superseded", False), home
    assert away["state"] == "connected" and away["wanted"], away


def test_failover_to_less(lab):
    """a tunnel that carries less takes nobody's place: the next one of the list does, and with none the gate stays closed"""
    to = ["narrow", "away"]
    daemon, server = lab.guarded(policy(({"tunnel": "home"}, {"action": "failover", "to": to}), ({"tunnel": "away"}, {"action": "failover", "to": ["narrow"]})))
    daemon.add_tunnel(server.document(tunnel="away"))
    daemon.add_tunnel(server.document(tunnel="narrow") | {"routes": ["10.9.0.0/24"]})
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(daemon.client_pid(), signal.SIGKILL)
        watch.wait_state("connected", "away")
        lab.ping(topology.INTERNET4)
        os.kill(daemon.client_pid(), signal.SIGKILL)
        watch.wait_state("failed", "away")
    assert daemon.gate() == "closed" and not daemon.api.tunnel("narrow")["wanted"], daemon.api.status()


def test_failover_switch_over(lab):
    """starting a second tunnel that routes everything ends the first as superseded, there and back, the gate closed throughout"""
    daemon, server = lab.guarded(RESTART_AT_ONCE)
    daemon.add_tunnel(server.document(tunnel="away"))
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        for old, new in (("home", "away"), ("away", "home"), ("home", "away")):
            daemon.api.start(new)
            assert daemon.api.tunnel(new)["state"] == "connected", daemon.api.status()
            stopped = watch.wait(lambda event: event["kind"] == "stateChanged" and event["tunnel"] == old and event["new"] == "disconnected")
            assert stopped["reason"] == "superseded", stopped
            lab.ping(topology.INTERNET4)
    opened = [event for event in watch.seen if event["kind"] == "gateChanged" and event["new"] == "open"]
    assert not opened, opened


def test_failover_narrow_beside(lab):
    """a tunnel of narrow routes stands beside one that routes everything; the end of either leaves the other alone"""
    lab.leaks.prove()
    server = lab.server()
    daemon = lab.daemon(start=False)
    install(daemon, ["line"], settings={"addresses": ["10.20.0.2/32"]}, routes=["10.20.0.0/24"], endpoint=ENDPOINTS[1])
    daemon.start()
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(server.document())
    with_both = ("home", "office")
    for tunnel in with_both:
        daemon.api.start(tunnel)
        assert daemon.api.tunnel(tunnel)["state"] == "connected", daemon.api.status()
    watch = daemon.api.watch()
    with nothing_leaves(lab, [SERVER]):
        lab.ping("10.20.0.1")
        lab.ping(topology.INTERNET4)
        os.kill(program_pids()[0], signal.SIGKILL)
        watch.wait_state("connected", "office")
        lab.ping("10.20.0.1")
        os.kill(daemon.client_pid(), signal.SIGKILL)
        watch.wait_state("connected", "home")
        lab.ping(topology.INTERNET4)
        daemon.api.stop("office")
        lab.ping(topology.INTERNET4)
    stops = [(event["tunnel"], event["error"]) for event in watch.seen if event["kind"] == "willStop"]
    assert stops == [("office", "workerCrashed"), ("home", "workerCrashed")], stops
