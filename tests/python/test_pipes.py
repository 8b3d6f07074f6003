# SPDX-License-Identifier: MIT
"""Transports of pipes: FIFOs, sockets, terminals and other devices, and subprocesses."""
import asyncio
import contextvars
import errno
import gc
import io
import logging
import os
import pty
import socket
import subprocess
import sys
import tty
import warnings

import pytest

from support.env import make_loop, open_fds
from support.marks import improvement
from support.protocols import Recorder, assert_same, turns, until

# The kind of the fixture is that of sockets: these tests bring their own.
pytestmark = pytest.mark.kinds("unix")

PIPES = ("pipe", "fifo", "socket", "terminal")
HANG_UP = ("pipe", "fifo", "socket")        # where a writer is told that the reader is gone
BYTES = bytes(range(251)) * 8000            # more than any of them holds


class Counted(io.FileIO):
    """A file that counts how often it was closed; the first time is the real one."""

    closes = 0

    def close(self):
        self.closes += 1
        super().close()


def make_ends(env, what):
    """Two files, unbuffered: what is written to the second is read from the first."""
    if what == "socket":
        return socket.socketpair()
    if what == "terminal":
        master, slave = pty.openpty()
        tty.setraw(slave)
        return Counted(master, "rb"), Counted(slave, "wb")
    if what == "fifo":
        path = env.new_path()
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return Counted(reader, "rb"), Counted(os.open(path, os.O_WRONLY), "wb")
    reader, writer = os.pipe()
    return Counted(reader, "rb"), Counted(writer, "wb")


def is_open(file):
    return file.fileno() >= 0 if isinstance(file, socket.socket) else not file.closed


def read_exactly(file, count):
    """Blocking; less only at the end."""
    os.set_blocking(file.fileno(), True)
    data = b""
    while len(data) < count:
        piece = os.read(file.fileno(), count - len(data))
        if not piece:
            break
        data += piece
    return data


async def connect_reader(env, file, protocol=None):
    protocol = protocol or Recorder()
    transport, same = await env.loop.connect_read_pipe(lambda: protocol, file)
    assert same is protocol
    return transport, protocol


async def connect_writer(env, file, protocol=None):
    protocol = protocol or Recorder()
    transport, same = await env.loop.connect_write_pipe(lambda: protocol, file)
    assert same is protocol
    return transport, protocol


# Reading


@pytest.mark.parametrize("what", HANG_UP)
def test_read_pipe_delivers_data_and_the_end(env, what):
    """made, data, eof, lost(None), and then the pipe is closed, once."""
    async def main():
        reader, writer = make_ends(env, what)
        protocol = Recorder(eof=lambda *_: True)
        transport, _ = await connect_reader(env, reader, protocol)
        assert protocol.events == ["made"]
        os.write(writer.fileno(), b"hello")
        await protocol.received(5)
        assert not transport.is_closing()
        writer.close()
        assert await protocol.lost() is None
        assert protocol.events == ["made", "data", "eof", "lost"]
        assert transport.is_closing()
        await until(lambda: not is_open(reader))
        if what != "socket":
            assert reader.closes == 1

    env.run(main())


@pytest.mark.parametrize("what", PIPES)
def test_read_pipe_receives_every_byte(env, what):
    """More than the pipe holds, compared."""
    async def main():
        reader, writer = make_ends(env, what)
        transport, protocol = await connect_reader(env, reader)
        sending = env.start_thread(send_all, writer, BYTES)
        await protocol.received(len(BYTES))
        assert_same(protocol.data, BYTES)
        await sending
        transport.close()
        await protocol.lost()
        writer.close()

    def send_all(file, data):
        os.set_blocking(file.fileno(), True)
        view = memoryview(data)
        while view:
            view = view[os.write(file.fileno(), view):]

    env.run(main())


@pytest.mark.parametrize("what", PIPES)
def test_read_pipe_is_paused_and_resumed(env, what):
    """Nothing comes between pause_reading() and resume_reading(), and nothing is lost."""
    async def main():
        reader, writer = make_ends(env, what)
        transport, protocol = await connect_reader(env, reader)
        transport.pause_reading()
        transport.pause_reading()
        os.write(writer.fileno(), b"later")
        await turns()
        assert protocol.events == ["made"]
        transport.resume_reading()
        transport.resume_reading()
        assert await protocol.received(5) == b"later"
        transport.close()
        await protocol.lost()
        transport.pause_reading()
        transport.resume_reading()
        writer.close()

    env.run(main())


