# SPDX-License-Identifier: MIT
"""Protocols that note what a transport does, and check the order of its callbacks."""
import asyncio

live = []       # the recorders of the running test, for the clean-up at its end


async def until(predicate):
    """Let the loop turn until `predicate()` is true; the time limit of the test is the bound."""
    turns = 0
    while not predicate():
        turns += 1
        # A spinning loop would starve the helper threads on a machine with few cores.
        await asyncio.sleep(0 if turns < 50 else 0.001)


async def turns(count=20):
    """Let the loop turn `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


def assert_same(received, expected):
    """`assert received == expected` for long data, of which pytest may print each byte."""
    if received == expected:
        return
    at = next((index for index, (left, right) in enumerate(zip(received, expected))
               if left != right), min(len(received), len(expected)))
    raise AssertionError("%d bytes for %d, different from byte %d on: %r for %r" % (
        len(received), len(expected), at,
        bytes(received[at:at + 20]), bytes(expected[at:at + 20])))


class Recorder(asyncio.Protocol):
    """Notes the callbacks in `events` (successive data counts once) and the bytes in `data`.

    `hooks` maps the name of a callback to a function that is called with the protocol first and
    then the arguments of the callback; its result is returned.
    """

    def __init__(self, **hooks):
        self.hooks = hooks
        self.events = []
        self.data = bytearray()
        self.transport = None
        self.exception = None
        self.is_lost = False
        live.append(self)

    def _note(self, event, *args):
        if event == "made":
            assert "made" not in self.events, "connection_made was called twice"
        assert not self.is_lost, event + " after connection_lost"
        if event != "data" or self.events[-1:] != ["data"]:
            self.events.append(event)
        hook = self.hooks.get(event)
        return hook(self, *args) if hook is not None else None

    def connection_made(self, transport):
        self.transport = transport
        self._note("made", transport)

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data
        self._note("data", data)

    def eof_received(self):
        return self._note("eof")

    def pause_writing(self):
        self._note("pause")

    def resume_writing(self):
        self._note("resume")

    def connection_lost(self, exc):
        self.exception = exc
        try:
            self._note("lost", exc)
        finally:
            self.is_lost = True

    @property
    def course(self):
        """`events` without the end of the peer's stream, which may come while closing."""
        return [event for event in self.events if event != "eof"]

    async def received(self, count):
        """Wait for at least `count` bytes; the connection must live until then."""
        await until(lambda: len(self.data) >= count or self.is_lost)
        assert len(self.data) >= count, (len(self.data), count, self.exception)
        return bytes(self.data)

    async def seen(self, event):
        await until(lambda: event in self.events)

    async def lost(self):
        """Wait for connection_lost; the exception it was called with."""
        await until(lambda: self.is_lost)
        return self.exception


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """A Recorder that receives through a buffer of its own, of `size` bytes."""

    def __init__(self, size=100, **hooks):
        super().__init__(**hooks)
        self.buffer = bytearray(size)

    def get_buffer(self, sizehint):
        hook = self.hooks.get("get_buffer")
        return hook(self, sizehint) if hook is not None else self.buffer

    def data_received(self, data):
        raise AssertionError("data_received of a protocol with a buffer")

    def buffer_updated(self, count):
        assert 0 < count <= len(self.buffer), count
        self.data += self.buffer[:count]
        self._note("data", bytes(self.buffer[:count]))


class DatagramRecorder(Recorder, asyncio.DatagramProtocol):
    """A Recorder of datagrams, which are in `datagrams` with their senders, and of `errors`."""

    def __init__(self, **hooks):
        super().__init__(**hooks)
        self.datagrams = []
        self.errors = []

    @property
    def contents(self):
        return [data for data, _ in self.datagrams]

    def datagram_received(self, data, addr):
        assert type(data) is bytes
        self.datagrams.append((data, addr))
        self._note("datagram", data, addr)

    def error_received(self, exc):
        self.errors.append(exc)
        self._note("error", exc)

    async def got(self, count):
        """Wait for at least `count` datagrams."""
        await until(lambda: len(self.datagrams) >= count or self.is_lost)
        assert len(self.datagrams) >= count, (self.datagrams, self.exception)

    async def failed(self):
        """Wait for an error; all there were so far."""
        await until(lambda: self.errors or self.is_lost)
        return self.errors


def echo(protocol, data):
    protocol.transport.write(data)


def echoing(**hooks):
    """A Recorder that sends back whatever comes."""
    return Recorder(data=echo, **hooks)
