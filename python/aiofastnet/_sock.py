# SPDX-License-Identifier: MIT
"""The loop's sock_*() methods, on any loop that has add_reader().

One descriptor has one reader and one writer in every loop.  So those who wait for the same socket
wait in a queue here, and share them: none takes another's place, and whoever is cancelled leaves
the others waiting.  Each makes its system call itself when its turn comes, so that no data goes to
somebody who was cancelled meanwhile.
"""

import collections
import errno
import os
import socket
from asyncio import selector_events

from ._adapter import adapter_of

try:
    from ssl import SSLSocket
except ImportError:  # a Python without OpenSSL
    SSLSocket = ()

_READ = "reader"
_WRITE = "writer"

# Whose addresses may be host names.
_FAMILIES_WITH_NAMES = (socket.AF_INET, socket.AF_INET6)


class _Watch:
    """Those who wait until a socket can be read, or written, in their order."""

    def __init__(self, adapter, sock, side):
        self.sock = sock
        self._adapter = adapter
        self._fd = sock.fileno()
        self._side = side
        self._turns = collections.deque()
        self._handle = None
        adapter._ensure_fd_no_transport(self._fd)
        self._register(adapter.loop)
        adapter.watches[self._fd, side] = self

    def _register(self, loop):
        if isinstance(loop, selector_events.BaseSelectorEventLoop):
            # The handle tells later whether somebody else has come to be the descriptor's reader.
            loop._ensure_fd_no_transport(self._fd)
            self._handle = getattr(loop, f"_add_{self._side}")(self._fd, self._wake)
        else:
            # Not the number: uvloop keeps a socket object open that it watches, and libuv aborts
            # the process when it is told to watch a descriptor that is closed.
            getattr(loop, f"add_{self._side}")(self.sock, self._wake)

    def _unregister(self, loop):
        if loop.is_closed():
            return
        if self._handle is not None:
            if not self._handle.cancelled():
                getattr(loop, f"_remove_{self._side}")(self._fd)
        else:
            is_detached = self.sock.fileno() < 0
            getattr(loop, f"remove_{self._side}")(self._fd if is_detached else self.sock)

    def _wake(self):
        if self._turns and not self._turns[0].done():
            self._turns[0].set_result(None)

    async def wait_for(self, function):
        """Call the function when its turn comes, until it does not block; return its result."""
        turn = self._join()
        try:
            while True:
                await turn
                try:
                    return function()
                except (BlockingIOError, InterruptedError):
                    # Still the first of those who wait.
                    turn = self._turns[0] = self._adapter.loop.create_future()
        finally:
            self._leave(turn)

    def _join(self):
        turn = self._adapter.loop.create_future()
        self._turns.append(turn)
        return turn

    def _leave(self, turn):
        self._turns.remove(turn)
        if not self._turns and self._forget():
            self._unregister(self._adapter.loop)

    def _forget(self):
        key = self._fd, self._side
        is_current = self._adapter.watches.get(key) is self
        if is_current:
            del self._adapter.watches[key]
        return is_current

    def give_up(self):
        """The socket was closed under those who wait, and its number is another's now."""
        self._unregister(self._adapter.loop)
        self._forget()
        for turn in self._turns:
            if not turn.done():
                turn.set_exception(OSError(errno.EBADF, os.strerror(errno.EBADF)))


def _find_watch(adapter, sock, side):
    fd = sock.fileno()
    for each in (_READ, _WRITE):
        watch = adapter.watches.get((fd, each))
        # Another object with the same number is as good, as long as both are open.
        if watch is not None and watch.sock.fileno() != fd:
            watch.give_up()
    return adapter.watches.get((fd, side))


async def _call(adapter, sock, side, function):
    """Call the function now or as soon as the socket is ready, after those who came before."""
    watch = _find_watch(adapter, sock, side)
    if watch is None:
        try:
            return function()
        except (BlockingIOError, InterruptedError):
            watch = _Watch(adapter, sock, side)
    return await watch.wait_for(function)