@improvement("reading begins whatever connection_made() has asked for", before=(3, 12))
def test_read_pipe_is_paused_in_connection_made(env):
    """T19: pause_reading() in connection_made()."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        os.write(writer.fileno(), b"later")
        protocol = Recorder(made=lambda protocol, transport: transport.pause_reading())
        transport, _ = await connect_reader(env, reader, protocol)
        await turns()
        assert protocol.events == ["made"]
        transport.resume_reading()
        assert await protocol.received(5) == b"later"
        writer.close()
        await protocol.lost()

    env.run(main())


@pytest.mark.parametrize("what", PIPES)
def test_read_pipe_closed_by_the_program(env, what):
    """close(): no eof, lost(None) later, no data any more; a second close() is nothing."""
    async def main():
        reader, writer = make_ends(env, what)
        transport, protocol = await connect_reader(env, reader)
        os.write(writer.fileno(), b"unread")
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert protocol.events == ["made"]
        assert await protocol.lost() is None
        assert protocol.events == ["made", "lost"]
        transport.close()
        await until(lambda: not is_open(reader))
        writer.close()

    env.run(main())


def test_read_pipe_of_a_terminal_that_hangs_up(env):
    """The error of a terminal whose other end is gone is told, and is no accident."""
    async def main():
        reader, writer = make_ends(env, "terminal")
        transport, protocol = await connect_reader(env, reader)
        os.write(writer.fileno(), b"bye")
        await protocol.received(3)
        writer.close()
        error = await protocol.lost()
        assert type(error) is OSError and error.errno == errno.EIO
        assert protocol.events == ["made", "data", "lost"]

    env.run(main())


def test_fifo_without_a_writer_is_not_at_its_end(env):
    """A FIFO is opened before anybody writes to it."""
    async def main():
        path = env.new_path()
        os.mkfifo(path)
        reader = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0)
        transport, protocol = await connect_reader(env, reader)
        await turns()
        assert protocol.events == ["made"]
        with open(path, "wb", 0) as writer:
            writer.write(b"first")
        assert await protocol.lost() is None
        assert protocol.data == b"first"

    env.run(main())


@pytest.mark.parametrize("callback", ("data", "eof"))
def test_read_pipe_outlives_an_exception(env, callback):
    """An exception of the protocol is reported; the transport goes on."""
    async def main():
        def fail(*_):
            raise ZeroDivisionError(callback)

        reader, writer = make_ends(env, "pipe")
        transport, protocol = await connect_reader(env, reader, Recorder(**{callback: fail}))
        os.write(writer.fileno(), b"one")
        await protocol.received(3)
        os.write(writer.fileno(), b"two")
        await protocol.received(6)
        writer.close()
        assert await protocol.lost() is None
        assert protocol.events == ["made", "data", "eof", "lost"]
        contexts = env.take_exceptions()
        assert len(contexts) == (2 if callback == "data" else 1)
        for context in contexts:
            assert isinstance(context["exception"], ZeroDivisionError)

    env.run(main())


@pytest.mark.parametrize("interrupt", (KeyboardInterrupt, SystemExit))
def test_read_pipe_lets_interrupts_through(env, interrupt):
    """T33: KeyboardInterrupt and SystemExit leave the loop, and it goes on afterwards."""
    def body(loop):
        reader, writer = make_ends(env, "pipe")

        def stop(protocol, data):
            if data == b"stop":
                raise interrupt

        protocol = Recorder(data=stop)
        loop.run_until_complete(connect_reader(env, reader, protocol))
        os.write(writer.fileno(), b"stop")
        with pytest.raises(interrupt):
            loop.run_forever()
        os.write(writer.fileno(), b"more")
        loop.run_until_complete(protocol.received(8))
        writer.close()
        loop.run_until_complete(protocol.lost())

    env.drive(body)


# Writing


@pytest.mark.parametrize("what", PIPES)
def test_write_pipe_flushes_before_it_closes(env, what):
    """close() after a long write: every byte arrives; flow control on the way."""
    async def main():
        reader, writer = make_ends(env, what)
        transport, protocol = await connect_writer(env, writer)
        transport.write(BYTES)
        assert protocol.events == ["made", "pause"]
        assert transport.get_write_buffer_size() > 0
        transport.close()
        transport.close()
        assert transport.is_closing() and is_open(writer)
        assert_same(await env.thread(read_exactly, reader, len(BYTES)), BYTES)
        assert await protocol.lost() is None
        assert "eof" not in protocol.events
        await until(lambda: not is_open(writer))
        reader.close()

    env.run(main())


@pytest.mark.parametrize("what", PIPES)
def test_write_pipe_keeps_order_and_resumes(env, what):
    """Many writes of all types; resume_writing() when the reader has caught up."""
    async def main():
        reader, writer = make_ends(env, what)
        transport, protocol = await connect_writer(env, writer)
        expected = b""
        for number in range(3000):
            part = b"%d;" % number * 30
            transport.write((bytes, bytearray, memoryview)[number % 3](part))
            expected += part
        transport.writelines([b"the", bytearray(b""), memoryview(b"end")])
        transport.write(b"")
        expected += b"theend"
        assert_same(await env.thread(read_exactly, reader, len(expected)), expected)
        await protocol.seen("resume")
        assert protocol.events == ["made", "pause", "resume"]
        assert transport.get_write_buffer_size() == 0
        transport.close()
        await protocol.lost()
        reader.close()

    env.run(main())


def test_write_pipe_keeps_the_bytes_of_the_moment(env):
    """T10: a bytearray that is changed after write()."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        transport, protocol = await connect_writer(env, writer)
        transport.write(BYTES)
        changing = bytearray(b"a" * 50000)
        transport.write(changing)
        changing[:] = b"b" * 50000
        transport.close()
        assert_same(await env.thread(read_exactly, reader, 10 ** 9), BYTES + b"a" * 50000)
        await protocol.lost()
        reader.close()

    env.run(main())


