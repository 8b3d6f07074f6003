# SPDX-License-Identifier: MIT
"""asyncio.Server on our transports."""
import asyncio
import contextlib
import errno
import inspect
import os
import resource
import socket
import sys

import pytest

from support.env import address_of
from support.marks import improvement, inet_only, plain_only, tcp_only, wait_or_close_first
from support.peers import connect_raw
from support.protocols import Recorder, echoing, turns, until


def test_a_server_object_is_what_stock_gives(env):
    """T30: sockets, is_serving, get_loop, and all of it after close."""
    async def main():
        server = await env.start_server(Recorder)
        assert isinstance(server, asyncio.AbstractServer)
        assert server.is_serving()
        assert server.get_loop() is env.loop
        assert isinstance(server.sockets, tuple) and len(server.sockets) == 1
        assert server.sockets[0].fileno() >= 0
        server.close()
        assert not server.is_serving()
        assert server.sockets == ()
        server.close()
        await server.wait_closed()

    env.run(main())


def test_start_serving_false_serves_nothing_yet(env):
    """T30: start_serving=False, then start_serving()."""
    async def main():
        receiver = echoing()
        server = await env.start_server(lambda: receiver, start_serving=False)
        assert not server.is_serving()
        with pytest.raises(OSError):
            await env.connect(Recorder, server)
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        sender = Recorder()
        await env.connect(lambda: sender, server)
        sender.transport.write(b"hello")
        await sender.received(5)

    env.run(main())


def test_serve_forever_ends_when_cancelled(env):
    """T30, T59: the server is closed; the task raises CancelledError."""
    async def main():
        server = await env.start_server(echoing, start_serving=False)
        address = []

        async def serve():
            async with server:
                await server.serve_forever()

        serving = env.loop.create_task(serve())
        await until(server.is_serving)
        address = address_of(server)
        with pytest.raises(RuntimeError, match="is already being awaited on serve_forever"):
            await server.serve_forever()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not server.is_serving()
        with pytest.raises(OSError):
            await env.connect(Recorder, address)

    env.run(main())


def test_serve_forever_ends_clients_where_the_running_python_does(env):
    """T59: when it is cancelled; elsewhere they go on."""
    ends_clients = "close_clients" in inspect.getsource(asyncio.Server.serve_forever)

    async def main():
        receiver, sender = echoing(), Recorder()
        server = await env.start_server(lambda: receiver, start_serving=False)
        serving = env.loop.create_task(server.serve_forever())
        await until(server.is_serving)
        await env.connect(lambda: sender, server)
        await until(lambda: receiver.transport is not None)
        serving.cancel()
        await until(lambda: not server.is_serving())
        if not ends_clients:
            sender.transport.write(b"still here")
            assert await sender.received(10) == b"still here"
            sender.transport.close()
        # Newer versions wait for the clients, older ones do not.
        with pytest.raises(asyncio.CancelledError):
            await serving
        await sender.lost()
        await receiver.lost()

    env.run(main())


def test_closing_a_server_keeps_its_connections(env):
    """T30: close() stops listening; what is connected goes on."""
    async def main():
        receiver, sender = echoing(), Recorder()
        server = await env.start_server(lambda: receiver)
        address = address_of(server)
        await env.connect(lambda: sender, address)
        await until(lambda: receiver.transport is not None)
        server.close()
        with pytest.raises(OSError):
            await env.connect(Recorder, address)
        sender.transport.write(b"still here")
        await sender.received(10)

    env.run(main())


