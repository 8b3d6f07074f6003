# SPDX-License-Identifier: MIT
"""asyncio's StreamReader and StreamWriter on our transports."""
import asyncio
import hashlib
import random
import sys

import pytest

from support.env import TLS
from support.marks import improvement
from support.protocols import assert_same, turns, until

MIB = 1024 * 1024


def blocks(seed, count, size=65536):
    generator = random.Random(seed)
    for _ in range(count):
        yield generator.getrandbits(8 * size).to_bytes(size, "little")


async def send(writer, seed, count, digest):
    for block in blocks(seed, count):
        digest.update(block)
        writer.write(block)
        await writer.drain()


async def receive(reader, size, digest):
    while size:
        data = await reader.read(min(size, 50000))
        assert data
        digest.update(data)
        size -= len(data)


def test_large_transfers_in_both_directions_under_backpressure(env):
    """T15: 16 MiB each way at once, small read limits; compared by SHA-256."""
    async def main():
        count = 256
        digests = {name: hashlib.sha256() for name in ("to", "from", "got to", "got from")}
        done = env.loop.create_future()

        async def handle(reader, writer):
            await asyncio.gather(receive(reader, count * 65536, digests["got to"]),
                                 send(writer, 2, count, digests["from"]))
            writer.close()
            done.set_result(None)

        server = await env.start_stream_server(handle, limit=10000)
        reader, writer = await env.open_streams(server, limit=10000)
        await asyncio.gather(send(writer, 1, count, digests["to"]),
                             receive(reader, count * 65536, digests["got from"]))
        await done
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert digests["to"].hexdigest() == digests["got to"].hexdigest()
        assert digests["from"].hexdigest() == digests["got from"].hexdigest()

    env.run(main())


@improvement("stock's TLS transport hands everything on without pausing", kinds=TLS, always=False)
def test_drain_waits_until_everything_has_left_with_limits_of_zero(env):
    """T28: after set_write_buffer_limits(0) drain() means that the kernel has it all."""
    async def main():
        accepted = env.loop.create_future()

        async def handle(reader, writer):
            accepted.set_result((reader, writer))

        server = await env.start_stream_server(handle)
        reader, writer = await env.open_streams(server)
        peer_reader, peer_writer = await accepted
        writer.transport.set_write_buffer_limits(0, 0)
        writer.write(b"x" * 6 * MIB)
        writer.write(b"y" * 6 * MIB)
        draining = env.loop.create_task(writer.drain())
        await turns()
        assert not draining.done()
        assert await peer_reader.readexactly(12 * MIB) == b"x" * 6 * MIB + b"y" * 6 * MIB
        await draining
        assert writer.transport.get_write_buffer_size() == 0
        for each in (writer, peer_writer):
            each.close()
        await writer.wait_closed()
        await peer_writer.wait_closed()

    env.run(main())


@pytest.mark.skipif(sys.version_info < (3, 10, 6), reason="asyncio's streams have one waiter only")
def test_parallel_drains_all_finish(env):
    """T28: several tasks wait in drain() of one writer."""
    async def main():
        accepted = env.loop.create_future()

        async def handle(reader, writer):
            accepted.set_result((reader, writer))

        server = await env.start_stream_server(handle)
        reader, writer = await env.open_streams(server)
        peer_reader, peer_writer = await accepted
        writer.write(b"x" * 8 * MIB)
        writer.write(b"x" * 4 * MIB)
        draining = [env.loop.create_task(writer.drain()) for _ in range(5)]
        await turns()
        assert not any(task.done() for task in draining)
        await peer_reader.readexactly(12 * MIB)
        await asyncio.gather(*draining)
        for each in (writer, peer_writer):
            each.close()
        await writer.wait_closed()
        await peer_writer.wait_closed()

    env.run(main())


def test_drain_raises_after_the_loss(env):
    """drain() of a lost connection raises ConnectionResetError."""
    async def main():
        async def handle(reader, writer):
            writer.transport.abort()

        server = await env.start_stream_server(handle)
        reader, writer = await env.open_streams(server)
        with pytest.raises(OSError):
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass

    env.run(main())


def test_lines_and_separators(env):
    """readline, readuntil, readexactly and the end of the stream."""
    async def main():
        async def handle(reader, writer):
            while True:
                line = await reader.readline()
                if not line:
                    break
                writer.write(line.upper())
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await env.start_stream_server(handle)
        reader, writer = await env.open_streams(server)
        writer.writelines([b"one\n", b"two\n", b"three\n"])
        assert await reader.readline() == b"ONE\n"
        assert await reader.readuntil(b"O\n") == b"TWO\n"
        assert await reader.readexactly(6) == b"THREE\n"
        if writer.can_write_eof():
            writer.write_eof()
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await until(lambda: writer.is_closing())

    env.run(main())


def test_an_incomplete_read_at_the_end_of_the_stream(env):
    """readexactly raises IncompleteReadError with what came."""
    async def main():
        async def handle(reader, writer):
            writer.write(b"short")
            writer.close()
            await writer.wait_closed()

        server = await env.start_stream_server(handle)
        reader, writer = await env.open_streams(server)
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(100)
        assert caught.value.partial == b"short"
        writer.close()
        await writer.wait_closed()

    env.run(main())


def test_many_connections_at_once(env):
    """Fifty clients, each with its own data."""
    async def main():
        async def handle(reader, writer):
            writer.write(await reader.readexactly(10000))
            await writer.drain()
            writer.close()

        async def client(number):
            reader, writer = await env.open_streams(server)
            data = bytes([number]) * 10000
            writer.write(data)
            assert_same(await reader.readexactly(10000), data)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

        server = await env.start_stream_server(handle, backlog=100)
        await asyncio.gather(*[client(number) for number in range(50)])

    env.run(main())
