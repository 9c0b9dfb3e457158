# SPDX-License-Identifier: LGPL-2.1-or-later
"""Deaths, restarts and comings back: what goes on, what begins anew, and that nothing leaves meanwhile."""

import contextlib
import os
import signal

from lab import process, topology
from lab.daemon import RESTART_AT_ONCE, TERMINATE, policy
from lab.leaks import SERVER, Endpoint


@contextlib.contextmanager
def nothing_leaves(lab, endpoints=(SERVER,)):
    """Offers every kind of traffic all the time inside the block; nothing but the worker's messages may leave."""
    lab.leaks.begin()
    generator = lab.generator()
    try:
        yield
    finally:
        lab.leaks.offered(generator.stop())
    offered = lab.leaks.verdict(endpoints)
    lab.note(f"{offered} packets offered, none left outside the tunnel")


def test_client_killed(lab):
    """SIGKILL of wireguard-go: nothing leaves, the same worker starts a new client, the tunnel is up again"""
    daemon, _ = lab.guarded()
    worker, client = daemon.worker_pid(), daemon.client_pid()
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(client, signal.SIGKILL)
        watch.wait_state("connected")
        lab.ping(topology.INTERNET4)
    assert daemon.worker_pid() == worker and daemon.client_pid() != client
    stop = next(event for event in watch.seen if event["kind"] == "willStop")
    assert stop["error"] == "workerCrashed", stop


def test_worker_killed(lab):
    """SIGKILL of the worker: nothing leaves, a new worker brings the tunnel up, no client is left over"""
    daemon, _ = lab.guarded()
    worker, client = daemon.worker_pid(), daemon.client_pid()
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(worker, signal.SIGKILL)
        watch.wait_state("connected")
        lab.ping(topology.INTERNET4)
    assert daemon.worker_pid() not in (None, worker) and daemon.client_pid() != client


def test_daemon_killed(lab):
    """SIGKILL of the daemon: the tunnel carries on, nothing leaves, and the next daemon takes the same worker back"""
    daemon, _ = lab.guarded()
    worker, client = daemon.worker_pid(), daemon.client_pid()
    last = daemon.api.last_event()
    flood = lab.flood()
    with nothing_leaves(lab):
        daemon.kill()
        lab.ping(topology.INTERNET4)
        daemon.start()
        lab.ping(topology.INTERNET4)
    sent, answered, gap = flood.stop()
    lab.note(f"{sent} pings through the tunnel, {sent - answered} lost, longest gap {gap * 1000:.0f} ms")
    assert (daemon.worker_pid(), daemon.client_pid()) == (worker, client)
    assert daemon.api.tunnel()["state"] == "connected" and daemon.gate() == "tunnel"
    assert sent == answered, (sent, answered)
    states = [event for event in daemon.api.events(last) if event["kind"] in ("stateChanged", "willStop")]
    assert not states, states