@wait_or_close_first
def test_wait_closed_waits_for_the_connections(env, first):
    """T30: it returns when the last connection is gone."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        server = await env.start_server(lambda: receiver)
        await env.connect(lambda: sender, server)
        await until(lambda: receiver.transport is not None)
        if first == "close":
            server.close()
        waiting = env.loop.create_task(server.wait_closed())
        await turns(50)
        server.close()
        await turns(50)
        assert not waiting.done()
        sender.transport.close()
        await waiting
        assert receiver.is_lost or env.is_tls

    env.run(main())


@pytest.mark.skipif(not hasattr(asyncio.Server, "close_clients"), reason="new in Python 3.13")
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_a_server_can_end_its_connections(env, method):
    """T30: close_clients flushes, abort_clients does not."""
    async def main():
        receivers = []

        def factory():
            receivers.append(Recorder())
            return receivers[-1]

        server = await env.start_server(factory)
        senders = [Recorder() for _ in range(3)]
        for sender in senders:
            await env.connect(lambda: sender, server)
            sender.transport.write(b"here")
        await until(lambda: sum(len(receiver.data) for receiver in receivers) == 12)
        for receiver in receivers:
            receiver.transport.write(b"bye")
        server.close()
        getattr(server, method)()
        await server.wait_closed()
        for protocol in receivers + senders:
            await protocol.lost()
        if method == "close_clients":
            assert [bytes(sender.data) for sender in senders] == [b"bye"] * 3

    env.run(main())


@improvement("stock leaves the socket to the collector")
def test_an_exception_of_the_protocol_factory_closes_the_connection(env):
    """T54: the socket is closed, and the server goes on. Stock reports it in debug mode only."""
    async def main():
        fail = [True]

        def factory():
            if fail.pop():
                raise LookupError("no protocol today")
            return echoing()

        server = await env.start_server(factory)
        peer = await env.raw_connect(server, None)
        if env.is_tls:
            # The factory may be called before or after the handshake.
            peer.start_tls(env.client_context(), hostname="localhost")
            await env.thread(attempt_handshake, peer)
        await env.thread(peer.wire_end)
        contexts = env.take_exceptions()
        errors = [type(context.get("exception")) for context in contexts]
        assert errors in ([LookupError], [])
        fail.append(False)
        sender = Recorder()
        await env.connect(lambda: sender, server)
        sender.transport.write(b"hello")
        await sender.received(5)

    env.run(main())


def attempt_handshake(peer):
    try:
        peer.handshake()
    except OSError:
        pass


@tcp_only
def test_a_server_on_given_sockets(env):
    """T54: sock= takes a blocking socket that is bound, and serves it."""
    async def main():
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        assert sock.getblocking()
        server = await env.loop.create_server(echoing, sock=sock, backlog=5)
        assert server.sockets[0].getsockname() == sock.getsockname()
        sender = Recorder()
        await env.connect(lambda: sender, server)
        sender.transport.write(b"hello")
        await sender.received(5)
        server.close()
        assert sock.fileno() == -1 or env.is_uvloop

    env.run(main())


@tcp_only
def test_a_server_on_several_addresses(env):
    """A sequence of hosts gives one socket each; reuse_port and reuse_address are accepted."""
    async def main():
        server = await env.loop.create_server(echoing, ["127.0.0.1", "127.0.0.2"], 0,
                                              reuse_address=True, reuse_port=True)
        assert sorted(sock.getsockname()[0] for sock in server.sockets) == \
            ["127.0.0.1", "127.0.0.2"]
        for sock in server.sockets:
            sender = Recorder()
            await env.connect(lambda: sender, sock.getsockname())
            sender.transport.write(b"hello")
            await sender.received(5)
        server.close()

    env.run(main())


@tcp_only
def test_a_port_in_use_is_refused(env):
    """The error of bind is raised with stock's errno, and nothing is left open."""
    async def main():
        server = await env.start_server(Recorder)
        port = address_of(server)[1]
        with pytest.raises(OSError) as caught:
            await env.loop.create_server(Recorder, "127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE

    env.run(main())


@pytest.mark.kinds("unix")
def test_the_file_of_a_unix_server(env):
    """The socket file is made, a stale one is replaced, and it is removed where stock does so."""
    async def main():
        path = env.new_path()
        for _ in range(2):
            server = await env.loop.create_unix_server(echoing, path)
            sender = Recorder()
            await env.connect(lambda: sender, path)
            sender.transport.write(b"hello")
            await sender.received(5)
            sender.transport.abort()
            server.close()
            await server.wait_closed()
            assert os.path.exists(path) == (sys.version_info < (3, 13))
        if sys.version_info >= (3, 13):
            server = await env.loop.create_unix_server(echoing, path, cleanup_socket=False)
            server.close()
            await server.wait_closed()
            assert os.path.exists(path)

    env.run(main())


@tcp_only
def test_wrong_arguments_of_servers(env):
    """Combinations that stock refuses are refused with its texts."""
    async def main():
        loop = env.loop
        with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
            await loop.create_server(Recorder, "127.0.0.1", 0, ssl=True)
        with pytest.raises(ValueError, match="Neither host/port nor sock were specified"):
            await loop.create_server(Recorder)
        with pytest.raises(ValueError, match="ssl_handshake_timeout is only meaningful with ssl"):
            await loop.create_server(Recorder, "127.0.0.1", 0, ssl_handshake_timeout=1)
        sock = socket.socket(type=socket.SOCK_DGRAM)
        with pytest.raises(ValueError, match="A Stream Socket was expected"):
            await loop.create_server(Recorder, sock=sock)
        sock.close()
        with pytest.raises(TypeError):
            await loop.create_server(Recorder, "127.0.0.1", 0, nonsense=1)

    env.run(main())


def test_many_connections_are_accepted_in_one_batch(env):
    """T29: two hundred connections that wait in the backlog all get served."""
    async def main():
        served = []

        def factory():
            served.append(echoing())
            return served[-1]

        server = await env.start_server(factory, backlog=200)
        count = 20 if env.is_tls else 200

        def connect_all():
            address, socks = address_of(server), []
            for _ in range(count):
                sock = socket.socket(socket.AF_UNIX if env.is_unix else socket.AF_INET)
                sock.connect(address)
                socks.append(sock)
            return socks

        socks = await env.thread(connect_all)
        for sock in socks:
            sock.close()
        if not env.is_tls:
            await until(lambda: len(served) == count and all(each.is_lost for each in served))
        sender = Recorder()
        await env.connect(lambda: sender, server)
        sender.transport.write(b"hello")
        await sender.received(5)

    env.run(main())


@contextlib.contextmanager
def no_descriptors():
    """No descriptor can be opened in the block; the low limit makes that cheap."""
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = os.dup(0)
    resource.setrlimit(resource.RLIMIT_NOFILE,
                       (max(map(int, os.listdir("/proc/self/fd"))) + 1, old[1]))
    filling = [spare]
    try:
        with contextlib.suppress(OSError):
            while True:
                filling.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)
        for fd in filling:
            os.close(fd)


