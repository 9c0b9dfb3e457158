# SPDX-License-Identifier: LGPL-2.1-or-later
"""Unknown means closed: torn and missing state, full disks, gates that cannot be verified, workers that lie, and restarts in between."""

import json
import os
import re
import signal
import subprocess

from lab import process, topology
from lab.api import Api
from lab.daemon import ASK as ASK_LONG, RESTART_AT_ONCE, Daemon
from lab.leaks import SERVER

UNPROTECTED = 3  # holdfastctl(1)
ASK = {"version": 1, "name": "ask", "rules": [], "otherwise": {"action": "ask", "timeout": "1h", "onTimeout": {"action": "restart"}}}
TERMINATE = {"version": 1, "name": "terminate", "rules": [], "otherwise": {"action": "terminate"}}


def owner_of_the_table(lab, daemon):
    """Another process takes the gate over as it stands: the kernel refuses every change to it until that process ends, and it goes with it."""
    daemon.process.send(signal.SIGSTOP)  # so that it does not heal in between
    with open("/run/lab/taken.nft", "w") as file:
        file.write("delete table inet holdfast\n" + daemon.table().replace("{", "{\n\tflags owner", 1))
    owner = subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=lab.net.client.join)
    owner.stdin.write('include "/run/lab/taken.nft"\nlist table inet holdfast\n')
    owner.stdin.flush()
    while "owner" not in (line := owner.stdout.readline()):
        assert line, "nft ended"
    daemon.process.send(signal.SIGCONT)
    return owner


def let_go(owner):
    owner.stdin.close()
    owner.wait(process.PATIENCE)


def held(daemon):
    """The gate is held for a reason that is said, and nothing passes."""
    status = daemon.api.status()
    assert status["protection"] == "blocking" and status["gate"]["heldFor"], status
    assert status["gate"]["heldFor"] in daemon.ctl("status").stdout
    return status["gate"]["heldFor"]


def rewrite(daemon, name, text):
    with open(f"{daemon.state_dir}/{name}", "w") as file:
        file.write(text)


def test_torn_state(lab):
    """a state file that cannot be read holds the gate closed, over further restarts too, until a mode is set"""
    daemon, _ = lab.guarded()
    daemon.kill()
    rewrite(daemon, "state.json", "garbage")
    assert "state.json" in daemon.run("--check").stderr
    for _ in range(2):
        daemon.start()
        assert "state.json" in held(daemon)
        assert not process.running("holdfast-worker"), "a worker that nobody knows any more was left"
        lab.leaks.closed()
        daemon.kill()
    daemon.start()
    daemon.api.mode("auto")
    assert daemon.api.status()["protection"] == "off" and daemon.table() is None


def test_state_gone(lab):
    """a state file that is gone holds the gate closed, from the boot step on; where no daemon ever was nothing is held"""
    daemon, _ = lab.guarded()
    daemon.kill()
    os.unlink(f"{daemon.state_dir}/state.json")
    assert daemon.run("--release").returncode == 0 and daemon.table() is None
    assert daemon.run("--boot").returncode == 0 and daemon.table() is not None
    lab.leaks.closed()
    daemon.start()
    assert "state.json" in held(daemon)
    daemon.api.mode("auto")
    assert daemon.api.status()["protection"] == "off"
    fresh = Daemon(lab, name="fresh")
    assert fresh.run("--boot").returncode == 0 and fresh.table() is None


def test_first_start_fails(lab):
    """a first start that ends before it was ready leaves nothing that the next one takes for a state that was lost"""
    daemon = lab.daemon(start=False)
    in_the_way = f"{daemon.runtime_dir}/worker.sock/directory"
    os.makedirs(in_the_way)
    assert daemon.run().returncode != 0 and os.path.exists(f"{daemon.state_dir}/journal.db")
    os.removedirs(in_the_way)
    assert daemon.run("--check").returncode == 0
    assert daemon.run("--boot").returncode == 0 and daemon.table() is None
    daemon.start()
    status = daemon.api.status()
    assert (status["protection"], status["gate"]["heldFor"]) == ("off", None) and daemon.table() is None, status
    daemon.kill()
    os.unlink(f"{daemon.state_dir}/state.json")  # the control: now there was one
    daemon.start()
    assert "state.json" in held(daemon)


