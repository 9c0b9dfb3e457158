# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real NetworkManager in the client's namespaces, on a private bus, with folders of its own and two profiles for the same link."""

import contextlib
import os
import signal
import socket
import threading
import time

from . import isolation, process, topology

isolation.require()

OFFICE = "8d1b2f3e-5c47-4a0b-9e6d-0f1a2b3c4d5e"
CAFE = "11111111-2222-4333-8444-555555555555"

_FOLDER = "/run/lab/nm"
_CONFIGURATION = f"""[main]
plugins=keyfile
dns=none
rc-manager=unmanaged
auth-polkit=false
no-auto-default=*
[keyfile]
path={_FOLDER}/profiles
[device-lab]
match-device=interface-name:eth0
managed=1
[connectivity]
uri={{uri}}
response=yes
interval=3600
"""
_PROFILE = """[connection]
id={name}
uuid={uuid}
type=ethernet
interface-name=eth0
autoconnect=false
[ipv4]
method=manual
address1={address}/24,{gateway}
[ipv6]
method=manual
address1={address6}/64,{gateway6}
"""
# It asks sysfs whether udev runs here: a read-only one says no. The rest keeps it out of the host's folders; what it notes there outlives it,
# as on a host: one that is started again has to know which of two profiles for the link is up.
_START = f"""set -e
mount -o remount,bind,ro /sys
for folder in /run/NetworkManager /var/lib/NetworkManager /etc/NetworkManager; do
	mkdir -p $folder {_FOLDER}/kept$folder
	mount --bind {_FOLDER}/kept$folder $folder
done
exec NetworkManager --no-daemon --config={_FOLDER}/nm.conf --config-dir={_FOLDER}/conf.d --state-file={_FOLDER}/state \
	--pid-file={_FOLDER}/pid
"""


class NetworkManager:
    """Started when made; `up` activates a profile. BUS is the lab's; URI is what its check asks for."""

    cgroup = "system.slice/NetworkManager.service"

    def __init__(self, lab, bus, uri=f"http://{topology.INTERNET4}/check"):
        self.lab = lab
        self.environment = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": bus.address, "LC_ALL": "C"}
        for folder in ("profiles", "conf.d"):
            os.makedirs(f"{_FOLDER}/{folder}", exist_ok=True)
        self._write("nm.conf", _CONFIGURATION.format(uri=uri))
        for name, uuid in (("office", OFFICE), ("cafe", CAFE)):
            self._write(
                f"profiles/{name}.nmconnection",
                _PROFILE.format(name=name, uuid=uuid, address=topology.CLIENT4, gateway=topology.GATEWAY4,
                    address6=topology.CLIENT6, gateway6=topology.GATEWAY6),
            )
        self.start()

    @staticmethod
    def _write(name, text):
        descriptor = os.open(f"{_FOLDER}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    def start(self):
        self.process = process.Process(
            self.lab,
            "NetworkManager",
            ["unshare", "--mount", "sh", "-c", _START],
            self.lab.net.client,
            environment=self.environment,
            cgroup=self.cgroup,
        )
        self._until_it_answers()

    def _until_it_answers(self):
        """Nothing tells from outside when it has its name: asked again until it answers, or ended."""
        deadline = process.deadline_in()
        while self.lab.run(["nmcli", "general"], check=False, env=self.environment).returncode != 0:
            if not self.process.alive() or time.monotonic() > deadline:
                raise process.Died(f"NetworkManager does not answer:\n{self.process.log()[-3000:]}")

    def kill(self):
        self.process.kill()

    def hang(self):
        self.process.send(signal.SIGSTOP)

    def go_on(self):
        self.process.send(signal.SIGCONT)

    def nmcli(self, *arguments):
        return self.lab.run(["nmcli", *arguments], env=self.environment).stdout.strip()

    def up(self, profile):
        self.nmcli("connection", "up", "uuid", profile)

    def check(self):
        """Has the way to the internet checked now; what it found."""
        return self.nmcli("networking", "connectivity", "check")


@contextlib.contextmanager
def sign_in_page(lab, signed_in=lambda: False):
    """A web server on the internet that answers NetworkManager's check with a page of its own, until SIGNED_IN."""
    with lab.net.internet.entered():
        listener = socket.create_server((topology.INTERNET4, 80))

    def answer(peer):
        with peer, contextlib.suppress(OSError):
            peer.recv(4096)
            body = b"yes" if signed_in() else b"please sign in"
            peer.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def serve():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            # One that says nothing, or was cut off, does not keep the others waiting.
            threading.Thread(target=answer, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
