# SPDX-License-Identifier: MIT
"""Datagram endpoints: UDP over both versions of IP, and Unix sockets."""
import asyncio
import contextvars
import errno
import gc
import logging
import os
import socket
import sys

import pytest

from support.env import make_loop, uvloop
from support.marks import improvement
from support.peers import PATIENCE
from support.protocols import DatagramRecorder, assert_same, turns, until

pytestmark = pytest.mark.kinds("inet", "inet6", "unix")
inet_only = pytest.mark.kinds("inet", "inet6")
ipv4_only = pytest.mark.kinds("inet")
unix_only = pytest.mark.kinds("unix")
ours_only = pytest.mark.implementations("ours", "ours_uvloop")

FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "unix": socket.AF_UNIX}
HOSTS = {"inet": "127.0.0.1", "inet6": "::1"}
SENDS_EMPTY = sys.version_info >= (3, 13)
variable = contextvars.ContextVar("variable", default="unset")


def local_address(env):
    return env.new_path() if env.is_unix else (HOSTS[env.kind], 0)


def remote_address(address):
    """What create_datagram_endpoint takes for an address that a socket has."""
    return address if isinstance(address, (str, bytes)) else address[:2]


def raw_socket(env, bound=True):
    """A blocking socket of the test, which is closed at the end of it."""
    sock = socket.socket(FAMILIES[env.kind], socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    if bound:
        sock.bind(local_address(env))
    env._peers.append(sock)
    return sock


async def endpoint(env, protocol=None, **keywords):
    """A recorder with its transport; bound unless there are keywords."""
    protocol = DatagramRecorder() if protocol is None else protocol
    if env.is_unix and "sock" not in keywords:
        keywords["family"] = socket.AF_UNIX
    if not {"sock", "remote_addr", "local_addr"} & set(keywords):
        keywords["local_addr"] = local_address(env)
    transport, given = await env.loop.create_datagram_endpoint(lambda: protocol, **keywords)
    assert given is protocol
    assert transport is protocol.transport
    return protocol


def name_of(protocol):
    return protocol.transport.get_extra_info("sockname")


def reply(protocol, data, addr):
    protocol.transport.sendto(data, addr)


async def blocked(env, protocol=None, connected=False):
    """(protocol, peer): on a Unix socket whose peer's queue is full, so that more is queued."""
    peer = raw_socket(env)
    address = peer.getsockname()
    protocol = await endpoint(env, protocol, local_addr=local_address(env),
                              **({"remote_addr": address} if connected else {}))
    count = 0
    while protocol.transport.get_write_buffer_size() == 0:
        protocol.transport.sendto(b"%05d" % count, None if connected else address)
        count += 1
        assert count < 10000
    protocol.sent = count
    return protocol, peer


def drain(protocol, peer, extra=0):
    """What the peer of `blocked` gets of its endpoint, in a thread."""
    return [peer.recv(1024) for _ in range(protocol.sent + extra)]


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


# ---- errors ----


def test_nobody_listens(env):
    """T38: ECONNREFUSED, whether receiving or sending meets it, is no end but error_received()."""
    async def main():
        peer = raw_socket(env)
        address = peer.getsockname()
        client = await endpoint(env, local_addr=local_address(env),
                                remote_addr=remote_address(address))
        peer.close()
        if env.is_unix:
            client.transport.sendto(b"x")
            assert len(client.errors) == 1      # at once
        else:
            client.transport.sendto(b"x")
            await client.failed()
        assert [type(error) for error in client.errors] == [ConnectionRefusedError]
        assert client.errors[0].args == (errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        assert not client.transport.is_closing()
        assert client.transport.get_write_buffer_size() == 0
        if not env.is_unix:
            again = socket.socket(FAMILIES[env.kind], socket.SOCK_DGRAM)
            env._peers.append(again)
            again.bind(address)
            again.sendto(b"y", name_of(client))
            await client.got(1)
    env.run(main())


@inet_only
def test_a_datagram_that_is_too_long(env):
    """EMSGSIZE is told by error_received(), from inside sendto(), and is not the end."""
    async def main():
        server = await endpoint(env)
        client = await endpoint(env)
        client.transport.sendto(bytes(70000), name_of(server))
        assert [error.errno for error in client.errors] == [errno.EMSGSIZE]
        client.transport.sendto(b"short", name_of(server))
        await server.got(1)
        assert client.events == ["made", "error"]
    env.run(main())


def test_an_exception_of_error_received_comes_out_of_sendto(env):
    """As error_received() is called from sendto(), so is its exception sendto()'s."""
    def fail(protocol, error):
        raise ZeroDivisionError

    async def main():
        client = await endpoint(env, DatagramRecorder(error=fail))
        address = env.new_path() if env.is_unix else name_of(client)
        with pytest.raises(ZeroDivisionError):
            client.transport.sendto(bytes(1 << 20), address)
        assert not client.transport.is_closing()
    env.run(main())


def test_an_exception_of_datagram_received_is_reported(env):
    """It goes to call_exception_handler, and the transport goes on."""
    def fail(protocol, data, addr):
        if data == b"bad":
            raise ZeroDivisionError

    async def main():
        server = await endpoint(env, DatagramRecorder(datagram=fail))
        peer = raw_socket(env)
        for data in (b"bad", b"good"):
            peer.sendto(data, name_of(server))
        await server.got(2)
        await turns()
        contexts = env.take_exceptions()
        assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]
        assert "Exception in callback" in contexts[0]["message"]
        assert not server.transport.is_closing()
    env.run(main())


@inet_only
def test_an_exception_of_error_received_is_reported(env):
    """When the error came while receiving."""
    def fail(protocol, error):
        raise ZeroDivisionError

    async def main():
        peer = raw_socket(env)
        client = await endpoint(env, DatagramRecorder(error=fail),
                                remote_addr=remote_address(peer.getsockname()))
        peer.close()
        client.transport.sendto(b"x")
        await client.failed()
        await turns()
        contexts = env.take_exceptions()
        assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]
        assert not client.transport.is_closing()
    env.run(main())


