# SPDX-License-Identifier: MIT
"""Datagram endpoints: UDP over both versions of IP, and Unix sockets."""
import errno
import os
import socket
import sys

import pytest

from support.datagrams import (SENDS_EMPTY, all_families, endpoint, inet_only, local_address,
                               name_of, raw_socket, remote_address, reply, unix_only)
from support.marks import improvement
from support.protocols import DatagramRecorder, assert_same, turns, until

pytestmark = all_families


# ---- both ways ----


def test_datagrams_go_both_ways_with_their_addresses(env):
    """T38: the sender's address is what sendto() takes; bytearray and memoryview are sent too."""
    async def main():
        server = await endpoint(env, DatagramRecorder(datagram=reply))
        client = await endpoint(env)
        for data in (b"one", bytearray(b"two"), memoryview(b"three")):
            client.transport.sendto(data, name_of(server))
        await client.got(3)
        assert server.datagrams == [(data, name_of(client)) for data in (b"one", b"two", b"three")]
        assert client.datagrams == [(data, name_of(server)) for data in (b"one", b"two", b"three")]
        assert server.events == ["made"] + 3 * ["datagram"]
    env.run(main())


def test_a_remote_address_is_connected_to(env):
    """remote_addr: peername is known, no address or the same one may be given, others may not."""
    async def main():
        server = await endpoint(env, DatagramRecorder(datagram=reply))
        address = remote_address(name_of(server))
        client = await endpoint(env, local_addr=local_address(env), remote_addr=address)
        peername = client.transport.get_extra_info("peername")
        assert peername == name_of(server)
        client.transport.sendto(b"one")
        client.transport.sendto(b"two", addr=None)
        client.transport.sendto(data=b"three", addr=peername)
        await client.got(3)
        assert client.contents == [b"one", b"two", b"three"]
        other = name_of(client)
        with pytest.raises(ValueError) as caught:
            client.transport.sendto(b"four", other)
        assert str(caught.value) == "Invalid address: must be None or %s" % (peername,)
    env.run(main())


@inet_only
def test_a_remote_address_of_a_broadcaster_is_not_connected_to(env):
    """allow_broadcast with remote_addr: sendto() goes there, and everybody may answer."""
    async def main():
        server = await endpoint(env)
        stranger = await endpoint(env)
        client = await endpoint(env, local_addr=local_address(env), allow_broadcast=True,
                                remote_addr=remote_address(name_of(server)))
        assert client.transport.get_extra_info("peername") is None
        client.transport.sendto(b"to the server")
        await server.got(1)
        stranger.transport.sendto(b"from elsewhere", name_of(client))
        await client.got(1)
    env.run(main())


def test_long_datagrams_arrive_whole(env):
    """The longest datagram of a family is one datagram."""
    data = os.urandom(200000 if env.is_unix else 65507)

    async def main():
        server = await endpoint(env)
        client = await endpoint(env)
        for protocol in (server, client):
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                protocol.transport.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, option, 1 << 20)
        client.transport.sendto(data, name_of(server))
        client.transport.sendto(b"end", name_of(server))
        await server.got(2)
        assert_same(server.contents[0], data)
        assert server.contents[1] == b"end"
    env.run(main())


def test_empty_datagrams(env):
    """T38: empty ones are received; they are sent where the running asyncio sends them."""
    async def main():
        server = await endpoint(env)
        peer = raw_socket(env)
        peer.sendto(b"", name_of(server))
        await server.got(1)
        assert server.datagrams == [(b"", peer.getsockname())]
        for data in (b"", bytearray(), memoryview(b""), b"end"):
            server.transport.sendto(data, peer.getsockname())
        received = [await env.thread(peer.recv, 100)]
        while received[-1] != b"end":
            received.append(await env.thread(peer.recv, 100))
        assert received == (3 if SENDS_EMPTY else 0) * [b""] + [b"end"]
    env.run(main())


def test_many_datagrams_keep_their_order(env):
    """Batches are delivered in order, however many wait, and so is what a callback sends."""
    burst = 8 if env.is_unix else 100

    async def main():
        server = await endpoint(env, DatagramRecorder(datagram=reply))
        peer = raw_socket(env)
        expected = []
        for number in range(5):
            sent = [b"%d-%d" % (number, index) for index in range(burst)]
            for data in sent:
                peer.sendto(data, name_of(server))
            expected += sent
            for data in sent:
                assert await env.thread(peer.recv, 100) == data
        assert server.contents == expected
    env.run(main())


