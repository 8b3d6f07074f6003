# SPDX-License-Identifier: MIT
"""Pausing, resuming and the end of the stream."""
import pytest

from support.env import PLAIN
from support.marks import improvement, one_tls, plain_only, tls_only
from support.protocols import BufferedRecorder, Recorder, echoing, turns, until


def pause(protocol, *args):
    assert protocol.transport.is_reading(), "called while paused"
    protocol.transport.pause_reading()


@improvement("stock starts reading although it was paused", kinds=PLAIN, before=(3, 12))
@improvement("stock does not send its last handshake message", kinds=("tls12",),
             run=False)
def test_pausing_in_connection_made_holds_everything_back(env):
    """T19: pause_reading in connection_made, with data that comes with the handshake's end."""
    async def main():
        receiver = Recorder(made=pause)
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"early data")
        await turns(50)
        assert receiver.events == ["made"]
        assert not transport.is_reading()
        transport.resume_reading()
        assert receiver.events == ["made"], "delivered from inside of resume_reading"
        assert await receiver.received(10) == b"early data"

    env.run(main())


def test_pausing_in_data_received_holds_decrypted_data_back(env):
    """T19: several records come at once; the protocol pauses at the first call."""
    async def main():
        receiver = Recorder(data=pause)
        await env.read_in_pieces(receiver)

    env.run(main())


def test_a_pause_in_buffer_updated_holds_the_rest_back(env):
    """T19: the same with a BufferedProtocol."""
    async def main():
        receiver = BufferedRecorder(1000, data=pause)
        receiver.hooks["get_buffer"] = lambda protocol, hint: memoryview(protocol.buffer)
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"0123456789" * 500)
        count = 0
        while count < 5000:
            await until(lambda: len(receiver.data) > count)
            count = len(receiver.data)
            await turns(20)
            assert len(receiver.data) == count
            transport.resume_reading()
        assert receiver.data == b"0123456789" * 500

    env.run(main())


def test_pause_and_resume_may_be_repeated(env):
    """is_reading follows; repeating a call changes nothing; a closed transport does not read."""
    async def main():
        receiver = Recorder()
        await env.pair(receiver, Recorder())
        transport = receiver.transport
        assert transport.is_reading()
        transport.resume_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        transport.resume_reading()
        assert transport.is_reading()
        transport.abort()
        if env.kind in ("tcp", "unix"):
            assert not transport.is_reading()
        transport.pause_reading()
        transport.resume_reading()
        await receiver.lost()

    env.run(main())


def test_resuming_and_pausing_again_at_once_delivers_nothing(env):
    """T19: what was scheduled by resume_reading looks at the state of its moment."""
    async def main():
        receiver = Recorder(data=pause)
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"first")
        await receiver.received(5)
        await env.thread(peer.send, b"second")
        transport.resume_reading()
        transport.pause_reading()
        await turns(30)
        assert receiver.data == b"first"
        transport.resume_reading()
        assert await receiver.received(11) == b"firstsecond"

    env.run(main())


@plain_only
def test_eof_is_delivered_after_all_data_and_closes(env):
    """T58: EOF: eof_received once, then connection_lost(None)."""
    async def main():
        receiver = Recorder()
        _, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"last words")
        await env.thread(peer.shutdown_write)
        assert await receiver.lost() is None
        assert receiver.events == ["made", "data", "eof", "lost"]
        assert await env.thread(peer.read_to_end) == b""

    env.run(main())


@plain_only
def test_a_true_result_of_eof_received_keeps_the_connection_open(env):
    """T58: half-closed: the transport goes on writing until it is closed."""
    async def main():
        receiver = Recorder(eof=lambda protocol: True)
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.shutdown_write)
        await receiver.seen("eof")
        await turns()
        assert not transport.is_closing()
        transport.write(b"answer")
        assert await env.thread(peer.read_exactly, 6) == b"answer"
        transport.close()
        assert await receiver.lost() is None
        assert receiver.events == ["made", "eof", "lost"]

    env.run(main())


