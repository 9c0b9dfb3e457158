# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is granted past the tunnel (docs/security.md, "What you grant"): exactly that, by the uplink, and no longer than it is granted."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess

from lab import isolation, process, topology
from lab.daemon import RESTART_AT_ONCE
from lab.granted import Flow, Maker, is_cut
from lab.leaks import SERVER
from lab.names import NameServer
from lab.on_bus import NAME, ROOT, OnBus
from lab.polkit import Double
from lab.systemd import Systemd

MARKS = 256  # of grants to processes, with the default fwmark
LATE_PORT, RAW = 4477, 253  # a port that no flow has, and a protocol without ports
HOSTS = ((topology.INTERNET4, topology.CLIENT4), (topology.INTERNET6, topology.CLIENT6))


def grants(daemon, **members):
    """The grants of the status that have all of MEMBERS."""
    return [grant for grant in daemon.api.status()["bypass"] if all(grant[name] == value for name, value in members.items())]


def settings(daemon, **bypass):
    """Lists in the settings; what is left out stays."""
    return daemon.api.patch("/kill-switch", {"bypass": bypass})


def wait_effect(daemon, watch, wanted=True, **members):
    """Returns once the grant is in effect (or not any more); there is no event for it, so the status is asked."""
    deadline = process.deadline_in()
    while [grant["inEffect"] for grant in grants(daemon, **members)] != [wanted]:
        process.remaining(deadline, f"{members}: {grants(daemon)}")


def goes_by_uplink(lab, make, port=4400):
    """A flow of each family leaves by the uplink from its address and is answered; returns them."""
    flows = []
    for host, source in HOSTS:
        place = lab.capture.mark()
        flow = Flow(lab, make, host, port)
        assert flow.carries() == (source, source), (flow.seen, host)
        assert flow.left(lab.capture.since(place)), f"to {host}: nothing was seen on the uplink"
        flows.append(flow)
    return flows


def stays_inside(lab, make=None, port=4500):
    """An ordinary flow, or one over MAKE's sockets, goes through the tunnel."""
    place = lab.capture.mark()
    flow = Flow(lab, make or ordinary(lab), port=port)
    assert flow.carries() == (topology.INNER_CLIENT4, topology.INNER_CLIENT4), flow.seen
    assert not flow.left(lab.capture.since(place))
    flow.close()


def ordinary(lab):
    def make(family, style):
        with lab.net.client.entered():
            return socket.socket(family, style)

    return make


def test_grant_slice(lab):
    """a slice of the settings goes by the uplink with its address, others stay inside, and taking it back cuts it"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    settings(daemon, processes=[{"slice": "torrent.slice"}])
    assert grants(daemon, type="slice", name="torrent.slice", inEffect=True, source="settings"), grants(daemon)
    flows = goes_by_uplink(lab, maker.socket)
    stays_inside(lab)
    lab.leaks.closed([SERVER], flows)
    for flow in flows:
        flow.carries()
    settings(daemon, processes=[])
    assert all(is_cut(lab, flow) for flow in flows), "a socket that lives was not cut"
    stays_inside(lab, maker.socket)
    assert not grants(daemon)
    lab.leaks.closed([SERVER])
    maker.close()


def test_grant_while_closed(lab):
    """a granted program goes on while no tunnel carries; everybody else's traffic does not leave"""
    daemon, _ = lab.guarded(mode="always")
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    daemon.api.post("/bypass", {"slice": "torrent.slice"})
    flows = goes_by_uplink(lab, maker.socket)
    daemon.api.stop()
    assert daemon.gate() == "closed"
    for flow in flows:
        flow.carries()
    lab.leaks.closed(flows=flows)
    for flow in flows:
        flow.carries()
    maker.close()


def test_grant_unit_that_starts_later(lab):
    """a unit that is not there yet is granted when it starts, and again when it starts again"""
    daemon, _ = lab.guarded()
    settings(daemon, processes=[{"unit": "backup.service"}])
    assert grants(daemon, name="backup.service", inEffect=False)[0]["detail"], grants(daemon)
    for attempt in range(2):
        os.makedirs("/sys/fs/cgroup/system.slice/jobs.slice/backup.service")
        wait_effect(daemon, None, name="backup.service")
        maker = Maker(lab, "backup", "system.slice/jobs.slice/backup.service")
        for flow in goes_by_uplink(lab, maker.socket, 4400 + attempt):
            flow.close()
        maker.close()
        os.rmdir("/sys/fs/cgroup/system.slice/jobs.slice/backup.service")
        wait_effect(daemon, None, False, name="backup.service")
        os.rmdir("/sys/fs/cgroup/system.slice/jobs.slice")
    lab.leaks.closed([SERVER])


def test_grant_is_no_name_that_anybody_may_take(lab):
    """a cgroup of that name beneath somebody's own session or service is not the unit"""
    daemon, _ = lab.guarded()
    settings(daemon, processes=[{"unit": "backup.service"}])
    maker = Maker(lab, "fake", "user.slice/user-1000.slice/user@1000.service/app.slice/backup.service")
    assert not grants(daemon, inEffect=True), grants(daemon)
    stays_inside(lab, maker.socket)
    maker.close()


