# SPDX-License-Identifier: MIT
"""A small protocol library that is fast in any program, and leaves the program's loop alone.

A frame is its length, in four bytes, and its content.  The server answers each frame of a client
with one, in order.  The connections are made with aiofastnet's functions, which take the loop
first and otherwise what the loop's methods take: so it does not matter whether the program has
switched its loop to aiofastnet.  Where aiofastnet is missing, the loop's own methods do it.
frames_program.py uses it.
"""
import asyncio
import collections
import contextlib

try:
    from aiofastnet import create_connection, create_server
except ImportError:
    def create_connection(loop, *args, **kwargs):
        return loop.create_connection(*args, **kwargs)

    def create_server(loop, *args, **kwargs):
        return loop.create_server(*args, **kwargs)

MAXIMUM = 16 << 20  # bytes of a frame


async def connect(host, port, *, ssl=None):
    """Return a Client; close() it in the end."""
    loop = asyncio.get_running_loop()
    _, client = await create_connection(loop, Client, host, port, ssl=ssl)
    return client


@contextlib.asynccontextmanager
async def serve(answer, host, port, *, ssl=None):
    """Serve while the block runs: answer(frame) returns the frame to send back."""
    loop = asyncio.get_running_loop()
    connections = set()
    server = await create_server(loop, lambda: _Served(answer, connections), host, port, ssl=ssl)
    try:
        yield server
    finally:
        server.close()
        await asyncio.gather(*[connection.close() for connection in connections])


class _Connection(asyncio.Protocol):
    """Takes frames apart and puts them together, for both sides."""

    def connection_made(self, transport):
        self.transport = transport
        self.lost = asyncio.get_running_loop().create_future()
        self._received = bytearray()

    def data_received(self, data):
        self._received += data
        while len(self._received) >= 4 and not self.transport.is_closing():
            end = 4 + int.from_bytes(self._received[:4], "big")
            if end > 4 + MAXIMUM:
                self.transport.abort()
            if len(self._received) < end:
                break
            frame = bytes(self._received[4:end])
            del self._received[:end]
            self.frame_received(frame)

    def connection_lost(self, exc):
        self.lost.set_result(None)

    def send(self, frame):
        if len(frame) > MAXIMUM:
            raise ValueError("a frame has {} bytes at most".format(MAXIMUM))
        self.transport.writelines([len(frame).to_bytes(4, "big"), frame])

    async def close(self, patience=5):
        """Send what is on its way, and end; after `patience` seconds in any case."""
        self.transport.close()
        asyncio.get_running_loop().call_later(patience, self.transport.abort)
        await asyncio.wait([self.lost])


class Client(_Connection):
    def connection_made(self, transport):
        super().connection_made(transport)
        self._calls = collections.deque()
        self._writable = asyncio.Event()
        self._writable.set()

    async def call(self, frame):
        """Send a frame and return the answer; there may be any number of calls at a time."""
        await self._writable.wait()
        if self.transport.is_closing():
            raise ConnectionError("the connection is closed")
        self.send(frame)
        call = asyncio.get_running_loop().create_future()
        self._calls.append(call)
        return await call

    def frame_received(self, frame):
        call = self._calls.popleft() if self._calls else None
        if call is None:
            self.transport.abort()  # an answer to nothing
        elif not call.done():  # it may have been cancelled
            call.set_result(frame)

    def pause_writing(self):
        self._writable.clear()

    def resume_writing(self):
        self._writable.set()

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self._writable.set()
        for call in self._calls:
            if not call.done():
                call.set_exception(exc or ConnectionError("the connection was closed"))


class _Served(_Connection):
    def __init__(self, answer, connections):
        self._answer = answer
        self._connections = connections

    def connection_made(self, transport):
        super().connection_made(transport)
        self._connections.add(self)

    def frame_received(self, frame):
        self.send(self._answer(frame))

    # Of a client that does not take its answers nothing is read.
    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    def connection_lost(self, exc):
        super().connection_lost(exc)
        self._connections.discard(self)
