# SPDX-License-Identifier: MIT
"""The functions sock_accept() to sock_sendto(), next to the methods of asyncio's loop."""
import asyncio
import errno
import inspect
import os
import socket
import ssl
import sys

import pytest

from support.env import uvloop
from support.protocols import assert_same, turns, until

NAMES = ("sock_accept", "sock_connect", "sock_recv", "sock_recv_into", "sock_recvfrom",
         "sock_recvfrom_into", "sock_sendall", "sock_sendto")
DATAGRAMS = ("sock_recvfrom", "sock_recvfrom_into", "sock_sendto")
LONG = bytes(range(251)) * 8000

pytestmark = pytest.mark.kinds("tcp")
ours_only = pytest.mark.implementations("ours", "ours_uvloop")
improvement = pytest.mark.improvement
datagrams = improvement("stock has no such methods", before=(3, 11))


class Calls:
    """Each call as a method: the loop's own on stock, otherwise the package's."""

    def __init__(self, env):
        self.env = env

    def __getattr__(self, name):
        if self.env.is_stock:
            return getattr(self.env.loop, name)
        import aiofastnet
        return lambda *args, **kwargs: getattr(aiofastnet, name)(self.env.loop, *args, **kwargs)


@pytest.fixture
def calls(env):
    return Calls(env)


def own(env, *socks):
    """Make the sockets non-blocking; they are closed at the end of the test."""
    for sock in socks:
        sock.setblocking(False)
    env._peers += socks


def stream_pair(env):
    pair = socket.socketpair()
    own(env, *pair)
    return pair


def datagram_socket(env):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    own(env, sock)
    return sock


def client_socket(env):
    sock = socket.socket()
    own(env, sock)
    return sock


def listen(env):
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    own(env, sock)
    return sock


def fill(sock):
    """Send until no more goes in; how much did."""
    count = 0
    try:
        while True:
            count += sock.send(b"f" * 65536)
    except BlockingIOError:
        return count


async def read_all(calls, sock, count):
    data = b""
    while len(data) < count:
        piece = await calls.sock_recv(sock, 1 << 20)
        assert piece
        data += piece
    return data


async def start(env, coroutine):
    """A task that waits by now."""
    task = env.loop.create_task(coroutine)
    await turns()
    assert not task.done()
    return task


