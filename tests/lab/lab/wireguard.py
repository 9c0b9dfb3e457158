# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real WireGuard server for the lab: wireguard-go in the server's namespace, configured over its control socket."""

import base64
import os
import socket
import subprocess
from dataclasses import dataclass

from . import isolation, process, topology

isolation.require()

PORT = 51820
# What carries the clients' tunnels: the same on every machine, and an error where it cannot. tests/vm/run says `kernel`.
IMPLEMENTATION = os.environ.get("HOLDFAST_LAB_WIREGUARD", "wireguard-go")
_CONTROL = "/run/wireguard"


@dataclass(frozen=True)
class Key:
    """A key pair, in base64."""

    private: str
    public: str

    @classmethod
    def new(cls):
        private = subprocess.run(["wg", "genkey"], capture_output=True, check=True).stdout
        public = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, check=True).stdout
        return cls(private.decode().strip(), public.decode().strip())


def _hex(key):
    return base64.b64decode(key).hex()


@dataclass(frozen=True)
class Inside:
    """The addresses inside a tunnel: the server's, then the client's."""

    server4: str = topology.INNER_SERVER4
    server6: str = topology.INNER_SERVER6
    client4: str = topology.INNER_CLIENT4
    client6: str = topology.INNER_CLIENT6


SECOND = Inside("10.8.0.1", "fd08::1", "10.8.0.2", "fd08::2")  # of a second server


class Server:
    """Listens on PORT of every address of NAMESPACE (the server's); the client it knows has the addresses INSIDE."""

    def __init__(self, lab, key=None, client=None, port=PORT, name="wgs", inside=Inside(), namespace=None):
        self.lab, self.port, self.name, self.inside = lab, port, name, inside
        self.namespace = namespace or lab.net.server
        self.key, self.client = key or Key.new(), client or Key.new()
        self.process = None
        self.start()

    def start(self):
        """Starts (again) with the same keys; ready when it returns."""
        path = f"{_CONTROL}/{self.name}.sock"
        if os.path.exists(path):
            os.unlink(path)
        # The listening socket is made here, so that what is asked before wireguard-go is ready waits in its queue.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(path)
            listener.listen()
            environment = os.environ | {"WG_UAPI_FD": str(listener.fileno()), "WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"}
            self.process = process.Process(
                self.lab,
                "wireguard-server",
                ["wireguard-go", "-f", self.name],
                self.namespace,
                environment=environment,
                pass_fds=[listener.fileno()],
            )
        self.ask(
            f"set=1\nprivate_key={_hex(self.key.private)}\nlisten_port={self.port}\nreplace_peers=true\n"
            f"public_key={_hex(self.client.public)}\nallowed_ip={self.inside.client4}/32\nallowed_ip={self.inside.client6}/128\n\n"
        )
        topology.batch(
            self.namespace,
            [
                f"address add {self.inside.server4}/24 dev {self.name}",
                f"address add {self.inside.server6}/64 dev {self.name}",
                f"link set {self.name} up",
            ],
        )

    def ask(self, request):
        """One request on the control socket; its answer as a list of (name, value)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(process.PATIENCE)
            control.connect(f"{_CONTROL}/{self.name}.sock")
            control.sendall(request.encode())
            with control.makefile() as answer:
                pairs = [tuple(line.rstrip("\n").split("=", 1)) for line in iter(answer.readline, "\n") if line]
        if ("errno", "0") not in pairs:
            raise RuntimeError(f"the WireGuard server refused: {pairs}")
        return pairs

    def allow(self, *addresses):
        """Takes packets from ADDRESSES too, as a server does for a client with a network behind it."""
        lines = [f"allowed_ip={address}/{128 if ':' in address else 32}\n" for address in addresses]
        self.ask(f"set=1\npublic_key={_hex(self.client.public)}\n{''.join(lines)}\n")

    def handshakes(self):
        """The time of the client's last handshake, in nanoseconds; 0: none yet."""
        values = dict(self.ask("get=1\n\n"))
        return int(values["last_handshake_time_sec"]) * 10**9 + int(values["last_handshake_time_nsec"])

    def kill(self):
        """SIGKILL: it answers no more, and says nothing."""
        self.process.kill()

    def wg_quick(self, endpoint=None, dns=None, extra=""):
        """The client's file, as wg-quick(8) takes it."""
        return (
            f"[Interface]\nPrivateKey = {self.client.private}\n"
            f"Address = {self.inside.client4}/32, {self.inside.client6}/128\n"
            + (f"DNS = {dns}\n" if dns else "")
            + extra
            + f"\n[Peer]\nPublicKey = {self.key.public}\nAllowedIPs = 0.0.0.0/0, ::/0\n"
            f"Endpoint = {endpoint or f'{topology.SERVER4}:{self.port}'}\n"
        )

    def document(self, tunnel="home", endpoints=None, **members):
        """The client's tunnel, as Holdfast takes it."""
        addresses = endpoints or [f"{topology.SERVER4}:{self.port}/udp"]
        return {
            "id": tunnel,
            "driver": "wireguard",
            "settings": {
                "privateKey": self.client.private,
                "addresses": [f"{self.inside.client4}/32", f"{self.inside.client6}/128"],
                "implementation": IMPLEMENTATION,
            },
            "endpoints": [{"address": address, "publicKey": self.key.public} for address in addresses],
            "routes": "all",
        } | members


class SilentServer:
    """A socket where a VPN server would be: it takes everything and never answers."""

    def __init__(self, lab, address=topology.SERVER4, port=PORT):
        with lab.net.server.entered():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))

    def close(self):
        self.socket.close()
