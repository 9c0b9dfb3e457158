# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two forms of ./quickstart; the one that guards a host has the client's namespaces for its host."""

import os
import signal
import subprocess

from lab import process, topology
from lab.leaks import SERVER
from lab.traffic import KINDS

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


def test_guards_a_host(lab):
    """`./quickstart wg0.conf` says what it changes, installs, guards, keeps the SSH peer, and Ctrl-C takes it back"""
    lab.leaks.prove()
    path = "/run/lab/wg0.conf"
    with open(path, "w") as file:
        file.write(lab.server().wg_quick())
    cover = """
        for directory in /usr/local /var/lib; do
            mkdir -p /run/lab/host/$directory/upper /run/lab/host/$directory/work
            mount -t overlay overlay -o lowerdir=$directory,upperdir=/run/lab/host/$directory/upper,workdir=/run/lab/host/$directory/work $directory
        done
        sed -i /^holdfast/d /etc/passwd /etc/group
    """
    lab.run(["sh", "-ec", cover])  # in the client's mount namespace alone: nothing of this reaches the machine
    host = process.Process(
        lab,
        "quickstart",
        [f"{TOP}/quickstart", path, "--yes", "--build", lab.build],
        lab.net.client,
        environment=os.environ | {"SSH_CONNECTION": f"{topology.LAN4} 50000 {topology.CLIENT4} 22", "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere"},
    )
    process.until(lambda: "Guarding." in host.log() or not host.alive(), host.log, 2 * process.PATIENCE)
    text = host.log()
    assert host.alive(), text
    for promise in ("What will change", "How to get out again", "holdfastctl release", "How to remove Holdfast", "rm -r /var/lib/holdfast", topology.LAN4):
        assert promise in text, (promise, text)
    with open(f"{TOP}/data/holdfast.sysusers") as file:
        users = [line.split()[:2] for line in file if not line.startswith("#")]
    for kind, name in users:
        lab.run(["getent", {"u": "passwd", "g": "group"}[kind], name])
        assert f"{'user' if kind == 'u' else 'group'}del {name}" in text, (name, text)
    second = lab.run([f"{TOP}/quickstart", "--yes", path, "--build", lab.build], check=False, stdin=subprocess.DEVNULL)
    assert second.returncode != 0 and "another ./quickstart" in second.stderr and not second.stdout, second
    lab.ping(topology.INTERNET4)
    lab.leaks.begin()
    lab.leaks.offer([kind for kind in KINDS if kind.destination != topology.LAN4])  # the management network is let by
    lab.leaks.verdict([SERVER])
    near, far = lab.connect(topology.CLIENT4, 22, namespace=lab.net.lan, listener=lab.net.client)
    near.sendall(b"ls")
    far.sendall(far.recv(2))
    assert near.recv(2) == b"ls"
    near.close()
    far.close()
    host.send(signal.SIGTERM)
    assert host.wait() == 0, host.log()
    assert lab.nft("list", "table", "inet", "holdfast", check=False).returncode != 0
    lab.ping(topology.LAN4)


def test_interrupted(lab):
    """Ctrl-C ends the step that ./quickstart or ./check is at, and the script with it"""
    path = "/run/lab/began"
    script = f". {TOP}/tests/setup.sh; step 'takes long' sh -c 'echo $$ >{path}; exec sleep 1h'; echo 'went on'"

    def at_a_terminal():
        lab.net.client.join()
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    host = subprocess.Popen(["bash", "-c", script], preexec_fn=at_a_terminal, stdout=subprocess.PIPE, text=True)
    process.until(lambda: os.path.exists(path) and os.path.getsize(path), "the step did not begin")
    with open(path) as file:
        began = int(file.read())
    os.killpg(host.pid, signal.SIGINT)
    told, _ = host.communicate(timeout=process.PATIENCE)
    assert host.returncode != 0 and "went on" not in told, (host.returncode, told)
    process.wait_gone(began)


def test_asks_first(lab):
    """`./quickstart wg0.conf` with nobody to ask and without --yes changes nothing"""
    path = "/run/lab/wg0.conf"
    with open(path, "w") as file:
        file.write(lab.server().wg_quick())
    before = lab.run(["getent", "passwd"]).stdout
    done = lab.run([f"{TOP}/quickstart", path, "--build", lab.build], check=False, stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and "--yes" in done.stderr and "What will change" in done.stdout, done
    assert lab.run(["getent", "passwd"]).stdout == before
    assert not process.running("holdfastd")


def test_one_daemon(lab):
    """`./quickstart wg0.conf` on a machine where a daemon runs says so at once, with the commands that add the file to it"""
    path = "/run/lab/wg0.conf"
    with open(path, "w") as file:
        file.write(lab.server().wg_quick())
    lab.run(["mkdir", "-p", "/run/holdfast"])
    listener = lab.run(["/usr/bin/python3", "-c", LISTEN, "/run/holdfast/api.sock", f"{TOP}/quickstart", "--yes", path, "--build", lab.build], check=False)
    assert listener.returncode == 1 and "runs on this machine already" in listener.stderr, listener
    assert "holdfastctl import" in listener.stderr and not listener.stdout, listener


LISTEN = """
import os, socket, subprocess, sys
server = socket.socket(socket.AF_UNIX)
if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
server.bind(sys.argv[1])
server.listen()
sys.exit(subprocess.run(sys.argv[2:]).returncode)
"""


def test_refuses_other_files(lab):
    """`./quickstart` with a file that is none of wg-quick's says so"""
    for arguments, word in ((["/etc/hostname"], "[Interface]"), (["/nowhere.conf"], "cannot be read"), (["--what"], "--what")):
        done = lab.run([f"{TOP}/quickstart", *arguments], check=False, stdin=subprocess.DEVNULL)
        assert done.returncode != 0 and word in done.stderr, done
