# SPDX-License-Identifier: LGPL-2.1-or-later
"""A name server for the lab: it knows a few names, notes what it is asked, and can be silent."""

import contextlib
import os
import select
import socket
import ssl
import struct
import subprocess
import threading

from . import isolation, topology

isolation.require()

_TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}  # A, AAAA


def question(message):
    """The name and the type that a query (or an answer) asks for."""
    labels, place = [], 12
    while message[place]:
        labels.append(message[place + 1 : place + 1 + message[place]].decode("ascii"))
        place += 1 + message[place]
    return ".".join(labels), struct.unpack_from("!H", message, place + 1)[0]


class NameServer:
    """Answers for NAMES, {name: [address]}, on port 53 of ADDRESS in NAMESPACE (the LAN's host); for all others: NXDOMAIN."""

    def __init__(self, lab, names, address=topology.LAN4, namespace=None):
        self.names, self.asked, self.silent = dict(names), [], False
        with (namespace or lab.net.lan).entered():
            self._socket = self._listen(address)
        self._stopped, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _listen(self, address):
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address, 53))
        return sock

    def _serve(self):
        while True:
            readable, _, _ = select.select([self._socket, self._stopped], [], [])
            if self._stopped in readable:
                return
            message, sender = self._socket.recvfrom(4096)
            try:
                name, kind = question(message)
            except (IndexError, struct.error, UnicodeDecodeError):
                continue  # the lab's own traffic to port 53 is no query
            self.asked.append((name, kind))
            if not self.silent:
                self._socket.sendto(self._answer(message, name, kind), sender)

    def _answer(self, message, name, kind):
        family = _TYPES.get(kind)
        addresses = [address for address in self.names.get(name, ()) if (":" in address) == (family == socket.AF_INET6)]
        records = b""
        for address in addresses if family else ():
            data = socket.inet_pton(family, address)
            records += struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(data)) + data
        flags = 0x8180 | (0 if name in self.names else 3)
        asked = message[12 : message.index(0, 12) + 5]  # what comes after it (EDNS) is not answered
        return message[:2] + struct.pack("!HHHHH", flags, 1, len(addresses) if family else 0, 0, 0) + asked + records

    def close(self):
        os.close(self._stop)
        self._thread.join()
        self._socket.close()
        os.close(self._stopped)


class SecureNameServer(NameServer):
    """The same over TLS, on port 853 (RFC 7858), with a certificate that nobody knows; a thread for each connection."""

    def __init__(self, lab, names, address, namespace):
        key, certificate = "/run/lab/names.key", "/run/lab/names.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                        "-subj", "/CN=names", "-keyout", key, "-out", certificate], check=True, capture_output=True)  # fmt: skip
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        super().__init__(lab, names, address, namespace)

    def _listen(self, address):
        return socket.create_server((address, 853))

    def _serve(self):
        while True:
            readable, _, _ = select.select([self._socket, self._stopped], [], [])
            if self._stopped in readable:
                return
            threading.Thread(target=self._talk, args=(self._socket.accept()[0],), daemon=True).start()

    def _talk(self, connection):
        with contextlib.suppress(OSError, IndexError, struct.error, UnicodeDecodeError), connection:
            stream = self._context.wrap_socket(connection, server_side=True)
            with stream, stream.makefile("rb") as reader:
                while length := reader.read(2):
                    message = reader.read(struct.unpack("!H", length)[0])
                    name, kind = question(message)
                    self.asked.append((name, kind))
                    answer = self._answer(message, name, kind)
                    stream.sendall(struct.pack("!H", len(answer)) + answer)
