# SPDX-License-Identifier: MIT
"""T37, T52: loop.sendfile."""
import asyncio
import gzip
import io
import os
import socket

import pytest

from support.marks import improvement, plain_only, tcp_only, tls_only
from support.protocols import Recorder, assert_same, turns, until

TLS = ("tls12", "tls13", "pyengine")
CONTENT = b"".join(index.to_bytes(4, "big") for index in range(750000))
BIG = 32 << 20


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def narrow(transport):
    """Make the socket's buffer small, so that CONTENT does not fit into the kernel."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)


async def start(env, protocol, file, *args):
    """A transport whose peer does not read, the peer, and the task that sends to it."""
    transport, peer = await env.raw_server(protocol)
    narrow(transport)
    task = env.loop.create_task(env.loop.sendfile(transport, file, *args))
    await turns()
    assert not task.done()
    return transport, peer, task


# What is sent

@improvement("its TLS sends from the file's own position when the offset is 0", kinds=TLS)
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


def test_without_fallback_there_is_an_exception_where_the_kernel_cannot(env, path):
    """T37: TLS without the kernel's keys, and files that are none of the system."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        with open(path, "rb") as file:
            if not env.is_tls:
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
        assert receiver.data == (b"end" if env.is_tls else CONTENT[1:11] + b"end")

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
        assert transport._sendfile_compatible is (mode.FALLBACK if env.is_tls else mode.TRY_NATIVE)

    env.run(main())


# While it is sent

@plain_only
def test_writing_meanwhile_is_refused(env, path):
    """T52, until sendfile() has returned."""
    async def main():
        with open(path, "rb") as file:
            transport, peer, task = await start(env, Recorder(), file)
            for write, data in ((transport.write, b"x"), (transport.write, bytearray(b"x")),
                                (transport.writelines, [b"x", b"y"])):
                with pytest.raises(RuntimeError, match="unable to write.*; sendfile is in progress"):
                    write(data)
            with pytest.raises(TypeError):
                transport.write("x")
            reading = env.start_thread(peer.read_exactly, len(CONTENT) + 3)
            await task
            transport.write(b"end")
            assert_same(await reading, CONTENT + b"end")

    env.run(main())


@improvement("it writes into the middle of the file", kinds=TLS)
@tls_only
def test_what_is_written_meanwhile_comes_behind_the_file(env, path):
    """asyncio's TLS takes writes while a file is sent."""
    async def main():
        with open(path, "rb") as file:
            transport, peer, task = await start(env, Recorder(), file)
            transport.write(b"be")
            transport.writelines([b"hi", b"nd"])
            assert_same(await env.thread(peer.read_exactly, len(CONTENT) + 6),
                        CONTENT + b"behind")
            assert await task == len(CONTENT)

    env.run(main())


@improvement("the second one fails with a KeyError", kinds=("tcp", "unix"))
@improvement("both are mixed", kinds=TLS, run=False)
@pytest.mark.parametrize("make", (lambda path: open(path, "rb"), lambda path: io.BytesIO(CONTENT)))
def test_a_second_file_meanwhile_is_refused(env, path, make):
    """And the first one takes no harm."""
    async def main():
        with open(path, "rb") as file, make(path) as other:
            transport, peer, task = await start(env, Recorder(), file)
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                await env.loop.sendfile(transport, other)
            assert not transport.is_reading()
            assert_same(await env.thread(peer.read_exactly, len(CONTENT)), CONTENT)
            assert await task == len(CONTENT)
            assert transport.is_reading()

    env.run(main())


