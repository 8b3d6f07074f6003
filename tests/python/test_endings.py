# SPDX-License-Identifier: MIT
"""T16: close(), abort() and exceptions at every step: one connection_lost(), and nothing then."""
import pytest

from support.env import PLAIN, TLS
from support.marks import improvement, tcp_only, tls_only
from support.protocols import BufferedRecorder, Recorder, echoing, turns, until


class Mishap(Exception):
    """What the protocols of these tests raise."""


ENDINGS = {
    "close": lambda protocol, *args: protocol.transport.close(),
    "abort": lambda protocol, *args: protocol.transport.abort(),
    "close-twice": lambda protocol, *args: [protocol.transport.close() for _ in range(2)],
    "close-abort": lambda protocol, *args: (protocol.transport.close(),
                                            protocol.transport.abort())[:0],
}


@pytest.mark.parametrize("ending", list(ENDINGS))
@pytest.mark.parametrize("callback", ["made", "data", "eof"])
def test_ending_in_a_callback_is_the_end(env, callback, ending):
    """T16: close() and abort() in each callback: connection_lost(None) exactly once, then none."""
    async def main():
        receiver = Recorder(**{callback: ENDINGS[ending]})
        sender = Recorder()
        server = await env.start_server(lambda: receiver)
        try:
            await env.connect(lambda: sender, server)
        except OSError:
            # An abort in connection_made may reach the client before its handshake is over.
            assert env.is_tls and callback == "made"
        else:
            sender.transport.write(b"data")
            if callback == "eof":
                sender.transport.close()
        assert await receiver.lost() is None
        await turns()
        assert receiver.events[0] == "made"
        assert receiver.events.count("lost") == 1 and receiver.events[-1] == "lost"
        assert callback in receiver.events

    env.run(main())


@pytest.mark.parametrize("ending", ["close", "abort"])
def test_ending_in_pause_writing(env, ending):
    """T16: as above while the queue is full."""
    async def main():
        sender = Recorder(pause=ENDINGS[ending])
        receiver = Recorder()
        await env.pair(receiver, sender)
        for _ in range(3):
            sender.transport.write(b"x" * 8000000)
        assert await sender.lost() is None
        await turns()
        assert sender.events[:2] == ["made", "pause"]
        assert sender.events[-1] == "lost"
        assert await receiver.lost() is None or ending == "abort"
        if ending == "close":
            assert len(receiver.data) >= 8000000

    env.run(main())


@improvement("stock closes the socket twice, the second time with an AttributeError",
             kinds=PLAIN, before=(3, 14, 10))
def test_closing_in_resume_writing(env):
    """T16: as above when the queue has drained."""
    async def main():
        sender = Recorder(resume=ENDINGS["close"])
        receiver = Recorder()
        await env.pair(receiver, sender)
        for _ in range(3):
            sender.transport.write(b"x" * 8000000)
        assert await sender.lost() is None
        assert await receiver.lost() is None
        assert len(receiver.data) == 24000000
        assert sender.course == ["made", "pause", "resume", "lost"]

    env.run(main())


def fail(protocol, *args):
    raise Mishap(protocol.events[-1])


@pytest.mark.parametrize("callback", ["data", "eof"])
@pytest.mark.parametrize("factory", [Recorder, BufferedRecorder])
def test_an_exception_in_a_callback_closes_its_connection_only(env, callback, factory):
    """T16: it is reported once, given to connection_lost as it is, and others go on."""
    async def main():
        receivers = [factory(**{callback: fail}), echoing()]
        if factory is BufferedRecorder:
            view = memoryview(receivers[0].buffer)
            receivers[0].hooks["get_buffer"] = lambda protocol, hint: view
        protocols = list(receivers)
        server = await env.start_server(lambda: protocols.pop(0))
        first = await env.raw_connect(server)
        second = await env.raw_connect(server)
        await env.thread(first.send, b"data")
        if callback == "eof":
            if env.is_tls:
                await env.thread(first.close_notify)
            await env.thread(first.shutdown_write)
        error = await receivers[0].lost()
        contexts = env.take_exceptions()
        assert [type(context["exception"]) for context in contexts] == [Mishap]
        assert error is contexts[0]["exception"]
        assert receivers[0].events[-2:] == [callback, "lost"]
        await env.thread(second.send, b"still here")
        assert await env.thread(second.read_exactly, 10) == b"still here"

    env.run(main())


