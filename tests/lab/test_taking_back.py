# SPDX-License-Identifier: LGPL-2.1-or-later
"""Grants that overlap, come early or late, and are taken back while their sockets are in every state."""

import contextlib
import json
import os
import select
import signal
import socket

from lab import process, topology
from lab.bridge import Bridge
from lab.granted import Flow, Maker, is_cut
from lab.leaks import SERVER
from test_domains import OUTSIDE, begin, resolve
from test_grants import HOSTS, goes_by_uplink, grants, loose_sockets, left_of, mark_of, ordinary, settings, stays_inside, wait_effect
from test_let_by import knock, talks

SILENT = "198.51.100.9"  # of the internet's network, and nobody's
RUN_TIME = 1024  # grants at run time


def connecting(lab, make):
    """A socket of MAKE's that has sent its first SYN by the uplink, and that nobody answers."""
    place = lab.capture.mark()
    sock = make(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        sock.connect((SILENT, 4400))
    lab.capture.wait(lambda frame: not frame.outgoing and frame.destination == SILENT, place)
    return sock


def test_taken_back_while_connecting(lab):
    """a connection that nobody has answered yet fails once its grant is taken back, and no packet of it leaves any more"""
    daemon, _ = lab.guarded()
    lab.run(["ip", "neigh", "add", SILENT, "lladdr", "02:00:00:00:00:09", "dev", "internet0"], lab.net.router)
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    identifier = daemon.api.post("/bypass", {"slice": "torrent.slice"})["id"]
    sock = connecting(lab, maker.socket)
    daemon.api.delete(f"/bypass/{identifier}")
    place = lab.capture.mark()
    assert select.select([], [sock], [], process.PATIENCE)[1], "it goes on trying"
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    left = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.destination == SILENT]
    assert not left, left[0]
    maker.close()


def test_taken_back_while_serving(lab):
    """what a granted program serves to those that `inbound` lets in is theirs also once its grant is taken back: to them alone"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    daemon.api.patch("/kill-switch", {"inbound": [{"protocol": "tcp", "port": 80}]})
    identifier = daemon.api.post("/bypass", {"slice": "torrent.slice"})["id"]
    listener = maker.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("0.0.0.0", 80))
    listener.listen()
    listener.settimeout(process.PATIENCE)
    first = knock(lab.net.internet, topology.CLIENT4, 80, listener)
    talks(*first)
    daemon.api.delete(f"/bypass/{identifier}")
    second = knock(lab.net.internet, topology.CLIENT4, 80, listener)
    for pair in (first, second):
        talks(*pair)
    daemon.api.patch("/kill-switch", {"inbound": None})
    place = lab.capture.mark()
    for near, _ in (first, second):
        near.setblocking(False)
        with contextlib.suppress(OSError):
            near.send(b"after")
    left = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.source_port == 80]
    assert not left, left[0]
    maker.close()


def test_sockets_from_before(lab):
    """sockets that were made before the grant stay inside, connected or not; those made deep below the slice go by the uplink"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/torrent-deep.slice/client.service/payload/worker")
    early, loose = Flow(lab, maker.socket, port=4500), loose_sockets(maker)
    daemon.api.post("/bypass", {"slice": "torrent.slice"})
    assert early.carries() == (topology.INNER_CLIENT4, topology.INNER_CLIENT4)
    assert not left_of(lab, loose), "a socket from before the grant leaves"
    goes_by_uplink(lab, maker.socket)
    lab.leaks.closed([SERVER])
    maker.close()


def test_in_a_container(lab):
    """a granted process in a container's network is no way past the tunnel: its packets lose the mark on the way to the host"""
    box = Bridge(lab).boxes[0]
    daemon, _ = lab.guarded()
    daemon.api.patch("/kill-switch", {"forwarding": {"masquerade": True}})
    daemon.api.post("/bypass", {"user": "nobody"})
    cgroup = "user.slice/user-65534.slice/session-1.scope"
    maker = Maker(lab, "boxed", start=lambda command: process.Process(lab, "boxed", command, box, cgroup=cgroup))
    wait_effect(daemon, None, type="user")
    marked = maker.socket(socket.AF_INET, socket.SOCK_STREAM)
    assert marked.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == mark_of(daemon, "nobody")  # the control
    stays_inside(lab, maker.socket)
    maker.close()