@pytest.mark.parametrize("paused", (False, True))
def test_nothing_is_received_meanwhile(env, path, paused):
    """Reading is paused, and goes on afterwards if it did before; the protocol is the same."""
    async def main():
        sender = Recorder()
        with open(path, "rb") as file:
            transport, peer = await env.raw_server(sender)
            narrow(transport)
            if paused:
                transport.pause_reading()
            task = env.loop.create_task(env.loop.sendfile(transport, file))
            await turns()
            await env.thread(peer.send, b"meanwhile")
            await turns()
            assert sender.data == b""
            assert not transport.is_reading()
            assert_same(await env.thread(peer.read_exactly, len(CONTENT)), CONTENT)
            assert await task == len(CONTENT)
        assert transport.get_protocol() is sender
        assert transport.is_reading() is not paused
        if paused:
            await turns()
            assert sender.data == b""
            transport.resume_reading()
        await sender.received(9)
        assert sender.data == b"meanwhile"

    env.run(main())


@improvement("its TLS resumes writing twice", kinds=TLS)
def test_a_paused_protocol_resumes_once(env, path):
    """What was written before is above the high-water mark when the file comes."""
    async def main():
        sender = Recorder()
        transport, peer = await env.raw_server(sender)
        narrow(transport)
        transport.write(CONTENT)
        assert sender.events == ["made", "pause"]
        with open(path, "rb") as file:
            task = env.loop.create_task(env.loop.sendfile(transport, file))
            await turns()
            assert_same(await env.thread(peer.read_exactly, 2 * len(CONTENT)), 2 * CONTENT)
            assert await task == len(CONTENT)
        await turns()
        assert sender.events == ["made", "pause", "resume"]

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_a_file_takes_no_memory(env, tmp_path):
    """Its bytes wait in the file, not in the transport."""
    path = tmp_path / "big"
    with open(path, "wb") as file:
        file.truncate(1 << 34)

    async def main():
        with open(path, "rb") as file:
            transport, peer, task = await start(env, Recorder(), file)
            await turns(100)
            assert transport.get_write_buffer_size() <= 300000
            transport.abort()
            with pytest.raises(ConnectionError):
                await task

    env.run(main())


def test_a_big_file_starves_nobody(env, tmp_path):
    """T32: the loop turns while it is sent as fast as the peer reads."""
    path = tmp_path / "big"
    with open(path, "wb") as file:
        file.truncate(BIG)

    def read_all(peer):
        left = BIG
        while left > 0:
            left -= len(peer.recv(1 << 18))

    async def main():
        transport, peer = await env.raw_server(Recorder())
        count = 0
        with open(path, "rb") as file:
            reading = env.start_thread(read_all, peer)
            task = env.loop.create_task(env.loop.sendfile(transport, file))
            while not task.done():
                count += 1
                await asyncio.sleep(0)
            assert await task == BIG
        await reading
        assert count > 16

    env.run(main())


@improvement("it sends what the number of the file's descriptor stands for by then",
             kinds=("tcp", "unix"))
@improvement("it fails", kinds=TLS, run=False)
def test_a_file_that_is_closed_meanwhile_is_sent(env, path, tmp_path):
    """T23: never bytes of another file that has its number now."""
    async def main():
        file = open(path, "rb")
        transport, peer, task = await start(env, Recorder(), file)
        number = file.fileno()
        file.close()
        with open(tmp_path / "secret", "w+b") as other:
            other.write(b"secret" * 1000000)
            other.flush()
            assert other.fileno() == number
            assert_same(await env.thread(peer.read_exactly, len(CONTENT)), CONTENT)
            with pytest.raises(ValueError, match="closed file"):
                await task

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
@plain_only
def test_start_tls_meanwhile_is_refused(env, path):
    """And the file takes no harm."""
    async def main():
        sender = Recorder()
        with open(path, "rb") as file:
            transport, peer, task = await start(env, sender, file)
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                await env.loop.start_tls(transport, sender, env.certs.client_context(),
                                         server_hostname="localhost")
            assert_same(await env.thread(peer.read_exactly, len(CONTENT)), CONTENT)
            assert await task == len(CONTENT)

    env.run(main())


# How it ends otherwise

