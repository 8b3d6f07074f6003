# SPDX-License-Identifier: MIT
"""What a datagram endpoint tells of errors, and the addresses and names that it takes."""
import errno
import os
import socket

import pytest

from support.datagrams import (FAMILIES, all_families, endpoint, inet_only, ipv4_only,
                               local_address, name_of, raw_socket, remote_address, reply,
                               unix_only)
from support.protocols import DatagramRecorder, turns

pytestmark = all_families


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


def test_an_address_that_is_none(env):
    """The exception of socket.sendto(): an OSError is told, any other ends the transport."""
    async def try_address(address):
        with socket.socket(FAMILIES[env.kind], socket.SOCK_DGRAM) as sock:
            with pytest.raises(Exception) as caught:
                sock.sendto(b"x", address)
        expected = type(caught.value), str(caught.value)
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

    for address in BAD_ADDRESSES[env.kind]:
        env.run(try_address(address))


def test_sendto_between_a_fatal_error_and_the_end(env):
    """T57: what comes too late is no other error of the protocol's."""
    async def main():
        peer = raw_socket(env)
        client = await endpoint(env)
        client.transport.sendto(b"x", 5)
        assert client.transport.is_closing()
        client.transport.sendto(b"late", peer.getsockname())
        assert isinstance(await client.lost(), TypeError)
        assert client.errors == []
        assert len(env.take_exceptions()) == 1
        peer.close()
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