@pytest.mark.parametrize("what", HANG_UP)
def test_write_pipe_notices_that_the_reader_is_gone(env, what):
    """lost(None) without anything being written."""
    async def main():
        reader, writer = make_ends(env, what)
        transport, protocol = await connect_writer(env, writer)
        transport.write(b"fine")
        await turns()
        assert protocol.events == ["made"]
        reader.close()
        error = await protocol.lost()
        # A socket whose peer left something unread is reset.
        assert error is None or what == "socket" and isinstance(error, ConnectionError)
        assert transport.is_closing()
        await until(lambda: not is_open(writer))

    env.run(main())


@pytest.mark.parametrize("what", HANG_UP)
def test_write_pipe_loses_its_reader_with_bytes_queued(env, what):
    """lost(BrokenPipeError), the same while it is closing."""
    async def main():
        for closes in (False, True):
            reader, writer = make_ends(env, what)
            transport, protocol = await connect_writer(env, writer)
            transport.write(BYTES)
            await turns()
            if closes:
                transport.close()
            reader.close()
            error = await protocol.lost()
            assert isinstance(error, (BrokenPipeError, ConnectionResetError)
                              if what == "socket" else BrokenPipeError)
            assert transport.get_write_buffer_size() == 0

    env.run(main())


@pytest.mark.parametrize("what", HANG_UP)
def test_write_to_a_pipe_whose_reader_is_gone(env, what):
    """The error of the write is told by connection_lost(), and by nobody else."""
    async def main():
        reader, writer = make_ends(env, what)
        transport, protocol = await connect_writer(env, writer)
        reader.close()
        transport.write(b"to nobody")
        assert transport.is_closing()
        assert protocol.events == ["made"]
        error = await protocol.lost()
        assert type(error) is BrokenPipeError and error.errno == errno.EPIPE

    env.run(main())


@improvement("what the other end sends closes the writing transport")
def test_write_pipe_of_a_socket_may_receive(env):
    """A socket that is read elsewhere, as standard input and output often are one."""
    async def main():
        peer, sock = socket.socketpair()
        transport, protocol = await connect_writer(env, sock)
        peer.send(b"unread")
        await turns()
        assert protocol.events == ["made"]
        transport.write(b"still there")
        assert await env.thread(read_exactly, peer, 11) == b"still there"
        peer.close()
        await protocol.lost()

    env.run(main())


def test_write_eof_of_a_pipe_closes_it(env):
    """write_eof() is close(): there is no other direction."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        transport, protocol = await connect_writer(env, writer)
        assert transport.can_write_eof() is True
        transport.write(BYTES)
        transport.write_eof()
        transport.write_eof()
        assert transport.is_closing()
        transport.write(b"dropped")
        assert_same(await env.thread(read_exactly, reader, 10 ** 9), BYTES)
        assert await protocol.lost() is None
        reader.close()

    env.run(main())


def test_write_after_close_is_dropped_with_a_warning(env, caplog):
    """T22: five are forgiven."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        transport, protocol = await connect_writer(env, writer)
        reader.close()
        await protocol.lost()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(4):
                transport.write(b"x")
            assert not caplog.records
            for _ in range(3):
                transport.write(b"x")
        assert {record.getMessage() for record in caplog.records} == {
            "pipe closed by peer or os.write(pipe, data) raised exception."}

    env.run(main())


