# SPDX-License-Identifier: MIT
"""asyncio's StreamReader and StreamWriter on our transports."""

import asyncio
from asyncio import streams

from ._adapter import connector_of

_DEFAULT_LIMIT = streams._DEFAULT_LIMIT


async def open_connection(loop, host=None, port=None, *, limit=_DEFAULT_LIMIT, **kwds):
    """Connect over TCP; as asyncio.open_connection(), return a (reader, writer) pair."""
    connector = connector_of(loop)
    reader, protocol = _make_stream(connector, limit)
    transport, _ = await connector.create_connection(lambda: protocol, host, port, **kwds)
    return reader, asyncio.StreamWriter(transport, protocol, reader, connector)


async def open_unix_connection(loop, path=None, *, limit=_DEFAULT_LIMIT, **kwds):
    """Connect to a Unix socket; as asyncio.open_unix_connection(), return (reader, writer)."""
    connector = connector_of(loop)
    reader, protocol = _make_stream(connector, limit)
    transport, _ = await connector.create_unix_connection(lambda: protocol, path, **kwds)
    return reader, asyncio.StreamWriter(transport, protocol, reader, connector)


async def start_server(
    loop, client_connected_cb, host=None, port=None, *, limit=_DEFAULT_LIMIT, **kwds
):
    """Serve TCP; as asyncio.start_server(), call back with each client's reader and writer."""
    connector = connector_of(loop)
    factory = _protocol_factory(connector, limit, client_connected_cb)
    return await connector.create_server(factory, host, port, **kwds)


async def start_unix_server(loop, client_connected_cb, path=None, *, limit=_DEFAULT_LIMIT, **kwds):
    """Serve a Unix socket; as asyncio.start_unix_server(), call back for each client."""
    connector = connector_of(loop)
    factory = _protocol_factory(connector, limit, client_connected_cb)
    return await connector.create_unix_server(factory, path, **kwds)


def _make_stream(connector, limit, client_connected_cb=None):
    # The streams keep the connector as their loop, for StreamWriter.start_tls().
    reader = asyncio.StreamReader(limit=limit, loop=connector)
    protocol = asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=connector)
    return reader, protocol


def _protocol_factory(connector, limit, client_connected_cb):
    def make_protocol():
        return _make_stream(connector, limit, client_connected_cb)[1]

    return make_protocol
