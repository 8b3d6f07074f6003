# SPDX-License-Identifier: MIT
"""Write buffers and their limits."""
import sys

import pytest

from support.marks import plain_only, tls_only
from support.protocols import Recorder, until


def test_the_limits_are_those_of_stock(env):
    """Defaults, the rules for one of two limits, and what is refused."""
    async def main():
        transport = await env.pair(Recorder(), Recorder())
        # Python 3.11 introduced limits for TLS.
        default = (16 * 1024, 64 * 1024)
        if env.is_tls and sys.version_info >= (3, 11):
            default = (128 * 1024, 512 * 1024)
        assert transport.get_write_buffer_limits() == default
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.set_write_buffer_limits(low=1000)
        assert transport.get_write_buffer_limits() == (1000, 4000)
        transport.set_write_buffer_limits(10, 3)
        assert transport.get_write_buffer_limits() == (3, 10)
        transport.set_write_buffer_limits(high=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        transport.set_write_buffer_limits()
        assert transport.get_write_buffer_limits() == default
        for high, low in ((1, 2), (10, -1), (-1, None)):
            with pytest.raises(ValueError, match="must be >= low"):
                transport.set_write_buffer_limits(high, low)
        assert transport.get_write_buffer_limits() == default

    env.run(main())


def test_the_limits_stay_after_the_end(env):
    """T24: they may still be asked for, and set."""
    async def main():
        sender = Recorder()
        transport = await env.pair(Recorder(), sender)
        transport.set_write_buffer_limits(1000, 10)
        transport.close()
        await sender.lost()
        assert transport.get_write_buffer_limits() == (10, 1000)
        transport.set_write_buffer_limits(high=400)
        assert transport.get_write_buffer_limits() == (100, 400)

    env.run(main())


@pytest.mark.parametrize("high", [float("inf"), 10 ** 30])
def test_no_high_water_mark_is_too_high(env, high):
    """What no memory can hold is a limit that is never reached."""
    async def main():
        receiver, sender = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.set_write_buffer_limits(high=high, low=0)
        transport.write(b"x" * 2000000)
        await receiver.received(2000000)
        assert "pause" not in sender.events
        low, seen = transport.get_write_buffer_limits()
        assert low == 0 and seen >= sys.maxsize

    env.run(main())


@plain_only
def test_the_buffer_size_counts_what_the_kernel_did_not_take(env):
    """size = written - sent, and pause_writing comes when it is above the high-water mark."""
    async def main():
        sender = Recorder()
        transport, peer = await env.raw_server(sender)
        assert transport.get_write_buffer_size() == 0
        transport.set_write_buffer_limits(high=1000000, low=500000)
        written = 0
        while transport.get_write_buffer_size() == 0:
            transport.write(b"x" * 10000)
            written += 10000
        first = transport.get_write_buffer_size()
        assert sender.events == ["made"]
        transport.write(b"x" * (1000000 - first))
        assert transport.get_write_buffer_size() == 1000000
        assert sender.events == ["made"]
        transport.write(b"x")
        assert sender.events == ["made", "pause"]
        written += 1000001 - first
        await env.thread(peer.read_exactly, written)
        await sender.seen("resume")
        await until(lambda: transport.get_write_buffer_size() == 0)
        assert sender.events == ["made", "pause", "resume"]

    env.run(main())


def test_pause_and_resume_alternate(env):
    """Each pause_writing is followed by one resume_writing, many times over."""
    async def main():
        sender, receiver = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.set_write_buffer_limits(high=50000, low=10000)
        block = b"x" * 3000000
        for turn in range(1, 6):
            while "pause" not in sender.events[-1:]:
                transport.write(block)
            await until(lambda: sender.events[-1] == "resume")
        assert sender.events == ["made"] + ["pause", "resume"] * 5

    env.run(main())


@tls_only
def test_tls_limits_count_the_layers_below(env):
    """T28: with limits of zero a full socket pauses, and resuming means that all has left."""
    async def main():
        sender, receiver = Recorder(), Recorder()
        transport = await env.pair(receiver, sender)
        transport.set_write_buffer_limits(0, 0)
        receiver.transport.pause_reading()
        for _ in range(3):
            transport.write(b"x" * 6000000)
        await until(lambda: "pause" in sender.events)
        receiver.transport.resume_reading()
        await until(lambda: sender.events[-1] == "resume")
        await receiver.received(18000000)
        assert transport.get_write_buffer_size() == 0

    env.run(main())
