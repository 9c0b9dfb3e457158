# SPDX-License-Identifier: LGPL-2.1-or-later
"""D-Bus with what else belongs to it: the bus that comes, goes and comes back, its policy, activation, polkit, and callers of every kind."""

import json
import os
import signal

from lab import isolation, topology
from lab.daemon import RESTART_AT_ONCE
from lab.leaks import SERVER
from lab.on_bus import NAME, ROOT, OnBus, plain
from lab.polkit import Double, Polkit
from lab.process import until

HOME = f"{ROOT}/tunnel/home"
GATE, MANAGER, TUNNEL, POLICY = (f"{NAME}.{name}" for name in ("KillSwitch", "Manager", "Tunnel", "Policy"))
ERROR, DBUS = f"{NAME}.Error", "org.freedesktop.DBus.Error"
INVALID_ARGS, UNKNOWN_METHOD = f"{DBUS}.InvalidArgs", f"{DBUS}.UnknownMethod"
PROPERTIES = "org.freedesktop.DBus.Properties"


def guarded(lab, **options):
    """A proven capture, the daemon on a bus, the tunnel `home` connected."""
    lab.leaks.prove()
    on_bus = OnBus(lab, **options)
    on_bus.daemon.policy(RESTART_AT_ONCE)
    on_bus.daemon.add_tunnel(lab.server().document())
    on_bus.daemon.api.start()
    assert on_bus.daemon.api.tunnel()["state"] == "connected"
    return on_bus


def as_user(on_bus, *arguments, interactive=False):
    """busctl's call by `nobody`: None, or what it says of the error."""
    done = on_bus.run(["busctl", f"--allow-interactive-authorization={'yes' if interactive else 'no'}", "call", NAME, *arguments],
                      user=isolation.NOBODY)
    return None if done.returncode == 0 else done.stderr.strip()


# The state, as the bus has it


LEFT_OUT = {"verifiedAt", "blocked", "rxBytes", "txBytes", "lastHandshake", "health"}  # read again they may be others already
RENAMED = {"journal": "JournalFailure"}


def held_against(status, properties):
    """Every member of STATUS must stand in PROPERTIES under its name and with its value."""
    for name, value in status.items():
        known = RENAMED.get(name, name[0].upper() + name[1:])
        assert known in properties, f"{name}: there is no property {known}"
        if name not in LEFT_OUT:
            assert properties[known] == value or value is None and properties[known] in ("", 0, [], {}), (name, value, properties[known])


def test_every_member_is_a_property(lab):
    """every member of the status is a property of its name and value, the unknown ones among them, and GetStatus says the same, typed"""
    on_bus = guarded(lab)
    status = on_bus.daemon.api.status()

    def all_of(path, interface):
        return {name: plain(value) for name, value in on_bus.call(path, PROPERTIES, "GetAll", "s", f"{NAME}.{interface}")[0].items()}

    manager, gate, policy, tunnel = all_of(ROOT, "Manager"), all_of(ROOT, "KillSwitch"), all_of(ROOT, "Policy"), all_of(HOME, "Tunnel")
    held_against({name: value for name, value in status.items() if name not in ("gate", "policy", "tunnels", "bypass")}, manager)
    held_against({name: value for name, value in status["gate"].items() if name != "blocked"} | {"bypass": status["bypass"]}, gate)
    assert {f"Blocked{name.capitalize()}" for name in status["gate"]["blocked"]} <= set(gate), gate
    held_against(status["policy"], policy)
    held_against(status["tunnels"][0], tunnel)
    typed = plain(on_bus.call(ROOT, MANAGER, "GetStatus")[0])
    for part in (typed, status):
        for object in (part["gate"], *part["tunnels"]):
            for name in LEFT_OUT & set(object):
                del object[name]
    assert typed == status, (typed, status)
    assert plain(on_bus.call(ROOT, MANAGER, "ListTunnels")[0]) == on_bus.daemon.api.get("/tunnels")["tunnels"]


