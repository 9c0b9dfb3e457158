# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes wrong, provoked for real: driver × failure × the error that is to come, one row each, one test each.

A row says which tunnel (`begin`), whether it is up before the failure, and what makes it fail (`provoke`). Every row has its positive
control, offers every kind of traffic from before the failure until after the decision, and prints: driver, failure, error expected and
seen, time to detect, packets leaked, packets that the control saw. A driver adds rows; the test below them is the same for all.

RETURNS are failures that pass: the same rows, with what ends the failure (`mend`), and the policy's restart brings the tunnel back. ROAMING
and ASLEEP are no failures: the uplink changes beneath a tunnel that bears it, the host sleeps and wakes.

Every error that a policy can decide on is reached by a row, or by the test that ELSEWHERE names; a test holds the list against the table.
"""

import os
import re
import signal
import socket
import time
from dataclasses import dataclass

from lab import frames, process, topology
from lab.daemon import RESTART_AT_ONCE, WAIT_LONG
from lab.leaks import OPENVPN, SERVER, Endpoint, Leak
from lab.logind import Logind
from lab.names import NameServer, question
from lab.openvpn import Authority, HalfServer
from lab.traffic import recognise
from lab.wireguard import Key
from test_command import install, program_pids
from test_health import wait_for_health
from test_unknown import owner_of_the_table

LINK = "hf-home"
UNREACHABLE = "203.0.113.77"
NAME = "nobody.example"
INNER_RESOLVER = "10.9.0.1"
MULTICAST6 = "ff05::5/128"
MOVED4 = "10.1.0.33"  # the client's address after its uplink changed
LATE = 50  # packets


# Tunnels to begin with: each returns the client's program, the document, and what a row may need to make it fail.


def wireguard(lab, client=None, endpoints=None, server=True):
    there = lab.server(client=client) if server else None
    known = there or lab.server(port=51999)
    document = known.document(endpoints=endpoints or [f"{topology.SERVER4}:51820/udp"])
    if client:
        document["settings"]["privateKey"] = Key.new().private
    return "wireguard-go", document, there


def openvpn(lab, endpoints=None, settings=None, **options):
    server = lab.openvpn_server(**options)
    return "openvpn", server.document(endpoints=endpoints, settings=server.settings(**(settings or {}))), server


def openvpn_without_server(lab, protocol="udp", endpoints=None, make=None):
    """The server's keys, and at its address nobody, or what MAKE puts there."""
    program, document, server = openvpn(lab, endpoints, protocol="tcp-server" if protocol == "tcp" else "udp")
    server.kill()
    return program, document, make(lab) if make else None


def openvpn_other_authority(lab):
    program, document, server = openvpn(lab)
    document["settings"]["ca"] = Authority("/run/lab/openvpn/other", "other").read("ca.crt")
    return program, document, server


def silent_openvpn(lab):
    return lab.silent_server(port=1194)


def wireguard_with_resolver(lab):
    program, document, server = wireguard(lab)
    return program, document | {"dns": [INNER_RESOLVER]}, server


def wireguard_with_no_hosts_address(lab):
    program, document, server = wireguard(lab)
    document["settings"]["addresses"].append(MULTICAST6)
    return program, document, server


def openvpn_with_resolver(lab):
    return openvpn(lab, extra=[f'push "dhcp-option DNS {INNER_RESOLVER}"'])


def openvpn_as(user):
    return lambda lab: openvpn(lab, users=True, settings={"username": user})


def command(*arguments, endpoint=f"{topology.SERVER4}:51820/udp", **members):
    """A program of test_command.py's; its tunnel is in a file, which the daemon reads at its start."""
    return lambda lab: (None, lambda daemon: install(daemon, arguments, tunnel="home", routes="all", endpoint=endpoint, **members), None)


NO_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"
ASKS = {"errors": [{"line": "*one-time password*", "error": "credentialsRequired"}]}


# What makes them fail. START is for tunnels that fail as they connect.


def start(run):
    run.daemon.api.start(wait=None)


def to_client(number):
    return lambda run: os.kill(run.daemon.client_pid(run.program), number)


def to_program(number):
    def kill(run):
        [pid] = program_pids()
        os.kill(pid, number)

    return kill


def to_worker(number):
    return lambda run: os.kill(run.daemon.worker_pid(), number)


