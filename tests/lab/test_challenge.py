# SPDX-License-Identifier: LGPL-2.1-or-later
"""One-time passwords: the openvpn driver's challenges, asked by a real server or by the tunnel's document, answered through each front."""

import json
import os
import subprocess

from lab import topology
from lab.daemon import ASK
from lab.on_bus import NAME, ROOT, OnBus
from lab.fronts import Curl, Gdbus, Holdfastctl
from lab.openvpn import CHALLENGE, CHALLENGED, ODD, PASSWORD, RESPONSE
from lab.process import PATIENCE
from test_openvpn import nothing_leaves

QUESTION = {"name": "response", "text": CHALLENGE, "echo": True}
STATIC = {"staticChallenge": "PIN of your token", "staticChallengeEcho": False}
PATH = f"{ROOT}/tunnel/home"


def challenged(lab, settings, policy=ASK, bus=False, **options):
    """A proven capture, a server, a daemon whose gate is closed, and the tunnel `home` with SETTINGS, not started yet."""
    lab.leaks.prove()
    server = lab.openvpn_server(users=True, **options)
    on_bus = OnBus(lab) if bus else None
    daemon = on_bus.daemon if bus else lab.daemon()
    daemon.policy(policy)
    document = server.document(settings=server.settings(**settings))
    document["settings"] = {key: value for key, value in document["settings"].items() if value is not None}
    daemon.add_tunnel(document)
    daemon.api.mode("always")
    return on_bus or daemon, daemon.api.watch()


def start(daemon, watch):
    """Starts `home`; the event that asks."""
    daemon.api.start(wait=None)
    return watch.wait(kind="needCredentials")


def nowhere(lab, daemon, *secrets):
    """None of SECRETS is in the log, the status, the events or a file of the state."""
    places = [daemon.process.log(), json.dumps(daemon.api.status()), json.dumps(daemon.api.all_events())]
    for folder, _, files in os.walk(daemon.state_dir):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                places.append(file.read().decode(errors="replace"))
    for secret in secrets:
        assert not any(secret in place for place in places), secret


def test_asked_by_the_server(lab):
    """a server's question (CRV1) stands in status and event; the gate is closed for everybody until it is answered; then the tunnel is up"""
    daemon, watch = challenged(lab, {"username": CHALLENGED})
    with nothing_leaves(lab):
        asked = start(daemon, watch)
        assert asked["names"] == ["response"] and asked["challenge"] == QUESTION and asked["deadline"], asked
        tunnel = daemon.api.tunnel()
        assert tunnel["needCredentials"] == ["response"] and tunnel["challenge"] == QUESTION, tunnel
        assert topology.SERVER4 not in daemon.table(), daemon.table()
        refused = daemon.api.call("POST", "/tunnels/home/credentials", {"credentials": {"password": "x"}})
        assert refused.status == 400, refused
        dry = daemon.api.post("/tunnels/home/credentials?dryRun=true", {"credentials": {"response": RESPONSE}})
        assert dry == {"changed": True} and daemon.api.tunnel()["challenge"] == QUESTION, dry
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"response": RESPONSE}})
        watch.wait_state("connected")
        lab.ping(topology.INTERNET4)
    assert daemon.api.tunnel()["challenge"] is None
    assert not [event for event in daemon.api.all_events() if event["kind"] == "willStop"]  # one attempt, not two
    nowhere(lab, daemon, RESPONSE)


def test_wrong_response(lab):
    """a response that is refused is authenticationFailed, and the next attempt asks anew"""
    daemon, watch = challenged(lab, {"username": CHALLENGED})
    with nothing_leaves(lab):
        start(daemon, watch)
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"response": "31415"}})
        stop = watch.wait(kind="willStop")
        assert stop["error"] == "authenticationFailed", stop
        daemon.api.post(f"/decisions/{watch.wait(kind='decisionPending')['decision']}/answer", {"restart": True})
        assert watch.wait(kind="needCredentials")["challenge"] == QUESTION
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"response": RESPONSE}})
        watch.wait_state("connected")
    nowhere(lab, daemon, "31415")


def test_by_bus(lab):
    """over D-Bus: the property Challenge asks, ProvideCredentials answers"""
    on_bus, watch = challenged(lab, {"username": CHALLENGED}, bus=True)
    start(on_bus.daemon, watch)
    shown = on_bus.property(PATH, "Tunnel", "Challenge")
    assert {name: value["data"] for name, value in shown.items()} == QUESTION, shown
    on_bus.call(PATH, f"{NAME}.Tunnel", "ProvideCredentials", "a{ss}", "1", "response", RESPONSE)
    watch.wait_state("connected")
    assert on_bus.property(PATH, "Tunnel", "Challenge") == {}
    lab.ping(topology.INTERNET4)


