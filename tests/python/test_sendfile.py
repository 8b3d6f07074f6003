# SPDX-License-Identifier: MIT
"""T37, T52: what loop.sendfile() sends, and what it refuses."""
import asyncio
import gzip
import io
import os

import pytest

from support.env import TLS
from support.files import CONTENT, narrow, path, start
from support.marks import improvement, plain_only, tcp_only, tls_only
from support.protocols import Recorder, assert_same, until


# What is sent

@improvement("its TLS sends from the file's own position when the offset is 0", kinds=TLS,
             before=(3, 14, 10))
def test_the_offset_counts_from_the_beginning_of_the_file(env, path):
    """T37: not from the file's position, which is behind the last byte sent afterwards."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        with open(path, "rb") as file:
            file.seek(1234)
            assert await env.loop.sendfile(transport, file) == len(CONTENT)
            assert file.tell() == len(CONTENT)
            file.seek(77)
            assert await env.loop.sendfile(transport, file, 0, 1000) == 1000
            assert file.tell() == 1000
            assert file.read(4) == CONTENT[1000:1004]
        await receiver.received(len(CONTENT) + 1000)
        assert_same(receiver.data, CONTENT + CONTENT[:1000])

    env.run(main())


@pytest.mark.parametrize("buffering", (-1, 0))
def test_a_range_of_the_file(env, path, buffering):
    """T37: offset and count, and counts that are more than there is."""
    ranges = ((1000, 5000), (len(CONTENT) - 10, 11), (1, None), (100, 1 << 40), (5, True))

    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        expected = b""
        with open(path, "rb", buffering) as file:
            for offset, count in ranges:
                part = CONTENT[offset:] if count is None else CONTENT[offset:offset + count]
                expected += part
                assert await env.loop.sendfile(transport, file, offset, count) == len(part)
                assert file.tell() == offset + len(part)
        transport.write(b"end")
        expected += b"end"
        await receiver.received(len(expected))
        assert_same(receiver.data, expected)

    env.run(main())


def test_nothing_to_send(env, path, tmp_path):
    """T37: an empty file, and an offset at or behind the end."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        (tmp_path / "empty").write_bytes(b"")
        with open(tmp_path / "empty", "rb") as file:
            assert await env.loop.sendfile(transport, file) == 0
            assert await env.loop.sendfile(transport, file, 0, 10) == 0
        with open(path, "rb") as file:
            assert await env.loop.sendfile(transport, file, len(CONTENT)) == 0
            assert await env.loop.sendfile(transport, file, len(CONTENT) + 5, 10) == 0
        transport.write(b"end")
        await receiver.received(3)
        assert receiver.data == b"end"

    env.run(main())


def test_a_file_between_writes_keeps_its_place(env, path):
    """T52: behind what waits in the transport, before what is written when it has returned."""
    async def main():
        transport, peer = await env.raw_server(Recorder())
        narrow(transport)
        before = CONTENT[::-1]
        transport.write(before)
        with open(path, "rb") as file:
            task = env.loop.create_task(env.loop.sendfile(transport, file))
            reading = env.start_thread(peer.read_exactly, len(before) + len(CONTENT) + 3)
            assert await task == len(CONTENT)
        transport.write(b"end")
        assert_same(await reading, before + CONTENT + b"end")

    env.run(main())


def test_a_file_truncated_meanwhile_ends_with_what_was_sent(env, path):
    """T37: the result says how much that was; the transport goes on."""
    async def main():
        sender = Recorder()
        with open(path, "rb") as file:
            transport, peer, task = await start(env, sender, file)
            os.truncate(path, 700000)
            reading = env.start_thread(peer.read_to_end)
            sent = await task
            assert 0 < sent < len(CONTENT)
            assert file.tell() == sent
        transport.close()
        data = await reading
        peer.close()
        assert len(data) == sent
        # The kernel may have had pages in its hands that are empty now.
        assert_same(data[:700000], CONTENT[:min(sent, 700000)])
        assert await sender.lost() is None

    env.run(main())