def link(*words):
    return lambda run: run.lab.ip("link", *words)


def kill_server(run):
    run.server.kill()


def end_server(run):
    run.server.process.send(signal.SIGTERM)


def in_use(run):
    """What goes through the tunnel is answered, and health has seen it."""
    wait_for_health(run.lab, run.daemon, "watching")
    run.flood = run.lab.flood()


def refuse_gate(run):
    """nftables refuses every change to the gate, and the tunnel is to restart behind it."""
    owner_of_the_table(run.lab, run.daemon)
    run.daemon.api.call("POST", "/tunnels/home/restart", {})


def move_endpoint(run):
    """The server's first address is dead, and its name says the second."""
    run.lab.ip("route", "add", "blackhole", topology.SERVER4, namespace=run.lab.net.router)
    run.lab.names.names[NAME] = [topology.SERVER4_SECOND]


def change_uplink(run):
    """Another address, and the route with it: what another network gives."""
    topology.batch(
        run.lab.net.client,
        [
            f"address delete {topology.CLIENT4}/24 dev eth0",
            f"address add {MOVED4}/24 dev eth0",
            f"route add default via {topology.GATEWAY4} dev eth0",
        ],
    )


def change_uplink_late(run):
    """The same while the client has no time: what came to the former address it takes only afterwards."""
    place = run.lab.capture.mark()
    to_client(signal.SIGSTOP)(run)
    with run.lab.net.server.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(LATE):
            sock.sendto(b"late", (topology.INNER_CLIENT4, 9))
    process.until(lambda: sum(frame.outgoing and frame.source_port == 51820 for frame in run.lab.capture.since(place)) >= LATE, "nothing came late")
    change_uplink(run)
    to_client(signal.SIGCONT)(run)


def restart_server(run):
    run.server.kill()
    run.server.start()


def start_server_again(run):
    run.server.process.wait()
    run.server.start()


def lose_uplink(run):
    run.lab.ip("link", "set", "eth0", "down")


def give_uplink_back(run):
    tunnel = run.daemon.api.tunnel()
    assert (tunnel["state"], tunnel["attempt"]) == ("waiting", 0), tunnel
    give_addresses_back(run.lab)


def give_addresses_back(lab):
    topology.batch(
        lab.net.client,
        [
            "link set eth0 up",
            f"address add {topology.CLIENT6}/64 dev eth0",
            "address add fe80::2/64 dev eth0",
            f"route add default via {topology.GATEWAY4} dev eth0",
            f"route add default via {topology.GATEWAY6} dev eth0",
        ],
    )


def sleep_and_wake(run):
    """The host sleeps, its uplink goes and comes back, and it wakes: the client hears of none of it."""
    run.logind.sleeps(True)
    run.lab.ip("link", "set", "eth0", "down")
    process.until(lambda: not run.daemon.api.status()["network"]["available"], "the uplink is not seen gone")
    give_addresses_back(run.lab)
    process.until(lambda: run.daemon.api.status()["network"]["available"], "the uplink is not seen back")
    run.logind.sleeps(False)


def nothing_counted(run):
    assert run.daemon.api.tunnel()["attempt"] == 0, run.daemon.api.tunnel()


def gate_has_moved(run):
    table = run.daemon.table()
    assert topology.SERVER4_SECOND in table and topology.SERVER4 not in table, table


def no_resolver(lab):
    """resolv.conf cannot be written: a container's that is mounted so."""
    lab.run(["mount", "--bind", "/etc/resolv.conf", "/etc/resolv.conf"])
    lab.run(["mount", "-o", "remount,bind,ro", "/etc/resolv.conf"])


def no_route(lab):
    lab.ip("route", "add", "unreachable", UNREACHABLE)


def no_name(lab):
    lab.names = NameServer(lab, {})


def name_of_server(lab):
    lab.names = NameServer(lab, {NAME: [topology.SERVER4]})


@dataclass(frozen=True)
class Row:
    driver: str
    failure: str
    error: str
    begin: object
    provoke: object = start
    up: bool = False
    phase: str = ""  # of the stop; left out: `connected` where it was up
    prepare: object = None
    ready: object = lambda run: None  # once it is up
    mend: object = None
    back: object = lambda run: None  # what must hold once it is back
    endpoints: tuple = (SERVER, OPENVPN)