async def cancel(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# What they do


def test_receiving_at_once_and_later(env, calls):
    """sock_recv() and sock_recv_into(), with and without waiting, and at the end."""
    async def main():
        left, right = stream_pair(env)
        right.send(b"now")
        assert await calls.sock_recv(left, 100) == b"now"
        task = await start(env, calls.sock_recv(left, 2))
        right.send(b"later")
        assert await task == b"la"
        buffer = bytearray(10)
        assert await calls.sock_recv_into(left, buffer) == 3
        assert buffer == b"ter" + bytes(7)
        task = await start(env, calls.sock_recv_into(left, memoryview(buffer)[5:]))
        right.send(b"in the middle")
        assert await task == 5 and buffer[5:] == b"in th"
        right.close()
        assert await calls.sock_recv(left, 100) == b"e middle"
        assert await calls.sock_recv(left, 100) == b""

    env.run(main())


@pytest.mark.parametrize("data", (b"", b"x", LONG, bytearray(LONG), memoryview(LONG)[7:]),
                         ids=("nothing", "byte", "bytes", "bytearray", "view"))
def test_sending_all(env, calls, data):
    """sock_sendall() of more than the socket takes; the result is None."""
    async def main():
        left, right = stream_pair(env)
        task = env.loop.create_task(calls.sock_sendall(left, data))
        assert_same(await read_all(calls, right, len(data)), bytes(data))
        assert await task is None

    env.run(main())


@improvement("it takes the number of items for one of bytes, and waits for ever", run=False)
def test_sending_all_of_wide_items(env, calls):
    """A view of items that are longer than a byte."""
    async def main():
        left, right = stream_pair(env)
        data = memoryview(LONG[:2000000]).cast("I")
        task = env.loop.create_task(calls.sock_sendall(left, data))
        assert_same(await read_all(calls, right, data.nbytes), bytes(data))
        await task

    env.run(main())


def test_connecting_and_accepting(env, calls):
    """sock_connect() to a number and to a name, sock_accept() at once and later."""
    async def main():
        listener = listen(env)
        port = listener.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            client = socket.socket(socket.AF_INET)
            client.setblocking(False)
            task = await start(env, calls.sock_accept(listener))
            assert await calls.sock_connect(client, (host, port)) is None
            server, address = await task
            assert server.gettimeout() == 0
            assert address == client.getsockname()
            server.send(b"welcome")
            assert await calls.sock_recv(client, 100) == b"welcome"
            client.close()
            server.close()
        listener.close()

    env.run(main())


def test_connecting_to_a_unix_socket(env, calls):
    """Which is done at once."""
    async def main():
        path = env.new_path()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
        client = socket.socket(socket.AF_UNIX)
        client.setblocking(False)
        await calls.sock_connect(client, path)
        server, _ = await calls.sock_accept(listener)
        for sock in (client, server, listener):
            sock.close()

    env.run(main())


@improvement("it says that it is connected")
def test_connecting_to_a_unix_socket_without_room(env, calls):
    """The backlog is full: BlockingIOError, since nothing is under way."""
    async def main():
        path = env.new_path()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(0)
        clients = []
        with pytest.raises(BlockingIOError):
            for _ in range(10):
                clients.append(socket.socket(socket.AF_UNIX))
                clients[-1].setblocking(False)
                await calls.sock_connect(clients[-1], path)
        for sock in (listener, *clients):
            sock.close()

    env.run(main())


def test_connecting_where_nobody_listens(env, calls):
    """The error of the socket, with the address."""
    async def main():
        listener = listen(env)
        address = listener.getsockname()
        listener.close()
        client = client_socket(env)
        with pytest.raises(ConnectionRefusedError) as caught:
            await calls.sock_connect(client, address)
        assert caught.value.errno == errno.ECONNREFUSED
        assert caught.value.strerror == "Connect call failed %s" % (address,)
        client.close()

    env.run(main())


@datagrams
def test_datagrams(env, calls):
    """T39: sock_sendto(), sock_recvfrom() and sock_recvfrom_into(), empty ones too."""
    async def main():
        left, right = datagram_socket(env), datagram_socket(env)
        there, here = right.getsockname(), left.getsockname()
        assert await calls.sock_sendto(left, b"hello", there) == 5
        assert await calls.sock_recvfrom(right, 100) == (b"hello", here)
        task = await start(env, calls.sock_recvfrom(right, 3))
        assert await calls.sock_sendto(left, b"longer", there) == 6
        assert await task == (b"lon", here)
        assert await calls.sock_sendto(left, b"", there) == 0
        assert await calls.sock_recvfrom(right, 100) == (b"", here)
        buffer = bytearray(8)
        task = await start(env, calls.sock_recvfrom_into(right, buffer))
        await calls.sock_sendto(left, memoryview(b"into"), there)
        assert await task == (4, here) and buffer == b"into" + bytes(4)

    env.run(main())


@datagrams
def test_datagram_into_part_of_a_buffer(env, calls):
    """T53: sock_recvfrom_into() takes the number of bytes, also when it has to wait."""
    async def main():
        left, right = datagram_socket(env), datagram_socket(env)
        for waits in (False, True):
            buffer = bytearray(b"........")
            if not waits:
                left.sendto(b"abcdef", right.getsockname())
                count, _ = await calls.sock_recvfrom_into(right, buffer, 3)
            else:
                task = await start(env, calls.sock_recvfrom_into(right, buffer, nbytes=3))
                left.sendto(b"abcdef", right.getsockname())
                count, _ = await task
            assert count == 3 and buffer == b"abc....."

    env.run(main())


@datagrams
def test_datagrams_on_a_full_socket(env, calls):
    """sock_sendto() waits for room."""
    async def main():
        path = env.new_path()
        right = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        right.bind(path)
        left = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        own(env, left, right)
        sent = 0
        with pytest.raises(BlockingIOError):
            while True:
                left.sendto(b"%d" % sent, path)
                sent += 1
        task = await start(env, calls.sock_sendto(left, b"last", path))
        for number in range(sent):
            assert (await calls.sock_recvfrom(right, 100))[0] == b"%d" % number
        assert await task == 4
        assert (await calls.sock_recvfrom(right, 100))[0] == b"last"

    env.run(main())


# What they refuse


ARGUMENTS = {"sock_accept": (), "sock_connect": (("127.0.0.1", 1),), "sock_recv": (1,),
             "sock_recv_into": (bytearray(1),), "sock_recvfrom": (1,),
             "sock_recvfrom_into": (bytearray(1),), "sock_sendall": (b"x",),
             "sock_sendto": (b"x", ("127.0.0.1", 1))}


def names_of(env):
    """What asyncio has in this version, and all of ours."""
    return [name for name in NAMES if hasattr(env.loop, name) or not env.is_stock]


def test_a_blocking_socket_is_refused_in_debug_mode(env, calls):
    """ValueError with stock's text, before anything is done with the socket."""
    async def main():
        with socket.socket() as sock:
            for name in names_of(env):
                with pytest.raises(ValueError) as caught:
                    await getattr(calls, name)(sock, *ARGUMENTS[name])
                assert str(caught.value) == "the socket must be non-blocking"

    env.run(main(), debug=True)


def test_an_ssl_socket_is_refused(env, calls):
    """TypeError with stock's text."""
    async def main():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with context.wrap_socket(socket.socket(), do_handshake_on_connect=False) as sock:
            sock.setblocking(False)
            for name in names_of(env):
                with pytest.raises(TypeError) as caught:
                    await getattr(calls, name)(sock, *ARGUMENTS[name])
                assert str(caught.value) == "Socket cannot be of type SSLSocket"

    env.run(main())


def test_a_closed_socket_is_an_error(env, calls):
    """EBADF."""
    async def main():
        sock = socket.socket()
        sock.setblocking(False)
        sock.close()
        for name in names_of(env):
            with pytest.raises(OSError) as caught:
                await getattr(calls, name)(sock, *ARGUMENTS[name])
            assert caught.value.errno == errno.EBADF

    env.run(main())


def test_the_socket_of_a_transport_is_refused(env, calls):
    """T56: RuntimeError, as the transport has its own ideas about it."""
    async def main():
        left, right = stream_pair(env)
        transport, _ = await env.loop.create_connection(asyncio.Protocol, sock=left)
        with pytest.raises(RuntimeError) as caught:
            await calls.sock_recv(left, 1)
        assert "is used by transport" in str(caught.value)
        transport.abort()
        await until(lambda: left.fileno() < 0)

    env.run(main())


# Cancellation and company


def test_cancelled_receiving_loses_nothing(env, calls):
    """T31: what comes afterwards is still there."""
    async def main():
        left, right = stream_pair(env)
        task = await start(env, calls.sock_recv(left, 100))
        await cancel(task)
        right.send(b"for the next")
        assert await calls.sock_recv(left, 100) == b"for the next"

    env.run(main())


@improvement("it takes the data, and then drops it", always=False)
def test_cancelled_when_the_data_is_there(env, calls):
    """T31: cancelled in the same turn in which the socket becomes readable."""
    async def main():
        left, right = stream_pair(env)
        for number in range(20):
            task = await start(env, calls.sock_recv(left, 100))
            right.send(b"precious")
            for _ in range(number % 4):
                await asyncio.sleep(0)
            task.cancel()
            try:
                data = await task
            except asyncio.CancelledError:
                data = await asyncio.wait_for(calls.sock_recv(left, 100), 1)
            assert data == b"precious"

    env.run(main())


@pytest.mark.parametrize("victim", (0, pytest.param(1, marks=improvement(
    "the second takes the place of the first, and then nobody is there", run=False))))
def test_one_of_two_that_receive_is_cancelled(env, calls, victim):
    """T53: the other one goes on waiting, and gets what comes."""
    async def main():
        left, right = stream_pair(env)
        tasks = [await start(env, calls.sock_recv(left, 100)) for _ in range(2)]
        await cancel(tasks.pop(victim))
        await turns()
        assert not tasks[0].done()
        right.send(b"for the other")
        assert await tasks[0] == b"for the other"

    env.run(main())


@improvement("the last takes the place of the others", run=False)
def test_those_who_wait_are_served_in_their_order(env, calls):
    """Five readers and a sixth that came when there was something, each with its own part."""
    async def main():
        left, right = stream_pair(env)
        tasks = [await start(env, calls.sock_recv(left, 3)) for _ in range(5)]
        right.send(b"001002003004005")
        sixth = env.loop.create_task(calls.sock_recv(left, 3))
        right.send(b"006")
        assert await asyncio.gather(*tasks, sixth) == [b"%03d" % n for n in range(1, 7)]

    env.run(main())


@improvement("the parts are mixed", run=False)
def test_two_that_send_do_not_mix(env, calls):
    """Two sock_sendall() at once: one after the other."""
    async def main():
        left, right = stream_pair(env)
        tasks = [env.loop.create_task(calls.sock_sendall(left, letter * 2000000))
                 for letter in (b"a", b"b", b"c")]
        data = await read_all(calls, right, 6000000)
        assert_same(data, b"a" * 2000000 + b"b" * 2000000 + b"c" * 2000000)
        await asyncio.gather(*tasks)

    env.run(main())


def test_reading_and_writing_of_one_socket(env, calls):
    """Both directions wait at once, and one is cancelled."""
    async def main():
        left, right = stream_pair(env)
        count = fill(left)
        sending = await start(env, calls.sock_sendall(left, b"end"))
        receiving = await start(env, calls.sock_recv(left, 100))
        await cancel(receiving)
        assert not sending.done()
        received = await read_all(calls, right, count + 3)
        assert received[-4:] == b"fend"
        await sending

    env.run(main())


def give_number(env, sock, number):
    """The same socket with another number, which nobody has."""
    if sock.fileno() == number:
        return sock
    os.dup2(sock.fileno(), number)
    sock.close()
    other = socket.socket(fileno=number)
    own(env, other)
    return other


def full_listener(env):
    """A listener whose backlog is full: to connect to it takes long."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    own(env, listener)
    for _ in range(3):
        client_socket(env).connect_ex(listener.getsockname())
    return listener


def test_cancelled_connect_whose_number_is_used_again(env, calls):
    """T31: no stray callback reaches the socket that has the number next."""
    async def main():
        listener = full_listener(env)
        client = client_socket(env)
        number = client.fileno()
        task = await start(env, calls.sock_connect(client, listener.getsockname()))
        await cancel(task)
        client.close()
        left, right = stream_pair(env)
        left = give_number(env, left, number)
        count = fill(left)
        sending = await start(env, calls.sock_sendall(left, b"x"))
        receiving = await start(env, calls.sock_recv(left, 1))
        await read_all(calls, right, count + 1)
        await sending
        right.send(b"y")
        assert await receiving == b"y"

    env.run(main())


@ours_only
@pytest.mark.parametrize("waits_longer", (False, True))
def test_socket_closed_during_connect(env, calls, waits_longer):
    """T53: the process lives, the number can be used again, and so can the functions."""
    async def main():
        listener = full_listener(env)
        client = client_socket(env)
        task = env.loop.create_task(calls.sock_connect(client, listener.getsockname()))
        while not env.loop._aiofastnet.watches:     # in the very turn in which it begins to wait
            await asyncio.sleep(0)
        client.close()
        if waits_longer:
            await asyncio.sleep(0.05)
        left, right = stream_pair(env)
        right.send(b"x")
        assert await calls.sock_recv(left, 1) == b"x"
        receiving = await start(env, calls.sock_recv(left, 1))
        task.cancel()
        with pytest.raises((asyncio.CancelledError, OSError)):
            await task
        await turns()
        assert not receiving.done()
        right.send(b"y")
        assert await receiving == b"y"

    env.run(main())


@ours_only
def test_closed_socket_whose_number_comes_back(env, calls):
    """Who waits for a socket that was closed hears of it when its number is used again."""
    if env.is_uvloop:
        pytest.skip("uvloop keeps a socket open while it is watched")

    async def main():
        old, _ = stream_pair(env)
        number = old.fileno()
        waiting = await start(env, calls.sock_recv(old, 1))
        old.close()
        left, right = stream_pair(env)
        new = give_number(env, left, number)
        receiving = env.loop.create_task(calls.sock_recv(new, 1))
        with pytest.raises(OSError) as caught:
            await waiting
        assert caught.value.errno == errno.EBADF
        right.send(b"n")
        assert await receiving == b"n"

    env.run(main())


@ours_only
def test_two_that_connect_one_socket(env, calls):
    """T53: the first is cancelled; both hear of a failure; both hear of success."""
    async def main():
        listener = listen(env)
        good = listener.getsockname()
        gone = listen(env)
        bad = gone.getsockname()
        gone.close()
        for address in (good, bad):
            for cancels in (False, True):
                client = socket.socket()
                client.setblocking(False)
                tasks = [env.loop.create_task(calls.sock_connect(client, address))
                         for _ in range(2)]
                await asyncio.sleep(0)
                if cancels:
                    tasks[0].cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
                for result in results[1:] if cancels else results:
                    assert result is None if address is good else isinstance(result, OSError)
                client.close()
        listener.close()

    env.run(main())


@ours_only
def test_nothing_is_left_of_those_who_waited(env, calls):
    """No watcher, no descriptor, no reference to socket and buffer."""
    async def main():
        left, right = stream_pair(env)
        for _ in range(3):
            task = await start(env, calls.sock_recv(left, 1))
            right.send(b"x")
            assert await task == b"x"
            await cancel(await start(env, calls.sock_recv(left, 1)))
        assert env.loop._aiofastnet.watches == {}
        assert not env.loop.remove_reader(left)

    env.run(main())


# Where they are


@ours_only
def test_patched_loops_have_what_was_missing(env):
    """patch_loop() adds the datagram calls where the loop has none, and leaves the others."""
    async def main():
        own = vars(env.loop)
        lacking = env.is_uvloop or sys.version_info < (3, 11)
        for name in NAMES:
            assert (name in own) is (lacking and name in DATAGRAMS), name
            if name in own:
                assert inspect.ismethod(own[name])
                assert list(inspect.signature(own[name]).parameters)[0] == "sock"
        left, right = datagram_socket(env), datagram_socket(env)
        assert await env.loop.sock_sendto(left, b"hi", right.getsockname()) == 2
        assert await env.loop.sock_recvfrom(right, 10) == (b"hi", left.getsockname())
        task = await start(env, env.loop.sock_recvfrom_into(right, bytearray(5), nbytes=1))
        left.sendto(b"xyz", right.getsockname())
        assert await task == (1, left.getsockname())

    env.run(main())


@pytest.mark.parametrize("name", ("asyncio", "uvloop"))
def test_functions_on_a_loop_that_is_not_patched(ours, name):
    """Echo through the direct functions; the loop keeps its own methods."""
    if name == "uvloop" and uvloop is None:
        pytest.skip("no uvloop")
    loop = uvloop.new_event_loop() if name == "uvloop" else asyncio.SelectorEventLoop()

    async def main():
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)

        async def echo():
            for _ in range(100):
                await ours.sock_sendall(loop, right, await ours.sock_recv(loop, right, 100))

        echoing = loop.create_task(echo())
        for number in range(100):
            await ours.sock_sendall(loop, left, b"%d" % number)
            assert await ours.sock_recv(loop, left, 100) == b"%d" % number
        await echoing
        left.close()
        right.close()

    loop.run_until_complete(main())
    loop.close()


@pytest.mark.parametrize("name", NAMES)
def test_signatures(ours, name):
    """The loop, and then what asyncio's own method takes."""
    function = getattr(ours, name)
    assert inspect.iscoroutinefunction(function)
    parameters = list(inspect.signature(function).parameters.values())
    assert parameters[0].name == "loop"
    stock = getattr(asyncio.SelectorEventLoop, name, None)
    if stock is not None:
        assert parameters[1:] == list(inspect.signature(stock).parameters.values())[1:]
