# SPDX-License-Identifier: MIT
"""Sends random bytes to an echo server, over many connections, and compares what comes back.

    python3 echo_client.py --port 7000 [--threads 4] [--connections 10] [--ca CERTIFICATES]
"""
import argparse
import asyncio
import contextlib
import hashlib
import os
import ssl
import sys

import aiofastnet
from loop_threads import run_in_threads

BLOCK = 65536


async def send(writer, size):
    digest = hashlib.sha256()
    for start in range(0, size, BLOCK):
        block = os.urandom(min(BLOCK, size - start))
        digest.update(block)
        writer.write(block)
        await writer.drain()
    return digest.digest()


async def receive(reader, size):
    digest = hashlib.sha256()
    while size > 0:
        block = await reader.read(min(BLOCK, size))
        if not block:
            raise ConnectionError("the server closed the connection")
        digest.update(block)
        size -= len(block)
    return digest.digest()


async def converse(options, context):
    """Send and receive at the same time; return whether the same came back, and the engine."""
    reader, writer = await asyncio.open_connection(options.host, options.port, ssl=context)
    sending = asyncio.ensure_future(send(writer, options.size))
    try:
        received = await receive(reader, options.size)
        is_same = received == await sending
        return is_same, writer.get_extra_info("aiofastnet")["engine"]
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def work(options, context):
    tasks = [asyncio.ensure_future(converse(options, context))
             for _ in range(options.connections)]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:  # after a failure or a signal
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--connections", type=int, default=10, help="of each thread")
    parser.add_argument("--size", type=int, default=1 << 20, help="bytes for each connection")
    parser.add_argument("--ca", metavar="CERTIFICATES", help="use TLS, and trust these")
    parser.add_argument("--uvloop", action="store_true", help="build on uvloop's loops")
    options = parser.parse_args()
    base = None
    if options.uvloop:
        from uvloop import new_event_loop as base
    context = ssl.create_default_context(cafile=options.ca) if options.ca else None
    try:
        results = run_in_threads([work(options, context) for _ in range(options.threads)],
                                 aiofastnet.loop_factory(base))
    except OSError as error:  # of TLS as well
        sys.exit("{}:{}: {}".format(options.host, options.port, error))
    if None in results:
        sys.exit("interrupted")
    conversations = [conversation for result in results for conversation in result]
    if not all(is_same for is_same, _ in conversations):
        sys.exit("something else came back")
    print("{} connections, engine {}: {} bytes came back on each".format(
        len(conversations), conversations[0][1], options.size))


if __name__ == "__main__":
    main()