def test_first_boot_of_always(lab):
    """before the first start of all the boot step closes what the administrator's mode wants closed: nothing is held for want of a state"""
    daemon = lab.daemon(start=False)
    with open(f"{daemon.config_dir}/kill-switch.json", "w") as file:
        json.dump({"mode": "always"}, file)
    assert daemon.run("--boot").returncode == 0 and daemon.table() is not None
    daemon.start()
    assert daemon.api.status()["gate"]["heldFor"] is None
    with open(f"{daemon.config_dir}/kill-switch.json", "w") as file:
        json.dump({"mode": "auto"}, file)
    daemon.process.send(signal.SIGHUP)
    process.until(lambda: daemon.api.status()["protection"] == "off", lambda: daemon.api.status())
    assert daemon.table() is None


def test_boot_step(lab):
    """the boot step closes both layers if a tunnel is still wanted or the mode is always, and not otherwise"""
    daemon, _ = lab.guarded()

    def booted():
        daemon.kill()
        assert daemon.run("--release").returncode == 0 and daemon.table() is None  # a boot begins without anything
        assert daemon.run("--boot").returncode == 0
        both = [daemon.table() is not None, *("lookup 26726" in lab.ip(family, "rule").stdout for family in ("-4", "-6"))]
        assert len(set(both)) == 1, both
        if both[0]:
            lab.leaks.closed()
        daemon.start()
        return both[0]

    assert booted()  # wanted
    daemon.wait_connected()
    daemon.api.stop()
    assert not booted()
    daemon.api.mode("always")
    assert booted()
    daemon.api.start()
    daemon.api.mode("off")
    assert not booted()


def test_state_of_another_shape(lab):
    """a state file that is JSON and no state of ours counts as unreadable, for the boot step as for the daemon"""
    daemon, _ = lab.guarded()
    daemon.kill()
    with open(f"{daemon.state_dir}/state.json") as file:
        state = json.load(file)
    home = state["tunnels"][0]
    for shape in (
        {name: value for name, value in state.items() if name != "tunnels"},
        state | {"tunnels": "none"},
        state | {"tunnels": [1]},
        state | {"tunnels": [{name: value for name, value in home.items() if name != "wanted"}]},
        state | {"tunnels": [home | {"wanted": None}]},
        state | {"tunnels": [home | {"released": "no", "state": "failed"}]},
    ):
        rewrite(daemon, "state.json", json.dumps(shape))
        lab.nft("flush", "ruleset")
        assert daemon.run("--boot").returncode == 0 and daemon.table() is not None, shape
        daemon.start()
        held(daemon)
        lab.leaks.closed()
        daemon.kill()


def test_unusable_document(lab):
    """a wanted tunnel whose document cannot be used holds the gate; mended, it is wanted again"""
    daemon, _ = lab.guarded()
    daemon.kill()
    with open(f"{daemon.state_dir}/tunnels/home.json") as file:
        text = file.read()
    rewrite(daemon, "tunnels/home.json", text[:40])
    for _ in range(2):
        daemon.start()
        assert "home" in held(daemon) and "home.json" in daemon.api.status()["documentErrors"]
        lab.leaks.closed()
        daemon.kill()
    rewrite(daemon, "tunnels/home.json", text)
    watch_from = 0
    daemon.start()
    daemon.api.watch(watch_from).wait_state("connected")
    lab.ping(topology.INTERNET4)


def test_full_disk(lab):
    """a start that could not be recorded, and a daemon killed after it: the next one finds the gate standing and holds it"""
    lab.leaks.prove()
    server = lab.server()
    os.makedirs("/run/lab/small")
    lab.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", "/run/lab/small"])
    daemon = Daemon(lab, state_dir="/run/lab/small")
    lab.daemons.append(daemon)
    daemon.start()
    daemon.policy(RESTART_AT_ONCE)
    daemon.add_tunnel(server.document())
    lab.run(["dd", "if=/dev/zero", "of=/run/lab/small/fill", "bs=1k"], check=False)
    daemon.api.start()
    assert daemon.api.status()["gate"]["persisted"] is False
    daemon.kill()
    lab.leaks.closed([SERVER])
    daemon.start()
    held(daemon)
    assert daemon.api.call("PUT", "/kill-switch/mode", {"mode": "always"}).status == 500
    held(daemon)  # a mode that could not be set lets go of nothing
    lab.leaks.closed()