def test_overlapping_processes(lab):
    """of a slice and a unit in it that are both granted, one taken back leaves the other: what the unit makes then goes by the uplink, and nothing when both are"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    for first, second in (("slice", "unit"), ("unit", "slice")):
        names = {"slice": "torrent.slice", "unit": "client.service"}
        given = {kind: daemon.api.post("/bypass", {kind: names[kind]})["id"] for kind in (first, second)}
        flows = goes_by_uplink(lab, maker.socket)
        with maker.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == mark_of(daemon, "torrent.slice")
        daemon.api.delete(f"/bypass/{given[first]}")
        later = goes_by_uplink(lab, maker.socket, 4401)
        daemon.api.delete(f"/bypass/{given[second]}")
        assert all(is_cut(lab, flow) for flow in (*flows, *later)), f"{first} before {second}: a socket that lives was not cut"
        stays_inside(lab, maker.socket)
        for flow in (*flows, *later):
            flow.close()
    lab.leaks.closed([SERVER])
    maker.close()


def test_overlapping_addresses(lab):
    """a host, its network, and the same network in the settings: as long as one is granted it is let by, and cut with the last"""
    daemon, _ = lab.guarded()
    for host, source, network in ((*HOSTS[0], "198.51.100.0/24"), (*HOSTS[1], "2001:db8:3::/64")):
        given = [daemon.api.post("/bypass", {"address": name})["id"] for name in (host, network)]
        settings(daemon, addresses=[network, host])
        flow = Flow(lab, ordinary(lab), host)
        for identifier in given:
            assert flow.carries() == (source, source)
            daemon.api.delete(f"/bypass/{identifier}")
        assert flow.carries() == (source, source)
        settings(daemon, addresses=[host])
        assert flow.carries() == (source, source)
        settings(daemon, addresses=[])
        assert is_cut(lab, flow)
        flow.close()
    lab.leaks.closed([SERVER])


def test_at_run_time_and_in_the_settings(lab):
    """what was granted at run time and is then listed is the same grant, without an end and with its mark: its living sockets go on, and are cut with the settings"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    identifier = daemon.api.post("/bypass", {"slice": "torrent.slice", "for": "1h"})["id"]
    flows, mark = goes_by_uplink(lab, maker.socket), mark_of(daemon, "torrent.slice")
    assert "timeout" in marks_in_the_gate(lab)
    settings(daemon, processes=[{"slice": "torrent.slice"}])
    assert grants(daemon, source="settings", until=None) == grants(daemon) and mark_of(daemon, "torrent.slice") == mark
    assert "timeout" not in marks_in_the_gate(lab), "it ends though it is listed"
    assert daemon.api.call("DELETE", f"/bypass/{identifier}").status == 404
    assert daemon.api.call("DELETE", "/bypass/slice:torrent.slice").status == 409
    again = daemon.api.call("POST", "/bypass", {"slice": "torrent.slice", "for": "1s"})
    assert again.status == 200 and again.body == {"changed": False, "id": "slice:torrent.slice"}, again
    for flow in flows:
        flow.carries()
    settings(daemon, processes=[])
    assert all(is_cut(lab, flow) for flow in flows) and not grants(daemon)
    maker.close()


def marks_in_the_gate(lab):
    return lab.nft("list", "set", "inet", "holdfast", "processes").stdout.partition("elements")[2]


