# SPDX-License-Identifier: MIT
"""Protocols in C by <aiofastnet/python.h>: every transport, what they write, and what stays."""
import gc
import os
import subprocess
import sys
import weakref

import pytest

from support.compiled import came_right, pattern, send
from support.marks import one_tls, plain_only
from support.pipes import connect_reader, connect_writer, make_ends
from support.protocols import Recorder, assert_same, echo, echoing, live, turns, until

MIB = 1 << 20
not_on_stock = pytest.mark.implementations("ours", "ours_uvloop")


# ---- other transports ----

@pytest.mark.upgrades
@pytest.mark.kinds("unix", "tls12", "tls13", "pyengine")
def test_start_tls(env, make, compiled):
    """T26: in the clear, then through TLS, and the old transport takes no more."""
    async def main():
        receiver = make(data=lambda self, data: compiled.write(self.transport, data))
        sender = make()
        server = await env.start_server(lambda: receiver, ssl=None)
        await env.connect(lambda: sender, server, ssl=None)
        await until(lambda: receiver.transport is not None)
        await send(sender, sender, b"in the clear")
        old = sender.transport
        await env.upgrade(receiver, sender)
        await send(sender, sender, pattern(MIB))
        assert came_right(env, receiver) and came_right(env, sender)
        if not env.is_stock:
            with pytest.raises(RuntimeError, match="start_tls"):
                compiled.write(old, b"x")

    env.run(main())


@one_tls
@pytest.mark.upgrades
def test_tls_over_tls(env, make, compiled):
    """T27: through two layers."""
    async def main():
        receiver = make(data=lambda self, data: compiled.write(self.transport, data))
        sender = make()
        await env.pair(receiver, sender)
        await env.upgrade(receiver, sender)
        await send(sender, sender, pattern(MIB))
        assert came_right(env, receiver) and came_right(env, sender)
        assert compiled.get_write_buffer_size(sender.transport) == 0

    env.run(main())


@one_tls
@not_on_stock
@pytest.mark.upgrades
def test_tls_over_a_foreign_transport(env, make, compiled):
    """T27: first on the loop's own transport, by the methods, then through TLS over it."""
    async def main():
        receiver, sender = make(data=echo), make()
        await env.pair_unpatched(receiver, sender)
        assert not compiled.is_transport(sender.transport)
        compiled.write(sender.transport, b"in the clear")
        await sender.received(12)
        assert set(sender.direct + receiver.direct) == {False}
        await env.upgrade(receiver, sender)
        sender.direct.clear()
        await send(sender, sender, pattern(MIB))
        assert set(sender.direct) == {True}
        assert compiled.is_transport(sender.transport)

    env.run(main())


@pytest.mark.kinds("unix")
@pytest.mark.parametrize("what", ("pipe", "fifo", "socket", "terminal"))
def test_pipes(env, make, compiled, what):
    """From one end to the other by pointer; what a read pipe cannot do is refused."""
    async def main():
        reader, writer = make_ends(env, what)
        reading, protocol = await connect_reader(env, reader, make())
        writing, _ = await connect_writer(env, writer)
        compiled.write(writing, b"through ")
        compiled.write_ref(writing, b"the pipe")
        assert await protocol.received(16) == b"through the pipe"
        assert came_right(env, protocol)
        assert compiled.get_write_buffer_size(writing) == 0
        for transport in (reading, writing):
            assert compiled.is_transport(transport) is not env.is_stock
        for function in (compiled.write, compiled.write_ref):
            with pytest.raises(AttributeError, match="write"):
                function(reading, b"x")
        with pytest.raises(AttributeError, match="get_write_buffer_size"):
            compiled.get_write_buffer_size(reading)

    env.run(main())


@pytest.mark.kinds("unix")
def test_an_exception_on_a_pipe(env, make):
    """asyncio's pipe transports outlive it, and so do ours."""
    async def main():
        reader, writer = make_ends(env, "pipe")

        def fail(self, data):
            if data == b"bad":
                raise LookupError("on purpose")

        _, protocol = await connect_reader(env, reader, make(data=fail))
        os.write(writer.fileno(), b"bad")
        await until(lambda: env.exceptions)
        context, = env.take_exceptions()
        assert isinstance(context["exception"], LookupError)
        os.write(writer.fileno(), b"good")
        assert await protocol.received(7) == b"badgood"
        writer.close()
        await protocol.lost()

    env.run(main())


