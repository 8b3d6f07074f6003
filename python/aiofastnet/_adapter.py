# SPDX-License-Identifier: MIT
"""Host the running Python's connection logic on any event loop that has add_reader().

Name resolution, Happy Eyeballs, argument checks and asyncio.Server differ between Python versions
and are right in the running one.  So they are not written again here: asyncio's own methods run
with an adapter as their `self`, which makes transports with the C extension and hands every other
question to the user's loop.
"""

import asyncio
import collections.abc
import contextvars
import os
import socket
import sys
import types
from asyncio import base_events, constants, selector_events

from . import _core
from ._sendfile import (
    has_descriptor,
    is_plain,
    refuse_second,
    send_by_library,
    send_by_reading,
)
from ._upgrade import can_carry, get_received, move_reader, move_writer

try:
    import ssl
except ImportError:  # a Python without OpenSSL
    ssl = None

_Stock = asyncio.SelectorEventLoop

# Something that is a stream socket, as far as asyncio's check of arguments looks at it.
_STREAM = types.SimpleNamespace(type=socket.SOCK_STREAM)

# Ours, for which asyncio refuses a sendfile().
_NO_FILES = (_core.DatagramTransport, _core.ReadPipeTransport, _core.WritePipeTransport)

# What asyncio does on the adapter; each other public method of the adapter is the user's loop's.
HOSTED = (
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "sendfile",
    "start_tls",
)


class Server(base_events.Server):
    """asyncio.Server, whose private loop is an adapter."""

    def get_loop(self):
        return self._loop.loop


class _Resuming:
    """What stands for an SSLContext, and a session to resume, on its way through asyncio's code."""

    def __init__(self, sslcontext, session):
        self.sslcontext = None if isinstance(sslcontext, bool) else sslcontext
        self.session = session


def _resume(keywords, session):
    """Take the session into the keywords of a connect."""
    if session is None:
        return keywords
    if not keywords.get("ssl"):
        raise ValueError("ssl_session is only meaningful with ssl")
    return {**keywords, "ssl": _Resuming(keywords["ssl"], session)}


class _TransportsByDescriptor:
    """What asyncio's check for transports needs of the mapping that a stock loop keeps."""

    def __init__(self, reactor):
        self._reactor = reactor

    def get(self, fd, default=None):
        transport = self._reactor.get_transport(fd)
        return default if transport is None else transport

    def __getitem__(self, fd):
        transport = self._reactor.get_transport(fd)
        if transport is None:
            raise KeyError(fd)
        return transport


class _StartingLater(collections.abc.Coroutine):
    """A coroutine that does not get anywhere in its first step."""

    def __init__(self, coroutine):
        self._coroutine = coroutine
        self._started = False

    def send(self, value):
        if self._started:
            return self._coroutine.send(value)
        self._started = True
        return None

    def throw(self, *exception):
        return self._coroutine.throw(*exception)

    def close(self):
        self._coroutine.close()

    def __await__(self):
        return self._coroutine.__await__()

    def __getattr__(self, name):
        # What describes a coroutine, for the repr of its task.
        return getattr(self._coroutine, name)


