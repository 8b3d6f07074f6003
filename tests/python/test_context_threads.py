# SPDX-License-Identifier: MIT
"""Context variables, threads, and the exceptions that stop a loop."""
import contextvars
import gc
import logging
import sys
import threading
import weakref

import pytest

from support.env import make_loop
from support.marks import improvement, plain_only
from support.protocols import Recorder, echoing, live, turns, until

variable = contextvars.ContextVar("variable", default="unset")


def noting(**hooks):
    """A Recorder that notes the variable's value in each callback."""
    protocol = Recorder()
    protocol.values = {}

    def note(event):
        def hook(protocol, *args):
            protocol.values[event] = variable.get()
            return hooks[event](protocol, *args) if event in hooks else None
        return hook

    protocol.hooks = {event: note(event)
                      for event in ("made", "data", "eof", "pause", "resume", "lost")}
    return protocol


def test_callbacks_of_a_client_see_the_values_of_its_maker(env):
    """T34: connection_made, data_received and eof_received of create_connection."""
    async def main():
        sender = noting()
        server = await env.start_server(lambda: Recorder(data=lambda protocol, data: (
            protocol.transport.write(data), protocol.transport.close())))
        token = variable.set("connecting")
        await env.connect(lambda: sender, server)
        variable.reset(token)
        variable.set("later")
        sender.transport.write(b"hello")
        await sender.seen("eof")
        assert sender.values["made"] == "connecting"
        assert sender.values["data"] == "connecting"
        assert sender.values["eof"] == "connecting"
        await sender.lost()

    env.run(main())


def test_callbacks_of_a_server_see_the_values_of_its_maker(env):
    """T34: what was set when the server was started, not by whoever runs later."""
    async def main():
        receiver = noting()
        factory_saw = []

        def factory():
            factory_saw.append(variable.get())
            return receiver

        # What serves them all keeps the context of whoever was the first.
        await env.start_server(Recorder)
        variable.set("serving")
        server = await env.start_server(factory)
        variable.set("later")
        peer = await env.raw_connect(server)
        await env.thread(peer.send, b"hello")
        await receiver.received(5)
        assert factory_saw == ["serving"]
        assert receiver.values == {"made": "serving", "data": "serving"}

    env.run(main())


def test_flow_control_and_the_end_see_the_values_of_their_cause(env):
    """T34: pause_writing is called by write(); connection_lost is caused by close() until 3.15."""
    async def main():
        sender, receiver = noting(), Recorder()
        server = await env.start_server(lambda: receiver)
        variable.set("connecting")
        await env.connect(lambda: sender, server)

        async def write():
            variable.set("writing")
            for _ in range(3):
                sender.transport.write(b"x" * 8000000)

        async def close():
            variable.set("closing")
            sender.transport.abort()

        await env.loop.create_task(write())
        assert sender.values.get("pause") == "writing"
        await env.loop.create_task(close())
        await sender.lost()
        expected = "closing" if sys.version_info < (3, 15) else "connecting"
        assert sender.values["lost"] == expected

    env.run(main())


@pytest.mark.parametrize("is_server", [False, True])
def test_the_exception_handler_sees_the_values_of_the_connection(env, is_server):
    """T34: those of the connection whose callback failed, not of the loop's first one."""
    async def main():
        def fail(protocol, data):
            raise LookupError

        def note(loop, context):
            seen.append((context["message"], variable.get()))

        seen = []
        variable.set("first")
        await env.pair(Recorder(), Recorder())
        variable.set("connecting")
        failing = Recorder(data=fail)
        _, peer = await (env.raw_client if is_server else env.raw_server)(failing)
        variable.set("later")
        env.loop.set_exception_handler(note)
        await env.thread(peer.send, b"hello")
        await failing.lost()
        assert [value for _, value in seen] == ["connecting"], seen

    env.run(main())


def test_the_values_of_the_first_connection_are_not_kept(env):
    """T34: what serves them all has no context of its own."""
    class Value:
        pass

    async def connect():
        value = Value()
        variable.set(value)
        receiver = Recorder()
        transport, peer = await env.raw_server(receiver)
        transport.close()
        await env.thread(peer.close)
        await receiver.lost()
        live.clear()
        return weakref.ref(value)

    async def main():
        reference = await env.loop.create_task(connect())
        await turns()
        gc.collect()
        assert reference() is None

    env.run(main())


def test_a_value_set_in_a_callback_stays_inside_of_the_connection(env):
    """T34: neither the host's tasks nor another connection see it."""
    async def main():
        def spoil(protocol, *args):
            variable.set("spoilt")

        receivers = [Recorder(made=spoil, data=spoil), noting()]
        pending = list(receivers)
        server = await env.start_server(lambda: pending.pop(0))
        for index in range(2):
            peer = await env.raw_connect(server)
            await env.thread(peer.send, b"hello")
            await receivers[index].received(5)
        assert set(receivers[1].values.values()) == {"unset"}
        assert variable.get() == "unset"

    env.run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("callback", ["made", "data"])