def test_an_exception_of_connection_made_is_reported(env):
    """The transport goes on."""
    def fail(protocol, transport):
        raise ZeroDivisionError

    async def main():
        server = await endpoint(env, DatagramRecorder(made=fail))
        contexts = env.take_exceptions()
        assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]
        raw_socket(env).sendto(b"x", name_of(server))
        await server.got(1)
    env.run(main())


def test_an_exception_of_connection_lost_is_reported(env):
    """The socket is closed all the same."""
    def fail(protocol, exc):
        raise ZeroDivisionError

    async def main():
        server = await endpoint(env, DatagramRecorder(lost=fail))
        server.transport.close()
        await server.lost()
        await turns()
        contexts = env.take_exceptions()
        assert [type(context["exception"]) for context in contexts] == [ZeroDivisionError]
    env.run(main())


BAD_ADDRESSES = {
    "inet": (None, "127.0.0.1", ("127.0.0.1",), ("127.0.0.1", 70000), ("127.0.0.1", "1"),
             ("127.0.0.1", -1), ("127.0.0.1", 1, 0), (5, 5), ["127.0.0.1", 1], b"x"),
    "inet6": (None, "::1", ("::1",), ("::1", 70000), ("::1", 1, 1 << 20), ("::1", 1, 0, 0, 0),
              ("::1", 1, -1)),
    "unix": (None, ("path", 1), 5, "x" * 200, "\0" + "x" * 200),
}


@pytest.mark.parametrize("number", range(10))
def test_an_address_that_is_none(env, number):
    """The exception of socket.sendto(): an OSError is told, any other ends the transport."""
    addresses = BAD_ADDRESSES[env.kind]
    if number >= len(addresses):
        pytest.skip("no more of them")
    address = addresses[number]
    with socket.socket(FAMILIES[env.kind], socket.SOCK_DGRAM) as sock:
        with pytest.raises(Exception) as caught:
            sock.sendto(b"x", address)
    expected = type(caught.value), str(caught.value)

    async def main():
        client = await endpoint(env)
        client.transport.sendto(b"x", address)
        if issubclass(expected[0], OSError):
            error, = client.errors
            assert not client.transport.is_closing()
        else:
            assert client.transport.is_closing()
            error = await client.lost()
            context, = env.take_exceptions()
            assert context["message"] == "Fatal write error on datagram transport"
            assert context["exception"] is error
            assert context["transport"] is client.transport
            assert context["protocol"] is client
        assert (type(error), str(error)) == expected
    env.run(main())


