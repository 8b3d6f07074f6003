# SPDX-License-Identifier: MIT
"""Pipe transports as objects: what they are, whom they belong to, how they end."""
import asyncio
import contextvars
import gc
import os
import pty
import tty
import warnings

import pytest

from support.env import make_loop, open_fds
from support.marks import improvement
from support.pipes import BYTES, connect_reader, connect_writer, make_ends
from support.protocols import Recorder, assert_same, turns, until

# The kind of the fixture is that of sockets: these tests bring their own.
pytestmark = pytest.mark.kinds("unix")


@pytest.mark.parametrize("connect", (connect_reader, connect_writer))
def test_pipe_transports_are_what_asyncio_calls_them(env, connect):
    """T49: isinstance, the interface, extra info before and after the end."""
    async def main():
        ends = make_ends(env, "pipe")
        file, other = ends if connect is connect_reader else ends[::-1]
        kind = asyncio.ReadTransport if connect is connect_reader else asyncio.WriteTransport
        transport, protocol = await connect(env, file)
        assert isinstance(transport, kind)
        # asyncio's writing one is one because it has the methods of flow control from there.
        assert isinstance(transport, asyncio.Transport) == (connect is connect_writer)
        for name in dir(kind):
            if not name.startswith("_"):
                assert callable(getattr(transport, name)), name
        assert transport.get_extra_info("pipe") is file
        for name in ("socket", "peername", "sockname", "sslcontext", "unknown"):
            assert transport.get_extra_info(name) is None
            assert transport.get_extra_info(name, 7) == 7
        assert (transport.get_extra_info("aiofastnet") is None) is env.is_stock
        assert transport.get_protocol() is protocol
        assert not os.get_blocking(file.fileno())
        {transport: 1}
        transport.close()
        await protocol.lost()
        await turns()
        assert transport.get_extra_info("pipe") is file and file.closed
        other.close()

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_pipe_transports_of_ours_in_detail(env):
    """Every method is our own, no direct construction, a repr of each state, debug or not."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        reading, first = await connect_reader(env, reader)
        writing, second = await connect_writer(env, writer)
        for transport, base in ((reading, asyncio.ReadTransport),
                                (writing, asyncio.WriteTransport)):
            for name in dir(base):
                if not name.startswith("_") and name not in ("writelines", "get_extra_info"):
                    assert getattr(type(transport), name) is not getattr(base, name), name
            with pytest.raises(TypeError):
                type(transport)()
        assert repr(reading) == "<ReadPipeTransport fd=%d polling>" % reader.fileno()
        assert reading.is_reading()
        reading.pause_reading()
        assert repr(reading) == "<ReadPipeTransport fd=%d idle>" % reader.fileno()
        assert not reading.is_reading()
        assert repr(writing) == "<WritePipeTransport fd=%d idle bufsize=0>" % writer.fileno()
        writing.write(BYTES)
        size = writing.get_write_buffer_size()
        writing.close()
        number = writer.fileno()
        assert repr(writing) == "<WritePipeTransport closing fd=%d polling bufsize=%d>" % (
            number, size)
        writing.abort()
        reading.close()
        await first.lost()
        await second.lost()
        assert repr(writing) == "<WritePipeTransport closed fd=%d>" % number

    env.run(main())
    env.run(main(), debug=True)


@pytest.mark.parametrize("connect, message", (
    (connect_reader, "Pipe transport is for pipes/sockets only."),
    (connect_writer, "Pipe transport is only for pipes, sockets and character devices"),
))
def test_files_are_refused(env, connect, message):
    """A regular file and a directory; they stay open and blocking, and nothing was called."""
    async def main():
        protocol = Recorder()
        path = env.new_path()
        with open(path, "w+b") as file:
            with pytest.raises(ValueError) as caught:
                await connect(env, file, protocol)
            assert str(caught.value) == message
            assert os.get_blocking(file.fileno())
        directory = os.open(env.directory, os.O_RDONLY)
        with pytest.raises(ValueError):
            await connect(env, Directory(directory), protocol)
        os.close(directory)
        if not env.is_stock:        # whose half-made transport fails once more in its __del__()
            # Nobody could close a mere number afterwards: it stays its owner's.
            for thing in (object(), 0):
                with pytest.raises(AttributeError, match="object has no attribute 'fileno'"):
                    await connect(env, thing, protocol)
            with pytest.raises(ValueError):
                await connect(env, Directory(-1), protocol)
        await turns()
        assert protocol.events == []

    class Directory:
        def __init__(self, fd):
            self.fd = fd

        def fileno(self):
            return self.fd

    env.run(main())


def test_set_protocol_of_pipes(env):
    """From set_protocol() on the other one is called."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        reading, old = await connect_reader(env, reader)
        writing, _ = await connect_writer(env, writer)
        new = Recorder()
        new.connection_made(reading)
        reading.set_protocol(new)
        assert reading.get_protocol() is new
        writing.write(b"hello")
        await new.received(5)
        writing.close()
        await new.lost()
        assert old.events == ["made"]
        old.is_lost = True      # for the clean-up

    env.run(main())