def test_an_exception_that_stops_the_loop_gets_through(env, error, callback):
    """T33: it comes out of run_forever; the other connections lose nothing."""
    def drive(loop):
        def stop(protocol, *args):
            if not stopped:
                stopped.append(True)
                raise error("stop")

        stopped = []
        receiver, other = Recorder(**{callback: stop}), Recorder()
        pending = [other, receiver]
        peers = []

        async def connect():
            server = await env.start_server(lambda: pending.pop(0))
            peers.append(await env.raw_connect(server))
            peers.append(await env.raw_connect(server, None if env.is_tls else "default"))
            if env.is_tls:
                # The exception may end the handshake's last step: nothing waits for it.
                peers[1].start_tls(env.client_context(), hostname="localhost")
                shaken = env.start_thread(swallow, peers[1].handshake)
                await until(lambda: stopped or shaken.done())
            peers[0].send(b"x" * 1000)
            if callback == "data":
                peers[1].send(b"stop")
            await until(lambda: stopped)
            await turns()

        connecting = loop.create_task(connect())
        with pytest.raises(error):
            loop.run_until_complete(connecting)
        assert stopped
        loop.run_until_complete(connecting)

        async def go_on():
            await env.thread(peers[0].send, b"y" * 1000)
            await other.received(2000)

        loop.run_until_complete(go_on())
        assert other.data == b"x" * 1000 + b"y" * 1000
        env.take_exceptions()

    env.check_references = False        # the traceback of the exception keeps frames
    env.drive(drive)


@plain_only
@pytest.mark.implementations("ours", "ours_uvloop")     # stock loses the socket
def test_an_interrupt_while_a_connection_is_logged_gets_through(env):
    """T33: a signal may come in the logger, which speaks of new connections in debug mode."""
    class Interrupted(logging.Handler):
        def handle(self, record):
            if "new connection" in record.getMessage():
                raise KeyboardInterrupt

    def drive(loop):
        async def connect():
            server = await env.start_server(Recorder)
            peer = await env.raw_connect(server)
            await env.thread(peer.send, b"hello")
            await until(lambda: live and live[0].data == b"hello")

        logger, handler = logging.getLogger("asyncio"), Interrupted()
        connecting = loop.create_task(connect())
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            with pytest.raises(KeyboardInterrupt):
                loop.run_until_complete(connecting)
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
        loop.run_until_complete(connecting)

    env.check_references = False        # the traceback of the exception keeps frames
    env.drive(drive, debug=True)


def swallow(function, *args):
    try:
        function(*args)
    except OSError:
        pass


CHANGING = {
    "write": (b"data",), "writelines": ([b"data"],), "close": (), "abort": (),
    "pause_reading": (), "resume_reading": (), "write_eof": (),
}


def outcome(function, *args):
    try:
        return function(*args)
    except Exception as exc:
        return exc


@improvement("stock does not notice the wrong thread")
def test_methods_that_change_the_transport_refuse_another_thread(env):
    """T35: RuntimeError, and the transport stays as it was."""
    async def main():
        sender, receiver = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        for name, args in CHANGING.items():
            if name == "write_eof" and env.is_tls:
                continue
            result = await env.thread(outcome, getattr(transport, name), *args)
            assert isinstance(result, RuntimeError), (name, result)
        assert not transport.is_closing() and transport.is_reading()
        transport.write(b"fine")
        assert await receiver.received(4) == b"fine"

    env.run(main())


def test_methods_that_only_look_may_be_called_from_any_thread(env):
    """T55: is_closing, get_extra_info, repr and get_write_buffer_size."""
    async def main():
        transport = await env.pair(Recorder(), Recorder())
        assert await env.thread(transport.is_closing) is False
        assert await env.thread(transport.get_extra_info, "sockname") == \
            transport.get_extra_info("sockname")
        assert await env.thread(repr, transport) == repr(transport)
        assert await env.thread(transport.get_write_buffer_size) == 0
        assert await env.thread(transport.get_write_buffer_limits) == \
            transport.get_write_buffer_limits()

    env.run(main())


def test_a_loop_per_thread(env):
    """T35: several loops at once, each with its own connections."""
    results = []

    async def exchange(loop, number):
        receiver, sender = echoing(), Recorder()
        keywords = {"ssl": env.server_context()} if env.is_tls else {}
        if env.is_unix:
            server = await loop.create_unix_server(lambda: receiver, env.new_path(), **keywords)
            path = server.sockets[0].getsockname()
            await loop.create_unix_connection(lambda: sender, path)
        else:
            server = await loop.create_server(lambda: receiver, "127.0.0.1", 0, **keywords)
            port = server.sockets[0].getsockname()[1]
            await loop.create_connection(lambda: sender, "127.0.0.1", port,
                                         **env.client_keywords({}))
        for count in range(1, 51):
            sender.transport.write(bytes([number]) * 1000)
            await sender.received(1000 * count)
        results.append(bytes(sender.data))
        sender.transport.close()
        await sender.lost()
        await receiver.lost()
        server.close()
        await server.wait_closed()

    def body(number):
        loop = make_loop(env.implementation)
        try:
            loop.run_until_complete(exchange(loop, number))
        finally:
            loop.close()

    with env._engine():
        threads = [threading.Thread(target=body, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [bytes([number]) * 50000 for number in range(4)]
    live.clear()


@plain_only
def test_call_soon_threadsafe_brings_a_write_of_another_thread(env):
    """T35: the way that does work."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        for number in range(10):
            await env.thread(env.loop.call_soon_threadsafe, transport.write, b"%d" % number)
        assert await receiver.received(10) == b"0123456789"

    env.run(main())
