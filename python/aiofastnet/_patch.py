# SPDX-License-Identifier: MIT
"""patch_loop(): make one event loop create its transports here."""

import asyncio
import functools
import inspect
import types
from asyncio import base_events, selector_events

from . import _sock
from ._adapter import HOSTED, adapter_of

# Where the methods of a loop that shares asyncio's connection logic meet the transports; and
# the connects, which the adapter makes safe against eager tasks and able to resume a session.
_SEAMS = (
    "_create_connection_transport",
    "_make_datagram_transport",
    "_make_read_pipe_transport",
    "_make_socket_transport",
    "_make_ssl_transport",
    "_make_write_pipe_transport",
    "_start_serving",
    "_stop_serving",
    "create_connection",
    "create_unix_connection",
    "sendfile",
    "start_tls",
)


def patch_loop(loop=None):
    """Make `loop` create its connections, pipes and datagram endpoints with aiofastnet; return it.

    Without an argument it is the current loop, asyncio.get_event_loop().  This may be done before
    the loop runs and while it runs; transports that exist stay what they are.  A second call
    changes nothing, and a loop without add_reader() keeps its own methods.  Closing the loop drops
    the connections that are still open.
    """
    if loop is None:
        loop = asyncio.get_event_loop()
    adapter = adapter_of(loop)
    if adapter is None or adapter.originals:
        return loop
    methods = dict(_ON_OTHERS)
    if isinstance(loop, selector_events.BaseSelectorEventLoop):
        methods = dict(_ON_ASYNCIO)
        for name in ("create_connection", "create_unix_connection"):
            if getattr(type(loop), name) is not getattr(asyncio.SelectorEventLoop, name):
                # A subclass that does something more there gets our transports by the seams.
                del methods[name]
    adapter.originals.update((name, getattr(loop, name)) for name in methods)
    for name, function in methods.items():
        # A bound method in the instance compares, binds and is inspected as the class's would.
        setattr(loop, name, types.MethodType(function, loop))
    for name, arguments in _SOCK_METHODS.items():
        if _lacks(loop, name, arguments):
            setattr(loop, name, types.MethodType(getattr(_sock, name), loop))
    return loop


def _lacks(loop, name, arguments):
    """Has the loop no such method, or one that only says so?"""
    method = getattr(loop, name, None)
    if method is None:
        return True
    if isinstance(loop, selector_events.BaseSelectorEventLoop):
        return False
    try:
        attempt = method(*[None] * arguments)
        if asyncio.isfuture(attempt):
            attempt.cancel()
        else:
            _step(attempt)
    except NotImplementedError:
        return True
    except Exception:
        # What it thinks of a socket that is None.
        pass
    return False


def _step(coroutine):
    try:
        coroutine.send(None)
    finally:
        coroutine.close()


def _forward(name):
    """A method for loops that the adapter carries out."""
    stock = getattr(asyncio.SelectorEventLoop, name)
    if inspect.iscoroutinefunction(stock):

        async def method(self, *args, **kwargs):
            return await getattr(self._aiofastnet, name)(*args, **kwargs)

    else:

        def method(self, *args, **kwargs):
            return getattr(self._aiofastnet, name)(*args, **kwargs)

    return functools.wraps(stock)(method)


def _guard(name):
    """A method for loops that refuses a transport's descriptor and is the loop's own otherwise."""

    def method(self, fd, *args, **kwargs):
        self._aiofastnet._ensure_fd_no_transport(fd)
        return self._aiofastnet.originals[name](fd, *args, **kwargs)

    return functools.wraps(getattr(asyncio.SelectorEventLoop, name))(method)


@functools.wraps(asyncio.SelectorEventLoop.close)
def _close(self):
    self._aiofastnet.close_reactor()
    return self._aiofastnet.originals["close"]()


_ON_ASYNCIO = {name: _forward(name) for name in _SEAMS}
_ON_ASYNCIO["_ensure_fd_no_transport"] = _guard("_ensure_fd_no_transport")
_ON_ASYNCIO["close"] = _close

_ON_OTHERS = {name: _forward(name) for name in HOSTED}
_ON_OTHERS.update(
    (name, _guard(name)) for name in ("add_reader", "add_writer", "remove_reader", "remove_writer")
)
_ON_OTHERS["close"] = _close

# With how many arguments.  They are installed where the loop has none: for one that has to wait,
# asyncio's own were measured to be 20 to 35 % faster, and uvloop's 60 %.
_SOCK_METHODS = {
    "sock_accept": 1,
    "sock_connect": 2,
    "sock_recv": 2,
    "sock_recv_into": 2,
    "sock_recvfrom": 2,
    "sock_recvfrom_into": 2,
    "sock_sendall": 2,
    "sock_sendto": 3,
}
