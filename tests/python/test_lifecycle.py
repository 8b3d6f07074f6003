# SPDX-License-Identifier: MIT
"""From connection_made to connection_lost: every way a connection can end."""
import asyncio
import gc
import os
import socket
import ssl
import sys
import warnings

import pytest

from support.env import PLAIN, TLS, make_loop
from support.marks import improvement, tcp_only, tls_only
from support.protocols import Recorder, assert_same, live, turns, until


def test_close_flushes_everything(env):
    """T17: a large queue, then close(): every byte arrives, then the end."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        receiver.transport.pause_reading()
        data = os.urandom(1 << 20) * 8
        transport.write(data)
        transport.close()
        transport.close()
        assert transport.is_closing()
        await turns()
        assert "lost" not in sender.events
        receiver.transport.resume_reading()
        assert await sender.lost() is None
        assert await receiver.lost() is None
        assert_same(receiver.data, data)
        assert receiver.events == ["made", "data", "eof", "lost"]

    env.run(main())


@improvement("stock takes the peer's data for an error of the shutdown", kinds=TLS)
def test_no_data_is_delivered_after_close(env):
    """T17: what comes after close() is dropped."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"before")
        await receiver.received(6)
        transport.close()
        with_errors = env.start_thread(send_and_end, peer)
        assert await receiver.lost() is None
        await with_errors
        assert receiver.data == b"before"
        assert receiver.course == ["made", "data", "lost"]

    env.run(main())


def send_and_end(peer):
    try:
        peer.send(b"after")
        if peer.tls is not None:
            peer.close_notify()
    except OSError:
        pass
    peer.close()


@tls_only
def test_close_sends_close_notify_and_waits_for_the_answer(env):
    """T17: the peer sees close_notify and its answer ends the connection without error."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_client(receiver)
        transport.write(b"bye")
        transport.close()
        assert await env.thread(peer.got_close_notify)
        await env.thread(peer.close_notify)
        await env.thread(peer.close)
        assert await receiver.lost() is None
        assert receiver.course == ["made", "lost"]

    env.run(main())


@tls_only
@pytest.mark.skipif(sys.version_info < (3, 11), reason="ssl_shutdown_timeout is new in 3.11")
@pytest.mark.parametrize("flood", [False, True])
def test_a_peer_that_never_answers_close_notify_is_dropped_in_time(env, flood):
    """T17: at ssl_shutdown_timeout the socket is gone, silent or flooding peer alike."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_client(receiver, ssl_shutdown_timeout=0.05)

        def pour():
            record = b"x" * 16384
            try:
                while True:
                    peer.send(record)
            except OSError:
                peer.close()

        poured = env.start_thread(pour) if flood else None
        if flood:
            await receiver.received(1)
        transport.close()
        count = len(receiver.data)
        error = await receiver.lost()
        assert len(receiver.data) == count, "data was delivered after close()"
        assert error is None or isinstance(error, (TimeoutError, asyncio.TimeoutError, OSError))
        if poured is not None:
            await poured
        else:
            await env.thread(peer.wire_end)
        assert env.take_exceptions() == []

    env.run(main())


@tls_only
@improvement("stock tells the time limit, or the peer's data, as an error of the connection")
@pytest.mark.skipif(sys.version_info < (3, 11), reason="ssl_shutdown_timeout is new in 3.11")
@pytest.mark.parametrize("flood", [False, True])
def test_wait_closed_does_not_raise_for_a_peer_that_never_answers(env, flood):
    """T17: neither close_notify that stays without an answer nor a flood until the end."""
    async def main():
        listener = env.raw_listener()

        def serve():
            peer = listener.accept()
            peer.handshake()
            peer.send(b"hello")
            try:
                while flood:
                    peer.send(bytes(65536))
                peer.wire_end()
            except OSError:
                pass
            peer.close()

        served = env.start_thread(serve)
        reader, writer = await env.open_streams(listener.address, ssl_shutdown_timeout=0.1)
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        try:
            await writer.wait_closed()
        finally:
            await served

    env.run(main())


@tls_only
@pytest.mark.parametrize("ending", ["data", "garbage", "reset", "close", "half-close"])
def test_trouble_during_the_shutdown_is_quiet(env, ending):
    """T18: data after close_notify, garbage, RST and plain EOF while shutting down."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_client(receiver)
        transport.close()

        def disturb():
            peer.got_close_notify()
            try:
                if ending == "data":
                    peer.wire(peer.seal(b"late data"))
                elif ending == "garbage":
                    peer.wire(b"this is no TLS record at all")
                elif ending == "reset":
                    peer.reset()
                elif ending == "half-close":
                    peer.shutdown_write()
            except OSError:
                pass
            peer.close()

        disturbed = env.start_thread(disturb)
        await receiver.lost()
        await disturbed
        assert receiver.course == ["made", "lost"]
        assert env.take_exceptions() == []

    env.run(main())


@pytest.mark.kinds("tcp", *TLS)
def test_a_reset_is_reported_to_the_protocol_only(env):
    """T18: RST from the peer: connection_lost with the error, no call_exception_handler."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"data")
        await receiver.received(4)
        await env.thread(peer.reset)
        error = await receiver.lost()
        assert isinstance(error, ConnectionResetError)
        assert transport.is_closing()
        assert receiver.events == ["made", "data", "lost"]

    env.run(main())


