# SPDX-License-Identifier: MIT
"""The loop's connection methods as functions that take the loop first.

They run the running Python's code, so each takes the keywords that this Python has and raises
what it raises.  The loop needs not be patched, and is not patched by them.
"""

import asyncio
import inspect

from ._adapter import connector_of


def _as_method(name, *more):
    """Show the signature of the loop's method, with the loop first and more keywords."""

    def decorate(function):
        signature = inspect.signature(getattr(asyncio.SelectorEventLoop, name))
        _, *parameters = signature.parameters.values()
        loop = inspect.Parameter("loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        kind = inspect.Parameter.KEYWORD_ONLY
        added = [inspect.Parameter(keyword, kind, default=None) for keyword in more]
        function.__signature__ = signature.replace(parameters=[loop, *parameters, *added])
        return function

    return decorate


@_as_method("create_connection", "ssl_session")
async def create_connection(loop, *args, **kwargs):
    """Connect over TCP, as loop.create_connection(); return (transport, protocol).

    With ssl_session, an ssl.SSLSession, the client tries to resume that TLS session.
    """
    return await connector_of(loop).create_connection(*args, **kwargs)


@_as_method("create_datagram_endpoint")
async def create_datagram_endpoint(loop, *args, **kwargs):
    """Open a datagram socket, as loop.create_datagram_endpoint(); return (transport, protocol)."""
    return await connector_of(loop).create_datagram_endpoint(*args, **kwargs)


@_as_method("create_unix_connection", "ssl_session")
async def create_unix_connection(loop, *args, **kwargs):
    """Connect to a Unix socket, as loop.create_unix_connection(); return (transport, protocol).

    With ssl_session, an ssl.SSLSession, the client tries to resume that TLS session.
    """
    return await connector_of(loop).create_unix_connection(*args, **kwargs)


@_as_method("connect_accepted_socket")
async def connect_accepted_socket(loop, *args, **kwargs):
    """Serve a connection accepted elsewhere, as loop.connect_accepted_socket()."""
    return await connector_of(loop).connect_accepted_socket(*args, **kwargs)


@_as_method("connect_read_pipe")
async def connect_read_pipe(loop, *args, **kwargs):
    """Read from a pipe, as loop.connect_read_pipe(); return (transport, protocol)."""
    return await connector_of(loop).connect_read_pipe(*args, **kwargs)


@_as_method("connect_write_pipe")
async def connect_write_pipe(loop, *args, **kwargs):
    """Write to a pipe, as loop.connect_write_pipe(); return (transport, protocol)."""
    return await connector_of(loop).connect_write_pipe(*args, **kwargs)


@_as_method("create_server")
async def create_server(loop, *args, **kwargs):
    """Serve TCP, as loop.create_server(); return an asyncio.Server."""
    return await connector_of(loop).create_server(*args, **kwargs)


@_as_method("create_unix_server")
async def create_unix_server(loop, *args, **kwargs):
    """Serve a Unix socket, as loop.create_unix_server(); return an asyncio.Server."""
    return await connector_of(loop).create_unix_server(*args, **kwargs)


@_as_method("start_tls", "ssl_session")
async def start_tls(loop, *args, **kwargs):
    """Upgrade a transport to TLS, as loop.start_tls(); return the new transport.

    With ssl_session, an ssl.SSLSession, the client tries to resume that TLS session.
    """
    return await connector_of(loop).start_tls(*args, **kwargs)


@_as_method("sendfile")
async def sendfile(loop, *args, **kwargs):
    """Send a file over a transport, as loop.sendfile(); return the number of bytes sent."""
    return await connector_of(loop).sendfile(*args, **kwargs)