def test_failed_start_harms_nobody(lab):
    """a start whose gate cannot be verified takes nothing from the tunnel that is up, then or when nftables works again"""
    daemon, server = lab.guarded()
    daemon.add_tunnel(server.document(tunnel="other"))
    owner = owner_of_the_table(lab, daemon)
    answer = daemon.api.call("POST", "/tunnels/other/start?wait=3s", {})
    assert (answer.status, answer.body.get("code")) == (503, "gateFailure"), answer
    assert daemon.api.tunnel()["wanted"] is True and daemon.api.status()["protection"] == "failing"
    let_go(owner)
    process.until(lambda: daemon.api.status()["protection"] == "protected", lambda: daemon.api.status())
    assert daemon.api.tunnel()["state"] == "connected"
    lab.leaks.closed([SERVER])


def told_everywhere(daemon):
    """The gate could not be brought to what it should be: nobody who looks anywhere can miss it."""
    status = daemon.api.status()
    words = status["gate"]["blockFailure"]
    assert status["protection"] == "failing" and words.startswith("nftables: "), status
    assert status["gate"]["desired"] == "closed" and status["gate"]["kernel"] is None, status
    event = [event for event in daemon.api.all_events() if event["kind"] == "gateFailed"][-1]
    assert event["detail"].startswith("nftables: "), event  # told once: of the first try
    metrics = Api(daemon.api.path, prefix="").get("/metrics")
    assert "holdfast_gate_failing 1" in metrics and 'holdfast_protection_state{state="failing"} 1' in metrics, metrics
    shown = daemon.ctl("status")
    assert shown.returncode == UNPROTECTED and words in shown.stdout and "NOT" in shown.stdout, shown
    assert "gateFailed" in daemon.process.log() and event["detail"] in daemon.process.log()


def test_healed_is_not_verified(lab):
    """a change that nftables refused is made up for when it can be, and until then the status says failing"""
    daemon, _ = lab.guarded(policy=TERMINATE)
    owner = owner_of_the_table(lab, daemon)
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    watch.wait_state("failed")
    told_everywhere(daemon)
    watch = daemon.api.watch()
    let_go(owner)
    watch.wait(kind="gateChanged", new="closed")
    status = daemon.api.status()
    assert (status["protection"], status["gate"]["kernel"], status["gate"]["blockFailure"]) == ("blocking", "closed", None), status
    lab.leaks.closed()


def test_release_over_a_restart(lab):
    """a release goes on over a restart of the daemon, is shown, and SetMode ends it"""
    daemon, _ = lab.guarded()
    daemon.api.post("/kill-switch/release", {"reason": "test", "for": "10m"})
    daemon.kill()
    daemon.start()
    assert daemon.api.status()["protection"] == "released" and daemon.api.status()["gate"]["releasedUntil"]
    assert daemon.api.mode("auto")["changed"] is True
    assert daemon.api.status()["protection"] == "protected"
    lab.leaks.closed([SERVER])


def test_nothing_starts_behind_the_way_out(lab):
    """with the way out taken a start is refused, and the status shows an open gate"""
    daemon, _ = lab.guarded()
    daemon.api.stop()
    daemon.kill()
    assert daemon.ctl("--state-dir", daemon.state_dir, "release", "test").returncode == 0
    daemon.start()
    answer = daemon.api.call("POST", "/tunnels/home/start", {})
    assert (answer.status, answer.body.get("code")) == (409, "wrongState") and "mode" in answer.body["detail"], answer
    assert daemon.api.status()["gate"]["kernel"] == "open"
    daemon.api.mode("auto")
    daemon.api.start()
    lab.leaks.closed([SERVER])