FAR = [f"{UNREACHABLE}:1194/udp"]
NAMED = [f"{NAME}:1194/udp"]

ROWS = [
    Row("openvpn", "password refused", "authenticationFailed", lambda lab: openvpn(lab, users=True, settings={"password": "wrong"})),
    Row("openvpn", "server refuses for now (AUTH_FAILED,TEMP)", "serverBusy", openvpn_as("temporary")),
    Row("openvpn", "session has run out (AUTH_FAILED,SESSION)", "sessionExpired", openvpn_as("expired")),
    Row("openvpn", "certificate of another authority", "serverCertificateRejected", openvpn_other_authority),
    Row(
        "openvpn", "certificate of another name", "serverCertificateRejected",
        lambda lab: openvpn(lab, settings={"verifyX509Name": "somebody", "verifyX509Type": "name"}),
    ),
    Row("openvpn", "handshake never ends", "tlsFailure", lambda lab: openvpn_without_server(lab, make=HalfServer)),
    Row("openvpn", "server silent", "connectionCouldNotBeEstablished", lambda lab: openvpn_without_server(lab, make=silent_openvpn)),
    Row("openvpn", "port closed (udp)", "connectionCouldNotBeEstablished", openvpn_without_server),
    Row("openvpn", "port closed (tcp)", "connectionCouldNotBeEstablished", lambda lab: openvpn_without_server(lab, "tcp")),
    Row("openvpn", "no route", "networkUnreachable", lambda lab: openvpn_without_server(lab, endpoints=FAR), prepare=no_route),
    Row("openvpn", "name unknown", "nameResolutionFailed", lambda lab: openvpn_without_server(lab, endpoints=NAMED), prepare=no_name),
    Row("openvpn", "no address pushed", "ipConfigurationInvalid", lambda lab: openvpn(lab, addresses=False)),
    Row(
        "openvpn", "loopback address pushed", "ipConfigurationInvalid",
        lambda lab: openvpn(lab, addresses=False, extra=['push "ifconfig 127.0.0.5 255.255.255.0"']),
    ),
    Row(
        "openvpn", "server's address pushed", "ipConfigurationInvalid",
        lambda lab: openvpn(lab, addresses=False, extra=[f'push "ifconfig {topology.SERVER4} 255.255.255.0"']),
    ),
    Row(
        "openvpn", "loopback resolver pushed", "ipConfigurationInvalid",
        lambda lab: openvpn(lab, extra=['push "dhcp-option DNS 127.0.0.53"']),
    ),
    Row("openvpn", "server killed (udp)", "peerUnresponsive", openvpn, kill_server, up=True),
    Row("openvpn", "server killed (tcp)", "serverDisconnected", lambda lab: openvpn(lab, protocol="tcp-server"), kill_server, up=True),
    Row(
        "openvpn", "server ends and says so", "serverDisconnected",
        lambda lab: openvpn(lab, extra=["explicit-exit-notify 1"]), end_server, up=True,
    ),
    Row("openvpn", "client killed", "workerCrashed", openvpn, to_client(signal.SIGKILL), up=True),
    Row("openvpn", "client ended by somebody (SIGTERM)", "workerCrashed", openvpn, to_client(signal.SIGTERM), up=True),
    Row("openvpn", "client restarted by somebody (SIGHUP)", "workerCrashed", openvpn, to_client(signal.SIGHUP), up=True),
    Row("openvpn", "client stopped (SIGSTOP)", "workerUnresponsive", openvpn, to_client(signal.SIGSTOP), up=True),
    Row("openvpn", "worker killed", "workerCrashed", openvpn, to_worker(signal.SIGKILL), up=True),
    Row("openvpn", "worker stopped (SIGSTOP)", "workerUnresponsive", openvpn, to_worker(signal.SIGSTOP), up=True),
    Row("openvpn", "link deleted", "tunInterfaceFailure", openvpn, link("delete", LINK), up=True),
    Row("openvpn", "link set down", "tunInterfaceFailure", openvpn, link("set", LINK, "down"), up=True),
    Row("openvpn", "resolv.conf cannot be written", "failedToSetNetworkSettings", openvpn_with_resolver, prepare=no_resolver),
    Row("openvpn", "nftables refuses the gate", "firewallFailure", openvpn, refuse_gate, up=True, phase="connecting"),
    Row("wireguard", "wrong key", "connectionCouldNotBeEstablished", lambda lab: wireguard(lab, client=Key.new())),
    Row("wireguard", "port closed", "connectionCouldNotBeEstablished", lambda lab: wireguard(lab, server=False)),
    Row("wireguard", "no route", "networkUnreachable", lambda lab: wireguard(lab, endpoints=FAR), prepare=no_route),
    Row("wireguard", "name unknown", "nameResolutionFailed", lambda lab: wireguard(lab, endpoints=NAMED), prepare=no_name),
    Row("wireguard", "client killed", "workerCrashed", wireguard, to_client(signal.SIGKILL), up=True),
    Row("wireguard", "client stopped (SIGSTOP)", "workerUnresponsive", wireguard, to_client(signal.SIGSTOP), up=True),
    Row("wireguard", "worker killed", "workerCrashed", wireguard, to_worker(signal.SIGKILL), up=True),
    Row("wireguard", "worker stopped (SIGSTOP)", "workerUnresponsive", wireguard, to_worker(signal.SIGSTOP), up=True),
    Row("wireguard", "link deleted", "tunInterfaceFailure", wireguard, link("delete", LINK), up=True),
    Row("wireguard", "link set down", "tunInterfaceFailure", wireguard, link("set", LINK, "down"), up=True),
    Row("wireguard", "server gone while traffic flows", "peerUnresponsive", wireguard, kill_server, up=True, ready=in_use),
    Row("wireguard", "address that the kernel refuses", "failedToSetNetworkSettings", wireguard_with_no_hosts_address),
    Row("wireguard", "resolv.conf cannot be written", "failedToSetNetworkSettings", wireguard_with_resolver, prepare=no_resolver),
    Row("wireguard", "nftables refuses the gate", "firewallFailure", wireguard, refuse_gate, up=True, phase="connecting"),
    Row("openvpn", "authority is no certificate", "badConfiguration", lambda lab: openvpn(lab, settings={"ca": NO_CERTIFICATE})),
    Row("command", "never comes up", "connectionTimeout", command("hang", connectTimeout="1s")),
    Row("command", "exit code of the user's map", "sessionRefused", command("exit", "3")),
    Row("command", "line of the user's map", "serverBusy", command("say", "server", "full")),
    Row("command", "line that asks for input", "credentialsRequired", command("say", "one-time password:", settings=ASKS)),
    Row("command", "exit of no meaning", "unknown", command("exit", "0")),
    Row("command", "name unknown", "nameResolutionFailed", command("line", endpoint=f"{NAME}:51820/udp"), prepare=no_name),
    Row("command", "no route", "networkUnreachable", command("line", endpoint=f"{UNREACHABLE}:51820/udp"), prepare=no_route),
    Row("command", "client killed", "workerCrashed", command("line"), to_program(signal.SIGKILL), up=True),
    Row("command", "client stopped (SIGSTOP)", "workerUnresponsive", command("line"), to_program(signal.SIGSTOP), up=True),
    Row("command", "worker killed", "workerCrashed", command("line"), to_worker(signal.SIGKILL), up=True),
    Row("command", "worker stopped (SIGSTOP)", "workerUnresponsive", command("line"), to_worker(signal.SIGSTOP), up=True),
    Row("command", "link deleted", "tunInterfaceFailure", command("line"), link("delete", LINK), up=True),
    Row("command", "link set down", "tunInterfaceFailure", command("line"), link("set", LINK, "down"), up=True),
    Row("command", "resolv.conf cannot be written", "failedToSetNetworkSettings", command("line", dns=[INNER_RESOLVER]), prepare=no_resolver),
    Row("command", "nftables refuses the gate", "firewallFailure", command("line"), refuse_gate, up=True, phase="connecting"),
]  # fmt: skip

