# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real OpenVPN server for the lab, with certificates of its own."""

import base64
import contextlib
import os
import shlex
import socket
import struct
import subprocess
import threading

from . import isolation, process, topology

isolation.require()

PORT = 1194
USER, PASSWORD = "holdfast", 'p"a\\ss wörd'
# What the server answers to a user of these names, whatever the password (auth_failed_reason_file of openvpn(8)).
REFUSALS = {
    "temporary": "TEMP[backoff 1]:come back later",
    "expired": "SESSION:the session has run out",
    "broken": "CRV1:R,E:no-user",
    "curious": "CRV1:E:again:Y3VyaW91cw==:and again",
}
# Users whose passwords are hard to hand on as they are.
ODD = {"quoted": """\"a\\ 'b' \\"c $(d) `e` #f; \\\\""", "long": "0123456789" * 25 + "012345"}
# A user of this name is asked CHALLENGE, and let in with RESPONSE. Whoever has a static challenge gives the same response.
CHALLENGED, CHALLENGE, RESPONSE = "challenged", "Token: four digits", "4711"


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


class Authority:
    """A certificate authority and the keys that it vouched for. Everything in FOLDER."""

    def __init__(self, folder, name="authority"):
        self.folder, self.name = folder, name
        os.makedirs(folder, exist_ok=True)
        self._openssl("req", "-x509", *self._key("ca"), "-out", self.path("ca.crt"), "-subj", f"/CN={name}", "-days", "30")

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name)) as file:
            return file.read()

    def _key(self, name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", self.path(f"{name}.key"))

    @staticmethod
    def _openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    def issue(self, name, role):
        """A certificate NAME.crt with NAME.key, for ROLE (server, client)."""
        with open(self.path(f"{name}.ext"), "w") as file:
            file.write(f"extendedKeyUsage={role}Auth\nkeyUsage=digitalSignature\n")
        self._openssl("req", *self._key(name), "-out", self.path(f"{name}.csr"), "-subj", f"/CN={name}")
        self._openssl(
            "x509", "-req", "-in", self.path(f"{name}.csr"), "-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"), "-CAcreateserial",
            "-out", self.path(f"{name}.crt"), "-days", "30", "-extfile", self.path(f"{name}.ext"),
        )  # fmt: skip
        return self


