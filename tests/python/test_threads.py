# SPDX-License-Identifier: MIT
"""A loop in each of several threads, and what the other threads may ask of a transport."""
import asyncio
import concurrent.futures
import contextlib
import gc
import os
import subprocess
import sys
import sysconfig
import threading
import weakref

import pytest

from support.env import address_of, describe, make_loop, open_fds
from support.protocols import Recorder, assert_same, echoing, live

CLIENTS = 3             # threads, besides that of the server
CONNECTIONS = 4         # of each client, one after the other
SIZES = (1, 1000, 20000, 200000)
LOOKS = 200


def is_gil_enabled():
    return getattr(sys, "_is_gil_enabled", lambda: True)()


@pytest.fixture(autouse=True)
def _gil_stays_as_it_is():
    before = is_gil_enabled()
    yield
    assert is_gil_enabled() == before


def start(function, *args):
    """Call the function in a thread of its own; the future of its result."""
    future = concurrent.futures.Future()

    def body():
        try:
            future.set_result(function(*args))
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=body, daemon=True).start()
    return future


def on_loop(env, main, *args):
    """Run main(loop, *args) on a new loop in this thread."""
    contexts = []
    loop = make_loop(env.implementation)
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    try:
        result = loop.run_until_complete(main(loop, *args))
    finally:
        loop.close()
    assert not contexts, [describe(context) for context in contexts]
    return result


@contextlib.contextmanager
def serving(env):
    """An echo server in a thread of its own; its address."""
    started = concurrent.futures.Future()

    async def serve(loop):
        receivers = []
        stopping = asyncio.Event()

        def factory():
            receivers.append(echoing())
            return receivers[-1]

        keywords = env.server_keywords({})
        if env.is_unix:
            server = await loop.create_unix_server(factory, env.new_path(), **keywords)
        else:
            server = await loop.create_server(factory, "127.0.0.1", 0, **keywords)
        started.set_result((loop, stopping, address_of(server)))
        await stopping.wait()
        server.close()
        for receiver in receivers:
            assert await receiver.lost() is None
        await server.wait_closed()

    served = start(on_loop, env, serve)
    concurrent.futures.wait((started, served), return_when=concurrent.futures.FIRST_COMPLETED)
    if not started.done():
        served.result()
    loop, stopping, address = started.result()
    yield address
    loop.call_soon_threadsafe(stopping.set)
    served.result()


async def connect(loop, env, address, context):
    sender = Recorder()
    keywords = env.client_keywords({"ssl": context} if env.is_tls else {})
    if env.is_unix:
        await loop.create_unix_connection(lambda: sender, address, **keywords)
    else:
        await loop.create_connection(lambda: sender, *address, **keywords)
    return sender


async def exchange(sender, data):
    """Write, and wait until it came back."""
    before = len(sender.data)
    sender.transport.write(data)
    await sender.received(before + len(data))
    assert_same(sender.data[before:], data)


async def close(sender):
    sender.transport.close()
    assert await sender.lost() is None


async def converse(loop, env, address, context, number):
    senders = []
    for _ in range(CONNECTIONS):
        sender = await connect(loop, env, address, context)
        for size in SIZES:
            await exchange(sender, bytes([number]) * size)
        await close(sender)
        senders.append(sender)
    return senders


def test_loops_in_several_threads_talk_to_each_other(env):
    """T35: nothing is lost, mixed up or left open; another thread drops the last references."""
    before = open_fds()
    context = env.client_context()
    with env._engine(), serving(env) as address:
        clients = [start(on_loop, env, converse, env, address, context, number)
                   for number in range(CLIENTS)]
        senders = [sender for client in clients for sender in client.result()]
    assert len(senders) == CLIENTS * CONNECTIONS
    assert all(len(sender.data) == sum(SIZES) for sender in senders)
    transports = [weakref.ref(recorder.transport) for recorder in live]
    assert len(transports) == 2 * len(senders)
    live.clear()
    del senders, clients
    gc.collect()
    assert [ref() for ref in transports if ref() is not None] == []
    assert open_fds() == before