def test_until_boot(lab):
    """what was granted at run time ends with the boot, whatever the record says; what the settings list does not"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    daemon.api.post("/bypass", {"slice": "torrent.slice"})
    daemon.api.post("/bypass", {"address": topology.INTERNET6})
    settings(daemon, addresses=[topology.INTERNET4])
    flow = Flow(lab, ordinary(lab), topology.INTERNET6)
    daemon.kill()
    for path in (f"{daemon.runtime_dir}/bypass.json", f"{daemon.state_dir}/state.json"):
        with open(path) as file:
            document = json.load(file)
        with open(path, "w") as file:
            json.dump(document | {"bootId": "of the boot before"}, file)
    daemon.start()
    daemon.api.start()
    assert grants(daemon) and grants(daemon) == grants(daemon, source="settings"), grants(daemon)
    assert is_cut(lab, flow)
    settings(daemon, addresses=[])
    stays_inside(lab, maker.socket)
    lab.leaks.closed([SERVER])
    maker.close()


def test_beside_a_file_of_the_administrators(lab):
    """where a file of the administrator's rules the settings, grants at run time are made and taken back as ever, and the mode that stands may be named: that ends a release"""
    daemon, _ = lab.guarded()
    os.makedirs(daemon.config_dir, exist_ok=True)
    with open(f"{daemon.config_dir}/kill-switch.json", "w") as file:
        json.dump({"mode": "auto"}, file)
    daemon.process.send(signal.SIGHUP)
    daemon.process.wait_log("reloading")
    answer = daemon.api.call("PATCH", "/kill-switch", {"bypass": {"addresses": [topology.INTERNET4]}}, {"If-Match": "*"})
    assert (answer.status, answer.body["code"]) == (409, "managedByFile"), answer
    identifier = daemon.api.post("/bypass", {"address": topology.INTERNET4})["id"]
    flow = Flow(lab, ordinary(lab))
    assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
    daemon.api.delete(f"/bypass/{identifier}")
    assert is_cut(lab, flow)
    assert daemon.api.call("PUT", "/kill-switch/mode", {"mode": "always"}).status == 409
    daemon.api.post("/kill-switch/release", {"reason": "test"})
    assert daemon.ctl_as_member("mode", "auto").returncode == 0
    assert daemon.api.status()["gate"]["releasedUntil"] is None
    lab.leaks.closed([SERVER])


def test_user_who_logs_in_later(lab):
    """a user who is not logged in is granted from the first session on, and from the next one after a logout"""
    daemon, _ = lab.guarded()
    daemon.api.post("/bypass", {"user": "nobody"})
    assert grants(daemon, type="user", inEffect=False)[0]["detail"]
    for attempt in range(2):
        maker = Maker(lab, "session", "user.slice/user-65534.slice/session-1.scope")
        wait_effect(daemon, None, type="user")
        for flow in goes_by_uplink(lab, maker.socket, 4400 + attempt):
            flow.close()
        maker.close()
        for folder in ("session-1.scope", ""):
            os.rmdir(f"/sys/fs/cgroup/user.slice/user-65534.slice/{folder}")
        wait_effect(daemon, None, False, type="user")
    lab.leaks.closed([SERVER])


