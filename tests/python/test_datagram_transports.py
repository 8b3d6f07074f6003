# SPDX-License-Identifier: MIT
"""Datagram transports as objects: what they show, and their contexts, threads and loops."""
import asyncio
import contextvars
import gc
import socket

import pytest

from support.datagrams import (FAMILIES, all_families, endpoint, local_address, name_of, ours_only,
                               raw_socket, remote_address, reply)
from support.env import make_loop, uvloop
from support.marks import improvement
from support.protocols import DatagramRecorder, turns

pytestmark = all_families
variable = contextvars.ContextVar("variable", default="unset")


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