def test_grant_user(lab):
    """a user is granted by the slice of his sessions"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "session", "user.slice/user-65534.slice/session-1.scope")
    daemon.api.post("/bypass", {"user": "nobody"})
    goes_by_uplink(lab, maker.socket)
    stays_inside(lab)
    maker.close()


def exec_with(lab, daemon, name, **options):
    """A Maker that `holdfastctl exec` started."""

    def start(command):
        whole = [lab.program("holdfastctl"), "--socket", daemon.api.path, "exec", "--", *command]
        return subprocess.Popen(whole, env=daemon.environment, preexec_fn=lab.net.client.join, **options)

    return Maker(lab, name, start=start)


def test_exec(lab):
    """holdfastctl exec runs a program past the tunnel; its grant ends with the program, or earlier, by hand"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    maker = exec_with(lab, daemon, "first")
    first = grants(daemon, type="program", inEffect=True)[0]["id"]
    for flow in goes_by_uplink(lab, maker.socket):
        flow.close()
    stays_inside(lab)
    maker.close()
    watch.wait(kind="bypassRemoved", bypass=first)
    assert not grants(daemon)

    maker = exec_with(lab, daemon, "second")
    second = grants(daemon, type="program")[0]["id"]
    flows = goes_by_uplink(lab, maker.socket)
    done = daemon.ctl("bypass", "remove", second)
    assert done.returncode == 0, done
    assert all(is_cut(lab, flow) for flow in flows), "a socket that lives was not cut"
    stays_inside(lab, maker.socket)
    maker.close()
    lab.leaks.closed([SERVER])


_ASK_AND_LOOK = """
import dbus, sys
bus = dbus.bus.BusConnection(sys.argv[1])
gate = dbus.Interface(bus.get_object("org.holdfast.Holdfast1", "/org/holdfast/Holdfast1"), "org.holdfast.Holdfast1.KillSwitch")
gate.AddBypass({"program": "mine"})
print(open("/proc/self/cgroup").read())
"""


def beneath_systemd(lab):
    """The daemon, with what its unit leaves it, and its tunnel, with the real systemd as PID 1."""
    lab.leaks.prove()
    systemd = Systemd(lab)
    daemon = lab.daemon(start=False, environment=systemd.environment)
    daemon.take_the_units_capabilities()
    systemd.adopt(daemon)
    daemon.start()
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(lab.server().document())
    daemon.api.start()
    daemon.wait_connected()
    return systemd, daemon


def exec_beneath(systemd, lab, daemon, name):
    """A Maker that `holdfastctl exec` started beneath systemd, in somebody's session as it were; and the unit that it is in then."""

    def start(command):
        def enter():
            with open(f"{process.CGROUPS}/{session}/cgroup.procs", "w") as file:
                file.write("0")
            lab.net.client.join()

        whole = [*systemd.inside, lab.program("holdfastctl"), "--socket", daemon.api.path, "exec", "--", *command]
        return subprocess.Popen(whole, env=daemon.environment, preexec_fn=enter)

    session = systemd.cgroup("user.slice/user-0.slice/session-1.scope")
    os.makedirs(f"{process.CGROUPS}/{session}", exist_ok=True)
    maker = Maker(lab, name, start=start)
    return maker, f"holdfast-exec-{grants(daemon, type='program')[-1]['id']}.scope"


def in_scope(systemd, unit):
    """How many processes UNIT has in Holdfast's slice."""
    with open(f"{process.CGROUPS}/{systemd.cgroup('holdfast.slice')}/{unit}/cgroup.procs") as file:
        return len(file.read().split())


def test_exec_in_a_scope(lab):
    """where systemd is PID 1, holdfastctl exec runs a program in a scope of holdfast.slice: past the tunnel, over the daemon's death, until it is taken back; so it does for a program that asks over D-Bus"""
    systemd, daemon = beneath_systemd(lab)
    watch = daemon.api.watch()
    maker, unit = exec_beneath(systemd, lab, daemon, "first")
    assert in_scope(systemd, unit) == 1 and grants(daemon, type="program", inEffect=True), grants(daemon)
    flows, loose = leave_when_granted(lab, maker)
    stays_inside(lab)
    watch.close()
    for _ in range(2):
        systemd.kill(daemon)
        for flow in flows:
            flow.carries()
        daemon.start()
        daemon.wait_connected()
        assert grants(daemon, type="program", inEffect=True), grants(daemon)
        for flow in (*flows, *goes_by_uplink(lab, maker.socket, 4401)):
            flow.carries()
    daemon.api.delete(f"/bypass/{grants(daemon, type='program')[0]['id']}")
    assert all(is_cut(lab, flow) for flow in flows) and not left_of(lab, loose), "a socket that lives was not cut"
    stays_inside(lab, maker.socket)
    assert in_scope(systemd, unit) == 1

    maker.close()
    lab.leaks.closed([SERVER])

    bus = systemd.environment["DBUS_SYSTEM_BUS_ADDRESS"]
    systemd.run("gdbus", "wait", "--address", bus, "--timeout", "60", NAME)
    asked = systemd.run("/usr/bin/python3", "-c", _ASK_AND_LOOK, bus).stdout
    assert re.search(r"^0::/holdfast\.slice/holdfast-exec-b\d+\.scope$", asked, re.MULTILINE), asked


