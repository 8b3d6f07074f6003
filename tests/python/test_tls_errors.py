# SPDX-License-Identifier: MIT
"""Handshakes that fail, and connections that are no TLS at all."""
import asyncio
import collections
import contextlib
import gc
import re
import ssl

import pytest

from support.marks import one_tls, tls_only, wait_or_close_first
from support.peers import SCALE, RawPeer, socket_pair
from support.protocols import Recorder, echoing, turns, until

pytestmark = tls_only


Facts = collections.namedtuple(
    "Facts", "type args_ errno strerror library reason verify_code verify_message")


def facts(error):
    """What a program can see of an exception, without the line of the C source."""
    def lineless(value):
        return re.sub(r" \(_ssl\.c:\d+\)", "", str(value))

    return Facts(type(error), [lineless(arg) for arg in error.args], error.errno,
                 lineless(error.strerror), getattr(error, "library", None),
                 getattr(error, "reason", None), getattr(error, "verify_code", None),
                 getattr(error, "verify_message", None))


def same_on_stock(env, attempt, *args):
    """Run `attempt` on the implementation and on stock; its facts, which must be the same."""
    error = env.run(attempt(env, *args))
    if not env.is_stock:
        oracle = env.oracle()
        try:
            assert error == oracle.run(attempt(oracle, *args))
        finally:
            oracle.dispose()
    return error


async def failing_client(env, serve, client_context, context=None, **keywords):
    """The facts of the exception of a connect to a RawPeer that `serve` drives."""
    listener = env.raw_listener(context or env.server_context())

    def body():
        peer = listener.accept()
        with contextlib.suppress(OSError):
            serve(peer)
        peer.close()

    served = env.start_thread(body)
    protocol = Recorder()
    with pytest.raises(Exception) as caught:
        await env.connect(lambda: protocol, listener.address, ssl=client_context(env), **keywords)
    await served
    await turns()
    assert protocol.events == []
    return facts(caught.value)


async def failing_server(env, drive, context, peer_context=None):
    """The facts of the exception of connect_accepted_socket for a RawPeer that `drive` drives."""
    left, right = socket_pair("tcp")
    peer = RawPeer(left, peer_context, hostname="localhost")

    def body():
        with contextlib.suppress(OSError):
            drive(peer)
        peer.close()

    driven = env.start_thread(body)
    protocol = Recorder()
    with pytest.raises(Exception) as caught:
        await env.loop.connect_accepted_socket(lambda: protocol, right, ssl=context)
    await driven
    await turns()
    assert protocol.events == []
    return facts(caught.value)


def shake(peer):
    peer.handshake()
    peer.wire_end()


def plain(env):
    return env.client_context()


def test_a_certificate_of_an_unknown_authority(env):
    """T5: type, args, reason, verify_code and verify_message are stock's."""
    error = same_on_stock(env, failing_client, shake,
                          lambda env: env.client_context(env.certs.other_ca))
    assert error.type is ssl.SSLCertVerificationError
    assert error.reason == "CERTIFICATE_VERIFY_FAILED" and error.verify_code in (19, 20)


def test_a_certificate_for_another_host(env):
    """T5: as above for a wrong host name."""
    async def attempt(env):
        return await failing_client(env, shake, plain, env.server_context("wronghost"))

    error = same_on_stock(env, attempt)
    assert error.type is ssl.SSLCertVerificationError
    assert "Hostname mismatch" in error.verify_message and error.verify_code == 62


def test_an_expired_certificate(env):
    """T5: as above for a certificate of the past."""
    async def attempt(env):
        return await failing_client(env, shake, plain, env.server_context("expired"))

    error = same_on_stock(env, attempt)
    assert error.type is ssl.SSLCertVerificationError
    assert error.verify_code == 10


def other_version(env):
    return ssl.TLSVersion.TLSv1_3 if env.is_old_tls else ssl.TLSVersion.TLSv1_2