@pytest.mark.parametrize("data", ["text", 5, None, [b"x"]])
def test_data_that_is_not_bytes(env, data):
    """TypeError, with asyncio's text."""
    async def main():
        client = await endpoint(env)
        with pytest.raises(TypeError) as caught:
            client.transport.sendto(data, name_of(client))
        assert str(caught.value) == \
            "data argument must be a bytes-like object, not %r" % type(data).__name__
        assert client.events == ["made"]
    env.run(main())


# ---- names ----


@inet_only
def test_host_names_are_accepted(env):
    """T57: sendto() looks names up, as socket.sendto() does."""
    async def main():
        server = await endpoint(env)
        client = await endpoint(env)
        try:
            socket.getaddrinfo("localhost", 1, FAMILIES[env.kind], socket.SOCK_DGRAM)
        except OSError:
            pytest.skip("localhost is not of this family here")
        client.transport.sendto(b"x", ("localhost", name_of(server)[1]))
        await server.got(1)
        assert server.datagrams == [(b"x", name_of(client))]
    env.run(main())


@inet_only
def test_a_name_that_leads_nowhere(env):
    """T57: the lookup's error goes to error_received()."""
    wrong = "::1" if env.kind == "inet" else "127.0.0.1"

    async def main():
        client = await endpoint(env)
        client.transport.sendto(b"x", (wrong, 9))
        assert [type(error) for error in client.errors] == [socket.gaierror]
        assert not client.transport.is_closing()
    env.run(main())


@ipv4_only
@pytest.mark.parametrize("host", ["<broadcast>", "255.255.255.255", ""])
@pytest.mark.parametrize("allowed", [True, False])
def test_broadcast(env, host, allowed):
    """T57: '<broadcast>' and '' go where socket.sendto() would send them, and fail as there."""
    async def main():
        receiver = raw_socket(env)
        port = receiver.getsockname()[1]
        expected = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, allowed)
            try:
                sock.sendto(b"x", (host, port))
            except OSError as error:
                expected.append(error.args)
        client = await endpoint(env, local_addr=("0.0.0.0", 0), allow_broadcast=allowed)
        client.transport.sendto(b"y", (host, port))
        assert [error.args for error in client.errors] == expected
        if host == "":      # this host
            assert await env.thread(receiver.recv, 100) == b"x"
            assert await env.thread(receiver.recv, 100) == b"y"
    env.run(main())


@pytest.mark.kinds("inet6")
def test_all_forms_of_an_address_of_ipv6(env):
    """Two, three and four items, and the address that is received has four."""
    async def main():
        server = await endpoint(env)
        client = await endpoint(env)
        port = name_of(server)[1]
        for address in (("::1", port), ("::1", port, 0), ("::1", port, 0, 0),
                        ("0:0:0:0:0:0:0:1", port)):
            client.transport.sendto(b"x", address)
        await server.got(4)
        assert {sender for _, sender in server.datagrams} == {name_of(client)}
        assert len(name_of(client)) == 4
    env.run(main())


@unix_only
def test_senders_without_a_name(env):
    """T38: a Unix socket that is not bound has no address to answer to."""
    async def main():
        server = await endpoint(env)
        raw_socket(env, bound=False).sendto(b"x", name_of(server))
        await server.got(1)
        assert server.datagrams == [(b"x", None)]
        client = await endpoint(env, remote_addr=name_of(server))
        assert name_of(client) == ""
        client.transport.sendto(b"y")
        await server.got(2)
        assert server.datagrams[1] == (b"y", None)
    env.run(main())


@unix_only
def test_abstract_names(env):
    """T38: names outside of the file system, given and received as bytes."""
    async def main():
        server = raw_socket(env, bound=False)
        server.bind("")
        env._peers.remove(server)
        name = server.getsockname()
        assert isinstance(name, bytes) and name[:1] == b"\0"
        server = await endpoint(env, DatagramRecorder(datagram=reply), sock=server)
        assert name_of(server) == name
        client = raw_socket(env, bound=False)
        client.bind("")
        client.sendto(b"x", name)
        assert await env.thread(client.recvfrom, 100) == (b"x", name)
        assert server.datagrams == [(b"x", client.getsockname())]
        other = await endpoint(env)
        for address in (name, name.decode()):
            other.transport.sendto(b"y", address)
        await other.got(2)
        assert other.datagrams == 2 * [(b"y", name)]
    env.run(main())


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


@improvement("asyncio forgets to take the headers of what was sent off the size", since=(3, 13))
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


@improvement("asyncio's size remains", since=(3, 11))
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