class OpenVpnServer:
    """Listens on PORT of the server's address; gives INNER_CLIENT4 and INNER_CLIENT6 to its client, and pings it every two seconds.

    EXTRA are further lines of its configuration; USERS: it asks for a user name, too, and with STATIC for the response to a static
    challenge (or "concat": right behind the password); ADDRESSES: False gives the client none."""

    def __init__(self, lab, protocol="udp", port=PORT, extra=(), users=False, addresses=True, authority=None, static=False):
        self.lab, self.protocol, self.port, self.users, self.static = lab, protocol, port, users, static
        self.folder = "/run/lab/openvpn"
        self.authority = authority or Authority(f"{self.folder}/authority").issue("server", "server").issue("client", "client")
        self.config = f"{self.folder}/server-{port}.conf"
        self._notified = process.Notified(f"{self.folder}/server-{port}.notify")
        with open(self.config, "w") as file:
            file.write("\n".join([*self._lines(addresses), *extra]) + "\n")
        self.process = None
        self.start()

    def _lines(self, addresses):
        read = self.authority.path
        yield from ("mode server", "tls-server", f"dev tun-{self.port}", "dev-type tun", "disable-dco", "topology subnet")
        yield f"ifconfig {topology.INNER_SERVER4} 255.255.255.0"
        yield f"ifconfig-ipv6 {topology.INNER_SERVER6}/64 {topology.INNER_CLIENT6}"
        yield 'push "topology subnet"'
        yield "tun-mtu 1400"  # pushed, too: packets of the client's would be fragmented with more
        if addresses:
            yield f"ifconfig-pool {topology.INNER_CLIENT4} 10.9.0.9 255.255.255.0"
            yield f"ifconfig-ipv6-pool {topology.INNER_CLIENT6}/64"
        yield from (f"local {topology.SERVER4}", f"port {self.port}", f"proto {self.protocol}", "keepalive 2 8", "verb 3")
        yield from (f"ca {read('ca.crt')}", f"cert {read('server.crt')}", f"key {read('server.key')}", "dh none")
        if self.users:
            yield from ("script-security 2", f"auth-user-pass-verify {self._verifier()} via-file")

    def _verifier(self):
        path = f"{self.folder}/verify"
        with open(path, "w") as file:
            file.write("#!/bin/sh\n{ read -r user; read -r password; } < \"$1\"\n")
            for user, reason in REFUSALS.items():
                file.write(f'[ "$user" = {user} ] && {{ echo "{reason}" > "$auth_failed_reason_file"; exit 1; }}\n')
            challenge = f"CRV1:R,E:id-17:{base64_of(CHALLENGED)}:{CHALLENGE}"
            file.write(f"[ \"$user\" = {CHALLENGED} ] && {{ [ \"$password\" = 'CRV1::id-17::{RESPONSE}' ] && exit 0\n")
            file.write(f"[ \"$password\" = '{PASSWORD}' ] && echo '{challenge}' > \"$auth_failed_reason_file\"; exit 1; }}\n")
            for name, password in ODD.items():
                file.write(f'[ "$user" = {name} ] && [ "$password" = {shlex.quote(password)} ] && exit 0\n')
            wanted = {False: PASSWORD, True: f"SCRV1:{base64_of(PASSWORD)}:{base64_of(RESPONSE)}", "concat": PASSWORD + RESPONSE}[self.static]
            file.write(f"[ \"$user\" = {USER} ] && [ \"$password\" = '{wanted}' ]\n")
        os.chmod(path, 0o755)
        return path

    def start(self):
        """Starts (again); ready when it returns."""
        environment = os.environ | {"NOTIFY_SOCKET": self._notified.path}
        self.process = process.Process(
            self.lab, f"openvpn-server-{self.port}", ["openvpn", "--config", self.config], self.lab.net.server, environment=environment
        )
        self._notified.wait_ready(self.process)

    def kill(self):
        """SIGKILL: it answers no more, and says nothing."""
        self.process.kill()

    def settings(self, **members):
        """The client's settings, as Holdfast takes them."""
        read = self.authority.read
        users = {"username": USER, "password": PASSWORD} if self.users else {}
        return {"ca": read("ca.crt"), "cert": read("client.crt"), "key": read("client.key"), "remoteCertTls": "server"} | users | members

    def document(self, tunnel="home", endpoints=None, settings=None, **members):
        """The client's tunnel, as Holdfast takes it."""
        addresses = endpoints or [f"{topology.SERVER4}:{self.port}/{self.protocol[:3]}"]
        return {
            "id": tunnel,
            "driver": "openvpn",
            "settings": settings or self.settings(),
            "endpoints": [{"address": address} for address in addresses],
            "routes": "all",
        } | members

    def ovpn(self, extra=""):
        """The client's file."""
        settings = self.settings()
        blocks = "".join(f"<{name}>\n{settings[name]}</{name}>\n" for name in ("ca", "cert", "key"))
        return f"client\ndev tun\nproto {self.protocol}\nremote {topology.SERVER4} {self.port}\nremote-cert-tls server\n{extra}{blocks}"


class HalfServer:
    """Answers an OpenVPN client's first packet as a server does, and nothing after that: a handshake that never ends."""

    def __init__(self, lab, port=PORT):
        with lab.net.server.entered():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((topology.SERVER4, port))
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self):
        # P_CONTROL_HARD_RESET_SERVER_V2, key 0; its session; one acknowledgement (the client's packet, 0) and its session; packet 0.
        with contextlib.suppress(OSError):
            while True:
                data, client = self.socket.recvfrom(2048)
                if data[0] >> 3 == 7:
                    self.socket.sendto(bytes([8 << 3]) + b"halfserv" + b"\1" + struct.pack("!I", 0) + data[1:9] + struct.pack("!I", 0), client)

    def close(self):
        self.socket.close()