class LoopAdapter(_Stock):
    """asyncio's connection logic, our transports and somebody else's loop; never run itself.

    One lives on each loop, in its attribute `_aiofastnet`, patched or not.
    """

    def __init__(self, loop):
        # Not the base's __init__: it would open a selector and sockets that nobody uses.
        self.loop = loop
        self.originals = {}  # what patch_loop() has hidden, by name; empty on an unpatched loop
        self._reactor = None
        self._pid = None  # of the process that made the reactor
        self._listeners = {}
        self.watches = {}  # of _sock.py: who waits for a socket, by descriptor and direction
        # From 3.13 on asyncio notes here which paths to remove with their listener.
        self._unix_server_sockets = getattr(loop, "_unix_server_sockets", {})

    def __del__(self):
        # The base's would report a loop that was never closed.
        pass

    def __repr__(self):
        return repr(self.loop)

    @property
    def reactor(self):
        """The loop's reactor, made when the first transport needs it."""
        if self._reactor is None:
            reactor = _core.Reactor(self.loop, getattr(self.loop, "_ready", None))
            # Not in the context of whoever happens to be the first: it would be kept for ever.
            contextvars.Context().run(self.loop.add_reader, reactor.fileno(), reactor.dispatch)
            self._reactor = reactor
            self._pid = os.getpid()
        return self._reactor

    def close_reactor(self):
        """Drop every transport, before the loop is closed."""
        # A running loop refuses to be closed.
        if self._reactor is None or self.loop.is_running():
            return
        # In a child process the loop's epoll set is the parent's.
        if not self.loop.is_closed() and os.getpid() == self._pid:
            self.loop.remove_reader(self._reactor.fileno())
        self._reactor.close()

    def original(self, name):
        """The method of the loop as it was before patch_loop()."""
        return self.originals.get(name) or getattr(self.loop, name)

    # asyncio's private names, as its own methods read them.

    @property
    def _debug(self):
        return self.loop.get_debug()

    @property
    def _transports(self):
        return _TransportsByDescriptor(self._reactor)

    def _ensure_fd_no_transport(self, fd):
        if self._reactor is not None:
            super()._ensure_fd_no_transport(fd)

    def _remove_reader(self, fd):
        # asyncio's _stop_serving() calls this before it closes the socket.
        sock = self._listeners.pop(fd, None)
        if sock is None:
            # A server that was there before patch_loop().
            return self.loop.remove_reader(fd)
        self.reactor.stop_serving(sock)
        return True

    # The seams: where asyncio's connection logic asks its loop for transports and listeners.

    async def _create_connection_transport(self, sock, protocol_factory, *args, **kwargs):
        def make_protocol():
            try:
                return protocol_factory()
            except BaseException:
                sock.close()
                raise

        try:
            return await super()._create_connection_transport(
                sock, make_protocol, *args, **kwargs
            )
        except BaseException as error:
            _clear_inner_frame(error)
            raise

    def _make_socket_transport(
        self, sock, protocol, waiter=None, *, extra=None, server=None, context=None
    ):
        self._ensure_fd_no_transport(sock)
        return _call(
            context, self.reactor.make_socket_transport, sock, protocol, waiter, extra, server
        )

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None):
        return self.reactor.make_datagram_transport(sock, protocol, address, waiter, extra)

    def _make_ssl_transport(
        self,
        rawsock,
        protocol,
        sslcontext,
        waiter=None,
        *,
        server_side=False,
        server_hostname=None,
        context=None,
        **options,
    ):
        if isinstance(sslcontext, _Resuming):
            options["ssl_session"] = sslcontext.session
            sslcontext = sslcontext.sslcontext
        try:
            self._ensure_fd_no_transport(rawsock)
            return _call(
                context,
                self.reactor.make_ssl_transport,
                rawsock,
                protocol,
                sslcontext or None,
                waiter,
                server_side=server_side,
                server_hostname=None if server_side else server_hostname or None,
                **options,
            )
        except BaseException:
            # Nobody else closes it when an argument is refused here.
            rawsock.close()
            raise

    def _make_read_pipe_transport(self, pipe, protocol, waiter=None, extra=None):
        return self.reactor.make_read_pipe_transport(pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(self, pipe, protocol, waiter=None, extra=None):
        return self.reactor.make_write_pipe_transport(pipe, protocol, waiter, extra)

    def _start_serving(
        self,
        protocol_factory,
        sock,
        sslcontext=None,
        server=None,
        backlog=100,
        ssl_handshake_timeout=None,
        ssl_shutdown_timeout=None,
        context=None,
    ):
        self._ensure_fd_no_transport(sock)
        _call(
            context,
            self.reactor.start_serving,
            sock,
            protocol_factory,
            sslcontext or None,
            server,
            backlog,
            ssl_handshake_timeout,
            ssl_shutdown_timeout,
        )
        self._listeners[sock.fileno()] = sock

    # Public methods that asyncio's own code does not do all of.

    def create_task(self, coro, **kwargs):
        # Happy Eyeballs of 3.12 and 3.13 fail when a task runs before create_task() returns, as a
        # task factory may make it do.
        if sys.version_info >= (3, 12) and self.loop.get_task_factory() is not None:
            coro = _StartingLater(coro)
        return self.loop.create_task(coro, **kwargs)

    async def create_connection(self, *args, ssl_session=None, **kwargs):
        return await super().create_connection(*args, **_resume(kwargs, ssl_session))

    async def create_unix_connection(self, *args, ssl_session=None, **kwargs):
        return await super().create_unix_connection(*args, **_resume(kwargs, ssl_session))

    async def create_server(self, *args, **kwargs):
        return _own(await _create_server(self, *args, **kwargs))

    async def create_unix_server(self, *args, **kwargs):
        return _own(await super().create_unix_server(*args, **kwargs))

    async def start_tls(self, transport, protocol, sslcontext, **options):
        """Put TLS on a transport: in place on one of ours, over any other and over TLS.

        On the server side the bytes that a StreamReader already holds belong to the handshake:
        they are taken out of it.  The reader refers to the new transport from the start, a
        StreamWriter as soon as the handshake is done.
        """
        if ssl is None:
            raise RuntimeError("Python ssl module is not available")
        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(
                f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}"
            )
        if not can_carry(transport):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        return await self._start_tls(transport, protocol, sslcontext, **options)

    async def _start_tls(
        self,
        transport,
        protocol,
        sslcontext,
        *,
        server_side=False,
        server_hostname=None,
        ssl_handshake_timeout=None,
        ssl_shutdown_timeout=None,
        ssl_session=None,
    ):
        received = get_received(protocol, server_side)
        waiter = self.loop.create_future()
        upgraded = self.reactor.start_tls(
            transport,
            protocol,
            sslcontext,
            waiter,
            server_side=server_side,
            server_hostname=None if server_side else server_hostname or None,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            ssl_session=ssl_session,
            received=received,
        )
        move_reader(protocol, transport, upgraded, received)
        try:
            await waiter
        except BaseException:
            upgraded.close()
            raise
        finally:
            # It holds the exception, whose traceback holds this frame.
            del waiter
        move_writer(protocol, transport, upgraded)
        return upgraded

    async def sendfile(self, transport, file, offset=0, count=None, *, fallback=True):
        """Send a file over one of our transports; for others the loop that made them does it."""
        if isinstance(transport, _NO_FILES):
            return await super().sendfile(transport, file, offset, count, fallback=fallback)
        if not isinstance(transport, _core.Transport):
            send = self.original("sendfile")
            return await send(transport, file, offset, count, fallback=fallback)
        refuse_second(transport)
        is_native = transport._sendfile_compatible is constants._SendfileMode.TRY_NATIVE
        if not fallback and not is_native:
            # A RuntimeError, which stock raises here, and the exception that is documented.
            if not transport.is_closing():
                raise asyncio.SendfileNotAvailableError(
                    f"fallback is disabled and native sendfile is not supported for "
                    f"transport {transport!r}"
                )
        return await super().sendfile(transport, file, offset, count, fallback=fallback)

    async def _sendfile_native(self, transp, file, offset, count):
        is_tls = transp.get_extra_info("sslcontext") is not None
        if is_tls and has_descriptor(file) and not is_plain(file):
            # What TLS sends of a GzipFile must not depend on who encrypts.
            raise asyncio.SendfileNotAvailableError("not what the file's descriptor has")
        self._check_sendfile_params(_STREAM, file, offset, count)
        if not has_descriptor(file):
            raise asyncio.SendfileNotAvailableError("not a regular file")
        return await send_by_library(self.loop, transp, file, offset, count, True)

    async def _sendfile_fallback(self, transp, file, offset, count):
        # GzipFile's mode is a number before Python 3.13, which the check does not understand.
        named = file if isinstance(getattr(file, "mode", None), str) else None
        self._check_sendfile_params(_STREAM, named, offset, count)
        if has_descriptor(file) and is_plain(file):
            return await send_by_library(self.loop, transp, file, offset, count, False)
        return await send_by_reading(self.loop, transp, file, offset, count)