# ---- what a transport shows ----


def test_extra_information(env):
    """T24: socket, sockname and peername, also after the end."""
    async def main():
        peer = raw_socket(env)
        client = await endpoint(env, local_addr=local_address(env),
                                remote_addr=remote_address(peer.getsockname()))
        transport = client.transport
        sock = transport.get_extra_info("socket")
        names = sock.getsockname(), sock.getpeername()
        assert names[1] == peer.getsockname()
        assert sock.type == socket.SOCK_DGRAM and sock.family == FAMILIES[env.kind]
        for _ in range(2):
            assert transport.get_extra_info("sockname") == names[0]
            assert transport.get_extra_info("peername") == names[1]
            assert transport.get_extra_info("socket") is sock
            assert transport.get_extra_info("sslcontext") is None
            assert transport.get_extra_info("nothing", "of it") == "of it"
            transport.close()
            await client.lost()
        assert sock.fileno() == -1
    env.run(main())


@ours_only
def test_counters(env):
    """get_extra_info("aiofastnet"), also after the end."""
    async def main():
        server = await endpoint(env, DatagramRecorder(datagram=reply))
        peer = raw_socket(env)
        for data in (b"one", b"four"):
            peer.sendto(data, name_of(server))
            await env.thread(peer.recv, 100)
        for _ in range(2):
            told = server.transport.get_extra_info("aiofastnet")
            assert told["engine"] == "plain"
            assert told["datagrams_received"] == told["datagrams_sent"] == 2
            assert told["bytes_received"] == told["bytes_sent"] == 7
            assert told["send_calls"] == 2
            assert told["receive_calls"] >= 2
            assert told["high_water_hits"] == 0
            server.transport.close()
            await server.lost()
    env.run(main())


@improvement("only newer transports of asyncio are asyncio.DatagramTransports", before=(3, 12))
def test_the_type_of_the_transport(env):
    """T49: an instance of asyncio.DatagramTransport; and of asyncio.Transport, as asyncio's is."""
    async def main():
        client = await endpoint(env)
        assert isinstance(client.transport, asyncio.DatagramTransport)
        assert isinstance(client.transport, asyncio.Transport)
        assert not isinstance(client.transport, asyncio.SubprocessTransport)
        with pytest.raises(NotImplementedError):
            client.transport.write(b"x")
        assert "DatagramTransport" in repr(client.transport)
        assert "read=polling" in repr(client.transport)
        client.transport.close()
        assert " closing " in repr(client.transport)
        await client.lost()
        await turns()
        assert " closed " in repr(client.transport)
    env.run(main())


@ours_only
def test_the_type_makes_no_instances(env):
    """T25: neither directly nor by subclassing."""
    async def main():
        kind = type((await endpoint(env)).transport)
        with pytest.raises(TypeError):
            kind()
        with pytest.raises(TypeError):
            type("Derived", (kind,), {})
    env.run(main())


def test_another_protocol(env):
    """set_protocol(): what comes from then on is the new one's, connection_lost() included."""
    async def main():
        first = await endpoint(env)
        second = DatagramRecorder()
        assert first.transport.get_protocol() is first
        first.transport.set_protocol(second)
        assert first.transport.get_protocol() is second
        raw_socket(env).sendto(b"x", name_of(first))
        await second.got(1)
        first.transport.close()
        await second.lost()
        assert first.events == ["made"]
        first.is_lost = True        # nothing more is to come
    env.run(main())


@improvement("asyncio has no pause for datagrams", before=(3, 12))
def test_a_pause_of_reading(env):
    """No datagram_received() until resume_reading(), also when the batch has come already."""
    def pause(protocol, data, addr):
        if data == b"0":
            protocol.transport.pause_reading()

    async def main():
        server = await endpoint(env, DatagramRecorder(datagram=pause))
        assert server.transport.is_reading()
        peer = raw_socket(env)
        for number in range(6):
            peer.sendto(b"%d" % number, name_of(server))
        await server.got(1)
        await turns()
        assert server.contents == [b"0"]
        assert not server.transport.is_reading()
        server.transport.resume_reading()
        assert server.contents == [b"0"]
        await server.got(6)
        assert server.contents == [b"%d" % number for number in range(6)]
    env.run(main())


