# SPDX-License-Identifier: MIT
"""aiofastnet's own functions: patch_loop, loop_factory, install_policy and the direct functions."""
import asyncio
import inspect
import os
import socket
import sys

import pytest

from support.env import uvloop
from support.protocols import Recorder, echoing, live, turns, until

BASES = {"asyncio": asyncio.SelectorEventLoop}
if uvloop is not None:
    BASES["uvloop"] = uvloop.new_event_loop


@pytest.fixture(params=list(BASES))
def base(request):
    return BASES[request.param]


@pytest.fixture
def loop(base):
    """An unpatched loop."""
    loop = base()
    asyncio.set_event_loop(loop)
    yield loop
    asyncio.set_event_loop(None)
    loop.close()
    live.clear()


def is_ours(ours, transport):
    return isinstance(transport, ours._core.Transport)


async def exchange(loop, ours, expected=True):
    """An echo through the loop's own methods; whether both transports are ours."""
    receiver, sender = echoing(), Recorder()
    server = await loop.create_server(lambda: receiver, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await loop.create_connection(lambda: sender, "127.0.0.1", port)
    await finish_exchange(server, receiver, sender)
    assert is_ours(ours, sender.transport) is expected
    assert is_ours(ours, receiver.transport) is expected


async def finish_exchange(server, receiver, sender):
    sender.transport.write(b"hello")
    await sender.received(5)
    sender.transport.close()
    await sender.lost()
    await receiver.lost()
    server.close()
    await server.wait_closed()


def test_patch_loop_returns_the_loop_and_may_be_repeated(ours, loop):
    """A second call changes nothing: not one method."""
    before = dict(vars(loop))
    assert ours.patch_loop(loop) is loop
    patched = dict(vars(loop))
    assert patched != before
    for _ in range(3):
        assert ours.patch_loop(loop) is loop
    assert vars(loop) == patched
    loop.run_until_complete(exchange(loop, ours))


def test_patch_loop_while_the_loop_runs(ours, loop):
    """What exists stays what it is and works; what is made from now on is ours."""
    async def main():
        receiver, sender = echoing(), Recorder()
        server = await loop.create_server(lambda: receiver, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await loop.create_connection(lambda: sender, "127.0.0.1", port)
        await until(lambda: receiver.transport is not None)
        assert ours.patch_loop() is loop
        assert not is_ours(ours, sender.transport)
        await finish_exchange(server, receiver, sender)
        await exchange(loop, ours)

    loop.run_until_complete(main())


def test_a_server_that_was_there_before_patching_can_be_closed(ours, loop):
    """Its listening sockets belong to the host loop and go with it."""
    async def main():
        server = await loop.create_server(echoing, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        ours.patch_loop(loop)
        server.close()
        await server.wait_closed()
        await turns()
        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(Recorder, "127.0.0.1", port)

    loop.run_until_complete(main())


def test_patch_loop_between_runs(ours, loop):
    """Patched after it has run already."""
    loop.run_until_complete(exchange(loop, ours, expected=False))
    ours.patch_loop(loop)
    loop.run_until_complete(exchange(loop, ours))


def test_patch_loop_takes_no_nonsense(ours):
    """What is no loop is refused; a closed loop does not crash."""
    for value in (1, "loop", object()):
        with pytest.raises((TypeError, AttributeError)):
            ours.patch_loop(value)
    loop = asyncio.SelectorEventLoop()
    loop.close()
    try:
        ours.patch_loop(loop)
    except RuntimeError:
        pass


def test_a_loop_without_add_reader_keeps_its_own_methods(ours):
    """A proactor-like loop is returned as it was."""
    class Bare(asyncio.AbstractEventLoop):
        def is_closed(self):
            return False

    loop = Bare()
    before = dict(vars(loop))
    assert ours.patch_loop(loop) is loop
    assert {name: value for name, value in vars(loop).items()
            if name in ("create_connection", "create_server")} == {}
    assert not {name for name in vars(loop) if name.startswith("_make")} - set(before)


class Wrapping(asyncio.AbstractEventLoop):
    """Somebody's loop around another one, with sock_*() that are no coroutine functions."""

    def __init__(self, inner):
        self.inner = inner

    def sock_recv(self, sock, n):
        return self.inner.create_task(self.inner.sock_recv(sock, n))

    def sock_accept(self, sock):
        sock.fileno()
        raise AssertionError

    def sock_sendall(self, sock, data):
        raise NotImplementedError


for _name in ("add_reader", "add_writer", "remove_reader", "remove_writer", "is_closed", "close",
              "is_running", "get_debug", "call_soon"):
    setattr(Wrapping, _name, lambda self, *args, _name=_name, **kwargs:
            getattr(self.inner, _name)(*args, **kwargs))


def test_a_loop_whose_sock_methods_are_plain_functions(ours):
    """What it has stays, and what only raises NotImplementedError is replaced."""
    inner = asyncio.SelectorEventLoop()
    loop = Wrapping(inner)
    assert ours.patch_loop(loop) is loop
    assert "sock_recv" not in vars(loop)
    assert "sock_accept" not in vars(loop)
    assert loop.sock_sendall.__func__ is ours.sock_sendall
    assert loop.sock_connect.__func__ is ours.sock_connect
    inner.run_until_complete(turns())
    loop.close()


def test_loop_factory(ours, base):
    """The result makes patched loops of the base; each call makes another one."""
    factory = ours.loop_factory(base)
    loops = [factory(), factory()]
    try:
        assert loops[0] is not loops[1]
        for loop in loops:
            asyncio.set_event_loop(loop)
            loop.run_until_complete(exchange(loop, ours))
    finally:
        asyncio.set_event_loop(None)
        for loop in loops:
            loop.close()
        live.clear()


def test_loop_factory_without_a_base_uses_asyncio(ours):
    """The default base is asyncio.new_event_loop; nonsense is refused."""
    loop = ours.loop_factory()()
    try:
        assert isinstance(loop, asyncio.SelectorEventLoop)
        loop.run_until_complete(exchange(loop, ours))
    finally:
        loop.close()
        live.clear()
    with pytest.raises(TypeError):
        ours.loop_factory(3)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run(loop_factory=) is new in 3.12")
def test_asyncio_run_with_a_loop_factory(ours, base):
    """The documented two-line switch."""
    async def main():
        await exchange(asyncio.get_running_loop(), ours)

    asyncio.run(main(), loop_factory=ours.loop_factory(base))
    live.clear()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("given", ["nothing", "policy", "callable"])
def test_install_policy(ours, base, given):
    """asyncio.run uses patched loops afterwards; installing twice is harmless."""
    old = asyncio.get_event_loop_policy()
    argument = {"nothing": None, "policy": asyncio.DefaultEventLoopPolicy(),
                "callable": base}[given]

    async def main():
        loop = asyncio.get_running_loop()
        if given == "callable":
            assert type(loop) is type(expected)
        await exchange(loop, ours)

    expected = base()
    expected.close()
    try:
        for _ in range(2):
            ours.install_policy(argument)
            asyncio.run(main())
        assert isinstance(asyncio.get_event_loop_policy(), asyncio.AbstractEventLoopPolicy)
        with pytest.raises(TypeError):
            ours.install_policy(42)
    finally:
        asyncio.set_event_loop_policy(old)
        live.clear()


async def direct_tcp(ours, loop):
    receiver, sender = echoing(), Recorder()
    server = await ours.create_server(loop, lambda: receiver, "127.0.0.1", 0, backlog=10,
                                      reuse_address=True, start_serving=True)
    assert server.get_loop() is loop
    port = server.sockets[0].getsockname()[1]
    transport, protocol = await ours.create_connection(
        loop, lambda: sender, host="127.0.0.1", port=port, happy_eyeballs_delay=0.25,
        interleave=1, local_addr=("127.0.0.1", 0))
    assert protocol is sender and is_ours(ours, transport)
    await finish_exchange(server, receiver, sender)


async def direct_tls(ours, loop, certs):
    receiver, sender = echoing(), Recorder()
    limits = {"ssl_handshake_timeout": 5.0}
    if sys.version_info >= (3, 11):
        limits["ssl_shutdown_timeout"] = 5.0
    server = await ours.create_server(loop, lambda: receiver, "127.0.0.1", 0,
                                      ssl=certs.server_context(), **limits)
    port = server.sockets[0].getsockname()[1]
    await ours.create_connection(loop, lambda: sender, "127.0.0.1", port,
                                 ssl=certs.client_context(), server_hostname="localhost",
                                 **limits)
    await finish_exchange(server, receiver, sender)


async def direct_unix(ours, loop, path):
    receiver, sender = echoing(), Recorder()
    server = await ours.create_unix_server(loop, lambda: receiver, path)
    await ours.create_unix_connection(loop, lambda: sender, path)
    await finish_exchange(server, receiver, sender)


async def direct_accepted(ours, loop):
    left, right = socket.socketpair()
    receiver = echoing()
    await ours.connect_accepted_socket(loop, lambda: receiver, right)
    left.sendall(b"hello")
    await receiver.received(5)
    await turns()
    assert left.recv(5) == b"hello"
    left.close()
    await receiver.lost()


async def direct_start_tls(ours, loop, certs):
    receiver, sender = echoing(), Recorder()
    server = await ours.create_server(loop, lambda: receiver, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await ours.create_connection(loop, lambda: sender, "127.0.0.1", port)
    await until(lambda: receiver.transport is not None)
    receiver.transport, sender.transport = await asyncio.gather(
        ours.start_tls(loop, receiver.transport, receiver, certs.server_context(),
                       server_side=True),
        ours.start_tls(loop, sender.transport, sender, certs.client_context(),
                       server_hostname="localhost"))
    assert is_ours(ours, sender.transport)
    await finish_exchange(server, receiver, sender)


async def direct_streams(ours, loop, path):
    async def handle(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    servers = [await ours.start_server(loop, handle, "127.0.0.1", 0, limit=1000),
               await ours.start_unix_server(loop, handle, path, limit=1000)]
    port = servers[0].sockets[0].getsockname()[1]
    for opening in (ours.open_connection(loop, "127.0.0.1", port, limit=1000),
                    ours.open_unix_connection(loop, path, limit=1000)):
        reader, writer = await opening
        assert is_ours(ours, writer.transport)
        writer.write(b"line\n")
        assert await reader.readline() == b"line\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    for server in servers:
        server.close()
        await server.wait_closed()


def test_direct_functions_on_an_unpatched_loop(ours, loop, certs, tmp_path):
    """Each function with the loop first; the loop's own methods stay the loop's."""
    async def main():
        await direct_tcp(ours, loop)
        await direct_tls(ours, loop, certs)
        await direct_unix(ours, loop, str(tmp_path / "a"))
        await direct_accepted(ours, loop)
        await direct_start_tls(ours, loop, certs)
        await direct_streams(ours, loop, str(tmp_path / "b"))
        await exchange(loop, ours, expected=False)

    loop.run_until_complete(main())


def test_direct_functions_on_a_patched_loop(ours, loop, certs, tmp_path):
    """The same functions, where the loop is patched too."""
    ours.patch_loop(loop)

    async def main():
        await direct_tcp(ours, loop)
        await direct_tls(ours, loop, certs)
        await direct_unix(ours, loop, str(tmp_path / "a"))
        await direct_accepted(ours, loop)
        await direct_start_tls(ours, loop, certs)
        await direct_streams(ours, loop, str(tmp_path / "b"))
        await exchange(loop, ours)

    loop.run_until_complete(main())


def test_direct_functions_show_the_loops_signatures(ours):
    """The loop first, then the parameters of the running Python's method, and ours."""
    for name in ("create_connection", "create_server", "create_unix_connection",
                 "create_unix_server", "connect_accepted_socket", "connect_read_pipe",
                 "connect_write_pipe", "start_tls"):
        stock = list(inspect.signature(getattr(asyncio.SelectorEventLoop, name))
                     .parameters.values())[1:]
        if name in ("create_connection", "create_unix_connection", "start_tls"):
            stock.append(inspect.Parameter("ssl_session", inspect.Parameter.KEYWORD_ONLY,
                                           default=None))
        shown = list(inspect.signature(getattr(ours, name)).parameters.values())
        assert shown[0].name == "loop" and shown[1:] == stock
        assert inspect.iscoroutinefunction(getattr(ours, name))


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")     # of Python 3.9's own
def test_a_transport_of_stock_can_be_upgraded_or_is_refused(ours, loop, certs):
    """start_tls of a patched loop with a transport made before: TLS, or stock's TypeError."""
    async def main():
        receiver, sender = echoing(), Recorder()
        server = await loop.create_server(lambda: receiver, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await loop.create_connection(lambda: sender, "127.0.0.1", port)
        await until(lambda: receiver.transport is not None)
        ours.patch_loop(loop)
        try:
            receiver.transport, sender.transport = await asyncio.gather(
                loop.start_tls(receiver.transport, receiver, certs.server_context(),
                               server_side=True),
                loop.start_tls(sender.transport, sender, certs.client_context(),
                               server_hostname="localhost"))
        except TypeError as exc:
            assert "is not supported by start_tls" in str(exc)
            await turns()
        await finish_exchange(server, receiver, sender)

    loop.run_until_complete(main())


def test_core_objects_refuse_nonsense(ours):
    """T25: never-opened and closed objects of the private module raise, and never crash."""
    core = ours._core
    with pytest.raises(TypeError):
        core.Reactor()
    with pytest.raises(TypeError):
        core.Transport()
    with pytest.raises(TypeError):
        core.force_python_engine()
    loop = asyncio.SelectorEventLoop()
    reactor = core.Reactor(loop)
    assert reactor.fileno() >= 0
    reactor.dispatch()
    with pytest.raises(TypeError):
        reactor.make_socket_transport()
    with pytest.raises((TypeError, AttributeError)):
        reactor.make_socket_transport(None, None)
    assert reactor.get_transport(0) is None
    with socket.socket() as sock:
        reactor.stop_serving(sock)
    reactor.close()
    reactor.close()
    for method, args in ((reactor.dispatch, ()), (reactor.fileno, ()),
                         (reactor.get_transport, (0,))):
        try:
            method(*args)
        except (RuntimeError, ValueError):
            pass
    left, right = socket.socketpair()
    with pytest.raises((RuntimeError, ValueError, OSError)):
        reactor.make_socket_transport(left, Recorder())
    left.close()
    right.close()
    with pytest.raises(TypeError):
        core.Reactor.__new__(core.Reactor)
    loop.close()
    live.clear()


def test_direct_functions_for_pipes(ours, loop):
    """connect_read_pipe() and connect_write_pipe() on a loop that keeps its own methods."""
    async def main():
        reader, writer = (open(fd, mode, 0) for fd, mode in zip(os.pipe(), ("rb", "wb")))
        reading, receiver = await ours.connect_read_pipe(loop, Recorder, reader)
        writing, sender = await ours.connect_write_pipe(loop, Recorder, pipe=writer)
        assert isinstance(reading, ours._core.ReadPipeTransport)
        assert isinstance(writing, ours._core.WritePipeTransport)
        writing.write(b"hello")
        assert await receiver.received(5) == b"hello"
        writing.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None
        first, second = socket.socketpair()
        own, receiver = await loop.connect_read_pipe(Recorder, first)
        assert not isinstance(own, ours._core.ReadPipeTransport)
        second.close()
        await receiver.lost()
        await turns()

    loop.run_until_complete(main())
