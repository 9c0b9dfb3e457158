# SPDX-License-Identifier: LGPL-2.1-or-later
"""A storm on the HTTP interface, until it is killed: storm.py SOCKET PORT TOKEN. Says "ready" once all of it is under way.

1,000 connections that say nothing, 100 that say a byte a second, four bodies of 1 GiB (with a length and in chunks) and two streams of
wrong tokens, half of each at the Unix socket, half at TCP. Whatever the daemon ends is begun again.
"""

import asyncio
import contextlib
import resource
import sys

SILENT, TRICKLING, GIB = 1000, 100, 1 << 30
BLOCK = bytes(64 << 10)
PUT = "PUT /v1/policy HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nIf-Match: *\r\nAuthorization: Bearer {}\r\n"
GUESS = b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hft_wrong\r\n\r\n"
path, port, token = sys.argv[1:]


async def connect(number):
    if number % 2:
        return await asyncio.open_unix_connection(path)
    return await asyncio.open_connection("127.0.0.1", int(port))


async def silent(reader, writer):
    await reader.read()


async def trickling(reader, writer):
    while not reader.at_eof():
        writer.write(b"G")
        await writer.drain()
        await asyncio.sleep(1)


async def with_length(reader, writer):
    writer.write(PUT.format(token).encode() + f"Content-Length: {GIB}\r\n\r\n".encode())
    for _ in range(GIB // len(BLOCK)):
        writer.write(BLOCK)
        await writer.drain()


async def in_chunks(reader, writer):
    writer.write(PUT.format(token).encode() + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(GIB // len(BLOCK)):
        writer.write(b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n")
        await writer.drain()


async def guessing(reader, writer):
    while not reader.at_eof():
        writer.write(GUESS)
        await writer.drain()
        await reader.read(4096)


async def again_and_again(attack, number, begun):
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await connect(number)
            begun.add(number)
            try:
                await attack(reader, writer)
            finally:
                writer.transport.abort()


async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    attacks = [silent] * SILENT + [trickling] * TRICKLING + [with_length] * 2 + [in_chunks] * 2 + [guessing] * 2
    begun = set()
    running = [asyncio.create_task(again_and_again(attack, number, begun)) for number, attack in enumerate(attacks)]
    while len(begun) < len(attacks):
        await asyncio.sleep(0.05)
    print("ready", flush=True)
    await asyncio.gather(*running)


asyncio.run(main())
