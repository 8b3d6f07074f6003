# SPDX-License-Identifier: MIT
"""TLS over a transport that has TLS already, and over transports that are not ours."""
import asyncio
import gc
import ssl
import sys
import warnings
import weakref
from functools import partial

import pytest

from support.env import make_loop
from support.files import CONTENT, path
from support.marks import improvement, tls_only
from support.protocols import Recorder, assert_same, echoing, live, turns, until

pytestmark = [tls_only, pytest.mark.upgrades]

MIB = 1 << 20
not_on_stock = pytest.mark.implementations("ours", "ours_uvloop")


class Relay(asyncio.Transport):
    """Somebody else's transport: a wrapper of one that the loop made before it was patched."""

    def __init__(self, transport):
        super().__init__()
        self.inner = transport

    def __getattribute__(self, name):
        if name in ("inner", "__class__"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "inner"), name)

    # What tells a transport from the base class.
    write = resume_reading = set_protocol = None


async def layered(env, receiver, sender, layers=2):
    """Two protocols connected by TLS over TLS."""
    await env.pair(receiver, sender)
    for _ in range(layers - 1):
        await env.upgrade(receiver, sender)


async def over_foreign(env, receiver, sender, wrap):
    """Two protocols connected by TLS over transports of the loop as it was before patch_loop()."""
    await env.pair_unpatched(receiver, sender)
    assert type(sender.transport).__module__ != "aiofastnet._core"
    if wrap:
        receiver.transport, sender.transport = Relay(receiver.transport), Relay(sender.transport)
    await env.upgrade(receiver, sender)


