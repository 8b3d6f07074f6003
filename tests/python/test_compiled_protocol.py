# SPDX-License-Identifier: MIT
"""Protocols in C by <aiofastnet/python.h>: how they get data. On stock they are ordinary ones."""
import asyncio
import contextvars
import gc
import sys

import pytest

from support.compiled import Receiving, came_right, pattern, send
from support.marks import tcp_only
from support.protocols import (
    BufferedRecorder, DatagramRecorder, Recorder, assert_same, turns, until)

MIB = 1 << 20
SIZE_OF_SIZE = (sys.maxsize.bit_length() + 1) // 8      # sizeof(size_t)
not_on_stock = pytest.mark.implementations("ours", "ours_uvloop")


# ---- receiving ----

@pytest.mark.parametrize("size", (1, 256, 20000, 4 * MIB))
def test_data_comes_by_pointer_and_not_by_the_method(env, make, compiled, size):
    """An echo compiled on both sides, of sizes that a Python protocol gets in different ways."""
    async def main():
        receiver = make(data=lambda self, data: compiled.write(self.transport, data))
        sender = make()
        await env.pair(receiver, sender)
        data = pattern(size)
        for count in range(1, 4):
            sender.transport.write(data)
            assert_same(await sender.received(count * size), data * count)
        assert came_right(env, receiver) and came_right(env, sender)
        sender.transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None
        assert receiver.events[0] == "made" and receiver.events[-2:] == ["eof", "lost"]

    env.run(main())


def test_a_type_that_nobody_can_change(env, compiled):
    """All of it in C; whatever it does to the transport, the data stays during the call."""
    async def main():
        received = []
        rest = Recorder()

        def sink(protocol, data, direct):
            received.append((data, bool(direct)))
            transport.pause_reading()
            transport.write(b"w" * 200000)
            transport.set_protocol(rest)
            transport.set_protocol(protocol)
            gc.collect()

        fixed, peer = compiled.Fixed(), Recorder()
        fixed.sink = sink
        server = await env.start_server(lambda: peer)
        transport, _ = await env.connect(lambda: fixed, server)
        await until(lambda: peer.transport is not None)
        server.close()
        peer.transport.write(b"first")
        await until(lambda: received)
        assert received == [(b"first", not env.is_stock)]
        assert_same(await peer.received(200000), b"w" * 200000)
        transport.close()
        await peer.lost()
        await turns()
        fixed.sink = None

    env.run(main())


def test_pausing_holds_the_rest_back(env, make):
    """T19: pause_reading in the callback; more comes only after resume_reading."""
    async def main():
        receiver = make(data=lambda self, data: self.transport.pause_reading())
        await env.read_in_pieces(receiver)
        assert came_right(env, receiver)

    env.run(main())


@pytest.mark.parametrize("method", ("close", "abort"))
def test_nothing_comes_after_the_end(env, make, method):
    """T16: close() and abort() in the callback."""
    async def main():
        receiver, sender = make(data=lambda self, _: getattr(self.transport, method)()), Recorder()
        await env.pair(receiver, sender)
        sender.transport.write(b"a" * 1000)
        await receiver.lost()
        assert receiver.course == ["made", "data", "lost"]
        assert len(receiver.direct) == 1 and came_right(env, receiver)

    env.run(main())


def test_set_protocol_in_the_callback(env, make):
    """The next data is the new protocol's, compiled or not, and back."""
    async def main():
        plain, sender = Recorder(), Recorder()
        first = make(data=lambda self, _: self.transport.set_protocol(plain))
        second = make()
        plain.hooks["data"] = lambda self, _: first.transport.set_protocol(second)
        await env.pair(first, sender)
        for protocol, data in ((first, b"one"), (plain, b"two"), (second, b"three")):
            await send(sender, protocol, data)
        assert came_right(env, first) and came_right(env, second)
        assert bytes(first.data) == b"one" and bytes(plain.data) == b"two"
        first.transport.set_protocol(first)     # for the end

    env.run(main())