def test_objects_that_are_no_files_of_the_system(env):
    """T37: what has read() and readinto() is read."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        file = io.BytesIO(CONTENT)
        assert await env.loop.sendfile(transport, file) == len(CONTENT)
        assert file.tell() == len(CONTENT)
        assert await env.loop.sendfile(transport, file, 100, 1000) == 1000
        assert file.tell() == 1100
        transport.write(b"end")
        await receiver.received(len(CONTENT) + 1003)
        assert_same(receiver.data, CONTENT + CONTENT[100:1100] + b"end")

    env.run(main())


@tls_only
def test_a_file_object_that_is_not_what_its_descriptor_says(env, tmp_path):
    """GzipFile: what is sent is what read() gives, not what is on the disk."""
    with gzip.open(tmp_path / "file.gz", "wb", 1) as file:
        file.write(CONTENT)

    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        with gzip.open(tmp_path / "file.gz", "rb") as file:
            assert await env.loop.sendfile(transport, file) == len(CONTENT)
        transport.write(b"end")
        await receiver.received(len(CONTENT) + 3)
        assert_same(receiver.data, CONTENT + b"end")

    env.run(main())


@improvement("it moves the position of a pipe, or sends nothing")
def test_a_pipe_is_read_to_its_end(env):
    """Descriptors that have no positions."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        readable, writable = os.pipe()
        os.write(writable, b"through a pipe")
        os.close(writable)
        with open(readable, "rb", 0) as file:
            assert await env.loop.sendfile(transport, file) == 14
        await receiver.received(14)
        assert receiver.data == b"through a pipe"

    env.run(main())


@improvement("it does not look into the buffer of the file object", kinds=("tcp", "unix"))
def test_what_the_file_object_has_not_written_yet_is_sent(env, tmp_path):
    """A file that was just written, and not flushed."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        with open(tmp_path / "new", "w+b") as file:
            file.write(b"not flushed")
            assert await env.loop.sendfile(transport, file, 4) == 7
        await receiver.received(7)
        assert receiver.data == b"flushed"

    env.run(main())


# What is refused

@improvement("its TLS checks no arguments", kinds=TLS)
@pytest.mark.parametrize("args, error, text", (
    ((0, 0), ValueError, r"count must be a positive integer \(got 0\)"),
    ((0, -1), ValueError, r"count must be a positive integer \(got -1\)"),
    ((0, 1.0), TypeError, r"count must be a positive integer \(got 1.0\)"),
    ((-1,), ValueError, r"offset must be a non-negative integer \(got -1\)"),
    (("1",), TypeError, r"offset must be a non-negative integer \(got '1'\)"),
))
def test_arguments_that_make_no_sense(env, path, args, error, text):
    """T52: asyncio's exceptions with its texts, and the transport is as before."""
    async def main():
        transport = await env.pair(Recorder(), Recorder())
        with open(path, "rb") as file:
            file.seek(3)
            with pytest.raises(error, match=text):
                await env.loop.sendfile(transport, file, *args)
            assert file.tell() == 3
        assert transport.is_reading()

    env.run(main())


@improvement("its TLS checks no arguments", kinds=TLS)
def test_a_text_file_is_refused(env, path):
    """T37."""
    async def main():
        transport = await env.pair(Recorder(), Recorder())
        with open(path, "r", encoding="latin-1") as file:
            with pytest.raises(ValueError, match="file should be opened in binary mode"):
                await env.loop.sendfile(transport, file)

    env.run(main())


def test_a_closing_transport_is_refused(env, path):
    """T52."""
    async def main():
        sender = Recorder()
        transport = await env.pair(Recorder(), sender)
        transport.close()
        with open(path, "rb") as file:
            with pytest.raises(RuntimeError, match="^Transport is closing$"):
                await env.loop.sendfile(transport, file, fallback=False)
        await sender.lost()

    env.run(main())