def test_the_descriptor_is_taken(env):
    """T56: add_reader() and add_writer() refuse a transport's descriptor."""
    async def main():
        client = await endpoint(env)
        fd = client.transport.get_extra_info("socket").fileno()
        for method in (env.loop.add_reader, env.loop.add_writer):
            with pytest.raises(RuntimeError):
                method(fd, print)
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


# ---- contexts, threads, loops ----


def test_contexts(env):
    """T34: receiving in the creator's context, an error of sendto() and the end in the caller's."""
    seen = {}

    def note(name):
        def hook(*_):
            seen.setdefault(name, variable.get())
        return hook

    async def main():
        variable.set("creator")
        protocol = DatagramRecorder(**{name: note(name) for name in
                                       ("made", "datagram", "error", "lost")})
        await endpoint(env, protocol)
        variable.set("later")
        raw_socket(env).sendto(b"x", name_of(protocol))
        await protocol.got(1)
        variable.set("sender")
        protocol.transport.sendto(bytes(1 << 20), name_of(protocol))
        variable.set("closer")
        protocol.transport.close()
        await protocol.lost()
        assert seen == {"made": "creator", "datagram": "creator", "error": "sender",
                        "lost": "closer"}
    env.run(main())


@ours_only
def test_other_threads_may_look_and_not_send(env):
    """T35, T55: methods that change the transport raise RuntimeError in a wrong thread."""
    async def main():
        client = await endpoint(env)
        transport = client.transport

        def look():
            return transport.is_closing(), transport.get_write_buffer_size(), repr(transport), \
                transport.get_extra_info("sockname")

        assert (await env.thread(look))[:2] == (False, 0)
        for method, arguments in (("sendto", (b"x", name_of(client))), ("close", ()),
                                  ("abort", ()), ("pause_reading", ())):
            with pytest.raises(RuntimeError):
                await env.thread(getattr(transport, method), *arguments)
        assert client.events == ["made"]
    env.run(main())


def test_an_interrupt_leaves_the_loop(env):
    """T33: KeyboardInterrupt out of a callback; what else has come is delivered afterwards."""
    def interrupt(protocol, data, addr):
        if data == b"1":
            raise KeyboardInterrupt

    def main(loop):
        server = loop.run_until_complete(endpoint(env, DatagramRecorder(datagram=interrupt)))
        peer = raw_socket(env)
        for number in range(4):
            peer.sendto(b"%d" % number, name_of(server))
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(server.got(4))
        loop.run_until_complete(server.got(4))
        assert server.contents == [b"0", b"1", b"2", b"3"]
        # The tasks that were interrupted are the test's, and are not awaited.
        for task in asyncio.all_tasks(loop):
            loop.run_until_complete(asyncio.wait([task]))
    env.drive(main)


@ours_only
def test_on_a_loop_that_is_not_patched(env, ours):
    """aiofastnet.create_datagram_endpoint() makes ours on any loop."""
    loop = uvloop.new_event_loop() if env.is_uvloop else asyncio.SelectorEventLoop()

    async def main():
        keywords = {"family": socket.AF_UNIX} if env.is_unix else {}
        pair = []
        for _ in range(2):
            transport, protocol = await ours.create_datagram_endpoint(
                loop, lambda: DatagramRecorder(datagram=reply if not pair else None),
                local_address(env), **keywords)
            assert type(transport).__module__ == "aiofastnet._core"
            pair.append(protocol)
        pair[1].transport.sendto(b"x", name_of(pair[0]))
        await pair[1].got(1)
        for protocol in pair:
            protocol.transport.close()
            await protocol.lost()
        await turns()

    try:
        loop.run_until_complete(main())
    finally:
        loop.close()


@ours_only
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_closing_the_loop_closes_the_socket(env):
    """Without callbacks, and a forgotten transport warns as others do."""
    loop = make_loop(env.implementation)
    env.loop = loop
    server = loop.run_until_complete(endpoint(env))
    sock = server.transport.get_extra_info("socket")
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        loop.close()
        del server.transport
        server.transport = None
        del sock
        gc.collect()
    assert server.events == ["made"]


def test_files_are_not_for_datagrams(env, tmp_path):
    """loop.sendfile() refuses a datagram transport, as stock does."""
    path = tmp_path / "file"
    path.write_bytes(b"content")

    async def main():
        transport, _ = await env.loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        with open(path, "rb") as file:
            with pytest.raises(RuntimeError, match="not supported"):
                await env.loop.sendfile(transport, file)
        transport.close()
        await turns()

    env.run(main())