def test_an_exception_is_reported_as_ever(env, make):
    """T16: the report and the end are those that a Python protocol gets."""
    async def main():
        contexts = []
        for kind in (Recorder, make):
            def fail(self, data):
                raise LookupError("on purpose")

            receiver, sender = kind(data=fail), Recorder()
            await env.pair(receiver, sender)
            sender.transport.write(b"data")
            error = await receiver.lost()
            await sender.lost()
            assert receiver.course == ["made", "data", "lost"]
            context, = env.take_exceptions()
            assert context["exception"] is error and type(error) is LookupError
            assert env.is_stock or context["protocol"] is receiver
            contexts.append((context["message"], set(context)))
        assert contexts[0] == contexts[1]
        error = context = None

    env.run(main())


@not_on_stock
@pytest.mark.parametrize("how, error", (("fails silently", SystemError),
                                        ("raises and succeeds", KeyError)))
def test_a_function_that_contradicts_itself(env, compiled, how, error):
    """-1 without an exception, and 0 with one: both end the connection."""
    class Contradictory(Recorder):
        __aiofastnet_protocol__ = compiled.capsule(how)

        def data_received(self, data):
            raise AssertionError("not called")

    async def main():
        receiver, sender = Contradictory(), Recorder()
        await env.pair(receiver, sender)
        sender.transport.write(b"data")
        assert isinstance(await receiver.lost(), error)
        context, = env.take_exceptions()
        assert isinstance(context["exception"], error)
        context = None

    env.run(main())


@pytest.mark.parametrize("kind", (SystemExit, KeyboardInterrupt))
def test_what_ends_the_loop(env, make, kind):
    """T33: these go through run_forever(); another compiled protocol then gets its data."""
    def fail(self, data):
        self.hooks.clear()
        raise kind("out")

    def drive(loop):
        receiver, sender, other, peer = make(data=fail), Recorder(), make(), Recorder()
        loop.run_until_complete(env.pair(receiver, sender))
        sender.transport.write(b"data")
        with pytest.raises(kind, match="out"):
            loop.run_until_complete(until(lambda: False))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(env.pair(other, peer))
        peer.transport.write(b"more")
        loop.run_until_complete(other.received(4))
        assert other.data == b"more" and came_right(env, other)
        assert receiver.events[:2] == ["made", "data"]
        env.take_exceptions()

    env.drive(drive)


def test_the_callback_runs_in_the_context_of_the_connection(env, make):
    """T34: it sees what was set where the protocol was made, and keeps what it sets."""
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    def look(self, data):
        seen.append(variable.get())
        variable.set("changed by the callback")

    async def main():
        receiver, sender = make(data=look), Recorder()
        server = await env.start_server(lambda: sender)
        variable.set("before")
        await env.connect(lambda: receiver, server)
        variable.set("after")
        await until(lambda: sender.transport is not None)
        for count in (1, 2):
            sender.transport.write(b"x")
            await receiver.received(count)
        assert came_right(env, receiver)
        server.close()
        assert variable.get() == "after"

    env.run(main())
    assert seen == ["before", "changed by the callback"]


# ---- what overrides ----

def test_a_derived_class_that_overrides(env, compiled):
    """data_received() of a class below the compiled one, or of a mix-in, is called."""
    class Derived(compiled.Compiled, Recorder):
        def data_received(self, data):
            Recorder.data_received(self, data)

    class Mixed(Recorder, compiled.Compiled):
        pass

    class Further(Derived):
        __aiofastnet_protocol__ = compiled.Compiled.__aiofastnet_protocol__

    async def main():
        for kind in (Derived, Mixed, Further):
            receiver, sender = kind(), Recorder()
            receiver.sink = None            # calling it would fail
            await env.pair(receiver, sender)
            await send(sender, receiver, b"data")

    env.run(main())


