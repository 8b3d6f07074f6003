# SPDX-License-Identifier: MIT
"""What helps to find mistakes: debug mode, repr and warnings."""
import gc
import re
import warnings

from support.env import make_loop
from support.marks import improvement, plain_only
from support.protocols import Recorder, echoing, live, turns


def test_everything_works_in_debug_mode(env, caplog):
    """T36: a loop in debug mode: echo, backpressure and close."""
    async def main():
        receiver, sender = echoing(), Recorder()
        await env.pair(receiver, sender)
        sender.transport.write(b"d" * 1000000)
        await sender.received(1000000)
        sender.transport.close()
        assert await sender.lost() is None
        assert await receiver.lost() is None

    env.run(main(), debug=True)


@plain_only
def test_repr_says_what_the_transport_does(env):
    """T36: descriptor, reading, buffered bytes, closing and closed."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        number = transport.get_extra_info("socket").fileno()
        assert re.search(r"\bfd=%d\b" % number, repr(transport))
        assert "read=polling" in repr(transport)
        assert "bufsize=0" in repr(transport)
        transport.pause_reading()
        assert "read=idle" in repr(transport)
        transport.resume_reading()
        receiver.transport.pause_reading()
        for _ in range(3):
            transport.write(b"x" * 8000000)
        assert "bufsize=%d" % transport.get_write_buffer_size() in repr(transport)
        assert "write=<polling" in repr(transport)
        transport.close()
        assert "closing" in repr(transport)
        transport.abort()
        await sender.lost()
        assert "closed" in repr(transport)

    env.run(main())


def test_repr_never_fails(env):
    """T36: repr of a transport in every state, and in every callback."""
    async def main():
        texts = []

        def show(protocol, *args):
            texts.append(repr(protocol.transport))

        hooks = {event: show for event in ("made", "data", "eof", "lost")}
        receiver, sender = Recorder(**hooks), Recorder(**hooks)
        transport = await env.pair(receiver, sender)
        transport.write(b"x")
        await receiver.received(1)
        transport.close()
        texts.append(repr(transport))
        await sender.lost()
        await receiver.lost()
        texts.append(repr(transport))
        assert all(text.startswith("<") for text in texts) and len(texts) >= 7

    env.run(main())


@improvement("stock warns for each of its layers, or for none", kinds=("tls12", "tls13"))
def test_one_resource_warning_for_each_abandoned_transport(env):
    """T36, T59: a loop is closed with two transports open: two warnings that name them."""
    loop = make_loop(env.implementation)
    receiver, sender = Recorder(), Recorder()
    env.loop = loop

    with env._engine():
        loop.run_until_complete(env.pair(receiver, sender))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for server in env._servers:
                server.close()
            env._servers.clear()
            loop.run_until_complete(turns(5))
            live.clear()
            receiver = sender = server = None
            loop.close()
            env.loop = loop = None
            gc.collect()
    texts = [str(each.message) for each in caught if each.category is ResourceWarning]
    assert sum("unclosed transport" in text for text in texts) == 2, texts


@plain_only
def test_a_transport_that_is_closed_does_not_warn(env):
    """T36: the reverse; the harness makes every ResourceWarning an error."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.close()
        await sender.lost()
        await receiver.lost()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env.run(main())
        gc.collect()
    assert [str(each.message) for each in caught] == []


def test_errors_are_reported_with_transport_and_protocol(env):
    """T36: the context of call_exception_handler has stock's keys."""
    async def main():
        def fail(*args):
            raise LookupError("broken protocol")

        receiver = Recorder(data=fail)
        transport, peer = await env.raw_client(receiver)
        await env.thread(peer.send, b"data")
        await receiver.lost()
        context, = env.take_exceptions()
        assert isinstance(context["exception"], LookupError)
        assert context["message"].startswith("Fatal error")
        assert "transport" in context and "protocol" in context
        await turns()

    env.run(main())
