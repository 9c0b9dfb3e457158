# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets that were born in a cgroup of the test's choice, and flows to the internet over them."""

import contextlib
import os
import socket
import sys
from dataclasses import dataclass

from . import frames, isolation, process, topology

isolation.require()

_MAKER = """
import socket, sys
asked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
asked.connect(sys.argv[1])
while request := asked.recv(64):
    family, style, protocol = map(int, request.split())
    with socket.socket(family, style, protocol) as made:
        socket.send_fds(asked, [b"made"], [made.fileno()])
"""


class Maker:
    """A program that makes sockets where it runs and hands them over: in CGROUP, or where START starts it."""

    def __init__(self, lab, name, cgroup=None, start=None):
        self.path = f"/run/lab/{name}.sock"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.path)
            os.chmod(self.path, 0o777)
            listener.listen()
            listener.settimeout(process.PATIENCE)
            command = [sys.executable, "-c", _MAKER, self.path]
            self.process = start(command) if start else process.Process(lab, name, command, lab.net.client, cgroup=cgroup)
            self.requests, _ = listener.accept()
        self.requests.settimeout(process.PATIENCE)

    def socket(self, family, style, protocol=0):
        self.requests.send(b"%d %d %d" % (family, style, protocol))
        _, descriptors, _, _ = socket.recv_fds(self.requests, 16, 1)
        return socket.socket(fileno=descriptors[0])

    def close(self):
        """Ends the program: it has nothing more to wait for."""
        self.requests.close()
        self.process.wait()


@dataclass(frozen=True)
class Ends:
    """One connection or flow as it is on the uplink: who sends it there, and to whom, each an address and a port."""

    protocol: int
    source: tuple
    destination: tuple

    def owns(self, frame):
        """Whether FRAME is the client's, and of this flow."""
        there = (frame.protocol, (frame.source, frame.source_port), (frame.destination, frame.destination_port))
        return not frame.outgoing and there == (self.protocol, self.source, self.destination)


def ends(near):
    """Those of the connected TCP socket NEAR, which nobody masquerades."""
    return Ends(frames.TCP, near.getsockname()[:2], near.getpeername()[:2])


class Flow:
    """A TCP connection and a UDP flow from the client to HOST, over sockets that MAKE makes."""

    def __init__(self, lab, make, host=topology.INTERNET4, port=4400):
        self.host, self.port = host, port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with lab.net.internet.entered():
            listener = socket.create_server((host, port), family=family)
            self.far_udp = socket.socket(family, socket.SOCK_DGRAM)
            self.far_udp.bind((host, port))
        self.far_udp.settimeout(process.PATIENCE)
        self.near = self.udp = None
        self.on_uplink = set()  # the ends of it, as the host sees them
        with listener:
            try:
                self.near = make(family, socket.SOCK_STREAM)
                self.near.settimeout(process.PATIENCE)
                self.near.connect((host, port))
                self.far, self.seen = listener.accept()
                self.far.settimeout(process.PATIENCE)
                self._is_seen(frames.TCP, self.seen)
                self.udp = make(family, socket.SOCK_DGRAM)
                self.udp.settimeout(process.PATIENCE)
                self.udp.connect((host, port))
                self.carries()
            except BaseException:
                self.far_udp.close()
                raise

    def carries(self):
        """Both ways, TCP and UDP; returns the two addresses that the host sees."""
        self.near.sendall(b"request")
        assert self.far.recv(64) == b"request"
        self.far.sendall(b"answer")
        assert self.near.recv(64) == b"answer"
        self.near.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # now, not into the time that is judged next
        self.udp.send(b"question")
        data, source = self.far_udp.recvfrom(64)
        assert data == b"question", data
        self.far_udp.sendto(b"reply", source)
        assert self.udp.recv(64) == b"reply"
        self._is_seen(frames.UDP, source)
        return self.seen[0], source[0]

    def _is_seen(self, protocol, source):
        self.on_uplink.add(Ends(protocol, source[:2], (self.host, self.port)))

    def owns(self, frame):
        """Whether FRAME is the client's, and of this connection or flow: no other one to the same host."""
        return any(each.owns(frame) for each in self.on_uplink)

    def offer(self):
        """Sends once over each; what the kernel says is no matter."""
        for sock in (self.near, self.udp):
            with contextlib.suppress(OSError):
                sock.setblocking(False)
                sock.send(b"after")

    def left(self, frames):
        """Those of FRAMES that the client sent for this flow."""
        return [
            frame
            for frame in frames
            if not frame.outgoing and frame.destination == self.host and frame.destination_port == self.port
        ]

    def close(self):
        for sock in (self.near, self.udp, self.far, self.far_udp):
            sock.close()


def is_cut(lab, flow):
    """Whether nothing of FLOW leaves by the uplink any more, in either protocol."""
    place = lab.capture.mark()
    flow.offer()
    return not flow.left(lab.capture.since(place))