def test_a_class_that_has_both_again(env, compiled):
    """A method in Python, and beside it a capsule: the capsule stands for this method."""
    class Both(Receiving, compiled.Compiled, Recorder):
        __aiofastnet_protocol__ = property(lambda self: compiled.capsule("good"))

        def data_received(self, data):
            self.take(data, False)

    async def main():
        receiver, sender = Both(), Recorder()
        await env.pair(receiver, sender)
        await send(sender, receiver, b"data")
        assert came_right(env, receiver)

    env.run(main())


def test_no_capsule(env, compiled):
    """None, with a method beside it or not, says that there is none."""
    class Off(Receiving, compiled.Compiled, Recorder):
        __aiofastnet_protocol__ = None

    class OffAgain(Off):
        __aiofastnet_protocol__ = None

        def data_received(self, data):
            self.take(data, False)

    async def main():
        for kind in (Off, OffAgain):
            receiver, sender = kind(), Recorder()
            await env.pair(receiver, sender)
            await send(sender, receiver, b"data")
            assert set(receiver.direct) == {False}

    env.run(main())


def test_what_overrides_later(env, make):
    """data_received() of the object and of its class may come and go while data does."""
    async def main():
        receiver, sender = make(), Recorder()
        await env.pair(receiver, sender)

        def override(data):
            overridden.append(data)
            receiver.data += data

        overridden = []
        await send(sender, receiver, b"one")
        receiver.data_received = override
        await send(sender, receiver, b"two")
        del receiver.data_received
        await send(sender, receiver, b"three")
        make.data_received = lambda self, data: override(data)
        await send(sender, receiver, b"four")
        del make.data_received
        await send(sender, receiver, b"five")
        assert overridden == [b"two", b"four"]
        assert len(receiver.direct) == 3 and came_right(env, receiver)
        receiver.__dict__.pop("data_received", None)

    env.run(main())


def test_an_object_that_overrides_from_the_start(env, make):
    """The same before the connection is there."""
    async def main():
        receiver, sender = make(), Recorder()
        receiver.data_received = lambda data: Recorder.data_received(receiver, data)
        await env.pair(receiver, sender)
        await send(sender, receiver, b"data")
        assert receiver.direct == []
        del receiver.data_received

    env.run(main())


def test_a_protocol_that_stands_for_another(env, make):
    """__getattr__() and __getattribute__(): what they answer is what is called."""
    class Delegating(Recorder):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def __getattribute__(self, name):
            if name == "data_received":
                return object.__getattribute__(self, "inner").data_received
            return super().__getattribute__(name)

        def __getattr__(self, name):
            if name == "__aiofastnet_protocol__":
                raise KeyError(name)
            raise AttributeError(name)

    async def main():
        inner, sender = make(), Recorder()
        receiver = Delegating(inner)
        await env.pair(receiver, sender)
        await send(sender, inner, b"data")
        assert inner.direct == [False] and not receiver.data

    env.run(main())


def test_buffered_protocols_get_their_buffer_filled(env, compiled):
    """A capsule changes nothing for a BufferedProtocol, whose data_received nobody calls."""
    class Buffered(Receiving, compiled.Compiled, BufferedRecorder):
        pass

    async def main():
        receiver, sender = Buffered(), Recorder()
        await env.pair(receiver, sender)
        await send(sender, receiver, pattern(1000))
        assert receiver.direct == []

    env.run(main())


@tcp_only
def test_datagrams_come_as_ever(env, compiled):
    """A capsule changes nothing for a DatagramProtocol."""
    class Datagrams(Receiving, compiled.Compiled, DatagramRecorder):
        pass

    async def main():
        receiver = Datagrams()
        transport, _ = await env.loop.create_datagram_endpoint(
            lambda: receiver, local_addr=("127.0.0.1", 0))
        transport.sendto(b"datagram", transport.get_extra_info("sockname"))
        await receiver.got(1)
        assert receiver.contents == [b"datagram"] and receiver.direct == []
        assert compiled.is_transport(transport) is not env.is_stock

    env.run(main())


