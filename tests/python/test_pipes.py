# SPDX-License-Identifier: MIT
"""Reading and writing pipes, FIFOs, sockets and terminals by transports."""
import errno
import logging
import os
import socket

import pytest

from support.marks import improvement
from support.pipes import (BYTES, HANG_UP, PIPES, connect_reader, connect_writer,
                           is_open, make_ends, read_exactly)
from support.protocols import Recorder, assert_same, turns, until

# The kind of the fixture is that of sockets: these tests bring their own.
pytestmark = pytest.mark.kinds("unix")

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