def adapter_of(loop):
    """The adapter on this loop, made when it is first asked for; None without add_reader()."""
    adapter = getattr(loop, "_aiofastnet", None)
    if adapter is None:
        if not isinstance(loop, asyncio.AbstractEventLoop):
            raise TypeError(f"an event loop is expected, got {loop!r}")
        if loop.is_closed():
            raise RuntimeError("Event loop is closed")
        if not _takes_readers(loop):
            return None
        adapter = loop._aiofastnet = LoopAdapter(loop)
    return adapter


def connector_of(loop):
    """The object whose create_connection() and so on make our transports on this loop.

    That is the loop itself when patch_loop() had it, or when it cannot carry our transports at
    all: such a loop keeps its own methods.
    """
    adapter = adapter_of(loop)
    return loop if adapter is None or adapter.originals else adapter


def _takes_readers(loop):
    add_reader = type(loop).add_reader
    if add_reader is selector_events.BaseSelectorEventLoop.add_reader:
        return True
    if add_reader is asyncio.AbstractEventLoop.add_reader:
        return False
    # Some loops define it in order to refuse.
    with socket.socket() as probe:
        try:
            loop.add_reader(probe.fileno(), int)
        except NotImplementedError:
            return False
        loop.remove_reader(probe.fileno())
    return True


def _clear_inner_frame(error):
    # asyncio's frame holds the future that holds the exception, whose traceback holds the frame: a
    # cycle that keeps SSL contexts and protocols until the collector runs.  Nor may the frame that
    # catches the exception be left with a variable for the traceback.
    inner = error.__traceback__.tb_next
    if inner is not None:
        inner.tb_frame.clear()


def _call(context, function, *args, **kwargs):
    # Newer versions name the context that the callbacks are to run in; the extension copies the
    # current one.  A copy is entered, since the caller may be inside the context itself.
    if context is None:
        return function(*args, **kwargs)
    return context.copy().run(function, *args, **kwargs)


def _own(server):
    server.__class__ = Server
    return server


def _delegate(name):
    def method(self, *args, **kwargs):
        return getattr(self.loop, name)(*args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"{LoopAdapter.__qualname__}.{name}"
    return method


def _create_server_for_python39():
    # 3.9 tells gather() to make a future on `self`, which a task of the user's loop must not
    # await.  Later versions use the running loop there.
    def gather(*coroutines, loop):
        return asyncio.gather(*coroutines)

    stock = _Stock.create_server
    tasks = types.SimpleNamespace(**{**vars(base_events.tasks), "_gather": gather})
    function = types.FunctionType(
        stock.__code__, {**vars(base_events), "tasks": tasks}, stock.__name__, stock.__defaults__
    )
    function.__kwdefaults__ = stock.__kwdefaults__
    return function


_create_server = (
    _Stock.create_server if sys.version_info >= (3, 10) else _create_server_for_python39()
)

for _name in dir(_Stock):
    if (
        not _name.startswith("_")
        and _name not in HOSTED
        and _name not in vars(LoopAdapter)
        and callable(getattr(_Stock, _name))
    ):
        setattr(LoopAdapter, _name, _delegate(_name))
