# SPDX-License-Identifier: LGPL-2.1-or-later
"""The network as policies see it, with the real NetworkManager: its profiles, its comings and goings, its word on sign-in pages."""

import itertools

from lab import process, topology
from lab.daemon import RESTART_AT_ONCE, policy
from lab.leaks import SERVER
from lab.logind import Logind
from lab.networkmanager import CAFE, OFFICE, NetworkManager, sign_in_page

# The example of the policy language: the office's own network protects, anywhere else the tunnel does.
ON_DEMAND = policy(
    ({"event": "networkChanged", "network": {"profile": OFFICE}}, {"action": "disconnect", "traffic": "release"}),
    ({"event": ["networkChanged", "boot"], "not": {"network": {"profile": OFFICE}}}, {"action": "connect", "tunnel": "home"}),
    ({"class": ["transient", "local"]}, {"action": "restart"}),
)


def begin(lab, rules=RESTART_AT_ONCE, endpoints=None, **options):
    """A bus, NetworkManager at the office, a server, and the daemon with the tunnel `home`, which rests."""
    bus = lab.bus()
    manager = NetworkManager(lab, bus, **options)
    manager.up(OFFICE)
    server = lab.server()
    daemon = lab.daemon(environment={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
    daemon.add_tunnel(server.document(endpoints=endpoints))
    daemon.policy(rules)
    return daemon, manager


def wait_network(daemon, watch, **members):
    """Returns the status's `network` once it has MEMBERS (None: null or absent), be it already."""
    while True:
        network = daemon.api.status()["network"]
        if all(network.get(key) == value for key, value in members.items()):
            return network
        watch.wait(kind="networkChanged")


def test_profile_seen(lab):
    """the status names link, type and profile as the real NetworkManager has them, and follows it from one to another"""
    daemon, manager = begin(lab)
    watch = daemon.api.watch()
    network = wait_network(daemon, watch, profile=OFFICE, metered=False)
    assert network["interface"] == "eth0" and network["type"] == "ethernet" and network["available"], network
    assert "ssid" not in network and "bssid" not in network, network
    manager.up(CAFE)
    wait_network(daemon, watch, profile=CAFE)
    text = daemon.ctl("status").stdout
    assert f"ethernet on eth0, profile {CAFE}" in text, text


def test_on_demand(lab):
    """at the office the tunnel gives way and the traffic is released; on any other profile it is up and nothing else leaves"""
    lab.leaks.prove()
    daemon, manager = begin(lab, ON_DEMAND)
    watch = daemon.api.watch()
    wait_network(daemon, watch, profile=OFFICE)
    manager.up(CAFE)
    watch.wait_state("connected")
    lab.leaks.begin()
    lab.leaks.offer()
    lab.leaks.verdict([SERVER])
    manager.up(OFFICE)
    watch.wait_state("disconnected")
    assert daemon.gate() == "open" and not daemon.api.tunnel()["wanted"], daemon.api.status()
    lab.leaks.prove()
    decisions = [event for event in watch.seen if event["kind"] == "decision"]
    # NetworkManager may take so long from one profile to the other that what is between them is a network, too.
    assert [rule for rule, _ in itertools.groupby(event["rule"] for event in decisions)] == ["rule 2", "rule 1"], decisions
    assert {event["event"] for event in decisions} == {"networkChanged"}, decisions


def test_manager_restarted(lab):
    """NetworkManager killed: its profile is unknown and nothing is judged; it comes back with the same, and nothing has happened"""
    daemon, manager = begin(lab, ON_DEMAND)
    watch = daemon.api.watch()
    wait_network(daemon, watch, profile=OFFICE)
    manager.kill()
    network = wait_network(daemon, watch, profile=None)
    assert network["profile"] is None and network["connectivity"] is None, network
    assert network["available"] and network["type"] == "ethernet", network
    manager.start()
    wait_network(daemon, watch, profile=OFFICE)
    manager.up(CAFE)
    watch.wait_state("connected")
    decisions = [event["rule"] for event in watch.seen if event["kind"] == "decision"]
    assert decisions[:1] == ["rule 2"], f"decided while NetworkManager was away: {decisions}"


def test_manager_late(lab):
    """a daemon that was there before the bus and NetworkManager learns the profile when they come, and judges it"""
    server = lab.server()
    daemon = lab.daemon(environment={"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/lab/bus"})
    daemon.add_tunnel(server.document())
    assert "profile" not in daemon.api.status()["network"], daemon.api.status()["network"]
    daemon.policy(ON_DEMAND)
    daemon.api.start()
    watch = daemon.api.watch()
    manager = NetworkManager(lab, lab.bus())
    manager.up(OFFICE)
    wait_network(daemon, watch, profile=OFFICE)
    watch.wait_state("disconnected")
    assert daemon.gate() == "open"


def test_manager_hangs(lab):
    """NetworkManager hangs while the network changes: its profile is unknown in that event, and neither a rule on it nor the opposite decides"""
    anyway = policy(
        ({"event": "networkChanged", "network": {"profile": OFFICE}}, {"action": "disconnect", "traffic": "release"}),
        ({"event": ["networkChanged", "boot"], "not": {"network": {"profile": OFFICE}}}, {"action": "connect", "tunnel": "home"}),
        ({"event": "networkChanged"}, {"action": "connect", "tunnel": "home"}),
    )
    daemon, manager = begin(lab, anyway)
    watch = daemon.api.watch()
    wait_network(daemon, watch, profile=OFFICE)
    manager.hang()
    lab.ip("address", "add", "10.1.0.77/24", "dev", "eth0")
    watch.wait_state("connected")
    assert daemon.api.status()["network"]["profile"] is None, daemon.api.status()["network"]
    decisions = [event["rule"] for event in watch.seen if event["kind"] == "decision"]
    assert decisions == ["rule 3"], decisions
    manager.go_on()
    watch.wait_state("disconnected")


def test_uplink_lost_and_back(lab):
    """the uplink is lost and the client dies meanwhile: no failure is counted, and the tunnel is up at once when it is back"""
    lab.leaks.prove()
    daemon, manager = begin(lab, policy(({"network": {"available": False}}, {"action": "wait", "until": "networkAvailable"})))
    watch = daemon.api.watch()
    wait_network(daemon, watch, profile=OFFICE)
    daemon.api.start()
    lab.leaks.begin()
    manager.nmcli("device", "disconnect", "eth0")
    wait_network(daemon, watch, available=False)
    process_id = daemon.client_pid()
    lab.run(["kill", "-KILL", str(process_id)])
    watch.wait_state("waiting")
    assert daemon.api.tunnel()["attempt"] == 0, daemon.api.tunnel()
    process.wait_gone(process_id)
    manager.up(OFFICE)
    watch.wait_state("connected")
    lab.leaks.offer()
    lab.leaks.verdict([SERVER])
    assert daemon.api.tunnel()["attempt"] == 0, daemon.api.tunnel()


def test_resumed(lab):
    """the host wakes from sleep: logind (a mock) says so, and a rule on it connects; falling asleep is no such event"""
    logind = Logind(lab)
    server = lab.server()
    daemon = lab.daemon(environment=logind.environment)
    daemon.add_tunnel(server.document())
    daemon.policy(policy(({"event": "resumed"}, {"action": "connect", "tunnel": "home"})))
    watch = daemon.api.watch()
    logind.start()
    logind.sleeps(True)
    logind.sleeps(False)
    watch.wait_state("connected")
    decisions = [event for event in watch.seen if event["kind"] == "decision"]
    assert [event["event"] for event in decisions] == ["resumed"], decisions


def test_daemon_restarted(lab):
    """a daemon that comes back judges the network only if it is another one than before"""
    daemon, manager = begin(lab, policy(({"event": "networkChanged"}, {"action": "connect", "tunnel": "home"})))
    watch = daemon.api.watch()
    wait_network(daemon, watch, profile=OFFICE)
    last = daemon.api.last_event()
    daemon.stop()
    daemon.start()
    watch = daemon.api.watch(after=last)
    wait_network(daemon, watch, profile=OFFICE)
    daemon.stop()
    manager.up(CAFE)
    daemon.start()
    watch = daemon.api.watch(after=last)
    watch.wait_state("connected")
    assert len([event for event in watch.seen if event["kind"] == "daemonStarted"]) == 2, watch.seen


def test_captive_portal(lab):
    """a sign-in page that NetworkManager has found: a tunnel that cannot come up meanwhile stops with captivePortal"""
    with sign_in_page(lab):
        lab.silent_server(address=topology.SERVER4_SECOND, port=4500)
        daemon, manager = begin(lab, policy(), endpoints=[f"{topology.SERVER4_SECOND}:4500/udp"])
        watch = daemon.api.watch()
        wait_network(daemon, watch, profile=OFFICE)
        assert manager.check() == "portal"
        wait_network(daemon, watch, connectivity="portal")
        text = daemon.ctl("status").stdout
        assert "wants a sign-in" in text, text
        daemon.api.post("/tunnels/home/start")
        stop = watch.wait(kind="willStop")
        assert stop["error"] == "captivePortal", stop