def test_exec_in_a_scope_that_may_come_later(lab):
    """where systemd was asked and nobody knows what it will do (it hangs, and the bus is gone), nothing is granted and nothing is run"""
    systemd, daemon = beneath_systemd(lab)
    watching = process.Process(lab, "monitor", [*systemd.inside, "busctl", "monitor", "org.freedesktop.systemd1"], lab.net.client)
    watching.wait_log("Monitoring")
    bus, *_ = process.running("dbus-daemon")
    os.kill(systemd.pid, signal.SIGSTOP)
    asking = process.Process(
        lab, "asking", [*systemd.inside, lab.program("holdfastctl"), "--socket", daemon.api.path, "exec", "--", "echo", "it runs"], lab.net.client
    )
    watching.wait_log("StartTransientUnit")
    os.kill(bus, signal.SIGKILL)
    asking.wait()
    assert "nothing was granted" in asking.log() and "it runs" not in asking.log(), asking.log()
    assert not grants(daemon)
    os.kill(systemd.pid, signal.SIGCONT)
    lab.leaks.closed([SERVER])


def test_exec_in_a_scope_that_is_gone(lab):
    """a scope that is stopped takes its grant with it, and its mark is given again: sockets that the program left to others stay cut though systemd has removed their cgroup"""
    systemd, daemon = beneath_systemd(lab)
    record = f"{daemon.runtime_dir}/bypass.json"
    watch = daemon.api.watch()
    first, unit = exec_beneath(systemd, lab, daemon, "first")
    flows, loose = leave_when_granted(lab, first)
    granted = unit.removeprefix("holdfast-exec-").removesuffix(".scope")
    mark = mark_of(daemon, granted)
    systemd.run("systemctl", "stop", unit)
    watch.wait(kind="bypassRemoved", bypass=granted)
    assert not grants(daemon)
    assert all(is_cut(lab, flow) for flow in flows) and not left_of(lab, loose), "what the program left to others was not cut"

    watch.close()
    systemd.kill(daemon)
    with open(record) as file:
        kept = json.load(file)
    assert kept["spentMarks"] == [], kept
    with open(record, "w") as file:
        json.dump(kept | {"nextMark": kept["nextMark"] - 1}, file)
    daemon.start()
    daemon.wait_connected()
    second, _ = exec_beneath(systemd, lab, daemon, "second")
    assert mark_of(daemon, grants(daemon, type="program")[0]["id"]) == mark
    for flow in goes_by_uplink(lab, second.socket, 4401):
        flow.close()
    assert all(is_cut(lab, flow) for flow in flows) and not left_of(lab, loose), "a socket of a grant that ended leaves with another's mark"
    second.close()
    first.close()


def test_exec_finds_names(lab):
    """a granted program finds names: of the tunnel's resolver inside the tunnel, of one that answers on loopback, and of the uplink's once no tunnel is up"""
    daemon, _ = lab.guarded(connect=False, dns=[topology.INNER_SERVER4])
    daemon.api.mode("always")
    daemon.api.start()
    daemon.wait_connected()
    inside = NameServer(lab, {"named.test": [topology.INTERNET4]}, topology.INNER_SERVER4, lab.net.server)
    outside = NameServer(lab, {"named.test": ["198.51.100.99"]})

    def found():
        done = daemon.ctl("exec", "--", "getent", "-s", "dns", "ahostsv4", "named.test")
        return {line.split()[0] for line in done.stdout.splitlines()}

    assert topology.INNER_SERVER4 in lab.run(["cat", "/etc/resolv.conf"]).stdout
    place = lab.capture.mark()
    assert found() == {topology.INTERNET4} and not outside.asked
    queries = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.destination_port == 53]
    assert not queries, queries[0]
    settings(daemon, domains=["example.com"])  # now the host asks dnsmasq
    assert "127.104.102.53" in lab.run(["cat", "/etc/resolv.conf"]).stdout
    deadline = process.deadline_in()
    while found() != {topology.INTERNET4}:  # until dnsmasq listens
        process.remaining(deadline, "dnsmasq does not answer")
    assert not outside.asked
    settings(daemon, domains=[])
    assert found() == {topology.INTERNET4}
    daemon.api.stop()
    assert found() == {"198.51.100.99"} and outside.asked
    lab.leaks.closed()
    inside.close()
    outside.close()


def test_exec_by_control(lab):
    """the scope control may exec its own programs where the settings say so, and grant nothing else"""
    daemon, _ = lab.guarded()
    done = daemon.ctl_as_member("exec", "--", "true")
    assert done.returncode == 5 and "selfService" in done.stderr, done
    settings(daemon, selfService=True)
    done = daemon.ctl_as_member("exec", "--", "sh", "-c", "cat /proc/self/cgroup")
    assert done.returncode == 0 and "/exec-" in done.stdout, done
    done = daemon.ctl_as_member("bypass", "add", "address", topology.INTERNET4)
    assert done.returncode == 5, done
    done = daemon.ctl_as_member("exec", "--", "/no/such/program")
    assert done.returncode == 127 and "/no/such/program" in done.stderr, done
    assert not grants(daemon, type="address")


ON_THE_BUS = """
import dbus, sys
bus = dbus.bus.BusConnection(sys.argv[1])
gate = dbus.Interface(bus.get_object("org.holdfast.Holdfast1", "/org/holdfast/Holdfast1"), "org.holdfast.Holdfast1.KillSwitch")
for kind, name in (("program", "mine"), ("address", "198.51.100.7")):
    try:
        gate.AddBypass({kind: name})
        print("enclosed" if "/exec-" in open("/proc/self/cgroup").read() else "not enclosed")
    except dbus.DBusException as error:
        print(error.get_dbus_name())
"""