@pytest.mark.parametrize("callback", ["pause", "resume"])
def test_an_exception_in_flow_control_is_reported_and_nothing_else(env, callback):
    """T16: as stock: pause_writing and resume_writing may fail without closing anything."""
    async def main():
        sender = Recorder(**{callback: fail})
        receiver = Recorder()
        transport = await env.pair(receiver, sender)
        for _ in range(2):
            transport.write(b"x" * 8000000)
        await receiver.received(16000000)
        await until(lambda: env.exceptions)
        contexts = env.take_exceptions()
        assert [type(context["exception"]) for context in contexts] == [Mishap]
        assert contexts[0]["message"] == "protocol.%s_writing() failed" % callback
        assert contexts[0]["transport"] is transport
        assert contexts[0]["protocol"] is (sender if not env.is_tls else contexts[0]["protocol"])
        transport.write(b"more")
        await receiver.received(16000004)

    env.run(main())


@pytest.mark.parametrize("callback", ["made", "lost"])
def test_an_exception_in_connection_made_and_lost_is_reported(env, callback):
    """T16: no transport, no descriptor is left behind (the harness looks)."""
    async def main():
        receiver = Recorder(**{callback: fail})
        server = await env.start_server(lambda: receiver)
        peer = await env.raw_connect(server, None)
        if env.is_tls:
            peer.start_tls(env.client_context(), hostname="localhost")
            try:
                await env.thread(peer.handshake)
            except OSError:
                assert callback == "made"
        await until(lambda: receiver.transport is not None)
        if callback == "lost":
            receiver.transport.close()
        await env.thread(peer.close)
        await until(lambda: env.exceptions)
        contexts = env.take_exceptions()
        assert type(contexts[0]["exception"]) is Mishap
        if not receiver.transport.is_closing():
            receiver.transport.abort()
        await receiver.lost()
        env.take_exceptions()
        assert receiver.events.count("made") == 1 and receiver.events.count("lost") == 1

    env.run(main())


def test_abort_drops_the_queue_and_ends_at_once(env):
    """T16: abort() with a full queue: connection_lost(None) although nothing was flushed."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        receiver.transport.pause_reading()
        transport.write(b"x" * 8000000)
        transport.abort()
        assert transport.is_closing()
        assert "lost" not in sender.events, "called from inside of abort"
        assert await sender.lost() is None
        receiver.transport.resume_reading()
        await receiver.lost()
        assert len(receiver.data) < 8000000

    env.run(main())


@pytest.mark.parametrize("ending", ["close", "abort", "close-twice", pytest.param(
    "close-abort", marks=improvement("a TLS transport of stock fails in the second of them",
                                     kinds=TLS, always=False))])
def test_ending_in_connection_lost_changes_nothing(env, ending):
    """T16: close() and abort() in the last callback: no other one follows."""
    async def main():
        receiver, sender = Recorder(lost=ENDINGS[ending]), Recorder(lost=ENDINGS[ending])
        transport = await env.pair(receiver, sender)
        transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None
        await turns()
        assert sender.course == receiver.course == ["made", "lost"]

    env.run(main())


def test_abort_while_close_flushes(env):
    """T16: the queue is dropped, and the end comes although the peer reads nothing."""
    async def main():
        sender = Recorder()
        transport, peer = await env.raw_server(sender)
        for _ in range(3):
            transport.write(b"x" * 8000000)
        transport.close()
        await turns()
        assert not sender.is_lost
        transport.abort()
        assert not sender.is_lost, "called from inside of abort"
        assert await sender.lost() is None
        assert sender.course == ["made", "pause", "lost"]
        assert transport.get_write_buffer_size() == 0

    env.run(main())


@tls_only
def test_abort_while_the_shutdown_waits(env):
    """T16: close_notify has been sent and is not answered; abort() does not wait for it."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_client(receiver)
        transport.close()
        assert await env.thread(peer.got_close_notify)
        assert not receiver.is_lost
        transport.abort()
        assert await receiver.lost() is None
        assert receiver.course == ["made", "lost"]

    env.run(main())


@pytest.mark.upgrades
@tcp_only
@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize("moment", [1, 3, 10])
def test_ending_during_start_tls(env, ending, moment):
    """T16: start_tls() raises, or returns a transport that is closed; nothing is left."""
    async def main():
        sender = Recorder()
        listener = env.raw_listener(None)
        transport, _ = await env.connect(lambda: sender, listener.address)
        peer = await env.thread(listener.accept)
        upgrading = env.loop.create_task(env.loop.start_tls(
            transport, sender, env.certs.client_context(), server_hostname="localhost"))
        await turns(moment)
        getattr(transport, ending)()
        try:
            upgraded = await upgrading
        except OSError:
            pass
        else:
            # Stock's result is None.
            assert env.is_stock if upgraded is None else upgraded.is_closing()
        await env.thread(peer.wire_end)
        peer.close()
        await turns()
        assert sender.course in (["made"], ["made", "lost"])
        sender.is_lost = True       # an upgrade that failed may have told it nothing

    env.run(main())
