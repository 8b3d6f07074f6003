# SPDX-License-Identifier: MIT
"""T37, T52: what may happen while loop.sendfile() is at work."""
import asyncio
import io

import pytest

from support.env import TLS
from support.files import CONTENT, narrow, path, start
from support.marks import improvement, plain_only, tls_only
from support.protocols import Recorder, assert_same, turns, until

BIG = 32 << 20


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
        # How much stock sends in a turn is what the kernel takes, which may be nearly all of it.
        assert env.is_stock or count > 16

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