def test_exec_on_the_bus(lab):
    """the same over D-Bus for who has polkit's word for `control`: the program that calls is the one that is granted, where the settings say so"""
    os.makedirs("/run/systemd/system")  # as if systemd were PID 1: it is not on this bus, and the daemon's own cgroup has to do
    on_bus = OnBus(lab)
    Double(lab, on_bus, [f"{NAME}.control"])

    def told():
        return on_bus.run(["/usr/bin/python3", "-c", ON_THE_BUS, on_bus.bus.address], isolation.NOBODY).stdout.splitlines()

    refused = f"{NAME}.Error.Forbidden"
    assert told() == [refused, refused]
    settings(on_bus.daemon, selfService=True)
    assert told() == ["enclosed", refused]


def test_grant_addresses(lab):
    """addresses and networks, of the settings and at run time, go by the uplink masqueraded, DNS apart; taking one back cuts it"""
    daemon, _ = lab.guarded()
    cases = (
        (topology.INTERNET4, topology.CLIENT4, [topology.INTERNET4, "198.51.100.0/24"]),
        (topology.INTERNET6, topology.CLIENT6, [topology.INTERNET6, "2001:db8:3::/64"]),
    )
    for host, source, networks in cases:
        for network in networks:
            for listed in (False, True):
                if listed:
                    settings(daemon, addresses=[network])
                else:
                    identifier = daemon.api.post("/bypass", {"address": network})["id"]
                place = lab.capture.mark()
                flow = Flow(lab, ordinary(lab), host)
                assert flow.carries() == (source, source), (network, flow.seen)
                with lab.net.client.entered(), socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as dns:
                    dns.connect((host, 53))
                    dns.setblocking(False)
                    try:
                        dns.send(b"query")
                    except OSError:
                        pass
                frames = lab.capture.since(place)
                assert flow.left(frames)
                assert not [frame for frame in frames if frame.destination_port == 53], "DNS left by a grant of an address"
                if listed:
                    settings(daemon, addresses=[])
                else:
                    daemon.api.delete(f"/bypass/{identifier}")
                assert is_cut(lab, flow), (network, listed)
                flow.close()
    lab.leaks.closed([SERVER])
    stays_inside(lab)


def test_grant_a_hundred_thousand_networks(lab):
    """100,000 networks of the settings: one of them is let by, changes beside them stay small, taking them back cuts what lives"""
    daemon, _ = lab.guarded()
    networks = [f"20.{i >> 8}.{i & 255}.0/24" for i in range(0, 32768)] + [f"2400:{i >> 8:x}:{i & 255:x}::/48" for i in range(0, 67228)]
    networks += [topology.INTERNET4, topology.INTERNET4 + "/32", topology.INTERNET6, "20.0.0.0/9"]
    place = daemon.api.call("GET", "/kill-switch")
    answer = daemon.api.call("PATCH", "/kill-switch", {"bypass": {"addresses": networks}}, {"If-Match": place.headers["ETag"]}, timeout=120)
    assert answer.status == 200 and answer.body["changed"], answer
    assert answer.headers["ETag"] == daemon.api.call("GET", "/kill-switch").headers["ETag"] != place.headers["ETag"]
    assert len(daemon.api.get("/kill-switch")["bypass"]["addresses"]) == 100000
    flows = goes_by_uplink(lab, ordinary(lab), 4401)

    status = daemon.api.status()
    assert len(json.dumps(status)) < 65536, len(json.dumps(status))
    rest = [grant for grant in status["bypass"] if grant["id"] == "addresses"]
    assert [grant["name"] for grant in rest] == ["99968 more"], rest
    assert len(daemon.api.get("/bypass")["bypass"]) == 1001

    grant = daemon.api.post("/bypass", {"address": topology.LAN4 + "/32"})
    daemon.api.delete("/bypass/" + grant["id"])
    assert daemon.api.call("DELETE", "/bypass/address:20.0.0.0%2F9").status == 409
    too_many = daemon.api.call("PATCH", "/kill-switch", {"bypass": {"addresses": networks + ["192.0.2.1"]}}, {"If-Match": "*"}, timeout=120)
    assert too_many.status == 400 and too_many.body["errors"][0]["pointer"] == "/bypass/addresses", too_many

    watch = daemon.api.watch()
    lab.nft("delete table inet holdfast")
    assert watch.wait(kind="gateTampered")["healed"]
    watch.close()
    for flow in flows:
        flow.carries()
    daemon.kill()
    daemon.start()
    daemon.wait_connected()
    for flow in flows:
        flow.carries()
    settings(daemon, addresses=[])
    assert all(is_cut(lab, flow) for flow in flows), "a flow that lives was not cut"
    stays_inside(lab)
    lab.leaks.closed([SERVER])


_REPLACE = """
import dbus, sys
gate = dbus.Interface(dbus.SystemBus().get_object("org.holdfast.Holdfast1", "/org/holdfast/Holdfast1"), "org.holdfast.Holdfast1.KillSwitch")
try:
    print(bool(gate.Replace(sys.stdin.read(), "", timeout=600)[0]))
except dbus.DBusException as error:
    print(error.get_dbus_name(), error.get_dbus_message())
"""