def test_large_data_goes_both_ways_through_two_layers(env):
    """T27: TLS over TLS."""
    async def main():
        receiver, sender = echoing(), Recorder()
        await layered(env, receiver, sender)
        data = bytes(range(256)) * (MIB // 64)
        sender.transport.write(data)
        assert_same(await sender.received(len(data)), data)
        sender.transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None
        assert receiver.events[-2:] == ["eof", "lost"]

    env.run(main())


@not_on_stock
@pytest.mark.parametrize("layers", [3, 5])
def test_more_layers(env, layers):
    """T27: any number of them."""
    async def main():
        receiver, sender = echoing(), Recorder()
        await layered(env, receiver, sender, layers)
        data = b"0123456789" * 50000
        sender.transport.write(data)
        assert_same(await sender.received(len(data)), data)
        sender.transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None

    env.run(main())


@not_on_stock
@pytest.mark.parametrize("wrap", [False, True])
def test_tls_over_a_foreign_transport(env, wrap):
    """T27: over the loop's own transport, and over one that somebody wrote in Python."""
    async def main():
        receiver, sender = echoing(), Recorder()
        await over_foreign(env, receiver, sender, wrap)
        data = bytes(range(256)) * (MIB // 64)
        sender.transport.write(data)
        assert_same(await sender.received(len(data)), data)
        info = sender.transport.get_extra_info
        assert isinstance(info("ssl_object"), ssl.SSLObject)
        assert info("peername") == receiver.transport.get_extra_info("sockname")
        sender.transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None

    env.run(main())


def test_extra_info_is_of_the_upper_layer_and_of_the_socket(env):
    """T27: the TLS names are those of the last layer, the others those of the connection."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        lower = sender.transport
        await env.upgrade(receiver, sender)
        upper, info = sender.transport, sender.transport.get_extra_info
        assert upper is not lower
        assert info("ssl_object") is not lower.get_extra_info("ssl_object")
        assert info("sslcontext") is not lower.get_extra_info("sslcontext")
        assert info("peercert")["subject"] == ((("commonName", "localhost"),),)
        assert info("peername") == lower.get_extra_info("peername") != None  # noqa: E711
        assert info("socket").fileno() == lower.get_extra_info("socket").fileno() >= 0
        assert info("no such name", 42) == 42
        assert upper.get_protocol() is sender
        assert not upper.is_closing() and upper.is_reading()
        repr(upper)

    env.run(main())


@improvement("stock counts the layer only that was asked")
def test_the_write_buffer_is_that_of_the_whole_stack(env):
    """T11: what waits in a lower layer counts, and pauses the protocol on top."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        lower = sender.transport
        await env.upgrade(receiver, sender)
        receiver.transport.pause_reading()
        written = 0
        while "pause" not in sender.events:
            sender.transport.write(b"x" * 65536)
            written += 65536
            await asyncio.sleep(0)
            assert written < 256 * MIB, "never paused"
        size = sender.transport.get_write_buffer_size()
        assert size > lower.get_write_buffer_size() > 0
        receiver.transport.resume_reading()
        await until(lambda: "resume" in sender.events)
        await until(lambda: sender.transport.get_write_buffer_size() == 0)
        assert lower.get_write_buffer_size() == 0
        assert_same(await receiver.received(written), b"x" * written)

    env.run(main())


def test_a_pause_reaches_the_peer(env):
    """T27: a reader that pauses holds the writer back, through both layers."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await layered(env, receiver, sender)
        receiver.transport.pause_reading()
        assert not receiver.transport.is_reading()
        data = b"y" * (8 * MIB)
        sender.transport.write(data)
        for _ in range(200):
            await asyncio.sleep(0)
        assert sender.transport.get_write_buffer_size() > 0 or receiver.data == b""
        assert receiver.data == b""
        receiver.transport.resume_reading()
        assert_same(await receiver.received(len(data)), data)

    env.run(main())


@improvement("stock has the upper layer call a method of the lower one that takes no argument",
             before=(3, 13))
def test_a_certificate_that_is_not_trusted_on_the_upper_layer(env):
    """T27: the exception of the handshake; both layers end."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        lower = sender.transport
        serving = env.loop.create_task(env.loop.start_tls(
            receiver.transport, receiver, env.certs.server_context(env.version),
            server_side=True))
        await turns()       # or uvloop may hand the ClientHello on before the server has begun
        with pytest.raises(ssl.SSLCertVerificationError):
            await env.loop.start_tls(lower, sender, ssl.create_default_context(),
                                     server_hostname="localhost")
        with pytest.raises(OSError):
            await serving
        await until(lower.is_closing)
        env.take_exceptions()

    env.run(main())


def test_abort_of_the_upper_layer_ends_the_lower_one(env):
    """T27: at once, and the peer hears of it."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        lower = sender.transport
        await env.upgrade(receiver, sender)
        sender.transport.abort()
        assert await sender.lost() is None
        assert lower.is_closing()
        await receiver.lost()

    env.run(main())


def test_close_sends_what_was_written(env):
    """T27: megabytes, then close() at once: they arrive before the end."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await layered(env, receiver, sender)
        data = bytes(range(256)) * (MIB // 64)
        sender.transport.write(data)
        sender.transport.close()
        assert await sender.lost() is None
        await receiver.lost()
        assert_same(receiver.data, data)

    env.run(main())


def test_the_loss_of_the_lower_transport_is_told_on_top(env):
    """T27: the protocol's connection_lost() comes once, whoever ended the lower layer."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        lower = sender.transport
        await env.upgrade(receiver, sender)
        lower.abort()
        await sender.lost()
        await receiver.lost()
        assert sender.events.count("lost") == 1
        assert sender.transport.is_closing()
        sender.transport.write(b"nobody gets this")
        sender.transport.close()

    env.run(main())


@not_on_stock
def test_starting_tls_over_a_closed_transport(env):
    """T27: ConnectionResetError, as on one without TLS."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await env.pair(receiver, sender)
        sender.transport.close()
        await sender.lost()
        with pytest.raises(ConnectionResetError):
            await env.loop.start_tls(sender.transport, sender,
                                     env.certs.client_context(env.version),
                                     server_hostname="localhost")

    env.run(main())


@not_on_stock
def test_open_layers_of_a_closed_loop_leave_nothing(env):
    """T27: the loop ends with both layers open; no descriptor and no object stays."""
    def drive(loop):
        receiver, sender = Recorder(), Recorder()
        loop.run_until_complete(layered(env, receiver, sender))
        sender.transport.write(b"x" * MIB)

    env.drive(drive)
    gc.collect()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="StreamWriter.start_tls is new in 3.11")
def test_streams_start_tls_over_tls(env):
    """T26, T27: StreamWriter.start_tls on both sides of a TLS connection."""
    async def main():
        server_context = env.certs.server_context(env.version)
        client_context = env.certs.client_context(env.version)
        done = env.loop.create_future()

        async def serve(reader, writer):
            assert await reader.readline() == b"start\n"
            writer.write(b"go\n")
            await writer.drain()
            await writer.start_tls(server_context)
            data = await reader.readexactly(MIB)
            writer.write(data)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            done.set_result(None)

        server = await env.start_stream_server(serve)
        reader, writer = await env.open_streams(server)
        writer.write(b"start\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(client_context, server_hostname="localhost")
        writer.write(b"z" * MIB)
        await writer.drain()
        assert_same(await reader.readexactly(MIB), b"z" * MIB)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await done

    env.run(main())


@not_on_stock
@pytest.mark.parametrize("connect", [layered, partial(over_foreign, wrap=False),
                                     partial(over_foreign, wrap=True)],
                         ids=["layered", "foreign", "wrapped"])
def test_a_file_over_something_else(env, path, connect):
    """T27, T37: loop.sendfile() where there is no socket below."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await connect(env, receiver, sender)
        with open(path, "rb") as file:
            assert await env.loop.sendfile(sender.transport, file) == len(CONTENT)
            assert await env.loop.sendfile(sender.transport, file, 7, 100) == 100
        await receiver.received(len(CONTENT) + 100)
        assert_same(receiver.data, CONTENT + CONTENT[7:107])
        assert sender.transport.is_reading()
        sender.transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None

    env.run(main())


@pytest.mark.implementations("ours")
@pytest.mark.parametrize("is_foreign", [False, True])
def test_a_forgotten_loop_takes_its_layers_with_it(env, is_foreign):
    """T59: TLS over TLS, or over another's transport, does not keep a loop from the collector."""
    receiver, sender = Recorder(), Recorder()
    env.loop = make_loop(env.implementation)
    with env._engine(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        env.loop.run_until_complete(
            over_foreign(env, receiver, sender, False) if is_foreign
            else layered(env, receiver, sender))
        for server in env._servers:
            server.close()
        env.loop.run_until_complete(turns())
        references = [weakref.ref(env.loop), weakref.ref(sender.transport)]
        env._servers.clear()
        live.clear()
        receiver = sender = env.loop = server = None
        for _ in range(3):      # what a finalizer has seen is left to the next collection
            gc.collect()
    assert [reference() for reference in references] == [None, None]