def test_one_terminal_for_both_directions(env):
    """One descriptor, read by one transport and written by another."""
    async def main():
        master, slave = pty.openpty()
        tty.setraw(slave)
        file = open(slave, "r+b", 0)
        reading, reader = await connect_reader(env, file)
        writing, writer = await connect_writer(env, file)
        writing.write(b"out")
        assert await env.thread(os.read, master, 10) == b"out"
        os.write(master, b"in")
        assert await reader.received(2) == b"in"
        writing.write(b"again")
        assert await env.thread(os.read, master, 10) == b"again"
        reading.close()
        await reader.lost()
        # The first to end closes the file, as ever.
        await until(lambda: file.closed)
        writing.abort()
        await writer.lost()
        os.close(master)

    env.run(main())


def test_writing_to_a_device_that_is_always_ready(env):
    """/dev/null, which a daemon has for standard output."""
    async def main():
        transport, protocol = await connect_writer(env, open(os.devnull, "wb", 0))
        transport.write(BYTES)
        assert transport.get_write_buffer_size() == 0
        await turns()
        transport.close()
        assert await protocol.lost() is None

    env.run(main())


@improvement("the loop cannot watch it, and the transport never ends")
def test_reading_from_a_device_that_is_always_ready(env):
    """/dev/null, which a daemon has for standard input."""
    async def main():
        transport, protocol = await connect_reader(env, open(os.devnull, "rb", 0))
        await turns(100)
        assert protocol.events == ["made", "eof", "lost"]
        assert protocol.exception is None

    env.run(main())


def test_pipe_transports_run_in_their_context(env):
    """T34: the context of the caller of connect_*(), and of close() for the loss."""
    async def main():
        variable = contextvars.ContextVar("variable", default="none")
        seen = {}
        reader, writer = make_ends(env, "pipe")
        hooks = {name: lambda *_, name=name: seen.setdefault(name, variable.get())
                 for name in ("made", "data", "eof", "lost")}

        variable.set("connecting")
        transport, protocol = await connect_reader(env, reader, Recorder(**hooks))
        variable.set("later")
        os.write(writer.fileno(), b"x")
        await protocol.received(1)
        variable.set("closing")
        transport.close()
        await protocol.lost()
        assert seen == {"made": "connecting", "data": "connecting", "lost": "closing"}
        writer.close()

    env.run(main())


