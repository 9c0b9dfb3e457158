# SPDX-License-Identifier: LGPL-2.1-or-later
"""Letting go for a while: what a release opens and what it does not, how it ends, and the way out with a daemon that hangs or is dead."""

import contextlib
import json
import os
import re
import signal
import socket

from lab import process, topology
from lab.api import seconds_of
from lab.bridge import Bridge
from lab.daemon import WAIT_LONG
from lab.granted import Flow, is_cut
from lab.leaks import SERVER
from lab.names import NameServer
from test_forwarded import is_held, seen_from
from test_grants import HOSTS, ordinary
from test_let_by import knock, listen, refused


def release(daemon, duration="1h", reason="a hotel's sign-in"):
    return daemon.api.post("/kill-switch/release", {"reason": reason, "for": duration})


def is_released(lab):
    """Whether the kernel has any element of a release."""
    return "elements" in lab.nft("list", "set", "inet", "holdfast", "released").stdout


def resolves(lab, name):
    done = lab.run(["getent", "-s", "dns", "ahostsv4", name], check=False)
    return {line.split()[0] for line in done.stdout.splitlines()}


def test_release_opens_everything_but_inbound(lab):
    """a release lets out the host's flows and those it forwards, IPv4 and IPv6, by the uplink with its address; inbound stays closed; the kernel ends it, with the daemon dead: what lives is cut"""
    bridge = Bridge(lab)
    box = bridge.boxes[0]
    service = listen(lab, 2222)
    knock(lab.net.internet, topology.CLIENT4, 2222, service)  # the control: open, it is let in
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    assert all(is_held(lab, box, host) for host, _ in HOSTS)
    release(daemon)
    flows = [Flow(lab, ordinary(lab), host) for host, _ in HOSTS]
    assert [flow.carries() for flow in flows] == [(source, source) for _, source in HOSTS]
    assert [seen_from(lab, box, host, port=82) for host, _ in HOSTS] == [source for _, source in HOSTS]
    assert refused(lab.net.internet, topology.CLIENT4, 2222, service) and refused(lab.net.lan, topology.CLIENT4, 2222, service)
    for flow in flows:
        flow.carries()
    release(daemon, "1s")
    daemon.kill()
    process.until(lambda: not is_released(lab), "the kernel did not end it")
    assert all(is_cut(lab, flow) for flow in flows), "a flow of the release goes on"
    assert all(is_held(lab, box, host, port=83) for host, _ in HOSTS)
    lab.leaks.closed()


def test_release_finds_names(lab):
    """while a tunnel waits, a release has names found by the uplink's resolvers, and its end by the tunnel's again; one that is connected keeps its own"""
    daemon, _ = lab.guarded(WAIT_LONG, connect=False, dns=[topology.INNER_SERVER4])
    inside = NameServer(lab, {"portal.test": ["198.51.100.55"]}, topology.INNER_SERVER4, lab.net.server)
    outside = NameServer(lab, {"portal.test": [topology.INTERNET4]})
    daemon.api.start()
    release(daemon)
    assert resolves(lab, "portal.test") == {"198.51.100.55"} and not outside.asked
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    assert resolves(lab, "portal.test") == {topology.INTERNET4}, lab.run(["cat", "/etc/resolv.conf"]).stdout
    daemon.api.mode("auto")
    assert topology.INNER_SERVER4 in lab.run(["cat", "/etc/resolv.conf"]).stdout and not resolves(lab, "portal.test")
    release(daemon)
    assert resolves(lab, "portal.test") == {topology.INTERNET4}
    daemon.kill()
    daemon.start()
    assert resolves(lab, "portal.test") == {topology.INTERNET4}, "a release that goes on is forgotten by the next daemon"
    daemon.api.post("/tunnels/home/restart", {})
    daemon.wait_connected()
    assert resolves(lab, "portal.test") == {"198.51.100.55"}
    daemon.api.mode("auto")
    assert topology.INNER_SERVER4 in lab.run(["cat", "/etc/resolv.conf"]).stdout
    outside.asked.clear()
    assert resolves(lab, "portal.test") == {"198.51.100.55"} and not outside.asked
    inside.close()
    outside.close()