COUNTERS = {"VerifiedAt", "BlockedOut", "BlockedIn", "BlockedForward", "RxBytes", "TxBytes", "LastHandshake"}  # read, and not announced


class Listener:
    """Reads the properties once and then knows them by what is announced. A monitor says which came first, an answer or an announcement."""

    def __init__(self, on_bus):
        self.on_bus = on_bus
        self.known, self.changed, self.needless = {}, [], []
        self.monitor = on_bus.start(["busctl", "--json=short", "monitor", NAME])
        assert "Monitoring" in self.monitor.stdout.readline()
        places = ((ROOT, MANAGER), (ROOT, GATE), (ROOT, POLICY), (HOME, TUNNEL))
        before = None
        while before != self.known:  # who reads may be shown what is announced a moment later
            before = dict(self.known)
            self.known = {place: {name: value for name, value in self._read(*place).items() if name not in COUNTERS} for place in places}
        self.changed, self.needless = [], []

    def _read(self, path, interface):
        """The properties, once everything that was announced before the answer is known."""
        now = self.on_bus.call(path, PROPERTIES, "GetAll", "s", interface)[0]
        while (message := self.follow())["type"] != "method_return" or message["payload"]["type"] != "a{sv}":
            pass
        return now

    def follow(self):
        """The next message; what it announces is known then."""
        message = json.loads(self.monitor.stdout.readline())
        if message["type"] == "signal" and message["member"] == "PropertiesChanged":
            interface, values, invalidated = message["payload"]["data"]
            assert values and not invalidated, message
            known = self.known.get((message["path"], interface), {})
            self.needless += [(name, value) for name, value in values.items() if known.get(name) == value]
            known.update(values)
            self.changed += [(name, value["data"]) for name, value in values.items()]
        return message

    def differs(self):
        """Properties that are others than was announced."""
        return {name for place, known in list(self.known.items()) for name, value in self._read(*place).items()
                if name not in COUNTERS and known[name] != value}

    def close(self):
        self.monitor.kill()
        self.monitor.communicate()