def test_no_common_protocol_version_for_the_client(env):
    """T5: the server's alert becomes the exception."""
    async def attempt(env):
        return await failing_client(env, shake, plain,
                                    env.certs.server_context(other_version(env)))

    error = same_on_stock(env, attempt)
    assert error.type is ssl.SSLError
    assert "PROTOCOL" in error.reason


def test_no_common_protocol_version_for_the_server(env):
    """T5: what the server finds itself."""
    async def attempt(env):
        return await failing_server(env, shake, env.server_context(),
                                    env.certs.client_context(other_version(env)))

    error = same_on_stock(env, attempt)
    assert error.type is ssl.SSLError
    assert "PROTOCOL" in error.reason or "VERSION" in error.reason


@pytest.mark.kinds("tls12", "ktls12")
def test_no_shared_cipher(env):
    """T5: the server's certificate fits none of the client's ciphers."""
    async def attempt(env):
        client_context = env.client_context()
        client_context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        return await failing_server(env, shake, env.server_context(), client_context)

    error = same_on_stock(env, attempt)
    assert error.type is ssl.SSLError and error.reason == "NO_SHARED_CIPHER"


def test_a_client_that_refuses_the_certificate(env):
    """T5: its alert becomes the server's exception."""
    async def attempt(env):
        return await failing_server(env, shake, env.server_context(),
                                    env.client_context(env.certs.other_ca))

    error = same_on_stock(env, attempt)
    assert error.type is ssl.SSLError and "UNKNOWN_CA" in error.reason


@pytest.mark.parametrize("data,reason", [
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP_REQUEST"),
    (b"SSH-2.0-OpenSSH_9.2p1 and so on\r\n", None),
    (bytes(1000), None),
], ids=["http", "ssh", "zeros"])
def test_no_tls_on_a_tls_server(env, data, reason):
    """T5: plain HTTP and other noise for connect_accepted_socket."""
    async def attempt(env):
        def drive(peer):
            peer.wire(data)
            peer.wire_end()
        return await failing_server(env, drive, env.server_context())

    error = same_on_stock(env, attempt)
    assert error.type is ssl.SSLError
    assert reason is None or error.reason == reason


