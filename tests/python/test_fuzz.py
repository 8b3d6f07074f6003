# SPDX-License-Identifier: MIT
"""Random sequences of calls on both ends of a connection, against a simple model.

AFN_TEST_SEED=N repeats one sequence; the seed of a failed one is in its message.
"""
import os
import random

import pytest

from support.protocols import BufferedRecorder, Recorder, assert_same, turns

SEQUENCES = 12
STEPS = 60


class End:
    """One end: its protocol, what was written, and how it was ended."""

    def __init__(self, generator):
        self.protocol = Recorder()
        if generator.random() < 0.3:
            self.protocol = BufferedRecorder(generator.choice([64, 4096, 100000]))
            view = memoryview(self.protocol.buffer)
            self.protocol.hooks["get_buffer"] = lambda protocol, hint: view
        self.written = bytearray()
        self.ended = None       # "close" or "abort"

    def step(self, generator):
        """One random call."""
        transport = self.protocol.transport
        choice = generator.randrange(100)
        if choice < 40:
            self.write(transport, generator)
        elif choice < 52:
            self.write_lines(transport, generator)
        elif choice < 66:
            transport.pause_reading()
        elif choice < 82:
            transport.resume_reading()
        elif choice < 88:
            high = generator.choice([0, 1, 1000, 100000])
            transport.set_write_buffer_limits(high=high, low=generator.randrange(high + 1))
        elif choice < 90 and self.ended is None:
            transport.close()
            self.ended = "close"
        elif choice < 91 and self.ended is None:
            transport.abort()
            self.ended = "abort"

    def write(self, transport, generator):
        size = generator.choice([0, 1, 10, 1000, 16384, 16385, 70000, 700000])
        data = generator.getrandbits(8 * size + 8).to_bytes(size + 1, "little")[:size]
        if self.ended is None and not transport.is_closing():
            self.written += data
        transport.write(generator.choice([bytes, bytearray, memoryview])(data))

    def write_lines(self, transport, generator):
        parts = [b"%d" % generator.randrange(1000) for _ in range(generator.randrange(5))]
        if self.ended is None and not transport.is_closing():
            self.written += b"".join(parts)
        transport.writelines(parts)


async def play(env, generator):
    left, right = End(generator), End(generator)
    await env.pair(left.protocol, right.protocol)
    for _ in range(STEPS):
        for end in (left, right):
            if generator.random() < 0.5 and not end.protocol.is_lost and end.ended != "abort":
                # On one that is closing, writelines() of stock 3.12 and 3.13 fails.
                if not env.is_stock or not end.protocol.transport.is_closing():
                    end.step(generator)
        for end, other in ((left, right), (right, left)):
            assert other.written.startswith(end.protocol.data), "bytes are not what was written"
        if generator.random() < 0.4:
            await turns(generator.randrange(4))
    await finish(left, right)
    if env.is_stock and env.is_tls:
        await turns()
        env.take_exceptions()       # stock calls pause_writing on a protocol it has let go


async def finish(left, right):
    """Let the queues drain, and check that what had to arrive did."""
    for end, other in ((left, right), (right, left)):
        if end.ended is None and not end.protocol.is_lost:
            end.protocol.transport.resume_reading()
    for end, other in ((left, right), (right, left)):
        if end.ended is None and other.ended != "abort":
            if other.ended is None and not end.protocol.is_lost:
                await end.protocol.received(len(other.written))
            elif other.ended == "close":
                await end.protocol.lost()
                # An end that writes to a closed peer may be reset before it has read all.
                if not end.written:
                    assert_same(end.protocol.data, other.written)
        assert other.written.startswith(end.protocol.data)


@pytest.mark.parametrize("number", range(SEQUENCES))
def test_random_sequences(env, number):
    """The bytes of one end are a prefix of what the other wrote, and complete where they must."""
    seed = int(os.environ.get("AFN_TEST_SEED", 0)) or random.SystemRandom().getrandbits(32)
    print("AFN_TEST_SEED=%d" % seed)
    env.run(play(env, random.Random(seed)))
