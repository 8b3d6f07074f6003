# SPDX-License-Identifier: MIT
"""Datagrams that wait for room, and what becomes of them when the endpoint ends."""
import asyncio
import logging

import pytest

from support.datagrams import (SENDS_EMPTY, all_families, blocked, drain, endpoint, name_of,
                               raw_socket, remote_address, unix_only)
from support.marks import improvement
from support.protocols import DatagramRecorder, turns

pytestmark = all_families


# ---- the queue ----


@unix_only
@pytest.mark.parametrize("connected", [False, True])
def test_what_the_peer_does_not_take_is_queued(env, connected):
    """Sent in order once there is room; what is changed after sendto() is sent as it was."""
    async def main():
        client, peer = await blocked(env, connected=connected)
        address = None if connected else peer.getsockname()
        data = bytearray(b"before")
        client.transport.sendto(data, address)
        data[:] = b"after!"
        client.transport.sendto(memoryview(b"last"), address)
        header = 8 if SENDS_EMPTY else 0
        assert client.transport.get_write_buffer_size() == 5 + 6 + 4 + 3 * header
        received = await env.thread(drain, client, peer, 2)
        assert received == [b"%05d" % number for number in range(client.sent)] + [
            b"before", b"last"]
        assert client.events == ["made"]
    env.run(main())


@improvement("asyncio forgets to take the headers of what was sent off the size", since=(3, 13),
             before=(3, 14, 10))
@unix_only
@pytest.mark.parametrize("connected", [False, True])
def test_the_buffer_size_returns_to_zero(env, connected):
    """T38: once everything is sent, and writing is resumed, which was paused."""
    async def main():
        client, peer = await blocked(env, connected=connected)
        client.transport.set_write_buffer_limits(high=30, low=10)
        assert client.transport.get_write_buffer_limits() == (10, 30)
        for _ in range(10):
            client.transport.sendto(b"12345", None if connected else peer.getsockname())
        assert client.events == ["made", "pause"]
        await env.thread(drain, client, peer, 10)
        # A pause whose size stays up is never ended.
        await turns(100)
        assert client.transport.get_write_buffer_size() == 0
        assert client.events == ["made", "pause", "resume"]
    env.run(main())


@unix_only
def test_an_empty_datagram_in_the_queue_counts(env):
    """Where empty ones are sent, each counts its header."""
    async def main():
        client, peer = await blocked(env)
        before = client.transport.get_write_buffer_size()
        client.transport.sendto(b"", peer.getsockname())
        assert client.transport.get_write_buffer_size() - before == (8 if SENDS_EMPTY else 0)
        received = await env.thread(drain, client, peer, 1 if SENDS_EMPTY else 0)
        assert received[-1] == (b"" if SENDS_EMPTY else b"%05d" % (client.sent - 1))
    env.run(main())


@pytest.mark.parametrize("limits, expected", [
    ({}, (16384, 65536)), ({"high": 100}, (25, 100)), ({"low": 100}, (100, 400)),
    ({"high": 5, "low": 5}, (5, 5)), ({"high": 0}, (0, 0))])
def test_write_limits(env, limits, expected):
    """As those of other transports."""
    async def main():
        client = await endpoint(env)
        assert client.transport.get_write_buffer_limits() == (16384, 65536)
        client.transport.set_write_buffer_limits(**limits)
        assert client.transport.get_write_buffer_limits() == expected
        with pytest.raises(ValueError):
            client.transport.set_write_buffer_limits(high=1, low=2)
    env.run(main())


# ---- the end ----


@unix_only
@pytest.mark.parametrize("connected", [False, True])
def test_close_sends_what_is_queued(env, connected):
    """T38: then connection_lost() comes; nothing is received any more."""
    async def main():
        client, peer = await blocked(env, connected=connected)
        client.transport.close()
        client.transport.close()
        assert client.transport.is_closing()
        raw_socket(env).sendto(b"late", name_of(client)) if not connected else None
        await turns()
        assert client.events == ["made"]
        received = await env.thread(drain, client, peer)
        assert received == [b"%05d" % number for number in range(client.sent)]
        assert await client.lost() is None
        assert client.events == ["made", "lost"]
    env.run(main())


