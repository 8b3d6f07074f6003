# SPDX-License-Identifier: MIT
"""Upgrading a connection to TLS."""
import asyncio
import ssl
import sys

import pytest

from support.env import TLS
from support.marks import improvement
from support.protocols import Recorder, assert_same, echoing, turns, until

# The kind decides the TLS version and engine here; the connections begin without TLS.
pytestmark = [pytest.mark.kinds("unix", *TLS), pytest.mark.upgrades]

needs_writer = pytest.mark.skipif(sys.version_info < (3, 11),
                                  reason="StreamWriter.start_tls is new in Python 3.11")


def contexts(env):
    """(server context, client context), also for the kind that has none."""
    return (env.certs.server_context(env.version), env.certs.client_context(env.version))


async def upgraded_pair(env, receiver, sender):
    """Two Recorders on connections that both sides upgraded with loop.start_tls."""
    server = await env.start_server(lambda: receiver, ssl=None)
    await env.connect(lambda: sender, server, ssl=None)
    await until(lambda: receiver.transport is not None)
    await env.upgrade(receiver, sender)


def test_loop_start_tls_upgrades_both_sides(env):
    """T26: a new transport for the same protocol; connection_made is not called again."""
    async def main():
        receiver, sender = echoing(), Recorder()
        await upgraded_pair(env, receiver, sender)
        assert receiver.events == sender.events == ["made"]
        sender.transport.write(b"secret")
        assert await sender.received(6) == b"secret"
        info = sender.transport.get_extra_info
        assert isinstance(info("ssl_object"), ssl.SSLObject)
        assert info("peercert")["subject"] == ((("commonName", "localhost"),),)
        assert info("socket").fileno() >= 0
        assert sender.transport.get_protocol() is sender
        sender.transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None
        assert receiver.events == ["made", "data", "eof", "lost"]

    env.run(main())


def test_data_before_the_upgrade_is_not_lost(env):
    """T26: a plain exchange first, then TLS, large data in both."""
    async def main():
        receiver, sender = echoing(), Recorder()
        server = await env.start_server(lambda: receiver, ssl=None)
        await env.connect(lambda: sender, server, ssl=None)
        sender.transport.write(b"p" * 300000)
        await sender.received(300000)
        server_context, client_context = contexts(env)
        receiver.transport, sender.transport = await asyncio.gather(
            env.loop.start_tls(receiver.transport, receiver, server_context, server_side=True),
            env.loop.start_tls(sender.transport, sender, client_context,
                               server_hostname="localhost"))
        sender.transport.write(b"t" * 300000)
        data = await sender.received(600000)
        assert_same(data, b"p" * 300000 + b"t" * 300000)

    env.run(main())


def test_a_failed_upgrade_raises_and_closes(env):
    """T26: a certificate that is not trusted: the exception of the handshake, nothing left."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        server = await env.start_server(lambda: receiver, ssl=None)
        await env.connect(lambda: sender, server, ssl=None)
        await until(lambda: receiver.transport is not None)
        server_context, _ = contexts(env)
        wrong = env.certs.client_context(env.version, env.certs.other_ca)
        results = await asyncio.gather(
            env.loop.start_tls(receiver.transport, receiver, server_context, server_side=True),
            env.loop.start_tls(sender.transport, sender, wrong, server_hostname="localhost"),
            return_exceptions=True)
        assert isinstance(results[1], ssl.SSLCertVerificationError)
        if isinstance(results[0], asyncio.Transport):
            results[0].abort()      # in TLS 1.3 the server may be done before it hears of it
        await turns(50)
        # An upgrade that fails tells the protocol nothing on stock: it has to forget itself.
        receiver.is_lost = sender.is_lost = True

    env.run(main())


@pytest.mark.parametrize("moment", [0, 1, 2, 3, 5, 8])
def test_a_cancelled_upgrade_leaves_nothing_behind(env, moment):
    """T26: cancelled after so many turns of the loop: the connection is closed."""
    async def main():
        sender = Recorder()
        listener = env.raw_listener(None)
        await env.connect(lambda: sender, listener.address, ssl=None)
        peer = await env.thread(listener.accept)
        _, client_context = contexts(env)
        upgrading = env.loop.create_task(env.loop.start_tls(
            sender.transport, sender, client_context, server_hostname="localhost"))
        await turns(moment)
        upgrading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upgrading
        if moment == 0:
            sender.transport.abort()    # it had not even begun
        await env.thread(peer.wire_end)
        peer.close()
        await turns()
        sender.is_lost = True           # see above

    env.run(main())


def test_an_upgraded_connection_ends_at_its_time_limit(env):
    """T17, T26: ssl_shutdown_timeout of start_tls(), with a peer that never answers."""
    async def main():
        receiver = Recorder()
        server = await env.start_server(lambda: receiver, ssl=None)
        peer = await env.raw_connect(server, None)
        await until(lambda: receiver.transport is not None)
        server_context, client_context = contexts(env)
        peer.start_tls(client_context, hostname="localhost")
        receiver.transport, _ = await asyncio.gather(
            env.loop.start_tls(receiver.transport, receiver, server_context, server_side=True,
                               ssl_shutdown_timeout=0.05),
            env.thread(peer.handshake))
        receiver.transport.close()
        error = await receiver.lost()
        assert error is None or isinstance(error, (TimeoutError, asyncio.TimeoutError))
        await env.thread(peer.wire_end)
        assert env.take_exceptions() == []

    env.run(main())


def test_what_start_tls_refuses(env):
    """T26: wrong contexts, transports and time limits raise what stock raises."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        server = await env.start_server(lambda: receiver, ssl=None)
        transport, _ = await env.connect(lambda: sender, server, ssl=None)
        _, client_context = contexts(env)
        with pytest.raises(TypeError, match="sslcontext is expected to be an instance of"):
            await env.loop.start_tls(transport, sender, None)
        with pytest.raises(TypeError, match="is not supported by start_tls"):
            await env.loop.start_tls(asyncio.Transport(), sender, client_context)
        with pytest.raises(TypeError, match="SSLContext"):
            await env.loop.start_tls(None, sender, None)
        transport.write(b"still works")
        assert await receiver.received(11) == b"still works"

    env.run(main())