def test_abort_of_a_write_pipe_drops_what_is_queued(env):
    """abort(): lost(None) with a queue that nobody reads; after close(), too."""
    async def main():
        for closes in (False, True):
            reader, writer = make_ends(env, "pipe")
            transport, protocol = await connect_writer(env, writer)
            transport.write(BYTES)
            if closes:
                transport.close()
            transport.abort()
            assert transport.is_closing()
            assert await protocol.lost() is None
            await until(lambda: not is_open(writer))
            assert len(await env.thread(read_exactly, reader, 10 ** 9)) < len(BYTES)
            reader.close()

    env.run(main())


def test_write_limits_of_a_pipe(env):
    """The defaults, other ones, and those that make no sense."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        transport, protocol = await connect_writer(env, writer)
        assert transport.get_write_buffer_limits() == (16384, 65536)
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.set_write_buffer_limits(low=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        with pytest.raises(ValueError):
            transport.set_write_buffer_limits(high=1, low=2)
        transport.write(b"fits")
        assert protocol.events == ["made"]
        transport.write(BYTES)
        assert protocol.events == ["made", "pause"]
        transport.abort()
        await protocol.lost()
        reader.close()

    env.run(main())


@pytest.mark.parametrize("data", ("text", None, 3, [b"list"]))
def test_write_pipe_refuses_what_is_no_bytes(env, data):
    """Stock asserts; the message is not the same."""
    async def main():
        reader, writer = make_ends(env, "pipe")
        transport, protocol = await connect_writer(env, writer)
        with pytest.raises((TypeError, AssertionError)):
            transport.write(data)
        transport.write(b"fine")
        transport.close()
        assert await protocol.lost() is None
        assert os.read(reader.fileno(), 100) == b"fine"
        reader.close()

    env.run(main())


# Both


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
            with pytest.raises(TypeError):
                await connect(env, object(), protocol)
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

    async def main():
        return await loop.connect_write_pipe(asyncio.Protocol, writer)

    transport, _ = loop.run_until_complete(main())
    loop.close()
    assert not writer.closed
    writer.write(b"after")
    assert reader.read(100) == b"after"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del transport, loop, main
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


# Subprocesses


def run_processes(env, main):
    """Watchers of children keep the loop, or a thread, a little longer than the test."""
    env.check_references = False
    env.run(main())


CAT = [sys.executable, "-c", "import shutil, sys; "
       "shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"]


def test_subprocess_pipes_are_ours(env):
    """On asyncio's loops they are made by connect_*_pipe(); uvloop has its own."""
    async def main():
        process = await asyncio.create_subprocess_exec(
            *CAT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for number in range(3):
            transport = process._transport.get_pipe_transport(number)
            assert (type(transport).__module__ == "aiofastnet._core") == (
                env.implementation == "ours"), transport
        output, errors = await process.communicate(BYTES)
        assert_same(output, BYTES)
        assert errors == b"" and process.returncode == 0

    run_processes(env, main)


def test_subprocess_that_does_not_read_its_input(env):
    """communicate() with a child that ends at once raises nothing."""
    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "print('done')", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        output, _ = await process.communicate(BYTES)
        assert output == b"done\n" and process.returncode == 0

    run_processes(env, main)


def test_subprocess_streams(env):
    """Line by line both ways, then the end of the input."""
    async def main():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-uc", "import sys\nfor line in sys.stdin: print(line.upper(), end='')",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(20):
            process.stdin.write(b"line %d\n" % number)
            await process.stdin.drain()
            assert await process.stdout.readline() == b"LINE %d\n" % number
        process.stdin.close()
        await process.stdin.wait_closed()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0

    run_processes(env, main)


def test_many_subprocesses_at_once(env):
    """Eight children; each gets its own bytes back."""
    async def one(number):
        process = await asyncio.create_subprocess_exec(
            *CAT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        data = b"%d" % number * 100000
        output, _ = await process.communicate(data)
        assert_same(output, data)
        return process.returncode

    async def main():
        assert await asyncio.gather(*map(one, range(8))) == [0] * 8

    run_processes(env, main)