def by_kernel(env):
    """Can the kernel send a file?"""
    return not env.is_tls or env.is_ktls


def test_without_fallback_there_is_an_exception_where_the_kernel_cannot(env, path):
    """T37: TLS without the kernel's keys, and files that are none of the system."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        with open(path, "rb") as file:
            if by_kernel(env):
                assert await env.loop.sendfile(transport, file, 1, 10, fallback=False) == 10
                with pytest.raises(asyncio.SendfileNotAvailableError, match="not a regular file"):
                    await env.loop.sendfile(transport, io.BytesIO(b"x"), fallback=False)
                await receiver.received(10)
            else:
                # Stock's is a RuntimeError and no more.
                error = RuntimeError if env.is_stock else asyncio.SendfileNotAvailableError
                with pytest.raises(error, match="^fallback is disabled and native sendfile is not "
                                                "supported for transport <.*>$"):
                    await env.loop.sendfile(transport, file, fallback=False)
        assert transport.is_reading()
        transport.write(b"end")
        await until(lambda: receiver.data.endswith(b"end"))
        assert receiver.data == (CONTENT[1:11] + b"end" if by_kernel(env) else b"end")

    env.run(main())


@plain_only
def test_a_file_that_the_kernel_cannot_send_is_read(env):
    """Files of /proc: sendfile(2) says EINVAL for most."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        with open("/proc/self/cmdline", "rb") as file:
            expected = file.read(5)
            file.seek(0)
            assert await env.loop.sendfile(transport, file, 0, 5) == 5
        await receiver.received(5)
        assert receiver.data == expected

    env.run(main())


def test_the_transport_says_by_which_way_it_sends(env):
    """T37: `_sendfile_compatible`, which asyncio looks at."""
    async def main():
        transport = await env.pair(Recorder(), Recorder())
        mode = asyncio.constants._SendfileMode
        assert transport._sendfile_compatible is (
            mode.TRY_NATIVE if by_kernel(env) else mode.FALLBACK)

    env.run(main())


# Transports and loops

@pytest.mark.implementations("ours", "ours_uvloop")
@tcp_only
def test_a_transport_of_the_loop_is_left_to_the_loop(env, ours, path):
    """One that was there before patch_loop()."""
    async def main():
        loop = env.loop
        receiver = Recorder()
        server = await env.start_server(lambda: receiver)
        create = loop._aiofastnet.original("create_connection")
        transport, protocol = await create(Recorder, *server.sockets[0].getsockname())
        with open(path, "rb") as file:
            if env.is_uvloop:
                with pytest.raises(NotImplementedError):
                    await loop.sendfile(transport, file)
            else:
                assert await loop.sendfile(transport, file) == len(CONTENT)
                await receiver.received(len(CONTENT))
                assert_same(receiver.data, CONTENT)
        transport.close()
        await receiver.lost()
        server.close()
        await protocol.lost()

    env.run(main())


@pytest.mark.parametrize("make_loop", ("asyncio", "uvloop"))
def test_the_direct_function_on_a_loop_that_is_not_patched(ours, path, make_loop):
    """aiofastnet.sendfile(loop, transport, file)."""
    if make_loop == "uvloop":
        loop = pytest.importorskip("uvloop").new_event_loop()
    else:
        loop = asyncio.new_event_loop()

    async def main():
        receiver = Recorder()
        server = await ours.create_server(loop, lambda: receiver, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        transport, protocol = await ours.create_connection(loop, Recorder, *address)
        with open(path, "rb") as file:
            assert await ours.sendfile(loop, transport, file, fallback=False) == len(CONTENT)
        await receiver.received(len(CONTENT))
        assert_same(receiver.data, CONTENT)
        transport.close()
        await receiver.lost()
        await protocol.lost()
        server.close()
        await server.wait_closed()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