def _check(loop, sock):
    if isinstance(sock, SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")
    if loop.get_debug() and sock.gettimeout() != 0:
        raise ValueError("the socket must be non-blocking")


async def sock_recv(loop, sock, n):
    """Receive up to n bytes, as loop.sock_recv(); return them."""
    adapter = adapter_of(loop)
    if adapter is None:
        return await loop.sock_recv(sock, n)
    _check(loop, sock)
    return await _call(adapter, sock, _READ, lambda: sock.recv(n))


async def sock_recv_into(loop, sock, buf):
    """Receive into a buffer, as loop.sock_recv_into(); return the number of bytes."""
    adapter = adapter_of(loop)
    if adapter is None:
        return await loop.sock_recv_into(sock, buf)
    _check(loop, sock)
    return await _call(adapter, sock, _READ, lambda: sock.recv_into(buf))


async def sock_recvfrom(loop, sock, bufsize):
    """Receive a datagram, as loop.sock_recvfrom() of Python 3.11; return (bytes, address)."""
    adapter = adapter_of(loop)
    if adapter is None:
        return await loop.sock_recvfrom(sock, bufsize)
    _check(loop, sock)
    return await _call(adapter, sock, _READ, lambda: sock.recvfrom(bufsize))


async def sock_recvfrom_into(loop, sock, buf, nbytes=0):
    """Receive a datagram of at most nbytes (0: the size of the buffer) into a buffer.

    As loop.sock_recvfrom_into() of Python 3.11; return (number of bytes, address).
    """
    adapter = adapter_of(loop)
    if adapter is None:
        return await loop.sock_recvfrom_into(sock, buf, nbytes)
    _check(loop, sock)
    return await _call(adapter, sock, _READ, lambda: sock.recvfrom_into(buf, nbytes))


async def sock_sendall(loop, sock, data):
    """Send all of the data, as loop.sock_sendall()."""
    adapter = adapter_of(loop)
    if adapter is None:
        return await loop.sock_sendall(sock, data)
    _check(loop, sock)
    with memoryview(data) as view, view.cast("B") as rest:
        sent = 0

        def send():
            nonlocal sent
            while True:
                sent += sock.send(rest[sent:])
                if sent == len(rest):
                    return

        await _call(adapter, sock, _WRITE, send)


async def sock_sendto(loop, sock, data, address):
    """Send a datagram, as loop.sock_sendto() of Python 3.11; return the number of bytes."""
    adapter = adapter_of(loop)
    if adapter is None:
        return await loop.sock_sendto(sock, data, address)
    _check(loop, sock)
    return await _call(adapter, sock, _WRITE, lambda: sock.sendto(data, address))


async def sock_accept(loop, sock):
    """Accept a connection, as loop.sock_accept(); return (socket, address)."""
    adapter = adapter_of(loop)
    if adapter is None:
        return await loop.sock_accept(sock)
    _check(loop, sock)
    connection, address = await _call(adapter, sock, _READ, sock.accept)
    connection.setblocking(False)
    return connection, address


async def sock_connect(loop, sock, address):
    """Connect, as loop.sock_connect(); host names are resolved."""
    adapter = adapter_of(loop)
    if adapter is None:
        return await loop.sock_connect(sock, address)
    _check(loop, sock)
    if sock.family in _FAMILIES_WITH_NAMES:
        *_, address = (
            await adapter._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=adapter
            )
        )[0]

    def finish():
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error == 0 and not _has_peer(sock):
            # Another one who waited for this socket was told why.
            error = errno.ENOTCONN
        if error != 0:
            raise OSError(error, f"Connect call failed {address}")

    try:
        sock.connect(address)
    except (BlockingIOError, InterruptedError) as error:
        if error.errno == errno.EAGAIN:
            # A Unix socket whose listener has no room: nothing is under way.
            raise
    else:
        return
    watch = _find_watch(adapter, sock, _WRITE) or _Watch(adapter, sock, _WRITE)
    await watch.wait_for(finish)


def _has_peer(sock):
    try:
        sock.getpeername()
    except OSError as error:
        return error.errno != errno.ENOTCONN
    return True