def test_release_of_a_narrow_tunnel(lab):
    """a release lets out what belongs to a narrow tunnel that waits, and holds it again when it is over"""
    daemon, _ = lab.guarded(WAIT_LONG, routes=["198.51.100.0/24", "2001:db8:3::/64"])
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    for host, _ in HOSTS:
        with contextlib.suppress(OSError):
            raise AssertionError(Flow(lab, ordinary(lab), host).seen)
    release(daemon)
    flows = [Flow(lab, ordinary(lab), host, 4401) for host, _ in HOSTS]
    assert [flow.carries() for flow in flows] == [(source, source) for _, source in HOSTS]
    daemon.api.mode("auto")
    assert all(is_cut(lab, flow) for flow in flows), "a flow of the release goes on"


def test_release_of_flows_that_nobody_answered(lab):
    """a release takes no flow out that began inside the tunnel, answered or not: it would show the tunnel's address outside"""
    bridge = Bridge(lab)
    daemon, _ = lab.guarded(WAIT_LONG)
    unanswered = []
    for namespace in (lab.net.client, bridge.boxes[0]):
        for host, _ in HOSTS:
            with namespace.entered():
                unanswered.append(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM))
            unanswered[-1].connect((host, 4402))
            unanswered[-1].send(b"inside")
    own = {sock.getsockname()[0] for sock in unanswered}
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("waiting")
    release(daemon)
    place = lab.capture.mark()
    for sock in 2 * unanswered:  # the first time a socket may say that it was told of an error
        with contextlib.suppress(OSError):
            sock.send(b"outside")
    flow = Flow(lab, ordinary(lab))
    assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)  # the control
    left = [frame for frame in lab.capture.since(place) if not frame.outgoing and (frame.source in own or frame.payload == b"outside")]
    assert not left, left


def test_release_asked_again(lab):
    """the last word counts: longer, shorter, or none; durations that are none open nothing and change nothing"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    bad = ("0", "0s", "999ms", "61m", "3601s", "-1s", "soon", "1", "")
    for running in (False, True):
        for text in bad:
            answer = daemon.api.call("POST", "/kill-switch/release", {"reason": "test", "for": text})
            assert answer.status == 400 and "/for" in str(answer.body), (text, answer)
            assert is_released(lab) == running
        answer = daemon.api.call("POST", "/kill-switch/release", {"reason": ""})
        assert answer.status == 400 and is_released(lab) == running, answer
        if not running:
            release(daemon, "60m")
    first = daemon.api.status()["gate"]["releasedUntil"]
    until = daemon.api.post("/kill-switch/release", {"reason": "for as long as is usual"})["until"]
    expires = lab.nft("list", "set", "inet", "holdfast", "released").stdout
    assert until < first and "timeout 5m" in expires, expires
    assert release(daemon, "2m")["until"] < first
    assert daemon.api.status()["gate"]["releasedUntil"] < first
    assert "timeout 2m" in lab.nft("list", "set", "inet", "holdfast", "released").stdout
    daemon.api.patch("/kill-switch", {"lan": "allow"})  # a change of the settings is no word about it
    assert is_released(lab) and daemon.api.status()["protection"] == "released"
    daemon.api.patch("/kill-switch", {"lan": "block"})
    watch = daemon.api.watch()
    daemon.api.mode("always")
    watch.wait(kind="releaseEnded")
    assert not is_released(lab) and daemon.api.status()["gate"]["releasedUntil"] is None
    lab.leaks.closed()


def test_release_is_told(lab):
    """a release is announced with who asked, why, and until when; it is on record over the daemon's death, and its end is announced, too"""
    daemon = lab.daemon()
    daemon.api.mode("always")
    watch = daemon.api.watch()
    until = release(daemon)["until"]
    told = watch.wait(kind="released")
    assert told["reason"] == "a hotel's sign-in" and told["by"], told
    for shown in (told["until"], daemon.api.status()["gate"]["releasedUntil"]):
        assert abs(seconds_of(shown) - seconds_of(until)) < 60, (shown, until)
    assert daemon.ctl("status").returncode != 0
    watch.close()
    daemon.kill()
    daemon.start()
    assert [event["reason"] for event in daemon.api.events(0) if event["kind"] == "released"] == ["a hotel's sign-in"]
    watch = daemon.api.watch()
    release(daemon, "1s")
    watch.wait(kind="releaseEnded")


def test_release_ends_as_shown(lab):
    """once a release is told to have ended it has, though the kernel's clock be behind: it stands still while the machine sleeps"""
    lab.leaks.prove()
    daemon = lab.daemon()
    daemon.api.mode("always")
    watch = daemon.api.watch()

    def is_stopped_before_its_end():
        release(daemon, "1s")
        daemon.process.send(signal.SIGSTOP)
        in_time = is_released(lab)
        if not in_time:
            daemon.process.send(signal.SIGCONT)
            watch.wait(kind="releaseEnded")  # else the next one would take its place, with one end for both
        return in_time

    process.until(is_stopped_before_its_end, "each release had ended already")
    lab.nft("flush set inet holdfast released; add element inet holdfast released { ipv4 timeout 5s, ipv6 timeout 5s }")
    daemon.process.send(signal.SIGCONT)
    watch.wait(kind="releaseEnded")
    assert not is_released(lab), "it is told to have ended, and is open"
    lab.leaks.closed()