def test_worker_names_a_stranger(lab):
    """a worker that names a server which is not its tunnel's is ended, and not one packet leaves for that"""
    stranger = f"{topology.INTERNET4}:9999/udp"
    program = f"""#!/usr/bin/python3
import json, os, socket, sys
nonce = os.read(3, 200).decode()
link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
link.connect(sys.argv[-1])
tell = lambda **message: link.send(json.dumps(message).encode())
tell(type="hello", tunnel=sys.argv[-2], nonce=nonce, attempt=0, phase="idle", endpointIndex=0, endpoint=None, network=None, upSince=0,
     error="none", detail="", challenge=None)
while True:
    message = json.loads(link.recv(1 << 20))
    if message["type"] in ("start", "restart"):
        tell(type="contacting", attempt=message["attempt"], endpointIndex=0, endpoint="{stranger}")
    if message["type"] == "proceed":
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"out", ("{topology.INTERNET4}", 9999))
"""
    lab.leaks.prove()
    path = "/run/lab/liar"
    with open(path, "w") as file:
        file.write(program)
    os.chmod(path, 0o755)
    daemon = lab.daemon(start=False)
    command = daemon.command
    daemon.command = lambda *arguments: [re.sub(".*/holdfast-worker$", path, word) for word in command(*arguments)]
    daemon.start()
    daemon.policy(TERMINATE)
    daemon.add_tunnel(lab.server().document())
    watch = daemon.api.watch()
    daemon.api.mode("always")  # closed from here on: what the kernel says by itself until the start is no leak
    lab.leaks.begin()
    daemon.api.start(wait=None)
    stop = watch.wait(kind="willStop")
    assert stop["error"] == "workerCrashed" and stranger in stop["detail"], stop
    watch.wait_state("failed")
    lab.leaks.offer()
    lab.leaks.verdict()


def test_question_over_a_restart(lab):
    """a question outlives the daemon, and what was to follow its deadline does too"""
    daemon, _ = lab.guarded(policy=ASK)
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    asked = watch.wait(kind="decisionPending")
    daemon.kill()
    lab.leaks.closed()
    daemon.start()
    pending = daemon.api.tunnel()["pendingDecision"]
    assert pending["id"] == asked["decision"] and pending["waitsFor"] == "ask", pending
    daemon.kill()
    with open(f"{daemon.state_dir}/state.json") as file:
        state = json.load(file)
    state["tunnels"][0]["pending"]["deadlineUsec"] = 1  # brought forward: nothing need be waited for
    rewrite(daemon, "state.json", json.dumps(state))
    daemon.start()
    daemon.wait_connected()
    lab.leaks.closed([SERVER])


def test_question_over_a_stop(lab):
    """a question outlives an orderly stop of the daemon: nothing is started before it is answered, and nothing leaves"""
    daemon, _ = lab.guarded(policy=ASK_LONG)
    watch = daemon.api.watch()
    os.kill(daemon.client_pid(), signal.SIGKILL)
    asked = watch.wait(kind="decisionPending")
    daemon.stop()
    lab.leaks.closed()
    daemon.start()
    tunnel = daemon.api.tunnel()
    assert tunnel["state"] == "deciding" and tunnel["pendingDecision"]["id"] == asked["decision"], tunnel
    lab.leaks.closed()
    daemon.api.post(f"/decisions/{asked['decision']}/answer", {"restart": True})
    daemon.wait_connected()


def test_boot_step_of_a_restart(lab):
    """the boot step leaves a gate that stands as it is: a restart of the service does not cut the tunnel"""
    daemon, _ = lab.guarded()
    flood = lab.flood()
    daemon.process.send(signal.SIGUSR1)
    daemon.process.wait()
    assert daemon.run("--boot").returncode == 0
    daemon.start()
    lab.ping(topology.INTERNET4)
    sent, answered, _ = flood.stop()
    assert sent == answered, (sent, answered)


def test_reload_of_tunnels(lab):
    """SIGHUP takes over tunnels that the administrator wrote, changed or took away, and the API may not touch them"""
    daemon = lab.daemon()
    document = lab.server().document()
    folder = f"{daemon.config_dir}/tunnels"
    os.makedirs(folder)

    def put(timeout):
        with open(f"{folder}/home.json", "w") as file:
            json.dump(document | {"connectTimeout": timeout}, file)
        reload()

    def reload():
        before = daemon.process.log().count("reloading")
        daemon.process.send(signal.SIGHUP)
        daemon.process.wait_log("reloading", before + 1)
        daemon.api.status()

    put("7s")
    assert daemon.api.get("/tunnels/home")["connectTimeout"] == "7s"
    put("9s")
    assert daemon.api.get("/tunnels/home")["connectTimeout"] == "9s"
    answer = daemon.api.call("DELETE", "/tunnels/home", headers={"If-Match": "*"})
    assert (answer.status, answer.body.get("code")) == (409, "managedByFile"), answer
    os.unlink(f"{folder}/home.json")
    reload()
    assert daemon.api.call("GET", "/tunnels/home").status == 404
