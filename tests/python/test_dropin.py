# SPDX-License-Identifier: MIT
"""Small things that real programs rely on."""
import asyncio
import functools
import gc
import inspect
import os
import socket
import subprocess
import sys
import unittest.mock
import weakref

import pytest

from support.env import make_loop
from support.marks import tcp_only
from support.protocols import Recorder, assert_same, echoing, live, turns, until

METHODS = ("create_connection", "create_server", "create_unix_connection", "create_unix_server",
           "connect_accepted_socket", "connect_read_pipe", "connect_write_pipe",
           "create_datagram_endpoint", "start_tls", "sendfile")


class Newer:
    """What asyncio's loops have since Python 3.11, as it is declared there."""

    async def sock_recvfrom(self, sock, bufsize): pass
    async def sock_recvfrom_into(self, sock, buf, nbytes=0): pass
    async def sock_sendto(self, sock, data, address): pass


def test_transports_are_asyncio_transports(env):
    """T49: isinstance of the interface's classes, on both sides."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        for transport in (receiver.transport, sender.transport):
            assert isinstance(transport, asyncio.Transport)
            assert isinstance(transport, asyncio.ReadTransport)
            assert isinstance(transport, asyncio.WriteTransport)
            assert isinstance(transport, asyncio.BaseTransport)

    env.run(main())


def test_the_whole_interface_is_there(env):
    """T49: every public method of asyncio.Transport, and none of them is the abstract one."""
    async def main():
        transport = await env.pair(Recorder(), Recorder())
        for name in dir(asyncio.Transport):
            if name.startswith("_"):
                continue
            method = getattr(transport, name)
            assert callable(method), name
            if name in ("get_extra_info", "writelines"):
                continue        # what the interface itself implements
            assert getattr(type(transport), name) is not getattr(asyncio.Transport, name), name
        assert transport.get_write_buffer_limits()[0] > 0

    env.run(main())


def test_arguments_may_be_given_by_name(env):
    """T50: asyncio's names, and nothing else."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.set_protocol(protocol=sender)
        transport.write(data=b"one")
        transport.writelines(list_of_data=[b"two", b"three"])
        assert await receiver.received(11) == b"onetwothree"
        assert transport.get_extra_info(name="nothing", default=7) == 7
        for call in (lambda: transport.write(), lambda: transport.write(b"a", b"b"),
                     lambda: transport.write(b"a", data=b"b"), lambda: transport.write(bytes=b"a"),
                     lambda: transport.writelines(lines=[]), lambda: transport.set_protocol(),
                     lambda: transport.get_extra_info("a", "b", "c")):
            with pytest.raises(TypeError):
                call()

    env.run(main())


def test_transports_are_weakly_referenced_and_hashed(env):
    """Transports are kept in sets and weak dictionaries."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        known = {receiver.transport, sender.transport}
        assert len(known) == 2 and sender.transport in known
        registry = weakref.WeakSet(known)
        assert len(registry) == 2
        assert receiver.transport != sender.transport

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_transports_cannot_be_made_directly(env):
    """T25: construction and __new__ raise TypeError, nothing crashes."""
    async def main():
        transport = await env.pair(Recorder(), Recorder())
        kind = type(transport)
        for make in (kind, lambda: kind.__new__(kind), lambda: kind(env.loop),
                     lambda: type("Sub", (kind,), {})()):
            with pytest.raises(TypeError):
                make()
        assert kind.__name__ in repr(transport)

    env.run(main())


def test_protocols_of_every_shape_are_accepted(env):
    """A protocol is duck-typed, and may have __slots__."""
    async def main():
        class Slotted(asyncio.Protocol):
            __slots__ = ("transport",)

            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                self.transport.write(data)

        class Duck:
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                self.transport.write(data)

            def eof_received(self):
                pass

            def connection_lost(self, exc):
                pass

            def pause_writing(self):
                pass

            def resume_writing(self):
                pass

        for factory in (Slotted, Duck):
            server = await env.start_server(factory)
            sender = Recorder()
            await env.connect(lambda: sender, server)
            sender.transport.write(b"hello")
            await sender.received(5)
            sender.transport.close()
            await sender.lost()

    env.run(main())


def test_a_protocol_may_change_its_callbacks_while_connected(env):
    """Callbacks set on the instance later are used, as stock looks them up at each call."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"one")
        await receiver.received(3)
        seen = bytearray()
        receiver.data_received = seen.extend
        await env.thread(peer.send, b"two")
        await until(lambda: len(seen) == 3)
        assert receiver.data == b"one" and seen == b"two"

    env.run(main())


@tcp_only
def test_the_loops_methods_behave_as_bound_methods(env):
    """T50: partial, comparison, keywords, autospec, __self__, __name__ and the signature."""
    async def main():
        loop = env.loop
        stock = asyncio.SelectorEventLoop
        # And whatever else patch_loop() has put there.
        put = [name for name, value in vars(loop).items() if inspect.ismethod(value)]
        assert bool(put) is not env.is_stock
        for name in {*METHODS, *put}:
            is_new = sys.version_info < (3, 11) and name in vars(Newer)
            method, expected = getattr(loop, name), getattr(Newer if is_new else stock, name)
            assert method == getattr(loop, name)
            assert method.__name__ == name
            assert method.__self__ is loop
            assert inspect.iscoroutinefunction(method) is inspect.iscoroutinefunction(expected)
            if not env.is_uvloop:
                signature = inspect.signature(functools.partial(expected, loop))
                assert inspect.signature(method) == signature
            unittest.mock.create_autospec(method)
        make_server = functools.partial(loop.create_server, host="127.0.0.1")
        server = await make_server(protocol_factory=echoing, port=0)
        host, port = server.sockets[0].getsockname()
        sender = Recorder()
        await functools.partial(loop.create_connection, lambda: sender)(host=host, port=port)
        sender.transport.write(b"hello")
        await sender.received(5)
        server.close()

    env.run(main())


