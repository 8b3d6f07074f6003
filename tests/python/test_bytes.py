# SPDX-License-Identifier: MIT
"""Every byte arrives, in order, as it was when it was written."""
import array
import contextlib
import hashlib
import random
import sys

import pytest

from support.env import PLAIN, TLS
from support.marks import improvement, tls_only
from support.protocols import BufferedRecorder, Recorder, assert_same, echoing, until

MIB = 1024 * 1024


def noise(count, seed=1):
    return random.Random(seed).getrandbits(8 * count).to_bytes(count, "little")


async def blocked(env, receiver):
    """A transport whose peer `receiver` reads nothing and whose socket is full; the bytes sent."""
    transport = await env.pair(receiver, Recorder())
    receiver.transport.pause_reading()
    filler = noise(65536)
    sent = 0
    while transport.get_write_buffer_size() < MIB:
        transport.write(filler)
        sent += len(filler)
    return transport, sent


def fortran(raw):
    """A view in Fortran order; the language has no other way to make one."""
    testbuffer = pytest.importorskip("_testbuffer")
    return memoryview(testbuffer.ndarray(
        list(raw), shape=[16, len(raw) // 16], format="B",
        flags=testbuffer.ND_FORTRAN | testbuffer.ND_WRITABLE))


CHANGING = {
    "bytearray": bytearray,
    "array": lambda raw: memoryview(array.array("H", raw)),
    "memoryview": lambda raw: memoryview(bytearray(raw)),
    "sliced": lambda raw: memoryview(bytearray(b"".join(bytes((b, 0)) for b in raw)))[::2],
    "two-dimensional": lambda raw: memoryview(bytearray(raw)).cast("B", (16, len(raw) // 16)),
    "fortran": fortran,
    "readonly": lambda raw: memoryview(bytearray(raw)).toreadonly(),
}
NOT_CONTIGUOUS = ("sliced", "fortran")


def change(value):
    """Overwrite what the exporter of `value` holds."""
    if isinstance(value, memoryview) and value.ndim == 2 and not value.readonly:
        for row in range(value.shape[0]):
            for column in range(value.shape[1]):
                value[row, column] = 0
        return
    zeros = memoryview(value.obj if isinstance(value, memoryview) else value).cast("B")
    zeros[:] = bytes(len(zeros))


FORMS = [pytest.param(form, marks=improvement("stock cannot send what is not contiguous")
                      if form in NOT_CONTIGUOUS else improvement(
                          "stock keeps a view of a mutable buffer", since=(3, 12),
                          kinds=("tcp", "unix")))
         for form in CHANGING]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [96, 96 * 1024])
def test_written_buffers_keep_the_bytes_of_the_moment_of_write(env, form, size):
    """T10: mutable exporters of every shape are copied before they wait in the queue."""
    async def main():
        receiver = Recorder()
        transport, before = await blocked(env, receiver)
        raw = noise(size, 2)
        value = CHANGING[form](raw)
        # In C order, whatever the order in memory is: what bytes(value) says.
        expected = bytes(value)
        transport.write(value)
        change(value)
        transport.write(b"end")
        receiver.transport.resume_reading()
        await receiver.received(before + size + 3)
        assert_same(receiver.data[before:], expected + b"end")

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
def test_only_bytes_are_kept_without_a_copy(env):
    """T10: bytes, and read-only views of them; all else is copied, if only in case it changes."""
    class Bytes(bytes):
        pass

    async def main():
        receiver = Recorder()
        transport, before = await blocked(env, receiver)
        data, other = noise(96 * 1024), Bytes(noise(96 * 1024))
        alone = sys.getrefcount(data)
        changing = bytearray(data)
        for written, owner, kept in ((data, data, True), (memoryview(data), data, True),
                                     (memoryview(data)[7:], data, True), (other, other, False),
                                     (memoryview(other), other, False),
                                     (memoryview(changing).toreadonly(), changing, False)):
            count = sys.getrefcount(owner)
            transport.write(written)
            assert (sys.getrefcount(owner) > count) is kept, written
            before += len(written)
        del written, owner
        changing.clear()        # which fails while somebody has a view of it
        receiver.transport.resume_reading()
        await receiver.received(before)
        await until(lambda: transport.get_write_buffer_size() == 0)
        assert sys.getrefcount(data) == alone

    env.run(main())


@pytest.mark.implementations("ours", "ours_uvloop")
@pytest.mark.parametrize("form", list(CHANGING))
def test_writelines_keeps_the_bytes_of_its_moment_too(env, form):
    """T10: as above; whether stock's writelines does differs with version and kind."""
    async def main():
        receiver = Recorder()
        transport, before = await blocked(env, receiver)
        values = [CHANGING[form](noise(64, seed)) for seed in range(5)]
        expected = b"".join(bytes(value) for value in values)
        transport.writelines(values)
        for value in values:
            change(value)
        receiver.transport.resume_reading()
        await receiver.received(before + len(expected))
        assert_same(receiver.data[before:], expected)

    env.run(main())


def test_the_parts_of_writelines_arrive_in_order(env):
    """T11: more parts than IOV_MAX, empty ones among them, from a generator."""
    async def main():
        receiver = Recorder()
        transport = await env.pair(receiver, Recorder())
        parts = [b"" if index % 7 == 0 else b"part %d;" % index for index in range(5000)]
        transport.writelines(part for part in parts)
        transport.writelines([])
        transport.writelines([b"", b""])
        transport.write(b"end")
        expected = b"".join(parts) + b"end"
        assert_same(await receiver.received(len(expected)), expected)

    env.run(main())


@pytest.mark.kinds("tcp", "tls13", "pyengine", "ktls13")
@improvement("stock's TLS transport hands everything on without pausing", kinds=TLS)
@improvement("stock's writelines does not look at the mark", kinds=PLAIN, since=(3, 12),
             before=(3, 12, 9))
@improvement("stock's writelines does not look at the mark", kinds=PLAIN, since=(3, 13),
             before=(3, 13, 2))
def test_writelines_of_64_mib_pauses_and_completes(env):
    """T11: writelines obeys the high-water mark as write does, and everything arrives."""
    async def main():
        received = hashlib.sha256()
        receiver = Recorder(data=lambda protocol, data: received.update(data))
        sender = Recorder()
        transport = await env.pair(receiver, sender)
        parts = [noise(MIB, seed) for seed in range(4)] * 16
        transport.writelines(parts)
        assert sender.events == ["made", "pause"]
        await sender.seen("resume")
        await receiver.received(64 * MIB)
        expected = hashlib.sha256()
        for part in parts:
            expected.update(part)
        assert received.hexdigest() == expected.hexdigest()
        assert transport.get_write_buffer_size() == 0
        assert sender.events == ["made", "pause", "resume"]

    env.run(main())


@tls_only
@improvement("stock reads into copies of a bytearray's slices")
def test_a_buffered_protocol_gets_every_byte_of_many_records(env):
    """T12: several records in one segment, and a buffer that is smaller than a record."""
    async def main():
        receiver = BufferedRecorder(100)
        transport, peer = await env.raw_server(receiver)
        parts = [noise(size, size) for size in (1, 99, 100, 101, 250, 7, 16384, 3)]
        await env.thread(peer.wire, peer.seal(*parts))
        expected = b"".join(parts)
        assert_same(await receiver.received(len(expected)), expected)

    env.run(main())


@pytest.mark.parametrize("size", [1] + [
    pytest.param(size, marks=improvement("stock reads into copies of a bytearray's slices",
                                         kinds=TLS)) for size in (100, 65536)])
def test_a_buffered_protocol_gets_a_large_stream_intact(env, size):
    """T12: buffers of any size, also larger than what comes at once."""
    async def main():
        receiver = BufferedRecorder(size)
        data = noise(2000 if size == 1 else MIB)
        transport = await env.pair(receiver, Recorder())
        transport.write(data)
        await receiver.received(len(data))
        assert_same(receiver.data, data)

    env.run(main())


@pytest.mark.parametrize("buffer", [b"read-only", pytest.param(bytearray(), marks=improvement(
    "stock takes an empty buffer for the end of the stream", kinds=TLS))])
def test_a_useless_receive_buffer_is_an_error(env, buffer):
    """T12: a read-only or an empty buffer from get_buffer closes the connection and is reported."""
    def send(peer):
        # Over TLS, the connection may be closed as early as the handshake.
        with contextlib.suppress(OSError):
            peer.start_tls(env.client_context(), hostname="localhost") if env.is_tls else None
            peer.handshake()
            peer.send(b"some data")

    async def main():
        receiver = BufferedRecorder(100, get_buffer=lambda protocol, sizehint: buffer)
        server = await env.start_server(lambda: receiver)
        peer = await env.raw_connect(server, None)
        await env.thread(send, peer)
        error = await receiver.lost()
        assert isinstance(error, Exception)
        assert receiver.data == b""
        contexts = env.take_exceptions()
        assert len(contexts) == 1
        assert contexts[0]["exception"] is error

    env.run(main())


def test_the_protocol_may_change_its_way_of_receiving(env):
    """T12: set_protocol switches between data_received and get_buffer, in a callback too."""
    async def main():
        buffered, plain = BufferedRecorder(64), Recorder()
        first = Recorder(data=lambda protocol, data: protocol.transport.set_protocol(buffered))
        buffered.hooks["data"] = lambda protocol, data: first.transport.set_protocol(plain)
        transport = await env.pair(first, Recorder())
        transport.write(b"one")
        await first.received(3)
        assert first.transport.get_protocol() is buffered
        transport.write(b"two")
        await buffered.received(3)
        assert first.transport.get_protocol() is plain
        transport.write(b"three")
        await plain.received(5)
        assert (first.data, buffered.data, plain.data) == (b"one", b"two", b"three")
        first.transport.set_protocol(first)

    env.run(main())


def test_ten_thousand_writes_keep_their_order(env):
    """T13: small and large writes, from outside and inside of callbacks."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        parts = [b"%d," % index for index in range(10000)]
        for index, part in enumerate(parts):
            transport.write(part)
            if index % 1000 == 0:
                await receiver.received(0)
        expected = b"".join(parts)
        assert_same(await receiver.received(len(expected)), expected)

    env.run(main())


def test_writes_of_every_callback_keep_their_order(env):
    """T13: writes of connection_made, data_received, pause_writing and resume_writing."""
    async def main():
        written = bytearray()
        receiver = Recorder()

        def write(protocol, *args):
            for _ in range(3):
                part = b"%s %d;" % (protocol.events[-1].encode(), len(written))
                written.extend(part)
                protocol.transport.write(part)

        def grow(protocol, *args):
            write(protocol)
            if len(written) < 12 * MIB:
                for _ in range(2):      # passes the mark: pause_writing writes, nested
                    part = noise(3 * MIB, len(written))
                    written.extend(part)
                    protocol.transport.write(part)
                write(protocol)

        sender = Recorder(made=write, data=grow, pause=write, resume=write)
        await env.pair(receiver, sender)
        for _ in range(4):
            receiver.transport.write(b"more")
            await sender.received(0)
            await until(lambda: len(receiver.data) == len(written))
        await until(lambda: len(sender.data) == 16)
        await until(lambda: len(receiver.data) == len(written))
        assert_same(receiver.data, written)
        # Stock's TLS transport hands nearly everything on without pausing.
        if not (env.is_stock and env.is_tls):
            assert "pause" in sender.events and "resume" in sender.events

    env.run(main())


def test_writing_inside_pause_writing_nests_ten_thousand_times(env):
    """T13: nothing recurses without bound and the order is kept."""
    async def main():
        # A record each: over TLS this is slow.
        count = 2000 if env.is_tls else 10000
        receiver = echoing()

        def again(protocol, data):
            number = len(protocol.data)
            if number < count:
                protocol.transport.write(b"%d" % (number % 10))

        sender = Recorder(data=again)
        transport = await env.pair(receiver, sender)
        for number in range(count // 2):
            transport.write(b"%d" % (number % 10))
        await until(lambda: len(sender.data) >= count)
        assert_same(sender.data[:count // 2], b"0123456789" * (count // 20))
        assert_same(receiver.data[:len(sender.data)], sender.data)

    env.run(main())


@improvement("stock reports the write error first and drops what it has not read")
@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_write_error_does_not_hide_what_had_arrived(env, end):
    """T14: the peer sends and ends, and writes fail before the loop has had a turn to read."""
    if env.is_unix and end == "reset":
        pytest.skip("a Unix socket has no RST")

    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_server(receiver)
        data = noise(4096)
        peer.send(data)         # in this thread, so that the loop cannot see it yet
        getattr(peer, end)()
        for _ in range(10):
            transport.write(b"x" * 100)
        await receiver.lost()
        assert_same(receiver.data, data)

    env.run(main())


@improvement("stock reports the write error first and drops what it has not read",
             kinds=PLAIN)
def test_unread_data_is_delivered_when_reading_is_resumed_in_time(env):
    """T14: reading is paused when a write fails, and is resumed before the loop turns."""
    async def main():
        receiver = Recorder()
        transport, peer = await env.raw_server(receiver)
        transport.pause_reading()
        data = noise(4096)
        await env.thread(peer.send, data)
        await env.thread(peer.close)
        for _ in range(10):
            transport.write(b"x" * 100)
        transport.resume_reading()
        await receiver.lost()
        assert_same(receiver.data, data)

    env.run(main())


@tls_only
def test_a_client_that_never_reads_its_tickets_loses_nothing(env):
    """T14: 4 KiB and a close without reading: the RST for the tickets comes after the data."""
    async def main():
        receiver = Recorder()
        server = await env.start_server(lambda: receiver)
        data = noise(4096)

        def client(peer):
            peer.wire(peer.seal(data))
            peer.close()

        peer = await env.raw_connect(server)
        await env.thread(client, peer)
        await until(lambda: receiver.is_lost)
        assert_same(receiver.data, data)

    env.run(main())


def test_large_transfers_in_both_directions_at_once(env):
    """T15: compared by SHA-256, with reading paused now and then on both sides."""
    async def main():
        size = 8 * MIB
        digests = {}

        def digest(name):
            digests[name] = hashlib.sha256()

            def received(protocol, data):
                digests[name].update(data)
                protocol.transport.pause_reading()
                env.loop.call_soon(protocol.transport.resume_reading)
            return received

        left, right = Recorder(data=digest("left")), Recorder(data=digest("right"))
        await env.pair(left, right)
        to_left, to_right = noise(size, 3), noise(size, 4)
        for start in range(0, size, 100000):
            left.transport.write(to_right[start:start + 100000])
            right.transport.write(to_left[start:start + 100000])
        await left.received(size)
        await right.received(size)
        assert digests["left"].hexdigest() == hashlib.sha256(to_left).hexdigest()
        assert digests["right"].hexdigest() == hashlib.sha256(to_right).hexdigest()

    env.run(main())