def replaced_over_each_front(lab, on_bus, document):
    """What D-Bus, REST and holdfastctl say of the same settings, the mode being another before each."""
    text, said = json.dumps(document), []
    for front in ("D-Bus", "REST", "holdfastctl"):
        on_bus.daemon.api.mode("auto")
        if front == "D-Bus":
            said.append(on_bus.run(["/usr/bin/python3", "-c", _REPLACE], input=text).stdout.strip())
        elif front == "REST":
            answer = on_bus.daemon.api.call("PUT", "/kill-switch", document, {"If-Match": "*"}, timeout=600)
            said.append(f"{answer.status} {answer.body}")
        else:
            with open("/run/lab/settings.json", "w") as file:
                file.write(text)
            done = on_bus.daemon.ctl("kill-switch", "set", "/run/lab/settings.json", timeout=600)
            said.append(f"{done.returncode} {done.stdout}{done.stderr}")
        mode = on_bus.daemon.api.status()["gate"]["mode"]
        found = lab.nft("get", "element", "inet", "holdfast", "listed4", "{ 20.0.5.7 }", check=False)
        said[-1] = (said[-1], mode, found.returncode == 0)
    return said


def test_a_hundred_thousand_networks_over_each_front(lab):
    """settings with 100,000 networks are taken by D-Bus, REST and holdfastctl; one network more, and a document over 8 MiB, are refused by all in the same words"""
    on_bus = OnBus(lab)
    networks = [f"20.{i >> 8}.{i & 255}.0/24" for i in range(0, 32768)] + [f"2400:{i >> 8:x}:{i & 255:x}::/48" for i in range(0, 67232)]
    fits = {"mode": "always", "bypass": {"addresses": networks}}
    said = replaced_over_each_front(lab, on_bus, fits)
    assert [(mode, held) for _, mode, held in said] == [("always", True)] * 3, said
    on_bus.daemon.api.mode("off")
    on_bus.daemon.api.put("/kill-switch", {"mode": "auto"})
    for document, words in (
        (fits | {"bypass": {"addresses": [*networks, "192.0.2.1"]}}, ("/bypass/addresses", "100000")),
        (fits | {"bypass": {"addresses": [f"{network:>80}" for network in networks]}}, ("8388608",)),
    ):
        said = replaced_over_each_front(lab, on_bus, document)
        assert all(mode == "auto" and not held for _, mode, held in said), said
        assert all(word in text for text, _, _ in said for word in words), said


LIFETIME = "15s"  # enough to see that it is granted, on a machine that is busy; the test takes so long


def test_grant_with_an_end(lab):
    """a lifetime is ended by the kernel itself, the daemon being dead, and is over for the next one"""
    daemon, _ = lab.guarded()
    daemon.api.post("/bypass", {"address": topology.INTERNET4, "for": LIFETIME})
    daemon.api.post("/bypass", {"address": "2001:db8:3::/64", "for": LIFETIME})
    assert len([grant for grant in grants(daemon) if grant["until"]]) == 2, grants(daemon)
    flows = [Flow(lab, ordinary(lab), host) for host, _ in HOSTS]
    assert [flow.carries()[0] for flow in flows] == [topology.CLIENT4, topology.CLIENT6]
    daemon.kill()
    for flow in flows:
        flow.carries()  # now that nobody but the kernel can end it
    deadline = process.deadline_in()
    while not all(is_cut(lab, flow) for flow in flows):
        process.remaining(deadline, "the grants did not end")
    daemon.start()
    assert not grants(daemon) and all(is_cut(lab, flow) for flow in flows), "the next daemon grants them again"
    daemon.wait_connected()
    lab.leaks.closed([SERVER])


def test_grants_outlive_the_daemon(lab):
    """with the daemon killed grants hold and nothing more opens; the next daemon knows them, and can take them back"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    daemon.api.post("/bypass", {"slice": "torrent.slice"})
    daemon.api.post("/bypass", {"address": topology.INTERNET6})
    before = {grant["id"]: grant["name"] for grant in grants(daemon)}
    flow = Flow(lab, maker.socket)
    granted = Flow(lab, ordinary(lab), topology.INTERNET6)
    daemon.kill()
    for _ in range(2):
        assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
        assert granted.carries() == (topology.CLIENT6, topology.CLIENT6)
        again = Flow(lab, maker.socket, port=4401)
        assert again.carries()[0] == topology.CLIENT4
        again.close()
        if not daemon.process.alive():
            daemon.start()
            daemon.wait_connected()
            assert {grant["id"]: grant["name"] for grant in grants(daemon)} == before
    for identifier in before:
        daemon.api.delete(f"/bypass/{identifier}")
    assert is_cut(lab, flow) and is_cut(lab, granted)
    lab.leaks.closed([SERVER])
    stays_inside(lab, maker.socket)
    maker.close()


def test_grants_that_nobody_recorded(lab):
    """without its record a daemon takes back what is granted at run time, sockets and cgroups alike, and gives no mark that a socket may carry"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    daemon.api.post("/bypass", {"slice": "torrent.slice"})
    daemon.api.post("/bypass", {"address": topology.INTERNET6})
    flows, loose = leave_when_granted(lab, maker)
    flows.append(Flow(lab, ordinary(lab), topology.INTERNET6, 4401))
    record = f"{daemon.runtime_dir}/bypass.json"
    os.mkdir("/sys/fs/cgroup/other.slice")
    for lost in ("{", "", None):
        daemon.kill()
        if lost is None:
            os.unlink(record)
        else:
            with open(record, "w") as file:
                file.write(lost)
        daemon.start()
        daemon.wait_connected()
        assert not grants(daemon)
        assert all(is_cut(lab, flow) for flow in flows)
        answer = daemon.api.call("POST", "/bypass", {"slice": "other.slice"})
        assert answer.status == 429 and "reboot" in answer.body["detail"], answer
        settings(daemon, processes=[{"slice": "other.slice"}])
        assert "reboot" in grants(daemon, type="slice", inEffect=False)[0]["detail"], grants(daemon)
        assert not left_of(lab, loose), "a socket leaves with another's mark"
        settings(daemon, processes=[])
    stays_inside(lab, maker.socket)
    lab.leaks.closed([SERVER])
    maker.close()

    daemon.kill()
    os.unlink(record)
    with open(f"{daemon.state_dir}/state.json") as file:
        state = json.load(file)
    with open(f"{daemon.state_dir}/state.json", "w") as file:
        json.dump(state | {"bootId": "of the boot before"}, file)
    daemon.start()
    assert daemon.api.call("POST", "/bypass", {"slice": "other.slice"}).status == 201, "a boot does not give the marks back"