def test_daemon_killed_while_connecting(lab):
    """SIGKILL of the daemon while connecting leaves the gate closed; the next one goes on and connects"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.policy(RESTART_AT_ONCE)
    server = lab.server(port=51999)  # nobody is at the endpoint's port yet
    daemon.add_tunnel(server.document(endpoints=[f"{topology.SERVER4}:51820/udp"]))
    watch = daemon.api.watch()
    daemon.api.start(wait=None)
    watch.wait(kind="connecting")
    with nothing_leaves(lab):
        daemon.kill()
        server.kill()
        server.port = 51820
        server.start()
        daemon.start()
        daemon.wait_connected()
    lab.ping(topology.INTERNET4)


def test_daemon_and_worker_killed(lab):
    """SIGKILL of daemon, worker and client at once leaves the gate closed; a new daemon connects again"""
    daemon, _ = lab.guarded()
    with nothing_leaves(lab):
        client, worker = daemon.client_pid(), daemon.worker_pid()
        daemon.kill()
        for pid in (client, worker):  # a client dies with its worker, and may be gone by then
            os.kill(pid, signal.SIGKILL)
        for pid in (client, worker):
            process.wait_gone(pid)
        lab.leaks.offer()
        daemon.start()
        daemon.wait_connected()
    lab.ping(topology.INTERNET4)


def test_client_killed_without_daemon(lab):
    """what dies while no daemon is there is decided by the next one, with the gate closed throughout"""
    daemon, _ = lab.guarded()
    with nothing_leaves(lab):
        client = daemon.client_pid()
        daemon.kill()
        os.kill(client, signal.SIGKILL)
        process.wait_gone(client)
        lab.leaks.offer()
        daemon.start()
        daemon.wait_connected()
    errors = [event["error"] for event in daemon.api.all_events() if event["kind"] == "willStop"]
    assert errors == ["workerCrashed"], daemon.api.all_events()
    lab.ping(topology.INTERNET4)


def test_upgrade(lab):
    """SIGUSR1 ends the daemon and leaves the tunnel running; the next daemon takes it back"""
    daemon, _ = lab.guarded()
    worker, client = daemon.worker_pid(), daemon.client_pid()
    flood = lab.flood()
    with nothing_leaves(lab):
        daemon.stop(signal.SIGUSR1)
        lab.ping(topology.INTERNET4)
        daemon.start()
    sent, answered, gap = flood.stop()
    lab.note(f"{sent} pings through the tunnel, {sent - answered} lost, longest gap {gap * 1000:.0f} ms")
    assert (daemon.worker_pid(), daemon.client_pid()) == (worker, client)
    assert sent == answered, (sent, answered)


def test_system_stop(lab):
    """SIGTERM ends the tunnel and leaves the gate closed; the next daemon wants the tunnel again"""
    daemon, _ = lab.guarded()
    with nothing_leaves(lab):
        daemon.stop(signal.SIGTERM)
        assert not process.running("holdfast-worker")
        lab.leaks.offer()
        assert daemon.table() is not None
        daemon.start()
        daemon.wait_connected()
    assert daemon.api.tunnel()["state"] == "connected"


def test_restart_in_place(lab):
    """a restart in place keeps the worker, the link and its address, and a connection inside the tunnel lives on"""
    daemon, _ = lab.guarded()
    worker, client = daemon.worker_pid(), daemon.client_pid()
    link = "hf-home"
    index = lab.ip("-o", "link", "show", link).stdout.split(":")[0]
    near, far = lab.connect(topology.INTERNET4, 80)
    near.sendall(b"before")
    assert far.recv(100) == b"before"
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        os.kill(client, signal.SIGKILL)
        near.sendall(b"while it restarts")
        far.sendall(b"from afar")
        watch.wait_state("connected")
    assert far.recv(100) == b"while it restarts"
    assert near.recv(100) == b"from afar"
    near.sendall(b"after")
    assert far.recv(100) == b"after"
    assert daemon.worker_pid() == worker and daemon.client_pid() != client
    assert lab.ip("-o", "link", "show", link).stdout.split(":")[0] == index


def test_restart_asked_for(lab):
    """RestartTunnel restarts in place, in the same worker"""
    daemon, _ = lab.guarded()
    worker, client = daemon.worker_pid(), daemon.client_pid()
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        daemon.api.post("/tunnels/home/restart")
        watch.wait_state("connected")
    assert daemon.worker_pid() == worker and daemon.client_pid() != client
    lab.ping(topology.INTERNET4)


def test_new_worker_after_terminate(lab):
    """after a terminate the next start gets a new worker"""
    daemon, _ = lab.guarded(TERMINATE)
    worker = daemon.worker_pid()
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("failed")
    assert daemon.worker_pid() is None
    with nothing_leaves(lab):
        daemon.api.start()
    assert daemon.api.tunnel()["state"] == "connected"
    assert daemon.worker_pid() not in (None, worker)


def test_delay(lab):
    """a restart waits for its rule's delay, with the gate closed, and then comes"""
    daemon, _ = lab.guarded(policy(({"class": "local"}, {"action": "restart", "delay": "1s"})))
    watch = daemon.api.watch()
    lab.leaks.begin()
    generator = lab.generator()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    assert daemon.gate() == "closed"
    watch.wait_state("connected")
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER])


def test_repeated_deaths(lab):
    """ten deaths in a row: ten restarts, in one worker, and nothing leaves"""
    daemon, _ = lab.guarded()
    worker = daemon.worker_pid()
    with nothing_leaves(lab):
        for _ in range(10):
            watch = daemon.api.watch()
            os.kill(daemon.client_pid(), signal.SIGKILL)
            watch.wait_state("connected")
    assert daemon.worker_pid() == worker
    lab.ping(topology.INTERNET4)


def test_next_endpoint(lab):
    """a dead first endpoint: the policy goes on to the next, which is up"""
    silent = lab.silent_server(address=topology.SERVER4_SECOND, port=51821)
    rules = policy(({"error": ["connectionCouldNotBeEstablished", "connectionTimeout"]}, {"action": "restart", "endpoint": "next"}))
    endpoints = [f"{topology.SERVER4_SECOND}:51821/udp", f"{topology.SERVER4}:51820/udp"]
    daemon, _ = lab.guarded(rules, connect=False, endpoints=endpoints)
    watch = daemon.api.watch()
    daemon.api.start(wait=None)
    lab.leaks.begin()
    generator = lab.generator()
    stop = watch.wait(kind="willStop")
    watch.wait_state("connected")
    lab.leaks.offered(generator.stop())
    lab.leaks.verdict([SERVER, Endpoint(topology.SERVER4_SECOND, 51821)])
    assert stop["error"] in ("connectionCouldNotBeEstablished", "connectionTimeout"), stop
    assert daemon.api.tunnel()["endpoint"] == endpoints[1], daemon.api.tunnel()
    silent.close()


def test_server_killed_while_restarting(lab):
    """a client that dies with its server gone keeps trying behind a closed gate, and connects when the server is back"""
    daemon, server = lab.guarded()
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        server.kill()
        os.kill(daemon.client_pid(), signal.SIGKILL)
        watch.wait_state("reasserting")
        server.start()
        watch.wait_state("connected")
    lab.ping(topology.INTERNET4)
