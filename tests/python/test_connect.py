# SPDX-License-Identifier: MIT
"""create_connection and its relatives: sockets, cancellation, Happy Eyeballs, errors."""
import asyncio
import errno
import gc
import socket
import ssl
import sys

import pytest

from support.env import address_of
from support.marks import improvement, inet_only, tcp_only, tls_only
from support.peers import RawPeer, socket_pair
from support.protocols import Recorder, echoing, turns, until


def blocking_socket(env, where):
    sock = socket.socket(socket.AF_UNIX if env.is_unix else socket.AF_INET)
    sock.connect(address_of(where))
    return sock


def test_a_connected_blocking_socket_is_taken_over(env):
    """T54: sock= of create_connection; it becomes non-blocking and belongs to the transport."""
    async def main():
        server = await env.start_server(echoing)
        sock = await env.thread(blocking_socket, env, server)
        assert sock.getblocking()
        sender = Recorder()
        create = env.loop.create_unix_connection if env.is_unix else env.loop.create_connection
        transport, protocol = await create(lambda: sender, sock=sock, **env.client_keywords({}))
        assert protocol is sender and not sock.getblocking()
        transport.write(b"hello")
        await sender.received(5)
        transport.close()
        await sender.lost()
        assert sock.fileno() == -1

    env.run(main())


def test_connect_accepted_socket_serves_a_connection(env):
    """T54: a blocking accepted socket; the protocol is made by the factory."""
    async def main():
        left, right = socket_pair(env.kind)
        peer = RawPeer(left, env.client_context(), hostname="localhost")
        served = env.start_thread(lambda: (peer.handshake(), peer.send(b"hello"),
                                           peer.read_exactly(5)))
        receiver = echoing()
        transport, protocol = await env.loop.connect_accepted_socket(
            lambda: receiver, right, ssl=env.server_context())
        assert protocol is receiver and not right.getblocking()
        assert (await served)[2] == b"hello"
        peer.close()
        await receiver.lost()
        assert right.fileno() == -1

    env.run(main())


@improvement("stock leaves the socket to the collector", before=(3, 14, 10))
def test_a_protocol_factory_that_raises_leaves_nothing(env):
    """T54: the exception comes out of create_connection; the socket goes with it."""
    async def main():
        listener = env.raw_listener(None)

        def factory():
            raise LookupError("no protocol today")

        with pytest.raises(LookupError):
            await env.connect(factory, listener.address)
        peer = await env.thread(listener.accept)
        gc.collect()
        await env.thread(peer.wire_end)
        peer.close()

    env.run(main())


def test_a_cancelled_connect_calls_nothing_later(env):
    """T31: cancelled at every early turn of the loop; the descriptor may be reused at once."""
    async def main():
        server = await env.start_server(echoing)
        for moment in range(8):
            protocol = Recorder()
            connecting = env.loop.create_task(env.connect(lambda: protocol, server))
            await turns(moment)
            if connecting.done():
                await connecting
                continue
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            left, right = socket.socketpair()
            await turns(10)
            if protocol.transport is not None:
                # Cancelled between connection_made and the result: it belongs to nobody.
                await protocol.lost()
            right.send(b"x")
            assert left.recv(1) == b"x"
            left.close()
            right.close()

    env.run(main())


@tcp_only
def test_a_refused_connect_raises_with_the_address(env):
    """ConnectionRefusedError, with stock's text, and no reference cycle (T59)."""
    async def main():
        listener = env.raw_listener()
        address = listener.address
        listener.close()
        with pytest.raises(ConnectionRefusedError) as caught:
            await env.connect(Recorder, address)
        assert str(address) in str(caught.value)
        assert caught.value.errno == errno.ECONNREFUSED

    env.run(main())


@tcp_only
@pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors is new in Python 3.12")
def test_all_errors_gives_a_group(env):
    """T31: all_errors=True."""
    async def main():
        listener = env.raw_listener()
        host, port = listener.address
        listener.close()
        with pytest.raises(BaseException) as caught:
            await env.loop.create_connection(Recorder, host, port, all_errors=True)
        assert type(caught.value).__name__ == "ExceptionGroup"
        assert all(isinstance(error, ConnectionRefusedError) for error in caught.value.exceptions)

    env.run(main())


@inet_only
def test_happy_eyeballs_takes_the_address_that_answers(env):
    """T31: the first address does not answer, the second one does."""
    async def main():
        server = await env.start_server(echoing)
        port = address_of(server)[1]
        sender = Recorder()
        with HookedResolver(env.loop, full.sock.getsockname(), ("127.0.0.1", port)):
            await env.loop.create_connection(
                lambda: sender, "localhost", port, happy_eyeballs_delay=0.01, interleave=1,
                **env.client_keywords({}))
        assert sender.transport.get_extra_info("peername")[1] == port
        sender.transport.write(b"hello")
        await sender.received(5)

    full = full_listener()
    try:
        env.run(main())
    finally:
        full.close()