@needs_writer
@improvement("stock's StreamReader pauses one transport and resumes another", kinds=("unix",),
             since=(3, 14), run=False)
def test_streams_upgrade_with_stream_writer_start_tls(env):
    """T26: both sides by StreamWriter.start_tls; drain and reading work on the new transport."""
    async def main():
        server_context, client_context = contexts(env)
        served = env.loop.create_future()

        async def handle(reader, writer):
            try:
                assert await reader.readline() == b"STARTTLS\n"
                writer.write(b"go ahead\n")
                await writer.drain()
                await writer.start_tls(server_context)
                data = await reader.readexactly(1000000)
                writer.write(data)
                await writer.drain()
                served.set_result(writer.get_extra_info("ssl_object"))
            finally:
                writer.close()

        server = await env.start_stream_server(handle, ssl=None)
        reader, writer = await env.open_streams(server, ssl=None)
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(client_context, server_hostname="localhost")
        writer.write(b"s" * 1000000)
        await writer.drain()
        assert await reader.readexactly(1000000) == b"s" * 1000000
        assert isinstance(await served, ssl.SSLObject)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    env.run(main())


def test_reader_and_writer_refer_to_the_new_transport(env):
    """T26: of a server whose connection is upgraded by loop.start_tls(), in every Python; but not the
    writer where the protocol does not know it, as in some since there is StreamWriter.start_tls().
    """
    async def main():
        server_context, client_context = contexts(env)
        served = env.loop.create_future()

        async def handle(reader, writer):
            old = writer.transport
            protocol = old.get_protocol()
            new = await env.loop.start_tls(old, protocol, server_context, server_side=True)
            served.set_result((old, new, reader._transport, writer.transport,
                               hasattr(protocol, "_stream_writer")))
            new.abort()

        server = await env.start_stream_server(handle, ssl=None)
        peer = await env.raw_connect(server, None)
        peer.start_tls(client_context, hostname="localhost")
        await env.thread(peer.handshake)
        old, new, of_reader, of_writer, is_writer_known = await served
        assert new is not old
        assert is_writer_known or sys.version_info >= (3, 11)
        if not env.is_stock:        # which leaves that to StreamWriter.start_tls()
            assert of_reader is new
            assert of_writer is (new if is_writer_known else old)
        await env.thread(peer.wire_end)

    env.run(main())


@needs_writer
@improvement("stock leaves the ClientHello in the StreamReader", before=(3, 14), run=False)
def test_a_client_hello_that_is_already_buffered_is_used(env):
    """T26: a client that sends its command and the ClientHello in one segment."""
    async def main():
        server_context, client_context = contexts(env)

        async def handle(reader, writer):
            assert await reader.readline() == b"STARTTLS\n"
            # Without waiting for anything: what came with the line is in the reader by now.
            await writer.start_tls(server_context)
            writer.write(await reader.readline())
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await env.start_stream_server(handle, ssl=None)
        peer = await env.raw_connect(server, None)

        def drive():
            peer.start_tls(client_context, hostname="localhost")
            try:
                peer.tls.do_handshake()
            except ssl.SSLWantReadError:
                peer.wire(b"STARTTLS\n" + peer.outgoing.read())
            peer.handshake()
            peer.send(b"hello\n")
            answer = peer.read_to_end()
            peer.close_notify()
            return answer

        assert await env.thread(drive) == b"hello\n"
        peer.close()
        await turns()

    env.run(main())


@improvement("stock forgets that the protocol is paused and never resumes it", run=False)
def test_a_paused_writer_may_be_upgraded_and_resumes_once(env):
    """T26: the queue is full when the upgrade begins; pause and resume stay in pairs."""
    async def main():
        sender = Recorder()
        listener = env.raw_listener(None)
        transport, _ = await env.connect(lambda: sender, listener.address, ssl=None)
        peer = await env.thread(listener.accept)
        data = b"w" * 8000000
        transport.write(data)
        assert sender.events == ["made", "pause"]
        server_context, client_context = contexts(env)

        def serve():
            assert_same(peer.read_exactly(len(data)), data)
            peer.start_tls(server_context, server_side=True)
            peer.handshake()
            return peer.read_exactly(6)

        served = env.start_thread(serve)
        sender.transport = await env.loop.start_tls(transport, sender, client_context,
                                                    server_hostname="localhost")
        sender.transport.write(b"secret")
        assert await served == b"secret"
        await until(lambda: sender.events[-1] == "resume")
        assert sender.events == ["made", "pause", "resume"]
        peer.close()

    env.run(main())


@pytest.mark.parametrize("ending", ["close", "abort"])
def test_ending_right_after_the_upgrade(env, ending):
    """T16: the new transport is closed at once: connection_lost once on each side."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        await upgraded_pair(env, receiver, sender)
        getattr(sender.transport, ending)()
        assert await sender.lost() is None
        await receiver.lost()
        assert sender.course == ["made", "lost"] and receiver.course == ["made", "lost"]

    env.run(main())