def test_the_loop_refuses_to_watch_the_descriptor_of_a_transport(env):
    """T56: add_reader and add_writer raise RuntimeError while the transport is open."""
    async def main():
        sender = Recorder()
        receiver = Recorder()
        transport = await env.pair(receiver, sender)
        number = transport.get_extra_info("socket").fileno()
        for method in (env.loop.add_reader, env.loop.add_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                method(number, print)
        for method in (env.loop.remove_reader, env.loop.remove_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                method(number)
        transport.write(b"fine")
        assert await receiver.received(4) == b"fine"
        transport.abort()
        await sender.lost()
        left, right = socket.socketpair()
        called = env.loop.create_future()
        env.loop.add_reader(left, called.set_result, None)
        right.send(b"x")
        await called
        # uvloop's own remove_reader has no result.
        assert env.loop.remove_reader(left) is (None if env.is_uvloop else True)
        left.close()
        right.close()

    env.run(main())


@pytest.mark.kinds("tcp", "unix", "tls13", "pyengine", "ktls13")
def test_sendfile_sends_the_file(env, tmp_path):
    """loop.sendfile with and without a position, by whatever way; compared byte for byte."""
    path = tmp_path / "file"
    content = bytes(range(256)) * 4000
    path.write_bytes(content)

    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        with open(path, "rb") as file:
            assert await env.loop.sendfile(transport, file) == len(content)
            assert file.tell() == len(content)
            assert await env.loop.sendfile(transport, file, 1000, 5000) == 5000
            assert file.tell() == 6000
        transport.write(b"end")
        await receiver.received(len(content) + 5003)
        assert_same(receiver.data, content + content[1000:6000] + b"end")

    env.run(main())


@tcp_only
def test_a_closed_loop_drops_its_transports(env):
    """T23: the collector may take a closed loop and its transports in any order."""
    loop = make_loop(env.implementation)
    receiver, sender = Recorder(), Recorder()
    env.loop = loop
    loop.run_until_complete(env.pair(receiver, sender))
    transport = sender.transport
    transport.abort()
    receiver.transport.abort()
    loop.run_until_complete(turns())
    for server in env._servers:
        server.close()
    env._servers.clear()
    loop.run_until_complete(turns())
    loop.close()
    loop.close()
    assert transport.is_closing()
    transport.close()
    transport.abort()
    assert repr(transport)
    env.loop = loop = None
    live.clear()
    gc.collect()
    assert transport.get_extra_info("peername")


FORKING = """
import asyncio, os, socket, sys, warnings
import aiofastnet
warnings.simplefilter("ignore", ResourceWarning)

async def start(loop):
    async def echo(reader, writer):
        writer.write(await reader.readexactly(5))
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    peer = socket.create_connection(address)
    reader, writer = await asyncio.open_connection(*address)
    return server, peer, reader, writer

async def go_on(server, peer, reader, writer):
    peer.send(b"hello")
    writer.write(b"hello")
    print(await reader.readexactly(5))
    reader, other = await asyncio.open_connection(*server.sockets[0].getsockname())
    other.write(b"again")
    print(await reader.readexactly(5))
    peer.setblocking(False)
    print(await asyncio.get_running_loop().sock_recv(peer, 5))
    for each in (other, writer):
        each.close()
        await each.wait_closed()
    peer.close()
    server.close()

def run(what):
    loop = aiofastnet.patch_loop(asyncio.SelectorEventLoop())
    things = loop.run_until_complete(start(loop))
    child = os.fork()
    if child == 0:
        if what == "close":
            loop._close_self_pipe = lambda: None    # what stock does with its parent's
            loop.close()
        return
    os.waitpid(child, 0)
    loop.run_until_complete(asyncio.wait_for(go_on(*things), 20))
    loop.close()

run(sys.argv[1])
"""


@pytest.mark.parametrize("what", ["exit", "close"])
def test_a_forked_child_leaves_the_connections_of_its_parent_alone(ours, what):
    """It ends as any Python program does, or closes the loop first."""
    output = subprocess.run([sys.executable, "-c", FORKING, what], check=True,
                            stdout=subprocess.PIPE, universal_newlines=True).stdout
    assert output.splitlines() == ["b'hello'", "b'again'", "b'hello'"]


GOING_ON = """
import asyncio, os, socket, sys
import aiofastnet

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)

async def go_on(loop, old):
    address = old.sockets[0].getsockname()
    old.close()
    # The parent's copy of the socket listens still.
    knocking = [socket.create_connection(address) for _ in range(3)]
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello")
    print(await reader.readexactly(5), flush=True)
    writer.close()
    await writer.wait_closed()
    server.close()
    for each in knocking:
        each.close()

def run():
    loop = aiofastnet.patch_loop(asyncio.SelectorEventLoop())
    server = loop.run_until_complete(loop.create_server(Echo, "127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        loop.run_until_complete(asyncio.wait_for(go_on(loop, server), 20))
        loop.close()
        return
    print(os.waitpid(child, 0)[1], flush=True)
    os._exit(0)

run()
"""


def test_a_forked_child_goes_on_with_the_loop_of_its_parent(ours):
    """Nothing is called that was freed, which the debugging allocator would overwrite."""
    output = subprocess.run([sys.executable, "-c", GOING_ON], check=True, stdout=subprocess.PIPE,
                            env={**os.environ, "PYTHONMALLOC": "debug"},
                            universal_newlines=True).stdout
    assert output.splitlines() == ["b'hello'", "0"]
