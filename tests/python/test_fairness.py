# SPDX-License-Identifier: MIT
"""One connection's trouble or greed is no other connection's business."""
import asyncio
import contextlib
import os

import pytest

from support.marks import inet_only
from support.protocols import Recorder, assert_same, echoing, turns, until

MIB = 1024 * 1024


def pour(peer, total):
    block = b"f" * (MIB // 4)
    with contextlib.suppress(OSError):
        for _ in range(total // len(block)):
            peer.send(block)


def test_a_flood_does_not_starve_the_loop(env):
    """T32: between two turns of the loop a bounded number of bytes is delivered."""
    async def main():
        receiver = Recorder()
        _, peer = await env.raw_client(receiver)
        total = 48 * MIB
        flood = env.start_thread(pour, peer, total)
        most, before = 0, 0
        while len(receiver.data) < total:
            await asyncio.sleep(0)
            most = max(most, len(receiver.data) - before)
            before = len(receiver.data)
        await flood
        assert most <= 8 * MIB

    env.run(main())


def test_timers_and_tasks_run_during_a_flood(env):
    """T32: a timer of the host loop and a chain of call_soon both get their turns."""
    async def main():
        receiver = Recorder()
        _, peer = await env.raw_client(receiver)
        total = 32 * MIB
        ticks, calls = [], [0]

        def tick():
            ticks.append(len(receiver.data))
            if len(receiver.data) < total:
                env.loop.call_later(0.001, tick)

        def call():
            calls[0] += 1
            if len(receiver.data) < total:
                env.loop.call_soon(call)

        tick()
        call()
        flood = env.start_thread(pour, peer, total)
        await receiver.received(total)
        await flood
        await turns()
        assert calls[0] > 10 and len(ticks) > 3
        await asyncio.sleep(0.002)      # the last timer

    env.run(main())


def test_quiet_connections_are_served_during_a_flood(env):
    """T32: echoes of twenty quiet connections come back while the flood goes on."""
    async def main():
        flooded = Recorder(data=lambda protocol, data: protocol.data.clear())
        quiet = [Recorder() for _ in range(20)]
        pending = [flooded] + [echoing() for _ in quiet]
        server = await env.start_server(lambda: pending.pop(0))
        peer = await env.raw_connect(server)
        for each in quiet:
            await env.connect(lambda: each, server)
        stop = []

        def flood():
            block = b"f" * 65536
            with contextlib.suppress(OSError):
                while not stop:
                    peer.send(block)

        flooding = env.start_thread(flood)
        await until(lambda: "data" in flooded.events)
        for turn in range(1, 11):
            for each in quiet:
                each.transport.write(b"ping")
            for each in quiet:
                await each.received(4 * turn)
        assert not flooding.done()
        stop.append(True)
        await flooding

    env.run(main())


@inet_only
def test_resets_floods_and_garbage_lose_nothing_of_others(env):
    """Bad input: a good connection echoes all its bytes while others misbehave."""
    async def main():
        server = await env.start_server(echoing, backlog=100)
        sender = Recorder()
        await env.connect(lambda: sender, server)
        sent = bytearray()
        for number in range(30):
            peer = await env.raw_connect(server, None)
            data = os.urandom(3000)
            sent += data
            sender.transport.write(data)
            await env.thread(misbehave, peer, number)
        assert_same(await sender.received(len(sent)), sent)

    env.run(main())


def misbehave(peer, number):
    with contextlib.suppress(OSError):
        if number % 3 == 0:
            peer.wire(os.urandom(2000))
            peer.reset()
        elif number % 3 == 1:
            peer.wire(b"\x00" * 100000)
            peer.close()
        else:
            peer.reset()


def test_a_slow_reader_does_not_hold_others_up(env):
    """A peer that reads nothing: its queue grows, the other connections go on."""
    async def main():
        stuck, good = Recorder(), echoing()
        pending = [stuck, good]
        server = await env.start_server(lambda: pending.pop(0))
        await env.raw_connect(server)
        await until(lambda: stuck.transport is not None)
        sender = Recorder()
        await env.connect(lambda: sender, server)
        for _ in range(3):
            stuck.transport.write(b"x" * 8 * MIB)
        for turn in range(1, 21):
            sender.transport.write(b"y" * 1000)
            await sender.received(1000 * turn)
        assert stuck.transport.get_write_buffer_size() > 0

    env.run(main())