# ---- writing ----

def test_writing_is_that_of_the_method(env, compiled):
    """T13: by pointer, by the method and by reference in turn: one stream, in order."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        transport, expected = sender.transport, b""
        for number in range(300):
            data = b"%d," % number * (number + 1)
            expected += data
            (compiled.write, compiled.write_ref, type(transport).write)[number % 3](
                transport, data)
        assert_same(await receiver.received(len(expected)), expected)
        compiled.write(transport, b"")
        compiled.write(transport, None)
        assert compiled.is_transport(transport) is not env.is_stock
        assert not compiled.is_transport(object()) and not compiled.is_transport(type(transport))

    env.run(main())


@pytest.mark.parametrize("name", ("write", "write_ref"))
def test_too_much_pauses_the_protocol(env, compiled, name):
    """T11: pause_writing from inside of the call, resume_writing later."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        receiver.transport.pause_reading()
        written = 0
        while "pause" not in sender.events:
            getattr(compiled, name)(sender.transport, b"x" * 65536)
            written += 65536
            assert written < 64 * MIB, "never paused"
        size = compiled.get_write_buffer_size(sender.transport)
        assert size == sender.transport.get_write_buffer_size() > 0
        receiver.transport.resume_reading()
        assert_same(await receiver.received(written), b"x" * written)
        await sender.seen("resume")
        assert sender.course == ["made", "pause", "resume"]

    env.run(main())


@not_on_stock
@pytest.mark.parametrize("error", (LookupError, KeyboardInterrupt))
def test_an_exception_in_pause_writing(env, compiled, error):
    """As from write(): reported; but what ends a program comes out."""
    def fail(self):
        raise error("on purpose")

    async def main():
        for function in (compiled.write, compiled.write_ref):
            receiver, sender = Recorder(), Recorder(pause=fail)
            await env.pair(receiver, sender)
            receiver.transport.pause_reading()
            sender.transport.set_write_buffer_limits(0)
            if error is KeyboardInterrupt:
                with pytest.raises(KeyboardInterrupt, match="on purpose"):
                    function(sender.transport, bytes(16 * MIB))
            else:
                function(sender.transport, bytes(16 * MIB))
                context, = env.take_exceptions()
                assert context["message"] == "protocol.pause_writing() failed"
                context = None
            assert "pause" in sender.events

    env.run(main())


@plain_only
def test_writing_after_write_eof(env, compiled):
    """RuntimeError, and the memory is given back."""
    async def main():
        receiver, sender = Recorder(eof=lambda _: True), Recorder()
        await env.pair(receiver, sender)
        sender.transport.write_eof()
        data = pattern(8)
        before = sys.getrefcount(data)
        for function in (compiled.write, compiled.write_ref):
            for what in (data, b""):
                with pytest.raises(RuntimeError, match="after write_eof"):
                    function(sender.transport, what)
        assert sys.getrefcount(data) == before

    env.run(main())


def test_writing_after_the_loss(env, compiled, caplog):
    """T22: dropped, with the warning of write() from the same number of writes on."""
    async def main():
        warned = []
        for write in (None, compiled.write, compiled.write_ref):
            receiver, sender = Recorder(), Recorder()
            await env.pair(receiver, sender)
            sender.transport.abort()
            await sender.lost()
            caplog.clear()
            data = pattern(8)
            before = sys.getrefcount(data)
            for _ in range(8):
                if write is None:
                    sender.transport.write(data)
                else:
                    write(sender.transport, data)
            warned.append([record.getMessage() for record in caplog.records])
            assert sys.getrefcount(data) == before
            if write is not None:
                assert compiled.get_write_buffer_size(sender.transport) == 0
        assert warned[0] == warned[1] == warned[2] and (warned[0] or env.is_stock)

    env.run(main())