@unix_only
def test_abort_drops_what_is_queued(env):
    """Also after close()."""
    async def main():
        client, peer = await blocked(env)
        client.transport.close()
        client.transport.abort()
        assert await client.lost() is None
        received = await env.thread(drain, client, peer, -1)
        assert received == [b"%05d" % number for number in range(client.sent - 1)]
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(100)
    env.run(main())


@improvement("asyncio's size remains", since=(3, 11), before=(3, 15))
@unix_only
def test_the_buffer_size_is_zero_after_abort(env):
    """T38: what is dropped does not count."""
    async def main():
        client, peer = await blocked(env)
        client.transport.abort()
        await client.lost()
        assert client.transport.get_write_buffer_size() == 0
    env.run(main())


@pytest.mark.parametrize("method", ["close", "abort"])
def test_the_end_of_an_idle_endpoint(env, method):
    """connection_lost(None) comes once, and not from inside."""
    async def main():
        client = await endpoint(env)
        getattr(client.transport, method)()
        assert client.transport.is_closing()
        assert client.events == ["made"]
        assert await client.lost() is None
        getattr(client.transport, method)()
        await turns()
        assert client.events == ["made", "lost"]
    env.run(main())


def test_the_end_in_the_middle_of_a_batch(env):
    """close() in datagram_received(): what else has come is not delivered."""
    async def main():
        server = await endpoint(env, DatagramRecorder(
            datagram=lambda protocol, *_: protocol.transport.close()))
        peer = raw_socket(env)
        for number in range(5):
            peer.sendto(b"%d" % number, name_of(server))
        await server.lost()
        await turns()
        assert server.contents == [b"0"]
    env.run(main())


def test_the_end_in_connection_made(env):
    """connection_lost() comes after connection_made(), and the creator is served."""
    async def main():
        client = await endpoint(env, DatagramRecorder(
            made=lambda protocol, transport: transport.close()))
        await client.lost()
        assert client.events == ["made", "lost"]
    env.run(main())


@improvement("asyncio tries, or fails for want of a socket")
@pytest.mark.parametrize("waiting", [False, True])
def test_sendto_after_the_end_sends_nothing(env, waiting):
    """T57: sendto() on a closed transport, even if its descriptor belongs to somebody else."""
    async def main():
        peer = raw_socket(env)
        client = await endpoint(env)
        fd = client.transport.get_extra_info("socket").fileno()
        client.transport.close()
        if waiting:
            await client.lost()
            await turns()
            others = [raw_socket(env, bound=False) for _ in range(5)]
            assert fd in [sock.fileno() for sock in others]
        for _ in range(3):
            client.transport.sendto(b"x", peer.getsockname())
        await client.lost()
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(100)
        assert client.events == ["made", "lost"]
    env.run(main())


def test_sendto_after_the_end_warns_after_five(env, caplog):
    """As asyncio does where the remote address is settled."""
    async def main():
        peer = raw_socket(env)
        client = await endpoint(env, remote_addr=remote_address(peer.getsockname()))
        client.transport.close()
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(7):
                client.transport.sendto(b"x")
        assert [record.getMessage() for record in caplog.records] == \
            3 * ["socket.send() raised exception."]
        await client.lost()
    env.run(main())


def test_cancelling_the_creation_leaves_nothing(env):
    """The harness looks for descriptors and transports that stayed."""
    async def main():
        protocol = DatagramRecorder()
        task = env.loop.create_task(endpoint(env, protocol))
        while protocol.transport is None and not task.done():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await protocol.lost()
        assert protocol.events == ["made", "lost"]
    env.run(main())