@plain_only
@improvement("stock reports every failed accept of the backlog")
def test_a_server_without_descriptors_says_so_once_and_recovers(env):
    """T29: EMFILE: one report, no busy loop, and service when descriptors return."""
    async def main():
        server = await env.start_server(echoing)
        peer = await env.raw_connect(server)
        clients = [socket.socket(socket.AF_UNIX if env.is_unix else socket.AF_INET)
                   for _ in range(3)]
        with no_descriptors():
            for client in clients:
                client.connect(address_of(server))
            await until(lambda: env.exceptions)
            await turns(200)
            await env.thread(peer.send, b"others go on")
            assert await env.thread(peer.read_exactly, 12) == b"others go on"
        contexts = env.take_exceptions()
        assert len(contexts) == 1
        assert contexts[0]["exception"].errno == errno.EMFILE
        for client in clients:
            client.setblocking(False)
            await env.loop.sock_sendall(client, b"hello")
            assert await env.loop.sock_recv(client, 5) == b"hello"
            client.close()

    env.run(main())


@plain_only
@pytest.mark.implementations("stock")
def test_a_server_serves_again_after_emfile(env):
    """T29: the part of the test above that stock has: accepting goes on."""
    async def main():
        server = await env.start_server(echoing, backlog=1)
        client = socket.socket(socket.AF_UNIX if env.is_unix else socket.AF_INET)
        with no_descriptors():
            client.connect(address_of(server))
            await until(lambda: env.exceptions)
        for context in env.take_exceptions():
            assert context["exception"].errno == errno.EMFILE
        client.setblocking(False)
        await env.loop.sock_sendall(client, b"hello")
        assert await env.loop.sock_recv(client, 5) == b"hello"
        client.close()

    env.run(main())


@inet_only
def test_peers_that_reset_while_they_wait_to_be_accepted(env):
    """Resets in the backlog lose nothing of the connections behind them."""
    async def main():
        server = await env.start_server(echoing, backlog=50)

        def reset_many():
            for _ in range(20):
                connect_raw(address_of(server)).reset()

        await env.thread(reset_many)
        sender = Recorder()
        await env.connect(lambda: sender, server)
        sender.transport.write(b"hello")
        await sender.received(5)

    env.run(main())