def test_by_command(lab):
    """holdfastctl shows the question and asks it; the server lets the terminal show what is typed"""
    assert RESPONSE in answered(lab, {"username": CHALLENGED}, CHALLENGE)


def test_by_command_static(lab):
    """a response that is not to be seen is not shown by the terminal"""
    assert RESPONSE not in answered(lab, STATIC, STATIC["staticChallenge"], static=True)


def answered(lab, settings, question, **options):
    """What the terminal of holdfastctl showed while QUESTION was answered."""
    daemon, watch = challenged(lab, settings, **options)
    start(daemon, watch)
    status = daemon.ctl("status").stdout
    assert question in status and "holdfastctl credentials home" in status, status
    shown = answer_on_terminal(lab, daemon, question)
    watch.wait_state("connected")
    return shown


def answer_on_terminal(lab, daemon, question):
    """What the terminal showed while RESPONSE was typed as the answer to QUESTION."""
    near, far = os.openpty()
    command = [lab.program("holdfastctl"), "--socket", daemon.api.path, "credentials", "home"]
    ctl = subprocess.Popen(command, stdin=far, stdout=far, stderr=far, preexec_fn=lab.net.client.join)
    os.close(far)
    shown = b""
    while question.encode() not in shown:
        shown += os.read(near, 1000)
    os.write(near, RESPONSE.encode() + b"\n")
    while b"was told" not in shown:
        shown += os.read(near, 1000)
    assert ctl.wait(PATIENCE) == 0
    os.close(near)
    return shown.decode()


def test_static(lab):
    """a static challenge is asked at every start, together with what else is wanting, and its response is never used twice"""
    daemon, watch = challenged(lab, STATIC | {"password": None, "authUserPass": True}, static=True)
    with nothing_leaves(lab):
        asked = start(daemon, watch)
        assert asked["names"] == ["password", "response"], asked
        assert asked["challenge"] == {"name": "response", "text": "PIN of your token", "echo": False}, asked
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"password": PASSWORD, "response": RESPONSE}})
        watch.wait_state("connected")
        daemon.api.post("/tunnels/home/restart")
        again = watch.wait(kind="needCredentials")
        assert again["names"] == ["response"], again  # the password was taken and is kept, the response is not
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"response": RESPONSE}})
        watch.wait_state("connected")
        lab.ping(topology.INTERNET4)
    nowhere(lab, daemon, RESPONSE, PASSWORD)


def test_static_concat(lab):
    """a static challenge's response goes right behind the password where the document says so"""
    daemon, watch = challenged(lab, STATIC | {"staticChallengeConcat": True}, static="concat")
    with nothing_leaves(lab):
        assert start(daemon, watch)["names"] == ["response"]
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"response": RESPONSE}})
        watch.wait_state("connected")
    nowhere(lab, daemon, RESPONSE)


def test_odd_passwords(lab):
    """passwords with quotes, backslashes and blanks, and one as long as OpenVPN takes it, reach the server as they are"""
    lab.leaks.prove()
    server, daemon = lab.openvpn_server(users=True), lab.daemon()
    daemon.policy(ASK)
    for number, (user, password) in enumerate(ODD.items()):
        settings = server.settings(username=user)
        del settings["password"]
        daemon.add_tunnel(server.document(tunnel=f"odd{number}", settings=settings))
        watch = daemon.api.watch()
        daemon.api.start(f"odd{number}", wait=None)
        assert watch.wait(kind="needCredentials")["names"] == ["password"]
        daemon.api.post(f"/tunnels/odd{number}/credentials", {"credentials": {"password": password}})
        watch.wait_state("connected", f"odd{number}")
        nowhere(lab, daemon, password, json.dumps(password)[1:-1])
        daemon.api.stop(f"odd{number}")