@not_on_stock
def test_the_wrong_thread(env, compiled):
    """T35: RuntimeError, and nothing is written."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        for function in (compiled.write, compiled.write_ref):
            with pytest.raises(RuntimeError):
                await env.thread(function, sender.transport, b"from a thread")
        await send(sender, receiver, b"from the loop")

    env.run(main())


@not_on_stock
def test_memory_is_lent_until_it_has_gone(env, compiled):
    """write_ref keeps the bytes while the kernel does not take them, and not a moment longer."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        receiver.transport.pause_reading()
        filling = bytes(8 * MIB)
        data = pattern(100000)
        before = sys.getrefcount(data)
        sender.transport.write(filling)
        compiled.write_ref(sender.transport, data)
        assert sys.getrefcount(data) == before + 1
        receiver.transport.resume_reading()
        received = await receiver.received(len(filling) + len(data))
        assert_same(received[len(filling):], data)
        await until(lambda: sender.transport.get_write_buffer_size() == 0)
        assert sys.getrefcount(data) == before
        receiver.transport.pause_reading()
        sender.transport.write(filling)
        compiled.write_ref(sender.transport, data)
        sender.transport.abort()
        await sender.lost()
        assert sys.getrefcount(data) == before

    env.run(main())


def test_a_transport_of_somebody_else(compiled):
    """Whatever has the methods is written to by them."""
    class Foreign:
        def __init__(self):
            self.written = []

        def write(self, data):
            assert type(data) is bytes
            if data == b"bad":
                raise LookupError(data)
            self.written.append(data)

        def get_write_buffer_size(self):
            return 7

    transport, data = Foreign(), pattern(12)
    before = sys.getrefcount(data)
    compiled.write(transport, b"by pointer\0")
    compiled.write_ref(transport, data)
    compiled.write(transport, None)
    assert transport.written == [b"by pointer\0", data, b""]
    assert sys.getrefcount(data) == before
    assert compiled.get_write_buffer_size(transport) == 7
    for function in (compiled.write, compiled.write_ref):
        with pytest.raises(LookupError):
            function(transport, b"bad")
        with pytest.raises(AttributeError):
            function(object(), b"x")
    with pytest.raises(AttributeError):
        compiled.get_write_buffer_size(object())


# ---- what stays ----

@pytest.mark.kinds("tcp", "tls13")
@pytest.mark.parametrize("kind", ("derived", "fixed", "both"))
def test_nothing_stays_of_connections_that_ended(env, compiled, make, kind):
    """T59: no protocol, which would keep its class, and no capsule."""
    class Both(compiled.Compiled, Recorder):
        data_received = compiled.Compiled.data_received

        @property
        def __aiofastnet_protocol__(self):
            return capsule

    capsule = compiled.capsule("good")
    factory = {"derived": make, "fixed": compiled.Fixed, "both": Both}[kind]

    async def connect(server):
        protocol, received = factory(), []
        protocol.sink = lambda _, data, direct: received.append(bool(direct))
        transport, _ = await env.connect(lambda: protocol, server)
        transport.write(b"hello")
        await until(lambda: received)
        assert received == [not env.is_stock]
        transport.set_protocol(protocol)
        transport.close()
        protocol.sink = None
        await until(lambda: all(recorder.is_lost for recorder in live if recorder.transport))
        live.clear()

    async def main():
        server = await env.start_server(echoing)
        counts = []
        for _ in range(3):
            for _ in range(20):
                await connect(server)
            await turns(30)
            gc.collect()
            counts.append([sys.getrefcount(thing) for thing in (
                compiled.Compiled, compiled.Fixed, Both, make, capsule)])
        assert counts[1] == counts[2]

    env.run(main())


def test_a_transport_that_is_over_keeps_no_protocol(env, make):
    """T59: neither itself, nor by the method that its function stands for."""
    async def main():
        sender = echoing()
        server = await env.start_server(lambda: sender)
        transport, receiver = await env.connect(make, server)
        await send(receiver, receiver, b"data")
        reference = weakref.ref(receiver)
        transport.close()
        await receiver.lost()
        await sender.lost()
        await turns()
        live.clear()
        receiver = None
        gc.collect()
        assert reference() is None
        assert transport.is_closing()

    env.run(main())


@pytest.mark.parametrize("missing", ("aiofastnet", "aiofastnet._core"))
def test_without_the_package(compiled, missing):
    """An extension that asks for it gets an ImportError."""
    code = ("import importlib.util as util, sys; sys.modules[%r] = None; "
            "spec = util.spec_from_file_location('compiled', %r); "
            "spec.loader.exec_module(util.module_from_spec(spec))" % (missing, compiled.__file__))
    result = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    assert result.returncode == 1
    assert b"ModuleNotFoundError" in result.stdout, result.stdout.decode()