@plain_only
def test_write_eof_flushes_and_half_closes(env):
    """The peer sees the end after all bytes and can still answer."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_server(receiver)
        assert transport.can_write_eof()
        data = b"y" * 4000000
        transport.write(data)
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError, match="Cannot call write\\(\\) after write_eof\\(\\)"):
            transport.write(b"more")
        assert len(await env.thread(peer.read_to_end)) == len(data)
        await env.thread(peer.send, b"answer")
        assert await receiver.received(6) == b"answer"
        assert not transport.is_closing()

    env.run(main())


@tls_only
def test_tls_cannot_write_eof(env):
    """As stock: can_write_eof is false, write_eof raises NotImplementedError."""
    async def main():
        transport = await env.pair(Recorder(), Recorder())
        assert transport.can_write_eof() is False
        with pytest.raises(NotImplementedError):
            transport.write_eof()

    env.run(main())


@tls_only
def test_close_notify_is_the_end_of_the_stream(env):
    """T58: data and close_notify in one segment: data, eof_received, connection_lost(None)."""
    async def main():
        receiver = Recorder()
        _, peer = await env.raw_client(receiver)

        def finish():
            peer.tls.write(b"last words")
            peer.close_notify()

        await env.thread(finish)
        assert await env.thread(peer.got_close_notify)
        await env.thread(peer.close)
        assert await receiver.lost() is None
        assert receiver.events == ["made", "data", "eof", "lost"]
        assert receiver.data == b"last words"

    env.run(main())


@tls_only
def test_a_peer_that_vanishes_without_close_notify_ends_the_stream(env):
    """T58, T18: data before the EOF is delivered, then the protocol hears of the end."""
    async def main():
        receiver = Recorder()
        _, peer = await env.raw_client(receiver)
        # In the loop's thread, so that the loop sees both together.
        peer.send(b"last words")
        peer.close()
        error = await receiver.lost()
        assert error is None or isinstance(error, OSError)
        assert receiver.data == b"last words"
        assert receiver.events[:2] == ["made", "data"] and receiver.events[-1] == "lost"

    env.run(main())


@tls_only
def test_a_half_close_without_close_notify_ends_the_stream(env):
    """T58: the peer shuts its sending side down and waits: nothing hangs."""
    async def main():
        receiver = Recorder()
        _, peer = await env.raw_client(receiver)
        peer.send(b"last words")
        peer.shutdown_write()
        await env.thread(peer.wire_end)
        error = await receiver.lost()
        assert error is None or isinstance(error, OSError)
        assert receiver.data == b"last words"

    env.run(main())


def test_who_is_woken_by_the_last_data_runs_before_the_end(env):
    """T58: data and the end arrive at once; a client still finds the connection it was answered on.
    """
    async def main():
        receiver = Recorder(data=lambda *_: env.loop.call_soon(receiver.events.append, "woken"))
        _, peer = await env.raw_client(receiver)
        # In the loop's thread, so that the loop sees both together.
        peer.send(b"last words")
        peer.close()
        await receiver.lost()
        assert receiver.events.index("woken") == receiver.events.index("data") + 1
        assert receiver.data == b"last words"

    env.run(main())


@pytest.mark.parametrize("wait", [0, 3], ids=["new", "old"])
def test_who_is_woken_by_data_of_a_resumed_transport_runs_before_the_end(env, wait):
    """T58: the same when the end comes between the data and who is woken by it; the data is one
    that the loop has yet to see, or one that it has seen."""
    async def main():
        receiver = Recorder(data=lambda *_: env.loop.call_soon(receiver.events.append, "woken"))
        transport, peer = await env.raw_client(receiver)
        transport.pause_reading()
        peer.send(b"last words")
        await turns(wait)
        transport.resume_reading()
        # In the loop's queue behind whatever the transport has put there.
        env.loop.call_soon(peer.close)
        await receiver.lost()
        assert receiver.events.index("woken") == receiver.events.index("data") + 1
        assert receiver.data == b"last words"

    env.run(main())


def test_what_the_loop_has_queued_runs_before_what_arrives(env):
    """As the loop looks at its sockets once its queue is done, whatever a transport has put there.
    """
    async def main():
        receiver, other = Recorder(), Recorder()
        transport, _ = await env.raw_client(other)
        _, peer = await env.raw_client(receiver)
        await turns()
        env.loop.call_soon(peer.send, b"news")
        transport.abort()
        env.loop.call_soon(receiver.events.append, "queued")
        await receiver.seen("data")
        assert receiver.events == ["made", "queued", "data"]
        assert receiver.data == b"news"
        await other.lost()

    env.run(main())


@tls_only
def test_a_half_close_without_close_notify_is_not_answered(env):
    """T58: the peer left TLS, and would take a close_notify for data in the clear."""
    async def main():
        receiver = Recorder(data=pause)
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"first")
        await receiver.received(5)
        transport.write(b"answer")      # and the session tickets with it
        await env.thread(peer.read_exactly, 6)
        await env.thread(peer.send, b"last")
        await env.thread(peer.shutdown_write)
        receiver.hooks.clear()
        transport.resume_reading()
        assert await env.thread(peer.read_wire) == b""
        await receiver.lost()
        assert receiver.data == b"firstlast"

    env.run(main())


@tls_only
def test_eof_while_reading_is_paused_waits_for_resume(env):
    """T19, T58: data and the end arrive while paused: nothing comes before resume_reading."""
    async def main():
        receiver = Recorder(data=pause)
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"first")
        await receiver.received(5)

        def finish():
            peer.send(b"second")
            peer.close_notify()
            peer.shutdown_write()

        await env.thread(finish)
        await turns(30)
        assert receiver.events == ["made", "data"] and receiver.data == b"first"
        receiver.hooks.clear()
        transport.resume_reading()
        await receiver.lost()
        assert receiver.data == b"firstsecond"
        assert receiver.events == ["made", "data", "eof", "lost"]

    env.run(main())


@one_tls
def test_a_handshake_in_single_bytes_works(env):
    """Records that come byte by byte are put together, in the handshake and after it."""
    async def main():
        receiver = echoing()
        server = await env.start_server(lambda: receiver)
        peer = await env.raw_connect(server, None)

        def drive():
            peer.start_tls(env.client_context(), hostname="localhost")

            def flush():
                if peer.outgoing.pending:
                    peer.wire_slowly(peer.outgoing.read())

            peer.flush = flush
            peer.handshake()
            peer.send(b"slow data")
            return peer.read_exactly(9)

        assert await env.thread(drive) == b"slow data"

    env.run(main())