def test_one_callback_may_send_many(env):
    """What one datagram_received() sends arrives complete, in order, without a pause."""
    count = 9 if env.is_unix else 150

    def answer(protocol, data, addr):
        for number in range(count):
            protocol.transport.sendto(b"%d" % number, addr)

    async def main():
        server = await endpoint(env, DatagramRecorder(datagram=answer))
        server.transport.set_write_buffer_limits(high=100)
        peer = raw_socket(env)
        peer.sendto(b"go", name_of(server))
        for number in range(count):
            assert await env.thread(peer.recv, 100) == b"%d" % number
        await turns()
        assert server.transport.get_write_buffer_size() == 0
        assert server.events == ["made", "datagram"]
    env.run(main())


def test_nothing_is_received_before_connection_made(env):
    """A datagram that waits in the socket comes after connection_made(), and after the await."""
    async def main():
        order = []
        sock = raw_socket(env)
        env._peers.remove(sock)
        peer = raw_socket(env)
        peer.sendto(b"early", sock.getsockname())
        protocol = DatagramRecorder(made=lambda *_: order.append("made"),
                                    datagram=lambda *_: order.append("datagram"))
        await endpoint(env, protocol, sock=sock)
        order.append("awaited")
        await protocol.got(1)
        assert order == ["made", "awaited", "datagram"]
    env.run(main())


# ---- sockets that are given ----


def test_a_given_socket(env):
    """T54: sock= is taken, and made non-blocking."""
    async def main():
        sock = raw_socket(env)
        env._peers.remove(sock)
        sock.setblocking(True)
        server = await endpoint(env, DatagramRecorder(datagram=reply), sock=sock)
        assert not sock.getblocking()
        peer = raw_socket(env)
        peer.sendto(b"x", name_of(server))
        assert await env.thread(peer.recv, 100) == b"x"
        server.transport.close()
        await server.lost()
        await turns()
        assert sock.fileno() == -1
    env.run(main())


def test_a_given_socket_that_is_connected(env):
    """sendto() needs no address, and whatever it is given, the datagram goes to the peer."""
    async def main():
        peer, other = raw_socket(env), raw_socket(env)
        sock = raw_socket(env)
        env._peers.remove(sock)
        sock.connect(peer.getsockname())
        client = await endpoint(env, sock=sock)
        client.transport.sendto(b"one")
        client.transport.sendto(b"two", other.getsockname())
        for data in (b"one", b"two"):
            assert await env.thread(peer.recv, 100) == data
    env.run(main())


@improvement("a peer without a name is none for asyncio")
@unix_only
def test_a_pair_of_sockets(env):
    """Both ends of a socketpair, which have no names."""
    async def main():
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        left, right = [await endpoint(env, sock=sock) for sock in pair]
        left.transport.sendto(b"x")
        await until(lambda: right.datagrams or left.is_lost)
        assert right.contents == [b"x"]
        # Which address a Unix socket without a name has depends on how it is connected.
        assert not right.datagrams[0][1]
    env.run(main())


# An assertion in Python 3.10.
NOT_A_PAIR = AssertionError if sys.version_info[:2] == (3, 10) else TypeError


@pytest.mark.parametrize("keywords, error", [
    ({"local_addr": "text"}, NOT_A_PAIR), ({"remote_addr": ("127.0.0.1",)}, NOT_A_PAIR),
    ({}, ValueError)])
@inet_only
def test_arguments_that_are_refused(env, keywords, error):
    """The checks are the running Python's."""
    async def main():
        with pytest.raises(error):
            await env.loop.create_datagram_endpoint(DatagramRecorder, **keywords)
        with socket.socket() as sock:
            with pytest.raises(ValueError):
                await env.loop.create_datagram_endpoint(DatagramRecorder, sock=sock)
    env.run(main())


@inet_only
def test_an_address_in_use(env):
    """The OSError of bind(); reuse_port makes it possible."""
    async def main():
        first = await endpoint(env)
        with pytest.raises(OSError) as caught:
            await endpoint(env, local_addr=remote_address(name_of(first)))
        assert caught.value.errno == errno.EADDRINUSE
        second = await endpoint(env, local_addr=local_address(env), reuse_port=True)
        third = await endpoint(env, local_addr=remote_address(name_of(second)), reuse_port=True)
        assert name_of(second) == name_of(third)
    env.run(main())


@unix_only
def test_a_stale_path_is_replaced(env):
    """As asyncio does for a path on which a socket was left behind."""
    async def main():
        path = env.new_path()
        stale = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        stale.bind(path)
        stale.close()
        server = await endpoint(env, local_addr=path)
        raw_socket(env).sendto(b"x", path)
        await server.got(1)
    env.run(main())