def test_grants_refused(lab):
    """what is malformed, too wide, not there, or Holdfast's own is refused by name, and nothing is changed"""
    daemon, _ = lab.guarded()
    table = daemon.table()
    for body, status, word in (
        ({"address": "10.0.0.0/7"}, 400, "10.0.0.0/7"),
        ({"address": "2000::/15"}, 400, "2000::/15"),
        ({"address": "198.51.100.300"}, 400, "198.51.100.300"),
        ({"address": "x; flush ruleset"}, 400, "flush ruleset"),
        ({"domain": "exa mple.com"}, 400, "exa mple.com"),
        ({"unit": "../../backup.service"}, 400, "../../backup.service"),
        ({"slice": "-.slice"}, 400, "-.slice"),
        ({"user": "no such"}, 400, "no such"),
        ({"unit": "nowhere.service"}, 404, "nowhere.service"),
        ({"slice": "nowhere.slice"}, 404, "nowhere.slice"),
        ({"user": "nosuchuser"}, 404, "nosuchuser"),
        ({"slice": "system.slice"}, 400, "system.slice"),
        ({"unit": "holdfastd.service"}, 400, "holdfastd.service"),
        ({"address": "192.0.2.1", "user": "nobody"}, 400, "one of"),
        ({}, 400, "one of"),
        ({"address": "192.0.2.1", "for": "0s"}, 400, "0s"),
    ):
        answer = daemon.api.call("POST", "/bypass", body)
        assert answer.status == status and word in str(answer.body), (body, answer)
    assert daemon.api.call("DELETE", "/bypass/b99").status == 404
    for bypass, word in (
        ({"processes": [{"user": "nosuchuser"}]}, "nosuchuser"),
        ({"processes": [{"unit": "a b.service"}]}, "a b.service"),
        ({"addresses": ["192.0.2.0/24", "0.0.0.0/0"]}, "0.0.0.0/0"),
        ({"domains": ["example.com", "no domain"]}, "no domain"),
    ):
        answer = daemon.api.call("PUT", "/kill-switch", {"bypass": bypass}, headers={"If-Match": "*"})
        assert answer.status == 400 and word in str(answer.body), (bypass, answer)
    daemon.api.post("/bypass", {"address": "192.0.2.0/24"})
    answer = daemon.api.call("POST", "/bypass", {"address": "192.0.2.0/25"})
    assert answer.status == 409 and "192.0.2.0/24" in str(answer.body), answer
    again = daemon.api.call("POST", "/bypass", {"address": "192.0.2.0/24"})
    assert again.status == 200 and again.body["changed"] is False, again
    daemon.api.delete(f"/bypass/{again.body['id']}")
    assert not grants(daemon)
    assert "elements" not in daemon.table().replace("elements = { ipv", ""), daemon.table()
    assert table.count("\n") <= daemon.table().count("\n")
    lab.leaks.closed([SERVER])


def test_grants_refused_by_each_front(lab):
    """what REST refuses is refused in the same words by D-Bus and holdfastctl, and nothing is changed; nor is it by an odd link in the settings"""
    on_bus = OnBus(lab)
    daemon = on_bus.daemon
    daemon.api.mode("always")
    table = daemon.table()
    for kind, name in (
        ("address", "10.0.0.0/7"), ("address", "x; flush ruleset"), ("address", "192.0.2.1\n"), ("domain", "exa mple.com"), ("domain", "a..b"),
        ("unit", "../../backup.service"), ("unit", "nowhere.service"), ("slice", "-.slice"), ("slice", "a--b.slice"), ("user", "nosuchuser"),
        ("user", "4294967296"), ("user", "-1"),
    ):  # fmt: skip
        answer = daemon.api.call("POST", "/bypass", {kind: name})
        assert answer.status in (400, 404), (kind, name, answer)
        words = answer.body["errors"][0]["detail"] if answer.body.get("errors") else answer.body["detail"]
        done = daemon.ctl("bypass", "add", "--", kind, name)
        assert done.returncode != 0 and words in done.stderr, (kind, name, words, done)
        done = on_bus.run(["busctl", "call", NAME, ROOT, f"{NAME}.KillSwitch", "AddBypass", "a{sv}", "--", "1", kind, "s", name])
        assert done.returncode != 0 and words in done.stderr, (kind, name, words, done)
    for odd in ('eth0"; accept', "eth0 eth1", "a/b", "*", "..", "", "sixteen-letters-", "e\u0301th"):
        for member in ({"uplinks": [odd]}, {"lan": {"custom": [{"network": "10.1.0.0/24", "interface": odd}]}}):
            answer = daemon.api.call("PATCH", "/kill-switch", member, {"If-Match": "*"})
            assert answer.status == 400 and answer.body["errors"], (member, answer)
    daemon.api.patch("/kill-switch", {"uplinks": ["nowhere0"], "lan": {"custom": [{"network": "10.1.0.0/24", "interface": "nowhere0"}]}})
    assert daemon.gate() == "closed"  # a link that may come later is taken
    daemon.api.patch("/kill-switch", {"uplinks": [], "lan": "block"})
    assert not grants(daemon) and re.sub("packets .*", "", daemon.table()) == re.sub("packets .*", "", table)