@tls_only
def test_garbage_after_the_handshake_ends_the_connection(env):
    """T18: a record that cannot be decrypted: the protocol gets the ssl.SSLError."""
    async def main():
        receiver = Recorder()
        _, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"data")
        await receiver.received(4)
        await env.thread(peer.wire, b"\x17\x03\x03\x00\x20" + b"garbage!" * 4)
        error = await receiver.lost()
        assert isinstance(error, ssl.SSLError)
        # OpenSSL 3.5 tells what 3.0 called the first one as the second.
        assert error.reason in ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "RECORD_LAYER_FAILURE")
        env.take_exceptions()

    env.run(main())


@tls_only
@improvement("stock closes without sending the alert")
@pytest.mark.parametrize("header, reason", [
    (b"\x17\x03\x03\x00\x20", "SSLV3_ALERT_BAD_RECORD_MAC"),
    (b"\x17\x03\x03\x7f\xff", "TLSV1_ALERT_RECORD_OVERFLOW"),
    (b"\x17\x02\x03\x00\x20", "TLSV1_ALERT_PROTOCOL_VERSION"),
], ids=["content", "length", "version"])
def test_an_alert_tells_the_peer_of_its_bad_record(env, header, reason):
    """T18: whoever found that it is bad, OpenSSL or the kernel."""
    async def main():
        receiver = Recorder()
        _, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"data")
        await receiver.received(4)
        await env.thread(peer.wire, header + b"garbage!" * 4)
        assert isinstance(await receiver.lost(), ssl.SSLError)
        with pytest.raises(ssl.SSLError) as caught:
            await env.thread(peer.read_to_end)
        if reason == "TLSV1_ALERT_PROTOCOL_VERSION" and ssl.OPENSSL_VERSION_INFO >= (3, 2):
            assert caught.value.reason in (reason, "TLSV1_ALERT_DECODE_ERROR")
        else:
            assert caught.value.reason == reason
        env.take_exceptions()

    env.run(main())


@pytest.mark.kinds("tcp", "unix")
def test_a_known_loss_shows_in_is_closing_and_later_writes_warn(env, caplog):
    """T22: writes after the loss are dropped; from the fifth on a warning is logged."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_server(receiver)
        transport.pause_reading()
        await env.thread(peer.reset)
        turns_left = 100000
        while not transport.is_closing() and turns_left:
            transport.write(b"x" * 1000)
            turns_left -= 1
        assert transport.is_closing()
        assert not receiver.is_lost
        for _ in range(10):
            transport.write(b"dropped")
        assert isinstance(await receiver.lost(), OSError)
        assert "socket.send() raised exception." in caplog.text

    env.run(main())


def test_writes_after_the_end_warn_from_the_fifth_on(env, caplog):
    """T22: four are forgiven, over TLS five, as on stock."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.abort()
        for _ in range(10):
            transport.write(b"dropped")
        await sender.lost()
        await receiver.lost()
        told = [record.getMessage() for record in caplog.records]
        if env.is_tls:
            assert told == 5 * ["SSL connection is closed"]
        else:
            assert told == 6 * ["socket.send() raised exception."]

    env.run(main())


@pytest.mark.kinds(*PLAIN)
def test_writing_to_a_closed_transport_is_dropped(env):
    """T22: write and writelines after the end neither raise nor send."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.abort()
        transport.write(b"dropped")
        await sender.lost()
        transport.write(b"dropped")
        assert transport.get_write_buffer_size() == 0
        await receiver.lost()
        assert receiver.data == b""

    env.run(main())


def use_up(transport, is_limited):
    """Call every method; a closed transport of stock has few that work for every version."""
    if not is_limited:
        for method in ("abort", "pause_reading", "resume_reading", "get_protocol",
                       "is_reading", "get_write_buffer_limits"):
            getattr(transport, method)()
        transport.set_write_buffer_limits(high=100)
        transport.write(b"to nobody")
        transport.writelines([b"to", b"nobody"])
    assert transport.is_closing()
    transport.close()
    assert repr(transport)


@improvement("stock's closed TLS transport raises AttributeError", kinds=TLS)
@improvement("stock's writelines raises TypeError after the end", kinds=PLAIN, since=(3, 12),
             before=(3, 14, 10))
def test_every_method_of_a_closed_transport_is_harmless(env):
    """T25: after connection_lost nothing raises, sends or calls back."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.close()
        await sender.lost()
        await receiver.lost()
        for _ in range(2):
            use_up(transport, False)
        await turns()
        assert transport.get_write_buffer_size() == 0
        assert receiver.data == b"" and sender.events[-1] == "lost"

    env.run(main())