RETURNS = [
    Row("openvpn", "server killed and started again", "peerUnresponsive", openvpn, restart_server, up=True),
    Row(
        "openvpn", "server restarted with notice", "serverDisconnected",
        lambda lab: openvpn(lab, extra=["explicit-exit-notify 1"]), end_server, up=True,
        mend=start_server_again,
    ),
    Row(
        "openvpn", "uplink lost and back", "peerUnresponsive", openvpn, lose_uplink, up=True, mend=give_uplink_back, back=nothing_counted,
    ),
    Row(
        "openvpn", "uplink's address changes (tcp)", "uplinkChanged", lambda lab: openvpn(lab, protocol="tcp-server"), change_uplink, up=True,
    ),
    Row(
        "wireguard", "endpoint moves", "peerUnresponsive", lambda lab: wireguard(lab, endpoints=[f"{NAME}:51820/udp"]), move_endpoint,
        up=True, prepare=name_of_server, ready=in_use, back=gate_has_moved, endpoints=(SERVER, Endpoint(topology.SERVER4_SECOND)),
    ),
]  # fmt: skip

ROAMING = [
    Row("wireguard", "roaming uplink", "", wireguard, change_uplink, up=True, ready=in_use),
    Row("wireguard", "client that lags behind a roaming uplink", "", wireguard, change_uplink_late, up=True, ready=in_use),
]

