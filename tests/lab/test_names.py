# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server that is known by its name: who is asked for it, what is seen of that, and what happens where nobody answers."""

import os
import signal
import time

from lab import frames, topology
from lab.daemon import RESTART_AT_ONCE, TERMINATE
from lab.leaks import SERVER
from lab.names import NameServer, question
from lab.traffic import recognise

NAME = "vpn.example"


def is_query(frame):
    """Whether FRAME is the worker's question for NAME to the LAN's resolver, and nothing else to port 53."""
    if frame.protocol != frames.UDP or (frame.destination, frame.destination_port) != (topology.LAN4, 53):
        return False
    return recognise(frame) is None and question(frame.payload) in ((NAME, 1), (NAME, 28))


def begin(lab, policy, bootstrap=(topology.LAN4,)):
    """A proven capture, a daemon that resolves by BOOTSTRAP, and a tunnel whose server is known by name."""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.policy(policy)
    daemon.api.patch("/kill-switch", {"dns": {"bootstrap": list(bootstrap)}})
    server = lab.server()
    daemon.add_tunnel(server.document(endpoints=[f"{NAME}:51820/udp"]))
    return daemon


def offer_until(lab, watch, state):
    """Offers every kind of traffic from now on until the tunnel `home` is in STATE."""
    generator = lab.generator()
    try:
        watch.wait_state(state)
    finally:
        lab.leaks.offered(generator.stop())


def test_up_by_name(lab):
    """a tunnel comes up by its server's name, and nothing leaves but the worker's queries to dns.bootstrap"""
    names = NameServer(lab, {NAME: [topology.SERVER4]})
    lab.run(["sh", "-ec", f"echo '203.0.113.77 {NAME}' >>/etc/hosts"])  # nobody asks NSS
    daemon = begin(lab, RESTART_AT_ONCE)
    daemon.api.mode("always")
    watch = daemon.api.watch()
    place = lab.capture.mark()
    lab.leaks.begin()
    daemon.api.start(wait=None)
    offer_until(lab, watch, "connected")
    lab.leaks.verdict([SERVER], tolerate=is_query)
    queries = [frame for frame in lab.capture.since(place) if not frame.outgoing and is_query(frame)]
    assert {question(frame.payload)[1] for frame in queries} == {1, 28}, queries  # an answer that takes its time is asked for again
    contact = next(event for event in watch.seen if event["kind"] == "connecting")
    assert contact["endpoint"] == f"{topology.SERVER4}:51820/udp", contact
    assert "bootstrap" not in daemon.table(), "the way to the resolvers is still open"
    lab.leaks.closed([SERVER])
    lab.ping(topology.INTERNET4)
    names.close()


def test_uplinks_resolver(lab):
    """without dns.bootstrap the uplink's own resolver is asked"""
    names = NameServer(lab, {NAME: [topology.SERVER4]})
    daemon = begin(lab, RESTART_AT_ONCE, bootstrap=())
    daemon.api.start()
    assert daemon.api.tunnel()["state"] == "connected", daemon.api.status()
    assert (NAME, 1) in names.asked, names.asked
    names.close()


def test_nobody_answers(lab):
    """a name that nobody answers is nameResolutionFailed, with the gate closed and the remedy told"""
    names = NameServer(lab, {})
    names.silent = True
    daemon = begin(lab, TERMINATE)
    watch = daemon.api.watch()
    daemon.api.mode("always")
    lab.leaks.begin()
    begun = time.monotonic()
    daemon.api.start(wait=None)
    offer_until(lab, watch, "failed")
    took = time.monotonic() - begun
    lab.leaks.verdict(tolerate=is_query)
    stop = next(event for event in watch.seen if event["kind"] == "willStop")
    assert stop["error"] == "nameResolutionFailed", stop
    for word in (NAME, f"{topology.LAN4} (no answer)", "set dns.bootstrap"):
        assert word in stop["detail"], stop
    assert daemon.gate() == "closed"
    lab.leaks.closed()
    lab.note(f"nameResolutionFailed {took:.1f} s after the start")
    names.close()


def test_unknown_name(lab):
    """a name that does not exist is nameResolutionFailed, and not for want of an answer"""
    names = NameServer(lab, {})
    daemon = begin(lab, TERMINATE)
    watch = daemon.api.watch()
    daemon.api.start(wait=None)
    watch.wait_state("failed")
    stop = next(event for event in watch.seen if event["kind"] == "willStop")
    assert stop["error"] == "nameResolutionFailed" and "no addresses" in stop["detail"], stop
    lab.leaks.closed()
    names.close()


def test_next_address(lab):
    """an address without a server is followed by the next of the answer"""
    names = NameServer(lab, {NAME: ["203.0.113.77", topology.SERVER4]})
    daemon = begin(lab, RESTART_AT_ONCE)
    watch = daemon.api.watch()
    daemon.api.start(wait=None)
    watch.wait_state("connected")
    contacts = [event["endpoint"] for event in watch.seen if event["kind"] == "connecting"]
    assert contacts[:2] == ["203.0.113.77:51820/udp", f"{topology.SERVER4}:51820/udp"], contacts
    names.close()


def test_remembered(lab):
    """where nobody answers any more a restart goes on with the address that was known"""
    names = NameServer(lab, {NAME: [topology.SERVER4]})
    daemon = begin(lab, RESTART_AT_ONCE)
    daemon.api.start()
    names.silent = True
    watch = daemon.api.watch()
    lab.leaks.begin()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    offer_until(lab, watch, "connected")
    lab.leaks.verdict([SERVER], tolerate=is_query)
    lab.ping(topology.INTERNET4)
    names.close()


def test_changed_resolver(lab):
    """a resolver that was named meanwhile is asked by the worker that runs: gate and worker have the same list"""
    names = NameServer(lab, {NAME: [topology.SERVER4]}, address=topology.INTERNET4, namespace=lab.net.internet)
    daemon = begin(lab, RESTART_AT_ONCE, bootstrap=[topology.INTERNET4])
    daemon.api.start()
    names.close()
    names = NameServer(lab, {NAME: [topology.SERVER4]})
    daemon.api.patch("/kill-switch", {"dns": {"bootstrap": [topology.LAN4]}})
    worker = daemon.worker_pid()
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("connected")
    assert daemon.worker_pid() == worker
    assert (NAME, 1) in names.asked, names.asked
    names.close()