def test_a_closed_transport_never_touches_a_reused_descriptor(env):
    """T23: the number of a closed socket belongs to somebody else: nothing happens to it."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        sock = transport.get_extra_info("socket")
        number = sock.fileno()
        transport.abort()
        await sender.lost()
        await turns()
        assert sock.fileno() == -1
        left, right = socket.socketpair()
        others = [os.dup(left.fileno()) for _ in range(8)]
        assert number in others or number in (left.fileno(), right.fileno())
        use_up(transport, env.is_stock)
        assert sock.fileno() == -1
        sender.transport = None
        del transport
        gc.collect()
        for fd in others:
            os.fstat(fd)
            os.close(fd)
        right.setblocking(False)
        with pytest.raises(BlockingIOError):
            right.recv(100)
        left.close()
        right.close()
        await receiver.lost()

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_a_resurrected_transport_leaves_its_old_number_alone(env):
    """T23: who records the ResourceWarning of an abandoned transport has it again, for a while."""
    loop = make_loop(env.implementation)
    env.loop = loop
    receiver, sender = Recorder(), Recorder()
    with env._engine(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loop.run_until_complete(env.pair(receiver, sender))
        number = sender.transport.get_extra_info("socket").fileno()
        env._servers.clear()
        live.clear()
        loop.close()
        receiver = sender = env.loop = loop = None
        gc.collect()
        back = [each.source for each in caught if isinstance(each.source, asyncio.Transport)]
        assert len(back) == 2
        others = [os.open(os.devnull, os.O_RDONLY) for _ in range(16)]
        assert number in others
        for transport in back:
            transport.abort()
            transport.close()
            assert transport.is_closing() and repr(transport)
            assert transport.get_extra_info("socket").fileno() == -1
        caught.clear()
        back = transport = None
        gc.collect()
    for fd in others:
        os.fstat(fd)
        os.close(fd)


@tcp_only
def test_the_socket_object_of_a_transport_is_a_transport_socket(env):
    """T24: get_extra_info("socket") has the socket's methods and cannot be used for I/O."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        sock = transport.get_extra_info("socket")
        assert type(sock) is asyncio.trsock.TransportSocket
        assert sock.family == socket.AF_INET and sock.type == socket.SOCK_STREAM
        assert sock.getsockname() == transport.get_extra_info("sockname")
        assert sock.getpeername() == transport.get_extra_info("peername")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert transport.get_extra_info("sockname") == \
            receiver.transport.get_extra_info("peername")
        assert transport.get_extra_info("nonsense") is None
        assert transport.get_extra_info("nonsense", 7) == 7
        transport.abort()
        await sender.lost()
        assert transport.get_extra_info("peername") is not None

    env.run(main())


@pytest.mark.kinds("unix")
def test_extra_info_of_a_unix_socket(env):
    """T24: the path is the name of the server's side; the other one has none."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        server = await env.start_server(lambda: receiver)
        path = server.sockets[0].getsockname()
        await env.connect(lambda: sender, server)
        await until(lambda: receiver.transport is not None)
        assert sender.transport.get_extra_info("peername") == path
        assert receiver.transport.get_extra_info("sockname") == path
        assert receiver.transport.get_extra_info("peername") == ""
        assert sender.transport.get_extra_info("socket").family == socket.AF_UNIX
        assert sender.transport.get_extra_info("sslcontext") is None

    env.run(main())


@tcp_only
def test_wrong_arguments_raise_what_stock_raises(env):
    """T25: wrong types and values on an open and on a closed transport."""
    async def main():
        sender = Recorder()
        transport = await env.pair(Recorder(), sender)
        for _ in range(2):
            for value in ("text", 1, None, [1, 2]):
                with pytest.raises(TypeError):
                    transport.write(value)
            with pytest.raises(ValueError):
                transport.set_write_buffer_limits(high=1, low=2)
            with pytest.raises(ValueError):
                transport.set_write_buffer_limits(low=-1)
            with pytest.raises(TypeError):
                transport.write()
            transport.abort()
            await sender.lost()
        assert isinstance(transport.get_protocol(), (Recorder, type(None)))

    env.run(main())