def test_taken_back_without_its_cgroup(lab):
    """a slice whose cgroup is gone is taken back all the same: what its sockets still send is cut, and its next cgroup is ordinary"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    identifier = daemon.api.post("/bypass", {"slice": "torrent.slice"})["id"]
    flows, loose, others = goes_by_uplink(lab, maker.socket), loose_sockets(maker), loose_sockets(maker)
    maker.close()
    for folder in ("torrent.slice/client.service", "torrent.slice"):
        os.rmdir(f"{process.CGROUPS}/{folder}")
    wait_effect(daemon, None, False, name="torrent.slice")
    for flow in flows:
        flow.carries()
    assert left_of(lab, others)  # the control
    daemon.api.delete(f"/bypass/{identifier}")
    assert all(is_cut(lab, flow) for flow in flows) and not left_of(lab, loose)
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    stays_inside(lab, maker.socket)
    maker.close()


def test_as_many_as_there_may_be(lab):
    """as many addresses as may be granted at run time are, over a restart too; one more is refused, and with the last taken back nothing is open"""
    daemon, _ = lab.guarded()
    for number in range(RUN_TIME - 1):
        daemon.api.post("/bypass", {"address": f"20.0.{number >> 8}.{number & 255}"})
    daemon.api.post("/bypass", {"address": topology.INTERNET4})
    answer = daemon.api.call("POST", "/bypass", {"address": topology.INTERNET6})
    assert answer.status == 429 and answer.body["code"] == "tooManyRequests", answer
    flow = Flow(lab, ordinary(lab))
    daemon.kill()
    daemon.start()
    daemon.wait_connected()
    assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
    assert len(grants(daemon)) == RUN_TIME
    for grant in grants(daemon):
        daemon.api.delete(f"/bypass/{grant['id']}")
    assert is_cut(lab, flow) and not grants(daemon)
    lab.leaks.closed([SERVER])


def test_names_of_domains(lab):
    """a domain is a name of letters, digits and hyphens: wildcards, other alphabets and the root's dot are refused by name; what stands for another alphabet is taken"""
    daemon, _ = lab.guarded(connect=False)
    for name in ("*.example.com", "example.com.", "m\u00fcnchen.example", "example..com", ".example.com", "example.com/24", "-a.example", "a" * 64 + ".example",
                 "#", "198.51.100.2", ".", "a" * 254):  # fmt: skip
        answer = daemon.api.call("POST", "/bypass", {"domain": name})
        assert answer.status == 400 and answer.body["errors"], (name, answer)
    for name in ("xn--mnchen-3ya.example", "_srv.example.com", "EXAMPLE.org", "a" * 63 + ".example"):
        assert daemon.api.post("/bypass", {"domain": name})["changed"]
    assert {grant["name"] for grant in grants(daemon)} >= {"example.org", "xn--mnchen-3ya.example"}


def test_odd_answers(lab):
    """a granted name that leads to another, one with IPv6 alone, and one with many addresses: what was answered is open, and no more"""
    daemon, outside, inside = begin(lab)
    many = [OUTSIDE, *(f"20.1.0.{number}" for number in range(1, 25))]
    outside.names |= {"alias.example.com": "real.other.org", "real.other.org": [OUTSIDE], "six.example.com": [topology.INTERNET6], "many.example.com": many}
    inside.names |= {"real.other.org": ["198.51.100.44"]}
    assert resolve(lab, "alias.example.com") == [OUTSIDE]
    assert Flow(lab, ordinary(lab), OUTSIDE).carries()[0] == topology.CLIENT4
    assert resolve(lab, "six.example.com") == [topology.INTERNET6]
    assert Flow(lab, ordinary(lab), topology.INTERNET6).carries()[0] == topology.CLIENT6
    assert resolve(lab, "many.example.com") == sorted(many)
    assert all(address in daemon.table() for address in many)
    assert resolve(lab, "real.other.org") == ["198.51.100.44"], "a name that a granted one leads to is not granted itself"
    stays_inside(lab)
    settings(daemon, domains=[])
    lab.leaks.closed([SERVER])
    outside.close()
    inside.close()


def test_domain_while_the_tunnel_restarts(lab):
    """while the tunnel restarts granted names are found and what they opened goes on; other names are not found, and asked nobody outside"""
    daemon, outside, inside = begin(lab)
    assert resolve(lab, "example.com") == [OUTSIDE]
    flow = Flow(lab, ordinary(lab), OUTSIDE)
    for _ in range(3):
        daemon.api.post("/tunnels/home/restart", {})
        assert flow.carries()[0] == topology.CLIENT4
        daemon.wait_connected()
        assert flow.carries()[0] == topology.CLIENT4
    assert resolve(lab, "www.example.com") == sorted([OUTSIDE, topology.INTERNET6])
    assert "other.org" not in {name for name, _ in outside.asked}
    outside.close()
    inside.close()