def test_answers_that_are_none(lab):
    """what was not asked for, is no line, comes twice or too late is refused on every front by what it is; the question stands until it is answered"""
    on_bus, watch = challenged(lab, {"username": CHALLENGED}, bus=True)
    daemon = on_bus.daemon
    rest, bus, command = Curl(lab, daemon), Gdbus(lab, on_bus), Holdfastctl(daemon)

    def refused(code, status, answer, words=""):
        told = rest.ask("POST", "/v1/tunnels/home/credentials", {"credentials": answer})
        assert (told.ended, told.answer.body["code"]) == (status, code) and words in json.dumps(told.answer.body), told
        assert RESPONSE not in told.text, told
        if "\0" in "".join(answer.values()):
            return  # of which neither D-Bus nor a terminal can make a text
        told = bus.ask("Tunnel.ProvideCredentials", "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in answer.items()) + "}"
                       if answer else "@a{ss} {}", tunnel="home")
        assert told.ended == f"{NAME}.Error.{code[0].upper()}{code[1:]}" and words in told.text and RESPONSE not in told.text, told

    refused("wrongState", 409, {"response": RESPONSE})  # too early
    start(daemon, watch)
    for answer, words in (
        ({}, "is missing"),
        ({"response": RESPONSE, "password": PASSWORD}, "was not asked for"),
        ({"Response": RESPONSE}, "was not asked for"),
        ({"response": ""}, "must be one line"),
        ({"response": f"{RESPONSE}\nsignal SIGTERM"}, "must be one line"),
        ({"response": f"{RESPONSE}\0"}, "holds a NUL character"),
        ({"response": "9" * 4097}, "must be one line"),
        ({f"name{number}": "x" for number in range(1000)}, "was not asked for"),
    ):
        refused("badRequest", 400, answer, words)
    told = rest.ask("POST", "/v1/tunnels/home/credentials", '{"credentials":{"response":"a","response":"b"}}')
    assert told.ended == 400 and told.answer.body["errors"][0]["pointer"] == "/credentials/response", told
    assert command.ask("credentials", "home", input="\n").ended == 1
    assert daemon.api.tunnel()["challenge"] == QUESTION
    assert command.ask("credentials", "home", input="31415\n").ended == 0  # the wrong one, which is an answer
    decision = watch.wait(kind="decisionPending")["decision"]
    refused("wrongState", 409, {"response": RESPONSE})  # too late: it is decided what follows
    assert command.ask("credentials", "home", input=f"{RESPONSE}\n").ended == 7
    daemon.api.post(f"/decisions/{decision}/answer", {"restart": True})
    watch.wait(kind="needCredentials")
    assert bus.ask("Tunnel.ProvideCredentials", f'{{"response": "{RESPONSE}"}}', tunnel="home").ended is None
    watch.wait_state("connected")
    refused("wrongState", 409, {"response": RESPONSE})  # twice
    nowhere(lab, daemon, RESPONSE)


def test_password_of_the_service(lab):
    """a credential of the service is used for what it is; the person is asked for the response alone"""
    folder = "/run/lab/credentials"
    os.makedirs(folder, mode=0o700)
    with open(f"{folder}/vpn-password", "w") as file:
        file.write(PASSWORD + "\n")
    lab.leaks.prove()
    server = lab.openvpn_server(users=True, static=True)
    daemon = lab.daemon(start=False).start(CREDENTIALS_DIRECTORY=folder)
    document = server.document(settings=server.settings(**STATIC), systemdCredentials={"password": "vpn-password"})
    del document["settings"]["password"]
    daemon.add_tunnel(document)
    daemon.api.mode("always")
    watch = daemon.api.watch()
    with nothing_leaves(lab):
        assert start(daemon, watch)["names"] == ["response"]
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"response": RESPONSE}})
        watch.wait_state("connected")


def test_asking_outlives_the_daemon(lab):
    """a server's question outlives the daemon that passed it on"""
    daemon, watch = challenged(lab, {"username": CHALLENGED})
    start(daemon, watch)
    with nothing_leaves(lab):
        daemon.kill()
        daemon.start()
        watch = daemon.api.watch(0)
        while daemon.api.tunnel()["challenge"] is None:
            watch.next()
        assert daemon.api.tunnel()["challenge"] == QUESTION
        daemon.api.post("/tunnels/home/credentials", {"credentials": {"response": RESPONSE}})
        daemon.wait_connected()


def refused(lab, user):
    """Starts as USER, whom the server plays with; what the stop says."""
    daemon, watch = challenged(lab, {"username": user})
    with nothing_leaves(lab):
        daemon.api.start(wait=None)
        stop = watch.wait(kind="willStop")
    assert stop["error"] == "authenticationFailed", stop
    return stop["detail"]


def test_no_question(lab):
    """a question that makes no sense ends the attempt as refused"""
    assert "makes no sense" in refused(lab, "broken")


def test_questions_without_end(lab):
    """a server that asks one question after another, none of which wants a response, ends the attempt as refused"""
    assert "one question after another" in refused(lab, "curious")


def test_too_long(lab):
    """a response that OpenVPN would cut off is refused before it is sent"""
    daemon, watch = challenged(lab, {"username": CHALLENGED})
    start(daemon, watch)
    daemon.api.post("/tunnels/home/credentials", {"credentials": {"response": "9" * (257 - len("CRV1::id-17::"))}})
    stop = watch.wait(kind="willStop")
    assert stop["error"] == "authenticationFailed" and "longer than openvpn takes" in stop["detail"], stop
