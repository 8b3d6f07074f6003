# SPDX-License-Identifier: MIT
"""loop.sendfile(): by the library from files of the system, by reading from all others."""

import asyncio
import errno
import io
import os
import stat

_PIECE_SIZE = 256 * 1024


def has_descriptor(file):
    """Whether the library can read the file by its descriptor."""
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (AttributeError, OSError):
        # io.UnsupportedOperation is an OSError.
        return False


def is_plain(file):
    """Whether what is read from the file is what its descriptor gives: not so with GzipFile."""
    return isinstance(getattr(file, "raw", file), io.FileIO)


def refuse_second(transport):
    """Raise when another file is being sent."""
    if transport._sending_file or isinstance(transport.get_protocol(), _SendfileProtocol):
        raise RuntimeError("unable to sendfile; sendfile is in progress")


async def send_by_library(loop, transport, file, offset, count, by_kernel):
    """Send `count` bytes of the file, or all, from `offset` on; return how many were sent.

    The file's position is then behind the last byte sent, also after an error.  With by_kernel,
    asyncio.SendfileNotAvailableError says that the kernel cannot do it.  The arguments have been
    checked.
    """
    # Also writes out what the file object itself may still hold back.
    _seek(file, offset)
    waiter = loop.create_future()
    # Somebody may close the file while it is sent, and have its number given to another.
    fd = os.dup(file.fileno())
    try:
        transport._begin_sendfile(fd, offset, count, by_kernel, waiter)
        was_reading = transport.is_reading()
        transport.pause_reading()
        try:
            await waiter
        finally:
            sent = transport._end_sendfile()
            if was_reading:
                transport.resume_reading()
            _seek(file, offset + sent)
    except OSError as error:
        if not by_kernel or error.errno != errno.EOPNOTSUPP:
            raise
        raise asyncio.SendfileNotAvailableError("os.sendfile call failed") from error
    finally:
        os.close(fd)
    return sent


class _SendfileProtocol(asyncio.Protocol):
    """Stands in for a transport's protocol while a file is sent by reading it.

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
    """As send_by_library(), for any object with read().

    Everything is in the transport's hands on return, not yet in the kernel's.
    """
    sent = 0
    stand_in = _SendfileProtocol(loop, transport)
    try:
        _seek(file, offset)
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
        _seek(file, offset + sent)


def _seek(file, position):
    seekable = getattr(file, "seekable", None)
    if hasattr(file, "seek") if seekable is None else seekable():
        file.seek(position)


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
