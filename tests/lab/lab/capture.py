# SPDX-License-Identifier: LGPL-2.1-or-later
"""A capture on the far side of the client's uplink that can say when it has seen everything.

An AF_PACKET socket on the router's end, read by the same process that offers the traffic. `barrier()` makes that exact: it sends a
marker frame out of the client's uplink from every processor in turn and reads until all have arrived. A veth hands frames over through
a queue per processor, each first in, first out, so whatever was sent before the markers has then been read, too; nothing waits for
"long enough". A packet that the kernel had to drop for lack of room makes the capture invalid, never silent.
"""

import os
import select
import socket
import struct
import time

from . import frames, isolation
from .process import PATIENCE

isolation.require()

_SOL_PACKET, _PACKET_STATISTICS, _PACKET_OUTGOING = 263, 6, 4
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_ETH_P_ALL = 3
_BUFFER = 512 << 20  # bytes; used only as far as it fills

MARKER_DEADLINE = PATIENCE  # a marker that takes longer was lost


class Invalid(Exception):
    """The capture cannot vouch for what it saw."""


class Capture:
    """Frames on INTERFACE of the namespace FAR; markers leave by `eth0` of the namespace NEAR."""

    def __init__(self, far, interface, near):
        self.frames = []
        with near.entered():
            self._sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # kept: the kernel takes its time to close such a socket
        with far.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            self.socket.bind((interface, _ETH_P_ALL))  # from here on it receives
        self._marker = 0
        self._dropped = 0
        self._arrived = set()

    def barrier(self):
        """Reads everything that the client sent before this call. Raises Invalid where it cannot know that it did."""
        wanted = set()
        everywhere = os.sched_getaffinity(0)
        try:
            for processor in everywhere:
                os.sched_setaffinity(0, {processor})
                self._marker += 1
                header = b"\xff" * 6 + b"\x02\x00\x00\x00\x00\x01" + struct.pack("!HQ", frames.ETH_MARKER, self._marker)
                self._sender.sendto(header.ljust(60, b"\0"), ("eth0", frames.ETH_MARKER))
                wanted.add(self._marker)
        except OSError:
            wanted = set()  # the uplink is down or gone: nothing is on its way either
        finally:
            os.sched_setaffinity(0, everywhere)
        deadline = time.monotonic() + MARKER_DEADLINE
        self._drain()
        while not wanted <= self._arrived:
            self._check_drops()
            if time.monotonic() > deadline:
                raise Invalid("a marker did not arrive on the far side of the uplink")
            select.select([self.socket], [], [], 0.1)
            self._drain()
        self._arrived -= wanted
        self._check_drops()

    def _check_drops(self):
        # Reading the statistics resets them: what was lost once stays counted here.
        dropped = struct.unpack("II", self.socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))[1]
        self._dropped += dropped
        if self._dropped:
            raise Invalid(f"the capture lost {self._dropped} frames")

    def mark(self):
        """A place in the capture, after everything sent so far: for `since`."""
        self.barrier()
        return len(self.frames)

    def since(self, place):
        """The frames after PLACE, up to now."""
        self.barrier()
        return self.frames[place:]

    def wait(self, predicate, place=0, timeout=PATIENCE):
        """The first frame after PLACE for which PREDICATE holds; raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while True:
            self._drain()
            for index in range(place, len(self.frames)):
                if predicate(self.frames[index]):
                    return self.frames[index]
            place = len(self.frames)
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError("the frame that was waited for did not come")
            select.select([self.socket], [], [], remaining)

    def _drain(self):
        while True:
            try:
                data, ancillary, _, address = self.socket.recvmsg(65536 + 64, 64)
            except BlockingIOError:
                return
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            outgoing = address[2] == _PACKET_OUTGOING
            frame = frames.parse(seconds + nanoseconds / 1e9, outgoing, data)
            if frame.ethertype == frames.ETH_MARKER:
                self._arrived.add(struct.unpack_from("!Q", data, 14)[0])
            else:
                self.frames.append(frame)

    def save(self, path):
        """Writes everything captured to a pcap file."""
        self._drain()
        frames.write_pcap(path, self.frames)

    def close(self):
        self.socket.close()
        self._sender.close()