def test_changes_and_only_changes(lab):
    """a day's changes are announced property by property, none without a change, and who listened knows the state as it is"""
    on_bus = guarded(lab)
    listener = Listener(on_bus)
    api = on_bus.daemon.api
    watch = api.watch()
    os.kill(on_bus.daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("connected")
    api.mode("always")
    api.put("/kill-switch/mode", {"mode": "auto", "confirmWithin": "1m"})
    api.post("/kill-switch/confirm", {})
    api.post("/bypass", {"address": "192.0.2.7", "for": "1h"})
    api.post("/bypass", {"address": "192.0.2.7"})
    api.stop()
    api.mode("always")
    api.mode("off")
    while ("Mode", "off") not in listener.changed:
        listener.follow()
    assert not listener.needless, listener.needless
    names = {name for name, _ in listener.changed}
    assert {"State", "Mode", "Kernel", "Protection", "ConfirmBy", "Bypass", "Wanted"} <= names, names
    until(lambda: not listener.differs(), lambda: listener.differs())  # some of it may be told only now
    listener.close()


# The bus itself


def disturbed_since(daemon, last):
    """The events after LAST; that NetworkManager and logind are to be heard now, or not, is the network's news and no disturbance."""
    return [event for event in daemon.api.events(last) if event["kind"] != "networkChanged"]


def test_late_bus(lab):
    """a bus that comes after the daemon is met at once: the name is taken and the objects are there, and nothing else is disturbed"""
    lab.leaks.prove()
    on_bus = OnBus(lab, late=True)
    daemon = on_bus.daemon
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(lab.server().document())
    daemon.api.start()
    worker, last = daemon.worker_pid(), daemon.api.all_events()[-1]["id"]
    on_bus.bus.start()
    on_bus.wait()
    assert on_bus.property(HOME, "Tunnel", "State") == "connected"
    assert HOME in json.dumps(on_bus.call(ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"))
    assert daemon.worker_pid() == worker and disturbed_since(daemon, last) == []
    assert daemon.process.log().count("D-Bus:") == 1, daemon.process.log()  # that it answers now; waiting is no news


def test_bus_comes_back(lab):
    """a bus that is killed and comes back finds the name taken again, the objects there, and the tunnel never touched"""
    on_bus = guarded(lab)
    daemon = on_bus.daemon
    worker, last = daemon.worker_pid(), daemon.api.all_events()[-1]["id"]
    for number in (signal.SIGKILL, signal.SIGTERM):
        on_bus.bus.process.send(number)
        on_bus.bus.process.wait()
        lab.ping(topology.INNER_SERVER4)
        lab.leaks.closed([SERVER])
        on_bus.bus.start()
        on_bus.wait()
        assert on_bus.property(HOME, "Tunnel", "State") == "connected"
        assert on_bus.call(HOME, TUNNEL, "Start", "s", "") == [False, "connected"]
    assert daemon.worker_pid() == worker and disturbed_since(daemon, last) == []
    daemon.api.mode("always")
    assert on_bus.property(ROOT, "KillSwitch", "Mode") == "always"


OWN = """
import dbus, sys
from gi.repository import GLib
bus = dbus.bus.BusConnection(sys.argv[1])
try:
    print("got", int(bus.request_name(sys.argv[2], dbus.bus.NAME_FLAG_DO_NOT_QUEUE)), flush=True)
except dbus.DBusException as error:
    print(error.get_dbus_name(), flush=True)
GLib.MainLoop().run()
"""


def own(on_bus, user=0):
    """A process of USER's that takes the name, and what came of it."""
    process = on_bus.start(["/usr/bin/python3", "-c", OWN, on_bus.bus.address, NAME], user)
    return process, process.stdout.readline().strip()


def test_taken_name(lab):
    """a name that another process has is said in the log; REST goes on, and once the name is free it is taken"""
    on_bus = OnBus(lab, start=False)
    thief, came = own(on_bus)
    assert came == "got 1", came
    daemon = on_bus.daemon.start()
    daemon.process.wait_log(f"another process has the name {NAME}")
    daemon.api.mode("always")
    assert daemon.api.status()["gate"]["kernel"] == "closed"
    thief.kill()
    thief.communicate()
    daemon.process.wait_log(f"answering as {NAME}")
    assert on_bus.property(ROOT, "KillSwitch", "Kernel") == "closed"


def test_installed_bus_policy(lab):
    """under the bus policy that is installed nobody but root has the name, and who has no session reads and no more"""
    on_bus = OnBus(lab, start=False, stock=True)
    thief, came = own(on_bus, isolation.NOBODY)
    assert came == "org.freedesktop.DBus.Error.AccessDenied", came
    thief.kill()
    thief.communicate()
    on_bus.daemon.start()
    on_bus.wait()
    Polkit(lab, on_bus)
    on_bus.daemon.add_tunnel(lab.server().document())
    refused = [
        (ROOT, GATE, "SetMode", "ss", "always", ""),
        (ROOT, GATE, "SetMode", "ss", "off", ""),
        (ROOT, GATE, "Release", "ss", "why not", ""),
        (ROOT, GATE, "Replace", "ss", '{"mode":"off"}', ""),
        (ROOT, GATE, "AddBypass", "a{sv}", "1", "address", "s", "192.0.2.7"),
        (ROOT, POLICY, "Replace", "s", '{"version":1,"rules":[]}'),
        (ROOT, MANAGER, "CreateToken", "sss", "mine", "admin", ""),
        (ROOT, MANAGER, "ListTokens"),
        (HOME, TUNNEL, "Start", "s", ""),
        (HOME, TUNNEL, "Delete"),
    ]
    for call in refused:
        error = as_user(on_bus, *call)
        assert error and "needs an authorization" in error, (call, error)
    for call in ((ROOT, GATE, "Get"), (ROOT, POLICY, "Get"), (HOME, TUNNEL, "Get"), (ROOT, MANAGER, "GetStatus"),
                 (ROOT, PROPERTIES, "GetAll", "s", GATE), (ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")):
        assert as_user(on_bus, *call) is None, call
    assert on_bus.daemon.api.status()["gate"]["mode"] == "auto"
    assert on_bus.call(HOME, TUNNEL, "Start", "s", "60s") == [True, "connected"]


SYSTEMD = """
import dbus, dbus.mainloop.glib, os, sys
from gi.repository import GLib
dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.bus.BusConnection(sys.argv[1])
bus.add_signal_receiver(lambda unit: print(unit, flush=True), "ActivationRequest", "org.freedesktop.systemd1.Activator")
bus.request_name("org.freedesktop.systemd1")
print("ready", flush=True)
GLib.MainLoop().run()
"""


def test_activation(lab):
    """whoever calls while no daemon runs has the bus ask systemd for the unit that holdfast.service is enabled as, and is then answered"""
    on_bus = OnBus(lab, start=False, stock=True)
    systemd = on_bus.start(["/usr/bin/python3", "-c", SYSTEMD, on_bus.bus.address])
    assert systemd.stdout.readline() == "ready\n"
    caller = on_bus.start(["busctl", "get-property", NAME, ROOT, GATE, "Mode"], isolation.NOBODY)
    unit = systemd.stdout.readline().strip()
    with open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../data/holdfast.service.in"), encoding="utf-8") as file:
        assert f"Alias={unit}\n" in file.read(), unit
    on_bus.daemon.start()
    output, _ = caller.communicate(timeout=60)
    assert caller.returncode == 0 and output == 's "auto"\n', output
    systemd.kill()
    systemd.communicate()


# polkit


def test_polkit_asks_a_person(lab):
    """the real polkit asks a person only where the call allows it; consent does it, a wrong password or a closed question does not"""
    on_bus = OnBus(lab)
    on_bus.daemon.add_tunnel(lab.server().document())
    polkit = Polkit(lab, on_bus)

    def release(answer, interactive):
        return polkit.user_calls(answer, interactive, ROOT, GATE, "Release", "a captive portal", "1m")

    def released():
        return on_bus.daemon.api.status()["gate"]["releasedUntil"] is not None

    on_bus.daemon.api.mode("always")
    told = release("consent", False)
    assert told["error"] == "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" and not told["asked"], told
    told = release("none", True)
    assert told["error"] == "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" and "agent" in told["text"], told
    for answer in ("refuse", "dismiss"):
        told = release(answer, True)
        assert told["error"] == f"{NAME}.Error.Forbidden" and set(told["asked"]) == {f"{NAME}.release"}, told
    assert not released()
    told = release("consent", True)
    assert told["error"] is None and told["reply"][0] is True and told["asked"] == [f"{NAME}.release"], told
    assert released()


def test_polkit_actions(lab):
    """the actions that are installed let everybody read, and have an administrator's word for each of the others"""
    on_bus = OnBus(lab)
    on_bus.daemon.add_tunnel(lab.server().document())
    polkit = Polkit(lab, on_bus)
    told = polkit.user_calls("refuse", True, ROOT, POLICY, "Get")
    assert told["error"] is None and not told["asked"], told
    asked = [
        ("control", HOME, TUNNEL, "Start", ""),
        ("control", ROOT, GATE, "SetMode", "always", ""),
        ("edit", ROOT, GATE, "Replace", '{"mode":"off"}', ""),
        ("edit", ROOT, MANAGER, "CreateTunnel", "{}"),
        ("edit", ROOT, MANAGER, "CreateToken", "mine", "admin", ""),
        ("bypass", ROOT, GATE, "RemoveBypass", "b1"),
        ("release", ROOT, GATE, "Release", "why", ""),
    ]
    for action, *call in asked:
        told = polkit.user_calls("dismiss", True, *call)
        assert told["asked"] == [f"{NAME}.{action}"] and told["error"] == f"{NAME}.Error.Forbidden", (call, told)
    told = polkit.user_calls("consent", True, ROOT, GATE, "SetMode", "off", "")  # to relax takes more, and that is asked for
    assert told["asked"] == [f"{NAME}.control"] and told["error"] is None or told["asked"] == [f"{NAME}.control", f"{NAME}.edit"], told


def test_polkit_question_ends_with_its_caller(lab):
    """whoever leaves while a person is asked takes the question along"""
    on_bus = OnBus(lab)
    told = Polkit(lab, on_bus).user_calls("leave", True, ROOT, GATE, "Release", "why", "")
    assert told["cancelled"] and told["asked"], told


def test_polkit_hangs(lab):
    """a polkit that hangs, and then dies, holds up nobody but who waits for it: not the gate, a decision, or another caller"""
    on_bus = guarded(lab)
    polkit = Double(lab, on_bus, [f"{NAME}.control"])
    assert as_user(on_bus, HOME, TUNNEL, "Start", "s", "") is None
    error = as_user(on_bus, ROOT, GATE, "Replace", "ss", '{"mode":"off"}', "")
    assert "takes the scope admin" in error, error
    polkit.hang()
    waiting = on_bus.start(["busctl", "call", NAME, HOME, TUNNEL, "Stop", "s", ""], isolation.NOBODY)
    while not polkit.holds_a_question():
        assert waiting.poll() is None
    daemon = on_bus.daemon
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("connected")
    assert on_bus.call(ROOT, GATE, "SetMode", "ss", "always", "") == [True]
    lab.nft("flush", "ruleset")
    watch.wait(kind="gateTampered")
    lab.leaks.closed([SERVER])
    assert waiting.poll() is None
    polkit.process.kill()
    output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode != 0 and "takes the scope control" in output, output
    assert daemon.api.tunnel()["state"] == "connected"


# Callers of every kind

ABSURD = [  # a call, its arguments as gdbus(1) takes them, and the error; after all of them the daemon is as it was
    (ROOT, GATE, "SetMode", "('', '')", f"{ERROR}.BadRequest"),
    (ROOT, GATE, "SetMode", "('sideways', '')", f"{ERROR}.BadRequest"),
    (ROOT, GATE, "SetMode", f"('{'a' * 100000}', '')", f"{ERROR}.BadRequest"),
    (ROOT, GATE, "SetMode", "('always', '-1s')", f"{ERROR}.BadRequest"),
    (ROOT, GATE, "SetMode", "(uint64 1, '')", INVALID_ARGS),
    (ROOT, GATE, "SetMode", "()", INVALID_ARGS),
    (ROOT, GATE, "SetMode", "('always', '', '')", INVALID_ARGS),
    (ROOT, GATE, "Release", "('', '')", f"{ERROR}.BadRequest"),
    (ROOT, GATE, "Release", "('why', '1y')", f"{ERROR}.BadRequest"),
    (ROOT, GATE, "Replace", "('', '')", f"{ERROR}.BadRequest"),
    (ROOT, GATE, "Replace", "('[]', '')", f"{ERROR}.InvalidDocument"),
    (ROOT, GATE, "Replace", f"('{{\"bypass\":{{\"addresses\":[{'7,' * 50000}7]}}}}', '')", f"{ERROR}.InvalidDocument"),
    (ROOT, GATE, "Update", "('null', '')", f"{ERROR}.BadRequest"),
    (ROOT, GATE, "Update", "('{\"colour\":1}', '')", f"{ERROR}.InvalidDocument"),
    (ROOT, GATE, "AddBypass", "(@a{sv} {},)", f"{ERROR}.InvalidDocument"),
    (ROOT, GATE, "AddBypass", "({'address': <uint64 7>},)", f"{ERROR}.InvalidDocument"),
    (ROOT, GATE, "AddBypass", "({'address': <['192.0.2.7']>},)", f"{ERROR}.InvalidDocument"),
    (ROOT, GATE, "AddBypass", "({'address': <'192.0.2.7'>, 'colour': <'red'>},)", f"{ERROR}.InvalidDocument"),
    (ROOT, GATE, "AddBypass", "({'address': <objectpath '/a/path'>},)", f"{ERROR}.InvalidDocument"),
    (ROOT, GATE, "AddBypass", "({'address': <(1, 2)>},)", f"{ERROR}.BadRequest"),
    (ROOT, GATE, "AddBypass", f"({{'address': {'<' * 60}7{'>' * 60}}},)", f"{ERROR}.InvalidDocument"),
    (ROOT, GATE, "AddBypass", "('{}',)", INVALID_ARGS),
    (ROOT, GATE, "RemoveBypass", "('',)", f"{ERROR}.NotFound"),
    (ROOT, GATE, "Confirm", "(1,)", INVALID_ARGS),
    (ROOT, MANAGER, "CreateTunnel", "('{',)", f"{ERROR}.BadRequest"),
    (ROOT, MANAGER, "CreateTunnel", f"('{'[' * 5000}',)", f"{ERROR}.BadRequest"),
    (ROOT, MANAGER, "CreateTunnel", f"('\"{'a' * 5000000}\"',)", f"{ERROR}.PayloadTooLarge"),
    (ROOT, MANAGER, "ImportTunnel", "('', '')", f"{ERROR}.InvalidTunnelId"),
    (ROOT, MANAGER, "ImportTunnel", "('No-Id', '[Interface]')", f"{ERROR}.InvalidTunnelId"),
    (ROOT, MANAGER, "ImportTunnel", "('ok', '')", f"{ERROR}.InvalidDocument"),
    (ROOT, MANAGER, "CreateToken", "('', '', '')", f"{ERROR}.BadRequest"),
    (ROOT, MANAGER, "CreateToken", "('me', 'root', '')", f"{ERROR}.BadRequest"),
    (ROOT, MANAGER, "RevokeToken", "('',)", f"{ERROR}.TokenNotFound"),
    (ROOT, MANAGER, "ListEvents", "(uint64 0, '', '', 'yesterday', '', uint64 0)", f"{ERROR}.BadRequest"),
    (ROOT, MANAGER, "ListEvents", f"(uint64 0, '', '', '', '', uint64 {2**64 - 1})", f"{ERROR}.BadRequest"),
    (ROOT, MANAGER, "GetStatus", "('all',)", INVALID_ARGS),
    (ROOT, POLICY, "AnswerDecision", f"(uint64 {2**64 - 1}, true)", f"{ERROR}.DecisionNotFound"),
    (ROOT, POLICY, "Evaluate", "('{}',)", INVALID_ARGS),
    (ROOT, POLICY, "Evaluate", "({'event': <'never'>},)", f"{ERROR}.InvalidDocument"),
    (ROOT, POLICY, "Evaluate", f"({{'event': <'{'a' * 5000000}'>}},)", f"{ERROR}.PayloadTooLarge"),
    (ROOT, POLICY, "Validate", "(['a'],)", INVALID_ARGS),
    (ROOT, POLICY, "Replace", "('\t',)", f"{ERROR}.BadRequest"),
    (ROOT, POLICY, "ListDecisions", "(uint64 0, '', '', 'never', uint64 0)", f"{ERROR}.BadRequest"),
    (HOME, TUNNEL, "Start", "('soon',)", f"{ERROR}.BadRequest"),
    (HOME, TUNNEL, "Replace", "('{\"id\":\"other\"}',)", f"{ERROR}.InvalidDocument"),
    (HOME, TUNNEL, "ProvideCredentials", "(@a{ss} {},)", f"{ERROR}.WrongState"),
    (HOME, TUNNEL, "ProvideCredentials", "({'password': 'x'},)", f"{ERROR}.WrongState"),
    (HOME, TUNNEL, "ProvideCredentials", "({'password': <'x'>},)", INVALID_ARGS),
    (f"{ROOT}/tunnel/nowhere", TUNNEL, "Start", "('',)", f"{ERROR}.TunnelNotFound"),
    (f"{ROOT}/tunnel/{'a' * 200}", TUNNEL, "Delete", "()", f"{ERROR}.TunnelNotFound"),
    (f"{ROOT}/tunnel/nowhere", PROPERTIES, "GetAll", f"('{TUNNEL}',)", f"{ERROR}.TunnelNotFound"),
    (f"{ROOT}/tunnel", TUNNEL, "Start", "('',)", UNKNOWN_METHOD),
    (f"{HOME}/deeper", TUNNEL, "Start", "('',)", f"{DBUS}.UnknownObject"),
    ("/", TUNNEL, "Start", "('',)", f"{DBUS}.UnknownObject"),
    (ROOT, TUNNEL, "Start", "('',)", UNKNOWN_METHOD),
    (ROOT, GATE, "Explode", "()", UNKNOWN_METHOD),
    (ROOT, PROPERTIES, "Get", f"('{GATE}', 'Colour')", f"{DBUS}.UnknownProperty"),
    (ROOT, PROPERTIES, "Set", f"('{GATE}', 'Mode', <'off'>)", f"{DBUS}.PropertyReadOnly"),
    (HOME, PROPERTIES, "Set", f"('{TUNNEL}', 'Wanted', <false>)", f"{DBUS}.PropertyReadOnly"),
    (ROOT, PROPERTIES, "GetAll", "('no.such.Interface',)", f"{DBUS}.UnknownInterface"),
]
CALL = """
import json, sys
from gi.repository import Gio, GLib
flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION
bus = Gio.DBusConnection.new_for_address_sync(sys.argv[1], flags, None, None)
for path, interface, member, arguments in json.load(sys.stdin):
    told = [None, ""]
    try:
        values = GLib.Variant.parse(None, arguments, None, None)
        bus.call_sync(sys.argv[2], path, interface, member, values, None, Gio.DBusCallFlags.NONE, 60000, None)
    except GLib.Error as error:
        told = [Gio.DBusError.get_remote_error(error), error.message]
    print(json.dumps(told), flush=True)
"""


def test_absurd_arguments(lab):
    """absurd calls of every method are each answered with the error that fits, in words, and leave the daemon as it was"""
    on_bus = OnBus(lab)
    on_bus.daemon.add_tunnel(lab.server().document())
    before = on_bus.daemon.api.status()
    calls = json.dumps([call[:-1] for call in ABSURD])
    done = on_bus.run(["/usr/bin/python3", "-c", CALL, on_bus.bus.address, NAME], input=calls, timeout=240)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(ABSURD), done
    wrong = [f"{str(call)[:150]}: {error} {text[:200]}" for call, (error, text) in zip(ABSURD, told) if error != call[-1] or not text]
    assert not wrong, "\n".join(wrong)
    after = on_bus.daemon.api.status()
    for state in (before, after):
        del state["gate"]["verifiedAt"], state["network"]
    assert before == after, (before, after)


HUGE = """
import dbus, sys
question = dbus.Dictionary({"event": dbus.ByteArray(bytes(8 << 20), variant_level=1)}, signature="sv")
try:
    dbus.SystemBus().call_blocking(sys.argv[1], sys.argv[2], sys.argv[3], "Evaluate", "a{sv}", (question,))
except dbus.DBusException as error:
    print(error.get_dbus_name())
"""


def test_huge_argument(lab):
    """what anybody may ask is measured while it is read: each byte of a huge array would be a hundred in the daemon's memory"""
    on_bus = OnBus(lab)
    done = on_bus.run(["/usr/bin/python3", "-c", HUGE, NAME, ROOT, POLICY], user=isolation.NOBODY)
    assert done.stdout.strip() == f"{ERROR}.PayloadTooLarge", done
    with open(f"/proc/{on_bus.daemon.process.pid}/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    assert peak < 500 << 10, f"{peak} KiB"  # the message is 8 MiB; its values would be 600, and what AddressSanitizer keeps is 256