def test_cancelled_before_it_began(env, path):
    """T37: nothing is sent, nothing is left paused."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        with open(path, "rb") as file:
            task = env.loop.create_task(env.loop.sendfile(transport, file))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert transport.is_reading()
        transport.write(b"end")
        await receiver.received(3)
        assert receiver.data == b"end"

    env.run(main())


@improvement("it does not move the file's position then", kinds=("tcp", "unix"))
@improvement("a thread still moves the file's position", kinds=TLS, always=False)
@pytest.mark.parametrize("args", ((), (1000,), (1000, 2900000)))
def test_cancelled_while_it_is_sent(env, path, args):
    """T37: the position says how much was sent, and the transport goes on."""
    async def main():
        sender = Recorder()
        with open(path, "rb") as file:
            transport, peer, task = await start(env, sender, file, *args)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            offset = args[0] if args else 0
            end = file.tell()
            assert offset < end < len(CONTENT)
        assert transport.is_reading()
        assert transport.get_protocol() is sender
        transport.write(b"end")
        assert_same(await env.thread(peer.read_exactly, end - offset + 3),
                    CONTENT[offset:end] + b"end")
        await env.thread(peer.send, b"alive")
        await sender.received(5)

    env.run(main())


@improvement("a thread still moves the file's position", kinds=TLS, always=False)
def test_cancelled_at_every_turn(env, path):
    """T37: whatever was sent, the transport is usable and nothing is lost."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        sent = b""
        with open(path, "rb") as file:
            for count in range(12):
                task = env.loop.create_task(env.loop.sendfile(transport, file, 0, 300000))
                await turns(count)
                task.cancel()
                try:
                    await task
                except asyncio.CancelledError:
                    pass
                await turns()
                assert transport.is_reading()
                transport.write(b"|%d|" % count)
                await until(lambda: receiver.data.endswith(b"|%d|" % count))
        parts = bytes(receiver.data)
        for count in range(12):
            part, mark, parts = parts.partition(b"|%d|" % count)
            assert mark
            assert_same(part, CONTENT[:len(part)])

    env.run(main())


@improvement("it closes the socket under the file, or fails", kinds=("tcp", "unix"), always=False,
             run=False)
@improvement("it sends no more", kinds=TLS)
def test_close_waits_for_the_file(env, path):
    """The file is part of what close() flushes."""
    async def main():
        sender = Recorder()
        with open(path, "rb") as file:
            transport, peer, task = await start(env, sender, file)
            transport.close()
            assert transport.is_closing()
            assert_same(await env.thread(peer.read_to_end), CONTENT)
            peer.close()
            assert await task == len(CONTENT)
        assert await sender.lost() is None
        assert sender.course == ["made", "lost"]

    env.run(main())


@improvement("it waits for ever, as the socket is closed under it", kinds=("tcp", "unix"),
             run=False)
def test_abort_ends_it(env, path):
    """With an exception, and the position says how much was sent."""
    async def main():
        sender = Recorder()
        with open(path, "rb") as file:
            transport, peer, task = await start(env, sender, file)
            transport.abort()
            with pytest.raises(ConnectionError):
                await task
            assert 0 < file.tell() < len(CONTENT)
        assert await sender.lost() is None
        assert sender.course == ["made", "lost"]

    env.run(main())


@pytest.mark.parametrize("make", (lambda path: open(path, "rb"), lambda path: io.BytesIO(CONTENT)))
def test_a_peer_that_is_gone_ends_it(env, path, make):
    """An exception here, and connection_lost() once."""
    async def main():
        sender = Recorder()
        with make(path) as file:
            transport, peer, task = await start(env, sender, file)
            peer.reset()
            with pytest.raises(ConnectionError):
                await task
        await until(transport.is_closing)
        await sender.lost()
        assert sender.course[-1:] == ["lost"]
        assert sender.events.count("lost") == 1

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_a_loop_that_is_closed_meanwhile(env, path):
    """T23: nothing happens any more, and the descriptors are closed."""
    async def main():
        file = open(path, "rb")
        transport, peer, task = await start(env, Recorder(), file)
        return file, task

    def drive(loop):
        file, task = loop.run_until_complete(main())
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        file.close()

    env.drive(drive)


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