# ---- capsules that are none ----

BAD = (("somebody's", 'must be a capsule named "aiofastnet.protocol", not <capsule object'),
       (42, 'must be a capsule named "aiofastnet.protocol", not 42'),
       ("small", "the size of the structure is %d, which is too small" % SIZE_OF_SIZE),
       ("zero", "the size of the structure is 0, which is too small"),
       ("no function", "data_received is NULL"))


def make_bad(compiled, what):
    class Bad(Recorder):
        __aiofastnet_protocol__ = what if what == 42 else compiled.capsule(what)

        def data_received(self, data):
            super().data_received(data)

    return Bad


@pytest.mark.kinds("tcp", "tls13")
@not_on_stock
@pytest.mark.parametrize("what, message", BAD)
def test_bad_capsules_are_refused(env, compiled, what, message):
    """A TypeError of set_protocol(), which changes nothing, and of the connect."""
    async def main():
        bad, sender, receiver = make_bad(compiled, what)(), Recorder(), Recorder()
        await env.pair(receiver, sender)
        with pytest.raises(TypeError) as caught:
            receiver.transport.set_protocol(bad)
        assert str(caught.value).startswith("__aiofastnet_protocol__ of Bad")
        assert message in str(caught.value)
        assert receiver.transport.get_protocol() is receiver
        await send(sender, receiver, b"data")
        server = await env.start_server(Recorder)
        with pytest.raises(TypeError, match="__aiofastnet_protocol__"):
            await env.connect(lambda: bad, server)
        assert bad.events == []
        await turns(30)

    env.run(main())


@pytest.mark.kinds("unix", "tls13")
@pytest.mark.upgrades
@not_on_stock
def test_start_tls_refuses_bad_capsules(env, compiled):
    """A TypeError, and the connection goes on as it was."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        transport = sender.transport
        with pytest.raises(TypeError, match="the size of the structure is 0"):
            await env.loop.start_tls(transport, make_bad(compiled, "zero")(),
                                     env.certs.client_context(env.version))
        assert transport.get_protocol() is sender
        await send(sender, receiver, b"to the server")
        await send(receiver, sender, b"and back")

    env.run(main())


@tcp_only
@not_on_stock
@pytest.mark.parametrize("error", (AttributeError, LookupError))
def test_a_property_that_raises(env, compiled, error):
    """Its exception comes out of set_protocol(), which changes nothing."""
    class Raising(Recorder):
        @property
        def __aiofastnet_protocol__(self):
            raise error("on purpose")

        def data_received(self, data):
            raise AssertionError("not called")

    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        with pytest.raises(error, match="on purpose"):
            receiver.transport.set_protocol(Raising())
        await send(sender, receiver, b"data")

    env.run(main())


@tcp_only
@not_on_stock
def test_a_server_tells_of_bad_capsules(env, compiled):
    """There is nobody to raise at: the loop's exception handler is called, debug mode or not."""
    async def main():
        bad, sender = make_bad(compiled, "zero")(), Recorder()
        server = await env.start_server(lambda: bad)
        await env.connect(lambda: sender, server)
        await sender.lost()
        assert bad.events == []
        context, = env.take_exceptions()
        assert isinstance(context["exception"], TypeError)
        assert context["message"] == "Error on transport creation for incoming connection"
        assert context["protocol"] is bad
        context = None

    env.run(main())


def test_a_structure_of_a_later_version(env, compiled):
    """One that is longer than what is known is as good."""
    class Later(Receiving, compiled.Compiled, Recorder):
        pass

    async def main():
        compiled.Compiled.__aiofastnet_protocol__ = compiled.capsule("larger")
        try:
            receiver, sender = Later(), Recorder()
            await env.pair(receiver, sender)
            await send(sender, receiver, b"data")
            assert came_right(env, receiver)
        finally:
            compiled.Compiled.__aiofastnet_protocol__ = compiled.capsule("good")

    env.run(main())