def test_loops_begin_and_end_in_several_threads_at_once(env):
    """T35: a loop of its own for each connection, in every thread."""
    async def talk(loop, number):
        sender = await connect(loop, env, address, context)
        await exchange(sender, bytes([number]) * 1000)
        await close(sender)

    def repeat(number):
        for _ in range(CONNECTIONS):
            on_loop(env, talk, number)
        return number

    before = open_fds()
    context = env.client_context()
    with env._engine(), serving(env) as address:
        clients = [start(repeat, number) for number in range(CLIENTS)]
        assert [client.result() for client in clients] == list(range(CLIENTS))
    live.clear()
    gc.collect()
    assert open_fds() == before


def test_loop_goes_on_in_another_thread(env):
    """T35: it belongs to the thread that runs it, with all that the one before has left in it."""
    async def talk():
        for size in (200000, 200000, 1):
            await exchange(sender, b"x" * size)

    before = open_fds()
    context = env.client_context()
    with env._engine(), serving(env) as address:
        loop = make_loop(env.implementation)
        sender = start(loop.run_until_complete, connect(loop, env, address, context)).result()
        for _ in range(3):
            start(loop.run_until_complete, talk()).result()
        start(loop.run_until_complete, close(sender)).result()
        loop.close()
    live.clear()
    gc.collect()
    assert open_fds() == before


def look(transport, known):
    """Ask all that may be asked from any thread, whatever the transport does meanwhile."""
    assert type(transport.is_closing()) is bool
    assert transport.get_write_buffer_size() >= 0
    low, high = transport.get_write_buffer_limits()
    assert 0 <= low <= high
    assert "fd=%d" % known["fd"] in repr(transport)
    assert transport.get_extra_info("sockname") == known["sockname"]
    assert transport.get_extra_info("peername") == known["peername"]
    assert transport.get_extra_info("cipher") == known["cipher"]
    assert transport.get_extra_info("socket").fileno() in (known["fd"], -1)
    assert transport.get_extra_info("nothing", known) is known


@pytest.mark.implementations("ours", "ours_uvloop")
def test_other_threads_look_at_a_transport_that_is_busy(env):
    """T35, T55: they learn what they ask for, and what would change the transport is refused."""
    ready = concurrent.futures.Future()

    async def be_busy(loop, address, context):
        stopping = asyncio.Event()
        sender = await connect(loop, env, address, context)
        transport = sender.transport
        # Not the socket: it is made by who asks first.
        known = {name: transport.get_extra_info(name)
                 for name in ("sockname", "peername", "cipher")}
        known["fd"] = int(repr(transport).partition("fd=")[2].split()[0])
        ready.set_result((loop, stopping, transport, known))
        while not stopping.is_set():
            for size in SIZES:
                await exchange(sender, b"x" * size)
        await close(sender)

    def ask(transport, known):
        for _ in range(LOOKS):
            look(transport, known)
            with pytest.raises(RuntimeError):
                transport.write(b"from the wrong thread")
            with pytest.raises(RuntimeError):
                transport.abort()

    before = open_fds()
    with env._engine(), serving(env) as address:
        client = start(on_loop, env, be_busy, address, env.client_context())
        concurrent.futures.wait((ready, client), return_when=concurrent.futures.FIRST_COMPLETED)
        if client.done():
            client.result()
        loop, stopping, transport, known = ready.result()
        others = [start(ask, transport, known) for _ in range(2)]
        try:
            for other in others:
                other.result()
        finally:
            loop.call_soon_threadsafe(stopping.set)
        while not client.done():
            look(transport, known)
        client.result()
        look(transport, known)
        assert transport.is_closing() and transport.get_write_buffer_size() == 0
    live.clear()
    del transport, others, client, ready
    gc.collect()
    assert open_fds() == before


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"),
                    reason="this Python is not a free-threaded one")
def test_the_import_leaves_the_gil_off(ours):
    """T35: CPython turns it on, with a warning, for modules that do not say they can do without."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    output = subprocess.run(
        [sys.executable, "-W", "error", "-c",
         "import sys, aiofastnet; print(aiofastnet.__name__, sys._is_gil_enabled())"],
        env=environment, check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout
    assert output == "aiofastnet False\n"