def test_no_tls_on_the_server_side(env):
    """T5: a client that connects to a plain HTTP server."""
    def serve(peer):
        peer.read_wire()
        peer.wire(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.wire_end()

    error = same_on_stock(env, failing_client, serve, plain)
    assert error.type is ssl.SSLError


@pytest.mark.parametrize("end", ["reset", "close", "shutdown_write"])
def test_the_connection_breaks_in_the_handshake(env, end):
    """T5: RST and EOF in the handshake, for the client."""
    def serve(peer):
        peer.read_wire()
        getattr(peer, end)()
        if end == "shutdown_write":
            peer.wire_end()

    error = same_on_stock(env, failing_client, serve, plain)
    assert issubclass(error.type, ConnectionResetError)


@pytest.mark.parametrize("end", ["reset", "close", "shutdown_write"])
def test_the_connection_breaks_in_the_handshake_of_a_server(env, end):
    """T5: the same for the server, after a part of the ClientHello."""
    async def attempt(env):
        def drive(peer):
            try:
                peer.tls.do_handshake()
            except ssl.SSLWantReadError:
                peer.wire(peer.outgoing.read()[:100])
            getattr(peer, end)()
            if end == "shutdown_write":
                peer.wire_end()
        return await failing_server(env, drive, env.server_context(), env.client_context())

    error = same_on_stock(env, attempt)
    assert issubclass(error.type, ConnectionResetError)


NOISE = (b"", b"\n", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x40\x00" + b"\xff" * 300,
         b"\x80\x2e\x01\x00\x02" + b"a" * 50, b"\x15\x03\x03\x00\x02\x02\x28", bytes(20000),
         b"\x16\x03\x03\x00\x04\x01\x00\x00\x00", b"\x17\x03\x03\x00\x10" + b"x" * 16)


def test_scanners_disturb_nobody(env):
    """T18: garbage of every kind on a TLS port: no exception handler, and others go on."""
    async def main():
        served = []

        def factory():
            served.append(echoing())
            return served[-1]

        server = await env.start_server(factory)
        good = await env.raw_connect(server)
        for noise in NOISE:
            for finish in ("wire_end", "reset", "close"):
                peer = await env.raw_connect(server, None)
                await env.thread(disturb, peer, noise, finish)
                await env.thread(good.send, b"ping")
                assert await env.thread(good.read_exactly, 4) == b"ping"
        # Whether the factory is called before the handshake is the implementation's choice.
        assert sum(protocol.transport is not None for protocol in served) == 1

    env.run(main())


def disturb(peer, noise, finish):
    with contextlib.suppress(OSError):
        peer.wire(noise)
        if finish == "wire_end":
            peer.shutdown_write()
        getattr(peer, finish)()
    peer.close()


def test_a_silent_client_is_dropped_at_the_handshake_time_limit(env):
    """T20: the server closes; no protocol hears of it; the loop's handler is not called."""
    async def main():
        receiver = Recorder()
        server = await env.start_server(lambda: receiver, ssl_handshake_timeout=0.05)
        peer = await env.raw_connect(server, None)
        await env.thread(peer.wire_end)
        await turns()
        assert receiver.events == []

    env.run(main())


def test_a_silent_server_is_given_up_at_the_handshake_time_limit(env):
    """T20: ConnectionAbortedError with stock's text."""
    async def main():
        listener = env.raw_listener(None)
        with pytest.raises(ConnectionAbortedError) as caught:
            await env.connect(Recorder, listener.address, ssl_handshake_timeout=0.05)
        assert str(caught.value) == ("SSL handshake is taking longer than 0.05 seconds: "
                                     "aborting the connection")
        peer = await env.thread(listener.accept)
        await env.thread(peer.wire_end)
        peer.close()

    env.run(main())


def test_cancelling_a_connect_in_the_handshake_closes_the_socket_at_once(env):
    """T20: the peer sees the end although it never answered."""
    async def main():
        listener = env.raw_listener(None)
        protocol = Recorder()
        connecting = env.loop.create_task(env.connect(lambda: protocol, listener.address))
        peer = await env.thread(listener.accept)
        await env.thread(peer.read_wire)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await env.thread(peer.wire_end)
        peer.close()
        await turns()
        assert protocol.events == []

    env.run(main())


@wait_or_close_first
def test_a_pending_handshake_counts_as_a_client_of_the_server(env, first):
    """T20: wait_closed() waits for it."""
    async def main():
        server = await env.start_server(Recorder)
        peer = await env.raw_connect(server, None)
        await turns(50)
        if first == "close":
            server.close()
        waiting = env.loop.create_task(server.wait_closed())
        await turns(50)
        server.close()
        await turns(50)
        assert not waiting.done()
        await env.thread(peer.reset)
        await waiting

    env.run(main())


@one_tls
def test_failed_handshakes_leave_nothing_behind(env):
    """T21: with the collector off no SSL object and no transport is left."""
    def objects():
        return sum(isinstance(thing, (ssl.SSLObject, ssl.MemoryBIO, asyncio.Transport))
                   for thing in gc.get_objects())

    async def main():
        server = await env.start_server(Recorder)
        gc.collect()
        gc.disable()
        before = objects()
        for number in range(60 * SCALE):
            peer = await env.raw_connect(server, None)
            await env.thread(disturb, peer, NOISE[number % len(NOISE)],
                             ("wire_end", "reset")[number % 2])
        await turns(50)
        if env.is_stock:
            gc.collect()    # stock's transports and protocols are cycles
        await until(lambda: objects() <= before)

    try:
        env.run(main())
    finally:
        gc.enable()
