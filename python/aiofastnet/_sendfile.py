# SPDX-License-Identifier: MIT
"""loop.sendfile() by reading the file and writing to the transport."""

import asyncio

_PIECE_SIZE = 256 * 1024


class _SendfileProtocol(asyncio.Protocol):
    """Stands in for a transport's protocol while a file is sent.

    Reading is paused meanwhile.  The protocol that was there still hears of pauses, resumption
    and loss, so that it needs no repair afterwards.
    """

    def __init__(self, loop, transport):
        self._loop = loop
        self._transport = transport
        self._protocol = transport.get_protocol()
        self._was_reading = transport.is_reading()
        self._drained = None
        self._error = None
        transport.pause_reading()
        transport.set_protocol(self)

    def restore(self):
        if self._transport.get_protocol() is self:
            self._transport.set_protocol(self._protocol)
        if self._was_reading:
            self._transport.resume_reading()

    async def drain(self):
        """Wait until the transport can take more; raise when it never will."""
        if self._transport.is_closing():
            raise self._error or ConnectionError("Connection closed by peer")
        # The size says it, not pause_writing(), which may have come before we stood in.  Above
        # the high-water mark the transport is paused for sure, so resume_writing() will follow.
        _, high = self._transport.get_write_buffer_limits()
        if self._transport.get_write_buffer_size() <= high:
            return
        self._drained = self._loop.create_future()
        try:
            await self._drained
        finally:
            self._drained = None

    def pause_writing(self):
        self._protocol.pause_writing()

    def resume_writing(self):
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._protocol.resume_writing()

    def connection_lost(self, exc):
        self._error = exc or ConnectionError("Connection is closed by peer")
        if self._drained is not None and not self._drained.done():
            self._drained.set_exception(self._error)
        self._protocol.connection_lost(exc)

    def data_received(self, data):
        raise RuntimeError("Invalid state: reading should be paused")

    def eof_received(self):
        raise RuntimeError("Invalid state: reading should be paused")


async def send_by_reading(loop, transport, file, offset, count):
    """Write `count` bytes of the file, or all, from `offset` on; return how many were written.

    Everything is in the transport's hands on return, not yet in the peer's.  The file's position
    is then behind the last byte written, also after an error.  The arguments have been checked.
    """
    if isinstance(transport.get_protocol(), _SendfileProtocol):
        raise RuntimeError("unable to sendfile; sendfile is in progress")
    can_seek = _can_seek(file)
    sent = 0
    stand_in = _SendfileProtocol(loop, transport)
    try:
        if can_seek:
            file.seek(offset)
        while count is None or sent < count:
            size = _PIECE_SIZE if count is None else min(_PIECE_SIZE, count - sent)
            # bytes and not a buffer that is read into: the transport keeps bytes uncopied.
            data = await _read(loop, file, size)
            if not data:
                break
            await stand_in.drain()
            transport.write(data)
            sent += len(data)
        return sent
    finally:
        stand_in.restore()
        if can_seek:
            file.seek(offset + sent)


def _can_seek(file):
    seekable = getattr(file, "seekable", None)
    return hasattr(file, "seek") if seekable is None else seekable()


async def _read(loop, file, size):
    reading = loop.run_in_executor(None, file.read, size)
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        # The thread still moves the file's position: wait until it cannot disturb ours.
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.exception()
        raise