class HookedResolver:
    """Gives these addresses for localhost, where create_connection asks on this loop."""

    def __init__(self, loop, *addresses):
        self.loops = [loop]
        # Ours may host the connection logic on an object of its own, for loops like uvloop.
        if getattr(loop, "_aiofastnet", None) is not None:
            self.loops.append(loop._aiofastnet)
        self.addresses = addresses

    async def getaddrinfo(self, host, port, **keywords):
        if host != "localhost":
            self.loops[0].__dict__.pop("getaddrinfo", None)
            return await self.loops[0].getaddrinfo(host, port, **keywords)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
                for address in self.addresses]

    def __enter__(self):
        for loop in self.loops:
            loop.getaddrinfo = self.getaddrinfo

    def __exit__(self, *_):
        for loop in self.loops:
            loop.__dict__.pop("getaddrinfo", None)


class full_listener:
    """A listening socket whose backlog is full, so that a connect to it waits."""

    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(0)
        self.clients = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(self.sock.getsockname())
            self.clients.append(client)

    def close(self):
        for sock in self.clients + [self.sock]:
            sock.close()


@tcp_only
def test_a_local_address_is_bound(env):
    """local_addr= is the sockname of the transport."""
    async def main():
        server = await env.start_server(echoing)
        sender = Recorder()
        await env.connect(lambda: sender, server, local_addr=("127.0.0.3", 0))
        assert sender.transport.get_extra_info("sockname")[0] == "127.0.0.3"

    env.run(main())


@tcp_only
def test_wrong_arguments_of_connects(env):
    """Combinations that stock refuses are refused with its texts."""
    async def main():
        connect = env.loop.create_connection
        with pytest.raises(ValueError, match="host and port was not specified and no sock"):
            await connect(Recorder)
        with pytest.raises(ValueError, match="server_hostname is only meaningful with ssl"):
            await connect(Recorder, "127.0.0.1", 1, server_hostname="x")
        with pytest.raises(ValueError, match="ssl_handshake_timeout is only meaningful with ssl"):
            await connect(Recorder, "127.0.0.1", 1, ssl_handshake_timeout=1)
        with socket.socket() as sock:
            with pytest.raises(ValueError, match="can not be specified at the same time"):
                await connect(Recorder, "127.0.0.1", 1, sock=sock)
            with pytest.raises(ValueError, match="must set server_hostname"):
                await connect(Recorder, ssl=True, sock=sock)
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            with pytest.raises(ValueError, match="A Stream Socket was expected"):
                await connect(Recorder, sock=sock)
        with pytest.raises(TypeError):
            await connect(Recorder, "127.0.0.1", 1, nonsense=1)

    env.run(main())


@tls_only
def test_ssl_true_uses_the_default_context(env):
    """ssl=True: the certificate of the tests is not trusted by it."""
    async def main():
        server = await env.start_server(Recorder)
        with pytest.raises(ssl.SSLCertVerificationError):
            await env.connect(Recorder, server, ssl=True)
        await turns()

    env.run(main())


@inet_only
@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9's own connection logic does")
def test_failed_connects_leave_no_reference_cycle(env):
    """T59: with the collector off, the exception and its frames are freed."""
    class Marker:
        alive = 0

        def __init__(self):
            Marker.alive += 1

        def __del__(self):
            Marker.alive -= 1

    async def attempt(address):
        marker = Marker()
        try:
            await env.connect(Recorder, address)
        except OSError:
            pass
        return marker is None

    async def main():
        listener = env.raw_listener()
        address = listener.address
        listener.close()
        gc.collect()
        gc.disable()
        for _ in range(3):
            await attempt(address)
        await turns()
        assert Marker.alive == 0

    try:
        env.run(main())
    finally:
        gc.enable()


@inet_only
@pytest.mark.skipif(sys.version_info < (3, 12),
                    reason="eager tasks are new in Python 3.12")
@improvement("stock's connects fail in eager tasks", before=(3, 12, 8))
@improvement("stock's connects fail in eager tasks", since=(3, 13), before=(3, 13, 1))
def test_happy_eyeballs_with_an_eager_task_factory(env):
    """T31: connects that fail at once inside of eager tasks."""
    async def main():
        server = await env.start_server(echoing)
        port = address_of(server)[1]
        env.loop.set_task_factory(asyncio.eager_task_factory)
        sender = Recorder()
        with HookedResolver(env.loop, ("255.255.255.255", 9), ("127.0.0.1", port)):
            await env.loop.create_connection(lambda: sender, "localhost", port,
                                             happy_eyeballs_delay=0.25,
                                             **env.client_keywords({}))
        sender.transport.write(b"hello")
        await until(lambda: len(sender.data) == 5)

    env.run(main())
