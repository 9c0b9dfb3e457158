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
_CNAME = 5
_ASKED = b"\xc0\x0c"  # the name in the question (RFC 1035, 4.1.4)


def labels(name):
    return b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split(".")) + b"\0"


def _record(owner, kind, seconds, data):
    return owner + struct.pack("!HHIH", kind, 1, seconds, len(data)) + data  # RFC 1035, 4.1.3


def question(message):
    """The name and the type that a query (or an answer) asks for."""
    labels, place = [], 12
    while message[place]:
        labels.append(message[place + 1 : place + 1 + message[place]].decode("ascii"))
        place += 1 + message[place]
    return ".".join(labels), struct.unpack_from("!H", message, place + 1)[0]


class NameServer:
    """Answers for NAMES, {name: [address], or the name that it stands for}, on port 53 of ADDRESS in NAMESPACE (the LAN's host); for all others: NXDOMAIN."""

    def __init__(self, lab, names, address=topology.LAN4, namespace=None):
        self.names, self.asked, self.silent, self.lasts = dict(names), [], False, 0
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
        found, owner, records = self.names.get(name, ()), _ASKED, []
        if isinstance(found, str):
            records.append(_record(owner, _CNAME, self.lasts, labels(found)))
            owner, found = labels(found), self.names[found]
        for address in found if family else ():
            if (":" in address) == (family == socket.AF_INET6):
                records.append(_record(owner, kind, self.lasts, socket.inet_pton(family, address)))
        flags = 0x8180 | (0 if name in self.names else 3)
        asked = message[12 : message.index(0, 12) + 5]  # what comes after it (EDNS) is not answered
        return message[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + asked + b"".join(records)

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