def test_grants_without_cgroups(lab):
    """where the kernel has no cgroup v2 the tunnel and grants of addresses work, and grants of processes say what is missing"""
    lab.leaks.prove()
    daemon = lab.daemon(start=False)
    command = daemon.command
    daemon.command = lambda *arguments: ["unshare", "--mount", "sh", "-c", 'umount -l /sys/fs/cgroup && exec "$@"', "sh", *command(*arguments)]
    daemon.start()
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(lab.server().document())
    daemon.api.start()
    daemon.wait_connected()
    for grant in ({"slice": "torrent.slice"}, {"unit": "backup.service"}, {"user": "nobody"}):
        answer = daemon.api.call("POST", "/bypass", grant)
        assert answer.status == 503 and "cgroup v2 with BPF" in answer.body["detail"], answer
    done = daemon.ctl("exec", "--", "true")
    assert done.returncode != 0 and "cgroup v2 with BPF" in done.stderr, done
    settings(daemon, processes=[{"slice": "torrent.slice"}], addresses=[topology.INTERNET4])
    assert "cgroup v2 with BPF" in grants(daemon, type="slice", inEffect=False)[0]["detail"], grants(daemon)
    flow = Flow(lab, ordinary(lab))
    assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
    settings(daemon, addresses=[])
    assert is_cut(lab, flow)
    lab.leaks.closed([SERVER])


def test_grants_healed(lab):
    """a table that somebody flushed comes back with what is granted, and with nothing that he added"""
    daemon, _ = lab.guarded()
    daemon.api.post("/bypass", {"address": topology.INTERNET4})
    flow = Flow(lab, ordinary(lab))
    for command in ("flush ruleset", "flush set inet holdfast hosts4", f"add element inet holdfast hosts6 {{ {topology.INTERNET6} }}"):
        watch = daemon.api.watch()
        lab.nft(command)
        event = watch.wait(kind="gateTampered")
        assert event["healed"], event
        watch.close()
        assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
        assert topology.INTERNET6 not in daemon.table()
    daemon.api.delete(f"/bypass/{grants(daemon)[0]['id']}")
    assert is_cut(lab, flow)
    lab.leaks.closed([SERVER])


def test_grants_in_mode_off(lab):
    """what is granted while nothing is held waits for the gate"""
    daemon = lab.daemon()
    lab.leaks.prove()
    daemon.api.post("/bypass", {"address": topology.INTERNET4})
    assert daemon.table() is None
    daemon.api.mode("always")
    flow = Flow(lab, ordinary(lab))
    assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
    daemon.api.mode("off")


def test_grant_taken_back_on_a_full_disk(lab):
    """what is taken back stays so over the daemon's death, also where the record cannot be written"""
    daemon, _ = lab.guarded()
    lab.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", daemon.runtime_dir])  # from now on its records go there
    identifier = daemon.api.post("/bypass", {"address": topology.INTERNET4})["id"]
    flow = Flow(lab, ordinary(lab))
    assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
    lab.run(["cp", "/dev/zero", f"{daemon.runtime_dir}/filler"], check=False)
    answer = daemon.api.call("POST", "/bypass", {"address": topology.INTERNET6})
    assert answer.status == 500 and "bypass.json" in answer.body["detail"], answer
    daemon.api.delete(f"/bypass/{identifier}")
    assert is_cut(lab, flow)
    daemon.kill()
    lab.run(["rm", f"{daemon.runtime_dir}/filler"])
    daemon.start()
    assert is_cut(lab, flow), "what was taken back is granted again"
    assert topology.INTERNET4 not in daemon.table()
    lab.leaks.closed([SERVER])


def test_grant_taken_back_with_the_units_capabilities(lab):
    """what runs on in a cgroup whose grant is taken back makes ordinary sockets, with a bpffs to find the program in or without"""
    daemon, _ = lab.guarded(as_unit=True)
    for bpffs in (True, False):
        maker = exec_with(lab, daemon, f"program-{bpffs}")
        if not bpffs:
            lab.run(["umount", "/sys/fs/bpf"])
        daemon.kill()
        daemon.start()
        daemon.wait_connected()
        flow = Flow(lab, maker.socket)
        assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
        daemon.api.delete(f"/bypass/{grants(daemon, type='program')[0]['id']}")
        assert is_cut(lab, flow)
        stays_inside(lab, maker.socket)
        flow.close()
        maker.close()
    lab.leaks.closed([SERVER])


def mark_of(daemon, name):
    """The mark of the grant whose name or id is NAME, as the daemon keeps it."""
    with open(f"{daemon.runtime_dir}/bypass.json") as file:
        return next(grant["mark"] for grant in json.load(file)["grants"] if name in (grant["name"], grant["id"]))