ASLEEP = [
    Row("openvpn", "suspend and resume", "", openvpn, sleep_and_wake, up=True),
    Row("wireguard", "suspend and resume", "", wireguard, sleep_and_wake, up=True),
    Row("command", "suspend and resume", "", command("line"), sleep_and_wake, up=True),
]

# Errors that are no client's to cause: where they are reached instead, or why they are not.
ELSEWHERE = {
    "captivePortal": "test_network.test_captive_portal",
    "workerStartFailed": "test_worker.test_worker_hostile",
    "notConfigured": "no driver of these: their documents are checked before they are taken",
    "internalError": "no driver of these has errors of its own",
}


def is_query(frame):
    """Whether FRAME is the worker's question for NAME to the uplink's resolver, which a tunnel may ask while it connects."""
    if frame.protocol != frames.UDP or (frame.destination, frame.destination_port) != (topology.LAN4, 53):
        return False
    return recognise(frame) is None and question(frame.payload)[0] == NAME


@dataclass
class Running:
    """What a row's `provoke` gets."""

    lab: object
    daemon: object
    program: str
    server: object
    control: int
    logind: object
    flood: object = None  # pings through the tunnel


def begin(lab, row, policy):
    """The control's proof, a daemon with POLICY, and the row's tunnel: connected, or about to fail as it connects."""
    control = lab.leaks.prove()
    if row.prepare:
        row.prepare(lab)
    program, document, server = row.begin(lab)
    logind = Logind(lab) if row in ASLEEP else None
    daemon = lab.daemon(start=False, environment=logind.environment if logind else None)
    if callable(document):
        document(daemon)
    daemon.start()
    daemon.policy(policy)
    if not callable(document):
        daemon.add_tunnel(document)
    if row.up:
        daemon.api.start()
        assert daemon.api.tunnel()["state"] == "connected", daemon.api.tunnel()
    else:
        daemon.api.mode("always")  # closed from here on: the start itself is judged, too
    run = Running(lab, daemon, program, server, control, logind.start() if logind else None)
    row.ready(run)  # before there is a generator: a process made later would hold its pipe
    return run


def tell(run, row, generator, seen, seconds):
    """The row's line, and the verdict on what left."""
    run.lab.leaks.offered(generator.stop())
    leak = None
    try:
        run.lab.leaks.verdict(row.endpoints, tolerate=is_query)
    except Leak as found:
        leak = found
    leaked = len(leak.frames) if leak else 0
    run.lab.note(
        f"{row.driver:<10} {row.failure:<42} {row.error:<32} {seen:<32} {seconds * 1000:8.0f} ms  leaked {leaked}  control {run.control}"
    )
    if leak:
        raise leak


def provoke(lab, row, policy):
    """The row's run, what hears of it, the traffic that is offered meanwhile, and when it was provoked."""
    run = begin(lab, row, policy)
    watch = run.daemon.api.watch()
    lab.leaks.begin()
    generator = lab.generator()
    begun = time.monotonic()
    row.provoke(run)
    return run, watch, generator, begun


def judge(lab, row):
    """One row: begun, provoked, waited for, and told."""
    run, watch, generator, begun = provoke(lab, row, WAIT_LONG)
    stop = watch.wait(kind="willStop")
    seconds = time.monotonic() - begun
    watch.wait_state("waiting")
    tell(run, row, generator, stop["error"], seconds)
    assert stop["error"] == row.error, stop
    assert stop["phase"] == (row.phase or ("connected" if row.up else "connecting")), stop
    status = run.daemon.api.status()
    if row.error == "firewallFailure":
        assert status["protection"] == "failing" and status["gate"]["blockFailure"], status
    else:
        assert status["gate"]["kernel"] == "closed", status