def test_descriptor_of_a_pipe_is_closed_once(env):
    """T23: the number belongs to somebody else afterwards, whatever is done to the transport."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        number = writer.fileno()
        transport, protocol = await connect_writer(env, writer)
        transport.close()
        await protocol.lost()
        await until(lambda: writer.closed)
        assert writer.closes == 1
        again = os.open(os.devnull, os.O_RDONLY)
        if again != number:
            os.dup2(again, number)
            os.close(again)
        transport.close()
        if not env.is_stock:        # whose abort() fails then
            transport.abort()
        transport.write(b"x")
        del transport
        protocol.transport = None
        gc.collect()
        await turns()
        os.fstat(number)
        os.close(number)
        reader.close()

    env.run(main())


@pytest.mark.parametrize("side", (0, 1))
def test_abandoned_pipe_transport_warns_and_closes(env, side):
    """T36: one ResourceWarning, and no descriptor is left, when the loop is closed."""
    async def main():
        ends = make_ends(env, "pipe")
        protocol = asyncio.Protocol()
        if side == 0:
            transport, _ = await env.loop.connect_read_pipe(lambda: protocol, ends[0])
        else:
            transport, _ = await env.loop.connect_write_pipe(lambda: protocol, ends[1])
        assert not transport.is_closing()
        return ends[1 - side]

    before = open_fds()
    loop = env.loop = make_loop(env.implementation)
    other = loop.run_until_complete(main())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.close()
        del loop
        env.loop = None
        gc.collect()
    other.close()
    messages = [str(warning.message) for warning in caught
                if "unclosed transport" in str(warning.message)]
    assert len(messages) == 1, messages
    assert open_fds() == before


def test_pipe_stays_open_when_the_loop_is_closed(env):
    """Standard output is written to after asyncio.run(); the transport's end closes it."""
    loop = make_loop(env.implementation)
    reader, writer = make_ends(env, "pipe")
    transport, _ = loop.run_until_complete(loop.connect_write_pipe(asyncio.Protocol, writer))
    loop.close()
    assert not writer.closed
    writer.write(b"after")
    assert reader.read(100) == b"after"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del transport, loop
        gc.collect()
    assert writer.closed and writer.closes == 1
    reader.close()


def test_pipe_transports_take_attributes(env):
    """What tests do with mocks: another method in the place of the transport's."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        transport, protocol = await connect_reader(env, reader)
        calls = []
        transport.pause_reading = lambda: calls.append("pause")
        transport.note = transport      # a cycle for the collector
        transport.pause_reading()
        assert calls == ["pause"]
        del transport.pause_reading
        writer.close()
        await protocol.lost()

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_pipe_methods_from_another_thread_are_refused(env):
    """T35, T55: what changes a transport belongs to the loop's thread; looking does not."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        reading, first = await connect_reader(env, reader)
        writing, second = await connect_writer(env, writer)

        def body():
            for call in (reading.pause_reading, reading.close, writing.close, writing.abort,
                         writing.write_eof, lambda: writing.write(b"x"),
                         lambda: writing.set_write_buffer_limits(1)):
                with pytest.raises(RuntimeError):
                    call()
            assert not writing.is_closing() and reading.is_reading()
            assert "Pipe" in repr(reading) + repr(writing)
            assert reading.get_extra_info("pipe") is reader
            assert writing.get_write_buffer_size() == 0

        await env.thread(body)
        writing.close()
        await first.lost()
        await second.lost()

    env.run(main())


def test_streams_on_pipes(env):
    """StreamReader and StreamWriter, with backpressure both ways."""
    async def main():
        reader_file, writer_file = make_ends(env, "pipe")
        reader = asyncio.StreamReader(limit=1000)
        await env.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), reader_file)
        transport, protocol = await env.loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), writer_file)
        writer = asyncio.StreamWriter(transport, protocol, None, env.loop)

        async def produce():
            for start in range(0, len(BYTES), 50000):
                writer.write(BYTES[start:start + 50000])
                await writer.drain()
            writer.close()
            await writer.wait_closed()

        producing = env.loop.create_task(produce())
        assert_same(await reader.read(), BYTES)
        await producing

    env.run(main())