def test_way_out_and_a_mode_that_cannot_be_stored(lab):
    """a mode that cannot be stored leaves the way out behind all the same: the mode that stands holds again, and nothing leaves"""
    daemon, _ = lab.guarded()
    daemon.process.send(signal.SIGSTOP)
    assert daemon.ctl("--state-dir", daemon.state_dir, "release").returncode == 0
    os.mkdir(f"{daemon.state_dir}/kill-switch.json")
    daemon.process.send(signal.SIGCONT)
    process.until(lambda: daemon.api.tunnel()["state"] == "waiting", lambda: daemon.api.status())
    answer = daemon.api.call("PUT", "/kill-switch/mode", {"mode": "always"})
    assert answer.status == 500 and "kill-switch.json" in answer.body["detail"], answer
    assert daemon.table() is not None and daemon.api.status()["protection"] in ("blocking", "protected"), daemon.api.status()
    lab.leaks.closed([SERVER])
    daemon.wait_connected()


def is_open(lab, daemon):
    """Nothing of Holdfast's is left, and the host talks by its uplink."""
    assert daemon.table() is None
    for family in ("-4", "-6"):
        assert "26726" not in lab.ip(family, "rule").stdout, lab.ip(family, "rule").stdout
    links = lab.ip("-br", "link").stdout
    assert not re.search(r"^hf", links, re.MULTILINE), links
    near, far = lab.connect(topology.INTERNET4, 80)
    with near, far:
        assert far.getpeername()[0] == topology.CLIENT4
    assert topology.INNER_SERVER4 not in lab.run(["cat", "/etc/resolv.conf"]).stdout


def test_way_out_and_what_was_asked_before(lab):
    """what was asked of a daemon that hangs, and its client's death, bring nothing back once the way out was taken"""
    daemon, _ = lab.guarded(mode="always")
    body = json.dumps({"lan": "allow"}).encode()
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(daemon.api.path)
        asking.sendall(b"GET /v1/policy HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert asking.recv(1 << 16).startswith(b"HTTP/1.1 200")  # it is let in: what comes next is read at once
        daemon.process.send(signal.SIGSTOP)
        asking.sendall(b"PATCH /v1/kill-switch HTTP/1.1\r\nHost: localhost\r\nIf-Match: *\r\nContent-Type: application/merge-patch+json\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        os.kill(daemon.client_pid(), signal.SIGKILL)
        assert daemon.ctl("--state-dir", daemon.state_dir, "release", "test").returncode == 0
        daemon.process.send(signal.SIGCONT)
        answer = asking.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 200"), answer
    process.until(lambda: daemon.api.tunnel()["state"] == "waiting", lambda: (daemon.api.tunnel(), daemon.api.all_events()))
    assert daemon.api.status()["gate"]["wayOutTaken"]
    is_open(lab, daemon)


def test_way_out_while_connected(lab):
    """the way out, with the daemon hung or dead and a tunnel connected: nothing is left, and a daemon that wakes up or comes back brings nothing back until a mode is set"""
    daemon, _ = lab.guarded(dns=[topology.INNER_SERVER4])
    for hung in (True, False):
        if hung:
            daemon.process.send(signal.SIGSTOP)
        else:
            daemon.kill()
        assert daemon.ctl("--state-dir", daemon.state_dir, "release", "test").returncode == 0
        assert daemon.run("--boot").returncode == 0
        is_open(lab, daemon)
        if hung:
            daemon.process.send(signal.SIGCONT)
        else:
            daemon.start()
        process.until(lambda: daemon.api.tunnel()["state"] == "waiting", lambda: (daemon.api.tunnel(), daemon.api.all_events()))
        assert daemon.api.status()["gate"]["wayOutTaken"]
        daemon.api.post("/bypass", {"domain": "example.com"})  # what asks for the host's resolver
        is_open(lab, daemon)
        daemon.api.mode("auto")
        daemon.wait_connected()
        assert topology.INNER_SERVER4 in lab.run(["cat", "/etc/resolv.conf"]).stdout or process.running("dnsmasq")
        lab.leaks.closed([SERVER])