def loose_sockets(maker):
    """Sockets that are neither bound nor connected: no list of the kernel's has them."""
    kinds = ((socket.SOCK_STREAM, 0), (socket.SOCK_DGRAM, 0), (socket.SOCK_RAW, RAW))
    families = ((topology.INTERNET4, socket.AF_INET), (topology.INTERNET6, socket.AF_INET6))
    return [(host, maker.socket(family, *kind)) for host, family in families for kind in kinds]


def left_of(lab, sockets):
    """Connects SOCKETS now and sends; what of it is seen on the uplink. Other flows to the same hosts may be ending there."""
    place = lab.capture.mark()
    for host, sock in sockets:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.connect((host, LATE_PORT))
        with contextlib.suppress(OSError):
            sock.send(b"late")
    frames = [frame for frame in lab.capture.since(place) if not frame.outgoing and frame.destination in dict(HOSTS)]
    return [frame for frame in frames if frame.destination_port == LATE_PORT or frame.protocol == RAW]


def leave_when_granted(lab, maker, port=4400):
    """Flows of MAKER, and loose sockets; the control of left_of(): such sockets are seen on the uplink while MAKER is granted."""
    flows, loose = goes_by_uplink(lab, maker.socket, port), loose_sockets(maker)
    others = loose_sockets(maker)
    frames = left_of(lab, others)
    assert len({(frame.destination, frame.protocol) for frame in frames}) == len(loose), frames
    for _, sock in others:
        sock.close()
    return flows, loose


def test_grant_mark_of_a_slice_is_its_own(lab):
    """the mark of a slice that was granted is given to nobody else before the next boot: when all are used up a grant is refused, and nothing opens"""
    daemon, _ = lab.guarded()
    maker = Maker(lab, "torrent", "torrent.slice/client.service")
    identifier = daemon.api.post("/bypass", {"slice": "torrent.slice"})["id"]
    mark = mark_of(daemon, identifier)
    flows, loose = leave_when_granted(lab, maker)
    daemon.api.delete(f"/bypass/{identifier}")
    for number in range(MARKS - 1):
        os.mkdir(f"/sys/fs/cgroup/other{number}.slice")
        other = daemon.api.post("/bypass", {"slice": f"other{number}.slice"})["id"]
        assert mark_of(daemon, other) != mark
        if number % 2:
            daemon.api.delete(f"/bypass/{other}")
    os.mkdir("/sys/fs/cgroup/last.slice")
    for _ in range(2):
        answer = daemon.api.call("POST", "/bypass", {"slice": "last.slice"})
        assert answer.status == 429 and "reboot" in answer.body["detail"], answer
        assert all(is_cut(lab, flow) for flow in flows), "a socket of a grant taken back leaves with another's mark"
        assert not left_of(lab, loose), "a socket that was not connected yet leaves with another's mark"
        daemon.kill()
        daemon.start()
        daemon.wait_connected()
    assert mark_of(daemon, daemon.api.post("/bypass", {"slice": "torrent.slice"})["id"]) == mark
    goes_by_uplink(lab, maker.socket, 4401)
    maker.close()


def test_grant_mark_of_a_program_given_again(lab):
    """the mark of a program comes back: sockets of the earlier one stay cut, connected or not, whether it lives or has left them to others"""
    daemon, _ = lab.guarded()
    watch = daemon.api.watch()
    first, ended = exec_with(lab, daemon, "first"), exec_with(lab, daemon, "ended")
    programs = [grant["id"] for grant in grants(daemon, type="program")]
    marks = [mark_of(daemon, identifier) for identifier in programs]
    kept = [leave_when_granted(lab, first), leave_when_granted(lab, ended, 4402)]
    daemon.api.delete("/bypass/" + programs[0])
    ended.close()
    watch.wait(kind="bypassRemoved", bypass=programs[1])
    for _ in range(MARKS - 2):
        done = daemon.ctl("exec", "--", "true")
        assert done.returncode == 0, done
    later = [exec_with(lab, daemon, name) for name in ("later", "latest")]
    deadline = process.deadline_in()
    while len(grants(daemon, type="program")) > 2:
        process.remaining(deadline, "the programs that ended are granted still")
    assert [mark_of(daemon, grant["id"]) for grant in grants(daemon, type="program")] == marks, "the marks did not come back"
    for maker in later:
        for flow in goes_by_uplink(lab, maker.socket, 4401):
            flow.close()
    for flows, loose in kept:
        assert all(is_cut(lab, flow) for flow in flows), "a socket of a grant taken back leaves with another's mark"
        assert not left_of(lab, loose), "a socket that was not connected yet leaves with another's mark"
    stays_inside(lab, first.socket)
    for maker in (first, *later):
        maker.close()


def test_grant_daemon_died_while_marking(lab):
    """a daemon that died before it recorded which program marks a cgroup leaves none behind: what runs there is ordinary once its grant is taken back"""
    daemon, _ = lab.guarded(as_unit=True)
    maker = exec_with(lab, daemon, "program")
    for _ in range(2):
        daemon.kill()
        lab.run(["sh", "-c", 'for pin in /sys/fs/bpf/holdfast-*[0-9]; do mv "$pin" "$pin-next"; done'])
        daemon.start()
        daemon.wait_connected()
        flow = Flow(lab, maker.socket)
        assert flow.carries() == (topology.CLIENT4, topology.CLIENT4)
        flow.close()
    daemon.api.delete(f"/bypass/{grants(daemon, type='program')[0]['id']}")
    stays_inside(lab, maker.socket)
    lab.leaks.closed([SERVER])
    maker.close()