def judge_return(lab, row):
    """One row whose failure passes: provoked, waited for, mended, and the tunnel carries again, by the policy's restart alone."""
    run, watch, generator, begun = provoke(lab, row, RESTART_AT_ONCE)
    stop = watch.wait(kind="willStop")
    seconds = time.monotonic() - begun
    if row.mend:
        begun = time.monotonic()
        row.mend(run)
    watch.wait_state("connected")
    again = time.monotonic() - begun
    lab.ping(topology.INTERNET4)
    tell(run, row, generator, stop["error"], seconds)
    lab.note(f"{row.driver}: connected again {again * 1000:.0f} ms after {'it was mended' if row.mend else 'the failure'}")
    assert stop["error"] == row.error and stop["phase"] == "connected", stop
    row.back(run)


def judge_roaming(lab, row):
    """A row that is no failure: the tunnel stays connected, and carries on."""
    run, _, generator, begun = provoke(lab, row, RESTART_AT_ONCE)
    lab.ping(topology.INTERNET4)
    seconds = time.monotonic() - begun
    tell(run, row, generator, "", seconds)
    sent, answered, gap = run.flood.stop(1)  # some are lost where the uplink changes
    lab.note(f"{sent} pings, {sent - answered} lost, longest gap {gap * 1000:.0f} ms")
    lab.capture.wait(lambda frame: frame.source == MOVED4 and (frame.destination, frame.destination_port) == (topology.SERVER4, 51820))
    stops = [event for event in run.daemon.api.all_events() if event["kind"] == "willStop"]
    assert not stops and run.daemon.api.tunnel()["state"] == "connected", stops


def judge_asleep(lab, row):
    """The host slept: the tunnel is connected still, or again, nothing was counted, and the event `resumed` was judged."""
    run, _, generator, begun = provoke(lab, row, RESTART_AT_ONCE)
    run.daemon.wait_connected()
    lab.ping(topology.INTERNET4)
    tell(run, row, generator, "", time.monotonic() - begun)
    nothing_counted(run)
    stops = [event for event in run.daemon.api.all_events() if event["kind"] == "willStop"]
    assert not stops, stops


def test_every_error_is_reached(lab):
    """every error that a policy can decide on has a row here, or a place where it is reached instead"""
    rows = {}
    for row in ROWS + RETURNS:
        rows.setdefault(row.error, []).append(f"{row.driver}: {row.failure}")
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(f"{folder}/../../policy/error.def") as file:
        errors = re.findall(r'^ERROR\(\w+, "(\w+)", (?!NONE)', file.read(), re.MULTILINE)
    assert len(errors) > 20, errors
    for error in errors:
        assert (error in rows) != (error in ELSEWHERE), error
        lab.note(f"{error:<32} {len(rows.get(error, [])):>2}  {'; '.join(rows[error]) if error in rows else ELSEWHERE[error]}")
        module, dot, name = ELSEWHERE.get(error, "").partition(".")
        if dot and " " not in name:
            with open(f"{folder}/{module}.py") as file:
                assert f"def {name}(" in file.read(), ELSEWHERE[error]
    assert set(rows) <= set(errors), set(rows) - set(errors)


def _make_test(row, judged):
    def test(lab):
        judged(lab, row)

    test.alone = row.error not in ("peerUnresponsive", "workerUnresponsive")  # which only silence tells of, in seconds
    test.__doc__ = f"{row.driver}, {row.failure}: {row.error or 'no stop'}, and nothing leaves"
    words = "".join(letter if letter.isalnum() else " " for letter in f"{row.driver} {row.failure}").split()
    test.__name__ = "test_" + "_".join(words).lower()
    return test


def add_tests(module, tables):
    """A test for each row of TABLES, pairs of rows and what judges them, among the names of MODULE."""
    for rows, judged in tables:
        for row in rows:
            test = _make_test(row, judged)
            test.__module__ = module["__name__"]
            module[test.__name__] = test


add_tests(globals(), ((ROWS, judge), (RETURNS, judge_return), (ROAMING, judge_roaming), (ASLEEP, judge_asleep)))
